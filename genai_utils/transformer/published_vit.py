"""Read published ViTs (transformers' folders): their config in our words, their tensors under our names.

Sources: layout of ViTModel and ViTForImageClassification in Hugging Face transformers: the names of published files, as
         in google/vit-base-patch16-224, and those that the library has used within since its version 5.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genai_utils.transformer.vit import ViT, ViTConfig
from genai_utils.weights import hub as published
from genai_utils.weights.hub import CONFIG, TRANSFORMERS

__all__ = ["CONFIG", "TRANSFORMERS", "read_vit", "translate_config", "translate_state"]

# What the library assumes for a field that the file leaves out, of those that we translate
DEFAULTS = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "layer_norm_eps": 1e-12, "image_size": 224,
    "patch_size": 16, "num_channels": 3, "qkv_bias": True, "pooler_output_size": None,
}  # fmt: skip

# Fields of which we have one variant only, with the values that ask for it; a file without the field means the first
ONLY = {"model_type": ("vit",), "hidden_act": ("gelu",), "pooler_act": ("tanh",)}
ARCHITECTURES = ("ViTModel", "ViTForImageClassification")

# They are for first weights, for another head, for training or for the library itself
IGNORED = {
    "architectures", "initializer_range", "encoder_stride", "id2label", "label2id", "num_labels", "problem_type",
    "transformers_version", "torch_dtype", "dtype", "return_dict", "output_hidden_states", "output_attentions",
    "torchscript", "use_bfloat16", "is_encoder_decoder", "add_cross_attention", "chunk_size_feed_forward",
}  # fmt: skip

# Their names -> ours, in this order: both schemes meet in the middle
RENAME = [
    (r"^vit\.", ""), (r"^encoder\.layer\.|^layers\.", "blocks."), (r"^classifier\.", "head."),
    (r"^embeddings\.cls_token$", "class_token"), (r"^embeddings\.position_embeddings$", "positions"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patches.linear."), (r"^layernorm\.", "norm."),
    (r"^pooler\.dense\.", "pooler."), (r"\.layernorm_before\.", ".norm1."), (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.(?:attention\.query|q_proj)\.", ".attention.to_q."),
    (r"\.attention\.(?:attention\.key|k_proj)\.", ".attention.to_k."),
    (r"\.attention\.(?:attention\.value|v_proj)\.", ".attention.to_v."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attention.out."),
    (r"\.(?:intermediate\.dense|mlp\.fc1)\.", ".mlp.0."), (r"\.(?:output\.dense|mlp\.fc2)\.", ".mlp.2."),
]  # fmt: skip
OURS = "this ViT"


def read_vit(name: str | Path, **hub: Any) -> tuple[ViTConfig, dict[str, Tensor]]:
    """Return the config and the state dict (float32) of a published ViT, ready for `ViT(cfg)`.

    A classifier counts as many classes as its tensor has rows. It reads the class token itself, so that a pooler beside
    it, which some files carry, is left out.

    Args:
        name: a folder that holds config.json and model.safetensors (or pytorch_model.bin), else a repository id of the
            Hugging Face Hub, such as "google/vit-base-patch16-224".
        hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
    Raises:
        ValueError: the config asks for a part that our ViT lacks (field and value are named), or the tensors do not
            fit the config (missing, surplus and misshapen names are listed).
        FileNotFoundError: no such folder, or the folder lacks a file (named).
    """
    folder = published.find_folder(name, [], hub, TRANSFORMERS)
    theirs = published.read_config(folder)
    cfg = translate_config(theirs)  # before the tensors are read: it says sooner what does not fit
    state = translate_state(published.read_tensors(folder, TRANSFORMERS))
    if "head.weight" in state:
        state = {k: v for k, v in state.items() if not k.startswith("pooler.")}
    n_classes = len(state["head.weight"]) if "head.weight" in state else 0
    cfg = translate_config(theirs, n_classes=n_classes, pooler="pooler.weight" in state)
    with torch.device("meta"):
        wanted = ViT(cfg).state_dict()
    published.check_tensors(state, wanted, folder)
    return cfg, state


def translate_config(theirs: dict[str, Any], *, n_classes: int = 0, pooler: bool = False) -> ViTConfig:
    """Return our config for the fields of a ViT's config.json, or say which of them has no counterpart.

    Args:
        theirs: the fields.
        n_classes, pooler: what the tensors say; the config tells neither for certain.
    Raises:
        ValueError: a field asks for something our ViT lacks, or is unknown.
    """
    published.check_fields(theirs, ONLY, DEFAULTS.keys() | IGNORED, OURS)
    if bad := [a for a in theirs.get("architectures") or [] if a not in ARCHITECTURES]:
        published.refuse("architectures", bad[0], " or ".join(ARCHITECTURES), OURS)
    c = DEFAULTS | {k: v for k, v in theirs.items() if k in DEFAULTS}
    if c["pooler_output_size"] not in (None, c["hidden_size"]):
        published.refuse(
            "pooler_output_size", c["pooler_output_size"], f"hidden_size, which is {c['hidden_size']}", OURS
        )
    return ViTConfig(
        side=_one_length(c, "image_size"), channels=c["num_channels"], patch=_one_length(c, "patch_size"),
        d_model=c["hidden_size"], n_layers=c["num_hidden_layers"], n_heads=c["num_attention_heads"],
        d_hidden=c["intermediate_size"], positions="learned", n_classes=n_classes, pooler=pooler,
        qkv_bias=c["qkv_bias"], eps=c["layer_norm_eps"], dropout=c["hidden_dropout_prob"],
        attention_dropout=c["attention_probs_dropout_prob"],
    )  # fmt: skip


def translate_state(theirs: dict[str, Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return the tensors under our names, as `dtype`: one projection to q, k and v, and patches as rows of a matrix."""
    state = published.translate_tensors(theirs, RENAME, dtype)
    for name, tensor in state.items():
        if re.match(r"patches\.linear\.weight$", name) and tensor.ndim == 4:  # a convolution whose kernel is a patch
            state[name] = tensor.flatten(1)  # (E, C P P)
    return state


def _one_length(c: dict[str, Any], field: str) -> int:
    """Return the side of squares that a field gives as one number or as two equal ones."""
    value = c[field]
    side = value[0] if isinstance(value, list | tuple) and len(set(value)) == 1 else value
    if isinstance(side, bool) or not isinstance(side, int):
        published.refuse(field, value, "one number of pixels, the side of squares", OURS)
    return side
