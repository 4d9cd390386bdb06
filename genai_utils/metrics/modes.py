"""Mode collapse on toys, counted: how many components of a known mixture do samples reach, and how many go astray?

A sample is of high quality if it lies within three standard deviations of the nearest component's centre. Those of
data do so with probability 1 - exp(-4.5) = 98.9 % in the plane and 99.7 % on a line: that, and not 1, is the mark.

Sources: Metz et al. 2017, arXiv:1611.02163; Srivastava et al. 2017, arXiv:1705.07761, Sec. 4.1 (ring and grid of
         Gaussians; they count a component as soon as one sample of high quality belongs to it: enough=0).
Shapes:  N samples, D coordinates, K components of equal weight.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genai_utils.metrics.estimate import Estimate, share_estimate


@dataclass(frozen=True, kw_only=True)
class ModeCoverage:
    covered: int  # components with enough samples
    n_modes: int  # K
    high_quality: Estimate  # share of samples near a component, n = N
    counts: Tensor  # (K,) int64, samples near each component

    @property
    def share(self) -> float:
        """Return the share of components that are covered."""
        return self.covered / self.n_modes


def mode_coverage(
    samples: Tensor,
    means: Tensor,
    std: float,
    *,
    within: float = 3.0,
    enough: float = 0.1,
    level: float = 0.95,
) -> ModeCoverage:
    """Count the components of a mixture that samples cover, and the share of samples of high quality.

    Of a toy such as `load("toys", kind="ring")`, means are `density.means` and std is `density.stds[0]`.

    Args:
        samples: (N, D) points, N >= 1. A point that is not finite is near nothing.
        means: (K, D) centres of components of equal weight.
        std: their standard deviation along each axis, above 0.
        within: how many of them still count as near.
        enough: share of a component's fair part, N / K samples, that it needs to be covered, in [0, 1]; at least one
            sample in any case.
        level: coverage of the interval, in (0, 1).
    Raises:
        ValueError: shapes that do not fit, or a number out of range.
    """
    if samples.ndim != 2 or means.ndim != 2 or samples.shape[1] != means.shape[1] or not len(samples) or not len(means):
        got = f"{tuple(samples.shape)} and {tuple(means.shape)}"
        raise ValueError(f"samples must be (N, D) and means (K, D), at least one of each, got {got}")
    if not (std > 0 and within > 0 and 0 <= enough <= 1):
        raise ValueError(
            f"need std > 0, within > 0 and enough in [0, 1], got std={std}, within={within}, enough={enough}"
        )
    distance = (samples.double()[:, None] - means.to(samples.device).double()).norm(dim=2)  # (N, K)
    nearest, which = distance.nan_to_num(nan=math.inf).min(1)
    near = nearest <= within * std
    counts = torch.bincount(which[near], minlength=len(means))
    needed = max(1, math.ceil(enough * len(samples) / len(means) - 1e-9))  # - 1e-9: 0.1 * 300 is above 30
    return ModeCoverage(
        covered=int((counts >= needed).sum()), n_modes=len(means), counts=counts.cpu(),
        high_quality=share_estimate(int(near.sum()), len(samples), level=level),
    )  # fmt: skip
