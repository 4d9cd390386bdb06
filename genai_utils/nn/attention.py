"""Attention: every query takes a mean of the values, weighted by how well their keys fit it.

The transformers of this book share what is here and differ in what they put around it: order of the norms, positions,
masks. The models stay fast by PyTorch's fused kernel; inside `attention_maps` they take the slow, written-out way.

Sources: [ATT] Vaswani et al. 2017, Attention is all you need, arXiv:1706.03762, Eq. 1 and Sec. 3.2.
Shapes:  B batch, T queries, S keys, E width of the model, H heads, D width of a head.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attention_weights(
    q: Tensor, k: Tensor, *, mask: Tensor | None = None, causal: bool = False, scale: float | None = None
) -> Tensor:
    """Return softmax(q k^T scale) over the keys, (B, H, T, S), in float32 or better; [ATT] Eq. 1.

    Each row sums to one, but that of a query whose mask lets it look nowhere: it is zero, as in the fused kernel.

    Args:
        q: (B, H, T, D) queries.
        k: (B, H, S, D) keys.
        mask: broadcast to (B, H, T, S): bool, True where a query may look, or numbers added to the scores.
        causal: query i looks at keys up to S - T + i only: the queries are the last T of S places.
        scale: None is 1 / sqrt(D).
    """
    with torch.autocast(q.device.type, enabled=False):  # half precision would overflow, which the fused kernel does not
        q, k = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (q, k))
        scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
        scores = scores if (bias := _bias(mask, causal, q, k)) is None else scores + bias
        if mask is None:
            return scores.softmax(-1)
        nowhere = (bias == -torch.inf).all(-1, keepdim=True)  # filled before the softmax, too, for the gradient's sake
        return scores.masked_fill(nowhere, 0).softmax(-1).masked_fill(nowhere, 0)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Return attention_weights(...) @ v, (B, H, T, D), by PyTorch's fused kernel; arguments as there.

    Args:
        q: (B, H, T, D) queries.
        k: (B, H, S, D) keys.
        v: (B, H, S, D) values.
        mask: broadcast to (B, H, T, S): bool, True where a query may look, or numbers added to the scores.
        causal: query i looks at keys up to S - T + i only.
        scale: None is 1 / sqrt(D).
        dropout: share of weights dropped, in [0, 1).
    """
    steps = q.shape[2]
    if causal and mask is None and steps in (1, k.shape[2]):  # the kernel knows this case; one query sees every key
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=steps > 1, scale=scale)
    bias = mask if not causal else _bias(mask, causal, q, k)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=scale)


def causal_mask(steps: int, keys: int, device: torch.device | None = None) -> Tensor:
    """Return (T, S) bool, True where query i, at place S - T + i, may look: at itself and what was before."""
    return torch.ones(steps, keys, dtype=torch.bool, device=device).tril(keys - steps)


def _bias(mask: Tensor | None, causal: bool, q: Tensor, k: Tensor) -> Tensor | None:
    """Return the numbers that are added to the scores for a mask and for causality: 0, what the mask says, or -inf."""
    allowed = causal_mask(q.shape[2], k.shape[2], q.device) if causal else None
    if mask is None or mask.dtype == torch.bool:
        allowed = mask if allowed is None else allowed if mask is None else allowed & mask
        return None if allowed is None else torch.zeros_like(allowed, dtype=q.dtype).masked_fill(~allowed, -torch.inf)
    mask = mask.to(q.dtype)
    return mask if allowed is None else mask.masked_fill(~allowed, -torch.inf)


class KVCache:
    """Keys and values of the places read so far, in memory that is claimed once.

    Args:
        batch: B.
        n_heads: H.
        length: S, the most places there may be.
        d_head: D.
        like: a tensor whose device and dtype the memory takes.
    """

    def __init__(self, batch: int, n_heads: int, length: int, d_head: int, like: Tensor) -> None:
        self.keys = like.new_empty(batch, n_heads, length, d_head)
        self.values = torch.empty_like(self.keys)
        self.length = 0  # places filled

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k and v, each (B, H, T, D), after what is there; return all of both, views (B, H, length, D).

        Raises:
            ValueError: more places than the memory has, or another number of rows.
        """
        end = self.length + k.shape[2]
        if len(k) != len(self.keys):  # one row would be copied to all
            raise ValueError(f"the cache has {len(self.keys)} rows, not {len(k)}; ask for one of {len(k)}, or reorder")
        if end > self.keys.shape[2]:
            raise ValueError(f"the cache has {self.keys.shape[2]} places, not {end}; ask for a longer one")
        self.keys[:, :, self.length : end], self.values[:, :, self.length : end] = k, v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def reorder(self, rows: Tensor) -> None:
        """Make row b what row rows[b] was, (B',) int64: a beam search goes on from some rows and drops others.

        As many rows as there were take the memory that is there; more or fewer take other memory.
        """
        end = self.length
        if len(rows) == len(self.keys):
            self.keys[:, :, :end], self.values[:, :, :end] = self.keys[rows, :, :end], self.values[rows, :, :end]
        else:
            self.keys, self.values = self.keys[rows], self.values[rows]


class _Attention(nn.Module):
    """What both kinds share: the heads, the way out, and the map of the last call where one is asked for."""

    def __init__(self, d_model: int, n_heads: int, d_head: int | None, bias: bool, scale: float | None, dropout: float):
        super().__init__()
        if d_head is None and d_model % n_heads:
            raise ValueError(f"d_model must be a multiple of n_heads, got {d_model} and {n_heads}")
        self.n_heads, self.d_head = n_heads, d_head or d_model // n_heads
        self.scale, self.dropout = scale, dropout
        self.out = nn.Linear(n_heads * self.d_head, d_model, bias=bias)
        self.maps: list[Tensor] | None = None  # see attention_maps

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, self.d_head)).transpose(1, 2)  # (B, H, T, D)

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        if self.maps is None:
            dropout = self.dropout if self.training else 0.0
            mixed = attend(q, k, v, mask=mask, causal=causal, scale=self.scale, dropout=dropout)
        else:
            weights = attention_weights(q, k, mask=mask, causal=causal, scale=self.scale)
            self.maps.append(weights.detach())
            mixed = weights.to(v.dtype) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))  # (B, T, E)


class SelfAttention(_Attention):
    """y = attention(x): every place of x asks every place of x; [ATT] Sec. 3.2.2.

    Args:
        d_model: E.
        n_heads: H.
        d_head: D; None is E / H.
        causal: no place sees a later one.
        bias: whether the projections add one.
        scale: of the scores; None is 1 / sqrt(D).
        dropout: share of weights dropped in training.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        d_head: int | None = None,
        causal: bool = False,
        bias: bool = True,
        scale: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(d_model, n_heads, d_head, bias, scale, dropout)
        self.causal = causal
        self.qkv = nn.Linear(d_model, 3 * self.n_heads * self.d_head, bias=bias)  # one product is faster than three

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """Return (B, T, E).

        Args:
            x: (B, T, E).
            mask: broadcast to (B, H, T, S): bool, True where a place may look, or numbers added to the scores. A row
                that may look nowhere has zero weights: its answer is the bias of the way out.
            cache: places that were read before; x is what follows them, and S counts both.
        """
        q, k, v = (self._heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        if cache is not None:
            k, v = cache.append(k, v)
        return self._mix(q, k, v, mask, self.causal)


class CrossAttention(_Attention):
    """y = attention(x, k, v), with k, v = attention.read(memory): every place of x asks those of another sequence.

    Arguments as those of `SelfAttention`.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        d_head: int | None = None,
        bias: bool = True,
        scale: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(d_model, n_heads, d_head, bias, scale, dropout)
        self.q = nn.Linear(d_model, self.n_heads * self.d_head, bias=bias)
        self.kv = nn.Linear(d_model, 2 * self.n_heads * self.d_head, bias=bias)

    def read(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values, each (B, H, S, D), of memory (B, S, E): once for all steps that ask it."""
        k, v = self.kv(memory).chunk(2, dim=-1)
        return self._heads(k), self._heads(v)

    def forward(self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return (B, T, E) for x (B, T, E), k and v of `read`, and a mask as in `SelfAttention`."""
        return self._mix(self._heads(self.q(x)), k, v, mask, causal=False)


@contextmanager
def attention_maps(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Within it, every call of the model leaves its attention weights here: {module's name: [(B, H, T, S), ...]}.

    The weights are computed in the open, without the fused kernel and without dropout, so that calls are slower and
    agree with the fast ones up to rounding. After `with attention_maps(gpt) as maps: gpt(tokens)` those of the first
    block are `maps["blocks.0.attention"][0]`, (B, H, T, S).
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, _Attention)}
    for module in found.values():
        module.maps = []
    try:
        yield {name: module.maps for name, module in found.items()}
    finally:
        for module in found.values():
            module.maps = None
