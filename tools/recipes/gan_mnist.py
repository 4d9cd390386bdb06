"""Train the GANs of chapters 11 and 12 on MNIST: `python -m tools.recipes.gan_mnist` (three hours of one CPU core).

dcgan-mnist      DCGAN by its own rules, both networks: the discriminator is worth looking at, too
wgan-mnist       the same networks as a WGAN with gradient penalty
stylegan-mnist   a small StyleGAN2, the generator, trained against DCGAN's discriminator on digits with a little noise
biggan-mnist     a small BigGAN with the classes, the generator, with standing statistics

Digits are padded to 32x32. What is stored is a running average of the generator's weights; of it 5,000 digits are
judged. Interrupted, each resumes from its file in runs/.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.core import pick_device, seed_all
from genai_utils.data import load
from genai_utils.gan import (
    DCGAN, WGAN, BigGAN, BigGANConfig, BigGANGame, DCGANConfig, Game, StyleGANConfig, StyleGenerator,
    WGANConfig, biggan_step, dcgan_step, gan_step, wgan_step,
)  # fmt: skip
from genai_utils.gan.biggan_step import sample as sample_biggan
from genai_utils.gan.biggan_step import standing_statistics
from genai_utils.gan.dcgan import DCDiscriminator
from genai_utils.gan.stylegan import sample as sample_stylegan
from genai_utils.gan.stylegan_step import draw_styles
from genai_utils.metrics import Estimate, precision_recall, score_digits
from genai_utils.metrics.classifier import Classifier, run_in_batches
from genai_utils.training import EMA, adamw, fit
from genai_utils.training.loop import Step
from genai_utils.weights import load_tensors, load_weights, registry, save_weights
from tools.recipes import ask, hardware
from tools.recipes.score import as_json, write_score

COMMAND, SEED, DECAY = "python -m tools.recipes.gan_mnist", 0, 0.999
SAMPLES = 5_000  # digits that Frechet distance rests on
NEIGHBOURS = 2_000  # real and as many generated digits for precision and recall
PAD = 2  # pixels on each side: 28 to 32
GRAIN = 0.05  # noise on the digits that StyleGAN2 learns from: its noise inputs have something to paint


class Padded:
    """Batches of digits (B, 1, 32, 32) and labels, that can be resumed; with normal noise of a given deviation."""

    def __init__(self, size: int, seed: int, grain: float = 0.0) -> None:
        self.grain = grain
        self.batches = load("mnist").to(pick_device()).batches(size, seed=seed)
        self.state_dict, self.load_state_dict = self.batches.state_dict, self.batches.load_state_dict

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        x, labels = next(self.batches)
        x = F.pad(x, [PAD] * 4, value=-1.0)
        return x + self.grain * torch.randn_like(x) if self.grain else x, labels


def make_dcgan() -> tuple[Game, EMA, Step]:
    model = DCGAN(DCGANConfig(latent=64, width_g=24, width_d=24)).to(pick_device())
    ema = EMA(model.generator, DECAY)
    return model, ema, dcgan_step(model, ema=ema)


def make_wgan() -> tuple[Game, EMA, Step]:
    model = WGAN(WGANConfig(width_g=24, width_d=24)).to(pick_device())
    ema = EMA(model.generator, DECAY)
    opt_g, opt_d = (adamw(net, 5e-4, betas=(0.0, 0.9)) for net in (model.generator, model.discriminator))
    return model, ema, wgan_step(model, opt_g, opt_d, ema=ema)


class Mixing(StyleGenerator):
    """A StyleGAN2 that mixes the styles of two z in half of its training pictures, and keeps the mean style."""

    def forward(self, z: Tensor, **how: Any) -> Tensor:
        if not self.training:
            return super().forward(z, **how)
        mixed = torch.rand(len(z), device=z.device) < 0.5
        crossover = torch.randint(1, self.n_styles, (len(z),), device=z.device)
        w, styles = draw_styles(self, z, torch.randn_like(z), torch.where(mixed, crossover, self.n_styles))
        self.mapping.track(w.detach())
        return self.synthesis(styles)


def make_stylegan() -> tuple[Game, EMA, Step]:
    """Return a game of StyleGAN2's generator against DCGAN's discriminator under spectral norm, by the hinge loss.

    StyleGAN2's own rules (`stylegan_step`) want far more pictures than a CPU can show it in half an hour: the spectral
    norm holds the discriminator from the first update, where R1 has to be learnt.
    """
    model = Game()
    model.cfg = StyleGANConfig(base=512)
    model.generator, model.discriminator = Mixing(model.cfg), DCDiscriminator(1, 32, 24, "spectral")
    model.to(pick_device())
    ema = EMA(model.generator, DECAY)
    opt_g = torch.optim.Adam(model.generator.parameters(), 5e-3, betas=(0.0, 0.99), fused=True)
    opt_d = torch.optim.Adam(model.discriminator.parameters(), 6e-4, betas=(0.0, 0.99), fused=True)
    return model, ema, gan_step(model, opt_g, opt_d, loss="hinge", ema=ema)


def make_biggan() -> tuple[Game, EMA, Step]:
    model = BigGANGame(BigGANConfig()).to(pick_device())
    ema = EMA(model.generator, DECAY)
    opt_g = adamw(model.generator, 4e-4, betas=(0.0, 0.999))
    opt_d = adamw(model.discriminator, 8e-4, betas=(0.0, 0.999))
    return model, ema, biggan_step(model, opt_g, opt_d, ema=ema)


MAKERS: dict[str, tuple[Callable, int, int]] = {  # game and step, batch, updates of the generator
    "dcgan-mnist": (make_dcgan, 64, 18_000),
    "wgan-mnist": (make_wgan, 160, 2_500),
    "stylegan-mnist": (make_stylegan, 64, 10_000),
    "biggan-mnist": (make_biggan, 64, 2_800),
}
CLASSES = {"dcgan-mnist": DCGAN, "wgan-mnist": WGAN, "stylegan-mnist": StyleGenerator, "biggan-mnist": BigGAN}


def train(name: str) -> nn.Module:
    """Return what ships under this name: the average of the generator, with the discriminator where CLASSES says so."""
    make, batch, steps = MAKERS[name]
    seed_all(SEED)
    model, ema, step = make()
    batches = Padded(batch, SEED, GRAIN if isinstance(model.generator, StyleGenerator) else 0.0)
    rows = fit(step, batches, steps=steps, every=100, checkpoint=f"runs/{name}.pt", config=model.cfg)
    if not rows or rows[-1]["step"] < steps:
        raise SystemExit(f"{name} was stopped before its end: nothing written. Run the command again to go on")
    settle(ema.model, model)
    if not issubclass(CLASSES[name], Game):
        if isinstance(ema.model, BigGAN):
            return ema.model
        plain = StyleGenerator(model.cfg)
        plain.load_state_dict(ema.model.state_dict())
        return plain.eval()
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
        truncation: of a StyleGAN2, whose noise inputs are left out, or a BigGAN; the others know none.
        seed: of z.
    """
    g = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    labels = torch.arange(n) % 10 if isinstance(model, BigGAN) else None
    if labels is not None:
        parts = list(sample_biggan(model, labels, truncation=truncation, generator=g))
    elif isinstance(model, StyleGenerator):
        parts = list(sample_stylegan(model, n, truncation=truncation, noise="none", generator=g))
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
    names, only_score = ask(__doc__, MAKERS)
    for name in names:
        if not only_score:
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
