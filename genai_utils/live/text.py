"""What the live models of text share: refusals of a prompt, the likeliest as bars, and the text as it grows.

text.js is its twin.
"""

import re
from typing import Any

from torch import Tensor

from genai_utils.live.entry import Refused

BARS = 12  # as many of the likeliest are shown
GLYPHS = str.maketrans({" ": "·", "\n": "↵"})  # alone on a bar, a space would not be seen


def checked(field: str, text: str) -> str:
    """Return a text that is not empty, and that UTF-8 can write."""
    if not text:
        raise Refused(field, "the text is empty: write at least one character")
    if re.search("[\ud800-\udfff]", text):
        raise Refused(field, "the text holds half of a character (a lone surrogate): delete it")
    return text


def likeliest(names: list[str], p: Tensor, kept: Tensor, after: Tensor) -> list[list[Any]]:
    """Return the bars of the largest of p (V,), with whether each was kept, (V,) bool, and its share after the cut."""
    order = p.argsort(descending=True, stable=True)[:BARS].tolist()
    return [[names[k].translate(GLYPHS), p[k].item(), kept[k].item(), after[k].item()] for k in order]


def grown(prompt: str, written: str) -> list[list[Any]]:
    """Return the words of a text of which the second part is new."""
    return [[prompt, 0], [written, 1]]
