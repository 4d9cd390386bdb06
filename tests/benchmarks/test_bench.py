"""The benchmark compares equals, says what it found, and is the only author of the numbers on its page."""

import json

import pytest
import torch

from genai_utils.results import FOLDER, load_results
from tests.benchmarks import harness
from tests.benchmarks.cases import SIZES, Case, Pair, cases, ddim, networks, train_step

pytest.importorskip("diffusers")
CPU = torch.device("cpu")


def test_both_sides_of_sampling_give_the_same_images():
    pair = ddim("tiny", 2, CPU)
    assert pair.error < 1e-4 and pair.flops > 0 and pair.items == 2
    torch.testing.assert_close(pair.ours(), pair.peer(), rtol=1e-4, atol=1e-4)


def test_both_networks_have_the_same_parameters():
    ours, peer = networks("tiny", CPU)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in peer.parameters())


def test_train_step_gives_both_sides_the_same_gradient_and_moves_their_weights_alike():
    pair = train_step("tiny", 2, CPU)
    assert pair.error < 1e-4 and pair.flops > 0 and pair.items == 2
    losses = [(pair.ours().item(), pair.peer().item()) for _ in range(4)]
    assert losses[-1][0] < losses[0][0] and losses[-1][1] < losses[0][1]
    assert all(abs(ours - peer) < 1e-4 for ours, peer in losses)


def test_plan_holds_the_cases_that_the_page_promises():
    names = [case.name for case in cases("narrow", (8, 16), compiled="small", device=CPU)]
    assert len(set(names)) == len(names)
    for wanted in ("U-Net train step, narrow, batch 8", "U-Net train step, narrow, batch 16",
                   "DDIM 20 steps, narrow, batch 8", "DDIM 20 steps, narrow, batch 16",
                   "U-Net train step, narrow, batch 8, bf16",
                   "U-Net train step, small, batch 8, compiled"):  # fmt: skip
        assert wanted in names
    assert not any("compiled" in case.name for case in cases("narrow", (8,), compiled=None, device=CPU))
    assert all(SIZES[size]["sample_size"] == 32 for size in ("small", "narrow", "published"))


def test_sides_that_differ_are_not_timed():
    pair = Pair(ours=lambda: None, peer=lambda: pytest.fail("timed"), error=0.1, items=1, flops=1)
    case = Case(name="unequal", build=lambda: pair)
    with pytest.raises(RuntimeError, match="unequal: ours and the peer's differ by 0.1"):
        harness.measure(case, rounds=3, seconds=1, device=CPU)


def row(low, value=1.0, high=2.0):
    span = {"value": value, "low": low, "high": high}
    return {"case": "some case", "device": "cpu", "n": 9, "error": 0.0, "flops": 1, "ours_ms": span, "peer_ms": span,
            "ratio": span, "noise": span, "per_second": 1.0}  # fmt: skip


def test_slower_names_only_cases_whose_whole_interval_is_above_the_bar():
    assert harness.slower([row(1.02), row(0.9, 1.5)]) == []
    assert harness.slower([row(1.04)]) == ["some case"]


def test_run_prints_and_writes_its_rows_and_the_table_of_the_page(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n\n{harness.BEGIN}\nold numbers\n{harness.END}\n\nafter\n")
    options = ["--size", "tiny", "--no-compile", "--rounds", "3", "--page", str(page)]
    options += ["--only", "U-Net train step, tiny, batch 8"]
    status = harness.main([*options, "--folder", str(tmp_path)])
    results, printed = load_results("bench", folder=tmp_path), capsys.readouterr().out
    assert results["command"].startswith("python -m tests.benchmarks --size tiny")
    rows = results["values"]["rows"]
    assert [r["case"] for r in rows] == ["U-Net train step, tiny, batch 8", "U-Net train step, tiny, batch 8, bf16"]
    for r in rows:
        assert r["ratio"]["low"] <= r["ratio"]["value"] <= r["ratio"]["high"]
        assert r["n"] == 3 and r["ours_ms"]["value"] > 0 and harness.line(r) in printed
    text = page.read_text()
    assert text.startswith("# Before\n") and text.endswith("after\n") and "old numbers" not in text
    assert harness.table(results) in text
    assert status == (1 if harness.slower(rows) else 0)
    harness.write_page(results, page)
    assert page.read_text() == text  # writing again changes nothing


def test_page_without_its_markers_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="once each"):
        harness.write_page({}, page)


def test_gpu_rows_show_utilisation_memory_and_images_per_second():
    gpu = row(0.9) | {"device": "cuda", "mfu": 0.345, "peak_memory_mib": 1234.0, "per_second": 5678.0}
    results = {"command": "c", "hardware": "h", "versions": {"torch": "2"},
               "values": {"rows": [row(0.9), gpu], "precision": "highest", "load": "0"}}  # fmt: skip
    text = harness.table(results)
    assert text.index("One CPU thread") < text.index("One GPU")
    assert "| 34.5% | 5678 | 1234 |" in text and "MFU 34.5%" in harness.line(gpu)
    assert "unknown" in harness.table(results | {"values": results["values"] | {"rows": [gpu | {"mfu": None}]}})


def test_numbers_on_the_page_are_those_of_the_last_run():
    assert (FOLDER / "bench.json").exists(), "run `make bench`"
    assert harness.table(json.loads((FOLDER / "bench.json").read_text())) in harness.PAGE.read_text()
