"""The unigram tokenizer, as T5 has it: of all ways to cut a word into known pieces, the most probable one.

A space is written "▁" and belongs to the word after it; each word is cut on its own, by Viterbi's algorithm. Published
tokenizers are read, not trained here.

Sources: [Unigram] Kudo 2018, arXiv:1804.10959, Sec. 3.2. [SP] Kudo & Richardson 2018, arXiv:1808.06226 (files,
         normalisation by a table). Penalty of the unknown and layout of tokenizer.json: Hugging Face tokenizers.
Shapes:  T tokens of a text, V tokens that there are.
"""

import base64
import re
import struct
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

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

SPACE = "▁"
FILES = (["tokenizer.json"], ["spiece.model"])
PENALTY = 10.0  # nats that an unknown character costs more than the least probable piece


class Unigram:
    """tokens = tokenizer.encode(text); decoding gives the text back, up to normalisation and runs of spaces.

    Args:
        pieces: V names of tokens with their log-probabilities in nats, in order.
        unknown: the token of what no piece spells.
        specials: special tokens; in a text they are recognised wherever they stand.
        charsmap: SentencePiece's compiled table of normalisation; b"" leaves characters as they are.
        split: what ends a word: "whitespace" (T5), or "space" alone, where each further space is a token's start.
        squeeze: for "space": take runs of spaces for one and drop those at the end, before words are cut.
    Raises:
        ValueError: no piece, a name twice, an unknown or special token that is none of the pieces, another `split`.

    >>> tokenizer = Unigram([("<unk>", 0.0), ("▁", -3.0), ("a", -2.0), ("b", -2.5), ("ab", -4.0), ("▁a", -3.5)])
    >>> tokenizer.pieces("ab  abc")
    ['▁a', 'b', '▁a', 'b', '<unk>']
    """

    def __init__(
        self,
        pieces: Sequence[tuple[str, float]],
        *,
        unknown: int = 0,
        specials: Specials | None = None,
        charsmap: bytes = b"",
        split: str = "whitespace",
        squeeze: bool = False,
    ) -> None:
        self.names, self.scores = tuple(name for name, _ in pieces), tuple(float(score) for _, score in pieces)
        self.unknown, self.specials, self.charsmap = unknown, specials or Specials({}), charsmap
        self.split, self.squeeze = split, squeeze
        self._token = {name: k for k, name in enumerate(self.names)}
        if not self.names or len(self._token) < len(self.names):
            raise ValueError(f"pieces must be at least one, each once; got {len(self.names)}")
        if bad := [k for k in (unknown, *self.specials.tokens.values()) if not 0 <= k < len(self.names)]:
            raise ValueError(f"token {bad[0]} is not within [0, {len(self.names)}), so it cannot be unknown or special")
        if split not in ("whitespace", "space"):
            raise ValueError(f"split must be 'whitespace' or 'space', got {split!r}")
        self._normalise = CharsMap(charsmap) if charsmap else None
        self._longest = max(map(len, self.names))
        self._least = min(self.scores) - PENALTY
        self._known: dict[str, list[int]] = {}  # word -> its tokens

    @classmethod
    def from_pretrained(cls, name: str | Path, *, extra: int = 100, **hub: Any) -> "Unigram":
        """Return a published tokenizer of T5's kind, without the </s> that T5 puts at the end.

        Args:
            name: a repository id of the Hub, or a folder with tokenizer.json or spiece.model.
            extra: for spiece.model: how many sentinels <extra_id_0>, ... follow its pieces, the last first.
            hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
        Raises:
            FileNotFoundError: neither is there.
            ValueError: a tokenizer of another kind (the field is named).
        """
        folder = tokenizer_folder(name, FILES, hub)
        if (path := folder / "tokenizer.json").is_file():
            return cls(**_read_fields(read_json(path), path))
        pieces, kinds, charsmap = read_sentencepiece(folder / "spiece.model")
        sentinels = [f"<extra_id_{k}>" for k in reversed(range(extra))]
        special = {piece: k for k, (piece, _) in enumerate(pieces) if kinds[k] in (2, 3)}  # unknown, control
        special |= {piece: len(pieces) + k for k, piece in enumerate(sentinels)}
        pieces += [(piece, 0.0) for piece in sentinels]
        return cls(pieces, unknown=kinds.index(2), specials=Specials(special), charsmap=charsmap)

    @property
    def vocab(self) -> int:
        """V, the number of tokens."""
        return len(self.names)

    def special(self, name: str) -> int:
        """Return the token of a special token's name; ValueError for an unknown one (it lists those there are)."""
        return self.specials[name]

    def encode(self, text: str) -> Tensor:
        """Return the tokens (T,) int64 in [0, V) of a text, on the CPU; no </s> is added.

        Raises:
            ValueError: no str, or half of a surrogate pair.
        """
        tokens: list[int] = []
        for _, part, special in self.specials.split(checked_text(text)):
            if special is not None:
                tokens.append(special)
                continue
            for word in self._words(part):
                if word not in self._known:
                    self._known[word] = self.best_path(word)
                tokens += self._known[word]
        return torch.tensor(tokens, dtype=torch.int64)

    def decode(self, tokens: Tensor, *, specials: bool = True) -> str:
        """Return the text of tokens (T,) int64 in [0, V), on any device.

        Args:
            tokens: what `encode` or a model wrote.
            specials: False leaves the special tokens out.
        Raises:
            ValueError: tokens of another shape or type, or out of range (the first such is named, with its place).
        """
        values, skipped = checked_tokens(tokens, self.vocab), set() if specials else set(self.specials.tokens.values())
        names = [self.names[k] for k in values if k not in skipped]
        first = names[0].removeprefix(SPACE) if names else ""
        return "".join([first, *names[1:]]).replace(SPACE, " ")

    def pieces(self, text: str) -> list[str]:
        """Return the name of each token of a text, to show how it is cut."""
        return [self.names[k] for k in self.encode(text).tolist()]

    def best_path(self, word: str) -> list[int]:
        """Return the tokens whose log-probabilities sum highest among all that spell a word; [Unigram] Eq. 7.

        A character that no piece starts with costs `PENALTY` more than the least probable piece; neighbours become one
        unknown token.
        """
        best: list[tuple[float, int, int | None]] = [
            (0.0, 0, None)
        ]  # at each place: score, where the last token starts
        best += [(float("-inf"), 0, None)] * len(word)
        for at in range(len(word)):
            single = False
            for end in range(at + 1, min(len(word), at + self._longest) + 1):
                k = self._token.get(word[at:end])
                if k is not None:
                    single |= end == at + 1
                    if (score := best[at][0] + self.scores[k]) > best[end][0]:
                        best[end] = score, at, k
            if not single and (score := best[at][0] + self._least) > best[at + 1][0]:
                best[at + 1] = score, at, self.unknown
        parts, end = [], len(word)
        while end > 0:
            _, at, k = best[end]
            if k == self.unknown and parts and parts[-1][1] == self.unknown:
                parts[-1] = (word[at:end] + parts[-1][0], k)
            else:
                parts.append((word[at:end], k))
            end = at
        return [self._token.get(part, k) for part, k in reversed(parts)]

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs, JSON-safe; the names in one str, a line each."""
        if odd := [name for name in self.names if "\n" in name]:
            raise ValueError(f"the piece {odd[0]!r} has a newline, so it cannot be written")
        special = {"tokens": self.specials.tokens, "left": sorted(self.specials.left)}
        return {
            "kind": "Unigram",
            "names": "\n".join(self.names),
            "scores": " ".join(map(repr, self.scores)),
            "unknown": self.unknown,
            "specials": special | {"right": sorted(self.specials.right)},
            "charsmap": base64.b64encode(self.charsmap).decode(),
            "split": self.split,
            "squeeze": self.squeeze,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Unigram":
        """Return the tokenizer that `to_dict` described; errors as those of the class."""
        pieces = list(zip(fields["names"].split("\n"), map(float, fields["scores"].split(" ")), strict=True))
        options = {key: fields[key] for key in ("unknown", "split", "squeeze")}
        charsmap, specials = base64.b64decode(fields["charsmap"]), Specials(**fields["specials"])
        return cls(pieces, specials=specials, charsmap=charsmap, **options)

    def _words(self, text: str) -> Iterator[str]:
        text = self._normalise(text) if self._normalise else text
        if self.squeeze:
            text = re.sub(" {2,}", SPACE, text.rstrip(SPACES))
        if self.split == "whitespace":
            for word in re.split(f"[{SPACES}]+", text):
                if word:
                    yield from re.findall(f"{SPACE}[^{SPACE}]*", _led(word))
        elif text:
            yield from re.findall(f"{SPACE}[^{SPACE}]*", _led(text.replace(" ", SPACE)))


def _led(word: str) -> str:
    return word if word.startswith(SPACE) else SPACE + word


class CharsMap:
    """A SentencePiece table of normalisation: text -> text.

    The table is a double-array trie of UTF-8 prefixes. A character with its combining marks, if below 6 bytes, takes
    the first entry that starts it (as in Hugging Face tokenizers), else each character takes its own.

    Args:
        content: uint32 size of the trie in bytes, the trie, then the replacements, each closed by a zero byte.
    Raises:
        ValueError: content that is shorter than it says.
    """

    def __init__(self, content: bytes) -> None:
        size = struct.unpack_from("<I", content)[0] if len(content) >= 4 else 0
        if size == 0 or size % 4 or len(content) < 4 + size:
            raise ValueError(f"a table of normalisation of {len(content)} bytes is truncated; download the file again")
        self._trie = struct.unpack_from(f"<{size // 4}I", content, 4)
        self._texts = content[4 + size :]
        self._known: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        parts = clusters().findall(text)
        for part in set(parts).difference(self._known):
            whole = self._entry(part) if len(part.encode()) < 6 else None
            each = [(c, self._entry(c)) for c in part]
            self._known[part] = "".join(c if x is None else x for c, x in each) if whole is None else whole
        return "".join(map(self._known.__getitem__, parts))

    def _entry(self, text: str) -> str | None:
        """Return the replacement of the shortest entry that starts a text; None where there is none."""
        unit = self._trie[0]
        node = _offset(unit)
        for byte in text.encode():
            node ^= byte
            if byte == 0 or node >= len(self._trie):
                return None
            unit = self._trie[node]
            if unit & 0x800000FF != byte:
                return None
            node ^= _offset(unit)
            if unit >> 8 & 1:
                start = self._trie[node] & 0x7FFFFFFF
                return self._texts[start : self._texts.index(b"\0", start)].decode()
        return None


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)


@cache
def clusters() -> re.Pattern[str]:
    """Return the pattern of a character with its combining marks and joiners; controls have none, "\\r\\n" is one."""
    sort = {"Mn": "m", "Me": "m", "Mc": "m", "Cc": "c", "Cf": "c", "Zl": "c", "Zp": "c"}
    sorts = "".join(sort.get(unicodedata.category(chr(k)), "-") for k in range(0x110000))
    spans = {s: [m.span() for m in re.finditer(f"{s}+", sorts)] for s in "mc"}
    marks, controls = ("".join(f"{re.escape(chr(a))}-{re.escape(chr(b - 1))}" for a, b in spans[s]) for s in "mc")
    joiners, marks = "\u200c\u200d", marks + "\uff9e\uff9f"  # the last two: voicing of half-width katakana
    return re.compile(f"\r\n|(?![{joiners}])[{controls}]|(?s:.)[{marks}{joiners}]*")


def read_sentencepiece(path: Path) -> tuple[list[tuple[str, float]], list[int], bytes]:
    """Return the pieces (name, log-probability), their kinds (1 normal, 2 unknown, 3 control, ...) and the charsmap.

    Raises:
        ValueError: no SentencePiece model, or one that is no unigram model.
    """
    pieces, kinds, charsmap = [], [], b""
    try:
        for number, value in _fields(path.read_bytes()):
            fields = dict(_fields(value)) if number in (1, 2, 3) else {}
            if number == 1:  # a piece: name, score, kind
                score = struct.unpack("<f", fields.get(2, bytes(4)))[0]
                pieces.append((fields[1].decode(), score))
                kinds.append(fields.get(3, 1))
            elif number == 2 and (kind := fields.get(3, 1)) != 1:  # how it was trained
                raise ValueError(f"model_type is {kind}, but Unigram reads only 1 (unigram)")
            elif number == 3:  # how it normalises
                charsmap = fields.get(2, b"")
        if 2 not in kinds:
            raise ValueError("no piece is the unknown one")
    except (ValueError, IndexError, KeyError, struct.error) as error:
        raise ValueError(f"{path} cannot be read as a unigram model of SentencePiece: {error}") from error
    return pieces, kinds, charsmap


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (number, value) of each field of a protocol buffer; a value is an int or bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"field {key >> 3} has the wire type {kind}")
        size = {1: 8, 5: 4}.get(kind) or varint()
        if at + size > len(message):
            raise ValueError("it is truncated")
        yield key >> 3, message[at : at + size]
        at += size


def _read_fields(fields: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the arguments of Unigram; refuse what cuts or normalises a text in another way."""
    model, cut = fields.get("model", {}), fields.get("pre_tokenizer") or {}
    if model.get("type", "Unigram") != "Unigram" or not isinstance(model.get("vocab"), list):
        raise ValueError(f"{path}: model.type is {model.get('type')!r}, but Unigram reads only 'Unigram'")
    if model.get("byte_fallback") or model.get("unk_id") is None:
        raise ValueError(f"{path}: model.byte_fallback is set or unk_id missing; Unigram has an unknown token instead")
    cuts = cut.get("pretokenizers", []) if cut.get("type") == "Sequence" else [cut]
    split = "whitespace" if [c.get("type") for c in cuts] == ["WhitespaceSplit", "Metaspace"] else "space"
    meta = cuts[-1] if cuts else {}
    always = meta.get("prepend_scheme", "always" if meta.get("add_prefix_space", True) else "never") == "always"
    known = meta.get("type") == "Metaspace" and len(cuts) == 1 + (split == "whitespace")
    if not known or not always or meta.get("replacement", SPACE) != SPACE or not meta.get("split", True):
        raise ValueError(f"{path}: pre_tokenizer is {cut}, but Unigram has only Metaspace, always with a first space")
    clean = fields.get("normalizer") or {"type": "Sequence", "normalizers": []}
    steps = clean["normalizers"] if clean.get("type") == "Sequence" else [clean]
    charsmap, rest = b"", list(steps)
    if rest and rest[0].get("type") == "Precompiled":
        charsmap = base64.b64decode(rest.pop(0)["precompiled_charsmap"] or "")
    squeezes = [
        {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": SPACE},
    ]
    if rest not in ([], squeezes):
        raise ValueError(f"{path}: normalizer has {rest}, but Unigram has only Precompiled, then {squeezes}")
    added, pieces = added_tokens(fields), [tuple(piece) for piece in model["vocab"]]
    more = sorted((k, name) for name, k in added.tokens.items() if k >= len(pieces))
    if [k for k, _ in more] != list(range(len(pieces), len(pieces) + len(more))):
        raise ValueError(f"{path}: added tokens must go on from {len(pieces)}, got {[k for k, _ in more]}")
    return {
        "pieces": pieces + [(name, 0.0) for _, name in more],
        "unknown": model["unk_id"],
        "specials": added,
        "charsmap": charsmap,
        "split": split,
        "squeeze": bool(rest),
    }
