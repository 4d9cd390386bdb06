"""GAN: a generator learns from a discriminator that learns to tell its samples from data; fully connected, for toys.

Sources: [GAN] Goodfellow et al. 2014, arXiv:1406.2661, Algorithm 1. [SN] Miyato et al. 2018, arXiv:1802.05957.
         [R1] Mescheder et al. 2018, arXiv:1801.04406, Eq. 9.
Shapes:  B batch, d numbers in a datum, Z width of the noise.

The paper's discriminator has maxout units and dropout, its generator mixes ReLUs and sigmoids; ours is leaky ReLUs,
and a linear output, as points in the plane have no bounds. `gan_step` trains any `Game` without labels, DCGAN among
them; BigGAN, whose networks take labels, has `biggan_step`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from genai_utils.core import amp_dtype
from genai_utils.gan.losses import game_loss, r1_penalty
from genai_utils.training import EMA
from genai_utils.training.loop import Step


@dataclass(frozen=True, kw_only=True)
class GANConfig:
    d: int = 2  # numbers in a datum
    latent: int = 2  # Z
    width: int = 64  # of the hidden layers of both networks
    n_layers: int = 3  # hidden layers of each network, at least 1
    spectral: bool = False  # whether the discriminator's weights are divided by their spectral norm; [SN] Eq. 8


PRESETS = {
    "line": GANConfig(d=1, latent=1, width=32, n_layers=2),
    "toys": GANConfig(width=128),
}


class Game(nn.Module):
    """Two networks, `generator` (B, Z) -> x and `discriminator` x -> logits (B,), and a cfg with a `latent`."""

    generator: nn.Module
    discriminator: nn.Module
    cfg: Any

    def noise(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return z, (n, Z) standard normal, where the weights are; the generator is of that device."""
        weight = next(self.generator.parameters())
        return torch.randn(n, self.cfg.latent, generator=generator, device=weight.device, dtype=weight.dtype)

    def forward(self, z: Tensor) -> Tensor:
        """Return G(z)."""
        return self.generator(z)

    @torch.no_grad()
    def sample(self, n: int, *, network: nn.Module | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Return n samples, G(z) of fresh z. Batch statistics are used as the mode (train or eval) says.

        Args:
            n: how many, at least 1.
            network: another generator, such as the `model` of an `EMA`; None takes one's own.
            generator: draws z; on the device of the weights.
        Raises:
            ValueError: n is below 1.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        return (self.generator if network is None else network)(self.noise(n, generator))


class Generator(nn.Module):
    """x = G(z): (B, Z) to (B, d), ReLU between linear layers."""

    def __init__(self, cfg: GANConfig) -> None:
        super().__init__()
        widths = [cfg.latent, *[cfg.width] * cfg.n_layers]
        hidden = [part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(cfg.width, cfg.d))

    def forward(self, z: Tensor) -> Tensor:
        """Return points (B, d) in float32 or better."""
        return full(self.layers(z))


class Discriminator(nn.Module):
    """r(x): (B, d) to logits (B,), which say "real" above 0; leaky ReLU between linear layers."""

    def __init__(self, cfg: GANConfig) -> None:
        super().__init__()
        self.d = cfg.d
        widths = [cfg.d, *[cfg.width] * cfg.n_layers, 1]
        wrap = spectral_norm if cfg.spectral else nn.Identity()
        linear = [wrap(nn.Linear(a, b)) for a, b in zip(widths, widths[1:])]
        self.layers = nn.Sequential(*[part for layer in linear[:-1] for part in (layer, nn.LeakyReLU(0.2))], linear[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B,) in float32 or better.

        Raises:
            ValueError: x is not (B, d).
        """
        if x.ndim != 2 or x.shape[1] != self.d:
            raise ValueError(f"x must be (B, {self.d}), as d={self.d} in the config; got {tuple(x.shape)}")
        return full(self.layers(x)).squeeze(1)


class GAN(Game):
    """The game on points: `GAN(GANConfig(d=2))`, trained by `gan_step` or `wgan_step`."""

    Config = GANConfig

    def __init__(self, cfg: GANConfig) -> None:
        super().__init__()
        if bad := {k: v for k in ("d", "latent", "width", "n_layers") if (v := getattr(cfg, k)) < 1}:
            raise ValueError(f"sizes must be at least 1, got {bad}")
        self.cfg = cfg
        self.generator, self.discriminator = Generator(cfg), Discriminator(cfg)


class Player:
    """One side of the game: a network, its optimiser and, for fp16, a scaler of the loss.

    Args:
        network: what this player moves, on its device.
        opt: an optimiser of its parameters and of no others.
        amp: dtype of autocast; None chooses by capability, torch.float32 switches it off, as in `make_step`.
    Raises:
        ValueError: amp is no dtype for autocast; the optimiser has parameters of another network.
    """

    def __init__(self, network: nn.Module, opt: torch.optim.Optimizer, amp: torch.dtype | None = None) -> None:
        self.network, self.opt = network, opt
        self.weights = [p for p in network.parameters() if p.requires_grad]
        own = {id(p) for p in self.weights}
        if foreign := sum(id(p) not in own for group in opt.param_groups for p in group["params"]):
            raise ValueError(
                f"the optimiser of {type(network).__name__} holds {foreign} parameters that are not its own: "
                "make one optimiser per network"
            )
        self.device = self.weights[0].device
        if amp not in (None, torch.float32, torch.bfloat16, torch.float16):
            raise ValueError(f"amp must be torch.float32 (off), torch.bfloat16, torch.float16 or None, got {amp}")
        amp = amp_dtype(self.device) if amp is None else amp
        self.amp = None if amp == torch.float32 else amp
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp == torch.float16)
        self.skipped = torch.zeros((), device=self.device)  # updates in a row that fp16 could not hold

    def autocast(self) -> torch.autocast:
        """Return the context in which both networks run."""
        return torch.autocast(self.device.type, self.amp, enabled=self.amp is not None)

    def descend(self, loss: Tensor) -> Tensor:
        """Update one's own weights, and leave no gradient anywhere; return the norm of the gradient."""
        self.scaler.scale(loss).backward(inputs=self.weights)  # the other player's gradients are not even computed
        self.scaler.unscale_(self.opt)
        grad_norm = nn.utils.get_total_norm([p.grad for p in self.weights if p.grad is not None])
        self.scaler.step(self.opt)
        self.scaler.update()
        self.opt.zero_grad(set_to_none=True)
        if self.amp == torch.float16:  # an update that overflowed was skipped: report 0, unless that goes on
            fits = grad_norm.isfinite()
            self.skipped.add_(1).mul_(~fits)
            grad_norm = torch.where(fits | (self.skipped > 30), grad_norm, 0.0)
        return grad_norm


class Rules:
    """Settings of a step, in `cfg`, that a checkpoint must share to be resumed; a part without a state."""

    def __init__(self, **cfg: Any) -> None:
        self.cfg = cfg

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass


def gan_step(
    model: Game,
    opt_g: torch.optim.Optimizer,
    opt_d: torch.optim.Optimizer,
    *,
    loss: str = "nonsaturating",
    r1: float = 0.0,
    n_critic: int = 1,
    ema: EMA | None = None,
    amp: torch.dtype | None = None,
    generator: torch.Generator | None = None,
) -> Step:
    """Return step(batch) -> logs: n_critic updates of the discriminator, then one of the generator; [GAN] Algorithm 1.

    The last fakes that the discriminator saw are those from which the generator learns, so that each is made once. The
    step has what `fit` needs to resume: both networks and optimisers, the average, the generator of the noise.

    Args:
        model: the game.
        opt_g, opt_d: optimisers of model.generator and of model.discriminator.
        loss: a name of `LOSSES`: "saturating", "nonsaturating", "least_squares", "hinge", "wasserstein" (which wants
            a Lipschitz discriminator: see `wgan_step`, or spectral normalisation).
        r1: gamma, at least 0: r1 / 2 times the penalty of [R1] is added. Not for a discriminator with batch statistics.
        n_critic: updates of the discriminator in one step, at least 1; a batch is dealt out in that many parts.
        ema: an `EMA` of model.generator, updated once per step.
        amp: dtype of autocast, as in `make_step`; the penalty is always computed without.
        generator: draws the noise; None draws from torch's global generator. A checkpoint holds either.
    Returns:
        step; it takes x, or a tuple that begins with it, and logs `loss_d`, `loss_g`, the mean logits `real` and
        `fake`, `grad_norm_d`, `grad_norm_g` and, where r1 > 0, `r1`, the penalty before it is weighted. What concerns
        the discriminator is a mean over its updates.
    Raises:
        ValueError: an unknown loss or amp, n_critic below 1, r1 below 0, an optimiser of other parameters; from the
            step: a batch that n_critic does not divide.
    """
    game = game_loss(loss)
    check_counts(n_critic=n_critic)
    if not r1 >= 0:
        raise ValueError(f"r1 must be at least 0, got {r1}")
    player_g, player_d = Player(model.generator, opt_g, amp), Player(model.discriminator, opt_d, amp)

    def step(batch: Any) -> dict[str, Tensor]:
        parts, rows = deal(batch, n_critic), []
        for i, real in enumerate(parts):
            with player_g.autocast(), torch.set_grad_enabled(i == n_critic - 1):
                fake = model.generator(model.noise(len(real), generator))
            with player_d.autocast():
                r_real, r_fake = model.discriminator(real), model.discriminator(fake.detach())
                loss_d = game.discriminator(r_real, r_fake)
            row = {"loss_d": loss_d.detach(), "real": r_real.detach().mean(), "fake": r_fake.detach().mean()}
            if r1:
                penalty = r1_penalty(model.discriminator, real)
                loss_d, row["r1"] = loss_d + 0.5 * r1 * penalty, penalty.detach()
            rows.append(row | {"grad_norm_d": player_d.descend(loss_d)})
        with player_g.autocast():
            loss_g = game.generator(model.discriminator(fake))
        logs = mean_logs(rows) | {"loss_g": loss_g.detach(), "grad_norm_g": player_g.descend(loss_g)}
        if ema is not None:
            ema.update(model.generator)
        return logs

    step.parts = parts_of(model, player_g, player_d, ema, generator, loss=loss, r1=r1, n_critic=n_critic)
    return step


def parts_of(
    model: Game, player_g: Player, player_d: Player, ema: EMA | None, generator: torch.Generator | None, **rules: Any
) -> dict[str, Any]:
    """Return what changes while a step of two players runs, by name, and the rules by which it does."""
    parts = {"model": model, "opt_g": player_g.opt, "opt_d": player_d.opt, "rules": Rules(**rules)}
    parts |= {"scaler_g": player_g.scaler, "scaler_d": player_d.scaler, "ema": ema, "noise": generator}
    return {name: part for name, part in parts.items() if part is not None}


def deal(batch: Any, n: int) -> tuple[Tensor, ...]:
    """Return n equal parts of x, where batch is x or a tuple that begins with it.

    Raises:
        ValueError: n does not divide the batch.
    """
    x = batch if isinstance(batch, Tensor) else batch[0]
    if len(x) < n or len(x) % n:
        raise ValueError(f"a batch of {len(x)} cannot be dealt to n_critic={n} updates: take a multiple of {n}")
    return x.chunk(n)


def mean_logs(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each log over the updates of one step."""
    return rows[0] if len(rows) == 1 else {k: torch.stack([row[k] for row in rows]).mean() for k in rows[0]}


def full(x: Tensor) -> Tensor:
    """Return x in float32 or better: losses are computed no more coarsely."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_counts(**counts: int) -> None:
    """Raise a ValueError that names every count below 1."""
    if bad := {name: count for name, count in counts.items() if count < 1}:
        raise ValueError(f"counts must be at least 1, got {bad}")
