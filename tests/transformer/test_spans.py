"""Questions about passages as rows of tokens, and spans of tokens as text again."""

import pytest
import torch

from genai_utils.data import load
from genai_utils.data.wordpiece import WordPiece
from genai_utils.transformer.bert import BERTConfig, BERTSpans
from genai_utils.transformer.spans import answers, span_batch

PASSAGES = ("Ada lost her silver bell. At last she found it.", "Bo, a bear, slept.")
QUESTIONS = ("What did Ada lose?", "Who slept?")
ANSWERS = ("silver bell", "Bo")
STARTS, ENDS = (13, 0), (24, 2)


@pytest.fixture(scope="module")
def tokenizer():
    return WordPiece.of(" ".join(PASSAGES[:1] + QUESTIONS))  # of the second passage it spells out the words


def model_of(tokenizer, n_layers=1):
    torch.manual_seed(0)
    cfg = BERTConfig(
        vocab=tokenizer.vocab, length=64, n_layers=n_layers, n_heads=2, d_model=32, d_inner=32, dropout=0.0
    )
    return BERTSpans(cfg)


def test_rows_are_question_and_passage_between_their_marks(tokenizer):
    batch = span_batch(tokenizer, QUESTIONS, PASSAGES, STARTS, ENDS)
    for row, (question, passage) in enumerate(zip(QUESTIONS, PASSAGES)):
        tokens, segments = tokenizer.encode_pair(question, passage)
        n = len(tokens)
        assert torch.equal(batch.tokens[row, :n], tokens) and torch.equal(batch.segments[row, :n], segments)
        assert batch.mask[row, :n].all() and not batch.mask[row, n:].any()
        assert (batch.tokens[row, n:] == tokenizer.pad).all()


def test_places_of_an_answer_are_those_of_its_tokens(tokenizer):
    batch = span_batch(tokenizer, QUESTIONS, PASSAGES, STARTS, ENDS)
    for row, answer in enumerate(ANSWERS):
        within = batch.tokens[row, batch.starts[row] : batch.ends[row] + 1]
        assert torch.equal(within, tokenizer.encode(answer)) and batch.allowed[row, batch.starts[row]]
    assert batch.ends[1] - batch.starts[1] == 1  # spelt out: two tokens


def test_places_of_every_answer_about_tales_give_its_words():
    data = load("tale_questions", n=60)
    tokenizer = WordPiece.of(" ".join(data.stories + data.questions))
    batch = span_batch(tokenizer, data.questions, data.stories, data.starts, data.ends)
    for row, answer in enumerate(data.answers):
        assert tokenizer.decode(batch.tokens[row, batch.starts[row] : batch.ends[row] + 1]) == answer.lower()


def test_answers_are_cut_from_the_passage_as_it_is_written(tokenizer):
    """A model whose logits are set by hand: the span found is given in the passage's own letters."""
    batch = span_batch(tokenizer, QUESTIONS, PASSAGES, STARTS, ENDS)

    class Knowing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, tokens, mask, segments):
            at = torch.arange(tokens.shape[1])
            return tuple(9.0 * (at == place[: len(tokens), None]) for place in (batch.starts, batch.ends))

    assert answers(Knowing(), tokenizer, QUESTIONS, PASSAGES) == list(ANSWERS)


def test_answers_never_leave_the_passage_and_do_not_depend_on_the_size_of_batches(tokenizer):
    model = model_of(tokenizer, n_layers=2).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.5 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    found = answers(model, tokenizer, QUESTIONS * 3, PASSAGES * 3, size=6)
    assert found == answers(model, tokenizer, QUESTIONS * 3, PASSAGES * 3, size=1)
    assert all(text and text in passage for text, passage in zip(found, PASSAGES * 3))
    short = answers(model, tokenizer, QUESTIONS, PASSAGES, longest=1)
    assert all(len(tokenizer.encode(text)) == 1 or len(text) == 1 for text in short)


def test_sides_of_unequal_length_and_spans_without_a_token_are_refused(tokenizer):
    with pytest.raises(ValueError, match=r"must be equally many, got \[2, 2, 1, 2\]"):
        span_batch(tokenizer, QUESTIONS, PASSAGES, STARTS[:1], ENDS)
    with pytest.raises(ValueError, match=r"item 1: no token of the passage stands within \[3, 4\)"):
        span_batch(tokenizer, QUESTIONS, PASSAGES, (13, 3), (24, 4))
    with pytest.raises(ValueError, match="must be equally many, got 2 and 1"):
        answers(model_of(tokenizer), tokenizer, QUESTIONS, PASSAGES[:1])
