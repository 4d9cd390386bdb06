"""A run can be cut and go on; a longer run contains the shorter; failures are said and not lost."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from genai_utils.compare import CONTESTANTS, PRESETS, Evaluation, load_pictures, run, train
from genai_utils.compare.costs import sampling_cost, training_memory
from genai_utils.compare.noise import DiffusionContestant
from genai_utils.training.loop import TrainingDiverged

PROTOCOL = replace(PRESETS["embedded"], n_train=640, n_samples=100, n_likelihood=20, n_integral=2)


@pytest.fixture(scope="module")
def data():
    return load_pictures(PROTOCOL)[0]


def weights(network):
    return torch.cat([v.flatten().double() for v in network.state_dict().values()])


@pytest.mark.parametrize("name", ["vae", "wgan_gp"])
def test_a_run_that_was_cut_ends_with_the_same_weights(name, data, tmp_path):
    make, how = CONTESTANTS[name], {"seed": 3}
    *_, (_, whole) = train(make, PROTOCOL, data, steps={"a": 3, "b": 5}, **how)
    whole = weights(whole)
    list(train(make, PROTOCOL, data, steps={"a": 3}, folder=tmp_path, **how))  # stopped there
    (_, first), (_, cut) = train(make, PROTOCOL, data, steps={"a": 3, "b": 5}, folder=tmp_path, **how)
    assert first is cut and torch.equal(weights(cut), whole)


def test_a_longer_run_contains_the_shorter(data):
    make = CONTESTANTS["vae"]
    ((_, short),) = train(make, PROTOCOL, data, seed=1, steps={"a": 3})
    ((_, net), *_) = ((b, weights(n)) for b, n in train(make, PROTOCOL, data, seed=1, steps={"b": 6, "a": 3}))
    assert torch.equal(weights(short), net)


def test_snapshots_are_not_trained_again(data, tmp_path, monkeypatch):
    make = CONTESTANTS["vae"]
    ((_, once),) = train(make, PROTOCOL, data, seed=0, steps={"a": 3}, folder=tmp_path)
    once = weights(once)
    monkeypatch.setattr("genai_utils.compare.runs.fit", lambda *a, **k: pytest.fail("trained again"))
    ((_, again),) = train(make, PROTOCOL, data, seed=0, steps={"a": 3}, folder=tmp_path)
    assert torch.equal(weights(again), once)


def test_seeds_differ_and_one_seed_repeats(data):
    make = CONTESTANTS["dcgan"]
    a, b, c = (weights(next(train(make, PROTOCOL, data, seed=s, steps={"a": 2}))[1]) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_a_run_that_diverges_fails_from_there_on(data, tmp_path, monkeypatch):
    from genai_utils.compare import runs

    real = runs.fit

    def breaks(step, batches, *, steps, **how):
        if steps > 2:
            raise TrainingDiverged("the logs were not finite from step 3 on. Usual cures: many.", 3, None, [])
        return real(step, batches, steps=steps, **how)

    monkeypatch.setattr(runs, "fit", breaks)
    how = {"seed": 0, "steps": {"a": 2, "b": 4, "c": 6}, "folder": tmp_path}
    for _ in range(2):  # the second time from what was kept
        found = dict(train(CONTESTANTS["vae"], PROTOCOL, data, **how))
        assert isinstance(found["a"], torch.nn.Module)
        assert found["b"] == found["c"] == "the logs were not finite from step 3 on"


def test_rows_are_tidy_and_a_failed_run_has_one(monkeypatch):
    evaluation = Evaluation(replace(PROTOCOL, n_train=300))
    rows = list(run(CONTESTANTS["vae"], evaluation, seed=0, steps={"a": 2, "b": 3}))
    assert [(r["family"], r["budget"], r["steps"], r["seed"]) for r in rows] == [("vae", "a", 2, 0), ("vae", "b", 3, 0)]
    assert {"frechet", "coverage", "accuracy", "bits_per_dim", "n_likelihood"} <= rows[0].keys()
    monkeypatch.setattr("genai_utils.compare.runs.train", lambda *a, **k: iter([("a", "it diverged")]))
    (row,) = run(CONTESTANTS["vae"], evaluation, seed=0, steps={"a": 2})
    assert row["failed"] == "it diverged" and "frechet" not in row


def test_one_network_gives_a_row_for_each_sampler(monkeypatch):
    monkeypatch.setattr(DiffusionContestant, "ddpm", 4)
    monkeypatch.setattr(DiffusionContestant, "ddim", 2)
    evaluation = Evaluation(replace(PROTOCOL, n_train=300))
    rows = list(run(DiffusionContestant, evaluation, seed=0, steps={"a": 1}, bits=False))
    assert [r["family"] for r in rows] == ["ddpm", "ddim"] and rows[0]["frechet"] != rows[1]["frechet"]


def test_sampling_cost_counts_every_network_call():
    found = sampling_cost(CONTESTANTS["flow_matching"], PROTOCOL, rounds=1)["flow_matching"]
    from genai_utils.compare import draw_labels
    from genai_utils.metrics.speed import count_flops

    contestant = CONTESTANTS["flow_matching"](PROTOCOL)
    x, labels = torch.zeros(1, 1, 16, 16), draw_labels(1)
    with torch.no_grad():
        once = count_flops(contestant.net, x, torch.zeros(1), labels)
    assert found["flops_per_image"] == pytest.approx((2 * contestant.steps - 1) * once, rel=1e-6)
    assert found["images_per_second"][0] > 0 and found["first_image_ms"][3] == 1


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads /proc of Linux")
def test_memory_of_training_is_measured_in_a_process_of_its_own():
    assert 1 < training_memory("vae", steps=2) < 2_000
    with pytest.raises(ValueError, match="embedded, full, got 'huge'"):
        training_memory("vae", scale="huge", steps=1)
