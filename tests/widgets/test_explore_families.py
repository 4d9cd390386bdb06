"""The chart of families in Python: the front's laws, names that do not touch, words that say what is drawn."""

import base64
import re
from itertools import combinations, permutations, product

import numpy as np
import pytest

from genai_utils.widgets import sprites
from genai_utils.widgets.explore_curves import LOOKS
from genai_utils.widgets.charts import AROUND, GAPS, pareto_front, place_labels
from genai_utils.widgets.explore_families import (
    ARROWS, BETTER, HERE, INKS, KINDS, SHAPES, FamilyExplorer, cell_text, explore_families, joined, share,
)  # fmt: skip

ALT = "Four made-up families in two measures, as points with their spread, for a test."
MEASURES = {
    "distance": {"title": "Distance", "unit": "", "better": "lower", "log": False},
    "speed": {"title": "Speed", "unit": "pictures/s", "better": "higher", "log": True},
    "bits": {"title": "Likelihood", "unit": "bits", "better": "lower", "log": False},
    "entropy": {"title": "Entropy", "unit": "nats", "better": "none", "log": False},
}
STATE = ("alt", "families", "measures", "groups", "note", "x", "y", "picked", "front")


def number_of(value, wide=0.1, n=3, **more):
    return {"value": value, "low": value * (1 - wide), "high": value * (1 + wide), "n": n} | more


def table():
    return {
        "slow": {"title": "Slow one", "group": "steps", "values": {
            "distance": number_of(2), "speed": number_of(10), "bits": number_of(1.5, kind="bound"),
            "entropy": number_of(2)}},
        "quick": {"title": "Quick one", "group": "games", "values": {
            "distance": number_of(5), "speed": number_of(4000), "entropy": number_of(1.75)}},
        "poor": {"title": "Poor one", "group": "codes", "values": {
            "distance": number_of(8), "speed": number_of(500), "bits": number_of(1.25, n=1, kind="bound"),
            "entropy": number_of(2.25)}},
        "rare": {"title": "Rare one", "group": "steps", "values": {
            "distance": number_of(4), "bits": number_of(3, kind="bound")}},
    }  # fmt: skip


def make(**options):
    return explore_families(
        **{"table": table(), "measures": MEASURES, "x": "speed", "y": "distance", "alt": ALT} | options
    )


def crowd(n, seed=0, measures=("speed", "distance")):
    r = np.random.default_rng(seed)
    values = lambda: {key: number_of(float(10 ** r.uniform(0.5, 3))) for key in measures}
    return {f"f{k}": {"title": f"Family {k}", "group": "abcdef"[k % 6], "values": values()} for k in range(n)}


# ---- the front ----------------------------------------------------------------------------------------------------

CLOUDS = [  # whole numbers, so that there are ties in one number and in both
    {f"p{k}": tuple(map(float, p)) for k, p in enumerate(np.random.default_rng(seed).integers(0, 6, (n, 2)))}
    for seed, n in enumerate((1, 2, 3, 5, 8, 12, 20, 40))
]
WAYS = list(product(("lower", "higher"), repeat=2))


def beaten(p, q, better):
    """Whether q is at least as good as p in both numbers, and better in one: said the long way."""
    good = [(b < a, b == a) if way == "lower" else (b > a, b == a) for a, b, way in zip(p, q, better)]
    return all(strictly or same for strictly, same in good) and any(strictly for strictly, _ in good)


@pytest.mark.parametrize("better", WAYS, ids="-".join)
@pytest.mark.parametrize("points", CLOUDS, ids=len)
def test_no_member_of_the_front_is_beaten_and_every_other_point_is(points, better):
    front = pareto_front(points, better)
    assert front and set(front) <= set(points) and len(set(front)) == len(front)
    for name, p in points.items():
        by = [other for other in front if beaten(p, points[other], better)]
        assert bool(by) == (name not in front), f"{name} {p} against the front {front}"


@pytest.mark.parametrize("better", WAYS, ids="-".join)
def test_order_of_the_families_does_not_matter(better):
    points = CLOUDS[3]
    assert len(points) == 5
    fronts = {tuple(pareto_front(dict(items), better)) for items in permutations(points.items())}
    assert len(fronts) == 1


def test_front_is_the_same_when_a_measure_and_its_direction_are_turned():
    for points in CLOUDS:
        turned = {name: (-a, b) for name, (a, b) in points.items()}
        assert set(pareto_front(points, ("lower", "lower"))) == set(pareto_front(turned, ("higher", "lower")))


def test_front_runs_from_left_to_right_and_does_not_care_about_scale():
    for points in CLOUDS:
        front = [points[name] for name in pareto_front(points, ("lower", "lower"))]
        assert front == sorted(front) and [b for _, b in front] == sorted((b for _, b in front), reverse=True)
        bent = {name: (np.exp(a), b**3) for name, (a, b) in points.items()}
        assert pareto_front(bent, ("lower", "lower")) == pareto_front(points, ("lower", "lower"))


def test_equal_points_all_stay_and_a_point_alone_is_the_front():
    assert pareto_front({"a": (1, 2), "b": (1, 2), "c": (1, 3)}, ("lower", "lower")) == ["a", "b"]
    assert pareto_front({"a": (1, 2)}, ("higher", "lower")) == ["a"]
    assert pareto_front({}, ("higher", "lower")) == []


@pytest.mark.parametrize("points, better, message", [
    ({"a": (1, 2)}, ("lower", "none"), "'lower' or 'higher' for each number, got 'none'"),
    ({"a": (1, 2)}, ("best", "lower"), "got 'best'"),
    ({"a": (1, 2), "b": (1, np.nan)}, ("lower", "lower"), r"points\['b'\] must be 2 finite numbers, got .*nan"),
    ({"a": (1, 2, 3)}, ("lower", "lower"), r"points\['a'\] must be 2 finite numbers"),
])  # fmt: skip
def test_front_refuses_what_it_cannot_order(points, better, message):
    with pytest.raises(ValueError, match=message):
        pareto_front(points, better)


@pytest.mark.parametrize("better", WAYS, ids="-".join)
def test_step_line_is_the_best_height_among_all_that_are_as_good_across(better):
    ways = {key: MEASURES[key] | {"better": b, "log": False} for key, b in zip(("speed", "distance"), better)}
    chart = explore_families(crowd(9), ways, x="speed", y="distance", alt=ALT)
    us, vs = map(np.array, chart.steps())
    points, (mx, my) = np.array(list(chart.points().values())), chart.chosen()
    assert vs[0] == my["axis"]["hi" if better[1] == "lower" else "lo"]
    assert us[-1] == mx["axis"]["hi" if better[0] == "lower" else "lo"] and len(us) == 2 * len(chart.members()) + 2
    assert ((np.diff(us) == 0) | (np.diff(vs) == 0)).all(), "a step line has no slopes"
    best = min if better[1] == "lower" else max
    for (a, b), v, w in zip(zip(us[1:], us[2:]), vs[1:], vs[2:]):
        if a != b:
            here = (a + b) / 2
            assert v == w == best(y for x, y in points if (x <= here if better[0] == "lower" else x >= here))


# ---- what is said -------------------------------------------------------------------------------------------------

SAID = [
    ("speed", "distance", "quick", True,
     "Quick one (games): Speed 4,000 pictures/s (3,600 to 4,400; n = 3), Distance 5 (4.50 to 5.50; n = 3). On the "
     "front (filled), where no other is as good in both and better in one: Slow one and Quick one. Speed: not defined "
     "for Rare one."),
    ("bits", "distance", "slow", True,
     "Slow one (steps): Likelihood 1.50 bits, a bound (1.35 to 1.65; n = 3), Distance 2 (1.80 to 2.20; n = 3). On the "
     "front (filled), where no other is as good in both and better in one: Poor one and Slow one. Likelihood: not "
     "defined for Quick one."),
    ("bits", "speed", "quick", True,
     "Quick one (games): Likelihood not defined, Speed 4,000 pictures/s (3,600 to 4,400; n = 3). On the front "
     "(filled), where no other is as good in both and better in one: Poor one. Likelihood: not defined for Quick one. "
     "Speed: not defined for Rare one."),
    ("bits", "distance", "poor", False,
     "Poor one (codes): Likelihood 1.25 bits, a bound (n = 1), Distance 8 (7.20 to 8.80; n = 3). Likelihood: not "
     "defined for Quick one."),
    ("entropy", "distance", "slow", True,
     "Slow one (steps): Entropy 2 nats (1.80 to 2.20; n = 3), Distance 2 (1.80 to 2.20; n = 3). No front: Entropy has "
     "no better end. Entropy: not defined for Rare one."),
]  # fmt: skip


def test_state_alone_says_what_is_drawn():
    alone = FamilyExplorer(**{k: make().get_state()[k] for k in STATE})  # no kernel: the state alone
    for x, y, picked, front, want in SAID:
        with alone.hold_trait_notifications():
            alone.x, alone.y, alone.picked, alone.front = x, y, picked, front
        assert alone.sentence().replace("\N{NO-BREAK SPACE}", " ") == want


def test_family_without_a_measure_is_never_drawn():
    chart = make(x="bits")
    assert chart.points() == {"slow": (1.5, 2), "poor": (1.25, 8), "rare": (3, 4)}
    assert chart.order() == ["poor", "slow", "rare", "quick"]
    assert [row[0] for row in chart.rows()] == ["Poor one", "Slow one", "Rare one", "Quick one"]
    assert chart.rows()[3][1:] == ["not defined", chart.row("quick")[1], "no"]
    assert [row[3] for row in chart.rows()] == ["yes", "yes", "no", "no"]


def test_everything_of_a_family_is_read():
    chart = make()
    chart.picked = "rare"
    read = [[title, text.replace("\N{NO-BREAK SPACE}", " ")] for title, text in chart.everything()]
    assert read == [["Distance", "4 (3.60 to 4.40; n = 3)"], ["Speed (pictures/s)", "not defined"],
                    ["Likelihood (bits)", "3, a bound (2.70 to 3.30; n = 3)"],
                    ["Entropy (nats)", "not defined"]]  # fmt: skip


def test_axes_say_which_end_is_better_and_stand_still():
    chart = make(y="entropy")
    assert chart.axes_words() == (
        "Horizontal: Speed (logarithmic), higher is better. Vertical: Entropy, neither end is better.")  # fmt: skip
    for m in chart.measures:
        found = [f["values"][m["key"]] for f in table().values() if m["key"] in f["values"]]
        assert m["axis"]["lo"] < min(v["low"] for v in found) and max(v["high"] for v in found) < m["axis"]["hi"]
    before = [m["axis"] for m in chart.measures]
    chart.x = "bits"
    assert [m["axis"] for m in chart.measures] == before


def test_first_frame_picks_a_member_of_the_front_or_else_the_leftmost():
    assert make().picked == make().members()[0] == "slow"
    assert make(x="entropy").picked == "quick" == make(x="entropy").order()[0]


def test_what_held_out_data_score_is_said_and_stands_last_in_the_table():
    chart = make(marks={"distance": 1.0834, "bits": 0.5})
    assert " n = 3). Held-out data: Distance 1.08. On the front" in chart.sentence().replace("\N{NO-BREAK SPACE}", " ")
    assert chart.rows()[-1] == ["held-out", "\N{EN DASH}", "1.08", "no"]
    chart.x = "bits"
    assert chart.held_out() == "Held-out data: Likelihood 0.500 bits, Distance 1.08."
    assert chart.rows()[-1] == ["held-out", "0.500", "1.08", "no"]
    alone = FamilyExplorer(**{k: chart.get_state()[k] for k in STATE})
    assert alone.rows() == chart.rows() and alone.sentence() == chart.sentence()


def test_mark_lies_on_its_axis_and_is_no_family():
    marks = {"distance": 0.25, "speed": 1e6, "entropy": 9}
    chart, plain = make(marks=marks), make()
    for m, without in zip(chart.measures, plain.measures):
        if m["key"] in marks:
            assert m["axis"]["lo"] < m["mark"]["number"] == marks[m["key"]] < m["axis"]["hi"]
        else:
            assert m["mark"] is None and m["axis"] == without["axis"]
    assert chart.members() == plain.members() and chart.order() == plain.order() and chart.points() == plain.points()
    assert plain.held_out() == "" and all(row[0] != "held-out" for row in plain.rows())
    chart = make(marks={"entropy": 9})                   # a mark of a measure that is not shown
    assert chart.held_out() == "" and chart.rows() == plain.rows()


COUNTED = [
    (dict(n=3), "2 (1.80 to 2.20; n = 3)"),
    (dict(n=2000), "2 (1.80 to 2.20; n = 2,000)"),
    (dict(n=2000, seeds=1), "2 (1.80 to 2.20; n = 2,000)"),
    (dict(n=2000, seeds=3), "2 (1.80 to 2.20; 3 seeds of 2,000)"),
    (dict(n=1, seeds=3), "2 (1.80 to 2.20; 3 seeds of 1)"),
    (dict(n=3, seeds=3), "2 (1.80 to 2.20; 3 seeds)"),
    (dict(n=64, seeds=3, kind="estimate"), "2, an estimate (1.80 to 2.20; 3 seeds of 64)"),
    (dict(n=1, kind="exact"), "2, exact (n = 1)"),
    (dict(n=1, kind="bound"), "2, a bound (n = 1)"),
    (dict(n=1, kind=None), "2 (n = 1)"),
]


@pytest.mark.parametrize("given, want", COUNTED)
def test_text_of_a_number_says_its_kind_and_over_what_its_spread_is(given, want):
    assert make(table=changed(key="distance", value=2, low=1.8, high=2.2, **given)).row("slow")[1].replace(
        "\N{NO-BREAK SPACE}", " ") == want  # fmt: skip


MIXED = [
    (("exact", "bound", "estimate"), "exact values, bounds and estimates"),
    (("estimate", "exact", "exact"), "exact values and estimates"),
    ((None, "bound", "bound"), "exact values and bounds"),
    (("bound", "estimate", "bound"), "bounds and estimates"),
]


def kinds(*names):
    made = table()
    for name, kind in zip(("slow", "poor", "rare"), names):
        made[name]["values"]["bits"]["kind"] = kind
    return made


@pytest.mark.parametrize("names, want", MIXED)
def test_values_of_several_kinds_have_no_front(names, want):
    chart = make(table=kinds(*names), x="bits")
    assert chart.members() == [] and chart.steps() == ([], []) and {row[3] for row in chart.rows()} == {"no"}
    assert chart.front_words() == f"No front: Likelihood mixes {want}."
    chart.y = "entropy"
    assert chart.front_words().startswith("No front: Entropy has no better end.")
    chart.front = False
    assert chart.front_words() == ""


def test_only_the_kinds_of_the_families_shown_count():
    chart = make(table=kinds("bound", "bound", "exact"), x="bits")
    assert chart.members() == []
    chart.y = "speed"                                    # which "rare" lacks
    assert chart.members() == ["poor"]
    assert make(table=kinds("exact", None, "exact"), x="bits").members() == ["poor", "slow"]


@pytest.mark.parametrize("low, high, lo, hi", [(0, 0, 0, 0.5), (1, 1, 0.5, 1), (0.5, 0.5, 0, 1), (0, 1, 0, 1)])
def test_axis_of_a_share_does_not_leave_0_and_1(low, high, lo, hi):
    chart = shares(low, high)
    (scale,) = (m["axis"] for m in chart.measures if m["key"] == "hit")
    assert (scale["lo"], scale["hi"]) == pytest.approx((lo, hi), abs=0.05)
    assert 0 <= scale["lo"] <= low <= high <= scale["hi"] <= 1 and len(scale["ticks"]) > 1
    assert all(scale["lo"] <= v <= scale["hi"] for v, _ in scale["ticks"])
    other = shares(low, high, unit="ratio")
    assert not all(0 <= m["axis"]["lo"] and m["axis"]["hi"] <= 1 for m in other.measures if m["key"] == "hit")


def shares(low, high, unit="share of 210", marks=None):
    made = {k: {"title": k.upper(), "group": k, "values": {"hit": number_of(v, 0), "speed": number_of(w)}}
            for k, v, w in (("a", low, 2), ("b", high, 20))}  # fmt: skip
    measures = {"hit": {"title": "Hit", "unit": unit, "better": "lower", "log": False}, "speed": MEASURES["speed"]}
    return explore_families(made, measures, x="hit", y="speed", alt=ALT, marks=marks)


@pytest.mark.parametrize("words, want", [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abc"), "a, b and c")])
def test_words_are_joined(words, want):
    assert joined(words) == want


def test_groups_keep_their_colours_from_chart_to_chart():
    chart = make(groups=["games", "flows", "codes", "steps"])
    assert [f["group"] for f in chart.families] == [3, 0, 2, 3] and chart.groups[1] == "flows"
    assert make().groups == ["steps", "games", "codes"]


# ---- the picture --------------------------------------------------------------------------------------------------


def touching(a, b):
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


@pytest.mark.parametrize("seed", range(6))
def test_labels_touch_no_other_label_and_no_point_and_stay_inside(seed):
    points = [tuple(p) for p in np.random.default_rng(seed).uniform((40, 30), (300, 200), (14, 2))]
    box = (30, 10, 330, 220)
    boxes, bad = place_labels(points, [(24, 13)] * 14, box)
    assert bad == 0
    assert not any(touching(a, b) for a, b in combinations(boxes, 2))
    for i, b in enumerate(boxes):
        assert b[2] - b[0] == pytest.approx(24) and b[3] - b[1] == pytest.approx(13)
        assert box[0] <= b[0] and b[2] <= box[2] and box[1] <= b[1] and b[3] <= box[3]
        gaps = [np.hypot(*(np.array(p) - np.clip(p, b[:2], b[2:]))) for p in points]
        assert min(gaps) >= 8 and gaps[i] == min(gaps), "a name is nearest to its own point"


def test_labels_of_equal_points_stand_apart():
    boxes, bad = place_labels([(100, 100)] * 2, [(40, 13)] * 2, (0, 0, 300, 200))
    assert bad == 0 and not touching(*boxes)


def test_a_bar_is_avoided_and_too_little_room_is_counted():
    (free,), _ = place_labels([(100, 100)], [(40, 13)], (0, 0, 300, 200))
    bar = (110, 98, 160, 102)
    (moved,), bad = place_labels([(100, 100)], [(40, 13)], (0, 0, 300, 200), [bar])
    assert touching(free, bar) and not touching(moved, bar) and bad == 0
    assert place_labels([(20, 20)], [(90, 13)], (0, 0, 60, 60))[1] == 1
    assert place_labels([(k % 5 * 17, k // 5 * 17) for k in range(25)], [(60, 13)] * 25, (0, 0, 90, 90))[1] > 0


@pytest.mark.parametrize("lo, hi, log, v, want", [(0, 10, False, 4, 0.4), (1, 100, True, 10, 0.5)])
def test_share_of_an_axis(lo, hi, log, v, want):
    assert share(v, {"lo": lo, "hi": hi, "log": log}) == pytest.approx(want)


def drawn(figure):
    mime, data = re.search(r'src="data:(image/\w+);base64,([^"]+)"', figure).groups()
    return sprites.decode(base64.b64decode(data), grey=False)


def seen(figure):
    return set(map(tuple, drawn(figure).reshape(-1, 3).tolist()))


def rgb(color):
    return tuple(bytes.fromhex(color[1:]))


def test_figure_shows_the_groups_and_says_what_is_there():
    chart = make()
    figure = chart.figure()
    assert all(tuple(bytes.fromhex(color[1:])) in seen(figure) for color, _ in LOOKS[:3])
    assert tuple(bytes.fromhex(LOOKS[3][0][1:])) not in seen(figure)
    assert f'alt="{ALT}"' in figure and f"{chart.axes_words()} {chart.sentence()}</figcaption>" in figure
    chart.front = False
    assert chart.figure() != figure


def test_crowded_figure_has_numbers_that_its_caption_explains():
    two = {key: MEASURES[key] for key in ("speed", "distance")}
    crowded = explore_families(crowd(26), two, x="speed", y="distance", alt=ALT)
    assert "Numbers: 1 Family 0, 2 Family 1," in crowded.figure() and "Numbers" not in make().figure()


@pytest.mark.parametrize("at", [0, 1])
def test_symbol_on_the_edge_of_a_share_is_drawn_whole(at):
    made = [explore_families(
        {k: {"title": k.upper(), "group": k, "values": {"hit": number_of(v, 0), "speed": number_of(w, 0)}}
         for k, v, w in (("a", 1 - at, 2), ("b", b, 20), ("c", at, 200))},
        {"hit": {"title": "Hit", "unit": "share", "better": "lower"}, "speed": MEASURES["speed"]},
        x="hit", y="speed", alt=ALT) for b in (at, 0.5)]  # fmt: skip
    for chart in made:
        chart.front = False                              # so that all are filled
    edge, inside = ((drawn(chart.figure()) == rgb(LOOKS[1][0])).all(-1).sum() for chart in made)
    assert made[0].measures[0]["axis"]["hi" if at else "lo"] == at and edge > 0.9 * inside


@pytest.mark.parametrize("key", ["hit", "speed"])
def test_figure_has_a_dashed_line_at_the_mark(key):
    charts = [shares(0.2, 0.8, marks={key: v}) for v in ((0.5, 0.4) if key == "hit" else (6.0, 8.0))]
    a, b = (drawn(chart.figure()) for chart in charts)
    other = (a != b).any(-1).mean(0 if key == "hit" else 1)
    assert 2 <= (other > 0.25).sum() <= 10, "two lines, of which each is in one of the figures only"


def test_figure_of_a_chart_with_no_front_fills_all_symbols():
    mixed, hidden = (make(table=kinds("exact", "bound", "estimate"), x="bits") for _ in range(2))
    hidden.front = False
    assert (drawn(mixed.figure()) == drawn(hidden.figure())).all()


def contrast(a, b):
    light = []
    for color in (a, b):
        v = [c / 255 for c in rgb(color)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in v)
        light.append(0.2126 * r + 0.7152 * g + 0.0722 * b)
    return (max(light) + 0.05) / (min(light) + 0.05)


BACKGROUNDS = {"light": "#ffffff", "dark": "#383838"}    # dark: Colab's, the lightest of book, JupyterLab and Colab


def css_colors(theme):
    """The style sheet's colours of a theme: name -> "#rrggbb"; --gw-fg, the page's own, is left out."""
    found = {}
    for rule, body in re.findall(r"([^{}]+)\{([^{}]*)\}", FamilyExplorer._css):
        if "--gw-" in body and (theme == "dark" or "dark" not in rule):
            found |= re.findall(r"--gw-([\w-]+): *(#\w{6}|var\(--gw-[\w-]+\))", body)
    resolve = lambda v: resolve(found.get(v[9:-1], "")) if v.startswith("var") else v
    return {name: resolve(v) for name, v in found.items()}


@pytest.mark.parametrize("theme, background", BACKGROUNDS.items())
def test_names_stand_in_the_colours_of_their_groups_and_can_be_read(theme, background):
    colors = css_colors(theme)
    for g in "abcdf":                                    # e is the page's own text colour
        assert contrast(colors[f"name-{g}"], background) >= 4.5, (theme, g)
    assert colors["name-e"] == colors["e"] == ""
    if theme == "light":
        assert [colors[f"name-{g}"].lower() for g in "abcdf"] == [INKS[i].lower() for i in (0, 1, 2, 3, 5)]
        assert all(contrast(ink, "#ffffff") >= 4.5 for ink in INKS) and len(set(INKS)) == len(LOOKS)
        shown = seen(make().figure())
        assert rgb(INKS[1]) in shown and rgb(INKS[2]) in shown     # no symbol has these two


def test_page_draws_with_the_same_shapes_words_and_gaps():
    page = (HERE / "explore_families.js").read_text(encoding="utf-8")
    assert len(re.findall(r'"(M[^"]+Z)"', page.split("const BETTER")[0])) == len(SHAPES) == len(LOOKS)
    words = dict(re.findall(r'(\w+): "([^"]*)"', re.search(r"const BETTER = \{(.*?)\}", page)[1]))
    arrows = dict(re.findall(r'(\w+): "([^"]*)"', re.search(r"const ARROWS = \{(.*?)\}", page)[1]))
    assert words == BETTER and {k: v.encode().decode("unicode_escape") for k, v in arrows.items()} == ARROWS
    said = re.findall(r'(\w+): \["([^"]*)", "([^"]*)"\]', re.search(r"const KINDS = \{(.*?)\}", page)[1])
    assert {kind: tuple(words) for kind, *words in said} == KINDS and [kind for kind, *_ in said] == list(KINDS)
    around, gaps = re.search(r"const AROUND = (\[\[.*?\]\]), GAPS = \[(.*?)\]", page).groups()
    assert [tuple(map(int, pair)) for pair in re.findall(r"\[(-?\d), (-?\d)\]", around)] == list(AROUND)
    assert tuple(map(int, gaps.split(","))) == GAPS


def test_same_numbers_give_the_same_figure_and_others_another():
    a, b, c = make(), make(), make(y="entropy")
    assert a.uid == b.uid != c.uid


def test_script_imports_nothing_and_names_no_address():
    state = make().get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls


# ---- what is refused ----------------------------------------------------------------------------------------------


def without(name, key):
    return {n: {k: v for k, v in family.items() if (n, k) != (name, key)} for n, family in table().items()}


def changed(name="slow", key="speed", **numbers):
    made = table()
    made[name]["values"][key] = number_of(10) | numbers
    return made


@pytest.mark.parametrize("arguments, message", [
    (dict(alt="too short"), "30 characters"),
    (dict(table={k: table()[k] for k in ("slow",)}), "2 or more families and measures, got 1 and 4"),
    (dict(table=without("slow", "group")), r"table\['slow'\] must have .*: add \['group'\]"),
    (dict(measures=MEASURES | {"bits": {"title": "Likelihood"}}), r"measures\['bits'\].*add \['unit', 'better'\]"),
    (dict(measures=MEASURES | {"bits": MEASURES["bits"] | {"better": "up"}}), r"\['better'\] must be one of .*'up'"),
    (dict(measures=MEASURES | {"more": MEASURES["bits"]}), r"measures\['more'\] is a measure that no family has"),
    (dict(measures={k: MEASURES[k] for k in ("speed", "distance")}), r"table\['slow'\] has \['bits', 'entropy'\]"),
    (dict(x="size"), "x must be one of the measures .* got 'size'"),
    (dict(y="size"), "y must be one of the measures .* got 'size'"),
    (dict(x="distance"), "x and y must be two measures, got 'distance' for both"),
    (dict(groups=["steps", "games"]), r"groups must name every group .* add \['codes'\]"),
    (dict(groups=["steps", "games", "codes", "codes"]), "groups must be 6 or fewer, all different"),
    (dict(groups=["steps", "games", "codes", *"abcd"]), "groups must be 6 or fewer"),
    (dict(table=table() | {"slow2": table()["slow"]}), "titles must differ"),
    (dict(table=changed(value=float("nan"))), r"table\['slow'\]: 'speed' must have a finite value, got nan"),
    (dict(table=changed(low=None)), "must have a finite low, got None: leave out"),
    (dict(table=changed(low=20)), r"low <= value <= high, got 20, 10, 11.*swapped"),
    (dict(table=changed(n=0)), "must have n, a whole number of 1 or more, got 0"),
    (dict(table=changed(n=2.5)), "must have n, .* got 2.5"),
    (dict(table=changed(seeds=0)), "must have seeds, a whole number of 1 or more, got 0"),
    (dict(table=changed(kind="guess")), r"must have a kind of \['exact', 'bound', 'estimate'\], got 'guess'"),
    (dict(measures=MEASURES | {"entropy": MEASURES["entropy"] | {"unit": "share"}}),
     r"table\['slow'\]: 'entropy' must be from 0 to 1, a share, got 2"),
    (dict(marks={"distance": 1, "density": 1, "ratio": 2}), r"marks must be .*, got \['density', 'ratio'\]: leave out"),
    (dict(marks={"distance": float("nan")}), r"marks\['distance'\] must have a finite number, got nan"),
    (dict(marks={"distance": True}), r"marks\['distance'\] must have a finite number, got True"),
    (dict(marks={"speed": 0}), r"marks\['speed'\] must be above 0 on a logarithmic axis, got 0"),
    (dict(table=changed(low=0)), "must be above 0 on a logarithmic axis, got 0: give the measure log=False"),
])  # fmt: skip
def test_chart_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_two_measures_that_no_family_has_together_are_no_beginning():
    apart = {name: {"title": name, "group": "g", "values": {key: number_of(2)}} for name, key in
             (("a", "bits"), ("b", "distance"))}  # fmt: skip
    measures = {k: MEASURES[k] for k in ("bits", "distance")}
    with pytest.raises(ValueError, match="no family has both x = 'bits' and y = 'distance'"):
        explore_families(apart, measures, x="bits", y="distance", alt=ALT)


def test_a_pair_that_no_family_has_is_an_empty_chart_and_not_an_error():
    made = {name: {"title": name, "group": "g", "values": {key: number_of(2) for key in keys}} for name, keys in
            (("a", ("bits", "distance")), ("b", ("distance", "speed")))}  # fmt: skip
    three = {key: MEASURES[key] for key in ("bits", "distance", "speed")}
    chart = explore_families(made, three, x="bits", y="distance", alt=ALT)
    chart.y = "speed"
    assert chart.points() == {} and chart.members() == [] and chart.steps() == ([], [])
    assert chart.missing() == "Likelihood: not defined for b. Speed: not defined for a." and "<img" in chart.figure()


@pytest.mark.parametrize("name, value, message", [
    ("x", "size", "x must be one of"), ("y", "", "y must be one of"), ("x", "distance", "two measures"),
    ("picked", "vae", r"picked must be one of \['slow', 'quick', 'poor', 'rare'\], got 'vae'"),
])  # fmt: skip
def test_chart_refuses_a_state_that_does_not_exist(name, value, message):
    chart = make()
    with pytest.raises(ValueError, match=message):
        setattr(chart, name, value)
    assert (chart.x, chart.y, chart.picked) == ("speed", "distance", "slow")


def test_measures_of_the_axes_can_be_exchanged():
    chart = make()
    points = chart.points()
    with chart.hold_trait_notifications():
        chart.x, chart.y = chart.y, chart.x
    assert chart.points() == {name: (b, a) for name, (a, b) in points.items()}
    assert set(chart.members()) == set(make().members())


def test_cell_text_has_its_unit_between_value_and_spread():
    given = {"value": "3", "kind": "", "spread": "(1 to 4)"}
    assert cell_text(given, "nats") == "3 nats (1 to 4)"
    assert cell_text(given | {"kind": "bound"}, "nats") == "3 nats, a bound (1 to 4)"
    assert cell_text(None, "nats") == "not defined"
