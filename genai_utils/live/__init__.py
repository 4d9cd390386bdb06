"""The book's own models as they run in a reader's page, with no kernel and no server.

To make a model live: a file here that ends in `LIVE = Live(...)` (entry.py says what stands in it), the same programs
in a JavaScript file beside it, and its name below. `make book` exports the graphs; `run_live(name, alt=...)` in a
chapter shows them.
"""

from importlib import import_module

from genai_utils.live.entry import Act, Graph, Live, Refused, runner
from genai_utils.live.random import SharedRandom

# each a module here and a JavaScript file; in the order of the chapters
NAMES = (
    "lstm", "pixelcnn", "wavenet", "gpt", "bert", "vit", "vae", "vqvae", "gan", "stylegan", "glow", "matching",
    "diffusion",
)  # fmt: skip


def load(name: str) -> Live:
    """Return the live model of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in NAMES:
        raise ValueError(f"there is no live model {name!r}; there are {', '.join(NAMES)}")
    return import_module(f"genai_utils.live.{name}").LIVE


__all__ = ["NAMES", "Act", "Graph", "Live", "Refused", "SharedRandom", "load", "runner"]
