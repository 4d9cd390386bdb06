"""What the widgets share: the view's base class, its JavaScript and style sheet, and the figure that stands in for it.

A cell that ends in a widget shows two things: a plain `<figure>` (on paper, on GitHub, without JavaScript) and the live
view, which hides the figure as soon as it has drawn itself. Nothing is ever loaded from outside: the picture data, the
script and the style sheet travel in the widget's state.
"""

import base64
import hashlib
from html import escape
from pathlib import Path

import anywidget
import traitlets as t
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

HERE = Path(__file__).parent
MIN_ALT = 30     # characters; shorter texts name a picture and do not say what is to be seen
MAX_KB = 400     # kB of pictures in one widget's state


def check_alt(alt: str) -> str:
    """Return `alt`, stripped, or raise a ValueError when it says too little."""
    alt = " ".join(alt.split()) if isinstance(alt, str) else ""
    if len(alt) < MIN_ALT:
        raise ValueError(f"alt must say what is to be seen, in {MIN_ALT} characters or more; got {alt!r}")
    return alt


def check_size(n_bytes: int, cure: str) -> None:
    """Raise a ValueError when a widget's picture data would make the page heavy."""
    if n_bytes > MAX_KB * 1000:
        raise ValueError(f"the widget would carry {n_bytes / 1000:.0f} kB, the limit is {MAX_KB} kB: {cure}")


def script(name: str, folder: Path = HERE) -> str:
    """Return the JavaScript of a widget: base.js, then `name`.js from `folder`; neither imports anything."""
    return f"{(HERE / 'base.js').read_text(encoding='utf-8')}\n{(folder / f'{name}.js').read_text(encoding='utf-8')}"


def img_html(data: bytes, mime: str, alt: str, width: int, *, style: str = "", kind: str = "gw-frame") -> str:
    """Return an `<img>` that holds its own data: `width` CSS pixels, never wider than the page."""
    source = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    css = f"max-width:100%;height:auto;{style}"
    return f'<img class="{kind}" src="{source}" alt="{escape(alt)}" width="{width}" style="{css}">'


def emit(html: str, text: str) -> None:
    """Show HTML in a notebook, `text` where there is none."""
    if InteractiveShell.initialized():
        display({"text/html": html, "text/plain": text}, raw=True)
    else:
        print(text)


class View(anywidget.AnyWidget):
    """Base of the book's widgets: one alt text, one static figure, one style.

    A subclass sets `_esm = script("its_name")`, its own traits, and `picture()`. It must be complete without a kernel.
    """

    _css = HERE / "base.css"
    alt = t.Unicode().tag(sync=True)
    uid = t.Unicode().tag(sync=True)     # joins the view to its static figure in the same page

    def __init__(self, *, alt: str, **traits) -> None:
        super().__init__(alt=check_alt(alt), **traits)
        self.uid = "gw-" + hashlib.sha256(self.picture().encode()).hexdigest()[:12]

    def picture(self) -> str:
        """Return the HTML of the static picture: `<img ...>` with this widget's alt text, then a caption if any."""
        raise NotImplementedError

    def figure(self) -> str:
        """Return the `<figure>` that is shown wherever the live view is not."""
        return f'<figure class="gw-still" data-gw-still="{self.uid}" style="margin:0">{self.picture()}</figure>'

    def _ipython_display_(self, **kwargs) -> None:
        emit(self.figure(), self.alt)
        data, metadata = self._repr_mimebundle_(**kwargs)
        display(data, raw=True, metadata=metadata)
