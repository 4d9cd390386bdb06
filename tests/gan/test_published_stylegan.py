"""Folders in the layout of StyleGAN2-ADA's PyTorch code, written here by hand from networks of ours."""

import json

import pytest
import torch
from safetensors.torch import save_file

from genai_utils.gan.published_stylegan import (
    read_discriminator,
    read_generator,
    translate_discriminator_config,
    translate_generator_config,
)
from genai_utils.gan.stylegan import PRESETS, StyleDiscriminator, StyleGANConfig, StyleGenerator

# As in the published networks, at sizes for a test
G = {
    "z_dim": 6, "c_dim": 0, "w_dim": 5, "img_resolution": 16, "img_channels": 3, "mapping_kwargs": {"num_layers": 2},
    "synthesis_kwargs": {"channel_base": 64, "channel_max": 8, "num_fp16_res": 4, "conv_clamp": 256},
}  # fmt: skip
D = {
    "c_dim": 0, "img_resolution": 16, "img_channels": 3, "architecture": "resnet", "channel_base": 64,
    "channel_max": 8, "num_fp16_res": 4, "conv_clamp": 256, "block_kwargs": {}, "mapping_kwargs": {},
    "epilogue_kwargs": {"mbstd_group_size": 2},
}  # fmt: skip
CFG = StyleGANConfig(
    side=16, channels=3, latent=6, d_style=5, mapping_layers=2, base=64, max_width=8, clamp=256, group=2
)
TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
CONVS = ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"]
GENERATOR_NAMES = {  # every name of a generator of side 16 with two mapping layers
    "mapping.w_avg", "mapping.fc0.weight", "mapping.fc0.bias", "mapping.fc1.weight", "mapping.fc1.bias",
    "synthesis.b4.const", "synthesis.b4.resample_filter", "synthesis.b8.resample_filter",
    "synthesis.b16.resample_filter",
    *(f"synthesis.{conv}.{leaf}" for conv in CONVS for leaf in (
        "weight", "bias", "affine.weight", "affine.bias", "noise_const", "noise_strength", "resample_filter")),
    *(f"synthesis.b{side}.torgb.{leaf}" for side in (4, 8, 16) for leaf in (
        "weight", "bias", "affine.weight", "affine.bias")),
}  # fmt: skip
DISCRIMINATOR_NAMES = {
    "b16.fromrgb.weight", "b16.fromrgb.bias", "b16.fromrgb.resample_filter",
    *(f"b{side}.{part}" for side in (16, 8) for part in (
        "conv0.weight", "conv0.bias", "conv0.resample_filter", "conv1.weight", "conv1.bias", "conv1.resample_filter",
        "skip.weight", "skip.resample_filter", "resample_filter")),
    "b4.conv.weight", "b4.conv.bias", "b4.conv.resample_filter", "b4.fc.weight", "b4.fc.bias", "b4.out.weight",
    "b4.out.bias",
}  # fmt: skip


def their_generator(ours):
    state = {name: torch.outer(TAPS, TAPS) for name in GENERATOR_NAMES if name.endswith("resample_filter")}
    for name, value in ours.items():
        name = name.replace("mapping.mean_style", "mapping.w_avg").replace("mapping.layers.", "mapping.fc")
        name = name.replace("synthesis.const", "synthesis.b4.const").replace("fixed_noise", "noise_const")
        for i, conv in enumerate(CONVS):
            name = name.replace(f"synthesis.convs.{i}.", f"synthesis.{conv}.")
        for i in range(3):
            name = name.replace(f"synthesis.to_rgb.{i}.", f"synthesis.b{4 * 2**i}.torgb.")
        state[name] = value.clone()
    return state


def their_discriminator(ours):
    state = {name: torch.outer(TAPS, TAPS) for name in DISCRIMINATOR_NAMES if name.endswith("resample_filter")}
    for name, value in ours.items():
        name = name.replace("from_rgb", "b16.fromrgb").replace("blocks.0", "b16").replace("blocks.1", "b8")
        state[f"b4.{name}" if name.split(".")[0] in ("conv", "fc", "out") else name] = value.clone()
    return state


def write(path, config, state):
    path.mkdir(exist_ok=True, parents=True)
    (path / "config.json").write_text(json.dumps(config))
    save_file({k: v.contiguous() for k, v in state.items()}, path / "model.safetensors")


def build(kind):
    torch.manual_seed(0)
    model = kind(CFG)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(0.1 * torch.randn(tensor.shape))
    return model


def test_generator_of_the_published_layout_gives_back_every_tensor(tmp_path):
    model = build(StyleGenerator)
    state = their_generator(model.state_dict())
    assert state.keys() == GENERATOR_NAMES
    write(tmp_path, G, state)
    cfg, read = read_generator(tmp_path)
    assert cfg == StyleGANConfig(**(vars(CFG) | {"group": 4}))  # a generator does not say
    assert read.keys() == model.state_dict().keys()
    assert all(torch.equal(read[k], v) for k, v in model.state_dict().items())
    loaded, z = StyleGenerator.from_pretrained(tmp_path), torch.randn(3, 6)
    assert not loaded.training
    assert torch.equal(loaded(z, truncation=0.7, noise="fixed"), model(z, truncation=0.7, noise="fixed"))


def test_discriminator_of_the_published_layout_gives_back_every_tensor(tmp_path):
    model = build(StyleDiscriminator)
    state = their_discriminator(model.state_dict())
    assert state.keys() == DISCRIMINATOR_NAMES
    write(tmp_path, D, state)
    cfg, read = read_discriminator(tmp_path)
    assert (cfg.side, cfg.channels, cfg.base, cfg.max_width, cfg.clamp, cfg.group) == (16, 3, 64, 8, 256, 2)
    assert read.keys() == model.state_dict().keys()
    x = torch.rand(4, 3, 16, 16)
    assert torch.equal(StyleDiscriminator.from_pretrained(tmp_path)(x), model(x))


def test_both_are_found_in_the_subfolders_of_a_snapshot(tmp_path):
    generator, discriminator = build(StyleGenerator), build(StyleDiscriminator)
    write(tmp_path / "G_ema", G, their_generator(generator.state_dict()))
    write(tmp_path / "D", D, their_discriminator(discriminator.state_dict()))
    assert read_generator(tmp_path)[0].latent == 6 and read_discriminator(tmp_path)[0].group == 2


def test_arguments_of_the_published_faces_are_our_preset():
    faces = G | {
        "z_dim": 512, "w_dim": 512, "img_resolution": 1024, "mapping_kwargs": {"num_layers": 8},
        "synthesis_kwargs": {"channel_base": 32768, "channel_max": 512, "conv_clamp": None}}  # fmt: skip
    assert translate_generator_config(faces) == PRESETS["ffhq-1024"]
    assert translate_generator_config(faces | {"mapping_kwargs": {}, "synthesis_kwargs": {}}) == PRESETS["ffhq-1024"]


@pytest.mark.parametrize("changes, message", [
    ({"c_dim": 10}, "c_dim is 10, but this StyleGAN2 supports only 0"),
    ({"synthesis_kwargs": {"architecture": "resnet"}}, "architecture is 'resnet', but this StyleGAN2 .* 'skip'"),
    ({"synthesis_kwargs": {"use_noise": False}}, "use_noise is False"),
    ({"mapping_kwargs": {"layer_features": 99}}, "layer_features is 99"),
    ({"mapping_kwargs": {"activation": "relu"}}, "activation is 'relu'"),
    ({"img_resolution": 24}, "power of two"), ({"news": 1}, "unknown to this reader: news"),
])  # fmt: skip
def test_generator_config_with_a_part_we_lack_is_refused_by_field_and_value(changes, message):
    with pytest.raises(ValueError, match=message):
        StyleGenerator(translate_generator_config(G | changes))


@pytest.mark.parametrize("changes, message", [
    ({"c_dim": 10}, "c_dim is 10"), ({"architecture": "orig"}, "architecture is 'orig', .* only 'resnet'"),
    ({"epilogue_kwargs": {"mbstd_num_channels": 2}}, "mbstd_num_channels is 2"),
])  # fmt: skip
def test_discriminator_config_with_a_part_we_lack_is_refused_by_field_and_value(changes, message):
    with pytest.raises(ValueError, match=message):
        translate_discriminator_config(D | changes)


def test_config_without_a_size_is_refused():
    with pytest.raises(ValueError, match="config.json lacks the field w_dim"):
        translate_generator_config({k: v for k, v in G.items() if k != "w_dim"})


def test_another_filter_is_refused(tmp_path):
    state = their_generator(build(StyleGenerator).state_dict())
    state["synthesis.b8.conv0.resample_filter"] = torch.full((4, 4), 1 / 16)
    write(tmp_path, G, state)
    with pytest.raises(ValueError, match=r"another filter \(synthesis.b8.conv0.resample_filter\).*\[1, 3, 3, 1\]"):
        read_generator(tmp_path)


def test_tensors_that_do_not_fit_the_config_are_listed(tmp_path):
    state = their_generator(build(StyleGenerator).state_dict())
    state["synthesis.b32.conv0.weight"] = state.pop("synthesis.b16.conv0.weight")
    state["mapping.w_avg"] = torch.zeros(7)
    write(tmp_path, G, state)
    with pytest.raises(ValueError) as caught:
        read_generator(tmp_path)
    message = str(caught.value)
    assert "missing: synthesis.convs.3.weight" in message and "surplus: synthesis.convs.5.weight" in message
    assert "wrong shape: mapping.mean_style is (7,), not (5,)" in message
