"""Read shipped weights: first the hash, then the file, safetensors only, and every error names its cure.

Sources: the format is safetensors (a JSON header, then raw numbers: reading it runs no code).
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from torch import Tensor, nn

from genai_utils.core import from_json
from genai_utils.data import ByteBPE, CharTokenizer, Unigram, WordPiece

FOLDER = Path(__file__).parent
TOKENIZERS = {cls.__name__: cls for cls in (CharTokenizer, ByteBPE, WordPiece, Unigram)}


def registry(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Return every entry by name: file, bytes, sha256, class, config, command, data, terms, seed, score, hardware.

    Weights that read or write text may have a tokenizer besides.
    """
    path = folder / "registry.json"
    return json.loads(path.read_text()) if path.exists() else {}


def load_weights(name: str, cls: type, *, folder: Path = FOLDER) -> nn.Module:
    """Return the model called `name`, in evaluation mode, in float32 on the CPU.

    Args:
        name: a key of the registry, such as "unet-mnist".
        cls: the model's class; `cls.Config` is its config dataclass.
        folder: where registry.json and the files are.
    Raises:
        ValueError: there is no such name; the file is changed, truncated, a pickle, or of another class or shape.
    """
    entry = _entry(name, folder)
    if entry["class"] != cls.__name__:
        raise ValueError(f"{name!r} holds {_kind(entry)}, not a {cls.__name__}")
    tensors = _tensors(name, entry, folder)
    model = cls(from_json(cls.Config, json.dumps(entry["config"])))
    if problems := _mismatches(model.state_dict(), tensors):
        raise ValueError(f"{name!r} does not fit {cls.__name__} with its recorded config: {'; '.join(problems)}")
    model.load_state_dict(tensors)
    return model.eval()


def load_tensors(name: str, *, folder: Path = FOLDER) -> dict[str, Tensor]:
    """Return the tensors called `name`, floats in float32; errors as in `load_weights`."""
    return _tensors(name, _entry(name, folder), folder)


def load_tokenizer(name: str, *, folder: Path = FOLDER) -> Any:
    """Return the tokenizer that the weights called `name` were trained with.

    Args:
        name: a key of the registry.
        folder: where registry.json is.
    Raises:
        ValueError: there is no such name, or its entry has no tokenizer, or one of an unknown kind.
    """
    fields = _entry(name, folder).get("tokenizer")
    if fields is None:
        having = [key for key, entry in registry(folder).items() if "tokenizer" in entry]
        raise ValueError(f"{name!r} has no tokenizer; there is one with {', '.join(sorted(having)) or 'no weights'}")
    if fields["kind"] not in TOKENIZERS:
        raise ValueError(f"{name!r} has a tokenizer of unknown kind {fields['kind']!r}; known: {', '.join(TOKENIZERS)}")
    return TOKENIZERS[fields["kind"]].from_dict(fields)


def tokenizer_fields(tokenizer: Any) -> dict[str, Any]:
    """Return what the registry keeps of a tokenizer; ValueError for one of an unknown class."""
    if TOKENIZERS.get(type(tokenizer).__name__) is not type(tokenizer):
        raise ValueError(f"tokenizer must be one of {', '.join(TOKENIZERS)}, got {type(tokenizer).__name__}")
    return tokenizer.to_dict()


def _entry(name: str, folder: Path) -> dict[str, Any]:
    entries = registry(folder)
    if name not in entries:
        raise ValueError(f"there are no weights {name!r}; there are {', '.join(sorted(entries)) or 'none'}")
    return entries[name]


def _kind(entry: dict[str, Any]) -> str:
    return f"a {entry['class']}" if entry["class"] else "tensors (see load_tensors)"


def _tensors(name: str, entry: dict[str, Any], folder: Path) -> dict[str, Tensor]:
    path = folder / Path(entry["file"]).name  # the folder's own files only
    if not path.exists():
        raise ValueError(f"the file of {name!r} is missing: {path}; install the package again")
    data = path.read_bytes()  # hashed and parsed from the same bytes
    if data[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise ValueError(f"{path} is a pickle, which can run code when read; only safetensors are, so it is refused")
    if len(data) < entry["bytes"]:
        raise ValueError(f"{path} is truncated: {len(data):,} of {entry['bytes']:,} bytes; install the package again")
    found = hashlib.sha256(data).hexdigest()
    if found != entry["sha256"]:
        raise ValueError(
            f"{path} is not the file that was registered: its sha256 is {found}, not {entry['sha256']}; "
            "install the package again, or, after training, register the file with save_weights"
        )
    try:
        tensors = parse(data)
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from error
    return {k: t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for k, t in tensors.items()}


def _mismatches(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """Return one line per tensor that is missing, surplus or of another shape."""
    lines = [f"{k} is missing" for k in sorted(wanted.keys() - found.keys())]
    lines += [f"{k} is not in the model" for k in sorted(found.keys() - wanted.keys())]
    return lines + [
        f"{k} is {tuple(found[k].shape)} in the file, {tuple(t.shape)} in the model"
        for k, t in wanted.items()
        if k in found and found[k].shape != t.shape
    ]
