"""Sphinx extension: the first use of each glossary term on a page of prose becomes a quiet link to its entry.

The terms are those of the `{glossary}` directive in book/glossary.md; its head forms that share an entry are one term.
A page links a term once, where it first stands in a paragraph, a list or a table: never in a heading, code, maths, a
link or citation, a caption, a footnote, or what a cell printed. A link that an author made to the entry, as with
{term}`token`, counts as the first use. How a term is recognised:

- head forms in small letters are found in any case; one with a capital (GAN, Glow, Jacobian) only as it is written;
- the longest term goes first, so *masked language model* holds no use of *language model*;
- plurals in -s, -es and -ies count, and β for *beta*; a part of a word, or of a word with a hyphen, does not.

A head form that means other things elsewhere has its rule in a comment on the line before it: `.. linked in chapters
15, 16`, or `.. never linked`. It keeps its entry, and still hides the shorter terms in it.

Links are set when a page is written, on the copy that is written: texts, doctrees and the search index stay as they
are. When terms or rules change, all pages of prose are written again.
"""

import hashlib
import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from docutils import nodes

GLOSSARY = "book/glossary"
PAGES = re.compile(r"notebooks/(?P<chapter>\d\d)_|book/parts/")
EVERYWHERE = None
SKIPPED = tuple(  # in paragraphs or around them; headings, captions and blocks of code are no paragraphs
    getattr(nodes, name)
    for name in (
        "literal math reference citation citation_reference footnote footnote_reference legend raw topic problematic "
        "system_message"
    ).split()
)
CELL = "cell"  # the class of MyST-NB's box around a code cell and its outputs
BETA = "\u03b2"
BORDER = r"\w\-\u2010\u2011\u2013"  # no term begins or ends beside one of these


@dataclass(frozen=True)
class Entry:
    """One term: head forms, for each of them the chapters that link it (None: all), and the definition."""

    heads: tuple[str, ...]
    rules: tuple[frozenset[str] | None, ...]
    body: str


def read_entries(text: str) -> list[Entry]:
    """The entries of the first `{glossary}` directive of a page, in their order.

    Raises:
        ValueError: a comment that is no rule.
    """
    block = re.search(r"^(?P<fence>`{3,}|:{3,})\{glossary\}[^\n]*\n(?P<inside>.*?)^(?P=fence)\s*$", text, re.S | re.M)
    if not block:
        return []
    entries, heads, rules, body, rule = [], [], [], [], EVERYWHERE
    first = text.count("\n", 0, block.start("inside")) + 1
    for number, line in enumerate([*block["inside"].splitlines(), "end"], first):
        if not line.strip():
            continue
        if line[0].isspace():
            body.append(line.strip())
            continue
        if body:
            entries.append(Entry(tuple(heads), tuple(rules), " ".join(body)))
            heads, rules, body = [], [], []
        if line.startswith(".. "):
            rule = _rule(line, number)
        elif not line.startswith(":"):
            heads.append(line.strip())
            rules.append(rule)
            rule = EVERYWHERE
    return entries


def _rule(line: str, number: int) -> frozenset[str]:
    found = re.fullmatch(r"\.\. (?:never linked|linked in chapters? (?P<which>\d\d(?:, \d\d)*))", line.strip())
    if not found:
        raise ValueError(
            f"line {number}: {line.strip()!r} is no rule; write '.. never linked' or '.. linked in chapters 15, 16'"
        )
    return frozenset((found["which"] or "").split(", ")) - {""}


class Matcher:
    """Finds terms in a text, the longest first: `find(text)` yields (start, end, entry, rule)."""

    def __init__(self, entries: list[Entry]) -> None:
        forms = [(head, entry, rule) for entry in entries for head, rule in zip(entry.heads, entry.rules)]
        forms.sort(key=lambda form: (form[0][0].lower(), -len(form[0]), form[0]))
        self._found = [(entry, rule) for _, entry, rule in forms]
        choices = []
        for letter, group in groupby(forms, key=lambda form: form[0][0].lower()):  # most places fail at one look
            first = letter + letter.upper() + BETA * (letter == "b")
            choices.append(f"(?=[{first}])(?:{'|'.join(f'({_form(head)})' for head, _, _ in group)})")
        self._pattern = re.compile(f"(?<![{BORDER}])(?:{'|'.join(choices) or '(?!)'})(?![{BORDER}])")

    def find(self, text: str):
        for match in self._pattern.finditer(text):
            yield match.start(), match.end(), *self._found[match.lastindex - 1]


def _form(head: str) -> str:
    """A pattern without groups for a head form and its simple plural."""
    if re.search(r"[^aeiou]y$", head):
        stem, ending = head[:-1], "(?:y|ies)"
    else:
        stem, ending = head, "(?:es)?" if re.search(r"(?:s|x|z|ch|sh)$", head) else "s?"
    words = r"\s+".join(re.escape(word).replace("'", "['\u2019]") for word in stem.split())
    words = re.sub(r"\bbeta\b", f"(?:beta|{BETA})", words)
    return f"(?i:{words}{ending})" if head == head.lower() else words + ending


def prose(node: nodes.Element, inside: bool = False):
    """The running prose of a tree in reading order, as lists of text nodes that stand side by side.

    MyST makes a node of its own of each line break, so a term may stretch over several. `inside`: in a paragraph.
    """
    if isinstance(node, SKIPPED) or CELL in node.get("classes", ()):
        return
    inside = inside or isinstance(node, nodes.paragraph)
    for is_text, group in groupby(node.children, lambda child: isinstance(child, nodes.Text)):
        if not is_text:
            for child in group:
                yield from prose(child, inside)
        elif inside:
            yield list(group)


def link_first_uses(
    doctree: nodes.Node, matcher: Matcher, addresses: dict[Entry, tuple[str, ...]], chapter: str | None
) -> list[Entry]:
    """Turn the first use of each term into a reference; gives the entries that were linked, in reading order.

    Args:
        addresses: for each entry its address as seen from the page, and the others that lead to it.
        chapter: two digits, or None on a page of no chapter, which links no head form that is bound to chapters.
    """
    by_hand = {node.get("refuri") for node in doctree.findall(nodes.reference)}
    done = {entry for entry, known in addresses.items() if by_hand & set(known)}
    linked = []
    for run in list(prose(doctree)):
        plain, at, parts = "".join(run), 0, []
        for start, end, entry, rule in matcher.find(plain):
            if entry in done or entry not in addresses or not (rule is EVERYWHERE or chapter in rule):
                continue
            done.add(entry)
            linked.append(entry)
            link = nodes.reference(
                "", plain[start:end], internal=True, refuri=addresses[entry][0], classes=["glossary-link"]
            )
            parts += [nodes.Text(plain[at:start])] * (start > at) + [link]
            at = end
        if parts:
            _put(run, parts + [nodes.Text(plain[at:])] * (at < len(plain)))
    return linked


def _put(run: list[nodes.Text], parts: list[nodes.Node]) -> None:
    """Put new nodes in the place of a run. (`index` and `replace` of docutils mistake one "\\n" for another.)"""
    parent = run[0].parent
    at = next(place for place, child in enumerate(parent.children) if child is run[0])
    parent[at : at + len(run)] = parts


class GlossaryLinks:
    """What one build knows: the entries, and the anchors that Sphinx gave to their head forms."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.anchors: dict[Entry, tuple[str, ...]] = {}
        self.matcher = Matcher([])

    def update(self, app, env):
        """Read the glossary; if anything has changed since the last build, have all pages of prose written."""
        self.__init__()
        if GLOSSARY in env.found_docs:
            self.entries = read_entries(Path(env.doc2path(GLOSSARY)).read_text(encoding="utf-8"))
            self.matcher = Matcher(self.entries)
            terms = env.get_domain("std").objects
            for entry in self.entries:
                found = [terms.get(("term", head), ("", "")) for head in entry.heads]
                self.anchors[entry] = tuple(anchor for page, anchor in found if page == GLOSSARY)
            self.anchors = {entry: anchors for entry, anchors in self.anchors.items() if anchors}
        known = [
            (entry.heads, [rule and sorted(rule) for rule in entry.rules], self.anchors.get(entry))
            for entry in self.entries
        ]
        state = hashlib.sha256(repr(known).encode() + Path(__file__).read_bytes()).hexdigest()
        if getattr(env, "glossary_links", None) == state:
            return []
        env.glossary_links = state
        return sorted(page for page in env.found_docs if PAGES.match(page))

    def link(self, app, doctree, docname):
        page = PAGES.match(docname)
        if page and self.anchors and app.builder.format == "html":
            address = app.builder.get_relative_uri(docname, GLOSSARY)
            addresses = {
                entry: tuple(f"{address}#{anchor}" for anchor in anchors) for entry, anchors in self.anchors.items()
            }
            link_first_uses(doctree, self.matcher, addresses, page["chapter"])


def setup(app):
    links = GlossaryLinks()
    app.connect("env-updated", links.update)
    app.connect("doctree-resolved", links.link, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
