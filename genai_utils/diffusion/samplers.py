"""Samplers walk from noise to data. They know a schedule and a `denoise`, never a network.

Sources: [DDPM] Ho et al. 2020, arXiv:2006.11239. [DDIM] Song, Meng & Ermon 2021, arXiv:2010.02502.
         [DPM++] Lu et al. 2022, arXiv:2211.01095.
Shapes:  B batch, C channels, H = W image side, T number of timesteps.

Each sampler is a generator that yields (t, x, x0_hat) after every step: a film takes every frame, and
`*_, (_, x, _) = ddim_steps(...)` keeps the last. In the steps, `a` and `a_next` are alpha_bar at the timestep that is
left and at the one that is entered (1 once the data is reached), as Python floats: the loop never waits for the GPU.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from genai_utils.diffusion.process import Denoise
from genai_utils.diffusion.schedules import check_schedule

Step = tuple[int, Tensor, Tensor]  # timestep, x after it (B, C, H, W), x0_hat (B, C, H, W)


@torch.no_grad()
def ddpm_steps(
    denoise: Denoise,
    x: Tensor,
    alpha_bar: Tensor,
    times: Sequence[int],
    *,
    variance: str = "posterior",
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Walk from noise to data with fresh noise at every step; [DDPM] Algorithm 2, for any stride.

    Args:
        denoise: maps (x, t) to (x0_hat, eps_hat); t is (B,) int64.
        x: (B, C, H, W) unit-variance noise, in the training scale (pixels in [-1, 1]).
        alpha_bar: (T,) float64 in [0, 1), share of signal power at each timestep, strictly decreasing.
        times: timesteps to visit, strictly decreasing, each in [0, T).
        variance: "posterior" (right when x0 is known) or "beta" (right when x0 is white noise); [DDPM] Sec. 3.2.
    Raises:
        ValueError: bad `alpha_bar`, `times` or `variance` (raised at the first step).
    """
    if variance not in ("posterior", "beta"):
        raise ValueError(f"variance must be 'posterior' or 'beta', got {variance!r}")
    for t, a, a_next in _pairs(alpha_bar, times):
        x0_hat, _ = denoise(x, torch.full((len(x),), t, device=x.device))
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype) if a_next < 1 else None
        x = ddpm_step(x, x0_hat, a, a_next, noise, variance=variance)
        yield t, x, x0_hat


def ddpm_step(
    x: Tensor, x0_hat: Tensor, a: float, a_next: float, noise: Tensor | None, *, variance: str = "posterior"
) -> Tensor:
    """Draw x at the next timestep from q(x_next | x, x0_hat); [DDPM] Eq. 6-7. `noise` None takes the mean."""
    beta = 1 - a / a_next  # variance that the forward process adds between the two
    mean = (a_next**0.5 * beta * x0_hat + (a / a_next) ** 0.5 * (1 - a_next) * x) / (1 - a)  # Eq. 7
    if noise is None:
        return mean
    sigma2 = beta * (1 - a_next) / (1 - a) if variance == "posterior" else beta
    return mean + sigma2**0.5 * noise


@torch.no_grad()
def ddim_steps(
    denoise: Denoise,
    x: Tensor,
    alpha_bar: Tensor,
    times: Sequence[int],
    *,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Walk from noise to data along the path that keeps each image's own noise; [DDIM] Eq. 12.

    Args:
        denoise, x, alpha_bar, times: as for `ddpm_steps`.
        eta: in [0, 1]; 0 is deterministic, 1 has the step noise of DDPM.
    Raises:
        ValueError: bad `alpha_bar`, `times` or `eta` (raised at the first step).
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must be in [0, 1], got {eta}")
    for t, a, a_next in _pairs(alpha_bar, times):
        x0_hat, eps_hat = denoise(x, torch.full((len(x),), t, device=x.device))
        random = eta > 0 and a_next < 1
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype) if random else None
        x = ddim_step(x0_hat, eps_hat, a, a_next, eta, noise)
        yield t, x, x0_hat


def ddim_step(
    x0_hat: Tensor, eps_hat: Tensor, a: float, a_next: float, eta: float = 0.0, noise: Tensor | None = None
) -> Tensor:
    """Return x at the next timestep: x0_hat noised again with mostly the same noise; [DDIM] Eq. 12 and 16."""
    sigma = eta * ((1 - a_next) / (1 - a) * (1 - a / a_next)) ** 0.5  # Eq. 16
    x = a_next**0.5 * x0_hat + max(1 - a_next - sigma**2, 0.0) ** 0.5 * eps_hat  # Eq. 12
    return x if noise is None else x + sigma * noise


@torch.no_grad()
def dpmpp_steps(denoise: Denoise, x: Tensor, alpha_bar: Tensor, times: Sequence[int]) -> Iterator[Step]:
    """Walk from noise to data with a second-order step that reuses the last prediction: DPM-Solver++(2M).

    One network call a step, as DDIM; the change of x0_hat between steps serves as its slope. The last step, to
    alpha_bar = 1, is first order: the step is infinitely long in log-SNR. Take "trailing" times: others end with a
    long step into t = 0, where the slope misleads and DDIM can be the closer one below some 50 steps.

    Args:
        denoise, x, alpha_bar, times: as for `ddpm_steps`.
    Raises:
        ValueError: bad `alpha_bar` or `times` (raised at the first step).
    Source: [DPM++] Algorithm 2 and Eq. 9 for its first-order step.
    """
    before, h_before = None, 0.0  # the previous x0_hat and the length of its step in half log-SNR
    for t, a, a_next in _pairs(alpha_bar, times):
        x0_hat, _ = denoise(x, torch.full((len(x),), t, device=x.device))
        last = a_next >= 1
        h = float("inf") if last or a <= 0 else 0.5 * _logit(a_next) - 0.5 * _logit(a)
        direction = x0_hat
        if before is not None and not last and h_before != float("inf"):
            direction = x0_hat + h / (2 * h_before) * (x0_hat - before)
        shrink = ((1 - a_next) / (1 - a)) ** 0.5  # sigma_next / sigma
        signal = a_next**0.5 - shrink * a**0.5  # -alpha_next (e^-h - 1), finite also where h is not
        x = shrink * x + signal * direction
        before, h_before = x0_hat, h
        yield t, x, x0_hat


def _logit(a: float) -> float:
    return math.log(a / (1 - a))


def _pairs(alpha_bar: Tensor, times: Sequence[int]) -> Iterator[tuple[int, float, float]]:
    """Yield (t, alpha_bar[t], alpha_bar at the next visited timestep or 1), having checked both."""
    check_schedule(alpha_bar)  # once, as the read below: no step waits
    times, T = list(times), len(alpha_bar)
    if not times or any(not 0 <= t < T for t in times) or any(s >= t for t, s in zip(times, times[1:])):
        raise ValueError(f"times must decrease strictly within [0, {T}), got {times}")
    levels = alpha_bar[times].tolist() + [1.0]
    yield from zip(times, levels, levels[1:])
