"""The code explorer in Python: every repainted picture is stored bit for bit, and a kernel decodes what is painted."""

import base64
import re
from itertools import product

import numpy as np
import pytest
import torch

from genai_utils.widgets import CodeExplorer, explore_codes, sprites
from genai_utils.widgets.explore_codes import color, count_changed

ALT = "A picture as its grid of codes, for the sake of a test of the widget."
K, PALETTE = 9, [2, 7, 0]
CODES = torch.randint(0, K, (2, 3, 4), generator=torch.Generator().manual_seed(0))       # h = 3, w = 4: not square
STATE = ("alt", "sheet", "mime", "columns", "height", "width", "grey", "codes", "replacements", "colors", "originals",
         "names", "size")


def decoder(channels=1, calls=None):
    """A small decoder with the reach of a real one: neighbours blend, and the mean of the picture is taken out."""
    table = torch.rand(K, channels, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def decode(codes):
        if calls is not None:
            calls.append(codes)
        x = torch.nn.functional.interpolate(table[codes].permute(0, 3, 1, 2), scale_factor=4)     # (B, C, 4h, 4w)
        x = torch.nn.functional.avg_pool2d(x, 5, 1, 2)
        return (x - 0.3 * x.mean((1, 2, 3), keepdim=True)).clamp(-1, 1)

    return decode


def decoded(codes, channels=1):
    return sprites.to_pictures(decoder(channels)(codes))


def make(channels=1, **options):
    return explore_codes(CODES, decoder(channels), **{"replacements": PALETTE, "alt": ALT} | options)


@pytest.mark.parametrize("originals", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_single_repainting_is_stored_bit_for_bit(channels, originals):
    own = 255 - decoded(CODES, channels)
    explorer = make(channels, originals=own if originals else None)
    alone = CodeExplorer(**{k: explorer.get_state()[k] for k in STATE})                   # no kernel: the state alone
    signs = set()
    for image, place, code in product(range(2), range(12), [None, *PALETTE]):
        alone.image, alone.place, alone.paint = image, place, code
        grid = CODES[image].clone()
        if code is not None:
            grid[place // 4, place % 4] = code
        base, want = decoded(torch.stack([CODES[image], grid]), channels)
        before, after = alone.pictures()
        np.testing.assert_array_equal(before, base)
        np.testing.assert_array_equal(after, want)
        np.testing.assert_array_equal(alone.grid(), grid)
        signs |= set(np.sign(want.astype(int) - base).ravel().tolist())
    assert signs == {-1, 0, 1}                                                            # the sums do wrap around
    assert explorer.exact == {}


def test_originals_follow_the_decoded_pictures_in_the_sheet():
    own = 255 - decoded(CODES)
    explorer = make(originals=own)
    tiles = sprites.untile(sprites.decode(explorer.sheet, True), 4, explorer.columns, 12, 16)
    np.testing.assert_array_equal(tiles, np.concatenate([decoded(CODES), own]))


def test_decoder_gets_int64_codes_and_one_call_for_each_picture():
    calls = []
    explore_codes(CODES.to(torch.int16), decoder(calls=calls), replacements=PALETTE, alt=ALT)
    assert [tuple(codes.shape) for codes in calls] == [(2, 3, 4), (36, 3, 4), (36, 3, 4)]
    assert {codes.dtype for codes in calls} == {torch.int64}


def test_no_gradient_is_kept_from_the_decoder():
    seen = []

    def decode(codes):
        seen.append(torch.is_grad_enabled())
        return decoder()(codes)

    explore_codes(CODES, decode, replacements=PALETTE, alt=ALT).image = 1
    assert seen == [False] * 4


def test_first_frame_shows_the_largest_change():
    explorer, best = make(), 0
    alone = CodeExplorer(**{k: explorer.get_state()[k] for k in STATE})
    for place, code in product(range(12), PALETTE):
        alone.place, alone.paint = place, code
        best = max(best, count_changed(*alone.pictures()))
    assert count_changed(*explorer.pictures()) == best > 0


def test_kernel_decodes_all_codes_that_are_painted():
    explorer = make()
    explorer.place, explorer.paint = 5, 7
    explorer.kept = {"0": 2, "11": 0}
    grid = CODES[0].clone()
    grid[0, 0], grid[2, 3], grid[1, 1] = 2, 0, 7
    np.testing.assert_array_equal(explorer.grid(), grid)
    want = decoded(grid[None])[0]
    np.testing.assert_array_equal(sprites.decode(explorer.exact["data"], grey=True), want)
    np.testing.assert_array_equal(explorer.pictures()[1], want)
    assert {k: explorer.exact[k] for k in ("image", "place", "paint", "kept")} == {
        "image": 0, "place": 5, "paint": 7, "kept": {"0": 2, "11": 0}}
    n = (np.abs(want.astype(int) - decoded(CODES[:1])[0]) > 5).sum()
    assert n > 0
    assert explorer.sentence() == f"3 codes repainted; changes {n} of 192 pixels by more than 5 of 255 levels"
    explorer.place, explorer.paint = 11, CODES[0, 2, 3].item()              # (2, 3) has its own code again
    assert explorer.sentence().startswith("1 code repainted; ")


@pytest.mark.parametrize("trait, value", [
    ("image", 1), ("place", 3), ("paint", 0), ("paint", None), ("kept", {"1": 2}),
])
def test_each_choice_of_the_reader_reaches_the_kernel(trait, value):
    explorer = make()
    explorer.place, explorer.paint = 7, 2
    setattr(explorer, trait, value)
    assert explorer.exact[trait] == value
    want = decoded(torch.from_numpy(explorer.grid())[None])[0]
    np.testing.assert_array_equal(sprites.decode(explorer.exact["data"], grey=True), want)


def test_a_place_painted_twice_has_the_later_code():
    explorer = make()
    explorer.kept, explorer.place, explorer.paint = {"6": 2}, 6, 7
    assert explorer.grid()[1, 2] == 7
    explorer.paint = None
    assert explorer.grid()[1, 2] == 2


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3)])
def test_changed_pixels_are_those_beyond_five_levels_in_either_direction(shape):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 12, (2, *shape)).astype(np.uint8)
    pairs = zip(a.reshape(30, -1).tolist(), b.reshape(30, -1).tolist())
    naive = sum(any(abs(p - q) > 5 for p, q in zip(x, y)) for x, y in pairs)
    assert count_changed(a, b) == count_changed(b, a) == naive
    assert 0 < naive < 30


def test_sentence_names_place_codes_and_pixels():
    explorer = make()
    explorer.place, explorer.paint = 6, 0
    before, after = explorer.pictures()
    n = (np.abs(before.astype(int) - after) > 5).sum()
    assert explorer.sentence() == (f"Place (1, 2): code {CODES[0, 1, 2]} \N{RIGHTWARDS ARROW} 0; "
                                   f"changes {n} of 192 pixels by more than 5 of 255 levels")
    for code in (None, CODES[0, 1, 2].item()):
        explorer.paint = code
        assert explorer.sentence().startswith(f"Place (1, 2): code {CODES[0, 1, 2]}, as encoded; changes 0 of 192")


def test_figure_shows_codes_and_pictures_and_says_what_changes():
    explorer = make(replacements=[3, 5])
    figure = explorer.figure()
    mime, data = re.search(r'src="data:(image/\w+);base64,([^"]+)"', figure).groups()
    pixels = sprites.decode(base64.b64decode(data), grey=False)
    assert f'alt="{ALT}"' in figure and explorer.sentence() in figure and pixels.shape[1] == 1050
    seen = set(map(tuple, pixels.reshape(-1, 3).tolist()))
    shown = {k for k in range(K) if tuple(bytes.fromhex(color(k)[1:])) in seen}
    assert shown == set(CODES[0].ravel().tolist())                                        # unpainted


def test_codes_are_legible_and_told_apart():
    def luminance(css):
        c = np.array(list(bytes.fromhex(css[1:]))) / 255
        c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)              # WCAG 2, relative luminance
        return c @ [0.2126, 0.7152, 0.0722]

    colors = [color(k) for k in range(512)]
    ink = luminance("#111111")
    assert min((luminance(c) + 0.05) / (ink + 0.05) for c in colors) >= 7
    assert len(set(colors[:64])) == 64 and all(a != b for a, b in zip(colors, colors[1:]))


@pytest.mark.parametrize("arguments, message", [
    (dict(codes=CODES[0]), "codes must be integers"),
    (dict(codes=CODES.float()), "codes must be integers"),
    (dict(codes=CODES[:0]), "N from 1 to 6"),
    (dict(codes=CODES.repeat(4, 1, 1)), "N from 1 to 6"),
    (dict(codes=CODES - 4), "codes must be 0 or more, got -4"),
    (dict(replacements=[]), "replacements must be different"),
    (dict(replacements=[1, 1]), "replacements must be different"),
    (dict(replacements=[1, -1]), "replacements must be different"),
    (dict(names=["one"]), "2 different names"),
    (dict(names=["one", "one"]), "2 different names"),
    (dict(alt="too short"), "30 characters"),
    (dict(originals=np.zeros((2, 12, 15), np.uint8)), r"originals must be like .* \(2, 12, 16\), got \(2, 12, 15\)"),
    (dict(originals=decoded(CODES, 3)), "originals must be like"),
    (dict(decode=lambda codes: decoder()(codes)[:1]), "a picture for each of 2 grids, got 1"),
    (dict(decode=lambda codes: decoder()(codes)[:, 0]), "want uint8"),
    (dict(decode=lambda codes: torch.rand(len(codes), 1, 99, 99) * 2 - 1), "limit is 400 kB"),
])
def test_explorer_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        explore_codes(**{"codes": CODES, "decode": decoder(), "replacements": PALETTE, "alt": ALT} | arguments)


def test_explorer_refuses_a_code_that_is_not_among_the_replacements():
    explorer = make()
    with pytest.raises(ValueError, match=r"one of the replacements \[2, 7, 0\], got 5"):
        explorer.paint = 5


def test_same_data_gives_the_same_figure_and_other_data_another():
    a, b, c = (explore_codes(x, decoder(), replacements=PALETTE, alt=ALT) for x in (CODES, CODES, CODES.flip(1)))
    assert a.uid == b.uid != c.uid


def test_script_imports_nothing_and_names_no_address():
    state = make().get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
