"""Read published BigGAN-deep generators (pytorch-pretrained-biggan): their config in our words, tensors by our names.

Sources: layout of the files biggan-deep-128, -256 and -512 of the package pytorch-pretrained-biggan. They hold the
         generator only, as do the modules of Brock et al. 2019 (arXiv:1809.11096) that they were made from.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genai_utils.gan.biggan import BigGAN, BigGANConfig
from genai_utils.weights import hub as published
from genai_utils.weights.hub import CONFIG, TRANSFORMERS

OURS = "this BigGAN"
DEFAULTS = {
    "output_dim": 128, "z_dim": 128, "class_embed_dim": 128, "channel_width": 128, "num_classes": 1000,
    "layers": [[False, 16, 16], [True, 16, 16], [False, 16, 16], [True, 16, 8], [False, 8, 8], [True, 8, 4],
               [False, 4, 4], [True, 4, 2], [False, 2, 2], [True, 2, 1]],
    "attention_layer_position": 8, "eps": 1e-4, "n_stats": 51,
}  # fmt: skip

RENAME = [
    (r"^embeddings\.", "embed."), (r"^generator\.gen_z\.", "first."), (r"^generator\.bn\.", "norm_out."),
    (r"^generator\.conv_to_rgb\.", "to_rgb."), (r"^generator\.layers\.", "layers."), (r"\.bn_(\d)\.", r".norms.\1."),
    (r"\.conv_(\d)\.", r".convs.\1."), (r"\.snconv1x1_o_conv\.", ".out."), (r"\.snconv1x1_(theta|phi|g)\.", r".\1."),
    (r"\.running_means$", ".means"), (r"\.running_vars$", ".variances"),
    (r"\.weight_orig$", ".parametrizations.weight.original"), (r"\.weight_([uv])$", r".parametrizations.weight.0._\1"),
]  # fmt: skip


def read_biggan(name: str | Path, **hub: Any) -> tuple[BigGANConfig, dict[str, Tensor]]:
    """Return the config and the state dict (float32) of a published BigGAN-deep, ready for `BigGAN(cfg)`.

    Args:
        name: a folder that holds config.json and pytorch_model.bin (or model.safetensors), or a repository id of the
            Hugging Face Hub.
        hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
    Raises:
        ValueError: the config asks for something our BigGAN lacks (field and value are named), or the tensors do not
            fit the config (missing, surplus and misshapen names are listed).
        FileNotFoundError: no such folder, or the folder lacks a file (named).
    """
    folder = published.find_folder(name, [], hub, TRANSFORMERS)
    cfg = translate_config(published.read_config(folder))
    state = translate_state(published.read_tensors(folder, TRANSFORMERS))
    with torch.device("meta"):
        wanted = BigGAN(cfg).state_dict()
    published.check_tensors(state, wanted, folder)
    return cfg, state


def translate_config(theirs: dict[str, Any]) -> BigGANConfig:
    """Return our config for the fields of a published config.json, or say which of them has no counterpart."""
    published.check_fields(theirs, {}, DEFAULTS, OURS)
    c = DEFAULTS | theirs
    ups, inputs, outputs = zip(*c["layers"], strict=True)
    if c["class_embed_dim"] != c["z_dim"]:
        _refuse("class_embed_dim", c["class_embed_dim"], f"z_dim, which is {c['z_dim']}")
    if inputs[1:] != outputs[:-1] or inputs[0] != 16 or outputs[-1] != 1:
        _refuse("layers", c["layers"], "blocks that go from 16 to 1, each from where the one before ends")
    if any(b not in (a, a / 2) for a, b in zip(inputs, outputs)):
        _refuse("layers", c["layers"], "blocks that keep their maps or halve them")
    return BigGANConfig(
        side=c["output_dim"], channels=3, n_classes=c["num_classes"], latent=c["z_dim"], d_class=c["z_dim"],
        width=c["channel_width"], multiples=(*inputs, 1), ups=tuple(map(bool, ups)),
        attention=c["attention_layer_position"], deep=True, rgb_maps=c["channel_width"], n_stats=c["n_stats"],
        swapped=True, eps=c["eps"],
    )  # fmt: skip


def translate_state(theirs: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return the tensors under our names, as `dtype`; the class embedding transposed.

    Files from before torch 1.1 have a normalised `weight` beside `weight_orig` and no `weight_v`. There v is set so
    that the spectral norm is the one the file was saved with.
    """
    state, theirs = {}, dict(theirs)
    for name in [k for k in theirs if k.endswith(".weight_orig")]:
        stem = name.removesuffix("_orig")
        normalised, v = theirs.pop(stem, None), f"{stem}_v"
        if v not in theirs and f"{stem}_u" in theirs:
            theirs[v] = _right_vector(theirs[name], theirs[f"{stem}_u"], normalised)
    for name, tensor in theirs.items():
        for pattern, ours in RENAME:
            name = re.sub(pattern, ours, name)
        state[name] = (tensor.T.contiguous() if name == "embed.weight" else tensor).to(dtype)
    return state


def _right_vector(weight: Tensor, u: Tensor, normalised: Tensor | None) -> Tensor:
    """Return v along W^T u: of unit length, or such that u^T W v is what `normalised` was divided by."""
    rows = weight.flatten(1).double()
    v = rows.T @ u.double()
    length = v.norm()
    sigma = length if normalised is None else (rows.square().sum() / (rows * normalised.flatten(1).double()).sum())
    return (v * sigma / length.square()).to(weight.dtype)


def _refuse(field: str, value: Any, wanted: str) -> None:
    published.refuse(field, value, wanted, OURS)


__all__ = ["CONFIG", "read_biggan", "translate_config", "translate_state"]
