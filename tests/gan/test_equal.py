import math

import pytest
import torch
from torch.nn import functional as F

from genai_utils.gan.equal import EqualConv2d, EqualLinear, minibatch_std


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("lr_mul", [1.0, 0.01])
def test_linear_is_the_plain_layer_of_scaled_weights(lr_mul):
    layer = EqualLinear(5, 3, gain=1.7, lr_mul=lr_mul).double()
    with torch.no_grad():
        layer.bias.copy_(normal(3))
    x = normal(2, 4, 5)
    expected = F.linear(x, layer.weight * 1.7 * lr_mul / math.sqrt(5), layer.bias * lr_mul)
    torch.testing.assert_close(layer(x), expected)
    without = EqualLinear(5, 3, bias=False).double()
    torch.testing.assert_close(without(x), F.linear(x, without.weight / math.sqrt(5)))


@pytest.mark.parametrize("stride, padding, kernel", [(1, 0, 1), (1, 1, 3), (2, 1, 4)])
def test_convolution_is_the_plain_one_of_scaled_weights(stride, padding, kernel):
    layer = EqualConv2d(4, 6, kernel, stride=stride, padding=padding, gain=0.5).double()
    with torch.no_grad():
        layer.bias.copy_(normal(6))
    x = normal(2, 4, 8, 8)
    expected = F.conv2d(x, layer.weight * 0.5 / math.sqrt(4 * kernel**2), layer.bias, stride, padding)
    torch.testing.assert_close(layer(x), expected)
    assert EqualConv2d(4, 6, 3, bias=False).bias is None


@pytest.mark.parametrize("lr_mul", [1.0, 0.1])
def test_output_has_the_variance_of_the_gain_whatever_the_width(lr_mul):
    torch.manual_seed(0)
    for width in (16, 512):
        y = EqualLinear(width, 256, gain=3.0, lr_mul=lr_mul).double()(normal(64, width))
        assert y.var().item() == pytest.approx(9, rel=0.15)
    y = EqualConv2d(32, 64, 3, gain=3.0).double()(normal(8, 32, 8, 8))
    assert y.var().item() == pytest.approx(9, rel=0.15)


def test_stored_weights_are_of_unit_variance_over_lr_mul_so_that_adam_moves_them_equally():
    torch.manual_seed(0)
    assert EqualConv2d(64, 64, 3).weight.std().item() == pytest.approx(1, rel=0.02)
    assert EqualLinear(200, 200, lr_mul=0.1).weight.std().item() == pytest.approx(10, rel=0.02)
    assert not EqualLinear(4, 4).bias.any() and not EqualConv2d(4, 4, 3).bias.any()


def test_weight_in_use_moves_at_the_speed_of_lr_mul_under_adam():
    """One step of Adam moves a stored weight by lr; what is used moves by lr gain lr_mul / sqrt(inputs)."""
    for lr_mul in (1.0, 0.01):
        layer = EqualLinear(16, 4, gain=2.0, lr_mul=lr_mul).double()
        before = layer.weight.detach().clone()
        opt = torch.optim.Adam(layer.parameters(), lr=1e-3, eps=1e-30)
        layer(normal(8, 16)).sum().backward()
        opt.step()
        moved = (layer.weight - before).abs() * layer.scale
        torch.testing.assert_close(moved, torch.full_like(moved, 1e-3 * 2.0 * lr_mul / 4))


@pytest.mark.parametrize("b, group, channels", [(8, 4, 1), (8, 2, 3), (6, 6, 2), (3, 4, 1), (4, 1, 1)])
def test_minibatch_std_is_the_naive_loop(b, group, channels):
    x, size = normal(b, 6, 2, 3), min(group, b)
    y = minibatch_std(x, group, channels)
    assert y.shape == (b, 6 + channels, 2, 3) and torch.equal(y[:, :6], x)
    n_groups = b // size
    for n in range(b):
        members = [m for m in range(b) if m % n_groups == n % n_groups]
        assert len(members) == size
        for f in range(channels):
            values = []
            for c in range(f * 6 // channels, (f + 1) * 6 // channels):
                for i in range(2):
                    for j in range(3):
                        v = [x[m, c, i, j].item() for m in members]
                        mean = sum(v) / size
                        values.append(math.sqrt(sum((a - mean) ** 2 for a in v) / size + 1e-8))
            expected = torch.full((2, 3), sum(values) / len(values), dtype=torch.float64)
            torch.testing.assert_close(y[n, 6 + f], expected)


def test_repeated_image_is_given_away():
    x = normal(1, 3, 4, 4).expand(4, -1, -1, -1)
    assert minibatch_std(x)[:, 3].max() < 2e-4 < 0.3 < minibatch_std(normal(4, 3, 4, 4))[:, 3].min()


def test_gradient_of_minibatch_std_is_finite_where_images_are_alike():
    x = torch.ones(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    minibatch_std(x)[:, 2].sum().backward()
    assert x.grad.isfinite().all()


def test_half_precision_keeps_its_type_and_the_small_constant():
    x = torch.zeros(4, 2, 3, 3, dtype=torch.float16)
    y = minibatch_std(x)
    assert y.dtype == torch.float16 and y[0, 2, 0, 0].item() == pytest.approx(1e-4, rel=1e-2)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="{'outputs': 0}"):
        EqualLinear(3, 0)
    with pytest.raises(ValueError, match="{'inputs': 0, 'kernel': 0}"):
        EqualConv2d(0, 3, 0)
    with pytest.raises(ValueError, match="lr_mul must be above 0, got 0"):
        EqualLinear(3, 3, lr_mul=0)
    with pytest.raises(ValueError, match="a batch of 6 does not divide into groups of 4"):
        minibatch_std(normal(6, 4, 2, 2))
    with pytest.raises(ValueError, match="4 channels do not divide into 3 statistics"):
        minibatch_std(normal(4, 4, 2, 2), channels=3)
