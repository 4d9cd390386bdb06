"""The live PixelCNN, a row and a pixel at a time, says what the whole network says, and draws as the package does."""

import math

import onnxruntime
import pytest
import torch

from genai_utils import live
from genai_utils.autoregressive import from_levels, sample_pixels, to_levels
from genai_utils.live.digits import digits
from tools.live import export


@pytest.fixture(scope="module")
def model():
    return live.load("pixelcnn").models()[0]


def grow(model, act="grow", **inputs):
    entry = live.load("pixelcnn")
    own = {control["name"]: control["value"] for control in entry.acts[act].controls}
    return entry.acts[act].program(live.runner(entry.graphs(model)), entry.facts(model), own | inputs)


def test_kept_activations_give_the_logits_of_the_whole_network(model):
    x = from_levels(torch.randint(256, (1, 1, 28, 28), generator=torch.Generator().manual_seed(0)), 256)
    label, run = torch.tensor([3]), live.runner(live.load("pixelcnn").graphs(model))
    with torch.no_grad():
        wanted = model(x, label)[0]
    found, v = torch.empty_like(wanted), torch.zeros(7, 48, 1, 28)
    padded = torch.nn.functional.pad(x, (13, 0, 13, 0))
    for r in range(28):
        row = run("row", x=padded[:, :, r : r + 13, 13:], v=v, label=label)
        v, h = row["v_here"], torch.zeros(7, 48)
        for c in range(28):
            pixel = run("pixel", above=row["above"][c], left=padded[0, :, r + 13, c : c + 13], h=h)
            h, found[:, r, c] = pixel["h_here"], pixel["logits"]
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name, scale", [("row", 1), ("pixel", 0.5)])
def test_onnx_says_what_pytorch_says(model, name, scale):
    entry = live.load("pixelcnn").graphs(model)
    graph, g = entry[name], torch.Generator().manual_seed(0)
    inputs = {key: scale * torch.rand(v.shape, generator=g) if key != "label" else v for key, v in graph.inputs.items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(export(graph), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {key: v.numpy() for key, v in inputs.items()})
    for a, b in zip(found, live.runner(entry)(name, **inputs).values()):
        torch.testing.assert_close(torch.from_numpy(a), b, atol=1e-5, rtol=1e-5)


def test_the_picture_is_the_one_that_the_package_draws_by_the_same_chances(model, monkeypatch):
    steps = list(grow(model, seed=7, label=7))
    chances = torch.from_numpy(live.SharedRandom(7).uniform(784)).float().view(784, 1, 1)
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: chances)
    *_, (_, k) = sample_pixels(model, 1, torch.tensor([7]))
    assert len(steps) == 112 and (to_levels(steps[-1]["picture"][:, 0], 256) == k).all()
    assert (steps[55]["picture"][:, :, 14:] == 0).all()                        # half done: grey below
    assert steps[-1]["figures"][1][1] == pytest.approx(
        -model.log_prob(steps[-1]["picture"], torch.tensor([7])).item() / math.log(2), rel=1e-5)
    _, shares, newest = zip(*steps[-1]["next"])
    assert sum(shares) == pytest.approx(1) and newest.index(True) == k[0, -1, -1] // 16


def test_rows_that_are_given_are_kept(model):
    steps, x = list(grow(model, "complete", rows=26)), digits([56])[0, 0, :26]
    assert len(steps) == 8 and (to_levels(steps[-1]["picture"][0, 0, :26], 256) == x).all()


@pytest.mark.parametrize("field, value", [("temperature", 0), ("temperature", -1), ("rows", 28), ("rows", 1.5)])
def test_what_cannot_be_is_refused(model, field, value):
    with pytest.raises(live.Refused, match=f"{field} must be .* got {value:g}: ") as refused:
        next(grow(model, "complete", **{field: value}))
    assert refused.value.field == field
