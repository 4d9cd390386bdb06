"""Constants that variants leave behind are folded, and what a cell computes stays the same."""

import ast

import pytest

from tools.exercises import source
from tools.exercises.fold import fold


@pytest.mark.parametrize("text, folded", [
    ("pick = merge if False else lambda v: v", "pick = (lambda v: v)"),
    ("x = f('forget' if 'a' == 'b' else 'input')", "x = f('input')"),
    ("unit = math.log(2) * 1", "unit = math.log(2)"), ("right = right * 1 ** 2 / d", "right = right / d"),
    ("y = (a + b) / 1.0", "y = (a + b)"), ("y = c * ((a - b) * 1)", "y = c * (a - b)"), ("y = 1.0 * a[0]", "y = a[0]"),
    ('want = {"rate": 2.0, "distortion": 3.0}["rate"]  # by hand', "want = 2.0  # by hand"),
    ("é = 'ö' if 1 < 2 else ('ü' if 0 else 'ß')  # ä", "é = 'ö'  # ä"),
    ("w = p if 'probabilities'.startswith('prob') else p.log()", "w = p"),
    ("y = x if n > 1 else z / 2", "y = x if n > 1 else z / 2"), ("n = 1 + 1", "n = 1 + 1"),
    ('s = f"{1.0 * x} {a if True else b}"', 's = f"{1.0 * x} {a if True else b}"'),
    ("y = {'a': 1}['b']", "y = {'a': 1}['b']"),
])
def test_constant_pieces_are_folded_and_nothing_else(text, folded):
    assert fold(text) == folded


def test_lines_and_comments_stay():
    text = "a = (\n    b  # one\n    if True\n    else c)\nd = e * 1.0  # two\n"
    made = fold(text)
    assert "# two" in made and made.endswith("\n") and ast.dump(ast.parse(made)) == ast.dump(ast.parse("a = b\nd = e"))


@pytest.mark.parametrize("slug", source.slugs())
def test_no_student_version_holds_a_decided_choice(slug):
    for cell in source.render(source.read(slug), slug).cells:
        if cell.cell_type == "code":
            assert fold(cell.source) == cell.source
