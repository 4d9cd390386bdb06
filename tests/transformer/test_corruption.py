"""Noise of T5 and BART: what is lost can be restored, and as much is lost as was asked for."""

import itertools

import pytest
import torch

from genai_utils.transformer.corruption import (
    document_rotation, restore_spans, sentence_permutation, span_corruption, text_infilling, token_deletion,
    token_masking,
)  # fmt: skip

SENTINELS = range(100, 140)
MASK = 99


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def text(n, seed=0):
    return torch.randint(90, (n,), generator=generator(seed))


@pytest.mark.parametrize("n, rate, mean_span", [(2, 0.15, 3.0), (40, 0.15, 3.0), (101, 0.5, 3.0), (60, 0.3, 1.0)])
def test_text_is_restored_from_source_and_target_of_span_corruption(n, rate, mean_span):
    for seed in range(50):
        tokens = text(n, seed)
        source, target = span_corruption(
            tokens, SENTINELS, rate=rate, mean_span=mean_span, generator=generator(seed))  # fmt: skip
        assert torch.equal(restore_spans(source, target, SENTINELS), tokens)


@pytest.mark.parametrize("n, rate", [(40, 0.15), (101, 0.5), (200, 0.3)])
def test_span_corruption_cuts_the_share_it_was_asked_for_in_spans_of_the_mean_length(n, rate):
    source, target = span_corruption(text(n), SENTINELS, rate=rate, generator=generator())
    n_spans = int((source >= 100).sum())
    assert n_spans == round(round(n * rate) / 3) and len(source) - n_spans == n - round(n * rate)
    assert (target >= 100).sum() == n_spans + 1 and target[0] == 100 and target[-1] == 100 + n_spans


def test_spans_are_separated_and_the_first_token_is_kept_and_the_last_cut():
    for seed in range(50):
        tokens = text(60, seed)
        source, _ = span_corruption(tokens, SENTINELS, rate=0.4, generator=generator(seed))
        marks = source >= 100
        assert source[0] == tokens[0] and marks[-1] and not (marks[1:] & marks[:-1]).any()


def test_every_division_into_spans_is_equally_likely():
    """6 tokens, 3 cut in 2 spans: kept 1+2 or 2+1, cut 1+2 or 2+1, so 4 ways of probability 1/4."""
    g, n, counts = generator(), 2_000, {}
    for _ in range(n):
        source, _ = span_corruption(torch.arange(6), [7, 8, 9], rate=0.5, mean_span=1.5, generator=g)
        counts[tuple(source.tolist())] = counts.get(tuple(source.tolist()), 0) + 1
    assert len(counts) == 4
    assert all(abs(c / n - 0.25) < 4 * (0.25 * 0.75 / n) ** 0.5 for c in counts.values())


@pytest.mark.parametrize("noise", [
    lambda x, g: (token_masking(x, MASK, 0.3, generator=g) == MASK).sum(),
    lambda x, g: torch.tensor(len(x) - len(token_deletion(x, 0.3, generator=g))),
], ids=["masking", "deletion"])  # fmt: skip
def test_masking_and_deletion_hit_each_token_with_the_probability_asked_for(noise):
    hit = noise(text(10_000), generator()) / 10_000
    assert abs(hit - 0.3) < 4 * (0.3 * 0.7 / 10_000) ** 0.5


def test_masking_leaves_other_tokens_in_place_and_deletion_leaves_them_in_order():
    tokens = text(200)
    masked = token_masking(tokens, MASK, 0.5, generator=generator())
    assert torch.equal(masked[masked != MASK], tokens[masked != MASK])
    assert torch.equal(token_deletion(tokens, 0.5, generator=generator()), tokens[masked != MASK])  # the same draws


def test_masking_chooses_where_the_tokens_live():
    """The meta device stands for a GPU."""
    assert token_masking(text(9).to("meta"), MASK, 0.5, generator=generator()).device.type == "meta"


def test_infilling_replaces_exactly_the_share_asked_for_and_keeps_the_rest_in_order():
    tokens = torch.arange(80)
    for seed in range(50):
        source = text_infilling(tokens, MASK, 0.3, generator=generator(seed))
        kept = source[source != MASK]
        assert len(kept) == 80 - 24 and (kept.diff() > 0).all()
        marks = source == MASK
        assert not (marks[1:] & marks[:-1]).any()


def test_infilling_draws_lengths_from_a_poisson_distribution():
    """All but the last span, which is cut to fit, have mean and share of empty ones of Poisson(3)."""
    g, n, spans = generator(), 20_000, []
    source = text_infilling(torch.arange(n), n, 0.3, generator=g)
    places = (source == n).nonzero()[:, 0].tolist()
    assert places[-1] < len(source) - 1
    spans = [int(source[p + 1]) - (int(source[p - 1]) + 1 if p else 0) for p in places]
    assert sum(spans) == 6_000
    mean, empty = sum(spans) / len(spans), sum(s == 0 for s in spans) / len(spans)
    assert abs(mean - 3) < 4 * (3 / len(spans)) ** 0.5
    p0 = torch.exp(torch.tensor(-3.0)).item()
    assert abs(empty - p0) < 4 * (p0 * (1 - p0) / len(spans)) ** 0.5


def test_infilling_takes_a_whole_number_as_the_mean_too():
    whole, real = (text_infilling(text(40), MASK, mean_span=m, generator=generator()) for m in (3, 3.0))
    assert torch.equal(whole, real)


@pytest.mark.parametrize("rate, mean_span", [(0.0, 3.0), (0.9, 0.2), (0.95, 0.05), (0.5, 50.0)])
def test_infilling_fits_whatever_the_rate_and_the_mean(rate, mean_span):
    for seed in range(20):
        source = text_infilling(torch.arange(20), MASK, rate, mean_span=mean_span, generator=generator(seed))
        assert (source != MASK).sum() == 20 - round(20 * rate)


def test_sentence_permutation_keeps_sentences_whole_and_comes_in_every_order():
    tokens = torch.tensor([1, 2, 0, 3, 0, 4, 5])  # three sentences, the last without its stop
    g, seen = generator(), set()
    for _ in range(200):
        permuted = sentence_permutation(tokens, [0], generator=g).tolist()
        assert sorted(permuted) == sorted(tokens.tolist())
        seen.add(tuple(permuted))
    whole = [(1, 2, 0), (3, 0), (4, 5)]
    assert seen == {sum(order, ()) for order in itertools.permutations(whole)}


def test_rotation_begins_with_each_token_equally_often():
    g, n = generator(), 4_000
    first = torch.stack([document_rotation(torch.arange(5), generator=g) for _ in range(n)])
    assert ((first.diff(dim=1) % 5) == 1).all()
    shares = torch.bincount(first[:, 0], minlength=5) / n
    assert ((shares - 0.2).abs() < 4 * (0.2 * 0.8 / n) ** 0.5).all()


def test_noise_changes_nothing_in_its_input_and_repeats_under_a_seed():
    tokens = text(50)
    for noise in (
        lambda g: span_corruption(tokens, SENTINELS, generator=g)[0],
        lambda g: text_infilling(tokens, MASK, generator=g),
        lambda g: token_masking(tokens, MASK, 0.3, generator=g), lambda g: token_deletion(tokens, 0.3, generator=g),
        lambda g: sentence_permutation(tokens, [3, 4], generator=g), lambda g: document_rotation(tokens, generator=g),
    ):  # fmt: skip
        assert torch.equal(noise(generator(1)), noise(generator(1)))
        assert torch.equal(tokens, text(50))


def test_answer_of_a_model_that_forgot_a_span_still_restores_the_rest():
    source, target = torch.tensor([1, 100, 2, 101, 3]), torch.tensor([100, 7, 8, 105, 9])
    assert restore_spans(source, target, SENTINELS).tolist() == [1, 7, 8, 2, 3]


@pytest.mark.parametrize("call, message", [
    (lambda: span_corruption(torch.arange(40), [100, 101]), "2 spans of 40 tokens need 3 sentinels, got 2"),
    (lambda: span_corruption(torch.tensor([1, 100, 2]), SENTINELS), "token 100 of the text is a sentinel"),
    (lambda: span_corruption(torch.arange(9), [100, 100, 101]), "sentinels must be distinct"),
    (lambda: span_corruption(torch.tensor([1]), SENTINELS), r"with T >= 2, one document at a time, got \(1,\)"),
    (lambda: span_corruption(torch.arange(9), SENTINELS, rate=1.0), r"need rate in \(0, 1\) .* got rate=1.0"),
    (lambda: span_corruption(torch.arange(9), SENTINELS, mean_span=0.5), "mean_span=0.5"),
    (lambda: token_masking(torch.arange(9), MASK, 1.2), r"rate must be in \[0, 1\], got 1.2"),
    (lambda: token_deletion(torch.zeros(2, 3, dtype=torch.int64), 0.1), r"one document at a time, got \(2, 3\)"),
    (lambda: text_infilling(torch.arange(9.0), MASK), r"\(T,\) int64 .* got \(9,\) torch.float32"),
    (lambda: text_infilling(torch.arange(9), MASK, mean_span=0.0), "mean_span=0.0"),
    (lambda: document_rotation([1, 2]), "got list"),
])  # fmt: skip
def test_bad_input_is_refused_by_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()
