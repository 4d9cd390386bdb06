import gc

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genai_utils.metrics.speed import compare, count_flops, peak_memory, throughput


def test_count_flops_of_a_linear_layer_and_a_convolution_equal_the_formulas():
    assert count_flops(nn.Linear(10, 20), torch.randn(3, 10)) == 2 * 3 * 10 * 20
    conv = nn.Conv2d(4, 8, 3, padding=1)
    assert count_flops(conv, torch.randn(2, 4, 5, 6)) == 2 * 2 * 5 * 6 * 8 * 4 * 9


def test_count_flops_of_a_backward_pass_is_twice_the_forward_per_operand():
    layer, x = nn.Linear(10, 20), torch.randn(3, 10, requires_grad=True)
    assert count_flops(lambda: layer(x).sum().backward()) == 3 * 2 * 3 * 10 * 20


@pytest.mark.parametrize("causal", [False, True])
def test_count_flops_counts_attention_on_the_cpu(causal):
    q, k, v = (torch.randn(2, 4, n, 8, requires_grad=True) for n in (16, 24, 24))
    if causal:
        k, v = (torch.randn(2, 4, 16, 8, requires_grad=True) for _ in range(2))
    product = 2 * 2 * 4 * 16 * k.shape[2] * 8  # one matrix product of all heads
    assert count_flops(F.scaled_dot_product_attention, q, k, v, is_causal=causal) == 2 * product
    train = count_flops(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal).sum().backward())
    assert train == 7 * product


@pytest.mark.parametrize(("layer", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_count_flops_counts_recurrent_layers_on_the_cpu(layer, gates):
    net, x = layer(8, 16, batch_first=True), torch.randn(2, 5, 8)
    assert count_flops(net, x) == 2 * 2 * 5 * gates * 16 * (8 + 16)
    with torch.no_grad():
        assert count_flops(net, x) == 2 * 2 * 5 * gates * 16 * (8 + 16)


def test_count_flops_of_a_training_lstm_is_three_times_the_forward():
    net, x = nn.LSTM(8, 16, num_layers=2), torch.randn(5, 2, 8, requires_grad=True)
    assert count_flops(lambda: net(x)[0].sum().backward()) == 3 * count_flops(net, x)


def test_count_flops_passes_keywords_and_adds_up_calls():
    layer, x = nn.Linear(4, 4), torch.randn(1, 4)
    assert count_flops(lambda x, times: [layer(x) for _ in range(times)], x, times=5) == 5 * 32


def test_compare_calls_both_in_every_round_and_in_every_place():
    calls = []
    result = compare(lambda: calls.append("ours"), lambda: calls.append("peer"), rounds=6, warmup=0, calls=2)
    rounds = ["".join(name[0] for name in calls[i : i + 6 : 2]) for i in range(0, 36, 6)]
    assert rounds == ["opo", "poo", "oop"] * 2
    assert calls.count("ours") == 24 and calls.count("peer") == 12
    assert {e.n for e in (result.ours_ms, result.peer_ms, result.ratio, result.noise)} == {6}


def test_compare_ratio_is_paired_within_rounds():
    """With a clock of our own: the machine slows down tenfold, and the ratio does not move."""
    result = _with_clock(lambda clock: compare(lambda: clock.run(1.0), lambda: clock.run(2.0), rounds=12, warmup=0))
    assert result.ratio.value == pytest.approx(0.5, rel=0.2)
    assert result.noise.low <= 1 <= result.noise.high
    assert result.peer_ms.high > 2 * result.peer_ms.low  # the times themselves did move


def _with_clock(run):
    from genai_utils.metrics import speed

    class Clock:
        now, slowness = 0.0, 1.0

        def run(self, seconds):
            self.slowness *= 1.07
            self.now += seconds * self.slowness

        def perf_counter(self):
            return self.now

    clock, real = Clock(), speed.time
    speed.time = clock
    try:
        return run(clock)
    finally:
        speed.time = real


def test_throughput_is_items_per_second_of_the_median_call():
    result = _with_clock(lambda clock: throughput(lambda: clock.run(0.5), items=10, rounds=1, warmup=0))
    assert result.value == pytest.approx(20 / 1.07) and result.n == 1


def test_timing_leaves_the_garbage_collector_as_it_was():
    throughput(lambda: None, rounds=1)
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        throughput(lambda: 1 / 0, rounds=1, warmup=0)
    assert gc.isenabled()


def test_peak_memory_rises_by_what_is_allocated():
    before = peak_memory()["host"]
    block = torch.ones(60_000_000, dtype=torch.float32)  # 240 MB, touched
    after = peak_memory()["host"]
    assert after >= 240e6 and after >= before and block[-1] == 1


@pytest.mark.gpu
def test_peak_memory_counts_tensors_on_the_gpu():
    torch.cuda.reset_peak_memory_stats()
    before = peak_memory()["cuda"]
    x = torch.ones(10_000_000, device="cuda")
    assert peak_memory()["cuda"] - before >= x.numel() * 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: throughput(lambda: None, rounds=0), "rounds >= 1"),
        (lambda: compare(lambda: None, lambda: None, rounds=2), "rounds >= 3"),
    ],
)
def test_timing_refuses_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
