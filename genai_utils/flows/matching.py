"""Flow matching: learn the velocity that carries noise to data, from straight lines between pairs of points.

Sources: [FM] Lipman et al. 2023, arXiv:2210.02747. [RF] Liu, Gong & Liu 2023, arXiv:2209.03003 (rectified flow).
         [OT] Tong et al. 2024, arXiv:2302.00482; Pooladian et al. 2023, arXiv:2304.14772 (transport within a batch).
         [SD3] Esser et al. 2024, arXiv:2403.03206 (times drawn logit-normally).
Shapes:  B batch, N pairs, d numbers in a datum; x is (B, ...), t is (B,) in [0, 1].

Time runs as in [FM] and [RF], t = 0 noise and t = 1 data. What they call x_0 and x_1 is `start` and `end` here, since
x0 is clean data in the whole book:

    x_t = (1 - t) start + t end        velocity = end - start        (sigma_min of [FM] is 0)

diffusers' flow-match schedulers have sigma = 1 - t, and their models give start - end, minus our velocity.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from genai_utils.flows.ode import Field, solve

COUPLINGS = ("independent", "optimal")
TIMES = ("uniform", "logit-normal")
PREDICTIONS = ("eps", "x0", "v", "score")


@dataclass(frozen=True, kw_only=True)
class VelocityConfig:
    d: int = 2  # numbers in a datum
    width: int = 128  # of the hidden layers
    n_layers: int = 3  # hidden layers, at least 1
    n_freqs: int = 4  # the network sees t and the sine and cosine of pi t, 2 pi t, ... up to 2^(n_freqs - 1) pi t


PRESETS = {"toys": VelocityConfig(), "line": VelocityConfig(d=1, width=64, n_layers=2)}


class VelocityMLP(nn.Module):
    """u = net(x, t): a velocity field for points, SiLU between linear layers."""

    Config = VelocityConfig

    def __init__(self, cfg: VelocityConfig) -> None:
        super().__init__()
        if bad := {k: v for k in ("d", "width", "n_layers") if (v := getattr(cfg, k)) < 1}:
            raise ValueError(f"sizes must be at least 1, got {bad}")
        if cfg.n_freqs < 0:
            raise ValueError(f"n_freqs must be at least 0, got {cfg.n_freqs}")
        self.cfg = cfg
        widths = [cfg.d + 1 + 2 * cfg.n_freqs, *[cfg.width] * cfg.n_layers]
        hidden = [part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), nn.SiLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(cfg.width, cfg.d))
        freqs = math.pi * 2.0 ** torch.arange(cfg.n_freqs)
        self.register_buffer("freqs", freqs, persistent=False)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the velocity at points x (B, d) and times t (B,), (B, d) in float32 or better.

        Raises:
            ValueError: x is not (B, d), or t not (B,).
        """
        if x.shape[1:] != (self.cfg.d,) or t.shape != x.shape[:1]:
            raise ValueError(
                f"need x (B, {self.cfg.d}) and t (B,), as d={self.cfg.d} in the config; "
                f"got {tuple(x.shape)} and {tuple(t.shape)}"
            )
        angles = t[:, None] * self.freqs
        return _full(self.layers(torch.cat([x, t[:, None], angles.sin(), angles.cos()], dim=1)))

    def sample(
        self,
        n: int,
        *,
        times: Sequence[float] | None = None,
        method: str = "heun",
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return n points, (n, d): standard normal noise times `temperature`, carried from t = 0 to 1.

        Args:
            times: as for `solve`; None is `flow_times(20)`.
            method: as for `solve`.
            temperature: above 0; the density of the result is the model's only at 1.
            generator: draws the noise; on the device of the weights.
        Raises:
            ValueError: n below 1, temperature not above 0; as for `solve`.
        """
        if n < 1 or not temperature > 0:
            raise ValueError(f"need n >= 1 and temperature > 0, got n={n}, temperature={temperature}")
        weight = self.layers[0].weight
        start = torch.randn(n, self.cfg.d, generator=generator, device=weight.device, dtype=weight.dtype)
        *_, (_, x, _) = solve(self, temperature * start, flow_times(20) if times is None else times, method=method)
        return x


def velocity_field(
    model: Callable[..., Tensor], *, labels: Tensor | None = None, clock: Callable[[Tensor], Tensor] | None = None
) -> Field:
    """Return field(x, t), the only thing a solver needs to know of a network.

    Args:
        model: maps (x, time) or (x, time, labels) to the velocity; in evaluation mode.
        labels: (B,) classes to ask for, if the network takes them.
        clock: maps t in [0, 1] to what the network calls time, such as `lambda t: 1000 * (1 - t)` for a U-Net whose
            embedding of time was made for the timesteps of diffusion. Give the loss the same.
    """

    def field(x: Tensor, t: Tensor) -> Tensor:
        time = t if clock is None else clock(t)
        return model(x, time) if labels is None else model(x, time, labels)

    return field


# The loss


def interpolate(start: Tensor, end: Tensor, t: Tensor) -> Tensor:
    """Return x_t = (1 - t) start + t end, of their shape (B, ...); t is (B,) in [0, 1]; [RF] Eq. 1."""
    t = _like(t, start)
    return (1 - t) * start + t * end


def pair_loss(
    model: Callable[..., Tensor],
    pairs: tuple[Tensor, ...],
    t: Tensor,
    *,
    clock: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean squared error of the velocity on given pairs at given times, per number; [FM] Eq. 23, [RF] Eq. 1.

    Args:
        model: maps (x, time) or (x, time, labels) to the velocity.
        pairs: (start, end) or (start, end, labels): noise and data, each (B, ...), and (B,) classes or None.
        t: (B,) times in [0, 1].
        clock: as for `velocity_field`.
    Returns:
        The scalar loss, and logs: `mse`, the same, and `cost`, the mean square of end - start per number: what
        transporting along the pairs costs, and the loss of a model that says 0.
    Raises:
        ValueError: the shapes of a pair differ, t is not (B,), or the model returns another shape.
    """
    start, end, *labels = pairs
    if start.shape != end.shape or t.shape != start.shape[:1]:
        raise ValueError(
            f"start and end must have one shape (B, ...), and t (B,); got {tuple(start.shape)}, {tuple(end.shape)} "
            f"and {tuple(t.shape)}"
        )
    target = end - start
    labels = labels[0] if labels else None
    velocity = velocity_field(model, labels=labels, clock=clock)(interpolate(start, end, t), t)
    if velocity.shape != target.shape:
        raise ValueError(f"the model must return x's shape {tuple(target.shape)}, got {tuple(velocity.shape)}")
    mse = (_full(velocity) - _full(target)).square().mean()
    return mse, {"mse": mse, "cost": _full(target).square().mean()}


def flow_matching_loss(
    model: Callable[..., Tensor],
    batch: Tensor | tuple[Tensor, Tensor | None],
    *,
    coupling: str = "independent",
    times: str = "uniform",
    label_drop: float = 0.0,
    clock: Callable[[Tensor], Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Conditional flow matching from standard normal noise, mean squared error per number; [FM] Eq. 23.

    Args:
        model: maps (x_t, time) or (x_t, time, labels) to the velocity.
        batch: x, (B, ...) data, images in [-1, 1]; or (x, labels), where labels are (B,) int64 or None.
        coupling: "independent" pairs data with noise as they come; "optimal" deals the same noise to the batch so that
            the squared distances are least [OT]. With labels the noise then tells something of the class.
        times: "uniform" in [0, 1), or "logit-normal", the sigmoid of a standard normal: more in the middle [SD3].
        label_drop: probability in [0, 1) that a label is replaced by the last class, which then means "any".
        clock: as for `velocity_field`.
        generator: draws noise, times and dropped labels; on x's device.
    Returns:
        The scalar loss, and the logs of `pair_loss`.
    Raises:
        ValueError: an unknown coupling or law of times, label_drop out of range; as for `pair_loss`.
    """
    if coupling not in COUPLINGS:
        raise ValueError(f"coupling must be one of {', '.join(map(repr, COUPLINGS))}, got {coupling!r}")
    if not 0 <= label_drop < 1:
        raise ValueError(f"label_drop must be in [0, 1), got {label_drop}")
    end, labels = (batch, None) if isinstance(batch, Tensor) else batch
    t = draw_times(len(end), times, like=end, generator=generator)
    start = torch.randn(end.shape, device=end.device, dtype=end.dtype, generator=generator)
    if coupling == "optimal":
        start = start[optimal_coupling(start, end)]
    if labels is not None and label_drop:
        drop = torch.rand(len(end), device=end.device, generator=generator) < label_drop
        labels = torch.where(drop, model.cfg.n_classes - 1, labels)
    return pair_loss(model, (start, end, labels), t, clock=clock)


def reflow_loss(
    model: Callable[..., Tensor],
    pairs: tuple[Tensor, ...],
    *,
    times: str = "uniform",
    clock: Callable[[Tensor], Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Flow matching on fixed pairs, such as those of `reflow_pairs`; [RF] Eq. 1.

    Args:
        pairs: (start, end) or (start, end, labels), as for `pair_loss`.
        model, times, clock, generator: as for `flow_matching_loss`.
    Returns:
        The scalar loss, and the logs of `pair_loss`.
    Raises:
        ValueError: an unknown law of times; as for `pair_loss`.
    """
    return pair_loss(model, pairs, draw_times(len(pairs[0]), times, like=pairs[0], generator=generator), clock=clock)


def draw_times(n: int, kind: str = "uniform", *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return t, (n,) in [0, 1], of the dtype and device of `like`; kinds as in `flow_matching_loss`.

    Raises:
        ValueError: an unknown kind.
    """
    options = {"device": like.device, "dtype": like.dtype, "generator": generator}
    if kind == "uniform":
        return torch.rand(n, **options)
    if kind == "logit-normal":
        return torch.randn(n, **options).sigmoid()
    raise ValueError(f"times must be one of {', '.join(map(repr, TIMES))}, got {kind!r}")


@torch.no_grad()
def optimal_coupling(start: Tensor, end: Tensor) -> Tensor:
    """Return `order`, (B,) int64, such that the pairs (start[order], end) have the least sum of squared distances.

    Solved exactly, in B^3 time at worst, on the CPU: a GPU waits. The cost is that of the batch: a larger batch comes
    nearer to the transport between the distributions; [OT].

    Raises:
        ValueError: the shapes differ, or a value is not finite.
    """
    if start.shape != end.shape:
        raise ValueError(f"start and end must have one shape (B, ...), got {tuple(start.shape)}, {tuple(end.shape)}")
    with torch.autocast(start.device.type, enabled=False):  # what of the distances changes with the pairing, negated
        gain = (_full(end).flatten(1) @ _full(start).flatten(1).T).cpu()
    if not torch.isfinite(gain).all():
        raise ValueError("start and end must be finite to be paired: look for NaN or infinity in the batch")
    return torch.from_numpy(linear_sum_assignment(gain.numpy(), maximize=True)[1]).to(start.device)


# Sampling times, reflow, straightness


def flow_times(steps: int, *, shift: float = 1.0) -> list[float]:
    """Return steps + 1 times from 0 to 1, evenly spaced and then shifted as in [SD3] for large images.

    With sigma = 1 - t the shift is sigma -> shift sigma / (1 + (shift - 1) sigma); above 1 it spends more steps near
    the noise.

    Raises:
        ValueError: steps below 1, or shift not above 0.
    """
    if steps < 1 or not 0 < shift < math.inf:
        raise ValueError(f"need steps >= 1 and shift > 0, got steps={steps}, shift={shift}")
    sigmas = [1 - i / steps for i in range(1, steps)]
    return [0.0, *(1 - shift * s / (1 + (shift - 1) * s) for s in sigmas), 1.0]


def reflow_pairs(
    field: Callable[..., Tensor],
    start: Tensor,
    times: Sequence[float],
    *,
    labels: Tensor | None = None,
    method: str = "heun",
    batch: int = 512,
) -> tuple[Tensor, ...]:
    """Return (start, end), or (start, end, labels): noise and what the flow makes of it, (N, ...) each; [RF].

    Args:
        field: maps (x, t), or (x, t, labels) where labels are given, to the velocity.
        start: (N, ...) noise.
        times, method: as for `solve`, from 0 to 1.
        labels: (N,) classes, for a field that takes them.
        batch: how many at a time.
    Raises:
        ValueError: batch below 1, labels of another number; as for `solve`.
    """
    if batch < 1 or (labels is not None and len(labels) != len(start)):
        raise ValueError(f"need batch >= 1 and a label for each of {len(start)}, got batch={batch}, labels={labels}")
    end = torch.empty_like(start)
    for i in range(0, len(start), batch):
        own = field if labels is None else velocity_field(field, labels=labels[i : i + batch])
        *_, (_, x, _) = solve(own, start[i : i + batch], times, method=method)
        end[i : i + batch] = x
    return (start, end) if labels is None else (start, end, labels)


def straightness(states: Sequence[Tensor], times: Sequence[float]) -> Tensor:
    """Return how far each path is from a straight line at constant speed, (B,), in squared units of x; S of [RF].

    The integral over time of the squared distance between the velocity and the mean velocity, with the velocity taken
    from one state to the next: 0 exactly for a path that one Euler step can follow. Steps too long see less bending.

    Args:
        states: the states at each of `times`, the start included, each (B, ...).
        times: strictly increasing or strictly decreasing; as many as states, at least two.
    Raises:
        ValueError: numbers that differ, too few, or times that turn back.
    """
    times = [float(t) for t in times]
    rises = [b > a for a, b in zip(times, times[1:])]
    if len(states) != len(times) or not rises or len(set(rises)) > 1 or len(set(times)) < len(times):
        raise ValueError(
            "need a state for each of two or more times, strictly increasing or strictly decreasing, got "
            f"{len(states)} for {times}"
        )
    span = times[-1] - times[0]
    mean = (states[-1] - states[0]) / span
    total = torch.zeros(len(mean), dtype=mean.dtype, device=mean.device)
    for x, x_next, t, t_next in zip(states, states[1:], times, times[1:]):
        bend = (x_next - x) / (t_next - t) - mean
        total += (t_next - t) / span * bend.square().flatten(1).sum(1)
    return total


# What diffusion would call it


def split_velocity(velocity: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return (x0_hat, eps_hat), the data and the noise that meet at x_t: x + (1 - t) u and x - t u; each like x.

    Estimates of both, for noise that is independent of the data; on the straight line of a pair they are exact.
    """
    t = _like(t, x)
    return x + (1 - t) * velocity, x - t * velocity


def to_velocity(out: Tensor, x: Tensor, t: Tensor, predict: str) -> Tensor:
    """Return the velocity, like x, of a prediction of diffusion at x_t = t x0 + (1 - t) eps.

    Args:
        out: the prediction: "eps" or "score", the gradient of the log-density of x_t (both need t > 0), "x0" (needs
            t < 1), or "v" = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0 at the alpha_bar of `matching_level`.
        x: (B, ...) x_t of flow matching, not scaled to unit variance.
        t: (B,) in [0, 1].
        predict: which of these it is.
    Raises:
        ValueError: predict is none of these.
    """
    t = _like(t, x)
    if predict == "eps":
        return (x - out) / t
    if predict == "score":
        return (x + (1 - t) * out) / t
    if predict == "x0":
        return (out - x) / (1 - t)
    if predict == "v":  # x0 = t r^2 x - (1 - t) r v and eps = (1 - t) r^2 x + t r v, with r = 1 / sqrt(t^2 + (1 - t)^2)
        r = (t.square() + (1 - t).square()).rsqrt()
        return (2 * t - 1) * r.square() * x - r * out
    raise ValueError(f"predict must be one of {', '.join(map(repr, PREDICTIONS))}, got {predict!r}")


def matching_level(t: Tensor) -> tuple[Tensor, Tensor]:
    """Return (alpha_bar, scale) of diffusion at time t, like t: its x_t is `scale` times that of flow matching.

    Both have the signal-to-noise ratio t^2 / (1 - t)^2, and diffusion keeps signal + noise power at 1.
    """
    power = t.square() + (1 - t).square()
    return t.square() / power, power.rsqrt()


def matching_time(alpha_bar: Tensor) -> Tensor:
    """Return t at which flow matching has diffusion's share of signal power: the inverse of `matching_level`."""
    signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    return signal / (signal + noise)


def _full(x: Tensor) -> Tensor:
    """Return x in float32 or better."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _like(t: Tensor, x: Tensor) -> Tensor:
    """Return t, (B,), as (B, 1, ...) in x's dtype."""
    return t.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
