import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from genai_utils.nn import VectorQuantizer, perplexity
from genai_utils.nn.quantize import SMOOTHING

SCRIPT = Path(__file__).with_name("two_processes.py")
B, D, H, W, K = 3, 4, 5, 6, 7


def vectors(seed=0, b=B, dtype=torch.float64):
    return torch.randn(b, D, H, W, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def quantizer(seed=0, dtype=torch.float64, **kw):
    """A codebook of the spread of `vectors`, so that every entry has some of them."""
    quantize = VectorQuantizer(K, D, **kw).to(dtype)
    with torch.no_grad():
        quantize.codebook.copy_(torch.randn(K, D, generator=torch.Generator().manual_seed(seed + 100)))
        if kw.get("decay", 0.99) is not None:
            quantize.total.copy_(quantize.codebook)
    return quantize


def rows(h):
    """The vectors of h, one for each place, in the order of codes.flatten()."""
    return torch.stack([h[b, :, i, j] for b in range(len(h)) for i in range(H) for j in range(W)])


# Nearest entry


def test_codes_are_those_of_a_search_through_every_entry():
    quantize, h = quantizer(), vectors()
    by_hand = torch.stack([((quantize.codebook - row) ** 2).sum(1).argmin() for row in rows(h)])
    z_q, codes, _, _ = quantize.eval()(h)
    assert codes.shape == (B, H, W) and codes.dtype == torch.int64
    assert torch.equal(codes.flatten(), by_hand) and len(codes.unique()) == K
    assert torch.equal(codes.flatten(), torch.cdist(rows(h), quantize.codebook).argmin(1))
    torch.testing.assert_close(rows(z_q), quantize.codebook[by_hand], rtol=0, atol=1e-12)


def test_every_entry_is_its_own_nearest():
    quantize = quantizer()
    assert quantize.nearest(quantize.codebook).tolist() == list(range(K))
    assert quantize.nearest(quantize.embed(torch.arange(6).view(1, 2, 3))).flatten().tolist() == list(range(6))


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_distances_are_in_float32_under_autocast(given):
    """Around (8, 8, 8, 8) bf16 cannot tell one entry of this codebook from another."""
    quantize = quantizer(dtype=torch.float32)
    with torch.no_grad():
        quantize.codebook.mul_(0.01).add_(8)
    h = (8 + 0.01 * vectors(b=100, dtype=torch.float32)).to(given)
    exact = torch.cdist(rows(h).double(), quantize.codebook.double()).argmin(1)
    with torch.autocast("cpu", torch.bfloat16):
        out = quantize.eval()(h)
        e = quantize.codebook.bfloat16()
        rounded = (e.square().sum(1) - 2 * rows(h).bfloat16() @ e.T).argmin(1)
    assert out.z_q.dtype == out.commitment_loss.dtype == torch.float32
    assert torch.equal(out.codes.flatten(), exact) and (rounded == exact).float().mean() < 0.7


class Watch(TorchDispatchMode):
    """Keeps the size of the largest tensor made, and the operations for whose result Python has to wait on a GPU."""

    def __init__(self):
        super().__init__()
        self.numel, self.waits = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor))])
        self.waits += [str(func)] * any(part in str(func) for part in ("local_scalar", "nonzero", "bincount", "equal"))
        return out


@pytest.mark.parametrize("decay", [None, 0.9])
def test_nothing_waits_and_nothing_is_larger_than_one_distance_for_each_vector_and_entry(decay):
    quantize = VectorQuantizer(20, 8, decay=decay, restart=0.1 if decay else 0.0)
    with Watch() as watch:
        perplexity(quantize(torch.randn(2, 8, 10, 10)).codes, 20)
    assert watch.numel == 200 * 20 and watch.waits == []
    with Watch() as watch:
        quantize.embed(torch.zeros(1, 1, 1, dtype=torch.int64))  # which looks, on a CPU, whether the codes exist
    assert watch.waits


# Gradients and losses


@pytest.mark.parametrize("decay", [None, 0.9])
def test_gradient_of_what_follows_reaches_the_vectors_unchanged_and_no_entry(decay):
    quantize, h, weight = quantizer(decay=decay), vectors().requires_grad_(), vectors(1)
    (weight * quantize(h).z_q).sum().backward()
    assert torch.equal(h.grad, weight)
    assert getattr(quantize.codebook, "grad", None) is None


def test_losses_are_the_naive_sums_of_equation_3():
    quantize, h = quantizer(decay=None), vectors()
    _, codes, codebook_loss, commitment_loss = quantize(h)
    naive = 0.0
    for b in range(B):
        for i in range(H):
            for j in range(W):
                naive += sum((h[b, d, i, j] - quantize.codebook[codes[b, i, j], d]).item() ** 2 for d in range(D)) / B
    assert codebook_loss.item() == pytest.approx(naive, rel=1e-12)
    assert commitment_loss.item() == pytest.approx(naive, rel=1e-12)


def test_codebook_loss_moves_each_entry_to_the_vectors_that_chose_it_and_nothing_else():
    quantize, h = quantizer(decay=None), vectors().requires_grad_()
    out = quantize(h)
    out.codebook_loss.backward()
    assert h.grad is None
    for k in range(K):
        mine = rows(h.detach())[out.codes.flatten() == k]
        by_hand = 2 * len(mine) * (quantize.codebook[k] - mine.mean(0)) / B
        torch.testing.assert_close(quantize.codebook.grad[k], by_hand, rtol=1e-12, atol=1e-12)


def test_commitment_loss_moves_each_vector_to_its_entry_and_nothing_else():
    quantize, h = quantizer(decay=None), vectors().requires_grad_()
    out = quantize(h)
    out.commitment_loss.backward()
    assert quantize.codebook.grad is None
    torch.testing.assert_close(rows(h.grad), 2 * (rows(h) - quantize.codebook[out.codes.flatten()]).detach() / B)


def test_moving_averages_leave_nothing_to_the_codebook_loss():
    out = quantizer(decay=0.9)(vectors().requires_grad_())
    assert out.codebook_loss.item() == 0 and not out.codebook_loss.requires_grad and out.commitment_loss > 0


# Moving averages and restarts


def test_moving_averages_equal_the_sum_that_their_recursion_unrolls_to():
    gamma, T = 0.8, 6
    quantize = quantizer(decay=gamma)
    first = quantize.codebook.clone()
    counts, sums = [], []
    for t in range(T):
        h = vectors(t)
        codes = quantize(h).codes.flatten()
        counts.append(torch.stack([(codes == k).sum().double() for k in range(K)]))
        sums.append(torch.stack([rows(h)[codes == k].sum(0) for k in range(K)]))
    weights = [(1 - gamma) * gamma ** (T - 1 - t) for t in range(T)]
    count = gamma**T * torch.ones(K, dtype=torch.float64) + sum(w * n for w, n in zip(weights, counts))
    total = gamma**T * first + sum(w * s for w, s in zip(weights, sums))
    torch.testing.assert_close(quantize.count, count)
    torch.testing.assert_close(quantize.total, total)
    smooth = (count + SMOOTHING) / (count.sum() + K * SMOOTHING) * count.sum()
    torch.testing.assert_close(quantize.codebook, total / smooth[:, None])
    assert not torch.allclose(quantize.codebook, first, atol=0.01)


def test_without_memory_an_entry_is_the_mean_of_the_vectors_that_chose_it():
    quantize, h = quantizer(decay=0.0), vectors()
    codes = quantize(h).codes.flatten()
    means = torch.stack([rows(h)[codes == k].mean(0) for k in range(K)])
    torch.testing.assert_close(quantize.codebook, means, rtol=1e-5, atol=0)  # 1e-5: the smoothing


def test_evaluation_moves_nothing():
    quantize, h = quantizer(restart=0.5).eval(), vectors()
    before = {k: v.clone() for k, v in quantize.state_dict().items()}
    quantize(h)
    assert before.keys() == {"codebook", "count", "total"}
    assert all(torch.equal(v, before[k]) for k, v in quantize.state_dict().items())


def far_off(restart, dead=(2, 5)):
    """A quantiser of which some entries are so far away that no vector chooses them."""
    quantize = quantizer(decay=0.5, restart=restart)
    with torch.no_grad():
        quantize.codebook[list(dead)] = 1000.0
        quantize.total[list(dead)] = 1000.0
    return quantize


def test_dead_entries_come_back_at_vectors_of_the_batch_and_living_ones_do_not_notice():
    restarting, plain, h = far_off(0.2), far_off(0.0), vectors()
    restarting(h)
    plain(h)
    dead, alive = [2, 5], [0, 1, 3, 4, 6]
    assert all((rows(h) == entry).all(1).any() for entry in restarting.codebook[dead])
    assert (plain.codebook[dead] > 900).all()
    for name in ("codebook", "count", "total"):
        assert torch.equal(getattr(restarting, name)[alive], getattr(plain, name)[alive])
    assert set(dead) <= set(restarting(h).codes.flatten().tolist())


def test_restarts_follow_the_rule_written_out():
    """Batches wander, so that entries die and come back; half of the vectors follow, so that some live on."""
    gamma, restart, seen = 0.5, 0.3, []
    quantize = quantizer(decay=gamma, restart=restart)
    count, total = [1.0] * K, list(quantize.codebook.clone())
    for t in range(8):
        h = vectors(t)
        h[:2, 0] += 6 * t
        codes = quantize(h).codes.flatten()
        for k in range(K):
            mine = rows(h)[codes == k]
            count[k] = gamma * count[k] + (1 - gamma) * len(mine)
            total[k] = gamma * total[k] + (1 - gamma) * mine.sum(0)
        least, places = restart * sum(count) / K, sum(count)
        for k in range(K):
            if count[k] < least:
                assert (rows(h) == quantize.codebook[k]).all(1).any()
                count[k], total[k] = least, least * quantize.codebook[k]
                seen.append((t, k))
            else:
                smooth = (count[k] + SMOOTHING) / (places + K * SMOOTHING) * places
                torch.testing.assert_close(quantize.codebook[k], total[k] / smooth)
        torch.testing.assert_close(quantize.count, torch.tensor(count, dtype=torch.float64))
        torch.testing.assert_close(quantize.total, torch.stack(total))
    again = {k for (t, k) in seen if (t + 1, k) in seen}
    assert again and 5 <= len(seen) < 8 * K // 2  # at least one restarted twice in a row; most lived


def test_restarts_repeat_with_the_generator():
    books = []
    for seed in (0, 0, 1):
        quantize, g = far_off(0.5), torch.Generator().manual_seed(seed)
        for t in range(4):
            quantize(vectors(t), generator=g)
        books.append(quantize.codebook)
    assert torch.equal(books[0], books[1]) and not torch.equal(books[0], books[2])


def test_codebook_of_a_collapsed_start_comes_into_use_only_with_restarts():
    """All entries but one start where no vector is: without restarts the perplexity stays at 1."""
    used = {}
    for restart in (0.0, 0.1):
        torch.manual_seed(0)
        quantize = VectorQuantizer(16, D, decay=0.9, restart=restart)
        quantize.codebook[1:] += 50
        quantize.total.copy_(quantize.codebook)
        for t in range(60):
            codes = quantize(vectors(t, b=8, dtype=torch.float32)).codes
        used[restart] = perplexity(codes, 16).item()
    assert used[0.0] == pytest.approx(1) and used[0.1] > 12


@pytest.mark.slow
def test_two_processes_share_counts_sums_and_restarts(tmp_path):
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen([sys.executable, str(SCRIPT), str(tmp_path), str(rank)], env=env, stderr=subprocess.PIPE)
        for rank in (0, 1)
    ]
    for run in runs:
        _, errors = run.communicate(timeout=100)
        assert run.returncode == 0, errors.decode()[-2000:]
    first, second = (torch.load(tmp_path / f"end-{rank}.pt", weights_only=True) for rank in (0, 1))
    for kind in ("plain", "restarting"):
        assert all(torch.equal(first[kind][k], second[kind][k]) for k in ("codebook", "count", "total"))
    alone = VectorQuantizer(6, 3, decay=0.7).double()
    alone.load_state_dict(first["start"])
    for h0, h1 in zip(first["seen"], second["seen"]):
        alone(torch.cat([h0, h1]))
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(first["plain"][name], value, rtol=1e-12, atol=1e-12)
    drawn = first["seen"][0].movedim(1, -1).flatten(0, -2)  # by the first process, for both
    assert [(drawn == entry).all(1).any().item() for entry in first["after one"]] == [False] * 4 + [True] * 2
    assert torch.equal(first["after one"], second["after one"])


# Usage


def test_perplexity_is_the_number_of_codes_when_all_are_used_alike_and_one_when_one_is():
    assert perplexity(torch.arange(12).view(3, 4), 12).item() == pytest.approx(12)
    assert perplexity(torch.arange(12).view(3, 4) % 4, 12).item() == pytest.approx(4)
    assert perplexity(torch.full((2, 3, 3), 5), 12).item() == pytest.approx(1)


def test_perplexity_counts_beyond_what_float32_can():
    codes = torch.zeros(2**24 + 2**21, dtype=torch.int64)
    assert perplexity(codes, 2).item() == pytest.approx(1)


def test_perplexity_is_the_exponential_of_the_entropy_written_out():
    codes = torch.tensor([[0, 0, 0, 2], [2, 1, 0, 0]])
    shares = [5 / 8, 1 / 8, 2 / 8]
    assert perplexity(codes, 9).item() == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)), rel=1e-6)


# Refusals


@pytest.mark.parametrize("kw, message", [
    ({"n_codes": 0}, "n_codes=0"), ({"width": 0}, "width=0"), ({"decay": 1.0}, "decay=1.0"),
    ({"decay": -0.1}, "decay=-0.1"), ({"restart": 1.0}, "restart=1.0"), ({"restart": -0.5}, "restart=-0.5"),
    ({"decay": None, "restart": 0.1}, "restart=0.1 needs a decay"),
])  # fmt: skip
def test_quantizer_refuses_numbers_out_of_range(kw, message):
    with pytest.raises(ValueError, match=message):
        VectorQuantizer(**({"n_codes": 4, "width": 2} | kw))


@pytest.mark.parametrize("wrong", [-1, K, 10_000])
def test_embed_refuses_codes_that_are_not_in_the_codebook(wrong):
    codes = torch.zeros(1, 2, 2, dtype=torch.int64)
    codes[0, 1, 0] = wrong
    with pytest.raises(ValueError, match=rf"codes must be in \[0, {K}\), got {wrong}"):
        quantizer().embed(codes)
    with pytest.raises(ValueError, match="codes must be int64, got torch.float32"):
        quantizer().embed(codes.float())


@pytest.mark.parametrize("shape", [(2, D + 1, 3, 3), (2, 3, 3, D), (D,)])
def test_quantizer_refuses_vectors_of_another_width(shape):
    with pytest.raises(ValueError, match=rf"h must be \(B, {D}, ...\), got \({shape[0]},"):
        quantizer(dtype=torch.float32)(torch.zeros(shape))


def test_perplexity_refuses_no_codes():
    with pytest.raises(ValueError, match="codes is empty"):
        perplexity(torch.zeros(0, 3, 3, dtype=torch.int64), 4)
