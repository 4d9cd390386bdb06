// How the next token is drawn: temperature, top-k and top-p on the logits of all tokens, and texts written that way.
const BARS = 15, PER = 20;                               // tokens shown; steps of temperature and top-p in one
const GLYPHS = { " ": "\u00b7", "\n": "\u21b5", "\t": "\u21e5", "\r": "\u2190" };

/** A token with a sign for each space, line end and tab. */
const visible = (token) => Array.from(token, (letter) => GLYPHS[letter] ?? letter).join("") || "\u2205";
const label = (v) => String(+v.toPrecision(3));

/** The choice whose ratio to a value is nearest to 1; of two alike, the first. */
const nearest = (value, choices) => {
  const ratios = choices.map((c) => Math.max(value / c, c / value));
  return ratios.indexOf(Math.min(...ratios));
};

/** softmax of scores, 0 where they are not kept. */
const softmax = (scores, kept) => {
  let top = -Infinity, sum = 0;
  scores.forEach((v, i) => { if (kept[i] && v > top) top = v; });
  const p = scores.map((v, i) => (kept[i] ? Math.exp(v - top) : 0));
  for (const v of p) sum += v;
  return p.map((v) => v / sum);
};

/** [what is drawn from, the probabilities before anything is cut off]; `order` is likeliest first. */
const warp = (logits, order, { temperature, top_k, top_p }) => {
  const scores = logits.map((v) => v / temperature), V = scores.length, kept = new Uint8Array(V).fill(1);
  const before = softmax(scores, kept);
  if (top_k < V) {
    const least = scores[order[top_k - 1]];
    scores.forEach((v, i) => { if (v < least) kept[i] = 0; });
  }
  if (top_p < 1) {
    const p = softmax(scores, kept);
    let sum = 0;
    for (const i of order) {
      sum += p[i];
      if (sum - p[i] >= top_p) kept[i] = 0;              // all that is likelier holds the share already
    }
  }
  return [softmax(scores, kept), before];
};

export default {
  render({ model, el }) {
    const [prompts, pieces, texts, temperatures, top_ks, top_ps, counts] =
      ["prompts", "pieces", "continuations", "temperatures", "top_ks", "top_ps", "counts"].map((k) => model.get(k));
    const P = prompts.length, V = pieces.length;
    const stored = new Float32Array(bytes(model.get("logits")).slice().buffer);
    const logits = prompts.map((_, i) => Float64Array.from(stored.subarray(i * V, (i + 1) * V)));
    const orders = logits.map((row) => Array.from(row.keys()).sort((i, j) => row[j] - row[i] || i - j));
    const { root, listen, show, close } = mount(model, el, "explore-next-token");
    const get = () => ({ prompt: clamp(model.get("prompt"), 0, P - 1), temperature: clamp(model.get("temperature"), 0.2, 2),
      top_k: clamp(model.get("top_k"), 1, V), top_p: clamp(model.get("top_p"), 0.05, 1) });

    let waiting = 0;
    const save = (values) => {                           // the picture moves at once; the kernel hears at most every 50 ms
      for (const k in values) model.set(k, values[k]);
      waiting ||= setTimeout(() => { waiting = 0; model.save_changes(); }, 50);
    };

    const prompt_control = choice("prompt", prompts.map((text) => text.trim() || visible(text)), (prompt) => save({ prompt }));
    const temperature_control = slider("temperature", { min: 0.2 * PER, max: 2 * PER }, (v) => save({ temperature: v / PER }));
    const k_control = slider("top-k", { min: 0, max: counts.length - 1 }, (i) => save({ top_k: counts[i] }));
    const p_control = slider("top-p", { min: 1, max: PER }, (v) => save({ top_p: v / PER }));
    const button = node("button", { type: "button", click: () => save({ temperature: 1, top_k: V, top_p: 1 }) }, "Reset");

    // a row for each of the likeliest: token, bar, number
    const rows = Array.from({ length: Math.min(BARS, V) }, () => {
      const name = node("span", { class: "gw-piece" }), number = node("span", { class: "gw-share" });
      const cut = svg("rect", { class: "gw-cut", y: 1, height: 12 }), bar = svg("rect", { class: "gw-bar", y: 1, height: 12 });
      const own = svg("rect", { class: "gw-own", y: 0, width: 0.6, height: 14 });
      const row = node("div", { class: "gw-token" }, name, svg("svg", { viewBox: "0 0 100 14", preserveAspectRatio: "none", "aria-hidden": "true" }, cut, bar, own), number);
      return { row, name, number, cut, bar, own };
    });
    const key = node("p", { class: "gw-key", "aria-hidden": "true" },
      ...[["gw-bar", "drawn from"], ["gw-cut", "cut off"], ["gw-own", "the model\u2019s own, at temperature 1"]].map(([kind, words]) =>
        node("span", {}, node("i", { class: kind }), words)));
    const picture = node("div", { role: "img", class: "gw-bars" }, ...rows.map(({ row }) => row), key);
    const said = node("p", { class: "gw-text" }), from = node("p", { class: "gw-text" }), story = node("p", { class: "gw-story" });
    const side = node("div", { class: "gw-written" }, from, story);

    const cut_words = (top_k, top_p) => `top-k ${top_k === V ? "all" : top_k}, top-p ${label(top_p)}`;
    const draw = () => {
      const now = get(), { prompt, temperature, top_k, top_p } = now, order = orders[prompt];
      const [p, before] = warp(logits[prompt], order, now), own = softmax(logits[prompt], new Uint8Array(V).fill(1));
      rows.forEach(({ row, name, number, cut, bar, own: mark }, n) => {
        const i = order[n], off = p[i] === 0;
        name.textContent = visible(pieces[i]);
        number.textContent = off ? "cut off" : `${(100 * p[i]).toFixed(2)} %`;
        bar.setAttribute("width", 100 * p[i]);
        cut.setAttribute("width", off ? 100 * before[i] : 0);
        mark.setAttribute("x", 99.4 * own[i]);
        row.classList.toggle("gw-off", off);
      });
      let kept = 0, held = 0, entropy = 0;
      p.forEach((v, i) => { if (v > 0) { kept++; held += before[i]; entropy -= v * Math.log(v); } });
      const words = `${kept} of ${V} tokens ${kept === 1 ? "is" : "are"} left, with ${(100 * held).toFixed(2)} % of the probability at this temperature; entropy of the draw ${Math.abs(entropy).toFixed(2)} nats`;
      const [a, k, n] = [nearest(temperature, temperatures), nearest(top_k, top_ks), nearest(top_p, top_ps)];
      const text = texts[((prompt * temperatures.length + a) * top_ks.length + k) * top_ps.length + n];
      const origin = `Written at temperature ${label(temperatures[a])}, ${cut_words(top_ks[k], top_ps[n])}`;
      said.textContent = words;
      from.textContent = `${origin} (the nearest of ${temperatures.length * top_ks.length * top_ps.length} settings that were run):`;
      story.replaceChildren(node("b", {}, prompts[prompt]), text);
      prompt_control.set(prompt);
      temperature_control.set(Math.round(PER * temperature), label(temperature));
      k_control.set(counts.findLastIndex((c) => c <= top_k), top_k === V ? `all ${V}` : String(top_k));
      p_control.set(Math.round(PER * top_p), label(top_p));
      for (const control of [temperature_control, k_control, p_control]) control.input.setAttribute("aria-valuetext", `${control.row.querySelector("output").textContent}: ${words}`);
      const first = order.slice(0, 3).filter((i) => p[i] > 0).map((i) => `\u201c${visible(pieces[i])}\u201d ${(100 * p[i]).toFixed(2)} %`).join(", ");
      picture.setAttribute("aria-label", `${model.get("alt")} Now: temperature ${label(temperature)}, ${cut_words(top_k, top_p)}: ${first}; ${words}`);
      Object.assign(root.dataset, { value: `${prompt},${temperature},${top_k},${top_p}`, place: `${a},${k},${n}`, figures: `${kept},${held},${entropy}` });
    };

    root.append(...(P > 1 ? [prompt_control.row] : []), temperature_control.row, k_control.row, p_control.row, button, said,
      node("div", { class: "gw-sides" }, picture, side));
    listen("change:prompt change:temperature change:top_k change:top_p", draw);
    draw();
    show();
    return () => { clearTimeout(waiting); close(); };
  },
};
