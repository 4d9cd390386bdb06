"""The commands that made the shipped weights, each recorded in its registry entry; `make weights` runs them."""

import argparse
import os
import platform
from collections.abc import Collection

import torch


def hardware() -> str:
    """Name what the recipe ran on, for the registry entry."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} of {os.cpu_count()} CPU threads ({platform.machine()})"


def ask(about: str, known: Collection[str]) -> tuple[Collection[str], bool]:
    """Return from the command line which weights to make, all if none is named, and whether only to score them.

    Args:
        about: the recipe's docstring, whose first line `--help` shows.
        known: names of the weights that the recipe makes. Another name ends the program.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(known)} (default: all)")
    parser.add_argument("--score", action="store_true", help="only score the weights that are there")
    args = parser.parse_args()
    if unknown := sorted(set(args.names) - set(known)):
        parser.error(f"no recipe for {', '.join(unknown)}; there are {', '.join(known)}")
    return args.names or known, args.score
