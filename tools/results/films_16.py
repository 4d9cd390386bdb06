"""Keep chapter 16's longest films: `python -m tools.results.films_16` writes genai_utils/results/films.json.

A walk of 1000 steps takes many seconds on a CPU, too long for a page that is built by running it. The chapter computes
the short films itself, and these two when it runs at full scale.
"""

import base64
import zlib

import torch

from genai_utils.data import to_pixels
from genai_utils.diffusion import UNet, cosine_schedule, ddim_steps, ddpm_steps, denoiser, visit_times
from genai_utils.results import save_results
from genai_utils.weights import load_weights

SAMPLERS = {"DDPM": ddpm_steps, "DDIM": ddim_steps}
STEPS, KEEP, LABEL, NOISE_SEED, WALK_SEED = 1000, 24, 3, 1, 0


def film(name: str) -> dict:
    """Return the frames, uint8 (N, 2, 28, 28) of x_t and x0_hat, packed as text, and their timesteps."""
    unet, alpha_bar = load_weights("unet-mnist", UNet), cosine_schedule()
    noise = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(NOISE_SEED))
    chance = {"generator": torch.Generator().manual_seed(WALK_SEED)} if name == "DDPM" else {}
    denoise = denoiser(unet, alpha_bar, labels=torch.tensor([LABEL]))
    steps = list(SAMPLERS[name](denoise, noise, alpha_bar, visit_times(1000, STEPS), **chance))
    kept = steps[:: STEPS // KEEP] + steps[-1:]
    frames = torch.stack([to_pixels(torch.cat([x[0], x0_hat[0]])) for _, x, x0_hat in kept])
    packed = base64.b64encode(zlib.compress(frames.numpy().tobytes(), 9)).decode()
    return {"frames": packed, "shape": list(frames.shape), "times": [t for t, _, _ in kept]}


def main() -> None:
    sources = [f"genai_utils/diffusion/{f}.py" for f in ("unet", "schedules", "process", "samplers")]
    sources += ["genai_utils/weights/unet-mnist.safetensors", "tools/results/films_16.py"]
    values = {name: film(name) for name in SAMPLERS}
    command = "python -m tools.results.films_16"
    save_results("films", values, sources=sources, command=command, seeds=[NOISE_SEED, WALK_SEED])


if __name__ == "__main__":
    main()
