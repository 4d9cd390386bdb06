"""Laws of the evaluation code: what it must give for data, shifted data, copies, a lost class, and noise."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from genai_utils.compare import PRESETS, Evaluation
from genai_utils.compare.evaluate import nearest_distance
from genai_utils.data.sets import ImageSet, to_floats
from genai_utils.metrics.coverage import nearest

N = 1_000


@pytest.fixture(scope="module")
def evaluation():
    return Evaluation(replace(PRESETS["embedded"], n_samples=N))


@pytest.fixture(scope="module")
def held_out(evaluation):
    return to_floats(evaluation.test.images[evaluation.other]), evaluation.test.labels[evaluation.other]


def test_data_against_itself_is_at_distance_zero_and_fully_covered(evaluation):
    found = evaluation.score(evaluation.real)
    assert found["frechet"] < 1e-6
    assert all(found[k] == 1 for k in ("precision", "recall", "coverage", "modes")), found
    assert found["density"] == pytest.approx(1, abs=2e-3)  # five pictures are there twice: on the edge of a ball


def test_held_out_data_sets_the_mark(evaluation, held_out):
    found = evaluation(*held_out)
    assert found == evaluation.held_out()
    assert found["validity"] > 0.99 and found["accuracy"] > 0.99
    assert abs(found["coverage"] - (1 - 2**-5)) < 4 * (0.03 / N) ** 0.5  # two samples of one distribution
    assert abs(found["memorised"] - 0.01) < 4 * (2 * 0.01 / N) ** 0.5
    assert 0.95 < found["distance_ratio"] < 1.05


def test_a_memoriser_is_caught_and_nothing_else_sees_it(evaluation):
    labels = evaluation.train.labels[:N]
    found, honest = evaluation(to_floats(evaluation.train.images[:N]), labels), evaluation.held_out()
    assert found["memorised"] == 1 and found["distance_ratio"] < 0.01
    assert found["frechet"] < 2.5 * honest["frechet"] and abs(found["coverage"] - honest["coverage"]) < 0.03


def test_a_model_that_copies_one_in_ten_is_caught(evaluation, held_out):
    x, labels = held_out[0].clone(), held_out[1].clone()
    x[::10], labels[::10] = to_floats(evaluation.train.images[: N // 10]), evaluation.train.labels[: N // 10]
    assert 0.09 < evaluation(x, labels)["memorised"] < 0.14


def test_a_dropped_class_is_caught(evaluation, held_out):
    x, labels = held_out
    kept = (labels != 4).nonzero()[:, 0]
    kept = torch.cat([kept, kept])[:N]
    found, honest = evaluation(x[kept], labels[kept]), evaluation.held_out()
    assert found["validity"] > 0.99 and found["precision"] > honest["precision"] - 0.02  # quality does not see it
    assert found["class_entropy"] < math.log(9) and found["modes"] < 0.92
    assert found["coverage"] < honest["coverage"] - 0.05 and found["frechet"] > 10 * honest["frechet"]


def test_noise_is_caught_and_more_noise_is_worse(evaluation, held_out):
    x, labels = held_out
    g = torch.Generator().manual_seed(0)
    found = [evaluation((x + s * torch.randn(x.shape, generator=g)).clamp(-1, 1), labels) for s in (0.05, 0.2, 0.4)]
    assert sorted(f["frechet"] for f in found) == [f["frechet"] for f in found]
    assert found[2]["precision"] < 0.5 and found[2]["density"] < 0.5 and found[2]["memorised"] == 0


def test_labels_that_are_not_kept_are_caught(evaluation, held_out):
    x, labels = held_out
    assert evaluation(x, labels.roll(1))["accuracy"] < 0.2


class FirstPixels(nn.Module):
    """A judge whose features are 8 pixels, so that distances are known."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 10)
        self.cfg = replace_side()

    def features(self, x):
        return x.flatten(1)[:, 100:108]


def replace_side():
    from genai_utils.metrics.classifier import ClassifierConfig

    return ClassifierConfig(side=16, n_features=8)


def test_a_shifted_gaussian_is_at_its_known_distance():
    g = torch.Generator().manual_seed(0)
    grey = (127 + 20 * torch.randn(1_200, 1, 16, 16, generator=g)).round().clamp(40, 214).to(torch.uint8)
    sets = [
        ImageSet("grey", grey[k], torch.arange(600) % 10, tuple("0123456789")) for k in (slice(600), slice(600, 1_200))
    ]
    evaluation = Evaluation(replace(PRESETS["embedded"], n_samples=300), judge=FirstPixels(), data=tuple(sets))
    step = 2 / 255  # of one grey level, in the units of the pictures
    for levels in (1, 5, 25):
        shifted = evaluation.real.pixels.view(-1, 1, 16, 16) + levels * step
        found = evaluation(shifted, evaluation.real.labels)["frechet"]
        assert found == pytest.approx(8 * (levels * step) ** 2, rel=1e-4)


def test_nearest_distance_agrees_with_the_exact_one():
    g = torch.Generator().manual_seed(0)
    x, others = torch.randn(700, 20, generator=g), torch.randn(900, 20, generator=g)
    fast, exact = nearest_distance(x, others), nearest(x, others)
    torch.testing.assert_close(fast[0], exact[0], rtol=1e-4, atol=1e-4)
    assert torch.equal(fast[1], exact[1])
    assert nearest_distance(others[:10], others)[0].max() < 0.01


def test_bad_pictures_are_refused(evaluation, held_out):
    x, labels = held_out
    with pytest.raises(ValueError, match="16, 16"):
        evaluation(x[:, :, :8], labels)
    with pytest.raises(ValueError, match="1 of 1000 pictures are not finite"):
        bad = x.clone()
        bad[3, 0, 2, 2] = math.nan
        evaluation(bad, labels)
    with pytest.raises(ValueError, match=f"judged on {N} pictures, got 10"):
        evaluation(x[:10], labels[:10])


@pytest.mark.parametrize("n", [40, 2_001])
def test_a_sample_too_small_or_too_large_is_refused(n):
    with pytest.raises(ValueError, match=str(n)):
        Evaluation(replace(PRESETS["embedded"], n_samples=n))


def test_the_larger_stage_has_pictures_enough_to_be_judged():
    """A stand-in for MNIST: 10,000 pictures to test with, few to train on."""
    protocol, g = PRESETS["full"], torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (10_000, 1, 32, 32), generator=g, dtype=torch.uint8)
    sets = [ImageSet("noise", images[:n], torch.arange(n) % 10, tuple("0123456789")) for n in (100, 10_000)]
    assert Evaluation(protocol, data=tuple(sets)).held_out()["coverage"] > 0.9
