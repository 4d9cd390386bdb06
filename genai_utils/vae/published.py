"""Read published VQ-VAEs (diffusers' VQModel folders): their config in our words, their tensors under our names.

Sources: layout of VQModel in Hugging Face diffusers, as in the first stage of CompVis/ldm-celebahq-256.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genai_utils.vae.vqvae import VQVAE, VQVAEConfig
from genai_utils.weights import hub as published
from genai_utils.weights.hub import BLOCKS, CONFIG, PICKLE, WEIGHTS

__all__ = ["CONFIG", "PICKLE", "WEIGHTS", "read_vqmodel", "translate_config", "translate_state"]

# What VQModel assumes for a field that the file leaves out, of those that we translate
DEFAULTS = {
    "in_channels": 3, "out_channels": 3, "down_block_types": ["DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D"], "block_out_channels": [64], "layers_per_block": 1, "latent_channels": 3,
    "sample_size": 32, "num_vq_embeddings": 256, "norm_num_groups": 32, "vq_embed_dim": None,
    "mid_block_add_attention": True,
}  # fmt: skip

# Fields of which we have one variant only, with the values that ask for it; a file without the field means the first
ONLY = {"act_fn": ("silu", "swish"), "norm_type": ("group",)}

# They are for the pipelines around the model: the scale of a diffusion on z_q, how it is asked to decode, its dtype
IGNORED = {"scaling_factor", "lookup_from_codebook", "force_upcast"}

RENAME = [(r"^quantize\.embedding\.weight$", "quantize.codebook"), *BLOCKS]
EPS = 1e-6  # of every GroupNorm of a VQModel; no field says so
FOLDERS = ["vqvae", "vae", "vqgan", "movq"]  # what pipelines call it
OURS = "this VQ-VAE"


def read_vqmodel(name: str | Path, **hub: Any) -> tuple[VQVAEConfig, dict[str, Tensor]]:
    """Return the config and the state dict (float32) of a published VQModel, ready for `VQVAE(cfg)`.

    Args:
        name: a folder that holds config.json and diffusion_pytorch_model.safetensors (or .bin), itself or in one of
            FOLDERS as pipelines do; else a repository id of the Hugging Face Hub, such as "CompVis/ldm-celebahq-256".
        hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
    Raises:
        ValueError: the config asks for a part that our VQ-VAE lacks (field and value are named), or the tensors do not
            fit the config (missing, surplus and misshapen names are listed).
        FileNotFoundError: no such folder, or the folder lacks a file (named).
    """
    folder = published.find_folder(name, FOLDERS, hub)
    cfg = translate_config(published.read_config(folder))
    state = translate_state(published.read_tensors(folder))
    with torch.device("meta"):
        wanted = VQVAE(cfg).state_dict()
    published.check_tensors(state, wanted, folder)
    return cfg, state


def translate_config(theirs: dict[str, Any]) -> VQVAEConfig:
    """Return our config for the fields of a VQModel's config.json, or say which of them has no counterpart."""
    if theirs.get("_class_name", "VQModel") != "VQModel":
        raise ValueError(f"{CONFIG} describes a {theirs['_class_name']}; only VQModel can be read")
    published.check_fields(theirs, ONLY, DEFAULTS.keys() | IGNORED, OURS)
    c = DEFAULTS | {k: v for k, v in theirs.items() if k in DEFAULTS}
    levels = len(c["block_out_channels"])
    if c["out_channels"] != c["in_channels"]:
        _refuse("out_channels", c["out_channels"], f"in_channels, which is {c['in_channels']}")
    if c["norm_num_groups"] is None:
        _refuse("norm_num_groups", None, "a number")
    attention = _attends(c, "down_block_types", "DownEncoderBlock2D", "AttnDownEncoderBlock2D")
    if attention != _attends(c, "up_block_types", "UpDecoderBlock2D", "AttnUpDecoderBlock2D")[::-1]:
        _refuse("up_block_types", c["up_block_types"], "the mirror image of down_block_types")
    if len(attention) != levels:
        _refuse("down_block_types", c["down_block_types"], f"{levels} entries, as block_out_channels has")
    return VQVAEConfig(
        side=published.one_side(c["sample_size"], OURS), channels=c["in_channels"],
        widths=tuple(c["block_out_channels"]), blocks=c["layers_per_block"], attention=attention,
        mid_attention=c["mid_block_add_attention"], groups=c["norm_num_groups"], eps=EPS, latent=c["latent_channels"],
        n_codes=c["num_vq_embeddings"], d_code=c["vq_embed_dim"] or c["latent_channels"], decay=None,
        likelihood="gaussian",
    )  # fmt: skip


def translate_state(theirs: dict[str, Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return the tensors under our names, as `dtype`, with query, key and value stacked into one projection."""
    return published.translate_tensors(theirs, RENAME, dtype)


def _attends(c: dict[str, Any], field: str, plain: str, attending: str) -> tuple[bool, ...]:
    return published.levels_that_attend(c[field], field, plain, attending, OURS)


def _refuse(field: str, value: Any, wanted: str) -> None:
    published.refuse(field, value, wanted, OURS)
