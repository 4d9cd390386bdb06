"""The tree of dilated convolutions in Python: what an output reads is what autograd says, and the counts are exact."""

import re

import pytest
import torch

from genai_utils.widgets import DilationExplorer, explore_dilation
from genai_utils.widgets.explore_dilation import tree

ALT = "Trees of dilated causal convolutions, for the sake of a test of the widget."
DESIGNS = {"doubling": [1, 2, 4, 8], "plain": [1, 1, 1], "holes": [2, 4, 2], "far": [2**k for k in range(10)]}
STATE = ("alt", "names", "designs", "steps", "rate", "design", "layers", "position")


def make(**options):
    return explore_dilation(**{"designs": DESIGNS, "steps": 24, "alt": ALT} | options)


@pytest.mark.parametrize("name", ["doubling", "plain", "holes"])
def test_lit_inputs_are_those_with_a_gradient(name):
    explorer = make(rate=8000)
    alone = DilationExplorer(**{k: explorer.get_state()[k] for k in STATE})               # no kernel: the state alone
    alone.design = list(DESIGNS).index(name)
    for alone.layers in range(1, len(DESIGNS[name]) + 1):
        for alone.position in range(24):
            rows = [torch.zeros(1, 1, 24, dtype=torch.float64, requires_grad=True)]
            for d in DESIGNS[name][: alone.layers]:
                padded = torch.nn.functional.pad(rows[-1], (d, 0))
                rows.append(torch.nn.functional.conv1d(padded, torch.ones(1, 1, 2, dtype=torch.float64), dilation=d))
            grads = torch.autograd.grad(rows[-1][0, 0, alone.position], rows)
            assert alone.lit() == [g[0, 0].nonzero()[:, 0].tolist() for g in grads[::-1]]


def test_tree_lists_zeros_before_the_start():
    assert tree([1, 2], 1) == [[1], [-1, 1], [-2, -1, 0, 1]]


def test_receptive_field_is_one_more_than_the_sum_of_dilations_where_nothing_is_skipped():
    for dilations in ([1, 2, 4, 8], [1, 1, 1], [1, 2, 4, 1, 2, 4]):
        inputs = tree(dilations, 100)[-1]
        assert inputs == list(range(100 - sum(dilations), 101))


def test_sentence_gives_reach_time_and_costs():
    explorer = make(rate=16000)
    assert explorer.sentence() == ("4 layers, dilations 1, 2, 4, 8: the output at 23 reaches over 16 samples "
                                   "(1.00 ms). One more output computes 15 values, or 4 with a cache")
    explorer.position = 5
    assert "over 16 samples (1.00 ms), 10 of them before the start, zeros. One" in explorer.sentence()
    explorer.design, explorer.layers, explorer.position = 1, 3, 23
    assert "over 4 samples (0.25 ms). One more output computes 6 values, or 3 with" in explorer.sentence()
    explorer.layers = 1
    assert explorer.sentence() == ("1 layer, dilation 1: the output at 23 reaches over 2 samples (0.13 ms). "
                                   "One more output computes 1 value, or 1 with a cache")      # 0.125: a tie goes up
    explorer.design, explorer.layers = 3, 10
    assert "over 1024 samples (64.00 ms), 1000 of them before the start, zeros." in explorer.sentence()
    assert "computes 1023 values, or 10 with" in explorer.sentence()


def test_skipped_samples_are_said_and_no_rate_gives_no_time():
    explorer = make(designs={"holes": [2, 4, 2]})
    assert "reaches over 9 samples, 4 of them skipped. One more output computes 7 values" in explorer.sentence()


def test_output_at_the_first_position_past_the_field_reads_no_zeros():
    explorer = make()
    explorer.position = 15
    assert "zeros" not in explorer.sentence()
    explorer.position = 14
    assert "1 of them before the start" in explorer.sentence()


def test_first_frame_shows_the_whole_first_design():
    explorer = make()
    assert (explorer.design, explorer.layers, explorer.position) == (0, 4, 23)
    figure = explorer.figure()
    assert f'alt="{ALT}"' in figure and f"doubling: {explorer.sentence()}." in figure


@pytest.mark.parametrize("arguments, message", [
    (dict(designs={}), "1 to 6 designs"),
    (dict(designs=[1, 2, 4]), "1 to 6 designs"),
    (dict(designs={str(i): [1, 2, 4] for i in range(7)}), "1 to 6 designs"),
    (dict(designs={"a": [1, 2]}), "'a' must have 3 to 12 layers, got 2"),
    (dict(designs={"a": [1] * 13}), "3 to 12 layers, got 13"),
    (dict(designs={"a": [1, 0, 2]}), r"whole numbers, 1 or more, .* got \[1, 0, 2\]"),
    (dict(designs={"a": [1, 1.5, 2]}), "whole numbers"),
    (dict(designs={"a": [2000, 2000, 2000]}), "sum below 4096"),
    (dict(steps=7), "from 8 to 40, got 7"),
    (dict(steps=41), "from 8 to 40, got 41"),
    (dict(steps=16.0), "from 8 to 40, got 16.0"),
    (dict(rate=0), "rate must be samples in a second, above 0, or None, got 0"),
    (dict(rate=float("nan")), "above 0"),
    (dict(alt="too short"), "30 characters"),
])
def test_explorer_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_script_imports_nothing_and_names_no_address():
    state = make().get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
