// A game on points: data, samples, where the discriminator believes what, and where it pushes the samples; frame by frame.
const OUT = 65535, LEVELS = 65534, LONGEST = 0.12, BINS = 48;              // as in Python
const PAPER = [[255, 255, 255], [28, 28, 28]], LOW = [[92, 165, 214], [0, 92, 148]], HIGH = [[240, 160, 84], [184, 84, 0]];
const SIDE = 400, FLOOR = 200, CEILING = 8;              // of the drawing; the last two on a line only

export default {
  async render({ model, el }) {
    const [g, D, N, reels, charts, steps, peak] = ["grid", "dims", "frames", "reels", "charts", "steps", "peak"].map((k) => model.get(k));
    const F = reels.length, flat = D === 1, tall = flat ? 1 : g, columns = model.get("columns"), height = flat ? 240 : SIDE;
    const sheet = await bitmap(model.get("sheet"), model.get("mime"));
    const { root, listen, show, close } = mount(model, el, "play-game");
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    const whole = (name) => new Uint16Array(bytes(model.get(name)).slice().buffer);
    const real = whole("real"), fake = whole("fake"), push = new Int8Array(bytes(model.get("push")).slice().buffer);
    const n = fake.length / (F * N * D), m = push.length / (F * N * D);
    const get = () => ({ film: clamp(model.get("film"), 0, F - 1), index: clamp(model.get("index"), 0, N - 1) });

    let waiting = 0, timer = 0, saying = 0;
    const save = (values) => {                           // the picture moves at once; the kernel hears at most every 50 ms
      for (const k in values) model.set(k, values[k]);
      waiting ||= setTimeout(() => { waiting = 0; model.save_changes(); }, 50);
    };
    const next = () => save({ index: get().index >= N - 1 ? 0 : get().index + 1 });
    const button = node("button", { type: "button", click: () => {
      if (timer) return stop();
      next();
      if (still.matches) return;                         // reduced motion: one frame for each press
      timer = setInterval(() => { if (get().index >= N - 1) stop(); else next(); }, model.get("interval"));
      caption();
    } });
    const caption = () => { button.textContent = still.matches ? "Next" : timer ? "Pause" : "Play"; };
    const stop = () => { if (timer) say(); clearInterval(timer); timer = 0; caption(); };
    const position = slider(model.get("label"), { min: 0, max: N - 1 }, (index) => { stop(); save({ index }); });
    const films = choice(model.get("choice"), reels.map((r) => r.name), (film) => save({ film }));

    // the numbers are read out once the reader has stopped moving, not at every frame
    const text = node("p", { class: "gw-text" }), status = node("p", { class: "gw-said", role: "status" });
    const say = () => { clearTimeout(saying); saying = setTimeout(() => { if (!timer) status.textContent = text.textContent; }, 700); };

    // colours of the field: below the middle one hue, above it another, for a light page and for a dark one
    const mix = (a, b, share) => Math.floor((a * (255 - share) + b * share + 127) / 255);
    const palettes = [0, 1].map((dark) => Array.from({ length: 256 }, (_, k) => {
      const d = 2 * k - 255, end = (d < 0 ? LOW : HIGH)[dark];
      return [...PAPER[dark].map((c, i) => mix(c, end[i], Math.abs(d))), 255];
    }));
    const isDark = () => (getComputedStyle(root).colorScheme === "dark" ? 1 : 0);
    const all = screen(sheet.width, sheet.height, 1).pen;
    all.drawImage(sheet, 0, 0);
    const levels = ({ film, index }) => {
      const tile = film * N + index, { data } = all.getImageData((tile % columns) * g, Math.floor(tile / columns) * tall, g, tall);
      return Uint8Array.from({ length: g * tall }, (_, i) => data[4 * i]);
    };

    const fine = (v) => v.toFixed(1);
    const px = (q) => (q / LEVELS) * SIDE, py = (q) => SIDE - px(q);
    const dots = (from, count, place) => {               // D numbers a point; those outside the extent are not drawn
      let d = "";
      for (let i = 0; i < count; i++) if (from[i * D] !== OUT) d += place(from, i);
      return d;
    };
    const ring = (x, y, r = 3.2) => `M${fine(x - r)} ${fine(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
    const arrow = (x, y, u, v) => {
      const length = Math.hypot(u, v);
      if (length < 0.8) return "";
      const a = u / length, b = v / length, h = Math.min(6, 0.5 * length), X = x + u, Y = y + v;
      return `M${fine(x)} ${fine(y)}L${fine(X)} ${fine(Y)}M${fine(X - h * a - 0.6 * h * b)} ${fine(Y - h * b + 0.6 * h * a)}L${fine(X)} ${fine(Y)}L${fine(X - h * a + 0.6 * h * b)} ${fine(Y - h * b - 0.6 * h * a)}`;
    };
    const bars = (from, count) => {
      const heights = new Array(BINS).fill(0);
      for (let i = 0; i < count; i++) if (from[i] !== OUT) heights[Math.floor((from[i] * BINS) / (LEVELS + 1))] += 1 / count;
      const top = (v) => fine(FLOOR - Math.min(1, v / peak) * (FLOOR - CEILING));
      return `M0 ${FLOOR}${heights.map((v, k) => `V${top(v)}H${fine(((k + 1) * SIDE) / BINS)}`).join("")}V${FLOOR}`;
    };

    const marks = Object.fromEntries((flat ? ["bars", "outline", "line", "push"] : ["real", "push-halo", "push", "halo", "fake"])
      .map((name) => [name, svg("path", { class: `gw-${name}` })]));
    const field = screen(g, tall, 0), lines = svg("svg", { viewBox: `0 0 ${SIDE} ${height}`, "aria-hidden": "true" });
    field.canvas.classList.remove("gw-pixels");
    field.canvas.style.width = `${(100 * g) / (g - 1)}%`; // the outermost places lie on the frame
    field.canvas.style.left = field.canvas.style.top = `${-50 / (g - 1)}%`;
    if (flat) lines.append(...[CEILING, (CEILING + FLOOR) / 2, FLOOR].map((y) => svg("path", { class: "gw-grid", d: `M0 ${y}H${SIDE}` })));
    lines.append(...Object.values(marks));
    const [lo, hi] = model.get("extent").map((v) => String(Math.round(1e6 * v) / 1e6).replace("-", "\u2212"));
    const board = node("div", { class: "gw-board", style: `aspect-ratio: ${SIDE} / ${height}` }, flat ? "" : field.canvas, lines);

    // the key: what the marks, the colours and the thin lines mean
    const sample = (...drawn) => svg("svg", { class: "gw-sample", viewBox: "0 0 30 16", "aria-hidden": "true" }, ...drawn);
    const path = (name, d) => svg("path", { class: `gw-${name}`, d });
    const ramp = screen(256, 1, 0);
    ramp.canvas.removeAttribute("style");
    const ends = [node("span"), node("span")];
    const key = node("div", { class: "gw-key", "aria-hidden": "true" }, ...(flat ? [
      node("span", {}, sample(path("outline", "M2 15V3H28V15")), "data"), node("span", {}, sample(path("bars", "M2 15V3H28V15")), "samples"),
      node("span", {}, sample(path("line", "M0 8H30")), `${model.get("field_name")}, from `, ends[0], " to ", ends[1]),
    ] : [
      node("span", {}, sample(path("real", ring(15, 8))), "data"), node("span", {}, sample(path("fake", "M15 8h0")), "samples"),
      node("span", {}, model.get("field_name"), " ", ends[0], ramp.canvas, ends[1]),
    ]), m ? node("span", {}, sample(path("push", arrow(3, 8, 24, 0))), model.get("same_scale") ? "push on a sample, one scale for all frames" : "push on a sample, to each frame\u2019s own scale") : "");

    // one chart for each curve: this film's line, the others thin
    const [left, right, top, bottom] = [44, 204, 8, 84];
    const plots = charts.map(({ name, lo, hi, ticks }) => {
      const y = (v) => bottom - ((v - lo) / (hi - lo)) * (bottom - top), x = (k) => left + (k / (N - 1)) * (right - left);
      const curve = (values) => values.map((v, k) => (v === null ? "" : `${k && values[k - 1] !== null ? "L" : "M"}${fine(x(k))} ${fine(y(v))}`)).join("");
      const every = ticks.filter((_, i) => ticks.length < 5 || i % 2 === 0), words = (v, anchor, a, b) => svg("text", { x: a, y: b, "text-anchor": anchor }, v);
      const drawn = reels.map((r) => (r.curves[name] ? svg("path", { d: curve(r.curves[name]) }) : null));
      const cursor = svg("path", { class: "gw-cursor" }), dot = svg("circle", { r: 4, class: "gw-dot" });
      const chart = svg("svg", { viewBox: "0 0 210 102", "aria-hidden": "true" }, ...every.flatMap(([v, said]) => [svg("path", { class: "gw-grid", d: `M${left} ${fine(y(v))}H${right}` }), words(said, "end", left - 5, y(v) + 4)]),
        words(steps[0], "start", left, 98), words(steps[N - 1], "end", right, 98), ...drawn.filter(Boolean), cursor, dot);
      const set = ({ film, index }) => {
        drawn.forEach((line, f) => line?.setAttribute("class", f === film ? "gw-now" : "gw-other"));
        cursor.setAttribute("d", `M${fine(x(index))} ${top}V${bottom}`);
        const v = reels[film].curves[name]?.[index] ?? null;
        dot.setAttribute("visibility", v === null ? "hidden" : "visible");
        if (v !== null) for (const [k, place] of [["cx", x(index)], ["cy", y(v)]]) dot.setAttribute(k, fine(place));
      };
      return { row: node("div", {}, node("p", { class: "gw-title" }, name), chart), set };
    });

    const draw = () => {
      const now = get(), { film, index } = now, reel = reels[film], frame = film * N + index, palette = palettes[isDark()];
      const k = levels(now), samples = fake.subarray(frame * n * D, (frame + 1) * n * D), arrows = push.subarray(frame * m * D, (frame + 1) * m * D);
      const reach = (LONGEST * SIDE) / 127, pushed = (place) => dots(samples, m, place);
      if (flat) {
        marks.bars.setAttribute("d", bars(samples, n));
        marks.outline.setAttribute("d", bars(real, real.length));
        marks.line.setAttribute("d", Array.from(k, (v, i) => `${i ? "L" : "M"}${fine((i / (g - 1)) * SIDE)} ${fine(FLOOR - (v / 255) * (FLOOR - CEILING))}`).join(""));
        marks.push.setAttribute("d", pushed((q, i) => arrow(px(q[i]), FLOOR + 8 + 3.5 * (i % 8), arrows[i] * reach, 0)));
      } else {
        const colors = field.pen.createImageData(g, g);
        for (let i = 0; i < g * g; i++) colors.data.set(palette[k[(g - 1 - Math.floor(i / g)) * g + (i % g)]], 4 * i);
        field.pen.putImageData(colors, 0, 0);
        const scale = ramp.pen.createImageData(256, 1);
        palette.forEach((color, i) => scale.data.set(color, 4 * i));
        ramp.pen.putImageData(scale, 0, 0);
        marks.real.setAttribute("d", dots(real, real.length / 2, (q, i) => ring(px(q[2 * i]), py(q[2 * i + 1]))));
        for (const name of ["halo", "fake"]) marks[name].setAttribute("d", dots(samples, n, (q, i) => `M${fine(px(q[2 * i]))} ${fine(py(q[2 * i + 1]))}h0`));
        for (const name of ["push-halo", "push"]) marks[name].setAttribute("d", pushed((q, i) => arrow(px(q[2 * i]), py(q[2 * i + 1]), arrows[2 * i] * reach, -arrows[2 * i + 1] * reach)));
      }
      plots.forEach(({ set }) => set(now));
      ends.forEach((end, i) => { end.textContent = reel.ends[i]; });
      films.set(film);
      position.set(index, steps[index]);
      const said = `${[reel.name, `${model.get("label")} ${steps[index]}`].filter(Boolean).join(": ")}. ${reel.captions[index]}`;
      text.textContent = said;
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${said}`);
      Object.assign(root.dataset, { value: `${film},${index}`, theme: isDark() ? "dark" : "light" });
    };

    const thin = F > 1 && plots.length ? node("p", { class: "gw-title" }, "thin lines: the others") : "";
    const picture = node("div", { role: "img", class: "gw-game" },
      node("div", { class: "gw-stage", style: `width: ${model.get("size")}px` }, board, node("p", { class: "gw-title gw-ends" }, node("span", {}, lo), node("span", {}, flat ? "x" : "x and y"), node("span", {}, hi)), key),
      plots.length ? node("div", { class: "gw-plots" }, ...plots.map(({ row }) => row), thin) : "");
    root.append(...(F > 1 ? [films.row] : []), picture, position.row, button, text, status);
    listen("change:film change:index", () => { draw(); say(); });
    still.addEventListener("change", stop);
    const theme = new MutationObserver(() => { if (root.dataset.theme !== (isDark() ? "dark" : "light")) draw(); });
    for (const page of [document.documentElement, document.body]) theme.observe(page, { attributes: true });
    stop();
    draw();
    show();
    draw();                                              // the page's colours are known only now
    return () => { stop(); theme.disconnect(); clearTimeout(waiting); clearTimeout(saying); still.removeEventListener("change", stop); close(); };
  },
};
