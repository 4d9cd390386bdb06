"""In a real JupyterLab the kernel answers: with the shipped model, and with the reader's own."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
import torch

from genai_utils import live
from genai_utils.vae import VAE
from genai_utils.weights import load_weights
from tests.browser import built, live_page

CELLS = [
    'import torch\n'
    'from genai_utils.vae import VAE\n'
    'from genai_utils.weights import load_weights\n'
    'from genai_utils.widgets import run_live\n'
    'run_live("vae", alt="A map of digits, answered by the kernel with the shipped model.")',
    'mine = load_weights("vae-map-mnist", VAE)\n'
    'with torch.no_grad():\n'
    '    for p in mine.parameters():\n'
    '        p.mul_(0.9)\n'
    'run_live("vae", models=[mine], alt="A map of digits, answered by the kernel with a model of my own.")',
    'run_live("gan", alt="Walks between digits, for which no kernel is left when asked.")',
]

KERNEL = """(wanted) => { const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === 'connected' && kernel.status === wanted; }"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab that serves one notebook, with settings of its own."""
    folder = tmp_path_factory.mktemp("lab")
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "live.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    env = os.environ | own | {"PYTHONPATH": str(built.SOURCE), "OMP_NUM_THREADS": "1"}
    env.pop("GENAI_LIVE", None)
    options = ["--no-browser", "--allow-root", f"--ServerApp.port={port}", "--IdentityProvider.token=",
               f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with open(folder / "log", "w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], env=env, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            if server.poll() is not None:
                pytest.fail(f"JupyterLab ended: {(folder / 'log').read_text()[-2000:]}", pytrace=False)
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).read()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def boxes(lab, chromium):
    """(page, the three widgets) when all cells have run."""
    page = chromium.new_page(viewport={"width": 1280, "height": 3000})     # cells out of view are not drawn
    page.set_default_timeout(120_000)
    page.goto(f"{lab}/lab/tree/live.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_function(KERNEL, arg="idle")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.wait_for_function("() => document.querySelectorAll('.gw-run-live[data-state=stored]').length === 3")
    roots = page.locator(".gw-run-live")
    yield page, [roots.nth(k) for k in range(3)]
    page.close()


def answer(root):
    """What the widget shows last, tensors as tensors."""
    asked = """root => Object.fromEntries(Object.entries(root.answer).map(([k, v]) =>
        [k, v?.data ? { dims: v.dims, data: Array.from(v.data, Number) } : v]))"""
    return live_page.as_tensors([{"value": root.evaluate(asked)}])[0]


def wait(root, done):
    root.page.wait_for_function("([e, n]) => +(e.dataset.done ?? 0) >= n && e.dataset.busy !== 'true'",
                                arg=[root.element_handle(), done])


def test_the_kernel_answers_as_python_does(boxes):
    page, (root, *_) = boxes
    assert "kernel" in root.locator(".gw-live-run").inner_text()
    root.locator(".gw-live-run").click()
    wait(root, 1)
    assert root.get_attribute("data-state") == root.get_attribute("data-source") == "kernel"
    entry = live.load("vae")
    for act in entry.acts:
        if act != "decode":
            root.get_by_label(entry.acts[act].title).check()
            wait(root, 2)
        ours = live_page.python_steps("vae", act, live_page.inputs_of(entry.acts[act], {}))[-1]
        theirs = answer(root)
        assert theirs.keys() == ours.keys()
        assert all(live_page.difference(theirs[key], ours[key]) < 1e-5 for key in ours)


def test_the_readers_own_model_answers(boxes):
    page, (_, root, _) = boxes
    root.scroll_into_view_if_needed()
    root.locator(".gw-live-run").click()
    wait(root, 1)
    mine, entry = load_weights("vae-map-mnist", VAE), live.load("vae")
    with torch.no_grad():
        for p in mine.parameters():
            p.mul_(0.9)
    inputs = live_page.inputs_of(entry.acts["decode"], {})
    ours = next(entry.acts["decode"].program(live.runner(entry.graphs(mine)), {}, inputs))["picture"]
    shipped = live_page.python_steps("vae", "decode", inputs)[0]["picture"]
    theirs = answer(root)["picture"]
    assert live_page.difference(theirs, ours) < 1e-5 < live_page.difference(theirs, shipped)


def test_without_a_kernel_it_says_so_and_keeps_what_it_shows(boxes):
    """The last one: it ends the kernel."""
    page, (*_, root) = boxes
    page.evaluate("() => { window.jupyterapp.serviceManager.sessions.shutdownAll(); }")
    page.wait_for_function(f"() => !({KERNEL})('idle')")
    root.scroll_into_view_if_needed()
    root.locator(".gw-live-run").click()
    page.wait_for_function("e => e.dataset.state === 'failed'", arg=root.element_handle())
    assert "no kernel answers" in root.locator("[role=status]").inner_text()
    assert root.locator("canvas").first.is_visible() and root.locator(".gw-live-run").is_enabled()
