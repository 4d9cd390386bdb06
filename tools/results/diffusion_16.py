"""Measure what chapter 16 shows: `python -m tools.results.diffusion_16` writes genai_utils/results/16.json.

Needs MNIST (a network, or GENAI_DATA). About 40 minutes on one CPU thread; every finished part is kept in runs/ and not
measured twice.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch

from genai_utils.data import load
from genai_utils.diffusion import (
    UNet, bound_term, cosine_schedule, ddim_steps, ddpm_steps, denoiser, dpmpp_steps, visit_times,
)  # fmt: skip
from genai_utils.metrics import Classifier, frechet_distance, memorisation
from genai_utils.results import save_results
from genai_utils.weights import load_tensors, load_weights

SAMPLERS = {"ddpm": ddpm_steps, "ddim": ddim_steps, "dpmpp": dpmpp_steps}
STEPS = (5, 10, 20, 50)
SEEDS = (0, 1, 2)
N = 500
SOURCES = [f"genai_utils/diffusion/{f}.py" for f in ("unet", "schedules", "process", "samplers")]
SOURCES += ["genai_utils/weights/unet-mnist.safetensors", "tools/results/diffusion_16.py"]
PARTS = Path("runs/results-16.json")


@torch.no_grad()
def draw(unet: UNet, sampler: str, steps: int, seed: int, n: int, labels: torch.Tensor | None = None) -> torch.Tensor:
    """Return (n, 1, 28, 28) samples in [-1, 1]; labels 0 ... 9 in turn unless given."""
    alpha_bar = cosine_schedule()
    labels = torch.arange(n) % 10 if labels is None else labels
    out = []
    for i, chunk in enumerate(labels.split(100)):
        g = torch.Generator().manual_seed(1000 * seed + i)
        x = torch.randn(len(chunk), 1, 28, 28, generator=g)
        chance = {"generator": g} if sampler == "ddpm" else {}
        denoise = denoiser(unet, alpha_bar, labels=chunk)
        *_, (_, x, _) = SAMPLERS[sampler](denoise, x, alpha_bar, visit_times(1000, steps), **chance)
        out.append(x.clamp(-1, 1))
    return torch.cat(out)


@torch.no_grad()
def features(judge: Classifier, x: torch.Tensor) -> torch.Tensor:
    return torch.cat([judge.features(chunk) for chunk in x.split(500)])


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return frechet_distance(a, b, resamples=0).value


def frechet_of(unet: UNet, judge: Classifier, reference: torch.Tensor, sampler: str, steps: int) -> list[float]:
    return [distance(features(judge, draw(unet, sampler, steps, s, N)), reference) for s in SEEDS]


def held_out(reference: torch.Tensor, test: torch.Tensor) -> list[float]:
    """Distances of three disjoint sets of N held-out digits."""
    return [distance(test[i * N : (i + 1) * N], reference) for i in range(len(SEEDS))]


def gaussian_baseline(judge: Classifier, train: torch.Tensor, reference: torch.Tensor) -> list[float]:
    """Distances of samples from one Gaussian with the pixels' own mean and covariance."""
    pixels = train.flatten(1).double()
    factor = torch.linalg.cholesky(torch.cov(pixels.T) + 1e-4 * torch.eye(784, dtype=torch.float64))
    distances = []
    for seed in SEEDS:
        z = torch.randn(N, 784, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        x = (pixels.mean(0) + z @ factor.T).clamp(-1, 1).float().reshape(-1, 1, 28, 28)
        distances.append(distance(features(judge, x), reference))
    return distances


@torch.no_grad()
def bits_per_dim(unet: UNet, test: torch.Tensor, labels: torch.Tensor, draws: int = 20) -> dict:
    """The variational bound on test digits: first and last term exactly, the sum between from random timesteps."""
    alpha_bar, g = cosine_schedule(), torch.Generator().manual_seed(0)
    T = len(alpha_bar)
    denoise = denoiser(unet, alpha_bar, labels=labels)
    total = bound_term(denoise, test, 0, alpha_bar, generator=g) + bound_term(denoise, test, T, alpha_bar)
    edges = torch.linspace(1, T, draws + 1).long()
    for low, high in zip(edges, edges[1:]):  # one draw in each of `draws` strata
        t = int(torch.randint(int(low), int(high), (1,), generator=g))
        total = total + (high - low) * bound_term(denoise, test, t, alpha_bar, generator=g)
    bits = total / (784 * torch.log(torch.tensor(2.0)))
    return {"mean": float(bits.mean()), "stderr": float(bits.std() / len(bits) ** 0.5), "n": len(bits), "kind": "bound"}


@torch.no_grad()
def commit(unet: UNet, judge: Classifier, walks: int = 24, copies: int = 20) -> dict:
    """Share of `copies` that end as their commonest digit when they part at time t; unconditional, 50 DDPM steps."""
    alpha_bar, times = cosine_schedule(), visit_times(1000, 50)
    anything = torch.full((walks,), 10)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(walks, 1, 28, 28, generator=g)
    denoise = denoiser(unet, alpha_bar, labels=anything)
    path = [x] + [x for _, x, _ in ddpm_steps(denoise, x, alpha_bar, times, generator=g)]
    parts = [0, 5, 10, 15, 20, 25, 30, 35, 40, 45]
    agree = []
    for i in parts:
        x = path[i].repeat_interleave(copies, 0)
        denoise = denoiser(unet, alpha_bar, labels=torch.full((len(x),), 10))
        *_, (_, x, _) = ddpm_steps(denoise, x, alpha_bar, times[i:], generator=g)
        verdict = judge(x.clamp(-1, 1)).argmax(1).reshape(walks, copies)
        agree.append([(row == row.mode().values).float().mean().item() for row in verdict])
    return {"t": [times[i] for i in parts], "agree": [list(w) for w in zip(*agree)], "copies": copies}


def nearest(unet: UNet, train: torch.Tensor, test: torch.Tensor) -> dict:
    """The copying judge, on pixels: chance that a sample lies nearer to the training set than a held-out digit does."""
    samples = draw(unet, "dpmpp", 20, 0, N)
    found = memorisation(samples.flatten(1), train.flatten(1), test[:N].flatten(1))
    return {name: asdict(getattr(found, name)) for name in ("nearer", "copies")}


def main() -> None:
    unet, judge = load_weights("unet-mnist", UNet), load_weights("classifier-mnist", Classifier)
    shipped = load_tensors("mnist-features")
    reference, test_features = shipped["train"].float(), shipped["test"].float()
    train, test = (load("mnist", split=s) for s in ("train", "test"))
    x_train, x_test = (d.images.float() / 127.5 - 1 for d in (train, test))
    runs = [(s, k) for s in SAMPLERS for k in STEPS]
    todo = {f"frechet {s} {k}": lambda s=s, k=k: frechet_of(unet, judge, reference, s, k) for s, k in runs}
    todo |= {
        "held_out": lambda: held_out(reference, test_features),
        "gaussian": lambda: gaussian_baseline(judge, x_train, reference),
        "bits_per_dim": lambda: bits_per_dim(unet, x_test[:200], test.labels[:200]),
        "commit": lambda: commit(unet, judge),
        "nearest": lambda: nearest(unet, x_train, x_test),
    }
    PARTS.parent.mkdir(exist_ok=True)
    code = hashlib.sha256(b"".join(Path(source).read_bytes() for source in SOURCES)).hexdigest()
    kept = json.loads(PARTS.read_text()) if PARTS.exists() else {}
    done = kept if kept.get("code") == code else {"code": code}  # parts measured by other code are worth nothing
    for name, measure in todo.items():
        if name not in done:
            done[name] = measure()
            PARTS.write_text(json.dumps(done))
            print(name, str(done[name])[:100], flush=True)
    del done["code"]
    values = {k: v for k, v in done.items() if not k.startswith("frechet")} | {"n": N}
    values["frechet"] = {s: {str(k): done[f"frechet {s} {k}"] for k in STEPS} for s in SAMPLERS}
    save_results("16", values, sources=SOURCES, command="python -m tools.results.diffusion_16", seeds=list(SEEDS))


if __name__ == "__main__":
    main()
