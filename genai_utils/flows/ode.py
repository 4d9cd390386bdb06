"""Solvers of dx/dt = u(x, t): Euler, midpoint, Heun, Runge-Kutta 4, and Dormand-Prince 5(4) with its own step size.

Sources: [HNW] Hairer, Norsett & Wanner 1993, Solving Ordinary Differential Equations I, 2nd edition, Sec. II.1-II.6.
         [DP] Dormand & Prince 1980, J. Comput. Appl. Math. 6(1), 19-26.
Shapes:  B batch; x is (B, ...).

A solver knows times and a `field`, never a network. `solve` is a generator like the samplers of diffusion: it yields
(t, x, evaluations) on reaching each time, so that a film takes every frame and `*_, (_, x, n) = solve(...)` keeps the
last. A field maps (x, t) to the velocity, of x's shape, where t is (B,) in x's dtype, the same number B times.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]  # (x, t) -> dx/dt; x (B, ...), t (B,)
State = tuple[float, Tensor, int]  # time reached, x there (B, ...), evaluations of the field so far


class SolverDiverged(RuntimeError):
    """No step could be made: values that are not finite, or steps too small. `t`: where; `evaluations`: so far."""

    def __init__(self, message: str, t: float, evaluations: int) -> None:
        super().__init__(message)
        self.t, self.evaluations = t, evaluations


def solve(
    field: Field,
    x: Tensor,
    times: Sequence[float],
    *,
    method: str = "heun",
    rtol: float = 1e-5,
    atol: float = 1e-5,
    max_steps: int = 10_000,
    differentiable: bool = False,
) -> Iterator[State]:
    """Walk along the field from times[0] to times[-1], yielding (t, x, evaluations) on reaching each later time.

    The state is float32 or better. With "dopri5" the times between the ends cost nothing: it chooses its own steps and
    interpolates, to fourth order; the others make one step from each time to the next. "dopri5" asks the device once
    per step whether it was good enough; the others never wait for a GPU before their last step.

    Args:
        field: maps (x, t) to the velocity, of x's shape; t is (B,), in the units of `times`.
        x: (B, ...) the state at times[0].
        times: at least two, strictly increasing or strictly decreasing.
        method: "euler" (1 evaluation a step, order 1), "midpoint", "heun" (2, order 2), "rk4" (4, order 4) or "dopri5"
            (6, order 5).
        rtol, atol: "dopri5" only; the estimated error of one step is at most atol + rtol times the size of x, as a
            root mean square over the numbers of one example, in the worst example of the batch.
        max_steps: "dopri5" only; steps tried before it gives up.
        differentiable: let gradients flow back through every step; step sizes count as constants.
    Raises:
        ValueError: bad `times`, `method` or tolerance; a field of another shape (all raised at the first step).
        SolverDiverged: a value is not finite, or the steps became too small or too many.
    Source: [HNW] Sec. II.1 (fixed steps), II.4 (step size), II.6 (interpolation); [DP] Table 2.
    """
    walk = _walk if differentiable else torch.no_grad()(_walk)
    return walk(field, x, times, method, rtol, atol, max_steps)


def _walk(
    field: Field, x: Tensor, times: Sequence[float], method: str, rtol: float, atol: float, max_steps: int
) -> Iterator[State]:
    times = [float(t) for t in times]
    rises = [b > a for a, b in zip(times, times[1:])]
    if not rises or not all(math.isfinite(t) for t in times) or len(set(rises)) > 1 or len(set(times)) < len(times):
        raise ValueError(f"times must be two or more, strictly increasing or strictly decreasing, got {times}")
    if x.ndim < 1 or len(x) < 1 or not x.is_floating_point():
        raise ValueError(f"x must be (B, ...) floating point, B at least 1; got {tuple(x.shape)} {x.dtype}")
    if method != "dopri5" and method not in STEPS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}")
    if method == "dopri5" and not (0 < rtol < 1 and 0 < atol < math.inf and max_steps >= 1):
        raise ValueError(
            f"need 0 < rtol < 1, atol > 0 and max_steps >= 1, got rtol={rtol}, atol={atol}, max_steps={max_steps}; "
            "1e-5 suits float32, 1e-9 float64"
        )
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    counted = _Counted(field)
    if method == "dopri5":
        yield from _adaptive(counted, x, times, rtol, atol, max_steps)
        return
    step, cpu = STEPS[method], x.device.type == "cpu"
    for t, t_next in zip(times, times[1:]):
        x = step(counted, x, t, t_next - t)
        if (cpu or t_next == times[-1]) and not torch.isfinite(x).all():
            raise SolverDiverged(
                f"{method}: x is not finite at t={t_next:g}, {counted.evaluations} evaluations on: the field explodes "
                f"or is not defined there; take smaller steps than {abs(t_next - t):.3g}, or stop before that time",
                t_next, counted.evaluations,
            )  # fmt: skip
        yield t_next, x, counted.evaluations


class _Counted:
    """A field that takes a number for t, counts its evaluations and checks their shape."""

    def __init__(self, field: Field) -> None:
        self.field, self.evaluations = field, 0

    def __call__(self, x: Tensor, t: float) -> Tensor:
        self.evaluations += 1
        u = self.field(x, torch.full((len(x),), t, device=x.device, dtype=x.dtype))
        if u.shape != x.shape:
            raise ValueError(f"the field must return x's shape {tuple(x.shape)}, got {tuple(u.shape)}")
        return u.to(x.dtype)


# One step of length h from (x, t); h is negative on the way back


def euler_step(field: Callable[[Tensor, float], Tensor], x: Tensor, t: float, h: float) -> Tensor:
    """Return x + h u(x, t)."""
    return torch.add(x, field(x, t), alpha=h)


def midpoint_step(field: Callable[[Tensor, float], Tensor], x: Tensor, t: float, h: float) -> Tensor:
    """Return x + h u at the middle of an Euler step; [HNW] Sec. II.1, Runge's method."""
    middle = torch.add(x, field(x, t), alpha=h / 2)
    return torch.add(x, field(middle, t + h / 2), alpha=h)


def heun_step(field: Callable[[Tensor, float], Tensor], x: Tensor, t: float, h: float) -> Tensor:
    """Return x + h times the mean of u at both ends of an Euler step: the trapezoidal rule, made explicit."""
    k1 = field(x, t)
    k2 = field(torch.add(x, k1, alpha=h), t + h)
    return torch.add(x, k1 + k2, alpha=h / 2)


def rk4_step(field: Callable[[Tensor, float], Tensor], x: Tensor, t: float, h: float) -> Tensor:
    """Return the classical Runge-Kutta step, Simpson's rule made explicit; [HNW] Table II.1.2."""
    k1 = field(x, t)
    k2 = field(torch.add(x, k1, alpha=h / 2), t + h / 2)
    k3 = field(torch.add(x, k2, alpha=h / 2), t + h / 2)
    k4 = field(torch.add(x, k3, alpha=h), t + h)
    return torch.add(x, k1 + 2 * (k2 + k3) + k4, alpha=h / 6)


STEPS = {"euler": euler_step, "midpoint": midpoint_step, "heun": heun_step, "rk4": rk4_step}
METHODS = (*STEPS, "dopri5")

# Dormand & Prince's coefficients; [DP] Table 2, [HNW] Table II.5.2

C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0)
A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
)
A_LAST = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)  # the step of order 5
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)  # that, less the one of order 4
DENSE = (
    -12715105075 / 11282082432, 0.0, 87487479700 / 32700410799, -10690763975 / 1880347072,
    701980252875 / 199316789632, -1453857185 / 822651844, 69997945 / 29380423,
)  # fmt: skip


def dormand_prince_step(
    field: Callable[[Tensor, float], Tensor], x: Tensor, t: float, h: float, k1: Tensor
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Return (x after the step, the 7 slopes, the estimated error): order 5, with 6 evaluations.

    Args:
        k1: the field at (x, t). It is the last slope of the step before: the first is the same as the last.
    """
    ks = [k1]
    for c, row in zip(C, A):
        ks.append(field(_along(x, h, row, ks), t + c * h))
    x_next = _along(x, h, A_LAST, ks)
    ks.append(field(x_next, t + h))
    return x_next, ks, _along(torch.zeros_like(x), h, ERROR, ks)


def interpolate_step(x: Tensor, x_next: Tensor, ks: list[Tensor], h: float, share: float) -> Tensor:
    """Return x after that share, in [0, 1], of a Dormand-Prince step: order 4, no evaluation; [HNW] Sec. II.6."""
    change = x_next - x
    bend = h * ks[0] - change
    other = change - h * ks[-1] - bend + (1 - share) * _along(torch.zeros_like(x), h, DENSE, ks)
    return x + share * (change + (1 - share) * (bend + share * other))


def _along(x: Tensor, h: float, weights: Sequence[float], ks: list[Tensor]) -> Tensor:
    """Return x + h sum of weights times slopes, without the zeros."""
    for weight, k in zip(weights, ks):
        if weight:
            x = torch.add(x, k, alpha=h * weight)
    return x


def _adaptive(
    field: _Counted, x: Tensor, times: list[float], rtol: float, atol: float, max_steps: int
) -> Iterator[State]:
    """Dormand-Prince with the step size of [HNW] Sec. II.4: safety 0.9, factors in [0.2, 10]."""
    t, end = times[0], times[-1]
    sign = 1.0 if end > t else -1.0
    k1 = field(x, t)
    size, wanted, shrunk = _first_step(field, x, t, end, k1, rtol, atol), 1, False
    for _ in range(max_steps):
        last = size >= abs(end - t)
        t_next = end if last else t + sign * size
        h = t_next - t
        x_next, ks, error = dormand_prince_step(field, x, t, h, k1)
        ratio = _error_ratio(error, x, x_next, rtol, atol)
        if ratio < 1:
            while wanted < len(times) and sign * times[wanted] <= sign * t_next:
                share = (times[wanted] - t) / h
                yield (
                    times[wanted],
                    x_next if share == 1 else interpolate_step(x, x_next, ks, h, share),
                    field.evaluations,
                )
                wanted += 1
            if last:
                return
            grow = 10.0 if ratio == 0 else min(10.0, 0.9 * ratio**-0.2)
            size *= min(1.0, grow) if shrunk else grow
            t, x, k1, shrunk = t_next, x_next, ks[-1], False
            continue
        size, shrunk = abs(h) * (max(0.2, 0.9 * ratio**-0.2) if math.isfinite(ratio) else 0.2), True
        if size < 10 * torch.finfo(x.dtype).eps * max(abs(t), abs(end - times[0])):
            why = "its error stays above the tolerance" if math.isfinite(ratio) else "values are not finite"
            raise SolverDiverged(
                f"dopri5: the step at t={t:g} fell to {size:.1e}, {field.evaluations} evaluations on, and {why}: the "
                f"field explodes or jumps there; stop before that time, or raise rtol={rtol:g} and atol={atol:g}",
                t, field.evaluations,
            )  # fmt: skip
    raise SolverDiverged(
        f"dopri5: t={t:g} after max_steps={max_steps} steps, on the way to {end:g}: the field is stiff, or the "
        f"tolerances rtol={rtol:g}, atol={atol:g} are below what {x.dtype} can resolve; raise them or max_steps",
        t, field.evaluations,
    )  # fmt: skip


def _rms(x: Tensor) -> Tensor:
    """Return the root mean square over each example's numbers, in the worst example; a scalar."""
    return x.detach().reshape(len(x), -1).square().mean(1).sqrt().max()


def _error_ratio(error: Tensor, x: Tensor, x_next: Tensor, rtol: float, atol: float) -> float:
    """Return the error in units of what is allowed; infinite where a value is not finite; [HNW] Sec. II.4."""
    allowed = atol + rtol * torch.maximum(x.detach().abs(), x_next.detach().abs())
    ratio = _rms(error.detach() / allowed)
    bad = ~torch.isfinite(x_next.detach()).all() | ratio.isnan()
    return ratio.masked_fill(bad, math.inf).item()


def _first_step(field: _Counted, x: Tensor, t: float, end: float, k1: Tensor, rtol: float, atol: float) -> float:
    """Return a length for the first step, from the field and its slope at the start; [HNW] Sec. II.4. One evaluation.

    Raises:
        SolverDiverged: the field is not finite at the start.
    """
    length, sign = abs(end - t), 1.0 if end > t else -1.0
    allowed = atol + rtol * x.detach().abs()
    d0, d1 = torch.stack([_rms(x / allowed), _rms(k1 / allowed)]).tolist()
    if not (math.isfinite(d0) and math.isfinite(d1)):
        raise SolverDiverged(
            f"dopri5: x or the field is not finite at the start, t={t:g}: start where it is defined", t,
            field.evaluations,
        )  # fmt: skip
    h0 = min(length, 1e-6 if min(d0, d1) < 1e-5 else 0.01 * d0 / d1)
    with torch.no_grad():
        k2 = field(torch.add(x, k1, alpha=sign * h0), t + sign * h0)
    d2 = _rms((k2 - k1) / allowed).item() / h0
    steepest = max(d1, d2)
    h1 = max(1e-6, 1e-3 * h0) if steepest <= 1e-15 else (0.01 / steepest) ** 0.2
    smallest = 10 * torch.finfo(x.dtype).eps * max(abs(t), length)
    return max(min(100 * h0, h1 if math.isfinite(h1) else h0, length), min(smallest, length))
