"""A chart that changes with its controls: the axes stand still, the lines move, and a cursor reads every line.

All curves travel with the widget, so that it is complete without a kernel.

Shapes:  C controls of n_1 ... n_C values each, N lines, X places on the horizontal axis.
"""

import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal
from html import escape
from numbers import Real

import numpy as np
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html, script
from genai_utils.widgets.style import COLORS

# what tells the lines apart: a colour and a pattern of dashes and gaps; explore_curves.js has the same
LOOKS = (
    (COLORS["blue"], ()),
    (COLORS["vermilion"], (7, 4)),
    (COLORS["green"], (2, 4)),
    ("#a3478a", (9, 4, 2, 4)),
    ("#222222", (14, 5)),
    ("#8a6a00", (4, 2)),
)
TINY = 1.2e-38  # the smallest positive number that float32 holds in full
SUPERSCRIPTS = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def explore_curves(
    x,
    curves,
    controls,
    lines,
    *,
    alt,
    x_label,
    y_label,
    log_x=False,
    log_y=False,
    y_range=None,
    band=None,
    note=None,
    reference=None,
):
    """Return an explorer of curves that depend on one control or more.

    Args:
        x: X places, 3 or more, strictly increasing; above 0 if `log_x`.
        curves: (n_1, ..., n_C, N, X) heights, kept as float32; nan where a line has none; above 0 if `log_y`.
        controls: dict of name -> its values, 2 or more and all different: numbers in increasing order (a slider that
            snaps to them; buttons if they are two) or texts (buttons); {} if there is nothing to set.
        lines: N names, 1 to 6, all different.
        alt: what is to be seen, in 30 characters or more.
        x_label, y_label: what is measured, with its unit in brackets: "distance (steps)".
        y_range: (lowest, highest) height shown; a line that leaves it is still read. All curves fit in if None.
        band: (lowest, highest) of each curve, two arrays of the shape of `curves`: the spread around it.
        note: a sentence below the chart, such as what the spread is and over how many seeds.
        reference: dict of name -> X heights, or one for all: thin grey lines that no control moves.
    Raises:
        ValueError: a shape, an order or a number does not fit, or the curves need more than 400 kB.
    """
    x, curves = sprites.to_numpy(x).astype(float), sprites.to_numpy(curves).astype(float)
    lines, controls = [str(name) for name in lines], {str(k): list(values) for k, values in controls.items()}
    if x.ndim != 1 or len(x) < 3 or not np.isfinite(x).all() or (np.diff(x) <= 0).any() or log_x and x[0] <= 0:
        raise ValueError(f"x must be 3 or more increasing numbers{', above 0 for log_x' * log_x}, got {x}")
    if not 1 <= len(lines) <= len(LOOKS) or len(set(lines)) < len(lines):
        raise ValueError(f"lines must be 1 to {len(LOOKS)} different names, got {lines}: show fewer at a time")
    for name, values in controls.items():
        numeric = all(isinstance(v, Real) and not isinstance(v, bool) and math.isfinite(v) for v in values)
        if len(values) < 2 or not numeric and not all(isinstance(v, str) for v in values):
            raise ValueError(f"controls[{name!r}] must be 2 or more finite numbers, or 2 or more str, got {values}")
        if len(set(values)) < len(values) or numeric and values != sorted(values):
            raise ValueError(f"controls[{name!r}] must be different, and numbers must increase, got {values}")
    shape = (*map(len, controls.values()), len(lines), len(x))
    reference = {
        str(name): np.broadcast_to(sprites.to_numpy(y).astype(float), len(x)) for name, y in (reference or {}).items()
    }
    if set(reference) & set(lines):
        raise ValueError(f"reference must have other names than lines, got {sorted(set(reference) & set(lines))}")
    if band is not None and len(band) != 2:
        raise ValueError(f"band must be two arrays, lowest and highest, got {len(band)}")
    low, high = (None, None) if band is None else (sprites.to_numpy(b).astype(float) for b in band)
    for what, y in (("curves", curves), ("the low band", low), ("the high band", high)):
        if y is not None and y.shape != shape:
            raise ValueError(f"{what} must be (controls ..., lines, places) = {shape}, got {y.shape}")
    for what, y in (("curves", curves), ("the low band", low), ("the high band", high), *reference.items()):
        check_heights(what, y, log_y)
    if low is not None and ((low > curves) | (curves > high)).any():
        raise ValueError("band must hold its curve, low <= curve <= high everywhere: are the two swapped?")
    heights = np.concatenate([y.ravel() for y in (curves, low, high, *reference.values()) if y is not None])
    if np.isnan(curves).all():
        raise ValueError("curves must have at least one number, got nan only")
    if y_range is None:
        y_axis = axis(np.nanmin(heights), np.nanmax(heights), log_y)
    elif y_range[0] < y_range[1] and np.isfinite(y_range).all() and (y_range[0] > 0 or not log_y):
        y_axis = axis(*y_range, log_y, pad=0)
    else:
        raise ValueError(f"y_range must be (lowest, highest){', above 0 for log_y' * log_y}, got {y_range}")
    stored = np.stack([y for y in (curves, low, high) if y is not None]).astype("<f4")
    check_size(stored.nbytes, "take fewer places, fewer values of a control, or no band")
    (x_name, x_unit), (y_name, y_unit) = map(parts, (x_label, y_label))
    return CurveExplorer(
        alt=alt,
        x=x.tolist(),
        x_texts=[label(v) for v in x],
        curves=stored.tobytes(),
        banded=band is not None,
        lines=lines,
        controls=list(controls),
        numeric=[not isinstance(v[0], str) for v in controls.values()],
        choices=[[v if isinstance(v, str) else label(v) for v in values] for values in controls.values()],
        x_label=x_label,
        y_label=y_label,
        x_name=x_name,
        x_unit=x_unit,
        y_words=f"{y_name} in {y_unit}" if y_unit else y_name,
        x_axis=axis(x[0], x[-1], log_x, pad=0),
        y_axis=y_axis,
        note=note or "",
        reference=[[name, [None if np.isnan(v) else float(v) for v in y]] for name, y in reference.items()],
        setting=[len(values) // 2 for values in controls.values()],
        at=len(x) // 2,
    )


def check_heights(what: str, y, log: bool) -> None:
    """Raise a ValueError when heights are infinite, or not above 0 (and float32's smallest) on a logarithmic axis."""
    if y is None:
        return
    if (wrong := np.isinf(y) | (np.abs(y) > np.finfo(np.float32).max)).any():
        raise ValueError(
            f"{what} must be finite in float32, or nan where there is nothing, got {y[wrong][0]}: put nan there"
        )
    if log and (wrong := y < TINY).any():
        raise ValueError(
            f"{what} must be {TINY} or more for log_y, or nan where there is nothing, got {y[wrong][0]}: "
            "put nan there, or clip it"
        )


def parts(text: str) -> tuple[str, str]:
    """Return a label's name and unit: ("distance", "steps") of "distance (steps)"; the unit may be empty."""
    name, unit = re.fullmatch(r"(.*?)(?:\s*\(([^()]*)\))?", text.strip()).groups()
    return name, unit or ""


def number(v: float) -> str:
    """Return a number to three significant digits, as the page writes it; whole numbers below a million in full.

    >>> [number(v) for v in (0.5, 12, 0.00123456, 1234.5, -2.5e-9)]
    ['0.500', '12', '0.00123', '1,230', '−2.50 × 10⁻⁹']
    """
    sign = "\N{MINUS SIGN}" if v < 0 else ""
    if v == int(v) and abs(v) < 1e6:
        return f"{sign}{abs(int(v)):,}"
    rounded = Context(prec=3, rounding=ROUND_HALF_UP).plus(Decimal(abs(float(v))))  # ties away from 0
    digits, exponent = f"{rounded:.2e}".split("e")
    if -4 <= int(exponent) < 6:
        return f"{sign}{rounded:,.{max(0, 2 - int(exponent))}f}"
    return f"{sign}{digits} \N{MULTIPLICATION SIGN} 10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def label(v: float) -> str:
    """Return a number for an axis or a control: as `number`, without 0s at its end."""
    return re.sub(r"(\.\d*?)0+(?!\d)", r"\1", number(v)).replace(". ", " ").removesuffix(".")


def axis(lo: float, hi: float, log: bool, pad: float = 0.04) -> dict:
    """Return {"lo", "hi", "log", "ticks": [[place, text], ...]} of an axis from lo to hi, widened by `pad` of it."""
    go, back = (math.log10, lambda v: 10**v) if log else (float, float)
    a, b = go(lo), go(hi)
    if a == b:
        a, b = a - 0.5, b + 0.5
    wide = pad * (b - a)
    lo, hi = (float(lo), float(hi)) if pad == 0 and lo < hi else (back(a - wide), back(b + wide))
    ticks, inside = [], lambda places: [v for v in places if lo <= v * (1 + 1e-9) and v * (1 - 1e-9) <= hi]
    if log:
        first, last = math.floor(go(lo)), math.ceil(go(hi))
        step = max(1, math.ceil((last - first) / 7))
        ticks = inside(10.0**k for k in range(first, last + 1) if k % step == 0)
        if len(ticks) < 3:
            ticks = inside(m * 10.0**k for k in range(first, last + 1) for m in (1, 2, 5))
    if len(ticks) < 2:
        step = 10.0 ** math.floor(math.log10((hi - lo) / 4))
        step *= max((m for m in (1, 2, 5) if m * step <= (hi - lo) / 4), default=1)
        places = (step * k for k in range(math.ceil(lo / step - 1e-9), math.floor(hi / step + 1e-9) + 1))
        ticks = [round(v, 12 - math.floor(math.log10(max(abs(lo), abs(hi))))) + 0.0 for v in places]
    text = (lambda v: "10" + str(round(go(v))).translate(SUPERSCRIPTS)) if log and hi / lo >= 1e4 else label
    texts = [text(v) for v in ticks]
    if len(set(texts)) < len(texts):  # three digits are too few
        texts = [f"{v:.12g}".replace("-", "\N{MINUS SIGN}") for v in ticks]
    return {"lo": lo, "hi": hi, "log": log, "ticks": [list(pair) for pair in zip(ticks, texts)]}


class CurveExplorer(View):
    """The widget that `explore_curves` returns; `setting` (an index per control) and `at` follow the reader.

    Both may be set before it is shown, for a first frame that says something.
    """

    _esm = script("explore_curves")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "explore_curves.css"))
    x = t.List(t.Float()).tag(sync=True)
    x_texts = t.List(t.Unicode()).tag(sync=True)
    curves = t.Bytes().tag(sync=True)  # float32, little-endian: the curves, then the band if `banded`
    banded = t.Bool(False).tag(sync=True)
    lines = t.List(t.Unicode()).tag(sync=True)
    controls = t.List(t.Unicode()).tag(sync=True)
    numeric = t.List(t.Bool()).tag(sync=True)
    choices = t.List(t.List(t.Unicode())).tag(sync=True)
    x_label = t.Unicode().tag(sync=True)
    y_label = t.Unicode().tag(sync=True)
    x_name = t.Unicode().tag(sync=True)
    x_unit = t.Unicode().tag(sync=True)
    y_words = t.Unicode().tag(sync=True)
    x_axis = t.Dict().tag(sync=True)
    y_axis = t.Dict().tag(sync=True)
    note = t.Unicode().tag(sync=True)
    reference = t.List().tag(sync=True)  # [name, X heights or None]
    setting = t.List(t.Int()).tag(sync=True)
    at = t.Int(0).tag(sync=True)

    @t.validate("setting")
    def _is_possible(self, proposal):
        sizes = [len(values) for values in self.choices]
        if len(proposal.value) != len(sizes) or any(not 0 <= i < n for i, n in zip(proposal.value, sizes)):
            raise ValueError(f"setting must be an index for each control, below {sizes}, got {proposal.value}")
        return proposal.value

    def shown(self) -> np.ndarray:
        """Return what the present setting shows, float64 (1 or 3, N, X): the curves, then low and high of the band."""
        shape = (3 if self.banded else 1, *map(len, self.choices), len(self.lines), len(self.x))
        stored = np.frombuffer(self.curves, "<f4").reshape(shape)
        return stored[(slice(None), *self.setting)].astype(float)

    def settings(self) -> str:
        """Return the present setting in words."""
        return ", ".join(f"{name} {values[i]}" for name, values, i in zip(self.controls, self.choices, self.setting))

    def sentence(self) -> str:
        """Return the height of every line at the cursor, in words."""
        shown = self.shown()[:, :, self.at]
        read = []
        for name, (y, *spread) in zip(self.lines, shown.T):
            words = "no value" if np.isnan(y) else number(y)
            if spread and not np.isnan(spread).any():
                words += f" ({number(spread[0])} to {number(spread[1])})"
            read.append(f"{name} {words}")
        for name, heights in self.reference:
            read.append(f"{name} {'no value' if heights[self.at] is None else number(heights[self.at])}")
        where = f"{self.x_name} {self.x_texts[self.at]} {self.x_unit}".strip()
        return f"At {where}, {self.y_words}: {', '.join(read)}"

    def picture(self) -> str:
        fig = Figure(figsize=(6.4, 3.4), layout="constrained")
        canvas, ax = FigureCanvasAgg(fig), fig.subplots()
        for name, heights in self.reference:
            ax.plot(self.x, [np.nan if v is None else v for v in heights], color="0.5", linewidth=1, label=name)
        for name, (y, *spread), (color, dash) in zip(self.lines, self.shown().swapaxes(0, 1), LOOKS):
            ax.plot(self.x, y, color=color, linewidth=1.8, linestyle=(0, dash) if dash else "-", label=name)
            if spread:
                ax.fill_between(self.x, *spread, color=color, alpha=0.15, linewidth=0)
        ax.axvline(self.x[self.at], color="0.3", linewidth=0.8)
        for which, scale in (("x", self.x_axis), ("y", self.y_axis)):
            getattr(ax, f"set_{which}scale")("log" if scale["log"] else "linear")
            getattr(ax, f"set_{which}lim")(scale["lo"], scale["hi"])
            getattr(ax, f"set_{which}ticks")([], minor=True)
            getattr(ax, f"set_{which}ticks")([v for v, _ in scale["ticks"]], [text for _, text in scale["ticks"]])
        ax.set(xlabel=self.x_label, ylabel=self.y_label)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, handlelength=3.2, loc="center left", bbox_to_anchor=(1, 0.5))
        fig.set_dpi(150)
        canvas.draw()
        data, mime = sprites.encode(np.asarray(canvas.buffer_rgba())[..., :3])
        caption = ". ".join(filter(None, (self.settings(), self.sentence())))
        return f"{img_html(data, mime, self.alt, 640)}<figcaption>{escape(caption)}.</figcaption>"
