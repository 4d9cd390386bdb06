"""Live models without a browser: shared random numbers, entries, export, and the kernel's answers to the widget."""

import base64
import gzip
import hashlib
import json
import re

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from genai_utils import live
from genai_utils.live import SharedRandom
from genai_utils.live.entry import runner
from genai_utils.widgets import run_live
from genai_utils.widgets.run_live import all_inputs
from tools import live as export

ALT = "Pictures that stand here for the sake of a test of the widget."
ACTS = [(name, act) for name in live.NAMES for act in live.load(name).acts]


def session(graph):
    """An onnxruntime session of an exported graph, one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(export.export(graph), options, providers=["CPUExecutionProvider"])


# ---- random numbers


def test_uniform_numbers_are_mulberry32s():
    """The first three of seed 1, worked out by the definition in plain Python."""
    state, wanted = 1, []
    for _ in range(3):
        state = (state + 0x6D2B79F5) % 2**32
        t = (state ^ state >> 15) * (state | 1) % 2**32
        t = (t + (t ^ t >> 7) * (t | 61)) % 2**32 ^ t
        wanted.append((t ^ t >> 14) / 2**32)
    assert SharedRandom(1).uniform(3).tolist() == wanted


def test_numbers_come_in_one_stream_however_they_are_asked_for():
    one, parts = SharedRandom(5), SharedRandom(5)
    assert one.uniform(7).tolist() == [*parts.uniform(3), *parts.uniform(4)]
    assert torch.equal(SharedRandom(9).normal(2, 4).flatten()[:6], SharedRandom(9).normal(6))


def test_normal_numbers_are_normal():
    x = SharedRandom(3).normal(40_000).double()
    assert abs(x.mean()) < 4 / 200 and abs(x.var() - 1) < 4 * 2**0.5 / 200
    assert abs((x.abs() < 1).double().mean() - 0.6827) < 4 * (0.68 * 0.32) ** 0.5 / 200


def test_pick_follows_the_probabilities_and_never_takes_an_impossible_one():
    random, p = SharedRandom(0), torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0])
    picks = np.bincount([random.pick(p) for _ in range(4000)], minlength=5) / 4000
    assert picks[[0, 2, 4]].tolist() == [0, 0, 0] and abs(picks[1] - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_beyond_32_bits_are_refused(seed):
    with pytest.raises(ValueError, match=f"got {seed}"):
        SharedRandom(seed)


# ---- entries


def test_unknown_names_are_refused_with_those_there_are():
    with pytest.raises(ValueError, match="'gnn'.*vae"):
        live.load("gnn")


@pytest.mark.parametrize("name, act", ACTS)
def test_an_act_has_its_twin_its_graphs_and_presets_of_its_own_controls(name, act):
    entry, script = live.load(name), (export.CODE / f"{name}.js").read_text()
    found = entry.acts[act]
    assert re.search(rf"^programs\.{name} = \{{", script, re.M)
    assert re.search(rf"async \*{act}\(|^programs\.{name}\.{act} = ", script, re.M)
    assert set(found.graphs) <= entry.graphs(*entry.models()).keys()
    known = set(all_inputs(found, {}))
    assert all(set(preset) <= known for preset in found.presets.values()) and {} in found.presets.values()


@pytest.mark.parametrize("name", ["vae", "diffusion"])
def test_graphs_equal_their_modules(name):
    entry = live.load(name)
    for graph in entry.graphs(*entry.models()).values():
        generator = torch.Generator().manual_seed(0)
        noise = {k: torch.randn(x.shape, generator=generator) for k, x in graph.inputs.items() if x.is_floating_point()}
        inputs = graph.inputs | noise
        ours = runner({"graph": graph})("graph", **inputs)
        theirs = session(graph).run(None, {k: x.numpy() for k, x in inputs.items()})
        for a, (key, b) in zip(theirs, ours.items()):
            assert np.abs(a - b.numpy()).max() < 1e-5 * max(1, b.abs().max().item()), key


# ---- export


def test_weights_are_halved_where_that_loses_nothing_and_nothing_else_is_said():
    entry = live.load("vae")
    graph = entry.graphs(*entry.models())["decode"]
    data = export.export(graph)
    model = onnx.ModelProto.FromString(data)
    kinds = {t.data_type: 0 for t in model.graph.initializer}
    for t in model.graph.initializer:
        kinds[t.data_type] += int(np.prod(t.dims))
    assert kinds[onnx.TensorProto.FLOAT16] > 0.99 * sum(kinds.values())
    assert not any(n.metadata_props or n.doc_string for n in model.graph.node) and b"site-packages" not in data
    assert hashlib.sha256(export.export(graph)).digest() == hashlib.sha256(data).digest()


def test_weights_that_half_precision_would_change_stay_as_they_are():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.linspace(0, 1, 300))

        def forward(self, x):
            return x * self.w

    x = torch.ones(300)
    found, = session(live.Graph(module=Odd(), inputs={"x": x}, outputs=("y",))).run(None, {"x": x.numpy()})
    np.testing.assert_array_equal(found, torch.linspace(0, 1, 300).numpy())


def test_packed_files_give_the_data_back(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "FOLDER", tmp_path)
    data = np.random.default_rng(0).bytes(1_000_000)
    found = export.pack("noise", data)
    text = "".join(json.loads((tmp_path / f).read_text().partition("] = ")[2].rstrip(";\n")) for f in found["files"])
    assert len(found["files"]) == 3 and gzip.decompress(base64.b64decode(text)) == data
    assert abs(found["bytes"] - len(gzip.compress(data, 9))) < 50


def test_a_built_book_brings_stored_answers_and_files(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "FOLDER", tmp_path)
    manifest = {"runtime": {}, "models": {"vit": export.pack_model("vit")}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("GENAI_LIVE", str(tmp_path / "manifest.json"))
    brought = run_live("vit", alt=ALT)
    monkeypatch.setenv("GENAI_LIVE", "")
    computed = run_live("vit", alt=ALT)
    assert brought.files["acts"] == {"classify": ["look"]} and computed.files == {}
    assert all((tmp_path / name).exists() for name in brought.files["graphs"]["look"]["files"])
    first, second = brought.answers[0]["presets"][0], computed.answers[0]["presets"][0]
    assert first["picture"]["data"] == second["picture"]["data"] and isinstance(first["picture"]["data"], bytes)
    assert [row[0] for row in first["classes"]["values"][0]] == [row[0] for row in second["classes"]["values"][0]]


# ---- the kernel


class Wire:
    """Stands for the connection to the view: keeps what the kernel sends."""

    def __init__(self, widget):
        self.widget, self.sent = widget, []
        widget.send = lambda content, buffers: self.sent.append((content, buffers))

    def ask(self, **message):
        self.widget._hear(None, {"id": len(self.sent)} | message, [])
        return self.sent[-1]


@pytest.fixture(scope="module")
def wire():
    return Wire(run_live("vae", alt=ALT))


def test_the_kernel_answers_step_by_step(wire):
    assert wire.ask(operation="ping")[0] == {"id": 0}
    wire.ask(operation="start", act="decode", inputs={"z": [0, 1]}, run="a")      # JSON turns 0.0 into 0
    content, buffers = wire.ask(operation="next", run="a")
    picture = np.frombuffer(buffers[content["value"]["picture"]["buffer"]], "<f4").reshape(1, 1, 28, 28)
    entry = live.load("vae")
    run = runner(entry.graphs(*entry.models()))
    np.testing.assert_array_equal(picture, run("decode", z=torch.tensor([[0.0, 1.0]]))["x"].numpy())
    assert wire.ask(operation="next", run="a")[0]["done"] is True
    assert wire.ask(operation="next", run="a")[0]["done"] is True                  # stays so
    wire.ask(operation="start", act="decode", inputs={"z": [0, 1]}, run="b")
    wire.ask(operation="stop", run="b")
    assert wire.ask(operation="next", run="b")[0]["done"] is True


def test_the_kernel_tells_what_went_wrong_and_goes_on(wire):
    wire.ask(operation="start", act="decode", inputs={"z": ["x", 1]}, run="c")
    content, _ = wire.ask(operation="next", run="c")
    assert "error" in content and content["id"] == len(wire.sent) - 1
    wire.ask(operation="start", act="decode", inputs={"z": [1, 1]}, run="d")
    assert "value" in wire.ask(operation="next", run="d")[0]


def test_the_kernel_answers_with_the_chapters_own_model():
    entry = live.load("vae")
    own, = entry.models()
    with torch.no_grad():
        for p in own.decoder[-1].parameters():
            p.zero_()                                                              # decodes grey everywhere
    wire = Wire(run_live("vae", models=[own], alt=ALT))
    wire.ask(operation="start", act="decode", inputs={"z": [0, 0]}, run="a")
    _, (picture,) = wire.ask(operation="next", run="a")
    assert not np.frombuffer(picture, "<f4").any()


def test_a_wrong_number_of_models_and_a_short_alt_are_refused():
    with pytest.raises(ValueError, match="vae-map-mnist.*got 2"):
        run_live("vae", models=[1, 2], alt=ALT)
    with pytest.raises(ValueError, match="30 characters"):
        run_live("vae", alt="short")
