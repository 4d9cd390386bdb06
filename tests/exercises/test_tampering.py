"""Submissions that change what is not theirs are put back, and what cannot be judged is flagged."""

from copy import deepcopy

import pytest
from nbformat.v4 import new_code_cell

from tests.exercises.tiny_assignment import answered, marks, rewritten, source, without
from tools.exercises import tampering


@pytest.fixture
def release():
    """The student version as nbgrader would make it, by hand: stubs, and hidden tests reduced to their comment."""
    nb = source()
    for cell in nb.cells:
        name = tampering.grade_id(cell)
        if name and cell.metadata.nbgrader["solution"]:
            cell.source = "raise NotImplementedError()"
        elif name and cell.metadata.nbgrader["grade"]:
            cell.source = cell.source.splitlines()[0]
    return nb


def fixed(nb):
    return [(tampering.grade_id(c), c.source) for c in nb.cells if tampering.is_fixed(c)]


def test_an_honest_submission_has_no_flag_and_keeps_its_answers(release):
    nb = answered(release)
    assert tampering.restore(nb, release) == [] and tampering.suspicious(nb, source()) == []
    assert [c.source for c in nb.cells] == [c.source for c in answered(release).cells]


@pytest.mark.parametrize("change, flag", [
    (lambda nb: rewritten(nb, "area-test", "assert True"), "test cell area-test was changed"),
    (lambda nb: rewritten(nb, "area-check", "pass"), "locked cell area-check was changed"),
    (lambda nb: without(nb, "area-test-2"), "test cell area-test-2 was deleted"),
    (lambda nb: without(nb, "area", "area-check", "area-test", "mean", "mean-test"), "test cell mean-test was deleted"),
    (lambda nb: without(nb, "area-text"), "cell area-text was deleted"),
])
def test_changed_and_deleted_cells_are_put_back_and_flagged(release, change, flag):
    nb = change(answered(release))
    assert flag in tampering.restore(nb, release)
    assert fixed(nb) == fixed(release)


def test_doubled_invented_and_moved_cells_are_flagged(release):
    nb = answered(release)
    nb.cells.append(deepcopy(next(c for c in nb.cells if tampering.grade_id(c) == "mean-test")))
    nb.cells.append(new_code_cell("1", metadata=marks("bonus", grade=True, points=50)))
    flags = tampering.restore(nb, release)
    assert "cell mean-test is there twice" in flags and any("'bonus'" in flag for flag in flags)
    assert fixed(nb) == fixed(release)
    nb = answered(release)
    nb.cells.reverse()
    assert "cells were moved" in tampering.restore(nb, release)


def test_points_and_types_that_were_changed_are_those_of_the_release_again(release):
    nb = answered(release)
    cell = next(c for c in nb.cells if tampering.grade_id(c) == "mean-test")
    cell.metadata.nbgrader.points = 100
    cell.metadata.nbgrader.solution = True
    tampering.restore(nb, release)
    cell = next(c for c in nb.cells if tampering.grade_id(c) == "mean-test")
    assert cell.metadata.nbgrader.points == 2 and not cell.metadata.nbgrader.solution


def test_metadata_that_an_editor_dropped_come_back_by_cell_id(release):
    nb = answered(release)
    for cell in nb.cells:
        cell.metadata = {"id": cell.id}
        cell["id"] = "made-by-an-editor"
    assert tampering.restore(nb, release) == [] and fixed(nb) == fixed(release)


@pytest.mark.parametrize("text, flag", [
    ("import gc\ndef mean(xs): return 3", "uses gc"),
    ("get_ipython().run_cell('1')", "uses get_ipython"),
    ("math.isclose = lambda *a: True", "replaces math.isclose"),
    ("import numpy as np\nnp.testing.assert_allclose = print", "replaces np.testing.assert_allclose"),
    ("def abs(x): return 0", "defines abs anew, which the tests use"),
    ("!cat /etc/passwd", "runs a shell command or a magic"),
    ("class Yes:\n    def __eq__(self, other): return True", "uses __eq__"),
    ("exit()", "uses exit"),
])
def test_what_reaches_for_the_tests_is_flagged(release, text, flag):
    assert flag in tampering.suspicious(answered(release, mean=text), source())


@pytest.mark.parametrize("text", [
    "def mean(xs):\n    total = 0\n    for x in xs: total += x\n    return total / len(xs)",
    "r = 3\nx = 4\ndef mean(xs):\n    return sum(xs) / len(xs)",
    "import statistics\nmean = statistics.mean", "def mean(xs: broken syntax"])
def test_ordinary_answers_are_not_flagged(release, text):
    assert tampering.suspicious(answered(release, mean=text), source()) == []
