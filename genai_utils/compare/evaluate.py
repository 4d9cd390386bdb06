"""One way of judging pictures for every family: quality, variety, copying, control, each with its sample size.

The same code judges held-out data, so that beside every figure stands what perfect samples would score at the same
sample size. Its laws are tests: data against itself is at distance zero and fully covered; a shifted Gaussian is at its
known distance; a model that copies, one that drops a class and one that adds noise are each caught.

Sources: genai_utils/metrics: Frechet distance [FID], precision and recall [PR], coverage [DC]. Copies: Meehan et al.
         2020, arXiv:2004.05675, Sec. 3, in the form of genai_utils/metrics/memorisation.py.
Shapes:  n samples, N real pictures, D features, K = 10 classes, M modes: a digit in a font, 210 in all.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from genai_utils.compare.protocol import DIGITS, Protocol, load_pictures
from genai_utils.data.sets import ImageSet, to_floats
from genai_utils.metrics.classifier import Classifier, run_in_batches
from genai_utils.metrics.coverage import density_coverage, precision_recall
from genai_utils.metrics.frechet import fit_gaussian, gaussian_distance
from genai_utils.metrics.quality import CONFIDENT, entropy_estimate
from genai_utils.weights import load_weights

JUDGES = {"glyphs": "classifier-glyphs", "mnist": "classifier-mnist"}
ENOUGH = 0.1  # share of its fair part that a mode needs, to count as reached


@dataclass(frozen=True)
class Judged:
    """Pictures as the judge sees them, with the class of each."""

    pixels: Tensor  # (n, H H) in [-1, 1], rounded to 8 bits
    features: Tensor  # (n, D)
    classes: Tensor  # (n,) int64, the likeliest
    sure: Tensor  # (n,) its probability
    labels: Tensor  # (n,) int64, the class that was asked for, or that the data has

    def __len__(self) -> int:
        return len(self.pixels)


class Evaluation:
    """evaluation(pictures, labels) -> {measure: value}, under one protocol.

    Args:
        protocol: says which data, and how many samples.
        judge: a classifier of its pictures; None loads the shipped one.
        data: (train, test); None loads them.
    """

    def __init__(
        self, protocol: Protocol, judge: Classifier | None = None, data: tuple[ImageSet, ImageSet] | None = None
    ) -> None:
        self.protocol = protocol
        self.judge = load_weights(JUDGES[protocol.data], Classifier) if judge is None else judge
        self.train, self.test = load_pictures(protocol) if data is None else data
        n, held_out = protocol.n_samples, len(self.test) // 2
        if not len(self.judge.head.weight[0]) < n <= held_out:
            raise ValueError(
                f"n_samples must be above {self.judge.head.in_features}, the judge's features, and at most half of the "
                f"test set, {held_out}, got {n}: half is what samples are compared with, half stands in for samples"
            )
        order = torch.randperm(len(self.test), generator=torch.Generator().manual_seed(0))
        self.real = self.look(to_floats(self.test.images[order[:n]]), self.test.labels[order[:n]])
        self.other = order[held_out : held_out + n]  # what perfect samples would be
        self.gaussian = fit_gaussian(self.real.features)
        self.seen = to_floats(self.train.images).flatten(1)  # (N, H H)
        unseen, _ = nearest_distance(self.real.pixels, self.seen)  # (n,) how near held-out data come to training data
        self.near, self.usual = unseen.quantile(0.01).item(), unseen.median().item()
        self.modes = self._modes(order[:n])

    def look(self, pictures: Tensor, labels: Tensor) -> Judged:
        """Return pictures (n, 1, H, H) in [-1, 1] with what the judge makes of them.

        They are rounded to the 256 grey levels of the data first: no family is to gain or lose by levels between.

        Raises:
            ValueError: pictures of another shape, or not finite; labels of another number.
        """
        side = self.protocol.side
        if pictures.shape[1:] != (1, side, side) or labels.shape != pictures.shape[:1]:
            raise ValueError(
                f"pictures must be (n, 1, {side}, {side}) with n labels, got {tuple(pictures.shape)} and "
                f"{tuple(labels.shape)}"
            )
        if not pictures.isfinite().all():
            raise ValueError(f"{int((~pictures.isfinite()).flatten(1).any(1).sum())} of {len(pictures)} pictures are "
                             "not finite: the model has diverged")  # fmt: skip
        x = to_floats(ImageSet.to_pixels(pictures))
        features = run_in_batches(self.judge.features, self._fit(x))
        probability, classes = run_in_batches(self.judge.head, features).softmax(1).max(1)
        return Judged(x.flatten(1), features, classes, probability, labels)

    def __call__(self, pictures: Tensor, labels: Tensor) -> dict[str, float]:
        """Return the measures of generated pictures, (n, 1, H, H) in [-1, 1], asked for by labels (n,).

        Raises:
            ValueError: as `look`; or n is not the protocol's n_samples.
        """
        if len(pictures) != self.protocol.n_samples:
            raise ValueError(f"all families are judged on {self.protocol.n_samples} pictures, got {len(pictures)}")
        return self.score(self.look(pictures, labels))

    def score(self, got: Judged) -> dict[str, float]:
        """Return the measures of pictures that `look` has seen."""
        pr, dc = precision_recall(self.real.features, got.features), density_coverage(self.real.features, got.features)
        distance, _ = nearest_distance(got.pixels, self.seen)
        neighbour = nearest_distance(got.pixels, self.real.pixels)[1]
        reached = torch.bincount(self.modes[neighbour], minlength=len(self.expected))
        there = self.expected > 0
        enough = (reached >= (ENOUGH * self.expected).clamp(min=1))[there]
        return {
            "frechet": gaussian_distance(fit_gaussian(got.features), self.gaussian),
            "validity": (got.sure > CONFIDENT).double().mean().item(),
            "accuracy": (got.classes == got.labels).double().mean().item(),
            "class_entropy": entropy_estimate(got.classes, len(DIGITS), resamples=0).value,
            "precision": pr.precision.value,
            "recall": pr.recall.value,
            "density": dc.density.value,
            "coverage": dc.coverage.value,
            "modes": enough.double().mean().item(),
            "memorised": (distance < self.near).double().mean().item(),
            "distance_ratio": distance.median().item() / self.usual,
        }

    def held_out(self) -> dict[str, float]:
        """Return the measures of held-out data: what perfect samples score, at the same sample size."""
        return self.score(self.look(to_floats(self.test.images[self.other]), self.test.labels[self.other]))

    def _modes(self, which: Tensor) -> Tensor:
        """Return the mode of each real picture, (n,): its digit and, where the data knows it, its font."""
        font = self.test.extra["factors"]["font"][which] if "factors" in self.test.extra else torch.zeros_like(which)
        modes = font * len(DIGITS) + self.test.labels[which]
        self.expected = torch.bincount(modes)
        return modes

    def _fit(self, x: Tensor) -> Tensor:
        """Take off the border where the judge is of a smaller side than the models: MNIST's own 28 pixels."""
        cut = (x.shape[3] - self.judge.cfg.side) // 2
        return x[:, :, cut : x.shape[2] - cut, cut : x.shape[3] - cut]


def nearest_distance(x: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distance of each x (n, D) to its nearest of others (N, D), and which one: (n,) and (n,) int64.

    By matrix products, 30 times quicker here than `metrics.coverage.nearest`; a copy may come out at 0.01 and not at 0.
    """
    sizes, parts = others.square().sum(1), []
    for part in x.split(500):
        parts.append(torch.addmm(sizes, part, others.T, alpha=-2).min(1))
    squared = torch.cat([p.values for p in parts]) + x.square().sum(1)
    return squared.clamp(min=0).sqrt(), torch.cat([p.indices for p in parts])
