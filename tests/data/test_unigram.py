"""Unigram: the best of all ways to cut a word, tables of normalisation, and published files."""

import base64
import itertools
import json
import math
import random
import struct

import pytest
import torch

from genai_utils.data import Unigram
from genai_utils.data.tokenizers import Specials
from genai_utils.data.unigram import PENALTY, CharsMap

PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("a", -2.5), ("b", -3.1), ("ab", -4.7),
          ("▁a", -3.3), ("ba", -4.1), ("aba", -6.9), ("▁the", -3.7), ("c", -5.3)]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return Unigram(PIECES, unknown=2, specials=Specials({"<pad>": 0, "</s>": 1, "<unk>": 2}))


def test_best_path_is_the_best_of_all_ways_to_cut(tokenizer):
    scores = dict(PIECES)

    def cuts(word):
        for n in range(len(word)):
            for places in itertools.combinations(range(1, len(word)), n):
                yield [word[i:j] for i, j in zip((0, *places), (*places, len(word)))]

    draw = random.Random(0)
    for _ in range(60):
        word = "▁" + "".join(draw.choice("abc") for _ in range(draw.randrange(1, 8)))
        best = max(sum(scores.get(p, -math.inf) for p in cut) for cut in cuts(word))
        assert sum(scores[tokenizer.names[k]] for k in tokenizer.best_path(word)) == pytest.approx(best, abs=1e-12)


def test_neighbours_that_no_piece_spells_are_one_unknown_token(tokenizer):
    assert tokenizer.pieces("axyzb") == ["▁a", "<unk>", "b"]
    names = [*PIECES[:3], ("▁", -1.0), ("x", -30.0)]  # a piece costs its own score, however unlikely
    assert Unigram(names, unknown=2).pieces("x") == ["▁", "x"] and PENALTY == 10.0


def test_words_are_led_by_a_space_and_runs_of_spaces_count_once(tokenizer):
    assert tokenizer.pieces("the  a\n b") == ["▁the", "▁a", "▁", "b"]
    assert tokenizer.encode(" ").tolist() == [] == tokenizer.encode("").tolist()
    assert tokenizer.decode(tokenizer.encode("the  ab ")) == "the ab"
    each = Unigram(PIECES, unknown=2, split="space")
    assert each.pieces("a  b ") == ["▁a", "▁", "▁", "b", "▁"]
    assert Unigram(PIECES, unknown=2, split="space", squeeze=True).pieces("a   b ") == ["▁a", "▁", "b"]


def test_special_tokens_are_one_token_and_can_be_left_out(tokenizer):
    tokens = tokenizer.encode("the a</s>")
    assert tokens[-1] == tokenizer.special("</s>") == 1
    assert tokenizer.decode(tokens) == "the a</s>" and tokenizer.decode(tokens, specials=False) == "the a"


def charsmap(entries):
    """Write a table of normalisation: a double-array trie, its children placed at the first free base that fits."""
    texts, trie = b"", {}
    for key, text in entries.items():
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = len(texts)
        texts += text.encode() + b"\0"
    units, used = {0: 0}, {0}

    def place(node, at):
        base = next(b for b in range(1, 1 << 16) if not any(b ^ c in used for c in node) and b != at)
        used.update(base ^ c for c in node)
        units[at] |= (base ^ at) << 10 | (256 if 0 in node else 0)
        for byte, child in node.items():
            units[base ^ byte] = 1 << 31 | child if byte == 0 else byte
        for byte, child in node.items():
            if byte:
                place(child, base ^ byte)

    place(trie, 0)
    size = 1 + max(units)
    return struct.pack(f"<{size + 1}I", 4 * size, *(units.get(k, 0) for k in range(size))) + texts


ENTRIES = {"ﬁ": "fi", "①": "1", "é": "é", "\t": " ", "\r": " ", "\u200b": "", "½": "1/2", "e\u0301": "é", "Ａ": "A"}


def test_charsmap_replaces_its_entries_and_leaves_the_rest():
    table = CharsMap(charsmap(ENTRIES))
    for key, text in ENTRIES.items():
        assert table(key) == text
    assert table("aﬁ①\tb漢\u200bＡe\u0301") == "afi1 b漢Aé"
    assert table("\r\n") == " "  # one character: what the entry "\r" says of it
    assert table("") == "" and table("plain text") == "plain text"
    with pytest.raises(ValueError, match="is truncated"):
        CharsMap(charsmap(ENTRIES)[:40])


def fields_of(tokenizer, **more):
    added = [{"id": k, "content": name} for name, k in tokenizer.specials.tokens.items()]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return {
        "added_tokens": added,
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(ENTRIES)).decode()},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": False, "vocab": [list(p) for p in PIECES]},
    } | more


def test_published_folder_gives_the_tokenizer_that_was_written(tokenizer, tmp_path):
    more = {"added_tokens": [{"id": 1, "content": "</s>"}, {"id": 12, "content": "<extra_id_0>"}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields_of(tokenizer, **more)))
    read = Unigram.from_pretrained(tmp_path)
    assert read.names == tokenizer.names + ("<extra_id_0>",) and read.special("<extra_id_0>") == 12
    assert read.pieces("the a\u200bb<extra_id_0>") == ["▁the", "▁a", "b", "<extra_id_0>"]
    loaded = Unigram.from_dict(json.loads(json.dumps(read.to_dict())))
    assert torch.equal(loaded.encode("the ab①</s>"), read.encode("the ab①</s>")) and loaded.scores == read.scores


def field(number, value):
    """Return one field of a protocol buffer: an int, a float or bytes."""

    def varint(n):
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)

    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value) if isinstance(value, int) else (
        varint(number << 3 | 2) + varint(len(value)) + value)  # fmt: skip


def sentencepiece(kind=1):
    kinds = [3, 3, 2] + [1] * (len(PIECES) - 3)
    pieces = [field(1, name.encode()) + field(2, score) + field(3, k) for (name, score), k in zip(PIECES, kinds)]
    return b"".join(field(1, p) for p in pieces) + field(2, field(3, kind)) + field(3, field(2, charsmap(ENTRIES)))


def test_sentencepiece_file_gives_the_pieces_and_sentinels_after_them(tokenizer, tmp_path):
    (tmp_path / "spiece.model").write_bytes(sentencepiece())
    read = Unigram.from_pretrained(tmp_path, extra=3)
    assert read.names == tokenizer.names + ("<extra_id_2>", "<extra_id_1>", "<extra_id_0>") and read.unknown == 2
    assert read.scores[:-3] == pytest.approx(tokenizer.scores, rel=1e-6)
    assert read.pieces("the <extra_id_0> a①</s>") == ["▁the", "<extra_id_0>", "▁a", "<unk>", "</s>"]
    for content, said in (
        (sentencepiece(kind=2), "model_type is 2"),
        (sentencepiece()[:-9], "truncated"),
        (b"", "no piece is the unknown one"),
        (b"\xff" * 5, "cannot be read as a unigram model"),
    ):
        (tmp_path / "spiece.model").write_bytes(content)
        with pytest.raises(ValueError, match=said):
            Unigram.from_pretrained(tmp_path)


def test_folder_of_another_kind_is_refused_by_its_field(tokenizer, tmp_path):
    model = fields_of(tokenizer)["model"]
    for change, said in (
        ({"model": {"type": "BPE", "vocab": {}}}, "model.type is 'BPE'"),
        ({"model": model | {"byte_fallback": True}}, "byte_fallback is set"),
        ({"model": model | {"unk_id": None}}, "unk_id missing"),
        ({"pre_tokenizer": {"type": "ByteLevel"}}, "pre_tokenizer is .*ByteLevel"),
        ({"pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "first"}}, "pre_tokenizer is .*first"),
        ({"normalizer": {"type": "NFKC"}}, "normalizer has .*NFKC"),
        ({"added_tokens": [{"id": 20, "content": "<x>"}]}, "added tokens must go on from 12"),
    ):
        (tmp_path / "tokenizer.json").write_text(json.dumps(fields_of(tokenizer, **change)))
        with pytest.raises(ValueError, match=said):
            Unigram.from_pretrained(tmp_path)


def test_unigram_refuses_bad_input(tokenizer, tmp_path):
    for call, said in (
        (lambda: tokenizer.encode(3), "got int"),
        (lambda: tokenizer.decode(torch.tensor([12])), r"token 12 at place 0 is not within \[0, 12\)"),
        (lambda: tokenizer.special("<s>"), "no special token '<s>'; there are <pad>"),
        (lambda: Unigram([]), "at least one"),
        (lambda: Unigram([("a", 0.0), ("a", 0.0)]), "each once"),
        (lambda: Unigram(PIECES, unknown=12), "token 12 is not within"),
        (lambda: Unigram(PIECES, split="never"), "split must be .* got 'never'"),
    ):
        with pytest.raises(ValueError, match=said):
            call()
    with pytest.raises(FileNotFoundError, match="neither tokenizer.json nor spiece.model"):
        Unigram.from_pretrained(tmp_path)
