"""Equalised learning rate and minibatch standard deviation: two devices of progressive growing that StyleGAN2 kept.

Sources: [PG] Karras et al. 2018, arXiv:1710.10196, Sec. 3 (minibatch standard deviation) and 4.1 (equalised learning
         rate). [SG2] Karras et al. 2020, arXiv:1912.04958, whose code has groups and several channels of it;
         `lr_mul` is from StyleGAN's mapping.
Shapes:  B batch, C channels, H, W height and width, G images of a group, F statistics per group.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class EqualLinear(nn.Module):
    """y = x W^T c + b m, with W stored at unit variance and c = gain m / sqrt(inputs) applied at every call; [PG] 4.1.

    Adam's steps are of one size whatever the gradient's scale, so that a weight stored at unit variance learns at a
    rate that does not depend on the width of its layer. At the start y has variance gain^2 mean(x^2).

    Args:
        inputs, outputs: numbers in and out, at least 1.
        bias: whether there is a b, which starts at 0.
        gain: sqrt(2) before a (leaky) ReLU, 1 otherwise.
        lr_mul: m, the speed at which this layer learns in units of the learning rate, > 0; it leaves y as it is at the
            start (W is stored 1 / m times as large).
    Raises:
        ValueError: a size below 1, or lr_mul not above 0.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True, gain: float = 1.0, lr_mul: float = 1.0) -> None:
        super().__init__()
        _check_sizes(inputs=inputs, outputs=outputs)
        if not lr_mul > 0:
            raise ValueError(f"lr_mul must be above 0, got {lr_mul}; 1 is the plain layer")
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_mul)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.lr_mul = gain * lr_mul / math.sqrt(inputs), lr_mul

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., outputs) from x (..., inputs)."""
        bias = self.bias * self.lr_mul if self.bias is not None and self.lr_mul != 1 else self.bias
        return F.linear(x, self.weight * self.scale, bias)

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"{inputs}, {outputs}, bias={self.bias is not None}, scale={self.scale:.4g}, lr_mul={self.lr_mul:g}"


class EqualConv2d(nn.Module):
    """A convolution whose weight is stored at unit variance and scaled by gain / sqrt(inputs kernel^2); [PG] 4.1.

    Args:
        inputs, outputs: channels in and out, at least 1.
        kernel: side of the square kernel, at least 1.
        stride, padding: as in `nn.Conv2d`.
        bias: whether there is a bias, which starts at 0.
        gain: sqrt(2) before a (leaky) ReLU, 1 otherwise.
    Raises:
        ValueError: a size below 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        _check_sizes(inputs=inputs, outputs=outputs, kernel=kernel)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.stride, self.padding = gain / math.sqrt(inputs * kernel**2), stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H', W') from x (B, inputs, H, W)."""
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)

    def extra_repr(self) -> str:
        outputs, inputs, kernel, _ = self.weight.shape
        return (
            f"{inputs}, {outputs}, {kernel}, stride={self.stride}, padding={self.padding}, "
            f"bias={self.bias is not None}, scale={self.scale:.4g}"
        )


def minibatch_std(x: Tensor, group: int = 4, channels: int = 1) -> Tensor:
    """Return x with `channels` more maps: how much the images of a group differ, (B, C + channels, H, W).

    A generator that repeats one image is thereby given away. The standard deviation over a group's images is taken at
    every place and channel, then averaged over the places and over each of `channels` equal parts of C. Image n is in
    group n mod (B / G), as in [SG2]'s code.

    Args:
        x: (B, C, H, W).
        group: G, at least 1; B divides into groups of this size. A batch smaller than that is one group.
        channels: F, at least 1; divides C.
    Raises:
        ValueError: B is no multiple of the group, or C none of channels.
    Source: [PG] Sec. 3, with one group of the whole batch and F = 1.
    """
    b, c, h, w = x.shape
    group = min(group, b)
    if group < 1 or b % group:
        raise ValueError(f"a batch of {b} does not divide into groups of {group}: choose a batch that is a multiple")
    if channels < 1 or c % channels:
        raise ValueError(f"{c} channels do not divide into {channels} statistics: choose a divisor of {c}")
    y = x.to(torch.promote_types(x.dtype, torch.float32)).reshape(group, b // group, channels, c // channels, h, w)
    std = (y.var(0, correction=0) + 1e-8).sqrt()  # (B/G, F, C/F, H, W); half precision would lose the 1e-8
    statistic = std.mean((2, 3, 4)).to(x.dtype)  # (B/G, F)
    return torch.cat([x, statistic.repeat(group, 1)[:, :, None, None].expand(-1, -1, h, w)], dim=1)


def _check_sizes(**sizes: int) -> None:
    if bad := {name: size for name, size in sizes.items() if size < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
