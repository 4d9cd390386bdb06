"""The live velocity field is the U-Net's, the walk is the package's, and a bad number of steps is refused."""

import onnxruntime
import pytest
import torch

from genai_utils import live
from genai_utils.flows.matching import flow_times
from genai_utils.flows.ode import STEPS, solve
from tools.live import export


@pytest.fixture(scope="module")
def unet():
    return live.load("matching").models()[0]


@pytest.fixture(scope="module")
def graph(unet):
    return live.load("matching").graphs(unet)["velocity"]


def draw(graph, **inputs):
    entry = live.load("matching")
    own = {control["name"]: control["value"] for control in entry.acts["draw"].controls}
    return list(entry.acts["draw"].program(live.runner({"velocity": graph}), {}, own | inputs))


def test_one_evaluation_is_the_unets_by_pytorch_and_by_onnx(unet, graph):
    x, t, label = live.SharedRandom(0).normal(1, 1, 28, 28), torch.tensor([0.3]), torch.tensor([4])
    with torch.no_grad():
        wanted = unet(x, torch.tensor([700.0]), label)
    torch.testing.assert_close(graph.module(x, t, label), wanted, atol=1e-5, rtol=0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(export(graph), options, providers=["CPUExecutionProvider"])
    found, = session.run(None, {"x": x.numpy(), "t": t.numpy(), "label": label.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("solver", range(4))
def test_the_walk_is_the_solvers(unet, graph, solver):
    x, label = live.SharedRandom(9).normal(1, 1, 28, 28), torch.tensor([2])
    *_, (_, wanted, evaluations) = solve(
        lambda x, t: unet(x, 1000 * (1 - t), label), x, flow_times(3), method=list(STEPS)[solver])
    steps = draw(graph, solver=solver, steps=3)
    assert [step["figures"][2][1] for step in steps][-1] == evaluations and len(steps) == 3
    torch.testing.assert_close(steps[-1]["pictures"][:1], wanted, atol=1e-5, rtol=0)
    u = unet(x, torch.tensor([1000.0]), label)
    torch.testing.assert_close(steps[0]["pictures"][1:], x + u, atol=1e-5, rtol=0)      # the line from t = 0


@pytest.mark.parametrize("steps", [0, 2.5, float("nan")])
def test_a_bad_number_of_steps_is_refused(graph, steps):
    with pytest.raises(live.Refused, match="whole number of at least 1, got") as refused:
        draw(graph, steps=steps)
    assert refused.value.field == "steps"
