"""Chapter 7 live: classify what the reader draws, and see where the class token looked.

Sources: as in genai_utils.transformer.vit: [VIT] arXiv:2010.11929; [ROLL] arXiv:2005.00928, Sec. 3.
Shapes:  pictures (1, 1, 28, 28) in [-1, 1]; L = 4 blocks, A = 4 heads, T = 50 tokens: class token, 7 x 7 patches.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.live.digits import TEN, digits, grey
from genai_utils.live.entry import Act, Graph, Live, Refused, bars, choice, drawing, numbers, pictures
from genai_utils.nn import attention_maps
from genai_utils.transformer.vit import ViT, attention_rollout

BLOCKS, HEADS = 4, 4


class Look(nn.Module):
    """x (1, 1, 28, 28) -> logits (1, 10) and the attention of every block and head (L, A, T, T)."""

    def __init__(self, vit: ViT) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with attention_maps(self.vit) as found:
            logits = self.vit(x)
            return logits, torch.cat([layer[0] for layer in found.values()])


def graphs(vit: ViT) -> dict[str, Graph]:
    return {"look": Graph(module=Look(vit), inputs={"x": -torch.ones(1, 1, 28, 28)}, outputs=("logits", "maps"))}


def facts(vit: ViT) -> dict:
    """Nothing: all is in the graph."""
    return {}


def classify(run, facts, inputs) -> Iterator[dict]:
    """Classify a picture; show the class token's attention in one block: of a head, of their mean, or rolled out."""
    if len(inputs["x"]) != 784:
        raise Refused("x", f"a picture has 784 pixels, got {len(inputs['x'])}: scale it to 28 x 28")
    if bad := [v for v in inputs["x"] if not 0 <= v <= 255]:
        raise Refused("x", f"pixels are in [0, 255], got {bad[0]:g}: scale them to bytes")
    x, block, head = grey(inputs["x"]), inputs["block"], inputs["head"]
    found = run("look", x=x)
    maps = found["maps"].double()
    if head > HEADS:
        weights = attention_rollout(maps[:, None])[block, 0, 0]
    else:
        weights = maps[block].mean(0)[0] if head == HEADS else maps[block, head, 0]
    own, weights = weights[0].item(), weights[1:]
    p = found["logits"][0].double().softmax(0).tolist()
    ink = F.max_pool2d(x, 4).flatten() > 0  # (49,): patches that hold a pixel nearer to white than to black
    yield {
        "classes": [(str(k), share, True) for k, share in enumerate(p)],
        "picture": x,
        "attention": (2 * weights / weights.max() - 1).float().view(1, 1, 7, 7),
        "figures": [
            ("the class token on itself", 100 * own, 1, "%"),
            ("on the brightest patch", 100 * weights.max().item(), 1, "%"),
            ("on patches with ink", 100 * weights[ink].sum().item(), 1, "%"),
            ("patches with ink", int(ink.sum()), 0, "of 49"),
        ],
    }


LIVE = Live(
    weights={"vit-mnist": ViT},
    graphs=graphs,
    facts=facts,
    acts={
        "classify": Act(
            title="Draw and classify",
            program=classify,
            graphs=("look",),
            controls=(
                drawing("x", "your digit", digits(TEN), 4),
                choice("block", "block", [str(i + 1) for i in range(BLOCKS)], BLOCKS - 1),
                choice("head", "head", [*(str(i + 1) for i in range(HEADS)), "mean", "rollout so far"], HEADS + 1),
            ),
            outputs=(
                bars("classes", "shares of the ten classes", rest=""),
                pictures("picture", ["what it reads"], size=140),
                pictures("attention", ["weights of the class token"], size=140),
                numbers("figures"),
            ),
            presets={
                "rollout: where the ink is": {},
                "the last block's mean: many empty patches": {"head": HEADS},
                "one head of the first block": {"block": 0, "head": 0},
            },
        )
    },
)
