"""Forecasts of a series as distributions: a recurrent network, two baselines, and what such a forecast is worth.

The network reads a series and gives a normal distribution of the next value. Further ahead it is fed its own draws, so
that the paths it draws are samples of the future as a whole.

Sources: [DEEPAR] Salinas et al. 2020, arXiv:1704.04110, Sec. 3 (a recurrent network that gives a likelihood's
         parameters; forecasts by drawing paths). [FPP] Hyndman & Athanasopoulos 2021, Forecasting: Principles and
         Practice, 3rd edition, Sec. 5.2 and 5.5 (seasonal naive method and its intervals).
         [CRPS] Gneiting & Raftery 2007, J. Am. Stat. Assoc. 102(477), 359-378, Sec. 4.2.
Shapes:  B series, T values of each, n paths, S steps ahead.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.autoregressive.rnn import CELLS, Recurrent, State

LEAST_STD = 0.01  # of a forecast, in standard deviations of the series: no value is ever certain


@dataclass(frozen=True, kw_only=True)
class ForecasterConfig:
    cell: str = "lstm"  # "rnn", "gru" or "lstm"
    d_hidden: int = 8  # H; small, as a series is a short text: of 150 sunspot years 32 learn the noise by heart
    n_layers: int = 1


class Forecaster(nn.Module):
    """mean, std, state = model(x, state): of the value after every value of a series, given it and all before.

    Values go in and come out in the units of the series. Inside they are standardised by the mean and the standard
    deviation of the training part, which `fit_scale` stores with the weights. The network gives how far the next value
    is expected from the last one, and how uncertain that is.
    """

    Config = ForecasterConfig

    def __init__(self, cfg: ForecasterConfig) -> None:
        super().__init__()
        _check(cfg)
        self.cfg = cfg
        self.body = Recurrent(cfg.cell, 1, cfg.d_hidden, cfg.n_layers, 1.0 if cfg.cell == "lstm" else None)
        self.head = nn.Linear(cfg.d_hidden, 2)
        self.register_buffer("centre", torch.tensor(math.nan))  # mean of the training part
        self.register_buffer("scale", torch.tensor(math.nan))  # its standard deviation

    def fit_scale(self, values: Tensor) -> None:
        """Take mean and standard deviation from the training part (N,); the test part must not have a say.

        Raises:
            ValueError: fewer than two values, values that are not finite, or all the same.
        """
        _check_series("values", values, least=2, ndim=1)
        if (std := values.double().std(correction=0).item()) == 0:
            raise ValueError(f"all {len(values)} values are {values[0].item():.4g}: nothing to forecast")
        self.centre.fill_(values.double().mean().item())
        self.scale.fill_(std)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, Tensor, State]:
        """Return mean and std (B, T) of the next value at every place, and the state after the last.

        Args:
            x: (B, T), in the units of the series.
            state: what an earlier call returned, to read on from there; None: nothing was read before.
        Raises:
            ValueError: x of another shape, or not finite; `fit_scale` was never called.
        """
        _check_series("x", x, least=1, ndim=2)
        if not self.scale.isfinite():
            raise ValueError("the scale of the series is not known; call model.fit_scale(values of the training part)")
        return self._read(x, state)

    def _read(self, x: Tensor, state: State | None) -> tuple[Tensor, Tensor, State]:
        u = (x - self.centre) / self.scale
        hidden, state = self.body(u[..., None], state)
        step, raw = self.head(hidden).to(u.dtype).unbind(-1)  # (B, T) each
        return self.centre + self.scale * (u + step), self.scale * (LEAST_STD + F.softplus(raw)), state


def forecast_loss(model: Forecaster, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """-log of the density of the next value, in nats per value, averaged over the batch; [DEEPAR] Sec. 3.

    It is a density in the units of the series: a series in other units has another loss, by a constant. It is computed
    with the true past at every place (teacher forcing).

    Args:
        model: a forecaster whose scale is fitted.
        batch: (x, targets), each (B, T): the targets are the values one place on.
    Returns:
        The scalar loss, and logs: `nll`, the same, and `absolute`, the mean distance of the mean from the value.
    Raises:
        ValueError: x and targets differ in length, or are not finite.
    """
    x, targets = batch
    if x.shape != targets.shape:
        raise ValueError(f"x and targets must have the same shape, got {tuple(x.shape)} and {tuple(targets.shape)}")
    _check_series("targets", targets, least=1, ndim=2)
    mean, std, _ = model(x)
    z = (targets - mean) / std
    nll = (0.5 * z.square() + std.log() + 0.5 * math.log(2 * math.pi)).mean()
    return nll, {"nll": nll, "absolute": (targets - mean).abs().mean()}


@torch.no_grad()
def forecast(
    model: Forecaster, history: Tensor, steps: int, n: int, *, generator: torch.Generator | None = None
) -> Tensor:
    """Draw n paths of what comes after a history: each value from its distribution given those drawn before it.

    Args:
        model: in evaluation mode.
        history: (T0,), or (B, T0) for several series.
        steps: S, how far to go, at least 1.
        n: how many paths, at least 1.
        generator: on the model's device.
    Returns:
        (n, S), or (B, n, S), in the units of the series.
    Raises:
        ValueError: a history that is empty or not finite; steps or n below 1.
    """
    _check_counts(steps, n)
    rows = history[None] if history.ndim == 1 else history
    rows = rows.to(model.centre)
    mean, std, state = model(rows)
    spread = lambda part: part.repeat_interleave(n, dim=1)  # each series n times
    state = tuple(map(spread, state)) if isinstance(state, tuple) else spread(state)
    mean, std = (part[:, -1:].repeat_interleave(n, dim=0) for part in (mean, std))  # (B n, 1)
    drawn = []
    for k in range(steps):
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        drawn.append(mean + std * noise)
        if k + 1 < steps:
            mean, std, state = model._read(drawn[-1], state)
    paths = torch.cat(drawn, dim=1).unflatten(0, (len(rows), n))  # (B, n, S)
    return paths[0] if history.ndim == 1 else paths


# Two baselines


@dataclass(frozen=True, kw_only=True)
class SeasonalNaive:
    """The value one period ago, plus normal noise: the next value of the same season; [FPP] Sec. 5.2 and 5.5."""

    period: int  # steps of a season
    std: float  # of the noise: root mean square of value - value one period ago

    def sample(self, history: Tensor, steps: int, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw n paths (n, S) float64 after a history (T0,); their spread grows with every further season.

        Raises:
            ValueError: a history shorter than the period, or not finite; steps or n below 1.
        """
        return _paths(lambda past: past[:, -self.period], self.std, history, self.period, steps, n, generator)


@dataclass(frozen=True, kw_only=True)
class LinearAutoregression:
    """intercept + a weighted sum of the last values, plus normal noise."""

    intercept: float
    weights: tuple[float, ...]  # of the last value, the one before it, ...
    std: float  # of the noise

    def sample(self, history: Tensor, steps: int, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw n paths (n, S) float64 after a history (T0,), each value from those drawn before it.

        Raises:
            ValueError: a history shorter than the order, or not finite; steps or n below 1.
        """
        w, order = torch.tensor(self.weights, dtype=torch.float64), len(self.weights)
        mean = lambda past: self.intercept + past[:, -order:].flip(1) @ w
        return _paths(mean, self.std, history, order, steps, n, generator)


def seasonal_naive(history: Tensor, period: int) -> SeasonalNaive:
    """Fit the noise of the seasonal naive forecast to a history (T0,): no other number is fitted.

    Raises:
        ValueError: period < 1; a history of at most one period, or not finite.
    """
    if period < 1:
        raise ValueError(f"period must be at least 1, got {period}")
    _check_series("history", history, least=period + 1, ndim=1)
    residual = (history[period:] - history[:-period]).double()
    return SeasonalNaive(period=period, std=residual.square().mean().sqrt().item())


def linear_autoregression(history: Tensor, order: int) -> LinearAutoregression:
    """Fit intercept and weights of the last `order` values to a history (T0,) by least squares.

    The noise is the residuals' standard deviation, with as many degrees of freedom less as numbers were fitted.

    Raises:
        ValueError: order < 1; a history of fewer than 2 order + 2 values, or not finite.
    """
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    _check_series("history", history, least=2 * order + 2, ndim=1)
    x = history.detach().cpu().double()
    past = x[:-1].unfold(0, order, 1).flip(1)  # (T0 - order, order): the last value first
    table = torch.cat([torch.ones(len(past), 1, dtype=x.dtype), past], dim=1)
    found = torch.linalg.lstsq(table, x[order:, None], driver="gelsd").solution  # also for a series of period < order
    residual = x[order:] - (table @ found)[:, 0]
    std = (residual.square().sum() / (len(past) - order - 1)).sqrt()
    intercept, *weights = found[:, 0].tolist()
    return LinearAutoregression(intercept=intercept, weights=tuple(weights), std=std.item())


def _paths(mean: Callable, std: float, history: Tensor, least: int, steps: int, n: int, generator) -> Tensor:
    _check_counts(steps, n)
    _check_series("history", history, least=least, ndim=1)
    past = history.detach().cpu().double().expand(n, -1)
    for noise in torch.randn(steps, n, generator=generator, dtype=torch.float64):
        past = torch.cat([past, (mean(past) + std * noise)[:, None]], dim=1)
    return past[:, len(history) :]


# What a forecast is worth


def crps(samples: Tensor, value: Tensor | float) -> Tensor:
    """Return the continuous ranked probability score of samples: E abs(X - value) - E abs(X - X') / 2; less is better.

    In the units of the series: for a single sample it is the absolute error. The expectations are taken over the
    samples themselves, as if there were no other values; [CRPS] Sec. 4.2. Sorted, they take n log n operations.

    Args:
        samples: (n, ...), n draws of each value.
        value: (...), what came, or one number.
    Returns:
        (...), at least 0.
    Raises:
        ValueError: samples and value do not fit, or are not finite.
    """
    samples, value = _pair(samples, value)
    n = len(samples)
    rank = torch.arange(1, n + 1, dtype=samples.dtype, device=samples.device).view(-1, *[1] * value.ndim)
    apart = ((2 * rank - n - 1) * samples.sort(dim=0).values).sum(0) / n**2  # half the mean of |X - X'|
    return ((samples - value).abs().mean(0) - apart).clamp(min=0)  # rounding of equal samples could fall below


def inside(samples: Tensor, value: Tensor | float, level: float) -> Tensor:
    """Say whether values lie in the central interval that holds `level` of the samples: bool (...).

    Over many forecasts the share of True should be `level`: less is too sure of itself, more too cautious.

    Args:
        samples: (n, ...), n draws of each value.
        value: (...), what came, or one number.
        level: in (0, 1).
    Raises:
        ValueError: a level out of range; samples and value do not fit, or are not finite.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), such as 0.8, got {level}")
    samples, value = _pair(samples, value)
    low, high = samples.quantile(0.5 - level / 2, dim=0), samples.quantile(0.5 + level / 2, dim=0)
    return (low <= value) & (value <= high)


def _pair(samples: Tensor, value: Tensor | float) -> tuple[Tensor, Tensor]:
    value = torch.as_tensor(value, dtype=samples.dtype, device=samples.device)
    if samples.ndim < 1 or not len(samples) or samples.shape[1:] != value.shape:
        raise ValueError(
            f"samples must be (n, *shape of value) = (n, {', '.join(map(str, value.shape))}), got "
            f"{tuple(samples.shape)}; the draws come first"
        )
    if not (samples.isfinite().all() and value.isfinite().all()):
        raise ValueError("samples and value must be finite")
    return samples, value


def _check_series(name: str, x: Tensor, *, least: int, ndim: int) -> None:
    """Refuse a series of another shape, one that is too short, or not finite; the last axis is time."""
    shape = "(T,)" if ndim == 1 else "(B, T)"
    if x.ndim != ndim or x.shape[-1] < least or 0 in x.shape:
        raise ValueError(
            f"{name} must be {shape} with at least {least} value{'s' * (least > 1)}, got {tuple(x.shape)}; series of "
            "unequal lengths go one by one"
        )
    if not x.isfinite().all():
        *row, place = (~x.isfinite()).nonzero()[0].tolist()
        where = f"series {row[0]}, place {place}" if row else f"place {place}"
        value = x[(~x.isfinite())][0].item()
        raise ValueError(f"{name} must be finite, got {value} at {where}; fill the gap or cut the series there")


def _check_counts(steps: int, n: int) -> None:
    if steps < 1 or n < 1:
        raise ValueError(f"need steps >= 1 and n >= 1, got steps={steps}, n={n}")


def _check(cfg: ForecasterConfig) -> None:
    if cfg.cell not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(CELLS)}, got {cfg.cell!r}")
    if bad := {k: v for k in ("d_hidden", "n_layers") if (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
