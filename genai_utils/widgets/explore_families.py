"""Families side by side: a chart of any two measures, with their spread and the front that no family beats.

Every number travels with the widget, so that it is complete without a kernel; texts of numbers are written here, once.

Shapes:  F families, M measures, G groups of families.
"""

import math
from functools import partial
from itertools import pairwise
from html import escape
from numbers import Integral, Real

import numpy as np
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, img_html, script
from genai_utils.widgets.charts import pareto_front, place_labels
from genai_utils.widgets.explore_curves import LOOKS, axis, number

SHAPES = ("o", "s", "^", "D", "v", "P")  # with the colours of LOOKS; explore_families.js draws the same
INKS = ("#0072B2", "#b84f00", "#007a59", "#a3478a", "#222222", "#8a6a00")  # those colours, dark enough for names
KINDS = {"exact": ("exact", "exact values"), "bound": ("a bound", "bounds"), "estimate": ("an estimate", "estimates")}
BETTER = {"lower": "lower is better", "higher": "higher is better", "none": "neither end is better"}
ARROWS = {"lower": "\u2190\u2193", "higher": "\u2192\u2191", "none": ""}  # to the better end, across and up


def explore_families(table, measures, *, x, y, alt, note=None, groups=None, marks=None):
    """Return a chart of families in two measures that the reader chooses.

    Args:
        table: dict of F family names -> {"title", "group", "values": {measure key: {"value", "low", "high", "n"}}}:
            low and high are the ends of the spread, n is over how much it was taken, of each seed if "seeds" is there
            and above 1. "kind" may be there too, and is shown in words: "exact", as if not given, "bound" or
            "estimate"; there is no front where the families shown have several kinds. A family that lacks a measure is
            named below the chart and never drawn at 0.
        measures: dict of M keys -> {"title", "unit", "better", "log"}: "better" is "lower", "higher" or "none", "unit"
            may be "", and "log" asks for a logarithmic axis. A unit that begins with "share" is of numbers from 0 to 1,
            and its axis does not leave them.
        x, y: keys of the measures shown first; one family or more must have both.
        alt: what is to be seen, in 30 characters or more.
        note: a sentence below the chart, such as what the spread is.
        groups: up to 6 names in the order of their colours; if None, those of the table as they come. Give the same to
            two charts, and their colours agree.
        marks: dict of measure key -> what held-out data score in it, as perfect samples would: a dashed line.
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
    marks = marks or {}
    if unknown := [key for key in marks if key not in measures]:
        raise ValueError(f"marks must be of the measures {list(measures)}, got {unknown}: leave out")
    for key, v in marks.items():
        check_number(f"marks[{key!r}]", "number", v, measures[key])
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
        mark = {"number": float(marks[key]), "value": number(marks[key])} if key in marks else None
        ends += [mark["number"]] if mark else []
        scale = axis(min(ends), max(ends), bool(m.get("log")))
        if is_share(m):
            scale = axis(max(0.0, scale["lo"]), min(1.0, scale["hi"]), scale["log"], pad=0)
        words = {"title": str(m["title"]), "unit": str(m["unit"]), "better": m["better"]}
        kept.append({"key": str(key)} | words | {"axis": scale, "mark": mark})
    first = FamilyExplorer(alt=alt, families=families, measures=kept, groups=groups, x=x, y=y, note=note or "")
    first.picked = (first.members() or first.order())[0]
    return first


def is_share(measure: dict) -> bool:
    """Return whether a measure is a share, of numbers from 0 to 1."""
    return str(measure["unit"]).startswith("share")


def check_number(where: str, what: str, v, measure: dict) -> None:
    """Raise a ValueError, which says `where`, when a number cannot stand on the axis of its measure."""
    if not isinstance(v, Real) or isinstance(v, bool) or not math.isfinite(v):
        raise ValueError(f"{where} must have a finite {what}, got {v}: leave out what is not defined")
    if measure.get("log") and v <= 0:
        raise ValueError(f"{where} must be above 0 on a logarithmic axis, got {v}: give the measure log=False")
    if is_share(measure) and not 0 <= v <= 1:
        raise ValueError(f"{where} must be from 0 to 1, a share, got {v}: give the measure another unit")


def cell(where: str, v: dict, measure: dict) -> dict:
    """Return a number as {"numbers": [value, low, high], "value": words, "kind", "spread": words}; errors say `where`.

    "kind" is a key of KINDS, or "".
    """
    value, low, high, n = (v.get(key) for key in ("value", "low", "high", "n"))
    seeds, kind = v.get("seeds", 1), v.get("kind") or ""
    for key, given in (("value", value), ("low", low), ("high", high)):
        check_number(where, key, given, measure)
    if not low <= value <= high:
        raise ValueError(f"{where} must be low <= value <= high, got {low}, {value}, {high}: are they swapped?")
    for key, given in (("n", n), ("seeds", seeds)):
        if not isinstance(given, Integral) or isinstance(given, bool) or given < 1:
            raise ValueError(
                f"{where} must have {key}, a whole number of 1 or more, got {given}: count what the spread is over"
            )
    if kind and kind not in KINDS:
        raise ValueError(f"{where} must have a kind of {list(KINDS)}, got {kind!r}: leave it out")
    value, low, high = float(value), float(low), float(high)
    over = f"{seeds} seeds" + f" of {n:,}" * (n != seeds)  # n is the seeds themselves where each gives one number
    if seeds == 1:
        over = f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{n:,}"
    words = [f"{number(low)} to {number(high)}"] * (max(n, seeds) > 1) + [over]
    return {"numbers": [value, low, high], "value": number(value), "kind": kind, "spread": f"({'; '.join(words)})"}


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
    measures = t.List(t.Dict()).tag(sync=True)  # key, title, unit, better, axis, mark (None, or its number and value)
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

    def against_front(self) -> list[str]:
        """Return why there is no front, in words; [] if there is one."""
        endless = [m["title"] for m in self.chosen() if m["better"] == "none"]
        said = [f"{joined(endless)} {'has' if len(endless) == 1 else 'have'} no better end"] if endless else []
        points = self.points()
        for m in self.chosen():  # a bound and an exact value have no order
            kinds = {f["cells"][m["key"]]["kind"] or "exact" for f in self.families if f["name"] in points}
            if len(kinds) > 1:
                said.append(f"{m['title']} mixes {joined([many for k, (_, many) in KINDS.items() if k in kinds])}")
        return said

    def members(self) -> list[str]:
        """Return the families on the front, from left to right; none if there is something against it."""
        return [] if self.against_front() else pareto_front(self.points(), [m["better"] for m in self.chosen()])

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
        """Return the table that the page has for a text alternative: title, both measures, whether on the front.

        Held-out data come last, if a shown measure has a mark.
        """
        members, marks = self.members(), [m["mark"] for m in self.chosen()]
        held = [["held-out", *(mark["value"] if mark else "\N{EN DASH}" for mark in marks), "no"]] if any(marks) else []
        rows = [[*self.titles([name]), *self.row(name), "yes" if name in members else "no"] for name in self.order()]
        return rows + held

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

    def held_out(self) -> str:
        """Return what held-out data score in the shown measures, in words; nothing if no mark is known."""
        said = [" ".join(filter(None, (m["title"], m["mark"]["value"], m["unit"]))) for m in self.chosen() if m["mark"]]
        return f"Held-out data: {', '.join(said)}." if said else ""

    def front_words(self) -> str:
        """Return the members of the front in words, or why there is none; nothing if it is not shown."""
        if not self.front:
            return ""
        if against := self.against_front():
            return " ".join(f"No front: {words}." for words in against)
        members = joined(self.titles(self.members()))
        return members and f"On the front (filled), where no other is as good in both and better in one: {members}."

    def missing(self) -> str:
        """Return in words for which families a shown measure is not defined; nothing if there are none."""
        said = []
        for m in self.chosen():
            if names := [f["title"] for f in self.families if m["key"] not in f["cells"]]:
                said.append(f"{m['title']}: not defined for {joined(names)}.")
        return " ".join(said)

    def sentence(self) -> str:
        """Return what is shown now, in words: the picked family, held-out data, the front, and who is not drawn."""
        return " ".join(filter(None, (self.read(), self.held_out(), self.front_words(), self.missing())))

    def picture(self) -> str:
        W, H = 640, 434  # hundredths of an inch, and CSS pixels on the page; counted from above
        (mx, my), members, no_front = self.chosen(), self.members(), bool(self.against_front())
        left = 28 + 7 * max((len(text) for _, text in my["axis"]["ticks"]), default=0)
        marked = bool(mx["mark"] or my["mark"])  # the word "mark" stands outside, where no name can meet it
        top, right = 44 if mx["mark"] else 30, W - (42 if my["mark"] else 14)
        box = (left, top, right, H - 62 - 18 * math.ceil((len(self.groups) + marked) / 3))
        fig = Figure(figsize=(W / 100, H / 100), dpi=100, layout="none")
        canvas = FigureCanvasAgg(fig)
        ax = fig.add_axes((box[0] / W, 1 - box[3] / H, (box[2] - box[0]) / W, (box[3] - box[1]) / H))
        for which, m in (("x", mx), ("y", my)):
            scale = m["axis"]
            getattr(ax, f"set_{which}scale")("log" if scale["log"] else "linear")
            getattr(ax, f"set_{which}lim")(scale["lo"], scale["hi"])
            getattr(ax, f"set_{which}ticks")([], minor=True)
            getattr(ax, f"set_{which}ticks")([v for v, _ in scale["ticks"]], [text for _, text in scale["ticks"]])
        ax.tick_params(labelsize=8.5, pad=6)  # clear of a symbol at the edge
        write = lambda u, v, text, **how: fig.text(u / W, 1 - v / H, text, va="center", parse_math=False, **how)
        write(W - 14, box[3] + 37, axis_label(mx, 0), ha="right", fontsize=9)
        write(10, 14, axis_label(my, 1), ha="left", fontsize=9)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        if self.front and members:
            ax.plot(*self.steps(), color="0.25", linewidth=1.2, zorder=1)
        dashed = {"color": "0.45", "linewidth": 1.1, "linestyle": (0, (5, 4)), "clip_on": False}
        across = lambda u: box[0] + share(u, mx["axis"]) * (box[2] - box[0])
        down = lambda v: box[3] - share(v, my["axis"]) * (box[3] - box[1])
        shown, dots, bars = [f for f in self.families if f["name"] in self.points()], [], []
        if mx["mark"]:
            u = across(mx["mark"]["number"])
            ax.axvline(mx["mark"]["number"], zorder=0.9, **dashed)
            write(u, box[1] - 8, "mark", ha="center", fontsize=7.5, color="0.35")
            bars.append((u - 1, box[1], u + 1, box[3]))
        if my["mark"]:
            v = down(my["mark"]["number"])
            ax.axhline(my["mark"]["number"], zorder=0.9, **dashed)
            write(box[2] + 12, v, "mark", ha="left", fontsize=7.5, color="0.35")
            bars.append((box[0], v - 1, box[2], v + 1))
        for f in shown:
            color, marker = LOOKS[f["group"]][0], SHAPES[f["group"]]
            (u, *us), (v, *vs) = (f["cells"][m["key"]]["numbers"] for m in (mx, my))
            plot = partial(ax.plot, color=color, clip_on=False)  # whole at an edge, too
            plot(us, [v, v], linewidth=1.1)
            plot([u, u], vs, linewidth=1.1)
            face = color if f["name"] in members or no_front or not self.front else "white"
            plot(u, v, marker=marker, markerfacecolor=face, markersize=7, markeredgewidth=1.5, zorder=3)
            if f["name"] == self.picked:
                plot(u, v, marker="o", color="0.1", markerfacecolor="none", markersize=14, markeredgewidth=1.2)
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
        for f, name, dot, (a, b, c, d) in zip(shown, names, dots, boxes):
            near = (min(max(dot[0], a), c), min(max(dot[1], b), d))
            if math.dist(near, dot) > 20:
                line = [(dot[0] / W, near[0] / W), (1 - dot[1] / H, 1 - near[1] / H)]
                fig.add_artist(Line2D(*line, color="0.5", linewidth=0.7, zorder=0))
            write((a + c) / 2, (b + d) / 2, name, ha="center", fontsize=8, color=INKS[f["group"]])
        samples = [ax.plot([], [], SHAPES[g], color=LOOKS[g][0], markersize=6)[0] for g in range(len(self.groups))]
        samples += [Line2D([], [], **dashed)] if marked else []
        legend = [*self.groups, "mark: held-out data"][: len(samples)]
        fig.legend(samples, legend, loc="lower center", ncols=3, frameon=False, fontsize=8.5, handletextpad=0.2)
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
    """Return a value, its unit, its kind and its spread in words."""
    if not given:
        return "not defined"
    kind = f", {KINDS[given['kind']][0]}" if given["kind"] else ""
    return f"{' '.join(filter(None, (given['value'], unit)))}{kind} {given['spread']}"


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
