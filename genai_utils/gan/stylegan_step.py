"""Training StyleGAN2: non-saturating loss, and two penalties that are paid lazily, every few steps.

Sources: [SG2] Karras et al. 2020, arXiv:1912.04958, Sec. 3.1 (lazy regularisation), Sec. 3.2 and Eq. 4 (path length),
         Appendix B (constants). [SG1] Karras et al. 2019, arXiv:1812.04948, Sec. 3.1 (mixing). [R1] Mescheder et al.
         2018, arXiv:1801.04406, Eq. 9.
Shapes:  B batch, C channels, H = W image side, L places where a style enters, S width of a style.
"""

from typing import Any

import torch
from torch import Tensor, nn

from genai_utils.gan.gan import Player, check_counts, deal, parts_of
from genai_utils.gan.losses import minimax_d, nonsaturating_g, r1_penalty
from genai_utils.gan.stylegan import StyleGAN, StyleGenerator, mix_styles
from genai_utils.training import EMA
from genai_utils.training.loop import Step


def lazy_adam(network: nn.Module, lr: float = 2e-3, *, every: int = 1, betas=(0.0, 0.99)) -> torch.optim.Adam:
    """Return fused Adam for a network that gets one further update in `every` steps; [SG2] Appendix B.

    With c = every / (every + 1) the learning rate becomes c lr and each beta beta^c, so that every + 1 updates move
    as far, and remember as long, as `every` did.

    Args:
        network: whose parameters to train.
        lr: learning rate, > 0, as if there were no penalty.
        every: steps between two penalties, at least 1.
        betas: as if there were no penalty.
    Raises:
        ValueError: every is below 1.
    """
    check_counts(every=every)
    c = every / (every + 1)
    return torch.optim.Adam(network.parameters(), lr=c * lr, betas=tuple(b**c for b in betas), eps=1e-8, fused=True)


def path_lengths(x: Tensor, w: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Return how far a picture moves per unit of style, in random directions y: ``|J^T y|``, (B,), with a graph.

    J is the Jacobian of the pixels with respect to w, and y standard normal, divided by sqrt(H W) so that lengths do
    not grow with the side. With L places the squares are averaged over them.

    Args:
        x: (B, C, H, W) pictures that were computed from w.
        w: (B, L, S) styles that require a gradient.
        generator: draws y; on x's device.
    Source: [SG2] Eq. 4, whose expectation is over one y per picture.
    """
    y = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype) / (x.shape[2] * x.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad((x * y).sum(), w, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def draw_styles(network: StyleGenerator, z: Tensor, z2: Tensor, crossover: Tensor) -> tuple[Tensor, Tensor]:
    """Return (w, styles): w (B, S) of z, and styles (B, L, S) that change from those of z to those of z2.

    Args:
        network: the generator.
        z, z2: (B, Z).
        crossover: (B,) int64 in [0, L]; L is no mixing.
    """
    w, w2 = network.mapping(torch.cat([z, z2])).chunk(2)
    return w, mix_styles(*(v[:, None].expand(-1, network.n_styles, -1) for v in (w, w2)), crossover)


class Clock:
    """What the lazy penalties must remember: steps done, the mean path length, the last value of each."""

    def __init__(self, device: torch.device) -> None:
        self.steps = 0
        self.values = {name: torch.zeros((), device=device) for name in ("mean_length", "r1", "path")}

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "values": dict(self.values)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        for name, value in self.values.items():
            value.copy_(state["values"][name])


def stylegan_step(
    model: StyleGAN,
    opt_g: torch.optim.Optimizer,
    opt_d: torch.optim.Optimizer,
    *,
    r1: float = 10.0,
    r1_every: int = 16,
    path: float = 2.0,
    path_every: int = 4,
    path_decay: float = 0.01,
    path_shrink: int = 2,
    mixing: float = 0.9,
    ema: EMA | None = None,
    amp: torch.dtype | None = None,
    generator: torch.Generator | None = None,
) -> Step:
    """Return step(batch) -> logs: one update of the discriminator, one of the generator, and now and then a penalty.

    A penalty is an update of its own, in float32, weighted by the steps between two: on average it counts as if it
    were paid every time. The step has what `fit` needs to resume, the count of steps included.

    Args:
        model: both networks, on their device.
        opt_g, opt_d: `lazy_adam(model.generator, every=path_every)` and `lazy_adam(model.discriminator,
            every=r1_every)`, or others.
        r1: gamma, at least 0: r1 / 2 times the squared gradient at real images; 0 leaves it out. The smaller the
            images, the smaller: [SG2] has 10 at a side of 1024.
        r1_every, path_every: steps between two penalties, at least 1.
        path: weight of the path length penalty, at least 0; 0 leaves it out.
        path_decay: share of a new mean length in the running mean, in (0, 1].
        path_shrink: the path penalty uses one in so many images of a batch, at least 1.
        mixing: share of fakes made of two styles, in [0, 1].
        ema: an `EMA` of model.generator, updated once per step.
        amp: dtype of autocast, as in `make_step`.
        generator: draws z, noise, crossovers and y; None: torch's global generator. A checkpoint holds either.
    Returns:
        step; it takes x (B, C, H, W), or a tuple that begins with it, and logs `loss_d`, `loss_g`, the mean logits
        `real` and `fake`, `grad_norm_d`, `grad_norm_g`, and of the last penalties `r1`, `path` (before they are
        weighted) and `mean_length`, the running mean of path lengths.
    Raises:
        ValueError: a weight or share out of its range, a count below 1, an optimiser of other parameters.
    """
    check_counts(r1_every=r1_every, path_every=path_every, path_shrink=path_shrink)
    if not (r1 >= 0 and path >= 0 and 0 < path_decay <= 1 and 0 <= mixing <= 1):
        raise ValueError(
            "need r1 >= 0, path >= 0, path_decay in (0, 1], mixing in [0, 1]; "
            f"got r1={r1}, path={path}, path_decay={path_decay}, mixing={mixing}"
        )
    network, critic = model.generator, model.discriminator
    player_g, player_d = Player(network, opt_g, amp), Player(critic, opt_d, amp)
    clock = Clock(player_g.device)

    def fakes(n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return w (n, S), styles (n, L, S), pictures."""
        like = {"generator": generator, "device": player_g.device}
        mixed = torch.rand(n, **like) < mixing
        crossover = torch.where(mixed, torch.randint(1, network.n_styles, (n,), **like), network.n_styles)
        w, styles = draw_styles(network, model.noise(n, generator), model.noise(n, generator), crossover)
        return w, styles, network.synthesis(styles, generator=generator)

    def step(batch: Any) -> dict[str, Tensor]:
        (real,) = deal(batch, 1)
        n, now = len(real), clock.values
        with player_d.autocast():
            with torch.no_grad():
                fake = fakes(n)[2]
            r_real, r_fake = critic(real), critic(fake)
            loss_d = minimax_d(r_real, r_fake)
        norm_d = player_d.descend(loss_d)
        if r1 and clock.steps % r1_every == 0:
            penalty = r1_penalty(critic, real)
            player_d.descend(0.5 * r1 * r1_every * penalty)
            now["r1"].copy_(penalty.detach())
        with player_g.autocast():
            w, _, fake = fakes(n)
            loss_g = nonsaturating_g(critic(fake))
        network.mapping.track(w.detach())
        norm_g = player_g.descend(loss_g)
        if path and clock.steps % path_every == 0:
            _, styles, x = fakes(max(1, n // path_shrink))
            lengths = path_lengths(x, styles, generator=generator)
            now["mean_length"].lerp_(lengths.detach().mean().to(now["mean_length"].dtype), path_decay)
            penalty = (lengths - now["mean_length"]).square().mean()  # [SG2] Eq. 4, a the running mean
            player_g.descend(path * path_every * penalty)
            now["path"].copy_(penalty.detach())
        if ema is not None:
            ema.update(network)
        clock.steps += 1
        logs = {"loss_d": loss_d, "loss_g": loss_g, "real": r_real.mean(), "fake": r_fake.mean()}
        logs |= {"grad_norm_d": norm_d, "grad_norm_g": norm_g} | {name: value.clone() for name, value in now.items()}
        return {name: value.detach() for name, value in logs.items()}

    rules = {"r1": r1, "r1_every": r1_every, "path": path, "path_every": path_every, "path_decay": path_decay}
    rules |= {"path_shrink": path_shrink, "mixing": mixing}
    step.parts = parts_of(model, player_g, player_d, ema, generator, **rules) | {"clock": clock}
    return step
