"""The bounds on log p(x) against models whose evidence is known: a linear one in closed form, others by quadrature.

The linear one is probabilistic PCA (Tipping & Bishop 1999, J. R. Stat. Soc. B 61(3), 611-622): p(x | z) =
N(W z + b, s^2 I), so p(x) = N(b, W W^T + s^2 I) and p(z | x) = N(M^-1 W^T (x - b), s^2 M^-1) with M = W^T W + s^2 I.
The columns of W are orthogonal here, so that the posterior is diagonal and an encoder can be exact.
"""

import math

import pytest
import torch
from torch import distributions as D
from torch import nn

from genai_utils.vae.vae import VAE, VAEConfig, elbo, iwae_bound, kl_to_prior, normal_log_prob, vae_loss

S = 0.6  # standard deviation of the linear model's likelihood
LINEAR = VAEConfig(side=2, network="mlp", hidden=2, latent=2, likelihood="gaussian", std=S)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=gen(seed), dtype=torch.float64)


@torch.no_grad()
def linear_model(exact=True):
    """Return probabilistic PCA of 4 pixels as a VAE, in float64: exact posterior, or one that is off everywhere."""
    model = VAE(LINEAR)
    model.head, model.decoder = nn.Linear(4, 4), nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (1, 2, 2)))
    model = model.double()
    W = torch.linalg.qr(draw(4, 2)).Q * torch.tensor([1.5, 0.7], dtype=torch.float64)
    b = draw(4, seed=1)
    model.decoder[0].weight.copy_(W)
    model.decoder[0].bias.copy_(b)
    M = W.T @ W + S**2 * torch.eye(2, dtype=torch.float64)
    to_mean = torch.linalg.solve(M, W.T)  # M^-1 W^T
    model.head.weight.copy_(torch.cat([to_mean, torch.zeros(2, 4)]))
    model.head.bias.copy_(torch.cat([-to_mean @ b, (S**2 / M.diagonal()).log()]))
    if not exact:
        model.head.weight.add_(0.1 * draw(4, 4, seed=2))  # the variance depends on x, too
        model.head.bias.add_(torch.tensor([0.3, -0.3, 0.5, 0.7], dtype=torch.float64))  # and is wider
    return model


def linear_parts(model, x):
    """Return the evidence (B,) and the exact posterior of the linear model, from torch.distributions alone."""
    W, b = model.decoder[0].weight.detach(), model.decoder[0].bias.detach()
    eye = torch.eye(2, dtype=torch.float64)
    evidence = D.MultivariateNormal(b, W @ W.T + S**2 * torch.eye(4, dtype=torch.float64)).log_prob(x.flatten(1))
    M = W.T @ W + S**2 * eye
    mean = torch.linalg.solve(M, W.T @ (x.flatten(1) - b).T).T
    return evidence, D.MultivariateNormal(mean, S**2 * torch.linalg.solve(M, eye))


def linear_data(n):
    model, z = linear_model(), draw(n, 2, seed=3)
    with torch.no_grad():
        return model.decode(z) + S * draw(n, 1, 2, 2, seed=4)


def assert_mean(values, law, *, at_least=0.0):
    """The mean of independent values (N, ...) is `law` within 4 standard errors everywhere, which are not all zero."""
    error = values.std(0) / len(values) ** 0.5
    assert (error > at_least).all()
    off = ((values.mean(0) - law).abs() / error).max().item()
    assert off < 4, f"{off:.1f} standard errors from the law"


def assert_above(values, others):
    """Paired: the mean of values (N,) is above that of others, by 4 standard errors of the difference at least."""
    difference = values - others
    assert difference.mean().item() > 4 * difference.std().item() / len(difference) ** 0.5


@pytest.mark.parametrize("k", [1, 5, 50])
@torch.no_grad()
def test_importance_weighted_bound_with_the_exact_posterior_is_the_evidence_at_every_draw(k):
    """Every weight p(x, z) / q(z | x) is p(x) then: one wrong constant, here or in a density, would show."""
    model, x = linear_model(), linear_data(64)
    evidence, _ = linear_parts(model, x)
    for seed in (0, 1):
        torch.testing.assert_close(iwae_bound(model, x, k=k, generator=gen(seed)), evidence, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_elbo_with_the_exact_posterior_is_the_evidence_on_average():
    model, x = linear_model(), linear_data(6)
    draws = elbo(model, x.repeat(4000, 1, 1, 1), generator=gen()).view(4000, 6)
    assert_mean(draws, linear_parts(model, x)[0], at_least=1e-4)


@torch.no_grad()
def test_gap_of_the_elbo_is_the_divergence_from_the_true_posterior():
    model, x = linear_model(exact=False), linear_data(6)
    evidence, posterior = linear_parts(model, x)
    mu, log_var = model.encode(x)
    gap = D.kl_divergence(D.MultivariateNormal(mu, torch.diag_embed(log_var.exp())), posterior)
    assert gap.min() > 0.1  # nats: the encoder is really off
    draws = elbo(model, x.repeat(4000, 1, 1, 1), generator=gen()).view(4000, 6)
    assert_mean(draws, evidence - gap, at_least=1e-4)


@torch.no_grad()
def test_mean_elbo_lies_below_the_importance_weighted_bounds_and_these_below_the_evidence():
    """On average, that is: a single estimate may lie above the evidence, and some do."""
    model, x = linear_model(exact=False), linear_data(500).repeat(20, 1, 1, 1)
    evidence, _ = linear_parts(model, x)
    bounds = [elbo(model, x, generator=gen())] + [iwae_bound(model, x, k=k, generator=gen()) for k in (5, 50)]
    for lower, higher in zip(bounds, bounds[1:] + [evidence]):
        assert_above(higher, lower)
    assert all((bound > evidence).any() for bound in bounds)


@torch.no_grad()
def test_importance_weighted_bound_at_one_draw_has_the_mean_of_the_elbo():
    model, x = linear_model(exact=False), linear_data(2000)
    difference = iwae_bound(model, x, k=1, generator=gen()) - elbo(model, x, generator=gen())  # of the same draws
    assert_mean(difference, 0.0, at_least=1e-3)


@pytest.mark.parametrize("k", [1, 5])
@torch.no_grad()
def test_weights_average_to_the_evidence_whatever_their_number(k):
    """exp of the bound is an unbiased estimate of p(x), [IWAE] Eq. 9: no factor of k is lost or counted twice."""
    model, x = linear_model(exact=False), linear_data(4)
    evidence, _ = linear_parts(model, x)
    ratio = (iwae_bound(model, x.repeat(4000, 1, 1, 1), k=k, generator=gen()).view(4000, 4) - evidence).exp()
    assert_mean(ratio, 1.0, at_least=1e-4)


@torch.no_grad()
def test_more_draws_of_the_elbo_keep_its_mean_and_divide_its_variance():
    model, x = linear_model(exact=False), linear_data(4)
    few, many = (
        elbo(model, x.repeat(2000, 1, 1, 1), samples=s, generator=gen(s)).view(2000, 4) for s in (1, 16)
    )  # fmt: skip
    assert_mean(few - many, 0.0, at_least=1e-4)
    assert ((few.var(0) / many.var(0)).log() - math.log(16)).abs().max() < 0.4  # 4 errors: each of sqrt(2 k / n), k = 4


def test_mean_of_the_reparameterised_gradient_is_the_analytic_gradient():
    """Of the negative ELBO, whose expectation over z is a formula here; encoder and decoder, every parameter."""
    model, x = linear_model(exact=False), linear_data(8)
    W, b = model.decoder[0].weight, model.decoder[0].bias
    mu, log_var = model.head(x.flatten(1)).chunk(2, dim=1)
    square = (x.flatten(1) - b - mu @ W.T).square().sum(1) + log_var.exp() @ W.square().sum(0)  # E |x - b - W z|^2
    nll = 0.5 * square / S**2 + 2 * math.log(2 * math.pi * S**2)
    kl = D.kl_divergence(D.Normal(mu, (0.5 * log_var).exp()), D.Normal(torch.zeros_like(mu), 1.0)).sum(1)
    parameters = list(model.parameters())
    analytic = torch.autograd.grad((nll + kl).mean(), parameters)
    g, estimates = gen(), []
    for _ in range(800):
        loss, _ = vae_loss(model, (x, None), generator=g)
        estimates.append(torch.cat([v.flatten() for v in torch.autograd.grad(loss, parameters)]))
    assert_mean(torch.stack(estimates), torch.cat([v.flatten() for v in analytic]), at_least=1e-4)


@pytest.mark.parametrize("name", ["bernoulli", "logistic", "gaussian"])
@torch.no_grad()
def test_bounds_equal_their_naive_sums_over_the_same_draws(name):
    torch.manual_seed(0)
    model = VAE(VAEConfig(side=4, channels=2, width=2, hidden=5, latent=3, likelihood=name, n_classes=2)).double()
    x, labels = draw(4, 2, 4, 4).sign(), torch.tensor([0, 1, 1, 0])  # black and white: every likelihood takes them
    mu, log_var = model.encode(x, labels)
    q, prior = D.Normal(mu, (0.5 * log_var).exp()), D.Normal(torch.zeros_like(mu), 1.0)
    g, log_w, log_p = gen(), [], []
    for _ in range(5):
        z = mu + q.stddev * torch.randn(mu.shape, generator=g, dtype=mu.dtype)
        log_p.append(model.likelihood.log_prob(model.decode(z, labels), x))
        log_w.append(log_p[-1] + (prior.log_prob(z) - q.log_prob(z)).sum(1))
    by_hand = torch.stack(log_w).exp().mean(0).log()
    torch.testing.assert_close(iwae_bound(model, x, labels, k=5, generator=gen()), by_hand)
    by_hand = torch.stack(log_p).mean(0) - D.kl_divergence(q, prior).sum(1)
    torch.testing.assert_close(elbo(model, x, labels, samples=5, generator=gen()), by_hand)
    loss, logs = vae_loss(model, (x, labels), generator=gen())
    torch.testing.assert_close(-loss, elbo(model, x, labels, generator=gen()).mean())
    torch.testing.assert_close(loss, logs["nll"] + logs["kl"])


def sharp_model(name):
    """A VAE of 4 pixels and one latent that has been spread out, so that the evidence is no trifle; float64."""
    torch.manual_seed(0)
    model = VAE(VAEConfig(side=2, network="mlp", hidden=8, latent=1, likelihood=name, std=0.5)).double()
    with torch.no_grad():
        for p in model.decoder.parameters():
            p.mul_(3)
    return model


def evidence_by_quadrature(model, x):
    """log p(x), (B,): the integral of p(x | z) p(z) over the one latent, by the trapezoid rule."""
    z = torch.linspace(-9, 9, 2001, dtype=torch.float64)[:, None]
    params, log_prior = model.decode(z), D.Normal(0.0, 1.0).log_prob(z[:, 0])
    log_joint = [model.likelihood.log_prob(params, one.expand(len(z), 1, 2, 2)) + log_prior for one in x]
    return torch.stack(log_joint).logsumexp(1) + math.log(18 / 2000)


@torch.no_grad()
def test_evidence_of_all_binary_pictures_sums_to_one_and_bounds_lie_below_it():
    model = sharp_model("bernoulli")
    x = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 4).view(16, 1, 2, 2)
    evidence = evidence_by_quadrature(model, x)
    assert evidence.exp().sum().item() == pytest.approx(1.0, abs=1e-9) and evidence.std() > 0.5
    repeated, g = x.repeat(1200, 1, 1, 1), gen()
    bounds = [elbo(model, repeated, generator=g)] + [iwae_bound(model, repeated, k=k, generator=g) for k in (5, 50)]
    for lower, higher in zip(bounds, bounds[1:] + [evidence.repeat(1200)]):
        assert_above(higher, lower)


@pytest.mark.parametrize("name", ["bernoulli", "logistic", "gaussian"])
@torch.no_grad()
def test_weights_of_a_network_average_to_its_evidence(name):
    model = sharp_model(name)
    model.head[-1].bias[1] += 0.7  # a posterior somewhat too wide keeps the weights from running away
    x = torch.tensor([[-1.0, 1.0, 1.0, -1.0], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64).view(2, 1, 2, 2)
    estimates = iwae_bound(model, x.repeat(4000, 1, 1, 1), k=5, generator=gen()).view(4000, 2)
    assert_mean((estimates - evidence_by_quadrature(model, x)).exp(), 1.0, at_least=1e-4)


def test_kl_to_prior_and_normal_log_prob_equal_torch_distributions():
    mu, log_var, z = 2 * draw(5, 3), draw(5, 3, seed=1), draw(5, 3, seed=2)
    q = D.Normal(mu, (0.5 * log_var).exp())
    torch.testing.assert_close(kl_to_prior(mu, log_var), D.kl_divergence(q, D.Normal(torch.zeros_like(mu), 1.0)))
    assert kl_to_prior(torch.zeros(2, 3), torch.zeros(2, 3)).abs().max() == 0
    torch.testing.assert_close(normal_log_prob(z, mu, log_var), q.log_prob(z).sum(1))
    torch.testing.assert_close(normal_log_prob(z), D.Normal(0.0, 1.0).log_prob(z).sum(1))


@pytest.mark.parametrize("bound, wrong, message", [
    (elbo, {"samples": 0}, "samples must be at least 1, got 0"), (iwae_bound, {"k": 0}, "k must be at least 1, got 0"),
])  # fmt: skip
def test_bounds_refuse_no_draws_and_pixels_that_cannot_be(bound, wrong, message):
    model, x = linear_model(), linear_data(3)
    with pytest.raises(ValueError, match=message):
        bound(model, x, **wrong)
    x[1, 0, 0, 1] = math.inf
    with pytest.raises(ValueError, match="got inf"):
        bound(model, x)
    with pytest.raises(ValueError, match=r"takes no labels \(n_classes is 0\)"):
        bound(model, linear_data(3), torch.tensor([0, 0, 0]))
