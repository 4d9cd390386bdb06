import pytest
import torch
from torch import nn

from genai_utils.core import from_json, seed_all, to_json
from genai_utils.gan.dcgan import DCGAN, NORMS, PRESETS, DCGANConfig, dcgan_step
from genai_utils.training import EMA, fit
from tests.gan.players import gradient_events, noise_images, randomise, resumes_exactly, tensors

SMALL = {"side": 16, "channels": 2, "latent": 5, "width_g": 4, "width_d": 4}


def build(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    return DCGAN(DCGANConfig(**(SMALL | changes))).to(dtype)


def pictures(n=4, side=16, channels=2, dtype=torch.float64):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0), dtype=dtype) * 2 - 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("side", [8, 16, 32, 64])
def test_images_and_logits_have_their_shapes(side, norm):
    model = build(side=side, norm_d=norm)
    x = model.sample(3)
    assert x.shape == (3, 2, side, side) and x.abs().max() <= 1 and x.std() > 0
    assert model.discriminator(x).shape == (3,)


def test_published_size_is_that_of_figure_1():
    with torch.device("meta"):
        model = DCGAN(PRESETS["published"])
    maps = [m.out_channels for m in model.generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert maps == [1024, 512, 256, 128, 3] and model.cfg.latent == 100 and model.cfg.side == 64


@pytest.mark.parametrize("norm", NORMS)
def test_batch_normalisation_stays_away_from_where_images_enter_and_leave(norm):
    model = build(norm_d=norm, side=32)
    kinds = [type(m) for m in model.generator.layers]
    assert kinds[-2:] == [nn.ConvTranspose2d, nn.Tanh] and kinds.count(nn.BatchNorm2d) == 3 == kinds.count(nn.ReLU)
    layers = list(model.discriminator.layers)
    normed = [m for m in layers if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)]
    assert isinstance(layers[1], nn.LeakyReLU) and isinstance(layers[-1], nn.Conv2d)
    assert len(normed) == (2 if norm in ("batch", "layer") else 0)
    assert not any(isinstance(m, nn.Linear | nn.MaxPool2d | nn.AvgPool2d) for m in model.modules())


def test_weights_start_with_a_standard_deviation_of_a_fiftieth():
    torch.manual_seed(0)
    model = DCGAN(DCGANConfig(width_g=16, width_d=16))
    for m in model.modules():
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d):
            slack = 4 * 0.02 / (2 * m.weight.numel()) ** 0.5
            assert abs(m.weight.std().item() - 0.02) < slack and abs(m.weight.mean().item()) < 2 * slack
    gains = torch.cat([m.weight for m in model.modules() if isinstance(m, nn.BatchNorm2d)])
    assert abs(gains.mean().item() - 1) < 0.01 and 0.01 < gains.std().item() < 0.03


@pytest.mark.parametrize("norm", NORMS)
def test_each_parameter_gets_its_gradient_from_the_step_that_owns_it_only(norm):
    model = randomise(build(norm_d=norm), scale=0.1)
    events, none = gradient_events(model, dcgan_step(model), pictures())
    n_d = len(list(model.discriminator.parameters()))
    assert {name.split(".")[0] for name in events[:n_d]} == {"discriminator"} and not none
    assert sorted(events) == sorted(name for name, _ in model.named_parameters())
    assert {name.split(".")[0] for name in events[n_d:]} == {"generator"}


def test_spectral_norm_of_every_kernel_is_1_and_that_of_naive_power_iteration():
    model = build(norm_d="spectral")
    kernels = [m for m in model.discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert len(kernels) == 3
    for layer in kernels:
        W = layer.parametrizations.weight.original.detach().flatten(1)
        v = layer.parametrizations.weight[0]._v.clone()
        used = layer.weight.detach().flatten(1)  # in training mode this makes one iteration
        u = W @ v / (W @ v).norm()
        v = W.T @ u / (W.T @ u).norm()
        torch.testing.assert_close(used, W / (u @ W @ v))
        for _ in range(400):
            used = layer.weight
        assert torch.linalg.matrix_norm(used.flatten(1), 2).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("norm", ["layer", "none", "spectral"])
def test_logit_of_an_image_does_not_depend_on_its_batch_unless_the_norm_is_the_batchs(norm):
    x = pictures()
    for name, alone in ((norm, True), ("batch", False)):
        model = randomise(build(norm_d=name)).train()
        if norm == "spectral":
            model.eval() if alone else model.train()  # else the power iteration would move in between
        assert torch.allclose(model.discriminator(x)[:2], model.discriminator(x[:2])) == alone, name


def test_evaluation_mode_samples_each_image_by_itself():
    model = randomise(build())
    for _ in range(3):
        model.sample(8)
    model.eval()
    z = model.noise(4)
    torch.testing.assert_close(model(z)[:1], model(z[:1]))


def test_generator_learns_a_constant_image():
    seed_all(0)
    model = DCGAN(DCGANConfig(side=8, latent=4, width_g=8, width_d=8, norm_d="none"))
    x = torch.full((8, 1, 8, 8), -0.8)
    step = dcgan_step(model, lr=5e-3, r1=0.1)
    before = (model.sample(32) + 0.8).abs().mean().item()
    for _ in range(60):
        step(x)
    assert (model.sample(32) + 0.8).abs().mean().item() < 0.35 * before


def test_samples_repeat_with_the_generator():
    model, g = build().eval(), torch.Generator()
    x = model.sample(2, generator=g.manual_seed(1))
    assert torch.equal(x, model.sample(2, generator=g.manual_seed(1)))
    assert not torch.equal(x, model.sample(2, generator=g.manual_seed(2)))


def train(steps, checkpoint, own_noise, norm):
    model = build(torch.float32, side=8, channels=1, norm_d=norm)
    g = torch.Generator().manual_seed(3) if own_noise else None
    step = dcgan_step(model, lr=1e-2, ema=EMA(model.generator, 0.9), generator=g)
    fit(step, noise_images(8).batches(4, seed=0), steps=steps, every=5, checkpoint=checkpoint, progress=False)
    return tensors(step.parts)


@pytest.mark.parametrize("own_noise, norm", [(True, "batch"), (False, "spectral")])
def test_resumed_training_ends_with_the_same_bits_statistics_included(tmp_path, own_noise, norm):
    names = resumes_exactly(lambda steps, path: train(steps, path, own_noise, norm), tmp_path)
    assert any("running_mean" in n for n in names) and (any("._u" in n for n in names) == (norm == "spectral"))


def test_half_precision_gives_float32_images_and_logs():
    model = build(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        x = model.sample(2)
        assert x.dtype == model.discriminator(x).dtype == torch.float32
    logs = dcgan_step(model, amp=torch.bfloat16)(pictures(dtype=torch.float32))
    assert all(v.dtype == torch.float32 and v.isfinite() for v in logs.values())


@pytest.mark.parametrize("cfg", PRESETS.values(), ids=PRESETS)
def test_presets_build_and_survive_json(cfg):
    assert from_json(DCGANConfig, to_json(cfg)) == cfg
    with torch.device("meta"):
        DCGAN(cfg)


@pytest.mark.parametrize("wrong, message", [
    ({"side": 28}, "side must be a power of two, at least 8, got 28"), ({"side": 4}, "at least 8, got 4"),
    ({"channels": 0, "width_g": 0}, "{'channels': 0, 'width_g': 0}"), ({"norm_d": "group"}, "one of batch, .*'group'"),
])  # fmt: skip
def test_config_that_cannot_be_built_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        build(**wrong)


def test_impossible_input_is_refused():
    model = build()
    with pytest.raises(ValueError, match=r"x must be \(B, 2, 16, 16\), got \(4, 1, 16, 16\)"):
        dcgan_step(model)(pictures(channels=1))
    with pytest.raises(ValueError, match=r"x must be \(B, 2, 16, 16\), got \(4, 2, 32, 32\)"):
        model.discriminator(pictures(side=32))
    with pytest.raises(ValueError, match="r1=1.0 needs a discriminator whose norm_d is not 'batch'"):
        dcgan_step(model, r1=1.0)
