"""From one sequence to another: an encoder reads the source, a decoder writes the answer token by token.

T5 and BART (t5.py, bart.py) differ in their blocks. Here is what they share: teacher forcing and its loss, and decoding
with what was read kept in memory.

Sources: [ATT] Vaswani et al. 2017, Attention is all you need, arXiv:1706.03762 (encoder and decoder). [S2S] Sutskever
         et al. 2014, Sequence to sequence learning with neural networks, arXiv:1409.3215, Eq. 1.
Shapes:  B batch, S tokens of the source, T tokens of the answer, V tokens there are, E width of the model, H heads,
         D width of a head.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.nn import CrossAttention, KVCache


@dataclass
class DecoderCache:
    """What a decoder keeps between its steps; see `EncoderDecoder.cache`."""

    layers: list[KVCache]  # keys and values of the tokens so far
    cross: list[tuple[Tensor, Tensor]]  # keys and values (B, H, S, D) of the memory, which never change
    bias: Tensor | None = None  # T5's position biases by distance

    @property
    def length(self) -> int:
        """Tokens read so far."""
        return self.layers[0].length


class EncoderDecoder(nn.Module):
    """logits = model(source, tokens, mask): of the token after each of `tokens`, given those up to it and the source.

    A model adds `encode`, `decode_hidden` and `logits`. Its config has vocab, start, pad, end, n_heads and d_head.
    """

    cfg: Any

    def encode(self, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the memory (B, S, E): what the decoder looks at.

        Args:
            source: (B, S) int64 in [0, V).
            mask: (B, S) bool, True at the tokens and False at the padding; None: all are tokens.
        Raises:
            ValueError: source or mask do not fit, or a source has no token at all.
        """
        raise NotImplementedError

    def decode_hidden(
        self, tokens: Tensor, memory: Tensor | None, mask: Tensor | None = None, cache: DecoderCache | None = None
    ) -> Tensor:
        """Return what `logits` turns into numbers, (B, T, E); arguments as those of `decode`."""
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits (..., V) of what the decoder found, (..., E)."""
        raise NotImplementedError

    def cross_attentions(self) -> list[CrossAttention]:
        """Return the decoder's layers that look at the memory, in order."""
        raise NotImplementedError

    def decode(
        self, tokens: Tensor, memory: Tensor | None, mask: Tensor | None = None, cache: DecoderCache | None = None
    ) -> Tensor:
        """Return logits (B, T, V), in float32 or better, of the token after each of `tokens`.

        Args:
            tokens: (B, T) int64 in [0, V): the start token and the answer so far. No place sees a later one, so that
                padding at the end changes nothing before it.
            memory: (B, S, E), of `encode`; with a cache it is not looked at and may be None.
            mask: of the source, as in `encode`.
            cache: of `cache`; `tokens` follow those that it has read.
        Raises:
            ValueError: tokens or mask do not fit, or there are more tokens than there is room for.
        """
        found = self.logits(self.decode_hidden(tokens, memory, mask, cache))
        return found.to(torch.promote_types(found.dtype, torch.float32))

    def forward(self, source: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return `decode(tokens, encode(source, mask), mask)`: logits (B, T, V)."""
        return self.decode(tokens, self.encode(source, mask), mask)

    def cross_keys(self, memory: Tensor | None, cache: DecoderCache | None) -> list[tuple[Tensor, Tensor]]:
        """Return keys and values (B, H, S, D) of the memory for every layer: read now, or long since in the cache."""
        return cache.cross if cache is not None else [layer.read(memory) for layer in self.cross_attentions()]

    def cache(self, memory: Tensor, length: int) -> DecoderCache:
        """Return memory for `length` decoded tokens, in which the keys of `memory` (B, S, E) are read already."""
        if length < 1:
            raise ValueError(f"a cache needs room for at least 1 token, got length={length}")
        cross = self.cross_keys(memory, None)
        like = cross[0][0]
        sizes = (len(memory), self.cfg.n_heads, length, self.cfg.d_head)
        return DecoderCache([KVCache(*sizes, like=like) for _ in cross], cross)

    @torch.no_grad()
    def decoding(self, source: Tensor, mask: Tensor | None = None, *, length: int) -> "Seq2SeqDecoding":
        """Return a `DecodingState` that answers the sources; the first token to step with is `cfg.start`.

        Args:
            source: (B, S) int64 in [0, V).
            mask: (B, S) bool, False at padding.
            length: the most tokens that will be read, the start token among them.
        """
        return Seq2SeqDecoding(self, self.cache(self.encode(source, mask), length), mask)


class Seq2SeqDecoding:
    """An answer in the making: `step` reads tokens and tells what may follow; the source was read once."""

    def __init__(self, model: EncoderDecoder, cache: DecoderCache, mask: Tensor | None) -> None:
        self.model, self.cache, self.mask = model, cache, mask
        self.sources = torch.arange(len(cache.cross[0][0]), device=cache.cross[0][0].device)  # of every row

    @torch.no_grad()
    def step(self, tokens: Tensor) -> Tensor:
        """Read tokens (B, t) int64 after all before; return logits (B, V) of the next token, in float32 or better."""
        hidden = self.model.decode_hidden(tokens, None, self.mask, self.cache)
        found = self.model.logits(hidden[:, -1])
        return found.to(torch.promote_types(found.dtype, torch.float32))

    def reorder(self, rows: Tensor) -> None:
        """Make row b what row rows[b] was; rows (B',) int64 may be more or fewer than before."""
        resized = len(rows) != len(self.sources)
        for layer in self.cache.layers:
            if resized:
                layer.keys, layer.values = layer.keys[rows], layer.values[rows]
            else:
                layer.reorder(rows)
        sources = self.sources[rows]
        if resized or not torch.equal(sources, self.sources):  # beams of one source share its keys
            self.cache.cross = [(k[rows], v[rows]) for k, v in self.cache.cross]
            self.mask = None if self.mask is None else self.mask[rows]
        self.sources = sources


def shift_right(targets: Tensor, start: int) -> Tensor:
    """Return what the decoder reads to predict `targets` (B, T): the start token, then all targets but the last."""
    return torch.cat([targets.new_full((len(targets), 1), start), targets[:, :-1]], dim=1)


def seq2seq_loss(
    model: EncoderDecoder, batch: tuple[Tensor, Tensor | None, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """-log p(targets | source) in nats per token of the targets, padding left out; [S2S] Eq. 1 by teacher forcing.

    Every token is predicted from the true tokens before it, not from the model's own.

    Args:
        model: T5 or BART.
        batch: (source, mask, targets): source (B, S) and targets (B, T) int64 in [0, V), the targets closed by
            `cfg.end` and then filled up with `cfg.pad`; mask (B, S) bool, False at the source's padding, or None.
    Returns:
        The scalar loss, and logs: `nll`, the same, and `right`, the share of tokens that were the likeliest.
    Raises:
        ValueError: source, mask or targets do not fit, or every target is padding.
    """
    source, mask, targets = batch
    cfg = model.cfg
    check_tokens("targets", targets, cfg.vocab)
    if len(targets) != len(source):
        raise ValueError(f"targets must have a row for each of the {len(source)} sources, got {len(targets)} rows")
    scored = targets != cfg.pad
    if targets.device.type == "cpu" and not scored.any():
        raise ValueError(f"every target is padding (token {cfg.pad}), so that there is nothing to learn")
    logits = model(source, shift_right(targets, cfg.start), mask)
    nll = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=cfg.pad)
    right = ((logits.detach().argmax(2) == targets) & scored).sum() / scored.sum()
    return nll, {"nll": nll, "right": right}


@torch.no_grad()
def log_prob(model: EncoderDecoder, batch: tuple[Tensor, Tensor | None, Tensor]) -> Tensor:
    """Return log p(targets | source) in nats, (B,), padding left out; the batch as in `seq2seq_loss`."""
    source, mask, targets = batch
    check_tokens("targets", targets, model.cfg.vocab)
    logits = model(source, shift_right(targets, model.cfg.start), mask)
    return -F.cross_entropy(logits.mT, targets, ignore_index=model.cfg.pad, reduction="none").sum(1)


# What the models ask for at the door


def check_tokens(name: str, tokens: Tensor, vocab: int) -> None:
    """Refuse by ValueError what is no (B, T) int64 in [0, vocab) with at least one row and one token."""
    if not isinstance(tokens, Tensor) or tokens.ndim != 2 or tokens.dtype != torch.int64 or 0 in tokens.shape:
        got = f"{tuple(tokens.shape)} {tokens.dtype}" if isinstance(tokens, Tensor) else type(tokens).__name__
        raise ValueError(f"{name} must be (B, T) int64 with at least one row and one token, got {got}")
    if tokens.device.type == "cpu" and not ((0 <= tokens) & (tokens < vocab)).all():  # a GPU would have to wait
        bad = tokens[(tokens < 0) | (tokens >= vocab)][0].item()
        raise ValueError(f"{name} must be in [0, {vocab}), got {bad}; encode with the tokenizer of this model")


def check_mask(mask: Tensor | None, shape: tuple[int, ...]) -> None:
    """Refuse by ValueError a mask that is no bool of the source's shape (B, S), or that hides all of a source."""
    if mask is None:
        return
    if mask.dtype != torch.bool or mask.shape != shape:
        raise ValueError(
            f"mask must be {tuple(shape)} bool, True at the tokens of the source, got {tuple(mask.shape)} "
            f"{mask.dtype}; source != cfg.pad is one"
        )
    if mask.device.type == "cpu" and not mask.any(1).all():
        raise ValueError(f"source {(~mask.any(1)).nonzero()[0].item()} is all padding; leave its row out")


def check_shared(cfg: Any) -> None:
    """Refuse by ValueError sizes below 1, special tokens outside the vocabulary and a dropout outside [0, 1)."""
    sizes = ("vocab", "d_model", "d_ff", "n_layers", "n_decoder_layers", "n_heads")
    for names in (sizes, ("d_head",)):  # BART's d_head divides by n_heads
        if bad := {k: v for k in names if (v := getattr(cfg, k)) < 1}:
            raise ValueError(f"sizes must be at least 1, got {bad}")
    if bad := {k: v for k in ("start", "pad", "end") if not 0 <= (v := getattr(cfg, k)) < cfg.vocab}:
        raise ValueError(f"start, pad and end must be tokens in [0, {cfg.vocab}), got {bad}")
    if cfg.pad == cfg.end:
        raise ValueError(f"pad and end must be two tokens, or an answer's end could not be learnt; both are {cfg.end}")
    if not 0 <= cfg.dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {cfg.dropout}")
