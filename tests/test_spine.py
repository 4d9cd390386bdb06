"""What holds the repository together: requirements, the package as installed, the book's settings, workflows, make."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from urllib.parse import urlparse

import pytest
import yaml
from packaging.requirements import Requirement

from tools import build_book, chapters, run_scripts, set_repository, vendor

ROOT = chapters.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
LOCK = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line and not line.startswith("#")]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
COLAB = {"torch": "2.11.0+cu128", "ipywidgets": "7.7.1", "anywidget": "0.9.21"}   # its August 2026 image


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(*extras):
    project = PROJECT["project"]
    lines = project["dependencies"] + [line for e in extras for line in project["optional-dependencies"][e]]
    return [Requirement(line) for line in lines]


def test_lock_pins_every_line_exactly_and_torch_without_a_build():
    pins = dict(line.split("==") for line in LOCK)
    assert len(pins) == len(LOCK) and all(re.fullmatch(r"\d[\w.]*", version) for version in pins.values())
    assert pins["torch"] == "2.13.0" and pins["jupyter-book"].startswith("1.")


@pytest.mark.parametrize("requirement", requirements("notebook", "book", "test", "peers", "scale", "teach"), ids=str)
def test_lock_meets_the_bounds_of_pyproject(requirement):
    pins = {canonical(name): version for name, version in (line.split("==") for line in LOCK)}
    assert pins[canonical(requirement.name)] in requirement.specifier


def test_colabs_own_versions_meet_the_bounds():
    bounds = {canonical(r.name): r.specifier for r in requirements("notebook")}
    assert {name for name, version in COLAB.items() if version not in bounds[name]} == set()


def test_extras_are_those_promised():
    assert set(PROJECT["project"]["optional-dependencies"]) == {"notebook", "book", "test", "peers", "scale", "teach"}


def test_environment_yml_is_python_pip_and_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, last = environment["dependencies"]
    assert last == {"pip": ["-r requirements.lock"]} and "python=3.11" in conda and "pip" in conda


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """What `pip install .` would put on a machine: the wheel, built from a copy of the package."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, copy)
    assert (copy / "README.md").exists(), "pyproject.toml names README.md"
    shutil.copytree(ROOT / "genai_utils", copy / "genai_utils", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", copy, copy],
                   check=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return next(copy.glob("genai_utils-*.whl"))


def test_wheel_holds_every_file_of_the_package(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "genai_utils").rglob("*")
             if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")}
    assert files - held == set(), "add their suffix to [tool.setuptools.package-data]"


def test_wheel_holds_nothing_else(wheel):
    roots = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {root for root in roots if not root.startswith("genai_utils")} == set()


def test_importing_the_package_prints_nothing_and_leaves_the_random_state(tmp_path):
    code = ("import random, torch, pkgutil, importlib\n"
            "before = random.getstate(), torch.get_rng_state()\n"
            "import genai_utils\n"
            "for m in pkgutil.walk_packages(genai_utils.__path__, 'genai_utils.'): importlib.import_module(m.name)\n"
            "assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])\n")
    env = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_every_page_in_the_table_of_contents_has_a_source():
    pages = chapters.toc()
    missing = [p for p in pages if not any((ROOT / f"{p}{suffix}").exists() for suffix in (".md", ".ipynb"))]
    assert missing == [] and len(pages) == len(set(pages))


def test_every_page_of_the_book_stands_in_the_table_of_contents():
    pages = {str(path.relative_to(ROOT).with_suffix("")) for path in (ROOT / "book").rglob("*.md")}
    assert pages - set(chapters.toc()) == set()


def test_book_settings_load_nothing_from_outside():
    found = []

    def walk(node, where):
        if isinstance(node, dict):
            for key, value in node.items():
                walk(key, where)
                walk(value, f"{where}.{key}")
        elif isinstance(node, list):
            for value in node:
                walk(value, where)
        elif isinstance(node, str) and urlparse(node).scheme in ("http", "https"):
            found.append(where)

    walk(CONFIG, "")
    assert set(found) <= {".repository.url", ".launch_buttons.colab_url"}   # links to follow, not files to load


def test_book_is_strict_about_what_jupyter_book_gets_wrong():
    assert ".*" in CONFIG["exclude_patterns"], "a root .venv would be read as pages"
    assert not (ROOT / "_static").exists(), "Jupyter Book loads every script below a root _static on every page"
    assert CONFIG["only_build_toc_files"] and CONFIG["execute"]["execute_notebooks"] == "cache"


@pytest.mark.parametrize("target", ["book", "test", "lab", "serve", "bench", "weights", "results", "clean-notebooks",
                                    "costs", "set-repository"])
def test_make_target_sets_up_first(target):
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0 < done.stdout.find("tools/bootstrap.py") < done.stdout.rfind(" -m ")


@pytest.mark.parametrize("target", ["book", "test", "bench", "weights", "results", "clean-notebooks", "costs",
                                    "set-repository"])
def test_make_target_runs_a_module_that_is_there(target):
    text = (ROOT / "Makefile").read_text()
    module = re.search(rf"^{target}:.*\n(?:\t.*\n)*?\t.*-m ([\w.]+)", text, re.M)[1]
    path = ROOT / module.replace(".", "/")
    assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_every_recipe_is_run_by_make_weights():
    scripts = {f"tools.recipes.{path.stem}" for path in (ROOT / "tools" / "recipes").glob("*.py")
               if "save_weights(" in path.read_text()}
    assert scripts == {command.split()[0] for command in run_scripts.RECIPES}


def test_setup_refuses_an_old_python_and_says_what_to_do(tmp_path):
    old = tmp_path / "python3.8"
    old.write_text("#!/bin/sh\nexit 1\n")    # answers "too old" to the question of its version
    old.chmod(0o755)
    env = os.environ | {"PYTHON": str(old), "VENV": str(tmp_path / "venv")}
    done = subprocess.run([sys.executable, "tools/bootstrap.py"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "Python 3.11 or newer" in done.stderr and "make book PYTHON=" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_assets_need_npm_once_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(vendor, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(vendor.FetchError, match=r"npm is needed.*Node\.js"):
        vendor.fetch("requirejs", *vendor.PACKAGES["requirejs"])


def test_assets_with_another_hash_are_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(vendor, "CACHE", tmp_path)
    (tmp_path / "requirejs-2.3.8.tgz").write_bytes(b"something else")
    with pytest.raises(vendor.FetchError, match="sha512"):
        vendor.fetch("requirejs", *vendor.PACKAGES["requirejs"])
    assert list(tmp_path.iterdir()) == []


def test_changed_package_makes_chapters_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    (tmp_path / "genai_utils").mkdir()
    (tmp_path / "requirements.lock").write_text("torch==2.13.0\n")
    (tmp_path / "genai_utils" / "a.py").write_text("x = 1\n")
    before = build_book.package_hash()
    (tmp_path / "genai_utils" / "a.py").write_text("x = 2\n")
    assert build_book.package_hash() != before


def test_repository_address_is_one_that_colab_opens():
    url, branch = set_repository.address()
    assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url) and branch


def test_setup_cell_is_short_and_never_replaces_torch():
    cell = set_repository.setup_cell("https://github.com/OWNER/REPO")
    lines = cell.splitlines()
    assert len(lines) <= 10 and max(map(len, lines)) <= 88
    compile(cell, "<setup>", "exec")
    assert '"-c"' in cell and "torch==" in cell and "genai_utils[notebook] @ git+https://github.com/OWNER/REPO" in cell


def test_ci_installs_what_is_missing_and_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK) and script.read_text().rstrip().endswith("exec make test")
    subprocess.run(["bash", "-n", script], check=True)


def test_workflows_are_those_promised():
    assert set(WORKFLOWS) == {"tests", "publish", "weekly"}
    text = {path.stem: path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml")}
    assert ".ci/run" in text["tests"] and "make book" in text["publish"] and "gh issue create" in text["weekly"]


def test_a_weekly_job_grades_thirty_submissions_in_ten_minutes():
    steps = WORKFLOWS["weekly"]["jobs"]["grading"]["steps"]
    (grading,) = [step for step in steps if "make grade" in step.get("run", "")]
    assert grading["timeout-minutes"] == 10
    assert sum("--students 30" in step.get("run", "") for step in steps) == 2, "handed in, and their marks looked at"


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_workflow_has_least_privilege_pins_and_timeouts(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        writes = {scope for scope, level in job.get("permissions", {}).items() if level == "write"}
        assert writes <= {"issues", "pages", "id-token"}
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]), step["uses"]
