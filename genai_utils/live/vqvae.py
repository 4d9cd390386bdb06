"""Chapter 10 live: repaint the codes of a digit, see the codes of a drawing, let the prior draw codes one by one.

Sources: [VQ] van den Oord et al. 2017, arXiv:1711.00937.
Shapes:  pictures (n, 1, 28, 28) in [-1, 1]; codes (n, 7, 7) int64 in [0, K).
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from genai_utils.live.digits import digits, grey
from genai_utils.live.entry import (
    Act, Graph, Live, check_input, check_seed, choice, codes, drawing, numbers, pictures, seed, slider,
)  # fmt: skip
from genai_utils.live.random import SharedRandom
from genai_utils.vae.prior import CodePrior
from genai_utils.vae.vqvae import VQVAE
from genai_utils.weights import load_weights

SIDE = 7
CHANGED = 5 / 127.5  # a pixel has changed when it differs by more than 5 of 255
SHOWN = [3, 8, 14, 22, 28, 32, 38, 43, 50, 56]


class Decode(nn.Module):
    """codes (n, 7, 7) -> the expected picture (n, 1, 28, 28)."""

    def __init__(self, vqvae: VQVAE) -> None:
        super().__init__()
        self.vqvae = vqvae

    def forward(self, codes: Tensor) -> Tensor:
        vectors = F.embedding(codes, self.vqvae.quantize.codebook).movedim(-1, 1)
        return self.vqvae.likelihood.mean(self.vqvae.decode_vectors(vectors))


class Encode(nn.Module):
    """x (1, 1, 28, 28) -> codes (1, 7, 7)."""

    def __init__(self, vqvae: VQVAE) -> None:
        super().__init__()
        self.vqvae = vqvae

    def forward(self, x: Tensor) -> Tensor:
        return self.vqvae.encode(x)


class NextCode(nn.Module):
    """The last token (1,), its place (1,), keys and values so far -> logits (1, K) of the code there, and the cache.

    Tokens are the label, [0, n_classes), then n_classes + code; the cache is (layers, 2, 1, heads, places, d).
    """

    def __init__(self, prior: CodePrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, token: Tensor, place: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        prior, present = self.prior, []
        tokens = torch.cat([prior.start.weight, prior.code.weight])
        x = (F.embedding(token, tokens) + prior.place(place))[:, None]
        for i, block in enumerate(prior.blocks):
            q, k, v = block.qkv(block.norm1(x)).unflatten(2, (3, block.heads, -1)).permute(2, 0, 3, 1, 4)
            kept = torch.cat([past[i], torch.stack([k, v])], dim=3)
            x = x + block.out(F.scaled_dot_product_attention(q, kept[0], kept[1]).transpose(1, 2).flatten(2))
            x = x + block.mlp(block.norm2(x))
            present.append(kept)
        return prior.head(prior.norm_out(x[:, 0])), torch.stack(present)


def graphs(vqvae: VQVAE, prior: CodePrior) -> dict[str, Graph]:
    grids, n = torch.zeros(2, SIDE, SIDE, dtype=torch.int64), {0: Dim("n", min=1, max=64)}
    step = {"token": torch.tensor([3]), "place": torch.tensor([2]), "past": prior.cache(1)[:, :, :, :, :2].zero_()}
    return {
        "decode": Graph(module=Decode(vqvae), inputs={"codes": grids}, outputs=("x",), dynamic={"codes": n}),
        "encode": Graph(module=Encode(vqvae), inputs={"x": -torch.ones(1, 1, 28, 28)}, outputs=("codes",)),
        "next": Graph(module=NextCode(prior), inputs=step, outputs=("logits", "present"),
                      dynamic={"past": {4: Dim("past", min=0, max=SIDE**2)}}),
    }  # fmt: skip


def facts(vqvae: VQVAE, prior: CodePrior) -> dict:
    """The grids to begin with, the codes of a black picture, and sizes."""
    with torch.no_grad():
        black = vqvae.encode(torch.full((1, 1, 28, 28), -1.0, device=vqvae.quantize.codebook.device))
    return {
        "examples": EXAMPLES, "black": black.flatten().tolist(), "n_codes": vqvae.cfg.n_codes,
        "labels": prior.cfg.n_classes, "cache": list(prior.cache(1)[:, :, :, :, :0].shape),
    }  # fmt: skip


def grid_of(values: list[int]) -> Tensor:
    return torch.tensor(values).view(1, SIDE, SIDE)


def as_picture(grid: Tensor, facts) -> Tensor:
    """Return codes as grey levels, (1, 1, 7, 7)."""
    return (2 * grid.double() / (facts["n_codes"] - 1) - 1)[:, None].float()


def repaint(run, facts, inputs) -> Iterator[dict]:
    """The picture of the codes as they were, and of those that stand there now."""
    check_input("codes_at", inputs["codes_at"], 0, len(facts["examples"]) - 1, whole=True)
    check_input("codes", inputs["codes"], 0, facts["n_codes"] - 1, whole=True, n=SIDE**2)
    before = facts["examples"][inputs["codes_at"]]
    x = run("decode", codes=torch.cat([grid_of(before), grid_of(inputs["codes"])]))["x"]
    yield {
        "pictures": x,
        "figures": [
            ("codes changed", sum(a != b for a, b in zip(before, inputs["codes"])), 0, f"of {SIDE**2}"),
            ("pixels changed by more than 5 of 255", ((x[1] - x[0]).abs() > CHANGED).sum().item(), 0, "of 784"),
        ],
    }


def encode(run, facts, inputs) -> Iterator[dict]:
    """A drawing, what comes back from its codes, and the codes as grey levels."""
    check_input("x", inputs["x"], 0, 255, whole=True, n=784)
    x = grey(inputs["x"])
    grid = run("encode", x=x)["codes"]
    back = run("decode", codes=grid)["x"]
    yield {
        "pictures": torch.cat([x, back]),
        "codes": as_picture(grid, facts),
        "figures": [
            ("different codes", len(set(grid.flatten().tolist())), 0, f"of {facts['n_codes']}"),
            ("the grid's size", SIDE**2 * math.log2(facts["n_codes"]), 0, "bits; 6272 as pixels"),
            ("mean squared error", (back.double() - x.double()).square().mean().item(), 4, ""),
        ],
    }


def dream(run, facts, inputs) -> Iterator[dict]:
    """Codes drawn one by one, each given the label and those before it; places to come show the codes of black."""
    check_input("label", inputs["label"], 0, facts["labels"] - 1, whole=True)
    check_input("temperature", inputs["temperature"], 0.1, 1.5)
    check_seed("seed", inputs["seed"])
    random, values, bits = SharedRandom(inputs["seed"]), list(facts["black"]), 0.0
    token, past = inputs["label"], torch.zeros(facts["cache"])
    for i in range(SIDE**2):
        step = run("next", token=torch.tensor([token]), place=torch.tensor([i]), past=past)
        past, logits = step["present"], step["logits"][0].double()
        values[i] = random.pick((logits / inputs["temperature"]).softmax(0))
        bits -= logits.log_softmax(0)[values[i]].item() / math.log(2)
        token = facts["labels"] + values[i]
        yield {
            "pictures": run("decode", codes=grid_of(values))["x"],
            "codes": as_picture(grid_of(values[: i + 1] + [0] * (SIDE**2 - 1 - i)), facts),
            "figures": [("codes drawn", i + 1, 0, f"of {SIDE**2}"), ("-log2 p of these codes", bits, 1, "bits")],
        }


def begin() -> tuple[list[list[int]], Tensor]:
    """Return the codes of ten test digits, and for each code the mean (4, 4) of what it covers in sixty of them."""
    x, vqvae = digits(list(range(60))), load_weights("vqvae-mnist", VQVAE)
    with torch.no_grad():
        grids = vqvae.encode(x / 127.5 - 1)
    patches = F.pixel_unshuffle(x.double(), 4).permute(0, 2, 3, 1).reshape(-1, 16)  # (60 * 49, 16)
    where = F.one_hot(grids.flatten(), vqvae.cfg.n_codes).double()
    means = where.T @ patches / where.sum(0).clamp(min=1)[:, None]
    return grids[SHOWN].flatten(1).tolist(), means.round().to(torch.uint8).view(-1, 4, 4)


with torch.random.fork_rng(devices=[]):  # to import a module draws no random numbers
    EXAMPLES, PATCHES = begin()
HALF = SIDE * 3  # places of the upper three rows

LIVE = Live(
    weights={"vqvae-mnist": VQVAE, "code-prior-mnist": CodePrior},
    graphs=graphs,
    facts=facts,
    acts={
        "repaint": Act(
            title="Repaint the codes",
            program=repaint,
            graphs=("decode",),
            controls=(codes("codes", "the codes of a digit", EXAMPLES, len(PATCHES), SIDE, value=7, patches=PATCHES),),
            outputs=(pictures("pictures", ["as it was", "repainted"], size=168), numbers("figures")),
            presets={
                "a handwritten 7": {},
                "one code repainted, with much ink": {"codes": EXAMPLES[7][:23] + [27] + EXAMPLES[7][24:]},
                "the upper rows of the 7, the lower ones of a 2": {"codes": EXAMPLES[7][:HALF] + EXAMPLES[2][HALF:]},
                "the same the other way round": {"codes_at": 2, "codes": EXAMPLES[2][:HALF] + EXAMPLES[7][HALF:]},
            },
        ),
        "encode": Act(
            title="Encode a drawing",
            program=encode,
            graphs=("encode", "decode"),
            controls=(drawing("x", "your digit", digits(SHOWN), 2),),
            outputs=(
                pictures("pictures", ["the drawing", "back from its codes"], size=140),
                pictures("codes", ["its codes, as grey levels"], size=140),
                numbers("figures"),
            ),
            presets={"a handwritten 2": {}, "nothing drawn": {"x": [0] * 784}},
        ),
        "dream": Act(
            title="Draw codes from the prior",
            program=dream,
            graphs=("next", "decode"),
            go="Draw",
            controls=(
                choice("label", "digit", [str(k) for k in range(10)], 3),
                slider("temperature", "temperature", 0.1, 1.5, 1, step=0.05, digits=2),
                seed(7),
            ),
            outputs=(
                pictures("pictures", ["decoded so far"], film=True),
                pictures("codes", ["its codes, as grey levels"], film=True),
                numbers("figures"),
            ),
            presets={
                "a 3": {},
                "a 3 at temperature 0.5": {"temperature": 0.5},
                "an 8": {"label": 8},
            },
        ),
    },
)
