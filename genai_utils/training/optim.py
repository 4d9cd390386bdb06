"""The optimiser and learning-rate schedule that the book uses unless a chapter says otherwise."""

import math

import torch
from torch import nn


def adamw(model: nn.Module, lr: float = 1e-3, *, weight_decay: float = 0.0, betas=(0.9, 0.999)) -> torch.optim.AdamW:
    """Return fused AdamW over the parameters that require a gradient; Loshchilov & Hutter 2019, arXiv:1711.05101."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


def warmup_cosine(opt: torch.optim.Optimizer, steps: int, *, warmup: int = 100) -> torch.optim.lr_scheduler.LambdaLR:
    """Return a schedule, stepped once per update: linear rise over `warmup`, then half a cosine to zero at `steps`.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, Eq. 5, one period.
    Raises:
        ValueError: not 0 <= warmup < steps.
    """
    if not 0 <= warmup < steps:
        raise ValueError(f"need 0 <= warmup < steps, got warmup={warmup}, steps={steps}")

    def factor(i: int) -> float:
        if i < warmup:
            return (i + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (i - warmup) / (steps - warmup))))

    schedule = torch.optim.lr_scheduler.LambdaLR(opt, factor)
    schedule.cfg = {"steps": steps, "warmup": warmup}  # a checkpoint holds it: fit refuses to resume another schedule
    return schedule
