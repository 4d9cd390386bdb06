"""Chapter 14 live: draw digits from noise, and give a drawn digit its noise and its exact density.

The graphs know one noise of the shape of a picture: the levels of z, each unsqueezed into the place it left.

Sources: [GLOW] Kingma & Dhariwal 2018, arXiv:1807.03039 (temperature: Sec. 6).
Shapes:  pictures x and noises z (n, 1, 28, 28), x in about [-1, 1].
"""

import math
from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from genai_utils.flows.coupling import normal_log_prob
from genai_utils.flows.glow import LEVELS, Glow, Prior, dequantise, squeeze, unsqueeze
from genai_utils.live.digits import digits, grey
from genai_utils.live.entry import (
    Act, Graph, Live, Refused, check_input, check_seed, drawing, numbers, pictures, runner, seed, slider,
)  # fmt: skip
from genai_utils.live.random import SharedRandom
from genai_utils.metrics.likelihood import bits_per_dim

ROW = 8  # pictures of one temperature
SHOWN = [3, 8, 14, 22, 28, 32, 38, 43, 50, 56]
SAME = 0.01  # nats: densities nearer than this count as equal


class Walk(nn.Module):
    """What both ways share: networks compute in float32, what runs through them is kept in float64.

    A step's ActNorm and 1x1 convolution are one matrix, found once: W diag(s), or its inverse.
    """

    def __init__(self, glow: Glow, inverse: bool) -> None:
        super().__init__()
        self.levels, self.priors, self.volume = glow.levels, glow.priors, 0.0
        device = glow.levels[0][0].norm.bias.device
        self.wide = torch.float32 if device.type == "mps" else torch.float64
        with torch.no_grad():
            for i, (level, (_, side, _)) in enumerate(zip(glow.levels, glow.z_shapes)):
                for j, step in enumerate(level):
                    step = deepcopy(step).cpu().double()
                    matrix = step.conv.weight() * step.norm.log_scale.exp()
                    bias = -step.norm.bias if inverse else matrix @ step.norm.bias
                    matrix = torch.linalg.inv(matrix) if inverse else matrix
                    self.register_buffer(f"matrix_{i}_{j}", matrix.to(device, self.wide))
                    self.register_buffer(f"bias_{i}_{j}", bias.to(device, self.wide)[:, None])
                    self.volume += side**2 * (step.norm.log_scale.sum() + step.conv.log_abs_det()).item()

    def mix(self, x: Tensor, i: int, j: int) -> Tensor:
        """Apply the matrix of step j of level i at every pixel."""
        mixed = getattr(self, f"matrix_{i}_{j}") @ x.flatten(2) + getattr(self, f"bias_{i}_{j}")
        return mixed.unflatten(2, x.shape[2:])

    def net(self, net: nn.Module, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two halves of what a network says of `kept`."""
        return net(kept.to(next(net.parameters()).dtype)).to(self.wide).chunk(2, dim=1)

    def moments(self, prior: Prior, like: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log-deviation of what leaves."""
        found = prior.channel.to(self.wide)[None].chunk(2, dim=1) if prior.net is None else self.net(prior.net, kept)
        return found[0], found[1].expand_as(like)


class Forward(Walk):
    """x -> z and log p(x) in nats (n,), the latter in float64."""

    def __init__(self, glow: Glow) -> None:
        super().__init__(glow, inverse=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, gone, log_p = x.to(self.wide), [], self.volume
        for i, (level, prior) in enumerate(zip(self.levels, self.priors)):
            x = squeeze(x)
            for j, step in enumerate(level):
                kept, moved = self.mix(x, i, j).chunk(2, dim=1)
                shift, raw = self.net(step.coupling.net, kept)
                log_s = F.logsigmoid(raw)
                x, log_p = torch.cat([kept, (moved + shift) * log_s.exp()], dim=1), log_p + log_s.flatten(1).sum(1)
            kept, leaving = (None, x) if i == len(self.levels) - 1 else x.chunk(2, dim=1)
            mean, log_std = self.moments(prior, leaving, kept)
            z, x = (leaving - mean) * (-log_std).exp(), kept
            log_p = log_p + normal_log_prob(z) - log_std.flatten(1).sum(1)
            gone.append(z)
        z = unsqueeze(gone.pop())
        while gone:
            z = unsqueeze(torch.cat([z, gone.pop()], dim=1))
        return z.float(), log_p


class Inverse(Walk):
    """z -> x."""

    def __init__(self, glow: Glow) -> None:
        super().__init__(glow, inverse=True)

    def forward(self, z: Tensor) -> Tensor:
        rest, left, x = squeeze(z.to(self.wide)), [], None
        for _ in self.levels[:-1]:
            rest, leaving = rest.chunk(2, dim=1)
            rest = squeeze(rest)
            left.append(leaving)
        left.append(rest)
        for i in reversed(range(len(self.levels))):
            part = left.pop()
            mean, log_std = self.moments(self.priors[i], part, x)
            part = mean + part * log_std.exp()
            x = part if x is None else torch.cat([x, part], dim=1)
            for j, step in reversed(list(enumerate(self.levels[i]))):
                kept, moved = x.chunk(2, dim=1)
                shift, raw = self.net(step.coupling.net, kept)
                x = self.mix(torch.cat([kept, moved * (-F.logsigmoid(raw)).exp() - shift], dim=1), i, j)
            x = unsqueeze(x)
        return x.float()


def graphs(glow: Glow) -> dict[str, Graph]:
    z, n = torch.zeros(2, glow.cfg.channels, glow.cfg.side, glow.cfg.side), {0: Dim("n", min=1, max=64)}
    return {
        "inverse": Graph(module=Inverse(glow), inputs={"z": z}, outputs=("x",), dynamic={"z": n}),
        "forward": Graph(module=Forward(glow), inputs={"x": z}, outputs=("z", "log_p"), dynamic={"x": n}),
    }


def facts(glow: Glow) -> dict:
    """The log-densities of sixty test digits."""
    x = torch.cat([spread_out(x.flatten().tolist(), 0) for x in digits(list(range(60)))])
    return {"scores": sorted(runner(graphs(glow))("forward", x=x)["log_p"].tolist())}


def spread_out(pixels: list[int], seed: int) -> Tensor:
    """Return a picture with each pixel anywhere in the bin of its grey level, (1, 1, 28, 28)."""
    u = np.floor(SharedRandom(seed).uniform(784) * 2.0**24) / 2.0**24  # float32 would round some of them up to 1
    return dequantise(grey(pixels), noise=torch.from_numpy(u).float().view(1, 1, 28, 28))


def sample(run, facts, inputs) -> Iterator[dict]:
    """Eight pictures of noise times the temperature."""
    check_seed("seed", inputs["seed"])
    check_input("temperature", inputs["temperature"], 0, 1)
    z = inputs["temperature"] * SharedRandom(inputs["seed"]).normal(ROW, 1, 28, 28).double()
    yield {"row": run("inverse", z=z.float())["x"].clamp(-1, 1)}


def invert(run, facts, inputs) -> Iterator[dict]:
    """A picture, what comes back from its noise, the noise (black -3, white 3), and the density of the picture."""
    check_input("x", inputs["x"], 0, 255, whole=True, n=784)
    check_seed("seed", inputs["seed"])
    x = spread_out(inputs["x"], inputs["seed"])
    there = run("forward", x=x)
    if not (there["z"].isfinite().all() and there["log_p"].isfinite().all()):
        raise Refused("x", OVERFLOW)
    back = run("inverse", z=there["z"])["x"].nan_to_num(0.0, 1.0, -1.0).clamp(-1, 1)
    score = there["log_p"].item()
    bits = bits_per_dim(-score, 784, bin_width=2 / LEVELS)
    error = 128 * (back.double() - x.double()).abs().max().item()
    yield {
        "pictures": torch.cat([x, back, (there["z"] / 3).clamp(-1, 1)]),
        "figures": [
            ("log p(x), exact for the dequantised picture", score, 2, "nats"),
            ("bound on the 8-bit picture, estimated by one draw", bits, 4, "bits/dim"),
            ("test digits with a lower log p(x)", sum(s < score - SAME for s in facts["scores"]), 0, "of 60"),
            ("largest error of the way back", math.floor(100 * error + 0.5) / 100, 2, "grey levels"),
        ],
    }


OVERFLOW = "the numbers overflow on the way to noise: this is too far from any digit; draw less, or clear the pad"
DIGITS = digits(SHOWN)

LIVE = Live(
    weights={"glow-mnist": Glow},
    graphs=graphs,
    facts=facts,
    acts={
        "sample": Act(
            title="Draw digits",
            program=sample,
            graphs=("inverse",),
            controls=(slider("temperature", "temperature", 0, 1, 0.8, step=0.05, digits=2), seed(7)),
            outputs=(pictures("row", [""] * ROW, size=84),),
            presets={
                "temperature 0.8": {},
                "0: the middle of every prior": {"temperature": 0},
                "1: the model itself": {"temperature": 1},
                "other noise, 0.6": {"temperature": 0.6, "seed": 8},
            },
        ),
        "invert": Act(
            title="Weigh a drawing",
            program=invert,
            graphs=("forward", "inverse"),
            controls=(drawing("x", "your digit", DIGITS, 2), seed(0, label="seed of the dequantisation noise")),
            outputs=(
                pictures("pictures", ["the picture, dequantised", "back from its noise", "its noise"], size=140),
                numbers("figures"),
            ),
            presets={
                "a handwritten 2": {},
                "the same upside down": {"x": DIGITS[2].flip(1, 2).flatten().tolist()},
                "nothing drawn: likelier than any digit": {"x": [0] * 784},
            },
        ),
    },
)
