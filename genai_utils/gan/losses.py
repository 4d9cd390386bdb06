"""What the two players of a GAN minimise: five losses as functions of logits, two penalties on a critic's gradient.

A logit r(x) > 0 says "real"; D(x) = sigmoid(r(x)) is the paper's probability. At the best discriminator,
r = log p_data - log p_theta, whatever the sizes of the networks.

Sources: [GAN] Goodfellow et al. 2014, arXiv:1406.2661, Eq. 1 and Sec. 3. [LS] Mao et al. 2017, arXiv:1611.04076,
         Eq. 2 and 9. [WGAN] Arjovsky et al. 2017, arXiv:1701.07875, Eq. 2 and 3. [GP] Gulrajani et al. 2017,
         arXiv:1704.00028, Eq. 3. [HINGE] Lim & Ye 2017, arXiv:1705.02894. [SN] Miyato et al. 2018,
         arXiv:1802.05957, Eq. 16 and 17. [R1] Mescheder et al. 2018, arXiv:1801.04406, Eq. 9.
Shapes:  B batch; logits (B,) or of any shape, such as (B, 1, h, w) from patches; real and fake need not be alike.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


def minimax_d(real: Tensor, fake: Tensor) -> Tensor:
    """``-E log D(x) - E log(1 - D(G(z)))`` in nats, >= 0: the discriminator's half of [GAN] Eq. 1.

    Its least value, reached at r = log p_data - log p_theta, is log 4 - 2 JS(p_data, p_theta).
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def saturating_g(fake: Tensor) -> Tensor:
    """``E log(1 - D(G(z)))`` in nats, <= 0: the generator's half of [GAN] Eq. 1.

    Its gradient in r is -D(G(z)): it vanishes just where the discriminator is sure of a fake.
    """
    return -F.softplus(fake).mean()


def nonsaturating_g(fake: Tensor) -> Tensor:
    """``-E log D(G(z))`` in nats, >= 0; [GAN] Sec. 3. Its gradient in r is -(1 - D(G(z))): strong where fakes fail."""
    return F.softplus(-fake).mean()


def wasserstein_d(real: Tensor, fake: Tensor) -> Tensor:
    """``E r(G(z)) - E r(x)``: minus the distance, in units of x, if r is the best 1-Lipschitz critic; [WGAN] Eq. 2."""
    return fake.mean() - real.mean()


def wasserstein_g(fake: Tensor) -> Tensor:
    """``-E r(G(z))``; [WGAN] Algorithm 1. Its gradient in r is -1 everywhere."""
    return -fake.mean()


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    """``E max(0, 1 - r(x)) + E max(0, 1 + r(G(z)))``, >= 0; [SN] Eq. 16, negated. Beyond the margin: no gain."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def least_squares_d(real: Tensor, fake: Tensor) -> Tensor:
    """``E (r(x) - 1)^2 / 2 + E r(G(z))^2 / 2``, >= 0; [LS] Eq. 9. Here 1 says real and 0 fake: no sigmoid."""
    return 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean()


def least_squares_g(fake: Tensor) -> Tensor:
    """``E (r(G(z)) - 1)^2 / 2``, >= 0; [LS] Eq. 9."""
    return 0.5 * (fake - 1).square().mean()


@dataclass(frozen=True)
class GameLoss:
    """The two losses of a game, each to be minimised by its player: discriminator(real, fake), generator(fake)."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


LOSSES = {
    "saturating": GameLoss(minimax_d, saturating_g),
    "nonsaturating": GameLoss(minimax_d, nonsaturating_g),
    "least_squares": GameLoss(least_squares_d, least_squares_g),
    "hinge": GameLoss(hinge_d, wasserstein_g),
    "wasserstein": GameLoss(wasserstein_d, wasserstein_g),
}


def game_loss(name: str) -> GameLoss:
    """Return the pair of losses of that name.

    Raises:
        ValueError: there is no such loss (the names are listed).
    """
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {name!r}")
    return LOSSES[name]


def input_gradient(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the gradient of every example's own output with respect to it, (B, d) float32 or better, with a graph.

    The graph lets a penalty on this gradient train the critic. It is computed without autocast, as half precision would
    lose small gradients; a compiled critic cannot be differentiated twice, so pass the plain one. A critic in training
    mode that mixes the examples of a batch (batch normalisation) has no gradient per example: [GP] Sec. 4 warns of it.

    Args:
        critic: maps x to outputs, (B,) or (B, ...), which are summed.
        x: (B, ...) where to take the gradient.
    """
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        x = x.detach().to(torch.promote_types(x.dtype, torch.float32)).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient.flatten(1)


def r1_penalty(critic: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Return ``E |grad r(x)|^2`` over real x, >= 0; [R1] Eq. 9 without its factor gamma / 2.

    Args:
        critic: maps x to logits.
        real: (B, ...) examples of the data.
    """
    return input_gradient(critic, real).square().sum(1).mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    one_sided: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return ``E (|grad r(x_hat)| - 1)^2``, >= 0, at x_hat = u x + (1 - u) G(z), u uniform in [0, 1]; [GP] Eq. 3.

    Args:
        critic: maps x to outputs.
        real, fake: (B, ...), of one shape.
        one_sided: penalise only gradients above 1; [GP] Sec. 4.
        generator: draws u, one per pair; on the device of real.
    Raises:
        ValueError: real and fake differ in shape.
    """
    if real.shape != fake.shape:
        raise ValueError(f"real and fake must have one shape, got {tuple(real.shape)} and {tuple(fake.shape)}")
    dtype = torch.promote_types(real.dtype, torch.float32)
    shape = (len(real),) + (1,) * (real.ndim - 1)
    u = torch.rand(shape, generator=generator, device=real.device, dtype=dtype)
    norm = torch.linalg.vector_norm(input_gradient(critic, torch.lerp(fake.to(dtype), real.to(dtype), u)), dim=1)
    excess = norm - 1
    return (F.relu(excess) if one_sided else excess).square().mean()
