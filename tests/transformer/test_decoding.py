"""Choosing the next token, for any model that says what may come: here one that is a table."""

import pytest
import torch

from genai_utils.transformer.decoding import sample_tokens, warp_logits, write_tokens


class Table:
    """A `DecodingState` whose next token depends on the last one only: log-odds (V, V); it notes what it was given."""

    def __init__(self, table):
        self.table, self.read = table, []

    def step(self, tokens):
        self.read.append(tokens)
        return self.table[tokens[:, -1]]

    def reorder(self, rows):
        raise AssertionError("sampling does not reorder")


def table(vocab=6, seed=0):
    return 2 * torch.randn(vocab, vocab, generator=torch.Generator().manual_seed(seed))


def kept(logits, **how):
    return (warp_logits(torch.tensor([logits]), **how)[0] > -torch.inf).tolist()


PROBABILITIES = [0.1, 0.4, 0.2, 0.3]
LOGITS = torch.tensor(PROBABILITIES).log().tolist()


@pytest.mark.parametrize("k, wanted", [(1, "0100"), (2, "0101"), (3, "0111"), (4, "1111"), (9, "1111")])
def test_top_k_keeps_the_k_likeliest(k, wanted):
    assert kept(LOGITS, top_k=k) == [c == "1" for c in wanted]


def test_top_k_keeps_what_is_as_likely_as_the_last_of_them():
    assert kept([1.0, 2.0, 1.0, 0.0], top_k=2) == [True, True, True, False]


@pytest.mark.parametrize("p, wanted", [
    (1e-9, "0100"), (0.39, "0100"), (0.41, "0101"), (0.69, "0101"), (0.71, "0111"), (0.89, "0111"), (0.91, "1111"),
    (1.0, "1111"),
])  # fmt: skip
def test_top_p_keeps_the_fewest_tokens_that_hold_the_share(p, wanted):
    assert kept(LOGITS, top_p=p) == [c == "1" for c in wanted]


def test_top_p_works_on_what_temperature_and_top_k_left():
    # at temperature 0.5 the odds are 1, 16, 4, 9; the two likeliest hold 0.64 and 0.36 of each other
    assert kept(LOGITS, temperature=0.5, top_k=2, top_p=0.63) == [False, True, False, False]
    assert kept(LOGITS, temperature=0.5, top_k=2, top_p=0.65) == [False, True, False, True]
    assert kept(LOGITS, top_p=0.5, temperature=0.5) == [False, True, False, False]  # 16 of 30
    assert kept(LOGITS, top_p=0.5) == [False, True, False, True]


def test_temperature_divides_and_penalty_divides_or_multiplies():
    logits, seen = torch.tensor([[2.0, -1.0, 3.0, -4.0]]), torch.tensor([[0, 3, 0]])
    assert warp_logits(logits, temperature=4.0).tolist() == [[0.5, -0.25, 0.75, -1.0]]
    assert warp_logits(logits, repetition_penalty=2.0, seen=seen).tolist() == [[1.0, -1.0, 3.0, -8.0]]
    assert warp_logits(logits).equal(logits) and logits.tolist() == [[2.0, -1.0, 3.0, -4.0]]  # not in place


def test_sampling_reads_the_prompt_at_once_and_then_only_what_is_new():
    state, prompt = Table(table()), torch.tensor([[1, 2, 3], [0, 0, 5]])
    rows = [tokens for tokens, _ in sample_tokens(state, prompt, 4, generator=torch.Generator().manual_seed(0))]
    assert torch.equal(state.read[0], prompt)
    assert [tuple(t.shape) for t in state.read] == [(2, 3), (2, 1), (2, 1), (2, 1)]
    assert all(torch.equal(read[:, 0], drawn) for read, drawn in zip(state.read[1:], rows))


def test_sampling_repeats_with_the_generator_and_differs_with_another():
    def text(seed):
        g = torch.Generator().manual_seed(seed)
        return write_tokens(Table(table()), torch.tensor([[1]]), 30, generator=g)

    assert torch.equal(text(0), text(0)) and not torch.equal(text(0), text(1)) and text(0).shape == (1, 31)


def test_temperature_zero_takes_the_likeliest_after_the_penalty():
    logits = table()
    written = write_tokens(Table(logits), torch.tensor([[2], [4]]), 5, temperature=0)
    for row in written:
        assert all(after == logits[before].argmax() for before, after in zip(row, row[1:]))
    flat = torch.tensor([[3.0, 2.0, 1.0]]).expand(3, 3)  # whatever was last; each penalty takes the next best
    assert write_tokens(Table(flat), torch.tensor([[0]]), 3, temperature=0, repetition_penalty=10.0).tolist() == [
        [0, 1, 2, 0]
    ]  # all three seen: 0.3 is the largest again


def test_drawn_tokens_follow_the_warped_distribution():
    """Frequencies over n independent rows, within 4 standard errors of the probabilities."""
    n, how = 20_000, {"temperature": 1.5, "top_k": 4, "top_p": 0.9}
    logits = table()
    p = warp_logits(logits[1:2], **how).softmax(-1)[0]
    prompt = torch.ones(n, 1, dtype=torch.int64)
    ((tokens, log_probs),) = sample_tokens(Table(logits), prompt, 1, generator=torch.Generator().manual_seed(0), **how)
    share = torch.bincount(tokens, minlength=6) / n
    assert 2 <= (p > 0).sum() < 6 and (share[p == 0] == 0).all()
    assert ((share - p).abs() <= 4 * (p * (1 - p) / n).sqrt()).all()
    torch.testing.assert_close(log_probs[0], logits[1].log_softmax(0))  # the model's own


def test_rows_that_ended_stay_at_the_end_and_sampling_stops_when_all_have():
    cycle = torch.full((5, 5), -torch.inf)
    for k in range(5):
        cycle[k, (k + 1) % 5] = 0.0
    written = write_tokens(Table(cycle), torch.tensor([[0], [2]]), 50, end=4)
    assert written.tolist() == [[0, 1, 2, 3, 4], [2, 3, 4, 4, 4]]
    assert write_tokens(Table(cycle), torch.tensor([[4]]), 3, end=4).tolist() == [[4, 0, 1, 2]]  # of the prompt: no end


def test_sampling_leaves_no_graph_and_the_global_generator_alone():
    logits = table().requires_grad_()
    before = torch.get_rng_state()
    ((_, log_probs),) = sample_tokens(Table(logits), torch.tensor([[1]]), 1, generator=torch.Generator())
    assert not log_probs.requires_grad and torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("how, message", [
    ({"temperature": -1.0}, "temperature must be finite and >= 0, got -1.0"),
    ({"temperature": float("nan")}, "temperature must be finite and >= 0, got nan"),
    ({"top_k": 0}, "top_k must be at least 1, or None for all tokens, got 0"),
    ({"top_p": 0.0}, r"top_p must be in \(0, 1\], or None for all tokens, got 0.0"),
    ({"top_p": 1.5}, "got 1.5"), ({"repetition_penalty": 0.0}, "repetition_penalty must be finite and > 0, got 0.0"),
])  # fmt: skip
def test_choosing_refuses_values_out_of_range(how, message):
    with pytest.raises(ValueError, match=message):
        warp_logits(table(), **how)
    with pytest.raises(ValueError, match=message):
        next(sample_tokens(Table(table()), torch.tensor([[1]]), 1, **how))


def test_warping_refuses_temperature_zero_and_a_penalty_on_nothing():
    with pytest.raises(ValueError, match="temperature must be > 0, got 0; for the likeliest"):
        warp_logits(table(), temperature=0.0)
    with pytest.raises(ValueError, match="repetition_penalty of 1.2 needs the tokens that were seen"):
        warp_logits(table(), repetition_penalty=1.2)


@pytest.mark.parametrize("prompt, steps, message", [
    (torch.zeros(1, 0, dtype=torch.int64), 1, r"at least one row and one token, got \(1, 0\)"),
    (torch.zeros(0, 1, dtype=torch.int64), 1, r"got \(0, 1\)"), (torch.zeros(3, dtype=torch.int64), 1, r"got \(3,\)"),
    (torch.zeros(1, 1), 1, "torch.float32"), (torch.zeros(1, 1, dtype=torch.int64), 0, "steps must be at least 1"),
])  # fmt: skip
def test_sampling_refuses_an_empty_prompt_and_no_steps(prompt, steps, message):
    with pytest.raises(ValueError, match=message):
        next(sample_tokens(Table(table()), prompt, steps))
