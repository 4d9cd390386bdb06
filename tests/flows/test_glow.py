import math

import pytest
import torch

from genai_utils.core import from_json, to_json
from genai_utils.flows.coupling import ActNorm
from genai_utils.flows.glow import (
    PRESETS, ConvCoupling, Glow, GlowConfig, InvertibleConv, Prior, Step, dequantise, image_bits, nll_loss, squeeze,
    unsqueeze,
)  # fmt: skip
from genai_utils.training import adamw
from genai_utils.training.loop import make_step

SMALL = {"side": 8, "n_levels": 2, "n_steps": 2, "width": 8}
CONFIGS = {
    "lu": GlowConfig(**SMALL),
    "plain-colour": GlowConfig(**SMALL, lu=False, channels=3),
    "by-channel": GlowConfig(**SMALL, split_net=False),
    "one-level": GlowConfig(**(SMALL | {"side": 4, "n_levels": 1})),
}
configs = pytest.mark.parametrize("cfg", CONFIGS.values(), ids=CONFIGS)
LAYERS = {
    "actnorm": lambda: ActNorm(4),
    "conv-lu": lambda: InvertibleConv(4),
    "conv-plain": lambda: InvertibleConv(4, lu=False),
    "coupling": lambda: ConvCoupling(4, 8),
    "step-lu": lambda: Step(4, 8, True),
    "step-plain": lambda: Step(4, 8, False),
}


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=gen(seed), dtype=dtype)


def randomise(module, size=0.1):
    """Return the module in float64 and evaluation, no parameter zero or one by habit."""
    module = module.double().eval()
    with torch.no_grad():
        for i, p in enumerate(module.parameters()):
            p.add_(size * draw(*p.shape, seed=i))
    return module


def build(cfg, size=0.1):
    torch.manual_seed(0)
    return randomise(Glow(cfg), size)


def images(cfg, n=4, dtype=torch.float64):
    """Return 8-bit pictures in [-1, 1]."""
    shape = (n, cfg.channels, cfg.side, cfg.side)
    return torch.randint(256, shape, generator=gen()).to(dtype) / 127.5 - 1


def jacobian_log_det(function, x):
    """Return log |det dz/dx| of a map of one example to a tensor or a list of tensors."""

    def flat(y):
        z = function(y.view(1, *x.shape))[0]
        return torch.cat([part.flatten() for part in (z if isinstance(z, list) else [z])])

    return torch.linalg.slogdet(torch.autograd.functional.jacobian(flat, x.flatten()))[1]


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_inverts_and_its_log_det_is_that_of_the_jacobian(name):
    torch.manual_seed(0)
    layer, x = randomise(LAYERS[name](), 0.3), draw(3, 4, 4, 2)
    z, log_det = layer(x)
    x_again, log_det_back = layer.inverse(z)
    torch.testing.assert_close(x_again, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(log_det_back, -log_det, rtol=0, atol=1e-9)
    torch.testing.assert_close(log_det, torch.stack([jacobian_log_det(layer, row) for row in x]), rtol=0, atol=1e-8)
    assert log_det.shape == (3,) and log_det.abs().min() > 1e-3


@pytest.mark.parametrize("kept", [0, 4])
def test_the_learned_prior_is_the_normal_density_of_its_mean_and_deviation(kept):
    prior, leaving = randomise(Prior(kept, 4), 0.3), draw(3, 4, 4, 4)
    stays = draw(3, 4, 4, 4, seed=1) if kept else None
    z, log_det = prior(leaving, stays)
    moments = prior.net(stays) if kept else prior.channel.expand(3, 8, 1, 1)
    mean, log_std = moments.chunk(2, 1)
    want = torch.distributions.Normal(mean, log_std.exp()).log_prob(leaving).sum((1, 2, 3))
    got = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum((1, 2, 3)) + log_det
    torch.testing.assert_close(got, want, rtol=0, atol=1e-9)
    torch.testing.assert_close(prior.inverse(z, stays), (leaving, -log_det))


@configs
def test_inverse_undoes_forward_both_ways(cfg):
    model, x = build(cfg), dequantise(images(cfg), generator=gen())
    z, log_det = model(x)
    assert [tuple(part.shape[1:]) for part in z] == model.z_shapes
    assert sum(math.prod(shape) for shape in model.z_shapes) == x[0].numel()
    x_again, log_det_back = model.inverse(z)
    torch.testing.assert_close(x_again, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(log_det_back, -log_det, rtol=0, atol=1e-9)
    noise = [draw(2, *shape) for shape in model.z_shapes]
    for part, same in zip(model(model.inverse(noise)[0])[0], noise):
        torch.testing.assert_close(part, same, rtol=0, atol=1e-9)


@configs
def test_log_det_of_the_whole_is_that_of_the_jacobian_and_log_prob_its_sum_with_the_prior(cfg):
    model, x = build(cfg), dequantise(images(cfg, 2), generator=gen())
    z, log_det = model(x)
    torch.testing.assert_close(log_det, torch.stack([jacobian_log_det(model, row) for row in x]), rtol=0, atol=1e-8)
    prior = sum(torch.distributions.Normal(0.0, 1.0).log_prob(part).sum((1, 2, 3)) for part in z)
    torch.testing.assert_close(model.log_prob(x), prior + log_det, rtol=0, atol=1e-9)


@configs
def test_steps_pass_through_every_layer_and_back(cfg):
    model, x = build(cfg), draw(2, cfg.channels, cfg.side, cfg.side)
    z, log_det = model(x)
    there, back = list(model.steps(x)), list(model.inverse_steps(z))
    assert len(there) == len(back) == cfg.n_levels * (cfg.n_steps + 1)
    torch.testing.assert_close(list(there[-1]), [z, log_det])
    torch.testing.assert_close(list(back[-1]), [[x], -log_det])
    for points, total in there:
        assert sum(part[0].numel() for part in points) == x[0].numel() and total.shape == (2,)
    for (_, total), (_, total_back) in zip(there[:-1], reversed(back[:-1])):
        torch.testing.assert_close(total, log_det + total_back, rtol=0, atol=1e-8)


def test_squeeze_makes_each_square_of_pixels_four_channels_and_unsqueeze_undoes_it():
    x = draw(2, 3, 4, 6)
    out = squeeze(x)
    for i in range(2):
        for j in range(2):
            assert torch.equal(out[:, 2 * i + j :: 4], x[:, :, i::2, j::2])
    assert torch.equal(unsqueeze(out), x)


def test_lu_and_plain_convolutions_agree_at_equal_weights():
    x, W = draw(2, 6, 3, 3), draw(6, 6, seed=1)
    lu, plain = InvertibleConv(6, weight=W), InvertibleConv(6, lu=False, weight=W)
    torch.testing.assert_close(lu.weight(), W, rtol=0, atol=1e-12)
    torch.testing.assert_close(lu(x), plain(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(lu.inverse(x), plain.inverse(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(plain(x)[0][1, :, 2, 0], W @ x[1, :, 2, 0])


def test_a_new_convolution_is_a_rotation():
    torch.manual_seed(0)
    for lu in (False, True):
        W = InvertibleConv(8, lu).weight()
        torch.testing.assert_close(W @ W.T, torch.eye(8), rtol=0, atol=1e-5)


@pytest.mark.parametrize("lu", [False, True])
def test_the_fused_step_equals_its_three_layers_in_turn(lu):
    torch.manual_seed(0)
    step, x = randomise(Step(4, 8, lu), 0.3), draw(3, 4, 4, 4)
    want, total = x, 0
    for layer in (step.norm, step.conv, step.coupling):
        want, change = layer(want)
        total = total + change
    torch.testing.assert_close(step(x), (want, total), rtol=0, atol=1e-10)


def test_the_first_batch_sets_every_actnorm_so_that_what_it_lets_through_is_normalised():
    torch.manual_seed(0)
    model, x = Glow(CONFIGS["lu"]).double(), dequantise(images(CONFIGS["lu"], 16), generator=gen()) * 3 + 1
    model(x)
    h = squeeze(x)
    for step in model.levels[0]:
        values = step.norm(h)[0].transpose(0, 1).flatten(1)
        torch.testing.assert_close(values.mean(1), torch.zeros(4).double(), rtol=0, atol=1e-12)
        torch.testing.assert_close(values.var(1, correction=0), torch.ones(4).double(), rtol=0, atol=1e-12)
        h, _ = step(h)
    assert all(step.norm.ready for level in model.levels for step in level)


@configs
def test_temperature_0_gives_the_mode_of_the_prior_and_seeds_repeat(cfg):
    model = build(cfg)
    mode, _ = model.inverse([torch.zeros(2, *shape).double() for shape in model.z_shapes])
    torch.testing.assert_close(model.sample(2, temperature=0.0), mode)
    hot, cold = (model(model.sample(3, temperature=t, generator=gen()))[0] for t in (1.0, 0.7))
    torch.testing.assert_close(cold, [0.7 * part for part in hot])
    assert torch.equal(model.sample(2, generator=gen()), model.sample(2, generator=gen()))


@configs
def test_log_prob_does_not_depend_on_the_order_of_the_batch(cfg):
    model, x = build(cfg), draw(6, cfg.channels, cfg.side, cfg.side)
    order = torch.randperm(6, generator=gen())
    torch.testing.assert_close(model.log_prob(x[order]), model.log_prob(x)[order], rtol=0, atol=1e-9)


@configs
def test_gradient_reaches_every_parameter(cfg):
    model = build(cfg)
    loss, _ = nll_loss(model, (images(cfg), None), generator=gen())
    loss.backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_dequantised_pixels_fill_the_bin_of_their_level_and_no_other():
    x = torch.arange(256).double().view(1, 1, 16, 16) / 127.5 - 1
    low, high = dequantise(x, noise=torch.zeros_like(x)), dequantise(x, noise=torch.full_like(x, 1 - 1e-9))
    torch.testing.assert_close(low.flatten(), torch.arange(256).double() / 128 - 1)
    torch.testing.assert_close(high - low, torch.full_like(x, 2 / 256))
    y = dequantise(x, generator=gen())
    assert ((low <= y) & (y < high)).all() and torch.equal(((y + 1) * 128).floor(), (x + 1).mul(127.5).round())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounding_takes_no_pixel_out_of_its_bin(dtype):
    grey = torch.arange(256).repeat(100)
    x = (grey / 127.5 - 1).to(dtype)
    wide = grey if dtype == torch.float32 else ((x.float() + 1) * 127.5).round()
    y = dequantise(x, noise=torch.full_like(grey, 1 - 2**-24, dtype=torch.float32))
    assert y.dtype == torch.float32 and y.max() < 1 and torch.equal(((y + 1) * 128).floor(), wide.float())
    y = dequantise(x, generator=gen())
    assert torch.equal(((y + 1) * 128).floor(), wide.float()) and len(y.unique()) > 20_000  # of 25,600: noise is fine


def test_bits_per_dimension_of_a_uniform_density_on_the_cube_are_8():
    class Uniform:
        def log_prob(self, x):
            return torch.full((len(x),), -math.log(2) * x[0].numel(), dtype=x.dtype)  # 1/2 for each number in [-1, 1]

    x = images(CONFIGS["lu"])
    torch.testing.assert_close(image_bits(Uniform(), x), torch.full((4,), 8.0).double())


def test_loss_is_the_mean_of_the_bits_at_the_same_noise():
    model, x = build(CONFIGS["lu"]), images(CONFIGS["lu"])
    loss, logs = nll_loss(model, x, generator=gen())
    y = dequantise(x, generator=gen())
    want = (-model.log_prob(y) / 64 - math.log(2 / 256)) / math.log(2)
    torch.testing.assert_close(loss, want.mean())
    torch.testing.assert_close(logs, {"bits": loss})
    torch.testing.assert_close(image_bits(model, x, noise=(y + 1) * 128 - ((y + 1) * 128).floor()), want)


@pytest.mark.parametrize("n_steps", [2, 8, 16])
def test_float32_inverse_and_log_prob_stay_close_to_float64(n_steps):
    cfg = GlowConfig(**(SMALL | {"n_steps": n_steps}))
    wide, x = build(cfg, 0.03), dequantise(images(cfg), generator=gen())
    narrow = Glow(cfg).eval()
    narrow.load_state_dict(wide.state_dict())
    z, _ = narrow(x.float())
    assert (narrow.inverse(z)[0] - x).abs().max() < 2e-6 * n_steps
    torch.testing.assert_close(narrow.log_prob(x.float()).double(), wide.log_prob(x), rtol=1e-5, atol=1e-4)


def test_half_precision_is_for_the_networks_only_and_inversion_survives_it():
    model, x = build(CONFIGS["lu"]).float(), images(CONFIGS["lu"], dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        z, log_det = model(x)
        x_again, _ = model.inverse(z)
        loss, _ = nll_loss(model, x)
    assert {*(part.dtype for part in z), log_det.dtype, x_again.dtype, loss.dtype} == {torch.float32}
    torch.testing.assert_close(x_again, x, rtol=0, atol=1e-4)  # both ways see the same rounded networks


def test_training_on_two_pictures_brings_the_bits_down():
    torch.manual_seed(0)
    model, x = Glow(CONFIGS["lu"]), images(CONFIGS["lu"], 2, torch.float32).repeat(8, 1, 1, 1)
    step = make_step(model, lambda m, b: nll_loss(m, b, generator=noise), adamw(model, lr=3e-3))
    noise = gen()
    bits = [step(x)["bits"].item() for _ in range(40)]
    assert bits[-1] < bits[0] - 0.5 and bits[-1] < 8


def test_presets_survive_json_and_can_be_built():
    for name, cfg in PRESETS.items():
        assert from_json(GlowConfig, to_json(cfg)) == cfg
        if name != "cifar10":  # 44 million parameters
            assert Glow(cfg).z_shapes


SINGULAR = torch.tensor([[1.0, 2.0], [2.0, 4.0]])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: squeeze(torch.zeros(1, 1, 5, 4)), r"even sides, got \(5, 4\): pad"),
        (lambda m: unsqueeze(torch.zeros(1, 6, 2, 2)), "multiple of 4 channels, got 6"),
        (lambda m: ConvCoupling(3, 8), "even number of channels, got 3: squeeze"),
        (lambda m: InvertibleConv(2, weight=SINGULAR), "rank is 1 of 2: give a rotation"),
        (lambda m: InvertibleConv(2, lu=False, weight=SINGULAR), "rank is 1 of 2"),
        (lambda m: InvertibleConv(2, weight=torch.full((2, 2), math.nan)), "rank is 0 of 2"),
        (lambda m: InvertibleConv(3, weight=SINGULAR), r"must be \(3, 3\), got \(2, 2\)"),
        (lambda m: dequantise(torch.full((1, 1, 2, 2), 1.5)), r"pixels must be in \[-1, 1\], got 1.5 to 1.5: scale"),
        (lambda m: dequantise(torch.full((1, 1, 2, 2), math.nan)), "pixels must be in .* got nan"),
        (lambda m: nll_loss(m, 2 * torch.ones(2, 1, 8, 8)), "pixels must be in .* got 2 to 2"),
        (lambda m: dequantise(torch.zeros(2), noise=torch.ones(2)), r"noise must be .* in \[0, 1\)"),
        (lambda m: dequantise(torch.zeros(2), levels=1), "levels must be at least 2, got 1"),
        (lambda m: m.sample(2, temperature=-1.0), "temperature must be at least 0 .* got -1.0"),
        (lambda m: m.sample(0), "n must be at least 1, got 0"),
        (lambda m: m.inverse(m(torch.zeros(2, 1, 8, 8))[0][:1]), "z must list 2 levels .* got"),
        (lambda m: m.log_prob(torch.zeros(2, 1, 6, 6)), r"images must be \(B, 1, 8, 8\), got \(2, 1, 6, 6\)"),
        (lambda m: Glow(GlowConfig(side=28, n_levels=3)), "multiple of 2.n_levels = 8, got 28: pad"),
        (lambda m: Glow(GlowConfig(n_levels=0)), "'n_levels': 0"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_its_value_and_the_cure(call, message):
    with pytest.raises(ValueError, match=message):
        call(Glow(CONFIGS["lu"]).eval())
