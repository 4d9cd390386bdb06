"""Tasks about tales: questions whose answers stand in the story, and summaries in one sentence.

No sentence of a tale can be read in two ways (genai_utils/data/tales.py), so what happens in it is certain: `happened`
takes a story apart, and both tasks are made of what it finds.

Sources: ours. The form of the questions, an answer that is a span of the text, is that of Rajpurkar et al. 2016,
         arXiv:1606.05250 (SQuAD).
Shapes:  N items of a split.
"""

import re
from typing import NamedTuple

import torch

from genai_utils.data.tales import FEMALE, GRAMMAR, derivations, spell
from genai_utils.data.tasks import PairedText, QuestionSet, check_draw


class Happened(NamedTuple):
    """What a story tells. Each is a match whose group 1 has the words and their place in the story; None: not told."""

    hero: re.Match
    kind: re.Match  # of animal
    home: re.Match | None  # where it is named first
    loves: re.Match | None  # only where the story says "loved"
    friend: re.Match | None  # only where the story says "best friend"
    when: re.Match | None  # it was lost; None when the wind took it
    thing: re.Match  # that was lost
    looked: tuple[re.Match, ...]  # places, in order
    asked: tuple[re.Match, ...]  # the first of each row of strangers, in order
    knew: tuple[re.Match, ...]  # group 1 knew group 2
    did: tuple[re.Match, ...]  # group 1 did group 2, which ends a row of strangers
    finder: str  # "hero" or "friend"
    found: re.Match  # the place
    last: str  # the last sentence, without its full stop


def happened(story: str) -> Happened:
    """Return what happens in a story of the grammar.

    Raises:
        ValueError: no str, or no story of the grammar.
    """
    if not derivations(story):
        raise ValueError(f"not a story of the grammar: {story!r:.80}; load('tales') has some")

    def one(pattern: str) -> re.Match | None:
        return re.search(pattern, story)

    def every(pattern: str) -> tuple[re.Match, ...]:
        return tuple(re.finditer(pattern, story))

    return Happened(
        hero=one(r"called (\w+)\."),
        kind=one(r"(\w+) called"),
        home=one(r"(?:Home was the|home to the) (\w+)"),
        loves=one(r"loved (\w+)"),
        friend=one(r"best friend was (\w+)"),
        when=one(r"One ([\w ]+) s?he lost"),
        thing=one(r"(?:lost|took) (?:his|her) (\w+ \w+)"),
        looked=every(r"looked ([\w ]+)\."),
        asked=every(r"asked a (\w+)"),
        knew=every(r"(\w+) who knew a (?=(\w+))"),
        did=every(r"(\w+) who (yawned|shrugged|only smiled)"),
        finder="friend" if one(r"friend found it") else "hero",
        found=one(r"found it ([\w ]+)\."),
        last=story[:-1].rsplit(". ", 1)[1],
    )


# Questions

PLAIN = ("hero", "kind", "home", "loves", "friend", "when", "thing", "found")
# Few stories answer these: where one does, they are drawn so many times as often as a plain one.
WINDING = {"looked first": 2, "looked last": 8, "asked first": 2, "asked last": 8, "knew": 8, "known": 8, "did": 3}
KINDS = (*PLAIN, *WINDING)


def questions(story: str) -> dict[str, tuple[str, int, int]]:
    """Return kind -> (question, start, end) for every question that a story answers: story[start:end] does.

    The kinds are among KINDS. A kind is there when the story tells, and when one answer only is right; where the same
    words stand in several places, the span is the first place that tells. "home", "loves" and "friend" ask for what is
    said of the hero. Where several places were searched, "found", "looked first" and "looked last" have answers of one
    form that only reading tells apart, and so have "knew", "known" and "did" of strangers.

    Raises:
        ValueError: no str, or no story of the grammar.
    """
    told = happened(story)
    name, thing = told.hero[1], told.thing[1].split()[-1]
    asked = {
        "hero": ("Who is the story about?", told.hero),
        "kind": (f"What kind of animal was {name}?", told.kind),
        "home": (f"Where was the home of {name}?", told.home),
        "loves": (f"What did {name} love?", told.loves),
        "friend": (f"Who was the best friend of {name}?", told.friend),
        "when": (f"When did {name} lose the {thing}?", told.when),
        "thing": (f"What did {name} no longer have?", told.thing),
        "found": (f"Where was the {thing} found?", told.found),
    }
    if told.looked:
        asked["looked first"] = (f"Where did {name} look first?", told.looked[0])
    if len(told.looked) > 1:
        asked["looked last"] = (f"Where did {name} look last?", told.looked[-1])
    if told.asked:
        asked["asked first"] = (f"Whom did {name} ask first?", told.asked[0])
    if len(told.asked) > 1:
        asked["asked last"] = (f"Whom did {name} ask last?", told.asked[-1])
    answers = {kind: (text, *match.span(1)) for kind, (text, match) in asked.items() if match}
    for kind, rows, ask, given, wanted in (
        ("knew", told.knew, "Who knew a {}?", 2, 1),
        ("known", told.knew, "Whom did the {} know?", 1, 2),
        ("did", told.did, "Who {}?", 2, 1),
    ):
        for row in rows:  # the first row that no other contradicts
            if len({other[wanted] for other in rows if other[given] == row[given]}) == 1:
                answers[kind] = (ask.format(row[given]), *row.span(wanted))
                break
    return answers


def tale_questions(split: str = "train", *, n: int | None = None, seed: int = 0) -> QuestionSet:
    """Return n questions, each about a tale of its own: stories[k][starts[k]:ends[k]] is answers[k].

    The kind is drawn among those that the story answers (`questions`), those of WINDING more often, since few stories
    answer them; `extra["kinds"]` has it. A short story
    may occur twice, and in both splits, as in `tales`.

    Args:
        split: "train" (10,000 by default) or "test" (1,000).
        n: how many.
        seed: other seeds give other draws of the same distribution; at least 0.
    Raises:
        ValueError: n or seed out of range.
    """
    n = check_draw(n, seed, {"train": 10_000, "test": 1_000}, split)
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    stories, asked, spans, kinds = [], [], [], []
    for _ in range(n):
        story = spell(GRAMMAR.sample(generator)[0])
        possible = questions(story)
        urn = [kind for kind in possible for _ in range(WINDING.get(kind, 1))]
        kind = urn[torch.randint(len(urn), (), generator=generator)]
        question, start, end = possible[kind]
        stories.append(story)
        asked.append(question)
        spans.append((start, end))
        kinds.append(kind)
    answers = tuple(story[start:end] for story, (start, end) in zip(stories, spans))
    starts, ends = zip(*spans)
    return QuestionSet("tale_questions", tuple(stories), tuple(asked), answers, starts, ends, {"kinds": tuple(kinds)})


# Summaries


def summary(story: str) -> str:
    """Return a story in one sentence: who lost what, who found it where, and how it ended.

    Raises:
        ValueError: no str, or no story of the grammar.
    """
    told = happened(story)
    she, her = ("she", "her") if told.hero[1] in FEMALE else ("he", "his")
    finder = she if told.finder == "hero" else "a friend"
    thing, ending = told.thing[1], re.sub(r"^(So|That night|Then|Now) (s?he) ", "", told.last)
    return (
        f"{told.hero[1]} the {told.kind[1]} lost {her} {thing}, {finder} found it {told.found[1]}, and {she} {ending}."
    )


def lead(story: str) -> str:
    """Return the first sentence of a story: the summary that needs no reading. ValueError for no str."""
    if not isinstance(story, str):
        raise ValueError(f"a story must be a str, got {type(story).__name__}; decode tokens first")
    return story.partition(".")[0] + "."


def tale_summaries(split: str = "train", *, n: int | None = None, seed: int = 0) -> PairedText:
    """Return n tales (`sources`) and their summaries in one sentence (`targets`), which the story decides wholly.

    The baselines are `lead`, the first sentence, and the story itself. A short story may occur twice, and in both
    splits, as in `tales`.

    Args:
        split: "train" (10,000 by default) or "test" (1,000).
        n: how many.
        seed: other seeds give other draws of the same distribution; at least 0.
    Raises:
        ValueError: n or seed out of range.
    """
    n = check_draw(n, seed, {"train": 10_000, "test": 1_000}, split)
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    stories = tuple(spell(GRAMMAR.sample(generator)[0]) for _ in range(n))
    return PairedText("tale_summaries", stories, tuple(summary(story) for story in stories))
