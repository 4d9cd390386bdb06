"""The live Glow: both ways and the density as the package has them, exported, and what is refused."""

import copy

import pytest
import torch

from genai_utils import live
from genai_utils.flows.glow import Glow, GlowConfig, squeeze
from genai_utils.live import SharedRandom, glow
from genai_utils.live.digits import digits
from tests.live import exported


@pytest.fixture(scope="module")
def model():
    return glow.LIVE.models()[0]


@pytest.fixture(scope="module")
def pictures():
    return torch.cat([glow.spread_out(x.flatten().tolist(), 0) for x in digits(list(range(60)))])


def levels(z):
    """The package's list of noises of a noise of the shape of a picture, two levels."""
    rest, first = squeeze(z).chunk(2, dim=1)
    return [first, squeeze(rest)]


@torch.no_grad()
def test_noise_and_density_are_the_packages_and_float32_costs_under_a_thousandth_nat(model, pictures):
    wide = copy.deepcopy(model).double()
    z, _ = wide(pictures.double())
    log_p = wide.log_prob(pictures.double())
    for found, within in ((glow.Forward(wide)(pictures), 1e-8), (glow.Forward(model)(pictures), 1e-3)):
        torch.testing.assert_close(found[1], log_p, rtol=0, atol=within)
        for a, b in zip(levels(found[0]), z):
            torch.testing.assert_close(a, b.float(), rtol=0, atol=5e-5)
    torch.testing.assert_close(glow.Forward(model)(pictures)[1], model.log_prob(pictures).double(), rtol=0, atol=5e-3)


@torch.no_grad()
def test_the_way_back_is_the_packages(model, pictures):
    z = SharedRandom(3).normal(4, 1, 28, 28)
    torch.testing.assert_close(glow.Inverse(model)(z), model.inverse(levels(z))[0], rtol=0, atol=5e-5)
    back = glow.Inverse(model)(glow.Forward(model)(pictures)[0])
    torch.testing.assert_close(back, pictures, rtol=0, atol=5e-5)


@torch.no_grad()
def test_the_graphs_answer_as_the_modules():
    """Of a small Glow: the shipped one takes half a minute to export, and the browser test asks its graphs."""
    torch.manual_seed(0)
    small = Glow(GlowConfig(side=8, n_levels=2, n_steps=2, width=8)).eval()
    for parameter in small.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    graphs = glow.graphs(small)
    run, x = exported.runner(graphs), torch.rand(3, 1, 8, 8) * 2 - 1
    z, log_p = glow.Forward(small)(x)
    found = run("forward", x=x)
    torch.testing.assert_close(found["z"], z, rtol=0, atol=1e-5)
    torch.testing.assert_close(found["log_p"], log_p, rtol=1e-7, atol=0)
    torch.testing.assert_close(run("inverse", z=z)["x"], glow.Inverse(small)(z), rtol=0, atol=1e-5)


def test_a_pixel_stays_in_its_bin(pictures):
    x = digits(list(range(60)))
    torch.testing.assert_close(((pictures + 1) * 128).floor().to(torch.uint8), x, rtol=0, atol=0)


def test_a_digit_comes_back_and_is_ranked_among_the_sixty(model):
    act, facts = glow.LIVE.acts["invert"], glow.facts(model)
    assert len(facts["scores"]) == 60 and facts["scores"] == sorted(facts["scores"])
    found = next(act.program(live.runner(glow.graphs(model)), facts, exported.inputs_of(act)))
    x, back, _ = found["pictures"]
    torch.testing.assert_close(back, x, rtol=0, atol=5e-5)
    score, bits, rank, error = (figure[1] for figure in found["figures"])
    assert any(abs(score - s) < 1e-3 for s in facts["scores"]) and 0 < rank < 60 and error < 0.05
    assert bits == pytest.approx((-score / 784 + 7 * torch.log(torch.tensor(2.0).double()).item()) / 0.6931471805599453)


@pytest.mark.parametrize("act, field, value, said", [
    ("sample", "temperature", 1.2, "got 1.2"), ("sample", "seed", -1, "got -1"),
    ("invert", "x", [0] * 783, "got 783"), ("invert", "x", [0] * 783 + [256], "got 256"),
    ("invert", "seed", 1.5, "got 1.5"),
])  # fmt: skip
def test_bad_inputs_are_refused_by_name(model, act, field, value, said):
    act = glow.LIVE.acts[act]
    with pytest.raises(live.Refused, match=f"{field} must be .*{said}: ") as refusal:
        next(act.program(None, {}, exported.inputs_of(act, **{field: value})))
    assert refusal.value.field == field


def test_empty_paper_and_a_dot_are_likelier_than_every_digit(model):
    facts, dot = glow.facts(model), torch.zeros(28, 28, dtype=torch.uint8)
    dot[14, 14] = 255
    for pixels in (torch.zeros_like(dot), dot):
        x = glow.spread_out(pixels.flatten().tolist(), 0)
        assert live.runner(glow.graphs(model))("forward", x=x)["log_p"].item() > max(facts["scores"])
