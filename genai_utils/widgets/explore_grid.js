// Explorer of a plane: a map of all decoded pictures to drag on, and the picture at the chosen point.
export default {
  async render({ model, el }) {
    const [W, H, x, y, xlabel, ylabel] = ["width", "height", "x", "y", "xlabel", "ylabel"].map((k) => model.get(k));
    const [nx, ny] = [x[2], y[2]], FINE = 4;             // slider positions per cell once a kernel decodes
    const sheet = await bitmap(model.get("sheet"), model.get("mime"));
    const { root, listen, show, close } = mount(model, el, "explore-grid");
    const value = (axis, u) => axis[0] + ((axis[1] - axis[0]) * u) / (axis[2] - 1);      // u in cells, 0 ... n-1
    const cells = (axis, v) => clamp(((v - axis[0]) / (axis[1] - axis[0])) * (axis[2] - 1), 0, axis[2] - 1);
    const number = (v) => (Math.abs(v) < 5e-4 ? 0 : v).toFixed(2).replace("-", "\u2212");

    const map = screen(nx * W, ny * H, Math.min(320, 2 * nx * W));
    map.pen.drawImage(sheet, 0, 0);
    map.canvas.setAttribute("aria-hidden", "true");
    const ring = svg("g", { fill: "none" }, svg("circle", { r: 8, stroke: "#000", "stroke-width": 5 }),
      svg("circle", { r: 8, stroke: "#fff", "stroke-width": 2 }));
    const pad = node("div", { class: "gw-pad", tabindex: 0, role: "application",
      "aria-label": `Map: drag, or use the arrow keys; ${xlabel} across, ${ylabel} upwards` }, map.canvas, svg("svg", {}, ring));
    const view = screen(W, H, model.get("size"));
    const picture = node("div", { role: "img" }, view.canvas);
    const text = node("p", { class: "gw-text" });

    const at = () => [clamp(model.get("at")[0], x[0], x[1]), clamp(model.get("at")[1], y[0], y[1])];
    let waiting = 0;
    const go = (px, py) => {                             // the picture moves at once; the kernel hears at most every 50 ms
      model.set("at", [clamp(px, x[0], x[1]), clamp(py, y[0], y[1])]);
      waiting ||= setTimeout(() => { waiting = 0; model.save_changes(); }, 50);
    };
    const scale = (n) => ({ min: 0, max: FINE * (n - 1), step: FINE });
    const across = slider(xlabel, scale(nx), (u) => go(value(x, u / FINE), at()[1]));
    const up = slider(ylabel, scale(ny), (u) => go(at()[0], value(y, u / FINE)));

    const point = (e) => {                               // the centre of a tile is its node
      const box = map.canvas.getBoundingClientRect();
      go(value(x, ((e.clientX - box.left) / box.width) * nx - 0.5), value(y, ny - 0.5 - ((e.clientY - box.top) / box.height) * ny));
    };
    pad.addEventListener("pointerdown", (e) => { pad.setPointerCapture(e.pointerId); pad.focus(); point(e); e.preventDefault(); });
    pad.addEventListener("pointermove", (e) => { if (pad.hasPointerCapture(e.pointerId)) point(e); });
    pad.addEventListener("keydown", (e) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
      if (!move) return;
      e.preventDefault();
      const [u, v] = [Math.round(cells(x, at()[0])), Math.round(cells(y, at()[1]))];
      go(value(x, u + move[0]), value(y, v + move[1]));
    });

    let drawn = 0;                                       // number of the newest drawing: a slow decode never wins
    const draw = async () => {
      const mine = ++drawn, [px, py] = at(), exact = model.get("exact");
      const [i, j] = [Math.round(cells(x, px)), Math.round(cells(y, py))];
      let shown = [value(x, i), value(y, j)], source = "tile";
      if (exact?.data && exact.at[0] === px && exact.at[1] === py) {
        const now = await bitmap(exact.data, exact.mime);
        if (mine !== drawn) return;
        view.pen.drawImage(now, 0, 0);
        shown = [px, py];
        source = "exact";
        across.input.step = up.input.step = 1;
      } else {
        view.pen.drawImage(sheet, i * W, (ny - 1 - j) * H, W, H, 0, 0, W, H);
      }
      const box = [map.canvas.clientWidth, map.canvas.clientHeight];
      ring.setAttribute("transform", `translate(${((cells(x, px) + 0.5) / nx) * box[0]} ${((ny - 0.5 - cells(y, py)) / ny) * box[1]})`);
      across.set(FINE * cells(x, px), number(px));
      up.set(FINE * cells(y, py), number(py));
      const words = `decoded at ${xlabel} = ${number(shown[0])}, ${ylabel} = ${number(shown[1])}`;
      text.textContent = source === "exact" ? `Picture ${words}, by the kernel` : `Nearest picture: ${words}`;
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${words}`);
      Object.assign(root.dataset, { value: shown.join(","), at: [px, py].join(","), source });
    };

    root.append(node("div", { class: "gw-panels" }, node("div", {}, pad, node("p", { class: "gw-title" }, `${xlabel} across, ${ylabel} upwards`)), node("div", {}, picture)), text, across.row, up.row);
    listen("change:at change:exact", draw);
    const fit = new ResizeObserver(draw);
    fit.observe(map.canvas);
    show();
    await draw();
    return () => { clearTimeout(waiting); fit.disconnect(); close(); };
  },
};
