"""Where a patch looks: a picture cut into patches, and over it, layer by layer, the weights of one of them.

A weight w is stored as the whole number nearest to 255 sqrt(w), and that is what is shown: 0 and 1 are exact, others
are right to about sqrt(w) / 255. The heat of a layer grows evenly from 0 to the largest weight that the chosen token
has on any other; its weight on itself may be larger and is shown as that.

Shapes:  N pictures of H x W pixels, h x w patches, P = 1 + h w tokens, the class token first; L layers.
"""

from html import escape
from math import isqrt

import numpy as np
import torch
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html, script
from genai_utils.widgets.explore_attention import NEAR, TOP, percent, quantise

MOST, LAYERS = 4, 24  # pictures, layers
PATCHES = (2, 32)  # on a side: fewer have nowhere to look, more are too small to point at
TOLD = 3  # weights, the largest, that are told in words
SHOWN = 6  # layers in the static figure
HEAT = (240, 228, 66)  # Okabe and Ito's yellow: brighter than any pixel of the dimmed picture
COVER = 230  # of 255, how far the strongest heat covers the picture


def explore_patches(image, weights, *, alt, names=None):
    """Return an explorer of the weights between the patches of a picture, or of each of several.

    Args:
        image: uint8 (H, W) or (H, W, 3), or floats (C, H, W) in [-1, 1], C = 1 or 3; or 1 to 4 of them of one shape,
            stacked along a first axis, N.
        weights: (L, P, P) in [0, 1] for one picture, (N, L, P, P) for several: row i of a layer says where token i
            looks and sums to one. Token 0 is the class token, the others are h x w square patches, row by row.
        alt: what is to be seen, in 30 characters or more.
        names: N short names of the pictures, all different; None counts them from 1.
    Raises:
        ValueError: pictures, weights or names do not fit together, a row does not sum to one, or it all needs more than
            400 kB.

    For a ViT and a batch x, weights are `attention_rollout(vit.maps(x)).transpose(0, 1)`, or the mean over heads of
    each layer, `torch.stack([of_layer.mean(1) for of_layer in vit.maps(x)], 1)`.
    """
    weights = sprites.to_numpy(weights.double() if isinstance(weights, torch.Tensor) else weights).astype(float)
    if weights.ndim not in (3, 4) or weights.shape[-1] != weights.shape[-2] or weights.size == 0:
        raise ValueError(f"weights must be (L, P, P), or (N, L, P, P) for N pictures, got {weights.shape}")
    image = sprites.to_numpy(image)
    if weights.ndim == 3:
        image, weights = image[None], weights[None]
    pictures = sprites.to_pictures(image)
    N, L, P = weights.shape[:3]
    if len(pictures) != N or N > MOST or L > LAYERS:
        raise ValueError(
            f"want 1 to {MOST} pictures, 1 to {LAYERS} layers of weights for each, got {len(pictures)} pictures and "
            f"weights {weights.shape}; for one picture, weights are (L, P, P)"
        )
    rows, columns = grid_of(P, *pictures.shape[1:3])
    check_weights(weights)
    names = [str(name) for name in (names or range(1, N + 1))]
    if len(names) != N or len(set(names)) < N:
        raise ValueError(f"names must be {N} different names, one for each picture, got {names}")
    sheet, mime = sprites.encode(sprites.tile(pictures, N))
    levels = quantise(weights)
    check_size(len(sheet) + levels.nbytes, "take fewer pictures or layers, or larger patches")
    return PatchExplorer(
        alt=alt,
        sheet=sheet,
        mime=mime,
        grey=pictures.ndim == 3,
        height=pictures.shape[1],
        width=pictures.shape[2],
        rows=rows,
        columns=columns,
        names=names,
        layers=L,
        levels=levels.tobytes(),
        size=sprites.zoom(pictures.shape[2], 224),
        layer=L - 1,
    )


def grid_of(P: int, H: int, W: int) -> tuple[int, int]:
    """Return (h, w) with 1 + h w = P, patches being squares of whole pixels; raise a ValueError if there is none."""
    side = isqrt(H * W // (P - 1)) if P > 1 else 0
    rows, columns = (H // side, W // side) if side else (0, 0)
    if not side or H % side or W % side or 1 + rows * columns != P:
        raise ValueError(
            f"a picture of {H} x {W} pixels cannot be cut into {P - 1} square patches (P = {P} tokens less the class "
            "token): are pictures uint8 (H, W[, 3]) or floats (C, H, W), and is the class token among the weights?"
        )
    if not PATCHES[0] <= min(rows, columns) <= max(rows, columns) <= PATCHES[1]:
        raise ValueError(f"want {PATCHES[0]} to {PATCHES[1]} patches on a side, got {rows} x {columns}")
    return rows, columns


def check_weights(weights: np.ndarray) -> None:
    """Raise a ValueError unless every row is a distribution."""
    if not np.isfinite(weights).all() or weights.min() < 0:
        wrong = weights[~(weights >= 0) | np.isinf(weights)][0]
        raise ValueError(f"weights must be finite and at least 0, got {wrong}: apply the softmax")
    sums = weights.sum(-1)
    if (far := np.abs(sums - 1)).max() > NEAR:
        n, layer, i = (int(k) for k in np.unravel_index(far.argmax(), far.shape))
        raise ValueError(
            f"weights must sum to one over the last axis, got {sums[n, layer, i]:.4g} for token {i} of layer {layer}, "
            f"picture {n}: average over heads, do not add them up, and keep the class token"
        )


def grey_of(pictures: np.ndarray) -> np.ndarray:
    """Return uint8 pictures (..., 3) as luminance, int64 (...), in whole numbers as the page computes them."""
    r, g, b = (pictures[..., k].astype(int) for k in range(3))
    return (299 * r + 587 * g + 114 * b + 500) // 1000


def heat_over(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a picture, dimmed and grey, under heat: uint8 (H, W, 3).

    Args:
        picture: uint8 (H, W) or (H, W, 3).
        heat: int (H, W), 0 to 255.
    """
    grey = picture.astype(int) if picture.ndim == 2 else grey_of(picture)
    dim = (30 + (70 * grey + 127) // 255)[..., None]  # 30 to 100
    cover = ((COVER * heat + 127) // 255)[..., None]
    return ((dim * (255 - cover) + np.array(HEAT) * cover + 127) // 255).astype(np.uint8)


class PatchExplorer(View):
    """The widget that `explore_patches` returns; `image`, `layer` and `at` (a token) follow the reader, may be set.

    All three are indices from 0; token 0 is the class token, 1 + row * w + column is a patch.
    """

    _esm = script("explore_patches")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "explore_patches.css"))
    sheet = t.Bytes().tag(sync=True)  # the pictures, side by side
    mime = t.Unicode().tag(sync=True)
    grey = t.Bool().tag(sync=True)
    height = t.Int().tag(sync=True)  # H
    width = t.Int().tag(sync=True)  # W
    rows = t.Int().tag(sync=True)  # h
    columns = t.Int().tag(sync=True)  # w
    names = t.List(t.Unicode()).tag(sync=True)  # N
    layers = t.Int(0).tag(sync=True)  # L
    levels = t.Bytes().tag(sync=True)  # uint8 (N, L, P, P)
    size = t.Int(224).tag(sync=True)  # CSS pixels
    image = t.Int(0).tag(sync=True)
    layer = t.Int(0).tag(sync=True)
    at = t.Int(0).tag(sync=True)

    @t.validate("image", "layer", "at")
    def _is_there(self, proposal):
        name = proposal.trait.name
        n = {"image": len(self.names), "layer": self.layers, "at": 1 + self.rows * self.columns}[name]
        if self.layers and not 0 <= proposal.value < n:
            raise ValueError(f"{name} must be an index below {n}, got {proposal.value}")
        return proposal.value

    def shown(self) -> np.ndarray:
        """Return the chosen picture, uint8 (H, W) or (H, W, 3)."""
        sheet = sprites.decode(self.sheet, self.grey)
        return sprites.untile(sheet, len(self.names), len(self.names), self.height, self.width)[self.image]

    def row(self, layer: int | None = None) -> np.ndarray:
        """Return the levels of the chosen token at a layer, the chosen one if None, uint8 (P,)."""
        P = 1 + self.rows * self.columns
        levels = np.frombuffer(self.levels, np.uint8).reshape(len(self.names), self.layers, P, P)
        return levels[self.image, self.layer if layer is None else layer, self.at]

    def shares(self, layer: int | None = None) -> np.ndarray:
        """Return the weights of the chosen token as they are shown, float64 (P,)."""
        share = self.row(layer) / TOP
        return share * share

    def most(self, layer: int | None = None) -> int:
        """Return the level of the largest weight on any other token, at least 1: the strongest heat."""
        return max(1, int(np.delete(self.row(layer), self.at).max()))

    def heat(self, layer: int | None = None) -> np.ndarray:
        """Return the heat of every token, int (P,), 0 to 255."""
        k, m = self.row(layer).astype(int), self.most(layer)
        return np.minimum(255, (510 * k * k + m * m) // (2 * m * m))

    def pixels(self, layer: int | None = None) -> np.ndarray:
        """Return the picture under the heat of a layer, uint8 (H, W, 3)."""
        side = self.height // self.rows
        heat = self.heat(layer)[1:].reshape(self.rows, self.columns).repeat(side, 0).repeat(side, 1)
        return heat_over(self.shown(), heat)

    def name(self, token: int) -> str:
        """Return what a token is called: its row and column from 1, or the class token."""
        row, column = divmod(token - 1, self.columns)
        return f"patch ({row + 1}, {column + 1})" if token else "the class token"

    def largest(self) -> list[int]:
        """Return the tokens that are told: the three of the largest weights, as far as they have 1 % or more."""
        order = np.argsort(-self.row().astype(int), kind="stable")[:TOLD]
        return [int(j) for j in order if percent(self.shares()[j]) >= 1]

    def sentence(self) -> str:
        """Return where the chosen token looks, in words, its weights in whole per cent."""
        shares, told = self.shares(), self.largest()
        looks = [f"{'itself' if j == self.at else self.name(j)} {percent(shares[j])} %" for j in told]
        rest = max(0.0, 1 - sum(float(shares[j]) for j in told))
        if percent(rest) >= 1:
            looks.append(f"{'all others together' if told else 'all tokens together'} {percent(rest)} %")
        return f"Layer {self.layer + 1} of {self.layers}: {self.name(self.at)} looks at {', '.join(looks)}"

    def picture(self) -> str:
        told = sorted({round(k) for k in np.linspace(0, self.layers - 1, min(SHOWN, self.layers))})
        n, side, tall = 1 + len(told), self.height // self.rows, self.height / self.width
        across = min(n, 4)
        down = -(-n // across)
        fig = Figure(figsize=(7, down * (7 / across * tall * 0.97 + 0.25)), layout="none")
        canvas = FigureCanvasAgg(fig)
        axes = fig.subplots(down, across, squeeze=False, gridspec_kw={"left": 0.01, "right": 0.99, "bottom": 0.01,
                            "top": 1 - 0.25 / fig.get_figheight(), "wspace": 0.04, "hspace": 0.15 / tall})  # fmt: skip
        axes = axes.ravel()
        panels = [(self.shown(), self.name(self.at))] + [(self.pixels(k), f"layer {k + 1}") for k in told]
        for ax, (pixels, title) in zip(axes, panels):
            ax.imshow(
                pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=(0, self.width, self.height, 0)
            )
            ax.set_title(title, fontsize=9, loc="center", pad=3)
            if self.at:
                row, column = divmod(self.at - 1, self.columns)
                for color, width in (("black", 3), ("white", 1.2)):
                    ring = {"edgecolor": color, "linewidth": width, "fill": False, "clip_on": False}
                    ax.add_patch(Rectangle((column * side, row * side), side, side, **ring))
        for ax in axes:
            ax.set_axis_off()
        fig.set_dpi(150)
        canvas.draw()
        data, mime = sprites.encode(np.asarray(canvas.buffer_rgba())[..., :3])
        caption = f"{self.sentence()}. The brighter a patch, the larger its weight, layer by layer."
        return f"{img_html(data, mime, self.alt, 640)}<figcaption>{escape(caption)}</figcaption>"
