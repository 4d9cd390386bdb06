"""Data sets behind one door: `load(name, split)`. Embedded sets need no network and are the same bytes everywhere."""

import inspect
from functools import partial

from genai_utils.data.download import DataError
from genai_utils.data.glyphs import draw_glyphs, glyphs, letter
from genai_utils.data.published import PUBLISHED, digits, load_published
from genai_utils.data.scenes import check_caption, describe, scenes
from genai_utils.data.sets import Batches, ImageSet, PointSet, to_floats, to_pixels
from genai_utils.data.toys import toys

EMBEDDED = {"toys": toys, "glyphs": glyphs, "letter": letter, "scenes": scenes, "digits": digits}
DOWNLOADED = {name: partial(load_published, name) for name in PUBLISHED}
SPLITS = ("train", "test")

__all__ = [
    "DOWNLOADED",
    "EMBEDDED",
    "SPLITS",
    "Batches",
    "DataError",
    "ImageSet",
    "PointSet",
    "check_caption",
    "describe",
    "draw_glyphs",
    "load",
    "to_floats",
    "to_pixels",
]


def load(name: str, split: str = "train", **options) -> ImageSet | PointSet:
    """Return a data set.

    Args:
        name: embedded are "toys" (a PointSet), "glyphs", "letter", "scenes", "digits"; downloaded are "mnist",
            "fashion_mnist", "cifar10".
        split: "train" or "test".
        options: toys: kind, n, seed; glyphs: n, classes, seed; letter: n, character, seed; scenes: n, seed; downloaded
            sets: timeout (seconds), tries, pause (seconds).
    Raises:
        ValueError: no such name, split or option (the message lists those there are).
        DataError: a downloaded set could not be had from any of its sources. It is never replaced by another.
    """
    if name not in EMBEDDED | DOWNLOADED:
        there = f"embedded are {', '.join(EMBEDDED)}; downloaded are {', '.join(DOWNLOADED)}"
        raise ValueError(f"no data set is called {name!r}; {there}")
    if split not in SPLITS:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    if name in DOWNLOADED:
        known = {"timeout", "tries", "pause"}
    else:
        known = set(inspect.signature(EMBEDDED[name]).parameters) - {"split"}
    if surplus := sorted(set(options) - known):
        raise ValueError(f"{name} has no option {', '.join(surplus)}; it has {', '.join(sorted(known)) or 'none'}")
    return (EMBEDDED | DOWNLOADED)[name](split, **options)
