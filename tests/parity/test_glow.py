"""Our Glow against normflows' GlowBlock and MultiscaleFlow with all weights random: density, noise, image, gradients.

Their block takes the way from noise to image as forward; its ActNorm divides by the scale where ours multiplies, its
coupling subtracts the shift where ours adds, has shift and scale in alternate channels, and adds 2 to the raw scale
where our bias begins at 2; its levels are listed from the coarsest, and its priors depend on the channel only, which
is our `split_net=False`, or our convolution with all weights zero.
"""

import pytest
import torch

from genai_utils.flows.glow import Glow, GlowConfig, Step

nf = pytest.importorskip("normflows")

FLOAT32, FLOAT64 = 2e-4, 1e-9  # of log-probabilities, absolute
CASES = {
    "lu": GlowConfig(side=16, n_levels=2, n_steps=3, width=16, split_net=False),
    "plain-colour": GlowConfig(side=8, channels=3, n_levels=3, n_steps=2, width=16, lu=False, split_net=False),
    "convolved-prior": GlowConfig(side=8, n_levels=2, n_steps=2, width=8),
}
cases = pytest.mark.parametrize("case", CASES)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def draw(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(case, dtype):
    """Return our flow, every weight random, such that activations stay near unit size."""
    torch.manual_seed(0)
    model = Glow(CASES[case]).double()
    with torch.no_grad():
        for i, (name, p) in enumerate(model.named_parameters()):
            noise = draw(p.shape, seed=i)
            if p.ndim == 4:
                p.copy_(0 * noise if name.startswith("priors") else noise / p[0].numel() ** 0.5)
            elif "conv." in name:
                p.add_(0.1 * noise)
            else:
                p.copy_((1.5 if name.endswith("net.4.bias") else 0) + 0.2 * noise)
    return model.to(dtype).eval()


def block_of(step: Step):
    """Return normflows' block with our step's weights."""
    half = step.coupling.net[0].weight.shape[1]
    block = nf.flows.GlowBlock(2 * half, step.coupling.net[0].weight.shape[0], use_lu=step.conv.lu)
    block = block.to(step.norm.bias.dtype)
    coupling, conv, norm = block.flows
    with torch.no_grad():
        for theirs, ours in zip(coupling.flows[1].param_map.net[::2], step.coupling.net[::2]):
            weight, bias = ours.weight.clone(), ours.bias.clone()
            if ours is step.coupling.net[-1]:
                weight[:half], bias[:half], bias[half:] = -weight[:half], -bias[:half], bias[half:] - 2
                alternate = torch.arange(2 * half).view(2, half).T.flatten()
                weight, bias = weight[alternate], bias[alternate]
            theirs.weight.copy_(weight)
            theirs.bias.copy_(bias)
        if step.conv.lu:
            for theirs, ours in (("P", "P"), ("sign_S", "sign"), ("L", "L"), ("U", "U"), ("log_S", "log_s")):
                getattr(conv, theirs).copy_(getattr(step.conv, ours))
        else:
            conv.W.copy_(step.conv.W)
        norm.s.copy_(-step.norm.log_scale.view_as(norm.s))
        norm.t.copy_(-step.norm.bias.view_as(norm.t))
        norm.data_dep_init_done.fill_(1.0)
    return block


def flow_of(model: Glow):
    """Return normflows' multi-scale flow with our model's weights."""
    bases, flows, merges = [], [], []
    for level, prior, shape in zip(model.levels, model.priors, model.z_shapes):
        base = nf.distributions.GlowBase(shape).to(level[0].norm.bias.dtype)
        moments = prior.channel if prior.net is None else prior.net.bias
        with torch.no_grad():
            for theirs, ours in zip((base.loc, base.log_scale), moments.flatten().chunk(2)):
                theirs.copy_(ours.view_as(theirs))
        bases.insert(0, base)
        flows.insert(0, [block_of(step) for step in reversed(level)] + [nf.flows.Squeeze()])
        merges.append(nf.flows.Merge())
    return nf.MultiscaleFlow(bases, flows, merges[1:], class_cond=False).eval()


def pictures(model, dtype, n=8):
    cfg = model.cfg
    return draw((n, cfg.channels, cfg.side, cfg.side), 99).to(dtype)


@dtypes
@cases
def test_every_block_is_equal_both_ways(case, dtype, record_property):
    model, tolerance = build(case, dtype), FLOAT32 if dtype == torch.float32 else FLOAT64
    worst = {}
    with torch.no_grad():
        for level in model.levels:
            for i, step in enumerate(level):
                block, x = block_of(step), draw((4, step.norm.bias.numel(), 4, 4), i).to(dtype)
                for way, ours, theirs in (("z", step, block.inverse), ("x", step.inverse, block)):
                    for name, a, b in zip((way, f"log_det of {way}"), ours(x), theirs(x)):
                        error = ((a - b).abs() / b.abs().clamp(min=1)).max().item()
                        worst[name] = max(worst.get(name, 0), error)
    for name, error in worst.items():
        record_property(f"{name} {str(dtype)[6:]}", error)
    assert max(worst.values()) <= tolerance


@dtypes
@cases
def test_log_prob_noise_and_image_are_equal(case, dtype, record_property):
    model, tolerance = build(case, dtype), FLOAT32 if dtype == torch.float32 else FLOAT64
    theirs, x = flow_of(model), pictures(model, dtype)
    with torch.no_grad():
        ours, want = model.log_prob(x), theirs.log_prob(x, None)
        z, log_det = model(x)
        raw, _ = theirs.inverse_and_log_det(x)
        image, _ = theirs.forward_and_log_det(raw)
        mean_std = [(base.loc, base.log_scale.exp()) for base in theirs.q0]
        z_theirs = [(part - mean) / std for part, (mean, std) in zip(raw, mean_std)][::-1]
        errors = {
            "log_prob": (ours - want).abs().max().item(),
            "z": max((a - b).abs().max().item() for a, b in zip(z, z_theirs)),
            "image": (model.inverse(z)[0] - image).abs().max().item(),
        }
    for name, error in errors.items():
        record_property(f"{name} {str(dtype)[6:]}", error)
    assert max(errors.values()) <= tolerance and want.abs().min() > 90 and want.std() > 1


@dtypes
@cases
def test_gradients_of_the_likelihood_are_equal(case, dtype, record_property):
    model, tolerance = build(case, dtype), 1e-3 if dtype == torch.float32 else FLOAT64
    theirs, x = flow_of(model), pictures(model, dtype)
    pixels = [x.clone().requires_grad_() for _ in range(2)]
    model.log_prob(pixels[0]).mean().backward()
    theirs.log_prob(pixels[1], None).mean().backward()
    pairs = [(pixels[0].grad, pixels[1].grad)]
    for ours, flows in zip(model.levels, reversed(theirs.flows)):
        for step, block in zip(ours, reversed(flows[:-1])):
            coupling, conv, norm = block.flows
            pairs += [(a.weight.grad.abs().sort(0)[0], b.weight.grad.abs().sort(0)[0])
                      for a, b in zip(step.coupling.net[::2], coupling.flows[1].param_map.net[::2])]  # fmt: skip
            names = (("L", "L"), ("U", "U"), ("log_s", "log_S")) if step.conv.lu else (("W", "W"),)
            pairs += [(getattr(step.conv, a).grad, getattr(conv, b).grad) for a, b in names]
            pairs += [(step.norm.log_scale.grad, -norm.s.grad.flatten()), (step.norm.bias.grad, -norm.t.grad.flatten())]
    error = max(((a - b).abs() / b.abs().clamp(min=1)).max().item() for a, b in pairs)
    record_property(f"gradient {str(dtype)[6:]}", error)
    assert error <= tolerance and all(a.abs().max() > 0 for a, _ in pairs)


PLANTED = {
    "actnorm-log-det": lambda step, x: step.norm.log_scale.sum() * x,
    "conv-log-det": lambda step, x: step.conv.log_abs_det() * x,
    "one-pixel-short": lambda step, x: step.conv.log_abs_det() + step.norm.log_scale.sum(),
}


@pytest.mark.parametrize("planted", PLANTED)
@cases
def test_a_missing_log_det_of_one_layer_is_caught(case, planted, monkeypatch, record_property):
    model = build(case, torch.float32)
    x, want = pictures(model, torch.float32), flow_of(model).log_prob(pictures(model, torch.float32), None)
    whole = Step._log_volume

    def wrong(self, h):
        missing = PLANTED[planted](self, h[0, 0].numel()) if self is model.levels[1][0] else 0
        return whole(self, h) - missing

    monkeypatch.setattr(Step, "_log_volume", wrong)
    error = (model.log_prob(x) - want).abs().max().item()
    record_property("planted", error)
    assert error > 10 * FLOAT32
