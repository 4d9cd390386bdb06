"""The live StyleGAN2: mapping and synthesis as the package has them, exported; truncation, mixing, walks."""

import copy

import pytest
import torch

from genai_utils import live
from genai_utils.live import SharedRandom, stylegan
from tests.live import exported


@pytest.fixture(scope="module")
def model():
    return stylegan.LIVE.models()[0]


@torch.no_grad()
def test_mapping_and_synthesis_are_the_packages(model):
    z, noise = SharedRandom(1).normal(4, 64), SharedRandom(2).normal(1, 2704)
    w, wide = stylegan.MappingWide(model)(z), copy.deepcopy(model.mapping).double()(z.double())
    torch.testing.assert_close(w, wide.float(), rtol=0, atol=1e-6)
    torch.testing.assert_close(w, model.mapping(z), rtol=0, atol=1e-5)
    places, layers, at = w[:, None].repeat(1, 8, 1), [], 0
    for conv in model.synthesis.convs:
        layers.append(noise[:, at : at + conv.side**2].view(1, 1, conv.side, conv.side))
        at += conv.side**2
    x = stylegan.Synthesis(model)(places, noise)
    torch.testing.assert_close(x, model.synthesis(places, layers), rtol=0, atol=0)
    assert (stylegan.Synthesis(model)(places, -noise) - x).abs().max() > 0.01


def test_the_graphs_answer_as_the_modules_and_every_program_runs_on_them(model):
    for a, b in exported.side_by_side(stylegan.LIVE, model):
        for key in a:
            torch.testing.assert_close(b[key], a[key], rtol=0, atol=1e-5)


@pytest.mark.parametrize("psi", [0, 0.4, 1])
@torch.no_grad()
def test_truncation_is_the_packages(model, psi):
    run, seen = live.runner(stylegan.graphs(model)), []

    def spy(name, **inputs):
        seen.append(inputs.get("w"))
        return run(name, **inputs)

    next(stylegan.truncate(spy, stylegan.facts(model), {"seed": 5, "psi": psi, "noise": 0}))
    z = torch.stack([SharedRandom(5 + i).normal(64) for i in range(8)])
    torch.testing.assert_close(seen[-1], model.styles(z, truncation=psi), rtol=0, atol=1e-5)


def test_the_crossover_goes_from_all_fine_to_all_coarse(model):
    run, facts = live.runner(stylegan.graphs(model)), stylegan.facts(model)
    none, half, all_ = (next(stylegan.mix(run, facts, {"coarse": 14, "fine": 11, "crossover": k}))["pictures"]
                        for k in (0, 4, 8))  # fmt: skip
    torch.testing.assert_close(none[2], none[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(all_[2], all_[0], rtol=0, atol=1e-5)
    assert (half[2] - half[0]).abs().max() > 0.1 and (half[2] - half[1]).abs().max() > 0.1


@pytest.mark.parametrize("act, field, value", [
    ("truncate", "psi", 1.6), ("truncate", "noise", -1), ("truncate", "seed", 0.5),
    ("mix", "crossover", 9), ("mix", "crossover", 2.5), ("mix", "fine", -1),
    ("walk", "place", -0.1), ("walk", "to", -2),
])  # fmt: skip
def test_bad_inputs_are_refused_by_name(model, act, field, value):
    act = stylegan.LIVE.acts[act]
    with pytest.raises(live.Refused, match=f"{field} must be .* got {value}: choose") as refusal:
        next(act.program(None, stylegan.facts(model), exported.inputs_of(act, **{field: value})))
    assert refusal.value.field == field
