"""Hidden words in Python: what is stored, counted and told, and what is refused."""

import re

import numpy as np
import pytest
import torch

from genai_utils.widgets import MaskedExplorer, explore_masked, top_guesses
from genai_utils.widgets.explore_masked import BLANK, NEVER, nats, quantise, share_of

ALT = "A sentence with one word hidden, and what two readers take it for, in a test."
WORDS = ["the", "old", "fox", "slept"]
NAMES = ["the", "old", "fox", "slept", "dog", "ran", "a"]
STATE = ("alt", "sentences", "names", "readers", "pieces", "likeliest", "places", "levels", "sentence", "at")


def logits(words, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(len(words), len(NAMES), generator=g, dtype=torch.float64)


def truth(words):
    return torch.tensor([NAMES.index(word) for word in words])


def guess(words, seed, k=3):
    return top_guesses(logits(words, seed), truth(words), NAMES, k)


def make(**changes):
    second = ["a", "dog", "ran"]
    tokens, guesses = (
        [WORDS, second],
        [{"left": guess(w, s), "both": guess(w, s + 9)} for s, w in enumerate((WORDS, second))],
    )
    return explore_masked(**{"tokens": tokens, "guesses": guesses, "alt": ALT} | changes)


def test_every_place_shows_the_softmax_of_its_own_logits():
    made = make()
    alone = MaskedExplorer(**{k: made.get_state()[k] for k in STATE})  # no kernel: the state alone
    for alone.sentence, words in enumerate((WORDS, ["a", "dog", "ran"])):
        for alone.at, word in enumerate(words):
            for r, seed in enumerate((alone.sentence, alone.sentence + 9)):
                p = logits(words, seed)[alone.at].softmax(-1).numpy()
                best = np.argsort(-p)[:3]
                shown = alone.guesses()[r]
                assert [w for w, _ in shown] == [NAMES[j] for j in best]
                np.testing.assert_allclose([share for _, share in shown], p[best], rtol=5.1e-4)
                surprisal = -np.log(p[NAMES.index(word)])
                assert abs(alone.truths()[r] / 1000 - surprisal) <= 5.1e-4
                assert f"{nats(alone.truths()[r])} nats" in alone.told()


def test_surprisal_of_a_share_is_right_to_half_a_thousandth_and_its_ends_are_exact():
    shares = np.array([1.0, 0.9999, 0.5, 1e-3, 1e-20])
    assert np.abs(quantise(shares) / 1000 + np.log(shares)).max() <= 5.001e-4
    assert [share_of(level) for level in quantise(np.array([1.0, 0.0]))] == [1.0, 0.0]
    assert quantise(np.array([1e-300]))[0] == NEVER - 1 and share_of(NEVER - 1) > 0


def test_word_that_a_reader_rules_out_has_infinite_surprisal():
    counts = [["fox", "dog"]] * 4, [[0.5, 0.5]] * 4, [0, 0, 0.5, 0]
    made = make(tokens=WORDS, guesses={"counts": counts})
    made.at = 0
    assert "counts \N{INFINITY} nats (0 %)" in made.told() and made.means().endswith("counts \N{INFINITY}")
    made.at = 2
    assert "counts 0.69 nats (50.0 %)" in made.told()


def test_mean_surprisal_is_that_of_the_whole_sentence():
    made = make()
    made.sentence = 1
    words = ["a", "dog", "ran"]
    want = [-logits(words, seed).log_softmax(-1)[range(3), truth(words)].mean().item() for seed in (1, 10)]
    told = re.findall(r"(?:left|both) (\d+\.\d\d)", made.means())
    assert np.allclose([float(mean) for mean in told], want, rtol=0, atol=0.0056) and len(told) == 2


def test_chosen_word_stays_within_a_shorter_sentence():
    made = make()
    made.at = 3
    made.sentence = 1
    assert (made.sentence, made.at) == (1, 2)
    for name, value in (("at", 3), ("at", -1), ("sentence", 2)):
        with pytest.raises(ValueError, match=f"{name} must be an index below"):
            setattr(made, name, value)


def test_one_sentence_needs_no_lists_of_lists():
    made = make(tokens=tuple(WORDS), guesses={"left": guess(WORDS, 0)})
    assert made.sentences == [WORDS] and made.names == ["1"] and made.at == 2 and made.readers == ["left"]


def test_bfloat16_logits_and_tensors_go_in():
    rough = top_guesses(logits(WORDS, 0).bfloat16(), truth(WORDS), NAMES, 3)
    words, shares, true = rough
    made = make(tokens=WORDS, guesses={"a": rough, "b": (words, torch.tensor(shares).bfloat16(), torch.tensor(true))})
    assert made.readers == ["a", "b"]


def test_static_figure_blanks_the_word_and_tells_the_surprisals():
    made = make()
    figure = made.figure()
    assert f'alt="{ALT}"' in figure and "\u201cfox\u201d (word 3 of 4) is hidden" in figure and "<img" in figure
    made.at = 0
    assert made.figure() != figure and BLANK not in made.told()


def test_state_of_four_long_sentences_is_small():
    words = (WORDS * 16)[:64]
    one = {reader: guess(words, r, 6) for r, reader in enumerate("lrb")}
    made = make(tokens=[words] * 4, guesses=[one] * 4)
    assert len(made.levels) + len(made.places) < 25_000


GOOD = guess(WORDS, 0)
SHIFTED = [np.roll(GOOD[1], 1, 0), np.roll(GOOD[2], 1)]


@pytest.mark.parametrize("arguments, message", [
    (dict(alt="too short"), "30 characters"),
    (dict(tokens="the old fox"), "list of words, got the text"),
    (dict(tokens=[]), "3 to 64 words, got 0"),
    (dict(tokens=[WORDS] * 5, guesses=[{"a": GOOD}] * 5), "1 to 4 sentences.* got 5 and 5"),
    (dict(tokens=[WORDS] * 2), "a dict of guesses for each, got 2 and 1"),
    (dict(tokens=WORDS[:2]), "sentence 1 must have 3 to 64 words, got 2"),
    (dict(tokens=WORDS * 17), "3 to 64 words, got 68"),
    (dict(tokens=["the", " ", "fox", "slept"]), "none empty"),
    (dict(names=["a", "b"]), "1 different names"),
    (dict(tokens=[WORDS] * 2, guesses=[{"a": GOOD}] * 2, names=["x", "x"]), "2 different names"),
    (dict(guesses={}), "same 1 to 4 readers"),
    (dict(guesses={name: GOOD for name in "abcde"}), "same 1 to 4 readers"),
    (dict(tokens=[WORDS] * 2, guesses=[{"a": GOOD}, {"b": GOOD}]), r"same .* readers, got \[\['a'\], \['b'\]\]"),
    (dict(guesses={"a": GOOD[:2]}), r"'a', sentence 1: want \(words, probabilities, truth\), got 2"),
    (dict(guesses={"a": GOOD, "b": guess(WORDS, 0, 2)}), r"as many words for every place, got \[2, 3\]"),
    (dict(guesses={"a": (GOOD[0][:3], GOOD[1], GOOD[2])}), "for each of 4 places"),
    (dict(guesses={"a": (GOOD[0], GOOD[1][:, :2], GOOD[2])}), r"want probabilities \(4, 3\) and \(4,\), got \(4, 2\)"),
    (dict(guesses={"a": (GOOD[0], -GOOD[1], GOOD[2])}), "apply the softmax"),
    (dict(guesses={"a": (GOOD[0], GOOD[1] * np.nan, GOOD[2])}), "apply the softmax"),
    (dict(guesses={"a": (GOOD[0], np.full((4, 3), 0.4), GOOD[2])}), "sum to at most one"),
    (dict(guesses={"a": (GOOD[0], GOOD[1][:, ::-1], GOOD[2])}), "come likeliest first"),
    (dict(guesses={"a": ([["fox"] * 3] * 4, GOOD[1], GOOD[2])}), "words must differ"),
    (dict(guesses={"a": (np.roll(np.array(GOOD[0]), 1, 0), *SHIFTED)}), "is row i of the guesses for the word at i"),
    (dict(guesses={"a": (GOOD[0], GOOD[1], np.full(4, 0.99))}), "has probability 0.99 but"),
])  # fmt: skip
def test_explorer_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        explore_masked(**{"tokens": WORDS, "guesses": {"a": GOOD}, "alt": ALT} | arguments)


@pytest.mark.parametrize("arguments, message", [
    (dict(logits=torch.zeros(4)), r"logits must be \(T, V\)"),
    (dict(targets=truth(WORDS)[:2]), r"targets \(T,\), names V, got \(4, 7\), \(2,\) and 7"),
    (dict(names=NAMES[:3]), "names V, got .* and 3"),
    (dict(k=0), "k must be 1 to 7, got 0"),
    (dict(k=8), "k must be 1 to 7, got 8"),
])  # fmt: skip
def test_guesses_refuse_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        top_guesses(**{"logits": logits(WORDS, 0), "targets": truth(WORDS), "names": NAMES} | arguments)


def test_script_imports_nothing_and_names_no_address():
    state = make().get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
