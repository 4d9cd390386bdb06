"""The live BERT: its graph is the model, one [MASK] hides a word without its signs, JavaScript cuts a text alike."""

import random

import pytest
import torch

from genai_utils import live
from genai_utils.data import load
from genai_utils.live import bert as program
from genai_utils.nn import attention_maps
from genai_utils.transformer.masked import fill
from genai_utils.weights import load_tokenizer
from tests.browser.live_page import inputs_of
from tests.live.exported import javascript, refused_by_page, session

ENTRY, TOKENIZER = live.load("bert"), load_tokenizer("bert-words")
HIDE = ENTRY.acts["hide"]
close = lambda a, b, atol: torch.testing.assert_close(a, b, rtol=0, atol=atol)
HARD = [
    "A hatter!  don't  stop-me", "Naïve – CAFÉ “quoted” … ½ ² ٣", "三only猫 in 日本", "a$b+c<d>e^f`g|h~i_j",
    "\u00a0x\u2003y\u3000z\ufeffw\x1cv\x85u\x0bt", "🦊🏽‍🚀 e\u0301 İSTANBUL ΣΊΣΥΦΟΣ ß ſ K ﬁ",
    "a\x00b\x07\x7f\xad\ufffdc", "[MASK][mask] x[CLS]y [UNK].",
    "x" * 101, "x" * 100, "", "   ", "fi\u2028fo\u2029fum\ue000", "𝕆𝕨𝕝 \U00020000\U0002a700", "가 각",
]  # fmt: skip


@pytest.fixture(scope="module")
def bert():
    return ENTRY.models()[0]


@pytest.fixture(scope="module")
def parts(bert):
    return live.runner(ENTRY.graphs(bert)), ENTRY.facts(bert)


@pytest.mark.parametrize("text, place", [("A cat.", 2), (program.TALE, 8), ("She loved milk. " * 39, 80)])
def test_the_module_is_the_model_and_the_graph_is_the_module(bert, parts, text, place, graph):
    tokens = TOKENIZER.encode_pair(text)[0][None]
    tokens[0, place] = TOKENIZER.mask
    with torch.no_grad(), attention_maps(bert) as maps:
        want = bert.mlm_logits(bert(tokens))[0, place]
    looks = maps["blocks.3.attention"][0][0].mean(0)[place]
    for run, atol in ((lambda **inputs: parts[0]("fill", **inputs), 2e-5), (graph, 1e-4)):
        found = run(tokens=tokens, place=torch.tensor([place]))
        close(found["logits"], want, atol)
        close(found["looks"], looks, 1e-5)


@pytest.fixture(scope="module")
def graph(bert):
    return session(ENTRY.graphs(bert)["fill"])


def hidden(parts, sentence, at):
    return next(HIDE.program(*parts, {"sentence": sentence, "sentence_at": at}))


def test_one_mask_stands_for_the_word_and_its_signs_stay(bert, parts):
    found = hidden(parts, program.TALE, 9)  # "Cleo."
    tokens = TOKENIZER.encode_pair(program.TALE.replace("Cleo", "[MASK]"))[0][None]
    assert "".join(text for text, _ in found["looks"]) == TOKENIZER.decode(tokens[0])
    assert sum(look for _, look in found["looks"]) == pytest.approx(1, abs=1e-5)
    place = (tokens == TOKENIZER.mask).nonzero()[:, 1:]
    p = fill(bert, tokens, place)[0, 0]
    assert found["guesses"][0][0] == TOKENIZER.names[p.argmax()] == "cleo"
    assert found["guesses"][0][1] == pytest.approx(p.max().item(), abs=1e-5)
    assert found["figures"][0][1] == pytest.approx(100 * p.max().item(), abs=1e-3) and found["figures"][1][1] == 1


def test_what_it_cannot_spell_or_guess_is_named(parts):
    found = hidden(parts, "A zebra saw “it” – [UNK].", 1)
    assert not found["figures"] and "“zebra” is" in found["note"][0][0]
    assert [text for text, weight in found["note"] if weight] == [" “it”", " –", " [UNK]."]
    assert hidden(parts, "A cat.", 1)["note"] == []
    assert "[MASK]" in "".join(text for text, _ in hidden(parts, "what ? then", 1)["looks"])


@pytest.mark.parametrize("part, want", [
    ("Cleo.", ("", "Cleo", ".")), ("“don't!”", ("“", "don't", "!”")), ("--", ("", "--", "")), ("x", ("", "x", "")),
    ("a.a.", ("", "a.a", ".")), ("$5", ("$", "5", "")), ("[MASK]", ("", "[MASK]", "")),
])  # fmt: skip
def test_signs_around_a_word(tmp_path, part, want):
    assert program.without_signs(TOKENIZER, part) == want
    body = "return withoutSigns(wordPiece(argument[0]), argument[1]);"
    assert javascript(tmp_path, body, [TOKENIZER.to_dict(), part]) == list(want)


def test_bad_sentences_are_refused_alike(tmp_path, parts):
    bad = [{"sentence": ""}, {"sentence": "  "}, {"sentence": "a cat", "sentence_at": 2}, {"sentence_at": -1},
           {"sentence": "a cat, " * 80}, {"sentence": "a \ud83e"}]  # fmt: skip
    every, said = [inputs_of(HIDE, one) for one in bad], []
    for inputs in every:
        with pytest.raises(live.Refused) as error:
            next(HIDE.program(*parts, inputs))
        said.append([error.value.field, str(error.value)])
    assert "240 tokens and 158 fit" in said[4][1] and {field for field, _ in said} == {"sentence"}
    assert refused_by_page(tmp_path, "bert", "hide", parts[1], every) == said


def test_the_tokenizer_in_javascript_is_the_packages(tmp_path):
    pick = random.Random(0)
    signs = "".join(HARD) + "etaoin shrdlu" * 3
    texts = [*HARD, *load("tales", "test", n=20).documents, *load("reviews", "test", n=20).documents]
    texts += ["".join(pick.choices(signs, k=pick.randint(1, 60))) for _ in range(300)]
    body = "const { encode } = wordPiece(argument[0]); return argument[1].map(encode);"
    found = javascript(tmp_path, body, [TOKENIZER.to_dict(), texts])
    for text, tokens in zip(texts, found):
        assert tokens == TOKENIZER.encode(text).tolist(), text
