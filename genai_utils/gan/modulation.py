"""What StyleGAN2 is made of: resampling by a filter, and convolutions whose weights follow a style.

Sources: [SG2] Karras et al. 2020, arXiv:1912.04958, Sec. 2.2. [ADA] Karras et al. 2020, arXiv:2006.06676, whose
         PyTorch code names the operation upfirdn.
Shapes:  B batch, C channels, H, W height and width, I and O maps into and out of a convolution, k its side.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.gan.gan import full


def upfirdn(
    x: Tensor, kernel: Tensor, *, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0), gain: float = 1.0
) -> Tensor:
    """Put up - 1 zeros after every pixel, pad, convolve each map with `kernel`, keep one place of `down` per axis.

    Args:
        x: (B, C, H, W).
        kernel: (k, k) filter; it is turned round, as a convolution does and `F.conv2d` does not.
        up, down: at least 1.
        pad: zeros before and after, at all four sides alike.
        gain: factor of the result; up^2 keeps the brightness of what is upsampled with a kernel of sum 1.
    Returns:
        (B, C, H', W') with H' = (up H + pad[0] + pad[1] - k) // down + 1.
    """
    b, c, h, w = x.shape
    taps = (kernel * gain).to(x.dtype).flip(0, 1).expand(c, 1, -1, -1)
    if up > 1:
        stuffed = F.pad(x.view(b, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1))
        x = stuffed.reshape(b, c, up * h, up * w)
    if pad[0] != pad[1]:
        x, pad = F.pad(x, (*pad, *pad)), (0, 0)
    # One map per group and the square kernel: 1.1 to 2 times as fast on a CPU as a row and a column one after another
    return F.conv2d(x, taps, stride=down, padding=pad[0], groups=c)


class Resample(nn.Module):
    """`upfirdn` with the filter [1, 3, 3, 1] along both axes, of sum 1: it takes part in every change of side."""

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("kernel", torch.outer(taps, taps) / taps.sum() ** 2, persistent=False)

    def up(self, x: Tensor) -> Tensor:
        """Return (B, C, 2H, 2W)."""
        return upfirdn(x, self.kernel, up=2, pad=(2, 1), gain=4)

    def down(self, x: Tensor) -> Tensor:
        """Return (B, C, H/2, W/2)."""
        return upfirdn(x, self.kernel, down=2, pad=(1, 1))

    def blur(self, x: Tensor, pad: int, gain: float = 1.0) -> Tensor:
        """Return (B, C, H + 2 pad - 3, W + 2 pad - 3)."""
        return upfirdn(x, self.kernel, pad=(pad, pad), gain=gain)


def modulate(weight: Tensor, style: Tensor, *, demodulate: bool = True) -> Tensor:
    """Return weights for each image, (B, O, I, k, k): input maps scaled by the style, output maps at unit norm.

    Args:
        weight: (O, I, k, k).
        style: (B, I) scales of the input maps.
        demodulate: divide by the norm over I, k, k, so that maps of unit variance stay so whatever the style.
    Source: [SG2] Eq. 1 and 3.
    """
    w = weight * style.to(weight.dtype)[:, None, :, None, None]  # Eq. 1
    return w * torch.rsqrt(w.square().sum((2, 3, 4), keepdim=True) + 1e-8) if demodulate else w  # Eq. 3


def modulated_conv(x: Tensor, weights: Tensor, *, up: bool = False) -> Tensor:
    """Convolve each image with weights of its own: one convolution with a group per image.

    Args:
        x: (B, I, H, W).
        weights: (B, O, I, k, k) from `modulate`.
        up: transposed convolution at a stride of 2, to (B, O, 2H + k - 2, 2W + k - 2); else zeros at the edges keep
            the side: (B, O, H, W) for odd k.
    """
    b, o, i, k, _ = weights.shape
    x = x.reshape(1, b * i, *x.shape[2:])
    if up:
        y = F.conv_transpose2d(x, weights.transpose(1, 2).flatten(0, 1), stride=2, groups=b)
    else:
        y = F.conv2d(x, weights.flatten(0, 1), padding=k // 2, groups=b)
    return y.view(b, o, *y.shape[2:])


def scaled_conv(x: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool = True, up: bool = False) -> Tensor:
    """Return ``modulated_conv(x, modulate(weight, style))`` by one convolution for all images: faster.

    Scaling the input maps is scaling x before, and demodulation is dividing the output maps afterwards. Half precision
    would overflow in between: so the style is first divided by its largest number, and the weight by the root of its
    inputs, which is undone at the end. That suits weights of about unit variance, as they start.

    Args:
        x: (B, I, H, W).
        weight: (O, I, k, k).
        style: (B, I) scales of the input maps.
        demodulate, up: as in `modulate` and `modulated_conv`.
    Source: [SG2] Sec. 2.2.
    """
    style, c = full(style), math.sqrt(weight[0].numel())
    largest = style.detach().abs().amax(1, keepdim=True).clamp(min=1e-20) if demodulate else 1.0
    x, w = x * (style / largest).to(x.dtype)[:, :, None, None], weight / c
    y = F.conv_transpose2d(x, w.transpose(0, 1), stride=2) if up else F.conv2d(x, w, padding=weight.shape[3] // 2)
    gain = c * largest
    if demodulate:
        squares = full(weight).square().sum((2, 3))
        gain = gain * torch.rsqrt((style.square()[:, None] * squares).sum(2) + 1e-8)  # Eq. 3
        return y * gain.to(y.dtype)[:, :, None, None]
    return y * gain


def activate(x: Tensor, clamp: float | None = None) -> Tensor:
    """Return sqrt(2) leaky_relu(x, 0.2), which keeps unit variance nearly so, bounded by +-clamp."""
    return bound(F.leaky_relu(x, 0.2) * math.sqrt(2), clamp)


def bound(x: Tensor, clamp: float | None) -> Tensor:
    return x if clamp is None else x.clamp(-clamp, clamp)
