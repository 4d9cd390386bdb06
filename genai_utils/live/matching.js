// Chapter 15 live: twin of matching.py and of the solvers it calls.
const flowSteps = {
  async euler(u, x, t, h) { return flowSteps.along(x, h, await u(x, t)); },

  async midpoint(u, x, t, h) {
    const middle = flowSteps.along(x, h / 2, await u(x, t));
    return flowSteps.along(x, h, await u(middle, t + h / 2));
  },

  async heun(u, x, t, h) {
    const k1 = await u(x, t), k2 = await u(flowSteps.along(x, h, k1), t + h);
    return flowSteps.along(x, h / 2, map((a, b) => a + b, k1, k2));
  },

  async rk4(u, x, t, h) {
    const k1 = await u(x, t), k2 = await u(flowSteps.along(x, h / 2, k1), t + h / 2);
    const k3 = await u(flowSteps.along(x, h / 2, k2), t + h / 2), k4 = await u(flowSteps.along(x, h, k3), t + h);
    return flowSteps.along(x, h / 6, map((a, b, c, d) => a + 2 * (b + c) + d, k1, k2, k3, k4));
  },

  along: (x, h, u) => map((x, u) => x + h * u, x, u),
};

programs.matching = {
  async *draw(run, facts, { label, solver, steps, seed }) {
    if (!(steps >= 1 && steps % 1 === 0)) {
      throw new Refused("steps", `steps must be a whole number of at least 1, got ${steps}: give 1 for a single step`);
    }
    const step = [flowSteps.euler, flowSteps.midpoint, flowSteps.heun, flowSteps.rk4][solver], time = (i) => 1 - (1 - i / steps);
    let x = new SharedRandom(seed).normal(1, 1, 28, 28), ends = [], evaluations = 0;
    const field = async (x, t) => {
      const { u } = await run("velocity", { x, t: tensor([t]), label: whole([label]) });
      ends.push(flowSteps.along(x, 1 - t, u));
      evaluations++;
      return u;
    };
    for (let i = 0; i < steps; i++) {
      x = await step(field, x, time(i), time(i + 1) - time(i));
      yield {
        pictures: stack(x, ends[0]),
        figures: [["step", i + 1, 0, `of ${steps}`], ["t", time(i + 1), 2, ""], ["evaluations", evaluations, 0, ""]],
      };
      ends = [];
    }
  },
};
