"""Glow: an invertible map from images to normal noise, of steps that normalise, mix and couple channels, at L scales.

Sources: [GLOW] Kingma & Dhariwal 2018, arXiv:1807.03039 (a step: Table 1; LU: Eq. 10, 11; last layers at zero: 3.3).
         [NVP] Dinh et al. 2017, arXiv:1605.08803 (squeeze and factoring out: Sec. 3.6, Eq. 13-16).
         [NOTE] Theis et al. 2016, arXiv:1511.01844, Sec. 3.1 (uniform dequantisation).
Shapes:  B batch, C channels at the layer in question, H, W sides there, L levels, K steps in each.

Images lie in [-1, 1]. One level squeezes (C, H, W) into (4C, H/2, W/2), takes K steps, and lets half of the channels
go: a convolution of the half that stays gives the mean and deviation by which what goes is standardised. So z is a list
of L tensors, finest first, and the prior of all their numbers is N(0, I). Networks of couplings have no ActNorm within,
and their last layer no extra scale: weights begin at zero, which suffices.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.flows.coupling import ActNorm, check_draw, check_sizes, draw, normal_log_prob
from genai_utils.metrics.likelihood import bits_per_dim

LEVELS = 256  # grey levels of a channel


@dataclass(frozen=True, kw_only=True)
class GlowConfig:
    side: int = 32  # H = W, in pixels; a multiple of 2^n_levels
    channels: int = 1  # C of the images
    n_levels: int = 3  # L
    n_steps: int = 8  # K, in each level
    width: int = 64  # feature maps in the networks of the couplings
    lu: bool = True  # whether 1x1 convolutions are held as P L U, whose determinant is a product
    split_net: bool = True  # whether the prior of what leaves depends on what stays; else on the channel only


PRESETS = {
    "glyphs": GlowConfig(side=16, n_levels=2, n_steps=4, width=32),
    "mnist": GlowConfig(side=28, n_levels=2, n_steps=16, width=64),
    "mnist-padded": GlowConfig(side=32, n_levels=3, n_steps=8, width=64),
    "cifar10": GlowConfig(side=32, channels=3, n_levels=3, n_steps=32, width=512),  # [GLOW] Table 4: wants a GPU
}


def squeeze(x: Tensor) -> Tensor:
    """Return (B, 4C, H/2, W/2) from (B, C, H, W): each square of 2 by 2 pixels becomes 4 channels; [NVP] Sec. 3.6.

    Raises:
        ValueError: a side is odd.
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise ValueError(f"squeeze needs even sides, got {tuple(x.shape[-2:])}: pad the images to a multiple of 2")
    return F.pixel_unshuffle(x, 2)


def unsqueeze(x: Tensor) -> Tensor:
    """Return (B, C/4, 2H, 2W) from (B, C, H, W): the inverse of `squeeze`.

    Raises:
        ValueError: the channels are not a multiple of 4.
    """
    if x.shape[-3] % 4:
        raise ValueError(f"unsqueeze needs a multiple of 4 channels, got {x.shape[-3]}: hand it what squeeze returned")
    return F.pixel_shuffle(x, 2)


class InvertibleConv(nn.Module):
    """z, log_det = conv(x): z = W x at every pixel, a learned mixture of channels; [GLOW] Eq. 9.

    With `lu`, W = P L (U + diag(sign exp(log_s))), where the permutation P and the signs stay as they began, L has a
    diagonal of ones and U one of zeros; log abs det W is then the sum of log_s [GLOW] Eq. 10, 11. Without, W itself is
    the parameter, and its determinant costs C^3.

    Args:
        channels: C.
        lu: which of the two.
        weight: (C, C) to begin with; None for a random rotation.
    Raises:
        ValueError: weight has another shape, or is not invertible in its own precision.
    """

    def __init__(self, channels: int, lu: bool = True, weight: Tensor | None = None) -> None:
        super().__init__()
        if weight is None:
            weight = torch.linalg.qr(torch.randn(channels, channels))[0]
        if weight.shape != (channels, channels):
            raise ValueError(f"weight must be ({channels}, {channels}), got {tuple(weight.shape)}")
        weight = weight.detach().clone()
        rank = int(torch.linalg.matrix_rank(weight)) if weight.isfinite().all() else 0
        if rank < channels:
            raise ValueError(f"weight must be invertible, but its rank is {rank} of {channels}: give a rotation, say")
        self.lu = lu
        if lu:
            P, L, U = torch.linalg.lu(weight)
            s = U.diagonal()
            self.register_buffer("P", P)
            self.register_buffer("sign", s.sign())
            self.L, self.U = nn.Parameter(L.tril(-1)), nn.Parameter(U.triu(1))
            self.log_s = nn.Parameter(s.abs().log())
        else:
            self.W = nn.Parameter(weight)

    def weight(self) -> Tensor:
        """Return W, (C, C)."""
        if not self.lu:
            return self.W
        L, U = self._factors()
        with torch.autocast(L.device.type, enabled=False):
            return self.P @ (L @ U)

    def inverse_weight(self) -> Tensor:
        """Return the inverse of W, (C, C); found in float64 where the device has it, then rounded once."""
        own = self.P if self.lu else self.W
        wide = torch.float32 if own.device.type == "mps" else torch.float64
        if not self.lu:
            return torch.linalg.inv(own.to(wide)).to(own.dtype)
        L, U = (factor.to(wide) for factor in self._factors())
        right = torch.linalg.solve_triangular(L, own.T.to(wide), upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(U, right, upper=True).to(own.dtype)

    def log_abs_det(self) -> Tensor:
        """Return log abs det W, a scalar in nats."""
        return self.log_s.sum() if self.lu else torch.linalg.slogdet(self.W)[1]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (z, log_det): (B, C, H, W), and (B,) in nats; one log abs det W for each pixel."""
        return _mix(x, self.weight()), (self.log_abs_det() * x[0, 0].numel()).expand(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return (x, log_det of the inverse): (B, C, H, W) and (B,)."""
        return _mix(z, self.inverse_weight()), -(self.log_abs_det() * z[0, 0].numel()).expand(len(z))

    def _factors(self) -> tuple[Tensor, Tensor]:
        L = self.L.tril(-1)
        L.diagonal().fill_(1.0)
        return L, self.U.triu(1) + (self.sign * self.log_s.exp()).diag()


class ConvCoupling(nn.Module):
    """z, log_det = coupling(x): the first half of the channels stays, and says how the second moves; [GLOW] Table 1.

    z_2 = (x_2 + shift) s with s = sigmoid(raw), so that no number is stretched (ActNorm does that); shift and raw are
    two halves of one network's output, which is 0 and 2 at first: s begins near 0.88, for every example alike.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"a coupling needs an even number of channels, got {channels}: squeeze the images first")
        self.net = nn.Sequential(
            nn.Conv2d(channels // 2, width, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1), nn.ReLU(inplace=True),
            nn.Conv2d(width, channels, 3, padding=1),  # C / 2 shifts, then C / 2 raw scales
        )  # fmt: skip
        nn.init.zeros_(self.net[-1].weight)
        with torch.no_grad():
            self.net[-1].bias.copy_(2.0 * (torch.arange(channels) >= channels // 2))

    def shift_and_log_scale(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return (shift, log s), each (B, C/2, H, W)."""
        shift, raw = self.net(kept).to(kept.dtype).chunk(2, dim=1)
        return shift, F.logsigmoid(raw)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (z, log_det): (B, C, H, W) and (B,) in nats."""
        kept, moved = x.chunk(2, dim=1)
        shift, log_s = self.shift_and_log_scale(kept)
        return torch.cat([kept, (moved + shift) * log_s.exp()], dim=1), log_s.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return (x, log_det of the inverse): (B, C, H, W) and (B,)."""
        kept, moved = z.chunk(2, dim=1)
        shift, log_s = self.shift_and_log_scale(kept)
        return torch.cat([kept, moved * (-log_s).exp() - shift], dim=1), -log_s.flatten(1).sum(1)


class Step(nn.Module):
    """z, log_det = step(x): ActNorm, invertible 1x1 convolution, coupling; [GLOW] Fig. 2a.

    The first two are computed as one convolution, W diag(s) x + W s bias: one pass over the image instead of three.
    """

    def __init__(self, channels: int, width: int, lu: bool) -> None:
        super().__init__()
        self.norm = ActNorm(channels)
        self.conv = InvertibleConv(channels, lu)
        self.coupling = ConvCoupling(channels, width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (z, log_det): (B, C, H, W) and (B,) in nats."""
        self.norm.initialise(x)
        weight = self.conv.weight() * self.norm.log_scale.exp()  # columns: (C, C) (C,)
        z, log_det = self.coupling(_mix(x, weight, (weight * self.norm.bias).sum(1)))
        return z, log_det + self._log_volume(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return (x, log_det of the inverse): (B, C, H, W) and (B,)."""
        mixed, log_det = self.coupling.inverse(z)
        weight = self.conv.inverse_weight() * (-self.norm.log_scale).exp()[:, None]  # rows
        return _mix(mixed, weight, -self.norm.bias), log_det - self._log_volume(z)

    def _log_volume(self, x: Tensor) -> Tensor:
        return (self.norm.log_scale.sum() + self.conv.log_abs_det()) * x[0, 0].numel()


class Prior(nn.Module):
    """The learned prior of what leaves: its mean and log-deviation, from what stays, or (kept = 0) by channel."""

    def __init__(self, kept: int, leaving: int) -> None:
        super().__init__()
        self.net = nn.Conv2d(kept, 2 * leaving, 3, padding=1) if kept else None
        self.channel = None if kept else nn.Parameter(torch.zeros(2 * leaving, 1, 1))
        if kept:
            nn.init.zeros_(self.net.weight)
            nn.init.zeros_(self.net.bias)

    def forward(self, leaving: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return (z, log_det): what leaves, standardised, (B, C, H, W), and (B,) in nats; [NVP] Eq. 14, 15."""
        mean, log_std = self._moments(leaving, kept)
        z = (leaving - mean) * (-log_std).exp()
        return z, -log_std.expand_as(z).flatten(1).sum(1)

    def inverse(self, z: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return (what left, log_det of the inverse)."""
        mean, log_std = self._moments(z, kept)
        return mean + z * log_std.exp(), log_std.expand_as(z).flatten(1).sum(1)

    def _moments(self, like: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.net is None:
            return self.channel.unsqueeze(0).chunk(2, dim=1)
        return self.net(kept).to(like.dtype).chunk(2, dim=1)


class Glow(nn.Module):
    """z, log_det = glow(x): from images in [-1, 1] to a list of L noises, finest first, and the log-volume, (B,).

    Level l of z is (B, 2^l 2 C, H / 2^(l+1), W / 2^(l+1)), the last one twice as many channels; see `z_shapes`.
    """

    Config = GlowConfig

    def __init__(self, cfg: GlowConfig) -> None:
        super().__init__()
        check_sizes(**{k: getattr(cfg, k) for k in ("side", "channels", "n_levels", "n_steps", "width")})
        if cfg.side % 2**cfg.n_levels:
            raise ValueError(
                f"side must be a multiple of 2^n_levels = {2**cfg.n_levels}, got {cfg.side}: pad the images, or take "
                "fewer levels"
            )
        self.cfg, C = cfg, cfg.channels
        self.z_shapes: list[tuple[int, int, int]] = []
        self.levels, self.priors = nn.ModuleList(), nn.ModuleList()
        for level in range(cfg.n_levels):
            C, side = 4 * C, cfg.side // 2 ** (level + 1)
            self.levels.append(nn.ModuleList(Step(C, cfg.width, cfg.lu) for _ in range(cfg.n_steps)))
            kept = 0 if level == cfg.n_levels - 1 else C // 2
            self.priors.append(Prior(kept if cfg.split_net else 0, C - kept))
            self.z_shapes.append((C - kept, side, side))
            C = kept

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return (z, log_det): noises of `z_shapes`, and (B,) in nats.

        Raises:
            ValueError: x is not (B, C, side, side).
        """
        *_, (z, log_det) = self.steps(x)
        return z, log_det

    def inverse(self, z: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return (x, log_det of the inverse): (B, C, H, W), and (B,) in nats.

        Raises:
            ValueError: z has another number of levels, or other shapes, than `z_shapes`.
        """
        *_, (points, log_det) = self.inverse_steps(z)
        return points[0], log_det

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density in nats of dequantised images in [-1, 1], (B,): of any real x, in fact.

        Raises:
            ValueError: x is not (B, C, side, side).
        """
        z, log_det = self(x)
        return normal_log_prob(torch.cat([part.flatten(1) for part in z], dim=1)) + log_det

    @torch.no_grad()
    def sample(self, n: int, *, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Return n images, (n, C, H, W); most, not all, lie in [-1, 1].

        Args:
            n: how many.
            temperature: factor of every deviation, [GLOW] Sec. 6: 1 samples the model, 0 gives the prior's mode.
            generator: on the model's device.
        Raises:
            ValueError: n is below 1, or temperature below 0.
        """
        check_draw(n, temperature)
        like = self.priors[-1].channel
        return self.inverse([draw(n, shape, like, temperature, generator) for shape in self.z_shapes])[0]

    def steps(self, x: Tensor) -> Iterator[tuple[list[Tensor], Tensor]]:
        """Yield (points, log_det) after each step and each half that leaves, on the way to the noise.

        points lists the noises that have left, finest first, then the image on its way, if any; log_det is (B,).
        """
        C, S = self.cfg.channels, self.cfg.side
        if x.shape[1:] != (C, S, S):
            raise ValueError(f"images must be (B, {C}, {S}, {S}), got {tuple(x.shape)}")
        gone, log_det = [], x.new_zeros(len(x))
        for i, (level, prior) in enumerate(zip(self.levels, self.priors), start=1):
            x = squeeze(x)
            for step in level:
                x, change = step(x)
                log_det = log_det + change
                yield [*gone, x], log_det
            kept, leaving = (None, x) if i == len(self.levels) else x.chunk(2, dim=1)
            z, change = prior(leaving, kept)
            gone, log_det, x = [*gone, z], log_det + change, kept
            yield gone if kept is None else [*gone, kept], log_det

    def inverse_steps(self, z: list[Tensor]) -> Iterator[tuple[list[Tensor], Tensor]]:
        """Yield (points, log_det) on the way back to the image, as `steps` does; in the end points is [x]."""
        shapes = [tuple(part.shape[1:]) for part in z]
        if shapes != self.z_shapes:
            raise ValueError(f"z must list {len(self.z_shapes)} levels of {self.z_shapes} for each image, got {shapes}")
        left, x, log_det = list(z), None, z[0].new_zeros(len(z[0]))
        for level, prior in zip(reversed(self.levels), reversed(self.priors)):
            part, change = prior.inverse(left.pop(), x)
            x, log_det = part if x is None else torch.cat([x, part], dim=1), log_det + change
            yield [*left, x], log_det
            for i, step in reversed(list(enumerate(level))):
                x, change = step.inverse(x)
                log_det = log_det + change
                x = x if i else unsqueeze(x)
                yield [*left, x], log_det


def dequantise(
    x: Tensor, *, noise: Tensor | None = None, levels: int = LEVELS, generator: torch.Generator | None = None
) -> Tensor:
    """Return x in [-1, 1), float32 or better, spread evenly over the bin of its grey level; [NOTE] Sec. 3.1.

    A bin is 2 / levels wide, and holds its lower edge only.

    Args:
        x: images in [-1, 1], the lowest grey level at -1, the highest at 1; what lies between two goes to the nearer.
        noise: of x's shape, in [0, 1); None draws it.
        levels: grey levels, at least 2.
        generator: draws the noise; on x's device.
    Raises:
        ValueError: levels is below 2; on a CPU also pixels or noise out of range (a GPU would have to wait).
    """
    if levels < 2:
        raise ValueError(f"levels must be at least 2, got {levels}")
    if x.device.type == "cpu" and not (x.abs() <= 1).all():
        raise ValueError(f"pixels must be in [-1, 1], got {x.min():.4g} to {x.max():.4g}: scale or clamp the images")
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if noise is None:
        noise = torch.rand(x.shape, device=x.device, dtype=x.dtype, generator=generator)
    elif noise.shape != x.shape or (noise.device.type == "cpu" and not ((noise >= 0) & (noise < 1)).all()):
        raise ValueError(f"noise must be {tuple(x.shape)} in [0, 1), got {tuple(noise.shape)} up to {noise.max():.4g}")
    grey = ((x + 1) * (0.5 * (levels - 1))).round()
    y, top = ((grey + part) * (2 / levels) - 1 for part in (noise, 1))
    return torch.where(y < top, y, top - torch.finfo(y.dtype).eps)  # where rounding took y to the next bin


def image_bits(
    model: Glow, x: Tensor, *, noise: Tensor | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Return bits per dimension of 8-bit images, (B,): one draw of a bound from above on -log2 P(x); [NOTE] Sec. 3.1.

    Arguments and errors are those of `dequantise`; 8 bits is what a uniform guess pays.
    """
    nats = -model.log_prob(dequantise(x, noise=noise, generator=generator))
    return bits_per_dim(nats, x[0].numel(), bin_width=2 / LEVELS)


def nll_loss(
    model: Glow, batch: Tensor | tuple, *, generator: torch.Generator | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mean bits per dimension of freshly dequantised images, and the same as the log `bits`.

    Args:
        model: the flow; the first batch in training mode sets its ActNorms.
        batch: x (B, C, H, W) in [-1, 1], or a tuple that begins with it.
        generator: draws the dequantisation noise.
    Raises:
        ValueError: as `dequantise` and `Glow.log_prob`.
    """
    bits = image_bits(model, batch if isinstance(batch, Tensor) else batch[0], generator=generator).mean()
    return bits, {"bits": bits}


def _mix(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return W x + b at every pixel, never in half precision: what a coarse W does, its inverse does not undo."""
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(x, weight[:, :, None, None], bias)
