// Noise schedules: curves of beta, alpha_bar and signal-to-noise ratio, and the noised picture, all computed here.

/** alpha_bar (T) in doubles; the formulas of genai_utils/diffusion/schedules.py, in their order. */
const schedule = ({ T, kind, beta_start, beta_end, s, zero_snr }) => {
  let keep = 1;
  const f = (i) => Math.cos((((i / T) + s) / (1 + s)) * Math.PI / 2) ** 2;
  const curve = Float64Array.from({ length: T }, (_, i) => {
    const left = kind === "linear" ? 1 - (beta_start + ((beta_end - beta_start) * i) / (T - 1)) : Math.max(f(i + 1) / f(i), 1 - 0.999);
    return (keep *= left);
  });
  if (!zero_snr) return curve;
  const first = Math.sqrt(curve[0]), last = Math.sqrt(curve[T - 1]);
  return curve.map((a) => (((Math.sqrt(a) - last) * first) / (first - last)) ** 2);
};

/** A small plot: set(values) draws a curve over t, mark(t) a dot on it. */
const plot = (title, lo, hi, ticks, colour) => {
  const W = 210, H = 120, L = 34, B = 18, top = 20;
  const px = (u) => L + u * (W - L - 6), py = (v) => top + (1 - (clamp(v, lo, hi) - lo) / (hi - lo)) * (H - top - B);
  const line = svg("path", { fill: "none", stroke: `var(--gw-${colour})`, "stroke-width": 2.5 });
  const dot = svg("circle", { r: 5, fill: `var(--gw-${colour})`, stroke: "currentColor", "stroke-width": 1.5 });
  const grid = ticks.flatMap((v) => [svg("line", { x1: L, x2: W - 6, y1: py(v), y2: py(v), stroke: "currentColor", "stroke-opacity": 0.25 }),
    svg("text", { x: L - 4, y: py(v) + 4, "text-anchor": "end" }, String(v).replace("-", "\u2212"))]);
  const picture = svg("svg", { viewBox: `0 0 ${W} ${H}`, "aria-hidden": "true" }, ...grid, svg("text", { x: L, y: 12 }, title),
    svg("text", { x: W - 6, y: H - 4, "text-anchor": "end" }, "t"), line, dot);
  let values = [];
  const last = () => values.length - 1;
  return { picture,
    set: (v) => { values = v; line.setAttribute("d", Array.from(v, (a, i) => `${i ? "L" : "M"}${px(i / last()).toFixed(1)} ${py(a).toFixed(1)}`).join("")); },
    mark: (t) => { dot.setAttribute("cx", px(t / last())); dot.setAttribute("cy", py(values[t])); } };
};

export default {
  render({ model, el }) {
    const [C, H, W] = model.get("shape"), T = model.get("T");
    const floats = (k) => { const b = bytes(model.get(k)); return new Float32Array(b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength)); };
    const x0 = floats("x0"), eps = floats("eps");
    const { root, listen, show, close } = mount(model, el, "explore-schedule");
    const save = (values) => { for (const k in values) model.set(k, values[k]); model.save_changes(); };
    const kinds = ["linear", "cosine"];
    const kind = choice("schedule", kinds, (i) => save({ kind: kinds[i] }));
    // sliders that grow by factors; the default values lie exactly on them
    const start = slider("first \u03b2", { min: 0, max: 46 }, (k) => save({ beta_start: +(1e-5 * 10 ** (k / 20)).toPrecision(3) }));
    const end = slider("last \u03b2", { min: 0, max: 85 }, (k) => save({ beta_end: +(2e-3 * 10 ** (k / 50)).toPrecision(3) }));
    const offset = slider("offset s", { min: 0, max: 0.1, step: 0.002 }, (s) => save({ s: +s.toFixed(3) }));
    const zero = node("input", { type: "checkbox", change: () => save({ zero_snr: zero.checked }) });
    const time = slider("timestep t", { min: 0, max: T - 1 }, (at) => save({ at }));
    const view = screen(W, H, model.get("size"));
    const picture = node("div", { role: "img" }, view.canvas);
    const text = node("p", { class: "gw-text" });
    const plots = [plot("\u03b2, variance added", 0, 0.1, [0, 0.05, 0.1], "b"), plot("\u1fb1, share of signal power", 0, 1, [0, 0.5, 1], "a"),
      plot("signal to noise, dB", -60, 60, [-60, 0, 60], "c")];
    plots[1].picture.querySelectorAll("text").forEach((e) => { e.textContent = e.textContent.replace("\u1fb1", "\u03b1\u0305"); });

    let alpha_bar = [], beta = [], decibel = [];
    const curves = () => {
      alpha_bar = schedule(Object.fromEntries(["T", "kind", "beta_start", "beta_end", "s", "zero_snr"].map((k) => [k, model.get(k)])));
      beta = alpha_bar.map((a, i) => 1 - a / (i ? alpha_bar[i - 1] : 1));
      decibel = alpha_bar.map((a) => 10 * Math.log10(a / (1 - a)));
      [beta, alpha_bar, decibel].forEach((v, k) => plots[k].set(v));
      const linear = model.get("kind") === "linear";
      start.row.hidden = end.row.hidden = !linear;
      offset.row.hidden = linear;
      kind.set(kinds.indexOf(model.get("kind")));
      start.set(20 * Math.log10(model.get("beta_start") / 1e-5), model.get("beta_start").toString());
      end.set(50 * Math.log10(model.get("beta_end") / 2e-3), model.get("beta_end").toString());
      offset.set(model.get("s"), model.get("s").toFixed(3));
      zero.checked = model.get("zero_snr");
      draw();
    };
    const draw = () => {
      const t = clamp(model.get("at"), 0, T - 1), a = alpha_bar[t], signal = Math.sqrt(a), noise = Math.sqrt(1 - a);
      const pixels = view.pen.createImageData(W, H), n = H * W;
      for (let i = 0; i < n; i++) {
        for (let c = 0; c < 3; c++) {
          const k = (C === 3 ? c * n : 0) + i, x = signal * x0[k] + noise * eps[k];
          pixels.data[4 * i + c] = Math.round((clamp(x, -1, 1) + 1) * 127.5);
        }
        pixels.data[4 * i + 3] = 255;
      }
      view.pen.putImageData(pixels, 0, 0);
      for (const p of plots) p.mark(t);
      const level = a === 0 ? "no signal is left" : `signal to noise ${decibel[t].toFixed(1)} dB`.replace("-", "\u2212");
      const words = `\u03b1\u0305 = ${a.toPrecision(4)}, \u03b2 = ${beta[t].toPrecision(3)}, ${level}`;
      time.set(t, String(t));
      time.input.setAttribute("aria-valuetext", `t = ${t}, alpha bar ${a.toPrecision(4)}, ${level}`);
      text.textContent = words;
      picture.setAttribute("aria-label", `${model.get("alt")} Now: t = ${t}, ${words}`);
      Object.assign(root.dataset, { value: t, alphaBar: a, decibel: decibel[t], beta: beta[t] });
    };

    const check = node("label", { class: "gw-check" }, zero, " no signal at the last step (zero terminal SNR)");
    root.append(kind.row, node("div", { class: "gw-panels" }, picture, node("div", { class: "gw-plots" }, ...plots.map((p) => p.picture))),
      text, time.row, start.row, end.row, offset.row, check);
    listen("change:kind change:beta_start change:beta_end change:s change:zero_snr", curves);
    listen("change:at", draw);
    curves();
    show();
    return close;
  },
};
