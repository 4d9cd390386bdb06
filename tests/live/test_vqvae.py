"""The live VQ-VAE and its prior: as the package has them, exported; repainting, encoding, dreaming."""

import pytest
import torch

from genai_utils import live
from genai_utils.live import vqvae
from genai_utils.live.digits import digits
from tests.live import exported


@pytest.fixture(scope="module")
def models():
    return vqvae.LIVE.models()


@pytest.fixture(scope="module")
def facts(models):
    return vqvae.facts(*models)


@torch.no_grad()
def test_the_decoder_is_the_packages_and_the_examples_are_the_digits_codes(models):
    model, grids = models[0], torch.tensor(vqvae.EXAMPLES).view(-1, 7, 7)
    torch.testing.assert_close(vqvae.Decode(model)(grids), model.likelihood.mean(model.decode(grids)), rtol=0, atol=0)
    assert torch.equal(model.encode(digits(vqvae.SHOWN) / 127.5 - 1), grids)
    assert vqvae.PATCHES.shape == (128, 4, 4) and vqvae.PATCHES.max() > 200


@torch.no_grad()
def test_one_code_after_the_other_the_prior_is_the_packages(models, facts):
    prior, past = models[1], torch.zeros(facts["cache"])
    grid, step = torch.tensor(vqvae.EXAMPLES[3]).view(1, 7, 7), vqvae.NextCode(models[1])
    wanted = prior(grid, torch.tensor([5]))[0]
    tokens = [5, *(10 + grid.flatten()[:-1]).tolist()]
    for i, token in enumerate(tokens):
        logits, past = step(torch.tensor([token]), torch.tensor([i]), past)
        torch.testing.assert_close(logits[0], wanted[i], rtol=0, atol=2e-5)
    assert past.shape == (4, 2, 1, 4, 49, 32)


def test_the_graphs_answer_as_the_modules_and_every_program_runs_on_them(models):
    for a, b in exported.side_by_side(vqvae.LIVE, *models, most=12):
        for key in a.keys() - {"figures"}:
            torch.testing.assert_close(b[key], a[key], rtol=0, atol=1e-5)
        for (name, x, *_), (other, y, *_) in zip(a["figures"], b["figures"], strict=True):
            assert name == other and x == pytest.approx(y, abs=1e-4)


def test_repainting_one_code_changes_the_picture_there_and_little_far_away(models, facts):
    act, run = vqvae.LIVE.acts["repaint"], live.runner(vqvae.graphs(*models))
    same = next(act.program(run, facts, exported.inputs_of(act)))
    assert [figure[1] for figure in same["figures"]] == [0, 0]
    other = next(act.program(run, facts, exported.inputs_of(act, **list(act.presets.values())[1])))
    changed = (other["pictures"][1, 0] - other["pictures"][0, 0]).abs()
    assert other["figures"][0][1] == 1 and 10 < other["figures"][1][1] < 200
    assert changed.max() > 0.5 and changed[:, 22:].max() < 0.1


@pytest.mark.parametrize("act, field, value, said", [
    ("repaint", "codes", [0] * 48, "got 48"), ("repaint", "codes", [0] * 48 + [128], "got 128"),
    ("repaint", "codes_at", 10, "got 10"), ("encode", "x", [0.5] * 784, "got 0.5"),
    ("dream", "label", 10, "got 10"), ("dream", "temperature", 0, "got 0"), ("dream", "seed", -1, "got -1"),
])  # fmt: skip
def test_bad_inputs_are_refused_by_name(facts, act, field, value, said):
    act = vqvae.LIVE.acts[act]
    with pytest.raises(live.Refused, match=f"{field} must be .*{said}: ") as refusal:
        next(act.program(None, facts, exported.inputs_of(act, **{field: value})))
    assert refusal.value.field == field
