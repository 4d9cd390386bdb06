"""The commands that made the shipped weights, each recorded in its registry entry; `make weights` runs them."""

import os
import platform

import torch


def hardware(seconds: float | None = None) -> str:
    """Name what the recipe ran on, and how long it took if `seconds` is given."""
    if torch.cuda.is_available():
        machine = torch.cuda.get_device_name()
    else:
        machine = f"{torch.get_num_threads()} of {os.cpu_count()} CPU threads ({platform.machine()})"
    return machine if seconds is None else f"{machine}, {seconds / 60:.0f} minutes"
