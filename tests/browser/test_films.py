"""The films on the pages are what the samplers give at the recorded seed: run again here, frame for frame."""

import nbformat
import pytest

from genai_utils.widgets import film_digest
from tests.browser import built

DIFFUSION = "notebooks/16_diffusion"
QUICK = {"GENAI_QUICK": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def diffusion():
    """The names that the chapter's cells define, run from its parameters up to the cell that shows the films."""
    notebook = nbformat.read(built.SOURCE / f"{DIFFUSION}.ipynb", as_version=4)
    names = {"__name__": "chapter"}
    with pytest.MonkeyPatch.context() as patch:
        for key, setting in QUICK.items():
            patch.setenv(key, setting)
        for cell in notebook.cells:
            if cell.cell_type != "code" or "setup" in cell.metadata.get("tags", []):
                continue
            if "play_frames(" in cell.source:
                return names
            exec(compile(cell.source, f"{DIFFUSION}, cell {cell.id}", "exec"), names)
    pytest.fail(f"{DIFFUSION} shows no film: no cell calls play_frames")


@pytest.fixture(scope="module")
def player(book):
    return next(w for w in built.widgets(f"{DIFFUSION}.html") if w.kind == "FramePlayer")


@pytest.mark.parametrize("name, sampler, steps", [
    ("DDIM, 10 steps", "ddim_steps", 10), ("DDPM, 10 steps", "ddpm_steps", 10), ("DDIM, 50 steps", "ddim_steps", 50),
])
def test_film_on_the_page_is_the_samplers_own(diffusion, player, name, sampler, steps):
    assert player.state["seed"] == diffusion["SEED"]
    frames, times = diffusion["reverse_film"](diffusion[sampler], steps)
    reel = next(r for r in player.state["reels"] if r["name"] == name)
    assert (reel["n"], len(reel["captions"])) == (len(frames), len(times))
    assert film_digest(frames, player.state["panels"]) == reel["digest"]
