import copy

import pytest

from tools.exercises import source

SLUGS = source.slugs()


@pytest.fixture
def nb():
    return source.read("09_vae")


@pytest.mark.parametrize("slug", SLUGS)
def test_every_assignment_obeys_the_rules(slug):
    assert source.rules(source.read(slug), slug) == []


@pytest.mark.parametrize("slug", SLUGS)
def test_stub_is_what_nbgrader_writes(slug):
    from nbgrader.preprocessors import ClearSolutions

    made = source.render(source.read(slug), slug)
    stubs = [source.stub(task.solution) for task in source.tasks(made)]
    cleared, _ = ClearSolutions().preprocess(copy.deepcopy(made), {})
    assert stubs == [task.solution.source for task in source.tasks(cleared)]


def test_seed_0_takes_the_first_choice_and_leaves_no_trace_of_the_others(nb):
    made = source.render(nb, "09_vae", 0)
    assert "genai" not in made.metadata and not any("<<" in cell.source for cell in made.cells)
    assert source.choice(nb, "09_vae", 0)["a"] == "q" and "genai" in nb.metadata


def test_tied_variants_change_together_and_some_seed_changes_them(nb):
    seen = {tuple(source.choice(nb, "09_vae", seed)[n] for n in ("a", "b")) for seed in range(20)}
    assert seen == {("q", "p"), ("p", "q")}


def test_unknown_and_unused_variants_are_refused(nb):
    nb.cells[0].source += " <<nobody>>"
    with pytest.raises(ValueError, match="nobody"):
        source.render(nb, "09_vae")
    nb.cells[0].source = nb.cells[0].source.replace("<<nobody>>", "")
    nb.metadata["genai"]["variants"]["idle"] = ["1", "2"]
    with pytest.raises(ValueError, match="idle"):
        source.render(nb, "09_vae")


@pytest.mark.parametrize("spoil, said", [
    (lambda task: task.tests[0].metadata.nbgrader.update(points=0), "points above 0"),
    (lambda task: task.tests[0].metadata.nbgrader.update(grade=False), "would leak|they would leak|do not remove"),
    (lambda task: task.check.metadata.nbgrader.update(locked=False), "locked"),
    (lambda task: task.check.metadata.update(tags=[]), "tag 'check'"),
    (lambda task: task.solution.update(source=task.solution.source.replace("### END SOLUTION", "")), "END SOLUTION"),
    (lambda task: task.tests[0].update(source=task.tests[0].source + "\nassert True"), "one comment line"),
    (lambda task: task.statement.update(source="## Something"), "heading"),
    (lambda task: task.solution.update(source="x = 1\n" * 26 + task.solution.source), "25 are allowed: split it"),
])
def test_rules_name_what_a_source_gets_wrong(nb, spoil, said):
    import re

    spoil(source.tasks(nb)[0])
    assert any(re.search(said, line) for line in source.rules(nb, "09_vae"))


def test_private_folder_goes_before(tmp_path, monkeypatch):
    import shutil

    shutil.copytree(source.FOLDER / "09_vae", tmp_path / "09_vae")
    monkeypatch.setenv("GENAI_PRIVATE_EXERCISES", str(tmp_path))
    assert source.path("09_vae") == tmp_path / "09_vae" / "09_vae.ipynb" and source.slugs() == SLUGS


def test_answers_with_a_heading_that_cannot_be_read_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "FOLDER", tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "answers.py").write_text("# ---- kl wrong: no message is named\npass\n")
    with pytest.raises(ValueError, match="cannot read"):
        source.read_answers("x")


def test_an_answer_is_completed_by_the_functions_it_does_not_define():
    solution = "def f(x):\n    return x\n\n\ndef g(x):\n    return f(x) + 1"
    whole = source.complete("def g(x):\n    return 3", solution)
    assert whole == "def f(x):\n    return x\n\n\ndef g(x):\n    return 3"
    assert source.complete("g = f = abs", solution) == "g = f = abs"
    assert source.complete("def f(x", solution) == "def f(x"
