"""VQ-VAE: an autoencoder whose code is a small grid of whole numbers, each naming an entry of a learned codebook.

Sources: [VQ] van den Oord et al. 2017, arXiv:1711.00937. Layout of published files: diffusers' VQModel.
Shapes:  B batch, C channels, H = W image side, h = w = H / f side of the grid, f = 2 ** (levels - 1), D width of an
         entry, K entries, P numbers of the likelihood per value of x. Images are scaled to [-1, 1].
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genai_utils.nn import Quantised, VectorQuantizer, perplexity
from genai_utils.vae.convnet import Decoder, Encoder
from genai_utils.vae.likelihoods import likelihood


@dataclass(frozen=True, kw_only=True)
class VQVAEConfig:
    side: int = 28  # H, in pixels, of the pictures it is trained on; a multiple of f. It takes others, too
    channels: int = 1  # C
    widths: tuple[int, ...] = (24, 48, 48)  # feature maps of each level; each a multiple of groups
    blocks: int = 1  # residual blocks per level going down; one more going up
    attention: tuple[bool, ...] = ()  # which levels attend, one entry per width; (): none
    mid_attention: bool = True  # whether the middle attends
    groups: int = 8  # GroupNorm groups
    eps: float = 1e-6  # GroupNorm epsilon
    latent: int = 16  # feature maps between encoder and codebook, where a 1x1 convolution takes them to D
    n_codes: int = 128  # K
    d_code: int = 16  # D
    decay: float | None = 0.99  # of the moving averages that the codebook follows, in [0, 1); None: by gradient
    restart: float = 0.0  # entries used less than this share of the mean move, in [0, 1); needs a decay
    likelihood: str = "logistic"  # "logistic" (8-bit pixels), "bernoulli" (pixels of -1 or 1) or "gaussian" (real)
    std: float = 1.0  # standard deviation of the "gaussian" likelihood, in the units of x


PRESETS = {
    "mnist": VQVAEConfig(restart=0.05),
    "cifar10": VQVAEConfig(side=32, channels=3, widths=(64, 128, 128), blocks=2, n_codes=512, d_code=32, restart=0.05),
}


class VQVAE(nn.Module):
    """params, quantised = vqvae(x): encode to vectors, take nearest entries, decode to the parameters of p(x | z)."""

    Config = VQVAEConfig

    def __init__(self, cfg: VQVAEConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.likelihood = likelihood(cfg.likelihood, cfg.std)
        self.factor = 2 ** (len(cfg.widths) - 1)  # f
        if cfg.side < 1 or cfg.side % self.factor:
            raise ValueError(f"side must be a multiple of {self.factor} for {len(cfg.widths)} levels, got {cfg.side}")
        if bad := {k: v for k in ("channels", "latent", "n_codes", "d_code") if (v := getattr(cfg, k)) < 1}:
            raise ValueError(f"sizes must be at least 1, got {bad}")
        shape = {
            "widths": cfg.widths, "blocks": cfg.blocks, "attention": cfg.attention,
            "mid_attention": cfg.mid_attention, "groups": cfg.groups, "eps": cfg.eps,
        }  # fmt: skip
        self.encoder = Encoder(cfg.channels, cfg.latent, **shape)
        self.quant_conv = nn.Conv2d(cfg.latent, cfg.d_code, 1)
        self.quantize = VectorQuantizer(cfg.n_codes, cfg.d_code, decay=cfg.decay, restart=cfg.restart)
        self.post_quant_conv = nn.Conv2d(cfg.d_code, cfg.latent, 1)
        self.decoder = Decoder(cfg.latent, self.likelihood.per_value * cfg.channels, **shape)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of pictures, (B, h, w) int64 in [0, K).

        Args:
            x: (B, C, H, W) images in [-1, 1], sides multiples of f.
        Raises:
            ValueError: x has the wrong shape.
        """
        return self.quantize.nearest(self.encode_vectors(x))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the parameters of p(x | z), (B, P C, H, W), from codes (B, h, w).

        Raises:
            ValueError: codes of another shape or type; on a CPU also codes beyond [0, K).
        """
        if codes.ndim != 3:
            raise ValueError(f"codes must be (B, h, w), got {tuple(codes.shape)}")
        return self.decode_vectors(self.quantize.embed(codes))

    def encode_vectors(self, x: Tensor) -> Tensor:
        """Return z_e(x) of [VQ], the vectors (B, D, h, w) before they are quantised."""
        return self.quant_conv(self.encoder(x))

    def decode_vectors(self, z_q: Tensor) -> Tensor:
        """Return the parameters of p(x | z), (B, P C, H, W) in float32 or better, from vectors (B, D, h, w)."""
        params = self.decoder(self.post_quant_conv(z_q))
        return params.to(torch.promote_types(params.dtype, torch.float32))  # likelihoods are sums of many terms

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Quantised]:
        """Return the parameters of p(x | z) and what the quantiser made of x; the generator draws restarts."""
        quantised = self.quantize(self.encode_vectors(x), generator)
        return self.decode_vectors(quantised.z_q), quantised

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "VQVAE":
        """Load a published VQModel, for example "CompVis/ldm-celebahq-256" (read from its subfolder `vqvae`).

        Such a model was trained on squared and perceptual errors. Here its output is the mean of a Gaussian p(x | z)
        with a standard deviation of 1, the likelihood whose logarithm is minus half the squared error.

        Args:
            name: a folder with config.json and diffusion_pytorch_model.safetensors (or a pipeline folder that holds
                them in `vqvae/`, `vae/`, `vqgan/` or `movq/`), or a repository id of the Hugging Face Hub.
            hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token).
        Raises:
            ValueError: the config asks for a part this VQ-VAE does not have (named), or the weights do not fit it
                (missing, surplus and misshapen names are listed).
            FileNotFoundError: the folder lacks a file (named).
        """
        from genai_utils.vae.published import read_vqmodel

        cfg, state = read_vqmodel(name, **hub)
        vqvae = cls(cfg)
        vqvae.load_state_dict(state)
        return vqvae.eval()


def vqvae_loss(
    model: VQVAE,
    batch: tuple[Tensor, Tensor | None],
    *,
    commitment: float = 0.25,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """``-log p(x | z_q) + |sg[z_e] - e|^2 + commitment |z_e - sg[e]|^2`` per image, in the batch's mean; [VQ] Eq. 3.

    The first term is in nats. (The paper prints it without the minus sign that a loss needs.) With a codebook that
    follows moving averages the second term is 0; see `VectorQuantizer` for the scale of both.

    Args:
        model: the VQ-VAE.
        batch: (x, labels): (B, C, H, W) images that its likelihood can give rise to; labels are not used.
        commitment: beta of the paper, at least 0.
        generator: draws the vectors of restarts; on x's device.
    Returns:
        The scalar loss, and logs: `nll`, -log p(x | z_q) in nats per image; `commitment`, ``|z_e - e|^2`` per image
        before it is weighted; `perplexity`, how many codes are in use in this batch, in effect.
    Raises:
        ValueError: commitment is negative; on a CPU also a pixel that the likelihood excludes (elsewhere its loss is
            infinite, which `fit` reports without making every step wait).
    """
    if commitment < 0:
        raise ValueError(f"commitment must be at least 0, got {commitment}")
    x, _ = batch
    if x.device.type == "cpu":
        model.likelihood.check(x)
    params, quantised = model(x, generator)
    nll = -model.likelihood.log_prob(params, x).mean()
    loss = nll + quantised.codebook_loss + commitment * quantised.commitment_loss
    in_use = perplexity(quantised.codes, model.cfg.n_codes)
    return loss, {"nll": nll, "commitment": quantised.commitment_loss, "perplexity": in_use}
