"""Data sets behind one door: `load(name, split)`. Embedded sets need no network and are the same bytes everywhere
(but for "python_docs", which is the help text of the Python that runs)."""

import inspect
from functools import partial

from genai_utils.data.audio import AudioSet, mu_law_decode, mu_law_encode, tones
from genai_utils.data.bpe import ByteBPE
from genai_utils.data.download import DataError
from genai_utils.data.glyphs import draw_glyphs, glyphs, letter
from genai_utils.data.published import PUBLISHED, digits, load_published
from genai_utils.data.reviews import reviews
from genai_utils.data.scenes import check_caption, describe, scenes
from genai_utils.data.series import SeriesSet, sunspots
from genai_utils.data.sets import Batches, ImageSet, PointSet, StreamBatches, to_floats, to_pixels
from genai_utils.data.spoken_forms import spoken_forms
from genai_utils.data.tale_tasks import tale_questions, tale_summaries
from genai_utils.data.tales import tales
from genai_utils.data.tasks import LabelledText, PairedText, QuestionSet
from genai_utils.data.text import TextSet, python_docs
from genai_utils.data.tokenizers import CharTokenizer, padded
from genai_utils.data.toys import toys
from genai_utils.data.unigram import Unigram
from genai_utils.data.unpaired import UnpairedBatches, UnpairedSet, unpaired
from genai_utils.data.wordpiece import WordPiece

EMBEDDED = {
    "toys": toys,
    "glyphs": glyphs,
    "letter": letter,
    "scenes": scenes,
    "digits": digits,
    "unpaired": unpaired,
    "tales": tales,
    "reviews": reviews,
    "tale_questions": tale_questions,
    "tale_summaries": tale_summaries,
    "spoken_forms": spoken_forms,
    "python_docs": python_docs,
    "tones": tones,
    "sunspots": sunspots,
}
DOWNLOADED = {name: partial(load_published, name) for name in PUBLISHED}
SPLITS = ("train", "test")

__all__ = [
    "DOWNLOADED",
    "EMBEDDED",
    "SPLITS",
    "AudioSet",
    "Batches",
    "ByteBPE",
    "CharTokenizer",
    "DataError",
    "ImageSet",
    "LabelledText",
    "PairedText",
    "PointSet",
    "QuestionSet",
    "SeriesSet",
    "StreamBatches",
    "TextSet",
    "Unigram",
    "UnpairedBatches",
    "UnpairedSet",
    "WordPiece",
    "check_caption",
    "describe",
    "draw_glyphs",
    "load",
    "mu_law_decode",
    "mu_law_encode",
    "padded",
    "to_floats",
    "to_pixels",
]


Data = ImageSet | UnpairedSet | PointSet | TextSet | LabelledText | QuestionSet | PairedText | AudioSet | SeriesSet


def load(name: str, split: str = "train", **options) -> Data:
    """Return a data set.

    Args:
        name: embedded are "toys" (a PointSet), "glyphs", "letter", "scenes", "digits", "unpaired" (an UnpairedSet; two
            of its kinds need MNIST), "tales" and "python_docs" (TextSets), "reviews" (a LabelledText), "tale_questions"
            (a QuestionSet), "tale_summaries" and "spoken_forms" (PairedTexts), "tones" (an AudioSet), "sunspots" (a
            SeriesSet); downloaded are "mnist", "fashion_mnist", "cifar10", "tiny_shakespeare" (a TextSet) and
            "spoken_digits" (an AudioSet); taken from GENAI_DATA only is "multi30k" (a PairedText).
        split: "train" or "test".
        options: toys, unpaired: kind, n, seed; glyphs: n, classes, seed; letter: n, character, seed; scenes, tales,
            reviews, tale_questions, tale_summaries, spoken_forms, tones: n, seed; published sets: timeout (seconds),
            tries, pause (seconds).
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
