"""Read published model folders, local or from the Hugging Face Hub: find, download, rename, compare, complain.

What a config means is its model's business; here is what all folders of diffusers have in common.

Sources: folder layout and block names of Hugging Face diffusers, with the attention names of its files from before 2023
         (query, key, value, proj_attn).
Shapes:  C feature maps of a level.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

CONFIG, WEIGHTS, PICKLE = "config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"
DIFFUSERS = (WEIGHTS, PICKLE)  # how each library calls the two files that weights may be in
TRANSFORMERS = ("model.safetensors", "pytorch_model.bin")

# diffusers' names of convolutional blocks -> ours, applied in this order to any part of a name
BLOCKS = [
    (r"\bconv_norm_out\.", "norm_out."), (r"\b(down|up)_blocks\.(\d+)\.", r"\1.\2."), (r"\bmid_block\.", "mid."),
    (r"\.resnets\.(\d+)\.", r".blocks.\1."), (r"\.conv_shortcut\.", ".skip."),
    (r"\.(down|up)samplers\.0\.", ".resample."),
    (r"\.attentions\.(\d+)\.", r".attention.\1."), (r"\.group_norm\.", ".norm."),
    (r"\.query\.", ".to_q."), (r"\.key\.", ".to_k."), (r"\.value\.", ".to_v."),
    (r"\.to_out\.0\.|\.proj_attn\.", ".out."),
]  # fmt: skip


def find_folder(
    name: str | Path, subfolders: Sequence[str], hub: Mapping[str, Any], files: tuple[str, str] = DIFFUSERS
) -> Path:
    """Return the folder that holds the model's config.json, downloading it when `name` is no local folder.

    Args:
        name: a folder, or a repository id of the Hub such as "google/ddpm-cifar10-32".
        subfolders: where pipelines keep such a model, for example ["unet"]; looked into after the folder itself.
        hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
        files: names of the weights: DIFFUSERS or TRANSFORMERS.
    Raises:
        FileNotFoundError: no such folder, or neither it nor a subfolder has a config.json.
    """
    root = Path(name)
    if not root.is_dir():
        if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", str(name)):
            raise FileNotFoundError(f"no folder {name}, and it cannot be a repository id of the Hub (owner/name)")
        root = _download(str(name), subfolders, hub, files)
    for folder in (root, *(root / sub for sub in subfolders)):
        if (folder / CONFIG).is_file():
            return folder
    plural = "s" if len(subfolders) > 1 else ""
    places = f"{root} or in its subfolder{plural} {', '.join(subfolders)}" if subfolders else f"{root}"
    raise FileNotFoundError(f"no {CONFIG} in {places}; it holds: {_contents(root)}")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the fields of a folder's config.json."""
    return json.loads((folder / CONFIG).read_text())


def read_tensors(folder: Path, files: tuple[str, str] = DIFFUSERS) -> dict[str, Tensor]:
    """Return the tensors of a folder under their own names, from safetensors, else from a pickle of plain tensors.

    Args:
        folder: that `find_folder` returned.
        files: names of the weights: DIFFUSERS or TRANSFORMERS.
    Raises:
        ValueError: the file holds something else than tensors.
        FileNotFoundError: there is neither file.
    """
    from safetensors.torch import load_file

    readers = (load_file, partial(torch.load, map_location="cpu", weights_only=True))
    for name, read in zip(files, readers, strict=True):
        if (folder / name).is_file():
            try:
                return read(folder / name)
            except Exception as error:  # each format has its own; all mean that these are not plain tensors
                raise ValueError(f"{folder / name} cannot be read as tensors; download it again ({error})") from error
    raise FileNotFoundError(f"{folder} has neither {files[0]} nor {files[1]}; it holds: {_contents(folder)}")


def translate_tensors(
    theirs: Mapping[str, Tensor], rename: Sequence[tuple[str, str]], dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Return the tensors under our names, as `dtype`, with query, key and value stacked into one projection.

    An attention whose projections are incomplete keeps their separate names, so that a check of names shows which.

    Args:
        theirs: the published tensors.
        rename: (pattern, replacement) pairs, applied in order; `BLOCKS` and what the model has besides.
        dtype: of the result.
    """
    state = {}
    for name, tensor in theirs.items():
        for pattern, ours in rename:
            name = re.sub(pattern, ours, name)
        if ".attention." in name and tensor.ndim == 4:  # the oldest files hold projections as 1x1 convolutions
            tensor = tensor.flatten(1)
        state[name] = tensor.to(dtype)
    for q in [name for name in state if ".to_q." in name]:
        trio = [q.replace(".to_q.", f".to_{part}.") for part in "qkv"]
        if all(part in state for part in trio):
            state[q.replace(".to_q.", ".qkv.")] = torch.cat([state.pop(part) for part in trio])  # (3C, C) or (3C,)
    return state


def check_tensors(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], folder: Path) -> None:
    """Compare the names and shapes of `state`, read from `folder`, with those that the model wants.

    Raises:
        ValueError: missing, surplus and misshapen tensors, by name.
    """
    problems = [f"missing: {_list(wanted.keys() - state.keys())}"] if wanted.keys() - state.keys() else []
    if surplus := state.keys() - wanted.keys():
        problems.append(f"surplus: {_list(surplus)}")
    if bad := [k for k in wanted.keys() & state.keys() if wanted[k].shape != state[k].shape]:
        shapes = {f"{k} is {tuple(state[k].shape)}, not {tuple(wanted[k].shape)}" for k in bad}
        problems.append(f"wrong shape: {_list(shapes)}")
    if problems:
        raise ValueError(f"the tensors in {folder} do not fit its {CONFIG}; {'; '.join(problems)}")


def check_fields(theirs: Mapping[str, Any], only: Mapping[str, Sequence], known: Iterable[str], model: str) -> None:
    """Refuse the fields of a config of which `model`, such as "this U-Net", lacks the variant or knows nothing.

    Args:
        theirs: the fields of config.json; those with a leading underscore, and unknown ones that are null, pass.
        only: for each field of which we have one variant, the values that ask for it.
        known: the other fields that may occur.
        model: for the message.
    Raises:
        ValueError: a field's value is not among those of `only`, or fields are unknown; all are named.
    """
    for field, allowed in only.items():
        if (value := theirs.get(field, allowed[0])) not in allowed:
            refuse(field, value, " or ".join(map(repr, allowed)), model)
    known = {*only, *known}
    if unknown := sorted(k for k, v in theirs.items() if k not in known and k[0] != "_" and v is not None):
        raise ValueError(f"{CONFIG} has fields unknown to this reader: {', '.join(unknown)}")


def refuse(field: str, value: Any, wanted: str, model: str) -> NoReturn:
    """Raise the ValueError of a config that asks for something `model`, such as "this U-Net", lacks."""
    raise ValueError(f"{CONFIG}: {field} is {value!r}, but {model} supports only {wanted}")


def one_side(size: Any, model: str) -> int:
    """Return the side of square images that the field sample_size gives as one number or as two equal ones."""
    side = size[0] if isinstance(size, list | tuple) and len(set(size)) == 1 else size
    if not isinstance(side, int):
        refuse("sample_size", size, "one number of pixels, the side of square images", model)
    return side


def levels_that_attend(types: Sequence[str], field: str, plain: str, attending: str, model: str) -> tuple[bool, ...]:
    """Return for each block type of a config's `field` whether it attends; any third kind is refused."""
    if bad := sorted({t for t in types if t not in (plain, attending)}):
        refuse(field, ", ".join(bad), f"{plain} or {attending}", model)
    return tuple(t == attending for t in types)


def _download(repo: str, subfolders: Sequence[str], hub: Mapping[str, Any], files: tuple[str, str]) -> Path:
    from huggingface_hub import snapshot_download

    places = ("", *(f"{sub}/" for sub in subfolders))

    def fetch(*names: str) -> Path:
        return Path(snapshot_download(repo, allow_patterns=[f"{d}{n}" for d in places for n in names], **hub))

    weights, pickle = files
    root = fetch(CONFIG, weights)
    found = any((root / d / weights).is_file() for d in places)
    return root if found else fetch(CONFIG, pickle)  # pickles, and only as weights, where there is nothing better


def _contents(folder: Path) -> str:
    return _list(p.name for p in folder.iterdir()) or "nothing"


def _list(names: Iterable[str], most: int = 8) -> str:
    names = sorted(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
