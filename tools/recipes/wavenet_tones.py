"""Train the WaveNet of chapter 3 on eight notes: `python -m tools.recipes.wavenet_tones`.

A class-conditional network learns `tones`, 2,000 samples at 8 kHz of a note between C4 and C5 on one of three
instruments. Writes the weights "wavenet-tones", scored as they ship, rounded to fp16. About 15 minutes on one CPU core;
interrupted, it resumes from runs/wavenet-tones.pt.
"""

import argparse
import copy
import math

import torch
from torch import Tensor

from genai_utils.autoregressive.wavenet import PRESETS, WaveNet, sample_waves, wavenet_loss
from genai_utils.core import pick_device, seed_all
from genai_utils.data import AudioSet, load, mu_law_decode, mu_law_encode
from genai_utils.metrics import mean_estimate
from genai_utils.metrics.sound import score_tones
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.weights import save_weights
from tools.recipes import hardware
from tools.recipes.score import as_json

COMMAND = "python -m tools.recipes.wavenet_tones"
DATA, TERMS = "tones, 2,400 training waves, computed", "MIT"
CONFIG = PRESETS["tones"]
SEED, BATCH = 0, 4
SAMPLES = 400  # waves that the score rests on, 50 a note


def train(steps: int) -> WaveNet:
    """Return the running average of a WaveNet, rounded to the fp16 in which it ships."""
    seed_all(SEED)
    device = pick_device()
    data = load("tones").to(device)
    model = WaveNet(CONFIG).to(device)
    opt, ema = adamw(model, 2e-3), EMA(model, 0.998)
    schedule = warmup_cosine(opt, steps, warmup=100)
    step = make_step(model, wavenet_loss, opt, schedule=schedule, ema=ema, amp=torch.bfloat16)
    rows = fit(step, data.batches(BATCH, seed=SEED), steps=steps, every=50, checkpoint="runs/wavenet-tones.pt")
    if not rows or rows[-1]["step"] < steps:
        raise SystemExit("stopped before the end: nothing written. Run it again to go on")
    return copy.deepcopy(ema.model).cpu().half().float().eval()


@torch.no_grad()
def score(model: WaveNet) -> dict:
    """Measure the model on test waves, and its samples at temperature 1, by pitch; with what simpler answers reach."""
    train_set, test = load("tones"), load("tones", split="test")
    codes, known = codes_of(test), codes_of(train_set)
    nats = torch.cat([-model.log_prob(c, y) for c, y in zip(codes.split(40), test.labels.split(40))]) / codes.shape[1]
    counts = torch.bincount(known.flatten(), minlength=model.cfg.levels) + 1.0
    by_level = -(counts / counts.sum()).log()[codes].mean(1)  # a sample as if it knew no other
    asked = torch.arange(SAMPLES) % model.cfg.n_classes
    drawn = score_tones(draw(model, asked), asked)
    return as_json({
        "nats_per_sample": mean_estimate(nats),
        "bits_per_sample": mean_estimate(nats / math.log(2)),
        "nats_per_sample_of_level_frequencies": mean_estimate(by_level),
        "agreement_of_test_waves": score_tones(mu_law_decode(codes), test.labels)["agreement"],
        "agreement_of_independent_levels": score_tones(shuffled(known[:SAMPLES]), asked)["agreement"],
    } | drawn)  # fmt: skip


def codes_of(data: AudioSet) -> Tensor:
    """Return the levels of mu-law of all waves, (N, T) int64."""
    return mu_law_encode(data.waves.float() / 32_768)


def shuffled(codes: Tensor, seed: int = SEED) -> Tensor:
    """Return waves with the levels of `codes` (N, T), each wave's in an order of their own: noise as loud as tones."""
    order = torch.rand(codes.shape, generator=torch.Generator().manual_seed(seed)).argsort(1)
    return mu_law_decode(codes.gather(1, order))


def draw(model: WaveNet, labels: Tensor, steps: int = 2_000, seed: int = SEED) -> Tensor:
    """Return waves (N, T) in [-1, 1] of the classes asked for, at temperature 1."""
    g = torch.Generator().manual_seed(seed)
    codes = [c for _, c in sample_waves(model, len(labels), steps, labels, generator=g)]
    return mu_law_decode(torch.stack(codes, dim=1), model.cfg.levels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2_400, help="updates (default 2400)")
    args = parser.parse_args()
    model = train(args.steps)
    results = {"command": COMMAND} | score(model)
    entry = {"data": DATA, "terms": TERMS, "seed": SEED, "hardware": hardware(), "dtype": torch.float16}
    save_weights("wavenet-tones", model, score=results, command=COMMAND, **entry)
    print("wavenet-tones", *(f"{key}: {value}" for key, value in results.items()), sep="\n  ")


if __name__ == "__main__":
    main()
