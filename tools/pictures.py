"""Draw assets/readme.png and assets/favicon.png from the shipped network: `python -m tools.pictures`."""

from pathlib import Path

import torch
from PIL import Image

from genai_utils.data import to_pixels
from genai_utils.diffusion import UNet, cosine_schedule, ddpm_steps, denoiser, visit_times
from genai_utils.weights import load_weights

ASSETS = Path(__file__).parents[1] / "assets"


def main() -> None:
    unet, alpha_bar = load_weights("unet-mnist", UNet), cosine_schedule()
    labels, g = torch.tensor([3, 1, 4, 2, 7]), torch.Generator().manual_seed(0)
    noise = torch.randn(5, 1, 28, 28, generator=g)
    denoise = denoiser(unet, alpha_bar, labels=labels)
    walk = [x for _, x, _ in ddpm_steps(denoise, noise, alpha_bar, visit_times(1000, 50), generator=g)]
    frames = [noise, *[walk[i] for i in (9, 17, 23, 29, 34, 38, 42, 46, 49)]]
    strip = torch.stack([to_pixels(x)[:, 0] for x in frames], 1)  # (5, 10, 28, 28)
    sheet = torch.full((5 * 30 + 2, len(frames) * 30 + 2), 255, dtype=torch.uint8)
    for r, row in enumerate(strip):
        for c, tile in enumerate(row):
            sheet[2 + 30 * r : 30 + 30 * r, 2 + 30 * c : 30 + 30 * c] = tile
    picture = Image.fromarray(sheet.numpy())
    picture.resize((picture.width * 3, picture.height * 3), Image.NEAREST).save(ASSETS / "readme.png", optimize=True)
    icon = Image.fromarray(to_pixels(walk[42])[2, 0].numpy())  # a four, still noisy
    icon.resize((56, 56), Image.NEAREST).save(ASSETS / "favicon.png", optimize=True)


if __name__ == "__main__":
    main()
