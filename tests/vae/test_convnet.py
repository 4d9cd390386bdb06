import pytest
import torch
from torch.nn import functional as F

from genai_utils.vae.convnet import Attention, Decoder, Downsample, Encoder, ResBlock, Upsample

SHAPES = {
    "one-level": {"widths": (8,), "blocks": 1},
    "two-levels": {"widths": (8, 16), "blocks": 2, "mid_attention": False},
    "attention-in-levels": {"widths": (8, 8, 16), "blocks": 1, "attention": (False, True, True)},
}


def build(kind, c_in, c_out, dtype=torch.float64, **kw):
    torch.manual_seed(0)
    return kind(c_in, c_out, groups=4, **kw).to(dtype)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_decoder_restores_the_sides_that_the_encoder_divides(shape):
    factor = 2 ** (len(shape["widths"]) - 1)
    grid = build(Encoder, 3, 5, **shape)(normal(2, 3, 4 * factor, 6 * factor))
    assert grid.shape == (2, 5, 4, 6)
    assert build(Decoder, 5, 7, **shape)(grid).shape == (2, 7, 4 * factor, 6 * factor)


@pytest.mark.parametrize("kind", [Encoder, Decoder])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradient_reaches_every_parameter_and_the_input(kind, shape):
    model, x = build(kind, 2, 3, **shape), normal(2, 2, 8, 8).requires_grad_()
    out = model(x)
    (out * normal(*out.shape, seed=1)).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []
    assert (x.grad != 0).all()


@pytest.mark.parametrize("kind", [Encoder, Decoder])
def test_each_picture_is_treated_alone(kind):
    model, x = build(kind, 2, 3, **SHAPES["attention-in-levels"]), normal(3, 2, 8, 8)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]))


@pytest.mark.parametrize("mid, sees", [(True, True), (False, False)])
def test_only_attention_lets_a_corner_see_the_opposite_one(mid, sees):
    """Without it the last place of this grid is beyond the reach of the first; so GroupNorm is switched off here."""
    model, x = build(Encoder, 1, 1, widths=(8,), blocks=1, mid_attention=mid), normal(1, 1, 20, 20).requires_grad_()
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda h: h
    model(x)[0, 0, 0, 0].backward()
    assert (x.grad[0, 0, -1, -1] != 0).item() == sees and x.grad[0, 0, 3, 3] != 0


def test_attention_equals_its_naive_sum():
    """Write softmax(q k / sqrt(C)) v out for each place, and add it to the input."""
    torch.manual_seed(0)
    block, x = Attention(8, groups=4, eps=1e-6).double(), normal(2, 8, 2, 3)
    tokens = block.norm(x).flatten(2).transpose(1, 2)
    out = torch.zeros_like(tokens)
    for b in range(2):
        q, k, v = (tokens[b] @ w.T + c for w, c in zip(block.qkv.weight.chunk(3), block.qkv.bias.chunk(3)))
        for i in range(6):
            scores = torch.stack([q[i] @ k[j] / 8**0.5 for j in range(6)]).exp()
            out[b, i] = sum(s / scores.sum() * v[j] for j, s in enumerate(scores))
    by_hand = x + (out @ block.out.weight.T + block.out.bias).transpose(1, 2).unflatten(2, (2, 3))
    torch.testing.assert_close(block(x), by_hand)


def test_residual_block_is_its_two_convolutions_added_to_the_input():
    torch.manual_seed(0)
    block, x = ResBlock(4, 8, groups=2, eps=0.1).double(), normal(2, 4, 5, 5)
    h = x
    for norm, conv in ((block.norm1, block.conv1), (block.norm2, block.conv2)):
        parts = h.reshape(2, 2, -1)  # two groups
        parts = (parts - parts.mean(2, keepdim=True)) / (parts.var(2, keepdim=True, correction=0) + 0.1).sqrt()
        h = parts.view_as(h) * norm.weight[:, None, None] + norm.bias[:, None, None]
        h = F.conv2d(h * torch.sigmoid(h), conv.weight, conv.bias, padding=1)
    skip = torch.einsum("oi,bihw->bohw", block.skip.weight[:, :, 0, 0], x) + block.skip.bias[:, None, None]
    torch.testing.assert_close(block(x), h + skip)
    same = ResBlock(4, 4, groups=2, eps=0.1).double()
    torch.nn.init.zeros_(same.conv2.weight)
    torch.testing.assert_close(same(x), x + same.conv2.bias[:, None, None])


def test_downsampling_reads_a_three_by_three_window_from_its_own_corner():
    """Place (i, j) reads rows 2i to 2i + 2 and columns 2j to 2j + 2; zeros where they end."""
    torch.manual_seed(0)
    block, x = Downsample(2).double(), normal(1, 2, 4, 6)
    padded = torch.zeros(2, 5, 7, dtype=torch.float64)
    padded[:, :4, :6] = x[0]
    for i in range(2):
        for j in range(3):
            window = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            by_hand = (block.conv.weight * window).sum((1, 2, 3)) + block.conv.bias
            torch.testing.assert_close(block(x)[0, :, i, j], by_hand)


def test_upsampling_repeats_every_place_before_it_convolves():
    torch.manual_seed(0)
    block, x = Upsample(2).double(), normal(1, 2, 3, 2)
    twice = torch.zeros(1, 2, 6, 4, dtype=torch.float64)
    for i in range(6):
        for j in range(4):
            twice[..., i, j] = x[..., i // 2, j // 2]
    torch.testing.assert_close(block(x), F.conv2d(twice, block.conv.weight, block.conv.bias, padding=1))


@pytest.mark.parametrize("kind", [Encoder, Decoder])
@pytest.mark.parametrize("wrong, message", [
    ({"widths": (8, 10)}, r"every width must be a multiple of groups=4, got \[10\]"),
    ({"widths": ()}, "need a width"), ({"blocks": 0}, "blocks=0"), ({"groups": 0}, "groups=0"),
    ({"attention": (True,)}, r"2 widths, got \(True,\)"),
])  # fmt: skip
def test_parts_that_do_not_fit_together_are_refused(kind, wrong, message):
    with pytest.raises(ValueError, match=message):
        kind(1, 1, **({"widths": (8, 8), "blocks": 1, "groups": 4} | wrong))


@pytest.mark.parametrize("shape", [(1, 2, 8, 8), (1, 3, 6, 8), (1, 3, 8, 6), (3, 8, 8)])
def test_encoder_refuses_other_channels_and_sides_it_cannot_halve(shape):
    model = build(Encoder, 3, 5, widths=(4, 4, 4), blocks=1)
    with pytest.raises(ValueError, match=r"x must be \(B, 3, H, W\), sides multiples of 4; got"):
        model(torch.zeros(shape, dtype=torch.float64))


def test_decoder_refuses_another_width():
    with pytest.raises(ValueError, match=r"z must be \(B, 5, h, w\), got \(1, 4, 2, 2\)"):
        build(Decoder, 5, 3, widths=(4,), blocks=1)(torch.zeros(1, 4, 2, 2, dtype=torch.float64))
