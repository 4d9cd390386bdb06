"""The live ViT answers and looks as the package's does."""

import onnxruntime
import pytest
import torch

from genai_utils import live
from genai_utils.live.digits import digits
from genai_utils.transformer.vit import attention_rollout
from tools.live import export


@pytest.fixture(scope="module")
def vit():
    return live.load("vit").models()[0]


def classify(vit, **inputs):
    entry = live.load("vit")
    own = {control["name"]: control["value"] for control in entry.acts["classify"].controls}
    step, = entry.acts["classify"].program(live.runner(entry.graphs(vit)), {}, own | inputs)
    return step


def test_logits_and_maps_are_the_models_by_pytorch_and_by_onnx(vit):
    x = digits([33]).float() / 127.5 - 1
    graph = live.load("vit").graphs(vit)["look"]
    with torch.no_grad():
        wanted = vit(x), torch.cat(vit.maps(x))
        found = graph.module(x)
    torch.testing.assert_close(found[0], wanted[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[1], wanted[1], atol=1e-6, rtol=0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(export(graph), options, providers=["CPUExecutionProvider"])
    logits, maps = map(torch.from_numpy, session.run(None, {"x": x.numpy()}))
    torch.testing.assert_close(logits, wanted[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(maps, wanted[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("block", [0, 3])
@pytest.mark.parametrize("head", [0, 3, 4, 5])
def test_the_map_shown_is_the_one_asked_for(vit, block, head):
    x = digits([33])
    maps = [m.double() for m in vit.maps(x.float() / 127.5 - 1)]
    each = [*maps[block][0, :, 0], maps[block][0].mean(0)[0], attention_rollout(maps)[block, 0, 0]]
    wanted = each[head]
    found = classify(vit, x=x.flatten().tolist(), block=block, head=head)
    shown = (found["attention"].flatten().double() + 1) / 2 * found["figures"][1][1] / 100
    torch.testing.assert_close(shown, wanted[1:], atol=1e-5, rtol=0)
    assert abs(found["figures"][0][1] / 100 - wanted[0].item()) < 1e-5


def test_a_digit_is_classified(vit):
    classes = classify(vit, x=digits([33]).flatten().tolist())["classes"]
    assert max(classes, key=lambda c: c[1])[0] == "5" and abs(sum(p for _, p, _ in classes) - 1) < 1e-9


@pytest.mark.parametrize("x, message", [([0] * 64, "784 pixels, got 64"), ([0] * 783 + [256], "got 256"),
                                        ([float("nan")] * 784, "got nan")])
def test_what_is_no_picture_is_refused(vit, x, message):
    with pytest.raises(live.Refused, match=message) as refused:
        classify(vit, x=x)
    assert refused.value.field == "x"
