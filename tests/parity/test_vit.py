"""Our ViT against transformers': every weight random, both schemes of names, float32, float64 and backward."""

import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genai_utils.nn import attention, embed
from genai_utils.transformer.published_vit import TRANSFORMERS, translate_state
from genai_utils.transformer.vit import ViT

transformers = pytest.importorskip("transformers")
from safetensors.torch import load_file  # noqa: E402

COMMON = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40, "image_size": 24,
    "patch_size": 8, "num_channels": 3, "num_labels": 5,
}  # fmt: skip
CASES = {  # class, config
    "classifier": ("ViTForImageClassification", COMMON),  # as google/vit-base-patch16-224
    "encoder": ("ViTModel", COMMON),  # as google/vit-base-patch16-224-in21k, with a pooler
    "no biases": ("ViTForImageClassification", COMMON | {"qkv_bias": False, "num_channels": 1, "layer_norm_eps": 1e-5}),
    "many patches": ("ViTForImageClassification", COMMON | {"patch_size": 2, "num_attention_heads": 3}),
}
FLOAT32, FLOAT64 = 1e-5, 1e-9  # times max(1, |out|)


def randomise(model, seed=0):
    """Give every tensor random values that keep activations near unit size: nothing is zero or one by habit."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            norm = p.ndim == 1 and "norm" in name and name.endswith("weight")
            sharper = 2 if any(k in name for k in ("q_proj", "k_proj")) else 1  # maps that are far from flat
            scale = 0.3 if p.ndim == 1 else sharper * p[0].numel() ** -0.5 if p.ndim in (2, 4) else 1
            p.copy_(1 + 0.3 * noise if norm else scale * noise)


def pair(case, folder, dtype=torch.float32, today=False):
    """Return (theirs, ours, x): theirs with random weights, ours read from the folder that theirs wrote."""
    kind, config = CASES[case]
    theirs = getattr(transformers, kind)(transformers.ViTConfig(**config)).eval()
    randomise(theirs)
    theirs.save_pretrained(folder, save_original_format=not today)
    names = load_file(folder / TRANSFORMERS[0]).keys()  # both schemes do occur
    assert any("q_proj" in n for n in names) == today and any("attention.attention.query" in n for n in names) != today
    ours = ViT.from_pretrained(folder)
    g = torch.Generator().manual_seed(1)
    x = torch.randn(3, theirs.config.num_channels, 24, 24, generator=g)
    return theirs.to(dtype), ours.to(dtype), x.to(dtype)


def error(ours, theirs):
    """Return the largest difference in units of max(1, |theirs|)."""
    assert ours.shape == theirs.shape
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


def both(theirs, ours, x, **interpolate):
    """Return (ours, theirs) of everything there is to compare: the answer, the tokens after every layer, the maps.

    Theirs gives maps only with its "eager" attention, whose softmax is in float32 whatever the weights are; so the rest
    is compared with its fused attention, which keeps float64.
    """
    options = {"interpolate_pos_encoding": True} if interpolate else {}
    theirs.set_attn_implementation("eager")
    maps = theirs(x, output_attentions=True, **options).attentions
    theirs.set_attn_implementation("sdpa")
    out = theirs(x, output_hidden_states=True, **options)
    hidden = [ours.embed(x, **interpolate)]
    for block in ours.blocks:
        hidden.append(block(hidden[-1]))
    encoder = getattr(theirs, "vit", theirs)
    answer = out.logits if hasattr(out, "logits") else out.pooler_output
    compared = {
        "output": (ours(x, **interpolate), answer),
        "tokens": (ours.encode(x, **interpolate), encoder(x, **options).last_hidden_state),
    }
    compared |= {f"after layer {i}": two for i, two in enumerate(zip(hidden, out.hidden_states, strict=True))}
    maps = zip(ours.maps(x, **interpolate), maps, strict=True)
    return compared | {f"map {i}": two for i, two in enumerate(maps)}


def worst(compared):
    """Return the largest error of each kind, and separately that of the maps."""
    errors = {}
    for name, two in compared.items():
        kind = name.rstrip(" 0123456789")
        errors[kind] = max(errors.get(kind, 0.0), error(*two))
    return errors, errors.pop("map")


@pytest.mark.parametrize("today", [False, True], ids=["published names", "today's names"])
@pytest.mark.parametrize("case", CASES)
def test_vit_equals_transformers_in_float32(case, today, tmp_path, record_property):
    theirs, ours, x = pair(case, tmp_path, today=today)
    with torch.no_grad():
        compared = both(theirs, ours, x)
    assert compared["output"][1].std() > 0.1 and compared["map 0"][1].amax(-1).mean() > 0.15
    errors, of_maps = worst(compared)
    for name, value in {**errors, "map": of_maps}.items():
        record_property(f"float32 {name} error", value)
        assert value <= FLOAT32, name


@pytest.mark.parametrize("case", CASES)
def test_vit_and_its_gradients_equal_transformers_in_float64(case, tmp_path, record_property):
    theirs, ours, x = pair(case, tmp_path, torch.float64)
    with torch.no_grad():
        errors, of_maps = worst(both(theirs, ours, x))
    record_property("float64 map error (their softmax is in float32)", of_maps)
    assert of_maps <= 1e-6
    x_ours, x_theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    mine, out = ours(x_ours), theirs(x_theirs)
    reference = out.logits if hasattr(out, "logits") else out.pooler_output
    weight = torch.randn(mine.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    (weight * mine).sum().backward()
    (weight * reference).sum().backward()
    gradients = translate_state({k: p.grad for k, p in theirs.named_parameters()}, torch.float64)
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    errors["gradient of x"] = error(x_ours.grad, x_theirs.grad)
    errors["gradient of parameters"] = max(error(p.grad, gradients[name]) for name, p in ours.named_parameters())
    assert all(p.grad.abs().max() > 0 for p in ours.parameters())
    for name, value in errors.items():
        record_property(f"float64 {name} error", value)
    assert max(errors.values()) <= FLOAT64, errors


@pytest.mark.parametrize("shape", [(40, 40), (16, 32), (24, 8)])
def test_vit_of_pictures_of_another_size_equals_transformers_interpolation(shape, tmp_path, record_property):
    theirs, ours, _ = pair("classifier", tmp_path, torch.float64)
    x = torch.randn(2, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        errors, of_maps = worst(both(theirs, ours, x, interpolate=True))
    record_property("float64 interpolated error", max(errors.values()))
    assert max(errors.values()) <= FLOAT64 and of_maps <= 1e-6


# Errors planted on purpose: each must show


def _each(model, kind):
    return [m for m in model.modules() if isinstance(m, kind)]


def _eps(model, mp):
    for module in _each(model, nn.LayerNorm):
        module.eps = 1e-6


def _tanh_gelu(model, mp):
    for module in _each(model, nn.GELU):
        module.approximate = "tanh"


def _scale(model, mp):
    for module in _each(model, attention.SelfAttention):
        module.scale = model.cfg.d_model**-0.5


def _columns_first(model, mp):
    whole = embed.patchify
    grid = model.grid
    mp.setattr(embed, "patchify", lambda x, p: whole(x, p).unflatten(1, (grid, grid)).transpose(1, 2).flatten(1, 2))


def _pixels_by_channel_last(model, mp):
    w = model.patches.linear.weight.data
    model.patches.linear.weight.data = w.unflatten(1, (3, -1)).transpose(1, 2).flatten(1)


def _positions_off_by_one(model, mp):
    model.positions.data = model.positions.data.roll(1, 1)


def _class_token_last(model, mp):
    encode = model.encode
    mp.setattr(model, "encode", lambda x, **how: encode(x, **how).roll(-1, 1))


def _class_token_without_place(model, mp):
    model.positions.data[:, 0] = 0


def _heads_interleaved(model, mp):
    mp.setattr(
        attention.SelfAttention, "_heads", lambda self, x: x.unflatten(-1, (self.d_head, -1)).permute(0, 3, 1, 2)
    )


def _query_and_key_swapped(model, mp):
    for module in _each(model, attention.SelfAttention):
        for p in (module.qkv.weight, module.qkv.bias):
            q, k, v = p.data.chunk(3)
            p.data = torch.cat([k, q, v])


def _causal(model, mp):
    for module in _each(model, attention.SelfAttention):
        module.causal = True


def _norm_after(model, mp):
    for block in model.blocks:
        mp.setattr(block, "forward", lambda x, b=block: (y := b.norm1(x + b.attention(x))) + b.mlp(b.norm2(y)))


def _bilinear(model, mp):
    module = __import__("genai_utils.transformer.vit", fromlist=["F"])
    changed = lambda x, size, mode, align_corners: F.interpolate(x, size, mode="bilinear", align_corners=align_corners)
    mp.setattr(module, "F", types.SimpleNamespace(**(vars(F) | {"interpolate": changed})))


PLANTED = {
    "eps of 1e-6": _eps, "GELU by a tanh": _tanh_gelu, "scale of the whole width": _scale,
    "patches column by column": _columns_first, "channels last within a patch": _pixels_by_channel_last,
    "positions off by one": _positions_off_by_one, "class token read as if last": _class_token_last,
    "class token without a place": _class_token_without_place, "heads interleaved": _heads_interleaved,
    "query and key swapped": _query_and_key_swapped, "causal": _causal, "norm after": _norm_after,
    "final norm missing": lambda m, mp: setattr(m, "norm", nn.Identity()),
    "second block left out": lambda m, mp: setattr(m, "blocks", nn.ModuleList([m.blocks[0], m.blocks[2]])),
    "bilinear for bicubic": _bilinear,
}  # fmt: skip


@pytest.mark.parametrize("plant", PLANTED)
def test_vit_parity_notices_a_planted_error(plant, tmp_path, monkeypatch, record_property):
    theirs, ours, x = pair("classifier", tmp_path, torch.float64)
    other = plant == "bilinear for bicubic"
    if other:
        x = torch.randn(2, 3, 40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        reference = theirs(x, interpolate_pos_encoding=other).logits
        assert error(ours(x, interpolate=other), reference) <= FLOAT64
        PLANTED[plant](ours, monkeypatch)
        shifted = error(ours(x, interpolate=other), reference)
    record_property("planted", shifted)
    assert shifted > 10 * FLOAT64


def test_vit_parity_notices_a_pooler_of_another_activation(tmp_path, monkeypatch):
    theirs, ours, x = pair("encoder", tmp_path, torch.float64)
    with torch.no_grad():
        reference = theirs(x).pooler_output
        monkeypatch.setattr(torch, "tanh", torch.sigmoid)
        assert error(ours(x), reference) > 10 * FLOAT64
