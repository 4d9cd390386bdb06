"""Two domains of pictures and not one pair to learn from, though the true counterpart of every picture is known.

Training sets hold different items in either domain. Test sets hold the counterparts besides, so that a translation can
be compared with what it should have been.

Shapes:  N, M pictures of domains A and B, C channels, H, W image sides.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genai_utils.data.glyphs import CHARACTERS, FONTS, draw_glyphs
from genai_utils.data.published import load_published
from genai_utils.data.sets import Batches, to_floats

FAT = ("DejaVuSans-Bold", "DejaVuSansMono-Bold", "DejaVuSerif-Bold", "STIXGeneralBol", "cmb10")  # room within strokes
TWO_FONTS = ("DejaVuSans", "DejaVuSerif")
# Levels of size, slant and thickness are multiples of 5, so that each has the same distribution for every residue
SIZES = tuple(14 + k / 4 for k in range(15))  # height of a capital letter in pixels, 14 to 17.5
SLANTS = tuple(range(-14, 15, 2))  # degrees
THICKNESSES = tuple(k / 20 for k in range(10))  # pixels added to the width of every stroke, 0 to 0.45
EDGE = 1.2  # pixels: width of an outline, half of it on either side of the letter's edge
PAPER = 96  # grey level of the stripes of the textured twin, of 255
OWN = {"test": ((0,), (0,)), "train": ((1, 2), (3, 4))}  # residues by 5 of the levels' sum, of A and B


class UnpairedBatches:
    """An endless iterator over (x_a, x_b), (B, C, H, W) float32 in [-1, 1] each: either domain has its own order."""

    def __init__(self, a: Batches, b: Batches) -> None:
        self.a, self.b = a, b

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        return next(self.a), next(self.b)

    def state_dict(self) -> dict[str, dict[str, int]]:
        """Return where the iterator stands: JSON-safe integers."""
        return {"a": self.a.state_dict(), "b": self.b.state_dict()}

    def load_state_dict(self, state: dict[str, dict[str, int]]) -> None:
        """Go where `state_dict` stood; ValueError if the state belongs to other batches."""
        self.a.load_state_dict(state.get("a", {}))
        self.b.load_state_dict(state.get("b", {}))


@dataclass(frozen=True)
class UnpairedSet:
    """Pictures of two domains as uint8 tensors; what a picture shows (its class) occurs in both.

    Raises:
        ValueError: an empty domain, or shapes that disagree (named).
    """

    name: str
    a: Tensor  # (N, C, H, W) uint8, domain A
    b: Tensor  # (M, C, H, W) uint8, domain B
    labels_a: Tensor  # (N,) int64, indices into `classes`
    labels_b: Tensor  # (M,) int64
    classes: tuple[str, ...]
    truth_a: Tensor | None = None  # (N, C, H, W) uint8, in domain B: the counterparts of `a`; test sets only
    truth_b: Tensor | None = None  # (M, C, H, W) uint8, in domain A: the counterparts of `b`
    extra: dict[str, Any] = field(default_factory=dict)  # what else is known, such as the factors of drawing

    def __post_init__(self) -> None:
        for name, images, labels, truth in (
            ("A", self.a, self.labels_a, self.truth_a), ("B", self.b, self.labels_b, self.truth_b),
        ):  # fmt: skip
            if images.ndim != 4 or images.dtype != torch.uint8:
                raise ValueError(f"domain {name} must be (N, C, H, W) uint8, got {tuple(images.shape)} {images.dtype}")
            if not len(images):
                raise ValueError(f"domain {name} is empty; give at least one picture of each domain")
            if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
                raise ValueError(
                    f"labels of domain {name} must be ({len(images)},) int64, got {tuple(labels.shape)} {labels.dtype}"
                )
            if truth is not None and (truth.shape != images.shape or truth.dtype != torch.uint8):
                raise ValueError(
                    f"counterparts of domain {name} must be {tuple(images.shape)} uint8, one for each picture, got "
                    f"{tuple(truth.shape)} {truth.dtype}"
                )
        if self.a.shape[1:] != self.b.shape[1:]:
            raise ValueError(f"both domains need one size: A has {tuple(self.a.shape)}, B has {tuple(self.b.shape)}")

    def __len__(self) -> int:
        """Return the number of pictures of the larger domain."""
        return max(len(self.a), len(self.b))

    def to(self, device: torch.device | str) -> "UnpairedSet":
        """Return the set with its tensors on `device` (extra stays where it is)."""
        names = ("a", "b", "labels_a", "labels_b", "truth_a", "truth_b")
        return replace(self, **{k: v.to(device) for k in names if (v := getattr(self, k)) is not None})

    def batches(self, size: int, seed: int = 0) -> UnpairedBatches:
        """Return an endless, resumable iterator over (x_a, x_b), `size` of each, in orders that do not depend."""

        def order(images: Tensor, own_seed: int) -> Batches:
            return Batches(lambda which: to_floats(images[which]), len(images), size, own_seed, images.device)

        return UnpairedBatches(order(self.a, 2 * seed), order(self.b, 2 * seed + 1))


def unpaired(split: str = "train", *, kind: str = "outline", n: int | None = None, seed: int = 0) -> UnpairedSet:
    """Return two unpaired domains of 28x28 pictures; a test set has the true counterparts, too.

    - "outline": letters and digits of five fat fonts, filled (A) and as outlines (B);
    - "fonts": letters and digits in DejaVu Sans (A) and in DejaVu Serif (B);
    - "inverted": MNIST (A) and its negative, black on white (B); MNIST must be at hand or be downloaded;
    - "textured": MNIST (A) and the same on paper with grey diagonal stripes, four pixels from one to the next (B);
    - "striped": letters of five fat fonts on paper whose stripes begin at one of four places (A), and on none (B). A
      picture of B cannot say, openly, where the stripes were: what returns them has hidden it. `extra` has `shifts_a`;
      the counterparts of test pictures of B have shifts that nobody could know.

    No item occurs in both domains of a training set, and none of training in the test.

    Args:
        split: "train" or "test".
        kind: one of the five.
        n: pictures per domain; by default 10,000 and 2,000 of letters, and every second one of MNIST in either.
        seed: other seeds draw other letters, or deal the digits out to the domains in another way.
    Raises:
        ValueError: no such kind, or n out of range.
        DataError: MNIST could not be had.
    """
    if kind not in KINDS:
        raise ValueError(f"there are no two domains {kind!r}; kinds are {', '.join(KINDS)}")
    if n is not None and n < 1:
        raise ValueError(f"n must be at least 1, or a domain would be empty; got {n}")
    return KINDS[kind](split, n, seed)


def invert(x: Tensor) -> Tensor:
    """Return the negative of pictures: uint8, or floats in [-1, 1]. It is its own inverse."""
    return 255 - x if x.dtype == torch.uint8 else -x


def add_texture(images: Tensor, shifts: Tensor | int = 0) -> Tensor:
    """Return uint8 pictures of white on black as they look on striped paper: the paper shows where the ink does not.

    Args:
        images: (N, C, H, W) uint8.
        shifts: where the stripes begin, in pixels modulo 4: for all, or (N,) int64 for each.
    """
    paper = _paper(images, shifts).to(torch.int64)
    return (paper + ((255 - paper) * images + 127) // 255).to(torch.uint8)


def remove_texture(x: Tensor) -> Tensor:
    """Return pictures on striped paper, floats in [-1, 1], as on black; exact but for rounding to 8 bits, unclipped.

    A judge that knows plain digits only can so look at translations into the textured domain.
    """
    paper = _paper(x).to(x.dtype) / 127.5 - 1
    return (x - paper) * 2 / (1 - paper) - 1


def find_shift(x: Tensor) -> Tensor:
    """Return where the stripes of pictures begin, (N,) int64 in [0, 4): of the four papers, the one most like x.

    Args:
        x: (N, C, H, W) pictures on striped paper, floats or uint8.
    """
    papers = torch.stack([_paper(x, k) for k in range(4)]).double().flatten(1)
    papers = papers - papers.mean(1, keepdim=True)
    return (x.double().mean(1).flatten(1) @ papers.T).argmax(1)


def _paper(images: Tensor, shifts: Tensor | int = 0) -> Tensor:
    """Return the grey levels of the stripes, (H, W), or (N, 1, H, W) for N shifts.

    Their period is 4, the stride of a CycleGAN's translator.
    """
    rows, columns = (torch.arange(size, device=images.device) for size in images.shape[-2:])
    shifts = shifts[:, None, None, None] if isinstance(shifts, Tensor) else shifts
    return PAPER * ((rows[:, None] + columns + shifts) % 4 < 2)


def draw_outlines(characters: str, fonts: Tensor, size: Tensor, slant: Tensor, thickness: Tensor) -> Tensor:
    """Return the outlines of glyphs, (N, 1, 28, 28) uint8, EDGE pixels wide; arguments are those of `draw_glyphs`."""
    outer, inner = (draw_glyphs(characters, fonts, size, slant, thickness + side * EDGE) for side in (1, -1))
    return outer - inner


def _letters(fonts: tuple[str, ...], draw_a: Callable, draw_b: Callable, name: str, split, n, seed) -> UnpairedSet:
    """Return a set of glyphs: items of each domain drawn apart, each by its domain's way of drawing."""
    n = {"train": 10_000, "test": 2_000}[split] if n is None else n
    classes, ids = CHARACTERS[:36], torch.tensor([FONTS.index(font) for font in fonts])
    parts = {}
    for k, (domain, residues) in enumerate(zip("ab", OWN[split])):
        rng = np.random.RandomState([seed, split == "test", k])  # its stream is frozen (NEP 19)
        label, font, k_size, k_slant, row, residue = (
            rng.randint(0, high, n, dtype=np.int64)
            for high in (36, len(fonts), len(SIZES), len(SLANTS), len(THICKNESSES) // 5, len(residues))
        )
        k_thickness = 5 * row + (np.array(residues)[residue] - k_size - k_slant) % 5
        factors = {
            "font": ids[font], "size": torch.tensor(SIZES)[k_size],
            "slant": torch.tensor(SLANTS, dtype=torch.float32)[k_slant],
            "thickness": torch.tensor(THICKNESSES)[k_thickness],
        }  # fmt: skip
        item = ("".join(classes[i] for i in label), *factors.values())
        own, other = (draw_a, draw_b) if domain == "a" else (draw_b, draw_a)
        parts |= {domain: own(*item), f"labels_{domain}": torch.from_numpy(label), f"factors_{domain}": factors}
        if split == "test":
            parts[f"truth_{domain}"] = other(*item)
    extra = {"fonts": fonts} | {k: parts.pop(k) for k in ("factors_a", "factors_b")}
    return UnpairedSet(f"unpaired/{name}", **parts, classes=tuple(classes), extra=extra)


def _in_font(name: str) -> Callable[..., Tensor]:
    def draw(characters: str, fonts: Tensor, *factors: Tensor) -> Tensor:
        return draw_glyphs(characters, torch.full_like(fonts, FONTS.index(name)), *factors)

    return draw


def _striped(split: str, n: int | None, seed: int) -> UnpairedSet:
    """Return letters of which those of A lie on striped paper."""
    data = _letters(FAT, draw_glyphs, draw_glyphs, "striped", split, n, seed)
    rng = np.random.RandomState([seed, split == "test", 2])  # its stream is frozen (NEP 19)
    shifts_a, shifts_b = (torch.from_numpy(rng.randint(0, 4, len(x), dtype=np.int64)) for x in (data.a, data.b))
    known = {} if data.truth_b is None else {"truth_b": add_texture(data.truth_b, shifts_b)}
    return replace(data, a=add_texture(data.a, shifts_a), **known, extra=data.extra | {"shifts_a": shifts_a})


def _twins(there: Callable[[Tensor], Tensor], name: str, split: str, n: int | None, seed: int) -> UnpairedSet:
    """Return MNIST dealt out to two domains, of which the second shows every digit by way of `there`."""
    mnist = load_published("mnist", split)
    half = len(mnist) // 2
    n = half if n is None else n
    if n > half:
        raise ValueError(f"n must be at most {half}, half of MNIST's {len(mnist)} digits of this split, got {n}")
    order = torch.from_numpy(np.random.RandomState([seed, split == "test"]).permutation(len(mnist)))
    in_a, in_b = order[:n], order[half : half + n]
    a, in_domain_a = mnist.images[in_a], mnist.images[in_b]
    truth = {"truth_a": there(a), "truth_b": in_domain_a} if split == "test" else {}
    extra = mnist.extra | {"items_a": in_a, "items_b": in_b}
    labels = (mnist.labels[in_a], mnist.labels[in_b])
    return UnpairedSet(f"unpaired/{name}", a, there(in_domain_a), *labels, mnist.classes, **truth, extra=extra)


KINDS = {
    "outline": partial(_letters, FAT, draw_glyphs, draw_outlines, "outline"),
    "fonts": partial(_letters, TWO_FONTS[:1], *map(_in_font, TWO_FONTS), "fonts"),
    "inverted": partial(_twins, invert, "inverted"),
    "textured": partial(_twins, add_texture, "textured"),
    "striped": _striped,
}
