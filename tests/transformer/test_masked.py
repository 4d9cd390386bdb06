"""Hiding words, restoring them, and what a masked model can be made to do: each against its slow, obvious version."""

import itertools
import math

import pytest
import torch

from genai_utils.transformer.bert import BERT, BERTConfig
from genai_utils.transformer.masked import Masked, fill, mask_tokens, mlm_loss, pseudo_log_prob, unmask_steps

SIZES = {"vocab": 37, "length": 16, "n_layers": 2, "n_heads": 2, "d_model": 16, "d_inner": 24}
TINY = BERTConfig(**SIZES, dropout=0.0, attention_dropout=0.0)
PAD, CLS, SEP, HIDE = SPECIAL = (0, 2, 3, 4)  # 1, unknown, may be hidden
OPTIONS = {"vocab": 37, "hide": HIDE, "special": SPECIAL}


def g(seed=0):
    return torch.Generator().manual_seed(seed)


def build(cfg=TINY, dtype=torch.float64):
    """Return a model in which every tensor is random, so that nothing is zero or one by habit."""
    torch.manual_seed(0)
    model = BERT(cfg).to(dtype).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=g(p.numel()), dtype=dtype))
    return model


def texts(rows=4, length=12, vocab=37):
    """Return tokens [CLS] words [SEP] of different lengths, and their mask."""
    lengths = torch.randint(5, length + 1, (rows,), generator=g(5))
    lengths[0] = length
    tokens = torch.randint(5, vocab, (rows, length), generator=g(6))
    mask = torch.arange(length) < lengths[:, None]
    tokens[:, 0] = CLS
    tokens[torch.arange(rows), lengths - 1] = SEP
    return tokens.masked_fill(~mask, PAD), mask


@pytest.mark.parametrize("share", [0.01, 0.15, 0.5, 1.0])
def test_hidden_places_are_a_share_of_the_words_and_never_special(share):
    tokens, mask = texts(200, 30)
    batch = mask_tokens(tokens, mask=mask, share=share, generator=g(), **OPTIONS)
    assert batch.places.shape == batch.targets.shape == batch.chosen.shape == (200, max(1, round(share * 30)))
    assert torch.equal(batch.targets, tokens.gather(1, batch.places))
    assert not torch.isin(batch.targets[batch.chosen], torch.tensor(SPECIAL)).any()
    words = mask.sum(1) - 2
    want = [max(1, round(share * n)) for n in words.tolist()]
    assert (batch.chosen.sum(1) - torch.tensor(want)).abs().max() <= (0 if share in (0.01, 1.0) else 1)
    assert all(len(set(row)) == len(row) for row in batch.places.tolist())
    untouched = torch.ones_like(mask).scatter(1, batch.places, ~batch.chosen)
    assert torch.equal(batch.tokens[untouched], tokens[untouched])


def test_every_word_is_hidden_equally_often():
    tokens, mask = torch.arange(5, 25).expand(4_000, 20), None
    batch = mask_tokens(tokens, mask=mask, share=0.15, generator=g(), **OPTIONS)
    counts = torch.bincount(batch.places.flatten(), minlength=20) / 4_000
    assert ((counts - 0.15).abs() <= 4 * (0.15 * 0.85 / 4_000) ** 0.5).all()


@pytest.mark.parametrize("kinds", [(0.8, 0.1), (1.0, 0.0), (0.0, 1.0), (0.5, 0.3)])
def test_hidden_words_become_mask_any_word_or_stay_in_the_shares_asked_for(kinds):
    tokens = torch.randint(5, 37, (2_000, 20), generator=g(1))
    batch = mask_tokens(tokens, share=0.5, kinds=kinds, generator=g(), **OPTIONS)
    now = batch.tokens.gather(1, batch.places)
    n, words = now.numel(), 33  # of the vocabulary
    same = now == batch.targets
    found = [kind.sum() / n for kind in (now == HIDE, (now != HIDE) & ~same, same)]
    any_word = kinds[1] * (1 - 1 / words)  # now and then it is the word itself
    for share, want in zip(found, (kinds[0], any_word, 1 - kinds[0] - any_word)):
        assert abs(share - want) <= 4 * (want * (1 - want) / n) ** 0.5 + 1e-6


def test_any_word_is_every_word_that_is_not_special_and_equally_often():
    tokens = torch.randint(5, 37, (3_000, 20), generator=g(1))
    batch = mask_tokens(tokens, share=1.0, kinds=(0.0, 1.0), generator=g(), **OPTIONS)
    counts = torch.bincount(batch.tokens.flatten(), minlength=37)
    assert (counts[list(SPECIAL)] == 0).all() and len(counts) == 37
    want = 60_000 / 33
    assert ((counts[[k for k in range(37) if k not in SPECIAL]] - want).abs() <= 4.5 * want**0.5).all()


def test_row_without_words_hides_nothing_and_costs_nothing():
    tokens, mask = texts()
    tokens[1] = torch.tensor([CLS, SEP] + [PAD] * 10)
    batch = mask_tokens(tokens, share=0.5, generator=g(), **OPTIONS)
    assert not batch.chosen[1].any() and torch.equal(batch.tokens[1], tokens[1])
    assert mlm_loss(build(), batch)[0].isfinite()
    nothing = mask_tokens(tokens[1:2], generator=g(), **OPTIONS)
    assert mlm_loss(build(), nothing)[0].item() == 0


def test_masking_repeats_with_the_generators_seed():
    tokens, _ = texts()
    one, two, other = (mask_tokens(tokens, generator=g(seed), **OPTIONS) for seed in (0, 0, 1))
    assert torch.equal(one.tokens, two.tokens) and not torch.equal(one.tokens, other.tokens)


def test_masked_loss_is_that_of_all_logits_at_the_chosen_places():
    model, (tokens, mask) = build(), texts()
    segments = (torch.arange(12) > 4).long().expand(4, 12).contiguous()
    batch = mask_tokens(tokens, mask=mask, segments=segments, share=0.4, generator=g(), **OPTIONS)
    assert batch.mask is mask and batch.segments is segments and not batch.chosen.all()
    log_p = model.mlm_logits(model(batch.tokens, mask, segments)).log_softmax(-1)  # (B, T, V): all of them
    total, right, n = 0.0, 0, 0
    for row in range(4):
        for place, target, chosen in zip(batch.places[row], batch.targets[row], batch.chosen[row]):
            if chosen:
                total, n = total - log_p[row, place, target], n + 1
                right += int(log_p[row, place].argmax() == target)
    loss, logs = mlm_loss(model, batch)
    torch.testing.assert_close(loss, total / n, rtol=1e-12, atol=0)
    assert logs["accuracy"].item() == pytest.approx(right / n) and n == batch.chosen.sum()
    slow, fast = (torch.autograd.grad(value, model.tokens.weight)[0] for value in (total / n, loss))
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-12)


def test_logits_are_computed_at_the_hidden_places_only():
    """Beside a wide vocabulary all else is small: with 15 % hidden, the head multiplies 15 % as much."""
    from genai_utils.metrics import count_flops

    cfg = BERTConfig(vocab=500, length=40, n_layers=1, n_heads=1, d_model=8, d_inner=8)
    model, tokens = build(cfg=cfg, dtype=torch.float32), torch.randint(5, 500, (2, 40), generator=g())
    batch = mask_tokens(tokens, vocab=500, hide=HIDE, special=SPECIAL, generator=g())
    body = count_flops(lambda: model(tokens))
    head = count_flops(lambda: model.mlm_logits(model(tokens))) - body
    assert count_flops(lambda: mlm_loss(model, batch)) - body == pytest.approx(0.15 * head)


def test_masked_model_learns_one_batch():
    torch.manual_seed(0)
    model = BERT(BERTConfig(vocab=37, length=12, n_layers=1, n_heads=2, d_model=16, d_inner=32, dropout=0.0))
    batch = mask_tokens(texts()[0], share=0.3, generator=g(), **OPTIONS)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):
        loss, logs = mlm_loss(model, batch)
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert loss.item() < 0.1 and logs["accuracy"].item() == 1


@pytest.mark.parametrize("changes, message", [
    ({"share": 0.0}, "need 0 < share <= 1 and kinds >= 0 of sum <= 1, got share=0.0"),
    ({"share": 1.5}, "got share=1.5"), ({"kinds": (0.8, 0.3)}, r"kinds=\(0.8, 0.3\)"),
    ({"kinds": (-0.1, 0.3)}, r"kinds=\(-0.1, 0.3\)"),
    ({"special": (0, 2)}, r"special must hold hide=4 and leave words of vocab=37, got \[0, 2\]"),
    ({"special": (0, 4, 37)}, r"got \[0, 4, 37\]"), ({"vocab": 5, "special": range(5)}, "leave words of vocab=5"),
])  # fmt: skip
def test_masking_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        mask_tokens(texts()[0], **OPTIONS | changes)


# Filling in


def test_filling_gives_at_each_place_the_models_distribution():
    model, (tokens, mask) = build(), texts()
    places = torch.tensor([[1, 3]] * 4)
    hidden = tokens.scatter(1, places, HIDE)
    p = fill(model, hidden, places, mask)
    assert p.shape == (4, 2, 37) and not p.requires_grad
    torch.testing.assert_close(p.sum(-1), torch.ones(4, 2, dtype=torch.float64))
    everywhere = model.mlm_logits(model(hidden, mask)).softmax(-1)
    torch.testing.assert_close(p[:, 1], everywhere[:, 3])


def test_pseudo_log_prob_adds_the_logs_of_each_word_hidden_alone():
    model, (tokens, mask) = build(), texts()
    found = pseudo_log_prob(model, tokens, hide=HIDE, special=SPECIAL, mask=mask)
    for row in range(4):
        text, total = tokens[row, mask[row]], 0.0
        for i in range(1, len(text) - 1):
            alone = text.clone()
            alone[i] = HIDE
            total += model.mlm_logits(model(alone[None])).log_softmax(-1)[0, i, text[i]].item()
        assert found[row].item() == pytest.approx(total, rel=1e-10)


def test_pseudo_likelihoods_of_all_texts_do_not_sum_to_one():
    cfg = BERTConfig(vocab=4, length=3, n_layers=2, n_heads=2, d_model=16, d_inner=24, dropout=0.0)
    model = build(cfg=cfg)
    everything = torch.tensor(list(itertools.product(range(3), repeat=3)))  # all texts of three words of three
    with torch.no_grad():
        model.head.bias[3] = -torch.inf  # nor does probability leak to [MASK]: conditionals over words alone
    total = pseudo_log_prob(model, everything, hide=3, special=(3,)).exp().sum().item()
    assert abs(total - 1) > 0.01


def test_pseudo_likelihood_of_one_word_is_a_likelihood():
    """The difference lies in the product: with one factor it is an honest distribution."""
    cfg = BERTConfig(vocab=6, length=1, n_layers=1, n_heads=2, d_model=16, d_inner=24, dropout=0.0)
    log_p = pseudo_log_prob(build(cfg=cfg), torch.arange(6)[:, None], hide=5, special=())
    assert log_p.exp().sum().item() == pytest.approx(1)


# Writing by uncovering


def covered(rows=3, length=10):
    tokens, _ = texts(rows, length)
    tokens[:, 1:-2] = HIDE
    tokens[0, 4] = 20  # rows differ in how much is hidden
    return tokens


@pytest.mark.parametrize("order", ["confident", "random"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20])
def test_unmasking_uncovers_everything_in_the_steps_asked_for_and_changes_nothing_twice(order, steps):
    model, tokens = build(), covered()
    films = list(unmask_steps(model, tokens, steps, hide=HIDE, special=SPECIAL, order=order, generator=g()))
    assert len(films) == steps and not (films[-1][0] == HIDE).any()
    first, before = (tokens == HIDE).sum(1), tokens
    for k, (now, probs) in enumerate(films, start=1):
        hidden = before == HIDE
        assert torch.equal(now[~hidden], before[~hidden]) and (probs[~hidden] == 1).all()
        assert (probs[hidden] > 0).all() and (probs[hidden] < 1).all()
        left = (now == HIDE).sum(1)
        stay = (first * math.cos(math.pi / 2 * k / steps)).floor() if k < steps else torch.zeros(3)
        assert torch.equal(left, torch.minimum(stay.long(), (hidden.sum(1) - 1).clamp(min=0)))
        before = now
    assert not torch.isin(films[-1][0][tokens == HIDE], torch.tensor(SPECIAL)).any()


def test_confident_order_uncovers_the_surest_of_what_was_drawn():
    model, tokens = build(), covered(1)
    (now, probs), *_ = unmask_steps(model, tokens, 4, hide=HIDE, special=SPECIAL, temperature=0)
    logits = model.mlm_logits(model(tokens))
    logits[..., list(SPECIAL)] = -torch.inf
    best = logits.softmax(-1).max(-1)
    uncovered = (tokens == HIDE) & (now != HIDE)
    assert uncovered.any() and torch.equal(now[uncovered], best.indices[uncovered])
    torch.testing.assert_close(probs[tokens == HIDE], best.values[tokens == HIDE])
    still = now == HIDE
    assert probs[uncovered].min() >= probs[still].max()


def test_one_word_at_a_time_is_drawn_from_the_models_conditional():
    """A single hidden place, uncovered many times, follows the model's own distribution there."""
    model = build(cfg=BERTConfig(vocab=8, length=4, n_layers=1, n_heads=2, d_model=16, d_inner=24))
    tokens = torch.tensor([[5, HIDE, 6, 7]])
    *_, (now, _) = unmask_steps(model, tokens.expand(20_000, 4), 1, hide=HIDE, special=(0, 2, 3), generator=g())
    logits = model.mlm_logits(model(tokens))[0, 1]
    logits[[HIDE, 0, 2, 3]] = -torch.inf
    p = logits.softmax(0)
    counts = torch.bincount(now[:, 1], minlength=8) / 20_000
    assert ((counts - p).abs() <= 4 * (p * (1 - p) / 20_000) ** 0.5 + 1e-9).all()


def test_unmasking_repeats_with_the_generators_seed_and_leaves_its_input():
    model, tokens = build(), covered()
    ends = []
    for seed in (0, 0, 1):
        *_, (end, _) = unmask_steps(model, tokens, 5, hide=HIDE, special=SPECIAL, generator=g(seed))
        ends.append(end)
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2]) and torch.equal(tokens, covered())


@pytest.mark.parametrize("changes, message", [
    ({"steps": 0}, "got steps=0"), ({"temperature": -1.0}, "temperature=-1.0"), ({"temperature": math.inf}, "inf"),
    ({"order": "left"}, "order='left'"),
])  # fmt: skip
def test_unmasking_that_makes_no_sense_is_refused(changes, message):
    options = {"steps": 3, "hide": HIDE} | changes
    with pytest.raises(ValueError, match=message):
        next(unmask_steps(build(), covered(), **options))


def test_batch_of_masked_words_stands_in_the_order_that_its_fields_say():
    assert Masked._fields == ("tokens", "places", "targets", "chosen", "mask", "segments")
