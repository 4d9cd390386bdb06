"""Our RealNVP against normflows' and nflows' couplings with the same weights: density, noise, samples and gradients.

normflows' masked flows take the way from noise to data as forward, so `Reverse` turns each; they have one network for
the scale and one for the shift, each of which here wraps ours, and it adds up log-determinants in float32, so the
float64 test adds up those of its layers. nflows' couplings get exp for their own activation of the scale, a sigmoid.
"""

import pytest
import torch
from torch import nn

from genai_utils.flows.realnvp import RealNVP, RealNVPConfig

FLOAT32, FLOAT64 = 2e-4, 1e-9  # of log-probabilities, absolute
CASES = {
    "plane": RealNVPConfig(d=2, n_couplings=8, width=32),
    "wide": RealNVPConfig(d=64, n_couplings=6, width=48, n_layers=1),
    "odd": RealNVPConfig(d=7, n_couplings=5, width=16, n_layers=3),
}
cases = pytest.mark.parametrize("case", CASES)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
peers = pytest.mark.parametrize("peer", ["normflows", "nflows"])


def draw(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(case, dtype):
    """Return our flow with every weight random, such that activations stay near unit size."""
    model = RealNVP(CASES[case]).double()
    with torch.no_grad():
        for i, (name, p) in enumerate(model.named_parameters()):
            noise = draw(p.shape, seed=i)
            p.copy_(0.5 + 0.1 * noise if name.endswith("bound") else 0.7 * noise / max(1, p[0].numel()) ** 0.5)
    return model.to(dtype).eval()


class Part(nn.Module):
    """One of the two outputs of our coupling's network, on a masked vector of all d numbers, as normflows wants it."""

    def __init__(self, coupling, keeps, index, drop):
        super().__init__()
        self.coupling, self.keeps, self.index, self.drop = coupling, keeps, index, drop

    def forward(self, masked):
        out = torch.zeros_like(masked)
        out[:, 1 - self.keeps :: 2] = self.coupling.log_scale_and_shift(masked[:, self.keeps :: 2])[self.index]
        return 0 * out if self.drop else out


class Whole(nn.Module):
    """Our coupling's network as nflows wants it, which passes a context too."""

    def __init__(self, coupling):
        super().__init__()
        self.coupling = coupling

    def forward(self, kept, context=None):
        return torch.cat(self.coupling.log_scale_and_shift(kept), dim=1)


def compose(layers):
    """Return a map that applies (z, log_det) layers in turn."""

    def walk(x):
        total = x.new_zeros(len(x))
        for layer in layers:
            x, log_det = layer(x)
            total = total + log_det
        return x, total

    return walk


def normflows_of(model, drop=None):
    nf = pytest.importorskip("normflows")
    flows = []
    for i, coupling in enumerate(model.couplings):
        mask = (torch.arange(model.cfg.d) % 2 == i % 2).to(coupling.bound.dtype)  # 1 where kept
        scale, shift = Part(coupling, i % 2, 0, i == drop), Part(coupling, i % 2, 1, False)
        flows.insert(0, nf.flows.Reverse(nf.flows.MaskedAffineFlow(mask, t=shift, s=scale)))
    base = nf.distributions.DiagGaussian(model.cfg.d, trainable=False).to(model.couplings[0].bound.dtype)
    theirs = nf.NormalizingFlow(base, flows)
    return theirs.log_prob, compose([flow.inverse for flow in reversed(flows)]), compose(flows)


def nflows_of(model, drop=None):
    coupling_module = pytest.importorskip("nflows.transforms.coupling")
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.transforms.base import CompositeTransform

    layers = []
    for i, coupling in enumerate(model.couplings):
        layer = coupling_module.AffineCouplingTransform(
            (torch.arange(model.cfg.d) % 2 != i % 2).int(),  # 1 where moved
            lambda n_in, n_out, coupling=coupling: Whole(coupling),
        )
        layer._scale_and_shift = lambda params, drop=i == drop: _split(params, drop)
        layers.append(layer)
    base = StandardNormal([model.cfg.d])
    base._log_z = base._log_z.to(model.couplings[0].bound.dtype)
    theirs = Flow(CompositeTransform(layers), base)
    return theirs.log_prob, theirs._transform.forward, theirs._transform.inverse


def _split(params, drop):
    log_s, shift = params.chunk(2, dim=1)
    return (0 * log_s if drop else log_s).exp(), shift


PEERS = {"normflows": normflows_of, "nflows": nflows_of}


@peers
@dtypes
@cases
def test_log_prob_noise_and_inverse_are_equal(case, dtype, peer, record_property):
    model, tolerance = build(case, dtype), FLOAT32 if dtype == torch.float32 else FLOAT64
    x = draw((256, model.cfg.d), 99).to(dtype)
    log_prob, there, back = PEERS[peer](model)
    with torch.no_grad():
        z, log_det = model(x)
        errors = {
            "log_prob": model.log_prob(x) - log_prob(x),
            "z": z - there(x)[0],
            "log_det": log_det - there(x)[1],
            "x": model.inverse(z)[0] - back(z)[0],
            "log_det_back": model.inverse(z)[1] - back(z)[1],
        }
    errors = {name: error.abs().max().item() for name, error in errors.items()}
    for name, error in errors.items():
        record_property(f"{name} {str(dtype)[6:]}", error)
    assert max(errors.values()) <= tolerance
    assert case != "wide" or model.log_prob(x).abs().median() > 90


@peers
@dtypes
@cases
def test_gradients_of_the_likelihood_are_equal(case, dtype, peer, record_property):
    model, tolerance = build(case, dtype), 1e-4 if dtype == torch.float32 else FLOAT64
    x = draw((64, model.cfg.d), 99).to(dtype)
    grads = []
    for log_prob in (model.log_prob, PEERS[peer](model)[0]):
        grads.append(torch.autograd.grad(log_prob(x).mean(), list(model.parameters())))
    error = max(((ours - g).abs() / g.abs().clamp(min=1)).max().item() for ours, g in zip(*grads))
    record_property(f"gradient {str(dtype)[6:]}", error)
    assert error <= tolerance and min(g.abs().max() for g in grads[0]) > 0


@peers
@cases
def test_a_missing_scale_of_one_coupling_is_caught(case, peer, record_property):
    model = build(case, torch.float32)
    x = draw((256, model.cfg.d), 99).float()
    error = (model.log_prob(x) - PEERS[peer](model, drop=2)[0](x)).abs().max().item()
    record_property("planted", error)
    assert error > 100 * FLOAT32


@cases
def test_a_missing_log_det_of_one_coupling_is_caught(case, record_property):
    model = build(case, torch.float32)
    x = draw((256, model.cfg.d), 99).float()
    coupling, halves = model.couplings[1], model._run(x)[1]
    wrong = model.log_prob(x) - halves[1].sum(1)
    error = (wrong - normflows_of(model)[0](x)).abs().max().item()
    record_property("planted", error)
    assert error > 100 * FLOAT32 and coupling.bound.numel() == halves[1].shape[1]
