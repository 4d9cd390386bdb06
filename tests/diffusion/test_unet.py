import math

import pytest
import torch

from genai_utils.core import from_json, to_json
from genai_utils.diffusion.unet import PRESETS, UNet, UNetConfig, time_embedding

SMALL = {"side": 8, "widths": (8, 16, 24), "blocks": 1, "head_dim": 8, "groups": 4, "attention": (False, True, False)}
CONFIGS = {
    "labels": UNetConfig(**SMALL, n_classes=4),
    "no-labels": UNetConfig(**SMALL),
    "padding-as-published": UNetConfig(**SMALL, symmetric_down=False, channels=3),
    "one-head-two-blocks": UNetConfig(**(SMALL | {"head_dim": None, "blocks": 2, "attention": (True, True, True)})),
    "one-level": UNetConfig(**(SMALL | {"widths": (8,), "attention": (False,)})),
}


def build(cfg, dtype=torch.float32):
    torch.manual_seed(0)
    return UNet(cfg).to(dtype)


def batch(cfg, n=3, dtype=torch.float32):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, cfg.channels, cfg.side, cfg.side, generator=g).to(dtype)
    labels = (torch.arange(n) % cfg.n_classes,) if cfg.n_classes else ()
    return x, torch.arange(n) * 40, *labels


@pytest.mark.parametrize("cfg", CONFIGS.values(), ids=CONFIGS)
def test_unet_keeps_the_shape_of_its_input(cfg):
    inputs = batch(cfg)
    assert build(cfg)(*inputs).shape == inputs[0].shape


@pytest.mark.parametrize("cfg", CONFIGS.values(), ids=CONFIGS)
def test_gradient_reaches_every_parameter_and_the_input(cfg):
    """In float64; a level with one group per channel or one pixel would starve some, so no exceptions are listed."""
    model, (x, *rest) = build(cfg, torch.float64), batch(cfg, n=4, dtype=torch.float64)
    x.requires_grad_()
    weight = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    (model(x, *rest) * weight).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []
    assert (x.grad != 0).all()


def test_unet_sees_timestep_label_and_every_pixel():
    model = build(CONFIGS["labels"])
    x, t, labels = batch(model.cfg)
    out = model(x, t, labels)
    assert not torch.allclose(out, model(x, t + 1, labels)) and not torch.allclose(out, model(x, t, (labels + 1) % 4))
    x.requires_grad_()
    model(x, t, labels)[0, 0, 0, 0].backward()
    assert (x.grad[0] != 0).all() and (x.grad[1:] == 0).all()  # all of its own image, nothing of the others


def test_attention_equals_its_naive_sum():
    """Write softmax(q k / sqrt(d)) v out for each head and position, and add it to the input."""
    model = build(CONFIGS["one-head-two-blocks"], torch.float64)
    block, x = model.down[1].attention[0], torch.randn(2, 16, 2, 2, dtype=torch.float64)
    block.heads = 2
    tokens = block.norm(x).flatten(2).transpose(1, 2)
    out = torch.zeros_like(tokens)
    for b in range(2):
        q, k, v = (tokens[b] @ w.T + c for w, c in zip(block.qkv.weight.chunk(3), block.qkv.bias.chunk(3)))
        for head in (slice(0, 8), slice(8, 16)):
            for i in range(4):
                scores = torch.stack([q[i, head] @ k[j, head] / 8**0.5 for j in range(4)]).exp()
                out[b, i, head] = sum(s / scores.sum() * v[j, head] for j, s in enumerate(scores))
    by_hand = x + (out @ block.out.weight.T + block.out.bias).transpose(1, 2).unflatten(2, (2, 2))
    torch.testing.assert_close(block(x), by_hand)


@pytest.mark.parametrize("cos_first", [False, True])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_time_embedding_is_the_sines_and_cosines_written_out(shift, cos_first):
    t, dim = [0, 1, 37, 999], 8
    sines = [[math.sin(ti * 10_000 ** (-i / (4 - shift))) for i in range(4)] for ti in t]
    cosines = [[math.cos(ti * 10_000 ** (-i / (4 - shift))) for i in range(4)] for ti in t]
    by_hand = torch.tensor([c + s if cos_first else s + c for s, c in zip(sines, cosines)])
    got = time_embedding(torch.tensor(t), dim, freq_shift=shift, cos_first=cos_first)
    torch.testing.assert_close(got, by_hand, rtol=0, atol=2e-4)  # float32 angles of up to 999 radians


def test_every_timestep_has_its_own_embedding():
    e = time_embedding(torch.arange(1000), 32)
    distance = torch.cdist(e, e) + torch.eye(1000) * 9
    assert e.shape == (1000, 32) and e.abs().max() <= 1 and distance.min() > 0.1


@pytest.mark.parametrize("name", PRESETS)
def test_preset_builds_and_its_config_survives_json(name):
    cfg = from_json(UNet.Config, to_json(PRESETS[name]))
    assert cfg == PRESETS[name]
    with torch.device("meta"):
        model = UNet(cfg)
        out = model(torch.empty(2, cfg.channels, cfg.side, cfg.side), torch.zeros(2, dtype=torch.int64),
                    *([torch.zeros(2, dtype=torch.int64)] if cfg.n_classes else []))  # fmt: skip
    assert out.shape == (2, cfg.channels, cfg.side, cfg.side)


def test_cifar10_preset_has_the_size_of_the_published_model():
    with torch.device("meta"):
        model = UNet(PRESETS["cifar10"])
    assert sum(p.numel() for p in model.parameters()) == 35_746_307  # [DDPM] Appendix B: 35.7 million


@pytest.mark.parametrize("changes, message", [
    ({"attention": (True,)}, "one entry per width"),
    ({"side": 10}, "divisible by 4"),
    ({"widths": (8, 16, 25)}, r"multiple of groups=4, got \[25\]"),
    ({"head_dim": 5}, "multiple of head_dim=5"),
    ({"head_dim": 7, "attention": (False, False, False)}, r"\[24\]"),
    ({"blocks": 0}, "blocks and groups must be at least 1, got 0 and 4"),
    ({"groups": 0}, "blocks and groups must be at least 1, got 1 and 0"),
    ({"widths": (), "attention": ()}, r"widths must name at least one level, got \(\)"),
    ({"widths": (3, 6, 9), "groups": 3, "head_dim": None}, "even and at least 4, got 3"),
])  # fmt: skip
def test_unet_refuses_a_config_that_cannot_be_built(changes, message):
    with pytest.raises(ValueError, match=message):
        UNet(UNetConfig(**(SMALL | changes)))


def test_unet_refuses_wrong_inputs_by_shape_and_by_labels():
    model, plain = build(CONFIGS["labels"]), build(CONFIGS["no-labels"])
    x, t, labels = batch(model.cfg)
    with pytest.raises(ValueError, match=r"x must be \(B, 1, 8, 8\), got \(3, 1, 9, 8\)"):
        plain(torch.zeros(3, 1, 9, 8), t)
    with pytest.raises(ValueError, match=r"takes labels in \[0, 4\), got none"):
        model(x, t)
    with pytest.raises(ValueError, match="takes no labels"):
        plain(x, t, labels)


def test_unet_compiles_without_a_graph_break():
    model = build(CONFIGS["labels"])
    inputs = batch(model.cfg)
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # fullgraph raises at the first break
    torch.testing.assert_close(compiled(*inputs), model(*inputs))


@pytest.mark.gpu
def test_unet_on_the_gpu_equals_the_cpu():
    model = build(CONFIGS["labels"])
    inputs = batch(model.cfg)
    out = model(*inputs)
    on_gpu = model.cuda()(*(v.cuda() for v in inputs)).cpu()
    torch.testing.assert_close(on_gpu, out, rtol=1e-3, atol=1e-3)  # TF32 convolutions
