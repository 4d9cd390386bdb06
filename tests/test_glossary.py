"""The glossary is in order and about this book; its links stand where a reader first meets a term, and only there."""

import functools
import re
import shutil
import unicodedata
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from myst_parser.parsers.docutils_ import Parser

from ext import glossary_links
from ext.glossary_links import Entry, Matcher, link_first_uses, prose, read_entries
from tools import chapters

SOURCE = (chapters.ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
ENTRIES = read_entries(SOURCE)
HEADS = [head for entry in ENTRIES for head in entry.heads]
EXTENSIONS = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath", "linkify", "tasklist"]


def tree(markdown: str) -> nodes.document:
    settings = {"myst_enable_extensions": EXTENSIONS, "report_level": 5, "halt_level": 6, "doctitle_xform": False}
    return publish_doctree(markdown, parser=Parser(), settings_overrides=settings)


def entry(*heads: str, chapters: str | None = None) -> Entry:
    """An entry whose last head form is bound to these chapters ("" for none); None binds nothing."""
    rule = None if chapters is None else frozenset(chapters.split())
    return Entry(heads, (None,) * (len(heads) - 1) + (rule,), "What it is.")


def link(markdown: str, *entries: Entry, chapter: str | None = "09") -> tuple[str, nodes.document]:
    """The page's text with what was linked in [brackets], and the page."""
    page = tree(markdown)
    addresses = {e: tuple(f"https://book.org/words#{head}" for head in e.heads) for e in entries}
    link_first_uses(page, Matcher(list(entries)), addresses, chapter)
    shown = page.deepcopy()
    for reference in list(shown.findall(nodes.reference)):
        if "glossary-link" in reference["classes"]:
            reference.parent.replace(reference, nodes.Text(f"[{reference.astext()}]"))
    return " ".join(shown.astext().split()), page


@functools.cache
def chapter_sources() -> dict[str, str]:
    """The Markdown of each chapter, by its number."""
    return {
        path.name[:2]: "\n\n".join(c.source for c in chapters.read(path).cells if c.cell_type == "markdown")
        for path in chapters.paths()
    }


@functools.cache
def linked_terms() -> dict[str, list[Entry]]:
    """What is linked in each chapter, in reading order."""
    addresses = {e: (f"glossary.html#{e.heads[0]}",) for e in ENTRIES}
    matcher = Matcher(ENTRIES)
    return {n: link_first_uses(tree(text), matcher, addresses, n) for n, text in chapter_sources().items()}


# the glossary


def test_glossary_has_enough_terms_and_no_term_twice():
    assert len(ENTRIES) >= 110
    folded = [head.casefold() for head in HEADS]
    assert sorted(h for h in set(folded) if folded.count(h) > 1) == []


def test_entries_are_alphabetical_by_their_first_head_form():
    def key(head):
        plain = unicodedata.normalize("NFKD", head.casefold()).encode("ascii", "ignore").decode()
        return re.sub(r"[^a-z0-9 ]", "", re.sub(r"[-/]", " ", plain))

    keys = [key(e.heads[0]) for e in ENTRIES]
    assert [(a, b) for a, b in zip(keys, keys[1:]) if a >= b] == []


def test_definitions_are_short_and_name_a_chapter_of_the_book():
    pages, wrong = set(chapters.toc()), []
    for e in ENTRIES:
        links = re.findall(r"\[[Cc]hapter (\d\d)\]\(\.\./(notebooks/(\d\d)_\w+)\.ipynb\)", e.body)
        if not links or any(shown != number or page not in pages for shown, page, number in links):
            wrong.append((e.heads[0], "links", links))
        words = re.sub(r"\]\([^)]*\)", "]", e.body).split()
        if not 5 <= len(words) <= 60:
            wrong.append((e.heads[0], "words", len(words)))
    assert wrong == []


def test_no_definition_begins_with_its_own_term():
    circular = [h for e in ENTRIES for h in e.heads if re.match(rf"(?:(?:An?|The) )?{re.escape(h)}\b", e.body, re.I)]
    assert circular == []


def test_every_term_is_used_in_a_chapter_where_it_may_be_linked():
    linked = {e for found in linked_terms().values() for e in found}
    everything = re.sub(r"\$(\w)\$", r"\1", " ".join(chapter_sources().values())).replace("_", " ")
    named = {e for _, _, e, _ in Matcher(ENTRIES).find(everything)}
    assert [e.heads for e in ENTRIES if e not in linked | named] == []
    assert len(linked) >= len(ENTRIES) - 2, [e.heads for e in ENTRIES if e not in linked]


def test_rules_name_only_chapters_that_use_the_word():
    """A rule that binds a word to a chapter without it is a slip, unless the chapter is still to be written."""
    sources = chapter_sources()
    idle = []
    for e in ENTRIES:
        for head, rule in zip(e.heads, e.rules):
            only = Matcher([Entry((head,), (None,), "")])
            idle += [(head, n) for n in rule or () if n in sources and not any(only.find(sources[n]))]
    assert idle == []


def test_sphinx_reads_the_same_head_forms(tmp_path):
    book = Built(tmp_path)
    book.write("book/glossary", re.sub(r"\[(.*?)\]\(\.\..*?\)", r"\1", SOURCE))
    book.build()
    anchors, heads = zip(*book.terms("book/glossary"))
    assert heads == tuple(head.replace("'", "’") for head in HEADS)
    assert len(set(anchors)) == len(anchors)


# reading


def test_read_entries_gives_heads_rules_and_definitions():
    text = "# Words\n\n```{glossary}\none\n.. linked in chapters 15, 16\nuno\n  First line\n  and second.\n\n"
    text += ".. never linked\ntwo\n  Another.\n```\n"
    assert read_entries(text) == [
        Entry(("one", "uno"), (None, frozenset({"15", "16"})), "First line and second."),
        Entry(("two",), (frozenset(),), "Another."),
    ]
    assert read_entries("# No glossary\n") == []


@pytest.mark.parametrize("comment", [".. link in chapters 15", ".. linked in chapters 15 16", ".. linked never"])
def test_a_comment_that_is_no_rule_is_refused(comment):
    with pytest.raises(ValueError, match=f"line 2: '{re.escape(comment)}' is no rule"):
        read_entries(f"```{{glossary}}\n{comment}\nterm\n  Text.\n```\n")


# recognising


def test_the_first_use_alone_is_linked():
    shown, _ = link("A token, and a token.\n\nOne more token.", entry("token"))
    assert shown == "A [token], and a token. One more token."


def test_head_forms_of_one_entry_are_one_term():
    shown, _ = link("The ELBO is the evidence lower bound.", entry("ELBO", "evidence lower bound"))
    assert shown == "The [ELBO] is the evidence lower bound."


def test_the_longest_term_goes_first_and_hides_the_shorter_ones():
    terms = entry("language model"), entry("masked language model"), entry("mask")
    shown, _ = link("A masked language model is no language model.", *terms)
    assert shown == "A [masked language model] is no [language model]."
    shown, _ = link("Mixed precision, then precision.", entry("precision"), entry("mixed precision", chapters=""))
    assert shown == "Mixed precision, then [precision]."


@pytest.mark.parametrize("text, want", [
    ("Two tokens.", "Two [tokens]."),
    ("Three batches and two losses.", "Three [batches] and two [losses]."),
    ("Its densities differ.", "Its [densities] differ."),
    ("The token's place.", "The [token]'s place."),
    ("A sub-token, token-wise, tokenized, 2token, token–pixel.",) * 2,
    ("By Jensen's inequality.", "By [Jensen's inequality]."),
    ("By Jensen’s inequality.", "By [Jensen's inequality]."),
    ("A β-VAE.", "A [β-VAE]."),
    ("A Kullback–Leibler\ndivergence.", "A [Kullback–Leibler divergence]."),
])  # fmt: skip
def test_words_are_recognised_whole_with_simple_plurals(text, want):
    names = "token", "batch", "loss", "density", "Jensen's inequality", "beta-VAE", "Kullback–Leibler divergence"
    assert link(text, *map(entry, names))[0].replace("’", "'") == want.replace("’", "'")


def test_small_letters_are_found_in_any_case_and_capitals_only_as_written():
    terms = entry("decoder"), entry("GAN"), entry("Glow")
    assert link("Decoder gan glow GANs Glow", *terms)[0] == "[Decoder] gan glow [GANs] [Glow]"


def test_a_term_may_stretch_over_a_line_break_and_not_over_markup():
    assert link("By maximum\nlikelihood.", entry("maximum likelihood"))[0] == "By [maximum likelihood]."
    assert link("By *maximum* likelihood.", entry("maximum likelihood"))[0] == "By maximum likelihood."


# where


def test_paragraphs_lists_tables_and_emphasis_are_linked():
    page = "- a *prior*\n\n> the code\n\n| x | y |\n|---|---|\n| **flow** | z |\n\n```{note}\nThe encoder.\n```\n"
    shown, _ = link(page, *map(entry, ("prior", "code", "flow", "encoder")))
    assert all(f"[{term}]" in shown for term in ("prior", "code", "flow", "encoder")), shown


@pytest.mark.parametrize("markdown", [
    "# token\n\n## Of token\n",
    "`token`",
    "```python\ntoken\n```",
    "$token$ and\n\n$$\ntoken\n$$",
    "[token](https://example.org) <https://token.org>",
    "![token](token.png)",
    "```{figure} token.png\n---\nalt: token\n---\ntoken\n\nThe token.\n```",
    "```{admonition} token\nText.\n```",
    "<b title='token'></b>\n\n<details><summary>token</summary>\n</details>",
    "A note[^1].\n\n[^1]: token",
    "```{contents} token\n```",
])  # fmt: skip
def test_what_is_no_running_prose_is_left_alone(markdown):
    assert "[token]" not in link(markdown, entry("token"))[0]
    shown, _ = link(f"{markdown}\n\nLast: token.", entry("token"))
    assert shown.count("[token]") == 1 and "Last: [token]." in shown, shown


def test_code_cells_and_their_outputs_are_left_alone():
    page = tree("Placeholder.\n\nThe token.")
    cell = nodes.container("", nodes.container("", nodes.paragraph("", "a token"), classes=["cell_output"]))
    cell["classes"] = ["cell", "tag_hide-input"]
    page.insert(0, cell)
    assert ["".join(run) for run in prose(page)] == ["Placeholder.", "The token."]


def test_a_link_made_by_hand_counts_as_the_first_use():
    terms = entry("token", "sign"), entry("code")
    shown, _ = link("[This](https://book.org/words#sign) is a token, a code.", *terms)
    assert shown == "This is a token, a [code]."


def test_rules_bind_a_head_form_to_chapters():
    terms = entry("slope", "score", chapters="15 16"), entry("key", chapters="")
    text = "A score, a slope, a key."
    assert link(text, *terms, chapter="16")[0] == "A [score], a slope, a key."
    assert link(text, *terms, chapter="09")[0] == "A score, a [slope], a key."
    assert link(text, *terms, chapter=None)[0] == "A score, a [slope], a key."


def test_linking_keeps_the_text_and_leads_to_the_first_head_form():
    markdown = "An *autoencoder* with a\nprior, and `code`.\n\n- Its prior.\n"
    before = tree(markdown).astext()
    _, page = link(markdown, entry("prior", "p"), entry("autoencoder"))
    assert page.astext() == before
    found = [(r.astext(), r["refuri"], r["classes"]) for r in page.findall(nodes.reference)]
    assert found == [
        ("autoencoder", "https://book.org/words#autoencoder", ["glossary-link"]),
        ("prior", "https://book.org/words#prior", ["glossary-link"]),
    ]


# building


class Built:
    """A book of a few pages, built by Sphinx as often as a test asks for."""

    def __init__(self, folder: Path) -> None:
        self.source, self.out = folder / "source", folder / "html"
        for name in ("book/parts", "notebooks/assignments"):
            (self.source / name).mkdir(parents=True)
        self.write("index", "# Book\n\nA token.\n\n```{toctree}\n:glob:\nbook/**\nnotebooks/**\n```\n")
        for page in ("notebooks/04_gpt", "notebooks/assignments/04_gpt", "book/parts/words", "book/other"):
            self.write(page, f"# {page}\n\nA\ntoken, a score, a token.\n")

    def write(self, page: str, text: str) -> None:
        (self.source / f"{page}.md").write_text(text, encoding="utf-8")

    def glossary(self, rule: str) -> None:
        self.write("book/glossary", f"# Words\n\n```{{glossary}}\n{rule}\nscore\n  A slope.\n\ntoken\n  A sign.\n```\n")

    def build(self, links: bool = True) -> list[str]:
        """Build; gives the pages that were written."""
        from sphinx.application import Sphinx
        from sphinx.util.docutils import docutils_namespace, patch_docutils

        written = []
        config = {"extensions": ["myst_parser"] + ["ext.glossary_links"] * links, "html_theme": "basic"}
        with patch_docutils(), docutils_namespace():
            app = Sphinx(
                self.source, None, self.out, self.out / ".trees", "html", config, status=None, warningiserror=False
            )
            app.connect("html-page-context", lambda a, page, *rest: written.append(page) if rest[2] else None)
            app.build()
        return sorted(written)

    def links(self, page: str) -> list[tuple[str, str]]:
        text = (self.out / f"{page}.html").read_text(encoding="utf-8")
        return re.findall(r'<a class="glossary-link[^"]*" href="([^"]*)">([^<]*)</a>', text)

    def terms(self, page: str) -> list[tuple[str, str]]:
        text = (self.out / f"{page}.html").read_text(encoding="utf-8")
        return re.findall(r'<dt id="([^"]+)">([^<]+)<', text)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    book = Built(tmp_path_factory.mktemp("book"))
    book.glossary(".. never linked")
    book.build()
    return book


def test_pages_of_prose_are_linked_and_no_others(built):
    assert built.links("notebooks/04_gpt") == [("../book/glossary.html#term-token", "token")]
    assert built.links("book/parts/words") == [("../glossary.html#term-token", "token")]
    for page in ("index", "book/other", "book/glossary", "notebooks/assignments/04_gpt"):
        assert built.links(page) == []


def test_a_change_of_the_glossary_rewrites_the_pages_of_prose_and_no_change_rewrites_none(built, tmp_path):
    book = Built.__new__(Built)
    book.source, book.out = tmp_path / "source", tmp_path / "html"
    shutil.copytree(built.source, book.source)
    book.build()
    assert book.build() == []
    book.glossary(".. linked in chapter 04")
    assert {"notebooks/04_gpt", "book/parts/words"} <= set(book.build())
    assert [term for _, term in book.links("notebooks/04_gpt")] == ["token", "score"]
    assert [term for _, term in book.links("book/parts/words")] == ["token"]


def test_search_index_and_text_are_those_of_a_book_without_links(built, tmp_path):
    book = Built.__new__(Built)
    book.source, book.out = built.source, tmp_path / "html"
    book.build(links=False)
    assert (book.out / "searchindex.js").read_text() == (built.out / "searchindex.js").read_text()
    plain = re.sub(
        r'<a class="glossary-link[^"]*" href="[^"]*">([^<]*)</a>',
        r"\1",
        (built.out / "notebooks/04_gpt.html").read_text(),
    )
    assert plain == (book.out / "notebooks/04_gpt.html").read_text()


def test_extension_may_run_in_parallel():
    class App:
        connect = staticmethod(lambda *args, **kwargs: None)

    assert glossary_links.setup(App) == {"parallel_read_safe": True, "parallel_write_safe": True}
