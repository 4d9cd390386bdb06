"""Train the U-Net that chapter 16 samples: `python -m tools.recipes.unet_mnist` (about an hour on one CPU core).

MNIST at 28 x 28, class-conditional with one label in ten replaced by class 10 ("any"), cosine schedule, eps prediction,
8,000 steps of 64 images, bf16 autocast, running average of the weights. Interrupted, it resumes from
runs/unet-mnist.pt.
"""

from functools import partial

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from genai_utils.core import seed_all
from genai_utils.data import load
from genai_utils.diffusion import UNet, UNetConfig, cosine_schedule, diffusion_loss
from genai_utils.training import EMA, adamw, fit, make_step, warmup_cosine
from genai_utils.weights import save_weights

CONFIG = UNetConfig(n_classes=11, widths=(16, 48, 80), head_dim=40, blocks=1)
STEPS, BATCH, SEED = 8_000, 64, 0


def main() -> None:
    seed_all(SEED)
    data = load("mnist", split="train")
    model = UNet(CONFIG)
    opt = adamw(model, lr=1.5e-3)
    schedule = warmup_cosine(opt, STEPS, warmup=200)
    ema = EMA(model, decay=0.999)
    loss = partial(diffusion_loss, alpha_bar=cosine_schedule(), label_drop=0.1)
    step = make_step(model, loss, opt, schedule=schedule, ema=ema, amp=torch.bfloat16)
    with sdpa_kernel(SDPBackend.MATH):  # on 49 tokens a CPU's flash attention takes longer backwards in bf16
        rows = fit(step, data.batches(BATCH, seed=SEED), steps=STEPS, every=50, checkpoint="runs/unet-mnist.pt")
    if rows[-1]["step"] == STEPS:
        save(ema.model)


def save(model: UNet) -> None:
    """Write the shipped file, in fp16, and its registry entry; `tools.recipes.score` adds the score."""
    save_weights(
        "unet-mnist", model, config=CONFIG, command="python -m tools.recipes.unet_mnist",
        data="MNIST, 60,000 training images", terms="CC BY-SA 3.0", seed=SEED, score={},
        hardware="AMD EPYC (Zen 4), 1 core", dtype=torch.float16,
    )  # fmt: skip


if __name__ == "__main__":
    main()
