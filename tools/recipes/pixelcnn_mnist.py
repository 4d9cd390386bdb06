"""Train the PixelCNN of chapter 3: `python -m tools.recipes.pixelcnn_mnist`.

A class-conditional gated PixelCNN of the 256 grey levels of MNIST, in two stages. The first learns with a first kernel
of 7 pixels: every pixel then sees ten rows up, and what it draws falls to pieces below that. The second widens that
kernel to 27 pixels, with zeros, so that nothing changes at first, and trains on: twenty rows, for a tenth more work.
Writes the weights "pixelcnn-mnist", scored as they ship, rounded to fp16. About an hour on one CPU core; interrupted,
it resumes from runs/pixelcnn-mnist.pt and runs/pixelcnn-mnist-wide.pt.
"""

import argparse
import copy
import math
from dataclasses import replace

import torch
from torch import Tensor

from genai_utils.autoregressive.pixel_sampler import sample_pixels
from genai_utils.autoregressive.pixelcnn import PRESETS, PixelCNN, from_levels, pixelcnn_loss
from genai_utils.core import pick_device, seed_all
from genai_utils.data import load
from genai_utils.data.sets import to_floats
from genai_utils.metrics import bits_per_dim, mean_estimate, score_digits, share_estimate
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.weights import registry, save_weights
from tools.recipes import hardware
from tools.recipes.score import as_json

NAME, COMMAND = "pixelcnn-mnist", "python -m tools.recipes.pixelcnn_mnist"
DATA, TERMS = "MNIST, 60,000 training images", "CC BY-SA 3.0"
CONFIG = PRESETS["mnist"]
WIDE = replace(CONFIG, first_kernel=27)
SEED, BATCH = 0, 16
SAMPLES = 1_000  # digits that the score rests on
UNLABELLED = 1_000  # test images of which p(x) is computed: ten times the work of p(x | label)
COOLER = 0.9  # a second temperature


def train(model: PixelCNN, steps: int, rate: float, checkpoint: str, seed: int) -> PixelCNN:
    """Train the model in place and return the running average of its weights, in evaluation mode."""
    device = pick_device()
    model.to(device, memory_format=torch.channels_last).train()
    opt, ema = adamw(model, rate), EMA(model, 0.999)
    schedule = warmup_cosine(opt, steps, warmup=200)
    step = make_step(model, pixelcnn_loss, opt, schedule=schedule, ema=ema, amp=torch.bfloat16)
    batches = load("mnist").to(device).batches(BATCH, seed=seed)
    rows = fit(step, batches, steps=steps, every=200, checkpoint=checkpoint, config=model.cfg)
    if not rows or rows[-1]["step"] < steps:
        raise SystemExit("stopped before the end: nothing written. Run it again to go on")
    return ema.model


def as_shipped(model: PixelCNN) -> PixelCNN:
    """Return a copy with every weight rounded to fp16 and back, in evaluation mode, on the CPU."""
    return copy.deepcopy(model).cpu().half().float().eval()


def widen(model: PixelCNN) -> PixelCNN:
    """Return the same function with the first kernels of WIDE: what they did not reach before has the weight zero."""
    wide, state = PixelCNN(WIDE), model.state_dict()
    taps = WIDE.first_kernel // 2  # rows above, and pixels to the left
    for name in ("layers.0.vertical.weight", "layers.0.horizontal.weight"):
        small, large = state[name], torch.zeros_like(wide.state_dict()[name])
        rows, columns = small.shape[2:]
        left = taps - columns // 2 if rows > 1 else taps - columns  # the vertical kernel is centred on its column
        large[:, :, -rows:, left : left + columns] = small
        state[name] = large
    wide.load_state_dict(state)
    return wide


@torch.no_grad()
def score(model: PixelCNN, x: Tensor, labels: Tensor) -> dict:
    """Measure exact likelihoods of test images (N, 1, 28, 28), and samples, 100 a class, at two temperatures."""
    given = torch.cat([model.log_prob(*part) for part in zip(x.split(100), labels.split(100))])
    each = torch.cat([_log_prob_by_class(model, part) for part in x[:UNLABELLED].split(100)])  # (n, classes)
    guess, n, dims = each.argmax(1), len(each), x[0].numel()
    asked = torch.arange(SAMPLES) % CONFIG.n_classes
    return as_json({
        "bits_per_dim_given_label": mean_estimate(bits_per_dim(-given, dims)),
        "bits_per_dim": mean_estimate(bits_per_dim(math.log(CONFIG.n_classes) - each.logsumexp(1), dims)),
        "classified_by_likelihood": share_estimate(int((guess == labels[:n]).sum()), n),
    } | score_digits(draw(model, asked), asked)) | {
        f"temperature_{COOLER}": as_json(score_digits(draw(model, asked, COOLER), asked))
    }  # fmt: skip


def _log_prob_by_class(model: PixelCNN, x: Tensor) -> Tensor:
    """Return log p(x | y) in nats for every class y: (B, classes)."""
    classes = range(model.cfg.n_classes)
    return torch.stack([model.log_prob(x, torch.full((len(x),), y)) for y in classes], dim=1)


@torch.no_grad()
def draw(model: PixelCNN, labels: Tensor, temperature: float = 1.0, seed: int = SEED) -> Tensor:
    """Return digits (N, 1, 28, 28) in [-1, 1] of the classes asked for."""
    g, out = torch.Generator().manual_seed(seed), []
    for part in labels.split(100):
        *_, (_, k) = sample_pixels(model, len(part), part, temperature=temperature, generator=g)
        out.append(from_levels(k, model.cfg.levels)[:, None])
    return torch.cat(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6_800, help="updates of the first stage (default 6800)")
    parser.add_argument("--wide-steps", type=int, default=3_300, help="updates of the second (default 3300)")
    args = parser.parse_args()
    seed_all(SEED)
    first = train(PixelCNN(CONFIG), args.steps, 3e-3, f"runs/{NAME}.pt", SEED).cpu()
    model = as_shipped(train(widen(first), args.wide_steps, 2e-3, f"runs/{NAME}-wide.pt", SEED + 1))
    test, judge = load("mnist", split="test"), registry()["classifier-mnist"]["sha256"][:12]
    figures = {"command": COMMAND, "judge": f"classifier-mnist {judge}"}
    x, labels = to_floats(test.images), test.labels
    figures |= score(model, x, labels) | {"first_stage": score(as_shipped(first), x, labels)}
    save_weights(
        NAME, model, score=figures, command=COMMAND, data=DATA, terms=TERMS, seed=SEED, hardware=hardware(),
        dtype=torch.float16,
    )  # fmt: skip
    print(NAME, *(f"{key}: {value}" for key, value in figures.items()), sep="\n  ")


if __name__ == "__main__":
    main()
