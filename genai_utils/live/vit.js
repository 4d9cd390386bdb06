// Chapter 7 live: twin of vit.py.
/** Row 0 of [ROLL]'s product of half the mean over heads and half the identity, up to a block; maps (L, A, T, T). */
const classRollout = ({ data, dims: [, A, T] }, block) => {
  let rolled = Array.from({ length: T }, (_, t) => +(t === 0));       // from the block down to the picture
  for (let l = block; l >= 0; l--) {
    const next = rolled.map((v) => v / 2);
    for (let a = 0; a < A; a++) {
      for (let s = 0; s < T; s++) {
        const at = ((l * A + a) * T + s) * T, w = rolled[s] / (2 * A);
        for (let t = 0; t < T; t++) next[t] += w * data[at + t];
      }
    }
    rolled = next;
  }
  return rolled;
};

programs.vit = {
  async *classify(run, facts, { x: pixels, block, head }) {
    if (pixels.length !== 784) throw new Refused("x", `a picture has 784 pixels, got ${pixels.length}: scale it to 28 x 28`);
    const bad = pixels.find((v) => !(0 <= v && v <= 255));
    if (bad !== undefined) throw new Refused("x", `pixels are in [0, 255], got ${bad}: scale them to bytes`);
    const x = grey(pixels), { logits, maps } = await run("look", { x }), [, A, T] = maps.dims;
    const one = (h) => Array.from(maps.data.subarray((block * A + h) * T * T, (block * A + h) * T * T + T));
    const mean = () => Array.from({ length: A }, (_, h) => one(h)).reduce((a, b) => a.map((v, t) => v + b[t])).map((v) => v / A);
    const [own, ...weights] = head > A ? classRollout(maps, block) : head === A ? mean() : one(head);
    const p = softmax(logits.data), top = Math.max(...weights), ink = new Set();
    x.data.forEach((v, i) => { if (v > 0) ink.add(7 * Math.floor(i / 112) + Math.floor((i % 28) / 4)); });
    yield {
      classes: p.map((share, k) => [String(k), share, true]),
      picture: x,
      attention: tensor(weights.map((w) => (2 * w) / top - 1), [1, 1, 7, 7]),
      figures: [
        ["the class token on itself", 100 * own, 1, "%"],
        ["on the brightest patch", 100 * top, 1, "%"],
        ["on patches with ink", 100 * weights.reduce((sum, w, i) => sum + (ink.has(i) ? w : 0), 0), 1, "%"],
        ["patches with ink", ink.size, 0, "of 49"],
      ],
    };
  },
};
