"""Numbers on the pages are read from the results when the book is built, and a wrong one stops the build."""

import importlib.util
import json
import os
import re
from io import StringIO
from pathlib import Path

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from tools import costs

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("measured", ROOT / "ext" / "measured.py")
EXTENSION = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(EXTENSION)
measured = EXTENSION.measured

VALUES = {"share": {"value": 0.354, "n": 500}, "at": {"0.5": {"mean": [1.0, 2.0, 6.0]}, "1": {"mean": [5.0, 5.0, 5.0]}},
          "runs": [{"error": 0.25}, {"error": 0.75}], "none": 0.0, "ok": True, "name": "ring", "steps": 20_000}
BOX = costs.Cost(seconds=24.3, gigabytes=0.64, hardware="a processor (2 cores)", pace=1.7, flops="3.86e+15",
                 gpu=costs.NOT_MEASURED, code="0" * 12).box()


@pytest.fixture
def root(tmp_path):
    """A book with one file of results, a registry and one chapter."""
    (tmp_path / "genai_utils" / "results").mkdir(parents=True)
    (tmp_path / "genai_utils" / "weights").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "genai_utils" / "results" / "09.json").write_text(json.dumps({"values": VALUES}))
    (tmp_path / "genai_utils" / "weights" / "registry.json").write_text(json.dumps({"net": {"score": {"right": 0.5}}}))
    cell = {"cell_type": "markdown", "metadata": {"tags": ["cost"]}, "source": BOX.splitlines(keepends=True)}
    (tmp_path / "notebooks" / "09_vae.ipynb").write_text(json.dumps({"cells": [cell]}))
    return tmp_path


@pytest.mark.parametrize("text, shown", [
    ("09:share.value|.0%", "35%"), ("09:share.value|.2f", "0.35"), ("09:share.n", "500"), ("09:steps|,", "20,000"),
    ("09:name", "ring"), ("09:none|.1f", "0.0"),
    ("09:at.0.5.mean.0|.1f", "1.0"), ("09:at.0.5.mean.-1|.1f", "6.0"),        # a key with a dot; list indices
    ("09:at.0.5.mean.mean|.1f", "3.0"), ("09:at.0.5.mean.max|.1f", "6.0"), ("09:at.0.5.mean.std|.2f", "2.65"),
    ("09:at.0.5.mean.len", "3"),
    ("09:runs.*.error.mean|.2f", "0.50"), ("09:at.*.mean.0.min|.1f", "1.0"), ("09:at.*.mean.*.len", "6"),
    ("weights:net.score.right|.1f", "0.5"),
    ("costs:09.seconds|.0f", "24"), ("costs:09.gigabytes|.2f", "0.64"), ("costs:09.hardware", "a processor (2 cores)"),
    ("costs:*.flops.max|.2e", "3.86e+15"),
])
def test_path_leads_to_the_formatted_number(root, text, shown):
    assert measured(text, root) == shown


@pytest.mark.parametrize("text, message", [
    ("99:share.n", "no results '99'; there are 09, costs and weights"),
    ("../09:share.n", "lower-case name"),
    ("09", "write file:path"), ("09:", "write file:path"),
    ("09:share.valve|.2f", "below 'share' there are n, value"),
    ("09:at.0.6.mean.0|.1f", "below 'at' there are 0.5, 1"),
    ("09:at.0.5.mean.3|.1f", "list of 3"), ("09:at.0.5.mean.first|.1f", "list of 3"),
    ("09:runs.*.error|.1f", "has no"), ("09:share.*.value.mean|.1f", "has no"), ("09:runs.0.error.std|.1f", "has no"),
    ("09:share|.1f", "to a dict"), ("09:at.0.5.mean|.1f", "to a list"), ("09:ok|.1f", "to a bool"),
    ("09:name|.1f", "to a str"),
    ("09:share.value", "give a format"), ("09:share.value|.2q", "no format"), ("09:share.value|pretty", "no format"),
    ("09:share.value|.0f", "hides"),
    ("costs:16.seconds|.0f", "at the top there are 09"),
])
def test_wrong_file_path_or_format_is_refused_and_says_what_there_is(root, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        measured(text, root)


def test_path_that_can_be_read_in_two_ways_is_refused(root):
    (root / "genai_utils" / "results" / "10.json").write_text(json.dumps({"values": {"a.b": 1, "a": {"b": 2}}}))
    with pytest.raises(ValueError, match="in 2 ways"):
        measured("10:a.b", root)


def test_changed_result_changes_the_number(root):
    file = root / "genai_utils" / "results" / "09.json"
    assert measured("09:share.n", root) == "500"
    file.write_text(json.dumps({"values": {"share": {"n": 7}}}))
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 10**9))
    assert measured("09:share.n", root) == "7"


def build(root, *, page=None):
    """Build the page `index` with the role; return its text, the warnings and the application."""
    if page is not None:
        (root / "index.md").write_text(f"# Page\n\n{page}\n")
    warnings = StringIO()
    with docutils_namespace():
        app = Sphinx(root, None, root / "out", root / "trees", "text", status=None, warning=warnings, parallel=2,
                     confoverrides={"extensions": ["myst_parser", "measured"], "exclude_patterns": ["genai_utils"]})
        app.build()
    return (root / "out" / "index.txt").read_text(), warnings.getvalue(), app


@pytest.fixture
def book(root, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "ext"))
    (root / "notebooks" / "09_vae.ipynb").unlink()
    return root


def test_page_shows_the_number_and_follows_its_file(book):
    text, warnings, app = build(book, page="Found {measured}`09:share.value|.0%` of {measured}`09:share.n`.")
    assert "Found 35% of 500." in text and warnings == ""
    assert {Path(name).name for name in app.env.dependencies["index"]} >= {"09.json"}
    file = book / "genai_utils" / "results" / "09.json"
    file.write_text(json.dumps({"values": {"share": {"value": 0.9, "n": 8}}}))
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 10**10))
    text, warnings, _ = build(book)                          # the page itself has not changed
    assert "Found 90% of 8." in text and warnings == ""


@pytest.mark.parametrize("role", ["99:share.n", "09:share.m", "09:share.value|.2q"])
def test_wrong_number_is_a_warning_at_its_line(book, role):
    _, warnings, _ = build(book, page=f"Right {{measured}}`09:share.n`.\n\nWrong {{measured}}`{role}`.")
    assert re.search(r"index\.md:5: WARNING: measured: ", warnings), warnings
    assert warnings.count("WARNING") == 1


def test_cost_boxes_of_the_chapters_are_read_as_make_costs_reads_them():
    for file in EXTENSION.files_of("costs:", ROOT):
        cells = json.loads(file.read_text())["cells"]
        box = costs.parse("".join(next("".join(c["source"]) for c in cells if "cost" in c["metadata"].get("tags", ()))))
        number = file.name[:2]
        assert measured(f"costs:{number}.seconds|.1f", ROOT) == f"{box.seconds:.1f}"
        assert measured(f"costs:{number}.hardware", ROOT) == box.hardware
        assert box.flops == "none" or measured(f"costs:{number}.flops|.2e", ROOT) == f"{float(box.flops):.2e}"


PAGES = sorted((ROOT / "book").rglob("*.md"))


def test_every_measured_number_of_the_pages_resolves():
    uses = [(page, text) for page in PAGES for text in EXTENSION.ROLE.findall(page.read_text())]
    assert uses, "no page uses the role"
    wrong = []
    for page, text in uses:
        try:
            measured(text.replace(r"\|", "|"), ROOT)         # in a table the bar is escaped
        except ValueError as error:
            wrong.append(f"{page.relative_to(ROOT)}: {error}")
    assert not wrong, "\n".join(wrong)
