// Chapter 9 live: twin of vae.py.
const DRAWS = 16;
const logSigmoid = (v) => Math.min(v, 0) - Math.log1p(Math.exp(-Math.abs(v)));

programs.vae = {
  async *decode(run, facts, { z }) {
    yield { picture: (await run("decode", { z: tensor(z, [1, 2]) })).x };
  },

  async *encode(run, facts, { x: pixels, seed }) {
    const x = binary(pixels), { mu, log_var } = await run("encode", { x });
    const eps = new SharedRandom(seed).normal(DRAWS, 2), std = map((v) => Math.exp(0.5 * v), log_var);
    const z = tensor(eps.data.map((e, i) => mu.data[i % 2] + std.data[i % 2] * e), [DRAWS, 2]);
    const { logits } = await run("decode", { z });
    let kl = 0, log_p = 0;
    for (const i of [0, 1]) kl += 0.5 * (mu.data[i] ** 2 + Math.exp(log_var.data[i]) - 1 - log_var.data[i]);
    for (let i = 0; i < logits.data.length; i++) log_p += logSigmoid(logits.data[i] * x.data[i % 784]) / DRAWS;
    const score = kl - log_p;
    yield {
      pictures: stack(x, (await run("decode", { z: mu })).x),
      cloud: z,
      figures: [
        ["anomaly score, -ELBO", score, 1, "nats"],
        ["test digits with a lower one", facts.scores.filter((s) => s < score - 1e-3).length, 0, "of 60"],
        ["-log p(x | z)", -log_p, 1, "nats"], ["KL to the prior", kl, 2, "nats"],
        ["first latent", mu.data[0], 2, ""], ["its deviation", std.data[0], 2, ""],
        ["second latent", mu.data[1], 2, ""], ["its deviation", std.data[1], 2, ""],
      ],
    };
  },
};
