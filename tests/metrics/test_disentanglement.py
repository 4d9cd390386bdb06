import math

import pytest
import torch
from sklearn.metrics import mutual_info_score

from genai_utils.metrics.disentanglement import mutual_information_gap


def grid(values=10, copies=4):
    """Two independent factors in full factorial design, (values^2 copies, 2): every pair equally often."""
    return torch.cartesian_prod(torch.arange(values), torch.arange(values)).repeat(copies, 1)


def named(columns):
    return {f"factor {i}": column for i, column in enumerate(columns.T)}


def test_gap_of_a_small_table_is_the_one_counted_by_hand():
    """Latent 0 agrees with the factor in 6 cases of 8; latent 1 in 4; latent 2 says nothing, as it never moves."""
    factor = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    codes = torch.tensor([[0, 0, 0, 1, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0, 1, 1], [5] * 8]).T.float()
    result = mutual_information_gap(codes, {"sign": factor}, bins=2, resamples=0)
    first = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)  # H(z) - H(z | v), nats
    torch.testing.assert_close(result.information, torch.tensor([[first], [0.0], [0.0]], dtype=torch.float64))
    assert result.entropy.tolist() == pytest.approx([math.log(2)])
    assert result.per_factor == pytest.approx({"sign": first / math.log(2)})
    assert result.score.value == pytest.approx(first / math.log(2)) and result.score.n == 8


def test_information_and_gaps_equal_scikit_learns_on_binned_codes():
    g = torch.Generator().manual_seed(0)
    factors = {"a": torch.randint(3, (400,), generator=g), "b": torch.randint(-2, 3, (400,), generator=g) * 0.5}
    noise = torch.randn(400, 4, generator=g)
    codes = noise + torch.stack([factors["a"], factors["b"], factors["a"] + factors["b"], 0 * factors["a"]], dim=1)
    result = mutual_information_gap(codes, factors, bins=7, resamples=0)
    low, high = codes.min(0).values, codes.max(0).values
    for f, factor in enumerate(factors.values()):
        value = (2 * factor).int().tolist()
        by_peer = []
        for z in range(4):
            borders = torch.linspace(low[z].item(), high[z].item(), 8)[1:-1]
            binned = torch.bucketize(codes[:, z].contiguous(), borders, right=True)
            by_peer.append(mutual_info_score(value, binned.tolist()))
        assert result.information[:, f].tolist() == pytest.approx(by_peer, abs=1e-12)
        second, first = sorted(by_peer)[-2:]
        entropy = mutual_info_score(value, value)
        assert list(result.per_factor.values())[f] == pytest.approx((first - second) / entropy)
    assert list(result.per_factor) == ["a", "b"]
    assert result.score.value == pytest.approx(sum(result.per_factor.values()) / 2)


def test_one_latent_per_factor_scores_one():
    factors = grid()
    a, b = factors.float().T
    codes = torch.stack([-3.0 * b, a.sqrt(), torch.zeros(len(a))], dim=1)  # maps that keep values in bins of their own
    result = mutual_information_gap(codes, named(factors), bins=40, resamples=0)
    assert result.score.value == pytest.approx(1.0) and result.information.argmax(0).tolist() == [1, 0]
    torch.testing.assert_close(result.information.amax(0), result.entropy)


def test_turning_the_axes_by_45_degrees_closes_the_gap_although_no_information_is_lost():
    factors = grid(copies=10)
    x, y = (factors - 4.5).double().T
    turned = torch.stack([x + y, x - y], dim=1) / 2**0.5
    result = mutual_information_gap(turned, named(factors), resamples=0)
    assert result.information.min() > 0.3  # nats: both latents know of both factors
    assert result.score.value < 0.02


def test_a_second_copy_of_a_latent_closes_the_gap_of_its_factor_only():
    factors = grid()
    once = factors.float()
    twice = torch.cat([once, once[:, :1]], dim=1)
    assert mutual_information_gap(once, named(factors), resamples=0).score.value == pytest.approx(1.0)
    gaps = mutual_information_gap(twice, named(factors), resamples=0).per_factor
    assert list(gaps.values()) == pytest.approx([0.0, 1.0])


def test_order_sign_and_scale_of_the_latents_change_nothing():
    g = torch.Generator().manual_seed(1)
    factors = torch.randint(4, (500, 2), generator=g)
    codes = torch.randn(500, 5, generator=g, dtype=torch.float64)
    codes[:, :2] += factors
    order = torch.tensor([3, 0, 4, 2, 1])
    before = mutual_information_gap(codes, named(factors), resamples=0)
    after = mutual_information_gap(8.0 * codes[:, order] - 3.0, named(factors), resamples=0)
    torch.testing.assert_close(after.information, before.information[order])
    assert after.per_factor == pytest.approx(before.per_factor)
    mirrored = mutual_information_gap(-codes, named(factors), resamples=0)  # no code lies on a border but the extremes
    torch.testing.assert_close(mirrored.information, before.information)


def test_codes_that_know_nothing_seem_to_carry_what_the_docstring_says_they_do():
    """(bins - 1) (V - 1) / 2N nats on average, the bias of the plug-in estimate, within 4 standard errors."""
    g, n, bins, values = torch.Generator().manual_seed(2), 2000, 6, 4
    seen = []
    for _ in range(60):
        factors, codes = named(torch.randint(values, (n, 2), generator=g)), torch.rand(n, 5, generator=g)
        seen.append(mutual_information_gap(codes, factors, bins, resamples=0).information.mean())
    seen = torch.stack(seen)
    bias = (bins - 1) * (values - 1) / (2 * n)
    assert abs(seen.mean().item() - bias) < 4 * seen.std().item() / len(seen) ** 0.5
    assert seen.mean().item() < 0.005  # nats: nothing to speak of


def test_interval_holds_the_score_repeats_with_its_seed_and_narrows_with_the_sample():
    def score(n, **kw):
        g = torch.Generator().manual_seed(3)
        factors = torch.randint(3, (n, 2), generator=g)
        codes = factors + torch.randn(n, 2, generator=g)
        return mutual_information_gap(codes, named(factors), 5, **kw).score

    small, large = score(200), score(3200)
    for e in (small, large):
        assert 0 <= e.low < e.value < e.high <= 1
    assert large.high - large.low < 0.5 * (small.high - small.low)
    assert score(200) == small and score(200, seed=1) != small
    assert score(200, level=0.5).high < small.high


def test_interval_of_codes_that_know_nothing_stays_at_or_above_zero():
    g = torch.Generator().manual_seed(4)
    factors = named(torch.randint(3, (300, 2), generator=g))
    score = mutual_information_gap(torch.rand(300, 2, generator=g), factors, 5).score
    assert 0 == score.low < score.value < 0.05


N = 60
GOOD = {"shape": torch.arange(N) % 3}


@pytest.mark.parametrize("codes, factors, bins, message", [
    (torch.randn(N), GOOD, 4, r"codes must be \(N, Z\) with Z >= 2, got \(60,\)"),
    (torch.randn(N, 1), GOOD, 4, r"Z >= 2, got \(60, 1\)"),
    (torch.full((N, 2), float("nan")), GOOD, 4, "codes must be finite; 60 of 60 rows"),
    (torch.randn(N, 2), GOOD, 1, "bins must be at least 2, got 1"),
    (torch.randn(N, 2), {}, 4, "at least one factor"),
    (torch.randn(N, 2), GOOD | {"size": torch.zeros(N - 1)}, 4, r"factor 'size' must be \(60,\).* got \(59,\)"),
    (torch.randn(N, 2), GOOD | {"size": torch.full((N,), float("inf"))}, 4, "factor 'size' must be finite; 60 values"),
    (torch.randn(N, 2), GOOD | {"size": torch.ones(N)}, 4, r"factor 'size' has one value only, \[1.0\]"),
    (torch.randn(N, 2), GOOD | {"size": torch.arange(N)}, 4, "'size' has 60 values: .* 240 codes or more, got 60"),
])  # fmt: skip
def test_gap_refuses_bad_input_by_name(codes, factors, bins, message):
    with pytest.raises(ValueError, match=message):
        mutual_information_gap(codes, factors, bins)
