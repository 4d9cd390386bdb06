"""Checkpoints of a training run: written whole or not at all, read without running code, exact to the last bit.

A checkpoint holds the state of every *part* of the run (model, optimiser, schedule, average, ...), the position of the
batch iterator, every random number generator, the rows logged so far and the settings. A part is anything with
`state_dict()` and `load_state_dict()`, or a `torch.Generator`.
"""

import json
import os
import pickle
import random
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def save_checkpoint(path: str | Path, state: dict) -> None:
    """Write `state` to `path` so that a kill at any instant leaves the old file or the new one, never half of one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")  # same folder: a rename is atomic only within one file system
    with open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())  # the bytes are on the disk before the name points at them
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # and so is the name
    finally:
        os.close(folder)


def load_checkpoint(path: str | Path) -> dict:
    """Read what `save_checkpoint` wrote, on the CPU; a file can hold tensors and plain values, never code.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or no checkpoint.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, ValueError) as error:
        raise ValueError(f"{path} is damaged or is no checkpoint of `fit`; delete it to start afresh") from error
    if not isinstance(state, dict) or not {"step", "parts"} <= state.keys():
        raise ValueError(f"{path} is no checkpoint of `fit`: it has no step and parts")
    return state


def load_parts(path: str | Path, **parts: Any) -> int:
    """Load some parts of a checkpoint, such as `load_parts("run.pt", model=model)`, and return its step.

    Raises:
        ValueError: the checkpoint has no such part, or a part does not fit (the message names it).
    """
    state = load_checkpoint(path)
    restore_parts(state["parts"], parts, path)
    return state["step"]


def part_states(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of every part, by name."""
    return {k: p.get_state() if isinstance(p, torch.Generator) else p.state_dict() for k, p in parts.items()}


def restore_parts(states: Mapping[str, Any], parts: Mapping[str, Any], path: str | Path) -> None:
    """Load each part's state; `path` is for the message when one is missing or does not fit."""
    if missing := sorted(set(parts) - set(states)):
        raise ValueError(f"{path} holds {', '.join(sorted(states))}, but no {', '.join(missing)}")
    for name, part in parts.items():
        try:
            if isinstance(part, torch.Generator):
                part.set_state(states[name])
            elif len(states[name]):  # a GradScaler that is switched off has an empty state: a bf16 run has none to load
                part.load_state_dict(states[name])
                if isinstance(part, torch.optim.Optimizer):
                    _order_like_weights(part)
        except (RuntimeError, KeyError, ValueError) as error:
            raise ValueError(f"part {name!r} of {path} does not fit: {error}") from error


def _order_like_weights(opt: torch.optim.Optimizer) -> None:
    """Give an optimiser's averages the strides of their weights, which may have others than when they were saved.

    A fused step goes through memory and not by indices: averages in another order would be paired wrongly, silently.
    """
    for weight, state in opt.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                state[key] = torch.empty_like(weight, dtype=value.dtype, device=value.device).copy_(value)


def random_state() -> dict[str, Any]:
    """Return the state of every global generator: Python, numpy, torch on the CPU and on each GPU."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    state = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)),
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put every generator back to where `random_state` found it (those of a GPU only where there is one)."""
    random.setstate(state["python"])
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["cpu"])
    for index, gpu_state in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(gpu_state, index)
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


def settings(parts: Mapping[str, Any], extra: Any = None) -> dict[str, Any]:
    """Return what must not change between a checkpoint and its resumption, as plain JSON values.

    Args:
        parts: a part's `cfg` (a config dataclass or a dict) counts, and an optimiser's numbers (learning rate, ...).
        extra: a config dataclass or a dict of the caller's own, such as the name of the data and the batch size.
    """
    found = {}
    for name, part in parts.items():
        if (cfg := getattr(part, "cfg", None)) is not None:
            found[name] = _plain(cfg)
        elif isinstance(defaults := getattr(part, "defaults", None), dict):  # an optimiser
            found[name] = {k: v for k, v in _plain(defaults).items() if not isinstance(v, bool | None)}
    if extra is not None:
        found["config"] = _plain(extra)
    return found


def changed_settings(old: Any, new: Any, name: str = "") -> list[str]:
    """Return one line for each setting that differs, such as `model.width is 64 in the checkpoint, 32 now`."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            line
            for k in keys
            for line in changed_settings(old.get(k, "unset"), new.get(k, "unset"), f"{name}.{k}" if name else k)
        ]
    return [] if old == new else [f"{name} is {old} in the checkpoint, {new} now"]


def _plain(cfg: Any) -> Any:
    values = asdict(cfg) if is_dataclass(cfg) and not isinstance(cfg, type) else cfg
    return json.loads(json.dumps(values, default=lambda v: v.tolist() if isinstance(v, Tensor) else str(v)))
