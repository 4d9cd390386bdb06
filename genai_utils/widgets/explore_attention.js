// Where attention looks: the keys of one query as tinted tokens, a head as a heat map, its largest weights in words.
const TOP = 255, TOLD = 3;                               // level k is the weight (k / 255)^2; three weights are told
const GLYPHS = { " ": "\u00b7", "\n": "\u21b5", "\t": "\u21e5", "\r": "\u2190" };

/** A token with a sign for each space, line end and tab. */
const visible = (token) => Array.from(token, (letter) => GLYPHS[letter] ?? letter).join("") || "\u2205";
const quoted = (token) => `\u201c${visible(token)}\u201d`;
const percent = (share) => Math.floor(100 * share + 0.5);

export default {
  render({ model, el }) {
    const [queries, keys, layers, heads, words, alone] = ["queries", "sources", "layers", "heads", "words", "alone"].map((k) => model.get(k));
    const T = queries.length, S = keys.length, L = layers.length, H = heads.length;
    const levels = bytes(model.get("levels")), palette = bytes(model.get("palette"));
    const { root, listen, show, close } = mount(model, el, "explore-attention");
    const get = () => ({ layer: clamp(model.get("layer"), 0, L - 1), head: clamp(model.get("head"), 0, H - 1), at: clamp(model.get("at"), 0, T - 1) });
    const color = (k) => palette.subarray(4 * k, 4 * k + 4);                        // red, green, blue, ink

    let waiting = 0;
    const save = (values) => {                           // the picture moves at once; the kernel hears at most every 50 ms
      for (const k in values) model.set(k, values[k]);
      waiting ||= setTimeout(() => { waiting = 0; model.save_changes(); }, 50);
    };

    // a text: a box for each token, a new line after a line end
    const text = (tokens, title, click) => {
      const boxes = tokens.map((token, i) => node("span", click ? { click: () => click(i) } : {}, visible(token)));
      const page = node("div", { class: click ? "gw-tokens gw-chosen" : "gw-tokens" }, node("span", { class: "gw-which" }, title));
      boxes.forEach((box, i) => page.append(box, ...(tokens[i].includes("\n") ? [node("br")] : [])));
      return { page, boxes };
    };
    const pick = (at) => save({ at });
    const asked = text(queries, alone ? "tokens" : "queries", pick);
    const looked = alone ? asked : text(keys, "keys", null);

    // the heat map: a row for each query, a column for each key; a frame around the chosen row
    const cell = clamp(360 / Math.max(T, S), 2, 20), map = screen(S, T, Math.max(120, Math.round(cell * S)));
    map.canvas.classList.add("gw-pixels");
    map.canvas.style.height = `${Math.max(60, Math.round(cell * T))}px`;
    const frame = [["#000", 4], ["#fff", 1.5]].map(([stroke, width]) => svg("rect", { x: 0, width: "100%", height: `${100 / T}%`, fill: "none", stroke, "stroke-width": width }));
    const pad = node("div", { class: "gw-pad" }, map.canvas, svg("svg", { "aria-hidden": "true" }, ...frame));
    const point = (e) => {
      const box = map.canvas.getBoundingClientRect();
      pick(clamp(Math.floor(((e.clientY - box.top) / box.height) * T), 0, T - 1));
    };
    pad.addEventListener("pointerdown", (e) => { pad.setPointerCapture(e.pointerId); point(e); });
    pad.addEventListener("pointermove", (e) => { if (pad.hasPointerCapture(e.pointerId)) point(e); });
    const title = node("p", { class: "gw-title" }, "a row for each query, a column for each key");

    // the colours and their weights
    const bar = screen(TOP + 1, 1, 0);
    bar.canvas.removeAttribute("style");
    const strip = bar.pen.createImageData(TOP + 1, 1);
    for (let k = 0; k <= TOP; k++) strip.data.set([...color(k).subarray(0, 3), 255], 4 * k);
    bar.pen.putImageData(strip, 0, 0);
    const marks = node("div", { class: "gw-marks" }, ...[0, 0.1, 0.25, 0.5, 1].map((w) => node("span", { style: `left:${100 * Math.sqrt(w)}%` }, `${100 * w}`)));
    const scale = node("div", { class: "gw-scale", "aria-hidden": "true" }, "weight in %", node("div", {}, bar.canvas, marks));

    const side = node("div", { class: "gw-map" }, pad, title, scale);
    const said = node("p", { class: "gw-text" }), note = node("p", { class: "gw-text" });
    const picture = node("div", { role: "img", class: "gw-sides" },
      node("div", { class: "gw-read" }, asked.page, ...(alone ? [] : [looked.page])), side);
    const position = slider(alone ? "token" : "query", { min: 0, max: T - 1 }, pick);
    const layer_control = choice("layer", layers, (layer) => save({ layer }));
    const head_control = choice("head", heads, (head) => save({ head }));

    let painted = "";
    const draw = () => {
      const { layer, head, at } = get(), first = (layer * H + head) * T * S;
      const row = levels.subarray(first + at * S, first + (at + 1) * S);
      if (painted !== `${layer},${head}`) {
        const pixels = map.pen.createImageData(S, T);
        for (let k = 0; k < T * S; k++) pixels.data.set([...color(levels[first + k]).subarray(0, 3), 255], 4 * k);
        map.pen.putImageData(pixels, 0, 0);
        painted = `${layer},${head}`;
      }
      looked.boxes.forEach((box, j) => {
        const [r, g, b, ink] = color(row[j]);
        box.style.background = `rgb(${r}, ${g}, ${b})`;
        box.style.color = ink ? "#fff" : "#000";
      });
      asked.boxes.forEach((box, i) => box.classList.toggle("gw-here", i === at));
      for (const rect of frame) rect.setAttribute("y", `${(100 * at) / T}%`);
      const shares = Array.from(row, (k) => (k / TOP) * (k / TOP));
      const told = Array.from(row.keys()).sort((i, j) => row[j] - row[i] || i - j).slice(0, TOLD).filter((j) => percent(shares[j]) >= 1);
      const looks = told.map((j) => `${quoted(keys[j])} (${j + 1}) ${percent(shares[j])} %`);
      const rest = Math.max(0, 1 - told.reduce((sum, j) => sum + shares[j], 0));
      if (told.length < S && percent(rest) >= 1) looks.push(`${told.length ? "all others together" : "all keys together"} ${percent(rest)} %`);
      const head_words = `Layer ${layers[layer]}, head ${heads[head]}`;
      const now = `${head_words}: ${quoted(queries[at])} (token ${at + 1} of ${T}) looks at ${looks.join(", ")}`;
      position.set(at, `${quoted(queries[at])}, ${at + 1} of ${T}`);
      position.input.setAttribute("aria-valuetext", `${quoted(queries[at])}, ${at + 1} of ${T}: ${looks.join(", ")}`);
      layer_control.set(layer);
      head_control.set(head);
      said.textContent = now;
      note.textContent = words[layer][head] ? `${head_words}: ${words[layer][head]}` : "";
      note.hidden = !words[layer][head];
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${now}`);
      Object.assign(root.dataset, { value: `${layer},${head},${at}`, told: told.map((j) => `${j}:${shares[j]}`).join(",") });
    };

    root.append(...(L > 1 ? [layer_control.row] : []), ...(H > 1 ? [head_control.row] : []), position.row, said, note, picture);
    listen("change:layer change:head change:at", draw);
    draw();
    show();
    return () => { clearTimeout(waiting); close(); };
  },
};
