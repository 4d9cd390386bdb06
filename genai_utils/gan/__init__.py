"""Adversaries: a generator learns from a network that learns to tell its samples from data.

Each family in its own file, with its own step for `fit`: gan (toys), dcgan, wgan_gp, progressive, stylegan, biggan,
cyclegan. `sample` is a function of stylegan.py and of biggan_step.py: import it from there.
"""

from genai_utils.gan.biggan import BigGAN, BigGANConfig
from genai_utils.gan.biggan_step import BigGANDiscriminator, BigGANGame, biggan_step
from genai_utils.gan.cyclegan import CycleGAN, CycleGANConfig, cyclegan_step
from genai_utils.gan.dcgan import DCGAN, DCGANConfig, dcgan_step
from genai_utils.gan.gan import GAN, Game, GANConfig, gan_step
from genai_utils.gan.losses import LOSSES, game_loss, gradient_penalty, r1_penalty
from genai_utils.gan.progressive import Growth, ProGAN, ProGANConfig, progressive_step
from genai_utils.gan.stylegan import StyleDiscriminator, StyleGAN, StyleGANConfig, StyleGenerator
from genai_utils.gan.stylegan_step import stylegan_step
from genai_utils.gan.wgan_gp import WGAN, WGANConfig, wgan_step

__all__ = [
    "DCGAN", "GAN", "LOSSES", "WGAN", "BigGAN", "BigGANConfig", "BigGANDiscriminator", "BigGANGame", "CycleGAN",
    "CycleGANConfig", "DCGANConfig", "GANConfig", "Game", "Growth", "ProGAN", "ProGANConfig", "StyleDiscriminator",
    "StyleGAN", "StyleGANConfig", "StyleGenerator", "WGANConfig", "biggan_step", "cyclegan_step", "dcgan_step",
    "game_loss", "gan_step", "gradient_penalty", "progressive_step", "r1_penalty", "stylegan_step", "wgan_step",
]  # fmt: skip
