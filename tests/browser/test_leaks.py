"""No solution, hidden test or rubric of an assignment can be had from the built site: pages, sources, downloads."""

import ast
import functools
import html
import json
import re

import pytest

from tests.browser import built
from tools.exercises import proofs, source

BINARY = {".png", ".webp", ".jpg", ".gif", ".ico", ".woff", ".woff2", ".ttf", ".eot", ".otf", ".inv", ".map"}
SHORT = 40                  # characters without blanks: what is shorter may stand in a chapter by chance
MARKS = ("BEGINSOLUTION", "ENDSOLUTION", "BEGINHIDDENTESTS", "ENDHIDDENTESTS", "MARKSCHEME")


def squeezed(text):
    return re.sub(r"\s+", "", text)


def readable(name, text):
    """A file's text without blanks: of a page without tags and entities, of a notebook the text of its cells."""
    if name.endswith(".ipynb"):
        cells = json.loads(text)["cells"]
        return squeezed("\n".join("".join(cell["source"]) + json.dumps(cell.get("outputs", "")) for cell in cells))
    text = re.sub(r"[A-Za-z0-9+/=]{300,}", "", text)        # pictures and films
    if name.endswith(".html"):
        text = html.unescape(re.sub(r"<[^<>]*>", "", text))
    return squeezed(re.sub(r"\\[nt]", " ", text).replace('\\"', '"'))


def claims(test):
    """The statements of a hidden test that say what must hold."""
    tree = ast.parse(test)
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Assert)
             or isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
    return [ast.get_source_segment(test, node) for node in calls]


def shown(nb):
    """What a student sees of a source, without blanks: every cell but the hidden tests, solutions left out."""
    return squeezed("\n".join(source.stub(c) if source.grading(c).get("solution") else c.source
                              for c in nb.cells if not source.region(c.source, "HIDDEN TESTS")))


@functools.cache
def shown_anywhere():
    """What students see of all assignments: a plain assertion may be hidden here and shown there."""
    return "\n".join(shown(source.render(source.read(slug), slug)) for slug in source.slugs())


def secrets(slug):
    """{text without blanks: what it is} of an assignment, for the seeds that show every choice of its variants."""
    nb, found = source.read(slug), {}
    for seed in proofs.seeds(nb, slug):
        made = source.render(nb, slug, seed)
        hidden = {kind: lambda cell, kind=kind: source.region(cell.source, kind) for kind in source.REGION}
        student = shown(made)
        for cell in made.cells:
            if (solution := hidden["SOLUTION"](cell)) and cell.cell_type == "code":
                found[squeezed(re.sub(r"^ *### (BEGIN|END) SOLUTION$", "", cell.source, flags=re.M))] = "a solution"
                found[squeezed(solution)] = "a solution"
            elif solution:
                found |= dict.fromkeys(map(squeezed, solution.splitlines()), "a rubric")
            elif test := hidden["HIDDEN TESTS"](cell):
                found |= dict.fromkeys(map(squeezed, claims(test)), "a hidden test")
        values = source.choice(nb, slug, seed)
        for answer in source.read_answers(slug):
            if answer.kind == "right":
                found[squeezed(source.fill(answer.text, values))] = "a right answer"
    return {text: what for text, what in found.items() if len(text) >= SHORT
            and text not in student and text not in shown_anywhere()}


@pytest.fixture(scope="module")
def site(book):
    """{path: readable text} of every file of the site that holds text."""
    return {path.relative_to(book).as_posix(): readable(path.name, path.read_text(encoding="utf-8", errors="ignore"))
            for path in book.rglob("*") if path.is_file() and path.suffix not in BINARY}


@pytest.mark.parametrize("slug", source.slugs())
def test_nothing_that_students_must_not_see_is_on_the_site(site, slug):
    known = secrets(slug)
    assert len(known) >= 10, "too little to look for: the search would prove nothing"
    found = [f"{path}: {what}: {text[:80]}" for text, what in known.items() for path, page in site.items()
             if text in page]
    assert found == []


def test_no_mark_of_a_source_is_in_a_notebooks_page_or_download(site):
    pages = {path: text for path, text in site.items() if "notebooks/" in path}
    assert len(pages) >= 2 * len(built.notebooks())
    assert [(path, mark) for path, text in pages.items() for mark in MARKS if mark in text] == []


def test_the_site_holds_no_archive_and_only_the_student_versions(book):
    assert [path.name for path in book.rglob("*") if path.suffix in (".zip", ".gz", ".tar", ".db", ".py")] == []
    assert [path for path in book.rglob("*") if "exercises" in path.relative_to(book).parts] == []
    stems = {path.stem for path in (book / "notebooks" / "assignments").glob("*.html")}
    assert stems == set(source.slugs()) == {p.stem for p in (book / "_sources" / "notebooks" / "assignments").iterdir()}


@pytest.mark.parametrize("kind", ["a solution", "a hidden test", "a rubric", "a right answer"])
@pytest.mark.parametrize("way", ["page", "notebook"])
def test_a_planted_secret_of_each_kind_is_found(kind, way):
    slug = source.slugs()[-1]
    nb, cells = source.read(slug), []
    made = source.render(nb, slug)
    for cell in made.cells:
        text = cell.source
        if (kind == "a hidden test") == bool(source.region(text, "HIDDEN TESTS")):
            cells.append(re.sub(r"^ *### (BEGIN|END) (SOLUTION|HIDDEN TESTS)\n?", "", text, flags=re.M))
    if kind == "a right answer":
        values = source.choice(nb, slug, 0)
        cells = [source.fill(a.text, values) for a in source.read_answers(slug) if a.kind == "right"]
    text = "\n\n".join(cells)
    if way == "page":
        spans = re.sub(r"(\w+)", r'<span class="n">\1</span>', html.escape(text))
        planted = readable("page.html", f"<div><pre>{spans}</pre></div>")
    else:
        planted = readable("a.ipynb", json.dumps({"cells": [{"source": text.splitlines(keepends=True)}]}, indent=1))
    assert any(secret in planted for secret, what in secrets(slug).items() if what == kind)
