"""Where attention looks: the keys of one query as tinted tokens, a head as a heat map, its largest weights in words.

A weight w is stored as the whole number nearest to 255 sqrt(w), and that is what is shown: 0 and 1 are exact, others
are right to about sqrt(w) / 255 (0.004 near 1, 0.0004 near 0.01). Tints grow with sqrt(w) too: small weights are seen.

Shapes:  L layers, H heads, T queries, S keys.
"""

from html import escape

import numpy as np
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html, script

TOP = 255  # the level of weight 1
LONGEST = 256  # tokens: more than that is no longer one look
TOLD = 3  # weights, the largest, that are told in words
NEAR = 5e-3  # of 1: what a row may sum to, since weights may come in bfloat16
NEUTRAL, STRONG = (247, 247, 247), (0, 90, 150)  # a dark blue: white letters can be read on it
GLYPHS = {
    " ": "\N{MIDDLE DOT}",
    "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}",
    "\t": "\N{RIGHTWARDS ARROW TO BAR}",
    "\r": "\N{LEFTWARDS ARROW}",
}


def explore_attention(queries, keys, weights, *, alt, names=None, words=None):
    """Return an explorer of attention weights, of a text over itself or of one text over another.

    Args:
        queries: T tokens as text, 3 to 256: those that look. White space in them is shown by signs.
        keys: S tokens as text, 1 to 256: those that are looked at; None where they are the queries.
        weights: (L, H, T, S) in [0, 1], or L arrays (H, T, S), each row of S summing to one.
        alt: what is to be seen, in 30 characters or more.
        names: (layers, heads), L and H names or numbers, all different; None counts both from 1.
        words: dict of (layer, head), as names call them, -> what that head does, in a few words, if it is known.
    Raises:
        ValueError: tokens, weights, names or words do not fit together, a row does not sum to one, or the weights need
            more than 400 kB.

    With `attention_maps(model)` around one call of a model on one text, `weights` are
    `[of_layer[0][0] for of_layer in maps.values()]`.
    """
    weights, alone = sprites.to_numpy(weights).astype(float), keys is None
    queries = check_words("queries", queries, 3)
    keys = queries if alone else check_words("keys", keys, 1)
    T, S = len(queries), len(keys)
    if weights.ndim != 4 or weights.shape[2:] != (T, S) or weights.size == 0:
        raise ValueError(
            f"weights must be (L, H, T, S) with T, S = {T}, {S}, a row for each query, got {weights.shape}; "
            "take one text out of a batch"
        )
    if not np.isfinite(weights).all() or weights.min() < 0:
        wrong = weights[~(weights >= 0) | np.isinf(weights)][0]
        raise ValueError(f"weights must be finite and at least 0, got {wrong}: leave out padding, apply the softmax")
    sums = weights.sum(-1)
    if (far := np.abs(sums - 1)).max() > NEAR:
        l, h, i = np.unravel_index(far.argmax(), far.shape)
        raise ValueError(
            f"weights must sum to one over the keys, got {sums[l, h, i]:.4g} for query {i} of [{l}, {h}]: "
            "is the last axis the keys, and was dropout off?"
        )
    levels = quantise(weights)
    check_size(levels.nbytes, "take a shorter text, fewer layers or fewer heads")
    L, H = weights.shape[:2]
    layers, heads = ([str(k) for k in given] for given in (names or (range(1, L + 1), range(1, H + 1))))
    for what, given, n in (("layers", layers, L), ("heads", heads, H)):
        if len(given) != n or len(set(given)) < n:
            raise ValueError(f"names must hold {n} different names of {what}, got {given}")
    told = {(str(layer), str(head)): str(text) for (layer, head), text in (words or {}).items()}
    if unknown := [pair for pair in told if pair[0] not in layers or pair[1] not in heads]:
        raise ValueError(f"words must be for (layer, head) of {layers} and {heads}, got {unknown[0]}")
    first = next(iter(told), (layers[-1], heads[0]))  # a head that is explained is a telling first frame
    return AttentionExplorer(
        alt=alt,
        queries=queries,
        sources=keys,
        alone=alone,
        layers=layers,
        heads=heads,
        words=[[told.get((layer, head), "") for head in heads] for layer in layers],
        levels=levels.tobytes(),
        palette=palette().tobytes(),
        layer=layers.index(first[0]),
        head=heads.index(first[1]),
        at=2 * T // 3,
    )


def check_words(what: str, tokens, least: int) -> list[str]:
    """Return tokens as a list of str, or raise a ValueError when they are none, or too few or too many."""
    if isinstance(tokens, str) or not all(isinstance(token, str) for token in tokens):
        raise ValueError(f"{what} must be a list of str, one for each token, got {tokens!r:.60}: decode each")
    if not least <= len(tokens) <= LONGEST:
        raise ValueError(f"{what} must be {least} to {LONGEST} tokens, got {len(tokens)}: choose a passage")
    return list(tokens)


def quantise(weights: np.ndarray) -> np.ndarray:
    """Return weights as whole levels, uint8: level k stands for (k / 255)^2."""
    return np.rint(TOP * np.sqrt(weights.clip(0, 1))).astype(np.uint8)


def palette() -> np.ndarray:
    """Return the colour and the ink of each level, uint8 (256, 4): red, green, blue, and 255 for white letters.

    From neutral to a dark blue, in even steps; black or white, letters have a contrast of 4.5 or more.
    """
    share = np.linspace(0, 1, TOP + 1)[:, None]
    colors = np.rint(NEUTRAL + (np.array(STRONG) - NEUTRAL) * share)
    c = colors / 255
    luminance = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]  # WCAG 2
    white = 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05
    return np.concatenate([colors, 255 * white[:, None]], 1).astype(np.uint8)


def visible(token: str) -> str:
    """Return a token with a sign for each space, line end and tab; the empty one as a sign of its own.

    >>> [visible(token) for token in (" the", "\\n", "fox", "")]
    ['·the', '↵', 'fox', '∅']
    """
    return "".join(GLYPHS.get(letter, letter) for letter in token) or "\N{EMPTY SET}"


def quoted(token: str) -> str:
    """Return a token made visible, in quotation marks."""
    return f"\N{LEFT DOUBLE QUOTATION MARK}{visible(token)}\N{RIGHT DOUBLE QUOTATION MARK}"


def percent(share: float) -> int:
    """Return a share as whole per cent, ties up, as the page rounds it."""
    return int(np.floor(100 * share + 0.5))


class AttentionExplorer(View):
    """The widget that `explore_attention` returns; `layer`, `head`, `at` (a query) follow the reader and may be set.

    All three are indices from 0, whatever the names.
    """

    _esm = script("explore_attention")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "explore_attention.css"))
    queries = t.List(t.Unicode()).tag(sync=True)
    sources = t.List(t.Unicode()).tag(sync=True)  # the keys: a widget has another `keys`
    alone = t.Bool(True).tag(sync=True)  # the keys are the queries
    layers = t.List(t.Unicode()).tag(sync=True)  # names
    heads = t.List(t.Unicode()).tag(sync=True)
    words = t.List(t.List(t.Unicode())).tag(sync=True)  # (L, H)
    levels = t.Bytes().tag(sync=True)  # uint8 (L, H, T, S)
    palette = t.Bytes().tag(sync=True)  # uint8 (256, 4)
    layer = t.Int(0).tag(sync=True)
    head = t.Int(0).tag(sync=True)
    at = t.Int(0).tag(sync=True)

    @t.validate("layer", "head", "at")
    def _is_there(self, proposal):
        name = proposal.trait.name
        n = len({"layer": self.layers, "head": self.heads, "at": self.queries}[name])
        if n and not 0 <= proposal.value < n:
            raise ValueError(f"{name} must be an index below {n}, got {proposal.value}")
        return proposal.value

    def grid(self) -> np.ndarray:
        """Return the levels of the chosen head, uint8 (T, S)."""
        levels = np.frombuffer(self.levels, np.uint8)
        shape = len(self.layers), len(self.heads), len(self.queries), len(self.sources)
        return levels.reshape(shape)[self.layer, self.head]

    def colors(self) -> np.ndarray:
        """Return colour and ink of every level, uint8 (256, 4)."""
        return np.frombuffer(self.palette, np.uint8).reshape(TOP + 1, 4)

    def pixels(self) -> np.ndarray:
        """Return the heat map, uint8 (T, S, 3): queries from above, keys from the left."""
        return self.colors()[self.grid(), :3]

    def shares(self) -> np.ndarray:
        """Return the weights of the chosen query as they are shown, float64 (S,)."""
        share = self.grid()[self.at] / TOP
        return share * share

    def largest(self) -> list[int]:
        """Return the keys that are told: the three of the largest weights, as far as they have 1 % or more."""
        order = np.argsort(-self.grid()[self.at].astype(int), kind="stable")[:TOLD]
        return [int(j) for j in order if percent(self.shares()[j]) >= 1]

    def sentence(self) -> str:
        """Return where the chosen query looks, in words, its weights in whole per cent."""
        shares, told = self.shares(), self.largest()
        looks = [f"{quoted(self.sources[j])} ({j + 1}) {percent(shares[j])} %" for j in told]
        rest = max(0.0, 1 - sum(float(shares[j]) for j in told))
        if len(told) < len(self.sources) and percent(rest) >= 1:
            looks.append(f"{'all others together' if told else 'all keys together'} {percent(rest)} %")
        return (
            f"Layer {self.layers[self.layer]}, head {self.heads[self.head]}: {quoted(self.queries[self.at])} "
            f"(token {self.at + 1} of {len(self.queries)}) looks at {', '.join(looks)}"
        )

    def picture(self) -> str:
        texts = [(self.sources, self.colors()[self.grid()[self.at]] / 255, self.at if self.alone else None)]
        if not self.alone:
            plain = np.tile([1.0, 1, 1, 0], (len(self.queries), 1))
            texts.insert(0, (self.queries, plain, self.at))
        placed = [flow([visible(token) for token in tokens]) for tokens, _, _ in texts]
        rows = sum(places[-1][0] + 2 for places in placed)
        T, S = self.grid().shape
        tall = min(3.4, 5.8 * T / S)
        fig = Figure(figsize=(7, 0.25 * rows + tall + 0.45), layout="none")  # in inches
        canvas, inch = FigureCanvasAgg(fig), 1 / fig.get_figheight()
        above = fig.add_axes((0.02, (tall + 0.4) * inch, 0.96, 0.25 * rows * inch))
        above.set(xlim=(0, 66), ylim=(rows, 0))
        above.set_axis_off()
        row = 0
        titles = ["tokens"] if self.alone else ["queries", "keys"]
        for (tokens, tints, chosen), places, title in zip(texts, placed, titles):
            above.text(0, row + 0.6, title, fontsize=8, va="center", ha="left")
            for i, (token, tint, (line, column)) in enumerate(zip(tokens, tints, places)):
                corner, width = (column, row + 1 + line), len(visible(token)) + 0.6
                above.add_patch(Rectangle(corner, width, 0.92, color=tint[:3], linewidth=0))
                above.text(
                    corner[0] + width / 2, corner[1] + 0.5, visible(token), color=[tint[3]] * 3, fontsize=9,
                    family="monospace", ha="center", va="center", parse_math=False,
                )  # fmt: skip
                if i == chosen:
                    frame = Rectangle(corner, width, 0.92, fill=False, edgecolor="black", linewidth=2, zorder=3)
                    above.add_patch(frame)
            row += places[-1][0] + 2
        wide = min(0.9, tall * S / T / 7)
        below = fig.add_axes((0.06, 0.25 * inch, wide, tall * inch))
        below.imshow(self.pixels(), aspect="auto", interpolation="nearest", extent=(0, S, T, 0))
        below.add_patch(Rectangle((0, self.at), S, 1, fill=False, edgecolor="black", linewidth=1.5, clip_on=False))
        below.set(xticks=[], yticks=[])
        below.grid(False)
        below.set_ylabel("queries", fontsize=9)
        below.set_xlabel("keys", fontsize=9)
        fig.set_dpi(150)
        canvas.draw()
        data, mime = sprites.encode(np.asarray(canvas.buffer_rgba())[..., :3])
        return f"{img_html(data, mime, self.alt, 640)}<figcaption>{escape(self.sentence())}.</figcaption>"


def flow(tokens: list[str], width: int = 64) -> list[tuple[int, float]]:
    """Return (row, column) of each token's box, in letters: a new row after a line end or where it would not fit."""
    places, row, column = [], 0, 0.0
    for token in tokens:
        if column and column + len(token) > width:
            row, column = row + 1, 0.0
        places.append((row, column))
        column += len(token) + 0.8
        if GLYPHS["\n"] in token:
            row, column = row + 1, 0.0
    return places
