// Where a patch looks: point at a patch of a picture, or at the class token, and see its weights, layer by layer.
const TOP = 255, TOLD = 3;                               // level k is the weight (k / 255)^2; three weights are told
const HEAT = [240, 228, 66], COVER = 230;                // as in Python, whose whole numbers are done again here

const percent = (share) => Math.floor(100 * share + 0.5);
const mix = (dim, color, cover) => Math.floor((dim * (255 - cover) + color * cover + 127) / 255);

export default {
  async render({ model, el }) {
    const [H, W, h, w, names, L] = ["height", "width", "rows", "columns", "names", "layers"].map((k) => model.get(k));
    const N = names.length, P = 1 + h * w, side = H / h, levels = bytes(model.get("levels"));
    const sheet = await bitmap(model.get("sheet"), model.get("mime"));
    const { root, listen, show, close } = mount(model, el, "explore-patches");
    const get = () => ({ image: clamp(model.get("image"), 0, N - 1), layer: clamp(model.get("layer"), 0, L - 1), at: clamp(model.get("at"), 0, P - 1) });

    let waiting = 0;
    const save = (values) => {                           // the picture moves at once; the kernel hears at most every 50 ms
      for (const k in values) model.set(k, values[k]);
      waiting ||= setTimeout(() => { waiting = 0; model.save_changes(); }, 50);
    };

    const all = screen(sheet.width, sheet.height, 1).pen;
    all.drawImage(sheet, 0, 0);
    const pictures = names.map((_, n) => all.getImageData(n * W, 0, W, H));
    const dims = pictures.map(({ data }) => Uint8Array.from({ length: W * H }, (_, i) => {
      const grey = Math.floor((299 * data[4 * i] + 587 * data[4 * i + 1] + 114 * data[4 * i + 2] + 500) / 1000);
      return 30 + Math.floor((70 * grey + 127) / 255);
    }));
    const rowOf = ({ image, at }, layer) => levels.subarray(((image * L + layer) * P + at) * P, ((image * L + layer) * P + at + 1) * P);
    const mostOf = (row, at) => row.reduce((most, k, j) => (j === at ? most : Math.max(most, k)), 1);
    const heats = (row, m) => Array.from(row, (k) => Math.min(255, Math.floor((510 * k * k + m * m) / (2 * m * m))));
    const cover = (heat) => Math.floor((COVER * heat + 127) / 255);
    const css = (heat) => `rgb(${HEAT.map((c) => mix(65, c, cover(heat))).join(", ")})`;

    // two panels, each with the class token above it: the picture to point at, and the picture under the heat
    const size = model.get("size");
    const panels = ["the picture", ""].map((title) => {
      const view = screen(W, H, size);
      const rings = [["#000", 3.5], ["#fff", 1.5]].map(([stroke, width]) => svg("rect", { width: `${100 / w}%`, height: `${100 / h}%`, fill: "none", stroke, "stroke-width": width }));
      const token = node("span", { class: "gw-class" }, "class token");
      const pad = node("div", { class: "gw-pad" }, view.canvas, svg("svg", { "aria-hidden": "true" }, ...rings));
      const name = node("p", { class: "gw-title" }, title);
      return { ...view, rings, token, pad, name, panel: node("div", {}, token, pad, name) };
    });
    const board = panels[0].panel;
    for (const [key, value] of Object.entries({ tabindex: 0, role: "application", class: "gw-board", "aria-label": "Patches: point at one, or use the arrow keys; the class token is above the first row" })) board.setAttribute(key, value);
    const point = (e) => {
      const box = panels[0].canvas.getBoundingClientRect(), cell = (share, n) => clamp(Math.floor(share * n), 0, n - 1);
      save({ at: 1 + cell((e.clientY - box.top) / box.height, h) * w + cell((e.clientX - box.left) / box.width, w) });
    };
    const { pad, token } = panels[0];
    pad.addEventListener("pointerdown", (e) => { pad.setPointerCapture(e.pointerId); board.focus(); point(e); e.preventDefault(); });
    pad.addEventListener("pointermove", (e) => { if (pad.hasPointerCapture(e.pointerId)) point(e); });
    token.addEventListener("click", () => { board.focus(); save({ at: 0 }); });
    board.addEventListener("keydown", (e) => {
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
      if (!move) return;
      e.preventDefault();
      const { at } = get(), row = Math.floor((at - 1) / w) + move[0], column = ((at - 1) % w) + move[1];
      if (at === 0) save({ at: e.key === "ArrowDown" || e.key === "ArrowRight" ? 1 : 0 });
      else save({ at: row < 0 ? 0 : 1 + clamp(row, 0, h - 1) * w + clamp(column, 0, w - 1) });
    });

    // every layer, small: a square for each patch
    const strip = Array.from({ length: L }, (_, layer) => {
      const view = screen(w, h, 46), number = node("span", {}, String(layer + 1));
      return { ...view, number, box: node("div", { class: "gw-small", click: () => save({ layer }) }, view.canvas, number) };
    });
    const ends = [node("span", {}, "0 %"), node("span")];
    const ramp = screen(256, 1, 0);
    ramp.canvas.removeAttribute("style");
    const colors = ramp.pen.createImageData(256, 1);
    for (let k = 0; k < 256; k++) colors.data.set([...HEAT.map((c) => mix(65, c, cover(k))), 255], 4 * k);
    ramp.pen.putImageData(colors, 0, 0);
    const scale = node("div", { class: "gw-scale", "aria-hidden": "true" }, "weight", ends[0], ramp.canvas, ends[1]);

    const called = (j) => (j ? `patch (${Math.floor((j - 1) / w) + 1}, ${((j - 1) % w) + 1})` : "the class token");
    const text = node("p", { class: "gw-text" });
    const films = node("div", { class: "gw-layers" }, ...strip.map(({ box }) => box));
    const picture = node("div", { role: "img", class: "gw-looks" }, node("div", {}, panels[1].panel, scale), films);
    const position = slider("token", { min: 0, max: P - 1 }, (at) => save({ at }));
    const pick = (layer) => save({ layer }), few = L < 3;
    const layer_control = few ? choice("layer", strip.map((_, k) => String(k + 1)), pick) : slider("layer", { min: 0, max: L - 1 }, pick);
    const image_control = choice("picture", names, (image) => save({ image }));

    let painted = -1;
    const draw = () => {
      const now = get(), { image, layer, at } = now;
      if (painted !== image) panels[0].pen.putImageData(pictures[image], 0, 0);
      painted = image;
      strip.forEach(({ pen, box }, k) => {
        const row = rowOf(now, k), heat = heats(row, mostOf(row, at)), small = pen.createImageData(w, h);
        for (let j = 1; j < P; j++) small.data.set([...HEAT.map((c) => mix(65, c, cover(heat[j]))), 255], 4 * (j - 1));
        pen.putImageData(small, 0, 0);
        box.classList.toggle("gw-here", k === layer);
      });
      const row = rowOf(now, layer), most = mostOf(row, at), heat = heats(row, most);
      const over = panels[1].pen.createImageData(W, H);
      for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) {
        const i = y * W + x, c = cover(heat[1 + Math.floor(y / side) * w + Math.floor(x / side)]);
        over.data.set([mix(dims[image][i], HEAT[0], c), mix(dims[image][i], HEAT[1], c), mix(dims[image][i], HEAT[2], c), 255], 4 * i);
      }
      panels[1].pen.putImageData(over, 0, 0);
      for (const { rings, token } of panels) {
        token.classList.toggle("gw-here", at === 0);
        for (const ring of rings) {
          ring.setAttribute("visibility", at ? "visible" : "hidden");
          ring.setAttribute("x", `${(100 * ((at + w - 1) % w)) / w}%`);
          ring.setAttribute("y", `${(100 * Math.max(0, Math.floor((at - 1) / w))) / h}%`);
        }
      }
      panels[1].token.style.background = css(heat[0]);
      panels[1].token.style.color = heat[0] > 90 ? "#000" : "#fff";
      panels[1].name.textContent = `where it looks, layer ${layer + 1}`;
      const shares = Array.from(row, (k) => (k / TOP) * (k / TOP));
      ends[1].textContent = `${(100 * (most / TOP) * (most / TOP)).toFixed(1)} %`;
      const told = Array.from(row.keys()).sort((i, j) => row[j] - row[i] || i - j).slice(0, TOLD).filter((j) => percent(shares[j]) >= 1);
      const looks = told.map((j) => `${j === at ? "itself" : called(j)} ${percent(shares[j])} %`);
      const rest = Math.max(0, 1 - told.reduce((sum, j) => sum + shares[j], 0));
      if (percent(rest) >= 1) looks.push(`${told.length ? "all others together" : "all tokens together"} ${percent(rest)} %`);
      const words = `Layer ${layer + 1} of ${L}: ${called(at)} looks at ${looks.join(", ")}`;
      position.set(at, called(at));
      position.input.setAttribute("aria-valuetext", `${called(at)}: ${looks.join(", ")}`);
      if (few) layer_control.set(layer);
      else {
        layer_control.set(layer, `${layer + 1} of ${L}`);
        layer_control.input.setAttribute("aria-valuetext", `${layer + 1} of ${L}: ${looks.join(", ")}`);
      }
      image_control.set(image);
      text.textContent = words;
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${words}`);
      Object.assign(root.dataset, { value: `${image},${layer},${at}`, told: told.map((j) => `${j}:${shares[j]}`).join(",") });
    };

    root.append(...(N > 1 ? [image_control.row] : []), node("div", { class: "gw-panels" }, board, picture), text,
      position.row, ...(L > 1 ? [layer_control.row] : []));
    films.hidden = L === 1;
    listen("change:image change:layer change:at", draw);
    draw();
    show();
    return () => { clearTimeout(waiting); close(); };
  },
};
