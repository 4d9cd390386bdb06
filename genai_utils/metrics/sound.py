"""The score of generated tones: which note each of them is, how well in tune, and whether it is a tone at all.

A tone repeats itself: moved by its period it looks the same. The measure of that, 1 for a perfect period and near 0 for
noise, tells tones from noise, and the period where it peaks is the pitch. No network takes part.

Sources: [MPM] McLeod & Wyvill 2005, A smarter way to find pitch, ICMC (normalised square difference, key maxima).
         [Ours] the period is read off again at twice, four, eight, ... times itself, which divides its error.
Shapes:  N or B waves, T samples, L lags.
"""

import math

import torch
from torch import Tensor

from genai_utils.data.audio import NOTES, RATE, SEMITONES
from genai_utils.metrics.estimate import Estimate, mean_estimate, share_estimate
from genai_utils.metrics.quality import entropy_estimate

LOWEST, HIGHEST = 100.0, 2_000.0  # Hz: pitches are sought in between
KEY = 0.9  # the first peak of at least this share of the highest one is the period; later ones are its multiples
PERIODIC = 0.5  # a sound is a tone if its periodicity is above this
IN_TUNE = 50.0  # cents from a note, at most


def periodicity(waves: Tensor, rate: int = RATE) -> tuple[Tensor, Tensor]:
    """Return the pitch in Hz and the periodicity of each wave, both (B,) float64.

    The periodicity is 2 sum x(j) x(j + lag) / sum (x(j)^2 + x(j + lag)^2) where lag is the period: about the share of
    the power that comes again, in [0, 1]. White noise of 2,000 samples has about 0.05. A wave without a peak, such as
    silence, has the periodicity 0 and the pitch nan.

    Args:
        waves: (B, T) floats of any size, T at least four periods of 100 Hz (320 samples at 8 kHz); their mean is taken
            away. Pitches are sought from 100 to 2,000 Hz.
        rate: samples per second, at least 8,000.
    Raises:
        ValueError: waves of the wrong shape, too short or not finite; a rate out of range.
    Source: [MPM] (difference, parabola, key maxima); the refinement is ours.
    """
    _check(waves, rate)
    x = waves.double()
    alike = _alike(x - x.mean(1, keepdim=True), waves.shape[1] // 3)  # (B, L)
    longest, shortest = math.ceil(rate / LOWEST), math.floor(rate / HIGHEST)
    lags = torch.arange(1, longest + 1, device=x.device)
    move, height = _parabola(alike[:, :longest], alike[:, 1 : longest + 1], alike[:, 2 : longest + 2])
    peak = (move.abs() <= 1) & (alike[:, 1 : longest + 1] >= alike[:, :longest]) & (lags >= shortest)
    peak &= (alike[:, 1 : longest + 1] < 0).cumsum(1) > 0  # past the lobe around lag 0
    height = torch.where(peak, height, 0.0).clamp(0, 1)  # (B, longest)
    best = height.amax(1, keepdim=True)
    first = (height >= KEY * best).int().argmax(1, keepdim=True)  # (B, 1) the first key maximum
    period = (lags[first] + move.gather(1, first))[:, 0]
    for times in (2, 4, 8, 16):
        near = (times * period).round().long()[:, None]  # (B, 1)
        fits = near[:, 0] + 2 < alike.shape[1]
        near = near.clamp(1, alike.shape[1] - 2)
        move, _ = _parabola(*(alike.gather(1, near + k) for k in (-1, 0, 1)))
        period = torch.where(fits, (near + move.clamp(-1, 1))[:, 0] / times, period)
    found = best[:, 0] > 0
    return torch.where(found, rate / period, math.nan), height.gather(1, first)[:, 0]


def pitch(waves: Tensor, rate: int = RATE) -> Tensor:
    """Return the pitch of waves (B, T) in Hz, (B,) float64; nan for silence. What it can find: see `periodicity`."""
    return periodicity(waves, rate)[0]


def score_tones(
    waves: Tensor,
    labels: Tensor | None = None,
    *,
    rate: int = RATE,
    resamples: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Judge generated tones: are they tones, in tune, varied, and the notes that were asked for?

    Args:
        waves: (N, T) floats in [-1, 1], N at least 2.
        labels: (N,) int64, the notes asked for, indices into `NOTES` (C4 to C5), if any.
        rate: samples per second, at least 8,000.
        resamples: draws of the bootstrap for the entropy; 0 gives it no interval.
        level: coverage of the intervals, in (0, 1).
        seed: of the bootstrap.
    Returns:
        periodicity: mean of `periodicity`.
        tone: share with a periodicity above 0.5; noise and silence are none.
        in_tune: share that are tones within 50 cents of a note of C4 to C5.
        class_entropy: entropy in nats of the notes nearest to the tones, at most log 8 = 2.079; its n counts the tones.
        agreement: share that are tones whose nearest note is the one asked for; only with labels.
    Raises:
        ValueError: waves of the wrong shape, range or number; labels that do not fit.
    """
    _check(waves, rate)
    if len(waves) < 2 or waves.abs().max() > 1:
        got = f"{len(waves)} waves up to {waves.abs().max().item() if len(waves) else 0:.3g} in size"
        raise ValueError(f"waves must be at least 2, with floats in [-1, 1], got {got}: draw more, rescale or clamp")
    if labels is not None and (labels.shape != waves.shape[:1] or labels.dtype != torch.int64):
        raise ValueError(
            f"labels must be ({len(waves)},) int64, one per wave, got {tuple(labels.shape)} {labels.dtype}"
        )
    if labels is not None and not 0 <= int(labels.min()) <= int(labels.max()) < len(NOTES):
        got = f"{labels.min().item()} to {labels.max().item()}"
        raise ValueError(f"labels must be within [0, {len(NOTES)}), the notes {', '.join(NOTES)}, got {got}")
    hertz, share = (v.cpu() for v in periodicity(waves, rate))
    tone, n = share > PERIODIC, len(waves)
    away, note = cents_from_notes(hertz).abs().min(1)  # each (N,)
    scores = {
        "periodicity": mean_estimate(share, level=level),
        "tone": share_estimate(int(tone.sum()), n, level=level),
        "in_tune": share_estimate(int((tone & (away <= IN_TUNE)).sum()), n, level=level),
        "class_entropy": Estimate(value=0.0, low=0.0, high=0.0, n=0, level=level),
    }
    if tone.any():
        how = {"resamples": resamples, "level": level, "seed": seed}
        scores["class_entropy"] = entropy_estimate(note[tone], len(NOTES), **how)
    if labels is not None:
        scores["agreement"] = share_estimate(int((tone & (note == labels.cpu())).sum()), n, level=level)
    return scores


def cents_from_notes(hertz: Tensor) -> Tensor:
    """Return how far pitches (N,) in Hz are above each note of C4 to C5, (N, 8) float64, in cents."""
    from_a4 = 1_200 * torch.log2(hertz.double() / 440)
    return from_a4[:, None] - 100 * torch.tensor(SEMITONES, dtype=torch.float64, device=hertz.device)


def _alike(x: Tensor, n_lags: int) -> Tensor:
    """Return how alike x and x moved by each lag are, (B, L), in [-1, 1]; 0 where there is nothing but zeros."""
    length = x.shape[1]
    power = torch.fft.rfft(x, n=length + n_lags).abs().square()  # so padded that nothing wraps round
    products = torch.fft.irfft(power, n=length + n_lags)[:, :n_lags]
    energy = torch.nn.functional.pad(x.square().cumsum(1), (1, 0))  # (B, T + 1), of the first j samples
    lags = torch.arange(n_lags, device=x.device)
    squares = energy[:, length - lags] + energy[:, -1:] - energy[:, lags]
    return torch.where(squares > 1e-12 * length, 2 * products / squares.clamp_min(1e-300), 0.0)


def _parabola(before: Tensor, here: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Return where, from the middle, a parabola through three neighbours has its top, and how high; inf if nowhere."""
    slope, bend = (after - before) / 2, 2 * here - before - after
    move = torch.where(bend > 0, slope / bend.clamp_min(1e-300), math.inf)
    return move, torch.where(bend > 0, here + slope * move / 2, here)


def _check(waves: Tensor, rate: int) -> None:
    if isinstance(rate, bool) or not isinstance(rate, int) or rate < 4 * HIGHEST:
        raise ValueError(f"rate must be a whole number of at least {4 * HIGHEST:g} samples per second, got {rate!r}")
    least = math.ceil(4 * rate / LOWEST)
    if waves.ndim != 2 or not waves.is_floating_point() or waves.shape[1] < least:
        got = f"{tuple(waves.shape)} {waves.dtype}"
        raise ValueError(f"waves must be (B, T) floats with T at least {least} at this rate, got {got}")
    if not waves.isfinite().all():
        raise ValueError("waves must be finite; some hold nan or inf")
