"""GPT: a transformer that reads a text from left to right and says at every place which token comes next.

Sources: [GPT] Radford et al. 2018, Improving language understanding by generative pre-training, Eq. 1 and 2.
         [GPT2] Radford et al. 2019, Language models are unsupervised multitask learners, Sec. 2.3 (norm before each
         half, residual projections started smaller). [ATT] Vaswani et al. 2017, arXiv:1706.03762. [TIE] Press & Wolf
         2017, arXiv:1608.05859 (one matrix for both ends). [GELU] Hendrycks & Gimpel 2016, arXiv:1606.08415, Sec. 2.
         Published files: openai-community/gpt2.
Shapes:  B batch, T tokens of a row, V tokens there are, E width of the model, L layers, H heads, D = E / H.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.nn import KVCache, SelfAttention

IGNORED = -100  # a target that is not scored


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    vocab: int = 512  # V
    context: int = 256  # the longest sequence, in tokens: there are as many positions
    d_model: int = 128  # E, a multiple of n_heads
    n_layers: int = 4  # L
    n_heads: int = 4  # H
    d_hidden: int | None = None  # width inside the MLP of a block; None is 4 E
    tied: bool = True  # whether one matrix embeds the tokens and scores them; [TIE]
    dropout: float = 0.0  # share of numbers dropped after each half of a block, in [0, 1)
    embed_dropout: float = 0.0  # and after the embedding
    attention_dropout: float = 0.0  # share of attention weights dropped
    eps: float = 1e-5  # of every LayerNorm


_GPT2 = {"vocab": 50257, "context": 1024, "dropout": 0.1, "embed_dropout": 0.1, "attention_dropout": 0.1}
PRESETS = {
    "tiny": GPTConfig(vocab=64, context=64, d_model=64, n_layers=2, n_heads=4),
    "small": GPTConfig(),
    "medium": GPTConfig(d_model=384, n_layers=6, n_heads=6),
    "gpt2": GPTConfig(d_model=768, n_layers=12, n_heads=12, **_GPT2),  # the four of [GPT2] Table 2
    "gpt2-medium": GPTConfig(d_model=1024, n_layers=24, n_heads=16, **_GPT2),
    "gpt2-large": GPTConfig(d_model=1280, n_layers=36, n_heads=20, **_GPT2),
    "gpt2-xl": GPTConfig(d_model=1600, n_layers=48, n_heads=25, **_GPT2),
}


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)): (B, T, E) to (B, T, E); [GPT] Eq. 2, in the order of [GPT2]."""

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__()
        hidden = cfg.d_hidden or 4 * cfg.d_model
        self.norm1 = nn.LayerNorm(cfg.d_model, eps=cfg.eps)
        self.attention = SelfAttention(cfg.d_model, cfg.n_heads, causal=True, dropout=cfg.attention_dropout)
        self.norm2 = nn.LayerNorm(cfg.d_model, eps=cfg.eps)
        self.up = nn.Linear(cfg.d_model, hidden)
        self.down = nn.Linear(hidden, cfg.d_model)
        self.drop = nn.Dropout(cfg.dropout)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        x = x + self.drop(self.attention(self.norm1(x), cache=cache))
        return x + self.drop(self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh")))


class GPT(nn.Module):
    """logits = gpt(tokens): of the token after every place, given that place's token and all before it."""

    Config = GPTConfig

    def __init__(self, cfg: GPTConfig) -> None:
        super().__init__()
        _check(cfg)
        self.cfg = cfg
        self.embed = nn.Embedding(cfg.vocab, cfg.d_model)
        self.positions = nn.Embedding(cfg.context, cfg.d_model)
        self.drop = nn.Dropout(cfg.embed_dropout)
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.n_layers))
        self.norm = nn.LayerNorm(cfg.d_model, eps=cfg.eps)
        self.head = None if cfg.tied else nn.Linear(cfg.d_model, cfg.vocab, bias=False)
        self.apply(_initialise)
        for block in self.blocks:  # 2 L sums into the residual stream leave it about as large as one; [GPT2] Sec. 2.3
            for projection in (block.attention.out, block.down):
                nn.init.normal_(projection.weight, std=0.02 * (2 * cfg.n_layers) ** -0.5)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "GPT":
        """Load a published GPT-2, for example "gpt2" or "distilgpt2", in evaluation mode, in float32 on the CPU.

        Args:
            name: a folder with config.json and model.safetensors (or pytorch_model.bin), or a repository id of the
                Hugging Face Hub.
            hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token).
        Raises:
            ValueError: the config asks for a part that this GPT lacks (named), or the weights do not fit it (missing,
                surplus and misshapen names are listed).
            FileNotFoundError: the folder lacks a file (named).
        """
        from genai_utils.transformer.published_gpt import read_gpt

        cfg, state = read_gpt(name, **hub)
        gpt = cls(cfg)
        gpt.load_state_dict(state)
        return gpt.eval()

    def read(self, tokens: Tensor, cache: list[KVCache] | None = None) -> Tensor:
        """Return what the last norm makes of every place, (B, T, E); arguments and errors as in `forward`."""
        start = 0 if cache is None else cache[0].length
        check_tokens("tokens", tokens, self.cfg.vocab)
        if (end := start + tokens.shape[1]) > self.cfg.context:
            before = f" after the {start} that were read" if start else ""
            raise ValueError(
                f"{tokens.shape[1]} tokens{before} are more than the context of {self.cfg.context}; keep the last ones "
                "only, or train a model with a larger context"
            )
        x = self.drop(self.embed(tokens) + self.positions.weight[start:end])  # (B, T, E); [GPT] Eq. 2
        for i, block in enumerate(self.blocks):
            x = block(x, None if cache is None else cache[i])
        return self.norm(x)

    def score(self, hidden: Tensor) -> Tensor:
        """Return logits (..., V) for what `read` returned, (..., E), in float32 or better."""
        logits = F.linear(hidden, self.embed.weight if self.head is None else self.head.weight)  # [TIE]
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def forward(self, tokens: Tensor, cache: list[KVCache] | None = None) -> Tensor:
        """Return logits (B, T, V) in float32 or better.

        The logits at place i are of the token at i + 1; they depend on the tokens up to i, and on those of the cache.

        Args:
            tokens: (B, T) int64 in [0, V), T at least 1.
            cache: of `GPT.cache`: what was read before; the tokens follow it, and are added to it. Use it without
                gradients: it is written over.
        Raises:
            ValueError: tokens of another shape or type; more than the context or the cache hold; on a CPU also tokens
                out of range.
        """
        return self.score(self.read(tokens, cache))

    def cache(self, batch: int, length: int | None = None) -> list[KVCache]:
        """Return an empty cache, one of each layer, on the model's device and in the dtype of its keys.

        Args:
            batch: B.
            length: tokens that it has room for, at most the context, which is also what None gives.
        Raises:
            ValueError: batch or length out of range.
        """
        length = self.cfg.context if length is None else length
        if batch < 1 or not 1 <= length <= self.cfg.context:
            raise ValueError(
                f"need batch >= 1 and length within [1, {self.cfg.context}], the context; got batch={batch}, "
                f"length={length}; keep the last tokens of the prompt only, or take fewer steps"
            )
        like, kind = self.embed.weight, self.embed.weight.device.type
        if torch.is_autocast_enabled(kind):  # the keys come from a Linear
            like = torch.empty(0, dtype=torch.get_autocast_dtype(kind), device=like.device)
        H, D = self.cfg.n_heads, self.cfg.d_model // self.cfg.n_heads
        return [KVCache(batch, H, length, D, like) for _ in self.blocks]

    def decoding(self, batch: int, length: int | None = None) -> "GPTDecoding":
        """Return a `DecodingState` that has read nothing yet; arguments and errors as those of `cache`."""
        return GPTDecoding(self, self.cache(batch, length))


class GPTDecoding:
    """A text being written, row by row: `step` reads on and says what may come next; see transformer/decoding.py."""

    def __init__(self, model: GPT, cache: list[KVCache]) -> None:
        self.model, self.cache = model, cache

    @torch.no_grad()
    def step(self, tokens: Tensor) -> Tensor:
        """Read tokens (B, t) after all before; return logits (B, V) of the next one. Errors as in `GPT.forward`."""
        return self.model.score(self.model.read(tokens, self.cache)[:, -1])

    def reorder(self, rows: Tensor) -> None:
        """Make row b what row rows[b] was, (B',) int64."""
        for layer in self.cache:
            layer.reorder(rows)


def gpt_loss(model: GPT, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """-log p(target | tokens up to its place) in nats per token, averaged over those that are scored; [GPT] Eq. 1.

    Args:
        model: the language model.
        batch: (tokens, targets), each (B, T) int64 in [0, V): the targets are the tokens one place on. A target of -100
            is not scored.
    Returns:
        The scalar loss, and logs: `nll`, the same.
    Raises:
        ValueError: tokens or targets do not fit; on a CPU also when no target is scored.
    """
    tokens, targets = batch
    if targets.shape != tokens.shape:
        raise ValueError(f"targets must be as the tokens, {tuple(tokens.shape)}, got {tuple(targets.shape)}")
    logits = model(tokens)
    check_tokens("targets", targets, model.cfg.vocab, ignored=True)
    nll = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    return nll, {"nll": nll}


def log_prob(model: GPT, tokens: Tensor, prompt: Tensor) -> Tensor:
    """Return log p(tokens | prompt) in nats, (B,), in the precision of the logits; [GPT] Eq. 1, summed.

    Args:
        model: in evaluation mode.
        tokens: (B, T) int64 in [0, V): for a story, its tokens and the one that ends it.
        prompt: (B, T0) int64 in [0, V), T0 at least 1: what is taken as read, such as the end of the story before.
    Raises:
        ValueError: tokens or prompt that do not fit, or together exceed the context.
    """
    check_tokens("prompt", prompt, model.cfg.vocab)
    check_tokens("tokens", tokens, model.cfg.vocab)
    if len(prompt) != len(tokens):
        raise ValueError(f"prompt must have the {len(tokens)} rows of tokens, got {len(prompt)}; prompt.expand(B, -1)")
    logits = model(torch.cat([prompt, tokens[:, :-1]], dim=1))[:, prompt.shape[1] - 1 :]  # (B, T, V)
    return -F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none").sum(1)


def check_tokens(name: str, tokens: Tensor, vocab: int, *, ignored: bool = False) -> None:
    """Refuse what is not (B, T) int64 with a row and a token, or, on a CPU, not within [0, V).

    Args:
        name: for the message.
        tokens: to be looked at.
        vocab: V.
        ignored: whether -100 may stand among them, though not everywhere.
    Raises:
        ValueError: the shape, type or value is named.
    """
    if tokens.ndim != 2 or tokens.dtype != torch.int64 or 0 in tokens.shape:
        raise ValueError(
            f"{name} must be (B, T) int64, with at least one row and one token, got {tuple(tokens.shape)} "
            f"{tokens.dtype}; encode the text with the model's own tokenizer"
        )
    if tokens.device.type != "cpu":  # a GPU would have to wait
        return
    scored = tokens[tokens != IGNORED] if ignored else tokens
    if scored.numel() == 0:
        raise ValueError(f"all {tokens.numel()} {name} are {IGNORED}: nothing is scored; leave such batches out")
    low, high = (value.item() for value in torch.aminmax(scored))
    if low < 0 or high >= vocab:
        bad = low if low < 0 else high
        raise ValueError(f"{name} must be in [0, {vocab}), got {bad}; encode with the model's own tokenizer")


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):  # norms start as torch starts them, at 1 and 0
        nn.init.normal_(module.weight, std=0.02)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)


def _check(cfg: GPTConfig) -> None:
    sizes = ("vocab", "context", "d_model", "n_layers", "n_heads")
    sizes += () if cfg.d_hidden is None else ("d_hidden",)
    if bad := {k: v for k in sizes if (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
    if cfg.d_model % cfg.n_heads:
        raise ValueError(f"d_model must be a multiple of n_heads, got {cfg.d_model} and {cfg.n_heads}")
    shares = ("dropout", "embed_dropout", "attention_dropout")
    if bad := {k: v for k in shares if not 0 <= (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"shares to drop must be in [0, 1), got {bad}")
    if not cfg.eps > 0:
        raise ValueError(f"eps must be positive, got {cfg.eps}")
