"""Exercises: the untouched starter is "not attempted", and the folded solution, put in its place, "passed"."""

import contextlib
import io
import os
from functools import cache

import pytest
import torch
from IPython.display import display

from tools import chapter_rules, chapters

NEEDED = {"setup", "parameters", "exercise-needs"}


def cases():
    for path in chapters.paths():
        nb = chapters.read(path)
        if not chapter_rules.exercises(nb, path):   # else tests/test_chapters.py says what is wrong
            for exercise in chapter_rules.read_exercises(nb):
                yield path, exercise


CASES = list(cases())
each = pytest.mark.parametrize("path, exercise", CASES, ids=[f"{p.stem}-{e.number}" for p, e in CASES])


def run(source, space):
    """Execute cell text as a notebook would; return what it printed."""
    printed, here, old = io.StringIO(), os.getcwd(), os.environ.get("GENAI_QUICK")
    os.environ["GENAI_QUICK"] = "1"
    os.chdir(chapters.ROOT / "notebooks")
    try:
        with contextlib.redirect_stdout(printed), torch.random.fork_rng():
            exec(compile(source, "<cell>", "exec"), space)
    finally:
        os.chdir(here)
        os.environ.pop("GENAI_QUICK") if old is None else os.environ.update(GENAI_QUICK=old)
    return printed.getvalue()


@cache
def prepared(path):
    """The names that a reader has who ran setup, parameters and the cells tagged exercise-needs."""
    space = {"__name__": "__main__", "display": display}
    for cell in chapters.read(path).cells:
        if cell.cell_type == "code" and NEEDED & set(chapters.tags(cell)):
            run(cell.source, space)
    return space


def attempted(path, exercise):
    """Prepared names, the solutions of earlier exercises (a later one may build on them), and this one's starter."""
    space = dict(prepared(path))
    for earlier in chapter_rules.read_exercises(chapters.read(path)):
        if earlier.number < exercise.number:
            run(earlier.starter, space)
            run(earlier.solution, space)
    run(exercise.starter, space)
    return space


@each
def test_untouched_starter_is_not_attempted(path, exercise):
    assert run(exercise.check, attempted(path, exercise)) == f"exercise {exercise.number}: not attempted\n"


@each
def test_solution_passes(path, exercise):
    space = attempted(path, exercise)
    run(exercise.solution, space)
    assert run(exercise.check, space).endswith(f"exercise {exercise.number}: passed\n")
