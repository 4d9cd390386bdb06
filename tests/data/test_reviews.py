"""Reviews: the sentiment is certain, two judges agree on it, and single words do not give it away."""

import hashlib
import re

import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from genai_utils.data import load
from genai_utils.data.reviews import SIGNS, STRAIGHT, TOPICS, TURNED, VALUE, grammar, sentiment
from genai_utils.data.tasks import LabelledText

TRAIN, TEST = load("reviews", n=5_000), load("reviews", "test", n=2_000)


def tokens_of(review: str) -> tuple[str, ...]:
    """The grammar's tokens of a review: sentences begin with a small letter, but for "I"."""
    words = re.findall(r"\w+|[.,]", review)
    return tuple(
        word.lower() if word != "I" and (k == 0 or words[k - 1] == ".") else word for k, word in enumerate(words)
    )


def bag_of_words(n: int, n_grams: int = 1) -> float:
    """Accuracy on the test of logistic regression on counts of words, trained on n labels."""
    model = make_pipeline(CountVectorizer(token_pattern=r"\w+", ngram_range=(1, n_grams)), LogisticRegression())
    model.fit(TRAIN.documents[:n], TRAIN.labels[:n].tolist())
    return model.score(TEST.documents, TEST.labels.tolist())


def test_reviews_bytes_are_those_recorded():
    for split, recorded in RECORDED.items():
        data = load("reviews", split, n=1_000)
        lines = "".join(f"{label} {text}\n" for label, text in zip(data.labels.tolist(), data.documents))
        assert hashlib.sha256(lines.encode()).hexdigest() == recorded, split


def test_the_judge_reads_the_label_off_every_review():
    for data in (TRAIN, TEST):
        assert [sentiment(text) for text in data.documents] == data.labels.tolist()


def test_no_review_can_be_written_for_the_other_sentiment_or_another_topic():
    names = list(TOPICS)
    for text, label, topic in list(zip(TRAIN.documents, TRAIN.labels.tolist(), TRAIN.extra["topics"].tolist()))[:40]:
        tokens = tokens_of(text)
        able = [(t, s) for t in names for s in SIGNS if grammar(t, s).derivations(tokens)]
        assert able == [(names[topic], SIGNS[label])], text


def test_sentiments_and_topics_are_drawn_evenly_and_independently():
    n = len(TRAIN)
    for label in range(2):
        for topic in range(4):
            share = ((TRAIN.labels == label) & (TRAIN.extra["topics"] == topic)).double().mean().item()
            assert abs(share - 1 / 8) < 4 * (1 / 8 * 7 / 8 / n) ** 0.5


def test_bag_of_words_is_far_from_the_truth():
    assert 0.68 < bag_of_words(5_000) < 0.75
    assert bag_of_words(50) < 0.62


def test_pairs_of_words_do_not_give_the_sentiment_away_either():
    assert bag_of_words(2_500, n_grams=2) < 0.80


def test_every_clause_turns_sentiments_as_its_table_says():
    words = {"T": "phone", "who": "aunt", "not": "hardly", "aspect-T": "screen", "seen-T": "owned"}
    words |= {"all-T": "every bit of it", "better-S": "better", "better-O": "worse", "base-O": "hate"}
    words |= {"past-S": "loved", "how-T-S": "very nice", "common-S": "nice", "own-T-S": "sharp"}
    words |= {"word-T-S": "sharp", "word-T-O": "flimsy"}  # said of a positive review
    for clause in STRAIGHT | TURNED:
        text = re.sub(r"<([\w-]+)>|\bT\b", lambda found: words[found[1] or "T"], clause)
        assert not re.search(r"[<>]", text) and sentiment(f"{text}.") == 1, text
        value = next(VALUE[word] for word in reversed(text.split()) if word in VALUE)
        assert (value < 0) == (clause in TURNED), text


@pytest.mark.parametrize(
    "text, label",
    [
        ("The plot was dull, but I loved every minute of it.", 1),
        ("I loved every minute of it, but the plot was dull.", 0),
        ("The plot was not bad at all.", 1),
        ("The plot was not only bad but also dull.", 0),
        ("The coffee used to be tasty.", 0),
        ("The coffee used to be tasty and still is.", 1),
        ("This hotel was twice as noisy as the last one.", 0),
        ("The last hotel was twice as noisy as this one.", 1),
        ("The last hotel was half as noisy as this one.", 0),
        ("I have never owned a better phone.", 1),
        ("I have owned a better phone.", 0),
        ("Although the screen was sharp, the battery was hardly good.", 0),
        ("The battery was hardly bad, although the screen was blurry.", 1),
        ("I saw this film with my aunt. The cast was lovely. Still, nothing about the ending was good.", 0),
        ("My uncle was wrong to call the soup bland, and the bread was fresh.", 1),
    ],
)
def test_the_judge_reads_clauses_written_by_hand(text, label):
    assert sentiment(text) == label


def test_the_judge_refuses_what_it_cannot_read():
    for bad in ("", "The plot was purple.", "The plot was dull. I ate a pear.", "."):
        with pytest.raises(ValueError, match="no word of praise or blame"):
            sentiment(bad)
    for bad in (None, 3, b"good"):
        with pytest.raises(ValueError, match="must be a str"):
            sentiment(bad)


def test_words_of_praise_and_blame_are_one_or_the_other():
    lists = [word for about in TOPICS.values() for sign in SIGNS for word in about[sign].split()]
    assert len(lists) == len(set(lists)) and not set(lists) & {w for a in TOPICS.values() for w in a["aspect"].split()}
    assert len(VALUE) == 2 * (24 + 1 + 4 * 14 + 10)  # no word counts twice
    assert sum(VALUE.values()) == 0


def test_few_labels_show_few_words_and_many_texts_show_all():
    words = [set(re.findall(r"\w+", " ".join(TRAIN.documents[:n]).lower())) for n in (50, 5_000)]
    assert 250 <= len(words[1]) <= 400
    assert len(words[0] & set(VALUE)) < 0.5 * len(VALUE) and set(VALUE) <= words[1]


def test_reviews_are_short_and_splits_share_few():
    assert max(map(len, TRAIN.documents)) < 250
    known = set(TRAIN.documents)
    assert sum(text in known for text in TEST.documents) < 0.06 * len(TEST)
    assert all(re.fullmatch(r"[A-Z][A-Za-z ,.]*\.", text) for text in TRAIN.documents)


def test_reviews_are_the_same_for_a_seed_and_others_for_another():
    draws = [load("reviews", split, n=5, seed=seed).documents for split in ("train", "test") for seed in (0, 1)]
    assert len(set(draws)) == 4
    assert load("reviews", n=9).documents[:5] == load("reviews", n=5).documents == draws[0]
    assert len(load("reviews", "test")) == 1_000 and TRAIN.classes == ("negative", "positive")


def test_reviews_refuse_bad_input():
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        load("reviews", n=0)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        load("reviews", seed=-1)
    with pytest.raises(ValueError, match="got 'car', 'pos'"):
        grammar("car", "pos")


def test_labelled_text_refuses_what_does_not_fit():
    labels = torch.tensor([0, 1])
    for documents in ((), ("a", ""), ["a", "b"], "ab", ("a", 1)):
        with pytest.raises(ValueError, match="documents must be a tuple"):
            LabelledText("some", documents, labels, ("no", "yes"))
    for wrong in (labels[:1], labels.float(), labels[:, None], [0, 1]):
        with pytest.raises(ValueError, match=r"labels must be \(2,\) int64"):
            LabelledText("some", ("a", "b"), wrong, ("no", "yes"))
    for wrong in (labels - 1, labels + 1):
        with pytest.raises(ValueError, match=r"labels must be in \[0, 2\)"):
            LabelledText("some", ("a", "b"), wrong, ("no", "yes"))


RECORDED = {
    "train": "15f8471e993a913697f2804cee45d5c9652f8bc0823db74ef1fe3765dfd1418e",
    "test": "f6c6b36ff0ac10778fc6711cd4eb2484da577c48a2f228948a0c3f8e0875aeb6",
}
