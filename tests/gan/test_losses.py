import math

import pytest
import torch

from genai_utils.gan.losses import (
    LOSSES, game_loss, gradient_penalty, hinge_d, input_gradient, least_squares_d, least_squares_g, minimax_d,
    nonsaturating_g, r1_penalty, saturating_g, wasserstein_d, wasserstein_g,
)  # fmt: skip

P, Q = torch.tensor([1, 2, 3, 2]), torch.tensor([4, 1, 1, 2])  # in eighths: a game on four symbols
p, q = P.double() / 8, Q.double() / 8


def game(loss_d, r):
    """The discriminator's loss if r holds a logit for each symbol, by samples in exact proportion."""
    return loss_d(r.repeat_interleave(P), r.repeat_interleave(Q))


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def kl(a, b):
    return (a * (a / b).log()).sum()


OPTIMA = {
    "minimax": (minimax_d, (p / q).log(), math.log(4) - kl(p, (p + q) / 2) - kl(q, (p + q) / 2)),  # log 4 - 2 JS
    "least squares": (least_squares_d, p / (p + q), 0.5 * (p * q / (p + q)).sum()),
    "hinge": (hinge_d, (p - q).sign(), 2 * torch.minimum(p, q).sum()),
}


@pytest.mark.parametrize("loss_d, best, value", OPTIMA.values(), ids=OPTIMA)
def test_discriminator_of_a_discrete_game_has_its_known_optimum_and_value(loss_d, best, value):
    r = best.clone().requires_grad_()
    loss = game(loss_d, r)
    assert loss.item() == pytest.approx(value.item(), abs=1e-12)
    if loss_d is not hinge_d:  # whose optimum is a corner
        loss.backward()
        assert r.grad.abs().max() < 1e-12
    for seed in range(20):
        assert game(loss_d, best + 0.2 * normal(4, seed=seed)) >= loss


def test_best_probability_is_p_over_p_plus_q():
    torch.testing.assert_close(torch.sigmoid(OPTIMA["minimax"][1]), p / (p + q))


def test_value_is_log_4_where_the_distributions_agree_and_0_where_they_do_not_meet():
    zeros = torch.zeros(8, dtype=torch.float64)
    assert minimax_d(zeros, zeros).item() == pytest.approx(math.log(4), abs=1e-15)
    assert minimax_d(zeros + 50, zeros - 50).item() == pytest.approx(0, abs=1e-20)  # JS = log 2


def test_generator_that_plays_the_true_gradient_descends_the_jensen_shannon_divergence():
    """With the best discriminator in place, the saturating loss has the gradient of 2 JS in q."""
    logits = normal(4).requires_grad_()
    q_theta = logits.softmax(0)
    r = (p / q_theta).log().detach()
    saturating = -(q_theta * torch.nn.functional.softplus(r)).sum()
    (found,) = torch.autograd.grad(saturating, logits, retain_graph=True)
    m = (p + q_theta) / 2
    (expected,) = torch.autograd.grad(kl(p, m) + kl(q_theta, m), logits)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("distance", [0.5, 4.0, 40.0])
def test_saturating_gradient_vanishes_where_the_nonsaturating_one_does_not(distance):
    """Against D(x) = sigmoid(a x), a fake at -distance: closed forms of both gradients."""
    a, D = 2.0, 1 / (1 + math.exp(2.0 * distance))
    gradient = {}
    for name, loss in {"saturating": saturating_g, "nonsaturating": nonsaturating_g}.items():
        x = torch.tensor([-distance], dtype=torch.float64, requires_grad=True)
        loss(a * x).backward()
        gradient[name] = x.grad.item()
    assert gradient["saturating"] == pytest.approx(-a * D, rel=1e-9)
    assert gradient["nonsaturating"] == pytest.approx(-a * (1 - D), rel=1e-9)
    ratio = gradient["nonsaturating"] / gradient["saturating"]
    assert ratio == pytest.approx(math.exp(a * distance), rel=1e-9)


def test_losses_are_the_naive_sums():
    real, fake = normal(5), normal(7, seed=1)
    D = lambda r: 1 / (1 + math.exp(-r))
    real_, fake_ = real.tolist(), fake.tolist()
    mean = lambda values: sum(values) / len(values)
    expected = {
        minimax_d(real, fake): -mean([math.log(D(r)) for r in real_]) - mean([math.log(1 - D(r)) for r in fake_]),
        saturating_g(fake): mean([math.log(1 - D(r)) for r in fake_]),
        nonsaturating_g(fake): -mean([math.log(D(r)) for r in fake_]),
        wasserstein_d(real, fake): mean(fake_) - mean(real_),
        wasserstein_g(fake): -mean(fake_),
        hinge_d(real, fake): mean([max(0, 1 - r) for r in real_]) + mean([max(0, 1 + r) for r in fake_]),
        least_squares_d(real, fake): mean([(r - 1) ** 2 for r in real_]) / 2 + mean([r**2 for r in fake_]) / 2,
        least_squares_g(fake): mean([(r - 1) ** 2 for r in fake_]) / 2,
    }
    for found, value in expected.items():
        assert found.shape == () and found.item() == pytest.approx(value)


@pytest.mark.parametrize("name", LOSSES)
def test_discriminator_parts_real_from_fake_and_generator_closes_the_gap(name):
    real = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    fake = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    game_loss(name).discriminator(real + 0.1, fake + 0.1).backward()
    assert (real.grad < 0).all() and (fake.grad > 0).all()
    fake.grad = None
    game_loss(name).generator(fake).backward()
    assert (fake.grad < 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_are_finite_at_extreme_logits_and_take_patches(name):
    r = torch.tensor([-1e4, 1e4]).view(2, 1, 1, 1).expand(2, 1, 3, 3).clone().requires_grad_()
    loss = game_loss(name).discriminator(r, r.flip(0)) + game_loss(name).generator(r)
    loss.backward()
    assert loss.shape == () and loss.isfinite() and r.grad.isfinite().all()


def test_r1_of_a_linear_critic_is_the_squared_norm_of_its_weight():
    w = normal(6).requires_grad_()
    penalty = r1_penalty(lambda x: x.flatten(1) @ w + 3, normal(5, 2, 3, seed=1))
    penalty.backward()
    assert penalty.item() == pytest.approx(w.square().sum().item())
    torch.testing.assert_close(w.grad, 2 * w.detach())


def test_r1_of_a_quadratic_critic_is_the_mean_of_its_own_gradients():
    A, x = normal(4, 4), normal(7, 4, seed=1)
    A = A + A.T
    penalty = r1_penalty(lambda x: 0.5 * ((x @ A) * x).sum(1), x)
    assert penalty.item() == pytest.approx((x @ A).square().sum(1).mean().item())


@pytest.mark.parametrize("size", [0.3, 2.5])
@pytest.mark.parametrize("one_sided", [False, True])
def test_gradient_penalty_of_a_linear_critic_has_its_closed_form(size, one_sided):
    w = normal(6)
    w = (size * w / w.norm()).requires_grad_()
    real, fake = normal(5, 2, 3, seed=1), normal(5, 2, 3, seed=2)
    penalty = gradient_penalty(lambda x: x.flatten(1) @ w, real, fake, one_sided=one_sided)
    penalty.backward()
    excess = max(0, size - 1) if one_sided else size - 1
    assert penalty.item() == pytest.approx(excess**2)
    torch.testing.assert_close(w.grad, 2 * excess * w.detach() / size)


def test_gradient_penalty_is_taken_between_the_two_of_each_pair():
    real, fake = normal(50, 4), normal(50, 4, seed=1)
    seen = []
    A = torch.diag(torch.arange(1.0, 5.0, dtype=torch.float64))

    def critic(x):
        seen.append(x)
        return 0.5 * ((x @ A) * x).sum(1)

    penalty = gradient_penalty(critic, real, fake, generator=torch.Generator().manual_seed(3))
    (x_hat,) = seen
    u = ((x_hat - fake) / (real - fake)).detach()
    torch.testing.assert_close(u, u[:, :1].expand(-1, 4))  # on the line through the pair, one u for all coordinates
    drawn = torch.rand(50, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(u[:, :1], drawn)
    assert u.min() < 0.1 and u.max() > 0.9 and u.min() >= 0 and u.max() <= 1
    assert penalty.item() == pytest.approx(((x_hat @ A).norm(dim=1) - 1).square().mean().item())


def test_penalty_of_a_constant_critic_is_1_with_a_finite_gradient():
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    penalty = gradient_penalty(lambda x: x @ w, normal(4, 3), normal(4, 3, seed=1))
    penalty.backward()
    assert penalty.item() == 1 and w.grad.isfinite().all()


def test_penalties_are_in_float32_under_autocast_and_work_without_grad_mode():
    torch.manual_seed(0)
    critic, x = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)), torch.randn(4, 3)
    exact = r1_penalty(critic, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert r1_penalty(critic, x).item() == exact.item()
    with torch.no_grad():
        gradient = input_gradient(critic, x)
    assert gradient.shape == (4, 3) and gradient.dtype == torch.float32 and gradient.requires_grad
    assert gradient.square().sum(1).mean().item() == pytest.approx(exact.item())


def test_penalty_gives_no_gradient_to_the_images():
    critic = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Softplus(), torch.nn.Linear(4, 1)).double()
    real, fake = normal(4, 3).requires_grad_(), normal(4, 3, seed=1).requires_grad_()
    (r1_penalty(critic, real) + gradient_penalty(critic, real, fake)).backward()
    assert real.grad is None and fake.grad is None and critic[0].weight.grad.any()


def test_unknown_loss_and_unlike_pairs_are_refused():
    with pytest.raises(ValueError, match="loss must be one of saturating, .*wasserstein, got 'l2'"):
        game_loss("l2")
    with pytest.raises(ValueError, match=r"one shape, got \(4, 3\) and \(5, 3\)"):
        gradient_penalty(lambda x: x.sum(1), normal(4, 3), normal(5, 3))
