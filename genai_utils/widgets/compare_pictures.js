// Before and after: a line across a picture, moved by a range input or by pointing; the true counterpart beside.
export default {
  async render({ model, el }) {
    const [W, H, columns, names, labels, size] = ["width", "height", "columns", "names", "labels", "size"].map((k) => model.get(k));
    const K = names.length, P = labels.length;
    const sheet = await bitmap(model.get("sheet"), model.get("mime"));
    const { root, listen, show, close } = mount(model, el, "compare-pictures");
    const get = () => ({ pair: clamp(model.get("pair"), 0, K - 1), share: clamp(model.get("share"), 0, 100) });

    let waiting = 0;
    const save = (values) => {                           // the picture moves at once; the kernel hears at most every 50 ms
      for (const k in values) model.set(k, values[k]);
      waiting ||= setTimeout(() => { waiting = 0; model.save_changes(); }, 50);
    };
    const pictures = choice(model.get("choice"), names, (pair) => save({ pair }));
    const line = slider("line", { min: 0, max: 100 }, (share) => save({ share }));

    // the second picture lies below, the first one above it and cut off at the line
    const screens = labels.map(() => screen(W, H, size));
    const [first, second, third] = screens;
    first.canvas.classList.add("gw-above");
    const strokes = ["gw-edge", "gw-middle"].map((name) => svg("line", { class: name, y1: 0, y2: "100%" }));
    const grip = svg("circle", { class: "gw-grip", r: 9, cy: "50%" });
    const point = (e) => {
      const box = second.canvas.getBoundingClientRect();
      save({ share: Math.round(clamp((100 * (e.clientX - box.left)) / box.width, 0, 100)) });
    };
    const pad = node("div", { class: "gw-pad", pointerdown: (e) => { pad.setPointerCapture(e.pointerId); point(e); },
      pointermove: (e) => { if (pad.hasPointerCapture(e.pointerId)) point(e); } }, second.canvas, first.canvas, svg("svg", { "aria-hidden": "true" }, ...strokes, grip));
    const title = (text) => node("p", { class: "gw-title" }, text);
    const sides = node("p", { class: "gw-title gw-sides", "aria-hidden": "true" }, node("span", {}, `\u2190 ${labels[0]}`), node("span", {}, `${labels[1]} \u2192`));
    const picture = node("div", { role: "img", class: "gw-panels" }, node("div", { style: `width: ${size}px` }, pad, sides),
      third ? node("div", { class: "gw-third" }, third.canvas, title(labels[2])) : "");

    let painted = -1;
    const draw = () => {
      const { pair, share } = get();
      if (painted !== pair) screens.forEach(({ pen }, p) => {
        const tile = pair * P + p;
        pen.drawImage(sheet, (tile % columns) * W, Math.floor(tile / columns) * H, W, H, 0, 0, W, H);
      });
      painted = pair;
      first.canvas.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
      for (const stroke of strokes) for (const k of ["x1", "x2"]) stroke.setAttribute(k, `${share}%`);
      grip.setAttribute("cx", `${share}%`);
      const words = `${share} % ${labels[0]}, ${100 - share} % ${labels[1]}`;
      line.set(share, words);
      pictures.set(pair);
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${K > 1 ? `${model.get("choice")} ${names[pair]}, ` : ""}${words}${third ? `; beside it ${labels[2]}` : ""}.`);
      root.dataset.value = `${pair},${share}`;
    };

    root.append(...(K > 1 ? [pictures.row] : []), picture, line.row);
    listen("change:pair change:share", draw);
    draw();
    show();
    return () => { clearTimeout(waiting); close(); };
  },
};
