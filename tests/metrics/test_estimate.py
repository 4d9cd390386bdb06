import pytest
import scipy.stats
import torch

from genai_utils.metrics.estimate import (
    bootstrap_estimate,
    mean_estimate,
    median_estimate,
    redraw,
    share_estimate,
)


@pytest.mark.parametrize(("hits", "n"), [(0, 50), (7, 50), (50, 50), (930, 1000)])
def test_share_interval_equals_scipys_wilson_interval(hits, n):
    result = share_estimate(hits, n, level=0.9)
    peer = scipy.stats.binomtest(hits, n).proportion_ci(0.9, method="wilson")
    assert (result.low, result.high) == (pytest.approx(peer.low, abs=1e-12), pytest.approx(peer.high))
    assert result.value == hits / n and result.n == n


def test_mean_interval_covers_the_mean_at_its_level():
    x = torch.rand(1000, 40, generator=torch.Generator().manual_seed(0))  # true mean 1/2
    covered = [e.low < 0.5 < e.high for e in map(mean_estimate, x)]
    assert abs(sum(covered) / 1000 - 0.95) < 4 * (0.95 * 0.05 / 1000) ** 0.5 + 0.01  # normal quantile at n = 40


def test_median_interval_covers_the_median_at_its_level_or_more():
    x = torch.randn(1000, 40, generator=torch.Generator().manual_seed(0)).exp()  # true median 1, skewed
    covered = sum(e.low < 1 < e.high for e in map(median_estimate, x)) / 1000
    assert 0.95 - 4 * (0.95 * 0.05 / 1000) ** 0.5 < covered < 0.995


def test_median_of_a_single_value_is_that_value():
    e = median_estimate(torch.tensor([3.0]))
    assert (e.value, e.low, e.high, e.n) == (3, 3, 3, 1)


def test_bootstrap_interval_of_a_mean_equals_the_normal_one_within_its_noise():
    x = torch.randn(300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = bootstrap_estimate(x.mean().item(), lambda g: redraw(x, g).mean().item(), n=300, resamples=2000)
    normal = mean_estimate(x)
    width = normal.high - normal.low
    assert abs(ours.low - normal.low) < 0.06 * width and abs(ours.high - normal.high) < 0.06 * width


def test_bootstrap_interval_is_moved_back_by_its_bias_and_stays_in_bounds():
    x = torch.randn(100, generator=torch.Generator().manual_seed(0))
    value = x.max().item()  # a resample's maximum is never larger
    ours = bootstrap_estimate(value, lambda g: redraw(x, g).max().item(), n=100, resamples=200)
    assert ours.low < value < ours.high
    bound = bootstrap_estimate(value, lambda g: redraw(x, g).max().item(), n=100, resamples=200, bounds=(0, value))
    assert bound.high <= value


def test_estimate_prints_its_interval_and_sample_size():
    assert str(share_estimate(1, 2000)).endswith("(n = 2,000)") and "[" in str(share_estimate(1, 2000))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: share_estimate(3, 2), "hits=3"),
        (lambda: mean_estimate(torch.ones(1)), "got 1"),
        (lambda: median_estimate(torch.ones(0)), "got none"),
        (lambda: mean_estimate(torch.ones(5), level=1.0), "level"),
        (lambda: bootstrap_estimate(0.0, lambda g: 0.0, n=1, resamples=3), "at least 20"),
    ],
)
def test_estimates_refuse_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
