"""The live WaveNet, a sample at a time, says what the whole network says, further back than it can see."""

import math

import onnxruntime
import pytest
import torch

from genai_utils import live
from genai_utils.autoregressive.wavenet import dilations, receptive_field
from genai_utils.data import mu_law_encode
from tools.live import export


@pytest.fixture(scope="module")
def model():
    return live.load("wavenet").models()[0]


def play(model, **inputs):
    entry = live.load("wavenet")
    own = {control["name"]: control["value"] for control in entry.acts["play"].controls}
    return entry.acts["play"].program(live.runner(entry.graphs(model)), entry.facts(model), own | inputs)


def test_queues_give_the_logits_of_the_whole_network(model):
    codes = torch.randint(256, (1, 600), generator=torch.Generator().manual_seed(0))
    assert receptive_field(model.cfg) < 600
    label, run = torch.tensor([5]), live.runner(live.load("wavenet").graphs(model))
    with torch.no_grad():
        wanted = model(codes, label)[0]
    found, read = torch.empty_like(wanted), torch.zeros(600, 16, 32)
    for i in range(600):
        past = torch.stack([read[i - d, l] if i >= d else torch.zeros(32) for l, d in enumerate(dilations(model.cfg))])
        answer = run("sample", code=codes[:, i - 1] if i else torch.tensor([256]), label=label, past=past)
        found[:, i], read[i] = answer["logits"], answer["read"]
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-5)


def test_onnx_says_what_pytorch_says(model):
    entry = live.load("wavenet").graphs(model)
    inputs = entry["sample"].inputs | {"past": torch.randn(16, 32, generator=torch.Generator().manual_seed(0))}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(export(entry["sample"]), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {key: v.numpy() for key, v in inputs.items()})
    for (name, wanted), a in zip(live.runner(entry)("sample", **inputs).items(), found):
        torch.testing.assert_close(torch.from_numpy(a), wanted, atol=1e-4 if name == "logits" else 1e-5, rtol=0)


def test_what_the_samples_cost_is_what_the_model_says_of_the_wave(model):
    *_, before, last = play(model, seconds=0.13, label=5)                      # 1040 samples: the queues go round
    codes = mu_law_encode(last["sound"])[None]
    cost = -model.log_prob(codes, torch.tensor([5])).item() / math.log(2) / 1040
    assert last["sound"].shape == (1040,) and last["figures"][1][1] == pytest.approx(cost, rel=1e-5)
    assert torch.equal(before["sound"], last["sound"][:800])


@pytest.mark.parametrize("field, value", [("temperature", 0), ("seconds", 0), ("seconds", 1.5), ("seconds", -1)])
def test_what_cannot_be_is_refused(model, field, value):
    with pytest.raises(live.Refused, match=f"{field} must be .* got {value:g}: ") as refused:
        next(play(model, **{field: value}))
    assert refused.value.field == field
