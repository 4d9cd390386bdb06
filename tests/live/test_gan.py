"""The live DCGAN: its generator as the package has it, exported, its walks and what they refuse."""

import pytest
import torch

from genai_utils import live
from genai_utils.live import SharedRandom, gan
from tests.live import exported


@pytest.fixture(scope="module")
def model():
    return gan.LIVE.models()[0]


def test_the_generator_is_the_packages_in_either_mode(model):
    z = SharedRandom(1).normal(5, 64)
    wanted = model.generator(z)
    torch.testing.assert_close(gan.Generator(model)(z), wanted, rtol=0, atol=2e-6)
    try:
        torch.testing.assert_close(gan.Generator(model.train())(z), wanted, rtol=0, atol=2e-6)
    finally:
        model.eval()


def test_the_graph_answers_as_the_module_and_every_program_runs_on_it(model):
    for a, b in exported.side_by_side(gan.LIVE, model):
        for key in a:
            torch.testing.assert_close(b[key], a[key], rtol=0, atol=1e-5)


def test_a_walk_begins_and_ends_at_its_two_codes_and_keeps_their_length(model):
    seen = []

    def run(name, z):
        seen.append(z)
        return {"x": torch.zeros(len(z), 1, 32, 32)}

    next(gan.walk(run, gan.facts(model), {"from": 3, "to": 4, "place": 0.5}))
    a, b = (SharedRandom(s).normal(64) for s in (3, 4))
    torch.testing.assert_close(seen[0][1], a)
    torch.testing.assert_close(seen[0][9], b)
    torch.testing.assert_close(seen[0][0], seen[0][5])
    assert seen[0].norm(dim=1).min() > 0.99 * min(a.norm(), b.norm())


@pytest.mark.parametrize("wrong", [{"from": -1}, {"to": 0.5}, {"to": 2**32}, {"place": 1.01}, {"place": "half"}])
def test_bad_inputs_are_refused_by_name(model, wrong):
    (field, value), = wrong.items()
    with pytest.raises(live.Refused, match=f"{field} must be .* got {value}: choose") as refusal:
        next(gan.walk(None, gan.facts(model), exported.inputs_of(gan.LIVE.acts["walk"], **wrong)))
    assert refusal.value.field == field
