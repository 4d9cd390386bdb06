"""The adversarial families under one protocol: DCGAN, WGAN-GP, and StyleGAN2's generator.

Sources: chapters 11 and 12. [CGAN] Mirza & Osindero 2014, arXiv:1411.1784: generator and discriminator see the label.
Shapes:  as in contestant.py; Z width of the noise.

The label reaches the generator as K more numbers of its noise, and the discriminator as K more channels of the picture:
so the steps of chapters 11 and 12 train the pair (picture, label) and need not know of it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.compare.contestant import Contestant, K
from genai_utils.compare.protocol import Protocol
from genai_utils.gan.dcgan import DCDiscriminator, DCGenerator
from genai_utils.gan.gan import Game, gan_step
from genai_utils.gan.stylegan import StyleGANConfig, StyleGenerator
from genai_utils.gan.wgan_gp import wgan_step
from genai_utils.training import EMA, adamw


def planes(one_hot: Tensor, side: int) -> Tensor:
    """Return one-hot labels (B, K) as channels of a picture, (B, K, H, H)."""
    return one_hot[:, :, None, None].expand(-1, -1, side, side)


class LabelledGenerator(nn.Module):
    """(picture, label) as (B, 1 + K, H, H), from noise whose last K numbers are the one-hot label."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> Tensor:
        x = self.network(z)
        return torch.cat([x, planes(z[:, -K:], x.shape[3])], dim=1)


class LabelledGame(Game):
    """A game on pairs of picture and label; `cfg.latent` is Z without the label."""

    def __init__(self, network: nn.Module, discriminator: nn.Module, latent: int) -> None:
        super().__init__()
        self.generator, self.discriminator, self.latent = LabelledGenerator(network), discriminator, latent

    def noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return noise and random one-hot labels, (n, Z + K)."""
        where = next(self.generator.parameters()).device
        labels = torch.randint(K, (n,), generator=generator, device=where)
        return with_label(torch.randn(n, self.latent, generator=generator, device=where), labels)


def with_label(z: Tensor, labels: Tensor) -> Tensor:
    """Return z (B, Z) with the one-hot label after it, (B, Z + K)."""
    return torch.cat([z, F.one_hot(labels, K).to(z)], dim=1)


class GameContestant(Contestant):
    group, latent = "adversaries", 32

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        self.model = LabelledGame(self.network(), self.discriminator(), self.latent)
        self.net = self.model.generator
        self.samplers = {self.row: self.draw}

    def step(self, ema: EMA, rate: float):
        inner = self.play(ema, rate)

        def step(batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
            x, labels = batch
            return inner(torch.cat([x, planes(F.one_hot(labels, K).to(x), x.shape[3])], dim=1))

        step.parts = inner.parts
        return step

    def draw(self, net: LabelledGenerator, labels: Tensor, generator: torch.Generator) -> Tensor:
        z = torch.randn(len(labels), self.latent, generator=generator, device=labels.device)
        with torch.no_grad():
            return self.picture(net.network, with_label(z, labels), generator).clamp(-1, 1)

    def picture(self, network: nn.Module, z: Tensor, generator: torch.Generator) -> Tensor:
        return network(z)


class DCGANContestant(GameContestant):
    row, title, chapter, batch, rate = "dcgan", "DCGAN", "11_gan", 64, 2e-4

    def network(self) -> nn.Module:
        width = 25 if self.protocol.side == 16 else 72
        return DCGenerator(self.latent + K, 1, self.protocol.side, width)

    def discriminator(self) -> nn.Module:
        width = 35 if self.protocol.side == 16 else 78
        return DCDiscriminator(1 + K, self.protocol.side, width, "batch")

    def play(self, ema: EMA, rate: float):
        players = (self.model.generator, self.model.discriminator)
        opt_g, opt_d = (adamw(net, rate, betas=(0.5, 0.999)) for net in players)
        return gan_step(self.model, opt_g, opt_d, ema=ema)


class WGANContestant(GameContestant):
    """A step is five updates of the critic, each on a fifth of the batch, and one of the generator."""

    row, title, chapter, batch, rate = "wgan_gp", "WGAN-GP", "11_gan", 160, 5e-4

    def network(self) -> nn.Module:
        return DCGANContestant.network(self)

    def discriminator(self) -> nn.Module:
        width = 35 if self.protocol.side == 16 else 78
        return DCDiscriminator(1 + K, self.protocol.side, width, "none")

    def play(self, ema: EMA, rate: float):
        players = (self.model.generator, self.model.discriminator)
        opt_g, opt_d = (adamw(net, rate, betas=(0.0, 0.9)) for net in players)
        return wgan_step(self.model, opt_g, opt_d, ema=ema)


class StyleGANContestant(GameContestant):
    """StyleGAN2's generator against DCGAN's discriminator under spectral norm, by the hinge loss, as in chapter 12."""

    row, title, chapter, batch, rate = "stylegan2", "StyleGAN2", "12_stylegan_biggan", 64, 2e-3

    def network(self) -> nn.Module:
        small = self.protocol.side == 16
        sizes = {"d_style": 32, "base": 512, "max_width": 32} if small else {"base": 2048, "max_width": 128}
        cfg = StyleGANConfig(side=self.protocol.side, latent=self.latent + K, mapping_layers=2, **sizes)
        return StyleGenerator(cfg)

    def picture(self, network: StyleGenerator, z: Tensor, generator: torch.Generator) -> Tensor:
        return network(z, generator=generator)  # which draws its own noise, too

    def discriminator(self) -> nn.Module:
        return DCDiscriminator(1 + K, self.protocol.side, 34 if self.protocol.side == 16 else 80, "spectral")

    def play(self, ema: EMA, rate: float):
        g, d = self.model.generator, self.model.discriminator
        opt_g = torch.optim.Adam(g.parameters(), rate, betas=(0.0, 0.99), fused=True)
        opt_d = torch.optim.Adam(d.parameters(), rate / 8, betas=(0.0, 0.99), fused=True)
        return gan_step(self.model, opt_g, opt_d, loss="hinge", ema=ema)
