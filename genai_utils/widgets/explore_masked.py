"""A word is hidden: what stands there, by readers that see the words before it, after it, or on both sides of it.

A probability p is stored as its surprisal -log p in thousandths of a nat, rounded, and that is what is shown: 1 is
exact, others are right to 0.05 %. A probability of 0 is an infinite surprisal; a finite one is shown as 65.53 at most.

Shapes:  N sentences, T words of one (each has its own T), R readers, K likeliest words.
"""

from collections.abc import Mapping
from html import escape

import numpy as np
import torch
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html, script
from genai_utils.widgets.style import COLORS

PER, NEVER = 1000, 65535  # levels in a nat; the level of probability 0
MOST, READERS, LIKELIEST = 4, 4, 10  # sentences, readers, words shown of each: what fits into one look
LONGEST = 64  # words of a sentence
NEAR = 1e-3  # what probabilities may be off by, since they may come in bfloat16
BLANK = "____"


def explore_masked(tokens, guesses, *, alt, names=None):
    """Return an explorer of hidden words: each word of a sentence in turn, and what several readers take it for.

    Args:
        tokens: T words of a sentence, 3 to 64, as the model has them; or a list of 1 to 4 such sentences.
        guesses: dict of reader -> (words, probabilities, truth), for 1 to 4 readers; or one for each sentence, with the
            same readers: (T, K) str, (T, K) and (T,), K from 1 to 10. When the word at place i is hidden, words[i] are
            the likeliest, likeliest first, probabilities[i] theirs, in [0, 1], and truth[i] is that of the true word.
            `top_guesses` makes the three from logits.
        alt: what is to be seen, in 30 characters or more.
        names: N short names of the sentences, all different; None counts them from 1.
    Raises:
        ValueError: sentences, readers, words or probabilities do not fit together, or need more than 400 kB.
    """
    if isinstance(tokens, str):
        raise ValueError(f"tokens must be a list of words, got the text {tokens!r:.60}: split it as the model does")
    tokens, guesses = list(tokens), [guesses] if isinstance(guesses, Mapping) else list(guesses)
    sentences = [tokens] if all(isinstance(token, str) for token in tokens) else [list(words) for words in tokens]
    N = len(sentences)
    if not 1 <= N <= MOST or len(guesses) != N:
        raise ValueError(f"want 1 to {MOST} sentences, a dict of guesses for each, got {N} and {len(guesses)}")
    names = [str(name) for name in (names or range(1, N + 1))]
    if len(names) != N or len(set(names)) < N:
        raise ValueError(f"names must be {N} different names, one for each sentence, got {names}")
    readers = list(guesses[0]) if isinstance(guesses[0], Mapping) else []
    if not 1 <= len(readers) <= READERS or any(not isinstance(g, Mapping) or list(g) != readers for g in guesses):
        raise ValueError(f"guesses must be dicts of the same 1 to {READERS} readers, got {[list(g) for g in guesses]}")
    levels, pieces, places, widths = [], {}, [], set()
    for name, words, of_readers in zip(names, sentences, guesses):
        check_sentence(name, words)
        checked = [check_guess(f"{reader!r}, sentence {name}", words, of_readers[reader]) for reader in readers]
        widths |= {len(found[0]) for found, _, _ in checked}
        if len(widths) > 1:
            raise ValueError(f"every reader must give as many words for every place, got {sorted(widths)}")
        for i in range(len(words)):
            for found, shares, truth in checked:
                places += [pieces.setdefault(word, len(pieces)) for word in found[i]]
                levels.append(quantise(np.append(shares[i], truth[i])))
    if len(pieces) > NEVER:
        raise ValueError(f"the words guessed must be at most {NEVER} different ones, got {len(pieces)}: take fewer")
    levels, places = np.array(levels, "<u2"), np.array(places, "<u2")
    check_size(levels.nbytes + places.nbytes + len("".join(pieces).encode()), "take fewer sentences or fewer guesses")
    return MaskedExplorer(
        alt=alt,
        sentences=sentences,
        names=names,
        readers=[str(reader) for reader in readers],
        pieces=list(pieces),
        likeliest=levels.shape[1] - 1,
        places=places.tobytes(),
        levels=levels.tobytes(),
        at=len(sentences[0]) // 2,
    )


def top_guesses(logits, targets, names, k=6):
    """Return what `explore_masked` takes of one reader: k words (T, k), their probabilities and the true ones' (T,).

    Args:
        logits: (T, V) for the word at each place when that one is hidden.
        targets: (T,) int64, the true tokens.
        names: V tokens as text.
        k: how many of the likeliest, 1 to 10.
    Raises:
        ValueError: the shapes do not fit, or k is out of range.
    """
    logits, targets = torch.as_tensor(logits), torch.as_tensor(targets)
    if logits.ndim != 2 or targets.shape != logits.shape[:1] or len(names) != logits.shape[1]:
        got = f"{tuple(logits.shape)}, {tuple(targets.shape)} and {len(names)}"
        raise ValueError(f"logits must be (T, V), targets (T,), names V, got {got}")
    if not 1 <= k <= min(LIKELIEST, len(names)):
        raise ValueError(f"k must be 1 to {min(LIKELIEST, len(names))}, got {k}")
    p = logits.detach().double().softmax(-1)
    shares, found = p.topk(k)
    words = [[names[j] for j in row] for row in found.tolist()]
    return words, shares.cpu().numpy(), p.gather(1, targets[:, None].to(p.device))[:, 0].cpu().numpy()


def check_sentence(name: str, words: list) -> None:
    """Raise a ValueError unless a sentence is 3 to 64 words of text."""
    if not all(isinstance(word, str) and word.strip() for word in words):
        raise ValueError(f"sentence {name} must be a list of words, none empty, got {words!r:.60}")
    if not 3 <= len(words) <= LONGEST:
        raise ValueError(f"sentence {name} must have 3 to {LONGEST} words, got {len(words)}: choose another passage")


def check_guess(who: str, words: list[str], guess) -> tuple[list[list[str]], np.ndarray, np.ndarray]:
    """Return a reader's guesses, probabilities and true words' probabilities, or raise a ValueError."""
    if len(guess) != 3:
        raise ValueError(f"{who}: want (words, probabilities, truth), got {len(guess)} things")
    T, (found, shares, truth) = len(words), guess
    found = [[str(word) for word in row] for row in found]
    shares, truth = numbers(shares), numbers(truth)
    K = len(found[0]) if found else 0
    if not 1 <= K <= LIKELIEST or [len(row) for row in found] != [K] * T:
        raise ValueError(f"{who}: want 1 to {LIKELIEST} words for each of {T} places, got {[len(r) for r in found]}")
    if shares.shape != (T, K) or truth.shape != (T,):
        raise ValueError(f"{who}: want probabilities ({T}, {K}) and ({T},), got {shares.shape} and {truth.shape}")
    every = np.concatenate([shares, truth[:, None]], 1)
    if not ((every >= 0) & (every <= 1 + NEAR)).all() or (shares.sum(1) > 1 + NEAR).any():
        raise ValueError(f"{who}: probabilities must be in [0, 1] and sum to at most one: apply the softmax")
    if (np.diff(shares, axis=1) > 0).any() or any(len(set(row)) < K for row in found):
        raise ValueError(f"{who}: each place's words must differ and come likeliest first")
    for i, (word, row) in enumerate(zip(words, found)):
        known = shares[i, row.index(word)] if word in row else None
        off = truth[i] - shares[i, -1] if known is None else abs(truth[i] - known)
        if off > NEAR:
            listed = "is not listed" if known is None else f"is listed with {known:.4g}"
            raise ValueError(
                f"{who}: the true word at place {i}, {word!r}, has probability {truth[i]:.4g} but {listed}: "
                "is row i of the guesses for the word at i, and are the words written as the model has them?"
            )
    return found, shares, truth


def numbers(x) -> np.ndarray:
    """Return an array, a tensor of any float type, or a list of numbers, as float64."""
    return sprites.to_numpy(x.double() if isinstance(x, torch.Tensor) else x).astype(float)


def quantise(shares: np.ndarray) -> np.ndarray:
    """Return probabilities as whole levels, uint16: level k is a surprisal of k / 1000 nats, 65535 an infinite one."""
    with np.errstate(divide="ignore"):
        nats = -np.log(np.clip(shares, 0, 1))
    return np.where(np.isinf(nats), NEVER, np.rint(PER * nats).clip(0, NEVER - 1)).astype("<u2")


def share_of(level: int) -> float:
    """Return the probability of a level, in [0, 1]."""
    return 0.0 if level == NEVER else float(np.exp(-int(level) / PER))


def nats(level: int) -> str:
    """Return the surprisal of a level with two decimals, ties up.

    >>> nats(125), nats(0), nats(65535)
    ('0.13', '0.00', '∞')
    """
    return "\N{INFINITY}" if level == NEVER else f"{(int(level) + 5) // 10 / 100:.2f}"


def percent(share: float) -> str:
    """Return a probability in per cent with one decimal; what is less than 0.1, but not 0, says so.

    >>> percent(0.5), percent(0.0001), percent(0.0)
    ('50.0 %', '< 0.1 %', '0 %')
    """
    return "0 %" if share == 0 else f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"


def quoted(word: str) -> str:
    """Return a word in quotation marks."""
    return f"\N{LEFT DOUBLE QUOTATION MARK}{word}\N{RIGHT DOUBLE QUOTATION MARK}"


class MaskedExplorer(View):
    """The widget that `explore_masked` returns; `sentence` and `at` (a word) follow the reader and may be set."""

    _esm = script("explore_masked")
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "explore_masked.css"))
    sentences = t.List(t.List(t.Unicode())).tag(sync=True)  # (N, T)
    names = t.List(t.Unicode()).tag(sync=True)
    readers = t.List(t.Unicode()).tag(sync=True)
    pieces = t.List(t.Unicode()).tag(sync=True)  # all words that are guessed
    likeliest = t.Int(1).tag(sync=True)  # K
    places = t.Bytes().tag(sync=True)  # uint16, little-endian (sum of T, R, K), of pieces
    levels = t.Bytes().tag(sync=True)  # uint16, little-endian (sum of T, R, K + 1), the true word's last
    sentence = t.Int(0).tag(sync=True)
    at = t.Int(0).tag(sync=True)

    @t.validate("sentence", "at")
    def _is_there(self, proposal):
        name, value = proposal.trait.name, proposal.value
        if self.sentences:
            n = len(self.sentences) if name == "sentence" else len(self.sentences[self.sentence])
            if not 0 <= value < n:
                raise ValueError(f"{name} must be an index below {n}, got {value}")
        return value

    @t.observe("sentence")
    def _stay_inside(self, change):
        if self.sentences:
            self.at = min(self.at, len(self.words) - 1)

    @property
    def words(self) -> list[str]:
        """The words of the chosen sentence, T."""
        return self.sentences[self.sentence]

    def grid(self) -> np.ndarray:
        """Return the levels of the chosen sentence, uint16 (T, R, K + 1): those of the true words last."""
        first = sum(map(len, self.sentences[: self.sentence]))
        every = np.frombuffer(self.levels, "<u2").reshape(-1, len(self.readers), self.likeliest + 1)
        return every[first : first + len(self.words)]

    def guesses(self) -> list[list[tuple[str, float]]]:
        """Return (word, probability) of the K likeliest at the chosen place, by reader, as they are shown."""
        first = sum(map(len, self.sentences[: self.sentence]))
        places = np.frombuffer(self.places, "<u2").reshape(-1, len(self.readers), self.likeliest)[first + self.at]
        levels = self.grid()[self.at]
        return [[(self.pieces[j], share_of(k)) for j, k in zip(row, level)] for row, level in zip(places, levels)]

    def truths(self) -> list[int]:
        """Return the levels of the true word at the chosen place, by reader."""
        return self.grid()[self.at, :, -1].tolist()

    def means(self) -> str:
        """Return the mean surprisal over the words of the chosen sentence, by reader, in words."""
        truths = self.grid()[..., -1]  # (T, R)
        each = [
            NEVER if (of == NEVER).any() else int((2 * of.sum(dtype=int) + len(of)) // (2 * len(of))) for of in truths.T
        ]
        told = ", ".join(f"{reader} {nats(level)}" for reader, level in zip(self.readers, each))
        return f"Mean over the {len(self.words)} words of the sentence, each hidden alone, in nats: {told}"

    def told(self) -> str:
        """Return the hidden word and its surprisal by reader, in words."""
        each = [f"{r} {nats(k)} nats ({percent(share_of(k))})" for r, k in zip(self.readers, self.truths())]
        where = f"{quoted(self.words[self.at])} (word {self.at + 1} of {len(self.words)}) is hidden"
        return f"{where}. Its surprisal: {', '.join(each)}"

    def picture(self) -> str:
        R, K, truth = len(self.readers), self.likeliest, self.words[self.at]
        rows = []  # the sentence, in lines of about 78 letters
        for i, word in enumerate(self.words):
            word = BLANK if i == self.at else word
            if rows and len(rows[-1]) + len(word) < 78:
                rows[-1] += f" {word}"
            else:
                rows.append(word)
        tall, text = 0.55 + 0.21 * (K + 1), 0.22 * len(rows) + 0.1  # in inches
        fig = Figure(figsize=(7, tall + text), layout="none")
        canvas = FigureCanvasAgg(fig)
        fig.text(0.02, 1 - 0.05 / (tall + text), "\n".join(rows), fontsize=9, family="monospace", va="top",
                 linespacing=1.4, parse_math=False)  # fmt: skip
        for r, (reader, found, level) in enumerate(zip(self.readers, self.guesses(), self.truths())):
            if truth not in [word for word, _ in found]:
                found = [*found, (truth, share_of(level))]
            left, wide = 0.02 + 0.98 * r / R, 0.98 / R
            ax = fig.add_axes((left + 0.4 * wide, 0.05, 0.36 * wide, (tall - 0.35) / (tall + text)))
            right = [word == truth for word, _ in found]
            ax.barh(range(len(found)), [100 * share for _, share in found],
                    color=[COLORS["vermilion" if true else "blue"] for true in right])  # fmt: skip
            ax.set_yticks(range(len(found)), [shorten(word) for word, _ in found], fontsize=8, parse_math=False)
            for row, ((_, share), true, tick) in enumerate(zip(found, right, ax.get_yticklabels())):
                tick.set_fontweight("bold" if true else "normal")
                ax.annotate(
                    percent(share), (100 * share, row), (3, 0), textcoords="offset points", va="center", fontsize=7
                )
            ax.set(xlim=(0, 100), ylim=(K + 0.5, -0.6), xticks=[])
            ax.grid(False)
            ax.tick_params(length=0)
            ax.spines[["top", "right", "bottom"]].set_visible(False)
            ax.set_title(f"{reader}: {nats(level)} nats", fontsize=9, loc="center", parse_math=False)
        fig.set_dpi(150)
        canvas.draw()
        data, mime = sprites.encode(np.asarray(canvas.buffer_rgba())[..., :3])
        caption = f"{self.told()}. {self.means()}."
        return f"{img_html(data, mime, self.alt, 640)}<figcaption>{escape(caption)}</figcaption>"


def shorten(word: str, n: int = 12) -> str:
    """Return a word, cut after n letters for a static picture."""
    return word if len(word) <= n else f"{word[: n - 1]}\N{HORIZONTAL ELLIPSIS}"
