"""Measure what chapter 13 shows: `python -m tools.results.cyclegan_13` writes genai_utils/results/13.json.

`translation` and `hidden` measure weights that ship; `ablation`, `data`, `spots`, `classes` and `kinds` train small
CycleGANs for as many updates each, and `permuted` trains toys of twenty seeds at once. `kinds` needs MNIST. About three
quarters of an hour on one CPU thread. Each finished part is kept in runs/ and not measured twice, unless the section of
this file that measures it, or a source named for it, has changed. `python -m tools.results.cyclegan_13 hidden` measures
the parts named and stops.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.core import seed_all
from genai_utils.data import load, to_floats
from genai_utils.data.sets import Batches
from genai_utils.data.unpaired import UnpairedSet, add_texture, draw_outlines, find_shift, invert, remove_texture
from genai_utils.gan.cyclegan import (
    CycleGAN, CycleGANConfig, PatchDiscriminator, cyclegan_step, generator_loss, linear_decay, patch_side,
)  # fmt: skip
from genai_utils.metrics import Estimate, mean_estimate, share_estimate
from genai_utils.metrics.classifier import run_in_batches
from genai_utils.metrics.translation import (
    Judge, class_kept, digit_judge, hidden_message, nearest_judge, score_translation,
)  # fmt: skip
from genai_utils.training import adamw, fit, make_step
from genai_utils.weights import load_weights
from tools.parts import main
from tools.recipes.score import as_json

MODEL = ("genai_utils/gan/cyclegan.py", "genai_utils/data/unpaired.py", "genai_utils/metrics/translation.py")
PART_SOURCES = {  # first word of a part's name: what it depends on, beside its section of this file
    "translation": (*MODEL, "genai_utils/weights/cyclegan-outline.safetensors"),
    "hidden": (*MODEL, "genai_utils/weights/cyclegan-stripes.safetensors"),
    "ablation": MODEL, "data": MODEL, "spots": MODEL, "classes": MODEL, "kinds": MODEL,
    "permuted": (), "receptive": ("genai_utils/gan/cyclegan.py",),
}  # fmt: skip

# ---- shared: the small networks, how they are trained, and how translations are scored

SMALL = {"side": 28, "width": 8, "blocks": 2, "d_width": 16}
STEPS, BATCH, RATE, SEEDS = 800, 8, 1e-3, (0, 1)  # of every small training
TEST = 1_000  # pictures of each domain that small networks are judged by
WAYS = {"a_to_b": "b_to_a", "b_to_a": "a_to_b"}  # there: back


@cache
def domains(kind: str, split: str = "train", n: int | None = None) -> UnpairedSet:
    return load("unpaired", split, kind=kind, n=n)


def learn(data: UnpairedSet, seed: int, **options) -> CycleGAN:
    """Return a small CycleGAN as its last update left it: in so few, an average would lag behind."""
    seed_all(seed)
    model = CycleGAN(CycleGANConfig(**SMALL | options))
    opts = [adamw(nets, RATE, betas=(0.5, 0.999)) for nets in (model.generators, model.discriminators)]
    schedules = tuple(linear_decay(opt, STEPS, constant=STEPS // 2) for opt in opts)
    step = cyclegan_step(model, *opts, schedules=schedules)
    fit(step, data.batches(BATCH, seed), steps=STEPS, every=STEPS, progress=False)
    return model.eval()


def translate(model: CycleGAN, x: Tensor, there: str) -> Tensor:
    return run_in_batches(model.generators[there], x, 250)


def of(estimate: Estimate) -> dict:
    return as_json({"x": estimate})["x"]


def share(hits: Tensor) -> dict | None:
    """Return the share of what is true among `hits`; None if there are none."""
    return of(share_estimate(int(hits.sum()), len(hits))) if len(hits) else None


def squared_error(x: Tensor, y: Tensor) -> dict:
    return of(mean_estimate((x.double() - y.double()).square().flatten(1).mean(1)))


def sides(data: UnpairedSet, there: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures to translate, their counterparts, and their labels."""
    x, truth, labels = (
        (data.a, data.truth_a, data.labels_a) if there == "a_to_b" else (data.b, data.truth_b, data.labels_b)
    )
    return to_floats(x), to_floats(truth), labels


@cache
def judge(kind: str, there: str) -> Judge:
    """Return a judge of pictures of the domain that is translated into."""
    plain = {"a_to_b": {"inverted": invert, "textured": remove_texture}}.get(there, {})
    if kind in ("inverted", "textured"):
        return lambda x: digit_judge()(plain.get(kind, lambda x: x)(x))
    known = domains(kind)
    x, labels = (known.b, known.labels_b) if there == "a_to_b" else (known.a, known.labels_a)
    known, rows = to_floats(x).flatten(1), 500
    norms = known.square().sum(1)  # `nearest_judge` by matrix product, which is several times faster

    def name(x: Tensor) -> Tensor:
        return torch.cat([labels[(norms - 2 * part @ known.T).argmin(1)] for part in x.flatten(1).split(rows)])

    return name


def scores(model: CycleGAN, kind: str, n: int = TEST) -> dict:
    """Return by way how near translations come to their counterparts, and whether they show what they showed."""
    found = {}
    for there, back in WAYS.items():
        x, truth, labels = sides(domains(kind, "test", n), there)
        y = translate(model, x, there)
        found[there] = as_json(vars(score_translation(y, x, truth))) | {
            "class_kept": of(class_kept(y, labels, judge(kind, there))),
            "class_kept_by_truth": of(class_kept(truth, labels, judge(kind, there))),
            "cycle": squared_error(translate(model, y, back), x),
        }
    return found


# ---- translation: what cyclegan-outline does, as shipped

MANY = 2_000


def outline_by_hand(x: Tensor) -> Tensor:
    """Return what is brightest among 3x3 pixels, less what is darkest there: an outline that nobody learned."""
    return F.max_pool2d(x, 3, 1, 1) + F.max_pool2d(-x, 3, 1, 1) - 1


def parameters(model: CycleGAN) -> dict[str, int]:
    nets = {"generator": model.generators.a_to_b, "discriminator": model.discriminators.a}
    return {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}


def by_hand_run() -> dict:
    x, truth, _ = sides(domains("outline", "test", MANY), "a_to_b")
    found = as_json(vars(score_translation(outline_by_hand(x), x, truth)))
    return {key: found[key] for key in ("error", "found")}


def translation_run() -> dict:
    model = load_weights("cyclegan-outline", CycleGAN).eval()
    found, test = scores(model, "outline", MANY), domains("outline", "test", MANY)
    for there in WAYS:
        x, truth, labels = sides(test, there)
        seen = judge("outline", there)(translate(model, x, there))
        pairs = Counter((test.classes[i], test.classes[j]) for i, j in zip(labels, seen) if i != j)
        by_class = {c: (seen == k)[labels == k].double().mean().item() for k, c in enumerate(test.classes)}
        found[there] |= {"by_class": by_class, "taken_for": [[*pair, n] for pair, n in pairs.most_common(5)]}
    return found | {
        "n": MANY, "by_hand": by_hand_run(), "config": asdict(model.cfg), "parameters": parameters(model),
    }  # fmt: skip


# ---- hidden: what cyclegan-stripes keeps from the eye, and how it is lost

HIDING, STDS, BITS, SCALES = 1_000, (0.0, 0.003, 0.01, 0.03, 0.1, 0.3), (8, 7, 6, 5, 4, 3, 2), (1, 2, 4)


def round_to(x: Tensor, bits: int) -> Tensor:
    """Return pictures in [-1, 1] as they are stored with so many bits for a pixel."""
    top = 2**bits - 1
    return ((x + 1) / 2 * top).round() / top * 2 - 1


def hidden_run() -> dict:
    model, test = load_weights("cyclegan-stripes", CycleGAN).eval(), domains("striped", "test", HIDING)
    there, back = (partial(translate, model, there=way) for way in WAYS)
    x, plain, shifts = to_floats(test.a), to_floats(test.truth_a), test.extra["shifts_a"]
    y, g = there(x), torch.Generator().manual_seed(0)
    right = lambda returned: share(find_shift(returned) == shifts)

    def noised(x: Tensor, there: Callable, back: Callable) -> tuple[dict, list[Tensor]]:
        returned = []
        keep = lambda y: returned.append(back(y)) or returned[-1]
        rows = list(hidden_message(there, keep, x, STDS, generator=torch.Generator().manual_seed(0)))
        return {key: [of(getattr(row, key)) for row in rows] for key in ("cycle", "loss")}, returned[1:]

    away, returned = noised(x, there, back)
    stored = [back(round_to(y, bits)) for bits in BITS]
    papers = [to_floats(add_texture(test.truth_a, k)) for k in range(4)]
    guessed = to_floats(add_texture(test.truth_a, torch.randint(0, 4, shifts.shape, generator=g)))
    on_all = torch.stack([there(paper) for paper in papers], 1)  # (N, 4, 1, H, W): each letter from all four papers
    trace = on_all - on_all.mean(1, keepdim=True)
    half = HIDING // 2
    typical, mark = trace[:half].mean(0), torch.randint(0, 4, (HIDING - half,), generator=g)  # what letters share
    honest, painted = back(plain), find_shift(back(to_floats(test.b)))
    implants = [back(plain[half:] + scale * typical[mark]) for scale in SCALES]
    rms = trace.double().square().mean().sqrt().item()
    return {
        "n": HIDING, "stds": STDS, "chance": 1 / 4, "a_to_b": away | {"phase": [right(r) for r in returned]},
        "b_to_a": noised(to_floats(test.b), back, there)[0],
        "honest": {"phase": right(honest), "cycle": squared_error(honest, x)},
        "guess": {"cycle": squared_error(guessed, x)},
        "grey": {"cycle": squared_error(torch.stack(papers).mean(0), x)},
        "open": right(y), "translation": {"error": squared_error(y, plain), "cycle": squared_error(back(y), x)},
        "rounded": {"bits": BITS, "phase": [right(r) for r in stored], "cycle": [squared_error(r, x) for r in stored]},
        "trace": {"rms": rms, "grey_levels": rms * 127.5, "largest": trace.abs().amax().item(),
                  "typical_rms": typical.double().square().mean().sqrt().item(), "pictures": HIDING},
        "implanted": {"scale": SCALES, "phase": [share(find_shift(r) == mark) for r in implants]},
        "painted": [(painted == k).double().mean().item() for k in range(4)],
    }  # fmt: skip


# ---- ablation: what each term of the loss is worth, and what pairs would be

VARIANTS = {
    "full": {}, "no cycle": {"cycle": 0.0}, "no identity": {"identity": 0.0},
    "adversarial only": {"cycle": 0.0, "identity": 0.0}, "no adversarial": {}, "paired": {}, "no pool": {"pool": 0},
    "patch 1": {"d_layers": 1}, "patch 3": {"d_layers": 3}, "cycle 50": {"cycle": 50.0},
}  # fmt: skip


def unopposed_loss(model: CycleGAN, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict]:
    """Return the translators' loss without its adversarial term."""
    loss, logs = generator_loss(model, batch)
    return loss - logs["adversarial"], {}


def paired_loss(model: CycleGAN, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict]:
    """Return the mean absolute difference to the counterparts of both translations of pairs (x_a, x_b)."""
    fake_a, fake_b = model(*batch)
    return F.l1_loss(fake_a, batch[0]) + F.l1_loss(fake_b, batch[1]), {}


def pairs(data: UnpairedSet, seed: int) -> Batches:
    """Return batches of (letters of A, their outlines)."""
    outlines = draw_outlines("".join(data.classes[k] for k in data.labels_a), *data.extra["factors_a"].values())
    return Batches(lambda which: (to_floats(data.a[which]), to_floats(outlines[which])), len(outlines), BATCH, seed)


def ablation_run(variant: str, seed: int) -> dict:
    data, cfg = domains("outline"), CycleGANConfig(**SMALL | VARIANTS[variant])
    if variant not in ("no adversarial", "paired"):
        return scores(learn(data, seed, **VARIANTS[variant]), "outline")
    seed_all(seed)
    model = CycleGAN(cfg)
    loss, batches = (
        (paired_loss, pairs(data, seed)) if variant == "paired" else (unopposed_loss, data.batches(BATCH, seed))
    )
    opt = adamw(model.generators, RATE, betas=(0.5, 0.999))
    step = make_step(model, loss, opt, schedule=linear_decay(opt, STEPS, constant=STEPS // 2))
    fit(step, batches, steps=STEPS, every=STEPS, progress=False)
    return scores(model.eval(), "outline")


# ---- data: fewer letters to learn from

COUNTS = (1_000,)  # beside the 10,000 of ablation


def data_run(count: int, seed: int) -> dict:
    data = domains("outline")
    few = replace(
        data, a=data.a[:count], b=data.b[:count], labels_a=data.labels_a[:count], labels_b=data.labels_b[:count]
    )
    return scores(learn(few, seed), "outline")


# ---- spots: a spot in the corner of every second letter of A, and of another share of B

IN_A, IN_B, SPOT = 0.5, (0.0, 0.5, 1.0), 4  # shares, and pixels of a spot's side
CORNERS = [(rows, columns) for rows in (slice(None, SPOT), slice(-SPOT, None))
           for columns in (slice(None, SPOT), slice(-SPOT, None))]  # fmt: skip


def add_spots(images: Tensor, in_all: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return uint8 pictures with a white square in a corner of some, and which corner, (N,), -1 for none."""
    g, images = torch.Generator().manual_seed(seed), images.clone()
    where = torch.randint(0, 4, (len(images),), generator=g)
    where[torch.rand(len(images), generator=g) >= in_all] = -1
    for k, corner in enumerate(CORNERS):
        images[(..., *corner)] = torch.where((where == k).view(-1, 1, 1, 1), 255, images[(..., *corner)])
    return images, where


def spots_run(in_b: float, seed: int) -> dict:
    """Return by way the share of spots that are there after translation, and of pictures that got one."""
    learned, test, found = domains("outline"), domains("outline", "test", TEST), {}
    data = replace(learned, a=add_spots(learned.a, IN_A, 10)[0], b=add_spots(learned.b, in_b, 11)[0])
    model = learn(data, seed)
    for there, images, in_all in (("a_to_b", test.a, IN_A), ("b_to_a", test.b, in_b)):
        x, where = add_spots(images, in_all, 12)
        y = translate(model, to_floats(x), there)
        bright = torch.stack([y[(..., *corner)].mean((1, 2, 3)) > 0 for corner in CORNERS], 1)  # (N, 4)
        has = where >= 0
        kept = bright[has].gather(1, where[has, None])[:, 0]
        found[there] = {"kept": share(kept), "invented": share(bright[~has].any(1))}
    return found


# ---- classes: a letter that is rare in B or abounds there

LETTERS, RARE, WEIGHTS, DRAWN = "OQEF", "Q", {"even": 1, "lacks": 0, "five": 5}, 6_000


def only(data: UnpairedSet, weight: int = 1) -> UnpairedSet:
    """Return the pictures of a few letters; of the rare one there are `weight` copies in B."""
    ids = torch.tensor([data.classes.index(c) for c in LETTERS])
    in_a, in_b = (torch.isin(labels, ids).nonzero()[:, 0] for labels in (data.labels_a, data.labels_b))
    copies = torch.where(data.labels_b[in_b] == data.classes.index(RARE), weight, 1)
    in_b = in_b.repeat_interleave(copies)
    known = {} if data.truth_a is None else {"truth_a": data.truth_a[in_a], "truth_b": data.truth_b[in_b]}
    return replace(data, a=data.a[in_a], b=data.b[in_b], labels_a=data.labels_a[in_a], labels_b=data.labels_b[in_b],
                   **known)  # fmt: skip


def classes_run(how: str, seed: int) -> dict:
    """Return by way what the letters are taken for after translation: {letter: {letter: share}}."""
    model, even = learn(only(domains("outline"), WEIGHTS[how]), seed), only(domains("outline"))
    test, found = only(domains("outline", "test", DRAWN)), {}
    for there, known in (("a_to_b", (even.b, even.labels_b)), ("b_to_a", (even.a, even.labels_a))):
        x, truth, labels = sides(test, there)
        seen_as = nearest_judge(to_floats(known[0]), known[1])
        seen, seen_true = seen_as(translate(model, x, there)), seen_as(truth)
        of_letter = {c: labels == test.classes.index(c) for c in LETTERS}
        said = lambda seen, c, d, of_letter=of_letter: seen[of_letter[c]] == test.classes.index(d)
        found[there] = {
            "taken_for": {c: {d: said(seen, c, d).double().mean().item() for d in LETTERS} for c in LETTERS},
            "class_kept": {c: share(said(seen, c, c)) for c in LETTERS},
            "class_kept_by_truth": {c: share(said(seen_true, c, c)) for c in LETTERS},
        }
    return found


# ---- kinds: other pairs of domains

KINDS = ("fonts", "inverted", "textured")


def kinds_run(kind: str, seed: int) -> dict:
    return scores(learn(domains(kind), seed), kind)


# ---- permuted: four clusters in either domain, of which any may be told by any: 24 perfect translations

TOYS, TOY_STEPS, TOY_BATCH, TOY_RATE, SPREAD, TURN = tuple(range(20)), 2_000, 32, 1e-3, 0.05, torch.pi / 6
TOY_WEIGHTS = {  # of the cycle and of identity
    "cycle": (10.0, 0.0), "no cycle": (0.0, 0.0), "cycle and identity": (10.0, 5.0), "weak identity": (10.0, 1.0),
}  # fmt: skip


class ManyMLPs(nn.Module):
    """As many networks as there are seeds, each on its own points: (S, N, 2) to (S, N, outputs)."""

    def __init__(self, outputs: int, hidden: int = 32) -> None:
        super().__init__()
        widths = [(2, hidden), (hidden, hidden), (hidden, outputs)]
        self.weights = nn.ParameterList(nn.Parameter((2 * torch.rand(len(TOYS), i, o) - 1) * (3 / i) ** 0.5)
                                        for i, o in widths)  # fmt: skip
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(len(TOYS), 1, o)) for _, o in widths)

    def forward(self, x: Tensor) -> Tensor:
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = torch.baddbmm(bias, F.leaky_relu(x, 0.2) if k else x, weight)
        return x


def centres(turn: float) -> Tensor:
    """Return the four corners of a square, turned by so many radians, (4, 2)."""
    angle = torch.arange(4) * torch.pi / 2 + torch.pi / 4 + turn
    return torch.stack([angle.cos(), angle.sin()], 1)


def toy_points(turn: float, g: torch.Generator) -> Tensor:
    which = torch.randint(0, 4, (len(TOYS), TOY_BATCH), generator=g)
    return centres(turn)[which] + SPREAD * torch.randn(*which.shape, 2, generator=g)


def permuted_run(variant: str) -> dict:
    """Return for each seed which cluster of B each one of A goes to, and how far the way back misses."""
    seed_all(0)
    (cycle, identity), g = TOY_WEIGHTS[variant], torch.Generator().manual_seed(0)
    G, F_back, D_a, D_b = ManyMLPs(2), ManyMLPs(2), ManyMLPs(1), ManyMLPs(1)
    opts = [adamw(nn.ModuleList(nets), TOY_RATE, betas=(0.5, 0.999)) for nets in ((G, F_back), (D_a, D_b))]
    own = [[p for group in opt.param_groups for p in group["params"]] for opt in opts]
    each = lambda values: values.mean((1, 2)).sum()  # seeds do not touch one another
    for _ in range(TOY_STEPS):
        a, b = toy_points(0.0, g), toy_points(TURN, g)
        fake_a, fake_b = F_back(b), G(a)
        loss = each((D_a(fake_a) - 1).square()) + each((D_b(fake_b) - 1).square())
        loss = loss + cycle * (each((F_back(fake_b) - a).abs()) + each((G(fake_a) - b).abs()))
        if identity:
            loss = loss + identity * (each((F_back(a) - a).abs()) + each((G(b) - b).abs()))
        loss_d = sum(each((D(x) - 1).square()) + each(D(made.detach()).square())
                     for D, x, made in ((D_a, a, fake_a), (D_b, b, fake_b))) / 2  # fmt: skip
        for opt, total, params in zip(opts, (loss, loss_d), own):
            total.backward(inputs=params)
            opt.step()
            opt.zero_grad(set_to_none=True)
    with torch.no_grad():
        a = (centres(0.0)[:, None] + SPREAD * torch.randn(4, 100, 2, generator=g)).view(1, 400, 2)
        a = a.expand(len(TOYS), -1, -1)
        y = G(a)
        near = torch.cdist(y, centres(TURN).expand(len(TOYS), -1, -1))  # (S, 400, 4)
        order = near.argmin(2).view(-1, 4, 100).mode(2).values  # (S, 4)
        landed = (near.amin(2) < 4 * SPREAD).double().mean(1)
        returned = (F_back(y) - a).double().square().mean((1, 2))
    return {"order": order.tolist(), "landed": landed.tolist(), "cycle": returned.tolist()}


# ---- receptive: how many pixels one score of a discriminator sees

PATCHES = (1, 2, 3)


def receptive_run(d_layers: int, side: int = 128) -> dict:
    """Return the side of the patch by formula and by gradient, without the norms; and what the norms let in."""
    seed_all(0)
    net, x = PatchDiscriminator(CycleGANConfig(d_layers=d_layers)), torch.randn(1, 1, side, side).requires_grad_()

    def gradient() -> Tensor:
        middle = net(x)[0, 0]
        (slope,) = torch.autograd.grad(middle[len(middle) // 2, len(middle) // 2], x)
        return slope[0, 0].abs()

    with_norms = gradient()
    net.body = nn.Sequential(*(nn.Identity() if isinstance(layer, nn.InstanceNorm2d) else layer for layer in net.body))
    seen = gradient() > 0
    rows = seen.any(1).nonzero()[:, 0]
    return {
        "formula": patch_side(d_layers), "measured": int(rows[-1] - rows[0] + 1),
        "scores_at_28": net(x[..., :28, :28]).shape[-1],
        "inside_with_norms": (with_norms[seen].sum() / with_norms.sum()).item(),
    }  # fmt: skip


# ---- all

NAMES = {"ablation": VARIANTS, "spots": IN_B, "classes": WEIGHTS, "kinds": KINDS, "data": COUNTS}
RUN = {"ablation": ablation_run, "spots": spots_run, "classes": classes_run, "kinds": kinds_run, "data": data_run}
TWICE = ("full", "no cycle", "no identity")  # variants of the ablation that are trained for both seeds


def seeds_of(kind: str, name) -> tuple[int, ...]:
    return SEEDS if kind == "ablation" and name in TWICE else SEEDS[:1]


def plan() -> dict:
    """Return name -> function of every part: the first seed of all, then the others."""
    parts = {f"receptive {k}": partial(receptive_run, k) for k in PATCHES}
    parts |= {f"permuted {variant}": partial(permuted_run, variant) for variant in TOY_WEIGHTS}
    parts |= {"translation": translation_run, "hidden": hidden_run}
    for s in SEEDS:
        parts |= {f"{kind} {name}/{s}": partial(RUN[kind], name, s)
                  for kind, names in NAMES.items() for name in names if s in seeds_of(kind, name)}  # fmt: skip
    return parts


def permuted(done: dict) -> dict:
    """Return the pairings of clusters that the toys found; 0, 1, 2, 3 is the intended one."""
    found = {}
    for variant in TOY_WEIGHTS:
        run = done[f"permuted {variant}"]
        order = run["order"]
        one_to_one = [len(set(pairing)) == 4 for pairing in order]
        found[variant] = run | {
            "bijective": share(torch.tensor(one_to_one)),
            "intended": share(torch.tensor([pairing == [0, 1, 2, 3] for pairing in order])),
            "distinct": len({tuple(pairing) for pairing, whole in zip(order, one_to_one) if whole}),
        }
    return {"seeds": TOYS, "pairings": 24, "steps": TOY_STEPS, "spread": SPREAD, "runs": found}


def gather(done: dict) -> dict:
    """Return the values as the chapter reads them: lists over seeds."""

    def merge(runs: list):
        if isinstance(runs[0], dict) and "level" not in runs[0]:
            return {key: merge([run[key] for run in runs]) for key in runs[0]}
        return runs

    runs_of = {kind: {str(name): merge([done[f"{kind} {name}/{s}"] for s in seeds_of(kind, name)]) for name in names}
               for kind, names in NAMES.items()}  # fmt: skip
    once = ("identity", "linear", "class_kept_by_truth")  # the same in all runs
    without = lambda run: {way: {k: v for k, v in scores.items() if k not in once} for way, scores in run.items()}
    runs_of |= {kind: {name: without(run) for name, run in runs_of[kind].items()} for kind in ("ablation", "data")}
    seeds = lambda kind: {str(name): seeds_of(kind, name) for name in NAMES[kind]}
    small = CycleGAN(CycleGANConfig(**SMALL))
    return {
        "translation": done["translation"], "hidden": done["hidden"],
        "small": {"config": asdict(small.cfg), "steps": STEPS, "batch": BATCH, "rate": RATE, "n": TEST,
                  "parameters": parameters(small)},
        "ablation": {
            "seeds": seeds("ablation"), "runs": runs_of["ablation"],
            "baseline": {way: {k: run[k] for k in once} for way, run in done["ablation full/0"].items()}},
        "kinds": {"seeds": seeds("kinds"), "runs": runs_of["kinds"]},
        "permuted": permuted(done),
        "data": {
            "seeds": seeds("data") | {"10000": seeds_of("ablation", "full")},
            "counts": runs_of["data"] | {"10000": runs_of["ablation"]["full"]}},
        "spots": {"seeds": seeds("spots"), "in_a": IN_A, "runs": runs_of["spots"]},
        "classes": {"seeds": seeds("classes"), "letters": LETTERS, "rare": RARE, "runs": runs_of["classes"]},
        "receptive": {str(k): done[f"receptive {k}"] for k in PATCHES},
    }  # fmt: skip


if __name__ == "__main__":
    main("13", plan(), gather, __file__, PART_SOURCES, seeds=SEEDS, libraries=("torch",))
