// Dilated causal convolutions with kernel 2 as a tree: choose a design, its layers, and the output to look at.
export default {
  render({ model, el }) {
    const [names, designs, T, rate] = ["names", "designs", "steps", "rate"].map((k) => model.get(k));
    const most = Math.max(...designs.map((d) => d.length)), LEFT = 26, STEP = 10;
    const { root, listen, show, close } = mount(model, el, "explore-dilation");
    const get = () => {
      const design = clamp(model.get("design"), 0, designs.length - 1);
      return { design, layers: clamp(model.get("layers"), 1, designs[design].length), position: clamp(model.get("position"), 0, T - 1) };
    };
    const save = (values) => { for (const k in values) model.set(k, values[k]); model.save_changes(); };

    /** Positions that the output reads, layer by layer, output first; those below 0 are zeros. */
    const tree = (dilations, position) => dilations.reduceRight((rows, d) =>
      [...rows, [...new Set(rows.at(-1).flatMap((p) => [p - d, p]))].sort((a, b) => a - b)], [[position]]);

    const x = (p) => LEFT + STEP * (p + 0.5);
    const faint = svg("path"), lines = svg("path", { class: "gw-lines" });
    const marks = svg("g"), labels = svg("g");
    const ticks = Array.from({ length: T }, (_, p) => p).filter((p) => p % 8 === 0 || p === T - 1 && p % 8 > 2);
    const board = svg("svg", { "aria-hidden": "true" }, faint, lines, marks, labels,
      ...ticks.map((p) => { const e = svg("text", { class: "gw-tick", x: x(p), y: -4 }); e.textContent = p; return e; }));
    const picture = node("div", { class: "gw-tree", role: "img" }, board);
    const point = (e) => {
      const box = board.getBoundingClientRect(), share = (e.clientX - box.left) / box.width;
      save({ position: clamp(Math.floor((share * (LEFT + STEP * T + 2) - LEFT) / STEP), 0, T - 1) });
    };
    board.addEventListener("pointerdown", (e) => { board.setPointerCapture(e.pointerId); point(e); });
    board.addEventListener("pointermove", (e) => { if (board.hasPointerCapture(e.pointerId)) point(e); });

    const text = node("p", { class: "gw-text" });
    const stacks = choice("design", names, (design) => save({ design, layers: designs[design].length }));
    const output = slider("output", { min: 0, max: T - 1 }, (position) => save({ position }));
    const layers = slider("layers", { min: 1, max: most }, (n) => save({ layers: n }));

    const draw = () => {
      const { design, layers: n, position } = get(), used = designs[design].slice(0, n), rows = tree(used, position).reverse();   // inputs first
      const height = Math.max(24 * designs[design].length, 130), y = (k) => -20 - k * Math.min(height / n, 60);
      board.setAttribute("viewBox", `0 ${-26 - height} ${LEFT + STEP * T + 2} ${height + 28}`);
      const line = (k, p, q) => {                        // from layer k at q up to layer k + 1 at p, cut off left of the drawing
        const cut = Math.max(q, -0.5), share = p === q ? 0 : (cut - q) / (p - q);
        return `M${x(cut)} ${(y(k) - share * (y(k) - y(k + 1))).toFixed(2)}L${x(p)} ${y(k + 1).toFixed(2)}`;
      };
      const all = (k, places) => places.filter((p) => p >= 0).map((p) => line(k, p, p) + line(k, p, p - used[k])).join("");
      const every = Array.from({ length: T }, (_, p) => p);
      faint.setAttribute("d", used.map((_, k) => all(k, every)).join(""));
      lines.setAttribute("d", used.map((_, k) => all(k, rows[k + 1])).join(""));
      marks.replaceChildren(...rows.flatMap((row, k) => every.map((p) =>
        svg("circle", { cx: x(p), cy: y(k).toFixed(2), r: 2.9, class: row.includes(p) ? (k === n ? "gw-out" : "gw-lit") : "", "data-at": `${k},${p}` }))));
      labels.replaceChildren(...rows.map((_, k) => { const e = svg("text", { x: 0, y: (y(k) + 3.3).toFixed(2) }); e.textContent = k ? `\u00d7${used[k - 1]}` : "in"; return e; }));
      const field = 1 + used.reduce((a, b) => a + b), nodes = rows.slice(1).reduce((sum, row) => sum + row.length, 0), s = n > 1 ? "s" : "";
      const before = field - 1 - position, skipped = field - rows[0].length;
      const time = rate === null ? "" : ` (${((1000 * field) / rate).toFixed(2)} ms)`;
      const zeros = before > 0 ? `, ${before} of them before the start, zeros` : "", holes = skipped ? `, ${skipped} of them skipped` : "";
      text.textContent = `${n} layer${s}, dilation${s} ${used.join(", ")}: the output at ${position} reaches over ${field} samples${time}${zeros}${holes}. One more output computes ${nodes} value${nodes > 1 ? "s" : ""}, or ${n} with a cache`;
      stacks.set(design);
      output.set(position, `at ${position}`);
      layers.input.max = designs[design].length;
      layers.set(n, `${n} of ${designs[design].length}`);
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${names[design]}, ${text.textContent}`);
      root.dataset.value = `${design},${n},${position}`;
    };

    if (names.length > 1) root.append(stacks.row);
    root.append(picture, node("p", { class: "gw-text" }, "\u00d74: a layer of dilation 4; lit: what the output reads."), text, output.row, layers.row);
    listen("change:design change:layers change:position", draw);
    draw();
    show();
    return close;
  },
};
