"""Training BigGAN: its discriminator, hinge loss, orthogonal regularisation; drawing z truncated, and sampling.

Sources: [BG] Brock et al. 2019, arXiv:1809.11096, Sec. 3 and Appendix B, C. [PROJ] Miyato & Koyama 2018,
         arXiv:1802.05637, Eq. 3 (projection). [HINGE] Lim & Ye 2017, arXiv:1705.02894.
Shapes:  B batch, C channels, H = W image side, Z width of z, K classes, M maps of a layer.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.gan.biggan import BigGAN, BigGANConfig, ConditionalNorm, NonLocal, check_config, check_labels, maps
from genai_utils.gan.biggan import spectral as spectral_layer
from genai_utils.gan.gan import Game, Player, check_counts, full, mean_logs, parts_of
from genai_utils.gan.losses import hinge_d, wasserstein_g
from genai_utils.training import EMA
from genai_utils.training.loop import Step

RANGE = 2.0  # at a truncation of 1 no number of z lies beyond
NORM_EPS = 1e-12  # of the discriminator's power iterations


class DownBlock(nn.Module):
    """BigGAN's block of the discriminator: two 3x3 convolutions after ReLUs, and a projected skip."""

    def __init__(self, inputs: int, outputs: int, *, down: bool, first: bool = False) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.convs = nn.ModuleList(_conv(n, outputs, 3) for n in (inputs, outputs))
        self.skip = _conv(inputs, outputs, 1) if down or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.convs[0](x if self.first else F.relu(x))  # a picture is not rectified
        h = self.convs[1](F.relu(h))
        return halve(h) + self.skip(halve(x)) if self.down else h + self.skip(x)


class DeepDownBlock(nn.Module):
    """BigGAN-deep's: a bottleneck of four convolutions, and a skip that gains maps by a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, *, down: bool) -> None:
        super().__init__()
        self.down = down
        middle = outputs // 4
        widths = [inputs, middle, middle, middle, outputs]
        self.convs = nn.ModuleList(_conv(a, b, side) for (a, b), side in zip(pairwise(widths), (1, 3, 3, 1)))
        self.skip = _conv(inputs, outputs - inputs, 1) if outputs > inputs else None

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for i, conv in enumerate(self.convs):
            h = F.relu(h)
            h = conv(halve(h) if self.down and i == 3 else h)
        x = halve(x) if self.down else x
        return h + (x if self.skip is None else torch.cat([x, self.skip(x)], 1))


class BigGANDiscriminator(nn.Module):
    """Logits (B,) = discriminator(x, labels): the generator's blocks in reverse, then a projection on the class."""

    Config = BigGANConfig

    def __init__(self, cfg: BigGANConfig) -> None:
        super().__init__()
        check_config(cfg)
        self.cfg = cfg
        widths = maps(cfg)[::-1]
        at = None if cfg.attention is None else len(cfg.ups) - cfg.attention  # where the side is that of the generator
        if cfg.deep:
            layers = [_conv(cfg.channels, widths[0], 3)]
            blocks = [DeepDownBlock(a, b, down=down) for (a, b), down in zip(pairwise(widths), cfg.ups[::-1])]
        else:
            layers = [DownBlock(cfg.channels, widths[0], down=cfg.ups[-1], first=True)]
            downs = [*cfg.ups[-2::-1], False]  # the first block has halved the side already
            blocks = [DownBlock(a, b, down=down) for (a, b), down in zip(pairwise(widths), downs)]
            at = None if at is None else at - 1
        for i, width in enumerate(widths):  # the last has no block after it
            layers += [NonLocal(width, NORM_EPS)] if i == at else []
            layers += blocks[i : i + 1]
        self.layers = nn.Sequential(*layers)
        self.out = spectral_layer(nn.Linear(widths[-1], 1), NORM_EPS)
        self.embed = spectral_layer(nn.Embedding(cfg.n_classes, widths[-1]), NORM_EPS)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return logits (B,), above 0 for "real", of images (B, C, H, H) in [-1, 1] as pictures of labels (B,).

        Raises:
            ValueError: x or labels does not have its shape; on a CPU also a class out of range.
        """
        wanted = (self.cfg.channels, self.cfg.side, self.cfg.side)
        if x.ndim != 4 or x.shape[1:] != wanted:
            raise ValueError(f"x must be (B, {', '.join(map(str, wanted))}), got {tuple(x.shape)}")
        if labels.is_floating_point():
            raise ValueError(f"labels must be ({len(x)},) int64: an image is of one class; got {labels.dtype}")
        check_labels(labels, len(x), self.cfg.n_classes)
        h = full(F.relu(self.layers(x))).sum((2, 3))  # (B, M)
        return full(self.out(h)).squeeze(1) + (self.embed(labels) * h).sum(1)  # [PROJ] Eq. 3


class BigGANGame(Game):
    """The game of the two: `BigGANGame(BigGANConfig())`, trained by `biggan_step`."""

    Config = BigGANConfig

    def __init__(self, cfg: BigGANConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.generator, self.discriminator = BigGAN(cfg), BigGANDiscriminator(cfg)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return G(z, labels)."""
        return self.generator(z, labels)

    def sample(
        self,
        n: int,
        labels: Tensor | None = None,
        *,
        network: nn.Module | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return n samples, as `Game.sample` does, of labels (n,) int64; None draws uniform classes, after z."""

        def labelled(z: Tensor) -> Tensor:
            y = labels
            if y is None:
                y = torch.randint(self.cfg.n_classes, (n,), generator=generator, device=z.device)
            return (self.generator if network is None else network)(z, y)

        return super().sample(n, network=labelled, generator=generator)


def halve(x: Tensor) -> Tensor:
    """Return (B, M, H/2, W/2), means of four."""
    return F.avg_pool2d(x, 2)


def orthogonal_penalty(network: nn.Module) -> Tensor:
    """Return the sum over weights of ``|W W^T - diag(W W^T)|^2``, >= 0: filters should not resemble one another.

    A row of W is a filter, all of its numbers. Their norms stay free. The class embedding, which is shared, is left
    out; of a weight under spectral normalisation the stored one counts. A layer of more filters than numbers in one
    cannot reach 0.

    Source: [BG] Eq. 3, without its factor beta.
    """
    total = 0.0
    for name, weight in network.named_parameters():
        if weight.ndim < 2 or name.startswith("embed."):
            continue
        rows = weight.flatten(1)
        gram = rows @ rows.T
        total = total + gram.square().sum() - gram.diagonal().square().sum()
    return total


def biggan_step(
    model: BigGANGame,
    opt_g: torch.optim.Optimizer,
    opt_d: torch.optim.Optimizer,
    *,
    n_critic: int = 2,
    orthogonal: float = 1e-4,
    ema: EMA | None = None,
    amp: torch.dtype | None = None,
    generator: torch.Generator | None = None,
) -> Step:
    """Return step(batch) -> logs: n_critic updates of the discriminator, then one of the generator, by the hinge loss.

    Optimisers of [BG]: Adam with betas (0, 0.999), learning rates 5e-5 for the generator and 2e-4 for the
    discriminator, at a batch of 2048. The step has what `fit` needs to resume.

    Args:
        model: both networks, on their device, in training mode.
        opt_g, opt_d: optimisers of model.generator and of model.discriminator.
        n_critic: updates of the discriminator in one step, at least 1; a batch is dealt out in that many parts.
        orthogonal: beta, at least 0, the weight of `orthogonal_penalty` of the generator.
        ema: an `EMA` of model.generator, updated once per step. Before it is evaluated its norms need
            `standing_statistics`.
        amp: dtype of autocast, as in `make_step`.
        generator: draws z and the fakes' classes, which are uniform; None: torch's global generator. A checkpoint holds
            either.
    Returns:
        step; it takes (x, labels), x (B, C, H, W) in [-1, 1] and labels (B,) int64, and logs `loss_d`, `loss_g`, the
        mean logits `real` and `fake`, `grad_norm_d`, `grad_norm_g` and `orthogonal`, the penalty before it is weighted.
        What concerns the discriminator is a mean over its updates.
    Raises:
        ValueError: n_critic below 1, orthogonal below 0, an optimiser of other parameters; from the step: a batch that
            n_critic does not divide.
    """
    check_counts(n_critic=n_critic)
    if not orthogonal >= 0:
        raise ValueError(f"orthogonal must be at least 0, got {orthogonal}")
    network, critic = model.generator, model.discriminator
    player_g, player_d = Player(network, opt_g, amp), Player(critic, opt_d, amp)

    def fakes(n: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(model.cfg.n_classes, (n,), generator=generator, device=player_g.device)
        return network(model.noise(n, generator), labels), labels

    def step(batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        x, labels = batch
        if len(x) < n_critic or len(x) % n_critic:
            raise ValueError(f"a batch of {len(x)} cannot be dealt to n_critic={n_critic} updates: take a multiple")
        rows = []
        for real, classes in zip(x.chunk(n_critic), labels.chunk(n_critic), strict=True):
            with player_d.autocast():
                with torch.no_grad():
                    fake, wanted = fakes(len(real))
                both = critic(torch.cat([real, fake.to(real.dtype)]), torch.cat([classes, wanted]))
                r_real, r_fake = both.chunk(2)
                loss_d = hinge_d(r_real, r_fake)
            row = {"loss_d": loss_d.detach(), "real": r_real.detach().mean(), "fake": r_fake.detach().mean()}
            rows.append(row | {"grad_norm_d": player_d.descend(loss_d)})
        with player_g.autocast():
            fake, wanted = fakes(len(x) // n_critic)
            loss_g = wasserstein_g(critic(fake, wanted))
        penalty = orthogonal_penalty(network) if orthogonal else torch.zeros_like(loss_g)  # in float32
        norm_g = player_g.descend(loss_g + orthogonal * penalty)
        if ema is not None:
            ema.update(network)
        return mean_logs(rows) | {"loss_g": loss_g.detach(), "grad_norm_g": norm_g, "orthogonal": penalty.detach()}

    step.parts = parts_of(model, player_g, player_d, ema, generator, n_critic=n_critic, orthogonal=orthogonal)
    return step


# ---- truncation and sampling


def draw_latents(
    n: int,
    latent: int,
    truncation: float = 1.0,
    *,
    scaled: bool = False,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return z, (n, Z) float32: standard normal, but no number beyond +-2 truncation; [BG] Sec. 3.1.

    The paper draws numbers beyond the range again until they lie within; here one draw through the inverse of the
    normal's distribution function has the same law, and takes no loop.

    Args:
        n, latent: at least 1.
        truncation: in (0, 1].
        scaled: as pytorch-pretrained-biggan and the models on TF Hub do it: truncation times what a truncation of 1
            gives. The range is the same; within it numbers keep the normal's shape.
        generator: on the device.
    Raises:
        ValueError: a count below 1, or truncation out of range.
    """
    check_counts(n=n, latent=latent)
    if not 0 < truncation <= 1:
        raise ValueError(f"truncation must be in (0, 1], got {truncation}")
    edge = RANGE if scaled else RANGE * truncation
    wide = torch.float32 if torch.device(device).type == "mps" else torch.float64  # Apple's has no float64
    u = 2 * torch.rand(n, latent, generator=generator, device=device, dtype=wide) - 1
    z = math.sqrt(2) * torch.erfinv(u * math.erf(edge / math.sqrt(2)))
    return ((truncation if scaled else 1.0) * z).float()


@torch.no_grad()
def standing_statistics(
    model: BigGAN,
    *,
    passes: int = 16,
    batch: int = 64,
    scaled: bool = False,
    generator: torch.Generator | None = None,
) -> None:
    """Fill the tables of all norms of `model`: mean and variance over passes x batch pictures per truncation.

    To be called after training, and again when the weights have changed. It also settles the vectors of the spectral
    norms, which in an average of weights do not belong to them. The model's mode is left as it was.

    Args:
        model: usually the moving average of the generator.
        passes, batch: at least 1; classes are uniform.
        scaled: as in `draw_latents`; sample in the same way.
        generator: draws z and classes; on the model's device.
    Raises:
        ValueError: passes or batch is below 1.
    Source: [BG] Appendix C, after whom they are called standing statistics.
    """
    check_counts(passes=passes, batch=batch)
    norms = [m for m in model.modules() if isinstance(m, ConditionalNorm)]
    sums = {m: [0.0, 0.0] for m in norms}

    def add(norm: ConditionalNorm, args: tuple) -> None:
        x = args[0].to(torch.promote_types(args[0].dtype, torch.float32))
        sums[norm][0] = sums[norm][0] + x.mean((0, 2, 3)) / passes
        sums[norm][1] = sums[norm][1] + x.square().mean((0, 2, 3)) / passes

    device, training = model.embed.weight.device, model.training
    hooks = [m.register_forward_pre_hook(add) for m in norms]
    try:
        model.train()
        n = model.cfg.n_stats
        for i in range(n):
            for norm in norms:
                sums[norm] = [0.0, 0.0]
            truncation = max(i / (n - 1), 1e-6)  # the first entry is the limit in which z is 0
            for _ in range(passes):
                z = draw_latents(batch, model.cfg.latent, truncation, scaled=scaled, generator=generator, device=device)
                labels = torch.randint(model.cfg.n_classes, (batch,), generator=generator, device=device)
                model(z.to(model.embed.weight.dtype), labels)
            for norm, (mean, square) in sums.items():
                norm.means[i] = mean
                norm.variances[i] = (square - mean.square()).clamp(min=0)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)


@torch.no_grad()
def sample(
    model: BigGAN,
    labels: Tensor,
    *,
    truncation: float = 1.0,
    scaled: bool = False,
    batch: int = 64,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Yield a picture (C, H, H) in [-1, 1] per label, as tensors (b, C, H, H) of at most `batch`.

    Args:
        model: in evaluation mode, with tables from `standing_statistics` or from a published file.
        labels: (n,) int64 classes in [0, K).
        truncation: in (0, 1]: small gives fidelity, 1 variety.
        scaled: as in `draw_latents`; published files want True.
        batch: at least 1.
        generator: draws z; on the model's device.
    Raises:
        ValueError: labels, truncation or batch is out of range (raised at the first batch).
    """
    check_counts(batch=batch)
    weight = model.embed.weight
    for part in labels.to(weight.device).split(batch):
        z = draw_latents(
            len(part), model.cfg.latent, truncation, scaled=scaled, generator=generator, device=weight.device
        )
        yield model(z.to(weight.dtype), part, truncation=truncation)


def _conv(inputs: int, outputs: int, side: int) -> nn.Module:
    return spectral_layer(nn.Conv2d(inputs, outputs, side, padding=side // 2), NORM_EPS)
