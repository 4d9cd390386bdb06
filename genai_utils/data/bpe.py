"""Byte-pair encoding on bytes, as GPT-2 and BART have it: every text can be written, and frequent parts are one token.

A text is cut into pieces (words with the space before them, numbers, runs of signs, white space); within a piece the
bytes are merged, the pair that was learnt first is merged first. Names of tokens show each byte as one printable
character, as published files do: "Ġthe" is " the".

Sources: [BPE] Sennrich et al. 2016, arXiv:1508.07909 (Algorithm 1). [GPT2] Radford et al. 2019, Sec. 2.2 (bytes).
         Pattern of pieces, order of equal counts and layout of files: Hugging Face tokenizers.
Shapes:  T tokens of a text, V tokens that there are.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from heapq import heapify, heappop, heappush
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genai_utils.data.tokenizers import (
    SPACES,
    Specials,
    added_tokens,
    checked_text,
    checked_tokens,
    read_json,
    tokenizer_folder,
)

Pair = tuple[int, int]
FILES = (["tokenizer.json"], ["vocab.json", "merges.txt"])
USUAL = ("<|endoftext|>", "<s>", "<pad>", "</s>", "<unk>", "<mask>")  # specials of GPT-2 and BART; <mask> eats spaces


def byte_names() -> dict[int, str]:
    """Return byte -> the character that shows it, in the order of the characters: printable Latin-1 shows itself."""
    shown = [k for k in range(256) if chr(k).isprintable() and chr(k) != " "]
    rest = [k for k in range(256) if k not in shown]
    return {k: chr(k) for k in shown} | {k: chr(256 + n) for n, k in enumerate(rest)}


NAMES = byte_names()
BYTES = {c: k for k, c in NAMES.items()}


@cache
def piece_pattern(ascii: bool = False) -> re.Pattern[str]:
    """Return GPT-2's pattern of pieces, with the letters (L) and numbers (N) of this Python's Unicode tables.

    That for ASCII texts finds the same pieces in them, four times as fast: its classes of characters are short.

    >>> piece_pattern().findall("It's  3 o'clock!")
    ['It', "'s", ' ', ' 3', ' o', "'", 'clock', '!']
    """
    groups = "".join(unicodedata.category(chr(k))[0] for k in range(128 if ascii else 0x110000))
    spans = {g: [m.span() for m in re.finditer(f"{g}+", groups)] for g in "LN"}
    L, N = ("".join(f"{re.escape(chr(a))}-{re.escape(chr(b - 1))}" for a, b in spans[g]) for g in "LN")
    S = SPACES[:6] if ascii else SPACES
    return re.compile(f"'(?:[stmd]|re|ve|ll)| ?[{L}]+| ?[{N}]+| ?[^{S}{L}{N}]+|[{S}]+(?![^{S}])|[{S}]+")


class ByteBPE:
    """tokens = tokenizer.encode(text), text = tokenizer.decode(tokens): the identity on every text.

    Args:
        names: V names of tokens, in order; ordinary ones spell bytes as `byte_names` does, specials stand as they are.
        merges: pairs of names, in the order in which they were learnt; the joined name must be among the names.
        specials: those of the names that are special; in a text they are recognised wherever they stand.
        left: specials that swallow the white space on their left (BART's <mask>).
        right: specials that swallow that on their right.
    Raises:
        ValueError: a name twice; one of the 256 bytes, a merged name or a special missing from the names.

    >>> tokenizer = ByteBPE.train("low lower lowest slow slowly", vocab=260)
    >>> tokenizer.merges
    (('l', 'o'), ('lo', 'w'), ('s', 'low'), ('Ġ', 'low'))
    >>> tokenizer.pieces("slow lower")
    ['slow', ' low', 'e', 'r']
    """

    def __init__(
        self,
        names: Sequence[str],
        merges: Sequence[tuple[str, str]],
        specials: Sequence[str] = (),
        left: Iterable[str] = (),
        right: Iterable[str] = (),
    ) -> None:
        self.names, self.merges = tuple(names), tuple(map(tuple, merges))
        token = {name: k for k, name in enumerate(self.names)}
        if len(token) < len(self.names):
            raise ValueError(f"a token stands twice: {Counter(self.names).most_common(1)[0][0]!r}")
        if missing := [name for name in chain(NAMES.values(), specials) if name not in token]:
            raise ValueError(f"the names lack {missing[0]!r}; they need all 256 bytes and the special tokens")
        self.specials = Specials({name: token[name] for name in specials}, left, right)
        self._byte = [token[NAMES[k]] for k in range(256)]
        self._content = [self._bytes_of(name) for name in self.names]
        self._merge: dict[Pair, Pair] = {}  # pair of tokens -> rank, token
        for rank, (a, b) in enumerate(self.merges):
            if missing := [name for name in (a, b, a + b) if name not in token]:
                raise ValueError(f"merge {rank}, {a!r} with {b!r}: {missing[0]!r} is not among the names")
            self._merge[token[a], token[b]] = rank, token[a + b]
        self._known: dict[str, list[int]] = {}  # piece -> its tokens: a text repeats its words

    @classmethod
    def train(cls, text: str, *, vocab: int, specials: Sequence[str] = ()) -> "ByteBPE":
        """Return the tokenizer of at most `vocab` tokens (specials, 256 bytes, merges) that shortens a text greedily.

        Args:
            text: special tokens that stand in it only separate.
            vocab: V; there are fewer where the text has no more pairs to merge.
            specials: names of special tokens; they get the tokens 0, 1, ...
        Raises:
            ValueError: vocab below 256 and the specials; no text; specials twice or spelt as one byte.
        Source: [BPE] Algorithm 1; equal counts: the pair of smaller tokens first, as in Hugging Face tokenizers.
        """
        if not checked_text(text):
            raise ValueError("training needs a text of at least one character, got ''")
        names = [*specials, *NAMES.values()]
        if len(set(names)) < len(names):
            raise ValueError(f"special tokens must differ from each other and from single bytes, got {list(specials)}")
        if not isinstance(vocab, int) or vocab < len(names):
            raise ValueError(f"vocab must be at least {len(names)} (specials and 256 bytes), got {vocab}")
        counts: Counter[str] = Counter()
        for _, part, special in Specials({name: k for k, name in enumerate(specials)}).split(text):
            if special is None:
                counts.update(piece_pattern(part.isascii()).findall(part))
        names, merges = _learn(counts, names, vocab)
        return cls(names, merges, specials)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "ByteBPE":
        """Return a published tokenizer: GPT-2's, BART's, RoBERTa's.

        Args:
            name: a repository id of the Hub, or a folder with tokenizer.json, or with vocab.json and merges.txt.
            hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
        Raises:
            FileNotFoundError: neither is there.
            ValueError: a tokenizer of another kind (the field is named), or files that contradict each other.
        """
        folder = tokenizer_folder(name, FILES, hub)
        if (path := folder / "tokenizer.json").is_file():
            fields = read_json(path)
            _check_fields(fields, path)
            numbers, merges, added = fields["model"]["vocab"], fields["model"]["merges"], added_tokens(fields)
        else:
            numbers = read_json(folder / "vocab.json")
            lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
            merges = [line for line in lines if line and not line.startswith("#version")]
            more = read_json(path) if (path := folder / "added_tokens.json").is_file() else {}
            usual = {name: numbers[name] for name in USUAL if name in numbers}
            added = Specials(usual | more, [name for name in usual if name == "<mask>"])
        numbers = numbers | added.tokens
        if sorted(numbers.values()) != list(range(len(numbers))):
            raise ValueError(f"{folder}: tokens must be 0 to {len(numbers) - 1}, each once")
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in merges]
        if bad := [m for m in merges if len(m) != 2]:
            raise ValueError(f"{folder}: a merge has two parts, got {bad[0]}")
        return cls(sorted(numbers, key=numbers.get), merges, list(added.tokens), added.left, added.right)

    @property
    def vocab(self) -> int:
        """V, the number of tokens."""
        return len(self.names)

    def special(self, name: str) -> int:
        """Return the token of a special token's name; ValueError for an unknown one (it lists those there are)."""
        return self.specials[name]

    def encode(self, text: str) -> Tensor:
        """Return the tokens (T,) int64 in [0, V) of a text, on the CPU; those of "" are (0,). None is added.

        Raises:
            ValueError: no str, or half of a surrogate pair.
        """
        return torch.from_numpy(np.array(self._encode(checked_text(text)), dtype=np.int64))

    def decode(self, tokens: Tensor, *, specials: bool = True) -> str:
        """Return the text of tokens (T,) int64 in [0, V), on any device; bytes that are no UTF-8 become "\\ufffd".

        Args:
            tokens: what `encode` or a model wrote.
            specials: False leaves the special tokens out.
        Raises:
            ValueError: tokens of another shape or type, or out of range (the first such is named, with its place).
        """
        values, skipped = checked_tokens(tokens, self.vocab), set() if specials else set(self.specials.tokens.values())
        return b"".join(self._content[k] for k in values if k not in skipped).decode(errors="replace")

    def pieces(self, text: str) -> list[str]:
        """Return the text of each token, to show how a text is cut; a part of a character appears as "\\xe2"."""
        return [self._content[k].decode(errors="backslashreplace") for k in self._encode(checked_text(text))]

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs, JSON-safe; names are left out where they follow from the merges."""
        fields = {"kind": "ByteBPE", "merges": "\n".join(map(" ".join, self.merges))}
        fields |= {"specials": list(self.specials.tokens)}
        fields |= {k: v for k in ("left", "right") if (v := sorted(getattr(self.specials, k)))}
        return fields if _names(fields["specials"], self.merges) == self.names else fields | {"names": list(self.names)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "ByteBPE":
        """Return the tokenizer that `to_dict` described; errors as those of the class."""
        merges = [tuple(line.split(" ")) for line in fields["merges"].split("\n") if line]
        names = fields.get("names") or _names(fields["specials"], merges)
        return cls(names, merges, fields["specials"], fields.get("left", ()), fields.get("right", ()))

    def _encode(self, text: str) -> list[int]:
        known, tokens = self._known, []
        for _, part, special in self.specials.split(text):
            if special is not None:
                tokens.append(special)
                continue
            pieces = piece_pattern(part.isascii()).findall(part)
            known.update({piece: self._merged(piece) for piece in set(pieces).difference(known)})
            tokens.extend(chain.from_iterable(map(known.__getitem__, pieces)))
        return tokens

    def _merged(self, piece: str) -> list[int]:
        """Return a piece's tokens: merge the pair of lowest rank, of equal ones the leftmost, until none is left."""
        tokens: list[int | None] = [self._byte[k] for k in piece.encode()]
        after, before = list(range(1, len(tokens) + 1)), list(range(-1, len(tokens) - 1))  # neighbours of each place
        heap: list[tuple[int, int, int]] = []  # rank, place, merged token

        def offer(place: int) -> None:
            if place >= 0 and after[place] < len(tokens):
                if found := self._merge.get((tokens[place], tokens[after[place]])):
                    heappush(heap, (found[0], place, found[1]))

        for place in range(len(tokens)):
            offer(place)
        while heap:
            _, place, merged = heappop(heap)
            gone = after[place]
            if tokens[place] is None or gone == len(tokens):
                continue
            if self._merge.get((tokens[place], tokens[gone]), (0, None))[1] != merged:  # overtaken by another merge
                continue
            tokens[place], tokens[gone], after[place] = merged, None, after[gone]
            if after[gone] < len(tokens):
                before[after[gone]] = place
            offer(before[place])
            offer(place)
        return [k for k in tokens if k is not None]

    def _bytes_of(self, name: str) -> bytes:
        if name in self.specials.tokens:
            return name.encode()
        if strange := [c for c in name if c not in BYTES]:
            raise ValueError(f"the token {name!r} has {strange[0]!r}, which shows no byte; is it a special token?")
        return bytes(BYTES[c] for c in name)


def _names(specials: Sequence[str], merges: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain(specials, NAMES.values(), map("".join, merges))))


def _learn(counts: Mapping[str, int], names: list[str], vocab: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Return all names and the merges; a merge that spells a name that is there already adds no name."""
    names, merges, token = list(names), [], {name: k for k, name in enumerate(names)}
    words = [[token[NAMES[k]] for k in piece.encode()] for piece in counts]
    often = list(counts.values())
    pairs: Counter[Pair] = Counter()
    places: dict[Pair, set[int]] = defaultdict(set)  # words that have a pair: the others need no second look
    for w, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += often[w]
            places[pair].add(w)
    heap = [(-pairs[pair], pair, where) for pair, where in places.items()]
    heapify(heap)
    while heap and len(names) < vocab:
        count, pair, where = heappop(heap)
        if -count != pairs[pair]:  # the count has changed since it was put there
            heappush(heap, (-pairs[pair], pair, where))
            continue
        if count >= 0:
            break
        merges.append((names[pair[0]], names[pair[1]]))
        joined = "".join(merges[-1])
        if joined not in token:
            token[joined] = len(names)
            names.append(joined)
        grown = defaultdict(set)
        for w in where:
            for changed, by in _replace(words[w], pair, token[joined]):
                pairs[changed] += by * often[w]
                if by > 0:
                    grown[changed].add(w)
        for changed, where in grown.items():
            if pairs[changed] > 0:
                heappush(heap, (-pairs[changed], changed, where))
    return names, merges


def _replace(word: list[int], pair: Pair, token: int) -> list[tuple[Pair, int]]:
    """Write `token` for each `pair` in a word, in place; return how the counts of the pairs beside it change."""
    changes, i = [], 0
    while i < len(word) - 1:
        if (word[i], word[i + 1]) == pair:
            if i > 0:
                changes += [((word[i - 1], pair[0]), -1), ((word[i - 1], token), 1)]
            word[i : i + 2] = [token]
            if i + 1 < len(word):
                changes += [((pair[1], word[i + 1]), -1), ((token, word[i + 1]), 1)]
        i += 1
    return changes


def _check_fields(fields: Mapping[str, Any], path: Path) -> None:
    """Refuse the tokenizers that cut or normalise a text in another way than GPT-2's."""
    model, cut = fields.get("model", {}), fields.get("pre_tokenizer") or {}
    if model.get("type", "BPE") != "BPE" or "merges" not in model:
        raise ValueError(f"{path}: model.type is {model.get('type')!r}, but ByteBPE reads only 'BPE'")
    if cut.get("type") != "ByteLevel" or cut.get("add_prefix_space") or not cut.get("use_regex", True):
        raise ValueError(f"{path}: pre_tokenizer is {cut}, but ByteBPE has only GPT-2's, without prefix space")
    if fields.get("normalizer"):
        raise ValueError(f"{path}: normalizer is {fields['normalizer']}, but ByteBPE has none")
    odd = [k for k in ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "byte_fallback") if model.get(k)]
    if odd or model.get("ignore_merges"):
        raise ValueError(f"{path}: model.{(odd or ['ignore_merges'])[0]} is set, but ByteBPE lacks it")
