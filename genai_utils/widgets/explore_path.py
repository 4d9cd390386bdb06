"""From one picture to another, by several ways side by side: choose start and end, then walk.

With no kernel it shows the steps that were decoded when the widget was made. With a kernel it decodes the very weight.

Shapes:  N pictures to choose from, R ways, S steps, H and W picture sides.
"""

from html import escape
from itertools import combinations

import numpy as np
import torch
import traitlets as t

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html, script

MOST = 6     # pictures to choose from: 15 pairs, and all of them fit side by side


def explore_path(images, walk, *, alt, names=None, steps=11, measure="length of the code", seed=None, size=None):
    """Return an explorer of the ways between any two of a few pictures.

    Args:
        images: the N pictures to choose from, 2 to 6; uint8 (N, H, W[, 3]) or floats in [-1, 1], (N, C, H, W).
        walk: maps (i, j, weights), i < j and weights (S,) float32 in [0, 1], to a dict of way -> pictures, S of them
            in one of the forms of `images`, or of way -> (pictures, numbers), one number of `measure` for each
            picture. Weight 0 is picture i, weight 1 picture j, each as the model makes it. Called for all pairs, and
            in a live notebook for every weight that a reader visits; the way from j to i is the same backwards.
        alt: what is to be seen, in 30 characters or more.
        names: a name for each picture, all different ("digit 3"); "picture 1" and so on if None.
        steps: S, the pictures on each way, both ends included.
        measure: what the numbers are, with their unit if they have one.
        seed: the seed of the randomness in the pictures, if any; recorded.
        size: width of one panel on the page, in CSS pixels; about 160 if None.
    Raises:
        ValueError: N, `names` or `steps` do not fit, `walk` gives something else, or the pictures need over 400 kB.
    """
    images = sprites.to_pictures(images)
    N, H, W = images.shape[:3]
    names = [f"picture {i + 1}" for i in range(N)] if names is None else [str(name) for name in names]
    if not 2 <= N <= MOST:
        raise ValueError(f"give 2 to {MOST} images to choose from, got {N}")
    if len(names) != N or len(set(names)) < N:
        raise ValueError(f"names must be {N} different names, one for each image, got {names}")
    if steps < 2:
        raise ValueError(f"steps must be 2 or more, for both ends are steps, got {steps}")
    weights = torch.linspace(0, 1, steps)
    walked = [take(walk, *pair, weights, images.shape[1:]) for pair in combinations(range(N), 2)]
    ways = list(walked[0][0])
    kinds = {(tuple(pictures), tuple(numbers)) for pictures, numbers in walked}
    if len(kinds) > 1:
        raise ValueError(f"walk must give the same ways, and numbers for the same ones, for every pair, got {kinds}")
    tiles = np.concatenate([images, *(p for pictures, _ in walked for p in pictures.values())])
    sheet, mime = sprites.encode(sprites.tile(tiles, steps))
    check_size(len(sheet), "take fewer images, fewer steps, or smaller pictures")
    return PathExplorer(walk, alt=alt, sheet=sheet, mime=mime, height=H, width=W, grey=images.ndim == 3, names=names,
                        ways=ways, steps=steps, numbers=[numbers for _, numbers in walked], measure=measure, seed=seed,
                        at=steps // 2 / (steps - 1), size=size or sprites.zoom(W, 160))


def take(walk, i, j, weights, shape) -> tuple[dict, dict]:
    """Return way -> (S, *shape) uint8 pictures and way -> S numbers, where there are any; checks what `walk` gives."""
    with torch.no_grad():
        given = walk(i, j, weights)
    if not isinstance(given, dict) or not given:
        raise ValueError(f"walk must return a dict of way -> pictures, got {type(given).__name__}")
    pictures, numbers = {}, {}
    for way, found in given.items():
        found, values = found if isinstance(found, tuple) else (found, None)
        pictures[str(way)] = sprites.to_pictures(found)
        if (got := pictures[str(way)].shape) != (len(weights), *shape):
            raise ValueError(f"walk({i}, {j}) gives {got} for {way!r}, expected {(len(weights), *shape)}")
        if values is not None:
            numbers[str(way)] = [float(v) for v in sprites.to_numpy(values)]
            if len(numbers[str(way)]) != len(weights) or not np.isfinite(numbers[str(way)]).all():
                raise ValueError(f"walk({i}, {j}) must give {len(weights)} finite numbers for {way!r}, got {values}")
    return pictures, numbers


class PathExplorer(View):
    """The widget that `explore_path` returns; `start`, `end` (indices) and `at` (in [0, 1]) follow the reader."""

    _esm = script("explore_path")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "explore_path.css"))
    sheet = t.Bytes().tag(sync=True)                 # rows of `steps` tiles: the images, then each way of each pair
    mime = t.Unicode().tag(sync=True)
    height = t.Int().tag(sync=True)
    width = t.Int().tag(sync=True)
    grey = t.Bool().tag(sync=True)
    names = t.List(t.Unicode()).tag(sync=True)
    ways = t.List(t.Unicode()).tag(sync=True)
    steps = t.Int().tag(sync=True)
    numbers = t.List(t.Dict()).tag(sync=True)        # of each pair i < j: way -> S numbers
    measure = t.Unicode().tag(sync=True)
    seed = t.Int(None, allow_none=True).tag(sync=True)
    size = t.Int().tag(sync=True)
    start = t.Int(0).tag(sync=True)
    end = t.Int(1).tag(sync=True)
    at = t.Float(0.5).tag(sync=True)
    exact = t.Dict().tag(sync=True)                  # {"start", "end", "at", "numbers", "mime", "data"}: by the kernel

    def __init__(self, walk=None, **traits) -> None:
        super().__init__(**traits)
        self._walk = walk
        if walk is not None:
            self.observe(self._walk_here, ["start", "end", "at"])

    def path(self, start: int, end: int) -> tuple[np.ndarray, dict]:
        """Return the stored way from one picture to another: uint8 (R, S, H, W[, 3]), and way -> S numbers.

        From a picture to itself it is that picture, as the model makes it, at every step.
        """
        N, R, S, pairs = len(self.names), len(self.ways), self.steps, len(self.numbers)
        tiles = sprites.untile(sprites.decode(self.sheet, self.grey), N + pairs * R * S, S, self.height, self.width)
        i, j = sorted((start, end)) if start != end else (max(start - 1, 0), max(start, 1))
        pair = list(combinations(range(N), 2)).index((i, j))
        order = range(S) if start < end else range(S - 1, -1, -1) if start > end else [S - 1 if start == j else 0] * S
        pictures = tiles[N:].reshape(pairs, R, S, *tiles.shape[1:])[pair][:, list(order)]
        return pictures, {way: [values[k] for k in order] for way, values in self.numbers[pair].items()}

    def _walk_here(self, change) -> None:
        start, end, at = self.start, self.end, float(self.at)
        if start == end:                                                     # nothing to walk: the stored end will do
            return
        weights = torch.tensor([at if start < end else 1 - at])
        shape = (self.height, self.width) if self.grey else (self.height, self.width, 3)
        pictures, numbers = take(self._walk, *sorted((start, end)), weights, shape)
        data, mime = sprites.encode(np.concatenate([pictures[way][0] for way in self.ways], axis=1))   # (H, R W[, 3])
        self.exact = {"start": start, "end": end, "at": at, "numbers": {way: v[0] for way, v in numbers.items()},
                      "mime": mime, "data": data}

    def picture(self) -> str:
        pictures, numbers = self.path(self.start, self.end)
        data, mime = sprites.encode(sprites.tile(pictures.reshape(-1, *pictures.shape[2:]), self.steps))
        width = min(self.steps * self.width * 2, 616)
        image = img_html(data, mime, self.alt, width, style="image-rendering:auto")
        names = f"{self.names[self.start]} (left) to {self.names[self.end]} (right)"
        k = round(self.at * (self.steps - 1))
        words = f"From {names}. Top to bottom: {', '.join(self.ways)}."
        if numbers:
            known = ", ".join(f"{way} {values[k]:.2f}" for way, values in numbers.items())
            words += f" {self.measure[:1].upper()}{self.measure[1:]} at {k / (self.steps - 1):.2f} of the way: {known}."
        return f"{image}<figcaption>{escape(words)}</figcaption>"
