"""PixelCNN: p(x) as a product over pixels, row by row, each given those before it; masked and gated convolutions.

Sources: [PCNN] van den Oord et al. 2016a, arXiv:1601.06759, Sec. 2.2, 3.4, 3.5 (softmax over levels, masks A, B).
         [GATED] van den Oord et al. 2016b, arXiv:1606.05328, Sec. 2.1 to 2.3, Eq. 2 and 4 (gate, two stacks, classes).
         [PCNN++] Salimans et al. 2017, arXiv:1701.05517, Sec. 2.1, Eq. 2 (discretised mixture of logistics).
Shapes:  B batch, H = W image side, K levels of grey, M logistics, D width; params (B, K or 3M, H, W).
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_LOG_SCALE = -7.0  # in units of x; exp(-7) is an eighth of one of 256 levels


@dataclass(frozen=True, kw_only=True)
class PixelCNNConfig:
    side: int = 28  # H = W, in pixels
    channels: int = 1  # grey only
    levels: int = 256  # K: 2 for black and white, 4, 8, 16 or 256 levels of grey
    output: str = "logistic"  # "softmax": a logit for each level; "logistic": a mixture of discretised logistics
    n_mixtures: int = 10  # M, of the logistic output
    stack: str = "gated"  # "gated": two stacks that see all; "masked": one stack, with a blind spot
    width: int = 32  # D
    n_layers: int = 6  # convolutions one above another, the first included
    first_kernel: int = 7  # side of the first kernel, odd and at least 3
    kernel: int = 3  # side of the others, odd and at least 3
    n_classes: int = 0  # classes of pictures, of which a label names one; 0: no labels


PRESETS = {
    "binary": PixelCNNConfig(levels=2, output="softmax"),
    "mnist": PixelCNNConfig(output="softmax", width=48, n_layers=8, n_classes=10),
}


def to_levels(x: Tensor, levels: int) -> Tensor:
    """Return the nearest of `levels` equally spaced levels, int64 in [0, levels), of x in [-1, 1]."""
    return ((x + 1) * ((levels - 1) / 2)).round().clamp(0, levels - 1).long()


def from_levels(k: Tensor, levels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the grey values in [-1, 1] of levels k, int64 in [0, levels): the inverse of `to_levels`."""
    return k.to(dtype) * (2 / (levels - 1)) - 1


def gate(x: Tensor) -> Tensor:
    """Map (B, 2D, ...) to (B, D, ...): tanh of the one half times sigmoid of the other; [GATED] Eq. 2."""
    a, b = x.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(b)


class ClassBias(nn.Module):
    """A constant per feature map for each class, added before a non-linearity; [GATED] Eq. 4 and below."""

    def __init__(self, n_classes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(n_classes, width) if n_classes else None
        if self.table is not None:
            nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return x if self.table is None else x + self.table(labels).to(x.dtype)[:, :, None, None]


class MaskedConv2d(nn.Conv2d):
    """A convolution whose kernel is zero from the pixel on (mask A) or after it (mask B); [PCNN] Sec. 3.4."""

    def __init__(self, kind: str, d_in: int, d_out: int, kernel: int) -> None:
        super().__init__(d_in, d_out, kernel, padding=kernel // 2)
        mask = torch.zeros(kernel, kernel)
        mask[: kernel // 2] = 1
        mask[kernel // 2, : kernel // 2 + (kind == "B")] = 1
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class MaskedLayer(nn.Module):
    """A masked convolution; after the first layer between ReLUs, as a residual. A stack of them has a blind spot."""

    def __init__(self, cfg: PixelCNNConfig, first: bool) -> None:
        super().__init__()
        D, self.first = cfg.width, first
        self.conv = MaskedConv2d("A", 1, D, cfg.first_kernel) if first else MaskedConv2d("B", D, D, cfg.kernel)
        self.classes = ClassBias(cfg.n_classes, D)
        self.out = nn.Conv2d(D, D, 1)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        h = self.classes(self.conv(x if self.first else F.relu(x)), labels)
        h = self.out(F.relu(h))
        return h if self.first else x + h


class GatedLayer(nn.Module):
    """Two stacks: the vertical one sees the rows above, the horizontal one the pixels to the left and the vertical one.

    No kernel has a mask: each is cut to what it may see. In the first layer that is the rows above a pixel, and the
    pixels to its left. After it the kernels take in the row, and the pixel, as well: features there tell of what is
    above, or to the left, only.
    """

    def __init__(self, cfg: PixelCNNConfig, first: bool) -> None:
        super().__init__()
        D, self.first = cfg.width, first
        d_in, kernel = (1, cfg.first_kernel) if first else (D, cfg.kernel)
        taps = kernel // 2 + (not first)  # rows that the vertical kernel sees; pixels that the horizontal one sees
        self.vertical = nn.Conv2d(d_in, 2 * D, (taps, kernel), padding=(kernel // 2, kernel // 2))
        self.horizontal = nn.Conv2d(d_in, 2 * D, (1, taps), padding=(0, kernel // 2), bias=False)
        self.link = nn.Conv2d(2 * D, 2 * D, 1)  # from the vertical stack to the horizontal one
        self.out = nn.Conv2d(D, D, 1, bias=False)  # no bias: the next layer has one, and sampling saves a step
        self.vertical_classes = ClassBias(cfg.n_classes, 2 * D)
        self.horizontal_classes = ClassBias(cfg.n_classes, 2 * D)

    def forward(self, v: Tensor, h: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map both stacks, (B, d_in, H, W) each, to (B, D, H, W) each; [GATED] Fig. 2."""
        H, W = h.shape[2:]
        above = self.vertical_classes(self.vertical(v)[:, :, :H], labels)  # (B, 2D, H, W); outputs below H see too much
        left = self.horizontal(h)[:, :, :, :W]
        out = self.out(gate(self.horizontal_classes(left + self.link(above), labels)))
        return gate(above), out if self.first else h + out


class PixelCNN(nn.Module):
    """params = model(x, labels): of the level of every pixel, given the label and the pixels before it."""

    Config = PixelCNNConfig

    def __init__(self, cfg: PixelCNNConfig) -> None:
        super().__init__()
        _check(cfg)
        self.cfg = cfg
        layer = GatedLayer if cfg.stack == "gated" else MaskedLayer
        self.layers = nn.ModuleList(layer(cfg, first=i == 0) for i in range(cfg.n_layers))
        d_out = cfg.levels if cfg.output == "softmax" else 3 * cfg.n_mixtures
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(cfg.width, cfg.width, 1), nn.ReLU(), nn.Conv2d(cfg.width, d_out, 1)
        )
        if cfg.output == "logistic":  # logistics begin side by side, each as wide as its share of [-1, 1]
            M = cfg.n_mixtures
            with torch.no_grad():
                self.head[3].bias.zero_()[M : 2 * M] = torch.linspace(-1, 1, M + 2)[1:-1]
                self.head[3].bias[2 * M :] = -math.log(M + 1)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return params (B, K or 3M, H, W) in float32 or better; those at a pixel depend on the pixels before it only.

        Args:
            x: (B, 1, H, W) floats in [-1, 1]; rounded to the levels of the config.
            labels: (B,) int64 in [0, n_classes), given exactly when the config has classes.
        Raises:
            ValueError: x of another shape or range; labels missing, not expected or, on a CPU, out of range.
        """
        self.check(x)
        self.check_labels(len(x), labels)
        return self.network(from_levels(to_levels(x, self.cfg.levels), self.cfg.levels, x.dtype), labels)

    def network(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Return what `forward` does, of x that is not checked and not rounded: differentiable, and of any height."""
        return self.params(self.features(x, labels))

    def features(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Return the output of the last layer, (B, D, H, W), of x as `network` takes it."""
        v, h = x, x
        for layer in self.layers:
            if self.cfg.stack == "gated":
                v, h = layer(v, h, labels)
            else:
                h = layer(h, labels)
        return h

    def params(self, h: Tensor) -> Tensor:
        """Return params (B, K or 3M, ...), float32 or better, of features of pictures (B, D, H, W) or pixels (B, D)."""
        if h.ndim == 2:  # one pixel: the same 1 x 1 convolutions, without a convolution's overhead
            for conv in (self.head[1], self.head[3]):
                h = F.linear(F.relu(h), conv.weight.flatten(1), conv.bias)
            params = h
        else:
            params = self.head(h)
        return params.to(torch.promote_types(params.dtype, torch.float32))  # likelihoods are sums of many terms

    def pixel_log_prob(self, params: Tensor, k: Tensor) -> Tensor:
        """Return log p of levels k (B, H, W) int64, in nats at every pixel, (B, H, W), from what `forward` returned."""
        if self.cfg.output == "softmax":
            return -F.cross_entropy(params, k, reduction="none")
        return mixture_log_prob(params, k, self.cfg.levels)

    def probabilities(self, params: Tensor) -> Tensor:
        """Return the probability of every level: (B, K, ...) for params (B, K or 3M, ...), from `forward`."""
        return params.softmax(1) if self.cfg.output == "softmax" else mixture_probabilities(params, self.cfg.levels)

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return log p(x | labels) in nats, (B,), of x (B, 1, H, W) in [-1, 1], rounded to the levels of the config.

        Without labels, a model with classes gives log p(x): the average over its classes, all equally likely.
        """
        if labels is None and (n := self.cfg.n_classes):
            each = torch.stack([self.log_prob(x, torch.full((len(x),), y, device=x.device)) for y in range(n)])
            return each.logsumexp(0) - math.log(n)
        return self.pixel_log_prob(self(x, labels), to_levels(x[:, 0], self.cfg.levels)).sum((1, 2))

    def check(self, x: Tensor, name: str = "x") -> None:
        """Raise a ValueError unless x is (B, 1, H, W) floats, on a CPU in [-1, 1]; the message calls it `name`."""
        side = self.cfg.side
        if x.shape[1:] != (1, side, side) or not x.is_floating_point():
            raise ValueError(f"{name} must be (B, 1, {side}, {side}) floats, got {tuple(x.shape)} {x.dtype}")
        if x.device.type == "cpu" and (bad := ~(x.abs() <= 1)).any():  # a GPU would have to wait
            cure = "genai_utils.data.to_floats scales bytes"
            raise ValueError(f"{name} must be in [-1, 1], got {x[bad][0].item():.4g}; {cure}")

    def check_labels(self, n: int, labels: Tensor | None) -> None:
        """Raise a ValueError unless labels are (n,) int64 in [0, n_classes), or None if there are no classes."""
        n_classes = self.cfg.n_classes
        if (labels is None) != (n_classes == 0):
            wanted = f"labels in [0, {n_classes})" if n_classes else "no labels (n_classes is 0)"
            raise ValueError(f"this PixelCNN takes {wanted}, got {'none' if labels is None else 'some'}")
        if labels is None:
            return
        if labels.shape != (n,) or labels.dtype != torch.int64:
            raise ValueError(f"labels must be ({n},) int64, one a picture, got {tuple(labels.shape)} {labels.dtype}")
        if labels.device.type == "cpu" and (bad := (labels < 0) | (labels >= n_classes)).any():
            raise ValueError(f"labels must be in [0, {n_classes}), got {labels[bad][0].item()}")


def split_mixture(params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-weights, locations and log-scales, (B, M, ...) each, of params (B, 3M, ...)."""
    log_w, mu, log_s = params.chunk(3, dim=1)
    return log_w.log_softmax(1), mu, log_s.clamp(min=LEAST_LOG_SCALE)


def mixture_log_prob(params: Tensor, k: Tensor, levels: int) -> Tensor:
    """Return log p(k) in nats, (B, ...), of a mixture of logistics integrated over each level; [PCNN++] Eq. 2.

    The lowest level takes all that is below it, the highest all above. With a and b the upper and lower border of the
    level in units of the scale, sigmoid(a) - sigmoid(b) equals sigmoid(a) sigmoid(-b) (1 - exp(b - a)): a product, so
    that its logarithm loses no digits in the tails.
    """
    log_w, mu, log_s = split_mixture(params)
    k, half, inverse = k[:, None], 1 / (levels - 1), torch.exp(-log_s)
    d = from_levels(k, levels, params.dtype) - mu  # (B, M, ...)
    below_a, above_b = F.logsigmoid((d + half) * inverse), F.logsigmoid((half - d) * inverse)
    inside = below_a + above_b + torch.log(-torch.expm1(-2 * half * inverse))
    log_p = torch.where(k == 0, below_a, torch.where(k == levels - 1, above_b, inside))
    return torch.logsumexp(log_w + log_p, 1)


def mixture_probabilities(params: Tensor, levels: int) -> Tensor:
    """Return the probability of every level, (B, K, ...), of a mixture of discretised logistics (B, 3M, ...)."""
    log_w, mu, log_s = split_mixture(params)
    half = 1 / (levels - 1)
    borders = torch.linspace(half - 1, 1 - half, levels - 1, device=params.device, dtype=params.dtype)
    borders = borders.view(-1, *[1] * (params.ndim - 2))  # (K - 1, 1 ...)
    below = torch.sigmoid((borders - mu[:, :, None]) * torch.exp(-log_s)[:, :, None])  # (B, M, K - 1, ...)
    below = (log_w.exp()[:, :, None] * below).sum(1)
    none = torch.zeros_like(below[:, :1])
    p = torch.cat([below, none + 1], 1) - torch.cat([none, below], 1)  # the ends take in all beyond them
    return p.clamp(min=0)  # the weights' rounded sum may exceed 1


def pixelcnn_loss(model: PixelCNN, batch: tuple[Tensor, Tensor | None]) -> tuple[Tensor, dict[str, Tensor]]:
    """-log p(x | labels) in nats per picture, averaged over the batch.

    Args:
        model: the PixelCNN.
        batch: (x, labels): (B, 1, H, W) floats in [-1, 1] and (B,) int64 classes. The labels are used only if the
            config has classes, so that batches of any labelled set serve both kinds of model.
    Returns:
        The scalar loss, and logs: `nll`, the same, and `bits_per_dim`, in bits per pixel (exact, not a bound).
    Raises:
        ValueError: x or labels do not fit; see `PixelCNN.forward`.
    """
    x, labels = batch
    if model.cfg.n_classes and labels is None:
        raise ValueError(f"this PixelCNN takes labels in [0, {model.cfg.n_classes}), got none")
    nll = -model.log_prob(x, labels if model.cfg.n_classes else None).mean()
    return nll, {"nll": nll, "bits_per_dim": nll / (x[0].numel() * math.log(2))}


def receptive_field(model: "PixelCNN | PixelCNNConfig", depth: int, i: int, j: int) -> Tensor:
    """Return which pixels reach row i, column j after `depth` layers: (H, W) bool, measured by a gradient.

    Args:
        model: a PixelCNN, or the config of one; its weights do not matter, since positive ones take their place.
        depth: how many layers, in [1, n_layers].
        i, j: row and column, each in [0, side).
    Raises:
        ValueError: depth, i or j out of range.
    """
    cfg = model if isinstance(model, PixelCNNConfig) else model.cfg
    if not 1 <= depth <= cfg.n_layers or not 0 <= i < cfg.side or not 0 <= j < cfg.side:
        raise ValueError(
            f"need depth in [1, {cfg.n_layers}], row and column in [0, {cfg.side}), got depth={depth}, i={i}, j={j}"
        )
    stand_in = PixelCNN(replace(cfg, width=1, n_layers=depth, n_classes=0, levels=2, output="softmax")).double()
    with torch.enable_grad():
        for p in stand_in.parameters():  # positive weights: no path cancels another, and every ReLU and gate is open
            nn.init.constant_(p, 0.1)
        x = torch.zeros(1, 1, cfg.side, cfg.side, dtype=torch.float64, requires_grad=True)
        stand_in.network(x, None)[0, :, i, j].sum().backward()
    return x.grad[0, 0] != 0


def _check(cfg: PixelCNNConfig) -> None:
    if cfg.channels != 1:
        raise ValueError(f"channels must be 1, got {cfg.channels}: this PixelCNN knows grey pictures only")
    if bad := {k: v for k in ("side", "n_mixtures", "width", "n_layers") if (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
    if cfg.levels not in (2, 4, 8, 16, 256):
        raise ValueError(f"levels must be 2, 4, 8, 16 or 256, got {cfg.levels}")
    if bad := {k: v for k in ("first_kernel", "kernel") if (v := getattr(cfg, k)) < 3 or v % 2 == 0}:
        raise ValueError(f"kernels must be odd and at least 3, got {bad}")
    if cfg.output not in ("softmax", "logistic"):
        raise ValueError(f"output must be 'softmax' or 'logistic', got {cfg.output!r}")
    if cfg.stack not in ("gated", "masked"):
        raise ValueError(f"stack must be 'gated' or 'masked', got {cfg.stack!r}")
    if cfg.n_classes < 0:
        raise ValueError(f"n_classes must be at least 0, got {cfg.n_classes}")
