import math
from decimal import Decimal, localcontext

import pytest
import torch
from torch import distributions as D

from genai_utils.vae.likelihoods import Bernoulli, DiscretisedLogistic, Gaussian, binarise, likelihood

LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1  # the 256 grey levels
ALL = {"bernoulli": Bernoulli(), "logistic": DiscretisedLogistic(), "gaussian": Gaussian(0.3)}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pictures(name, *shape, seed=1):
    """Pictures that the likelihood called `name` can give rise to."""
    x = draw(*shape, seed=seed).clamp(-1, 1)
    return {"bernoulli": x.sign(), "logistic": ((x + 1) * 127.5).round() / 127.5 - 1, "gaussian": 3 * x}[name]


def each_level(mu, log_s):
    """Return the log-probability of each of the 256 levels of one pixel with this location and log-scale."""
    params = torch.tensor([mu, log_s], dtype=torch.float64).expand(256, 2)[:, :, None, None]
    return DiscretisedLogistic().log_prob(params, LEVELS[:, None, None, None])


def exact_log_prob(k, mu, log_s):
    """log of the probability of level k: the difference of two sigmoids, in decimal arithmetic of 60 digits.

    Its exponents have no bounds to speak of. Right of the middle it takes 1 - sigmoid(u) = sigmoid(-u) of both, as
    that is the one that is small there.
    """
    with localcontext() as context:
        context.prec = 60
        upper, lower = ((Decimal(2 * k + h) / 255 - 1 - Decimal(mu)) / Decimal(log_s).exp() for h in (1, -1))
        side = 1 if upper + lower < 0 else -1
        below = [1 / (1 + (-side * u).exp()) for u in (upper, lower)]
        if k in (0, 255):  # the outermost levels take what lies beyond: their other border is at infinity
            below[1 if k == 0 else 0] = Decimal((side == 1) == (k == 255))
        return float(abs(below[0] - below[1]).ln())


def test_bernoulli_equals_torch_distributions_term_by_term():
    logits, x = 5 * draw(4, 2, 3, 3), pictures("bernoulli", 4, 2, 3, 3)
    terms = D.Bernoulli(logits=logits).log_prob((x + 1) / 2)  # (4, 2, 3, 3)
    by_hand = torch.stack([sum(terms[b].flatten()) for b in range(4)])
    torch.testing.assert_close(Bernoulli().log_prob(logits, x), by_hand, rtol=1e-12, atol=0)


def test_gaussian_equals_torch_distributions_term_by_term():
    means, x = draw(4, 2, 3, 3), 2 * draw(4, 2, 3, 3, seed=1)
    for std in (0.05, 1.0, 7.0):
        by_hand = torch.stack([sum(t.flatten()) for t in D.Normal(means, std).log_prob(x)])
        torch.testing.assert_close(Gaussian(std).log_prob(means, x), by_hand, rtol=1e-12, atol=0)


def test_discretised_logistic_equals_the_difference_of_torchs_distribution_functions():
    params, x = draw(4, 4, 3, 3), pictures("logistic", 4, 2, 3, 3)
    mu, log_s = params[:, :2], params[:, 2:]  # locations first, then log-scales, channel by channel
    base = D.Uniform(torch.zeros_like(mu), torch.ones_like(mu), validate_args=False)
    logistic = D.TransformedDistribution(
        base, [D.SigmoidTransform().inv, D.AffineTransform(mu, log_s.exp())], validate_args=False
    )
    upper = torch.where(x == 1, 1.0, logistic.cdf(x + 1 / 255))  # the outermost levels take what lies beyond
    lower = torch.where(x == -1, 0.0, logistic.cdf(x - 1 / 255))
    by_hand = torch.stack([sum(t.flatten()) for t in (upper - lower).log()])
    torch.testing.assert_close(DiscretisedLogistic().log_prob(params, x), by_hand, rtol=1e-10, atol=0)


@pytest.mark.parametrize("mu, log_s", [(0.1, -2.0), (-0.999, -7.0), (0.9, -6.5), (3.0, -5.0), (-0.2, 12.0)])
def test_discretised_logistic_is_exact_where_the_plain_difference_is_lost(mu, log_s):
    """Compared with decimal arithmetic; the float64 difference of sigmoids underflows from about 37 scales on."""
    levels = [0, 1, 127, 128, 254, 255]
    exact = torch.tensor([exact_log_prob(k, mu, log_s) for k in levels], dtype=torch.float64)
    torch.testing.assert_close(each_level(mu, log_s)[levels], exact, rtol=1e-11, atol=1e-13)
    if log_s == -7.0:
        naive = torch.sigmoid((LEVELS + 1 / 255 - mu) / math.exp(log_s))
        naive = naive - torch.sigmoid((LEVELS - 1 / 255 - mu) / math.exp(log_s))
        assert naive[128] == 0 and exact.min() < -1000


def test_discretised_logistic_in_float32_stays_close_in_the_far_tails():
    params = torch.tensor([-0.999, -7.0]).view(1, 2, 1, 1)
    for k in (0, 1, 128, 255):
        got = DiscretisedLogistic().log_prob(params, LEVELS[k].float().view(1, 1, 1, 1)).item()
        assert got == pytest.approx(exact_log_prob(k, -0.999, -7.0), rel=1e-5, abs=1e-3)


@pytest.mark.parametrize("mu, log_s", [(0.0, -3.0), (0.77, -7.0), (-2.0, 0.5), (1.5, -1.0)])
def test_probabilities_of_the_256_levels_sum_to_one(mu, log_s):
    assert each_level(mu, log_s).exp().sum().item() == pytest.approx(1.0, abs=1e-12)


def test_probabilities_of_all_binary_pictures_sum_to_one():
    x = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 6).view(64, 1, 2, 3)
    p = Bernoulli().log_prob(3 * draw(1, 1, 2, 3), x).exp()
    assert p.sum().item() == pytest.approx(1.0, abs=1e-12)


def test_gaussian_density_integrates_to_one_on_either_side_of_its_mean():
    grid = torch.linspace(-4, 4, 4001, dtype=torch.float64)
    means = torch.full((1, 1, 1, 1), 0.7, dtype=torch.float64)
    density = Gaussian(0.3).log_prob(means, grid[:, None, None, None]).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1.0, abs=1e-9)
    assert torch.trapezoid(density * grid, grid).item() == pytest.approx(0.7, abs=1e-9)


def test_log_scales_below_minus_seven_count_as_minus_seven():
    torch.testing.assert_close(each_level(0.1, -30.0), each_level(0.1, -7.0), rtol=0, atol=0)


@pytest.mark.parametrize("name", ALL)
def test_log_prob_passes_gradcheck(name):
    lik = ALL[name]
    params = draw(2, 2 * lik.per_value, 2, 2, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: lik.log_prob(p, pictures(name, 2, 2, 2, 2)), params)


def test_log_prob_has_finite_gradients_at_both_edges_and_far_away():
    params = torch.tensor([[3.0, -7.0], [-3.0, -7.0], [0.0, 9.0]]).repeat_interleave(3, 0)[:, :, None, None]
    params.requires_grad_()
    x = torch.tensor([-1.0, 1 / 255, 1.0]).repeat(3)[:, None, None, None]
    log_p = DiscretisedLogistic().log_prob(params, x)
    (grad,) = torch.autograd.grad(log_p.sum(), params)
    assert log_p.isfinite().all() and grad.isfinite().all()
    assert (grad[[0, 1, 4, 5], 0] != 0).all()  # a pixel a thousand scales away still pulls at the location


def chi_square(counts, p, n):
    """Return the statistic of n draws against probabilities p, rare values taken together, and degrees of freedom."""
    often = p * n >= 10
    counts = torch.cat([counts[often], counts[~often].sum()[None]])
    expected = n * torch.cat([p[often], p[~often].sum()[None]])
    counts, expected = counts[expected > 1e-9], expected[expected > 1e-9]
    return ((counts - expected).square() / expected).sum().item(), len(counts) - 1


@pytest.mark.parametrize("mu, log_s", [(0.2, -3.5), (0.95, -1.5), (-1.2, -3.0)])
def test_samples_of_the_logistic_lie_on_the_grid_and_have_the_frequencies_log_prob_says(mu, log_s):
    n, lik = 20_000, DiscretisedLogistic()
    params = torch.tensor([mu, log_s]).view(1, 2, 1, 1).expand(n, 2, 1, 1)
    x = lik.sample(params, torch.Generator().manual_seed(0))
    assert x.shape == (n, 1, 1, 1) and x.dtype == torch.float32
    lik.check(x)
    k = ((x.flatten() + 1) * 127.5).round().long()
    torch.testing.assert_close(x.flatten(), k / 127.5 - 1)
    statistic, free = chi_square(torch.bincount(k, minlength=256), each_level(mu, log_s).exp(), n)
    assert free >= 10 and abs(statistic - free) < 4 * (2 * free) ** 0.5


def test_samples_of_the_bernoulli_have_the_frequencies_log_prob_says():
    n, logits = 4000, 2 * draw(1, 1, 4, 4)
    x = Bernoulli().sample(logits.expand(n, 1, 4, 4), torch.Generator().manual_seed(0))
    Bernoulli().check(x)
    p, share = logits[0].sigmoid(), (x == 1).double().mean(0)
    statistic = ((share - p).square() / (p * (1 - p) / n)).sum().item()
    assert abs(statistic - 16) < 4 * 32**0.5


def test_samples_of_the_gaussian_have_its_mean_and_its_standard_deviation():
    n, means = 4000, draw(1, 1, 4, 4)
    u = (Gaussian(0.3).sample(means.expand(n, 1, 4, 4), torch.Generator().manual_seed(0)) - means) / 0.3
    assert u.mean().abs().item() < 4 / (16 * n) ** 0.5
    assert abs(u.square().mean().item() - 1) < 4 * (2 / (16 * n)) ** 0.5


@pytest.mark.parametrize("name", ALL)
def test_samples_repeat_with_their_generator_and_can_be_checked(name):
    lik, params = ALL[name], draw(3, 2 * ALL[name].per_value, 4, 4).float()
    a, b, c = (lik.sample(params, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    lik.check(a)
    assert a.shape == (3, 2, 4, 4) and a.dtype == params.dtype
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_mean_of_bernoulli_and_gaussian_is_what_samples_average_to():
    for lik, sd in ((Bernoulli(), 1.0), (Gaussian(0.3), 0.3)):
        params, n = draw(1, 1, 3, 3), 4000
        x = lik.sample(params.expand(n, 1, 3, 3), torch.Generator().manual_seed(0))
        assert ((x.mean(0) - lik.mean(params)[0]).abs() < 4 * sd / n**0.5).all()


def test_mean_of_the_logistic_is_its_location_within_the_range_of_pixels():
    params = torch.tensor([[-1.7, 0.25, 1.2], [0.0, 0.0, 0.0]]).view(1, 2, 1, 3)
    assert DiscretisedLogistic().mean(params).flatten().tolist() == [-1.0, 0.25, 1.0]


def impossible(name):
    """Values that the likelihood called `name` gives no probability, and what the message says of them."""
    grey = {"bernoulli": [0.2, -0.999, 0.0], "logistic": [256 / 127.5 - 1, -1 / 127.5 - 1, -1.5], "gaussian": []}[name]
    return [(v, f"got {v:.4g}") for v in grey] + [(math.inf, "got inf"), (-math.inf, "got -inf")]


@pytest.mark.parametrize("name", ALL)
def test_impossible_pixels_are_refused_by_value_and_have_no_probability(name):
    lik, good = ALL[name], pictures(name, 2, 1, 2, 2).float()
    lik.check(good)
    params = draw(2, lik.per_value, 2, 2).float()
    assert lik.log_prob(params, good).isfinite().all()
    for value, message in impossible(name):
        x = good.clone()
        x[1, 0, 1, 0] = value
        with pytest.raises(ValueError, match=message):
            lik.check(x)
        log_p = lik.log_prob(params, x)
        assert log_p[0].isfinite() and log_p[1] == -math.inf


@pytest.mark.parametrize("name", ALL)
def test_pixels_that_are_no_numbers_are_refused(name):
    x = pictures(name, 2, 1, 2, 2)
    x[0, 0, 0, 1] = math.nan
    with pytest.raises(ValueError, match="got nan"):
        ALL[name].check(x)


def test_logistic_refuses_values_between_two_levels_and_accepts_every_level_in_float32():
    lik = DiscretisedLogistic()
    lik.check((torch.arange(256, dtype=torch.uint8).float() / 127.5 - 1).view(1, 1, 16, 16))
    lik.check((2 * (torch.arange(256) / 255) - 1).view(1, 1, 16, 16))  # other roundings of the same levels
    for level in (191.25, 100.01, 0.01, 254.99):
        with pytest.raises(ValueError, match=rf"8-bit pixels.*got {level / 127.5 - 1:.4g}"):
            lik.check(torch.full((1, 1, 2, 2), level / 127.5 - 1, dtype=torch.float64))


def test_likelihood_is_found_by_name_and_refuses_others():
    assert type(likelihood("bernoulli")) is Bernoulli and type(likelihood("logistic")) is DiscretisedLogistic
    assert likelihood("gaussian", 0.2).std == 0.2
    with pytest.raises(ValueError, match="bernoulli, logistic, gaussian, got 'beta'"):
        likelihood("beta")
    for std in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"std must be above 0, got {std}"):
            likelihood("gaussian", std)


def test_binarise_draws_each_pixel_with_the_probability_its_grey_level_stands_for():
    n, x = 4000, torch.linspace(-1, 1, 9)
    drawn = binarise(x.view(1, 1, 3, 3).expand(n, 1, 3, 3), torch.Generator().manual_seed(0))
    Bernoulli().check(drawn)
    share, p = (drawn == 1).double().mean(0).flatten(), (x + 1) / 2
    assert ((share - p).abs() <= 4 * (p * (1 - p) / n).sqrt()).all()  # black and white exactly: no spread there
    again = binarise(x.view(1, 1, 3, 3).expand(n, 1, 3, 3), torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_binarise_without_a_generator_cuts_in_the_middle():
    levels = LEVELS.float().view(1, 1, 16, 16)
    assert torch.equal((binarise(levels) == 1).flatten(), torch.arange(256) >= 128)
    assert torch.equal(binarise(levels), binarise(levels))


@pytest.mark.parametrize("value", [1.5, -1.01, math.nan, 255.0])
def test_binarise_refuses_pixels_beyond_the_range(value):
    with pytest.raises(ValueError, match=rf"\[-1, 1\], got {value:.4g}"):
        binarise(torch.tensor([0.0, value]).view(1, 1, 1, 2))
