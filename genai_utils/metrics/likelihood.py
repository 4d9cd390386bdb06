"""Units of likelihood: nats, bits per dimension, perplexity.

Bits per dimension are comparable only for the same 8-bit data under a discrete or dequantised likelihood; say of every
figure whether it is exact, a bound or an estimate.

Sources: [NOTE] Theis et al. 2016, arXiv:1511.01844, Sec. 3.1 (dequantised densities bound discrete likelihoods).
"""

import math

from torch import Tensor


def bits_per_dim(nats: float | Tensor, dims: int, *, bin_width: float = 1.0) -> float | Tensor:
    """Turn a negative log-likelihood in nats per sample into bits per dimension.

    Args:
        nats: -log p(x), summed over the sample's dimensions; a float or a tensor of any shape.
        dims: how many dimensions, for example C * H * W.
        bin_width: 1 for a probability of the discrete values. For a *density* of uniformly dequantised values, the
            width of one grey level in the scale of x: 1/256 for x in [0, 1], 2/256 for x in [-1, 1]; [NOTE] Sec. 3.1.
    Raises:
        ValueError: dims < 1 or bin_width <= 0.
    """
    _check(dims, bin_width)
    return (nats / dims - math.log(bin_width)) / math.log(2)


def nats_from_bits(bits: float | Tensor, dims: int, *, bin_width: float = 1.0) -> float | Tensor:
    """Turn bits per dimension into nats per sample: the inverse of `bits_per_dim`, same arguments."""
    _check(dims, bin_width)
    return (bits * math.log(2) + math.log(bin_width)) * dims


def perplexity(nats: float | Tensor) -> float | Tensor:
    """Return exp(nats): as uncertain as a fair choice among that many tokens.

    Args:
        nats: mean negative log-likelihood per token, in nats; at least 0.
    """
    return nats.exp() if isinstance(nats, Tensor) else math.exp(nats)


def _check(dims: int, bin_width: float) -> None:
    if dims < 1 or bin_width <= 0:
        raise ValueError(f"need dims >= 1 and bin_width > 0, got dims={dims}, bin_width={bin_width}")
