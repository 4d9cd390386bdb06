import nbformat
import pytest

from tools import build_book, chapters, clean_notebooks


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book with one chapter and a package of one file."""
    for folder in ("notebooks", "genai_utils"):
        (tmp_path / folder).mkdir()
    (tmp_path / "requirements.lock").write_text("torch==2.13.0\n")
    (tmp_path / "genai_utils" / "a.py").write_text("x = 1\n")
    write(tmp_path, "print('one')")
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    monkeypatch.setattr(chapters, "paths", lambda: sorted((tmp_path / "notebooks").glob("*.ipynb")))
    monkeypatch.setattr(build_book, "CACHE", tmp_path / "cache")
    return tmp_path


def write(book, source):
    cell = nbformat.v4.new_code_cell(source, id="only", metadata={"tags": ["parameters"]})
    clean_notebooks.write(nbformat.v4.new_notebook(cells=[cell]), book / "notebooks" / "01_a.ipynb")


def test_chapter_runs_once_and_again_only_when_it_or_the_package_changed(book):
    assert list(build_book.fill_cache()[0]) == ["01_a.ipynb"]
    assert build_book.fill_cache() == ({}, {})
    write(book, "print('two')")
    assert list(build_book.fill_cache()[0]) == ["01_a.ipynb"]
    (book / "genai_utils" / "a.py").write_text("x = 2\n")
    assert list(build_book.fill_cache()[0]) == ["01_a.ipynb"]


def test_failing_chapter_is_named_and_not_cached(book):
    write(book, "raise ValueError('beta must be positive, got -1')")
    for _ in range(2):
        seconds, errors = build_book.fill_cache()
        assert seconds == {} and "beta must be positive" in errors["01_a.ipynb"]


def test_what_a_cell_prints_in_a_row_is_one_output_and_nothing_moves():
    out = lambda text, name="stdout": nbformat.v4.new_output("stream", name=name, text=text)
    figure = nbformat.v4.new_output("display_data", data={"text/plain": "a figure"})
    cell = nbformat.v4.new_code_cell("print()", outputs=[
        out("a"), out("b\n"), out("c\n"), figure, out("d\n"), out("!", "stderr"), out("e\n")
    ])  # fmt: skip
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("words"), cell])
    chapters.join_streams(nb)
    assert [o.get("text", "figure") for o in cell.outputs] == ["ab\nc\n", "figure", "d\n", "!", "e\n"]
    assert "outputs" not in nb.cells[0]
