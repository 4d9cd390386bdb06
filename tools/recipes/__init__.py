"""The commands that made the shipped weights, each recorded in its registry entry; `make weights` runs them."""

import os
import platform

import torch


def hardware() -> str:
    """Name what the recipe ran on, for the registry entry."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} of {os.cpu_count()} CPU threads ({platform.machine()})"
