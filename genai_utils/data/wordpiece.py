"""WordPiece, as BERT has it: a word is the longest token that starts it, then the longest that go on, with "##" before.

Sources: [BERT] Devlin et al. 2019, arXiv:1810.04805, Sec. 3 (pairs of texts). [WP] Wu et al. 2016, arXiv:1609.08144,
         Sec. 4.1. How a text is cleaned, and the layout of files: Hugging Face tokenizers.
Shapes:  T tokens of a text, V tokens that there are.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genai_utils.data.tokenizers import (
    Specials,
    added_tokens,
    checked_text,
    checked_tokens,
    read_json,
    tokenizer_folder,
)

PAD, UNK, CLS, SEP, MASK = SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FILES = (["tokenizer.json"], ["vocab.txt"])
LONGEST = 100  # characters of a word; a longer one is unknown
IDEOGRAPHS = (  # first and last of the blocks whose characters are words of their own
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class CleanText(dict):
    """For `str.translate`: code point -> what stands for it; spaces around all that is a word of its own.

    Control characters go, white space becomes " ", ideographs and punctuation get spaces around them.

    Args:
        lower: write capitals small.
        accents: False takes accents off the letters.
    """

    def __init__(self, lower: bool, accents: bool) -> None:
        self.lower, self.accents = lower, accents

    def __missing__(self, code: int) -> str:
        self[code] = text = self._clean(chr(code))
        return text

    def _clean(self, c: str) -> str:
        if c.isspace() and (c in "\t\n\r" or unicodedata.category(c) != "Cc"):
            return " "
        if unicodedata.category(c) in ("Cc", "Cf", "Co") or c == "\ufffd":
            return ""
        text = f" {c} " if any(first <= ord(c) <= last for first, last in IDEOGRAPHS) else c
        if not self.accents:
            text = "".join(x for x in unicodedata.normalize("NFD", text) if unicodedata.category(x) != "Mn")
        text = "".join(x.lower() for x in text) if self.lower else text
        return "".join(f" {x} " if is_punctuation(x) else x for x in text)


def is_punctuation(c: str) -> bool:
    """Return whether a character is a word of its own: every sign of ASCII, and Unicode's punctuation (P)."""
    return unicodedata.category(c)[0] == "P" or (c.isascii() and c.isprintable() and not c.isalnum() and c != " ")


class WordPiece:
    """tokens = tokenizer.encode(text); decoding gives the words back, but not their capitals, accents and spaces.

    Args:
        names: V names of tokens, in order; those that go on within a word start with "##".
        lower: write capitals small (bert-base-uncased) or leave them.
        accents: keep accents; None keeps them where capitals are kept.
        specials: special tokens among the names; in a text they are recognised wherever they stand. None: the five.
    Raises:
        ValueError: a name twice, or one of the five special tokens missing from the names.

    >>> tokenizer = WordPiece.of("a cat and a hat")
    >>> tokenizer.pieces("A hatter!")
    ['a', 'hat', '##t', '##e', '##r', '!']
    >>> tokenizer.decode(tokenizer.encode("A hatter!"))
    'a hatter!'
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        lower: bool = True,
        accents: bool | None = None,
        specials: Specials | None = None,
    ) -> None:
        self.names, self.lower, self.accents = tuple(names), lower, not lower if accents is None else accents
        self._token = {name: k for k, name in enumerate(self.names)}
        if len(self._token) < len(self.names):
            raise ValueError(f"a token stands twice: {Counter(self.names).most_common(1)[0][0]!r}")
        if missing := [name for name in SPECIALS if name not in self._token]:
            raise ValueError(f"the names lack {', '.join(missing)}; put {', '.join(SPECIALS)} among them")
        self.specials = specials or Specials({name: self._token[name] for name in SPECIALS})
        self.pad, self.unk, self.cls, self.sep, self.mask = (self._token[name] for name in SPECIALS)
        self._clean = CleanText(self.lower, self.accents)
        self._known: dict[str, list[int]] = {}  # word -> its tokens

    @classmethod
    def of(cls, text: str, *, words: int | None = None, lower: bool = True) -> "WordPiece":
        """Return the tokenizer of a text's words: special tokens, words, characters that start a word, that go on one.

        Every word of printable ASCII can be spelt, and every word of the text's characters.

        Args:
            text: words are counted after cleaning.
            words: how many to keep, the most frequent first (equal ones in alphabetical order); None keeps all.
            lower: write capitals small.
        Raises:
            ValueError: no text, or words below 0.
        """
        if not checked_text(text):
            raise ValueError("a vocabulary needs a text of at least one character, got ''")
        if words is not None and words < 0:
            raise ValueError(f"words must be at least 0, got {words}; None keeps all")
        clean = CleanText(lower, not lower)
        counts = Counter(text.translate(clean).split())
        kept = sorted(counts, key=lambda word: (-counts[word], word))[:words]
        ascii = "".join(map(chr, range(33, 127))).translate(clean)
        letters = sorted(set(ascii).union(*counts) - {" "})
        going_on = [f"##{c}" for c in letters if not is_punctuation(c)]
        return cls(tuple(dict.fromkeys([*SPECIALS, *kept, *letters, *going_on])), lower=lower)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub: Any) -> "WordPiece":
        """Return a published tokenizer of BERT's kind.

        Args:
            name: a repository id of the Hub, or a folder with tokenizer.json or vocab.txt (one token a line; whether
                capitals are kept is then do_lower_case in tokenizer_config.json, if that is there).
            hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
        Raises:
            FileNotFoundError: neither is there.
            ValueError: a tokenizer of another kind (the field is named), or tokens that are not 0 to V - 1.
        """
        folder = tokenizer_folder(name, FILES, hub)
        if not (path := folder / "tokenizer.json").is_file():
            config = read_json(path) if (path := folder / "tokenizer_config.json").is_file() else {}
            names = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
            options = {"lower": config.get("do_lower_case", True), "accents": _not(config.get("strip_accents"))}
            return cls([name.removesuffix("\r") for name in names], **options)
        fields = read_json(path)
        added, clean = added_tokens(fields), _check_fields(fields, path)
        numbers = fields["model"]["vocab"] | added.tokens
        if sorted(numbers.values()) != list(range(len(numbers))):
            raise ValueError(f"{path}: tokens must be 0 to {len(numbers) - 1}, each once")
        options = {"lower": clean["lowercase"], "accents": _not(clean["strip_accents"])}
        return cls(sorted(numbers, key=numbers.get), specials=added if added.tokens else None, **options)

    @property
    def vocab(self) -> int:
        """V, the number of tokens."""
        return len(self.names)

    def special(self, name: str) -> int:
        """Return the token of a special token's name; ValueError for an unknown one (it lists those there are)."""
        return self.specials[name]

    def encode(self, text: str) -> Tensor:
        """Return the tokens (T,) int64 in [0, V) of a text, on the CPU; [CLS] and [SEP] are not added.

        Raises:
            ValueError: no str, or half of a surrogate pair.
        """
        tokens: list[int] = []
        for _, part, special in self.specials.split(checked_text(text)):
            if special is not None:
                tokens.append(special)
                continue
            for word in part.translate(self._clean).split():
                tokens += self._tokens_of(word)
        return torch.tensor(tokens, dtype=torch.int64)

    def encode_spans(self, text: str) -> tuple[Tensor, Tensor]:
        """Return the tokens (T,) of a text and where each stands, (T, 2) int64: text[start:end], before cleaning.

        Errors as those of `encode`.
        """
        tokens: list[int] = []
        spans: list[tuple[int, int]] = []
        for place, part, special in self.specials.split(checked_text(text)):
            if special is not None:
                tokens.append(special)
                spans.append((place, place + len(part)))
                continue
            for word, source in self._words(part):
                at = 0
                for k in self._tokens_of(word):
                    ahead = len(word) if k == self.unk else at + len(self.names[k]) - 2 * (at > 0)
                    spans.append((place + source[at], place + source[ahead - 1] + 1))
                    tokens.append(k)
                    at = ahead
        return torch.tensor(tokens, dtype=torch.int64), torch.tensor(spans, dtype=torch.int64).reshape(-1, 2)

    def encode_pair(self, a: str, b: str | None = None) -> tuple[Tensor, Tensor]:
        """Return tokens (T,) of [CLS] a [SEP], or [CLS] a [SEP] b [SEP], and segments (T,) int64: 0, from b on 1.

        Source: [BERT] Fig. 2. Errors as those of `encode`.
        """
        cls, sep = torch.tensor([self.cls]), torch.tensor([self.sep])
        first = torch.cat([cls, self.encode(a), sep])
        second = torch.cat([self.encode(b), sep]) if b is not None else first[:0]
        return torch.cat([first, second]), torch.cat([torch.zeros_like(first), torch.ones_like(second)])

    def decode(self, tokens: Tensor, *, specials: bool = True) -> str:
        """Return the words of tokens (T,) int64 in [0, V), on any device, with one space between them, none before ,.!?

        Args:
            tokens: what `encode` or a model wrote.
            specials: False leaves the special tokens out.
        Raises:
            ValueError: tokens of another shape or type, or out of range (the first such is named, with its place).
        """
        values, skipped = checked_tokens(tokens, self.vocab), set() if specials else set(self.specials.tokens.values())
        text = ""
        for n, name in enumerate(self.names[k] for k in values if k not in skipped):
            joins = n == 0 or name in (".", ",", "!", "?")
            text += name.removeprefix("##") if n > 0 and name.startswith("##") else name if joins else f" {name}"
        return text

    def pieces(self, text: str) -> list[str]:
        """Return the name of each token of a text, to show how it is cut."""
        return [self.names[k] for k in self.encode(text).tolist()]

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs, JSON-safe; the names in one str, a line each."""
        if odd := [name for name in self.names if "\n" in name]:
            raise ValueError(f"the token {odd[0]!r} has a newline, so it cannot be written")
        fields = {"kind": "WordPiece", "names": "\n".join(self.names), "lower": self.lower, "accents": self.accents}
        return fields | {"specials": list(self.specials.tokens)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "WordPiece":
        """Return the tokenizer that `to_dict` described; errors as those of the class."""
        names = fields["names"].split("\n")
        specials = Specials({name: names.index(name) for name in fields["specials"]})
        return cls(names, lower=fields["lower"], accents=fields["accents"], specials=specials)

    def _words(self, text: str) -> Iterator[tuple[str, list[int]]]:
        """Yield each word, cleaned, with the place in `text` that each of its characters comes from."""
        word, source = "", []
        for place, c in enumerate(text):
            for x in self._clean[ord(c)]:
                if x != " ":
                    word += x
                    source.append(place)
                elif word:
                    yield word, source
                    word, source = "", []
        if word:
            yield word, source

    def _tokens_of(self, word: str) -> list[int]:
        if word not in self._known:
            self._known[word] = self._longest_match(word)
        return self._known[word]

    def _longest_match(self, word: str) -> list[int]:
        """Return a word's tokens: always the longest name that fits; where none fits, the whole word is unknown."""
        tokens, at = [], 0
        while at < len(word) <= LONGEST:
            for end in range(len(word), at, -1):
                if (k := self._token.get(("##" if at else "") + word[at:end])) is not None:
                    break
            else:
                return [self.unk]
            tokens.append(k)
            at = end
        return tokens or [self.unk]


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _check_fields(fields: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the fields of the normaliser; refuse what cleans or cuts a text in another way than BERT's."""
    model, clean, cut = fields.get("model", {}), fields.get("normalizer") or {}, fields.get("pre_tokenizer") or {}
    checks = (
        ("model.type", model.get("type", "WordPiece"), "WordPiece"),
        ("model.unk_token", model.get("unk_token"), UNK),
        ("model.continuing_subword_prefix", model.get("continuing_subword_prefix"), "##"),
        ("model.max_input_chars_per_word", model.get("max_input_chars_per_word"), LONGEST),
        ("normalizer.type", clean.get("type"), "BertNormalizer"),
        ("normalizer.clean_text", clean.get("clean_text"), True),
        ("normalizer.handle_chinese_chars", clean.get("handle_chinese_chars"), True),
        ("pre_tokenizer.type", cut.get("type"), "BertPreTokenizer"),
    )
    for field, value, wanted in checks:
        if value != wanted:
            raise ValueError(f"{path}: {field} is {value!r}, but WordPiece reads only {wanted!r}")
    return clean
