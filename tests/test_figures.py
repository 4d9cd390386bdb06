"""Every figure in a chapter's prose has its source, and those that were measured are what the results hold."""

import json
import re

import nbformat
import pytest

from tools import chapters, figures

VALUES = {"loss": {"lstm": 0.5349, "gru": [1.0, 2.0, 6.0]}, "share": 0.354, "steps": 20_000, "low": -0.41, "none": 0,
          "of two": 0.535}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "genai_utils" / "results").mkdir(parents=True)
    (tmp_path / "genai_utils" / "results" / "09.json").write_text(json.dumps({"values": VALUES}))
    return tmp_path


def chapter(*texts):
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_markdown_cell(text) for text in texts]
    return nb


@pytest.mark.parametrize("path", chapters.paths(), ids=lambda path: path.stem)
def test_every_figure_of_a_chapter_has_its_source(path):
    faults = figures.wrong(chapters.read(path), figures.lines_of(path))
    assert not faults, f"{path.name} (python -m tools.figures {path.name[:2]}):\n- " + "\n- ".join(faults)


def test_every_file_belongs_to_a_chapter():
    assert {file.stem for file in figures.FOLDER.glob("*")} == {path.name[:2] for path in chapters.paths()}


@pytest.mark.parametrize("text, line", [
    ("It costs 0.53 nats.", "measured: costs {09:loss.lstm|.2f} nats"),
    ("35 % of all,\nand 35% again", "measured: {09:share|.0%} of all, and {09:share|.0%} again"),
    ("Its slope is −0.4.", "measured: slope is {09:low|.1f}"),
    ("after 20,000 steps", "measured: after {09:steps|,} steps"),
    ("5.6 times the loss", "measured: {09:loss.gru.mean / 09:loss.lstm|.1f} times the loss"),
    ("2.47 nats more, 3.5 in all", "measured: {09:loss.gru.mean - 09:loss.lstm|.2f} nats more, "
                                   "{09:loss.gru.mean + 09:loss.lstm|.1f} in all"),
    ("3.3 a day", "measured: {09:loss.lstm + 09:loss.gru.max / 09:loss.gru.1|.1f} a day"),   # from left to right
    ("53.5 of 100 at a key with a space", "measured: {09:of two * 100|.1f} of 100"),
    ("3 kinds", "measured: {09:loss.gru.len} kinds"),
    ("a dropout of 0.1", "given: dropout of 0.1"),
    ("it wrote 0.25", "printed: wrote 0.25"),
])
def test_a_line_that_says_what_the_prose_says_is_right(root, text, line):
    assert figures.wrong(chapter("# Title", text), [line], root) == []


@pytest.mark.parametrize("text, line, message", [
    ("It costs 0.52 nats.", "measured: costs {09:loss.lstm|.2f} nats", "does not say 'costs 0.53 nats'"),
    ("It costs 0.53 nats.", "measured: takes {09:loss.lstm|.2f} nats", "does not say 'takes 0.53 nats'"),
    ("It costs 0.53 nats.", "measured: costs {09:los.lstm|.2f} nats", "at the top there are"),
    ("It costs 0.53 nats.", "measured: costs {99:loss|.2f} nats", "no results '99'"),
    ("It costs 0.53 nats.", "measured: costs {09:loss.lstm / 09:none|.2f} nats", "nothing is divided by it"),
    ("It costs 0.53 nats.", "measured: costs {09:loss.lstm / half|.2f} nats", "paths and numbers with signs"),
    ("It costs 0.53 nats.", "measured: costs {09:loss.lstm / 09:steps|.2q} nats", "format"),
    ("It costs 0.53 nats.", "measured: costs 0.53 nats", "paths in braces"),
    ("It costs 0.53 nats.", "given: costs {09:loss.lstm|.2f} nats", "paths in braces"),
    ("It costs 0.53 nats.", "guessed: costs 0.53 nats", "begin with one of measured, printed, given"),
    ("It costs 0.53 nats.", "costs 0.53 nats", "begin with one of"),
    ("It costs 0.53 nats.", "given: costs", "no figure in 'costs'"),
    ("It costs 0.53 nats.", "# nothing", "no line says where 0.53 comes from"),
    ("It costs 0.53, and costs 0.53.", "given: costs 0.53", "the prose says 2 times 'costs 0.53'"),
    ("It costs 0.53, once 0.53.", "given: costs 0.53", "where 0.53 comes from: ...It costs 0.53, once 0.53"),
])
def test_a_line_that_is_wrong_and_a_figure_without_a_line_are_found(root, text, line, message):
    assert re.search(re.escape(message), "\n".join(figures.wrong(chapter(text), [line], root)))


@pytest.mark.parametrize("text, asked", [
    ("in 0.5, 12%, 12 %, 1,000, 1000, -0.5", 6), ("in 2017 and 1997, 12 or 128 of 256", 0),
    ("3.0e4, 1.39x and $0.54$, 0.59-0.68, 1800 of 2048, 20 000", 8),
    ("$x = 0.5$, $$x = 0.5$$, `0.5`, [here](a-0.5.html), {cite:t}`ho0.5`", 0), ("```\n0.5\n```", 0),
    ("version 2.13.0", 0),
])
def test_figures_are_decimals_shares_and_numbers_of_four_digits(root, text, asked):
    assert len(figures.wrong(chapter(text), [], root)) == asked


def test_cost_boxes_are_left_out(root):
    nb = chapter("0.5 s")
    nb.cells[0].metadata["tags"] = ["cost"]
    assert figures.wrong(nb, [], root) == []


def test_command_prints_the_faults_and_fails(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    assert figures.main(["16"]) == 1
    assert "no line says where" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        figures.main(["99"])
    assert "no chapter 99" in capsys.readouterr().err
