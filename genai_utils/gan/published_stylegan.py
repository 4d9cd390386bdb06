"""Read StyleGAN2 networks in the layout of StyleGAN2-ADA's PyTorch code, once they are safetensors.

Published files (ffhq.pkl and others) are pickles of live Python objects: reading one runs code, which this library
does not. Converted once, in an environment that trusts it, a network is a folder with two files:

- model.safetensors: the state dict of G_ema, or of D, under its own names, such as mapping.fc0.weight,
  synthesis.b4.const, synthesis.b8.conv0.affine.weight, b64.conv0.weight, b4.out.bias;
- config.json: the arguments it was made with (init_kwargs): c_dim, img_resolution, img_channels, for G also z_dim,
  w_dim, mapping_kwargs, synthesis_kwargs, for D channel_base, channel_max, conv_clamp, epilogue_kwargs.

This reader was written from that layout and could not be run against a published file: none was at hand. Its tests
write folders of the same names from networks of ours, which a naive version confirms.

Sources: [ADA] Karras et al. 2020, arXiv:2006.06676, and the layout of its repository NVlabs/stylegan2-ada-pytorch.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genai_utils.gan.modulation import Resample
from genai_utils.gan.stylegan import StyleDiscriminator, StyleGANConfig, StyleGenerator
from genai_utils.weights import hub as published
from genai_utils.weights.hub import CONFIG, TRANSFORMERS

OURS = "this StyleGAN2"
MAPPING = {"num_layers": 8, "lr_multiplier": 0.01, "w_avg_beta": 0.995}
IGNORED = {"num_fp16_res", "fp16_channels_last"}  # how to compute, not what
FILTER = re.compile(r"(^|\.)resample_filter$")


def read_generator(name: str | Path, **hub: Any) -> tuple[StyleGANConfig, dict[str, Tensor]]:
    """Return the config and the state dict (float32) of a generator, ready for `StyleGenerator(cfg)`.

    Args:
        name: a folder with config.json and model.safetensors, itself or in its subfolder `G_ema`; else a repository id
            of the Hugging Face Hub that holds such a folder.
        hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
    Raises:
        ValueError: the config asks for a part that ours lacks (field and value are named), the filter is not
            [1, 3, 3, 1], or the tensors do not fit the config (missing, surplus and misshapen names are listed).
        FileNotFoundError: no such folder, or the folder lacks a file (named).
    """
    folder = published.find_folder(name, ["G_ema", "G"], hub, TRANSFORMERS)
    cfg = translate_generator_config(published.read_config(folder))
    return cfg, _checked(translate_generator(_tensors(folder), cfg), StyleGenerator, cfg, folder)


def read_discriminator(name: str | Path, **hub: Any) -> tuple[StyleGANConfig, dict[str, Tensor]]:
    """Return the config and the state dict (float32) of a discriminator, ready for `StyleDiscriminator(cfg)`.

    What its config says of the generator alone (latent, d_style, mapping_layers) are our defaults. Arguments and errors
    are those of `read_generator`; the subfolder is `D`.
    """
    folder = published.find_folder(name, ["D"], hub, TRANSFORMERS)
    cfg = translate_discriminator_config(published.read_config(folder))
    return cfg, _checked(translate_discriminator(_tensors(folder), cfg), StyleDiscriminator, cfg, folder)


def translate_generator_config(theirs: dict[str, Any]) -> StyleGANConfig:
    """Return our config for a generator's arguments, or say which of them has no counterpart."""
    mapping, synthesis = (dict(theirs.get(f"{part}_kwargs") or {}) for part in ("mapping", "synthesis"))
    plain = {k: v for k, v in theirs.items() if not k.endswith("_kwargs")}
    published.check_fields(plain, {"c_dim": (0,)}, {"z_dim", "w_dim", "img_resolution", "img_channels"}, OURS)
    w_dim = _field(plain, "w_dim")
    only = {"layer_features": (None, w_dim), "embed_features": (None,), "activation": ("lrelu",)}
    published.check_fields(mapping, only, MAPPING, OURS)
    only = {"architecture": ("skip",), "activation": ("lrelu",), "use_noise": (True,)}
    known = {"channel_base", "channel_max", "conv_clamp", "resample_filter", *IGNORED}
    published.check_fields(synthesis, only, known, OURS)
    m = MAPPING | mapping
    return StyleGANConfig(
        side=_field(plain, "img_resolution"), channels=_field(plain, "img_channels"), latent=_field(plain, "z_dim"),
        d_style=w_dim, mapping_layers=m["num_layers"], lr_mul=m["lr_multiplier"], mean_decay=m["w_avg_beta"],
        **_widths(synthesis),
    )  # fmt: skip


def translate_discriminator_config(theirs: dict[str, Any]) -> StyleGANConfig:
    """Return our config for a discriminator's arguments, or say which of them has no counterpart."""
    parts = {part: dict(theirs.get(f"{part}_kwargs") or {}) for part in ("block", "mapping", "epilogue")}
    plain = {k: v for k, v in theirs.items() if not k.endswith("_kwargs")}
    known = {"img_resolution", "img_channels", "channel_base", "channel_max", "conv_clamp", *IGNORED}
    published.check_fields(plain, {"c_dim": (0,), "architecture": ("resnet",), "cmap_dim": (None, 0)}, known, OURS)
    only = {"activation": ("lrelu",), "freeze_layers": (0,)}
    published.check_fields(parts["block"], only, {"resample_filter", *IGNORED}, OURS)
    only = {"mbstd_num_channels": (1,), "activation": ("lrelu",)}
    published.check_fields(parts["epilogue"], only, {"mbstd_group_size"}, OURS)
    return StyleGANConfig(
        side=_field(plain, "img_resolution"), channels=_field(plain, "img_channels"), **_widths(plain),
        group=parts["epilogue"].get("mbstd_group_size", 4),
    )  # fmt: skip


def translate_generator(theirs: Mapping[str, Tensor], cfg: StyleGANConfig) -> dict[str, Tensor]:
    """Return the generator's tensors under our names, as float32."""
    rename = [
        (r"^mapping\.fc(\d+)\.", r"mapping.layers.\1."), (r"^mapping\.w_avg$", "mapping.mean_style"),
        (r"^synthesis\.b4\.const$", "synthesis.const"), (r"\.noise_const$", ".fixed_noise"),
    ]  # fmt: skip
    return _translate(theirs, rename, r"^synthesis\.b(\d+)\.(conv0|conv1|torgb)\.", _place)


def translate_discriminator(theirs: Mapping[str, Tensor], cfg: StyleGANConfig) -> dict[str, Tensor]:
    """Return the discriminator's tensors under our names, as float32."""
    rename = [(rf"^b{cfg.side}\.fromrgb\.", "from_rgb."), (r"^b4\.(conv|fc|out)\.", r"\1.")]
    number = lambda side, part: f"blocks.{cfg.side.bit_length() - side.bit_length()}.{part}."
    return _translate(theirs, rename, r"^b(\d+)\.(conv0|conv1|skip)\.", number)


def _place(side: int, part: str) -> str:
    """Where a part of the block of a side stands in ours: convolutions are numbered by the style that they read."""
    block = side.bit_length() - 3
    return f"synthesis.to_rgb.{block}." if part == "torgb" else f"synthesis.convs.{2 * block - (part == 'conv0')}."


def _translate(theirs: Mapping[str, Tensor], rename: list, block: str, number: Any) -> dict[str, Tensor]:
    state = {}
    for name, tensor in theirs.items():
        if FILTER.search(name):  # ours is a constant; theirs must be the same
            if tensor.shape != (4, 4) or not torch.allclose(tensor.float(), Resample().kernel, atol=1e-6):
                published.refuse("resample_filter", f"another filter ({name})", "[1, 3, 3, 1]", OURS)
            continue
        for pattern, ours in rename:
            name = re.sub(pattern, ours, name)
        name = re.sub(block, lambda match: number(int(match[1]), match[2]), name)
        state[name] = tensor.to(torch.float32)
    return state


def _tensors(folder: Path) -> dict[str, Tensor]:
    return published.read_tensors(folder, TRANSFORMERS)


def _checked(state: dict[str, Tensor], kind: type[nn.Module], cfg: StyleGANConfig, folder: Path) -> dict[str, Tensor]:
    with torch.device("meta"):
        wanted = kind(cfg).state_dict()
    published.check_tensors(state, wanted, folder)
    return state


def _widths(theirs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "base": theirs.get("channel_base", 32768), "max_width": theirs.get("channel_max", 512),
        "clamp": theirs.get("conv_clamp"),
    }  # fmt: skip


def _field(theirs: Mapping[str, Any], name: str) -> int:
    if name not in theirs:
        raise ValueError(f"{CONFIG} lacks the field {name}; it holds the arguments that the network was made with")
    return theirs[name]
