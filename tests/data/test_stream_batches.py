"""StreamBatches: strips read side by side and in order, targets one on, exact resume, and refusals."""

import json

import pytest
import torch

from genai_utils.data import StreamBatches


@pytest.mark.parametrize(("n", "size", "length"), [(101, 4, 5), (100, 4, 5), (97, 3, 7), (13, 1, 12), (50, 7, 1)])
def test_stream_batches_go_on_in_every_row_where_the_last_batch_ended(n, size, length):
    stream = torch.randperm(n, generator=torch.Generator().manual_seed(0))  # so that a token tells its place
    batches = StreamBatches(stream, size, length)
    steps = (n - 1) // (size * length)
    rows = [next(batches) for _ in range(steps)]
    assert all(tokens.shape == targets.shape == (size, length) for tokens, targets, _ in rows)
    tokens, targets = (torch.cat([row[k] for row in rows], 1) for k in (0, 1))  # (B, steps T): the strips
    assert torch.equal(tokens.flatten(), stream[: tokens.numel()])  # strip after strip, each token once
    assert torch.equal(targets.flatten(), stream[1 : tokens.numel() + 1])
    assert n - 1 - tokens.numel() < size * length  # no whole batch is left out


def test_stream_batches_say_when_the_strips_start_again():
    batches = StreamBatches(torch.arange(41), 2, 5)  # 4 batches in a pass
    seen = [next(batches) for _ in range(10)]
    assert [fresh for _, _, fresh in seen] == [True, False, False, False, True, False, False, False, True, False]
    assert all(isinstance(fresh, bool) for _, _, fresh in seen)
    for a, b in zip(seen, seen[4:]):
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


def test_stream_batches_of_one_batch_are_fresh_every_time():
    batches = StreamBatches(torch.arange(11), 2, 5)
    assert [next(batches)[2] for _ in range(3)] == [True, True, True]


@pytest.mark.parametrize("done", [0, 1, 3, 4, 5, 8, 11])
def test_stream_batches_resume_exactly_after_any_number(done):
    first = StreamBatches(torch.arange(41), 2, 5)
    for _ in range(done):
        next(first)
    state = json.loads(json.dumps(first.state_dict()))
    assert state["epoch"] == max(0, done - 1) // 4  # passes that are over, of 4 batches each
    resumed = StreamBatches(torch.arange(41), 2, 5)
    for _ in range(3):
        next(resumed)  # a used iterator is put right, too
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    for _ in range(9):
        (a, b, fresh), (c, d, again) = next(first), next(resumed)
        assert torch.equal(a, c) and torch.equal(b, d) and fresh == again


def test_stream_batches_refuse_the_state_of_others():
    state = StreamBatches(torch.arange(41), 2, 5).state_dict()
    for other in (StreamBatches(torch.arange(42), 2, 5), StreamBatches(torch.arange(41), 1, 5)):
        with pytest.raises(ValueError, match="other batches"):
            other.load_state_dict(state)
    with pytest.raises(ValueError, match="other batches"):
        StreamBatches(torch.arange(41), 2, 6).load_state_dict(state)


def test_stream_batches_need_one_token_more_than_a_batch_holds():
    next(StreamBatches(torch.arange(11), 2, 5))
    with pytest.raises(ValueError, match="size 2 times length 5 must be less than the 10 tokens"):
        StreamBatches(torch.arange(10), 2, 5)


def test_stream_batches_refuse_bad_input():
    with pytest.raises(ValueError, match="float32; encode"):
        StreamBatches(torch.rand(50), 2, 5)
    with pytest.raises(ValueError, match=r"\(5, 10\) torch.int64"):
        StreamBatches(torch.arange(50).view(5, 10), 2, 5)
    with pytest.raises(ValueError, match="got str"):
        StreamBatches("a text", 1, 2)
    for size, length, said in ((0, 5, "size must .* got 0"), (2, -1, "length must .* got -1"), (2.0, 5, "got 2.0")):
        with pytest.raises(ValueError, match=said):
            StreamBatches(torch.arange(50), size, length)
