"""Every family under the protocol: it learns from one step, draws what it is asked for, and its likelihood is one."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from genai_utils.compare import CONTESTANTS, PRESETS, flops_of_step, load_pictures
from genai_utils.compare.games import LabelledGame, planes, with_label
from genai_utils.compare.likelihoods import ClassPrior
from genai_utils.data.sets import to_floats
from genai_utils.training import EMA

PROTOCOL = replace(PRESETS["embedded"], n_train=320)
SLOW = {"ddpm"}  # 50 network calls


@pytest.fixture(scope="module")
def data():
    return load_pictures(PROTOCOL)[0]


@pytest.fixture(scope="module")
def taught(data):
    """Each contestant after two steps, with what its weights were before and its average."""
    found = {}
    for name, make in CONTESTANTS.items():
        torch.manual_seed(0)
        contestant = make(PROTOCOL)
        ema = EMA(contestant.net, PROTOCOL.decay)
        before = {k: p.detach().clone() for k, p in contestant.model.named_parameters()}
        step, batches = contestant.step(ema, contestant.rate), data.batches(contestant.batch, seed=0)
        for batch, _ in zip(batches, range(2)):
            step(batch)
        found[name] = contestant, ema.model, before
    return found


@pytest.mark.parametrize("name", CONTESTANTS)
def test_two_steps_move_every_parameter_and_the_average(name, taught):
    contestant, average, before = taught[name]
    still = [k for k, p in contestant.model.named_parameters() if torch.equal(p, before[k])]
    # within its margin the hinge loss pulls the last bias up for data and down for fakes, by the same
    allowed = {"stylegan2": {"discriminator.layers.4.bias"}}
    assert not set(still) - allowed.get(name, set())
    own = dict(contestant.net.named_parameters())
    moved = [k for k, p in average.named_parameters() if not torch.equal(p, own[k])]
    assert len(moved) > len(own) / 2, "the average lags behind"


@pytest.mark.parametrize("name", CONTESTANTS)
def test_samples_are_pictures_and_repeat_with_their_generator(name, taught):
    contestant, average, _ = taught[name]
    labels = torch.tensor([3, 3, 7])
    for row, sampler in contestant.samplers.items():
        if row in SLOW:
            continue
        x, again = (sampler(average, labels, torch.Generator().manual_seed(5)) for _ in range(2))
        assert x.shape == (3, 1, 16, 16) and x.isfinite().all() and x.abs().max() <= 1 and torch.equal(x, again)
        assert not torch.equal(x[0], x[1]), "two draws of one class are one picture"


@pytest.mark.parametrize("name", CONTESTANTS)
def test_samples_depend_on_the_label(name, taught):
    contestant, average, _ = taught[name]
    row = next(r for r in contestant.samplers if r not in SLOW)
    a, b = (contestant.samplers[row](average, torch.tensor([y] * 4), torch.Generator().manual_seed(5)) for y in (0, 8))
    assert not torch.equal(a, b)


@pytest.mark.parametrize("name", [n for n, make in CONTESTANTS.items() if make.likelihood])
def test_likelihood_is_finite_and_of_the_label(name, taught, data):
    contestant, average, _ = taught[name]
    if name == "diffusion":
        contestant.alpha_bar = contestant.alpha_bar[49::50]  # 20 terms instead of a thousand: the same sum
    x, labels = to_floats(data.images[:4]), data.labels[:4]
    with torch.set_grad_enabled(contestant.likelihood == "estimate"):
        nats = [contestant.nats(average, x, y, torch.Generator().manual_seed(0)) for y in (labels, (labels + 5) % 10)]
    assert nats[0].shape == (4,) and torch.stack(nats).isfinite().all()
    assert not torch.equal(*nats), "another label, the same likelihood"


def test_flops_of_a_step_do_not_depend_on_the_draw(data):
    make = CONTESTANTS["vae"]
    a, b = (flops_of_step(make, PROTOCOL, data.batches(make.batch, seed=s)) for s in (0, 1))
    assert a == b > 0


def test_flops_of_a_step_are_three_forward_passes_for_a_pixelcnn(data):
    """Backward costs twice the forward pass, but for the first layer, whose input needs no gradient."""
    from genai_utils.metrics.speed import count_flops

    make = CONTESTANTS["pixelcnn"]
    contestant = make(PROTOCOL)
    batch = next(data.batches(make.batch, seed=0))
    forward = count_flops(lambda: contestant.loss(contestant.model, batch))
    assert 2.9 < flops_of_step(make, PROTOCOL, data.batches(make.batch, seed=0)) / forward <= 3


class Doubling(nn.Module):
    """z = 2 x, of which the law is known."""

    def forward(self, x):
        return 2 * x, torch.full((len(x),), x.shape[1] * math.log(2), dtype=x.dtype)

    def inverse(self, z):
        return z / 2, torch.full((len(z),), -z.shape[1] * math.log(2), dtype=z.dtype)


def test_class_prior_is_the_change_of_variables_with_a_gaussian_for_each_class():
    prior = ClassPrior(Doubling(), [(3,)]).double()
    torch.manual_seed(0)
    for table in (prior.mean, prior.log_std):
        nn.init.normal_(table.weight)
    x, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 9])
    mean, std = prior.mean.weight[labels] / 2, prior.log_std.weight[labels].exp() / 2
    torch.testing.assert_close(
        prior.log_prob(x, labels), torch.distributions.Normal(mean, std).log_prob(x).sum(1), rtol=1e-12, atol=1e-12
    )


def test_class_prior_samples_have_the_mean_and_deviation_of_their_class():
    prior = ClassPrior(Doubling(), [(3,)])
    nn.init.constant_(prior.mean.weight, 4.0)
    nn.init.constant_(prior.log_std.weight, math.log(0.5))
    x = prior.sample(torch.zeros(4_000, dtype=torch.int64), torch.Generator().manual_seed(0))
    assert (x.mean(0) - 2).abs().max() < 4 * 0.25 / 4_000**0.5 and (x.std(0) - 0.25).abs().max() < 0.015


def test_a_fakes_label_reaches_both_players():
    game = LabelledGame(nn.Sequential(nn.Linear(14, 64), nn.Unflatten(1, (1, 8, 8))), nn.Flatten(), 4)
    z = with_label(torch.zeros(2, 4), torch.tensor([0, 9]))
    fake = game.generator(z)
    assert fake.shape == (2, 11, 8, 8)
    assert torch.equal(fake[:, 1:], planes(z[:, 4:], 8)) and not torch.equal(fake[0, 0], fake[1, 0])
    labels = game.noise(1_000, torch.Generator().manual_seed(0))[:, 4:]
    assert torch.equal(labels.sum(1), torch.ones(1_000)) and (labels.mean(0) - 0.1).abs().max() < 0.04


def test_pictures_of_transformer_never_hold_a_class_token(taught):
    contestant, average, _ = taught["image_transformer"]
    with torch.no_grad():
        average.embed.weight[256:] = 5.0  # the tied embedding also scores tokens: classes would win by far
    x = contestant.draw(average, torch.tensor([1, 2]), torch.Generator().manual_seed(0))
    assert x.shape == (2, 1, 16, 16) and x.abs().max() <= 1
