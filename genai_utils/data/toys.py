"""Toys: densities in the plane that can be sampled and whose log-density is known exactly, in nats.

Sources: the shapes are folklore (Grathwohl et al. 2019, arXiv:1810.01367, draws most of them). Ours are constructed so
         that the density is exact: mixtures of Gaussians, a uniform board, and a warp that preserves area.
Shapes:  B batch, K components of a mixture. All densities live within about [-4, 4] on both axes.
"""

import math

import torch
from torch import Tensor

from genai_utils.data.sets import PointSet


class Mixture:
    """K Gaussians of equal weight and equal standard deviations along two axes, which each turns by its own angle."""

    def __init__(self, means: Tensor, stds: tuple[float, float], angles: Tensor | None = None) -> None:
        self.means = means.double()  # (K, 2)
        self.stds = stds  # along a component's own two axes
        self.angles = None if angles is None else angles.double()  # (K,), in radians, anticlockwise

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x), (B,), of x (B, 2)."""
        means = self.means.to(x.device, x.dtype)
        u, v = x[:, :1] - means[:, 0], x[:, 1:] - means[:, 1]  # (B, K) each
        if self.angles is not None:
            c, s = (w.to(x.device, x.dtype) for w in (self.angles.cos(), self.angles.sin()))
            u, v = c * u + s * v, c * v - s * u
        a, b = self.stds
        log_peak = -math.log(2 * math.pi * a * b * len(means))
        return torch.logsumexp(log_peak - u.square() / (2 * a**2) - v.square() / (2 * b**2), dim=1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return n points, (n, 2) float64."""
        k = torch.randint(len(self.means), (n,), generator=generator)
        own = torch.tensor(self.stds, dtype=torch.float64) * torch.randn(n, 2, generator=generator, dtype=torch.float64)
        return self.means[k] + (own if self.angles is None else rotate(own, self.angles[k]))


class Pinwheel:
    """A mixture whose plane is turned by an angle that grows with the radius: x = R(rate |y|) y, y from the mixture.

    Such a turn keeps every circle in place and preserves area: its Jacobian determinant is 1, so p(x) = p_mixture(y).
    """

    def __init__(self, mixture: Mixture, rate: float) -> None:
        self.mixture, self.rate = mixture, rate

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x), (B,), of x (B, 2)."""
        return self.mixture.log_prob(rotate(x, -self.rate * radius(x)))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return n points, (n, 2) float64."""
        y = self.mixture.sample(n, generator)
        return rotate(y, self.rate * radius(y))


class Checkerboard:
    """Uniform on the 8 dark squares of a 4x4 board of side 8; elsewhere the log-density is -inf."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log(1/32) on the dark squares (32 units of area in all), -inf off them, (B,), of x (B, 2)."""
        square = torch.floor(x / 2)  # from -2 to 1 on the board
        dark = (square.sum(1) % 2 == 0) & (square >= -2).all(1) & (square <= 1).all(1)
        log_p = torch.full_like(x[:, 0], -math.inf).masked_fill(dark, -math.log(32.0))
        return log_p + 0 * x.clamp(-4, 4).sum(1)  # + 0 x: its gradient is 0; clamped, since 0 times infinity is NaN

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return n points, (n, 2) float64."""
        column, row = torch.randint(4, (n,), generator=generator), torch.randint(2, (n,), generator=generator)
        corner = torch.stack([column - 2, 2 * row + column % 2 - 2], dim=1)
        within = (torch.randint(2**16, (n, 2), generator=generator) + 0.5) / 2**16  # (0, 1): never on an edge, which
        return 2 * (corner + within.double())  # rounding to float32 could move into the light square beside it


def rotate(x: Tensor, angle: Tensor) -> Tensor:
    """Return the points x (..., 2) turned anticlockwise about the origin by `angle` (...), in radians."""
    c, s = angle.cos(), angle.sin()
    return torch.stack([c * x[..., 0] - s * x[..., 1], s * x[..., 0] + c * x[..., 1]], dim=-1)


def radius(x: Tensor) -> Tensor:
    """Return |x|, (...), of x (..., 2); its gradient is finite at the origin too."""
    return x.square().sum(-1).clamp_min(1e-30).sqrt()


def on_circle(angle: Tensor, r: float | Tensor) -> Tensor:
    """Return the points at `angle` (radians) and distance r from the origin, (..., 2)."""
    return torch.stack([r * angle.cos(), r * angle.sin()], dim=-1)


def _ring() -> Mixture:
    """Return 8 Gaussians on a circle."""
    return Mixture(on_circle(torch.arange(8, dtype=torch.float64) * (math.pi / 4), 3.0), (0.25, 0.25))


def _grid() -> Mixture:
    """Return 25 Gaussians on a square grid."""
    axis = torch.linspace(-3, 3, 5, dtype=torch.float64)
    return Mixture(torch.cartesian_prod(axis, axis), (0.12, 0.12))


def _spiral() -> Mixture:
    """Return 192 Gaussians along the two arms of an Archimedean spiral, evenly along the arms."""
    turn = torch.linspace(0.02, 1, 96, dtype=torch.float64).sqrt() * (3 * math.pi)  # square root: even spacing
    arm = on_circle(turn, 3.6 * turn / (3 * math.pi))
    return Mixture(torch.cat([arm, -arm]), (0.12, 0.12))


def _moons() -> Mixture:
    """Return 128 Gaussians along two interleaved half circles."""
    half = torch.linspace(0, math.pi, 64, dtype=torch.float64)
    upper = on_circle(half, 2.0) + torch.tensor([-1.0, -0.5])
    return Mixture(torch.cat([upper, -upper]), (0.18, 0.18))


def _pinwheel() -> Pinwheel:
    """Return 5 blades: Gaussians stretched along the radius, then wound up."""
    angle = torch.arange(5, dtype=torch.float64) * (2 * math.pi / 5)
    return Pinwheel(Mixture(on_circle(angle, 2.0), (0.6, 0.15), angle), rate=0.6)


KINDS = {
    "ring": _ring,
    "grid": _grid,
    "spiral": _spiral,
    "checkerboard": Checkerboard,
    "moons": _moons,
    "pinwheel": _pinwheel,
}


def toys(split: str = "train", *, kind: str = "ring", n: int | None = None, seed: int = 0) -> PointSet:
    """Return n points drawn from the density `kind`, with that density.

    Args:
        split: "train" (20,000 points by default) or "test" (4,000): independent draws.
        kind: one of `KINDS`.
        n: how many.
        seed: other seeds give other draws.
    Raises:
        ValueError: no such kind (the message lists them), or n below 1.
    """
    if kind not in KINDS:
        raise ValueError(f"no toy is called {kind!r}; kinds are {', '.join(KINDS)}")
    n = {"train": 20_000, "test": 4_000}[split] if n is None else n
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    density = KINDS[kind]()
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    # rounding to 2**-16 hides the last bits, in which platforms differ
    points = (density.sample(n, generator) * 2**16).round() / 2**16
    return PointSet(f"toys/{kind}", points.float(), density)
