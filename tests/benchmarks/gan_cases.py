"""What is timed of the GANs, and against what: a naive StyleGAN2, pytorch-pretrained-biggan, a plain DCGAN script.

The naive StyleGAN2 is that of the tests: it convolves image after image, and where a side doubles or halves it puts
zeros between pixels or computes every place to keep one in four.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from genai_utils.gan import DCGAN, BigGAN, DCGANConfig, StyleDiscriminator, StyleGANConfig, StyleGenerator
from genai_utils.gan.dcgan import PRESETS, dcgan_step
from genai_utils.gan.gan import gan_step
from genai_utils.gan.losses import minimax_d, r1_penalty
from genai_utils.gan.modulation import scaled_conv
from genai_utils.metrics.speed import count_flops
from tests.benchmarks import vae_cases
from tests.benchmarks.cases import Pair
from tests.benchmarks.harness import BAR, CaseWithBar, Suite
from tests.gan import naive_stylegan as naive

FUSED_BAR = 0.6  # StyleGAN2's modulated convolution to twice the side; at the same side both sides do the same work
FORWARD_BAR = 0.8  # the whole generator, of which these are a part
TRUNCATION = 0.43  # of BigGAN, between two for which statistics are stored
R1 = 10.0

# Layout of biggan-deep-128 at a quarter of its width
BIGGAN = {"output_dim": 128, "z_dim": 128, "class_embed_dim": 128, "channel_width": 32, "num_classes": 1000}
SIZES = {
    "tiny": {
        "style": StyleGANConfig(side=16, channels=3, latent=8, d_style=8, base=64, max_width=8), "maps": (6, 4, 8),
        "biggan": BIGGAN | {
            "output_dim": 16, "z_dim": 8, "class_embed_dim": 8, "channel_width": 8, "num_classes": 10,
            "layers": [[False, 16, 16], [True, 16, 8], [False, 8, 4], [True, 4, 2], [False, 2, 1]],
            "attention_layer_position": 3},
        "dcgan": DCGANConfig(side=16, latent=8, width_g=4, width_d=4)},
    "full": {  # StyleGAN2 with the widths of its preset for CIFAR-10, at 64x64
        "style": StyleGANConfig(side=64, channels=3, latent=128, d_style=128, base=4096, max_width=128),
        "maps": (64, 64, 32), "biggan": BIGGAN, "dcgan": PRESETS["mnist"]},
}  # fmt: skip


def plan(device: torch.device, *, tiny: bool = False, with_compile: bool = True) -> Iterator[CaseWithBar]:
    """Yield the rows of one device, all float32 and none compiled."""
    size = SIZES["tiny" if tiny else "full"]

    def row(name, n, work, *args, bar=BAR, unit="images"):
        return CaseWithBar(
            name=f"{name}, batch {n}", bar=bar, unit=unit, build=lambda: work(*args, n, device)
        )  # fmt: skip

    inputs, outputs, side = size["maps"]
    for up, what in ((False, f"{side}×{side}"), (True, f"{side // 2}×{side // 2} to twice the side")):
        name = f"Modulated convolution, {inputs} to {outputs} maps, {what}"
        yield row(name, 4, convolution, inputs, outputs, side // 2 if up else side, up, bar=FUSED_BAR if up else BAR)
    cfg = size["style"]
    yield row(f"StyleGAN2 generator forward, {cfg.side}×{cfg.side}", 4, style_forward, cfg, bar=FORWARD_BAR)
    yield row(f"StyleGAN2 discriminator step with R1, {cfg.side}×{cfg.side}", 4, style_step, cfg)
    config = size["biggan"]
    yield row(f"BigGAN-deep forward, {config['output_dim']}×{config['output_dim']}", 4, biggan_forward, config)
    yield row(f"DCGAN step, {size['dcgan'].side}×{size['dcgan'].side}", 64, dcgan, size["dcgan"])


def convolution(inputs: int, outputs: int, side: int, up: bool, n: int, device: torch.device) -> Pair:
    """Modulate, demodulate, convolve, with `up` also filter: from one weight and a style for each image."""
    g = vae_cases._seeded()
    x, style = torch.randn(n, inputs, side, side, generator=g), 1 + 0.3 * torch.randn(n, inputs, generator=g)
    weight = torch.randn(outputs, inputs, 3, 3, generator=g)
    x, style, weight = (t.to(device) for t in (x, style, weight))
    blur = StyleGenerator(SIZES["tiny"]["style"]).synthesis.resample.to(device).blur

    def run_ours():
        y = scaled_conv(x, weight, style, up=up)
        return blur(y, pad=1, gain=4) if up else y

    def run_peer():
        out = []
        for image, scales in zip(x, style):
            own = naive.modulated(weight, scales, demodulate=True)
            if up:
                y = F.conv2d(naive.stuff(image[None]), own.flip(2, 3), padding=2)
                out.append(4 * naive.filtered(y, 1, 1))
            else:
                out.append(F.conv2d(image[None], own, padding=1))
        return torch.cat(out)

    return _forward(run_ours, run_peer, n)


def style_forward(cfg: StyleGANConfig, n: int, device: torch.device) -> Pair:
    """From z to pictures, with the same noise on both sides."""
    model = randomise(StyleGenerator(cfg)).to(device).eval().requires_grad_(False)
    g, convs = vae_cases._seeded(), model.synthesis.convs
    z = torch.randn(n, cfg.latent, generator=g).to(device)
    noises = [torch.randn(n, 1, conv.side, conv.side, generator=g).to(device) for conv in convs]
    state = model.state_dict()
    return _forward(lambda: model(z, noise=noises), lambda: naive.generator(state, cfg, z, noises), n)


def style_step(cfg: StyleGANConfig, n: int, device: torch.device) -> Pair:
    """The discriminator's loss on real and fake pictures with R1 on the real ones, backward, a step of fused AdamW.

    The error is that of the gradients in float64: in float32, where the differences are about 1e-5, a rounding may put
    one of a million activations on the other side of the leaky ReLU's bend, and the slope there is another.
    """
    torch.manual_seed(0)
    model, g = randomise(StyleDiscriminator(cfg)), vae_cases._seeded()
    real, fake = (torch.randn(n, cfg.channels, cfg.side, cfg.side, generator=g) for _ in range(2))
    exact = style_pair(copy.deepcopy(model).double(), real.double(), fake.double(), torch.device("cpu"))
    return replace(style_pair(model.to(device), real.to(device), fake.to(device), device), error=exact.error)


def style_pair(ours: StyleDiscriminator, real: Tensor, fake: Tensor, device: torch.device) -> Pair:
    peer, cfg = copy.deepcopy(ours), ours.cfg

    def loss_ours():
        return minimax_d(ours(real), ours(fake)) + 0.5 * R1 * r1_penalty(ours, real)

    def loss_peer():
        weights, x = dict(peer.named_parameters()), real.clone().requires_grad_()
        r_real, r_fake = naive.discriminator(weights, cfg, x), naive.discriminator(weights, cfg, fake)
        (slope,) = torch.autograd.grad(r_real.sum(), x, create_graph=True)
        penalty = slope.square().sum((1, 2, 3)).mean()
        return F.softplus(-r_real).mean() + F.softplus(r_fake).mean() + 0.5 * R1 * penalty

    flops = _count(lambda: loss_ours().backward())
    return vae_cases._train_pair(
        (ours, loss_ours), (peer, loss_peer), dict, flops=flops, items=len(real), device=device
    )  # fmt: skip


def biggans(config: dict[str, Any], device: torch.device) -> tuple[BigGAN, nn.Module]:
    """Return ours and theirs with the same random weights: ours reads the files of theirs."""
    import pytorch_pretrained_biggan as published

    torch.manual_seed(0)
    peer = published.BigGAN(published.BigGANConfig.from_dict(_published_defaults() | config))
    g = vae_cases._seeded()
    with torch.no_grad():
        for p in peer.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * (p[0].numel() ** -0.5 if p.ndim > 1 else 0.5))
        for name, b in peer.named_buffers():
            if name.endswith(("running_means", "running_vars")):
                b.copy_(0.3 * torch.randn(b.shape, generator=g) if "means" in name else 0.5 + torch.rand(b.shape))
        peer.train()
        for _ in range(2):  # the spectral norms find their vectors
            peer(torch.randn(2, peer.config.z_dim, generator=g), _one_hot(2, peer.config.num_classes), TRUNCATION)
    peer.eval()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(peer.config.to_json_string())
        torch.save(peer.state_dict(), Path(folder) / "pytorch_model.bin")
        ours = BigGAN.from_pretrained(folder)
    return ours.to(device), peer.to(device)


def biggan_forward(config: dict[str, Any], n: int, device: torch.device) -> Pair:
    """From z and classes to pictures; spectral norms divide on both sides, as both do in evaluation."""
    ours, peer = biggans(config, device)
    z = torch.randn(n, config["z_dim"], generator=vae_cases._seeded()).to(device)
    classes = _one_hot(n, config["num_classes"]).to(device)
    labels = classes.argmax(1)
    return _forward(
        lambda: ours(z, labels, truncation=TRUNCATION), lambda: peer(z, classes, TRUNCATION), n
    )  # fmt: skip


class PlainDCGAN(nn.Module):
    """The two networks as flat lists of layers; the discriminator ends in a sigmoid."""

    def __init__(self, cfg: DCGANConfig) -> None:
        super().__init__()
        maps, side = cfg.width_g * cfg.side // 8, 4
        layers = [nn.ConvTranspose2d(cfg.latent, maps, 4, 1, 0, bias=False), nn.BatchNorm2d(maps), nn.ReLU(True)]
        while side < cfg.side // 2:
            layers += [nn.ConvTranspose2d(maps, maps // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(maps // 2),
                       nn.ReLU(True)]  # fmt: skip
            maps, side = maps // 2, 2 * side
        self.generator = nn.Sequential(*layers, nn.ConvTranspose2d(maps, cfg.channels, 4, 2, 1, bias=False), nn.Tanh())
        maps, side = cfg.width_d, cfg.side // 2
        layers = [nn.Conv2d(cfg.channels, maps, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True)]
        while side > 4:
            layers += [nn.Conv2d(maps, 2 * maps, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * maps),
                       nn.LeakyReLU(0.2, True)]  # fmt: skip
            maps, side = 2 * maps, side // 2
        self.discriminator = nn.Sequential(*layers, nn.Conv2d(maps, 1, 4, 1, 0, bias=False), nn.Sigmoid())


Optimisers = tuple[torch.optim.Optimizer, torch.optim.Optimizer]  # of the generator, of the discriminator


def plain_step(model: PlainDCGAN, cfg: DCGANConfig, opts: Optimisers) -> Callable[[Tensor], Tensor]:
    """The loop of the usual script: real and fake half differentiated one after the other, losses read for the log."""
    (opt_g, opt_d), criterion = opts, nn.BCELoss()
    g, d = model.generator, model.discriminator

    def step(real: Tensor) -> Tensor:
        n = len(real)
        d.zero_grad()
        label = torch.full((n,), 1.0, device=real.device)
        loss_real = criterion(d(real).view(-1), label)
        loss_real.backward()
        fake = g(torch.randn(n, cfg.latent, device=real.device)[:, :, None, None])
        label.fill_(0.0)
        loss_fake = criterion(d(fake.detach()).view(-1), label)
        loss_fake.backward()
        opt_d.step()
        g.zero_grad()
        label.fill_(1.0)
        loss_g = criterion(d(fake).view(-1), label)
        loss_g.backward()
        opt_g.step()
        return torch.stack([loss_real + loss_fake, loss_g]).detach()

    return step


def dcgans(cfg: DCGANConfig, device: torch.device) -> tuple[DCGAN, PlainDCGAN]:
    """Return ours and the plain one with the same random weights: their layers have the same order."""
    torch.manual_seed(0)
    ours, peer = DCGAN(cfg), PlainDCGAN(cfg)
    for mine, theirs in ((ours.generator, peer.generator), (ours.discriminator, peer.discriminator)):
        theirs.load_state_dict(dict(zip(theirs.state_dict(), mine.state_dict().values(), strict=True)))
    return ours.to(device), peer.to(device)


def dcgan(cfg: DCGANConfig, n: int, device: torch.device) -> Pair:
    """An update of the discriminator and one of the generator; both sides' Adam is fused.

    The error is that of the weights' first changes by plain gradient descent, which are the gradients: Adam would
    divide rounding errors by their own size.
    """
    x = (2 * torch.rand(n, cfg.channels, cfg.side, cfg.side, generator=vae_cases._seeded()) - 1).to(device)
    moved = []
    for model in dcgans(cfg, device):
        before = [p.detach().clone() for p in model.parameters()]
        opts = tuple(torch.optim.SGD(net.parameters(), lr=1e-2) for net in (model.generator, model.discriminator))
        step = gan_step(model, *opts) if isinstance(model, DCGAN) else plain_step(model, cfg, opts)
        vae_cases._same_draws(lambda step=step: step(x))
        moved.append([(p - old).detach() for p, old in zip(model.parameters(), before)])
    error = torch.stack([(a - b).abs().max() / b.abs().max() for a, b in zip(*moved, strict=True)]).max().item()
    ours, peer = dcgans(cfg, device)
    opts = tuple(torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=True)
                 for net in (peer.generator, peer.discriminator))  # fmt: skip
    step, run_plain = dcgan_step(ours), plain_step(peer, cfg, opts)

    def run_ours():
        logs = step(x)
        return torch.stack([logs["loss_d"], logs["loss_g"]])

    flops = count_flops(lambda: dcgan_step(copy.deepcopy(ours))(x))
    return Pair(ours=run_ours, peer=lambda: run_plain(x), error=error, items=n, flops=flops)


def randomise(network: nn.Module) -> nn.Module:
    """Give biases and noise strengths values, so that all that is computed shows; weights are random as they are."""
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in network.named_parameters():
            if name.endswith(("bias", "noise_strength")):
                p.add_(0.1 * torch.randn(p.shape, generator=g))
    return network


def _count(run: Callable[[], object]) -> int:
    """Return the operations of `run`, as `count_flops`, whose counter refuses gradients of gradients in a module."""

    class Counter(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if rule := flop_registry.get(func._overloadpacket):
                self.total += rule(*args, **(kwargs or {}), out_val=out)
            return out

    with Counter() as counter:
        run()
    return counter.total


def _one_hot(n: int, n_classes: int) -> Tensor:
    return F.one_hot(7 * torch.arange(n) % n_classes, n_classes).float()


def _published_defaults() -> dict[str, Any]:
    from genai_utils.gan.published_biggan import DEFAULTS

    return DEFAULTS


def _forward(run_ours: Callable[[], Tensor], run_peer: Callable[[], Tensor], items: int) -> Pair:
    run_ours, run_peer = (torch.no_grad()(run) for run in (run_ours, run_peer))
    theirs = run_peer()
    error = ((run_ours() - theirs).abs() / theirs.abs().clamp(min=1)).max().item()
    return Pair(ours=run_ours, peer=run_peer, error=error, items=items, flops=count_flops(run_ours))


SUITE = Suite(
    name="gan", result="bench_gan", plan=plan, seconds=30, libraries=("torch", "pytorch_pretrained_biggan"),
    sources=(
        *(f"genai_utils/gan/{name}.py" for name in (
            "biggan", "dcgan", "equal", "gan", "losses", "modulation", "stylegan")),
        "tests/benchmarks/gan_cases.py", "tests/benchmarks/vae_cases.py", "tests/gan/naive_stylegan.py",
    ),
)  # fmt: skip
