"""Folders in the layout of pytorch-pretrained-biggan, written here by hand from networks of ours.

That the published code computes the same from them is shown in tests/parity/test_biggan.py.
"""

import json

import pytest
import torch
from safetensors.torch import save_file

from genai_utils.gan.biggan import PRESETS, BigGAN, BigGANConfig
from genai_utils.gan.published_biggan import DEFAULTS, read_biggan, translate_config, translate_state

CONFIG = {
    "output_dim": 16, "z_dim": 6, "class_embed_dim": 6, "channel_width": 8, "num_classes": 5,
    "layers": [[True, 16, 8], [False, 8, 8], [True, 8, 4], [False, 4, 2], [False, 2, 1]],
    "attention_layer_position": 2, "eps": 1e-4, "n_stats": 6,
}  # fmt: skip
CFG = BigGANConfig(
    side=16, channels=3, n_classes=5, latent=6, d_class=6, width=8, multiples=(16, 8, 8, 4, 2, 1),
    ups=(True, False, True, False, False), attention=2, deep=True, rgb_maps=8, n_stats=6, swapped=True, eps=1e-4,
)  # fmt: skip
BLOCKS, ATTENTION = (0, 1, 3, 4, 5), 2  # attention counts as a layer


def spectral(stem, bias=True):
    return {f"{stem}.{leaf}" for leaf in ("weight_orig", "weight_u", "weight_v", *(["bias"] if bias else []))}


NAMES = {  # every name of such a file
    "embeddings.weight", "generator.bn.weight", "generator.bn.bias", "generator.bn.running_means",
    "generator.bn.running_vars", f"generator.layers.{ATTENTION}.gamma",
    *spectral("generator.gen_z"), *spectral("generator.conv_to_rgb"),
    *(name for part in ("theta", "phi", "g", "o_conv")
      for name in spectral(f"generator.layers.{ATTENTION}.snconv1x1_{part}", bias=False)),
    *(name for b in BLOCKS for i in range(4) for name in (
        f"generator.layers.{b}.bn_{i}.running_means", f"generator.layers.{b}.bn_{i}.running_vars",
        *spectral(f"generator.layers.{b}.bn_{i}.scale", bias=False),
        *spectral(f"generator.layers.{b}.bn_{i}.offset", bias=False),
        *spectral(f"generator.layers.{b}.conv_{i}"))),
}  # fmt: skip


def theirs(ours):
    """Return the tensors of a state dict of ours under the published names."""
    state = {}
    for name, value in ours.items():
        parts = name.replace("parametrizations.weight.original", "weight_orig")
        parts = parts.replace("parametrizations.weight.0._", "weight_").split(".")
        leaf = {"means": "running_means", "variances": "running_vars"}.get(parts[-1], parts[-1])
        if parts[0] == "embed":
            value, head = value.T, ["embeddings"]
        elif parts[0] != "layers":
            head = ["generator", {"first": "gen_z", "norm_out": "bn", "to_rgb": "conv_to_rgb"}[parts[0]]]
        elif parts[2] in ("norms", "convs"):
            kind = {"norms": "bn", "convs": "conv"}[parts[2]]
            head = ["generator", "layers", parts[1], f"{kind}_{parts[3]}", *parts[4:-1]]
        else:
            part = {"out": "o_conv"}.get(parts[2], parts[2])
            head = ["generator", "layers", parts[1], *([f"snconv1x1_{part}"] if part != "gamma" else [])]
        state[".".join([*head, leaf])] = value.clone()
    return state


def build():
    torch.manual_seed(0)
    model = BigGAN(CFG).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            noise = 0.1 * torch.randn(tensor.shape)
            tensor.add_(noise.abs() if name.endswith("variances") else noise)
    return model


def write(path, state, config=CONFIG, file="pytorch_model.bin"):
    path.mkdir(exist_ok=True, parents=True)
    (path / "config.json").write_text(json.dumps(config))
    state = {k: v.detach().contiguous() for k, v in state.items()}
    save_file(state, path / file) if file.endswith("safetensors") else torch.save(state, path / file)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_generator_of_the_published_layout_gives_back_every_tensor(file, tmp_path):
    model = build()
    state = theirs(model.state_dict())
    assert state.keys() == NAMES and state["embeddings.weight"].shape == (6, 5)
    write(tmp_path, state, file=file)
    cfg, read = read_biggan(tmp_path)
    assert cfg == CFG and read.keys() == model.state_dict().keys()
    assert all(torch.equal(read[k], v) for k, v in model.state_dict().items())
    loaded, z, labels = BigGAN.from_pretrained(tmp_path), torch.randn(3, 6), torch.tensor([0, 4, 2])
    assert not loaded.training and not any(t.is_meta for t in loaded.state_dict().values())
    assert all(p.requires_grad for p in loaded.parameters())
    x = model(z, labels, truncation=0.7)
    torch.testing.assert_close(loaded(z, labels, truncation=0.7), x, rtol=0, atol=1e-5)  # where memory begins matters


def test_tensors_of_half_precision_are_read_as_float32(tmp_path):
    write(tmp_path, {k: v.half() for k, v in theirs(build().state_dict()).items()})
    assert {v.dtype for v in read_biggan(tmp_path)[1].values()} == {torch.float32}


def test_fields_that_a_config_leaves_out_have_the_published_defaults():
    cfg = translate_config({})
    assert cfg == PRESETS["imagenet-deep-128"] and translate_config(DEFAULTS) == cfg
    larger = [[False, 16, 16], [True, 16, 16], [False, 16, 16], [True, 16, 8], [False, 8, 8], [True, 8, 8],
              [False, 8, 8], [True, 8, 4], [False, 4, 4], [True, 4, 2], [False, 2, 2], [True, 2, 1]]  # fmt: skip
    cfg = translate_config({"output_dim": 256, "layers": larger})
    assert cfg.multiples == (16, 16, 16, 16, 8, 8, 8, 8, 4, 4, 2, 2, 1) and cfg.ups == (False, True) * 6
    with torch.device("meta"):
        assert BigGAN(cfg).first.parametrizations.weight.original.shape == (16 * 2048, 256)


@pytest.mark.parametrize("exact", [True, False])
def test_right_vectors_that_a_file_lacks_follow_from_what_it_has(exact, tmp_path):
    """Before torch 1.1 a file had u and the normalised weight: u^T W v must be what it was divided by.

    Without the normalised weight v is along W^T u, of unit length, as after a step of the power iteration.
    """
    model = build()
    state = theirs(model.state_dict())
    sigmas = {}
    for name in [k for k in state if k.endswith("weight_v")]:
        stem, v = name.removesuffix("_v"), state.pop(name)
        W, u = state[f"{stem}_orig"], state[f"{stem}_u"]
        if exact:
            sigmas[stem] = u @ W.flatten(1) @ v
            state[stem] = W / sigmas[stem]
        else:
            sigmas[stem] = (W.flatten(1).T @ u).norm()
    assert sigmas
    write(tmp_path, state)
    _, read = read_biggan(tmp_path)
    for stem, sigma in sigmas.items():
        names = translate_state(
            {f"{stem}_{leaf}": torch.zeros(1) for leaf in "uv"} | {f"{stem}_orig": torch.zeros(1, 1)}
        )
        original, u, v = (next(k for k in names if k.endswith(leaf)) for leaf in ("original", "_u", "_v"))
        torch.testing.assert_close(read[u] @ read[original].flatten(1) @ read[v], sigma, rtol=1e-4, atol=1e-6)
        if not exact:
            torch.testing.assert_close(read[v].norm(), torch.tensor(1.0))


@pytest.mark.parametrize("changes, message", [
    ({"class_embed_dim": 4}, "class_embed_dim is 4, but this BigGAN supports only z_dim, which is 6"),
    ({"layers": [[True, 16, 8], [True, 4, 1]]}, "layers is .* only blocks that go from 16 to 1"),
    ({"layers": [[True, 8, 4], [True, 4, 1]]}, "layers is .* only blocks that go from 16 to 1"),
    ({"layers": [[True, 16, 4], [True, 4, 1]]}, "layers is .* only blocks that keep their maps or halve them"),
    ({"output_dim": 32}, "side must be a power of two, .* 16; got 32"),
    ({"attention_layer_position": 7}, r"attention must be a block in \[0, 5\)"),
    ({"split_z": True}, "unknown to this reader: split_z"),
])  # fmt: skip
def test_config_with_a_part_we_lack_is_refused_by_field_and_value(changes, message):
    with pytest.raises(ValueError, match=message):
        BigGAN(translate_config(CONFIG | changes))


def test_tensors_that_do_not_fit_the_config_are_listed(tmp_path):
    state = theirs(build().state_dict())
    state["generator.layers.9.conv_0.bias"] = state.pop("generator.layers.5.conv_0.bias")
    state["embeddings.weight"] = torch.zeros(6, 4)
    write(tmp_path, state)
    with pytest.raises(ValueError) as caught:
        BigGAN.from_pretrained(tmp_path)
    message = str(caught.value)
    assert "missing: layers.5.convs.0.bias" in message and "surplus: layers.9.convs.0.bias" in message
    assert "wrong shape: embed.weight is (4, 6), not (5, 6)" in message


def test_folder_without_its_files_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="no config.json"):
        BigGAN.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(FileNotFoundError, match="neither model.safetensors nor pytorch_model.bin"):
        BigGAN.from_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="pytorch_model.bin cannot be read as tensors"):
        BigGAN.from_pretrained(tmp_path)
