import nbformat
import pytest

from tools import chapters, set_repository


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book with one chapter, not in step."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_config.yml").write_text(set_repository.CONFIG.read_text())
    nb = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell("# A chapter\n\nText."),
        nbformat.v4.new_code_cell("import genai_utils", metadata={"tags": ["setup"]})])
    nbformat.write(nb, tmp_path / "notebooks" / "01_a.ipynb")
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    monkeypatch.setattr(set_repository, "CONFIG", tmp_path / "_config.yml")
    monkeypatch.setattr(chapters, "paths", lambda: sorted((tmp_path / "notebooks").glob("*.ipynb")))
    return tmp_path


def test_address_reaches_config_link_and_setup_cell(book):
    assert [path.name for path in set_repository.out_of_step()] == ["01_a.ipynb"]
    set_repository.main(["--url", "https://github.com/ada/book.git", "--write"])
    assert set_repository.address() == ("https://github.com/ada/book", "main") and set_repository.out_of_step() == []
    title, setup = nbformat.read(book / "notebooks" / "01_a.ipynb", 4).cells
    link = "[Open in Colab](https://colab.research.google.com/github/ada/book/blob/main/notebooks/01_a.ipynb)"
    assert title.source == f"# A chapter\n\n{link}\n\nText." and "git+https://github.com/ada/book\"" in setup.source


def test_moving_twice_leaves_one_link(book):
    for owner in ("ada", "grace"):
        set_repository.main(["--url", f"https://github.com/{owner}/book", "--write"])
    title, _ = nbformat.read(book / "notebooks" / "01_a.ipynb", 4).cells
    assert title.source.count("Open in Colab") == 1 and "grace" in title.source and "ada" not in title.source


def test_without_write_nothing_changes_and_the_cure_is_named(book):
    before = (book / "notebooks" / "01_a.ipynb").read_text()
    with pytest.raises(SystemExit, match="01_a.ipynb.*--write"):
        set_repository.main([])
    assert (book / "notebooks" / "01_a.ipynb").read_text() == before


@pytest.mark.parametrize("url", ["https://gitlab.com/a/b", "github.com/a/b", "https://github.com/a", "x"])
def test_address_that_colab_cannot_open_is_refused(book, url):
    with pytest.raises(SystemExit, match="https://github.com/OWNER/REPO"):
        set_repository.main(["--url", url, "--write"])


def test_only_the_address_in_config_changes(book):
    before = (book / "_config.yml").read_text()
    set_repository.main(["--url", "https://github.com/ada/book", "--write"])
    assert (book / "_config.yml").read_text() == before.replace("https://github.com/OWNER/REPO", "https://github.com/ada/book")


def test_assignments_follow_too_and_their_sources_get_no_link(book):
    for place in ("assignments/01_a.ipynb", "exercises/01_a/01_a.ipynb"):
        (book / "notebooks" / place).parent.mkdir(parents=True)
        (book / "notebooks" / place).write_bytes((book / "notebooks" / "01_a.ipynb").read_bytes())
    assert len(set_repository.out_of_step()) == 3
    set_repository.main(["--url", "https://github.com/ada/book", "--write"])
    assert set_repository.out_of_step() == []
    read = lambda place: [cell.source for cell in nbformat.read(book / "notebooks" / place, 4).cells]
    assert "/blob/main/notebooks/assignments/01_a.ipynb)" in read("assignments/01_a.ipynb")[0]
    assert read("exercises/01_a/01_a.ipynb")[0] == "# A chapter\n\nText."
    assert "git+https://github.com/ada/book\"" in read("exercises/01_a/01_a.ipynb")[1]
