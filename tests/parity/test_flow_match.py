"""Our times, steps and mixtures of noise and data against diffusers' flow-match schedulers, Euler and Heun.

There sigma = 1 - t, and the model gives noise minus data: minus our velocity. The peers step in float32; for a finer
comparison the float64 tests let them compute in float64 and give them our times, not rounded.
"""

import sys
import types

import numpy as np
import pytest
import torch

from genai_utils.flows.matching import flow_times, interpolate
from genai_utils.flows.ode import solve

diffusers = pytest.importorskip("diffusers")

KINDS = {"euler": "FlowMatchEulerDiscreteScheduler", "heun": "FlowMatchHeunDiscreteScheduler"}
SHIFTS = (1.0, 3.0, 0.5)


class Float64(types.ModuleType):
    """torch, but its float32 is float64."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def error(ours, theirs):
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


def draw(shape, dtype, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def network(x, t):
    """Stand for a network: a smooth velocity of image and time, of about unit size."""
    return torch.sin(2 * x + 3 * t.reshape(-1, 1, 1, 1).to(x.dtype)) - 0.3 * x


def scheduler(method, dtype, monkeypatch, **options):
    kind = getattr(diffusers, KINDS[method])
    if dtype == torch.float64:
        monkeypatch.setattr(sys.modules[kind.__module__], "torch", Float64("torch"))
    return kind(**options)


def peer_walk(peer, x):
    """Return the states after each whole step of the peer: after two halves of Heun's, but for its last, an Euler."""
    path = []
    for i, timestep in enumerate(peer.timesteps):
        t = torch.full((len(x),), (1 - timestep / 1000).item(), dtype=x.dtype)
        x = peer.step(-network(x, t), timestep, x).prev_sample
        if getattr(peer, "dt", None) is None or i == len(peer.timesteps) - 1:
            path.append(x)
    return path


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("steps", [1, 4, 28, 50])
def test_times_equal_one_minus_the_sigmas_of_diffusers(steps, shift, record_property):
    peer = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    peer.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))  # the even sigmas that pipelines hand it
    ours = 1 - torch.tensor(flow_times(steps, shift=shift), dtype=torch.float64)
    record_property("sigma", error(ours, peer.sigmas.double()))
    assert len(ours) == len(peer.sigmas) and error(ours, peer.sigmas.double()) <= 1e-6


@pytest.mark.parametrize("shift", SHIFTS)
def test_interpolation_equals_scale_noise(shift, record_property):
    peer = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    x0, eps = draw((8, 3, 4, 4), torch.float32), draw((8, 3, 4, 4), torch.float32, 1)
    t = peer.timesteps[[0, 1, 30, 200, 500, 777, 998, 999]]
    ours = interpolate(eps, x0, 1 - t / 1000)
    record_property("x_t", error(ours, peer.scale_noise(x0, t, eps)))
    assert error(ours, peer.scale_noise(x0, t, eps)) <= 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("even", [True, False], ids=["even-sigmas", "its-own-sigmas"])
@pytest.mark.parametrize("shift", SHIFTS)
def test_euler_walk_equals_diffusers(shift, even, dtype, monkeypatch, record_property):
    peer, steps = scheduler("euler", dtype, monkeypatch, shift=shift), 12
    if even:
        peer.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
        times = flow_times(steps, shift=shift)
    else:
        peer.set_timesteps(steps)
        times = (1 - peer.sigmas.double()).tolist()
    if dtype == torch.float64:  # its sigmas are ours before they were rounded
        peer.sigmas = 1 - torch.tensor(times, dtype=dtype)
        peer.timesteps = 1000 * peer.sigmas[:-1]
    x = draw((4, 3, 4, 4), dtype)
    walk, path = list(solve(network, x, times, method="euler")), peer_walk(peer, x)
    assert len(walk) == len(path) == steps
    worst = max(error(ours, theirs) for (_, ours, _), theirs in zip(walk, path))
    record_property(f"{dtype}", worst)
    assert worst <= (1e-5 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shift", SHIFTS)
def test_heun_walk_equals_diffusers_which_ends_with_an_euler_step(shift, dtype, monkeypatch, record_property):
    peer, steps = scheduler("heun", dtype, monkeypatch, shift=shift), 12
    peer.set_timesteps(steps)
    times = 1 - torch.cat([peer.timesteps[:1], peer.timesteps[1::2], torch.zeros(1)]).double() / 1000
    x = draw((4, 3, 4, 4), dtype)
    walk = list(solve(network, x, times[:-1].tolist(), method="heun"))
    walk += list(solve(network, walk[-1][1], times[-2:].tolist(), method="euler"))
    path = peer_walk(peer, x)
    assert len(walk) == len(path) == steps
    worst = max(error(ours, theirs) for (_, ours, _), theirs in zip(walk, path))
    record_property(f"{dtype}", worst)
    assert worst <= (1e-5 if dtype == torch.float32 else 1e-9)


PLANTED = {
    "none": lambda x, times: solve(network, x, times, method="euler"),
    "sign of the velocity": lambda x, times: solve(lambda x, t: -network(x, t), x, times, method="euler"),
    "sigma for t": lambda x, times: solve(lambda x, t: network(x, 1 - t), x, times, method="euler"),
    "from data to noise": lambda x, times: solve(network, x, times[::-1], method="euler"),
    "no shift": lambda x, times: solve(network, x, flow_times(len(times) - 1), method="euler"),
    "shift the other way": lambda x, times: solve(network, x, flow_times(len(times) - 1, shift=1 / 3), method="euler"),
    "one step too few": lambda x, times: solve(network, x, times[:-1], method="euler"),
    "another method": lambda x, times: solve(network, x, times, method="midpoint"),
}


@pytest.mark.parametrize("plant", PLANTED)
def test_parity_notices_a_planted_error(plant, monkeypatch, record_property):
    peer, steps = scheduler("euler", torch.float64, monkeypatch, shift=3.0), 12
    peer.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
    times = flow_times(steps, shift=3.0)
    peer.sigmas = 1 - torch.tensor(times, dtype=torch.float64)
    peer.timesteps = 1000 * peer.sigmas[:-1]
    x = draw((4, 3, 4, 4), torch.float64)
    *_, (_, ours, _) = PLANTED[plant](x, times)
    theirs = peer_walk(peer, x)[-1]
    record_property("planted", error(ours, theirs))
    assert (error(ours, theirs) <= 1e-9) == (plant == "none")
