"""Measure what chapter 12 shows: `python -m tools.results.stylegan_12` writes genai_utils/results/12.json.

Needs MNIST. Most parts measure the generators that ship, stylegan-mnist and biggan-mnist, with the judge of digits;
`augmentation` and `orthogonal` train small BigGANs and classifiers on digits halved to 16x16. About forty minutes on
one CPU thread. Each finished part is kept in runs/ and not measured twice, unless the section of this file that
measures it, or a source named for it, has changed. `python -m tools.results.stylegan_12 path noise` measures the parts
named and stops.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.core import seed_all
from genai_utils.data import load, to_floats
from genai_utils.gan import BigGAN, BigGANConfig, BigGANGame, StyleGenerator, biggan_step
from genai_utils.gan.biggan_step import draw_latents, orthogonal_penalty, standing_statistics
from genai_utils.gan.biggan_step import sample as sample_biggan
from genai_utils.gan.modulation import activate, modulated_conv
from genai_utils.gan.stylegan import mix_styles
from genai_utils.gan.stylegan_step import path_lengths
from genai_utils.metrics import (
    Classifier, Estimate, density_coverage, frechet_distance, mean_estimate, memorisation, precision_recall,
    share_estimate,
)  # fmt: skip
from genai_utils.metrics.classifier import ClassifierConfig, classifier_loss, jitter, run_in_batches
from genai_utils.metrics.quality import CONFIDENT, entropy_estimate
from genai_utils.training import EMA, adamw, warmup_cosine
from genai_utils.weights import load_tensors, load_weights
from tools.parts import main
from tools.recipes.gan_mnist import PAD, draw
from tools.recipes.score import as_json

WEIGHTS = "genai_utils/weights"
JUDGE = (f"{WEIGHTS}/classifier-mnist.safetensors", f"{WEIGHTS}/mnist-features.safetensors")
STYLE = (
    "genai_utils/gan/stylegan.py",
    "genai_utils/gan/modulation.py",
    f"{WEIGHTS}/stylegan-mnist.safetensors",
    *JUDGE,
)
BIG = ("genai_utils/gan/biggan.py", "genai_utils/gan/biggan_step.py", f"{WEIGHTS}/biggan-mnist.safetensors", *JUDGE)
SMALL_SOURCES = (*BIG[:2], "genai_utils/metrics/classifier.py")
PART_SOURCES = {  # first word of a part's name: what it depends on, beside its section of this file
    "fidelity": STYLE, "variety": BIG, "path": STYLE, "mixing": STYLE, "noise": STYLE, "editing": STYLE,
    "demodulation": STYLE, "statistics": BIG, "copies": (*STYLE, *BIG),
    "augmentation": SMALL_SOURCES, "orthogonal": SMALL_SOURCES, "upper": (*SMALL_SOURCES, *BIG),
}  # fmt: skip

# ---- shared: the shipped networks, and how digits are judged

MODELS = {"stylegan": ("stylegan-mnist", StyleGenerator), "biggan": ("biggan-mnist", BigGAN)}
CLASSES = 10


@cache
def shipped(kind: str) -> nn.Module:
    return load_weights(*MODELS[kind]).eval().requires_grad_(False)


@cache
def judge() -> Classifier:
    return load_weights("classifier-mnist", Classifier).eval().requires_grad_(False)


def of(estimate: Estimate) -> dict:
    return as_json({"x": estimate})["x"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cropped(x: Tensor) -> Tensor:
    """Return digits (B, 1, 28, 28) in [-1, 1] of what a generator gives."""
    return x[..., PAD:-PAD, PAD:-PAD].clamp(-1, 1)


@torch.no_grad()
def synthesise(styles: Tensor, noise: str | list[Tensor] = "fixed", size: int = 200) -> Tensor:
    """Return digits (B, 1, 28, 28) from styles (B, L, S)."""
    return cropped(torch.cat([shipped("stylegan").synthesis(part, noise) for part in styles.split(size)]))


def places(w: Tensor) -> Tensor:
    """Return the same style for every place, (B, L, S)."""
    return w[:, None].expand(-1, shipped("stylegan").n_styles, -1)


def latents(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, shipped("stylegan").cfg.latent, generator=seeded(seed))


def sure(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return which digits the judge is sure of, (B,) bool, and their classes."""
    probability, classes = run_in_batches(judge(), images).softmax(1).max(1)
    return probability > CONFIDENT, classes


def scores(images: Tensor, labels: Tensor | None = None) -> dict[str, float]:
    """Return all that the judge says of n digits; distances and territories against n training digits."""
    real, n = load_tensors("mnist-features"), len(images)
    features = run_in_batches(judge().features, images)
    probability, classes = judge().head(features).softmax(1).max(1)
    pr, dc = precision_recall(real["train"][:n], features), density_coverage(real["train"][:n], features)
    found = {"frechet": frechet_distance(features, real["train"], resamples=0), "precision": pr.precision,
             "recall": pr.recall, "density": dc.density, "coverage": dc.coverage,
             "confident": (probability > CONFIDENT).double().mean(),
             "class_entropy": entropy_estimate(classes, CLASSES, resamples=0)}  # fmt: skip
    if labels is not None:
        found["agreement"] = (classes == labels).double().mean()
    return {name: float(f"{float(value):.5g}") for name, value in found.items()}


# ---- fidelity, variety: truncation of StyleGAN2, of BigGAN

N, SEEDS = 2_000, (0, 1, 2)
AT = {"stylegan": (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), "biggan": (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)}


def truncation_run(kind: str, at: float, seed: int, n: int = N) -> dict:
    return scores(*draw(shipped(kind), n, truncation=at, seed=seed))


def held_out() -> dict[str, float]:
    """Return the marks to reach: what test digits score."""
    return scores(to_floats(load("mnist", split="test").images[:N]))


# ---- path: how far a picture moves on the way from one code to another

PATHS, STEP, LENGTHS, DIRECTIONS = 2_000, 3e-4, 400, 4


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Return points between the directions of a and b (B, Z) on the unit sphere, the share t (B, 1) of the angle."""
    a, b = F.normalize(a), F.normalize(b)
    c = F.normalize(b - (a * b).sum(1, keepdim=True) * a)
    angle = t * (a * b).sum(1, keepdim=True).clamp(-1, 1).acos()
    return a * angle.cos() + c * angle.sin()


@torch.no_grad()
def path_run(space: str, where: str) -> dict:
    """Walk from t to t + STEP between two codes, by slerp in Z or by lerp in W; squared distances over STEP^2."""
    z, z2 = latents(PATHS, 0), latents(PATHS, 1)
    t = torch.rand(PATHS, 1, generator=seeded(2)) if where == "full" else torch.zeros(PATHS, 1)
    mapping = shipped("stylegan").mapping
    at = (lambda t: mapping(slerp(z, z2, t))) if space == "z" else (lambda t: torch.lerp(mapping(z), mapping(z2), t))
    here, there = (synthesise(places(at(s))) for s in (t, t + STEP))
    features = [run_in_batches(judge().features, x) for x in (here, there)]
    moved = {"features": (features[1] - features[0]).square().sum(1), "pixels": (there - here).square().sum((1, 2, 3))}
    moved = {name: value.double() / STEP**2 for name, value in moved.items()}
    return {name: of(mean_estimate(value)) for name, value in moved.items()} | {
        "median": {name: value.median().item() for name, value in moved.items()}}  # fmt: skip


def spread_run(space: str) -> dict:
    """Return mean and spread of how far pictures move per unit of z or of w, each over some directions in pixels."""
    model, g, lengths = shipped("stylegan"), seeded(3), []
    for z in latents(LENGTHS, 4).split(50):
        code = (z[:, None] if space == "z" else places(model.mapping(z)).clone()).requires_grad_()
        x = model.synthesis(places(model.mapping(code[:, 0])) if space == "z" else code, "fixed")
        each = [path_lengths(x, code, generator=g).detach() for _ in range(DIRECTIONS)]
        lengths.append(torch.stack(each).square().mean(0).sqrt())
    lengths = torch.cat(lengths).double()
    mean, std = lengths.mean().item(), lengths.std().item()
    return {"mean": mean, "std": std, "ratio": std / mean, "n": LENGTHS}


# ---- mixing: coarse styles of one digit, fine ones of another

PAIRS, CROSSOVERS = 400, range(9)  # of eight places


@torch.no_grad()
def mixing_run(crossover: int) -> dict:
    """Mix styles of digits of different classes, of both of which the judge is sure."""
    coarse, fine = (shipped("stylegan").mapping(latents(2 * PAIRS, seed)) for seed in (0, 1))
    (sure_a, class_a), (sure_b, class_b) = (sure(synthesise(places(w))) for w in (coarse, fine))
    kept = (sure_a & sure_b & (class_a != class_b)).nonzero()[:PAIRS, 0]
    images = {"coarse": synthesise(places(coarse[kept])), "fine": synthesise(places(fine[kept]))}
    mixed = synthesise(mix_styles(places(coarse[kept]), places(fine[kept]), crossover))
    features, found = run_in_batches(judge().features, mixed), {"n": len(kept)}
    classes = judge().head(features).argmax(1)
    for name, of_source in (("coarse", class_a[kept]), ("fine", class_b[kept])):
        theirs = run_in_batches(judge().features, images[name])
        found[name] = {
            "features": of(mean_estimate((features - theirs).norm(dim=1))),
            "pixels": of(mean_estimate((mixed - images[name]).flatten(1).norm(dim=1))),
            "class": of(share_estimate(int((classes == of_source).sum()), len(kept))),
        }
    return found


# ---- noise: what the noise inputs change

STYLES, DRAWS = 100, 16
EDGE = 0.8  # beyond it the mean picture is ink, below its negative background


@torch.no_grad()
def noise_run() -> dict:
    model, g = shipped("stylegan"), seeded(1)
    convs, styles = model.synthesis.convs, places(model.mapping(latents(STYLES)))
    many = styles.repeat_interleave(DRAWS, 0)

    def deviation(only: int | None = None) -> tuple[Tensor, Tensor]:
        """Return digits (STYLES, DRAWS, 28, 28), and their deviation over the draws of the noise, or of one input's."""
        shapes = [(len(many), 1, conv.side, conv.side) for conv in convs]
        noise = [torch.randn(s, generator=g) if only in (None, i) else torch.zeros(s) for i, s in enumerate(shapes)]
        parts = zip(many.split(200), *(eps.split(200) for eps in noise))
        images = torch.cat([synthesise(part, list(eps)) for part, *eps in parts])[:, 0]
        images = images.unflatten(0, (STYLES, DRAWS))
        return images, images.std(1)

    images, std = deviation()
    mean = images.mean(1)
    where = {"background": mean < -EDGE, "edge": mean.abs() <= EDGE, "ink": mean > EDGE}
    quiet = sure(synthesise(styles, "none"))[1].repeat_interleave(DRAWS)
    kept = int((sure(images.flatten(0, 1)[:, None])[1] == quiet).sum())
    return {
        "n": STYLES, "draws": DRAWS, "strength": [conv.noise_strength.item() for conv in convs],
        "sides": [conv.side for conv in convs],
        "std": {"all": std.mean().item(), "each": [deviation(i)[1].mean().item() for i in range(len(convs))]},
        "where": {name: std[place].mean().item() for name, place in where.items()},
        "share": {name: place.double().mean().item() for name, place in where.items()},
        "largest": std.flatten(1).amax(1).mean().item(),
        "map": [[round(v, 4) for v in row] for row in std.mean(0).tolist()],
        "class_kept": of(share_estimate(kept, len(quiet))), "between": mean.std(0).mean().item(),
    }  # fmt: skip


# ---- editing: a direction in W for the thickness of strokes, and one for their slant

FITTED, EDITED, ASKS, RIDGE = 4_000, 400, (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0), 1e-3


def thickness(images: Tensor) -> Tensor:
    """Return twice the ink's area over its outline, in pixels (B,): t l and 2 l of a stroke of width t."""
    x = F.pad((images[:, 0] + 1) / 2, (1, 1, 1, 1))
    down, right = x[:, 1:, :-1] - x[:, :-1, :-1], x[:, :-1, 1:] - x[:, :-1, :-1]
    return 2 * x.sum((1, 2)) / (down.square() + right.square()).sqrt().sum((1, 2)).clamp(min=1e-6)


def slant(images: Tensor) -> Tensor:
    """Return how far strokes lean to the right per pixel of height, (B,), from second moments of the ink."""
    x = (images[:, 0] + 1) / 2
    x = x / x.sum((1, 2), keepdim=True).clamp(min=1e-6)
    at = torch.arange(x.shape[1], dtype=x.dtype)
    rows, columns = (at - (x.sum(axis) * at).sum(1, keepdim=True) for axis in (2, 1))  # each (B, H), from the centre
    along = (x * rows[:, :, None] * columns[:, None]).sum((1, 2))
    return -along / (x.sum(2) * rows.square()).sum(1).clamp(min=1e-6)


PROPERTIES: dict[str, Callable[[Tensor], Tensor]] = {"thickness": thickness, "slant": slant}


def regress(codes: Tensor, values: Tensor) -> Tensor:
    """Return the coefficients of values (B,) on codes (B, D), both centred, by ridge regression."""
    gram = codes.T @ codes / len(codes)
    return torch.linalg.solve(
        gram + RIDGE * gram.diagonal().mean() * torch.eye(len(gram)), codes.T @ values / len(codes)
    )


@torch.no_grad()
def editing_run() -> dict:
    """Fit each property on half of the pictures; move others so that the fit changes by what is asked, in its std.

    The way is along Cov(w) b, which is how w changes with the property from picture to picture; b alone would leave
    the cloud of styles.
    """
    mapping, z = shipped("stylegan").mapping, latents(2 * FITTED, 5)
    codes = {"w": mapping(z), "z": F.normalize(z)}
    images = synthesise(places(codes["w"]))
    start = codes["w"][FITTED : FITTED + EDITED]
    before = images[FITTED : FITTED + EDITED]
    classes, found, ways = sure(before)[1], {}, {}
    truth = {name: measure(images) for name, measure in PROPERTIES.items()}
    std = {name: values.std().item() for name, values in truth.items()}
    for name, values in truth.items():
        r2 = {}
        for space, code in codes.items():
            x, y = code - code[:FITTED].mean(0), values - values[:FITTED].mean()
            b = regress(x[:FITTED], y[:FITTED])
            r2[space] = (1 - (y[FITTED:] - x[FITTED:] @ b).square().mean() / y[FITTED:].var()).item()
            if space == "w":
                along = (x[:FITTED] @ b) @ x[:FITTED] / FITTED  # Cov(w) b
                ways[name] = along / (along @ b) * std[name]  # of one std, as the fit has it
        found[name] = {"std": std[name], "r2": r2}
    for name, other in (("thickness", "slant"), ("slant", "thickness")):
        rows, moved, kept, beside = [], [], [], []
        for ask in ASKS:
            after = synthesise(places(start + ask * ways[name]))
            rows.append((PROPERTIES[name](after) - PROPERTIES[name](before)) / std[name])
            moved.append(of(mean_estimate(rows[-1])))
            kept.append(of(share_estimate(int((sure(after)[1] == classes).sum()), EDITED)))
            beside.append(((PROPERTIES[other](after) - PROPERTIES[other](before)) / std[other]).mean().item())
        asked, got = torch.tensor(ASKS).repeat_interleave(EDITED), torch.cat(rows)
        found[name] |= {"measured": moved, "class_kept": kept, "other": beside,
                        "correlation": torch.corrcoef(torch.stack([asked, got]))[0, 1].item(),
                        "slope": (asked @ got / (asked @ asked)).item()}  # fmt: skip
    angle = torch.rad2deg(F.cosine_similarity(*ways.values(), dim=0).acos()).item()
    return {"fitted": FITTED, "n": EDITED, "asks": ASKS, "angle": angle, "properties": found}


# ---- demodulation: the size of activations over styles, with and without it

MODES, WEIGHED = ("with", "fixed", "none"), 500


@torch.no_grad()
def demodulation_run(mode: str) -> dict:
    """Divide by each picture's own norm of the weights, by its mean over pictures, or not at all; without noise."""
    net, w = shipped("stylegan").synthesis, shipped("stylegan").mapping(latents(WEIGHED))
    x, rgb, std = net.const.expand(WEIGHED, -1, -1, -1), None, []
    for i, conv in enumerate(net.convs):
        weights = conv.weight * conv.affine(w)[:, None, :, None, None]
        norm = weights.square().sum((2, 3, 4), keepdim=True).sqrt()
        if mode != "none":
            weights = weights / (norm if mode == "with" else norm.mean(0))
        y = torch.cat([modulated_conv(*part, up=conv.up) for part in zip(x.split(100), weights.split(100))])
        y = conv.resample.blur(y, pad=1, gain=4) if conv.up else y
        std.append(y.flatten(1).std(1))
        x = activate(y + conv.bias[:, None, None])
        if i % 2 == 0:
            more = net.to_rgb[i // 2](x, w)
            rgb = more if rgb is None else net.resample.up(rgb) + more
    std = torch.stack(std).double()  # (layers, B)
    return {
        "std": std.mean(1).tolist(), "spread": (std.std(1) / std.mean(1)).tolist(),
        "ratio": (std.amax(1) / std.amin(1)).tolist(), "sides": [conv.side for conv in net.convs],
        "confident": of(share_estimate(int(sure(cropped(rgb))[0].sum()), WEIGHED)),
    }  # fmt: skip


# ---- statistics: batch norms of BigGAN with the statistics of another truncation

TRUNCATIONS = (0.2, 0.6, 1.0)


@torch.no_grad()
def statistics_run(truncation: float, statistics: float) -> dict:
    model, labels = shipped("biggan"), torch.arange(N) % CLASSES
    z = draw_latents(N, model.cfg.latent, truncation, generator=seeded())
    parts = zip(z.split(250), labels.split(250))
    images = torch.cat([model(*part, truncation=statistics) for part in parts])
    found = scores(cropped(images), labels)
    return {name: found[name] for name in ("frechet", "confident", "agreement")}


# ---- copies: whether digits are copies of training digits

COPIES = 1_000


def copies_run(kind: str) -> dict:
    features = run_in_batches(judge().features, draw(shipped(kind), COPIES)[0])
    train = run_in_batches(judge().features, to_floats(load("mnist").images))
    found = memorisation(features, train, load_tensors("mnist-features")["test"][:COPIES])
    return {name: of(getattr(found, name)) for name in ("ratio", "nearer", "copies")}


# ---- augmentation, orthogonal, upper: small BigGANs on few digits, halved, and what a classifier learns from theirs

COUNTS, ARMS = (100, 500, 2_000), ("real", "jitter", "own", "own+jitter")  # and "shipped"
SMALL = BigGANConfig(side=16, latent=24, d_class=16, width=16, multiples=(4, 2, 1), ups=(True, True), attention=None)
NET = ClassifierConfig(side=16, width=16, n_features=64)
GAN_STEPS, NET_STEPS, JUDGE_STEPS, BATCH, POOL, BETA = 600, 400, 1_500, 64, 5_000, 1e-4
FEW_SEEDS = (0, 1)  # of the two trainings that `orthogonal` compares


def halved(x: Tensor) -> Tensor:
    """Return digits (B, 1, 16, 16) from 28x28."""
    return F.avg_pool2d(F.pad(x, [PAD] * 4, value=-1.0), 2)


@cache
def small(split: str) -> tuple[Tensor, Tensor]:
    digits = load("mnist", split=split)
    return halved(to_floats(digits.images)), digits.labels


def few(count: int, seed: int) -> tuple[Tensor, Tensor]:
    which = torch.randperm(len(small("train")[1]), generator=seeded(seed))[:count]
    return tuple(t[which] for t in small("train"))


def train_gan(digits: tuple[Tensor, Tensor], seed: int, beta: float = BETA, steps: int = GAN_STEPS) -> BigGAN:
    """Return the average of a small BigGAN's weights; the rules are those of biggan-mnist."""
    seed_all(seed)
    model, g = BigGANGame(SMALL), seeded(seed)
    ema = EMA(model.generator, 0.99)
    opts = (adamw(net, lr, betas=(0.0, 0.999)) for net, lr in ((model.generator, 4e-4), (model.discriminator, 8e-4)))
    step = biggan_step(model, *opts, orthogonal=beta, ema=ema, generator=g)
    for _ in range(steps):
        which = torch.randint(len(digits[1]), (BATCH,), generator=g)
        step(tuple(t[which] for t in digits))
    standing_statistics(ema.model, passes=4, generator=g)
    return ema.model.eval()


def train_net(
    parts: list[tuple[Tensor, Tensor]], seed: int, *, move: bool = False, steps: int = NET_STEPS
) -> Classifier:
    """Return a classifier; each batch is made up of equal shares of the parts."""
    seed_all(seed)
    model, g = Classifier(NET), seeded(seed)
    opt = adamw(model, 3e-3, weight_decay=0.05)
    schedule = warmup_cosine(opt, steps, warmup=steps // 10)
    for _ in range(steps):
        which = [torch.randint(len(y), (BATCH // len(parts),), generator=g) for _, y in parts]
        x, y = (torch.cat([part[i][rows] for part, rows in zip(parts, which)]) for i in (0, 1))
        loss, _ = classifier_loss(model, (jitter(x, shift=1.0, generator=g) if move else x, y))
        loss.backward()
        opt.step()
        opt.zero_grad(set_to_none=True)
        schedule.step()
    return model.eval()


def right(model: Classifier, digits: tuple[Tensor, Tensor]) -> float:
    return (run_in_batches(model, digits[0]).argmax(1) == digits[1]).double().mean().item()


@cache
def small_judge() -> Classifier:
    return train_net([small("train")], 9, move=True, steps=JUDGE_STEPS)


def pool(model: BigGAN, seed: int, truncation: float = 1.0) -> tuple[Tensor, Tensor]:
    labels = torch.arange(POOL) % CLASSES
    return torch.cat(
        list(sample_biggan(model, labels, truncation=truncation, batch=250, generator=seeded(seed)))
    ), labels


def conditioning(model: BigGAN) -> dict[str, float]:
    """Return how alike the filters of a generator are: means over the layers whose penalty could reach 0."""
    cosines, largest, smallest = [], [], []
    for name, weight in model.named_parameters():
        if weight.ndim < 2 or name.startswith("embed.") or not 1 < len(weight) <= weight[0].numel():
            continue
        rows = F.normalize(weight.detach().flatten(1))
        cosines.append((rows @ rows.T - torch.eye(len(rows))).abs().sum() / (len(rows) * (len(rows) - 1)))
        values = torch.linalg.svdvals(weight.detach().flatten(1))
        largest.append(values[0] / values.mean())
        smallest.append(values[-1] / values.mean())
    means = [torch.stack(v).mean().item() for v in (cosines, largest, smallest)]
    penalty = orthogonal_penalty(model).item()
    agreement = {str(t): right(small_judge(), pool(model, 0, t)) for t in (0.2, 1.0)}
    return dict(zip(("cosine", "largest", "smallest"), means)) | {"penalty": penalty, "agreement": agreement}


def judge_run() -> dict:
    return {"accuracy": right(small_judge(), small("test"))}


def augmentation_run(count: int, seed: int) -> dict:
    digits = few(count, seed)
    gan = train_gan(digits, seed)
    own = pool(gan, seed)
    found = {"accuracy": {}, "agreement": right(small_judge(), own)}
    for arm in ARMS:
        parts = [digits, own] if "own" in arm else [digits]
        found["accuracy"][arm] = right(train_net(parts, seed, move="jitter" in arm), small("test"))
    return found | ({"weights": conditioning(gan)} if count == max(COUNTS) else {})


def upper_run(count: int, seed: int) -> dict:
    """Return the accuracy with digits of the shipped generator, which has seen 60,000 labelled ones."""
    x, labels = draw(shipped("biggan"), POOL, seed=seed)
    more = (halved(x), labels)
    model = train_net([few(count, seed), more], seed)
    return {"accuracy": right(model, small("test")), "agreement": right(small_judge(), more)}


def orthogonal_run(seed: int) -> dict:
    return conditioning(train_gan(few(max(COUNTS), seed), seed, beta=0.0))


# ---- all

AUGMENTED, REGULARISED = SEEDS, FEW_SEEDS[:1]  # seeds of the longer trainings; of the latter the rest was not run


def plan() -> dict:
    """Return name -> function of every part."""
    words = {"stylegan": "fidelity", "biggan": "variety"}
    parts = {"augmentation judge": judge_run}
    parts |= {f"augmentation {n} {s}": partial(augmentation_run, n, s) for s in AUGMENTED for n in COUNTS}
    parts |= {f"upper {n} {s}": partial(upper_run, n, s) for s in AUGMENTED for n in COUNTS}
    parts |= {f"orthogonal {s}": partial(orthogonal_run, s) for s in REGULARISED}
    parts |= {f"statistics {t}/{s}": partial(statistics_run, t, s) for t in TRUNCATIONS for s in TRUNCATIONS}
    for kind in ("biggan", "stylegan"):
        parts |= {f"{words[kind]} {at} {s}": partial(truncation_run, kind, at, s) for s in SEEDS for at in AT[kind]}
    parts |= {f"path {space}/{where}": partial(path_run, space, where) for space in "zw" for where in ("full", "end")}
    parts |= {f"path spread/{space}": partial(spread_run, space) for space in "zw"}
    parts |= {f"mixing {k}": partial(mixing_run, k) for k in CROSSOVERS}
    parts |= {"noise": noise_run, "editing": editing_run}
    parts |= {f"demodulation {mode}": partial(demodulation_run, mode) for mode in MODES}
    return parts | {f"copies {kind}": partial(copies_run, kind) for kind in MODELS}


def gather(done: dict) -> dict:
    """Return the values as the chapter reads them."""

    def truncation(kind: str, word: str) -> dict:
        rows = [[done[f"{word} {at} {s}"] for s in SEEDS] for at in AT[kind]]
        return {"at": AT[kind]} | {key: [[run[key] for run in row] for row in rows] for key in rows[0][0]}

    runs = {n: [done[f"augmentation {n} {s}"] for s in AUGMENTED] for n in COUNTS}
    mixed = [done[f"mixing {k}"] for k in CROSSOVERS]
    plain = {mode: done[f"demodulation {mode}"] for mode in MODES}
    sides = {"with": [done[f"augmentation {max(COUNTS)} {s}"]["weights"] for s in REGULARISED],
             "without": [done[f"orthogonal {s}"] for s in REGULARISED]}  # fmt: skip
    upper = {n: [done[f"upper {n} {s}"] for s in AUGMENTED] for n in COUNTS}
    return {
        "truncation": {"n": N, "seeds": SEEDS, "held_out": held_out(), "stylegan": truncation("stylegan", "fidelity"),
                       "biggan": truncation("biggan", "variety")},
        "path": {"n": PATHS, "eps": STEP,
                 "spaces": {s: {where: {k: done[f"path {s}/{where}"][k] for k in ("features", "pixels")}
                                for where in ("full", "end")}
                            | {"median": {where: done[f"path {s}/{where}"]["median"] for where in ("full", "end")}}
                            for s in "zw"},
                 "spread": {s: done[f"path spread/{s}"] for s in "zw"}},
        "mixing": {"n": mixed[0]["n"], "crossover": list(range(len(mixed)))}
        | {key: {side: [run[side][key] for run in mixed] for side in ("coarse", "fine")}
           for key in ("features", "pixels", "class")},
        "noise": done["noise"], "editing": done["editing"],
        "augmentation": {
            "counts": COUNTS, "seeds": AUGMENTED, "n_test": len(small("test")[1]), "side": SMALL.side,
            "steps": NET_STEPS, "batch": BATCH, "pool": POOL,
            "gan": {"config": asdict(SMALL), "steps": GAN_STEPS, "batch": BATCH,
                    "parameters": sum(p.numel() for p in BigGAN(SMALL).parameters())},
            "accuracy": {str(n): {arm: [run["accuracy"][arm] for run in runs[n]] for arm in ARMS}
                         | {"shipped": [run["accuracy"] for run in upper[n]]} for n in COUNTS},
            "agreement": {str(n): [run["agreement"] for run in runs[n]] for n in COUNTS},
            "shipped_agreement": upper[max(COUNTS)][0]["agreement"],
            "everything": done["augmentation judge"]["accuracy"]},
        "statistics": {"n": N, "at": TRUNCATIONS} | {
            key: {str(t): {str(s): done[f"statistics {t}/{s}"][key] for s in TRUNCATIONS} for t in TRUNCATIONS}
            for key in ("frechet", "confident", "agreement")},
        "demodulation": {"n": WEIGHED, "sides": plain["with"]["sides"]} | {
            key: {mode: plain[mode][key] for mode in MODES} for key in ("std", "spread", "ratio", "confident")},
        "memorisation": {"n": COPIES} | {kind: done[f"copies {kind}"] for kind in MODELS},
        "orthogonal": {"seeds": REGULARISED, "count": max(COUNTS), "beta": BETA}
        | {key: {side: [run[key] for run in sides[side]] for side in sides}
           for key in ("penalty", "cosine", "largest", "smallest")}
        | {"agreement": {side: {t: [run["agreement"][t] for run in sides[side]] for t in ("0.2", "1.0")}
                         for side in sides}},
    }  # fmt: skip


if __name__ == "__main__":
    main("12", plan(), gather, __file__, PART_SOURCES, seeds=SEEDS, libraries=("torch",))
