"""Toys: the densities integrate to 1, are those of the samples, and have the score that autograd says."""

import hashlib
import math

import pytest
import torch

from genai_utils.data import load
from genai_utils.data.toys import KINDS, Mixture, Pinwheel, rotate


@pytest.mark.parametrize("kind", KINDS)
def test_toy_density_integrates_to_one(kind):
    axis = (torch.arange(480, dtype=torch.float64) + 0.5) / 40 - 6  # midpoints of cells of side 1/40 on [-6, 6]
    toy = load("toys", kind=kind, n=1)
    total = sum(toy.log_prob(torch.cartesian_prod(part, axis)).exp().sum() for part in axis.split(40)) / 40**2
    assert abs(total - 1) < 1e-8


@pytest.mark.parametrize("kind", KINDS)
def test_toy_samples_fill_cells_as_the_density_says(kind):
    toy = load("toys", kind=kind, n=1)
    x = toy.sample(100_000, torch.Generator().manual_seed(1)).double()
    fine = (torch.arange(300, dtype=torch.float64) + 0.5) / 30 - 5  # cells of side 1 on [-5, 5], 30 x 30 points in each
    density = torch.cat([toy.log_prob(torch.cartesian_prod(part, fine)) for part in fine.split(30)]).exp()
    share = density.reshape(10, 30, 10, 30).sum((1, 3)) / 30**2
    cell = ((x + 5).floor().clamp(0, 9) * torch.tensor([10, 1])).sum(1).long()
    seen = torch.bincount(cell, minlength=100).reshape(10, 10)
    expected = share * len(x)
    big = expected > 10
    assert big.sum() >= 16 and expected[big].sum() > 0.99 * len(x)
    chi2 = ((seen - expected).square() / expected)[big].sum()
    count = big.sum().item()
    assert chi2 < count + 4 * math.sqrt(2 * count)  # mean and 4 standard deviations of chi squared


@pytest.mark.parametrize("kind", KINDS)
def test_toy_mean_log_density_of_samples_is_minus_the_entropy(kind):
    toy = load("toys", kind=kind, n=1)
    axis = (torch.arange(300, dtype=torch.float64) + 0.5) / 30 - 5
    log_p = torch.cat([toy.log_prob(torch.cartesian_prod(part, axis)) for part in axis.split(30)])
    p = log_p.exp() / 30**2
    entropy = -(p * log_p.clamp_min(-700)).sum()
    seen = toy.log_prob(toy.sample(20_000, torch.Generator().manual_seed(2)).double())
    assert torch.isfinite(seen).all()
    assert abs(seen.mean() + entropy) <= 4 * seen.std() / math.sqrt(len(seen)) + 1e-3  # 1e-3: of the grid's integral


@pytest.mark.parametrize("kind", KINDS)
def test_toy_score_equals_finite_differences(kind):
    toy = load("toys", kind=kind, n=1)
    x = toy.sample(50, torch.Generator().manual_seed(3)).double().requires_grad_()
    (score,) = torch.autograd.grad(toy.log_prob(x).sum(), x)
    step = 1e-5 * torch.eye(2, dtype=torch.float64)
    naive = torch.stack([(toy.log_prob(x + s) - toy.log_prob(x - s)) / 2e-5 for s in step], 1)
    torch.testing.assert_close(score, naive, rtol=1e-5, atol=1e-5)


def test_toy_score_is_finite_at_the_origin():
    for kind in KINDS:
        x = torch.zeros(1, 2, requires_grad=True)  # where the pinwheel's radius has no gradient
        load("toys", kind=kind, n=1).log_prob(x).sum().backward()
        assert torch.isfinite(x.grad).all(), kind


def test_mixture_log_prob_equals_the_naive_sum():
    mixture = Mixture(torch.tensor([[1.0, 0.0], [-1.0, 2.0]]), (0.5, 0.2), torch.tensor([0.3, -1.0]))
    x = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    naive = torch.zeros(20, dtype=torch.float64)
    for mean, angle in zip(mixture.means, mixture.angles, strict=True):
        turn = rotate(torch.eye(2, dtype=torch.float64), angle).T  # its columns are the turned axes
        covariance = turn @ torch.diag(torch.tensor(mixture.stds).double() ** 2) @ turn.T
        naive += torch.distributions.MultivariateNormal(mean, covariance).log_prob(x).exp() / 2
    torch.testing.assert_close(mixture.log_prob(x), naive.log())


def test_pinwheel_turn_has_determinant_one():
    pinwheel = Pinwheel(Mixture(torch.zeros(1, 2), (1.0, 1.0)), rate=0.9)

    def turn(y):
        return rotate(y, pinwheel.rate * y.norm(dim=-1))

    for y in torch.randn(10, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)):
        assert abs(torch.autograd.functional.jacobian(turn, y).det() - 1) < 1e-12
    x = torch.randn(10, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pinwheel.log_prob(x), pinwheel.mixture.log_prob(x))  # a round density keeps its shape


def test_checkerboard_points_never_lie_on_light_squares():
    toy = load("toys", kind="checkerboard", n=50_000)
    assert torch.isfinite(toy.log_prob(toy.points)).all()
    assert torch.isfinite(toy.log_prob(toy.sample(50_000, torch.Generator().manual_seed(0)))).all()
    light = torch.tensor([[1.0, 3.0], [-1.0, 1.0], [5.0, 1.0], [-3.0, -5.0]])
    assert (toy.log_prob(light) == -math.inf).all()


def test_checkerboard_log_density_is_exact_in_float64_and_minus_infinity_however_far():
    x = torch.tensor([[0.5, 0.5], [math.inf, 0.5], [-3e38, -3e38]])
    for dtype in (torch.float32, torch.float64):
        at = x.to(dtype, copy=True).requires_grad_()
        log_p = load("toys", kind="checkerboard", n=1).log_prob(at)
        log_p.sum().backward()
        assert log_p.dtype == dtype and (at.grad == 0).all()
        assert torch.equal(log_p, torch.tensor([-math.log(32), -math.inf, -math.inf], dtype=dtype))


def test_toys_bytes_are_those_recorded():
    seen = {kind: hashlib.sha256(load("toys", kind=kind).points.numpy().tobytes()).hexdigest() for kind in KINDS}
    assert seen == RECORDED


def test_toys_splits_and_seeds_differ():
    sets = [load("toys", "train", n=100), load("toys", "test", n=100), load("toys", "train", n=100, seed=1)]
    assert len({tuple(s.points.flatten().tolist()) for s in sets}) == 3
    assert len(load("toys", "test")) == 4_000 and len(load("toys")) == 20_000


def test_toys_sampling_repeats_and_leaves_the_global_generator_alone():
    toy, state = load("toys", kind="moons"), torch.get_rng_state()
    a, b = (toy.sample(100, torch.Generator().manual_seed(4)) for _ in range(2))
    assert a.dtype == torch.float32 and a.shape == (100, 2)
    assert torch.equal(a, b) and torch.equal(state, torch.get_rng_state())


def test_toys_refuse_bad_input():
    with pytest.raises(ValueError, match="'rings'.*ring, grid, spiral"):
        load("toys", kind="rings")
    with pytest.raises(ValueError, match="got 0"):
        load("toys", n=0)
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        load("toys", n=2).log_prob(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="-1"):
        load("toys", n=2).sample(-1)


RECORDED = {
    "ring": "14d09a592cc2e689b99dd4a64ce9ebd1d58905086c449d31e31ad701582e4245",
    "grid": "d5738ed855f08cf26046dae2d8473e2221072e35ac5cc459d14507f6551c11ba",
    "spiral": "c79232d8b78ee7737b8c97eeedc62f81315759e71fe6ef46d52ed120f8d56037",
    "checkerboard": "c8444a86bbb30abed9c0184e74db1cc0ecd6362b1376ce7aa0d0568faa5302ac",
    "moons": "1bbb9523fb532923d281bc28922db5715c5f5984776db64a06ad8603c4a9b884",
    "pinwheel": "48f377bf62b71042285fcd8662abfe8c981dbdbe0a139b103d16f94bd23dcccc",
}
