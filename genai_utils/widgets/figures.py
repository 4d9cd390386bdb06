"""Figures with alt text, and grids of pictures.

Shapes:  N pictures, C channels (1 or 3), H and W their sides in pixels.
"""

import io
import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from PIL import Image

from genai_utils.widgets import sprites
from genai_utils.widgets.base import check_alt, emit, img_html

CARD = "background:#fff;border-radius:6px;padding:4px;"     # a white card, so that dark pages do not swallow black text


def show(fig: Figure, alt: str) -> None:
    """Show a matplotlib figure as a picture with alt text, sharp on dense screens, and close it.

    Args:
        fig: the figure; one inch of it is 100 CSS pixels on the page, fewer where the page is narrow.
        alt: what is to be seen, in 30 characters or more; unique in the book.
    Raises:
        ValueError: alt says too little.
    """
    alt = check_alt(alt)
    raw = io.BytesIO()
    fig.savefig(raw, format="png", dpi=200, facecolor="white")
    plt.close(fig)
    data, mime = sprites.encode(np.asarray(Image.open(raw).convert("RGB")), raw.getvalue())
    html = img_html(data, mime, alt, round(100 * fig.get_figwidth()), style=CARD, kind="gw-figure")
    emit(html, alt)


def text_width(text: str, size: int = 8) -> int:
    """Return the width of a text of `size` points, in CSS pixels."""
    return math.ceil(TextPath((0, 0), text, size=size).get_extents().width * 100 / 72) if text.strip() else 0


def image_grid(images, columns: int, *, titles=None, row_titles=None, scale: int | None = None, gap: int = 2) -> Figure:
    """Return a figure of pictures in rows, every pixel a crisp square; show it with `show(fig, alt)`.

    Args:
        images: (N, C, H, W), uint8 or floats in [-1, 1]; floats beyond are clipped.
        columns: pictures per row.
        titles: N short texts, one above each picture; or `columns` texts, above the first row only.
        row_titles: a text to the left of each row.
        scale: CSS pixels per picture pixel; whole. As large as 640 CSS pixels allow if None, at most 64 a picture.
        gap: picture pixels between neighbours.
    Raises:
        ValueError: a shape, dtype or number of titles does not fit.
    """
    x = sprites.to_numpy(images)
    if x.ndim != 4 or x.shape[1] not in (1, 3) or not len(x) or x.dtype != np.uint8 and x.dtype.kind != "f":
        raise ValueError(f"images must be (N, C, H, W) with C = 1 or 3, uint8 or float, got {x.dtype} {x.shape}")
    n, _, H, W = x.shape
    rows, columns = math.ceil(n / columns), min(n, columns)
    if titles is not None and len(titles) not in (n, columns) or row_titles is not None and len(row_titles) != rows:
        raise ValueError(f"give {n} or {columns} titles and {rows} row titles, "
                         f"got {len(titles or [])} and {len(row_titles or [])}")
    if x.dtype != np.uint8:
        x = np.rint((np.nan_to_num(x.astype(np.float32)).clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    scale = scale or max(1, min(64 // W, 640 // (columns * (W + gap))))
    padded = np.pad(x.transpose(0, 2, 3, 1), ((0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    blanks = np.full((rows * columns - n, *padded.shape[1:]), 255, np.uint8)
    sheet = sprites.tile(np.concatenate([padded, blanks]), columns)[: -gap or None, : -gap or None]

    above = 0 if titles is None else 16                                                  # CSS pixels for a line of text
    every = titles is not None and len(titles) == n and rows > 1
    left = 0 if row_titles is None else 10 + max(text_width(r) for r in row_titles)
    step = (H + gap) * scale + (above if every else 0)
    width = left + sheet.shape[1] * scale
    height = (above if not every else 0) + rows * step - (0 if every else gap * scale)
    fig = plt.figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white", layout="none")
    for r in range(rows):
        top = (above if not every else 0) + r * step + (above if every else 0)
        band = sheet[r * (H + gap) : r * (H + gap) + H]
        box = [left / width, 1 - (top + H * scale) / height, 1 - left / width, H * scale / height]
        ax = fig.add_axes(box)
        ax.imshow(band if x.shape[1] == 3 else band.repeat(3, -1), interpolation="nearest", aspect="auto")
        ax.axis("off")
        if titles is not None and (every or r == 0):
            for c in range(min(columns, n - r * columns)):
                middle = (left + (c * (W + gap) + W / 2) * scale) / width
                fig.text(middle, 1 - (top - 3) / height, titles[r * columns + c], ha="center", va="bottom", size=8)
        if row_titles is not None:
            middle = 1 - (top + H * scale / 2) / height
            fig.text((left - 6) / width, middle, row_titles[r], ha="right", va="center", size=8)
    return fig
