"""What a recurrent network holds while it reads: every unit after every character, as tinted text and as a heat map.

Values are stored in steps of 1/254 of their quantity's range, and that is what is shown: 0 in the middle of a symmetric
range is exact, everything else is right to half a step (0.004 for -1 to 1).

Shapes:  T characters, U units, Q quantities (hidden state, cell state, gates).
"""

from decimal import ROUND_HALF_UP, Decimal
from html import escape

import numpy as np
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html, script

STEPS = 254  # of a range; even, so that the middle is one of the 255 levels
LONGEST = 600  # characters: more than that is no longer one look
NEUTRAL, LOW, HIGH = (247, 247, 247), (0, 114, 178), (213, 94, 0)  # Okabe & Ito's blue and vermilion
SPOKEN = {" ": "a space", "\n": "a line end", "\t": "a tab"}
GLYPHS = {"\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}", "\t": "\N{RIGHTWARDS ARROW TO BAR}"}


def explore_gates(text, values, *, alt, ranges, units=None, words=None):
    """Return an explorer of the states of a recurrent network over the characters of a text.

    Args:
        text: the T characters read, 3 to 600.
        values: dict of quantity -> (T, U) numbers, row i after reading character i; U is the same for all.
        alt: what is to be seen, in 30 characters or more.
        ranges: dict of quantity -> (lowest, highest) value that is possible or found; (-1, 1) for a tanh, (0, 1) for a
            gate. The colours span it; with 0 inside, 0 is neutral.
        units: a name or number for each of the U units, all different; 0 ... U - 1 if None.
        words: dict of quantity -> what its values mean, in a few words, if they need any.
    Raises:
        ValueError: text, values, ranges, units or words do not fit together, or the values need more than 400 kB.
    """
    values = {str(name): sprites.to_numpy(v).astype(float) for name, v in values.items()}
    if not isinstance(text, str) or not 3 <= len(text) <= LONGEST:
        raise ValueError(f"text must be a str of 3 to {LONGEST} characters, got {len(text)}: choose a passage")
    if not values:
        raise ValueError("values must hold at least one quantity, such as {'hidden': ...}, got none")
    T, U = len(text), next(iter(values.values())).shape[-1:]
    for name, v in values.items():
        if v.shape != (T, *U) or v.size == 0:
            raise ValueError(f"values[{name!r}] must be (T, U) = {(T, *U)}, a row for each character, got {v.shape}")
        if not np.isfinite(v).all():
            raise ValueError(f"values[{name!r}] must be finite, got {v[~np.isfinite(v)][0]}")
    for what, given in (("ranges", set(ranges)), ("words", set(words or values))):
        if what == "ranges" and given != set(values) or not given <= set(values):
            raise ValueError(f"{what} must name the quantities in values, {sorted(values)}, got {sorted(given)}")
    ranges = {name: [float(end) for end in ranges[name]] for name in values}
    for name, (lo, hi) in ranges.items():
        found = values[name].min(), values[name].max()
        if not (np.isfinite([lo, hi]).all() and lo < hi and lo <= found[0] and found[1] <= hi):
            raise ValueError(
                f"ranges[{name!r}] must hold every value, from {found[0]:.4g} to {found[1]:.4g}, "
                f"got ({lo}, {hi}): widen it"
            )
    units = [str(k) for k in (range(*U) if units is None else units)]
    if len(units) != U[0] or len(set(units)) < U[0]:
        raise ValueError(f"units must be {U[0]} different names, one for each unit, got {units}")
    levels = np.stack([quantise(v, *ranges[name]) for name, v in values.items()])  # (Q, T, U)
    check_size(levels.nbytes, "take a shorter text, fewer units or fewer quantities")
    palettes = np.stack([palette(lo, hi) for lo, hi in ranges.values()])  # (Q, 255, 4)
    return GateExplorer(
        alt=alt,
        text=text,
        names=list(values),
        ranges=list(ranges.values()),
        units=units,
        words={name: str(v) for name, v in (words or {}).items()},
        levels=levels.tobytes(),
        palettes=palettes.tobytes(),
        at=T // 2,
        unit=int(np.argmax(levels[0].std(0))),
    )  # a telling first frame


def quantise(v: np.ndarray, lo: float, hi: float) -> np.ndarray:
    """Return values in [lo, hi] as whole levels, 0 ... 254, uint8: level k stands for lo + (hi - lo) k / 254."""
    return np.rint((v - lo) * (STEPS / (hi - lo))).astype(np.uint8)


def palette(lo: float, hi: float) -> np.ndarray:
    """Return the colour and the ink of each level, uint8 (255, 4): red, green, blue, and 255 for white letters.

    With 0 inside the range, 0 is neutral, blue is negative and vermilion positive; otherwise the lowest value is
    neutral and the highest blue. Black or white, letters have a contrast of 4.5 or more.
    """
    v = lo + (hi - lo) * np.arange(STEPS + 1) / STEPS
    share = v / max(-lo, hi) if lo < 0 < hi else -(v - lo) / (hi - lo)
    ends = np.where(share[:, None] < 0, LOW, HIGH)
    colors = np.rint(NEUTRAL + (ends - np.array(NEUTRAL)) * np.abs(share[:, None]))
    c = colors / 255
    luminance = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]  # WCAG 2
    white = 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05
    return np.concatenate([colors, 255 * white[:, None]], 1).astype(np.uint8)


def two(v: float) -> str:
    """Return a number to two decimals, ties away from 0, as the page writes it; never a negative 0."""
    text = str(Decimal(abs(v)).quantize(Decimal("0.01"), ROUND_HALF_UP))
    return f"\N{MINUS SIGN}{text}" if v < 0 and text != "0.00" else text


class GateExplorer(View):
    """The widget that `explore_gates` returns; `quantity`, `unit`, `at` (indices) follow the reader and may be set."""

    _esm = script("explore_gates")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "explore_gates.css"))
    text = t.Unicode().tag(sync=True)
    names = t.List(t.Unicode()).tag(sync=True)  # of the quantities
    ranges = t.List(t.List(t.Float())).tag(sync=True)
    units = t.List(t.Unicode()).tag(sync=True)
    words = t.Dict().tag(sync=True)
    levels = t.Bytes().tag(sync=True)  # uint8 (Q, T, U)
    palettes = t.Bytes().tag(sync=True)  # uint8 (Q, 255, 4)
    quantity = t.Int(0).tag(sync=True)
    unit = t.Int(0).tag(sync=True)
    at = t.Int(0).tag(sync=True)  # the character read last

    def grid(self) -> np.ndarray:
        """Return the levels of the chosen quantity, uint8 (T, U)."""
        levels = np.frombuffer(self.levels, np.uint8)
        return levels.reshape(len(self.names), len(self.text), len(self.units))[self.quantity]

    def colors(self) -> np.ndarray:
        """Return colour and ink of the chosen quantity's levels, uint8 (255, 4)."""
        return np.frombuffer(self.palettes, np.uint8).reshape(len(self.names), STEPS + 1, 4)[self.quantity]

    def pixels(self) -> np.ndarray:
        """Return the heat map, uint8 (U, T, 3): units from above, characters from the left."""
        return self.colors()[self.grid().T, :3]

    def value(self) -> float:
        """Return the value that is read: of the chosen quantity and unit, after the character `at`."""
        lo, hi = self.ranges[self.quantity]
        return lo + (hi - lo) * int(self.grid()[self.at, self.unit]) / STEPS

    def sentence(self) -> str:
        """Return what is read, in words, its value to two decimals."""
        letter = self.text[self.at]
        spoken = SPOKEN.get(letter, f"\N{LEFT DOUBLE QUOTATION MARK}{letter}\N{RIGHT DOUBLE QUOTATION MARK}")
        return (
            f"After {spoken} (character {self.at + 1} of {len(self.text)}): "
            f"{self.names[self.quantity]} of unit {self.units[self.unit]} is {two(self.value())}"
        )

    def picture(self) -> str:
        T, U, places = len(self.text), len(self.units), [(0, 0)]
        for letter in self.text[:-1]:  # a new line after 60 characters
            row, column = places[-1]
            places.append((row + 1, 0) if letter == "\n" or column == 59 else (row, column + 1))
        rows, columns = places[-1][0] + 1, max(column for _, column in places) + 1
        fig = Figure(figsize=(7, 0.3 + 0.19 * rows + 2.3), layout="none")  # in inches
        canvas, inch = FigureCanvasAgg(fig), 1 / fig.get_figheight()
        above = fig.add_axes((0.05, 2.3 * inch, 0.0155 * columns, 0.19 * rows * inch))
        below = fig.add_axes((0.05, 0.25 * inch, 0.93, 1.9 * inch))
        above.set(xlim=(0, columns), ylim=(rows, 0))
        above.set_axis_off()
        above.set_title(f"{self.names[self.quantity]} of unit {self.units[self.unit]}", fontsize=9, loc="left")
        tints = self.colors()[self.grid()[:, self.unit]] / 255
        for letter, tint, (row, column) in zip(self.text, tints, places):
            above.add_patch(Rectangle((column, row), 1, 1, color=tint[:3], linewidth=0))
            above.text(
                column + 0.5,
                row + 0.5,
                GLYPHS.get(letter, letter),
                color=[tint[3]] * 3,
                fontsize=9,
                family="monospace",
                ha="center",
                va="center",
                parse_math=False,
            )
        above.add_patch(Rectangle(places[self.at][::-1], 1, 1, fill=False, edgecolor="black", linewidth=2))
        below.imshow(self.pixels(), aspect="auto", interpolation="nearest", extent=(0, T, U, 0))
        for corner, width, height in (((self.at, 0), 1, U), ((0, self.unit), T, 1)):
            below.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="black", linewidth=1.2))
        below.set(xticks=[], yticks=[])
        below.set_ylabel("units", fontsize=9)
        below.set_xlabel("characters", fontsize=9)
        fig.set_dpi(150)
        canvas.draw()
        data, mime = sprites.encode(np.asarray(canvas.buffer_rgba())[..., :3])
        return f"{img_html(data, mime, self.alt, 640)}<figcaption>{escape(self.sentence())}.</figcaption>"
