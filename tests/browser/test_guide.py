"""The decision guide in the built page: it agrees with Python, by keyboard, from a file, and reads without scripts."""

import itertools
import json
import re

import pytest

from genai_utils.compare import guide
from genai_utils.results import load_results
from tests.browser import built

PAGE = "book/choose.html"
ANSWERS = list(itertools.islice(guide.all_answers(), 3, None, 17))      # 27 of them, over all questions
FEW = [                                                                 # of which two fit, and one
    {"data": "image", "aim": "anomaly", "amount": "some", "compute": "laptop"},
    {"data": "series", "aim": "repair", "amount": "some", "compute": "gpu"},
]
ONE = {"data": "image", "aim": "latent", "amount": "few", "compute": "laptop"}


@pytest.fixture(scope="module")
def rules():
    return guide.build_rules(load_results(21)["values"])


@pytest.fixture
def found(visit):
    """The page with the guide, as a first visit finds it."""
    page = visit(PAGE)
    yield page
    page.page.close()


def in_address(answers):
    return "&".join(f"{key}={answer}" for key, answer in answers.items())


def go(page, answers):
    page.evaluate("hash => { location.hash = hash; }", in_address(answers))
    page.wait_for_function("hash => location.hash === '#' + hash", arg=in_address(answers))


def families(page):
    return page.locator(".guide-card").evaluate_all("cards => cards.map((card) => card.dataset.family)")


def best(answers, rules):
    return [choice.family for choice in guide.proposed(guide.rank(answers, rules))]


def said(page):
    return page.get_by_role("status").inner_text()


def choose(page, answers):
    for key, answer in answers.items():
        page.locator(f"input[name={key}][value={answer}]").check()


def test_enough_answers_are_tried_and_each_of_every_question():
    assert len(ANSWERS) >= 20
    for key, (_, options) in guide.QUESTIONS.items():
        assert {answers[key] for answers in ANSWERS} == set(options)


def test_the_form_gives_the_families_of_python(found, rules):
    for answers in ANSWERS + FEW:
        choose(found.page, answers)
        assert families(found.page) == best(answers, rules), answers
    assert built.noise(found.console) == [] and found.outside == []


def test_fewer_than_three_are_shown_and_said(found, rules):
    for answers, words in zip(FEW, ("Only two fit these answers. First: ", "Only one fits these answers: ")):
        choose(found.page, answers)
        names = [guide.FAMILIES[family].title for family in families(found.page)]
        assert said(found.page).startswith(words) and len(names) == 2 - FEW.index(answers)
        assert all(name in said(found.page) for name in names)


def test_without_evidence_for_the_aim_the_form_says_so(visit, book, rules):
    """The page, its rules about aims taken away: nothing fits, and what is best by the other answers is shown."""
    page, left = visit("book/notation.html").page, [rule for rule in rules if not rule.about_aim]

    def without(match):
        data = json.loads(match[2])
        aim = lambda rule: any(key == "aim" for key, _ in rule["when"])
        for rule in filter(aim, data["rules"]):
            rule["families"] = []
        return match[1] + json.dumps(data).replace("<", "\\u003c") + match[3]

    text = re.sub(r'(<script type="application/json" id="guide-data">)(.*?)(</script>)', without,
                  (book / PAGE).read_text(encoding="utf-8"), flags=re.S)  # fmt: skip
    page.route(f"**/{PAGE}", lambda route: route.fulfill(body=text, content_type="text/html"))
    page.goto(page.url.replace("book/notation.html", PAGE))
    choose(page, ONE)
    want = [choice.family for choice in guide.proposed(guide.rank(ONE, left))]
    assert families(page) == want and len(want) == 3
    words = guide.QUESTIONS["aim"][1][ONE["aim"]]
    assert said(page).startswith(f"No family here has evidence for “{words}”. The best by your other answers: ")
    page.close()


def test_cards_show_python_reasons_with_links_that_lead_somewhere(found, rules, book):
    for answers in ANSWERS[::3]:
        choose(found.page, answers)
        for place, choice in enumerate(guide.proposed(guide.rank(answers, rules))):
            card = found.page.locator(".guide-card").nth(place)
            known = [reason for reason in choice.reasons if reason.points > 0][:3]
            against = [reason for reason in reversed(choice.reasons) if reason.points < 0][:2]
            caveat = next(reason for reason in choice.reasons if reason.when == ())
            shown = card.inner_text()
            assert guide.FAMILIES[choice.family].title in shown
            for reason in [*known, *against, caveat]:
                assert plain(reason.text) in plain(shown), (answers, choice.family)
            reasons = card.locator("li")
            assert reasons.count() == reasons.filter(has=found.page.locator("a[href]")).count() >= 2
        links = found.page.locator(".guide-result a").evaluate_all("links => links.map((a) => a.getAttribute('href'))")
        for link in links:
            name, _, place = link.partition("#")
            target = (book / PAGE).parent / name
            assert target.is_file(), link
            assert not place or place in built.read(target.resolve().relative_to(book.resolve()).as_posix()).ids, link


def plain(text):
    """The text without what typesetting changes: quotes, spaces, the last full stop."""
    return " ".join(text.replace("\u2019", "'").replace("\u2026", "...").split()).removesuffix(".")


def test_what_is_ruled_out_is_named(found, rules):
    answers = ONE | {"aim": "likelihood"}
    choose(found.page, answers)
    details = found.page.locator(".guide-result details")
    assert f"Ruled out: {len(guide.excluded(answers, rules))} of {len(guide.FAMILIES)}" in details.inner_text()
    details.locator("summary").click()
    assert "A GAN has no likelihood" in details.inner_text() and "DCGAN" in details.inner_text()


def test_nothing_is_proposed_before_the_last_answer_and_the_region_says_so(found):
    page, seen = found.page, [said(found.page)]
    assert seen == ["Answer all four, and the families that fit appear here."]
    region = page.get_by_role("status")
    assert region.get_attribute("aria-live") == "polite"
    page.evaluate("""() => { window.heard = []; new MutationObserver(() => window.heard.push(
        document.querySelector('.guide-said').textContent)).observe(document.querySelector('.guide-said'),
        {childList: true, characterData: true, subtree: true}); }""")
    for key, answer in ONE.items():
        assert families(page) == []
        choose(page, {key: answer})
        seen.append(said(page))
    assert len(set(seen)) == 5 and len(families(page)) == 3
    assert all(guide.FAMILIES[name].title in seen[-1] for name in families(page))
    assert page.evaluate("window.heard") == seen[1:]


def test_keyboard_alone_answers_reads_and_starts_again(found, rules):
    page = found.page
    page.evaluate("""() => { const h = document.querySelector('h2'); h.tabIndex = -1; h.focus(); }""")
    reach(page, "input[name=data]")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    for key in ("aim", "amount", "compute"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name") == key
        page.keyboard.press("Space")
        outline = page.evaluate("getComputedStyle(document.activeElement.closest('label')).outlineStyle")
        assert outline != "none", "the focus cannot be seen"
    answers = {key: page.locator(f"input[name={key}]:checked").get_attribute("value") for key in guide.QUESTIONS}
    assert answers["data"] == list(guide.QUESTIONS["data"][1])[1]
    assert families(page) == best(answers, rules)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "reset"
    reach(page, ".guide-card a")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert families(page) == [] and page.evaluate("location.hash") == ""
    assert page.evaluate("document.activeElement.name") == "data"


def reach(page, selector):
    """Press Tab until the focus is there; the next steps know no mouse."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab never came to {selector}")


def test_the_address_keeps_the_answers_and_brings_them_back(found, visit, rules):
    choose(found.page, ONE)
    kept = found.page.evaluate("location.hash")
    assert kept == f"#{in_address(ONE)}"
    again = visit(PAGE + kept)
    assert families(again.page) == families(found.page) == best(ONE, rules)
    other = ONE | {"aim": "speed", "data": "audio"}
    go(again.page, other)
    again.page.wait_for_function("() => document.querySelector('input[value=audio]').checked")
    assert families(again.page) == best(other, rules)
    again.page.close()


@pytest.mark.parametrize("hash", ["#four-questions", "#data=video&aim=quality", "#data=%3Cscript%3E", "#%E0%A4%A"])
def test_an_address_that_is_no_answer_is_ignored(visit, hash):
    page = visit(PAGE + hash)
    assert families(page.page) == [] and built.noise(page.console) == []
    assert page.page.locator("input[name=data]:checked").count() == 0
    page.page.close()


def test_start_again_clears_answers_result_and_address(found):
    choose(found.page, ONE)
    found.page.get_by_role("button", name="Start again").click()
    assert found.page.locator("input:checked").count() == 0
    assert families(found.page) == [] and found.page.evaluate("location.href").count("#") == 0


def test_it_works_from_a_file(chromium, book, rules):
    page = chromium.new_context().new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((book / PAGE).as_uri(), wait_until="load")
    choose(page, ONE)
    assert families(page) == best(ONE, rules) and page.url.endswith(in_address(ONE))
    page.get_by_role("button", name="Start again").click()
    assert families(page) == [] and errors == []
    page.context.close()


def test_answers_are_touch_targets_on_a_phone_and_nothing_scrolls_sideways(visit):
    page = visit(PAGE)
    page.page.set_viewport_size({"width": 360, "height": 740})
    for key, answer in ONE.items():
        page.page.locator(f"label:has(input[name={key}][value={answer}])").tap()
    page.page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
    assert len(families(page.page)) == 3
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 360
    labels = page.page.locator(".guide-form label")
    assert min(labels.evaluate_all("all => all.map((e) => e.getBoundingClientRect().height)")) >= 44
    page.page.close()


def test_without_scripts_the_table_says_what_the_rules_say(visit, rules):
    page = visit(PAGE, java_script_enabled=False)
    page.page.set_viewport_size({"width": 360, "height": 740})
    assert not page.page.locator("form.guide-form").is_visible()
    assert "The questions need JavaScript" in page.page.locator("main").inner_text()
    rows = page.page.locator("table.guide-table tbody tr")
    assert rows.count() == len(guide.SITUATIONS)
    for place, (words, answers) in enumerate(guide.SITUATIONS.items()):
        row = rows.nth(place)
        assert row.is_visible() and row.locator("th").inner_text() == words
        text, where = plain(row.locator("td").inner_text()), 0
        shown = best(dict(zip(guide.QUESTIONS, answers)), rules)
        for family in shown:
            where = text.index(plain(guide.FAMILIES[family].title), where)      # in this order
        assert ("Only two fit" in text, "Only one fits" in text) == (len(shown) == 2, len(shown) == 1)
        assert row.locator("td p").first.locator("a").count() >= 1
    size = page.page.locator("table.guide-table").bounding_box()
    assert size["x"] >= 0 and size["x"] + size["width"] <= 360
    page.page.close()


def test_a_typical_situation_links_to_its_form_filled_in(found, rules):
    page = found.page
    for words, answers in list(guide.SITUATIONS.items())[::5]:
        given = dict(zip(guide.QUESTIONS, answers))
        link = page.locator("table.guide-table th").get_by_role("link", name=words, exact=True)
        assert link.get_attribute("href") == f"#{in_address(given)}"
        link.click()
        page.wait_for_function("() => document.querySelectorAll('.guide-card').length")
        for key, answer in given.items():
            assert page.locator(f"input[name={key}]:checked").get_attribute("value") == answer
        assert families(page) == best(given, rules)
        page.wait_for_function("() => { const y = document.querySelector('.guide-form').getBoundingClientRect().top;"
                               " return y > -20 && y < innerHeight; }")  # fmt: skip
        page.get_by_role("button", name="Start again").click()


def test_every_rule_can_be_read_on_the_page(found, rules):
    items = found.page.locator("[id^=guide-r-] .guide-why").evaluate_all("all => all.map((e) => e.textContent)")
    shown = {plain(text) for text in items}
    assert len(items) == len({(rule.when, rule.score, rule.text, rule.evidence) for rule in rules})
    assert all(any(plain(rule.text) in text for text in shown) for rule in rules)
