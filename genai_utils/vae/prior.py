"""The prior of a VQ-VAE: a causal transformer over the codes of a grid, read row by row; and what it makes possible.

With it one can draw pictures, and say how many nats a picture takes: those of its codes, then those of its pixels.

Sources: [VQ] van den Oord et al. 2017, arXiv:1711.00937, Sec. 3.3 (a prior over the codes, learned afterwards).
         [TF] Vaswani et al. 2017, arXiv:1706.03762. [GPT2] Radford et al. 2019 (norms before attention and MLP).
Shapes:  B batch, h = w side of the grid, L = h w places, K codes, D width of the transformer.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.vae.likelihoods import Gaussian
from genai_utils.vae.vqvae import VQVAE


@dataclass(frozen=True, kw_only=True)
class CodePriorConfig:
    side: int = 7  # h = w
    n_codes: int = 128  # K
    n_classes: int = 10  # classes of pictures, of which the first token names one; 0: no labels
    d_model: int = 128  # D, a multiple of n_heads
    n_layers: int = 4
    n_heads: int = 4


PRESETS = {"mnist": CodePriorConfig(), "cifar10": CodePriorConfig(side=8, n_codes=512, d_model=256, n_layers=8)}


class Block(nn.Module):
    """Causal self-attention, then an MLP; each reads a normalised copy of x and adds to x."""

    def __init__(self, cfg: CodePriorConfig) -> None:
        super().__init__()
        self.heads = cfg.n_heads
        self.norm1 = nn.LayerNorm(cfg.d_model)
        self.qkv = nn.Linear(cfg.d_model, 3 * cfg.d_model)
        self.out = nn.Linear(cfg.d_model, cfg.d_model)
        self.norm2 = nn.LayerNorm(cfg.d_model)
        self.mlp = nn.Sequential(
            nn.Linear(cfg.d_model, 4 * cfg.d_model), nn.GELU(), nn.Linear(4 * cfg.d_model, cfg.d_model)
        )

    def forward(self, x: Tensor, cache: Tensor | None = None, i: int = 0) -> Tensor:
        """Map x (B, L, D) to its like; with a cache (2, B, heads, L, D / heads), only x (B, 1, D) of place i."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if cache is None:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            cache[0, :, :, i], cache[1, :, :, i] = k[:, :, 0], v[:, :, 0]
            mixed = F.scaled_dot_product_attention(q, cache[0, :, :, : i + 1], cache[1, :, :, : i + 1])
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class CodePrior(nn.Module):
    """logits = prior(codes, labels): of the code at every place, given the label and the codes before it."""

    Config = CodePriorConfig

    def __init__(self, cfg: CodePriorConfig) -> None:
        super().__init__()
        _check(cfg)
        self.cfg = cfg
        self.start = nn.Embedding(max(cfg.n_classes, 1), cfg.d_model)  # the first token: a class, or nothing but "go"
        self.code = nn.Embedding(cfg.n_codes, cfg.d_model)
        self.place = nn.Embedding(cfg.side**2, cfg.d_model)
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.n_layers))
        self.norm_out = nn.LayerNorm(cfg.d_model)
        self.head = nn.Linear(cfg.d_model, cfg.n_codes)
        for table in (self.start, self.code, self.place):
            nn.init.normal_(table.weight, std=0.02)  # [GPT2]

    def forward(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits (B, L, K) in float32 or better; those at place i depend on the label and on codes before i.

        Args:
            codes: (B, h, w) int64 in [0, K).
            labels: (B,) int64 in [0, n_classes), given exactly when the config has classes.
        Raises:
            ValueError: codes of another shape or type; labels missing or not expected; on a CPU also values out of
                range.
        """
        side, K = self.cfg.side, self.cfg.n_codes
        if codes.shape[1:] != (side, side) or codes.dtype != torch.int64:
            raise ValueError(f"codes must be (B, {side}, {side}) int64, got {tuple(codes.shape)} {codes.dtype}")
        _check_range("codes", codes, K)
        before = self.code(codes.flatten(1)[:, :-1])  # (B, L - 1, D): what a place sees is one place back
        x = torch.cat([self.first(len(codes), labels)[:, None], before], dim=1) + self.place.weight  # (B, L, D)
        for block in self.blocks:
            x = block(x)
        return _full(self.head(self.norm_out(x)))

    def first(self, n: int, labels: Tensor | None) -> Tensor:
        """Return the vectors (n, D) of the first token; errors as in `forward`."""
        n_classes = self.cfg.n_classes
        if (labels is None) != (n_classes == 0):
            wanted = f"labels in [0, {n_classes})" if n_classes else "no labels (n_classes is 0)"
            raise ValueError(f"this prior takes {wanted}, got {'none' if labels is None else 'some'}")
        if labels is None:
            return self.start.weight.expand(n, -1)
        if labels.shape != (n,):
            raise ValueError(f"labels must be ({n},), one for each grid of codes, got {tuple(labels.shape)}")
        _check_range("labels", labels, n_classes)
        return self.start(labels)

    def cache(self, n: int) -> Tensor:
        """Return room for the keys and values of n grids: (n_layers, 2, n, heads, L, D / heads)."""
        cfg, like = self.cfg, self.place.weight
        shape = (cfg.n_layers, 2, n, cfg.n_heads, cfg.side**2, cfg.d_model // cfg.n_heads)
        return torch.empty(shape, device=like.device, dtype=like.dtype)

    def next_logits(self, token: Tensor, i: int, cache: Tensor) -> Tensor:
        """Return the logits (B, K) at place i, and keep its keys and values in `cache`; places come in order.

        Args:
            token: (B, D) vector of what comes before place i: `first(...)` at i = 0, then `code(codes)`.
            i: which place, in [0, L).
            cache: what `cache` returned, filled by the calls for the places before i.
        """
        x = (token + self.place.weight[i])[:, None]  # (B, 1, D)
        for block, kept in zip(self.blocks, cache):
            x = block(x, kept, i)
        return _full(self.head(self.norm_out(x[:, 0])))

    def log_prob(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return log p(codes | labels) in nats, (B,).

        Without labels, a prior with classes gives log p(codes): the average over its classes, all equally likely.
        """
        if labels is None and (n := self.cfg.n_classes):
            each = torch.stack([self.log_prob(codes, labels=torch.full_like(codes[:, 0, 0], y)) for y in range(n)])
            return each.logsumexp(0) - math.log(n)
        logits = self(codes, labels)
        return -F.cross_entropy(logits.transpose(1, 2), codes.flatten(1), reduction="none").sum(1)


def prior_loss(model: CodePrior, batch: tuple[Tensor, Tensor | None]) -> tuple[Tensor, dict[str, Tensor]]:
    """-log p(codes | labels) in nats per picture, averaged over the batch.

    Args:
        model: the prior.
        batch: (codes, labels): (B, h, w) int64 in [0, K) and (B,) int64 classes. The labels are used only if the
            config has classes, so that batches of any labelled set serve both kinds of model.
    Returns:
        The scalar loss, and logs: `nll`, the same, and `nll_per_code`, in nats per place.
    Raises:
        ValueError: codes or labels do not fit; see `CodePrior.forward`.
    """
    codes, labels = batch
    if model.cfg.n_classes and labels is None:
        raise ValueError(f"this prior takes labels in [0, {model.cfg.n_classes}), got none")
    nll = -model.log_prob(codes, labels if model.cfg.n_classes else None).mean()
    return nll, {"nll": nll, "nll_per_code": nll / model.cfg.side**2}


@torch.no_grad()
def sample_codes(
    model: CodePrior,
    n: int,
    labels: Tensor | None = None,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Draw n grids of codes place by place, yielding (i, codes) after every place: (n, h, w) int64, -1 where none is.

    Keys and values of earlier places are kept, so that a place costs one place, and not all before it again.

    Args:
        model: a prior in evaluation mode.
        n: how many.
        labels: (n,) int64 classes to ask for, if the model takes them.
        temperature: divides the logits, above 0; 1 draws from the model, less prefers what is likely.
        generator: on the model's device.
    Raises:
        ValueError: n < 1, temperature <= 0, or labels that do not fit (raised at the first step).
    """
    if n < 1 or not temperature > 0:
        raise ValueError(f"need n >= 1 and temperature > 0, got n={n}, temperature={temperature}")
    side, cache, token = model.cfg.side, model.cache(n), model.first(n, labels)
    codes = torch.full((n, side**2), -1, device=token.device)
    for i in range(side**2):
        probabilities = (model.next_logits(token, i, cache) / temperature).softmax(1)
        codes[:, i] = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
        token = model.code(codes[:, i])
        yield i, codes.view(n, side, side).clone()


class DescriptionLength(NamedTuple):
    """Nats that pictures take, (B,) each: first their codes, then their pixels given the codes."""

    codes: Tensor  # -log p(codes)
    pixels: Tensor  # -log p(x | codes)


@torch.no_grad()
def description_length(vqvae: VQVAE, prior: CodePrior, x: Tensor, labels: Tensor | None = None) -> DescriptionLength:
    """Return an upper bound on -log p(x) in nats, in two parts: send the codes of x, then x given its codes.

    p(x) is the sum of p(codes) p(x | codes) over all K^L grids of codes. One of them are the codes that the encoder
    gives to x; one term of a sum of positive terms is no larger than the sum. So it is a bound, not an estimate.

    Args:
        vqvae, prior: trained, in evaluation mode; the prior on this VQ-VAE's codes.
        x: (B, C, H, W) images in [-1, 1], values that the likelihood can give rise to.
        labels: (B,) int64 classes: the bound is then on -log p(x | label). None: on -log p(x).
    Raises:
        ValueError: the likelihood is a density, so that a picture has no probability; x or labels do not fit.
    """
    if isinstance(vqvae.likelihood, Gaussian):
        raise ValueError("a Gaussian likelihood is a density: pictures have no description length under it")
    vqvae.likelihood.check(x)
    codes = vqvae.encode(x)
    log_p = vqvae.likelihood.log_prob(vqvae.decode(codes), x)
    return DescriptionLength(-prior.log_prob(codes, labels), -log_p)


def _check_range(name: str, values: Tensor, n: int) -> None:
    if values.device.type == "cpu" and not ((0 <= values) & (values < n)).all():  # a GPU would have to wait
        raise ValueError(f"{name} must be in [0, {n}), got {values[(values < 0) | (values >= n)][0].item()}")


def _full(x: Tensor) -> Tensor:
    """Leave half precision: likelihoods are sums of many terms."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check(cfg: CodePriorConfig) -> None:
    if bad := {k: v for k in ("side", "n_codes", "d_model", "n_layers", "n_heads") if (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
    if cfg.d_model % cfg.n_heads:
        raise ValueError(f"d_model must be a multiple of n_heads={cfg.n_heads}, got {cfg.d_model}")
    if cfg.n_classes < 0:
        raise ValueError(f"n_classes must be at least 0, got {cfg.n_classes}")
