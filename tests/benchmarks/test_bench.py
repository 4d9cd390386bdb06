"""The benchmark compares equals, says what it found, and is the only author of the numbers on its page."""

import json
from functools import partial

import pytest
import torch

from genai_utils.results import FOLDER, load_results
from tests.benchmarks import harness, vae_cases
from tests.benchmarks.cases import EQUAL, SIZES, Case, Pair, ddim, networks, train_step
from tests.benchmarks.suites import DIFFUSION, SUITES

pytest.importorskip("diffusers")
CPU = torch.device("cpu")
VAE_ROWS = {case.name: case for case in vae_cases.plan(CPU, tiny=True, with_compile=False)}


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


@pytest.mark.parametrize("name", VAE_ROWS)
def test_both_sides_of_every_row_of_the_vae_family_do_the_same_work(name):
    pair = VAE_ROWS[name].build()
    assert pair.error < (EQUAL["bf16"] if "bf16" in name else 1e-4) and pair.flops > 0
    ours, theirs = (vae_cases._same_draws(run) for run in (pair.ours, pair.peer))
    assert pair.items == (1 if ours.ndim == 0 else len(ours)) or "train step" in name
    torch.testing.assert_close(ours.flatten(), theirs.flatten(), rtol=1e-3, atol=1e-2 if "bf16" in name else 1e-4)


@pytest.mark.parametrize("name", [name for name in VAE_ROWS if "train step" in name and "bf16" not in name])
def test_steps_of_the_vae_family_move_both_sides_alike(name, monkeypatch):
    adamw = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda parameters, **how: adamw(parameters, **how | {"lr": 1e-2}))
    pair = VAE_ROWS[name].build()
    losses = [[vae_cases._same_draws(run).item() for run in (pair.ours, pair.peer)] for _ in range(4)]
    assert losses[-1][0] < losses[0][0] - 1e-3
    assert all(ours == pytest.approx(theirs, rel=1e-3) for ours, theirs in losses)


def test_plain_vae_has_the_layers_of_ours():
    for network in ("conv", "mlp"):
        ours, peer = vae_cases.vaes("full", network, CPU)
        assert ours.cfg == vae_cases.VAEConfig(latent=8, network=network)
        assert [p.shape for p in ours.parameters()] == [p.shape for p in peer.parameters()]
        kinds = [[type(m).__name__ for m in model.modules() if not list(m.children())] for model in (ours, peer)]
        assert kinds[0] == kinds[1]


def stretched(models):
    """The weights of the peer, a little longer."""
    with torch.no_grad():
        for p in models[1].parameters():
            p.mul_(1.1)
    return models


@pytest.mark.parametrize("name, what, wrong", [
    ("VAE train step, conv", "plain_loss", lambda f: lambda logits, mu, log_var, x: f(logits, mu, 0 * log_var, x)),
    ("VAE train step, mlp", "vaes", lambda f: lambda *sizes: stretched(f(*sizes))),
    ("VAE decode, conv", "vaes", lambda f: lambda *sizes: stretched(f(*sizes))),
    ("VQ-VAE train step", "vqvae_loss", lambda f: partial(f, commitment=0.3)),
    ("VQ-VAE decode", "vqvaes", lambda f: lambda *sizes: stretched(f(*sizes))),
    ("Code prior", "sample_codes", lambda f: lambda prior, n, labels: f(prior, n, labels.flip(0))),
])  # fmt: skip
def test_a_side_of_the_vae_family_that_does_other_work_is_not_timed(name, what, wrong, monkeypatch):
    monkeypatch.setattr(vae_cases, what, wrong(getattr(vae_cases, what)))
    case = next(case for row, case in VAE_ROWS.items() if row.startswith(name))
    with pytest.raises(RuntimeError, match=f"{name}.*: ours and the peer's differ by"):
        harness.measure(case, rounds=3, seconds=1, device=CPU)


def test_plan_holds_the_cases_that_the_page_promises():
    names = [case.name for case in DIFFUSION.plan(CPU)]
    for wanted in ("U-Net train step, narrow, batch 8", "U-Net train step, narrow, batch 16",
                   "DDIM 20 steps, narrow, batch 8", "DDIM 20 steps, narrow, batch 16",
                   "U-Net train step, narrow, batch 8, bf16",
                   "U-Net train step, small, batch 8, compiled"):  # fmt: skip
        assert wanted in names
    assert all(SIZES[size]["sample_size"] == 32 for size in ("small", "narrow", "published"))
    names = [case.name for case in vae_cases.plan(CPU)]
    for network in ("conv", "mlp"):
        for wanted in ("train step, {}, batch 64", "train step, {}, batch 128", "decode, {}, batch 256"):
            assert f"VAE {wanted.format(network)}" in names
    for wanted in ("VQ-VAE train step, batch 16", "VQ-VAE decode, batch 64",
                   "Code prior, 49 codes, cache against none, batch 16",
                   *(f"VAE {work}, {variant}" for work in ("train step, conv, batch 64", "decode, conv, batch 256")
                     for variant in ("bf16", "compiled"))):  # fmt: skip
        assert wanted in names


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_rows_of_a_suite_have_names_of_their_own_and_compiling_can_be_left_out(suite, kind):
    for tiny in (False, True):
        names = [case.name for case in suite.plan(torch.device(kind), tiny=tiny)]
        assert len(set(names)) == len(names) and any("compiled" in name for name in names)
        without = [case.name for case in suite.plan(torch.device(kind), tiny=tiny, with_compile=False)]
        assert without == [name for name in names if "compiled" not in name]


def test_suites_have_names_results_and_markers_of_their_own():
    for what in ([s.name for s in SUITES], [s.result for s in SUITES], [m for s in SUITES for m in s.markers]):
        assert len(set(what)) == len(what)
    assert not any(a != b and a in b for s in SUITES for a in s.markers for t in SUITES for b in t.markers)


@pytest.mark.parametrize("error", [0.1, float("nan")])
def test_sides_that_differ_are_not_timed(error):
    pair = Pair(ours=lambda: None, peer=lambda: pytest.fail("timed"), error=error, items=1, flops=1)
    case = Case(name="unequal", build=lambda: pair)
    with pytest.raises(RuntimeError, match=f"unequal: ours and the peer's differ by {error}"):
        harness.measure(case, rounds=3, seconds=1, device=CPU)


def test_short_calls_are_timed_several_at_once(monkeypatch):
    calls = {"ours": 0, "peer": 0}
    pair = Pair(ours=lambda: count("ours"), peer=lambda: count("peer"), error=0.0, items=1, flops=1)

    def count(side):
        calls[side] += 1

    monkeypatch.setattr(harness, "TIMED", 1e-4)
    harness.measure(Case(name="short", build=lambda: pair), rounds=3, seconds=1, device=CPU)
    assert calls["peer"] > 3 + 3  # two before, one to warm up, and more than one in each of three rounds


def row(low, value=1.0, high=2.0):
    span = {"value": value, "low": low, "high": high}
    return {"case": "some case", "device": "cpu", "n": 9, "error": 0.0, "flops": 1, "ours_ms": span, "peer_ms": span,
            "ratio": span, "noise": span, "per_second": 1.0}  # fmt: skip


def test_slower_names_only_cases_whose_whole_interval_is_above_the_bar():
    assert harness.slower([row(1.02), row(0.9, 1.5)]) == []
    assert harness.slower([row(1.04)]) == ["some case"]


def blank_page(path):
    tables = "\n\n".join("\n".join([suite.markers[0], f"old {suite.name}", suite.markers[1]]) for suite in SUITES)
    path.write_text(f"# Before\n\n{tables}\n\nafter\n")
    return path


def test_run_prints_and_writes_its_rows_and_the_table_of_the_page(tmp_path, capsys):
    page = blank_page(tmp_path / "page.md")
    options = ["--tiny", "--no-compile", "--rounds", "3", "--page", str(page)]
    options += ["--only", "U-Net train step, tiny, batch 8"]
    status = harness.main(SUITES, [*options, "--folder", str(tmp_path)])
    results, printed = load_results("bench", folder=tmp_path), capsys.readouterr().out
    assert results["command"].startswith("python -m tests.benchmarks --tiny")
    rows = results["values"]["rows"]
    assert [r["case"] for r in rows] == ["U-Net train step, tiny, batch 8", "U-Net train step, tiny, batch 8, bf16"]
    for r in rows:
        assert r["ratio"]["low"] <= r["ratio"]["value"] <= r["ratio"]["high"]
        assert r["n"] == 3 and r["ours_ms"]["value"] > 0 and harness.line(r) in printed
    text = page.read_text()
    assert text.startswith("# Before\n") and text.endswith("after\n") and "old diffusion" not in text
    assert harness.table(results) in text
    assert status == (1 if harness.slower(rows) else 0)
    harness.write_page(DIFFUSION, results, page)
    assert page.read_text() == text  # writing again changes nothing


def test_each_suite_writes_its_own_results_and_its_own_table(tmp_path):
    page = blank_page(tmp_path / "page.md")
    options = ["--tiny", "--no-compile", "--rounds", "3", "--page", str(page), "--folder", str(tmp_path)]
    harness.main(SUITES, [*options, "--suite", "vae", "--only", "decode, mlp"])
    assert [path.name for path in tmp_path.glob("*.json")] == ["bench_vae.json"]
    results = load_results("bench_vae", folder=tmp_path)
    assert [r["case"] for r in results["values"]["rows"]] == ["VAE decode, mlp, batch 256"]
    assert set(results["sources"]) == set(vae_cases.SUITE.sources)
    text = page.read_text()
    assert harness.table(results) in text and "old vae" not in text and "old diffusion" in text
    with pytest.raises(SystemExit):  # the case is the other suite's
        harness.main(SUITES, [*options, "--suite", "diffusion", "--only", "decode, mlp"])
    with pytest.raises(SystemExit):
        harness.main(SUITES, [*options, "--suite", "no such suite"])
    assert page.read_text() == text


def test_a_part_of_a_run_is_not_written_unless_a_folder_is_named(tmp_path):
    page = blank_page(tmp_path / "page.md")
    before, stored = page.read_text(), {path.name: path.read_bytes() for path in FOLDER.glob("*.json")}
    harness.main(SUITES, ["--tiny", "--no-compile", "--rounds", "3", "--page", str(page), "--only", "decode, mlp"])
    assert page.read_text() == before
    assert {path.name: path.read_bytes() for path in FOLDER.glob("*.json")} == stored


def test_page_without_its_markers_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="once each"):
        harness.write_page(DIFFUSION, {}, page)


def test_gpu_rows_show_utilisation_and_memory():
    gpu = row(0.9) | {"device": "cuda", "mfu": 0.345, "peak_memory_mib": 1234.0, "per_second": 5678.0}
    results = {"command": "c", "hardware": "h", "versions": {"torch": "2"},
               "values": {"rows": [row(0.9), gpu], "precision": "highest", "load": "0"}}  # fmt: skip
    text = harness.table(results)
    assert text.index("One CPU thread") < text.index("One GPU")
    assert "| 5678 | 34.5% | 1234 |" in text and "MFU 34.5%" in harness.line(gpu)
    assert "unknown" in harness.table(results | {"values": results["values"] | {"rows": [gpu | {"mfu": None}]}})


def test_times_below_ten_milliseconds_keep_three_digits():
    assert "| 1.00 | 1.00 |" in harness.table({"command": "c", "hardware": "h", "versions": {},
        "values": {"rows": [row(0.9)], "precision": "highest", "load": "0"}})  # fmt: skip
    assert " 12.3 " in harness.line(row(0.9, 12.34, 13.0))


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_numbers_on_the_page_are_those_of_the_last_run(suite):
    path, text = FOLDER / f"{suite.result}.json", harness.PAGE.read_text()
    assert path.exists(), f"run `python -m tests.benchmarks --suite {suite.name}`"
    begin, end = suite.markers
    assert text.count(begin) == text.count(end) == 1
    assert text.split(begin)[1].split(end)[0].strip() == harness.table(json.loads(path.read_text()))
