import pytest
import scipy.stats
import torch

from genai_utils.metrics.memorisation import memorisation


def normal(n, seed, d=6):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_a_model_that_draws_from_the_true_distribution_is_found_honest():
    result = memorisation(normal(600, 0), normal(800, 1), normal(600, 2))
    assert result.ratio.low < 1 < result.ratio.high
    assert result.nearer.low < 0.5 < result.nearer.high
    assert result.copies.value < 0.03


def test_copies_of_the_training_set_are_found():
    train = normal(500, 1)
    result = memorisation(train[:200], train, normal(300, 2))
    assert result.ratio.value == 0 and result.nearer.value == 1 and result.copies.value == 1
    torch.testing.assert_close(result.neighbour, torch.arange(200))


def test_near_copies_and_a_few_copies_are_found_too():
    train = normal(500, 1)
    near = memorisation(train[:200] + 0.05 * normal(200, 3), train, normal(300, 2))
    assert near.ratio.high < 0.5 and near.nearer.low > 0.9 and near.copies.low > 0.5
    some = memorisation(torch.cat([train[:20], normal(180, 4)]), train, normal(300, 2))
    assert some.ratio.value > 0.8 and some.copies.low > 0.03  # the median does not see 10 %; the share does


def test_far_samples_are_no_copies():
    result = memorisation(5 + normal(200, 0), normal(500, 1), normal(300, 2))
    assert result.ratio.value > 2 and result.nearer.value < 0.05 and result.copies.value == 0


def test_nearer_equals_scipys_mann_whitney_statistic_with_ties():
    train = torch.zeros(1, 1)
    ours = torch.tensor([1.0, 2.0, 2.0, 5.0]).repeat(10)[:, None]
    theirs = torch.tensor([2.0, 3.0, 4.0, 5.0]).repeat(25)[:, None]
    result = memorisation(ours, train, theirs, resamples=0)
    u = scipy.stats.mannwhitneyu(theirs[:, 0].numpy(), ours[:, 0].numpy()).statistic
    assert result.nearer.value == pytest.approx(u / (len(ours) * len(theirs)))


def test_memorisation_refuses_held_out_data_that_was_trained_on():
    train = normal(300, 1)
    with pytest.raises(ValueError, match="lies in the training set"):
        memorisation(normal(50, 0), train, train[:150])
    some = torch.cat([train[:96], normal(104, 2)])  # 48 %: the median is above 0, that of some resamples is not
    with pytest.raises(ValueError, match="half of it, or of a resample, is there"):
        memorisation(normal(50, 0), train, some)
    assert memorisation(normal(50, 0), train, some, resamples=0).ratio.value > 0


def test_memorisation_refuses_too_little_held_out_data():
    with pytest.raises(ValueError, match="held_out must be .* at least 100"):
        memorisation(normal(50, 0), normal(300, 1), normal(20, 2))
