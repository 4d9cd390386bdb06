"""Configs are frozen dataclasses; here they become JSON and come back, unchanged or with a clear error."""

import json
from dataclasses import asdict, fields
from typing import Any


def to_json(cfg: Any) -> str:
    """Return the JSON text of a config dataclass, keys in the order of its fields."""
    return json.dumps(asdict(cfg))


def from_json(cls: type, text: str) -> Any:
    """Return the config that `to_json` wrote.

    Args:
        cls: the config dataclass.
        text: a JSON object whose keys are fields of `cls`; missing keys take their defaults.
    Raises:
        ValueError: a key is no field of `cls` (the message names it and the fields there are).
    """
    values = json.loads(text)
    known = {f.name for f in fields(cls)}
    if surplus := sorted(set(values) - known):
        raise ValueError(f"{cls.__name__} has no field {', '.join(surplus)}; its fields are {', '.join(sorted(known))}")
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
