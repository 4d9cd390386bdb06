"""What the browser tests read from the built book without a browser: pages, chapters, and the widgets' states.

GENAI_BOOK names another built book than _build/html.
"""

import base64
import functools
import json
import os
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
BOOK = Path(os.environ.get("GENAI_BOOK") or ROOT / "_build" / "html")
SOURCE = Path(os.environ.get("GENAI_BOOK_SOURCE") or ROOT)          # where _toc.yml, _config.yml and notebooks/ are


# Warnings that are known and harmless; every other warning, and every error, fails a page.
ALLOWED = (
    "strict mode: use allowUnionTypes",          # the checker inside html-manager, about its own schema
    "GPU stall due to ReadPixels",               # a browser without a graphics card, about our reading the canvas
)


def noise(console: list[str]) -> list[str]:
    """Console lines that are not known to be harmless."""
    return [line for line in console if not any(known in line for known in ALLOWED)]


def toc() -> list[str]:
    """Every file that _toc.yml names, root first, without suffix."""
    def walk(entry):
        found = [entry[key] for key in ("root", "file") if key in entry]
        for key in ("parts", "chapters", "sections"):
            found += [name for child in entry.get(key, []) for name in walk(child)]
        return found

    return walk(yaml.safe_load((SOURCE / "_toc.yml").read_text(encoding="utf-8")))


def config() -> dict:
    return yaml.safe_load((SOURCE / "_config.yml").read_text(encoding="utf-8"))


def pages() -> list[str]:
    """Every page of the built book; those of _toc.yml if it has not been built, so that each of them fails."""
    built = sorted(p.relative_to(BOOK).as_posix() for p in BOOK.rglob("*.html") if "_static" not in p.parts)
    return [p for p in built if p != "index.html"] or [f"{name}.html" for name in toc()]


def notebooks() -> list[str]:
    """The pages that are made of notebooks: chapters and assignments."""
    return [f"{name}.html" for name in toc() if (SOURCE / f"{name}.ipynb").exists()]


def chapters() -> list[str]:
    """The chapters' pages."""
    return [page for page in notebooks() if "/assignments/" not in page]


class Page(HTMLParser):
    """Images (alt, inside a noscript or not), links, ids, widget views and states of one page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.images, self.links, self.ids, self.views, self.states = [], [], set(), [], {}
        self._script = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.ids.add(a.get("id"))
        if tag == "img":
            self.images.append(a)
        if tag == "a" and a.get("href"):
            self.links.append(a["href"])
        if tag == "script":
            self._script = a.get("type", "")

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script == "application/vnd.jupyter.widget-view+json":
            self.views.append(json.loads(data)["model_id"])
        if self._script == "application/vnd.jupyter.widget-state+json":
            self.states |= json.loads(data)["state"]


@dataclass(frozen=True)
class Widget:
    """One widget of a page: the how-manyeth, its class name, its state with bytes decoded."""

    page: str
    place: int
    kind: str
    state: dict

    def __str__(self) -> str:
        return f"{Path(self.page).stem}-{self.place}-{self.kind}"


def read(page: str) -> Page:
    return Page((BOOK / page).read_text(encoding="utf-8"))


def widgets(page: str) -> list[Widget]:
    """The widgets of a page, in the order in which they stand there."""
    if not (BOOK / page).exists():
        return []
    found, parsed = [], read(page)
    for place, model in enumerate(parsed.views):
        entry = parsed.states[model]
        state = dict(entry["state"])
        for buffer in entry.get("buffers", []):
            if len(buffer["path"]) == 1:
                state[buffer["path"][0]] = base64.b64decode(buffer["data"])
        found.append(Widget(page, place, state.get("_anywidget_id", entry["model_name"]).rpartition(".")[2], state))
    return found


@functools.cache
def prose(page: str) -> str:
    """A page's text without its code and its navigation."""
    html = (BOOK / page).read_text(encoding="utf-8")
    return re.sub(r"<(script|style|pre|code|nav)\b.*?</\1>|<[^>]+>", " ", html, flags=re.S)


@functools.cache
def words(page: str) -> list[str]:
    """Plain words of eight letters or more in a page's text, rarest first."""
    found = re.findall(r"(?<![\w.&/-])[a-z]{8,14}(?![\w./-])", prose(page))
    return sorted(set(found), key=lambda w: (found.count(w), w))
