"""Does a model invent, or does it hand back its training set?

A generated sample is suspicious when it lies nearer to the training data than data the model has never seen does. So
we compare two sets of nearest-neighbour distances, of generated samples and of held-out data, both to the training set.
No likelihood and no Frechet distance sees the difference: a copy of the training set scores perfectly on both.

Sources: [COPY] Meehan et al. 2020, arXiv:2004.05675, Sec. 3 (whose test statistic is our `nearer`, as a z score).
Shapes:  M generated, H held-out and N training samples, D features (or pixels).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from genai_utils.metrics.coverage import nearest
from genai_utils.metrics.estimate import Estimate, bootstrap_estimate, redraw, share_estimate


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    ratio: Estimate  # median distance to the training set, generated over held-out: 1 honest, near 0 copied
    nearer: Estimate  # chance that a generated sample is nearer to it than a held-out one: 1/2 honest, near 1 copied
    copies: Estimate  # share of generated samples nearer to it than 99 % of held-out data: 1 % honest
    distance: Tensor  # (M,) of each generated sample to its nearest training sample
    neighbour: Tensor  # (M,) int64, which one that is


def memorisation(
    generated: Tensor, train: Tensor, held_out: Tensor, *, resamples: int = 200, level: float = 0.95, seed: int = 0
) -> Memorisation:
    """Compare nearest-neighbour distances to the training set, of generated samples and of held-out data.

    Args:
        generated: (M, D) features or flattened pixels of samples.
        train: (N, D) of the data that the model was trained on; all of it, or copies of the rest go unseen.
        held_out: (H, D) of data that it was not trained on, from the same source; at least 100 for `copies`.
        resamples: draws of the bootstrap behind the intervals; 0 gives none.
        level: coverage of the intervals, in (0, 1).
        seed: of the bootstrap.
    Raises:
        ValueError: a set is empty or not (N, D), held_out has fewer than 100 rows, or half of it, or of one of its
            resamples, is in train: the ratio would divide by zero.
    """
    for name, x, least in (("generated", generated, 2), ("train", train, 1), ("held_out", held_out, 100)):
        if x.ndim != 2 or len(x) < least:
            raise ValueError(f"{name} must be (N, D) with at least {least} rows, got shape {tuple(x.shape)}")
    distance, neighbour = nearest(generated, train)
    theirs = nearest(held_out, train)[0].double().cpu()  # (H,)
    ours = distance.double().cpu()
    n, how = min(len(ours), len(theirs)), {"resamples": resamples, "level": level, "seed": seed}

    def both(figure):
        return bootstrap_estimate(
            figure(ours, theirs), lambda g: figure(redraw(ours, g), redraw(theirs, g)), n=n, bounds=figure.bounds, **how
        )

    hits = int((ours < theirs.quantile(0.01)).sum())
    return Memorisation(
        ratio=both(_ratio), nearer=both(_nearer), copies=share_estimate(hits, len(ours), level=level),
        distance=distance, neighbour=neighbour,
    )  # fmt: skip


def _ratio(ours: Tensor, theirs: Tensor) -> float:
    if theirs.median() <= 0:
        raise ValueError("held_out lies in the training set: half of it, or of a resample, is there; use unseen data")
    return (ours.median() / theirs.median()).item()


def _nearer(ours: Tensor, theirs: Tensor) -> float:
    """P(ours < theirs) + P(equal) / 2: the Mann-Whitney statistic over M H."""
    ranked = theirs.sort().values
    below, upto = torch.searchsorted(ranked, ours), torch.searchsorted(ranked, ours, right=True)
    return 1 - ((below + upto) / 2 / len(theirs)).mean().item()


_ratio.bounds = (0.0, float("inf"))
_nearer.bounds = (0.0, 1.0)
