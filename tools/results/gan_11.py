"""Measure what chapter 11 shows: `python -m tools.results.gan_11` writes genai_utils/results/11.json.

Needs MNIST, for `rules` only. About half an hour on one CPU thread: games of points are small, and those of all seeds
are played at once, as one network whose layers are stacks of matrices (each game moves as it would alone). Finished
parts are kept in runs/, and measured again only if their section of this file, or a source named for it, has changed.
`python -m tools.results.gan_11 rates stall` measures the parts named and stops.

A run has failed, by a rule that was written down before any run that counts: if, at the end, a number is not finite;
or fewer than 7 of the ring's 8 modes are covered (14 of 16 places along the moons); or fewer than 80 % of 2,000
samples lie within three standard deviations of a mode (of a place). The generator is the last one, not an average.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.core import seed_all
from genai_utils.data import load
from genai_utils.gan import DCGAN, GAN, DCGANConfig, Game, GANConfig, game_loss, gan_step, gradient_penalty, wgan_step
from genai_utils.gan.equal import minibatch_std
from genai_utils.gan.wgan_gp import wasserstein_1d
from genai_utils.metrics import Estimate, frechet_distance, mean_estimate, precision_recall, share_estimate
from genai_utils.metrics.classifier import Classifier, run_in_batches
from genai_utils.metrics.modes import mode_coverage
from genai_utils.training import adamw
from genai_utils.weights import load_weights
from tools.parts import main
from tools.recipes.score import as_json

GAMES = ("genai_utils/gan/gan.py", "genai_utils/gan/losses.py", "genai_utils/gan/wgan_gp.py")
POINTS = (*GAMES, "genai_utils/gan/equal.py", "genai_utils/data/toys.py", "genai_utils/metrics/modes.py")
PART_SOURCES = {  # first word of a part's name: what it depends on, beside its section of this file
    "rates": POINTS, "stability": POINTS, "collapse": POINTS, "balance": POINTS,
    "stall": GAMES[:2], "wasserstein": GAMES,
    "rules": (*GAMES[:2], "genai_utils/gan/dcgan.py", "genai_utils/weights/classifier-mnist.safetensors"),
}  # fmt: skip

# ---- shared: one game for each seed, all played at once

BATCH = 64  # points of the data, and as many samples, in one update of the discriminator
POINT = GANConfig(n_layers=2)
PENALTY = 0.1  # weight of the gradient penalty: at 10, which suits pictures, a critic of few numbers is all penalty
RULES = {
    "saturating": {"loss": "saturating"},
    "nonsaturating": {"loss": "nonsaturating"},
    "least_squares": {"loss": "least_squares"},
    "hinge": {"loss": "hinge"},
    "wasserstein_clip": {"bound": "clip", "clip": 0.01, "n_critic": 5},
    "wasserstein_gp": {"bound": "penalty", "weight": PENALTY, "n_critic": 5},
    "nonsaturating_r1": {"loss": "nonsaturating", "r1": 1.0},
    "hinge_spectral": {"loss": "hinge", "spectral": True},
}


class Linear(nn.Module):
    """One layer of S networks, (S, B, a) to (S, B, b), with spectral normalisation if they have it."""

    def __init__(self, layers: list[nn.Module], more: int = 0) -> None:
        super().__init__()
        self.spectral = hasattr(layers[0], "parametrizations")
        weights = [layer.parametrizations.weight.original if self.spectral else layer.weight for layer in layers]
        self.weight = nn.Parameter(F.pad(torch.stack(weights).detach(), (0, more)))  # more inputs, of weight 0
        self.bias = nn.Parameter(torch.stack([layer.bias for layer in layers]).detach()[:, None])
        if self.spectral:
            power = [layer.parametrizations.weight[0] for layer in layers]
            self.register_buffer("u", torch.stack([p._u for p in power]))
            self.register_buffer("v", torch.stack([p._v for p in power]))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if self.spectral:
            if self.training:  # one round of the power method at every call, as in PyTorch
                with torch.no_grad():
                    self.u = F.normalize(torch.einsum("sba,sa->sb", weight, self.v), dim=1)
                    self.v = F.normalize(torch.einsum("sba,sb->sa", weight, self.u), dim=1)
            weight = weight / torch.einsum("sb,sba,sa->s", self.u, weight, self.v)[:, None, None]
        return torch.baddbmm(self.bias, x, weight.mT)


class Networks(nn.Module):
    """S fully connected networks as one: rows s, s + S, s + 2S, ... of its input belong to network s."""

    def __init__(self, networks: list[nn.Module], slope: float, compare: bool = False) -> None:
        super().__init__()
        linear = zip(*[[m for m in net.layers if isinstance(m, nn.Linear)] for net in networks])
        layers = [list(same) for same in linear]
        self.layers = nn.ModuleList(Linear(same, compare and same is layers[-1]) for same in layers)
        self.count, self.slope, self.compare = len(networks), slope, compare

    def forward(self, x: Tensor) -> Tensor:
        h = x.view(-1, self.count, x.shape[1]).transpose(0, 1)  # (S, B, d)
        for layer in self.layers[:-1]:
            h = F.leaky_relu(layer(h), self.slope)
        if self.compare:  # its groups are of 4 rows of one network
            rows = minibatch_std(h.transpose(0, 1).flatten(0, 1)[..., None, None])[..., 0, 0]
            h = rows.view(-1, self.count, rows.shape[1]).transpose(0, 1)
        return self.layers[-1](h).transpose(0, 1).flatten(0, 1)  # (B S, .)


class Critics(Networks):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze(1)


class Games(Game):
    """One game per seed. The loss of a step is the mean of theirs, and no weight is in two of them."""

    def __init__(self, cfg: GANConfig, seeds: Iterable[int], compare: bool = False) -> None:
        super().__init__()
        games = []
        for seed in seeds:
            seed_all(seed)
            games.append(GAN(cfg))
        self.cfg, self.count = cfg, len(games)
        self.generator = Networks([game.generator for game in games], 0.0)
        self.discriminator = Critics([game.discriminator for game in games], 0.2, compare)


def optimiser(network: Networks, rates: Tensor, bound: str | None = None) -> torch.optim.Optimizer:
    """Return an optimiser that moves network s at the learning rate rates[s]."""
    eps = 1e-8 / network.count  # as the loss is a mean over the games, each one's gradient is divided by their number
    weights, rate, kept = list(network.parameters()), rates.max().item(), []
    if bound == "clip":
        opt = torch.optim.RMSprop(weights, rate, alpha=0.99, eps=eps)
    else:
        betas = (0.0, 0.9) if bound else (0.5, 0.999)
        opt = torch.optim.AdamW(weights, rate, betas, eps, weight_decay=0.0, fused=True)
    if (rates != rate).any():  # all move at the highest rate; the others then go back by what was too much
        back = (1 - rates / rate).float()[:, None, None]
        opt.register_step_pre_hook(lambda *_: kept.extend(w.detach().clone() for w in weights))
        opt.register_step_post_hook(lambda *_: [w.data.lerp_(kept.pop(0), back) for w in weights] and None)
    return opt


def play(rule: dict, seeds: tuple[int, ...], rates: Tensor | float, *, ratios: Tensor | float = 1.0, cfg=POINT):
    """Return the games and their step; a discriminator's rate is `ratios` times its generator's. One or (S,) each."""
    rule, ones = dict(rule), torch.ones(len(seeds), dtype=torch.float64)
    spectral, compare, bound = rule.pop("spectral", False), rule.pop("compare", False), rule.get("bound")
    model = Games(GANConfig(**asdict(cfg) | {"spectral": spectral}), seeds, compare)
    opt_g = optimiser(model.generator, ones * rates, bound)
    opt_d = optimiser(model.discriminator, ones * rates * ratios, bound)
    return model, (wgan_step if bound else gan_step)(model, opt_g, opt_d, **rule)


def each(values: Tensor | list, digits: int = 5) -> list:
    """Return numbers for JSON: rounded, and None where they are not finite."""
    values = torch.as_tensor(values, dtype=torch.float64).tolist()
    return [round(v, digits) if math.isfinite(v) else None for v in values]


def of(estimate: Estimate) -> dict:
    return as_json({"x": estimate})["x"]


# ---- rates, stability, collapse, balance: points in the plane, and how samples are judged

UPDATES, EVERY = 2_000, 100  # of the generator, and how often a look is taken
TESTED, LOOKED = 2_000, 1_000  # samples at the end, and at a look
MODES_BELOW, SHARE_BELOW = {"ring": 7, "moons": 14}, 0.8  # a run that ends below has failed


@cache
def toy(kind: str) -> tuple[Tensor, Tensor, Tensor, float]:
    """Return points to learn from and to test on, the centres that samples should be near, and a standard deviation."""
    train, test = (load("toys", kind=kind, split=split) for split in ("train", "test"))
    means = train.density.means
    return train.points, test.points, means if kind == "ring" else means[4::8], train.density.stds[0]


def sliced(a: Tensor, b: Tensor, directions: int = 32) -> Tensor:
    """Return the Wasserstein-1 distance of a (n, S, 2) to b (n, 2), averaged over directions, (S,)."""
    angle = torch.arange(directions) * (math.pi / directions)
    axes = torch.stack([angle.cos(), angle.sin()])
    a, b = (a @ axes).sort(0).values, (b @ axes).sort(0).values  # (n, S, .), (n, .)
    return (a - b[:, None]).abs().mean((0, 2))


def samples(model: Games, n: int, g: torch.Generator) -> Tensor:
    return model.sample(n * model.count, generator=g).view(n, model.count, -1)


def logits(model: Games, x: Tensor) -> Tensor:
    """Return (n, S) of x (n, S, d)."""
    return model.discriminator(x.flatten(0, 1)).view(len(x), -1)


@torch.no_grad()
def look(model: Games, kind: str, loss: str, g: torch.Generator) -> dict[str, list]:
    """Return, per seed, both losses on held-out points, their accuracy as a verdict, and how far samples are off."""
    fake, real = samples(model, LOOKED, g), toy(kind)[1][:LOOKED]
    r, f, game = logits(model, real[:, None].expand_as(fake)), logits(model, fake), game_loss(loss)
    threshold = 0.5 if loss == "least_squares" else 0.0
    return {
        "loss_d": each([game.discriminator(a, b) for a, b in zip(r.T, f.T)]),
        "loss_g": each([game.generator(b) for b in f.T]),
        "accuracy": each(((r > threshold).float() + (f <= threshold).float()).mean(0) / 2),
        "distance": each(sliced(fake, real)),
    }


def verdict(model: Games, kind: str, g: torch.Generator) -> dict[str, list]:
    """Return, per seed, the modes covered, the share of samples near one, the distance, and whether the run failed."""
    _, test, centres, std = toy(kind)
    fake = samples(model, TESTED, g)
    found = [mode_coverage(x, centres, std) for x in fake.unbind(1)]
    fine = fake.isfinite().all((0, 2)).tolist()
    bad = [not ok or c.covered < MODES_BELOW[kind] or c.high_quality.value < SHARE_BELOW for c, ok in zip(found, fine)]
    return {"modes": [c.covered for c in found], "share": each([c.high_quality.value for c in found]),
            "distance": each(sliced(fake, test[:TESTED])), "finite": fine, "failed": bad}  # fmt: skip


def points_run(rule: dict, kind: str, seeds: tuple[int, ...], rates, *, ratios=1.0, more=None) -> dict:
    """Play the games of all seeds; return verdict, and looks by name: a list over looks for each seed."""
    model, step = play(rule, seeds, rates, ratios=ratios)
    g = torch.Generator().manual_seed(seeds[0])
    train, size = toy(kind)[0], BATCH * rule.get("n_critic", 1) * len(seeds)
    looks = []
    for i in range(1, UPDATES + 1):
        step(train[torch.randint(len(train), (size,), generator=g)])
        if i % EVERY == 0:
            model.eval()
            looks.append(look(model, kind, rule.get("loss", "wasserstein"), g) | (more(model, g) if more else {}))
            model.train()
    trace = {name: [list(seed) for seed in zip(*(row[name] for row in looks))] for name in looks[0]}
    return verdict(model.eval(), kind, g) | {"trace": trace}


# ---- rates: the learning rate of each rule, chosen on the ring with seeds that are not counted

GRID, RATE_SEEDS = (3e-4, 1e-3, 3e-3), (100, 101, 102)


def rate_run(rule: str) -> dict:
    """Return, by rate, the mean over seeds of the share of modes covered times the share of samples near one."""
    n = len(RATE_SEEDS)
    found = points_run(RULES[rule], "ring", RATE_SEEDS * len(GRID), torch.tensor(GRID).repeat_interleave(n))
    good = torch.tensor(found["modes"]) / 8 * torch.tensor(found["share"])
    return {"score": {str(rate): part.mean().item() for rate, part in zip(GRID, good.split(n))}}


# ---- stall: how hard a generator is pushed by the best discriminator, and by one that learns

DISTANCES = [i / 2 for i in range(21)]  # of N(d, 1), the generator's, from N(0, 1), the data's
LEARNT, AFTER, STALL_SEEDS = (1.0, 2.0, 4.0, 6.0), (0, 10, 30, 100, 300, 1_000), tuple(range(10))
LINE = GANConfig(d=1, latent=1, width=32, n_layers=2)
STALL_RATE = 1e-3


def stall_exact() -> dict:
    """Return dL_G / d(shift) with the best discriminator of each shift, by quadrature: r(x) = d^2 / 2 - d x."""
    found: dict = {"saturating": [], "nonsaturating": [], "wasserstein": [], "jensen_shannon": []}
    z = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    weight = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    mean = lambda values: (weight * values).sum().item()
    for d in DISTANCES:
        r_fake, r_real = -d * d / 2 - d * z, d * d / 2 - d * z  # of x = d + z and of x = z
        found["saturating"].append(mean(d * torch.sigmoid(r_fake)))
        found["nonsaturating"].append(mean(d * torch.sigmoid(-r_fake)))
        found["wasserstein"].append(float(d > 0))
        minimax = mean(F.softplus(-r_real)) + mean(F.softplus(r_fake))
        found["jensen_shannon"].append(max(0.0, math.log(2) - minimax / 2))
    return {name: each(values, 12) for name, values in found.items()}


def stall_run(loss: str) -> dict:
    """Train discriminators against a generator that stands still; return its push, by loss, distance and updates."""
    n, g = len(STALL_SEEDS), torch.Generator().manual_seed(0)
    model = Games(LINE, STALL_SEEDS * len(LEARNT))
    critic, shift = model.discriminator, torch.tensor(LEARNT).repeat_interleave(n)  # (S,)
    opt = optimiser(critic, torch.full_like(shift, STALL_RATE), "penalty" if loss == "wasserstein" else None)
    names = ("wasserstein",) if loss == "wasserstein" else ("saturating", "nonsaturating")
    found: dict = {name: {str(d): [] for d in LEARNT} for name in names}
    flat = lambda x: x.reshape(-1, 1)
    for i in range(AFTER[-1] + 1):
        if i in AFTER:
            at = shift.clone().requires_grad_()
            r = critic(flat(torch.randn(4_000, len(shift), generator=g) + at)).view(-1, len(shift))
            for name in names:
                total = torch.stack([game_loss(name).generator(column) for column in r.T]).sum()
                (push,) = torch.autograd.grad(total, at, retain_graph=True)
                for d, part in zip(LEARNT, push.split(n)):
                    found[name][str(d)].append(each(part, 10))
        real, fake = (flat(torch.randn(BATCH, len(shift), generator=g) + s) for s in (torch.zeros(()), shift))
        value = game_loss("wasserstein" if loss == "wasserstein" else "saturating").discriminator(
            critic(real), critic(fake)
        )
        if loss == "wasserstein":
            value = value + PENALTY * gradient_penalty(critic, real, fake, generator=g)
        opt.zero_grad()
        value.backward()
        opt.step()
    return found


# ---- wasserstein: the critic's estimate against the exact distance, on a line

BOUNDS = {
    "clip 0.003": {"bound": "clip", "clip": 0.003}, "clip 0.01": {"bound": "clip", "clip": 0.01},
    "clip 0.1": {"bound": "clip", "clip": 0.1}, "penalty": {"bound": "penalty", "weight": PENALTY},
    "penalty of 10": {"bound": "penalty", "weight": 10.0},
    "spectral": {"bound": "none", "spectral": True},
}  # fmt: skip
LINE_SEEDS, LINE_UPDATES, LINE_EVERY, LINE_RATE, HELD_OUT = tuple(range(10)), 600, 25, 5e-4, 4_096
WASSERSTEIN_LINE = GANConfig(d=1, latent=1, width=32, n_layers=2)


def two_bumps(n: int, g: torch.Generator) -> Tensor:
    """Return (n, 1) of two Gaussians at -2 and 2, each of standard deviation 0.5."""
    return 4.0 * torch.randint(2, (n, 1), generator=g) - 2 + 0.5 * torch.randn(n, 1, generator=g)


def slopes(model: Games, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model.discriminator(x).sum(), x)
    return slope.view(-1, model.count).abs()  # (n, S)


def line_run(name: str) -> dict:
    model, step = play(BOUNDS[name] | {"n_critic": 5}, LINE_SEEDS, LINE_RATE, cfg=WASSERSTEIN_LINE)
    s, g = len(LINE_SEEDS), torch.Generator().manual_seed(0)
    held, grid = two_bumps(HELD_OUT, g), torch.linspace(-5, 5, 401)[:, None]
    found: dict = {key: [] for key in ("estimate", "exact", "slope", "steepest")}
    for i in range(LINE_UPDATES + 1):
        if i % LINE_EVERY == 0:
            model.eval()
            real = held.repeat_interleave(s, 0)
            with torch.no_grad():
                fake = model.generator(torch.randn(HELD_OUT * s, 1, generator=g))
                gap = (model.discriminator(real) - model.discriminator(fake)).view(-1, s).mean(0)
            slope = slopes(model, torch.cat([real, fake])).mean(0)
            exact = [wasserstein_1d(held[:, 0], column) for column in fake.view(-1, s).T]
            steepest = slopes(model, grid.repeat_interleave(s, 0)).amax(0)
            for key, value in zip(found, (gap, exact, slope, steepest)):
                found[key].append(each(value))
            model.train()
        step(two_bumps(BATCH * 5 * s, g))
    found = {key: [list(seed) for seed in zip(*rows)] for key, rows in found.items()}
    if "clip" in BOUNDS[name]:
        c = BOUNDS[name]["clip"]
        matrices = torch.cat([layer.weight.detach().flatten(1) for layer in model.discriminator.layers], 1)  # (S, .)
        counts = torch.histc(matrices, bins=21, min=-c, max=c)
        found |= {"at_bound": each((matrices.abs() > 0.99 * c).float().mean(1)), "counts": counts.long().tolist()}
    return found


# ---- stability: twenty seeds for each rule, at the rate that `rates` finds best; gather() stops if it is another

SEEDS = tuple(range(20))
RATE = dict.fromkeys(RULES, 3e-3) | {"wasserstein_clip": 3e-4, "hinge_spectral": 1e-3}


def stability_run(rule: str, kind: str) -> dict:
    return points_run(RULES[rule], kind, SEEDS, RATE[rule])


# ---- collapse: a generator that outruns its discriminator on the ring, and what eases it

OUTRUN, COLLAPSE_RATE, COLLAPSE_SEEDS, COMPARED = 0.1, 1e-3, tuple(range(6)), 500
EASED = {  # by what, and the ratio of the discriminator's rate to the generator's
    "plain": ({}, OUTRUN), "r1": ({"r1": 1.0}, OUTRUN), "spectral": ({"spectral": True}, OUTRUN),
    "minibatch_std": ({"compare": True}, OUTRUN), "n_critic": ({"n_critic": 5}, OUTRUN), "equal_rates": ({}, 1.0),
}  # fmt: skip


@torch.no_grad()
def variety(model: Games, g: torch.Generator) -> dict[str, list]:
    _, test, centres, std = toy("ring")
    fake = samples(model, LOOKED, g)
    found = [mode_coverage(x, centres, std) for x in fake.unbind(1)]
    near = [precision_recall(test[:COMPARED], x[:COMPARED]) for x in fake.unbind(1)]
    return {"modes": [c.covered for c in found], "share": each([c.high_quality.value for c in found]),
            "precision": each([p.precision.value for p in near]),
            "recall": each([p.recall.value for p in near])}  # fmt: skip


def collapse_run(name: str) -> dict:
    rule, ratio = EASED[name]
    rule = {"loss": "nonsaturating"} | rule
    found = points_run(rule, "ring", COLLAPSE_SEEDS, COLLAPSE_RATE, ratios=ratio, more=variety)
    return {key: found["trace"][key] for key in ("modes", "share", "precision", "recall")}


# ---- balance: a discriminator that learns too slowly, and one that learns too fast

RATIOS, BALANCE_RATE, BALANCE_SEEDS = (1 / 16, 1 / 4, 1.0, 4.0, 16.0), 1e-3, tuple(range(10))


def push(model: Games, g: torch.Generator, loss: str) -> dict[str, list]:
    """Return the mean length of dL_G / dx over samples, per game."""
    x = samples(model, LOOKED, g).requires_grad_()
    (gradient,) = torch.autograd.grad(game_loss(loss).generator(logits(model, x)) * x.shape[0] * x.shape[1], x)
    return {"push": each(gradient.norm(dim=2).mean(0), 8)}


def balance_run(loss: str) -> dict:
    n, seeds = len(BALANCE_SEEDS), BALANCE_SEEDS * len(RATIOS)
    ratios = torch.tensor(RATIOS).repeat_interleave(n)
    found = points_run({"loss": loss}, "ring", seeds, BALANCE_RATE, ratios=ratios, more=partial(push, loss=loss))
    trace = found.pop("trace")
    found |= {key: [seed[-1] for seed in trace[key]] for key in ("accuracy", "push")}
    return {str(ratio): {key: values[i * n : (i + 1) * n] for key, values in found.items()}
            for i, ratio in enumerate(RATIOS)}  # fmt: skip


# ---- rules: DCGAN's rules, broken one at a time, on digits at half their side

SMALL, RULE_UPDATES, RULE_BATCH, RULE_SEEDS, JUDGED = 16, 800, 64, (0, 1, 2), 2_000
BROKEN = {
    "dcgan": {}, "saturating": {"loss": "saturating"}, "beta1 0.9": {"beta": 0.9}, "rate 0.001": {"rate": 1e-3},
    "no batch norm": {"norm": "none", "plain": True}, "no batch norm in D": {"norm": "none"},
    "no batch norm in G": {"plain": True}, "spectral": {"norm": "spectral"},
}  # fmt: skip


@cache
def small(split: str, n: int) -> Tensor:
    """Return n digits, padded to 32x32 and averaged to 16x16, in [-1, 1]."""
    digits = next(load("mnist", split=split).batches(n, seed=0))[0]
    return F.avg_pool2d(F.pad(digits, [2] * 4, value=-1.0), 2)


@torch.no_grad()
def judged(x: Tensor) -> Tensor:
    """Return the judge's features of small digits, enlarged."""
    model = load_weights("classifier-mnist", Classifier).eval()
    return run_in_batches(model.features, F.interpolate(x, scale_factor=2, mode="bilinear")[..., 2:-2, 2:-2])


def compared(features: Tensor) -> dict:
    real = judged(small("train", 5_000))
    near = precision_recall(real[:JUDGED], features)
    return {"frechet": frechet_distance(features, real, resamples=0).value, "precision": of(near.precision),
            "recall": of(near.recall)}  # fmt: skip


def rule_run(name: str, seed: int) -> dict:
    how = {"loss": "nonsaturating", "beta": 0.5, "rate": 2e-4, "norm": "batch", "plain": False} | BROKEN[name]
    seed_all(seed)
    model = DCGAN(DCGANConfig(side=SMALL, latent=64, width_g=16, width_d=16, norm_d=how["norm"]))
    if how["plain"]:
        layers = model.generator.layers
        for i, layer in enumerate(layers):
            layers[i] = nn.Identity() if isinstance(layer, nn.BatchNorm2d) else layer
    opt_g, opt_d = (adamw(net, how["rate"], betas=(how["beta"], 0.999))
                    for net in (model.generator, model.discriminator))  # fmt: skip
    step, x = gan_step(model, opt_g, opt_d, loss=how["loss"]), small("train", 20_000)
    for _ in range(RULE_UPDATES):
        step(x[torch.randint(len(x), (RULE_BATCH,))])
    return compared(judged(model.eval().sample(JUDGED).clamp(-1, 1)))


# ---- all

RULES_SEEN = RULE_SEEDS[:1]  # of the trainings on MNIST; more have not been run


def plan() -> dict:
    """Return name -> function of every part, in the order of their worth."""
    parts = {f"rates {rule}": partial(rate_run, rule) for rule in RULES}
    parts |= {f"stability {rule}/ring": partial(stability_run, rule, "ring") for rule in RULES}
    parts |= {"stall exact": stall_exact}
    parts |= {f"stall {loss}": partial(stall_run, loss) for loss in ("minimax", "wasserstein")}
    parts |= {f"wasserstein {name}": partial(line_run, name) for name in BOUNDS}
    parts |= {f"collapse {name}": partial(collapse_run, name) for name in EASED}
    parts |= {f"balance {loss}": partial(balance_run, loss) for loss in ("saturating", "nonsaturating")}
    parts |= {f"stability {rule}/moons": partial(stability_run, rule, "moons") for rule in RULES}
    parts |= {f"rules {name} {seed}": partial(rule_run, name, seed) for seed in RULES_SEEN for name in BROKEN}
    return parts | {"rules held_out": lambda: compared(judged(small("test", JUDGED)))}


def chosen(done: dict) -> dict[str, float]:
    """Return the best rate of each rule.

    Raises:
        ValueError: another one was used.
    """
    scores = {rule: done[f"rates {rule}"]["score"] for rule in RULES}
    best = {rule: max(GRID, key=lambda rate: scores[rule][str(rate)]) for rule in RULES}
    if best != RATE:
        raise ValueError(f"the best rates are {best}, but {RATE} were used: change RATE and measure again")
    return best


def spearman(a: list, b: list) -> float | None:
    """Return the correlation of ranks; None if a value is missing, or all of one list are alike."""
    if None in a + b or min(len(set(a)), len(set(b))) == 1:
        return None
    ranks = torch.stack([torch.tensor(v, dtype=torch.float64).argsort().argsort().double() for v in (a, b)])
    return round(torch.corrcoef(ranks)[0, 1].item(), 4)


def failures(run: dict) -> dict:
    return of(share_estimate(sum(run["failed"]), len(run["failed"])))


def myth(run: dict) -> dict:
    """Return how the losses go with the distance to the data: over the looks at a run, and over the runs' ends."""
    trace, found = run["trace"], {"within": {}, "across": {}}
    for loss in ("loss_d", "loss_g"):
        seeds = [v for a, b in zip(trace[loss], trace["distance"]) if (v := spearman(a, b)) is not None]
        found["within"][loss] = of(mean_estimate(torch.tensor(seeds))) if len(seeds) > 1 else None
        found["across"][loss] = spearman([seed[-1] for seed in trace[loss]], [seed[-1] for seed in trace["distance"]])
    return found | {"example": {name: trace[name][0] for name in ("loss_d", "loss_g", "distance", "accuracy")}}


def gather(done: dict) -> dict:
    """Return the values as the chapter reads them."""
    kinds, best, stall = tuple(MODES_BELOW), chosen(done), done["stall minimax"] | done["stall wasserstein"]
    toys = {kind: {rule: done[f"stability {rule}/{kind}"] for rule in RULES} for kind in kinds}
    lines = {name: dict(done[f"wasserstein {name}"]) for name in BOUNDS}
    for run in lines.values():
        run["correlation"] = [spearman(a, b) for a, b in zip(run["estimate"], run["exact"])]
    counts = {name: {"limit": BOUNDS[name]["clip"], "counts": run.pop("counts")}
              for name, run in lines.items() if "counts" in run}  # fmt: skip
    g = torch.Generator().manual_seed(0)
    floor = {kind: sliced(toy(kind)[0][:TESTED, None], toy(kind)[1][:TESTED]).item() for kind in kinds}
    by_rule = {name: [done[f"rules {name} {seed}"] for seed in RULES_SEEN] for name in BROKEN}
    balance = {loss: done[f"balance {loss}"] for loss in ("saturating", "nonsaturating")}
    looks = list(range(EVERY, UPDATES + 1, EVERY))
    return {
        "stability": {
            "settings": {"config": asdict(POINT), "batch": BATCH, "updates": UPDATES, "n": TESTED, "rules": RULES,
                         "failure": {k: {"modes_below": MODES_BELOW[k], "share_below": SHARE_BELOW} for k in kinds}},
            "seeds": SEEDS, "floor": floor,
            "rates": {"grid": GRID, "seeds": RATE_SEEDS, "chosen": best,
                      "score": {rule: done[f"rates {rule}"]["score"] for rule in RULES}},
            "toys": {kind: {rule: {"failed": failures(run), "not_finite": run["finite"].count(False)}
                            | {key: run[key] for key in ("modes", "share", "distance")}
                            for rule, run in runs.items()} for kind, runs in toys.items()}},
        "stall": {"distance": DISTANCES, "log2": math.log(2), "wasserstein_1": DISTANCES} | done["stall exact"]
        | {"trained": {"seeds": STALL_SEEDS, "distances": LEARNT, "updates": AFTER, "rate": STALL_RATE} | stall},
        "wasserstein": {
            "seeds": LINE_SEEDS, "updates": list(range(0, LINE_UPDATES + 1, LINE_EVERY)), "n": HELD_OUT, "runs": lines,
            "weights": counts, "rate": LINE_RATE,
            "exact_floor": wasserstein_1d(two_bumps(HELD_OUT, g)[:, 0], two_bumps(HELD_OUT, g)[:, 0]).item()},
        "collapse": {
            "seeds": COLLAPSE_SEEDS, "updates": looks, "n": LOOKED, "n_precision": COMPARED,
            "setting": {"loss": "nonsaturating", "rate_g": COLLAPSE_RATE, "ratio": OUTRUN},
            "runs": {name: done[f"collapse {name}"] for name in EASED}},
        "balance": {
            "seeds": BALANCE_SEEDS, "ratios": [str(ratio) for ratio in RATIOS], "rate_g": BALANCE_RATE,
            "runs": {loss: {ratio: run | {"failed": failures(run)} for ratio, run in by_ratio.items()}
                     for loss, by_ratio in balance.items()}},
        "myth": {"updates": looks, "runs": {rule: myth(run) for rule, run in toys["ring"].items()}},
        "rules": {
            "seeds": RULES_SEEN, "updates": RULE_UPDATES, "side": SMALL, "n": JUDGED,
            "held_out": done["rules held_out"],
            "runs": {name: {key: [run[key] for run in runs] for key in runs[0]} for name, runs in by_rule.items()}},
    }  # fmt: skip


if __name__ == "__main__":
    main("11", plan(), gather, __file__, PART_SOURCES, seeds=SEEDS, libraries=("torch",))
