"""Two processes under `accelerate launch` (gloo, on the CPU) train one model, resumably; see two_processes.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from genai_utils.core import seed_all
from genai_utils.training import EMA, adamw, fit, load_checkpoint, make_step, warmup_cosine

pytest.importorskip("accelerate")
SCRIPT = Path(__file__).with_name("two_processes.py")
LAUNCH = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
]  # fmt: skip


def launch(folder, stop=0, how="kill"):
    env = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [*LAUNCH, str(SCRIPT), str(folder), str(folder / "run.pt"), str(stop), how]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)


def ends(folder):
    return [torch.load(folder / f"end-{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    done = launch(folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return ends(folder)


@pytest.mark.slow
def test_two_processes_hold_the_same_weights_and_draw_their_own_batches(whole):
    first, second = whole
    assert first["processes"] == 2 and first["rows"] == second["rows"]
    assert all(torch.equal(first["model"][k], second["model"][k]) for k in first["model"])
    assert not torch.equal(first["seen"], second["seen"])


@pytest.mark.slow
def test_two_processes_average_their_gradients(whole):
    seed_all(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Dropout(0.1), nn.Linear(8, 4))
    opt = adamw(model, 1e-2)
    schedule = warmup_cosine(opt, 20, warmup=2)
    states = []
    for rank in (0, 1):
        seed_all(1 + rank)
        states.append(torch.get_rng_state())
    for i in range(20):
        for rank in (0, 1):  # the two processes in turn, each with its own noise
            torch.set_rng_state(states[rank])
            x = whole[rank]["seen"][i]
            loss = (model(x + 0.1 * torch.randn_like(x)) - x.flip(1)).square().mean()
            (loss / 2).backward()
            states[rank] = torch.get_rng_state()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        schedule.step()
        opt.zero_grad()
    torch.testing.assert_close(dict(model.state_dict()), dict(whole[0]["model"]), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_two_processes_resume_exactly_after_one_of_them_is_killed(whole, tmp_path):
    assert launch(tmp_path, stop=10, how="kill").returncode != 0
    assert load_checkpoint(tmp_path / "run.pt")["step"] == 8
    resumed = launch(tmp_path)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    for before, after in zip(whole, ends(tmp_path)):
        assert before["rows"] == after["rows"]
        for kind in ("model", "ema"):
            assert all(torch.equal(before[kind][k], after[kind][k]) for k in before[kind])


@pytest.mark.slow
def test_two_processes_stop_at_the_same_log_line_when_one_is_interrupted(whole, tmp_path):
    stopped = launch(tmp_path, stop=10, how="interrupt")
    assert stopped.returncode == 0, stopped.stderr[-2000:]
    assert "Stopped after step 12 of 20" in stopped.stdout
    assert [end["rows"] for end in ends(tmp_path)] == [whole[0]["rows"][:3]] * 2
    assert load_checkpoint(tmp_path / "run.pt")["step"] == 12


def test_one_process_under_accelerate_trains_like_none(tmp_path):
    from accelerate import Accelerator

    def train(accelerator):
        seed_all(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 4))
        ema = EMA(model, 0.9)
        loss_fn = lambda model, x: ((model(x) - x.flip(1)).square().mean(), {})
        step = make_step(model, loss_fn, adamw(model, 1e-2), ema=ema, accelerator=accelerator)
        rows = fit(step, iter(torch.randn(10, 8, 4)), steps=10, every=5, progress=False)
        return rows, model.state_dict()

    rows, weights = train(None)
    accelerated_rows, accelerated = train(Accelerator(cpu=True))
    assert rows == accelerated_rows
    assert all(torch.equal(weights[k], accelerated[k]) for k in weights)
