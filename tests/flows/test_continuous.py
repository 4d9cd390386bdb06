"""Likelihoods through the ODE against closed forms; the trace's estimates; fields that are known exactly."""

import pytest
import torch
from torch import nn

from genai_utils.flows.continuous import (
    PROBES,
    MixtureField,
    divergence,
    draw_probes,
    ode_log_prob,
    transport,
)
from genai_utils.flows.ode import SolverDiverged, solve

TIGHT = {"method": "dopri5", "rtol": 1e-10, "atol": 1e-10}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gauss(seed=0):
    return torch.Generator().manual_seed(seed)


def last(walk):
    *_, state = walk
    return state


def times(n, t):
    return torch.full((n,), t, dtype=torch.float64)


W, c = 0.6 * draw(3, 3, seed=5), draw(3, seed=6)


def linear(x, t):
    """dx/dt = W x + c."""
    return x @ W.T + c


def wavy(x, t):
    return torch.sin(2 * x + t[:, None] + x.roll(1, 1)) * x.roll(1, 1)


# The trace


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3, 3)])
def test_exact_divergence_is_the_trace_of_autograds_jacobian(shape):
    x, t = draw(*shape), times(shape[0], 0.3)
    field = lambda x, t: torch.sin(x * x.flip(-1) + t.reshape(-1, *[1] * (x.ndim - 1)))
    u, volume = divergence(field, x, t)
    assert torch.equal(u, field(x, t)) and not u.requires_grad and not volume.requires_grad
    whole = torch.autograd.functional.jacobian(lambda y: field(y, t), x).reshape(2 * (shape[0], x[0].numel()))
    for i in range(len(x)):
        torch.testing.assert_close(volume[i], whole[i, :, i].trace(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", PROBES)
def test_hutchinsons_mean_of_many_probes_is_the_trace(kind):
    x, t = draw(3, 4), times(3, 0.5)
    _, exact = divergence(wavy, x, t)
    rounds = torch.stack([
        divergence(wavy, x, t, draw_probes(x, 20, kind, g))[1] for g in [gauss(1)] for _ in range(100)
    ])  # fmt: skip
    error = rounds.std(0) / len(rounds) ** 0.5
    assert (error > 0.005).all() and ((rounds.mean(0) - exact).abs() < 4 * error).all()
    assert (error < 0.2).all()


def test_rademacher_probes_are_exact_for_a_diagonal_jacobian_and_gaussian_ones_are_not():
    x, t = draw(5, 4), times(5, 0.5)
    diagonal = lambda x, t: torch.sin(3 * x) + t[:, None] * x**2
    _, exact = divergence(diagonal, x, t)
    _, one = divergence(diagonal, x, t, draw_probes(x, 1, "rademacher", gauss()))
    torch.testing.assert_close(one, exact, rtol=0, atol=1e-13)
    _, other = divergence(diagonal, x, t, draw_probes(x, 1, "gaussian", gauss()))
    assert (other - exact).abs().min() > 1e-3


def test_probes_have_mean_zero_variance_one_and_repeat_with_the_generator():
    x = torch.zeros(50, 8, dtype=torch.float64)
    for kind in PROBES:
        e = draw_probes(x, 25, kind, gauss(2))
        assert e.shape == (25, 50, 8) and e.dtype == x.dtype
        assert torch.equal(e, draw_probes(x, 25, kind, gauss(2))) and not torch.equal(e, draw_probes(x, 25, kind))
        assert e.mean().abs() < 4 / 100 and abs(e.var() - 1) < 4 * 0.015
    assert draw_probes(x, 1, "rademacher", gauss()).abs().unique().tolist() == [1.0]


def test_divergence_carries_gradients_when_asked():
    x, t, w = draw(4, 3).requires_grad_(), times(4, 0.2), draw(3, 3, seed=1).requires_grad_()
    field = lambda x, t: torch.tanh(x @ w)
    _, volume = divergence(field, x, t, differentiable=True)
    naive = ((1 - torch.tanh(x @ w).square()) * w.diagonal()).sum(1)
    for ours, theirs in zip(torch.autograd.grad(volume.sum(), (x, w)), torch.autograd.grad(naive.sum(), (x, w))):
        torch.testing.assert_close(ours, theirs)


# The likelihood


def linear_log_prob(x):
    """log p(x) where x = e^W z + shift, z standard normal: a Gaussian."""
    step = torch.zeros(4, 4, dtype=torch.float64)
    step[:3, :3], step[:3, 3] = W, c
    flow = torch.linalg.matrix_exp(step)
    mean, root = flow[:3, 3], flow[:3, :3]
    return torch.distributions.MultivariateNormal(mean, root @ root.T).log_prob(x)


def test_likelihood_through_the_ode_equals_the_closed_form_on_a_linear_field():
    x = 2 * draw(16, 3)
    ours = ode_log_prob(linear, x, **TIGHT)
    assert (ours - linear_log_prob(x)).abs().max() < 1e-8
    fixed = ode_log_prob(linear, x, times=[1 - i / 200 for i in range(201)], method="rk4")
    assert (fixed - linear_log_prob(x)).abs().max() < 1e-8


def test_hutchinsons_likelihood_is_unbiased_on_a_linear_field():
    x = draw(1, 3)
    many = ode_log_prob(
        linear, x.expand(3000, 3), trace="hutchinson", method="rk4", times=[1 - i / 10 for i in range(11)],
        generator=gauss(3),
    )  # fmt: skip
    exact = ode_log_prob(linear, x, method="rk4", times=[1 - i / 10 for i in range(11)])
    assert abs(many.mean() - exact) < 4 * many.std() / 3000**0.5 and many.std() > 0.1


def test_more_probes_narrow_the_estimate_as_their_root():
    x, spread = draw(1, 3).expand(1500, 3), []
    for n in (1, 16):
        log_p = ode_log_prob(
            linear, x, trace="hutchinson", probes=n, method="euler", times=(1, 0.5, 0), generator=gauss()
        )
        spread.append(log_p.std())
    assert 3.5 < spread[0] / spread[1] < 4.5


def test_log_det_equals_autograds_slogdet_of_the_whole_map_both_ways():
    x, options = 0.5 * draw(2, 3), {"method": "dopri5", "rtol": 2e-11, "atol": 2e-11}
    for ends in ((1.0, 0.0), (0.2, 0.9)):
        t, z, log_det, n = last(transport(wavy, x, ends, **options))
        assert t == ends[1] and log_det.shape == (2,) and n > 10
        whole = lambda y, ends=ends: last(solve(wavy, y, ends, differentiable=True, **options))[1]
        jacobian = torch.autograd.functional.jacobian(whole, x)  # (2, 3, 2, 3)
        for i in range(2):
            torch.testing.assert_close(log_det[i], jacobian[i, :, i].slogdet()[1], rtol=0, atol=1e-8)
        torch.testing.assert_close(z, last(solve(wavy, x, ends, **options))[1], rtol=0, atol=1e-9)
        _, back, undone, _ = last(transport(wavy, z, ends[::-1], **options))
        torch.testing.assert_close(back, x, rtol=0, atol=1e-9)
        torch.testing.assert_close(undone, -log_det, rtol=0, atol=1e-8)


def test_density_integrates_to_one_on_a_grid():
    axis = torch.linspace(-7, 7, 141, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    log_p = ode_log_prob(
        lambda x, t: torch.tanh(2 * x.roll(1, 1)) * (1 - t[:, None]) - 0.3 * x, x, rtol=1e-7, atol=1e-7
    )
    assert abs((log_p.exp().sum() * (axis[1] - axis[0]) ** 2).item() - 1) < 1e-4


def test_base_is_the_density_of_the_noise():
    x = draw(4, 3)
    base = lambda z: torch.distributions.Laplace(0.0, 2.0).log_prob(z).sum(1)
    zero = lambda x, t: 0 * x
    torch.testing.assert_close(ode_log_prob(zero, x, base=base), base(x))
    torch.testing.assert_close(ode_log_prob(zero, x), torch.distributions.Normal(0, 1).log_prob(x).sum(1))


def test_images_keep_their_shape_and_their_density():
    x = draw(2, 1, 3, 3)
    shrink = lambda x, t: -0.7 * x  # data = noise times e^-0.7
    states = list(transport(shrink, x, (1.0, 0.5, 0.0), **TIGHT))
    assert [z.shape for _, z, _, _ in states] == [x.shape] * 2
    torch.testing.assert_close(states[-1][2], torch.full((2,), 0.7 * 9, dtype=torch.float64), rtol=0, atol=1e-9)
    std = torch.tensor(-0.7, dtype=torch.float64).exp()
    exact = torch.distributions.Normal(0 * std, std).log_prob(x).flatten(1).sum(1)
    assert (ode_log_prob(shrink, x, **TIGHT) - exact).abs().max() < 1e-8


def test_a_flow_learns_by_its_likelihood_through_every_step():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2)).double()
    x, grid = 0.3 * draw(64, 2) + 1, [1 - i / 4 for i in range(5)]
    nll = lambda: -ode_log_prob(lambda x, t: net(x), x, method="midpoint", times=grid, differentiable=True).mean()
    (nll()).backward()
    assert all(p.grad.norm() > 0 for p in net[:2].parameters()) and net[2].weight.grad.norm() > 0
    weight, h = net[0].weight, 1e-6  # the gradient against a finite difference
    slope, values = weight.grad[3, 1].item(), []
    for sign in (1, -1):
        with torch.no_grad():
            weight[3, 1] += sign * h
        values.append(nll().item())
        with torch.no_grad():
            weight[3, 1] -= sign * h
    assert slope == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-5)
    opt, before = torch.optim.Adam(net.parameters(), lr=0.03), nll().item()
    for _ in range(40):
        opt.zero_grad()
        nll().backward()
        opt.step()
    assert nll().item() < before - 1


def test_gradients_stay_off_for_the_caller_and_on_for_the_field():
    seen = []
    field = lambda x, t: seen.append(torch.is_grad_enabled()) or -x
    with torch.no_grad():
        for _, z, log_det, _ in transport(field, draw(2, 2), (1.0, 0.5, 0.0)):
            assert not torch.is_grad_enabled() and not z.requires_grad and not log_det.requires_grad
    for _, z, _, _ in transport(field, draw(2, 2), (1.0, 0.5, 0.0)):
        assert torch.is_grad_enabled() and not z.requires_grad
    for _, _, log_det, _ in transport(field, draw(2, 2).requires_grad_(), (1.0, 0.0), differentiable=True):
        assert log_det.shape == (2,)
    assert all(seen)


# Fields that are known exactly


def mixture(d=2):
    return MixtureField(
        2 * draw(3, d, seed=1), torch.tensor([0.3, 0.6, 0.2]).double(), weights=torch.tensor([1.0, 2.0, 3.0]),
        start_mean=draw(d, seed=2), start_std=1.4,
    )  # fmt: skip


def test_field_between_two_gaussians_is_the_regression_of_the_velocity_on_the_state():
    """(velocity, x_t) is jointly Gaussian: E[v | x] = E v + cov(v, x) / var(x) (x - E x), all from the joint law."""
    a, s, b, r = 0.4, 1.3, -2.0, 0.5
    field, x = MixtureField(torch.tensor([[b]], dtype=torch.float64), r, start_mean=a, start_std=s), draw(9, 1)
    for t in (0.0, 0.3, 0.7, 1.0):
        joint = torch.tensor([[-1.0, 1.0], [1 - t, t]], dtype=torch.float64)  # of (start, end)
        covariance = joint @ torch.diag(torch.tensor([s**2, r**2], dtype=torch.float64)) @ joint.T
        mean = joint @ torch.tensor([a, b], dtype=torch.float64)
        exact = mean[0] + covariance[0, 1] / covariance[1, 1] * (x - mean[1])
        torch.testing.assert_close(field(x, times(9, t)), exact, rtol=0, atol=1e-12)
        normal = torch.distributions.Normal(mean[1], covariance[1, 1].sqrt())
        torch.testing.assert_close(field.log_prob(x, times(9, t)), normal.log_prob(x)[:, 0], rtol=0, atol=1e-12)


def test_field_between_two_gaussians_pushes_the_one_to_the_other_exactly():
    a, s, b, r, d = draw(3, seed=3), 1.3, draw(3, seed=4), 0.5, 3
    field, x = MixtureField(b[None], r, start_mean=a, start_std=s), draw(10, d)
    start = a + s * x
    for t, y, _ in solve(field, start, [0.0, 0.4, 1.0], **TIGHT):
        std = ((1 - t) ** 2 * s**2 + t**2 * r**2) ** 0.5
        torch.testing.assert_close(y, (1 - t) * a + t * b + std * x, rtol=0, atol=1e-9)
    base = lambda z: torch.distributions.Normal(a, s).log_prob(z).sum(1)
    ours = ode_log_prob(field, y, base=base, **TIGHT)
    assert (ours - torch.distributions.Normal(b, r).log_prob(y).sum(1)).abs().max() < 1e-8


def test_likelihood_through_the_field_of_a_mixture_is_the_mixtures():
    field, (start, end) = mixture(), mixture().sample(8, gauss())
    zeros, ones = times(8, 0.0), times(8, 1.0)
    ours = ode_log_prob(field, end, base=lambda z: field.log_prob(z, zeros), **TIGHT)
    assert (ours - field.log_prob(end, ones)).abs().max() < 1e-8
    parts = torch.distributions.Independent(torch.distributions.Normal(field.means, field.stds[:, None].double()), 1)
    weights = torch.distributions.Categorical(torch.tensor([1.0, 2.0, 3.0]).double())
    exact = torch.distributions.MixtureSameFamily(weights, parts).log_prob(end)
    torch.testing.assert_close(field.log_prob(end, ones), exact)
    normal = torch.distributions.Normal(draw(2, seed=2), 1.4)
    torch.testing.assert_close(field.log_prob(start, zeros), normal.log_prob(start).sum(1))


def test_field_and_density_of_a_mixture_obey_the_continuity_equation():
    field, x, h = mixture(), draw(12, 2), 1e-5
    for t in (0.2, 0.8):
        rate = (field.log_prob(x, times(12, t + h)) - field.log_prob(x, times(12, t - h))) / (2 * h)
        u, volume = divergence(field, x, times(12, t))
        y = x.clone().requires_grad_()
        (score,) = torch.autograd.grad(field.log_prob(y, times(12, t)).sum(), y)
        torch.testing.assert_close(rate, -volume - (u * score).sum(1), rtol=1e-6, atol=1e-6)


def test_samples_of_a_mixture_have_its_moments_and_repeat():
    field, n = mixture(), 20_000
    start, end = field.sample(n, gauss(1))
    again = field.sample(n, gauss(1))
    assert torch.equal(start, again[0]) and torch.equal(end, again[1])
    w = torch.tensor([1.0, 2.0, 3.0]).double() / 6
    assert ((end.mean(0) - w @ field.means).abs() < 4 * end.std(0) / n**0.5).all()
    second = w @ (field.means.square() + field.stds[:, None].square())
    assert ((end.square().mean(0) - second).abs() < 4 * end.square().std(0) / n**0.5).all()
    assert ((start.mean(0) - draw(2, seed=2)).abs() < 4 * 1.4 / n**0.5).all()
    assert abs(start.std() - (1.4**2 + draw(2, seed=2).var(correction=0)) ** 0.5) < 0.05
    assert abs(((start - start.mean(0)) * (end - end.mean(0))).mean()) < 4 * 1.4 * end.std() / n**0.5


def test_field_of_a_finite_data_set_leads_back_to_the_data():
    data = 3 * draw(5, 1, 2, 2, seed=8)
    field, x = MixtureField(data), draw(30, 1, 2, 2)
    assert field(x, times(30, 0.5)).shape == x.shape
    *_, (_, y, _) = solve(field, x, [0.0, 0.999], method="dopri5", rtol=1e-6, atol=1e-6)
    gap = (y[:, None] - data).flatten(2).norm(dim=2)
    assert (gap.min(1).values < 0.02).all() and len(gap.argmin(1).unique()) > 1
    with pytest.raises(SolverDiverged, match="stop before that time"):
        list(solve(field, x, [0.0, 0.5, 1.0], method="heun"))


# Bad input


@pytest.mark.parametrize("bad, message", [
    ({"trace": "approximate"}, "'exact', 'hutchinson', got 'approximate'"),
    ({"trace": "hutchinson", "probe": "uniform"}, "'rademacher', 'gaussian', got 'uniform'"),
    ({"trace": "hutchinson", "probes": 0}, "at least 1, got 0"),
    ({"rtol": 0.0}, "rtol=0.0"),
    ({"times": (1.0, 1.0)}, "strictly increasing or strictly decreasing"),
    ({"method": "rk45"}, "got 'rk45'"),
])  # fmt: skip
def test_unknown_options_of_the_likelihood_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        ode_log_prob(linear, draw(2, 3), **bad)


def test_fields_without_gradient_or_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="carries no gradient"):
        ode_log_prob(torch.no_grad()(linear), draw(2, 3))
    with pytest.raises(ValueError, match=r"return x's shape \(2, 3\)"):
        ode_log_prob(lambda x, t: x[:, :2], draw(2, 3))
    with pytest.raises(ValueError, match="probes must be"):
        divergence(linear, draw(2, 3), times(2, 0.0), draw(1, 3))
    with pytest.raises(ValueError, match="at least one number for each"):
        ode_log_prob(lambda x, t: x, draw(3))


@pytest.mark.parametrize("arguments, message", [
    ((torch.zeros(3),), "means must be"),
    ((torch.zeros(3, 2, dtype=torch.int64),), "means must be"),
    ((torch.zeros(3, 2), torch.ones(2)), "stds must be a number or"),
    ((torch.zeros(3, 2), -0.1), "stds >= 0"),
])  # fmt: skip
def test_parts_of_a_mixture_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MixtureField(*arguments)


def test_other_arguments_of_a_mixture_are_checked():
    means = torch.zeros(3, 2)
    for bad in ({"weights": torch.ones(2)}, {"weights": torch.tensor([1.0, 0, 1])}, {"start_std": 0.0},
                {"start_mean": torch.zeros(3)}):  # fmt: skip
        with pytest.raises(ValueError, match="weights|start_std|start_mean"):
            MixtureField(means, **bad)
    with pytest.raises(ValueError, match=r"need x \(B, \*\(2,\)\)"):
        MixtureField(means)(torch.zeros(4, 3), torch.zeros(4))
    with pytest.raises(ValueError, match="n must be at least 1"):
        MixtureField(means).sample(0)
