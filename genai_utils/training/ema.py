"""Exponential moving average of a model's weights: noisier training, steadier samples.

Sources: [DDPM] Ho et al. 2020, arXiv:2006.11239, Appendix B (decay 0.9999). Warm-up of the decay: Tarvainen &
         Valpola 2017, arXiv:1703.01780, Sec. 3.
"""

import copy

import torch
from torch import nn


class EMA:
    """Keep `average = decay * average + (1 - decay) * weights`; `ema.model` is a copy that holds the average."""

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        """Start from the weights of `model` as they are.

        Raises:
            ValueError: decay is out of range, or weights to train are in half precision, whose average stands still.
        """
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        half = {p.dtype for p in model.parameters() if p.requires_grad and p.dtype in (torch.bfloat16, torch.float16)}
        if half:
            raise ValueError(
                f"weights must be float32 or better, got {half.pop()}: a step of 1 - decay is below its precision; "
                "train model.float() under autocast, as make_step does"
            )
        self.model = copy.deepcopy(getattr(model, "_orig_mod", model)).eval().requires_grad_(False)  # uncompiled
        self.cfg = {"decay": decay}
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards `model`; young averages move faster: decay is at most (1 + n) / (10 + n)."""
        decay = min(self.cfg["decay"], (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        models = self.model, getattr(model, "_orig_mod", model)
        both = zip(*(m.state_dict().values() for m in models), strict=True)
        once = {(a.data_ptr(), a.shape): (a, p) for a, p in both if a.is_floating_point()}  # tied weights: one of them
        average, weights = zip(*once.values())
        torch._foreach_lerp_(average, weights, 1 - decay)

    def state_dict(self) -> dict:
        """Return the average and its age, for a checkpoint."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict) -> None:
        """Go on from what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
