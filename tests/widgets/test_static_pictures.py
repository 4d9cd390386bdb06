"""The static pictures of the widgets, drawn in the book's own style, as a chapter draws them."""

import warnings

import matplotlib
import numpy as np
import pytest

from genai_utils.widgets import (
    compare_pictures, explore_curves, explore_dilation, explore_families, explore_gates, explore_receptive_field,
    play_game, play_generation, use_style,
)  # fmt: skip

ALT = "A picture that stands in for a widget in this test, and no more."
SEEN = np.zeros((7, 7), bool)
SEEN[2, 2:4] = True
MADE = {
    "gates": lambda: explore_gates(
        "abcdef", {"h": np.linspace(-1, 1, 24).reshape(6, 4)}, alt=ALT, ranges={"h": (-1, 1)}),
    "curves": lambda: explore_curves(
        [1, 2, 3], np.arange(18.0).reshape(3, 2, 3), {"scale": [1, 2, 3]}, ["a", "b"], alt=ALT, x_label="x",
        y_label="y"),
    "families": lambda: explore_families(
        {k: {"title": k, "group": k, "values": {m: {"value": v, "low": v, "high": v, "n": 1} for m in "pq"}}
         for k, v in (("a", 1.0), ("b", 2.0))},
        {m: {"title": m, "unit": "", "better": "lower"} for m in "pq"}, x="p", y="q", alt=ALT),
    "field": lambda: explore_receptive_field({"one": [SEEN] * 3}, 4, alt=ALT),
    "dilation": lambda: explore_dilation({"doubling": [1, 2, 4]}, 10, alt=ALT),
    "generation": lambda: play_generation(np.arange(16) % 4, np.full((16, 4), 0.25), shape=(4, 4), alt=ALT),
    "game": lambda: play_game(
        {"a": {"fake": np.zeros((3, 4, 2)), "field": np.full((3, 5, 5), 0.5)}}, np.ones((6, 2)), alt=ALT,
        extent=(-2, 2)),
    "game on a line": lambda: play_game(
        {"a": {"fake": np.zeros((3, 4)), "field": np.full((3, 5), 0.5)}}, np.ones(6), alt=ALT, extent=(-2, 2)),
    "pairs": lambda: compare_pictures(np.zeros((2, 2, 8, 8), np.uint8), alt=ALT),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_static_picture_is_drawn_without_a_warning_in_the_style_of_the_book(name):
    with matplotlib.rc_context(), warnings.catch_warnings():
        use_style()
        warnings.simplefilter("error")
        assert "<img" in MADE[name]().picture()
