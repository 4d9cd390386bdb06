"""The long run of chapter 21: what it keeps is used again just as long as the code that made it is the same."""

import functools
import json
from dataclasses import replace

import pytest
import torch

from genai_utils.compare import CONTESTANTS, PRESETS
from genai_utils.results import load_results, save_results
from tools.results import comparison_21 as long_run


def first(x):
    """Say what it does."""
    return x + 1  # and why


def second(x):
    """Say it otherwise."""

    return x + 1


def third(x):
    """Say what it does."""
    return x + 2


def test_hash_ignores_comments_and_docstrings_and_sees_code():
    sources = [long_run.inspect.getsource(f).replace(f.__name__, "f") for f in (first, second, third)]
    hashes = [long_run.code_of_text(s) for s in sources]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(long_run, "FOLDER", tmp_path)
    return tmp_path


def test_kept_rows_come_back_and_the_last_of_a_key_counts(folder, capsys):
    long_run.keep("a", {"x": 1})
    long_run.keep("b", {"x": 2})
    long_run.keep("a", {"x": 3})
    assert {k: r["x"] for k, r in long_run.kept().items()} == {"a": 3, "b": 2}


def test_mean_and_range_over_seeds():
    assert long_run.over([1.0, 3.0, 2.0], 7, kind="bound") == {
        "value": 2.0, "low": 1.0, "high": 3.0, "n": 7, "seeds": 3, "kind": "bound",
    }  # fmt: skip


def rows(folder, name, distances):
    """Keep rows of a sweep, rate by rate."""
    tail = f"{long_run.training_code(long_run.EVERY[name])} {long_run.judging_code(name)}"
    for rate, d in distances.items():
        about = {"stage": "sweep", "family": long_run.QUICKER.get(name, name), "rate": rate}
        found = {"failed": "diverged"} if d is None else {"frechet": d}
        long_run.keep(f"sweep {name} 100 {rate:g} 1e+12 {name} 5 {tail}", about | found)


def test_best_rate_is_the_one_with_the_least_distance_among_those_that_held(folder, capsys):
    rows(folder, "vae", {1e-3: 5.0, 3e-3: 2.0, 9e-3: None})
    assert long_run.best_rate("vae") == 3e-3


def test_best_rate_wants_a_whole_sweep_of_the_present_code(folder, capsys):
    rows(folder, "vae", {1e-3: 5.0, 3e-3: 2.0})
    with pytest.raises(SystemExit, match="sweep of vae is not complete"):
        long_run.best_rate("vae")
    text = (folder / "rows.jsonl").read_text().replace(long_run.judging_code("vae"), "0" * 12)
    (folder / "rows.jsonl").write_text(text)
    assert long_run.swept("vae") == []


def test_of_two_samplers_the_quicker_one_chooses_the_rate(folder, capsys):
    tail = f"{long_run.training_code(long_run.EVERY['diffusion'])} {long_run.judging_code('diffusion')}"
    for sampler, distances in {"ddim": (9.0, 5.0, 7.0), "ddpm": (1.0, 6.0, 8.0)}.items():
        for rate, d in zip((1e-3, 3e-3, 1e-2), distances):
            about = {"stage": "sweep", "family": sampler, "rate": rate, "frechet": d}
            long_run.keep(f"sweep diffusion 100 {rate:g} 1e+12 {sampler} 5 {tail}", about)
    assert [row["family"] for row in long_run.swept("diffusion")] == ["ddim"] * 3
    assert long_run.best_rate("diffusion") == 3e-3 and long_run.sensitivity("diffusion") == 9 / 5


def test_sensitivity_is_of_the_worse_side_and_a_rate_that_diverges_counts(folder, capsys):
    rows(folder, "vae", {1e-3: 5.0, 3e-3: 2.0, 1e-2: 6.0, 3e-2: 50.0})
    assert long_run.sensitivity("vae") == 3
    rows(folder, "dcgan", {1e-3: 5.0, 3e-3: 2.0, 1e-2: None})
    assert long_run.sensitivity("dcgan") == long_run.FAILED


def test_equal_time_is_a_budget_on_the_way_or_goes_past_the_last(monkeypatch):
    slow, quick = {"flops": 1e9, "seconds": 0.5}, {"flops": 1e9, "seconds": 0.05}
    monkeypatch.setattr(long_run, "LADDER", (1e12, 3e12))
    for one, steps in ((slow, 2_000), (quick, 20_000)):
        monkeypatch.setattr(long_run, "calibrate", lambda name, one=one: one)
        assert long_run.budgets("vae", 3e12) == {"1e+12": 1_000, "3e+12": 3_000, "time": steps}
    monkeypatch.setattr(long_run, "calibrate", lambda name: slow)
    assert long_run.budgets("vae", 1e12) == {"1e+12": 1_000}


def test_runs_of_another_equal_time_do_not_count(folder, capsys, monkeypatch):
    monkeypatch.setattr(long_run, "calibrate", lambda name: {"flops": 1e12 / 5, "seconds": 10.0})
    rows(folder, "vae", {1e-3: 5.0, 3e-3: 2.0, 9e-3: 4.0})
    tail = f"{long_run.training_code(CONTESTANTS['vae'])} {long_run.judging_code('vae')}"
    now = round(long_run.PROTOCOL.seconds / 10)
    for steps in (now, now // 5):
        about = {"stage": "run", "family": "vae", "seed": 0, "rate": 3e-3, "budget": "time", "steps": steps}
        long_run.keep(f"run vae 0 0.003 time vae {steps} {tail}", about)
    assert [r["steps"] for r in long_run.runs_of("vae", "time")] == [now]


def test_a_sweep_goes_on_until_the_best_has_a_worse_one_on_either_side(folder, capsys, monkeypatch):
    monkeypatch.setattr(long_run, "calibrate", lambda name: {"flops": 1e12 / 5})
    asked = []

    def measure(stage, name, evaluation, *, seed, rate, steps):
        if rate not in asked:
            asked.append(rate)
            rows(folder, name, {rate: abs(rate - 0.05)})

    monkeypatch.setattr(long_run, "measure", measure)
    long_run.sweep("vae", None)
    best = long_run.best_rate("vae")
    assert min(asked) < best < max(asked) and min(asked, key=lambda r: abs(r - 0.05)) == best


def test_rows_of_the_table_are_families_with_two_samplers_of_diffusion():
    assert len(long_run.table_rows()) == len(CONTESTANTS) + 1
    assert {long_run.ROWS.get(r, r) for r in long_run.table_rows()} == set(CONTESTANTS)


def test_stored_table_has_every_row_and_measure_with_its_sample_size():
    values = load_results(21)["values"]
    assert values["order"] == long_run.table_rows()
    for row, found in values["summary"]["flops"].items():
        assert set(found) <= set(values["measures"])
        for measure, v in found.items():
            assert v["low"] <= v["value"] <= v["high"] and v["n"] >= 1 and v["seeds"] >= 1, (row, measure)
        if long_run.EVERY[long_run.ROWS.get(row, row)].likelihood:
            bits = found["bits_per_dim"]
            assert bits["kind"] in ("exact", "bound", "estimate") and bits["error"] > 0
        else:
            assert "bits_per_dim" not in found


def test_another_stage_goes_from_a_sweep_to_its_table_and_is_not_run_twice(tmp_path, monkeypatch, capsys):
    two = {name: CONTESTANTS[name] for name in ("vae", "dcgan")}
    tiny = replace(PRESETS["embedded"], flops=6e9, seconds=0.2, n_samples=100, n_likelihood=20, seeds=(0, 1))
    monkeypatch.setitem(PRESETS, "tiny", tiny)
    monkeypatch.setitem(long_run.LADDERS, "tiny", (3e9, 6e9))
    monkeypatch.setattr(long_run, "CONTESTANTS", two)
    monkeypatch.setattr(long_run.shutil, "which", lambda name: None)     # nothing is compiled for so short a race
    monkeypatch.setattr(long_run.costing, "training_memory", lambda name, scale: {"tiny": 1.0}[scale])
    monkeypatch.setattr(long_run, "save_results", functools.partial(save_results, folder=tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["comparison_21", "--scale", "tiny", "--device", "cpu"])
    try:
        long_run.main()
        table = (tmp_path / "21_tiny.json").read_bytes()
        monkeypatch.setattr("genai_utils.compare.runs.fit", lambda *a, **k: pytest.fail("trained again"))
        long_run.main()
    finally:
        monkeypatch.undo()
        long_run.choose("embedded", "cpu")
        torch.set_flush_denormal(False)
    assert (tmp_path / "21_tiny.json").read_bytes() == table
    found = json.loads(table)
    assert found["command"].endswith("--scale tiny") and found["seeds"] == [0, 1]
    values = found["values"]
    assert values["order"] == list(two) and not {"text", "again"} & values.keys()
    assert values["protocol"]["flops"] == 6e9 and values["protocol"]["sweep"] == 3e9
    for where in ("flops", "time"):
        assert all(v["frechet"]["seeds"] == 2 and v["frechet"]["n"] == 100 for v in values["summary"][where].values())
    assert [sorted(v, key=float) for v in values["ladder"].values()] == [["3e+09", "6e+09"]] * 2
    assert len(list(tmp_path.glob("runs/compare-tiny-cpu-*/rows.jsonl"))) == 1


@pytest.mark.parametrize("words, message", [
    ("--device cuda", "embedded scale is raced on a CPU"), ("--scale full", "no GPU of CUDA"),
    ("diffusions", "no stage or family diffusions on the embedded scale"),
    ("--scale full --device cpu calibrate lstm", "no stage or family lstm on the full scale"),
])
def test_what_cannot_be_raced_is_refused(words, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["comparison_21", *words.split()])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    try:
        with pytest.raises(SystemExit):
            long_run.main()
    finally:
        long_run.choose("embedded", "cpu")
    assert message in capsys.readouterr().err


def test_rows_are_kept_apart_by_all_of_a_protocol_but_what_they_name(monkeypatch):
    folders = []
    for change in ({}, {"flops": 1e12, "seconds": 1.0, "seeds": (7,)}, {"n_samples": 1_000}, {"decay": 0.9}):
        monkeypatch.setitem(PRESETS, "embedded", replace(PRESETS["embedded"], **change))
        long_run.choose("embedded", "cpu")
        folders.append(long_run.FOLDER)
        monkeypatch.undo()
    long_run.choose("embedded", "cpu")
    assert folders[0] == folders[1] == long_run.FOLDER and len(set(folders)) == 3


def test_rows_of_a_shorter_race_do_not_count(folder, capsys, monkeypatch):
    monkeypatch.setattr(long_run, "calibrate", lambda name: {"flops": 1e12 / 5, "seconds": 10.0})
    first, last = (f"{long_run.LADDER[i]:g}" for i in (0, -1))
    for name, family in (("diffusion", "ddpm"), ("vae", "vae")):
        rows(folder, name, {1e-3: 5.0, 3e-3: 2.0, 9e-3: 4.0})
        tail = f"{long_run.training_code(CONTESTANTS[name])} {long_run.judging_code(name)}"
        for budget in (first, last):
            steps = long_run.budgets(name, float(last))[budget]
            about = {"stage": "run", "family": family, "seed": 0, "rate": 3e-3, "budget": budget, "steps": steps}
            long_run.keep(f"run {name} {budget} {tail}", about | {"bits_per_dim": 2.0, "frechet": 3.0})
    assert long_run.runs_of("ddpm", first) == [] and len(long_run.runs_of("ddpm", last)) == 1
    (early,), (end,) = long_run.runs_of("vae", first), long_run.runs_of("vae", last)
    assert "bits_per_dim" not in early and early["frechet"] == 3.0 and end["bits_per_dim"] == 2.0
