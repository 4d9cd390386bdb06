"""The VAE that a learner would write: the plain reference of the benchmark, with the layers of genai_utils.vae.VAE.

It lacks what makes the package's serve a whole chapter: config, other likelihoods, labels, logs, checks of the input.
Sources: [VAE] Kingma & Welling 2014, arXiv:1312.6114.
Shapes:  B batch, Z latent width; pictures (B, 1, 28, 28).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PlainVAE(nn.Module):
    """logits, mu, log_var = vae(x)."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, log_var = self.encoder(x).float().chunk(2, dim=1)  # float: under autocast, as ours
        std = torch.exp(0.5 * log_var)
        z = mu + std * torch.randn_like(std)
        return self.decoder(z).float(), mu, log_var


def conv_vae(width: int, hidden: int, latent: int) -> PlainVAE:
    features = 2 * width * 7 * 7
    encoder = nn.Sequential(
        nn.Conv2d(1, width, 4, stride=2, padding=1), nn.SiLU(),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.SiLU(), nn.Flatten(),
        nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, features), nn.SiLU(),
        nn.Unflatten(1, (2 * width, 7, 7)),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1), nn.SiLU(),
        nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1),
    )  # fmt: skip
    return PlainVAE(encoder, decoder)


def mlp_vae(hidden: int, latent: int) -> PlainVAE:
    encoder = nn.Sequential(
        nn.Flatten(), nn.Linear(784, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(),
        nn.Linear(hidden, 2 * latent),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 784),
        nn.Unflatten(1, (1, 28, 28)),
    )  # fmt: skip
    return PlainVAE(encoder, decoder)


def plain_loss(logits: Tensor, mu: Tensor, log_var: Tensor, target: Tensor) -> Tensor:
    """Return the negative ELBO in nats per image: target (B, 1, 28, 28) is 0 or 1; [VAE] Eq. 10 and Appendix B."""
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
    return (bce + kl) / len(target)


@torch.no_grad()
def plain_sample_codes(prior: nn.Module, n: int, labels: Tensor) -> Tensor:
    """Draw n grids of codes (n, L) from a CodePrior with no cache: all codes so far go through it for every new one."""
    codes = torch.empty(n, 0, dtype=torch.int64, device=labels.device)
    for i in range(prior.cfg.side**2):
        x = torch.cat([prior.start(labels)[:, None], prior.code(codes)], dim=1) + prior.place.weight[: i + 1]
        for block in prior.blocks:
            x = block(x)
        probabilities = prior.head(prior.norm_out(x[:, -1])).softmax(1)
        codes = torch.cat([codes, torch.multinomial(probabilities, 1)], dim=1)
    return codes
