"""One protocol for every family: the same data, parameters, training compute, seeds and sample sizes.

A protocol is a frozen config: what it says is stored beside every result.

Shapes:  N pictures, H = W side, K = 10 classes, the digits.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from genai_utils.data import load
from genai_utils.data.sets import ImageSet

DIGITS = "0123456789"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    data: str = "glyphs"  # "glyphs": embedded, shrunk to 16x16; "mnist": 28x28, padded to 32x32, downloaded
    side: int = 16  # H of the pictures as models see them
    n_train: int | None = None  # pictures to train on; None: all that the set has
    parameters: int = 100_000  # trained parameters, of all networks of a family together
    tolerance: float = 0.05  # largest relative difference from it
    flops: float = 3e13  # training compute, counted
    seconds: float = 1000.0  # training compute of the second table: seconds of one CPU thread, or of the GPU
    decay: float = 0.999  # of the moving average of weights from which all samples are drawn
    n_samples: int = 2_000  # pictures that are drawn to be judged, and real ones beside them: half of the test set
    n_likelihood: int = 1_000  # held-out pictures whose likelihood is computed, where one network call each is enough
    n_integral: int = 64  # the same, where it takes hundreds of calls: diffusion and flow matching
    seeds: tuple[int, ...] = (0, 1, 2)


PRESETS = {
    "embedded": Protocol(),
    "full": Protocol(data="mnist", side=32, parameters=2_000_000, flops=2e15, seconds=600.0, n_samples=5_000),
}


def quick(protocol: Protocol, flops: float) -> Protocol:
    """Return the same protocol with less compute and fewer pictures to judge: the slice that the chapter runs live."""
    return replace(protocol, flops=flops, n_samples=500, n_likelihood=200, n_integral=8)


def load_pictures(protocol: Protocol) -> tuple[ImageSet, ImageSet]:
    """Return (train, test) pictures of the ten digits, (N, 1, H, H) uint8.

    Raises:
        ValueError: unknown data, or a side that the data does not have.
        genai_utils.data.DataError: MNIST cannot be had; the message says what would serve instead.
    """
    if (known := {"glyphs": 16, "mnist": 32}).get(protocol.data) != protocol.side:
        raise ValueError(
            f"data and side must be one of {known}, got data={protocol.data!r} and side={protocol.side}; "
            "PRESETS has both"
        )
    sets = []
    for split, n in (("train", protocol.n_train), ("test", None)):
        if protocol.data == "glyphs":
            found = load("glyphs", split, n=n, classes=DIGITS)
            found = replace(found, images=shrink(found.images))
        else:
            found = load("mnist", split)
            keep = slice(None) if n is None else slice(n)
            images = F.pad(found.images[keep], (2, 2, 2, 2))
            found = replace(found, images=images, labels=found.labels[keep])
        sets.append(found)
    return sets[0], sets[1]


def shrink(images: Tensor) -> Tensor:
    """Return pictures of side 28, (N, 1, 28, 28) uint8, at side 16: the middle 24 pixels, averaged over 1.5 x 1.5 each.

    The average is exact: every pixel is doubled, then three by three are one.

    Raises:
        ValueError: pictures of another shape or type.
    """
    if images.shape[1:] != (1, 28, 28) or images.dtype != torch.uint8:
        raise ValueError(f"images must be (N, 1, 28, 28) uint8, got {tuple(images.shape)} {images.dtype}")
    middle = images[:, :, 2:26, 2:26].float()
    doubled = middle.repeat_interleave(2, 2).repeat_interleave(2, 3)  # (N, 1, 48, 48)
    return F.avg_pool2d(doubled, 3).round().to(torch.uint8)


def draw_labels(n: int) -> Tensor:
    """Return n labels, (n,) int64, every class equally often (as nearly as n allows): 0, 1, ..., 9, 0, ..."""
    return torch.arange(n) % len(DIGITS)
