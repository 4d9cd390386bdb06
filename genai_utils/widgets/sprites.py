"""Many small pictures in one file, stored without loss: what goes in comes out bit for bit, in Python and in a browser.

Shapes:  N pictures, H and W their sides in pixels; colour pictures end in 3, grey ones have no channel axis.
"""

import io
import math

import numpy as np
from PIL import Image, features

WEBP_SIDE = 16383     # the longest side that WebP can hold


def to_numpy(x) -> np.ndarray:
    """Return an array, a tensor on any device, or a list of either, as one numpy array."""
    if isinstance(x, (list, tuple)):
        return np.stack([to_numpy(part) for part in x])
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def encode(pixels: np.ndarray, png: bytes | None = None) -> tuple[bytes, str]:
    """Return (data, mime) of one uint8 picture (H, W) or (H, W, 3): PNG or lossless WebP, whichever is smaller.

    Args:
        pixels: the picture.
        png: the same picture as PNG, if it exists already.
    """
    image = Image.fromarray(pixels)
    if png is None:
        file = io.BytesIO()
        image.save(file, "PNG", optimize=True)
        png = file.getvalue()
    found = (png, "image/png")
    if features.check("webp") and max(pixels.shape[:2]) <= WEBP_SIDE:
        webp = io.BytesIO()
        image.save(webp, "WEBP", lossless=True, exact=True, method=4)
        found = min(found, (webp.getvalue(), "image/webp"), key=lambda f: len(f[0]))
    return found


def tile(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Lay (N, H, W[, 3]) pictures out in rows of `columns`; the last row is filled with black."""
    blanks = -len(pictures) % columns
    full = np.concatenate([pictures, np.zeros((blanks, *pictures.shape[1:]), pictures.dtype)])
    rows = full.reshape(-1, columns, *full.shape[1:]).swapaxes(1, 2)                     # (R, H, columns, W[, 3])
    return rows.reshape(rows.shape[0] * rows.shape[1], -1, *full.shape[3:])


def untile(sheet: np.ndarray, n: int, columns: int, height: int, width: int) -> np.ndarray:
    """Return the N pictures that `tile` laid out."""
    rows = sheet.reshape(-1, height, columns, width, *sheet.shape[2:]).swapaxes(1, 2)
    return rows.reshape(-1, height, width, *sheet.shape[2:])[:n]


def best_columns(n: int, height: int, width: int) -> int:
    """Return how many pictures per row make a sheet that is about square."""
    return max(1, min(n, round(math.sqrt(n * height / width))))


def decode(data: bytes, grey: bool) -> np.ndarray:
    """Return the pixels of a picture that `encode` stored: (H, W) if `grey`, else (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("L" if grey else "RGB"))


def to_pictures(x) -> np.ndarray:
    """Return pictures as uint8 (B, H, W) or (B, H, W, 3); floats are taken as (B, C, H, W) in [-1, 1], C = 1 or 3.

    Raises:
        ValueError: the shape or dtype is neither.
    """
    x = to_numpy(x)
    if x.dtype == np.uint8 and (x.ndim == 3 or x.ndim == 4 and x.shape[-1] == 3):
        return x
    if x.dtype.kind == "f" and x.ndim == 4 and x.shape[1] in (1, 3):
        pixels = np.rint((x.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
        return pixels[:, 0] if x.shape[1] == 1 else pixels.transpose(0, 2, 3, 1)
    raise ValueError(f"want uint8 (B, H, W[, 3]) or floats (B, C, H, W) in [-1, 1], got {x.dtype} {x.shape}")


def zoom(width: int, target: int) -> int:
    """Return the CSS width of a picture: the whole multiple of its pixels nearest to `target`."""
    return width * max(1, round(target / width))
