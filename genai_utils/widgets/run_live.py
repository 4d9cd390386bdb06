"""Run one of the book's own models: stored answers until the reader's click, then the page itself, or the kernel.

The widget draws the controls and outputs that an entry of genai_utils.live names. What it shows comes from one of
three: answers to a few inputs, stored when the chapter ran (always there); the page, once the reader has asked for it
(run_live.js, live.js and the worker); or the kernel, with the chapter's own models, in JupyterLab and Colab.

Shapes:  pictures (n, C, H, W) in [-1, 1], C = 1 or 3; sound (T,) in [-1, 1]; points (n, 2).
"""

import base64
import json
import os
import textwrap
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets as t
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from genai_utils import live
from genai_utils.live.entry import Act, Refused
from genai_utils.widgets import sprites
from genai_utils.widgets.base import HERE, View, check_size, img_html
from genai_utils.widgets.style import COLORS

SCRIPTS = ("base", "live", "live_controls", "live_outputs", "run_live")


def run_live(name: str, *, alt: str, models: list | None = None) -> "LiveRunner":
    """Return the widget of a live model.

    Args:
        name: one of genai_utils.live.NAMES.
        alt: what is to be seen at first, in 30 characters or more; unique in the book.
        models: those with which a kernel answers, in the order of the entry's weights; None: the shipped ones. The
            page always runs the shipped ones, and the stored answers are theirs.
    Raises:
        ValueError: there is no such model, the number of models is wrong, or alt says too little.
    """
    entry = live.load(name)
    if models is not None and len(models) != len(entry.weights):
        raise ValueError(f"{name!r} runs {len(entry.weights)} models ({', '.join(entry.weights)}), got {len(models)}")
    kept, files = built(name)
    acts = [
        {"key": key, "title": act.title, "go": act.go, "film": is_film(act), "controls": list(act.controls),
         "outputs": list(act.outputs),
         "presets": [{"label": label, "inputs": inputs} for label, inputs in act.presets.items()]}
        for key, act in entry.acts.items()
    ]  # fmt: skip
    kept = kept or answers(name)
    shipped = entry.models()
    n = sum(p.numel() for model in shipped for p in model.parameters())
    about = f"{' and '.join(entry.weights)} ({n / 1e6:.1f} million weights, as the book ships them)"
    return LiveRunner(entry, models or shipped, alt=alt, name=name, about=about, acts=acts, answers=kept, files=files)


def answers(name: str) -> list[dict[str, list]]:
    """Return for each act of a model the answers to its presets, {output: value}, and the maps of its planes.

    Raises:
        ValueError: together they would make a page heavy.
    """
    entry, found, total = live.load(name), [], 0
    models = entry.models()
    run, facts = live.runner(entry.graphs(*models)), entry.facts(*models)
    for act in entry.acts.values():
        stored = []
        for preset in act.presets.values():
            steps = list(act.program(run, facts, all_inputs(act, preset)))
            steps = steps if is_film(act) else steps[-1:]
            stored.append({o["name"]: store(o, [step[o["name"]] for step in steps]) for o in act.outputs})
        maps = [plane_map(run, facts, act, c) for c in act.controls if c["kind"] == "plane"]
        total += sum(len(kept.get("data", b"")) for one in stored for kept in one.values())
        total += sum(len(one["data"]) for one in maps)
        found.append({"presets": stored, "maps": maps})
    check_size(total, "store fewer presets, or smaller ones")
    return found


def is_film(act: Act) -> bool:
    """Say whether the reader can go back through the steps of an act."""
    return any(output.get("film") for output in act.outputs)


def all_inputs(act: Act, preset: dict[str, Any]) -> dict[str, Any]:
    """Return a preset's inputs; each control's own value where it names none."""
    own = {control["name"]: control["value"] for control in act.controls}
    own |= {f"{control['name']}_at": control["at"] for control in act.controls if "at" in control}
    return own | preset


def built(name: str) -> tuple[list, dict[str, Any]]:
    """Return the stored answers and the files of a model that tools/live.py wrote, ([], {}) where it did not."""
    path = Path(os.environ.get("GENAI_LIVE") or "nowhere")
    if not path.exists():
        return [], {}
    found = json.loads(path.read_text())
    acts = {key: list(act.graphs) for key, act in live.load(name).acts.items()}
    text = path.with_name(f"{name}.answers.json").read_text()
    kept = json.loads(text, object_hook=lambda d: base64.b64decode(d["base64"]) if d.keys() == {"base64"} else d)
    return kept, {"runtime": found["runtime"], "acts": acts} | found["models"][name]


def store(output: dict[str, Any], values: list) -> dict[str, Any]:
    """Return what a page keeps of an output, a value for each step: pictures as one sheet, sound as 16-bit numbers."""
    if output["kind"] == "pictures":
        pixels = sprites.to_pictures(torch.cat(values))
        columns = sprites.best_columns(len(pixels), *pixels.shape[1:3])
        data, mime = sprites.encode(sprites.tile(pixels, columns))
        return {"data": data, "mime": mime, "n": len(pixels), "columns": columns, "steps": len(values),
                "height": pixels.shape[1], "width": pixels.shape[2]}  # fmt: skip
    if output["kind"] == "sound":
        return {"data": (values[-1].clamp(-1, 1) * 32767).round().to(torch.int16).numpy().tobytes()}
    return {"values": [value.tolist() if isinstance(value, torch.Tensor) else value for value in values]}


def plane_map(run, facts: dict, act: Act, control: dict[str, Any]) -> dict[str, Any]:
    """Return the pictures at n x n points of a plane, from the top row, as one sheet."""
    n, reach = control["n"], control["reach"]
    line = np.linspace(-reach, reach, n)
    points = [[float(x), float(y)] for y in line[::-1] for x in line]
    first = act.outputs[0]["name"]
    pictures = [next(act.program(run, facts, all_inputs(act, {control["name"]: p})))[first] for p in points]
    pixels = sprites.to_pictures(torch.cat(pictures))
    data, mime = sprites.encode(sprites.tile(pixels, n))
    return {"data": data, "mime": mime, "height": pixels.shape[1], "width": pixels.shape[2]}


class LiveRunner(View):
    """The widget that `run_live` returns."""

    _esm = "\n".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    _css = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("base.css", "run_live.css"))
    name = t.Unicode().tag(sync=True)
    about = t.Unicode().tag(sync=True)  # which weights, and how many
    acts = t.List().tag(sync=True)
    answers = t.List().tag(sync=True)
    files = t.Dict().tag(sync=True)

    def __init__(self, entry: live.Live, models: list, **traits) -> None:
        super().__init__(**traits)
        self._entry, self._models, self._ready, self._runs = entry, models, None, {}
        self.on_msg(self._hear)

    def _hear(self, _, message: dict[str, Any], buffers) -> None:
        """Answer one call of the view (kernelBackend in live.js)."""
        reply, data = {"id": message["id"]}, []
        try:
            for key, value in self._answer(message).items():
                if key == "value":
                    value = {k: pack(v, data) for k, v in value.items()}
                reply[key] = value
        except Refused as error:
            reply |= {"error": str(error), "field": error.field}
        except Exception as error:  # the reader is told beside the button, the kernel goes on
            reply["error"] = f"{type(error).__name__}: {error}"
        self.send(reply, buffers=data)

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        operation, key = message["operation"], message.get("run")
        if operation == "start":
            if self._ready is None:
                self._ready = live.runner(self._entry.graphs(*self._models)), self._entry.facts(*self._models)
            self._runs[key] = self._entry.acts[message["act"]].program(*self._ready, message["inputs"])
        elif operation == "next":
            value = next(self._runs.get(key, iter(())), None)
            if value is None:
                self._runs.pop(key, None)
            return {"done": value is None, "value": value or {}}
        elif operation == "stop":
            self._runs.pop(key, None)
        return {}

    def picture(self) -> str:
        act, stored = self.acts[0], self.answers[0]["presets"][0]
        label = f"{act['title']}: {act['presets'][0]['label']}."
        for output in act["outputs"]:
            if output["kind"] == "pictures":
                one = stored[output["name"]]
                rows = -(-one["n"] // one["columns"])
                width = min(560, one["columns"] * one["width"] * max(1, 168 // (rows * one["height"])))
                image = img_html(one["data"], one["mime"], self.alt, width, style="image-rendering:pixelated")
                return f"{image}<figcaption>{escape(label)}</figcaption>"
        return f"{self._chart(act, stored)}<figcaption>{escape(label)}</figcaption>"

    def _chart(self, act: dict[str, Any], stored: dict[str, Any]) -> str:
        """Return an `<img>` of the first act's bars, or of its words, or of its sound."""
        kinds = {o["kind"]: stored[o["name"]] for o in act["outputs"]}
        fig = Figure(figsize=(6.4, 3.2), layout="constrained")
        canvas, ax = FigureCanvasAgg(fig), fig.subplots()
        if "bars" in kinds:
            rows = kinds["bars"]["values"][-1]
            ax.barh([r[0] for r in rows], [100 * r[1] for r in rows], color=COLORS["blue"])
            ax.set(xlabel="share (%)")
            ax.invert_yaxis()
        elif "words" in kinds:
            words = "".join(part for part, _ in kinds["words"]["values"][-1])
            ax.text(0, 1, textwrap.fill(words, 70), va="top", family="monospace", fontsize=9, parse_math=False)
            ax.axis("off")
        else:
            ax.plot(np.frombuffer(kinds["sound"]["data"], "<i2") / 32767, lw=0.5, color=COLORS["blue"])
            ax.set(xlabel="sample", ylabel="pressure")
        canvas.draw()
        data, mime = sprites.encode(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        return img_html(data, mime, self.alt, 640, style="background:#fff;border-radius:6px")


def pack(value: Any, data: list[bytes]) -> Any:
    """Return a value as JSON holds it; of a tensor its shape, its float32 numbers being appended to `data`."""
    if not isinstance(value, torch.Tensor):
        return value
    data.append(value.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes())
    return {"dims": list(value.shape), "buffer": len(data) - 1}
