"""Chapter 9 live: decode at any point of the plane, encode what the reader draws.

Sources: [VAE] Kingma & Welling 2014, arXiv:1312.6114.
Shapes:  pictures (n, 1, 28, 28) in [-1, 1]; two latents.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from genai_utils.live.digits import TEN, binary, digits
from genai_utils.live.entry import Act, Graph, Live, cloud, drawing, numbers, pictures, plane, runner, seed
from genai_utils.live.random import SharedRandom
from genai_utils.vae.vae import VAE, kl_to_prior

DRAWS = 16  # of z, for one anomaly score


class Decode(nn.Module):
    """z (n, 2) -> the expected picture (n, 1, 28, 28) in [-1, 1] and the logits of its pixels."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.vae.decode(z)
        return self.vae.likelihood.mean(logits), logits


class Encode(nn.Module):
    """x (1, 1, 28, 28) of -1 and 1 -> mu and log_var of q(z | x), each (1, 2)."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.vae.encode(x)


def graphs(vae: VAE) -> dict[str, Graph]:
    n = {0: Dim("n", min=1, max=256)}
    return {
        "decode": Graph(module=Decode(vae), inputs={"z": torch.zeros(2, 2)}, outputs=("x", "logits"), dynamic={"z": n}),
        "encode": Graph(module=Encode(vae), inputs={"x": -torch.ones(1, 1, 28, 28)}, outputs=("mu", "log_var")),
    }


def facts(vae: VAE) -> dict:
    """Anomaly scores of sixty test digits, to compare a drawn one with."""
    run, images = runner(graphs(vae)), digits(list(range(60)))
    each = (next(encode(run, {"scores": []}, {"x": x.flatten().tolist(), "seed": 0})) for x in images)
    return {"scores": sorted(one["figures"][0][1] for one in each)}


def decode(run, facts, inputs) -> Iterator[dict]:
    """Decode one point of the plane."""
    yield {"picture": run("decode", z=torch.tensor([inputs["z"]], dtype=torch.float32))["x"]}


def encode(run, facts, inputs) -> Iterator[dict]:
    """Encode a picture: its cloud, what the decoder makes of its mean, and minus the ELBO as its anomaly score."""
    x = binary(inputs["x"])
    q = run("encode", x=x)
    eps = SharedRandom(inputs["seed"]).normal(DRAWS, 2)
    z = q["mu"] + torch.exp(0.5 * q["log_var"]) * eps
    kl = kl_to_prior(q["mu"].double(), q["log_var"].double()).sum().item()
    log_p = F.logsigmoid(run("decode", z=z)["logits"].double() * x).sum().item() / DRAWS
    score = kl - log_p
    (z1, z2), (s1, s2) = q["mu"][0].tolist(), q["log_var"][0].mul(0.5).exp().tolist()
    yield {
        "pictures": torch.cat([x, run("decode", z=q["mu"])["x"]]),
        "cloud": z,
        "figures": [
            ("anomaly score, -ELBO", score, 1, "nats"),
            ("test digits with a lower one", sum(s < score - 1e-3 for s in facts["scores"]), 0, "of 60"),
            ("-log p(x | z)", -log_p, 1, "nats"), ("KL to the prior", kl, 2, "nats"),
            ("first latent", z1, 2, ""), ("its deviation", s1, 2, ""),
            ("second latent", z2, 2, ""), ("its deviation", s2, 2, ""),
        ],
    }  # fmt: skip


LIVE = Live(
    weights={"vae-map-mnist": VAE},
    graphs=graphs,
    facts=facts,
    acts={
        "decode": Act(
            title="Decode a point",
            program=decode,
            graphs=("decode",),
            controls=(plane("z", ("first latent", "second latent"), 3.0),),
            outputs=(pictures("picture", [""], size=224),),
            presets={"the middle": {}},
        ),
        "encode": Act(
            title="Draw and encode",
            program=encode,
            graphs=("decode", "encode"),
            controls=(drawing("x", "your digit", digits(TEN), 0), seed(0, label="seed of the draws of z")),
            outputs=(
                pictures("pictures", ["what the encoder reads", "reconstruction"], size=140),
                cloud("cloud", ("first latent", "second latent"), 3.0),
                numbers("figures"),
            ),
            presets={
                "a 0 comes back as itself": {},
                "a 2 comes back as a 3: two numbers are few": {"x": digits(TEN)[2].flatten().tolist()},
                "black on white: a stranger": {"x": (255 - digits(TEN)[0]).flatten().tolist()},
            },
        ),
    },
)
