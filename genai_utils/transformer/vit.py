"""ViT: a transformer that reads a picture as a sentence of patches, classifies it, and can be asked where it looks.

Sources: [VIT] Dosovitskiy et al. 2021, arXiv:2010.11929, Sec. 3, Eq. 1 to 4. [ROLL] Abnar & Zuidema 2020,
         arXiv:2005.00928, Sec. 3 (attention rollout). Published files: google/vit-base-patch16-224.
Shapes:  B batch, C channels, H = W image side, P side of a patch, h = w = H / P, N = h w patches, T = 1 + N tokens
         (the class token comes first), E width, A heads, L layers, K classes. Images are scaled to [-1, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.nn import PatchEmbed, SelfAttention, attention_maps, sine_positions


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    side: int = 28  # H = W, in pixels; a multiple of patch
    channels: int = 1  # C
    patch: int = 4  # P, in pixels
    d_model: int = 96  # E, a multiple of n_heads
    n_layers: int = 4  # L
    n_heads: int = 4  # A
    d_hidden: int = 384  # width inside the MLP of a block
    positions: str = "learned"  # "learned", "sine" (fixed, of the row and the column) or "none"
    n_classes: int = 10  # K; 0: no classifier, the output is the class token
    pooler: bool = False  # a tanh layer before the classifier: the hidden layer that [VIT] Sec. 3.1 has in pre-training
    qkv_bias: bool = True  # whether the projections to queries, keys and values add one
    eps: float = 1e-6  # of every LayerNorm
    dropout: float = 0.0  # share of features dropped after the embedding and each half of a block, in [0, 1)
    attention_dropout: float = 0.0  # share of attention weights dropped, in [0, 1)


PRESETS = {
    "mnist": ViTConfig(),
    "base-16": ViTConfig(  # ViT-Base of [VIT] Table 1, on patches of 16 pixels
        side=224, channels=3, patch=16, d_model=768, n_layers=12, n_heads=12, d_hidden=3072, n_classes=1000
    ),
}


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)): (B, T, E) to (B, T, E); [VIT] Eq. 2 and 3.

    Args:
        d_model: E.
        n_heads: A.
        d_hidden: width inside the MLP.
        qkv_bias: whether queries, keys and values have a bias.
        eps: of the LayerNorms.
        dropout: share of features dropped after each half.
        attention_dropout: share of attention weights dropped.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_hidden: int,
        *,
        qkv_bias: bool = True,
        eps: float = 1e-6,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model, eps=eps)
        self.attention = SelfAttention(d_model, n_heads, dropout=attention_dropout)
        if not qkv_bias:
            self.attention.qkv = nn.Linear(d_model, 3 * d_model, bias=False)  # the way out keeps its own
        self.norm2 = nn.LayerNorm(d_model, eps=eps)
        self.mlp = nn.Sequential(nn.Linear(d_model, d_hidden), nn.GELU(), nn.Linear(d_hidden, d_model))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))  # [VIT] Eq. 2
        return x + self.dropout(self.mlp(self.norm2(x)))  # [VIT] Eq. 3


class ViT(nn.Module):
    """logits = vit(x), (B, K) float32 or better, for images x (B, C, H, W) in [-1, 1]."""

    Config = ViTConfig

    def __init__(self, cfg: ViTConfig) -> None:
        super().__init__()
        _check(cfg)
        self.cfg, self.grid = cfg, cfg.side // cfg.patch
        E, places = cfg.d_model, 1 + self.grid**2
        self.patches = PatchEmbed(cfg.channels, cfg.patch, E)
        self.class_token = nn.Parameter(torch.zeros(1, 1, E))
        self.positions = nn.Parameter(torch.zeros(1, places, E)) if cfg.positions == "learned" else None
        self.dropout = nn.Dropout(cfg.dropout)
        drop = {"dropout": cfg.dropout, "attention_dropout": cfg.attention_dropout}
        shape = {"qkv_bias": cfg.qkv_bias, "eps": cfg.eps}
        self.blocks = nn.ModuleList(Block(E, cfg.n_heads, cfg.d_hidden, **shape, **drop) for _ in range(cfg.n_layers))
        self.norm = nn.LayerNorm(E, eps=cfg.eps)
        self.pooler = nn.Linear(E, E) if cfg.pooler else None
        self.head = nn.Linear(E, cfg.n_classes) if cfg.n_classes else None
        self.apply(initialise)
        for p in (self.class_token, self.positions):
            if p is not None:
                nn.init.trunc_normal_(p, std=0.02)
        if self.head is not None:
            nn.init.zeros_(self.head.weight)  # every class is as likely at first; [VIT] Sec. 3.2

    def embed(self, x: Tensor, *, interpolate: bool = False) -> Tensor:
        """Return z_0, the tokens that the first block reads, (B, T, E); arguments as in `forward`; [VIT] Eq. 1."""
        self.check(x, interpolate)
        z = torch.cat([self.class_token.expand(len(x), -1, -1), self.patches(x)], 1)
        if self.cfg.positions != "none":
            z = z + self.positions_for(x.shape[2] // self.cfg.patch, x.shape[3] // self.cfg.patch).to(z.dtype)
        return self.dropout(z)

    def positions_for(self, rows: int, columns: int) -> Tensor:
        """Return the vectors that tell places apart, (1, 1 + rows columns, E), the class token's first.

        Learned ones of another grid are interpolated between those there are, bicubically: [VIT] Sec. 3.2. Sines are
        those of the grid asked for, and the class token has none.
        """
        if self.positions is None:
            sines = sine_positions(rows, columns, self.cfg.d_model).to(self.class_token)
            return torch.cat([torch.zeros_like(sines[:1]), sines])[None]
        if (rows, columns) == (self.grid, self.grid):
            return self.positions
        old = self.positions[:, 1:].transpose(1, 2).unflatten(2, (self.grid, self.grid))  # (1, E, h, w)
        new = F.interpolate(old, (rows, columns), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
        return torch.cat([self.positions[:, :1], new], 1)

    def encode(self, x: Tensor, *, interpolate: bool = False) -> Tensor:
        """Return the last layer's tokens after the norm, (B, T, E); arguments as in `forward`."""
        z = self.embed(x, interpolate=interpolate)
        for block in self.blocks:
            z = block(z)
        return self.norm(z)

    def forward(self, x: Tensor, *, interpolate: bool = False) -> Tensor:
        """Return logits (B, K), or the (pooled) class token (B, E) where there is no classifier; [VIT] Eq. 4.

        Args:
            x: (B, C, H, W) images in [-1, 1].
            interpolate: take images of other sizes, multiples of P, by interpolating the positions.
        Raises:
            ValueError: x is empty, has another number of channels or another size, or is no floating point tensor.
        """
        y = self.encode(x, interpolate=interpolate)[:, 0]
        if self.pooler is not None:
            y = torch.tanh(self.pooler(y))
        if self.head is not None:
            y = self.head(y)
        return y.to(torch.promote_types(y.dtype, torch.float32))

    @torch.no_grad()
    def maps(self, x: Tensor, *, interpolate: bool = False) -> list[Tensor]:
        """Return the attention weights of every layer, L tensors (B, A, T, T), rows sum to one; x as in `forward`."""
        with attention_maps(self) as found:
            self.encode(x, interpolate=interpolate)
            return [layer[0] for layer in found.values()]

    def check(self, x: Tensor, interpolate: bool = False) -> None:
        """Raise a ValueError unless x is (B, C, H, W) floats, B >= 1, of the config's side or, interpolating, any."""
        C, side, patch = self.cfg.channels, self.cfg.side, self.cfg.patch
        if x.ndim != 4 or x.shape[1] != C or not len(x) or not x.is_floating_point():
            got = f"{tuple(x.shape)} {x.dtype}"
            raise ValueError(f"x must be (B, {C}, {side}, {side}) floats in [-1, 1], B at least 1, got {got}")
        H, W = x.shape[2:]
        if interpolate and (H % patch or W % patch or not H or not W):
            raise ValueError(f"sides must be multiples of the patch, {patch} pixels, got {H} x {W}; crop or pad")
        if not interpolate and (H, W) != (side, side):
            raise ValueError(f"x must be {side} x {side} pixels, got {H} x {W}; resize it, or ask to interpolate=True")

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "ViT":
        """Load a published ViT, for example "google/vit-base-patch16-224", in evaluation mode.

        Args:
            name: a folder with config.json and model.safetensors (or pytorch_model.bin), or a repository id of the
                Hugging Face Hub. Files of a classifier and of a bare encoder are read, under old and new names.
            hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token).
        Raises:
            ValueError: the config asks for a part this ViT does not have (named), or the weights do not fit it
                (missing, surplus and misshapen names are listed).
            FileNotFoundError: the folder lacks a file (named).
        """
        from genai_utils.transformer.published_vit import read_vit

        cfg, state = read_vit(name, **hub)
        with torch.device("meta"):  # no time is spent on first weights
            vit = cls(cfg)
        vit.load_state_dict(state, assign=True)
        return vit.eval()


def initialise(module: nn.Module) -> None:
    """Draw a linear layer's weights so that variances last (Glorot & Bengio 2010, uniform), and zero its bias."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def vit_loss(model: ViT, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy in nats, averaged over the batch, and the share of right answers.

    Args:
        model: a ViT with a classifier.
        batch: (x, labels): (B, C, H, W) images in [-1, 1] and (B,) int64 classes in [0, K).
    Raises:
        ValueError: the model has no classifier; labels of another shape, type or, on a CPU, range.
    """
    (x, labels), K = batch, model.cfg.n_classes
    if not K:
        raise ValueError("this ViT has no classifier (n_classes is 0); give the config the number of classes")
    if labels.shape != x.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(f"labels must be ({len(x)},) int64, one an image, got {tuple(labels.shape)} {labels.dtype}")
    if labels.device.type == "cpu" and (bad := (labels < 0) | (labels >= K)).any():
        raise ValueError(f"labels must be in [0, {K}), got {labels[bad][0].item()}")
    logits = model(x)
    return F.cross_entropy(logits, labels), {"accuracy": (logits.argmax(1) == labels).float().mean()}


def attention_rollout(maps: Sequence[Tensor], *, residual: float = 0.5) -> Tensor:
    """Return how much of each first token reaches each token after every layer, (L, B, T, T), rows sum to one.

    A layer hands on a mean over its heads of what it attends to, and with weight `residual` what was there; layers
    multiply: [ROLL] Sec. 3. Row 0 of the last is where the class token's answer comes from, by this account; of what
    the values and the MLPs do it knows nothing.

    Args:
        maps: L tensors (B, A, T, T), first layer first, as `ViT.maps` returns.
        residual: weight of the way round a layer, in [0, 1]; [ROLL] takes one half.
    Raises:
        ValueError: no maps, maps of another shape, or a weight out of range.
    """
    _check_maps(maps)
    if not 0 <= residual <= 1:
        raise ValueError(f"residual must be in [0, 1], got {residual}")
    eye = torch.eye(maps[0].shape[-1], dtype=maps[0].dtype, device=maps[0].device)
    rolled, each = eye, []
    for weights in maps:
        rolled = ((1 - residual) * weights.mean(1) + residual * eye) @ rolled
        each.append(rolled)
    return torch.stack(each)


def attention_distance(maps: Sequence[Tensor], grid: tuple[int, int], *, patch: float = 1.0) -> Tensor:
    """Return the mean distance that each head of each layer looks over, (L, A); [VIT] Sec. 4.5 and Fig. 7.

    From every patch to every patch, weighted by attention, averaged over patches and images. The class token has no
    place: it neither asks nor is asked, and the weights of the other tokens are scaled to sum to one. A patch that
    attends to the class token alone is left out of the mean; NaN if all of them do.

    Args:
        maps: L tensors (B, A, T, T) with T = 1 + h w, as `ViT.maps` returns.
        grid: (h, w).
        patch: side of a patch: 1 gives distances in patches, P in pixels.
    Raises:
        ValueError: no maps, or maps that are not of such a grid.
    """
    _check_maps(maps)
    rows, columns = grid
    if maps[0].shape[-1] != 1 + rows * columns:
        raise ValueError(f"maps of a {rows} x {columns} grid have {1 + rows * columns} tokens, got {maps[0].shape[-1]}")
    like = {"dtype": maps[0].dtype, "device": maps[0].device}
    places = torch.cartesian_prod(torch.arange(rows, **like), torch.arange(columns, **like))  # (N, 2)
    apart = (places[:, None] - places[None]).square().sum(2).sqrt() * patch  # (N, N); 0 is exact, unlike cdist's
    found = []
    for w in (weights[:, :, 1:, 1:] for weights in maps):
        total = w.sum(3)  # (B, A, N); 0 where a patch attends to the class token alone
        far = ((w * apart).sum(3) / total).masked_fill(total == 0, 0)
        found.append(far.mean((0, 2)) / (total != 0).to(far.dtype).mean((0, 2)))
    return torch.stack(found)


def _check_maps(maps: Sequence[Tensor]) -> None:
    if not len(maps) or any(m.ndim != 4 or m.shape[2] != m.shape[3] or m.shape != maps[0].shape for m in maps):
        got = [tuple(m.shape) for m in maps]
        raise ValueError(f"maps must be one tensor (B, A, T, T) a layer, all of one shape, got {got}")


def _check(cfg: ViTConfig) -> None:
    sizes = ("side", "channels", "patch", "d_model", "n_layers", "n_heads", "d_hidden")
    if bad := {k: v for k in sizes if (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
    if cfg.side % cfg.patch:
        raise ValueError(f"side must be a multiple of patch, got {cfg.side} and {cfg.patch}")
    if cfg.n_classes < 0:
        raise ValueError(f"n_classes must be at least 0, got {cfg.n_classes}")
    if cfg.positions not in ("learned", "sine", "none"):
        raise ValueError(f"positions must be 'learned', 'sine' or 'none', got {cfg.positions!r}")
    if cfg.positions == "sine" and cfg.d_model % 4:
        raise ValueError(f"d_model must be a multiple of 4 for sine positions, got {cfg.d_model}")
    if bad := {k: v for k in ("dropout", "attention_dropout") if not 0 <= (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"shares to drop must be in [0, 1), got {bad}")
