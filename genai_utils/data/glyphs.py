"""Glyphs: 28x28 letters and digits whose every factor of variation is known: class, font, size, slant, thickness.

Sources: 21 faces that matplotlib bundles (DejaVu, STIX, Computer Modern), drawn once by tools/make_atlas.py into
         atlas.png. A cell of that atlas is a signed distance field (Green 2007, SIGGRAPH courses), so one drawing gives
         every size and every thickness of stroke.
Shapes:  N images, F fonts, K characters, S side of an atlas cell.
"""

import math
import string
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from genai_utils.data.sets import ImageSet

ATLAS = Path(__file__).with_name("atlas.png")
CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmti10", "cmss10", "cmtt10"),
)
CELL, CAP = 64, 36  # side of a cell and height of a capital letter, in cell pixels
REACH, LEVELS = 4.0, 63  # distances are clipped at REACH cell pixels and stored in 2 * LEVELS + 1 steps
SIDE = 28
SIZES = tuple(11 + k / 2 for k in range(15))  # height of a capital letter in pixels, 11 to 18
SLANTS = tuple(range(-16, 17, 2))  # degrees; positive leans to the right
THICKNESSES = tuple((k - 2) / 10 for k in range(12))  # pixels added to the width of every stroke, -0.2 to 0.9


@cache
def _atlas() -> Tensor:
    """Return the signed distances, (F, K, S, S) float64, in cell pixels, positive inside the ink."""
    picture = np.asarray(Image.open(ATLAS)).astype(np.float64)
    cells = picture.reshape(len(FONTS), CELL, len(CHARACTERS), CELL).transpose(0, 2, 1, 3)
    return torch.from_numpy(np.ascontiguousarray((cells - LEVELS) * (REACH / LEVELS)))


def draw_glyphs(characters: str, fonts: Tensor, size: Tensor, slant: Tensor, thickness: Tensor) -> Tensor:
    """Return the drawn glyphs, (N, 1, 28, 28) uint8, ink 255 on 0.

    Args:
        characters: N characters of `CHARACTERS`.
        fonts: (N,) int64, indices into `FONTS`.
        size: (N,) height of a capital letter, in pixels; above 0.
        slant: (N,) degrees that uprights lean to the right, within (-90, 90).
        thickness: (N,) pixels added to the width of every stroke; may be negative.
    Raises:
        ValueError: a character or font that the atlas does not hold, lengths that differ, a size or slant out of range.
    """
    if unknown := sorted(set(characters) - set(CHARACTERS)):
        raise ValueError(f"no glyph for {''.join(unknown)!r}; there are {CHARACTERS}")
    if {len(fonts), len(size), len(slant), len(thickness)} != {len(characters)}:
        raise ValueError("characters, fonts, size, slant and thickness must have one length")
    if len(fonts) and not 0 <= int(fonts.min()) <= int(fonts.max()) < len(FONTS):
        raise ValueError(f"fonts must be within [0, {len(FONTS)}), got {int(fonts.min())} to {int(fonts.max())}")
    if not (size > 0).all():
        raise ValueError(f"size must be above 0, got {size.min().item():g}")
    if not (slant.abs() < 90).all():
        raise ValueError(f"slant must be within (-90, 90) degrees, got up to {slant.abs().max().item():g}")
    which = torch.tensor([CHARACTERS.index(c) for c in characters], dtype=torch.int64)
    # float64: rounding errors then move a pixel across a rounding border so rarely that bytes agree between platforms
    zoom, lean = CAP / size.double(), torch.tan(slant.double() * (math.pi / 180))  # cell pixels per pixel, and shear
    theta = torch.zeros(len(which), 2, 3, dtype=torch.float64)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom * (SIDE / CELL)
    theta[:, 0, 1] = theta[:, 0, 0] * lean
    images = torch.empty(len(which), 1, SIDE, SIDE, dtype=torch.uint8)
    for part in torch.arange(len(which)).split(1000):
        grid = affine_grid(theta[part], [len(part), 1, SIDE, SIDE], align_corners=False)
        cells = _atlas()[fonts[part], which[part]].unsqueeze(1)
        distance = grid_sample(cells, grid, padding_mode="border", align_corners=False)  # cell pixels
        inside = distance / zoom[part].view(-1, 1, 1, 1) + thickness[part].double().view(-1, 1, 1, 1) / 2
        coverage = (inside + 0.5).clamp(0, 1)  # of a pixel, where the outline passes `inside` pixels from its centre
        images[part] = (coverage * 255 + 0.500001).to(torch.uint8)  # the odd 1e-6 keeps exact halves off the border
    return images


def glyphs(split: str = "train", *, n: int | None = None, classes: str = CHARACTERS[:36], seed: int = 0) -> ImageSet:
    """Return n glyphs with factors drawn independently and uniformly; no test combination occurs in training.

    Args:
        split: "train" (20,000 by default) or "test" (4,000).
        n: how many.
        classes: the characters to draw, of 0-9, A-Z, a-z; label k is classes[k].
        seed: other seeds give other draws of the same distribution.
    `extra["factors"]` holds font (index into `extra["fonts"]`), size (pixels), slant (degrees), thickness (pixels).
    """
    n = {"train": 20_000, "test": 4_000}[split] if n is None else n
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if not classes or len(set(classes)) != len(classes):
        raise ValueError(f"classes must be different characters, at least one, got {classes!r}")
    rng = np.random.RandomState([seed, split == "test"])  # the one generator of numpy whose stream is frozen (NEP 19)
    label, font, k_size, k_slant, row, other = (
        rng.randint(0, high, n, dtype=np.int64)
        for high in (len(classes), len(FONTS), len(SIZES), len(SLANTS), len(THICKNESSES) // 6, 5)
    )
    residue = 0 if split == "test" else 1 + other  # of k_size + k_slant + k_thickness by 6: what tells the splits apart
    k_thickness = 6 * row + (residue - k_size - k_slant) % 6
    factors = {
        "font": torch.from_numpy(font),
        "size": torch.tensor(SIZES)[k_size],
        "slant": torch.tensor(SLANTS, dtype=torch.float32)[k_slant],
        "thickness": torch.tensor(THICKNESSES)[k_thickness],
    }
    images = draw_glyphs("".join(classes[k] for k in label), *factors.values())
    extra = {"factors": factors, "fonts": FONTS}
    return ImageSet("glyphs", images, torch.from_numpy(label), tuple(classes), extra)


def letter(split: str = "train", *, n: int | None = None, character: str = "H", seed: int = 0) -> ImageSet:
    """Return n drawings of one letter of one font: a small world with three causes, independent, uniform and all known.

    Args:
        split: "train" (10,000 by default) or "test" (4,000); no test combination occurs in training.
        n: how many.
        character: which letter or digit.
        seed: other seeds give other draws of the same distribution.
    `extra["factors"]` holds size (pixels), slant (degrees) and thickness (pixels), 16 levels each: 11 to 20, -30 to
    30 and -0.2 to 1.3.
    """
    n = {"train": 10_000, "test": 4_000}[split] if n is None else n
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if len(character) != 1:
        raise ValueError(f"character must be one of {CHARACTERS}, got {character!r}")
    rng = np.random.RandomState([seed, split == "test"])
    k_size, k_slant, quarter, other = (rng.randint(0, high, n, dtype=np.int64) for high in (16, 16, 4, 3))
    residue = 0 if split == "test" else 1 + other  # of k_size + k_slant + k_thickness by 4
    k_thickness = 4 * quarter + (residue - k_size - k_slant) % 4
    factors = {
        "size": torch.from_numpy(11 + 0.6 * k_size).float(),
        "slant": torch.from_numpy(4.0 * k_slant - 30).float(),
        "thickness": torch.from_numpy((k_thickness - 2) / 10).float(),
    }
    images = draw_glyphs(character * n, torch.zeros(n, dtype=torch.int64), *factors.values())
    return ImageSet("letter", images, torch.zeros(n, dtype=torch.int64), (character,), {"factors": factors})
