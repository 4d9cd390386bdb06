"""The recurrent listener: its filters and frames, and that silence after a word changes nothing."""

import math

import pytest
import torch

from genai_utils.autoregressive.speech import (
    SpeechClassifier, SpeechClassifierConfig, log_mel, mel_filters, speech_loss,
)  # fmt: skip

SMALL = SpeechClassifierConfig(n_classes=3, n_mels=12, frame=64, hop=32, d_hidden=16, dropout=0.0)


def tone(frequency, samples=640, rate=8000):
    return 0.5 * torch.sin(2 * math.pi * frequency * torch.arange(samples) / rate)


def spoken(n=6, samples=640, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    waves = torch.stack([tone(300 * (1 + k)) for k in labels.tolist()])[:, :samples]
    return waves + 0.01 * torch.randn(waves.shape, generator=g), labels


def test_mel_filters_peak_where_the_mel_scale_says():
    rate, frame, n = 8000, 4096, 10
    filters = mel_filters(n, frame, rate)
    mel = lambda f: 2595 * math.log10(1 + f / 700)
    for k in range(n):
        peak = filters[k].argmax().item() * rate / frame
        assert mel(peak) == pytest.approx((k + 1) * mel(rate / 2) / (n + 1), rel=0.01)
        assert filters[k].max().item() == pytest.approx(1, abs=0.05)


def test_mel_filters_cover_every_frequency_between_the_first_and_the_last_peak():
    filters = mel_filters(10, 1024, 8000)
    first, last = filters[0].argmax(), filters[-1].argmax()
    torch.testing.assert_close(filters[:, first : last + 1].sum(0), torch.ones(last - first + 1), rtol=0, atol=1e-5)


def test_log_mel_of_a_tone_is_loudest_in_the_band_that_holds_it():
    filters = mel_filters(20, 256, 8000)
    for frequency in (300, 900, 2500):
        found = log_mel(tone(frequency)[None], filters, 256, 128)[0].mean(0).argmax()
        want = filters[:, round(frequency * 256 / 8000)].argmax()
        assert abs(found - want) <= 1


def test_log_mel_has_as_many_frames_as_its_docstring_says():
    filters = mel_filters(12, 64, 8000)
    for samples in (64, 95, 96, 640):
        assert log_mel(torch.zeros(2, samples), filters, 64, 32).shape == (2, 1 + (samples - 64) // 32, 12)


def test_log_mel_equals_the_naive_sum():
    g = torch.Generator().manual_seed(0)
    x, frame, hop = torch.rand(1, 100, generator=g) - 0.5, 16, 8
    filters = mel_filters(3, frame, 8000)
    found = log_mel(x, filters, frame, hop)
    for n in range(found.shape[1]):
        piece = x[0, n * hop : n * hop + frame].double()
        window = torch.tensor([0.5 - 0.5 * math.cos(2 * math.pi * k / frame) for k in range(frame)])
        power = []
        for f in range(frame // 2 + 1):
            angle = 2 * math.pi * f * torch.arange(frame) / frame
            power.append((piece * window * angle.cos()).sum() ** 2 + (piece * window * angle.sin()).sum() ** 2)
        want = (filters.double() @ torch.stack(power).double() + 1e-6).log()
        torch.testing.assert_close(found[0, n].double(), want, rtol=1e-4, atol=1e-4)


def test_silence_after_the_word_changes_no_logit():
    torch.manual_seed(0)
    model = SpeechClassifier(SMALL).eval()
    waves, _ = spoken()
    padded = torch.cat([waves, torch.zeros(6, 500)], dim=1)
    torch.testing.assert_close(model(padded), model(waves), rtol=1e-5, atol=1e-5)


def test_a_word_beside_a_longer_one_is_heard_as_alone():
    torch.manual_seed(0)
    model = SpeechClassifier(SMALL).eval()
    waves, _ = spoken()
    short = waves[:1].clone()
    short[:, 200:] = 0
    together = model(torch.cat([short, waves]))
    torch.testing.assert_close(together[:1], model(short[:, :200]), rtol=1e-5, atol=1e-5)


def test_lengths_are_the_frames_that_end_within_the_sound():
    model = SpeechClassifier(SMALL)
    waves = torch.zeros(4, 640)
    for row, samples in enumerate((640, 64, 100, 0)):
        waves[row, :samples] = 0.1
    assert model.lengths(waves).tolist() == [19, 1, 2, 1]


def test_a_pause_within_the_word_is_part_of_it():
    wave = torch.zeros(1, 640)
    wave[0, :100] = wave[0, 500:600] = 0.1
    assert SpeechClassifier(SMALL).lengths(wave).tolist() == [17]


def test_the_order_of_the_frames_matters():
    torch.manual_seed(0)
    model = SpeechClassifier(SMALL).eval()
    two = torch.cat([tone(300), tone(2000)])[None]
    assert (model(two) - model(two.flip(1))).abs().max() > 1e-3


def test_speech_classifier_learns_three_tones():
    torch.manual_seed(0)
    model, batch = SpeechClassifier(SMALL), spoken()
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss, logs = speech_loss(model, batch)
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert loss < 0.1 and logs["accuracy"] == 1


def test_gradient_reaches_every_parameter():
    torch.manual_seed(0)
    model = SpeechClassifier(SMALL)
    speech_loss(model, spoken())[0].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hop": 65}, "hop must be at most frame=64"), ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"n_mels": 0}, "n_mels"), ({"n_mels": 60}, "too narrow"),
    ],
)  # fmt: skip
def test_config_that_makes_no_sense_is_refused(change, said):
    fields = {name: getattr(SMALL, name) for name in SMALL.__dataclass_fields__}
    with pytest.raises(ValueError, match=said):
        SpeechClassifier(SpeechClassifierConfig(**fields | change))


def test_waves_that_are_too_short_or_not_finite_are_refused():
    model = SpeechClassifier(SMALL)
    with pytest.raises(ValueError, match=r"at least one frame of 64, got \(2, 63\)"):
        model(torch.zeros(2, 63))
    bad = torch.zeros(3, 100)
    bad[1, 5] = math.nan
    with pytest.raises(ValueError, match="wave 1 is not"):
        model(bad)
