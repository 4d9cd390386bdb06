"""Train one model in several processes under Accelerate; test_distributed.py starts and judges it.

    accelerate launch --num_processes 2 ... tests/training/two_processes.py FOLDER CHECKPOINT STOP
"""

import os
import signal
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from genai_utils.core import seed_all
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine


class Batches:
    """Endless resumable batches, drawn from a generator; `seen` keeps what this process drew."""

    def __init__(self, seed):
        self.generator, self.seen = torch.Generator().manual_seed(seed), []

    def __iter__(self):
        return self

    def __next__(self):
        self.seen.append(torch.randn(8, 4, generator=self.generator))
        return self.seen[-1]

    def state_dict(self):
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state):
        self.generator.set_state(state["generator"])


def main(folder, checkpoint, stop):
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    rank = accelerator.process_index
    seed_all(0)  # every process builds the same model ...
    model = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Dropout(0.1), nn.Linear(8, 4)).to(accelerator.device)
    opt = adamw(model, 1e-2)
    ema = EMA(model, 0.9)
    seed_all(1 + rank)  # ... and draws noise of its own

    def loss_fn(model, x):
        if stop and ema.updates + 1 == stop and rank == 1:  # a stop in one process must take the other along
            os.kill(os.getpid(), signal.SIGINT if sys.argv[4:] == ["interrupt"] else signal.SIGKILL)
        return (model(x + 0.1 * torch.randn_like(x)) - x.flip(1)).square().mean(), {}

    batches = Batches(seed=10 + rank)
    step = make_step(model, loss_fn, opt, schedule=warmup_cosine(opt, 20, warmup=2), ema=ema, accelerator=accelerator)
    rows = fit(step, batches, steps=20, every=4, checkpoint=checkpoint, progress=False)
    torch.save(
        {
            "model": model.state_dict(), "ema": ema.model.state_dict(), "rows": rows,
            "seen": torch.stack(batches.seen), "processes": accelerator.num_processes,
        },
        Path(folder) / f"end-{rank}.pt",
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
