"""The package's own text, shown in a chapter and never copied into it."""

import inspect
from html import escape
from pathlib import Path

from pygments.lexers import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Token

from genai_utils.widgets.base import emit

PACKAGE = Path(__file__).resolve().parents[2]
# token -> (class, colour on light, colour on dark); every pair reads at 4.5:1 or better (a test computes it)
PALETTE = {
    Comment: ("c", "#5f5f5f", "#b5b5b5"), String: ("s", "#1b6e1b", "#9ad37f"), Number: ("m", "#8a4b00", "#f5ab6b"),
    Keyword: ("k", "#7a1fa2", "#d9a4f0"), Operator.Word: ("k", "#7a1fa2", "#d9a4f0"),
    Name.Decorator: ("d", "#8a4b00", "#f5ab6b"),
    Name.Function: ("f", "#005a9c", "#7cc4f5"), Name.Class: ("f", "#005a9c", "#7cc4f5"),
    Name.Builtin: ("b", "#00626b", "#6fd3dc"), Token: ("", "#1f1f1f", "#e8e8e8"),
}
LIGHT_PAGE, DARK_PAGE = "#f5f5f5", "#22262c"


def show_source(*objects) -> None:
    """Show the source text of functions, classes or modules, highlighted, with the file and line where each stands.

    Raises:
        TypeError: an object has no Python source (a built-in, or a function typed into a plain interpreter).
    """
    for thing in objects:
        try:
            lines, first = inspect.getsourcelines(thing)
        except (OSError, TypeError) as error:
            raise TypeError(f"{thing!r} has no Python source to show; give a function, class or module") from error
        text = inspect.cleandoc("".join(lines)) if lines[0][0].isspace() else "".join(lines).rstrip()
        emit(to_html(text, where(thing, first)), text)


def where(thing, first: int) -> str:
    """Return "genai_utils/vae/vae.py, line 12", or the name of the object when it stands outside the package."""
    path = Path(inspect.getsourcefile(inspect.unwrap(thing)) or "").resolve()
    inside = path.is_relative_to(PACKAGE)
    name = path.relative_to(PACKAGE).as_posix() if inside else getattr(thing, "__name__", "source")
    return f"{name}, line {max(1, first)}"


def to_html(text: str, title: str) -> str:
    """Return highlighted HTML that carries its own colours, for light pages and dark ones."""
    parts = []
    for token, value in PythonLexer(stripnl=False).get_tokens(text):
        mark = next((PALETTE[kind][0] for kind in token_line(token) if kind in PALETTE), "")
        parts.append(f'<span class="gs-{mark}">{escape(value)}</span>' if mark and value.strip() else escape(value))
    code = "".join(parts).rstrip("\n")
    region = f'<pre tabindex="0" role="region" aria-label="Source text: {escape(title)}">{code}</pre>'
    return f'<style>{style_sheet()}</style><figure class="gs"><figcaption>{escape(title)}</figcaption>{region}</figure>'


def token_line(token):
    """Yield a token type and its ancestors, nearest first."""
    while token is not None:
        yield token
        token = token.parent


def style_sheet() -> str:
    """Return the rules of the two palettes."""
    def rules(prefix: str, column: int, page: str) -> str:
        colours = "".join(f"{prefix} .gs-{v[0]}{{color:{v[column]}}}" for v in PALETTE.values() if v[0])
        return f"{prefix} pre{{background:{page};color:{PALETTE[Token][column]}}}{colours}"

    shape = (".gs{margin:0}.gs pre{overflow-x:auto;padding:.75rem;border-radius:6px;border:1px solid #8886;"
             "margin:.25rem 0 0;font:13px/1.45 ui-monospace,Menlo,Consolas,monospace;white-space:pre}"
             ".gs figcaption{font-size:.85em;color:inherit;text-align:left}")
    dark = ('html[data-theme="dark"] .gs', '[data-jp-theme-light="false"] .gs', 'html[theme="dark"] .gs')
    return shape + rules(".gs", 1, LIGHT_PAGE) + "".join(rules(d, 2, DARK_PAGE) for d in dark)
