"""The U-Net that predicts noise: residual blocks, attention, a time embedding, optional class labels.

Sources: [DDPM] Ho et al. 2020, arXiv:2006.11239, Appendix B. [UNET] Ronneberger et al. 2015, arXiv:1505.04597.
         [ADM] Dhariwal & Nichol 2021, arXiv:2105.05233. Layout of published files: diffusers' UNet2DModel.
Shapes:  B batch, C channels, H = W image side, D width of the embedding, K number of classes.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    side: int = 28  # H, in pixels; divisible by 2 ** (levels - 1)
    channels: int = 1  # C, in and out
    widths: tuple[int, ...] = (32, 64, 96)  # feature maps of each level; each a multiple of groups
    attention: tuple[bool, ...] = (False, False, True)  # which levels attend
    blocks: int = 2  # residual blocks per level going down; one more going up
    head_dim: int | None = 32  # width of one attention head; None: a single head
    groups: int = 8  # GroupNorm groups
    eps: float = 1e-6  # GroupNorm epsilon
    n_classes: int = 0  # K; 0: no label input
    freq_shift: float = 1.0  # 1: the lowest frequency is 1/10000 exactly [DDPM]; 0: just above it
    cos_first: bool = False  # order of the two halves of the time embedding
    symmetric_down: bool = True  # stride-2 convolution pads both sides; False pads right and bottom [DDPM]


PRESETS = {
    "mnist": UNetConfig(n_classes=11),
    "cifar10": UNetConfig(
        side=32, channels=3, widths=(128, 256, 256, 256), attention=(False, True, False, False), head_dim=None,
        groups=32, symmetric_down=False,
    ),
}


def time_embedding(t: Tensor, dim: int, *, freq_shift: float = 1.0, cos_first: bool = False) -> Tensor:
    """Sines and cosines of t at geometrically spaced frequencies.

    Args:
        t: (B,) timesteps, in [0, T).
        dim: width of the result, even and at least 4.
        freq_shift, cos_first: as in `UNetConfig`.
    Returns:
        (B, dim) float32 in [-1, 1].
    Source: [DDPM] Appendix B, after Vaswani et al. 2017, arXiv:1706.03762, Sec. 3.5.
    """
    half = dim // 2
    exponents = -math.log(10_000) * torch.arange(half, device=t.device, dtype=torch.float32) / (half - freq_shift)
    freqs = torch.exp(exponents)  # (dim/2,), from 1 down to about 1/10000
    angles = t.float()[:, None] * freqs  # (B, dim/2)
    halves = (angles.cos(), angles.sin()) if cos_first else (angles.sin(), angles.cos())
    return torch.cat(halves, dim=1)


class ResBlock(nn.Module):
    """norm, SiLU, conv, twice; the embedding is added in between, the input at the end."""

    def __init__(self, c_in: int, c_out: int, cfg: UNetConfig) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(cfg.groups, c_in, cfg.eps)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.emb = nn.Linear(4 * cfg.widths[0], c_out)
        self.norm2 = nn.GroupNorm(cfg.groups, c_out, cfg.eps)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:  # x (B, c_in, H, W), emb (B, D) after SiLU
        h = self.conv1(F.silu(self.norm1(x))) + self.emb(emb)[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    """Self-attention over the H·W positions, added to its input."""

    def __init__(self, width: int, cfg: UNetConfig) -> None:
        super().__init__()
        self.heads = width // (cfg.head_dim or width)
        self.norm = nn.GroupNorm(cfg.groups, width, cfg.eps)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, HW, C)
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, heads, HW, d)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, HW, C)
        return x + self.out(mixed).transpose(1, 2).unflatten(2, (H, W))


class Downsample(nn.Module):
    def __init__(self, width: int, cfg: UNetConfig) -> None:
        super().__init__()
        self.pad = (0, 0, 0, 0) if cfg.symmetric_down else (0, 1, 0, 1)
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1 if cfg.symmetric_down else 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x if self.conv.padding[0] else F.pad(x, self.pad))


class Upsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The blocks of one resolution; `resample` moves to the next one (absent at the last)."""

    def __init__(self, widths_in: list[int], width: int, attention: bool, resample: nn.Module | None, cfg: UNetConfig):
        super().__init__()
        self.blocks = nn.ModuleList(ResBlock(w, width, cfg) for w in widths_in)
        self.attention = nn.ModuleList(Attention(width, cfg) if attention else nn.Identity() for _ in widths_in)
        self.resample = resample


class UNet(nn.Module):
    """eps_hat = unet(x, t, labels): same shape as x. What it predicts (eps, x0 or v) is the loss's business."""

    Config = UNetConfig

    def __init__(self, cfg: UNetConfig) -> None:
        super().__init__()
        _check(cfg)
        self.cfg = cfg
        w, n = cfg.widths, cfg.blocks
        last = len(w) - 1
        self.time = nn.Sequential(nn.Linear(w[0], 4 * w[0]), nn.SiLU(), nn.Linear(4 * w[0], 4 * w[0]))
        self.label = nn.Embedding(cfg.n_classes, 4 * w[0]) if cfg.n_classes else None
        self.conv_in = nn.Conv2d(cfg.channels, w[0], 3, padding=1)
        self.down = nn.ModuleList()
        skips = [w[0]]  # widths of the feature maps that the way up will read
        for i, width in enumerate(w):
            resample = Downsample(width, cfg) if i < last else None
            self.down.append(Level([skips[-1]] + [width] * (n - 1), width, cfg.attention[i], resample, cfg))
            skips += [width] * (n + (i < last))
        self.mid = Level([w[-1]] * 2, w[-1], True, None, cfg)
        del self.mid.attention[1]  # one attention, between two blocks
        self.up = nn.ModuleList()
        width_in = w[-1]
        for i in reversed(range(len(w))):
            widths_in = []
            for _ in range(n + 1):
                widths_in.append(width_in + skips.pop())
                width_in = w[i]
            self.up.append(Level(widths_in, w[i], cfg.attention[i], Upsample(w[i]) if i else None, cfg))
        self.norm_out = nn.GroupNorm(cfg.groups, w[0], cfg.eps)
        self.conv_out = nn.Conv2d(w[0], cfg.channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predict from noisy images.

        Args:
            x: (B, C, H, W) noisy images, about unit variance.
            t: (B,) timesteps in [0, T).
            labels: (B,) int64 in [0, K), given exactly when the config has classes.
        Raises:
            ValueError: x has the wrong shape, or labels are missing or not expected.
        """
        cfg = self.cfg
        if x.shape[1:] != (cfg.channels, cfg.side, cfg.side):
            raise ValueError(f"x must be (B, {cfg.channels}, {cfg.side}, {cfg.side}), got {tuple(x.shape)}")
        if (labels is None) != (self.label is None):
            wanted = f"labels in [0, {cfg.n_classes})" if self.label is not None else "no labels (n_classes is 0)"
            raise ValueError(f"this U-Net takes {wanted}, got {'none' if labels is None else 'some'}")
        waves = time_embedding(t, cfg.widths[0], freq_shift=cfg.freq_shift, cos_first=cfg.cos_first)
        emb = self.time(waves.to(x.dtype))
        if self.label is not None:
            emb = emb + self.label(labels)
        emb = F.silu(emb)  # (B, D)
        h = self.conv_in(x)
        skips = [h]
        for level in self.down:
            for block, attend in zip(level.blocks, level.attention):
                h = attend(block(h, emb))
                skips.append(h)
            if level.resample is not None:
                h = level.resample(h)
                skips.append(h)
        h = self.mid.blocks[1](self.mid.attention[0](self.mid.blocks[0](h, emb)), emb)
        for level in self.up:
            for block, attend in zip(level.blocks, level.attention):
                h = attend(block(torch.cat([h, skips.pop()], dim=1), emb))
            if level.resample is not None:
                h = level.resample(h)
        return self.conv_out(F.silu(self.norm_out(h)))

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "UNet":
        """Load a published UNet2DModel, for example "google/ddpm-cifar10-32".

        Args:
            name: a folder with config.json and diffusion_pytorch_model.safetensors (or a pipeline folder that holds
                them in `unet/`), or a repository id of the Hugging Face Hub.
            hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token).
        Raises:
            ValueError: the config asks for a part this U-Net does not have (named), or the weights do not fit it
                (missing and surplus names are listed).
            FileNotFoundError: the folder lacks a file (named).
        """
        from genai_utils.diffusion.published import read_unet2d

        cfg, state = read_unet2d(name, **hub)
        unet = cls(cfg)
        unet.load_state_dict(state)
        return unet.eval()


def _check(cfg: UNetConfig) -> None:
    levels = len(cfg.widths)
    if not levels:
        raise ValueError(f"widths must name at least one level, got {cfg.widths}")
    if len(cfg.attention) != levels:
        raise ValueError(f"attention needs one entry per width: {levels} widths, got {cfg.attention}")
    if cfg.blocks < 1 or cfg.groups < 1:
        raise ValueError(f"blocks and groups must be at least 1, got {cfg.blocks} and {cfg.groups}")
    if cfg.side % 2 ** (levels - 1):
        raise ValueError(f"side must be divisible by {2 ** (levels - 1)} for {levels} levels, got {cfg.side}")
    if bad := [w for w in cfg.widths if w % cfg.groups]:
        raise ValueError(f"every width must be a multiple of groups={cfg.groups}, got {bad}")
    if cfg.widths[0] % 2 or cfg.widths[0] < 4:
        raise ValueError(f"the first width carries the time embedding: even and at least 4, got {cfg.widths[0]}")
    attending = {cfg.widths[-1], *(w for w, attends in zip(cfg.widths, cfg.attention) if attends)}
    if cfg.head_dim and (bad := sorted(w for w in attending if w % cfg.head_dim)):
        raise ValueError(f"every attending width must be a multiple of head_dim={cfg.head_dim}, got {bad}")
