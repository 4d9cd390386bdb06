"""The protocol is the same for all: data, parameters within 5 %, and pictures that are drawn as they are asked for."""

import pytest
import torch

from genai_utils.compare import CONTESTANTS, PRESETS, Protocol, draw_labels, load_pictures, quick
from genai_utils.compare.protocol import DIGITS, shrink
from genai_utils.data import load


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", CONTESTANTS)
def test_parameters_are_within_five_percent_of_the_budget(preset, name):
    protocol = PRESETS[preset]
    contestant = CONTESTANTS[name](protocol)
    assert abs(contestant.parameters / protocol.parameters - 1) <= protocol.tolerance, contestant.parameters
    assert contestant.parameters_to_sample <= contestant.parameters


def test_pictures_are_digits_at_side_16_and_no_test_picture_is_in_training():
    train, test = load_pictures(PRESETS["embedded"])
    assert (len(train), len(test)) == (20_000, 4_000) and train.images.shape[1:] == (1, 16, 16)
    assert train.classes == tuple(DIGITS) and set(train.labels.tolist()) == set(range(10))
    factors = [torch.stack([*s.extra["factors"].values(), s.labels], 1) for s in (train, test)]
    seen = set(map(tuple, factors[0].tolist()))
    assert not seen & set(map(tuple, factors[1].tolist()))


def test_shrinking_averages_exact_areas():
    g = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 1, 28, 28), generator=g, dtype=torch.uint8)
    middle = images[:, 0, 2:26, 2:26].double()
    weights = torch.zeros(16, 24, dtype=torch.float64)  # pixel i covers [1.5 i, 1.5 i + 1.5)
    for i in range(16):
        for j in range(24):
            weights[i, j] = max(0.0, min(1.5 * i + 1.5, j + 1) - max(1.5 * i, j)) / 1.5
    assert (shrink(images)[:, 0].double() - weights @ middle @ weights.T).abs().max() <= 0.5 + 1e-4


@pytest.mark.parametrize("images", [torch.zeros(2, 1, 32, 32, dtype=torch.uint8), torch.zeros(2, 1, 28, 28)])
def test_shrinking_refuses_other_pictures(images):
    with pytest.raises(ValueError, match="28"):
        shrink(images)


@pytest.mark.parametrize("protocol", [Protocol(data="cifar10"), Protocol(side=28), Protocol(data="mnist")])
def test_loading_refuses_data_or_side_that_is_not_there(protocol):
    with pytest.raises(ValueError, match="PRESETS"):
        load_pictures(protocol)


def test_labels_are_as_even_as_can_be():
    counts = torch.bincount(draw_labels(1_003), minlength=10)
    assert counts.max() - counts.min() <= 1


def test_quick_changes_compute_and_sample_sizes_alone():
    full, fast = PRESETS["embedded"], quick(PRESETS["embedded"], 1e11)
    changed = {k for k in vars(full) if getattr(full, k) != getattr(fast, k)}
    assert changed == {"flops", "n_samples", "n_likelihood", "n_integral"}


def test_fewer_training_pictures_can_be_asked_for():
    train, _ = load_pictures(Protocol(n_train=50))
    assert torch.equal(train.images, shrink(load("glyphs", n=50, classes=DIGITS).images))
