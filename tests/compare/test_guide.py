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
    """Families that are proposed, by the answers in the order of QUESTIONS."""
    return {tuple(a.values()): proposed(a, rules) for a in guide.all_answers()}


def proposed(answers, rules):
    return tuple(choice.family for choice in guide.proposed(guide.rank(answers, rules)))


def table(better, unit="cm", kinds=None, **intervals):
    """Results of one measure, "size", from (low, high) by family; `kinds` of families."""
    cells = {
        name: {"size": {"value": (a + b) / 2, "low": a, "high": b, "n": 3, "seeds": 3}}
        for name, (a, b) in intervals.items()
    }
    for name, kind in (kinds or {}).items():
        cells[name]["size"]["kind"] = kind
    return {"measures": {"size": {"title": "size", "unit": unit, "better": better}}, "summary": {"flops": cells}}


def measured(values):
    return {rule.family: rule for rule in guide.build_rules(values, "always\n  measured size")}


def scores(values):
    return {name: rule.score for name, rule in measured(values).items()}


def shuffled(values, seed):
    """Chapter 21's results with each measure's cells given to other families, and none for `stability` and the like."""
    numbers, summary = random.Random(seed), {}
    for key in ("frechet", "precision", "recall", "coverage", "images_per_second", "accuracy", "bits_per_dim"):
        cells = [cell[key] for cell in values["summary"]["flops"].values() if key in cell]
        for name, cell in zip(numbers.sample(sorted(values["summary"]["flops"]), len(cells)), cells):
            summary.setdefault(name, {})[key] = cell
    return {**values, "summary": {"flops": summary}}


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
    for key in ("frechet", "precision", "coverage", "images_per_second", "accuracy", "bits_per_dim"):
        title = values["measures"][key]["title"]
        title = title[0].upper() + title[1:]
        mine = {r.family for r in rules if r.evidence == (f"measure:{key}",) and r.text.startswith(f"{title}: ")}
        assert mine == {name for name in guide.FAMILIES if key in values["summary"]["flops"].get(name, {})}, key


def test_measures_that_mislead_here_give_no_points(rules):
    """Equally bad from all seeds is steady, one number has no range, noise is surely classified, few are not 20,000,
    and samples scattered wide have a recall above the mark."""
    used = {item for rule in rules for item in rule.evidence}
    assert not used & {f"measure:{key}" for key in ("stability", "lr_sensitivity", "validity", "memorised", "recall")}
    places = {item: rule.when for rule in rules for item in rule.evidence if rule.text.endswith("small scale.")}
    assert places["measure:frechet"] == places["measure:precision"]
    assert places["measure:accuracy"] == (("data", ("image",)), ("aim", ("class",)), ("compute", ("laptop", "gpu")))
    assert places["measure:bits_per_dim"][1] == ("aim", ("likelihood",))


def test_what_is_called_measured_on_pictures_is_in_the_comparison(rules, values):
    called = {r.family for r in rules if "chapter 21 measures" in r.text}
    assert len(called) == 12
    assert {name for name in called if "frechet" not in values["summary"]["flops"].get(name, {})} == set()


def test_the_page_tells_the_scale_of_the_comparison():
    text, protocol = (ROOT / "book" / "choose.md").read_text(encoding="utf-8"), Protocol()
    assert "a hundred thousand parameters" in text and protocol.parameters == 100_000
    assert f"{protocol.side}×{protocol.side}" in text


def test_the_page_tells_how_often_equal_families_come_apart(values):
    text = (ROOT / "book" / "choose.md").read_text(encoding="utf-8")
    orders = list(itertools.permutations(range(6)))  # two families of three seeds, all orders equally likely
    apart = sum(max(order[:3]) < min(order[3:]) or min(order[:3]) > max(order[3:]) for order in orders)
    families = len([name for name in guide.FAMILIES if name in values["summary"]["flops"]])
    assert f"three seeds each, the ranges of two *equal* families are apart in 1 of {len(orders) // apart} " in text
    assert len(Protocol().seeds) == 3
    assert f"{families}\n  families are {families * (families - 1) // 2} pairs" in text
    assert "clearly" not in text


def test_the_page_has_one_name():
    text = (ROOT / "book" / "choose.md").read_text(encoding="utf-8")
    assert text.startswith("# How to choose a family\n") and "decision guide" not in text.lower()


def test_pictures_get_the_same_from_every_family(rules):
    mine = {rule.family: rule.score for rule in rules if rule.when == (("data", ("image",)),)}
    assert set(mine.values()) == {1, None}


def test_words_that_need_help_have_it(rules):
    texts = {rule.text for rule in rules}
    helped = {"AUROC": "(1 is right, 0.5 a guess)", "CRPS": "(CRPS: how far", "in W": "(less is smoother)"}
    for word, help in helped.items():
        assert any(word in text for text in texts)
        assert all(help in text for text in texts if re.search(rf"\b{word}\b", text)), word
    speech = [text for family, text in cited(rules, "kong2020hifigan") if family == "dcgan"]
    assert len(speech) == 3 and all("HiFi-GAN" in text for text in speech)


def cited(rules, key):
    return {(rule.family, rule.text) for rule in rules if f"paper:{key}" in rule.evidence}


def test_papers_are_cited_for_what_they_are_about(rules):
    assert {family for family, _ in cited(rules, "tian2024var")} == {"vqgan_parti", "vqvae"}
    assert {family for family, _ in cited(rules, "paine2016fast")} == {"wavenet"}
    assert {family for family, _ in cited(rules, "ramachandran2017fast")} == {"pixelcnn"}
    for key in ("peebles2023dit", "esser2024scaling"):
        assert all("code" in text for _, text in cited(rules, key)), key
    image = [rule for rule in rules if "paper:peebles2023dit" in rule.evidence]
    assert all(("data", ("image",)) in rule.when for rule in image)


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


@pytest.mark.parametrize("seed", range(3))
def test_only_families_with_evidence_for_what_matters_most_are_proposed(values, rules, seed):
    rules = guide.build_rules(shuffled(values, seed)) if seed else rules
    for answers in guide.all_answers():
        choices = guide.rank(answers, rules)
        shown, fitting = guide.proposed(choices), [choice for choice in choices if choice.fits]
        assert 1 <= len(shown) <= 3, answers
        for choice in shown if fitting else ():
            assert choice.fits and any(r.points > 0 and r.about_aim for r in choice.reasons), (answers, choice.family)
        assert fitting == choices[: len(fitting)]
        alone = [choice for choice in fitting if choice.family not in guide.ONE_NETWORK]
        assert not fitting or len(shown) == min(3, len(alone) + (len(alone) < len(fitting))), answers


def test_every_aim_has_a_family_for_all_data_whatever_is_measured(rules):
    written = [rule for rule in rules if not any(item.startswith("measure:") for item in rule.evidence)]
    for answers in guide.all_answers():
        measured_only = answers["data"] == "image" and answers["aim"] in ("quality", "speed")
        assert guide.rank(answers, written)[0].fits or (measured_only and answers["compute"] != "many"), answers


def test_evidence_for_the_aim_goes_before_points():
    text = "data=image\n  gpt 2 Big. [x]\naim=quality\n  vae 1 Good. [x]\n  ddim 1 Good. [x]\n  ddim -1 Bad. [x]"
    rules = guide.build_rules(table("lower", vae=(1, 2)), text + "\ncompute=gpu\n  vae -2 Dear. [x]")
    choices = guide.rank(ONE, rules)
    assert [(choice.family, choice.score) for choice in choices[:2]] == [("vae", 0), ("gpt", 2)]
    assert [choice.family for choice in guide.proposed(choices)] == ["vae"]
    none = guide.rank(ONE | {"aim": "speed"}, rules)
    assert not none[0].fits and none[0].family == "gpt" and len(guide.proposed(none)) == 3


def test_of_equals_the_one_with_more_for_the_aim_comes_first():
    text = "aim=quality\n  vae 1 Good. [x]\n  gpt 2 Good. [x]\ndata=image\n  vae 2 Good. [x]"
    choices = guide.rank(ONE, guide.build_rules(table("lower", vae=(1, 2)), text))
    assert [(choice.family, choice.score, choice.aim) for choice in choices[:2]] == [("gpt", 4, 4), ("vae", 4, 2)]


def test_two_samplers_of_one_network_take_one_place(rules, first_three):
    assert not any({"ddim", "ddpm"} <= set(found) for found in first_three.values())
    text = "aim=quality\n  ddpm 2 Good. [x]\n  ddim, vae, gpt 1 Good. [x]"
    assert proposed(ONE, guide.build_rules(table("lower", vae=(1, 2)), text)) == ("ddpm", "vae", "gpt")


def test_captions_are_for_what_reads_them(rules, first_three):
    for answers, found in first_three.items():
        if answers[:2] == ("image", "prompt"):
            assert set(found) <= {"latent_diffusion", "vqgan_parti", "flow_matching", "ddim", "stylegan2", "vqvae"}
            assert found[0] == "latent_diffusion"
    by_class = {rule.family for rule in rules if rule.when[:2] == (("data", ("image",)), ("aim", ("class",)))}
    assert {"vae", "dcgan", "ddim"} <= by_class
    for data in guide.QUESTIONS["data"][1]:
        assert first_three[data, "class", "some", "gpu"] != first_three[data, "prompt", "some", "gpu"]


def test_one_kind_of_picture_into_another_is_for_cyclegan(first_three):
    for compute in ("laptop", "gpu"):
        for amount in guide.QUESTIONS["amount"][1]:
            assert first_three["image", "translate", amount, compute][0] == "cyclegan"


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


@pytest.mark.parametrize(
    "data, exact, flows",
    [
        ("points", ("gpt", "realnvp"), ()),
        ("audio", ("gpt", "wavenet", "glow"), ()),
        ("image", ("pixelcnn", "image_transformer"), ("realnvp", "glow")),
    ],
)
def test_an_exact_likelihood_is_preferred_to_a_bound_and_an_estimate(rules, data, exact, flows):
    held = guide.matching(ONE | {"data": data, "aim": "likelihood"}, rules)
    mine = [r for r in held if r.about_aim and r.score is not None and not r.text.endswith("small scale.")]
    verdict = {rule.family: rule.points for rule in mine}
    ranks = [exact, flows, ("flow_matching", "ddim"), ("vae", "ddpm")]
    for better, worse in itertools.pairwise(filter(None, ranks)):
        assert min(verdict[name] for name in better) > max(verdict[name] for name in worse)
    told = " ".join(rule.text for rule in mine if rule.family == "glow" or rule.family == "realnvp")
    assert ("it gives a bound" in told) == (data == "image")


def test_recommend_sorts_by_total_and_gives_the_same_again(values, rules):
    order = list(guide.FAMILIES)
    for answers in itertools.islice(guide.all_answers(), 0, None, 7):
        found = guide.recommend(answers, values)
        assert found == guide.rank(dict(reversed(answers.items())), rules)
        keys = [(not choice.fits, -choice.score, -choice.aim, order.index(choice.family)) for choice in found]
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
def test_better_than_all_gets_two_and_worse_than_all_minus_two(better):
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
    found = measured(table("lower", vae=(1, 2), glow=(3, 4), ddim=(3.5, 5), dcgan=(8, 8)))
    assert found["vae"].text == "Size: 1.5 cm (1 to 2), best of 4, at this book's small scale."
    assert found["dcgan"].text == "Size: 8 cm, worst of 4, at this book's small scale."
    assert found["glow"].text == (
        "Size: 3.5 cm (3 to 4), better than 1 of 3 others, worse than 1 (ranges over three seeds do not touch), "
        "at this book's small scale."
    )
    assert "clearly" not in " ".join(rule.text for rule in found.values())


def test_words_for_repetitions_for_no_difference_and_for_none():
    values = table("lower", vae=(1, 2), glow=(1.5, 4), ddim=(3, 5))
    for cell in values["summary"]["flops"].values():
        cell["size"]["seeds"] = 1
    found = measured(values)
    assert "neither better nor worse than any of 2 others, at" in found["glow"].text
    assert "better than 1 of 2 others, worse than none (ranges over repetitions do not touch)," in found["vae"].text


@pytest.mark.parametrize("unit", ["share", "share of classes as asked for", "share of 210", ""])
def test_a_share_has_no_unit(unit):
    assert measured(table("higher", unit, vae=(0.25, 0.75), glow=(0.9, 1)))["vae"].text.startswith("Size: 0.5 (0.25 to")


def test_a_bound_beats_an_exact_value_and_nothing_else_is_known_of_bounds():
    """An exact value below a bound proves nothing, nor do two bounds, and an estimate is compared with nobody."""
    kinds = {"vae": "bound", "glow": "bound", "pixelcnn": "exact", "image_transformer": "exact", "gpt": "exact",
             "flow_matching": "estimate", "ddim": "bound"}  # fmt: skip
    found = measured(table("lower", "bits", kinds, flow_matching=(0.1, 0.2), vae=(1, 2), pixelcnn=(3, 4), gpt=(3.5, 5),
                           image_transformer=(6, 7), glow=(8, 9), ddim=(3.9, 4.5)))  # fmt: skip
    texts = {name: rule.text for name, rule in found.items()}
    assert texts["vae"].startswith("Size: 1.5 bits, a bound (1 to 2), better than 3 of 6 others, worse than none (ran")
    assert "do not touch; the rest cannot be compared), at" in texts["vae"]
    assert "exact (3 to 4), better than 1 of 6 others, worse than 1 (" in texts["pixelcnn"]
    assert "; 3 cannot be compared), at" in texts["pixelcnn"]
    assert "exact (6 to 7), better than none of 6 others, worse than 4 (" in texts["image_transformer"]
    assert "a bound (8 to 9), which cannot be compared with any of 6 others, at" in texts["glow"]
    assert "an estimate (0.1 to 0.2), which cannot be compared with any of 6 others, at" in texts["flow_matching"]
    want = {"vae": 1, "pixelcnn": 0, "gpt": 0, "image_transformer": -1, "glow": 0, "flow_matching": 0, "ddim": 0}
    assert {name: rule.score for name, rule in found.items()} == want


def test_better_than_some_exact_values_and_touching_others_is_said_without_the_rest():
    kinds = {"vae": "exact", "glow": "exact", "ddim": "bound"}
    text = measured(table("lower", "", kinds, vae=(1, 2), glow=(1.5, 3), ddim=(4, 5)))["vae"].text
    assert "neither better nor worse than any of 2 others (1 cannot be compared), at" in text


def test_an_unknown_kind_of_value_is_refused():
    with pytest.raises(ValueError, match="kind guess, not exact, bound, estimate"):
        scores(table("lower", "", {"vae": "guess"}, vae=(1, 2), glow=(3, 4)))


def test_better_numbers_make_a_better_place(values):
    swapped = {**values, "summary": {"flops": dict(values["summary"]["flops"])}}
    ranks = {rule.family: rule.score for rule in guide.build_rules(values) if rule.evidence == ("measure:frechet",)
             and rule.when[:2] == (("data", ("image",)), ("aim", ("quality",)))}  # fmt: skip
    best, worst = max(ranks, key=ranks.get), min(ranks, key=ranks.get)
    assert ranks[best] > ranks[worst]
    cells = values["summary"]["flops"]
    for one, other in ((best, worst), (worst, best)):
        swapped["summary"]["flops"][one] = {**cells[one], "frechet": cells[other]["frechet"]}
    def found(name, given):
        families = guide.recommend(ONE, given)
        return next((place, -choice.score) for place, choice in enumerate(families) if choice.family == name)

    assert all(a >= b for a, b in zip(found(best, swapped), found(best, values)))
    assert all(a <= b for a, b in zip(found(worst, swapped), found(worst, values)))
    assert found(best, swapped) != found(best, values) != found(worst, values) != found(worst, swapped)


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
