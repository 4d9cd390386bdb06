"""Sphinx extension: the directive of book/choose.md, which shows the rules of genai_utils.compare.guide.

`{decision-guide} form` is the questions, hidden until assets/guide.js runs; `table` is the typical situations, each
linked to the form with its answers filled in, and `rules` is every rule, every family and what the script needs.
Citations and links to chapters are made here, as everywhere in the book; the script only copies them.
"""

import html
import json
from collections import defaultdict
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from genai_utils.compare import guide
from genai_utils.results import load_results

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SHOWN = {"for": 3, "against": 2, "mind": 1}  # reasons of each kind beside a family


class DecisionGuide(SphinxDirective):
    required_arguments = 1  # form, table or rules

    def run(self):
        part = {"form": self.form, "table": self.table, "rules": self.rules}.get(self.arguments[0])
        if part is None:
            raise self.error(f"decision-guide shows form, table or rules, not {self.arguments[0]!r}")
        for path in sources():
            self.env.note_dependency(str(path))
        return [nodes.container("", *part(), classes=["decision-guide"])]

    def form(self):
        fields = []
        for key, (question, options) in guide.QUESTIONS.items():
            radios = "".join(
                f'<label><input type="radio" name="{key}" value="{name}"> <span>{html.escape(words)}</span></label>'
                for name, words in options.items()
            )
            fields.append(f"<fieldset><legend>{html.escape(question)}</legend>{radios}</fieldset>")
        places = "".join(f'<span id="{html.escape(address(given))}"></span>' for given in guide.SITUATIONS.values())
        return [raw(
            f"{places}<noscript><p>The questions need JavaScript. The table below answers the usual ones.</p>"
            f'</noscript><form class="guide-form" hidden>{"".join(fields)}<button type="reset">Start again</button>'
            "<p>Your answers stay in the address of this page: copy it, and somebody else sees what you see.</p></form>"
            '<p class="guide-said" role="status" aria-live="polite"></p><div class="guide-result"></div>'
        )]  # fmt: skip

    def table(self):
        rules = self.built()
        rows = [row(nodes.paragraph("", "You want"), [nodes.paragraph("", "What fits, and why")])]
        for words, given in guide.SITUATIONS.items():
            choices = guide.proposed(guide.rank(dict(zip(guide.QUESTIONS, given)), rules))
            first = nodes.paragraph("", "", nodes.strong("", "", *self.family(choices[0].family)), nodes.Text(". "))
            known = [rule for rule in choices[0].reasons if rule.points > 0]
            for rule in ([rule for rule in known if rule.about_aim] or known)[: SHOWN["for"] - 1]:
                first += [*self.why(rule), nodes.Text(" ")]
            count = {1: "Only one fits.", 2: "Only two fit. Next: "}.get(len(choices), "Next: ")
            if not choices[0].fits:
                count = "No family here has evidence for what matters most; these are the best by the rest. Next: "
            others = nodes.paragraph("", count)
            for place, choice in enumerate(choices[1:]):
                others += [nodes.Text(", " if place else ""), *self.family(choice.family)]
            if choices[1:]:
                others += nodes.Text(".")
            link = nodes.reference("", words, refuri=f"#{address(given)}", internal=True)
            rows.append(row(nodes.paragraph("", "", link), [first, others]))
        group = nodes.tgroup("", nodes.colspec(colwidth=30, stub=1), nodes.colspec(colwidth=70), cols=2)
        group += [nodes.thead("", rows[0]), nodes.tbody("", *rows[1:])]
        return [nodes.table("", group, classes=["guide-table"])]

    def rules(self):
        rules, families, groups, data = self.built(), nodes.enumerated_list(), defaultdict(list), []
        for name in guide.FAMILIES:
            families += nodes.list_item("", nodes.paragraph("", "", *self.family(name)), ids=[f"guide-f-{name}"])
        joined = defaultdict(list)  # one entry for the families that share a reason
        for rule in rules:
            joined[rule.when, rule.score, rule.text, rule.evidence].append(rule)
        for place, same in enumerate(joined.values()):
            names = ", ".join(guide.FAMILIES[rule.family].title for rule in same)
            score = "ruled out" if same[0].score is None else f"{same[0].score:+d}" if same[0].score else "to mind"
            text = nodes.paragraph("", "", nodes.strong("", f"{names} ({score}): "))
            text += nodes.inline("", "", *self.why(same[0]), classes=["guide-why"])
            groups[same[0].when].append(nodes.list_item("", text, ids=[f"guide-r-{place}"]))
            points = None if same[0].score is None else same[0].points
            data.append({"when": same[0].when, "families": [rule.family for rule in same], "points": points})
        every = nodes.definition_list()
        for when, items in groups.items():
            term, held = nodes.term("", in_words(when)), nodes.definition("", nodes.bullet_list("", *items))
            every += nodes.definition_list_item("", term, held)
        titles = {name: family.title for name, family in guide.FAMILIES.items()}
        record = {"questions": {key: list(options) for key, (_, options) in guide.QUESTIONS.items()},
                  "families": titles, "rules": data, "shown": SHOWN, "oneNetwork": guide.ONE_NETWORK}  # fmt: skip
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        return [
            self.never(rules), raw(f"<details><summary>All {len(data)} rules</summary>"), every, raw("</details>"),
            raw("<details><summary>The families, in the order that decides between equals</summary>"), families,
            raw(f'</details><script type="application/json" id="guide-data">{text}</script>'),
        ]  # fmt: skip

    def never(self, rules):
        """Say which families are first for no answers, and what their best place is."""
        found = nodes.bullet_list()
        places = guide.places(rules)
        for name in guide.FAMILIES:
            place, given, first = places.get(name, (None, None, None))
            if place == 0:
                continue
            if place is None:
                line = [*self.family(name), nodes.Text(": ruled out, whatever the answers.")]
            else:
                words = in_words(tuple((key, (answer,)) for key, answer in given.items()))
                line = [*self.family(name), nodes.Text(f": at best number {place + 1} ({words}), behind "),
                        *self.family(first), nodes.Text(".")]  # fmt: skip
            found += nodes.list_item("", nodes.paragraph("", "", *line))
        if not len(found):
            return nodes.paragraph("", "Every family is the first choice for some answers.")
        lead = nodes.paragraph("", "These families are the first choice for no answers:")
        return nodes.container("", lead, found, classes=["guide-never"])

    def built(self):
        try:
            return guide.build_rules(load_results(21)["values"])
        except ValueError as error:
            raise ExtensionError(f"the decision guide cannot be built: {error}") from error

    def family(self, name):
        """Return nodes: the family's title, linked to its chapter."""
        family = guide.FAMILIES[name]
        if family.chapter is None:
            return [nodes.Text(f"{family.title} (chapter planned)")]
        return self.inline(f"{{doc}}`{family.title} </notebooks/{family.chapter}>`")

    def why(self, rule):
        """Return nodes: the reason, with its citations and links to what was measured."""
        keys = [item[6:] for item in rule.evidence if item.startswith("paper:")]
        cited = f" {{cite}}`{','.join(keys)}`" if keys else ""
        known = {family.chapter[:2]: family.chapter for family in guide.FAMILIES.values() if family.chapter}
        known |= {path.stem[:2]: path.stem for path in NOTEBOOKS.glob("[0-9]*.ipynb")} | {"21": "21_comparison"}
        numbers = [item.split(":")[1].zfill(2) if item.startswith("result:") else "21"
                   for item in rule.evidence if not item.startswith("paper:")]  # fmt: skip
        links = " and ".join(f"{{doc}}`chapter {n} </notebooks/{known[n]}>`" for n in dict.fromkeys(numbers))
        return self.inline(f"{rule.text.removesuffix('.')}{cited}{f' ({links})' if links else ''}.")

    def inline(self, text):
        found, messages = self.state.inline_text(text, self.lineno)
        return [*found, *messages]


def sources():
    """Return the files that the page depends on."""
    package = Path(guide.__file__).parents[1]
    written = [Path(guide.__file__), package / "compare" / "guide_rules.txt"]
    return [*written, *sorted((package / "results").glob("??.json"))]


def address(given):
    """Return what stands after the # when the form has these answers, as assets/guide.js writes and reads it."""
    return "&".join(f"{key}={answer}" for key, answer in zip(guide.QUESTIONS, given))


def in_words(when):
    """Return the answers of a rule's condition, in the form's words."""
    if not when:
        return "Whatever the answers"
    return "; ".join(" or ".join(guide.QUESTIONS[key][1][answer] for answer in given) for key, given in when)


def row(first, second):
    return nodes.row("", nodes.entry("", first), nodes.entry("", *second))


def raw(text):
    return nodes.raw("", text, format="html")


def add_files(app, pagename, templatename, context, doctree):
    """Give the script and the style to the pages that have the guide, and to no others."""
    if doctree is not None and any("decision-guide" in node["classes"] for node in doctree.findall(nodes.container)):
        app.add_js_file("guide.js", loading_method="defer")
        app.add_css_file("guide.css")


def setup(app):
    app.add_directive("decision-guide", DecisionGuide)
    app.connect("html-page-context", add_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
