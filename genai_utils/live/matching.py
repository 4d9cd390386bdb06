"""Chapter 15 live: follow the velocity from the reader's own noise to a digit, by four solvers, in few steps or many.

Sources: as in genai_utils.flows.ode and .matching, whose solvers and times these are.
Shapes:  pictures (1, 1, 28, 28), data in [-1, 1]; t (1,) in [0, 1], 0 is noise.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from genai_utils.diffusion.unet import UNet
from genai_utils.flows.matching import flow_times, split_velocity, velocity_field
from genai_utils.flows.ode import STEPS, solve
from genai_utils.live.entry import Act, Graph, Live, Refused, choice, numbers, pictures, seed, slider
from genai_utils.live.random import SharedRandom
from genai_utils.live.steady import SteadyUNet

SOLVERS = ["Euler", "midpoint", "Heun", "Runge-Kutta 4"]  # names of ode.STEPS, in its order
ASKED = [*map(str, range(10)), "any"]  # the network's last class was trained to mean any digit


class Velocity(nn.Module):
    """x (1, 1, 28, 28), t (1,), label (1,) -> the velocity, like x; the U-Net's time is 1000 (1 - t)."""

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.unet = SteadyUNet(unet)

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return velocity_field(self.unet, labels=label, clock=lambda t: 1000 * (1 - t))(x, t)


def graphs(unet: UNet) -> dict[str, Graph]:
    inputs = {"x": torch.zeros(1, 1, 28, 28), "t": torch.tensor([0.5]), "label": torch.tensor([2])}
    return {"velocity": Graph(module=Velocity(unet), inputs=inputs, outputs=("u",))}


def facts(unet: UNet) -> dict:
    """Nothing: times and steps come from the reader."""
    return {}


def draw(run, facts, inputs) -> Iterator[dict]:
    """Walk from noise to a digit: after every step x_t, and where the line from the step's beginning leads."""
    steps = inputs["steps"]
    if not (steps >= 1 and steps % 1 == 0):
        raise Refused("steps", f"steps must be a whole number of at least 1, got {steps:g}: give 1 for a single step")
    x, label, ends = SharedRandom(inputs["seed"]).normal(1, 1, 28, 28), torch.tensor([inputs["label"]]), []

    def field(x, t):
        u = run("velocity", x=x, t=t, label=label)["u"]
        ends.append(split_velocity(u, x, t)[0])  # x + (1 - t) u
        return u

    walk = solve(field, x, flow_times(int(steps)), method=[*STEPS][inputs["solver"]])
    for done, (t, x, evaluations) in enumerate(walk, start=1):
        yield {
            "pictures": torch.cat([x, ends[0]]),
            "figures": [("step", done, 0, f"of {steps:g}"), ("t", t, 2, ""), ("evaluations", evaluations, 0, "")],
        }
        ends.clear()


LIVE = Live(
    weights={"flow-mnist": UNet},
    graphs=graphs,
    facts=facts,
    acts={
        "draw": Act(
            title="Draw a digit",
            program=draw,
            graphs=("velocity",),
            go="Draw",
            controls=(
                choice("label", "digit", ASKED, 2),
                choice("solver", "solver", SOLVERS),
                slider("steps", "steps", 1, 50, 8),
                seed(9),
            ),
            outputs=(
                pictures("pictures", ["x after the step", "end of the line it stepped along"], size=150, film=True),
                numbers("figures"),
            ),
            presets={
                "a 2 by Euler, 8 steps": {},
                "8 evaluations by Heun: 4 steps": {"solver": 2, "steps": 4},
                "nearly exact: Runge-Kutta 4, 12 steps": {"solver": 3, "steps": 12},
                "one straight step: a blur": {"steps": 1},
            },
        )
    },
)
