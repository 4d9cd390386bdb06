"""Train the vision transformers of chapter 7: `python -m tools.recipes.vit`.

Writes the weights "vit-mnist", a classifier of MNIST's digits, and "masked-vit-mnist", which fills in hidden patches.
Each is scored as it ships, rounded to fp16. About half an hour on one CPU core; interrupted, it resumes from
runs/vit-mnist.pt and runs/masked-vit-mnist.pt. `train_classifier` serves a convolutional network as well, so that the
two can be compared on the same digits, moved about in the same way.
"""

import argparse
import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from genai_utils.core import pick_device, seed_all
from genai_utils.data import ImageSet, load, to_floats
from genai_utils.metrics import mean_estimate, score_digits, share_estimate
from genai_utils.metrics.classifier import Classifier, run_in_batches
from genai_utils.nn import patchify
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.transformer.masked_vit import (
    MaskedViT, MaskedViTConfig, fill_log_prob, fill_patches, fit_codebook, masked_vit_loss, random_order,
)  # fmt: skip
from genai_utils.transformer.vit import PRESETS, ViT, vit_loss
from genai_utils.weights import load_weights, registry, save_weights
from tools.recipes import hardware
from tools.recipes.score import as_json

COMMAND = "python -m tools.recipes.vit"
DATA, TERMS = "MNIST, 60,000 training images", "CC BY-SA 3.0"
SEED, BATCH, SHIFT = 0, 64, 2
CODEBOOK_DIGITS = 2_000  # pictures whose patches the codebook is made of
SAMPLES = 1_000  # digits that the scores of generation rest on
SCORED = 200  # test digits of which log p is computed, one network call a patch


def shifted(x: Tensor, most: int = SHIFT, generator: torch.Generator | None = None) -> Tensor:
    """Return the images (B, C, H, W) moved by up to `most` pixels along each axis, each by its own; the border repeats.

    The generator is on x's device.
    """
    B, _, H, W = x.shape
    down, right = torch.randint(-most, most + 1, (2, B, 1), device=x.device, generator=generator)
    rows = (torch.arange(H, device=x.device) - down).clamp(0, H - 1)  # (B, H): where each row comes from
    columns = (torch.arange(W, device=x.device) - right).clamp(0, W - 1)
    each = torch.arange(B, device=x.device)[:, None, None]
    return x.movedim(1, 3)[each, rows[:, :, None], columns[:, None]].movedim(3, 1)


def train_classifier(
    model: nn.Module,
    loss_fn: Callable,
    digits: ImageSet,
    *,
    steps: int,
    rate: float = 2e-3,
    weight_decay: float = 0.05,
    shift: int = SHIFT,
    seed: int = SEED,
    checkpoint: str | None = None,
) -> nn.Module:
    """Train on digits that move about, and return the running average of the weights, in evaluation mode, on the CPU.

    Args:
        model: maps (B, 1, 28, 28) images in [-1, 1] to logits; with a `cfg`.
        loss_fn: `vit_loss`, `classifier_loss` or another of (model, (x, labels)).
        digits: what it learns from.
        steps: updates of batches of 64 (or of all digits, if they are fewer).
        rate: largest learning rate.
        weight_decay: of AdamW.
        shift: pixels that a digit moves at most, along each axis.
        seed: of the order of the digits. Moves are drawn from torch's own generator, which the caller seeds.
        checkpoint: file to resume from.
    """
    device = pick_device()
    model = model.to(device).train()
    opt, ema = adamw(model, rate, weight_decay=weight_decay), EMA(model, 0.999)

    def loss_of_moved(network: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return loss_fn(network, (shifted(batch[0], shift), batch[1]))

    schedule = warmup_cosine(opt, steps, warmup=min(300, steps // 10))
    step = make_step(model, loss_of_moved, opt, schedule=schedule, ema=ema)
    batches = digits.to(device).batches(min(BATCH, len(digits)), seed=seed)
    finish(fit(step, batches, steps=steps, every=200, checkpoint=checkpoint, config=model.cfg), steps)
    return ema.model.cpu().eval()


def finish(rows: list[dict[str, float]], steps: int) -> None:
    """Stop the script unless the training reached its end."""
    if not rows or rows[-1]["step"] < steps:
        raise SystemExit("stopped before the end: nothing written. Run it again to go on")


def as_shipped(model: nn.Module) -> nn.Module:
    """Return a copy with every weight rounded to fp16 and back."""
    return copy.deepcopy(model).half().float().eval()


def accuracy(model: nn.Module, digits: ImageSet):
    """Return the share of digits that the classifier names right, an Estimate with its 95 % interval."""
    logits = run_in_batches(model, to_floats(digits.images))
    return share_estimate(int((logits.argmax(1) == digits.labels).sum()), len(digits))


def make_classifier(steps: int) -> None:
    """Train, score and register "vit-mnist"."""
    seed_all(SEED)
    name, model = "vit-mnist", ViT(PRESETS["mnist"])
    model = as_shipped(train_classifier(model, vit_loss, load("mnist"), steps=steps, checkpoint=f"runs/{name}.pt"))
    right = accuracy(model, load("mnist", split="test"))
    score = {
        "test_accuracy": right.value, "interval_95": [round(right.low, 5), round(right.high, 5)], "n": right.n,
    }  # fmt: skip
    print(name, score)
    save_weights(
        name, model, score=score, command=COMMAND, data=DATA, terms=TERMS, seed=SEED, hardware=hardware(),
        dtype=torch.float16,
    )  # fmt: skip


def train_masked(
    cfg: MaskedViTConfig,
    digits: ImageSet,
    *,
    steps: int,
    rate: float = 2e-3,
    seed: int = SEED,
    checkpoint: str | None = None,
) -> MaskedViT:
    """Make a codebook, train on its codes, and return the running average, in evaluation mode, on the CPU.

    Patches hidden, and how many, are drawn from torch's own generator, which the caller seeds.
    """
    device, g = pick_device(), torch.Generator().manual_seed(seed)
    some = torch.randperm(len(digits), generator=g)[:CODEBOOK_DIGITS]
    patches = patchify(to_floats(digits.images[some]), cfg.patch).flatten(0, 1)
    model = MaskedViT(cfg).to(device)
    model.codebook.copy_(fit_codebook(patches, cfg.n_codes, generator=g))
    opt, ema = adamw(model, rate, weight_decay=0.02), EMA(model, 0.999)
    step = make_step(model, masked_vit_loss, opt, schedule=warmup_cosine(opt, steps, warmup=steps // 15), ema=ema)
    batches = digits.to(device).batches(BATCH, seed=seed)
    finish(fit(step, batches, steps=steps, every=200, checkpoint=checkpoint, config=cfg), steps)
    return ema.model.cpu().eval()


@torch.no_grad()
def score_masked(model: MaskedViT, test: ImageSet) -> dict:
    """Measure what hidden patches cost, what a filled digit is taken for, and digits drawn from nothing.

    Of digits with half or three quarters of their patches hidden: the share that the judge names as it should, when the
    hidden patches are black, are the model's means or are drawn; and the squared error per hidden value of [0, 1].
    """
    g, N = torch.Generator().manual_seed(SEED), model.n_patches
    x, labels = to_floats(test.images[:SAMPLES]), test.labels[:SAMPLES]
    judge = load_weights("classifier-mnist", Classifier)
    codes = model.encode(x)
    coded = model.decode(codes)

    def named(images: Tensor):
        return share_estimate(int((run_in_batches(judge, images).argmax(1) == labels).sum()), len(labels))

    out = {"codes_named": named(coded), "codes_mse": mean_estimate((coded - x).square().mean((1, 2, 3)) / 4)}
    for visible in (N - N // 2, N // 4):
        order = random_order(torch.ones_like(codes, dtype=torch.bool), g)
        hidden = torch.ones_like(codes, dtype=torch.bool).scatter(1, order[:, :visible], False)
        there = coded.masked_fill(pixels(model, hidden), -1)
        mean = run(partial(model.expected, visible=visible), codes, order)
        drawn = model.decode(run(partial(fill, model, visible=visible, generator=g), codes, order))
        for name, images in (("black", there), ("mean", mean), ("drawn", drawn)):
            error = (images - coded).square().sum((1, 2, 3)) / 4 / pixels(model, hidden).sum((1, 2, 3))
            key = f"{N - visible}_hidden_{name}"
            out |= {f"{key}_named": named(images), f"{key}_mse": mean_estimate(error)}
    order = random_order(torch.ones_like(codes, dtype=torch.bool), g)
    out["nats"] = mean_estimate(-run(partial(fill_log_prob, model), codes[:SCORED], order[:SCORED]))
    new = run(partial(fill, model, generator=g), codes, order)
    out |= score_digits(model.decode(new))
    out |= {f"codes_{name}": value for name, value in score_digits(coded).items() if name == "frechet"}
    return as_json(out)


def fill(model: MaskedViT, codes: Tensor, order: Tensor, visible: int = 0, **how) -> Tensor:
    """Return the last codes of `fill_patches`, (B, N)."""
    *_, (filled, _) = fill_patches(model, codes, order, visible, **how)
    return filled


def pixels(model: MaskedViT, hidden: Tensor) -> Tensor:
    """Return (B, 1, H, W) bool, True at the pixels of hidden patches (B, N)."""
    side, patch = model.grid, model.cfg.patch
    return hidden.view(-1, 1, side, side).repeat_interleave(patch, 2).repeat_interleave(patch, 3)


def run(fn: Callable[[Tensor, Tensor], Tensor], codes: Tensor, order: Tensor, size: int = 250) -> Tensor:
    """Return fn(codes, order) computed `size` rows at a time."""
    return torch.cat([fn(*part) for part in zip(codes.split(size), order.split(size))])


def make_masked(steps: int) -> None:
    """Train, score and register "masked-vit-mnist"."""
    seed_all(SEED)
    name = "masked-vit-mnist"
    model = train_masked(MaskedViTConfig(), load("mnist"), steps=steps, checkpoint=f"runs/{name}.pt")
    model = as_shipped(model)
    judge = registry()["classifier-mnist"]["sha256"][:12]
    score = {"judge": f"classifier-mnist {judge}"} | score_masked(model, load("mnist", split="test"))
    print(name, *(f"{key}: {value}" for key, value in score.items()), sep="\n  ")
    save_weights(
        name, model, score=score, command=COMMAND, data=DATA, terms=TERMS, seed=SEED, hardware=hardware(),
        dtype=torch.float16,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("classifier", "masked"), help="make one of the two")
    parser.add_argument("--steps", type=int, default=5_000, help="updates of the classifier (default 5000)")
    parser.add_argument("--masked-steps", type=int, default=4_000, help="updates of the masked model (default 4000)")
    args = parser.parse_args()
    if args.only != "masked":
        make_classifier(args.steps)
    if args.only != "classifier":
        make_masked(args.masked_steps)


if __name__ == "__main__":
    main()
