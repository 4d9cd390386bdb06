"""A U-Net that rounds as little as float32 allows: walks of many steps magnify what its first calls round.

ONNX Runtime and PyTorch both round; the two differ most in GroupNorm, and in the frequencies of the time embedding,
which the exporter computes anew. The former runs in float64 here, of the latter there is a table. How near the walks of
page and PyTorch end is measured (python -m tools.results.live).
"""

from copy import deepcopy
from unittest.mock import patch

import torch
from torch import Tensor, nn

from genai_utils.diffusion import unet as unets


class WideGroupNorm(nn.Module):
    """As nn.GroupNorm, (B, C, ...) -> the same shape, computed in float64."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.float32 if x.device.type == "mps" else torch.float64
        y = x.to(wide).reshape(x.shape[0], self.groups, -1)
        y = y - y.mean(2, keepdim=True)
        y = (y * torch.rsqrt(y.square().mean(2, keepdim=True) + self.eps)).reshape(x.shape).movedim(1, -1)
        return (y * self.weight.to(wide) + self.bias.to(wide)).movedim(-1, 1).to(x.dtype)


class SteadyUNet(nn.Module):
    """eps_hat = net(x, t, labels) as the U-Net's; for a whole number of timesteps T its waves are a table."""

    def __init__(self, unet: unets.UNet, T: int | None = None) -> None:
        super().__init__()
        self.net, cfg = deepcopy(unet), unet.cfg
        for module in list(self.net.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.GroupNorm):
                    setattr(module, name, WideGroupNorm(child))
        t, device = torch.arange(T or 0), next(unet.parameters()).device
        waves = unets.time_embedding(t, cfg.widths[0], freq_shift=cfg.freq_shift, cos_first=cfg.cos_first)
        self.register_buffer("waves", waves.to(device))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        if not len(self.waves):
            return self.net(x, t, labels)
        with patch.object(unets, "time_embedding", lambda t, dim, **_: self.waves[t]):
            return self.net(x, t, labels)
