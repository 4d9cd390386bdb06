"""A character language model: p(text) as a product over characters, each given those before it by a recurrent network.

Sources: [LM] Mikolov et al. 2010, Recurrent neural network based language model, Interspeech; Graves 2013,
         arXiv:1308.0850 (text character by character). [TBPTT] Williams & Peng 1990, Neural Computation 2(4), 490-501
         (truncated back-propagation). [BIAS] Jozefowicz et al. 2015, ICML (a forget bias of 1).
         [DROP] Zaremba et al. 2014, arXiv:1409.2329 (dropout everywhere but from one step of time to the next).
Shapes:  B batch, T characters of a row, V characters of the alphabet, H width of the hidden state.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.autoregressive.rnn import CELLS, Recurrent, State, detach


@dataclass(frozen=True, kw_only=True)
class RecurrentLMConfig:
    alphabet: str  # the V characters, each once; token k is alphabet[k]
    cell: str = "lstm"  # "rnn", "gru" or "lstm"
    d_embed: int = 32  # width of a character's vector
    d_hidden: int = 128  # H
    n_layers: int = 1
    dropout: float = 0.0  # share of numbers dropped in training, between layers and around them; in [0, 1)


class RecurrentLM(nn.Module):
    """logits, state = model(tokens, state): of the character after every token, given that token and all before."""

    Config = RecurrentLMConfig

    def __init__(self, cfg: RecurrentLMConfig) -> None:
        super().__init__()
        _check(cfg)
        self.cfg = cfg
        self.embed = nn.Embedding(self.vocab, cfg.d_embed)
        forget_bias = 1.0 if cfg.cell == "lstm" else None  # [BIAS]
        self.body = Recurrent(cfg.cell, cfg.d_embed, cfg.d_hidden, cfg.n_layers, forget_bias, cfg.dropout)
        self.drop = nn.Dropout(cfg.dropout)
        self.head = nn.Linear(cfg.d_hidden, self.vocab)

    @property
    def vocab(self) -> int:
        """V, the number of tokens."""
        return len(self.cfg.alphabet)

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return logits (B, T, V) in float32 or better, and the state after the last token.

        The logits at place i are of the token at i + 1; they depend on the tokens up to i, and on `state`.

        Args:
            tokens: (B, T) int64 in [0, V), T at least 1.
            state: what an earlier call returned, to read on from there; None: nothing was read before.
        Raises:
            ValueError: tokens of another shape or type; a state that does not fit; on a CPU also tokens out of range.
        """
        _check_tokens("tokens", tokens, self.vocab)
        hidden, state = self.body(self.drop(self.embed(tokens)), state)
        logits = self.head(self.drop(hidden))
        return logits.to(torch.promote_types(logits.dtype, torch.float32)), state


def lm_loss(
    model: RecurrentLM, batch: tuple[Tensor, Tensor], state: State | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """-log p(target | tokens up to its place) in nats per character, averaged over the batch.

    Args:
        model: the language model.
        batch: (tokens, targets), each (B, T) int64 in [0, V): the targets are the tokens one place on.
        state: that the reading starts from; None: nothing was read before.
    Returns:
        The scalar loss, and logs: `nll`, the same.
    Raises:
        ValueError: tokens or targets do not fit.
    """
    return _loss(model, batch, state)[:2]


def _loss(model: RecurrentLM, batch: tuple[Tensor, Tensor], state: State | None) -> tuple[Tensor, dict, State]:
    tokens, targets = batch
    logits, state = model(tokens, state)
    _check_tokens("targets", targets, model.vocab)
    if targets.shape != tokens.shape:
        raise ValueError(f"targets must be as the tokens, {tuple(tokens.shape)}, got {tuple(targets.shape)}")
    nll = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return nll, {"nll": nll}, state


class CarriedState:
    """Truncated back-propagation through time: each batch reads on where the last one ended; [TBPTT].

    What was read stays in the state, but no gradient goes back beyond the start of a batch. To make a run resumable,
    give the state to its step, or a resumed run would have forgotten what it read:

        carried = CarriedState()
        step = make_step(model, carried.loss, opt)
        step.parts["carried"] = carried
    """

    def __init__(self) -> None:
        self.state: State | None = None

    def loss(self, model: RecurrentLM, batch: tuple[Tensor, Tensor, bool]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return `lm_loss` of a batch, read from the state that the batch before it left; keep the state it leaves.

        Args:
            model: the language model.
            batch: (tokens, targets, fresh), of `StreamBatches`: a fresh batch begins from nothing.
        Raises:
            ValueError: a batch that is not fresh, though none came before it; tokens or targets that do not fit.
        """
        tokens, targets, fresh = batch
        if not fresh and self.state is None:
            raise ValueError(
                "this batch is not fresh and no state was carried to it; start with new batches, and in a run that is "
                'resumed set step.parts["carried"]'
            )
        loss, logs, state = _loss(model, (tokens, targets), None if fresh else self._on(tokens.device))
        self.state = detach(state)
        return loss, logs

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return the state, for a checkpoint: no tensor, one, or an LSTM's two."""
        return {"state": [] if self.state is None else list(self._parts())}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Go on from what `state_dict` returned."""
        parts = tuple(state["state"])
        self.state = None if not parts else parts[0] if len(parts) == 1 else parts

    def _parts(self) -> tuple[Tensor, ...]:
        return self.state if isinstance(self.state, tuple) else (self.state,)

    def _on(self, device: torch.device) -> State:
        """Return the state on `device`: a checkpoint is read on the CPU."""
        parts = tuple(part.to(device) for part in self._parts())
        return parts if isinstance(self.state, tuple) else parts[0]


def log_prob(model: RecurrentLM, tokens: Tensor, start: str = "\n") -> Tensor:
    """Return log p(tokens | start) in nats, (B,), in the precision of the logits.

    A model that was trained with a carried state alone has hardly ever begun from nothing: one character is then too
    little to start from, and a whole earlier story with its end symbol serves better.

    Args:
        model: in evaluation mode.
        tokens: (B, T) int64 in [0, V): for a story, its characters and the end symbol.
        start: text of at least one character that is taken as read: the end of the story before, or all of it.
    Raises:
        ValueError: tokens that do not fit; a start that is empty, or has a character that the alphabet lacks.
    """
    if not start or not set(start) <= set(model.cfg.alphabet):
        raise ValueError(f"start must be one or more characters of the alphabet {model.cfg.alphabet!r}, got {start!r}")
    _check_tokens("tokens", tokens, model.vocab)
    read = torch.tensor([model.cfg.alphabet.index(c) for c in start], device=tokens.device).expand(len(tokens), -1)
    logits, _ = model(torch.cat([read, tokens[:, :-1]], dim=1))
    logits = logits[:, len(start) - 1 :]  # (B, T, V)
    return -F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none").sum(1)


@torch.no_grad()
def sample_tokens(
    model: RecurrentLM,
    prompt: Tensor,
    steps: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Go on from a prompt, yielding (tokens (B,) int64, log_probs (B, V)) after every step.

    The state holds all that was read, so that a step costs one step, however long the text is. The log-probabilities
    are the model's own, before the temperature: what was drawn followed softmax(log_probs / temperature).

    Args:
        model: in evaluation mode.
        prompt: (B, T0) int64 in [0, V), T0 at least 1: what stands already.
        steps: how many tokens to draw for each row, at least 1.
        temperature: divides the logits: 1 draws from the model, less prefers what is likely, 0 takes the likeliest.
        generator: on the model's device.
    Raises:
        ValueError: an empty prompt, tokens out of range, steps < 1, a temperature that is negative or not finite
            (raised at the first step).
    """
    if steps < 1 or not 0 <= temperature < math.inf:
        raise ValueError(f"need steps >= 1 and a finite temperature >= 0, got steps={steps}, temperature={temperature}")
    _check_tokens("prompt", prompt, model.vocab)
    tokens, state = prompt, None
    for _ in range(steps):
        logits, state = model(tokens, state)
        log_probs = logits[:, -1].log_softmax(1)  # (B, V)
        if temperature == 0:
            drawn = log_probs.argmax(1)
        else:
            drawn = torch.multinomial((log_probs / temperature).softmax(1), 1, generator=generator)[:, 0]
        yield drawn, log_probs
        tokens = drawn[:, None]


def _check_tokens(name: str, tokens: Tensor, vocab: int) -> None:
    if tokens.ndim != 2 or tokens.dtype != torch.int64 or 0 in tokens.shape:
        raise ValueError(
            f"{name} must be (B, T) int64, with at least one row and one token, got {tuple(tokens.shape)} "
            f"{tokens.dtype}; encode the text with CharTokenizer(model.cfg.alphabet)"
        )
    if tokens.device.type == "cpu" and not ((0 <= tokens) & (tokens < vocab)).all():  # a GPU would have to wait
        bad = tokens[(tokens < 0) | (tokens >= vocab)][0].item()
        raise ValueError(f"{name} must be in [0, {vocab}), got {bad}; encode with CharTokenizer(model.cfg.alphabet)")


def _check(cfg: RecurrentLMConfig) -> None:
    if not cfg.alphabet or len(set(cfg.alphabet)) < len(cfg.alphabet):
        raise ValueError(f"alphabet must have each of its characters once, got {cfg.alphabet!r}")
    if cfg.cell not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(CELLS)}, got {cfg.cell!r}")
    if bad := {k: v for k in ("d_embed", "d_hidden", "n_layers") if (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
    if not 0 <= cfg.dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {cfg.dropout}")
