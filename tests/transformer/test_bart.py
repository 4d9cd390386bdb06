"""What is BART's alone: positions. The laws that it shares with T5 are in test_seq2seq.py."""

import pytest
import torch

from genai_utils.transformer.bart import BART, OFFSET, PRESETS, BARTConfig

CFG = BARTConfig(vocab=17, context=10, d_model=12, d_ff=16, n_layers=2, n_decoder_layers=2, n_heads=3)


def test_first_two_rows_of_the_positions_are_never_read():
    torch.manual_seed(0)
    model = BART(CFG).eval()
    source, tokens = torch.randint(3, 17, (2, 10)), torch.randint(3, 17, (2, 10))
    before = model(source, tokens)
    for stack in (model.encoder, model.decoder):
        stack.positions.weight.data[:OFFSET] = 9.0
    assert torch.equal(model(source, tokens), before)
    model.encoder.positions.weight.data[OFFSET] = 9.0
    assert not torch.equal(model(source, tokens), before)


def test_shuffled_source_gives_the_shuffled_memory_only_without_positions():
    torch.manual_seed(0)
    model = BART(CFG).double().eval()
    source, order = torch.randint(3, 17, (2, 9)), torch.randperm(9)
    assert not torch.allclose(model.encode(source[:, order]), model.encode(source)[:, order])
    model.encoder.positions.weight.data.zero_()
    torch.testing.assert_close(model.encode(source[:, order]), model.encode(source)[:, order], rtol=0, atol=1e-12)


def test_bias_of_the_logits_is_added_and_not_trained():
    model = BART(CFG).eval()
    source = torch.randint(3, 17, (2, 9))
    before = model(source, source)
    model.logits_bias += torch.arange(17.0)
    torch.testing.assert_close(model(source, source), before + torch.arange(17.0))
    assert "logits_bias" in model.state_dict() and "logits_bias" not in dict(model.named_parameters())


def test_presets_have_the_published_numbers_of_parameters():
    with torch.device("meta"):
        sizes = {name: sum(p.numel() for p in BART(cfg).parameters()) for name, cfg in PRESETS.items()}
    assert sizes["bart-base"] == 139_420_416 and sizes["bart-large"] == 406_291_456


@pytest.mark.parametrize("call, message", [
    (lambda: BART(CFG)(torch.ones(1, 11).long(), torch.ones(1, 3).long()), "source take 11 places, more than .* 10"),
    (lambda: BART(CFG)(torch.ones(1, 3).long(), torch.ones(1, 11).long()), "tokens take 11 places"),
    (lambda: BART(BARTConfig(**{**vars(CFG), "n_heads": 5})), "d_model must be a multiple of n_heads, got 12 and 5"),
    (lambda: BART(BARTConfig(**{**vars(CFG), "n_heads": 13})), "sizes must be at least 1, got {'d_head': 0}"),
    (lambda: BART(BARTConfig(**{**vars(CFG), "context": 0})), "context >= 1"),
])  # fmt: skip
def test_bad_input_is_refused_by_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()
