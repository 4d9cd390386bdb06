"""Laws that T5 and BART share: who sees what, padding, caches, the loss, learning, and what they refuse."""

import math
import pytest
import torch

from genai_utils.nn import attention_maps
from genai_utils.transformer.bart import BART, BARTConfig
from genai_utils.transformer.seq2seq import log_prob, seq2seq_loss, shift_right
from genai_utils.transformer.t5 import T5, T5Config

SIZES = {"vocab": 17, "d_model": 12, "d_ff": 16, "n_layers": 2, "n_decoder_layers": 3, "n_heads": 2}
MODELS = {
    "t5": (T5, T5Config(**SIZES, d_head=5, n_buckets=8, max_distance=20)),
    "t5 gated": (T5, T5Config(**SIZES, d_head=5, gated=True, tied=False, scaled=False)),
    "bart": (BART, BARTConfig(**SIZES, context=40, scale_embed=True)),
    "bart untied": (BART, BARTConfig(**SIZES, context=40, tied=False)),
}


@pytest.fixture(params=MODELS)
def model(request):
    cls, cfg = MODELS[request.param]
    torch.manual_seed(0)
    model = cls(cfg).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model


def batch(pad):
    g = torch.Generator().manual_seed(1)
    source, targets = torch.randint(3, 17, (3, 9), generator=g), torch.randint(3, 17, (3, 7), generator=g)
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[1, 6:], mask[2, 3:] = False, False
    targets[0, 4:], targets[2, 6:] = pad, pad
    return source.masked_fill(~mask, pad), mask, targets


def test_logits_have_a_row_for_each_token(model):
    source, mask, targets = batch(model.cfg.pad)
    assert model(source, targets, mask).shape == (3, 7, 17)
    assert model.encode(source, mask).shape == (3, 9, 12)


def test_decoder_sees_no_later_token_and_every_earlier_one(model):
    source, mask, tokens = batch(model.cfg.pad)
    before = model(source, tokens, mask)
    for i in range(7):
        changed = tokens.clone()
        changed[:, i] = (changed[:, i] + 5) % 17
        after = model(source, changed, mask)
        assert torch.equal(after[:, :i], before[:, :i])
        assert ((after[:, i:] - before[:, i:]).abs().amax(2) > 1e-9).all()


def test_encoder_sees_both_sides(model):
    source, _, _ = batch(model.cfg.pad)
    source = source.clamp(min=3)
    before = model.encode(source)
    for i in (0, 4, 8):
        changed = source.clone()
        changed[:, i] = 3 + (changed[:, i] - 2) % 14
        assert ((model.encode(changed) - before).abs().amax(2) > 1e-9).all()


def test_padding_changes_nothing(model):
    source, mask, targets = batch(model.cfg.pad)
    together = model(source, targets, mask)
    other = model(source.masked_fill(~mask, 9), targets, mask)  # whatever the padding is
    torch.testing.assert_close(other, together, rtol=0, atol=1e-12)
    for b, length in enumerate(mask.sum(1).tolist()):
        alone = model(source[b : b + 1, :length], targets[b : b + 1])
        torch.testing.assert_close(together[b : b + 1], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("chunks", [[1] * 7, [3, 4], [2, 1, 4]])
def test_cached_decoding_equals_full_decoding(model, chunks):
    source, mask, tokens = batch(model.cfg.pad)
    full = model(source, tokens, mask)
    state = model.decoding(source, mask, length=7)
    read = 0
    for part in tokens.split(chunks, dim=1):
        read += part.shape[1]
        torch.testing.assert_close(state.step(part), full[:, read - 1], rtol=0, atol=1e-12)
    memory = model.encode(source, mask)
    cache = model.cache(memory, 7)
    parts = [model.decode(part, None, mask, cache) for part in tokens.split(chunks, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), full, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rows", [[2, 0, 1], [0, 0, 2], [0, 0, 1, 1, 2, 2], [1]])
def test_reordered_state_goes_on_from_the_rows_it_was_given(model, rows):
    source, mask, tokens = batch(model.cfg.pad)
    state, rows = model.decoding(source, mask, length=7), torch.tensor(rows)
    state.step(tokens[:, :4])
    state.reorder(rows)
    following = tokens[rows, 4:5]
    expected = model(source[rows], torch.cat([tokens[rows, :4], following], dim=1), mask[rows])[:, -1]
    torch.testing.assert_close(state.step(following), expected, rtol=0, atol=1e-12)


def test_attention_maps_sum_to_one_and_change_no_logit(model):
    source, mask, tokens = batch(model.cfg.pad)
    fast = model(source, tokens, mask)
    with attention_maps(model) as maps:
        slow = model(source, tokens, mask)
    torch.testing.assert_close(slow, fast, rtol=0, atol=1e-12)
    assert len(maps) == 2 + 3 + 3
    for name, (weights,) in maps.items():
        torch.testing.assert_close(weights.sum(3), torch.ones(weights.shape[:3], dtype=weights.dtype))
        if "decoder" in name and "cross" not in name:
            assert (weights.triu(1) == 0).all()
        else:
            assert (weights.masked_select(~mask[:, None, None].expand_as(weights)) == 0).all()


def test_loss_equals_the_naive_sum(model):
    source, mask, targets = batch(model.cfg.pad)
    total, count = 0.0, 0
    for b in range(3):
        for i in range(7):
            if targets[b, i] != model.cfg.pad:
                so_far = torch.cat([torch.tensor([model.cfg.start]), targets[b, :i]])[None]
                logits = model(source[b : b + 1], so_far, mask[b : b + 1])[0, -1]
                total, count = total - logits.log_softmax(0)[targets[b, i]], count + 1
    loss, logs = seq2seq_loss(model, (source, mask, targets))
    torch.testing.assert_close(loss, total / count)
    torch.testing.assert_close(-log_prob(model, (source, mask, targets)).sum(), total)
    assert logs["nll"] == loss and 0 <= logs["right"] <= 1


def test_shift_right_begins_with_the_start_and_drops_the_last():
    assert shift_right(torch.tensor([[5, 6, 7]]), 2).tolist() == [[2, 5, 6]]


def test_gradient_reaches_every_parameter(model):
    source, mask, targets = batch(model.cfg.pad)
    seq2seq_loss(model, (source, mask, targets))[0].backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_model_learns_one_batch(name):
    cls, cfg = MODELS[name]
    torch.manual_seed(0)
    model = cls(cfg)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-2)
    data = batch(cfg.pad)
    for _ in range(160):
        loss, logs = seq2seq_loss(model, data)
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert loss < 0.2 and logs["right"] == 1.0


@pytest.mark.parametrize("name", ["bart", "bart untied"])
def test_untrained_bart_knows_nothing(name):  # T5's tied head, of unit size, begins by repeating what it reads
    cls, cfg = MODELS[name]
    torch.manual_seed(0)
    loss, _ = seq2seq_loss(cls(cfg).eval(), batch(cfg.pad))
    assert loss.item() == pytest.approx(math.log(cfg.vocab), abs=0.2)


def test_dropout_acts_in_training_only(model):
    cfg = type(model.cfg)(**{**vars(model.cfg), "dropout": 0.5})
    noisy = type(model)(cfg).double()
    source, mask, targets = batch(cfg.pad)
    assert not torch.equal(noisy(source, targets, mask), noisy(source, targets, mask))
    noisy.eval()
    assert torch.equal(noisy(source, targets, mask), noisy(source, targets, mask))


def test_bad_input_is_refused_by_value(model):
    source, mask, targets = batch(model.cfg.pad)
    for call, message in (
        (lambda: model(source + 17, targets), r"source must be in \[0, 17\), got"),
        (lambda: model(source, targets - 17), r"tokens must be in \[0, 17\), got -"),
        (lambda: model(source[:0], targets[:0]), r"source must be \(B, T\) int64 with at least one row .*\(0, 9\)"),
        (lambda: model(source.float(), targets), "torch.float32"),
        (lambda: model(source, targets, mask.long()), r"mask must be \(3, 9\) bool"),
        (lambda: model(source, targets, mask[:, :5]), r"got \(3, 5\) torch.bool"),
        (lambda: model(source, targets, mask & False), "source 0 is all padding"),
        (lambda: seq2seq_loss(model, (source, mask, targets * 0 + model.cfg.pad)), "every target is padding"),
        (lambda: seq2seq_loss(model, (source, mask, targets[:2])), "a row for each of the 3 sources, got 2"),
        (lambda: model.decoding(source, mask, length=0), "length=0"),
        (lambda: model.decoding(source, mask, length=3).step(targets[:, :4]), "places|room"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_decoding_refuses_the_masks_that_encoding_refuses(model):
    source, mask, targets = batch(model.cfg.pad)
    memory = model.encode(source, mask)
    for cache in (None, model.cache(memory, 9)):
        for wrong, message in (
            (mask.float(), r"mask must be \(3, 9\) bool, .* got \(3, 9\) torch.float32"),
            (mask[:, :5], r"got \(3, 5\) torch.bool"), (mask & False, "source 0 is all padding"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=message):
                model.decode(targets, memory if cache is None else None, wrong, cache)


@pytest.mark.parametrize("name", ["t5", "bart"])
@pytest.mark.parametrize("changes, message", [
    ({"n_layers": 0}, "sizes must be at least 1, got {'n_layers': 0}"), ({"end": 17}, "got {'end': 17}"),
    ({"n_heads": 0}, "sizes must be at least 1, got {'n_heads': 0}"),
    ({"pad": 3, "end": 3}, "pad and end must be two tokens"),
    ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
])  # fmt: skip
def test_bad_config_is_refused_by_value(name, changes, message):
    cls, cfg = MODELS[name]
    with pytest.raises(ValueError, match=message):
        cls(type(cfg)(**{**vars(cfg), **changes}))
