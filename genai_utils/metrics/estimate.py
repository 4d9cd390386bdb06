"""A figure is worth what its sample size and interval say: the form in which every metric answers.

Sources: [BOOT] Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 13 (percentile interval).
         [WILSON] Wilson 1927, Probable inference, J. Am. Stat. Assoc. 22(158), 209-212.
Shapes:  N sample size.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval and the sample size it rests on."""

    value: float
    low: float  # bounds of the interval
    high: float
    n: int  # sample size
    level: float = 0.95  # coverage of the interval, in (0, 1)

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] (n = {self.n:,})"


def share_estimate(hits: int, n: int, *, level: float = 0.95) -> Estimate:
    """Return the share hits / n with Wilson's interval, which stays within [0, 1] and holds near both ends; [WILSON].

    Raises:
        ValueError: not 0 <= hits <= n with n >= 1.
    """
    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"need 0 <= hits <= n and n >= 1, got hits={hits}, n={n}")
    z, p = _normal_quantile(level), hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return Estimate(
        value=p, low=min(max(centre - half, 0.0), p), high=max(min(centre + half, 1.0), p), n=n, level=level
    )


def mean_estimate(values: Tensor, *, level: float = 0.95) -> Estimate:
    """Return the mean of independent values (N,) with its normal interval, mean +- z s / sqrt(N).

    Raises:
        ValueError: fewer than two values.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"an interval needs at least 2 values, got {n}")
    values = values.double()
    mean, half = values.mean().item(), _normal_quantile(level) * values.std().item() / n**0.5
    return Estimate(value=mean, low=mean - half, high=mean + half, n=n, level=level)


def median_estimate(values: Tensor, *, level: float = 0.95) -> Estimate:
    """Return the median of independent values (N,) with an interval that assumes no distribution.

    The bounds are the values of rank N/2 -+ z sqrt(N)/2 (the sign test turned round); below six values they are the
    extremes, which then cover less than `level`.
    Raises:
        ValueError: no value.
    """
    n = len(values)
    if not n:
        raise ValueError("a median needs at least one value, got none")
    ranked = values.double().sort().values
    half = _normal_quantile(level) * n**0.5 / 2
    low, high = max(int(n / 2 - half), 0), min(int(n / 2 + half), n - 1)
    return Estimate(
        value=ranked.quantile(0.5).item(), low=ranked[low].item(), high=ranked[high].item(), n=n, level=level
    )


def bootstrap_estimate(
    value: float,
    resampled: Callable[[torch.Generator], float],
    *,
    n: int,
    resamples: int,
    level: float = 0.95,
    seed: int = 0,
    bounds: tuple[float, float] = (-float("inf"), float("inf")),
) -> Estimate:
    """Return `value` with the percentiles of a bootstrap, moved so that the draws' mean is `value`; [BOOT].

    The move matters for biased figures: drawing with replacement repeats points, which raises a Frechet distance and
    lowers an entropy once more, as the sample did the first time.

    Args:
        value: the figure on the real sample.
        resampled: maps a generator to the figure on one resample (see `redraw`).
        n: sample size to report.
        resamples: how many draws; 0 gives no interval (low = high = value), else at least 20.
        level: coverage, in (0, 1).
        seed: of the draws.
        bounds: smallest and largest value that the figure can take.
    Raises:
        ValueError: level or resamples out of range.
    """
    _normal_quantile(level)
    if resamples < 0 or 0 < resamples < 20:
        raise ValueError(f"resamples must be 0 (no interval) or at least 20, got {resamples}")
    if not resamples:
        return Estimate(value=value, low=value, high=value, n=n, level=level)
    generator = torch.Generator().manual_seed(seed)
    draws = torch.tensor([resampled(generator) for _ in range(resamples)], dtype=torch.float64)
    draws = (draws - draws.mean() + value).clamp(*bounds)
    tail = (1 - level) / 2
    low, high = draws.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Estimate(value=value, low=low, high=high, n=n, level=level)


def redraw(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Return len(rows) rows drawn with replacement, by a generator on the CPU."""
    return rows[torch.randint(len(rows), (len(rows),), generator=generator).to(rows.device)]


def _normal_quantile(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    return torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64)).item()
