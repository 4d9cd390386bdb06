"""TextSet and Python's help text: documents lie in the text, splits share nothing, and only ASCII is left."""

import pydoc_data.topics
import pytest
import torch

from genai_utils.data import CharTokenizer, StreamBatches, TextSet, load
from genai_utils.data.text import KEPT, to_ascii


def test_text_set_gives_the_tokens_and_batches_of_its_text():
    data = TextSet("some", "abc\nab\n" * 10, ("abc", "ab") * 10)
    tokenizer = CharTokenizer.of(data.text)
    assert tokenizer.decode(data.tokens(tokenizer)) == data.text and len(data) == 20
    ours, theirs = data.batches(tokenizer, 3, 4), StreamBatches(data.tokens(tokenizer), 3, 4)
    for _ in range(8):
        (a, b, fresh), (c, d, again) = next(ours), next(theirs)
        assert torch.equal(a, c) and torch.equal(b, d) and fresh == again
        assert a.shape == (3, 4)


def test_text_set_refuses_bad_input():
    for text in ("", None):
        with pytest.raises(ValueError, match="at least one character"):
            TextSet("some", text, ("a",))
    for documents in ((), "ab", ["ab"]):
        with pytest.raises(ValueError, match="tuple of at least one"):
            TextSet("some", "ab", documents)
    for documents in (("b", "a"), ("ab", "b"), ("ab", 1)):  # another order, overlapping, no str
        with pytest.raises(ValueError, match="document 1 must"):
            TextSet("some", "ab", documents)
    with pytest.raises(ValueError, match="'c' at place 2"):
        TextSet("some", "abc", ("abc",)).tokens(CharTokenizer("ab"))


def test_python_docs_are_all_topics_and_the_splits_share_none():
    train, test = load("python_docs"), load("python_docs", "test")
    assert sorted(train.extra["names"] + test.extra["names"]) == sorted(pydoc_data.topics.topics)
    assert len(train.extra["names"]) == len(train)
    assert test.extra["names"] == tuple(sorted(pydoc_data.topics.topics)[5::10])
    for data in (train, test):
        for name, document in zip(data.extra["names"], data.documents):
            assert document == to_ascii(pydoc_data.topics.topics[name]).strip("\n")
        assert data.text == "\n\n".join(data.documents) + "\n\n"
    assert 300_000 < len(train.text) + len(test.text) < 700_000  # 0.46 MB in Python 3.11
    assert 0.03 < len(test.text) / len(train.text) < 0.25


def test_python_docs_are_ascii_and_hardly_any_character_is_lost():
    text = load("python_docs").text + load("python_docs", "test").text
    assert set(text) <= KEPT and set(text) - set(map(chr, range(32, 127))) == {"\n"}
    lost = text.count("?") - sum(topic.count("?") for topic in pydoc_data.topics.topics.values())
    assert lost < 100


def test_to_ascii_does_what_it_says():
    assert to_ascii("\u201cna\u00efve\u201d \u2013 it\u2019s\u2026\r\n\tx\ry") == '"naive" - it\'s...\n    x\ny'
    assert to_ascii("\u03a9\u00df\x07~") == "???~"
