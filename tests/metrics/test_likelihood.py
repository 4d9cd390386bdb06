import math

import pytest
import torch

from genai_utils.metrics.likelihood import bits_per_dim, nats_from_bits, perplexity


def test_uniform_grey_levels_cost_eight_bits_per_dimension():
    dims = 28 * 28
    assert bits_per_dim(dims * math.log(256), dims) == pytest.approx(8.0)


@pytest.mark.parametrize("span", [1.0, 2.0, 255.0])
def test_a_uniform_density_costs_eight_bits_in_every_scale_of_the_pixels(span):
    nats = 12 * math.log(span)  # -log of the density 1 / span, over 12 dimensions
    assert bits_per_dim(nats, 12, bin_width=span / 256) == pytest.approx(8.0)


def test_nats_from_bits_inverts_bits_per_dim_on_tensors():
    nats = torch.randn(5, dtype=torch.float64)
    for width in (1.0, 2 / 256):
        torch.testing.assert_close(nats_from_bits(bits_per_dim(nats, 7, bin_width=width), 7, bin_width=width), nats)


def test_perplexity_of_a_fair_choice_is_the_number_of_choices():
    assert perplexity(math.log(50)) == pytest.approx(50)
    torch.testing.assert_close(perplexity(torch.tensor([0.0, math.log(3)])), torch.tensor([1.0, 3.0]))


def test_bits_per_dim_refuses_impossible_units():
    with pytest.raises(ValueError, match="dims=0"):
        bits_per_dim(1.0, 0)
    with pytest.raises(ValueError, match="bin_width=0"):
        nats_from_bits(1.0, 3, bin_width=0)
