"""A picture before and after, a line that the reader moves across it, and the true counterpart where there is one.

Shapes:  K pairs of pictures of H x W pixels; P pictures to a pair, 2 or 3.
"""

from html import escape

import numpy as np
import traitlets as t

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html, script

STILLS = 8  # pairs in the static figure


def compare_pictures(pairs, *, alt, names=None, labels=("before", "after"), choice="picture", size=None):
    """Return a comparison of pictures, one pair at a time, stored bit for bit.

    Args:
        pairs: (K, 2, H, W) or (K, 2, H, W, 3) uint8, as array, tensor or nested list; 3 for 2 where each pair has a
            true counterpart, which is shown beside.
        alt: what is to be seen, in 30 characters or more.
        names: K different short names for the choice; None counts them from 1.
        labels: what the two pictures of a pair are, or the three.
        choice: what is chosen, "picture" for instance.
        size: width of a picture on the page, in CSS pixels; about 280 if None.
    Raises:
        ValueError: a shape, a name or a label does not fit, pixels are not uint8, or they need more than 400 kB.
    """
    x = sprites.to_numpy(pairs)
    if x.dtype != np.uint8:
        raise ValueError(f"pixels must be uint8, got {x.dtype}: genai_utils.data.to_pixels converts [-1, 1]")
    if x.ndim not in (4, 5) or x.shape[1] not in (2, 3) or x.ndim == 5 and x.shape[-1] != 3 or 0 in x.shape:
        raise ValueError(f"pairs must be (K, 2, H, W) or (K, 2, H, W, 3), with 3 for 2 if need be, got {x.shape}")
    K, P, H, W = x.shape[:4]
    labels = [str(label) for label in labels]
    if len(labels) != P or len(set(labels)) < P:
        raise ValueError(f"labels must be {P} different texts, one for each picture of a pair, got {labels}")
    names = [str(k + 1) for k in range(K)] if names is None else [str(name) for name in names]
    if len(names) != K or len(set(names)) < K:
        raise ValueError(f"names must be {K} different names, got {names}")
    tiles = x.reshape(K * P, *x.shape[2:])
    columns = P * sprites.best_columns(K, H, P * W)
    sheet, mime = sprites.encode(sprites.tile(tiles, columns))
    check_size(len(sheet), "show fewer or smaller pictures")
    return PictureComparer(
        alt=alt,
        sheet=sheet,
        mime=mime,
        columns=columns,
        height=H,
        width=W,
        grey=x.ndim == 4,
        names=names,
        labels=labels,
        choice=choice,
        size=size or sprites.zoom(W, 280),
    )


class PictureComparer(View):
    """The widget that `compare_pictures` returns; `pair` and `share` follow the reader and may be set.

    `share` is the percentage of the width, from the left, that shows the first picture.
    """

    _esm = script("compare_pictures")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "compare_pictures.css"))
    sheet = t.Bytes().tag(sync=True)  # K P tiles
    mime = t.Unicode().tag(sync=True)
    columns = t.Int().tag(sync=True)
    height = t.Int().tag(sync=True)
    width = t.Int().tag(sync=True)
    grey = t.Bool().tag(sync=True)
    names = t.List(t.Unicode()).tag(sync=True)
    labels = t.List(t.Unicode()).tag(sync=True)
    choice = t.Unicode().tag(sync=True)
    size = t.Int().tag(sync=True)
    pair = t.Int(0).tag(sync=True)
    share = t.Int(50).tag(sync=True)

    @t.validate("pair", "share")
    def _is_possible(self, proposal):
        name, most = proposal.trait.name, {"pair": len(self.names) - 1, "share": 100}[proposal.trait.name]
        if most >= 0 and not 0 <= proposal.value <= most:
            raise ValueError(f"{name} must be from 0 to {most}, got {proposal.value}")
        return proposal.value

    def pictures(self) -> np.ndarray:
        """Return all pictures as stored, uint8 (K, P, H, W) or (K, P, H, W, 3)."""
        K, P = len(self.names), len(self.labels)
        tiles = sprites.untile(sprites.decode(self.sheet, self.grey), K * P, self.columns, self.height, self.width)
        return tiles.reshape(K, P, *tiles.shape[1:])

    def sentence(self) -> str:
        """Return in words what is shown now."""
        return f"{self.share} % {self.labels[0]}, {100 - self.share} % {self.labels[1]}"

    def picture(self) -> str:
        some = self.pictures()[:STILLS].swapaxes(0, 1)  # a row for each of the P
        strip = sprites.tile(some.reshape(-1, *some.shape[2:]), some.shape[1])
        data, mime = sprites.encode(strip)
        rows = ", ".join(f"{self.labels[p]} ({row})" for p, row in enumerate(("above", "below")))
        if len(self.labels) == 3:
            rows = ", ".join(f"{label} ({row})" for label, row in zip(self.labels, ("above", "middle", "below")))
        words = f"{rows}: {', '.join(self.names[:STILLS])}"
        image = img_html(data, mime, self.alt, sprites.zoom(strip.shape[1], 600), style="image-rendering:pixelated")
        return f"{image}<figcaption>{escape(words)}</figcaption>"
