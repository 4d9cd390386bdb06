// Chapter 14 live: twin of glow.py.
/** A picture with each pixel anywhere in the bin of its grey level. */
const spreadOut = (pixels, seed) => {
  const random = new SharedRandom(seed), u = () => Math.floor(random.uniform() * 2 ** 24) / 2 ** 24;
  return tensor(Array.from(pixels, (v) => Math.fround(v + u()) / 128 - 1), [1, 1, 28, 28]);
};

const glowOverflow = "the numbers overflow on the way to noise: this is too far from any digit; draw less, or clear the pad";

programs.glow = {
  async *sample(run, facts, { seed, temperature }) {
    checkSeed("seed", seed);
    checkInput("temperature", temperature, 0, 1);
    const z = map((v) => temperature * v, new SharedRandom(seed).normal(8, 1, 28, 28));
    yield { row: map((v) => clip(v), (await run("inverse", { z })).x) };
  },

  async *invert(run, facts, { x: pixels, seed }) {
    checkInput("x", pixels, 0, 255, { whole: true, n: 784 });
    checkSeed("seed", seed);
    const x = spreadOut(pixels, seed), there = await run("forward", { x });
    if (![...there.z.data, there.log_p.data[0]].every(Number.isFinite)) throw new Refused("x", glowOverflow);
    const back = map((v) => (Number.isNaN(v) ? 0 : clip(v)), (await run("inverse", { z: there.z })).x);
    const score = there.log_p.data[0], bits = (-score / 784 - Math.log(2 / 256)) / Math.log(2);
    const error = 128 * back.data.reduce((worst, v, i) => Math.max(worst, Math.abs(v - x.data[i])), 0);
    yield {
      pictures: stack(x, back, map((v) => clip(Math.fround(v / 3)), there.z)),
      figures: [
        ["log p(x), exact for the dequantised picture", score, 2, "nats"],
        ["bound on the 8-bit picture, estimated by one draw", bits, 4, "bits/dim"],
        ["test digits with a lower log p(x)", facts.scores.filter((s) => s < score - 0.01).length, 0, "of 60"],
        ["largest error of the way back", Math.floor(100 * error + 0.5) / 100, 2, "grey levels"],
      ],
    };
  },
};
