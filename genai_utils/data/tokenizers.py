"""From text to whole numbers and back: one token for each character.

Sources: none; the alphabet is a plain table.
Shapes:  T characters of a text, V characters of the alphabet.
"""

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
        if not isinstance(tokens, Tensor):
            raise ValueError(f"tokens must be a tensor, got {type(tokens).__name__}; use torch.tensor(tokens)")
        if tokens.ndim != 1 or tokens.dtype != torch.int64:
            raise ValueError(
                f"tokens must be (T,) int64, got {tuple(tokens.shape)} {tokens.dtype}; decode one row at a time"
            )
        values = tokens.tolist()
        for place, k in enumerate(values):
            if not 0 <= k < self.vocab:
                raise ValueError(
                    f"token {k} at place {place} is not within [0, {self.vocab}); decode with the tokenizer that "
                    "encoded"
                )
        return "".join(self.alphabet[k] for k in values)
