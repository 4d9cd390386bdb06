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
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self.model = copy.deepcopy(getattr(model, "_orig_mod", model)).eval().requires_grad_(False)  # uncompiled
        self.cfg = {"decay": decay}
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards `model`; young averages move faster: decay is at most (1 + n) / (10 + n)."""
        decay = min(self.cfg["decay"], (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        average = [p for p in self.model.state_dict().values() if p.is_floating_point()]
        weights = [p for p in getattr(model, "_orig_mod", model).state_dict().values() if p.is_floating_point()]
        torch._foreach_lerp_(average, weights, 1 - decay)

    def state_dict(self) -> dict:
        """Return the average and its age, for a checkpoint."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict) -> None:
        """Go on from what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
