"""What a family must bring to be compared: networks, an update, samples for given labels, perhaps a likelihood.

Every family learns p(x | label), so that one run answers for quality and for control. Samples and likelihoods are
those of a moving average of the weights, for all alike.

Shapes:  B batch, n pictures, H side, K = 10 classes. Pictures are (B, 1, H, H) in [-1, 1], labels (B,) int64 in [0, K).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genai_utils.compare.protocol import DIGITS, Protocol
from genai_utils.training import EMA, adamw, make_step
from genai_utils.training.loop import Step

K = len(DIGITS)
Sampler = Callable[[nn.Module, Tensor, torch.Generator], Tensor]  # (network, labels (n,), generator) -> (n, 1, H, H)


class Contestant:
    """One family under a protocol.

    `model` holds all that is trained; `net`, a part of it or all of it, is what samples, and of which the average is
    kept. `samplers` maps the name of each row of the table to a function of a network, labels and a generator: a family
    may have more than one, such as DDPM and DDIM.
    """

    title = ""
    group = ""  # of families, for colours in the chart
    chapter = ""  # slug of the chapter that teaches it
    likelihood: str | None = None  # "exact", "bound" or "estimate"; None: it has none
    costly = False  # whether one likelihood takes hundreds of network calls
    batch = 64
    rate = 1e-3  # learning rate from which the sweep starts
    model: nn.Module
    net: nn.Module
    samplers: dict[str, Sampler]

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss of a batch (x, labels), and logs."""
        raise NotImplementedError(f"{type(self).__name__} needs a loss, or a `step` of its own")

    def step(self, ema: EMA, rate: float) -> Step:
        """Return step(batch) -> logs: one update of everything that is trained, and of the average."""
        return make_step(self.model, self.loss, adamw(self.model, rate), ema=ema)

    def nats(self, net: nn.Module, x: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Return -log p(x | labels), or a bound from above on it, in nats per picture of 8-bit pixels, (B,)."""
        raise NotImplementedError(f"{type(self).__name__} has no likelihood")

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return count(self.model)

    @property
    def parameters_to_sample(self) -> int:
        """How many of them sampling needs."""
        return count(self.net)


def count(network: nn.Module) -> int:
    """Return the number of trained parameters, each once however often it is used."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def last(walk) -> Tensor:
    """Return the picture that a sampler of diffusion, or a solver, ends with: the second of three that it yields."""
    *_, (_, x, _) = walk
    return x
