"""T5: every task as text to text, by an encoder-decoder that knows places by their distance only.

Sources: [T5] Raffel et al. 2020, Exploring the limits of transfer learning with a unified text-to-text transformer,
         arXiv:1910.10683, Sec. 2.1 (the model) and 3.3 (span corruption: corruption.py). [GLU] Shazeer 2020, GLU
         variants improve transformer, arXiv:2002.05202 (the gate of T5 1.1). [RMS] Zhang & Sennrich 2019.
Shapes:  B batch, S tokens of the source or keys, T tokens of the answer or queries, V tokens there are, E width of the
         model, H heads, D width of a head, F width inside the feed-forward part.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.nn import CrossAttention, KVCache, RMSNorm, SelfAttention
from genai_utils.transformer.seq2seq import DecoderCache, EncoderDecoder, check_mask, check_shared, check_tokens


@dataclass(frozen=True, kw_only=True)
class T5Config:
    vocab: int  # V
    d_model: int = 512  # E
    d_head: int = 64  # D; H D need not be E
    d_ff: int = 2048  # F
    n_layers: int = 6  # of the encoder
    n_decoder_layers: int = 6
    n_heads: int = 8  # H
    n_buckets: int = 32  # groups of distances that share a bias; even
    max_distance: int = 128  # from here on all distances share one bucket
    gated: bool = False  # False: ReLU (T5 1.0); True: GELU (tanh) times a gate (T5 1.1)
    tied: bool = True  # the head is the embedding; T5 1.1 has a head of its own
    scaled: bool = True  # the head reads hidden / sqrt(E), as T5 1.0's does
    eps: float = 1e-6  # of the norms
    dropout: float = 0.0  # share of numbers dropped in training, in [0, 1)
    start: int = 0  # the token that the decoder begins with: the padding
    pad: int = 0
    end: int = 1


PRESETS = {
    "t5-small": T5Config(vocab=32128, dropout=0.1),
    "t5-base": T5Config(vocab=32128, d_model=768, d_ff=3072, n_layers=12, n_decoder_layers=12, n_heads=12, dropout=0.1),
    "t5-1.1-small": T5Config(
        vocab=32128, d_ff=1024, n_layers=8, n_decoder_layers=8, n_heads=6, gated=True, tied=False, scaled=False,
        dropout=0.1),
    "tiny": T5Config(vocab=512, d_model=128, d_head=32, d_ff=384, n_layers=3, n_decoder_layers=3, n_heads=4),
}  # fmt: skip


def distance_buckets(distance: Tensor, n_buckets: int, max_distance: int, both_sides: bool) -> Tensor:
    """Return the bucket, int64 in [0, n_buckets), of key place minus query place; [T5] Sec. 2.1.

    Half of the buckets hold one distance each; the other half grow like the distances' logarithm up to max_distance,
    and the last holds all beyond. With `both_sides` half of all buckets are for keys that come later; without, later
    keys fall in the bucket of distance 0, and causality hides them.

    Args:
        distance: int64, of any shape.
        n_buckets: how many there are; even.
        max_distance: from here on, in tokens, all share the last bucket, which begins a little before: at 91 for the
            32 buckets and 128 tokens of [T5] with both sides, at 113 without.
        both_sides: whether a query looks at later keys too.
    """
    if both_sides:
        n_buckets //= 2
        later, distance = (distance > 0) * n_buckets, distance.abs()
    else:
        later, distance = 0, (-distance).clamp(min=0)
    exact = n_buckets // 2
    share = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    rough = exact + (share * (n_buckets - exact)).long()
    return later + torch.where(distance < exact, distance, rough.clamp(max=n_buckets - 1))


class DistanceBias(nn.Module):
    """Numbers added to the scores of attention: one for each bucket of distances and each head; [T5] Sec. 2.1."""

    def __init__(self, cfg: T5Config, both_sides: bool) -> None:
        super().__init__()
        self.n_buckets, self.max_distance, self.both_sides = cfg.n_buckets, cfg.max_distance, both_sides
        self.weight = nn.Parameter(torch.empty(cfg.n_buckets, cfg.n_heads))

    def by_distance(self, first: int, last: int) -> Tensor:
        """Return the bias (H, last - first + 1) of the distances first, ..., last."""
        distance = torch.arange(first, last + 1, device=self.weight.device)
        buckets = distance_buckets(distance, self.n_buckets, self.max_distance, self.both_sides)
        return self.weight[buckets].T

    def forward(self, steps: int) -> Tensor:
        """Return the bias (1, H, T, T) of `steps` queries and as many keys.

        A row is a window on the biases by distance: 2 T - 1 of them are looked up, not T * T.
        """
        windows = self.by_distance(1 - steps, steps - 1).unfold(1, steps, 1)  # (H, T, T), the last query first
        return windows.flip(1)[None]


class FeedForward(nn.Module):
    """y = W_o relu(W x), or gated y = W_o (gelu(W x) * U x), in which GELU is the tanh one; [GLU] Eq. 6."""

    def __init__(self, cfg: T5Config) -> None:
        super().__init__()
        self.gated, self.drop = cfg.gated, nn.Dropout(cfg.dropout)
        self.wide = nn.Linear(cfg.d_model, (2 if cfg.gated else 1) * cfg.d_ff, bias=False)  # W, and U below it
        self.out = nn.Linear(cfg.d_ff, cfg.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.gated:
            wx, ux = self.wide(x).chunk(2, dim=-1)
            return self.out(self.drop(F.gelu(wx, approximate="tanh") * ux))
        return self.out(self.drop(F.relu(self.wide(x))))


class Block(nn.Module):
    """Self-attention, in a decoder cross-attention, feed-forward; each reads a norm of x and adds to x."""

    def __init__(self, cfg: T5Config, decoder: bool) -> None:
        super().__init__()
        norm = lambda: RMSNorm(cfg.d_model, cfg.eps)
        kind = {"d_head": cfg.d_head, "bias": False, "scale": 1.0, "dropout": cfg.dropout}  # scale: not 1 / sqrt(D)
        self.attention_norm, self.attention = norm(), SelfAttention(cfg.d_model, cfg.n_heads, **kind)
        if decoder:
            self.cross_norm, self.cross = norm(), CrossAttention(cfg.d_model, cfg.n_heads, **kind)
        self.ff_norm, self.ff = norm(), FeedForward(cfg)
        self.drop = nn.Dropout(cfg.dropout)

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        memory: tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Return (B, T, E) for x (B, T, E), the self-attention's bias, and in a decoder the memory's keys and mask."""
        x = x + self.drop(self.attention(self.attention_norm(x), bias, cache))
        if memory is not None:
            x = x + self.drop(self.cross(self.cross_norm(x), *memory, mask))
        return x + self.drop(self.ff(self.ff_norm(x)))


class Stack(nn.Module):
    """Blocks and a last norm; all blocks add one and the same bias to the scores of their self-attention."""

    def __init__(self, cfg: T5Config, n_layers: int, decoder: bool) -> None:
        super().__init__()
        self.bias = DistanceBias(cfg, both_sides=not decoder)
        self.blocks = nn.ModuleList(Block(cfg, decoder) for _ in range(n_layers))
        self.norm = RMSNorm(cfg.d_model, cfg.eps)


class T5(EncoderDecoder):
    """logits = model(source, tokens, mask): of the token after each of `tokens`, given those up to it and the source.

    Raises:
        ValueError: a config with sizes below 1, an odd number of buckets, or special tokens that do not fit.
    """

    Config = T5Config

    def __init__(self, cfg: T5Config) -> None:
        super().__init__()
        _check(cfg)
        self.cfg = cfg
        self.embed = nn.Embedding(cfg.vocab, cfg.d_model)
        self.encoder = Stack(cfg, cfg.n_layers, decoder=False)
        self.decoder = Stack(cfg, cfg.n_decoder_layers, decoder=True)
        self.drop = nn.Dropout(cfg.dropout)
        if not cfg.tied:
            self.head = nn.Linear(cfg.d_model, cfg.vocab, bias=False)
        self.apply(self._initialise)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "T5":
        """Return a published T5, 1.0 or 1.1, in evaluation mode, in float32 on the CPU.

        Args:
            name: a folder with config.json and model.safetensors (or pytorch_model.bin), else a repository id of the
                Hugging Face Hub, such as "t5-small" or "google/t5-v1_1-small".
            hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
        Raises:
            ValueError: the config asks for a part that our T5 lacks, or the tensors do not fit it; all are named.
            FileNotFoundError: no such folder, or the folder lacks a file (named).
        """
        from genai_utils.transformer.published_seq2seq import read_t5

        cfg, state = read_t5(name, **hub)
        with torch.device("meta"):
            model = cls(cfg)
        model.load_state_dict(state, assign=True)
        return model.eval()

    def encode(self, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the memory (B, S, E) of sources (B, S); `mask` (B, S) bool is False at padding, on either side."""
        check_tokens("source", source, self.cfg.vocab)
        check_mask(mask, source.shape)
        x = self.drop(self.embed(source))
        bias = self.encoder.bias(source.shape[1])
        if mask is not None:
            bias = bias.masked_fill(~mask[:, None, None], -torch.inf)  # (B, H, S, S)
        for block in self.encoder.blocks:
            x = block(x, bias)
        return self.drop(self.encoder.norm(x))

    def decode_hidden(
        self, tokens: Tensor, memory: Tensor | None, mask: Tensor | None = None, cache: DecoderCache | None = None
    ) -> Tensor:
        """Return the decoder's last norm, (B, T, E), which `logits` reads; arguments as those of `decode`."""
        check_tokens("tokens", tokens, self.cfg.vocab)
        check_mask(mask, memory.shape[:2] if cache is None else cache.cross[0][0].shape[::2])  # (B, S)
        x = self.drop(self.embed(tokens))
        bias = self._causal_bias(tokens.shape[1], cache)
        mask = None if mask is None else mask[:, None, None]  # (B, 1, 1, S)
        layers = cache.layers if cache is not None else [None] * len(self.decoder.blocks)
        for block, keys, layer in zip(self.decoder.blocks, self.cross_keys(memory, cache), layers):
            x = block(x, bias, keys, mask, layer)
        return self.drop(self.decoder.norm(x))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits (..., V) of the decoder's last norm (..., E)."""
        hidden = hidden * self.cfg.d_model**-0.5 if self.cfg.scaled else hidden
        return F.linear(hidden, self.embed.weight if self.cfg.tied else self.head.weight)

    def cross_attentions(self) -> list[CrossAttention]:
        """Return the decoder's layers that look at the memory, in order."""
        return [block.cross for block in self.decoder.blocks]

    def cache(self, memory: Tensor, length: int) -> DecoderCache:
        """Return memory for `length` decoded tokens, in which the keys of `memory` (B, S, E) are read already."""
        cache = super().cache(memory, length)
        cache.bias = self.decoder.bias.by_distance(1 - length, 0)  # (H, length), the farthest first
        return cache

    def _causal_bias(self, steps: int, cache: DecoderCache | None) -> Tensor:
        """Return the decoder's bias (1, H, T, S), -inf at later keys, for the T queries after what the cache has."""
        if cache is None or cache.length == 0:
            bias = self.decoder.bias(steps)
            return bias.masked_fill(torch.ones_like(bias[0, 0], dtype=torch.bool).triu(1), -torch.inf)
        room, end = cache.bias.shape[1], cache.length + steps
        if end > room:
            raise ValueError(f"the cache has room for {room} tokens, not {end}; ask for a longer one")
        rows = [F.pad(cache.bias[:, room - end + i :], (0, i), value=-torch.inf) for i in reversed(range(steps))]
        return torch.stack(rows, dim=1)[None] if steps > 1 else rows[0][None, :, None]

    def _initialise(self, module: nn.Module) -> None:
        """Draw weights so that activations keep unit size; queries are small, since scores are not divided."""
        cfg = self.cfg
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        elif isinstance(module, DistanceBias):
            nn.init.normal_(module.weight, std=cfg.d_model**-0.5)
        elif isinstance(module, SelfAttention):  # after its projections
            module.qkv.weight.data[: cfg.n_heads * cfg.d_head] *= cfg.d_head**-0.5
        elif isinstance(module, CrossAttention):
            module.q.weight.data *= cfg.d_head**-0.5


def _check(cfg: T5Config) -> None:
    check_shared(cfg)
    if cfg.n_buckets < 4 or cfg.n_buckets % 2 or cfg.max_distance <= cfg.n_buckets // 2:
        raise ValueError(
            "n_buckets must be even and at least 4, and max_distance more than half of it, got "
            f"{cfg.n_buckets} and {cfg.max_distance}"
        )
