"""Export the live models for the page: python -m tools.live

Writes assets/live: ONNX Runtime Web, the worker's program, and every graph that a `LIVE` entry of genai_utils.live
names, as scripts that each set one string (base64 of gzip): a page that was opened from a folder cannot fetch, but it
can load scripts. Names carry a hash of the content. manifest.json says what is where; NAME.answers.json holds what a
widget shows before the click, so that no chapter has to compute it. What is up to date stays.
"""

import base64
import gzip
import hashlib
import json
import logging
import shutil
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from genai_utils import live
from genai_utils.widgets.run_live import answers
from tools import vendor

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "assets" / "live"
CODE = ROOT / "genai_utils" / "live"
RUNTIME = {"onnxruntime-web": (
    "1.30.0", "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==")}  # fmt: skip
FIRST, LAST = ("tensors", "random", "digits", "text"), "worker"  # order of the JavaScript; the families stand between
PART = 1 << 19                                               # characters of one script, so that progress can be seen
OPSET = 18


def stamp() -> str:
    """Return a hash of all that the files depend on: the package, its weights, this file, the versions."""
    digest = hashlib.sha256(json.dumps([torch.__version__, onnx.__version__, RUNTIME]).encode())
    package = ROOT / "genai_utils"
    files = [p for kind in ("*.py", "*.js", "registry.json") for p in package.rglob(kind)]
    for path in [*sorted(files), Path(__file__)]:
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def export(graph: live.Graph) -> bytes:
    """Return a graph as ONNX: weights that float16 holds exactly are stored so, and computed with in float32."""
    # named axes become dimensions; all others are fixed
    examples = tuple(value.clone() for value in graph.inputs.values())  # of one tensor given twice it makes one input
    shapes = tuple(graph.dynamic.get(name, {}) for name in graph.inputs)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.module.eval(), examples, input_names=list(graph.inputs),
            output_names=list(graph.outputs), dynamic_shapes=shapes, opset_version=OPSET, dynamo=True, verbose=False,
        )  # fmt: skip
    model = program.model_proto
    halve(model.graph)
    inner = model.graph
    for thing in (model, inner, *inner.node, *inner.initializer, *inner.input, *inner.output):
        del thing.metadata_props[:]                     # the exporter writes the paths of source files
        thing.doc_string = ""
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return model.SerializeToString()


def halve(graph) -> None:
    """Store float32 weights as float16 with a cast where no digit is lost."""
    casts = []
    for weight in list(graph.initializer):
        value = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or value.size < 64:
            continue
        with np.errstate(over="ignore"):
            half = value.astype(np.float16)
        if np.array_equal(half.astype(np.float32), value):
            graph.initializer.remove(weight)
            graph.initializer.append(numpy_helper.from_array(half, weight.name + "_half"))
            casts.append(helper.make_node("Cast", [weight.name + "_half"], [weight.name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def pack(name: str, data: bytes) -> dict:
    """Write data as scripts; return {"files": their names, "bytes": what a server that compresses sends of them}."""
    text = base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()
    digest, files = hashlib.sha256(data).hexdigest()[:12], []
    for i in range(0, len(text), PART):
        files.append(f"{name}.{digest}.{i // PART}.js")
        script = f'(globalThis.genaiLive ??= {{}})["{files[-1]}"] = "{text[i:i + PART]}";\n'
        (FOLDER / files[-1]).write_text(script, encoding="ascii")
    return {"files": files, "bytes": len(text) * 3 // 4}


def pack_model(name: str) -> dict:
    """Export and pack one live model; keep the answers that its widget shows before it runs."""
    torch.set_num_threads(1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)     # it says that torchvision is not there
    entry = live.load(name)
    models = entry.models()
    facts = json.dumps(entry.facts(*models), sort_keys=True, separators=(",", ":")).encode()
    graphs = {key: pack(f"{name}-{key}", export(graph)) for key, graph in entry.graphs(*models).items()}
    found = {"facts": pack(f"{name}-facts", facts), "graphs": graphs}
    kept = json.dumps(answers(name), default=lambda data: {"base64": base64.b64encode(data).decode()})
    (FOLDER / f"{name}.answers.json").write_text(kept)
    found["bytes"] = found["facts"]["bytes"] + sum(graph["bytes"] for graph in graphs.values())
    return found


def worker_source() -> str:
    """Return the text of the page's worker: helpers, families in the order of the registry, and the worker itself."""
    parts = [(CODE / f"{stem}.js").read_text(encoding="utf-8") for stem in (*FIRST, *live.NAMES, LAST)]
    return '"use strict";\nconst programs = {};\n' + "\n".join(parts)


def build(workers: int = 2) -> dict:
    """Write assets/live unless it is up to date; return the manifest."""
    path = FOLDER / "manifest.json"
    if path.exists() and (known := json.loads(path.read_text()))["stamp"] == stamp():
        return known
    (name, pin), = RUNTIME.items()
    runtime = vendor.fetch(name, *pin) / "dist"
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        models = dict(zip(live.NAMES, pool.map(pack_model, live.NAMES)))
    parts = {
        "script": pack("runtime", (runtime / "ort.wasm.bundle.min.mjs").read_bytes()),
        "wasm": pack("wasm", (runtime / "ort-wasm-simd-threaded.wasm").read_bytes()),
        "worker": pack("worker", worker_source().encode()),
    }
    manifest = {"stamp": stamp(), "runtime": parts, "models": models}
    path.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    print(f"assets/live: runtime {sum(p['bytes'] for p in parts.values()) / 1e6:.1f} MB; "
          + ", ".join(f"{n} {m['bytes'] / 1e6:.1f}" for n, m in models.items()) + " MB", flush=True)
    return manifest


if __name__ == "__main__":
    try:
        build()
    except vendor.FetchError as error:
        sys.exit(f"error: {error}")
