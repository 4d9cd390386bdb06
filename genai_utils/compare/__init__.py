"""The families side by side: one protocol, one evaluation, for every family of the book (chapter 21)."""

from genai_utils.compare.contestant import Contestant
from genai_utils.compare.evaluate import Evaluation
from genai_utils.compare.games import DCGANContestant, StyleGANContestant, WGANContestant
from genai_utils.compare.likelihoods import (
    GlowContestant,
    ImageTransformerContestant,
    PixelCNNContestant,
    RealNVPContestant,
    VAEContestant,
    VQVAEContestant,
)
from genai_utils.compare.noise import DiffusionContestant, FlowMatchingContestant
from genai_utils.compare.placement import placed
from genai_utils.compare.protocol import PRESETS, Protocol, draw_labels, load_pictures, quick
from genai_utils.compare.runs import draw, flops_of_step, judge, likelihood, run, train
from genai_utils.compare.shipped import load_contestant

CONTESTANTS: dict[str, type[Contestant]] = {  # in the order of the chapters
    "pixelcnn": PixelCNNContestant,
    "image_transformer": ImageTransformerContestant,
    "vae": VAEContestant,
    "vqvae": VQVAEContestant,
    "dcgan": DCGANContestant,
    "wgan_gp": WGANContestant,
    "stylegan2": StyleGANContestant,
    "realnvp": RealNVPContestant,
    "glow": GlowContestant,
    "flow_matching": FlowMatchingContestant,
    "diffusion": DiffusionContestant,
}

__all__ = [
    "CONTESTANTS", "PRESETS", "Contestant", "Evaluation", "Protocol", "draw", "draw_labels", "flops_of_step",
    "judge", "likelihood", "load_contestant", "load_pictures", "placed", "quick", "run", "train",
]  # fmt: skip
