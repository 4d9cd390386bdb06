"""What is timed of the flows, and against what: RealNVP against normflows, zuko and nflows, Glow against normflows.

Every peer is built of its own library's couplings around a copy of our networks, so that all weights are the same.
nflows is timed where it is installed. Flow matching is timed against diffusers' DDIM at equal quality.
"""

import copy
import importlib.util
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from genai_utils.diffusion import UNet, cosine_schedule, ddim_steps, denoiser, visit_times
from genai_utils.flows.glow import PRESETS, Glow, GlowConfig
from genai_utils.flows.matching import flow_times, velocity_field
from genai_utils.flows.ode import solve
from genai_utils.flows.realnvp import Coupling, RealNVP, RealNVPConfig
from genai_utils.metrics.speed import count_flops
from genai_utils.results import load_results
from genai_utils.weights import load_weights
from tests.benchmarks import vae_cases
from tests.benchmarks.cases import Pair
from tests.benchmarks.harness import BAR, CaseWithBar, Suite
from tools.recipes.flows_matching import clock

REALNVP_BAR = 1.0  # the peers leave work for each layer that need not be done
SIZES = {
    "tiny": {
        "points": ((RealNVPConfig(n_couplings=4, width=8), 16), (RealNVPConfig(d=6, n_couplings=4, width=8), 8)),
        "glow": (GlowConfig(side=8, n_levels=2, n_steps=2, width=8, split_net=False), 4), "digits": 2},
    "full": {
        "points": ((RealNVPConfig(), 512), (RealNVPConfig(d=64, width=128), 256)),
        "glow": (GlowConfig(**vars(PRESETS["mnist-padded"]) | {"split_net": False}), 16), "digits": 10},
}  # fmt: skip


def plan(device: torch.device, *, tiny: bool = False, with_compile: bool = True) -> Iterator[CaseWithBar]:
    """Yield the rows of one device, all float32 and none compiled."""
    size = SIZES["tiny" if tiny else "full"]

    def row(name, n, work, *args, bar=BAR, unit="images"):
        build = lambda: work(*args, n, device)
        return CaseWithBar(name=f"{name}, batch {n}", bar=bar, unit=unit, build=build)

    works = {"log-density": density, "sample": sample, "train step": train}
    for cfg, n in size["points"]:
        for what, work in works.items():
            for peer in PEERS:
                if importlib.util.find_spec(peer):
                    name = f"RealNVP {what}, {cfg.d} numbers, {cfg.n_couplings} couplings, against {peer}"
                    yield row(name, n, work, cfg, peer, bar=REALNVP_BAR, unit="points")
    cfg, n = size["glow"]
    for what, work in {"log-density": glow_density, "sample": glow_sample, "train step": glow_train}.items():
        yield row(f"Glow {what}, {cfg.side}×{cfg.side}, {cfg.n_levels} levels of {cfg.n_steps} steps", n, work, cfg)
    steps, quality = equal_quality()
    yield row(f"{steps} Euler steps of flow-mnist, {quality}", size["digits"], digits, steps)


# RealNVP. A peer is (module, log_prob(x), sample(n), inverse(z)), all of points in our order


class Interleaved(nn.Module):
    """Our coupling's network with the shift and the scale of each number side by side."""

    def __init__(self, coupling: Coupling, bounded: bool) -> None:
        super().__init__()
        self.coupling, self.bounded = coupling, bounded

    def forward(self, kept: Tensor) -> Tensor:
        raw, shift = self.coupling.net(kept).chunk(2, dim=1)
        scale = self.coupling.bound * torch.tanh(raw) if self.bounded else raw
        return torch.stack([shift, scale], dim=2).flatten(1)


class Whole(nn.Module):
    """Our coupling's network with a context that nobody reads."""

    def __init__(self, coupling: Coupling) -> None:
        super().__init__()
        self.coupling = coupling

    def forward(self, kept: Tensor, context: None = None) -> Tensor:
        return torch.cat(self.coupling.log_scale_and_shift(kept), dim=1)


Peer = tuple[nn.Module, Callable[[Tensor], Tensor], Callable[[int], object], Callable[[Tensor], Tensor]]


def normflows_peer(model: RealNVP) -> Peer:
    """Its couplings keep the first half and then swap the halves: so points are handed over half by half."""
    import normflows as nf

    d, flows = model.cfg.d, []
    for coupling in model.couplings:
        block = nf.flows.AffineCouplingBlock(Interleaved(coupling, bounded=True))
        flows += [nf.flows.Reverse(block), nf.flows.Permute(d, mode="swap")]
    theirs = nf.NormalizingFlow(nf.distributions.DiagGaussian(d, trainable=False), flows[::-1])
    halves = torch.cat([torch.arange(0, d, 2), torch.arange(1, d, 2)])
    back = halves.argsort()
    return (
        theirs,
        lambda x: theirs.log_prob(x[:, halves]),
        theirs.sample,
        lambda z: theirs.forward(z[:, halves])[:, back],
    )


def zuko_peer(model: RealNVP) -> Peer:
    import zuko
    from zuko.flows.coupling import GeneralCouplingTransform

    class Bounded(zuko.transforms.MonotonicAffineTransform):
        """The package's own transform, with our bound of the scale in place of its own."""

        def __init__(self, shift: Tensor, raw: Tensor, bound: Tensor) -> None:
            zuko.transforms.Transform.__init__(self)
            self.shift, self.log_scale = shift, bound * torch.tanh(raw)
            self.scale = self.log_scale.exp()

    d, layers = model.cfg.d, []
    for i, coupling in enumerate(model.couplings):
        layer = GeneralCouplingTransform(d, mask=torch.arange(d) % 2 == i % 2)
        layer.hyper, layer.univariate = Interleaved(coupling, bounded=False), partial(Bounded, bound=coupling.bound)
        layers.append(layer)
    normal = zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal, torch.zeros(d), torch.ones(d), buffer=True
    )
    theirs = zuko.flows.Flow(layers, normal).to(model.couplings[0].bound.device)
    return theirs, lambda x: theirs().log_prob(x), lambda n: theirs().sample((n,)), lambda z: theirs().transform.inv(z)


def nflows_peer(model: RealNVP) -> Peer:
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.transforms.base import CompositeTransform
    from nflows.transforms.coupling import AffineCouplingTransform

    d, layers = model.cfg.d, []
    for i, coupling in enumerate(model.couplings):
        moved = (torch.arange(d) % 2 != i % 2).int()
        layer = AffineCouplingTransform(moved, lambda n_in, n_out, coupling=coupling: Whole(coupling))
        layer._scale_and_shift = _exp_and_shift  # its own is a sigmoid
        layers.append(layer)
    theirs = Flow(CompositeTransform(layers), StandardNormal([d])).to(model.couplings[0].bound.device)
    return theirs, theirs.log_prob, theirs.sample, lambda z: theirs._transform.inverse(z)[0]


def _exp_and_shift(out: Tensor) -> tuple[Tensor, Tensor]:
    log_s, shift = out.chunk(2, dim=1)
    return log_s.exp(), shift


PEERS = {"normflows": normflows_peer, "zuko": zuko_peer, "nflows": nflows_peer}


def realnvps(cfg: RealNVPConfig, peer: str, device: torch.device) -> tuple[RealNVP, RealNVP, Peer]:
    """Return ours, the copy whose networks are the peer's, and the peer; weights are random."""
    torch.manual_seed(0)
    ours = _randomise(RealNVP(cfg)).to(device)
    copied = copy.deepcopy(ours)
    return ours, copied, PEERS[peer](copied)


def density(cfg: RealNVPConfig, peer: str, n: int, device: torch.device) -> Pair:
    """The log-density of given points."""
    (ours, _, (_, log_prob, *_)), x = realnvps(cfg, peer, device), _points(cfg, n, device)
    run_ours, run_peer = (torch.no_grad()(lambda f=f: f(x)) for f in (ours.log_prob, log_prob))
    return Pair(
        ours=run_ours, peer=run_peer, error=_error(run_ours(), run_peer()), items=n, flops=count_flops(run_ours)
    )


def sample(cfg: RealNVPConfig, peer: str, n: int, device: torch.device) -> Pair:
    """Draw noise and carry it to points; the error is that of the way back from given noise.

    normflows and nflows also work out the density of what they draw, or part of it: there is no way to ask for less.
    """
    ours, _, (_, _, draw, back) = realnvps(cfg, peer, device)
    run_ours, run_peer = torch.no_grad()(lambda: ours.sample(n)), torch.no_grad()(lambda: draw(n))
    with torch.no_grad():
        z = _points(cfg, n, device)
        error = _error(ours.inverse(z)[0], back(z))
    return Pair(ours=run_ours, peer=run_peer, error=error, items=n, flops=count_flops(run_ours))


def train(cfg: RealNVPConfig, peer: str, n: int, device: torch.device) -> Pair:
    """Forward, mean negative log-density, backward, a step of fused AdamW."""
    (ours, copied, (theirs, log_prob, *_)), x = realnvps(cfg, peer, device), _points(cfg, n, device)
    own_name = {id(p): name for name, p in copied.named_parameters()}
    ours_of = {name: own_name[id(p)] for name, p in theirs.named_parameters()}

    def in_our_names(found: dict[str, Tensor]) -> dict[str, Tensor]:
        return {ours_of[name]: g for name, g in found.items()}

    flops = count_flops(lambda: ours.log_prob(x).mean().backward())
    return vae_cases._train_pair(
        (ours, lambda: -ours.log_prob(x).mean()), (theirs, lambda: -log_prob(x).mean()), in_our_names,
        flops=flops, items=n, device=device,
    )  # fmt: skip


# Glow


def glows(cfg: GlowConfig, n: int, device: torch.device) -> tuple[Glow, nn.Module, Tensor]:
    """Return ours, normflows' multi-scale flow with the same weights, and images."""
    from tests.parity.test_glow import flow_of

    torch.manual_seed(0)
    ours = _randomise(Glow(cfg)).eval()
    for module in ours.modules():
        if hasattr(module, "ready"):
            module.ready.fill_(True)  # weights are given: no batch sets them
    shape = (n, cfg.channels, cfg.side, cfg.side)
    x = (2 * torch.rand(shape, generator=vae_cases._seeded()) - 1).to(device)
    return ours.to(device), flow_of(ours).to(device), x


def glow_density(cfg: GlowConfig, n: int, device: torch.device) -> Pair:
    """The log-density of given images."""
    ours, theirs, x = glows(cfg, n, device)
    run_ours, run_peer = torch.no_grad()(lambda: ours.log_prob(x)), torch.no_grad()(lambda: theirs.log_prob(x, None))
    return Pair(
        ours=run_ours, peer=run_peer, error=_error(run_ours(), run_peer()), items=n, flops=count_flops(run_ours)
    )


def glow_sample(cfg: GlowConfig, n: int, device: torch.device) -> Pair:
    """Draw noise and carry it to images; the error is that of the images of given noise."""
    ours, theirs, x = glows(cfg, n, device)
    run_ours, run_peer = torch.no_grad()(lambda: ours.sample(n)), torch.no_grad()(lambda: theirs.sample(n))
    with torch.no_grad():
        z, _ = ours(x)
        raw = [base.loc + base.log_scale.exp() * part for base, part in zip(theirs.q0, reversed(z))]
        error = _error(ours.inverse(z)[0], theirs.forward_and_log_det(raw)[0])
    return Pair(ours=run_ours, peer=run_peer, error=error, items=n, flops=count_flops(run_ours))


def glow_train(cfg: GlowConfig, n: int, device: torch.device) -> Pair:
    """Forward, mean negative log-density, backward, a step of fused AdamW.

    The error is that of the loss and of the gradient at the pixels, to which every layer contributes: the layout of
    the weights differs.
    """
    ours, theirs, x = glows(cfg, n, device)
    found = []
    for log_prob in (ours.log_prob, partial(theirs.log_prob, y=None)):
        pixels = x.clone().requires_grad_()
        loss = -log_prob(pixels).mean()
        found.append((loss.detach()[None], torch.autograd.grad(loss, pixels)[0]))
    error = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(*found))

    def step(model, log_prob):
        opt = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

        def run():
            loss = -log_prob(x).mean()
            loss.backward()
            opt.step()
            opt.zero_grad(set_to_none=True)
            return loss.detach()

        return run

    flops = count_flops(lambda: ours.log_prob(x).mean().backward())
    ours.zero_grad(set_to_none=True)
    run_ours, run_peer = step(ours, ours.log_prob), step(theirs, partial(theirs.log_prob, y=None))
    return Pair(ours=run_ours, peer=run_peer, error=error, items=n, flops=flops)


# Flow matching

DDIM_STEPS = 8  # they divide the 1000 timesteps of the schedule, else diffusers' times would be others than ours


def equal_quality() -> tuple[int, str]:
    """Return the fewest Euler steps whose digits are no farther from MNIST than those of DDIM_STEPS of DDIM, and why.

    By the Frechet distances that chapter 15 stores. unet-mnist has twice the weights of flow-mnist; a diffusion network
    of flow-mnist's size and training does not reach such distances at all.
    """
    stored = load_results("15")["values"]["digits"]
    mean = lambda name, steps: torch.tensor(stored[name][str(steps)]["frechet"]).mean().item()
    mark = mean("unet ddim", DDIM_STEPS)
    steps = next(n for n in (2, 4, 8, 16) if mean("flow euler", n) <= mark)
    return steps, (f"distance {mean('flow euler', steps):.1f}, "
                   f"against {DDIM_STEPS} of DDIM on unet-mnist, distance {mark:.1f}")  # fmt: skip


def digits(steps: int, n: int, device: torch.device) -> Pair:
    """Digits by Euler's steps, against those by diffusers' DDIM; the error is that of its digits to our DDIM's."""
    from diffusers import DDIMScheduler

    flow, unet = (load_weights(name, UNet).to(device).eval() for name in ("flow-mnist", "unet-mnist"))
    noise = torch.randn(n, 1, 28, 28, generator=vae_cases._seeded()).to(device)
    labels, alpha_bar = torch.arange(n, device=device) % 10, cosine_schedule()
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", timestep_spacing="trailing")
    scheduler.set_timesteps(DDIM_STEPS)

    @torch.no_grad()
    def run_ours():
        field = velocity_field(flow, labels=labels, clock=clock)
        *_, (_, x, _) = solve(field, noise, flow_times(steps), method="euler")
        return x

    @torch.no_grad()
    def run_peer():
        x = noise
        for time in scheduler.timesteps:
            eps = unet(x, time.to(device).expand(n), labels)
            x = scheduler.step(eps, time, x, use_clipped_model_output=True).prev_sample
        return x

    with torch.no_grad():
        denoise = denoiser(unet, alpha_bar.to(device), labels=labels)
        *_, (_, x, _) = ddim_steps(denoise, noise, alpha_bar.to(device), visit_times(1000, DDIM_STEPS))
        flops = count_flops(run_ours)
    return Pair(ours=run_ours, peer=run_peer, error=_error(run_peer(), x), items=n, flops=flops)


def _randomise(model: nn.Module) -> nn.Module:
    """Move every weight a little, those too that begin at zero, so that no layer is the identity."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=g))
    return model


def _points(cfg: RealNVPConfig, n: int, device: torch.device) -> Tensor:
    return torch.randn(n, cfg.d, generator=vae_cases._seeded()).to(device)


def _error(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


SUITE = Suite(
    name="flows", result="bench_flows", plan=plan, seconds=15, libraries=("torch", "normflows", "zuko"),
    sources=(
        *(f"genai_utils/flows/{name}.py" for name in ("coupling", "realnvp", "glow", "matching", "ode")),
        *(f"genai_utils/weights/{name}-mnist.safetensors" for name in ("flow", "unet")),
        "tests/benchmarks/flow_cases.py", "tests/benchmarks/vae_cases.py",
    ),
)  # fmt: skip
