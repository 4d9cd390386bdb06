import math

import pytest
import torch

from genai_utils.core import from_json, to_json
from genai_utils.data.toys import toys
from genai_utils.flows.coupling import ActNorm
from genai_utils.flows.realnvp import PRESETS, RealNVP, RealNVPConfig, nll_loss
from genai_utils.training import adamw
from genai_utils.training.loop import make_step

cases = pytest.mark.parametrize(
    "cfg",
    [RealNVPConfig(d=d, n_couplings=5, width=16, actnorm=norm) for d in (2, 3, 6) for norm in (False, True)],
    ids=str,
)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=gen(seed), dtype=dtype)


def build(cfg, dtype=torch.float64, size=0.3):
    """Return a flow of which no parameter is zero or one by habit."""
    torch.manual_seed(0)
    model = RealNVP(cfg).to(dtype).eval()
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.add_(size * draw(*p.shape, seed=i).to(dtype))
    return model


@cases
def test_inverse_undoes_forward_both_ways(cfg):
    model, x = build(cfg), 2 * draw(64, cfg.d)
    z, log_det = model(x)
    x_again, log_det_back = model.inverse(z)
    torch.testing.assert_close(x_again, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(log_det_back, -log_det, rtol=0, atol=1e-9)
    torch.testing.assert_close(model(model.inverse(x)[0])[0], x, rtol=0, atol=1e-9)
    assert z.shape == x.shape and log_det.shape == (64,) and log_det.std() > 0.1 and (z - x).abs().max() > 0.1


@cases
def test_log_det_is_that_of_the_autograd_jacobian_and_log_prob_its_sum_with_the_prior(cfg):
    model, x = build(cfg), draw(5, cfg.d)
    for walk in (model.forward, model.inverse):
        end, log_det = walk(x)
        jacobian = torch.autograd.functional.jacobian(lambda y, walk=walk: walk(y)[0].sum(0), x).transpose(0, 1)
        torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian)[1], rtol=0, atol=1e-8)
    z, log_det = model(x)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(model.log_prob(x), prior + log_det, rtol=0, atol=1e-9)


@cases
def test_steps_pass_through_every_coupling_and_end_where_the_flow_does(cfg):
    model, x = build(cfg), draw(7, cfg.d)
    z, log_det = model(x)
    there, back = list(model.steps(x)), list(model.inverse_steps(z))
    assert len(there) == len(back) == cfg.n_couplings
    torch.testing.assert_close(there[-1], (z, log_det))
    torch.testing.assert_close(back[-1], (x, -log_det))
    for (points, total), (same, total_back) in zip(there[:-1], reversed(back[:-1])):
        torch.testing.assert_close(points, same, rtol=0, atol=1e-9)
        torch.testing.assert_close(total, log_det + total_back, rtol=0, atol=1e-9)


@cases
def test_couplings_keep_even_and_odd_places_in_turn(cfg):
    model, x = build(cfg), draw(7, cfg.d)
    for i, (points, _) in enumerate(model.steps(x)):
        kept, moved = (points[:, i % 2 :: 2], x[:, i % 2 :: 2]), (points[:, 1 - i % 2 :: 2], x[:, 1 - i % 2 :: 2])
        assert torch.equal(*kept) and ((moved[0] - moved[1]).abs() > 0).all()
        x = points


@pytest.mark.parametrize("actnorm", [False, True])
def test_density_in_the_plane_integrates_to_one(actnorm):
    model = build(RealNVPConfig(n_couplings=4, width=16, actnorm=actnorm), size=0.2)
    edges = model.inverse(3 * draw(4096, 2))[0].abs().max().item() + 2
    axis = torch.linspace(-edges, edges, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = model.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=2e-3)


def test_no_coupling_stretches_by_more_than_its_learned_bound():
    model = build(RealNVPConfig(n_couplings=6))
    for coupling in model.couplings:
        log_s, _ = coupling.log_scale_and_shift(1e6 * draw(50, 1))
        assert (log_s.abs() <= coupling.bound.abs()).all() and log_s.abs().max() > 0.9 * coupling.bound.abs()
    z, log_det = model(1e6 * draw(50, 2))
    assert z.isfinite().all() and log_det.abs().max() <= sum(c.bound.abs().item() for c in model.couplings)


def test_a_new_flow_is_the_identity():
    model, x = RealNVP(RealNVPConfig(d=5)).double(), draw(9, 5)
    z, log_det = model(x)
    assert torch.equal(z, x) and (log_det == 0).all()


@pytest.mark.parametrize("shape", [(64, 3), (8, 3, 4, 4)])
def test_actnorm_gives_its_first_batch_mean_0_and_variance_1_and_then_stays(shape):
    norm, x = ActNorm(3).double(), draw(*shape) * 5 + 2
    z, log_det = norm(x)
    values = z.transpose(0, 1).flatten(1)
    torch.testing.assert_close(values.mean(1), torch.zeros(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(values.var(1, correction=0), torch.ones(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(norm.inverse(z), (x, -log_det))
    again, _ = norm(x + 1)
    torch.testing.assert_close(again - z, norm.log_scale.exp().view(1, 3, *[1] * (x.ndim - 2)).expand_as(z))
    copy = ActNorm(3).double()
    copy.load_state_dict(norm.state_dict())
    torch.testing.assert_close(copy(x + 1)[0], again, rtol=0, atol=0)


def test_actnorm_in_evaluation_leaves_its_parameters_alone():
    norm, x = ActNorm(3).eval(), draw(8, 3, dtype=torch.float32) + 4
    assert torch.equal(norm(x)[0], x) and not norm.ready
    assert not torch.equal(norm.train()(x)[0], x) and norm.ready


def test_the_first_batch_normalises_the_output_of_a_new_flow():
    model, x = RealNVP(RealNVPConfig(d=4, actnorm=True)).double(), 7 * draw(128, 4) - 3
    z, _ = model(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(4).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(z.var(0, correction=0), torch.ones(4).double(), rtol=0, atol=1e-12)


def test_temperature_0_gives_the_mode_of_the_prior_and_seeds_repeat():
    model = build(RealNVPConfig(d=3))
    mode, _ = model.inverse(torch.zeros(4, 3, dtype=torch.float64))
    torch.testing.assert_close(model.sample(4, temperature=0.0), mode)
    hot, cold = (model(model.sample(500, temperature=t, generator=gen()))[0] for t in (1.0, 0.5))
    torch.testing.assert_close(cold, 0.5 * hot)
    assert torch.equal(model.sample(5, generator=gen()), model.sample(5, generator=gen()))


@cases
def test_log_prob_does_not_depend_on_the_order_of_the_batch(cfg):
    model, x = build(cfg), draw(32, cfg.d)
    order = torch.randperm(32, generator=gen())
    torch.testing.assert_close(model.log_prob(x[order]), model.log_prob(x)[order], rtol=0, atol=1e-12)


@cases
def test_gradient_reaches_every_parameter(cfg):
    model = build(cfg)
    loss, _ = nll_loss(model, (draw(16, cfg.d), None))
    loss.backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


@pytest.mark.parametrize("n_couplings", [4, 16, 64])
def test_float32_inverse_and_log_prob_stay_close_to_float64(n_couplings):
    wide = build(RealNVPConfig(n_couplings=n_couplings), size=0.05)
    x = draw(256, 2)
    narrow = build(wide.cfg, torch.float32, size=0.05)
    narrow.load_state_dict(wide.state_dict())
    z, _ = narrow(x.float())
    assert (narrow.inverse(z)[0] - x).abs().max() < 1e-6 * n_couplings
    torch.testing.assert_close(narrow.log_prob(x.float()).double(), wide.log_prob(x), rtol=1e-5, atol=1e-5)


def test_half_precision_keeps_points_and_log_det_in_float32():
    model, x = build(PRESETS["small"], torch.float32), draw(64, 2, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        z, log_det = model(x)
        loss, _ = nll_loss(model, x)
        back, _ = model.inverse(z)
    assert {z.dtype, log_det.dtype, loss.dtype, back.dtype} == {torch.float32}
    assert loss.item() == pytest.approx(nll_loss(model, x)[0].item(), rel=0.02)


def test_training_on_two_moons_beats_the_best_gaussian():
    x = toys(kind="moons", n=512).points
    torch.manual_seed(0)
    model = RealNVP(RealNVPConfig(n_couplings=6, width=32, actnorm=True))
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov()).log_prob(x).mean()
    step = make_step(model, nll_loss, adamw(model, lr=5e-3))
    for _ in range(80):
        logs = step(x)
    assert -logs["nll"] > gaussian + 0.3 and math.isfinite(logs["nll"])


def test_presets_survive_json():
    for cfg in PRESETS.values():
        assert from_json(RealNVPConfig, to_json(cfg)) == cfg


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: m.log_prob(torch.zeros(4, 3)), r"points must be \(B, 2\), got \(4, 3\)"),
        (lambda m: m.inverse(torch.zeros(2)), r"points must be \(B, 2\), got \(2,\)"),
        (lambda m: m.sample(3, temperature=-0.5), r"temperature must be at least 0 .* got -0.5"),
        (lambda m: m.sample(3, temperature=math.nan), "temperature must be .* got nan"),
        (lambda m: m.sample(0), "n must be at least 1, got 0"),
        (lambda m: RealNVP(RealNVPConfig(d=1)), "d must be at least 2, .* got 1"),
        (lambda m: RealNVP(RealNVPConfig(n_couplings=0)), "'n_couplings': 0"),
        (lambda m: ActNorm(2)(torch.zeros(1, 2)), r"at least 2 values .* got x of shape \(1, 2\): .* larger"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_its_value_and_the_cure(call, message):
    with pytest.raises(ValueError, match=message):
        call(RealNVP(PRESETS["small"]))
