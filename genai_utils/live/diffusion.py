"""Chapter 16 live: out of the reader's own noise, by DDPM, DDIM or DPM-Solver++, in as many steps as wanted.

Sources: as in genai_utils.diffusion.samplers, whose steps these are; DDPM's noise comes from the shared generator.
Shapes:  pictures (1, 1, 28, 28) in [-1, 1].
"""

from collections.abc import Iterator

import torch

from genai_utils.diffusion import cosine_schedule, ddim_steps, ddpm_step, denoiser, dpmpp_steps, visit_times
from genai_utils.diffusion.unet import UNet
from genai_utils.live.entry import Act, Graph, Live, choice, numbers, pictures, seed, slider
from genai_utils.live.random import SharedRandom
from genai_utils.live.steady import SteadyUNet

SAMPLERS = ("DDIM", "DDPM", "DPM-Solver++(2M)")
DIGITS = [str(k) for k in range(10)]


def graphs(unet: UNet) -> dict[str, Graph]:
    inputs = {"x": torch.zeros(1, 1, 28, 28), "t": torch.tensor([500]), "label": torch.tensor([7])}
    return {"unet": Graph(module=SteadyUNet(unet, T=len(cosine_schedule())), inputs=inputs, outputs=("eps",))}


def facts(unet: UNet) -> dict:
    """The schedule, and at which timestep walks begin.

    Nearer to T the picture is under 3 % of x_t: dividing by that would make of the last digit of float32 a grey level,
    and page and PyTorch round differently there.
    """
    alpha_bar = cosine_schedule()
    return {"alpha_bar": alpha_bar.tolist(), "start": int((alpha_bar >= 1e-3).sum())}


def draw(run, facts, inputs) -> Iterator[dict]:
    """Walk from noise to a digit; x_t and the estimate of x0 after every step."""
    alpha_bar, label = torch.tensor(facts["alpha_bar"], dtype=torch.float64), torch.tensor([inputs["label"]])
    random = SharedRandom(inputs["seed"])
    x, times = random.normal(1, 1, 28, 28), visit_times(facts["start"], inputs["steps"])
    denoise = denoiser(lambda x, t: run("unet", x=x, t=t, label=label)["eps"], alpha_bar)
    if inputs["sampler"] == 1:
        walk = ancestral(denoise, x, alpha_bar, times, random)
    else:
        walk = (ddim_steps if inputs["sampler"] == 0 else dpmpp_steps)(denoise, x, alpha_bar, times)
    for done, (t, x, x0_hat) in enumerate(walk, start=1):
        yield {
            "pictures": torch.cat([x, x0_hat]),
            "figures": [("step", done, 0, f"of {len(times)}"), ("from t", t, 0, "")],
        }


def ancestral(denoise, x, alpha_bar, times, random):
    """As `ddpm_steps`, with noise from the shared generator."""
    levels = alpha_bar[times].tolist() + [1.0]
    for t, a, a_next in zip(times, levels, levels[1:]):
        x0_hat, _ = denoise(x, torch.tensor([t]))
        x = ddpm_step(x, x0_hat, a, a_next, random.normal(*x.shape) if a_next < 1 else None)
        yield t, x, x0_hat


LIVE = Live(
    weights={"unet-mnist": UNet},
    graphs=graphs,
    facts=facts,
    acts={
        "draw": Act(
            title="Draw a digit",
            program=draw,
            graphs=("unet",),
            go="Draw",
            controls=(
                choice("label", "digit", DIGITS, 7),
                choice("sampler", "sampler", list(SAMPLERS)),
                slider("steps", "steps", 2, 100, 20),
                seed(11),
            ),
            outputs=(
                pictures("pictures", ["x after the step", "estimate of x₀ that led there"], size=150, film=True),
                numbers("figures"),
            ),
            presets={
                "a 7 by DDIM, 20 steps": {},
                "the same noise by DDPM, 5 steps: too few": {"sampler": 1, "steps": 5},
                "by DPM-Solver++, 5 steps: enough": {"sampler": 2, "steps": 5},
                "the same noise, told to be a 3": {"label": 3},
            },
        )
    },
)
