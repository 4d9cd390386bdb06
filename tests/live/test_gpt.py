"""The live GPT: its cached step is the model, its draws are the package's, its JavaScript cuts a text alike."""

import random

import pytest
import torch

from genai_utils import live
from genai_utils.data import load
from genai_utils.live import gpt as program
from genai_utils.nn import attention_maps
from genai_utils.transformer.decoding import warp_logits, write_tokens
from genai_utils.weights import load_tokenizer
from tests.browser.live_page import inputs_of
from tests.live.exported import javascript, refused_by_page, session

ENTRY = live.load("gpt")
close = lambda a, b, atol: torch.testing.assert_close(a, b, rtol=0, atol=atol)
HARD = [
    "It's  3 o'clock!  ", "\n\n a\tb\r\n", "naïve – café “quoted” … ½ ² ٣ 三", "we'll  'tis 'S don't",
    "\u00a0x\u2003y\u3000z \ufeffw\x1cv\x85u", "🦊🏽‍🚀 e\u0301 \U0001f1e9\U0001f1ea", "a\x00b\x07\x7f\xad",
    "ſ'ſ K İ ǅ", "<|endoftext|> [MASK]", "   ", " 12ab34 _x-y",
]  # fmt: skip


@pytest.fixture(scope="module")
def gpt():
    return ENTRY.models()[0]


@pytest.fixture(scope="module")
def parts(gpt):
    return live.runner(ENTRY.graphs(gpt)), ENTRY.facts(gpt)


def test_the_steps_are_the_model_and_the_graph_is_the_steps(gpt, parts):
    tokens = load_tokenizer("gpt-tales").encode("\n" + program.TALE)[None]
    with torch.no_grad(), attention_maps(gpt) as maps:
        want = gpt(tokens)[0]
    looks = torch.stack([layer[0][0] for layer in maps.values()])  # (L, H, T, T)
    empty, graph = torch.zeros(parts[1]["cache"]), session(ENTRY.graphs(gpt)["step"])
    for run, atol in ((lambda **inputs: parts[0]("step", **inputs), 2e-5), (graph, 1e-4)):
        found, at = {"keys": empty, "values": empty}, 0
        for n in (9, 1, 1, 5, 1):
            found = run(tokens=tokens[:, at : at + n], past_keys=found["keys"], past_values=found["values"])
            at += n
            close(found["logits"], want[at - 1], atol)
            close(found["looks"], looks[:, :, at - 1, :at], 1e-5)
            assert found["keys"].shape[3] == at


def test_greedy_is_the_packages_greedy(gpt, parts):
    tokenizer, act = load_tokenizer("gpt-tales"), ENTRY.acts["write"]
    prompt = tokenizer.encode("\nOnce there lived a")[None]
    want = write_tokens(gpt.decoding(1), prompt, 80, temperature=0, end=tokenizer.encode("\n").item())[0]
    *_, last = act.program(*parts, inputs_of(act, {"temperature": 0}))
    text = "\n" + "".join(part for part, _ in last["text"])
    assert text == tokenizer.decode(want) and len(text) > 100


@pytest.mark.parametrize("top_k, top_p", [(0, 1), (5, 1), (0, 0.5), (20, 0.9), (1, 0.05)])
def test_kept_bars_are_what_the_package_draws_from(gpt, parts, top_k, top_p):
    act = ENTRY.acts["next"]
    inputs = inputs_of(act, {"prompt": "Once there lived a", "temperature": 1.5, "top_k": top_k, "top_p": top_p})
    (found,) = act.program(*parts, inputs)
    with torch.no_grad():
        logits = gpt(load_tokenizer("gpt-tales").encode("\nOnce there lived a")[None])[:, -1].double()
    want = warp_logits(logits, temperature=1.5, top_k=top_k or None, top_p=top_p).softmax(-1)[0]
    kept = [after for _, _, is_kept, after in found["next"] if is_kept]
    close(torch.tensor(kept), want.sort(descending=True).values[: len(kept)].float(), 1e-5)
    assert len(kept) == min(12, int((want > 0).sum()))
    every = (logits / 1.5).softmax(-1)[0].sort(descending=True).values[:12].tolist()
    assert [share for _, share, *_ in found["next"]] == pytest.approx(every, abs=1e-5)


def test_writing_ends_where_the_context_does(parts):
    act = ENTRY.acts["write"]
    full = "fox " * 200
    tokenizer = load_tokenizer("gpt-tales")
    while len(tokenizer.encode("\n" + full)) > 160:
        full = full[4:]
    steps = list(act.program(*parts, inputs_of(act, {"prompt": full, "temperature": 2})))
    assert 1 <= len(steps) <= 161 - len(tokenizer.encode("\n" + full)) and steps[-1]["figures"][1][1] <= 161


BAD = [{"prompt": ""}, {"prompt": "fox " * 200}, {"prompt": "a\ud83e b"}]


@pytest.mark.parametrize("act", ENTRY.acts)
def test_bad_prompts_are_refused_alike(tmp_path, parts, act):
    every, said = [inputs_of(ENTRY.acts[act], bad) for bad in BAD], []
    for inputs in every:
        with pytest.raises(live.Refused) as error:
            next(ENTRY.acts[act].program(*parts, inputs))
        said.append([error.value.field, str(error.value)])
    assert said[1][1].endswith("159 fit: shorten it") and "801 tokens" not in said[1][1]
    assert refused_by_page(tmp_path, "gpt", act, parts[1], every) == said


def test_the_tokenizer_in_javascript_is_the_packages(tmp_path, parts):
    tokenizer, pick = load_tokenizer("gpt-tales"), random.Random(0)
    signs = "".join(HARD) + "etaoin shrdlu" * 3
    texts = [*HARD, *load("tales", "test", n=20).documents]
    texts += ["".join(pick.choices(signs, k=pick.randint(1, 60))) for _ in range(300)]
    tokens = [pick.choices(range(tokenizer.vocab), k=30) for _ in range(100)]
    body = """const bpe = byteBPE(argument[0]);
      return [argument[1].map(bpe.encode), argument[1].map(bpe.pieces), argument[2].map(bpe.decode), bpe.names];"""
    encoded, pieces, decoded, names = javascript(tmp_path, body, [parts[1]["tokenizer"], texts, tokens])
    assert encoded == [tokenizer.encode(text).tolist() for text in texts]
    assert pieces == [tokenizer.pieces(text) for text in texts]
    assert decoded == [tokenizer.decode(torch.tensor(row)) for row in tokens]
    assert names == [tokenizer.decode(torch.tensor([k])) for k in range(tokenizer.vocab)]


@pytest.mark.parametrize("settings, tie", [
    ([(1.0, 0, 1), (0, 0, 1), (0.5, 7, 1), (2.0, 20, 1)], True),
    ([(1.3, 0, 0.7), (2.0, 20, 0.8), (0.1, 1, 0.05)], False),  # torch leaves open which of two equals top-p cuts
])  # fmt: skip
def test_the_cuts_in_javascript_are_the_packages(tmp_path, settings, tie):
    logits = torch.randn(20, 60, generator=torch.Generator().manual_seed(0)).mul(2)
    if tie:
        logits[:, 5] = logits[:, 9]
    body = """return argument[0].map((row) => argument[1].map(([temperature, top_k, top_p]) =>
      tokenShares(row, { temperature, top_k, top_p })));"""
    found = torch.tensor(javascript(tmp_path, body, [logits.tolist(), settings]), dtype=torch.float64)
    want = torch.stack([torch.stack([torch.stack(program.shares(row, *how)) for how in settings]) for row in logits])
    close(found, want, 1e-12)
