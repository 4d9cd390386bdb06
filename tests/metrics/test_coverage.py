import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from genai_utils.metrics import coverage as module
from genai_utils.metrics.coverage import density_coverage, nearest, neighbour_radius, precision_recall


def blobs(n, seed, classes=(0, 1, 2, 3), spread=0.3):
    """n points (n, 8) round well-separated centres, equally many of each class."""
    centres = 10 * torch.eye(8)
    g = torch.Generator().manual_seed(seed)
    which = torch.tensor(classes)[torch.arange(n) % len(classes)]
    return centres[which] + spread * torch.randn(n, 8, generator=g)


def test_precision_recall_and_density_coverage_equal_the_naive_count():
    real, fake = (torch.randn(n, 5, generator=torch.Generator().manual_seed(n)) for n in (60, 45))
    fake = fake + 0.5
    d = torch.cdist(real.double(), fake.double()).numpy()

    def radii(x, k):
        return NearestNeighbors(n_neighbors=k + 1).fit(x.double().numpy()).kneighbors(x.double().numpy())[0][:, -1]

    real_r, fake_r = radii(real, 3), radii(fake, 3)
    pr = precision_recall(real, fake, k=3)
    assert pr.precision.value == pytest.approx(np.mean([(d[:, j] <= real_r).any() for j in range(45)]))
    assert pr.recall.value == pytest.approx(np.mean([(d[i] <= fake_r).any() for i in range(60)]))
    r = radii(real, 5)
    dc = density_coverage(real, fake, k=5)
    assert dc.density.value == pytest.approx(sum((d[:, j] < r).sum() for j in range(45)) / (5 * 45))
    assert dc.coverage.value == pytest.approx(np.mean([(d[i] < r[i]).any() for i in range(60)]))
    assert (pr.precision.n, pr.recall.n, dc.density.n, dc.coverage.n) == (45, 60, 45, 60)


def test_data_against_itself_scores_one_on_all_four():
    x = blobs(120, 0)
    pr, dc = precision_recall(x, x), density_coverage(x, x)
    assert [e.value for e in (pr.precision, pr.recall, dc.density, dc.coverage)] == [1.0, 1.0, 1.0, 1.0]


def test_independent_samples_of_one_distribution_reach_the_expected_density_and_coverage():
    n, k, densities, coverages = 200, 5, [], []
    for seed in range(20):
        g = torch.Generator().manual_seed(seed)
        result = density_coverage(torch.randn(n, 3, generator=g), torch.randn(n, 3, generator=g), k=k)
        densities.append(result.density.value)
        coverages.append(result.coverage.value)
    # A real ball misses every sample when its k nearest points, of both sets together, are all real.
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    for values, law in ((densities, 1.0), (coverages, expected)):
        assert abs(np.mean(values) - law) < 4 * np.std(values, ddof=1) / len(values) ** 0.5


def test_a_dropped_class_lowers_recall_and_coverage_but_not_precision_and_density():
    real, whole, part = blobs(400, 0), blobs(400, 1), blobs(400, 2, classes=(0, 1, 2))
    before, after = precision_recall(real, whole), precision_recall(real, part)
    assert after.recall.value < before.recall.value - 0.2 and after.recall.value < 0.76
    assert after.precision.value == pytest.approx(before.precision.value, abs=0.08)
    before, after = density_coverage(real, whole), density_coverage(real, part)
    assert after.coverage.value < before.coverage.value - 0.2 and after.coverage.value <= 0.75
    assert after.density.value > before.density.value - 0.15


def test_noise_lowers_precision_and_density_but_not_recall():
    real, fake = blobs(300, 0), blobs(300, 1)
    noisy = torch.cat([fake, 20 + blobs(300, 2)])
    before, after = precision_recall(real, fake), precision_recall(real, noisy)
    assert after.precision.value == pytest.approx(before.precision.value / 2, abs=1e-6)
    assert after.recall.value == pytest.approx(before.recall.value, abs=1e-6)
    assert density_coverage(real, noisy).density.value < 0.6 * density_coverage(real, fake).density.value


def test_one_outlier_fools_precision_but_hardly_density():
    real, junk = blobs(200, 0), 6 + torch.randn(200, 8, generator=torch.Generator().manual_seed(3))
    outlier = torch.cat([real, torch.full((1, 8), 40.0)])
    assert precision_recall(real, junk).precision.value == 0.0
    assert precision_recall(outlier, junk).precision.value == 1.0
    assert density_coverage(outlier, junk).density.value == pytest.approx(1 / 5)


def test_one_repeated_sample_has_no_variety():
    real = blobs(200, 0)
    fake = real[:1].repeat(100, 1)
    assert precision_recall(real, fake).precision.value == 1.0
    assert precision_recall(real, fake).recall.value <= 1 / 200
    assert density_coverage(real, fake).coverage.value < 0.1


def test_chunked_answers_equal_the_whole_ones(monkeypatch):
    real, fake = blobs(90, 0, spread=3.0), blobs(70, 1, spread=3.0)
    whole = precision_recall(real, fake), density_coverage(real, fake), nearest(fake, real), neighbour_radius(real, 3)
    monkeypatch.setattr(module, "_rows", lambda b: 7)
    parts = precision_recall(real, fake), density_coverage(real, fake), nearest(fake, real), neighbour_radius(real, 3)
    assert whole[:2] == parts[:2]
    torch.testing.assert_close(whole[2:], parts[2:], rtol=0, atol=0)


def test_nearest_finds_the_closest_row_and_its_distance():
    others = torch.tensor([[0.0, 0.0], [3.0, 4.0], [10.0, 0.0]])
    distance, which = nearest(torch.tensor([[0.0, 1.0], [9.0, 0.0]]), others)
    assert distance.tolist() == [1.0, 1.0] and which.tolist() == [0, 2]


def test_intervals_hold_the_figure_and_narrow_with_the_sample():
    small, large = (precision_recall(blobs(n, 0), blobs(n, 1)).precision for n in (60, 600))
    for e in (small, large):
        assert 0 <= e.low <= e.value <= e.high <= 1
    assert large.high - large.low < small.high - small.low


@pytest.mark.parametrize(
    ("real", "fake", "k", "message"),
    [
        (torch.randn(3, 2), torch.randn(9, 2), 3, r"real must be .* got shape \(3, 2\) and k=3"),
        (torch.randn(9, 2), torch.randn(9, 2, 1), 3, "generated must be"),
        (torch.randn(9, 2), torch.randn(9, 3), 3, "got 2 and 3"),
        (torch.randn(9, 2), torch.randn(9, 2), 0, "k=0"),
        (torch.randn(9, 2), torch.full((9, 2), float("inf")), 3, "9 of 9 rows"),
    ],
)
def test_coverage_metrics_refuse_bad_sets(real, fake, k, message):
    for metric in (precision_recall, density_coverage):
        with pytest.raises(ValueError, match=message):
            metric(real, fake, k=k)
