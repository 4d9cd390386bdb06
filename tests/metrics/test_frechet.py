import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from genai_utils.metrics.frechet import Gaussian, fit_gaussian, frechet_distance, gaussian_distance, symmetric_root


def draws(n, d, seed, *, shift=0.0, scale=1.0):
    """Correlated, skewed features (n, d), as a network's are."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=torch.Generator().manual_seed(99), dtype=torch.float64) / d**0.5
    return nn.functional.silu(torch.randn(n, d, generator=g, dtype=torch.float64) @ mix * scale + shift)


def test_frechet_distance_equals_the_formula_with_scipys_matrix_square_root():
    a, b = draws(500, 16, 0), draws(700, 16, 1, shift=0.3, scale=1.4)
    mean_a, mean_b = a.mean(0).numpy(), b.mean(0).numpy()
    cov_a, cov_b = np.cov(a.numpy(), rowvar=False), np.cov(b.numpy(), rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert frechet_distance(a, b, resamples=0).value == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_equals_torchmetrics():
    class Pixels(nn.Module):
        num_features = 12

        def forward(self, x):  # (B, 3, 2, 2)
            return x.flatten(1)

    a, b = draws(300, 12, 0), draws(300, 12, 1, shift=0.5)
    peer = FrechetInceptionDistance(feature=Pixels(), normalize=True, input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    peer.used_custom_model = True  # its features are taken as they come
    peer.update(a.unflatten(1, (3, 2, 2)), real=True)
    peer.update(b.unflatten(1, (3, 2, 2)), real=False)
    assert frechet_distance(a, b, resamples=0).value == pytest.approx(peer.compute().item(), rel=1e-6)


def test_gaussian_distance_equals_the_closed_form_of_commuting_covariances():
    mean_a, mean_b = torch.randn(2, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    std_a, std_b = torch.rand(2, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    a, b = (Gaussian(mean=m, cov=s.square().diag(), n=99) for m, s in ((mean_a, std_a), (mean_b, std_b)))
    expected = (mean_a - mean_b).square().sum() + (std_a - std_b).square().sum()
    assert gaussian_distance(a, b) == pytest.approx(expected.item(), rel=1e-12)


def test_gaussian_distance_is_finite_and_symmetric_for_singular_covariances():
    a, b = draws(200, 6, 0), draws(200, 6, 1)
    a[:, 0] = 0.0  # a dead unit
    b[:, 2] = b[:, 1]  # two units that agree
    there, back = (gaussian_distance(fit_gaussian(x), fit_gaussian(y)) for x, y in ((a, b), (b, a)))
    assert there == pytest.approx(back, rel=1e-7) and there > 0


def test_frechet_distance_of_a_set_to_itself_is_zero_within_rounding():
    a = draws(400, 32, 0)
    assert frechet_distance(a, a, resamples=0).value < 1e-9


def test_symmetric_root_squares_to_the_matrix():
    cov = fit_gaussian(draws(100, 10, 0)).cov
    root = symmetric_root(cov)
    torch.testing.assert_close(root @ root, cov)
    torch.testing.assert_close(root, root.T)


def test_frechet_distance_falls_with_the_sample_size_on_one_distribution():
    means = [
        np.mean([frechet_distance(draws(n, 8, 10 + i), draws(n, 8, 50 + i), resamples=0).value for i in range(8)])
        for n in (20, 80, 320)
    ]
    assert means[0] > 2 * means[1] > 4 * means[2]  # the bias goes like 1/n: a factor 4 each time


def test_frechet_interval_covers_the_spread_of_repeated_samples():
    b = draws(400, 4, 1, shift=0.5)
    values = torch.tensor([frechet_distance(draws(400, 4, 100 + i), b, resamples=0).value for i in range(40)])
    result = frechet_distance(draws(400, 4, 100), b, resamples=100)
    assert result.low < result.value < result.high and result.n == 400
    width = (result.high - result.low) / (2 * 1.96)  # as a standard deviation, with b's own spread in it
    assert 0.5 * values.std() < width < 4 * values.std()


def test_frechet_interval_repeats_with_the_seed_and_moves_with_another():
    a, b = draws(100, 4, 0), draws(100, 4, 1)
    first, same, other = (frechet_distance(a, b, resamples=20, seed=s) for s in (0, 0, 1))
    assert first == same and first.low != other.low


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.randn(8, 8), torch.randn(20, 8), "more than 8 samples, got 8"),
        (torch.randn(20, 8, 1), torch.randn(20, 8), r"\(N, D\)"),
        (torch.randn(20, 8), torch.randn(20, 7), "got 8 and 7"),
        (torch.full((20, 8), float("nan")), torch.randn(20, 8), "20 of 20 rows"),
    ],
)
def test_frechet_distance_refuses_what_it_cannot_fit(a, b, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)


def test_frechet_distance_refuses_too_few_resamples():
    with pytest.raises(ValueError, match="at least 20"):
        frechet_distance(draws(50, 4, 0), draws(50, 4, 1), resamples=5)
