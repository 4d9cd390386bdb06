"""Text as a set: the whole split as one string, the documents it is made of, and its batches.

Sources: for `python_docs`, the topics of Python's own help system, module pydoc_data.topics (PSF licence).
Shapes:  N tokens of a split, B batch, T tokens of a row.
"""

import platform
import unicodedata
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from genai_utils.data.download import DataError
from genai_utils.data.sets import StreamBatches
from genai_utils.data.tokenizers import END, Tokenizer


@dataclass(frozen=True)
class TextSet:
    """A text. In a set of stories every story closes with END in `text`, and stands without it in `documents`.

    Raises:
        ValueError: no text, no document, or a document that `text` does not hold.
    """

    name: str
    text: str  # the whole split
    documents: tuple[str, ...]  # stories or topics, in their order in `text`; for running text one, the text itself
    extra: dict[str, Any] = field(default_factory=dict)  # what else is known: names of the documents, source, note

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text:
            raise ValueError(f"text must be a str of at least one character, got {self.text!r}")
        if not isinstance(self.documents, tuple) or not self.documents:
            raise ValueError("documents must be a tuple of at least one str; for running text give (text,)")
        place = 0
        for k, document in enumerate(self.documents):
            if not isinstance(document, str) or (found := self.text.find(document, place)) < 0:
                raise ValueError(f"document {k} must be a str that text holds after the one before it")
            place = found + len(document)

    def __len__(self) -> int:
        return len(self.documents)

    def tokens(self, tokenizer: Tokenizer) -> Tensor:
        """Return the tokens (N,) int64 of the whole split, on the CPU; errors as those of its `encode`."""
        return tokenizer.encode(self.text)

    def batches(self, tokenizer: Tokenizer, size: int, length: int) -> StreamBatches:
        """Return an endless, resumable iterator over (tokens (B, T), targets (B, T), fresh), on the CPU.

        On a GPU use `StreamBatches(data.tokens(tokenizer).to(device), size, length)`. Errors as those of
        `StreamBatches`.
        """
        return StreamBatches(self.tokens(tokenizer), size, length)


# The text of Python's own help

PLAIN = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\t": "    "})
KEPT = frozenset(map(chr, range(32, 127))) | {END}


def to_ascii(text: str) -> str:
    """Return a text in printable ASCII and newlines.

    Curly quotes become straight, dashes "-", an ellipsis "...", a tab four spaces; letters lose their accents; "\\r\\n"
    and "\\r" become a newline; what is left becomes "?".
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(PLAIN)
    bare = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if c in KEPT else "?" for c in bare)


def python_docs(split: str = "train") -> TextSet:
    """Return the topics of Python's help system (what `help("topics")` lists), about 0.45 MB in both splits together.

    Sorted by name, every tenth topic (the sixth, the sixteenth, ...) is for the test. Each is brought to ASCII
    (`to_ascii`), without blank lines at its ends; in `text` two newlines close it. `extra` has the names of the topics
    and the version of Python. The text differs between versions of Python: a figure measured on it holds within a band.

    Raises:
        DataError: this Python came without pydoc_data.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError(f"this Python lacks pydoc_data ({error}); install Python's full standard library") from error
    names = tuple(name for k, name in enumerate(sorted(topics)) if (k % 10 == 5) == (split == "test"))
    documents = tuple(to_ascii(topics[name]).strip("\n") for name in names)
    extra = {"names": names, "python": platform.python_version()}
    return TextSet("python_docs", "".join(f"{document}\n\n" for document in documents), documents, extra)
