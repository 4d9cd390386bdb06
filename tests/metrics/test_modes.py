import math

import pytest
import torch

from genai_utils.data import load
from genai_utils.metrics.modes import mode_coverage


def test_data_covers_every_mode_and_is_of_high_quality_as_often_as_a_gaussian_is():
    for kind, k in (("ring", 8), ("grid", 25)):
        data = load("toys", kind=kind, n=20_000)
        found = mode_coverage(data.points, data.density.means, data.density.stds[0])
        wanted = 1 - math.exp(-4.5)
        assert found.covered == found.n_modes == k and found.share == 1.0
        assert abs(found.high_quality.value - wanted) < 4 * (wanted * (1 - wanted) / 20_000) ** 0.5
        assert found.high_quality.n == 20_000 and int(found.counts.sum()) == round(found.high_quality.value * 20_000)


def test_on_a_line_997_of_1000_points_of_data_are_near():
    means = torch.tensor([[-5.0], [0.0], [5.0]])
    g = torch.Generator().manual_seed(0)
    samples = means[torch.arange(9_000) % 3] + 0.5 * torch.randn(9_000, 1, generator=g)
    found, wanted = mode_coverage(samples, means, 0.5), math.erf(3 / 2**0.5)
    assert abs(found.high_quality.value - wanted) < 4 * (wanted * (1 - wanted) / 9_000) ** 0.5
    assert found.covered == 3


def test_counts_equal_the_naive_count():
    g = torch.Generator().manual_seed(0)
    samples, means = 2 * torch.randn(200, 2, generator=g), torch.randn(5, 2, generator=g)
    counts = [0] * 5
    for x in samples.tolist():
        distance = [math.dist(x, m) for m in means.tolist()]
        if min(distance) <= 2.0 * 0.3:
            counts[distance.index(min(distance))] += 1
    found = mode_coverage(samples, means, 0.3, within=2.0, enough=0.2)
    assert found.counts.tolist() == counts and found.high_quality.value == sum(counts) / 200
    assert found.covered == sum(c >= 0.2 * 200 / 5 for c in counts) and 0 < found.covered < 5


def test_collapsed_samples_cover_one_mode_and_strays_none():
    means = load("toys", kind="ring", n=1).density.means
    collapsed = mode_coverage(means[2].expand(500, 2), means, 0.25)
    assert collapsed.covered == 1 and collapsed.high_quality.value == 1.0 and collapsed.share == 1 / 8
    stray = mode_coverage(torch.zeros(500, 2), means, 0.25)
    assert stray.covered == 0 and stray.high_quality.value == 0.0 and stray.counts.tolist() == [0] * 8


def test_mode_needs_its_tenth_of_a_fair_part_or_a_single_sample_if_asked():
    means = torch.tensor([[0.0], [10.0], [20.0]])
    of = lambda *counts: means.repeat_interleave(torch.tensor(counts), dim=0)
    assert mode_coverage(of(280, 10, 10), means, 1.0).covered == 3  # 10 of 300 / 3 = 100: just enough
    assert mode_coverage(of(281, 10, 9), means, 1.0).covered == 2
    assert mode_coverage(of(299, 1, 0), means, 1.0, enough=0.0).covered == 2
    assert mode_coverage(of(3, 0, 0), means, 1.0, enough=0.0).covered == 1


def test_points_that_are_not_finite_are_near_nothing():
    samples = torch.tensor([[0.0, 0.0], [math.nan, 0.0], [math.inf, 0.0], [-math.inf, math.nan]])
    found = mode_coverage(samples, torch.zeros(1, 2), 1.0)
    assert found.counts.tolist() == [1] and found.high_quality.value == 0.25


@pytest.mark.parametrize("samples, means, std, more, message", [
    ((4, 2), (3, 1), 1.0, {}, r"got \(4, 2\) and \(3, 1\)"), ((0, 2), (3, 2), 1.0, {}, "at least one of each"),
    ((4, 2), (0, 2), 1.0, {}, "at least one of each"), ((4,), (3, 1), 1.0, {}, r"samples must be \(N, D\)"),
    ((4, 2), (3, 2), 0.0, {}, "std=0.0"), ((4, 2), (3, 2), 1.0, {"enough": 1.5}, "enough=1.5"),
    ((4, 2), (3, 2), 1.0, {"within": 0.0}, "within=0.0"),
])  # fmt: skip
def test_impossible_input_is_refused(samples, means, std, more, message):
    with pytest.raises(ValueError, match=message):
        mode_coverage(torch.zeros(samples), torch.zeros(means), std, **more)
