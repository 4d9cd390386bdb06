import pytest
import torch

from genai_utils.data import load, to_floats
from genai_utils.data.unpaired import add_texture, remove_texture
from genai_utils.metrics.translation import (
    class_kept,
    digit_judge,
    grey_map,
    hidden_message,
    nearest_judge,
    score_translation,
)


def pictures(n=20, channels=1, side=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, side, side, generator=g, dtype=torch.float64) * 2 - 1


def test_errors_equal_the_naive_sums():
    translated, source, truth = (pictures(seed=k, channels=2) for k in range(3))
    found = score_translation(translated, source, truth)
    values = truth[0].numel() * len(truth)
    for estimate, x in ((found.error, translated), (found.identity, source)):
        naive = sum((p - q) ** 2 for p, q in zip(x.flatten().tolist(), truth.flatten().tolist())) / values
        assert estimate.value == pytest.approx(naive) and estimate.n == 20
    hits = 0
    for k in range(20):
        distance = [(translated[k] - t).square().sum().item() for t in truth]
        hits += distance.index(min(distance)) == k
    assert found.found.value == hits / 20


def test_perfect_translation_has_no_error_and_finds_every_counterpart():
    source, truth = pictures(seed=0), pictures(seed=1)
    found = score_translation(truth.clone(), source, truth)
    assert found.error.value == 0.0 and found.found.value == 1.0
    assert found.identity.value > found.linear.value > 0.1


def test_one_picture_for_all_finds_a_single_counterpart():
    """Collapse: the mean of all counterparts has a fair error, and tells them apart no better than chance."""
    source, truth = pictures(seed=0), pictures(seed=1)
    found = score_translation(truth.mean(0, keepdim=True).expand_as(truth), source, truth)
    assert found.found.value == 1 / 20 and found.error.value < found.identity.value


@pytest.mark.parametrize("channels", [1, 3])
def test_linear_map_of_grey_levels_is_recovered_and_then_leaves_no_error(channels):
    source = pictures(channels=channels)
    gain, offset = torch.linspace(-0.7, 0.4, channels).double(), torch.linspace(0.1, -0.2, channels).double()
    truth = gain.view(-1, 1, 1) * source + offset.view(-1, 1, 1)
    for mine, wanted in zip(grey_map(source, truth), (gain, offset)):
        torch.testing.assert_close(mine, wanted)
    found = score_translation(source, source, truth)
    assert found.linear.value == pytest.approx(0, abs=1e-25) and found.identity.value == found.error.value > 0.1


def test_linear_map_is_the_least_squares_line():
    """No line that differs a little does better, and none does better than leaving pictures alone or a constant."""
    source, truth = pictures(seed=0), pictures(seed=1) + 0.5 * pictures(seed=0)
    gain, offset = (v.item() for v in grey_map(source, truth))
    error = lambda a, b: (a * source + b - truth).square().mean().item()
    best = error(gain, offset)
    assert score_translation(source, source, truth).linear.value == pytest.approx(best)
    assert all(error(gain + da, offset + db) > best for da, db in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)))
    assert best < min(error(1, 0), error(0, truth.mean().item()))


def test_grey_map_of_a_constant_is_the_mean():
    source, truth = torch.full((4, 1, 2, 2), 0.3), pictures(4, side=2)
    gain, offset = grey_map(source, truth)
    assert gain.item() == 0.0 and offset.item() == pytest.approx(truth.mean().item())


def test_negative_of_a_picture_is_undone_by_the_linear_baseline_but_an_outline_is_not():
    data = load("unpaired", "test", n=50)
    a, b = to_floats(data.a), to_floats(data.truth_a)
    negative = score_translation(a, a, -a)
    assert negative.linear.value == pytest.approx(0, abs=1e-12) and negative.identity.value > 1
    outline = score_translation(a, a, b)
    assert 0.05 < outline.linear.value < outline.identity.value


# Class kept


def test_class_kept_counts_what_the_judge_says():
    labels = torch.tensor([0, 1, 2, 3, 4])
    found = class_kept(pictures(5), labels, lambda x: torch.tensor([0, 1, 2, 0, 0]))
    assert (found.value, found.n) == (0.6, 5)


def test_nearest_judge_gives_the_class_of_the_nearest_picture():
    known, labels = pictures(6), torch.tensor([3, 1, 4, 1, 5, 9])
    judge = nearest_judge(known, labels)
    order = torch.tensor([5, 0, 2, 2])
    assert torch.equal(judge(known[order] + 0.01), labels[order])
    assert class_kept(known[order], labels[order], judge).value == 1.0


def test_shipped_judge_reads_digits_and_their_textured_twins_once_the_stripes_are_gone():
    data = load("glyphs", "test", n=400, classes="0123456789")
    plain = (data.extra["factors"]["font"] == 0) & (data.extra["factors"]["slant"].abs() <= 6)
    images, labels = data.images[plain], data.labels[plain]
    assert len(labels) >= 5
    x = to_floats(images)
    seen = class_kept(x, labels).value
    assert seen == (digit_judge()(x) == labels).float().mean().item() and seen > 0.5
    assert class_kept(remove_texture(to_floats(add_texture(images))), labels).value == pytest.approx(seen, abs=0.2)
    assert class_kept(x, (labels + 1) % 10).value < 0.4


# What a cycle hides


def linear(matrix):
    return lambda x: (x.flatten(1) @ matrix.T).view_as(x)


def test_noise_in_a_linear_cycle_costs_exactly_what_the_algebra_says():
    """back(there(x) + s eps) - x = s M eps, for there = M^-1: known to the last digit, with its mean s^2 |M|^2 / d."""
    d, n = 16, 4_000
    matrix = torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x, stds = pictures(n, side=4), (0.0, 0.01, 0.3)
    eps = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    rows = list(
        hidden_message(linear(matrix.inverse()), linear(matrix), x, stds, generator=torch.Generator().manual_seed(0))
    )
    assert [row.std for row in rows] == list(stds)
    for row, std in zip(rows, stds):
        exact = (std * linear(matrix)(eps)).square().mean().item()
        assert row.loss.value == pytest.approx(exact, rel=1e-9, abs=1e-24)
        assert row.cycle.value == pytest.approx(exact, rel=1e-9, abs=1e-24) and row.cycle.n == n
        law = std**2 * matrix.square().sum().item() / d
        assert abs(row.cycle.value - law) <= 4 * (row.cycle.high - row.cycle.value) / 1.96 + 1e-20


def test_message_at_a_hundredth_of_full_scale_is_lost_ten_thousand_times_faster():
    """A cycle that keeps x at 1 / 100 of its contrast returns as perfectly as one that keeps it at full contrast."""
    x = pictures(200)
    costs = {}
    for contrast in (1.0, 0.01):
        there, back = (lambda x, c=contrast: c * x + 0.5), (lambda y, c=contrast: (y - 0.5) / c)
        clean, noisy = hidden_message(there, back, x, (0.0, 0.02), generator=torch.Generator().manual_seed(0))
        assert clean.cycle.value < 1e-25 and clean.loss.value == 0.0
        costs[contrast] = noisy.loss.value
    assert costs[0.01] / costs[1.0] == pytest.approx(1e4) and costs[1.0] == pytest.approx(0.02**2, rel=0.05)


def test_cycle_that_does_not_return_is_told_from_one_that_noise_breaks():
    x = pictures(50)
    (row,) = hidden_message(lambda x: x, lambda y: y * 0 + 0.25, x, [0.5])
    assert row.loss.value == 0.0  # it never looked at the picture, so noise costs nothing
    assert row.cycle.value == pytest.approx((x - 0.25).square().mean().item())


def test_same_draw_serves_all_sizes_and_repeats_with_the_generator():
    run = lambda seed: [
        row.loss.value
        for row in hidden_message(
            lambda x: x, lambda y: y, pictures(), (0.1, 0.2), generator=torch.Generator().manual_seed(seed)
        )
    ]
    first = run(0)
    assert first == run(0) != run(1) and first[1] == pytest.approx(4 * first[0])


@pytest.mark.parametrize("change, message", [
    ({"translated": pictures(19)}, r"source must be .* all of one shape"),
    ({"truth": pictures(20, side=4)}, "truth must be"),
    ({"source": torch.zeros(20, 1, 6, 6, dtype=torch.uint8)}, "floats"),
    ({"truth": pictures() / 0}, "truth must be finite"),
])  # fmt: skip
def test_pictures_that_cannot_be_compared_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        score_translation(**({k: pictures() for k in ("translated", "source", "truth")} | change))


def test_impossible_input_is_refused():
    with pytest.raises(ValueError, match=r"stds must be at least 0, got \[-1\]"):
        next(hidden_message(lambda x: x, lambda y: y, pictures(), [0, -1]))
    with pytest.raises(ValueError, match="N >= 2"):
        next(hidden_message(lambda x: x, lambda y: y, pictures(1), [0]))
    with pytest.raises(ValueError, match=r"one label for each .* got \(3,\) for 20"):
        class_kept(pictures(), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="one label for each"):
        nearest_judge(pictures(0), torch.zeros(0, dtype=torch.int64))
