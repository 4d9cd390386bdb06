"""Beam search on a model whose best answers are known: a table of probabilities of the next token."""

import itertools

import pytest
import torch

from genai_utils.transformer.beam import beam_search, beam_steps

END = 0


class Table:
    """A decoding state: logits (B, V) of the next token are a row's table at its last token; it counts its reads."""

    def __init__(self, log_probs):
        self.tables, self.rows = log_probs, torch.arange(len(log_probs))  # (B, V, V)
        self.read = 0

    def step(self, tokens):
        assert len(tokens) == len(self.rows)
        self.read += tokens.shape[1]
        return self.tables[self.rows, tokens[:, -1]]

    def reorder(self, rows):
        self.rows = self.rows[rows]


def table(seed=0, n=3, vocab=8):
    logits = 2 * torch.randn(n, vocab, vocab, generator=torch.Generator().manual_seed(seed))
    return logits.log_softmax(2)


def start(n=3):
    return torch.ones(n, 1, dtype=torch.int64)


def log_prob(log_probs, answer):
    path = [1, *answer]
    return sum(log_probs[a, b].item() for a, b in zip(path, path[1:]))


def best_by_hand(log_probs, length, penalty):
    """Return the best of all answers that end within `length`, or fill it, by trying every one."""
    vocab, found = len(log_probs), []
    for n in range(1, length + 1):
        for answer in itertools.product(range(1, vocab), repeat=n - 1):
            found += [(*answer, last) for last in (range(vocab) if n == length else [END])]
    return max(found, key=lambda answer: log_prob(log_probs, answer) / len(answer) ** penalty)


def cut(row):
    return tuple(row.tolist()[: row.tolist().index(END) + 1] if END in row else row.tolist())


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_beams_as_many_as_there_are_beginnings_find_the_best_of_all_answers(penalty):
    log_probs = table(vocab=130)[:, :, :]
    small = log_probs.clone()
    small[:, :, 5:] = -1e4  # five tokens matter; the others make room for 64 beams
    small = small.log_softmax(2)
    answers, scores = beam_search(
        Table(small), start(), 64, 3, end=END, length_penalty=penalty, early_stopping="never")  # fmt: skip
    for b in range(3):
        best = best_by_hand(small[b, :5, :5], 3, penalty)
        assert cut(answers[b]) == best
        assert scores[b].item() == pytest.approx(log_prob(small[b], best) / len(best) ** penalty, abs=1e-5)


def test_one_beam_takes_the_likeliest_token_each_time():
    log_probs = table()
    answers, _ = beam_search(Table(log_probs), start(), 1, 10, end=END)
    for b in range(3):
        expected, last = [], 1
        while len(expected) < 10 and (not expected or last != END):
            last = int(log_probs[b, last].argmax())
            expected.append(last)
        assert cut(answers[b]) == tuple(expected)


def test_more_beams_never_find_a_less_likely_answer_here():
    greedy, four = (beam_search(Table(table(1)), start(), k, 6, end=END, length_penalty=0.0)[1] for k in (1, 4))
    assert (four >= greedy - 1e-6).all() and (four > greedy + 1e-6).any()


def test_scores_are_those_of_the_answers():
    log_probs = table(2)
    answers, scores = beam_search(Table(log_probs), start(), 3, 7, end=END, length_penalty=0.7)
    for b, row in enumerate(answers):
        answer = cut(row)
        assert scores[b].item() == pytest.approx(log_prob(log_probs[b], answer) / len(answer) ** 0.7, abs=1e-5)


def test_each_row_is_answered_as_if_it_were_alone():
    log_probs = table(3)
    together, _ = beam_search(Table(log_probs), start(), 3, 8, end=END)
    for b in range(3):
        alone, _ = beam_search(Table(log_probs[b : b + 1]), start(1), 3, 8, end=END)
        assert cut(together[b]) == cut(alone[0])


def test_steps_show_sorted_beams_that_extend_their_parents():
    log_probs, before = table(4), None
    for step in beam_steps(Table(log_probs), start(), 3, 6, end=END):
        assert (step.log_probs.diff(dim=1) <= 0).all() and (step.scores.diff(dim=1) <= 0).all()
        if before is not None:
            extended = before.tokens.gather(1, step.parents[:, :, None].expand(-1, -1, before.tokens.shape[2]))
            assert torch.equal(step.tokens[:, :, :-1], extended)
        for b, k in itertools.product(range(3), range(3)):
            if step.log_probs[b, k] > -1e8:
                total = log_prob(log_probs[b], step.tokens[b, k].tolist())
                assert step.log_probs[b, k].item() == pytest.approx(total, abs=1e-4)
        before = step


def test_no_more_tokens_are_read_than_needed():
    state = Table(table())
    list(beam_steps(state, start(), 2, 5, end=END, early_stopping="never"))
    assert state.read <= 5


@pytest.mark.parametrize("changes, message", [
    ({"beams": 0}, "beams=0"), ({"length": 0}, "length=0"), ({"early_stopping": "soon"}, "early_stopping='soon'"),
    ({"length_penalty": float("nan")}, "length_penalty=nan"), ({"end": 8}, r"end in \[0, 8\).* got end=8"),
    ({"beams": 5}, "at most 4 beams, got end=0, beams=5"),
    ({"start": torch.ones(3, 0, dtype=torch.int64)}, r"\(3, 0\)"),
    ({"start": torch.ones(3, 1)}, r"start must be \(B, T0\) int64"),
])  # fmt: skip
def test_bad_input_is_refused_by_value(changes, message):
    args = {"start": start(), "beams": 2, "length": 4, "end": END} | changes
    with pytest.raises(ValueError, match=message):
        beam_search(Table(table()), args.pop("start"), args.pop("beams"), args.pop("length"), **args)
