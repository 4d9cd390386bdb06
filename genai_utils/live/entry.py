"""What a live model is: graphs to export, programs that run them, and the controls and outputs of its widget.

A program is written twice, line by line alike: here in Python (`run` calls the PyTorch modules), and in the JavaScript
file of the same name beside it (`run` calls the exported graphs). A test compares all that the two give out.

    def decode(run, facts, inputs):                      # yields {output: value} once, or after every step
        yield {"picture": run("decode", z=...)["x"]}

Shapes:  a value is a tensor (pictures (n, C, H, W) in [-1, 1], sound (T,) in [-1, 1]) or anything that JSON can hold.
"""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from genai_utils.weights import load_weights

Run = Callable[..., dict[str, Tensor]]
Program = Callable[[Run, dict[str, Any], dict[str, Any]], Iterator[dict[str, Any]]]


class Refused(ValueError):
    """An input that a program cannot take; `field` is the control beside which the reader is told."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def check_input(field: str, value: Any, low: float, high: float, *, whole: bool = False, n: int | None = None) -> None:
    """Refuse a number beyond [low, high], or, with n, a list of other than n numbers within; `whole` ones if asked."""
    if n is not None and len(value) != n:
        raise Refused(field, f"{field} must be {n} numbers, got {len(value)}: give one for each place")
    kind = "whole " if whole else ""
    for v in [value] if n is None else value:
        if not isinstance(v, (int, float)) or not low <= v <= high or whole and v % 1:
            raise Refused(field, f"{field} must be a {kind}number from {low} to {high}, got {v}: choose one of these")


def check_seed(field: str, value: Any) -> None:
    check_input(field, value, 0, 2**32 - 1, whole=True)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A module as it is exported: its inputs by name with examples, its outputs by name, axes that may vary."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: dict[str, dict[int, Any]] = field(default_factory=dict)  # input -> axis -> torch.export.Dim


@dataclass(frozen=True, kw_only=True)
class Act:
    """One thing to do with a model: a program, its controls and outputs, and inputs whose answers are stored."""

    title: str
    program: Program
    controls: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    presets: dict[str, dict[str, Any]]  # label -> inputs; what they leave out is each control's own value
    graphs: tuple[str, ...]  # those it runs: a page loads them when the act is first used
    go: str | None = None  # the button that starts it; None answers every change at once


@dataclass(frozen=True, kw_only=True)
class Live:
    """A live model of the book.

    `graphs(*models)` and `facts(*models)` are given the shipped models, or in a kernel the chapter's own.
    """

    weights: dict[str, type]  # registry name -> class
    graphs: Callable[..., dict[str, Graph]]
    facts: Callable[..., dict[str, Any]]  # JSON-safe numbers and names that the programs share
    acts: dict[str, Act]

    def models(self) -> list[nn.Module]:
        """Return the shipped models."""
        return [load_weights(name, cls) for name, cls in self.weights.items()]


def runner(graphs: dict[str, Graph]) -> Run:
    """Return run(graph, **inputs) -> outputs by name, by the PyTorch modules on their own device."""

    @torch.no_grad()
    def run(name: str, **inputs: Tensor) -> dict[str, Tensor]:
        graph = graphs[name]
        parameter = next(graph.module.parameters(), None)
        device = "cpu" if parameter is None else parameter.device
        found = graph.module(*(inputs[key].to(device) for key in graph.inputs))
        found = (found,) if isinstance(found, Tensor) else found
        return dict(zip(graph.outputs, (t.cpu() for t in found)))

    return run


# ---- controls: each is a dict that run_live.js draws; `name` is the key in a program's inputs


def slider(name: str, label: str, low: float, high: float, value: float, *, step: float = 1, digits: int = 0) -> dict:
    """A number; `digits` after the point are shown."""
    return {"kind": "slider", "name": name, "label": label, "min": low, "max": high, "step": step, "value": value,
            "digits": digits}  # fmt: skip


def choice(name: str, label: str, options: list[str], value: int = 0) -> dict:
    """One of a few; its value is the index."""
    return {"kind": "choice", "name": name, "label": label, "options": options, "value": value}


def seed(value: int = 7, name: str = "seed", label: str = "seed") -> dict:
    """A whole number in [0, 2^32), with a button for the next one."""
    return {"kind": "seed", "name": name, "label": label, "value": value}


def text(
    name: str, label: str, value: str, *, longest: int, alphabet: str | None = None, words: bool = False, at: int = 0
) -> dict:
    """A line of text of 1 ... `longest` characters of `alphabet` (None: any).

    With `words` its words stand below it as buttons, and `name_at` is the index of the chosen one.
    """
    made = {"kind": "text", "name": name, "label": label, "value": value, "longest": longest, "alphabet": alphabet}
    return made | ({"words": True, "at": at} if words else {})


def plane(
    name: str, labels: tuple[str, str], reach: float, value: tuple[float, float] = (0.0, 0.0), n: int = 19
) -> dict:
    """A point of a square [-reach, reach]^2; the act's first output, stored at n x n points, is its map."""
    return {"kind": "plane", "name": name, "labels": list(labels), "reach": reach, "value": list(value), "n": n}


def drawing(name: str, label: str, examples: Tensor, value: int = 0) -> dict:
    """A pad of 28 x 28 pixels to draw on; `examples` are ten digits, 0 to 9, (10, 1, 28, 28) uint8.

    The value is 784 bytes, as numbers.
    """
    flat = examples.reshape(len(examples), -1)
    return {"kind": "drawing", "name": name, "label": label, "value": flat[value].tolist(),
            "examples": base64.b64encode(flat.numpy().tobytes()).decode()}  # fmt: skip


def codes(
    name: str, label: str, examples: list[list[int]], n_codes: int, columns: int, *, value: int = 0,
    patches: Tensor | None = None,
) -> dict:
    """A grid of whole numbers in [0, n_codes) to paint on, beginning as one of the examples.

    The value of `name_at` is the index of the example that was chosen last; `patches` (n_codes, h, w) uint8 are little
    pictures of the numbers, for the cells and for the palette.
    """  # fmt: skip
    small = None if patches is None else base64.b64encode(patches.contiguous().numpy().tobytes()).decode()
    side = None if patches is None else list(patches.shape[1:])
    return {"kind": "codes", "name": name, "label": label, "value": examples[value], "at": value, "examples": examples,
            "n": n_codes, "columns": columns, "patches": small, "patch": side}  # fmt: skip


# ---- outputs


def pictures(name: str, titles: list[str], *, size: int = 168, columns: int = 0, film: bool = False) -> dict:
    """Pictures, each `size` CSS pixels wide, in rows of `columns` (0: as fits); `film` keeps every step."""
    return {"kind": "pictures", "name": name, "titles": titles, "size": size, "columns": columns, "film": film}


def bars(name: str, title: str, *, rest: str = "cut") -> dict:
    """Shares as bars; the value is [[label, share in [0, 1], kept, share to be said], ...], the last two optional.

    Those not kept are hatched, with `rest` for a number; with rest="" those kept are marked.
    """
    return {"kind": "bars", "name": name, "title": title, "rest": rest}


def words(name: str, title: str) -> dict:
    """Text; the value is [[text, weight in [0, 1]], ...], tinted by weight."""
    return {"kind": "words", "name": name, "title": title}


def cloud(name: str, labels: tuple[str, str], reach: float) -> dict:
    """Points (n, 2) in the square [-reach, reach]^2."""
    return {"kind": "cloud", "name": name, "labels": list(labels), "reach": reach}


def numbers(name: str) -> dict:
    """Named figures; the value is [[name, number, digits after the point, unit], ...]."""
    return {"kind": "numbers", "name": name}


def sound(name: str, title: str, rate: int) -> dict:
    """A sound to play, with its wave; `rate` in samples a second."""
    return {"kind": "sound", "name": name, "title": title, "rate": rate}
