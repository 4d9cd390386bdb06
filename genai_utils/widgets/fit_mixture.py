"""Fit a mixture of Gaussians by hand and watch the held-out log-likelihood; no kernel needed.

Sources: Bishop 2006, Pattern Recognition and Machine Learning, Sec. 9.2 (gradients of the mixture's likelihood).
         Noise and memoriser: [theis2016note] arXiv:1511.01844, Sec. 3.
Shapes:  N points, D dimensions (1 or 2), K components.
"""

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image
from torch import Tensor

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html, script
from genai_utils.widgets.style import COLORS

KINDS = ("mixture", "memoriser")


def mixture_log_prob(x: Tensor, means: Tensor, scales: Tensor, weights: Tensor) -> Tensor:
    """Return log q(x) (N,) in nats of a mixture of round Gaussians.

    Args:
        x: (N, D).
        means: (K, D).
        scales: (K,) standard deviations, positive.
        weights: (K,) weights, positive, summing to 1.
    """
    r2 = (x[:, None] - means).square().sum(-1)  # (N, K)
    d = x.shape[1]
    return torch.logsumexp(
        weights.log() - d * scales.log() - 0.5 * d * math.log(2 * math.pi) - r2 / (2 * scales**2), dim=1
    )


class FitMixture(View):
    """The widget behind `fit_mixture`; all its numbers are computed in the browser from the traits below."""

    _esm = script("fit_mixture")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "fit_mixture.css"))
    dim = traitlets.Int().tag(sync=True)
    train = traitlets.Bytes().tag(sync=True)  # (N, D) little-endian float32
    holdout = traitlets.Bytes().tag(sync=True)
    extent = traitlets.List(traitlets.Float()).tag(sync=True)  # left, right, bottom, top of the picture
    best = traitlets.Float(None, allow_none=True).tag(sync=True)
    kind = traitlets.Enum(KINDS, "mixture").tag(sync=True)
    means = traitlets.List().tag(sync=True)
    scales = traitlets.List().tag(sync=True)
    weights = traitlets.List().tag(sync=True)
    noise = traitlets.Float(0.0).tag(sync=True)  # share of uniform noise over the picture, in [0, 1)
    kernel = traitlets.Float(0.05).tag(sync=True)  # width of the memoriser's kernels
    rate = traitlets.Float(0.05).tag(sync=True)  # longest step uphill
    samples = traitlets.Bool(False).tag(sync=True)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q(x) (N,) in nats of the model that the widget shows, float64; x is (N, D)."""
        x = _points(x, "x").double()
        if self.kind == "memoriser":
            train = _unpack(self.train, self.dim)
            n = len(train)
            return mixture_log_prob(x, train, torch.full((n,), self.kernel).double(), torch.full((n,), 1 / n).double())
        means, scales, weights = (torch.tensor(v, dtype=torch.float64) for v in (self.means, self.scales, self.weights))
        clean = mixture_log_prob(x, means, scales, weights)
        sides = [b - a for a, b in zip(self.extent[::2], self.extent[1::2])]
        uniform = math.log(self.noise / math.prod(sides[: self.dim])) if self.noise else -math.inf
        return torch.logaddexp(math.log(1 - self.noise) + clean, torch.full_like(clean, uniform))

    def score(self) -> float:
        """Return the average log-likelihood of the held-out points, nats per point: the number that is shown."""
        return self.log_prob(_unpack(self.holdout, self.dim)).mean().item()

    def picture(self) -> str:
        fig = Figure(figsize=(4, 4 if self.dim == 2 else 2), layout="constrained")
        ax = fig.add_subplot(xlim=self.extent[:2], yticks=[] if self.dim == 1 else [-2, 0, 2])
        for name, color in (("train", COLORS["black"]), ("holdout", COLORS["vermilion"])):
            x = _unpack(getattr(self, name), self.dim)
            ax.scatter(x[:, 0], x[:, 1] if self.dim == 2 else torch.zeros(len(x)), s=5, color=color, alpha=0.6)
        if self.dim == 2:
            for mean, scale in zip(self.means, self.scales) if self.kind == "mixture" else ():
                ax.add_patch(Circle(mean, 2 * scale, fill=False, edgecolor=COLORS["blue"], linestyle="--"))
            ax.set(ylim=self.extent[2:], aspect="equal")
        raw = io.BytesIO()
        fig.savefig(raw, format="png", dpi=150)
        data, mime = sprites.encode(np.asarray(Image.open(raw).convert("RGB")))
        best = "" if self.best is None else f"; the true density scores {self.best:.3f}"
        caption = f"Held-out average log-likelihood {self.score():.3f} nats per point{best}."
        return f"{img_html(data, mime, self.alt, 400)}<figcaption>{caption}</figcaption>"


def fit_mixture(
    points: Tensor,
    holdout: Tensor,
    *,
    alt: str,
    best: float | None = None,
    components: int = 3,
    kind: str = "mixture",
    rate: float = 0.05,
) -> FitMixture:
    """Return a widget: tune a mixture of round Gaussians on `points`, judged by `holdout`.

    Args:
        points: (N, 1) or (N, 2) training points, 10 <= N <= 2000.
        holdout: (M, 1) or (M, 2) points of the same distribution that no fit may see.
        alt: what is to be seen, in 30 characters or more.
        best: average log-density of `holdout` under the true density, nats per point; None if unknown.
        components: K, 1 to 3.
        kind: "mixture" or "memoriser" (one kernel on every training point); the reader can switch.
        rate: longest step of one uphill step, in the units of the points.
    Raises:
        ValueError: an argument is out of range; the message says which.
    """
    points, holdout = _points(points, "points"), _points(holdout, "holdout")
    d = points.shape[1]
    if holdout.shape[1] != d:
        raise ValueError(f"points have {d} dimensions and holdout {holdout.shape[1]}: both must be of one kind")
    if not 10 <= len(points) <= 2000 or not 10 <= len(holdout) <= 2000:
        raise ValueError(f"need 10 to 2000 points in each set, got {len(points)} and {len(holdout)}: take a part")
    if components not in (1, 2, 3):
        raise ValueError(f"components must be 1, 2 or 3, got {components}")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    if rate <= 0:
        raise ValueError(f"rate must be positive, got {rate}")
    low, high = points.min(0).values, points.max(0).values
    middle, half = (low + high) / 2, (high - low).max() * 0.6
    across = torch.linspace(-0.5, 0.5, components) if components > 1 else torch.zeros(1)
    start = middle + half * across[:, None] * torch.tensor([1.0, -0.6])[:d]  # on a slant, so that no two are alike
    sides = torch.stack([middle - half, middle + half], 1).flatten().tolist()
    check_size(4 * (points.numel() + holdout.numel()), "take fewer points")
    return FitMixture(
        alt=alt,
        dim=d,
        train=_pack(points),
        holdout=_pack(holdout),
        extent=_short(sides if d == 2 else [*sides, 0.0, 1.0]),
        best=best,
        kind=kind,
        samples=kind == "memoriser",
        rate=rate,
        means=[_short(m) for m in start.tolist()],
        scales=_short([half.item() / 4] * components),
        weights=[1 / components] * components,
    )


def _points(x: Tensor | Sequence, name: str) -> Tensor:
    x = torch.as_tensor(np.asarray(x))
    if x.ndim != 2 or x.shape[1] not in (1, 2) or not x.is_floating_point():
        raise ValueError(f"{name} must be floats of shape (N, 1) or (N, 2), got {x.dtype} {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError(f"{name} holds a value that is not finite: remove it first")
    return x


def _pack(x: Tensor) -> bytes:
    return x.numpy().astype("<f4").tobytes()


def _unpack(data: bytes, d: int) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, "<f4").astype(np.float64)).reshape(-1, d)


def _short(values: Sequence[float]) -> list[float]:
    return [round(v, 4) for v in values]
