"""Measure what chapter 07 shows: `python -m tools.results.vit_07` writes genai_utils/results/07.json.

Needs MNIST. `distance`, `erase` and `masked` measure weights that ship; the other parts train two small networks, a ViT
and a convolutional one of about its size, for as many updates each. About forty minutes on one CPU thread. Each
finished part is kept in runs/ and not measured twice, unless the section of this file that measures it, or a source
named for it, has changed. `python -m tools.results.vit_07 hunger rates` measures the parts named and stops.
"""

from dataclasses import asdict, replace
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.core import seed_all
from genai_utils.data import ImageSet, load, to_floats
from genai_utils.metrics import Estimate, count_flops, mean_estimate, score_digits, share_estimate
from genai_utils.metrics.classifier import Classifier, ClassifierConfig, classifier_loss, run_in_batches
from genai_utils.nn import patchify, unpatchify
from genai_utils.transformer.masked_vit import MaskedViT, fill_log_prob, random_order
from genai_utils.transformer.vit import ViT, ViTConfig, attention_distance, attention_rollout, vit_loss
from genai_utils.weights import load_weights
from tools.parts import main
from tools.recipes.score import as_json
from tools.recipes.vit import BATCH, SHIFT, accuracy, fill, pixels, run, train_classifier

MODEL = ("genai_utils/transformer/vit.py", "genai_utils/metrics/classifier.py", "tools/recipes/vit.py")
SHIPPED = ("genai_utils/transformer/vit.py", "genai_utils/weights/vit-mnist.safetensors")
PART_SOURCES = {  # first word of a part's name: what it depends on, beside its section of this file
    "rates": MODEL, "hunger": MODEL, "positions": MODEL, "patches": MODEL, "shortcut": MODEL,
    "distance": SHIPPED, "erase": SHIPPED,
    "masked": ("genai_utils/transformer/masked_vit.py", "tools/recipes/vit.py",
               "genai_utils/weights/masked-vit-mnist.safetensors",
               "genai_utils/weights/classifier-mnist.safetensors", "genai_utils/weights/mnist-features.safetensors"),
}  # fmt: skip

# ---- shared: digits, the two small networks, and how they are trained

SIDE, CLASSES = 28, 10
STEPS, DECAY = 800, 0.05  # updates of every training, however many digits there are, and its weight decay
VIT = {"patch": 7, "d_model": 48, "n_layers": 3, "n_heads": 4, "d_hidden": 96}
CNN = {"width": 16, "n_features": 128}
SEEDS, FEW_SEEDS = (0, 1, 2), (0, 1)
MANY = 3_000  # digits that positions, patches and shortcut are trained on


@cache
def mnist(split: str) -> ImageSet:
    return load("mnist", split=split)


def pick(digits: ImageSet, which: Tensor) -> ImageSet:
    return replace(digits, images=digits.images[which], labels=digits.labels[which])


@cache
def some(split: str, count: int, seed: int = 0) -> ImageSet:
    """Return `count` digits drawn at random; more of them with the same seed begin with the same ones."""
    order = torch.randperm(len(mnist(split)), generator=torch.Generator().manual_seed(seed))
    return pick(mnist(split), order[:count])


def network(kind: str, **options) -> nn.Module:
    return ViT(ViTConfig(**VIT | options)) if kind == "vit" else Classifier(ClassifierConfig(**CNN))


def train(kind: str, digits: ImageSet, seed: int, *, rate: float, shift: int = 0, **options) -> nn.Module:
    seed_all(seed)
    model, loss = network(kind, **options), vit_loss if kind == "vit" else classifier_loss
    how = {"steps": STEPS, "rate": rate, "weight_decay": DECAY, "shift": shift, "seed": seed}
    return train_classifier(model, loss, digits, **how)


def of(estimate: Estimate) -> dict:
    return as_json({"x": estimate})["x"]


def right(model: nn.Module, digits: ImageSet) -> dict:
    return of(accuracy(model, digits))


def size(model: nn.Module) -> dict:
    """Return the parameters of a network, and FLOPs of one digit's forward pass."""
    with torch.no_grad():
        flops = count_flops(model.eval(), torch.zeros(1, 1, SIDE, SIDE))
    return {"parameters": sum(p.numel() for p in model.parameters()), "flops": flops}


# ---- rates: the learning rate of each network, chosen on training digits that it does not learn from

GRID = (1e-3, 3e-3, 9e-3, 2.7e-2)
RATED_ON, VALIDATION = 1_000, 5_000


def rate_run(kind: str, rate: float) -> dict:
    digits = some("train", RATED_ON + VALIDATION, seed=9)
    learned, held = (pick(digits, which) for which in torch.arange(len(digits)).split([RATED_ON, VALIDATION]))
    return {"accuracy": right(train(kind, learned, 9, rate=rate), held)}


# ---- hunger, positions, patches, shortcut: the rate that `rates` finds best; gather() stops if it is another

RATE = {"vit": 0.009, "cnn": 0.027}

# ---- hunger: accuracy by the number of digits to learn from, and of digits that are moved

COUNTS = {100: SEEDS, 300: SEEDS, 1_000: SEEDS, 3_000: FEW_SEEDS, 10_000: FEW_SEEDS}  # and seeds, of digits at rest
MOVED_COUNTS = {100: FEW_SEEDS, 1_000: FEW_SEEDS, 10_000: FEW_SEEDS}  # of digits moved about
LEARNED = 1_000  # of the digits learned from, at most: the accuracy on them tells who has not finished learning
BY_HOW = {"still": COUNTS, "moved": MOVED_COUNTS}
MOVES, MOVED = range(7), 2_000  # pixels, and how many test digits are moved


def moved(digits: ImageSet, by: int) -> ImageSet:
    """Return the digits moved by so many pixels up, down, left or right, each its own way; background comes in."""
    g = torch.Generator().manual_seed(0)
    way = torch.tensor([(0, by), (2 * by, by), (by, 0), (by, 2 * by)])[torch.randint(4, (len(digits),), generator=g)]
    wide = F.pad(digits.images, (by,) * 4)
    cut = [image[:, i : i + SIDE, j : j + SIDE] for image, (i, j) in zip(wide, way.tolist())]
    return replace(digits, images=torch.stack(cut))


def hunger_run(kind: str, count: int, shift: int, seed: int) -> dict:
    model = train(kind, some("train", count, seed), seed, rate=RATE[kind], shift=shift)
    learned = some("train", min(count, LEARNED), seed)
    found = {"accuracy": right(model, mnist("test")), "learned": right(model, learned)}
    if count == max(COUNTS):
        found["shift"] = {str(k): right(model, moved(some("test", MOVED), k)) for k in MOVES}
    return found


def cut_share(by: int) -> float:
    """Return the share of digits that lose ink when they are moved."""
    digits, ink = some("test", MOVED), lambda d: d.images.long().sum((1, 2, 3))
    return (ink(moved(digits, by)) < ink(digits)).double().mean().item()


# ---- positions: what a network makes of places, and of digits whose parts are in another order

ORDERS = {"plain": 0, "patches permuted": VIT["patch"], "pixels permuted": 1}  # side of what is moved


def reordered(digits: ImageSet, side: int, same: bool = True) -> ImageSet:
    """Return the digits with their patches in another order: one for all digits, or one for each."""
    g, patches = torch.Generator().manual_seed(0), patchify(digits.images.float(), side)  # (B, N, P)
    order = torch.rand(1 if same else len(digits), patches.shape[1], generator=g).argsort(1)
    patches = patches.gather(1, order.expand(len(digits), -1)[..., None].expand_as(patches))
    return replace(digits, images=unpatchify(patches, side, SIDE // side).to(torch.uint8))


def position_run(kind: str, positions: str, order: str, seed: int) -> dict:
    learned, test = (
        reordered(digits, side) if (side := ORDERS[order]) else digits
        for digits in (some("train", MANY, seed), mnist("test"))
    )
    options = {"positions": positions} if kind == "vit" else {}
    model = train(kind, learned, seed, rate=RATE[kind], **options)
    found = {"accuracy": right(model, test)}
    if order == "plain":
        found["shuffled"] = right(model, reordered(test, VIT["patch"], same=False))
    return found


# ---- distance: how far the heads of vit-mnist look


@torch.no_grad()
def distance_run(n: int = 500) -> dict:
    shipped = load_weights("vit-mnist", ViT).eval()
    seed_all(0)
    models, patch, grid = {"trained": shipped, "untrained": ViT(shipped.cfg).eval()}, shipped.cfg.patch, shipped.grid
    even = torch.ones(1, 1, 1 + grid**2, 1 + grid**2)
    found = {"n": n, "patch": patch, "uniform": attention_distance([even], (grid, grid), patch=patch).item()}
    for name, model in models.items():
        each = torch.stack([attention_distance(model.maps(x[None]), (grid, grid), patch=patch)
                            for x in to_floats(some("test", n).images)])  # (n, L, A)  # fmt: skip
        found[name] = [[of(mean_estimate(head)) for head in layer.T] for layer in each.movedim(1, 0)]
    return found


# ---- erase: whether the patches that a map calls important are those that the answer needs

ERASED, SHARES_ERASED, FILLS = 1_000, (0, 1, 2, 4, 8, 16, 32), ("black", "mean")


def importance(model: ViT, x: Tensor) -> dict[str, Tensor]:
    """Return by name how important each patch of each digit is said to be, (B, N)."""
    maps, patch = model.maps(x), model.cfg.patch
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).amax(1).sum(), x)  # of the logit of the class that is named
    ink = (x.detach() + 1) / 2
    return {
        "rollout": attention_rollout(maps)[-1, :, 0, 1:], "attention": maps[-1].mean(1)[:, 0, 1:],
        "gradient x input": patchify(gradient * ink, patch).sum(2), "ink": patchify(ink, patch).sum(2),
        "random": torch.rand(len(x), model.grid**2, generator=torch.Generator().manual_seed(0)),
    }  # fmt: skip


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return Pearson's correlation of each row of a with that of b, (B,)."""
    a, b = (v - v.mean(1, keepdim=True) for v in (a.double(), b.double()))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def erase_run(n: int = ERASED) -> dict:
    model, digits = load_weights("vit-mnist", ViT).eval(), some("test", n)
    patch, grid = model.cfg.patch, model.grid
    x = to_floats(digits.images)
    split = [importance(model, part) for part in x.split(250)]
    scores = {name: torch.cat([part[name] for part in split]) for name in split[0]}
    there = patchify(x, patch)  # (B, N, P)
    mean = patchify(to_floats(mnist("train").images[:10_000]).mean(0, keepdim=True), patch)
    fills = {"black": torch.full_like(mean, -1), "mean": mean}
    whole = right(model, digits)
    found = {"n": n, "patches": grid**2, "ks": SHARES_ERASED, "accuracy": {}, "ink": {}}
    for name, score in scores.items():
        place = score.argsort(1, descending=True).argsort(1)  # 0: the most important
        held = [((scores["ink"] * (place < k)).sum(1) / scores["ink"].sum(1)).mean().item() for k in SHARES_ERASED]
        found["ink"][name] = held
        for how, instead in fills.items():
            by_k = {"0": whole}
            for k in SHARES_ERASED[1:]:
                images = unpatchify(torch.where((place < k)[..., None], instead, there), patch, grid)
                hits = run_in_batches(model, images).argmax(1) == digits.labels
                by_k[str(k)] = of(share_estimate(int(hits.sum()), n))
            found["accuracy"].setdefault(how, {})[name] = by_k
    others = {name: score for name, score in scores.items() if name not in ("ink", "random")}
    agree = {name: of(mean_estimate(correlation(score, scores["ink"]))) for name, score in others.items()}
    return found | {"agree": agree}


# ---- masked: what masked-vit-mnist makes of hidden patches

HIDDEN, FILLED, DRAWN, PRICED = (25, 50, 75, 90, 100), 500, 1_000, 200  # per cent; numbers of digits
PER_STEP, WAYS = (1, 7, 49), ("black", "mean", "drawn")


@cache
def masked_shipped() -> tuple[MaskedViT, Classifier]:
    return load_weights("masked-vit-mnist", MaskedViT).eval(), load_weights("classifier-mnist", Classifier).eval()


def named(images: Tensor, labels: Tensor) -> dict:
    """Return the share of images that the judge takes for what they are."""
    hits = run_in_batches(masked_shipped()[1], images).argmax(1) == labels
    return of(share_estimate(int(hits.sum()), len(labels)))


@torch.no_grad()
def masked_run(share: int) -> dict:
    """Hide a share of the patches, in per cent; fill them in black, by their means, and by draws."""
    (model, _), g, digits = masked_shipped(), torch.Generator().manual_seed(0), some("test", FILLED)
    codes = model.encode(to_floats(digits.images))
    coded, every = model.decode(codes), torch.ones_like(codes, dtype=torch.bool)
    visible = model.n_patches - round(share / 100 * model.n_patches)
    order = random_order(every, g)
    hidden = pixels(model, every.scatter(1, order[:, :visible], False))
    images = {
        "black": coded.masked_fill(hidden, -1), "mean": run(partial(model.expected, visible=visible), codes, order),
        "drawn": model.decode(run(partial(fill, model, visible=visible, generator=g), codes, order)),
    }  # fmt: skip
    error = {way: (x - coded).square().sum((1, 2, 3)) / 4 / hidden.sum((1, 2, 3)) for way, x in images.items()}
    return {
        "hidden": model.n_patches - visible, "codes_named": named(coded, digits.labels),
        "named": {way: named(x, digits.labels) for way, x in images.items()},
        "mse": {way: of(mean_estimate(e)) for way, e in error.items()},
    }  # fmt: skip


def drawn(per_step: int) -> Tensor:
    """Return digits drawn from nothing, so many patches at a time."""
    (model, _), g = masked_shipped(), torch.Generator().manual_seed(0)
    nothing = torch.zeros(DRAWN, model.n_patches, dtype=torch.int64)
    order = random_order(torch.ones_like(nothing, dtype=torch.bool), g)
    return model.decode(run(partial(fill, model, per_step=per_step, generator=g), nothing, order))


def steps_run(per_step: int) -> dict:
    return {"passes": -(-masked_shipped()[0].n_patches // per_step)} | as_json(score_digits(drawn(per_step)))


@torch.no_grad()
def nats_run() -> dict:
    """Return -log p of digits as codes, patch after patch in a random order and row by row."""
    (model, _), g = masked_shipped(), torch.Generator().manual_seed(0)
    codes = model.encode(to_floats(some("test", PRICED).images))
    orders = {"random": random_order(torch.ones_like(codes, dtype=torch.bool), g),
              "raster": torch.arange(model.n_patches).expand_as(codes)}  # fmt: skip
    nats = {name: -run(partial(fill_log_prob, model), codes, order) for name, order in orders.items()}
    found = {name: of(mean_estimate(values)) for name, values in nats.items()}
    return found | {"n": PRICED, "difference": of(mean_estimate(nats["raster"] - nats["random"]))}


# ---- patches: coarser and finer words

SIDES = {4: FEW_SEEDS, 14: FEW_SEEDS}  # beside those of hunger


def patch_run(side: int, seed: int) -> dict:
    model = train("vit", some("train", MANY, seed), seed, rate=RATE["vit"], patch=side)
    return {"accuracy": right(model, mnist("test"))}


# ---- shortcut: a mark in the corner that gives the class away


def marked(digits: ImageSet, says: Tensor) -> ImageSet:
    """Return the digits with the class `says` (B,), plus one, in binary: four white or black squares in the corner."""
    bits = (says[:, None] + 1 >> torch.arange(4)) & 1
    mark = bits.view(-1, 1, 2, 2).repeat_interleave(2, 2).repeat_interleave(2, 3) * 255
    images = digits.images.clone()
    images[:, :, :4, :4] = mark.to(torch.uint8)
    return replace(digits, images=images)


def shortcut_run(kind: str, seed: int) -> dict:
    learned, test = some("train", MANY, seed), mnist("test")
    model = train(kind, marked(learned, learned.labels), seed, rate=RATE[kind])
    g = torch.Generator().manual_seed(seed)
    lie = (test.labels + torch.randint(1, CLASSES, test.labels.shape, generator=g)) % CLASSES
    wrong = marked(test, lie)
    return {
        "right": right(model, marked(test, test.labels)), "wrong": right(model, wrong), "none": right(model, test),
        "follows": right(model, replace(wrong, labels=lie)),
    }  # fmt: skip


# ---- all


def plan() -> dict:
    """Return name -> function of every part, in the order of their worth."""
    kinds, shifts = ("vit", "cnn"), {"still": 0, "moved": SHIFT}

    def hunger(how: str) -> dict:
        return {f"hunger {kind}/{count}/{how} {s}": partial(hunger_run, kind, count, shifts[how], s)
                for count, seeds in BY_HOW[how].items() for kind in kinds for s in seeds}  # fmt: skip

    parts = {f"rates {kind}/{rate}": partial(rate_run, kind, rate) for rate in GRID for kind in kinds}
    parts |= hunger("still")
    for s in FEW_SEEDS:
        parts |= {f"positions vit/{how}/plain {s}": partial(position_run, "vit", how, "plain", s)
                  for how in ("learned", "sine", "none")}  # fmt: skip
        parts |= {f"positions {kind}/learned/{order} {s}": partial(position_run, kind, "learned", order, s)
                  for kind in kinds for order in list(ORDERS)[1:]}  # fmt: skip
    parts |= {"erase": erase_run, "distance": distance_run}
    parts |= {f"masked share {share}": partial(masked_run, share) for share in HIDDEN} | {"masked nats": nats_run}
    parts |= {f"masked steps {k}": partial(steps_run, k) for k in PER_STEP}
    parts |= hunger("moved")
    parts |= {f"shortcut {kind} {s}": partial(shortcut_run, kind, s) for s in FEW_SEEDS for kind in kinds}
    return parts | {f"patches {side} {s}": partial(patch_run, side, s) for side, seeds in SIDES.items() for s in seeds}


def chosen(done: dict) -> dict:
    """Return the best rate of each network.

    Raises:
        ValueError: another one was used.
    """
    best = {kind: max(GRID, key=lambda rate: done[f"rates {kind}/{rate}"]["accuracy"]["value"]) for kind in RATE}
    if best != RATE:
        raise ValueError(f"the best rates are {best}, but {RATE} were used: change RATE and measure again")
    return best


def gather(done: dict) -> dict:
    """Return the values as the chapter reads them: lists over seeds."""

    def over(prefix: str, seeds=FEW_SEEDS) -> dict[str, list]:
        runs = [done[f"{prefix} {s}"] for s in seeds]
        return {key: [run[key] for run in runs] for key in runs[0]}

    kinds, most = ("vit", "cnn"), max(COUNTS)
    hunger = {how: {kind: {str(count): over(f"hunger {kind}/{count}/{how}", seeds) for count, seeds in counts.items()}
                    for kind in kinds} for how, counts in BY_HOW.items()}  # fmt: skip
    still = {kind: hunger["still"][kind][str(MANY)]["accuracy"] for kind in kinds}
    places = {how: over(f"positions vit/{how}/plain") for how in ("learned", "sine", "none")}
    orders = {kind: {order: over(f"positions {kind}/learned/{order}")["accuracy"] for order in list(ORDERS)[1:]}
              for kind in kinds}  # fmt: skip
    shortcut = {kind: over(f"shortcut {kind}") for kind in kinds}
    sides = {side: over(f"patches {side}", seeds) | {"seeds": seeds} for side, seeds in SIDES.items()}
    sides[VIT["patch"]] = {"accuracy": still["vit"], "seeds": FEW_SEEDS}
    shares = {share: done[f"masked share {share}"] for share in HIDDEN}
    settings = {"steps": STEPS, "batch": BATCH, "weight_decay": DECAY, "shift": SHIFT, "rate": chosen(done)}
    return {
        "networks": {kind: {"config": asdict(network(kind).cfg)} | size(network(kind)) for kind in kinds}
        | {"settings": settings},
        "hunger": {
            "seeds": {how: {str(count): seeds for count, seeds in counts.items()} for how, counts in BY_HOW.items()},
            "counts": {how: list(counts) for how, counts in BY_HOW.items()}, "steps": STEPS,
            **{key: {how: {kind: {count: run[key] for count, run in by_count.items()}
                           for kind, by_count in by_kind.items()} for how, by_kind in hunger.items()}
               for key in ("accuracy", "learned")},
            "rates": {"count": RATED_ON, "n": VALIDATION, "grid": GRID, "chosen": chosen(done),
                      "accuracy": {kind: {str(rate): done[f"rates {kind}/{rate}"]["accuracy"] for rate in GRID}
                                   for kind in kinds}}},
        "positions": {
            "seeds": FEW_SEEDS, "count": MANY,
            "accuracy": {"vit": {how: run["accuracy"] for how, run in places.items()} | orders["vit"],
                         "cnn": {"plain": still["cnn"]} | orders["cnn"]},
            "shuffled": {how: run["shuffled"] for how, run in places.items()}},
        "shift": {
            "seeds": FEW_SEEDS, "count": most, "n": MOVED, "pixels": list(MOVES),
            "accuracy": {how: {kind: {str(k): [run[str(k)] for run in by_kind[kind][str(most)]["shift"]]
                                      for k in MOVES} for kind in kinds} for how, by_kind in hunger.items()},
            "cut": {str(k): cut_share(k) for k in MOVES}},
        "distance": done["distance"], "erase": done["erase"],
        "patches": {"count": MANY, "runs": {
            str(side): {"tokens": 1 + (SIDE // side) ** 2} | size(network("vit", patch=side)) | sides[side]
            for side in sorted(sides)}},
        "masked": {
            "n": FILLED, "shares": HIDDEN, "hidden": {str(share): run["hidden"] for share, run in shares.items()},
            "named": {way: {str(share): run["named"][way] for share, run in shares.items()} for way in WAYS},
            "mse": {way: {str(share): run["mse"][way] for share, run in shares.items()} for way in WAYS},
            "codes_named": shares[HIDDEN[0]]["codes_named"],
            "steps": {"n": DRAWN, "runs": {str(k): done[f"masked steps {k}"] for k in PER_STEP}},
            "nats": done["masked nats"]},
        "shortcut": {
            "seeds": FEW_SEEDS, "count": MANY, "without": still,
            "accuracy": {kind: {mark: run[mark] for mark in ("right", "wrong", "none")}
                         for kind, run in shortcut.items()},
            "follows": {kind: run["follows"] for kind, run in shortcut.items()}},
    }  # fmt: skip


if __name__ == "__main__":
    main("07", plan(), gather, __file__, PART_SOURCES, seeds=SEEDS, libraries=("torch",))
