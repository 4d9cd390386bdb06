"""Families that are trained by a likelihood: PixelCNN, a transformer over pixels, VAE, VQ-VAE with prior, flows.

Sources: chapters 03, 04, 09, 10 and 14, and their modules; here are only the sizes that fit the budget and how each
         family is told the class. [IGPT] Chen et al. 2020, ICML (a transformer over pixels in raster order). [GLOW]
         Kingma & Dhariwal 2018, arXiv:1807.03039 (a prior that depends on the class: their code's `ycond`).
Shapes:  as in contestant.py.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genai_utils.autoregressive import pixelcnn as pcnn
from genai_utils.autoregressive.pixel_sampler import sample_pixels
from genai_utils.compare.contestant import Contestant, K
from genai_utils.compare.protocol import Protocol
from genai_utils.flows.coupling import normal_log_prob
from genai_utils.flows.glow import LEVELS, Glow, GlowConfig, dequantise
from genai_utils.flows.realnvp import RealNVP, RealNVPConfig
from genai_utils.transformer.decoding import write_tokens
from genai_utils.transformer.gpt import GPT, GPTConfig
from genai_utils.vae.prior import CodePrior, CodePriorConfig, description_length, prior_loss, sample_codes
from genai_utils.vae.vae import VAE, VAEConfig, iwae_bound, sample, vae_loss
from genai_utils.vae.vqvae import VQVAE, VQVAEConfig, vqvae_loss


class PixelCNNContestant(Contestant):
    title, group, chapter, likelihood = "PixelCNN", "one piece at a time", "03_pixelcnn_wavenet", "exact"
    batch, rate = 32, 2e-3

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        sizes = {"width": 24, "n_layers": 8} if protocol.side == 16 else {"width": 92, "n_layers": 12}
        cfg = pcnn.PixelCNNConfig(side=protocol.side, n_mixtures=5, n_classes=K, first_kernel=5, **sizes)
        self.model = self.net = pcnn.PixelCNN(cfg)
        self.samplers = {"pixelcnn": self.draw}

    def loss(self, model, batch):
        return pcnn.pixelcnn_loss(model, batch)

    def draw(self, net: pcnn.PixelCNN, labels: Tensor, generator: torch.Generator) -> Tensor:
        *_, (_, k) = sample_pixels(net, len(labels), labels, generator=generator)
        return pcnn.from_levels(k, LEVELS)[:, None]

    def nats(self, net, x, labels, generator):
        return -net.log_prob(x, labels)


class ImageTransformerContestant(Contestant):
    """A GPT whose text is the picture: first the class, then 256 grey levels in raster order; [IGPT]."""

    title, group, chapter, likelihood = "Image transformer", "one piece at a time", "04_gpt", "exact"
    batch, rate = 32, 2e-3

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        small = {"d_model": 48, "n_layers": 3, "d_hidden": 160}
        sizes = small if protocol.side == 16 else {"d_model": 160, "n_layers": 6}
        cfg = GPTConfig(vocab=LEVELS + K, context=protocol.side**2, n_heads=4, **sizes)
        self.model = self.net = GPT(cfg)
        self.samplers = {"image_transformer": self.draw}

    def loss(self, model, batch):
        x, labels = batch
        nll = self._nats(model, x, labels).mean()
        return nll / x[0].numel(), {"nll": nll}

    def nats(self, net, x, labels, generator):
        return self._nats(net, x, labels)

    def _nats(self, net: GPT, x: Tensor, labels: Tensor) -> Tensor:
        k = pcnn.to_levels(x, LEVELS).flatten(1)  # (B, H H)
        tokens = torch.cat([LEVELS + labels[:, None], k[:, :-1]], dim=1)
        logits = net(tokens)[:, :, :LEVELS]  # classes never follow: the probability is over grey levels alone
        return F.cross_entropy(logits.transpose(1, 2), k, reduction="none").sum(1)

    def draw(self, net: GPT, labels: Tensor, generator: torch.Generator) -> Tensor:
        side = self.protocol.side
        state = GreyDecoding(net.decoding(len(labels)))
        k = write_tokens(state, LEVELS + labels[:, None], side**2, generator=generator)[:, 1:]
        return pcnn.from_levels(k.unflatten(1, (1, side, side)), LEVELS)


class GreyDecoding:
    """A `DecodingState` that offers the grey levels alone."""

    def __init__(self, state) -> None:
        self.state = state

    def step(self, tokens: Tensor) -> Tensor:
        return self.state.step(tokens)[:, :LEVELS]

    def reorder(self, rows: Tensor) -> None:
        self.state.reorder(rows)


class VAEContestant(Contestant):
    """A conditional VAE. Its picture is the mean of p(x | z), as the chapter shows it, not a draw of every pixel."""

    title, group, chapter, likelihood = "VAE", "latent variables", "09_vae", "bound"
    batch, rate, draws = 128, 2e-3, 50

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        sizes = {"width": 16, "hidden": 76} if protocol.side == 16 else {"width": 64, "hidden": 104}
        cfg = VAEConfig(side=protocol.side, latent=16, likelihood="logistic", n_classes=K, **sizes)
        self.model = self.net = VAE(cfg)
        self.samplers = {"vae": self.draw}

    def loss(self, model, batch):
        return vae_loss(model, batch)

    def draw(self, net: VAE, labels: Tensor, generator: torch.Generator) -> Tensor:
        return sample(net, len(labels), labels, generator=generator)

    def nats(self, net, x, labels, generator):
        return -iwae_bound(net, x, labels, k=self.draws, generator=generator)


class VQVAEContestant(Contestant):
    """A VQ-VAE and a transformer over its codes, each with half of the parameters; both learn from every batch."""

    title, group, chapter, likelihood = "VQ-VAE with prior", "latent variables", "10_vqvae", "bound"
    batch, rate = 64, 2e-3

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        small = protocol.side == 16
        vq = {"widths": (16, 16), "n_codes": 64} if small else {"widths": (32, 64, 64), "n_codes": 256}
        prior = {"d_model": 32, "n_layers": 3} if small else {"d_model": 128, "n_layers": 5}
        vq = VQVAEConfig(side=protocol.side, d_code=8, latent=8, restart=0.05, mid_attention=False, **vq)
        prior = CodePriorConfig(
            side=protocol.side // 2 ** (len(vq.widths) - 1), n_codes=vq.n_codes, n_classes=K, **prior
        )
        self.model = self.net = nn.ModuleDict({"vqvae": VQVAE(vq), "prior": CodePrior(prior)})
        self.samplers = {"vqvae": self.draw}

    def loss(self, model, batch):
        x, labels = batch
        loss, logs = vqvae_loss(model["vqvae"], batch)
        with torch.no_grad():
            codes = model["vqvae"].encode(x)
        nll, _ = prior_loss(model["prior"], (codes, labels))
        return loss + nll, {"nll": logs["nll"], "codes": nll}  # no gradient is shared: two losses, added

    def draw(self, net: nn.ModuleDict, labels: Tensor, generator: torch.Generator) -> Tensor:
        *_, (_, codes) = sample_codes(net["prior"], len(labels), labels, generator=generator)
        return net["vqvae"].likelihood.mean(net["vqvae"].decode(codes))

    def nats(self, net, x, labels, generator):
        return sum(description_length(net["vqvae"], net["prior"], x, labels))


class ClassPrior(nn.Module):
    """A flow whose prior is a Gaussian for each class: log p(x | y) = log N(z; mu_y, sigma_y^2) + log det; cf. [GLOW].

    Both tables begin at zero, so that all classes share N(0, 1) at first.

    Args:
        flow: with forward(x) -> (z or list of z, log_det) and inverse(z).
        shapes: of each z, without the batch; the class sets the prior of the last one only.
    """

    def __init__(self, flow: nn.Module, shapes: list[tuple[int, ...]]) -> None:
        super().__init__()
        self.flow, self.shapes = flow, shapes
        d = math.prod(shapes[-1])
        self.mean, self.log_std = nn.Embedding(K, d), nn.Embedding(K, d)
        nn.init.zeros_(self.mean.weight)
        nn.init.zeros_(self.log_std.weight)

    def log_prob(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the log-density in nats, (B,)."""
        z, log_det = self.flow(x)
        *others, deepest = z if isinstance(z, list) else [z]
        log_std = self.log_std(labels)
        own = (deepest.flatten(1) - self.mean(labels)) * torch.exp(-log_std)
        z = torch.cat([*(part.flatten(1) for part in others), own], dim=1)
        return normal_log_prob(z) + log_det - log_std.sum(1)

    @torch.no_grad()
    def sample(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Return one x for each label."""
        z = [torch.randn(len(labels), *shape, generator=generator, device=labels.device) for shape in self.shapes]
        own = z[-1].flatten(1) * self.log_std(labels).exp() + self.mean(labels)
        z[-1] = own.view_as(z[-1])
        return self.flow.inverse(z if len(z) > 1 else z[0])[0]


class FlowContestant(Contestant):
    group, chapter, likelihood = "flows", "14_flows", "bound"  # exact for the density, a bound once pixels are whole

    def loss(self, model, batch):
        x, labels = batch
        nll = self.nats(model, x, labels, None).mean()
        return nll / x[0].numel(), {"nll": nll}

    def nats(self, net, x, labels, generator):
        log_p = net.log_prob(self.points(dequantise(x, generator=generator)), labels)
        return -log_p - x[0].numel() * math.log(2 / LEVELS)

    def points(self, x: Tensor) -> Tensor:
        return x

    def draw(self, net: ClassPrior, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Return pictures; what the inverse blows up beyond numbers is black, a bad picture like any other."""
        side = self.protocol.side
        x = net.sample(labels, generator).view(-1, 1, side, side)
        return x.nan_to_num(nan=-1.0).clamp(-1, 1)


class RealNVPContestant(FlowContestant):
    """The chapter's RealNVP of vectors, on the pixels: it does not know that they lie in a plane."""

    title, batch, rate = "RealNVP", 256, 1e-3

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        d = protocol.side**2
        sizes = {"n_couplings": 6, "width": 36} if d == 256 else {"n_couplings": 6, "width": 190}
        flow = RealNVP(RealNVPConfig(d=d, actnorm=True, **sizes))
        self.model = self.net = ClassPrior(flow, [(d,)])
        self.samplers = {"realnvp": self.draw}

    def points(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class GlowContestant(FlowContestant):
    title, batch, rate = "Glow", 64, 2e-3

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        small = protocol.side == 16
        sizes = {"n_steps": 4, "width": 76} if small else {"n_levels": 3, "n_steps": 12, "width": 178}
        flow = Glow(GlowConfig(side=protocol.side, **({"n_levels": 2} if small else {}) | sizes))
        self.model = self.net = ClassPrior(flow, flow.z_shapes)
        self.samplers = {"glow": self.draw}
