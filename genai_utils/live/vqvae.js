// Chapter 10 live: twin of vqvae.py.
const asPicture = (codes, { n_codes }) => tensor(Array.from(codes, (v) => (2 * Number(v)) / (n_codes - 1) - 1), [1, 1, 7, 7]);

programs.vqvae = {
  async *repaint(run, facts, { codes, codes_at }) {
    checkInput("codes_at", codes_at, 0, facts.examples.length - 1, { whole: true });
    checkInput("codes", codes, 0, facts.n_codes - 1, { whole: true, n: 49 });
    const before = facts.examples[codes_at], { x } = await run("decode", { codes: whole([...before, ...codes], 2, 7, 7) });
    const [was, is] = [row(x, 0).data, row(x, 1).data];
    const changed = is.reduce((n, v, i) => n + (Math.abs(Math.fround(v - was[i])) > Math.fround(5 / 127.5)), 0);
    yield {
      pictures: x,
      figures: [
        ["codes changed", codes.filter((v, i) => v !== before[i]).length, 0, "of 49"],
        ["pixels changed by more than 5 of 255", changed, 0, "of 784"],
      ],
    };
  },

  async *encode(run, facts, { x: pixels }) {
    checkInput("x", pixels, 0, 255, { whole: true, n: 784 });
    const x = grey(pixels), { codes } = await run("encode", { x }), back = (await run("decode", { codes })).x;
    yield {
      pictures: stack(x, back),
      codes: asPicture(codes.data, facts),
      figures: [
        ["different codes", new Set(codes.data).size, 0, `of ${facts.n_codes}`],
        ["the grid's size", 49 * Math.log2(facts.n_codes), 0, "bits; 6272 as pixels"],
        ["mean squared error", back.data.reduce((sum, v, i) => sum + (v - x.data[i]) ** 2, 0) / 784, 4, ""],
      ],
    };
  },

  async *dream(run, facts, { label, temperature, seed }) {
    checkInput("label", label, 0, facts.labels - 1, { whole: true });
    checkInput("temperature", temperature, 0.1, 1.5);
    checkSeed("seed", seed);
    const random = new SharedRandom(seed), values = [...facts.black];
    let token = label, past = zeros(...facts.cache), bits = 0;
    for (let i = 0; i < 49; i++) {
      const { present, logits } = await run("next", { token: whole([token]), place: whole([i]), past });
      past = present;
      values[i] = random.pick(softmax(logits.data, temperature));
      bits -= Math.log2(softmax(logits.data)[values[i]]);
      token = facts.labels + values[i];
      yield {
        pictures: (await run("decode", { codes: whole(values, 1, 7, 7) })).x,
        codes: asPicture(values.map((v, at) => (at <= i ? v : 0)), facts),
        figures: [["codes drawn", i + 1, 0, "of 49"], ["-log2 p of these codes", bits, 1, "bits"]],
      };
    }
  },
};
