"""What the chapters say of their live models in words holds in what was measured (tools/results/live.py)."""

import pytest

from genai_utils.live import wavenet
from genai_utils.results import load_results


@pytest.fixture(scope="module")
def values():
    return load_results("live")["values"]


def test_the_program_is_more_than_half_of_what_the_first_click_loads(values):
    assert all(values["runtime"] > mb for mb in values["megabytes"].values())


def test_each_graph_is_light(values):
    assert all(mb <= 2.5 for model in values["graphs"].values() for mb in model.values())


def test_a_note_takes_longer_to_make_than_to_hear(values):
    length, = (control["value"] for control in wavenet.LIVE.acts["play"].controls if control["name"] == "seconds")
    assert values["acts"]["wavenet"]["play"]["seconds"] > length


def test_a_digit_grows_while_one_watches(values):
    assert values["acts"]["pixelcnn"]["grow"]["seconds"] < 2


def test_the_prior_is_most_of_chapter_10s_weights(values):
    graphs = values["graphs"]["vqvae"]
    assert 2 * graphs["next"] > sum(graphs.values())


def test_the_same_noise_keeps_weight_and_some_slant(values):
    pairs = [pair for pair in values["same_noise"].values() if isinstance(pair, dict)]
    assert len(pairs) == 3
    assert all(pair["ink"] > 0.6 and 0.3 < pair["slant"] < pair["ink"] for pair in pairs)


def test_walks_end_where_pytorchs_end(values):
    for walk in values["walks"].values():
        assert walk["median"] <= 1e-5 and walk["within"] >= 0.7 * walk["n"] and walk["worst"] <= 1e-4


@pytest.mark.parametrize("name, act, steps, ms", [
    ("vae", "decode", 1, 20), ("gan", "walk", 1, 20), ("gpt", "write", 1, 20), ("lstm", "write", 1, 20),
    ("diffusion", "draw", 20, 2000),
])  # fmt: skip
def test_it_is_fast_enough_to_play_with(values, name, act, steps, ms):
    """A picture or a token in 20 ms, a walk of 20 steps in 2 s; at a quarter of the speed four times as much."""
    found = values["acts"][name][act]
    assert found["ms"] * steps < ms and found["ms_throttled"] * steps < 4 * ms


def test_nothing_holds_the_page_for_long(values):
    assert all(page["longest_task_ms"] < 200 for page in values["pages"].values())
