"""Glyphs and digits: recorded bytes, factors that mean what they say, splits that share nothing."""

import hashlib

import pytest
import torch

from genai_utils.data import draw_glyphs, load
from genai_utils.data.glyphs import ATLAS, CHARACTERS, FONTS, LEVELS, REACH, SIZES, SLANTS, THICKNESSES, _atlas
from tools.make_atlas import face


def sha(x: torch.Tensor) -> str:
    return hashlib.sha256(x.numpy().tobytes()).hexdigest()


def draw(text: str, font: int = 0, size: float = 16.0, slant: float = 0.0, thickness: float = 0.0) -> torch.Tensor:
    columns = torch.tensor([[size, slant, thickness]]).repeat(len(text), 1)
    return draw_glyphs(text, torch.full((len(text),), font), *columns.T)


def test_glyphs_bytes_are_those_recorded():
    assert {split: sha(load("glyphs", split).images) for split in ("train", "test")} == RECORDED["glyphs"]


def test_digits_bytes_are_those_recorded():
    assert {split: sha(load("digits", split).images) for split in ("train", "test")} == RECORDED["digits"]


def test_glyphs_shapes_types_and_factors():
    data = load("glyphs", "test", n=300, classes="0AZ")
    assert data.images.shape == (300, 1, 28, 28) and data.images.dtype == torch.uint8
    assert data.classes == ("0", "A", "Z") and set(data.labels.tolist()) == {0, 1, 2}
    factors = data.extra["factors"]
    assert set(factors) == {"font", "size", "slant", "thickness"} and all(len(f) == 300 for f in factors.values())
    assert torch.equal(draw_glyphs("".join(data.classes[k] for k in data.labels), *factors.values()), data.images)


def test_glyphs_cover_every_level_of_every_factor():
    data = load("glyphs", n=5_000)
    levels = {"font": range(len(FONTS)), "size": SIZES, "slant": SLANTS, "thickness": THICKNESSES}
    for name, values in levels.items():
        assert torch.equal(data.extra["factors"][name].unique().double(), torch.tensor(list(values)).double()), name
    assert torch.bincount(data.labels, minlength=36).min() > 80  # 139 expected; 80 is 5 standard deviations below


def test_glyphs_of_the_test_never_occur_in_training():
    combinations = []
    for split in ("train", "test"):
        data = load("glyphs", split)
        rows = torch.stack([data.labels.float(), *(f.float() for f in data.extra["factors"].values())], 1)
        combinations.append({tuple(row) for row in rows.tolist()})
    assert len(combinations[1]) > 3_900 and not combinations[0] & combinations[1]


def test_letter_bytes_are_those_recorded():
    assert {split: sha(load("letter", split).images) for split in ("train", "test")} == RECORDED["letter"]


def test_letter_has_three_independent_uniform_factors_and_a_black_border():
    data = load("letter")
    factors = data.extra["factors"]
    assert set(factors) == {"size", "slant", "thickness"}
    levels = {k: v.unique(return_inverse=True)[1] for k, v in factors.items()}
    for name, level in levels.items():
        counts = torch.bincount(level)
        assert len(counts) == 16 and (counts - 625).abs().max() < 5 * 625**0.5, name
    for a, b in (("size", "slant"), ("size", "thickness"), ("slant", "thickness")):
        table = torch.bincount(16 * levels[a] + levels[b], minlength=256).double()  # 39 expected in each cell
        assert ((table - 10_000 / 256).square() / (10_000 / 256)).sum() < 255 + 5 * 510**0.5, (a, b)  # chi squared
    assert data.images[:, 0, [0, 27]].max() == 0  # a glow there would give size and thickness away


def test_letters_of_the_test_never_occur_in_training():
    rows = [torch.stack(list(load("letter", s).extra["factors"].values()), 1).tolist() for s in ("train", "test")]
    train, test = ({tuple(row) for row in part} for part in rows)
    assert len(test) > 900 and not train & test


def test_letter_draws_what_its_factors_say():
    data = load("letter", "test", n=50, character="A", seed=3)
    fonts = torch.zeros(50, dtype=torch.int64)
    assert torch.equal(draw_glyphs("A" * 50, fonts, *data.extra["factors"].values()), data.images)
    with pytest.raises(ValueError, match="got 'AB'"):
        load("letter", character="AB")
    with pytest.raises(ValueError, match="got 0"):
        load("letter", n=0)


def test_glyph_size_is_the_height_of_a_capital():
    for size in (11.0, 14.0, 18.0):
        ink = draw("H", size=size)[0, 0].float() / 255
        assert abs(ink.max(1).values.sum().item() - size) < 0.5


def test_glyph_thickness_widens_every_stroke_by_that_much():
    thin, thick = (draw("I", thickness=t)[0, 0].float() / 255 for t in (0.0, 0.8))
    row = 14  # across the stem
    assert abs((thick[row].sum() - thin[row].sum()).item() - 0.8) < 0.1


def test_glyph_slant_leans_to_the_right():
    ink = draw("I", size=16.0, slant=16.0)[0, 0].float()
    x = (ink * torch.arange(28.0)).sum(1) / ink.sum(1).clamp_min(1)
    lean = (x[8] - x[20]).item()  # 12 rows apart; tan(16 degrees) is 0.287
    assert abs(lean - 12 * 0.2867) < 0.3


def test_glyphs_are_all_drawn_and_all_different():
    for font in range(len(FONTS)):
        images = draw(CHARACTERS, font=font, size=16.0)
        assert images.amax((1, 2, 3)).min() > 150, FONTS[font]
        assert len({image.numpy().tobytes() for image in images}) == len(CHARACTERS), FONTS[font]


def test_glyphs_can_be_told_apart_by_nearest_neighbour():
    train, test = load("glyphs"), load("glyphs", "test", n=500)
    a, b = (d.images.flatten(1).float() / 255 for d in (train, test))
    right = (train.labels[torch.cdist(b, a).argmin(1)] == test.labels).float().mean()
    assert right > 0.85  # so labels fit images (chance is 0.03)


def test_atlas_is_small():
    assert ATLAS.stat().st_size < 1_000_000


def test_atlas_holds_what_the_tool_draws():
    for name in ("DejaVuSerif-Italic", "cmr10"):
        drawn = torch.from_numpy(face(name, "gR").astype("float64") - LEVELS) * (REACH / LEVELS)
        kept = _atlas()[FONTS.index(name), [CHARACTERS.index(c) for c in "gR"]]
        assert (drawn - kept).abs().mean() < 0.1  # cell pixels: versions of matplotlib differ a little


def test_glyphs_refuse_bad_input():
    with pytest.raises(ValueError, match="'é'"):
        load("glyphs", classes="aé")
    with pytest.raises(ValueError, match="different"):
        load("glyphs", classes="aa")
    with pytest.raises(ValueError, match="got 0"):
        load("glyphs", n=0)
    with pytest.raises(ValueError, match="within .0, 21."):
        draw("A", font=21)
    with pytest.raises(ValueError, match="size must be above 0"):
        draw("A", size=0)
    with pytest.raises(ValueError, match="slant"):
        draw("A", slant=90)
    with pytest.raises(ValueError, match="one length"):
        draw_glyphs("AB", *torch.zeros(4, 1))


def test_digits_splits_are_deterministic_and_complete():
    train, test = load("digits"), load("digits", "test")
    assert len(train) == 1_497 and len(test) == 300 and train.images.shape[1:] == (1, 8, 8)
    assert train.images.min() == 0 and train.images.max() == 255
    counts = torch.bincount(test.labels, minlength=10)
    assert test.labels.dtype == torch.int64 and counts.min() >= 20
    assert len(torch.cat([train.images, test.images]).unique()) == 17


RECORDED = {
    "glyphs": {
        "train": "57bbe056f2b9cd01b7038ce2194987f617fac3305f4f488f3b9a242f25cc0c29",
        "test": "56e2309d218328311530c6f03094fe24a8f2f3d17ebdac21f1a5ad6ad51650da",
    },
    "letter": {
        "train": "d33f77c9bb3c6ba34c5d0b57e86599b2d7feaa28cb03085681193ec2fa0bff9d",
        "test": "7546f9b446ce74e735c4be440c1c82fd24bc0279e997ab4deba5913c28697188",
    },
    "digits": {
        "train": "d3f9da36f1a5d2f236d74b819ee60ab8f947c1da10dd6cbb80727fa5518cdd5a",
        "test": "7104dcd06e72d0a9f90a0c387f19431db346eed8f39c3581b0851e86a9797e97",
    },
}
