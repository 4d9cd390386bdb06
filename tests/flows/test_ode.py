"""Solvers against closed forms, their orders measured, and every way in which a step can fail."""

import math

import pytest
import torch

from genai_utils.flows.ode import (
    METHODS,
    STEPS,
    A,
    A_LAST,
    C,
    SolverDiverged,
    dormand_prince_step,
    interpolate_step,
    solve,
)

COSTS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}
ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4, "dopri5": 5}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def nonlinear(x, t):
    """dx/dt = -t x^3, whose solution is x / sqrt(1 + t^2 x^2)."""
    return -t.reshape(-1, *[1] * (x.ndim - 1)) * x**3


def solution(x, t):
    return x / (1 + t**2 * x.square()).sqrt()


def grid(steps, start=0.0, end=1.0):
    return [start + (end - start) * i / steps for i in range(steps + 1)]


def last(walk):
    *_, state = walk
    return state


def plain(field):
    """Take a number for t, as a step does."""
    return lambda x, t: field(x, torch.full((len(x),), t, dtype=x.dtype))


def fixed_dormand_prince(x, steps, end):
    field, k1 = plain(nonlinear), nonlinear(x, torch.zeros(len(x), dtype=x.dtype))
    for i in range(steps):
        x, ks, _ = dormand_prince_step(field, x, end * i / steps, end / steps, k1)
        k1 = ks[-1]
    return x


@pytest.mark.parametrize("method", METHODS)
def test_error_falls_with_the_step_at_the_order_of_the_method(method):
    x, end, errors = 1 + 0.3 * draw(8, 2).abs(), 2.0, []
    for n in (64, 128):
        if method == "dopri5":
            reached = fixed_dormand_prince(x, n, end)
        else:
            _, reached, _ = last(solve(nonlinear, x, grid(n, 0.0, end), method=method))
        errors.append((reached - solution(x, end)).square().mean().sqrt().item())
    order = math.log2(errors[0] / errors[1])
    assert errors[1] > 1e-13  # rounding has no order
    assert abs(order - ORDERS[method]) < (0.3 if method == "dopri5" else 0.1), (order, errors)


def test_interpolation_within_a_step_is_of_fourth_order_and_meets_both_ends():
    x, errors, shares = 1 + 0.3 * draw(8, 2).abs(), [], [0.2, 0.5, 0.9]
    for h in (0.05, 0.025):
        t = 0.7
        here = solution(x, t)
        slope = plain(nonlinear)(here, t)
        end, ks, _ = dormand_prince_step(plain(nonlinear), here, t, h, slope)
        torch.testing.assert_close(interpolate_step(here, end, ks, h, 0.0), here, rtol=0, atol=1e-15)
        torch.testing.assert_close(interpolate_step(here, end, ks, h, 1.0), end, rtol=0, atol=1e-15)
        errors.append([
            (interpolate_step(here, end, ks, h, s) - solution(x, t + s * h)).square().mean().sqrt() for s in shares
        ])  # fmt: skip
    for coarse, fine in zip(*errors):
        assert abs(math.log2(coarse / fine) - 5) < 0.3  # the error within one step: one above the order


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(5,), (5, 3), (2, 3, 4, 4)])
def test_states_come_at_their_times_with_shape_and_count(method, shape):
    times, x = [0.0, 0.1, 0.4, 1.0], draw(*shape).tanh()
    states = list(solve(nonlinear, x, times, method=method))
    assert [t for t, _, _ in states] == times[1:]
    assert all(y.shape == shape and y.dtype == x.dtype and not y.requires_grad for _, y, _ in states)
    counts = [n for _, _, n in states]
    if method in COSTS:
        assert counts == [COSTS[method] * i for i in (1, 2, 3)]
    for t, y, _ in states:
        assert (y - solution(x, t)).abs().max() < (0.2 if method == "euler" else 0.1)


def test_count_is_the_number_of_calls_and_first_same_as_last_saves_one_a_step():
    calls = []
    field = lambda x, t: calls.append(t) or nonlinear(x, t)
    _, _, n = last(solve(field, draw(4, 2), [0.0, 2.0], method="dopri5", rtol=1e-8, atol=1e-8))
    assert n == len(calls) and (n - 2) % 6 == 0 and n > 50  # two calls to begin with, then six for each step
    starts = [t[0].item() for t in calls]
    assert len(set(starts[2:])) >= len(starts[2:]) - 2 * (n - 2) // 6  # 5 of 6 times of a step are its own


@pytest.mark.parametrize("method", METHODS)
def test_forward_then_backward_returns_to_the_start(method):
    x, times = draw(6, 2), grid(1000 if method == "euler" else 100)
    options = {"method": method, "rtol": 1e-11, "atol": 1e-11}
    field = lambda x, t: torch.sin(2 * x.roll(1, 1) + t[:, None])
    _, there, _ = last(solve(field, x, times, **options))
    _, back, _ = last(solve(field, there, times[::-1], **options))
    tolerance = {"euler": 1e-2, "midpoint": 1e-4, "heun": 1e-4, "rk4": 1e-8, "dopri5": 1e-9}[method]
    assert (there - x).abs().max() > 0.1
    torch.testing.assert_close(back, x, rtol=0, atol=tolerance)


def test_adaptive_error_follows_the_tolerance():
    x, errors, counts = 1 + draw(4, 2).abs(), [], []
    for tolerance in (1e-4, 1e-7, 1e-10):
        _, y, n = last(solve(nonlinear, x, [0.0, 3.0], method="dopri5", rtol=tolerance, atol=tolerance))
        errors.append((y - solution(x, 3.0)).abs().max().item())
        counts.append(n)
        assert errors[-1] < 10 * tolerance
    assert errors[0] > 30 * errors[1] > 900 * errors[2]
    assert counts[0] < counts[1] < counts[2]


def test_adaptive_times_between_are_interpolated_without_an_evaluation():
    start, options = draw(4, 2), {"method": "dopri5", "rtol": 1e-8, "atol": 1e-8}
    for ends, x in (([0.0, 2.0], start), ([2.0, 0.0], solution(start, 2.0))):
        few = last(solve(nonlinear, x, ends, **options))
        many = list(solve(nonlinear, x, grid(150, *ends), **options))
        assert few[2] == many[-1][2] and torch.equal(few[1], many[-1][1])
        for t, y, _ in many:
            torch.testing.assert_close(y, solution(start, t), rtol=0, atol=1e-6)


def test_one_hard_example_is_not_outvoted_by_the_batch():
    calm, hard = 0.01 * torch.ones(63, 1, dtype=torch.float64), 30 * torch.ones(1, 1, dtype=torch.float64)
    options = {"method": "dopri5", "rtol": 1e-5, "atol": 1e-5}
    _, alone, n = last(solve(nonlinear, hard, [0.0, 1.0], **options))
    _, among, m = last(solve(nonlinear, torch.cat([calm, hard]), [0.0, 1.0], **options))
    assert n == m and torch.equal(alone[0], among[-1])


def test_adaptive_step_passes_a_field_of_zeros_and_a_start_at_zero():
    _, y, n = last(solve(lambda x, t: 0 * x, draw(3, 2), [0.0, 1.0], method="dopri5"))
    assert torch.equal(y, draw(3, 2)) and n < 60
    _, y, _ = last(solve(lambda x, t: 0 * x + t[:, None], torch.zeros(2, 3).double(), [0.0, 2.0], method="dopri5"))
    torch.testing.assert_close(y, torch.full((2, 3), 2.0).double())


@pytest.mark.parametrize("method", METHODS)
def test_gradients_flow_through_integrate_and_not_through_solve(method):
    x = (1 + draw(3, 2).abs()).requires_grad_()
    options = {"method": method, "rtol": 1e-10, "atol": 1e-10}
    times = grid(1000 if method == "euler" else 50)
    _, y, _ = last(solve(nonlinear, x, times, differentiable=True, **options))
    (ours,) = torch.autograd.grad(y.sum(), x)
    (exact,) = torch.autograd.grad(solution(x, 1.0).sum(), x)
    torch.testing.assert_close(ours, exact, rtol=0, atol=3e-3 if method == "euler" else 3e-4)
    assert not last(solve(nonlinear, x, times[:2], method=method))[1].requires_grad
    assert torch.is_grad_enabled()


def test_half_precision_is_lifted_to_float32_and_the_field_may_answer_in_half():
    _, y, _ = last(solve(lambda x, t: x.bfloat16(), torch.ones(2, 2, dtype=torch.bfloat16), [0.0, 1.0]))
    assert y.dtype == torch.float32


def test_coefficients_are_consistent():
    assert all(sum(row) == pytest.approx(c, abs=1e-14) for c, row in zip((*C, 1.0), (*A, A_LAST)))


# What goes wrong


def explode(x, t):
    return x.square()  # from 1 it is infinite at t = 1


@pytest.mark.parametrize("method", STEPS)
def test_a_fixed_step_that_overflows_says_where(method):
    x = torch.full((2, 2), 1e30, dtype=torch.float32)
    with pytest.raises(SolverDiverged, match=f"{method}: x is not finite at t=0.5.*smaller steps than 0.5") as e:
        list(solve(explode, x, [0.0, 0.5, 1.0], method=method))
    assert e.value.t == 0.5 and e.value.evaluations == COSTS[method]


def test_adaptive_steps_into_a_singularity_fall_and_say_where():
    with pytest.raises(SolverDiverged, match=r"fell to .*raise rtol=1e-06") as e:
        list(solve(explode, torch.ones(2, 2).double(), [0.0, 2.0], method="dopri5", rtol=1e-6, atol=1e-6))
    assert 0.999 < e.value.t < 1.001 and e.value.evaluations > 100


def test_adaptive_steps_into_values_that_are_not_finite_say_so():
    field = lambda x, t: torch.where(t[:, None] < 0.5, x, torch.nan)
    with pytest.raises(SolverDiverged, match="values are not finite") as e:
        list(solve(field, torch.ones(2, 2).double(), [0.0, 1.0], method="dopri5"))
    assert 0.4 < e.value.t <= 0.5
    with pytest.raises(SolverDiverged, match="not finite at the start, t=0.7"):
        list(solve(field, torch.ones(2, 2).double(), [0.7, 1.0], method="dopri5"))


def test_adaptive_steps_do_not_accept_a_state_that_overflowed():
    field = lambda x, t: torch.where(t[:, None] > 0.3, 1e38, 1.0) * torch.ones_like(x)
    with pytest.raises(SolverDiverged):
        *_, (_, y, _) = solve(field, torch.full((1, 1), 3.4e38), [0.0, 1.0], method="dopri5")


def test_too_many_adaptive_steps_name_the_cure():
    with pytest.raises(SolverDiverged, match="max_steps=5.*stiff"):
        list(solve(lambda x, t: -1e4 * x, draw(2, 2), [0.0, 1.0], method="dopri5", max_steps=5))


@pytest.mark.parametrize("times", [
    [], [0.0], [0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.5, 0.3], [1.0, 0.2, 0.4], [0.0, math.nan], [0.0, math.inf],
])  # fmt: skip
@pytest.mark.parametrize("method", ["euler", "dopri5"])
def test_times_that_do_not_run_one_way_are_refused(method, times):
    with pytest.raises(ValueError, match="strictly increasing or strictly decreasing"):
        list(solve(nonlinear, draw(2, 2), times, method=method))


@pytest.mark.parametrize("bad, message", [
    ({"method": "rk45"}, "'euler', 'midpoint', 'heun', 'rk4', 'dopri5', got 'rk45'"),
    ({"method": "dopri5", "rtol": 0.0}, "rtol=0.0"),
    ({"method": "dopri5", "rtol": -1e-5}, "rtol=-1e-05"),
    ({"method": "dopri5", "atol": 0.0}, "atol=0.0"),
    ({"method": "dopri5", "atol": math.nan}, "atol=nan"),
    ({"method": "dopri5", "max_steps": 0}, "max_steps=0"),
])  # fmt: skip
def test_unknown_methods_and_tolerances_out_of_range_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        list(solve(nonlinear, draw(2, 2), [0.0, 1.0], **bad))


@pytest.mark.parametrize("method", METHODS)
def test_a_field_of_another_shape_is_refused(method):
    with pytest.raises(ValueError, match=r"return x's shape \(2, 3\), got \(2, 1\)"):
        list(solve(lambda x, t: x[:, :1], draw(2, 3), [0.0, 1.0], method=method))


@pytest.mark.parametrize("x", [torch.zeros(()), torch.zeros(0, 2), torch.zeros(2, 2, dtype=torch.int64)])
def test_a_state_without_examples_or_of_whole_numbers_is_refused(x):
    with pytest.raises(ValueError, match="x must be"):
        list(solve(nonlinear, x, [0.0, 1.0]))
