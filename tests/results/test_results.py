import json
import platform

import numpy as np
import pytest
import torch

from genai_utils.results import FOLDER, hardware_name, load_results, save_results, stale


@pytest.fixture
def clone(tmp_path):
    """A repository in small: a project file, a script, a package folder and a folder for results."""
    for name in ("pyproject.toml", "tools/results/16_diffusion.py", "pkg/a.py", "pkg/sub/b.py", "pkg/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    (tmp_path / "out").mkdir()
    return tmp_path


def save(clone, values=None, number=16, **kw):
    given = {"sources": ["tools/results/16_diffusion.py", "pkg"], "command": "python x.py", "seeds": range(3)} | kw
    values = {"frechet": [1.5, 2.5]} if values is None else values
    return save_results(number, values, folder=clone / "out", root=clone, **given)


def test_results_come_back_with_their_origin(clone):
    values = {"t": torch.tensor([1, 2]), "a": np.array([0.5]), "x": np.float32(2), "nested": {"name": "ddim"}}
    assert save(clone, values, libraries=("torch",)).name == "16.json"
    found = load_results("16", folder=clone / "out")
    assert found["values"] == {"t": [1, 2], "a": [0.5], "x": 2.0, "nested": {"name": "ddim"}}
    assert (found["seeds"], found["command"], found["hardware"]) == ([0, 1, 2], "python x.py", hardware_name())
    assert found["versions"] == {"python": platform.python_version(), "torch": torch.__version__}
    assert list(found["sources"]) == ["pkg/a.py", "pkg/sub/b.py", "tools/results/16_diffusion.py"]
    assert load_results(16, folder=clone / "out") == found


def test_saving_twice_gives_the_same_bytes(clone):
    first = save(clone).read_bytes()
    assert save(clone).read_bytes() == first and len(list((clone / "out").iterdir())) == 1


def test_stale_names_the_sources_that_changed(clone):
    save(clone)
    look = lambda: stale(16, folder=clone / "out", root=clone)
    assert look() == []
    (clone / "pkg/notes.txt").write_text("no source")
    assert look() == []
    (clone / "pkg/sub/b.py").write_text("changed = True\n")
    (clone / "pkg/a.py").unlink()
    assert look() == ["pkg/a.py", "pkg/sub/b.py"]
    (clone / "pyproject.toml").unlink()
    with pytest.raises(RuntimeError, match="only a clone of the repository can tell"):
        look()


@pytest.mark.parametrize(
    "kw, message",
    [
        ({"sources": ["pkg/missing.py"]}, "there is no source 'pkg/missing.py'"),
        ({"sources": []}, "at least one source"),
        ({"values": {"x": float("nan")}}, "not JSON compliant"),
        ({"values": {"x": object()}}, "got object"),
        ({"number": "../16"}, "lower-case name"),
        ({"libraries": ["no-such-library"]}, "is not installed"),
    ],
)
def test_save_results_refuses_and_writes_nothing(clone, kw, message):
    with pytest.raises(ValueError, match=message):
        save(clone, **kw)
    assert not list((clone / "out").iterdir())


def test_missing_results_say_how_to_compute_them(clone):
    save(clone, number=1)
    with pytest.raises(ValueError, match="there are no results '16'; there are 01; `make results` computes them"):
        load_results("16", folder=clone / "out")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.json")))
def test_shipped_results_are_of_the_present_sources(name):
    assert stale(name) == [], f"run `{load_results(name)['command']}`"
    assert json.loads((FOLDER / f"{name}.json").read_text())["values"]
