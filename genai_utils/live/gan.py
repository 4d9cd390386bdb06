"""Chapter 11 live: walk from one digit of a DCGAN to another, or look at two dozen of them.

Sources: [DCGAN] Radford et al. 2016, arXiv:1511.06434 (walks: Sec. 6.1). [SLERP] White 2016, arXiv:1609.04468.
Shapes:  z (n, Z); pictures (n, 1, 32, 32) in [-1, 1].
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.export import Dim

from genai_utils.gan.dcgan import DCGAN
from genai_utils.live.entry import Act, Graph, Live, check_input, check_seed, pictures, seed, slider
from genai_utils.live.random import SharedRandom
from genai_utils.vae.latent import spherical_path

PLACES = [i / 8 for i in range(9)]
SHEET = 24


class Generator(nn.Module):
    """z (n, Z) -> pictures, batch normalisation by its running averages whatever the mode.

    It is written as a product and a sum: an exporter would melt a batch normalisation into the convolution before it,
    whose weights were then no longer numbers that float16 holds.
    """

    def __init__(self, gan: DCGAN) -> None:
        super().__init__()
        self.layers = gan.generator.layers

    def forward(self, z: Tensor) -> Tensor:
        x = z[:, :, None, None]
        for layer in self.layers:
            if isinstance(layer, nn.BatchNorm2d):
                scale = layer.weight * torch.rsqrt(layer.running_var + layer.eps)
                x = x * scale[:, None, None] + (layer.bias - layer.running_mean * scale)[:, None, None]
            else:
                x = layer(x)
        return x


def graphs(gan: DCGAN) -> dict[str, Graph]:
    z, n = torch.zeros(2, gan.cfg.latent), {0: Dim("n", min=1, max=64)}
    return {"generator": Graph(module=Generator(gan), inputs={"z": z}, outputs=("x",), dynamic={"z": n})}


def facts(gan: DCGAN) -> dict:
    return {"latent": gan.cfg.latent}


def walk(run, facts, inputs) -> Iterator[dict]:
    """The picture at a place of the arc between two codes, and nine pictures of the whole way."""
    for field in ("from", "to"):
        check_seed(field, inputs[field])
    check_input("place", inputs["place"], 0, 1)
    a, b = (SharedRandom(inputs[field]).normal(facts["latent"]).double() for field in ("from", "to"))
    weights = torch.tensor([inputs["place"], *PLACES], dtype=torch.float64)
    x = run("generator", z=spherical_path(a, b, weights).float())["x"]
    yield {"picture": x[:1], "walk": x[1:]}


def sheet(run, facts, inputs) -> Iterator[dict]:
    """Two dozen pictures, of codes drawn one after the other."""
    check_seed("seed", inputs["seed"])
    yield {"sheet": run("generator", z=SharedRandom(inputs["seed"]).normal(SHEET, facts["latent"]))["x"]}


LIVE = Live(
    weights={"dcgan-mnist": DCGAN},
    graphs=graphs,
    facts=facts,
    acts={
        "walk": Act(
            title="Walk from one digit to another",
            program=walk,
            graphs=("generator",),
            controls=(
                seed(19, "from", "seed of the first"),
                seed(20, "to", "seed of the last"),
                slider("place", "share of the way", 0, 1, 0.5, step=0.01, digits=2),
            ),
            outputs=(
                pictures("picture", [""], size=224),
                pictures("walk", [f"{place:g}" for place in PLACES], size=72),
            ),
            presets={"half way": {}, "at the start": {"place": 0}, "another end": {"to": 23}},
        ),
        "sheet": Act(
            title="Two dozen samples",
            program=sheet,
            graphs=("generator",),
            controls=(seed(0),),
            outputs=(pictures("sheet", [""] * SHEET, size=72, columns=8),),
            presets={"none of them chosen": {}, "two dozen more": {"seed": 1}},
        ),
    },
)
