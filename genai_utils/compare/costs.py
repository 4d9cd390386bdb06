"""What a picture costs once the model is trained: time, operations, memory. None of it depends on the weights.

Shapes:  as in contestant.py.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from genai_utils.compare.contestant import Contestant
from genai_utils.compare.protocol import Protocol, draw_labels
from genai_utils.data.sets import to_floats
from genai_utils.metrics.estimate import median_estimate
from genai_utils.metrics.speed import count_flops
from genai_utils.training import EMA

MANY = 50  # pictures drawn together for the throughput


def sampling_cost(
    make: type[Contestant], protocol: Protocol, *, rounds: int = 3, clock: Callable[[], float] = time.process_time
) -> dict[str, dict]:
    """Return of each sampler: pictures a second, milliseconds to the first picture, FLOPs of a picture.

    By default seconds are CPU seconds (set torch to one thread), which on a quiet machine are seconds; each is the
    median of `rounds`, with its interval.

    Args:
        make: a class of contestant.
        protocol: the protocol.
        rounds: how often each is timed.
        clock: returns seconds; of a GPU one that waits for it.
    Returns:
        sampler -> {"images_per_second", "first_image_ms": (value, low, high, rounds), "flops_per_image": float}
    """
    contestant, generator = make(protocol), torch.Generator().manual_seed(0)
    net, found = contestant.net.eval(), {}
    for name, sampler in contestant.samplers.items():
        many, one = draw_labels(MANY), draw_labels(1)
        with torch.no_grad():
            flops = count_flops(sampler, net, draw_labels(10), generator) / 10
            seconds = {n: [_timed(clock, sampler, net, labels, generator) for _ in range(rounds)]
                       for n, labels in ((MANY, many), (1, one))}  # fmt: skip
        rate = median_estimate(MANY / torch.tensor(seconds[MANY]))
        first = median_estimate(1_000 * torch.tensor(seconds[1]))
        found[name] = {
            "images_per_second": (rate.value, rate.low, rate.high, rounds),
            "first_image_ms": (first.value, first.low, first.high, rounds),
            "flops_per_image": flops,
        }
    return found


def training_memory(name: str, *, scale: str = "embedded", steps: int = 5) -> float:
    """Return by how many MB (1e6 bytes) training raises the memory of a process of its own, at its peak; Linux only.

    Args:
        name: a key of `CONTESTANTS`.
        scale: a key of `PRESETS`, its protocol.
        steps: updates; the peak is reached in the first few.
    Returns:
        Of one such process; another differs by a few MB.
    Raises:
        ValueError: an unknown name or scale.
    """
    from genai_utils.compare import CONTESTANTS, PRESETS

    for given, known in ((name, CONTESTANTS), (scale, PRESETS)):
        if given not in known:
            raise ValueError(f"choose one of {', '.join(known)}, got {given!r}")
    return _child(name, scale, steps)


def _child(name: str, scale: str, steps: int) -> float:
    code = f"from genai_utils.compare.costs import _grow; print(_grow({name!r}, {scale!r}, {steps}))"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def _grow(name: str, scale: str, steps: int) -> float:
    from genai_utils.compare import CONTESTANTS, PRESETS

    torch.set_num_threads(1)
    protocol = PRESETS[scale]
    contestant = CONTESTANTS[name](protocol)
    labels = draw_labels(contestant.batch)
    noise = torch.randint(0, 256, (len(labels), 1, protocol.side, protocol.side), dtype=torch.uint8)
    resident = _forget_peak()
    step = contestant.step(EMA(contestant.net, protocol.decay), contestant.rate)
    for _ in range(steps):
        step((to_floats(noise), labels))
    return (_peak() - resident) / 1e6


def _forget_peak() -> int:
    """Return the bytes resident now, and let the kernel forget how many there were at most (Linux only)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return 1024 * int(found[1])


def _timed(clock, sampler, net, labels, generator) -> float:
    before = clock()
    sampler(net, labels, generator)
    return clock() - before
