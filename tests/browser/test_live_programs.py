"""Every program of genai_utils.live answers in Chromium what its twin answers in PyTorch."""

import statistics

import pytest

from genai_utils import live
from genai_utils.widgets.sprites import to_pictures
from tests.browser import live_page
from tools import live as export

CASES = [(name, act, label) for name in live.NAMES for act, a in live.load(name).acts.items() for label in a.presets]


@pytest.fixture(scope="module")
def ask(chromium, tmp_path_factory):
    """ask(name, act, inputs) -> [{output: value}, ...] as the page answers, by a page that was opened from a folder."""
    export.build()
    page = chromium.new_page()
    page.goto(live_page.write(tmp_path_factory.mktemp("page")).as_uri())
    yield lambda name, act, inputs: live_page.as_tensors(page.evaluate(live_page.ASK, [name, act, inputs]))
    page.close()


@pytest.mark.parametrize("name, act, label", CASES)
def test_the_page_answers_what_pytorch_answers(ask, name, act, label):
    entry = live.load(name).acts[act]
    inputs = live_page.inputs_of(entry, entry.presets[label])
    theirs, ours = ask(name, act, inputs), live_page.python_steps(name, act, inputs)
    assert len(theirs) == len(ours)
    for a, b in zip(theirs, ours):
        assert a.keys() == b.keys()
        far = {key: live_page.difference(a[key], b[key]) for key in b}
        assert all(d < live_page.tolerance(name, key) for key, d in far.items()), far


@pytest.mark.parametrize("name, sampler", [("matching", {}), *(("diffusion", {"sampler": k}) for k in range(3))])
def test_the_same_seed_gives_the_same_picture(ask, name, sampler):
    """Within 1e-5 for nearly every seed; a walk may magnify the last digit, and still meets the grey levels."""
    far, other = [], 0
    for seed in range(6):
        inputs = live_page.inputs_of(live.load(name).acts["draw"], {"seed": seed, "label": 9 - seed} | sampler)
        theirs = ask(name, "draw", inputs)[-1]["pictures"][:1]
        ours = live_page.python_steps(name, "draw", inputs)[-1]["pictures"][:1]
        far.append(live_page.difference(theirs, ours))
        levels = (to_pictures(theirs).astype(int) - to_pictures(ours)).ravel()
        assert abs(levels).max() <= 1
        other += (levels != 0).sum()
    assert statistics.median(far) <= 1e-5 and max(far) <= live_page.tolerance("diffusion", "pictures"), far
    assert other <= 12                                   # of 6 pictures of 784 pixels
