"""Train the classifier that judges generated digits: `python -m tools.recipes.classifier_mnist`.

Writes the weights "classifier-mnist" and the tensors "mnist-features": features of 5,000 training and 5,000 test
digits, a fixed random subset, so that Frechet distances need no MNIST at hand. Accuracy is that of the weights as they
ship, rounded to fp16, on the whole test set. About three minutes on one CPU core.
"""

import argparse
import copy
import math

import torch
from torch import Tensor

from genai_utils.core import pick_device, seed_all
from genai_utils.data import load
from genai_utils.data.sets import to_floats
from genai_utils.metrics.classifier import Classifier, ClassifierConfig, classifier_loss, jitter, run_in_batches
from genai_utils.metrics.estimate import share_estimate
from genai_utils.metrics.frechet import frechet_distance
from genai_utils.metrics.quality import CONFIDENT
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.weights import load_weights, save_weights
from tools.recipes import hardware

COMMAND = "python -m tools.recipes.classifier_mnist"
DATA = "MNIST (LeCun, Cortes, Burges)"
TERMS = "CC BY-SA 3.0"
BATCH, RATE, DECAY = 128, 4e-3, 0.995
CHECKPOINT = "runs/classifier-mnist.pt"  # an interrupted run goes on from here
SUBSET = 5_000  # digits of each split whose features ship


def train(epochs: float = 4.0, seed: int = 0) -> Classifier:
    """Return the running average of a classifier trained on jittered digits, in evaluation mode, on the CPU."""
    seed_all(seed)
    device = pick_device()
    digits = load("mnist").to(device)
    model = Classifier(ClassifierConfig()).to(device, memory_format=torch.channels_last)
    steps = math.ceil(epochs * len(digits) / BATCH)
    opt = adamw(model, RATE, weight_decay=0.02)
    ema = EMA(model, DECAY)

    def loss_fn(model, batch):
        x, labels = batch
        return classifier_loss(model, (jitter(x), labels))

    step = make_step(model, loss_fn, opt, schedule=warmup_cosine(opt, steps), ema=ema)
    settings = {"rate": RATE, "decay": DECAY, "seed": seed}
    fit(step, digits.batches(BATCH, seed=seed), steps=steps, every=200, checkpoint=CHECKPOINT, config=settings)
    return ema.model.to("cpu", memory_format=torch.contiguous_format).eval()


def evaluate(model: Classifier) -> dict[str, float | int | list[float]]:
    """Return accuracy on MNIST's test set, its 95 % interval, and the share of test digits it is sure of."""
    test = load("mnist", split="test")
    logits = run_in_batches(model, to_floats(test.images))
    accuracy = share_estimate(int((logits.argmax(1) == test.labels).sum()), len(test))
    sure = (logits.softmax(1).amax(1) > CONFIDENT).double().mean().item()
    return {
        "test_accuracy": accuracy.value, "interval_95": [round(accuracy.low, 5), round(accuracy.high, 5)],
        "confident": round(sure, 5), "n": accuracy.n,
    }  # fmt: skip


def real_features(model: Classifier, seed: int = 0) -> dict[str, Tensor]:
    """Return {"train", "test"}: features (5000, 64) fp16 of a fixed random subset of each split."""
    features = {}
    for split in ("train", "test"):
        digits = load("mnist", split=split)
        which = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))[:SUBSET]
        features[split] = run_in_batches(model.features, to_floats(digits.images[which])).half()
    return features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = train(args.epochs, args.seed)
    score = evaluate(copy.deepcopy(model).half().float())  # as it will ship
    print(f"test accuracy at fp16: {score['test_accuracy']:.4f} (n = {score['n']:,})")
    if score["test_accuracy"] < 0.99:
        raise SystemExit("below 99 %: nothing written. Train longer (--epochs)")
    entry = {"command": COMMAND, "terms": TERMS, "seed": args.seed, "hardware": hardware(), "dtype": torch.float16}
    save_weights(
        "classifier-mnist", model, config=model.cfg, data=f"{DATA}, 60,000 training images", score=score, **entry
    )
    features = real_features(load_weights("classifier-mnist", Classifier))
    distance = frechet_distance(features["test"].float(), features["train"].float())
    about = {"frechet_test_to_train": round(distance.value, 4), "n": distance.n}
    save_weights("mnist-features", features, data=f"{DATA}, 5,000 training and 5,000 test images", score=about, **entry)
    print(f"Frechet distance of test to training digits: {distance}")


if __name__ == "__main__":
    main()
