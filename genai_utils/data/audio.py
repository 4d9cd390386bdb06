"""Sound: short waves with labels, mu-law companding, and `tones`, eight notes on three instruments made of integers.

Sources: [G711] ITU-T Rec. G.711 (mu-law). [WAVENET] van den Oord et al. 2016, arXiv:1609.03499, Sec. 2.2 (its
         continuous form, as used here). `spoken_digits`: Free Spoken Digit Dataset, Jackson et al., CC BY-SA 4.0.
         `tones`: ours, by direct digital synthesis: a 32-bit phase that wraps round, one table of the sine, and whole
         numbers only from there on, so the bytes are the same on every platform.
Shapes:  N waves, B batch, T samples, V levels of mu-law, K classes.
"""

import io
import math
import re
import wave
import zipfile
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genai_utils.data.sets import Batches

RATE, LENGTH = 8_000, 2_000  # samples per second, and samples of a tone: 0.25 s
LONGEST = 8_000  # samples of a recording that are kept: 1 s
NOTES = ("C4", "D4", "E4", "F4", "G4", "A4", "B4", "C5")
SEMITONES = (-9, -7, -5, -4, -2, 0, 2, 3)  # from A4, 440 Hz, in equal temperament
DETUNE = 19  # a tone is out of tune by a whole number of cents, -DETUNE to DETUNE
HARMONICS = {"sine": (256,), "reed": (110, 20, 70, 12, 44), "pluck": (120, 68, 36, 20, 12)}  # weights, of 256 in all
TIMBRES = tuple(HARMONICS)
NOISE = 100  # added to a sample: a whole number, uniform within -NOISE to NOISE, of 32,768
PHASES, STEPS, UNIT = 32, 14, 1 << 14  # bits of a phase, bits of it that the table reads, and the table's 1.0


@dataclass(frozen=True)
class AudioSet:
    """Labelled waves as one int16 tensor, shorter ones padded with zeros at their end.

    Raises:
        ValueError: waves, lengths or labels of another shape or type; lengths, labels or a rate out of range.
    """

    name: str
    waves: Tensor  # (N, T) int16; 32,768 would be an amplitude of 1
    lengths: Tensor  # (N,) int64, samples before the padding, within [1, T]
    labels: Tensor  # (N,) int64, indices into `classes`
    classes: tuple[str, ...]
    rate: int  # samples per second
    extra: dict[str, Any] = field(default_factory=dict)  # what else is known: timbre, frequency, speaker, source, note

    def __post_init__(self) -> None:
        if self.waves.ndim != 2 or self.waves.dtype != torch.int16 or not self.waves.numel():
            got = f"{tuple(self.waves.shape)} {self.waves.dtype}"
            raise ValueError(
                f"waves must be (N, T) int16 with N and T at least 1, got {got}: scale by 32,768 and round"
            )
        n, length = self.waves.shape
        for name, values, low, high in (
            ("lengths", self.lengths, 1, length),
            ("labels", self.labels, 0, len(self.classes) - 1),
        ):
            if values.shape != (n,) or values.dtype != torch.int64:
                got = f"{tuple(values.shape)} {values.dtype}"
                raise ValueError(f"{name} must be ({n},) int64, one per wave, got {got}")
            if values.min() < low or values.max() > high:
                got = f"{values.min().item()} to {values.max().item()}"
                raise ValueError(f"{name} must be within [{low}, {high}], got {got}")
        if isinstance(self.rate, bool) or not isinstance(self.rate, int) or self.rate < 1:
            raise ValueError(f"rate must be a whole number of samples per second, at least 1, got {self.rate!r}")

    def __len__(self) -> int:
        return len(self.waves)

    def to(self, device: torch.device | str) -> "AudioSet":
        """Return the set with waves, lengths and labels on `device` (extra stays where it is)."""
        waves, lengths, labels = (x.to(device) for x in (self.waves, self.lengths, self.labels))
        return replace(self, waves=waves, lengths=lengths, labels=labels)

    def batches(self, size: int, seed: int = 0) -> Batches:
        """Return an endless, resumable iterator over (waves (B, T) float32 in [-1, 1), labels (B,) int64)."""

        def take(which: Tensor) -> tuple[Tensor, Tensor]:
            return self.waves[which].float() / 32_768, self.labels[which]

        return Batches(take, len(self), size, seed, self.waves.device)


def mu_law_encode(x: Tensor, levels: int = 256) -> Tensor:
    """Return the codes, int64 in [0, levels), of sound x, floats in [-1, 1], in x's shape.

    sign(x) ln(1 + mu abs(x)) / ln(1 + mu), mu = levels - 1, is cut into bins of equal width, the two outermost of them
    half as wide: quiet sound has finer bins than loud sound. With an even number of levels none stands for exact
    silence, which becomes levels / 2.
    Raises:
        ValueError: levels below 2; x not of floats, not finite, or outside [-1, 1].
    Source: [WAVENET] Sec. 2.2.
    """
    mu = _mu(levels)
    if not x.is_floating_point():
        raise ValueError(f"x must be floats in [-1, 1], got {x.dtype}; divide int16 sound by 32,768")
    if not (x.abs() <= 1).all():  # one question for both faults: the comparison is false for nan
        worst = x.detach().abs().max().item()
        raise ValueError(f"x must be finite and in [-1, 1], got up to {worst:g} in size; rescale or clamp it")
    x = x if x.dtype == torch.float64 else x.float()
    y = x.sign() * torch.log1p(mu * x.abs()) / math.log1p(mu)  # in [-1, 1]
    return ((y + 1) * (mu / 2) + 0.5).floor().long().clamp(0, mu)


def mu_law_decode(codes: Tensor, levels: int = 256) -> Tensor:
    """Return the sound, float32 in [-1, 1], in the middle (of mu-law) of each code's bin; codes int64 in [0, levels).

    Encoding it gives the same code back.
    Raises:
        ValueError: levels below 2; codes that are no whole numbers or out of range.
    Source: [WAVENET] Sec. 2.2, inverted.
    """
    mu = _mu(levels)
    if codes.is_floating_point() or codes.dtype == torch.bool:
        raise ValueError(f"codes must be whole numbers (int64), got {codes.dtype}; take .argmax or .long() first")
    if codes.numel() and (codes.min() < 0 or codes.max() > mu):
        got = f"{codes.min().item()} to {codes.max().item()}"
        raise ValueError(f"codes must be within [0, {levels}), got {got}; give the levels they were encoded with")
    y = codes.double() * (2 / mu) - 1
    return (y.sign() * torch.expm1(y.abs() * math.log1p(mu)) / mu).float().clamp(-1, 1)


def _mu(levels: int) -> int:
    if isinstance(levels, bool) or not isinstance(levels, int) or levels < 2:
        raise ValueError(f"levels must be a whole number of at least 2, got {levels!r}")
    return levels - 1


def tones(split: str = "train", *, n: int | None = None, seed: int = 0) -> AudioSet:
    """Return n tones of 0.25 s at 8 kHz: a note of C major, C4 to C5, on one of three instruments.

    Note and instrument are independent and uniform; so are phase, loudness (half to full) and detuning (-19 to 19
    cents, whole). "sine" is pure and steady, "reed" steady with strong odd harmonics, "pluck" dies away, its higher
    harmonics first.

    Args:
        split: "train" (2,400 by default) or "test" (480): other draws of the same distribution.
        n: how many.
        seed: other seeds give other draws.
    `extra` holds timbre (N,) int64, an index into `extra["timbres"]`; frequency (N,) float64, exact, in Hz; cents (N,)
    int64, the detuning.
    Raises:
        ValueError: n below 1.
    """
    n = {"train": 2_400, "test": 480}[split] if n is None else n
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    rng = np.random.RandomState([seed, split == "test"])  # the one generator of numpy whose stream is frozen (NEP 19)
    note, timbre, cents, phase, loudness = (
        rng.randint(low, high, n, dtype=np.int64)
        for low, high in ((0, 8), (0, 3), (-DETUNE, DETUNE + 1), (0, 1 << PHASES), (128, 257))
    )
    increment = _increments()[note, cents + DETUNE]  # of the phase, per sample
    waves = rng.randint(-NOISE, NOISE + 1, (n, LENGTH), dtype=np.int64)
    for k, name in enumerate(TIMBRES):
        which = np.flatnonzero(timbre == k)
        angle = phase[which, None] + increment[which, None] * np.arange(LENGTH)  # below 2^42
        played = np.zeros_like(angle)
        for h, weight in enumerate(HARMONICS[name], start=1):
            played += weight * (_envelope(name, h) * _sine()[(h * angle >> (PHASES - STEPS)) % UNIT] >> 14)
        waves[which] += played * loudness[which, None] * 30_000 >> 30  # 256 x 2^14 x 256 = 2^30 is 30,000 of 32,768
    extra = {
        "timbre": torch.from_numpy(timbre),
        "timbres": TIMBRES,
        "frequency": torch.from_numpy(increment * (RATE / 2**PHASES)),
        "cents": torch.from_numpy(cents),
    }
    lengths = torch.full((n,), LENGTH)
    waves = torch.from_numpy(waves.astype(np.int16))
    return AudioSet("tones", waves, lengths, torch.from_numpy(note), NOTES, RATE, extra)


@cache
def _sine() -> np.ndarray:
    """Return one turn of the sine, (2^STEPS,) int64 within -UNIT to UNIT; a test says that no entry is a close call."""
    return np.array([round(UNIT * math.sin(2 * math.pi * k / (1 << STEPS))) for k in range(1 << STEPS)])


@cache
def _increments() -> np.ndarray:
    """Return by how much a phase moves per sample, (8, 2 DETUNE + 1) int64, for each note and detuning in cents."""
    turn = 2**PHASES / RATE
    return np.array(
        [[round(turn * 440 * 2 ** ((s + c / 100) / 12)) for c in range(-DETUNE, DETUNE + 1)] for s in SEMITONES]
    )


@cache
def _envelope(timbre: str, harmonic: int) -> np.ndarray:
    """Return the loudness of a harmonic over time, (T,) int64 in [0, UNIT]."""
    t = np.arange(LENGTH, dtype=np.int64)
    if timbre != "pluck":  # up in 10 ms, down in the last 20 ms
        return np.minimum(np.minimum(t * UNIT // 80, UNIT), (LENGTH - 1 - t) * UNIT // 160)
    values, level = [], UNIT << 20
    for _ in range(LENGTH):
        values.append(level >> 20)
        level -= level * (harmonic + 2) // 3_000  # whole numbers: the same on every platform
    return np.minimum(t * UNIT // 16, np.array(values))  # up in 2 ms


def read_recordings(paths: list[Path], split: str) -> AudioSet:
    """Return the spoken digits of recordings.parquet or of the publisher's zip: indices 0 to 4 are for test.

    In the order of digit, speaker and index. Recordings are cut after LONGEST samples, and shorter ones are padded
    with zeros to the longest of their split. `extra` holds speaker (N,) int64, an index into `extra["speakers"]`, and
    a note.
    Raises:
        ValueError: a recording that is not mono, 16 bits, 8 kHz, or that is empty; no recording for the split.
    """
    rows = _from_parquet(paths[0]) if paths[0].suffix == ".parquet" else _from_zip(paths[0])
    rows = sorted(row for row in rows if (row[2] < 5) == (split == "test"))  # (digit, speaker, index, WAV)
    if not rows:
        raise ValueError(f"{paths[0].name} holds no recording for {split}; give the whole set")
    sounds = [_samples(body)[:LONGEST] for *_, body in rows]
    lengths = torch.tensor([len(sound) for sound in sounds])
    waves = torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True)
    speakers = tuple(sorted({speaker for _, speaker, *_ in rows}))
    extra = {
        "speaker": torch.tensor([speakers.index(speaker) for _, speaker, *_ in rows]),
        "speakers": speakers,
        "note": f"cut after {LONGEST:,} samples and padded with zeros at the end; `lengths` counts what was recorded",
        "terms": "CC BY-SA 4.0",
    }
    labels = torch.tensor([digit for digit, *_ in rows])
    return AudioSet("spoken_digits", waves, lengths, labels, tuple("0123456789"), RATE, extra)


def _from_parquet(path: Path) -> list[tuple[int, str, int, bytes]]:
    import pyarrow.parquet as pq  # here, since importing it takes a second that other sets need not pay

    table = pq.read_table(path)
    bodies = table["audio"].combine_chunks().field("bytes")
    columns = (table["label"], table["speaker"], table["index"], bodies)
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def _from_zip(path: Path) -> list[tuple[int, str, int, bytes]]:
    rows = []
    with zipfile.ZipFile(path) as file:  # read in memory: no name in it becomes a path
        for name in file.namelist():
            if match := re.fullmatch(r"[^/]+/recordings/(\d)_([a-z]+)_(\d+)\.wav", name):
                rows.append((int(match[1]), match[2], int(match[3]), file.read(name)))
    return rows


def _samples(body: bytes) -> Tensor:
    """Return the samples of a WAV file, (T,) int16."""
    with wave.open(io.BytesIO(body)) as file:
        kind = file.getnchannels(), file.getsampwidth(), file.getframerate()
        data = file.readframes(file.getnframes())
    if kind != (1, 2, RATE) or not data:
        raise ValueError(f"a recording must be mono, 2 bytes a sample, {RATE} Hz and not empty, got {kind}")
    return torch.from_numpy(np.frombuffer(data, "<i2").astype(np.int16))
