"""Likelihoods of a continuous flow, by integrating the volume along with the state; and flows that are known exactly.

Sources: [CNF] Chen et al. 2018, arXiv:1806.07366, Theorem 1. [FFJORD] Grathwohl et al. 2019, arXiv:1810.01367.
         [HUT] Hutchinson 1989, Commun. Stat. Simul. Comput. 18(3), 1059-1076.
Shapes:  B batch, d numbers in a datum, n probes, K parts of a mixture; x is (B, ...).

Any field serves, whatever it was trained by; time runs from noise at 0 to data at 1, as in matching.py. Along a path of
dx/dt = u(x, t) the log-density falls at the rate of the divergence, the trace of the Jacobian du/dx ([CNF] Eq. 8):

    d/dt log p_t(x_t) = -tr du/dx.

A field must treat the examples of a batch apart: no batch statistics.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from genai_utils.flows.coupling import normal_log_prob
from genai_utils.flows.ode import Field, solve

VolumeState = tuple[float, Tensor, Tensor, int]  # time reached, x (B, ...), log_det (B,), evaluations so far
TRACES = ("exact", "hutchinson")
PROBES = ("rademacher", "gaussian")


def divergence(
    field: Field, x: Tensor, t: Tensor, probes: Tensor | None = None, *, differentiable: bool = False
) -> tuple[Tensor, Tensor]:
    """Return (u, tr du/dx): the velocity, of x's shape, and its divergence, (B,).

    Args:
        field: maps (x, t) to the velocity.
        x: (B, ...) states.
        t: (B,) times.
        probes: None for the exact trace, by d products of a row with the Jacobian; or (n, B, ...) random, as of
            `draw_probes`, for the mean of n estimates e du/dx e; [HUT], [FFJORD] Sec. 3.1.
        differentiable: whether a gradient can flow back through the result.
    Raises:
        ValueError: the field's output carries no gradient; probes of other shapes.
    """
    if probes is not None and (probes.ndim < 1 or probes.shape[1:] != x.shape or len(probes) < 1):
        raise ValueError(f"probes must be (n, *{tuple(x.shape)}), n at least 1, got {tuple(probes.shape)}")
    with torch.enable_grad():
        if not (differentiable and x.requires_grad):
            x = x.detach().requires_grad_()
        u = field(x, t)
        if not u.requires_grad:
            raise ValueError(
                "the field's output carries no gradient, so that its divergence cannot be known: let it compute "
                "outside no_grad and inference_mode (and write c + 0 * x for a constant c)"
            )
        if u.shape != x.shape:
            raise ValueError(f"the field must return x's shape {tuple(x.shape)}, got {tuple(u.shape)}")
        pairs = range(x[0].numel()) if probes is None else probes
        total, left = torch.zeros(len(x), dtype=u.dtype, device=u.device), len(pairs)
        for pair in pairs:
            left -= 1
            if probes is None:  # row `pair` of each example's Jacobian, and of that its own column
                row = _product(u.flatten(1)[:, pair].sum(), x, None, left > 0, differentiable)
                total = total + row.flatten(1)[:, pair]
            else:
                row = _product(u, x, pair.to(u.dtype), left > 0, differentiable)
                total = total + (row * pair).flatten(1).sum(1) / len(probes)
    return (u, total) if differentiable else (u.detach(), total)


def _product(u: Tensor, x: Tensor, weight: Tensor | None, more: bool, differentiable: bool) -> Tensor:
    """Return the gradient of sum(weight u) by x; zeros where u does not depend on x."""
    return torch.autograd.grad(
        u, x, weight, retain_graph=more or differentiable, create_graph=differentiable, materialize_grads=True
    )[0]


def draw_probes(x: Tensor, n: int = 1, kind: str = "rademacher", generator: torch.Generator | None = None) -> Tensor:
    """Return n probes for x, ``(n, *x.shape)``, independent with mean 0 and variance 1.

    "rademacher" probes are -1 or 1: of all such they have the least variance, and they are exact for a diagonal
    Jacobian [HUT]. "gaussian" ones are standard normal.

    Raises:
        ValueError: n is below 1, or an unknown kind.
    """
    if n < 1:
        raise ValueError(f"the number of probes must be at least 1, got {n}")
    if kind not in PROBES:
        raise ValueError(f"probe must be one of {', '.join(map(repr, PROBES))}, got {kind!r}")
    if kind == "gaussian":
        return torch.randn(n, *x.shape, generator=generator, device=x.device, dtype=x.dtype)
    bits = torch.randint(2, (n, *x.shape), generator=generator, device=x.device)
    return (2 * bits - 1).to(x.dtype)


def transport(
    field: Field,
    x: Tensor,
    times: Sequence[float] = (1.0, 0.0),
    *,
    trace: str = "exact",
    probe: str = "rademacher",
    probes: int = 1,
    method: str = "dopri5",
    rtol: float = 1e-5,
    atol: float = 1e-5,
    differentiable: bool = False,
    generator: torch.Generator | None = None,
) -> Iterator[VolumeState]:
    """Walk along the field, yielding (t, x, log_det, evaluations) on reaching each later time.

    log_det is the log-determinant, in nats, of the map from the state at times[0] to that at t: what a flow's
    `forward` gives for times (1, 0) and its `inverse` for (0, 1). "dopri5" holds both x and log_det to its tolerance.

    Args:
        field: maps (x, t) to the velocity; called with gradients enabled.
        x: (B, ...) the state at times[0].
        times: as for `solve`.
        trace: "exact" costs d products with the Jacobian at each evaluation; "hutchinson" costs `probes` and is
            unbiased for the log_det (under a fixed step; a step size that looks at the estimate adds a little bias).
        probe, probes: kind and number of random directions, drawn once, so that the path is of one smooth field
            [FFJORD, Sec. 3.1].
        method, rtol, atol: as for `solve`.
        differentiable: let gradients flow back through every step: memory grows with the evaluations.
        generator: draws the probes; on x's device.
    Raises:
        ValueError: unknown `trace` or `probe`, `probes` below 1, a field whose output carries no gradient; and as for
            `solve`.
        SolverDiverged: as for `solve`.
    """
    if trace not in TRACES:
        raise ValueError(f"trace must be one of {', '.join(map(repr, TRACES))}, got {trace!r}")
    if x.ndim < 2:
        raise ValueError(f"x must be (B, ...) with at least one number for each example, got {tuple(x.shape)}")
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    directions = draw_probes(x, probes, probe, generator) if trace == "hutchinson" else None
    shape, d = x.shape[1:], x[0].numel()

    def both(state: Tensor, t: Tensor) -> Tensor:  # (B, d + 1): x and log_det
        u, volume = divergence(field, state[:, :d].unflatten(1, shape), t, directions, differentiable=differentiable)
        return torch.cat([u.flatten(1), volume[:, None]], dim=1)

    state = torch.cat([x.flatten(1), x.new_zeros(len(x), 1)], dim=1)
    walk = solve(both, state, times, method=method, rtol=rtol, atol=atol, differentiable=differentiable)
    for t, state, evaluations in walk:
        yield t, state[:, :d].unflatten(1, shape), state[:, d], evaluations


def ode_log_prob(
    field: Field,
    x: Tensor,
    *,
    base: Callable[[Tensor], Tensor] | None = None,
    times: Sequence[float] = (1.0, 0.0),
    **how: Any,
) -> Tensor:
    """Return log p(x) in nats, (B,), of data x under the flow; [CNF] Eq. 8, integrated from data to noise.

    It is the density of continuous x: for 8-bit images in [-1, 1] dequantise x first, and give
    `bits_per_dim(-log_p, d, bin_width=2 / 256)` of genai_utils.metrics. With differentiable=True its mean is what a
    continuous flow is trained by without flow matching [FFJORD].

    Args:
        field: maps (x, t) to the velocity.
        x: (B, ...) data.
        base: log-density of the noise, (B, ...) to (B,) nats; None is the standard normal.
        times: from the data's time to the noise's; with a fixed-step `method` also the times between.
        how: trace, probe, probes, method, rtol, atol, differentiable, generator, as for `transport`.
    Raises:
        ValueError, SolverDiverged: as for `transport`.
    """
    *_, (_, z, log_det, _) = transport(field, x, times, **how)
    return (base or normal_log_prob)(z) + log_det


class MixtureField:
    """The marginal velocity of flow matching, in closed form: u = E[end - start | x_t = x] for a mixture as data.

    Data are K Gaussians with equal deviation along all axes; noise is one such Gaussian, independent of the data. It
    is what a network trained by `flow_matching_loss` tends to. K = 1 is the field between two Gaussians; deviation 0
    is a finite data set, whose field is defined for t < 1 only and leads back to the data themselves.

    Within part k all is Gaussian: x_t has mean m = (1 - t) a + t m_k and variance v = (1 - t)^2 s^2 + t^2 r_k^2, and
    u_k = m_k - a + (t r_k^2 - (1 - t) s^2) / v (x - m); u is their mean, weighted by how likely each part is at x_t.

    Args:
        means: (K, ...) the centres m_k, floating point.
        stds: the deviations r_k: one number, or (K,); at least 0.
        weights: (K,) above 0, here scaled to sum 1; None are all alike.
        start_mean: a, a number or of the shape of one centre.
        start_std: s, above 0.
    Raises:
        ValueError: shapes that do not fit, or a deviation or weight out of range.
    Source: Lipman et al. 2023, arXiv:2210.02747, Eq. 8, for these distributions.
    """

    def __init__(
        self,
        means: Tensor,
        stds: float | Tensor = 0.0,
        *,
        weights: Tensor | None = None,
        start_mean: float | Tensor = 0.0,
        start_std: float = 1.0,
    ) -> None:
        if means.ndim < 2 or len(means) < 1 or not means.is_floating_point():
            raise ValueError(f"means must be (K, ...) floating point, got {tuple(means.shape)} {means.dtype}")
        self.shape, self.means, options = means.shape[1:], means.flatten(1), {"device": means.device}
        K, options["dtype"] = len(means), means.dtype
        stds = torch.as_tensor(stds, **options)
        weights = torch.ones(K, **options) if weights is None else weights.to(**options)
        start_mean = torch.as_tensor(start_mean, **options)
        if stds.shape not in ((), (K,)) or weights.shape != (K,) or start_mean.shape not in ((), self.shape):
            raise ValueError(
                f"stds must be a number or ({K},), weights ({K},) and start_mean a number or {tuple(self.shape)}; "
                f"got {tuple(stds.shape)}, {tuple(weights.shape)} and {tuple(start_mean.shape)}"
            )
        if not (stds >= 0).all() or not (weights > 0).all() or not start_std > 0:
            raise ValueError(
                f"need stds >= 0, weights > 0 and start_std > 0, got at least {stds.min():g}, {weights.min():g} and "
                f"{start_std:g}"
            )
        self.stds, self.log_weights = stds.expand(K), (weights / weights.sum()).log()
        self.start_mean, self.start_std = start_mean.expand(self.shape).flatten(), float(start_std)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the velocity at x (B, ...) and t (B,) in [0, 1], like x. Memory: B K d numbers."""
        log_parts, variances, t = self._parts(x, t)
        share = log_parts.softmax(1)  # (B, K), how likely each part is
        slope = (t * self.stds.square() - (1 - t) * self.start_std**2) / variances
        centred = x.flatten(1) - (1 - t) * self.start_mean
        drift = (share - t * share * slope) @ self.means - self.start_mean
        return (drift + (share * slope).sum(1, keepdim=True) * centred).unflatten(1, self.shape)

    def log_prob(self, x: Tensor, t: Tensor) -> Tensor:
        """Return log p_t(x) in nats, (B,): the density of x_t; of the noise at t = 0, of the data at t = 1."""
        return self._parts(x, t)[0].logsumexp(1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return n independent (start, end), each (n, ...): noise and data; the generator is on the means' device.

        Raises:
            ValueError: n is below 1.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        k = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        options = {"generator": generator, "device": self.means.device, "dtype": self.means.dtype}
        start, end = (torch.randn(n, self.means.shape[1], **options) for _ in range(2))
        start, end = self.start_mean + self.start_std * start, self.means[k] + self.stds[k, None] * end
        return start.unflatten(1, self.shape), end.unflatten(1, self.shape)

    def _parts(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the log of weight times density of each part at x_t, (B, K), the variances, (B, K), and t, (B, 1)."""
        if x.shape[1:] != self.shape or t.shape != x.shape[:1]:
            raise ValueError(f"need x (B, *{tuple(self.shape)}) and t (B,), got {tuple(x.shape)} and {tuple(t.shape)}")
        t = t[:, None]
        variances = (1 - t).square() * self.start_std**2 + t.square() * self.stds.square()  # (B, K)
        centred = x.flatten(1) - (1 - t) * self.start_mean
        away = (centred[:, None] - t[:, :, None] * self.means).square().sum(2)  # (B, K)
        d = self.means.shape[1]
        return self.log_weights - 0.5 * (away / variances + d * (2 * math.pi * variances).log()), variances, t
