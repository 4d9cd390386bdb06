"""Sounds to play in a page: the browser's own players, a waveform and words for each; no kernel and no script.

Shapes:  T samples, not the same for every sound.
"""

import base64
import io
import wave
from html import escape

import numpy as np

from genai_utils.widgets import sprites
from genai_utils.widgets.base import check_alt, check_size, emit

RATES = (3000, 192000)     # samples in a second that browsers play
COLUMNS = 160              # of a waveform
CARD = "background:#fff;border:1px solid #8888;border-radius:6px;padding:.4rem .6rem;color-scheme:light;"


def play_sounds(waves, rate, names, *, alt, captions=None):
    """Show a player for each sound, with its waveform; plain HTML, for the built book as for a notebook.

    Args:
        waves: sounds, each (T,) floats in [-1, 1] or int16; array, tensor or list of either.
        rate: samples in a second, 3,000 to 192,000.
        names: a name for each sound, all different.
        alt: what is to be heard, in 30 characters or more.
        captions: a text for each sound that says what is heard to those who cannot ("262 Hz, dies away in 0.2 s").
    Raises:
        ValueError: a shape, a type or a number does not fit, or the sounds need more than 400 kB as 16-bit WAV.
    """
    alt, names = check_alt(alt), [str(name) for name in names]
    waves = [sprites.to_numpy(w) for w in waves]
    captions = [""] * len(waves) if captions is None else [str(caption) for caption in captions]
    if isinstance(rate, bool) or rate != int(rate) or not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"rate must be a whole number of samples in a second, {RATES[0]} to {RATES[1]}, got {rate}")
    if not waves or len(set(names)) != len(waves) or len(names) != len(waves) or len(captions) != len(waves):
        raise ValueError(f"give one name, all different, and one caption for each of {len(waves)} waves, at least one; "
                         f"got {names} and {len(captions)} captions")
    pcm = [to_pcm(w, name) for w, name in zip(waves, names)]
    files = [to_wav(samples, int(rate)) for samples in pcm]
    check_size(sum(map(len, files)), "play fewer or shorter sounds, or at a lower rate")
    parts = [one(*sound, int(rate)) for sound in zip(names, captions, pcm, files)]
    html = (f'<div class="gw-sounds" role="group" aria-label="{escape(alt)}" '
            f'style="display:flex;flex-wrap:wrap;gap:.75rem;max-width:100%">{"".join(parts)}</div>')
    emit(html, "\n".join([alt, *(f"{name}: {caption}".rstrip(": ") for name, caption in zip(names, captions))]))


def to_pcm(x: np.ndarray, name: str) -> np.ndarray:
    """Return a sound as (T,) int16; a float of 1 becomes 32,767."""
    if x.ndim != 1 or not len(x) or x.dtype != np.int16 and x.dtype.kind != "f":
        raise ValueError(f"sound {name!r} must be (T,) floats in [-1, 1] or int16, got {x.dtype} {x.shape}")
    if x.dtype == np.int16:
        return x
    if not np.isfinite(x).all():
        raise ValueError(f"sound {name!r} must be finite, got {x[~np.isfinite(x)][0]}")
    if np.abs(x).max() > 1:
        raise ValueError(f"sound {name!r} must be in [-1, 1], got {x.min():.3g} to {x.max():.3g}: divide by its peak")
    return np.rint(x.astype(np.float64) * 32767).astype(np.int16)


def to_wav(samples: np.ndarray, rate: int) -> bytes:
    """Return int16 samples (T,) as a WAV file with one channel."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, rate, len(samples), "NONE", "not compressed"))
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def outline(samples: np.ndarray) -> str:
    """Return a waveform as the points of an SVG polygon: the highest, then back the lowest value of each column."""
    parts = np.array_split(samples / 32768, min(COLUMNS, len(samples)))
    step = COLUMNS / len(parts)
    top = [(step * (i + 0.5), -part.max() - 0.01) for i, part in enumerate(parts)]
    low = [(step * (i + 0.5), -part.min() + 0.01) for i, part in enumerate(parts)]
    return " ".join(f"{x:.1f},{y:.3f}" for x, y in top + low[::-1])


def one(name: str, caption: str, samples: np.ndarray, file: bytes, rate: int) -> str:
    """Return the HTML of one sound: its name and caption, its waveform, its player."""
    peak = int(np.abs(samples.astype(int)).argmax())
    words = (f"Waveform of {name}: {len(samples) / rate:.2f} s long, loudest at {peak / rate:.2f} s, "
             f"{abs(int(samples[peak])) / 32768:.0%} of full scale")
    text = f"<strong>{escape(name)}</strong>{': ' if caption else ''}{escape(caption)}"
    return (
        f'<div style="{CARD}flex:1 1 13rem;max-width:20rem;min-width:0"><p style="margin:0;color:#1f1f1f">{text}</p>'
        f'<svg role="img" aria-label="{escape(words)}" viewBox="0 -1.02 {COLUMNS} 2.04" preserveAspectRatio="none" '
        f'style="display:block;width:100%;height:3.5rem"><polygon points="{outline(samples)}" fill="#0072b2" '
        f'stroke="#0072b2" stroke-width="1" vector-effect="non-scaling-stroke"/></svg>'
        f'<audio controls preload="none" aria-label="{escape(name)}" style="display:block;width:100%;max-width:100%" '
        f'src="data:audio/wav;base64,{base64.b64encode(file).decode()}"></audio></div>')
