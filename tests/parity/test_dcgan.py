"""Our DCGAN against a plain one, written here from the paper and in the manner of the usual reference scripts.

The networks are flat lists of layers, the labels are ones and zeros, the loss is binary cross-entropy of
probabilities, the real and the fake half are differentiated one after the other, and the optimiser is Adam. Weights go
from one to the other by order, as in files that such scripts save ("main.0.weight", "main.1.weight", ...).
"""

import pytest
import torch
from torch import nn

from genai_utils.gan.dcgan import DCGAN, DCGANConfig, dcgan_step

FLOAT32, FLOAT64 = 1e-5, 1e-9  # times max(1, |out|)
CASES = {
    "grey-32": DCGANConfig(side=32, channels=1, latent=10, width_g=4, width_d=6),
    "colour-64": DCGANConfig(side=64, channels=3, latent=12, width_g=4, width_d=4),
    "grey-8": DCGANConfig(side=8, channels=1, latent=5, width_g=8, width_d=8),
}


def plain_generator(cfg, *, eps=1e-5, last=nn.Tanh, act=nn.ReLU):
    maps = cfg.width_g * cfg.side // 8
    layers = [nn.ConvTranspose2d(cfg.latent, maps, 4, 1, 0, bias=False), nn.BatchNorm2d(maps, eps), act()]
    side = 4
    while side < cfg.side // 2:
        layers += [nn.ConvTranspose2d(maps, maps // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(maps // 2, eps), act()]
        maps, side = maps // 2, side * 2
    return nn.Sequential(*layers, nn.ConvTranspose2d(maps, cfg.channels, 4, 2, 1, bias=False), last())


def plain_discriminator(cfg, *, slope=0.2, eps=1e-5):
    maps, side = cfg.width_d, cfg.side // 2
    layers = [nn.Conv2d(cfg.channels, maps, 4, 2, 1, bias=False), nn.LeakyReLU(slope)]
    while side > 4:
        layers += [nn.Conv2d(maps, 2 * maps, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * maps, eps), nn.LeakyReLU(slope)]
        maps, side = 2 * maps, side // 2
    return nn.Sequential(*layers, nn.Conv2d(maps, 1, 4, 1, 0, bias=False), nn.Sigmoid())


def randomise(network, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, v in network.state_dict().items():
            if v.is_floating_point():
                noise = torch.randn(v.shape, generator=g, dtype=v.dtype)
                if v.ndim > 1:
                    v.copy_(noise * 1.5 * v[0].numel() ** -0.5)
                else:
                    v.copy_(0.5 + noise.abs() if "var" in name else (v + 0.3 * noise))
    return network


def transfer(theirs, ours):
    """Copy weights and statistics in order; both must have the same number, and every shape must agree."""
    source, target = theirs.state_dict().values(), ours.state_dict().values()
    assert len(source) == len(target) and [v.shape for v in source] == [v.shape for v in target]
    ours.load_state_dict(dict(zip(ours.state_dict(), source)))


def pair(cfg, dtype, **changes):
    """Return (plain generator, plain discriminator, ours), of equal and random weights."""
    part = lambda build, keys: build(cfg, **{k: v for k, v in changes.items() if k in keys})
    g = randomise(part(plain_generator, ("eps", "last", "act")), 0).to(dtype)
    d = randomise(part(plain_discriminator, ("eps", "slope")), 1).to(dtype)
    model = DCGAN(cfg).to(dtype)
    transfer(g, model.generator)
    transfer(d, model.discriminator)
    return g, d, model


def error(a, b):
    return ((a - b).abs().max() / max(1.0, b.abs().max().item())).item()


def inputs(cfg, dtype, n=4):
    g = torch.Generator().manual_seed(2)
    x = torch.rand(n, cfg.channels, cfg.side, cfg.side, generator=g, dtype=torch.float64) * 2 - 1
    return torch.randn(n, cfg.latent, generator=g, dtype=torch.float64).to(dtype), x.to(dtype)


def compare(cfg, dtype, mode, **changes):
    """Return the largest error of image, logit and all gradients of both networks, in one mode."""
    g, d, model = pair(cfg, dtype, **changes)
    z, x = inputs(cfg, dtype)
    for network in (g, d, model):
        network.train(mode == "train")
    theirs, ours = g(z[:, :, None, None]), model.generator(z)
    p, r = d(x).flatten(), model.discriminator(x)
    errors = [error(ours, theirs), error(torch.sigmoid(r), p), error(r, torch.logit(p))]
    weight = torch.linspace(-1, 1, theirs.numel(), dtype=dtype).view_as(theirs)
    (theirs * weight).sum().backward()
    (ours * weight).sum().backward()
    torch.logit(p).square().sum().backward()
    r.square().sum().backward()
    for a, b in zip(
        [*model.generator.parameters(), *model.discriminator.parameters()], [*g.parameters(), *d.parameters()]
    ):
        errors.append(error(a.grad, b.grad))
    return max(errors)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("cfg", CASES.values(), ids=CASES)
def test_networks_equal_the_plain_ones_forward_and_backward(cfg, mode, record_property):
    """The logits of the plain one are recovered from its probabilities, which costs float32 digits: float64 judges."""
    found = compare(cfg, torch.float64, mode)
    record_property("float64", found)
    assert found < FLOAT64
    g, d, model = pair(cfg, torch.float32)
    z, x = inputs(cfg, torch.float32)
    for network in (g, d, model):
        network.train(mode == "train")
    with torch.no_grad():
        errors = [error(model.generator(z), g(z[:, :, None, None])), error(model.discriminator(x), d[:-1](x).flatten())]
    record_property("float32", max(errors))
    assert max(errors) < FLOAT32


PLANTED = {
    "tanh left out": {"last": nn.Identity},
    "leaky slope of 0.01": {"slope": 0.01},
    "epsilon of 1e-3": {"eps": 1e-3},
    "leaky generator": {"act": lambda: nn.LeakyReLU(0.2)},
}


@pytest.mark.parametrize("changes", PLANTED.values(), ids=PLANTED)
def test_planted_differences_are_seen(changes, record_property):
    found = compare(CASES["grey-32"], torch.float64, "train", **changes)
    record_property("planted", found)
    assert found > 1e-3  # a hundred times the limit in float32


@pytest.mark.parametrize("cfg", CASES.values(), ids=CASES)
def test_three_training_steps_end_with_the_plain_scripts_weights(cfg, record_property):
    g, d, model = pair(cfg, torch.float64)
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999)) for net in (g, d))
    step = dcgan_step(model, lr=1e-3, generator=torch.Generator().manual_seed(4))
    noise, bce = torch.Generator().manual_seed(4), nn.BCELoss()
    ones, zeros = torch.ones(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    before = [p.clone() for p in model.parameters()]
    for _ in range(3):
        _, x = inputs(cfg, torch.float64)
        logs = step((x, torch.arange(4)))
        opt_d.zero_grad()
        fake = g(torch.randn(4, cfg.latent, 1, 1, dtype=torch.float64, generator=noise))
        loss_real = bce(d(x).flatten(), ones)
        loss_real.backward()
        loss_fake = bce(d(fake.detach()).flatten(), zeros)
        loss_fake.backward()
        opt_d.step()
        opt_g.zero_grad()
        loss_g = bce(d(fake).flatten(), ones)
        loss_g.backward()
        opt_g.step()
        assert logs["loss_d"].item() == pytest.approx((loss_real + loss_fake).item(), rel=1e-9)
        assert logs["loss_g"].item() == pytest.approx(loss_g.item(), rel=1e-9)
    pairs = zip([*model.generator.state_dict().values(), *model.discriminator.state_dict().values()],
                [*g.state_dict().values(), *d.state_dict().values()])  # fmt: skip
    found = max(error(a.double(), b.double()) for a, b in pairs)
    record_property("weights", found)
    assert found < FLOAT64
    assert all((p - old).abs().max() > 1e-4 for p, old in zip(model.parameters(), before))
