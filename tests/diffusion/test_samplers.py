"""Samplers against closed forms: oracles, Gaussian data with its exact denoiser, a mixture with its exact score."""

import math

import pytest
import torch

from genai_utils.diffusion.process import denoiser
from genai_utils.diffusion.samplers import ddim_step, ddim_steps, ddpm_step, ddpm_steps, dpmpp_steps
from genai_utils.diffusion.schedules import betas, cosine_schedule, linear_schedule, rescale_zero_snr, visit_times
from genai_utils.diffusion.unet import UNet, UNetConfig

SAMPLERS = {"ddpm": ddpm_steps, "ddim": ddim_steps, "dpmpp": dpmpp_steps}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def last(steps):
    *_, (_, x, _) = steps
    return x


# Oracles


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 2, 10, 50])
@pytest.mark.parametrize("sampler", ["ddim", "dpmpp"])
def test_deterministic_samplers_recover_x0_exactly_when_the_denoiser_knows_it(sampler, steps, spacing):
    x0, eps, alpha_bar = draw(4, 3, 4, 4), draw(4, 3, 4, 4, seed=1), linear_schedule(50)
    times = visit_times(50, steps, spacing)
    a = alpha_bar[times[0]]
    x = a.sqrt() * x0 + (1 - a).sqrt() * eps
    for t, x_next, _ in SAMPLERS[sampler](lambda x, t: (x0, eps), x, alpha_bar, times):
        a_next = torch.cat([alpha_bar[times[1:]], torch.ones(1)])[times.index(t)]
        torch.testing.assert_close(x_next, a_next.sqrt() * x0 + (1 - a_next).sqrt() * eps)  # on the path all the way
    torch.testing.assert_close(x_next, x0)


def test_ddim_recovers_x0_from_zero_snr_when_the_network_predicts_v_exactly():
    x0, eps, alpha_bar = draw(4, 3), draw(4, 3, seed=1), rescale_zero_snr(linear_schedule(50))

    def network(x, t):
        a = alpha_bar[t][:, None]
        return a.sqrt() * eps - (1 - a).sqrt() * x0

    denoise = denoiser(network, alpha_bar, predict="v", clip=False)
    x = last(ddim_steps(denoise, eps, alpha_bar, visit_times(50, 10, "trailing")))
    torch.testing.assert_close(x, x0, rtol=1e-9, atol=1e-9)


# One step by hand


def test_ddpm_step_is_the_gaussian_posterior_of_the_forward_process():
    """Bayes' rule on scalars: q(x_next | x, x0) is prior N(sqrt(a_next) x0, 1 - a_next) times likelihood of x."""
    a, a_next, x, x0 = 0.3, 0.5, 0.4, -0.7
    beta, prior = 1 - a / a_next, 1 - a_next
    precision = 1 / prior + (1 - beta) / beta
    mean = (a_next**0.5 * x0 / prior + (1 - beta) ** 0.5 * x / beta) / precision
    got = ddpm_step(torch.tensor([x]).double(), torch.tensor([x0]).double(), a, a_next, None)
    torch.testing.assert_close(got.item(), mean)
    noise = torch.ones(1, dtype=torch.float64)
    spread = ddpm_step(torch.tensor([x]).double(), torch.tensor([x0]).double(), a, a_next, noise) - got
    torch.testing.assert_close(spread.item(), (1 / precision) ** 0.5)


def test_ddpm_step_is_not_the_pseudo_code_that_returns_x0_hat():
    """A mistake that goes round: the reverse step gives back the estimate of x0 instead of a slightly cleaner x."""
    x0, alpha_bar, t = draw(2000), linear_schedule(), 500
    a, a_next = alpha_bar[t].item(), alpha_bar[t - 1].item()
    x = a**0.5 * x0 + (1 - a) ** 0.5 * draw(2000, seed=1)
    x_next = ddpm_step(x, x0, a, a_next, draw(2000, seed=2))
    level = ((x_next - a_next**0.5 * x0).square().mean() / (1 - a_next)).item()  # noise left, as the schedule wants it
    assert abs(level - 1) < 4 * (2 / 2000) ** 0.5
    assert (x_next - x0).square().mean() > 0.5  # far from x0_hat, which here is x0 itself
    assert (x_next - x).square().mean() < 0.1  # and close to where it came from


def test_ddim_step_with_eta_one_has_the_mean_and_the_noise_of_ddpm():
    a, a_next, x, x0_hat, noise = 0.3, 0.5, draw(5), draw(5, seed=1), draw(5, seed=2)
    eps_hat = (x - a**0.5 * x0_hat) / (1 - a) ** 0.5
    torch.testing.assert_close(
        ddim_step(x0_hat, eps_hat, a, a_next, 1.0, noise), ddpm_step(x, x0_hat, a, a_next, noise)
    )


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_step_keeps_the_noise_level_of_the_schedule_for_every_eta(eta):
    x = ddim_step(torch.zeros(100_000), draw(100_000), 0.3, 0.5, eta, draw(100_000, seed=1))
    assert abs(x.var().item() / 0.5 - 1) < 4 * (2 / 100_000) ** 0.5


# Gaussian data: the exact denoiser is linear, so everything has a closed form

MEAN, STD = 0.4, 0.3


def gaussian(alpha_bar):
    """Return E[x0 | x_t] for data N(MEAN, STD^2)."""

    def denoise(x, t):
        a = alpha_bar[t].reshape(-1, *[1] * (x.ndim - 1))
        x0_hat = MEAN + a.sqrt() * STD**2 * (x - a.sqrt() * MEAN) / (a * STD**2 + 1 - a)
        return x0_hat, (x - a.sqrt() * x0_hat) / (1 - a).sqrt()

    return denoise


@pytest.mark.parametrize("variance", ["posterior", "beta"])
@pytest.mark.parametrize("steps", [10, 100])
def test_ddpm_has_the_moments_that_its_recursion_predicts_on_gaussian_data(steps, variance):
    """Each step is x <- A x + B + sigma noise; follow mean and variance exactly, then compare with samples."""
    alpha_bar, n = linear_schedule(100, 1e-3, 0.15), 50_000
    times = visit_times(100, steps)
    levels = alpha_bar[times].tolist() + [1.0]
    mean, var = 0.0, 1.0
    for a, a_next in zip(levels, levels[1:]):
        beta = 1 - a / a_next
        gain = a**0.5 * STD**2 / (a * STD**2 + 1 - a)  # of x0_hat on x
        weight = a_next**0.5 * beta / (1 - a)  # of x0_hat in the mean, [DDPM] Eq. 7
        slope = weight * gain + (a / a_next) ** 0.5 * (1 - a_next) / (1 - a)
        mean = slope * mean + weight * MEAN * (1 - gain * a**0.5)
        added = beta * (1 - a_next) / (1 - a) if variance == "posterior" else beta
        var = slope**2 * var + (added if a_next < 1 else 0.0)
    g = torch.Generator().manual_seed(0)
    x = last(ddpm_steps(gaussian(alpha_bar), draw(n), alpha_bar, times, variance=variance, generator=g))
    assert abs(x.mean().item() - mean) < 4 * (var / n) ** 0.5
    assert abs(x.var().item() / var - 1) < 4 * (2 / n) ** 0.5


def test_ddpm_variances_bracket_the_truth_on_gaussian_data():
    """"posterior" is right when x0 is known and "beta" when it is white noise: the data here lies between."""
    alpha_bar, noise = linear_schedule(100, 1e-3, 0.15), draw(20_000)

    def std(variance):
        g = torch.Generator().manual_seed(0)
        steps = ddpm_steps(gaussian(alpha_bar), noise, alpha_bar, visit_times(100, 50), variance=variance, generator=g)
        return last(steps).std().item()

    assert std("posterior") < STD < std("beta")


def probability_flow(x, alpha_bar, t, s):
    """Carry x from timestep t to s along the exact path of Gaussian data: the standardised x stays what it is."""

    def moments(a):
        return a.sqrt() * MEAN, (a * STD**2 + 1 - a).sqrt()

    (mean_t, std_t), (mean_s, std_s) = moments(alpha_bar[t]), moments(alpha_bar[s])
    return mean_s + std_s * (x - mean_t) / std_t


@pytest.mark.parametrize("sampler, order", [("ddim", 1), ("dpmpp", 2)])
def test_sampler_converges_to_the_exact_path_at_its_order(sampler, order):
    """Twice the steps: half the error for DDIM, a quarter for DPM-Solver++(2M)."""
    T = 4096
    alpha_bar = torch.sigmoid(torch.linspace(8, -8, T + 1, dtype=torch.float64))
    x_T, errors, counts = draw(100), [], [16, 32, 64, 128, 256]
    for n in counts:
        times = list(range(T, -1, -T // n))  # from T to 0; what follows t = 0 is the step to the data itself
        for t, x, _ in SAMPLERS[sampler](gaussian(alpha_bar), x_T, alpha_bar, times):
            if t == times[-2]:
                errors.append((x - probability_flow(x_T, alpha_bar, T, 0)).abs().max().item())
    orders = [math.log2(before / after) for before, after in zip(errors, errors[1:])]
    assert abs(orders[-1] - order) < 0.15, orders
    assert all(abs(o - order) < 0.5 for o in orders), orders


@pytest.mark.parametrize("alpha_bar", [linear_schedule(), cosine_schedule()], ids=["linear", "cosine"])
def test_dpmpp_with_trailing_times_lands_closer_than_ddim_with_the_same_number_of_calls(alpha_bar):
    x_T, errors = draw(100), {"ddim": [], "dpmpp": []}
    mean_T, std_T = alpha_bar[-1].sqrt() * MEAN, (alpha_bar[-1] * STD**2 + 1 - alpha_bar[-1]).sqrt()
    exact = MEAN + STD * (x_T - mean_T) / std_T  # the path followed to the data itself
    for steps in (10, 20, 50):
        for name, error in errors.items():
            x = last(SAMPLERS[name](gaussian(alpha_bar), x_T, alpha_bar, visit_times(1000, steps)))
            error.append((x - exact).abs().max().item())
    assert all(dpmpp < ddim for dpmpp, ddim in zip(errors["dpmpp"], errors["ddim"])), errors
    assert errors["dpmpp"][-1] < 0.25 * errors["ddim"][-1], errors


# A mixture of Gaussians in the plane, with its exact score

CENTRES = torch.tensor([[-0.8, 0.0], [0.6, 0.5], [0.3, -0.7]], dtype=torch.float64)
SHARES, WIDTH = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64), 0.25


def mixture(alpha_bar):
    """Return E[x0 | x_t]: by Tweedie (x + (1 - a) score) / sqrt(a), the score taken by autograd from log p_t."""

    def denoise(x, t):
        a = alpha_bar[t[0]]
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            var = a * WIDTH**2 + 1 - a
            squares = (x[:, None] - a.sqrt() * CENTRES).square().sum(2)
            log_p = torch.logsumexp(SHARES.log() - squares / (2 * var), 1)
            (score,) = torch.autograd.grad(log_p.sum(), x)
        x = x.detach()
        x0_hat = (x + (1 - a) * score) / a.sqrt()
        return x0_hat, -(1 - a).sqrt() * score

    return denoise


def moments(x):
    """Return the features whose means are compared: both coordinates, their squares and product, share left of 0."""
    return torch.stack([x[:, 0], x[:, 1], x[:, 0] ** 2, x[:, 1] ** 2, x[:, 0] * x[:, 1], (x[:, 0] < 0).double()], 1)


def direct_sample(n, seed):
    g = torch.Generator().manual_seed(seed)
    which = torch.multinomial(SHARES, n, replacement=True, generator=g)
    return CENTRES[which] + WIDTH * torch.randn(n, 2, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sampler_with_the_exact_score_reproduces_the_moments_of_a_mixture(sampler):
    n, alpha_bar = 6000, cosine_schedule(250)
    options = {"generator": torch.Generator().manual_seed(1)} if sampler == "ddpm" else {}
    x = last(SAMPLERS[sampler](mixture(alpha_bar), draw(n, 2), alpha_bar, visit_times(250, 250), **options))
    truth = moments(direct_sample(200_000, 2))
    error = (moments(x).var(0) / n + truth.var(0) / len(truth)).sqrt()
    off = ((moments(x).mean(0) - truth.mean(0)) / error).tolist()
    assert max(map(abs, off)) < 4, off


# How samplers behave


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    cfg = UNetConfig(side=8, widths=(8, 16), attention=(False, True), blocks=1, head_dim=8, groups=4, n_classes=3)
    return UNet(cfg).eval()


def run(network, name, seed, **options):
    g, alpha_bar = torch.Generator().manual_seed(seed), cosine_schedule(100)
    x = torch.randn(4, 1, 8, 8, generator=g)
    options |= {} if name == "dpmpp" else {"generator": g}
    denoise = denoiser(network, alpha_bar, labels=torch.tensor([0, 1, 2, 0]))
    return list(SAMPLERS[name](denoise, x, alpha_bar, visit_times(100, 8), **options))


@pytest.mark.parametrize("name, options", [("ddpm", {}), ("ddim", {"eta": 0.0}), ("ddim", {"eta": 0.7}), ("dpmpp", {})])
def test_sampling_repeats_with_the_generator_and_leaves_the_global_one_alone(network, name, options):
    state = torch.get_rng_state()
    first, again, other = (run(network, name, seed, **options) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a[1], b[1]) and torch.equal(a[2], b[2]) for a, b in zip(first, again))
    assert not torch.equal(first[-1][1], other[-1][1])


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler_yields_every_step_with_its_timestep_and_shapes(network, name):
    frames = run(network, name, 0)
    assert [t for t, _, _ in frames] == visit_times(100, 8)
    assert all(x.shape == x0_hat.shape == (4, 1, 8, 8) for _, x, x0_hat in frames)
    assert all(not x.requires_grad and x0_hat.abs().max() <= 1 for _, x, x0_hat in frames)
    torch.testing.assert_close(frames[-1][1], frames[-1][2])  # the last step enters the data: x is x0_hat


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler_calls_the_network_once_a_step_and_never_looks_ahead(name):
    calls, alpha_bar = [], cosine_schedule(100)

    def denoise(x, t):
        calls.append(t.tolist())
        return 0.1 * x, x

    steps = SAMPLERS[name](denoise, draw(2, 3), alpha_bar, [90, 40, 5])
    assert calls == []  # a generator: nothing runs until asked
    next(steps)
    assert calls == [[90, 90]]
    assert len(list(steps)) == 2 and calls == [[90, 90], [40, 40], [5, 5]]


def test_samples_can_enter_a_later_loss(network):
    x = run(network, "ddim", 0)[-1][1]
    w = torch.ones(1, requires_grad=True)
    (w * x).sum().backward()  # an inference-mode tensor could not
    torch.testing.assert_close(w.grad.item(), x.sum().item())


@pytest.mark.parametrize("times", [[], [10, 10], [5, 6], [100], [50, -1], [3, 2, 2]])
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_sampler_refuses_times_that_do_not_fall_within_the_schedule(sampler, times):
    with pytest.raises(ValueError, match="times must decrease strictly within"):
        next(sampler(lambda x, t: (x, x), draw(1, 2), linear_schedule(100), times))


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_sampler_refuses_a_schedule_that_begins_without_noise(sampler):
    alpha_bar = torch.linspace(1, 0.1, 10, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"within \[0, 1\); it runs from 1 to 0.1"):
        next(sampler(lambda x, t: (x, x), draw(1, 2), alpha_bar, [9, 4, 0]))


def test_sampler_refuses_unknown_options_by_name():
    with pytest.raises(ValueError, match="'small'"):
        next(ddpm_steps(lambda x, t: (x, x), draw(1, 2), linear_schedule(100), [5], variance="small"))
    with pytest.raises(ValueError, match="1.5"):
        next(ddim_steps(lambda x, t: (x, x), draw(1, 2), linear_schedule(100), [5], eta=1.5))


def test_variance_beta_of_a_single_step_is_that_of_the_forward_process():
    alpha_bar, t = linear_schedule(100), 30
    zero, noise = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    x = ddpm_step(zero, zero, alpha_bar[t].item(), alpha_bar[t - 1].item(), noise, variance="beta")
    torch.testing.assert_close(x.item() ** 2, betas(alpha_bar)[t].item())
