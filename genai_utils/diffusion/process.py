"""The forward process, what the network is asked to predict, and the losses.

Sources: [DDPM] Ho et al. 2020, arXiv:2006.11239. [PD] Salimans & Ho 2022, arXiv:2202.00512 (v prediction).
         [MINSNR] Hang et al. 2023, arXiv:2303.09556.
Shapes:  B batch, C channels, H = W image side, T number of timesteps. Images are scaled to [-1, 1].
Where a paper writes alpha_t for the signal power after t steps, we write alpha_bar[t].
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Denoise = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # (x, t) -> (x0_hat, eps_hat), each like x


def signal_noise(alpha_bar: Tensor, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of signal and noise at t, sqrt(alpha_bar) and sqrt(1 - alpha_bar): (B, 1, ...), x's dtype."""
    shape = (-1, *[1] * (x.ndim - 1))
    signal, noise = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()  # in float64, rounded only once
    return tuple(w.to(x.dtype).to(x.device)[t].reshape(shape) for w in (signal, noise))


def q_sample(x0: Tensor, t: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return x_t, the image after t steps of noise, in one step; [DDPM] Eq. 4.

    Args:
        x0: (B, ...) clean images in [-1, 1].
        t: (B,) int64 in [0, T).
        eps: standard normal noise of x0's shape.
        alpha_bar: (T,) share of signal power.
    Returns:
        x_t, of x0's shape.
    """
    signal, noise = signal_noise(alpha_bar, t, x0)
    return signal * x0 + noise * eps


def target(x0: Tensor, t: Tensor, eps: Tensor, alpha_bar: Tensor, predict: str) -> Tensor:
    """Return what the network should output: eps, x0, or v = sqrt(a) eps - sqrt(1 - a) x0; [PD] Sec. 4."""
    if predict == "eps":
        return eps
    if predict == "x0":
        return x0
    if predict == "v":
        signal, noise = signal_noise(alpha_bar, t, x0)
        return signal * eps - noise * x0
    raise ValueError(f"predict must be 'eps', 'x0' or 'v', got {predict!r}")


def diffusion_loss(
    model: nn.Module,
    batch: tuple[Tensor, Tensor | None],
    *,
    alpha_bar: Tensor,
    predict: str = "eps",
    min_snr: float | None = None,
    label_drop: float = 0.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean squared error of the prediction at random timesteps, per pixel; [DDPM] Eq. 14.

    Args:
        model: maps (x_t, t) or (x_t, t, labels) to the prediction.
        batch: (x0, labels): (B, C, H, W) images in [-1, 1] and (B,) int64 classes, or None for an unconditional model.
        alpha_bar: (T,) float64, best on the model's device.
        predict: "eps", "x0" or "v".
        min_snr: gamma of [MINSNR] Eq. 8 (5 is usual): each timestep weighted as if x0 were predicted with weight
            min(snr, gamma); None weights all alike.
        label_drop: probability in [0, 1) that a label is replaced by the last class, which then means "any".
        generator: draws timesteps, noise and dropped labels; on x0's device.
    Returns:
        The scalar loss, and logs: `mse`, unweighted.
    Raises:
        ValueError: `predict`, `min_snr` or `label_drop` is out of range.
    """
    if not 0 <= label_drop < 1:
        raise ValueError(f"label_drop must be in [0, 1), got {label_drop}")
    x0, labels = batch
    alpha_bar = _near(alpha_bar, x0.device)
    t = torch.randint(len(alpha_bar), (len(x0),), device=x0.device, generator=generator)
    eps = torch.randn(x0.shape, device=x0.device, dtype=x0.dtype, generator=generator)
    if labels is not None and label_drop:
        drop = torch.rand(len(x0), device=x0.device, generator=generator) < label_drop
        labels = torch.where(drop, model.cfg.n_classes - 1, labels)
    x_t = q_sample(x0, t, eps, alpha_bar)
    prediction = model(x_t, t) if labels is None else model(x_t, t, labels)
    mse = (prediction.float() - target(x0, t, eps, alpha_bar, predict).float()).square().flatten(1).mean(1)  # (B,)
    weight = 1.0 if min_snr is None else min_snr_weight(alpha_bar, predict, min_snr).float().to(t.device)[t]
    return (weight * mse).mean(), {"mse": mse.mean()}


def min_snr_weight(alpha_bar: Tensor, predict: str, gamma: float = 5.0) -> Tensor:
    """Return the weight of a prediction's squared error that equals min(snr, gamma) on x0's; [MINSNR] Sec. 3.4.

    Args:
        alpha_bar: shares of signal power, any shape, in [0, 1).
        predict: "eps", "x0" or "v".
        gamma: cap on the signal-to-noise ratio, above 0.
    Raises:
        ValueError: gamma or predict is none of these.
    """
    if gamma <= 0:
        raise ValueError(f"min_snr's gamma must be above 0, got {gamma}")
    if predict == "eps":  # min(snr, gamma) / snr; 1 where there is no signal
        return (gamma * (1 - alpha_bar) / alpha_bar).clamp(max=1)
    if predict == "x0":
        return (alpha_bar / (1 - alpha_bar)).clamp(max=gamma)
    if predict == "v":  # min(snr, gamma) / (snr + 1)
        return torch.minimum(alpha_bar, gamma * (1 - alpha_bar))
    raise ValueError(f"predict must be 'eps', 'x0' or 'v', got {predict!r}")


def _near(alpha_bar: Tensor, device: torch.device) -> Tensor:
    """Move a schedule to `device`, once and not per step; Apple's has no float64, so there it stays where it is."""
    return alpha_bar if device.type == "mps" else alpha_bar.to(device)


def split_prediction(out: Tensor, x: Tensor, signal: Tensor, noise: Tensor, predict: str) -> tuple[Tensor, Tensor]:
    """Turn a prediction at x_t into (x0_hat, eps_hat), by x_t = signal x0 + noise eps; [PD] Appendix D."""
    if predict == "eps":
        return (x - noise * out) / signal, out
    if predict == "x0":
        return out, (x - signal * out) / noise
    return signal * x - noise * out, noise * x + signal * out


def denoiser(
    model: nn.Module, alpha_bar: Tensor, *, predict: str = "eps", labels: Tensor | None = None, clip: bool = True
) -> Denoise:
    """Return denoise(x, t) -> (x0_hat, eps_hat), the only thing a sampler needs to know of a network.

    Args:
        model: the network, in evaluation mode.
        alpha_bar: (T,) the schedule it was trained with.
        predict: what it predicts: "eps", "x0" or "v".
        labels: (B,) classes to ask for, if the network takes them.
        clip: hold x0_hat within [-1, 1] and recompute eps_hat to match (images need it; other data may not).
    Raises:
        ValueError: predict is "eps" and the schedule reaches alpha_bar = 0, where eps says nothing of x0.
    """
    if predict not in ("eps", "x0", "v"):
        raise ValueError(f"predict must be 'eps', 'x0' or 'v', got {predict!r}")
    if predict == "eps" and alpha_bar.min() <= 0:
        raise ValueError("a schedule with alpha_bar = 0 needs predict='v' or 'x0': pure noise says nothing of x0")

    def denoise(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal alpha_bar
        alpha_bar = _near(alpha_bar, x.device)  # moves at the first step only
        signal, noise = signal_noise(alpha_bar, t, x)
        out = model(x, t) if labels is None else model(x, t, labels)
        x0_hat, eps_hat = split_prediction(out.to(x.dtype), x, signal, noise, predict)
        if clip:
            x0_hat = x0_hat.clamp(-1, 1)
            eps_hat = (x - signal * x0_hat) / noise
        return x0_hat, eps_hat

    return denoise


@torch.no_grad()
def bound_term(
    denoise: Denoise, x0: Tensor, t: int, alpha_bar: Tensor, *, generator: torch.Generator | None = None
) -> Tensor:
    """One term of the variational bound on -log p(x0), in nats per image, (B,); [DDPM] Eq. 5.

    t = T is the prior term; t in [1, T-1] the KL divergence between q(x_{t-1} | x_t, x0) and the model's step, both
    with the posterior variance; t = 0 the reconstruction, a Gaussian binned to 256 grey levels ([DDPM] Eq. 13).
    Summed over t = 0 ... T they bound the negative log-likelihood of 8-bit images scaled to [-1, 1], as long as no
    value meets the floor of `binned_gaussian_log_prob`.

    Args:
        denoise: maps (x, t) to (x0_hat, eps_hat).
        x0: (B, ...) images in [-1, 1].
        t: which term, in [0, T].
        alpha_bar: (T,) the schedule.
    Raises:
        ValueError: t is out of range.
    """
    T = len(alpha_bar)
    if not 0 <= t <= T:
        raise ValueError(f"t must be in [0, {T}], got {t}")
    if t == T:  # KL(q(x_T | x0) || N(0, 1))
        a = alpha_bar[-1].item()
        return (0.5 * (a * x0.square() - a - math.log(1 - a))).flatten(1).sum(1)
    a = alpha_bar[t].item()
    eps = torch.randn(x0.shape, dtype=x0.dtype, device=x0.device, generator=generator)
    x_t = a**0.5 * x0 + (1 - a) ** 0.5 * eps
    x0_hat, _ = denoise(x_t, torch.full((len(x0),), t, device=x0.device))
    if t > 0:
        a_next = alpha_bar[t - 1].item()
        beta = 1 - a / a_next
        weight = 0.5 * a_next * beta / ((1 - a_next) * (1 - a))  # KL = weight |x0 - x0_hat|^2
        return (weight * (x0 - x0_hat).square()).flatten(1).sum(1)
    return -binned_gaussian_log_prob(x0, x0_hat, (1 - a) ** 0.5).flatten(1).sum(1)


def binned_gaussian_log_prob(x: Tensor, mean: Tensor, std: float) -> Tensor:
    """Log-probability in nats of 8-bit values in [-1, 1] under a Gaussian integrated over each bin; [DDPM] Eq. 13.

    No value has less than the smallest normal number of its dtype, in float32 exp(-87.3).
    """
    half, unit = 1 / 255, std * math.sqrt(2)
    upper, lower = (x + half - mean) / unit, (x - half - mean) / unit
    upper = torch.where(x > 1 - half, torch.inf, upper)  # the outermost bins reach to infinity
    lower = torch.where(x < -1 + half, -torch.inf, lower)
    below = lower + upper < 0  # then take the mirrored bin: only beyond the mean does erfc's difference keep its digits
    upper, lower = torch.where(below, -lower, upper), torch.where(below, -upper, lower)
    p = 0.5 * (torch.erfc(lower) - torch.erfc(upper))
    return p.clamp(min=torch.finfo(p.dtype).tiny).log()
