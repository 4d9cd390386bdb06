"""The next-token explorer in Python: its grid is what the model writes, and what is left is what warp_logits leaves."""

import base64
import re
from itertools import product

import numpy as np
import pytest
import torch

from genai_utils.data.tokenizers import CharTokenizer
from genai_utils.transformer.decoding import warp_logits, write_tokens
from genai_utils.transformer.gpt import GPT, GPTConfig
from genai_utils.widgets import NextTokenExplorer, explore_next_token, sampling_grid, sprites
from genai_utils.widgets.explore_next_token import nearest

ALT = "Bars of the likeliest next letters after a prompt, and what was written, for a test."
TOKENIZER = CharTokenizer("\n abcdefghijklmnopqrs")
V = TOKENIZER.vocab
SETTINGS = {"temperatures": (0.3, 1.0, 1.7), "top_ks": (1, 4, None), "top_ps": (0.6, None)}
PROMPTS = ["abc", "de d"]
STATE = ("alt", "prompts", "pieces", "logits", "continuations", "temperatures", "top_ks", "top_ps", "counts")


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        gpt = GPT(GPTConfig(vocab=V, context=24, d_model=16, n_layers=2, n_heads=2)).double().eval()
        for weight in gpt.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    return gpt


GPT_ = model()


def grid(seed=0, **options):
    given = SETTINGS | {"steps": 8, "generator": torch.Generator().manual_seed(seed)} | options
    prompts = given.pop("prompts", PROMPTS)
    return sampling_grid(GPT_.decoding, TOKENIZER, prompts, **given)


GRID = grid()


def make(**options):
    return explore_next_token(**GRID | {"alt": ALT} | options)


def test_grid_has_the_models_own_logits_after_each_prompt():
    for row, prompt in zip(GRID["logits"], PROMPTS):
        torch.testing.assert_close(row, GPT_(TOKENIZER.encode(prompt)[None])[0, -1])
    assert GRID["pieces"] == list("\n abcdefghijklmnopqrs")


def test_grid_with_one_token_left_is_the_greedy_text():
    for prompt, of_prompt in zip(PROMPTS, GRID["continuations"]):
        tokens = TOKENIZER.encode(prompt)
        greedy = write_tokens(GPT_.decoding(1, len(tokens) + 7), tokens[None], 8, temperature=0)[0, len(tokens) :]
        assert {text for row in of_prompt for text in row[0]} == {TOKENIZER.decode(greedy)}


def test_grid_equals_one_row_after_the_other_with_the_same_noise():
    noise = -torch.empty(8, V, dtype=torch.float64).exponential_(generator=torch.Generator().manual_seed(0)).log()
    sizes = [range(len(values)) for values in SETTINGS.values()]
    for (p, prompt), (a, k, n) in product(enumerate(PROMPTS), product(*sizes)):
        tokens = TOKENIZER.encode(prompt).tolist()
        for i in range(8):  # no cache, no batch
            logits = GPT_(torch.tensor([tokens]))[:, -1]
            warped = warp_logits(
                logits, temperature=SETTINGS["temperatures"][a], top_k=SETTINGS["top_ks"][k],
                top_p=SETTINGS["top_ps"][n],
            )  # fmt: skip
            tokens.append((warped[0] + noise[i]).argmax().item())
        assert prompt + GRID["continuations"][p][a][k][n] == TOKENIZER.decode(torch.tensor(tokens))


def test_draws_of_the_grid_follow_the_warped_distribution():
    first = [
        grid(seed, temperatures=(0.7,), top_ks=(6,), top_ps=(0.9,), steps=1, prompts="abc")["continuations"][0][0][0][0]
        for seed in range(400)
    ]
    p = warp_logits(GRID["logits"][:1], temperature=0.7, top_k=6, top_p=0.9).softmax(-1)[0]
    share = torch.tensor([first.count(piece) for piece in GRID["pieces"]]) / len(first)
    assert (share[p == 0] == 0).all() and (p > 0).sum() >= 3
    assert ((share - p).abs() <= 4 * (p * (1 - p) / len(first)).sqrt() + 1e-12).all()


def test_same_generator_writes_the_same_grid_and_another_seed_another():
    assert grid(0)["continuations"] == GRID["continuations"] != grid(1)["continuations"]


def test_continuation_ends_before_the_end_token_and_start_is_read_but_not_shown():
    end = TOKENIZER.encode("e").item()
    whole, ended = GRID["continuations"], grid(end=end)["continuations"]
    pairs = list(zip(np.ravel(np.array(whole, object)), np.ravel(np.array(ended, object))))
    assert all(text.split("e")[0] == cut for text, cut in pairs) and any(text != cut for text, cut in pairs)
    started = grid(start="\n", steps=2)
    torch.testing.assert_close(started["logits"][0], GPT_(TOKENIZER.encode("\nabc")[None])[0, -1])
    assert started["prompts"] == PROMPTS
    alone = grid(start="\n", steps=2, prompts=[""])
    torch.testing.assert_close(alone["logits"][0], GPT_(TOKENIZER.encode("\n")[None])[0, -1])


@pytest.mark.parametrize("top_k, top_p", list(product((1, 3, V), (0.3, 0.75, 1.0))))
def test_distribution_and_figures_are_those_of_the_decoder(top_k, top_p):
    explorer = make()
    alone = NextTokenExplorer(**{k: explorer.get_state()[k] for k in STATE}, top_k=top_k, top_p=top_p)  # no kernel
    for alone.prompt, alone.temperature in product(range(2), (0.2, 1.0, 1.85)):
        logits = GRID["logits"][alone.prompt].float().double()[None]
        p = warp_logits(logits, temperature=alone.temperature, top_k=top_k, top_p=top_p).softmax(-1)[0]
        torch.testing.assert_close(alone.probabilities(), p, rtol=1e-12, atol=0)
        kept, held, entropy = alone.figures()
        whole = (logits[0] / alone.temperature).softmax(-1)
        assert kept == sum(v > 0 for v in p.tolist())
        assert held == pytest.approx(sum(w for w, v in zip(whole.tolist(), p.tolist()) if v > 0), rel=1e-12)
        assert entropy == pytest.approx(-sum(v * np.log(v) for v in p.tolist() if v > 0), rel=1e-9, abs=1e-12)
        shown = alone.likeliest()
        assert len(shown) == 15 and (p[shown].diff() <= 0).all() and p[shown[0]] == p.max()


def test_sentence_counts_what_is_left():
    logits = np.log([[0.5, 0.25, 0.125, 0.125]])
    explorer = explore_next_token(
        "a", list("wxyz"), logits, [[[["b"]]]], alt=ALT, temperatures=[1], top_ks=[None], top_ps=[1]
    )
    explorer.top_k = 2
    assert explorer.sentence() == (
        "2 of 4 tokens are left, with 75.00 % of the probability at this temperature; entropy of the draw 0.64 nats"
    )
    explorer.top_k = 1
    assert explorer.sentence().startswith("1 of 4 tokens is left, with 50.00 %")
    explorer.top_k, explorer.top_p = 4, 0.7
    assert explorer.sentence().startswith("2 of 4 tokens are left, with 75.00 %")


def test_text_shown_is_that_of_the_nearest_setting():
    explorer = make()
    for p, (a, temperature), (k, top_k), (n, top_p) in product(
        range(2), enumerate((0.3, 1.0, 1.7)), enumerate((1, 4, V)), enumerate((0.6, 1.0))
    ):
        explorer.prompt, explorer.temperature, explorer.top_k, explorer.top_p = p, temperature, top_k, top_p
        assert explorer.place() == (a, k, n)
        assert explorer.continuation() == GRID["continuations"][p][a][k][n]
    explorer.temperature, explorer.top_k, explorer.top_p = 0.5, 3, 0.7
    assert explorer.place() == (0, 1, 0) and explorer.origin() == "Written at temperature 0.3, top-k 4, top-p 0.6"
    explorer.top_k, explorer.top_p = 17, 0.95
    assert explorer.origin() == "Written at temperature 0.3, top-k all, top-p 1"


@pytest.mark.parametrize("value, index", [(0.01, 0), (1, 0), (2.2, 0), (2.3, 1), (5, 1), (10, 1), (11, 2), (500, 2)])
def test_nearest_goes_by_ratio_and_ties_to_the_first(value, index):
    assert nearest(value, [1, 5, 20]) == index


def test_reader_reaches_every_setting_that_was_run_and_all_tokens():
    explorer = make()
    assert explorer.counts == [1, 2, 3, 4, 5, 7, 10, 20, 21] and explorer.top_k == V == 21


def test_figure_shows_the_bars_and_holds_prompt_and_text():
    explorer = make(prompts=["a<b", "de d"])
    explorer.top_k = 4
    figure = explorer.figure()
    mime, data = re.search(r'src="data:(image/\w+);base64,([^"]+)"', figure).groups()
    seen = set(map(tuple, sprites.decode(base64.b64decode(data), grey=False).reshape(-1, 3).tolist()))
    assert (0, 114, 178) in seen and f'alt="{ALT}"' in figure
    assert f"<b>a&lt;b</b>{explorer.continuation()}" in figure and explorer.sentence() in figure


def test_same_data_gives_the_same_figure_and_other_data_another():
    assert make().uid == make().uid != make(logits=GRID["logits"].flip(1)).uid


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(prompts=list("abcde")), "prompts must be 1 to 4 different texts"),
        (dict(prompts=["a", "a"]), "prompts must be 1 to 4 different texts"),
        (dict(logits=GRID["logits"][:1]), r"logits must be \(P, V\) = \(2, 21\), .*got \(1, 21\)"),
        (dict(pieces=list("abc")), r"logits must be \(P, V\) = \(2, 3\)"),
        (dict(logits=warp_logits(GRID["logits"], top_k=3)), "logits must be finite, got -inf: give the model's own"),
        (dict(continuations=GRID["continuations"][:1]), r"= \(2, 3, 3, 2\), got \(1, 3, 3, 2\)"),
        (dict(temperatures=(0.3, 1.0)), r"= \(2, 2, 3, 2\), got \(2, 3, 3, 2\)"),
        (dict(temperatures=(0, 1, 2)), "temperatures must be finite and > 0"),
        (dict(temperatures=(0.3, 1.7, 1.0)), "and increase"),
        (dict(top_ks=(0, 4, None)), "top_ks must be whole numbers, at least 1"),
        (dict(top_ks=(None, 1, 4)), r"top_ks must be .* got \[21, 1, 4\] of 21 tokens"),
        (dict(top_ps=(0.6, 1.2)), r"top_ps must be in \(0, 1\]"),
        (dict(alt="too short"), "30 characters"),
        (
            dict(pieces=["a"] * 60_000, logits=np.zeros((2, 60_000))),
            "limit is 400 kB: take fewer prompts, fewer settings",
        ),
    ],
)
def test_explorer_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(steps=0), "steps must be at least 1, got 0"),
        (dict(prompts=[""]), "give start= the token that ends a text"),
        (dict(prompts="a", steps=60), "length"),
        (dict(top_ps=(0.0, 1)), "top_ps must be in"),
        (dict(temperatures=()), "temperatures must be"),
    ],
)
def test_grid_refuses_what_cannot_be_written(arguments, message):
    with pytest.raises(ValueError, match=message):
        grid(**arguments)


@pytest.mark.parametrize(
    "name, value", [("prompt", 2), ("temperature", 0.1), ("top_k", 0), ("top_k", 22), ("top_p", 0)]
)
def test_explorer_refuses_a_setting_that_cannot_be_reached(name, value):
    with pytest.raises(ValueError, match=f"{name} must be in"):
        setattr(make(), name, value)


def test_script_imports_nothing_and_names_no_address():
    state = make().get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
