"""What `load` returns: sets of images or points that live on one device, and batches of them that can be resumed.

Shapes:  N items, B batch, C channels, H, W image sides, T tokens of a row.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


def to_floats(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_pixels(x: Tensor) -> Tensor:
    """Return images in [-1, 1] as uint8, rounded; values outside are clipped. The inverse of `to_floats`."""
    return ((x.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


class Batches:
    """An endless iterator over batches: a fresh permutation every epoch, the last, partial batch dropped.

    The permutation comes from a seeded generator on the CPU, so that batches are the same on every device; the items
    are picked (`take`) on the device where they live. `state_dict` is a handful of integers.
    """

    def __init__(self, take, count: int, size: int, seed: int = 0, device: torch.device | str = "cpu") -> None:
        if not 1 <= size <= count:
            raise ValueError(f"size of a batch must be within [1, {count}], got {size}")
        self.take, self.count, self.size, self.seed, self.device = take, count, size, seed, device
        self._restart()

    def _restart(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)
        self.epoch, self.batch = -1, self.count // self.size  # the first draw opens epoch 0

    def _shuffle(self) -> None:
        self.order = torch.randperm(self.count, generator=self.generator)
        self.epoch, self.batch = self.epoch + 1, 0

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        if self.batch == self.count // self.size:
            self._shuffle()
            self.order = self.order.to(self.device)  # once per epoch: no batch waits for a copy
        first = self.batch * self.size
        self.batch += 1
        return self.take(self.order[first : first + self.size])

    def state_dict(self) -> dict[str, int]:
        """Return where the iterator stands: JSON-safe integers."""
        return {"count": self.count, "size": self.size, "seed": self.seed, "epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go where `state_dict` stood; the next batch is the one that would have come next.

        Raises:
            ValueError: the state belongs to batches of another set, size or seed.
        """
        ours = {"count": self.count, "size": self.size, "seed": self.seed}
        if ours != {k: state.get(k) for k in ours}:
            raise ValueError(f"the state is of other batches: it has {state}, these have {ours}")
        self._restart()
        for _ in range(state["epoch"] + 1):
            self._shuffle()
        if state["epoch"] >= 0:
            self.order, self.batch = self.order.to(self.device), state["batch"]


class StreamBatches:
    """An endless iterator over one long text: (tokens (B, T), targets (B, T), fresh), on the tokens' device.

    The stream is cut into B strips of equal length, read side by side and in order: row b of a batch goes on where row
    b of the last one ended, so that a recurrent model can carry its state along. `fresh` is True when the strips start
    again, in the first batch of every pass: then the state must be forgotten. Targets are the tokens one place on.
    A tail of at most B T tokens is left out. `state_dict` is a handful of integers.

    Args:
        tokens: (N,) int64, N > B T.
        size: B, at least 1.
        length: T, at least 1.
    Raises:
        ValueError: tokens of another shape or type; a size or length that does not fit the stream.
    """

    def __init__(self, tokens: Tensor, size: int, length: int) -> None:
        if not isinstance(tokens, Tensor) or tokens.ndim != 1 or tokens.dtype != torch.int64:
            got = f"{tuple(tokens.shape)} {tokens.dtype}" if isinstance(tokens, Tensor) else type(tokens).__name__
            raise ValueError(f"tokens must be (N,) int64, got {got}; encode the text with a tokenizer")
        for name, value in (("size", size), ("length", length)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if size * length >= len(tokens):
            raise ValueError(
                f"size {size} times length {length} must be less than the {len(tokens)} tokens of the stream (the last "
                "of them is only a target); lower one of them"
            )
        self.count, self.size, self.length = len(tokens), size, length
        self.steps = (len(tokens) - 1) // (size * length)  # batches in a pass
        used = self.steps * size * length
        self._tokens, self._targets = (x.view(size, -1) for x in (tokens[:used], tokens[1 : used + 1]))  # strips
        self.epoch, self.batch = 0, 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, bool]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor, bool]:
        if self.batch == self.steps:
            self.epoch, self.batch = self.epoch + 1, 0
        part = slice(self.batch * self.length, (self.batch + 1) * self.length)
        self.batch += 1
        return self._tokens[:, part], self._targets[:, part], self.batch == 1

    def state_dict(self) -> dict[str, int]:
        """Return where the iterator stands: JSON-safe integers."""
        return {"count": self.count, "size": self.size, "length": self.length, "epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go where `state_dict` stood; the next batch is the one that would have come next.

        Raises:
            ValueError: the state belongs to batches of another stream, size or length.
        """
        ours = {"count": self.count, "size": self.size, "length": self.length}
        if ours != {k: state.get(k) for k in ours}:
            raise ValueError(f"the state is of other batches: it has {state}, these have {ours}")
        self.epoch, self.batch = state["epoch"], state["batch"]


@dataclass(frozen=True)
class ImageSet:
    """Labelled images as one uint8 tensor; it moves to a GPU whole, and batches are picked there."""

    name: str
    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64, indices into `classes`
    classes: tuple[str, ...]
    extra: dict[str, Any] = field(default_factory=dict)  # what else is known: factors, captions, source, note

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise ValueError(f"images must be (N, C, H, W) uint8, got {tuple(self.images.shape)} {self.images.dtype}")
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != torch.int64:
            raise ValueError(f"labels must be ({len(self.images)},) int64, got {tuple(self.labels.shape)}")

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "ImageSet":
        """Return the set with images and labels on `device` (extra stays where it is)."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def batches(self, size: int, seed: int = 0) -> Batches:
        """Return an endless, resumable iterator over (x, labels): (B, C, H, W) float32 in [-1, 1], (B,) int64."""

        def take(which: Tensor) -> tuple[Tensor, Tensor]:
            return to_floats(self.images[which]), self.labels[which]

        return Batches(take, len(self), size, seed, self.images.device)

    to_pixels = staticmethod(to_pixels)


@dataclass(frozen=True)
class PointSet:
    """Points in the plane with the density they were drawn from."""

    name: str
    points: Tensor  # (N, 2) float32, within about [-4, 4]
    density: Any  # an object of toys.py: log_prob(x), sample(n, generator)

    def __len__(self) -> int:
        return len(self.points)

    def to(self, device: torch.device | str) -> "PointSet":
        """Return the set with its points on `device`; `log_prob` follows the device of what it is given."""
        return replace(self, points=self.points.to(device))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the exact log-density in nats, (B,), of x (B, 2), in x's dtype and differentiable."""
        if x.ndim != 2 or x.shape[1] != 2:
            raise ValueError(f"x must be (B, 2), got {tuple(x.shape)}")
        return self.density.log_prob(x)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return n new points, (n, 2) float32, drawn on the CPU by `generator` and put where the set lives."""
        if n < 0:
            raise ValueError(f"n must not be negative, got {n}")
        return self.density.sample(n, generator).float().to(self.points.device)

    def batches(self, size: int, seed: int = 0) -> Batches:
        """Return an endless, resumable iterator over points, (B, 2) float32."""
        return Batches(self.points.__getitem__, len(self), size, seed, self.points.device)
