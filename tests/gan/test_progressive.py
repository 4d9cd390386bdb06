import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from genai_utils.core import from_json, to_json
from genai_utils.gan.equal import EqualConv2d, EqualLinear
from genai_utils.gan.losses import gradient_penalty
from genai_utils.gan.progressive import PRESETS, Growth, ProGAN, ProGANConfig, at_stage, pixel_norm, progressive_step
from genai_utils.training import EMA, adamw, fit
from tests.gan.players import gradient_events, noise_images, randomise, resumes_exactly, tensors

CFG = ProGANConfig(side=16, channels=2, latent=5, width=3, width_max=6)  # stages of 4, 8 and 16 pixels; widths 6, 6, 3


def build(cfg=CFG, dtype=torch.float64):
    torch.manual_seed(0)
    return randomise(ProGAN(cfg).to(dtype), scale=0.1)


def noise(n=4):
    return torch.randn(n, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def pictures(n=4, side=16):
    return torch.rand(n, 2, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


def double(x):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


@pytest.mark.parametrize("stage, side", [(0, 4), (1, 8), (2, 16), (None, 16)])
def test_images_and_values_have_the_shapes_of_their_stage(stage, side):
    model = build()
    x = model.sample(4, stage=stage, alpha=0.4)
    assert x.shape == (4, 2, side, side) and not x.requires_grad
    assert model.discriminator(x, stage, 0.4).shape == (4,)


@pytest.mark.parametrize("stage", [1, 2])
def test_generator_at_alpha_0_is_the_stage_before_enlarged_and_at_1_the_next_alone(stage):
    model, z = build(), noise()
    torch.testing.assert_close(model(z, stage, 0.0), double(model(z, stage - 1)))
    alone = model(z, stage, 1.0)
    torch.testing.assert_close(model(z, stage, 0.3), 0.7 * double(model(z, stage - 1)) + 0.3 * alone)
    randomise(model.generator.to_image[stage - 1], seed=5)
    assert torch.equal(model(z, stage, 1.0), alone) and not torch.allclose(model(z, stage, 0.3), alone)


@pytest.mark.parametrize("stage", [1, 2])
def test_critic_at_alpha_0_is_the_stage_before_on_halved_images_and_at_1_the_next_alone(stage):
    model, x = build(), pictures(side=4 * 2**stage)
    D = model.discriminator
    halved = x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((3, 5))
    torch.testing.assert_close(D(x, stage, 0.0), D(halved, stage - 1))
    alone = D(x, stage, 1.0)
    assert not torch.allclose(alone, D(x, stage, 0.0))
    randomise(D.from_image[stage - 1], seed=5)
    assert torch.equal(D(x, stage, 1.0), alone) and not torch.allclose(D(x, stage, 0.3), alone)


def test_generator_is_the_paper_written_out():
    """Table 2 in plain operations: He's constants by hand, leaky ReLU, division by the root mean square."""
    model, z = build(), noise()
    G = model.generator

    def conv(layer, x, gain, padding):
        fan_in = layer.weight.shape[1] * layer.weight.shape[2] ** 2
        return F.conv2d(x, layer.weight * gain / fan_in**0.5, layer.bias, padding=padding)

    def norm(x):
        return x / torch.sqrt((x**2).mean(1, keepdim=True) + 1e-8)

    def act(x):
        return torch.where(x > 0, x, 0.2 * x)

    # the first layer as a 4x4 convolution over z padded by 3, with a bias of its own at every place
    kernel = G.first.weight.view(6, 4, 4, 5).permute(0, 3, 1, 2).flip(2, 3) * (2 / (5 * 16)) ** 0.5
    x = F.conv2d(norm(z)[:, :, None, None], kernel, padding=3) + G.first.bias.view(6, 4, 4)
    x = norm(act(x))
    x = norm(act(conv(G.blocks[0].conv, x, 2**0.5, 1)))
    for k in (1, 2):
        x = double(x)
        for block in G.blocks[k]:
            x = norm(act(conv(block.conv, x, 2**0.5, 1)))
    torch.testing.assert_close(model(z), conv(G.to_image[2], x, 1.0, 0))


def test_critic_is_the_paper_written_out():
    model, x = build(), pictures(8)
    D = model.discriminator

    def layer(m, x, gain, padding=0):
        weight = m.weight * gain / m.weight[0].numel() ** 0.5
        return F.conv2d(x, weight, m.bias, padding=padding) if weight.ndim == 4 else x @ weight.T + m.bias

    def act(x):
        return torch.where(x > 0, x, 0.2 * x)

    h = act(layer(D.from_image[2], x, 2**0.5))
    for k in (2, 1):
        for block in list(D.blocks[k])[:2]:
            h = act(layer(block.conv, h, 2**0.5, 1))
        h = h.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((3, 5))
    groups = h.view(4, 2, 6, 4, 4)  # image n is in group n mod 2
    std = ((groups - groups.mean(0)).square().mean(0) + 1e-8).sqrt().mean((1, 2, 3))
    h = torch.cat([h, std.repeat(4).view(8, 1, 1, 1).expand(8, 1, 4, 4)], dim=1)
    h = act(layer(D.blocks[0].conv, h, 2**0.5, 1))
    h = act(layer(D.hidden, h.flatten(1), 2**0.5))
    torch.testing.assert_close(D(x), layer(D.last, h, 1.0)[:, 0])


@pytest.mark.parametrize("stage, alpha, silent", [
    (0, 1.0, ["blocks.1", "blocks.2", "image.1", "image.2"]),
    (1, 0.5, ["blocks.2", "image.2"]),
    (1, 1.0, ["blocks.2", "image.0", "image.2"]),
    (2, 0.5, ["image.0"]),
    (2, 1.0, ["image.0", "image.1"]),
])  # fmt: skip
def test_blocks_that_are_not_in_use_get_no_gradient_and_all_others_do(stage, alpha, silent):
    model = build()
    growth = Growth(3, stable=100, fade=100)
    growth.images = {(0, 1.0): 0, (1, 0.5): 150, (1, 1.0): 200, (2, 0.5): 350, (2, 1.0): 400}[stage, alpha]
    assert growth.place() == (stage, alpha)
    opts = [torch.optim.SGD(net.parameters(), 1e-4) for net in (model.generator, model.discriminator)]
    events, none = gradient_events(model, progressive_step(model, *opts, growth), pictures())
    idle = {"generator." + s.replace("image", "to_image") for s in silent}
    idle |= {"discriminator." + s.replace("image", "from_image") for s in silent}
    expected = [n for n, _ in model.named_parameters() if not any(n.startswith(s + ".") for s in idle)]
    assert sorted(events) == sorted(expected) and not none
    n_d = sum(n.startswith("discriminator") for n in expected)
    assert all(n.startswith("discriminator") for n in events[:n_d])
    assert all(n.startswith("generator") for n in events[n_d:])


def test_step_is_the_paper_written_out():
    model = build()
    naive = copy.deepcopy(model)
    growth = Growth(3, stable=8, fade=16)
    growth.images = 12  # a quarter of the way into the second stage
    opts = [torch.optim.SGD(net.parameters(), 0.01) for net in (model.generator, model.discriminator)]
    g = torch.Generator().manual_seed(5)
    step = progressive_step(model, *opts, growth, weight=3.0, drift=0.1, n_critic=2, generator=g)
    h = torch.Generator().manual_seed(5)
    logs = step((pictures(8), torch.zeros(8)))
    D, rows = naive.discriminator, []
    for x in pictures(8).split(4):
        real = F.avg_pool2d(x, 2)
        real = 0.75 * double(F.avg_pool2d(real, 2)) + 0.25 * real
        fake = naive.generator(torch.randn(4, 5, dtype=torch.float64, generator=h), 1, 0.25)
        r_real, r_fake = D(real, 1, 0.25), D(fake.detach(), 1, 0.25)
        penalty = gradient_penalty(lambda x: D(x, 1, 0.25), real, fake, generator=h)
        distance = r_real.mean() - r_fake.mean()
        loss = -distance + 3.0 * penalty + 0.1 * (r_real**2).mean()
        rows.append((distance.item(), penalty.item(), loss.item()))
        gradients = torch.autograd.grad(loss, list(D.parameters()), allow_unused=True)
        with torch.no_grad():
            for w, gradient in zip(D.parameters(), gradients):
                w -= 0.01 * (0 if gradient is None else gradient)
    loss_g = -D(fake, 1, 0.25).mean()
    gradients = torch.autograd.grad(loss_g, list(naive.generator.parameters()), allow_unused=True)
    with torch.no_grad():
        for w, gradient in zip(naive.generator.parameters(), gradients):
            w -= 0.01 * (0 if gradient is None else gradient)
    for (name, a), b in zip(model.state_dict().items(), naive.state_dict().values()):
        torch.testing.assert_close(a, b, msg=name)
    means = [sum(column) / 2 for column in zip(*rows)]
    found = [logs[k].item() for k in ("wasserstein", "penalty", "loss_d", "loss_g", "stage", "alpha")]
    assert found == pytest.approx([*means, loss_g.item(), 1, 0.25]) and growth.images == 20


def test_growth_goes_through_its_stages_by_the_images_shown():
    growth, places = Growth(3, stable=4, fade=8), []
    for growth.images in range(0, 36, 2):
        places.append(growth.place())
    fade = [0.0, 0.25, 0.5, 0.75]
    expected = [(0, 1.0)] * 2 + [(1, a) for a in fade] + [(1, 1.0)] * 2 + [(2, a) for a in fade] + [(2, 1.0)] * 6
    assert places == expected
    other = Growth(3, stable=4, fade=8)
    other.load_state_dict(growth.state_dict())
    assert other.images == 34 and Growth(1, stable=1, fade=1).place() == (0, 1.0)


def test_data_are_halved_and_faded_like_the_generators_images():
    x = pictures()
    assert torch.equal(at_stage(x, 2), x)
    small = at_stage(x, 0, 0.4)
    assert small.shape == (4, 2, 4, 4)
    torch.testing.assert_close(small, x.unflatten(2, (4, 4)).unflatten(4, (4, 4)).mean((3, 5)))
    torch.testing.assert_close(at_stage(x, 1, 0.0), double(at_stage(x, 0)))
    torch.testing.assert_close(at_stage(x, 1, 0.3), 0.7 * double(at_stage(x, 0)) + 0.3 * at_stage(x, 1))
    model = build()
    torch.testing.assert_close(model.discriminator(at_stage(x, 1, 0.0), 1, 0.0), model.discriminator(at_stage(x, 0), 0))


def test_pixel_norm_leaves_a_mean_square_of_1_at_every_place():
    x = 7 * pictures() + 3
    y = pixel_norm(x)
    torch.testing.assert_close(y.square().mean(1), torch.ones(4, 16, 16, dtype=torch.float64))
    torch.testing.assert_close(y * x.square().mean(1, keepdim=True).sqrt(), x)
    assert pixel_norm(torch.zeros(1, 2)).isfinite().all() and pixel_norm(x.half()).dtype == torch.float16


def test_published_size_is_that_of_table_2():
    """1024 pixels, and 23.1 million parameters in each network."""
    with torch.device("meta"):
        model = ProGAN(PRESETS["published"])
    assert [m.weight.shape[1] for m in model.generator.to_image] == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    for network, images in ((model.generator, "to_image"), (model.discriminator, "from_image")):
        last = PRESETS["published"].stages - 1
        used = [p for n, p in network.named_parameters() if images not in n or f"{images}.{last}." in n]
        assert sum(p.numel() for p in used) == pytest.approx(23.1e6, rel=2.5e-3)


def test_every_weight_is_equalised():
    model = build()
    layers = [m for m in model.modules() if isinstance(m, EqualConv2d | EqualLinear)]
    owned = {id(p) for m in layers for p in m.parameters()}
    assert owned == {id(p) for p in model.parameters()}


def test_images_start_with_a_mean_square_of_1_whatever_the_stage():
    torch.manual_seed(0)
    model = ProGAN(ProGANConfig(side=32, channels=64, width=16, width_max=64))  # many channels: many draws of a weight
    for stage in range(4):
        assert model.sample(16, stage=stage).square().mean().item() == pytest.approx(1, abs=0.25)


def train(steps, checkpoint):
    torch.manual_seed(0)
    model = ProGAN(replace(CFG, channels=1))
    opts = [adamw(net, 1e-2, betas=(0.0, 0.99)) for net in (model.generator, model.discriminator)]
    step = progressive_step(model, *opts, Growth(3, stable=6, fade=14), ema=EMA(model.generator, 0.9))
    rows = fit(step, noise_images(16).batches(4, seed=0), steps=steps, every=5, checkpoint=checkpoint, progress=False)
    assert rows[-1]["stage"] > 0
    return tensors(step.parts)


def test_training_resumed_while_a_stage_fades_in_ends_with_the_same_bits(tmp_path):
    resumes_exactly(train, tmp_path)


def test_samples_repeat_with_the_generator_and_take_another_network():
    model, g = build(), torch.Generator()
    ema = EMA(model.generator)
    x = model.sample(2, stage=1, alpha=0.5, generator=g.manual_seed(1))
    assert torch.equal(x, model.sample(2, stage=1, alpha=0.5, network=ema.model, generator=g.manual_seed(1)))
    assert not torch.equal(x, model.sample(2, stage=1, alpha=0.5, generator=g.manual_seed(2)))


def test_half_precision_gives_float32_logs_and_images_at_every_place():
    model = build(dtype=torch.float32)
    opts = [adamw(net) for net in (model.generator, model.discriminator)]
    growth = Growth(3, stable=4, fade=8)
    step = progressive_step(model, *opts, growth, amp=torch.bfloat16)
    for _ in range(5):
        logs = step(pictures().float())
        assert all(v.dtype == torch.float32 and v.isfinite() for v in logs.values())


@pytest.mark.parametrize("cfg", PRESETS.values(), ids=PRESETS)
def test_presets_survive_json(cfg):
    assert from_json(ProGANConfig, to_json(cfg)) == cfg


def test_bad_settings_and_input_are_refused():
    model, x = build(), pictures()
    opts = [torch.optim.SGD(net.parameters(), 1e-3) for net in (model.generator, model.discriminator)]
    growth = Growth(3, stable=4, fade=4)
    for side in (2, 24):
        with pytest.raises(ValueError, match=f"side must be a power of two, at least 4, got {side}"):
            ProGAN(replace(CFG, side=side))
    with pytest.raises(ValueError, match="{'group': 0}"):
        ProGAN(replace(CFG, group=0))
    with pytest.raises(ValueError, match="0 <= stage < 3 and 0 <= alpha <= 1, got stage=3, alpha=1.0"):
        model(noise(), 3)
    with pytest.raises(ValueError, match="got stage=1, alpha=1.5"):
        model.discriminator(pictures(side=8), 1, 1.5)
    with pytest.raises(ValueError, match=r"x must be \(B, 2, 8, 8\), got \(4, 2, 16, 16\)"):
        model.discriminator(x, 1)
    with pytest.raises(ValueError, match=r"x must be \(B, 2, 16, 16\), got \(4, 2, 8, 8\)"):
        progressive_step(model, *opts, growth)(pictures(side=8))
    with pytest.raises(ValueError, match="a batch of 6 does not divide into groups of 4"):
        progressive_step(model, *opts, growth)(pictures(6))
    with pytest.raises(ValueError, match="got weight=10.0, drift=-1"):
        progressive_step(model, *opts, growth, drift=-1)
    with pytest.raises(ValueError, match="growth has 2 stages, the model 3"):
        progressive_step(model, *opts, Growth(2, stable=4, fade=4))
    with pytest.raises(ValueError, match="{'fade': 0}"):
        Growth(3, stable=4, fade=0)
    with pytest.raises(ValueError, match="{'n': 0}"):
        model.sample(0)
