"""Flow matching: the loss against its naive sum and its marginal, couplings, reflow, and the map to diffusion."""

import itertools
import math

import pytest
import torch

from genai_utils.core import from_json, to_json
from genai_utils.diffusion.process import denoiser, target
from genai_utils.diffusion.samplers import ddim_steps
from genai_utils.diffusion.schedules import linear_schedule, visit_times
from genai_utils.diffusion.unet import UNet, UNetConfig
from genai_utils.flows.continuous import MixtureField
from genai_utils.flows.matching import (
    PREDICTIONS,
    PRESETS,
    TIMES,
    VelocityConfig,
    VelocityMLP,
    draw_times,
    flow_matching_loss,
    flow_times,
    interpolate,
    matching_level,
    matching_time,
    optimal_coupling,
    pair_loss,
    reflow_loss,
    reflow_pairs,
    split_velocity,
    straightness,
    to_velocity,
    velocity_field,
)
from genai_utils.flows.ode import solve
from genai_utils.training import adamw, fit, make_step

SMALL = VelocityConfig(d=3, width=16, n_layers=2, n_freqs=2)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gauss(seed=0):
    return torch.Generator().manual_seed(seed)


def build(cfg=SMALL, dtype=torch.float64):
    torch.manual_seed(0)
    return VelocityMLP(cfg).to(dtype)


def last(walk):
    *_, state = walk
    return state


# The network


@pytest.mark.parametrize("cfg", [SMALL, VelocityConfig(d=1, n_freqs=0, n_layers=1), *PRESETS.values()])
def test_velocity_has_the_shape_of_the_points_and_the_config_is_json(cfg):
    model, x, t = build(cfg), draw(5, cfg.d), torch.rand(5, generator=gauss(), dtype=torch.float64)
    u = model(x, t)
    assert u.shape == x.shape and u.dtype == torch.float64
    assert from_json(VelocityConfig, to_json(cfg)) == cfg
    assert (model(x, t + 0.1) - u).abs().min() > 0  # it depends on time
    assert model.sample(4, generator=gauss()).shape == (4, cfg.d)


def test_gradient_reaches_every_parameter():
    model = build()
    flow_matching_loss(model, draw(8, 3), generator=gauss())[0].backward()
    assert all(p.grad.norm() > 0 for p in model.parameters())


def test_samples_repeat_are_scaled_by_temperature_and_are_the_solvers():
    model = build()
    x = model.sample(6, generator=gauss(3))
    assert torch.equal(x, model.sample(6, generator=gauss(3))) and not torch.equal(
        x, model.sample(6, generator=gauss(4))
    )
    start = torch.randn(6, 3, generator=gauss(3), dtype=torch.float64)
    assert torch.equal(x, last(solve(model, start, flow_times(20)))[1])
    cool = model.sample(6, times=[0.0, 0.5, 1.0], method="euler", temperature=0.5, generator=gauss(3))
    assert torch.equal(cool, last(solve(model, 0.5 * start, [0.0, 0.5, 1.0], method="euler"))[1])


def test_velocity_fits_one_batch_of_pairs_and_carries_it():
    model = build(VelocityConfig(width=32, n_layers=2), torch.float32)
    start, end = 2 * draw(8, 2).float(), 2 * draw(8, 2, seed=1).float()
    start = start[optimal_coupling(start, end)]  # lines that do not cross: one field can follow them all
    g = gauss()
    step = make_step(model, lambda model, pairs: reflow_loss(model, pairs, generator=g), adamw(model, lr=2e-2))
    rows = fit(step, itertools.repeat((start, end)), steps=200, every=50, progress=False)
    assert rows[-1]["mse"] < 0.1 * rows[-1]["cost"]
    _, reached, _ = last(solve(model, start, flow_times(20)))
    assert (reached - end).square().mean() < 0.1 * (start - end).square().mean()


@pytest.mark.parametrize("bad", [{"d": 0}, {"width": 0}, {"n_layers": 0}, {"n_freqs": -1}])
def test_sizes_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        VelocityMLP(VelocityConfig(**bad))


def test_inputs_that_do_not_fit_the_network_are_refused():
    with pytest.raises(ValueError, match=r"need x \(B, 3\) and t \(B,\)"):
        build()(draw(4, 2), torch.zeros(4))
    with pytest.raises(ValueError, match=r"need x \(B, 3\) and t \(B,\)"):
        build()(draw(4, 3), torch.zeros(1))
    for bad in ({"n": 0}, {"n": 2, "temperature": 0.0}):
        with pytest.raises(ValueError, match="n >= 1 and temperature > 0"):
            build().sample(**bad)


# The loss


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("coupling", ["independent", "optimal"])
def test_loss_is_its_naive_sum(coupling, times):
    model, x = build(), draw(6, 3, seed=1)
    loss, logs = flow_matching_loss(model, x, coupling=coupling, times=times, generator=gauss(5))
    g = gauss(5)
    t = torch.rand(6, generator=g, dtype=x.dtype) if times == "uniform" else 0
    t = torch.randn(6, generator=g, dtype=x.dtype).sigmoid() if times == "logit-normal" else t
    noise = torch.randn(6, 3, generator=g, dtype=x.dtype)
    if coupling == "optimal":
        cheapest = min(
            itertools.permutations(range(6)), key=lambda order: (noise[list(order)] - x).square().sum().item()
        )
        noise = noise[list(cheapest)]
    total = cost = 0.0
    for i in range(6):
        x_t = (1 - t[i]) * noise[i] + t[i] * x[i]
        u = model(x_t[None], t[i : i + 1])[0]
        for j in range(3):
            total += (u[j] - (x[i, j] - noise[i, j])) ** 2 / 18
            cost += (x[i, j] - noise[i, j]) ** 2 / 18
    torch.testing.assert_close(loss, total)
    torch.testing.assert_close(logs["mse"], total)
    torch.testing.assert_close(logs["cost"], cost)


@pytest.mark.parametrize("t", [0.2, 0.25, 0.5])
def test_conditional_loss_has_the_gradient_of_the_marginal_loss_and_differs_by_a_constant(t):
    """Noise and data of four points each on a line, all 16 pairs alike: some pairs meet in one x_t at this time."""
    noise, data = torch.tensor([-3.0, -1, 1, 3]).double(), torch.tensor([-6.0, -2, 2, 6]).double()
    pairs = torch.cartesian_prod(noise, data)
    start, end, time = pairs[:, :1], pairs[:, 1:], torch.full((16,), t, dtype=torch.float64)
    x_t = interpolate(start, end, time)
    places = [(x_t - place).abs()[:, 0] < 1e-9 for place in x_t[:, 0].unique()]
    assert any(here.sum() > 1 for here in places)
    marginal = torch.zeros_like(x_t)
    for here in places:
        marginal[here] = (end - start)[here].mean()
    gaps = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = VelocityMLP(VelocityConfig(d=1, width=8, n_layers=1)).double()
        conditional, _ = pair_loss(model, (start, end), time)
        by_hand = (model(x_t, time) - marginal).square().mean()
        weights = list(model.parameters())
        for ours, exact in zip(torch.autograd.grad(conditional, weights), torch.autograd.grad(by_hand, weights)):
            torch.testing.assert_close(ours, exact, rtol=1e-9, atol=1e-11)
        gaps.append((conditional - by_hand).item())
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-11)
    assert gaps[0] == pytest.approx(((end - start) - marginal).square().mean().item(), abs=1e-11) and gaps[0] > 0.1


def test_no_field_has_a_lower_loss_than_the_marginal_one():
    field = MixtureField(torch.tensor([[-2.0, 0], [1, 1]]).double(), 0.4)
    start, end = field.sample(4000, gauss())
    t = draw_times(4000, like=end, generator=gauss(1))
    best = pair_loss(field, (start, end), t)[0]
    for worse in (lambda x, t: 1.05 * field(x, t), lambda x, t: field(x, t) + 0.1, lambda x, t: field(x, 0.95 * t)):
        assert pair_loss(worse, (start, end), t)[0] > best + 1e-4


def test_labels_and_clock_reach_the_network():
    seen = []

    class Net(torch.nn.Module):
        cfg = UNetConfig(n_classes=4)

        def forward(self, x, time, labels=None):
            seen.append((time, labels))
            return 0 * x

    x, labels = draw(400, 2), torch.arange(400) % 3
    clock = lambda t: 1000 * (1 - t)
    flow_matching_loss(Net(), (x, labels), clock=clock, label_drop=0.25, generator=gauss(2))
    time, given = seen.pop()
    torch.testing.assert_close(time, clock(torch.rand(400, generator=gauss(2), dtype=torch.float64)))
    dropped = given == 3
    assert torch.equal(given[~dropped], labels[~dropped]) and 60 < dropped.sum() < 140
    flow_matching_loss(Net(), (x, None))
    assert seen.pop()[1] is None
    flow_matching_loss(Net(), (x, labels))
    assert torch.equal(seen.pop()[1], labels)
    velocity_field(Net(), labels=labels, clock=clock)(x, torch.ones(400))
    assert torch.equal(seen[-1][0], torch.zeros(400)) and torch.equal(seen.pop()[1], labels)


def test_the_unet_of_diffusion_learns_by_flow_matching_unchanged():
    torch.manual_seed(0)
    net = UNet(UNetConfig(side=8, widths=(8, 16), attention=(False, True), blocks=1, head_dim=8, groups=4, n_classes=3))
    x, labels = draw(4, 1, 8, 8).float(), torch.tensor([0, 1, 0, 1])
    clock = lambda t: 1000 * (1 - t)
    loss_fn = lambda net, batch: flow_matching_loss(net, batch, clock=clock, label_drop=0.1, generator=gauss())
    rows = fit(
        make_step(net, loss_fn, adamw(net, lr=1e-2)), itertools.repeat((x, labels)), steps=20, every=1, progress=False
    )
    assert rows[-1]["mse"] < 0.7 * rows[0]["mse"]
    field = velocity_field(net.eval(), labels=labels, clock=clock)
    states = list(solve(field, x, flow_times(2)))
    assert states[-1][1].shape == x.shape and states[-1][2] == 4


def test_loss_is_in_float32_under_autocast_and_the_optimal_coupling_is_exact_there():
    model, x = build(dtype=torch.float32), draw(64, 3).float()
    with torch.autocast("cpu", torch.bfloat16):
        loss, logs = flow_matching_loss(model, x, coupling="optimal", generator=gauss())
        order = optimal_coupling(draw(64, 3, seed=1).float(), x)
    assert loss.dtype == logs["mse"].dtype == logs["cost"].dtype == torch.float32
    assert torch.equal(order, optimal_coupling(draw(64, 3, seed=1).float(), x))


def test_drawn_times_have_their_laws():
    like, n = torch.zeros(1, dtype=torch.float64), 20_000
    uniform, logit = (
        draw_times(n, like=like, generator=gauss()),
        draw_times(n, "logit-normal", like=like, generator=gauss()),
    )
    for t in (uniform, logit):
        assert t.shape == (n,) and t.dtype == torch.float64 and 0 <= t.min() and t.max() <= 1
    assert abs(uniform.mean() - 0.5) < 4 * (1 / 12 / n) ** 0.5 and abs(uniform.std() - 12**-0.5) < 0.01
    z = torch.logit(logit)
    assert abs(z.mean()) < 4 / n**0.5 and abs(z.std() - 1) < 4 / (2 * n) ** 0.5


@pytest.mark.parametrize("bad, message", [
    ({"coupling": "sinkhorn"}, "'independent', 'optimal', got 'sinkhorn'"),
    ({"times": "cosine"}, "'uniform', 'logit-normal', got 'cosine'"),
    ({"label_drop": 1.0}, "got 1.0"),
    ({"label_drop": -0.1}, "got -0.1"),
])  # fmt: skip
def test_unknown_options_of_the_loss_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        flow_matching_loss(build(), draw(4, 3), **bad)


def test_pairs_of_different_shapes_are_refused():
    t = torch.zeros(4, dtype=torch.float64)
    for start, end, n in ((draw(4, 3), draw(5, 3), 4), (draw(4, 3), draw(4, 2), 4), (draw(4, 3), draw(4, 3), 1)):
        with pytest.raises(ValueError, match="one shape"):
            pair_loss(build(), (start, end), t[:n])
    with pytest.raises(ValueError, match="one shape"):
        reflow_loss(build(), (draw(4, 3), draw(4, 2)))
    with pytest.raises(ValueError, match="must return x's shape"):
        flow_matching_loss(lambda x, t: x[:, :1], draw(4, 3))
    with pytest.raises(ValueError, match="'logit-normal', got 'cosine'"):
        reflow_loss(build(), (draw(4, 3), draw(4, 3)), times="cosine")


# Couplings


@pytest.mark.parametrize("shape", [(40, 1), (40, 5), (12, 1, 3, 3)])
def test_optimal_coupling_is_a_permutation_that_never_costs_more_than_any_other(shape):
    start, end = draw(*shape), draw(*shape, seed=1) + 0.5
    order = optimal_coupling(start, end)
    assert torch.equal(order.sort().values, torch.arange(len(start)))
    cost = lambda order: (start[order] - end).square().sum().item()
    least = cost(order)
    assert least < cost(torch.arange(len(start)))
    for seed in range(200):
        assert least <= cost(torch.randperm(len(start), generator=gauss(seed)))
    for i, j in itertools.combinations(range(len(start)), 2):  # no swap of two helps
        swapped = order.clone()
        swapped[[i, j]] = order[[j, i]]
        assert least <= cost(swapped) + 1e-12


def test_optimal_coupling_in_one_dimension_is_sorting():
    start, end = draw(50, 1), 3 * draw(50, 1, seed=1) + 100
    paired = start[optimal_coupling(start, end)]
    assert torch.equal(paired[end[:, 0].argsort()], start.sort(dim=0).values)


def test_optimal_coupling_lowers_the_cost_that_the_loss_logs_and_the_bend_that_is_left():
    """The minimum of the loss is what lines through one point disagree about: less of it, where lines cross less."""
    model, x = build(), draw(128, 3)
    far = flow_matching_loss(model, x, generator=gauss())[1]["cost"]
    near = flow_matching_loss(model, x, coupling="optimal", generator=gauss())[1]["cost"]
    assert near < 0.5 * far


def test_optimal_coupling_refuses_what_it_cannot_pair():
    with pytest.raises(ValueError, match="one shape"):
        optimal_coupling(draw(4, 2), draw(5, 2))
    bad = draw(4, 2)
    bad[1, 1] = math.nan
    with pytest.raises(ValueError, match="finite"):
        optimal_coupling(bad, draw(4, 2))


# Reflow and straightness


def transport_field(a, s, b, r):
    """Velocity of the optimal transport from N(a, s^2) to N(b, r^2): straight lines from x to b + r / s (x - a)."""

    def field(x, t):
        t = t[:, None]
        return b - a + (r - s) / ((1 - t) * s + t * r) * (x - (1 - t) * a - t * b)

    return field


def test_a_straight_field_needs_one_euler_step_and_a_bent_one_does_not():
    a, s, b, r, x = draw(3, seed=1), 1.5, draw(3, seed=2), 0.3, draw(9, 3)
    straight, bent = transport_field(a, s, b, r), MixtureField(b[None], r, start_mean=a, start_std=s)
    start = a + s * x
    exact = b + r * x
    _, one, n = last(solve(straight, start, [0.0, 1.0], method="euler"))
    torch.testing.assert_close(one, exact, rtol=0, atol=1e-12)
    assert n == 1
    _, one, _ = last(solve(bent, start, [0.0, 1.0], method="euler"))
    assert (one - exact).abs().max() > 0.1
    bends = []
    for field in (straight, bent):
        states = [start] + [y for _, y, _ in solve(field, start, flow_times(50), method="rk4")]
        bends.append(straightness(states, flow_times(50)))
    assert bends[0].max() < 1e-12 and bends[1].min() > 1e-4


@pytest.mark.parametrize("reverse", [False, True])
def test_straightness_of_a_quarter_circle_is_its_closed_form(reverse):
    """Speed pi / 2 along the arc, mean velocity of length sqrt 2: the integral of |v|^2 less |mean|^2."""
    times = flow_times(2000, shift=1.5)
    states = [torch.tensor([[math.cos(math.pi / 2 * t), math.sin(math.pi / 2 * t)]]).double() for t in times]
    states = [torch.cat([x, 2 * x]) for x in states]
    if reverse:
        states, times = states[::-1], times[::-1]
    exact = (math.pi / 2) ** 2 - 2
    ours = straightness(states, times)
    torch.testing.assert_close(ours, torch.tensor([exact, 4 * exact], dtype=torch.float64), rtol=1e-5, atol=0)


def test_straightness_refuses_states_without_a_time():
    for states, times in (([draw(2, 2)], [0.0]), ([draw(2, 2)] * 3, [0.0, 1.0]), ([draw(2, 2)] * 2, [0.5, 0.5])):
        with pytest.raises(ValueError, match="a state for each"):
            straightness(states, times)


@pytest.mark.parametrize("times", [[0.0, 0.6, 0.4, 1.0], [1.0, 0.4, 0.6, 0.0], [0.0, 0.5, 0.5, 1.0]])
def test_straightness_refuses_times_that_turn_back(times):
    with pytest.raises(ValueError, match=r"strictly increasing or strictly decreasing, got 4 for \[\d"):
        straightness([draw(2, 2)] * 4, times)


def test_reflow_pairs_are_noise_and_where_the_flow_carries_it():
    field = MixtureField(torch.tensor([[-2.0, 0], [1, 1]]).double(), 0.4)
    start = draw(10, 2)
    ours = reflow_pairs(field, start, flow_times(8), batch=4)
    assert ours[0] is start and not ours[1].requires_grad
    torch.testing.assert_close(ours[1], last(solve(field, start, flow_times(8)))[1])
    labels = torch.arange(10)
    conditional = lambda x, t, labels: labels[:, None].to(x) + 0 * x
    _, end, given = reflow_pairs(conditional, start, flow_times(2), labels=labels, method="euler", batch=3)
    torch.testing.assert_close(end, start + labels[:, None])
    assert given is labels
    for bad in ({"batch": 0}, {"labels": labels[:3]}):
        with pytest.raises(ValueError, match="batch >= 1"):
            reflow_pairs(conditional, start, flow_times(2), **bad)


def test_reflow_pairs_of_the_exact_field_cost_less_and_cross_less():
    """[RF] Theorem 3.5: the pairs of a flow cost no more than those it was trained on, for every convex cost."""
    field = MixtureField(2 * draw(4, 2, seed=3), 0.3)
    start, end = field.sample(500, gauss())
    _, reached = reflow_pairs(field, start, flow_times(40), method="rk4")
    for p in (1, 2, 4):
        before, after = (start - end).norm(dim=1) ** p, (start - reached).norm(dim=1) ** p
        assert after.mean() < before.mean()


def test_reflow_loss_is_zero_for_the_straight_field_of_its_pairs():
    a, s, b, r, x = draw(3, seed=1), 1.5, draw(3, seed=2), 0.3, draw(9, 3)
    pairs = (a + s * x, b + r * x)
    loss, logs = reflow_loss(transport_field(a, s, b, r), pairs, generator=gauss())
    assert loss < 1e-20 and logs["cost"] > 0.1
    seen = []
    reflow_loss(lambda x, t, labels: seen.append(labels) or x, (*pairs, torch.arange(9)), times="logit-normal")
    assert torch.equal(seen[0], torch.arange(9))


@pytest.mark.parametrize("shift", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_times_run_from_noise_to_data_and_shift_towards_the_noise(steps, shift):
    times = flow_times(steps, shift=shift)
    assert len(times) == steps + 1 and times[0] == 0 and times[-1] == 1
    assert all(a < b for a, b in zip(times, times[1:]))
    for t, even in zip(times, flow_times(steps)):
        assert even == pytest.approx(round(even * steps) / steps, abs=1e-12)
        if 0 < t < 1 and shift != 1:
            assert (t < even) == (shift > 1)
            odds = lambda t: (1 - t) / t
            assert odds(t) == pytest.approx(shift * odds(even))  # what the shift is: odds of noise, times it


@pytest.mark.parametrize("bad", [{"steps": 0}, {"steps": 3, "shift": 0.0}, {"steps": 3, "shift": math.inf}])
def test_steps_below_one_and_shifts_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="steps >= 1 and shift > 0"):
        flow_times(**bad)


# The map to diffusion


@pytest.mark.parametrize("predict", PREDICTIONS)
def test_every_prediction_of_diffusion_maps_to_the_velocity_of_a_gaussian_in_closed_form(predict):
    """Data N(b, r^2), noise N(0, 1): E[x0 | x_t], E[eps | x_t] and the score are known, and so is the velocity."""
    b, r, x = draw(3, seed=1), 0.6, draw(7, 3)
    field = MixtureField(b[None], r)
    for level in (0.1, 0.5, 0.9):
        t = torch.full((7,), level, dtype=torch.float64)
        variance = (1 - level) ** 2 + level**2 * r**2
        away = (x - level * b) / variance
        x0_hat, eps_hat, score = b + level * r**2 * away, (1 - level) * away, -away
        alpha_bar, _ = matching_level(t)
        v = target(x0_hat, torch.zeros(7, dtype=torch.int64), eps_hat, alpha_bar[:1], "v")
        out = {"x0": x0_hat, "eps": eps_hat, "score": score, "v": v}[predict]
        torch.testing.assert_close(to_velocity(out, x, t, predict), field(x, t), rtol=0, atol=1e-12)
        for ours, exact in zip(split_velocity(field(x, t), x, t), (x0_hat, eps_hat)):
            torch.testing.assert_close(ours, exact, rtol=0, atol=1e-12)


def test_velocity_splits_a_pair_into_its_ends_also_for_images():
    start, end, t = draw(5, 2, 3, 3), draw(5, 2, 3, 3, seed=1), torch.tensor([0.0, 0.2, 0.5, 0.8, 1.0]).double()
    x0, eps = split_velocity(end - start, interpolate(start, end, t), t)
    torch.testing.assert_close(x0, end)
    torch.testing.assert_close(eps, start)


def test_v_prediction_has_a_velocity_at_both_ends_of_time():
    eps, x0, t = draw(2, 3), draw(2, 3, seed=1), torch.tensor([0.0, 1.0]).double()
    alpha_bar, scale = matching_level(t)
    v = alpha_bar.sqrt()[:, None] * eps - (1 - alpha_bar).sqrt()[:, None] * x0
    assert scale.tolist() == [1.0, 1.0]
    torch.testing.assert_close(to_velocity(v, interpolate(eps, x0, t), t, "v"), x0 - eps)


def test_levels_and_times_are_inverse_and_scale_to_the_same_picture():
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    alpha_bar, scale = matching_level(t)
    torch.testing.assert_close(matching_time(alpha_bar), t)
    x0, eps = draw(11, 2), draw(11, 2, seed=1)
    diffused = alpha_bar.sqrt()[:, None] * x0 + (1 - alpha_bar).sqrt()[:, None] * eps
    torch.testing.assert_close(diffused, scale[:, None] * interpolate(eps, x0, t))


def test_ddim_is_euler_in_the_time_of_flow_matching():
    """The same prediction, the same levels: DDIM's steps and Euler's along the velocity are one walk, but for scale."""
    alpha_bar, x = linear_schedule(200), draw(4, 1, 3, 3)
    times = visit_times(200, 10, "trailing")
    network = lambda x, t: torch.sin(2 * x + 0.01 * t.reshape(-1, 1, 1, 1)) + 0.3 * x
    denoise = denoiser(network, alpha_bar, clip=False)
    levels = [matching_time(alpha_bar[i]).item() for i in times] + [1.0]
    steps = dict(zip(levels, times))

    def field(x, t):
        _, scale = matching_level(t[0])
        eps_hat = denoise(scale * x, torch.full((len(x),), steps[t[0].item()]))[1]
        return to_velocity(eps_hat, x, t, "eps")

    walk = ddim_steps(denoise, x, alpha_bar, times)
    start = x / matching_level(torch.tensor(levels[0], dtype=torch.float64))[1]
    for (_, diffused, _), (t, ours, _) in zip(walk, solve(field, start, levels, method="euler")):
        _, scale = matching_level(torch.tensor(t, dtype=torch.float64))
        torch.testing.assert_close(scale * ours, diffused, rtol=0, atol=1e-10)


def test_unknown_predictions_are_refused():
    with pytest.raises(ValueError, match="'eps', 'x0', 'v', 'score', got 'noise'"):
        to_velocity(draw(2, 2), draw(2, 2), torch.ones(2), "noise")
