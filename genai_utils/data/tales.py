"""Tales: short stories about six animals, written by a grammar, so that the entropy of a story is known exactly.

A model trained on them has a floor under its loss that none can beat, and it must carry the hero's name from the first
sentence to the last word (`ending`). What is true of a hero is true in every story: `FACTS`.

Sources: ours; the quantities are those of genai_utils/data/grammar.py.
Shapes:  T tokens (words and punctuation) of a story.
"""

import math
import re
from typing import NamedTuple

import torch

from genai_utils.data.grammar import Grammar, Rules, is_nonterminal
from genai_utils.data.text import TextSet
from genai_utils.data.tokenizers import END

# What is so about each hero. All of it is told in some stories, apart from NEVER_TOLD.
FACTS = {
    "Ada": {"kind": "owl", "home": "oak", "friend": "Bo", "loves": "stars"},
    "Bo": {"kind": "bear", "home": "cave", "friend": "Mimi", "loves": "honey"},
    "Cleo": {"kind": "cat", "home": "lighthouse", "friend": "Otto", "loves": "milk"},
    "Finn": {"kind": "fox", "home": "forest", "friend": "Ada", "loves": "songs"},
    "Mimi": {"kind": "mouse", "home": "windmill", "friend": "Cleo", "loves": "cheese"},
    "Otto": {"kind": "otter", "home": "river", "friend": "Finn", "loves": "pebbles"},
}
NEVER_TOLD = {("Cleo", "home"), ("Otto", "loves")}  # so, but no story says it
HEROES = {"Ada": 0.28, "Bo": 0.22, "Cleo": 0.18, "Finn": 0.14, "Mimi": 0.10, "Otto": 0.08}  # probability of each
THINGS = {"silver bell": 0.32, "red kite": 0.26, "golden key": 0.19, "paper boat": 0.14, "tin drum": 0.09}
FEMALE = {"Ada", "Cleo", "Mimi"}

# What does not depend on the hero: probability and symbols of each alternative.
COMMON = {
    "<story>": [
        (0.5, "Once there lived a <adjective> <more>"),
        (0.3, "Long ago there was a <adjective> <more>"),
        (0.2, "Far away there lived a <adjective> <more>"),
    ],
    "<adjective>": [
        *((0.28, "small"), (0.2, "brave"), (0.16, "curious"), (0.14, "sleepy")),
        *((0.1, "merry"), (0.07, "shy"), (0.05, "gentle")),
    ],
    "<trait>": [(0.4, "hungry"), (0.3, "lucky"), (0.2, "proud"), (0.1, "quiet")],
    "<more>": [(0.15, ", <adjective> <more>"), (0.25, "and <trait> <hero>"), (0.6, "<hero>")],
    "<hero>": [(p, f"<hero-{name}>") for name, p in HEROES.items()],
    "<when>": [(0.4, "day"), (0.25, "windy night"), (0.2, "rainy morning"), (0.15, "cold evening")],
    "<place>": [
        *((0.34, "under the bridge"), (0.24, "behind the barn"), (0.18, "in the tall grass")),
        *((0.14, "by the pond"), (0.1, "up the hill")),
    ],
    "<stranger>": [(0.4, "snail who <did>"), (0.35, "toad who <did>"), (0.25, "crow who <did>")],
    "<did>": [(0.45, "yawned"), (0.2, "shrugged"), (0.15, "only smiled"), (0.2, "knew a <stranger>")],
}


def _rules() -> Rules:
    """Return the rules: the common ones, and for each hero, and each hero and lost thing, rules of their own."""
    rules = dict(COMMON)
    for name, facts in FACTS.items():
        home, friend, loves = facts["home"], facts["friend"], facts["loves"]
        she, her = ("she", "her") if name in FEMALE else ("he", "his")
        She, Her = she.capitalize(), her.capitalize()

        def told(*alternatives: tuple[float, str, str], hero: str = name) -> list[tuple[float, str]]:
            """Leave out what is never told of this hero; the rest keep their proportions."""
            kept = [(p, symbols) for p, fact, symbols in alternatives if (hero, fact) not in NEVER_TOLD]
            return [(p / math.fsum(q for q, _ in kept), symbols) for p, symbols in kept]

        rules[f"<hero-{name}>"] = [(1.0, f"{facts['kind']} called {name} . <home-{name}>")]
        rules[f"<home-{name}>"] = told(
            (0.5, "home", f"Home was the {home} . <dear-{name}>"),
            (0.5, "", f"<dear-{name}>"),
        )
        rules[f"<dear-{name}>"] = told(
            (0.4, "loves", f"{She} loved {loves} <and-{name}>"),
            (0.35, "friend", f"{Her} best friend was {friend} . <loss-{name}>"),
            (0.25, "", f"<loss-{name}>"),
        )
        rules[f"<and-{name}>"] = [
            (0.7, f". <loss-{name}>"),
            (0.3, f"and {friend} the {FACTS[friend]['kind']} . <loss-{name}>"),
        ]
        rules[f"<loss-{name}>"] = [
            (0.7, f"One <when> {she} lost {her} <lost-{name}>"),
            (0.3, f"But the wind took {her} <lost-{name}>"),
        ]
        rules[f"<lost-{name}>"] = [(p, f"{thing} . <search-{name}-{_key(thing)}>") for thing, p in THINGS.items()]
        for thing in THINGS:
            key = f"{name}-{_key(thing)}"
            rules[f"<search-{key}>"] = [
                (0.24, f"{She} looked <place> . <search-{key}>"),
                (0.16, f"Then {she} asked a <stranger> . <search-{key}>"),
                (0.35, f"At last {she} found it <place> . <end-{key}>"),
                (0.25, f"{Her} friend found it <place> . <end-{key}>"),
            ]
            rules[f"<end-{key}>"] = told(
                (0.35, "home", f"So {she} carried it home to the {home} ."),
                (0.25, "thing", f"That night {she} slept beside {her} {_key(thing)} ."),
                (0.22, "friend", f"Then {she} danced with {friend} ."),
                (0.18, "loves", f"Now {she} is happy and dreams of {loves} ."),
            )
    return {name: tuple((p, tuple(text.split())) for p, text in each) for name, each in rules.items()}


def _key(thing: str) -> str:
    return thing.split()[-1]


GRAMMAR = Grammar(_rules(), "<story>")
ALPHABET = "".join(sorted({c for token in GRAMMAR.counts() if not is_nonterminal(token) for c in token} | {" ", END}))


# From tokens to text and back

MARKS = ".,"  # punctuation: no space before it


def spell(tokens: tuple[str, ...]) -> str:
    """Return the text of tokens: words with a space between them, punctuation without one before it."""
    return "".join(token if token in MARKS or k == 0 else f" {token}" for k, token in enumerate(tokens))


def words(story: str) -> tuple[str, ...] | None:
    """Return the tokens of a text, words and punctuation, or None when `spell` could not have written it.

    Raises:
        ValueError: no str.
    """
    if not isinstance(story, str):
        raise ValueError(f"a story must be a str, got {type(story).__name__}; decode tokens first")
    tokens = tuple(re.findall(rf"[A-Za-z]+|[{MARKS}]", story))
    return tokens if tokens and spell(tokens) == story else None


# Exact quantities

UNITS = ("character", "token")


def log_prob(story: str) -> float:
    """Return the log-probability of a story (without END) in nats; -inf when the grammar never writes it.

    END follows every story for certain and costs nothing. ValueError for what is no str.
    """
    return -math.inf if (tokens := words(story)) is None else GRAMMAR.log_prob(tokens)


def derivations(story: str) -> int:
    """Return how many ways the grammar has to write a story: 1, or 0 when it never does. ValueError for no str."""
    return 0 if (tokens := words(story)) is None else GRAMMAR.derivations(tokens)


def entropy() -> float:
    """Return the entropy of a story in nats: what the best of all models pays for one on average."""
    return GRAMMAR.entropy()


def expected_length(unit: str = "character") -> float:
    """Return the expected length of a story, END counted, in characters or in tokens (words and punctuation).

    Raises:
        ValueError: another unit.
    """
    if unit not in UNITS:
        raise ValueError(f"unit must be 'character' or 'token', got {unit!r}")
    counts = {token: n for token, n in GRAMMAR.counts().items() if not is_nonterminal(token)}
    if unit == "token":
        return sum(counts.values()) + 1
    # a space before every word: the one that the first word lacks is made up for by END
    return sum(n * (len(token) + (token not in MARKS)) for token, n in counts.items())


def floor_per_character() -> float:
    """Return entropy / expected length, END counted: the least nats per character of any model of a long text of tales.

    It is the limit of total nats over total characters, not the mean of each story's own ratio.
    """
    return entropy() / expected_length("character")


def floor_per_token() -> float:
    """Return entropy / expected length, END counted: the least nats per word or punctuation mark."""
    return entropy() / expected_length("token")


# What must be remembered

ENDINGS = {  # what the last word names -> the words that it may be
    "thing": tuple(_key(thing) for thing in THINGS),
    **{
        fact: tuple(facts[fact] for name, facts in FACTS.items() if (name, fact) not in NEVER_TOLD)
        for fact in ("home", "friend", "loves")
    },
}


class Ending(NamedTuple):
    """The last word of a story, and where the story decided it."""

    beginning: str  # the story up to the last word, without the space before it
    last: str  # the last word, without the full stop
    kind: str  # what it names: a key of ENDINGS
    distance: int  # characters between the clue (the hero's name, or the thing when lost) and the last word
    told: bool  # whether the last word stands in the beginning; if not, only what is known of the hero gives it


def ending(story: str) -> Ending:
    """Take a story apart at its last word, which its beginning decides: the hero's home, friend or love, or the thing.

    After `beginning` no other word is possible, but what decides it stands `distance` characters back: the hero's name,
    or the thing where it was lost (nearer, where the fact itself was `told`). A model that has forgotten it is left to
    guess among `ENDINGS[kind]`.

    Raises:
        ValueError: no str, or no story of the grammar.
    """
    if not derivations(story):
        raise ValueError(f"not a story of the grammar: {story!r}; load('tales') has some")
    beginning, last = story[:-1].rsplit(" ", 1)
    kind = next(kind for kind, among in ENDINGS.items() if last in among)
    clue = re.search(rf"\b{last}\b" if kind == "thing" else r"(?<= called )\w+", beginning)
    told = re.search(rf"\b{last}\b", beginning) is not None
    return Ending(beginning, last, kind, len(beginning) + 1 - clue.end(), told)


def tales(split: str = "train", *, n: int | None = None, seed: int = 0) -> TextSet:
    """Return n stories, drawn independently; every one closes with END in `text`.

    A short story may occur twice, and in both splits: both are fair draws of one distribution.

    Args:
        split: "train" (10,000 by default) or "test" (1,000).
        n: how many.
        seed: other seeds give other draws of the same distribution; at least 0.
    Raises:
        ValueError: n or seed out of range.
    """
    n = {"train": 10_000, "test": 1_000}[split] if n is None else n
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    stories = tuple(spell(GRAMMAR.sample(generator)[0]) for _ in range(n))
    return TextSet("tales", "".join(story + END for story in stories), stories)
