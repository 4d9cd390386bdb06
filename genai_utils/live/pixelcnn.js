// Chapter 3 live: twin of pixelcnn.py.
programs.pixelcnn = {
  async *grow(run, { width: D, layers: L, margin: M, levels: K }, { label, temperature, seed, rows = 0, x: pixels }) {
    const SIDE = 28, n = K / 16, STRIDE = 7;
    if (!(temperature > 0)) {
      throw new Refused("temperature", `temperature must be above 0, got ${temperature}: 1 draws from the model`);
    }
    if (!(0 <= rows && rows < SIDE && rows % 1 === 0)) {
      throw new Refused("rows", `rows must be a whole number in [0, ${SIDE - 1}], got ${rows}: keep fewer, 0 for none`);
    }
    const random = new SharedRandom(seed), x = zeros(1, 1, M + SIDE, SIDE);
    if (rows) x.data.set(grey(pixels).data.subarray(0, SIDE * rows), SIDE * M);
    let v = zeros(L - 1, D, 1, SIDE), above, bits = 0;
    for (let r = 0; r < SIDE; r++) {
      const seen = tensor(x.data.subarray(SIDE * r, SIDE * (M + r)), [1, 1, M, SIDE]), left = zeros(1, M);
      ({ v_here: v, above } = await run("row", { x: seen, v, label: whole([label]) }));
      for (let c = 0, h = zeros(L - 1, D), logits; c < (r >= rows ? SIDE : 0); c++) {
        ({ h_here: h, logits } = await run("pixel", { above: row(above, c), left, h }));
        const p = softmax(logits.data, temperature), k = random.pick(p);
        bits -= Math.log2(softmax(logits.data)[k]);
        left.data.copyWithin(0, 1);
        left.data[M - 1] = x.data[SIDE * (M + r) + c] = k * (2 / (K - 1)) - 1;
        if (c % STRIDE === STRIDE - 1) {
          const shares = Array.from({ length: 16 }, (_, i) => p.slice(i * n, i * n + n).reduce((a, b) => a + b));
          yield {
            picture: tensor(x.data.subarray(SIDE * M), [1, 1, SIDE, SIDE]),
            next: shares.map((share, i) => [`${i * n}-${i * n + n - 1}`, share, i === Math.floor(k / n)]),
            figures: [["pixels", SIDE * r + c + 1, 0, `of ${SIDE ** 2}`], ["cost of those drawn", bits, 1, "bits"]],
          };
        }
      }
    }
  },
};
programs.pixelcnn.complete = programs.pixelcnn.grow;
