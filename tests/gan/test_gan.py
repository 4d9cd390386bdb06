import copy

import pytest
import torch
from torch import nn

from genai_utils.core import from_json, seed_all, to_json
from genai_utils.data import toys
from genai_utils.gan.gan import GAN, PRESETS, GANConfig, Player, gan_step
from genai_utils.gan.losses import LOSSES, game_loss, r1_penalty
from genai_utils.training import EMA, adamw, fit
from tests.gan.players import gradient_events, randomise, resumes_exactly, tensors

SMALL = GANConfig(d=3, latent=2, width=8, n_layers=2)


def build(cfg=SMALL, dtype=torch.float64):
    torch.manual_seed(0)
    return GAN(cfg).to(dtype)


def sgd(model, lr=0.1):
    return torch.optim.SGD(model.generator.parameters(), lr), torch.optim.SGD(model.discriminator.parameters(), lr)


def points(n=8, d=3, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cfg", [SMALL, *PRESETS.values()])
def test_points_and_logits_have_their_shapes(cfg):
    model = build(cfg)
    x = model.sample(5)
    assert x.shape == model(model.noise(5)).shape == (5, cfg.d) and not x.requires_grad
    assert model.noise(5).shape == (5, cfg.latent) and model.noise(5).dtype == torch.float64
    assert model.discriminator(x).shape == (5,) and len(model.discriminator(x).unique()) == 5


def test_samples_repeat_with_the_generator_and_take_another_network():
    model, g = build(), torch.Generator()
    x = model.sample(6, generator=g.manual_seed(3))
    assert torch.equal(x, model.sample(6, generator=g.manual_seed(3)))
    assert not torch.equal(x, model.sample(6, generator=g.manual_seed(4)))
    other = randomise(copy.deepcopy(model.generator))
    z = torch.randn(6, 2, dtype=torch.float64, generator=g.manual_seed(3))
    assert torch.equal(model.sample(6, network=other, generator=g.manual_seed(3)), other(z))


@pytest.mark.parametrize("r1", [0.0, 0.7])
@pytest.mark.parametrize("n_critic", [1, 2])
@pytest.mark.parametrize("loss", LOSSES)
def test_step_is_algorithm_1_written_out(loss, n_critic, r1):
    model = randomise(build())
    naive = copy.deepcopy(model)
    ema = EMA(model.generator, 0.5)
    average = {k: v.clone() for k, v in model.generator.state_dict().items()}
    g = torch.Generator().manual_seed(5)
    step = gan_step(model, *sgd(model), loss=loss, r1=r1, n_critic=n_critic, ema=ema, generator=g)
    h = torch.Generator().manual_seed(5)
    for t in range(2):
        batch = points(6, seed=t)
        logs = step((batch, torch.zeros(6)))
        row = {"loss_d": [], "real": [], "fake": [], "r1": []}
        for real in batch.split(6 // n_critic):
            fake = naive.generator(torch.randn(len(real), 2, dtype=torch.float64, generator=h))
            r_real, r_fake = naive.discriminator(real), naive.discriminator(fake.detach())
            loss_d = game_loss(loss).discriminator(r_real, r_fake)
            penalty = r1_penalty(naive.discriminator, real)
            for name, value in zip(row, (loss_d, r_real.mean(), r_fake.mean(), penalty)):
                row[name].append(value.item())
            weights = list(naive.discriminator.parameters())
            gradients = torch.autograd.grad(loss_d + 0.5 * r1 * penalty, weights, allow_unused=True)
            with torch.no_grad():
                for w, gradient in zip(weights, gradients):
                    w -= 0.1 * gradient
        loss_g = game_loss(loss).generator(naive.discriminator(fake))
        gradients = torch.autograd.grad(loss_g, list(naive.generator.parameters()))
        with torch.no_grad():
            for w, gradient in zip(naive.generator.parameters(), gradients):
                w -= 0.1 * gradient
        decay = min(0.5, (1 + t) / (10 + t))  # closed form of the average: each weight once, by its age
        average = {k: decay * v + (1 - decay) * naive.generator.state_dict()[k] for k, v in average.items()}
        for name in row:
            if name != "r1" or r1:
                assert logs[name].item() == pytest.approx(sum(row[name]) / n_critic), name
        assert logs["loss_g"].item() == pytest.approx(loss_g.item())
        norm = sum(gradient.square().sum() for gradient in gradients).sqrt()
        assert logs["grad_norm_g"].item() == pytest.approx(norm.item())
    for (name, a), b in zip(model.state_dict().items(), naive.state_dict().values()):
        torch.testing.assert_close(a, b, msg=name)
    for name, value in ema.model.state_dict().items():
        torch.testing.assert_close(value, average[name], msg=name)


@pytest.mark.parametrize("n_critic", [1, 3])
@pytest.mark.parametrize("spectral", [False, True])
def test_each_parameter_gets_its_gradient_from_the_step_that_owns_it_only(spectral, n_critic):
    model = randomise(build(GANConfig(d=3, latent=2, width=8, n_layers=2, spectral=spectral)))
    step = gan_step(model, *sgd(model, lr=0.01), r1=0.5, n_critic=n_critic)
    events, none = gradient_events(model, step, points(6))
    own = {
        side: {f"{side}.{name}" for name, _ in getattr(model, side).named_parameters()}
        for side in ("generator", "discriminator")
    }
    n_d = n_critic * len(own["discriminator"])
    assert set(events[:n_d]) == own["discriminator"] and set(events[n_d:]) == own["generator"] and not none
    assert len(events) == n_d + len(own["generator"])  # each parameter once per update
    assert all(p.grad is None for p in model.parameters())


def test_average_of_the_generator_is_the_weighted_sum_of_its_past():
    model = build()
    ema = EMA(model.generator, 0.6)
    step = gan_step(model, *sgd(model), ema=ema)
    past = [model.generator.layers[0].weight.detach().clone()]
    for t in range(4):
        step(points(seed=t))
        past.append(model.generator.layers[0].weight.detach().clone())
    decays = [min(0.6, (1 + t) / (10 + t)) for t in range(4)]
    weights = [torch.tensor(decays).prod().item()]
    weights += [(1 - d) * torch.tensor(decays[t + 1 :]).prod().item() for t, d in enumerate(decays)]
    expected = sum(w * p for w, p in zip(weights, past))
    assert sum(weights) == pytest.approx(1)
    torch.testing.assert_close(ema.model.layers[0].weight, expected, rtol=1e-6, atol=1e-7)


def test_generator_finds_the_mean_of_points_on_a_line():
    seed_all(0)
    model = GAN(GANConfig(d=1, latent=1, width=16, n_layers=1))
    opts = [adamw(net, 1e-2, betas=(0.5, 0.999)) for net in (model.generator, model.discriminator)]
    step = gan_step(model, *opts, r1=0.1)
    before = model.sample(200).mean().item()
    for _ in range(80):
        step(3 + 0.5 * torch.randn(32, 1))
    assert abs(before - 3) > 2 and abs(model.sample(200).mean().item() - 3) < 1


def test_spectral_norm_of_every_weight_is_1_and_that_of_naive_power_iteration():
    model = build(GANConfig(d=3, width=8, n_layers=2, spectral=True))
    x = points()
    for layer in [m for m in model.discriminator.modules() if isinstance(m, nn.Linear)]:
        norm = layer.parametrizations.weight[0]
        W = layer.parametrizations.weight.original.detach()
        u, v = norm._u.clone(), norm._v.clone()
        used = layer.weight.detach()  # in training mode this makes one iteration
        u = W @ v / (W @ v).norm()
        v = W.T @ u / (W.T @ u).norm()
        torch.testing.assert_close(used, W / (u @ W @ v))
    for _ in range(100):
        model.discriminator(x)
    for layer in [m for m in model.discriminator.eval().modules() if isinstance(m, nn.Linear)]:
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-6)


def test_normalised_discriminator_has_no_slope_above_1():
    model = build(GANConfig(d=3, width=8, n_layers=2, spectral=True))
    for _ in range(100):
        model.discriminator(points())
    model.eval()
    a, b = 3 * points(200, seed=1), 3 * points(200, seed=2)
    slope = (model.discriminator(a) - model.discriminator(b)).abs() / (a - b).norm(dim=1)
    assert slope.max() <= 1 + 1e-6


def train(steps, checkpoint, own_noise=True, loss="hinge"):
    model = GAN(GANConfig(width=8, n_layers=1, spectral=True))
    opts = [adamw(net, 1e-2, betas=(0.5, 0.999)) for net in (model.generator, model.discriminator)]
    g = torch.Generator().manual_seed(2) if own_noise else None
    step = gan_step(model, *opts, loss=loss, r1=0.1, n_critic=2, ema=EMA(model.generator, 0.9), generator=g)
    data = toys(kind="ring", n=40)
    fit(step, data.batches(8, seed=0), steps=steps, every=5, checkpoint=checkpoint, progress=False)
    return tensors(step.parts)


@pytest.mark.parametrize("own_noise", [True, False])
def test_resumed_training_ends_with_the_same_bits(tmp_path, own_noise):
    resumes_exactly(lambda steps, path: train(steps, path, own_noise), tmp_path)


def test_run_under_other_rules_is_not_resumed(tmp_path):
    train(5, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="rules.loss is hinge in the checkpoint, saturating now"):
        train(10, tmp_path / "run.pt", loss="saturating")


def test_half_precision_keeps_losses_and_logs_in_float32():
    rows = []
    for amp in (torch.float32, torch.bfloat16):
        model = build(dtype=torch.float32)
        step = gan_step(model, *sgd(model), r1=0.5, amp=amp, generator=torch.Generator().manual_seed(0))
        rows.append(step(points().float()))
    assert {v.dtype for row in rows for v in row.values()} == {torch.float32}
    for name in ("loss_d", "loss_g", "grad_norm_g"):
        assert rows[1][name].item() == pytest.approx(rows[0][name].item(), rel=0.1), name
    assert rows[0]["loss_d"] != rows[1]["loss_d"] and rows[0]["r1"] == rows[1]["r1"]  # r1: never in half precision


def test_scaled_half_precision_descends_the_unscaled_gradient():
    """fp16 multiplies the loss by 65536: neither the update nor the logged norm may show it."""
    norms, moved = [], []
    for amp in (torch.float32, torch.float16):
        model = build(dtype=torch.float32)
        before = model.generator.layers[0].weight.detach().clone()
        step = gan_step(model, *sgd(model), amp=amp, generator=torch.Generator().manual_seed(0))
        norms.append(step(points().float())["grad_norm_d"].item())
        moved.append(model.generator.layers[0].weight - before)
    assert norms[1] == pytest.approx(norms[0], rel=0.02)
    torch.testing.assert_close(moved[1], moved[0], rtol=0.05, atol=1e-5)


def test_update_that_overflows_fp16_is_skipped_and_reported_as_0_until_it_goes_on_for_long():
    model = build(dtype=torch.float32)
    player = Player(model.discriminator, sgd(model)[1], torch.float16)
    before = copy.deepcopy(model.discriminator.state_dict())
    bad = [player.descend(model.discriminator(points().float()).sum() * torch.inf).item() for _ in range(32)]
    assert bad[:30] == [0.0] * 30 and not any(abs(v) < torch.inf for v in bad[30:])
    assert all(torch.equal(v, before[k]) for k, v in model.discriminator.state_dict().items())


@pytest.mark.parametrize("cfg", PRESETS.values(), ids=PRESETS)
def test_presets_survive_json(cfg):
    assert from_json(GANConfig, to_json(cfg)) == cfg


def test_bad_settings_and_input_are_refused():
    model = build()
    g, d = sgd(model)
    with pytest.raises(ValueError, match="{'d': 0, 'n_layers': 0}"):
        GAN(GANConfig(d=0, n_layers=0))
    with pytest.raises(ValueError, match=r"x must be \(B, 3\), as d=3 in the config; got \(8, 2\)"):
        model.discriminator(points(d=2))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        model.sample(0)
    with pytest.raises(ValueError, match="loss must be one of"):
        gan_step(model, g, d, loss="minimax")
    with pytest.raises(ValueError, match="{'n_critic': 0}"):
        gan_step(model, g, d, n_critic=0)
    with pytest.raises(ValueError, match="r1 must be at least 0, got -1"):
        gan_step(model, g, d, r1=-1)
    with pytest.raises(ValueError, match="amp must be .* got torch.float64"):
        gan_step(model, g, d, amp=torch.float64)
    with pytest.raises(ValueError, match="optimiser of Generator holds 6 parameters that are not its own"):
        gan_step(model, d, g)
    with pytest.raises(ValueError, match="a batch of 8 cannot be dealt to n_critic=3 updates: take a multiple of 3"):
        gan_step(model, g, d, n_critic=3)(points())
