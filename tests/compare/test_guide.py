"""The guide's rules: reasons have evidence that exists, what cannot be is ruled out, and answers make a difference."""

import itertools
import random
import re
from pathlib import Path

import pytest

from genai_utils.compare import guide
from genai_utils.compare.protocol import Protocol
from genai_utils.results import load_results

ROOT = Path(__file__).resolve().parents[2]
GANS = ("dcgan", "wgan_gp", "stylegan2", "cyclegan")
FLOWS = ("realnvp", "glow", "flow_matching")
ONE = {"data": "image", "aim": "quality", "amount": "some", "compute": "gpu"}


@pytest.fixture(scope="module")
def values():
    return load_results(21)["values"]


@pytest.fixture(scope="module")
def rules(values):
    return guide.build_rules(values)


@pytest.fixture(scope="module")
def first_three(rules):
    """Families of the first three places, by the answers in the order of QUESTIONS."""
    return {tuple(a.values()): tuple(c.family for c in guide.rank(a, rules)[:3]) for a in guide.all_answers()}


def table(better, **intervals):
    """Results of one measure, "size", from (low, high) by family."""
    cells = {name: {"size": {"value": (a + b) / 2, "low": a, "high": b, "n": 3}} for name, (a, b) in intervals.items()}
    return {"measures": {"size": {"title": "Size", "unit": "cm", "better": better}}, "summary": {"flops": cells}}


def scores(values):
    return {rule.family: rule.score for rule in guide.build_rules(values, "always\n  measured size")}


# ---- the rules as they are


def test_every_paper_that_a_rule_cites_is_in_the_bibliography(rules):
    known = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"), re.M))
    cited = {item[6:] for rule in rules for item in rule.evidence if item.startswith("paper:")}
    assert cited - known == set()


def test_every_rule_has_evidence_that_exists(rules, values):
    for rule in rules:
        assert rule.evidence, rule
        for item in rule.evidence:
            kind, _, rest = item.partition(":")
            if kind == "result":
                number, _, path = rest.partition(":")
                assert isinstance(guide.number_of(int(number), path), float | int)
            elif kind == "measure":
                assert rest in values["measures"]
            else:
                assert kind == "paper"


def test_rules_that_rest_on_the_comparison_cover_all_its_families(rules, values):
    for key in ("frechet", "validity", "recall", "coverage", "images_per_second", "accuracy", "stability"):
        title = values["measures"][key]["title"]
        mine = {r.family for r in rules if r.evidence == (f"measure:{key}",) and r.text.startswith(f"{title}: ")}
        assert mine == {name for name in guide.FAMILIES if key in values["summary"]["flops"].get(name, {})}, key


def test_what_is_called_measured_on_pictures_is_in_the_comparison(rules, values):
    called = {r.family for r in rules if "chapter 21 measures" in r.text or "Measured on pictures" in r.text}
    assert len(called) == 12
    assert {name for name in called if "frechet" not in values["summary"]["flops"].get(name, {})} == set()


def test_the_page_tells_the_scale_of_the_comparison():
    text, protocol = (ROOT / "book" / "choose.md").read_text(encoding="utf-8"), Protocol()
    assert "a hundred thousand parameters" in text and protocol.parameters == 100_000
    assert f"{protocol.side}×{protocol.side}" in text


def test_no_percentage_and_no_place_is_written_by_hand():
    text = (ROOT / "genai_utils" / "compare" / "guide_rules.txt").read_text(encoding="utf-8")
    by_hand = re.sub(r"<.+?>", "", text, flags=re.S)
    assert re.findall(r"\d %|(?:AUROC|Fréchet|place) \d|of the twelve", by_hand) == []


@pytest.mark.parametrize("data", guide.QUESTIONS["data"][1])
def test_every_family_has_one_verdict_for_each_kind_of_data(rules, data):
    verdicts = [rule.family for rule in rules if rule.when == (("data", (data,)),)]
    assert sorted(verdicts) == sorted(guide.FAMILIES)


def test_every_family_has_one_caveat_that_always_holds(rules):
    assert sorted(rule.family for rule in rules if rule.when == () and rule.score == 0) == sorted(guide.FAMILIES)


def test_chapters_of_the_families_exist():
    files = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {family.chapter for family in guide.FAMILIES.values() if family.chapter} - files == set()


def test_a_planned_family_says_so(rules):
    caveats = {rule.family: rule.text for rule in rules if rule.when == ()}
    for name, family in guide.FAMILIES.items():
        assert ("Planned chapter" in caveats[name]) == (family.chapter is None), name


# ---- what they lead to


@pytest.mark.parametrize("key", guide.QUESTIONS)
def test_any_two_answers_to_a_question_differ_for_somebody(first_three, key):
    place = list(guide.QUESTIONS).index(key)
    for one, other in itertools.combinations(guide.QUESTIONS[key][1], 2):
        swapped = [(a, (*a[:place], other, *a[place + 1 :])) for a in first_three if a[place] == one]
        assert any(first_three[a] != first_three[b] for a, b in swapped), f"{one} and {other} lead to the same"


def test_every_family_is_first_for_somebody_or_a_better_one_is_named(rules):
    places = guide.places(rules)
    assert set(places) == set(guide.FAMILIES)
    for name, (place, answers, first) in places.items():
        found = [choice.family for choice in guide.rank(answers, rules)]
        assert found.index(name) == place and found[0] == first
        assert place == 0 or first != name
    assert sum(place == 0 for place, _, _ in places.values()) > len(guide.FAMILIES) / 2


def test_best_place_is_the_best_over_all_answers(rules, first_three):
    places = guide.places(rules)
    for name in guide.FAMILIES:
        assert (places[name][0] == 0) == any(found[0] == name for found in first_three.values())


def test_every_answer_leaves_three_families_that_have_a_reason(rules):
    for answers in guide.all_answers():
        best = guide.rank(answers, rules)[:3]
        assert len(best) == 3, answers
        assert any(reason.points > 0 for reason in best[0].reasons), answers


@pytest.mark.parametrize(
    "key, answer, families",
    [
        ("aim", "likelihood", (*GANS, "bert")),
        ("data", "text", (*GANS, *FLOWS)),
    ],
    ids=["no likelihood", "no text"],
)
def test_what_cannot_be_is_ruled_out_and_said(rules, key, answer, families):
    for answers in guide.all_answers():
        if answers[key] != answer:
            continue
        out = guide.excluded(answers, rules)
        assert set(families) <= set(out)
        assert not set(out) & {choice.family for choice in guide.rank(answers, rules)}
        assert len(out) + len(guide.rank(answers, rules)) == len(guide.FAMILIES)
        assert all(reason.text and reason.evidence for found in out.values() for reason in found)


def test_an_exact_likelihood_is_preferred_to_a_bound_and_an_estimate(rules):
    verdict = {rule.family: rule.points for rule in rules if rule.when == (("aim", ("likelihood",)),) and rule.score}
    exact, estimate, bound = ("pixelcnn", "gpt", "realnvp", "glow"), ("flow_matching", "ddim"), ("vae", "vqvae", "ddpm")
    for better, worse in ((exact, estimate), (estimate, bound)):
        assert min(verdict[name] for name in better) > max(verdict[name] for name in worse)


def test_recommend_sorts_by_total_and_gives_the_same_again(values, rules):
    order = list(guide.FAMILIES)
    for answers in itertools.islice(guide.all_answers(), 0, None, 7):
        found = guide.recommend(answers, values)
        assert found == guide.rank(dict(reversed(answers.items())), rules)
        keys = [(-choice.score, order.index(choice.family)) for choice in found]
        assert keys == sorted(keys)
        assert all(choice.score == sum(reason.points for reason in choice.reasons) for choice in found)
        assert all([r.points for r in c.reasons] == sorted((r.points for r in c.reasons), reverse=True) for c in found)


def test_situations_are_answers():
    given = [dict(zip(guide.QUESTIONS, answers)) for answers in guide.SITUATIONS.values()]
    assert all(answers in list(guide.all_answers()) for answers in given)
    assert 10 <= len(given) <= 14 and len({tuple(a.values()) for a in given}) == len(given)


@pytest.mark.parametrize(
    "bad",
    [
        {"data": "video"},
        {"aim": None},
        {"amount": "Thousands"},
        {"compute": ""},
        {"budget": "none"},
    ],
    ids=lambda bad: next(iter(bad)),
)
def test_bad_answers_are_refused_by_name(rules, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        guide.rank(ONE | bad, rules)


def test_a_missing_answer_is_refused(values):
    with pytest.raises(ValueError, match=r"compute .* laptop, gpu, many; got None"):
        guide.recommend({key: ONE[key] for key in ("data", "aim", "amount")}, values)


# ---- scores that come from measurements


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_the_clearly_best_gets_two_and_the_clearly_worst_minus_two(better):
    found = scores(table(better, vae=(1, 2), glow=(3, 4), ddim=(5, 6), dcgan=(7, 8), gpt=(9, 10)))
    want = {"vae": 2, "glow": 1, "ddim": 0, "dcgan": -1, "gpt": -2}
    assert found == {name: score if better == "lower" else -score for name, score in want.items()}


def test_overlapping_intervals_are_no_difference():
    assert set(scores(table("lower", vae=(1, 9), glow=(2, 3), ddim=(2.5, 8))).values()) == {0}


def test_scores_turn_around_when_the_measure_does_and_ignore_the_order_of_families():
    numbers = random.Random(0)
    for _ in range(50):
        names = numbers.sample(list(guide.FAMILIES), 7)
        spans = {name: tuple(sorted((numbers.random(), numbers.random()))) for name in names}
        low = scores(table("lower", **spans))
        assert {name: -score for name, score in low.items()} == scores(table("higher", **spans))
        assert low == scores(table("lower", **dict(sorted(spans.items()))))
        assert all(-2 <= score <= 2 for score in low.values())


def test_a_family_without_the_measure_gets_no_rule():
    assert "dcgan" not in scores(table("lower", vae=(1, 2), glow=(3, 4)))


def test_the_words_hold_the_numbers_and_who_is_better():
    (best, other) = guide.build_rules(table("lower", vae=(1, 2), glow=(3, 4)), "always\n  measured size")
    assert best.text == "Size: 1.5 cm (1 to 2), clearly the best of 2, at this book's small scale."
    assert "Size: 3.5 cm (3 to 4), clearly the worst of 2" in other.text


def test_better_numbers_make_a_better_place(values):
    swapped = {**values, "summary": {"flops": dict(values["summary"]["flops"])}}
    ranks = {rule.family: rule.score for rule in guide.build_rules(values) if rule.evidence == ("measure:frechet",)
             and rule.when[:2] == (("data", ("image",)), ("aim", ("quality",)))}  # fmt: skip
    best, worst = max(ranks, key=ranks.get), min(ranks, key=ranks.get)
    assert ranks[best] > ranks[worst]
    cells = values["summary"]["flops"]
    for one, other in ((best, worst), (worst, best)):
        swapped["summary"]["flops"][one] = {**cells[one], "frechet": cells[other]["frechet"]}
    place = lambda name, given: [c.family for c in guide.recommend(ONE, given)].index(name)
    assert place(best, swapped) > place(best, values) and place(worst, swapped) < place(worst, values)


# ---- numbers of other chapters, and what is refused


def test_a_quoted_number_is_the_stored_one():
    stored = load_results(3)["values"]
    text = "always\n  vae 1 So <3:tones_temperature.1.agreement %> and <3:bits.pixelcnn>."
    (rule,) = guide.build_rules(table("lower", vae=(1, 2)), text)
    share, bits = stored["tones_temperature"]["1"]["agreement"]["value"], stored["bits"]["pixelcnn"]["value"]
    assert rule.text == f"So {100 * share:.0f} % and {bits:.3g}."
    assert rule.evidence == ("result:3:tones_temperature.1.agreement", "result:3:bits.pixelcnn")


def test_a_star_is_the_mean_over_a_level():
    runs = load_results(2)["values"]["copy"]["runs"]["transformer"]
    want = sum(run["160"]["right"] for run in runs) / len(runs)
    assert guide.number_of(2, "copy.runs.transformer.*.160.right") == pytest.approx(want)


@pytest.mark.parametrize("path", ["no.such", "bits.pixelcnn.value.more", "bits.kinds.pixelcnn", "ood.sets.*.best", ""])
def test_a_result_that_is_not_there_or_no_number_is_refused(path):
    with pytest.raises(ValueError, match="chapter 3"):
        guide.number_of(3, path)


@pytest.mark.parametrize(
    "text, message",
    [
        ("always\n  measured width", "no measure 'width'"),
        ("always\n  vae 1 Good. <21:width>", "no measure 'width'"),
        ("always\n  vae 1 Good.", "without evidence"),
        ("always\n  vae 3 Good. [kingma2014vae]", "from -2 to 2"),
        ("always\n  vea 1 Good. [kingma2014vae]", "no family vea"),
        ("always\n  vae good [kingma2014vae]", "not families, a score and a reason"),
        ("data=video\n  vae 1 Good. [kingma2014vae]", "data=video"),
        ("price=low\n  vae 1 Good. [kingma2014vae]", "price=low"),
    ],
)
def test_a_line_that_is_no_rule_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        guide.build_rules(table("lower", vae=(1, 2), glow=(3, 4)), text)


def test_a_measure_that_knows_no_better_cannot_recommend():
    with pytest.raises(ValueError, match="better or worse"):
        scores(table("none", vae=(1, 2), glow=(3, 4)))


def test_the_script_is_one_plain_file():
    text = (ROOT / "assets" / "guide.js").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 250
    assert re.findall(r"^\s*(?:import|export)\b|\bfetch\(|https?:|\beval\(|innerHTML", text, re.M) == []
