"""Beam search: keep the few likeliest beginnings, extend each, and keep the few likeliest again.

It finds answers that are likelier than greedy ones; whether they are better is another question. The rules for when a
finished answer is taken and when the search stops are those of `generate` in transformers, token for token.

Sources: [S2S] Sutskever et al. 2014, arXiv:1409.3215, Sec. 3.2. [GNMT] Wu et al. 2016, arXiv:1609.08144, Sec. 7 (a
         penalty for length; ours divides by length ** penalty, as transformers does).
Shapes:  B sources, K beams, V tokens there are, T tokens of an answer.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from genai_utils.transformer.decoding import DecodingState

NEVER = -1e9  # a score below all others, finite so that sums of it stay numbers


class Beams(NamedTuple):
    """The search after one step. Beams are sorted, the best first."""

    tokens: Tensor  # (B, K, T) int64: answers that go on
    log_probs: Tensor  # (B, K): their log-probability, in nats
    parents: Tensor  # (B, K) int64: which beam of the step before each of them extends
    finished: Tensor  # (B, K, T) int64: the best answers that have ended, filled up with `end`
    scores: Tensor  # (B, K): log-probability / length ** length_penalty of those; -1e9 where there is none yet


def beam_search(
    state: DecodingState,
    start: Tensor,
    beams: int,
    length: int,
    *,
    end: int,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
) -> tuple[Tensor, Tensor]:
    """Return the best answers (B, T) int64, without `start` and filled up with `end`, and their scores (B,).

    Arguments and errors as those of `beam_steps`.
    """
    *_, last = beam_steps(
        state, start, beams, length, end=end, length_penalty=length_penalty, early_stopping=early_stopping
    )
    best = last.finished[:, 0]
    lengths = (best != end).sum(1) + 1  # with the `end` that closes it
    return best[:, : min(int(lengths.max()), best.shape[1])], last.scores[:, 0]


@torch.no_grad()
def beam_steps(
    state: DecodingState,
    start: Tensor,
    beams: int,
    length: int,
    *,
    end: int,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
) -> Iterator[Beams]:
    """Search for the likeliest answers, yielding `Beams` after every step; the last one holds the result.

    Args:
        state: has read nothing but the source, with room for start and length - 1 more tokens.
        start: (B, T0) int64: what stands already, such as the decoder's start token.
        beams: K, how many beginnings are kept; with 1 the search is greedy and stops at the first `end`.
        length: the most tokens of an answer; one that has not ended by then ends there.
        end: the token that closes an answer.
        length_penalty: a finished answer scores log-probability / T ** length_penalty: 0 prefers short answers, more
            than 1 long ones.
        early_stopping: True: stop when every source has K finished answers. False: stop when no beam, divided by its
            present length, beats the worst of them. "never": stop when none can beat it at any length.
    Raises:
        ValueError: beams, length or early_stopping out of range, an empty start, or more beams than tokens (raised at
            the first step).
    """
    if beams < 1 or length < 1 or early_stopping not in (True, False, "never") or not math.isfinite(length_penalty):
        raise ValueError(
            "need beams >= 1, length >= 1, a finite length_penalty and early_stopping True, False or 'never', got "
            f"beams={beams}, length={length}, length_penalty={length_penalty}, early_stopping={early_stopping!r}"
        )
    if start.ndim != 2 or start.dtype != torch.int64 or 0 in start.shape:
        raise ValueError(f"start must be (B, T0) int64, with a row for each source, got {tuple(start.shape)}")
    logits = state.step(start)
    n, vocab, device = len(start), logits.shape[-1], start.device
    if not 0 <= end < vocab or vocab < 2 * beams:
        raise ValueError(f"need end in [0, {vocab}) and at most {vocab // 2} beams, got end={end}, beams={beams}")
    early = True if beams == 1 else early_stopping
    first_row = beams * torch.arange(n, device=device)[:, None]  # (B, 1)
    every = torch.arange(n, device=device).repeat_interleave(beams)
    state.reorder(every)  # the start was read once for each source
    logits = logits[every]
    tokens = start.new_full((n, beams, length), end)
    finished, scores = tokens.clone(), torch.full((n, beams), NEVER, device=device)
    log_probs = torch.full((n, beams), NEVER, device=device)
    log_probs[:, 0] = 0.0  # all beams are alike: the first alone is extended
    done = torch.zeros(n, beams, dtype=torch.bool, device=device)
    can_improve = torch.ones(n, 1, dtype=torch.bool, device=device)
    among_best = torch.arange(2 * beams, device=device) < beams

    for t in range(1, length + 1):
        totals = logits.float().log_softmax(1).view(n, beams, vocab) + log_probs[:, :, None]
        best, which = totals.flatten(1).topk(2 * beams)  # (B, 2 K): K of them may end, and K are left to go on
        parents, token = which // vocab, which % vocab
        candidates = _take(tokens, parents)
        candidates[:, :, t - 1] = token
        stops = torch.ones_like(token, dtype=torch.bool) if t == length else token == end

        kept = (best + NEVER * stops).topk(beams).indices
        tokens, log_probs, parents = _take(candidates, kept), _take(best, kept), _take(parents, kept)
        log_probs = log_probs + NEVER * _take(stops, kept)

        ends_here = stops & among_best & can_improve & ~(done.all(1, keepdim=True) & (early is True))
        new = torch.where(ends_here, best / t**length_penalty, best + NEVER)
        scores, order = torch.cat([scores, new], dim=1).topk(beams)
        finished = _take(torch.cat([finished, candidates], dim=1), order)
        done = _take(torch.cat([done, ends_here], dim=1), order)
        yield Beams(tokens[:, :, :t], log_probs, parents, finished[:, :, :t], scores)

        at_best = length if early == "never" and length_penalty > 0 else t
        hope = log_probs[:, :1] / at_best**length_penalty
        can_improve = can_improve & (~done | (hope > scores[:, -1:])).any(1, keepdim=True)
        if t == length or not can_improve.any() or (early is True and done.all()) or stops.all():
            break
        state.reorder((first_row + parents).flatten())
        logits = state.step(tokens[:, :, t - 1].reshape(-1, 1))


def _take(x: Tensor, which: Tensor) -> Tensor:
    """Return x[b, which[b, k]] for every b and k: (B, K, ...)."""
    return x.gather(1, which) if x.ndim == 2 else x.gather(1, which[:, :, None].expand(-1, -1, x.shape[2]))
