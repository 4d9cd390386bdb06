"""CharTokenizer: text -> tokens -> text is the identity, and what cannot be encoded is named. Batches of texts."""

import pytest
import torch

from genai_utils.data import CharTokenizer, padded


def test_tokenizer_decodes_what_it_encodes():
    text = "To be, or not to be:\nthat is the question."
    tokenizer = CharTokenizer.of(text)
    tokens = tokenizer.encode(text)
    assert tokens.shape == (len(text),) and tokens.dtype == torch.int64
    assert 0 <= tokens.min() and tokens.max() == tokenizer.vocab - 1
    assert tokenizer.decode(tokens) == text
    assert tokenizer.decode(tokenizer.encode("")) == "" and tokenizer.encode("").dtype == torch.int64


def test_tokenizer_numbers_characters_as_its_alphabet_does():
    tokenizer = CharTokenizer("cab")
    assert tokenizer.encode("abc").tolist() == [1, 2, 0]
    assert tokenizer.decode(torch.tensor([0, 0, 2])) == "ccb" and tokenizer.vocab == 3


def test_tokenizer_of_a_text_has_its_characters_once_and_sorted():
    assert CharTokenizer.of("banana\n").alphabet == "\nabn"


def test_tokenizer_names_the_first_unknown_character_and_its_place():
    with pytest.raises(ValueError, match=r"character 'x' at place 2 .* CharTokenizer.of"):
        CharTokenizer("ab").encode("abxayx")


def test_tokenizer_names_the_first_token_out_of_range_and_its_place():
    with pytest.raises(ValueError, match=r"token 2 at place 1 is not within \[0, 2\)"):
        CharTokenizer("ab").decode(torch.tensor([0, 2, -1]))
    with pytest.raises(ValueError, match="token -1 at place 0"):
        CharTokenizer("ab").decode(torch.tensor([-1]))


def test_tokenizer_refuses_bad_input():
    for tokens, said in (
        (torch.rand(3), "float32"),
        (torch.zeros(2, 3, dtype=torch.int64), "one row at a time"),
        ([0, 1], "got list"),
    ):
        with pytest.raises(ValueError, match=said):
            CharTokenizer("ab").decode(tokens)
    with pytest.raises(ValueError, match="got bytes"):
        CharTokenizer("ab").encode(b"ab")
    for bad in ("", None, ["a"]):
        with pytest.raises(ValueError, match="at least one character"):
            CharTokenizer(bad)
        with pytest.raises(ValueError, match="at least one character"):
            CharTokenizer.of(bad)
    with pytest.raises(ValueError, match="repeats 'a'"):
        CharTokenizer("aba")


def test_padded_batch_has_the_rows_and_a_mask_of_what_is_real():
    rows = [torch.tensor([5, 6, 7]), torch.tensor([], dtype=torch.int64), torch.tensor([9])]
    tokens, mask = padded(rows, 1)
    assert tokens.tolist() == [[5, 6, 7], [1, 1, 1], [9, 1, 1]] and tokens.dtype == torch.int64
    assert mask.tolist() == [[True] * 3, [False] * 3, [True, False, False]] and mask.dtype == torch.bool
    assert all(torch.equal(t[m], row) for t, m, row in zip(tokens, mask, rows))


def test_padded_refuses_rows_that_are_no_tokens():
    for rows, said in (
        ([], "at least one row"),
        ([torch.zeros(2, dtype=torch.int64), torch.zeros(2)], r"row 1 must be \(T,\) int64, got \(2,\) torch.float32"),
        ([[1, 2]], "row 0 .* got list"),
    ):
        with pytest.raises(ValueError, match=said):
            padded(rows, 0)
