"""Every program of genai_utils.live answers in Chromium what its twin answers in PyTorch."""

import pytest

from genai_utils import live
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
