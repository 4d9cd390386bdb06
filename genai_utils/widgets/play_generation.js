// Generation in slow motion: what is drawn so far, and the distribution of the value that comes next.
const EMPTY = [205, 222, 236];
const FRAMES = 160;                                      // of a whole generation while it plays

export default {
  async render({ model, el }) {
    const [runs, K, table, shape, order, label] = ["runs", "bins", "table", "shape", "order", "label"].map((k) => model.get(k));
    const n = shape.reduce((a, b) => a * b), V = table.length, image = shape.length === 2, all = bytes(model.get("values"));
    const sheet = await bitmap(model.get("sheet"), model.get("mime"));
    const { root, listen, show, close } = mount(model, el, "play-generation");
    const pen = screen(sheet.width, sheet.height, 1).pen;
    pen.drawImage(sheet, 0, 0);
    const rows = pen.getImageData(0, 0, K, runs.length * n).data;                       // red holds the bars
    const still = matchMedia("(prefers-reduced-motion: reduce)"), stride = Math.max(1, Math.round(n / FRAMES));
    const place = (i) => (order.length ? order[i] : i);

    const get = () => ({ run: clamp(model.get("run"), 0, runs.length - 1), index: clamp(model.get("index"), 0, n) });
    const save = (values) => { for (const k in values) model.set(k, values[k]); model.save_changes(); };
    const next = () => { const { index } = get(); save({ index: index >= n ? 0 : Math.min(n, index + stride) }); };
    let timer = 0;
    const button = node("button", { type: "button", click: () => {
      if (timer) return stop();
      next();
      if (still.matches) return;                         // reduced motion: one frame for each press
      timer = setInterval(() => { if (get().index >= n) stop(); else next(); }, model.get("interval"));
      caption();
    } });
    const caption = () => { button.textContent = still.matches ? "Next" : timer ? "Pause" : "Play"; };
    const stop = () => { clearInterval(timer); timer = 0; caption(); };
    const position = slider(`${label}s drawn`, { min: 0, max: n }, (index) => { stop(); save({ index }); });
    const choices = choice(model.get("choice"), runs.map((r) => r.name), (run) => save({ run }));

    // the work: a canvas of pixels, or a polyline
    const [H, W] = image ? shape : [1, n], view = image ? screen(W, H, W * Math.max(1, Math.round(252 / W))) : null;
    const ring = svg("g", {}, ...[0, 1].map(() => svg("rect", { width: 1, height: 1, class: "gw-ring" })));
    const line = svg("polyline"), now = svg("line", { class: "gw-now", y1: -1.05, y2: 1.05 });
    const work = image
      ? node("div", { class: "gw-pad" }, view.canvas, svg("svg", { viewBox: `0 0 ${W} ${H}`, "aria-hidden": "true" }, ring))
      : svg("svg", { class: "gw-wave", viewBox: `0 -1.05 ${n} 2.1`, preserveAspectRatio: "none", style: "aspect-ratio: 16 / 10", "aria-hidden": "true" }, line, now);

    // the distribution of the next value
    const WIDE = 300, TALL = 150, step = WIDE / K;
    const bars = Array.from({ length: K }, (_, k) => svg("rect", { x: (k * step).toFixed(2), width: (0.86 * step).toFixed(2) }));
    const arrow = svg("path", { class: "gw-arrow", d: "M-5 9L5 9L0 1Z" });
    const write = (x, y, anchor, words) => { const e = svg("text", { x, y, "text-anchor": anchor }); e.textContent = words; return e; };
    const peak = write(0, -5, "start", "");
    const chart = svg("svg", { viewBox: `0 -20 ${WIDE} ${TALL + 58}`, "aria-hidden": "true" }, peak, ...bars,
      svg("line", { x1: 0, x2: WIDE, y1: TALL, y2: TALL }), arrow, write(0, TALL + 22, "start", "0"), write(WIDE, TALL + 22, "end", V - 1),
      write(WIDE / 2, TALL + 34, "middle", "next value; the one drawn is marked"));
    const picture = node("div", { class: "gw-panels", role: "img" }, node("div", { class: image ? "gw-work" : "gw-work gw-long" }, work), node("div", { class: "gw-next" }, chart));
    const text = node("p", { class: "gw-text" });

    const sentence = (run, i) => {
      const { entropies, chances } = runs[run];
      if (i === n) return `All ${n} ${label}s drawn; mean entropy ${(entropies.reduce((a, b) => a + b, 0) / n + 1e-9).toFixed(2)} nats each`;
      const p = place(i), where = image ? ` at (${Math.floor(p / W)}, ${p % W})` : "", odds = chances[i] < 0.001 ? "less than 0.001" : chances[i].toFixed(3);
      const name = label.charAt(0).toUpperCase() + label.slice(1).toLowerCase();
      return `${name} ${i + 1} of ${n}${where}: drew ${all[run * n + i]} of 0 to ${V - 1}, ${K === V ? "" : "in a bin "}of probability ${odds}. ` +
        `Entropy ${entropies[i].toFixed(3)} nats (${(entropies[i] / Math.LN2 + 1e-9).toFixed(2)} bits) of at most ${(Math.log(V) + 1e-9).toFixed(2)}`;
    };
    const draw = () => {
      const { run, index } = get(), codes = all.subarray(run * n, (run + 1) * n), on = index < n;
      if (image) {
        const pixels = view.pen.createImageData(W, H);
        for (let p = 0; p < n; p++) pixels.data.set([...EMPTY, 255], 4 * p);
        for (let i = 0; i < index; i++) { const grey = table[codes[i]]; pixels.data.set([grey, grey, grey], 4 * place(i)); }
        view.pen.putImageData(pixels, 0, 0);
        if (on) ring.setAttribute("transform", `translate(${place(index) % W} ${Math.floor(place(index) / W)})`);
      } else {
        const points = Array.from({ length: index }, (_, i) => [place(i), table[codes[i]]]);
        if (order.length) points.sort((a, b) => a[0] - b[0]);
        line.setAttribute("points", points.map(([x, v]) => `${x},${-v}`).join(" "));
        if (on) { now.setAttribute("x1", place(index)); now.setAttribute("x2", place(index)); }
      }
      for (const mark of [ring, now, arrow, peak]) mark.setAttribute("visibility", on ? "visible" : "hidden");
      const hit = on ? Math.floor((codes[index] * K) / V) : -1;
      bars.forEach((bar, k) => {
        const tall = on ? (rows[4 * ((run * n + index) * K + k)] / 255) * TALL : 0;
        bar.setAttribute("height", tall.toFixed(2));
        bar.setAttribute("y", (TALL - tall).toFixed(2));
        bar.setAttribute("class", k === hit ? "gw-hit" : "");
      });
      if (on) {
        arrow.setAttribute("transform", `translate(${((hit + 0.43) * step).toFixed(2)} ${TALL})`);
        peak.textContent = `tallest bar: probability ${runs[run].peaks[index].toFixed(3)}`;
      }
      text.textContent = sentence(run, index);
      choices.set(run);
      position.set(index, `${index} of ${n}`);
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${runs[run].name ? runs[run].name + ", " : ""}${text.textContent}`);
      root.dataset.value = `${run},${index}`;
    };

    if (runs.length > 1) root.append(choices.row);
    root.append(picture, text, position.row, button);
    listen("change:run change:index", draw);
    still.addEventListener("change", stop);
    stop();
    draw();
    show();
    return () => { stop(); still.removeEventListener("change", stop); close(); };
  },
};
