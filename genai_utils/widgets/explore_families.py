"""Families side by side: a chart of any two measures, with their spread and the front that no family beats.

Every number travels with the widget, so that it is complete without a kernel; texts of numbers are written here, once.

Shapes:  F families, M measures, G groups of families.
"""

import math
from itertools import pairwise, product
from html import escape
from numbers import Integral, Real

import numpy as np
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, img_html, script
from genai_utils.widgets.explore_curves import LOOKS, axis, number

SHAPES = ("o", "s", "^", "D", "v", "P")  # with the colours of LOOKS; explore_families.js draws the same
BETTER = {"lower": "lower is better", "higher": "higher is better", "none": "neither end is better"}
ARROWS = {"lower": "\u2190\u2193", "higher": "\u2192\u2191", "none": ""}  # to the better end, across and up
AROUND = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))  # where a name may stand
GAPS = (12, 18, 27, 38, 52, 68)  # and how far from its point, in CSS pixels


def explore_families(table, measures, *, x, y, alt, note=None, groups=None):
    """Return a chart of families in two measures that the reader chooses.

    Args:
        table: dict of F family names -> {"title", "group", "values": {measure key: {"value", "low", "high", "n"}}}:
            low and high are the ends of the spread, n is over how much it was taken; "kind" may be there too, such as
            "bound", and is shown in words. A family that lacks a measure is named below the chart and never drawn at 0.
        measures: dict of M keys -> {"title", "unit", "better", "log"}: "better" is "lower", "higher" or "none", "unit"
            may be "", and "log" asks for a logarithmic axis.
        x, y: keys of the measures shown first; one family or more must have both.
        alt: what is to be seen, in 30 characters or more.
        note: a sentence below the chart, such as what the spread is.
        groups: up to 6 names in the order of their colours; if None, those of the table as they come. Give the same to
            two charts, and their colours agree.
    Raises:
        ValueError: a name, a number or an order does not fit; the message names it and the cure.
    """
    if len(table) < 2 or len(measures) < 2:
        raise ValueError(f"need 2 or more families and measures, got {len(table)} and {len(measures)}: add some")
    for what, given, keys in (
        ("measures", measures, ("title", "unit", "better")),
        ("table", table, ("title", "group", "values")),
    ):
        for name, entry in given.items():
            if lacking := [key for key in keys if key not in entry]:
                raise ValueError(f"{what}[{name!r}] must have {list(keys)}: add {lacking}")
    for key, m in measures.items():
        if m["better"] not in BETTER:
            raise ValueError(f"measures[{key!r}]['better'] must be one of {list(BETTER)}, got {m['better']!r}")
        if not any(key in family["values"] for family in table.values()):
            raise ValueError(f"measures[{key!r}] is a measure that no family has: leave it out")
    for what, key in (("x", x), ("y", y)):
        if key not in measures:
            raise ValueError(f"{what} must be one of the measures {list(measures)}, got {key!r}")
    used = list(dict.fromkeys(str(family["group"]) for family in table.values()))
    groups = used if groups is None else [str(group) for group in groups]
    if missing := set(used) - set(groups):
        raise ValueError(f"groups must name every group of the table, got {groups}: add {sorted(missing)}")
    if len(groups) > len(SHAPES) or len(set(groups)) < len(groups):
        raise ValueError(f"groups must be {len(SHAPES)} or fewer, all different, got {groups}: join some")
    if len({str(family["title"]) for family in table.values()}) < len(table):
        raise ValueError(f"titles must differ, got {[family['title'] for family in table.values()]}: rename some")
    families = []
    for name, family in table.items():
        if unknown := set(family["values"]) - set(measures):
            raise ValueError(f"table[{name!r}] has {sorted(unknown)}, which measures do not name: add or leave out")
        cells = {key: cell(f"table[{name!r}]: {key!r}", v, measures[key]) for key, v in family["values"].items()}
        group = groups.index(str(family["group"]))
        families.append({"name": str(name), "title": str(family["title"]), "group": group, "cells": cells})
    if not any(x in family["cells"] and y in family["cells"] for family in families):
        raise ValueError(f"no family has both x = {x!r} and y = {y!r}: choose other measures to begin with")
    kept = []
    for key, m in measures.items():
        ends = [v for family in families if key in family["cells"] for v in family["cells"][key]["numbers"]]
        words = {"title": str(m["title"]), "unit": str(m["unit"]), "better": m["better"]}
        kept.append({"key": str(key)} | words | {"axis": axis(min(ends), max(ends), bool(m.get("log")))})
    first = FamilyExplorer(alt=alt, families=families, measures=kept, groups=groups, x=x, y=y, note=note or "")
    first.picked = (first.members() or first.order())[0]
    return first


def cell(where: str, v: dict, measure: dict) -> dict:
    """Return a number as {"numbers": [value, low, high], "value": words, "spread": words}; errors say `where`."""
    value, low, high, n = (v.get(key) for key in ("value", "low", "high", "n"))
    for key, given in (("value", value), ("low", low), ("high", high)):
        if not isinstance(given, Real) or isinstance(given, bool) or not math.isfinite(given):
            raise ValueError(f"{where} must have a finite {key}, got {given}: leave out what is not defined")
    if not low <= value <= high:
        raise ValueError(f"{where} must be low <= value <= high, got {low}, {value}, {high}: are they swapped?")
    if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
        raise ValueError(f"{where} must have n, a whole number of 1 or more, got {n}: count what the spread is over")
    if measure.get("log") and low <= 0:
        raise ValueError(f"{where} must be above 0 on a logarithmic axis, got {low}: give the measure log=False")
    value, low, high = float(value), float(low), float(high)
    words = [f"{number(low)} to {number(high)}"] * (n > 1) + [f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{n}"]
    words += [str(v["kind"])] if v.get("kind") else []
    return {"numbers": [value, low, high], "value": number(value), "spread": f"({'; '.join(words)})"}


def pareto_front(points, better):
    """Return the names of the points that no other point beats, in increasing order of their numbers.

    One point beats another if it is at least as good in every number and better in one; of equal points all stay.
    Only the points themselves count: two that differ by less than their spread are still told apart.

    Args:
        points: dict of name -> as many finite numbers as `better` has entries.
        better: "lower" or "higher" for each number.
    Raises:
        ValueError: a number is missing or not finite, or `better` has something else in it.

    >>> points = {"fast": (1, 9), "good": (7, 2), "both": (3, 3), "neither": (8, 8), "twin": (3, 3)}
    >>> pareto_front(points, ("lower", "lower"))
    ['fast', 'both', 'twin', 'good']
    >>> pareto_front(points, ("higher", "lower"))
    ['good', 'neither']
    """
    if wrong := [b for b in better if b not in ("lower", "higher")]:
        raise ValueError(f"better must be 'lower' or 'higher' for each number, got {wrong[0]!r}: there is no front")
    for name, p in points.items():
        if len(p) != len(better) or not all(math.isfinite(v) for v in p):
            raise ValueError(f"points[{name!r}] must be {len(better)} finite numbers, got {p}: leave it out")
    cost = {name: [v if b == "lower" else -v for v, b in zip(p, better)] for name, p in points.items()}
    beats = lambda a, b: a != b and all(u <= v for u, v in zip(a, b))
    left = [name for name in points if not any(beats(other, cost[name]) for other in cost.values())]
    return sorted(left, key=lambda name: (*points[name], name))


def place_labels(points, sizes, box, bars=()):
    """Return where labels stand beside their points: (F boxes as (left, top, right, bottom), how many stand badly).

    Each label takes the best of 48 places around its point, given where all others stand, three times over. It stands
    badly if it lies on a point, on another label or over the edge of `box`, or is nearer to another point than to its
    own; a bar is crossed sooner than that.

    Args:
        points: F places (across, down).
        sizes: F sizes (width, height).
        box: the (left, top, right, bottom) that they must not leave.
        bars: lines that are better not crossed, as boxes.
    """
    touch = lambda a, b: a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    dots, stand, bad = [(u - 8, v - 8, u + 8, v + 8) for u, v in points], [None] * len(points), [0] * len(points)
    far = lambda p, b: math.dist(p, (min(max(p[0], b[0]), b[2]), min(max(p[1], b[1]), b[3])))
    for _ in range(3):
        for i, (p, (w, h)) in enumerate(zip(points, sizes)):
            best, others = math.inf, [b for both in (dots, stand) for j, b in enumerate(both) if b and j != i]
            for gap, (k, (dx, dy)) in product(GAPS, enumerate(AROUND)):
                away = gap * 0.75 if dx and dy else gap
                a, b = p[0] + dx * (away + w / 2) - w / 2, p[1] + dy * (away + h / 2) - h / 2
                at = (a, b, a + w, b + h)
                out = a < box[0] or b < box[1] or at[2] > box[2] or at[3] > box[3]
                hits = out + sum(touch(at, other) for other in others)
                stray = any(far(q, at) < far(p, at) for q in points)
                cost = 1000 * hits + 60 * stray + 6 * sum(touch(at, bar) for bar in bars) + gap / 2 + k / 4
                if cost < best:
                    best, stand[i], bad[i] = cost, at, bool(hits or stray)
    return stand, sum(bad)


def joined(words: list[str]) -> str:
    """Return "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


class FamilyExplorer(View):
    """The widget that `explore_families` returns; `x`, `y`, `picked` and `front` follow the reader and may be set.

    To exchange x and y, set both within `hold_trait_notifications()`: they must differ at any time.
    """

    _esm = script("explore_families")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "explore_families.css"))
    families = t.List(t.Dict()).tag(sync=True)  # name, title, group (an index), cells (see `cell`)
    measures = t.List(t.Dict()).tag(sync=True)  # key, title, unit, better, axis
    groups = t.List(t.Unicode()).tag(sync=True)
    note = t.Unicode().tag(sync=True)
    x = t.Unicode().tag(sync=True)  # key of a measure
    y = t.Unicode().tag(sync=True)
    picked = t.Unicode().tag(sync=True)  # name of a family
    front = t.Bool(True).tag(sync=True)  # whether it is shown

    @t.validate("x", "y", "picked")
    def _is_possible(self, proposal):
        name, value = proposal.trait.name, proposal.value
        known = [f["name"] for f in self.families] if name == "picked" else [m["key"] for m in self.measures]
        if value not in known and (value or name != "picked"):
            raise ValueError(f"{name} must be one of {known}, got {value!r}")
        if name != "picked" and value == (self.y if name == "x" else self.x):
            raise ValueError(f"x and y must be two measures, got {value!r} for both: choose another for one of them")
        return value

    def chosen(self) -> list[dict]:
        """Return the two measures that are shown."""
        of = {m["key"]: m for m in self.measures}
        return [of[self.x], of[self.y]]

    def points(self) -> dict[str, tuple[float, float]]:
        """Return the families that have both measures: name -> (value across, value up), in the table's order."""
        return {
            f["name"]: (f["cells"][self.x]["numbers"][0], f["cells"][self.y]["numbers"][0])
            for f in self.families
            if self.x in f["cells"] and self.y in f["cells"]
        }

    def order(self) -> list[str]:
        """Return all families in the order of the slider and of the table: from left to right, then those not drawn."""
        points = self.points()
        return sorted(points, key=points.get) + [f["name"] for f in self.families if f["name"] not in points]

    def members(self) -> list[str]:
        """Return the families on the front, from left to right; none where a measure has no better end."""
        better = [m["better"] for m in self.chosen()]
        return [] if "none" in better else pareto_front(self.points(), better)

    def titles(self, names) -> list[str]:
        """Return what the families are called."""
        of = {f["name"]: f["title"] for f in self.families}
        return [of[name] for name in names]

    def axes_words(self) -> str:
        """Return what the two axes measure and which end is better, in words."""
        return " ".join(
            f"{way}: {m['title']}{' (logarithmic)' if m['axis']['log'] else ''}, {BETTER[m['better']]}."
            for way, m in zip(("Horizontal", "Vertical"), self.chosen())
        )

    def row(self, name: str) -> list[str]:
        """Return the texts of a family's two measures, without units."""
        cells = next(f["cells"] for f in self.families if f["name"] == name)
        return [cell_text(cells.get(m["key"])) for m in self.chosen()]

    def rows(self) -> list[list[str]]:
        """Return the table that the page has for a text alternative: title, both measures, whether on the front."""
        members = self.members()
        return [[*self.titles([name]), *self.row(name), "yes" if name in members else "no"] for name in self.order()]

    def everything(self) -> list[list[str]]:
        """Return all numbers of the picked family: a measure with its unit, and its text."""
        cells = next((f["cells"] for f in self.families if f["name"] == self.picked), {})
        return [[with_unit(m), cell_text(cells.get(m["key"]))] for m in self.measures]

    def read(self) -> str:
        """Return both numbers of the picked family, in words."""
        family = next((f for f in self.families if f["name"] == self.picked), None)
        if family is None:
            return ""
        said = (f"{m['title']} {cell_text(family['cells'].get(m['key']), m['unit'])}" for m in self.chosen())
        return f"{family['title']} ({self.groups[family['group']]}): {', '.join(said)}."

    def front_words(self) -> str:
        """Return the members of the front in words, or why there is none; nothing if it is not shown."""
        names = [m["title"] for m in self.chosen() if m["better"] == "none"]
        if names and self.front:
            return f"No front: {joined(names)} {'has' if len(names) == 1 else 'have'} no better end."
        members = self.titles(self.members())
        if not members or not self.front:
            return ""
        return f"On the front (filled), where no other is as good in both and better in one: {joined(members)}."

    def missing(self) -> str:
        """Return in words for which families a shown measure is not defined; nothing if there are none."""
        said = []
        for m in self.chosen():
            if names := [f["title"] for f in self.families if m["key"] not in f["cells"]]:
                said.append(f"{m['title']}: not defined for {joined(names)}.")
        return " ".join(said)

    def sentence(self) -> str:
        """Return what is shown now, in words: the picked family, the front, and who is not drawn."""
        return " ".join(filter(None, (self.read(), self.front_words(), self.missing())))

    def picture(self) -> str:
        W, H = 640, 434  # hundredths of an inch, and CSS pixels on the page; counted from above
        (mx, my), members = self.chosen(), self.members()
        left = 24 + 7 * max((len(text) for _, text in my["axis"]["ticks"]), default=0)
        box = (left, 30, W - 14, H - 58 - 18 * math.ceil(len(self.groups) / 3))
        fig = Figure(figsize=(W / 100, H / 100), dpi=100, layout="none")
        canvas = FigureCanvasAgg(fig)
        ax = fig.add_axes((box[0] / W, 1 - box[3] / H, (box[2] - box[0]) / W, (box[3] - box[1]) / H))
        for which, m in (("x", mx), ("y", my)):
            scale = m["axis"]
            getattr(ax, f"set_{which}scale")("log" if scale["log"] else "linear")
            getattr(ax, f"set_{which}lim")(scale["lo"], scale["hi"])
            getattr(ax, f"set_{which}ticks")([], minor=True)
            getattr(ax, f"set_{which}ticks")([v for v, _ in scale["ticks"]], [text for _, text in scale["ticks"]])
        ax.tick_params(labelsize=8.5)
        write = lambda u, v, text, **how: fig.text(u / W, 1 - v / H, text, va="center", parse_math=False, **how)
        write(W - 14, box[3] + 34, axis_label(mx, 0), ha="right", fontsize=9)
        write(10, 14, axis_label(my, 1), ha="left", fontsize=9)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        if self.front and members:
            ax.plot(*self.steps(), color="0.25", linewidth=1.2, zorder=1)
        across = lambda u: box[0] + share(u, mx["axis"]) * (box[2] - box[0])
        down = lambda v: box[3] - share(v, my["axis"]) * (box[3] - box[1])
        shown, dots, bars = [f for f in self.families if f["name"] in self.points()], [], []
        for f in shown:
            color, marker = LOOKS[f["group"]][0], SHAPES[f["group"]]
            (u, *us), (v, *vs) = (f["cells"][m["key"]]["numbers"] for m in (mx, my))
            ax.plot(us, [v, v], color=color, linewidth=1.1)
            ax.plot([u, u], vs, color=color, linewidth=1.1)
            face = color if f["name"] in members or not self.front else "white"
            ax.plot(u, v, marker, color=color, markerfacecolor=face, markersize=7, markeredgewidth=1.5, zorder=3)
            if f["name"] == self.picked:
                ax.plot(u, v, "o", color="0.1", markerfacecolor="none", markersize=14, markeredgewidth=1.2)
            dots.append((across(u), down(v)))
            bars += [(across(us[0]), down(v) - 1, across(us[1]), down(v) + 1)]
            bars += [(across(u) - 1, down(vs[1]), across(u) + 1, down(vs[0]))]
        trail = [(across(u), down(v)) for u, v in zip(*self.steps())]  # names avoid it, whether it is shown or not
        bars += [(min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1) for (a, b), (c, d) in pairwise(trail)]

        def place(names):
            texts = [fig.text(0, 0, name, fontsize=8, parse_math=False) for name in names]
            sizes = [(text.get_window_extent().width + 4, 13) for text in texts]
            for text in texts:
                text.remove()
            return place_labels(dots, sizes, box, bars)

        names, numbered = [f["title"] for f in shown], ""
        boxes, bad = place(names)
        if bad:  # numbers need less room than names
            names = [str(self.families.index(f) + 1) for f in shown]
            boxes, _ = place(names)
            numbered = " Numbers: " + ", ".join(f"{k} {f['title']}" for k, f in zip(names, shown)) + "."
        for name, dot, (a, b, c, d) in zip(names, dots, boxes):
            near = (min(max(dot[0], a), c), min(max(dot[1], b), d))
            if math.dist(near, dot) > 20:
                line = [(dot[0] / W, near[0] / W), (1 - dot[1] / H, 1 - near[1] / H)]
                fig.add_artist(Line2D(*line, color="0.5", linewidth=0.7, zorder=0))
            write((a + c) / 2, (b + d) / 2, name, ha="center", fontsize=8)
        samples = [ax.plot([], [], SHAPES[g], color=LOOKS[g][0], markersize=6)[0] for g in range(len(self.groups))]
        fig.legend(samples, self.groups, loc="lower center", ncols=3, frameon=False, fontsize=8.5, handletextpad=0.2)
        fig.set_dpi(150)
        canvas.draw()
        data, mime = sprites.encode(np.asarray(canvas.buffer_rgba())[..., :3])
        words = f"{self.axes_words()} {self.sentence()}{numbered}"
        return f"{img_html(data, mime, self.alt, W)}<figcaption>{escape(words)}</figcaption>"

    def steps(self) -> tuple[list[float], list[float]]:
        """Return the front as a step line, places across and up, out to the worse ends of both axes; [] if none."""
        points, (mx, my) = self.points(), self.chosen()
        if not self.members():
            return [], []
        worst = [m["axis"]["hi" if m["better"] == "lower" else "lo"] for m in (mx, my)]
        corners = sorted((points[name] for name in self.members()), reverse=mx["better"] == "higher")
        us, vs = [corners[0][0]], [worst[1]]
        for u, v in corners:
            us, vs = [*us, u, u], [*vs, vs[-1], v]
        return [*us, worst[0]], [*vs, vs[-1]]


def cell_text(given: dict | None, unit: str = "") -> str:
    """Return a value, its unit and its spread in words."""
    return " ".join(filter(None, (given["value"], unit, given["spread"]))) if given else "not defined"


def with_unit(measure: dict) -> str:
    """Return a measure's title, and its unit in brackets if it has one."""
    return f"{measure['title']} ({measure['unit']})" if measure["unit"] else measure["title"]


def axis_label(measure: dict, side: int) -> str:
    """Return what stands at an axis, 0 across and 1 up: the measure, its unit, and an arrow to its better end."""
    arrow = ARROWS[measure["better"]]
    return with_unit(measure) + (f" \N{MIDDLE DOT} better {arrow[side]}" if arrow else "")


def share(v: float, scale: dict) -> float:
    """Return where a number lies on an axis, 0 at its lowest and 1 at its highest."""
    v, lo, hi = (math.log(q) for q in (v, scale["lo"], scale["hi"])) if scale["log"] else (v, scale["lo"], scale["hi"])
    return (v - lo) / (hi - lo)
