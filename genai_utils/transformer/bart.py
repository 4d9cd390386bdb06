"""BART: an encoder-decoder trained to restore text that was noised in some way; good at rewriting and summarising.

Sources: [BART] Lewis et al. 2020, arXiv:1910.13461, Sec. 2.1 (the model) and 2.2 (the noise: corruption.py).
         [ATT] Vaswani et al. 2017, arXiv:1706.03762 (norms after each part). [GELU] Hendrycks & Gimpel 2016,
         arXiv:1606.08415 (the exact one). The names of published files are those of Hugging Face transformers.
Shapes:  B batch, S tokens of the source or keys, T tokens of the answer or queries, V tokens there are, E width of the
         model, H heads, D = E / H width of a head, F width inside the feed-forward part.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.nn import CrossAttention, KVCache, SelfAttention
from genai_utils.transformer.seq2seq import DecoderCache, EncoderDecoder, check_mask, check_shared, check_tokens

OFFSET = 2  # position i is row i + 2 of the table: two rows were once kept for padding, and the files still have them


@dataclass(frozen=True, kw_only=True)
class BARTConfig:
    vocab: int  # V
    context: int = 1024  # the most tokens of a source, and of an answer with its start token
    d_model: int = 768  # E
    d_ff: int = 3072  # F
    n_layers: int = 6  # of the encoder
    n_decoder_layers: int = 6
    n_heads: int = 12  # H; E is a multiple of it
    scale_embed: bool = False  # embeddings times sqrt(E)
    tied: bool = True  # the head is the embedding
    eps: float = 1e-5  # of the norms
    dropout: float = 0.0  # share of numbers dropped in training, in [0, 1)
    attention_dropout: float = 0.0  # share of attention's weights dropped in training, in [0, 1)
    start: int = 2  # the token that the decoder begins with: the end
    pad: int = 1
    end: int = 2

    @property
    def d_head(self) -> int:
        """D."""
        return self.d_model // self.n_heads


PRESETS = {
    "bart-base": BARTConfig(vocab=50265, dropout=0.1, attention_dropout=0.1),
    "bart-large": BARTConfig(
        vocab=50265, d_model=1024, d_ff=4096, n_layers=12, n_decoder_layers=12, n_heads=16, dropout=0.1),
    "tiny": BARTConfig(vocab=512, context=128, d_model=128, d_ff=384, n_layers=3, n_decoder_layers=3, n_heads=4),
}  # fmt: skip


class FeedForward(nn.Module):
    """y = W_o gelu(W x + b) + c, with the exact GELU."""

    def __init__(self, cfg: BARTConfig) -> None:
        super().__init__()
        self.wide, self.out = nn.Linear(cfg.d_model, cfg.d_ff), nn.Linear(cfg.d_ff, cfg.d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.gelu(self.wide(x)))


class Block(nn.Module):
    """Self-attention, in a decoder cross-attention, feed-forward; each is added to x, and the sum is normed; [ATT]."""

    def __init__(self, cfg: BARTConfig, decoder: bool) -> None:
        super().__init__()
        norm = lambda: nn.LayerNorm(cfg.d_model, cfg.eps)
        dropout = cfg.attention_dropout
        self.attention = SelfAttention(cfg.d_model, cfg.n_heads, causal=decoder, dropout=dropout)
        self.attention_norm = norm()
        if decoder:
            self.cross, self.cross_norm = CrossAttention(cfg.d_model, cfg.n_heads, dropout=dropout), norm()
        self.ff, self.ff_norm = FeedForward(cfg), norm()
        self.drop = nn.Dropout(cfg.dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        memory: tuple[Tensor, Tensor] | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Return (B, T, E) for x (B, T, E); the mask (B, 1, 1, S) is of the source, in a decoder of the memory."""
        own_mask = mask if memory is None else None
        x = self.attention_norm(x + self.drop(self.attention(x, own_mask, cache)))
        if memory is not None:
            x = self.cross_norm(x + self.drop(self.cross(x, *memory, mask)))
        return self.ff_norm(x + self.drop(self.ff(x)))


class Stack(nn.Module):
    """A table of positions, a norm of the sum with the embedding, and blocks."""

    def __init__(self, cfg: BARTConfig, n_layers: int, decoder: bool) -> None:
        super().__init__()
        self.positions = nn.Embedding(cfg.context + OFFSET, cfg.d_model)
        self.norm = nn.LayerNorm(cfg.d_model, cfg.eps)
        self.blocks = nn.ModuleList(Block(cfg, decoder) for _ in range(n_layers))


class BART(EncoderDecoder):
    """logits = model(source, tokens, mask): of the token after each of `tokens`, given those up to it and the source.

    Raises:
        ValueError: a config with sizes below 1, a width that the heads do not divide, or special tokens that do not
            fit.
    """

    Config = BARTConfig

    def __init__(self, cfg: BARTConfig) -> None:
        super().__init__()
        _check(cfg)
        self.cfg = cfg
        self.embed = nn.Embedding(cfg.vocab, cfg.d_model, padding_idx=cfg.pad)
        self.encoder = Stack(cfg, cfg.n_layers, decoder=False)
        self.decoder = Stack(cfg, cfg.n_decoder_layers, decoder=True)
        self.drop = nn.Dropout(cfg.dropout)
        if not cfg.tied:
            self.head = nn.Linear(cfg.d_model, cfg.vocab, bias=False)
        self.register_buffer("logits_bias", torch.zeros(cfg.vocab))  # zero in training; some published files fill it
        self.apply(_initialise)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "BART":
        """Return a published BART in evaluation mode, in float32 on the CPU.

        Args:
            name: a folder with config.json and model.safetensors (or pytorch_model.bin), else a repository id of the
                Hugging Face Hub, such as "facebook/bart-base".
            hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
        Raises:
            ValueError: the config asks for a part that our BART lacks, or the tensors do not fit it; all are named.
            FileNotFoundError: no such folder, or the folder lacks a file (named).
        """
        from genai_utils.transformer.published_seq2seq import read_bart

        cfg, state = read_bart(name, **hub)
        with torch.device("meta"):
            model = cls(cfg)
        model.load_state_dict(state, assign=True)
        return model.eval()

    def encode(self, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the memory (B, S, E) of sources (B, S), S <= context; `mask` (B, S) bool is False at padding."""
        check_tokens("source", source, self.cfg.vocab)
        check_mask(mask, source.shape)
        x = self._embed("source", source, self.encoder, 0)
        mask = None if mask is None else mask[:, None, None]  # (B, 1, 1, S)
        for block in self.encoder.blocks:
            x = block(x, mask)
        return x

    def decode_hidden(
        self, tokens: Tensor, memory: Tensor | None, mask: Tensor | None = None, cache: DecoderCache | None = None
    ) -> Tensor:
        """Return what the last block gives, (B, T, E), which `logits` reads; arguments as those of `decode`."""
        check_tokens("tokens", tokens, self.cfg.vocab)
        check_mask(mask, memory.shape[:2] if cache is None else cache.cross[0][0].shape[::2])  # (B, S)
        x = self._embed("tokens", tokens, self.decoder, cache.length if cache is not None else 0)
        mask = None if mask is None else mask[:, None, None]  # (B, 1, 1, S)
        layers = cache.layers if cache is not None else [None] * len(self.decoder.blocks)
        for block, keys, layer in zip(self.decoder.blocks, self.cross_keys(memory, cache), layers):
            x = block(x, mask, keys, layer)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits (..., V) of what the decoder's last block gives, (..., E)."""
        return F.linear(hidden, self.embed.weight if self.cfg.tied else self.head.weight, self.logits_bias)

    def cross_attentions(self) -> list[CrossAttention]:
        """Return the decoder's layers that look at the memory, in order."""
        return [block.cross for block in self.decoder.blocks]

    def _embed(self, name: str, tokens: Tensor, stack: Stack, before: int) -> Tensor:
        """Return the normed sum (B, T, E) of the tokens' embeddings and of their positions before, before + 1, ..."""
        end = before + tokens.shape[1]
        if end > self.cfg.context:
            raise ValueError(f"{name} take {end} places, more than the context of {self.cfg.context}; cut them")
        embedded = self.embed(tokens) * self.cfg.d_model**0.5 if self.cfg.scale_embed else self.embed(tokens)
        return self.drop(stack.norm(embedded + stack.positions.weight[before + OFFSET : end + OFFSET]))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _check(cfg: BARTConfig) -> None:
    check_shared(cfg)
    if cfg.d_model % cfg.n_heads:
        raise ValueError(f"d_model must be a multiple of n_heads, got {cfg.d_model} and {cfg.n_heads}")
    if cfg.context < 1 or not 0 <= cfg.attention_dropout < 1:
        raise ValueError(
            f"need context >= 1 and attention_dropout in [0, 1), got {cfg.context} and {cfg.attention_dropout}"
        )
