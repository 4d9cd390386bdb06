// A word is hidden: a sentence to choose it in, and bars for what each of several readers takes it for.
const PER = 1000, NEVER = 65535;                         // levels in a nat; the level of probability 0

const shareOf = (level) => (level === NEVER ? 0 : Math.exp(-level / PER));
const nats = (level) => (level === NEVER ? "\u221e" : (Math.floor((level + 5) / 10) / 100).toFixed(2));
const percent = (p) => (p === 0 ? "0 %" : p >= 0.001 ? `${(100 * p).toFixed(1)} %` : "< 0.1 %");

export default {
  render({ model, el }) {
    const [sentences, names, readers, pieces, K] = ["sentences", "names", "readers", "pieces", "likeliest"].map((k) => model.get(k));
    const N = sentences.length, R = readers.length;
    const shorts = (key) => new Uint16Array(bytes(model.get(key)).slice().buffer);
    const places = shorts("places"), levels = shorts("levels");
    const starts = sentences.map((_, n) => sentences.slice(0, n).reduce((sum, words) => sum + words.length, 0));
    const { root, listen, show, close } = mount(model, el, "explore-masked");
    const get = () => {
      const sentence = clamp(model.get("sentence"), 0, N - 1);
      return { sentence, at: clamp(model.get("at"), 0, sentences[sentence].length - 1) };
    };

    let waiting = 0;
    const save = (values) => {                           // the picture moves at once; the kernel hears at most every 50 ms
      for (const k in values) model.set(k, values[k]);
      waiting ||= setTimeout(() => { waiting = 0; model.save_changes(); }, 50);
    };

    // a group for each reader: a row for each of the likeliest, and one for the true word where it is not among them
    const groups = readers.map((reader) => {
      const rows = Array.from({ length: K + 1 }, () => {
        const name = node("span", { class: "gw-word" }), number = node("span", { class: "gw-share" });
        const bar = svg("rect", { y: 1, height: 12 });
        const row = node("div", { class: "gw-guess" }, name, svg("svg", { viewBox: "0 0 100 14", preserveAspectRatio: "none", "aria-hidden": "true" }, bar), number);
        return { row, name, number, bar };
      });
      const cost = node("span", { class: "gw-cost" });
      return { rows, cost, group: node("div", { class: "gw-reader" }, node("p", { class: "gw-head" }, node("b", {}, reader), cost), ...rows.map(({ row }) => row)) };
    });
    const page = node("p", { class: "gw-sentence" });
    const key = node("p", { class: "gw-key", "aria-hidden": "true" }, node("i"), "\u2713 the true word; the number beside a reader\u2019s name is its surprisal");
    const picture = node("div", { role: "img" }, page, node("div", { class: "gw-readers" }, ...groups.map(({ group }) => group)), key);
    const said = node("p", { class: "gw-text" }), note = node("p", { class: "gw-text" });
    const position = slider("hidden word", { min: 0, max: 2 }, (at) => save({ at }));
    const sentence_control = choice("sentence", names, (sentence) => save({ sentence, at: Math.min(get().at, sentences[sentence].length - 1) }));

    let written = -1, boxes = [];                        // the sentence that stands there
    const draw = () => {
      const { sentence, at } = get(), words = sentences[sentence], T = words.length, start = starts[sentence];
      if (written !== sentence) {
        boxes = words.map((word, i) => node("span", { click: () => save({ at: i }) }, word));
        page.replaceChildren(...boxes.flatMap((box) => [box, " "]));
        position.input.max = T - 1;
        written = sentence;
      }
      boxes.forEach((box, i) => box.classList.toggle("gw-hidden", i === at));
      const truth = (i, r) => levels[((start + i) * R + r) * (K + 1) + K];
      groups.forEach(({ rows, cost }, r) => {
        const first = (start + at) * R + r;
        let listed = false;
        rows.forEach(({ row, name, number, bar }, k) => {
          const word = k < K ? pieces[places[first * K + k]] : words[at], p = shareOf(levels[first * (K + 1) + k]);
          const right = word === words[at];
          row.classList.toggle("gw-right", right);
          row.classList.toggle("gw-off", k === K && listed);
          listed ||= right;
          name.textContent = right ? `\u2713 ${word}` : word;
          number.textContent = percent(p);
          bar.setAttribute("width", 100 * p);
        });
        cost.textContent = `${nats(truth(at, r))} nats`;
      });
      const each = readers.map((reader, r) => `${reader} ${nats(truth(at, r))} nats (${percent(shareOf(truth(at, r)))})`).join(", ");
      const means = readers.map((reader, r) => {
        const all = words.map((_, i) => truth(i, r)), sum = all.reduce((a, b) => a + b, 0);
        return `${reader} ${nats(all.includes(NEVER) ? NEVER : Math.floor((2 * sum + T) / (2 * T)))}`;
      });
      const spoken = `\u201c${words[at]}\u201d`, now = `${spoken} (word ${at + 1} of ${T}) is hidden. Its surprisal: ${each}`;
      sentence_control.set(sentence);
      position.set(at, `${spoken}, ${at + 1} of ${T}`);
      position.input.setAttribute("aria-valuetext", `${spoken}, ${at + 1} of ${T}: ${each}`);
      said.textContent = now;
      note.textContent = `Mean over the ${T} words of the sentence, each hidden alone, in nats: ${means.join(", ")}`;
      picture.setAttribute("aria-label", `${model.get("alt")} Now: ${now}`);
      Object.assign(root.dataset, { value: `${sentence},${at}`, truths: readers.map((_, r) => truth(at, r)).join(",") });
    };

    root.append(...(N > 1 ? [sentence_control.row] : []), position.row, picture, said, note);
    listen("change:sentence change:at", draw);
    draw();
    show();
    return () => { clearTimeout(waiting); close(); };
  },
};
