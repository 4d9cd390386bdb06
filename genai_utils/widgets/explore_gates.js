// What a recurrent network holds while it reads: text tinted by one unit, all units as a heat map, a value in words.
const STEPS = 254;                                       // levels 0 ... 254 span a quantity's range
const SPOKEN = { " ": "a space", "\n": "a line end", "\t": "a tab" };
const GLYPHS = { "\n": "\u21b5", "\t": "\u21e5" };

/** Two decimals, ties away from 0; never a negative 0. */
const two = (v) => {
  const text = Math.abs(v).toFixed(2);
  return v < 0 && text !== "0.00" ? `\u2212${text}` : text;
};

export default {
  render({ model, el }) {
    const [names, ranges, units, words] = ["names", "ranges", "units", "words"].map((k) => model.get(k));
    const letters = Array.from(model.get("text")), T = letters.length, U = units.length, Q = names.length;
    const levels = bytes(model.get("levels")), palettes = bytes(model.get("palettes"));
    const { root, listen, show, close } = mount(model, el, "explore-gates");
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    const get = () => ({ quantity: clamp(model.get("quantity"), 0, Q - 1), unit: clamp(model.get("unit"), 0, U - 1), at: clamp(model.get("at"), 0, T - 1) });
    const level = (q, i, u) => levels[(q * T + i) * U + u];
    const color = (q, k) => palettes.subarray(4 * ((STEPS + 1) * q + k), 4 * ((STEPS + 1) * q + k) + 4);   // red, green, blue, ink

    let waiting = 0, timer = 0;
    const save = (values) => {                           // the picture moves at once; the kernel hears at most every 50 ms
      for (const k in values) model.set(k, values[k]);
      waiting ||= setTimeout(() => { waiting = 0; model.save_changes(); }, 50);
    };

    // the text: a box for each character; lines end at line ends and, where they must, after a word
    const boxes = letters.map((letter, i) => node("span", { click: () => { stop(); save({ at: i }); } }, GLYPHS[letter] ?? letter));
    const page = node("div", { class: "gw-letters" });
    let word = null;
    boxes.forEach((box, i) => {
      if (!word || word.childElementCount === 20) page.append(word = node("span", { class: "gw-word" }));
      word.append(box);
      if (letters[i] === "\n") page.append(node("br"));
      if (letters[i] === "\n" || letters[i] === " ") word = null;
    });

    // the heat map: a column for each character, a row for each unit
    const map = screen(T, U, 0);
    map.canvas.classList.add("gw-pixels");
    map.canvas.setAttribute("style", `height:${clamp(8 * U, 48, 256)}px`);
    // a line on either side of the marked column and row, outside it: what is marked stays to be seen
    const sides = (axis, n) => [0, 1].map((side) => {
      const move = axis === "x" ? `translate(${3 * side - 1.5} 0)` : `translate(0 ${3 * side - 1.5})`;
      const lines = [["#000", 3], ["#fff", 1]].map(([stroke, width]) => svg("line", { stroke, "stroke-width": width, transform: move, ...(axis === "x" ? { y2: "100%" } : { x2: "100%" }) }));
      return { lines, set: (i) => { for (const line of lines) for (const end of [1, 2]) line.setAttribute(axis + end, `${(100 * (i + side)) / n}%`); } };
    });
    const marks = { x: sides("x", T), y: sides("y", U) };
    const pad = node("div", { class: "gw-pad" }, map.canvas, svg("svg", { "aria-hidden": "true" }, ...[...marks.y, ...marks.x].flatMap((side) => side.lines)));
    const point = (e) => {
      const box = map.canvas.getBoundingClientRect();
      const cell = (share, n) => clamp(Math.floor(share * n), 0, n - 1);
      stop();
      save({ at: cell((e.clientX - box.left) / box.width, T), unit: cell((e.clientY - box.top) / box.height, U) });
    };
    pad.addEventListener("pointerdown", (e) => { pad.setPointerCapture(e.pointerId); point(e); });
    pad.addEventListener("pointermove", (e) => { if (pad.hasPointerCapture(e.pointerId)) point(e); });
    const title = node("p", { class: "gw-title" });
    const picture = node("div", { role: "img" }, page, pad, title);

    // the colours and their values
    const bar = screen(STEPS + 1, 1, 0);
    bar.canvas.removeAttribute("style");
    const [low, high] = [node("span"), node("span")];
    const scale = node("div", { class: "gw-scale", "aria-hidden": "true" }, low, bar.canvas, high);

    const text = node("p", { class: "gw-text" }), note = node("p", { class: "gw-text" });
    const next = () => { const { at } = get(); save({ at: at >= T - 1 ? 0 : at + 1 }); };
    const button = node("button", { type: "button", click: () => {
      if (timer) return stop();
      next();
      if (still.matches) return;                         // reduced motion: one character for each press
      timer = setInterval(() => { if (get().at >= T - 1) stop(); else next(); }, 150);
      caption();
    } });
    const caption = () => { button.textContent = still.matches ? "Next" : timer ? "Pause" : "Play"; };
    const stop = () => { clearInterval(timer); timer = 0; caption(); };
    const position = slider("character", { min: 0, max: T - 1 }, (at) => { stop(); save({ at }); });
    const quantities = choice("quantity", names, (quantity) => save({ quantity }));
    const few = U <= 6, pick = (unit) => save({ unit });
    const unit_control = few ? choice("unit", units, pick) : slider("unit", { min: 0, max: U - 1 }, pick);

    let painted = -1, tinted = "";                       // quantity of the map, quantity and unit of the text
    const draw = () => {
      const { quantity: q, unit: u, at } = get(), [lo, hi] = ranges[q];
      if (painted !== q) {
        const pixels = map.pen.createImageData(T, U), strip = bar.pen.createImageData(STEPS + 1, 1);
        for (let y = 0; y < U; y++) {
          for (let x = 0; x < T; x++) {
            const [r, g, b] = color(q, level(q, x, y));
            pixels.data.set([r, g, b, 255], 4 * (y * T + x));
          }
        }
        for (let k = 0; k <= STEPS; k++) strip.data.set([...color(q, k).subarray(0, 3), 255], 4 * k);
        map.pen.putImageData(pixels, 0, 0);
        bar.pen.putImageData(strip, 0, 0);
        low.textContent = two(lo);
        high.textContent = two(hi);
        title.textContent = `${names[q]}: a row for each unit, a column for each character`;
        note.textContent = words[names[q]] ? `${names[q]}: ${words[names[q]]}` : "";
        note.hidden = !words[names[q]];
        painted = q;
      }
      if (tinted !== `${q},${u}`) {
        boxes.forEach((box, i) => {
          const [r, g, b, ink] = color(q, level(q, i, u));
          box.style.background = `rgb(${r}, ${g}, ${b})`;
          box.style.color = ink ? "#fff" : "#000";
        });
        tinted = `${q},${u}`;
      }
      boxes.forEach((box, i) => box.classList.toggle("gw-here", i === at));
      for (const side of marks.x) side.set(at);
      for (const side of marks.y) side.set(u);
      const value = lo + ((hi - lo) * level(q, at, u)) / STEPS, spoken = SPOKEN[letters[at]] ?? `\u201c${letters[at]}\u201d`;
      const words_now = `After ${spoken} (character ${at + 1} of ${T}): ${names[q]} of unit ${units[u]} is ${two(value)}`;
      position.set(at, `${spoken}, ${at + 1} of ${T}`);
      position.input.setAttribute("aria-valuetext", `${spoken}, ${at + 1} of ${T}: ${two(value)}`);
      quantities.set(q);
      unit_control.set(u, units[u]);
      unit_control.input?.setAttribute("aria-valuetext", `${units[u]}: ${two(value)}`);
      text.textContent = words_now;
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${words_now}`);
      Object.assign(root.dataset, { value: `${q},${u},${at}`, number: value });
    };

    root.append(...(Q > 1 ? [quantities.row] : []), picture, scale, text, note, position.row, ...(U > 1 ? [unit_control.row] : []), button);
    listen("change:quantity change:unit change:at", draw);
    still.addEventListener("change", stop);
    stop();
    draw();
    show();
    return () => { stop(); clearTimeout(waiting); still.removeEventListener("change", stop); close(); };
  },
};
