"""The test digits that stand beside the drawing pads, and what becomes of a drawn picture before a model sees it."""

import torch
from torch import Tensor

from genai_utils.weights import load_tensors


TEN = [6 * k + 2 for k in range(10)]  # of the sixty, one of each kind: 0, 1, ... 9


def digits(indices: list[int]) -> Tensor:
    """Return MNIST test digits that no model of the book was trained on, (n, 1, 28, 28) uint8."""
    return load_tensors("vae-test-digits")["images"][indices]


def grey(pixels: list[int]) -> Tensor:
    """Return 784 bytes as a picture (1, 1, 28, 28) in [-1, 1]."""
    return torch.tensor(pixels, dtype=torch.float32).view(1, 1, 28, 28) / 127.5 - 1


def binary(pixels: list[int]) -> Tensor:
    """Return 784 bytes as a picture (1, 1, 28, 28) of -1 and 1."""
    return torch.where(torch.tensor(pixels).view(1, 1, 28, 28) > 127, 1.0, -1.0)
