import math

import pytest
import torch
from torch import nn

from genai_utils.diffusion.process import (
    binned_gaussian_log_prob,
    bound_term,
    denoiser,
    diffusion_loss,
    min_snr_weight,
    q_sample,
    split_prediction,
    target,
)
from genai_utils.diffusion.schedules import betas, cosine_schedule, linear_schedule, rescale_zero_snr, snr
from genai_utils.diffusion.unet import UNet, UNetConfig

PREDICTIONS = ("eps", "x0", "v")
TINY = UNetConfig(side=8, widths=(8, 16), attention=(False, True), blocks=1, head_dim=8, groups=4, n_classes=4)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The forward process


@pytest.mark.parametrize("t", [0, 10, 50, 99])
def test_q_sample_has_the_mean_and_variance_of_the_forward_process(t):
    n, alpha_bar, x0 = 100_000, cosine_schedule(100), torch.tensor([-1.0, 0.2, 0.9], dtype=torch.float64)
    x_t = q_sample(x0.expand(n, 3), torch.full((n,), t), draw(n, 3), alpha_bar)
    a = alpha_bar[t].item()
    mean_error = 4 * ((1 - a) / n) ** 0.5  # four standard errors
    torch.testing.assert_close(x_t.mean(0), a**0.5 * x0, rtol=0, atol=mean_error)
    torch.testing.assert_close(x_t.var(0), torch.full((3,), 1 - a).double(), rtol=4 * (2 / n) ** 0.5, atol=0)
    assert (torch.corrcoef(x_t.T).triu(1).abs() < 4 / n**0.5).all()


def test_q_sample_equals_noising_step_by_step():
    """Add the noise of each step, and follow the total that it amounts to; [DDPM] Eq. 2 against Eq. 4."""
    alpha_bar, x0 = linear_schedule(50), draw(4, 3)
    x, total = x0, torch.zeros(4, 3, dtype=torch.float64)
    for t, beta in enumerate(betas(alpha_bar)):
        step = draw(4, 3, seed=1 + t)
        x = (1 - beta).sqrt() * x + beta.sqrt() * step
        total = (1 - beta).sqrt() * total + beta.sqrt() * step
        eps = total / (1 - alpha_bar[t]).sqrt()
        torch.testing.assert_close(q_sample(x0, torch.full((4,), t), eps, alpha_bar), x, rtol=1e-12, atol=1e-12)
    assert alpha_bar[-1] < 0.7  # the walk went somewhere


def test_noising_step_by_step_has_the_moments_of_the_closed_form():
    n, alpha_bar = 50_000, linear_schedule(100, 1e-3, 0.1)
    g, x = torch.Generator().manual_seed(0), torch.full((n,), 0.7, dtype=torch.float64)
    for beta in betas(alpha_bar):
        x = (1 - beta).sqrt() * x + beta.sqrt() * torch.randn(n, generator=g, dtype=torch.float64)
    a = alpha_bar[-1].item()
    assert abs(x.mean() - a**0.5 * 0.7) < 4 * ((1 - a) / n) ** 0.5
    assert abs(x.var() / (1 - a) - 1) < 4 * (2 / n) ** 0.5


# What the network predicts


@pytest.mark.parametrize("alpha_bar", [linear_schedule(100), cosine_schedule(100)], ids=["linear", "cosine"])
def test_every_prediction_type_gives_the_same_x0_hat_and_eps_hat(alpha_bar):
    x0, eps, t = draw(100, 2, 3, 3), draw(100, 2, 3, 3, seed=1), torch.arange(100)
    x_t = q_sample(x0, t, eps, alpha_bar)
    for predict in PREDICTIONS:
        answer = target(x0, t, eps, alpha_bar, predict)
        x0_hat, eps_hat = denoiser(lambda x, t, out=answer: out, alpha_bar, predict=predict, clip=False)(x_t, t)
        torch.testing.assert_close(x0_hat, x0, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(eps_hat, eps, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("predict", PREDICTIONS)
def test_split_prediction_puts_x_back_together(predict):
    x, out, a = draw(5, 3), draw(5, 3, seed=1), 0.3
    x0_hat, eps_hat = split_prediction(out, x, torch.tensor(a**0.5), torch.tensor((1 - a) ** 0.5), predict)
    torch.testing.assert_close(a**0.5 * x0_hat + (1 - a) ** 0.5 * eps_hat, x, rtol=1e-6, atol=1e-6)


def test_clipped_denoiser_keeps_x_together_and_x0_hat_in_range():
    alpha_bar, x, t = linear_schedule(), draw(4, 1, 3, 3), torch.tensor([0, 300, 700, 999])
    x0_hat, eps_hat = denoiser(lambda x, t: torch.ones_like(x), alpha_bar)(x, t)
    assert x0_hat.abs().max() == 1  # the network's answer would have asked for more
    a = alpha_bar[t].reshape(-1, 1, 1, 1)
    torch.testing.assert_close(a.sqrt() * x0_hat + (1 - a).sqrt() * eps_hat, x)


def test_denoiser_refuses_eps_where_the_schedule_holds_no_signal():
    zero = rescale_zero_snr(linear_schedule(10))
    with pytest.raises(ValueError, match="needs predict='v' or 'x0'"):
        denoiser(nn.Identity(), zero, predict="eps")
    x0_hat, eps_hat = denoiser(lambda x, t: -0.5 * torch.ones_like(x), zero, predict="v")(
        torch.ones(1, 2, dtype=torch.float64), torch.tensor([9])
    )
    assert (x0_hat == 0.5).all() and (eps_hat == 1).all()  # v is -x0 there, and x is all noise


# The loss


class Recorder(nn.Module):
    """A network that keeps what it was asked and answers with a smooth function of it."""

    def __init__(self, n_classes=0):
        super().__init__()
        self.cfg = UNetConfig(n_classes=n_classes)
        self.calls = []

    def forward(self, x, t, labels=None):
        self.calls.append((x, t, labels))
        return torch.sin(x) + 0.001 * t.reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("min_snr", [None, 5.0])
@pytest.mark.parametrize("predict", PREDICTIONS)
def test_diffusion_loss_equals_its_naive_sum(predict, min_snr):
    """Redraw the same timesteps and noise, and write out mean over pixels and images with loops."""
    alpha_bar, x0, model = cosine_schedule(50), draw(6, 1, 2, 2).clamp(-1, 1), Recorder()
    loss, logs = diffusion_loss(
        model, (x0, None), alpha_bar=alpha_bar, predict=predict, min_snr=min_snr,
        generator=torch.Generator().manual_seed(7),
    )  # fmt: skip
    g = torch.Generator().manual_seed(7)
    ts = torch.randint(50, (6,), generator=g)
    noise = torch.randn(6, 1, 2, 2, generator=g, dtype=torch.float64)
    total = total_weighted = 0.0
    for i, t in enumerate(ts.tolist()):
        a = alpha_bar[t].item()
        weight = {"eps": 1 / (a / (1 - a)), "x0": 1.0, "v": 1 / (a / (1 - a) + 1)}[predict] * min(a / (1 - a), 5.0)
        for x, e in zip(x0[i].flatten().tolist(), noise[i].flatten().tolist()):
            x_t = a**0.5 * x + (1 - a) ** 0.5 * e
            wanted = {"eps": e, "x0": x, "v": a**0.5 * e - (1 - a) ** 0.5 * x}[predict]
            square = (math.sin(x_t) + 0.001 * t - wanted) ** 2
            total += square / (6 * 4)
            total_weighted += weight * square / (6 * 4)
    torch.testing.assert_close(logs["mse"].item(), total, rtol=1e-5, atol=0)  # the loss is float32
    torch.testing.assert_close(loss.item(), total if min_snr is None else total_weighted, rtol=1e-5, atol=0)


def test_diffusion_loss_visits_all_timesteps_alike():
    model, T = Recorder(), 10
    for seed in range(40):
        g = torch.Generator().manual_seed(seed)
        diffusion_loss(model, (torch.zeros(256, 1, 1, 1), None), alpha_bar=linear_schedule(T), generator=g)
    counts = torch.bincount(torch.cat([t for _, t, _ in model.calls]), minlength=T).double()
    chi2 = ((counts - counts.mean()).square() / counts.mean()).sum().item()
    assert chi2 < 9 + 4 * (2 * 9) ** 0.5  # nine degrees of freedom, four standard deviations


def test_label_drop_replaces_the_stated_share_by_the_last_class():
    model, n = Recorder(n_classes=11), 20_000
    labels = torch.arange(n) % 10
    batch = (torch.zeros(n, 1, 1, 1), labels)
    g = torch.Generator().manual_seed(0)
    diffusion_loss(model, batch, alpha_bar=linear_schedule(10), label_drop=0.2, generator=g)
    seen = model.calls[0][2]
    share = (seen == 10).double().mean().item()
    assert abs(share - 0.2) < 4 * (0.2 * 0.8 / n) ** 0.5
    assert torch.equal(seen[seen != 10], labels[seen != 10])
    assert torch.equal(labels, torch.arange(n) % 10)  # the batch itself is untouched


def test_min_snr_weights_mean_min_snr_gamma_on_the_error_of_x0():
    """An error d in x0_hat is an error sqrt(snr) d in eps_hat, and sqrt(snr + 1) d in v_hat."""
    alpha_bar = cosine_schedule(1000)
    ratio = snr(alpha_bar)
    wanted = ratio.clamp(max=5)
    torch.testing.assert_close(min_snr_weight(alpha_bar, "x0", 5.0), wanted)
    torch.testing.assert_close(min_snr_weight(alpha_bar, "eps", 5.0) * ratio, wanted)
    torch.testing.assert_close(min_snr_weight(alpha_bar, "v", 5.0) * (ratio + 1), wanted)
    x0, eps, d, t = draw(1000, 1), draw(1000, 1, seed=1), 1e-3, torch.arange(1000)
    x_t = q_sample(x0, t, eps, alpha_bar)
    eps_off = (x_t - alpha_bar.sqrt()[:, None] * (x0 + d)) / (1 - alpha_bar).sqrt()[:, None] - eps
    torch.testing.assert_close(min_snr_weight(alpha_bar, "eps", 5.0) * (eps_off / d).squeeze(1) ** 2, wanted)


@pytest.mark.parametrize("predict", PREDICTIONS)
def test_min_snr_weights_are_finite_where_there_is_no_signal(predict):
    weight = min_snr_weight(rescale_zero_snr(cosine_schedule(100)), predict, 5.0)
    assert weight.isfinite().all() and weight[-1] == (1 if predict == "eps" else 0)


def test_training_on_one_batch_learns_it():
    torch.manual_seed(0)
    model, alpha_bar = UNet(TINY), cosine_schedule(100)
    x0 = torch.where(draw(8, 1, 8, 8).float() > 0, 1.0, -1.0)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def loss():
        g = torch.Generator().manual_seed(0)  # the same timesteps and noise at every step: one batch
        return diffusion_loss(model, (x0, torch.arange(8) % 4), alpha_bar=alpha_bar, generator=g)[0]

    before = loss().item()
    for _ in range(40):
        opt.zero_grad()
        loss().backward()
        opt.step()
    assert loss().item() < 0.25 * before


# The variational bound


def linear_denoiser(alpha_bar, mean, std):
    """Return the exact denoiser of Gaussian data, E[x0 | x_t] = m + a^1/2 s^2 (x_t - a^1/2 m) / (a s^2 + 1 - a)."""

    def denoise(x, t):
        a = alpha_bar[t].reshape(-1, *[1] * (x.ndim - 1))
        x0_hat = mean + a.sqrt() * std**2 * (x - a.sqrt() * mean) / (a * std**2 + 1 - a)
        return x0_hat, (x - a.sqrt() * x0_hat) / (1 - a).sqrt()

    return denoise


def grey_levels(mean, std):
    """Return the 256 grey levels in [-1, 1] and the probability of each under a binned Gaussian."""
    levels = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    return levels, binned_gaussian_log_prob(levels, torch.tensor(mean).double(), std).exp()


@pytest.mark.parametrize("mean, std", [(0.0, 0.3), (0.95, 0.1), (-1.0, 0.02), (0.3, 0.005)])
def test_binned_gaussian_sums_to_one_over_the_256_grey_levels(mean, std):
    _, p = grey_levels(mean, std)
    assert abs(p.sum().item() - 1) < 1e-9


def test_binned_gaussian_is_the_integral_of_the_density_over_the_bin():
    x, mean, std = torch.tensor([-0.2, 0.4]).double() * 2 / 2.55, 0.1, 0.3
    u = torch.linspace(-1, 1, 2001, dtype=torch.float64)[:, None] / 255 + x  # the bin, finely
    density = torch.exp(-0.5 * ((u - mean) / std) ** 2) / (std * (2 * math.pi) ** 0.5)
    by_hand = torch.trapezoid(density, u, dim=0).log()
    torch.testing.assert_close(binned_gaussian_log_prob(x, torch.tensor(mean), std), by_hand, rtol=1e-6, atol=0)


@pytest.mark.parametrize("mean", [-1.02, -1.0, -0.4, 0.3, 1.0, 1.02])
def test_binned_gaussian_keeps_its_digits_in_both_tails_in_float32(mean):
    levels, std = torch.arange(256) / 127.5 - 1, 0.02
    wide = binned_gaussian_log_prob(levels.double(), torch.tensor(mean).double(), std)
    found, seen = binned_gaussian_log_prob(levels, torch.tensor(mean), std).double(), wide > -80
    torch.testing.assert_close(found[seen], wide[seen], rtol=1e-5, atol=1e-6)
    assert wide.min() < -600 and wide[seen].min() < -40 and found.min().item() == pytest.approx(-87.34, abs=0.01)


def bound_closed_form(alpha_bar, mean, std):
    """Return the expected bound of Gaussian data under its exact denoiser, per dimension in nats, in three parts.

    With Var[x0 | x_t] = s^2 / (1 + s^2 snr_t), a KL term is the fall of snr over the step times half that variance,
    the prior term is the KL of N(a^1/2 x0, 1 - a) from N(0, 1), and the reconstruction is an integral over x_0 (the
    noise of the first timestep) and a sum over grey levels.
    """
    a, ratio = alpha_bar[-1].item(), snr(alpha_bar)
    prior = 0.5 * (a * (mean**2 + std**2) - a - math.log(1 - a))
    kl = 0.5 * (ratio[:-1] - ratio[1:]) * std**2 / (1 + std**2 * ratio[1:])
    levels, p = grey_levels(mean, std)
    a0 = alpha_bar[0].item()
    eps = torch.linspace(-8, 8, 801, dtype=torch.float64)
    weight = torch.exp(-0.5 * eps**2) / torch.exp(-0.5 * eps**2).sum()
    x = a0**0.5 * levels[:, None] + (1 - a0) ** 0.5 * eps  # (256, 801)
    x0_hat = mean + a0**0.5 * std**2 * (x - a0**0.5 * mean) / (a0 * std**2 + 1 - a0)
    log_p = binned_gaussian_log_prob(levels[:, None].expand_as(x), x0_hat, (1 - a0) ** 0.5)
    return prior, kl, -(p[:, None] * weight * log_p).sum().item()


def test_bound_terms_sum_to_the_closed_form_on_gaussian_data():
    T, n, mean, std = 60, 4000, 0.1, 0.25
    alpha_bar = linear_schedule(T, 1e-4, 0.3)
    g = torch.Generator().manual_seed(0)
    x0 = mean + std * torch.randn(n, 2, generator=g, dtype=torch.float64)
    x0 = ((x0 + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1  # on the 256 grey levels
    denoise = linear_denoiser(alpha_bar, mean, std)
    terms = torch.stack([bound_term(denoise, x0, t, alpha_bar, generator=g) for t in range(T + 1)])  # (T + 1, n)
    prior, kl, reconstruction = bound_closed_form(alpha_bar, mean, std)
    bin_variance = (2 / 255) ** 2 / 12  # rounding to grey levels adds it to the data, hardly visible beside std
    assert bin_variance < 1e-3 * std**2
    total = terms.sum(0) / 2  # per dimension
    error = total.std().item() / n**0.5
    assert abs(total.mean().item() - (prior + kl.sum().item() + reconstruction)) < 4 * error
    for t, wanted in [(T, prior), (0, reconstruction), (1, kl[0].item()), (T - 1, kl[-1].item())]:
        term = terms[t] / 2
        assert abs(term.mean().item() - wanted) < 4 * term.std().item() / n**0.5 + 1e-3 * wanted, t


def test_bound_of_the_exact_denoiser_falls_to_the_entropy_as_steps_are_added():
    """No model does better than the entropy; what the steps lose above it falls as one over their number.

    In the limit the KL terms become the integral of s^2 / (1 + s^2 snr) over half the snr, a logarithm.
    """
    mean, std = 0.0, 0.25
    _, p = grey_levels(mean, std)
    entropy = -(p * p.clamp(min=1e-300).log()).sum().item()
    gaps = []
    for T in (50, 200, 800):  # the same path from almost clean to almost pure noise, in ever more steps
        alpha_bar = torch.sigmoid(torch.linspace(8, -12, T, dtype=torch.float64))
        prior, kl, reconstruction = bound_closed_form(alpha_bar, mean, std)
        gaps.append(prior + kl.sum().item() + reconstruction - entropy)
    first, last = snr(alpha_bar)[[0, -1]].tolist()
    limit = 0.5 * math.log((1 + std**2 * first) / (1 + std**2 * last)) + prior + reconstruction
    assert 0 < limit - entropy < 1e-3  # nats per dimension: what grey levels and a Gaussian reconstruction leave
    assert all(3.5 < before / after < 4.7 for before, after in zip(gaps, gaps[1:]))  # four times the steps


def test_bound_is_not_the_training_loss_with_a_summed_kl():
    """Guides add a mean squared error to a KL that is summed: the bound sums both, term for term in nats."""
    alpha_bar, x0 = linear_schedule(20), draw(3, 4, 5, 5).clamp(-1, 1)
    denoise = linear_denoiser(alpha_bar, 0.0, 0.5)
    whole = bound_term(denoise, x0, 7, alpha_bar, generator=torch.Generator().manual_seed(0))
    eps = torch.randn(x0.shape, dtype=x0.dtype, generator=torch.Generator().manual_seed(0))
    x0_hat, _ = denoise(q_sample(x0, torch.full((3,), 7), eps, alpha_bar), torch.full((3,), 7))
    weight = 0.5 * (snr(alpha_bar)[6] - snr(alpha_bar)[7]).item()
    by_hand = [weight * sum(d * d for d in (x0[i] - x0_hat[i]).flatten().tolist()) for i in range(3)]
    torch.testing.assert_close(whole, torch.tensor(by_hand, dtype=torch.float64))


def test_kl_term_equals_the_kl_between_the_two_posteriors():
    """Gaussians of equal variance: KL = (difference of means)^2 / (2 variance), both from [DDPM] Eq. 7."""
    alpha_bar, t, x0 = linear_schedule(20), 7, draw(5, 1)
    a, a_next, beta = alpha_bar[t].item(), alpha_bar[t - 1].item(), betas(alpha_bar)[t].item()
    denoise = linear_denoiser(alpha_bar, 0.0, 0.5)
    got = bound_term(denoise, x0, t, alpha_bar, generator=torch.Generator().manual_seed(0))
    eps = torch.randn(x0.shape, dtype=x0.dtype, generator=torch.Generator().manual_seed(0))
    x_t = a**0.5 * x0 + (1 - a) ** 0.5 * eps
    x0_hat, _ = denoise(x_t, torch.full((5,), t))
    means = [a_next**0.5 * beta / (1 - a) * x + (1 - beta) ** 0.5 * (1 - a_next) / (1 - a) * x_t for x in (x0, x0_hat)]
    variance = beta * (1 - a_next) / (1 - a)
    torch.testing.assert_close(got, ((means[0] - means[1]) ** 2 / (2 * variance)).squeeze(1))


@pytest.mark.parametrize("call, message", [
    (lambda: target(torch.zeros(1), torch.tensor([0]), torch.zeros(1), linear_schedule(10), "noise"), "'noise'"),
    (lambda: denoiser(nn.Identity(), linear_schedule(10), predict="epsilon"), "'epsilon'"),
    (lambda: min_snr_weight(linear_schedule(10), "epsilon", 5.0), "'epsilon'"),
    (lambda: min_snr_weight(linear_schedule(10), "eps", 0.0), "0.0"),
    (lambda: bound_term(None, torch.zeros(1, 1), 11, linear_schedule(10)), "11"),
    (lambda: diffusion_loss(None, (torch.zeros(1), None), alpha_bar=linear_schedule(9), label_drop=1.0), "1.0"),
])  # fmt: skip
def test_process_refuses_bad_input_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
