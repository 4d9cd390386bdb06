"""Measure what chapter 09 shows: `python -m tools.results.vae_09` writes genai_utils/results/09.json.

Needs MNIST (a network, or GENAI_DATA). About 25 minutes on one CPU thread; every finished part is kept in runs/ and not
measured twice. All likelihoods are in nats per image, on pixels binarised once by a fixed generator. `seeds`,
`collapse` and `independent_pixels` rest on the first 1,000 test digits, which are a little easier than the rest.
"""

import hashlib
import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import median_filter
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.core import seed_all
from genai_utils.data import draw_glyphs, load, to_floats
from genai_utils.data.sets import Batches
from genai_utils.metrics import mutual_information_gap, score_digits
from genai_utils.results import save_results
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.vae import (
    VAE, VAEConfig, active_units, binarise, elbo, iwae_bound, kl_to_prior, kl_warmup, normal_log_prob, reparameterise,
    sample, vae_loss,
)  # fmt: skip
from genai_utils.weights import load_weights
from tools.recipes.vae_mnist import fit_mixture, sample_mixture

SOURCES = [f"genai_utils/vae/{f}.py" for f in ("vae", "likelihoods", "latent")]
SOURCES += ["genai_utils/data/glyphs.py", "genai_utils/metrics/disentanglement.py", "tools/recipes/vae_mnist.py"]
SOURCES += [f"genai_utils/metrics/{f}.py" for f in ("quality", "frechet", "classifier")]
SOURCES += [f"genai_utils/weights/{f}.safetensors" for f in ("vae-mnist", "classifier-mnist", "mnist-features")]
SOURCES += ["tools/results/vae_09.py"]
PARTS = Path("runs/results-09.json")
BETAS, BETA_SEEDS = (0.5, 1, 2, 4, 8, 16), (0, 1, 2, 3, 4)
SEEDS = (0, 1, 2)
LETTER = {"network": "mlp", "hidden": 128, "latent": 5}
ANOMALY = {"network": "mlp", "hidden": 256, "latent": 8}
TRAINED = {"rate": 2e-3, "average": 0.99}
GREY = 0.8  # a pixel of a mean is called grey when its size is below this: black is -1, ink 1


def train(config: VAEConfig, images: Tensor, *, steps: int, batch: int, seed: int, beta=1.0, bf16=False) -> VAE:
    """Return the averaged weights of a VAE trained on grey images (N, C, H, H) uint8, binarised in every batch."""
    seed_all(seed)
    model = VAE(config)
    opt, ema = adamw(model, 2e-3), EMA(model, 0.99)
    g = torch.Generator().manual_seed(seed)
    batches = Batches(lambda which: (binarise(to_floats(images[which]), g), None), len(images), batch, seed)
    amp = torch.bfloat16 if bf16 else None
    loss = partial(vae_loss, beta=beta)
    step = make_step(model, loss, opt, clip=None, schedule=warmup_cosine(opt, steps), ema=ema, amp=amp)
    fit(step, batches, steps=steps, every=steps, progress=False)
    return ema.model.eval()


def fixed(images: Tensor) -> Tensor:
    """Return images binarised once, the same way every time."""
    return binarise(to_floats(images), torch.Generator().manual_seed(0))


@torch.no_grad()
def beta_run(beta: float, seed: int) -> dict[str, float]:
    """One beta-VAE on `letter`: what the code costs, what it leaves out, and how its latents share the factors."""
    test = load("letter", "test")
    with torch.enable_grad():
        model = train(VAEConfig(**LETTER), load("letter").images, steps=1_500, batch=64, seed=seed, beta=beta)
    x, grey = fixed(test.images), to_floats(test.images)
    mu, log_var = model.encode(x)
    kl = kl_to_prior(mu, log_var).sum(1).mean().item()
    bound = elbo(model, x, samples=5, generator=torch.Generator().manual_seed(0)).mean().item()
    mean = model.likelihood.mean(model.decode(mu))
    gap = mutual_information_gap(mu, test.extra["factors"], resamples=0)
    return {
        "nll": -bound - kl, "kl": kl, "elbo": bound, "active": int(active_units(mu).sum()), "mig": gap.score.value,
        "grey": (mean.abs() < GREY).float().mean().item(), "mse": (mean - grey).square().mean().item(),
    } | {f"mig_{name}": value for name, value in gap.per_factor.items()}  # fmt: skip


def letter_facts() -> dict[str, float]:
    """What can be known of `letter` without a model: how grey it is, and the exact -log p of the binarised test set.

    Every drawing of the letter has known factors, 16 x 16 x 16 of them, equally likely; and given its drawing each
    pixel is an independent coin. So p(x) is a sum over 4,096 terms.
    """
    grey, train_set = to_floats(load("letter", "test").images), to_floats(load("letter").images)
    levels = [load("letter").extra["factors"][name].unique() for name in ("size", "slant", "thickness")]
    factors = torch.cartesian_prod(*levels)  # (4096, 3)
    drawings = draw_glyphs("H" * len(factors), torch.zeros(len(factors), dtype=torch.int64), *factors.T)
    p = (drawings.flatten(1).double() / 255).clamp(1e-12, 1 - 1e-12)  # of ink; (4096, 784)
    ink = (fixed(load("letter", "test").images).flatten(1) > 0).double()
    log_p = ink @ p.log().T + (1 - ink) @ (1 - p).log().T  # (N, 4096)
    return {
        "n": len(grey), "grey_originals": (grey.abs() < GREY).float().mean().item(),
        "mse_mean": (grey - train_set.mean(0)).square().mean().item(),
        "neg_log_p": (math.log(len(factors)) - log_p.logsumexp(1)).mean().item(),
    }  # fmt: skip


@torch.no_grad()
def anomaly(digit: int, seed: int = 0, n: int = 2_000) -> dict[str, float]:
    """AUROC of scores that should call `digit` strange, by models that never saw it; n random test digits."""
    data, test = load("mnist"), load("mnist", split="test")
    known = data.images[data.labels != digit]
    which = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:n]
    x, strange = fixed(test.images)[which], (test.labels[which] == digit).numpy()
    with torch.enable_grad():
        model = train(VAEConfig(**ANOMALY), known, steps=1_200, batch=128, seed=seed)
    g = torch.Generator().manual_seed(0)
    kl = kl_to_prior(*model.encode(x)).sum(1)
    bound = elbo(model, x, samples=5, generator=g)
    scores = {"elbo": -bound, "iwae": -iwae_bound(model, x, k=50, generator=g), "nll": -bound - kl, "kl": kl}
    scores |= {"ink": (x > 0).float().mean((1, 2, 3))}
    flat, seen = test.images[which].flatten(1).double(), known[:10_000].flatten(1).double()
    for k in (8, 64):
        pca = PCA(k, random_state=0).fit(seen.numpy())
        back = pca.inverse_transform(pca.transform(flat.numpy()))
        scores[f"pca{k}"] = torch.from_numpy(np.square(back - flat.numpy()).sum(1))
    return {name: float(roc_auc_score(strange, s.numpy())) for name, s in scores.items()}


@torch.no_grad()
def seed_run(seed: int, n: int = 1_000) -> dict[str, float]:
    """Headline figures of a convolutional VAE on MNIST, trained briefly: bounds, judge, and the hole in the prior."""
    with torch.enable_grad():
        model = train(VAEConfig(latent=8), load("mnist").images, steps=1_500, batch=100, seed=seed, bf16=True)
    x, g = fixed(load("mnist", split="test").images[:n]), torch.Generator().manual_seed(seed)
    mixture = fit_mixture(model, seed=seed)
    z = reparameterise(*model.encode(x), g)
    from_prior = score_digits(sample(model, 1000, generator=g), resamples=0)
    codes = sample_mixture(mixture, 1000, g)
    from_mixture = score_digits(model.likelihood.mean(model.decode(codes)), resamples=0)
    return {
        "elbo": elbo(model, x, generator=g).mean().item(), "active": int(active_units(model.encode(x)[0]).sum()),
        "iwae5": iwae_bound(model, x, k=5, generator=g).mean().item(),
        "iwae50": iwae_bound(model, x, k=50, generator=g).mean().item(),
        "hole": (mixture_log_prob(mixture, z) - normal_log_prob(z)).mean().item(),
    } | {
        f"{key}_{source}": found[key].value for key in ("frechet", "confident", "class_entropy")
        for source, found in (("prior", from_prior), ("mixture", from_mixture))
    } | {"frechet_held_out": from_prior["frechet_held_out"].value}  # fmt: skip


def mixture_log_prob(mixture: dict[str, Tensor], z: Tensor) -> Tensor:
    """Return the log-density in nats, (B,), of codes (B, Z) under a mixture as `fit_mixture` returns it."""
    parts = torch.distributions.MultivariateNormal(mixture["means"], scale_tril=mixture["factors"])
    weights = torch.distributions.Categorical(probs=mixture["weights"])
    return torch.distributions.MixtureSameFamily(weights, parts).log_prob(z)


class Causal(nn.Conv2d):
    """A convolution that sees the pixels before each pixel in reading order, and that pixel itself if `own`."""

    def __init__(self, c_in: int, c_out: int, side: int, own: bool) -> None:
        super().__init__(c_in, c_out, side, padding=side // 2)
        self.register_buffer("mask", (torch.arange(side**2) < side**2 // 2 + own).view(side, side))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class Before(nn.Linear):
    """A linear map from all pixels before each pixel to its logit."""

    def __init__(self, pixels: int) -> None:
        super().__init__(pixels, pixels)
        nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.flatten(1), self.weight.tril(-1), self.bias).view_as(x)


class StrongVAE(VAE):
    """A VAE whose decoder also sees the earlier pixels: p(x | z) is then an exact product of conditionals."""

    def __init__(self, cfg: VAEConfig, width: int = 16) -> None:
        super().__init__(cfg)
        self.near = nn.Sequential(
            Causal(1, width, 7, False), nn.SiLU(), Causal(width, width, 3, True), nn.SiLU(),
            Causal(width, width, 3, True), nn.SiLU(), Causal(width, 1, 1, True),
        )  # fmt: skip
        self.far = Before(cfg.side**2)

    def context(self, x: Tensor) -> Tensor:
        """Return what the earlier pixels add to the logits, (B, 1, H, H)."""
        return self.near(x) + self.far(x)

    def forward(self, x, labels=None, generator=None):
        params, mu, log_var = super().forward(x, labels, generator)
        return params + self.context(x), mu, log_var


COLLAPSE = {  # variant: class, share of the run in which the KL term is phased in, free bits (nats per latent)
    "plain": (VAE, 0.0, 0.0), "strong": (StrongVAE, 0.0, 0.0), "warmup": (StrongVAE, 0.5, 0.0),
    "free_bits": (StrongVAE, 0.0, 0.5),
}  # fmt: skip
COLLAPSE_STEPS = 600


@torch.no_grad()
def collapse(variant: str, seed: int, n: int = 1_000) -> dict[str, float]:
    """One run on MNIST: rate, distortion, latents in use, and how much dearer a picture is with another one's code."""
    kind, phase, free_bits = COLLAPSE[variant]
    seed_all(seed)
    model, g = kind(VAEConfig(**ANOMALY)), torch.Generator().manual_seed(seed)
    opt = adamw(model, 4e-3)
    schedule = warmup_cosine(opt, COLLAPSE_STEPS)
    beta = kl_warmup(schedule, int(phase * COLLAPSE_STEPS)) if phase else 1.0
    loss = partial(vae_loss, beta=beta, free_bits=free_bits)
    batches = ((binarise(x, g), labels) for x, labels in load("mnist").batches(64, seed=seed))
    step = make_step(model, loss, opt, clip=None, schedule=schedule, amp=torch.bfloat16)
    with torch.enable_grad():
        fit(step, batches, steps=COLLAPSE_STEPS, every=COLLAPSE_STEPS, progress=False)
    x, g = fixed(load("mnist", split="test").images[:n]), torch.Generator().manual_seed(0)
    params, mu, log_var = model.eval()(x, generator=g)
    z = reparameterise(mu, log_var, g)
    other = model.decode(z.roll(1, 0)) + (model.context(x) if kind is StrongVAE else 0.0)
    nll, nll_other = (-model.likelihood.log_prob(p, x).mean().item() for p in (params, other))
    kl = kl_to_prior(mu, log_var).sum(1).mean().item()
    active = int(active_units(mu).sum())
    return {"nll": nll, "kl": kl, "elbo": -nll - kl, "active": active, "swap": nll_other - nll}


def independent_pixels(n: int = 1_000) -> float:
    """-log p in nats of the dumbest model: every pixel a coin of its own, its bias counted in the training set."""
    p = ((to_floats(load("mnist").images) + 1) / 2).mean(0).clamp(1e-4, 1 - 1e-4)
    ink = fixed(load("mnist", split="test").images[:n]) > 0
    return -torch.where(ink, p.log(), (1 - p).log()).sum((1, 2, 3)).mean().item()


@torch.no_grad()
def denoise(seed: int, n: int = 2_000, flip: float = 0.1) -> dict[str, float]:
    """Share of wrong pixels of black and white test digits of which one pixel in ten was turned over, by method.

    `vae` encodes and decodes once. `vae_and_noise` knows the noise, too: it adds the log odds that a pixel is as it was
    to the decoder's logits, encodes the picture that is then the likeliest, and so on, five times. `vae_of_clean` is
    what the VAE makes of digits without noise; `black` is an empty picture.
    """
    model = load_weights("vae-mnist", VAE)
    clean = binarise(to_floats(load("mnist", split="test").images[:n]))  # at mid-grey
    g = torch.Generator().manual_seed(seed)
    noisy = torch.where(torch.rand(clean.shape, generator=g) < flip, -clean, clean)

    def rebuild(x: Tensor) -> Tensor:  # logits
        return torch.cat([model.decode(model.encode(part)[0]) for part in x.split(500)])

    guess = noisy
    for _ in range(5):
        guess = torch.where(rebuild(guess) + math.log((1 - flip) / flip) * noisy > 0, 1.0, -1.0)
    guesses = {
        "noisy": noisy, "median": torch.from_numpy(median_filter(noisy.numpy(), size=(1, 1, 3, 3))),
        "vae": rebuild(noisy), "vae_and_noise": guess, "vae_of_clean": rebuild(clean),
        "black": -torch.ones_like(clean),
    }  # fmt: skip
    return {name: ((guess > 0) != (clean > 0)).float().mean().item() for name, guess in guesses.items()}


def plan() -> dict:
    """Return name -> function of every part."""
    parts = {f"beta {b} {s}": partial(beta_run, b, s) for b in BETAS for s in BETA_SEEDS}
    parts |= {"letter": letter_facts, "independent_pixels": independent_pixels}
    parts |= {f"denoise {s}": partial(denoise, s) for s in SEEDS}
    parts |= {f"collapse {variant} {s}": partial(collapse, variant, s) for variant in COLLAPSE for s in SEEDS}
    parts |= {f"seeds {s}": partial(seed_run, s) for s in SEEDS}
    return parts | {f"anomaly {d} {s}": partial(anomaly, d, s) for s in SEEDS for d in range(10)}


def gather(done: dict) -> dict:
    """Return the values as chapters read them: lists over seeds."""

    def over(prefix: str, seeds) -> dict[str, list[float]]:
        runs = [done[f"{prefix} {s}"] for s in seeds]
        return {key: [run[key] for run in runs] for key in runs[0]}

    return {
        "letter": done["letter"],
        "beta": {
            "settings": LETTER | TRAINED | {"steps": 1_500, "batch": 64, "grey": GREY}, "seeds": BETA_SEEDS,
            "runs": {str(b): over(f"beta {b}", BETA_SEEDS) for b in BETAS},
        },
        "collapse": {
            "settings": ANOMALY | {
                "steps": COLLAPSE_STEPS, "batch": 64, "rate": 4e-3, "bf16": True, "free_bits": 0.5, "warmup": 0.5},
            "seeds": SEEDS, "n": 1_000, "runs": {variant: over(f"collapse {variant}", SEEDS) for variant in COLLAPSE},
        },
        "anomaly": {
            "settings": ANOMALY | TRAINED | {"steps": 1_200, "batch": 128, "pca_fitted_on": 10_000},
            "seeds": SEEDS, "n": 2_000,
            "auroc": {str(d): over(f"anomaly {d}", SEEDS) for d in range(10)},
        },
        "seeds": {
            "settings": TRAINED | {"network": "conv", "latent": 8, "steps": 1_500, "batch": 100, "bf16": True},
            "seeds": SEEDS, "n": 1_000,
            "runs": over("seeds", SEEDS), "independent_pixels": done["independent_pixels"],
        },
        "denoise": {"n": 2_000, "flip": 0.1, "seeds": SEEDS, "errors": over("denoise", SEEDS)},
    }  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    PARTS.parent.mkdir(exist_ok=True)
    code = hashlib.sha256(b"".join(Path(source).read_bytes() for source in SOURCES)).hexdigest()
    kept = json.loads(PARTS.read_text()) if PARTS.exists() else {}
    done = kept if kept.get("code") == code else {"code": code}  # parts measured by other code are worth nothing
    for name, measure in plan().items():
        if name not in done:
            done[name] = measure()
            PARTS.write_text(json.dumps(done))
            print(name, str(done[name])[:160], flush=True)
    libraries = ("torch", "numpy", "scikit-learn", "scipy")
    command = "python -m tools.results.vae_09"
    save_results("09", gather(done), sources=SOURCES, command=command, seeds=BETA_SEEDS, libraries=libraries)


if __name__ == "__main__":
    main()
