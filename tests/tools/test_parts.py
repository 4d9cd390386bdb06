"""Parts of a results script: measured once, and again exactly when what they depend on has changed."""

import json

import pytest

from tools import chapters, parts

SCRIPT = """# head

# ---- shared

WIDTH = 1

# ---- near, far: two ways

STEPS = 1

# ---- other: more

N = 1

# ---- all
"""


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A script with a source of its own; (measure, calls, script, source)."""
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    script, source, calls = tmp_path / "s.py", tmp_path / "model.py", []
    script.write_text(SCRIPT)
    source.write_text("a = 1")
    found = lambda name: lambda: calls.append(name) or {"value": len(calls)}
    plan = {name: found(name) for name in ("near 0", "far 0", "other")}
    uses = {"near": ["model.py"], "far": [], "other": []}
    kept = tmp_path / "runs" / "r.json"
    return lambda *wanted: parts.measure(plan, script, uses, kept, wanted), calls, script, source


def test_parts_are_measured_once(bench):
    measure, calls, *_ = bench
    first = measure()
    assert calls == ["near 0", "far 0", "other"] and first == measure() and len(calls) == 3


@pytest.mark.parametrize(("old", "new", "again"), [
    ("STEPS = 1", "STEPS = 2", ["near 0", "far 0"]), ("N = 1", "N = 2", ["other"]),
    ("WIDTH = 1", "WIDTH = 2", ["near 0", "far 0", "other"]), ("# ---- all\n", "# ---- all\n\nplan = 1\n", []),
    ("# head", "# another head", []),
])
def test_changed_section_has_its_own_parts_measured_again(bench, old, new, again):
    measure, calls, script, _ = bench
    measure()
    del calls[:]
    script.write_text(SCRIPT.replace(old, new))
    measure()
    assert calls == again


def test_changed_source_has_those_measured_again_that_name_it(bench):
    measure, calls, _, source = bench
    measure()
    del calls[:]
    source.write_text("a = 2")
    measure()
    assert calls == ["near 0"]


def test_only_the_parts_asked_for_are_measured(bench):
    measure, calls, *_ = bench
    assert list(measure("far")) == calls == ["far 0"]
    assert list(measure("other")) == ["far 0", "other"]


def test_interrupted_run_keeps_what_was_finished(bench, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        parts.measure({"near 0": lambda: {"value": 1}, "far 0": stop}, tmp_path / "s.py", {"near": [], "far": []},
                      tmp_path / "runs" / "r.json")
    assert list(json.loads((tmp_path / "runs" / "r.json").read_text())) == ["near 0"]


def stop():
    raise KeyboardInterrupt


def test_part_without_a_section_is_refused_by_name(bench, tmp_path):
    with pytest.raises(ValueError, match="'missing 3'.*# ---- missing"):
        parts.code("missing 3", tmp_path / "s.py", [])


def test_every_part_of_every_script_has_a_section_and_sources():
    from tools.results import autoregressive_03, bert_05, gpt_04, rnn_02

    for script in (autoregressive_03, bert_05, gpt_04, rnn_02):
        path = chapters.ROOT / "tools" / "results" / f"{script.__name__.rpartition('.')[2]}.py"
        for name in script.plan():
            assert len(parts.code(name, path, script.PART_SOURCES[name.split()[0]])) == 64
