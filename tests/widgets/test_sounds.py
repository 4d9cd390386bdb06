"""Sounds in a page: the very samples, a player and words for each."""

import base64
import io
import re
import wave

import numpy as np
import pytest
import torch

from genai_utils.widgets import play_sounds
from genai_utils.widgets.sounds import outline

ALT = "Two tones, the second an octave higher, for the sake of a test."


def tone(hertz, seconds=0.1, rate=8000):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture
def html(monkeypatch):
    """show(...) -> what play_sounds puts into a notebook."""
    def show(*args, **options):
        out = []
        monkeypatch.setattr("genai_utils.widgets.sounds.emit", lambda page, text: out.append((page, text)))
        assert play_sounds(*args, **options) is None
        return out[0]

    return show


def heard(page):
    """(rate, samples) of every sound in a page."""
    found = []
    for data in re.findall(r'src="data:audio/wav;base64,([^"]+)"', page):
        with wave.open(io.BytesIO(base64.b64decode(data))) as file:
            assert file.getnchannels() == 1 and file.getsampwidth() == 2
            found.append((file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")))
    return found


def test_samples_arrive_as_they_are(html):
    exact = np.array([-32768, -1, 0, 1, 32767], np.int16)
    (_, a), (_, b), (rate, c) = heard(html([exact, torch.from_numpy(exact), tone(262)], 8000, "abc", alt=ALT)[0])
    np.testing.assert_array_equal(a, exact)
    np.testing.assert_array_equal(b, exact)
    np.testing.assert_allclose(c / 32767, tone(262), rtol=0, atol=0.51 / 32767)
    assert rate == 8000


def test_full_scale_floats_do_not_wrap_around(html):
    (_, a), = heard(html([np.array([1.0, -1.0, 0.0])], 8000, ["a"], alt=ALT)[0])
    assert a.tolist() == [32767, -32767, 0]


def test_every_sound_has_a_player_a_picture_and_words(html):
    captions = ["262 Hz, <steady>", "523 Hz"]
    page, text = html([tone(262), tone(523)], 8000, ["C4", "C5 & more"], alt=ALT, captions=captions)
    assert page.count("<audio controls preload=\"none\"") == page.count('role="img"') == 2
    assert f'aria-label="{ALT}"' in page and 'aria-label="C5 &amp; more"' in page
    assert "262 Hz, &lt;steady&gt;" in page and "<strong>C4</strong>: " in page
    assert "autoplay" not in page and "http" not in page and "<script" not in page
    assert not re.search(r'class="gw[ "]|gw-still', page)                      # the pages' tests count those as widgets
    assert text.splitlines() == [ALT, "C4: 262 Hz, <steady>", "C5 & more: 523 Hz"]


def test_picture_says_length_peak_and_level(html):
    x = np.zeros(4000, np.int16)
    x[1000] = -16384
    page, _ = html([x], 8000, "a", alt=ALT)
    assert 'aria-label="Waveform of a: 0.50 s long, loudest at 0.12 s, 50% of full scale"' in page


def test_outline_holds_highest_and_lowest_of_each_column():
    x = np.random.default_rng(0).integers(-32768, 32768, 1600).astype(np.int16)
    points = np.array([[float(v) for v in point.split(",")] for point in outline(x).split()])
    top, low, parts = points[:160], points[160:][::-1], x.reshape(160, 10) / 32768
    np.testing.assert_allclose(top[:, 0], low[:, 0])
    np.testing.assert_allclose(top[:, 1], -parts.max(1) - 0.01, atol=6e-4)
    np.testing.assert_allclose(low[:, 1], -parts.min(1) + 0.01, atol=6e-4)
    assert len(outline(x[:3]).split()) == 6


def test_sounds_of_different_length_and_a_table_of_sounds_are_both_fine(html):
    assert [len(x) for _, x in heard(html([tone(262), tone(262, 0.2)], 8000, "ab", alt=ALT)[0])] == [800, 1600]
    assert len(heard(html(torch.zeros(3, 50), 8000, "abc", alt=ALT)[0])) == 3


@pytest.mark.parametrize("arguments, message", [
    (dict(waves=[]), "one name"),
    (dict(names=["a"]), "one name, all different, and one caption for each of 2 waves"),
    (dict(names=["a", "a"]), "all different"),
    (dict(captions=["one"]), "and 1 captions"),
    (dict(rate=2000), "3000 to 192000, got 2000"),
    (dict(rate=8000.5), "got 8000.5"),
    (dict(waves=[tone(262), tone(262)[None]]), r"sound 'b' must be \(T,\) floats .* got float64 \(1, 800\)"),
    (dict(waves=[np.zeros(0), tone(262)]), "sound 'a' must be"),
    (dict(waves=[tone(262), np.zeros(9, np.uint8)]), "got uint8"),
    (dict(waves=[tone(262), np.array([0, np.nan])]), "'b' must be finite, got nan"),
    (dict(waves=[tone(262), 3 * tone(262)]), "divide by its peak"),
    (dict(waves=[tone(262, 20), tone(262, 10)]), "480 kB, the limit is 400 kB: play fewer"),
    (dict(alt="too short"), "30 characters"),
])
def test_sounds_are_refused_that_cannot_be_played(arguments, message):
    with pytest.raises(ValueError, match=message):
        play_sounds(**{"waves": [tone(262), tone(523)], "rate": 8000, "names": ["a", "b"], "alt": ALT} | arguments)
