"""What RealNVP and Glow share: activation normalisation, the standard normal prior, and the checks at the door.

Sources: [GLOW] Kingma & Dhariwal 2018, arXiv:1807.03039, Sec. 3.1 (ActNorm).
Shapes:  B batch, C channels (or numbers in a datum), d numbers in a datum; x is (B, C) or (B, C, H, W).

Log-determinants are in nats. Of a layer that treats all examples alike they are scalars: a model adds them up once.
"""

import math

import torch
from torch import Tensor, nn


class ActNorm(nn.Module):
    """z, log_det = norm(x): z = exp(log_scale) (x + bias) for each channel; [GLOW] Table 1, first row.

    In training mode the first batch sets both, so that z has mean 0 and variance 1 in each channel over that batch;
    from then on they are parameters like any other. Show a model one batch before you copy it into an `EMA`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("ready", torch.tensor(False))
        self._known = False  # the same, on the host once true: a GPU is asked only until then

    def initialise(self, x: Tensor) -> None:
        """Set bias and log_scale by x, if this is the first batch of a training; no gradient flows through them.

        Raises:
            ValueError: fewer than two values for each channel, which have no variance.
        """
        if self._known or not self.training:
            return
        if not bool(self.ready):
            values = x.detach().transpose(0, 1).flatten(1)  # (C, B H W)
            if values.shape[1] < 2:
                raise ValueError(
                    f"ActNorm needs at least 2 values for each channel, got x of shape {tuple(x.shape)}: initialise "
                    "it with a larger first batch"
                )
            with torch.no_grad():
                std = values.std(1, correction=0).clamp(min=1e-6)
                self.bias.copy_(-values.mean(1))
                self.log_scale.copy_(-std.log())
                self.ready.fill_(True)
        self._known = True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (z, log_det): x's shape and (B,)."""
        self.initialise(x)
        shape = (1, -1) + (1,) * (x.ndim - 2)
        z = (x + self.bias.view(shape)) * self.log_scale.exp().view(shape)
        return z, self.log_volume(x).expand(len(x))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return (x, log_det of the inverse): z's shape and (B,)."""
        shape = (1, -1) + (1,) * (z.ndim - 2)
        x = z * (-self.log_scale).exp().view(shape) - self.bias.view(shape)
        return x, -self.log_volume(z).expand(len(z))

    def log_volume(self, x: Tensor) -> Tensor:
        """Return the log-determinant, the same for every example: a scalar in nats."""
        return self.log_scale.sum() * x[0, 0].numel()

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._known = False


def normal_log_prob(z: Tensor) -> Tensor:
    """Return log N(z; 0, I) in nats, (B,), summed over all but the first axis."""
    z = z.flatten(1)
    return -0.5 * z.square().sum(1) - 0.5 * math.log(2 * math.pi) * z.shape[1]


def draw(n: int, shape: tuple[int, ...], like: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """Return temperature times standard normal noise, ``(n, *shape)``, of like's device and dtype."""
    return temperature * torch.randn(n, *shape, device=like.device, dtype=like.dtype, generator=generator)


def check_draw(n: int, temperature: float) -> None:
    """Raise a ValueError unless n is at least 1 and temperature a finite number of at least 0."""
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be at least 0 (0: the mode of the prior, 1: the model), got {temperature}")


def check_sizes(**sizes: int) -> None:
    """Raise a ValueError that names every size below 1."""
    if bad := {name: size for name, size in sizes.items() if size < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
