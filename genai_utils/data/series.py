"""Series: one number after another, at regular times. Embedded is `sunspots`, a number a year since 1700.

Sources: yearly means of the sunspot number, National Geophysical Data Center (NOAA), public domain: the historical
         series, which ends in 2008. (The series was recalibrated in 2015; that one is another.)
Shapes:  T times.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SUNSPOTS = Path(__file__).with_name("sunspots.txt")
LAST_TRAINING_YEAR = 1920


@dataclass(frozen=True)
class SeriesSet:
    """A series of real numbers and when each was observed.

    Raises:
        ValueError: no value; shapes or types that differ from those below; a value that is not finite; times that do
            not increase.
    """

    name: str
    values: Tensor  # (T,) float32, in `unit`
    times: Tensor  # (T,) int64, strictly increasing
    unit: str
    extra: dict[str, Any] = field(default_factory=dict)  # what else is known: history, source

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or self.values.dtype != torch.float32 or not len(self.values):
            got = f"{tuple(self.values.shape)} {self.values.dtype}"
            raise ValueError(f"values must be (T,) float32 with T at least 1, got {got}")
        if self.times.shape != self.values.shape or self.times.dtype != torch.int64:
            got = f"{tuple(self.times.shape)} {self.times.dtype}"
            raise ValueError(f"times must be ({len(self.values)},) int64, one per value, got {got}")
        if not (finite := self.values.isfinite()).all():
            k = int(finite.logical_not().nonzero()[0])
            got = f"{self.values[k].item()} at time {self.times[k].item()}"
            raise ValueError(f"values must be finite, got {got}; fill the gap or cut the series there")
        if not (self.times.diff() > 0).all():
            k = int((self.times.diff() <= 0).nonzero()[0])
            got = f"{self.times[k].item()} before {self.times[k + 1].item()}"
            raise ValueError(f"times must increase strictly, got {got}; sort the series and drop double times")

    def __len__(self) -> int:
        return len(self.values)

    def to(self, device: torch.device | str) -> "SeriesSet":
        """Return the set with values and times on `device` (extra stays where it is)."""
        return replace(self, values=self.values.to(device), times=self.times.to(device))


def sunspots(split: str = "train") -> SeriesSet:
    """Return the yearly mean number of sunspots: 1700 to 1920 for training (221 years), 1921 to 2008 for test (88).

    The number goes up and down in about 11 years; it is never negative, and its peaks differ greatly. What came before
    the split stands in `extra["history"]` (H,) float32 and `extra["history_times"]` (H,) int64, so that a forecast of
    the first test years has a past to start from; in training both are empty.
    """
    rows = [line.split() for line in SUNSPOTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    times = torch.tensor([int(year) for year, _ in rows])
    values = torch.tensor([float(number) for _, number in rows], dtype=torch.float32)
    first = int((times <= LAST_TRAINING_YEAR).sum())
    here = slice(None, first) if split == "train" else slice(first, None)
    before = slice(0, 0) if split == "train" else slice(None, first)
    extra = {
        "history": values[before],
        "history_times": times[before],
        "source": "National Geophysical Data Center (NOAA); public domain",
    }
    return SeriesSet("sunspots", values[here], times[here], "sunspots, mean of the year", extra)
