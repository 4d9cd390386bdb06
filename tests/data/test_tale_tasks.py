"""Questions and summaries of tales: what they say is what the story's derivation says."""

import hashlib
import re
from collections import Counter

import pytest

from genai_utils.data import load
from genai_utils.data.tale_tasks import KINDS, lead, questions, summary
from genai_utils.data.tales import FACTS, FEMALE, GRAMMAR, THINGS, words
from genai_utils.data.tasks import PairedText, QuestionSet

TRAIN = load("tale_questions", n=1_200)


def derivation(story: str) -> list[tuple[str, tuple[str, ...]]]:
    """The rules that wrote a story, (nonterminal, symbols) from left to right: the next token decides each."""
    tokens, rules, stack, place = words(story), [], [GRAMMAR.start], 0
    while stack:
        symbol = stack.pop()
        if symbol in GRAMMAR.rules:
            fits = [each for _, each in GRAMMAR.rules[symbol] if tokens[place] in opens(each[0])]
            assert len(fits) == 1
            rules.append((symbol, fits[0]))
            stack.extend(reversed(fits[0]))
        else:
            assert tokens[place] == symbol
            place += 1
    return rules


def opens(symbol: str) -> set[str]:
    if symbol not in GRAMMAR.rules:
        return {symbol}
    return set().union(*(opens(each[0]) for _, each in GRAMMAR.rules[symbol]))


def truth(story: str) -> dict[str, set[str]]:
    """Kind -> the right answers, of a story's derivation."""
    rules = derivation(story)
    end = next(name for name, _ in rules if name.startswith("<end-"))
    _, hero, key = end[1:-1].split("-")
    facts = FACTS[hero]
    right = {"hero": {hero}, "kind": {facts["kind"]}, "thing": {t for t in THINGS if t.endswith(key)}}
    after, asked, looked, row = "", [], [], []
    for name, symbols in rules:
        text = " ".join(symbols)
        if name == "<place>" and after == "looked":
            looked.append(text)
        elif name == "<place>":
            right["found"] = {text}
        elif name == "<when>":
            right["when"] = {text}
        elif name == "<stranger>":
            row = row if after == "knew" else []
            row.append(symbols[0])
            asked += [symbols[0]] if len(row) == 1 else []
        elif name == "<did>" and "knew" not in symbols:
            for a, b in zip(row, row[1:]):
                right.setdefault(f"knew {b}", set()).add(a)
                right.setdefault(f"known {a}", set()).add(b)
            right.setdefault(f"did {text}", set()).add(row[-1])
        elif name.startswith(("<home-", "<dear-", "<end-")):
            for fact, sign in (("home", "Home was"), ("home", "carried it"), ("loves", " loved "), ("friend", "best")):
                if sign in text:
                    right[fact] = {facts[fact]}
        after = next((word for word in ("looked", "knew") if word in symbols), "")
    if looked:
        right |= {"looked first": {looked[0]}, "looked last": {looked[-1]}}
    if asked:
        right |= {"asked first": {asked[0]}, "asked last": {asked[-1]}}
    return right


def key_of(kind: str, question: str) -> str:
    """The key of `truth` that a question asks for."""
    if kind == "did":
        return f"did {question[4:-1]}"
    if kind == "knew":
        return f"knew {question[:-1].split()[-1]}"
    return f"known {question.split()[3]}" if kind == "known" else kind


def test_tale_tasks_bytes_are_those_recorded():
    asked, told = load("tale_questions", n=500), load("tale_summaries", n=500)
    lines = "".join(
        f"{s} {q} {a} {b}\n" for s, q, a, b in zip(asked.stories, asked.questions, asked.starts, asked.ends)
    )
    assert hashlib.sha256(lines.encode()).hexdigest() == RECORDED["questions"]
    assert hashlib.sha256("\n".join(told.targets).encode()).hexdigest() == RECORDED["summaries"]


def test_every_answer_is_the_one_that_the_derivation_gives():
    for story in load("tale_questions", n=250, seed=1).stories:
        right = truth(story)
        for kind, (question, start, end) in questions(story).items():
            assert right[key_of(kind, question)] == {story[start:end]}, (story, question)


def test_every_kind_that_the_derivation_answers_is_asked():
    for story in load("tale_questions", n=250, seed=2).stories:
        right = truth(story)
        told = set(right) & {"hero", "kind", "thing", "found", "when", "home", "loves", "friend"}
        told |= set(right) & {"looked first", "asked first"}
        told |= {
            kind
            for kind in ("knew", "known", "did")
            for k, v in right.items()
            if k.startswith(f"{kind} ") and len(v) == 1
        }
        assert set(questions(story)) - {"looked last", "asked last"} == told, story


def test_strangers_in_a_row_are_told_apart():
    story = "Once there lived a shy fox called Finn. One day he lost his tin drum. Then he asked a snail who knew a "
    story += (
        "toad who knew a crow who yawned. Then he asked a crow who only smiled. He looked up the hill. He looked by "
    )
    story += "the pond. Her friend found it".replace("Her", "His") + " behind the barn. Then he danced with Ada."
    found = {kind: (question, story[a:b]) for kind, (question, a, b) in questions(story).items()}
    assert found["knew"] == ("Who knew a toad?", "snail") and found["known"] == ("Whom did the snail know?", "toad")
    assert found["did"] == ("Who yawned?", "crow")
    assert found["asked first"][1] == "snail" and found["asked last"][1] == "crow"
    assert found["looked first"][1] == "up the hill" and found["looked last"][1] == "by the pond"
    assert found["found"][1] == "behind the barn" and "home" not in found and "friend" not in found
    assert (
        summary(story) == "Finn the fox lost his tin drum, a friend found it behind the barn, and he danced with Ada."
    )


def test_questions_hold_their_span_and_come_in_every_kind():
    assert set(TRAIN.extra["kinds"]) == set(KINDS) and len(TRAIN) == 1_200
    for story, answer, start, end in zip(TRAIN.stories, TRAIN.answers, TRAIN.starts, TRAIN.ends):
        assert story[start:end] == answer
    for kind, question, story, start in zip(TRAIN.extra["kinds"], TRAIN.questions, TRAIN.stories, TRAIN.starts):
        assert questions(story)[kind][:2] == (question, start)
    assert min(Counter(TRAIN.extra["kinds"]).values()) >= 10


def test_place_in_the_story_does_not_give_the_answer_away():
    """Of several places in a story, the first, the one before the last and the last are each wrong about as often."""
    chosen = [k for k, kind in enumerate(TRAIN.extra["kinds"]) if kind in ("found", "looked first", "looked last")]
    named = "under the bridge|behind the barn|in the tall grass|by the pond|up the hill"
    places = {k: re.findall(named, TRAIN.stories[k]) for k in chosen}
    several = [k for k in chosen if len(places[k]) > 1]
    for pick in (0, -2, -1):
        right = sum(places[k][pick] == TRAIN.answers[k] for k in several)
        assert right / len(several) < 0.85, pick


def test_summaries_are_what_the_derivation_says():
    data = load("tale_summaries", n=300)
    for story, text in zip(data.sources, data.targets):
        right = truth(story)
        (hero,), (kind,), (thing,), (found,) = (right[key] for key in ("hero", "kind", "thing", "found"))
        she, her = ("she", "her") if hero in FEMALE else ("he", "his")
        last = next(symbols for name, symbols in derivation(story) if name.startswith("<end-"))
        ending = " ".join(last[:-1]).split(f" {she} ", 1)[1]
        finder = "a friend" if "friend found it" in story else she
        assert text == f"{hero} the {kind} lost {her} {thing}, {finder} found it {found}, and {she} {ending}."


def test_lead_and_copy_never_are_the_summary():
    data = load("tale_summaries", "test", n=300)
    assert all(lead(story) != text != story for story, text in zip(data.sources, data.targets))
    assert lead(data.sources[0]) == data.sources[0].split(". ")[0] + "."
    assert sum(map(len, data.targets)) < 0.7 * sum(map(len, data.sources))


def test_tale_tasks_are_the_same_for_a_seed_and_others_for_another():
    for name in ("tale_questions", "tale_summaries"):
        draws = [load(name, split, n=4, seed=seed) for split in ("train", "test") for seed in (0, 1)]
        assert len({getattr(d, "stories", getattr(d, "sources", None)) for d in draws}) == 4
        assert load(name, n=4) == draws[0]


def test_tale_tasks_refuse_bad_input():
    for name in ("tale_questions", "tale_summaries"):
        with pytest.raises(ValueError, match="n must be at least 1, got 0"):
            load(name, n=0)
        with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
            load(name, seed=-1)
    for function in (questions, summary):
        with pytest.raises(ValueError, match="not a story of the grammar: 'Once'"):
            function("Once")
        with pytest.raises(ValueError, match="must be a str"):
            function(None)
    with pytest.raises(ValueError, match="must be a str, got NoneType"):
        lead(None)


def test_containers_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="targets must be 2, one for each item, got 1"):
        PairedText("some", ("a", "b"), ("c",))
    with pytest.raises(ValueError, match="sources must be a tuple"):
        PairedText("some", (), ())
    with pytest.raises(ValueError, match=r"story\[1:2\] is 'b', not the answer 'a'"):
        QuestionSet("some", ("ab",), ("q?",), ("a",), (1,), (2,))
    with pytest.raises(ValueError, match="not the answer"):
        QuestionSet("some", ("ab",), ("q?",), ("b",), (-1,), (2,))
    with pytest.raises(ValueError, match="starts and ends must be 1 each, got 2 and 1"):
        QuestionSet("some", ("ab",), ("q?",), ("b",), (1, 1), (2,))


RECORDED = {
    "questions": "09898284037e70254eb22444186f0a461e6f735e8b887b0f95252317778ff394",
    "summaries": "1546b34bea7f52d2f4ef0f6ce094ba6cd18789821904bb4071e773219b0056e8",
}
