"""How the next token is drawn: temperature, top-k and top-p at work on a model's own logits, and what it then writes.

The page computes the distribution from the logits of all tokens, as `genai_utils.transformer.decoding.warp_logits`
does; the texts were written beforehand, on a grid of settings.

Sources: [GUM] Maddison, Tarlow & Minka 2014, arXiv:1411.0030, Sec. 2 (the largest of logits plus Gumbel noise).
Shapes:  P prompts, V tokens there are, A temperatures, K values of top-k, N values of top-p, T0 tokens of a prompt.
"""

from html import escape
from itertools import product

import numpy as np
import torch
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from genai_utils.transformer.decoding import warp_logits
from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html, script
from genai_utils.widgets.explore_attention import visible
from genai_utils.widgets.explore_curves import label
from genai_utils.widgets.explore_gates import two
from genai_utils.widgets.style import COLORS

BARS = 15  # tokens shown, the likeliest
LOWEST, HIGHEST = 0.2, 2.0  # temperature that the reader can reach
TOP_KS = tuple(m * 10**e for e in range(5) for m in (1, 2, 3, 5, 7))  # and all


def explore_next_token(prompts, pieces, logits, continuations, *, alt, temperatures, top_ks, top_ps):
    """Return an explorer of the distribution that the next token is drawn from, and of the texts that come of it.

    Everything but `alt` is what `sampling_grid` returns: `explore_next_token(**grid, alt="...")`.

    Args:
        prompts: P texts, 1 to 4.
        pieces: V texts, of each token.
        logits: (P, V) of the model, of the token after each prompt; kept as float32.
        continuations: P lists of A lists of K lists of N texts: what a model wrote after a prompt at a setting.
        alt: what is to be seen, in 30 characters or more.
        temperatures: A increasing numbers, > 0, of the continuations.
        top_ks: K increasing whole numbers, at least 1, of the continuations; the last may be None, for all tokens.
        top_ps: N increasing numbers in (0, 1], of the continuations; the last may be None, for 1.
    Raises:
        ValueError: an argument does not fit, or logits and texts need more than 400 kB.
    """
    prompts = [prompts] if isinstance(prompts, str) else [str(text) for text in prompts]
    pieces = [str(text) for text in pieces]
    logits = sprites.to_numpy(logits).astype("<f4")
    P, V = len(prompts), len(pieces)
    if not 1 <= P <= 4 or len(set(prompts)) < P:
        raise ValueError(f"prompts must be 1 to 4 different texts, got {prompts}: show fewer at a time")
    if V < 2 or logits.shape != (P, V):
        raise ValueError(f"logits must be (P, V) = ({P}, {V}), a row for each prompt, got {logits.shape}")
    if not np.isfinite(logits).all():
        raise ValueError(f"logits must be finite, got {logits[~np.isfinite(logits)][0]}: give the model's own")
    temperatures, top_ks, top_ps = check_settings(temperatures, top_ks, top_ps, V)
    shape = (P, len(temperatures), len(top_ks), len(top_ps))
    texts = np.array(continuations, dtype=object)
    if texts.shape != shape or not all(isinstance(text, str) for text in texts.flat):
        raise ValueError(f"continuations must be texts, nested as (P, A, K, N) = {shape}, got {texts.shape}")
    n_bytes = logits.nbytes + sum(len(text.encode()) for text in (*pieces, *texts.flat))
    check_size(n_bytes, "take fewer prompts, fewer settings or shorter continuations, or a smaller vocabulary")
    return NextTokenExplorer(
        alt=alt,
        prompts=prompts,
        pieces=pieces,
        logits=logits.tobytes(),
        continuations=texts.ravel().tolist(),
        temperatures=temperatures,
        top_ks=top_ks,
        top_ps=top_ps,
        counts=sorted({k for k in (*TOP_KS, *top_ks) if k < V} | {V}),
        top_k=V,
    )


def sampling_grid(
    decoding,
    tokenizer,
    prompts,
    *,
    temperatures=(0.2, 0.5, 0.8, 1.0, 1.4, 2.0),
    top_ks=(1, 5, 20, None),
    top_ps=(0.5, 0.9, None),
    steps=40,
    start="",
    end=None,
    generator=None,
):
    """Return what `explore_next_token` shows: logits after each prompt, and a continuation at each setting.

    All settings, of all prompts, draw with the same random numbers: what differs between two texts is due to the
    setting. The draw is the largest of the warped logits plus Gumbel noise, which follows their softmax; [GUM].

    Args:
        decoding: (batch, length) -> a `DecodingState`, such as the `decoding` of a GPT in evaluation mode on the CPU.
        tokenizer: the model's own, with `encode`, `decode` and `vocab`.
        prompts: P texts, or one.
        temperatures: A increasing numbers, > 0.
        top_ks: K increasing whole numbers, the last may be None, for all tokens.
        top_ps: N increasing numbers in (0, 1], the last may be None, for 1.
        steps: the most tokens to write, at least 1; prompt and steps fit into the model's context.
        start: a text read before each prompt and not shown, such as the special token that ends a text.
        end: the token at which a continuation ends; it is not shown.
        generator: on the CPU.
    Returns:
        A dict of prompts, pieces, logits (P, V), continuations, temperatures, top_ks and top_ps.
    Raises:
        ValueError: steps < 1, settings out of range; and what tokenizer and model refuse, such as an empty prompt or
            one that is too long.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    V = tokenizer.vocab
    grid = dict(zip(("temperatures", "top_ks", "top_ps"), check_settings(temperatures, top_ks, top_ps, V)))
    sizes = [len(values) for values in grid.values()]  # A, K, N
    batch, heat = int(np.prod(sizes)), torch.tensor(grid["temperatures"], dtype=torch.float64)[:, None]
    noise = -torch.empty(steps, V, dtype=torch.float64).exponential_(generator=generator).log()  # Gumbel
    logits, continuations = [], []
    for prompt in prompts:
        tokens = tokenizer.encode(start + prompt)[None]  # (1, T0)
        if tokens.numel() == 0:
            raise ValueError("a prompt must have at least one token, got ''; give start= the token that ends a text")
        state = decoding(batch, tokens.shape[1] + steps - 1)
        after = state.step(tokens.expand(batch, -1).contiguous())  # (A K N, V), its rows alike
        logits.append(after[0].clone())
        drawn, ended = [], torch.zeros(batch, dtype=torch.bool)
        for i in range(steps):
            rows = after.double().unflatten(0, sizes)  # (A, K, N, V)
            scores = torch.empty_like(rows)
            for (k, top_k), (n, top_p) in product(enumerate(grid["top_ks"]), enumerate(grid["top_ps"])):
                scores[:, k, n] = warp_logits(rows[:, k, n] / heat, top_k=top_k, top_p=top_p)
            drawn.append((scores + noise[i]).argmax(-1).flatten())  # [GUM] Sec. 2
            ended |= drawn[-1] == (-1 if end is None else end)
            if i == steps - 1 or ended.all():
                break
            after = state.step(drawn[-1][:, None])
        written = [row[: row.index(end)] if end in row else row for row in torch.stack(drawn, dim=1).tolist()]
        texts = [tokenizer.decode(torch.tensor(row, dtype=torch.int64)) if row else "" for row in written]
        continuations.append(np.array(texts, dtype=object).reshape(sizes).tolist())
    pieces = [tokenizer.decode(torch.tensor([k])) for k in range(V)]
    return {"prompts": prompts, "pieces": pieces, "logits": torch.stack(logits), "continuations": continuations} | grid


def check_settings(temperatures, top_ks, top_ps, vocab: int) -> tuple[list[float], list[int], list[float]]:
    """Return the settings with None as V, of top-k, or 1, of top-p; raise a ValueError when they are out of range."""
    a = [float(v) for v in temperatures]
    k = [vocab if v is None else min(v, vocab) for v in top_ks]
    p = [1.0 if v is None else float(v) for v in top_ps]
    for name, values, good in (
        ("temperatures must be finite and > 0", a, lambda v: 0 < v < np.inf),
        ("top_ks must be whole numbers, at least 1, or None", k, lambda v: v == int(v) >= 1),
        ("top_ps must be in (0, 1], or None", p, lambda v: 0 < v <= 1),
    ):
        if not values or not all(map(good, values)) or any(v >= w for v, w in zip(values, values[1:])):
            raise ValueError(f"{name}, and increase, each less than the next, got {values} of {vocab} tokens")
    return a, [int(v) for v in k], p


def nearest(value: float, choices: list[float]) -> int:
    """Return the index of the choice whose ratio to a value is nearest to 1; of two alike, the first."""
    ratios = [max(value / choice, choice / value) for choice in choices]
    return ratios.index(min(ratios))


class NextTokenExplorer(View):
    """The widget that `explore_next_token` returns; `prompt`, `temperature`, `top_k` and `top_p` follow the reader.

    All four may be set before it is shown: an index, a number in [0.2, 2], one in [1, V] and one in (0, 1].
    """

    _esm = script("explore_next_token")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "explore_next_token.css"))
    prompts = t.List(t.Unicode()).tag(sync=True)
    pieces = t.List(t.Unicode()).tag(sync=True)
    logits = t.Bytes().tag(sync=True)  # float32, little-endian (P, V)
    continuations = t.List(t.Unicode()).tag(sync=True)  # P A K N
    temperatures = t.List(t.Float()).tag(sync=True)
    top_ks = t.List(t.Int()).tag(sync=True)
    top_ps = t.List(t.Float()).tag(sync=True)
    counts = t.List(t.Int()).tag(sync=True)  # values of top-k that the reader can reach
    prompt = t.Int(0).tag(sync=True)
    temperature = t.Float(1.0).tag(sync=True)
    top_k = t.Int(1).tag(sync=True)
    top_p = t.Float(1.0).tag(sync=True)

    @t.validate("prompt", "temperature", "top_k", "top_p")
    def _is_possible(self, proposal):
        name, value = proposal.trait.name, proposal.value
        ends = {"temperature": (LOWEST, HIGHEST), "top_k": (1, len(self.pieces)), "top_p": (0.05, 1)}
        lo, hi = ends.get(name, (0, len(self.prompts) - 1))
        if self.pieces and not lo <= value <= hi:
            raise ValueError(f"{name} must be in [{lo}, {hi}], got {value}")
        return value

    def scores(self) -> torch.Tensor:
        """Return the model's logits after the chosen prompt, float64 (V,)."""
        stored = np.frombuffer(self.logits, "<f4").reshape(len(self.prompts), -1)
        return torch.from_numpy(stored[self.prompt].astype(float))

    def probabilities(self) -> torch.Tensor:
        """Return the distribution that the token is drawn from, float64 (V,): 0 where it cannot fall."""
        setting = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        return warp_logits(self.scores()[None], **setting).softmax(-1)[0]

    def likeliest(self) -> list[int]:
        """Return the tokens that are shown, likeliest first."""
        return self.scores().argsort(descending=True, stable=True)[:BARS].tolist()

    def figures(self) -> tuple[int, float, float]:
        """Return what is left: tokens, the share of the probability that they held, the draw's entropy in nats."""
        p = self.probabilities()
        held = (self.scores() / self.temperature).softmax(-1)[p > 0].sum().item()
        return int((p > 0).sum()), held, torch.special.entr(p).sum().item()

    def sentence(self) -> str:
        """Return what is left at the present setting, in words."""
        kept, held, entropy = self.figures()
        left = f"{kept} of {len(self.pieces)} tokens {'is' if kept == 1 else 'are'} left"
        return (
            f"{left}, with {two(100 * held)} % of the probability at this temperature; "
            f"entropy of the draw {two(entropy)} nats"
        )

    def place(self) -> tuple[int, int, int]:
        """Return the indices of the nearest setting that was run, of temperature, top-k and top-p."""
        given = (self.temperature, self.temperatures), (self.top_k, self.top_ks), (self.top_p, self.top_ps)
        return tuple(nearest(value, choices) for value, choices in given)

    def continuation(self) -> str:
        """Return the text that was written at the nearest setting."""
        shape = len(self.prompts), len(self.temperatures), len(self.top_ks), len(self.top_ps)
        return self.continuations[int(np.ravel_multi_index((self.prompt, *self.place()), shape))]

    def origin(self) -> str:
        """Return at which setting that text was written, in words."""
        a, k, n = self.place()
        return f"Written at temperature {label(self.temperatures[a])}, {self.cut(self.top_ks[k], self.top_ps[n])}"

    def cut(self, top_k: int, top_p: float) -> str:
        """Return top-k and top-p in words."""
        return f"top-k {'all' if top_k == len(self.pieces) else top_k}, top-p {label(top_p)}"

    def picture(self) -> str:
        shown, p, own = self.likeliest(), self.probabilities(), (self.scores() / self.temperature).softmax(-1)
        rows = np.arange(len(shown))
        fig = Figure(figsize=(6.4, 0.9 + 0.2 * len(shown)), layout="constrained")
        canvas, ax = FigureCanvasAgg(fig), fig.subplots()
        ax.barh(rows, [100 * own[k].item() * (p[k] == 0).item() for k in shown], color="0.75", hatch="///", linewidth=0)
        ax.barh(rows, [100 * p[k].item() for k in shown], color=COLORS["blue"])
        ax.set_yticks(rows, [visible(self.pieces[k]) for k in shown], family="monospace", fontsize=9, parse_math=False)
        for k, row in zip(shown, rows):
            words = f"{two(100 * p[k].item())} %" if p[k] > 0 else "cut off"
            ax.annotate(words, (100 * max(p[k], own[k] * (p[k] == 0)).item(), row), (4, 0), textcoords="offset points",
                        va="center", fontsize=8)  # fmt: skip
        widest = 100 * max(p.max().item(), own.max().item())
        ax.set(xlim=(0, 1.15 * widest), ylim=(len(shown) - 0.4, -0.6), xlabel="probability of the next token (%)")
        ax.grid(False)
        ax.spines[["top", "right"]].set_visible(False)
        fig.set_dpi(150)
        canvas.draw()
        data, mime = sprites.encode(np.asarray(canvas.buffer_rgba())[..., :3])
        set_to = f"Temperature {label(self.temperature)}, {self.cut(self.top_k, self.top_p)}: {self.sentence()}"
        text = f"<b>{escape(self.prompts[self.prompt])}</b>{escape(self.continuation())}"
        return (
            f"{img_html(data, mime, self.alt, 640)}<figcaption>{escape(set_to)}. {escape(self.origin())}: "
            f'<span style="white-space:pre-wrap">{text}</span></figcaption>'
        )
