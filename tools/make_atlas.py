"""Draw the faces behind the `glyphs` data set once and write them as genai_utils/data/atlas.png.

Usage:  python tools/make_atlas.py            (writes the atlas and prints its sha256)

Drawing depends on the version of matplotlib and FreeType, so the package ships what this script drew (with matplotlib
3.11.2, in a minute) and never draws fonts itself. Every cell is a signed distance field: distance to the outline in
cell pixels, positive inside the ink. Thresholding such a field draws the glyph at any size, and shifting the threshold
thickens or thins its strokes.
Fonts: matplotlib's own DejaVu, STIX and Computer Modern faces (their licences allow redistribution of such drawings).
"""

import hashlib
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font, LoadFlags
from PIL import Image
from scipy.ndimage import distance_transform_edt

from genai_utils.data.glyphs import ATLAS, CAP, CELL, CHARACTERS, FONTS, LEVELS, REACH

FINE = 12  # drawn pixels per cell pixel


def draw(font: FT2Font, character: str, em: float) -> tuple[np.ndarray, int]:
    """Return the glyph's ink (H, W) bool at `em` pixels per em, and the number of its rows above the baseline."""
    font.clear()
    font.set_size(em, 72)
    font.set_text(character, 0.0, flags=LoadFlags.NO_HINTING)
    font.draw_glyphs_to_bitmap(antialiased=True)
    ink = np.asarray(font.get_image()) > 127
    rows, cols = np.nonzero(ink.any(1))[0], np.nonzero(ink.any(0))[0]
    below = round(font.get_descent() / 64)
    return ink[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1], ink.shape[0] - below - rows[0]


def cell(ink: np.ndarray, above: int) -> np.ndarray:
    """Return one cell (CELL, CELL) uint8: the signed distance, centred sideways, cap height centred up and down."""
    side = CELL * FINE
    canvas = np.zeros((side, side), dtype=bool)
    top = (side + CAP * FINE) // 2 - above
    left = (side - ink.shape[1]) // 2
    if min(top, left) < 0 or top + ink.shape[0] > side:
        raise ValueError(f"a glyph of {ink.shape} drawn pixels does not fit into the cell of {side}")
    canvas[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    distance = np.where(canvas, distance_transform_edt(canvas) - 0.5, 0.5 - distance_transform_edt(~canvas)) / FINE
    distance = distance.reshape(CELL, FINE, CELL, FINE).mean((1, 3))
    scaled = np.clip(distance / REACH, -1, 1) * LEVELS
    return (np.round(scaled) + LEVELS).astype(np.uint8)


def face(name: str, characters: str = CHARACTERS) -> np.ndarray:
    """Return the cells of one font, (len(characters), CELL, CELL) uint8."""
    font = FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"))
    em = 100 * FINE * CAP * FINE / len(draw(font, "H", 100 * FINE)[0])  # so that the height of H becomes CAP
    return np.stack([cell(*draw(font, character, em)) for character in characters])


def main() -> None:
    atlas = np.stack([face(name) for name in FONTS])
    picture = Image.fromarray(atlas.transpose(0, 2, 1, 3).reshape(len(FONTS) * CELL, len(CHARACTERS) * CELL))
    picture.save(ATLAS, optimize=True)
    digest = hashlib.sha256(atlas.tobytes()).hexdigest()
    print(f"matplotlib {matplotlib.__version__}; {ATLAS}: {ATLAS.stat().st_size} bytes, sha256 of the cells {digest}")


if __name__ == "__main__":
    main()
