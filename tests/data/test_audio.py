"""Sound: what a set refuses, mu-law's laws, and tones that are the notes they say, byte for byte."""

import hashlib
import io
import math
import wave

import pytest
import torch

from genai_utils.data import AudioSet, load, mu_law_decode, mu_law_encode
from genai_utils.data.audio import (
    DETUNE,
    HARMONICS,
    LENGTH,
    NOTES,
    PHASES,
    RATE,
    SEMITONES,
    STEPS,
    TIMBRES,
    UNIT,
    _envelope,
    _samples,
)

LEVELS = (2, 3, 16, 255, 256, 65_536)


def sha(x: torch.Tensor) -> str:
    return hashlib.sha256(x.numpy().tobytes()).hexdigest()


# --- the set ------------------------------------------------------------------------------------------------------


def small(**changes) -> AudioSet:
    parts = {
        "name": "small",
        "waves": torch.tensor([[-32_768, 0, 16_384], [32_767, 0, 0]], dtype=torch.int16),
        "lengths": torch.tensor([3, 1]),
        "labels": torch.tensor([1, 0]),
        "classes": ("a", "b"),
        "rate": 8_000,
    }
    return AudioSet(**(parts | changes))


def test_audio_batches_are_floats_in_the_range_with_their_own_labels():
    waves, labels = next(small().batches(2))
    assert waves.dtype == torch.float32 and waves[labels == 1].tolist() == [[-1.0, 0.0, 0.5]]
    assert waves[labels == 0].tolist() == [[32_767 / 32_768, 0.0, 0.0]]


def test_audio_batches_resume_where_they_stood():
    data = load("tones", "test", n=20)
    batches = data.batches(6, seed=3)
    for _ in range(4):
        next(batches)
    state, (waves, labels) = batches.state_dict(), next(batches)
    other = data.batches(6, seed=3)
    other.load_state_dict(state)
    again = next(other)
    assert torch.equal(again[0], waves) and torch.equal(again[1], labels)


def test_audio_set_moves_whole():
    data, moved = small(), small().to("cpu")
    assert all(torch.equal(getattr(moved, name), getattr(data, name)) for name in ("waves", "lengths", "labels"))
    assert len(moved) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"waves": torch.zeros(2, 3)}, r"int16.*got \(2, 3\) torch.float32.*32,768"),
        ({"waves": torch.zeros(6, dtype=torch.int16)}, r"\(N, T\)"),
        ({"waves": torch.zeros(2, 0, dtype=torch.int16)}, "at least 1"),
        ({"lengths": torch.tensor([3, 0])}, r"lengths must be within \[1, 3\], got 0 to 3"),
        ({"lengths": torch.tensor([4, 1])}, r"lengths must be within \[1, 3\], got 1 to 4"),
        ({"lengths": torch.tensor([3])}, r"lengths must be \(2,\) int64"),
        ({"labels": torch.tensor([0, 2])}, r"labels must be within \[0, 1\], got 0 to 2"),
        ({"labels": torch.tensor([0.0, 1.0])}, r"labels must be \(2,\) int64.*float32"),
        ({"rate": 0}, "at least 1, got 0"),
        ({"rate": 8e3}, "whole number.*got 8000.0"),
    ],
)
def test_audio_set_refuses_what_does_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


# --- mu-law -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", LEVELS)
def test_mu_law_gives_every_code_back(levels):
    codes = torch.arange(levels)
    x = mu_law_decode(codes, levels)
    assert torch.equal(mu_law_encode(x, levels), codes) and torch.equal(mu_law_encode(x.double(), levels), codes)
    assert x[0] == -1 and x[-1] == 1 and (x.diff() > 0).all() and x.dtype == torch.float32
    assert torch.allclose(x, -x.flip(0), atol=1e-7)


@pytest.mark.parametrize("levels", LEVELS[1:])
def test_mu_law_errs_by_at_most_half_a_bin(levels):
    x = torch.linspace(-1, 1, 20_001, dtype=torch.float64)
    codes = mu_law_encode(x, levels)
    assert codes.min() == 0 and codes.max() == levels - 1 and (codes.diff() >= 0).all()

    def curve(v):  # the textbook's, in which all bins have one width
        return v.sign() * torch.log(1 + (levels - 1) * v.abs()) / math.log(levels)

    error = (curve(mu_law_decode(codes, levels).double()) - curve(x)).abs()
    assert error.max() <= 1 / (levels - 1) + 1e-6  # bins are 2 / mu wide
    assert error.max() > 0.9 / (levels - 1) or levels > 10_000  # and no narrower


def test_mu_law_spends_its_levels_on_quiet_sound():
    x = mu_law_decode(torch.arange(256))
    assert x[129] - x[128] < 0.0005 and x[255] - x[254] > 0.04
    assert mu_law_encode(torch.zeros(1)).item() == 128


def test_mu_law_keeps_shapes_and_takes_half_precision():
    x = torch.rand(2, 3, 4) * 2 - 1
    assert mu_law_decode(mu_law_encode(x)).shape == x.shape
    half = x.bfloat16()
    assert torch.equal(mu_law_encode(half), mu_law_encode(half.float()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mu_law_encode(torch.tensor([0.0, 1.25])), r"\[-1, 1\], got up to 1.25.*clamp"),
        (lambda: mu_law_encode(torch.tensor([0.0, -1.25])), "got up to 1.25"),
        (lambda: mu_law_encode(torch.tensor([math.nan, 0.0])), "finite.*got up to nan"),
        (lambda: mu_law_encode(torch.tensor([math.inf])), "got up to inf"),
        (lambda: mu_law_encode(torch.tensor([1])), "floats.*int64.*32,768"),
        (lambda: mu_law_encode(torch.zeros(1), 1), "levels must be.*got 1"),
        (lambda: mu_law_encode(torch.zeros(1), 2.0), "levels must be.*got 2.0"),
        (lambda: mu_law_decode(torch.tensor([0, 256])), r"\[0, 256\), got 0 to 256"),
        (lambda: mu_law_decode(torch.tensor([-1, 3])), "got -1 to 3"),
        (lambda: mu_law_decode(torch.tensor([0.0])), "whole numbers.*float32"),
    ],
)
def test_mu_law_refuses_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- tones --------------------------------------------------------------------------------------------------------


def test_tones_bytes_are_those_recorded():
    assert {split: sha(load("tones", split).waves) for split in ("train", "test")} == RECORDED


def test_tones_hang_on_no_close_call_of_a_platforms_arithmetic():
    """The two tables rounded from floats: every entry is far from a half, next to which rounding could go both ways."""
    sine = [UNIT * math.sin(2 * math.pi * k / 2**STEPS) for k in range(2**STEPS)]
    steps = [2**PHASES / RATE * 440 * 2 ** ((s + c / 100) / 12) for s in SEMITONES for c in range(-DETUNE, DETUNE + 1)]
    for table, error in ((sine, 1e-9), (steps, 1e-5)):
        assert min(abs(v % 1 - 0.5) for v in table) > error


def test_tones_shapes_types_and_factors():
    data = load("tones", "test")
    assert data.waves.shape == (480, LENGTH) and data.waves.dtype == torch.int16 and data.rate == 8_000
    assert data.classes == NOTES and data.extra["timbres"] == TIMBRES and (data.lengths == LENGTH).all()
    for labels, kinds in ((data.labels, 8), (data.extra["timbre"], 3)):
        counts = torch.bincount(labels, minlength=kinds)
        assert len(counts) == kinds and (counts - 480 / kinds).abs().max() < 5 * (480 / kinds) ** 0.5
    peak = data.waves.abs().amax(1) / 32_768
    assert peak.max() < 0.93 and peak.min() > 0.2
    assert load("tones").waves.shape == (2_400, LENGTH)


def test_tones_frequency_is_the_notes_and_its_detuning():
    data = load("tones", "test")
    note = 440 * 2 ** (torch.tensor(SEMITONES, dtype=torch.float64)[data.labels] / 12)
    cents = 1_200 * torch.log2(data.extra["frequency"] / note)
    assert (cents - data.extra["cents"]).abs().max() < 1e-4 and cents.abs().max() < 20 and cents.std() > 9
    assert abs(data.extra["frequency"][data.labels == 5].mean() - 440) < 2  # A4
    assert abs(data.extra["frequency"][data.labels == 0].mean() - 261.63) < 2  # middle C


def test_tones_have_the_harmonics_of_their_instrument_and_nothing_else():
    data = load("tones", "test")
    x = data.waves.double()
    t = torch.arange(LENGTH) / RATE
    window = torch.hann_window(LENGTH, dtype=torch.float64)
    for k, name in enumerate(TIMBRES):
        row = int((data.extra["timbre"] == k).nonzero()[0])
        angle = 2 * math.pi * data.extra["frequency"][row] * t

        def strength(h, row=row, angle=angle):
            return ((x[row] * window) * torch.exp(-1j * h * angle)).sum().abs()

        found = torch.stack([strength(h) for h in (1, 2, 3, 4, 5)])
        expected = torch.tensor([float((window * torch.from_numpy(_envelope(name, h))).sum()) for h in (1, 2, 3, 4, 5)])
        expected *= torch.tensor(HARMONICS[name] + (0,) * (5 - len(HARMONICS[name])))
        assert ((found / found[0]) - (expected / expected[0])).abs().max() < 0.01, name
        assert strength(1.5) < 0.01 * found[0], name


def test_pluck_dies_away_and_the_others_stay():
    data = load("tones", "test")
    early, late = (data.waves[:, part].double().std(1) for part in (slice(100, 500), slice(1_400, 1_800)))
    ratio = late / early
    pluck = data.extra["timbre"] == TIMBRES.index("pluck")
    assert ratio[pluck].max() < 0.5 and (ratio[~pluck] - 1).abs().max() < 0.1
    assert (data.waves[:, 0].abs() <= 100).all()  # no click at the start: noise only


def test_tones_of_the_test_and_of_other_seeds_differ():
    rows = [load("tones", split, n=50, seed=seed).waves for split, seed in (("train", 0), ("test", 0), ("train", 1))]
    assert len({tuple(row) for part in rows for row in part[:, :50].tolist()}) == 150
    assert torch.equal(load("tones", n=50, seed=1).waves, rows[2])
    with pytest.raises(ValueError, match="at least 1, got 0"):
        load("tones", n=0)


# --- recordings (the set as a whole: test_download.py) -------------------------------------------------------------


def wav(values: list[int], *, channels: int = 1, width: int = 2, rate: int = 8_000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(b"".join(v.to_bytes(width, "little", signed=width > 1) for v in values))
    return out.getvalue()


def test_recordings_are_read_sample_for_sample():
    assert _samples(wav([-32_768, -1, 0, 258, 32_767])).tolist() == [-32_768, -1, 0, 258, 32_767]


@pytest.mark.parametrize("body", [wav([0, 0], channels=2), wav([0], width=1), wav([0], rate=16_000), wav([])])
def test_recordings_of_another_kind_are_refused(body):
    with pytest.raises(ValueError, match="mono, 2 bytes a sample, 8000 Hz"):
        _samples(body)


RECORDED = {
    "train": "2f63d786606d9aaae59eead34bce491b915a9b2e5d162f4f9761e413409c79b3",
    "test": "519f8fd456e939f971934fd8cb3420120366d56a90e9807055ef1ae5a2e9b09f",
}
