"""Our U-Net against diffusers' UNet2DModel: every weight random, every kind of block, float32, float64 and backward."""

import types

import pytest
import torch
from torch.nn import functional as F

from genai_utils.diffusion import unet as ours_module
from genai_utils.diffusion.published import PICKLE, WEIGHTS, read_unet2d, translate_state
from genai_utils.diffusion.unet import Attention, ResBlock, UNet, UNetConfig

diffusers = pytest.importorskip("diffusers")
from safetensors.torch import save_file  # noqa: E402

# Three levels, attention in the middle one going down and up, an odd number of blocks: every kind of block and of skip
COMMON = {
    "sample_size": 16, "block_out_channels": (16, 24, 32), "layers_per_block": 2, "norm_num_groups": 8,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip
CASES = {
    "published": COMMON | {  # as google/ddpm-cifar10-32: one head, padding on one side, sines first
        "attention_head_dim": None, "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1,
        "norm_eps": 1e-6, "in_channels": 3, "out_channels": 3},
    "default": COMMON | {"attention_head_dim": 8, "in_channels": 3, "out_channels": 3},  # the library's own defaults
    "classes": COMMON | {
        "attention_head_dim": 4, "downsample_padding": 0, "num_class_embeds": 11, "in_channels": 1, "out_channels": 1},
    "attention_everywhere": COMMON | {
        "layers_per_block": 1, "attention_head_dim": 8, "norm_eps": 1e-6, "freq_shift": 1, "in_channels": 2,
        "out_channels": 2, "down_block_types": ("AttnDownBlock2D",) * 3, "up_block_types": ("AttnUpBlock2D",) * 3},
}  # fmt: skip
FLOAT32, FLOAT64 = 1e-5, 1e-9  # times max(1, |out|)


def randomise(model, seed=0):
    """Give every tensor random values that keep activations near unit size: nothing is zero or one by habit."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            norm = p.ndim == 1 and "norm" in name and name.endswith("weight")
            p.copy_(1 + 0.3 * noise if norm else 0.3 * noise if p.ndim == 1 else noise / p[0].numel() ** 0.5)


def pair(case, tmp_path, dtype=torch.float32):
    """Return (theirs, ours, inputs): theirs with random weights, ours read from the folder that theirs wrote."""
    theirs = diffusers.UNet2DModel(**CASES[case]).eval()
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    ours = UNet.from_pretrained(tmp_path)
    return theirs.to(dtype), ours.to(dtype), inputs(ours.cfg, dtype)


def inputs(cfg, dtype):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(3, cfg.channels, cfg.side, cfg.side, generator=g).to(dtype)
    labels = torch.tensor([0, 7, cfg.n_classes - 1]) if cfg.n_classes else None
    return x, torch.tensor([0, 37, 999]), labels


def call_theirs(theirs, x, t, labels):
    return theirs(x, t, class_labels=labels).sample


def error(ours, theirs):
    """Return the largest difference in units of max(1, |theirs|)."""
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


@pytest.mark.parametrize("case", CASES)
def test_unet_output_equals_diffusers_in_float32(case, tmp_path, record_property):
    theirs, ours, batch = pair(case, tmp_path)
    with torch.no_grad():
        out, reference = ours(*batch), call_theirs(theirs, *batch)
    assert reference.std() > 0.1
    record_property("float32 forward error", error(out, reference))
    assert error(out, reference) <= FLOAT32


@pytest.mark.parametrize("case", CASES)
def test_unet_output_and_gradients_equal_diffusers_in_float64(case, tmp_path, record_property):
    theirs, ours, (x, t, labels) = pair(case, tmp_path, torch.float64)
    weight = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    x_ours, x_theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, reference = ours(x_ours, t, labels), call_theirs(theirs, x_theirs, t, labels)
    (weight * out).sum().backward()
    (weight * reference).sum().backward()
    errors = {"forward": error(out, reference), "gradient of x": error(x_ours.grad, x_theirs.grad)}
    gradients = translate_state({k: p.grad for k, p in theirs.named_parameters()}, torch.float64)
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    errors["gradient of parameters"] = max(error(p.grad, gradients[name]) for name, p in ours.named_parameters())
    assert all(p.grad.abs().max() > 0 for p in ours.parameters())
    for name, value in errors.items():
        record_property(f"float64 {name} error", value)
    assert max(errors.values()) <= FLOAT64, errors


def older_names(state, convolutions=False):
    """Rename attention as the files published before 2023 do; the oldest held its projections as 1x1 convolutions."""
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for key, value in state.items():
        for new, old in names.items():
            if f".{new}." in key:
                key = key.replace(new, old)
                value = value[:, :, None, None] if convolutions and value.ndim == 2 else value
        renamed[key] = value.contiguous()
    return renamed


@pytest.mark.parametrize("convolutions", [False, True])
@pytest.mark.parametrize("case", ["published", "attention_everywhere"])
def test_unet_reads_the_key_names_of_published_files(case, convolutions, tmp_path):
    theirs, _, batch = pair(case, tmp_path)
    state = older_names(theirs.state_dict(), convolutions)
    assert any(".query." in k for k in state) and not any("to_q" in k for k in state)
    save_file(state, tmp_path / WEIGHTS)
    with torch.no_grad():
        assert error(UNet.from_pretrained(tmp_path)(*batch), call_theirs(theirs, *batch)) <= FLOAT32


def test_unet_reads_a_pipeline_folder_and_a_pickle_of_plain_tensors(tmp_path):
    theirs, _, batch = pair("published", tmp_path / "unet")
    (tmp_path / "unet" / WEIGHTS).unlink()
    torch.save(theirs.state_dict(), tmp_path / "unet" / PICKLE)
    with torch.no_grad():
        assert error(UNet.from_pretrained(tmp_path)(*batch), call_theirs(theirs, *batch)) <= FLOAT32


def test_unet_config_survives_the_reading_of_every_case(tmp_path):
    theirs, ours, _ = pair("classes", tmp_path)
    cfg, state = read_unet2d(tmp_path)
    assert cfg == ours.cfg == UNetConfig(
        side=16, channels=1, widths=(16, 24, 32), attention=(False, True, False), blocks=2, head_dim=4, groups=8,
        eps=1e-5, n_classes=11, freq_shift=0.0, cos_first=True, symmetric_down=False)  # fmt: skip
    assert sum(v.numel() for v in state.values()) == sum(p.numel() for p in theirs.parameters())


# Errors planted in ours: the comparison above must notice each of them, by a margin


def _set_eps(model, eps):
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.eps = eps


def _config(model, **changes):
    model.cfg = UNetConfig(**(vars(model.cfg) | changes))


def _activation(model, monkeypatch):
    monkeypatch.setattr(ours_module, "F", types.SimpleNamespace(**(vars(F) | {"silu": F.gelu})))


def _unscaled_attention(model, monkeypatch):
    changed = {"scaled_dot_product_attention": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=1.0)}
    monkeypatch.setattr(ours_module, "F", types.SimpleNamespace(**(vars(F) | changed)))


def _each(model, kind):
    return (m for m in model.modules() if isinstance(m, kind))


def _transpose(linear):
    linear.weight.data = linear.weight.data.T.contiguous()


def _swap_query_and_key(model):
    for m in _each(model, Attention):
        for p in (m.qkv.weight, m.qkv.bias):
            q, k, v = p.data.chunk(3)
            p.data = torch.cat([k, q, v])


def _both_sides(model):
    for level in model.down:
        if level.resample is not None:
            level.resample.conv.padding = (1, 1)


def _drop_embedding(model):
    for m in _each(model, ResBlock):
        m.emb.bias.data.zero_()


PLANTED = {
    "wrong eps": lambda m, mp: _set_eps(m, 1e-5),
    "GELU for SiLU": _activation,
    "attention without its scale": _unscaled_attention,
    "transposed output projection": lambda m, mp: [_transpose(a.out) for a in _each(m, Attention)],
    "query and key swapped": lambda m, mp: _swap_query_and_key(m),
    "attention with four heads": lambda m, mp: [setattr(a, "heads", 4) for a in _each(m, Attention)],
    "padding on both sides": lambda m, mp: _both_sides(m),
    "frequencies without their offset": lambda m, mp: _config(m, freq_shift=0.0),
    "sines and cosines swapped": lambda m, mp: _config(m, cos_first=True),
    "timestep off by one": lambda m, mp: m.register_forward_pre_hook(lambda _, a: (a[0], a[1] + 1, *a[2:])),
    "embedding without its bias": lambda m, mp: _drop_embedding(m),
}


@pytest.mark.parametrize("plant", PLANTED)
def test_unet_parity_notices_a_planted_error(plant, tmp_path, monkeypatch, record_property):
    theirs, ours, batch = pair("published", tmp_path, torch.float64)
    with torch.no_grad():
        reference = call_theirs(theirs, *batch)
        assert error(ours(*batch), reference) <= FLOAT64
        PLANTED[plant](ours, monkeypatch)
        shifted = error(ours(*batch), reference)
    record_property("planted", shifted)
    assert shifted > 10 * FLOAT64
