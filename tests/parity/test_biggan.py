"""Our BigGAN-deep against pytorch-pretrained-biggan: every weight random, truncations between stored ones, backward."""

import json
import math
import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genai_utils.gan import biggan as ours_module
from genai_utils.gan.biggan import BigGAN, BigGANConfig, ConditionalNorm, DeepBlock, NonLocal
from genai_utils.gan.published_biggan import read_biggan, translate_state

peers = pytest.importorskip("pytorch_pretrained_biggan")

COMMON = {"z_dim": 12, "class_embed_dim": 12, "channel_width": 4, "num_classes": 7, "eps": 1e-4, "n_stats": 51}
CASES = {
    "published": COMMON | {  # blocks of each kind: in place or up, with and without a drop of maps
        "output_dim": 32, "attention_layer_position": 3, "layers": [
            [False, 16, 16], [True, 16, 8], [False, 8, 8], [True, 8, 4], [False, 4, 2], [True, 2, 1]]},
    "attention_first": COMMON | {
        "output_dim": 16, "attention_layer_position": 0, "channel_width": 8, "n_stats": 6, "layers": [
            [True, 16, 8], [False, 8, 4], [True, 4, 2], [False, 2, 1]]},
}  # fmt: skip
FLOAT32, FLOAT64 = 1e-5, 1e-9  # times max(1, |out|)
TRUNCATIONS = (1.0, 0.5, 0.4321, 0.58, 0.01)  # stored, between; 0.58 / 0.02 falls short of 29 in floating point


def randomise(model, seed=0):
    """Give every tensor random values; then let the spectral norms find their vectors, as training would.

    Variances are in [0.5, 1.5]. Were they in [0.05, 0.35], every norm would magnify: theirs in float32 would be 2e-4
    away from theirs in float64, and so would ours.
    """
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * (p[0].numel() ** -0.5 if p.ndim > 1 else 0.5))
        for name, b in model.named_buffers():
            if name.endswith("running_means"):
                b.copy_(0.3 * torch.randn(b.shape, generator=g))
            elif name.endswith("running_vars"):
                b.copy_(torch.rand(b.shape, generator=g) + 0.5)
        model.train()
        for _ in range(5):
            model(*inputs(model.config, torch.float32), 0.5)
    return model.eval()


def inputs(config, dtype):
    g = torch.Generator().manual_seed(1)
    z = torch.randn(5, config.z_dim, generator=g).to(dtype)
    return z, F.one_hot(torch.tensor([0, 3, 6, 3, 1]), config.num_classes).to(dtype)


def pair(case, tmp_path, dtype=torch.float32):
    """Return (theirs, ours, z, one-hot classes): ours read from the files of theirs."""
    torch.manual_seed(0)
    theirs = randomise(peers.BigGAN(peers.BigGANConfig.from_dict(CASES[case])))
    (tmp_path / "config.json").write_text(theirs.config.to_json_string())
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    ours = BigGAN.from_pretrained(tmp_path)
    return theirs.to(dtype), ours.to(dtype), *inputs(theirs.config, dtype)


def error(ours, theirs):
    """Return the largest difference in units of max(1, |theirs|)."""
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("case", CASES)
def test_biggan_equals_the_published_code_in_float32(case, truncation, tmp_path, record_property):
    theirs, ours, z, classes = pair(case, tmp_path)
    with torch.no_grad():
        x, reference = ours(z, classes.argmax(1), truncation=truncation), theirs(z, classes, truncation)
    assert reference.std() > 0.1 and (reference.abs() > 0.999).double().mean() < 0.05  # tanh hides nothing
    record_property("float32 error", error(x, reference))
    assert error(x, reference) <= FLOAT32


@pytest.mark.parametrize("truncation", [1.0, 0.4321, 0.58])
@pytest.mark.parametrize("case", CASES)
def test_biggan_and_its_gradients_equal_the_published_code_in_float64(case, truncation, tmp_path, record_property):
    theirs, ours, z, classes = pair(case, tmp_path, torch.float64)
    z_ours, z_theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    x, reference = ours(z_ours, classes.argmax(1), truncation=truncation), theirs(z_theirs, classes, truncation)
    weight = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    (weight * x).sum().backward()
    (weight * reference).sum().backward()
    gradients = translate_state({k: p.grad for k, p in theirs.named_parameters()}, torch.float64)
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    errors = {
        "output": error(x, reference), "gradient of z": error(z_ours.grad, z_theirs.grad),
        "gradient of parameters": max(error(p.grad, gradients[k]) for k, p in ours.named_parameters()),
    }  # fmt: skip
    assert all(p.grad.abs().max() > 0 for p in ours.parameters())
    for name, value in errors.items():
        record_property(f"float64 {name} error", value)
    assert max(errors.values()) <= FLOAT64, errors


def test_weights_of_classes_mix_their_embeddings_as_theirs_do(tmp_path):
    theirs, ours, z, classes = pair("published", tmp_path, torch.float64)
    mixed = 0.3 * classes + 0.7 * classes.roll(1, 0)
    with torch.no_grad():
        assert error(ours(z, mixed, truncation=0.7), theirs(z, mixed, 0.7)) <= FLOAT64


def test_spectral_norms_go_on_as_theirs_do_when_training_continues(tmp_path):
    """Both do one power iteration per pass; their norms of a batch are those of evaluation, so ours stay in it."""
    theirs, ours, z, classes = pair("published", tmp_path, torch.float64)
    theirs.train(), ours.train()
    for module in ours.modules():
        if isinstance(module, ConditionalNorm):
            module.training = False
    for _ in range(3):
        with torch.no_grad():
            assert error(ours(z, classes.argmax(1), truncation=0.3), theirs(z, classes, 0.3)) <= FLOAT64


def test_files_without_right_vectors_are_read_as_they_were_saved(tmp_path):
    """Before torch 1.1 a file had the normalised weight instead; the vector that it lacks follows from it."""
    theirs, ours, z, classes = pair("published", tmp_path, torch.float64)
    state = {k: v for k, v in theirs.state_dict().items() if not k.endswith("weight_v")}
    for name, module in theirs.named_modules():
        if hasattr(module, "weight_orig"):
            sigma = module.weight_u @ module.weight_orig.flatten(1) @ module.weight_v
            state[f"{name}.weight"] = (module.weight_orig / sigma).detach()
    torch.save(state, tmp_path / "pytorch_model.bin")
    with torch.no_grad():
        x = BigGAN.from_pretrained(tmp_path).double()(z, classes.argmax(1), truncation=0.4)
        assert error(x, theirs(z, classes, 0.4)) <= FLOAT32  # read as float32


def test_biggan_config_is_what_theirs_says(tmp_path):
    _, ours, *_ = pair("published", tmp_path)
    cfg, _ = read_biggan(tmp_path)
    assert cfg == ours.cfg == BigGANConfig(
        side=32, channels=3, n_classes=7, latent=12, d_class=12, width=4, multiples=(16, 16, 8, 8, 4, 2, 1),
        ups=(False, True, False, True, False, True), attention=3, deep=True, rgb_maps=4, n_stats=51, swapped=True,
        eps=1e-4)  # fmt: skip


def test_default_config_is_that_of_the_largest_published_class(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(peers.BigGANConfig().to_dict()))
    from genai_utils.gan.published_biggan import translate_config

    assert translate_config(peers.BigGANConfig().to_dict()) == ours_module.PRESETS["imagenet-deep-128"]


# Errors planted on purpose: each must show


def _each(model, kind):
    return (m for m in model.modules() if isinstance(m, kind))


def _set(kind, field, value):
    def plant(model, mp):
        for module in _each(model, kind):
            setattr(module, field, value)

    return plant


def _replace(mp, **functions):
    mp.setattr(ours_module, "F", types.SimpleNamespace(**(vars(F) | functions)))


def _move_attention(model, mp):
    layers = list(model.layers)
    at = next(i for i, m in enumerate(layers) if isinstance(m, NonLocal))
    block = layers[at - 1]  # in place and of as many maps, so that the shapes still fit
    layers[at - 1], layers[at] = layers[at], block
    model.layers = nn.ModuleList(layers)


def _statistics(change):
    def plant(model, mp):
        plain = ConditionalNorm.statistics
        mp.setattr(ConditionalNorm, "statistics", lambda norm, truncation: change(plain, norm, truncation))

    return plant


def _double_late(model, mp):
    def forward(block, x, condition, truncation):
        h = x
        for i, (norm, conv) in enumerate(zip(block.norms, block.convs)):
            h = F.relu(norm(h, condition, truncation))
            h = conv(ours_module.double(h) if block.up and i == 2 else h)
        skip = x[:, : block.outputs]
        return h + (ours_module.double(skip) if block.up else skip)

    mp.setattr(DeepBlock, "forward", forward)


def _keep_last_maps(model, mp):
    plain = DeepBlock.forward

    def forward(block, x, condition, truncation):
        moved = x[:, -block.outputs :] - x[:, : block.outputs]
        return plain(block, x, condition, truncation) + (ours_module.double(moved) if block.up else moved)

    mp.setattr(DeepBlock, "forward", forward)


def _without_norm(model, mp):
    for module in [m for m in model.modules() if hasattr(m, "parametrizations")]:
        nn.utils.parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)


def _embedding(change):
    def plant(model, mp):
        model.embed.weight.data = change(model.embed.weight.data)

    return plant


def _swap_parts(model, mp):
    plain = model.conditions
    mp.setattr(model, "conditions", lambda z, y: [torch.cat([c[:, 12:], c[:, :12]], 1) for c in plain(z, y)])


PLANTED = {
    "wrong eps": _set(ConditionalNorm, "eps", 1e-5),
    "attention elsewhere": _move_attention,
    "attention scaled": lambda m, mp: mp.setattr(
        ours_module, "attend", lambda q, k, v, scale: F.scaled_dot_product_attention(q, k, v)),
    "mean for maximum in attention": lambda m, mp: _replace(mp, max_pool2d=F.avg_pool2d),
    "truncation rounded": _statistics(lambda plain, m, t: plain(m, round(t * 50) / 50)),
    "interpolated the right way round": _set(ConditionalNorm, "swapped", False),
    "statistics of no truncation": _statistics(lambda plain, m, t: plain(m, 1.0)),
    "gain without its one": lambda m, mp: _replace_gain(m),
    "bias of the class embedding": _embedding(lambda w: w + 0.01),
    "classes off by one": _embedding(lambda w: w.roll(1, 0)),
    "embedding before z": _swap_parts,
    "weights not normalised": _without_norm,
    "doubled before the third convolution": _double_late,
    "skip keeps the last maps": _keep_last_maps,
    "bilinear for nearest": lambda m, mp: _replace(
        mp, interpolate=lambda x, scale_factor, mode: F.interpolate(x, scale_factor=2.0, mode="bilinear")),
    "first layer in torch's order": lambda m, mp: m.first.register_forward_hook(
        lambda layer, args, y: y.unflatten(1, (-1, 4, 4)).movedim(1, -1).flatten(1)),
    "last maps for the picture": lambda m, mp: mp.setattr(
        m.to_rgb.bias, "data", m.to_rgb.bias.data.flip(0)),
}  # fmt: skip


def _replace_gain(model):
    for norm in _each(model, ConditionalNorm):
        if hasattr(norm, "scale"):
            norm.scale.register_forward_hook(lambda layer, args, y: y - 1)


@pytest.mark.parametrize("plant", PLANTED)
def test_biggan_parity_notices_a_planted_error(plant, tmp_path, monkeypatch, record_property):
    theirs, ours, z, classes = pair("published", tmp_path, torch.float64)
    with torch.no_grad():
        reference = theirs(z, classes, 0.4321)
        assert error(ours(z, classes.argmax(1), truncation=0.4321), reference) <= FLOAT64
        PLANTED[plant](ours, monkeypatch)
        shifted = error(ours(z, classes.argmax(1), truncation=0.4321), reference)
    record_property("planted", shifted)
    assert shifted > FLOAT32 and math.isfinite(shifted)
