"""Train the growing GAN of chapter 11 on MNIST: `python -m tools.recipes.progan_mnist` (ten minutes, one core).

Digits are padded to 32x32. Both networks begin at 4x4; 8, 16 and 32 fade in, one after the other. What is stored is
the game with a running average of the generator's weights, of which 5,000 digits are judged. Interrupted, it resumes
from runs/progan-mnist.pt.
"""

import argparse
from typing import Any

import torch

from genai_utils.core import pick_device, seed_all
from genai_utils.gan import Growth, ProGAN, ProGANConfig, progressive_step
from genai_utils.training import EMA, adamw, fit
from genai_utils.training.loop import Step
from genai_utils.weights import load_weights, registry, save_weights
from tools.recipes import hardware
from tools.recipes.gan_mnist import DECAY, SAMPLES, Padded, draw, judge
from tools.recipes.score import as_json, write_score

NAME, COMMAND, SEED = "progan-mnist", "python -m tools.recipes.progan_mnist", 0
BATCH, STEPS = 32, 3_000
STABLE = FADE = 300 * BATCH  # images for which a stage is left as it is, and for which the next one fades in
CONFIG = ProGANConfig(width=8)


def make(cfg: ProGANConfig = CONFIG, *, stable: int = STABLE, fade: int = FADE) -> tuple[ProGAN, EMA, Growth, Step]:
    """Return the game, the average of its generator, its place in growing, and the step that moves all three."""
    model, growth = ProGAN(cfg).to(pick_device()), Growth(cfg.stages, stable=stable, fade=fade)
    ema = EMA(model.generator, DECAY)
    opt_g, opt_d = (adamw(net, 1e-3, betas=(0.0, 0.99)) for net in (model.generator, model.discriminator))
    return model, ema, growth, progressive_step(model, opt_g, opt_d, growth, ema=ema)


def train() -> ProGAN:
    """Return the game, its generator averaged."""
    seed_all(SEED)
    model, ema, _, step = make()
    rows = fit(step, Padded(BATCH, SEED), steps=STEPS, every=100, checkpoint=f"runs/{NAME}.pt", config=model.cfg)
    if not rows or rows[-1]["step"] < STEPS:
        raise SystemExit(f"{NAME} was stopped before its end: nothing written. Run the command again to go on")
    model.generator = ema.model
    return model.cpu().eval()


def score() -> dict[str, Any]:
    """Return what the registry says of the stored weights."""
    seen_by = registry()["classifier-mnist"]["sha256"][:12]
    about = {"command": f"{COMMAND} --score", "judge": f"classifier-mnist {seen_by}"}
    return about | as_json(judge(*draw(load_weights(NAME, ProGAN), SAMPLES)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--score", action="store_true", help="only score the weights that are there")
    if not parser.parse_args().score:
        save_weights(
            NAME, train(), command=COMMAND, data="MNIST, 60,000 training images, padded to 32x32",
            terms="CC BY-SA 3.0", seed=SEED, score={}, hardware=hardware(), dtype=torch.float16,
        )  # fmt: skip
    found = score()
    write_score(NAME, found)
    print(NAME, *(f"{key}: {value}" for key, value in found.items()), sep="\n  ", flush=True)


if __name__ == "__main__":
    main()
