"""Measure the live models: `python -m tools.results.live` writes genai_utils/results/live.json (some six minutes).

In headless Chromium, one thread: the size of each model, the milliseconds of each act's steps (median, after a first
run that warms up), and how far its answers are from PyTorch's. At 4x throttle the worker's program runs in the page's
own thread, since the browser throttles only that one. The longest task of the page's thread is that of a visit to the
built book (make book), from the click to the first answer: the median of three visits. Walks from many seeds say how
often page and PyTorch draw the same picture, beside how far PyTorch is from itself with its network in float64.
"""

import statistics
import tempfile
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright
from torch import Tensor

from genai_utils import live
from genai_utils.live import diffusion
from genai_utils.live.entry import Run
from genai_utils.results import hardware_name, save_results
from genai_utils.widgets.sprites import to_pictures
from tests.browser import built, live_page
from tests.browser.conftest import ARGS
from tools import live as export

SEEDS = 20
LONG = """() => { window.longest = 0; new PerformanceObserver((list) => {
    for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
}).observe({ type: "longtask" }); }"""


def steps_of(page, name: str, act: str, inputs: dict) -> tuple[list[float], list[dict]]:
    """Return the milliseconds of each step, and the answers."""
    raw = page.evaluate(live_page.ASK, [name, act, inputs])
    return [step["ms"] for step in raw], live_page.as_tensors(raw)


def measure(page, slow) -> dict:
    """Return what is measured of every act: its first preset, by a page and by one at a quarter of the speed."""
    found = {}
    for name in live.NAMES:
        entry, found[name] = live.load(name), {}
        for key, act in entry.acts.items():
            inputs = live_page.inputs_of(act, {})
            steps_of(page, name, key, inputs)                             # warm
            ms, answers = steps_of(page, name, key, inputs)
            steps_of(slow, name, key, inputs)
            slower, _ = steps_of(slow, name, key, inputs)
            ours = live_page.python_steps(name, key, inputs)[-1]
            far = max(live_page.difference(answers[-1][o["name"]], ours[o["name"]]) for o in act.outputs)
            found[name][key] = {
                "title": act.title, "steps": len(ms), "difference": far,
                "ms": statistics.median(ms), "ms_max": max(ms), "seconds": sum(ms) / 1000,
                "ms_throttled": statistics.median(slower), "seconds_throttled": sum(slower) / 1000,
            }  # fmt: skip
            print(name, key, found[name][key], flush=True)
    return found


def wide(name: str) -> Run:
    """Return the run of a model whose networks compute in float64."""
    entry = live.load(name)
    run = live.runner(entry.graphs(*(model.double() for model in entry.models())))

    def go(graph: str, **inputs: Tensor) -> dict[str, Tensor]:
        found = run(graph, **{key: v.double() if v.is_floating_point() else v for key, v in inputs.items()})
        return {key: v.float() for key, v in found.items()}

    return go


def walks(page) -> dict:
    """Return, of the last pictures of walks from many seeds, how far is the page from PyTorch, PyTorch from float64.

    `grey` counts the pixels, of all pictures together, whose grey level differs.
    """
    found = {}
    for name, sampler in (("matching", None), ("diffusion", 0), ("diffusion", 1), ("diffusion", 2)):
        act, exact, (_, facts) = live.load(name).acts["draw"], wide(name), live_page.python_model(name)
        far, own, grey = [], [], 0
        for seed in range(SEEDS):
            inputs = live_page.inputs_of(act, {"seed": seed, "label": seed % 10})
            inputs |= {} if sampler is None else {"sampler": sampler}
            theirs = steps_of(page, name, "draw", inputs)[1][-1]["pictures"][0]
            ours = live_page.python_steps(name, "draw", inputs)[-1]["pictures"][0]
            float64 = list(act.program(exact, facts, inputs))[-1]["pictures"][0]
            far.append((theirs - ours).abs().max().item())
            own.append((ours - float64).abs().max().item())
            grey += (to_pictures(theirs[None]) != to_pictures(ours[None])).any(-1).sum().item()
        found[name if sampler is None else diffusion.SAMPLERS[sampler]] = {
            "n": SEEDS, "median": statistics.median(far), "worst": max(far), "within": sum(d <= 1e-5 for d in far),
            "grey": grey, "float64_median": statistics.median(own), "float64_worst": max(own),
        }  # fmt: skip
    print(found, flush=True)
    return found


def same_noise(n: int = 40) -> dict:
    """Return what two digits of chapter 16 out of the same noise have in common: correlations over n seeds."""
    act, found = live.load("diffusion").acts["draw"], {"n": n}
    for labels in ((7, 3), (4, 9), (0, 6)):
        inputs = [[live_page.inputs_of(act, {"seed": s, "label": label}) for label in labels] for s in range(n)]
        looks = [[look(live_page.python_steps("diffusion", "draw", i)[-1]["pictures"][0, 0]) for i in pair]
                 for pair in inputs]  # fmt: skip
        slant, ink = (torch.corrcoef(torch.tensor(looks)[:, :, k].T)[0, 1].item() for k in (0, 1))
        found["{}-{}".format(*labels)] = {"slant": slant, "ink": ink}
    return found


def look(picture: Tensor) -> tuple[float, float]:
    """Return of a digit (H, W) in [-1, 1] its slant, in columns a row, and its ink, the mean over the picture."""
    ink = (picture.double().clamp(-1, 1) + 1) / 2
    w, (rows, columns) = ink / ink.sum(), torch.meshgrid(*map(torch.arange, ink.shape), indexing="ij")
    rows, columns = rows - (w * rows).sum(), columns - (w * columns).sum()
    return ((w * rows * columns).sum() / (w * rows**2).sum()).item(), ink.mean().item()


def longest_tasks(browser) -> dict:
    """Return of each model what a visit to its page costs: medians of three."""
    found = {}
    for widget in (w for chapter in built.chapters() for w in built.widgets(chapter) if w.kind == "LiveRunner"):
        visits = [longest_task(browser, widget) for _ in range(3)]
        tasks, loads = zip(*visits)
        found[widget.state["name"]] = {"longest_task_ms": statistics.median(tasks), "longest_task_ms_worst": max(tasks),
                                       "load_ms": statistics.median(loads)}  # fmt: skip
    return found


def longest_task(browser, widget) -> tuple[float, float]:
    """Return the milliseconds of the longest task of the page's own thread from the click on, and of loading."""
    with browser.new_page() as page:
        page.goto((built.BOOK / widget.page).as_uri(), wait_until="load")
        root = page.locator(".gw").nth(widget.place)
        page.wait_for_function("() => document.querySelector('.gw-run-live[data-state=stored]')")
        page.wait_for_timeout(2000)
        page.evaluate(LONG)
        root.locator(".gw-live-run").click()
        page.wait_for_function("e => e.dataset.state === 'page'", arg=root.element_handle())
        act = widget.state["acts"][0]
        if act["go"]:
            root.get_by_role("button", name=act["go"], exact=True).click()
        page.wait_for_function("e => +(e.dataset.done ?? 0) > 0", arg=root.element_handle())
        return page.evaluate("() => window.longest"), float(root.get_attribute("data-load"))


def main() -> None:
    manifest = export.build()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGS)
        page, slow = browser.new_page(), browser.new_page()
        page.goto(live_page.write(Path(folder)).as_uri())
        slow.goto(live_page.write(Path(folder), inline=True).as_uri())
        slow.context.new_cdp_session(slow).send("Emulation.setCPUThrottlingRate", {"rate": 4})
        acts, far = measure(page, slow), walks(page)
        pages = longest_tasks(browser)
        version = browser.version
        browser.close()
    values = {
        "acts": acts, "walks": far, "same_noise": same_noise(), "pages": pages,
        "browser": version, "hardware": hardware_name(),
        "megabytes": {name: model["bytes"] / 1e6 for name, model in manifest["models"].items()},
        "graphs": {name: {key: graph["bytes"] / 1e6 for key, graph in model["graphs"].items()}
                   for name, model in manifest["models"].items()},
        "runtime": sum(part["bytes"] for part in manifest["runtime"].values()) / 1e6,
    }  # fmt: skip
    sources = [f"genai_utils/live/{name}" for name in ("entry.py", "steady.py", *(f"{n}.py" for n in live.NAMES))]
    sources += ["tools/live.py", "tools/results/live.py"]
    save_results("live", values, sources=sources, command="python -m tools.results.live", seeds=range(SEEDS),
                 libraries=("torch", "onnx", "onnxscript"))  # fmt: skip


if __name__ == "__main__":
    main()
