"""Our Dormand-Prince against torchdiffeq's dopri5 and scipy's RK45, and our fixed steps against torchdiffeq's.

The peers measure the error of a whole batch at once, ours that of its worst example: with one example they agree.
"""

import pytest
import torch

from genai_utils.flows.ode import solve

torchdiffeq = pytest.importorskip("torchdiffeq")
integrate = pytest.importorskip("scipy.integrate")

TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def field(x, t):
    """A field that turns, contracts and depends on time."""
    return torch.sin(3 * x + 5 * t[:, None]) * x.roll(1, 1) - x


def error(ours, theirs):
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


def by_scipy(x, times, tolerance):
    rhs = lambda t, y: field(torch.from_numpy(y)[None], torch.tensor([t], dtype=torch.float64))[0].numpy()
    out = integrate.solve_ivp(
        rhs, (times[0], times[-1]), x[0].numpy(), method="RK45", t_eval=times, rtol=tolerance, atol=tolerance
    )
    return torch.from_numpy(out.y.T)[:, None], out.nfev


def by_torchdiffeq(x, times, tolerance, method="dopri5", **options):
    calls = []
    rhs = lambda t, y: calls.append(t) or field(y, t.expand(len(y)))
    times = torch.tensor(times, dtype=torch.float64)
    return torchdiffeq.odeint(rhs, x, times, rtol=tolerance, atol=tolerance, method=method, **options), len(calls)


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("times", [[0.0, 2.0], [2.0, 0.0], [1.0, 0.0]])
def test_adaptive_steps_equal_scipy_one_by_one(times, tolerance, record_property):
    x = draw(1, 3)
    *_, (_, ours, n) = solve(field, x, times, method="dopri5", rtol=tolerance, atol=tolerance)
    theirs, calls = by_scipy(x, times, tolerance)
    record_property("at the end", error(ours, theirs[-1]))
    assert error(ours, theirs[-1]) <= 1e-9 and n == calls


@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_states_between_equal_scipy(tolerance, record_property):
    x, times = draw(1, 3), [2 * i / 23 for i in range(24)]
    ours = torch.stack([y for _, y, _ in solve(field, x, times, method="dopri5", rtol=tolerance, atol=tolerance)])
    theirs, _ = by_scipy(x, times, tolerance)
    record_property("interpolated", error(ours, theirs[1:]))
    assert error(ours, theirs[1:]) <= 1e-9


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("times", [[0.0, 2.0], [2.0, 0.0]])
def test_adaptive_solution_and_count_are_near_torchdiffeq(times, tolerance, record_property):
    x = draw(1, 3)
    *_, (_, ours, n) = solve(field, x, times, method="dopri5", rtol=tolerance, atol=tolerance)
    theirs, calls = by_torchdiffeq(x, times, tolerance)
    *_, (_, exact, _) = solve(field, x, times, method="dopri5", rtol=1e-12, atol=1e-12)
    record_property("difference in tolerances", error(ours, theirs[-1]) / tolerance)
    record_property("evaluations, ours by theirs", n / calls)
    assert error(ours, theirs[-1]) <= 20 * tolerance  # theirs steps past the end and interpolates
    assert error(ours, exact) <= max(2 * error(theirs[-1], exact), tolerance)
    assert n <= 1.2 * calls


def test_a_batch_is_as_accurate_as_torchdiffeqs(record_property):
    x, times = draw(64, 3), [0.0, 2.0]
    *_, (_, ours, n) = solve(field, x, times, method="dopri5", rtol=1e-6, atol=1e-6)
    theirs, calls = by_torchdiffeq(x, times, 1e-6)
    *_, (_, exact, _) = solve(field, x, times, method="dopri5", rtol=1e-12, atol=1e-12)
    record_property("evaluations, ours by theirs", n / calls)
    assert error(ours, exact) <= error(theirs[-1], exact) and n <= 2 * calls


@pytest.mark.parametrize("method, theirs", [("euler", "euler"), ("midpoint", "midpoint"), ("heun", "heun2")])
@pytest.mark.parametrize("ends", [(0.0, 2.0), (2.0, 0.0)])
def test_fixed_steps_equal_torchdiffeq(ends, method, theirs, record_property):
    x, times = draw(5, 3), torch.linspace(*ends, 14, dtype=torch.float64).tolist()
    walk = list(solve(field, x, times, method=method))
    peer, calls = by_torchdiffeq(x, times, 1e-5, theirs)
    worst = max(error(ours, state) for (_, ours, _), state in zip(walk, peer[1:]))
    record_property(method, worst)
    assert worst <= 1e-9 and walk[-1][2] == calls


PLANTED = {
    "midpoint": "heun2",
    "heun": "midpoint",
    "rk4": "rk4",
}  # torchdiffeq's rk4 is the 3/8 rule, not the classical


@pytest.mark.parametrize("method", PLANTED)
def test_parity_notices_another_method_of_the_same_order(method, record_property):
    x, times = draw(5, 3), torch.linspace(0, 2, 14, dtype=torch.float64).tolist()
    *_, (_, ours, _) = solve(field, x, times, method=method)
    peer, _ = by_torchdiffeq(x, times, 1e-5, PLANTED[method])
    record_property("planted", error(ours, peer[-1]))
    assert 1e-7 < error(ours, peer[-1]) < 0.1
