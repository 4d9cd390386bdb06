"""WordPiece: words are cleaned as BERT's are, the longest token wins, and spans point back into the text."""

import json

import pytest
import torch

from genai_utils.data import WordPiece
from genai_utils.data.wordpiece import SPECIALS

TEXT = "The cat sat on the mat. The cat's hat!"


@pytest.fixture(scope="module")
def tokenizer():
    return WordPiece.of(TEXT)


def test_vocabulary_of_a_text_has_specials_then_words_then_characters(tokenizer):
    assert tokenizer.names[:5] == SPECIALS and [tokenizer.special(name) for name in SPECIALS] == [0, 1, 2, 3, 4]
    assert tokenizer.names[5:7] == ("the", "cat")  # three times, twice
    going_on = [name for name in tokenizer.names if name.startswith("##")]
    assert "##a" in going_on and "##." not in going_on and tokenizer.names[-len(going_on) :] == tuple(going_on)


def test_any_word_of_ascii_can_be_spelt(tokenizer):
    words = "".join(map(chr, range(32, 127))) + " Zyzzyva_42"
    assert tokenizer.unk not in tokenizer.encode(words)
    assert tokenizer.unk not in WordPiece.of(TEXT, words=0, lower=False).encode(words)
    assert tokenizer.pieces("漢")[0] == "[UNK]" and "漢" in WordPiece.of("漢").names


def test_words_keeps_the_most_frequent():
    names = WordPiece.of(TEXT, words=1).names
    assert "the" in names and "cat" not in names


def test_longest_token_wins_and_a_word_with_a_gap_is_unknown():
    tokenizer = WordPiece([*SPECIALS, "un", "una", "##able", "##ble", "##a", "b"])
    assert tokenizer.pieces("unable") == ["una", "##ble"]  # "un" with "##able" is no longer at the start
    assert tokenizer.pieces("unab b") == ["[UNK]", "b"]
    assert tokenizer.pieces("b" * 101) == ["[UNK]"]


def test_text_is_cleaned_as_bert_does():
    tokenizer = WordPiece([*SPECIALS, "cafe", "i", "漢", "字", "-", ",", "$", "a", "ab"])
    assert tokenizer.pieces("Café  CAFE\u0301\tİ") == ["cafe", "cafe", "i"]
    assert tokenizer.pieces("a漢字a-a,$") == ["a", "漢", "字", "a", "-", "a", ",", "$"]
    assert tokenizer.pieces("a\u200bb a\x00b a\u00a0a") == ["ab", "ab", "a", "a"]
    assert tokenizer.encode("").tolist() == [] and tokenizer.encode(" \n").dtype == torch.int64


def test_capitals_and_accents_stay_where_they_are_kept():
    kept = WordPiece.of("Été été", lower=False)
    assert kept.pieces("Été été") == ["Été", "été"] and kept.decode(kept.encode("Été")) == "Été"
    assert WordPiece.of("Été été").pieces("Été") == ["ete"]


@pytest.mark.parametrize(
    "text", ["The CAT's  hat!", "  naïve e\u0301x [MASK] 漢字", "\u200bcat\x00s zzz \u00e9", "", "☃"]
)
def test_spans_point_at_what_each_token_was_cut_from(tokenizer, text):
    tokens, spans = tokenizer.encode_spans(text)
    assert (
        torch.equal(tokens, tokenizer.encode(text)) and spans.shape == (len(tokens), 2) and spans.dtype == torch.int64
    )
    for k, (start, end) in zip(tokens.tolist(), spans.tolist()):
        if k != tokenizer.unk:
            cleaned = text[start:end] if k == tokenizer.mask else text[start:end].translate(tokenizer._clean).strip()
            assert cleaned == tokenizer.names[k].removeprefix("##")
    flat = spans.flatten()
    assert (flat.diff() >= 0).all()


def test_pair_has_separators_and_segments(tokenizer):
    tokens, segments = tokenizer.encode_pair("the cat", "a hat!")
    assert tokenizer.decode(tokens) == "[CLS] the cat [SEP] a hat! [SEP]"
    assert segments.tolist() == [0, 0, 0, 0, 1, 1, 1, 1] and segments.dtype == torch.int64
    tokens, segments = tokenizer.encode_pair("the cat")
    assert tokenizer.decode(tokens) == "[CLS] the cat [SEP]" and segments.tolist() == [0, 0, 0, 0]
    assert tokenizer.decode(tokens, specials=False) == "the cat"


def test_wordpiece_survives_json(tokenizer):
    loaded = WordPiece.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert loaded.names == tokenizer.names and torch.equal(loaded.encode(TEXT), tokenizer.encode(TEXT))
    kept = WordPiece.of("Été", lower=False)
    assert WordPiece.from_dict(kept.to_dict()).pieces("Été") == ["Été"]


def fields_of(tokenizer):
    return {
        "added_tokens": [{"id": k, "content": name} for name, k in tokenizer.specials.tokens.items()],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": tokenizer.lower},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {name: k for k, name in enumerate(tokenizer.names)}},
    }  # fmt: skip


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("kind", ["vocab.txt", "tokenizer.json"])
def test_published_folder_gives_the_tokenizer_that_was_written(tmp_path, kind, lower):
    written = WordPiece.of("Été " + TEXT, lower=lower)
    if kind == "vocab.txt":
        (tmp_path / kind).write_text("\n".join(written.names) + "\n", encoding="utf-8")
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower}))
    else:
        (tmp_path / kind).write_text(json.dumps(fields_of(written)))
    read = WordPiece.from_pretrained(tmp_path)
    assert (read.names, read.lower, read.accents) == (written.names, lower, not lower)
    assert torch.equal(read.encode("Été, the [MASK]"), written.encode("Été, the [MASK]"))


def test_folder_of_another_kind_is_refused_by_its_field(tokenizer, tmp_path):
    fields = fields_of(tokenizer)
    for part, change, said in (
        ("model", {"type": "BPE"}, "model.type is 'BPE'"),
        ("model", {"unk_token": "<unk>"}, "model.unk_token is '<unk>'"),
        ("model", {"continuing_subword_prefix": "@@"}, "continuing_subword_prefix is '@@'"),
        ("normalizer", {"clean_text": False}, "normalizer.clean_text is False"),
        ("normalizer", {"type": "NFC"}, "normalizer.type is 'NFC'"),
        ("pre_tokenizer", {"type": "Whitespace"}, "pre_tokenizer.type is 'Whitespace'"),
    ):
        (tmp_path / "tokenizer.json").write_text(json.dumps(fields | {part: fields[part] | change}))
        with pytest.raises(ValueError, match=said):
            WordPiece.from_pretrained(tmp_path)


def test_wordpiece_refuses_bad_input(tokenizer, tmp_path):
    for call, said in (
        (lambda: tokenizer.encode(None), "got NoneType"),
        (lambda: tokenizer.encode_spans("\udc00"), "lone surrogate"),
        (lambda: tokenizer.decode(torch.tensor([-1])), "token -1 at place 0"),
        (lambda: tokenizer.special("<s>"), r"no special token '<s>'; there are \[PAD\]"),
        (lambda: WordPiece(["a"]), r"lack \[PAD\], \[UNK\], \[CLS\], \[SEP\], \[MASK\]"),
        (lambda: WordPiece([*SPECIALS, "a", "a"]), "stands twice: 'a'"),
        (lambda: WordPiece.of(""), "at least one character"),
        (lambda: WordPiece.of("a", words=-1), "words must be at least 0, got -1"),
    ):
        with pytest.raises(ValueError, match=said):
            call()
    with pytest.raises(FileNotFoundError, match="neither tokenizer.json nor vocab.txt; it holds: nothing"):
        WordPiece.from_pretrained(tmp_path)
