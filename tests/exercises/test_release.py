"""Student versions: nothing of the solutions or hidden tests, a badge, nothing overwritten, nothing done twice."""

import json
import re
import shutil

import pytest

from tests.exercises.tiny_assignment import SLUG, source
from tools import clean_notebooks, set_repository
from tools.exercises import release
from tools.exercises import source as sources


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    nb = source()
    release.badge(nb, SLUG, "public")
    release.generate(nb, SLUG, folder)
    return folder


def test_the_student_version_has_no_solution_hidden_test_or_rubric(course):
    text = (course / "release" / SLUG / f"{SLUG}.ipynb").read_text()
    for secret in ("math.pi * r**2", "sum(xs) / len(xs)", "1e-9", "pi is missing", "Rubric", "BEGIN", "END"):
        assert secret not in text
    assert text.count("NotImplementedError") == 2 and "a point has no area" in text
    assert release.leaks(clean_notebooks.chapters.read(course / "release" / SLUG / f"{SLUG}.ipynb")) == []


def test_the_student_version_is_a_clean_notebook(course):
    assert clean_notebooks.problems(course / "release" / SLUG / f"{SLUG}.ipynb") == []


def test_a_public_version_has_badge_and_setup_cell_of_the_repository(course):
    nb = clean_notebooks.chapters.read(course / "release" / SLUG / f"{SLUG}.ipynb")
    url, branch = set_repository.address()
    line = set_repository.colab_line(url, branch, f"assignments/{SLUG}.ipynb")
    assert nb.cells[0].source == f"# Tiny assignment\n\n{line}\n\nTwo tasks."
    assert nb.cells[1].source == set_repository.setup_cell(url)


def test_a_private_version_links_nothing_or_the_place_that_is_named():
    nb = source()
    release.badge(nb, SLUG)
    assert nb.cells[0].source == "# Tiny assignment\n\nTwo tasks."
    release.badge(nb, SLUG, "me/course/blob/main/week2")
    assert f"https://colab.research.google.com/github/me/course/blob/main/week2/{SLUG}.ipynb" in nb.cells[0].source


def test_releasing_again_changes_nothing(course):
    before = files(course)
    nb = source()
    release.badge(nb, SLUG, "public")
    release.generate(nb, SLUG, course)
    assert files(course) == before


def test_a_changed_source_keeps_the_old_files_as_backups(course, tmp_path):
    folder = tmp_path / "course"
    shutil.copytree(course, folder)
    before = files(folder)
    nb = source()
    release.badge(nb, SLUG, "public")
    nb.cells[-1].source = nb.cells[-1].source.replace("Why?", "Why not?")
    release.generate(nb, SLUG, folder)
    after = files(folder)
    kept = {re.sub(r"\.bak-\w+", "", name): data for name, data in after.items() if ".bak-" in name}
    assert kept == before
    assert [path.name for path in (folder / "release" / SLUG).iterdir()] == [f"{SLUG}.ipynb"]
    assert "Why not?" in (folder / "release" / SLUG / f"{SLUG}.ipynb").read_text()


def test_a_broken_source_says_what_is_wrong(tmp_path):
    nb = source()
    nb.cells[4].source = nb.cells[4].source.replace("### END SOLUTION", "")
    with pytest.raises(release.ReleaseError, match="(?s)SOLUTION|solution"):
        release.generate(nb, SLUG, tmp_path)


def test_private_notebooks_and_other_seeds_are_never_public(tmp_path, monkeypatch):
    monkeypatch.delenv("GENAI_PRIVATE_EXERCISES", raising=False)
    assert release.is_public(SLUG, 0) and release.is_public(SLUG, "0") and not release.is_public(SLUG, "2027")
    (tmp_path / SLUG).mkdir()
    (tmp_path / SLUG / f"{SLUG}.ipynb").write_text("{}")
    monkeypatch.setenv("GENAI_PRIVATE_EXERCISES", str(tmp_path))
    assert not release.is_public(SLUG, 0) and release.is_public("another", 0)


def test_the_command_releases_a_private_notebook_with_its_seed_to_the_course_only(tmp_path, monkeypatch, capsys):
    private, course = tmp_path / "private", tmp_path / "course"
    (private / SLUG).mkdir(parents=True)
    nb = source()
    nb.metadata["genai"] = {"variants": {"number": ["1", "2", "3"]}}
    for cell in nb.cells:
        cell.source = cell.source.replace("area(1) - math.pi", "area(<<number>>) - <<number>>**2 * math.pi")
    (private / SLUG / f"{SLUG}.ipynb").write_text(clean_notebooks.nbformat.writes(nb))
    monkeypatch.setenv("GENAI_PRIVATE_EXERCISES", str(private))
    committed = files(release.ASSIGNMENTS)
    release.main([SLUG, "--seed", "2027", "--course", str(course)])
    assert f"release/{SLUG}/{SLUG}.ipynb" in capsys.readouterr().out
    assert json.loads((course / "seeds.json").read_text()) == {SLUG: "2027"}
    assert "<<" not in (course / "source" / SLUG / f"{SLUG}.ipynb").read_text()
    assert files(release.ASSIGNMENTS) == committed


def test_an_unknown_assignment_is_named(capsys):
    with pytest.raises(SystemExit, match="no such assignment: 99_nothing"):
        release.main(["99_nothing"])


def test_every_committed_student_version_is_what_the_command_writes(monkeypatch):
    monkeypatch.delenv("GENAI_PRIVATE_EXERCISES", raising=False)
    assert release.stale(sources.slugs()) == [], f"cure: {release.COMMAND}"


def test_a_student_version_that_was_edited_is_stale(monkeypatch, tmp_path):
    monkeypatch.delenv("GENAI_PRIVATE_EXERCISES", raising=False)
    slug = sources.slugs()[0]
    text = (release.ASSIGNMENTS / f"{slug}.ipynb").read_text(encoding="utf-8")
    monkeypatch.setattr(release, "ASSIGNMENTS", tmp_path)
    assert release.stale([slug]) == [slug]
    (tmp_path / f"{slug}.ipynb").write_text(text.replace("points.*", "marks.*", 1), encoding="utf-8")
    assert release.stale([slug]) == [slug]
