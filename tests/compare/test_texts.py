"""Language models under the protocol: judged against the grammar that wrote the stories."""

import math

import pytest
import torch
from torch import nn

from genai_utils.compare import PRESETS, train
from genai_utils.compare.texts import (
    WINDOW,
    GPTContestant,
    LSTMContestant,
    Stories,
    judge_text,
    log_probs,
    remembers,
    write_stories,
)

KINDS = {"lstm": LSTMContestant, "gpt": GPTContestant}


@pytest.fixture(scope="module")
def stories():
    return Stories()


@pytest.mark.parametrize("name", KINDS)
def test_parameters_are_within_five_percent(name):
    assert abs(KINDS[name](PRESETS["embedded"]).parameters / 100_000 - 1) <= 0.05


def test_every_window_begins_where_a_story_does(stories):
    tokens, targets = next(stories.batches(8, seed=0))
    assert tokens.shape == targets.shape == (8, WINDOW)
    assert (tokens[:, 0] == stories.end).all() and torch.equal(tokens[:, 1:], targets[:, :-1])
    texts = [stories.tokenizer.decode(row[1:40]) for row in tokens]
    assert all(any(s.startswith(t.partition("\n")[0]) for s in stories.known) for t in texts)


def test_judged_stories_fit_the_window(stories):
    assert max(map(len, stories.test)) < WINDOW and len(stories.test) > 850


class Uniform:
    """A model that knows nothing: its figures are known."""

    def __init__(self, vocab):
        self.vocab = vocab

    def logits(self, net, tokens):
        return torch.zeros(*tokens.shape, self.vocab)

    def write(self, net, prompt, generator):
        for _ in range(WINDOW):
            yield torch.randint(0, self.vocab, (len(prompt),), generator=generator), None


def test_a_model_that_knows_nothing_pays_log_v_for_every_character(stories):
    V = len(stories.tokenizer.alphabet)
    texts = stories.test[:7]
    exact = torch.tensor([-(len(t) + 1) * math.log(V) for t in texts], dtype=torch.float64)
    torch.testing.assert_close(log_probs(Uniform(V), None, stories, texts), exact, rtol=1e-6, atol=0)


class Recites(Uniform):
    """A model that writes training stories, one after the other."""

    def __init__(self, stories):
        super().__init__(len(stories.tokenizer.alphabet))
        self.texts = sorted(s for s in stories.known if len(s) < WINDOW)
        self.stories = stories

    def write(self, net, prompt, generator):
        rows = torch.full((len(prompt), WINDOW), self.stories.end)
        for row, text in zip(rows, self.texts):
            row[: len(text)] = self.stories.tokenizer.encode(text)
        return ((column, None) for column in rows.T)


def test_a_model_that_recites_is_caught_and_its_stories_are_accepted(stories):
    model = Recites(stories)
    found = judge_text(model, stories, nn.Identity(), n=20, seed=0)
    assert found["accepted"] == 1 and found["copied"] == 1
    assert found["nats"] == pytest.approx(math.log(model.vocab), abs=1e-6)


def test_a_model_that_knows_nothing_writes_no_story_and_remembers_nothing(stories):
    model = Uniform(len(stories.tokenizer.alphabet))
    assert remembers(model, None, stories, stories.test[:20]) == 0
    found = judge_text(model, stories, nn.Identity(), n=20, seed=0)
    assert found["accepted"] == 0 and found["copied"] == 0


@pytest.mark.parametrize("name", KINDS)
def test_stories_repeat_with_their_seed(name, stories):
    contestant = KINDS[name](PRESETS["embedded"])
    ((_, net),) = train(KINDS[name], PRESETS["embedded"], stories, seed=0, steps={"a": 1})
    a, b, c = (write_stories(contestant, net, stories, 2, seed) for seed in (0, 0, 1))
    assert a == b and len(a) == len(c) == 2


def test_a_run_that_failed_says_why(stories):
    assert judge_text(None, stories, "it diverged", n=1, seed=0) == {"failed": "it diverged"}
