"""What one does with a latent space: look which latents are used, and walk between codes.

Sources: [IWAE] Burda et al. 2016, arXiv:1509.00519, Sec. 5.2 (active units). [SLERP] White 2016, arXiv:1609.04468.
Shapes:  B batch, Z latent width, S steps.
"""

import torch
from torch import Tensor


def active_units(mu: Tensor, threshold: float = 0.01) -> Tensor:
    """Return which latents carry anything, (Z,) bool: the variance over the data of the mean of q(z | x) is large.

    Args:
        mu: (B, Z) posterior means of many different data.
        threshold: of the variance; the prior's is 1. [IWAE] uses 0.01.
    Raises:
        ValueError: fewer than two data.
    """
    if mu.ndim != 2 or len(mu) < 2:
        raise ValueError(f"mu must be (B, Z) with B >= 2, got {tuple(mu.shape)}")
    return mu.var(0) > threshold


def linear_path(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Return the codes (S, Z) on the straight line: a at weight 0, b at weight 1."""
    w = _weights(a, b, weights)
    return (1 - w) * a + w * b


def spherical_path(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Return the codes (S, Z) on the arc from a to b around the origin; [SLERP].

    A standard normal code of width Z has a length near sqrt(Z). The straight line between two such codes passes nearer
    to the origin, where the prior has hardly any mass; the arc keeps its distance.

    Raises:
        ValueError: a or b is zero, or they point in opposite directions, so that no arc is the shortest.
    """
    w = _weights(a, b, weights)
    if not (a.norm() > 0 and b.norm() > 0):
        raise ValueError("an arc around the origin needs two codes that are not at the origin; take linear_path")
    u, v = a / a.norm(), b / b.norm()
    angle = 2 * torch.atan2((u - v).norm(), (u + v).norm())  # exact for small angles, too
    if angle < 1e-6:  # the same direction: the arc is the line
        return (1 - w) * a + w * b
    if torch.pi - angle < 1e-4:
        raise ValueError("the two codes point in opposite directions: no arc between them is the shortest")
    return (torch.sin((1 - w) * angle) * a + torch.sin(w * angle) * b) / torch.sin(angle)


def traverse(z: Tensor, latent: int, values: Tensor) -> Tensor:
    """Return copies of one code with one latent set to each value, (S, Z).

    Raises:
        ValueError: there is no such latent.
    """
    if z.ndim != 1 or not 0 <= latent < len(z):
        raise ValueError(f"need a code (Z,) and a latent in [0, Z), got {tuple(z.shape)} and latent={latent}")
    codes = z.repeat(len(values), 1)
    codes[:, latent] = values.to(codes)
    return codes


def _weights(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"a and b must be two codes of one width, (Z,), got {tuple(a.shape)} and {tuple(b.shape)}")
    return weights.to(a).reshape(-1, 1)
