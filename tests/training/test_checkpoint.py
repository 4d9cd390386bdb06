import os
import random

import numpy as np
import pytest
import torch
from torch import nn

from genai_utils.training import EMA, adamw, load_checkpoint, load_parts, save_checkpoint
from genai_utils.training.checkpoint import (
    changed_settings,
    part_states,
    random_state,
    restore_parts,
    set_random_state,
    settings,
)


def test_random_state_restores_every_generator(tmp_path):
    state = {"step": 0, "parts": {}, "random": random_state()}
    drawn = (random.random(), np.random.rand(3).tolist(), np.random.randn(), torch.randn(3).tolist())
    save_checkpoint(tmp_path / "run.pt", state)
    set_random_state(load_checkpoint(tmp_path / "run.pt")["random"])
    assert drawn == (random.random(), np.random.rand(3).tolist(), np.random.randn(), torch.randn(3).tolist())


def test_checkpoint_is_replaced_whole_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "new" / "run.pt"
    for step in (1, 2):
        save_checkpoint(path, {"step": step, "parts": {}})
    assert load_checkpoint(path)["step"] == 2
    assert [p.name for p in path.parent.iterdir()] == ["run.pt"]


def test_checkpoint_that_is_damaged_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    save_checkpoint(path, {"step": 1, "parts": {"x": torch.zeros(1000)}})
    whole = path.read_bytes()
    for damage in (whole[: len(whole) // 2], b"", b"hello"):
        path.write_bytes(damage)
        with pytest.raises(ValueError, match="run.pt is damaged or is no checkpoint"):
            load_checkpoint(path)
    torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="no step and parts"):
        load_checkpoint(path)


class Payload:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_checkpoint_never_runs_code(tmp_path):
    torch.save({"step": 1, "parts": Payload(str(tmp_path / "ran"))}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="damaged or is no checkpoint"):
        load_checkpoint(tmp_path / "run.pt")
    assert not (tmp_path / "ran").exists()


def test_missing_checkpoint_is_named():
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        load_checkpoint("nowhere.pt")


@pytest.mark.parametrize("first, then", [
    (torch.contiguous_format, torch.channels_last), (torch.channels_last, torch.contiguous_format),
])
def test_a_fused_optimiser_goes_on_rightly_when_weights_lie_in_another_order(first, then, tmp_path):
    def run(orders):
        torch.manual_seed(0)
        net = torch.nn.Conv2d(3, 8, 3)
        pictures = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))
        for i, order in enumerate(orders):
            net.to(memory_format=order)
            optimiser = torch.optim.Adam(net.parameters(), lr=0.01, fused=True)
            if i:
                load_parts(tmp_path / "run.pt", net=net, optimiser=optimiser)
            for _ in range(3):
                optimiser.zero_grad()
                net(pictures).square().sum().backward()
                optimiser.step()
            parts = {"net": net.state_dict(), "optimiser": optimiser.state_dict()}
            save_checkpoint(tmp_path / "run.pt", {"step": 3, "parts": parts})
        return net.weight.detach()

    torch.testing.assert_close(run([first, then]), run([first, first]))


def test_load_parts_reads_one_part_and_names_what_does_not_fit(tmp_path):
    torch.manual_seed(0)
    model, other = nn.Linear(2, 3), nn.Linear(2, 3)
    save_checkpoint(tmp_path / "run.pt", {"step": 7, "parts": part_states({"model": model, "opt": adamw(model)})})
    assert load_parts(tmp_path / "run.pt", model=other) == 7
    assert torch.equal(other.weight, model.weight)
    with pytest.raises(ValueError, match="holds model, opt, but no ema"):
        load_parts(tmp_path / "run.pt", ema=EMA(model))
    with pytest.raises(ValueError, match=r"part 'model' .* does not fit: [\s\S]*size mismatch for weight"):
        load_parts(tmp_path / "run.pt", model=nn.Linear(2, 4))


def test_ema_state_continues_its_age_and_average():
    torch.manual_seed(0)
    model = nn.Linear(3, 3)
    whole, resumed = EMA(model, 0.9), EMA(model, 0.9)
    for i in range(12):
        with torch.no_grad():
            model.weight.add_(1)
        whole.update(model)
        if i == 5:
            resumed.load_state_dict(whole.state_dict())
        if i > 5:
            resumed.update(model)
    assert resumed.updates == whole.updates == 12
    assert torch.equal(resumed.model.weight, whole.model.weight)


def test_generator_is_a_part():
    generator = torch.Generator().manual_seed(3)
    states = part_states({"noise": generator})
    first = torch.randn(4, generator=generator)
    restore_parts(states, {"noise": generator}, "run.pt")
    assert torch.equal(first, torch.randn(4, generator=generator))


def test_changed_settings_names_each_difference():
    model = nn.Linear(2, 2)
    old = settings({"opt": adamw(model, 1e-3), "ema": EMA(model, 0.9)}, {"batch": 64, "betas": (0.5, 0.9)})
    new = settings({"opt": adamw(model, 2e-3), "ema": EMA(model, 0.99)}, {"batch": 64, "betas": (0.5, 0.9), "seed": 1})
    assert changed_settings(old, old) == []
    assert changed_settings(old, new) == [
        "config.seed is unset in the checkpoint, 1 now",
        "ema.decay is 0.9 in the checkpoint, 0.99 now",
        "opt.lr is 0.001 in the checkpoint, 0.002 now",
    ]
