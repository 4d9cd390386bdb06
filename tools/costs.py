"""Measure what each chapter costs and write its cost box: python -m tools.costs [--gpu] [number or notebook ...]

Runs the chapter from top to bottom as the book does (QUICK, one CPU thread) and writes seconds, peak memory, the
hardware's name and the FLOPs of full-scale training (printed by the cell tagged `full-cost`) into the cell tagged
`cost`, with a hash of the chapter's code: tests/test_chapters.py fails when the code has changed since. With --gpu the
chapter runs at full scale on a CUDA device, and minutes and GPU memory are added to the box.

CPUs of one name differ by a factor of two. So a yardstick, a fixed piece of training, is timed before and after each
chapter, and the box says how long it took as a multiple of `YARDSTICK` seconds. The limits on a chapter's seconds are
for seconds divided by that pace.
"""

import argparse
import os
import platform
import re
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat

from tools import chapters
from tools.clean_notebooks import write

FLOPS = re.compile(r"full-scale training: ([0-9.]+(?:e[+-]?[0-9]+)?) FLOPs")
PROBE = """
import resource, sys
print("peak bytes", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
import torch
if torch.cuda.is_available():
    print("gpu", torch.cuda.max_memory_reserved(), torch.cuda.get_device_name(0))
"""
NOT_MEASURED = "not measured"
YARDSTICK = 0.17  # seconds of `yardstick` at pace 1: that of the CPU on which chapters 01 and 16 took 14.1 and 24.3 s
# (on the one where it takes 0.29 s they took 22.1 and 44.1 s: 1.6 and 1.8 times as long)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a cost box says."""

    seconds: float  # QUICK, one CPU thread, kernel start included
    gigabytes: float  # peak resident memory of that run
    hardware: str
    pace: float = 1.0  # seconds of the yardstick there, divided by YARDSTICK
    flops: str  # of full-scale training, as the chapter prints it, or "none"
    gpu: str  # "4.2 on NVIDIA T4 (3.1 GB)" or "not measured"
    code: str  # chapters.code_hash of the code measured

    @property
    def paced(self):
        """Seconds at pace 1: what the limits are for."""
        return self.seconds / self.pace

    def box(self):
        pace = "" if self.pace == 1 else f", at {self.pace:.2f} times the time of the yardstick"
        return (f"> **What it costs.** QUICK, as in this book: {self.seconds:.1f} s and {self.gigabytes:.2f} GB "
                f"of memory on one thread of {self.hardware}{pace}.\n"
                f"> Full-scale training: {self.flops} FLOPs; GPU minutes: {self.gpu}.\n"
                f"> *Written by `make costs` for code {self.code}.*")


def parse(text):
    """Read a cost box; raises ValueError when it was not written by this command."""
    found = re.fullmatch(
        r"> \*\*What it costs\.\*\* QUICK, as in this book: ([0-9.]+) s and ([0-9.]+) GB "
        r"of memory on one thread of (.+?)(?:, at ([0-9.]+) times the time of the yardstick)?\.\n"
        r"> Full-scale training: (\S+) FLOPs; GPU minutes: (.+)\.\n"
        r"> \*Written by `make costs` for code ([0-9a-f]{12})\.\*", text.strip())
    if not found:
        raise ValueError("not a cost box that `make costs` wrote")
    seconds, gigabytes, hardware, pace, flops, gpu, code = found.groups()
    return Cost(seconds=float(seconds), gigabytes=float(gigabytes), hardware=hardware, pace=float(pace or 1),
                flops=flops, gpu=gpu, code=code)


def hardware():
    """The CPU's model and number of cores."""
    try:
        name = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)[1]
    except (OSError, TypeError):
        name = platform.processor() or platform.machine()
    name = re.sub(r"\((R|TM)\)", "", name).strip()
    return f"{name} ({os.cpu_count()} cores)"


def yardstick():
    """Seconds of a fixed piece of training on this thread: products, convolutions, a recurrence, many small calls."""
    import torch
    from torch.nn import functional as F

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    g = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=g)
    a, images, kernel, small = draw(512, 512), draw(32, 32, 28, 28), draw(32, 32, 3, 3).requires_grad_(), draw(8, 8)
    lstm, steps = torch.nn.LSTM(64, 128, batch_first=True), draw(32, 64, 64)
    try:
        times = []
        for _ in range(9):  # the first one warms up
            started = time.monotonic()
            for _ in range(20):
                a = F.layer_norm(a @ a, (512,))
            for _ in range(4):
                F.gelu(F.conv2d(images, kernel, padding=1)).sum().backward()
                lstm(steps)[0].sum().backward()
            for _ in range(4_000):
                small = torch.tanh(small @ small)
            times.append(time.monotonic() - started)
        return sorted(times[1:])[4]
    finally:
        torch.set_num_threads(threads)


def outputs(nb):
    return "".join(o.text for cell in nb.cells for o in cell.get("outputs", []) if o.output_type == "stream")


def run(path, env):
    """Run a chapter under `env` with a probe as its last cell; return (notebook, seconds)."""
    from nbclient import NotebookClient

    nb = chapters.read(path)
    nb.cells.append(nbformat.v4.new_code_cell(PROBE))
    client = NotebookClient(nb, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}})
    started = time.monotonic()
    client.execute(env=env)
    return nb, time.monotonic() - started


def measure(path, old=None, *, gpu=False):
    """Return the chapter's Cost, measured now; what is not measured is taken from `old` where its code is the same."""
    code = chapters.code_hash(chapters.read(path))
    same = old is not None and old.code == code
    if gpu:
        if not same:
            raise ValueError(f"{path.name}: measure the CPU first (make costs), its box is missing or stale")
        nb, seconds = run(path, os.environ | {"GENAI_QUICK": "0"})
        found = re.search(r"^gpu (\d+) (.+)$", outputs(nb), re.M)
        if not found:
            raise ValueError("--gpu needs a CUDA device; torch sees none here")
        return replace(old, gpu=f"{seconds / 60:.1f} on {found[2]} ({int(found[1]) / 1e9:.1f} GB)")
    before = yardstick()
    nb, seconds = run(path, chapters.environment())
    pace = round((before + yardstick()) / 2 / YARDSTICK, 2)
    flops = [FLOPS.search(outputs(nbformat.v4.new_notebook(cells=[c]))) for c in chapters.tagged(nb, "full-cost")]
    if not all(flops):
        raise ValueError(f"{path.name}: its cell tagged full-cost must print 'full-scale training: 1.23e+15 FLOPs'")
    total = f"{sum(float(found[1]) for found in flops):.2e}" if flops else "0"
    peak = int(re.search(r"^peak bytes (\d+)$", outputs(nb), re.M)[1])
    return Cost(seconds=seconds, gigabytes=peak / 1e9, hardware=hardware(), pace=pace, flops=total, code=code,
                gpu=old.gpu if same else NOT_MEASURED)


def update(path, *, gpu=False):
    """Measure one chapter and write its box."""
    nb = chapters.read(path)
    boxes = chapters.tagged(nb, "cost")
    if len(boxes) != 1 or boxes[0].cell_type != "markdown":
        raise ValueError(f"{path.name}: exactly one markdown cell must carry the tag 'cost', found {len(boxes)}")
    try:
        old = parse(boxes[0].source)
    except ValueError:
        old = None
    cost = measure(path, old, gpu=gpu)
    boxes[0].source = cost.box()
    write(nb, path)
    return cost


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", help="numbers or paths; default: every chapter")
    parser.add_argument("--gpu", action="store_true", help="run at full scale on a CUDA device")
    args = parser.parse_args(argv)
    wanted = [p for p in chapters.paths() if not args.chapters or p.name[:2] in args.chapters]
    wanted += [Path(c) for c in args.chapters if c.endswith(".ipynb")]
    if not wanted:
        sys.exit(f"error: no such chapter: {' '.join(args.chapters)}; there are {[p.name for p in chapters.paths()]}")
    from tools import live   # which needs torch and onnx; only to measure

    live.build()             # as for the book: a chapter does not compute the stored examples of its live model
    for path in wanted:
        try:
            cost = update(path, gpu=args.gpu)
        except ValueError as error:
            sys.exit(f"error: {error}")
        print(f"{path.name}: {cost.seconds:.1f} s at pace {cost.pace:.2f}, {cost.gigabytes:.2f} GB, full scale "
              f"{cost.flops} FLOPs, GPU minutes {cost.gpu}", flush=True)


if __name__ == "__main__":
    main()
