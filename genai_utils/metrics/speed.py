"""How fast, how much memory, how many operations; and two implementations against each other, fairly.

A ratio of two medians measured one after the other mostly measures what else the machine was doing. `compare` therefore
takes turns, divides within each round, and runs ours against itself as well: a ratio inside that A/A row's interval is
no difference.
"""

import gc
import math
import resource
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from genai_utils.metrics.estimate import Estimate, median_estimate


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Ours against a peer. Each figure is a median over rounds, with its interval and the number of rounds as n."""

    ours_ms: Estimate  # milliseconds per call
    peer_ms: Estimate
    ratio: Estimate  # ours / peer within a round; below 1: ours is faster
    noise: Estimate  # A/A row: ours / ours again, in the same rounds


def throughput(
    fn: Callable[[], Any], *, items: int = 1, rounds: int = 10, warmup: int = 2, level: float = 0.95
) -> Estimate:
    """Return how many items a second `fn` handles: median over rounds, with its interval.

    Args:
        fn: one call of the work; on CUDA it need not synchronise.
        items: samples, tokens or steps that one call handles.
        rounds: timed calls (the n of the result).
        warmup: untimed calls before them: allocation, compilation, caches.
        level: coverage of the interval.
    Raises:
        ValueError: items or rounds < 1, or warmup < 0.
    """
    if items < 1 or rounds < 1 or warmup < 0:
        raise ValueError(f"need items >= 1, rounds >= 1 and warmup >= 0, got {items}, {rounds}, {warmup}")
    for _ in range(warmup):
        fn()
    with _no_collection():
        seconds = torch.tensor([_timed(fn, 1) for _ in range(rounds)], dtype=torch.float64)
    return median_estimate(items / seconds, level=level)


def compare(
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    *,
    rounds: int = 30,
    warmup: int = 3,
    calls: int = 1,
    level: float = 0.95,
) -> Comparison:
    """Time ours, the peer, and ours again in every round, in an order that rotates, and compare within rounds.

    Args:
        ours: the work, by our code. Same inputs, numerics, threads and device as the peer: the caller sees to that.
        peer: the work, by the reference.
        rounds: at least 3; 30 or more for a ratio to be quoted.
        warmup: untimed calls of each before.
        calls: calls timed together; raise it when one takes less than a millisecond.
        level: coverage of the intervals.
    Raises:
        ValueError: rounds < 3, warmup < 0 or calls < 1.
    """
    if rounds < 3 or warmup < 0 or calls < 1:
        raise ValueError(f"need rounds >= 3, warmup >= 0 and calls >= 1, got {rounds}, {warmup}, {calls}")
    for _ in range(warmup):
        ours()
        peer()
    runs = (ours, peer, ours)
    times = torch.empty(rounds, 3, dtype=torch.float64)  # seconds of ours, the peer, ours again
    with _no_collection():
        for i in range(rounds):
            for j in range(3):
                which = (i + j) % 3
                times[i, which] = _timed(runs[which], calls)
    first, peers, again = times.unbind(1)
    return Comparison(
        ours_ms=median_estimate(1e3 * first, level=level),
        peer_ms=median_estimate(1e3 * peers, level=level),
        ratio=median_estimate(first / peers, level=level),  # not the mean of both ours: its median is another quantity
        noise=median_estimate(first / again, level=level),
    )


def peak_memory(device: torch.device | str | None = None) -> dict[str, int]:
    """Return peak memory in bytes: {"host": ..., "cuda": ...}.

    "host" is the largest resident set of this process since it began (it never falls: measure one thing per process);
    "cuda" the largest allocation of tensors on `device` since the last `torch.cuda.reset_peak_memory_stats`, 0 with no
    GPU.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    host = peak if sys.platform == "darwin" else 1024 * peak  # macOS counts bytes, Linux kibibytes
    return {"host": host, "cuda": torch.cuda.max_memory_allocated(device) if torch.cuda.is_available() else 0}


def count_flops(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    """Return the floating-point operations of `fn(*args, **kwargs)`, backward passes inside it included.

    A multiply-add counts as two. Matrix products, convolutions and attention count; pointwise work, which on their
    scale is nothing, does not. Torch's counter takes the CPU's fused attention and LSTM for nothing; they are counted
    here. cuDNN's recurrent kernels are not: count recurrent networks on the CPU.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_CPU_KERNELS)
    counter.mod_tracker = _Untracked()
    with counter:
        fn(*args, **kwargs)
    return counter.get_total_flops()


class _Untracked:
    """In place of torch's tracker of modules, whose hooks on gradients refuse `torch.autograd.grad` (a penalty)."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: Any) -> None:
        pass


def _attention_flops(q: tuple, k: tuple, v: tuple, *_: Any, out_shape: Any = None, **__: Any) -> int:
    B, heads, length, d = q  # q k^T, then weights times v
    return 2 * B * heads * length * k[2] * (d + v[3])


def _attention_backward_flops(grad: tuple, q: tuple, k: tuple, v: tuple, *_: Any, out_shape: Any = None, **__: Any):
    B, heads, length, d = q  # the scores again; gradients of weights, v, q and k
    return 2 * B * heads * length * k[2] * (3 * d + 2 * v[3])


def _lstm_flops(x: tuple, w_ih: tuple, w_hh: tuple, *_: Any, out_shape: Any = None, **__: Any) -> int:
    steps = math.prod(x[:-1])  # length times batch
    return 2 * steps * (math.prod(w_ih) + math.prod(w_hh))


def _lstm_backward_flops(*shapes: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * _lstm_flops(*shapes, **kwargs)  # gradients of the inputs, and of the weights


_CPU_KERNELS = {
    torch.ops.aten.mkldnn_rnn_layer: _lstm_flops,
    torch.ops.aten.mkldnn_rnn_layer_backward: _lstm_backward_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
}


def _timed(fn: Callable[[], Any], calls: int) -> float:
    """Seconds per call; waits for the GPU before and after."""
    _wait()
    start = time.perf_counter()
    for _ in range(calls):
        fn()
    _wait()
    return (time.perf_counter() - start) / calls


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def _no_collection():
    """Keep the garbage collector out of the timings, as timeit does."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
