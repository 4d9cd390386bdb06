import math

import pytest
import torch

from genai_utils.core import from_json, seed_all, to_json
from genai_utils.data.sets import ImageSet
from genai_utils.gan.modulation import Resample, modulate, modulated_conv, scaled_conv, upfirdn
from genai_utils.gan.stylegan import (
    PRESETS,
    StyleDiscriminator,
    StyleGAN,
    StyleGANConfig,
    StyleGenerator,
    mix_styles,
    sample,
    sides,
    width,
)
from genai_utils.gan.stylegan_step import Clock, draw_styles, lazy_adam, path_lengths, stylegan_step
from genai_utils.training import EMA, fit
from tests.gan import naive_stylegan as naive

SMALL = {"side": 16, "latent": 6, "d_style": 5, "mapping_layers": 2, "base": 64, "max_width": 8}
CONFIGS = {
    "grey": StyleGANConfig(**SMALL),
    "colour": StyleGANConfig(**SMALL, channels=3, group=2),  # widths 8, 8, 4
    "deep": StyleGANConfig(**(SMALL | {"side": 32, "base": 96, "mapping_layers": 3})),
}
configs = pytest.mark.parametrize("cfg", CONFIGS.values(), ids=CONFIGS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def randomise(network, seed=0):
    """Give biases, noise strengths and the mean style values other than those that they start with."""
    g = seeded(seed)
    with torch.no_grad():
        for name, p in [*network.named_parameters(), *network.named_buffers()]:
            if not name.endswith("kernel") and p.ndim < 2:
                p.add_(0.3 * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return network


def build(kind, cfg, dtype=torch.float64):
    torch.manual_seed(0)
    return randomise(kind(cfg).to(dtype))


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def noises(model, n):
    return [noise(n, 1, conv.side, conv.side, seed=i) for i, conv in enumerate(model.synthesis.convs)]


def pictures(cfg, n=4, dtype=torch.float64):
    return 2 * torch.rand(n, cfg.channels, cfg.side, cfg.side, generator=seeded(), dtype=dtype) - 1


# ---- parts


@pytest.mark.parametrize("up, down, pad", [(1, 1, (2, 1)), (2, 1, (2, 1)), (1, 2, (1, 1)), (3, 2, (0, 3))])
def test_upfirdn_is_the_sum_that_its_name_says(up, down, pad):
    """y[i, j] = gain sum_ab kernel[a, b] s[down i + 3 - a - pad, ...], s having x between up - 1 zeros."""
    x, kernel, (p, q) = noise(2, 3, 4, 5), noise(4, 4, seed=1), pad  # no symmetry: a turned filter would show
    y = upfirdn(x, kernel, up=up, down=down, pad=pad, gain=1.5)
    height, wide = ((up * side + p + q - 4) // down + 1 for side in (4, 5))
    assert y.shape == (2, 3, height, wide)
    for i in range(height):
        for j in range(wide):
            total = torch.zeros(2, 3, dtype=x.dtype)
            for a in range(4):
                for b in range(4):
                    r, c = down * i + 3 - a - p, down * j + 3 - b - p
                    if r % up == c % up == 0 and 0 <= r < up * 4 and 0 <= c < up * 5:
                        total += 1.5 * kernel[a, b] * x[:, :, r // up, c // up]
            torch.testing.assert_close(y[:, :, i, j], total)


def test_resampling_keeps_what_is_constant_and_down_is_the_transpose_of_up():
    resample = Resample().double()
    flat = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(resample.up(flat)[..., 1:-1, 1:-1], torch.ones(1, 1, 14, 14, dtype=torch.float64))
    torch.testing.assert_close(resample.down(flat)[..., 1:-1, 1:-1], flat[..., :2, :2])
    x, y = noise(2, 3, 4, 6), noise(2, 3, 8, 12, seed=1)
    torch.testing.assert_close((resample.up(x) * y).sum(), 4 * (x * resample.down(y)).sum())


def test_demodulated_weights_have_unit_norm_whatever_the_style():
    weight, style = noise(7, 5, 3, 3), 10 ** noise(4, 5, seed=1)
    norms = modulate(weight, style).square().sum((2, 3, 4)).sqrt()
    torch.testing.assert_close(norms, torch.ones(4, 7, dtype=torch.float64), atol=1e-6, rtol=0)
    scaled = modulate(3.0 * weight, -0.2 * style)
    torch.testing.assert_close(scaled, -modulate(weight, style), atol=1e-5, rtol=0)  # but for 1e-8 under the root


def test_demodulated_maps_of_white_noise_have_unit_variance():
    x, weight, style = noise(2, 16, 64, 64), noise(8, 16, 3, 3, seed=1), 10 ** noise(2, 16, seed=2)
    inner = modulated_conv(x, modulate(weight, style))[..., 1:-1, 1:-1]
    assert (inner.var((2, 3)) - 1).abs().max() < 0.15


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("up", [True, False])
def test_modulated_convolution_is_the_sum_image_by_image(up, demodulate):
    x, weight, style = noise(3, 4, 5, 5), noise(6, 4, 3, 3, seed=1), noise(3, 4, seed=2)
    y = modulated_conv(x, modulate(weight, style, demodulate=demodulate), up=up)
    wanted = torch.zeros(3, 6, 11, 11, dtype=x.dtype) if up else torch.zeros(3, 6, 7, 7, dtype=x.dtype)
    for b in range(3):
        for o in range(6):
            w = weight[o] * style[b][:, None, None]
            if demodulate:
                w = w / math.sqrt(w.square().sum() + 1e-8)
            for r in range(5):
                for c in range(5):  # each pixel leaves its mark on 3 x 3 places
                    stamp = (x[b, :, r, c][:, None, None] * (w if up else w.flip(1, 2))).sum(0)
                    at = (2 * r, 2 * c) if up else (r, c)
                    wanted[b, o, at[0] : at[0] + 3, at[1] : at[1] + 3] += stamp
    torch.testing.assert_close(y, wanted if up else wanted[..., 1:-1, 1:-1])


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_scaling_the_maps_equals_weights_for_each_image_with_gradients(up, demodulate):
    g = torch.Generator().manual_seed(0)
    x, weight, style = (
        torch.randn(shape, generator=g, dtype=torch.float64).requires_grad_()
        for shape in ((3, 5, 4, 6), (7, 5, 3, 3), (3, 5))
    )
    ours = scaled_conv(x, weight, style, demodulate=demodulate, up=up)
    theirs = modulated_conv(x, modulate(weight, style, demodulate=demodulate), up=up)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    push = torch.randn(ours.shape, generator=g, dtype=torch.float64)
    for a, b in zip(*(torch.autograd.grad((y * push).sum(), (x, weight, style)) for y in (ours, theirs))):
        torch.testing.assert_close(a, b, atol=1e-11, rtol=0)


def test_scaled_maps_stay_within_half_precision_whatever_the_size_of_the_style():
    g = torch.Generator().manual_seed(0)
    x, weight, style = (torch.randn(shape, generator=g) for shape in ((2, 64, 8, 8), (32, 64, 3, 3), (2, 64)))
    wanted = scaled_conv(x, weight, style)
    y = scaled_conv((200 * x).half(), weight.half(), 20_000 * style)
    assert y.dtype == torch.float16 and y.isfinite().all()
    torch.testing.assert_close(y.float() / 200, wanted, atol=0.02, rtol=0.01)


# ---- networks


@configs
def test_generator_and_its_gradients_equal_the_naive_version(cfg):
    model, z = build(StyleGenerator, cfg), noise(3, cfg.latent)
    state = {k: v.detach().clone().requires_grad_() for k, v in model.state_dict().items()}
    x, wanted = model(z, noise=noises(model, 3)), naive.generator(state, cfg, z, noises(model, 3))
    assert x.shape == (3, cfg.channels, cfg.side, cfg.side) and x.std() > 0.1
    torch.testing.assert_close(x, wanted, rtol=1e-10, atol=1e-11)
    weight = noise(*x.shape, seed=9)
    (x * weight).sum().backward()
    (wanted * weight).sum().backward()
    for name, p in model.named_parameters():
        assert p.grad.abs().max() > 0, name
        torch.testing.assert_close(p.grad, state[name].grad, rtol=1e-8, atol=1e-9, msg=name)


@configs
@pytest.mark.parametrize("n", [3, 8])
def test_discriminator_and_its_gradients_equal_the_naive_version(cfg, n):
    model, x = build(StyleDiscriminator, cfg), pictures(cfg, n if n % cfg.group == 0 else cfg.group)
    state = {k: v.detach().clone().requires_grad_() for k, v in model.state_dict().items()}
    logits, wanted = model(x), naive.discriminator(state, cfg, x)
    assert logits.shape == (len(x),) and logits.std() > 0
    torch.testing.assert_close(logits, wanted, rtol=1e-10, atol=1e-11)
    logits.square().sum().backward()
    wanted.square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad.abs().max() > 0, name
        torch.testing.assert_close(p.grad, state[name].grad, rtol=1e-8, atol=1e-9, msg=name)


def test_float32_networks_stay_close_to_the_naive_float64_version():
    cfg = CONFIGS["deep"]
    model, z = build(StyleGenerator, cfg, torch.float32), noise(3, cfg.latent)
    wanted = naive.generator({k: v.double() for k, v in model.state_dict().items()}, cfg, z, noises(model, 3))
    x = model(z.float(), noise=[eps.float() for eps in noises(model, 3)])
    assert ((x - wanted).abs() / wanted.abs().clamp(min=1)).max() < 1e-5


def test_places_of_styles_and_widths_follow_from_the_side():
    cfg = CONFIGS["deep"]
    assert sides(cfg) == [4, 8, 16, 32] and [width(cfg, s) for s in sides(cfg)] == [8, 8, 6, 3]
    assert build(StyleGenerator, cfg).n_styles == 2 * 5 - 2
    with torch.device("meta"):  # as published for FFHQ at 1024: 30.4 and 29.0 million, 18 places
        model = StyleGAN(PRESETS["ffhq-1024"])
    assert model.generator.n_styles == 18
    assert sum(p.numel() for p in model.generator.parameters()) == 30_370_060
    assert sum(p.numel() for p in model.discriminator.parameters()) == 29_012_513


def test_truncation_at_zero_gives_the_picture_of_the_mean_style_for_every_z():
    model = build(StyleGenerator, CONFIGS["colour"])
    x = model(noise(4, 6), truncation=0.0, noise="fixed")
    mean = model.synthesis(model.mapping.mean_style.expand(1, model.n_styles, -1), "fixed")
    torch.testing.assert_close(x, mean.expand(4, -1, -1, -1))
    torch.testing.assert_close(model(noise(4, 6), truncation=1.0, noise="fixed"), model(noise(4, 6), noise="fixed"))


def test_truncation_keeps_its_share_of_the_distance_up_to_the_cutoff():
    model, z = build(StyleGenerator, CONFIGS["grey"]), noise(4, 6)
    mean, full = model.mapping.mean_style, model.styles(z)
    near = model.styles(z, truncation=0.3, cutoff=2)
    torch.testing.assert_close(near[:, :2] - mean, 0.3 * (full[:, :2] - mean))
    assert torch.equal(near[:, 2:], full[:, 2:])


def test_mixing_at_the_borders_gives_the_pure_pictures():
    model = build(StyleGenerator, CONFIGS["grey"])
    a, b = model.styles(noise(3, 6)), model.styles(noise(3, 6, seed=1))
    assert torch.equal(mix_styles(a, b, 0), b) and torch.equal(mix_styles(a, b, model.n_styles), a)
    picture = lambda w: model.synthesis(w, "fixed")
    pure_a, pure_b = picture(a), picture(b)
    middle = picture(mix_styles(a, b, 3))
    assert (middle - pure_a).abs().max() > 1e-3 and (middle - pure_b).abs().max() > 1e-3
    each = mix_styles(a, b, torch.tensor([0, 3, model.n_styles]))
    torch.testing.assert_close(picture(each), torch.stack([pure_b[0], middle[1], pure_a[2]]))


def test_coarse_styles_alone_reach_the_first_sides():
    """A style changes nothing before its place: the picture of a fine change is the same after it is averaged away."""
    model, w = build(StyleGenerator, CONFIGS["grey"]), noise(1, 6, 5)
    changed = w.clone()
    changed[:, -1] += 1.0  # enters the last to_rgb only
    grey = dict(model.synthesis.named_parameters())
    last = grey["to_rgb.2.weight"]
    before = model.synthesis(w, "none")
    with torch.no_grad():
        last.zero_()
    torch.testing.assert_close(model.synthesis(w, "none"), model.synthesis(changed, "none"))
    assert (before - model.synthesis(w, "none")).abs().max() > 1e-3


def test_styles_depend_on_the_direction_of_z_alone():
    model, z = build(StyleGenerator, CONFIGS["grey"]), noise(3, 6)
    torch.testing.assert_close(model.mapping(7 * z), model.mapping(z), atol=1e-6, rtol=1e-6)


def test_mean_style_follows_the_moving_mean_in_closed_form():
    model = build(StyleGenerator, StyleGANConfig(**SMALL, mean_decay=0.9))
    start, w = model.mapping.mean_style.clone(), noise(8, 5)
    for _ in range(5):
        model.mapping.track(w)
    torch.testing.assert_close(model.mapping.mean_style, 0.9**5 * start + (1 - 0.9**5) * w.mean(0))


def test_noise_is_drawn_anew_or_fixed_or_absent():
    model, z = build(StyleGenerator, CONFIGS["grey"]), noise(2, 6)
    draw = lambda seed: model(z, generator=seeded(seed))
    assert torch.equal(draw(0), draw(0)) and not torch.equal(draw(0), draw(1))
    assert torch.equal(model(z, noise="fixed"), model(z, noise="fixed"))
    absent = [torch.zeros(1, 1, conv.side, conv.side, dtype=z.dtype) for conv in model.synthesis.convs]
    torch.testing.assert_close(model(z, noise="none"), model(z, noise=absent))
    assert not torch.allclose(model(z, noise="none"), model(z, noise="fixed"))


def test_clamp_bounds_what_every_layer_gives():
    cfg = StyleGANConfig(**SMALL, clamp=0.25)
    generator, discriminator, seen = build(StyleGenerator, cfg), build(StyleDiscriminator, cfg), []
    for module in [*generator.synthesis.convs, *generator.synthesis.to_rgb]:
        module.register_forward_hook(lambda m, args, y: seen.append(y.abs().max().item()))
    generator(noise(2, 6))
    assert len(seen) == 8 and max(seen) == 0.25
    loose = build(StyleDiscriminator, CONFIGS["grey"])
    assert not torch.allclose(discriminator(pictures(cfg)), loose(pictures(cfg)))


def test_half_precision_keeps_pictures_and_logits_in_float32():
    cfg = CONFIGS["grey"]
    g, d = build(StyleGenerator, cfg, torch.float32), build(StyleDiscriminator, cfg, torch.float32)
    z, x = noise(4, 6, dtype=torch.float32), pictures(cfg, dtype=torch.float32)
    exact_x, exact = g(z, noise="fixed"), d(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded_x, rounded = g(z, noise="fixed"), d(x)
    assert rounded_x.dtype == rounded.dtype == torch.float32 and not torch.equal(rounded_x, exact_x)
    torch.testing.assert_close(rounded_x, exact_x, atol=0.15, rtol=0.05)
    torch.testing.assert_close(rounded, exact, atol=0.15, rtol=0.05)


def test_samples_repeat_with_their_generator_and_come_in_batches():
    model = build(StyleGenerator, CONFIGS["colour"], torch.float32).eval()
    draw = lambda seed: list(sample(model, 5, truncation=0.7, batch=2, generator=seeded(seed)))
    first = draw(0)
    assert [len(x) for x in first] == [2, 2, 1] and not first[0].requires_grad
    assert torch.equal(torch.cat(first), torch.cat(draw(0))) and not torch.equal(first[0], draw(1)[0])


def test_samples_of_the_game_repeat_with_their_generator_noise_and_all():
    model = build(StyleGAN, CONFIGS["grey"])
    x = model.sample(3, generator=seeded(1))
    assert torch.equal(x, model.sample(3, generator=seeded(1))) and not x.requires_grad
    assert torch.equal(x, next(sample(model.generator, 3, generator=seeded(1))))
    assert torch.equal(x, model.sample(3, network=model.generator, generator=seeded(1)))
    assert not torch.equal(x, model.sample(3, generator=seeded(2)))


# ---- training


def test_path_length_of_a_linear_generator_is_that_of_its_matrix():
    """x = A w has J = A, so that the length is the norm of A^T y, with the same y."""
    a, w = noise(2 * 4 * 4, 5), noise(3, 1, 5, seed=1).requires_grad_()
    x = (w[:, 0] @ a.T).view(3, 2, 4, 4)
    lengths = path_lengths(x, w, generator=seeded(7))
    y = torch.randn(3, 2, 4, 4, generator=seeded(7), dtype=torch.float64).flatten(1) / 4
    torch.testing.assert_close(lengths, (y @ a).norm(dim=1))


def test_path_lengths_average_the_squares_over_places_and_have_the_expectation_of_the_paper():
    """With y standard normal over sqrt(H W), E length^2 is the squared Frobenius norm of A over H W (and over L)."""
    a, w = noise(2, 16, 3), torch.zeros(20_000, 2, 3, dtype=torch.float64, requires_grad=True)
    x = torch.einsum("ldk,blk->bd", a, w).view(-1, 1, 4, 4)
    squares = path_lengths(x, w, generator=seeded()).square().detach()
    expected = a.square().sum() / 16 / 2
    assert abs(squares.mean() - expected) < 4 * squares.std() / 20_000**0.5


def test_penalty_of_path_lengths_has_a_gradient_in_closed_form():
    """For x = c w in one dimension the length is c abs(y), and the penalty (c abs(y) - a)^2."""
    c = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    w = torch.ones(4, 1, 1, dtype=torch.float64, requires_grad=True)
    lengths = path_lengths((c * w).view(4, 1, 1, 1), w, generator=seeded(3))
    y = torch.randn(4, 1, 1, 1, generator=seeded(3), dtype=torch.float64).flatten().abs()
    (lengths - 0.4).square().mean().backward()
    torch.testing.assert_close(c.grad, (2 * (1.5 * y - 0.4) * y).mean())


def test_lazy_adam_moves_as_far_in_a_round_as_an_eager_one():
    model = torch.nn.Linear(2, 2)
    opt = lazy_adam(model, 0.1, every=16, betas=(0.5, 0.99))
    c = 16 / 17
    assert opt.defaults["lr"] * 17 == pytest.approx(0.1 * 16)
    assert opt.defaults["betas"] == pytest.approx((0.5**c, 0.99**c)) and opt.defaults["betas"][1] ** 17 < 0.99**15.99


def test_drawn_styles_change_at_the_crossover():
    model = build(StyleGenerator, CONFIGS["grey"])
    z, z2 = noise(3, 6), noise(3, 6, seed=1)
    w, styles = draw_styles(model, z, z2, torch.tensor([1, 4, 6]))
    w2 = model.mapping(z2)
    torch.testing.assert_close(w, model.mapping(z))
    for i, crossover in enumerate([1, 4, 6]):
        torch.testing.assert_close(styles[i], torch.cat([w[i].expand(crossover, -1), w2[i].expand(6 - crossover, -1)]))


def game(cfg=CONFIGS["grey"], dtype=torch.float32, **settings):
    torch.manual_seed(0)
    model = StyleGAN(cfg).to(dtype)
    every = {"r1_every": 2, "path_every": 2} | settings
    opt_g, opt_d = lazy_adam(model.generator, every=every["path_every"]), lazy_adam(model.discriminator)
    return model, stylegan_step(model, opt_g, opt_d, generator=seeded(), **every)


class Recorder:
    """An optimiser that changes nothing and notes whose gradients it was given."""

    def __init__(self, network):
        self.network, self.param_groups, self.seen = network, [{"params": list(network.parameters())}], []

    def step(self):
        self.seen.append({n for n, p in self.network.named_parameters() if p.grad is not None and p.grad.abs().max()})

    def zero_grad(self, set_to_none=True):
        self.network.zero_grad(set_to_none)


def test_every_parameter_has_a_gradient_from_its_own_update_and_none_from_the_other():
    torch.manual_seed(0)
    model = StyleGAN(CONFIGS["colour"])
    randomise(model)
    opt_g, opt_d = Recorder(model.generator), Recorder(model.discriminator)
    for i, net in enumerate((opt_g, opt_d)):  # before each update the other network must be untouched
        other = (opt_d, opt_g)[i]
        plain = net.step
        net.step = lambda plain=plain, other=other: (
            plain(),
            other.seen.append(None) if any(p.grad is not None for p in other.network.parameters()) else None,
        )
    step = stylegan_step(model, opt_g, opt_d, r1_every=1, path_every=1)
    step((pictures(CONFIGS["colour"], dtype=torch.float32), None))
    assert all(p.grad is None for p in model.parameters())
    (main_d, r1_d), (main_g, path_g) = opt_d.seen, opt_g.seen
    names_d, names_g = ({n for n, _ in net.named_parameters()} for net in (model.discriminator, model.generator))
    assert main_d == names_d and main_g == names_g
    # A constant added to the logit has no gradient in x, nor have biases where all is piecewise linear from there on
    assert r1_d == names_d - {"conv.bias", "fc.bias", "out.bias"}
    assert path_g == names_g - {f"synthesis.to_rgb.{i}.bias" for i in range(3)}  # constants added to the picture


def test_lazy_penalties_are_paid_when_they_are_due_and_not_otherwise():
    model, step = game(r1_every=2, path_every=3)
    x = pictures(model.cfg, dtype=torch.float32)
    rows = [step((x, None)) for _ in range(7)]
    changed = lambda k: [i for i in range(1, 7) if rows[i][k] != rows[i - 1][k]]
    assert changed("r1") == [2, 4, 6] and changed("path") == changed("mean_length") == [3, 6]
    assert rows[0]["r1"] > 0 and rows[0]["path"] > 0
    assert rows[0]["mean_length"] > 0


def test_step_without_penalties_pays_none():
    model, step = game(r1=0.0, path=0.0)
    logs = step(pictures(model.cfg, dtype=torch.float32))
    assert logs["r1"] == logs["path"] == logs["mean_length"] == 0


def test_penalties_change_the_weights_as_their_weight_says():
    """One update of the discriminator by SGD at a rate so small that everything is linear."""
    grads = {}
    for r1 in (0.0, 1.0, 3.0):
        torch.manual_seed(0)
        model = StyleGAN(CONFIGS["grey"]).double()
        start = model.discriminator.fc.weight.detach().clone()
        opts = [torch.optim.SGD(net.parameters(), lr=1e-7) for net in (model.generator, model.discriminator)]
        stylegan_step(model, *opts, r1=r1, r1_every=8, path=0, generator=seeded())(pictures(model.cfg))
        grads[r1] = (start - model.discriminator.fc.weight.detach()) / 1e-7
    torch.testing.assert_close(grads[3.0] - grads[0.0], 3 * (grads[1.0] - grads[0.0]), rtol=1e-3, atol=1e-5)
    from genai_utils.gan.losses import r1_penalty

    torch.manual_seed(0)
    model = StyleGAN(CONFIGS["grey"]).double()
    (own,) = torch.autograd.grad(
        8 * 0.5 * r1_penalty(model.discriminator, pictures(model.cfg)), model.discriminator.fc.weight)  # fmt: skip
    torch.testing.assert_close(grads[1.0] - grads[0.0], own, rtol=1e-2, atol=1e-5)


def test_discriminator_learns_to_tell_a_batch_from_fakes():
    torch.manual_seed(0)
    model = StyleGAN(CONFIGS["grey"])
    opts = torch.optim.SGD(model.generator.parameters(), lr=0.0), lazy_adam(model.discriminator, 2e-2)
    step, x = stylegan_step(model, *opts, r1=0, path=0), pictures(model.cfg, n=8, dtype=torch.float32).sign()
    rows = [step(x)["loss_d"].item() for _ in range(25)]
    assert rows[-1] < 0.5 * rows[0]


def test_generator_learns_to_please_a_discriminator_that_stands_still():
    torch.manual_seed(0)
    model = StyleGAN(CONFIGS["grey"])
    opt_g = lazy_adam(model.generator, 1e-2)
    step = stylegan_step(model, opt_g, torch.optim.SGD(model.discriminator.parameters(), lr=0.0), r1=0, path=0)
    x = pictures(model.cfg, n=4, dtype=torch.float32)
    rows = [step(x)["loss_g"].item() for _ in range(25)]
    assert rows[-1] < 0.7 * rows[0]


def train(steps, checkpoint, total=8, draws=None):
    """Train up to `steps` of a run of `total`; return all tensors of its state."""
    seed_all(0)
    images = torch.randint(256, (12, 1, 16, 16), dtype=torch.uint8, generator=seeded(1))
    data = ImageSet("noise", images, torch.zeros(12, dtype=torch.int64), ("noise",))
    model = StyleGAN(CONFIGS["grey"])
    ema = EMA(model.generator, 0.9)
    step = stylegan_step(
        model, lazy_adam(model.generator, every=2), lazy_adam(model.discriminator, every=3), r1_every=3, path_every=2,
        ema=ema, generator=draws)  # fmt: skip
    rows = fit(step, data.batches(4, seed=0), steps=steps, every=4, checkpoint=checkpoint, progress=False)
    return {**model.state_dict(), **{f"ema.{k}": v for k, v in ema.model.state_dict().items()}}, rows


@pytest.mark.parametrize("own", [False, True], ids=["global generator", "own generator"])
def test_resumed_training_ends_with_the_same_bits(own, tmp_path):
    draws = lambda: seeded(5) if own else None
    whole, rows = train(8, None, draws=draws())
    half = {k: v.clone() for k, v in train(4, tmp_path / "run.pt", draws=draws())[0].items()}
    resumed, rows_resumed = train(8, tmp_path / "run.pt", draws=draws())
    assert rows == rows_resumed
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[k], resumed[k]) for k in whole)
    moved = [k for k in whole if not k.endswith("fixed_noise")]  # the rest are the average and the weights
    assert not any(torch.equal(whole[k], half[k]) for k in moved)


def test_checkpoint_of_other_penalties_is_refused(tmp_path):
    images = torch.zeros(12, 1, 16, 16, dtype=torch.uint8)
    data = ImageSet("black", images, torch.zeros(12, dtype=torch.int64), ("black",))
    for r1 in (1.0, 2.0):
        model, step = game(r1=r1)
        run = lambda step=step: fit(step, data.batches(4, seed=0), steps=1, checkpoint=tmp_path / "x", progress=False)
        if r1 == 2.0:
            with pytest.raises(ValueError, match="r1 is 1.0 in the checkpoint, 2.0 now"):
                run()
        else:
            run()


def test_clock_goes_on_where_it_was():
    clock, other = Clock(torch.device("cpu")), Clock(torch.device("cpu"))
    clock.steps, clock.values["path"] = 7, torch.tensor(2.5)
    other.load_state_dict(clock.state_dict())
    assert other.steps == 7 and other.values["path"] == 2.5


# ---- bad input


@pytest.mark.parametrize("cfg", PRESETS.values(), ids=PRESETS)
def test_presets_build_and_survive_json(cfg):
    assert from_json(StyleGANConfig, to_json(cfg)) == cfg
    with torch.device("meta"):
        StyleGAN(cfg)


@pytest.mark.parametrize("wrong, message", [
    ({"side": 24}, "power of two, at least 8, got 24"), ({"side": 4}, "at least 8, got 4"),
    ({"channels": 0, "latent": 0}, "{'channels': 0, 'latent': 0}"), ({"base": 8}, "base must be at least the side, 16"),
    ({"mean_decay": 1.0}, r"mean_decay must be in \[0, 1\), got 1.0"), ({"clamp": 0.0}, "clamp must be above 0"),
])  # fmt: skip
def test_config_that_cannot_be_built_is_refused(wrong, message):
    for kind in (StyleGenerator, StyleDiscriminator):
        with pytest.raises(ValueError, match=message):
            kind(StyleGANConfig(**(SMALL | wrong)))


def test_impossible_input_is_refused():
    g, d = build(StyleGenerator, CONFIGS["grey"]), build(StyleDiscriminator, CONFIGS["grey"])
    z, x = noise(4, 6), pictures(CONFIGS["grey"])
    for call, message in [
        (lambda: g(z[:, :5]), r"z must be \(B, 6\), got \(4, 5\)"),
        (lambda: g(z, truncation=1.2), r"truncation must be in \[0, 1\], got 1.2"),
        (lambda: g.styles(z, cutoff=7), r"cutoff must be in \[0, 6\], got 7"),
        (lambda: g(z, noise="white"), "noise must be one of random, fixed, none, or tensors, got 'white'"),
        (lambda: g(z, noise=noises(g, 4)[:-1]), "noise must be 5 tensors .* with sides 4x4, 8x8, 8x8, 16x16, 16x16"),
        (lambda: g.synthesis(noise(4, 5, 5)), r"w must be \(B, 6, 5\), got \(4, 5, 5\)"),
        (lambda: d(x[..., :8]), r"x must be \(B, 1, 16, 16\), got \(4, 1, 16, 8\)"),
        (lambda: d(x.expand(-1, 3, -1, -1)), r"x must be \(B, 1, 16, 16\), got \(4, 3, 16, 16\)"),
        (lambda: d(torch.cat([x, x[:1]])), "a batch of 5 does not divide into groups of 4"),
        (lambda: next(sample(g, 0)), "n and batch must be at least 1, got n=0"),
        (lambda: game(r1=-1.0), "need r1 >= 0.*got r1=-1.0"),
        (lambda: game(mixing=1.5), "mixing=1.5"),
        (lambda: game(path_shrink=0), "{'path_shrink': 0}"),
        (lambda: lazy_adam(d, every=0), "{'every': 0}"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
