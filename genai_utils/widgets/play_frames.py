"""A film player: frames of a process, a slider, a Play button, and a choice between several films.

Shapes:  N frames of P panels, H and W their sides in pixels.
"""

import hashlib
from html import escape

import numpy as np
import traitlets as t

from genai_utils.widgets import sprites
from genai_utils.widgets.base import View, check_size, img_html, script


def play_frames(films, *, alt, label="step", captions=None, panels=None, choice="film", seed=None, size=None,
                interval=120):
    """Return a player of one film or of several to switch between; the frames are stored bit for bit.

    Args:
        films: a film, or a dict of name -> film. A film is uint8, (N, H, W) or (N, H, W, 3), as array, tensor or list
            of frames; with `panels`, (N, P, H, W) or (N, P, H, W, 3). Films may differ in N only.
        alt: what is to be seen, in 30 characters or more.
        label: what a frame is called, "step" for instance.
        captions: text beside the slider for each frame, N strings; a dict of such for a dict of films.
        panels: titles of the P pictures that make up a frame, side by side.
        choice: what a film is called ("sampler").
        seed: the seed of the randomness in the films; recorded, so that a test can make the frames again.
        size: width of one panel on the page, in CSS pixels; about 200 if None.
        interval: milliseconds between frames while playing.
    Raises:
        ValueError: shapes or captions do not fit, pixels are not uint8, or the frames need more than 400 kB.
    """
    many = isinstance(films, dict)
    films = films if many else {"": films}
    captions = captions if many else {"": captions}
    if not films:
        raise ValueError("films is empty: give at least one film")
    arrays = {name: as_film(film, panels) for name, film in films.items()}
    shapes = {name: a.shape[1:] for name, a in arrays.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"films must agree in everything but the number of frames, got {shapes}")
    _, P, H, W = next(iter(arrays.values())).shape[:4]
    frames = np.concatenate([side_by_side(a) for a in arrays.values()])                  # (sum N, H, P W[, 3])
    columns = sprites.best_columns(len(frames), H, P * W)
    sheet, mime = sprites.encode(sprites.tile(frames, columns))
    check_size(len(sheet), "take every second frame, fewer films, or smaller frames")
    reels, start = [], 0
    for name, film in arrays.items():
        texts = (captions or {}).get(name)
        texts = [f"{label} {i}" for i in range(len(film))] if texts is None else list(texts)
        if len(texts) != len(film):
            raise ValueError(f"film {name!r} has {len(film)} frames but {len(texts)} captions: give one for each")
        reels.append({"name": str(name), "start": start, "n": len(film), "captions": [str(c) for c in texts],
                      "digest": digest(film)})
        start += len(film)
    return FramePlayer(alt=alt, sheet=sheet, mime=mime, columns=columns, height=H, width=W, grey=frames.ndim == 3,
                       panels=list(panels or [""]), reels=reels, label=label, choice=choice, interval=interval,
                       seed=seed, size=size or sprites.zoom(W, 200))


def as_film(film, panels=None) -> np.ndarray:
    """Return a film as uint8 (N, P, H, W) or (N, P, H, W, 3), or raise a ValueError that says what to change."""
    x = sprites.to_numpy(film)
    if x.dtype != np.uint8:
        raise ValueError(f"frames must be uint8 pixels, got {x.dtype}: genai_utils.data.to_pixels converts [-1, 1]")
    colour = x.ndim == (5 if panels else 4)
    if x.ndim not in ((4, 5) if panels else (3, 4)) or colour and x.shape[-1] != 3 or 0 in x.shape:
        want = "(N, P, H, W) or (N, P, H, W, 3)" if panels else "(N, H, W) or (N, H, W, 3)"
        raise ValueError(f"a film must be {want}, got shape {x.shape}")
    x = x if panels else x[:, None]
    if panels and x.shape[1] != len(panels):
        raise ValueError(f"frames have {x.shape[1]} panels but panels= names {len(panels)}: {tuple(panels)}")
    return np.ascontiguousarray(x)


def film_digest(film, panels=None) -> str:
    """Return the sha256 of a film's shape and pixels, the number by which a page's frames are known again."""
    return digest(as_film(film, panels))


def digest(film: np.ndarray) -> str:
    """Return the sha256 of the shape and pixels of a film in the form of `as_film`."""
    return hashlib.sha256(repr(film.shape).encode() + film.tobytes()).hexdigest()


def side_by_side(film: np.ndarray) -> np.ndarray:
    """(N, P, H, W[, 3]) -> (N, H, P W[, 3])."""
    x = film.swapaxes(1, 2)                                                              # (N, H, P, W[, 3])
    return x.reshape(*x.shape[:2], -1, *x.shape[4:])


class FramePlayer(View):
    """The widget that `play_frames` returns; `index` and `film` follow the reader and may be set."""

    _esm = script("play_frames")
    sheet = t.Bytes().tag(sync=True)
    mime = t.Unicode().tag(sync=True)
    columns = t.Int().tag(sync=True)
    height = t.Int().tag(sync=True)
    width = t.Int().tag(sync=True)
    grey = t.Bool().tag(sync=True)
    panels = t.List(t.Unicode()).tag(sync=True)
    reels = t.List(t.Dict()).tag(sync=True)          # name, start, n, captions, digest of each film
    label = t.Unicode().tag(sync=True)
    choice = t.Unicode().tag(sync=True)
    size = t.Int().tag(sync=True)
    interval = t.Int().tag(sync=True)
    seed = t.Int(None, allow_none=True).tag(sync=True)
    film = t.Int(0).tag(sync=True)
    index = t.Int(0).tag(sync=True)

    def frames(self, name: str = "") -> np.ndarray:
        """Return a film, (N, P, H, W) or (N, P, H, W, 3) uint8, as decoded from the stored sheet."""
        return film_from_state({key: getattr(self, key) for key in SHEET}, name)

    def picture(self) -> str:
        film, reel = self.frames(self.reels[0]["name"]), self.reels[0]
        picks = sorted({round(k * (len(film) - 1) / 4) for k in range(5)})
        strip = sprites.tile(film[picks].swapaxes(0, 1).reshape(-1, *film.shape[2:]), len(picks))     # a row per panel
        data, mime = sprites.encode(strip)
        rows, times = " above ".join(self.panels), "; ".join(reel["captions"][i] for i in picks)
        words = ": ".join(part for part in (reel["name"], rows, times) if part)
        image = img_html(data, mime, self.alt, sprites.zoom(strip.shape[1], 600), style="image-rendering:pixelated")
        return f"{image}<figcaption>{escape(words)}</figcaption>"


SHEET = ("sheet", "mime", "columns", "height", "width", "grey", "panels", "reels")


def film_from_state(state: dict, name: str = "") -> np.ndarray:
    """Return the named film from a player's state: the entries of SHEET, `sheet` as bytes."""
    reel = next((r for r in state["reels"] if r["name"] == name), None)
    if reel is None:
        raise ValueError(f"no film {name!r}; there are {[r['name'] for r in state['reels']]}")
    P, H, W = len(state["panels"]), state["height"], state["width"]
    sheet = sprites.decode(state["sheet"], state["grey"])
    stop = reel["start"] + reel["n"]
    x = sprites.untile(sheet, stop, state["columns"], H, P * W)[reel["start"] :]          # (N, H, P W[, 3])
    return np.ascontiguousarray(x.reshape(reel["n"], H, P, W, *x.shape[3:]).swapaxes(1, 2))
