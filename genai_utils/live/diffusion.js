// Chapter 16 live: twin of diffusion.py and of the samplers it calls.
/** As Python's: halves go to the even neighbour. */
const round = (v) => (v % 1 === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
const visitTimes = (T, steps) => Array.from({ length: steps }, (_, i) => round(T - (i * T) / steps) - 1);

/** denoise(x, t) -> [x0_hat, eps_hat], of a network that predicts eps. */
const denoiser = (eps, alphaBar) => async (x, t) => {
  const signal = Math.fround(Math.sqrt(alphaBar[t])), noise = Math.fround(Math.sqrt(1 - alphaBar[t])), e = await eps(x, t);
  const x0_hat = map((x, e) => clip((x - noise * e) / signal), x, e);
  return [x0_hat, map((x, x0) => (x - signal * x0) / noise, x, x0_hat)];
};

const levels = (alphaBar, times) => times.map((t, i) => [t, alphaBar[t], i + 1 < times.length ? alphaBar[times[i + 1]] : 1]);

const samplers = {
  async *ddim(denoise, x, alphaBar, times) {
    for (const [t, a, a_next] of levels(alphaBar, times)) {
      const [x0_hat, eps_hat] = await denoise(x, t);
      x = map((x0, e) => Math.sqrt(a_next) * x0 + Math.sqrt(1 - a_next) * e, x0_hat, eps_hat);
      yield [t, x, x0_hat];
    }
  },

  async *ddpm(denoise, x, alphaBar, times, random) {
    for (const [t, a, a_next] of levels(alphaBar, times)) {
      const [x0_hat] = await denoise(x, t), beta = 1 - a / a_next;
      const c0 = (Math.sqrt(a_next) * beta) / (1 - a), c1 = (Math.sqrt(a / a_next) * (1 - a_next)) / (1 - a);
      x = map((x0, x) => c0 * x0 + c1 * x, x0_hat, x);
      if (a_next < 1) {
        const sigma = Math.sqrt((beta * (1 - a_next)) / (1 - a));
        x = map((m, e) => m + sigma * e, x, random.normal(...x.dims));
      }
      yield [t, x, x0_hat];
    }
  },

  async *dpmpp(denoise, x, alphaBar, times) {
    const logit = (a) => Math.log(a / (1 - a));
    let before = null, h_before = 0;
    for (const [t, a, a_next] of levels(alphaBar, times)) {
      const [x0_hat] = await denoise(x, t), last = a_next >= 1, h = last ? Infinity : 0.5 * logit(a_next) - 0.5 * logit(a);
      const ahead = before && !last ? h / (2 * h_before) : 0;
      const direction = before ? map((x0, b) => x0 + ahead * (x0 - b), x0_hat, before) : x0_hat;
      const shrink = Math.sqrt((1 - a_next) / (1 - a)), signal = Math.sqrt(a_next) - shrink * Math.sqrt(a);
      x = map((x, d) => shrink * x + signal * d, x, direction);
      [before, h_before] = [x0_hat, h];
      yield [t, x, x0_hat];
    }
  },
};

programs.diffusion = {
  async *draw(run, { alpha_bar, start }, { label, sampler, steps, seed }) {
    const random = new SharedRandom(seed), x = random.normal(1, 1, 28, 28), times = visitTimes(start, steps);
    const eps = async (x, t) => (await run("unet", { x, t: whole([t]), label: whole([label]) })).eps;
    const walk = [samplers.ddim, samplers.ddpm, samplers.dpmpp][sampler];
    let done = 0;
    for await (const [t, x_t, x0_hat] of walk(denoiser(eps, alpha_bar), x, alpha_bar, times, random)) {
      yield {
        pictures: stack(x_t, x0_hat),
        figures: [["step", ++done, 0, `of ${times.length}`], ["from t", t, 0, ""]],
      };
    }
  },
};
