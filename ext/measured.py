"""Sphinx extension: numbers on a page come from what was measured, when the page is built.

    {measured}`16:nearest.nearer.value|.2f`

reads genai_utils/results/16.json, walks down its `values` and writes the number by a Python format. Before the colon:

- a file of genai_utils/results, such as 16 or bench_vae;
- `weights`: the registry of the shipped weights, genai_utils/weights/registry.json;
- `costs`: the cost boxes of the chapters, `costs:16.seconds`, `.gigabytes`, `.flops`, `.hardware`.

A step of the path is a key (which may hold dots itself), the index of a list, or `*` for every item of a list or a
dict. `mean`, `min`, `max`, `std` (over n - 1) or `len` as the last step takes a list, or all that the `*` led to. A
decimal number needs a format; `.0%` writes a share in per cent. Text and whole numbers may stand without one.

In a row of a table the bar before the format is written `\\|`, else it would end the cell.

A wrong file, path or format is a warning, which ends a strict build. Pages are read again when their files change.
"""

import json
import re
import statistics
from functools import lru_cache
from pathlib import Path

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

logger = logging.getLogger(__name__)

RESULTS, REGISTRY, CHAPTERS = Path("genai_utils/results"), Path("genai_utils/weights/registry.json"), Path("notebooks")
ROLE = re.compile(r"\{measured\}`([^`]+)`")
BOX = re.compile(
    r"QUICK, as in this book: (?P<seconds>[0-9.]+) s and (?P<gigabytes>[0-9.]+) GB of memory on one thread of "
    r"(?P<hardware>.+?)(?:, at [0-9.]+ times the time of the yardstick)?\.\n> Full-scale training: (?P<flops>\S+) FLOPs"
)
OVER = {"mean": statistics.fmean, "min": min, "max": max, "std": statistics.stdev, "len": len}


def measured(text: str, root: Path) -> str:
    """The formatted number that `file:path|format` stands for; root is the folder of the book's sources.

    Raises:
        ValueError: a wrong file, path or format, and what there is instead.
    """
    name, colon, rest = text.strip().partition(":")
    path, bar, spec = rest.rpartition("|") if "|" in rest else (rest, "", "")
    if not colon or not path.strip():
        raise ValueError(f"write file:path|format, got {text!r}")
    data, steps = _load(root, name.strip()), path.strip().split(".")
    found = _values(data, steps)
    if not found:
        raise ValueError(f"{name} has no {path.strip()!r}; {_nearest(data, steps)}")
    if len(found) > 1:
        raise ValueError(f"{path.strip()!r} can be read in {len(found)} ways in {name}")
    return _format(found[0], spec.strip(), text)


def files_of(text: str, root: Path) -> list[Path]:
    """The files that the number depends on; they need not exist."""
    name = text.strip().partition(":")[0].strip()
    if name == "costs":
        return sorted((root / CHAPTERS).glob("[0-9][0-9]_*.ipynb"))
    return [root / (REGISTRY if name == "weights" else RESULTS / f"{name}.json")]


def _load(root: Path, name: str):
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError(f"results have a chapter's number or a lower-case name, got {name!r}")
    files = files_of(name, root)
    if name == "costs":
        boxes = {file.name[:2]: _box(file, file.stat().st_mtime_ns) for file in files}
        return {chapter: box for chapter, box in boxes.items() if box}
    if not files[0].is_file():
        there = ", ".join(sorted(file.stem for file in (root / RESULTS).glob("*.json")))
        raise ValueError(f"there are no results {name!r}; there are {there or 'none'}, costs and weights")
    data = _json(files[0], files[0].stat().st_mtime_ns)
    return data if name == "weights" else data["values"]


@lru_cache(maxsize=64)
def _json(file: Path, changed: int):
    """What the file holds; `changed` makes a new version a new question."""
    return json.loads(file.read_text(encoding="utf-8"))


@lru_cache(maxsize=64)
def _box(file: Path, changed: int) -> dict | None:
    """The numbers of a chapter's cost box, or None if it has none yet."""
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        if "cost" in cell["metadata"].get("tags", ()) and (found := BOX.search("".join(cell["source"]))):
            box = found.groupdict()
            if box["flops"] == "none":
                del box["flops"]
            return {key: text if key == "hardware" else float(text) for key, text in box.items()}
    return None


def _values(data, steps: list[str]) -> list:
    """What the path can mean: one value if it is right, none if it is wrong, several if it is ambiguous."""
    found = [values[0] for values in _readings(data, steps) if len(values) == 1 and "*" not in steps]
    if steps[-1] in OVER:
        for values in _readings(data, steps[:-1]):
            values = values if "*" in steps else values[0]
            if isinstance(values, list) and values and (steps[-1] == "len" or all(map(_number, values))):
                if steps[-1] != "std" or len(values) > 1:
                    found.append(OVER[steps[-1]](values))
    return found


def _readings(value, steps: list[str]) -> list[list]:
    """Every way to read the steps, as the list of values it leads to: one, or with `*` one for each item."""
    if not steps:
        return [[value]]
    step, rest = steps[0], steps[1:]
    if step == "*":
        items = list(value.values()) if isinstance(value, dict) else value
        each = [_readings(item, rest) for item in items] if isinstance(items, list) else []
        return [[leaf for (leaves,) in each for leaf in leaves]] if each and all(len(e) == 1 for e in each) else []
    if isinstance(value, dict):  # a key may hold dots
        keys = ((".".join(steps[:i]), steps[i:]) for i in range(1, len(steps) + 1))
        return [reading for key, left in keys if key in value for reading in _readings(value[key], left)]
    if isinstance(value, list) and re.fullmatch(r"-?\d+", step) and -len(value) <= int(step) < len(value):
        return _readings(value[int(step)], rest)
    return []


def _number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _format(value, spec: str, text: str) -> str:
    if isinstance(value, str) and not spec:
        return value
    if not _number(value):
        raise ValueError(f"{text!r} leads to a {type(value).__name__} and not to a number")
    if isinstance(value, float) and not spec:
        raise ValueError(f"{text!r} is a decimal number: give a format, such as |.2f")
    try:
        shown = format(value, spec)
    except ValueError as error:
        raise ValueError(f"{text!r}: {spec!r} is no format for {value!r}: {error}") from None
    if value and not re.search(r"[1-9]", re.sub(r"e[+-]\d+", "", shown)):
        raise ValueError(f"{text!r}: {spec!r} writes {shown}, which hides {value!r}")
    return shown


def _nearest(data, steps: list[str]) -> str:
    """What there is where the path leaves the data, for a message."""
    end = next(i for i in range(len(steps) - 1, -1, -1) if _readings(data, steps[:i]))
    value = _readings(data, steps[:end])[0][0]
    where = f"below {'.'.join(steps[:end])!r}" if end else "at the top"
    if isinstance(value, dict):
        keys = sorted(value)
        return f"{where} there are {', '.join(keys[:12])}{' ...' * (len(keys) > 12)}"
    return f"{where} there is a {type(value).__name__}{f' of {len(value)}' if isinstance(value, list) else ''}"


class Measured(SphinxRole):
    """The role; see the text of the module."""

    def run(self):
        root = Path(self.env.srcdir)
        for file in files_of(self.text, root):
            self.env.note_dependency(str(file))
        try:
            return [nodes.Text(measured(self.text, root))], []
        except ValueError as error:
            logger.warning("measured: %s", error, location=self.get_location(), type="measured")
            return [nodes.problematic(self.rawtext, self.rawtext)], []


def setup(app):
    app.add_role("measured", Measured())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
