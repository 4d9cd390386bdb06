"""From text to whole numbers and back: one token for each character; and what every tokenizer has in common.

Sources: none; the alphabet is a plain table. Published folders are laid out as Hugging Face tokenizers writes them.
Shapes:  T tokens of a text, B texts, V tokens that there are.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

END = "\n"  # closes a story; an ordinary character of the alphabet


class CharTokenizer:
    """tokens = tokenizer.encode(text), text = tokenizer.decode(tokens): token k is the character alphabet[k].

    Raises:
        ValueError: an alphabet that is empty, repeats a character, or is no str.
    """

    def __init__(self, alphabet: str) -> None:
        if not isinstance(alphabet, str) or not alphabet:
            raise ValueError(f"alphabet must be a str of at least one character, got {alphabet!r}")
        if doubled := sorted({c for c in alphabet if alphabet.count(c) > 1}):
            raise ValueError(f"alphabet repeats {''.join(doubled)!r}; CharTokenizer.of(text) takes each character once")
        self.alphabet = alphabet
        self._token = {c: k for k, c in enumerate(alphabet)}

    @classmethod
    def of(cls, text: str) -> "CharTokenizer":
        """Return the tokenizer of the distinct characters of a text, sorted; ValueError for an empty text."""
        if not isinstance(text, str) or not text:
            raise ValueError(f"an alphabet needs a str of at least one character, got {text!r}")
        return cls("".join(sorted(set(text))))

    @property
    def vocab(self) -> int:
        """V, the number of tokens."""
        return len(self.alphabet)

    def encode(self, text: str) -> Tensor:
        """Return the tokens (T,) int64 in [0, V) of a text, on the CPU; those of "" are (0,).

        Raises:
            ValueError: a character that the alphabet lacks (it is named, with its place), or no str.
        """
        if not isinstance(text, str):
            raise ValueError(f"text must be a str, got {type(text).__name__}")
        try:
            return torch.tensor([self._token[c] for c in text], dtype=torch.int64)
        except KeyError as error:
            c = error.args[0]
            raise ValueError(
                f"character {c!r} at place {text.index(c)} is not in the alphabet {self.alphabet!r}; leave it out or "
                "make the tokenizer with CharTokenizer.of(a text that has it)"
            ) from None

    def decode(self, tokens: Tensor) -> str:
        """Return the text of tokens (T,) int64 in [0, V), on any device.

        Raises:
            ValueError: tokens of another shape or type, or out of range (the first such is named, with its place).
        """
        return "".join(self.alphabet[k] for k in checked_tokens(tokens, self.vocab))

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs, JSON-safe."""
        return {"kind": "CharTokenizer", "alphabet": self.alphabet}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "CharTokenizer":
        """Return the tokenizer that `to_dict` described; errors as those of the class."""
        return cls(fields["alphabet"])


# What every tokenizer has in common


class Tokenizer(Protocol):
    """What models and data sets ask of a tokenizer."""

    @property
    def vocab(self) -> int: ...

    def encode(self, text: str) -> Tensor: ...

    def decode(self, tokens: Tensor) -> str: ...


def checked_text(text: str) -> str:
    """Return the text; ValueError where it is no str or holds half of a surrogate pair, which no UTF-8 can write."""
    if not isinstance(text, str):
        raise ValueError(f"text must be a str, got {type(text).__name__}")
    if not text.isascii() and (lone := re.search("[\ud800-\udfff]", text)):
        raise ValueError(f"text has the lone surrogate {lone[0]!r} at place {lone.start()}; decode the bytes as UTF-8")
    return text


def checked_tokens(tokens: Tensor, vocab: int) -> list[int]:
    """Return tokens (T,) int64 in [0, vocab), on any device, as a list.

    Raises:
        ValueError: tokens of another shape or type, or out of range (the first such is named, with its place).
    """
    if not isinstance(tokens, Tensor):
        raise ValueError(f"tokens must be a tensor, got {type(tokens).__name__}; use torch.tensor(tokens)")
    if tokens.ndim != 1 or tokens.dtype != torch.int64:
        raise ValueError(
            f"tokens must be (T,) int64, got {tuple(tokens.shape)} {tokens.dtype}; decode one row at a time"
        )
    values = tokens.tolist()
    for place, k in enumerate(values):
        if not 0 <= k < vocab:
            raise ValueError(
                f"token {k} at place {place} is not within [0, {vocab}); decode with the tokenizer that encoded"
            )
    return values


def padded(rows: Sequence[Tensor], pad: int) -> tuple[Tensor, Tensor]:
    """Return texts of different lengths as one batch: tokens (B, T) int64 and mask (B, T) bool, True at real tokens.

    Args:
        rows: B tensors (T_b,) int64 on one device; T is the greatest T_b.
        pad: the token that fills the rest of each row.
    Raises:
        ValueError: no row, or a row that is not (T,) int64.
    """
    rows = list(rows)
    if not rows:
        raise ValueError("a batch needs at least one row of tokens, got none")
    for b, row in enumerate(rows):
        if not isinstance(row, Tensor) or row.ndim != 1 or row.dtype != torch.int64:
            got = f"{tuple(row.shape)} {row.dtype}" if isinstance(row, Tensor) else type(row).__name__
            raise ValueError(f"row {b} must be (T,) int64, got {got}; tokenizer.encode(text) returns such a row")
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    return tokens, (torch.arange(tokens.shape[1]) < lengths[:, None]).to(tokens.device)


# Unicode's White_Space, those of ASCII first
SPACES = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"


class Specials:
    """Tokens such as "<s>" that stand for themselves wherever a text has them: the leftmost, then the longest.

    Args:
        tokens: name -> token.
        left: names that swallow the white space on their left (BART's <mask>).
        right: names that swallow that on their right.
    Raises:
        ValueError: a name that is empty or no str.
    """

    def __init__(self, tokens: Mapping[str, int], left: Iterable[str] = (), right: Iterable[str] = ()) -> None:
        if bad := [name for name in tokens if not isinstance(name, str) or not name]:
            raise ValueError(f"a special token must be a str of at least one character, got {bad[0]!r}")
        self.tokens, self.left, self.right = dict(tokens), frozenset(left), frozenset(right)
        names = sorted(tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, names)) or "(?!)")
        self._spaces = re.compile(f"[{SPACES}]*")

    def split(self, text: str) -> Iterator[tuple[int, str, int | None]]:
        """Yield (place in text, part, token) from left to right; the token is None where the part is ordinary text."""
        place = 0
        for found in self._pattern.finditer(text):
            start, end, name = found.start(), found.end(), found[0]
            if start < place:
                continue
            if name in self.left:
                start = place + len(text[place:start].rstrip(SPACES))
            if start > place:
                yield place, text[place:start], None
            yield found.start(), name, self.tokens[name]
            place = self._spaces.match(text, end).end() if name in self.right else end
        if place < len(text):
            yield place, text[place:], None

    def __getitem__(self, name: str) -> int:
        if name not in self.tokens:
            raise ValueError(f"there is no special token {name!r}; there are {', '.join(self.tokens) or 'none'}")
        return self.tokens[name]


def tokenizer_folder(name: str | Path, choices: Sequence[Sequence[str]], hub: Mapping[str, Any]) -> Path:
    """Return the folder of a published tokenizer, downloading its files when `name` is no local folder.

    Args:
        name: a folder, or a repository id of the Hub such as "openai-community/gpt2".
        choices: sets of files of which one must be there in full, such as [["tokenizer.json"], ["vocab.txt"]].
        hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
    Raises:
        FileNotFoundError: no such folder, or it has none of the choices in full.
    """
    root = Path(name)
    if not root.is_dir():
        if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", str(name)):
            raise FileNotFoundError(f"no folder {name}, and it cannot be a repository id of the Hub (owner/name)")
        from huggingface_hub import snapshot_download

        files = {file for choice in choices for file in choice} | {"tokenizer_config.json", "special_tokens_map.json"}
        root = Path(snapshot_download(str(name), allow_patterns=sorted(files | {"added_tokens.json"}), **hub))
    if not any(all((root / file).is_file() for file in choice) for choice in choices):
        wanted = " nor ".join(" with ".join(choice) for choice in choices)
        there = ", ".join(sorted(p.name for p in root.iterdir())[:8]) or "nothing"
        raise FileNotFoundError(f"{root} has neither {wanted}; it holds: {there}")
    return root


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; ValueError, naming the file, where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(f"{path} cannot be read as JSON; download it again ({error})") from error


def added_tokens(fields: Mapping[str, Any]) -> Specials:
    """Return the added tokens of a tokenizer.json; ValueError for one that must stand as a word of its own."""
    added = fields.get("added_tokens") or []
    if words := [a["content"] for a in added if a.get("single_word")]:
        raise ValueError(f"tokenizer.json: the added token {words[0]!r} has single_word, which this reader lacks")
    left, right = ([a["content"] for a in added if a.get(side)] for side in ("lstrip", "rstrip"))
    return Specials({a["content"]: a["id"] for a in added}, left, right)
