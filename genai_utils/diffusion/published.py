"""Read published U-Nets (diffusers' UNet2DModel folders): their config in our words, their tensors under our names.

Sources: layout of UNet2DModel in Hugging Face diffusers, with the attention names of its files from before 2023
         (query, key, value, proj_attn), which are those of google/ddpm-cifar10-32 and its siblings.
Shapes:  C feature maps of a level.
"""

import json
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genai_utils.diffusion.unet import UNet, UNetConfig

CONFIG, WEIGHTS, PICKLE = "config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"

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

# Their names -> ours, applied in this order to the start or the middle of a name
RENAME = [
    (r"^time_embedding\.linear_1\.", "time.0."), (r"^time_embedding\.linear_2\.", "time.2."),
    (r"^class_embedding\.", "label."), (r"^conv_norm_out\.", "norm_out."),
    (r"^(down|up)_blocks\.(\d+)\.", r"\1.\2."), (r"^mid_block\.", "mid."),
    (r"\.resnets\.(\d+)\.", r".blocks.\1."), (r"\.time_emb_proj\.", ".emb."), (r"\.conv_shortcut\.", ".skip."),
    (r"\.(down|up)samplers\.0\.", ".resample."),
    (r"\.attentions\.(\d+)\.", r".attention.\1."), (r"\.group_norm\.", ".norm."),
    (r"\.query\.", ".to_q."), (r"\.key\.", ".to_k."), (r"\.value\.", ".to_v."),
    (r"\.to_out\.0\.|\.proj_attn\.", ".out."),
]  # fmt: skip


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
    folder = _find(name, hub)
    cfg = translate_config(json.loads((folder / CONFIG).read_text()))
    state = translate_state(_read_tensors(folder))
    with torch.device("meta"):
        wanted = UNet(cfg).state_dict()
    problems = [f"missing: {_list(wanted.keys() - state.keys())}"] if wanted.keys() - state.keys() else []
    if surplus := state.keys() - wanted.keys():
        problems.append(f"surplus: {_list(surplus)}")
    if bad := [k for k in wanted.keys() & state.keys() if wanted[k].shape != state[k].shape]:
        shapes = {f"{k} is {tuple(state[k].shape)}, not {tuple(wanted[k].shape)}" for k in bad}
        problems.append(f"wrong shape: {_list(shapes)}")
    if problems:
        raise ValueError(f"the tensors in {folder} do not fit its {CONFIG}; {'; '.join(problems)}")
    return cfg, state


def translate_config(theirs: dict[str, Any]) -> UNetConfig:
    """Return our config for the fields of a UNet2DModel's config.json, or say which of them has no counterpart."""
    if theirs.get("_class_name", "UNet2DModel") != "UNet2DModel":
        raise ValueError(f"{CONFIG} describes a {theirs['_class_name']}; only UNet2DModel can be read")
    for field, allowed in ONLY.items():
        if (value := theirs.get(field, allowed[0])) not in allowed:
            _refuse(field, value, " or ".join(map(repr, allowed)))
    c = DEFAULTS | {k: v for k, v in theirs.items() if k in DEFAULTS}
    widths, levels = c["block_out_channels"], len(c["block_out_channels"])
    known = DEFAULTS.keys() | ONLY.keys() | IGNORED | {"time_embedding_dim", "attn_norm_num_groups"}
    if unknown := sorted(k for k, v in theirs.items() if k not in known and k[0] != "_" and v is not None):
        raise ValueError(f"{CONFIG} has fields unknown to this reader: {', '.join(unknown)}")
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
    side = c["sample_size"]
    side = side[0] if isinstance(side, list) and len(set(side)) == 1 else side
    if not isinstance(side, int):
        _refuse("sample_size", side, "one number of pixels, the side of square images")
    attention = tuple(_attends(c["down_block_types"], "Down"))
    if attention != tuple(_attends(c["up_block_types"], "Up"))[::-1]:
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
    """Return the tensors under our names, as `dtype`, with query, key and value stacked into one projection.

    An attention whose projections are incomplete keeps their separate names, so that a check of names shows which.
    """
    state = {}
    for name, tensor in theirs.items():
        for pattern, ours in RENAME:
            name = re.sub(pattern, ours, name)
        if ".attention." in name and tensor.ndim == 4:  # the oldest files hold projections as 1x1 convolutions
            tensor = tensor.flatten(1)
        state[name] = tensor.to(dtype)
    for q in [name for name in state if ".to_q." in name]:
        trio = [q.replace(".to_q.", f".to_{part}.") for part in "qkv"]
        if all(part in state for part in trio):
            state[q.replace(".to_q.", ".qkv.")] = torch.cat([state.pop(part) for part in trio])  # (3C, C) or (3C,)
    return state


def _attends(types: list[str], way: str) -> list[bool]:
    plain, attending = f"{way}Block2D", f"Attn{way}Block2D"
    if bad := sorted({t for t in types if t not in (plain, attending)}):
        _refuse(f"{way.lower()}_block_types", ", ".join(bad), f"{plain} or {attending}")
    return [t == attending for t in types]


def _refuse(field: str, value: Any, wanted: str) -> None:
    raise ValueError(f"{CONFIG}: {field} is {value!r}, but this U-Net supports only {wanted}")


def _find(name: str | Path, hub: dict[str, Any]) -> Path:
    """Return the folder that holds the U-Net's config.json, downloading it when `name` is no local folder."""
    root = Path(name)
    if not root.is_dir():
        if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", str(name)):
            raise FileNotFoundError(f"no folder {name}, and it cannot be a repository id of the Hub (owner/name)")
        root = _download(str(name), hub)
    for folder in (root, root / "unet"):
        if (folder / CONFIG).is_file():
            return folder
    raise FileNotFoundError(f"no {CONFIG} in {root} or in its subfolder unet; it holds: {_contents(root)}")


def _download(repo: str, hub: dict[str, Any]) -> Path:
    from huggingface_hub import snapshot_download

    def fetch(*names: str) -> Path:
        return Path(snapshot_download(repo, allow_patterns=[f"{d}{n}" for d in ("", "unet/") for n in names], **hub))

    root = fetch(CONFIG, WEIGHTS)
    found = any((root / d / WEIGHTS).is_file() for d in ("", "unet"))
    return root if found else fetch(CONFIG, PICKLE)  # pickles, and only as weights, where there is nothing better


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    for name, read in ((WEIGHTS, load_file), (PICKLE, partial(torch.load, map_location="cpu", weights_only=True))):
        if (folder / name).is_file():
            try:
                return read(folder / name)
            except Exception as error:  # each format has its own; all mean that these are not plain tensors
                raise ValueError(f"{folder / name} cannot be read as tensors; download it again ({error})") from error
    raise FileNotFoundError(f"{folder} has neither {WEIGHTS} nor {PICKLE}; it holds: {_contents(folder)}")


def _contents(folder: Path) -> str:
    return _list(p.name for p in folder.iterdir()) or "nothing"


def _list(names: Iterable[str], most: int = 8) -> str:
    names = sorted(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
