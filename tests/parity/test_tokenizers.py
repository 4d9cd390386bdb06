"""Our tokenizers against the `tokenizers` library: training, ids, spans, pairs and decoding, on real and nasty text."""

import json
import random
import struct

import pytest

from genai_utils.data import ByteBPE, Unigram, WordPiece, load
from genai_utils.data.unigram import CharsMap

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import (  # noqa: E402
    AddedToken,
    BertWordPieceTokenizer,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

POOL = [
    " ", "  ", "\n", "\t", "\r\n", "a", "b", "ab", "the", " the", "don't", "'s", "'", "é", "e\u0301", "É",
    "İ", "ß", "Σ",
    "漢", "字", "가", "ᄀ", "ᅡ", "ﬁ", "①", "½", "٣", "12", ".", ",", "!", "...", "-", "_", "$",
    "“", "–", "👍🏽", "👩‍👩‍👧", "\u200b",
    "\u200d", "\xa0", "\u3000", "\x00", "\ufffd", "Function", "qz", "▁", "क", "ि", "््", "ｶﾞ", "\u0345", "x" * 101,
]  # fmt: skip


def nasty(n, seed=0, more=()):
    draw, pool = random.Random(seed), [*POOL, *more]
    return ["".join(draw.choice(pool) for _ in range(draw.randrange(14))) for _ in range(n)]


def real(name, split="train", n=60_000):
    return load(name, split).text[:n]


# Byte-pair encoding


def trained_bpe(text, vocab, specials=()):
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer, theirs.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = dict(special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False)
    theirs.train_from_iterator([text], trainers.BpeTrainer(vocab_size=vocab, **options))
    return theirs


def merges_of(theirs):
    return tuple(map(tuple, json.loads(theirs.to_str())["model"]["merges"]))


@pytest.mark.parametrize("name", ["tales", "python_docs"])
def test_bpe_trains_encodes_and_decodes_as_tokenizers(name):
    specials, text = ["<|endoftext|>", "<|pad|>"], real(name)
    ours, theirs = ByteBPE.train(text, vocab=600, specials=specials), trained_bpe(text, 600, specials)
    numbers = theirs.get_vocab()
    assert ours.names == tuple(sorted(numbers, key=numbers.get)) and ours.merges == merges_of(theirs)
    for sample in [real(name, "test"), *nasty(400, more=["<|endoftext|>"])]:
        encoded = theirs.encode(sample)
        assert ours.encode(sample).tolist() == encoded.ids
        assert ours.decode(ours.encode(sample)) == theirs.decode(encoded.ids, skip_special_tokens=False) == sample


@pytest.mark.parametrize("letters", ["ab", "aAé ", "ab\n ", "漢字 x", "aab1 ' s"])
def test_bpe_breaks_ties_as_tokenizers_on_texts_that_are_full_of_them(letters):
    draw = random.Random(1)
    for size in (5, 60, 500, 2000):
        text = "".join(draw.choice(letters) for _ in range(size))
        ours, theirs = ByteBPE.train(text, vocab=330), trained_bpe(text, 330)
        assert ours.merges == merges_of(theirs)
        assert ours.encode(text[::-1]).tolist() == theirs.encode(text[::-1]).ids


@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.json"])
def test_bpe_reads_bart_folders_as_tokenizers_writes_them(tmp_path, kind):
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    theirs = trained_bpe(real("python_docs"), 400, names)
    theirs.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    if kind == "tokenizer.json":
        theirs.save(str(tmp_path / kind))
    else:
        theirs.model.save(str(tmp_path))
    ours = ByteBPE.from_pretrained(tmp_path)
    for sample in nasty(300, seed=2, more=["<mask>", " <mask>", "</s>"]):
        assert ours.encode(sample).tolist() == theirs.encode(sample).ids


# WordPiece


@pytest.mark.parametrize("lower", [True, False])
def test_wordpiece_equals_tokenizers_in_ids_spans_pairs_and_decoding(tmp_path, lower):
    ours = WordPiece.of(real("python_docs"), words=500, lower=lower)
    (tmp_path / "vocab.txt").write_text("\n".join(ours.names) + "\n", encoding="utf-8")
    theirs = BertWordPieceTokenizer(str(tmp_path / "vocab.txt"), lowercase=lower)
    theirs.save(str(tmp_path / "tokenizer.json"))
    samples = [real("python_docs", "test"), *nasty(500, more=["[MASK]", "[SEP]", "##s"])]
    for read in (ours, WordPiece.from_pretrained(tmp_path)):
        for sample, other in zip(samples, samples[::-1]):
            tokens, spans = read.encode_spans(sample)
            encoded = theirs.encode(sample, add_special_tokens=False)
            assert tokens.tolist() == read.encode(sample).tolist() == encoded.ids
            assert list(map(tuple, spans.tolist())) == encoded.offsets
            for specials in (True, False):
                said = theirs.decode(encoded.ids, skip_special_tokens=not specials)
                assert read.decode(tokens, specials=specials) == said
            tokens, segments = read.encode_pair(sample, other)
            encoded = theirs.encode(sample, other)
            assert (tokens.tolist(), segments.tolist()) == (encoded.ids, encoded.type_ids)


# Unigram


def charsmap():
    """Return a table of normalisation whose trie has one byte a unit, as SentencePiece lays it out."""
    entries = {"①": b"1", "ﬁ": b"fi", "\t": b" ", "\r": b" ", "\n": b" ", "\u200b": b"", "½": b"1/2", "é": b"e"}
    texts, units, free = b"", {0: 0}, 1
    trie = {}
    for key, text in entries.items():
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[None] = len(texts)
        texts += text + b"\0"
    todo = [(trie, 0)]
    while todo:
        node, at = todo.pop()
        base, free = free << 8, free + 1  # 256 units for each node: bytes never collide
        units[at] |= ((base ^ at) << 10 if base ^ at < 1 << 21 else (base ^ at) >> 8 << 10 | 512) | (None in node) << 8
        for byte, child in node.items():
            units[base ^ (byte or 0)] = 1 << 31 | child if byte is None else byte
            if byte is not None:
                todo.append((child, base ^ byte))
    size = (free + 1) << 8
    return struct.pack(f"<{size + 1}I", 4 * size, *(units.get(k, 1 << 31) for k in range(size))) + texts


def unigram_models():
    """Return name -> (how it normalises, how it cuts): T5 as the library writes it now, and as older files have it."""
    metaspace, table = pre_tokenizers.Metaspace(prepend_scheme="always"), normalizers.Precompiled(charsmap())
    words = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace])
    squeeze = [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")]
    return {
        "plain": (None, words),
        "table": (table, words),
        "spaces": (table, metaspace),
        "squeezed": (normalizers.Sequence([table, *squeeze]), metaspace),
    }


def test_charsmap_normalises_every_character_as_tokenizers():
    ours, theirs = CharsMap(charsmap()), normalizers.Precompiled(charsmap())
    assert ours("①ﬁ\tb½\u200b") == "1fi b1/2"
    for sample in [*map(chr, range(0x3100)), *nasty(500, seed=3, more=["e\u0301", "é\u0301", "①\u0301", "½\u200d"])]:
        assert ours(sample) == theirs.normalize_str(sample)


@pytest.mark.parametrize("kind", ["plain", "table", "spaces", "squeezed"])
def test_unigram_equals_tokenizers_on_a_model_that_it_trained(tmp_path, kind):
    theirs = Tokenizer(models.Unigram())
    normalizer, theirs.pre_tokenizer = unigram_models()[kind]
    if normalizer is not None:
        theirs.normalizer = normalizer
    theirs.decoder = decoders.Metaspace(prepend_scheme="always")
    sentinels = [f"<extra_id_{k}>" for k in range(5)]
    options = dict(special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False)
    lines = (real("python_docs") + "é 漢字 ﬁ 1\n" * 5).split("\n")
    theirs.train_from_iterator(lines, trainers.UnigramTrainer(vocab_size=400, **options))
    theirs.add_special_tokens(sentinels)
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = Unigram.from_pretrained(tmp_path)
    assert ours.vocab == theirs.get_vocab_size() and ours.special("<extra_id_0>") == theirs.token_to_id("<extra_id_0>")
    for sample in [real("python_docs", "test", 20_000), *nasty(500, seed=4, more=[*sentinels[:2], "</s>"])]:
        encoded = theirs.encode(sample, add_special_tokens=False)
        assert ours.encode(sample).tolist() == encoded.ids
        for specials in (True, False):
            said = theirs.decode(encoded.ids, skip_special_tokens=not specials)
            assert ours.decode(ours.encode(sample), specials=specials) == said
