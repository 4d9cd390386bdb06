"""Measure what chapter 14 shows: `python -m tools.results.flows_14` writes genai_utils/results/14.json.

Needs MNIST and CIFAR-10. `density` trains RealNVP on toys whose densities are known; `mixing` small Glows on glyphs;
`outside` small Glows on CIFAR-10 and on coloured digits, and scores strange pictures by each; the other parts measure
glow-mnist, which ships. About forty minutes on one CPU thread. Each finished part is kept in runs/ and not measured
twice, unless its section of this file, or a source named for it, has changed.
"""

import zlib
from dataclasses import asdict
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn import functional as F

from genai_utils.core import seed_all
from genai_utils.data import load, to_floats, to_pixels
from genai_utils.flows.glow import Glow, GlowConfig, InvertibleConv, dequantise, image_bits
from genai_utils.flows.glow import nll_loss as image_loss
from genai_utils.flows.realnvp import RealNVP, RealNVPConfig
from genai_utils.flows.realnvp import nll_loss as point_loss
from genai_utils.metrics import Estimate, bits_per_dim, mean_estimate, precision_recall, score_digits
from genai_utils.metrics.classifier import Classifier, run_in_batches
from genai_utils.training import adamw, fit, make_step, warmup_cosine
from genai_utils.weights import load_tensors, load_weights
from tools.parts import main
from tools.recipes.flows_glow import bits_of, draw
from tools.recipes.score import as_json

POINTS = ("genai_utils/flows/realnvp.py", "genai_utils/flows/coupling.py", "genai_utils/data/toys.py")
IMAGES = ("genai_utils/flows/glow.py", "genai_utils/flows/coupling.py")
SHIPPED = (*IMAGES, "genai_utils/weights/glow-mnist.safetensors")
PART_SOURCES = {  # first word of a part's name: what it depends on, beside its section of this file
    "density": POINTS, "inverse": POINTS, "mixing": (*IMAGES, "genai_utils/data/glyphs.py"), "outside": IMAGES,
    "digits": SHIPPED, "bits": SHIPPED,
    "temperature": (*SHIPPED, "tools/recipes/flows_glow.py", "genai_utils/weights/classifier-mnist.safetensors",
                    "genai_utils/weights/mnist-features.safetensors"),
}  # fmt: skip

# ---- shared: estimates as JSON

SEEDS, FEW_SEEDS = (0, 1, 2, 3, 4), (0, 1, 2)


def of(estimate: Estimate) -> dict:
    return as_json({"x": estimate})["x"]


# ---- density: divergence from a known density, by the number of couplings

TOYS, DEPTHS = ("ring", "moons", "pinwheel", "checkerboard"), (2, 4, 8, 16)
UPDATES, POINTS_EACH, HELD_OUT = 600, 256, 20_000
WIDTH, RATE = 32, 5e-3


def density_kl(kind: str, log_q, seed: int = 99) -> Estimate:
    """Return KL(p || q) in nats: the mean of log p - log q over points drawn from the toy, of which log p is known."""
    points = load("toys", kind=kind, split="test", n=HELD_OUT, seed=seed)
    with torch.no_grad():
        gap = points.density.log_prob(points.points.double()) - log_q(points.points).double()
    return mean_estimate(gap)


def gaussian_kl(kind: str) -> dict:
    """Return the same of the one normal distribution with the mean and covariance of the training points."""
    x = load("toys", kind=kind).points
    return of(density_kl(kind, torch.distributions.MultivariateNormal(x.mean(0), x.T.cov()).log_prob))


def density_run(kind: str, depth: int, seed: int) -> dict:
    seed_all(seed)
    model = RealNVP(RealNVPConfig(n_couplings=depth, width=WIDTH))
    opt = adamw(model, lr=RATE)
    step = make_step(model, point_loss, opt, schedule=warmup_cosine(opt, UPDATES, warmup=50))
    batches = load("toys", kind=kind, seed=seed).batches(POINTS_EACH, seed=seed)
    fit(step, batches, steps=UPDATES, every=UPDATES, progress=False)
    return {"kl": of(density_kl(kind, model.log_prob)), "parameters": sum(p.numel() for p in model.parameters())}


# ---- inverse: what float32 loses on the way to the prior and back, by depth

LAYERS, PERTURBED, BOUNDS = (4, 8, 16, 32, 64), 512, (0.5, 1.0)


@torch.no_grad()
def inverse_run(layers: int, bound: float, seed: int) -> dict:
    """Return the largest error of x after there and back, of couplings with random weights, in float32 and 64."""
    seed_all(seed)
    wide = RealNVP(RealNVPConfig(n_couplings=layers, width=32)).double()
    for p in wide.parameters():
        p.add_(0.1 * torch.randn_like(p))
    for coupling in wide.couplings:
        coupling.bound.fill_(bound)  # no coupling stretches by more than exp(bound)
    narrow = RealNVP(wide.cfg)
    narrow.load_state_dict(wide.state_dict())
    x = torch.randn(PERTURBED, 2, dtype=torch.float64)

    def error(model: RealNVP, x: Tensor) -> float:
        return float(f"{(model.inverse(model(x)[0])[0] - x).abs().max().item():.3g}")

    gap = (narrow.log_prob(x.float()).double() - wide.log_prob(x)).abs().max().item()
    return {"float32": error(narrow, x.float()), "float64": error(wide, x), "log_prob": float(f"{gap:.3g}")}


# ---- mixing: which part of a step of Glow earns its keep

KINDS = {  # actnorm, what mixes the channels
    "1x1 convolution": (True, "learned"), "fixed permutation": (True, "shuffle"), "no mixing": (True, "none"),
    "no ActNorm": (False, "learned"),
}  # fmt: skip
MIX_UPDATES, MIX_BATCH, MIX_RATE = 300, 32, 3e-3
SMALL = GlowConfig(side=16, n_levels=2, n_steps=4, width=32)


@cache
def small_glyphs(split: str) -> Tensor:
    """Return glyphs at half their size, padded to (n, 1, 16, 16)."""
    return F.avg_pool2d(F.pad(to_floats(load("glyphs", split=split).images), [2] * 4, value=-1.0), 2)


def hold(model: Glow, actnorm: bool, mixes: str) -> Glow:
    """Return the model with its ActNorms switched off, or its 1x1 convolutions held at a permutation, or at nothing."""
    g = torch.Generator().manual_seed(0)
    for step in (step for level in model.levels for step in level):
        if not actnorm:
            step.norm.ready.fill_(True)
            step.norm.requires_grad_(False)
        if mixes != "learned":
            C = len(step.norm.bias)
            order = torch.arange(C) if mixes == "none" else torch.randperm(C, generator=g)
            step.conv = InvertibleConv(C, lu=False, weight=torch.eye(C)[order]).requires_grad_(False)
    return model


def mixing_run(kind: str, seed: int) -> dict:
    seed_all(seed)
    model = hold(Glow(SMALL), *KINDS[kind])
    train, test = small_glyphs("train"), small_glyphs("test")[:2_000]
    opt = adamw(model, lr=MIX_RATE)
    step = make_step(model, image_loss, opt, schedule=warmup_cosine(opt, MIX_UPDATES, warmup=30))
    order = torch.randint(len(train), (MIX_UPDATES, MIX_BATCH), generator=torch.Generator().manual_seed(seed))
    rows = fit(step, iter([train[o] for o in order]), steps=MIX_UPDATES, every=20, progress=False)
    return {"curve": [round(r["bits"], 4) for r in rows], "at": [r["step"] for r in rows],
            "bits": of(mean_estimate(bits_of(model.eval(), test)))}  # fmt: skip


# ---- outside: likelihood as a score of strangeness

OUT = GlowConfig(side=32, channels=3, n_levels=3, n_steps=4, width=32)
OUT_UPDATES, OUT_BATCH, OUT_RATE, OUT_N = 800, 32, 3e-3, 1_000


@cache
def photographs(split: str) -> Tensor:
    data = load("cifar10", split=split)
    return to_floats(data.images[:20_000]) if split == "train" else to_floats(data.images[:OUT_N])


@cache
def coloured_digits(split: str) -> Tensor:
    """Return digits in one colour on another, (n, 3, 32, 32): smooth, as house numbers are; a stand-in for them."""
    n, g = (20_000 if split == "train" else OUT_N), torch.Generator().manual_seed(len(split))
    ink = (F.pad(to_floats(load("mnist", split=split).images[:n]), [2] * 4, value=-1.0) + 1) / 2
    ink = F.avg_pool2d(F.pad(ink, [1] * 4, mode="replicate"), 3, stride=1)
    ground, stroke = 1.6 * torch.rand(2, n, 3, 1, 1, generator=g) - 0.8
    return ground + (stroke - ground) * ink


def strangers() -> dict[str, Tensor]:
    """Return what is scored, each (OUT_N, 3, 32, 32) in [-1, 1]."""
    g, x = torch.Generator().manual_seed(5), photographs("test")
    row = torch.exp(-0.5 * (torch.arange(-4, 5) / 1.5) ** 2)
    kernel = (row[:, None] * row / row.sum() ** 2).expand(3, 1, 9, 9)
    return {
        "photographs": x, "coloured digits": coloured_digits("test"),
        "constant": (2 * torch.rand(OUT_N, 3, 1, 1, generator=g) - 1).expand_as(x).clone(),
        "blurred": F.conv2d(F.pad(x, [4] * 4, mode="replicate"), kernel, groups=3), "half contrast": x / 2,
        "noise": 2 * torch.rand(x.shape, generator=g) - 1,
    }  # fmt: skip


def auroc(inside: Tensor, outside: Tensor) -> Estimate:
    """Return the chance that an outsider's score is the higher, ties counting half; 95 % interval of DeLong et al."""
    wins = (outside[:, None] > inside).double() + 0.5 * (outside[:, None] == inside).double()
    by_out, by_in = wins.mean(1), wins.mean(0)
    half = 1.96 * float((by_out.var() / len(by_out) + by_in.var() / len(by_in)).sqrt())
    value = float(wins.mean())
    return Estimate(value=value, low=max(0.0, value - half), high=min(1.0, value + half), n=len(outside), level=0.95)


def packed_bits(x: Tensor) -> Tensor:
    """Return bits per dimension of each picture as zlib packs it, differences of neighbours first: its complexity."""
    pixels = to_pixels(x).to(torch.int16)
    rows = torch.diff(pixels, dim=3, prepend=torch.zeros_like(pixels[..., :1])).to(torch.uint8).numpy()
    return torch.tensor([8 * len(zlib.compress(r.tobytes(), 9)) / r.size for r in rows], dtype=torch.float64)


def outside_run(learned: str, seed: int) -> dict:
    seed_all(seed)
    home = {"photographs": photographs, "coloured digits": coloured_digits}[learned]
    model, data = Glow(OUT), home("train")
    opt = adamw(model, lr=OUT_RATE)
    step = make_step(model, image_loss, opt, schedule=warmup_cosine(opt, OUT_UPDATES, warmup=50))
    order = torch.randint(len(data), (OUT_UPDATES, OUT_BATCH), generator=torch.Generator().manual_seed(seed))
    fit(step, (data[o] for o in order), steps=OUT_UPDATES, every=100, progress=False)
    model.eval()
    pictures = strangers()
    bits = {name: bits_of(model, x.clamp(-1, 1)).double() for name, x in pictures.items()}
    packed = {name: packed_bits(x) for name, x in pictures.items()}
    usual = bits_of(model, data[:OUT_N]).double().mean()
    scores = {"bits": bits, "distance from the usual": {k: (b - usual).abs() for k, b in bits.items()},
              "bits less complexity": {k: b - packed[k] for k, b in bits.items()}}  # fmt: skip
    return {
        "bits": {name: of(mean_estimate(b)) for name, b in bits.items()},
        "packed": {name: round(p.mean().item(), 4) for name, p in packed.items()},
        "counts": {name: torch.histc(b.clamp(-1, 11), 60, -1, 11).int().tolist() for name, b in bits.items()},
        "auroc": {score: {name: of(auroc(values[learned], v)) for name, v in values.items() if name != learned}
                  for score, values in scores.items()},
    }  # fmt: skip


# ---- digits, bits, temperature: glow-mnist


LOST = 0.01  # largest error of a pixel, in units of which black to white are 2, at which a picture counts as back


@cache
def shipped() -> Glow:
    return load_weights("glow-mnist", Glow).eval()


@torch.no_grad()
def digits_run() -> dict:
    """Return how far digits, and strangers, are off after there and back, in float32, and what they cost in bits.

    "back" is how many come back to within LOST, "worst" the largest error of these.
    """
    g, x = torch.Generator().manual_seed(0), to_floats(load("mnist", split="test").images[:500])
    pictures = {"digits": x, "upside down": x.flip(2), "negative": -x, "constant": torch.full_like(x, -1.0),
                "noise": 2 * torch.rand(x.shape, generator=g) - 1}  # fmt: skip
    found = {}
    for name, images in pictures.items():
        smooth = dequantise(images, generator=g)
        error = (shipped().inverse(shipped()(smooth)[0])[0] - smooth).abs().flatten(1).amax(1)
        back = error[error < LOST]  # none where an error is not a number
        found[name] = {"back": len(back), "worst": float(f"{back.max():.3g}") if len(back) else None,
                       "bits": of(mean_estimate(image_bits(shipped(), images, generator=g)))}  # fmt: skip
    return {"n": len(x), "limit": LOST, "of": found}


DRAWS, BOUNDED = (1, 4, 16, 64), 200  # of the dequantisation noise, and digits


@torch.no_grad()
def bits_run() -> dict:
    """Return the bound on all test digits, and on some with the densities of several draws of noise averaged."""
    x, g = to_floats(load("mnist", split="test").images), torch.Generator().manual_seed(1)
    some = x[:BOUNDED]
    nats = torch.stack([shipped().log_prob(dequantise(some, generator=g)).double() for _ in range(max(DRAWS))])
    d = some[0].numel()
    tighter = {str(k): of(mean_estimate(bits_per_dim(-(nats[:k].logsumexp(0) - torch.tensor(k).log()), d,
                                                     bin_width=2 / 256))) for k in DRAWS}  # fmt: skip
    return {"test": of(mean_estimate(bits_of(shipped(), x))), "draws": tighter, "n": BOUNDED}


TEMPERATURES, DRAWN, NEIGHBOURS = (0.4, 0.6, 0.7, 0.8, 0.9, 1.0), 2_000, 2_000


@torch.no_grad()
def temperature_run(temperature: float) -> dict:
    images = draw(shipped(), DRAWN, temperature=temperature)
    judge, known = load_weights("classifier-mnist", Classifier), load_tensors("mnist-features")["train"][:NEIGHBOURS]
    near = precision_recall(known, run_in_batches(judge.features, images))
    return as_json(score_digits(images) | {"precision": near.precision, "recall": near.recall})


# ---- all parts in order, and the values that the chapter reads


def plan() -> dict:
    parts = {f"outside {learned}/{s}": partial(outside_run, learned, s)
             for s in (0, 1) for learned in ("photographs", "coloured digits")}  # fmt: skip
    parts |= {f"density {kind}/{depth} {s}": partial(density_run, kind, depth, s)
              for depth in DEPTHS for kind in TOYS for s in SEEDS}  # fmt: skip
    parts |= {f"mixing {kind}/{s}": partial(mixing_run, kind, s) for kind in KINDS for s in FEW_SEEDS}
    parts |= {f"inverse {layers}/{bound} {s}": partial(inverse_run, layers, bound, s)
              for layers in LAYERS for bound in BOUNDS for s in FEW_SEEDS}  # fmt: skip
    parts |= {"digits": digits_run, "bits": bits_run}
    return parts | {f"temperature {t}": partial(temperature_run, t) for t in TEMPERATURES}


def gather(done: dict) -> dict:
    """Return the values as the chapter reads them: lists over seeds."""
    return {
        "density": {
            "seeds": SEEDS, "depths": DEPTHS, "updates": UPDATES, "n": HELD_OUT, "width": WIDTH,
            "gaussian": {kind: gaussian_kl(kind) for kind in TOYS},
            "kl": {kind: {str(depth): [done[f"density {kind}/{depth} {s}"]["kl"]["value"] for s in SEEDS]
                          for depth in DEPTHS} for kind in TOYS},
            "parameters": {str(depth): done[f"density ring/{depth} 0"]["parameters"] for depth in DEPTHS}},
        "inverse": {
            "seeds": FEW_SEEDS, "layers": LAYERS, "n": PERTURBED,
            **{str(bound): {key: {str(n): [done[f"inverse {n}/{bound} {s}"][key] for s in FEW_SEEDS] for n in LAYERS}
                            for key in ("float32", "float64", "log_prob")} for bound in BOUNDS}},
        "mixing": {"seeds": FEW_SEEDS, "updates": MIX_UPDATES, "config": asdict(SMALL),
                   "runs": {kind: [done[f"mixing {kind}/{s}"] for s in FEW_SEEDS] for kind in KINDS}},
        "outside": {"n": OUT_N, "updates": OUT_UPDATES, "config": asdict(OUT), "seeds": (0, 1), "runs": {
            learned: [done[f"outside {learned}/{s}"] for s in (0, 1)]
            for learned in ("photographs", "coloured digits")}},
        "digits": done["digits"], "bits": done["bits"],
        "temperature": {"n": DRAWN, "temperatures": TEMPERATURES,
                        "scores": {str(t): done[f"temperature {t}"] for t in TEMPERATURES}},
    }  # fmt: skip


if __name__ == "__main__":
    main("14", plan(), gather, __file__, PART_SOURCES, seeds=SEEDS, libraries=("torch",))
