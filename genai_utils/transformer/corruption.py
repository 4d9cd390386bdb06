"""Noise that a model learns to undo: T5's span corruption and the five kinds of BART.

All of them take the tokens of one document, without start, end or padding, and return new tensors; none changes its
input.

Sources: [T5] Raffel et al. 2020, arXiv:1910.10683, Sec. 3.1.4 and 3.3.4 (spans of 3, 15 %). [BART] Lewis et al. 2020,
         arXiv:1910.13461, Sec. 2.2. [MASK] Devlin et al. 2019, arXiv:1810.04805 (token masking).
Shapes:  T tokens of a document.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def span_corruption(
    tokens: Tensor,
    sentinels: Sequence[int],
    *,
    rate: float = 0.15,
    mean_span: float = 3.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Return (source, target): the text with a sentinel for each cut span, and the spans, each after its sentinel.

    As many tokens are cut as `rate` says, rounded, in spans of `mean_span` on average. Kept and cut spans alternate,
    from a kept one at the start to a cut one at the end, and every such division of the text is equally likely: the
    first token is never cut, the last always. A last sentinel closes the target. So

        the fox ran up the hill   ->   the <0> up the <1>   and   <0> fox ran <1> hill <2>

    Args:
        tokens: (T,) int64, at least 2, none of them a sentinel.
        sentinels: tokens kept for this use, in the order of the spans; one more than there are spans.
        rate: share of tokens to cut, in (0, 1); at least one is cut and one left.
        mean_span: mean length of a span, at least 1 token.
        generator: on the CPU.
    Raises:
        ValueError: tokens, rate or mean_span do not fit, too few sentinels, or a sentinel in the text.
    Source: [T5] Sec. 3.1.4.
    """
    _check_tokens(tokens, least=2)
    if not 0 < rate < 1 or mean_span < 1:
        raise ValueError(f"need rate in (0, 1) and mean_span >= 1, got rate={rate}, mean_span={mean_span}")
    n = len(tokens)
    n_cut = min(max(round(n * rate), 1), n - 1)
    n_spans = min(max(round(n_cut / mean_span), 1), n - n_cut)
    if len(sentinels) <= n_spans:
        raise ValueError(f"{n_spans} spans of {n} tokens need {n_spans + 1} sentinels, got {len(sentinels)}; cut less")
    _check_absent(tokens, sentinels)
    kept, cut = _division(n - n_cut, n_spans, generator), _division(n_cut, n_spans, generator)
    pieces = tokens.split([size for two in zip(kept, cut) for size in two])  # kept, cut, kept, cut, ...
    marks = tokens.new_tensor(list(sentinels[: n_spans + 1])).split(1)
    source = [part for two in zip(pieces[::2], marks) for part in two]
    target = [part for two in zip(marks, pieces[1::2]) for part in two]
    return torch.cat(source), torch.cat([*target, marks[n_spans]])


def restore_spans(source: Tensor, target: Tensor, sentinels: Sequence[int]) -> Tensor:
    """Return the text (T,) from which `span_corruption` made source and target.

    A target that a model wrote may lack spans, which are then left out of the text, or name others, which are ignored.

    Args:
        source: (S,) int64.
        target: (T,) int64.
        sentinels: those that were used.
    """
    marks, spans, current = set(sentinels), {}, None
    for token in target.tolist():
        if token in marks:
            current = spans.setdefault(token, [])
        elif current is not None:
            current.append(token)
    text = [t for token in source.tolist() for t in (spans.get(token, []) if token in marks else [token])]
    return source.new_tensor(text)


def token_masking(tokens: Tensor, mask: int, rate: float, *, generator: torch.Generator | None = None) -> Tensor:
    """Return (T,): every token is `mask` with probability `rate`, independently; [BART] Sec. 2.2."""
    return torch.where(_chosen(tokens, rate, generator), mask, tokens)


def token_deletion(tokens: Tensor, rate: float, *, generator: torch.Generator | None = None) -> Tensor:
    """Return (<= T,): every token is left out with probability `rate`; the model must find where; [BART] Sec. 2.2."""
    return tokens[~_chosen(tokens, rate, generator)]


def text_infilling(
    tokens: Tensor, mask: int, rate: float = 0.3, *, mean_span: float = 3.0, generator: torch.Generator | None = None
) -> Tensor:
    """Return the text with one `mask` for each of some spans, however long; the model must guess how much is missing.

    The lengths are drawn from a Poisson distribution until they cover the share `rate` of the tokens, rounded; the last
    is cut to fit. A span of no token puts a mask between two tokens. Places are equally likely, but no two masks are
    neighbours.

    Args:
        tokens: (T,) int64.
        mask: the token that stands for a span.
        rate: share of tokens to replace, in [0, 1).
        mean_span: mean of the Poisson distribution, more than 0.
        generator: on the CPU.
    Raises:
        ValueError: tokens, rate or mean_span do not fit.
    Source: [BART] Sec. 2.2, Text infilling.
    """
    _check_tokens(tokens)
    if not 0 <= rate < 1 or not mean_span > 0:
        raise ValueError(f"need rate in [0, 1) and mean_span > 0, got rate={rate}, mean_span={mean_span}")
    n_cut = round(len(tokens) * rate)
    n_kept, lengths = len(tokens) - n_cut, []
    while (missing := n_cut - sum(lengths)) > 0:
        drawn = int(torch.poisson(torch.tensor(float(mean_span)), generator=generator))
        lengths.append(min(drawn, missing))
    while len(lengths) > n_kept + 1:  # more spans than there are gaps for them: leave out empty ones, else join two
        lengths.remove(0) if 0 in lengths else lengths.append(lengths.pop() + lengths.pop())
    gaps = torch.randperm(n_kept + 1, generator=generator)[: len(lengths)].sort().values.tolist()
    parts, done, kept = [], 0, 0
    for gap, length in zip(gaps, lengths):
        parts += [tokens[done : done + gap - kept], tokens.new_tensor([mask])]
        done, kept = done + gap - kept + length, gap
    return torch.cat([*parts, tokens[done:]])


def sentence_permutation(tokens: Tensor, stops: Sequence[int], *, generator: torch.Generator | None = None) -> Tensor:
    """Return (T,): the same sentences in random order.

    Args:
        tokens: (T,) int64.
        stops: tokens that close a sentence, such as that of "."; what follows the last one is a sentence too.
        generator: on the CPU.
    Source: [BART] Sec. 2.2, Sentence permutation.
    """
    _check_tokens(tokens)
    after = (torch.isin(tokens, tokens.new_tensor(list(stops))).nonzero()[:, 0] + 1).tolist()
    places = sorted({0, *after, len(tokens)})
    sentences = tokens.split([b - a for a, b in zip(places, places[1:])])
    return torch.cat([sentences[i] for i in torch.randperm(len(sentences), generator=generator).tolist()])


def document_rotation(tokens: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Return (T,): the text turned so that it begins with a random one of its tokens; [BART] Sec. 2.2."""
    _check_tokens(tokens)
    return tokens.roll(-int(torch.randint(len(tokens), (), generator=generator)))


def _division(total: int, parts: int, generator: torch.Generator | None) -> list[int]:
    """Return `parts` whole numbers >= 1 that sum to `total`; every such list is equally likely."""
    cuts = torch.randperm(total - 1, generator=generator)[: parts - 1].sort().values + 1
    places = [0, *cuts.tolist(), total]
    return [b - a for a, b in zip(places, places[1:])]


def _chosen(tokens: Tensor, rate: float, generator: torch.Generator | None) -> Tensor:
    _check_tokens(tokens)
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must be in [0, 1], got {rate}")
    return (torch.rand(len(tokens), generator=generator) < rate).to(tokens.device)


def _check_tokens(tokens: Tensor, least: int = 1) -> None:
    if not isinstance(tokens, Tensor) or tokens.ndim != 1 or tokens.dtype != torch.int64 or len(tokens) < least:
        got = f"{tuple(tokens.shape)} {tokens.dtype}" if isinstance(tokens, Tensor) else type(tokens).__name__
        raise ValueError(f"tokens must be (T,) int64 with T >= {least}, one document at a time, got {got}")


def _check_absent(tokens: Tensor, sentinels: Sequence[int]) -> None:
    marks = tokens.new_tensor(list(sentinels))
    if len(marks.unique()) < len(marks):
        raise ValueError(f"sentinels must be distinct, got {list(sentinels)}")
    if (used := torch.isin(tokens, marks)).any():
        raise ValueError(f"token {tokens[used][0].item()} of the text is a sentinel; keep sentinels out of the text")
