// A picture as its grid of codes: choose a place, paint another code over it, see what changes and how far.
const LEVELS = 5;                                        // a pixel counts as changed beyond this, of 255

export default {
  async render({ model, el }) {
    const [W, H, columns, codes, replacements, colors, names] = ["width", "height", "columns", "codes", "replacements", "colors", "names"].map((k) => model.get(k));
    const N = codes.length, h = codes[0].length, w = codes[0][0].length, R = replacements.length, CELL = 10;
    const sheet = await bitmap(model.get("sheet"), model.get("mime"));
    const { root, listen, show, close } = mount(model, el, "explore-codes");

    // tiles: the decoded pictures, the originals if there are any, then the changes by each replacement at each place
    const all = screen(sheet.width, sheet.height, 1).pen;
    all.drawImage(sheet, 0, 0);
    const tile = (q) => all.getImageData((q % columns) * W, Math.floor(q / columns) * H, W, H);
    const repainted = (image, place, code) => {          // decoded + change, modulo 256: exactly what Python decoded
      const pixels = tile(image), r = replacements.indexOf(code);
      if (code === null) return pixels;
      const change = tile(N * (model.get("originals") ? 2 : 1) + (image * h * w + place) * R + r).data;
      for (let i = 0; i < change.length; i++) if (i % 4 < 3) pixels.data[i] = (pixels.data[i] + change[i]) & 255;
      return pixels;
    };

    let live = false, waiting = 0;                       // live: a kernel has answered
    const save = (values) => {
      for (const k in values) model.set(k, values[k]);
      if (!live) model.set("kept", {});
      waiting ||= setTimeout(() => { waiting = 0; model.save_changes(); }, 50);
    };
    const get = () => ({ image: clamp(model.get("image"), 0, N - 1), place: clamp(model.get("place"), 0, h * w - 1), paint: model.get("paint"), kept: model.get("kept") });

    // the codes, as squares to point at
    const rect = (attributes) => svg("rect", { width: CELL, height: CELL, ...attributes });
    const cells = Array.from({ length: h * w }, (_, p) => {
      const at = { x: CELL * (p % w), y: CELL * Math.floor(p / w) };
      return { square: rect(at), number: svg("text", { x: at.x + CELL / 2, y: at.y + CELL / 2 }) };
    });
    const ring = (width, height, thin) => svg("g", { fill: "none" }, rect({ width, height, stroke: "#000", "stroke-width": 2.5 * thin }),
      rect({ width, height, stroke: "#fff", "stroke-width": thin }));
    const cursor = ring(CELL, CELL, 2);
    const board = svg("svg", { viewBox: `0 0 ${CELL * w} ${CELL * h}`, "aria-hidden": "true" }, ...cells.flatMap((c) => [c.square, c.number]), cursor);
    const pad = node("div", { class: "gw-board", tabindex: 0, role: "application", "aria-label": "Codes: point at one, or use the arrow keys" }, board);
    const point = (e) => {
      const box = board.getBoundingClientRect();
      const cell = (share, n) => clamp(Math.floor(share * n), 0, n - 1);
      save({ place: cell((e.clientY - box.top) / box.height, h) * w + cell((e.clientX - box.left) / box.width, w) });
    };
    pad.addEventListener("pointerdown", (e) => { pad.setPointerCapture(e.pointerId); pad.focus(); point(e); e.preventDefault(); });
    pad.addEventListener("pointermove", (e) => { if (pad.hasPointerCapture(e.pointerId)) point(e); });
    pad.addEventListener("keydown", (e) => {
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
      if (!move) return;
      e.preventDefault();
      const { place } = get();
      save({ place: clamp(Math.floor(place / w) + move[0], 0, h - 1) * w + clamp((place % w) + move[1], 0, w - 1) });
    });

    // what is decoded, with the place outlined
    const panels = ["as encoded", "repainted", "change"].map((title) => {
      const mark = ring(W / w, H / h, 1.5), view = screen(W, H, model.get("size"));
      const frame = svg("svg", { viewBox: `0 0 ${W} ${H}`, "aria-hidden": "true" }, mark);
      return { ...view, mark, box: node("div", {}, node("div", { class: "gw-pad" }, view.canvas, frame), node("p", { class: "gw-title" }, title)) };
    });
    const picture = node("div", { class: "gw-panels gw-film", role: "img" }, ...panels.map((p) => p.box));
    const text = node("p", { class: "gw-text" });

    // controls
    const images = choice("picture", names, (image) => save({ image, kept: {} }));
    images.row.querySelectorAll("label").forEach((label, i) => {
      const thumb = screen(W, H, 48);
      thumb.canvas.setAttribute("aria-hidden", "true");
      thumb.pen.putImageData(tile(model.get("originals") ? N + i : i), 0, 0);
      label.querySelector("input").after(thumb.canvas);
    });
    images.row.classList.add("gw-thumbs");
    const group = `gw-paint-${Date.now().toString(36)}-${ids++}`;
    const palette = [null, ...replacements].map((code) => {
      const input = node("input", { type: "radio", name: group, change: () => save({ paint: code }) });
      const chip = node("span", { class: "gw-chip" }), patch = screen(3 * Math.ceil(W / w), 3 * Math.ceil(H / h), 48);
      patch.canvas.setAttribute("aria-hidden", "true");
      return { code, input, chip, patch, label: node("label", {}, input, patch.canvas, chip, code === null ? "its own" : "") };
    });
    const paints = node("fieldset", { class: "gw-thumbs" }, node("legend", {}, "code"), ...palette.map((p) => p.label));
    const position = slider("place", { min: 0, max: h * w - 1 }, (place) => save({ place }));
    const reset = node("button", { type: "button", click: () => save({ paint: null, kept: {} }) }, "Reset");
    const keep = node("button", { type: "button", click: () => { const { place, paint, kept } = get(); save({ paint: null, kept: { ...kept, [place]: paint } }); } }, "Keep");
    const note = node("p", { class: "gw-text" });

    let drawn = 0;                                       // number of the newest drawing: a slow decode never wins
    const draw = async () => {
      const mine = ++drawn, state = get(), { image, place, paint, kept } = state, exact = model.get("exact");
      const painted = paint === null ? kept : { ...kept, [place]: paint }, several = Object.keys(kept).length > 0;
      const before = tile(image), same = (k) => JSON.stringify(exact[k]) === JSON.stringify(state[k]);
      let after = null, source = "tile";
      if (exact?.data && Object.keys(state).every(same)) {
        const now = await bitmap(exact.data, exact.mime);
        if (mine !== drawn) return;
        panels[1].pen.drawImage(now, 0, 0);
        after = panels[1].pen.getImageData(0, 0, W, H);
        source = "exact";
      } else if (!several) {
        after = repainted(image, place, paint);
        panels[1].pen.putImageData(after, 0, 0);
      }
      panels[0].pen.putImageData(before, 0, 0);
      const own = codes[image].flat(), now = own.map((code, p) => painted[p] ?? code), old = own[place];
      cells.forEach(({ square, number }, p) => {
        square.setAttribute("fill", colors[now[p]]);
        number.textContent = now[p];
        number.classList.toggle("gw-new", now[p] !== own[p]);
      });
      const [row, column] = [Math.floor(place / w), place % w];
      cursor.setAttribute("transform", `translate(${CELL * column} ${CELL * row})`);
      for (const { mark } of panels) mark.setAttribute("transform", `translate(${(W / w) * column} ${(H / h) * row})`);
      const corner = [(W / w) * (column - 1), (H / h) * (row - 1)].map(Math.round);
      for (const { code, input, chip, patch: { canvas, pen } } of palette) {         // what each code would give here, alone
        pen.fillRect(0, 0, canvas.width, canvas.height);
        pen.putImageData(repainted(image, place, code), -corner[0], -corner[1]);
        canvas.hidden = several;
        input.checked = code === paint;
        chip.textContent = code ?? kept[place] ?? old;
        chip.style.background = colors[chip.textContent];
      }
      images.set(image);
      position.set(place, `(${row}, ${column}), code ${now[place]}`);
      keep.hidden = !live;
      keep.disabled = paint === null;
      note.textContent = live ? "" : "One code at a time without a kernel.";
      if (!after) {                                      // several codes: the last picture stays until the kernel answers
        text.textContent = "Decoding";
        return;
      }
      const change = panels[2].pen.createImageData(W, H);
      let changed = 0;
      for (let i = 0; i < change.data.length; i += 4) {  // grey: the largest difference of a channel
        const far = Math.max(...[0, 1, 2].map((c) => Math.abs(after.data[i + c] - before.data[i + c])));
        change.data.set([far, far, far, 255], i);
        changed += far > LEVELS;
      }
      panels[2].pen.putImageData(change, 0, 0);
      const n = now.filter((code, p) => code !== own[p]).length, code = paint === null || paint === old ? `${old}, as encoded` : `${old} \u2192 ${paint}`;
      const what = several ? `${n} code${n === 1 ? "" : "s"} repainted` : `Place (${row}, ${column}): code ${code}`;
      text.textContent = `${what}; changes ${changed} of ${H * W} pixels by more than ${LEVELS} of 255 levels`;
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${text.textContent}`);
      Object.assign(root.dataset, { value: `${image},${place},${paint ?? ""}`, changed, source });
    };

    if (N > 1) root.append(images.row);
    const board_box = node("div", { class: "gw-grid" }, pad, node("p", { class: "gw-title" }, "codes: choose a place"));
    root.append(node("div", { class: "gw-panels" }, board_box, node("div", { class: "gw-side" }, picture, text)),
      paints, position.row, node("div", { class: "gw-buttons" }, reset, keep, note));
    listen("change:image change:place change:paint change:kept", draw);
    listen("change:exact", () => { live = true; draw(); });
    show();
    await draw();
    return () => { clearTimeout(waiting); close(); };
  },
};
