"""The curve explorer in Python: the curves come back, the axes stand still, and numbers are written one way."""

import base64
import re
from itertools import product

import numpy as np
import pytest

from genai_utils.widgets import CurveExplorer, explore_curves, sprites
from genai_utils.widgets.explore_curves import HERE, LOOKS, axis, label, number, parts

ALT = "Three made-up lines whose height depends on two controls, for a test."
X = np.array([1, 2, 4, 8, 16])
CONTROLS = {"scale": [0.5, 1, 2, 4], "kind": ["tales", "plays"]}
LINES = ["rnn", "gru", "lstm"]
CURVES = np.random.default_rng(0).uniform(0.1, 3, (4, 2, 3, 5))
CURVES[1, 0, 2, 3] = np.nan
STATE = (
    "alt", "x", "x_texts", "curves", "banded", "lines", "controls", "numeric", "choices", "x_label", "y_label",
    "x_name", "x_unit", "y_words", "x_axis", "y_axis", "note", "reference", "setting", "at",
)  # fmt: skip


def make(**options):
    given = {"x": X, "curves": CURVES, "controls": CONTROLS, "lines": LINES, "alt": ALT}
    return explore_curves(**given | {"x_label": "distance (steps)", "y_label": "gradient norm"} | options)


@pytest.mark.parametrize("banded", [False, True])
def test_every_curve_of_every_setting_comes_back(banded):
    explorer = make(band=(CURVES - 0.05, CURVES + 0.25) if banded else None)
    alone = CurveExplorer(**{k: explorer.get_state()[k] for k in STATE})  # no kernel: the state alone
    for setting in product(range(4), range(2)):
        alone.setting = list(setting)
        curves = CURVES[setting]
        want = [curves, curves - 0.05, curves + 0.25] if banded else [curves]
        np.testing.assert_array_equal(alone.shown(), np.stack(want).astype(np.float32))


def test_sentence_reads_every_line_at_the_cursor():
    explorer = make(reference={"floor": [1, 2, 3, np.nan, 0.25]})
    explorer.setting, explorer.at = [1, 0], 3
    a, b = (number(float(np.float32(v))) for v in CURVES[1, 0, :2, 3])
    assert explorer.sentence() == f"At distance 8 steps, gradient norm: rnn {a}, gru {b}, lstm no value, floor no value"
    assert explorer.settings() == "scale 1, kind tales"
    explorer.at, explorer.setting = 4, [3, 1]
    assert explorer.sentence().endswith(f"lstm {number(float(np.float32(CURVES[3, 1, 2, 4])))}, floor 0.250")


def test_sentence_names_the_band_where_there_is_one():
    curves, low, high = np.full((3, 1, 2, 3), 2.0), np.full((3, 1, 2, 3), 1.5), np.full((3, 1, 2, 3), 40.0)
    low[0, 0, 0, 0] = np.nan
    explorer = explore_curves(
        [1, 2, 3], curves[:, 0], {"a": [1, 2, 3]}, ["p", "q"], alt=ALT, x_label="n", y_label="loss (nats)",
        band=(low[:, 0], high[:, 0]),
    )  # fmt: skip
    explorer.setting, explorer.at = [0], 0
    assert explorer.sentence() == "At n 1, loss in nats: p 2, q 2 (1.50 to 40)"


def test_axes_hold_all_settings_and_do_not_depend_on_the_setting():
    explorer = make(band=(CURVES - 0.05, CURVES + 7), reference={"roof": 12.0, "cellar": -3.0})
    lo, hi = explorer.y_axis["lo"], explorer.y_axis["hi"]
    before = dict(explorer.y_axis)
    explorer.setting = [0, 0]
    assert lo < -3 < 12 < hi and hi - lo < 1.1 * 15 and explorer.y_axis == before
    assert [explorer.x_axis[k] for k in ("lo", "hi")] == [1, 16]
    assert make().y_axis["hi"] > np.nanmax(CURVES) and make().y_axis["lo"] < np.nanmin(CURVES)
    assert make(band=(CURVES - 9, CURVES)).y_axis["lo"] < np.nanmin(CURVES) - 9 + 0.1


def test_range_of_heights_is_taken_as_it_is_given():
    y_axis = make(y_range=(1e-4, 100), log_y=True).y_axis
    assert (y_axis["lo"], y_axis["hi"], y_axis["log"]) == (1e-4, 100, True)


@pytest.mark.parametrize(
    "lo, hi, log",
    [
        (0, 1, False),
        (1e-8, 1e3, True),
        (10, 1000, True),
        (1.2, 2.5, True),
        (1.2, 2.5, False),
        (-5, 1200, False),
        (3, 3, False),
        (3, 3, True),
        (1.21, 1.23, True),
        (1e-30, 1e17, True),
        (-1e-6, 2e-6, False),
        (8, 256, True),
        (1, 100, False),
    ],
)
def test_axis_has_a_few_even_ticks_inside_with_texts_that_differ(lo, hi, log):
    found = axis(lo, hi, log)
    places, texts = zip(*found["ticks"])
    assert found["lo"] < lo and hi < found["hi"]
    assert found["lo"] <= places[0] and places[-1] <= found["hi"]
    assert 2 <= len(places) <= 9 and len(set(texts)) == len(texts)
    steps = np.diff(np.log(places) if log and len(places) > 2 and places[2] / places[1] > 5 else places)
    if not log or hi / lo > 1e4:
        np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    for place, text in found["ticks"]:
        plain = re.sub("(.*)10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)$", lambda m: (m[1].replace(" × ", "") or "1") + "e" + m[2].translate(
            str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")), text)  # fmt: skip
        assert float(plain.replace("−", "-").replace(",", "")) == pytest.approx(place, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(
    "v, text",
    [
        (0, "0"),
        (-0.0, "0"),
        (12, "12"),
        (0.5, "0.500"),
        (1234, "1,234"),
        (999999, "999,999"),
        (1e6, "1.00 × 10⁶"),
        (1234.5, "1,230"),
        (0.9996, "1.00"),
        (0.00123456, "0.00123"),
        (0.0001, "0.000100"),
        (0.00009999, "0.000100"),
        (0.0000999, "9.99 × 10⁻⁵"),
        (-2.5e-9, "−2.50 × 10⁻⁹"),
        (-31.25, "−31.3"),
        (0.3125, "0.313"),
        (1.0625e-5, "1.06 × 10⁻⁵"),
        (999999.5, "1.00 × 10⁶"),
        (3e17, "3.00 × 10¹⁷"),
    ],
)
def test_number_has_three_significant_digits(v, text):
    assert number(v) == text


def test_number_is_right_to_half_a_unit_of_its_third_digit():
    for v in 10 ** np.random.default_rng(0).uniform(-4, 6, 500):
        assert float(number(v).replace(",", "").replace(" × 10⁶", "e6").replace(" × 10⁻⁵", "e-5")) == pytest.approx(
            v, rel=5.01e-3
        )
        assert float(f"{v:.2e}") == float(number(v).replace(",", "").replace(" × 10⁶", "e6").replace(" × 10⁻⁵", "e-5"))


@pytest.mark.parametrize(
    "v, text",
    [
        (0.5, "0.5"),
        (1.0, "1"),
        (10, "10"),
        (0.25, "0.25"),
        (10.5, "10.5"),
        (2e-7, "2 × 10⁻⁷"),
        (1500, "1,500"),
        (-0.1, "−0.1"),
    ],
)
def test_label_is_a_number_without_zeros_at_its_end(v, text):
    assert label(v) == text


@pytest.mark.parametrize(
    "text, want",
    [
        ("distance (steps)", ("distance", "steps")),
        ("loss", ("loss", "")),
        ("loss (nats) of it", ("loss (nats) of it", "")),
    ],
)
def test_label_is_parted_into_name_and_unit(text, want):
    assert parts(text) == want


def test_numbers_make_sliders_and_texts_make_buttons():
    explorer = make()
    assert explorer.numeric == [True, False] and explorer.choices == [["0.5", "1", "2", "4"], ["tales", "plays"]]


def test_curves_without_controls_are_a_chart_with_a_cursor():
    explorer = make(curves=CURVES[0, 0], controls={})
    np.testing.assert_array_equal(explorer.shown()[0], CURVES[0, 0].astype(np.float32))
    assert explorer.settings() == "" and explorer.figure().count("<figcaption>At distance") == 1


def test_figure_shows_the_lines_and_says_what_they_are():
    explorer = make(reference={"floor": 1.0})
    figure = explorer.figure()
    mime, data = re.search(r'src="data:(image/\w+);base64,([^"]+)"', figure).groups()
    seen = set(map(tuple, sprites.decode(base64.b64decode(data), grey=False).reshape(-1, 3).tolist()))
    assert all(tuple(bytes.fromhex(color[1:])) in seen for color, _ in LOOKS[:3])
    assert f'alt="{ALT}"' in figure and f"scale 2, kind plays. {explorer.sentence()}." in figure
    before = explorer.figure()
    explorer.setting = [0, 0]
    assert explorer.figure() != before


def test_lines_are_told_apart_by_pattern_in_figure_and_page():
    page = (HERE / "explore_curves.js").read_text(encoding="utf-8")
    dashes = re.search(r"const DASHES = \[(.*?)\]", page)[1]
    assert [tuple(map(int, d.split())) for d in re.findall(r'"(.*?)"', dashes)] == [dash for _, dash in LOOKS]
    assert len({dash for _, dash in LOOKS}) == len({color for color, _ in LOOKS}) == len(LOOKS)


def test_state_is_small():
    assert len(make().curves) == 4 * CURVES.size


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(x=[1, 2]), "3 or more increasing numbers, got"),
        (dict(x=[1, 2, 4, 4, 16]), "increasing numbers"),
        (dict(x=[0, 2, 4, 8, 16], log_x=True), "increasing numbers, above 0 for log_x"),
        (dict(x=[1, 2, 4, 8, np.inf]), "increasing numbers"),
        (dict(lines=["rnn", "gru", "gru"]), "different names"),
        (dict(lines=list("abcdefg")), "1 to 6 different names"),
        (dict(controls=CONTROLS | {"kind": ["tales"]}), r"controls\['kind'\] must be 2 or more"),
        (dict(controls=CONTROLS | {"kind": ["tales", 1]}), r"controls\['kind'\] must be 2 or more"),
        (dict(controls=CONTROLS | {"kind": ["tales", "tales"]}), r"controls\['kind'\] must be different"),
        (dict(controls=CONTROLS | {"scale": [0.5, 2, 1, 4]}), "numbers must increase"),
        (dict(controls=CONTROLS | {"scale": [0.5, 1, 2, np.nan]}), r"controls\['scale'\] must be 2 or more"),
        (
            dict(curves=CURVES[:3]),
            r"curves must be \(controls \.\.\., lines, places\) = \(4, 2, 3, 5\), got \(3, 2, 3, 5\)",
        ),
        (dict(curves=CURVES * np.inf), "curves must be finite in float32"),
        (dict(curves=CURVES * 1e39), "curves must be finite in float32"),
        (dict(curves=CURVES * np.nan), "at least one number"),
        (dict(curves=CURVES - 1, log_y=True), "curves must be 1.2e-38 or more for log_y"),
        (dict(curves=CURVES * 1e-39, log_y=True), "put nan there, or clip it"),
        (dict(reference={"zero": 0.0}, log_y=True), "zero must be 1.2e-38 or more"),
        (dict(reference={"rnn": 0.0}), "other names than lines"),
        (dict(band=(CURVES, CURVES, CURVES)), "two arrays, lowest and highest, got 3"),
        (dict(band=(CURVES[..., 1:], CURVES)), "the low band must be"),
        (dict(band=(CURVES + 1, CURVES - 1)), "are the two swapped"),
        (dict(y_range=(1, 1)), "y_range must be"),
        (dict(y_range=(0, 1), log_y=True), "y_range must be .* above 0 for log_y"),
        (dict(alt="too short"), "30 characters"),
        (dict(x=np.arange(20_000), curves=np.ones((4, 2, 3, 20_000))), "limit is 400 kB"),
    ],
)
def test_explorer_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.parametrize("setting", [[0], [0, 0, 0], [4, 0], [0, -1]])
def test_explorer_refuses_a_setting_that_does_not_exist(setting):
    with pytest.raises(ValueError, match=r"index for each control, below \[4, 2\]"):
        make().setting = setting


def test_same_data_gives_the_same_figure_and_other_data_another():
    a, b, c = make(), make(), make(curves=CURVES[..., ::-1])
    assert a.uid == b.uid != c.uid


def test_script_imports_nothing_and_names_no_address():
    state = make().get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
