"""How far back an output of dilated causal convolutions sees: the tree of its connections, layer by layer.

Every layer has kernel 2: its value at p reads the layer below at p and at p - dilation. Positions before the first
sample are zeros.

Sources: van den Oord et al. 2016, arXiv:1609.03499, Sec. 2.1; the cache: Paine et al. 2016, arXiv:1611.09482.
Shapes:  L layers, T positions drawn.
"""

from html import escape

import numpy as np
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, img_html, script

STEPS = (8, 40)      # positions: fewer show no tree, more are too close on a phone
LAYERS = (3, 12)
MOST = 6             # designs
WIDEST = 4096        # samples that a design may see: the tree is counted node by node


def explore_dilation(designs, steps, *, alt, rate=None):
    """Return an explorer of causal stacks of dilated convolutions with kernel 2.

    Args:
        designs: dict of name -> the dilations of its layers, from the input up: 3 to 12 whole numbers, 1 or more,
            whose receptive field 1 + sum is at most 4,096 samples; 1 to 6 designs.
        steps: T, the positions that are drawn, 8 to 40. A tree that is wider leaves the drawing on the left.
        alt: what is to be seen, in 30 characters or more.
        rate: samples in a second, if the receptive field is to be said in milliseconds too.
    Raises:
        ValueError: a number or a size is out of range.
    """
    if not isinstance(designs, dict) or not 1 <= len(designs) <= MOST:
        raise ValueError(f"designs must be a dict of 1 to {MOST} designs, name -> dilations, got {designs!r:.60}")
    designs = {str(name): list(dilations) for name, dilations in designs.items()}
    for name, dilations in designs.items():
        if not LAYERS[0] <= len(dilations) <= LAYERS[1]:
            raise ValueError(f"design {name!r} must have {LAYERS[0]} to {LAYERS[1]} layers, got {len(dilations)}")
        if any(d != int(d) or d < 1 for d in dilations) or 1 + sum(dilations) > WIDEST:
            raise ValueError(f"dilations of {name!r} must be whole numbers, 1 or more, of sum below {WIDEST}, "
                             f"got {dilations}")
    if not isinstance(steps, int) or not STEPS[0] <= steps <= STEPS[1]:
        raise ValueError(f"steps must be a whole number from {STEPS[0]} to {STEPS[1]}, got {steps}")
    if rate is not None and not (np.isfinite(rate) and rate > 0):
        raise ValueError(f"rate must be samples in a second, above 0, or None, got {rate}")
    first = next(iter(designs.values()))
    return DilationExplorer(alt=alt, names=list(designs), designs=[[int(d) for d in row] for row in designs.values()],
                            steps=steps, rate=rate, layers=len(first), position=steps - 1)


def tree(dilations, position: int) -> list[list[int]]:
    """Return the positions that an output reads, one sorted list for each layer: output first, inputs last.

    Args:
        dilations: of the layers, from the input up, each with kernel 2.
        position: of the output; positions below 0 are zeros before the first sample, and are listed too.
    """
    rows = [[position]]
    for dilation in reversed(dilations):
        rows.append(sorted({p - back for p in rows[-1] for back in (0, dilation)}))
    return rows


class DilationExplorer(View):
    """The widget that `explore_dilation` returns; `design`, `layers` and `position` follow the reader."""

    _esm = script("explore_dilation")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "explore_dilation.css"))
    names = t.List(t.Unicode()).tag(sync=True)
    designs = t.List(t.List(t.Int())).tag(sync=True)
    steps = t.Int().tag(sync=True)
    rate = t.Float(None, allow_none=True).tag(sync=True)
    design = t.Int(0).tag(sync=True)
    layers = t.Int(1).tag(sync=True)                 # layers in use, 1 to the design's number
    position = t.Int(0).tag(sync=True)               # of the output, 0 to steps - 1

    def dilations(self) -> list[int]:
        """Return the dilations of the layers in use, from the input up."""
        return self.designs[self.design][: self.layers]

    def lit(self) -> list[list[int]]:
        """Return the positions from 0 on that the output reads, layer by layer, output first."""
        return [[p for p in row if p >= 0] for row in tree(self.dilations(), self.position)]

    def sentence(self) -> str:
        """Return the receptive field and what one more output costs, in words."""
        used, n = self.dilations(), self.layers
        rows, field = tree(used, self.position), 1 + sum(used)
        nodes, first = sum(map(len, rows[:-1])), self.position - sum(used)
        time = "" if self.rate is None else f" ({1000 * field / self.rate + 1e-9:.2f} ms)"     # ties go up
        zeros = f", {-first} of them before the start, zeros" if first < 0 else ""
        holes = f", {field - len(rows[-1])} of them skipped" if len(rows[-1]) < field else ""
        return (f"{n} layer{'s' * (n > 1)}, dilation{'s' * (n > 1)} {', '.join(map(str, used))}: the output at "
                f"{self.position} reaches over {field} samples{time}{zeros}{holes}. One more output computes {nodes} "
                f"value{'s' * (nodes > 1)}, or {n} with a cache")

    def picture(self) -> str:
        T, used, rows = self.steps, self.dilations(), tree(self.dilations(), self.position)[::-1]     # inputs first
        fig = Figure(figsize=(7, 0.9 + 0.42 * len(used)), layout="none")
        canvas = FigureCanvasAgg(fig)
        ax = fig.add_axes([0.11, 0.16, 0.88, 0.81])
        lines = [(p in rows[k + 1], [(p - back, k), (p, k + 1)])
                 for k, dilation in enumerate(used) for p in range(T) for back in (0, dilation)]
        for lit, color, width in ((False, "#c9ced3", 0.4), (True, "#0072b2", 1.5)):
            ax.add_collection(LineCollection([line for on, line in lines if on == lit], colors=color,
                                             linewidths=width, zorder=1 + lit))
        for k, row in enumerate(rows):
            colors = ["#d55e00" if k == len(used) and p in row else "#0072b2" if p in row else "#ffffff"
                      for p in range(T)]
            ax.scatter(range(T), [k] * T, s=16, c=colors, edgecolors="#5c6066", linewidths=0.5, zorder=3)
        ax.set(xlim=(-0.7, T - 0.3), ylim=(-0.4, len(used) + 0.4), xlabel="position, in samples",
               yticks=range(len(used) + 1), yticklabels=["input", *(f"dilation {d}" for d in used)])
        ax.tick_params(length=0, labelsize=8)
        ax.xaxis.label.set_size(8)
        for side in ax.spines.values():
            side.set_visible(False)
        fig.set_dpi(150)
        canvas.draw()
        data, mime = sprites.encode(np.asarray(canvas.buffer_rgba())[..., :3])
        words = f"{self.names[self.design]}: {self.sentence()}."
        return f"{img_html(data, mime, self.alt, 660)}<figcaption>{escape(words)}</figcaption>"
