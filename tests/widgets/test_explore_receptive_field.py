"""The receptive field in Python: what a pixel sees, counted by hand, and masks measured with autograd."""

import re

import numpy as np
import pytest
import torch

from genai_utils.widgets import ReceptiveFieldExplorer, explore_receptive_field
from genai_utils.widgets.explore_receptive_field import BLIND, FAR, ITSELF, LATER, LEAK, SEEN

ALT = "What the pixels of a picture see, for the sake of a test of the widget."
STATE = ("alt", "bits", "names", "layers", "side", "stack", "depth", "place")


def masks(side, depth, rule):
    """Masks by a rule on (d, i, j): layers, rows below, columns to the right."""
    far = range(1 - side, side)
    return [np.array([[bool(rule(d, i, j)) for j in far] for i in far]) for d in range(1, depth + 1)]


def masked(d, i, j):
    """3 x 3 masked convolutions, the first without its middle."""
    return (i < 0 and -d <= i and -d <= j <= -i) or (i == 0 and -d <= j < 0)


def gated(d, i, j):
    return -d <= i <= 0 and -d <= j <= d and (i, j) < (0, 0)


def make(side=7, depth=4):
    stacks = {"masked": masks(side, depth, masked), "gated": masks(side, depth, gated)}
    return explore_receptive_field(stacks, side, alt=ALT)


def test_every_pixel_is_what_the_definition_says():
    explorer, n = make(), 7
    alone = ReceptiveFieldExplorer(**{k: explorer.get_state()[k] for k in STATE})         # no kernel: the state alone
    for stack, rule in enumerate((masked, gated)):
        for depth in range(1, 5):
            for place in range(n * n):
                alone.stack, alone.depth, alone.place = stack, depth, place
                r, c = divmod(place, n)
                for (y, x), tone in np.ndenumerate(alone.tones()):
                    if y * n + x >= place:
                        want = ITSELF if y * n + x == place else LATER
                    elif rule(depth, y - r, x - c):
                        want = SEEN
                    else:                               # both stacks span `depth` rows up and `depth` columns each way
                        want = BLIND if y - r >= -depth and abs(x - c) <= depth else FAR
                    assert tone == want, (stack, depth, place, y, x)


def test_masked_stack_has_a_blind_spot_and_the_gated_one_has_none():
    explorer = make()
    explorer.place = 3 * 7 + 3
    blind = []
    for stack in (0, 1):
        explorer.stack = stack
        blind.append([(explorer.tones() == BLIND).sum() for explorer.depth in (1, 2, 3)])
    assert blind == [[0, 1, 3], [0, 0, 0]]                                    # 0 + 1 + 2 + ... + (depth - 1)


def test_holes_anywhere_in_the_reach_are_blind_spots():
    lopsided = masks(5, 3, lambda d, i, j: (i, j) in ((-1, 2), (-2, -1), (0, -2)))
    explorer = explore_receptive_field({"": lopsided}, 5, alt=ALT)
    explorer.place = 12
    assert explorer.tones().tolist() == [[BLIND, SEEN, BLIND, BLIND, BLIND], [BLIND, BLIND, BLIND, BLIND, SEEN],
                                         [SEEN, BLIND, ITSELF, LATER, LATER], [LATER] * 5, [LATER] * 5]


def test_reach_takes_in_the_pixel_where_all_that_is_seen_lies_to_one_side():
    right = masks(5, 3, lambda d, i, j: (i, j) == (-1, 2))
    explorer = explore_receptive_field({"": right}, 5, alt=ALT)
    explorer.place = 12
    assert explorer.tones()[1].tolist() == [FAR, FAR, BLIND, BLIND, SEEN]


def test_masks_of_real_convolutions_go_in_as_autograd_measures_them():
    side, M = 6, 11
    kernel = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    kernel[0, 0, 1, 2:] = kernel[0, 0, 2] = 0
    found = []
    for depth in range(1, 4):
        x = torch.zeros(1, 1, M, M, dtype=torch.float64, requires_grad=True)
        y = x
        for d in range(depth):
            k = kernel.clone()
            k[0, 0, 1, 1] = float(d > 0)
            y = torch.nn.functional.conv2d(y, k, padding=1)
        found.append(torch.autograd.grad(y[0, 0, 5, 5], x)[0][0, 0] != 0)
    explorer = explore_receptive_field({"masked": found}, side, alt=ALT)
    for explorer.depth, want in zip((1, 2, 3), masks(side, 3, masked)):
        np.testing.assert_array_equal(explorer.mask(), want)


def test_sentence_counts_pixels():
    explorer = make()
    explorer.depth, explorer.place = 2, 3 * 7 + 3
    assert explorer.sentence() == ("masked, 2 layers: pixel (3, 3) sees 11 of 24 earlier pixels; 1 in the blind spot, "
                                   "12 out of reach")
    explorer.stack, explorer.depth = 1, 1
    assert explorer.sentence().startswith("gated, 1 layer: pixel (3, 3) sees 4 of 24")


def test_pixels_that_must_not_be_seen_are_pointed_out():
    leaky = masks(5, 3, lambda d, i, j: masked(d, i, j) or (i, j) in ((0, 0), (0, 1), (2, -1)))
    explorer = explore_receptive_field({"leaky": leaky}, 5, alt=ALT)
    explorer.place = 12
    tones = explorer.tones()
    assert (tones == LEAK).sum() == 3 and tones[2, 2] == tones[2, 3] == tones[4, 1] == LEAK
    assert explorer.sentence().endswith("; it also sees 3 that it must not see, itself or later ones")
    assert "it must not" in explorer.figure()


def test_first_frame_is_the_middle_pixel_at_full_depth_and_all_stacks_are_in_the_figure():
    explorer = make()
    assert (explorer.depth, explorer.place, explorer.stack) == (4, 24, 0)
    figure = explorer.figure()
    assert f'alt="{ALT}"' in figure and "masked, 4 layers" in figure and "gated, 4 layers" in figure
    assert explorer.stack == 0


def test_state_is_small():
    n = 28
    full = {name: masks(n, 12, rule) for name, rule in (("masked", masked), ("gated", gated))}
    assert len(explore_receptive_field(full, n, alt=ALT).bits) < 10_000


@pytest.mark.parametrize("arguments, message", [
    (dict(side=3), "from 4 to 32, got 3"),
    (dict(side=33), "from 4 to 32, got 33"),
    (dict(side=7.0), "from 4 to 32, got 7.0"),
    (dict(stacks={}), "1 to 4 stacks"),
    (dict(stacks=masks(7, 3, masked)), "1 to 4 stacks"),
    (dict(stacks={str(i): masks(7, 3, masked) for i in range(5)}), "1 to 4 stacks"),
    (dict(stacks={"a": masks(7, 2, masked)}), r"3 or more, one for each depth, got \{'a': 2\}"),
    (dict(stacks={"a": masks(7, 3, masked), "b": masks(7, 4, masked)}), "same number of masks"),
    (dict(stacks={"a": masks(6, 3, masked)}), r"boolean \(13, 13\), .*, got bool \(11, 11\)"),
    (dict(stacks={"a": [m.astype(int) for m in masks(7, 3, masked)]}), "got int64"),
    (dict(stacks={"a": [*masks(7, 3, masked), np.zeros((2, 2), bool)]}), r"got bool \(2, 2\)"),
    (dict(alt="too short"), "30 characters"),
])
def test_explorer_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        explore_receptive_field(**{"stacks": {"a": masks(7, 3, masked)}, "side": 7, "alt": ALT} | arguments)


def test_script_imports_nothing_and_names_no_address():
    state = make().get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
