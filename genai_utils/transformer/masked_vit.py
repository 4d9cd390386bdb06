"""A masked vision transformer: sees some patches of a picture, says what the hidden ones may be, and so fills them in.

As in [MAE] the encoder reads visible patches only, and a light decoder the hidden places too. There the answer is the
hidden pixels, by squared error: the mean over all that could be hidden, which is blurred, and nothing to draw from.
Here patches are words of a small codebook (the means of k-means), as in [BEIT], and the answer is a probability of
each. Its mean is the same blur (`expected`). But one patch can be drawn, shown to the encoder, and the next asked for:
then the picture is a sample, and -log p of it, patch after patch in a random order, is what training lowers
([NADE], [ARDM]). Drawing several at a time ([MASKGIT]) is faster and treats them as independent, which they are not.

Sources: [MAE] He et al. 2021, arXiv:2111.06377, Sec. 3. [BEIT] Bao et al. 2022, arXiv:2106.08254, Sec. 2. [NADE] Uria
         et al. 2014, arXiv:1310.1757, Sec. 3 (all orders in one network). [ARDM] Hoogeboom et al. 2022,
         arXiv:2110.02037, Sec. 3. [MASKGIT] Chang et al. 2022, arXiv:2202.04200, Sec. 3.
Shapes:  B batch, C channels, H = W image side, P side of a patch, N = (H / P)^2 patches, V of them visible, K codes,
         E and D widths of encoder and decoder. Images are scaled to [-1, 1].
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.nn import patchify, sine_positions, unpatchify
from genai_utils.transformer.vit import Block, initialise


@dataclass(frozen=True, kw_only=True)
class MaskedViTConfig:
    side: int = 28  # H = W, in pixels; a multiple of patch
    channels: int = 1  # C
    patch: int = 4  # P, in pixels
    n_codes: int = 256  # K
    d_model: int = 96  # E, a multiple of 4 and of n_heads
    n_layers: int = 3  # blocks of the encoder
    n_heads: int = 4  # heads of every attention
    d_decoder: int = 64  # D, a multiple of 4 and of n_heads
    decoder_layers: int = 2  # blocks of the decoder


class MaskedViT(nn.Module):
    """logits = model(codes, order, V), (B, N - V, K): of each hidden patch, given the V visible ones.

    An order is a permutation of places for each picture, (B, N) int64: its first V places are visible. See
    `random_order`. A new model's codebook is zero: `fit_codebook` makes one of pictures, `model.codebook.copy_(...)`.
    """

    Config = MaskedViTConfig

    def __init__(self, cfg: MaskedViTConfig) -> None:
        super().__init__()
        _check(cfg)
        self.cfg, self.grid, self.n_patches = cfg, cfg.side // cfg.patch, (cfg.side // cfg.patch) ** 2
        E, D, P = cfg.d_model, cfg.d_decoder, cfg.channels * cfg.patch**2
        self.register_buffer("codebook", torch.zeros(cfg.n_codes, P))  # (K, C P P), in [-1, 1]
        for name, width in (("places", E), ("decoder_places", D)):  # (N, width) each
            self.register_buffer(name, sine_positions(self.grid, self.grid, width), persistent=False)
        self.embed = nn.Linear(P, E)
        self.class_token = nn.Parameter(torch.zeros(1, 1, E))  # a place to read when no patch is visible
        self.blocks = nn.ModuleList(Block(E, cfg.n_heads, 4 * E) for _ in range(cfg.n_layers))
        self.norm = nn.LayerNorm(E)
        self.to_decoder = nn.Linear(E, D)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, D))
        self.decoder = nn.ModuleList(Block(D, cfg.n_heads, 4 * D) for _ in range(cfg.decoder_layers))
        self.decoder_norm = nn.LayerNorm(D)
        self.head = nn.Linear(D, cfg.n_codes)
        self.apply(initialise)
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        nn.init.zeros_(self.head.weight)  # every code is as likely at first

    def encode(self, x: Tensor) -> Tensor:
        """Return the nearest code of every patch, (B, N) int64 in [0, K), of images (B, C, H, W) in [-1, 1].

        Raises:
            ValueError: x has another shape or is no floating point tensor.
        """
        C, side = self.cfg.channels, self.cfg.side
        if x.shape[1:] != (C, side, side) or not len(x) or not x.is_floating_point():
            raise ValueError(f"x must be (B, {C}, {side}, {side}) floats in [-1, 1], got {tuple(x.shape)} {x.dtype}")
        return nearest(patchify(x, self.cfg.patch).flatten(0, 1), self.codebook).view(len(x), -1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the images (B, C, H, W) in [-1, 1] that codes (B, N) stand for."""
        return unpatchify(F.embedding(codes, self.codebook), self.cfg.patch, self.grid)

    def forward(self, codes: Tensor, order: Tensor, visible: int) -> Tensor:
        """Return logits (B, N - V, K), float32 or better: of the code at order[:, V], order[:, V + 1], ...

        Args:
            codes: (B, N) int64 in [0, K); those at hidden places do not matter.
            order: (B, N) int64, a permutation of places for each picture, the visible ones first.
            visible: V, in [0, N).
        Raises:
            ValueError: codes, order or V of another shape, type or range.
        """
        self.check(codes, order, visible)
        places = order[:, :visible]
        x = self.embed(F.embedding(codes.gather(1, places), self.codebook)) + self.places[places]  # (B, V, E)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        x = self.to_decoder(self.norm(x))  # (B, 1 + V, D)
        hidden = self.mask_token.expand(len(x), order.shape[1] - visible, -1)
        spots = F.pad(self.decoder_places[order], (0, 0, 1, 0))  # the class token has no place
        x = torch.cat([x, hidden], 1) + spots  # (B, 1 + N, D), in the order's order: attention does not mind
        for block in self.decoder:
            x = block(x)
        logits = self.head(self.decoder_norm(x[:, 1 + visible :]))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    @torch.no_grad()
    def expected(self, codes: Tensor, order: Tensor, visible: int) -> Tensor:
        """Return images (B, C, H, W) whose hidden patches are their means: the least squared error, and a blur."""
        mean = self(codes, order, visible).softmax(2) @ self.codebook  # (B, N - V, C P P)
        patches = F.embedding(codes, self.codebook).to(mean.dtype)
        index = order[:, visible:, None].expand_as(mean)
        return unpatchify(patches.scatter(1, index, mean), self.cfg.patch, self.grid)

    def check(self, codes: Tensor, order: Tensor, visible: int) -> None:
        """Raise a ValueError unless codes, order and V are as `forward` says; values are looked at on a CPU only."""
        N, K = self.n_patches, self.cfg.n_codes
        for name, value, top in (("codes", codes, K), ("order", order, N)):
            if value.ndim != 2 or value.shape[1] != N or not len(value) or value.dtype != torch.int64:
                got = f"{tuple(value.shape)} {value.dtype}"
                raise ValueError(f"{name} must be (B, {N}) int64, B at least 1, got {got}; see encode, random_order")
            if value.device.type == "cpu" and (bad := (value < 0) | (value >= top)).any():
                raise ValueError(f"{name} must be in [0, {top}), got {value[bad][0].item()}")
        if len(codes) != len(order):
            raise ValueError(f"one order a picture is needed: got {len(codes)} pictures and {len(order)} orders")
        if not 0 <= visible < N:
            raise ValueError(f"visible must be in [0, {N}), at least one patch hidden, got {visible}")


def random_order(hidden: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return (B, N) int64: for each picture its visible places, then its hidden ones, each lot shuffled.

    Args:
        hidden: (B, N) bool, True where a patch is hidden.
        generator: on the CPU, where the draws are made, so that they are the same for every device.
    """
    draws = torch.rand(hidden.shape, generator=generator).to(hidden.device)
    return (draws + hidden).argsort(1)


def masked_vit_loss(
    model: MaskedViT,
    batch: tuple[Tensor, Tensor | None],
    *,
    visible: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """-log p(code | visible patches) in nats per hidden patch, averaged over those and over the batch.

    With the number of visible patches drawn anew for each batch, N times its expectation is that of -log p(picture as
    codes), drawn patch by patch in an order chosen at random: [NADE] Sec. 3, [ARDM] Sec. 3.

    Args:
        model: the model, with a codebook.
        batch: (x, labels): (B, C, H, W) images in [-1, 1]; labels are not used.
        visible: V, in [0, N); None draws it from all of them, alike. [MAE] shows a quarter, always.
        generator: on the CPU; draws orders and V.
    Returns:
        The scalar loss, and logs: `nats`, N times the loss, and `accuracy`, the share of hidden patches guessed.
    Raises:
        ValueError: x or V do not fit the model.
    """
    x, _ = batch
    N = model.n_patches
    if visible is None:
        visible = int(torch.randint(N, (), generator=generator))
    codes = model.encode(x)
    order = random_order(torch.ones_like(codes, dtype=torch.bool), generator)
    logits, targets = model(codes, order, visible), codes.gather(1, order[:, visible:])
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return loss, {"nats": loss * N, "accuracy": (logits.argmax(2) == targets).float().mean()}


@torch.no_grad()
def fill_patches(
    model: MaskedViT,
    codes: Tensor,
    order: Tensor,
    visible: int = 0,
    *,
    per_step: int = 1,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, int]]:
    """Draw the hidden patches in their order, yielding (codes (B, N), V) after every step, the last with V = N.

    Codes at places not drawn yet are those that were given. From nothing: any codes, V = 0.

    Args:
        model: the model, in evaluation mode.
        codes: (B, N) int64 in [0, K); those at hidden places do not matter.
        order: (B, N) int64, the visible places first; see `random_order`.
        visible: V at the start, in [0, N).
        per_step: patches drawn at a time, at least 1; with 1 the picture is a sample of the model, with more it is
            faster and the patches of a step do not know of each other.
        temperature: divides the logits, > 0; below 1 likely patches become likelier.
        generator: on the codes' device.
    Raises:
        ValueError: per_step or temperature out of range (raised at the first step); see also `MaskedViT.forward`.
    """
    if per_step < 1 or not temperature > 0:
        raise ValueError(f"need per_step >= 1 and temperature > 0, got {per_step} and {temperature}")
    codes = codes.clone()
    while visible < order.shape[1]:
        logits = model(codes, order, visible)[:, :per_step] / temperature
        drawn = torch.multinomial(logits.softmax(2).flatten(0, 1), 1, generator=generator).view(logits.shape[:2])
        codes = codes.scatter(1, order[:, visible : visible + per_step], drawn)
        visible += drawn.shape[1]
        yield codes, visible


def fill_log_prob(model: MaskedViT, codes: Tensor, order: Tensor, visible: int = 0) -> Tensor:
    """Return log p(hidden codes | visible ones) in nats, (B,), drawn one by one in this order: N - V passes.

    Arguments as those of `MaskedViT.forward`. Its mean over orders is at most the logarithm of the mean: a bound.
    """
    terms = []
    for seen in range(visible, order.shape[1]):
        log_p = model(codes, order, seen)[:, 0].log_softmax(1)  # (B, K)
        terms.append(log_p.gather(1, codes.gather(1, order[:, seen : seen + 1])))
    return torch.cat(terms, 1).sum(1)


def nearest(patches: Tensor, codebook: Tensor) -> Tensor:
    """Return which entry of the codebook (K, P) is nearest to each patch (M, P): (M,) int64.

    Distances are in float32 or better, also under autocast: in half precision the nearest would be a guess.
    """
    with torch.autocast(patches.device.type, enabled=False):
        patches = patches.to(torch.promote_types(patches.dtype, torch.float32))
        codebook = codebook.to(patches.dtype)
        scores = codebook.square().sum(1) - 2 * patches @ codebook.T  # (M, K): squared distance, but for a constant
        return scores.argmin(1)


@torch.no_grad()
def fit_codebook(patches: Tensor, n_codes: int, *, steps: int = 20, generator: torch.Generator | None = None) -> Tensor:
    """Return K means of patches, (K, P): k-means, from K different patches chosen at random.

    Args:
        patches: (M, P) floats, such as those of `patchify`, flattened.
        n_codes: K, at least 1; no more than there are different patches.
        steps: rounds of assigning and averaging; an entry that nobody chooses stays where it is.
        generator: on the CPU.
    Raises:
        ValueError: patches of another shape, or fewer different ones than K.
    """
    if patches.ndim != 2 or not patches.is_floating_point():
        raise ValueError(f"patches must be (M, P) floats, got {tuple(patches.shape)} {patches.dtype}")
    different = patches.unique(dim=0)
    if not 1 <= n_codes <= len(different):
        raise ValueError(f"n_codes must be in [1, {len(different)}], the number of different patches, got {n_codes}")
    codebook = different[torch.randperm(len(different), generator=generator)[:n_codes].to(patches.device)]
    for _ in range(steps):
        codes = nearest(patches, codebook)
        counts = torch.bincount(codes, minlength=n_codes).to(patches.dtype)[:, None]
        sums = torch.zeros_like(codebook).index_add_(0, codes, patches)
        codebook = torch.where(counts > 0, sums / counts.clamp(min=1), codebook)
    return codebook


def _check(cfg: MaskedViTConfig) -> None:
    if bad := {k: v for k, v in vars(cfg).items() if v < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
    if cfg.side % cfg.patch:
        raise ValueError(f"side must be a multiple of patch, got {cfg.side} and {cfg.patch}")
    if bad := {k: v for k in ("d_model", "d_decoder") if (v := getattr(cfg, k)) % 4}:
        raise ValueError(f"widths must be multiples of 4, for the sines of rows and columns, got {bad}")
