"""Text with a task: labelled texts, questions with the span that answers them, and pairs of source and target.

Sources: none; plain containers, which check that what they hold fits together.
Shapes:  N items of a split.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


def _check_texts(what: str, texts: tuple[str, ...], n: int | None = None) -> None:
    if not isinstance(texts, tuple) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"{what} must be a tuple of at least one str, none of them empty, got {texts!r:.60}")
    if n is not None and len(texts) != n:
        raise ValueError(f"{what} must be {n}, one for each item, got {len(texts)}")


@dataclass(frozen=True)
class LabelledText:
    """Texts, each with a class: `classes[labels[k]]` names that of `documents[k]`.

    Raises:
        ValueError: no text, an empty one, or labels that are not (N,) int64 in [0, number of classes).
    """

    name: str
    documents: tuple[str, ...]
    labels: Tensor  # (N,) int64
    classes: tuple[str, ...]
    extra: dict[str, Any] = field(default_factory=dict)  # what else is known of the texts

    def __post_init__(self) -> None:
        _check_texts("documents", self.documents)
        shape = (len(self.documents),)
        if not isinstance(self.labels, Tensor) or self.labels.shape != shape or self.labels.dtype != torch.int64:
            raise ValueError(f"labels must be {shape} int64, one for each document, got {self.labels!r:.60}")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            raise ValueError(f"labels must be in [0, {len(self.classes)}), the classes, got {low} to {high}")

    def __len__(self) -> int:
        return len(self.documents)


@dataclass(frozen=True)
class PairedText:
    """Pairs for text-to-text: `targets[k]` is what is to be written for `sources[k]`.

    Raises:
        ValueError: no pair, an empty text, or more of one side than of the other.
    """

    name: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_texts("sources", self.sources)
        _check_texts("targets", self.targets, len(self.sources))

    def __len__(self) -> int:
        return len(self.sources)


@dataclass(frozen=True)
class QuestionSet:
    """Questions about stories: `stories[k][starts[k] : ends[k]]` is `answers[k]`, which answers `questions[k]`.

    Raises:
        ValueError: no question, sides of unequal length, or a span that does not hold its answer.
    """

    name: str
    stories: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    starts: tuple[int, ...]  # characters from the beginning of the story
    ends: tuple[int, ...]  # one past the answer's last character
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_texts("stories", self.stories)
        n = len(self.stories)
        _check_texts("questions", self.questions, n)
        _check_texts("answers", self.answers, n)
        if len(self.starts) != n or len(self.ends) != n:
            raise ValueError(f"starts and ends must be {n} each, got {len(self.starts)} and {len(self.ends)}")
        for k, (story, answer, start, end) in enumerate(zip(self.stories, self.answers, self.starts, self.ends)):
            if start < 0 or story[start:end] != answer:
                raise ValueError(f"item {k}: story[{start}:{end}] is {story[start:end]!r}, not the answer {answer!r}")

    def __len__(self) -> int:
        return len(self.stories)


def check_draw(n: int | None, seed: int, defaults: dict[str, int], split: str) -> int:
    """Return how many items to draw: n, or the split's default.

    Raises:
        ValueError: n below 1, or seed below 0.
    """
    n = defaults[split] if n is None else n
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    return n
