"""Train the flows of points of chapters 14 and 15: `python -m tools.recipes.flows_points NAMES` (six minutes for all).

RealNVP with 16 couplings on four toys whose density is known, and a velocity field for two moons by flow matching. Each
is scored by its divergence from the toy, KL(toy || flow), over fresh points, with the weights as they ship.
"""

from functools import partial

import torch
from torch import nn

from genai_utils.core import seed_all
from genai_utils.data import load
from genai_utils.flows.continuous import ode_log_prob
from genai_utils.flows.matching import VelocityConfig, VelocityMLP, flow_matching_loss
from genai_utils.flows.realnvp import RealNVP, RealNVPConfig, nll_loss
from genai_utils.metrics import Estimate, mean_estimate
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.weights import load_weights, save_weights
from tools.recipes import ask, hardware
from tools.recipes.score import as_json, write_score

COMMAND, BATCH, SEED = "python -m tools.recipes.flows_points", 256, 0
NAMES = ("realnvp-ring", "realnvp-moons", "realnvp-pinwheel", "realnvp-checkerboard", "flow-moons")
COUPLINGS, VELOCITY = RealNVPConfig(n_couplings=16, width=32), VelocityConfig(width=96)
MODELS = {"realnvp": (RealNVP, COUPLINGS, nll_loss), "flow": (VelocityMLP, VELOCITY, flow_matching_loss)}
STEPS, RATE = {"realnvp": 3_000, "flow": 10_000}, 3e-3
JUDGED = {"realnvp": 20_000, "flow": 2_000}  # fresh points that a score rests on


def train(name: str) -> nn.Module:
    """Return the running average of the weights."""
    family, kind = name.split("-")
    make, config, loss = MODELS[family]
    seed_all(SEED)
    model = make(config)
    opt = adamw(model, lr=RATE)
    ema = EMA(model, decay=0.995)
    step = make_step(model, loss, opt, schedule=warmup_cosine(opt, STEPS[family], warmup=100), ema=ema)
    fit(step, load("toys", kind=kind).batches(BATCH, seed=SEED), steps=STEPS[family], every=500)
    return ema.model.eval()


@torch.no_grad()
def score(name: str) -> dict[str, Estimate]:
    """Return the divergence from the toy, in nats."""
    family, kind = name.split("-")
    fresh = load("toys", kind=kind, split="test", n=JUDGED[family], seed=99)
    model, x = load_weights(name, MODELS[family][0]).double().eval(), fresh.points.double()
    log_q = model.log_prob if family == "realnvp" else partial(ode_log_prob, model, rtol=1e-5, atol=1e-5)
    return {"kl": mean_estimate(fresh.density.log_prob(x) - log_q(x))}


def main() -> None:
    names, only_score = ask(__doc__, NAMES)
    for name in names:
        command = f"{COMMAND} {name}"
        if not only_score:
            config = MODELS[name.split("-")[0]][1]
            save_weights(
                name, train(name), config=config, command=command, data="toys, drawn by this package", terms="MIT",
                seed=SEED, score={}, hardware=hardware(),
            )  # fmt: skip
        found = as_json(score(name))
        write_score(name, {"command": f"{command} --score"} | found)
        print(name, found, flush=True)


if __name__ == "__main__":
    main()
