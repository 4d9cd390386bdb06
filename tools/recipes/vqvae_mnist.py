"""Train the VQ-VAE of chapter 10 and the prior over its codes: `python -m tools.recipes.vqvae_mnist`.

MNIST at 28 x 28 becomes 7 x 7 codes under a discretised logistic likelihood of the 8-bit pixels; then a
class-conditional transformer learns the codes of all training images. Writes the weights "vqvae-mnist" and
"code-prior-mnist", scored as they ship, rounded to fp16. About 30 minutes on one CPU core; interrupted, it resumes from
runs/vqvae-mnist.pt and runs/code-prior-mnist.pt.
"""

import argparse
import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from genai_utils.core import pick_device, seed_all
from genai_utils.data import load
from genai_utils.data.sets import Batches, to_floats
from genai_utils.metrics import bits_per_dim, mean_estimate, score_digits
from genai_utils.metrics.classifier import run_in_batches
from genai_utils.nn import perplexity
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.vae.prior import CodePrior, CodePriorConfig, description_length, prior_loss, sample_codes
from genai_utils.vae.vqvae import VQVAE, VQVAEConfig, vqvae_loss
from genai_utils.weights import registry, save_weights
from tools.recipes import hardware
from tools.recipes.score import as_json

COMMAND = "python -m tools.recipes.vqvae_mnist"
DATA, TERMS = "MNIST, 60,000 training images", "CC BY-SA 3.0"
AUTOENCODER = VQVAEConfig(widths=(16, 32, 32), mid_attention=False, restart=0.2)
PRIOR = CodePriorConfig(n_codes=AUTOENCODER.n_codes)
SEED, BATCH, PRIOR_BATCH = 0, 32, 64
SAMPLES = 1_000  # digits that the score rests on


def train_vqvae(steps: int) -> VQVAE:
    """Return the running average of a VQ-VAE, rounded to the fp16 in which it ships: its codes are to stay the same."""
    seed_all(SEED)
    device = pick_device()
    data = load("mnist").to(device)
    model = VQVAE(AUTOENCODER).to(device)
    opt, ema = adamw(model, 2e-3), EMA(model, 0.998)
    schedule = warmup_cosine(opt, steps, warmup=200)
    step = make_step(model, vqvae_loss, opt, schedule=schedule, ema=ema, amp=torch.bfloat16)
    rows = fit(step, data.batches(BATCH, seed=SEED), steps=steps, every=100, checkpoint="runs/vqvae-mnist.pt")
    return as_shipped(ema.model, rows, steps)


def train_prior(codes: Tensor, labels: Tensor, steps: int) -> CodePrior:
    """Return the running average of a prior over codes (N, 7, 7) with labels (N,), rounded to fp16."""
    seed_all(SEED)
    model = CodePrior(PRIOR).to(codes.device)
    opt, ema = adamw(model, 2e-3, weight_decay=0.02), EMA(model, 0.998)
    schedule = warmup_cosine(opt, steps, warmup=200)
    step = make_step(model, prior_loss, opt, schedule=schedule, ema=ema, amp=torch.bfloat16)
    batches = Batches(lambda which: (codes[which], labels[which]), len(codes), PRIOR_BATCH, SEED, codes.device)
    with sdpa_kernel(SDPBackend.MATH):  # on 49 tokens a CPU's flash attention takes longer backwards in bf16
        rows = fit(step, batches, steps=steps, every=100, checkpoint="runs/code-prior-mnist.pt")
    return as_shipped(ema.model, rows, steps)


def as_shipped(model: nn.Module, rows: list[dict[str, float]], steps: int) -> nn.Module:
    """Return a copy with every weight rounded to fp16 and back, in evaluation mode, on the CPU."""
    if not rows or rows[-1]["step"] < steps:
        raise SystemExit("stopped before the end: nothing written. Run it again to go on")
    return copy.deepcopy(model).cpu().half().float().eval()


@torch.no_grad()
def score_vqvae(model: VQVAE, x: Tensor, labels: Tensor) -> dict:
    """Measure the autoencoder on test images (N, 1, 28, 28): what codes and pixels take, and how near it comes."""
    codes = run_in_batches(model.encode, x)
    params = run_in_batches(model.decode, codes)
    mean = model.likelihood.mean(params)
    places, K = codes[0].numel(), model.cfg.n_codes
    return as_json({
        "pixel_nats_given_codes": mean_estimate(-model.likelihood.log_prob(params, x)),
        "mean_squared_error": mean_estimate((mean - x).square().mean((1, 2, 3))),
    }) | {
        "code_bits_uniform": round(places * math.log2(K), 2),
        "codebook_perplexity": round(perplexity(codes, K).item(), 2),
        "reconstructions": as_json(score_digits(mean[:SAMPLES], labels[:SAMPLES])),
    }  # fmt: skip


@torch.no_grad()
def score_prior(vqvae: VQVAE, prior: CodePrior, x: Tensor, labels: Tensor) -> dict:
    """Measure the prior: bounds on -log p of test images, with and without their labels, and samples, 100 a class."""
    given = [description_length(vqvae, prior, *part) for part in zip(x.split(500), labels.split(500))]
    codes, pixels = (torch.cat(parts) for parts in zip(*given))
    unlabelled = torch.cat([sum(description_length(vqvae, prior, part)) for part in x.split(500)])
    asked = torch.arange(SAMPLES) % 10
    digits = draw(vqvae, prior, asked)
    dims = x[0].numel()
    return as_json({
        "code_bits_given_label": mean_estimate(codes / math.log(2)),
        "bits_per_dim_bound_given_label": mean_estimate(bits_per_dim(codes + pixels, dims)),
        "bits_per_dim_bound": mean_estimate(bits_per_dim(unlabelled, dims)),
    } | score_digits(digits, asked))  # fmt: skip


@torch.no_grad()
def draw(vqvae: VQVAE, prior: CodePrior, labels: Tensor, seed: int = SEED) -> Tensor:
    """Return digits (N, 1, 28, 28) in [-1, 1]: codes from the prior at temperature 1, then the mean of p(x | codes)."""
    g, out = torch.Generator().manual_seed(seed), []
    for part in labels.split(100):
        *_, (_, codes) = sample_codes(prior, len(part), part, generator=g)
        out.append(vqvae.likelihood.mean(vqvae.decode(codes)))
    return torch.cat(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3_000, help="updates of the VQ-VAE (default 3000)")
    parser.add_argument("--prior-steps", type=int, default=5_000, help="updates of the prior (default 5000)")
    args = parser.parse_args()
    vqvae = train_vqvae(args.steps)
    data, test = load("mnist"), load("mnist", split="test")
    codes = run_in_batches(vqvae.encode, to_floats(data.images))
    device = pick_device()
    prior = train_prior(codes.to(device), data.labels.to(device), args.prior_steps)
    x, judge = to_floats(test.images), registry()["classifier-mnist"]["sha256"][:12]
    about = {"command": COMMAND, "judge": f"classifier-mnist {judge}"}
    scores = {
        "vqvae-mnist": about | score_vqvae(vqvae, x, test.labels),
        "code-prior-mnist": about | score_prior(vqvae, prior, x, test.labels),
    }
    entry = {
        "command": COMMAND, "data": DATA, "terms": TERMS, "seed": SEED, "hardware": hardware(), "dtype": torch.float16,
    }  # fmt: skip
    for (name, score), model in zip(scores.items(), (vqvae, prior)):
        save_weights(name, model, score=score, **entry)
        print(name, *(f"{key}: {value}" for key, value in score.items()), sep="\n  ")


if __name__ == "__main__":
    main()
