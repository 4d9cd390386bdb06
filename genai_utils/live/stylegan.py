"""Chapter 12 live: pull styles to their mean, mix the coarse ones of one digit with the fine ones of another, walk.

Sources: [SG1] Karras et al. 2019, arXiv:1812.04948 (mixing: Sec. 3.1; truncation: Appendix B; walks: Sec. 4.1).
Shapes:  z (n, Z); styles w (n, S), for each place (n, L, S); noise (1, N), all layers one after the other; pictures
         (n, 1, 32, 32), in about [-1, 1].
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from genai_utils.gan.stylegan import StyleGenerator, mix_styles
from genai_utils.live.entry import Act, Graph, Live, check_input, check_seed, pictures, seed, slider
from genai_utils.live.random import SharedRandom
from genai_utils.vae.latent import linear_path, spherical_path

PLACES = [i / 8 for i in range(9)]
ROW = 8  # pictures of one truncation
N_STYLES = 8  # of the shipped model


class MappingWide(nn.Module):
    """z (n, Z) -> w (n, S), in float64: what float32 rounds in w, the synthesis enlarges some twenty times."""

    def __init__(self, model: StyleGenerator) -> None:
        super().__init__()
        self.layers = model.mapping.layers

    def forward(self, z: Tensor) -> Tensor:
        wide = torch.float32 if z.device.type == "mps" else torch.float64
        x = z.to(wide)
        x = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            y = F.linear(x, layer.weight.to(wide) * layer.scale, layer.bias.to(wide) * layer.lr_mul)
            x = torch.maximum(y, 0.2 * y) * math.sqrt(2)
        return x.to(z.dtype)


class Synthesis(nn.Module):
    """w (n, L, S) and noise (1, N) -> pictures (n, 1, 32, 32); all n see the same noise."""

    def __init__(self, model: StyleGenerator) -> None:
        super().__init__()
        self.net = model.synthesis
        self.sides = [conv.side for conv in model.synthesis.convs]

    def forward(self, w: Tensor, noise: Tensor) -> Tensor:
        layers = noise.split([side**2 for side in self.sides], dim=1)
        rgb, x = None, self.net.const.expand(w.shape[0], -1, -1, -1)  # the net's own forward fixes the batch by len(w)
        for i, (conv, eps) in enumerate(zip(self.net.convs, layers)):
            x = conv(x, w[:, i], eps.view(1, 1, conv.side, conv.side))
            if i % 2 == 0:
                y = self.net.to_rgb[i // 2](x, w[:, i + 1])
                rgb = y if rgb is None else self.net.resample.up(rgb) + y
        return rgb


def graphs(model: StyleGenerator) -> dict[str, Graph]:
    n, cfg = {0: Dim("n", min=1, max=64)}, model.cfg
    z, w = torch.zeros(2, cfg.latent), torch.zeros(2, model.n_styles, cfg.d_style)
    noise = torch.zeros(1, facts(model)["noise"])
    return {
        "mapping": Graph(module=MappingWide(model), inputs={"z": z}, outputs=("w",), dynamic={"z": n}),
        "synthesis": Graph(
            module=Synthesis(model), inputs={"w": w, "noise": noise}, outputs=("x",), dynamic={"w": n}
        ),
    }


def facts(model: StyleGenerator) -> dict:
    """The mean style, and how many numbers z and the noise have."""
    noise = sum(conv.side**2 for conv in model.synthesis.convs)
    return {"latent": model.cfg.latent, "noise": noise, "styles": model.n_styles,
            "mean": model.mapping.mean_style.tolist()}  # fmt: skip


def codes(facts, seeds) -> Tensor:
    """Return z (n, Z), each row from a seed of its own."""
    return torch.stack([SharedRandom(one % 2**32).normal(facts["latent"]) for one in seeds])


def synthesise(run, facts, w: Tensor, noise: int = 0) -> Tensor:
    """Return pictures of styles (n, S), the same at every place, or (n, L, S); `noise` is a seed."""
    places = w if w.ndim == 3 else w[:, None].expand(-1, facts["styles"], -1).contiguous()
    return run("synthesis", w=places.float(), noise=SharedRandom(noise).normal(1, facts["noise"]))["x"]


def truncate(run, facts, inputs) -> Iterator[dict]:
    """Eight pictures whose styles keep the share psi of their distance from the mean style."""
    check_seed("seed", inputs["seed"])
    check_input("psi", inputs["psi"], 0, 1.5)
    check_seed("noise", inputs["noise"])
    w = run("mapping", z=codes(facts, range(inputs["seed"], inputs["seed"] + ROW)))["w"].double()
    mean = torch.tensor(facts["mean"], dtype=torch.float64)
    # as `StyleGenerator.styles`, which stops at psi = 1
    yield {"row": synthesise(run, facts, torch.lerp(mean, w, inputs["psi"]), inputs["noise"])}


def mix(run, facts, inputs) -> Iterator[dict]:
    """Two digits, and the one that has the coarse styles of the first and the fine styles of the second."""
    for field in ("coarse", "fine"):
        check_seed(field, inputs[field])
    check_input("crossover", inputs["crossover"], 0, facts["styles"], whole=True)
    w = run("mapping", z=codes(facts, [inputs["coarse"], inputs["fine"]]))["w"]
    coarse, fine = w[:, None].expand(-1, facts["styles"], -1).split(1)
    yield {"pictures": synthesise(run, facts, torch.cat([coarse, fine, mix_styles(coarse, fine, inputs["crossover"])]))}


def walk(run, facts, inputs) -> Iterator[dict]:
    """A place of the straight way between two styles; nine pictures of it, and nine of the arc between the two z."""
    for field in ("from", "to"):
        check_seed(field, inputs[field])
    check_input("place", inputs["place"], 0, 1)
    z, weights = codes(facts, [inputs["from"], inputs["to"]]), torch.tensor(PLACES, dtype=torch.float64)
    a, b, *arc = run("mapping", z=torch.cat([z, spherical_path(*z.double(), weights).float()]))["w"].double()
    line = linear_path(a, b, torch.tensor([inputs["place"], *PLACES]))
    x = synthesise(run, facts, torch.cat([line, torch.stack(arc)]))
    yield {"picture": x[:1], "walk": x[1:]}


LIVE = Live(
    weights={"stylegan-mnist": StyleGenerator},
    graphs=graphs,
    facts=facts,
    acts={
        "truncate": Act(
            title="Truncate",
            program=truncate,
            graphs=("mapping", "synthesis"),
            controls=(
                slider("psi", "truncation psi", 0, 1.5, 0.7, step=0.05, digits=2),
                seed(15),
                seed(0, "noise", "seed of the noise"),
            ),
            outputs=(pictures("row", [""] * ROW, size=84),),
            presets={
                "styles at 0.7 of their distance": {},
                "psi = 0: the mean style": {"psi": 0},
                "psi = 1: as the model draws": {"psi": 1},
                "psi = 1.5: beyond what it knows": {"psi": 1.5},
            },
        ),
        "mix": Act(
            title="Mix styles",
            program=mix,
            graphs=("mapping", "synthesis"),
            controls=(
                seed(14, "coarse", "seed of the coarse styles"),
                seed(11, "fine", "seed of the fine styles"),
                slider("crossover", "places from the coarse seed", 0, N_STYLES, 4),
            ),
            outputs=(pictures("pictures", ["coarse source", "fine source", "mixed"], size=150),),
            presets={
                "half the places of either": {},
                "only the first two coarse": {"crossover": 2},
                "all but the last two coarse": {"crossover": 6},
            },
        ),
        "walk": Act(
            title="Walk between styles",
            program=walk,
            graphs=("mapping", "synthesis"),
            controls=(
                seed(2, "from", "seed of the first"),
                seed(20, "to", "seed of the last"),
                slider("place", "share of the way", 0, 1, 0.5, step=0.01, digits=2),
            ),
            outputs=(
                pictures("picture", [""], size=224),
                pictures("walk", ["in W", *[""] * 8, "in Z", *[""] * 8], size=72, columns=9),
            ),
            presets={"half way": {}, "another pair": {"from": 39, "to": 11}},
        ),
    },
)  # fmt: skip
