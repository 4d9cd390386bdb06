"""Where a contestant computes: on a GPU, or on a CPU in a quicker order of memory. What it learns stays the same.

Judge, labels and files live on the CPU. A placed contestant takes them from there, and hands pictures and likelihoods
back. Up to rounding it computes what it would have, with two exceptions: on a GPU it draws its noise there, and trains
in mixed precision where the GPU has bfloat16; and StyleGAN2, compiled by inductor, draws other noise of the same law.

Shapes:  as in contestant.py.
"""

import torch
from torch import Tensor, nn

from genai_utils.compare.contestant import Contestant
from genai_utils.training import EMA


def placed(make: type[Contestant], device: torch.device | str = "cpu", *, backend: str | None = None) -> type:
    """Return the class of contestant, computing on a device.

    Its weights lie channels-last in memory, which convolutions like.

    Args:
        make: a class of contestant.
        device: where it trains, draws and measures likelihoods.
        backend: of torch.compile, such as "inductor" (which wants a C++ compiler), for what gains most by it: the
            density of a flow, and the networks of StyleGAN2. None compiles nothing.
    """
    device = torch.device(device)

    class Placed(make):
        def __init__(self, protocol) -> None:
            super().__init__(protocol)
            self.samplers = {row: self._from_cpu(sampler) for row, sampler in self.samplers.items()}

        def step(self, ema: EMA, rate: float):
            for net in (self.model, ema.model):
                net.to(device, memory_format=torch.channels_last)
            if backend and getattr(self, "row", None) == "stylegan2":
                self.model.generator.network.compile(backend=backend)
                self.model.discriminator.compile(backend=backend)
            inner, calls = super().step(ema, rate), 0

            def step(batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
                nonlocal calls
                calls += 1
                if backend and calls == 3 and hasattr(self.model, "log_prob"):  # a flow sets itself by its first batch
                    self.model.log_prob = torch.compile(self.model.log_prob, backend=backend)
                return inner(tuple(part.to(device) for part in batch))

            step.parts = inner.parts
            return step

        def nats(self, net: nn.Module, x: Tensor, labels: Tensor, generator: torch.Generator | None) -> Tensor:
            if x.device.type == device.type:  # so it is in training
                return super().nats(net, x, labels, generator)
            return super().nats(net.to(device), x.to(device), labels.to(device), self._own(generator)).cpu()

        def _from_cpu(self, sampler):
            return lambda net, labels, generator: sampler(
                net.to(device), labels.to(device), self._own(generator)
            ).cpu()

        def _own(self, generator: torch.Generator) -> torch.Generator:
            """Return a generator on the device, seeded by a draw of this one; on a CPU the same."""
            if device.type == "cpu":
                return generator
            seed = int(torch.randint(2**31, (), generator=generator))
            return torch.Generator(device).manual_seed(seed)

    Placed.__name__ = make.__name__  # by which files of a run are called
    return Placed
