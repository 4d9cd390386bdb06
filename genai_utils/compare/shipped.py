"""The weights that come with the book: every family as it stood at the end of its first run."""

from torch import nn

from genai_utils.compare.contestant import Contestant
from genai_utils.compare.protocol import PRESETS
from genai_utils.weights import load_tensors


def weights_name(name: str) -> str:
    """Return what the registry calls the weights of a family, such as "compare-wgan-gp" of "wgan_gp"."""
    return f"compare-{name.replace('_', '-')}"


def load_contestant(name: str) -> tuple[Contestant, nn.Module]:
    """Return (contestant, network) of the embedded protocol, with the shipped weights, in evaluation mode.

    Args:
        name: a key of `CONTESTANTS`.
    Raises:
        ValueError: there is no such family, or no weights of it.
    """
    from genai_utils.compare import CONTESTANTS

    if name not in CONTESTANTS:
        raise ValueError(f"there is no family {name!r}; there are {', '.join(CONTESTANTS)}")
    contestant = CONTESTANTS[name](PRESETS["embedded"])
    own, stored = contestant.net.state_dict(), load_tensors(weights_name(name))
    contestant.net.load_state_dict({k: stored[k].to(v.dtype).view_as(v) for k, v in own.items()})
    return contestant, contestant.net.eval()
