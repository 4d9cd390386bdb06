"""From questions about passages to batches for BERTSpans, and from its logits back to text.

Sources: [BERT] Devlin et al. 2019, arXiv:1810.04805, Sec. 4.2 (question and passage in one row; the answer a span).
Shapes:  N questions, T tokens of the longest row.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from genai_utils.data.tokenizers import padded
from genai_utils.data.wordpiece import WordPiece
from genai_utils.transformer.bert import BERTSpans, Spans, best_spans


def span_batch(
    tokenizer: WordPiece,
    questions: Sequence[str],
    passages: Sequence[str],
    starts: Sequence[int],
    ends: Sequence[int],
) -> Spans:
    """Return rows [CLS] question [SEP] passage [SEP], and the places of the tokens that cover each answer.

    Args:
        tokenizer: that of the model.
        questions: N texts.
        passages: N texts.
        starts: of each answer, in characters of its passage.
        ends: one past the answer's last character.
    Raises:
        ValueError: sides of unequal length; a span in which no token stands (its number is named).
    """
    if not len(questions) == len(passages) == len(starts) == len(ends):
        lengths = [len(side) for side in (questions, passages, starts, ends)]
        raise ValueError(f"questions, passages, starts and ends must be equally many, got {lengths}")
    tokens, mask, segments, characters = _rows(tokenizer, questions, passages)
    at = (characters[..., 1] > torch.tensor(starts)[:, None]) & (characters[..., 0] < torch.tensor(ends)[:, None])
    if not at.any(1).all():
        k = at.any(1).tolist().index(False)
        raise ValueError(f"item {k}: no token of the passage stands within [{starts[k]}, {ends[k]})")
    first = at.int().argmax(1)
    last = at.shape[1] - 1 - at.int().flip(1).argmax(1)
    return Spans(tokens, mask, segments, first, last)


@torch.no_grad()
def answers(
    model: BERTSpans,
    tokenizer: WordPiece,
    questions: Sequence[str],
    passages: Sequence[str],
    *,
    longest: int = 30,
    size: int = 100,
) -> list[str]:
    """Return for each question the part of its passage that the model takes for the answer, as it is written there.

    Args:
        model: in evaluation mode.
        tokenizer: that of the model.
        questions: N texts.
        passages: N texts.
        longest: tokens of an answer.
        size: questions at a time.
    Raises:
        ValueError: sides of unequal length, or longest < 1.
    """
    if len(questions) != len(passages):
        raise ValueError(f"questions and passages must be equally many, got {len(questions)} and {len(passages)}")
    device, found = next(model.parameters()).device, []
    for i in range(0, len(questions), size):
        tokens, mask, segments, characters = _rows(tokenizer, questions[i : i + size], passages[i : i + size])
        start, end = (logits.cpu() for logits in model(tokens.to(device), mask.to(device), segments.to(device)))
        first, last = best_spans(start, end, characters[..., 1] > 0, longest)
        rows = torch.arange(len(tokens))
        begin, stop = characters[rows, first, 0].tolist(), characters[rows, last, 1].tolist()
        found += [text[a:b] for text, a, b in zip(passages[i : i + size], begin, stop)]
    return found


def _rows(tokenizer: WordPiece, questions: Sequence[str], passages: Sequence[str]) -> tuple[Tensor, ...]:
    """Return tokens, mask, segments (N, T), and (N, T, 2) the characters of each passage token, 0, 0 at all others."""
    rows, kinds, characters = [], [], []
    for question, passage in zip(questions, passages):
        head, _ = tokenizer.encode_pair(question)
        body, spans = tokenizer.encode_spans(passage)
        rows.append(torch.cat([head, body, torch.tensor([tokenizer.sep])]))
        kinds.append((torch.arange(len(rows[-1])) >= len(head)).long())
        place = torch.zeros(len(rows[-1]), 2, dtype=torch.int64)
        place[len(head) : len(head) + len(body)] = spans
        characters.append(place)
    tokens, mask = padded(rows, tokenizer.pad)
    return tokens, mask, pad_sequence(kinds, batch_first=True), pad_sequence(characters, batch_first=True)
