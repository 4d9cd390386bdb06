"""Read published U-Nets (diffusers' UNet2DModel folders): their config in our words, their tensors under our names.

Sources: layout of UNet2DModel in Hugging Face diffusers; that of google/ddpm-cifar10-32 and its siblings.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genai_utils.diffusion.unet import UNet, UNetConfig
from genai_utils.weights import hub as published
from genai_utils.weights.hub import BLOCKS, CONFIG, PICKLE, WEIGHTS

__all__ = ["CONFIG", "PICKLE", "WEIGHTS", "read_unet2d", "translate_config", "translate_state"]

# What UNet2DModel assumes for a field that the file leaves out, of those that we translate
DEFAULTS = {
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [224, 448, 672, 896], "layers_per_block": 2, "in_channels": 3, "out_channels": 3,
    "attention_head_dim": 8, "norm_num_groups": 32, "norm_eps": 1e-5, "num_class_embeds": None,
    "freq_shift": 0, "flip_sin_to_cos": True, "downsample_padding": 1, "sample_size": None,
}  # fmt: skip

# Fields of which we have one variant only, with the values that ask for it; a file without the field means the first
ONLY = {
    "act_fn": ("silu", "swish"), "time_embedding_type": ("positional",), "resnet_time_scale_shift": ("default",),
    "center_input_sample": (False,), "mid_block_scale_factor": (1,), "mid_block_type": ("UNetMidBlock2D",),
    "downsample_type": ("conv",), "upsample_type": ("conv",), "class_embed_type": (None,), "add_attention": (True,),
}  # fmt: skip
IGNORED = {"dropout", "num_train_timesteps"}  # they act in training, and with learned time embeddings

# Their names -> ours: those of the embeddings, before those of the blocks
RENAME = [
    (r"^time_embedding\.linear_1\.", "time.0."), (r"^time_embedding\.linear_2\.", "time.2."),
    (r"^class_embedding\.", "label."), (r"\.time_emb_proj\.", ".emb."), *BLOCKS,
]  # fmt: skip
OURS = "this U-Net"


def read_unet2d(name: str | Path, **hub: Any) -> tuple[UNetConfig, dict[str, Tensor]]:
    """Return the config and the state dict (float32) of a published UNet2DModel, ready for `UNet(cfg)`.

    Args:
        name: a folder that holds config.json and diffusion_pytorch_model.safetensors (or .bin), itself or in `unet/`
            as pipelines do; else a repository id of the Hugging Face Hub, such as "google/ddpm-cifar10-32".
        hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
    Raises:
        ValueError: the config asks for a part that our U-Net lacks (field and value are named), or the tensors do not
            fit the config (missing, surplus and misshapen names are listed).
        FileNotFoundError: no such folder, or the folder lacks a file (named).
    """
    folder = published.find_folder(name, ["unet"], hub)
    cfg = translate_config(published.read_config(folder))
    state = translate_state(published.read_tensors(folder))
    with torch.device("meta"):
        wanted = UNet(cfg).state_dict()
    published.check_tensors(state, wanted, folder)
    return cfg, state


def translate_config(theirs: dict[str, Any]) -> UNetConfig:
    """Return our config for the fields of a UNet2DModel's config.json, or say which of them has no counterpart."""
    if theirs.get("_class_name", "UNet2DModel") != "UNet2DModel":
        raise ValueError(f"{CONFIG} describes a {theirs['_class_name']}; only UNet2DModel can be read")
    known = DEFAULTS.keys() | IGNORED | {"time_embedding_dim", "attn_norm_num_groups"}
    published.check_fields(theirs, ONLY, known, OURS)
    c = DEFAULTS | {k: v for k, v in theirs.items() if k in DEFAULTS}
    widths, levels = c["block_out_channels"], len(c["block_out_channels"])
    if theirs.get("time_embedding_dim") not in (None, 4 * widths[0]):
        _refuse("time_embedding_dim", theirs["time_embedding_dim"], f"{4 * widths[0]}, four times the first width")
    if theirs.get("attn_norm_num_groups") not in (None, c["norm_num_groups"]):
        _refuse("attn_norm_num_groups", theirs["attn_norm_num_groups"], "norm_num_groups")
    if c["norm_num_groups"] is None:
        _refuse("norm_num_groups", None, "a number")
    if c["out_channels"] != c["in_channels"]:
        _refuse("out_channels", c["out_channels"], f"in_channels, which is {c['in_channels']}")
    if c["downsample_padding"] not in (0, 1):
        _refuse("downsample_padding", c["downsample_padding"], "0 or 1")
    side = published.one_side(c["sample_size"], OURS)
    attention = _attends(c, "down_block_types", "DownBlock2D", "AttnDownBlock2D")
    if attention != _attends(c, "up_block_types", "UpBlock2D", "AttnUpBlock2D")[::-1]:
        _refuse("up_block_types", c["up_block_types"], "the mirror image of down_block_types")
    if len(attention) != levels:
        _refuse("down_block_types", c["down_block_types"], f"{levels} entries, as block_out_channels has")
    return UNetConfig(
        side=side, channels=c["in_channels"], widths=tuple(widths), attention=attention, blocks=c["layers_per_block"],
        head_dim=c["attention_head_dim"], groups=c["norm_num_groups"], eps=c["norm_eps"],
        n_classes=c["num_class_embeds"] or 0, freq_shift=float(c["freq_shift"]), cos_first=c["flip_sin_to_cos"],
        symmetric_down=c["downsample_padding"] == 1,
    )  # fmt: skip


def translate_state(theirs: dict[str, Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return the tensors under our names, as `dtype`, with query, key and value stacked into one projection."""
    return published.translate_tensors(theirs, RENAME, dtype)


def _attends(c: dict[str, Any], field: str, plain: str, attending: str) -> tuple[bool, ...]:
    return published.levels_that_attend(c[field], field, plain, attending, OURS)


def _refuse(field: str, value: Any, wanted: str) -> None:
    published.refuse(field, value, wanted, OURS)
