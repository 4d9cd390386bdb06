"""Train the GANs of chapters 11 and 12 on MNIST: `python -m tools.recipes.gan_mnist` (two hours of one CPU core).

dcgan-mnist      DCGAN by its own rules, both networks: the discriminator is worth looking at, too
wgan-mnist       the same networks as a WGAN with gradient penalty
stylegan-mnist   a small StyleGAN2, the generator
biggan-mnist     a small BigGAN with the classes, the generator, with standing statistics

Digits are padded to 32x32. What is stored is a running average of the generator's weights; of it 5,000 digits are
judged. Interrupted, each resumes from its file in runs/.
"""

import argparse
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.core import pick_device, seed_all
from genai_utils.data import load
from genai_utils.gan import (
    DCGAN, WGAN, BigGAN, BigGANConfig, BigGANGame, DCGANConfig, Game, StyleGAN, StyleGANConfig, StyleGenerator,
    WGANConfig, biggan_step, dcgan_step, stylegan_step, wgan_step,
)  # fmt: skip
from genai_utils.gan.biggan_step import sample as sample_biggan
from genai_utils.gan.biggan_step import standing_statistics
from genai_utils.gan.stylegan import sample as sample_stylegan
from genai_utils.gan.stylegan_step import lazy_adam
from genai_utils.metrics import Estimate, precision_recall, score_digits
from genai_utils.metrics.classifier import Classifier, run_in_batches
from genai_utils.training import EMA, adamw, fit
from genai_utils.training.loop import Step
from genai_utils.weights import load_tensors, load_weights, registry, save_weights
from tools.recipes import hardware
from tools.recipes.score import as_json, write_score

COMMAND, SEED, DECAY = "python -m tools.recipes.gan_mnist", 0, 0.999
SAMPLES = 5_000  # digits that Frechet distance rests on
NEIGHBOURS = 2_000  # real and as many generated digits for precision and recall
PAD = 2  # pixels on each side: 28 to 32


class Padded:
    """Batches of digits (B, 1, 32, 32) and labels, that can be resumed."""

    def __init__(self, size: int, seed: int) -> None:
        self.batches = load("mnist").to(pick_device()).batches(size, seed=seed)
        self.state_dict, self.load_state_dict = self.batches.state_dict, self.batches.load_state_dict

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        x, labels = next(self.batches)
        return F.pad(x, [PAD] * 4, value=-1.0), labels


def make_dcgan() -> tuple[Game, EMA, Step]:
    model = DCGAN(DCGANConfig(latent=64, width_g=24, width_d=24)).to(pick_device())
    ema = EMA(model.generator, DECAY)
    return model, ema, dcgan_step(model, ema=ema)


def make_wgan() -> tuple[Game, EMA, Step]:
    model = WGAN(WGANConfig(width_g=24, width_d=24)).to(pick_device())
    ema = EMA(model.generator, DECAY)
    opt_g, opt_d = (adamw(net, 5e-4, betas=(0.0, 0.9)) for net in (model.generator, model.discriminator))
    return model, ema, wgan_step(model, opt_g, opt_d, ema=ema)


def make_stylegan() -> tuple[Game, EMA, Step]:
    model = StyleGAN(StyleGANConfig(base=512, mapping_layers=2, lr_mul=0.1)).to(pick_device())
    ema = EMA(model.generator, DECAY)
    opt_g, opt_d = lazy_adam(model.generator, 2.5e-3, every=8), lazy_adam(model.discriminator, 2.5e-3, every=16)
    # The published weight of the path penalty, 2, draws all pictures together while its running mean is still small
    return model, ema, stylegan_step(model, opt_g, opt_d, r1=0.3, path=0.01, path_every=8, ema=ema)


def make_biggan() -> tuple[Game, EMA, Step]:
    model = BigGANGame(BigGANConfig()).to(pick_device())
    ema = EMA(model.generator, DECAY)
    opt_g = adamw(model.generator, 4e-4, betas=(0.0, 0.999))
    opt_d = adamw(model.discriminator, 8e-4, betas=(0.0, 0.999))
    return model, ema, biggan_step(model, opt_g, opt_d, ema=ema)


MAKERS: dict[str, tuple[Callable, int, int]] = {  # game and step, batch, updates of the generator
    "dcgan-mnist": (make_dcgan, 64, 6_000),
    "wgan-mnist": (make_wgan, 160, 2_500),
    "stylegan-mnist": (make_stylegan, 32, 4_000),
    "biggan-mnist": (make_biggan, 64, 2_800),
}
CLASSES = {"dcgan-mnist": DCGAN, "wgan-mnist": WGAN, "stylegan-mnist": StyleGenerator, "biggan-mnist": BigGAN}


def train(name: str) -> nn.Module:
    """Return what ships under this name: the average of the generator, with the discriminator where CLASSES says so."""
    make, batch, steps = MAKERS[name]
    seed_all(SEED)
    model, ema, step = make()
    rows = fit(step, Padded(batch, SEED), steps=steps, every=100, checkpoint=f"runs/{name}.pt", config=model.cfg)
    if not rows or rows[-1]["step"] < steps:
        raise SystemExit(f"{name} was stopped before its end: nothing written. Run the command again to go on")
    settle(ema.model, model)
    if not issubclass(CLASSES[name], Game):
        return ema.model
    model.generator = ema.model
    return model.eval()


@torch.no_grad()
def settle(average: nn.Module, model: Game, passes: int = 100) -> None:
    """Give the averaged generator the batch statistics that its own weights have."""
    g = torch.Generator(pick_device()).manual_seed(SEED)
    if isinstance(average, BigGAN):
        standing_statistics(average, generator=g)
    norms = [m for m in average.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the passes
    if norms:
        average.train()
        for _ in range(passes):
            average(model.noise(64, g))
        average.eval()


@torch.no_grad()
def draw(model: nn.Module, n: int, *, truncation: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """Return n digits (n, 1, 28, 28) in [-1, 1], and their labels, 0 to 9 in turn, where the model takes any.

    Args:
        model: weights of this recipe.
        n: how many.
        truncation: of a StyleGAN2 or a BigGAN; the others know none.
        seed: of z and noise.
    """
    g = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    labels = torch.arange(n) % 10 if isinstance(model, BigGAN) else None
    if labels is not None:
        parts = list(sample_biggan(model, labels, truncation=truncation, generator=g))
    elif isinstance(model, StyleGenerator):
        parts = list(sample_stylegan(model, n, truncation=truncation, generator=g))
    else:
        parts = [model.sample(min(250, n - i), generator=g) for i in range(0, n, 250)]
    return torch.cat(parts)[..., PAD:-PAD, PAD:-PAD].clamp(-1, 1), labels


@torch.no_grad()
def judge(images: Tensor, labels: Tensor | None = None) -> dict[str, Estimate]:
    """Return `score_digits`, and precision and recall of 2,000 of the digits among as many of the training set.

    Beside them, as the mark to reach, precision and recall of test digits.
    """
    model, real = load_weights("classifier-mnist", Classifier), load_tensors("mnist-features")
    features = run_in_batches(model.features, images[:NEIGHBOURS])
    known = real["train"][:NEIGHBOURS]
    ours, mark = precision_recall(known, features), precision_recall(known, real["test"][:NEIGHBOURS])
    return score_digits(images, labels) | {
        "precision": ours.precision, "recall": ours.recall,
        "precision_held_out": mark.precision, "recall_held_out": mark.recall,
    }  # fmt: skip


def score(name: str) -> dict[str, Any]:
    """Return what the registry says of stored weights."""
    images, labels = draw(load_weights(name, CLASSES[name]), SAMPLES)
    seen_by = registry()["classifier-mnist"]["sha256"][:12]
    about = {"command": f"{COMMAND} {name} --score", "judge": f"classifier-mnist {seen_by}"}
    return about | as_json(judge(images, labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(MAKERS)} (default: all)")
    parser.add_argument("--score", action="store_true", help="only score the weights that are there")
    args = parser.parse_args()
    if unknown := sorted(set(args.names) - set(MAKERS)):
        parser.error(f"no such model: {', '.join(unknown)}")
    for name in args.names or MAKERS:
        if not args.score:
            model = copy.deepcopy(train(name)).cpu()
            save_weights(
                name, model, command=f"{COMMAND} {name}", data="MNIST, 60,000 training images, padded to 32x32",
                terms="CC BY-SA 3.0", seed=SEED, score={}, hardware=hardware(), dtype=torch.float16,
            )  # fmt: skip
        found = score(name)
        write_score(name, found)
        print(name, *(f"{key}: {value}" for key, value in found.items()), sep="\n  ", flush=True)


if __name__ == "__main__":
    main()
