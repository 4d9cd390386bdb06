"""A small convolutional classifier of 28x28 grey images: the judge of generated digits.

Its last hidden layer is the feature space of the Frechet distance, precision, recall and coverage, as Inception's is
for photographs. Sources: [FID] Heusel et al. 2017, arXiv:1706.08500, Sec. 4 (features of a classifier as a metric
space). [BN] Ioffe & Szegedy 2015, arXiv:1502.03167.
Shapes:  B batch, H = W = 28 image side, w width, F number of features, K number of classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    side: int = 28  # H, in pixels; a multiple of 4, at least 12
    width: int = 32  # w, feature maps of the first layer
    n_features: int = 64  # F, width of the last hidden layer
    n_classes: int = 10  # K


class Classifier(nn.Module):
    """logits = classifier(x) (B, K) and classifier.features(x) (B, F), for images x (B, 1, H, H) in [-1, 1]."""

    Config = ClassifierConfig

    def __init__(self, cfg: ClassifierConfig) -> None:
        super().__init__()
        if cfg.side % 4 or cfg.side < 12:
            raise ValueError(f"side must be a multiple of 4 and at least 12, got {cfg.side}")
        self.cfg = cfg
        w = cfg.width
        self.body = nn.Sequential(
            *_conv(1, w // 2, stride=1),  # (B, w/2, H, H)
            *_conv(w // 2, w, stride=2),  # (B, w, H/2, H/2)
            *_conv(w, w, stride=1),
            *_conv(w, 2 * w, stride=2),  # (B, 2w, H/4, H/4)
            *_conv(2 * w, 2 * w, stride=1),
            nn.AdaptiveAvgPool2d(3), nn.Flatten(),  # (B, 18w): where a stroke is matters, to a third of the image
            nn.Linear(18 * w, cfg.n_features), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Linear(cfg.n_features, cfg.n_classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the activations of the last hidden layer, (B, F) float32.

        Args:
            x: (B, 1, H, H) grey images in [-1, 1].
        Raises:
            ValueError: x has the wrong shape or is not floating point.
        """
        side = self.cfg.side
        if x.shape[1:] != (1, side, side) or not x.is_floating_point():
            raise ValueError(f"x must be (B, 1, {side}, {side}) floats in [-1, 1], got {tuple(x.shape)} {x.dtype}")
        return self.body(x).float()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def _conv(c_in: int, c_out: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.SiLU()]


def classifier_loss(model: Classifier, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy in nats, averaged over the batch, and the share of right answers.

    Args:
        batch: (x, labels): (B, 1, H, H) images in [-1, 1] and (B,) int64 classes.
    """
    x, labels = batch
    logits = model(x)
    return F.cross_entropy(logits.float(), labels), {"accuracy": (logits.argmax(1) == labels).float().mean()}


def jitter(
    x: Tensor,
    *,
    degrees: float = 10.0,
    zoom: float = 0.1,
    shift: float = 2.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the images turned, scaled and moved at random, each by its own amount; the border repeats.

    Args:
        x: (B, C, H, W) images.
        degrees: largest turn either way.
        zoom: largest relative change of size either way, in [0, 1).
        shift: largest move along each axis, in pixels.
        generator: on x's device.
    """
    angle, size, dx, dy = torch.rand(4, len(x), device=x.device, generator=generator) * 2 - 1  # each (B,)
    angle, size = angle * (degrees * torch.pi / 180), 1 + zoom * size
    cos, sin = angle.cos() / size, angle.sin() / size
    height, width = x.shape[2:]  # the grid runs from -1 to 1 along both, so a turn of the pixels scales by their ratio
    rows = [torch.stack([cos, -sin * (height / width), dx * (2 * shift / width)], 1)]
    rows += [torch.stack([sin * (width / height), cos, dy * (2 * shift / height)], 1)]
    grid = F.affine_grid(torch.stack(rows, 1).to(x.dtype), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def run_in_batches(fn, x: Tensor, size: int = 500) -> Tensor:
    """Return fn(x) computed `size` rows at a time, without gradients: the memory of one batch, whatever len(x)."""
    if not len(x):
        raise ValueError("x is empty: give at least one image")
    return torch.cat([fn(part) for part in x.split(size)])
