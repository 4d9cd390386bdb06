"""Train the CycleGANs of chapter 13: `python -m tools.recipes.cyclegan` (half an hour of one CPU core).

cyclegan-outline  filled letters (A) and outlines (B), of which each tells the other
cyclegan-stripes  letters on striped paper (A) and on none (B), which cannot openly tell where the stripes were

Both learn from 10,000 letters of each domain, no two of which belong together, and are judged by the counterparts of
2,000 others. What is stored is a running average of all four networks. Interrupted, each resumes from its file in
runs/.
"""

from typing import Any

import torch
from torch import Tensor

from genai_utils.core import pick_device, seed_all
from genai_utils.data import load, to_floats
from genai_utils.gan import CycleGAN, CycleGANConfig, cyclegan_step
from genai_utils.gan.cyclegan import PRESETS, linear_decay
from genai_utils.metrics.classifier import run_in_batches
from genai_utils.metrics.translation import class_kept, nearest_judge, score_translation
from genai_utils.training import EMA, adamw, fit
from genai_utils.weights import load_weights, save_weights
from tools.recipes import ask, hardware
from tools.recipes.score import as_json, write_score

COMMAND, SEED, BATCH, RATE, STEPS = "python -m tools.recipes.cyclegan", 0, 8, 4e-4, 3_000
KINDS = {"cyclegan-outline": "outline", "cyclegan-stripes": "striped"}
TEST = 2_000  # letters of each domain


def train(
    kind: str,
    cfg: CycleGANConfig = PRESETS["mnist"],
    *,
    steps: int = STEPS,
    batch: int = BATCH,
    rate: float = RATE,
    seed: int = SEED,
    data: Any = None,
    checkpoint: str | None = None,
    every: int = 100,
    progress: bool = True,
) -> CycleGAN | None:
    """Return the running average of a CycleGAN trained between two domains; None when it was interrupted.

    Args:
        kind: of `load("unpaired")`, unless `data` is given.
        cfg: the networks and the weights of their losses.
        steps: updates; the learning rate falls linearly to zero over the second half.
        batch, rate, seed: of the training.
        data: an `UnpairedSet` to learn from.
        checkpoint, every, progress: as in `fit`.
    """
    seed_all(seed)
    model = CycleGAN(cfg).to(pick_device())
    opts = [adamw(nets, rate, betas=(0.5, 0.999)) for nets in (model.generators, model.discriminators)]
    schedules = tuple(linear_decay(opt, steps, constant=steps // 2) for opt in opts)
    ema = EMA(model, 0.998)
    step = cyclegan_step(model, *opts, schedules=schedules, ema=ema)
    batches = (load("unpaired", kind=kind) if data is None else data).batches(batch, seed=seed)
    rows = fit(step, batches, steps=steps, every=every, checkpoint=checkpoint, config=cfg, progress=progress)
    return ema.model.cpu() if rows and rows[-1]["step"] == steps else None


@torch.no_grad()
def translate(model: CycleGAN, x: Tensor, there: str = "a_to_b") -> Tensor:
    """Return the translations of x (N, C, H, W), by the translator of that name."""
    return run_in_batches(model.generators[there], x, 250)


def score(model: CycleGAN, kind: str) -> dict[str, Any]:
    """Return how near the translations of test pictures come to their counterparts, and how near the cycles return."""
    test, known = load("unpaired", "test", kind=kind, n=TEST), load("unpaired", kind=kind)
    a, b, truth_a, truth_b = (to_floats(x) for x in (test.a, test.b, test.truth_a, test.truth_b))
    found = {}
    for there, back, x, truth, labels, others in (
        ("a_to_b", "b_to_a", a, truth_a, test.labels_a, (known.b, known.labels_b)),
        ("b_to_a", "a_to_b", b, truth_b, test.labels_b, (known.a, known.labels_a)),
    ):
        y = translate(model, x, there)
        scores = score_translation(y, x, truth)
        judge = nearest_judge(to_floats(others[0]), others[1])
        found[there] = as_json(vars(scores)) | as_json({
            "class_kept": class_kept(y, labels, judge), "class_kept_by_truth": class_kept(truth, labels, judge),
        }) | {"cycle": float(f"{(translate(model, y, back) - x).square().mean():.4g}")}  # fmt: skip
    return found


def main() -> None:
    names, only_score = ask(__doc__, KINDS)
    for name in names:
        if not only_score:
            model = train(KINDS[name], checkpoint=f"runs/{name}.pt")
            if model is None:
                raise SystemExit(f"{name} was interrupted; run the command again to go on")
            save_weights(
                name, model, command=f"{COMMAND} {name}", data=f"unpaired, kind {KINDS[name]}, train split",
                terms="MIT", seed=SEED, score={}, hardware=hardware(), dtype=torch.float16,
            )  # fmt: skip
        found = {"command": f"{COMMAND} {name} --score", "n": TEST}
        found |= score(load_weights(name, CycleGAN), KINDS[name])
        write_score(name, found)
        print(name, *(f"{key}: {value}" for key, value in found.items()), sep="\n  ", flush=True)


if __name__ == "__main__":
    main()
