"""Noise schedules to turn: beta, alpha_bar and signal-to-noise ratio as curves, and what they do to one picture.

The browser computes everything with the formulas of genai_utils.diffusion.schedules, from the picture and the noise
that the widget carries; a test compares the two.

Shapes:  C channels, H and W the picture's sides, T timesteps.
"""

import numpy as np
import torch
import traitlets as t

from genai_utils.diffusion.schedules import cosine_schedule, linear_schedule, rescale_zero_snr
from genai_utils.widgets import sprites
from genai_utils.widgets.base import View, check_size, img_html, script


def explore_schedule(image, *, alt, seed=0, eps=None, T=1000, size=None):
    """Return an explorer of linear and cosine schedules and of the zero-terminal-SNR rescaling.

    Args:
        image: uint8 (H, W) or (H, W, 3), or floats (C, H, W) in [-1, 1] with C = 1 or 3.
        alt: what is to be seen, in 30 characters or more.
        seed: seed of the noise, drawn on the CPU.
        eps: the noise itself, of the picture's shape (C, H, W); drawn from `seed` if None.
        T: number of timesteps, at least 2.
        size: width of the picture on the page, in CSS pixels; about 200 if None.
    Raises:
        ValueError: the picture or the noise has the wrong shape, T < 2, or the two need more than 400 kB.
    """
    x0 = to_floats(image)
    if eps is None:
        eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed))
    eps = sprites.to_numpy(eps).astype("<f4")
    if eps.shape != x0.shape or T < 2:
        raise ValueError(f"need eps of the picture's shape {x0.shape} and T >= 2, got {eps.shape} and T={T}")
    check_size(x0.nbytes + eps.nbytes, "use a smaller picture, 32 x 32 for instance")
    return ScheduleExplorer(alt=alt, x0=x0.tobytes(), eps=eps.tobytes(), shape=list(x0.shape), T=T, seed=seed,
                            at=T // 4, size=size or sprites.zoom(x0.shape[2], 200))


def to_floats(image) -> np.ndarray:
    """Return a picture as float32 (C, H, W) in [-1, 1]."""
    x = sprites.to_numpy(image)
    if x.dtype == np.uint8 and (x.ndim == 2 or x.ndim == 3 and x.shape[-1] == 3):
        x = x[None] if x.ndim == 2 else x.transpose(2, 0, 1)
        return np.ascontiguousarray(x.astype("<f4") / 127.5 - 1)
    if x.dtype.kind == "f" and x.ndim == 3 and x.shape[0] in (1, 3) and np.abs(x).max() <= 1:
        return np.ascontiguousarray(x.astype("<f4"))
    raise ValueError(f"image must be uint8 (H, W[, 3]) or floats (C, H, W) in [-1, 1], got {x.dtype} {x.shape}")


class ScheduleExplorer(View):
    """The widget that `explore_schedule` returns; `alpha_bar` is the schedule it shows now, ready to train with."""

    _esm = script("explore_schedule")
    x0 = t.Bytes().tag(sync=True)                    # float32, little-endian, (C, H, W)
    eps = t.Bytes().tag(sync=True)
    shape = t.List(t.Int()).tag(sync=True)
    T = t.Int().tag(sync=True)
    seed = t.Int().tag(sync=True)
    size = t.Int().tag(sync=True)
    kind = t.Enum(("linear", "cosine"), "linear").tag(sync=True)
    beta_start = t.Float(1e-4).tag(sync=True)
    beta_end = t.Float(0.02).tag(sync=True)
    s = t.Float(0.008).tag(sync=True)
    zero_snr = t.Bool(False).tag(sync=True)
    at = t.Int(0).tag(sync=True)                     # the timestep t, in [0, T)

    @property
    def alpha_bar(self) -> torch.Tensor:
        """The schedule shown, (T,) float64."""
        linear = self.kind == "linear"
        curve = linear_schedule(self.T, self.beta_start, self.beta_end) if linear else cosine_schedule(self.T, self.s)
        return rescale_zero_snr(curve) if self.zero_snr else curve

    def noised(self) -> np.ndarray:
        """Return x_t (C, H, W) float64 at the timestep shown: sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps."""
        a = self.alpha_bar[self.at].item()
        x0, eps = (np.frombuffer(b, "<f4").reshape(self.shape).astype(float) for b in (self.x0, self.eps))
        return a**0.5 * x0 + (1 - a) ** 0.5 * eps

    def picture(self) -> str:
        x0, eps = (np.frombuffer(b, "<f4").reshape(self.shape) for b in (self.x0, self.eps))
        times = [round(k * (self.T - 1) / 4) for k in range(5)]
        a = self.alpha_bar[times].numpy()[:, None, None, None]
        strip = np.concatenate(list(sprites.to_pictures(a**0.5 * x0 + (1 - a) ** 0.5 * eps)), 1)
        data, mime = sprites.encode(strip)
        image = img_html(data, mime, self.alt, sprites.zoom(strip.shape[1], 600), style="image-rendering:pixelated")
        return f"{image}<figcaption>{self.kind} schedule at t = {', '.join(map(str, times))} of {self.T}.</figcaption>"
