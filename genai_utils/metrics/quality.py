"""The score of generated digits: sure, varied, and close to MNIST, as a small classifier sees them.

No one of these figures stands alone. The classifier has seen nothing but digits and can be sure of anything else: it
puts pure noise into one class with near certainty. The entropy of the classes and the distance give noise away; a test
holds both halves of that.

Sources: [FID] Heusel et al. 2017, arXiv:1706.08500 (distance in a classifier's feature space). [IS] Salimans et al.
         2016, arXiv:1606.03498, Sec. 4 (confident on each image, varied over all).
Shapes:  N samples, D features, K classes.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from genai_utils.metrics.classifier import Classifier, run_in_batches
from genai_utils.metrics.estimate import Estimate, bootstrap_estimate, redraw, share_estimate
from genai_utils.metrics.frechet import frechet_distance
from genai_utils.weights import load_tensors, load_weights

CONFIDENT = 0.9  # a sample is classified "for sure" above this probability


def score_digits(
    images: Tensor,
    labels: Tensor | None = None,
    *,
    resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Judge generated digits by the shipped classifier of MNIST and the shipped features of 10,000 MNIST digits.

    Args:
        images: (N, 1, 28, 28) floats in [-1, 1], white ink on black; 64 < N. Use 1,000 or more.
        labels: (N,) int64, the digits that were asked for, if any.
        resamples: draws of the bootstraps; 0 gives no intervals where Wilson's does not serve.
        level: coverage of the intervals, in (0, 1).
        seed: of the bootstraps.
    Returns:
        confident: share of samples whose likeliest class has probability above 0.9 (not "a digit": noise may pass too).
        class_entropy: entropy in nats of the classes seen; log 10 = 2.303 when all are equally frequent.
        frechet: distance to 5,000 training digits.
        frechet_held_out: the same of as many test digits: the mark to compare with (n says how many).
        agreement: share classified as asked; only with labels.
        Samples beyond the 5,000 held-out digits at hand take no part in `frechet`.
    Raises:
        ValueError: images of the wrong shape, range or number; labels that do not fit.
    """
    _check(images, labels)
    model, real = _judge(images.device)
    features = run_in_batches(model.features, images.float().clamp(-1, 1))  # (N, D)
    probability, classes = run_in_batches(model.head, features).softmax(1).max(1)  # each (N,)
    n, how = len(images), {"resamples": resamples, "level": level, "seed": seed}
    paired = min(n, len(real["test"]))
    scores = {
        "confident": share_estimate(int((probability > CONFIDENT).sum()), n, level=level),
        "class_entropy": entropy_estimate(classes, model.cfg.n_classes, **how),
        "frechet": frechet_distance(features[:paired], real["train"], **how),
        "frechet_held_out": frechet_distance(real["test"][:paired], real["train"], **how),
    }
    if labels is not None:
        hits = int((classes.cpu() == labels.cpu()).sum())
        scores["agreement"] = share_estimate(hits, n, level=level)
    return scores


def entropy_estimate(
    classes: Tensor, n_classes: int, *, resamples: int = 200, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Return the entropy in nats of the observed classes (N,), with a bootstrap interval.

    The plug-in estimate: about (K - 1) / 2N too low, 0.0045 nats at N = 1,000 and K = 10 (Miller 1955).
    """
    if not len(classes):
        raise ValueError("classes is empty: give at least one")
    classes = classes.cpu()

    def entropy(rows: Tensor) -> float:
        share = torch.bincount(rows, minlength=n_classes).double() / len(rows)
        return torch.special.entr(share).sum().item()

    return bootstrap_estimate(
        entropy(classes), lambda g: entropy(redraw(classes, g)), n=len(classes), resamples=resamples, level=level,
        seed=seed, bounds=(0.0, math.log(n_classes)),
    )  # fmt: skip


@lru_cache(maxsize=2)
def _judge(device: torch.device) -> tuple[Classifier, dict[str, Tensor]]:
    return load_weights("classifier-mnist", Classifier).to(device), load_tensors("mnist-features")


def _check(images: Tensor, labels: Tensor | None) -> None:
    if images.ndim != 4 or images.shape[1:] != (1, 28, 28) or not images.is_floating_point():
        raise ValueError(f"images must be (N, 1, 28, 28) floats, got {tuple(images.shape)} {images.dtype}")
    if not images.isfinite().all():
        raise ValueError("images must be finite; some hold nan or inf")
    low, high = images.min().item(), images.max().item()
    if low < -1.5 or high > 1.5 or low > -0.5:
        raise ValueError(f"images must be in [-1, 1] on black (-1), got [{low:.3g}, {high:.3g}]: rescale or clamp")
    if labels is not None and labels.shape != images.shape[:1]:
        raise ValueError(f"labels must be ({len(images)},), one per image, got {tuple(labels.shape)}")
