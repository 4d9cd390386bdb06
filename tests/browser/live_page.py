"""A bare page with the book's live models, opened from a folder: what the programs answer in Chromium."""

import functools
import json
from pathlib import Path

import torch

from genai_utils import live
from genai_utils.widgets.base import HERE
from tools.live import FOLDER

ASK = """async ([name, act, inputs]) => {
  const encode = (v) => (v?.data?.BYTES_PER_ELEMENT ? { dims: v.dims, data: Array.from(v.data, Number) } : v);
  backends[name] ??= pageBackend(base, name, files(name));
  if (!backends[name].ready(act)) await backends[name].load(act, new AbortController().signal, () => {});
  const steps = [];
  for await (const { value, ms } of backends[name].start(act, inputs)) {
    steps.push({ ms, value: Object.fromEntries(Object.entries(value).map(([k, v]) => [k, encode(v)])) });
  }
  return steps;
}"""


INLINE = """class Worker {                        // the worker's program in the page's own thread
  constructor(address) {
    this.handler = fetch(address).then((r) => r.text()).then((source) =>
      new Function("postMessage", `${source}\n;return onmessage;`)((data) => this.onmessage({ data })));
  }
  postMessage(data) { this.handler.then((handler) => setTimeout(() => handler({ data }))); }
}"""


def write(folder: Path, *, inline: bool = False) -> Path:
    """Write the page beside a link to assets/live; return its path. `inline` runs the worker in the page's thread."""
    manifest = json.loads((FOLDER / "manifest.json").read_text())
    entries = {
        name: model | {"runtime": manifest["runtime"],
                       "acts": {act: list(found.graphs) for act, found in live.load(name).acts.items()}}
        for name, model in manifest["models"].items()
    }  # fmt: skip
    if not (folder / "live").exists():
        (folder / "live").symlink_to(FOLDER)
    scripts = "\n".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in ("base", "live"))
    page = folder / f"page{'-inline' * inline}.html"
    page.write_text(f"""<!doctype html><meta charset="utf-8"><title>live</title><script>{INLINE * inline}
{scripts}
const base = new URL("live/", location.href).href, backends = {{}}, entries = {json.dumps(entries)};
const files = (name) => entries[name];</script>""", encoding="utf-8")
    return page


def inputs_of(act: live.Act, preset: dict) -> dict:
    """Return all inputs of a preset: each control's own value where the preset names none."""
    own = {control["name"]: control["value"] for control in act.controls}
    own |= {f"{control['name']}_at": control["at"] for control in act.controls if "at" in control}
    return own | preset


def as_tensors(steps: list[dict]) -> list[dict]:
    """Return the values of steps that came from a page, tensors as tensors."""
    def value(v):
        return torch.tensor(v["data"]).view(v["dims"]) if isinstance(v, dict) and "dims" in v else v

    return [{key: value(v) for key, v in step["value"].items()} for step in steps]


@functools.cache
def python_model(name: str) -> tuple:
    """Return run and facts of a live model in PyTorch."""
    entry = live.load(name)
    models = entry.models()
    return live.runner(entry.graphs(*models)), entry.facts(*models)


def python_steps(name: str, act: str, inputs: dict) -> list[dict]:
    """Return what the twin in Python answers."""
    return list(live.load(name).acts[act].program(*python_model(name), inputs))


def difference(theirs, ours) -> float:
    """Return the largest difference of two values; raise an AssertionError where they are not alike in kind."""
    if isinstance(ours, torch.Tensor):
        assert tuple(theirs.shape) == tuple(ours.shape), f"{tuple(theirs.shape)} for {tuple(ours.shape)}"
        return (theirs.double() - ours.double()).abs().max().item() if ours.numel() else 0.0
    if isinstance(ours, (list, tuple)):
        assert isinstance(theirs, list) and len(theirs) == len(ours), f"{theirs!r} for {ours!r}"
        return max((difference(a, b) for a, b in zip(theirs, ours)), default=0.0)
    if isinstance(ours, float) and not isinstance(theirs, bool):
        return abs(theirs - ours) / max(1.0, abs(ours))
    assert theirs == ours, f"{theirs!r} for {ours!r}"
    return 0.0


def tolerance(name: str, output: str) -> float:
    """Return how far page and PyTorch may be apart: 1e-5 for pictures, but for a walk that magnifies the last digit."""
    return TOLERANCE.get(name, 1e-5)


TOLERANCE = {"diffusion": 1e-4}  # its first estimate divides by 3 % of signal: facts() in genai_utils/live/diffusion.py
