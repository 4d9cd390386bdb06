"""In the built book the first use of every glossary term in a page's prose is a link to its entry, and the only one."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin

import pytest

from ext.glossary_links import GLOSSARY, PAGES, Matcher, read_entries
from tests.browser import built

ENTRIES = read_entries((built.SOURCE / f"{GLOSSARY}.md").read_text(encoding="utf-8"))
LINKED = [f"{name}.html" for name in built.toc() if PAGES.match(name)]
NOT_PROSE = {
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "pre",
    "code",
    "a",
    "figcaption",
    "caption",
    "script",
    "style",
    "svg",
    "button",
    "summary",
    "dt",
    "aside",
}
NOT_PROSE_CLASSES = {"math", "cell", "admonition-title", "topic", "contents", "rubric"}
VOID = {"img", "br", "hr", "input", "wbr", "source", "col", "link", "meta"}


class Prose(HTMLParser):
    """The pieces of running prose of a page's article: (text, links), a link being (start, end, href).

    A piece ends wherever markup begins or ends, but for links to the glossary.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces, self.stray = [], []
        self._open, self._text, self._links, self._link = [], "", [], None
        self.feed(text[text.index("<article") : text.index("</article>")])

    @property
    def _is_prose(self) -> bool:
        return any(tag == "p" for tag, _ in self._open) and not any(skipped for _, skipped in self._open)

    def _end_piece(self) -> None:
        if self._text:
            self.pieces.append((self._text, self._links))
        self._text, self._links = "", []

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        classes = set((a.get("class") or "").split())
        if tag == "a" and "glossary-link" in classes:
            if self._is_prose:
                self._link = (len(self._text), a["href"])
            else:
                self.stray.append(a["href"])
            return
        self._end_piece()
        if tag not in VOID:
            self._open.append((tag, tag in NOT_PROSE or bool(classes & NOT_PROSE_CLASSES)))

    def handle_endtag(self, tag):
        if tag == "a" and self._link:
            start, href = self._link
            self._links.append((start, len(self._text), href))
            self._link = None
        elif any(tag == name for name, _ in self._open):
            self._end_piece()
            while self._open.pop()[0] != tag:
                pass

    def handle_data(self, data):
        if self._is_prose:
            self._text += data


@pytest.fixture(scope="module")
def addresses(book) -> dict[str, str]:
    """The address of each head form's place on the glossary's page."""
    text = (book / f"{GLOSSARY}.html").read_text(encoding="utf-8")
    return {
        term.replace("’", "'"): f"{GLOSSARY}.html#{place}"
        for place, term in re.findall(r'<dt id="([^"]+)">([^<]+)<', text)
    }


def test_every_term_has_a_place_of_its_own_on_the_page(addresses):
    assert list(addresses) == [head for entry in ENTRIES for head in entry.heads]
    assert len(set(addresses.values())) == len(addresses)


@pytest.mark.parametrize("page", LINKED)
def test_first_use_of_every_term_is_linked_and_no_other(book, addresses, page):
    chapter, matcher = PAGES.match(page)["chapter"], Matcher(ENTRIES)
    prose = Prose((book / page).read_text(encoding="utf-8"))
    entry_at = {addresses[head]: entry for entry in ENTRIES for head in entry.heads}
    assert prose.stray == []
    by_hand = {urljoin(page, unquote(link)) for link in built.read(page).links} & set(entry_at)
    wanted, done, got = [], set(), []
    for number, (text, links) in enumerate(prose.pieces):
        got += [(number, text[start:end], urljoin(page, unquote(href))) for start, end, href in links]
        for start, end, entry, rule in matcher.find(text):
            if entry not in done and (rule is None or chapter in rule):
                done.add(entry)
                wanted.append((number, text[start:end], addresses[entry.heads[0]]))
    linked = {address for _, _, address in got}
    left = [use for use in wanted if use not in got and not (use[2] not in linked and use[2] in by_hand)]
    assert left == [], "used, and not linked where it is used first"
    assert [link for link in got if link not in wanted] == [], "linked, and no first use of a term"
    assert len(linked) == len(got)
    if chapter:
        assert len(got) >= 10


@pytest.mark.parametrize("page, key", [(LINKED[0], None), (LINKED[-1], "Enter")], ids=["by click", "by keyboard"])
def test_link_leads_to_its_entry(visit, page, key):
    tab = visit(page).page
    link = tab.locator("article a.glossary-link").first
    term, place = link.inner_text(), link.evaluate("a => new URL(a.href).hash")
    if key:
        link.focus()
        tab.keyboard.press(key)
    else:
        link.click()
    tab.wait_for_url(f"**/{GLOSSARY}.html{place}")
    entry = tab.locator("dt:target")
    tab.wait_for_function("""() => { const box = document.querySelector('dt:target')?.getBoundingClientRect();
        return box && box.top >= 0 && box.bottom <= innerHeight; }""")
    heads = entry.evaluate("""e => { const found = [e.firstChild.textContent];
        for (let n = e.nextElementSibling; n?.tagName === 'DT'; n = n.nextElementSibling)
            found.push(n.firstChild.textContent);
        return found; }""")
    tab.close()
    assert any(found for head in heads for found in Matcher([e for e in ENTRIES if head in e.heads]).find(term))


def test_link_is_quiet_and_yet_told_from_prose_without_colour(visit):
    tab = visit(LINKED[0]).page
    look = """a => { const s = getComputedStyle(a), p = getComputedStyle(a.closest('p'));
        return [s.textDecorationLine, s.textDecorationStyle, s.color === p.color]; }"""
    found = {
        theme: tab.evaluate("t => { document.documentElement.dataset.theme = t; }", theme)
        or tab.wait_for_timeout(350)
        or tab.locator("p > a.glossary-link").first.evaluate(look)
        for theme in ("light", "dark")
    }
    tab.close()
    assert found == {theme: ["underline", "dotted", True] for theme in ("light", "dark")}
