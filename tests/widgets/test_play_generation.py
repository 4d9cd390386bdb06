"""Generation in slow motion: pictures bit for bit, bars to half a step, entropies exact."""

import math
import re

import numpy as np
import pytest

from genai_utils.widgets import GenerationPlayer, play_generation
from genai_utils.widgets.play_generation import EMPTY

ALT = "A picture that comes pixel by pixel, for the sake of a test of the widget."
STATE = ("alt", "values", "sheet", "mime", "runs", "bins", "table", "shape", "order", "label", "choice", "interval",
         "run", "index")
N, V = 15, 256


def chances(seed=0, n=N, v=V):
    p = np.random.default_rng(seed).gamma(0.3, size=(n, v)) + 1e-12
    return p / p.sum(1, keepdims=True)


def draws(seed=0, n=N, v=V):
    return np.random.default_rng(seed + 100).integers(0, v, n)


def make(**options):
    return play_generation(**{"values": draws(), "probabilities": chances(), "shape": (3, 5), "alt": ALT} | options)


def alone(player):
    """The same player with no kernel, from its state alone."""
    return GenerationPlayer(**{k: player.get_state()[k] for k in STATE})


def test_picture_is_filled_in_bit_for_bit():
    player, values = alone(make()), draws()
    for player.index in range(N + 1):
        flat = player.pixels().reshape(-1, 3)
        assert flat[: player.index].tolist() == [[v, v, v] for v in values[: player.index]]
        assert (flat[player.index :] == EMPTY).all()


def test_order_says_where_each_value_goes():
    order = np.random.default_rng(5).permutation(N)
    player, values = alone(make(order=order)), draws()
    player.index = 9
    got = player.pixels()
    for step, place in enumerate(order):
        want = [values[step]] * 3 if step < 9 else list(EMPTY)
        assert got[place // 5, place % 5].tolist() == want
    assert f"at ({order[9] // 5}, {order[9] % 5})" in player.sentence()


def test_bars_are_neighbouring_levels_summed_relative_to_the_tallest():
    player, p = alone(make()), chances()
    assert player.bins == 64
    for i, row in enumerate(p):
        binned = np.array([sum(row[4 * k : 4 * k + 4]) for k in range(64)])
        np.testing.assert_allclose(player.bars()[i] / 255, binned / binned.max(), rtol=0, atol=0.5 / 255 + 1e-12)
        assert player.runs[0]["peaks"][i] == pytest.approx(binned.max(), abs=5.01e-4)
        assert player.runs[0]["chances"][i] == pytest.approx(binned[draws()[i] // 4], abs=5.01e-4)


def test_entropies_are_those_of_all_levels_and_not_of_the_bins():
    p = chances()
    p[3], p[4] = 0, 1 / V
    p[3, 7] = 1
    want = [-sum(q * math.log(q) for q in row if q > 0) for row in p]
    got = make(probabilities=p).runs[0]["entropies"]
    np.testing.assert_allclose(got, want, rtol=0, atol=5.01e-4)
    assert got[3] == 0 and got[4] == round(math.log(V), 3)
    given = make(probabilities=p.reshape(N, 32, 8).sum(2), levels=V, entropies=np.arange(N) / 4)
    assert given.runs[0]["entropies"] == [i / 4 for i in range(N)] and given.bins == 32


def test_few_levels_keep_a_bar_each_and_are_spread_over_all_greys():
    player = make(values=draws(v=4), probabilities=chances(v=4))
    assert player.bins == 4 and player.table == [0, 85, 170, 255]
    assert "in a bin" not in player.sentence() and "of 0 to 3, of probability" in player.sentence()


def test_decode_says_what_is_shown():
    flipped = make(decode=lambda levels: (255 - levels).numpy().astype(np.uint8))
    flipped.index = N
    np.testing.assert_array_equal(flipped.pixels()[..., 0].ravel(), 255 - draws())
    wave = make(shape=(N,), decode=lambda levels: (levels / 255 * 2 - 1) ** 3)
    wave.index = 6
    want = (draws()[:6] / 255 * 2 - 1) ** 3
    np.testing.assert_allclose(wave.wave()[:6], want, rtol=0, atol=1e-5)
    assert np.isnan(wave.wave()[6:]).all() and wave.label == "sample"


def test_wave_spans_minus_one_to_one_by_itself():
    wave = make(shape=(N,))
    assert wave.table[0] == -1 and wave.table[-1] == 1
    np.testing.assert_allclose(np.diff(wave.table), 2 / 255, atol=2e-5)


def test_each_generation_has_its_own_values_and_bars():
    values, p = {"warm": draws(1), "cold": draws(2)}, {"cold": chances(2), "warm": chances(1)}      # in another order
    player = alone(make(values=values, probabilities=p, choice="temperature"))
    for player.run, name in enumerate(values):
        np.testing.assert_array_equal(player.codes(), values[name])
        single = make(values=values[name], probabilities=p[name])
        np.testing.assert_array_equal(player.bars(), single.bars())
        assert player.runs[player.run] == single.runs[0] | {"name": name}


def test_sentence_says_value_probability_and_entropy():
    p, v = np.full((N, V), 1 / V), np.zeros(N, int)
    player = make(values=v, probabilities=p)
    player.index = 6
    assert player.sentence() == ("Pixel 7 of 15 at (1, 1): drew 0 of 0 to 255, in a bin of probability 0.016. "
                                 "Entropy 5.545 nats (8.00 bits) of at most 5.55")
    p[6] = 0
    p[6, 9] = 1
    player = make(values=v, probabilities=p, shape=(N,))
    player.index = 6
    assert player.sentence() == ("Sample 7 of 15: drew 0 of 0 to 255, in a bin of probability less than 0.001. "
                                 "Entropy 0.000 nats (0.00 bits) of at most 5.55")
    player.index = N
    assert player.sentence() == f"All 15 samples drawn; mean entropy {5.545 * 14 / 15:.2f} nats each"


def test_first_frame_is_half_way_and_the_figure_says_what_comes_next():
    player = make()
    assert player.index == 7 and f'alt="{ALT}"' in player.figure() and player.sentence() in player.figure()


@pytest.mark.parametrize("arguments, message", [
    (dict(shape=(3, 5, 1)), "shape must be"),
    (dict(shape=(1, 2)), "3 to 4,000 steps"),
    (dict(shape=(70, 70)), r"got \(70, 70\): cut it"),
    (dict(shape=(3, 4)), r"\(12,\) integers"),
    (dict(values=draws() / 256), "integers from 0 to 255, got float64"),
    (dict(values=draws() - 300), "integers from 0 to 255"),
    (dict(values=draws() + 256), "integers from 0 to 255"),
    (dict(values={"a": draws()}, probabilities={"b": chances()}), "same names"),
    (dict(values={}, probabilities={}), "at least one"),
    (dict(probabilities=chances(n=14)), r"probabilities of '' must be \(15, K\)"),
    (dict(probabilities=2 * chances()), "sum to 1: softmax"),
    (dict(probabilities=chances() * np.nan), "sum to 1"),
    (dict(probabilities=chances() + 2 * (np.arange(V) == 4) - 2 * (np.arange(V) == 3)), "0 or more"),
    (dict(probabilities=chances(v=64), levels=V), "pass entropies="),
    (dict(probabilities=chances(v=60), levels=V, entropies=np.ones(N)), "divisor of 256"),
    (dict(probabilities=chances(v=257), values=draws()), "from 2 to 256, got 257"),
    (dict(probabilities=chances(v=251), values=draws(v=251)), "251 columns"),
    (dict(entropies=np.ones(N - 1)), "entropies of '' must be"),
    (dict(entropies=-np.ones(N)), "0 or more"),
    (dict(order=np.zeros(N, int)), "places 0 to 14 once"),
    (dict(decode=lambda levels: levels / 255), "uint8 grey levels"),
    (dict(shape=(N,), decode=lambda levels: levels / 100), r"in \[-1, 1\], got 0.0 to 2.5"),
    (dict(alt="too short"), "30 characters"),
    (dict(values={str(i): draws(i, 4000) for i in range(3)}, shape=(4000,),
          probabilities={str(i): chances(i, 4000) for i in range(3)}), "limit is 400 kB: take fewer"),
])
def test_player_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_script_imports_nothing_and_names_no_address():
    state = make().get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
