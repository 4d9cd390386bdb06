"""Train the encoders of chapter 05: `python -m tools.recipes.bert`, or with `--only` a part of it.

"bert-words" restores hidden words of reviews and tales, which nobody labelled; "bert-sentiment" and "bert-spans" start
from it and learn to tell what a review says and to find the answer to a question about a tale. All are scored as they
ship, rounded to fp16. About 20, 3 and 5 minutes on one CPU core; interrupted, it resumes from runs/bert-*.pt.
"""

import argparse
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from genai_utils.core import pick_device, seed_all
from genai_utils.data import load
from genai_utils.data.sets import Batches
from genai_utils.data.tasks import LabelledText, QuestionSet
from genai_utils.data.tokenizers import padded
from genai_utils.data.wordpiece import WordPiece
from genai_utils.metrics import Estimate, mean_estimate, share_estimate
from genai_utils.training import adamw, fit, make_step, warmup_cosine
from genai_utils.transformer.bert import (
    BERT, BERTClassifier, BERTConfig, BERTSpans, Spans, classification_loss, span_loss,
)  # fmt: skip
from genai_utils.transformer.masked import Masked, mask_tokens, mlm_loss
from genai_utils.transformer.spans import answers, span_batch
from genai_utils.weights import load_tokenizer, load_weights, save_weights
from tools.recipes import hardware
from tools.recipes.score import as_json

COMMAND = "python -m tools.recipes.bert"
TEXTS = 40_000  # of each kind to pretrain on
LABELS, TESTS = 5_000, 2_000  # reviews to fine-tune on and to score on
QUESTIONS, TEST_QUESTIONS = 8_000, 1_000
SIZES = {"length": 160, "n_layers": 4, "n_heads": 4, "d_model": 128, "d_inner": 512}
DROPOUT = 0.1  # in fine-tuning only
SEED, ROWS = 0, 32


def tokenizer_of(*sides: Sequence[str]) -> WordPiece:
    """Return a tokenizer of all words of the texts."""
    return WordPiece.of(" ".join(text for side in sides for text in side))


def rows_of(tokenizer: WordPiece, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return tokens (N, T) of [CLS] text [SEP], and mask (N, T), True at real tokens."""
    return padded([tokenizer.encode_pair(text)[0] for text in texts], tokenizer.pad)


def cut(tokens: Tensor, mask: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
    """Return rows without the columns at their end that are filled up in all of them: short texts cost less."""
    width = int(mask.sum(1).max())
    return tuple(x[:, :width] for x in (tokens, mask, *more))


def hidden(
    tokenizer: WordPiece, tokens: Tensor, mask: Tensor, share: float, g: torch.Generator | None = None
) -> Masked:
    """Return rows with words hidden; of no generator the global one, which a checkpoint holds."""
    special = tuple(tokenizer.specials.tokens.values())
    options = {"vocab": tokenizer.vocab, "hide": tokenizer.mask, "special": special}
    return mask_tokens(tokens, mask=mask, share=share, generator=g, **options)


class InTurn:
    """One batch of each iterator after the other, resumable as they are."""

    def __init__(self, *parts: Batches) -> None:
        self.parts, self.turn = parts, 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self.turn += 1
        return next(self.parts[(self.turn - 1) % len(self.parts)])

    def state_dict(self) -> dict[str, Any]:
        return {"turn": self.turn, "parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.turn = state["turn"]
        for part, of_part in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(of_part)


def pretrain(
    tokenizer: WordPiece,
    kinds: Sequence[Sequence[str]],
    steps: int,
    *,
    share: float = 0.15,
    sizes: dict[str, int] = SIZES,
    lr: float = 1e-3,
    seed: int = SEED,
    start: Callable[[BERT], None] | None = None,
    checkpoint: str | None = None,
) -> BERT:
    """Return a BERT that was trained to restore a share of the words of texts, a batch of each kind in turn.

    Args:
        tokenizer: of the texts.
        kinds: for example reviews and tales; texts of one kind share a batch, so that little is filled up.
        steps: updates.
        share: of the words that are hidden.
        sizes: fields of BERTConfig.
        lr: the highest learning rate.
        seed: of everything random.
        start: changes the new model, for example takes its positions away.
        checkpoint: file to resume from and to write.
    """
    seed_all(seed)
    device = pick_device()
    model = BERT(BERTConfig(vocab=tokenizer.vocab, dropout=0.0, attention_dropout=0.0, **sizes)).to(device)
    if start is not None:
        start(model)
    parts = []
    for texts in kinds:
        tokens, mask = (x.to(device) for x in rows_of(tokenizer, texts))
        take = lambda which, tokens=tokens, mask=mask: cut(tokens[which], mask[which])
        parts.append(Batches(take, len(tokens), ROWS, seed, device))
    opt = adamw(model, lr, weight_decay=0.01)
    loss = lambda network, rows: mlm_loss(network, hidden(tokenizer, *rows, share))
    step = make_step(model, loss, opt, schedule=warmup_cosine(opt, steps, warmup=steps // 20), amp=torch.float32)
    run(step, InTurn(*parts), steps, checkpoint)
    return model


def fine_tune_sentiment(
    bert: BERT, tokenizer: WordPiece, data: LabelledText, steps: int, *, lr: float = 5e-4, seed: int = SEED
) -> BERTClassifier:
    """Return a classifier of the labels of `data`, from a copy of `bert`, pretrained or not."""
    seed_all(seed)
    device = next(bert.parameters()).device
    model = BERTClassifier.of(bert, len(data.classes), dropout=DROPOUT).to(device)
    tokens, mask = (x.to(device) for x in rows_of(tokenizer, data.documents))
    labels = data.labels.to(device)
    take = lambda which: (*cut(tokens[which], mask[which]), labels[which])
    opt = adamw(model, lr, weight_decay=0.01)
    schedule = warmup_cosine(opt, steps, warmup=steps // 10)
    step = make_step(model, classification_loss, opt, schedule=schedule, amp=torch.float32)
    run(step, Batches(take, len(tokens), min(ROWS, len(tokens)), seed, device), steps)
    return model.eval()


def fine_tune_spans(
    bert: BERT, tokenizer: WordPiece, data: QuestionSet, steps: int, *, lr: float = 5e-4, seed: int = SEED
) -> BERTSpans:
    """Return a model of the spans of `data`, from a copy of `bert`."""
    seed_all(seed)
    device = next(bert.parameters()).device
    model = BERTSpans.of(bert, dropout=DROPOUT).to(device)
    rows = span_batch(tokenizer, data.questions, data.stories, data.starts, data.ends)
    rows = Spans(*(x.to(device) for x in rows))

    def take(which: Tensor) -> Spans:
        return Spans(*cut(rows.tokens[which], rows.mask[which], rows.segments[which]), *(x[which] for x in rows[3:]))

    opt = adamw(model, lr, weight_decay=0.01)
    schedule = warmup_cosine(opt, steps, warmup=steps // 10)
    step = make_step(model, span_loss, opt, schedule=schedule, amp=torch.float32)
    run(step, Batches(take, len(data), ROWS, seed, device), steps)
    return model.eval()


def run(step: Callable, batches: Iterator, steps: int, checkpoint: str | None = None) -> None:
    """Train to the end, or leave."""
    rows = fit(step, batches, steps=steps, every=min(100, steps), checkpoint=checkpoint)
    if not rows or rows[-1]["step"] < steps:
        raise SystemExit("stopped before the end: nothing written. Run it again to go on")


@torch.no_grad()
def masked_score(model: BERT, tokenizer: WordPiece, texts: Sequence[str], share: float = 0.15) -> dict[str, Estimate]:
    """Measure how well hidden words are restored: nats and share right per word, averaged by text, n texts."""
    model.eval()
    device, nats, right = next(model.parameters()).device, [], []
    g = torch.Generator().manual_seed(SEED)
    tokens, mask = rows_of(tokenizer, texts)
    for rows in zip(tokens.split(100), mask.split(100)):
        batch = hidden(tokenizer, *cut(*rows), share, g)
        batch = Masked(*(x.to(device) for x in batch[:5]))
        states = model(batch.tokens, batch.mask)
        logits = model.mlm_logits(states.gather(1, batch.places[..., None].expand(-1, -1, states.shape[-1])))
        nll = nn.functional.cross_entropy(logits.transpose(1, 2), batch.targets, reduction="none")
        weight = batch.chosen / batch.chosen.sum(1, keepdim=True)
        nats.append((nll * weight).sum(1))
        right.append(((logits.argmax(-1) == batch.targets) * weight).sum(1))
    return {"nats_per_word": mean_estimate(torch.cat(nats)), "restored": mean_estimate(torch.cat(right))}


@torch.no_grad()
def sentiment_right(model: BERTClassifier, tokenizer: WordPiece, data: LabelledText) -> Tensor:
    """Return for each review, (N,) bool, whether its class is told right."""
    device, right = next(model.parameters()).device, []
    tokens, mask = rows_of(tokenizer, data.documents)
    for rows, labels in zip(zip(tokens.split(100), mask.split(100)), data.labels.split(100)):
        logits = model(*(x.to(device) for x in cut(*rows)))
        right.append(logits.argmax(1).cpu() == labels)
    return torch.cat(right)


def bag_of_words_right(train: LabelledText, test: LabelledText) -> Tensor:
    """Return for each review, (N,) bool, whether logistic regression on counts of words tells its class right."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1_000))
    model.fit(train.documents, train.labels.numpy())
    return torch.from_numpy(model.predict(test.documents)) == test.labels


def spans_right(model: BERTSpans, tokenizer: WordPiece, data: QuestionSet) -> Tensor:
    """Return for each question, (N,) bool, whether the text found is the answer, letter for letter."""
    found = answers(model, tokenizer, data.questions, data.stories)
    return torch.tensor([a == b for a, b in zip(found, data.answers)])


def share_right(right: Tensor) -> Estimate:
    """Return the share of (N,) bool that is True."""
    return share_estimate(int(right.sum()), len(right))


def first(data: LabelledText, n: int) -> LabelledText:
    """Return the first n of a set."""
    return replace(data, documents=data.documents[:n], labels=data.labels[:n], extra={})


def as_shipped(model: nn.Module) -> nn.Module:
    """Return a copy rounded to fp16, in evaluation mode, on the CPU."""
    return copy.deepcopy(model).cpu().half().float().eval()


def make_words(steps: int) -> None:
    kinds = [load("reviews", n=TEXTS).documents, load("tales", n=TEXTS).documents]
    tokenizer = tokenizer_of(*kinds, load("tale_questions").questions)  # their words are learnt in fine-tuning
    model = as_shipped(pretrain(tokenizer, kinds, steps, checkpoint="runs/bert-words.pt"))
    score = {}
    for name in ("reviews", "tales"):
        found = masked_score(model, tokenizer, load(name, "test", n=1_000).documents)
        score |= {f"{name}_{key}": value for key, value in as_json(found).items()}
    finish("bert-words", model, tokenizer, score, f"{TEXTS:,} reviews and {TEXTS:,} tales, without labels")


def make_sentiment(steps: int) -> None:
    bert, tokenizer = load_weights("bert-words", BERT).to(pick_device()), load_tokenizer("bert-words")
    train, test = load("reviews", n=LABELS, seed=1), load("reviews", "test", n=TESTS, seed=1)
    model = as_shipped(fine_tune_sentiment(bert, tokenizer, train, steps))
    score = {
        "accuracy": share_right(sentiment_right(model, tokenizer, test)),
        "bag_of_words_accuracy": share_right(bag_of_words_right(train, test)),
    }
    finish("bert-sentiment", model, tokenizer, as_json(score), f"reviews, {LABELS:,} with their sentiment")


def make_spans(steps: int) -> None:
    bert, tokenizer = load_weights("bert-words", BERT).to(pick_device()), load_tokenizer("bert-words")
    train, test = load("tale_questions", n=QUESTIONS), load("tale_questions", "test", n=TEST_QUESTIONS)
    model = as_shipped(fine_tune_spans(bert, tokenizer, train, steps))
    score = {"exact_match": share_right(spans_right(model, tokenizer, test))}
    finish("bert-spans", model, tokenizer, as_json(score), f"tale_questions, {QUESTIONS:,}")


def finish(name: str, model: nn.Module, tokenizer: WordPiece, score: dict, data: str) -> None:
    """Write the weights and their registry entry, and print the score."""
    save_weights(
        name, model, command=COMMAND, data=data, terms="MIT", seed=SEED, score={"command": COMMAND} | score,
        hardware=hardware(), dtype=torch.float16, tokenizer=tokenizer,
    )  # fmt: skip
    print(name, *(f"{key}: {value}" for key, value in score.items()), sep="\n  ")


MAKE = {"words": (make_words, 4_000), "sentiment": (make_sentiment, 1_000), "spans": (make_spans, 1_000)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=MAKE, help="make one of the three; the last two need the first")
    parser.add_argument("--steps", type=int, help=f"updates (default {', '.join(str(n) for _, n in MAKE.values())})")
    args = parser.parse_args()
    for part, (make, steps) in MAKE.items():
        if args.only in (None, part):
            make(args.steps or steps)


if __name__ == "__main__":
    main()
