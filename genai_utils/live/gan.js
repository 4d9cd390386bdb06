// Chapter 11 live: twin of gan.py.
programs.gan = {
  async *walk(run, { latent }, { from, to, place }) {
    checkSeed("from", from);
    checkSeed("to", to);
    checkInput("place", place, 0, 1);
    const [a, b] = [from, to].map((seed) => new SharedRandom(seed).normal(latent));
    const weights = [place, ...Array.from({ length: 9 }, (_, i) => i / 8)];
    const { x } = await run("generator", { z: sphericalPath(a, b, weights) });
    yield { picture: rows(x, 0, 1), walk: rows(x, 1, 10) };
  },

  async *sheet(run, { latent }, { seed }) {
    checkSeed("seed", seed);
    yield { sheet: (await run("generator", { z: new SharedRandom(seed).normal(24, latent) })).x };
  },
};
