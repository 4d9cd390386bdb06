"""A chapter in Colab's shape: its ipywidgets and anywidget, an empty folder, and the package only by the setup cell.

The machine's own torch and other libraries stand in for those of Colab's image, and a clone of this working tree for
the repository. Needs the package index: skipped, and saying so, where pip cannot reach it.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tools import chapters

ROOT = chapters.ROOT
COLAB = ["ipywidgets==7.7.1", "anywidget==0.9.21", "widgetsnbextension==3.6.10", "jupyterlab_widgets==1.1.11",
         "ipython_genutils==0.2.0", "pip==24.1.2"]
OURS = ("genai_utils", "__editable__", "ipywidgets", "anywidget", "widgetsnbextension", "jupyterlab_widgets", "pip")
QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore"}

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(900)]


def environment():
    """The environment of a reader: no trace of this repository or its virtual environment."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return env | chapters.KERNEL_ENV | QUIET


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """Python of a virtual environment with Colab's widget versions, everything else shared, genai_utils missing."""
    folder = tmp_path_factory.mktemp("colab")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    done = subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", *COLAB], capture_output=True, text=True,
                          env=environment())
    if done.returncode:
        pytest.skip(f"pip cannot install Colab's ipywidgets and anywidget: {done.stderr.strip().splitlines()[-1]}")
    shared = folder / "shared"
    shared.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.lower().startswith(OURS):
            (shared / entry.name).symlink_to(entry)
    own = next((folder / "venv" / "lib").glob("python3.*/site-packages"))
    (own / "shared.pth").write_text(f"{shared}\n")     # after the environment's own packages: those win
    return python


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A git repository that holds this working tree, as a reader's pip would clone it."""
    folder = tmp_path_factory.mktemp("clone") / "book"
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    return f"file://{folder}"


def ask(python, code):
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, env=environment(), cwd="/")
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.mark.skipif(not chapters.paths(), reason="there is no chapter yet")
def test_chapter_runs_from_an_empty_folder_and_keeps_the_torch_that_is_there(colab, clone, tmp_path):
    chapter = chapters.paths()[-1]
    torch_before = ask(colab, "import torch; print(torch.__version__)")
    assert "No module named" in ask(colab, "import genai_utils"), "the package must be missing at first"
    folder = tmp_path / "empty"
    folder.mkdir()
    command = [colab, ROOT / "tools" / "run_in_empty_folder.py", "--repository", clone, "--keep", folder, chapter]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / chapter.name).exists() and (folder / "keep-torch.txt").read_text() == f"torch=={torch_before}\n"
    where = Path(ask(colab, "import genai_utils; print(genai_utils.__file__)"))
    assert where.is_relative_to(colab.parents[1]), where
    assert ask(colab, "import torch; print(torch.__version__)") == torch_before
    for name, version in (("ipywidgets", "7.7.1"), ("anywidget", "0.9.21")):
        assert ask(colab, f"import {name}; print({name}.__version__)") == version


def test_assignment_runs_untouched_from_an_empty_folder(colab, clone, tmp_path):
    assignment = chapters.assignments()[0]
    command = [colab, ROOT / "tools" / "run_in_empty_folder.py", "--repository", clone, "--keep", tmp_path, assignment]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = chapters.read(tmp_path / assignment.name)
    printed = [o.text for cell in chapters.tagged(ran, "check") for o in cell.outputs if o.output_type == "stream"]
    assert printed and all("not attempted" in text for text in printed)
