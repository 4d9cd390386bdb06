"""Reading published VQModel folders without the library that wrote them: translation and errors.

Downloading and the reading of files are shared with the U-Net's reader; tests/diffusion/test_published.py has them.
"""

import json

import pytest
import torch
from safetensors.torch import save_file

from genai_utils.vae.published import CONFIG, WEIGHTS, read_vqmodel, translate_config
from genai_utils.vae.vqvae import VQVAE, VQVAEConfig

# A config.json of the kind of CompVis/ldm-celebahq-256 (vqvae), and a narrow one with an attending level
CELEBA = {
    "_class_name": "VQModel", "_diffusers_version": "0.1.2", "act_fn": "silu", "block_out_channels": [128, 256, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 3, "in_channels": 3, "latent_channels": 3, "layers_per_block": 2,
    "num_vq_embeddings": 8192, "out_channels": 3, "sample_size": 256, "up_block_types": ["UpDecoderBlock2D"] * 3,
}  # fmt: skip
TINY = CELEBA | {
    "block_out_channels": [4, 8], "norm_num_groups": 2, "num_vq_embeddings": 16, "sample_size": 8, "vq_embed_dim": 5,
    "down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"], "layers_per_block": 1,
    "up_block_types": ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"],
}  # fmt: skip


def theirs(ours):
    """Return our state dict under the names of the published file, one tensor at a time and by hand."""
    state = {}
    for name, value in ours.items():
        name = name.replace(".down.", ".down_blocks.").replace(".up.", ".up_blocks.").replace(".mid.", ".mid_block.")
        name = name.replace(".blocks.", ".resnets.").replace(".skip.", ".conv_shortcut.")
        name = name.replace(".attention.", ".attentions.").replace(".norm.", ".group_norm.")
        name = name.replace("norm_out.", "conv_norm_out.").replace(".out.", ".proj_attn.")
        name = name.replace(".resample.", ".downsamplers.0." if ".down_blocks." in name else ".upsamplers.0.")
        name = name.replace("quantize.codebook", "quantize.embedding.weight")
        if ".qkv." in name:
            for part, piece in zip(("query", "key", "value"), value.chunk(3)):
                state[name.replace("qkv", part)] = piece.clone()
        else:
            state[name] = value.clone()
    return state


@pytest.fixture
def folder(tmp_path):
    """A folder as published, and the VQ-VAE whose weights it holds."""
    torch.manual_seed(0)
    model = VQVAE(translate_config(TINY)).eval()
    write(tmp_path, TINY, theirs(model.state_dict()))
    return tmp_path, model


def write(path, config, state):
    path.mkdir(exist_ok=True)
    (path / CONFIG).write_text(json.dumps(config))
    save_file(state, path / WEIGHTS)


def test_published_config_is_translated_field_by_field():
    assert translate_config(CELEBA) == VQVAEConfig(
        side=256, channels=3, widths=(128, 256, 512), blocks=2, attention=(False,) * 3, mid_attention=True, groups=32,
        eps=1e-6, latent=3, n_codes=8192, d_code=3, decay=None, likelihood="gaussian", std=1.0)  # fmt: skip


def test_config_of_absent_fields_takes_the_defaults_of_the_library_that_wrote_it():
    assert translate_config({}) == VQVAEConfig(
        side=32, channels=3, widths=(64,), blocks=1, attention=(False,), groups=32, latent=3, n_codes=256, d_code=3,
        decay=None, likelihood="gaussian")  # fmt: skip


def test_published_folder_gives_back_every_tensor(folder):
    path, model = folder
    cfg, state = read_vqmodel(path)
    assert cfg == model.cfg and cfg.attention == (False, True)
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    x = torch.randn(2, 3, 8, 8)
    loaded = VQVAE.from_pretrained(str(path))
    assert not loaded.training and torch.equal(loaded(x)[0], model(x)[0])


def test_output_of_a_published_model_is_the_mean_of_a_gaussian(folder):
    path, model = folder
    loaded, x = VQVAE.from_pretrained(path), torch.randn(2, 3, 8, 8)
    params, _ = loaded(x)
    assert torch.equal(loaded.likelihood.mean(params), params)
    by_hand = -0.5 * ((x - params) ** 2 + torch.log(torch.tensor(2 * torch.pi))).sum((1, 2, 3))
    torch.testing.assert_close(loaded.likelihood.log_prob(params, x), by_hand)


@pytest.mark.parametrize("name", ["vqvae", "vae", "vqgan", "movq"])
def test_pipeline_folder_is_read_from_the_place_of_its_first_stage(name, folder, tmp_path_factory):
    path, model = folder
    pipeline = tmp_path_factory.mktemp("pipeline")
    write(pipeline / name, TINY, theirs(model.state_dict()))
    (pipeline / "model_index.json").write_text('{"_class_name": "LDMPipeline"}')
    (pipeline / "unet").mkdir()
    (pipeline / "unet" / CONFIG).write_text('{"_class_name": "UNet2DModel"}')
    assert read_vqmodel(pipeline)[0] == model.cfg


@pytest.mark.parametrize("changes, message", [
    ({"norm_type": "spatial"}, "norm_type is 'spatial', but this VQ-VAE supports only 'group'"),
    ({"act_fn": "gelu"}, "act_fn is 'gelu', but this VQ-VAE supports only 'silu' or 'swish'"),
    ({"down_block_types": ["DownEncoderBlock2D", "DownBlock2D"]},
     "down_block_types is 'DownBlock2D', but this VQ-VAE supports only DownEncoderBlock2D or AttnDownEncoderBlock2D"),
    ({"up_block_types": ["UpDecoderBlock2D", "AttnUpDecoderBlock2D"]}, "up_block_types is .* mirror image"),
    ({"block_out_channels": [4, 8, 8]}, "down_block_types is .* 3 entries"),
    ({"out_channels": 1}, "out_channels is 1, but .* in_channels, which is 3"),
    ({"norm_num_groups": None}, "norm_num_groups is None"), ({"sample_size": [8, 16]}, r"sample_size is \[8, 16\]"),
    ({"_class_name": "AutoencoderKL"}, "describes a AutoencoderKL; only VQModel"),
    ({"use_quant_conv": False}, "fields unknown to this reader: use_quant_conv"),
    ({"block_out_channels": [4, 7]}, r"every width must be a multiple of groups=2, got \[7\]"),
])  # fmt: skip
def test_config_with_a_part_we_lack_is_refused_by_field_and_value(changes, message):
    with pytest.raises(ValueError, match=message):
        VQVAE(translate_config(TINY | changes))


def test_config_fields_that_change_nothing_here_are_accepted():
    extra = {"scaling_factor": 0.3, "lookup_from_codebook": True, "force_upcast": True, "act_fn": "swish", "new": None}
    assert translate_config(TINY | extra | {"sample_size": [8, 8]}) == translate_config(TINY)


def test_tensors_that_do_not_fit_the_config_are_listed(folder):
    path, model = folder
    state = theirs(model.state_dict())
    state["decoder.extra.weight"] = state.pop("quant_conv.weight")
    del state["encoder.mid_block.attentions.0.key.bias"]
    state["quantize.embedding.weight"] = torch.zeros(16, 4)
    save_file(state, path / WEIGHTS)
    with pytest.raises(ValueError) as caught:
        read_vqmodel(path)
    message = str(caught.value)
    assert "missing: encoder.mid.attention.0.qkv.bias, quant_conv.weight;" in message
    assert "surplus: decoder.extra.weight, encoder.mid.attention.0.to_q.bias, encoder.mid.attention.0.to_v" in message
    assert "wrong shape: quantize.codebook is (16, 4), not (16, 5)" in message


def test_folder_without_a_first_stage_names_where_it_looked(tmp_path):
    (tmp_path / "unet").mkdir()
    with pytest.raises(FileNotFoundError, match="or in its subfolders vqvae, vae, vqgan, movq; it holds: unet"):
        read_vqmodel(tmp_path)
