"""Two questions instead of one distance: are the samples realistic, and is all of the data's variety there?

Both pairs draw a ball around each point, out to its k-th nearest neighbour, and take the union as the set's territory.
Precision and density ask how much of the generated set lies in the real territory; recall and coverage ask the reverse.
Outliers blow up their balls, which spoils precision and recall; density counts overlapping balls and coverage draws
balls round real points only, which tempers it.

Sources: [PR] Kynkäänniemi et al. 2019, arXiv:1904.06991, Sec. 2. [DC] Naeem et al. 2020, arXiv:2002.09797, Sec. 3.
Shapes:  N real samples, M generated samples, D number of features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from genai_utils.metrics.estimate import Estimate, mean_estimate, share_estimate


@dataclass(frozen=True, kw_only=True)
class PrecisionRecall:
    precision: Estimate  # share of generated samples inside the real territory, n = M
    recall: Estimate  # share of real samples inside the generated territory, n = N


@dataclass(frozen=True, kw_only=True)
class DensityCoverage:
    density: Estimate  # mean number of real balls round a generated sample, over k; about 1 for equal sets, n = M
    coverage: Estimate  # share of real balls that hold a generated sample, n = N


def precision_recall(real: Tensor, generated: Tensor, *, k: int = 3, level: float = 0.95) -> PrecisionRecall:
    """Return precision and recall of generated features; [PR] Sec. 2, with k = 3 as there.

    Args:
        real: (N, D) features of data, N > k. Compare figures only at equal N, M and k: all of them move it.
        generated: (M, D) features of samples, M > k.
        k: which neighbour sets a ball's radius (the point itself not counted).
        level: coverage of the intervals. They are Wilson's over the counted points, the balls taken as given: a
            bootstrap would repeat points, and a repeated point is its own nearest neighbour.
    Raises:
        ValueError: shapes or k out of range (named).
    """
    _check(real, generated, k)
    inside_real = _within(generated, real, neighbour_radius(real, k))
    inside_generated = _within(real, generated, neighbour_radius(generated, k))
    return PrecisionRecall(
        precision=share_estimate(int(inside_real.sum()), len(generated), level=level),
        recall=share_estimate(int(inside_generated.sum()), len(real), level=level),
    )


def density_coverage(real: Tensor, generated: Tensor, *, k: int = 5, level: float = 0.95) -> DensityCoverage:
    """Return density and coverage of generated features; [DC] Sec. 3, with k = 5 as there.

    A sample on the very edge of a ball counts as outside, as in the authors' code; so a set without equal distances
    scores exactly 1 and 1 against itself. A k-th neighbour that is no farther than the one before lowers density, and a
    point that occurs more than k times has an empty ball, which lowers coverage too. Two independent samples of one
    distribution score density 1 on average and, at N = M, coverage 1 - 2^-k: that, and not 1, is the mark to reach.

    Args, Raises: as for `precision_recall`; the interval of density is the normal one over generated samples.
    """
    _check(real, generated, k)
    radius = neighbour_radius(real, k)  # (N,)
    counts, covered = [], torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for part in generated.split(_rows(real)):
        inside = _distances(part, real) < radius  # (m, N)
        counts.append(inside.sum(1))
        covered |= inside.any(0)
    return DensityCoverage(
        density=mean_estimate(torch.cat(counts).double() / k, level=level),
        coverage=share_estimate(int(covered.sum()), len(real), level=level),
    )


def neighbour_radius(x: Tensor, k: int) -> Tensor:
    """Return each point's distance to its k-th nearest other point, (N,), for x (N, D)."""
    return torch.cat([_distances(part, x).kthvalue(k + 1, dim=1).values for part in x.split(_rows(x))])


def nearest(x: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distance of each x (M, D) to its nearest among others (N, D), and which one: (M,) and (M,) int64."""
    parts = [_distances(part, others).min(1) for part in x.split(_rows(others))]
    return torch.cat([p.values for p in parts]), torch.cat([p.indices for p in parts])


def _within(x: Tensor, centres: Tensor, radius: Tensor) -> Tensor:
    """Say of each x (M, D) whether it lies in the ball of any centre; [PR] Sec. 2."""
    return torch.cat([(_distances(part, centres) <= radius).any(1) for part in x.split(_rows(centres))])


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # Not by matrix product: its cancellation puts a point at 1e-3 from itself, and d(a, b) must equal d(b, a).
    return torch.cdist(a.float(), b.float(), compute_mode="donot_use_mm_for_euclid_dist")


def _rows(b: Tensor) -> int:
    return max(1, 4_000_000 // len(b))  # 16 MB of distances at a time


def _check(real: Tensor, generated: Tensor, k: int) -> None:
    for name, x in (("real", real), ("generated", generated)):
        if x.ndim != 2 or k < 1 or len(x) <= k:
            raise ValueError(f"{name} must be (N, D) with N > k >= 1, got shape {tuple(x.shape)} and k={k}")
        if not x.isfinite().all():
            raise ValueError(f"{name} must be finite; {int((~x.isfinite()).any(1).sum())} of {len(x)} rows are not")
    if real.shape[1] != generated.shape[1]:
        raise ValueError(f"both need the same number of features, got {real.shape[1]} and {generated.shape[1]}")
