"""Train the Glow of chapter 14 on MNIST: `python -m tools.recipes.flows_glow` (an hour of one CPU core).

MNIST at 28 x 28, without labels: two levels of sixteen steps, networks of 64 feature maps. The loss is the bound in
bits per dimension, dequantised afresh in every batch; what is stored is a running average of the weights, in fp16, and
what is scored are the weights as they ship. Interrupted, it resumes from runs/glow-mnist.pt.
"""

import argparse

import torch
from torch import Tensor

from genai_utils.core import pick_device, seed_all
from genai_utils.data import load, to_floats
from genai_utils.flows.glow import PRESETS, Glow, image_bits, nll_loss
from genai_utils.metrics import Estimate, mean_estimate, precision_recall, score_digits
from genai_utils.metrics.classifier import Classifier, run_in_batches
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.weights import load_tensors, load_weights, registry, save_weights
from tools.recipes import hardware
from tools.recipes.score import as_json, write_score

NAME, COMMAND = "glow-mnist", "python -m tools.recipes.flows_glow"
CONFIG = PRESETS["mnist"]
STEPS, BATCH, SEED = 8_000, 32, 0
RATE = 2e-3
SAMPLES, TEMPERATURE = 5_000, 0.8  # digits that the score rests on, and the temperature they are drawn at
NEIGHBOURS = 2_000  # real and as many drawn digits for precision and recall


def train() -> Glow:
    """Return the running average of the weights; leaves the script where the run was stopped before its end."""
    seed_all(SEED)
    data = load("mnist").to(pick_device())
    model = Glow(CONFIG).to(pick_device())
    with torch.no_grad():
        nll_loss(model, next(data.batches(512, seed=SEED + 1)))  # sets the ActNorms, before the average begins
    opt = adamw(model, lr=RATE)
    schedule = warmup_cosine(opt, STEPS, warmup=200)
    ema = EMA(model, decay=0.999)
    step = make_step(model, nll_loss, opt, schedule=schedule, ema=ema)
    rows = fit(step, data.batches(BATCH, seed=SEED), steps=STEPS, every=100, checkpoint=f"runs/{NAME}.pt")
    if not rows or rows[-1]["step"] < STEPS:
        raise SystemExit(f"{NAME} was stopped before its end: nothing written. Run the command again to go on")
    return ema.model


@torch.no_grad()
def draw(model: Glow, n: int, *, temperature: float = 1.0, seed: int = 0, batch: int = 250) -> Tensor:
    """Return n digits (n, 1, 28, 28), cut off at -1 and 1; the noise comes from the seed, batch by batch."""
    g = torch.Generator().manual_seed(seed)
    parts = [model.sample(min(batch, n - i), temperature=temperature, generator=g) for i in range(0, n, batch)]
    return torch.cat(parts).nan_to_num(0.0).clamp(-1, 1)


@torch.no_grad()
def bits_of(model: Glow, x: Tensor, *, seed: int = 0, batch: int = 250) -> Tensor:
    """Return the bound in bits per dimension of each image, (n,), one draw of the noise each."""
    g = torch.Generator().manual_seed(seed)
    return torch.cat([image_bits(model, part, generator=g) for part in x.split(batch)])


@torch.no_grad()
def judge(images: Tensor) -> dict[str, Estimate]:
    """Return `score_digits`, with precision and recall of the first 2,000 among as many training digits."""
    model, real = load_weights("classifier-mnist", Classifier), load_tensors("mnist-features")
    features = run_in_batches(model.features, images[:NEIGHBOURS])
    known = real["train"][:NEIGHBOURS]
    ours, mark = precision_recall(known, features), precision_recall(known, real["test"][:NEIGHBOURS])
    return score_digits(images) | {
        "precision": ours.precision, "recall": ours.recall,
        "precision_held_out": mark.precision, "recall_held_out": mark.recall,
    }  # fmt: skip


def score(model: Glow) -> dict[str, Estimate]:
    """Return bits per dimension of the 10,000 test digits, a bound, and the figures of digits that are drawn."""
    bits = mean_estimate(bits_of(model, to_floats(load("mnist", split="test").images)))
    return {"bits_per_dim": bits} | judge(draw(model, SAMPLES, temperature=TEMPERATURE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--score", action="store_true", help="only score the weights that are there")
    if not parser.parse_args().score:
        save_weights(
            NAME, train().cpu(), config=CONFIG, command=COMMAND, data="MNIST, 60,000 training images",
            terms="CC BY-SA 3.0", seed=SEED, score={}, hardware=hardware(), dtype=torch.float16,
        )  # fmt: skip
    found = as_json(score(load_weights(NAME, Glow)))
    seen_by = registry()["classifier-mnist"]["sha256"][:12]
    how = {"command": f"{COMMAND} --score", "judge": f"classifier-mnist {seen_by}"}
    write_score(NAME, how | {"temperature": TEMPERATURE, "seed": 0} | found)
    print(NAME, *(f"{key}: {value}" for key, value in found.items()), sep="\n  ", flush=True)


if __name__ == "__main__":
    main()
