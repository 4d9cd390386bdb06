"""The gate explorer in Python: values are stored to half a step, colours can be read, and the sentence is right."""

import base64
import re

import numpy as np
import pytest
import torch

from genai_utils.widgets import GateExplorer, explore_gates, sprites
from genai_utils.widgets.explore_gates import STEPS, palette, quantise, two

ALT = "A short text and what five units hold while they read it, for a test."
TEXT = "The fox ran.\nThe end."
T, U = len(TEXT), 5
RNG = np.random.default_rng(0)
VALUES = {"hidden": np.tanh(RNG.normal(size=(T, U)) * 2), "forget gate": RNG.random((T, U))}
RANGES = {"hidden": (-1, 1), "forget gate": (0, 1)}
STATE = ("alt", "text", "names", "ranges", "units", "words", "levels", "palettes")


def make(**options):
    return explore_gates(**{"text": TEXT, "values": VALUES, "ranges": RANGES, "alt": ALT} | options)


def luminance(colors):
    c = np.asarray(colors) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]  # WCAG 2


def test_every_value_is_stored_to_half_a_step_of_its_range():
    explorer = make()
    alone = GateExplorer(**{k: explorer.get_state()[k] for k in STATE})  # no kernel: the state alone
    for alone.quantity, (name, (lo, hi)) in enumerate(RANGES.items()):
        for alone.at in range(T):
            for alone.unit in range(U):
                error = alone.value() - VALUES[name][alone.at, alone.unit]
                assert abs(error) <= (hi - lo) / STEPS / 2 + 1e-12


@pytest.mark.parametrize("lo, hi", [(-1, 1), (0, 1), (-3.5, 3.5), (-0.2, 7)])
def test_ends_of_a_range_and_zero_in_a_symmetric_one_are_exact(lo, hi):
    levels = quantise(np.array([lo, (lo + hi) / 2, hi]), lo, hi)
    np.testing.assert_array_equal(levels, [0, STEPS // 2, STEPS])
    assert lo + (hi - lo) * (STEPS // 2) / STEPS == pytest.approx((lo + hi) / 2, abs=1e-15)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, lambda v: torch.from_numpy(v).float().requires_grad_()])
def test_arrays_and_tensors_give_the_same_widget(kind):
    values = {name: v.astype(np.float32).astype(float) for name, v in VALUES.items()}
    assert make(values={name: kind(v) for name, v in values.items()}).levels == make(values=values).levels


def test_heat_map_has_units_from_above_and_characters_from_the_left():
    explorer = make()
    for explorer.quantity, name in enumerate(VALUES):
        pixels = explorer.pixels()
        assert pixels.shape == (U, T, 3)
        lo, hi = RANGES[name]
        for i, u in ((0, 0), (T - 1, 0), (0, U - 1), (3, 2)):
            level = round((VALUES[name][i, u] - lo) / (hi - lo) * STEPS)
            np.testing.assert_array_equal(pixels[u, i], palette(lo, hi)[level, :3])


@pytest.mark.parametrize("lo, hi", [(-1, 1), (0, 1), (-1, 3), (-4, 0.5), (2, 5)])
def test_letters_have_contrast_on_every_colour(lo, hi):
    colors = palette(lo, hi)
    back, ink = luminance(colors[:, :3]), luminance(np.repeat(colors[:, 3:], 3, 1))
    assert set(colors[:, 3].tolist()) <= {0, 255}
    assert ((np.maximum(back, ink) + 0.05) / (np.minimum(back, ink) + 0.05)).min() >= 4.5


def test_colours_tell_the_sign_and_grow_with_the_size():
    c = palette(-1, 1)[:, :3].astype(int)
    red, blue = c[:, 0], c[:, 2]
    middle = STEPS // 2
    assert (blue > red)[: middle - 3].all() and (red > blue)[middle + 4 :].all()
    np.testing.assert_array_equal(c[middle], [247] * 3)
    far = np.abs(c - 247).sum(1)
    assert (np.diff(far[: middle + 1]) <= 0).all() and (np.diff(far[middle:]) >= 0).all()


def test_zero_is_neutral_in_a_lopsided_range_and_the_longer_side_is_the_stronger():
    c = palette(-1, 3)[:, :3].astype(int)
    far = np.abs(c - 247).sum(1)
    assert abs(int(far.argmin()) - STEPS / 4) <= 1
    np.testing.assert_array_equal(c[-1], [213, 94, 0])
    assert 0.2 < far[0] / far[-1] < 0.5  # a third of the way


def test_gates_go_from_neutral_to_blue():
    c = palette(0, 1)[:, :3].astype(int)
    np.testing.assert_array_equal(c[[0, -1]], [[247] * 3, [0, 114, 178]])
    assert (np.diff(luminance(c)) <= 0).all()


def test_sentence_names_character_quantity_unit_and_value():
    explorer = make(units=[3, 14, 15, 92, 65])
    explorer.quantity, explorer.unit, explorer.at = 1, 3, 4
    want = f"{round(VALUES['forget gate'][4, 3] * STEPS) / STEPS:.2f}"
    assert explorer.sentence() == f"After “f” (character 5 of {T}): forget gate of unit 92 is {want}"
    explorer.at = 3
    assert explorer.sentence().startswith("After a space (character 4 ")
    explorer.at = 12
    assert explorer.sentence().startswith("After a line end (character 13 ")


@pytest.mark.parametrize(
    "v, text",
    [
        (0.125, "0.13"),
        (-0.125, "−0.13"),
        (0.375, "0.38"),
        (-0.004, "0.00"),
        (-0.0, "0.00"),
        (1, "1.00"),
        (-12.3456, "−12.35"),
    ],
)
def test_two_decimals_round_ties_away_from_zero_and_have_no_negative_zero(v, text):
    assert two(v) == text


def test_first_frame_shows_the_unit_that_moves_most():
    explorer = make()
    assert explorer.unit == np.argmax([np.std(VALUES["hidden"][:, u]) for u in range(U)]) and explorer.at == T // 2


def test_figure_shows_the_colours_and_says_the_sentence():
    explorer = make()
    figure = explorer.figure()
    mime, data = re.search(r'src="data:(image/\w+);base64,([^"]+)"', figure).groups()
    seen = set(map(tuple, sprites.decode(base64.b64decode(data), grey=False).reshape(-1, 3).tolist()))
    shown = {tuple(c) for c in explorer.pixels().reshape(-1, 3).tolist()}
    assert f'alt="{ALT}"' in figure and f"{explorer.sentence()}." in figure.replace("&quot;", '"')
    assert len(shown - seen) <= 0.05 * len(shown)  # a cell may lie under the marks


def test_letters_that_formulas_use_are_shown_as_they_are():
    assert "<img" in make(text="a$b^{c$d_\\frac{1}2"[:T].ljust(T, "$")).figure()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(text="ab"), "str of 3 to 600 characters, got 2"),
        (dict(text="a" * 601), "got 601"),
        (dict(values={}), "at least one quantity"),
        (
            dict(values={"hidden": VALUES["hidden"][1:]}),
            r"\(T, U\) = \(21, 5\), a row for each character, got \(20, 5\)",
        ),
        (dict(values=VALUES | {"forget gate": np.zeros((T, 4))}), r"values\['forget gate'\] must be .* got \(21, 4\)"),
        (dict(values={"hidden": np.full((T, U), np.nan)}, ranges={"hidden": (-1, 1)}), "must be finite, got nan"),
        (dict(ranges={"hidden": (-1, 1)}), "ranges must name the quantities"),
        (dict(ranges=RANGES | {"cell": (-1, 1)}), "ranges must name the quantities"),
        (dict(ranges=RANGES | {"hidden": (0, 1)}), r"ranges\['hidden'\] must hold every value, from -.*: widen it"),
        (dict(ranges=RANGES | {"hidden": (-1, 0)}), r"ranges\['hidden'\] must hold every value"),
        (dict(ranges=RANGES | {"hidden": (1, -1)}), r"got \(1.0, -1.0\)"),
        (dict(words={"input gate": "lets in"}), "words must name the quantities"),
        (dict(units=[1, 2, 3]), "units must be 5 different names"),
        (dict(units=[1, 2, 3, 4, 4]), "units must be 5 different names"),
        (dict(alt="too short"), "30 characters"),
        (dict(text="a" * 600, values={"hidden": np.zeros((600, 700))}, ranges={"hidden": (-1, 1)}), "limit is 400 kB"),
    ],
)
def test_explorer_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_same_data_gives_the_same_figure_and_other_data_another():
    a, b, c = make(), make(), make(values={name: v[::-1] for name, v in VALUES.items()})
    assert a.uid == b.uid != c.uid


def test_script_imports_nothing_and_names_no_address():
    state = make().get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
