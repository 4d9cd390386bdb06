"""Before and after in Python: pictures come back bit for bit, words say what is shown, and what is refused."""

import re

import numpy as np
import pytest
import torch

from genai_utils.widgets import PictureComparer, compare_pictures, sprites

ALT = "Made-up pictures before and after nothing in particular, in a test."
STATE = ("alt", "sheet", "mime", "columns", "height", "width", "grey", "names", "labels", "choice", "size")


def pairs(K=3, P=2, H=8, W=10, *colour, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (K, P, H, W, *colour), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 2, 8, 10), (3, 2, 8, 10), (7, 3, 9, 5), (4, 3, 8, 10, 3)])
def test_state_alone_gives_every_picture_back_bit_for_bit(shape):
    x = pairs(*shape)
    made = compare_pictures(x, alt=ALT, labels="abc"[: shape[1]])
    alone = PictureComparer(**{k: made.get_state()[k] for k in STATE})
    np.testing.assert_array_equal(alone.pictures(), x)


def test_nested_lists_of_tensors_go_in_as_arrays_do():
    x = pairs()
    nested = [[torch.from_numpy(picture) for picture in pair] for pair in x]
    assert compare_pictures(nested, alt=ALT).sheet == compare_pictures(x, alt=ALT).sheet


def test_pictures_of_a_pair_lie_beside_each_other_in_the_sheet():
    x = pairs(5, 3)
    made = compare_pictures(x, alt=ALT, labels="abc")
    sheet, (H, W) = sprites.decode(made.sheet, True), x.shape[2:]
    assert made.columns % 3 == 0
    row, column = divmod(4 * 3, made.columns)
    at = sheet[row * H : (row + 1) * H, column * W : (column + 3) * W]
    np.testing.assert_array_equal(at, np.concatenate(list(x[4]), axis=1))


def test_sentence_says_how_much_of_each_is_shown():
    made = compare_pictures(pairs(), alt=ALT, labels=("horse", "zebra"))
    assert made.sentence() == "50 % horse, 50 % zebra"
    made.share = 100
    assert made.sentence() == "100 % horse, 0 % zebra"
    for name, most in (("share", 100), ("pair", 2)):
        for wrong in (-1, most + 1):
            with pytest.raises(ValueError, match=f"{name} must be from 0 to {most}, got {wrong}"):
                setattr(made, name, wrong)


def test_static_figure_has_a_row_for_each_label_and_a_column_for_each_pair():
    x = pairs(4, 3)
    figure = compare_pictures(x, alt=ALT, names=list("pqrs"), labels=("A", "B", "true B")).figure()
    assert f'alt="{ALT}"' in figure and "A (above), B (middle), true B (below): p, q, r, s" in figure
    other = compare_pictures(x[:, :2], alt=ALT).figure()
    assert "before (above), after (below): 1, 2, 3, 4" in other


@pytest.mark.parametrize("arguments, message", [
    (dict(alt="too short"), "30 characters"),
    (dict(pairs=pairs() / 255), "uint8"),
    (dict(pairs=pairs(3, 4)), r"pairs must be \(K, 2, H, W\)"),
    (dict(pairs=pairs(3, 2, 8, 10, 4)), "pairs must be"),
    (dict(pairs=pairs()[0]), "pairs must be"),
    (dict(pairs=pairs(0)), "pairs must be"),
    (dict(pairs=pairs(3, 3)), "labels must be 3 different texts"),
    (dict(labels=("a", "a")), "labels must be 2 different texts"),
    (dict(names=["a", "b"]), "names must be 3 different names"),
    (dict(names=["a", "b", "a"]), "names must be 3 different names"),
    (dict(pairs=pairs(4, 2, 256, 256)), "the limit is 400 kB"),
])  # fmt: skip
def test_comparer_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        compare_pictures(**{"pairs": pairs(), "alt": ALT} | arguments)


def test_script_imports_nothing_and_names_no_address():
    state = compare_pictures(pairs(), alt=ALT).get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
