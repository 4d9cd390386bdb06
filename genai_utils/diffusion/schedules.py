"""Noise schedules: how much signal is left at each timestep.

A schedule is one tensor, `alpha_bar` (T,), float64: the share of signal *power* left after timestep t, decreasing in t.
Everything else follows from it: `beta`, the signal-to-noise ratio, the times a sampler visits.

Sources: [DDPM] Ho et al. 2020, arXiv:2006.11239. [IDDPM] Nichol & Dhariwal 2021, arXiv:2102.09672.
         [ZSNR] Lin et al. 2024, arXiv:2305.08891.
Shapes:  T number of timesteps.
"""

import math

import torch
from torch import Tensor


def linear_schedule(T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Tensor:
    """Return alpha_bar (T,) of noise variances beta that grow linearly; [DDPM] Sec. 4.

    Args:
        T: number of timesteps, at least 2.
        beta_start: variance of the first step's noise, in (0, beta_end].
        beta_end: variance of the last step's noise, below 1.
    Raises:
        ValueError: T < 2 or the betas are out of order.
    """
    if T < 2 or not 0 < beta_start <= beta_end < 1:
        raise ValueError(f"need T >= 2 and 0 < beta_start <= beta_end < 1, got T={T}, {beta_start}, {beta_end}")
    return torch.cumprod(1 - torch.linspace(beta_start, beta_end, T, dtype=torch.float64), 0)


def cosine_schedule(T: int = 1000, s: float = 0.008, beta_max: float = 0.999) -> Tensor:
    """Return alpha_bar (T,) that falls as a squared cosine; [IDDPM] Eq. 17, betas clipped at `beta_max`.

    Args:
        T: number of timesteps, at least 2.
        s: offset that keeps the first betas from vanishing, in [0, 1).
        beta_max: largest variance of one step, in (0, 1); keeps the last alpha_bar above zero.
    Raises:
        ValueError: an argument is out of range.
    """
    if T < 2 or not 0 <= s < 1 or not 0 < beta_max < 1:
        raise ValueError(f"need T >= 2, 0 <= s < 1 and 0 < beta_max < 1, got T={T}, s={s}, beta_max={beta_max}")
    u = torch.arange(T + 1, dtype=torch.float64) / T
    f = torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2
    return torch.cumprod((f[1:] / f[:-1]).clamp(min=1 - beta_max), 0)


def rescale_zero_snr(alpha_bar: Tensor) -> Tensor:
    """Shift and stretch sqrt(alpha_bar) so that the last timestep is pure noise; [ZSNR] Algorithm 1.

    Args:
        alpha_bar: (T,) in [0, 1), strictly decreasing.
    Returns:
        (T,), first value unchanged, last value 0. With it a network cannot predict eps at T-1; use v or x0.
    Raises:
        ValueError: alpha_bar does not decrease.
    """
    check_schedule(alpha_bar)
    root = alpha_bar.sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return root**2


def betas(alpha_bar: Tensor) -> Tensor:
    """Return beta (T,), the variance added by each step: 1 - alpha_bar[t] / alpha_bar[t-1]; [DDPM] Sec. 2."""
    return 1 - alpha_bar / torch.cat([torch.ones_like(alpha_bar[:1]), alpha_bar[:-1]])


def snr(alpha_bar: Tensor) -> Tensor:
    """Return the signal-to-noise ratio (T,), alpha_bar / (1 - alpha_bar), a ratio of powers."""
    return alpha_bar / (1 - alpha_bar)


def visit_times(T: int, steps: int, spacing: str = "trailing") -> list[int]:
    """Return the timesteps that a sampler of `steps` steps visits, strictly decreasing, each in [0, T).

    Args:
        T: length of the schedule.
        steps: how many, in [1, T].
        spacing: "trailing" starts at T-1 [ZSNR]; "leading" ends at 0 [DDIM]; "linspace" does both.
    Raises:
        ValueError: steps is out of range or spacing unknown.
    """
    if not 1 <= steps <= T:
        raise ValueError(f"steps must be in [1, {T}], got {steps}")
    if spacing == "trailing":
        return [round(T - i * T / steps) - 1 for i in range(steps)]
    if spacing == "leading":
        return [i * (T // steps) for i in reversed(range(steps))]
    if spacing == "linspace":
        return [T - 1] if steps == 1 else [round(i * (T - 1) / (steps - 1)) for i in reversed(range(steps))]
    raise ValueError(f"spacing must be 'trailing', 'leading' or 'linspace', got {spacing!r}")


def check_schedule(alpha_bar: Tensor) -> None:
    """Raise a ValueError unless alpha_bar is (T,), in [0, 1) and strictly decreasing."""
    if alpha_bar.ndim != 1 or len(alpha_bar) < 2:
        raise ValueError(f"alpha_bar must be (T,) with T >= 2, got shape {tuple(alpha_bar.shape)}")
    a = alpha_bar.detach().cpu()
    if not (0 <= a[-1] and a[0] < 1 and (a[1:] < a[:-1]).all()):
        raise ValueError(f"alpha_bar must decrease strictly within [0, 1); it runs from {a[0]:.4g} to {a[-1]:.4g}")
