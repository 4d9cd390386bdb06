"""Two continuous axes under the reader's finger: a map of decoded pictures, and the picture at the chosen point.

With no kernel it shows the nearest picture that was decoded, and says which; a blend of neighbours would be a picture
that the decoder never made. With a kernel it decodes the very point.

Shapes:  B batch, H and W picture sides; the grid has ny rows (first row: lowest y) and nx columns.
"""

from html import escape

import numpy as np
import torch
import traitlets as t

from genai_utils.widgets import sprites
from genai_utils.widgets.base import View, check_size, img_html, script


def explore_grid(grid=None, *, decode=None, x, y, alt, xlabel="x", ylabel="y", size=None):
    """Return an explorer of pictures over a plane; give `grid`, `decode`, or both.

    Args:
        grid: pictures at the nodes, uint8 (ny, nx, H, W) or (ny, nx, H, W, 3), first row lowest y; decoded if None.
        decode: maps points (B, 2) float32 [x, y] to pictures: uint8 (B, H, W[, 3]) or floats in [-1, 1], (B, C, H, W).
            Called for the whole grid if there is none, and for every point that a reader visits in a live notebook.
        x: (lo, hi, n) of the horizontal axis, n >= 2 nodes.
        y: (lo, hi, n) of the vertical axis.
        alt: what is to be seen, in 30 characters or more.
        xlabel: name of the horizontal axis, with its unit if it has one.
        ylabel: name of the vertical axis.
        size: width of the picture on the page, in CSS pixels; about 200 if None.
    Raises:
        ValueError: neither grid nor decode, an axis out of order, a shape that does not fit, or more than 400 kB.
    """
    for name, (lo, hi, n) in {"x": x, "y": y}.items():
        if not lo < hi or n < 2:
            raise ValueError(f"{name} must be (lo, hi, n) with lo < hi and n >= 2, got {(lo, hi, n)}")
    if grid is None:
        if decode is None:
            raise ValueError("give grid (pictures), decode (a function), or both")
        pictures = sprites.to_pictures(decode(nodes(x, y)))
        grid = pictures.reshape(y[2], x[2], *pictures.shape[1:])
    grid = sprites.to_numpy(grid)
    if grid.dtype != np.uint8 or grid.shape[:2] != (y[2], x[2]) or grid.ndim < 4 or grid.shape[4:] not in ((), (3,)):
        raise ValueError(f"grid must be uint8 ({y[2]}, {x[2]}, H, W[, 3]), got {grid.dtype} {grid.shape}")
    H, W = grid.shape[2:4]
    from_the_top = grid[::-1].reshape(-1, *grid.shape[2:])
    sheet, mime = sprites.encode(sprites.tile(from_the_top, x[2]))
    check_size(len(sheet), "take fewer nodes or smaller pictures")
    return GridExplorer(decode, alt=alt, sheet=sheet, mime=mime, height=H, width=W, grey=grid.ndim == 4,
                        x=[float(x[0]), float(x[1]), x[2]], y=[float(y[0]), float(y[1]), y[2]], xlabel=xlabel,
                        ylabel=ylabel, at=[(x[0] + x[1]) / 2, (y[0] + y[1]) / 2], size=size or sprites.zoom(W, 200))


def nodes(x, y) -> torch.Tensor:
    """Return the grid's points (ny nx, 2) as [x, y], row by row from the lowest y."""
    gy, gx = torch.meshgrid(torch.linspace(*y), torch.linspace(*x), indexing="ij")
    return torch.stack([gx.flatten(), gy.flatten()], 1)


class GridExplorer(View):
    """The widget that `explore_grid` returns; `at` is the chosen [x, y]."""

    _esm = script("explore_grid")
    sheet = t.Bytes().tag(sync=True)
    mime = t.Unicode().tag(sync=True)
    height = t.Int().tag(sync=True)
    width = t.Int().tag(sync=True)
    grey = t.Bool().tag(sync=True)
    x = t.List().tag(sync=True)
    y = t.List().tag(sync=True)
    xlabel = t.Unicode().tag(sync=True)
    ylabel = t.Unicode().tag(sync=True)
    size = t.Int().tag(sync=True)
    at = t.List(t.Float()).tag(sync=True)
    exact = t.Dict().tag(sync=True)                  # {"at": [x, y], "mime": ..., "data": bytes}: decoded by the kernel

    def __init__(self, decode=None, **traits) -> None:
        super().__init__(**traits)
        self._decode = decode
        if decode is not None:
            self.observe(self._decode_here, "at")

    def _decode_here(self, change) -> None:
        at = [float(v) for v in self.at]
        data, mime = sprites.encode(sprites.to_pictures(self._decode(torch.tensor([at])))[0])
        self.exact = {"at": at, "mime": mime, "data": data}

    def picture(self) -> str:
        nx, ny = self.x[2], self.y[2]
        image = img_html(self.sheet, self.mime, self.alt, min(560, 2 * nx * self.width), style="image-rendering:auto")
        across = f"{escape(self.xlabel)} from {self.x[0]:g} to {self.x[1]:g}"
        up = f"{escape(self.ylabel)} from {self.y[0]:g} to {self.y[1]:g}"
        return f"{image}<figcaption>Left to right: {across}. Bottom to top: {up}. {nx} by {ny} pictures.</figcaption>"
