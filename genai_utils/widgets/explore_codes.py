"""A picture as its grid of codes: repaint one code and see what changes, and how far.

With no kernel one code at a time is repainted, each possibility decoded when the widget was made. With a kernel any
number of codes may be, decoded exactly.

Shapes:  N pictures, h and w the sides of their code grids, R replacements, H and W picture sides.
"""

import colorsys
from html import escape

import numpy as np
import torch
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html, script

MOST = 6     # pictures to choose from
LEVELS = 5   # a pixel counts as changed when it differs by more than this, of 255


def explore_codes(codes, decode, *, replacements, alt, originals=None, names=None, seed=None, size=None):
    """Return an explorer of what single codes do to a decoded picture.

    Args:
        codes: the code grids of N pictures, 1 to 6, integers (N, h, w), 0 or more.
        decode: maps codes (B, h, w) int64, on the CPU, to pictures: uint8 (B, H, W[, 3]) or floats in [-1, 1],
            (B, C, H, W). Called for every place and replacement of each picture, h w R grids at once, and in a live
            notebook for every grid that a reader paints.
        replacements: R different codes, of which one may be painted over the code at a place; the more unlike their
            pictures, the more there is to see.
        alt: what is to be seen, in 30 characters or more.
        originals: the N pictures that were encoded, in a form that `decode` may return; for the choice of a picture.
        names: a name for each picture, all different; "picture 1" and so on if None.
        seed: the seed of the randomness in the pictures, if any; recorded.
        size: width of a decoded picture on the page, in CSS pixels; about 140 if None.
    Raises:
        ValueError: a shape, a type or a number does not fit, or the pictures need more than 400 kB.
    """
    codes, replacements = sprites.to_numpy(codes), [int(code) for code in replacements]
    if codes.ndim != 3 or codes.dtype.kind not in "iu" or not 1 <= len(codes) <= MOST or 0 in codes.shape:
        raise ValueError(f"codes must be integers (N, h, w) with N from 1 to {MOST}, got {codes.dtype} {codes.shape}")
    if codes.min() < 0:
        raise ValueError(f"codes must be 0 or more, got {codes.min()}")
    if not replacements or len(set(replacements)) < len(replacements) or min(replacements) < 0:
        raise ValueError(f"replacements must be different codes, 0 or more, at least one, got {replacements}")
    N, h, w = codes.shape
    names = [f"picture {i + 1}" for i in range(N)] if names is None else [str(name) for name in names]
    if len(names) != N or len(set(names)) < N:
        raise ValueError(f"names must be {N} different names, one for each grid, got {names}")
    base = run(decode, codes)
    tiles = [base]
    if originals is not None:
        tiles.append(sprites.to_pictures(originals))
        if tiles[1].shape != base.shape:
            raise ValueError(f"originals must be like the decoded pictures, {base.shape}, got {tiles[1].shape}")
    changes = [run(decode, repainted(grid, replacements)) - picture for grid, picture in zip(codes, base)]  # mod 256
    tiles = np.concatenate([*tiles, *changes])
    columns = sprites.best_columns(len(tiles), *base.shape[1:3])
    sheet, mime = sprites.encode(sprites.tile(tiles, columns))
    check_size(len(sheet), "take fewer pictures or fewer replacements")
    most = int(np.argmax([count_changed(base[0], base[0] + change) for change in changes[0]]))   # a telling first frame
    colors = {str(k): color(k) for k in sorted({*codes.ravel().tolist(), *replacements})}
    return CodeExplorer(decode, alt=alt, sheet=sheet, mime=mime, columns=columns, height=base.shape[1],
                        width=base.shape[2], grey=base.ndim == 3, codes=codes.tolist(), replacements=replacements,
                        colors=colors, originals=originals is not None, names=names, seed=seed,
                        place=most // len(replacements), paint=replacements[most % len(replacements)],
                        size=size or sprites.zoom(base.shape[2], 140))


def run(decode, codes: np.ndarray) -> np.ndarray:
    """Return the pictures of code grids, uint8 (B, H, W[, 3])."""
    with torch.no_grad():
        pictures = sprites.to_pictures(decode(torch.from_numpy(codes.astype(np.int64))))
    if len(pictures) != len(codes):
        raise ValueError(f"decode must return a picture for each of {len(codes)} grids, got {len(pictures)}")
    return pictures


def repainted(grid: np.ndarray, replacements: list[int]) -> np.ndarray:
    """Return the grids (h w R, h, w) with one code painted over: place by place, replacement by replacement."""
    h, w = grid.shape
    grids = np.broadcast_to(grid, (h * w, len(replacements), h, w)).copy().reshape(h * w, len(replacements), h * w)
    grids[np.arange(h * w), :, np.arange(h * w)] = replacements
    return grids.reshape(-1, h, w)


def count_changed(a: np.ndarray, b: np.ndarray) -> int:
    """Return how many pixels of two uint8 pictures (H, W[, 3]) differ by more than LEVELS in any channel."""
    far = np.abs(a.astype(int) - b.astype(int)) > LEVELS
    return int((far.any(-1) if far.ndim == 3 else far).sum())


def color(code: int) -> str:
    """Return the colour of a code as CSS: pale, so that a dark number can be read; hues by the golden angle."""
    rgb = colorsys.hls_to_rgb(code * 0.381966 % 1, 0.8, 0.7)
    return "#" + "".join(f"{round(255 * v):02x}" for v in rgb)


class CodeExplorer(View):
    """The widget that `explore_codes` returns; `image`, `place` and `paint` follow the reader and may be set."""

    _esm = script("explore_codes")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "explore_codes.css"))
    sheet = t.Bytes().tag(sync=True)      # decoded pictures, originals if any, then per picture (h w R) changes mod 256
    mime = t.Unicode().tag(sync=True)
    columns = t.Int().tag(sync=True)
    height = t.Int().tag(sync=True)
    width = t.Int().tag(sync=True)
    grey = t.Bool().tag(sync=True)
    codes = t.List().tag(sync=True)                  # (N, h, w)
    replacements = t.List(t.Int()).tag(sync=True)
    colors = t.Dict().tag(sync=True)                 # code -> CSS colour
    originals = t.Bool().tag(sync=True)
    names = t.List(t.Unicode()).tag(sync=True)
    seed = t.Int(None, allow_none=True).tag(sync=True)
    size = t.Int().tag(sync=True)
    image = t.Int(0).tag(sync=True)
    place = t.Int(0).tag(sync=True)                  # row w + column
    paint = t.Int(None, allow_none=True).tag(sync=True)                    # code painted at `place`; None: as encoded
    kept = t.Dict().tag(sync=True)                   # place -> code, painted before (with a kernel)
    exact = t.Dict().tag(sync=True)                  # {"image", "place", "paint", "kept", "mime", "data"}: decoded live

    def __init__(self, decode=None, **traits) -> None:
        super().__init__(**traits)
        self._decode = decode
        if decode is not None:
            self.observe(self._decode_here, ["image", "place", "paint", "kept"])

    @t.validate("paint")
    def _is_a_replacement(self, proposal):
        if proposal.value is not None and proposal.value not in self.replacements:
            raise ValueError(f"paint must be None or one of the replacements {self.replacements}, got {proposal.value}")
        return proposal.value

    def grid(self) -> np.ndarray:
        """Return the codes (h, w) as they are painted now."""
        grid = np.array(self.codes[self.image])
        for place, code in (self.kept if self.paint is None else self.kept | {str(self.place): self.paint}).items():
            grid.flat[int(place)] = code
        return grid

    def pictures(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the chosen picture as encoded and as painted now, each uint8 (H, W[, 3])."""
        N, h, w = np.shape(self.codes)
        first, R = N * (2 if self.originals else 1), len(self.replacements)
        tiles = sprites.untile(sprites.decode(self.sheet, self.grey), first + N * h * w * R, self.columns,
                               self.height, self.width)
        base = tiles[self.image]
        if self.kept:                                    # more than one code: only the kernel can tell
            return base, sprites.decode(self.exact["data"], self.grey)
        if self.paint is None:
            return base, base
        return base, base + tiles[first + (self.image * h * w + self.place) * R + self.replacements.index(self.paint)]

    def sentence(self) -> str:
        """Return what was painted and how much of the picture it changes, in words."""
        row, column = divmod(self.place, np.shape(self.codes)[2])
        codes = np.array(self.codes[self.image])
        old, n = codes[row, column], int((self.grid() != codes).sum())
        new = ", as encoded" if self.paint in (None, old) else f" \N{RIGHTWARDS ARROW} {self.paint}"
        what = f"{n} code{'s' * (n != 1)} repainted" if self.kept else f"Place ({row}, {column}): code {old}{new}"
        return (f"{what}; changes {count_changed(*self.pictures())} of {self.height * self.width} pixels "
                f"by more than {LEVELS} of 255 levels")

    def _decode_here(self, change) -> None:
        data, mime = sprites.encode(run(self._decode, self.grid()[None])[0])
        self.exact = {"image": self.image, "place": self.place, "paint": self.paint, "kept": self.kept,
                      "mime": mime, "data": data}

    def picture(self) -> str:
        h, w = np.shape(self.codes)[1:]
        row, column = divmod(self.place, w)
        fig = Figure(figsize=(7, 2.6))
        canvas = FigureCanvasAgg(fig)
        panels = fig.subplots(1, 3, gridspec_kw={"left": 0, "right": 1, "bottom": 0, "top": 0.9, "wspace": 0.06})
        for ax, title in zip(panels, ("codes", "as encoded", "repainted")):
            ax.set_axis_off()
            ax.set_title(title, fontsize=9, y=1)
            ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#d55e00", linewidth=2))
        codes = np.array(self.codes[self.image])
        panels[0].imshow(to_rgba_array([self.colors[str(code)] for code in codes.flat]).reshape(h, w, 4))
        for (y, x), code in np.ndenumerate(codes):
            panels[0].text(x, y, code, ha="center", va="center", fontsize=min(8, 50 / max(h, w)), color="#111")
        for ax, pixels in zip(panels[1:], self.pictures()):
            ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(-0.5, w - 0.5, h - 0.5, -0.5))
        fig.set_dpi(150)
        canvas.draw()
        data, mime = sprites.encode(np.asarray(canvas.buffer_rgba())[..., :3])
        return f"{img_html(data, mime, self.alt, 600)}<figcaption>{escape(self.sentence())}.</figcaption>"
