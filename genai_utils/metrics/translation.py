"""How good is a translation between domains, where the true counterpart is known, and what does it hide?

Squared error says how far a picture is from what it should be, beside two baselines that know nothing of content: the
picture left as it is, and the best linear map of its grey levels. Whether content survives is told by a judge of
classes. A cycle that returns proves little: a translation may carry what it should have dropped in traces too faint to
see. Noise of a known size added on the way wipes them out, and the way back then shows what it lived on.

Sources: hidden traces in cycles: Chu, Zhmoginov & Sandler 2017, arXiv:1712.02950.
Shapes:  N pictures, C channels, H, W image sides. Pictures are in [-1, 1].
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genai_utils.metrics.classifier import Classifier, run_in_batches
from genai_utils.metrics.coverage import nearest
from genai_utils.metrics.estimate import Estimate, mean_estimate, share_estimate
from genai_utils.weights import load_weights

Judge = Callable[[Tensor], Tensor]  # pictures (N, C, H, W) -> classes (N,) int64


@dataclass(frozen=True, kw_only=True)
class Translation:
    error: Estimate  # squared error per value to the true counterpart, in squared units of [-1, 1]: 4 at worst; n = N
    identity: Estimate  # the same of pictures left as they are
    linear: Estimate  # the same of the best linear map of grey levels, fitted to these very pairs
    found: Estimate  # share of translations whose nearest picture among all N counterparts is their own


@dataclass(frozen=True, kw_only=True)
class HiddenMessage:
    std: float  # standard deviation of the noise that was added to the translation
    cycle: Estimate  # squared error per value of what came back, to what set out
    loss: Estimate  # squared difference per value to what comes back without noise


def score_translation(translated: Tensor, source: Tensor, truth: Tensor, *, level: float = 0.95) -> Translation:
    """Compare translations with their true counterparts, and with what two simple maps reach.

    Args:
        translated: (N, C, H, W) floats in [-1, 1], N >= 2.
        source: as many pictures, before they were translated.
        truth: as many, that should have come out. Of equal ones among them only the first can be found.
        level: coverage of the intervals, in (0, 1).
    Raises:
        ValueError: shapes that differ, fewer than two pictures, integers, or values that are not finite.
    """
    _check(translated=translated, source=source, truth=truth)
    gain, offset = grey_map(source, truth)
    shape = (1, -1, 1, 1)
    linear = gain.view(shape) * source.double() + offset.view(shape)
    estimate = lambda x: mean_estimate(_squared_error(x, truth), level=level)
    distance, which = nearest(translated.flatten(1), truth.flatten(1))
    hits = int((which == torch.arange(len(truth), device=which.device)).sum())
    return Translation(
        error=estimate(translated), identity=estimate(source), linear=estimate(linear),
        found=share_estimate(hits, len(truth), level=level),
    )  # fmt: skip


def grey_map(source: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return gain and offset, (C,) float64 each: the least-squares line from grey levels of source to those of truth.

    A channel of source that is one level throughout has gain 0, and its offset is truth's mean.
    """
    x, y = (t.double().transpose(0, 1).flatten(1) for t in (source, truth))  # (C, N H W)
    dx, dy = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    variance = dx.square().sum(1)
    gain = torch.where(variance > 0, (dx * dy).sum(1) / variance.clamp_min(1e-300), 0.0)
    return gain, y.mean(1) - gain * x.mean(1)


def class_kept(pictures: Tensor, labels: Tensor, judge: Judge | None = None, *, level: float = 0.95) -> Estimate:
    """Return the share of pictures in which the judge sees the class that they had before they were translated.

    Read it beside the judge's share on true pictures of the same domain: no translation can be expected to beat that.

    Args:
        pictures: (N, C, H, W) translations, floats in [-1, 1].
        labels: (N,) int64 classes of what was translated.
        judge: maps pictures to classes. None is the shipped classifier of MNIST, for (N, 1, 28, 28), white on black;
            `nearest_judge` makes one of labelled pictures.
        level: coverage of the interval.
    Raises:
        ValueError: labels that do not fit, or no picture.
    """
    if labels.shape != pictures.shape[:1] or not len(labels):
        raise ValueError(
            f"need one label for each of at least one picture, got {tuple(labels.shape)} for {len(pictures)}"
        )
    seen = (judge or digit_judge(pictures.device))(pictures)
    return share_estimate(int((seen.cpu() == labels.cpu()).sum()), len(labels), level=level)


def digit_judge(device: torch.device | str = "cpu") -> Judge:
    """Return the shipped classifier of MNIST as a judge: (N, 1, 28, 28) to digits. Values are clipped to [-1, 1]."""
    model = load_weights("classifier-mnist", Classifier).to(device)
    return lambda x: run_in_batches(model, x.float().clamp(-1, 1)).argmax(1)


def nearest_judge(pictures: Tensor, labels: Tensor) -> Judge:
    """Return a judge that gives a picture the class of the nearest of these; slow but fair where no classifier is.

    Args:
        pictures: (M, C, H, W) floats in [-1, 1] of the domain that is translated into, not counterparts of what is
            judged.
        labels: (M,) int64, their classes.
    Raises:
        ValueError: no picture, or labels that do not fit.
    """
    if labels.shape != pictures.shape[:1] or not len(labels):
        raise ValueError(f"need one label for each of at least one picture, got {len(labels)} for {len(pictures)}")
    known = pictures.flatten(1)
    return lambda x: labels[nearest(x.flatten(1), known)[1]]


@torch.no_grad()
def hidden_message(
    there: Callable[[Tensor], Tensor],
    back: Callable[[Tensor], Tensor],
    x: Tensor,
    stds: Sequence[float],
    *,
    generator: torch.Generator | None = None,
    level: float = 0.95,
) -> Iterator[HiddenMessage]:
    """Add noise to the translation, go back, and yield what that costs, for each size of noise.

    The loss of an honest translator back grows slowly: noise that no eye sees changes nothing that it should look at.
    One that reads a message hidden at a thousandth of full scale loses all at noise of that size. Noisy pictures are
    not clipped to [-1, 1]; the same draw, scaled, serves for all sizes.

    Args:
        there: translator from x's domain, and back: the one into it; each maps (N, C, H, W) to (N, C, H, W).
        x: (N, C, H, W) pictures in [-1, 1], N >= 2.
        stds: standard deviations of the noise, in units of [-1, 1], at least 0 each.
        generator: draws the noise; on x's device.
        level: coverage of the intervals.
    Raises:
        ValueError: a negative size, or x that cannot be judged (raised at the first step).
    """
    if bad := [std for std in stds if not std >= 0]:
        raise ValueError(f"stds must be at least 0, got {bad}")
    _check(x=x)
    y = there(x)
    returned = back(y)
    eps = torch.randn(y.shape, generator=generator, device=y.device, dtype=y.dtype)
    for std in stds:
        noisy = back(y + std * eps)
        yield HiddenMessage(
            std=float(std), cycle=mean_estimate(_squared_error(noisy, x), level=level),
            loss=mean_estimate(_squared_error(noisy, returned), level=level),
        )  # fmt: skip


def _squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Return the squared error per value of each picture, (N,) float64."""
    return (x.double() - y.double()).square().flatten(1).mean(1)


def _check(**pictures: Tensor) -> None:
    shape = next(iter(pictures.values())).shape
    for name, x in pictures.items():
        if x.ndim != 4 or len(x) < 2 or x.shape != shape or not x.is_floating_point():
            raise ValueError(
                f"{name} must be (N, C, H, W) floats in [-1, 1], N >= 2, all of one shape, got {tuple(x.shape)} "
                f"{x.dtype}; give uint8 pictures through `to_floats`"
            )
        if not x.isfinite().all():
            raise ValueError(f"{name} must be finite; some values are nan or inf")
