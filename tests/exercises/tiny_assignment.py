"""A source notebook of two tasks and an open question that needs no torch, so that nbgrader's tests are quick."""

from copy import deepcopy

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

SLUG = "90_tiny"


def marks(name, **given):
    known = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3, "grade_id": name}
    return {"nbgrader": known | given}


def hidden(name, assertion, points):
    text = f"# hidden test of {name}\n### BEGIN HIDDEN TESTS\n{assertion}\n### END HIDDEN TESTS"
    return new_code_cell(text, id=name, metadata=marks(name, grade=True, locked=True, points=points))


def solution(name, head, body):
    text = f"{head}\n    ### BEGIN SOLUTION\n    {body}\n    ### END SOLUTION"
    return new_code_cell(text, id=name, metadata=marks(name, solution=True))


def source():
    return new_notebook(cells=[
        new_markdown_cell("# Tiny assignment\n\nTwo tasks.", id="title"),
        new_code_cell("pass", id="setup", metadata={"tags": ["setup"]}),
        new_code_cell("import math", id="imports", metadata={"tags": ["parameters"]}),
        new_markdown_cell("## Area", id="area-text", metadata=marks("area-text", locked=True)),
        solution("area", "def area(r):", "return math.pi * r**2"),
        new_code_cell("assert area(0) == 0, 'a point has no area'", id="area-check",
                      metadata=marks("area-check", locked=True) | {"tags": ["check"]}),
        hidden("area-test", "assert abs(area(1) - math.pi) < 1e-9, 'pi is missing'", 1),
        hidden("area-test-2", "near = lambda r: abs(area(r) - r * r * math.pi) < 1e-9\n"
               "assert all(near(x) for x in [2]), 'the radius is squared'", 2),
        solution("mean", "def mean(xs):", "return sum(xs) / len(xs)"),
        hidden("mean-test", "assert mean([1, 2, 6]) == 3, 'a sum where the mean is meant'", 2),
        new_markdown_cell("Why?\n\n### BEGIN SOLUTION\nRubric: two points for a reason.\n### END SOLUTION", id="why",
                          metadata=marks("why", grade=True, solution=True, points=2)),
    ])


RIGHT = {"area": "def area(r):\n    return math.pi * r**2", "mean": "def mean(xs):\n    return sum(xs) / len(xs)",
         "why": "Because of Archimedes."}


def answered(release, **answers):
    """A submission: the release with the right answers, but for those given."""
    nb = deepcopy(release)
    for cell in nb.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.source = (RIGHT | answers).get(name, cell.source)
    return nb


def without(nb, *names):
    nb = deepcopy(nb)
    nb.cells = [cell for cell in nb.cells if cell.metadata.get("nbgrader", {}).get("grade_id") not in names]
    return nb


def rewritten(nb, name, text):
    nb = deepcopy(nb)
    next(cell for cell in nb.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == name).source = text
    return nb
