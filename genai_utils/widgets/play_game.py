"""A film of a game between generator and discriminator: points in the plane or on a line, and who is believed where.

A place is stored to 1/65534 of the extent, a value of the field to 1/255 of its range, an arrow to 1/127 of the
longest; the numbers that are told were computed before that.

Shapes:  F films of N frames; n points of the generator, n_real of the data, m arrows, D = 1 or 2 dimensions, g places
on a side of the field.
"""

from html import escape

import numpy as np
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html, script
from genai_utils.widgets.explore_curves import axis, label as in_short, number

OUT, LEVELS = 65535, 65534  # a point outside the extent; the steps from end to end of the extent
LONGEST = 0.12  # of the extent: the longest arrow
BINS = 48  # of the histograms on a line
MOST_CHARTS = 4
PAPER = ((255, 255, 255), (28, 28, 28))  # the middle of the colours on a light and on a dark page; as in play_game.js
LOW = ((92, 165, 214), (0, 92, 148))
HIGH = ((240, 160, 84), (184, 84, 0))
FIELDS = ("fake", "field", "grads", "curves", "range")


def field_grid(extent, g=32, dims=2):
    """Return the places where a field is read: (g * g, 2) float32, or (g, 1) for `dims` 1, evenly from end to end.

    Args:
        extent: (lowest, highest) coordinate of both axes.
        g: places on a side, 2 or more.
        dims: 1 or 2.
    Raises:
        ValueError: the extent does not increase, or g or dims is out of range.

    Row i * g + j is at the j-th x and the i-th y, lowest first: `d(torch.from_numpy(field_grid(extent))).view(32, 32)`
    is a frame of a field.
    """
    lo, hi = as_extent(extent)
    if g < 2 or dims not in (1, 2):
        raise ValueError(f"g must be 2 or more and dims 1 or 2, got g = {g}, dims = {dims}")
    line = np.linspace(lo, hi, g, dtype=np.float32)
    if dims == 1:
        return line[:, None]
    x, y = np.meshgrid(line, line)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def play_game(
    films,
    real,
    *,
    alt,
    extent,
    steps=None,
    label="step",
    choice="loss",
    field_name="D(x)",
    same_scale=False,
    seed=None,
    size=380,
    interval=120,
):
    """Return a player of one game or of several, between which the reader switches at the same frame.

    Args:
        films: dict of name -> film, 1 to 6 of them; a film is a dict of
            `fake`: (N, n, 2) the generator's points in each frame, in a fixed order;
            `field`: (N, g, g) what the discriminator says at `field_grid(extent, g)`, g from 2 to 64 (1024 on a line);
            `grads`: (N, m, 2) the push on the first m of `fake`, drawn as arrows; in all films or in none;
            `curves`: dict of name -> N numbers, drawn below, nan where there is none; at most 4 names in all films
            together, and a name has one axis for all films;
            `range`: (lowest, highest) value that the colours tell apart, values beyond look like the ends. (0, 1) if
            the field lies within, else symmetric about 0: subtract each frame's mean from a critic's values first.
        real: (n_real, 2) points of the data, the same for all films.
        alt: what is to be seen, in 30 characters or more.
        extent: (lowest, highest) coordinate of both axes; points beyond are counted, not drawn.
        steps: N increasing numbers, the training step of each frame; 0 ... N - 1 if None.
        label: what a frame is called.
        choice: what tells the films apart ("loss").
        field_name: what the discriminator's value is called.
        same_scale: one scale for the arrows of all frames and films, so that a push that dies away is seen to do so;
            else each frame has its own, and only the number tells.
        seed: the seed of the randomness in the films; recorded.
        size: width of the picture on the page, in CSS pixels.
        interval: milliseconds between frames while playing.
    Raises:
        ValueError: a shape, an order or a number does not fit, or it all needs more than 400 kB.

    On a line instead of the plane: real (n_real,), fake (N, n), field (N, g), grads (N, m).
    """
    lo, hi = as_extent(extent)
    if not isinstance(films, dict) or not 1 <= len(films) <= 6:
        raise ValueError(f"films must be a dict of 1 to 6 films, got {len(films)} in a {type(films).__name__}")
    real = as_numbers("real", real)
    dims = 1 if real.ndim == 1 or real.shape[-1] == 1 and real.ndim == 2 else 2
    real = real.reshape(-1, 1) if dims == 1 else real
    if real.ndim != 2 or real.shape[1] != dims or not len(real):
        raise ValueError(f"real must be (n_real, 2) or (n_real,), got {real.shape}")
    games = {str(name): as_game(str(name), film, dims) for name, film in films.items()}
    for what in ("fake", "field", "grads"):
        shapes = {name: np.shape(game[what]) for name, game in games.items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"films must agree in the shape of {what!r}, got {shapes}")
    first = next(iter(games.values()))
    N, g = len(first["fake"]), first["field"].shape[-1]
    steps = list(range(N)) if steps is None else [float(s) for s in steps]
    if len(steps) != N or (np.diff(steps) <= 0).any():
        raise ValueError(f"steps must be {N} increasing numbers, one for each frame, got {steps}")

    names = list(dict.fromkeys(name for game in games.values() for name in game["curves"]))
    if len(names) > MOST_CHARTS:
        raise ValueError(f"films have the curves {names}: show {MOST_CHARTS} at most")
    charts = []
    for name in names:
        heights = np.concatenate([game["curves"][name] for game in games.values() if name in game["curves"]])
        if np.isnan(heights).all():
            raise ValueError(f"curve {name!r} must have at least one number, got nan only")
        charts.append({"name": name, **axis(np.nanmin(heights), np.nanmax(heights), False)})

    texts = [in_short(s) for s in steps]
    reels, fields = [], []
    for name, game in games.items():
        low, high = game["range"]
        fields.append(np.rint((game["field"] - low) / (high - low) * 255).clip(0, 255).astype(np.uint8))
        captions = [caption(game, k, real, (lo, hi), field_name) for k in range(N)]
        curves = {key: [None if np.isnan(v) else float(v) for v in y] for key, y in game["curves"].items()}
        reels.append({"name": name, "captions": captions, "range": [low, high], "curves": curves,
                      "ends": [in_short(low), in_short(high)]})  # fmt: skip
    fields = np.concatenate(fields).reshape(len(games) * N, -1, g)  # (F N, g or 1, g), lowest y first
    columns = 1 if dims == 1 else sprites.best_columns(len(fields), g, g)
    sheet, mime = sprites.encode(sprites.tile(fields, columns))
    fake = np.stack([places(game["fake"], lo, hi) for game in games.values()]).astype("<u2")
    real = places(real, lo, hi).astype("<u2")
    push = arrows([game["grads"] for game in games.values()], same_scale) if first["grads"] is not None else b""
    made = {"sheet": sheet, "fake": fake.tobytes(), "real": real.tobytes(), "push": push}
    check_size(sum(map(len, made.values())), "take fewer frames, points or films, or a coarser field")
    return GamePlayer(
        alt=alt,
        mime=mime,
        columns=columns,
        grid=g,
        dims=dims,
        frames=N,
        extent=[lo, hi],
        peak=peak(real, fake) if dims == 1 else 0,
        steps=texts,
        reels=reels,
        charts=charts,
        label=label,
        choice=choice,
        field_name=field_name,
        same_scale=same_scale,
        interval=interval,
        seed=seed,
        size=size,
        **made,
    )


def as_extent(extent) -> tuple[float, float]:
    """Return (lowest, highest) as floats, or raise a ValueError."""
    if len(extent) != 2 or not np.isfinite(extent).all() or extent[0] >= extent[1]:
        raise ValueError(f"extent must be (lowest, highest), one for both axes, got {extent}")
    return float(extent[0]), float(extent[1])


def as_numbers(what: str, x) -> np.ndarray:
    """Return finite float64 numbers, or raise a ValueError."""
    x = sprites.to_numpy(x).astype(float)
    if not np.isfinite(x).all():
        raise ValueError(f"{what} must be finite, got {x[~np.isfinite(x)][0]}: stop the film before the game blows up")
    return x


def as_game(name: str, film: dict, dims: int) -> dict:
    """Return a film with every part of FIELDS as float64, (N, n, D), (N, g[, g]), (N, m, D) or None, curves, range."""
    if {"fake", "field"} - set(film) or set(film) - set(FIELDS):
        raise ValueError(f"film {name!r} must have 'fake' and 'field', and nothing beside {FIELDS}, got {list(film)}")
    fake, field = (as_numbers(f"{what} of {name!r}", film[what]) for what in ("fake", "field"))
    grads = None if film.get("grads") is None else as_numbers(f"grads of {name!r}", film["grads"])
    if dims == 1:
        fake, grads = (x if x is None or x.ndim == 3 else x[..., None] for x in (fake, grads))
    N, g = len(fake), field.shape[-1]
    if fake.ndim != 3 or fake.shape[2] != dims or N < 2 or not fake.shape[1]:
        raise ValueError(f"fake of {name!r} must be (N, n, {dims}), 2 frames or more, got {np.shape(film['fake'])}")
    most = 64 if dims == 2 else 1024
    if field.shape != (N, *[g] * dims) or not 2 <= g <= most:
        raise ValueError(f"field of {name!r} must be ({N}, {'g, ' * (dims - 1)}g), g in [2, {most}], got {field.shape}")
    if grads is not None and (grads.ndim != 3 or grads.shape[::2] != (N, dims) or grads.shape[1] > fake.shape[1]):
        raise ValueError(
            f"grads of {name!r} must be ({N}, m, {dims}), m at most {fake.shape[1]}, got {np.shape(film['grads'])}"
        )
    curves = {str(key): sprites.to_numpy(y).astype(float) for key, y in (film.get("curves") or {}).items()}
    for key, y in curves.items():
        if y.shape != (N,) or np.isinf(y).any():
            raise ValueError(f"curve {key!r} of {name!r} must be {N} numbers, nan where there is none, got {y}")
    ends = film.get("range")
    if ends is None:
        most = float(np.abs(field).max()) or 1.0
        ends = (0.0, 1.0) if field.min() >= 0 and field.max() <= 1 else (-most, most)
    if len(ends) != 2 or not np.isfinite(ends).all() or ends[0] >= ends[1]:
        raise ValueError(f"range of {name!r} must be (lowest, highest), got {ends}")
    return {"fake": fake, "field": field, "grads": grads, "curves": curves, "range": tuple(map(float, ends))}


def caption(game: dict, k: int, real, extent, field_name: str) -> str:
    """Return the numbers of a frame in words."""
    at = [number(float(read(game["field"][k], x, extent).mean())) for x in (real, game["fake"][k])]
    told = [f"{field_name} {at[0]} at the data and {at[1]} at the samples, on average"]
    if game["grads"] is not None:
        told.append(f"mean push {number(float(np.linalg.norm(game['grads'][k], axis=-1).mean()))}")
    told += [f"{key} {'no value' if np.isnan(y[k]) else number(float(y[k]))}" for key, y in game["curves"].items()]
    x = game["fake"][k]
    if gone := int(((x < extent[0]) | (x > extent[1])).any(-1).sum()):
        told.append(f"{gone} of {len(x)} samples beyond the picture")
    return "; ".join(told)


def read(field, x, extent) -> np.ndarray:
    """Return a field, (g,) or (g, g), at points x (n, D), linear between its places, constant beyond them."""
    g = len(field)
    u = ((x - extent[0]) / (extent[1] - extent[0]) * (g - 1)).clip(0, g - 1)
    i = np.floor(u).astype(int).clip(0, g - 2)
    f = u - i
    if field.ndim == 1:
        return field[i[:, 0]] * (1 - f[:, 0]) + field[i[:, 0] + 1] * f[:, 0]
    (j, i), (fx, fy) = i.T, f.T  # x runs along the columns
    low, high = (field[i + s, j] * (1 - fx) + field[i + s, j + 1] * fx for s in (0, 1))
    return low * (1 - fy) + high * fy


def places(x, lo: float, hi: float) -> np.ndarray:
    """Return points (..., D) as whole numbers from 0 (lo) to LEVELS (hi); OUT in all dimensions beyond the extent."""
    beyond = ((x < lo) | (x > hi)).any(-1, keepdims=True)
    return np.where(beyond, OUT, np.rint((x - lo) / (hi - lo) * LEVELS).clip(0, LEVELS)).astype(np.uint16)


def arrows(grads: list, same_scale: bool) -> bytes:
    """Return the arrows of F films (N, m, D) as int8: 127 is the longest of the frame, or of everything."""
    push = np.stack(grads)
    length = np.linalg.norm(push, axis=-1)
    most = np.quantile(length, 0.98) if same_scale else length.max(-1)[..., None, None]  # a few may be cut short
    push = push / np.maximum(most, 1e-300)
    push /= np.maximum(1, np.linalg.norm(push, axis=-1, keepdims=True))
    return np.rint(127 * push).astype(np.int8).tobytes()


def histogram(x) -> np.ndarray:
    """Return the share of points in each of BINS bins over the extent, of places (n, 1); those outside are left out."""
    x = x.ravel()
    return np.bincount(x[x != OUT].astype(int) * BINS // (LEVELS + 1), minlength=BINS) / len(x)


def peak(real, fake) -> float:
    """Return the height to which the histograms are drawn: twice the data's highest bar, or less if none is so high."""
    data = histogram(real).max()
    drawn = max(histogram(x).max() for film in fake for x in film)
    return float(min(2 * data, max(data, drawn)) or drawn or 1)


def mix(paper, color, share):
    """Return whole numbers between two colours, `share` from 0 to 255 of the way."""
    return (paper * (255 - share) + color * share + 127) // 255


def field_colors(levels, dark: bool = False) -> np.ndarray:
    """Return the colours of levels 0 ... 255, uint8 (..., 3): below the middle one hue, above it another."""
    d = 2 * levels.astype(int)[..., None] - 255
    paper, low, high = (np.array(color[dark]) for color in (PAPER, LOW, HIGH))
    return mix(paper, np.where(d < 0, low, high), np.abs(d)).astype(np.uint8)


class GamePlayer(View):
    """The widget that `play_game` returns; `film` and `index` follow the reader and may be set before it is shown."""

    _esm = script("play_game")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "play_game.css"))
    sheet = t.Bytes().tag(sync=True)  # the field, lowest y first: F films of N tiles
    mime = t.Unicode().tag(sync=True)
    columns = t.Int().tag(sync=True)
    grid = t.Int().tag(sync=True)
    dims = t.Int().tag(sync=True)
    frames = t.Int().tag(sync=True)
    extent = t.List(t.Float()).tag(sync=True)
    peak = t.Float().tag(sync=True)
    real = t.Bytes().tag(sync=True)  # uint16, little-endian: see `places`
    fake = t.Bytes().tag(sync=True)
    push = t.Bytes().tag(sync=True)  # int8: see `arrows`; none if empty
    steps = t.List(t.Unicode()).tag(sync=True)
    reels = t.List(t.Dict()).tag(sync=True)  # name, captions, range, ends, curves of each film
    charts = t.List(t.Dict()).tag(sync=True)  # name and axis of each curve
    label = t.Unicode().tag(sync=True)
    choice = t.Unicode().tag(sync=True)
    field_name = t.Unicode().tag(sync=True)
    same_scale = t.Bool(False).tag(sync=True)
    interval = t.Int().tag(sync=True)
    seed = t.Int(None, allow_none=True).tag(sync=True)
    size = t.Int().tag(sync=True)
    film = t.Int(0).tag(sync=True)
    index = t.Int(0).tag(sync=True)

    @t.validate("film", "index")
    def _is_possible(self, proposal):
        name, n = proposal.trait.name, {"film": len(self.reels), "index": self.frames}[proposal.trait.name]
        if n and not 0 <= proposal.value < n:
            raise ValueError(f"{name} must be an index below {n}, got {proposal.value}")
        return proposal.value

    def points(self, film: int | None = None, index: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return (data, samples) of a frame, the present one if None: (n, D) float64, nan for a point not drawn."""
        film, index = self.film if film is None else film, self.index if index is None else index
        fake = np.frombuffer(self.fake, "<u2").reshape(len(self.reels), self.frames, -1, self.dims)[film, index]
        lo, hi = self.extent
        return tuple(
            np.where(x == OUT, np.nan, lo + (hi - lo) * (x / LEVELS))
            for x in (np.frombuffer(self.real, "<u2").reshape(-1, self.dims), fake)
        )

    def levels(self, film: int | None = None, index: int | None = None) -> np.ndarray:
        """Return the field of a frame as stored, uint8 (g, g) or (g,), lowest y first."""
        film, index = self.film if film is None else film, self.index if index is None else index
        high, tiles = self.grid if self.dims == 2 else 1, len(self.reels) * self.frames
        sheet = sprites.untile(sprites.decode(self.sheet, True), tiles, self.columns, high, self.grid)
        return sheet[film * self.frames + index].squeeze() if self.dims == 1 else sheet[film * self.frames + index]

    def pushes(self, film: int | None = None, index: int | None = None) -> np.ndarray:
        """Return the arrows of a frame as drawn, (m, D) in the units of the axes."""
        film, index = self.film if film is None else film, self.index if index is None else index
        push = np.frombuffer(self.push, np.int8).reshape(len(self.reels), self.frames, -1, self.dims)[film, index]
        return push / 127 * LONGEST * (self.extent[1] - self.extent[0])

    def sentence(self) -> str:
        """Return the numbers of the present frame in words."""
        reel = self.reels[self.film]
        return ": ".join(filter(None, (reel["name"], f"{self.label} {self.steps[self.index]}"))) + (
            f". {reel['captions'][self.index]}"
        )

    def picture(self) -> str:
        picks = sorted({round(k * (self.frames - 1) / 3) for k in range(4)})
        rows, cols, tall = len(self.reels), len(picks), 1.72 if self.dims == 2 else 1.4
        fig = Figure(figsize=(6.4, 0.2 + tall * rows), layout="constrained")
        canvas, axes = FigureCanvasAgg(fig), fig.subplots(rows, cols, squeeze=False)
        for film, row in enumerate(axes):
            for index, ax in zip(picks, row):
                self.paint(ax, film, index)
                ax.set(xlim=self.extent, xticks=[], yticks=[])
                if film == 0:
                    ax.set_title(f"{self.label} {self.steps[index]}", fontsize=8, loc="center")
            row[0].set_ylabel(self.reels[film]["name"], fontsize=8)
        fig.set_dpi(150)
        canvas.draw()
        data, mime = sprites.encode(np.asarray(canvas.buffer_rgba())[..., :3])
        last = "; ".join(
            ": ".join(filter(None, (reel["name"], reel["captions"][self.frames - 1]))) for reel in self.reels
        )
        words = f"{self.key()} At {self.label} {self.steps[-1]}: {last}."
        return f"{img_html(data, mime, self.alt, 640)}<figcaption>{escape(words)}</figcaption>"

    def key(self) -> str:
        """Return in words what the marks mean."""
        if self.dims == 1:
            return f"Outline: data; filled: samples; line: {self.field_name}."
        return f"Rings: data; dots: samples; colour: {self.field_name}, from blue (low) to orange (high)."

    def paint(self, ax, film: int, index: int) -> None:
        """Draw a frame into matplotlib axes."""
        (real, fake), (lo, hi) = self.points(film, index), self.extent
        if self.dims == 2:
            half = (hi - lo) / (self.grid - 1) / 2
            ends = (lo - half, hi + half, lo - half, hi + half)
            ax.imshow(field_colors(self.levels(film, index)), origin="lower", extent=ends, interpolation="bilinear")
            ax.plot(*real.T, "o", markersize=2.6, markerfacecolor="none", markeredgecolor="#555", markeredgewidth=0.5)
            ax.plot(*fake.T, "o", markersize=2.2, color="black", markeredgecolor="white", markeredgewidth=0.3)
            ax.set(ylim=(lo, hi), aspect="equal")
            ax.grid(False)
            return
        edges = np.linspace(lo, hi, BINS + 1)
        stored = [np.where(np.isnan(x), OUT, np.rint((x - lo) / (hi - lo) * LEVELS)) for x in (real, fake)]
        data, made = (histogram(x) / self.peak for x in stored)
        ax.stairs(made, edges, fill=True, color="#5ca5d6")
        ax.stairs(data, edges, color="black", linewidth=0.9)
        ax.plot(np.linspace(lo, hi, self.grid), self.levels(film, index) / 255, color="#b84a00", linewidth=1.2)
        ax.set(ylim=(0, 1.02))
        ax.grid(False)
