"""Score a shipped diffusion model: `python -m tools.recipes.score unet-mnist --n 1000 --steps 50 --seed 0`.

Samples it, judges the samples by `score_digits`, prints the figures, and writes them into the model's registry entry.
"Good" is what the book promises of shipped digits: 90 % classified above 0.9, and 2.2 nats of class entropy.
"""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from genai_utils.core import pick_device
from genai_utils.diffusion.process import denoiser
from genai_utils.diffusion.samplers import ddim_steps, ddpm_steps, dpmpp_steps
from genai_utils.diffusion.schedules import cosine_schedule, linear_schedule, visit_times
from genai_utils.diffusion.unet import UNet
from genai_utils.metrics import Estimate, score_digits
from genai_utils.weights import load_weights, registry
from genai_utils.weights.loader import FOLDER

SCHEDULES = {"cosine": cosine_schedule, "linear": linear_schedule}
SAMPLERS = {"ddim": ddim_steps, "ddpm": ddpm_steps, "dpmpp": dpmpp_steps}
GOOD = {"confident": 0.9, "class_entropy": 2.2}
CLASSES = 10


@torch.no_grad()
def sample(
    model: UNet,
    n: int,
    steps: int,
    *,
    seed: int = 0,
    sampler: str = "ddim",
    schedule: str = "cosine",
    predict: str = "eps",
    batch: int = 100,
) -> tuple[Tensor, Tensor | None]:
    """Return n digits (n, 1, 28, 28) in [-1, 1] and the labels asked for: 0 ... 9 in turn, or None for no labels.

    Args:
        model: a U-Net in evaluation mode.
        n: how many.
        steps: network calls per digit.
        seed: of the noise, which is drawn on the CPU for all n at once: the digits do not depend on `batch`.
        sampler: "ddim" (deterministic), "ddpm" or "dpmpp".
        schedule, predict: as in training.
        batch: digits at a time.
    Raises:
        ValueError: n or steps out of range.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    device = next(model.parameters()).device
    alpha_bar = SCHEDULES[schedule](1000)
    times = visit_times(1000, steps)
    g = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, model.cfg.channels, model.cfg.side, model.cfg.side, generator=g)
    labels = torch.arange(n) % CLASSES if model.cfg.n_classes else None
    chance = {"generator": torch.Generator(device).manual_seed(seed)} if sampler == "ddpm" else {}
    out = []
    for i in range(0, n, batch):
        asked = None if labels is None else labels[i : i + batch].to(device)
        denoise = denoiser(model, alpha_bar, predict=predict, labels=asked)
        *_, (_, x, _) = SAMPLERS[sampler](denoise, noise[i : i + batch].to(device), alpha_bar, times, **chance)
        out.append(x.clamp(-1, 1).cpu())
    return torch.cat(out), labels


def as_json(scores: dict[str, Estimate]) -> dict[str, dict[str, float]]:
    """Return the scores for a JSON file: value, interval and sample size of each, to five digits."""
    return {name: {k: float(f"{v:.5g}") if k != "n" else v for k, v in asdict(e).items()} for name, e in scores.items()}


def write_score(name: str, score: dict, folder: Path = FOLDER) -> None:
    """Replace the score in the registry entry of `name`; the rest of the registry stays as it is.

    Raises:
        ValueError: there is no such entry.
    """
    entries = registry(folder)
    if name not in entries:
        raise ValueError(f"there are no weights {name!r} to score; there are {', '.join(sorted(entries)) or 'none'}")
    entries[name]["score"] = score
    path = folder / "registry.json"
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(entries, indent=2, sort_keys=True, allow_nan=False) + "\n")
    os.replace(temporary, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="registered weights of a U-Net, for example unet-mnist")
    parser.add_argument("--n", type=int, default=1000, help="samples (default 1000)")
    parser.add_argument("--steps", type=int, default=50, help="network calls per sample (default 50)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sampler", choices=SAMPLERS, default="ddim")
    parser.add_argument("--schedule", choices=SCHEDULES, default="cosine")
    parser.add_argument("--predict", choices=("eps", "x0", "v"), default="eps")
    parser.add_argument("--dry-run", action="store_true", help="print the score, do not write it")
    args = parser.parse_args()
    model = load_weights(args.name, UNet).to(pick_device())
    how = {"seed": args.seed, "sampler": args.sampler, "schedule": args.schedule, "predict": args.predict}
    images, labels = sample(model, args.n, args.steps, **how)
    scores = score_digits(images, labels)
    for name, estimate in scores.items():
        goal = f"   (good: at least {GOOD[name]})" if name in GOOD else ""
        print(f"{name:18} {estimate}{goal}")
    if not args.dry_run:
        command = f"python -m tools.recipes.score {args.name} --n {args.n} --steps {args.steps}"
        command += "".join(f" --{option} {value}" for option, value in how.items())
        judge = registry()["classifier-mnist"]["sha256"][:12]
        write_score(args.name, {"command": command, "judge": f"classifier-mnist {judge}"} | as_json(scores))
        print(f"written into the registry entry of {args.name}")


if __name__ == "__main__":
    main()
