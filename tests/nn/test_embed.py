import math

import pytest
import torch
from torch import nn

from genai_utils.nn.embed import PatchEmbed, patchify, sine_positions, unpatchify


def pictures(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_patches_run_row_by_row_and_hold_their_pixels_channel_by_channel():
    x = pictures(2, 3, 4, 6)
    patches = patchify(x, 2)
    assert patches.shape == (2, 6, 12)
    for i, (row, column) in enumerate((r, c) for r in range(2) for c in range(3)):
        piece = x[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert torch.equal(patches[:, i], piece.flatten(1))


@pytest.mark.parametrize("shape, patch", [((2, 1, 4, 4), 2), ((3, 2, 6, 9), 3), ((1, 3, 4, 8), 4), ((2, 1, 3, 5), 1)])
def test_unpatchify_undoes_patchify(shape, patch):
    x = pictures(*shape)
    assert torch.equal(unpatchify(patchify(x, patch), patch, shape[2] // patch), x)


def test_patch_embedding_is_a_convolution_whose_kernel_is_a_patch():
    torch.manual_seed(0)
    embed, conv = PatchEmbed(3, 4, 5).double(), nn.Conv2d(3, 5, 4, stride=4).double()
    with torch.no_grad():
        conv.weight.copy_(embed.linear.weight.unflatten(1, (3, 4, 4)))
        conv.bias.copy_(embed.linear.bias)
    x = pictures(2, 3, 8, 12)
    torch.testing.assert_close(embed(x), conv(x).flatten(2).transpose(1, 2))


@pytest.mark.parametrize(
    "x, patch", [(torch.zeros(2, 1, 6, 7), 3), (torch.zeros(1, 6, 6), 3), (torch.zeros(2, 1, 6, 6), 0)]
)
def test_pictures_that_patches_do_not_tile_are_refused(x, patch):
    with pytest.raises(ValueError, match=rf"sides multiples of {patch}, got .* crop or pad"):
        patchify(x, patch)


@pytest.mark.parametrize("shape, rows", [((2, 6, 8), 4), ((2, 6, 7), 2), ((6, 8), 2), ((2, 6, 8), 0)])
def test_patches_that_make_no_picture_are_refused(shape, rows):
    with pytest.raises(ValueError, match="patches must be"):
        unpatchify(torch.zeros(shape), 2, rows)


def test_sine_positions_equal_the_formula_written_out():
    table = sine_positions(3, 5, 12)
    assert table.shape == (15, 12)
    for row in range(3):
        for column in range(5):
            angles = [[at / 10_000 ** (i / 3) for i in range(3)] for at in (row, column)]
            expected = [f(a) for each in angles for f in (math.sin, math.cos) for a in each]
            torch.testing.assert_close(table[5 * row + column], torch.tensor(expected))


def test_sine_positions_tell_all_places_apart_and_their_products_know_only_the_offset():
    table = sine_positions(7, 6, 32).double()
    assert torch.pdist(table).min() > 0.1
    products = (table @ table.T).view(7, 6, 7, 6)
    torch.testing.assert_close(products[:-1, :-1, :-1, :-1], products[1:, 1:, 1:, 1:], rtol=0, atol=1e-5)
    torch.testing.assert_close(products[0, 0, 3, 2], products[3, 2, 6, 4], rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(0, 2, 8), (2, 0, 8), (2, 2, 6), (2, 2, 0)])
def test_sine_positions_of_an_impossible_size_are_refused(size):
    with pytest.raises(ValueError, match="a multiple of 4, got"):
        sine_positions(*size)
