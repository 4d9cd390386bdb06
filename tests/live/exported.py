"""For the tests of live models: their graphs by onnxruntime on one thread, and their JavaScript in node."""

import itertools
import json
import shutil
import subprocess

import onnxruntime
import pytest
import torch

from genai_utils import live
from genai_utils.widgets.run_live import all_inputs
from tools import live as export


def session(graph):
    """Return run(**inputs) -> {output: tensor} of a graph as it is exported."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    made = onnxruntime.InferenceSession(export.export(graph), options, providers=["CPUExecutionProvider"])

    def run(**inputs):
        found = made.run(list(graph.outputs), {key: value.numpy() for key, value in inputs.items()})
        return dict(zip(graph.outputs, map(torch.from_numpy, found)))

    return run


def runner(graphs):
    """Return run(graph, **inputs) -> {output: tensor} by the exported graphs, as live.runner runs their modules."""
    sessions = {key: session(graph) for key, graph in graphs.items()}
    return lambda name, **inputs: sessions[name](**{key: value.contiguous() for key, value in inputs.items()})


def inputs_of(act, **others):
    """Return each control's own value, or another one."""
    return all_inputs(act, others)


def side_by_side(entry, *models, most=None):
    """Yield, of every act's first `most` steps, what a program answers by PyTorch's modules and by the graphs."""
    graphs, facts = entry.graphs(*models), entry.facts(*models)
    ours, theirs = live.runner(graphs), runner(graphs)
    for act in entry.acts.values():
        inputs = inputs_of(act)
        steps = zip(act.program(ours, facts, inputs), act.program(theirs, facts, inputs), strict=True)
        yield from itertools.islice(steps, most)


def javascript(folder, body, argument):
    """Return what an async function (argument) of this body returns, with all of the worker's functions around it."""
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not installed, so that JavaScript cannot be tested outside a browser")
    script = folder / "script.js"
    ask = f"(async (argument) => {{ {body} }})({json.dumps(argument)}).then((v) => console.log(JSON.stringify(v)));"
    script.write_text(f"let onmessage;\n{export.worker_source()}\n{ask}", encoding="utf-8")
    done = subprocess.run([node, script], capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


REFUSE = """
  const [name, act, facts, every] = argument, run = async () => { throw new Error("not refused"); };
  const said = async (inputs) => {
    try { await programs[name][act](run, facts, inputs).next(); } catch (e) { return [e.field ?? null, e.message]; }
  };
  return Promise.all(every.map(said));"""


def refused_by_page(folder, name, act, facts, every):
    """Return [field, message] for each of several inputs that a program in JavaScript should refuse."""
    return javascript(folder, REFUSE, [name, act, facts, every])
