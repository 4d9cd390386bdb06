"""A source as text and back, and what a wrong text is told."""

import pytest

from tools.clean_notebooks import as_text
from tools.exercises import source, write


@pytest.mark.parametrize("slug", source.slugs())
def test_a_source_survives_the_way_through_text(slug):
    nb = source.read(slug)
    again = write.notebook(write.show(nb))
    assert as_text(again) == source.path(slug).read_text(encoding="utf-8"), "cure: python -m tools.exercises.write"


@pytest.mark.parametrize("text, said", [
    ("hello\n%% md\ntext", "must open with a heading"),
    ("%% tset kl 2\nassert f", "cannot read the heading '%% tset kl 2'"),
    ("%% test kl two\nassert f", "invalid literal"), ("%% variants\n{", "Expecting"),
])
def test_a_text_that_cannot_be_read_is_refused_in_words(text, said):
    with pytest.raises(ValueError, match=said):
        write.notebook(text)


def test_the_command_writes_into_the_private_folder_and_names_broken_rules(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GENAI_PRIVATE_EXERCISES", str(tmp_path / "private"))
    (tmp_path / "draft.txt").write_text("%% md\n# Assignment\n%% setup\n%% code parameters\nimport math\n")
    with pytest.raises(SystemExit, match="0 graded tasks; 3 to 5 are wanted"):
        write.main([str(tmp_path / "draft.txt"), "90_draft"])
    assert (tmp_path / "private" / "90_draft" / "90_draft.ipynb").exists()
    write.main(["90_draft", "--show"])
    assert capsys.readouterr().out.endswith("%% md\n# Assignment\n%% setup\n%% code parameters\nimport math\n")
