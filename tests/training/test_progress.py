import re
import time

import nbformat
import pytest

from genai_utils.training import fit, loss_curve
from genai_utils.training.progress import curve_alt, curves

ROWS = [{"step": 10 * i, "loss": 2.0 / i, "grad_norm": 1.0} for i in range(1, 5)]


def test_loss_curve_draws_every_row_and_only_losses():
    fig = loss_curve(ROWS)
    (line,) = fig.axes[0].get_lines()
    assert line.get_xydata().tolist() == [[row["step"], row["loss"]] for row in ROWS]
    assert curves([{"step": 1, "loss_g": 1.0, "loss_d": 2.0, "gap": 0.0}]) == ["loss_g", "loss_d"]
    assert curves([{"step": 1, "nats": 1.0}]) == ["nats"]


def test_loss_curve_uses_a_log_scale_for_wide_ranges_only():
    scales = [loss_curve([{"step": 1, "loss": 1.0}, {"step": 2, "loss": x}]).axes[0].get_yscale() for x in (0.5, 0.01)]
    assert scales == ["linear", "log"]


def test_curve_alt_says_what_is_to_be_seen():
    alt = "Training curve: loss goes from 2 at step 10 to 0.5 at step 40, lowest 0.5 at step 40"
    assert curve_alt(ROWS) == alt


def test_file_gets_one_line_per_row_and_silence_when_asked(capsys):
    import torch

    step = lambda batch: {"loss": torch.tensor(0.5)}
    fit(step, iter(range(20)), steps=20, every=10)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and re.match(r"step 10 of 20, .* steps/s, .* left, loss 0.5", lines[0])
    fit(step, iter(range(20)), steps=20, every=10, progress=False)
    assert capsys.readouterr().out == ""


NOTEBOOK = """
import torch
from genai_utils.training import fit, progress
progress.REDRAW = 0.0
rows = fit(lambda batch: {"loss": torch.tensor(1 / batch)}, iter(range(1, 100)), steps=60, every=10)
"""


@pytest.mark.slow
def test_notebook_shows_one_curve_that_is_the_last_one_with_its_description():
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs  # redrawn six times in one place, and nothing on stderr
    assert output.output_type == "display_data"
    page = output.data["text/html"]
    assert 'src="data:image/png;base64,' in page and "step 60 of 60" in page and len(page) < 60_000
    assert re.search(r'alt="Training curve: loss goes from [\d.]+ at step 10 to [\d.]+ at step 60, lowest', page)


@pytest.mark.slow
def test_stop_button_of_a_notebook_ends_the_cell_with_a_checkpoint(tmp_path):
    """Interrupts a real kernel, as the button does, while the loop runs."""
    from jupyter_client.manager import start_new_kernel

    from genai_utils.training import load_checkpoint

    code = f"""
import itertools, time, torch
from genai_utils.training import adamw, fit, make_step
class Batches:
    def __init__(self): self.i = 0
    def __iter__(self): return self
    def __next__(self): self.i += 1; time.sleep(0.01); return torch.ones(2, 3)
    def state_dict(self): return {{"i": self.i}}
    def load_state_dict(self, state): self.i = state["i"]
model = torch.nn.Linear(3, 3)
step = make_step(model, lambda model, x: (model(x).square().mean(), {{}}), adamw(model))
batches = Batches()
print("ready", flush=True)
rows = fit(step, batches, steps=100_000, every=50, checkpoint={str(tmp_path / "run.pt")!r}, progress=False)
print("after", batches.i, len(rows), flush=True)
"""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute(code)
        printed = ""
        while "after" not in printed:
            message = client.get_iopub_msg(timeout=60)
            content = message["content"]
            assert message["msg_type"] != "error", content
            if message["msg_type"] == "stream":
                printed += content["text"]
                if "ready" in content["text"]:
                    while not (tmp_path / "run.pt").exists():
                        time.sleep(0.05)
                    manager.interrupt_kernel()
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    stopped, drawn = re.search(r"Stopped after step (\d+) of 100000", printed), re.search(r"after (\d+) \d+$", printed)
    assert stopped and drawn and int(stopped[1]) == int(drawn[1]) == load_checkpoint(tmp_path / "run.pt")["step"]
