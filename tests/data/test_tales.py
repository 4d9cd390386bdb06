"""Grammar and tales: entropy, lengths and log-probabilities are exact, no story is ambiguous, facts are always so."""

import hashlib
import itertools
import math
import re
from collections import Counter, defaultdict

import pytest
import torch

from genai_utils.data import CharTokenizer, TextSet, load
from genai_utils.data.grammar import Grammar, is_nonterminal
from genai_utils.data.tales import (
    ALPHABET,
    COMMON,
    ENDINGS,
    FACTS,
    GRAMMAR,
    HEROES,
    MARKS,
    NEVER_TOLD,
    THINGS,
    derivations,
    ending,
    entropy,
    expected_length,
    floor_per_character,
    floor_per_token,
    log_prob,
    spell,
    words,
)
from genai_utils.data.tokenizers import END

STORIES = load("tales", n=3_000, seed=11).documents
NATS = [-log_prob(story) for story in STORIES]
FINITE = {  # ambiguous: "a a a" has two derivations, "a a a b" three
    "<s>": ((0.5, ("<x>", "<y>")), (0.3, ("a", "<y>", "b")), (0.2, ("b",))),
    "<x>": ((0.6, ("a",)), (0.4, ("a", "a"))),
    "<y>": ((0.7, ("a",)), (0.2, ("a", "a")), (0.1, ("<x>", "b"))),
}
CHAIN = {"<s>": ((0.4, ("a", "<s>")), (0.6, ("b",)))}
TREE = {"<s>": ((0.3, ("(", "<s>", "<s>", ")")), (0.7, ("x",)))}


def rules_drawn(rules: dict, symbol: str) -> list[tuple[tuple[str, ...], float]]:
    """Every derivation of a finite grammar, as (sentence, product of the probabilities of its rules)."""
    if not is_nonterminal(symbol):
        return [((symbol,), 1.0)]
    out = []
    for p, symbols in rules[symbol]:
        for parts in itertools.product(*(rules_drawn(rules, s) for s in symbols)):
            out.append((sum((tokens for tokens, _ in parts), ()), p * math.prod(q for _, q in parts)))
    return out


def mean_and_error(values: list[float]) -> tuple[float, float]:
    x = torch.tensor(values, dtype=torch.float64)
    return x.mean().item(), (x.std() / len(x) ** 0.5).item()


# any grammar


def test_grammar_log_prob_and_derivations_are_those_of_all_derivations_of_a_finite_grammar():
    p, trees = defaultdict(float), Counter()
    for sentence, q in rules_drawn(FINITE, "<s>"):
        p[sentence] += q
        trees[sentence] += 1
    grammar = Grammar(FINITE, "<s>")
    assert max(trees.values()) == 3 and len(p) == 9  # so that sums and counts are put to the test
    for sentence in p:
        assert math.exp(grammar.log_prob(sentence)) == pytest.approx(p[sentence], rel=1e-12)
        assert grammar.derivations(sentence) == trees[sentence]
    assert math.fsum(math.exp(grammar.log_prob(s)) for s in p) == pytest.approx(1, abs=1e-12)
    for other in ((), ("a",), ("b", "b"), ("a", "b", "b", "b"), ("a",) * 5, ("c",)):
        assert other not in p and grammar.log_prob(other) == -math.inf and grammar.derivations(other) == 0


def test_ambiguous_sentence_has_two_derivations_and_log_prob_sums_both():
    grammar = Grammar(FINITE, "<s>")
    assert grammar.derivations(("a", "a", "a")) == 2
    assert math.exp(grammar.log_prob(("a", "a", "a"))) == pytest.approx(0.5 * (0.6 * 0.2 + 0.4 * 0.7), rel=1e-12)


def test_nested_recursion_has_catalan_many_trees_when_ambiguous():
    grammar = Grammar({"<s>": ((0.3, ("a", "<s>", "<t>")), (0.7, ("a",))), "<t>": ((1.0, ("<s>",)),)}, "<s>")
    # a <s> <s>: binary trees with every node a token, so n = 2 k + 1 tokens have Catalan(k) trees
    for k in range(7):
        n = 2 * k + 1
        catalan = math.comb(2 * k, k) // (k + 1)
        assert grammar.derivations(("a",) * n) == catalan
        assert grammar.log_prob(("a",) * n) == pytest.approx(math.log(catalan * 0.3**k * 0.7 ** (k + 1)), rel=1e-12)
        assert grammar.derivations(("a",) * (n + 1)) == 0


def test_grammar_entropy_and_counts_meet_the_closed_form_of_a_chain_and_of_trees():
    chain, tree = Grammar(CHAIN, "<s>"), Grammar(TREE, "<s>")

    def h(p: float) -> float:
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    assert chain.counts() == pytest.approx({"<s>": 1 / 0.6, "a": 0.4 / 0.6, "b": 1.0})
    assert chain.entropy() == pytest.approx(h(0.4) / 0.6, rel=1e-12)
    assert tree.counts()["<s>"] == pytest.approx(1 / (1 - 2 * 0.3))
    assert tree.counts()["x"] == pytest.approx(tree.counts()["("] + 1)  # a binary tree has one leaf more
    assert tree.entropy() == pytest.approx(h(0.3) / (1 - 2 * 0.3), rel=1e-12)
    long = ("a",) * 3_000 + ("b",)  # neither underflow nor too deep a recursion
    assert chain.log_prob(long) == pytest.approx(3_000 * math.log(0.4) + math.log(0.6), rel=1e-12)


def test_grammar_entropy_is_that_of_the_sentences_when_there_are_no_conflicts_and_more_when_some_are_ambiguous():
    clear = {"<s>": ((0.5, ("a", "<x>")), (0.5, ("b", "<x>", "<x>"))), "<x>": ((0.9, ("c",)), (0.1, ("d", "d")))}
    for rules, unique in ((clear, True), (FINITE, False)):
        p = defaultdict(float)
        for sentence, q in rules_drawn(rules, "<s>"):
            p[sentence] += q
        exact, grammar = -math.fsum(q * math.log(q) for q in p.values()), Grammar(rules, "<s>")
        if unique:
            assert not grammar.conflicts() and grammar.entropy() == pytest.approx(exact, rel=1e-12)
        else:
            assert grammar.conflicts() and grammar.entropy() > exact + 0.01


def test_conflicts_are_seen_through_nonterminals_and_only_at_the_first_token():
    rules = {"<s>": ((0.5, ("<x>", "c")), (0.5, ("<y>", "d"))), "<x>": ((1.0, ("<z>",)),), "<y>": ((1.0, ("a",)),)}
    rules["<z>"] = ((0.5, ("a", "a")), (0.5, ("b",)))
    assert Grammar(rules, "<s>").conflicts() == [("<s>", "a")]
    apart = {"<s>": ((0.4, ("a",)), (0.3, ("b",)), (0.3, ("a", "b")))}  # the first and the last collide
    assert Grammar(apart, "<s>").conflicts() == [("<s>", "a")]
    assert Grammar(CHAIN, "<s>").conflicts() == Grammar(TREE, "<s>").conflicts() == []


def test_grammar_samples_as_often_as_its_probabilities_say():
    grammar, g, n = Grammar(FINITE, "<s>"), torch.Generator().manual_seed(0), 4_000
    seen = Counter(grammar.sample(g)[0] for _ in range(n))
    assert all(grammar.derivations(sentence) for sentence in seen)
    for sentence in {s for s, _ in rules_drawn(FINITE, "<s>")}:
        p = math.exp(grammar.log_prob(sentence))
        assert abs(seen[sentence] / n - p) < 4 * (p * (1 - p) / n) ** 0.5, sentence


def test_grammar_sampling_repeats_with_its_generator_and_long_sentences_use_fresh_chance():
    grammar = Grammar({"<s>": ((0.99, ("<d>", "<s>")), (0.01, ("!",))), "<d>": ((0.5, "0"), (0.5, "1"))}, "<s>")
    draws = [[grammar.sample(torch.Generator().manual_seed(seed)) for _ in range(2)] for seed in range(5)]
    assert all(a == b for a, b in draws)
    longest = max((a[0] for a, _ in draws), key=len)
    assert len(longest) > 96 and longest[:32] != longest[32:64]  # 64 uniforms are 32 digits


def test_grammar_refuses_what_is_no_grammar():
    def refused(said: str, start: str = "<s>", **rules):
        with pytest.raises(ValueError, match=said):
            Grammar({f"<{name}>" if len(name) == 1 else name: each for name, each in rules.items()}, start)

    refused("<s> must sum to 1, got 0.9", s=((0.5, ("a",)), (0.4, ("b",))))
    refused("<s> must sum to 1, got 0", s=())
    refused("above 0, got 0;", s=((1.0, ("a",)), (0.0, ("b",))))
    refused("above 0, got nan", s=((math.nan, ("a",)), (1.0, ("b",))))
    refused("<s> calls <t>, which has no rules", s=((1.0, ("a", "<t>")),))
    refused("without symbols", s=((0.5, ("a",)), (0.5, ())))
    refused("start '<q>' has no rules", start="<q>", s=((1.0, ("a",)),))
    refused("'noun' must stand in angle brackets", s=((1.0, ("a",)),), noun=((1.0, ("b",)),))
    refused("left recursion among <s>, <t>", s=((1.0, ("<t>",)),), t=((0.1, ("<s>", "a")), (0.9, ("b",))))
    for p in (0.5, 0.6):  # on the border sentences end, but their mean length is infinite
        refused("<s> calls itself once or more", s=((p, ("a", "<s>", "<s>")), (1 - p, ("b",))))
    refused("<s>, <t> calls itself", s=((1.0, ("a", "<t>")),), t=((1.0, ("b", "<s>")),))
    with pytest.raises(ValueError, match="sequence of str"):
        Grammar(CHAIN, "<s>").log_prob("ab")
    with pytest.raises(ValueError, match="sequence of str"):
        Grammar(CHAIN, "<s>").derivations([1, 2])


def test_grammar_takes_long_chains_without_recursion():
    names = [f"<n{k}>" for k in range(60)]  # nilpotent, with entries of 2: eigenvalues would be lost in rounding
    rules = {a: ((1.0, ("x", b, b) if k < 6 else ("x", b)),) for k, (a, b) in enumerate(zip(names, names[1:]))}
    grammar = Grammar(rules | {names[-1]: ((1.0, ("y",)),)}, names[0])
    assert grammar.counts()["y"] == pytest.approx(2**6)


# tales: exactness


def test_tales_bytes_are_those_recorded():
    for split, recorded in RECORDED.items():
        stories = load("tales", split, n=1_000).text
        assert hashlib.sha256(stories.encode()).hexdigest() == recorded, split


def test_tales_have_no_conflicts_so_that_no_story_of_the_language_has_two_derivations():
    assert GRAMMAR.conflicts() == []


def test_every_sampled_story_has_exactly_one_derivation():
    assert {derivations(story) for story in STORIES} == {1}


def test_log_prob_of_a_sampled_story_is_the_product_of_the_rules_drawn():
    g = torch.Generator().manual_seed(3)
    for _ in range(500):
        tokens, drawn = GRAMMAR.sample(g)
        assert log_prob(spell(tokens)) == pytest.approx(drawn, abs=1e-9)
        assert words(spell(tokens)) == tokens


def test_log_prob_of_a_story_worked_out_by_hand():
    story = "Once there lived a small and lucky cat called Cleo. One day she lost her red kite. "
    story += "She looked up the hill. Her friend found it by the pond. Then she danced with Otto."
    by_hand = [0.5, 0.28, 0.25, 0.3, 0.18]  # opening, small, and, lucky, Cleo (of whom no home is told: no choice)
    by_hand += [0.25, 0.7, 0.4, 0.26, 0.24, 0.1, 0.25, 0.14]  # no fact, lost, day, kite, looked, hill, friend, pond
    by_hand += [0.22 / 0.65]  # danced, of the endings without home
    assert log_prob(story) == pytest.approx(math.fsum(map(math.log, by_hand)), abs=1e-12)


def test_entropy_is_what_stories_cost_on_average():
    mean, error = mean_and_error(NATS)
    assert abs(mean - entropy()) < 4 * error and error < 0.02 * entropy()


def test_expected_lengths_are_the_mean_lengths_with_end_counted():
    for unit, lengths in (
        ("character", [len(story + END) for story in STORIES]),
        ("token", [len(words(story)) + 1 for story in STORIES]),
    ):
        mean, error = mean_and_error(lengths)
        assert abs(mean - expected_length(unit)) < 4 * error, unit


def test_expected_length_counts_end_and_the_spaces_exactly():
    counts = {token: n for token, n in GRAMMAR.counts().items() if not is_nonterminal(token)}
    tokens = sum(counts.values())
    spaces = tokens - sum(n for token, n in counts.items() if token in MARKS) - 1  # before every word but the first
    letters = sum(n * len(token) for token, n in counts.items())
    assert expected_length("token") == pytest.approx(tokens + 1, rel=1e-12)
    assert expected_length() == pytest.approx(letters + spaces + 1, rel=1e-12)


def test_floors_are_entropy_over_length_with_end_counted():
    assert floor_per_character() == pytest.approx(entropy() / expected_length("character"), rel=1e-12)
    assert floor_per_token() == pytest.approx(entropy() / expected_length("token"), rel=1e-12)
    for floor, lengths in (
        (floor_per_character(), [len(story) + 1 for story in STORIES]),
        (floor_per_token(), [len(words(story)) + 1 for story in STORIES]),
    ):
        ratio = sum(NATS) / sum(lengths)
        _, error = mean_and_error([a - floor * b for a, b in zip(NATS, lengths)])  # delta method
        assert abs(ratio - floor) < 4 * error * len(lengths) / sum(lengths)


class NGrams:
    """Characters given the `order` before them, counted on stories with END, plus one for every character."""

    def __init__(self, stories: tuple[str, ...], order: int) -> None:
        self.order, self.seen, self.total = order, Counter(), Counter()
        for story in stories:
            for context, c in self.pairs(story):
                self.seen[context, c] += 1
                self.total[context] += 1

    def pairs(self, story: str):
        text = END * self.order + story + END
        return ((text[i - self.order : i], text[i]) for i in range(self.order, len(text)))

    def log_prob(self, story: str) -> float:
        V = len(ALPHABET)
        return sum(math.log((self.seen[c, x] + 1) / (self.total[c] + V)) for c, x in self.pairs(story))


def refitted(stories: tuple[str, ...]) -> Grammar:
    """The tales' grammar with the common rules' probabilities counted on few stories, plus one: as close as it gets."""
    text = Counter(token for story in stories for token in words(story))
    rules = dict(GRAMMAR.rules)
    for name in ("<adjective>", "<trait>", "<when>", "<place>", "<did>"):
        counts = [1 + text[symbols[0]] for _, symbols in rules[name]]
        rules[name] = tuple((c / sum(counts), s) for c, (_, s) in zip(counts, rules[name]))
    return Grammar(rules, GRAMMAR.start)


def test_no_model_beats_the_exact_log_prob_on_fresh_stories():
    other, fresh = load("tales", n=400, seed=5).documents, load("tales", "test", n=300, seed=5).documents
    exact, close = [log_prob(story) for story in fresh], refitted(other[:40])
    models = {f"{order} characters": NGrams(other, order).log_prob for order in (0, 2, 4, 8)}
    models["refitted grammar"] = lambda story: close.log_prob(words(story))
    gaps = {}
    for name, log_q in models.items():
        gaps[name], error = mean_and_error([p - log_q(story) for p, story in zip(exact, fresh)])
        assert gaps[name] >= -3 * error, name
    assert abs(gaps["refitted grammar"]) < 0.5 < gaps["4 characters"] < gaps["0 characters"]  # close ones and far ones


def test_log_prob_is_minus_infinity_for_what_is_no_story():
    story = STORIES[0]
    spaced = (" " + story, story.replace(" ", "  ", 1), story.replace(".", " .", 1))
    for bad in ("", story + END, story[:-1], *spaced, story.lower(), story + story, f"{story} {story}", "é"):
        assert log_prob(bad) == -math.inf and derivations(bad) == 0, bad
    for bad in (None, 3, story.encode(), torch.zeros(3, dtype=torch.int64)):
        for function in (log_prob, derivations, ending, words):
            with pytest.raises(ValueError, match="must be a str"):
                function(bad)


# tales: the world


def test_tales_are_a_text_set_of_stories_that_end_closes():
    train, test = load("tales"), load("tales", "test")
    assert isinstance(train, TextSet) and len(train) == 10_000 and len(test) == 1_000
    assert train.text == "".join(story + END for story in train.documents)
    assert not any(END in story for story in train.documents) and not set(train.text) - set(ALPHABET)
    assert len(ALPHABET) <= 45 and CharTokenizer(ALPHABET).decode(test.tokens(CharTokenizer(ALPHABET))) == test.text
    known = set(train.documents)
    assert sum(story in known for story in test.documents) < 30  # short stories occur twice by chance, few do


def test_tales_are_short():
    lengths = torch.tensor([len(story) for story in STORIES]).double()
    sentences = torch.tensor([story.count(".") for story in STORIES]).double()
    assert ((lengths >= 100) & (lengths <= 300)).double().mean() > 0.9
    assert ((sentences >= 3) & (sentences <= 8)).double().mean() > 0.9


def test_tales_with_another_seed_or_split_differ_and_more_stories_begin_alike():
    draws = [load("tales", split, n=5, seed=seed).text for split in ("train", "test") for seed in (0, 1, 2)]
    assert len(set(draws)) == 6
    assert load("tales", n=9).documents[:5] == load("tales", n=5).documents


def test_facts_are_so_in_every_story():
    told = Counter()
    patterns = {
        "kind": r"(\w+) called ",
        "home": r"Home was the (\w+)\.|home to the (\w+)\.",
        "friend": r"best friend was (\w+)\.|danced with (\w+)\.|loved \w+ and (\w+) the",
        "loves": r"loved (\w+)|dreams of (\w+)\.",
    }
    for story in STORIES:
        hero = re.search(r"called (\w+)\.", story)[1]
        for fact, pattern in patterns.items():
            for found in re.findall(pattern, story):
                assert FACTS[hero][fact] in found, (hero, fact, story)
                told[hero, fact] += 1
        for friend, kind in re.findall(r"and (\w+) the (\w+)\.", story):
            assert FACTS[friend]["kind"] == kind
    assert set(told) == set(itertools.product(FACTS, patterns)) - NEVER_TOLD


def test_never_told_facts_are_no_words_of_the_grammar():
    for hero, fact in NEVER_TOLD:
        assert FACTS[hero][fact] not in GRAMMAR.counts()
    assert {len({facts[key] for facts in FACTS.values()}) for key in ("kind", "home", "friend", "loves")} == {6}


def test_heroes_keep_their_pronoun():
    for story in STORIES:
        shes, hes = (len(re.findall(rf"(?i)\b({a}|{b})\b", story)) for a, b in (("she", "her"), ("he", "his")))
        assert (shes == 0) != (hes == 0)


def test_the_last_word_is_the_only_one_possible_among_those_of_its_kind():
    kinds = Counter()
    for story in STORIES[:300]:
        end = ending(story)
        kinds[end.kind] += 1
        assert f"{end.beginning} {end.last}." == story
        possible = [word for word in ENDINGS[end.kind] if derivations(f"{end.beginning} {word}.")]
        assert possible == [end.last]
    assert set(kinds) == set(ENDINGS) and min(kinds.values()) > 30


def test_ending_tells_where_the_last_word_was_decided():
    start = "Once there lived a shy fox called Finn. His best friend was Ada. One day he lost his tin drum."
    found = " At last he found it by the pond."
    a = ending(start + found + " Then he danced with Ada.")
    b = ending(start + found + " That night he slept beside his drum.")
    c = ending(start + found + " So he carried it home to the forest.")
    assert (a.last, a.kind, a.told) == ("Ada", "friend", True)
    assert (b.last, b.kind, b.told) == ("drum", "thing", True)
    assert (c.last, c.kind, c.told) == ("forest", "home", False)
    name = start.index("Finn") + len("Finn")
    assert a.distance == len(start[name:] + found + " Then he danced with ")
    assert b.distance == len("." + found + " That night he slept beside his ")
    with pytest.raises(ValueError, match="not a story of the grammar: 'Once'"):
        ending("Once")


def test_most_endings_that_need_the_hero_lie_a_hundred_characters_behind_the_name():
    ends = [end for end in map(ending, STORIES[:500]) if end.kind != "thing"]
    assert sum(end.distance >= 100 for end in ends) / len(ends) > 0.9
    assert 0.3 < sum(end.told for end in ends) / len(ends) < 0.7


def test_words_of_endings_tell_their_kind():
    every = [word for among in ENDINGS.values() for word in among]
    assert len(every) == len(set(every)) == 5 + 5 + 6 + 5


def test_tables_of_the_world_fit_each_other():
    assert set(HEROES) == set(FACTS) and math.fsum(HEROES.values()) == math.fsum(THINGS.values()) == pytest.approx(1)
    assert {facts["friend"] for facts in FACTS.values()} == set(FACTS)
    assert all(facts["friend"] != hero for hero, facts in FACTS.items())
    assert all(math.fsum(p for p, _ in each) == pytest.approx(1) for each in COMMON.values())


def test_tales_refuse_bad_input():
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        load("tales", n=0)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        load("tales", seed=-1)
    with pytest.raises(ValueError, match="unit must be 'character' or 'token', got 'word'"):
        expected_length("word")
    with pytest.raises(ValueError, match="no option kind; it has n, seed"):
        load("tales", kind="sad")


RECORDED = {
    "train": "2a5fb614e73922c36f35663624c8c852e3a7065759f25a3a1ef8e47f5bee0665",
    "test": "52b837a038d711e0f91e62ab56eb86c06b4e1da28fc6b65445170d3cf83705be",
}
