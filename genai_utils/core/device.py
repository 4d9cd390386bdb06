"""Where and how to compute: device, mixed precision, seeds, and the QUICK switch of the chapters."""

import os
import random

import numpy as np
import torch


def pick_device() -> torch.device:
    """Return the first CUDA device, else Apple's GPU, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def quick_mode() -> bool:
    """Say whether a chapter should run its short version.

    `GENAI_QUICK=1` forces it, `GENAI_QUICK=0` forbids it; unset, it follows the absence of a GPU.
    Raises:
        ValueError: GENAI_QUICK is neither 0, 1 nor empty.
    """
    value = os.environ.get("GENAI_QUICK", "")
    if value not in ("", "0", "1"):
        raise ValueError(f"GENAI_QUICK must be 0, 1 or unset, got {value!r}")
    return value == "1" if value else not torch.cuda.is_available()


def amp_dtype(device: torch.device) -> torch.dtype | None:
    """Return autocast's dtype for `device`: bf16 from compute capability 8.0, fp16 on older GPUs, None elsewhere.

    Capability decides, because `torch.cuda.is_bf16_supported()` says True on a T4, which only emulates bf16.
    """
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def seed_all(seed: int) -> None:
    """Seed Python, numpy and torch (all devices). Chapters call it once; the library never does."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
