"""Widgets in Python: what is stored comes back bit for bit, the static figure is complete, bad input is named."""

import base64
import re

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from genai_utils.diffusion.process import q_sample
from genai_utils.diffusion.schedules import cosine_schedule, linear_schedule, rescale_zero_snr
from genai_utils.widgets import (
    explore_grid,
    explore_schedule,
    film_digest,
    film_from_state,
    play_frames,
    sprites,
)

ALT = "Noise in which nothing is to be seen, for the sake of a test."


def film(n=7, *shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *(shape or (9, 12))), dtype=np.uint8)


def picture_of(html):
    mime, data = re.search(r'src="data:(image/\w+);base64,([^"]+)"', html).groups()
    return mime, base64.b64decode(data)


@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 3)])
@pytest.mark.parametrize("n", [1, 5, 12])
def test_sheet_gives_every_picture_back_bit_for_bit(n, shape):
    pictures = film(n, *shape)
    columns = sprites.best_columns(n, 9, 12)
    data, mime = sprites.encode(sprites.tile(pictures, columns))
    back = sprites.untile(sprites.decode(data, grey=len(shape) == 2), n, columns, 9, 12)
    assert mime in ("image/png", "image/webp")
    np.testing.assert_array_equal(back, pictures)


@pytest.mark.parametrize("panels, shape", [
    (None, (9, 12)), (None, (9, 12, 3)), (("a", "b"), (2, 9, 12)), (("a", "b"), (2, 9, 12, 3)),
])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, list])
def test_player_stores_films_bit_for_bit(panels, shape, kind):
    films = {"long": film(11, *shape), "short": film(4, *shape, seed=1)}
    player = play_frames({k: kind(v) for k, v in films.items()}, alt=ALT, panels=panels, seed=3)
    state = player.get_state()
    for reel in player.reels:
        want = films[reel["name"]]
        got = film_from_state(state, reel["name"])
        np.testing.assert_array_equal(got if panels else got[:, 0], want)
        assert reel["digest"] == film_digest(want, panels)
    assert state["seed"] == 3 and [r["n"] for r in player.reels] == [11, 4]


def test_digest_tells_films_apart_by_pixel_order_and_shape():
    x = film()
    changed = x.copy()
    changed[3, 2, 1] ^= 1
    assert len({film_digest(x), film_digest(changed), film_digest(x[::-1]), film_digest(x.reshape(7, 12, 9))}) == 4


@pytest.mark.parametrize("arguments, message", [
    (dict(films=film().astype(np.float32)), "uint8"),
    (dict(films=film(7, 9)), "a film must be"),
    (dict(films=film(7, 9, 12, 4)), "a film must be"),
    (dict(films=film(7, 3, 9, 12), panels=("a", "b")), "3 panels but panels= names 2"),
    (dict(films=film(), captions=["one"]), "7 frames but 1 captions"),
    (dict(films={"a": film(), "b": film(7, 9, 9)}), "must agree"),
    (dict(films={}), "at least one film"),
    (dict(films=film(), alt="too short"), "30 characters"),
    (dict(films=film(60, 100, 100)), "limit is 400 kB"),
])
def test_player_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        play_frames(**{"alt": ALT} | arguments)


def test_captions_default_to_the_label_and_a_number():
    player = play_frames({"a": film(2), "b": film(3)}, alt=ALT, label="epoch", captions={"b": ["x", "y", "z"]})
    assert [r["captions"] for r in player.reels] == [["epoch 0", "epoch 1"], ["x", "y", "z"]]


@pytest.mark.parametrize("make", [
    lambda: play_frames(film(), alt=ALT),
    lambda: explore_grid(film(12, 8, 8).reshape(3, 4, 8, 8), x=(-1, 1, 4), y=(0, 2, 3), alt=ALT),
    lambda: explore_schedule(film(1)[0], alt=ALT),
], ids=["play_frames", "explore_grid", "explore_schedule"])
def test_widget_shows_a_static_figure_first_and_then_itself(make):
    InteractiveShell.instance()
    try:
        with capture_output() as shown:
            make()._ipython_display_()
    finally:
        InteractiveShell.clear_instance()
    still, live = (output.data for output in shown.outputs)
    assert f'alt="{ALT}"' in still["text/html"] and "<figcaption>" in still["text/html"]
    assert sprites.decode(picture_of(still["text/html"])[1], grey=False).size > 0
    assert live["application/vnd.jupyter.widget-view+json"]["model_id"]


def test_two_widgets_of_the_same_data_have_the_same_figure_and_others_differ():
    a, b, c = (play_frames(film(seed=s), alt=ALT) for s in (0, 0, 1))
    assert a.uid == b.uid != c.uid


def disc(z):
    """A toy decoder: the picture's brightness is x, its tilt y."""
    ramp = torch.linspace(-1, 1, 8).expand(8, 8)
    return (z[:, :1, None, None] + z[:, 1:, None, None] * ramp).clamp(-1, 1)


def test_grid_from_decoder_has_each_node_at_its_place():
    explorer = explore_grid(decode=disc, x=(-1, 1, 5), y=(-0.5, 0.5, 3), alt=ALT)
    tiles = sprites.untile(sprites.decode(explorer.sheet, True), 15, 5, 8, 8).reshape(3, 5, 8, 8)[::-1]
    for j, y in enumerate((-0.5, 0, 0.5)):
        for i, x in enumerate((-1, -0.5, 0, 0.5, 1)):
            want = sprites.to_pictures(disc(torch.tensor([[x, y]])))[0]
            np.testing.assert_array_equal(tiles[j, i], want)


def test_live_grid_decodes_the_very_point():
    explorer = explore_grid(decode=disc, x=(-1, 1, 5), y=(-0.5, 0.5, 3), alt=ALT)
    assert explorer.exact == {}
    explorer.at = [0.33, 0.21]
    assert explorer.exact["at"] == [0.33, 0.21]
    got = sprites.decode(explorer.exact["data"], grey=True)
    np.testing.assert_array_equal(got, sprites.to_pictures(disc(torch.tensor([[0.33, 0.21]])))[0])


@pytest.mark.parametrize("arguments, message", [
    (dict(), "give grid"),
    (dict(decode=disc, x=(1, -1, 5)), "lo < hi"),
    (dict(decode=disc, y=(0, 1, 1)), "n >= 2"),
    (dict(grid=film(15, 8, 8).reshape(5, 3, 8, 8)), "grid must be uint8"),
    (dict(decode=lambda z: torch.zeros(len(z), 8, 8)), "want uint8"),
])
def test_grid_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        explore_grid(**{"x": (-1, 1, 5), "y": (0, 1, 3), "alt": ALT} | arguments)


@pytest.mark.parametrize("kind, zero_snr, curve", [
    ("linear", False, linear_schedule(200)), ("linear", True, rescale_zero_snr(linear_schedule(200))),
    ("cosine", False, cosine_schedule(200)), ("cosine", True, rescale_zero_snr(cosine_schedule(200))),
])
def test_schedule_explorer_noises_like_the_package(kind, zero_snr, curve):
    x0 = torch.rand(3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).float() * 2 - 1
    explorer = explore_schedule(x0, alt=ALT, seed=5, T=200)
    explorer.kind, explorer.zero_snr, explorer.at = kind, zero_snr, 120
    torch.testing.assert_close(explorer.alpha_bar, curve)
    eps = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(5))
    want = q_sample(x0[None].double(), torch.tensor([120]), eps[None].double(), curve)[0]
    torch.testing.assert_close(torch.from_numpy(explorer.noised()), want, atol=1e-7, rtol=0)


@pytest.mark.parametrize("image", [
    film(1)[0].astype(int), torch.full((1, 4, 4), 3.0), torch.zeros(4, 4), film(1, 9, 9, 4)[0],
], ids=["int64", "beyond 1", "floats without channels", "four channels"])
def test_schedule_explorer_refuses_pictures_out_of_range_or_shape(image):
    with pytest.raises(ValueError, match="image must be"):
        explore_schedule(image, alt=ALT)


def test_schedule_explorer_refuses_noise_of_another_shape():
    with pytest.raises(ValueError, match="need eps"):
        explore_schedule(torch.zeros(1, 4, 4), eps=torch.zeros(1, 4, 5), alt=ALT)


def test_scripts_import_nothing_and_name_no_address():
    for view in (play_frames(film(), alt=ALT), explore_schedule(film(1)[0], alt=ALT),
                 explore_grid(film(6, 4, 4).reshape(2, 3, 4, 4), x=(0, 1, 3), y=(0, 1, 2), alt=ALT)):
        text = view.get_state()["_esm"] + view.get_state()["_css"]
        urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
