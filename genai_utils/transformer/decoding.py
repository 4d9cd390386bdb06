"""Writing a text token by token: how the next one is chosen from what a model says about it.

A model knows nothing of this, and this knows nothing of models: they meet in `DecodingState`.

Sources: [TOPK] Fan, Lewis & Dauphin 2018, arXiv:1805.04833, Sec. 5.3 (draw among the k likeliest). [TOPP] Holtzman et
         al. 2020, arXiv:1904.09751, Sec. 3.1 (among the fewest that hold a share p). [PEN] Keskar et al. 2019, CTRL,
         arXiv:1909.05858, Sec. 4.1 (repetition penalty). The order in which they act is that of Hugging Face
         transformers.
Shapes:  B rows, T tokens of a row, T0 tokens of the prompt, V tokens there are.
"""

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor


class DecodingState(Protocol):
    """A text being written: what has been read, kept so that reading on costs only what is new."""

    def step(self, tokens: Tensor) -> Tensor:
        """Read tokens (B, t) int64 after all before; return logits (B, V) of the token after the last, float32."""

    def reorder(self, rows: Tensor) -> None:
        """Go on from rows (B',) int64: row b becomes what row rows[b] was."""


def warp_logits(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    seen: Tensor | None = None,
) -> Tensor:
    """Return the logits (B, V) of the distribution that a token is drawn from: -inf where it cannot fall.

    They act one after the other: repetition penalty, temperature, top-k, top-p.

    Args:
        logits: (B, V), of the model.
        temperature: divides the logits, > 0; less than 1 prefers what is likely.
        top_k: keep the k likeliest, and what is as likely as the last of them; at least 1; more than V keeps all.
        top_p: keep the fewest tokens, likeliest first, that hold this share of the probability, in (0, 1].
        repetition_penalty: > 0; logits of the seen are divided by it if positive, multiplied if negative; [PEN].
        seen: (B, T) int64, tokens that a penalty other than 1 is for.
    Raises:
        ValueError: a value out of its range, or a penalty without `seen`.
    """
    _check_warping(temperature, top_k, top_p, repetition_penalty)
    if temperature == 0:
        raise ValueError("temperature must be > 0, got 0; for the likeliest token take logits.argmax(-1)")
    if repetition_penalty != 1:
        logits = _penalise(logits, seen, repetition_penalty)
    logits = logits / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)  # [TOPK]
    if top_p is not None and top_p < 1:
        ordered, order = logits.softmax(-1).sort(dim=-1, descending=True)
        above = ordered.cumsum(-1) - ordered  # probability of all that is likelier
        drop = above >= top_p  # [TOPP] Eq. 2; the likeliest is always kept
        logits = logits.masked_fill(drop.scatter(-1, order, drop), -torch.inf)
    return logits


@torch.no_grad()
def sample_tokens(
    state: DecodingState,
    prompt: Tensor,
    steps: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    end: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Go on from a prompt, yielding (tokens (B,) int64, log_probs (B, V)) after every step.

    The log-probabilities are the model's own; what was drawn followed `warp_logits` of them.

    Args:
        state: of the model, such as `gpt.decoding(B, T0 + steps - 1)`: it has read what comes before the prompt.
        prompt: (B, T0) int64, T0 at least 1.
        steps: the most tokens to draw for each row, at least 1.
        temperature: as in `warp_logits`; 0 takes the likeliest, after the penalty.
        top_k: as in `warp_logits`.
        top_p: as in `warp_logits`.
        repetition_penalty: as in `warp_logits`; the seen are the prompt and what was drawn.
        end: a row that drew this token draws nothing more: from then on it is only this. When all rows have, it stops.
        generator: on the model's device.
    Raises:
        ValueError: an empty prompt, steps < 1, a value out of its range; and what the model refuses, such as a prompt
            longer than its context (raised at the first step; a text that outgrows the state, when it does).
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    _check_warping(temperature, top_k, top_p, repetition_penalty)
    if prompt.ndim != 2 or prompt.dtype != torch.int64 or 0 in prompt.shape:
        raise ValueError(
            f"prompt must be (B, T0) int64, with at least one row and one token, got {tuple(prompt.shape)} "
            f"{prompt.dtype}; start with the token that ends a text"
        )
    seen = tokens = prompt
    ended = torch.zeros(len(prompt), dtype=torch.bool, device=prompt.device)
    for _ in range(steps):
        logits = state.step(tokens)  # (B, V)
        if temperature == 0:
            scores = logits if repetition_penalty == 1 else _penalise(logits, seen, repetition_penalty)
            drawn = scores.argmax(-1)
        else:
            warped = warp_logits(
                logits, temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=repetition_penalty,
                seen=seen,
            )  # fmt: skip
            drawn = torch.multinomial(warped.softmax(-1), 1, generator=generator)[:, 0]
        if end is not None:
            drawn = torch.where(ended, end, drawn)
            ended = drawn == end
        yield drawn, logits.log_softmax(-1)
        if end is not None and ended.all():
            return
        tokens = drawn[:, None]
        if repetition_penalty != 1:
            seen = torch.cat([seen, tokens], dim=1)


def write_tokens(
    state: DecodingState,
    prompt: Tensor,
    steps: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    end: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the prompt and what `sample_tokens` draws after it, (B, T0 + n) int64, with n at most `steps`.

    Arguments and errors are those of `sample_tokens`.
    """
    draws = sample_tokens(
        state, prompt, steps, temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=repetition_penalty,
        end=end, generator=generator,
    )  # fmt: skip
    return torch.cat([prompt, torch.stack([tokens for tokens, _ in draws], dim=1)], dim=1)


def _penalise(logits: Tensor, seen: Tensor | None, penalty: float) -> Tensor:
    """Return logits with those of seen tokens divided by the penalty if positive, multiplied if not; [PEN]."""
    if seen is None:
        raise ValueError(f"a repetition_penalty of {penalty} needs the tokens that were seen, (B, T); give seen=")
    old = logits.gather(-1, seen)
    return logits.scatter(-1, seen, torch.where(old < 0, old * penalty, old / penalty))


def _check_warping(temperature: float, top_k: int | None, top_p: float | None, repetition_penalty: float) -> None:
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be finite and >= 0, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, or None for all tokens, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], or None for all tokens, got {top_p}")
    if not 0 < repetition_penalty < math.inf:
        raise ValueError(f"repetition_penalty must be finite and > 0, got {repetition_penalty}")
