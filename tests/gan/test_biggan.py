import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genai_utils.core import from_json, to_json
from genai_utils.gan.biggan import PRESETS, BigGAN, BigGANConfig, ConditionalNorm, NonLocal, Spectral, spectral
from genai_utils.gan.biggan_step import BigGANDiscriminator, BigGANGame
from tests.gan import naive_biggan as naive

SMALL = {
    "side": 16, "channels": 2, "n_classes": 5, "latent": 6, "d_class": 4, "width": 8, "multiples": (2, 2, 1),
    "ups": (True, True), "attention": 1, "n_stats": 6,
}  # fmt: skip
CONFIGS = {  # blocks of every kind: up or in place, with maps that fall or stay; attention between, nowhere, first
    "plain": BigGANConfig(**SMALL),
    "in place": BigGANConfig(**(SMALL | {"side": 8, "multiples": (2, 1, 1), "ups": (True, False), "attention": None})),
    "deep": BigGANConfig(**(SMALL | {
        "side": 32, "latent": 7, "deep": True, "multiples": (4, 4, 2, 2, 1), "ups": (False, True, True, True),
        "attention": 2, "rgb_maps": 5})),
    "deep first": BigGANConfig(**(SMALL | {
        "deep": True, "multiples": (4, 2, 1), "attention": 0, "eps": 1e-3})),
}  # fmt: skip
configs = pytest.mark.parametrize("cfg", CONFIGS.values(), ids=CONFIGS)


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def build(kind, cfg, dtype=torch.float64):
    """Return the network with every tensor random, variances around one, spectral norms nearly settled."""
    torch.manual_seed(0)
    model, g = kind(cfg).to(dtype), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in [*model.named_parameters(), *model.named_buffers()]:
            draw = torch.randn(p.shape, generator=g, dtype=torch.float64)
            if name.endswith("variances"):
                p.copy_(0.5 + draw.sigmoid())
            elif not name.endswith(("_u", "_v")):
                p.add_(draw * (0.3 if p.ndim < 2 else 0.5 * p[0].numel() ** -0.5))
    for module in spectra(model):
        for _ in range(5):
            module.parametrizations.weight[0].iterate(module.parametrizations.weight.original.flatten(1))
    return still(model)


def spectra(model):
    return [m for m in model.modules() if hasattr(m, "parametrizations")]


def still(model, training=True):
    """Batch statistics or stored ones, while the vectors of the spectral norms stay."""
    model.train(training)
    for module in spectra(model):
        module.parametrizations.eval()
    return model


def given(cfg, n=4, dtype=torch.float64):
    return noise(n, cfg.latent, dtype=dtype), torch.arange(3, 3 + n) % cfg.n_classes


def pictures(cfg, n=4, dtype=torch.float64):
    return noise(n, cfg.channels, cfg.side, cfg.side, dtype=dtype).tanh()


# ---- whole networks


@configs
@pytest.mark.parametrize("truncation", [None, 1.0, 0.37])
def test_generator_and_its_gradients_equal_the_naive_version(cfg, truncation):
    model = still(build(BigGAN, cfg), truncation is None)
    z, labels = given(cfg)
    state = {k: v.detach().clone().requires_grad_() for k, v in model.state_dict().items()}
    x, wanted = model(z, labels, truncation=truncation or 0.5), naive.generator(state, cfg, z, labels, truncation)
    assert x.shape == (4, cfg.channels, cfg.side, cfg.side) and x.std() > 0.1 and x.abs().max() <= 1
    torch.testing.assert_close(x, wanted, rtol=1e-10, atol=1e-11)
    direction = noise(*x.shape, seed=9)
    (x * direction).sum().backward()
    (wanted * direction).sum().backward()
    for name, p in model.named_parameters():
        assert p.grad.abs().max() > 0 or name.endswith("bias"), name  # a norm takes a bias before it away
        torch.testing.assert_close(p.grad, state[name].grad, rtol=1e-8, atol=1e-9, msg=name)


@configs
def test_discriminator_and_its_gradients_equal_the_naive_version(cfg):
    model, x, labels = build(BigGANDiscriminator, cfg), pictures(cfg), given(cfg)[1]
    state = {k: v.detach().clone().requires_grad_() for k, v in model.state_dict().items()}
    logits, wanted = model(x, labels), naive.discriminator(state, cfg, x, labels)
    assert logits.shape == (4,) and logits.std() > 0
    torch.testing.assert_close(logits, wanted, rtol=1e-10, atol=1e-11)
    logits.square().sum().backward()
    wanted.square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad.abs().max() > 0, name
        torch.testing.assert_close(p.grad, state[name].grad, rtol=1e-8, atol=1e-9, msg=name)


@configs
def test_float32_generator_stays_close_to_the_naive_float64_version(cfg):
    model, (z, labels) = still(build(BigGAN, cfg, torch.float32), False), given(cfg)
    wanted = naive.generator({k: v.double() for k, v in model.state_dict().items()}, cfg, z, labels, 0.37)
    assert (model(z.float(), labels, truncation=0.37) - wanted).abs().max() < 1e-5


def test_a_chunk_of_z_reaches_its_block_and_those_after_it():
    """Hierarchical z: in BigGAN chunk i + 1 enters at block i; in BigGAN-deep all of z enters everywhere."""
    for cfg in CONFIGS["plain"], CONFIGS["deep"]:
        model, seen = still(build(BigGAN, cfg), False), []
        for layer in model.layers:
            layer.register_forward_hook(lambda m, args, y, seen=seen: seen.append(y.detach()))
        z, labels = given(cfg)
        changed = z.clone()
        changed[:, -1] += 1.0
        model(z, labels), model(changed, labels)
        same = [torch.equal(a, b) for a, b in zip(seen[: len(model.layers)], seen[len(model.layers) :])]
        assert same == ([False] * 5 if cfg.deep else [True, True, False])  # block, attention, block


@configs
def test_classes_change_the_picture_and_weights_of_classes_mix_their_embeddings(cfg):
    model, (z, labels) = still(build(BigGAN, cfg), False), given(cfg)
    x = model(z, labels, truncation=0.5)
    assert (x - model(z, labels.roll(1), truncation=0.5)).abs().amax((1, 2, 3)).min() > 1e-3
    one_hot = F.one_hot(labels, cfg.n_classes).double()
    torch.testing.assert_close(model(z, one_hot, truncation=0.5), x)
    mixed = model(z, 0.5 * one_hot + 0.5 * one_hot.roll(1, 0), truncation=0.5)
    with torch.no_grad():
        model.embed.weight[: len(z)] = 0.5 * (model.embed(labels) + model.embed(labels.roll(1)))
    torch.testing.assert_close(model(z, torch.arange(len(z)), truncation=0.5), mixed)


def test_attention_stands_at_one_side_and_as_planned_in_both_networks():
    for name, cfg in CONFIGS.items():
        if cfg.attention is None:
            continue
        game, sides = BigGANGame(cfg).double(), []
        for module in game.modules():
            if isinstance(module, NonLocal):
                module.register_forward_hook(lambda m, args, y, sides=sides: sides.append(y.shape[2]))
        z, labels = given(cfg)
        game.discriminator(game.generator(z, labels), labels)
        assert sides == [4 * 2 ** sum(cfg.ups[: cfg.attention])] * 2, name


def test_attention_starts_as_the_identity():
    torch.manual_seed(0)
    layer, x = NonLocal(16, 1e-5).double(), noise(2, 16, 8, 8)
    assert torch.equal(layer(x), x)
    nn.init.ones_(layer.gamma)
    assert (layer(x) - x).abs().max() > 0.1


def test_published_size_has_the_published_numbers_of_parameters():
    """They are those that the tests of Google's compare_gan demand of its BigGAN."""
    with torch.device("meta"):
        model = BigGANGame(PRESETS["imagenet-128"])
    count = lambda net: sum(p.numel() for p in net.parameters())
    assert count(model.generator) == 70_433_988 and count(model.discriminator) == 87_982_370


# ---- norms


@pytest.mark.parametrize("training", [True, False])
def test_norm_whose_conditions_are_equal_is_batch_norm(training):
    torch.manual_seed(0)
    norm = ConditionalNorm(3, 4, n_stats=2, eps=1e-3, swapped=False).double()
    norm.means.copy_(noise(2, 3)), norm.variances.copy_(1 + noise(2, 3, seed=1).square())
    still(norm, training)
    x, condition = noise(5, 3, 4, 4, seed=2), noise(1, 4, seed=3)
    plain = nn.BatchNorm2d(3, eps=1e-3).double().train(training)
    with torch.no_grad():
        plain.weight.copy_(1 + norm.scale(condition)[0]), plain.bias.copy_(norm.offset(condition)[0])
        plain.running_mean.copy_(norm.means[1]), plain.running_var.copy_(norm.variances[1])
        torch.testing.assert_close(norm(x, condition.expand(5, -1), 1.0), plain(x))
        other = norm(x, torch.cat([condition.expand(4, -1), 2 * condition]), 1.0) - plain(x)
    assert other[:4].abs().max() < 1e-12 and other[4].abs().max() > 0.01


@pytest.mark.parametrize("training", [True, False])
def test_norm_without_a_condition_is_batch_norm(training):
    norm = ConditionalNorm(3, None, n_stats=3, eps=1e-5, swapped=False).double().train(training)
    with torch.no_grad():
        norm.weight.copy_(noise(3)), norm.bias.copy_(noise(3, seed=1))
        norm.means[1], norm.variances[1] = noise(3, seed=2), 2 + noise(3, seed=3).sigmoid()
    x = 3 + noise(5, 3, 4, 4)
    tables = (None, None) if training else (norm.means[1], norm.variances[1])
    wanted = F.batch_norm(x, *tables, norm.weight, norm.bias, training, eps=1e-5)
    torch.testing.assert_close(norm(x, None, 0.5), wanted)


def test_statistics_are_a_straight_line_between_the_stored_truncations():
    norm = ConditionalNorm(2, None, n_stats=5, eps=1e-5, swapped=False).double()
    rows = torch.arange(5.0, dtype=torch.float64)
    norm.means.copy_(rows[:, None] ** 2 * torch.tensor([1.0, -1.0])), norm.variances.copy_(rows[:, None] ** 3 + 1)
    for i in range(1, 5):
        assert torch.equal(norm.statistics(i / 4)[0], norm.means[i])
    mean, variance = norm.statistics(0.25 * 2.25)  # a quarter of the way from row 2 to row 3
    torch.testing.assert_close(mean, torch.tensor([4 + 5 / 4, -4 - 5 / 4]).double())
    torch.testing.assert_close(variance, torch.full((2,), 9 + 19 / 4).double())
    norm.swapped = True
    torch.testing.assert_close(norm.statistics(0.25 * 2.25)[0], torch.tensor([9 - 5 / 4, -9 + 5 / 4]).double())
    assert torch.equal(norm.statistics(0.5)[0], norm.means[2])


@pytest.mark.parametrize("swapped", [True, False])
def test_full_truncation_reads_the_last_row_whatever_the_number_of_rows(swapped):
    for n_stats in [*range(2, 94), 99, 104, 106]:  # rounded, 1 / (1 / 49) is more than 49, 1 / (1 / 105) less than 105
        norm = ConditionalNorm(1, None, n_stats=n_stats, eps=1e-5, swapped=swapped)
        norm.means[-1] = 7.0
        assert (swapped and n_stats == 106) or norm.statistics(1.0)[0].item() == pytest.approx(7.0)


# ---- spectral norm


@pytest.mark.parametrize("shape", [(3, 20), (20, 3), (6, 4, 3, 3)])
def test_spectral_norm_takes_the_steps_of_the_papers_algorithm_and_arrives(shape):
    torch.manual_seed(0)
    ours = spectral(nn.Linear(shape[1], shape[0]) if len(shape) == 2 else nn.Conv2d(shape[1], shape[0], 3), 1e-5)
    ours, weight = ours.double(), noise(*shape)
    ours.parametrizations.weight.original.data.copy_(weight)
    W, u, v = weight.flatten(1), *(getattr(ours.parametrizations.weight[0], name).clone() for name in ("_u", "_v"))
    for training in (True, True, False, True):
        ours.train(training)
        if training:
            v = W.T @ u / (W.T @ u).norm()
            u = W @ v / (W @ v).norm()
        used, direction = ours.weight, noise(*shape, seed=2)
        torch.testing.assert_close(used, weight / (u @ W @ v))
        (grad,) = torch.autograd.grad((used * direction).sum(), ours.parametrizations.weight.original)
        free = weight.clone().requires_grad_()
        (free / (u @ free.flatten(1) @ v) * direction).sum().backward()  # u and v are constants
        torch.testing.assert_close(grad, free.grad)
    ours.train()
    for _ in range(200):
        used = ours.weight
    assert torch.linalg.matrix_norm(used.flatten(1), 2).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 20), (20, 3)])
def test_new_layers_are_orthogonal_with_a_spectral_norm_of_exactly_one(shape):
    torch.manual_seed(0)
    layer = spectral(nn.Linear(shape[1], shape[0]).double(), 1e-5).eval()
    values = torch.linalg.svdvals(layer.weight)
    torch.testing.assert_close(values, torch.ones_like(values))


def test_two_calls_can_both_be_differentiated():
    torch.manual_seed(0)
    layer = spectral(nn.Linear(4, 3), 1e-5)
    (layer(noise(2, 4, dtype=torch.float32)).sum() - layer(noise(2, 4, seed=1, dtype=torch.float32)).sum()).backward()
    assert layer.parametrizations.weight.original.grad.abs().max() > 0


def test_autocast_does_not_round_the_spectral_norm():
    torch.manual_seed(0)
    norm, weight = Spectral(noise(5, 7).float(), 1e-5).eval(), noise(5, 7, seed=1).float()
    exact = norm(weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(norm(weight), exact)
    assert {*norm.state_dict()} == {*nn.utils.parametrizations.spectral_norm(
        nn.Linear(7, 5)).parametrizations.weight[0].state_dict()}  # fmt: skip


@configs
def test_networks_on_the_meta_device_have_the_names_and_shapes_of_real_ones(cfg):
    with torch.device("meta"):
        empty = BigGANGame(cfg).state_dict()
    real = BigGANGame(cfg).state_dict()
    assert {k: v.shape for k, v in empty.items()} == {k: v.shape for k, v in real.items()}
    assert all(v.is_meta for v in empty.values())


# ---- precision, settings, bad input


@configs
def test_half_precision_keeps_pictures_and_logits_in_float32(cfg):
    g, d = build(BigGAN, cfg, torch.float32), build(BigGANDiscriminator, cfg, torch.float32)
    (z, labels), x = given(cfg, dtype=torch.float32), pictures(cfg, dtype=torch.float32)
    exact_x, exact = g(z, labels), d(x, labels)
    with torch.autocast("cpu", torch.bfloat16):
        rounded_x, rounded = g(z, labels), d(x, labels)
    assert rounded_x.dtype == rounded.dtype == torch.float32 and not torch.equal(rounded_x, exact_x)
    assert (rounded_x - exact_x).abs().mean() < 0.05
    torch.testing.assert_close(rounded, exact, atol=0.02 * exact.abs().max().item(), rtol=0.05)


@pytest.mark.parametrize("cfg", PRESETS.values(), ids=PRESETS)
def test_presets_build_and_survive_json(cfg):
    assert from_json(BigGANConfig, to_json(cfg)) == cfg
    with torch.device("meta"):
        BigGANGame(cfg)


@pytest.mark.parametrize("wrong, message", [
    ({"side": 24}, "side must be a power of two, .* 16; got 24"), ({"side": 32}, "2 blocks .* 16; got 32"),
    ({"channels": 0, "width": 0}, "{'channels': 0, 'width': 0}"), ({"rgb_maps": 0}, "{'rgb_maps': 0}"),
    ({"multiples": (2, 1)}, r"3 numbers, one more than ups, .* got \(2, 1\)"), ({"multiples": (2, 2, 2)}, "the last 1"),
    ({"attention": 2}, r"a block in \[0, 2\) or None, got 2"), ({"width": 4, "multiples": (4, 1, 1)}, r"got \[4, 4\]"),
    ({"width": 4}, r"attention needs multiples of 8 maps, got \[8, 4\]"), ({"latent": 7}, "multiple of 3, .* got 7"),
    ({"deep": True, "width": 6, "attention": None, "multiples": (3, 1, 1)}, r"multiples of 4 maps, got \[18, 6, 6\]"),
    ({"deep": True, "multiples": (1, 2, 1)}, r"must not rise, got \(1, 2, 1\)"),
    ({"rgb_maps": 1}, "rgb_maps must be at least channels, 2, or None, got 1"), ({"n_stats": 1}, "n_stats=1"),
    ({"eps": 0.0}, "eps=0.0"),
])  # fmt: skip
def test_config_that_cannot_be_built_is_refused(wrong, message):
    for kind in (BigGAN, BigGANDiscriminator):
        with pytest.raises(ValueError, match=message):
            kind(BigGANConfig(**(SMALL | wrong)))


def test_impossible_input_is_refused():
    cfg = CONFIGS["plain"]
    g, d = build(BigGAN, cfg), build(BigGANDiscriminator, cfg)
    (z, labels), x = given(cfg), pictures(cfg)
    for call, message in [
        (lambda: g(z[:, :5], labels), r"z must be \(B, 6\), got \(4, 5\)"),
        (lambda: g(z, labels[:3]), r"labels must be \(4,\) int64, got \(3,\)"),
        (lambda: g(z, labels.int()), "int64, got .* torch.int32"),
        (lambda: g(z, labels + 1), r"classes must be in \[0, 5\), got 1 to 5"),
        (lambda: g(z, labels - 1), r"classes must be in \[0, 5\), got -1 to 3"),
        (lambda: g(z, torch.ones(4, 4)), r"weights of classes must be \(4, 5\), got \(4, 4\)"),
        (lambda: g(z, labels, truncation=0.0), r"truncation must be in \(0, 1\], got 0.0"),
        (lambda: g(z, labels, truncation=1.5), r"truncation must be in \(0, 1\], got 1.5"),
        (lambda: d(x[..., :8], labels), r"x must be \(B, 2, 16, 16\), got \(4, 2, 16, 8\)"),
        (lambda: d(x[:, :1], labels), r"x must be \(B, 2, 16, 16\), got \(4, 1, 16, 16\)"),
        (lambda: d(x, labels + 1), r"classes must be in \[0, 5\), got 1 to 5"),
        (lambda: d(x, F.one_hot(labels, 5).double()), r"labels must be \(4,\) int64: an image is of one class"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
