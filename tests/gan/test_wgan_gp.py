import copy
import itertools

import pytest
import torch
from torch import nn

from genai_utils.core import from_json, to_json
from genai_utils.gan.gan import GAN, Game, GANConfig
from genai_utils.gan.losses import gradient_penalty
from genai_utils.gan.wgan_gp import (
    BOUNDS, CRITIC_NORMS, PRESETS, WGAN, WGANConfig, clip_weights, wasserstein_1d, wasserstein_estimate, wgan_step,
)  # fmt: skip
from genai_utils.training import EMA, adamw, fit
from tests.gan.players import gradient_events, noise_images, randomise, resumes_exactly, tensors

SMALL = {"side": 8, "channels": 2, "latent": 5, "width_g": 4, "width_d": 4}


def build(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    return WGAN(WGANConfig(**(SMALL | changes))).to(dtype)


def points_game(dtype=torch.float64):
    torch.manual_seed(0)
    return randomise(GAN(GANConfig(d=2, width=8, n_layers=2)).to(dtype))


def sgd(model, lr=0.05):
    return torch.optim.SGD(model.generator.parameters(), lr), torch.optim.SGD(model.discriminator.parameters(), lr)


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Line(Game):
    """Two points on a line and a linear critic: the smallest game, whose optimum is known."""

    def __init__(self):
        super().__init__()
        self.cfg = GANConfig(d=1, latent=1)
        self.generator, self.discriminator = nn.Linear(1, 1).double(), nn.Linear(1, 1).double()
        with torch.no_grad():
            self.generator.weight.zero_()
            self.generator.bias.zero_()


@pytest.mark.parametrize("norm", CRITIC_NORMS)
def test_images_and_values_have_their_shapes(norm):
    model = build(norm_d=norm, side=16)
    x = model.sample(3)
    assert x.shape == (3, 2, 16, 16) and model.discriminator(x).shape == (3,)


@pytest.mark.parametrize("norm", CRITIC_NORMS)
def test_critic_judges_each_image_by_itself(norm):
    model = randomise(build(norm_d=norm)).eval()
    x = normal(4, 2, 8, 8)
    torch.testing.assert_close(model.discriminator(x)[1:2], model.discriminator(x[1:2]))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.discriminator.modules())


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("bound", BOUNDS)
def test_step_is_algorithm_1_written_out(bound, one_sided):
    model = points_game()
    naive = copy.deepcopy(model)
    step = wgan_step(
        model, *sgd(model), bound=bound, weight=3.0, clip=0.2, n_critic=3, one_sided=one_sided,
        generator=torch.Generator().manual_seed(5),
    )  # fmt: skip
    h = torch.Generator().manual_seed(5)
    for t in range(2):
        batch = normal(12, 2, seed=t)
        logs = step(batch)
        distances, penalties = [], []
        for real in batch.split(4):
            fake = naive.generator(torch.randn(4, 2, dtype=torch.float64, generator=h))
            distance = naive.discriminator(real).mean() - naive.discriminator(fake.detach()).mean()
            loss = -distance
            if bound == "penalty":
                penalty = gradient_penalty(naive.discriminator, real, fake, one_sided=one_sided, generator=h)
                loss, _ = loss + 3.0 * penalty, penalties.append(penalty.item())
            distances.append(distance.item())
            weights = list(naive.discriminator.parameters())
            gradients = torch.autograd.grad(loss, weights, materialize_grads=True, allow_unused=True)
            with torch.no_grad():
                for w, gradient in zip(weights, gradients):
                    w -= 0.05 * gradient
                    if bound == "clip":
                        w.copy_(w.clamp(-0.2, 0.2))
        loss_g = -naive.discriminator(fake).mean()
        gradients = torch.autograd.grad(loss_g, list(naive.generator.parameters()))
        with torch.no_grad():
            for w, gradient in zip(naive.generator.parameters(), gradients):
                w -= 0.05 * gradient
        assert logs["wasserstein"].item() == pytest.approx(sum(distances) / 3)
        assert logs["loss_g"].item() == pytest.approx(loss_g.item())
        assert ("penalty" in logs) == (bound == "penalty")
        if bound == "penalty":
            assert logs["penalty"].item() == pytest.approx(sum(penalties) / 3)
            assert logs["loss_d"].item() == pytest.approx((3 * sum(penalties) - sum(distances)) / 3)
    for (name, a), b in zip(model.state_dict().items(), naive.state_dict().values()):
        torch.testing.assert_close(a, b, msg=name)


def test_penalised_linear_critic_settles_where_its_closed_form_says():
    """Data at 0.6, samples at 0: -0.6 w + 10 (w - 1)^2 is least at w = 1.03, and 0.6 is the distance per slope."""
    model = Line()
    with torch.no_grad():
        model.discriminator.weight.fill_(2.0)
    opts = torch.optim.SGD(model.generator.parameters(), 0.0), torch.optim.SGD(model.discriminator.parameters(), 0.02)
    step = wgan_step(model, *opts, weight=10.0, n_critic=2)
    real = torch.full((4, 1), 0.6, dtype=torch.float64)
    for _ in range(60):
        logs = step(real)
    w = model.discriminator.weight.item()
    assert w == pytest.approx(1 + 0.6 / 20, abs=1e-9)
    assert logs["wasserstein"].item() == pytest.approx(0.6 * w, abs=1e-8)
    exact = wasserstein_1d(real[:, 0], torch.zeros(4))
    assert wasserstein_estimate(model.discriminator, real, torch.zeros_like(real), w).item() == pytest.approx(0.6)
    assert exact.item() == pytest.approx(0.6)


def test_clipping_holds_every_weight_and_only_the_critics():
    model = points_game()
    big = model.generator.layers[0].weight.abs().max()
    step = wgan_step(model, *sgd(model, 1.0), bound="clip", clip=0.05, n_critic=1)
    step(normal(4, 2))
    assert all(p.abs().max() <= 0.05 for p in model.discriminator.parameters())
    assert any(p.abs().max() == 0.05 for p in model.discriminator.parameters()) and big > 0.05
    assert model.generator.layers[0].weight.abs().max() > 0.05
    clip_weights(model.generator, 0.01)
    assert max(p.abs().max() for p in model.generator.parameters()) == 0.01


@pytest.mark.parametrize("n_critic", [1, 2])
@pytest.mark.parametrize("norm", CRITIC_NORMS)
def test_each_parameter_gets_its_gradient_from_the_step_that_owns_it_only(norm, n_critic):
    model = randomise(build(norm_d=norm), scale=0.1)
    step = wgan_step(model, *sgd(model, 1e-3), n_critic=n_critic)
    events, none = gradient_events(model, step, normal(4 * n_critic, 2, 8, 8))
    n_d = n_critic * len(list(model.discriminator.parameters()))
    last = len(model.discriminator.layers) - 1  # its bias shifts real and fake alike, and so gets none but rounding
    silent = {f"discriminator.layers.{last}.bias"} if norm == "spectral" else set()
    assert none <= silent and len(events) >= n_d - n_critic
    first_g = next(i for i, name in enumerate(events) if name.startswith("generator"))
    assert all(name.startswith("generator") for name in events[first_g:])
    assert set(events) - silent == {name for name, _ in model.named_parameters()} - silent
    assert len(events[first_g:]) == len(list(model.generator.parameters()))


def brute_force(a, b):
    return min(sum(abs(x - y) for x, y in zip(a, order)) for order in itertools.permutations(b)) / len(a)


def test_distance_on_the_line_is_the_cheapest_of_all_transports():
    for seed in range(5):
        a, b = normal(5, seed=seed), 2 * normal(5, seed=seed + 50) + 1
        assert wasserstein_1d(a, b).item() == pytest.approx(brute_force(a.tolist(), b.tolist()))
        assert wasserstein_1d(a, b) == wasserstein_1d(b, a)


def test_distance_of_samples_of_two_sizes_is_that_of_their_repetitions():
    a, b = normal(4), normal(6, seed=1) - 0.5
    repeated = wasserstein_1d(a.repeat(3), b.repeat(2))
    assert wasserstein_1d(a, b).item() == pytest.approx(repeated.item())
    assert wasserstein_1d(a, a.repeat(3)).item() == pytest.approx(0, abs=1e-12)


def test_distance_of_samples_of_two_sizes_is_exact_to_float64():
    a, b = torch.tensor([0.0, 0.0, 1.0]), torch.zeros(7)
    assert wasserstein_1d(a, b).item() == pytest.approx(1 / 3, rel=1e-15)


def test_distance_of_a_shifted_sample_is_the_shift_and_of_two_gaussians_what_theory_says():
    a = normal(2000)
    assert wasserstein_1d(a, a + 1.7).item() == pytest.approx(1.7)
    g = torch.distributions.Normal(0.0, 1.0)
    quantiles = g.icdf((torch.arange(20000, dtype=torch.float64) + 0.5) / 20000)
    wider = wasserstein_1d(quantiles, 3 * quantiles)  # |3 - 1| E|N(0, 1)|
    assert wider.item() == pytest.approx(2 * (2 / torch.pi) ** 0.5, rel=1e-3)


def test_estimate_of_any_bounded_critic_stays_below_the_exact_distance():
    torch.manual_seed(0)
    for seed in range(5):
        a, b = normal(200, 1, seed=seed), 1.5 * normal(200, 1, seed=seed + 9) + 1
        w, c = normal(1, 8, seed=seed), normal(8, seed=seed + 1)
        critic = lambda x, w=w, c=c: torch.tanh(x @ w + 1) @ c
        slope = (w.abs() @ c.abs()).item()  # a Lipschitz constant: tanh has a slope of at most 1
        exact = wasserstein_1d(a[:, 0], b[:, 0])
        for sign in (1, -1):
            assert sign * wasserstein_estimate(critic, a, b, slope) <= exact
    mean = wasserstein_estimate(lambda x: x[:, 0], a, a + 2)
    assert mean.item() == pytest.approx(-2) and not mean.requires_grad


def train(steps, checkpoint, bound, own_noise):
    model = build(torch.float32, channels=1, norm_d="layer")
    opts = [adamw(net, 1e-2, betas=(0.0, 0.9)) for net in (model.generator, model.discriminator)]
    g = torch.Generator().manual_seed(3) if own_noise else None
    step = wgan_step(model, *opts, bound=bound, n_critic=2, ema=EMA(model.generator, 0.9), generator=g)
    fit(step, noise_images(8).batches(4, seed=0), steps=steps, every=5, checkpoint=checkpoint, progress=False)
    return tensors(step.parts)


@pytest.mark.parametrize("bound, own_noise", [("penalty", True), ("penalty", False), ("clip", True)])
def test_resumed_training_ends_with_the_same_bits(tmp_path, bound, own_noise):
    resumes_exactly(lambda steps, path: train(steps, path, bound, own_noise), tmp_path)


def test_half_precision_keeps_the_penalty_and_the_logs_in_float32():
    rows = []
    for amp in (torch.float32, torch.bfloat16):
        model = points_game(torch.float32)
        opts = sgd(model, 0.0)
        step = wgan_step(model, *opts, n_critic=1, amp=amp, generator=torch.Generator().manual_seed(0))
        rows.append(step(normal(8, 2).float()))
    assert {v.dtype for row in rows for v in row.values()} == {torch.float32}
    assert rows[1]["penalty"].item() == pytest.approx(rows[0]["penalty"].item(), rel=0.02)  # fakes are rounded
    assert rows[0]["wasserstein"] != rows[1]["wasserstein"]


@pytest.mark.parametrize("cfg", PRESETS.values(), ids=PRESETS)
def test_presets_build_and_survive_json(cfg):
    assert from_json(WGANConfig, to_json(cfg)) == cfg
    with torch.device("meta"):
        WGAN(cfg)


def test_bad_settings_and_input_are_refused():
    model = points_game()
    opts = sgd(model)
    with pytest.raises(ValueError, match="norm_d must be one of none, layer, spectral, got 'batch'"):
        build(norm_d="batch")
    with pytest.raises(ValueError, match="power of two, at least 8, got 12"):
        build(side=12)
    with pytest.raises(ValueError, match="{'latent': 0}"):
        build(latent=0)
    with pytest.raises(ValueError, match="bound must be one of penalty, clip, none, got 'gp'"):
        wgan_step(model, *opts, bound="gp")
    with pytest.raises(ValueError, match="above 0, got weight=0, clip=0.01"):
        wgan_step(model, *opts, weight=0)
    with pytest.raises(ValueError, match="{'n_critic': 0}"):
        wgan_step(model, *opts, n_critic=0)
    with pytest.raises(ValueError, match="a batch of 4 cannot be dealt to n_critic=5"):
        wgan_step(model, *opts)(normal(4, 2))
    model.discriminator = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    with pytest.raises(ValueError, match=r"critic without batch normalisation, but it has \['1'\]"):
        wgan_step(model, *sgd(model))
    for a, b in ((normal(0), normal(3)), (normal(3, 1), normal(3))):
        with pytest.raises(ValueError, match=r"vectors \(n,\) and \(m,\), not empty"):
            wasserstein_1d(a, b)
    with pytest.raises(ValueError, match="slope must be above 0, got 0"):
        wasserstein_estimate(lambda x: x, normal(3), normal(3), 0)
