"""Random numbers that Python and a web page draw alike: the same seed gives the same picture in both.

Sources: mulberry32, T. Ettinger 2017 (public domain): a counter whose steps are mixed into 32 bits. Box & Muller 1958,
         Annals of Mathematical Statistics 29(2): two normal numbers from two uniform ones. random.js is its twin.
"""

import numpy as np
import torch
from torch import Tensor

STRIDE = 0x6D2B79F5


class SharedRandom:
    """A stream of numbers from a seed in [0, 2^32). It serves pictures and tales, not cryptography."""

    def __init__(self, seed: int) -> None:
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed must be in [0, 2^32), got {seed}")
        self.state = seed

    def uniform(self, n: int) -> np.ndarray:
        """Return n numbers in [0, 1), float64 of 32 bits each."""
        a = (self.state + STRIDE * np.arange(1, n + 1, dtype=np.uint64)).astype(np.uint32)
        self.state = (self.state + STRIDE * n) % 2**32
        t = (a ^ (a >> np.uint32(15))) * (a | np.uint32(1))
        t = (t + (t ^ (t >> np.uint32(7))) * (t | np.uint32(61))) ^ t
        return (t ^ (t >> np.uint32(14))) / 2.0**32

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers, float32; an odd number of them uses up one more."""
        n = int(np.prod(shape))
        u, v = self.uniform(n + n % 2).reshape(-1, 2).T
        radius, angle = np.sqrt(-2 * np.log(1 - u)), 2 * np.pi * v
        pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return torch.from_numpy(pairs.reshape(-1)[:n].astype(np.float32)).view(shape)

    def pick(self, p: Tensor) -> int:
        """Return an index drawn with probabilities p (n,), which need not sum to 1: the first whose sum passes u."""
        total = torch.cumsum(p.double(), 0)
        return int(torch.searchsorted(total, self.uniform(1)[0] * total[-1], right=True).clamp(max=len(p) - 1))
