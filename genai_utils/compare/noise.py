"""The families that walk from noise to data with one U-Net: diffusion, sampled by DDPM and by DDIM, and flow matching.

Sources: chapters 15 and 16 and their modules. [DDPM] Ho et al. 2020, arXiv:2006.11239, Eq. 5 (the bound).
Shapes:  as in contestant.py; T timesteps.
"""

import math

import torch
from torch import Tensor

from genai_utils.compare.contestant import Contestant, K, last
from genai_utils.compare.protocol import Protocol
from genai_utils.diffusion import (
    UNet, UNetConfig, bound_term, cosine_schedule, ddim_steps, ddpm_steps, denoiser, diffusion_loss, visit_times,
)  # fmt: skip
from genai_utils.flows.continuous import ode_log_prob
from genai_utils.flows.glow import LEVELS, dequantise
from genai_utils.flows.matching import flow_matching_loss, flow_times, velocity_field
from genai_utils.flows.ode import solve


def unet(protocol: Protocol) -> UNet:
    """Return the network of both families."""
    if protocol.side == 16:
        sizes = {"widths": (12, 24), "groups": 4, "attention": (False, True), "head_dim": 24}
    else:
        sizes = {"widths": (32, 64, 104), "attention": (False, False, True), "head_dim": None}
    return UNet(UNetConfig(side=protocol.side, n_classes=K, blocks=1, **sizes))


def start(labels: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Return noise for each label."""
    return torch.randn(len(labels), 1, side, side, generator=generator, device=labels.device)


class DiffusionContestant(Contestant):
    title, group, chapter, likelihood, costly = "Diffusion", "diffusion", "16_diffusion", "bound", True
    batch, rate, ddpm, ddim = 64, 2e-3, 50, 20  # the last two: network calls for one picture

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        self.alpha_bar = cosine_schedule()
        self.model = self.net = unet(protocol)
        self.samplers = {"ddpm": self.draw_ddpm, "ddim": self.draw_ddim}

    def loss(self, model, batch):
        return diffusion_loss(model, batch, alpha_bar=self.alpha_bar)

    def draw_ddpm(self, net: UNet, labels: Tensor, generator: torch.Generator) -> Tensor:
        times = visit_times(len(self.alpha_bar), self.ddpm)
        return self._walk(ddpm_steps, net, labels, times, generator)

    def draw_ddim(self, net: UNet, labels: Tensor, generator: torch.Generator) -> Tensor:
        times = visit_times(len(self.alpha_bar), self.ddim)
        return self._walk(ddim_steps, net, labels, times, generator)

    def _walk(self, steps, net, labels, times, generator) -> Tensor:
        denoise = denoiser(net, self.alpha_bar, labels=labels)
        x = start(labels, self.protocol.side, generator)
        return last(steps(denoise, x, self.alpha_bar, times, generator=generator)).clamp(-1, 1)

    def nats(self, net, x, labels, generator):
        """Return [DDPM] Eq. 5: the sum of all T + 1 terms, one draw of noise for each; a bound in expectation."""
        denoise = denoiser(net, self.alpha_bar, labels=labels)
        times = range(len(self.alpha_bar) + 1)
        return sum(bound_term(denoise, x, t, self.alpha_bar, generator=generator) for t in times)


class FlowMatchingContestant(Contestant):
    title, group, chapter, likelihood, costly = "Flow matching", "diffusion", "15_flow_matching", "estimate", True
    batch, rate, steps = 64, 2e-3, 10  # steps: two network calls each, by Heun's method, and one the last

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        self.model = self.net = unet(protocol)
        self.samplers = {"flow_matching": self.draw}

    @staticmethod
    def clock(t: Tensor) -> Tensor:
        """Return what the U-Net, made for a thousand timesteps, calls time."""
        return 1000 * (1 - t)

    def loss(self, model, batch):
        return flow_matching_loss(model, batch, clock=self.clock)

    def field(self, net: UNet, labels: Tensor):
        return velocity_field(net, labels=labels, clock=self.clock)

    @torch.no_grad()
    def draw(self, net: UNet, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Return pictures; the last step is Euler's: Heun's would leave half of its noise in them (chapter 15)."""
        field, (*times, end) = self.field(net, labels), flow_times(self.steps)
        x = last(solve(field, start(labels, self.protocol.side, generator), times, method="heun"))
        return last(solve(field, x, (times[-1], end), method="euler")).clamp(-1, 1)

    def nats(self, net, x, labels, generator):
        """Return the integral of the divergence, estimated with one probe, of dequantised pixels."""
        log_p = ode_log_prob(
            self.field(net, labels), dequantise(x, generator=generator), trace="hutchinson", rtol=1e-3, atol=1e-3,
            generator=generator,
        )  # fmt: skip
        return -log_p.detach() - x[0].numel() * math.log(2 / LEVELS)
