"""The attention explorer in Python: weights are stored as closely as it says, told in order, and refused when wrong."""

import base64
import re

import numpy as np
import pytest
import torch

from genai_utils.nn import SelfAttention, attention_maps
from genai_utils.widgets import AttentionExplorer, explore_attention, sprites
from genai_utils.widgets.explore_attention import TOP, flow, palette, percent, quantise, visible

ALT = "Made-up tokens and where each of them looks in two layers, for a test."
TOKENS = ["The", " fox", " saw", " the", " fox", ".", "\n", "x"]
KEYS = ["le", " renard", " vit", "."]
L, H, T, S = 2, 3, len(TOKENS), len(KEYS)
RNG = np.random.default_rng(0)
WEIGHTS = RNG.dirichlet(np.ones(T), (L, H, T))
CROSS = RNG.dirichlet(np.ones(S), (L, H, T))
STATE = ("alt", "queries", "sources", "alone", "layers", "heads", "words", "levels", "palette")


def make(**options):
    return explore_attention(**{"queries": TOKENS, "keys": None, "weights": WEIGHTS, "alt": ALT} | options)


@pytest.mark.parametrize("weights, keys", [(WEIGHTS, None), (CROSS, KEYS)])
def test_every_weight_is_stored_to_the_error_that_is_stated(weights, keys):
    explorer = make(weights=weights, keys=keys)
    alone = AttentionExplorer(**{k: explorer.get_state()[k] for k in STATE})  # no kernel: the state alone
    for layer, head, at in np.ndindex(L, H, T):
        alone.layer, alone.head, alone.at = layer, head, at
        w = weights[layer, head, at]
        assert (np.abs(alone.shares() - w) <= np.sqrt(w) / TOP + 1 / TOP**2).all()


def test_levels_of_zero_and_one_are_exact_and_levels_grow_with_weights():
    np.testing.assert_array_equal(quantise(np.array([0.0, 1.0])), [0, TOP])
    k = np.arange(TOP + 1)
    np.testing.assert_array_equal(quantise((k / TOP) ** 2), k)


def test_weights_of_a_model_come_in_as_attention_maps_leaves_them():
    x = torch.randn(1, T, 12, generator=torch.Generator().manual_seed(0))
    attention = SelfAttention(12, 3, causal=True)
    with attention_maps(torch.nn.ModuleDict({"one": attention})) as maps:
        attention(x)
    explorer = make(weights=[of_layer[0][0] for of_layer in maps.values()])
    explorer.head, explorer.at = 2, 4
    want = next(iter(maps.values()))[0][0, 2, 4]
    np.testing.assert_array_equal(explorer.grid()[4], quantise(want.numpy()))
    assert (explorer.grid()[4, 5:] == 0).all() and explorer.grid()[4, :5].all()


def test_heat_map_has_queries_from_above_and_keys_from_the_left():
    explorer = make(weights=CROSS, keys=KEYS)
    for explorer.layer, explorer.head in np.ndindex(L, H):
        pixels = explorer.pixels()
        assert pixels.shape == (T, S, 3)
        for i, j in ((0, 0), (T - 1, 0), (0, S - 1), (3, 2)):
            level = round(TOP * CROSS[explorer.layer, explorer.head, i, j] ** 0.5)
            np.testing.assert_array_equal(pixels[i, j], palette()[level, :3])


def test_sentence_tells_the_largest_weights_in_order_and_what_is_left():
    weights = np.zeros((1, 1, T, T))
    weights[..., 0] = 1
    weights[0, 0, 4] = [0.05, 0.4, 0, 0.15, 0.3, 0.1, 0, 0]
    explorer = make(weights=weights)
    explorer.at = 4
    assert explorer.sentence() == (
        "Layer 1, head 1: “·fox” (token 5 of 8) looks at “·fox” (2) 40 %, “·fox” (5) 30 %, “·the” (4) 15 %, "
        "all others together 15 %"
    )
    explorer.at = 6
    assert explorer.sentence() == "Layer 1, head 1: “↵” (token 7 of 8) looks at “The” (1) 100 %"


def test_weights_below_one_per_cent_are_told_together():
    tokens = [f"t{i}" for i in range(256)]
    explorer = make(queries=tokens, weights=np.full((1, 1, 256, 256), 1 / 256))
    assert explorer.sentence().endswith("looks at all keys together 100 %")


def test_largest_weights_are_those_of_the_row_and_ties_go_to_the_first():
    explorer = make()
    for layer, head, at in np.ndindex(L, H, T):
        explorer.layer, explorer.head, explorer.at = layer, head, at
        told, levels = explorer.largest(), explorer.grid()[at].tolist()
        assert told == sorted(range(T), key=lambda j: (-levels[j], j))[: len(told)]
        assert all(percent(explorer.shares()[j]) >= 1 for j in told)
    even = make(weights=np.full((1, 1, T, T), 1 / T))
    assert even.largest() == [0, 1, 2]


def test_names_and_words_are_those_of_the_layer_and_head():
    words = {("low", 2): "looks at the token before", ("high", 1): "copies"}
    explorer = make(names=(["low", "high"], [0, 1, 2]), words=words)
    assert explorer.words == [["", "", "looks at the token before"], ["", "copies", ""]]
    explorer.layer, explorer.head = 1, 1
    assert explorer.sentence().startswith("Layer high, head 1: ")


def test_first_frame_shows_a_head_that_has_words():
    for pair in ((1, 3), (2, 1), (2, 2)):
        explorer = make(words={pair: "it copies", (1, 1): "so does it"})
        assert (explorer.layer + 1, explorer.head + 1) == pair


def test_letters_have_contrast_on_every_colour_and_colours_darken_evenly():
    colors = palette()
    c = colors[:, :3] / 255
    y = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]  # WCAG 2
    ink = colors[:, 3] / 255
    assert set(ink.tolist()) == {0, 1}
    assert ((np.maximum(y, ink) + 0.05) / (np.minimum(y, ink) + 0.05)).min() >= 4.5
    assert (np.diff(y) <= 0).all()  # some steps are less than one of 255


@pytest.mark.parametrize(
    "token, shown", [(" the", "·the"), ("\n", "↵"), ("a\tb", "a⇥b"), ("", "∅"), ("  ", "··"), ("\ufffd", "\ufffd")]
)
def test_white_space_is_shown_by_signs(token, shown):
    assert visible(token) == shown


def test_boxes_of_tokens_do_not_overlap_and_start_anew_after_a_line_end():
    tokens = [visible(token) for token in (TOKENS * 9)]
    places = flow(tokens)
    for token, (row, column), (next_row, next_column) in zip(tokens, places, places[1:]):
        same = next_row == row and next_column >= column + len(token) + 0.6
        assert same or (next_row == row + 1 and next_column == 0)
        assert same or token == "↵" or column + len(token) > 64 - 8
    assert max(column + len(token) for token, (_, column) in zip(tokens, places)) <= 66


@pytest.mark.parametrize("weights, keys", [(WEIGHTS, None), (CROSS, KEYS)])
def test_figure_shows_the_colours_and_says_the_sentence(weights, keys):
    explorer = make(weights=weights, keys=keys)
    figure = explorer.figure()
    mime, data = re.search(r'src="data:(image/\w+);base64,([^"]+)"', figure).groups()
    seen = set(map(tuple, sprites.decode(base64.b64decode(data), grey=False).reshape(-1, 3).tolist()))
    shown = {tuple(c) for c in explorer.pixels().reshape(-1, 3).tolist()}
    assert f'alt="{ALT}"' in figure and f"{explorer.sentence()}." in figure
    assert len(shown - seen) <= 0.05 * len(shown)  # a cell may lie under the frame


@pytest.mark.parametrize("changed", [dict(weights=WEIGHTS[:, :, ::-1]), dict(weights=CROSS, keys=KEYS)])
def test_same_data_gives_the_same_figure_and_other_data_another(changed):
    assert make().uid == make().uid != make(**changed).uid


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(queries="a tale"), "queries must be a list of str"),
        (dict(queries=TOKENS[:2]), "queries must be 3 to 256 tokens, got 2"),
        (dict(queries=["a"] * 257), "got 257: choose a passage"),
        (dict(keys=[]), "keys must be 1 to 256 tokens, got 0"),
        (dict(keys=[1, 2]), "keys must be a list of str"),
        (dict(weights=WEIGHTS[0]), r"T, S = 8, 8, a row for each query, got \(3, 8, 8\)"),
        (dict(keys=KEYS), r"T, S = 8, 4, .*got \(2, 3, 8, 8\)"),
        (dict(weights=WEIGHTS * np.nan), "finite and at least 0, got nan: leave out padding"),
        (dict(weights=WEIGHTS - 0.5), "finite and at least 0, got -"),
        (dict(weights=np.log(WEIGHTS)), "finite and at least 0, got -.*: leave out padding, apply the softmax"),
        (dict(weights=WEIGHTS.swapaxes(-1, -2)), "must sum to one over the keys, got .* is the last axis the keys"),
        (dict(weights=WEIGHTS * 1.01), "must sum to one over the keys, got 1.01"),
        (dict(names=(["a"], [1, 2, 3])), r"names must hold 2 different names of layers, got \['a'\]"),
        (dict(names=([1, 2], [1, 2, 2])), "names must hold 3 different names of heads"),
        (dict(words={(3, 1): "?"}), r"words must be for \(layer, head\) of .* got \('3', '1'\)"),
        (dict(alt="too short"), "30 characters"),
        (
            dict(queries=["a"] * 256, weights=np.full((2, 4, 256, 256), 1 / 256)),
            "limit is 400 kB: take a shorter text, fewer layers or fewer heads",
        ),
    ],
)
def test_explorer_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.parametrize("name, n", [("layer", L), ("head", H), ("at", T)])
def test_explorer_refuses_an_index_that_is_not_there(name, n):
    explorer = make()
    for value in (-1, n):
        with pytest.raises(ValueError, match=f"{name} must be an index below {n}, got {value}"):
            setattr(explorer, name, value)


def test_script_imports_nothing_and_names_no_address():
    state = make().get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
