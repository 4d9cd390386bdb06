// Chapter 12 live: twin of stylegan.py.
const styled = {
  codes: (facts, seeds) => stack(...seeds.map((seed) => new SharedRandom(seed % 2 ** 32).normal(1, facts.latent))),

  /** Styles (n, L, S) of (n, S): the same at every place. */
  everywhere(facts, w) {
    const [n, S] = w.dims, L = facts.styles;
    return tensor(Float32Array.from({ length: n * L * S }, (_, i) => w.data[Math.floor(i / (L * S)) * S + (i % S)]), [n, L, S]);
  },

  async synthesise(run, facts, w, noise = 0) {
    const places = w.dims.length === 3 ? w : this.everywhere(facts, w);
    return (await run("synthesis", { w: places, noise: new SharedRandom(noise).normal(1, facts.noise) })).x;
  },
};

programs.stylegan = {
  async *truncate(run, facts, { seed, psi, noise }) {
    checkSeed("seed", seed);
    checkInput("psi", psi, 0, 1.5);
    checkSeed("noise", noise);
    const { w } = await run("mapping", { z: styled.codes(facts, Array.from({ length: 8 }, (_, i) => seed + i)) });
    const mean = facts.mean, near = w.data.map((v, i) => mean[i % mean.length] + psi * (v - mean[i % mean.length]));
    yield { row: await styled.synthesise(run, facts, tensor(near, w.dims), noise) };
  },

  async *mix(run, facts, { coarse, fine, crossover }) {
    checkSeed("coarse", coarse);
    checkSeed("fine", fine);
    checkInput("crossover", crossover, 0, facts.styles, { whole: true });
    const { w } = await run("mapping", { z: styled.codes(facts, [coarse, fine]) });
    const all = styled.everywhere(facts, w), S = w.dims[1];
    const mixed = map((c, f, at) => (at < crossover ? c : f), rows(all, 0, 1), rows(all, 1, 2),
      tensor(Float32Array.from({ length: facts.styles * S }, (_, i) => Math.floor(i / S)), [1, facts.styles, S]));
    yield { pictures: await styled.synthesise(run, facts, stack(all, mixed)) };
  },

  async *walk(run, facts, { from, to, place }) {
    checkSeed("from", from);
    checkSeed("to", to);
    checkInput("place", place, 0, 1);
    const z = styled.codes(facts, [from, to]), places = Array.from({ length: 9 }, (_, i) => i / 8);
    const { w } = await run("mapping", { z: stack(z, sphericalPath(row(z, 0), row(z, 1), places)) });
    const [a, b] = [row(w, 0).data, row(w, 1).data];
    const line = [place, ...places].flatMap((t) => Array.from(a, (v, i) => (1 - t) * v + t * b[i]));
    const x = await styled.synthesise(run, facts, stack(tensor(line, [10, a.length]), rows(w, 2, 11)));
    yield { picture: rows(x, 0, 1), walk: rows(x, 1, 19) };
  },
};
