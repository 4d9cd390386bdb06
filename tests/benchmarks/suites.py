"""The suites of `make bench`, one for each family. A new one is a module with its `SUITE`, and its line in SUITES."""

from collections.abc import Iterator

import torch

from tests.benchmarks import autoregressive_cases, flow_cases, gan_cases, transformer_cases, vae_cases
from tests.benchmarks.cases import Case, cases
from tests.benchmarks.harness import Suite


def diffusion_plan(device: torch.device, *, tiny: bool = False, with_compile: bool = True) -> Iterator[Case]:
    """Yield U-Net and DDIM rows: narrow networks on a CPU, the published size on a GPU."""
    if tiny:
        yield from cases("tiny", (8, 16), compiled="tiny" if with_compile else None, device=device)
    elif device.type == "cuda":
        yield from cases("published", (8, 16), compiled=None, device=device)
        yield from cases("published", (128,), compiled="published" if with_compile else None, device=device)
    else:
        yield from cases("narrow", (8, 16), compiled="small" if with_compile else None, device=device)


DIFFUSION = Suite(
    name="diffusion", result="bench", plan=diffusion_plan, seconds=120, libraries=("torch", "diffusers"),
    sources=(
        *(f"genai_utils/diffusion/{name}.py" for name in ("process", "samplers", "unet")), "tests/benchmarks/cases.py",
    ),
)  # fmt: skip

SUITES = (
    DIFFUSION,
    vae_cases.SUITE,
    autoregressive_cases.SUITE,
    transformer_cases.SUITE,
    gan_cases.SUITE,
    flow_cases.SUITE,
)
