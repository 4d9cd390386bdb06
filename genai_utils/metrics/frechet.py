"""Frechet distance between the Gaussians fitted to two sets of features: smaller is closer.

It compares means and covariances only, so it sees blur, noise and lost variety, and misses whatever keeps the first
two moments. It is biased upwards for few samples ([BIAS]): compare only figures at equal n, and set the distance of
held-out data at that same n beside every figure.

Sources: [FID] Heusel et al. 2017, arXiv:1706.08500, Eq. 6. [BIAS] Chong & Forsyth 2020, arXiv:1911.07023, Sec. 3.
Shapes:  N, M sample sizes, D number of features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from genai_utils.metrics.estimate import Estimate, bootstrap_estimate, redraw


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Mean and covariance of a set of features, and how many there were."""

    mean: Tensor  # (D,) float64
    cov: Tensor  # (D, D) float64, unbiased
    n: int  # sample size, above D


def fit_gaussian(features: Tensor) -> Gaussian:
    """Return mean and unbiased covariance of features (N, D), computed in float64 on the CPU.

    Raises:
        ValueError: the features are not (N, D), not finite, or no more in number than their width: the covariance of
            N <= D points is singular, and distances from it are noise.
    """
    if features.ndim != 2:
        raise ValueError(f"features must be (N, D), got shape {tuple(features.shape)}; flatten all but the first axis")
    n, d = features.shape
    if n <= d:
        raise ValueError(f"a covariance of {d} features needs more than {d} samples, got {n}: draw more")
    x = features.detach().cpu().double()
    if not x.isfinite().all():
        raise ValueError(f"features must be finite; {int((~x.isfinite()).any(1).sum())} of {n} rows are not")
    mean = x.mean(0)
    x = x - mean
    return Gaussian(mean=mean, cov=x.T @ x / (n - 1), n=n)


def gaussian_distance(a: Gaussian, b: Gaussian) -> float:
    """Squared Frechet (2-Wasserstein) distance of two Gaussians; [FID] Eq. 6.

    d^2 = |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). C_a C_b is not symmetric, but it has the eigenvalues of the
    symmetric S C_b S with S = C_a^(1/2), so the trace of its root is the sum of their square roots: no complex matrix
    square root, and the tiny negative eigenvalues that rounding makes are cut at zero.

    Raises:
        ValueError: the two have different numbers of features.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"both need the same number of features, got {len(a.mean)} and {len(b.mean)}")
    root = symmetric_root(a.cov)
    eigenvalues = torch.linalg.eigvalsh(root @ b.cov @ root).clamp(min=0)
    squared = (a.mean - b.mean).square().sum() + a.cov.trace() + b.cov.trace() - 2 * eigenvalues.sqrt().sum()
    return max(squared.item(), 0.0)


def symmetric_root(matrix: Tensor) -> Tensor:
    """Return the symmetric square root of a symmetric positive semi-definite matrix (D, D)."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def frechet_distance(
    features_a: Tensor, features_b: Tensor, *, resamples: int = 200, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Squared Frechet distance of the Gaussians fitted to two sets of features, with a bootstrap interval.

    Args:
        features_a: (N, D), N > D.
        features_b: (M, D), M > D. Fewer samples of either raise the figure: compare figures only at equal N and M.
        resamples: draws of the bootstrap, in which both sets take part; 0 gives no interval (low = high = value).
        level: coverage of the interval, in (0, 1).
        seed: of the bootstrap.
    Returns:
        An `Estimate` with n = min(N, M). Near zero its interval is too wide (up to twice, between two halves of MNIST),
        because a resample differs from its sample about as much as the two samples from each other.
    Raises:
        ValueError: shapes, sample sizes or arguments out of range (named).
    """
    a, b = fit_gaussian(features_a), fit_gaussian(features_b)

    def resampled(g: torch.Generator) -> float:
        return gaussian_distance(fit_gaussian(redraw(features_a, g)), fit_gaussian(redraw(features_b, g)))

    value, bounds = gaussian_distance(a, b), (0.0, float("inf"))
    return bootstrap_estimate(
        value, resampled, n=min(a.n, b.n), resamples=resamples, level=level, seed=seed, bounds=bounds
    )
