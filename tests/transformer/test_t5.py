"""What is T5's alone: biases by distance. The laws that it shares with BART are in test_seq2seq.py."""

import pytest
import torch

from genai_utils.transformer.t5 import PRESETS, T5, DistanceBias, T5Config, distance_buckets

CFG = T5Config(vocab=17, d_model=12, d_head=5, d_ff=16, n_layers=2, n_decoder_layers=2, n_heads=3)


def test_near_distances_have_buckets_of_their_own_and_far_ones_share_the_last():
    past = -torch.arange(400)
    one_side, both = distance_buckets(past, 32, 128, False), distance_buckets(past, 32, 128, True)
    assert one_side[:16].tolist() == list(range(16)) and (one_side[128:] == 31).all() and one_side[127] == 31
    assert both[:8].tolist() == list(range(8)) and (both[128:] == 15).all()
    assert (one_side.diff() >= 0).all() and (both.diff() >= 0).all()


def test_later_keys_have_the_other_half_of_the_buckets():
    later = torch.arange(1, 300)
    assert torch.equal(distance_buckets(later, 32, 128, True), 16 + distance_buckets(-later, 32, 128, True))
    assert (distance_buckets(later, 32, 128, False) == 0).all()


@pytest.mark.parametrize("both", [True, False])
def test_bias_of_windows_equals_one_lookup_for_each_pair(both):
    bias = DistanceBias(CFG, both_sides=both)
    torch.nn.init.normal_(bias.weight)
    i, j = torch.arange(70)[:, None], torch.arange(70)[None]
    naive = bias.weight[distance_buckets(j - i, CFG.n_buckets, CFG.max_distance, both)].permute(2, 0, 1)[None]
    assert torch.equal(bias(70), naive)


def test_every_layer_adds_the_bias_and_moving_a_text_changes_nothing():
    """Only distances count: the memory of a text after padding is that of the text."""
    torch.manual_seed(0)
    model = T5(CFG).double().eval()
    source = torch.randint(2, 17, (1, 8))
    moved = torch.cat([torch.zeros(1, 5, dtype=torch.int64), source], dim=1)
    mask = torch.arange(13)[None] >= 5
    torch.testing.assert_close(model.encode(moved, mask)[:, 5:], model.encode(source), rtol=0, atol=1e-12)


def test_shuffled_source_gives_the_shuffled_memory_only_without_the_bias():
    torch.manual_seed(0)
    model = T5(CFG).double().eval()
    source, order = torch.randint(2, 17, (2, 9)), torch.randperm(9)
    assert not torch.allclose(model.encode(source[:, order]), model.encode(source)[:, order])
    model.encoder.bias.weight.data.zero_()
    torch.testing.assert_close(model.encode(source[:, order]), model.encode(source)[:, order], rtol=0, atol=1e-12)


def test_presets_have_the_published_numbers_of_parameters():
    with torch.device("meta"):
        sizes = {name: sum(p.numel() for p in T5(cfg).parameters()) for name, cfg in PRESETS.items()}
    assert sizes["t5-small"] == 60_506_624 and sizes["t5-base"] == 222_903_552 and sizes["t5-1.1-small"] == 76_961_152


@pytest.mark.parametrize("changes", [{"n_buckets": 7}, {"n_buckets": 2}, {"max_distance": 16}])
def test_buckets_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match="n_buckets must be even and at least 4"):
        T5(T5Config(**{**vars(CFG), **changes}))
