"""Hide words and restore them from both sides: how BERT is trained, and what a masked model can be made to do.

It is no language model: it gives p(word | all the others) and no p(text). `pseudo_log_prob` shows what multiplying
those comes to, `unmask_steps` how it writes all the same, which is a discrete diffusion in small.

Sources: [BERT] Devlin et al. 2019, arXiv:1810.04805. [PLL] Salazar et al. 2020, arXiv:1910.14659. [MASKGIT] Chang et
         al. 2022, arXiv:2202.04200. [MP] Ghazvininejad et al. 2019, arXiv:1904.09324 (mask-predict).
Shapes:  B batch, T places of a text, K places of a row that are hidden, V tokens, E width of the model.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from genai_utils.transformer.bert import BERT


class Masked(NamedTuple):
    """A batch for `mlm_loss`. Every row has K places, so that shapes never change; `chosen` says which count."""

    tokens: Tensor  # (B, T) int64, with words hidden
    places: Tensor  # (B, K) int64 in [0, T), no place twice in a row
    targets: Tensor  # (B, K) int64, what stood there
    chosen: Tensor  # (B, K) bool
    mask: Tensor | None = None  # (B, T) bool, False where a row is only filled up
    segments: Tensor | None = None  # (B, T) int64


def mask_tokens(
    tokens: Tensor,
    *,
    vocab: int,
    hide: int,
    special: Sequence[int],
    share: float = 0.15,
    kinds: tuple[float, float] = (0.8, 0.1),
    mask: Tensor | None = None,
    segments: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Masked:
    """Hide a share of each row's words; [BERT] Appendix A.1: 80 % become [MASK], 10 % any word, 10 % stay.

    A row with n words that may be hidden gets share * n places, rounded, at least one if n is not 0. Nothing waits for
    a GPU.

    Args:
        tokens: (B, T) int64 in [0, vocab).
        vocab: V.
        hide: the token [MASK].
        special: tokens that are never hidden and never put in a word's place: [PAD], [CLS], [SEP], [MASK], ...
        share: of the words, in (0, 1].
        kinds: shares that become [MASK] and any word; the rest stays.
        mask: (B, T) bool, False where a row is only filled up; handed on.
        segments: handed on.
        generator: on the device of the tokens.
    Raises:
        ValueError: shares out of range; no word is left besides `special`; `hide` is not special.
    """
    if not 0 < share <= 1 or min(kinds) < 0 or sum(kinds) > 1:
        raise ValueError(f"need 0 < share <= 1 and kinds >= 0 of sum <= 1, got share={share} and kinds={kinds}")
    special = sorted({*special})
    if hide not in special or not all(0 <= s < vocab for s in special) or len(special) >= vocab:
        raise ValueError(f"special must hold hide={hide} and leave words of vocab={vocab}, got {special}")
    rand = lambda *shape: torch.rand(*shape, generator=generator, device=tokens.device)
    may = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask.clone()
    for s in special:
        may &= tokens != s
    order = rand(*tokens.shape).masked_fill(~may, -1.0)
    k = max(1, round(share * tokens.shape[1]))
    places = order.topk(k, dim=1).indices  # (B, K): words first, in random order
    n = may.sum(1, keepdim=True)
    count = (share * n).round().clamp(min=1).minimum(n)  # (B, 1)
    chosen = torch.arange(k, device=tokens.device) < count
    targets = tokens.gather(1, places)
    word = (rand(*places.shape) * (vocab - len(special))).long()
    for s in special:  # from "the i-th that is not special" to its number
        word += word >= s
    u = rand(*places.shape)
    put = torch.where(u < kinds[0], hide, torch.where(u < sum(kinds), word, targets))
    hidden = tokens.scatter(1, places, torch.where(chosen, put, targets))
    return Masked(hidden, places, targets, chosen, mask, segments)


def mlm_loss(model: BERT, batch: Masked) -> tuple[Tensor, dict[str, Tensor]]:
    """-log p(hidden word | the rest) in nats, averaged over the chosen places; [BERT] Sec. 3.1, Task 1.

    Only at those places are the logits computed: with 15 % of them hidden, the last and widest product shrinks to 15 %.

    Args:
        model: with its head.
        batch: of `mask_tokens`.
    Returns:
        The scalar loss, and logs: `nll`, the same; `accuracy`, the share of places where the word is the likeliest.
    Raises:
        ValueError: the tokens do not fit the model.
    """
    hidden = model(batch.tokens, batch.mask, batch.segments)
    logits = model.mlm_logits(_at(hidden, batch.places))  # (B, K, V)
    nll = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")
    weight = batch.chosen.flatten().to(nll.dtype) / batch.chosen.sum().clamp(min=1)
    right = (logits.detach().argmax(-1) == batch.targets).flatten()
    loss = (weight * nll).sum()
    return loss, {"nll": loss, "accuracy": (weight * right).sum()}


@torch.no_grad()
def fill(
    model: BERT, tokens: Tensor, places: Tensor, mask: Tensor | None = None, segments: Tensor | None = None
) -> Tensor:
    """Return p(token at a place | tokens), (B, K, V), each row of which sums to one.

    What stands at the place is read as well: put [MASK] there, else the answer is mostly a copy of it.

    Args:
        model: in evaluation mode.
        tokens: (B, T) int64.
        places: (B, K) int64 in [0, T).
        mask, segments: as those of `BERT`.
    """
    return model.mlm_logits(_at(model(tokens, mask, segments), places)).softmax(-1)


@torch.no_grad()
def pseudo_log_prob(
    model: BERT, tokens: Tensor, *, hide: int, special: Sequence[int], mask: Tensor | None = None
) -> Tensor:
    """Return the sum over words of log p(word | all the others), (B,), in nats; [PLL] Eq. 1. It is no likelihood.

    The conditionals of a trained network are those of no one distribution, and even true ones do not multiply to a
    joint probability; over all texts of a length, exp of this does not sum to one. It serves to rank texts.

    Args:
        model: in evaluation mode; it runs once for every place.
        tokens: (B, T) int64.
        hide: the token [MASK].
        special: tokens that are not scored.
        mask: (B, T) bool, False where a row is only filled up.
    """
    scored = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    for s in {*special}:
        scored = scored & (tokens != s)
    total = 0.0
    for i in range(tokens.shape[1]):
        column = torch.full_like(tokens[:, :1], i)
        hidden = model(tokens.scatter(1, column, hide), mask)[:, i]
        log_probs = model.mlm_logits(hidden).log_softmax(-1)  # (B, V)
        total = total + log_probs.gather(1, tokens[:, i : i + 1])[:, 0].where(scored[:, i], 0.0)
    return total


@torch.no_grad()
def unmask_steps(
    model: BERT,
    tokens: Tensor,
    steps: int,
    *,
    hide: int,
    special: Sequence[int] = (),
    temperature: float = 1.0,
    order: str = "confident",
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Write by uncovering [MASK]s, yielding (tokens (B, T), probs (B, T)) after every step.

    Each step draws a token for every place still hidden, each by itself, keeps those it is surest of, and hides the
    rest again: cos(pi/2 k/steps) of them after step k, [MASKGIT] Sec. 3.2; [MP] without second thoughts. Tokens
    uncovered in one step do not know of each other, so that few steps are fast and contradict themselves. `probs` is
    the model's probability of what was drawn in this step, 1 where nothing was hidden.

    Args:
        model: in evaluation mode.
        tokens: (B, T) int64, [MASK] where there is something to write.
        steps: at least 1; a place is uncovered at each, as long as there are any.
        hide: the token [MASK].
        special: further tokens that are never written.
        temperature: divides the logits; 0 takes the likeliest.
        order: "confident", or "random" for places in random order.
        mask: (B, T) bool, False where a row is only filled up.
        generator: on the device of the tokens.
    Raises:
        ValueError: steps < 1, a temperature that is negative or not finite, no such order (raised at the first step).
    """
    if steps < 1 or not 0 <= temperature < math.inf or order not in ("confident", "random"):
        what = f"got steps={steps}, temperature={temperature}, order={order!r}"
        raise ValueError(f'need steps >= 1, a finite temperature >= 0 and order "confident" or "random"; {what}')
    first = (tokens == hide).sum(1, keepdim=True)  # (B, 1)
    for k in range(1, steps + 1):
        hidden = tokens == hide
        logits = model.mlm_logits(model(tokens, mask))  # (B, T, V)
        logits[..., [hide, *special]] = -torch.inf
        log_probs = logits.log_softmax(-1)
        if temperature == 0:
            drawn = log_probs.argmax(-1)
        else:
            weights = (log_probs / temperature).softmax(-1).flatten(0, 1)
            drawn = torch.multinomial(weights, 1, generator=generator).view_as(tokens)
        sure = log_probs.gather(-1, drawn[..., None])[..., 0]
        noise = torch.rand(tokens.shape, generator=generator, device=tokens.device) if order == "random" else sure
        rank = noise.masked_fill(~hidden, -torch.inf).argsort(1, descending=True).argsort(1)
        stay = (first * math.cos(math.pi / 2 * k / steps)).floor() if k < steps else torch.zeros_like(first)
        left = hidden.sum(1, keepdim=True)
        uncover = hidden & (rank < (left - stay).clamp(min=1))
        tokens = torch.where(uncover, drawn, tokens)
        yield tokens, sure.exp().where(hidden, 1.0)


def _at(hidden: Tensor, places: Tensor) -> Tensor:
    return hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))  # (B, K, E)
