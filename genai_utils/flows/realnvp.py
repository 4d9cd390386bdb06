"""RealNVP: an invertible map from data to a standard normal, of affine couplings; for vectors, such as points in 2-D.

Sources: [NVP] Dinh et al. 2017, arXiv:1605.08803 (couplings: Eq. 4-8; tanh with a learned scale: Sec. 4.1).
         [GLOW] Kingma & Dhariwal 2018, arXiv:1807.03039 (ActNorm; last layers that begin at zero).
Shapes:  B batch, d numbers in a datum, k numbers that a coupling keeps, m = d - k numbers that it moves.

A coupling keeps the numbers at even places and moves those at odd ones, the next does the reverse: the paper's
alternating masks. Here the two halves are taken apart once, pass through all couplings, and are put together at the
end: nothing is multiplied by a mask, and no network computes what a mask would throw away. Where the paper has batch
normalisation, ActNorm is at hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genai_utils.flows.coupling import ActNorm, check_draw, check_sizes, draw, normal_log_prob


@dataclass(frozen=True, kw_only=True)
class RealNVPConfig:
    d: int = 2  # numbers in a datum, at least 2
    n_couplings: int = 8  # half of them move odd places, half even ones
    width: int = 64  # of the hidden layers of each coupling's network
    n_layers: int = 2  # hidden layers of each network, at least 1
    actnorm: bool = False  # whether an ActNorm follows each coupling, on what it moved


PRESETS = {
    "small": RealNVPConfig(n_couplings=4, width=32),  # to look at, layer by layer
    "toys": RealNVPConfig(),  # the 2-D sets of data/toys
    "toys-fine": RealNVPConfig(n_couplings=16, width=64, actnorm=True),
}


class Coupling(nn.Module):
    """z_moved = x_moved exp(log_s) + shift, where log_s and shift are functions of what is kept; [NVP] Eq. 5.

    One network computes both: raw, shift = net(kept), and log_s = bound tanh(raw), with a learned bound for each number
    that moves, 1 at first. So no example is stretched by more than exp(bound). The last layer begins at zero, and with
    it the coupling as the identity.
    """

    def __init__(self, d_kept: int, d_moved: int, width: int, n_layers: int, actnorm: bool) -> None:
        super().__init__()
        sizes = [d_kept] + [width] * n_layers
        hidden = [part for pair in zip(sizes, sizes[1:]) for part in (nn.Linear(*pair), nn.ReLU())]
        self.net = nn.Sequential(*hidden, nn.Linear(width, 2 * d_moved))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)
        self.bound = nn.Parameter(torch.ones(d_moved))
        self.norm = ActNorm(d_moved) if actnorm else None

    def log_scale_and_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return (log_s, shift), each (B, m), from (B, k)."""
        raw, shift = self.net(kept).to(kept.dtype).chunk(2, dim=1)
        return self.bound * torch.tanh(raw), shift

    def forward(self, kept: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Return (moved on, log-determinant by number), each (B, m), towards the prior."""
        log_s, shift = self.log_scale_and_shift(kept)
        moved = torch.addcmul(shift, moved, log_s.exp())
        if self.norm is not None:
            moved, _ = self.norm(moved)
            log_s = log_s + self.norm.log_scale
        return moved, log_s

    def inverse(self, kept: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Return (moved back, log-determinant by number), each (B, m), towards the data; [NVP] Eq. 8."""
        log_s, shift = self.log_scale_and_shift(kept)
        if self.norm is not None:
            moved, _ = self.norm.inverse(moved)
        moved = (moved - shift) * torch.exp(-log_s)
        return moved, -log_s if self.norm is None else -log_s - self.norm.log_scale


class RealNVP(nn.Module):
    """z, log_det = flow(x): from data to the standard normal, and the log-volume of the way; [NVP] Sec. 3."""

    Config = RealNVPConfig

    def __init__(self, cfg: RealNVPConfig) -> None:
        super().__init__()
        check_sizes(n_couplings=cfg.n_couplings, width=cfg.width, n_layers=cfg.n_layers)
        if cfg.d < 2:
            raise ValueError(f"d must be at least 2, so that a coupling can keep one number and move one, got {cfg.d}")
        self.cfg = cfg
        odd = cfg.d // 2
        halves = [(cfg.d - odd, odd), (odd, cfg.d - odd)]  # numbers kept and moved: odd places move first
        self.couplings = nn.ModuleList(
            Coupling(*halves[i % 2], cfg.width, cfg.n_layers, cfg.actnorm) for i in range(cfg.n_couplings)
        )
        order = torch.cat([torch.arange(0, cfg.d, 2), torch.arange(1, cfg.d, 2)])
        self.register_buffer("places", order.argsort(), persistent=False)  # where each number is among the halves

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (z, log_det): (B, d), standard normal if x is as the model believes, and (B,) in nats.

        Raises:
            ValueError: x is not (B, d).
        """
        halves, log_s = self._run(x)
        return self._join(halves), torch.cat(log_s, dim=1).sum(1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return (x, log_det of the inverse): (B, d) and (B,) in nats; the log_det is minus that of forward(x).

        Raises:
            ValueError: z is not (B, d).
        """
        halves, log_s = self._run(z, back=True)
        return self._join(halves), torch.cat(log_s, dim=1).sum(1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, (B,): the prior at z plus the log-determinant; [NVP] Eq. 3.

        Raises:
            ValueError: x is not (B, d).
        """
        halves, log_s = self._run(x)
        return normal_log_prob(torch.cat(halves, dim=1)) + torch.cat(log_s, dim=1).sum(1)

    @torch.no_grad()
    def sample(self, n: int, *, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Return n draws, (n, d).

        Args:
            n: how many.
            temperature: deviation of the noise: 1 samples the model, 0 gives the image of the prior's mode.
            generator: on the model's device.
        Raises:
            ValueError: n is below 1, or temperature below 0.
        """
        check_draw(n, temperature)
        halves, _ = self._run(draw(n, (self.cfg.d,), self.couplings[0].bound, temperature, generator), back=True)
        return self._join(halves)

    def steps(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (points, log_det) after each coupling on the way to the prior: (B, d), and (B,) from the start on."""
        yield from self._watch(x, back=False)

    def inverse_steps(self, z: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (points, log_det) after each coupling undone on the way to the data, as `steps` does."""
        yield from self._watch(z, back=True)

    def _path(self, back: bool) -> Iterator[tuple[int, Any]]:
        """Yield which half moves (1: odd places), and the function that moves it."""
        for i in reversed(range(len(self.couplings))) if back else range(len(self.couplings)):
            yield 1 - i % 2, self.couplings[i].inverse if back else self.couplings[i]

    def _run(self, x: Tensor, back: bool = False) -> tuple[list[Tensor], list[Tensor]]:
        """Return the two halves at the end of the way, and each coupling's log-determinant by number."""
        halves, log_s = self._halves(x), []
        for moving, move in self._path(back):
            halves[moving], change = move(halves[1 - moving], halves[moving])
            log_s.append(change)  # added up once, at the end, not by one more reduction for each coupling
        return halves, log_s

    def _watch(self, x: Tensor, back: bool) -> Iterator[tuple[Tensor, Tensor]]:
        halves, log_det = self._halves(x), x.new_zeros(len(x))
        for moving, move in self._path(back):
            halves[moving], change = move(halves[1 - moving], halves[moving])
            log_det = log_det + change.sum(1)
            yield self._join(halves), log_det

    def _halves(self, x: Tensor) -> list[Tensor]:
        if x.ndim != 2 or x.shape[1] != self.cfg.d:
            raise ValueError(f"points must be (B, {self.cfg.d}), got {tuple(x.shape)}")
        return [x[:, 0::2], x[:, 1::2]]

    def _join(self, halves: list[Tensor]) -> Tensor:
        return torch.cat(halves, dim=1)[:, self.places]


def nll_loss(model: RealNVP, batch: Tensor | tuple) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mean of -log p(x) in nats per point, and the same as the log `nll`; [NVP] Eq. 2 and 3.

    Args:
        model: the flow.
        batch: x (B, d), or a tuple that begins with it.
    Raises:
        ValueError: x is not (B, d).
    """
    nll = -model.log_prob(batch if isinstance(batch, Tensor) else batch[0]).mean()
    return nll, {"nll": nll}
