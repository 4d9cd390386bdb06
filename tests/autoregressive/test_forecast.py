"""Forecasts: densities, causality, paths against closed forms, baselines against theory, scores by hand."""

import math

import pytest
import torch

from genai_utils.autoregressive.forecast import (
    Forecaster, ForecasterConfig, LinearAutoregression, SeasonalNaive, crps, forecast, forecast_loss, inside,
    linear_autoregression, seasonal_naive,
)  # fmt: skip
from genai_utils.autoregressive.rnn import CELLS
from genai_utils.core import from_json, seed_all, to_json
from genai_utils.training import adamw, make_step


def build(cell="lstm", n_layers=2, centre=40.0, scale=5.0, seed=0):
    torch.manual_seed(seed)
    model = Forecaster(ForecasterConfig(cell=cell, d_hidden=6, n_layers=n_layers)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.5)
    model.fit_scale(torch.tensor([centre - scale, centre + scale]))
    return model.eval()


def series(n=3, T=8, seed=1):
    return 40 + 5 * torch.randn(n, T, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def every_cell():
    return pytest.mark.parametrize("cell", CELLS)


@every_cell()
def test_forecaster_gives_a_distribution_at_every_place_and_gradient_reaches_every_parameter(cell):
    model, x = build(cell), series()
    mean, std, _ = model(x)
    assert mean.shape == std.shape == (3, 8) and (std > 0.05).all()
    forecast_loss(model, (x, series(seed=2)))[0].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


@every_cell()
def test_distribution_sees_all_values_up_to_its_place_and_none_after(cell):
    model, x = build(cell), series(n=1)
    both = torch.stack(model(x)[:2])[:, 0]
    for j in range(8):
        changed = x.clone()
        changed[0, j] += 3
        difference = (torch.stack(model(changed)[:2])[:, 0] - both).abs().amax(0)
        assert torch.equal(difference[:j], torch.zeros(j, dtype=torch.float64)), f"value {j} leaks"
        assert (difference[j:] > 1e-9).all(), f"value {j} is not seen"


def test_loss_is_that_of_torchs_normal_distribution():
    model, x, targets = build(), series(), series(seed=2)
    mean, std, _ = model(x)
    loss, logs = forecast_loss(model, (x, targets))
    torch.testing.assert_close(loss, -torch.distributions.Normal(mean, std).log_prob(targets).mean())
    torch.testing.assert_close(logs["absolute"], (mean - targets).abs().mean())


def test_series_in_other_units_has_its_forecast_in_those_units():
    """Values a u + b: mean and std follow, and the loss, a density, moves by log a."""
    model, other = build(), build()
    other.fit_scale(torch.tensor([3 * 35.0 - 7, 3 * 45.0 - 7]))
    x, targets = series(), series(seed=2)
    (mean, std, _), (mean_other, std_other, _) = model(x), other(3 * x - 7)
    torch.testing.assert_close(mean_other, 3 * mean - 7)
    torch.testing.assert_close(std_other, 3 * std)
    difference = forecast_loss(other, (3 * x - 7, 3 * targets - 7))[0] - forecast_loss(model, (x, targets))[0]
    assert difference.item() == pytest.approx(math.log(3))


def test_scale_is_that_of_the_training_part_and_travels_with_the_weights():
    model, values = Forecaster(ForecasterConfig()), 100 + 7 * torch.randn(500, generator=seeded())
    model.fit_scale(values)
    assert model.centre.item() == pytest.approx(values.mean().item(), rel=1e-6)
    assert model.scale.item() == pytest.approx(values.std(correction=0).item(), rel=1e-6)
    again = Forecaster(ForecasterConfig())
    again.load_state_dict(model.state_dict())
    x = series().float()
    assert torch.equal(again(x)[0], model(x)[0])


def test_untrained_head_of_zeros_expects_the_last_value_again():
    model, x = build(), series()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.2, -50.0]))
    mean, std, _ = model(x)
    torch.testing.assert_close(mean, x + 0.2 * 5)
    torch.testing.assert_close(std, torch.full_like(x, 0.01 * 5))  # never certain


def test_forecaster_learns_a_wave_and_how_noisy_it_is():
    """Of a sine with noise of 0.1 a good forecast knows the wave: its std is near 0.1, against 0.7 of the wave."""
    seed_all(0)
    values = torch.sin(torch.arange(400) * (2 * math.pi / 10)) + 0.1 * torch.randn(400, generator=seeded())
    model = Forecaster(ForecasterConfig(d_hidden=16))
    model.fit_scale(values)
    windows = values.unfold(0, 31, 10)
    step = make_step(model, forecast_loss, adamw(model, 2e-2))
    for _ in range(60):
        logs = step((windows[:, :-1], windows[:, 1:]))
    floor = 0.5 * math.log(2 * math.pi * math.e) + math.log(0.1)
    assert floor - 0.2 < logs["nll"].item() < floor + 0.7 and logs["absolute"] < 0.17


# Paths


@every_cell()
@pytest.mark.parametrize("rows", [None, 2])
def test_paths_are_drawn_value_by_value_from_the_model(cell, rows):
    """Against the naive sampler, which reads history and draws anew for every value: the same noise, the same paths."""
    model = build(cell)
    history = series(n=rows or 1)
    found = forecast(model, history if rows else history[0], 5, 4, generator=seeded(3))
    assert found.shape == ((2, 4, 5) if rows else (4, 5)) and not found.requires_grad
    g, past = seeded(3), history.repeat_interleave(4, dim=0)
    for _ in range(5):
        mean, std, _ = model(past)
        noise = torch.randn(len(past), 1, generator=g, dtype=torch.float64)
        past = torch.cat([past, mean[:, -1:] + std[:, -1:] * noise], dim=1).detach()
    naive = past[:, 8:].unflatten(0, (-1, 4))
    torch.testing.assert_close(found, naive if rows else naive[0], rtol=1e-10, atol=1e-10)


def test_first_step_of_the_paths_has_the_mean_and_the_spread_of_the_model():
    model, history, n = build(), series(n=1)[0], 20_000
    mean, std, _ = model(history[None])
    first = forecast(model, history, 1, n, generator=seeded())[:, 0]
    assert abs(first.mean() - mean[0, -1]) < 4 * std[0, -1] / n**0.5
    assert abs(first.std() / std[0, -1] - 1) < 4 / (2 * n) ** 0.5


def test_paths_repeat_with_the_generator():
    model, history = build(), series(n=1)[0]
    a, b, c = (forecast(model, history, 4, 3, generator=seeded(s)) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


# Baselines


def test_seasonal_naive_repeats_the_last_season_with_a_spread_that_grows_each_season():
    """Variance std^2 (k + 1), with k whole seasons before the step: the textbook's interval."""
    history = series(n=1, T=50)[0]
    fitted = seasonal_naive(history, 7)
    errors = torch.stack([history[i] - history[i - 7] for i in range(7, 50)])
    assert fitted.period == 7 and fitted.std == pytest.approx(errors.square().mean().sqrt().item())
    n = 20_000
    paths = fitted.sample(history, 16, n, generator=seeded())
    assert paths.shape == (n, 16)
    for k in range(16):
        std = fitted.std * (k // 7 + 1) ** 0.5
        assert abs(paths[:, k].mean() - history[50 - 7 + k % 7]) < 4 * std / n**0.5
        assert abs(paths[:, k].std() / std - 1) < 4 / (2 * n) ** 0.5


def test_autoregression_finds_the_numbers_that_made_a_series():
    """AR(2): estimates within four of the standard errors that theory gives, std / sqrt(N) scaled by the spread."""
    truth = LinearAutoregression(intercept=3.0, weights=(0.6, -0.3), std=2.0)
    values = truth.sample(torch.zeros(50), 4_000, 1, generator=seeded())[0]
    found = linear_autoregression(values, 2)
    spread = values.std().item()
    for mine, true in zip(found.weights, truth.weights):
        assert abs(mine - true) < 4 * 2.0 / (spread * (1 - 0.46**2) ** 0.5 * 4_000**0.5)
    assert found.std == pytest.approx(2.0, rel=4 / (2 * 4_000) ** 0.5)
    assert found.intercept == pytest.approx(3.0, abs=0.3)


def test_autoregression_equals_least_squares_by_hand_and_divides_by_the_degrees_of_freedom():
    values = series(n=1, T=20)[0]
    found = linear_autoregression(values.float(), 3)
    table = torch.tensor([[1, *(values.float()[i - k].item() for k in (1, 2, 3))] for i in range(3, 20)]).double()
    target = values.float().double()[3:]
    by_hand = torch.linalg.solve(table.T @ table, table.T @ target)
    torch.testing.assert_close(torch.tensor([found.intercept, *found.weights], dtype=torch.float64), by_hand)
    residual = target - table @ by_hand
    assert found.std == pytest.approx((residual.square().sum() / (17 - 4)).sqrt().item())


def test_paths_of_an_autoregression_have_the_moments_of_theory():
    """AR(1) from x: mean c (1 - w^k) / (1 - w) + w^k x, variance std^2 (1 - w^2k) / (1 - w^2)."""
    w, n = 0.8, 20_000
    fitted = LinearAutoregression(intercept=1.0, weights=(w,), std=0.5)
    paths = fitted.sample(torch.tensor([9.0, 20.0]), 6, n, generator=seeded())
    for k in range(1, 7):
        mean, std = (1 - w**k) / (1 - w) + w**k * 20, 0.5 * ((1 - w ** (2 * k)) / (1 - w**2)) ** 0.5
        assert abs(paths[:, k - 1].mean() - mean) < 4 * std / n**0.5
        assert abs(paths[:, k - 1].std() / std - 1) < 4 / (2 * n) ** 0.5


def test_autoregression_continues_a_noiseless_recurrence_exactly():
    values = [1.0, 2.0, -0.5]
    for _ in range(12):
        values.append(0.4 + 0.5 * values[-1] - 0.2 * values[-2] + 0.3 * values[-3])
    fitted = linear_autoregression(torch.tensor(values[:12], dtype=torch.float64), 3)
    paths = fitted.sample(torch.tensor(values[:12], dtype=torch.float64), 3, 2, generator=seeded())
    torch.testing.assert_close(paths, torch.tensor([values[12:]] * 2, dtype=torch.float64), rtol=1e-6, atol=1e-6)


# Scores


def test_crps_equals_the_double_sum_over_pairs():
    samples = torch.randn(30, 4, dtype=torch.float64, generator=seeded())
    value = torch.tensor([-3.0, 0.0, 0.3, 8.0], dtype=torch.float64)
    by_hand = [
        sum(abs(x - v) for x in s) / 30 - sum(abs(x - y) for x in s for y in s) / (2 * 30**2)
        for s, v in zip(samples.T.tolist(), value.tolist())
    ]
    torch.testing.assert_close(crps(samples, value), torch.tensor(by_hand, dtype=torch.float64))


def test_crps_of_many_normal_samples_is_that_of_the_normal_distribution():
    """Closed form of Gneiting & Raftery 2007: std (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi))."""
    n = 20_000
    samples = 3 * torch.randn(n, dtype=torch.float64, generator=seeded()) + 1
    for value in (1.0, 4.0, -8.0):
        z = torch.tensor((value - 1) / 3, dtype=torch.float64)
        normal = torch.distributions.Normal(0.0, 1.0)
        exact = 3 * (z * (2 * normal.cdf(z) - 1) + 2 * normal.log_prob(z).exp() - 1 / math.sqrt(math.pi))
        assert abs(crps(samples, value) - exact) < 4 * 3 / n**0.5


def test_crps_of_one_sample_is_the_absolute_error():
    assert crps(torch.tensor([2.0]), 5.5).item() == 3.5


def test_crps_of_equal_samples_is_not_below_zero():
    for n in range(2, 40):  # float32: rounding alone would give -1e-7 at some
        assert crps(torch.full((n, 1), 5.7), torch.tensor([5.7])).item() >= 0


def test_crps_prefers_the_true_distribution_to_a_wider_narrower_or_shifted_one():
    values = torch.randn(2_000, dtype=torch.float64, generator=seeded(1))
    samples = torch.randn(400, 1, dtype=torch.float64, generator=seeded()).expand(-1, 2_000)
    right = crps(samples, values)
    for wrong in (2 * samples, 0.4 * samples, samples + 0.7):
        difference = crps(wrong, values) - right
        assert difference.mean() > 4 * difference.std() / 2_000**0.5


def test_central_interval_holds_its_share_and_has_equal_tails():
    samples = torch.arange(101.0)  # quantile q is 100 q
    for level, low, high in ((0.8, 10, 90), (0.5, 25, 75)):
        held = [v for v in torch.arange(-5, 106).tolist() if inside(samples, float(v), level)]
        assert (held[0], held[-1]) == (low, high)
    n = 1_000
    values = torch.randn(n, generator=seeded(2))
    drawn = torch.randn(1_000, 1, generator=seeded()).expand(-1, n)
    for level in (0.8, 0.95):
        share = inside(drawn, values, level).double().mean()
        assert abs(share - level) < 4 * (level * (1 - level) * (1 / n + 1 / 1_000)) ** 0.5


# Refusals


def test_config_survives_json_and_one_that_cannot_be_built_is_refused():
    cfg = ForecasterConfig(cell="gru", d_hidden=3, n_layers=2)
    assert from_json(ForecasterConfig, to_json(cfg)) == cfg
    for wrong, message in [
        ({"cell": "x"}, "one of rnn, gru, lstm, got 'x'"), ({"d_hidden": 0}, "{'d_hidden': 0}"),
        ({"n_layers": 0}, "{'n_layers': 0}"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Forecaster(ForecasterConfig(**wrong))


def test_series_that_are_not_finite_are_refused_with_the_place():
    x = series()
    x[1, 5] = math.nan
    model = build()
    message = "must be finite, got nan at series 1, place 5; fill the gap or cut the series there"
    for read in (lambda: model(x), lambda: forecast(model, x, 2, 2), lambda: forecast_loss(model, (series(), x))):
        with pytest.raises(ValueError, match=message):
            read()
    row = series(n=1, T=30)[0]
    row[3], row[7] = math.inf, math.nan
    ar = LinearAutoregression(intercept=0.0, weights=(1.0,), std=1.0)
    for read in (
        lambda: model.fit_scale(row), lambda: seasonal_naive(row, 2), lambda: linear_autoregression(row, 2),
        lambda: ar.sample(row, 1, 1), lambda: SeasonalNaive(period=1, std=1.0).sample(row, 1, 1),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="must be finite, got inf at place 3"):
            read()
    for k in (math.nan, math.inf):
        wrong = torch.tensor([1.0, k])
        for samples, value in ((wrong, 1.0), (wrong[:1], k)):
            for score in (crps, lambda x, v: inside(x, v, 0.5)):
                with pytest.raises(ValueError, match="samples and value must be finite"):
                    score(samples, value)


def test_series_that_are_too_short_or_of_unequal_lengths_are_refused():
    model, x = build(), series()
    ar = LinearAutoregression(intercept=0.0, weights=(0.5, 0.5), std=1.0)
    for read, message in [
        (lambda: forecast_loss(model, (x, x[:, 1:])), r"the same shape, got \(3, 8\) and \(3, 7\)"),
        (lambda: model(x[0]), r"x must be \(B, T\) with at least 1 value, got \(8,\)"),
        (lambda: forecast(model, x[0, :0], 1, 1), r"at least 1 value, got \(1, 0\)"),
        (lambda: model.fit_scale(x[0, :1]), r"\(T,\) with at least 2 values, got \(1,\)"),
        (lambda: model.fit_scale(torch.ones(5)), "all 5 values are 1: nothing to forecast"),
        (lambda: seasonal_naive(x[0], 8), "at least 9 values"), (lambda: seasonal_naive(x[0], 0), "period .* got 0"),
        (lambda: linear_autoregression(x[0], 4), "at least 10 values"),
        (lambda: linear_autoregression(x[0], 0), "order must be at least 1, got 0"),
        (lambda: ar.sample(x[0, :1], 1, 1), "history must be .* at least 2 values"),
        (lambda: SeasonalNaive(period=9, std=1.0).sample(x[0], 1, 1), "at least 9 values"),
        (lambda: ar.sample(x[0], 0, 1), "got steps=0, n=1"), (lambda: forecast(model, x, 1, 0), "got steps=1, n=0"),
        (lambda: crps(x, torch.zeros(3)), r"samples must be .*\(n, 3\), got \(3, 8\); the draws come first"),
        (lambda: crps(torch.zeros(0), 1.0), r"got \(0,\)"), (lambda: inside(x[0], 1.0, 1.0), "level .* got 1.0"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            read()


def test_forecaster_without_a_fitted_scale_is_refused():
    with pytest.raises(ValueError, match=r"call model.fit_scale\(values of the training part\)"):
        Forecaster(ForecasterConfig())(series().float())
