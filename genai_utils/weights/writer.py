"""Register trained weights: what recipes call at their end."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialise
from torch import Tensor, nn

from genai_utils.weights.loader import FOLDER, registry, tokenizer_fields

MAX_FILE, MAX_ALL = 8 * 2**20, 56 * 2**20  # bytes: the package must stay a quick download


def save_weights(
    name: str,
    model: nn.Module | Mapping[str, Tensor],
    *,
    config: Any = None,
    command: str,
    data: str,
    terms: str,
    seed: int,
    score: Mapping[str, Any],
    hardware: str,
    dtype: torch.dtype = torch.float32,
    tokenizer: Any = None,
    folder: Path = FOLDER,
) -> Path:
    """Write weights and their registry entry; return the file. The same weights give the same bytes.

    Args:
        name: what `load_weights` will be asked for: lower-case letters, digits and hyphens.
        model: a model, or a dict of tensors (for `load_tensors`).
        config: the model's config dataclass or a dict; None takes model.cfg.
        command: the command that trained it, from the root of the repository.
        data: what it was trained on, such as "mnist, train split".
        terms: the terms of that data, as named in the first column of LICENSES.md.
        seed: seed of the training run.
        score: what was measured, on the stored weights: {"accuracy": 0.993, "n": 10000}.
        hardware: where it was trained.
        dtype: torch.float16 stores half the bytes; loading gives float32 either way.
        tokenizer: a tokenizer of genai_utils.data, for weights that read or write text; `load_tokenizer` returns it.
        folder: where registry.json is.
    Raises:
        ValueError: a bad name; terms or tokenizer unknown; a value not finite or too large for dtype; more than 8 MiB,
            or 56 MiB in all.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(f"a name has lower-case letters, digits and hyphens, such as 'unet-mnist'; got {name!r}")
    if terms not in licence_terms(folder):
        raise ValueError(f"LICENSES.md names no terms {terms!r}, only {licence_terms(folder)}; add a row there")
    if dtype not in (torch.float16, torch.float32):
        raise ValueError(f"dtype must be torch.float16 or torch.float32, got {dtype}")
    is_model = isinstance(model, nn.Module)
    network = getattr(model, "_orig_mod", model)  # behind torch.compile
    content = serialise(_storable(network.state_dict() if is_model else model, dtype))
    entries = registry(folder)
    _refuse_large(name, content, entries)
    config = getattr(network, "cfg", None) if config is None else config
    entries[name] = {
        "file": f"{name}.safetensors",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "class": type(network).__name__ if is_model else None,
        "config": asdict(config) if is_dataclass(config) else dict(config or {}),
        "command": command,
        "data": data,
        "terms": terms,
        "seed": seed,
        "score": dict(score),
        "hardware": hardware,
    }
    if tokenizer is not None:
        entries[name]["tokenizer"] = tokenizer_fields(tokenizer)
    text = json.dumps(entries, indent=2, sort_keys=True, allow_nan=False) + "\n"  # may raise: nothing is written yet
    _write(folder / f"{name}.safetensors", content)
    _write(folder / "registry.json", text.encode())
    return folder / f"{name}.safetensors"


def licence_terms(folder: Path = FOLDER) -> list[str]:
    """Return the first column of the table in LICENSES.md."""
    rows = re.findall(r"^\| ([^|]+?) \|", (folder / "LICENSES.md").read_text(), re.MULTILINE)
    return [row for row in rows if not row.startswith("terms")]


def _storable(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    stored = {}
    for key, t in tensors.items():
        t = t.detach().cpu()
        as_stored = t.to(dtype) if t.is_floating_point() else t
        if not as_stored.isfinite().all():
            raise ValueError(f"{key} has values that are not finite in {dtype}; its largest is {t.abs().max():.3g}")
        stored[key] = as_stored.contiguous().clone()  # tied weights become two tensors, as safetensors asks
    return stored


def _refuse_large(name: str, content: bytes, entries: Mapping[str, Mapping[str, Any]]) -> None:
    total = len(content) + sum(entry["bytes"] for key, entry in entries.items() if key != name)
    if len(content) > MAX_FILE:
        raise ValueError(f"{name} takes {len(content):,} bytes, more than {MAX_FILE:,}; store float16 or train smaller")
    if total > MAX_ALL:
        raise ValueError(f"with {name} the weights take {total:,} bytes, more than {MAX_ALL:,} in all")


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
