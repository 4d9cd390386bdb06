"""The import graph of genai_utils points one way (STYLE.md, section 1)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "genai_utils"
LAYERS = [
    {"core"},
    {"nn", "data"},
    {"weights", "training", "results"},
    {"metrics"},
    {"autoregressive", "transformer", "vae", "gan", "flows"},
    {"diffusion"},
    {"multimodal"},
    {"live"},
    {"widgets", "checks", "compare"},
]
RANK = {folder: rank for rank, layer in enumerate(LAYERS) for folder in layer}


def names_imported(source: str, here: tuple[str, ...]) -> set[str]:
    """Dotted names that the source imports, wherever in the file it does so; `here` is its package."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            stem = ".".join((*base, *([node.module] if node.module else [])))
            found |= {f"{stem}.{alias.name}" for alias in node.names}
    return found


def upward(source: str, here: tuple[str, ...]) -> set[str]:
    """Sub-packages that the source imports although they are not below its own."""
    folders = {n.split(".")[1] for n in names_imported(source, here) if n.startswith(f"{PACKAGE.name}.")} & RANK.keys()
    return {other for other in folders - {here[1]} if RANK[other] >= RANK[here[1]]}


MODULES = sorted(PACKAGE.glob("*/**/*.py"))


def ids(path):
    return str(path.relative_to(ROOT))


def test_every_folder_has_a_layer():
    assert {p.parent.name for p in PACKAGE.glob("*/__init__.py")} <= RANK.keys()


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_imports_only_point_down(path):
    bad = upward(path.read_text(), path.relative_to(ROOT).parts[:-1])
    assert not bad, f"{path.relative_to(ROOT)} may not import {sorted(bad)}: they are not below it"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=ids)
def test_package_imports_neither_tools_nor_tests_nor_trainers(path):
    roots = {n.split(".")[0] for n in names_imported(path.read_text(), path.relative_to(ROOT).parts[:-1])}
    banned = roots & {"tools", "tests", "torchvision", "pytorch_lightning", "lightning", "diffusers", "transformers"}
    assert not banned, f"{path.relative_to(ROOT)} imports {sorted(banned)}"


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_model_files_are_one_sitting(path):
    lines = len(path.read_text().splitlines())
    assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines, 400 are one sitting: split it by idea"


@pytest.mark.parametrize("line", [
    "import genai_utils.diffusion.unet", "from genai_utils.diffusion import UNet", "from genai_utils import diffusion",
    "from ..diffusion.unet import UNet", "def f():\n    from ..widgets import show",
])
def test_the_rule_finds_an_upward_import_however_it_is_written(line):
    assert upward(line, ("genai_utils", "training"))


def test_the_rule_lets_downward_and_own_imports_pass():
    assert not upward("from genai_utils.core import seed_all\nfrom . import loop", ("genai_utils", "training"))
