"""Every page of the built book, as a reader's browser sees it: nothing from outside, no error, readable by everyone."""

import gzip
import json
import re
from collections import Counter
from urllib.parse import unquote, urlparse

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser import built

# axe takes its time over every element. Thousands of coloured words of code differ in their class alone: one of each
# stays. Formulas are all set by the same program: ten of a page stay.
ONE_OF_EACH = """() => {
    const seen = new Set(), again = [];
    for (const e of document.querySelectorAll('pre span')) {
        const key = [e.className, e.parentElement.className, e.closest('div').className].join('|');
        if (!e.childElementCount) seen.has(key) ? again.push(e) : seen.add(key);
    }
    for (const e of again) e.replaceWith(e.textContent);
    for (const e of [...document.querySelectorAll('mjx-container')].slice(10)) e.replaceWith('formula');
}"""
# Contrast hangs on colours, size and weight alone: one text of each look stays, further ones are taken out for a while.
ONE_OF_EACH_LOOK = """() => {
    for (const [node, text] of window.taken ?? []) node.data = text;
    const grounds = new Map(), seen = new Set(), again = [];
    for (const e of document.querySelectorAll('body, body *')) {
        const s = getComputedStyle(e), under = grounds.get(e.parentElement) ?? '';
        grounds.set(e, `${under}/${s.backgroundColor} ${s.backgroundImage} ${s.opacity}`);
        const texts = [...e.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
        if (!texts.length || s.visibility !== 'visible' || !e.getClientRects().length) continue;
        const look = [s.color, s.fontSize, s.fontWeight, s.textShadow, grounds.get(e)].join('|');
        seen.has(look) ? again.push(...texts.map((node) => [node, node.data])) : seen.add(look);
    }
    for (const [node] of again) node.data = '';
    window.taken = again;
    return [again.length, seen.size];
}"""
RULES = {"resultTypes": ["violations"], "preload": False}
BUT_COLOURS = RULES | {"rules": {"color-contrast": {"enabled": False}}}
COLOURS = RULES | {"runOnly": ["color-contrast"]}
CHAPTER_KB, VISIT_KB = 1500, 4000               # gzipped; a chapter's HTML, and all that a first visit fetches
TEXT = (".html", ".js", ".css", ".json", ".svg", ".txt", "")


@pytest.fixture(scope="module", params=built.pages())
def visited(request, visit):
    """One page, loaded once for all the tests that only look at it."""
    found = visit(request.param, fresh=request.param in built.chapters())
    yield request.param, found
    found.page.close()


@pytest.fixture(scope="module")
def axe():
    return Axe()


def test_page_asks_for_nothing_outside(visited):
    _, visit = visited
    assert visit.outside == []


def test_page_loads_all_it_asks_for(visited):
    _, visit = visited
    assert {path: status for path, status in visit.requested.items() if status >= 400} == {}


def test_console_stays_empty(visited):
    _, visit = visited
    assert built.noise(visit.console) == []


def test_page_does_not_scroll_sideways_on_a_phone(visited):
    _, visit = visited
    size = visit.page.viewport_size
    visit.page.set_viewport_size({"width": 360, "height": 740})
    try:
        wide = visit.page.evaluate("""() => document.documentElement.scrollWidth <= 360 ? [] :
            [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > 361)
            .slice(0, 5).map((e) => `${e.tagName}.${e.className} to ${Math.round(e.getBoundingClientRect().right)}`)""")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360, wide
    finally:
        visit.page.set_viewport_size(size)


def test_every_image_has_an_alt_text_that_says_something(visited):
    _, visit = visited
    images = visit.page.evaluate("""() => [...document.querySelectorAll('img')].map((e) =>
        [e.getAttribute('alt'), e.closest('article, .bd-article') !== null, e.src.slice(0, 80)])""")
    assert [src for alt, _, src in images if alt is None] == []
    assert [(alt, src) for alt, content, src in images if content and len(alt.strip()) < 30] == []


def test_headings_are_in_order(visited):
    name, visit = visited
    levels = visit.page.evaluate("""() => [...(document.querySelector('article') ?? document).querySelectorAll(
        'h1, h2, h3, h4, h5, h6')].filter((e) => e.offsetParent !== null).map((e) => +e.tagName[1])""")
    assert levels[:1] == [1] and levels.count(1) == 1, levels
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:])), f"{name} skips a level: {levels}"


def test_first_visit_is_light(visited, book):
    name, visit = visited
    if name not in built.chapters():
        return                                  # lighter than a chapter, and with a warm cache
    weights = {path: weight(book / path.lstrip("/")) for path in visit.requested if (book / path.lstrip("/")).is_file()}
    assert f"/{name}" in weights
    assert weights[f"/{name}"] <= CHAPTER_KB * 1000
    assert sum(weights.values()) <= VISIT_KB * 1000, Counter(weights).most_common(6)


def serious(found):
    return [f"{v['id']}: {n['target']} {n.get('failureSummary', '')[:300]}" for v in found.response["violations"]
            if v["impact"] in ("serious", "critical") for n in v["nodes"]]


def test_axe_finds_nothing_serious(visited, axe):
    """From here on nobody else looks at the page: axe is spared what it need not see twice."""
    _, visit = visited
    visit.page.evaluate(ONE_OF_EACH)
    assert serious(axe.run(visit.page, options=BUT_COLOURS)) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_reads_every_colour(visited, axe, theme):
    _, visit = visited
    visit.page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    visit.page.wait_for_timeout(350)            # the theme fades its colours
    visit.page.evaluate(ONE_OF_EACH_LOOK)
    assert serious(axe.run(visit.page, options=COLOURS)) == []


def weight(file):
    """Bytes that a server sends for a file: text gzipped, pictures and fonts as they are."""
    data = file.read_bytes()
    return len(gzip.compress(data, 6)) if file.suffix in TEXT else len(data)


def test_alt_texts_are_unique_in_the_book(book):
    alts = Counter(image["alt"] for page in built.pages() for image in built.read(page).images if image.get("alt"))
    assert {alt: n for alt, n in alts.items() if n > 1 and len(alt) >= 30} == {}


@pytest.mark.parametrize("page", built.pages())
def test_no_markup_is_left_over(page):
    """A role that MyST did not read stands on the page as it was written: in a table its bar wants a backslash."""
    assert re.findall(r".{0,20}\{[a-z]+\}`.{0,30}", built.prose(page)) == []


@pytest.mark.parametrize("name", built.toc())
def test_every_entry_of_the_contents_has_a_page(book, name):
    assert (book / f"{name}.html").stat().st_size > 5000


def test_links_within_the_book_lead_somewhere(book):
    parsed = {page: built.read(page) for page in built.pages()}
    broken = []
    for page, found in parsed.items():
        for link in found.links:
            url = urlparse(link)
            if url.scheme or url.netloc:
                continue
            target = (book / page).parent / unquote(url.path) if url.path else book / page
            target = target.resolve()
            inside = target.relative_to(book.resolve()).as_posix()
            if not target.is_file():
                broken.append(f"{page}: {link}")
            elif url.fragment and inside in parsed and unquote(url.fragment) not in parsed[inside].ids:
                broken.append(f"{page}: {link} (no such place)")
    assert sorted(set(broken)) == []


@pytest.mark.parametrize("chapter", built.chapters())
def test_search_finds_a_word_of_the_chapter(visit, book, chapter):
    others = " ".join(w for page in built.pages() if page != chapter for w in built.words(page))
    word = next(w for w in built.words(chapter) if w not in others)
    found = visit(f"search.html?q={word}")
    found.page.wait_for_selector("#search-results li a")
    links = found.page.evaluate("[...document.querySelectorAll('#search-results li a')].map((a) => a.pathname)")
    found.page.close()
    assert f"/{chapter}" in links, f"{word!r} found in {links}"


@pytest.mark.parametrize("chapter", built.notebooks())
def test_colab_link_opens_this_notebook(book, chapter):
    where = built.config()["repository"]
    path = "/".join(filter(None, [where.get("path_to_book", "").strip("/"), chapter.replace(".html", ".ipynb")]))
    owner_and_name = urlparse(where["url"]).path.strip("/")
    want = f"https://colab.research.google.com/github/{owner_and_name}/blob/{where['branch']}/{path}"
    links = {link for link in built.read(chapter).links if "colab.research" in link}
    assert links == {want}


@pytest.mark.parametrize("chapter", built.notebooks())
def test_download_gives_the_committed_notebook(book, chapter):
    link = next(a for a in built.read(chapter).links if "_sources" in a and a.endswith(".ipynb"))
    got = json.loads(((book / chapter).parent / link).read_text(encoding="utf-8"))
    mine = json.loads((built.SOURCE / chapter.replace(".html", ".ipynb")).read_text(encoding="utf-8"))
    assert [c["source"] for c in got["cells"]] == [c["source"] for c in mine["cells"]]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_follows_the_readers_theme_and_the_switch(visit, theme):
    found = visit(built.pages()[0], color_scheme=theme)
    page = found.page
    read = "document.documentElement.dataset.theme"
    assert page.evaluate(read) == theme
    seen = set()
    for _ in range(3):
        page.locator("button.theme-switch-button:visible").first.click()
        page.wait_for_timeout(50)
        seen.add(page.evaluate(read))
    page.evaluate("localStorage.clear()")
    page.close()
    assert seen == {"light", "dark"}
