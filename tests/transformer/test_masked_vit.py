import itertools
import math
from dataclasses import replace

import pytest
import torch

from genai_utils.core import from_json, to_json
from genai_utils.nn import patchify
from genai_utils.training import adamw, make_step
from genai_utils.transformer.masked_vit import (
    MaskedViT, MaskedViTConfig, fill_log_prob, fill_patches, fit_codebook, masked_vit_loss, nearest, random_order,
)  # fmt: skip

SMALL = MaskedViTConfig(
    side=12, channels=2, patch=4, n_codes=5, d_model=8, n_layers=2, n_heads=2, d_decoder=4, decoder_layers=2
)
TINY = replace(SMALL, side=4, channels=1, patch=2, n_codes=3)  # four patches: 81 pictures in all


def build(cfg=SMALL, seed=0, dtype=torch.float64):
    """A model in which nothing is zero or one by habit."""
    torch.manual_seed(seed)
    model = MaskedViT(cfg).to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.5 * torch.randn_like(p))
        model.head.weight.mul_(3)  # far from uniform
        model.codebook.uniform_(-1, 1)
    return model.eval()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def some(model, n=3):
    """Return codes and orders, (n, N) each."""
    codes = torch.randint(model.cfg.n_codes, (n, model.n_patches), generator=generator())
    return codes, random_order(torch.ones_like(codes, dtype=torch.bool), generator(1))


def test_logits_have_their_shape_and_gradient_reaches_every_parameter():
    model = build()
    codes, order = some(model)
    for visible in (0, 4, 8):
        assert model(codes, order, visible).shape == (3, 9 - visible, 5)
    model(codes, order, 4).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_logits_know_every_visible_patch_and_no_hidden_one():
    model = build()
    codes, order = some(model, 1)
    logits = model(codes, order, 4)
    for i in range(9):
        changed = codes.clone()
        changed[0, order[0, i]] = (codes[0, order[0, i]] + 1) % 5
        difference = (model(changed, order, 4) - logits).abs().amax(2)[0]
        assert (difference == 0).all() if i >= 4 else (difference > 1e-9).all(), i


def test_order_among_the_visible_changes_nothing_and_among_the_hidden_only_the_order_of_the_answers():
    model = build()
    codes, order = some(model)
    visible, hidden = torch.randperm(4, generator=generator(2)), torch.randperm(5, generator=generator(3))
    other = torch.cat([order[:, :4][:, visible], order[:, 4:][:, hidden]], 1)
    torch.testing.assert_close(model(codes, other, 4), model(codes, order, 4)[:, hidden])


def test_probabilities_of_all_pictures_sum_to_one_whatever_the_order():
    model = build(TINY)
    codes = torch.tensor(list(itertools.product(range(3), repeat=4)))
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        log_p = fill_log_prob(model, codes, torch.tensor(order).expand(81, 4))
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)
        assert log_p.exp().max() > 2 / 81


def test_probabilities_of_all_ways_to_fill_what_is_hidden_sum_to_one():
    model, order = build(TINY), torch.tensor([[3, 1, 0, 2]])
    codes = torch.tensor([[a, 2, b, 1] for a in range(3) for b in range(3)])
    log_p = fill_log_prob(model, codes, order.expand(9, 4), visible=2)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_loss_in_expectation_over_orders_and_numbers_visible_is_minus_log_p_of_a_picture():
    model, x = build(TINY), torch.rand(1, 1, 4, 4, dtype=torch.float64, generator=generator()) * 2 - 1
    codes = model.encode(x)
    orders = torch.tensor(list(itertools.permutations(range(4))))
    exact = -fill_log_prob(model, codes.expand(24, 4), orders).mean()
    total = 0.0
    for visible in range(4):
        log_p = model(codes.expand(24, 4), orders, visible).log_softmax(2)
        mine = log_p.gather(2, codes.expand(24, 4).gather(1, orders[:, visible:])[..., None]).squeeze(2)
        total += -mine.mean() / 4  # what the loss averages, over all orders
    assert (4 * total).item() == pytest.approx(exact.item(), abs=1e-12)
    g = generator(5)
    drawn = torch.stack(
        [masked_vit_loss(model, (x.expand(32, -1, -1, -1), None), generator=g)[1]["nats"] for _ in range(100)]
    )
    assert (drawn.mean() - exact).abs() < 4 * drawn.std() / 100**0.5


def test_codes_are_the_nearest_under_autocast_and_of_half_precision():
    patches, codebook = torch.randn(200, 16, generator=generator()), torch.randn(64, 16, generator=generator(1))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nearest(patches, codebook), nearest(patches.double(), codebook.double()))
    half = patches.bfloat16(), codebook.bfloat16()
    assert torch.equal(nearest(*half), nearest(*(t.double() for t in half)))


def test_loss_is_the_mean_of_minus_log_p_over_hidden_patches():
    model, x = build(), torch.rand(3, 2, 12, 12, dtype=torch.float64, generator=generator()) * 2 - 1
    loss, logs = masked_vit_loss(model, (x, None), visible=3, generator=generator(4))
    codes, order = model.encode(x), random_order(torch.ones(3, 9, dtype=torch.bool), generator(4))
    log_p = model(codes, order, 3).log_softmax(2)
    terms = [log_p[b, i - 3, codes[b, order[b, i]]].item() for b in range(3) for i in range(3, 9)]
    assert loss.item() == pytest.approx(-sum(terms) / 18, abs=1e-12)
    assert logs["nats"].item() == pytest.approx(9 * loss.item())


def test_loss_of_a_new_model_is_the_logarithm_of_the_number_of_codes():
    torch.manual_seed(0)
    loss, _ = masked_vit_loss(MaskedViT(SMALL), (torch.zeros(2, 2, 12, 12), None))
    assert loss.item() == pytest.approx(math.log(5), abs=1e-6)


def test_one_batch_is_learnt():
    torch.manual_seed(0)
    cfg = replace(SMALL, d_model=16, d_decoder=16, n_codes=4)
    model, x = MaskedViT(cfg), (torch.rand(2, 2, 12, 12) > 0.5).float() * 2 - 1
    model.codebook.copy_(fit_codebook(patchify(x, 4).flatten(0, 1), 4, generator=generator()))
    loss_fn = lambda m, b: masked_vit_loss(m, b, visible=4, generator=generator())  # the same patches every time
    step = make_step(model, loss_fn, adamw(model, 5e-3))
    first = step((x, None))["loss"]
    for _ in range(50):
        last = step((x, None))
    assert last["loss"] < 0.1 * first and last["accuracy"] == 1


# Filling in


def test_filling_keeps_what_is_visible_shows_every_step_and_repeats():
    model = build()
    codes, order = some(model)
    steps = [*fill_patches(model, codes, order, 4, generator=generator())]
    assert [visible for _, visible in steps] == [5, 6, 7, 8, 9]
    for filled, visible in steps:
        assert torch.equal(filled.gather(1, order[:, :4]), codes.gather(1, order[:, :4]))
        assert torch.equal(filled.gather(1, order[:, visible:]), codes.gather(1, order[:, visible:]))  # not drawn yet
        assert torch.equal(filled.gather(1, order[:, :visible]), steps[-1][0].gather(1, order[:, :visible]))
    again = [*fill_patches(model, codes, order, 4, generator=generator())]
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(steps, again))
    assert not torch.equal([*fill_patches(model, codes, order, 4, generator=generator(1))][-1][0], steps[-1][0])
    assert [v for _, v in fill_patches(model, codes, order, 4, per_step=2, generator=generator())] == [6, 8, 9]


def test_filled_pictures_are_as_frequent_as_their_probabilities_say():
    model, n = build(TINY), 5_000
    order = torch.tensor([[2, 0, 3, 1]])
    everything = torch.tensor(list(itertools.product(range(3), repeat=4)))
    p = fill_log_prob(model, everything, order.expand(81, 4)).exp()
    *_, (filled, _) = fill_patches(model, torch.zeros(n, 4).long(), order.expand(n, 4), generator=generator())
    share = torch.bincount(filled @ torch.tensor([27, 9, 3, 1]), minlength=81) / n
    chi_square = (n * (share - p).square() / p).sum()
    assert (chi_square - 80).abs() < 4 * math.sqrt(160)


def test_patches_drawn_together_do_not_know_of_each_other():
    model, n = build(TINY), 5_000
    order = torch.arange(4).expand(n, 4)
    logits = model(torch.zeros(1, 4).long(), order[:1], 0)[0].log_softmax(1)
    ((filled, visible),) = fill_patches(model, torch.zeros(n, 4).long(), order, per_step=4, generator=generator())
    assert visible == 4
    p = (logits[0][:, None] + logits[1]).exp().flatten()  # a product
    share = torch.bincount(filled[:, 0] * 3 + filled[:, 1], minlength=9) / n
    assert ((share - p).abs() < 4 * (p * (1 - p) / n).sqrt()).all()


def test_low_temperature_draws_the_likeliest_patch():
    model = build()
    codes, order = some(model)
    best = model(codes, order, 8)[:, 0].argmax(1)
    ((filled, _),) = fill_patches(model, codes, order, 8, temperature=1e-4, generator=generator())
    assert torch.equal(filled.gather(1, order[:, 8:])[:, 0], best)


def test_expected_picture_is_the_mean_of_what_could_be_drawn_and_has_the_least_error():
    model = build()
    codes, order = some(model)
    mean = model.expected(codes, order, 8)
    p = model(codes, order, 8)[:, 0].softmax(1)  # (B, K)
    each = torch.stack([model.decode(codes.scatter(1, order[:, 8:], k)) for k in range(5)], 1)  # (B, K, C, H, W)
    torch.testing.assert_close(mean, (p[:, :, None, None, None] * each).sum(1))
    error = lambda guess: (p * (each - guess[:, None]).square().sum((2, 3, 4))).sum(1)
    assert all((error(mean) < error(each[:, k])).all() for k in range(5))


# Codes


def test_codes_stand_for_pictures_made_of_the_codebook_and_for_the_nearest_otherwise():
    model = build()
    codes, _ = some(model)
    assert torch.equal(model.encode(model.decode(codes)), codes)
    x = torch.rand(3, 2, 12, 12, dtype=torch.float64, generator=generator()) * 2 - 1
    far = torch.cdist(patchify(x, 4), model.codebook.expand(3, -1, -1))
    assert torch.equal(model.encode(x), far.argmin(2))


def test_codebook_of_clusters_is_their_means():
    means = torch.tensor([[-1.0, 0.0], [1.0, 1.0], [1.0, -1.0]]).double()
    noise = 0.05 * torch.randn(3, 200, 2, dtype=torch.float64, generator=generator())
    patches = (means[:, None] + noise).flatten(0, 1)
    book = fit_codebook(patches, 3, generator=generator(4))
    found = book[nearest(means, book)]
    torch.testing.assert_close(found, (means[:, None] + noise).mean(1))


def test_codebook_rounds_never_raise_the_squared_error():
    patches = torch.randn(500, 6, dtype=torch.float64, generator=generator())
    errors = []
    for steps in range(6):
        book = fit_codebook(patches, 8, steps=steps, generator=generator())
        errors.append((patches - book[nearest(patches, book)]).square().sum().item())
    assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0]


def test_random_order_is_a_permutation_that_puts_visible_places_first():
    hidden = torch.rand(50, 9, generator=generator()) < 0.5
    order = random_order(hidden, generator(1))
    assert torch.equal(order.sort(1).values, torch.arange(9).expand(50, 9))
    assert torch.equal(hidden.gather(1, order).int().sort(1).values, hidden.gather(1, order).int())
    assert not torch.equal(order, random_order(hidden, generator(2)))


# Bad input


@pytest.mark.parametrize("changes, message", [
    ({"side": 13}, "side must be a multiple of patch, got 13 and 4"), ({"n_codes": 0}, "got {'n_codes': 0}"),
    ({"d_model": 6}, "multiples of 4, .* got {'d_model': 6}"), ({"n_heads": 3}, "multiple of n_heads, got 8 and 3"),
])  # fmt: skip
def test_impossible_config_is_refused_by_field_and_value(changes, message):
    with pytest.raises(ValueError, match=message):
        MaskedViT(replace(SMALL, **changes))


@pytest.mark.parametrize("codes, order, visible, message", [
    (torch.full((1, 9), 5), torch.arange(9)[None], 2, r"codes must be in \[0, 5\), got 5"),
    (torch.zeros(1, 9).long(), torch.arange(1, 10)[None], 2, r"order must be in \[0, 9\), got 9"),
    (torch.zeros(1, 8).long(), torch.arange(9)[None], 2, r"codes must be \(B, 9\) int64"),
    (torch.zeros(1, 9), torch.arange(9)[None], 2, "torch.float32"),
    (torch.zeros(0, 9).long(), torch.zeros(0, 9).long(), 2, "B at least 1"),
    (torch.zeros(2, 9).long(), torch.arange(9)[None], 2, "got 2 pictures and 1 orders"),
    (torch.zeros(1, 9).long(), torch.arange(9)[None], 9, r"visible must be in \[0, 9\), .* got 9"),
])  # fmt: skip
def test_codes_and_orders_that_do_not_fit_are_refused(codes, order, visible, message):
    with pytest.raises(ValueError, match=message):
        MaskedViT(SMALL)(codes, order, visible)


@pytest.mark.parametrize("x", [torch.zeros(2, 1, 12, 12), torch.zeros(0, 2, 12, 12), torch.zeros(1, 2, 12, 12).long()])
def test_pictures_that_do_not_fit_are_refused(x):
    with pytest.raises(ValueError, match=r"must be \(B, 2, 12, 12\) floats"):
        masked_vit_loss(MaskedViT(SMALL), (x, None))


@pytest.mark.parametrize("how", [{"per_step": 0}, {"temperature": 0.0}, {"temperature": float("nan")}])
def test_sampler_options_out_of_range_are_refused(how):
    model = build()
    with pytest.raises(ValueError, match="need per_step >= 1 and temperature > 0"):
        next(fill_patches(model, *some(model), **how))


@pytest.mark.parametrize("patches, n, message", [
    (torch.zeros(9, 4), 2, r"in \[1, 1\], the number of different patches, got 2"), (torch.zeros(9), 1, "must be"),
    (torch.zeros(9, 4).long(), 1, "int64"), (torch.zeros(9, 4), 0, "got 0"),
])  # fmt: skip
def test_codebook_that_cannot_be_is_refused(patches, n, message):
    with pytest.raises(ValueError, match=message):
        fit_codebook(patches, n)


def test_config_survives_json():
    assert from_json(MaskedViTConfig, to_json(SMALL)) == SMALL
