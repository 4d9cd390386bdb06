"""Measure the live models: `python -m tools.results.live` writes genai_utils/results/live.json (some five minutes).

In headless Chromium, one thread: the size of each model, the milliseconds of each act's steps (median, after a first
run that warms up), and how far its answers are from PyTorch's. At 4x throttle the worker's program runs in the page's
own thread, since the browser throttles only that one. The longest task of the page's thread is that of a whole visit to
the built book (make book), with the model loaded and every act run once.
"""

import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from genai_utils import live
from genai_utils.results import hardware_name, save_results
from tests.browser import built, live_page
from tests.browser.conftest import ARGS
from tools import live as export

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


def longest_tasks(browser) -> dict:
    """Return chapter -> milliseconds of the longest task of the page's own thread, from the click on."""
    found = {}
    for widget in (w for chapter in built.chapters() for w in built.widgets(chapter) if w.kind == "LiveRunner"):
        page = browser.new_page()
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
        found[widget.state["name"]] = {"longest_task_ms": page.evaluate("() => window.longest"),
                                       "load_ms": float(root.get_attribute("data-load"))}  # fmt: skip
        page.close()
    return found


def main() -> None:
    manifest = export.build()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGS)
        page, slow = browser.new_page(), browser.new_page()
        page.goto(live_page.write(Path(folder)).as_uri())
        slow.goto(live_page.write(Path(folder), inline=True).as_uri())
        slow.context.new_cdp_session(slow).send("Emulation.setCPUThrottlingRate", {"rate": 4})
        acts = measure(page, slow)
        pages = longest_tasks(browser)
        version = browser.version
        browser.close()
    values = {
        "acts": acts, "pages": pages, "browser": version, "hardware": hardware_name(),
        "megabytes": {name: model["bytes"] / 1e6 for name, model in manifest["models"].items()},
        "graphs": {name: {key: graph["bytes"] / 1e6 for key, graph in model["graphs"].items()}
                   for name, model in manifest["models"].items()},
        "runtime": sum(part["bytes"] for part in manifest["runtime"].values()) / 1e6,
    }  # fmt: skip
    sources = [f"genai_utils/live/{name}" for name in ("entry.py", *(f"{n}.py" for n in live.NAMES))]
    sources += ["tools/live.py", "tools/results/live.py"]
    save_results("live", values, sources=sources, command="python -m tools.results.live", seeds=[7],
                 libraries=("torch", "onnx", "onnxscript"))  # fmt: skip


if __name__ == "__main__":
    main()
