// Fit a mixture of Gaussians by hand: drag the means, move the sliders, watch the held-out log-likelihood.
// No imports, no network, no kernel: every number is computed here, in double precision, as fit_mixture.py does.
const LOG_2PI = Math.log(2 * Math.PI);

function logSumExp(values) {
  const top = Math.max(...values);
  return top === -Infinity ? top : top + Math.log(values.reduce((sum, v) => sum + Math.exp(v - top), 0));
}

// log q(x) of one point; q = {means: [[..]], scales: [..], weights: [..], noise, area}
function logProb(x, q) {
  const d = x.length;
  const terms = q.means.map((mean, k) => {
    const s = q.scales[k];
    let r2 = 0;
    for (let i = 0; i < d; i++) r2 += (x[i] - mean[i]) ** 2;
    return Math.log(q.weights[k]) - d * Math.log(s) - 0.5 * d * LOG_2PI - r2 / (2 * s * s);
  });
  const clean = logSumExp(terms);
  if (!q.noise) return clean;
  return logSumExp([Math.log(1 - q.noise) + clean, Math.log(q.noise / q.area)]);
}

const average = (points, q) => points.reduce((sum, x) => sum + logProb(x, q), 0) / points.length;

// One step of gradient ascent on the average log-likelihood in (mean, log scale, log share), clipped to length 1.
function uphill(points, q, rate) {
  const K = q.means.length, d = points[0].length, n = points.length;
  const gMean = q.means.map(() => Array(d).fill(0)), gScale = Array(K).fill(0), gWeight = q.weights.map((w) => -w);
  for (const x of points) {
    const parts = q.means.map((m, k) => logProb(x, { means: [m], scales: [q.scales[k]], weights: [q.weights[k]] }));
    const total = logSumExp(parts);
    for (let k = 0; k < K; k++) {
      const r = Math.exp(parts[k] - total) / n, s2 = q.scales[k] ** 2;   // responsibility of component k for x
      let r2 = 0;
      for (let i = 0; i < d; i++) {
        const gap = x[i] - q.means[k][i];
        gMean[k][i] += r * gap / s2;
        r2 += gap * gap;
      }
      gScale[k] += r * (r2 / s2 - d);
      gWeight[k] += r;
    }
  }
  const length = Math.hypot(...gMean.flat(), ...gScale, ...gWeight);
  const step = rate * Math.min(1, 1 / (length + 1e-6));
  const logits = q.weights.map((w, k) => Math.log(w) + step * gWeight[k]), z = logSumExp(logits);
  return {
    means: q.means.map((m, k) => m.map((v, i) => v + step * gMean[k][i])),
    scales: q.scales.map((s, k) => s * Math.exp(step * gScale[k])),
    weights: logits.map((v) => Math.exp(v - z)),
  };
}

/** Little-endian float32 -> list of points in d dimensions. */
const unpack = (view, d) => Array.from({ length: view.byteLength / 4 / d }, (_, n) =>
  Array.from({ length: d }, (_, i) => view.getFloat32(4 * (n * d + i), true)));

function randomNumbers(n, seed) {                          // mulberry32 and Box-Muller: the same dots on every visit
  let a = seed;
  const uniform = () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return Array.from({ length: n }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
    return { pick: uniform(), noisy: uniform(), box: [uniform(), uniform()],
      normal: [radius * Math.cos(angle), radius * Math.sin(angle)] };
  });
}

const nats = (v) => (Math.abs(v) < 1e4 ? v.toFixed(3) : v.toExponential(2)).replace("-", "\u2212");

export default {
  render({ model, el }) {
    const d = model.get("dim"), best = model.get("best"), rate = model.get("rate");
    const train = unpack(model.get("train"), d), held = unpack(model.get("holdout"), d);
    const [x0, x1, y0, y1] = model.get("extent");
    const area = d === 1 ? x1 - x0 : (x1 - x0) * (y1 - y0);
    const start = Object.fromEntries(["means", "scales", "weights", "noise", "kernel"].map((name) => [name, model.get(name)]));
    const K = start.means.length, dots = randomNumbers(train.length, 1);
    const still = window.matchMedia("(prefers-reduced-motion: reduce)");
    let chosen = 0, climbing = 0, peak = 1;

    const memoriser = () => model.get("kind") === "memoriser";
    const density = () => memoriser()
      ? { means: train, scales: train.map(() => model.get("kernel")), weights: train.map(() => 1 / train.length), noise: 0 }
      : { means: model.get("means"), scales: model.get("scales"), weights: model.get("weights"),
        noise: model.get("noise"), area };

    // ---- controls -------------------------------------------------------------------------------------------
    const { root, listen, show, close } = mount(model, el, "fit");
    const canvas = node("canvas", { role: "img" });
    const sliders = [];
    const add = (name, label, min, max, step, read, write, text) => {
      const s = slider(label, { min, max, step }, (v) => { stop(); write(v); push(); });
      s.input.name = name;
      sliders.push({ ...s, read, text });
      return s.row;
    };
    const button = (label, click) => node("button", { type: "button", click }, label);
    const replace = (name, k, value) => model.set(name, model.get(name).map((v, i) => (i === k ? value : v)));
    const moveTo = (k, point) => replace("means", k, model.get("means")[k].map((v, i) => point[i] ?? v));
    const setWeight = (k, v) => {                           // the others share what is left, in their old proportions
      const w = model.get("weights"), rest = 1 - w[k];
      model.set("weights", w.map((s, i) => (i === k ? v : rest > 0 ? s * (1 - v) / rest : (1 - v) / (K - 1))));
    };
    const mean = (i) => () => model.get("means")[chosen][i];
    const two = (v) => v.toFixed(2).replace("-", "\u2212");

    const kinds = ["mixture", "memoriser"];
    const kind = choice("model", ["your mixture", "a memoriser"], (i) => { stop(); model.set("kind", kinds[i]); push(); });
    const part = choice("move component", start.means.map((_, k) => `${k + 1}`), (k) => { chosen = k; draw(); });
    const parts = node("div", {}, part.row,
      add("x", "mean, across", x0, x1, (x1 - x0) / 200, mean(0), (v) => moveTo(chosen, [v]), two),
      ...(d === 2 ? [add("y", "mean, up", y0, y1, (y1 - y0) / 200, mean(1), (v) => moveTo(chosen, [undefined, v]), two)] : []),
      add("scale", "scale", -4, 1.5, 0.01, () => Math.log(model.get("scales")[chosen]),
        (v) => replace("scales", chosen, Math.exp(v)), (v) => two(Math.exp(v))),
      ...(K > 1 ? [add("weight", "weight", 0.01, 0.99, 0.01, () => model.get("weights")[chosen], (v) => setWeight(chosen, v), two)] : []),
      add("noise", "noise share", 0, 0.99, 0.01, () => model.get("noise"), (v) => model.set("noise", v),
        (v) => `${Math.round(100 * v)} %`));
    const kernels = node("div", {}, add("kernel", "kernel width", -7, 0.7, 0.01, () => Math.log(model.get("kernel")),
      (v) => model.set("kernel", Math.exp(v)), (v) => Math.exp(v).toFixed(3)));
    const climb = button("Climb", () => (climbing ? stop() : go()));
    const uphillButton = button("One step uphill", () => { stop(); ascend(1); push(); });
    const reset = button("Start again", () => {
      stop();
      for (const name in start) model.set(name, start[name]);
      push();
    });
    const sampling = node("input", { type: "checkbox", name: "samples", change: () => { model.set("samples", sampling.checked); push(); } });
    const score = node("span", { class: "gw-score" }), trainScore = node("span");
    const fill = node("div", { class: "gw-fill" }), mark = node("div", { class: "gw-mark" });
    const bar = node("div", { class: "gw-bar", role: "img" }, fill, mark);
    const entry = (name, text) => node("span", {}, node("span", { class: `gw-dot gw-${name}` }), text);
    const title = "held-out average log-likelihood, nats per point";
    root.append(
      node("div", { class: "gw-picture" }, canvas, node("div", { class: "gw-key" },
        entry("train", "training"), entry("held", "held out"), entry("drawn", "drawn by the model"))),
      node("div", { class: "gw-side" }, kind.row, node("div", {}, title), score, bar,
        node("div", { class: "gw-numbers" }, node("span", {}, "on the training points"), trainScore,
          node("span", {}, "best possible (true density)"), node("span", {}, best === null ? "unknown" : nats(best))),
        parts, kernels, node("div", { class: "gw-buttons" }, climb, uphillButton, reset),
        node("label", { class: "gw-check" }, sampling, "show samples, not density")));

    // ---- moves ----------------------------------------------------------------------------------------------
    function ascend(steps) {
      let q = density();
      for (let i = 0; i < steps; i++) q = uphill(train, q, rate);
      for (const name of ["means", "scales", "weights"]) model.set(name, q[name]);
    }
    function stop() { cancelAnimationFrame(climbing); climbing = 0; climb.textContent = "Climb"; }
    function go() {
      if (still.matches) { ascend(400); push(); return; }   // no animation: arrive at once
      climb.textContent = "Pause";
      let left = 200;
      const frame = () => {
        ascend(2); push(); left -= 1;
        if (left > 0 && root.isConnected) climbing = requestAnimationFrame(frame); else stop();
      };
      climbing = requestAnimationFrame(frame);
    }
    let queued = 0;
    function push() {
      model.save_changes();
      if (!queued) queued = requestAnimationFrame(() => { queued = 0; draw(); });
    }

    // ---- picture --------------------------------------------------------------------------------------------
    const toX = (v) => (v - x0) / (x1 - x0) * canvas.width, toY = (v) => (y1 - v) / (y1 - y0) * canvas.height;
    const lift = (q, x) => Math.exp(logProb([x], q));
    const handle = (k) => {
      const q = density();
      return [toX(q.means[k][0]), d === 2 ? toY(q.means[k][1]) : height1(lift(q, q.means[k][0]))];
    };
    const height1 = (p) => canvas.height * (0.86 - 0.74 * Math.min(1, p / peak));

    function draw() {
      const q = density(), LL = average(held, q), LLtrain = average(train, q);
      root.dataset.value = LL.toFixed(3);
      root.dataset.train = LLtrain.toFixed(3);
      score.textContent = nats(LL);
      trainScore.textContent = nats(LLtrain);
      const share = best === null ? 0 : Math.min(1, Math.max(0, (LL - best + 5) / 5.5));
      fill.style.width = `${100 * share}%`;
      mark.hidden = best === null;
      bar.setAttribute("aria-label", best === null ? `held-out ${nats(LL)} nats`
        : `held-out ${nats(LL)} nats, ${nats(Math.abs(best - LL))} nats ${LL > best ? "above" : "below"} the best possible`);
      for (const s of sliders) {
        s.set(s.read(), s.text(s.read()));
        s.input.setAttribute("aria-valuetext", `${s.text(s.read())}; held-out ${nats(LL)} nats`);
      }
      kind.set(kinds.indexOf(model.get("kind")));
      part.set(chosen);
      sampling.checked = model.get("samples");
      parts.hidden = climb.hidden = uphillButton.hidden = memoriser();
      kernels.hidden = !memoriser();
      canvas.setAttribute("aria-label", `${model.get("alt")} Now: ${train.length} training points and ${held.length} held-out points with the `
        + (memoriser() ? `memoriser of kernel width ${model.get("kernel").toFixed(3)}` : `${K} components: `
          + q.means.map((m, k) => `${k + 1} at ${m.map(two).join(", ")}, scale ${two(q.scales[k])}, weight ${two(q.weights[k])}`).join("; ")));
      paint(q);
    }

    function paint(q) {
      const width = Math.max(1, canvas.clientWidth), ratio = window.devicePixelRatio || 1;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(width * ratio * (d === 2 ? (y1 - y0) / (x1 - x0) : 0.6));
      const g = canvas.getContext("2d"), style = getComputedStyle(root), unit = canvas.width / 100;
      const colour = (name) => style.getPropertyValue(`--gw-${name}`).trim() || style.color;
      if (model.get("samples")) paintSamples(g, q, unit, colour("drawn"));
      else (d === 2 ? paintField : paintCurve)(g, q, colour("density"));
      const place = (x, n) => [toX(x[0]), d === 2 ? toY(x[1]) : canvas.height * (0.89 + 0.008 * (n % 9))];
      const dot = (at, radius, full) => { g.beginPath(); g.arc(...at, radius, 0, 7); full ? g.fill() : g.stroke(); };
      g.fillStyle = colour("train"); g.strokeStyle = colour("held"); g.lineWidth = 0.35 * unit;
      g.globalAlpha = model.get("samples") ? 0.35 : 0.75;
      train.forEach((x, n) => dot(place(x, n), 0.5 * unit, true));
      held.forEach((x, n) => dot(place(x, n + 4), 0.8 * unit, false));
      g.globalAlpha = 1;
      if (memoriser()) return;
      q.means.forEach((mean, k) => {
        const [px, py] = handle(k), r = Math.max(2.6 * unit, 9 * ratio);
        g.strokeStyle = g.fillStyle = colour("train"); g.lineWidth = (k === chosen ? 0.9 : 0.4) * unit;
        if (d === 2) {                                        // two standard deviations
          g.setLineDash([2 * unit, unit]);
          dot([px, py], 2 * q.scales[k] / (x1 - x0) * canvas.width, false);
          g.setLineDash([]);
        }
        g.fillStyle = colour("paper"); dot([px, py], r, true); dot([px, py], r, false);
        g.fillStyle = colour("train"); g.font = `${1.2 * r}px system-ui, sans-serif`;
        g.textAlign = "center"; g.textBaseline = "middle"; g.fillText(`${k + 1}`, px, py + 0.05 * r);
      });
    }
    function paintField(g, q, colour) {
      const n = 80, values = [];
      for (let j = 0; j < n; j++) for (let i = 0; i < n; i++)
        values.push(Math.exp(logProb([x0 + (i + 0.5) / n * (x1 - x0), y1 - (j + 0.5) / n * (y1 - y0)], q)));
      const top = Math.max(...values) || 1, small = node("canvas", { width: n, height: n }), ink = small.getContext("2d");
      ink.fillStyle = colour;
      ink.fillRect(0, 0, n, n);
      const pixels = ink.getImageData(0, 0, n, n);
      values.forEach((v, c) => { pixels.data[4 * c + 3] = 215 * Math.sqrt(v / top); });   // a root shows faint tails
      ink.putImageData(pixels, 0, 0);
      g.drawImage(small, 0, 0, canvas.width, canvas.height);
    }
    function paintCurve(g, q, colour) {
      const n = 240, values = Array.from({ length: n + 1 }, (_, i) => lift(q, x0 + i / n * (x1 - x0)));
      peak = Math.max(...values, 1e-9);
      g.beginPath(); g.moveTo(0, height1(0));
      values.forEach((v, i) => g.lineTo(i / n * canvas.width, height1(v)));
      g.lineTo(canvas.width, height1(0)); g.closePath();
      g.fillStyle = colour; g.globalAlpha = 0.5; g.fill(); g.globalAlpha = 1;
    }
    function paintSamples(g, q, unit, colour) {
      g.fillStyle = colour;
      dots.forEach((u, n) => {
        let k = 0, sum = q.weights[0];
        while (k < q.weights.length - 1 && u.pick > sum) sum += q.weights[++k];
        const x = q.means[k].map((m, i) => u.noisy < q.noise
          ? [x0, y0][i] + u.box[i] * ([x1, y1][i] - [x0, y0][i]) : m + q.scales[k] * u.normal[i]);
        g.beginPath();
        g.arc(toX(x[0]), d === 2 ? toY(x[1]) : canvas.height * (0.3 + 0.04 * (n % 12)), unit, 0, 7);
        g.fill();
      });
    }

    // ---- pointer and touch: take the nearest handle; elsewhere the page scrolls as usual --------------------------
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width * canvas.width, (event.clientY - box.top) / box.height * canvas.height];
    };
    const nearest = (event) => {
      if (memoriser()) return -1;
      const [px, py] = at(event), far = model.get("means").map((_, k) => Math.hypot(handle(k)[0] - px, handle(k)[1] - py));
      const k = far.indexOf(Math.min(...far));
      return far[k] < 0.09 * canvas.width ? k : -1;
    };
    let grabbed = -1;
    canvas.addEventListener("touchstart", (e) => { if (nearest(e.touches[0]) >= 0) e.preventDefault(); }, { passive: false });
    canvas.addEventListener("pointerdown", (e) => {
      grabbed = nearest(e);
      if (grabbed < 0) return;
      stop(); chosen = grabbed; canvas.setPointerCapture(e.pointerId); draw();
    });
    canvas.addEventListener("pointermove", (e) => {
      if (grabbed < 0) { canvas.style.cursor = nearest(e) >= 0 ? "grab" : "auto"; return; }
      const [px, py] = at(e);
      const across = clamp(x0 + px / canvas.width * (x1 - x0), x0, x1);
      moveTo(grabbed, [across, clamp(y1 - py / canvas.height * (y1 - y0), y0, y1)].slice(0, d));
      push();
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { grabbed = -1; });

    listen(["means", "scales", "weights", "noise", "kernel", "kind", "samples"].map((name) => `change:${name}`).join(" "), push);
    const resized = new ResizeObserver(() => draw());
    resized.observe(canvas.parentElement);
    const themed = new MutationObserver(() => draw());
    for (const page of [document.documentElement, document.body])
      themed.observe(page, { attributes: true, attributeFilter: ["data-theme", "theme", "data-jp-theme-light"] });
    show();
    draw();
    return () => { stop(); resized.disconnect(); themed.disconnect(); close(); };
  },
};
