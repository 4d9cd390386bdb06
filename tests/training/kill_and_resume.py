"""Kill training runs with SIGKILL, resume them, and compare every bit with a run that was never killed.

    python tests/training/kill_and_resume.py        prints one JSON line per case; test_resume.py judges them

Each run is a process of its own, forked from one that has imported all it needs (a fresh interpreter would spend two
seconds on that), and ended by a real SIGKILL: by itself at a named place, or by its parent at a random moment.
"""

import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from genai_utils.core import seed_all
from genai_utils.diffusion.process import diffusion_loss
from genai_utils.diffusion.schedules import cosine_schedule
from genai_utils.diffusion.unet import UNet, UNetConfig
from genai_utils.training import EMA, adamw, fit, load_checkpoint, make_step, warmup_cosine

STEPS, EVERY = 24, 5


class Batches:
    """An endless, resumable iterator over shuffled data: the protocol of `ImageSet.batches`."""

    def __init__(self, x, size, seed):
        self.x, self.size = x, size
        self.generator, self.order, self.at = torch.Generator().manual_seed(seed), torch.empty(0, dtype=torch.int64), 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.at + self.size > len(self.order):
            self.order, self.at = torch.randperm(len(self.x), generator=self.generator), 0
        chosen = self.order[self.at : self.at + self.size]
        self.at += self.size
        return self.x[chosen], None

    def state_dict(self):
        return {"generator": self.generator.get_state(), "order": self.order, "at": self.at}

    def load_state_dict(self, state):
        self.generator.set_state(state["generator"])
        self.order, self.at = state["order"], state["at"]


def noisy_loss(model, batch):
    """A loss that draws from every global generator, so that losing one of their states would show."""
    x = batch[0] + 0.1 * torch.randn_like(batch[0]) + 0.1 * random.random() + 0.1 * float(np.random.rand())
    return (model(x) - x.roll(1, dims=1)).square().mean(), {}


def build(kind):
    """Return (model, loss, data, amp) of a run: a small network with dropout and BatchNorm, or a U-Net."""
    if kind == "unet":
        model = UNet(UNetConfig(side=8, widths=(8, 16), attention=(False, True), blocks=1, head_dim=8, groups=4))
        return model, partial(diffusion_loss, alpha_bar=cosine_schedule()), torch.randn(20, 1, 8, 8), torch.bfloat16
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.SiLU(), nn.Dropout(0.2), nn.Linear(12, 6))
    if kind == "float16":  # so steep that the first updates overflow: the scale that is found must survive, too
        steep_loss = lambda model, batch: (1e3 * noisy_loss(model, batch)[0], {})
        return model, steep_loss, torch.randn(50, 6), torch.float16
    return model, noisy_loss, torch.randn(50, 6), torch.float32


def train(kind, path, *, place=None, at=None, pause=0.0):
    """Train, and die at update `at` in the place named; the end of the run is written beside the checkpoint."""
    seed_all(0)
    model, loss_fn, x, amp = build(kind)
    opt = adamw(model, 1e-2)
    schedule, ema = warmup_cosine(opt, STEPS, warmup=4), EMA(model, 0.9)
    seen = {"updates": 0}

    def counted_loss(model, batch):
        seen["updates"] = ema.updates + 1
        if place == "loss" and seen["updates"] == at:
            die()
        time.sleep(pause)
        return loss_fn(model, batch)

    if place in ("before fsync", "before rename", "after rename", "half written"):
        die_in_checkpoint(place, lambda: ema.updates == at)
    step = make_step(model, counted_loss, opt, schedule=schedule, ema=ema, amp=amp)
    rows = fit(step, Batches(x, 8, seed=1), steps=STEPS, every=EVERY, checkpoint=path, progress=False)
    tensors = {**model.state_dict(), **{f"ema.{k}": v for k, v in ema.model.state_dict().items()}}
    digest = hashlib.sha256(b"".join(k.encode() + v.numpy().tobytes() for k, v in tensors.items())).hexdigest()
    Path(f"{path}.end").write_text(json.dumps({"weights": digest, "rows": rows, "tensors": len(tensors)}))


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def die_in_checkpoint(place, due):
    """Put a SIGKILL into this process's own checkpoint writing."""
    save, fsync, replace = torch.save, os.fsync, os.replace

    def half_save(state, file):
        whole = file.tell()
        save(state, file)
        if due():
            file.truncate(whole + (file.tell() - whole) // 2)
            file.flush()
            die()

    def dying_fsync(handle):
        die() if due() else fsync(handle)

    def dying_replace(*names):
        if due() and place == "before rename":
            die()
        replace(*names)
        if due() and place == "after rename":
            die()

    if place == "half written":
        torch.save = half_save
    elif place == "before fsync":
        os.fsync = dying_fsync
    else:
        os.replace = dying_replace


def start(*args, **kw):
    """Fork a child that trains; return its id."""
    if child := os.fork():
        return child
    code = 1
    try:
        train(*args, **kw)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(child):
    """Wait; return 0, or minus the signal that ended the child."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main():
    cases = [("float32", "loss", at) for at in (1, 2, 6, 13, STEPS)]
    cases += [("float16", "loss", at) for at in (2, 13)] + [("unet", "loss", 13)]
    places = ("half written", "before fsync", "before rename", "after rename")
    cases += [("float32", place, at) for place in places for at in (5, 10, STEPS)]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        train("float32", f"{folder}/warm-up")  # torch imports much of itself at the first step
        whole = {}
        for kind in ("float32", "float16", "unet"):
            finish(start(kind, f"{folder}/{kind}"))
            whole[kind] = json.loads(Path(f"{folder}/{kind}.end").read_text())

        def report(name, kind, path, ended, kept):
            code = finish(start(kind, path))
            end = json.loads(Path(f"{path}.end").read_text()) if code == 0 else {"weights": None, "rows": None}
            same = {f"same_{k}": end[k] == whole[kind][k] for k in ("weights", "rows")}
            case = {"case": name, "ended": ended, "resumed_from": kept, "code": code}
            print(json.dumps(case | {"tensors": whole[kind]["tensors"]} | same), flush=True)

        def step_of(path):
            return load_checkpoint(path)["step"] if Path(path).exists() else 0

        for kind, place, at in cases:
            path = f"{folder}/{kind}-{place.replace(' ', '-')}-{at}"
            ended = finish(start(kind, path, place=place, at=at))
            report(f"{kind} killed in {place} at {at}", kind, path, [ended], step_of(path))
        path = f"{folder}/often"  # one run, killed again and again by its parent, whatever it is doing
        ended, moments = [], random.Random(0)
        while step_of(path) < 15 and len(ended) < 40:
            child = start("float32", path, pause=0.01)
            time.sleep(moments.uniform(0.02, 0.1 + 0.02 * len(ended)))  # ever longer, so that a slow machine gets on
            os.kill(child, signal.SIGKILL)
            ended.append(finish(child))
        report("float32 killed at random", "float32", path, ended, step_of(path))


if __name__ == "__main__":
    main()
