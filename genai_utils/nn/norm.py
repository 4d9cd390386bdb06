"""Normalisation without a mean: what T5 and the LLaMA models use instead of LayerNorm.

Sources: [RMS] Zhang & Sennrich 2019, Root mean square layer normalization, arXiv:1910.07467, Eq. 4.
Shapes:  E width of the model.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RMSNorm(nn.Module):
    """y = x / sqrt(mean(x^2) + eps) * weight, over the last axis, in float32 or better; [RMS] Eq. 4.

    Args:
        width: E.
        eps: added under the root.
    """

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., E), of the dtype that x's and the weight's promote to: float32 for bf16 and a float32 weight."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return (F.rms_norm(wide, self.weight.shape, eps=self.eps)).to(x.dtype) * self.weight
