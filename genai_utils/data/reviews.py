"""Reviews: one to four clauses about a film, a cafe, a hotel or a phone, whose sentiment no single word decides.

A grammar writes them for a sentiment and a topic drawn first, so that both are known; `sentiment` is a second, separate
way to the truth, which reads the text. The rules, which are those of the judge too:

- a review says what its last sentence says; there, what stands after "but", and the main clause beside an "although",
  counts;
- a clause says what its last word of praise or blame says, turned round by each negation (by "not", "hardly", "anything
  but", "nobody", "used to be", "no longer", ...) and by a comparison in which the other one comes first.

Words follow Zipf's law, so that few labels show few of the words, and many texts without labels show all of them.

Sources: ours. Zipf 1949, Human Behavior and the Principle of Least Effort (the law).
Shapes:  N reviews of a split.
"""

import re
from functools import cache

import torch

from genai_utils.data.grammar import Grammar, Rules
from genai_utils.data.tales import spell
from genai_utils.data.tasks import LabelledText, check_draw

CLASSES = ("negative", "positive")
SIGNS = ("neg", "pos")  # as they stand in the names of the rules

# Words, the commonest first: the word of rank k has a probability in proportion to 1 / k.
PRAISE = (
    "good great lovely excellent nice pleasant wonderful superb impressive delightful fine splendid brilliant charming "
    "marvellous fantastic remarkable terrific admirable exquisite stunning magnificent outstanding faultless"
).split()
BLAME = (
    "bad poor awful disappointing terrible mediocre dreadful horrible annoying unpleasant dismal weak hopeless lousy "
    "appalling ghastly woeful abysmal atrocious pathetic miserable deplorable wretched frustrating"
).split()
VERBS = {  # I <past>, I did not <base>
    "pos": {"loved": "love", "liked": "like", "enjoyed": "enjoy", "admired": "admire", "adored": "adore"},
    "neg": {"hated": "hate", "disliked": "dislike", "regretted": "regret", "loathed": "loathe", "detested": "detest"},
}
TOPICS = {
    "film": {
        "saw": "saw",
        "seen": "seen",
        "all": "every minute of it",
        "aspect": "plot acting music ending story script cast dialogue pacing opening camerawork direction villain "
        "soundtrack editing heroine lighting scenery",
        "pos": "gripping moving witty thrilling original clever touching imaginative stirring heartfelt suspenseful "
        "inventive riveting spellbinding",
        "neg": "dull predictable wooden clumsy shallow tedious corny muddled contrived lifeless sluggish soppy "
        "plodding hackneyed",
    },
    "cafe": {
        "saw": "visited",
        "seen": "visited",
        "all": "every bite of it",
        "aspect": "coffee cake soup tea bread breakfast salad sandwich lunch pie pastry dessert omelette jam "
        "chocolate biscuit porridge lemonade",
        "pos": "tasty fresh delicious crisp creamy juicy fragrant sweet hearty mellow flavourful buttery "
        "wholesome scrumptious",
        "neg": "stale bitter soggy bland dry lukewarm greasy burnt watery sour tasteless rubbery mouldy rancid",
    },
    "hotel": {
        "saw": "tried",
        "seen": "tried",
        "all": "every hour of it",
        "aspect": "room bed shower view pool lobby garden bathroom balcony lift hall mattress corridor bar "
        "carpet sauna kitchen wardrobe",
        "pos": "clean quiet comfortable cosy spacious sunny elegant airy spotless peaceful welcoming restful luxurious "
        "immaculate",
        "neg": "dirty noisy cramped damp dingy shabby smelly stuffy filthy draughty musty grubby squalid threadbare",
    },
    "phone": {
        "saw": "bought",
        "seen": "owned",
        "all": "every bit of it",
        "aspect": "screen battery camera speaker keyboard charger software signal case button microphone display "
        "memory processor torch manual headset casing",
        "pos": "fast sharp reliable bright sturdy responsive durable sleek handy efficient intuitive robust precise "
        "nimble",
        "neg": "slow faulty flimsy blurry fragile dim unreliable buggy grainy wobbly outdated brittle jerky scratchy",
    },
}
PEOPLE = "sister brother mother father friend neighbour aunt uncle cousin teacher".split()
DAYS = "Sunday Saturday Friday Monday Thursday Tuesday Wednesday".split()

# A clause that says S about topic T; O is the opposite of S. The two sorts are turned round as often as WEIGHTS says.
STRAIGHT = {
    "the <aspect-T> was <how-T-S>": 6,
    "I <past-S> the <aspect-T>": 3,
    "I <past-S> <all-T>": 1,
    "the <aspect-T> was not only <common-S> but also <own-T-S>": 2,
    "the <aspect-T> is as <word-T-S> as ever": 1,
    "the <aspect-T> used to be <word-T-S> and still is": 1,
    "my <who> was right to call the <aspect-T> <word-T-S>": 1,
    "this T was twice as <word-T-S> as the last one": 1,
    "the last T was half as <word-T-S> as this one": 1,
    "I have never <seen-T> a <better-S> T": 1,
}
TURNED = {
    "the <aspect-T> was <not> <word-T-O>": 6,
    "the <aspect-T> was not <word-T-O> at all": 3,
    "I did not <base-O> the <aspect-T>": 2,
    "nothing about the <aspect-T> was <word-T-O>": 1,
    "there was nothing <word-T-O> about the <aspect-T>": 1,
    "the <aspect-T> used to be <word-T-O>": 2,
    "the <aspect-T> is no longer <word-T-O>": 1,
    "nobody could call the <aspect-T> <word-T-O>": 1,
    "my <who> was wrong to call the <aspect-T> <word-T-O>": 1,
    "this T was half as <word-T-O> as the last one": 1,
    "this T was not as <word-T-O> as the last one": 1,
    "the last T was twice as <word-T-O> as this one": 1,
    "I have <seen-T> a <better-O> T": 1,
}
WHOLE = {  # a review that says S
    "<clause-T-S> .": 5,
    "<clause-T-S> , and <clause-T-S> .": 4,
    "<clause-T-S> . <clause-T-S> .": 2,
    "<clause-T-O> , but <clause-T-S> .": 2,
    "although <clause-T-O> , <clause-T-S> .": 1,
    "<clause-T-S> , although <clause-T-O> .": 1,
    "<clause-T-O> . still , <clause-T-S> .": 1,
    "<clause-T-O> , but <clause-T-S> , and <clause-T-S> .": 2,
}
WEIGHTS = {"straight": 0.77, "turned": 0.23}


def _among(weights: dict[str, float], share: float = 1.0) -> list[tuple[float, str]]:
    total = sum(weights.values())
    return [(share * weight / total, symbols) for symbols, weight in weights.items()]


def _zipf(words: list[str]) -> list[tuple[float, str]]:
    return _among({word: 1 / rank for rank, word in enumerate(words, start=1)})


def _rules() -> Rules:
    """Return the rules of all topics and both sentiments; a review is <review-T-S>."""
    rules = {
        "<who>": _zipf(PEOPLE),
        "<day>": _zipf(DAYS),
        "<not>": _zipf(["not", "hardly", "never", "far from", "anything but"]),
        "<better-pos>": [(1.0, "better")],
        "<better-neg>": [(1.0, "worse")],
        "<common-pos>": _zipf(PRAISE),
        "<common-neg>": _zipf(BLAME),
    }
    for sign, verbs in VERBS.items():
        rules[f"<past-{sign}>"], rules[f"<base-{sign}>"] = _zipf(list(verbs)), _zipf(list(verbs.values()))
    for topic, about in TOPICS.items():
        rules |= {f"<seen-{topic}>": [(1.0, about["seen"])], f"<all-{topic}>": [(1.0, about["all"])]}
        rules[f"<aspect-{topic}>"] = _zipf(about["aspect"].split())
        rules[f"<opening-{topic}>"] = [
            (0.5, f"I {about['saw']} this {topic} with my <who> ."),
            (0.5, f"we {about['saw']} this {topic} on <day> ."),
        ]
        for sign, other in (SIGNS, SIGNS[::-1]):

            def fill(alternatives, T: str = topic, S: str = sign, O: str = other) -> list[tuple[float, str]]:
                """Put a topic and the signs in place of T, S and O."""
                names = {"T": T, "S": S, "O": O}
                return [(p, re.sub(r"\b[TSO]\b", lambda found: names[found[0]], text)) for p, text in alternatives]

            straight, turned = _among(STRAIGHT, WEIGHTS["straight"]), _among(TURNED, WEIGHTS["turned"])
            rules[f"<own-{topic}-{sign}>"] = _zipf(about[sign].split())
            rules[f"<word-{topic}-{sign}>"] = fill([(0.5, "<common-S>"), (0.5, "<own-T-S>")])
            how = {"<word-T-S>": 4, "very <word-T-S>": 1, "truly <word-T-S>": 1, "<common-S> and <own-T-S>": 4}
            rules[f"<how-{topic}-{sign}>"] = fill(_among(how))
            rules[f"<clause-{topic}-{sign}>"] = fill(straight + turned)
            rules[f"<whole-{topic}-{sign}>"] = fill(_among(WHOLE))
            rules[f"<review-{topic}-{sign}>"] = fill([(0.2, "<opening-T> <whole-T-S>"), (0.8, "<whole-T-S>")])
    return {name: tuple((p, tuple(text.split())) for p, text in each) for name, each in rules.items()}


@cache
def grammar(topic: str, sign: str) -> Grammar:
    """Return the grammar of the reviews about a topic (a key of TOPICS) that are "neg" or "pos".

    Raises:
        ValueError: no such topic or sign.
    """
    if topic not in TOPICS or sign not in SIGNS:
        raise ValueError(f"topic must be one of {', '.join(TOPICS)} and sign one of neg, pos, got {topic!r}, {sign!r}")
    return Grammar(_rules(), f"<review-{topic}-{sign}>")


def write(tokens: tuple[str, ...]) -> str:
    """Return the text of a review's tokens: as `spell` has it, every sentence with a capital."""
    return re.sub(r"(^|\. )([a-z])", lambda found: found[1] + found[2].upper(), spell(tokens))


# The judge: reads the text and knows nothing of the rules above but the words

VALUE = {
    **{word: 1 for word in PRAISE} | {word: -1 for word in BLAME} | {"better": 1, "worse": -1},
    **{word: 1 for about in TOPICS.values() for word in about["pos"].split()},
    **{word: -1 for about in TOPICS.values() for word in about["neg"].split()},
    **{word: 1 for pair in VERBS["pos"].items() for word in pair},
    **{word: -1 for pair in VERBS["neg"].items() for word in pair},
}
TURNS = (  # each that is found turns a clause round
    r"\bnot\b(?! only)",
    r"\bnever\b(?! \w+ a (better|worse))",
    r"\b(hardly|far from|anything but|nothing|nobody|no longer|wrong|half)\b",
    r"\bused to be\b(?!.* still is$)",
    r"^the last \w+ was\b",
    r"^I have (?!never)\w+ a (better|worse)\b",
)


def sentiment(text: str) -> int:
    """Return what a review says, 0 (negative) or 1 (positive), by reading it: the rules are those of this module.

    Raises:
        ValueError: no str, or the clause that decides has no word of praise or blame that is known.
    """
    if not isinstance(text, str):
        raise ValueError(f"a review must be a str, got {type(text).__name__}; decode tokens first")
    last = [sentence for sentence in re.split(r"\.\s*", text.strip()) if sentence] or [""]
    clause = last[-1][:1].lower() + last[-1][1:]
    clause = re.sub(r"^i\b", "I", clause)
    if clause.startswith("although "):
        clause = clause.partition(", ")[2]
    clause = clause.partition(", although ")[0]
    clause = re.split(r", (?:but|and) |^still, ", clause)[-1]
    values = [VALUE[word] for word in clause.split() if word in VALUE]
    if not values:
        raise ValueError(f"no word of praise or blame in {clause!r}, which decides; load('reviews') has reviews")
    turns = sum(re.search(turn, clause) is not None for turn in TURNS)
    return int(values[-1] * (-1) ** turns > 0)


def reviews(split: str = "train", *, n: int | None = None, seed: int = 0) -> LabelledText:
    """Return n reviews with their sentiment, drawn independently; `extra` has the topics.

    `labels` is 0 (negative) or 1 (positive), each with probability 1/2. `extra["topics"]` is (N,) int64, an index into
    `extra["topic_names"]`, each with probability 1/4, whatever the sentiment. The text decides both: no review can be
    written for two of them. A short review may occur twice, and in both splits: both are fair draws of one
    distribution.

    Args:
        split: "train" (10,000 by default) or "test" (1,000).
        n: how many.
        seed: other seeds give other draws of the same distribution; at least 0.
    Raises:
        ValueError: n or seed out of range.
    """
    n = check_draw(n, seed, {"train": 10_000, "test": 1_000}, split)
    generator = torch.Generator().manual_seed(2 * seed + (split == "test"))
    documents, labels, topics = [], [], []
    for _ in range(n):
        label, topic = torch.randint(2, (), generator=generator), torch.randint(len(TOPICS), (), generator=generator)
        documents.append(write(grammar(list(TOPICS)[topic], SIGNS[label]).sample(generator)[0]))
        labels.append(label)
        topics.append(topic)
    extra = {"topics": torch.stack(topics), "topic_names": tuple(TOPICS)}
    return LabelledText("reviews", tuple(documents), torch.stack(labels), CLASSES, extra)
