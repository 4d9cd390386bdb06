"""Every shipped file is what the registry says, small, and under terms that LICENSES.md names."""

import hashlib

import pytest

from genai_utils.weights import load_tensors, load_tokenizer, registry
from genai_utils.weights.loader import FOLDER
from genai_utils.weights.writer import MAX_ALL, MAX_FILE, licence_terms

ENTRIES = registry()
FIELDS = {"file", "bytes", "sha256", "class", "config", "command", "data", "terms", "seed", "score", "hardware"}


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_shipped_weights_are_what_the_registry_says(name):
    entry, path = ENTRIES[name], FOLDER / ENTRIES[name]["file"]
    assert FIELDS <= set(entry) <= FIELDS | {"tokenizer"} and entry["file"] == f"{name}.safetensors"
    content = path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert len(content) == entry["bytes"] <= MAX_FILE
    assert entry["command"] and entry["data"] and entry["hardware"] and entry["score"]
    assert entry["terms"] in licence_terms()
    assert all(t.isfinite().all() for t in load_tensors(name).values())
    assert "tokenizer" not in entry or load_tokenizer(name).vocab > 0


def test_shipped_weights_stay_within_56_mebibytes():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) <= MAX_ALL == 56 * 2**20


def test_folder_holds_no_unregistered_file():
    known = {entry["file"] for entry in ENTRIES.values()} | {"registry.json", "LICENSES.md"}
    assert {path.name for path in FOLDER.iterdir() if path.suffix not in (".py", "") and path.is_file()} == known


def test_nothing_shipped_was_trained_on_data_that_forbids_it():
    assert not [name for name, entry in ENTRIES.items() if "multi30k" in entry["data"].lower()]
