// What a pixel sees of the pixels before it: choose a pixel, a stack of masked convolutions and a depth.
const [ITSELF, SEEN, BLIND, FAR, LATER, LEAK] = [0, 1, 2, 3, 4, 5];
const WORDS = ["the pixel", "seen", "blind spot", "out of reach", "later", "seen, but must not be"];

export default {
  render({ model, el }) {
    const [names, D, n] = ["names", "layers", "side"].map((k) => model.get(k)), M = 2 * n - 1, packed = bytes(model.get("bits"));
    const { root, listen, show, close } = mount(model, el, "explore-receptive-field");
    const get = () => ({ stack: clamp(model.get("stack"), 0, names.length - 1), depth: clamp(model.get("depth"), 1, D), place: clamp(model.get("place"), 0, n * n - 1) });
    const save = (values) => { for (const k in values) model.set(k, values[k]); model.save_changes(); };

    /** Whether the pixel i rows below and j columns to the right is seen. */
    const sees = (stack, depth, i, j) => {
      const at = ((stack * D + depth - 1) * M + i + n - 1) * M + j + n - 1;
      return (packed[at >> 3] >> (7 - (at & 7))) & 1;
    };
    const reaches = new Map();                           // of a stack at a depth: the rectangle that its layers span
    const reach = (stack, depth) => {
      const key = `${stack},${depth}`;
      if (reaches.has(key)) return reaches.get(key);
      const box = { top: 0, left: 0, right: 0 };
      for (let i = 1 - n; i <= 0; i++) for (let j = 1 - n; j < (i ? n : 0); j++) {
        if (!sees(stack, depth, i, j)) continue;
        Object.assign(box, { top: Math.min(box.top, i), left: Math.min(box.left, j), right: Math.max(box.right, j) });
      }
      reaches.set(key, box);
      return box;
    };
    const tones = ({ stack, depth, place }) => {
      const row = Math.floor(place / n), column = place % n, { top, left, right } = reach(stack, depth);
      return Array.from({ length: n * n }, (_, p) => {
        const i = Math.floor(p / n) - row, j = (p % n) - column, seen = sees(stack, depth, i, j);
        if (p >= place) return seen ? LEAK : p === place ? ITSELF : LATER;
        return seen ? SEEN : i >= top && j >= left && j <= right ? BLIND : FAR;
      });
    };

    const rect = (x, y, kind) => svg("rect", { x, y, width: 1, height: 1, class: kind });
    const cells = Array.from({ length: n * n }, (_, p) => rect(p % n, Math.floor(p / n), ""));
    const hatch = svg("path", { class: "gw-hatch" }), leaks = svg("path", { class: "gw-leaks" });
    const cursor = svg("g", {}, rect(0, 0, "gw-ring"), rect(0, 0, "gw-ring"));
    const board = svg("svg", { viewBox: `0 0 ${n} ${n}`, "aria-hidden": "true" }, ...cells, hatch, leaks, cursor);
    const picture = node("div", { role: "img" }, board);
    const pad = node("div", { class: "gw-board", tabindex: 0, role: "application", "aria-label": "Pixels: point at one, or use the arrow keys" }, picture);
    const point = (e) => {
      const box = board.getBoundingClientRect(), cell = (share) => clamp(Math.floor(share * n), 0, n - 1);
      save({ place: cell((e.clientY - box.top) / box.height) * n + cell((e.clientX - box.left) / box.width) });
    };
    pad.addEventListener("pointerdown", (e) => { pad.setPointerCapture(e.pointerId); pad.focus(); point(e); e.preventDefault(); });
    pad.addEventListener("pointermove", (e) => { if (pad.hasPointerCapture(e.pointerId)) point(e); });
    pad.addEventListener("keydown", (e) => {
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
      if (!move) return;
      e.preventDefault();
      const { place } = get();
      save({ place: clamp(Math.floor(place / n) + move[0], 0, n - 1) * n + clamp((place % n) + move[1], 0, n - 1) });
    });

    const diagonal = (x, y) => `M${x} ${y + 0.5}L${x + 0.5} ${y}M${x + 0.5} ${y + 1}L${x + 1} ${y + 0.5}`;
    const cross = (x, y) => `M${x + 0.2} ${y + 0.2}L${x + 0.8} ${y + 0.8}M${x + 0.2} ${y + 0.8}L${x + 0.8} ${y + 0.2}`;
    const swatch = (tone) => svg("svg", { viewBox: "0 0 1 1", "aria-hidden": "true" }, rect(0, 0, `gw-t${tone}`),
      ...(tone === BLIND ? [svg("path", { d: diagonal(0, 0) })] : tone === LEAK ? [svg("path", { class: "gw-leaks", d: cross(0, 0) })] : tone === ITSELF ? [rect(0, 0, "gw-ring"), rect(0, 0, "gw-ring")] : []));
    const keys = WORDS.map((word, tone) => node("span", {}, swatch(tone), word));
    const text = node("p", { class: "gw-text" });
    const stacks = choice("stack", names, (stack) => save({ stack }));
    const position = slider("pixel", { min: 0, max: n * n - 1 }, (place) => save({ place }));
    const layers = slider("layers", { min: 1, max: D }, (depth) => save({ depth }));

    const draw = () => {
      const state = get(), { stack, depth, place } = state, row = Math.floor(place / n), column = place % n;
      const all = tones(state), count = (tone) => all.filter((other) => other === tone).length;
      cells.forEach((cell, p) => cell.setAttribute("class", `gw-t${all[p]}`));
      const strokes = (tone, stroke) => all.map((other, p) => (other === tone ? stroke(p % n, Math.floor(p / n)) : "")).join("");
      hatch.setAttribute("d", strokes(BLIND, diagonal));
      leaks.setAttribute("d", strokes(LEAK, cross));
      cursor.setAttribute("transform", `translate(${column} ${row})`);
      keys[LEAK].hidden = !count(LEAK);
      stacks.set(stack);
      position.set(place, `(${row}, ${column})`);
      layers.set(depth, `${depth} of ${D}`);
      const leak = count(LEAK) ? `; it also sees ${count(LEAK)} that it must not see, itself or later ones` : "";
      text.textContent = `${names[stack]}, ${depth} layer${depth > 1 ? "s" : ""}: pixel (${row}, ${column}) sees ${count(SEEN)} of ${place} earlier pixels; ${count(BLIND)} in the blind spot, ${count(FAR)} out of reach${leak}`;
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${text.textContent}`);
      root.dataset.value = `${stack},${depth},${place}`;
    };

    if (names.length > 1) root.append(stacks.row);
    root.append(pad, node("p", { class: "gw-key" }, ...keys), text, position.row, layers.row);
    listen("change:stack change:depth change:place", draw);
    draw();
    show();
    return close;
  },
};
