"""Measured results that chapters quote: each file says what was run, on which sources, and where.

`save_results` is called by the scripts in tools/results, on a machine that has the time; chapters only read.
"""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]  # of the repository, in a clone


def save_results(
    number: str | int,
    values: Mapping[str, Any],
    *,
    sources: Iterable[str],
    command: str,
    seeds: Iterable[int],
    libraries: Iterable[str] = ("torch", "numpy"),
    folder: Path = FOLDER,
    root: Path = ROOT,
) -> Path:
    """Write results/NN.json and return its path; the same results give the same bytes.

    Args:
        number: of the chapter, such as 16 or "16", or a name such as "performance".
        values: what was measured: numbers, strings, lists, tensors, nested in dicts.
        sources: files, or folders of Python files, that the values depend on, relative to the repository.
        command: the command that recomputes them, from the root of the repository.
        seeds: those it used.
        libraries: packages whose versions matter.
    Raises:
        ValueError: a source is missing; a value is not finite or no JSON.
    """
    record = {
        "command": command,
        "hardware": hardware_name(),
        "seeds": list(seeds),
        "sources": {name: source_hash(path) for name, path in sorted(_files(sources, root).items())},
        "values": values,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in libraries},
    }
    text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False, default=_plain) + "\n"
    path = _path(number, folder)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)
    return path


def load_results(number: str | int, *, folder: Path = FOLDER) -> dict[str, Any]:
    """Return what `save_results` wrote: values, sources (file: sha256), command, seeds, versions, hardware.

    Raises:
        ValueError: there are no such results.
    """
    path = _path(number, folder)
    if not path.exists():
        there = ", ".join(sorted(p.stem for p in folder.glob("*.json"))) or "none"
        raise ValueError(f"there are no results {path.stem!r}; there are {there}; `make results` computes them")
    return json.loads(path.read_text())


def stale(number: str | int, *, folder: Path = FOLDER, root: Path = ROOT) -> list[str]:
    """Return the sources that changed since the results were computed; an empty list if they are fresh.

    Raises:
        RuntimeError: this is an installed package and no clone of the repository, so the sources are not at hand.
    """
    if not (root / "pyproject.toml").exists():
        raise RuntimeError(f"only a clone of the repository can tell: there is no pyproject.toml in {root}")
    sources = load_results(number, folder=folder)["sources"]
    return [name for name, sha in sources.items() if not (root / name).is_file() or source_hash(root / name) != sha]


def hardware_name() -> str:
    """Return the name of the processor, the number of torch's threads, and the GPU if there is one."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)):
        name = found[1].strip()
    cpu = f"{name}, {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"
    return f"{torch.cuda.get_device_name()}; {cpu}" if torch.cuda.is_available() else cpu


def _path(number: str | int, folder: Path) -> Path:
    name = f"{number:02d}" if isinstance(number, int) else number
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"results have a chapter's number or a lower-case name, got {number!r}")
    return folder / f"{name}.json"


def _files(sources: Iterable[str], root: Path) -> dict[str, Path]:
    """Return path by name, relative to root, with forward slashes; a folder stands for the Python files below it."""
    found: dict[str, Path] = {}
    for name in sources:
        path = root / name
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        if not files or not all(file.is_file() for file in files):
            raise ValueError(f"there is no source {name!r} in the repository {root}")
        found |= {file.resolve().relative_to(root.resolve()).as_posix(): file for file in files}
    if not found:
        raise ValueError("results need at least one source, else nobody would notice that they are out of date")
    return found


def source_hash(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal, by which results know their sources."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError as error:
        raise ValueError(f"the library {name!r} is not installed, so the results cannot depend on it") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return value.tolist()
    raise ValueError(f"a result must be a number, a string, a list, a dict or a tensor; got {type(value).__name__}")
