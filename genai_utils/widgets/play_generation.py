"""Generation in slow motion: a picture or a wave filled in value by value, with the distribution of the next value.

Pictures are shown bit for bit. Of a distribution the page holds at most 64 bins, each in 255 steps of the row's tallest
bin; the entropy and the probability of the bin that was drawn are exact to three decimals.

Shapes:  n = H W or T steps, V levels, K bins, H and W picture sides, T samples.
"""

import math
from html import escape

import numpy as np
import torch
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html, script

BINS = 64                        # at most, on the page
LONGEST = 4000                   # steps
EMPTY = (205, 222, 236)          # places without a value yet; no grey, so that nothing is taken for it


def play_generation(values, probabilities, *, shape, alt, entropies=None, levels=None, decode=None, order=None,
                    label=None, choice="sample", interval=80):
    """Return a player of one generation or of several to switch between.

    Args:
        values: the n values in the order in which they were drawn, integers in [0, V); or a dict of name -> values.
        probabilities: (n, V) or (n, K), row i the distribution from which value i was drawn, in bins of V / K levels if
            K < V; a dict of such for a dict of values. Rows sum to 1.
        shape: (H, W) of a picture or (T,) of a wave; n is their product, at most 4,000.
        alt: what is to be seen, in 30 characters or more.
        entropies: (n,) of each distribution over all V levels, in nats; a dict for a dict. Computed from
            `probabilities` if None, which must then have V columns.
        levels: V, at most 256; the columns of `probabilities` if None.
        decode: maps levels (V,) int64 to what is shown: uint8 grey levels for a picture, floats in [-1, 1] for a wave.
            Evenly spaced if None.
        order: (n,) the place of each step, in raster order; one after the other if None.
        label: what a step is called; "pixel" or "sample" if None.
        choice: what a generation is called ("temperature").
        interval: milliseconds between frames while playing; a long generation draws several values for a frame.
    Raises:
        ValueError: a shape, a type or a number does not fit, or the distributions need more than 400 kB.
    """
    many, n = isinstance(values, dict), math.prod(shape)
    if len(shape) not in (1, 2) or not 3 <= n <= LONGEST:
        raise ValueError(f"shape must be (H, W) or (T,) with 3 to {LONGEST:,} steps in all, got {tuple(shape)}: cut it")
    values, probabilities = (x if many else {"": x} for x in (values, probabilities))
    entropies = {name: None for name in values} if entropies is None else entropies if many else {"": entropies}
    if not values or set(values) != set(probabilities) or set(values) != set(entropies):
        raise ValueError(f"values, probabilities and entropies must have the same names, at least one, got "
                         f"{list(values)}, {list(probabilities)} and {list(entropies)}")
    P = {name: sprites.to_numpy(p).astype(np.float64) for name, p in probabilities.items()}
    levels = next(iter(P.values())).shape[-1] if levels is None else levels
    if not 2 <= levels <= 256:
        raise ValueError(f"levels must be from 2 to 256, got {levels}")
    places = np.arange(n) if order is None else sprites.to_numpy(order)
    if places.shape != (n,) or sorted(places.tolist()) != list(range(n)):
        raise ValueError(f"order must hold each of the places 0 to {n - 1} once, got {places.shape} {places[:5]}...")
    drawn, bars, runs = [], [], []
    for name, codes in values.items():
        codes, p = sprites.to_numpy(codes), P[name]
        check_values(name, codes, p, n, levels)
        exact = entropies[name]
        if exact is None and p.shape[1] < levels:
            raise ValueError(f"{p.shape[1]} bins of {levels} levels give no entropy of {name!r}: pass entropies=")
        exact = entropy(p) if exact is None else sprites.to_numpy(exact).astype(float)
        if exact.shape != (n,) or not np.isfinite(exact).all() or exact.min() < 0:
            raise ValueError(f"entropies of {name!r} must be ({n},) finite nats, 0 or more, got {exact.shape}")
        binned = in_bins(p)
        K, peak = binned.shape[1], binned.max(1)
        chance = binned[np.arange(n), codes.astype(int) * K // levels]
        drawn.append(codes.astype(np.uint8))
        bars.append(np.rint(255 * binned / peak[:, None]).astype(np.uint8))
        runs.append({"name": str(name), "peaks": rounded(peak), "chances": rounded(chance),
                     "entropies": rounded(exact)})
    if len({b.shape for b in bars}) > 1:
        raise ValueError(f"every generation must have the same number of bins, got {[b.shape[1] for b in bars]}")
    sheet, mime = sprites.encode(np.concatenate(bars))
    check_size(len(sheet) + n * len(drawn), "take fewer generations, fewer steps or fewer bins")
    return GenerationPlayer(alt=alt, values=np.concatenate(drawn).tobytes(), sheet=sheet, mime=mime, runs=runs,
                            bins=bars[0].shape[1], table=shown(levels, decode, len(shape) == 2), shape=list(shape),
                            order=[] if order is None else places.tolist(), choice=choice, interval=interval,
                            label=label or ("pixel" if len(shape) == 2 else "sample"), index=n // 2)


def check_values(name, codes: np.ndarray, p: np.ndarray, n: int, levels: int) -> None:
    """Raise a ValueError that says what to change when values and their distributions do not fit."""
    if codes.shape != (n,) or codes.dtype.kind not in "iu" or codes.min() < 0 or codes.max() >= levels:
        raise ValueError(f"values of {name!r} must be ({n},) integers from 0 to {levels - 1}, "
                         f"got {codes.dtype} {codes.shape}, {codes.min(initial=0)} to {codes.max(initial=0)}")
    if p.shape[:1] != (n,) or p.ndim != 2 or p.shape[1] > levels or levels % p.shape[1]:
        raise ValueError(f"probabilities of {name!r} must be ({n}, K), K a divisor of {levels} levels, got {p.shape}")
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(1) - 1).max() > 1e-3:
        raise ValueError(f"rows of the probabilities of {name!r} must be 0 or more and sum to 1: softmax the logits")


def entropy(p: np.ndarray) -> np.ndarray:
    """Return the entropy of each row, in nats; 0 log 0 is 0."""
    return -(p * np.log(np.where(p > 0, p, 1))).sum(1).clip(None, 0)


def in_bins(p: np.ndarray) -> np.ndarray:
    """Return (n, K) sums over neighbouring columns, K the largest divisor of their number up to 64."""
    columns = p.shape[1]
    K = max(k for k in range(1, min(BINS, columns) + 1) if columns % k == 0)
    if K < 2:
        raise ValueError(f"{columns} columns cannot be put into {BINS} bins or fewer: take a number of levels that can")
    return p.reshape(len(p), K, -1).sum(2)


def rounded(x: np.ndarray) -> list[float]:
    """Return three decimals of each number."""
    return [round(float(v), 3) + 0.0 for v in x]


def shown(levels: int, decode, image: bool) -> list:
    """Return what is shown for each level: grey levels of a picture, heights of a wave."""
    if decode is None:
        even = np.arange(levels) / (levels - 1)
        table = np.rint(255 * even).astype(np.uint8) if image else 2 * even - 1
    else:
        table = sprites.to_numpy(decode(torch.arange(levels)))
    if image and table.dtype != np.uint8 or table.shape != (levels,):
        raise ValueError(f"decode must return ({levels},) {'uint8 grey levels' if image else 'floats'}, "
                         f"got {table.dtype} {table.shape}")
    if not image and not (np.isfinite(table).all() and np.abs(table).max() <= 1):
        raise ValueError(f"decode must return floats in [-1, 1], got {table.min()} to {table.max()}")
    return table.tolist() if image else [round(float(v), 5) for v in table]


class GenerationPlayer(View):
    """The widget that `play_generation` returns; `run` and `index` follow the reader and may be set."""

    _esm = script("play_generation")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "play_generation.css"))
    values = t.Bytes().tag(sync=True)                # the levels of all generations, one after the other
    sheet = t.Bytes().tag(sync=True)                 # picture of the bars, a row for each step, 255 its tallest
    mime = t.Unicode().tag(sync=True)
    runs = t.List(t.Dict()).tag(sync=True)           # name, peaks, chances, entropies of each generation
    bins = t.Int().tag(sync=True)                    # K
    table = t.List().tag(sync=True)                  # what is shown for each level
    shape = t.List(t.Int()).tag(sync=True)
    order = t.List(t.Int()).tag(sync=True)           # place of each step; empty: one after the other
    label = t.Unicode().tag(sync=True)
    choice = t.Unicode().tag(sync=True)
    interval = t.Int().tag(sync=True)
    run = t.Int(0).tag(sync=True)
    index = t.Int(0).tag(sync=True)                  # values drawn so far, 0 to n

    def codes(self) -> np.ndarray:
        """Return the values of the chosen generation in the order in which they were drawn, (n,) uint8."""
        n = math.prod(self.shape)
        return np.frombuffer(self.values, np.uint8)[self.run * n : (self.run + 1) * n]

    def bars(self) -> np.ndarray:
        """Return the bars of the chosen generation, (n, K) uint8, 255 the tallest of its row."""
        n = math.prod(self.shape)
        return sprites.decode(self.sheet, grey=True)[self.run * n : (self.run + 1) * n]

    def places(self) -> np.ndarray:
        """Return the place of each step, (n,)."""
        return np.array(self.order or range(math.prod(self.shape)))

    def pixels(self) -> np.ndarray:
        """Return the picture as it stands at `index`, (H, W, 3) uint8; EMPTY where there is no value yet."""
        out = np.tile(np.array(EMPTY, np.uint8), (math.prod(self.shape), 1))
        out[self.places()[: self.index]] = np.array(self.table, np.uint8)[self.codes()[: self.index], None]
        return out.reshape(*self.shape, 3)

    def wave(self) -> np.ndarray:
        """Return the wave as it stands at `index`, (T,) floats; nan where there is no value yet."""
        out = np.full(math.prod(self.shape), np.nan)
        out[self.places()[: self.index]] = np.array(self.table)[self.codes()[: self.index]]
        return out

    def sentence(self) -> str:
        """Return which value comes next and how sure the model was, in words."""
        n, i, V = math.prod(self.shape), self.index, len(self.table)
        run = self.runs[self.run]
        if i == n:
            mean = sum(run["entropies"]) / n + 1e-9
            return f"All {n} {self.label}s drawn; mean entropy {mean:.2f} nats each"
        code, chance, nats = int(self.codes()[i]), run["chances"][i], run["entropies"][i]
        place = int(self.places()[i])
        where = f" at ({place // self.shape[1]}, {place % self.shape[1]})" if len(self.shape) == 2 else ""
        odds = "less than 0.001" if chance < 0.001 else f"{chance:.3f}"
        bin_ = "" if self.bins == V else "in a bin "
        return (f"{self.label.capitalize()} {i + 1} of {n}{where}: drew {code} of 0 to {V - 1}, {bin_}of probability "
                f"{odds}. Entropy {nats:.3f} nats ({nats / math.log(2) + 1e-9:.2f} bits) of at most "
                f"{math.log(V) + 1e-9:.2f}")

    def picture(self) -> str:
        bars, codes, i = self.bars(), self.codes(), min(self.index, math.prod(self.shape) - 1)
        fig = Figure(figsize=(7, 2.7))
        canvas = FigureCanvasAgg(fig)
        left, right = fig.subplots(1, 2, gridspec_kw={"left": 0.02, "right": 0.98, "bottom": 0.17, "top": 0.97,
                                                      "wspace": 0.22, "width_ratios": (1, 1.3)})
        place, K = int(self.places()[i]), self.bins
        if len(self.shape) == 2:
            left.imshow(self.pixels(), interpolation="nearest")
            left.plot([place % self.shape[1]], [place // self.shape[1]], "s", ms=7, mfc="none", mec="#d55e00", mew=2)
        else:
            left.plot(self.wave(), color="#0072b2", linewidth=0.8)
            left.axvline(place, color="#d55e00")
            left.set(xlim=(0, math.prod(self.shape)), ylim=(-1.05, 1.05))
        left.set(xticks=[], yticks=[])
        hit = int(codes[i]) * K // len(self.table)
        right.bar(range(K), bars[i] / 255 * self.runs[self.run]["peaks"][i], width=0.9,
                  color=["#d55e00" if k == hit else "#0072b2" for k in range(K)])
        right.set_xticks([0, K - 1], ["0", str(len(self.table) - 1)])
        right.set_ylabel("probability", fontsize=8)
        right.set_xlabel("next value; the one drawn in orange", fontsize=8)
        right.tick_params(labelsize=8)
        fig.set_dpi(150)
        canvas.draw()
        data, mime = sprites.encode(np.asarray(canvas.buffer_rgba())[..., :3])
        name = self.runs[self.run]["name"]
        words = f"{name}: {self.sentence()}." if name else f"{self.sentence()}."
        return f"{img_html(data, mime, self.alt, 600)}<figcaption>{escape(words)}</figcaption>"
