"""Series: what a set refuses, and the sunspots."""

import math

import pytest
import torch

from genai_utils.data import SeriesSet, load
from genai_utils.data.series import SUNSPOTS


def test_sunspots_are_cut_after_1920_and_the_test_knows_what_came_before():
    train, test = load("sunspots"), load("sunspots", "test")
    assert train.times.tolist() == list(range(1700, 1921)) and test.times.tolist() == list(range(1921, 2009))
    assert torch.equal(test.extra["history"], train.values)
    assert torch.equal(test.extra["history_times"], train.times)
    assert len(train.extra["history"]) == len(train.extra["history_times"]) == 0
    assert train.values.dtype == torch.float32 and "sunspots" in train.unit and len(test) == 88


def test_sunspots_are_the_known_series():
    train, test = load("sunspots"), load("sunspots", "test")
    values = dict(zip([*train.times.tolist(), *test.times.tolist()], torch.cat([train.values, test.values]).tolist()))
    assert max(values, key=values.get) == 1957  # the highest peak on record
    assert {year for year, v in values.items() if v == 0} == {1711, 1712, 1810}
    assert abs(values[1957] - 190.2) < 1e-4 and min(values.values()) == 0


def test_sunspots_come_back_every_eleven_years():
    x = load("sunspots").values.double()
    x = x - x.mean()
    alike = [(x[lag:] * x[: len(x) - lag]).mean() for lag in range(5, 16)]
    assert 5 + int(torch.stack(alike).argmax()) in (10, 11)


def test_sunspots_file_is_small():
    assert SUNSPOTS.stat().st_size < 5_000


def test_series_moves_whole():
    data = load("sunspots", "test")
    moved = data.to("cpu")
    assert torch.equal(moved.values, data.values) and torch.equal(moved.times, data.times)


@pytest.mark.parametrize(
    ("values", "times", "message"),
    [
        ([1.0, math.nan, 2.0], [1, 2, 3], "finite, got nan at time 2"),
        ([1.0, 2.0, -math.inf], [1, 2, 3], "finite, got -inf at time 3"),
        ([1.0, 2.0], [1, 2, 3], r"times must be \(2,\) int64.*got \(3,\)"),
        ([1.0, 2.0, 3.0], [1, 2, 2], "increase strictly, got 2 before 2"),
        ([1.0, 2.0, 3.0], [3, 2, 4], "increase strictly, got 3 before 2"),
        ([1.0, 2.0], [1.0, 2.0], "int64.*float32"),
        ([1, 2], [1, 2], "values must be.*float32.*int64"),
        ([[1.0, 2.0]], [1, 2], r"values must be \(T,\)"),
        ([], [], "at least 1"),
    ],
)
def test_series_refuses_what_does_not_fit(values, times, message):
    values = torch.tensor(values)
    with pytest.raises(ValueError, match=message):
        SeriesSet("s", values, torch.tensor(times), "metres")


def test_sunspots_have_no_options():
    with pytest.raises(ValueError, match="sunspots has no option n; it has none"):
        load("sunspots", n=3)
