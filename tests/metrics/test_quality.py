import math
import os

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from genai_utils.metrics import Classifier, frechet_distance, score_digits
from genai_utils.metrics.classifier import run_in_batches
from genai_utils.metrics.quality import entropy_estimate
from genai_utils.weights import load_tensors, load_weights


@pytest.fixture(scope="module")
def handwriting():
    """1,797 digits by other hands (scikit-learn's 8x8), enlarged to MNIST's box of 20 in 28 pixels."""
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    x = F.pad(F.interpolate(x, size=(20, 20), mode="bicubic").clamp(0, 1), (4, 4, 4, 4))
    return x * 2 - 1, torch.tensor(digits.target)


def test_shipped_classifier_reads_handwriting_it_was_not_trained_on(handwriting):
    x, labels = handwriting
    model = load_weights("classifier-mnist", Classifier)
    accuracy = (run_in_batches(model, x).argmax(1) == labels).float().mean()
    assert accuracy > 0.88  # 0.93 when it was trained: another set, another preparation


@pytest.mark.skipif("GENAI_DATA" not in os.environ, reason="needs MNIST in GENAI_DATA")
def test_shipped_classifier_keeps_its_registered_accuracy_on_mnist():
    from genai_utils.data import load
    from genai_utils.data.sets import to_floats

    test = load("mnist", split="test")
    model = load_weights("classifier-mnist", Classifier)
    right = (run_in_batches(model, to_floats(test.images[:2000])).argmax(1) == test.labels[:2000]).sum().item()
    assert right / 2000 >= 0.985  # at least 99 % on all 10,000; two thousand of them scatter by 0.2 %


def test_shipped_features_are_two_sets_of_one_distribution():
    real = load_tensors("mnist-features")
    assert set(real) == {"train", "test"} and {x.shape for x in real.values()} == {(5000, 64)}
    apart = frechet_distance(real["test"][:1000], real["train"], resamples=0).value
    shuffled = real["test"].gather(0, torch.rand(5000, 64, generator=torch.Generator().manual_seed(0)).argsort(0))
    assert apart < 0.05 * frechet_distance(shuffled, real["train"], resamples=0).value  # same marginals, no covariance


def test_score_digits_ranks_handwriting_above_damaged_handwriting(handwriting):
    x, labels = handwriting
    noisy = x + 0.7 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    good, bad = score_digits(x, labels, resamples=0), score_digits(noisy.clamp(-1, 1), labels, resamples=0)
    assert good["agreement"].low > bad["agreement"].high
    assert good["class_entropy"].value > 2.2 > bad["class_entropy"].value
    assert bad["frechet"].value > good["frechet"].value > good["frechet_held_out"].value
    assert good["frechet_held_out"] == bad["frechet_held_out"]


def test_noise_fools_certainty_but_neither_entropy_nor_distance():
    """Why `confident` never stands alone; the classifier has seen nothing but digits."""
    noise = torch.randn(500, 1, 28, 28, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    scores = score_digits(noise, resamples=0)
    assert scores["confident"].value > 0.9
    assert scores["class_entropy"].value < 1
    assert scores["frechet"].value > 100 * scores["frechet_held_out"].value


def test_score_digits_sees_a_missing_class(handwriting):
    x, labels = handwriting
    whole, part = score_digits(x, resamples=20), score_digits(x[labels > 4], resamples=20)
    assert part["class_entropy"].high < whole["class_entropy"].low
    assert part["frechet"].low > whole["frechet"].high


def test_every_score_carries_sample_size_and_interval(handwriting):
    x, labels = handwriting
    scores = score_digits(x[:300], labels[:300], resamples=20)
    assert set(scores) == {"confident", "class_entropy", "frechet", "frechet_held_out", "agreement"}
    assert {e.n for e in scores.values()} == {300}
    assert all(e.low < e.value < e.high or e.value == e.high for e in scores.values())
    assert "agreement" not in score_digits(x[:300], resamples=0)


def test_entropy_of_equal_classes_is_the_logarithm_of_their_number_and_of_one_class_zero():
    assert entropy_estimate(torch.arange(1000) % 10, 10).value == pytest.approx(math.log(10))
    assert entropy_estimate(torch.zeros(50, dtype=torch.long), 10, resamples=20).high == 0


def test_entropy_interval_holds_its_figure_and_stays_below_the_largest_entropy():
    classes = torch.randint(10, (200,), generator=torch.Generator().manual_seed(0))
    e = entropy_estimate(classes, 10)
    assert e.low < e.value <= e.high <= math.log(10)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.rand(100, 1, 32, 32), None, r"got \(100, 1, 32, 32\)"),
        (torch.rand(100, 1, 28, 28), None, r"must be in \[-1, 1\]"),
        (torch.zeros(100, 1, 28, 28).byte(), None, "uint8"),
        (torch.full((100, 1, 28, 28), float("nan")), None, "nan or inf"),
        (255 * torch.rand(100, 1, 28, 28), None, "rescale or clamp"),
        (torch.full((100, 1, 28, 28), -1.0), torch.zeros(99), r"must be \(100,\)"),
        (torch.full((64, 1, 28, 28), -1.0), None, "more than 64 samples, got 64"),
    ],
)
def test_score_digits_refuses_what_it_cannot_judge(images, labels, message):
    with pytest.raises(ValueError, match=message):
        score_digits(images, labels)
