"""What a pixel sees of the pixels before it: the receptive field of a stack of masked convolutions, layer by layer.

An earlier pixel is seen, or in the blind spot, or out of reach. The rectangle that a stack's layers span, from the
furthest row above and the furthest columns on either side, is its reach; what is earlier and inside, but not seen, is
the blind spot.

Sources: blind spot: van den Oord et al. 2016, arXiv:1606.05328, Sec. 2.
Shapes:  M = 2 side - 1, rows and columns of offsets from a pixel; D layers; S stacks.
"""

from html import escape

import numpy as np
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html, script

SIDES = (4, 32)      # fewer have no blind spot to see, more are too small to point at
MOST = 4             # stacks: what fits side by side in the static figure
ITSELF, SEEN, BLIND, FAR, LATER, LEAK = range(6)
INK = ("#ffffff", "#0072b2", "#f5b78a", "#eceff2", "#5c6066", "#cc79a7")
HATCHES, HATCH = {BLIND: "////", LEAK: "xxxx"}, "#b04a00"
WORDS = ("the pixel", "seen", "blind spot", "out of reach", "later", "seen, but must not be")


def explore_receptive_field(stacks, side, *, alt):
    """Return an explorer of what each pixel of a picture sees through 1 to D layers.

    Args:
        stacks: dict of name -> D masks, D >= 3, the same for all of 1 to 4 stacks. Mask d - 1 is boolean, (M, M), and
            holds what d layers see relative to the pixel: entry [side - 1 + i, side - 1 + j] is the pixel i rows below
            and j columns to the right. Its middle is the pixel itself. The same mask serves every pixel and is cut off
            at the picture's edge; the gradient of the middle pixel of a picture of M x M gives it.
        side: rows and columns of the picture, 4 to 32.
        alt: what is to be seen, in 30 characters or more.
    Raises:
        ValueError: side, names, shapes or types do not fit.
    """
    if not isinstance(side, int) or not SIDES[0] <= side <= SIDES[1]:
        raise ValueError(f"side must be a whole number from {SIDES[0]} to {SIDES[1]}, got {side}")
    if not isinstance(stacks, dict) or not 1 <= len(stacks) <= MOST:
        raise ValueError(f"stacks must be a dict of 1 to {MOST} stacks, name -> masks, got {stacks!r:.60}")
    depths = {name: len(stack) for name, stack in stacks.items()}
    if len(set(depths.values())) > 1 or min(depths.values()) < 3:
        raise ValueError(f"every stack must have the same number of masks, 3 or more, one for each depth, got {depths}")
    M, every = 2 * side - 1, [[sprites.to_numpy(mask) for mask in stack] for stack in stacks.values()]
    wrong = [f"{mask.dtype} {mask.shape}" for stack in every for mask in stack
             if mask.dtype != bool or mask.shape != (M, M)]
    if wrong:
        raise ValueError(f"every mask must be boolean ({M}, {M}), 2 side - 1 offsets each way, got {wrong[0]}")
    every = np.array(every)                                                              # (S, D, M, M)
    bits = np.packbits(every).tobytes()
    check_size(len(bits), "take fewer stacks or fewer layers")
    return ReceptiveFieldExplorer(alt=alt, bits=bits, names=[str(name) for name in stacks], layers=every.shape[1],
                                  side=side, depth=every.shape[1], place=side // 2 * side + side // 2)


class ReceptiveFieldExplorer(View):
    """The widget that `explore_receptive_field` returns; `stack`, `depth` and `place` follow the reader."""

    _esm = script("explore_receptive_field")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "explore_receptive_field.css"))
    bits = t.Bytes().tag(sync=True)                  # (S, D, M, M), eight to a byte, the first in the highest bit
    names = t.List(t.Unicode()).tag(sync=True)
    layers = t.Int().tag(sync=True)                  # D
    side = t.Int().tag(sync=True)
    stack = t.Int(0).tag(sync=True)
    depth = t.Int(1).tag(sync=True)                  # 1 to D
    place = t.Int(0).tag(sync=True)                  # row side + column

    def mask(self, stack: int | None = None) -> np.ndarray:
        """Return the mask of a stack, the chosen one if None, at the chosen depth, (M, M) bool."""
        M, shape = 2 * self.side - 1, (len(self.names), self.layers)
        every = np.unpackbits(np.frombuffer(self.bits, np.uint8))[: shape[0] * shape[1] * M * M]
        return every.reshape(*shape, M, M)[self.stack if stack is None else stack, self.depth - 1].astype(bool)

    def tones(self, stack: int | None = None) -> np.ndarray:
        """Return what each pixel is to the chosen one, (side, side): ITSELF, SEEN, BLIND, FAR, LATER or LEAK."""
        mask, middle, n = self.mask(stack), self.side - 1, 2 * self.side - 1
        earlier = np.arange(n * n).reshape(n, n) < middle * n + middle                   # raster order, as offsets
        rows, columns = np.nonzero(mask & earlier)
        top, left, right = (int(f((*at, middle))) for f, at in ((min, rows), (min, columns), (max, columns)))
        reach = np.zeros_like(mask)
        reach[top : middle + 1, left : right + 1] = True
        tones = np.where(earlier, np.where(mask, SEEN, np.where(reach, BLIND, FAR)), np.where(mask, LEAK, LATER))
        if not mask[middle, middle]:
            tones[middle, middle] = ITSELF
        row, column = divmod(self.place, self.side)
        return tones[middle - row : n - row, middle - column : n - column]

    def sentence(self, stack: int | None = None) -> str:
        """Return what the chosen pixel sees, counted, in words."""
        stack = self.stack if stack is None else stack
        n = np.bincount(self.tones(stack).ravel(), minlength=6).tolist()
        row, column = divmod(self.place, self.side)
        leak = f"; it also sees {n[LEAK]} that it must not see, itself or later ones" if n[LEAK] else ""
        return (f"{self.names[stack]}, {self.depth} layer{'s' * (self.depth > 1)}: pixel ({row}, {column}) sees "
                f"{n[SEEN]} of {self.place} earlier pixels; {n[BLIND]} in the blind spot, {n[FAR]} out of reach{leak}")

    def picture(self) -> str:
        S = len(self.names)
        fig = Figure(figsize=(max(2, S) * 2.6, 3.1))
        canvas = FigureCanvasAgg(fig)
        panels = fig.subplots(1, S, squeeze=False, gridspec_kw={"left": 0.01, "right": 0.99, "bottom": 0.12,
                                                                "top": 0.91, "wspace": 0.06})[0]
        row, column = divmod(self.place, self.side)
        words, found = [], set()
        for i, ax in enumerate(panels):
            tones = self.tones(i)
            words.append(self.sentence(i))
            found |= set(tones.ravel().tolist())
            ax.pcolormesh(tones, cmap=ListedColormap(INK), vmin=-0.5, vmax=5.5, edgecolors="#ffffff", linewidth=0.3)
            for tone, hatch in HATCHES.items():
                cells = [Rectangle((x, y), 1, 1) for y, x in np.argwhere(tones == tone)]
                ax.add_collection(PatchCollection(cells, facecolor=INK[tone], edgecolor=HATCH, hatch=hatch,
                                                  linewidth=0.3))
            ax.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="#000000", linewidth=1.8))
            ax.set(xlim=(0, self.side), ylim=(self.side, 0), aspect="equal")
            ax.set_axis_off()
            ax.set_title(self.names[i], fontsize=9)
        key = [Patch(facecolor=INK[k], edgecolor=HATCH if k in HATCHES else "#000000", linewidth=0.5,
                     hatch=HATCHES.get(k, ""), label=WORDS[k]) for k in sorted(found)]
        fig.legend(handles=key, loc="lower center", ncols=len(key), fontsize=7, frameon=False, columnspacing=1.1)
        fig.set_dpi(150)
        canvas.draw()
        data, mime = sprites.encode(np.asarray(canvas.buffer_rgba())[..., :3])
        return (f"{img_html(data, mime, self.alt, 260 * max(2, S))}"
                f"<figcaption>{escape('. '.join(words))}.</figcaption>")
