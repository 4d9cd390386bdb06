"""A source notebook as text, and back: python -m tools.exercises.write TEXT SLUG, or --show SLUG > TEXT

The text is easier to write and to compare than a notebook. It is cut by headings, each on a line of its own:

    %% variants             a JSON table, see tools/exercises/source.py; at most once, at the top
    %% md                   text
    %% setup                the setup cell, without a body
    %% code [tag]           plain code, given to the students; `parameters` for the imports
    %% solution TASK        a solution cell; what is between ### BEGIN SOLUTION and ### END SOLUTION is hidden
    %% check TASK           the visible check of that task
    %% test TASK POINTS     a hidden test; TASK-test-2, TASK-test-3 for more of them
    %% open TASK POINTS     an open question's rubric

Writes notebooks/exercises/SLUG/SLUG.ipynb, or into the folder of GENAI_PRIVATE_EXERCISES, and names the rules that it
breaks.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import chapters, set_repository
from tools.clean_notebooks import as_text, normalise
from tools.exercises import source
from tools.exercises.release import put

HEAD = re.compile(r"^%% (.*)\n", re.M)
HIDDEN = "# Hidden tests run here when this is graded.\n### BEGIN HIDDEN TESTS\n{}\n### END HIDDEN TESTS"


def marks(name, kind, **given):
    """nbgrader's metadata of a cell."""
    return {"schema_version": 3, "grade": False, "solution": False, "locked": False, "task": False, "grade_id": name,
            "cell_type": kind} | given


def cell(words, body):
    """The notebook cell of one heading; raises ValueError when the heading cannot be read."""
    match words:
        case ["md"]:
            return new_markdown_cell(body)
        case ["setup"]:
            return new_code_cell(set_repository.setup_cell(set_repository.address()[0]), metadata={"tags": ["setup"]})
        case ["code", *tags]:
            return new_code_cell(body, metadata={"tags": tags} if tags else {})
        case ["solution", task]:
            return new_code_cell(body, metadata={"nbgrader": marks(task, "code", solution=True)})
        case ["check", task]:
            given = marks(f"{task}-check", "code", locked=True)
            return new_code_cell(body, metadata={"tags": ["check"], "nbgrader": given})
        case ["test", task, points]:
            name = task if "-test" in task else f"{task}-test"
            given = marks(name, "code", grade=True, locked=True, points=int(points))
            return new_code_cell(HIDDEN.format(body), metadata={"nbgrader": given})
        case ["open", task, points]:
            given = marks(task, "markdown", grade=True, solution=True, points=int(points))
            text = f"### BEGIN SOLUTION\n{body}\n### END SOLUTION"
            return new_markdown_cell(text, metadata={"nbgrader": given})
    raise ValueError(f"cannot read the heading '%% {' '.join(words)}'; see python -m tools.exercises.write --help")


def notebook(text):
    """The source notebook of a text. Raises ValueError at a heading, a number or a JSON table that cannot be read."""
    parts, cells, variants = HEAD.split(text), [], {}
    if parts[0].strip():
        raise ValueError(f"the text must open with a heading such as '%% md', got {parts[0].strip().splitlines()[0]!r}")
    for number, (head, body) in enumerate(zip(parts[1::2], parts[2::2])):
        if head.split() == ["variants"]:
            variants = json.loads(body)
            continue
        new = cell(head.split(), body.strip("\n"))
        new.id = new.metadata.get("nbgrader", {}).get("grade_id") or f"cell-{number:02d}"
        cells.append(new)
    nb = normalise(new_notebook(cells=cells))
    if variants:
        nb.metadata["genai"] = {"variants": variants}
    nbformat.validate(nb)
    return nb


def show(nb):
    """The text of a source notebook: what `notebook` reads."""
    found = []
    if table := nb.metadata.get("genai", {}).get("variants"):
        rows = ",\n ".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in table.items())
        found.append(f"%% variants\n{{{rows}}}")
    for c in nb.cells:
        given, tags = source.grading(c), chapters.tags(c)
        name = given.get("grade_id", "")
        if given.get("grade"):
            kind = "SOLUTION" if given.get("solution") else "HIDDEN TESTS"
            head = f"{'open' if given.get('solution') else 'test'} {name.removesuffix('-test')} {given['points']:g}"
            found.append(f"%% {head}\n{source.region(c.source, kind).rstrip()}")
        elif given.get("solution"):
            found.append(f"%% solution {name}\n{c.source}")
        elif given:
            found.append(f"%% check {name.removesuffix('-check')}\n{c.source}")
        elif c.cell_type == "markdown":
            found.append(f"%% md\n{c.source}")
        else:
            found.append("%% setup" if "setup" in tags else f"%% {' '.join(['code', *tags])}\n{c.source}")
    return "\n".join(found) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", type=Path, help="the text to read")
    parser.add_argument("slug", help="the assignment, such as 09_vae")
    parser.add_argument("--show", action="store_true", help="print the text of a source notebook")
    args = parser.parse_args(argv)
    try:
        if args.show:
            print(show(source.read(args.slug)), end="")
            return
        if args.text is None:
            parser.error("name the TEXT to read, or --show")
        nb = notebook(args.text.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {args.text or args.slug}: {error}")
    path = (source.private() or source.FOLDER) / args.slug / f"{args.slug}.ipynb"
    put(path, as_text(nb), keep=source.private() is not None)     # the others are in git
    print(path)
    if broken := source.rules(nb, args.slug):
        sys.exit("\n".join(broken))


if __name__ == "__main__":
    main()
