import math

import pytest
import torch

from genai_utils.diffusion.schedules import (
    betas,
    check_schedule,
    cosine_schedule,
    linear_schedule,
    rescale_zero_snr,
    snr,
    visit_times,
)

SCHEDULES = {
    "linear": linear_schedule(),
    "cosine": cosine_schedule(),
    "linear-zero": rescale_zero_snr(linear_schedule()),
    "cosine-zero": rescale_zero_snr(cosine_schedule()),
    "short": linear_schedule(2),
}


@pytest.mark.parametrize("alpha_bar", SCHEDULES.values(), ids=SCHEDULES)
def test_schedule_falls_strictly_from_data_to_noise(alpha_bar):
    check_schedule(alpha_bar)
    assert alpha_bar.dtype == torch.float64
    assert alpha_bar[0] > 0.99
    assert (alpha_bar.diff() < 0).all() and (snr(alpha_bar).diff() < 0).all()


@pytest.mark.parametrize("alpha_bar", SCHEDULES.values(), ids=SCHEDULES)
def test_alpha_bar_is_the_running_product_of_one_minus_beta(alpha_bar):
    product, by_hand = 1.0, []
    for beta in betas(alpha_bar):
        product *= 1 - beta.item()
        by_hand.append(product)
    torch.testing.assert_close(alpha_bar, torch.tensor(by_hand, dtype=torch.float64))
    assert (betas(alpha_bar) > 0).all() and (betas(alpha_bar) <= 1).all()


def test_linear_schedule_has_equally_spaced_betas():
    torch.testing.assert_close(betas(linear_schedule()).diff(), torch.full((999,), (0.02 - 1e-4) / 999).double())


def test_cosine_schedule_follows_the_squared_cosine_until_its_betas_are_clipped():
    T, s, alpha_bar = 1000, 0.008, cosine_schedule()
    t = torch.arange(1, T + 1, dtype=torch.float64) / T
    f = torch.cos((t + s) / (1 + s) * torch.pi / 2) ** 2 / math.cos(s / (1 + s) * math.pi / 2) ** 2
    torch.testing.assert_close(alpha_bar[:-1], f[:-1])
    torch.testing.assert_close(betas(alpha_bar)[-1].item(), 0.999)


@pytest.mark.parametrize("alpha_bar", [linear_schedule(), cosine_schedule(100)], ids=["linear", "cosine"])
def test_rescaled_schedule_keeps_its_start_and_ends_in_pure_noise(alpha_bar):
    zero = rescale_zero_snr(alpha_bar)
    assert zero[-1] == 0 and snr(zero)[-1] == 0
    torch.testing.assert_close(zero[0], alpha_bar[0])
    before, after = alpha_bar.sqrt(), zero.sqrt()  # Algorithm 1 of the paper is affine in the signal's amplitude
    torch.testing.assert_close(after.diff() / after.diff()[0], before.diff() / before.diff()[0])


def test_snr_is_the_ratio_of_powers_in_the_noised_image():
    x0 = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = torch.randn(200_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a = torch.tensor([0.8], dtype=torch.float64)
    ratio = ((a.sqrt() * x0).square().mean() / ((1 - a).sqrt() * noise).square().mean()).item()
    torch.testing.assert_close(ratio, snr(a).item(), rtol=4 * (4 / 200_000) ** 0.5, atol=0)  # 4 standard errors


def test_visit_times_are_those_written_out_by_hand():
    assert visit_times(10, 5, "leading") == [8, 6, 4, 2, 0]
    assert visit_times(10, 5, "trailing") == [9, 7, 5, 3, 1]
    assert visit_times(10, 4, "linspace") == [9, 6, 3, 0]
    assert visit_times(10, 1, "leading") == [0]
    assert visit_times(10, 1, "trailing") == visit_times(10, 1, "linspace") == [9]


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_visit_times_fall_strictly_within_the_schedule_for_every_number_of_steps(spacing):
    for T in (7, 100, 1000):
        for steps in range(1, T + 1, 1 if T < 1000 else 13):
            times = visit_times(T, steps, spacing)
            assert len(times) == steps and all(s < t for t, s in zip(times, times[1:]))
            assert 0 <= times[-1] and times[0] < T
            assert times[0] == T - 1 or spacing == "leading"
            assert times[-1] == 0 or spacing == "trailing" or steps == 1
        assert visit_times(T, T, spacing) == list(range(T))[::-1]


@pytest.mark.parametrize("call, message", [
    (lambda: linear_schedule(1), "T >= 2"),
    (lambda: linear_schedule(10, 0.1, 0.01), "beta_start <= beta_end"),
    (lambda: linear_schedule(10, 0.0, 0.01), "0 < beta_start"),
    (lambda: cosine_schedule(10, s=1.0), "s=1.0"),
    (lambda: cosine_schedule(10, beta_max=1.0), "beta_max=1.0"),
    (lambda: rescale_zero_snr(torch.tensor([0.5, 0.6])), "decrease strictly"),
    (lambda: check_schedule(torch.ones(3, 2)), r"\(3, 2\)"),
    (lambda: check_schedule(torch.tensor([1.2, 0.1])), "1.2"),
    (lambda: check_schedule(torch.tensor([0.9, float("nan")])), "nan"),
    (lambda: check_schedule(torch.tensor([1.0, 0.5])), "from 1 to 0.5"),
    (lambda: visit_times(10, 11), "11"),
    (lambda: visit_times(10, 0), "0"),
    (lambda: visit_times(10, 5, "even"), "'even'"),
])  # fmt: skip
def test_schedule_refuses_bad_input_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
