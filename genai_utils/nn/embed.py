"""Pictures as sentences of patches, and where each patch stands.

Sources: [VIT] Dosovitskiy et al. 2021, arXiv:2010.11929, Sec. 3.1, Eq. 1. [ATT] Vaswani et al. 2017, arXiv:1706.03762,
         Sec. 3.5 (sines of one coordinate). [MAE] He et al. 2021, arXiv:2111.06377, Appendix A.1 (fixed sines).
Shapes:  B batch, C channels, H, W image sides, P side of a patch, h = H / P, w = W / P, N = h w patches, E width.
"""

import torch
from einops import rearrange
from torch import Tensor, nn


def patchify(x: Tensor, patch: int) -> Tensor:
    """Return the patches of pictures, (B, h w, C P P): row by row, each with its channels one after another.

    Args:
        x: (B, C, H, W) pictures.
        patch: P, in pixels; H and W are multiples of it.
    Raises:
        ValueError: x is not (B, C, H, W), or its sides are no multiples of P.
    """
    if x.ndim != 4 or patch < 1 or x.shape[2] % patch or x.shape[3] % patch:
        cure = "crop or pad the pictures, or choose another patch"
        raise ValueError(f"pictures must be (B, C, H, W), sides multiples of {patch}, got {tuple(x.shape)}; {cure}")
    return rearrange(x, "b c (h p) (w q) -> b (h w) (c p q)", p=patch, q=patch)


def unpatchify(patches: Tensor, patch: int, rows: int) -> Tensor:
    """Return the pictures (B, C, H, W) whose patches these are: the inverse of `patchify`.

    Args:
        patches: (B, h w, C P P).
        patch: P, in pixels.
        rows: h, patches from top to bottom.
    Raises:
        ValueError: the patches do not make such a picture.
    """
    if patches.ndim != 3 or rows < 1 or patch < 1 or patches.shape[1] % rows or patches.shape[2] % patch**2:
        raise ValueError(
            f"patches must be (B, N, C * {patch}**2) with N a multiple of rows={rows}, got {tuple(patches.shape)}"
        )
    return rearrange(patches, "b (h w) (c p q) -> b c (h p) (w q)", h=rows, p=patch, q=patch)


class PatchEmbed(nn.Module):
    """(B, C, H, W) -> (B, N, E): every patch through one matrix; the E of [VIT] Eq. 1.

    Args:
        channels: C.
        patch: P, in pixels.
        d_model: E.
    """

    def __init__(self, channels: int, patch: int, d_model: int) -> None:
        super().__init__()
        self.patch = patch
        self.linear = nn.Linear(channels * patch**2, d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(patchify(x, self.patch))


def sine_positions(rows: int, columns: int, width: int, *, base: float = 10_000.0) -> Tensor:
    """Return a fixed vector in [-1, 1] for every place of a grid, (h w, E) float32, row by row.

    The first half tells the row, the second the column; each is the sines, then the cosines, of the coordinate at E / 4
    wavelengths from 2 pi to nearly 2 pi base, in geometric steps; [ATT] Sec. 3.5 for one coordinate.

    Args:
        rows: h, at least 1.
        columns: w, at least 1.
        width: E, a multiple of 4.
        base: ratio of the longest wavelength to the shortest, but for the last step.
    Raises:
        ValueError: a size out of range.
    """
    if rows < 1 or columns < 1 or width < 4 or width % 4:
        raise ValueError(f"need rows, columns >= 1 and a width that is a multiple of 4, got {rows}, {columns}, {width}")
    frequency = base ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angle = lambda n: torch.arange(n, dtype=torch.float64)[:, None] * frequency  # (n, E / 4)
    row, column = (torch.cat([a.sin(), a.cos()], 1) for a in (angle(rows), angle(columns)))  # (h, E / 2), (w, E / 2)
    each = [row[:, None].expand(rows, columns, -1), column[None].expand(rows, columns, -1)]
    return torch.cat(each, 2).flatten(0, 1).float()
