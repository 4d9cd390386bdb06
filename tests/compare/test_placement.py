"""A placed contestant computes elsewhere, and what it learns and draws is the same up to rounding."""

from dataclasses import replace

import pytest
import torch

from genai_utils.compare import CONTESTANTS, PRESETS, load_pictures, placed, train
from genai_utils.compare.runs import judge
from genai_utils.data.sets import to_floats
from genai_utils.training import EMA

PROTOCOL = replace(PRESETS["embedded"], n_train=640, n_samples=100, n_likelihood=20, n_integral=2)
COMPILED = ("stylegan2", "realnvp", "glow")


@pytest.fixture(scope="module")
def data():
    return load_pictures(PROTOCOL)[0]


def taught(make, data, steps=5):
    torch.manual_seed(0)
    contestant = make(PROTOCOL)
    ema = EMA(contestant.net, PROTOCOL.decay)
    step, batches = contestant.step(ema, contestant.rate), data.batches(contestant.batch, seed=0)
    logs = [step(batch) for batch, _ in zip(batches, range(steps))]
    return contestant, ema.model, torch.stack([torch.stack([v.cpu() for v in log.values()]) for log in logs])


@pytest.mark.parametrize("name, backend", [(name, None) for name in CONTESTANTS] + [(n, "eager") for n in COMPILED])
def test_it_learns_and_draws_what_the_plain_one_does(name, backend, data):
    plain, net, logs = taught(CONTESTANTS[name], data)
    swift, other, same = taught(placed(CONTESTANTS[name], backend=backend), data)
    torch.testing.assert_close(same, logs, rtol=1e-3, atol=1e-3)
    labels, (row, *_) = torch.tensor([3, 8]), plain.samplers
    draws = (c.samplers[row](n, labels, torch.Generator().manual_seed(1)) for c, n in ((plain, net), (swift, other)))
    torch.testing.assert_close(*draws, rtol=0, atol=0.05)
    if plain.likelihood and not plain.costly:
        x, y = to_floats(data.images[:4]), data.labels[:4]
        both = (c.nats(n, x, y, torch.Generator().manual_seed(1)) for c, n in ((plain, net), (swift, other)))
        torch.testing.assert_close(*both, rtol=1e-3, atol=1e-2)


def test_weights_lie_channels_last(data):
    for make, expected in ((CONTESTANTS["vae"], False), (placed(CONTESTANTS["vae"]), True)):
        contestant, *_ = taught(make, data, steps=1)
        weights = [p for p in contestant.model.parameters() if p.ndim == 4 and min(p.shape) > 1]
        assert weights
        assert all(p.is_contiguous(memory_format=torch.channels_last) == expected for p in weights)


@pytest.mark.parametrize("name", COMPILED)
def test_what_is_said_to_be_compiled_is(name, data, monkeypatch):
    asked = []

    def backend(graph, inputs):
        asked.append(graph)
        return graph.forward

    taught(placed(CONTESTANTS[name], backend=backend), data, steps=2)
    early = len(asked)
    taught(placed(CONTESTANTS[name], backend=backend), data, steps=3)
    assert len(asked) > early and (early == 0) == (name != "stylegan2")


@pytest.mark.parametrize("order", [1, -1], ids=["plain, then placed", "placed, then plain"])
def test_files_of_a_run_are_called_by_the_family_and_plain_and_placed_share_them(order, data, tmp_path):
    plain, how = CONTESTANTS["vae"], {"seed": 3, "folder": tmp_path}
    first, then = (plain, placed(plain))[::order]
    ((_, early),) = train(first, PROTOCOL, data, steps={"a": 3}, **how)
    *_, (_, net) = train(then, PROTOCOL, data, steps={"a": 3, "b": 6}, **how)
    assert {p.name for p in tmp_path.iterdir()} == {f"VAEContestant-3{end}.pt" for end in ("", "-3", "-6")}
    *_, (_, whole) = train(plain, PROTOCOL, data, steps={"a": 3, "b": 6}, seed=3)
    early, net, whole = (torch.cat([v.flatten() for v in n.state_dict().values()]) for n in (early, net, whole))
    assert (net - whole).norm() < 0.05 * (early - whole).norm()


@pytest.mark.gpu
@pytest.mark.parametrize("name", CONTESTANTS)
def test_on_a_gpu_it_trains_and_draws_and_is_judged_on_the_cpu(name, data):
    from genai_utils.compare import Evaluation

    protocol = replace(PROTOCOL, n_train=None)
    evaluation, make = Evaluation(protocol), placed(CONTESTANTS[name], "cuda")
    ((_, net),) = train(make, protocol, data, seed=0, steps={"a": 3})
    assert {p.device.type for p in net.parameters()} == {"cuda"}
    contestant = make(protocol)
    for row in contestant.samplers:
        found = judge(contestant, evaluation, net, sampler=row, seed=0, bits=not contestant.costly)
        assert not found.get("failed") and ("bits_per_dim" in found) == (
            bool(contestant.likelihood) and not contestant.costly
        )
    if contestant.costly:
        x, y = to_floats(data.images[:2]), data.labels[:2]
        assert contestant.nats(net, x, y, torch.Generator().manual_seed(0)).isfinite().all()
