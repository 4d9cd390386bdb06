"""What a picture costs once the model is trained: time, operations, memory. None of it depends on the weights.

Shapes:  as in contestant.py.
"""

import statistics
import subprocess
import sys
import time

import torch

from genai_utils.compare.contestant import Contestant
from genai_utils.compare.protocol import Protocol, draw_labels
from genai_utils.metrics.estimate import median_estimate
from genai_utils.metrics.speed import count_flops

MANY = 100  # pictures drawn together for the throughput


def sampling_cost(make: type[Contestant], protocol: Protocol, *, rounds: int = 5) -> dict[str, dict]:
    """Return of each sampler: pictures a second, milliseconds to the first picture, FLOPs of a picture.

    Seconds are CPU seconds of one thread, which on a quiet machine are seconds; each is the median of `rounds`, with
    its interval.

    Returns:
        sampler -> {"images_per_second", "first_image_ms": (value, low, high, rounds), "flops_per_image": float}
    """
    torch.set_num_threads(1)
    contestant, generator = make(protocol), torch.Generator().manual_seed(0)
    net, found = contestant.net.eval(), {}
    for name, sampler in contestant.samplers.items():
        many, one = draw_labels(MANY), draw_labels(1)
        with torch.no_grad():
            flops = count_flops(sampler, net, draw_labels(10), generator) / 10
            seconds = {n: [_timed(sampler, net, labels, generator) for _ in range(rounds)]
                       for n, labels in ((MANY, many), (1, one))}  # fmt: skip
        rate = median_estimate(MANY / torch.tensor(seconds[MANY]))
        first = median_estimate(1_000 * torch.tensor(seconds[1]))
        found[name] = {
            "images_per_second": (rate.value, rate.low, rate.high, rounds),
            "first_image_ms": (first.value, first.low, first.high, rounds),
            "flops_per_image": flops,
        }
    return found


def training_memory(name: str, *, steps: int = 5) -> float:
    """Return by how many MB (1e6 bytes) training raises the peak memory of a process of its own.

    Args:
        name: a key of `CONTESTANTS`; its protocol is the embedded one.
        steps: updates; the peak is reached in the first few.
    """
    return statistics.median(_child(name, steps) for _ in range(3))


def _child(name: str, steps: int) -> float:
    code = f"from genai_utils.compare.costs import _grow; print(_grow({name!r}, {steps}))"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def _grow(name: str, steps: int) -> float:
    from genai_utils.compare import CONTESTANTS, PRESETS
    from genai_utils.compare.protocol import load_pictures
    from genai_utils.metrics.speed import peak_memory
    from genai_utils.training import EMA

    torch.set_num_threads(1)
    protocol = PRESETS["embedded"]
    batches = load_pictures(protocol)[0].batches(CONTESTANTS[name].batch, seed=0)
    before = peak_memory()["host"]
    contestant = CONTESTANTS[name](protocol)
    step = contestant.step(EMA(contestant.net, protocol.decay), contestant.rate)
    for batch, _ in zip(batches, range(steps)):
        step(batch)
    return (peak_memory()["host"] - before) / 1e6


def _timed(sampler, net, labels, generator) -> float:
    before = time.process_time()
    sampler(net, labels, generator)
    return time.process_time() - before
