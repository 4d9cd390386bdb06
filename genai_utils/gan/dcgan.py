"""DCGAN: the convolutional generator and discriminator whose few rules made adversarial training of images work.

The rules: strides instead of pooling; batch normalisation in both networks, but not where an image enters or leaves;
no fully connected hidden layers; ReLU in the generator, with a tanh at its end, and leaky ReLU in the discriminator;
weights from N(0, 0.02^2); Adam with a learning rate of 2e-4 and a beta_1 of 0.5.

Sources: [DCGAN] Radford et al. 2016, arXiv:1511.06434, Sec. 3 and 4, Fig. 1. [SN] Miyato et al. 2018,
         arXiv:1802.05957, Eq. 8.
Shapes:  B batch, C channels, H = W image side, Z width of the noise, w width. Images are in [-1, 1].
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from genai_utils.gan.gan import Game, check_counts, full, gan_step
from genai_utils.training import adamw
from genai_utils.training.loop import Step

NORMS = ("batch", "spectral", "layer", "none")


@dataclass(frozen=True, kw_only=True)
class DCGANConfig:
    side: int = 32  # H, in pixels: a power of two, at least 8
    channels: int = 1  # C
    latent: int = 100  # Z
    width_g: int = 32  # feature maps of the generator at H / 2; each halving of the side doubles them
    width_d: int = 32  # feature maps of the discriminator at H / 2; likewise
    norm_d: str = "batch"  # the discriminator's: one of NORMS; "batch" is the paper's, "spectral" is [SN]


PRESETS = {
    "mnist": DCGANConfig(latent=64),  # digits padded to 32x32
    "cifar10": DCGANConfig(channels=3, width_g=64, width_d=64, norm_d="spectral"),
    "published": DCGANConfig(side=64, channels=3, width_g=128, width_d=128),  # Fig. 1: 1024 maps of 4x4
}


class DCGenerator(nn.Module):
    """x = G(z): a 4x4 grid of features, then transposed convolutions that double the side; [DCGAN] Fig. 1."""

    def __init__(self, latent: int, channels: int, side: int, width: int) -> None:
        super().__init__()
        n = halvings(side)
        widths = [width * 2**i for i in range(n - 1, -1, -1)]  # at 4, 8, ..., H / 2
        layers = [nn.ConvTranspose2d(latent, widths[0], 4, bias=False)]  # (B, Z, 1, 1) to 4x4
        for a, b in zip(widths, widths[1:]):
            layers += [nn.BatchNorm2d(a), nn.ReLU(inplace=True), nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False)]
        last = nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False)
        self.layers = nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU(inplace=True), last, nn.Tanh())
        self.apply(init_dcgan)

    def forward(self, z: Tensor) -> Tensor:
        """Return images (B, C, H, W) in [-1, 1], float32 or better, from z (B, Z)."""
        return full(self.layers(z[:, :, None, None]))


class DCDiscriminator(nn.Module):
    """r(x): strided convolutions that halve the side down to 4x4, then one logit; the generator's mirror image."""

    def __init__(self, channels: int, side: int, width: int, norm: str = "batch") -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"the discriminator's norm must be one of {', '.join(NORMS)}, got {norm!r}")
        self.channels, self.side = channels, side
        wrap = spectral_norm if norm == "spectral" else nn.Identity()
        widths = [width * 2**i for i in range(halvings(side))]  # at H / 2, H / 4, ..., 4
        layers = [wrap(nn.Conv2d(channels, width, 4, 2, 1, bias=norm != "batch")), nn.LeakyReLU(0.2, inplace=True)]
        for i, (a, b) in enumerate(zip(widths, widths[1:])):
            layers.append(wrap(nn.Conv2d(a, b, 4, 2, 1, bias=norm in ("spectral", "none"))))
            if norm == "batch":
                layers.append(nn.BatchNorm2d(b))
            if norm == "layer":
                layers.append(nn.LayerNorm([b, side >> i + 2, side >> i + 2]))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.layers = nn.Sequential(*layers, wrap(nn.Conv2d(widths[-1], 1, 4, bias=norm == "spectral")))
        self.apply(init_dcgan)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B,), float32 or better, of images (B, C, H, W) in [-1, 1].

        Raises:
            ValueError: x has other channels or another side.
        """
        check_images(x, self.channels, self.side)
        return full(self.layers(x)).flatten()


class DCGAN(Game):
    """The game on images: `DCGAN(PRESETS["mnist"])`; `dcgan_step` trains it as the paper does."""

    Config = DCGANConfig

    def __init__(self, cfg: DCGANConfig) -> None:
        super().__init__()
        check_counts(channels=cfg.channels, latent=cfg.latent, width_g=cfg.width_g, width_d=cfg.width_d)
        self.cfg = cfg
        self.generator = DCGenerator(cfg.latent, cfg.channels, cfg.side, cfg.width_g)
        self.discriminator = DCDiscriminator(cfg.channels, cfg.side, cfg.width_d, cfg.norm_d)


def dcgan_step(model: DCGAN, *, lr: float = 2e-4, **rules: Any) -> Step:
    """Return `gan_step` with the paper's optimisers: Adam, a beta_1 of 0.5, one learning rate for both; [DCGAN] Sec. 4.

    Args:
        model: a DCGAN, on its device.
        lr: learning rate, > 0.
        rules: passed to `gan_step` (loss, r1, n_critic, ema, amp, generator).
    Raises:
        ValueError: as `gan_step`; r1 with batch normalisation in the discriminator, whose gradient mixes the images.
    """
    if rules.get("r1") and model.cfg.norm_d == "batch":
        raise ValueError(f"r1={rules['r1']} needs a discriminator whose norm_d is not 'batch': try 'layer' or 'none'")
    opt_g, opt_d = (adamw(net, lr, betas=(0.5, 0.999)) for net in (model.generator, model.discriminator))
    return gan_step(model, opt_g, opt_d, **rules)


@torch.no_grad()
def init_dcgan(module: nn.Module) -> None:
    """Draw a module's own weights from N(0, 0.02^2), a normalisation's gain from N(1, 0.02^2); biases are 0.

    The paper says this of "all weights"; that gains scatter about 1 is from its code. Weights under spectral
    normalisation keep PyTorch's initialisation, as dividing by the norm undoes any scale.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d) and not hasattr(module, "parametrizations"):
        module.weight.normal_(1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, 0.02)
        if module.bias is not None:
            module.bias.zero_()


def halvings(side: int) -> int:
    """Return how often a side is halved down to 4, at least once.

    Raises:
        ValueError: side is not a power of two, or below 8.
    """
    if side < 8 or side & (side - 1):
        raise ValueError(f"side must be a power of two, at least 8, got {side}: pad or crop the images")
    return side.bit_length() - 3


def check_images(x: Tensor, channels: int, side: int) -> None:
    """Raise a ValueError unless x is (B, channels, side, side)."""
    if x.ndim != 4 or x.shape[1:] != (channels, side, side):
        raise ValueError(f"x must be (B, {channels}, {side}, {side}), got {tuple(x.shape)}: pad or resize the images")
