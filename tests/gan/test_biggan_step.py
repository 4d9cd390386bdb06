import copy
import math

import pytest
import torch
from torch import nn

from genai_utils.gan.biggan import BigGAN, BigGANConfig, ConditionalNorm
from genai_utils.gan.biggan_step import (
    BigGANGame,
    biggan_step,
    draw_latents,
    orthogonal_penalty,
    sample,
    standing_statistics,
)
from genai_utils.training import EMA, fit
from tests.gan.players import noise_images, randomise, resumes_exactly, tensors

SMALL = {
    "side": 8, "channels": 1, "n_classes": 3, "latent": 4, "d_class": 3, "width": 8, "multiples": (2, 1),
    "ups": (True,), "attention": 0, "n_stats": 3,
}  # fmt: skip
CONFIGS = {
    "plain": BigGANConfig(**SMALL),
    "deep": BigGANConfig(**(SMALL | {"deep": True, "multiples": (2, 1, 1), "ups": (True, False), "attention": 1})),
}
configs = pytest.mark.parametrize("cfg", CONFIGS.values(), ids=CONFIGS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def game(cfg=CONFIGS["plain"], dtype=torch.float64):
    torch.manual_seed(0)
    return randomise(BigGANGame(cfg).to(dtype), scale=0.2)


def orthogonal(cfg):
    """Return a generator in float64 whose weights are orthogonal to the last bit, so that spectral norms stay 1."""
    torch.manual_seed(0)
    model = randomise(BigGAN(cfg).double(), scale=0.2)
    for name, p in model.named_parameters():
        if p.ndim > 1 and name != "embed.weight":
            nn.init.orthogonal_(p)
    for module in model.modules():
        if hasattr(module, "parametrizations"):
            module.parametrizations.weight[0].iterate(module.parametrizations.weight.original.flatten(1))
    return model


def batch(cfg=CONFIGS["plain"], n=8, dtype=torch.float64):
    x = noise(n, cfg.channels, cfg.side, cfg.side, seed=3).tanh()
    return x.to(dtype), torch.arange(n) % cfg.n_classes


def sgd(model, lr=0.05):
    return [torch.optim.SGD(net.parameters(), lr) for net in (model.generator, model.discriminator)]


# ---- orthogonal regularisation


def test_orthogonal_penalty_is_zero_for_orthogonal_filters_of_any_norm():
    network = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Linear(9, 9), nn.BatchNorm2d(6)).double()
    torch.manual_seed(0)
    with torch.no_grad():
        for layer, filters in zip(network, (6, 9)):
            nn.init.orthogonal_(layer.weight)
            layer.weight.mul_(1 + 3 * noise(filters, *[1] * (layer.weight.ndim - 1)).abs())
    assert abs(orthogonal_penalty(network).item()) < 1e-9  # the difference of two large sums
    with torch.no_grad():
        network[1].weight[0] += 0.1 * network[1].weight[1]  # one pair now shares 0.1 of a squared norm, twice
    shared = 0.1 * network[1].weight[1].square().sum()
    torch.testing.assert_close(orthogonal_penalty(network), 2 * shared**2)


@configs
def test_orthogonal_penalty_is_the_sum_over_pairs_of_filters(cfg):
    network, total = game(cfg).generator, 0.0
    for name, p in network.named_parameters():
        if p.ndim > 1 and name != "embed.weight":
            filters = p.detach().flatten(1)
            for i in range(len(filters)):
                overlaps = filters @ filters[i]
                total += overlaps[:i].square().sum() + overlaps[i + 1 :].square().sum()
    penalty = orthogonal_penalty(network)
    torch.testing.assert_close(penalty, total)
    penalty.backward()
    weight = network.first.parametrizations.weight.original
    W = weight.detach().flatten(1)
    gram = W @ W.T
    torch.testing.assert_close(weight.grad.flatten(1), 4 * (gram - gram.diag().diag()) @ W)
    assert network.embed.weight.grad is None


# ---- the step


@pytest.mark.parametrize("n_critic, beta", [(1, 0.0), (2, 0.01)])
@configs
def test_step_is_the_hinge_game_written_out(cfg, n_critic, beta):
    model = game(cfg)
    naive = copy.deepcopy(model)
    step = biggan_step(model, *sgd(model), n_critic=n_critic, orthogonal=beta, generator=seeded(5))
    g, (x, labels) = seeded(5), batch(cfg)
    G, D = naive.generator, naive.discriminator

    def fakes(n):
        y = torch.randint(cfg.n_classes, (n,), generator=g)
        return G(torch.randn(n, cfg.latent, generator=g, dtype=torch.float64), y), y

    def move(network, loss):
        weights = list(network.parameters())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for p, gradient in zip(weights, gradients):
                p -= 0.05 * gradient
        return torch.cat([gradient.flatten() for gradient in gradients]).norm()

    for _ in range(2):
        logs, rows, size = step((x, labels)), [], len(x) // n_critic
        for i in range(n_critic):
            part = slice(i * size, (i + 1) * size)
            fake, y = fakes(size)
            logits = D(torch.cat([x[part], fake.detach()]), torch.cat([labels[part], y]))  # one pass: one power step
            real, faked = logits[:size], logits[size:]
            loss = (1 - real).clamp(min=0).mean() + (1 + faked).clamp(min=0).mean()
            rows.append([loss.detach(), real.mean().detach(), faked.mean().detach(), move(D, loss)])
        fake, y = fakes(size)
        loss_g, overlap = -D(fake, y).mean(), 0.0
        for name, p in G.named_parameters():
            if p.ndim > 1 and name != "embed.weight":
                gram = p.flatten(1) @ p.flatten(1).T
                overlap = overlap + (gram * (1 - torch.eye(len(p)))).square().sum()
        norm_g = move(G, loss_g + beta * overlap)
        wanted = dict(zip(("loss_d", "real", "fake", "grad_norm_d"), torch.tensor(rows).double().mean(0)))
        wanted |= {"loss_g": loss_g.detach(), "grad_norm_g": norm_g, "orthogonal": overlap.detach() if beta else 0.0}
        assert logs.keys() == wanted.keys()
        for name, value in wanted.items():
            assert logs[name].item() == pytest.approx(float(value), rel=1e-6), name
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, naive.state_dict()[name], rtol=1e-10, atol=1e-12, msg=name)


@configs
def test_each_parameter_gets_its_gradient_from_the_step_that_owns_it_only(cfg):
    """But for biases of the generator that a norm takes away again: they serve evaluation, with stored statistics."""
    model, seen = game(cfg), {"generator": [], "discriminator": []}
    for name, p in model.named_parameters():
        player, own = name.split(".", 1)
        foreign = [q for n, q in model.named_parameters() if not n.startswith(player)]

        def note(p, seen=seen[player], own=own, foreign=foreign):
            assert all(q.grad is None for q in foreign)
            seen.append((own, p.grad.abs().max().item() > 1e-12))

        p.register_post_accumulate_grad_hook(note)
    biggan_step(model, *sgd(model), n_critic=2, orthogonal=0.0)(batch(cfg))
    assert all(p.grad is None for p in model.parameters())
    for player, times in (("generator", 1), ("discriminator", 2)):
        names = [name for name, _ in getattr(model, player).named_parameters()]
        assert sorted(own for own, _ in seen[player]) == sorted(names * times)
    assert all(moved for _, moved in seen["discriminator"])
    idle = {own for own, moved in seen["generator"] if not moved}
    at = next(i for i, layer in enumerate(model.generator.layers) if hasattr(layer, "gamma"))
    biases = {own for own, _ in seen["generator"] if own.startswith("layers.") and own.endswith("bias")}
    assert {own for own in biases if int(own.split(".")[1]) > at} <= idle <= biases


@pytest.mark.parametrize("learner", ["generator", "discriminator"])
def test_each_player_gains_on_one_that_stands_still(learner):
    torch.manual_seed(0)
    model, (x, labels) = BigGANGame(CONFIGS["plain"]), batch(n=12, dtype=torch.float32)
    rates = {"generator": 0.0, "discriminator": 0.0} | {learner: 5e-3}
    opts = [torch.optim.Adam(getattr(model, name).parameters(), rate) for name, rate in rates.items()]
    step = biggan_step(model, *opts, n_critic=1, generator=seeded())
    losses = [step((x.sign(), labels))[f"loss_{learner[0]}"].item() for _ in range(15)]
    assert losses[-1] < losses[0] - 0.5, losses


def test_average_of_the_generator_is_updated_once_a_step():
    model = game()
    ema, start = EMA(model.generator, 0.5), model.generator.first.bias.detach().clone()
    biggan_step(model, *sgd(model), n_critic=2, ema=ema)(batch())
    moved = model.generator.first.bias.detach()
    assert not torch.equal(moved, start)
    torch.testing.assert_close(ema.model.first.bias, start + 0.9 * (moved - start))  # the first decay is 1 / 10


@pytest.mark.parametrize("own_noise", [True, False])
def test_resumed_training_ends_with_the_same_bits(own_noise, tmp_path):
    def train(steps, checkpoint):
        model = BigGANGame(CONFIGS["plain"])
        opts = [
            torch.optim.Adam(net.parameters(), 1e-3, (0.0, 0.999)) for net in (model.generator, model.discriminator)
        ]
        g = seeded(3) if own_noise else None
        step = biggan_step(model, *opts, ema=EMA(model.generator, 0.9), generator=g)
        fit(step, noise_images(8).batches(4, seed=0), steps=steps, every=5, checkpoint=checkpoint, progress=False)
        return tensors(step.parts)

    names = resumes_exactly(train, tmp_path)
    assert any(name.endswith("._u") for name in names)


def test_checkpoint_of_other_rules_is_refused(tmp_path):
    def run(**rules):
        model = game(dtype=torch.float32)
        fit(biggan_step(model, *sgd(model), **rules), noise_images(8).batches(4, seed=0), steps=1,
            checkpoint=tmp_path / "run.pt", progress=False)  # fmt: skip

    run()
    with pytest.raises(ValueError, match="n_critic is 2 in the checkpoint, 1 now"):
        run(n_critic=1)
    with pytest.raises(ValueError, match="orthogonal is 0.0001 in the checkpoint, 0.1 now"):
        run(orthogonal=0.1)


@configs
def test_half_precision_gives_float32_logs(cfg):
    model = game(cfg, torch.float32)
    logs = biggan_step(model, *sgd(model), amp=torch.bfloat16)(batch(cfg, dtype=torch.float32))
    assert all(v.dtype == torch.float32 and v.isfinite() for v in logs.values())


# ---- truncation


def distribution(z, edge):
    """Return P(Z < z) of a standard normal that is drawn again while it lies beyond +-edge."""
    phi = lambda t: 0.5 * (1 + torch.erf(t / math.sqrt(2)))
    low, high = (phi(torch.tensor(e, dtype=torch.float64)) for e in (-edge, edge))
    return (phi(z) - low) / (high - low)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("truncation", [1.0, 0.5, 0.1])
def test_truncated_latents_stay_within_bounds_and_have_the_law_of_resampling(truncation, scaled):
    """The distance of Kolmogorov and Smirnov is below 1.63 / sqrt(n) in 99 of 100 draws."""
    z = draw_latents(400, 50, truncation, scaled=scaled, generator=seeded(1)).double().flatten()
    assert z.abs().max() <= 2 * truncation and z.abs().max() > 1.9 * truncation
    n, values = len(z), z.sort().values
    law = distribution(values / truncation, 2.0) if scaled else distribution(values, 2 * truncation)
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    distance = torch.maximum((law - steps[:-1]).abs(), (law - steps[1:]).abs()).max()
    assert distance < 1.63 / math.sqrt(n)


@pytest.mark.parametrize("scaled", [False, True])
def test_truncated_latents_match_a_loop_that_draws_again(scaled):
    truncation, g = 0.5, seeded(2)
    edge = 2.0 if scaled else 2.0 * truncation
    naive = torch.randn(20_000, generator=g)
    while (beyond := naive.abs() > edge).any():
        naive[beyond] = torch.randn(int(beyond.sum()), generator=g)
    naive = naive * truncation if scaled else naive
    z = draw_latents(200, 100, truncation, scaled=scaled, generator=g).flatten()
    both = torch.cat([z, naive]).sort().values
    gap = [torch.searchsorted(t.sort().values, both, right=True) / 20_000 for t in (z, naive)]
    assert (gap[0] - gap[1]).abs().max() < 1.63 * math.sqrt(2 / 20_000)
    assert abs(z.std() - naive.std()) < 0.01


def test_latents_of_a_device_without_float64_are_drawn_in_float32(monkeypatch):
    rand, asked = torch.rand, []
    monkeypatch.setattr(torch, "rand", lambda *size, device, **how: asked.append((device, how["dtype"])) or rand(
        *size, **how))  # fmt: skip
    z = draw_latents(50, 40, 0.5, generator=seeded(1), device="mps")
    assert asked == [("mps", torch.float32)] and z.dtype == torch.float32 and 0.9 < z.abs().max() <= 1 + 1e-6


@configs
def test_game_draws_pictures_of_given_or_random_classes(cfg):
    model, labels = game(cfg).eval(), torch.tensor([0, 2, 1])
    z = model.noise(3, seeded(1))
    x = model.sample(3, labels, generator=seeded(1))
    assert torch.equal(x, model(z, labels)) and not x.requires_grad
    assert torch.equal(x, model.sample(3, labels, network=model.generator, generator=seeded(1)))
    x, g = model.sample(3, generator=seeded(1)), seeded(1)
    assert torch.equal(x, model(model.noise(3, g), torch.randint(3, (3,), generator=g)))


def test_latents_repeat_with_their_generator():
    z = draw_latents(3, 4, 0.3, generator=seeded(1))
    assert z.shape == (3, 4) and z.dtype == torch.float32
    assert torch.equal(z, draw_latents(3, 4, 0.3, generator=seeded(1)))
    assert not torch.equal(z, draw_latents(3, 4, 0.3, generator=seeded(2)))


@configs
@pytest.mark.parametrize("scaled", [False, True])
def test_standing_statistics_of_one_pass_give_the_pictures_of_that_pass(cfg, scaled):
    model = orthogonal(cfg).eval()
    before = {k: v.clone() for k, v in model.named_parameters()}
    standing_statistics(model, passes=1, batch=6, scaled=scaled, generator=seeded(4))
    assert not model.training and all(torch.equal(before[k], p) for k, p in model.named_parameters())
    g, pictures = seeded(4), []
    for truncation in (1e-6, 0.5, 1.0):
        z = draw_latents(6, cfg.latent, truncation, scaled=scaled, generator=g).double()
        labels = torch.randint(cfg.n_classes, (6,), generator=g)
        x = model.train()(z, labels)
        row = 1e-12 if truncation < 0.5 else truncation  # 1e-6 is already a little on the way to the second row
        torch.testing.assert_close(model.eval()(z, labels, truncation=row), x, rtol=1e-9, atol=1e-9)
        pictures.append(x)
    assert (model(z, labels, truncation=0.5) - pictures[2]).abs().max() > 1e-3  # of another truncation, they differ


def test_standing_statistics_pool_all_passes():
    """The first norm sees what depends on z alone, so that its table must be the moments of all pictures together."""
    model = orthogonal(CONFIGS["plain"]).train()
    standing_statistics(model, passes=5, batch=7, generator=seeded(6))
    assert model.training
    norm, seen = next(m for m in model.modules() if isinstance(m, ConditionalNorm)), []
    norm.register_forward_pre_hook(lambda m, args: seen.append(args[0].detach()))
    g = seeded(6)
    for i, truncation in enumerate((1e-6, 0.5, 1.0)):
        seen.clear()
        for _ in range(5):
            z = draw_latents(7, 4, truncation, generator=g).double()
            model(z, torch.randint(3, (7,), generator=g))
        x = torch.cat(seen)
        torch.testing.assert_close(norm.means[i], x.mean((0, 2, 3)), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(norm.variances[i], x.var((0, 2, 3), unbiased=False), rtol=1e-9, atol=1e-12)


def test_samples_are_the_pictures_of_truncated_latents_in_batches():
    model, labels = game().generator.eval(), torch.tensor([0, 2, 1, 1, 0])
    standing_statistics(model, passes=2, batch=8, generator=seeded())
    draw = lambda seed, **k: torch.cat(list(sample(model, labels, batch=2, generator=seeded(seed), **k)))
    parts = list(sample(model, labels, truncation=0.4, batch=2, generator=seeded(1)))
    assert [len(x) for x in parts] == [2, 2, 1] and not parts[0].requires_grad
    z = draw_latents(2, 4, 0.4, generator=seeded(1)).double()
    torch.testing.assert_close(parts[0], model(z, labels[:2], truncation=0.4))
    x = draw(1, truncation=0.4)
    assert torch.equal(x, torch.cat(parts)) and not torch.equal(x, draw(2, truncation=0.4))
    assert not torch.allclose(x, draw(1, truncation=0.8)) and not torch.allclose(
        x, draw(1, truncation=0.4, scaled=True)
    )


def test_truncation_trades_variety():
    model = game().generator.eval()
    standing_statistics(model, passes=4, batch=32, generator=seeded())
    spread = lambda t: (
        next(sample(model, torch.zeros(64).long(), truncation=t, generator=seeded())).std(0).mean().item()
    )
    assert spread(0.05) < 0.3 * spread(0.5) and spread(0.5) < 0.9 * spread(1.0)


# ---- bad input


def test_impossible_settings_and_input_are_refused():
    model = game()
    opts, x = sgd(model), batch()
    step = biggan_step(model, *opts, n_critic=3)
    for call, message in [
        (lambda: biggan_step(model, *opts, n_critic=0), "{'n_critic': 0}"),
        (lambda: biggan_step(model, *opts, orthogonal=-1.0), "orthogonal must be at least 0, got -1.0"),
        (lambda: biggan_step(model, *opts[::-1]), "parameters that are not its own"),
        (lambda: biggan_step(model, *opts, amp=torch.int8), "amp must be"),
        (lambda: step(x), "a batch of 8 cannot be dealt to n_critic=3 updates"),
        (lambda: step((x[0][:6], x[1][:6] + 2)), r"classes must be in \[0, 3\), got"),
        (lambda: draw_latents(0, 4), "{'n': 0}"),
        (lambda: draw_latents(2, 4, 0.0), r"truncation must be in \(0, 1\], got 0.0"),
        (lambda: draw_latents(2, 4, 1.1), r"truncation must be in \(0, 1\], got 1.1"),
        (lambda: standing_statistics(model.generator, passes=0), "{'passes': 0}"),
        (lambda: next(sample(model.generator, torch.tensor([0]), batch=0)), "{'batch': 0}"),
        (lambda: next(sample(model.generator, torch.tensor([3]))), r"classes must be in \[0, 3\), got 3 to 3"),
        (lambda: next(sample(model.generator, torch.tensor([0]), truncation=2.0)), "truncation must be in"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
