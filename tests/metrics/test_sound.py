"""The judge of tones: exact on tones it knows, and not taken in by noise, silence or a shifted label."""

import math

import pytest
import torch

from genai_utils.data import load
from genai_utils.metrics import periodicity, pitch, score_tones
from genai_utils.metrics.sound import cents_from_notes


@pytest.fixture(scope="module")
def tones():
    return load("tones", "test")


@pytest.fixture(scope="module")
def waves(tones):
    return tones.waves.double() / 32_768


def sines(hertz: list[float], length: int = 2_000, rate: int = 8_000) -> torch.Tensor:
    t = torch.arange(length, dtype=torch.float64) / rate
    return 0.5 * torch.sin(2 * math.pi * torch.tensor(hertz, dtype=torch.float64)[:, None] * t + 0.7)


def noise(n: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(n, 2_000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x / x.abs().max()


def cents(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (1_200 * torch.log2(a / b)).abs()


def test_pitch_of_every_tone_is_right_to_half_a_cent(tones, waves):
    assert cents(pitch(waves), tones.extra["frequency"]).max() < 0.5


@pytest.mark.parametrize("length", [320, 2_000, 8_001])
def test_pitch_of_sines_is_right_over_the_whole_range(length):
    hertz = [101.0, 110.0, 146.0, 261.6, 333.3, 440.0, 523.3, 784.0, 999.0, 1_319.0, 1_501.0, 1_777.0, 1_950.0]
    found, share = periodicity(sines(hertz, length))
    assert cents(found, torch.tensor(hertz).double()).max() < 2
    assert share.min() > 0.9 and share.max() <= 1


def test_pitch_knows_the_rate():
    found = pitch(sines([300.0, 441.0], length=4_000, rate=16_000), 16_000)
    assert cents(found, torch.tensor([300.0, 441.0]).double()).max() < 0.2


def test_pitch_is_the_fundamental_even_when_it_is_missing():
    x = sines([400.0]) + sines([600.0]) + sines([800.0])
    assert cents(pitch(x), torch.tensor([200.0]).double()).max() < 0.5


def test_pitch_hears_neither_loudness_nor_a_constant(waves):
    x = waves[:40]
    torch.testing.assert_close(pitch(1e-3 * x + 0.3), pitch(x), rtol=1e-9, atol=0)


def test_periodicity_is_the_share_of_power_that_repeats():
    x = sines([300.0] * 200)
    for level in (0.1, 0.3):
        noisy = x + level * torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        share = periodicity(noisy)[1].mean()
        assert abs(share - 0.125 / (0.125 + level**2)) < 0.02, level


def test_real_tones_score_all_right(tones, waves):
    scores = score_tones(waves, tones.labels)
    for name in ("tone", "in_tune", "agreement"):
        assert scores[name].value >= 0.99 and scores[name].n == 480, name
    assert scores["periodicity"].value > 0.98
    assert 2.0 < scores["class_entropy"].value <= math.log(8) and scores["class_entropy"].low > 1.9


def test_noise_is_no_tone_however_coloured(tones):
    white = noise(200)
    pink = torch.nn.functional.conv1d(white[:, None], torch.ones(1, 1, 8, dtype=torch.float64), padding=4)[:, 0, :2_000]
    walk = white.cumsum(1)
    for name, x in {"white": white, "smoothed": pink, "walk": walk}.items():
        scores = score_tones(x / x.abs().max(), tones.labels[:200], resamples=0)
        assert scores["in_tune"].value <= 0.02 and scores["agreement"].value <= 0.02, name
    assert score_tones(white)["tone"].value == 0


def test_silence_is_no_tone():
    found, share = periodicity(torch.zeros(2, 2_000))
    assert found.isnan().all() and (share == 0).all()
    scores = score_tones(torch.zeros(3, 2_000), torch.zeros(3, dtype=torch.int64))
    assert scores["tone"].value == scores["agreement"].value == 0
    assert scores["class_entropy"].value == 0 and scores["class_entropy"].n == 0


def test_score_sees_wrong_labels_and_lost_variety(tones, waves):
    assert score_tones(waves, (tones.labels + 1) % 8)["agreement"].value == 0
    only = waves[tones.labels == 3]
    scores = score_tones(only, tones.labels[tones.labels == 3])
    assert scores["class_entropy"].value == 0 and scores["agreement"].value == 1


def test_score_sees_tones_out_of_tune():
    ends = (261.63, 523.25)  # C4 and C5
    for low, high, share in ((0, 0, 1.0), (-45, 45, 1.0), (45, -45, 1.0), (-55, 55, 0.0), (55, -45, 0.5)):
        x = sines([ends[0] * 2 ** (low / 1_200), ends[1] * 2 ** (high / 1_200)])
        assert score_tones(x, resamples=0)["in_tune"].value == share, (low, high)
    octave_up = score_tones(sines([880.0, 1_046.5]), torch.tensor([5, 7]), resamples=0)
    assert octave_up["in_tune"].value == 0 and octave_up["tone"].value == 1


def test_cents_from_notes_are_zero_on_the_note_and_twelve_hundred_an_octave():
    away = cents_from_notes(torch.tensor([440.0, 880.0]))
    assert away.shape == (2, 8) and away[0, 5] == 0 and abs(away[1, 5] - 1_200) < 1e-9
    assert abs(away[0, 0] - 900) < 1e-9  # A is nine semitones above C


def test_score_repeats_and_takes_float32_as_float64(tones, waves):
    first, second = (score_tones(x[:50], tones.labels[:50], seed=1) for x in (waves, waves.float()))
    assert first["class_entropy"] == second["class_entropy"] and first["agreement"] == second["agreement"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pitch(torch.zeros(2_000)), r"\(B, T\).*got \(2000,\)"),
        (lambda: pitch(torch.zeros(2, 319)), "at least 320.*319"),
        (lambda: pitch(torch.zeros(2, 400, dtype=torch.int16)), "floats.*int16"),
        (lambda: pitch(torch.full((2, 400), math.nan)), "finite"),
        (lambda: pitch(torch.zeros(2, 400), 4_000), "at least 8000.*got 4000"),
        (lambda: score_tones(torch.zeros(1, 400)), "at least 2.*got 1 waves"),
        (lambda: score_tones(torch.full((2, 400), -1.5)), "up to 1.5 in size"),
        (lambda: score_tones(torch.zeros(2, 400), torch.zeros(3, dtype=torch.int64)), r"\(2,\) int64.*\(3,\)"),
        (lambda: score_tones(torch.zeros(2, 400), torch.zeros(2)), "int64.*float32"),
        (lambda: score_tones(torch.zeros(2, 400), torch.tensor([0, 8])), r"\[0, 8\).*C4.*got 0 to 8"),
        (lambda: score_tones(torch.zeros(2, 400), torch.tensor([-1, 7])), "got -1 to 7"),
    ],
)
def test_sound_refuses_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
