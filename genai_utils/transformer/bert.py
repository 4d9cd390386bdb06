"""BERT: an encoder that sees both sides of every place, trained to restore words that were hidden from it.

Hiding and restoring are in masked.py; here are the network and the two that it is mostly fine-tuned to, BERTClassifier
and BERTSpans.

Sources: [BERT] Devlin et al. 2019, arXiv:1810.04805. [ATT] Vaswani et al. 2017, arXiv:1706.03762. [GELU] Hendrycks &
         Gimpel 2016, arXiv:1606.08415.
Shapes:  B batch, T places of a text, V tokens, E width of the model.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.nn import SelfAttention


@dataclass(frozen=True, kw_only=True)
class BERTConfig:
    vocab: int  # V
    length: int = 512  # places of the longest text
    n_layers: int = 12
    n_heads: int = 12
    d_model: int = 768  # E; a multiple of n_heads
    d_inner: int = 3072  # width between the two linear maps of a block
    n_segments: int = 2  # kinds of text in one row: question and passage, say
    eps: float = 1e-12  # of every layer norm
    dropout: float = 0.1  # share dropped in training, of embeddings and of what each half of a block adds; in [0, 1)
    attention_dropout: float = 0.1  # the same of attention weights
    tied: bool = True  # whether the masked-language-model head uses the token embeddings as its last matrix
    mlm_head: bool = True  # False: the model has no `mlm_logits`
    pooler: bool = True  # False: the model has no `pool`
    n_classes: int = 0  # of a BERTClassifier


class Block(nn.Module):
    """Attention, then a two-layer network; each is added to what came in and normed after that; [ATT] Sec. 3.1."""

    def __init__(self, cfg: BERTConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(cfg.d_model, cfg.n_heads, dropout=cfg.attention_dropout)
        self.norm1 = nn.LayerNorm(cfg.d_model, cfg.eps)
        self.expand = nn.Linear(cfg.d_model, cfg.d_inner)
        self.contract = nn.Linear(cfg.d_inner, cfg.d_model)
        self.norm2 = nn.LayerNorm(cfg.d_model, cfg.eps)
        self.drop = nn.Dropout(cfg.dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.norm1(x + self.drop(self.attention(x, mask)))
        return self.norm2(x + self.drop(self.contract(F.gelu(self.expand(x)))))  # [GELU], exact


class MLMHead(nn.Module):
    """From a hidden state to the logits of the word that was there; [BERT] Appendix A, as in its published code."""

    def __init__(self, cfg: BERTConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(cfg.d_model, cfg.d_model)
        self.norm = nn.LayerNorm(cfg.d_model, cfg.eps)
        self.decoder = None if cfg.tied else nn.Linear(cfg.d_model, cfg.vocab, bias=False)
        self.bias = nn.Parameter(torch.zeros(cfg.vocab))

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        matrix = embeddings if self.decoder is None else self.decoder.weight  # (V, E)
        return F.linear(self.norm(F.gelu(self.dense(hidden))), matrix, self.bias)


class BERT(nn.Module):
    """hidden = model(tokens): a vector for every place, of the token there and of all to its left and right."""

    Config = BERTConfig

    def __init__(self, cfg: BERTConfig) -> None:
        super().__init__()
        _check(cfg)
        self.cfg = cfg
        self.tokens = nn.Embedding(cfg.vocab, cfg.d_model)
        self.positions = nn.Embedding(cfg.length, cfg.d_model)
        self.segments = nn.Embedding(cfg.n_segments, cfg.d_model)
        self.norm = nn.LayerNorm(cfg.d_model, cfg.eps)
        self.drop = nn.Dropout(cfg.dropout)
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.n_layers))
        self.pooler = nn.Linear(cfg.d_model, cfg.d_model) if cfg.pooler else None
        self.head = MLMHead(cfg) if cfg.mlm_head else None
        self.apply(_initialise)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "BERT":
        """Return a published model in evaluation mode, float32, on the CPU; see `published_bert.read_bert`."""
        from genai_utils.transformer.published_bert import read_bert

        return _filled(cls, *read_bert(name, **hub))

    def forward(self, tokens: Tensor, mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Return hidden states (B, T, E), after the last block.

        Args:
            tokens: (B, T) int64 in [0, V), T at most cfg.length.
            mask: (B, T) bool, False where a row is only filled up: no place looks there. None: no row is.
            segments: (B, T) int64 in [0, n_segments); None: all 0.
        Raises:
            ValueError: another shape or type, a text that is too long, on a CPU also a number out of range.
        """
        *_, hidden = self.layers(tokens, mask, segments)
        return hidden

    def layers(self, tokens: Tensor, mask: Tensor | None = None, segments: Tensor | None = None) -> Iterator[Tensor]:
        """Yield the hidden states (B, T, E) before the first block and after each; arguments as those of the model."""
        _check_tokens(tokens, self.cfg)
        _check_like(tokens, mask, segments, self.cfg)
        kinds = self.segments.weight[0] if segments is None else self.segments(segments)
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]] + kinds  # [BERT] Fig. 2
        yield (x := self.drop(self.norm(x)))
        look = None if mask is None else mask[:, None, None]  # (B, 1, 1, T)
        for block in self.blocks:
            yield (x := block(x, look))

    def mlm_logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of the hidden words, (..., V) in float32 or better, for hidden states (..., E).

        Raises:
            ValueError: the model has no such head.
        """
        if self.head is None:
            raise ValueError("this BERT has no masked-language-model head (cfg.mlm_head is False): its file had none")
        return _precise(self.head(hidden, self.tokens.weight))

    def pool(self, hidden: Tensor) -> Tensor:
        """Return one vector for each text, (B, E) in [-1, 1], from the state of its first token, [CLS].

        Raises:
            ValueError: the model has no pooler.
        """
        if self.pooler is None:
            raise ValueError("this BERT has no pooler (cfg.pooler is False): its file had none; take hidden[:, 0]")
        return torch.tanh(self.pooler(hidden[:, 0]))


class BERTClassifier(nn.Module):
    """logits = model(tokens): of a class for the whole text, (B, cfg.n_classes); [BERT] Sec. 4.1."""

    Config = BERTConfig

    def __init__(self, cfg: BERTConfig) -> None:
        super().__init__()
        if cfg.n_classes < 2:
            raise ValueError(f"a classifier needs n_classes of at least 2, got {cfg.n_classes}")
        self.cfg = replace(cfg, mlm_head=False, pooler=True)
        self.bert = BERT(self.cfg)
        self.drop = nn.Dropout(cfg.dropout)
        self.classifier = nn.Linear(cfg.d_model, cfg.n_classes)
        _initialise(self.classifier)

    @classmethod
    def of(cls, bert: BERT, n_classes: int, **changes: Any) -> Self:
        """Return a classifier that starts from a copy of `bert`, without its head; what that lacks starts at random.

        Args:
            bert: any, pretrained or not.
            n_classes: at least 2.
            changes: fields of its config to change, such as dropout; none that changes a shape.
        """
        return _with_encoder(cls(replace(bert.cfg, n_classes=n_classes, **changes)), bert)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "BERTClassifier":
        """Return a published, fine-tuned classifier in evaluation mode; see `published_bert.read_classifier`."""
        from genai_utils.transformer.published_bert import read_classifier

        return _filled(cls, *read_classifier(name, **hub))

    def forward(self, tokens: Tensor, mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Return logits (B, n_classes) in float32 or better; arguments as those of `BERT`."""
        return _precise(self.classifier(self.drop(self.bert.pool(self.bert(tokens, mask, segments)))))


class BERTSpans(nn.Module):
    """start, end = model(tokens): logits (B, T) of the first and of the last token of an answer; [BERT] Sec. 4.2."""

    Config = BERTConfig

    def __init__(self, cfg: BERTConfig) -> None:
        super().__init__()
        self.cfg = replace(cfg, mlm_head=False, pooler=False)
        self.bert = BERT(self.cfg)
        self.ends = nn.Linear(cfg.d_model, 2)
        _initialise(self.ends)

    @classmethod
    def of(cls, bert: BERT, **changes: Any) -> Self:
        """Return a model of spans that starts from a copy of `bert`, as `BERTClassifier.of`."""
        return _with_encoder(cls(replace(bert.cfg, **changes)), bert)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "BERTSpans":
        """Return a published, fine-tuned model of spans in evaluation mode; see `published_bert.read_spans`."""
        from genai_utils.transformer.published_bert import read_spans

        return _filled(cls, *read_spans(name, **hub))

    def forward(
        self, tokens: Tensor, mask: Tensor | None = None, segments: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return two logits (B, T) in float32 or better; arguments as those of `BERT`."""
        return _precise(self.ends(self.bert(tokens, mask, segments))).unbind(-1)


def classification_loss(
    model: BERTClassifier, batch: tuple[Tensor, Tensor | None, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """-log p(class | text) in nats, averaged over the batch; logs `nll` and `accuracy`.

    Args:
        model: the classifier.
        batch: (tokens (B, T), mask (B, T) bool or None, labels (B,) int64 in [0, n_classes)).
    """
    tokens, mask, labels = batch
    logits = model(tokens, mask)
    nll = F.cross_entropy(logits, labels)
    return nll, {"nll": nll, "accuracy": (logits.detach().argmax(1) == labels).float().mean()}


class Spans(NamedTuple):
    """A batch for `span_loss`: texts, which of their places an answer may take, and where it starts and ends."""

    tokens: Tensor  # (B, T) int64
    mask: Tensor  # (B, T) bool, False where a row is only filled up
    segments: Tensor  # (B, T) int64, 1 in the passage
    starts: Tensor  # (B,) int64, the place of the answer's first token
    ends: Tensor  # (B,) int64, that of its last

    @property
    def allowed(self) -> Tensor:
        """(B, T) bool: the places of the passage."""
        return self.mask & (self.segments == 1)


def span_loss(model: BERTSpans, batch: Spans) -> tuple[Tensor, dict[str, Tensor]]:
    """-log p(start) - log p(end), halved, in nats, averaged over the batch, among allowed places; [BERT] Sec. 4.2.

    Returns:
        The scalar loss, and logs: `nll`, the same; `exact`, the share of rows whose two likeliest ends are right.
    """
    start, end = (_among(logits, batch.allowed) for logits in model(batch.tokens, batch.mask, batch.segments))
    nll = (F.cross_entropy(start, batch.starts) + F.cross_entropy(end, batch.ends)) / 2
    right = (start.detach().argmax(1) == batch.starts) & (end.detach().argmax(1) == batch.ends)
    return nll, {"nll": nll, "exact": right.float().mean()}


def best_spans(start: Tensor, end: Tensor, allowed: Tensor, longest: int = 30) -> tuple[Tensor, Tensor]:
    """Return first and last places, each (B,): the likeliest pair with first <= last; [BERT] Sec. 4.2.

    Args:
        start: logits (B, T) of `BERTSpans`.
        end: the same of the last token.
        allowed: (B, T) bool, where an answer may stand; at least one place of each row.
        longest: tokens of an answer, at least 1.
    Raises:
        ValueError: longest < 1.
    """
    if longest < 1:
        raise ValueError(f"longest must be at least 1, got {longest}")
    scores = _among(start, allowed)[:, :, None] + _among(end, allowed)[:, None, :]  # (B, T first, T last)
    band = torch.ones_like(scores[0], dtype=torch.bool).triu().tril(longest - 1)
    best = scores.masked_fill(~band, -torch.inf).flatten(1).argmax(1)
    return best // start.shape[1], best % start.shape[1]


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _among(logits: Tensor, allowed: Tensor) -> Tensor:
    return logits.masked_fill(~allowed, -torch.inf)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)  # as the published code of [BERT]
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _filled(cls: type, cfg: BERTConfig, state: Mapping[str, Tensor]) -> Any:
    model = cls(cfg)
    model.load_state_dict(state)
    return model.eval()


def _with_encoder(model: Any, bert: BERT) -> Any:
    model.to(bert.tokens.weight)  # its device and dtype
    state = model.bert.state_dict()
    model.bert.load_state_dict(state | {k: v for k, v in bert.state_dict().items() if k in state})
    return model


def _check_tokens(tokens: Tensor, cfg: BERTConfig) -> None:
    if tokens.ndim != 2 or tokens.dtype != torch.int64 or 0 in tokens.shape:
        raise ValueError(
            f"tokens must be (B, T) int64, with at least one row and one token, got {tuple(tokens.shape)} "
            f"{tokens.dtype}; encode the text with the tokenizer that belongs to the model"
        )
    if tokens.shape[1] > cfg.length:
        raise ValueError(
            f"a text of {tokens.shape[1]} tokens is longer than the {cfg.length} places of this BERT: cut it"
        )
    _check_range("tokens", tokens, cfg.vocab, "encode the text with the tokenizer that belongs to the model")


def _check_like(tokens: Tensor, mask: Tensor | None, segments: Tensor | None, cfg: BERTConfig) -> None:
    for name, given, dtype in (("mask", mask, torch.bool), ("segments", segments, torch.int64)):
        if given is not None and (given.shape != tokens.shape or given.dtype != dtype):
            want = f"{name} must be {tuple(tokens.shape)} {dtype}, as the tokens"
            raise ValueError(f"{want}, got {tuple(given.shape)} {given.dtype}")
    if segments is not None:
        _check_range("segments", segments, cfg.n_segments, "number the texts of a row from 0")
    if mask is not None and mask.device.type == "cpu" and not mask.any(1).all():
        raise ValueError(
            f"mask must leave at least one token of each row; row {mask.any(1).tolist().index(False)} has none"
        )


def _check_range(name: str, numbers: Tensor, n: int, cure: str) -> None:
    if numbers.device.type == "cpu" and not ((0 <= numbers) & (numbers < n)).all():  # a GPU would have to wait
        bad = numbers[(numbers < 0) | (numbers >= n)][0].item()
        raise ValueError(f"{name} must be in [0, {n}), got {bad}; {cure}")


def _check(cfg: BERTConfig) -> None:
    sizes = ("vocab", "length", "n_layers", "n_heads", "d_model", "d_inner", "n_segments")
    if bad := {k: v for k in sizes if (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
    if cfg.d_model % cfg.n_heads:
        raise ValueError(f"d_model must be a multiple of n_heads, got {cfg.d_model} and {cfg.n_heads}")
    if bad := {k: v for k in ("dropout", "attention_dropout") if not 0 <= (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"shares dropped must be in [0, 1), got {bad}")
    if cfg.eps <= 0:
        raise ValueError(f"eps must be positive, got {cfg.eps}")
