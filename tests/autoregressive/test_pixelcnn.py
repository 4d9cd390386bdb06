import itertools
import math

import pytest
import torch

from genai_utils.autoregressive.pixelcnn import (
    PRESETS, GatedLayer, MaskedConv2d, PixelCNN, PixelCNNConfig, from_levels, mixture_log_prob, mixture_probabilities,
    pixelcnn_loss, receptive_field, to_levels,
)  # fmt: skip
from genai_utils.core import from_json, to_json
from genai_utils.data.sets import to_floats
from genai_utils.metrics import bits_per_dim
from genai_utils.training import adamw, make_step

SMALL = {"side": 5, "levels": 4, "width": 6, "n_layers": 3, "first_kernel": 3, "n_mixtures": 3}
CONFIGS = {
    "gated-softmax-classes": PixelCNNConfig(**SMALL, output="softmax", n_classes=3),
    "gated-logistic": PixelCNNConfig(**SMALL | {"first_kernel": 5}),
    "masked-softmax": PixelCNNConfig(**SMALL, output="softmax", stack="masked"),
    "masked-logistic-classes": PixelCNNConfig(**SMALL | {"kernel": 5, "n_layers": 2}, stack="masked", n_classes=3),
}


def build(cfg, dtype=torch.float64, seed=0):
    """A model whose answers are far from uniform: every weight is drawn anew, and large."""
    torch.manual_seed(seed)
    model = PixelCNN(cfg).to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.5 if p.ndim == 4 else 0.3)
    return model.eval()


def batch(cfg, n=4, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    k = torch.randint(cfg.levels, (n, 1, cfg.side, cfg.side), generator=g)
    return from_levels(k, cfg.levels, dtype), torch.arange(n) % cfg.n_classes if cfg.n_classes else None


def configs():
    return pytest.mark.parametrize("cfg", CONFIGS.values(), ids=CONFIGS)


def offsets_within_reach(cfg, depth):
    """Offsets (row, column) of the pixels that reach a pixel after `depth` layers, from the papers' pictures alone."""
    first, m = cfg.first_kernel // 2, cfg.kernel // 2
    if cfg.stack == "gated":  # a rectangle above, and a stretch to the left
        R = first + (depth - 1) * m
        return {(-a, b) for a in range(1, R + 1) for b in range(-R, R + 1)} | {(0, -b) for b in range(1, R + 1)}

    def kernel(size, itself):
        above = {(-a, b) for a in range(1, size + 1) for b in range(-size, size + 1)}
        return above | {(0, -b) for b in range(0 if itself else 1, size + 1)}

    reached = kernel(first, itself=False)
    for _ in range(depth - 1):
        reached = {(a + c, b + d) for a, b in reached for c, d in kernel(m, itself=True)}
    return reached


def expected_field(cfg, depth, i, j):
    field = torch.zeros(cfg.side, cfg.side, dtype=torch.bool)
    for a, b in offsets_within_reach(cfg, depth):
        if 0 <= i + a < cfg.side and 0 <= j + b < cfg.side:
            field[i + a, j + b] = True
    return field


# What the network sees


@configs()
def test_params_have_their_shape_and_gradient_reaches_every_parameter(cfg):
    model = build(cfg)
    x, labels = batch(cfg)
    assert model(x, labels).shape == (4, cfg.levels if cfg.output == "softmax" else 9, 5, 5)
    pixelcnn_loss(model, (x, labels))[0].backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


@configs()
def test_pixel_changes_the_params_of_those_that_it_reaches_and_of_no_other(cfg):
    cfg = PixelCNNConfig(**{**vars(cfg), "side": 8, "width": 24})
    model = build(cfg)
    x, labels = batch(cfg, n=1)
    params = model(x, labels)[0]
    for i, j in itertools.product(range(8), range(8)):
        changed = x.clone()
        changed[0, 0, i, j] = -x[0, 0, i, j]  # four levels: none is its own negative
        difference = (model(changed, labels)[0] - params).abs().amax(0)
        reached = torch.tensor([
            [(i - r, j - c) in offsets_within_reach(cfg, cfg.n_layers) for c in range(8)] for r in range(8)
        ])  # fmt: skip
        assert torch.equal(difference[~reached], torch.zeros_like(difference[~reached])), f"pixel {i}, {j} leaks"
        assert (difference[reached] > 1e-9).all(), f"pixel {i}, {j} is not seen"
        assert not reached.flatten()[: 8 * i + j + 1].any()


@pytest.mark.parametrize("stack", ["gated", "masked"])
@pytest.mark.parametrize("kernels", [(3, 3), (7, 3), (5, 5)])
def test_receptive_field_is_where_theory_says(stack, kernels):
    cfg = PixelCNNConfig(side=15, stack=stack, width=4, n_layers=4, first_kernel=kernels[0], kernel=kernels[1])
    for depth, i, j in [(1, 9, 7), (2, 9, 7), (4, 9, 7), (3, 14, 0), (3, 2, 14), (1, 0, 0)]:
        assert torch.equal(receptive_field(cfg, depth, i, j), expected_field(cfg, depth, i, j)), (depth, i, j)


def test_gated_stack_has_no_blind_spot_and_the_masked_one_misses_a_wedge_above_right():
    fields = {
        stack: receptive_field(PixelCNNConfig(side=9, stack=stack, first_kernel=3, n_layers=9), 9, 8, 4)
        for stack in ("gated", "masked")
    }
    past = torch.arange(81).view(9, 9) < 8 * 9 + 4
    assert torch.equal(fields["gated"], past)
    blind = past & ~fields["masked"]
    rows, columns = torch.meshgrid(torch.arange(9), torch.arange(9), indexing="ij")
    assert torch.equal(blind, (rows < 8) & (columns - 4 > 8 - rows))  # one column to the right for each row up
    assert blind.sum() == 6  # three in the row above, two, one


def test_receptive_field_needs_no_trained_model_and_leaves_one_alone():
    model = build(CONFIGS["gated-softmax-classes"])
    with torch.no_grad():
        field = receptive_field(model, 2, 4, 2)
    assert torch.equal(field, receptive_field(model.cfg, 2, 4, 2)) and field.dtype == torch.bool
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", ["gated-softmax-classes", "masked-logistic-classes"])
def test_label_changes_the_params_of_every_pixel(name):
    model = build(CONFIGS[name])
    x, labels = batch(model.cfg)
    assert ((model(x, labels) - model(x, (labels + 1) % 3)).abs().amax((0, 1)) > 1e-6).all()


def test_network_sees_levels_and_nothing_finer():
    model = build(CONFIGS["gated-logistic"])
    x, _ = batch(model.cfg)
    nearly = (x + 0.2 * (torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) - 0.5)).clamp(-1, 1)
    assert torch.equal(model(nearly), model(x)) and torch.equal(model.log_prob(nearly), model.log_prob(x))


# Slow references, pixel by pixel


def inside(x, r, c):
    """x (d, H, W) at row r and column c; zeros beyond the border."""
    return x[:, r, c] if 0 <= r < x.shape[1] and 0 <= c < x.shape[2] else torch.zeros_like(x[:, 0, 0])


def slow_gated_layer(layer, v, h, label, first):
    """[GATED] Fig. 2 for one picture: v, h (d, H, W)."""
    Wv, Wh = layer.vertical.weight, layer.horizontal.weight[:, :, 0]
    Wl, Wo = layer.link.weight[:, :, 0, 0], layer.out.weight[:, :, 0, 0]
    H, D, half = v.shape[1], len(Wo), Wv.shape[3] // 2
    v_out, h_out = torch.zeros(2, D, H, H, dtype=v.dtype)
    for r, c in itertools.product(range(H), range(H)):
        above = layer.vertical.bias + layer.vertical_classes.table.weight[label]
        for up in range(1 if first else 0, half + 1):  # the row `up` rows above is the kernel's last but `up`
            for side in range(-half, half + 1):
                tap = Wv[:, :, Wv.shape[2] - 1 - up + (1 if first else 0), half + side]
                above = above + tap @ inside(v, r - up, c + side)
        total = layer.link.bias + Wl @ above + layer.horizontal_classes.table.weight[label]
        for back in range(1 if first else 0, half + 1):
            total = total + Wh[:, :, Wh.shape[2] - 1 - back + (1 if first else 0)] @ inside(h, r, c - back)
        v_out[:, r, c] = above[:D].tanh() * above[D:].sigmoid()
        h_out[:, r, c] = Wo @ (total[:D].tanh() / (1 + (-total[D:]).exp())) + (0 if first else h[:, r, c])
    return v_out, h_out


@pytest.mark.parametrize("kernels", [(3, 3), (5, 3), (3, 5)])
@torch.no_grad()
def test_gated_layers_equal_loops_over_pixels(kernels):
    cfg = PixelCNNConfig(**SMALL | {"first_kernel": kernels[0], "kernel": kernels[1], "n_layers": 2}, n_classes=3)
    model = build(cfg)
    x, labels = batch(cfg, n=2)
    v, h = x, x
    for layer, first in zip(model.layers, (True, False)):
        assert isinstance(layer, GatedLayer)
        slow = [slow_gated_layer(layer, v[b], h[b], labels[b], first) for b in range(2)]
        v, h = layer(v, h, labels)
        torch.testing.assert_close(v, torch.stack([s[0] for s in slow]), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(h, torch.stack([s[1] for s in slow]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind, size", [("A", 3), ("B", 3), ("A", 5), ("B", 5)])
@torch.no_grad()
def test_masked_convolution_equals_a_sum_over_the_pixels_before(kind, size):
    torch.manual_seed(0)
    conv = MaskedConv2d(kind, 2, 3, size).double()
    x, half = torch.randn(1, 2, 4, 4, dtype=torch.float64), size // 2
    out = conv(x)
    for r, c in itertools.product(range(4), range(4)):
        total = conv.bias.clone()
        for a, b in itertools.product(range(-half, half + 1), range(-half, half + 1)):
            if a < 0 or (a == 0 and b < 0) or (a == 0 and b == 0 and kind == "B"):
                total += conv.weight[:, :, half + a, half + b] @ inside(x[0], r + a, c + b)
        torch.testing.assert_close(out[0, :, r, c], total, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_masked_layers_equal_loops_over_pixels():
    cfg = CONFIGS["masked-logistic-classes"]
    model = build(cfg)
    h, labels = batch(cfg, n=1)
    for layer, first in zip(model.layers, (True, False)):
        conv, out = layer.conv.weight, layer.out
        half, slow = conv.shape[2] // 2, torch.zeros(1, 6, 5, 5, dtype=torch.float64)
        for r, c in itertools.product(range(5), range(5)):
            total = layer.conv.bias + layer.classes.table.weight[labels[0]]
            for a, b in itertools.product(range(-half, 1), range(-half, half + 1)):
                if (a, b) < ((0, 0) if first else (0, 1)):
                    seen = inside(h[0], r + a, c + b)
                    total = total + conv[:, :, half + a, half + b] @ (seen if first else seen.clamp(min=0))
            slow[0, :, r, c] = out.weight[:, :, 0, 0] @ total.clamp(min=0) + out.bias + (0 if first else h[0, :, r, c])
        h = layer(h, labels)
        torch.testing.assert_close(h, slow, rtol=1e-12, atol=1e-12)


# Likelihoods


@pytest.mark.parametrize("output", ["softmax", "logistic"])
@pytest.mark.parametrize("stack", ["gated", "masked"])
@pytest.mark.parametrize("side, levels", [(3, 2), (2, 4)])
@torch.no_grad()
def test_probabilities_of_all_pictures_sum_to_one(output, stack, side, levels):
    sizes = SMALL | {"side": side, "levels": levels, "n_layers": 2, "width": 24}
    cfg = PixelCNNConfig(**sizes, output=output, stack=stack, n_classes=2)
    model = build(cfg)
    k = torch.tensor(list(itertools.product(range(levels), repeat=side**2))).view(-1, 1, side, side)
    x = from_levels(k, levels, torch.float64)
    for labels in (torch.zeros(len(x)).long(), torch.ones(len(x)).long(), None):
        log_p = model.log_prob(x, labels)
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12) and log_p.std() > 0.5


def test_log_prob_without_labels_is_the_average_over_the_classes():
    model = build(CONFIGS["gated-softmax-classes"])
    x, _ = batch(model.cfg)
    by_hand = sum(model.log_prob(x, torch.full((4,), y)).exp() / 3 for y in range(3)).log()
    torch.testing.assert_close(model.log_prob(x), by_hand)


@configs()
def test_loss_is_the_naive_sum_over_the_pixels(cfg):
    model, (x, labels) = build(cfg), batch(cfg)
    loss, logs = pixelcnn_loss(model, (x, labels))
    p, k = model.probabilities(model(x, labels)), to_levels(x, 4)
    naive = -sum(p[b, k[b, 0, i, j], i, j].log() for b in range(4) for i in range(5) for j in range(5)) / 4
    assert loss.item() == pytest.approx(naive.item(), rel=1e-9)
    assert logs["nll"].item() == loss.item()
    assert logs["bits_per_dim"].item() == pytest.approx(bits_per_dim(loss.item(), 25), rel=1e-12)


def test_labels_of_a_set_are_ignored_by_a_model_without_classes():
    model, (x, _) = build(CONFIGS["masked-softmax"]), batch(CONFIGS["masked-softmax"])
    assert torch.equal(pixelcnn_loss(model, (x, torch.arange(4)))[0], pixelcnn_loss(model, (x, None))[0])


@pytest.mark.parametrize("levels", [2, 4, 256])
def test_mixture_equals_a_sum_of_differences_of_distribution_functions(levels):
    g = torch.Generator().manual_seed(0)
    params = torch.randn(2, 9, dtype=torch.float64, generator=g)
    params[:, 6:] -= 1
    p = mixture_probabilities(params, levels)
    width = 2 / (levels - 1)
    for b in range(2):
        log_w, mu, log_s = params[b, :3].tolist(), params[b, 3:6].tolist(), params[b, 6:].tolist()
        total = sum(math.exp(w) for w in log_w)
        for k in range(levels):
            naive = 0
            for w, m, s in zip(log_w, mu, log_s):
                upper, lower = (1 / (1 + math.exp((m - (k + e) * width + 1) / math.exp(s))) for e in (0.5, -0.5))
                upper, lower = (1 if k == levels - 1 else upper), (0 if k == 0 else lower)
                naive += math.exp(w) / total * (upper - lower)
            assert p[b, k].item() == pytest.approx(naive, abs=1e-13)
            log_p = mixture_log_prob(params[b : b + 1], torch.tensor([k]), levels)
            assert log_p.item() == pytest.approx(math.log(naive), abs=1e-9)
    torch.testing.assert_close(p.sum(1), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-12)


def test_mixture_keeps_its_digits_far_from_every_logistic():
    params = torch.tensor([[0.0, 0.9, -7.0]], dtype=torch.float64)  # one narrow logistic near white
    k = torch.tensor([10])
    log_p = mixture_log_prob(params, k, 256).item()
    border = ((10.5 / 127.5 - 1) - 0.9) / math.exp(-7)  # upper border in scales: about -2000, where exp underflows
    assert log_p == pytest.approx(border + math.log1p(-math.exp(-2 / 255 * math.exp(7))), rel=1e-12)
    single = mixture_log_prob(params.float(), k, 256)
    assert single.item() == pytest.approx(log_p, rel=1e-5)
    narrower = torch.tensor([[0.0, 0.9, -200.0]], requires_grad=True)  # 1 / scale would be infinite
    log_p = mixture_log_prob(narrower, k, 256)
    log_p.backward()
    assert log_p.isfinite() and narrower.grad.isfinite().all()


def test_no_level_of_a_mixture_has_a_probability_below_zero():
    params = torch.randn(500, 30, generator=torch.Generator().manual_seed(0))
    params[:, 10:] -= 3  # narrow, far below white, whose share of a sum that rounding takes above 1 was negative
    assert mixture_probabilities(params, 256).min() >= 0


def test_mixture_of_any_shape_is_that_of_its_pixels():
    params = torch.randn(2, 9, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    k = torch.randint(16, (2, 3, 4), generator=torch.Generator().manual_seed(1))
    p, log_p = mixture_probabilities(params, 16), mixture_log_prob(params, k, 16)
    assert p.shape == (2, 16, 3, 4) and log_p.shape == (2, 3, 4)
    torch.testing.assert_close(p[:, :, 1, 2], mixture_probabilities(params[:, :, 1, 2], 16))
    torch.testing.assert_close(log_p[:, 1, 2], mixture_log_prob(params[:, :, 1, 2], k[:, 1, 2], 16))


@pytest.mark.parametrize("name", ["gated-softmax-classes", "gated-logistic"])
def test_params_of_single_pixels_are_those_of_the_picture(name):
    model = build(CONFIGS[name])
    h = torch.randn(2, 6, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.params(h[:, :, 3, 1]), model.params(h)[:, :, 3, 1])


@pytest.mark.parametrize("levels", [2, 4, 8, 16, 256])
def test_levels_come_back_and_stand_for_the_nearest_grey(levels):
    k = torch.arange(levels)
    x = from_levels(k, levels)
    assert torch.equal(to_levels(x, levels), k) and x[0] == -1 and x[-1] == 1
    fine = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    assert ((from_levels(to_levels(fine, levels), levels, fine.dtype) - fine).abs() <= 1 / (levels - 1) + 1e-12).all()
    assert torch.equal(to_levels(torch.tensor([-1.0, 1.0]), levels), torch.tensor([0, levels - 1]))


def test_levels_of_a_byte_are_the_byte():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_levels(to_floats(pixels), 256), pixels.long())


# Learning


@configs()
def test_one_batch_is_learnt(cfg):
    torch.manual_seed(0)
    cfg = PixelCNNConfig(**{**vars(cfg), "width": 16})
    model, (x, labels) = PixelCNN(cfg), batch(cfg, n=6, dtype=torch.float32)
    step = make_step(model, pixelcnn_loss, adamw(model, 1e-2))
    first = step((x, labels))["loss"]
    for _ in range(120):
        last = step((x, labels))["loss"]
    floor = math.log(6 if cfg.n_classes == 0 else 2)  # which of the six; a label leaves two
    assert last < 0.3 * first and last > 0.9 * floor


def test_logistics_begin_spread_over_all_levels():
    torch.manual_seed(0)
    model = PixelCNN(PixelCNNConfig(side=5, width=8, n_layers=2))
    x, _ = batch(model.cfg, n=50, dtype=torch.float32)
    with torch.no_grad():
        bits = pixelcnn_loss(model, (x, None))[1]["bits_per_dim"]
    assert 8 < bits < 8.5  # noise of 256 levels holds 8 bits, and no model can do with fewer


def test_autocast_returns_full_precision():
    model, (x, labels) = PixelCNN(CONFIGS["gated-softmax-classes"]), batch(CONFIGS["gated-softmax-classes"])
    with torch.autocast("cpu", torch.bfloat16):
        assert model(x.float(), labels).dtype == torch.float32


# Refusals


@pytest.mark.parametrize("cfg", PRESETS.values(), ids=PRESETS)
def test_presets_build_and_survive_json(cfg):
    assert from_json(PixelCNNConfig, to_json(cfg)) == cfg
    assert sum(p.numel() for p in PixelCNN(cfg).parameters()) > 0


@pytest.mark.parametrize("wrong, message", [
    ({"channels": 3}, "channels must be 1, got 3"), ({"levels": 3}, "2, 4, 8, 16 or 256, got 3"),
    ({"side": 0}, "{'side': 0}"), ({"width": 0, "n_layers": 0}, "{'width': 0, 'n_layers': 0}"),
    ({"kernel": 4}, "odd and at least 3, got {'kernel': 4}"), ({"first_kernel": 1}, "{'first_kernel': 1}"),
    ({"output": "normal"}, "output must be .* got 'normal'"), ({"stack": "both"}, "stack must be .* got 'both'"),
    ({"n_classes": -1}, "n_classes must be at least 0, got -1"), ({"n_mixtures": 0}, "{'n_mixtures': 0}"),
])  # fmt: skip
def test_config_that_cannot_be_built_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        PixelCNN(PixelCNNConfig(**(SMALL | wrong)))


def test_pictures_and_labels_that_do_not_fit_are_refused():
    model, (x, labels) = build(CONFIGS["gated-softmax-classes"]), batch(CONFIGS["gated-softmax-classes"])
    for wrong, message in [
        ((x[:, :, :4], labels), r"x must be \(B, 1, 5, 5\) floats, got \(4, 1, 4, 5\)"),
        ((x.long(), labels), r"got \(4, 1, 5, 5\) torch.int64"), ((x[:, 0], labels), r"got \(4, 5, 5\)"),
        ((x * 255, labels), r"in \[-1, 1\], got -?255"), ((x * math.nan, labels), "got nan"),
        ((x, None), r"takes labels in \[0, 3\), got none"), ((x, labels + 1), r"labels must be in \[0, 3\), got 3"),
        ((x, labels - 1), "got -1"), ((x, labels[:3]), r"labels must be \(4,\) int64"),
        ((x, labels.float()), "torch.float32"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            pixelcnn_loss(model, wrong)
    with pytest.raises(ValueError, match="labels in .* got none"):
        model(x)
    with pytest.raises(ValueError, match="takes no labels"):
        build(CONFIGS["masked-softmax"])(x, labels)


@pytest.mark.parametrize("wrong", [{"depth": 0}, {"depth": 4}, {"i": 5}, {"j": -1}])
def test_receptive_field_refuses_what_is_not_there(wrong):
    (name, value), asked = next(iter(wrong.items())), {"depth": 1, "i": 0, "j": 0} | wrong
    with pytest.raises(ValueError, match=f"depth in .1, 3.*{name}={value}"):
        receptive_field(CONFIGS["gated-softmax-classes"], **asked)
