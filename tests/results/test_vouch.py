"""Whoever vouches for results must give a reason, name all that changed, and see the cheap figures come out again."""

import json

import pytest

from genai_utils.results import load_results, save_results, stale
from tools.results.vouch import vouch


@pytest.fixture
def clone(tmp_path):
    """A repository in small, in which one of two sources of results 16 has changed."""
    for name in ("pyproject.toml", "pkg/a.py", "pkg/b.py", "pkg/c.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    (tmp_path / "out").mkdir()
    for number, sources in (("16", ["pkg/a.py", "pkg/b.py"]), ("15", ["pkg/b.py"])):
        save_results(number, {"x": 1.5}, sources=sources, command="python x.py", seeds=[0], folder=tmp_path / "out",
                     root=tmp_path)  # fmt: skip
    (tmp_path / "pkg/a.py").write_text("# mended\n")
    return tmp_path


def ask(clone, *files, why="the message alone", check=lambda: True):
    return vouch(files, why, check=check, folder=clone / "out", root=clone)


def test_vouched_results_are_fresh_and_say_why_and_keep_their_values(clone):
    before = load_results("16", folder=clone / "out")
    assert ask(clone, "pkg/a.py") == ["16"]
    assert stale("16", folder=clone / "out", root=clone) == []
    after = load_results("16", folder=clone / "out")
    (entry,) = after.pop("vouched")
    assert entry == {"source": "pkg/a.py", "was": before["sources"]["pkg/a.py"], "now": after["sources"]["pkg/a.py"],
                     "why": "the message alone"}  # fmt: skip
    assert {k: v for k, v in after.items() if k != "sources"} == {k: v for k, v in before.items() if k != "sources"}
    (clone / "pkg/a.py").write_text("# mended again\n")
    ask(clone, "pkg/a.py", why="again")
    assert [e["why"] for e in load_results("16", folder=clone / "out")["vouched"]] == ["the message alone", "again"]


@pytest.mark.parametrize("files, how, message", [
    (["pkg/a.py"], {"why": " "}, "say why"),
    (["pkg/a.py"], {"check": lambda: False}, "measure the results again"),
    (["pkg/a.py", "pkg/c.py"], {}, "no stored result became stale by pkg/c.py"),
])  # fmt: skip
def test_refused_and_nothing_is_written(clone, files, how, message):
    texts = {p: p.read_text() for p in (clone / "out").iterdir()}
    with pytest.raises(ValueError, match=message):
        ask(clone, *files, **how)
    assert {p: p.read_text() for p in (clone / "out").iterdir()} == texts


def test_every_file_that_made_a_result_stale_must_be_named(clone):
    (clone / "pkg/b.py").write_text("# changed, too\n")
    with pytest.raises(ValueError, match="16 are stale by pkg/b.py, too"):
        ask(clone, "pkg/a.py")
    assert ask(clone, "pkg/a.py", "pkg/b.py") == ["15", "16"]
    assert len(json.loads((clone / "out/16.json").read_text())["vouched"]) == 2


def test_results_that_rest_on_vouched_ones_follow(clone):
    save_results("14", {"x": 2}, sources=["out/16.json"], command="python y.py", seeds=[0], folder=clone / "out",
                 root=clone)  # fmt: skip
    assert ask(clone, "pkg/a.py") == ["14", "16"]
    assert stale("14", folder=clone / "out", root=clone) == []
    (entry,) = load_results("14", folder=clone / "out")["vouched"]
    assert entry["source"] == "out/16.json" and entry["why"] == "the message alone"
