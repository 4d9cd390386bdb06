"""Progressive growing: both networks begin with images of 4x4 and gain, one after the other, layers of twice the side.

A new layer is faded in: its image is mixed with the enlarged image of the layer before, with a weight alpha that
rises from 0 to 1. The rest keeps the game steady: equalised learning rates, pixel norm in the generator, minibatch
standard deviation in the discriminator, the Wasserstein loss with a gradient penalty and an average of the generator.

Sources: [PG] Karras et al. 2018, arXiv:1710.10196, Fig. 2, Sec. 2 to 4, Tab. 2 and Appendix A.1.
Shapes:  B batch, C channels, Z width of the noise, k stage, s = 4 * 2^k its side, H = W side of the last stage.
         Images are in [-1, 1]; the generator's output is linear, so that samples may exceed that a little.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.gan.dcgan import check_images
from genai_utils.gan.equal import EqualConv2d, EqualLinear, minibatch_std
from genai_utils.gan.gan import Game, Player, check_counts, deal, full, mean_logs, parts_of
from genai_utils.gan.losses import gradient_penalty, wasserstein_d, wasserstein_g
from genai_utils.training import EMA
from genai_utils.training.loop import Step

GAIN = math.sqrt(2.0)  # before a leaky ReLU, as in He's initialisation


@dataclass(frozen=True, kw_only=True)
class ProGANConfig:
    side: int = 32  # H, in pixels, of the last stage: a power of two, at least 4
    channels: int = 1  # C
    latent: int = 64  # Z
    width: int = 16  # feature maps at side H; each halving of the side doubles them
    width_max: int = 64  # but no layer has more than these
    group: int = 4  # images that are compared by the minibatch standard deviation; divides the batch

    @property
    def stages(self) -> int:
        """How many stages there are: 1 for a side of 4."""
        return self.side.bit_length() - 2


PRESETS = {
    "mnist": ProGANConfig(),  # digits padded to 32x32
    "cifar10": ProGANConfig(channels=3, latent=128, width=32, width_max=128),
    "published": ProGANConfig(side=1024, channels=3, latent=512, width_max=512),  # Tab. 2
}


def pixel_norm(x: Tensor) -> Tensor:
    """Return x with a mean square of 1 over axis 1, at every place; [PG] Sec. 4.2."""
    return x * (full(x).square().mean(1, keepdim=True) + 1e-8).rsqrt().to(x.dtype)


def enlarge(x: Tensor) -> Tensor:
    """Return x (B, C, s, s) with every pixel repeated, (B, C, 2s, 2s)."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def at_stage(x: Tensor, stage: int, alpha: float = 1.0) -> Tensor:
    """Return images of the last stage's side as the discriminator meets them at `stage`: (B, C, s, s).

    While a layer fades in, they are mixed with what the stage before would have seen, as the generator's are.

    Args:
        x: (B, C, H, H) with H = s times a power of two.
        stage: k, at least 0.
        alpha: how far the stage is faded in, in [0, 1].
    """
    side = 4 * 2**stage
    x = F.avg_pool2d(x, x.shape[-1] // side) if x.shape[-1] > side else x
    return x if alpha >= 1 or stage == 0 else torch.lerp(enlarge(F.avg_pool2d(x, 2)), x, alpha)


class ConvBlock(nn.Module):
    """3x3 convolution, leaky ReLU and, in the generator, pixel norm."""

    def __init__(self, inputs: int, outputs: int, *, norm: bool = False) -> None:
        super().__init__()
        self.conv, self.norm = EqualConv2d(inputs, outputs, 3, padding=1, gain=GAIN), norm

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv(x), 0.2)
        return pixel_norm(x) if self.norm else x


class ProGenerator(nn.Module):
    """x = G(z, stage, alpha). `blocks[k]` leads to side s, `to_image[k]` to pixels there; [PG] Tab. 2."""

    def __init__(self, cfg: ProGANConfig) -> None:
        super().__init__()
        self.cfg, w = cfg, widths(cfg)
        # A 4x4 convolution over z, padded by 3: its fan-in counts 16 times, though 15 of the places hold zeros.
        self.first = EqualLinear(cfg.latent, w[0] * 16, gain=GAIN / 4)
        self.blocks = nn.ModuleList([ConvBlock(w[0], w[0], norm=True)])
        for a, b in zip(w, w[1:]):
            self.blocks.append(nn.Sequential(ConvBlock(a, b, norm=True), ConvBlock(b, b, norm=True)))
        self.to_image = nn.ModuleList(EqualConv2d(width, cfg.channels, 1) for width in w)

    def forward(self, z: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """Return images (B, C, s, s), float32 or better.

        Args:
            z: (B, Z).
            stage: k; None is the last.
            alpha: weight of that stage's own image, in [0, 1]; the rest is the enlarged one of the stage before.
        Raises:
            ValueError: stage or alpha out of range.
        """
        stage = check_place(self.cfg, stage, alpha)
        x = self.first(pixel_norm(z)).unflatten(1, (-1, 4, 4))
        x = self.blocks[0](pixel_norm(F.leaky_relu(x, 0.2)))
        for k in range(1, stage + 1):
            before, x = x, self.blocks[k](enlarge(x))
        image = full(self.to_image[stage](x))
        if alpha < 1 and stage > 0:
            image = torch.lerp(enlarge(full(self.to_image[stage - 1](before))), image, alpha)  # [PG] Fig. 2b
        return image


class ProDiscriminator(nn.Module):
    """r(x, stage, alpha), the generator's mirror image: `from_image[k]`, then `blocks[k]` down to `blocks[0]`."""

    def __init__(self, cfg: ProGANConfig) -> None:
        super().__init__()
        self.cfg, w = cfg, widths(cfg)
        self.from_image = nn.ModuleList(EqualConv2d(cfg.channels, width, 1, gain=GAIN) for width in w)
        self.blocks = nn.ModuleList([ConvBlock(w[0] + 1, w[0])])
        for a, b in zip(w, w[1:]):
            self.blocks.append(nn.Sequential(ConvBlock(b, b), ConvBlock(b, a), nn.AvgPool2d(2)))
        self.hidden, self.last = EqualLinear(w[0] * 16, w[0], gain=GAIN), EqualLinear(w[0], 1)

    def forward(self, x: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """Return values (B,), float32 or better.

        Args:
            x: (B, C, s, s) images.
            stage: k; None is the last.
            alpha: weight of that stage's own features, in [0, 1]; the rest is what the stage before makes of x halved.
        Raises:
            ValueError: stage or alpha out of range; x of another shape; a batch that `group` does not divide.
        """
        stage = check_place(self.cfg, stage, alpha)
        check_images(x, self.cfg.channels, 4 * 2**stage)
        h = F.leaky_relu(self.from_image[stage](x), 0.2)
        if stage > 0:
            h = self.blocks[stage](h)
        if alpha < 1 and stage > 0:
            h = torch.lerp(F.leaky_relu(self.from_image[stage - 1](F.avg_pool2d(x, 2)), 0.2), h, alpha)
        for k in range(stage - 1, 0, -1):
            h = self.blocks[k](h)
        h = self.blocks[0](minibatch_std(h, self.cfg.group))
        h = F.leaky_relu(self.hidden(h.flatten(1)), 0.2)
        return full(self.last(h)).squeeze(1)


class ProGAN(Game):
    """The game that grows. Blocks and image layers beyond the stage in use get no gradient, nor do older image layers.

    While a stage fades in, its image layers and those of the stage before are in use; afterwards, its own alone. The
    critic compares images (see `minibatch_std`), and is penalised all the same, as in the paper's code.
    """

    Config = ProGANConfig

    def __init__(self, cfg: ProGANConfig) -> None:
        super().__init__()
        check_counts(**{k: getattr(cfg, k) for k in ("channels", "latent", "width", "width_max", "group")})
        if cfg.side < 4 or cfg.side & (cfg.side - 1):
            raise ValueError(f"side must be a power of two, at least 4, got {cfg.side}: pad or crop the images")
        self.cfg = cfg
        self.generator, self.discriminator = ProGenerator(cfg), ProDiscriminator(cfg)

    def forward(self, z: Tensor, stage: int | None = None, alpha: float = 1.0) -> Tensor:
        """Return G(z) at a stage, the last if None."""
        return self.generator(z, stage, alpha)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        stage: int | None = None,
        alpha: float = 1.0,
        network: nn.Module | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return n images (n, C, s, s); see `Game.sample` for the last two arguments, the generator for the others."""
        check_counts(n=n)
        return (self.generator if network is None else network)(self.noise(n, generator), stage, alpha)


class Growth:
    """When to grow, counted in images shown: `stable` at a stage, `fade` while the next one fades in, and so on.

    Args:
        stages: how many stages, such as `cfg.stages`; at least 1.
        stable, fade: images, each at least 1; [PG] takes 800 000 for both.
    Raises:
        ValueError: a count below 1.
    """

    def __init__(self, stages: int, *, stable: int, fade: int) -> None:
        check_counts(stages=stages, stable=stable, fade=fade)
        self.cfg = {"stages": stages, "stable": stable, "fade": fade}
        self.images = 0  # shown so far

    def place(self) -> tuple[int, float]:
        """Return (stage, alpha) for the next images; alpha is in [0, 1) while a stage fades in, else 1."""
        stages, stable, fade = self.cfg.values()
        grown, within = divmod(self.images, stable + fade)
        if grown >= stages - 1:
            return stages - 1, 1.0
        return (grown, 1.0) if within < stable else (grown + 1, (within - stable) / fade)

    def state_dict(self) -> dict[str, int]:
        """Return how many images have been shown, for a checkpoint."""
        return {"images": self.images}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from what `state_dict` returned."""
        self.images = state["images"]


def progressive_step(
    model: ProGAN,
    opt_g: torch.optim.Optimizer,
    opt_d: torch.optim.Optimizer,
    growth: Growth,
    *,
    weight: float = 10.0,
    drift: float = 1e-3,
    n_critic: int = 1,
    ema: EMA | None = None,
    amp: torch.dtype | None = None,
    generator: torch.Generator | None = None,
) -> Step:
    """Return step(batch) -> logs: n_critic updates of the critic and one of the generator at growth's place.

    [PG] takes Adam with a learning rate of 1e-3 and betas of (0, 0.99); its code starts it anew at each stage. Ours
    goes on: a layer's own averages begin with its first gradient, and rest while it gets none.

    Args:
        model: a ProGAN, on its device.
        opt_g, opt_d: optimisers of model.generator and of model.discriminator, all stages of them.
        growth: says the stage; every step moves it on by the images of its batch.
        weight: lambda of the gradient penalty, at least 0.
        drift: weight of ``E r(x)^2``, which keeps the critic's values near 0, at least 0; [PG] Appendix A.1.
        n_critic: updates of the critic in one step, at least 1; a batch is dealt out in that many parts.
        ema: an `EMA` of model.generator, updated once per step.
        amp: dtype of autocast, as in `make_step`; the penalty is always computed without.
        generator: draws the noise, and the places of the penalty; None draws from torch's global generator.
    Returns:
        step; it takes x (B, C, H, W), or a tuple that begins with it, and logs `loss_d`, `loss_g`, `wasserstein`,
        `penalty`, `grad_norm_d`, `grad_norm_g`, `stage` and `alpha`.
    Raises:
        ValueError: weight or drift below 0, n_critic below 1, a growth of other stages, an optimiser of other
            parameters; from the step: images of another shape, a batch that n_critic or the group does not divide.
    """
    if not (weight >= 0 and drift >= 0):
        raise ValueError(f"weight and drift must be at least 0, got weight={weight}, drift={drift}")
    check_counts(n_critic=n_critic)
    if growth.cfg["stages"] != model.cfg.stages:
        raise ValueError(f"growth has {growth.cfg['stages']} stages, the model {model.cfg.stages}: take cfg.stages")
    player_g, player_d = Player(model.generator, opt_g, amp), Player(model.discriminator, opt_d, amp)

    def step(batch: Any) -> dict[str, Tensor]:
        stage, alpha = growth.place()
        critic = lambda x: model.discriminator(x, stage, alpha)
        parts, rows = deal(batch, n_critic), []
        for i, x in enumerate(parts):
            check_images(x, model.cfg.channels, model.cfg.side)
            real = at_stage(x, stage, alpha)
            with player_g.autocast(), torch.set_grad_enabled(i == n_critic - 1):
                fake = model.generator(model.noise(len(x), generator), stage, alpha)
            with player_d.autocast():
                r_real = critic(real)
                distance = wasserstein_d(r_real, critic(fake.detach()))
            penalty = gradient_penalty(critic, real, fake.detach(), generator=generator)
            loss_d = distance + weight * penalty + drift * r_real.square().mean()
            row = {"loss_d": loss_d.detach(), "wasserstein": -distance.detach(), "penalty": penalty.detach()}
            rows.append(row | {"grad_norm_d": player_d.descend(loss_d)})
        with player_g.autocast():
            loss_g = wasserstein_g(critic(fake))
        logs = mean_logs(rows) | {"loss_g": loss_g.detach(), "grad_norm_g": player_g.descend(loss_g)}
        if ema is not None:
            ema.update(model.generator)
        growth.images += sum(len(x) for x in parts)
        place = torch.tensor([stage, alpha]).to(player_d.device, non_blocking=True)
        return logs | {"stage": place[0], "alpha": place[1]}

    rules = {"weight": weight, "drift": drift, "n_critic": n_critic}
    step.parts = parts_of(model, player_g, player_d, ema, generator, **rules) | {"growth": growth}
    return step


def widths(cfg: ProGANConfig) -> list[int]:
    """Return the feature maps of every stage, from a side of 4 on."""
    return [min(cfg.width_max, cfg.width * (cfg.side // (4 * 2**k))) for k in range(cfg.stages)]


def check_place(cfg: ProGANConfig, stage: int | None, alpha: float) -> int:
    """Return the stage, the last if None.

    Raises:
        ValueError: stage is not in [0, stages), or alpha not in [0, 1].
    """
    stage = cfg.stages - 1 if stage is None else stage
    if not 0 <= stage < cfg.stages or not 0 <= alpha <= 1:
        raise ValueError(f"need 0 <= stage < {cfg.stages} and 0 <= alpha <= 1, got stage={stage}, alpha={alpha}")
    return stage
