"""The live LSTM: read character by character it is the model, and its graph is that; what it never read is refused."""

import pytest
import torch

from genai_utils import live
from genai_utils.autoregressive.char_lm import sample_tokens
from genai_utils.data import CharTokenizer
from genai_utils.live import lstm as program
from tests.browser.live_page import inputs_of
from tests.live.exported import refused_by_page, session

ENTRY = live.load("lstm")
close = lambda a, b, atol: torch.testing.assert_close(a, b, rtol=2e-6, atol=atol)  # a cell goes up to 30
LINES = program.SPEECH.replace("/", "\n")


@pytest.fixture(scope="module")
def lm():
    return ENTRY.models()[0]


@pytest.fixture(scope="module")
def parts(lm):
    return live.runner(ENTRY.graphs(lm)), ENTRY.facts(lm)


def test_the_steps_are_the_model_and_the_graph_is_the_steps(lm, parts):
    tokens, graph = CharTokenizer(lm.cfg.alphabet).encode(LINES)[None], session(ENTRY.graphs(lm)["read"])
    with torch.no_grad():
        want, (hidden, cell) = lm(tokens)
    for run, atol in ((lambda **inputs: parts[0]("read", **inputs), 2e-5), (graph, 1e-4)):
        found = {"hidden": torch.zeros(parts[1]["state"]), "cell": torch.zeros(parts[1]["state"])}
        for i in range(tokens.shape[1]):
            found = run(token=tokens[:, i : i + 1], h=found["hidden"], c=found["cell"])
            close(found["logits"], want[0, i], atol)
        close(found["hidden"], hidden, 1e-5)
        close(found["cell"], cell, 1e-5)


def test_greedy_is_the_packages_greedy_and_the_text_grows(lm, parts):
    marks, act = CharTokenizer(lm.cfg.alphabet), ENTRY.acts["write"]
    drawn = sample_tokens(lm, marks.encode(program.START + LINES)[None], 102, temperature=0)
    want = marks.decode(torch.cat([token for token, _ in drawn]))
    steps = list(act.program(*parts, inputs_of(act, {"temperature": 0, "characters": 102})))
    assert [step["text"][1][0] for step in steps] == [want[:n] for n in [*range(4, 101, 4), 102]]
    assert steps[-1]["text"][0] == [LINES, 0]


def test_bars_are_the_models_shares(lm, parts):
    act, prompt = ENTRY.acts["next"], "ROMEO:/What say'st tho"
    (found,) = act.program(*parts, inputs_of(act, {"prompt": prompt, "temperature": 0.5}))
    tokens = CharTokenizer(lm.cfg.alphabet).encode(program.START + prompt.replace("/", "\n"))[None]
    with torch.no_grad():
        best = (lm(tokens)[0][0, -1].double() / 0.5).softmax(0).topk(12)
    assert [share for _, share, *_ in found["next"]] == pytest.approx(best.values.tolist(), abs=1e-6)
    assert found["next"][0][0] == lm.cfg.alphabet[best.indices[0]] == "u"


@pytest.mark.parametrize("act", ENTRY.acts)
def test_bad_prompts_are_refused_alike(tmp_path, parts, act):
    every, said = [inputs_of(ENTRY.acts[act], {"prompt": bad}) for bad in ("", "4 naïve 🦊s, 44", "x\ud83e")], []
    for inputs in every:
        with pytest.raises(live.Refused) as error:
            next(ENTRY.acts[act].program(*parts, inputs))
        said.append([error.value.field, str(error.value)])
    assert said[1][0] == "prompt" and "4 ï 🦊:" in said[1][1]
    assert refused_by_page(tmp_path, "lstm", act, parts[1], every) == said
