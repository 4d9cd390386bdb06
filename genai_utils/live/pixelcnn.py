"""Chapter 3 live: a digit grows pixel by pixel, out of nothing or below the upper rows of a picture that is given.

Two graphs, as in genai_utils.autoregressive.pixel_sampler: the vertical stack for a row at a time, from the rows above
it, and the horizontal one for a pixel, from what the first said of its column and the activations to its left.

Sources: [GATED] van den Oord et al. 2016b, arXiv:1606.05328, Sec. 2.2.
Shapes:  H = W = 28; D width, L layers, M = 13 pixels that the first kernel sees to its left, and rows above.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.autoregressive.pixelcnn import PixelCNN, from_levels, gate
from genai_utils.live.digits import TEN, digits, grey
from genai_utils.live.entry import Act, Graph, Live, Refused, bars, choice, drawing, numbers, pictures, seed, slider
from genai_utils.live.random import SharedRandom

SIDE, BINS, STRIDE = 28, 16, 7  # of the bars; pixels between two answers


class Row(nn.Module):
    """x (1, 1, M, W): the rows above; v (L - 1, D, 1, W): the vertical stack one row up; label (1,).

    Returns what each layer's horizontal gate takes from above, (W, L, 2D), and v of this row.
    """

    def __init__(self, model: PixelCNN) -> None:
        super().__init__()
        self.layers = model.layers

    def forward(self, x: Tensor, v: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        here, links, rows = x, [], []
        for i, layer in enumerate(self.layers):
            seen = x if i == 0 else torch.cat([v[i - 1 : i], here], 2)
            conv = layer.vertical
            above = F.conv2d(seen, conv.weight, conv.bias, padding=(0, conv.padding[1]))  # (1, 2D, 1, W)
            above = layer.vertical_classes(above, label)
            links.append(layer.horizontal_classes(layer.link(above), label))
            here = gate(above)
            rows.append(here)
        return torch.cat(links, 2)[0].permute(2, 1, 0), torch.cat(rows[:-1])  # nobody reads the last one's row


class Pixel(nn.Module):
    """above (L, 2D): a column of `Row`'s; left (1, M) pixels; h (L - 1, D): the layers at the pixel to the left.

    Returns the pixel's logits (K,) and h there.
    """

    def __init__(self, model: PixelCNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, above: Tensor, left: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        here, pixels = left[None, None], []  # (1, 1, 1, M)
        for i, layer in enumerate(self.model.layers):
            seen = here if i == 0 else torch.stack([h[i - 1 : i], here[:, :, 0, 0]], 2)[:, :, None]  # (1, D, 1, 2)
            out = layer.out(gate(F.conv2d(seen, layer.horizontal.weight) + above[None, i, :, None, None]))
            here = out if i == 0 else here + out
            pixels.append(here[:, :, 0, 0])
        return self.model.params(here)[0, :, 0, 0], torch.cat(pixels[:-1])


def graphs(model: PixelCNN) -> dict[str, Graph]:
    D, L, M = model.cfg.width, model.cfg.n_layers, model.cfg.first_kernel // 2
    row = {"x": torch.zeros(1, 1, M, SIDE), "v": torch.zeros(L - 1, D, 1, SIDE), "label": torch.tensor([7])}
    pixel = {"above": torch.zeros(L, 2 * D), "left": torch.zeros(1, M), "h": torch.zeros(L - 1, D)}
    return {
        "row": Graph(module=Row(model), inputs=row, outputs=("above", "v_here")),
        "pixel": Graph(module=Pixel(model), inputs=pixel, outputs=("logits", "h_here")),
    }


def facts(model: PixelCNN) -> dict:
    """The sizes of what is kept."""
    cfg = model.cfg
    return {"width": cfg.width, "layers": cfg.n_layers, "margin": cfg.first_kernel // 2, "levels": cfg.levels}


def grow(run, facts, inputs) -> Iterator[dict]:
    """Draw a picture row by row; the upper `rows` are those of the picture given, if one is."""
    temperature, rows = inputs["temperature"], inputs.get("rows", 0)
    if not temperature > 0:
        raise Refused("temperature", f"temperature must be above 0, got {temperature:g}: 1 draws from the model")
    if not (0 <= rows < SIDE and rows % 1 == 0):
        raise Refused("rows", f"rows must be a whole number in [0, {SIDE - 1}], got {rows:g}: keep fewer, 0 for none")
    D, L, M, K = (facts[key] for key in ("width", "layers", "margin", "levels"))
    random, label = SharedRandom(inputs["seed"]), torch.tensor([inputs["label"]])
    x = torch.zeros(1, 1, M + SIDE, SIDE)  # a margin, then the picture: grey, 0, where there is no pixel yet
    if rows:
        x[:, :, M : M + rows] = grey(inputs["x"])[:, :, :rows]
    v, bits = torch.zeros(L - 1, D, 1, SIDE), 0.0
    for r in range(SIDE):
        row = run("row", x=x[:, :, r : M + r], v=v, label=label)
        v, left, h = row["v_here"], torch.zeros(1, M), torch.zeros(L - 1, D)
        for c in range(SIDE if r >= rows else 0):
            found = run("pixel", above=row["above"][c], left=left, h=h)
            h, logits = found["h_here"], found["logits"].double()
            p = (logits / temperature).softmax(0)
            k = random.pick(p)
            bits -= logits.log_softmax(0)[k].item() / math.log(2)
            x[0, 0, M + r, c] = from_levels(torch.tensor(k), K)
            left = torch.cat([left[:, 1:], x[:, 0, M + r, c : c + 1]], 1)
            if c % STRIDE == STRIDE - 1:
                n = K // BINS
                shares = p.view(BINS, n).sum(1).tolist()
                yield {
                    "picture": x[:, :, M:].clone(),
                    "next": [(f"{i * n}-{i * n + n - 1}", share, i == k // n) for i, share in enumerate(shares)],
                    "figures": [
                        ("pixels", SIDE * r + c + 1, 0, f"of {SIDE**2}"),
                        ("cost of those drawn", bits, 1, "bits"),
                    ],
                }  # fmt: skip


CONTROLS = (slider("temperature", "temperature", 0.2, 1.5, 1, step=0.05, digits=2), seed(7))
OUTPUTS = (
    pictures("picture", [""], size=224),
    bars("next", "chances of the newest pixel, black to white; its own marked", rest=""),
    numbers("figures"),
)
LIVE = Live(
    weights={"pixelcnn-mnist": PixelCNN},
    graphs=graphs,
    facts=facts,
    acts={
        "grow": Act(
            title="Grow a digit",
            program=grow,
            graphs=("row", "pixel"),
            go="Grow",
            controls=(choice("label", "digit", [str(k) for k in range(10)], 7), *CONTROLS),
            outputs=OUTPUTS,
            presets={
                "a 7": {},
                "an 8": {"label": 8},
                "at temperature 0.6: nothing but black": {"label": 8, "temperature": 0.6},
            },
        ),
        "complete": Act(
            title="Complete a picture",
            program=grow,
            graphs=("row", "pixel"),
            go="Complete",
            controls=(
                drawing("x", "your digit", digits(TEN), 9),
                slider("rows", "rows kept", 0, SIDE - 1, 14),
                choice("label", "told that it is a", [str(k) for k in range(10)], 9),
                *CONTROLS,
            ),
            outputs=OUTPUTS,
            presets={
                "the upper half of a 9": {},
                "the same, told that it is a 2": {"label": 2},
                "the same, told that it is an 8": {"label": 8},
            },
        ),
    },
)
