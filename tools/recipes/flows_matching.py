"""Train the U-Nets of chapter 15: `python -m tools.recipes.flows_matching NAMES` (35 minutes of one core each).

Both are the U-Net of chapter 16 at half of unet-mnist's weights, on MNIST at 28 x 28, class-conditional with one label
in ten replaced by class 10 ("any"); both have the same updates, batches, learning rates and first weights, and differ
in the loss alone: flow-mnist learns by flow matching, diffusion-mnist by chapter 16's loss. The embedding of time was
made for the timesteps of diffusion, so the flow is told clock(t). Interrupted, each resumes from runs/NAME.pt.
"""

from functools import partial

import torch
from torch import Tensor

from genai_utils.core import seed_all
from genai_utils.data import load
from genai_utils.diffusion import cosine_schedule, diffusion_loss
from genai_utils.diffusion.unet import UNet, UNetConfig
from genai_utils.flows.matching import flow_matching_loss, flow_times, velocity_field
from genai_utils.flows.ode import solve
from genai_utils.metrics import score_digits
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.weights import load_weights, registry, save_weights
from tools.recipes import ask, hardware
from tools.recipes.score import CLASSES, as_json, sample, write_score

NAMES, COMMAND = ("flow-mnist", "diffusion-mnist"), "python -m tools.recipes.flows_matching"
CONFIG = UNetConfig(n_classes=11, widths=(16, 32, 56), head_dim=28, blocks=1)
STEPS, BATCH, SEED = 2_800, 64, 0
SAMPLES, EVALUATIONS = 1_000, 20  # of the score


def clock(t: Tensor) -> Tensor:
    """Return what the U-Net is told at t: 1000 at the noise, 0 at the data, as in diffusion."""
    return 1000 * (1 - t)


def train(name: str) -> UNet:
    """Return the running average of the weights; stops the program if interrupted."""
    seed_all(SEED)
    data = load("mnist", split="train")
    model = UNet(CONFIG).to(memory_format=torch.channels_last)
    opt = adamw(model, lr=1.5e-3)
    schedule = warmup_cosine(opt, STEPS, warmup=200)
    ema = EMA(model, decay=0.995)
    loss = partial(flow_matching_loss, clock=clock)
    if name == "diffusion-mnist":
        loss = partial(diffusion_loss, alpha_bar=cosine_schedule())
    step = make_step(model, partial(loss, label_drop=0.1), opt, schedule=schedule, ema=ema, amp=torch.float32)
    rows = fit(step, data.batches(BATCH, seed=SEED), steps=STEPS, every=50, checkpoint=f"runs/{name}.pt")
    if not rows or rows[-1]["step"] < STEPS:
        raise SystemExit(f"{name} was stopped before its end: nothing written. Run the command again to go on")
    return ema.model.to(memory_format=torch.contiguous_format).eval()


@torch.no_grad()
def draw(
    model: UNet, n: int, steps: int, *, seed: int = 0, method: str = "euler", last: str = "", batch: int = 100
) -> tuple[Tensor, Tensor]:
    """Return n digits (n, 1, 28, 28) in [-1, 1] and the labels asked for, 0 ... 9 in turn.

    Args:
        model: flow-mnist, in evaluation mode.
        n: how many.
        steps: steps of the solver, from t = 0 to 1.
        seed: of the noise, which is drawn for all n at once, on the CPU: that of `tools.recipes.score.sample`.
        method: as for `solve`.
        last: the method of the last step, if it is another.
        batch: digits at a time.
    """
    cfg = model.cfg
    noise = torch.randn(n, cfg.channels, cfg.side, cfg.side, generator=torch.Generator().manual_seed(seed))
    labels, out, times = torch.arange(n) % CLASSES, [], flow_times(steps)
    for i in range(0, n, batch):
        field, x = velocity_field(model, labels=labels[i : i + batch], clock=clock), noise[i : i + batch]
        for part, how in ((times[:-1], method), (times[-2:], last or method)):
            if len(part) > 1:
                *_, (_, x, _) = solve(field, x, part, method=how)
        out.append(x.clamp(-1, 1))
    return torch.cat(out), labels


def score(name: str) -> dict:
    """Return the figures of digits drawn with EVALUATIONS of the network: by Euler's method, or by DDIM."""
    model = load_weights(name, UNet)
    drawn = draw(model, SAMPLES, EVALUATIONS) if name == "flow-mnist" else sample(model, SAMPLES, EVALUATIONS)
    return as_json(score_digits(*drawn))


def main() -> None:
    names, only_score = ask(__doc__, NAMES)
    for name in names:
        command = f"{COMMAND} {name}"
        if not only_score:
            save_weights(
                name, train(name), config=CONFIG, command=command, data="MNIST, 60,000 training images",
                terms="CC BY-SA 3.0", seed=SEED, score={}, hardware=hardware(), dtype=torch.float16,
            )  # fmt: skip
        found, seen_by = score(name), registry()["classifier-mnist"]["sha256"][:12]
        sampler = "euler" if name == "flow-mnist" else "ddim"
        how = {"command": f"{command} --score", "judge": f"classifier-mnist {seen_by}", "sampler": sampler}
        write_score(name, how | {"n": SAMPLES, "steps": EVALUATIONS, "seed": 0} | found)
        print(name, *(f"{key}: {value}" for key, value in found.items()), sep="\n  ", flush=True)


if __name__ == "__main__":
    main()
