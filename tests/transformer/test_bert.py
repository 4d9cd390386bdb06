"""BERT: both sides are seen, padding changes nothing, order comes from positions; its classifier, its spans."""

import math
from dataclasses import replace

import pytest
import torch

from genai_utils.nn import attention_maps
from genai_utils.transformer.bert import (
    BERT, BERTClassifier, BERTConfig, BERTSpans, Spans, best_spans, classification_loss, span_loss,
)  # fmt: skip
from genai_utils.transformer.masked import Masked, mlm_loss

SIZES = {"vocab": 37, "length": 16, "n_layers": 2, "n_heads": 2, "d_model": 16, "d_inner": 24}
TINY = BERTConfig(**SIZES, dropout=0.0, attention_dropout=0.0)


def g(seed=0):
    return torch.Generator().manual_seed(seed)


def build(cls=BERT, cfg=TINY, dtype=torch.float64):
    """Return a model in which every tensor is random, so that nothing is zero or one by habit."""
    torch.manual_seed(0)
    model = cls(cfg).to(dtype).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=g(p.numel()), dtype=dtype))
    return model


def draw(rows=3, length=9, seed=0, vocab=37):
    return torch.randint(vocab, (rows, length), generator=g(seed))


def test_bert_gives_a_vector_for_every_place_and_logits_for_every_token():
    model, tokens = build(dtype=torch.float32), draw()
    hidden = model(tokens)
    assert hidden.shape == (3, 9, 16) and len(list(model.layers(tokens))) == 3
    assert model.mlm_logits(hidden).shape == (3, 9, 37) and model.mlm_logits(hidden[:, 4]).shape == (3, 37)
    assert model.pool(hidden).shape == (3, 16) and model.pool(hidden).abs().max() <= 1


@pytest.mark.parametrize("changed", [0, 4, 8])
def test_every_place_sees_every_other_on_both_sides(changed):
    model, tokens = build(), draw(1)
    other = tokens.clone()
    other[0, changed] = (tokens[0, changed] + 1) % 37
    difference = (model(tokens) - model(other)).abs().amax(-1)[0]
    assert (difference > 1e-6).all()


def test_padding_changes_nothing_whatever_it_is_filled_with():
    model, tokens = build(), draw(2, 12)
    mask = torch.arange(12) < torch.tensor([[12], [7]])
    other = tokens.masked_fill(~mask, 36)
    alone = model(tokens[1:, :7])
    for filled in (tokens, other):
        torch.testing.assert_close(model(filled, mask)[1:, :7], alone, rtol=1e-12, atol=1e-12)


def test_attention_rows_sum_to_one_and_are_zero_at_padding():
    model, tokens = build(), draw(2, 12)
    mask = torch.arange(12) < torch.tensor([[12], [7]])
    with attention_maps(model) as maps:
        model(tokens, mask)
    assert set(maps) == {"blocks.0.attention", "blocks.1.attention"}
    for (weights,) in maps.values():
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 12, dtype=torch.float64))
        assert (weights[1, ..., 7:] == 0).all() and (weights[1, ..., :7] > 0).all()


def test_permuting_tokens_permutes_outputs_only_without_positions():
    model, tokens, order = build(), draw(), torch.randperm(9, generator=g(1))
    assert (model(tokens)[:, order] - model(tokens[:, order])).abs().max() > 0.1
    with torch.no_grad():
        model.positions.weight.zero_()
    torch.testing.assert_close(model(tokens[:, order]), model(tokens)[:, order], rtol=1e-12, atol=1e-12)


def test_segments_left_out_are_all_zero():
    model, tokens = build(), draw()
    assert torch.equal(model(tokens), model(tokens, segments=torch.zeros_like(tokens)))
    assert (model(tokens) - model(tokens, segments=torch.ones_like(tokens))).abs().max() > 0.1


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("vocab, d_model", [(60, 128), (1_000, 64), (5_000, 256)])
def test_loss_of_a_new_model_is_that_of_knowing_nothing(tied, vocab, d_model):
    torch.manual_seed(0)
    cfg = BERTConfig(vocab=vocab, length=32, n_layers=2, n_heads=4, d_model=d_model, d_inner=2 * d_model, tied=tied)
    tokens = draw(16, 32, vocab=vocab)
    places, chosen = torch.arange(32).expand(16, 32), torch.ones(16, 32, dtype=torch.bool)
    batch = Masked(tokens, places, draw(16, 32, 1, vocab), chosen)
    loss, _ = mlm_loss(BERT(cfg).eval(), batch)
    assert abs(loss.item() - math.log(vocab)) <= 0.2


def test_dropout_acts_in_training_only():
    cfg = replace(TINY, dropout=0.3, attention_dropout=0.3)
    model, tokens = build(cfg=cfg), draw()
    assert torch.equal(model(tokens), model(tokens))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))


def losses(model, tokens):
    """Return a loss that uses every part of a model, positions up to the last included."""
    mask, segments = torch.ones_like(tokens, dtype=torch.bool), (torch.arange(tokens.shape[1]) > 5).long()
    segments = segments.expand_as(tokens).contiguous()
    if isinstance(model, BERTSpans):
        rows = torch.full((len(tokens),), 7)
        return span_loss(model, Spans(tokens, mask, segments, rows, rows + 1))[0]
    if isinstance(model, BERTClassifier):
        return torch.nn.functional.cross_entropy(model(tokens, mask, segments), torch.arange(len(tokens)) % 3)
    places = torch.tensor([1, 4]).expand(len(tokens), 2)
    batch = Masked(tokens, places, tokens.gather(1, places), torch.ones_like(places, dtype=torch.bool), mask, segments)
    return mlm_loss(model, batch)[0] + model.pool(model(tokens)).square().sum()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("cls", [BERT, BERTClassifier, BERTSpans])
def test_gradient_reaches_every_parameter(cls, tied):
    model = build(cls, replace(TINY, tied=tied, n_classes=3))
    losses(model, draw(8, 16)).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert [name for name in without if name != "ends.bias"] == []  # the softmax over places takes no notice of it


@pytest.mark.parametrize("cls", [BERTClassifier, BERTSpans])
def test_fine_tuned_model_learns_one_batch(cls):
    torch.manual_seed(0)
    model, tokens = cls(replace(TINY, n_classes=3)), draw(6, 12)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = losses(model, tokens)
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert loss.item() < 0.05


# The classifier and the spans


def test_classification_loss_is_the_mean_of_minus_log_p():
    model = build(BERTClassifier, replace(TINY, n_classes=3))
    tokens, labels = draw(), torch.tensor([2, 0, 1])
    log_p = model(tokens).log_softmax(1)
    loss, logs = classification_loss(model, (tokens, None, labels))
    torch.testing.assert_close(loss, -(log_p[0, 2] + log_p[1, 0] + log_p[2, 1]) / 3)
    hits = sum(int(log_p[i].argmax() == labels[i]) for i in range(3))
    assert logs["accuracy"].item() == pytest.approx(hits / 3)


def test_span_loss_is_the_mean_over_both_ends_among_places_of_the_passage():
    model, tokens = build(BERTSpans), draw(2, 10)
    mask = torch.arange(10) < torch.tensor([[10], [8]])
    segments = (torch.arange(10) >= 4).long().expand(2, 10).contiguous()
    starts, ends = torch.tensor([5, 4]), torch.tensor([9, 6])
    start, end = model(tokens, mask, segments)
    total = 0.0
    for logits, places in ((start, starts), (end, ends)):
        for row, last in ((0, 10), (1, 8)):
            total -= logits[row, 4:last].log_softmax(0)[places[row] - 4]
    loss, _ = span_loss(model, Spans(tokens, mask, segments, starts, ends))
    torch.testing.assert_close(loss, total / 4)


@pytest.mark.parametrize("longest", [1, 3, 30])
def test_best_spans_are_the_best_of_all_pairs_tried_one_by_one(longest):
    start, end = torch.randn(20, 9, generator=g()), torch.randn(20, 9, generator=g(1))
    allowed = torch.rand(20, 9, generator=g(2)) < 0.5
    allowed[:, 3] = True
    first, last = best_spans(start, end, allowed, longest)
    for row in range(20):
        pairs = [(a, b) for a in range(9) for b in range(a, min(9, a + longest)) if allowed[row, a] and allowed[row, b]]
        assert (first[row].item(), last[row].item()) == max(pairs, key=lambda p: start[row, p[0]] + end[row, p[1]])


@pytest.mark.parametrize("pooler", [True, False])
def test_fine_tuning_starts_from_the_encoder_of_the_pretrained_model(pooler):
    bert, tokens = build(cfg=replace(TINY, pooler=pooler)), draw()
    for model in (BERTClassifier.of(bert, 4, dropout=0.2), BERTSpans.of(bert)):
        assert torch.equal(model.eval().bert(tokens), bert(tokens)) and model.bert.head is None
        model.bert.tokens.weight.data.zero_()
    assert bert.tokens.weight.abs().max() > 0  # a copy
    classifier = BERTClassifier.of(bert, 4, dropout=0.2)
    assert classifier.drop.p == classifier.bert.drop.p == 0.2 and classifier(tokens).shape == (3, 4)
    if pooler:
        assert torch.equal(classifier.bert.pooler.weight, bert.pooler.weight)


def test_float16_logits_are_given_in_float32():
    assert build(dtype=torch.bfloat16).mlm_logits(torch.zeros(2, 16, dtype=torch.bfloat16)).dtype == torch.float32


# Bad input


@pytest.mark.parametrize("tokens, message", [
    (draw(1, 17), "a text of 17 tokens is longer than the 16 places of this BERT: cut it"),
    (draw().int(), r"tokens must be \(B, T\) int64, .* got \(3, 9\) torch.int32; encode the text"),
    (draw()[0], r"got \(9,\)"), (draw()[:0], r"at least one row and one token, got \(0, 9\)"),
    (draw()[:, :0], r"got \(3, 0\)"), (draw() + 37, r"tokens must be in \[0, 37\), got \d+; encode the text"),
    (draw() - 37, r"tokens must be in \[0, 37\), got -\d+"),
])  # fmt: skip
def test_tokens_that_do_not_fit_are_refused(tokens, message):
    with pytest.raises(ValueError, match=message):
        build()(tokens)


@pytest.mark.parametrize("mask, segments, message", [
    (torch.ones(3, 9), None, r"mask must be \(3, 9\) torch.bool, as the tokens, got \(3, 9\) torch.float32"),
    (torch.ones(3, 8, dtype=torch.bool), None, r"got \(3, 8\)"),
    (torch.arange(3)[:, None].expand(3, 9) != 1, None, "at least one token of each row; row 1 has none"),
    (None, torch.full((3, 9), 2), r"segments must be in \[0, 2\), got 2"),
    (None, torch.zeros(9, dtype=torch.int64), r"segments must be \(3, 9\) torch.int64, as the tokens, got \(9,\)"),
])  # fmt: skip
def test_mask_and_segments_that_do_not_fit_are_refused(mask, segments, message):
    with pytest.raises(ValueError, match=message):
        build()(draw(), mask, segments)


@pytest.mark.parametrize("changes, message", [
    ({"n_heads": 3}, "d_model must be a multiple of n_heads, got 16 and 3"),
    ({"vocab": 0, "n_layers": 0}, r"sizes must be at least 1, got \{'vocab': 0, 'n_layers': 0\}"),
    ({"dropout": 1.0}, r"shares dropped must be in \[0, 1\), got \{'dropout': 1.0\}"),
    ({"eps": 0.0}, "eps must be positive, got 0.0"),
])  # fmt: skip
def test_config_out_of_range_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        BERT(replace(TINY, **changes))


def test_parts_that_a_model_lacks_are_refused_by_name():
    bare = build(cfg=replace(TINY, mlm_head=False, pooler=False))
    with pytest.raises(ValueError, match=r"no masked-language-model head \(cfg.mlm_head is False\)"):
        bare.mlm_logits(torch.zeros(1, 16, dtype=torch.float64))
    with pytest.raises(ValueError, match="no pooler"):
        bare.pool(torch.zeros(1, 2, 16, dtype=torch.float64))
    with pytest.raises(ValueError, match="a classifier needs n_classes of at least 2, got 1"):
        BERTClassifier(replace(TINY, n_classes=1))
    with pytest.raises(ValueError, match="longest must be at least 1, got 0"):
        best_spans(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), 0)
