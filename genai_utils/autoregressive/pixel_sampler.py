"""Drawing pictures from a PixelCNN pixel by pixel, each activation of the two gated stacks computed once.

The obvious sampler runs the whole network for every pixel, and throws all but one pixel of its output away. But the
vertical stack at a row depends on the rows above only: it is computed for a whole row at a time, when that row begins.
The horizontal stack at a pixel reads the pixels to its left, whose activations are kept. What is left to do at a pixel
is a product of a small matrix and a vector, twice a layer.

Sources: [GATED] van den Oord et al. 2016b, arXiv:1606.05328, Sec. 2.2. [FAST] Ramachandran et al. 2017,
         arXiv:1704.06001 (the idea of a cache: rows for the vertical stack, pixels for the horizontal one).
Shapes:  n pictures, H = W side, r row, c column, D width, K levels, t taps of a horizontal kernel.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from genai_utils.autoregressive.pixelcnn import ClassBias, PixelCNN, from_levels, to_levels


class GatedCache:
    """What the gated stacks have computed so far: `start_row(r)`, then `step(c)` and `put(c, x)` at each column."""

    def __init__(self, model: PixelCNN, n: int, labels: Tensor | None) -> None:
        """Take room for n pictures and turn every kernel into the matrix of a product."""
        cfg, layers, self.layers = model.cfg, model.layers, range(model.cfg.n_layers)
        H, D, self.m0, self.m = cfg.side, cfg.width, cfg.first_kernel // 2, cfg.kernel // 2
        self.H, new = H, model.head[1].weight.new_zeros
        # x and v have rows first, then columns, with margins above and on both sides
        self.x = new(self.m0 + H, self.m0 + H + self.m0, n, 1)
        self.v = [new(self.m + H, self.m + H + self.m, n, D) for _ in self.layers]  # outputs of the vertical stack
        self.vertical = [_matrix(layer.vertical.weight) for layer in layers]  # (taps d_in, 2D) each
        self.vertical_bias = [_bias(layer.vertical.bias, layer.vertical_classes, labels, n) for layer in layers]
        self.link = [_matrix(layer.link.weight) for layer in layers]  # (2D, 2D) each
        self.link_bias = [_bias(layer.link.bias, layer.horizontal_classes, labels, n) for layer in layers]
        self.across = [_matrix(layer.horizontal.weight) for layer in layers]  # (t d_in, 2D) each
        self.out = [_matrix(layer.out.weight) for layer in layers]  # (D, D) each
        # The rest holds one row. Views of it are made once: at these sizes a slice takes as long as a product.
        h = [new(n, (self.m + H) * D) for _ in self.layers]  # outputs of the horizontal stack, margin on the left
        self.pixel = [[one[:, (self.m + c) * D : (self.m + c + 1) * D] for c in range(H)] for one in h]  # (n, D) each
        self.taps = [[one[:, c * D : (self.m + c + 1) * D] for c in range(H)] for one in h]  # (n, t D): left, and c
        self.sums = [new(H, n, 2 * D) for _ in self.layers]  # before the gate; at first what comes from above
        self.sum = [list(one) for one in self.sums]  # (n, 2D) each
        self.half = [list(one[:, :, :D]) for one in self.sums]  # (n, D) each

    def start_row(self, r: int) -> None:
        """Compute the vertical stack for all of row r, from the rows above, which are known."""
        for i in self.layers:
            rows, m = (self.x[r : r + self.m0], self.m0) if i == 0 else (self.v[i - 1][r : r + self.m + 1], self.m)
            seen = rows.unfold(1, 2 * m + 1, 1).permute(1, 2, 0, 4, 3)  # (W, n, rows, columns, d_in)
            above = (seen.flatten(2) @ self.vertical[i]).add_(self.vertical_bias[i])  # (W, n, 2D)
            torch.matmul(above, self.link[i], out=self.sums[i]).add_(self.link_bias[i])
            a, b = above.chunk(2, dim=2)
            torch.mul(a.tanh_(), b.sigmoid_(), out=self.v[i][self.m + r, self.m : self.m + self.H])
        self.row = self.x[self.m0 + r, self.m0 :, :, 0]  # (W and a margin, n)
        left = self.x[self.m0 + r, :, :, 0].t()
        self.left = [left[:, c : c + self.m0] for c in range(self.H)]  # (n, t) each

    def step(self, c: int) -> Tensor:
        """Return the last layer's output at column c, (n, D), from the pixels to its left; columns come in order."""
        taps = self.left[c]
        for i in self.layers:
            total = self.sum[i][c].addmm_(taps, self.across[i])  # in place: what comes from above is read once
            self.half[i][c].tanh_()
            gated = F.glu(total, 1)  # times the sigmoid, in one call
            if i == 0:
                torch.mm(gated, self.out[0], out=self.pixel[0][c])
            else:
                torch.addmm(self.pixel[i - 1][c], gated, self.out[i], out=self.pixel[i][c])
            taps = self.taps[i][c]
        return self.pixel[-1][c]

    def put(self, c: int, x: Tensor) -> None:
        """Keep the values (n,), in [-1, 1], of the pixels in column c of the row."""
        self.row[c] = x


class WholeRows:
    """The same calls for a masked stack, which has no row to compute beforehand: the network runs for every pixel."""

    def __init__(self, model: PixelCNN, n: int, labels: Tensor | None) -> None:
        H = model.cfg.side
        self.model, self.labels, self.x = model, labels, model.head[1].weight.new_zeros(n, 1, H, H)

    def start_row(self, r: int) -> None:
        self.r = r

    def step(self, c: int) -> Tensor:
        return self.model.features(self.x[:, :, : self.r + 1], self.labels)[:, :, self.r, c]  # rows below do not matter

    def put(self, c: int, x: Tensor) -> None:
        self.x[:, 0, self.r, c] = x


def _matrix(kernel: Tensor) -> Tensor:
    """Turn a kernel (d_out, d_in, rows, columns) into a matrix (rows columns d_in, d_out)."""
    return kernel.permute(2, 3, 1, 0).flatten(0, 2).contiguous()


def _bias(bias: Tensor, classes: ClassBias, labels: Tensor | None, n: int) -> Tensor:
    """Return what a layer adds to the sums of n pictures, (n, 2D)."""
    return classes(bias.expand(n, -1)[:, :, None, None], labels)[:, :, 0, 0]


@torch.no_grad()
def sample_pixels(
    model: PixelCNN,
    n: int,
    labels: Tensor | None = None,
    *,
    temperature: float = 1.0,
    known: Tensor | None = None,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Draw n pictures pixel by pixel, yielding (i, k) after each: k (n, H, W) int64 levels, -1 where none is yet.

    Pixel i is at row i // H, column i % H. `from_levels(k, model.cfg.levels)` are the grey values. With a gated stack
    a pixel costs one pixel (see `GatedCache`); with a masked one the network runs on all rows down to that pixel's.
    Autocast is off within: all is computed in the dtype of the weights.

    Args:
        model: a PixelCNN in evaluation mode.
        n: how many.
        labels: (n,) int64 classes to ask for, if the model takes them.
        temperature: divides the log-probabilities of the levels, above 0; 1 draws from the model.
        known: (n, 1, H, W) floats in [-1, 1], rounded to the model's levels; pixels where `mask` holds are kept.
            Every other pixel is drawn given those before it: a known pixel has no say in what comes before.
        mask: (n or 1, 1, H, W) bool, True where `known` holds. Given exactly when `known` is.
        generator: on the model's device.
    Raises:
        ValueError: n < 1, temperature <= 0; labels, known or mask that do not fit (raised at the first step).
    """
    if n < 1 or not temperature > 0:
        raise ValueError(f"need n >= 1 and temperature > 0, got n={n}, temperature={temperature}")
    model.check_labels(n, labels)
    cfg, like = model.cfg, model.head[1].weight
    H, K = cfg.side, cfg.levels
    k = torch.full((n, H, H), -1, device=like.device)
    all_known, some_known = [False] * H**2, [False] * H**2
    if known is not None or mask is not None:
        kept = _known(model, n, known, mask)
        k[kept] = to_levels(known, K)[:, 0][kept]
        all_known, some_known = kept.flatten(1).all(0).tolist(), kept.flatten(1).any(0).tolist()
    cache = (GatedCache if cfg.stack == "gated" else WholeRows)(model, n, labels)
    wide = torch.promote_types(like.dtype, torch.float32)  # half precision has no room for rare levels
    u = torch.rand(H**2, n, 1, device=like.device, dtype=wide, generator=generator)  # one chance a pixel
    grey = from_levels(torch.arange(K, device=like.device), K, like.dtype)
    for i in range(H**2):
        r, c = divmod(i, H)
        with torch.autocast(like.device.type, enabled=False):
            if c == 0:
                cache.start_row(r)
            h, here = cache.step(c), k[:, r, c]
            if not all_known[i]:
                drawn = draw(model.probabilities(model.params(h)), u[i], temperature)
                here.copy_(torch.where(here < 0, drawn, here) if some_known[i] else drawn)
            cache.put(c, grey.take(here))
        yield i, k.clone()


def draw(p: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
    """Return levels (n,) int64 by inverting the distribution function: level k where u is in its stretch of [0, 1).

    Args:
        p: (n, K) probabilities.
        u: (n, 1) chance, in [0, 1).
        temperature: divides log p, above 0; the result is normalised anew.
    """
    if temperature != 1:
        p = (p / p.amax(1, keepdim=True)) ** (1 / temperature)  # the largest is 1: whatever vanishes is negligible
    below = p.cumsum(1)
    return torch.searchsorted(below, u * below[:, -1:], right=True)[:, 0]


def _known(model: PixelCNN, n: int, known: Tensor | None, mask: Tensor | None) -> Tensor:
    """Return where pixels are known, (n, H, W) bool; see `sample_pixels` for errors."""
    if known is None or mask is None:
        raise ValueError(f"give known and mask together, got {'mask' if known is None else 'known'} alone")
    model.check(known, "known")
    side = model.cfg.side
    if len(known) != n:
        raise ValueError(f"known must hold {n} pictures, one for each that is drawn, got {len(known)}")
    if mask.shape not in ((n, 1, side, side), (1, 1, side, side)) or mask.dtype != torch.bool:
        raise ValueError(f"mask must be ({n} or 1, 1, {side}, {side}) bool, got {tuple(mask.shape)} {mask.dtype}")
    return mask[:, 0].expand(n, -1, -1)
