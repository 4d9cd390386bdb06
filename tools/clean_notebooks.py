"""Keep notebooks as git has them: python -m tools.clean_notebooks [--check | --execute] [notebook ...]

A clean notebook has no outputs, but for the text of cells tagged `nbval-check-output`, which one scripted run from top
to bottom wrote (--execute; QUICK, one CPU thread, never a hand-run kernel); metadata that does not depend on who saved
it; and stable cell ids. An assignment keeps its variants, its grades and its locks. --check changes nothing, names what
is not clean, and fails.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat

from tools import chapters

KEPT_CELL_METADATA = ("tags", "nbgrader", "deletable", "editable")    # the last two: locks of an assignment
KEPT_METADATA = ("genai",)      # the variants of an assignment's source
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
COMPARED = "nbval-check-output"
COMMAND = "make clean-notebooks"


def text_only(output):
    """The part of an output that nbval compares and git keeps, or None: printed text and the repr of a result."""
    if output.output_type == "stream" and output.name == "stdout":
        return nbformat.v4.new_output("stream", name="stdout", text=output.text)
    if output.output_type in ("execute_result", "display_data") and "text/plain" in output.get("data", {}):
        data = {"text/plain": output.data["text/plain"]}
        extra = {"execution_count": output.execution_count} if output.output_type == "execute_result" else {}
        return nbformat.v4.new_output(output.output_type, data=data, **extra)
    return None


def normalise(nb):
    """Return the clean form of a notebook; outputs of compared cells stay as they are, reduced to text."""
    cells, seen = [], set()
    for number, cell in enumerate(nb.cells):
        metadata = {key: cell.metadata[key] for key in KEPT_CELL_METADATA
                    if cell.metadata.get(key) not in (None, [], {})}
        name = cell.get("id", "")
        while not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) or name in seen:
            name = f"cell-{number:02d}" if f"cell-{number:02d}" not in seen else f"{name or 'cell'}-{number}"[-64:]
        seen.add(name)
        new = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell,
               "raw": nbformat.v4.new_raw_cell}[cell.cell_type](cell.source.rstrip(), id=name, metadata=metadata)
        if cell.cell_type == "code" and COMPARED in metadata.get("tags", []):
            new.outputs = [kept for kept in map(text_only, cell.outputs) if kept is not None]
            new.execution_count = cell.execution_count
        cells.append(new)
    kept = {key: nb.metadata[key] for key in KEPT_METADATA if nb.metadata.get(key)}
    clean = nbformat.v4.new_notebook(cells=cells, metadata=METADATA | kept)
    clean.nbformat_minor = 5
    return clean


def as_text(nb):
    return nbformat.writes(nb, indent=1, ensure_ascii=False).rstrip("\n") + "\n"


def write(nb, path):
    """Write the clean form to `path` (only when it differs); say whether anything changed."""
    text = as_text(normalise(nb))
    changed = not path.exists() or path.read_text(encoding="utf-8") != text
    if changed:
        path.write_text(text, encoding="utf-8")
    return changed


def problems(path):
    """Why the notebook is not clean, as a list of short reasons."""
    nb = chapters.read(path)
    found = []
    for index, cell in enumerate(nb.cells):
        if cell.cell_type != "code":
            continue
        compared = COMPARED in chapters.tags(cell)
        if compared and (not cell.outputs or cell.execution_count is None):
            found.append(f"cell {index} is compared but has no recorded output")
        if not compared and (cell.outputs or cell.execution_count is not None):
            found.append(f"cell {index} has outputs")
    if not found and path.read_text(encoding="utf-8") != as_text(normalise(nb)):
        found.append("metadata, cell ids or layout are not normalised")
    return found


def clean(path, *, execute):
    """Clean one notebook in place; with `execute`, compared cells get their outputs from a fresh run."""
    nb = normalise(chapters.read(path))
    if execute and chapters.tagged(nb, COMPARED):
        chapters.execute(nb, path.parent, store_widgets=False)
    return write(nb, path)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: every notebook below notebooks/")
    parser.add_argument("--check", action="store_true", help="change nothing; fail when one is not clean")
    parser.add_argument("--execute", action="store_true", help="run notebooks that have compared cells")
    args = parser.parse_args(argv)
    notebooks = args.notebooks or sorted(p for p in (chapters.ROOT / "notebooks").rglob("*.ipynb")
                                         if ".ipynb_checkpoints" not in p.parts)
    if args.check:
        dirty = {path: found for path in notebooks if (found := problems(path))}
        for path, found in dirty.items():
            print(f"{path}: not clean: {'; '.join(found[:3])}{' ...' if len(found) > 3 else ''}")
        if dirty:
            sys.exit(f"error: {len(dirty)} of {len(notebooks)} notebooks are not clean; cure: {COMMAND}")
        print(f"{len(notebooks)} notebooks are clean")
        return
    for path in notebooks:
        print(f"{path}: {'cleaned' if clean(path, execute=args.execute) else 'was clean'}", flush=True)


if __name__ == "__main__":
    main()
