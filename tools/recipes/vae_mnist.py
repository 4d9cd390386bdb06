"""Train the VAEs that chapter 09 shows on MNIST: `python -m tools.recipes.vae_mnist` (25 minutes on one CPU core).

vae-map-mnist      two latents: a plane to look at and to walk on
vae-mnist          eight latents, the one that is sampled and measured
cvae-mnist         the same with the label in encoder and decoder
vae-mnist-mixture  50 Gaussians fitted to the codes of training digits under vae-mnist: where its codes really are
vae-test-digits    60 test digits to encode, six of each, so that the chapter needs no download

All with a Bernoulli likelihood on pixels drawn afresh in every batch ("dynamic" binarisation), bf16 autocast, and a
running average of the weights. Interrupted, each resumes from its file in runs/.
"""

import argparse

import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from genai_utils.core import seed_all
from genai_utils.data import load, to_floats
from genai_utils.metrics import Estimate, mean_estimate, score_digits
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.vae import VAE, VAEConfig, active_units, binarise, elbo, iwae_bound, reparameterise, sample, vae_loss
from genai_utils.weights import load_weights, registry, save_weights
from tools.recipes import hardware
from tools.recipes.score import as_json, write_score

CONFIGS = {
    "vae-map-mnist": VAEConfig(latent=2),
    "vae-mnist": VAEConfig(latent=8),
    "cvae-mnist": VAEConfig(latent=8, n_classes=10),
}
STEPS = {"vae-map-mnist": 6_000, "vae-mnist": 10_000, "cvae-mnist": 10_000}
BATCH, RATE, DECAY, SEED = 100, 2e-3, 0.999, 0
COMMAND = "python -m tools.recipes.vae_mnist"


def binarised_loss(model: VAE, batch, **how):
    """The VAE's loss on pixels drawn from the grey levels, by the global generator: a checkpoint holds its state."""
    x, labels = batch
    ink = torch.where((x + 1) / 2 > torch.rand_like(x), 1.0, -1.0)
    return vae_loss(model, (ink, labels), **how)


def train(name: str) -> VAE | None:
    """Return the averaged weights, or None when the run was interrupted."""
    seed_all(SEED)
    model = VAE(CONFIGS[name])
    opt = adamw(model, RATE)
    ema = EMA(model, DECAY)
    step = make_step(
        model, binarised_loss, opt, clip=None, schedule=warmup_cosine(opt, STEPS[name]), ema=ema,
        amp=torch.bfloat16,
    )  # fmt: skip
    rows = fit(
        step, load("mnist").batches(BATCH, seed=SEED), steps=STEPS[name], every=200, checkpoint=f"runs/{name}.pt"
    )
    return ema.model if rows[-1]["step"] == STEPS[name] else None


@torch.no_grad()
def fit_mixture(model: VAE, *, parts: int = 50, n: int = 10_000, seed: int = SEED) -> dict[str, Tensor]:
    """Return weights (K,), means (K, Z) and Cholesky factors (K, Z, Z) of a mixture fitted to n codes z ~ q(z | x)."""
    g = torch.Generator().manual_seed(seed)
    x = binarise(to_floats(load("mnist").images[:n]), g)
    z = torch.cat([reparameterise(*model.encode(part), g) for part in x.split(1000)])
    found = GaussianMixture(parts, random_state=seed, reg_covar=1e-4).fit(z.double().numpy())
    weights, means, covariances = (torch.from_numpy(a) for a in (found.weights_, found.means_, found.covariances_))
    tensors = {"weights": weights, "means": means, "factors": torch.linalg.cholesky(covariances)}
    return {name: t.float() for name, t in tensors.items()}


def sample_mixture(mixture: dict[str, Tensor], n: int, generator: torch.Generator | None = None) -> Tensor:
    """Return n codes (n, Z) drawn from the mixture."""
    k = torch.multinomial(mixture["weights"], n, replacement=True, generator=generator)
    eps = torch.randn(n, mixture["means"].shape[1], generator=generator)
    return mixture["means"][k] + (mixture["factors"][k] @ eps[:, :, None])[:, :, 0]


def digits_to_encode(each: int = 6) -> dict[str, Tensor]:
    """Return the first `each` test digits of every class, in the order of their classes."""
    test = load("mnist", split="test")
    which = torch.cat([(test.labels == k).nonzero()[:each, 0] for k in range(10)])
    return {"images": test.images[which], "labels": test.labels[which]}


@torch.no_grad()
def bounds(model: VAE, n: int = 10_000, n_iwae: int = 2_000) -> dict[str, Estimate]:
    """Return bounds on the log-likelihood of test digits in nats, binarised once by seed 0: ELBO and IWAE-50."""
    test = load("mnist", split="test")
    x = binarise(to_floats(test.images), torch.Generator().manual_seed(0))
    g = torch.Generator().manual_seed(0)

    def over(bound, count, **how):
        parts = torch.arange(count).split(250)
        labels = [test.labels[i] if model.cfg.n_classes else None for i in parts]
        return mean_estimate(torch.cat([bound(model, x[i], y, generator=g, **how) for i, y in zip(parts, labels)]))

    return {"elbo": over(elbo, n), "iwae_50": over(iwae_bound, n_iwae, k=50)}


@torch.no_grad()
def score(name: str) -> dict:
    """Return what the registry says of stored weights: bounds, active units, and the judge on 1,000 samples."""
    model = load_weights(name, VAE)
    labels = torch.arange(1000) % 10 if model.cfg.n_classes else None
    images = sample(model, 1000, labels, generator=torch.Generator().manual_seed(0))
    x = binarise(to_floats(load("mnist", split="test").images), torch.Generator().manual_seed(0))
    y = load("mnist", split="test").labels if model.cfg.n_classes else None
    judge = registry()["classifier-mnist"]["sha256"][:12]
    about = {"command": f"{COMMAND} --score", "judge": f"classifier-mnist {judge}", "unit": "nats per image"}
    about["active_units"] = int(active_units(model.encode(x, y)[0]).sum())
    return about | as_json(bounds(model) | score_digits(images, labels))


@torch.no_grad()
def save_companions() -> None:
    """Write the mixture, scored like a model, and the test digits."""
    model, judge = load_weights("vae-mnist", VAE), registry()["classifier-mnist"]["sha256"][:12]
    mixture = fit_mixture(model)
    z = sample_mixture(mixture, 1000, torch.Generator().manual_seed(0))
    found = {"judge": f"classifier-mnist {judge}"} | as_json(score_digits(model.likelihood.mean(model.decode(z))))
    about = {"command": COMMAND, "terms": "CC BY-SA 3.0", "seed": SEED, "hardware": hardware()}
    save_weights("vae-mnist-mixture", mixture, data="codes of 10,000 MNIST training images", score=found, **about)
    digits = digits_to_encode()
    save_weights("vae-test-digits", digits, data="60 MNIST test images, unchanged", score={"n": 60}, **about)
    print(f"vae-mnist-mixture: {found}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(CONFIGS)} (default: all)")
    parser.add_argument("--score", action="store_true", help="only score the weights that are there")
    args = parser.parse_args()
    if unknown := sorted(set(args.names) - set(CONFIGS)):
        parser.error(f"no such model: {', '.join(unknown)}")
    for name in args.names or CONFIGS:
        if not args.score:
            model = train(name)
            if model is None:
                raise SystemExit(f"{name} was interrupted; run the command again to go on")
            save_weights(
                name, model, command=COMMAND, data="MNIST, 60,000 training images, binarised at random",
                terms="CC BY-SA 3.0", seed=SEED, score={}, hardware=hardware(), dtype=torch.float16,
            )  # fmt: skip
        found = score(name)
        write_score(name, found)
        for key, value in found.items():
            print(f"{name} {key}: {value}", flush=True)
        if name == "vae-mnist":
            save_companions()


if __name__ == "__main__":
    main()
