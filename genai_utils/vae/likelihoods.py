"""Likelihoods p(x | z) of images in [-1, 1]: what a decoder's numbers mean, in nats, every constant included.

A constant that is left out moves no gradient, but it moves every comparison: with it, Bernoulli and logistic give a
probability of the pixels, and the Gaussian a density.

Sources: [VAE] Kingma & Welling 2014, arXiv:1312.6114, Appendix C. [PCNN] Salimans et al. 2017, arXiv:1701.05517, Eq. 2
         (discretised logistic). [CB] Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845 (why grey is not Bernoulli).
Shapes:  B batch, C channels, H = W image side; params (B, P C, H, W), P numbers for every value of x.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

HALF = 1 / 255  # half the distance between two of the 256 grey levels in [-1, 1]


class Bernoulli:
    """Two values, -1 and 1; params are the logits of 1. Grey pixels are refused: they are no coin flips, [CB]."""

    per_value = 1  # P

    def check(self, x: Tensor) -> None:
        """Raise a ValueError unless every value is -1 or 1."""
        least, largest = x.abs().aminmax()  # 4 times faster than a mask of every pixel; nan is bad, too
        if least == largest == 1:
            return
        bad = x[x.abs() != 1][0].item()
        raise ValueError(f"a Bernoulli likelihood needs pixels of -1 or 1, got {bad:.4g}; see binarise")

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return log p(x | z) in nats, (B,); -inf where x is impossible. Source: [VAE] Eq. 11."""
        log_p = F.logsigmoid(params * x).flatten(1).sum(1)  # log sigmoid(l) at 1, log sigmoid(-l) at -1
        size = x.abs().flatten(1)
        possible = (size.amin(1) == 1) & (size.amax(1) == 1)  # of whole pictures: a mask of pixels takes twice as long
        return log_p.masked_fill(~possible, -math.inf)

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected picture, (B, C, H, W) in [-1, 1]: it is grey where the decoder is in doubt."""
        return (2 * params.sigmoid()).sub_(1)  # in place: a further picture takes longer to store than to compute

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return pictures drawn from p(x | z), (B, C, H, W), values -1 and 1."""
        u = torch.rand(params.shape, device=params.device, dtype=params.dtype, generator=generator)
        return torch.where(u < params.sigmoid(), 1.0, -1.0).to(params.dtype)


class DiscretisedLogistic:
    """256 grey levels; params are location and log-scale of a logistic density that is integrated over each level."""

    per_value = 2

    def check(self, x: Tensor) -> None:
        """Raise a ValueError unless every value is one of the 256 levels k / 127.5 - 1."""
        level = (x + 1) * 127.5
        bad = ~((x.abs() <= 1) & ((level - level.round()).abs() <= 1e-3))  # "not good": so nan is bad, too
        if bad.any():
            raise ValueError(
                f"a discretised logistic needs 8-bit pixels scaled to [-1, 1], got {x[bad][0].item():.4g}; "
                "genai_utils.data.to_floats scales bytes"
            )

    def split(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Return location and log-scale, each (B, C, H, W); scales stop at exp(-7), an eighth of a level."""
        mu, log_s = params.chunk(2, dim=1)
        return mu, log_s.clamp(min=-7)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return log p(x | z) in nats, (B,); -inf where x is beyond [-1, 1]. Source: [PCNN] Eq. 2, one component.

        With a and b the upper and lower border of the level in units of the scale, sigmoid(a) - sigmoid(b) equals
        sigmoid(a) sigmoid(-b) (1 - exp(b - a)): a product, so its logarithm loses no digits in the tails.
        """
        mu, log_s = self.split(params)
        a, b = ((x - mu + h) * torch.exp(-log_s) for h in (HALF, -HALF))
        inside = F.logsigmoid(a) + F.logsigmoid(-b) + torch.log(-torch.expm1(-2 * HALF * torch.exp(-log_s)))
        log_p = torch.where(x < HALF - 1, F.logsigmoid(a), torch.where(x > 1 - HALF, F.logsigmoid(-b), inside))
        return torch.where(x.abs() <= 1, log_p, -math.inf).flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        """Return the locations, (B, C, H, W), held within [-1, 1]."""
        return self.split(params)[0].clamp(-1, 1)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return pictures drawn from p(x | z), (B, C, H, W), each value one of the 256 levels."""
        mu, log_s = self.split(params)
        u = torch.rand(mu.shape, device=mu.device, dtype=mu.dtype, generator=generator).clamp(1e-6, 1 - 1e-6)
        level = (mu + log_s.exp() * torch.logit(u) + 1) * 127.5
        return level.round().clamp(0, 255) / 127.5 - 1


class Gaussian:
    """Real values with one fixed standard deviation; params are the means. A density: no bits of anything."""

    per_value = 1

    def __init__(self, std: float = 1.0) -> None:
        """Take std, in the units of x, above 0."""
        if not std > 0:
            raise ValueError(f"std must be above 0, got {std}")
        self.std = std

    def check(self, x: Tensor) -> None:
        """Raise a ValueError unless every value is finite."""
        if not x.isfinite().all():
            raise ValueError(f"a Gaussian likelihood needs finite values, got {x[~x.isfinite()][0].item()}")

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Return the log-density log p(x | z) in nats, (B,). Source: [VAE] Appendix C.2, with one variance."""
        square = ((x - params) / self.std).square()
        return -0.5 * (square + math.log(2 * math.pi * self.std**2)).flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        """Return the means, (B, C, H, W)."""
        return params

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return pictures drawn from p(x | z), (B, C, H, W): the means and white noise."""
        return params + self.std * torch.randn(
            params.shape, device=params.device, dtype=params.dtype, generator=generator
        )


Likelihood = Bernoulli | DiscretisedLogistic | Gaussian


def likelihood(name: str, std: float = 1.0) -> Likelihood:
    """Return the likelihood called "bernoulli", "logistic" or "gaussian" (the only one that has a std).

    Raises:
        ValueError: there is no such likelihood; std is not above 0.
    """
    made = {"bernoulli": Bernoulli, "logistic": DiscretisedLogistic, "gaussian": lambda: Gaussian(std)}
    if name not in made:
        raise ValueError(f"likelihood must be one of {', '.join(made)}, got {name!r}")
    return made[name]()


def binarise(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return pictures of -1 and 1: each pixel is 1 with the probability (x + 1) / 2 that its grey level stands for.

    Drawn anew at every epoch this is the usual "dynamic" binarisation (Burda et al. 2016, arXiv:1509.00519, Sec. 5.1).
    Without a generator nothing is drawn: levels above the middle become 1.

    Args:
        x: (B, C, H, W) floats in [-1, 1].
        generator: on x's device.
    Raises:
        ValueError: a value is beyond [-1, 1] (looked at on a CPU only: a GPU would have to wait).
    """
    if x.device.type == "cpu" and (bad := ~(x.abs() <= 1)).any():
        raise ValueError(f"binarise needs pixels in [-1, 1], got {x[bad][0].item():.4g}")
    threshold = 0.5
    if generator is not None:
        threshold = torch.rand(x.shape, device=x.device, dtype=x.dtype, generator=generator)
    return torch.where((x + 1) / 2 > threshold, 1.0, -1.0).to(x.dtype)
