"""Attention: it is a weighted mean, it sees what its masks allow, and its fast and its open way agree."""

import pytest
import torch
from torch import nn

from genai_utils.nn import (
    CrossAttention, KVCache, SelfAttention, attend, attention_maps, attention_weights, causal_mask,
)  # fmt: skip


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def heads(T=5, S=5):
    return draw(2, 3, T, 4), draw(2, 3, S, 4, seed=1), draw(2, 3, S, 4, seed=2)


def build(kind=SelfAttention, seed=0, **how):
    torch.manual_seed(seed)
    module = kind(12, 3, **how).double()
    for p in module.parameters():
        nn.init.normal_(p, std=0.5)
    return module


MASKS = {
    "none": None,
    "bool": torch.tensor([1, 1, 0, 1, 0, 1, 1], dtype=torch.bool)[None, None, None],
    "of each row": torch.tensor([[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1]], dtype=torch.bool)[:, None, None],
    "numbers": draw(1, 3, 1, 7, seed=5),
}


def by_hand(q, k, v, mask, causal, scale):
    """Return weights and means with loops over rows, heads and queries."""
    B, H, T, D = q.shape
    S = k.shape[2]
    weights = torch.zeros(B, H, T, S, dtype=q.dtype)
    full = None if mask is None else mask.expand(B, H, T, S)
    for b in range(B):
        for h in range(H):
            for i in range(T):
                scores = {}
                for j in range(S):
                    if (
                        causal
                        and j > S - T + i
                        or full is not None
                        and full.dtype == torch.bool
                        and not full[b, h, i, j]
                    ):
                        continue
                    added = 0 if full is None or full.dtype == torch.bool else full[b, h, i, j]
                    scores[j] = (q[b, h, i] * k[b, h, j]).sum() * scale + added
                total = sum(s.exp() for s in scores.values())
                for j, s in scores.items():
                    weights[b, h, i, j] = s.exp() / total
    return weights, torch.einsum("bhts,bhsd->bhtd", weights, v)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("T", [1, 4, 7])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("scale", [None, 1.0])
def test_attention_is_the_sum_written_out(causal, T, mask, scale):
    q, k, v = heads(T, 7)
    weights, mean = by_hand(q, k, v, MASKS[mask], causal, 0.5 if scale is None else scale)
    how = {"mask": MASKS[mask], "causal": causal, "scale": scale}
    torch.testing.assert_close(attention_weights(q, k, **how), weights, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(attend(q, k, v, **how), mean, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, T, dtype=torch.float64))


def test_mask_of_each_query_may_be_combined_with_causality():
    q, k, v = heads()
    mask = (draw(2, 1, 5, 5, seed=3) > 0) | torch.eye(5, dtype=torch.bool)
    wanted = by_hand(q, k, v, mask, True, 0.5)[1]
    torch.testing.assert_close(attend(q, k, v, mask=mask, causal=True), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("T, S", [(1, 1), (3, 3), (2, 5), (1, 4)])
def test_causal_mask_lets_the_last_query_see_all_and_the_first_what_was_before(T, S):
    mask = causal_mask(T, S)
    assert mask.shape == (T, S) and mask.dtype == torch.bool
    assert mask.sum(1).tolist() == list(range(S - T + 1, S + 1)) and mask[:, 0].all()


def test_self_attention_without_positions_commutes_with_permutations():
    module, x, order = build(), draw(2, 6, 12), torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(module(x[:, order]), module(x)[:, order])


def test_causal_attention_does_not_commute_with_permutations():
    module, x, order = build(causal=True), draw(2, 6, 12), torch.tensor([3, 0, 5, 1, 4, 2])
    assert (module(x[:, order]) - module(x)[:, order]).abs().max() > 1e-3


@pytest.mark.parametrize("causal", [False, True])
def test_attention_sees_both_sides_unless_it_is_causal(causal):
    module, x = build(causal=causal), draw(1, 6, 12)
    y = module(x)
    for place in range(6):
        other = x.clone()
        other[0, place] += 1
        change = (module(other) - y).abs().amax(-1)[0]
        assert (change[place:] > 1e-9).all()
        assert (change[:place] == 0).all() if causal else (change[:place] > 1e-9).all()


def test_masked_places_change_nothing():
    module, x = build(), draw(2, 6, 12)
    mask = torch.tensor([1, 1, 1, 1, 0, 0], dtype=torch.bool)[None, None, None]
    torch.testing.assert_close(module(x, mask=mask)[:, :4], module(x[:, :4]))


@pytest.mark.parametrize("parts", [[7], [1] * 7, [3, 1, 3], [2, 5]])
def test_cached_self_attention_equals_reading_at_once(parts):
    module, x = build(causal=True), draw(2, 7, 12)
    cache = KVCache(2, 3, 9, 4, x)
    found = torch.cat([module(part, cache=cache) for part in x.split(parts, dim=1)], dim=1)
    torch.testing.assert_close(found, module(x), rtol=1e-12, atol=1e-12)
    assert cache.length == 7 and cache.keys.shape == (2, 3, 9, 4)


def test_cache_refuses_more_places_than_it_has():
    cache = KVCache(1, 1, 3, 2, torch.zeros(()))
    cache.append(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    with pytest.raises(ValueError, match="the cache has 3 places, not 4"):
        cache.append(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    with pytest.raises(ValueError, match="the cache has 1 rows, not 2; ask for one of 2"):
        cache.append(torch.zeros(2, 1, 1, 2), torch.zeros(2, 1, 1, 2))
    assert cache.length == 2


@pytest.mark.parametrize("rows", [[1, 0, 0], [2], [0, 1, 2, 2]])
def test_cache_goes_on_from_the_chosen_rows(rows):
    k, v, rows = draw(3, 2, 4, 2), draw(3, 2, 4, 2, seed=1), torch.tensor(rows)
    cache = KVCache(3, 2, 6, 2, k)
    cache.append(k, v)
    place = cache.keys.data_ptr()
    cache.reorder(rows)
    assert (cache.keys.data_ptr() == place) == (len(rows) == 3)
    keys, values = cache.append(k[rows, :, :1], v[rows, :, :1])
    assert torch.equal(keys, torch.cat([k[rows], k[rows, :, :1]], dim=2)) and values.shape == (len(rows), 2, 5, 2)
    assert torch.equal(values[:, :, :4], v[rows])


@pytest.mark.parametrize("how", [{}, {"causal": True}, {"bias": False, "d_head": 5, "scale": 1.0}])
def test_attention_maps_show_the_weights_of_every_call_and_change_nothing(how):
    model = nn.ModuleDict({"a": build(**how), "b": build(CrossAttention)})
    x, memory = draw(2, 6, 12), draw(2, 9, 12, seed=1)
    a, b = model["a"](x), model["b"](x, *model["b"].read(memory))
    with attention_maps(model) as maps:
        torch.testing.assert_close(model["a"](x), a, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(model["b"](x, *model["b"].read(memory)), b, rtol=1e-12, atol=1e-12)
        model["a"](x[:, :2])
    assert {name: [tuple(m.shape) for m in found] for name, found in maps.items()} == {
        "a": [(2, 3, 6, 6), (2, 3, 2, 2)], "b": [(2, 3, 6, 9)]}  # fmt: skip
    assert all(((m.sum(-1) - 1).abs() < 1e-12).all() and not m.requires_grad for found in maps.values() for m in found)
    model["a"](x)
    assert len(maps["a"]) == 2 and model["a"].maps is None


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", ["bool", "numbers"])
def test_row_that_may_look_nowhere_answers_with_the_bias_both_ways(mask, causal):
    module, x = build(causal=causal), draw(2, 4, 12).requires_grad_()
    allowed = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0]], dtype=torch.bool)[:, None, None].expand(2, 1, 4, 4)
    allowed = allowed if mask == "bool" else torch.zeros(2, 1, 4, 4).masked_fill(~allowed, -torch.inf)
    fused = module(x, mask=allowed)
    with attention_maps(module) as maps:
        written = module(x, mask=allowed)
    torch.testing.assert_close(written, fused, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(fused[1], module.out.bias.expand(4, 12))
    assert (maps[""][0][1] == 0).all() and ((maps[""][0][0].sum(-1) - 1).abs() < 1e-12).all()
    written.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("autocast", [False, True])
def test_maps_of_half_precision_do_not_overflow_where_the_model_does_not(autocast):
    module, x = build().half(), 60 * draw(2, 6, 12).half()
    module = module.float() if autocast else module
    with torch.autocast("cpu", torch.float16, enabled=autocast):
        y = module(x)
        q, k, _ = (module._heads(part) for part in module.qkv(x).chunk(3, dim=-1))
        with attention_maps(module) as maps:
            written = module(x)
    assert q.dtype == torch.float16 and (q.float() @ k.float().mT).abs().max() > 65504  # before it is scaled
    assert y.isfinite().all() and maps[""][0].isfinite().all() and maps[""][0].dtype == torch.float32
    torch.testing.assert_close(written, y, rtol=0.02, atol=0.1)


def test_attention_maps_end_with_an_error_in_between():
    module = build()
    with pytest.raises(RuntimeError, match="planted"), attention_maps(module):
        raise RuntimeError("planted")
    assert module.maps is None


def test_self_attention_equals_that_of_torch():
    ours, theirs, x = build(), nn.MultiheadAttention(12, 3, batch_first=True).double(), draw(2, 6, 12)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight.data, ours.qkv.bias.data
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0])


def test_cross_attention_reads_the_memory_once_for_many_queries():
    module, x, memory = build(CrossAttention), draw(2, 4, 12), draw(2, 6, 12, seed=1)
    k, v = module.read(memory)
    assert k.shape == v.shape == (2, 3, 6, 4)
    one_by_one = torch.cat([module(x[:, i : i + 1], k, v) for i in range(4)], dim=1)
    torch.testing.assert_close(one_by_one, module(x, k, v))
    order = torch.tensor([5, 3, 0, 1, 4, 2])
    torch.testing.assert_close(module(x, *module.read(memory[:, order])), module(x, k, v))


@pytest.mark.parametrize("kind", [SelfAttention, CrossAttention])
def test_gradient_reaches_every_parameter_but_the_bias_of_the_keys(kind):
    module, x = build(kind), draw(2, 4, 12)
    y = module(x) if kind is SelfAttention else module(x, *module.read(draw(2, 6, 12, seed=1)))
    (y * draw(2, 4, 12, seed=2)).sum().backward()
    for name, p in module.named_parameters():
        assert p.grad.abs().max() > 1e-6, name
    keys = module.qkv.bias.grad[12:24] if kind is SelfAttention else module.kv.bias.grad[:12]
    assert keys.abs().max() < 1e-12  # it adds the same to all scores of a query: softmax does not see it


def test_dropout_of_weights_acts_in_training_only():
    module, x = build(dropout=0.5), draw(2, 6, 12)
    module.eval()
    assert torch.equal(module(x), module(x))
    module.train()
    assert not torch.equal(module(x), module(x))


def test_attention_refuses_a_width_that_heads_do_not_divide():
    with pytest.raises(ValueError, match="d_model must be a multiple of n_heads, got 12 and 5"):
        SelfAttention(12, 5)
    assert SelfAttention(12, 5, d_head=2)(torch.zeros(1, 3, 12)).shape == (1, 3, 12)
