"""Measure what chapter 15 shows: `python -m tools.results.flow_matching_15` writes genai_utils/results/15.json.

About forty minutes on one CPU thread; nothing is downloaded. Finished parts are kept in runs/, and measured again only
if their section of this file, or a source named for it, has changed.
`python -m tools.results.flow_matching_15 toys` measures the part named and stops.
"""

import copy
import math
from functools import cache, partial

import torch
from torch import Tensor

from genai_utils.core import seed_all
from genai_utils.data import load
from genai_utils.diffusion.process import denoiser
from genai_utils.diffusion.samplers import ddim_steps
from genai_utils.diffusion.schedules import cosine_schedule
from genai_utils.diffusion.unet import UNet
from genai_utils.flows.continuous import MixtureField, ode_log_prob, transport
from genai_utils.flows.matching import (
    VelocityConfig, VelocityMLP, flow_matching_loss, flow_times, matching_time, reflow_loss, reflow_pairs, straightness,
)  # fmt: skip
from genai_utils.flows.ode import solve
from genai_utils.metrics import score_digits
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.weights import load_tensors, load_weights
from tools.parts import main
from tools.recipes.flows_matching import draw
from tools.recipes.score import CLASSES, sample

FLOWS = [f"genai_utils/flows/{name}.py" for name in ("matching", "ode", "continuous")]
TOYS = [*FLOWS, "genai_utils/data/toys.py", "genai_utils/training/optim.py"]
IMAGES = [
    *FLOWS, *(f"genai_utils/diffusion/{name}.py" for name in ("unet", "process", "samplers", "schedules")),
    "genai_utils/metrics/quality.py", "genai_utils/metrics/frechet.py", "tools/recipes/flows_matching.py",
    "tools/recipes/score.py",
    *(f"genai_utils/weights/{name}.safetensors" for name in ("classifier-mnist", "mnist-features")),
]  # fmt: skip
SOURCES = {
    "toys": TOYS, "probes": [*TOYS, "genai_utils/data/published.py"], "solvers": TOYS,
    "flow": [*IMAGES, "genai_utils/weights/flow-mnist.safetensors"],
    "diffusion": [*IMAGES, "genai_utils/weights/diffusion-mnist.safetensors"], "held_out": IMAGES,
    "unet": [*IMAGES, "genai_utils/weights/unet-mnist.safetensors"],
}  # fmt: skip


# ---- shared: small things that every part uses


def short(x: float | Tensor, digits: int = 5) -> float:
    """Return a number for JSON, to so many significant digits."""
    return float(f"{float(x):.{digits}g}")


CONFIG = VelocityConfig(width=96)
UPDATES, BATCH, RATE = 1_200, 256, 3e-3


def fit_points(seed: int, batches, loss, start: VelocityMLP | None = None) -> VelocityMLP:
    """Return the average of the weights after UPDATES; the same seed gives the same first weights."""
    seed_all(seed)
    model = VelocityMLP(CONFIG) if start is None else copy.deepcopy(start).requires_grad_()
    opt = adamw(model, RATE)
    ema = EMA(model, 0.99)
    step = make_step(model, loss, opt, schedule=warmup_cosine(opt, UPDATES, warmup=50), ema=ema)
    fit(step, batches, steps=UPDATES, every=500, progress=False)
    return ema.model.eval()


@cache
def plain_flow(kind: str, seed: int) -> VelocityMLP:
    """Return a flow trained on independent pairs."""
    loss = partial(flow_matching_loss, generator=torch.Generator().manual_seed(seed))
    return fit_points(seed, load("toys", kind=kind).batches(BATCH, seed=seed), loss)


# ---- toys: which pairs make straight paths, and what straight paths are worth; times drawn otherwise

KINDS, SEEDS = ("moons",), (0, 1, 2, 3, 4)
STEPS = (1, 2, 4, 8, 16, 32)  # of Euler: as many evaluations
JUDGED, WEIGHED, PAIRS, TEACHER_STEPS = 2_000, 1_000, 20_000, 20  # WEIGHED: points whose likelihood is computed
WAYS = ("independent", "optimal", "logit-normal", "reflow 1", "reflow 2")


class Pairs:
    """Endless batches of fixed pairs; `shuffled` deals the ends of the whole set to other starts, once."""

    def __init__(self, pairs: tuple[Tensor, ...], seed: int, shuffled: bool = False) -> None:
        self.g = torch.Generator().manual_seed(seed)
        start, end = pairs
        self.pairs = start, end[torch.randperm(len(end), generator=self.g)] if shuffled else end

    def __iter__(self) -> "Pairs":
        return self

    def __next__(self) -> tuple[Tensor, ...]:
        i = torch.randint(len(self.pairs[0]), (BATCH,), generator=self.g)
        return tuple(part[i] for part in self.pairs)


def energy_distance(a: Tensor, b: Tensor) -> float:
    """Return 2 E|a - b| - E|a - a'| - E|b - b'| of points (n, 2), unbiased: 0 on average for equal distributions."""
    within = [torch.cdist(x, x).sum() / (len(x) * (len(x) - 1)) for x in (a, b)]
    return short(2 * torch.cdist(a, b).mean() - sum(within))


def look(field: VelocityMLP, kind: str, seed: int) -> dict:
    """Return how straight a flow is and how good: by Euler steps, and its divergence from the data, in nats."""
    test = load("toys", split="test", kind=kind, seed=seed)
    noise = torch.randn(JUDGED, 2, generator=torch.Generator().manual_seed(1_000 + seed))
    ends = {n: list(solve(field, noise, flow_times(n), method="euler"))[-1][1] for n in STEPS}
    times = flow_times(64)
    states = [noise, *(x for _, x, _ in solve(field, noise, times, method="rk4"))]
    x = test.points[:WEIGHED].double()
    exact = copy.deepcopy(field).double()
    ours = ode_log_prob(exact, x, rtol=1e-5, atol=1e-5)
    gap = test.density.log_prob(x) - ours
    return {
        "energy": {str(n): energy_distance(end, test.points[:JUDGED]) for n, end in ends.items()},
        "off": {str(n): short((end - states[-1]).norm(dim=1).mean()) for n, end in ends.items()},
        "straightness": short(straightness(states, times).mean()),
        "cost": short((states[-1] - noise).square().mean()),
        "kl": short(gap.mean()), "kl_error": short(gap.std() / math.sqrt(len(gap))),
    }  # fmt: skip


def toy_run(kind: str, seed: int) -> dict:
    """Return `look` by way; both reflows go on from the weights of the flow whose pairs they learn."""
    found, flows, g = {}, {}, torch.Generator().manual_seed(seed)
    train_points = load("toys", kind=kind)
    for way in WAYS:
        if way.startswith("reflow"):
            teacher = flows["independent" if way == "reflow 1" else "reflow 1"]
            noise = torch.randn(PAIRS, 2, generator=g)
            pairs = reflow_pairs(teacher, noise, flow_times(TEACHER_STEPS))
            flows[way] = fit_points(seed, Pairs(pairs, seed), partial(reflow_loss, generator=g), teacher)
        elif way == "independent":
            flows[way] = plain_flow(kind, seed)
        else:
            how = {"coupling": "optimal"} if way == "optimal" else {"times": way}
            batches = train_points.batches(BATCH, seed=seed)
            flows[way] = fit_points(seed, batches, partial(flow_matching_loss, generator=g, **how))
        found[way] = look(flows[way], kind, seed)
    if kind == "moons":  # reflow gone wrong: starts and ends of different pairs
        noise = torch.randn(PAIRS, 2, generator=g)
        pairs = reflow_pairs(flows["independent"], noise, flow_times(TEACHER_STEPS))
        wrong = fit_points(seed, Pairs(pairs, seed, True), partial(reflow_loss, generator=g), flows["independent"])
        found["mismatched"] = look(wrong, kind, seed)
    return found


def floor_run() -> dict:
    """Return the energy distance of JUDGED training points to as many test points, by kind and seed."""
    sets = lambda kind, split: [load("toys", split=split, kind=kind, seed=s).points[:JUDGED] for s in SEEDS]
    return {kind: [energy_distance(a, b) for a, b in zip(sets(kind, "train"), sets(kind, "test"))] for kind in KINDS}


# ---- probes: how much a likelihood by Hutchinson's trace scatters, and what the exact one costs

PROBES, DRAWS, POINTS = (1, 2, 4, 8, 16), 40, 50


def scatter(field, x: Tensor, times: list[float]) -> dict:
    """Return the exact log-likelihoods' mean and, by probe and number, the scatter and mean error of the estimates."""
    log_det = lambda **how: list(transport(field, x, times, method="heun", **how))[-1][2]
    exact, found = log_det(), {}
    for kind in ("rademacher", "gaussian"):
        for n in PROBES:
            many = torch.stack([
                log_det(trace="hutchinson", probe=kind, probes=n, generator=torch.Generator().manual_seed(s))
                for s in range(DRAWS)
            ])  # fmt: skip
            error = many - exact
            found[f"{kind} {n}"] = {
                "std": short(error.square().mean(0).sqrt().mean()),
                "bias": short(error.mean()), "bias_error": short(error.mean(1).std() / math.sqrt(DRAWS)),
            }  # fmt: skip
    return {"exact": short(exact.mean()), "found": found, "numbers": x[0].numel(), "points": len(x), "draws": DRAWS}


def probe_run(what: str) -> dict:
    if what == "moons":
        x = load("toys", split="test", kind="moons").points[:POINTS].double()
        return scatter(copy.deepcopy(plain_flow("moons", 0)).double(), x, flow_times(20)[::-1])
    digits = load("digits", split="train").images.flatten(1).double() / 127.5 - 1
    field = MixtureField(digits[:20], 0.5)  # a Gaussian around each of twenty digits of 8 x 8 pixels
    _, x = field.sample(POINTS, torch.Generator().manual_seed(0))
    return scatter(field, x, flow_times(20)[::-1])


# ---- solvers: the error of a path against evaluations of the field, on a trained flow

SOLVER_STEPS = {"euler": (4, 8, 16, 32, 64, 128), "midpoint": (2, 4, 8, 16, 32, 64), "heun": (2, 4, 8, 16, 32, 64),
                "rk4": (1, 2, 4, 8, 16, 32)}  # fmt: skip
TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def solver_run() -> dict:
    """Return, by method, the evaluations and the mean error at t = 1, from 500 noises of a flow to two moons."""
    field = copy.deepcopy(plain_flow("moons", 0)).double()
    noise = torch.randn(500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    last = lambda times, **how: list(solve(field, noise, times, **how))[-1][1:]
    truth, _ = last(flow_times(400), method="rk4")
    rows = {name: [last(flow_times(n), method=name) for n in steps] for name, steps in SOLVER_STEPS.items()}
    rows["dopri5"] = [last([0.0, 1.0], method="dopri5", rtol=tol, atol=tol) for tol in TOLERANCES]
    return {name: {"evaluations": [n for _, n in row], "error": [short((x - truth).norm(dim=1).mean()) for x, _ in row]}
            for name, row in rows.items()}  # fmt: skip


# ---- flow, diffusion, unet, held_out: quality against network evaluations, flow matching beside diffusion

N, DIGIT_SEEDS, EVALUATIONS = 400, (0, 1, 2), (2, 4, 8, 16)
MODELS = ("flow euler", "flow heun", "flow heun-euler", "diffusion ddim", "diffusion flow-times", "unet ddim")


def draw_ddim(model: UNet, n: int, evaluations: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return `sample`'s digits at other times: those timesteps of diffusion that are nearest to the flow's times."""
    alpha_bar = cosine_schedule()
    clock = matching_time(alpha_bar)
    times = [int((clock - t).abs().argmin()) for t in flow_times(evaluations)[:-1]]
    noise = torch.randn(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    labels, out = torch.arange(n) % CLASSES, []
    for i in range(0, n, 100):
        denoise = denoiser(model, alpha_bar, labels=labels[i : i + 100])
        *_, (_, x, _) = ddim_steps(denoise, noise[i : i + 100], alpha_bar, times)
        out.append(x.clamp(-1, 1))
    return torch.cat(out), labels


@torch.no_grad()
def digit_run(name: str, evaluations: int) -> dict:
    """Return, by seed, the Frechet distance of N digits and the shares recognised and drawn as asked.

    "flow heun-euler" ends with a step of Euler and so has one evaluation less than it is listed under.
    """
    net, how = name.split()
    weights = load_weights(f"{net}-mnist", UNet).eval()
    found: dict = {"frechet": [], "confident": [], "agreement": []}
    for seed in DIGIT_SEEDS:
        if how == "euler":
            images, labels = draw(weights, N, evaluations, seed=seed)
        elif net == "flow":
            last = "euler" if how == "heun-euler" else ""
            images, labels = draw(weights, N, evaluations // 2, seed=seed, method="heun", last=last)
        elif how == "ddim":
            images, labels = sample(weights, N, evaluations, seed=seed)
        else:
            images, labels = draw_ddim(weights, N, evaluations, seed)
        scores = score_digits(images, labels, resamples=0)
        for key, values in found.items():
            values.append(short(scores[key].value))
    return found


def held_run() -> list[float]:
    """Return the Frechet distance to the training digits of three disjoint sets of N test digits."""
    from genai_utils.metrics import frechet_distance

    real = {name: x.float() for name, x in load_tensors("mnist-features").items()}
    sets = [real["test"][i * N : (i + 1) * N] for i in range(len(DIGIT_SEEDS))]
    return [short(frechet_distance(x, real["train"], resamples=0).value) for x in sets]


# ---- all parts in order, and the values that the chapter reads

PLAN = {
    **{f"toys {kind} {seed}": partial(toy_run, kind, seed) for seed in SEEDS for kind in KINDS},
    "toys floor": floor_run,
    **{f"probes {what}": partial(probe_run, what) for what in ("moons", "digits")},
    "solvers": solver_run,
    **{f"{name} {n}": partial(digit_run, name, n) for n in EVALUATIONS for name in MODELS},
    "held_out": held_run,
}


def gather(done: dict) -> dict:
    """Return the values as the chapter reads them: lists over seeds at the ends."""
    toys: dict = {}
    for kind in KINDS:
        runs = [done[f"toys {kind} {seed}"] for seed in SEEDS]
        toys[kind] = {
            way: {
                key: [run[way][key] for run in runs] if not isinstance(runs[0][way][key], dict)
                else {n: [run[way][key][n] for run in runs] for n in runs[0][way][key]}
                for key in runs[0][way]
            } for way in runs[0]
        }  # fmt: skip
    return {
        "toys": toys | {"floor": done["toys floor"], "n": JUDGED, "updates": UPDATES, "batch": BATCH},
        "probes": {what: done[f"probes {what}"] for what in ("moons", "digits")},
        "solvers": done["solvers"],
        "digits": {name: {str(n): done[f"{name} {n}"] for n in EVALUATIONS} for name in MODELS}
        | {"held_out": done["held_out"], "n": N},
    }


if __name__ == "__main__":
    main("15", PLAN, gather, __file__, SOURCES, seeds=SEEDS, libraries=("torch", "scipy"))
