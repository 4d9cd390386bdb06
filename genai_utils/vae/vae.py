"""Variational autoencoders on images: VAE, beta-VAE, conditional VAE, with fully connected or convolutional networks.

Sources: [VAE] Kingma & Welling 2014, arXiv:1312.6114. [BVAE] Higgins et al., ICLR 2017. [IWAE] Burda et al. 2016,
         arXiv:1509.00519. [IAF] Kingma et al. 2016, arXiv:1606.04934 (free bits). [CVAE] Sohn et al., NeurIPS 2015,
         and [M2] Kingma et al. 2014, arXiv:1406.5298 (labels in both networks; the prior does not know them, as in M2).
Shapes:  B batch, C channels, H = W image side, Z latent width, K number of classes, P numbers per value of x.
         Images are scaled to [-1, 1].
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.vae.likelihoods import likelihood


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    side: int = 28  # H, in pixels; a multiple of 4 for "conv"
    channels: int = 1  # C
    network: str = "conv"  # "conv" or "mlp"
    width: int = 32  # feature maps after the first halving; "conv" only
    hidden: int = 256  # units of the fully connected layers
    latent: int = 16  # Z
    likelihood: str = "bernoulli"  # "bernoulli" (pixels of -1 or 1), "logistic" (8-bit pixels) or "gaussian" (real)
    std: float = 1.0  # standard deviation of the "gaussian" likelihood, in the units of x
    n_classes: int = 0  # K; 0: no labels


PRESETS = {
    "map": VAEConfig(latent=2),  # a latent plane, to look at
    "mnist": VAEConfig(latent=16),
    "mnist-classes": VAEConfig(latent=16, n_classes=10),
}


class VAE(nn.Module):
    """params, mu, log_var = vae(x): encode to q(z | x), draw one z, decode to the parameters of p(x | z)."""

    Config = VAEConfig

    def __init__(self, cfg: VAEConfig) -> None:
        super().__init__()
        _check(cfg)
        self.cfg = cfg
        self.likelihood = likelihood(cfg.likelihood, cfg.std)
        C, H, w, h, K = cfg.channels, cfg.side, cfg.width, cfg.hidden, cfg.n_classes
        values = self.likelihood.per_value * C  # P C
        if cfg.network == "conv":
            features = 2 * w * (H // 4) ** 2
            self.body = nn.Sequential(
                nn.Conv2d(C, w, 4, 2, 1), nn.SiLU(),  # (B, w, H/2, H/2)
                nn.Conv2d(w, 2 * w, 4, 2, 1), nn.SiLU(), nn.Flatten(),  # (B, 2w H/4 H/4)
            )  # fmt: skip
            picture = [
                nn.SiLU(), nn.Unflatten(1, (2 * w, H // 4, H // 4)),  # (B, 2w, H/4, H/4)
                nn.ConvTranspose2d(2 * w, w, 4, 2, 1), nn.SiLU(),  # (B, w, H/2, H/2)
                nn.ConvTranspose2d(w, values, 4, 2, 1),  # (B, P C, H, H)
            ]  # fmt: skip
            self.head = nn.Sequential(nn.Linear(features + K, h), nn.SiLU(), nn.Linear(h, 2 * cfg.latent))
            self.decoder = nn.Sequential(nn.Linear(cfg.latent + K, h), nn.SiLU(), nn.Linear(h, features), *picture)
        else:
            self.body = nn.Flatten()  # (B, C H H)
            self.head = nn.Sequential(*_layers(C * H * H + K, h, h, 2 * cfg.latent))
            self.decoder = nn.Sequential(
                *_layers(cfg.latent + K, h, h, values * H * H), nn.Unflatten(1, (values, H, H))
            )

    def encode(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z | x), each (B, Z) in float32 or better.

        Args:
            x: (B, C, H, H) images in [-1, 1].
            labels: (B,) int64 in [0, K), given exactly when the config has classes.
        Raises:
            ValueError: x has the wrong shape, or labels are missing, not expected, of another number or (seen on a CPU
                only) out of range.
        """
        cfg = self.cfg
        if x.shape[1:] != (cfg.channels, cfg.side, cfg.side):
            raise ValueError(f"x must be (B, {cfg.channels}, {cfg.side}, {cfg.side}), got {tuple(x.shape)}")
        features = self._with_labels(self.body(x), labels)
        return _full(self.head(features)).chunk(2, dim=1)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the parameters of p(x | z), (B, P C, H, H): logits, location and log-scale, or means.

        Args:
            z: (B, Z) codes.
            labels: as in `encode`.
        Raises:
            ValueError: z has the wrong width, or labels as in `encode`.
        """
        if z.shape[1:] != (self.cfg.latent,):
            raise ValueError(f"z must be (B, {self.cfg.latent}), got {tuple(z.shape)}")
        return _full(self.decoder(self._with_labels(z, labels)))

    def forward(
        self, x: Tensor, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return (params, mu, log_var) at one reparameterised draw of z; [VAE] Sec. 2.4."""
        mu, log_var = self.encode(x, labels)
        return self.decode(reparameterise(mu, log_var, generator), labels), mu, log_var

    def _with_labels(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """Append one-hot labels: (B, n) -> (B, n + K)."""
        K = self.cfg.n_classes
        if (labels is None) != (K == 0):
            wanted = f"labels in [0, {K})" if K else "no labels (n_classes is 0)"
            raise ValueError(f"this VAE takes {wanted}, got {'none' if labels is None else 'some'}")
        if labels is None:
            return features
        if labels.shape != features.shape[:1]:
            raise ValueError(f"labels must be ({len(features)},), one for each, got {tuple(labels.shape)}")
        if labels.device.type == "cpu" and not ((0 <= labels) & (labels < K)).all():  # a GPU would have to wait
            wrong = labels[(labels < 0) | (labels >= K)][0].item()
            raise ValueError(f"labels must be in [0, {K}), got {wrong}")
        return torch.cat([features, F.one_hot(labels, K).to(features)], dim=1)


def reparameterise(mu: Tensor, log_var: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return z = mu + sigma eps, (B, Z), eps standard normal: a draw through which gradients flow; [VAE] Sec. 2.4."""
    eps = torch.randn(mu.shape, device=mu.device, dtype=mu.dtype, generator=generator)
    return mu + torch.exp(0.5 * log_var) * eps


def kl_to_prior(mu: Tensor, log_var: Tensor) -> Tensor:
    """Return KL(N(mu, exp log_var) || N(0, 1)) in nats for each latent, (B, Z); [VAE] Appendix B."""
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var)


def vae_loss(
    model: VAE,
    batch: tuple[Tensor, Tensor | None],
    *,
    beta: float | Callable[[], float] = 1.0,
    free_bits: float = 0.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Negative beta-ELBO in nats per image, averaged over the batch; [BVAE] Eq. 4, and [VAE] Eq. 10 at beta = 1.

    Args:
        model: the VAE.
        batch: (x, labels): (B, C, H, H) images that its likelihood can give rise to, and (B,) int64 classes. The labels
            are used only if the config has classes, so that batches of any labelled set serve both kinds of model.
        beta: weight of the KL term, at least 0; or a function that returns it at each step (see `kl_warmup`).
        free_bits: nats of KL per latent, averaged over the batch, below which there is nothing to gain; [IAF] Eq. 15.
        generator: draws z; on x's device.
    Returns:
        The scalar loss, and logs in nats per image: `nll`, -log p(x | z), and `kl`. Their sum is minus the ELBO.
    Raises:
        ValueError: beta or free_bits is negative; on a CPU also a pixel that the likelihood excludes (elsewhere its
            loss is infinite, which `fit` reports without making every step wait).
    """
    beta = beta() if callable(beta) else beta
    if beta < 0 or free_bits < 0:
        raise ValueError(f"beta and free_bits must be at least 0, got beta={beta}, free_bits={free_bits}")
    x, labels = _door(model, batch)
    params, mu, log_var = model(x, labels, generator)
    nll = -model.likelihood.log_prob(params, x).mean()
    kl = kl_to_prior(mu, log_var).mean(0)  # (Z,)
    paid = kl.clamp(min=free_bits) if free_bits else kl
    return nll + beta * paid.sum(), {"nll": nll, "kl": kl.sum()}


def kl_warmup(schedule: torch.optim.lr_scheduler.LRScheduler, steps: int, beta: float = 1.0) -> Callable[[], float]:
    """Return a function for `vae_loss`'s beta that rises from 0 to `beta` over `steps` updates, then stays there.

    The learning-rate schedule counts the updates, and is part of every checkpoint: a resumed run warms up where it was.
    Source: Bowman et al. 2016, arXiv:1511.06349, Sec. 3.1; Sonderby et al. 2016, arXiv:1602.02282, Sec. 2.3.
    Raises:
        ValueError: steps < 1 or beta < 0.
    """
    if steps < 1 or beta < 0:
        raise ValueError(f"need steps >= 1 and beta >= 0, got steps={steps}, beta={beta}")
    return lambda: beta * min(1.0, schedule.last_epoch / steps)


def elbo(
    model: VAE, x: Tensor, labels: Tensor | None = None, *, samples: int = 1, generator: torch.Generator | None = None
) -> Tensor:
    """Return the evidence lower bound on log p(x) in nats, (B,): `samples` draws of z, the KL in closed form.

    Raises:
        ValueError: samples < 1, or a pixel that the likelihood excludes.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    model.likelihood.check(x)
    mu, log_var = model.encode(x, labels)
    log_p = torch.zeros(len(x), device=x.device, dtype=mu.dtype)
    for _ in range(samples):
        params = model.decode(reparameterise(mu, log_var, generator), labels)
        log_p = log_p + model.likelihood.log_prob(params, x) / samples
    return log_p - kl_to_prior(mu, log_var).sum(1)


def iwae_bound(
    model: VAE, x: Tensor, labels: Tensor | None = None, *, k: int = 50, generator: torch.Generator | None = None
) -> Tensor:
    """Return the importance-weighted bound on log p(x) in nats, (B,): tighter, on average, the larger k; [IWAE] Eq. 8.

    At k = 1 it is the ELBO with the KL estimated from the same draw. Memory does not grow with k under `no_grad`.
    Raises:
        ValueError: k < 1, or a pixel that the likelihood excludes.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    model.likelihood.check(x)
    mu, log_var = model.encode(x, labels)
    total = None  # log of the sum of weights so far, (B,)
    for _ in range(k):
        z = reparameterise(mu, log_var, generator)
        log_w = model.likelihood.log_prob(model.decode(z, labels), x)
        log_w = log_w + normal_log_prob(z) - normal_log_prob(z, mu, log_var)
        total = log_w if total is None else torch.logaddexp(total, log_w)
    return total - math.log(k)


def normal_log_prob(z: Tensor, mu: Tensor | float = 0.0, log_var: Tensor | float = 0.0) -> Tensor:
    """Return log N(z; mu, exp log_var) in nats, (B,): independent coordinates, constants included."""
    log_var = torch.as_tensor(log_var, dtype=z.dtype, device=z.device)
    return -0.5 * ((z - mu).square() / log_var.exp() + log_var + math.log(2 * math.pi)).sum(1)


@torch.no_grad()
def sample(
    model: VAE,
    n: int,
    labels: Tensor | None = None,
    *,
    draw_pixels: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return n pictures from the prior, (n, C, H, H): z ~ N(0, I), then the mean of p(x | z).

    They lie in [-1, 1], but for those of a Gaussian likelihood, which is not bounded.

    Args:
        model: a VAE in evaluation mode.
        n: how many.
        labels: (n,) int64 classes to ask for, if the model takes them.
        draw_pixels: draw x from p(x | z) instead. That is a sample of the model; its mean is a picture of a belief.
        generator: on the model's device.
    Raises:
        ValueError: n < 1, or labels that do not fit.
    """
    if n < 1 or (labels is not None and len(labels) != n):
        raise ValueError(f"need n >= 1 and one label for each, got n={n} and labels={labels}")
    p = next(model.parameters())
    z = torch.randn(n, model.cfg.latent, device=p.device, dtype=p.dtype, generator=generator)
    params = model.decode(z, labels)
    return model.likelihood.sample(params, generator) if draw_pixels else model.likelihood.mean(params)


def _door(model: VAE, batch: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
    """Return x and the labels the model wants; refuse impossible pixels where looking does not make a GPU wait."""
    x, labels = batch
    if x.device.type == "cpu":
        model.likelihood.check(x)
    return x, labels if model.cfg.n_classes else None


def _layers(d_in: int, hidden_1: int, hidden_2: int, d_out: int) -> list[nn.Module]:
    first, second = nn.Linear(d_in, hidden_1), nn.Linear(hidden_1, hidden_2)
    return [first, nn.SiLU(), second, nn.SiLU(), nn.Linear(hidden_2, d_out)]


def _full(x: Tensor) -> Tensor:
    """Leave half precision: divergences and likelihoods are sums of many terms."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check(cfg: VAEConfig) -> None:
    if cfg.network not in ("conv", "mlp"):
        raise ValueError(f"network must be 'conv' or 'mlp', got {cfg.network!r}")
    if cfg.network == "conv" and cfg.side % 4:
        raise ValueError(f"side must be a multiple of 4 for a convolutional VAE, got {cfg.side}")
    if bad := {k: v for k in ("side", "channels", "width", "hidden", "latent") if (v := getattr(cfg, k)) < 1}:
        raise ValueError(f"sizes must be at least 1, got {bad}")
    if cfg.n_classes < 0:
        raise ValueError(f"n_classes must be at least 0, got {cfg.n_classes}")
