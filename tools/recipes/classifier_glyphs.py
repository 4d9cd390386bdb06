"""Train the judge of chapter 21, a classifier of digits at 16x16: `python -m tools.recipes.classifier_glyphs`.

Writes the weights "classifier-glyphs". It learns from 60,000 digits drawn with another seed than those that the
models of the comparison learn from, and is scored, rounded to fp16 as it ships, on their test set. About two minutes
on one CPU core; interrupted, it resumes from runs/classifier-glyphs.pt.
"""

import copy
from dataclasses import replace

import torch

from genai_utils.compare.protocol import DIGITS, PRESETS, load_pictures, shrink
from genai_utils.core import seed_all
from genai_utils.data import load
from genai_utils.data.sets import to_floats
from genai_utils.metrics.classifier import Classifier, ClassifierConfig, classifier_loss, jitter, run_in_batches
from genai_utils.metrics.estimate import share_estimate
from genai_utils.metrics.quality import CONFIDENT
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.weights import save_weights
from tools.recipes import hardware

NAME, COMMAND = "classifier-glyphs", "python -m tools.recipes.classifier_glyphs"
STEPS, BATCH, RATE, N, SEED = 2_500, 128, 4e-3, 60_000, 1


def train() -> Classifier:
    """Return the running average of a classifier trained on jittered digits, in evaluation mode."""
    seed_all(SEED)
    data = load("glyphs", n=N, classes=DIGITS, seed=SEED)
    data = replace(data, images=shrink(data.images))
    model = Classifier(ClassifierConfig(side=16, width=24, n_features=48))
    opt, ema = adamw(model, RATE, weight_decay=0.02), EMA(model, 0.995)

    def loss_fn(model, batch):
        x, labels = batch
        return classifier_loss(model, (jitter(x, degrees=5.0, zoom=0.1, shift=1.0), labels))

    step = make_step(model, loss_fn, opt, schedule=warmup_cosine(opt, STEPS), ema=ema)
    fit(step, data.batches(BATCH, seed=SEED), steps=STEPS, every=250, checkpoint=f"runs/{NAME}.pt")
    return ema.model.eval()


def main() -> None:
    model = train()
    test = load_pictures(PRESETS["embedded"])[1]
    logits = run_in_batches(copy.deepcopy(model).half().float(), to_floats(test.images))  # as it will ship
    accuracy = share_estimate(int((logits.argmax(1) == test.labels).sum()), len(test))
    sure = (logits.softmax(1).amax(1) > CONFIDENT).double().mean().item()
    score = {
        "test_accuracy": accuracy.value, "interval_95": [round(accuracy.low, 5), round(accuracy.high, 5)],
        "confident": round(sure, 5), "n": accuracy.n,
    }  # fmt: skip
    print(f"test accuracy at fp16: {accuracy}; confident: {sure:.4f}")
    if accuracy.value < 0.99:
        raise SystemExit("below 99 %: nothing written. Train longer")
    save_weights(
        NAME, model, config=model.cfg, command=COMMAND, data=f"glyphs: {N:,} digits of seed {SEED}, at 16x16",
        terms="MIT", seed=SEED, score=score, hardware=hardware(), dtype=torch.float16,
    )  # fmt: skip


if __name__ == "__main__":
    main()
