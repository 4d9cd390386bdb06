"""Figures with alt text, picture grids and source text: what a chapter shows beside its widgets."""

import base64
import html
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image

from genai_utils.diffusion import samplers
from genai_utils.widgets import COLORS, image_grid, show, show_source, use_style
from genai_utils.widgets.source import DARK_PAGE, LIGHT_PAGE, PALETTE

ALT = "A straight line that rises from nothing to one."


@pytest.fixture
def notebook():
    """A shell, so that outputs come as in a notebook."""
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def shown_by(f, *args, **kwargs):
    with capture_output() as shown:
        f(*args, **kwargs)
    return [output.data for output in shown.outputs]


def picture(page):
    return Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)\"", page).group(1))))


def test_show_gives_a_sharp_picture_with_alt_text_and_closes_the_figure(notebook):
    fig, ax = plt.subplots(figsize=(4, 3))
    ax.plot([0, 1])
    (output,) = shown_by(show, fig, alt=ALT)
    assert f'alt="{ALT}"' in output["text/html"] and 'width="400"' in output["text/html"]
    assert "max-width:100%" in output["text/html"] and picture(output["text/html"]).size == (800, 600)
    assert not plt.fignum_exists(fig.number)


def test_show_escapes_the_alt_text(notebook):
    fig = plt.figure(figsize=(1, 1))
    (output,) = shown_by(show, fig, alt='x < y & "quotes" in a text of some length')
    alt = re.search(r'alt="([^"]*)"', output["text/html"]).group(1)
    assert html.unescape(alt) == 'x < y & "quotes" in a text of some length'


@pytest.mark.parametrize("alt", ["", "a figure", None, " " * 40])
def test_show_refuses_an_alt_text_that_says_nothing(alt):
    fig = plt.figure()
    with pytest.raises(ValueError, match="what is to be seen"):
        show(fig, alt=alt)
    plt.close(fig)


def test_show_outside_a_notebook_prints_the_alt_text_only(capsys):
    show(plt.figure(figsize=(1, 1)), alt=ALT)
    assert capsys.readouterr().out == ALT + "\n"


@pytest.mark.parametrize("channels, scale", [(1, 3), (3, 2)])
def test_image_grid_draws_every_pixel_as_a_square_of_its_own_colour(channels, scale):
    x = torch.randint(0, 256, (5, channels, 6, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    fig = image_grid(x, 3, scale=scale, gap=2)
    fig.canvas.draw()
    drawn = np.asarray(fig.canvas.buffer_rgba())[..., :3]
    plt.close(fig)
    assert drawn.shape == ((2 * 6 + 2) * scale, (3 * 4 + 2 * 2) * scale, 3)
    for n in range(5):
        top, left = (n // 3) * 8 * scale, (n % 3) * 6 * scale
        got = drawn[top : top + 6 * scale, left : left + 4 * scale]
        want = x[n].expand(3, -1, -1).permute(1, 2, 0).numpy().repeat(scale, 0).repeat(scale, 1)
        np.testing.assert_array_equal(got, want)
    assert (drawn[8 * scale :, -4 * scale :] == 255).all()                                # the sixth place is white


def test_image_grid_reads_floats_as_minus_one_to_one():
    x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]).reshape(5, 1, 1, 1).expand(5, 1, 2, 2)
    fig = image_grid(x, 5, scale=4, gap=0)
    fig.canvas.draw()
    row = np.asarray(fig.canvas.buffer_rgba())[3, 4::8, 0]
    plt.close(fig)
    assert row.tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("titles, words", [(["a", "b"], 2), (["a", "b", "c", "d"], 4)])
def test_image_grid_writes_all_titles(titles, words):
    fig = image_grid(torch.zeros(4, 1, 8, 8), 2, titles=titles, row_titles=["top", "bottom"])
    assert len(fig.texts) == words + 2
    plt.close(fig)


@pytest.mark.parametrize("arguments, message", [
    (dict(images=torch.zeros(4, 8, 8)), "images must be"),
    (dict(images=torch.zeros(4, 2, 8, 8)), "images must be"),
    (dict(images=torch.zeros(4, 1, 8, 8, dtype=torch.int64)), "images must be"),
    (dict(images=torch.zeros(4, 1, 8, 8), titles=["a", "b", "c"]), "titles"),
    (dict(images=torch.zeros(4, 1, 8, 8), row_titles=["a"]), "row titles"),
])
def test_image_grid_refuses_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        image_grid(columns=2, **arguments)


def test_show_source_shows_the_whole_text_and_where_it_stands(notebook):
    (output,) = shown_by(show_source, samplers.ddim_step)
    page = output["text/html"]
    assert "genai_utils/diffusion/samplers.py, line" in page
    text = html.unescape(re.sub(r"<[^>]+>", "", re.search(r"<pre.*?>(.*)</pre>", page, re.S).group(1)))
    assert text == output["text/plain"] and text.startswith("def ddim_step(") and '"""' in text


def test_show_source_finds_the_text_below_a_decorator(notebook):
    (output,) = shown_by(show_source, samplers.ddim_steps)
    assert "genai_utils/diffusion/samplers.py, line" in output["text/html"]
    assert output["text/plain"].startswith("@torch.no_grad()")


def test_show_source_refuses_a_builtin():
    with pytest.raises(TypeError, match="no Python source"):
        show_source(len)


def luminance(colour):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(a, b):
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("column, page", [(1, LIGHT_PAGE), (2, DARK_PAGE)])
def test_source_colours_can_be_read(column, page):
    assert min(contrast(entry[column], page) for entry in PALETTE.values()) >= 4.5


def test_style_changes_nothing_until_it_is_asked_for():
    with plt.rc_context():
        plt.rcdefaults()
        before = plt.rcParams["axes.prop_cycle"]
        image_grid(torch.zeros(1, 1, 4, 4), 1)
        assert plt.rcParams["axes.prop_cycle"] == before
        use_style()
        assert plt.rcParams["axes.prop_cycle"].by_key()["color"][0] == COLORS["blue"]
        plt.close("all")
