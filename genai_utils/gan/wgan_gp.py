"""WGAN: the discriminator becomes a critic whose slope is bounded, and its loss an estimate of a distance.

The Wasserstein-1 distance is the largest E r(x) - E r(G(z)) over all r with a slope of at most 1. Clipping the weights
bounds the slope somewhere; a penalty on the gradient holds it near 1 where it matters, between data and samples.

Sources: [WGAN] Arjovsky et al. 2017, arXiv:1701.07875, Eq. 2 and Algorithm 1 (clipping). [GP] Gulrajani et al. 2017,
         arXiv:1704.00028, Eq. 3, Algorithm 1 and Sec. 4 (penalty, no batch normalisation in the critic).
Shapes:  B batch, C channels, H = W image side, Z width of the noise. Images are in [-1, 1].
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genai_utils.gan.dcgan import DCDiscriminator, DCGenerator
from genai_utils.gan.gan import Game, Player, check_counts, deal, mean_logs, parts_of
from genai_utils.gan.losses import gradient_penalty, wasserstein_d, wasserstein_g
from genai_utils.training import EMA
from genai_utils.training.loop import Step

BOUNDS = ("penalty", "clip", "none")
CRITIC_NORMS = ("none", "layer", "spectral")


@dataclass(frozen=True, kw_only=True)
class WGANConfig:
    side: int = 32  # H, in pixels: a power of two, at least 8
    channels: int = 1  # C
    latent: int = 64  # Z
    width_g: int = 32  # feature maps of the generator at H / 2; each halving of the side doubles them
    width_d: int = 32  # feature maps of the critic at H / 2; likewise
    norm_d: str = "none"  # the critic's: "none", "layer" ([GP] Sec. 4) or "spectral"; never over the batch


PRESETS = {
    "mnist": WGANConfig(),  # digits padded to 32x32
    "cifar10": WGANConfig(channels=3, latent=128, width_g=64, width_d=64, norm_d="layer"),
    "published": WGANConfig(side=64, channels=3, latent=128, width_g=64, width_d=64, norm_d="layer"),  # [GP]'s DCGAN
}


class WGAN(Game):
    """The game on images with a critic; its generator is DCGAN's. The critic is `discriminator`, as in every game."""

    Config = WGANConfig

    def __init__(self, cfg: WGANConfig) -> None:
        super().__init__()
        check_counts(channels=cfg.channels, latent=cfg.latent, width_g=cfg.width_g, width_d=cfg.width_d)
        if cfg.norm_d not in CRITIC_NORMS:
            raise ValueError(
                f"norm_d must be one of {', '.join(CRITIC_NORMS)}, got {cfg.norm_d!r}: a critic needs a value for each "
                "image by itself"
            )
        self.cfg = cfg
        self.generator = DCGenerator(cfg.latent, cfg.channels, cfg.side, cfg.width_g)
        self.discriminator = DCDiscriminator(cfg.channels, cfg.side, cfg.width_d, cfg.norm_d)


def wgan_step(
    model: Game,
    opt_g: torch.optim.Optimizer,
    opt_d: torch.optim.Optimizer,
    *,
    bound: str = "penalty",
    weight: float = 10.0,
    one_sided: bool = False,
    clip: float = 0.01,
    n_critic: int = 5,
    ema: EMA | None = None,
    amp: torch.dtype | None = None,
    generator: torch.Generator | None = None,
) -> Step:
    """Return step(batch) -> logs: n_critic updates of the critic, then one of the generator; [GP] Algorithm 1.

    [GP] takes Adam with a learning rate of 1e-4 and betas of (0, 0.9): `adamw(net, 1e-4, betas=(0.0, 0.9))`. [WGAN]
    clips, and takes RMSProp with 5e-5. The last fakes that the critic saw are those from which the generator learns.

    Args:
        model: a `WGAN`, or another game whose discriminator has no batch normalisation, such as a `GAN` of points.
        opt_g, opt_d: optimisers of model.generator and of model.discriminator.
        bound: how the critic's slope is held: "penalty" on the gradient, "clip" of every weight after each update,
            "none" (it is held otherwise, as by spectral normalisation, or not at all).
        weight: lambda of the penalty, > 0.
        one_sided: penalise only gradients above 1.
        clip: c of the clipping, > 0: weights stay in [-c, c].
        n_critic: updates of the critic in one step, at least 1; a batch is dealt out in that many parts.
        ema: an `EMA` of model.generator, updated once per step.
        amp: dtype of autocast, as in `make_step`; the penalty is always computed without.
        generator: draws the noise, and the places of the penalty; None draws from torch's global generator.
    Returns:
        step; it takes x, or a tuple that begins with it, and logs `loss_d`, `loss_g`, `wasserstein` (the critic's
        E r(x) - E r(G(z)) on its own batches: the distance in units of x if its slope is 1, and too much by what it
        has learnt by heart), `grad_norm_d`, `grad_norm_g` and, with a penalty, `penalty` before it is weighted.
    Raises:
        ValueError: an unknown bound, weight or clip not above 0, n_critic below 1, batch normalisation in a penalised
            critic, an optimiser of other parameters; from the step: a batch that n_critic does not divide.
    """
    if bound not in BOUNDS:
        raise ValueError(f"bound must be one of {', '.join(BOUNDS)}, got {bound!r}")
    if not (weight > 0 and clip > 0):
        raise ValueError(f"weight and clip must be above 0, got weight={weight}, clip={clip}; bound='none' has neither")
    check_counts(n_critic=n_critic)
    mixes = [n for n, m in model.discriminator.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if bound == "penalty" and mixes:
        raise ValueError(f"a gradient per image needs a critic without batch normalisation, but it has {mixes}")
    critic, player_g, player_d = (
        model.discriminator, Player(model.generator, opt_g, amp), Player(model.discriminator, opt_d, amp),
    )  # fmt: skip

    def step(batch: Any) -> dict[str, Tensor]:
        rows = []
        for i, real in enumerate(deal(batch, n_critic)):
            with player_g.autocast(), torch.set_grad_enabled(i == n_critic - 1):
                fake = model.generator(model.noise(len(real), generator))
            with player_d.autocast():
                loss_d = wasserstein_d(critic(real), critic(fake.detach()))
            row = {"wasserstein": -loss_d.detach()}
            if bound == "penalty":
                penalty = gradient_penalty(critic, real, fake.detach(), one_sided=one_sided, generator=generator)
                loss_d, row["penalty"] = loss_d + weight * penalty, penalty.detach()
            rows.append({"loss_d": loss_d.detach()} | row | {"grad_norm_d": player_d.descend(loss_d)})
            if bound == "clip":
                clip_weights(critic, clip)
        with player_g.autocast():
            loss_g = wasserstein_g(critic(fake))
        logs = mean_logs(rows) | {"loss_g": loss_g.detach(), "grad_norm_g": player_g.descend(loss_g)}
        if ema is not None:
            ema.update(model.generator)
        return logs

    rules = {"bound": bound, "weight": weight, "one_sided": one_sided, "clip": clip, "n_critic": n_critic}
    step.parts = parts_of(model, player_g, player_d, ema, generator, **rules)
    return step


@torch.no_grad()
def clip_weights(network: nn.Module, c: float) -> None:
    """Move every parameter of the network into [-c, c], in place; [WGAN] Algorithm 1."""
    weights = list(network.parameters())
    torch._foreach_clamp_min_(weights, -c)
    torch._foreach_clamp_max_(weights, c)


@torch.no_grad()
def wasserstein_estimate(critic: nn.Module, real: Tensor, fake: Tensor, slope: float = 1.0) -> Tensor:
    """Return ``(E r(x) - E r(G(z))) / slope``, a scalar in units of x: a lower bound if no slope of r exceeds `slope`.

    Take examples on which the critic was not trained. Under clipping the slope is unknown, and so is the unit.

    Args:
        critic: maps x to values (B,).
        real, fake: (B, ...) and (B', ...).
        slope: a Lipschitz constant of the critic, > 0.
    Raises:
        ValueError: slope is not above 0.
    """
    if not slope > 0:
        raise ValueError(f"slope must be above 0, got {slope}")
    return -wasserstein_d(critic(real), critic(fake)) / slope


def wasserstein_1d(a: Tensor, b: Tensor) -> Tensor:
    """Return the exact Wasserstein-1 distance of two samples on a line, a float64 scalar >= 0, in their unit.

    It is the area between the two empirical distribution functions; for samples of one size, the mean distance of
    their sorted values.

    Args:
        a, b: (n,) and (m,), not empty.
    Raises:
        ValueError: a or b is not a vector, or empty.
    """
    if a.ndim != 1 or b.ndim != 1 or not len(a) or not len(b):
        raise ValueError(f"samples must be vectors (n,) and (m,), not empty; got {tuple(a.shape)} and {tuple(b.shape)}")
    a, b = a.detach().double().sort().values, b.detach().double().sort().values
    if len(a) == len(b):
        return (a - b).abs().mean()
    places = torch.cat([a, b]).sort().values
    share_a, share_b = (torch.searchsorted(v, places[:-1], right=True).double() / len(v) for v in (a, b))
    return ((share_a - share_b).abs() * places.diff()).sum()
