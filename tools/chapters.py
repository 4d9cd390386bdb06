"""What every tool and test needs to know of the chapters: where they are, their cells, and how one is run."""

import ast
import hashlib
import os
import re
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = (
    "The idea", "The maths", "The method in a few lines", "By hand equals the package", "See it move", "Train",
    "Sample", "Evaluate", "What goes wrong", "Uses, limits and where it stands", "Exercises", "References",
)
KERNEL_ENV = {  # how the book, the tests and the cost boxes run a chapter: quick, on one CPU thread
    "GENAI_QUICK": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "GENAI_LIVE": str(ROOT / "assets" / "live" / "manifest.json"),   # where run_live learns what the page can load
}


def paths(root=ROOT):
    """The chapter notebooks, in order of their numbers."""
    return sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def assignments(root=ROOT):
    """The student versions of the assignments, which `make release-exercises` writes."""
    return sorted((root / "notebooks" / "assignments").glob("*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def tags(cell):
    return cell.metadata.get("tags", [])


def tagged(nb, tag):
    return [cell for cell in nb.cells if tag in tags(cell)]


def code_hash(nb):
    """Hash of the notebook's code, its setup cell left out: what a cost box was measured on."""
    code = [cell.source.rstrip() for cell in nb.cells if cell.cell_type == "code" and "setup" not in tags(cell)]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:12]


def headings(nb):
    """(level, text) of every markdown heading, code fences left out."""
    found = []
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"^(```+|~~~+).*?^\1", "", cell.source, flags=re.M | re.S)
            found += [(len(marks), words.strip()) for marks, words in re.findall(r"^(#{1,6})\s+(.*)$", text, re.M)]
    return found


def calls(nb):
    """(cell index, name called, ast.Call) for every call in the code cells, in order."""
    found = []
    for index, cell in enumerate(nb.cells):
        if cell.cell_type == "code":
            nodes = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
            for node in sorted(nodes, key=lambda n: (n.lineno, n.col_offset)):
                name = getattr(node.func, "id", getattr(node.func, "attr", None))
                found.append((index, name, node))
    return found


def toc(root=ROOT):
    """Every page named in _toc.yml, without suffix, in order."""
    def walk(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("root", "file"):
                    yield value
                elif isinstance(value, (dict, list)):
                    yield from walk(value)
        elif isinstance(node, list):
            for item in node:
                yield from walk(item)

    return list(walk(yaml.safe_load((root / "_toc.yml").read_text())))


def environment():
    """The environment in which chapters are run by tools: this one, with KERNEL_ENV."""
    return os.environ | KERNEL_ENV


def execute(nb, folder, *, timeout=600, store_widgets=True):
    """Run the notebook in place, in `folder`, as the book does; raises nbclient's CellExecutionError."""
    from nbclient import NotebookClient

    # record_timing would write into the cells' metadata, by which jupyter-cache knows a notebook
    client = NotebookClient(nb, timeout=timeout, kernel_name="python3", store_widget_state=store_widgets,
                            record_timing=False, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment())
    join_streams(nb)
    return nb


def join_streams(nb):
    """Make one output of what a cell printed in a row: a busy kernel sends it in pieces, at random."""
    for cell in nb.cells:
        joined = []
        for output in cell.get("outputs", []):
            last = joined[-1] if joined else {}
            if output["output_type"] == last.get("output_type") == "stream" and output["name"] == last["name"]:
                last["text"] += output["text"]
            else:
                joined.append(output)
        if cell.cell_type == "code":
            cell.outputs = joined
