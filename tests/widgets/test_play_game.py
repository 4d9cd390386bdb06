"""The game on points in Python: what is stored comes back, what is told is right, and what is refused."""

import re

import numpy as np
import pytest
import torch

from genai_utils.widgets import GamePlayer, field_grid, play_game
from genai_utils.widgets.play_game import BINS, LONGEST, OUT, arrows, field_colors, histogram, peak, read

ALT = "Made-up points in the plane that two made-up games move about, in a test."
STATE = ("alt", "sheet", "mime", "columns", "grid", "dims", "frames", "extent", "peak", "real", "fake", "push", "steps",
         "reels", "charts", "label", "choice", "field_name", "same_scale", "interval", "size")  # fmt: skip
EXTENT = (-2, 3)


def film(seed=0, N=5, n=12, g=7, m=4, dims=2, **options):
    r = np.random.default_rng(seed)
    return {"fake": r.uniform(-2, 3, (N, n, dims)), "field": r.uniform(0, 1, (N, *[g] * dims)),
            "grads": r.normal(size=(N, m, dims)), "curves": {"loss": r.normal(size=N)}} | options  # fmt: skip


def real(n=9, dims=2):
    return np.random.default_rng(7).uniform(-2, 3, (n, dims))


def make(films=None, data=None, **options):
    films = {"a": film(0), "b": film(1)} if films is None else films
    return play_game(films, real() if data is None else data, **{"alt": ALT, "extent": EXTENT} | options)


@pytest.mark.parametrize("dims", [1, 2])
def test_state_alone_gives_every_frame_back(dims):
    films = {"a": film(0, dims=dims), "b": film(1, dims=dims)}
    made = make(films, real(dims=dims))
    alone = GamePlayer(**{k: made.get_state()[k] for k in STATE})
    for k, given in enumerate(films.values()):
        for i in range(5):
            data, fake = alone.points(k, i)
            np.testing.assert_allclose(data, real(dims=dims), atol=0.51 * 5 / 65534)
            np.testing.assert_allclose(fake, given["fake"][i], atol=0.51 * 5 / 65534)
            np.testing.assert_allclose(alone.levels(k, i) / 255, given["field"][i], atol=0.501 / 255)
            longest = np.linalg.norm(given["grads"][i], axis=-1).max()
            np.testing.assert_allclose(
                alone.pushes(k, i) / (5 * LONGEST), given["grads"][i] / longest, atol=0.501 / 127
            )


def test_points_on_a_line_may_lack_their_last_axis():
    short = {k: v[..., 0] if k in ("fake", "grads") else v for k, v in film(dims=1).items()}
    a, b = make({"a": short}, real(dims=1)[:, 0]), make({"a": film(dims=1)}, real(dims=1))
    assert {k: a.get_state()[k] for k in STATE} == {k: b.get_state()[k] for k in STATE}


def test_tensors_of_lower_precision_go_in_as_arrays_do():
    given = film()
    tensors = {k: torch.tensor(v) if k in ("fake", "field", "grads") else v for k, v in given.items()}
    assert make({"a": tensors}, torch.tensor(real())).fake == make({"a": given}).fake


def test_field_is_read_where_field_grid_says():
    g = 6
    for dims in (1, 2):
        at = field_grid(EXTENT, g, dims)
        slope = np.array([2.0, -0.5])[:dims]
        values = (at.astype(float) @ slope + 1).reshape([g] * dims)
        x = real(40, dims)
        np.testing.assert_allclose(read(values, x, EXTENT), x @ slope + 1, atol=1e-6)  # a plane is read exactly
    assert field_grid(EXTENT, g)[1].tolist() == [-1, -2]  # the second place: one step along x, at the lowest y


def test_field_beyond_the_extent_is_read_as_at_its_edge():
    values = np.arange(16.0).reshape(4, 4)
    np.testing.assert_array_equal(
        read(values, np.array([[-9, -9], [9, -9], [-9, 9], [9, 9.0]]), EXTENT), [0, 3, 12, 15]
    )


def test_caption_tells_the_numbers_of_its_frame():
    given = film(m=2)
    given["field"][3] = 0.25
    given["grads"][3] = [[3, 4], [0, 1]]
    given["curves"] = {"loss": np.arange(5.0), "modes": np.array([0, 1, np.nan, np.nan, 8])}
    given["fake"][3, :5] = [[9, 0], [0, -9], [3.001, 0], [3, 3], [-2, -2]]
    made = make({"a": given}, steps=[0, 10, 100, 1500, 98765], field_name="belief")
    made.index = 3
    assert made.sentence() == ("a: step 1,500. belief 0.250 at the data and 0.250 at the samples, on average; "
                               "mean push 3; loss 3; modes no value; 3 of 12 samples beyond the picture")  # fmt: skip
    assert np.isnan(made.points()[1]).all(1).tolist() == [True] * 3 + [False] * 9
    made.index = 4
    assert made.sentence().startswith("a: step 98,765. ")
    assert "beyond" not in made.sentence() and made.sentence().endswith("modes 8")


def test_one_scale_for_all_shows_a_push_that_dies_away():
    a, b = film(0), film(0)
    b["grads"] = 0.01 * a["grads"]
    length = lambda made: [np.linalg.norm(made.pushes(k, 2), axis=-1).max() / 5 for k in (0, 1)]
    assert length(make({"a": a, "b": b})) == pytest.approx([LONGEST, LONGEST], rel=0.01)
    strong, weak = length(make({"a": a, "b": b}, same_scale=True))
    assert 0.3 * LONGEST < strong <= LONGEST * 1.001 and weak < 0.03 * LONGEST


def test_no_push_at_all_is_an_arrow_of_no_length():
    assert set(arrows([np.zeros((3, 2, 2))], False)) == {0} == set(arrows([np.zeros((3, 2, 2))], True))


def test_colours_have_a_neutral_middle_and_grow_away_from_it_on_both_sides():
    for dark, neutral in ((False, 255), (True, 28)):
        away = np.abs(field_colors(np.arange(256, dtype=np.uint8), dark).astype(int) - neutral).sum(-1)
        assert (np.diff(away[:128]) <= 0).all() and (np.diff(away[128:]) >= 0).all() and away[127] < 4 > away[128]
        low, high = field_colors(np.array([0, 255]), dark).astype(int)
        assert low[2] > low[0] + 50 and high[0] > high[2] + 50  # blue below, orange above


def test_range_of_probabilities_is_zero_to_one_and_of_other_values_symmetric():
    ends = lambda **options: make({"a": film(**options)}).reels[0]["range"]
    values = np.linspace(-1, 3, 5 * 49).reshape(5, 7, 7)
    assert ends() == [0, 1] and ends(field=values) == [-3, 3] and ends(field=values, range=(0, 2)) == [0, 2]
    made = make({"a": film(field=values, range=(0, 2))})
    assert made.levels(0, 0).min() == 0 and made.levels(0, 4).max() == 255 and made.reels[0]["ends"] == ["0", "2"]


def test_curve_of_a_name_has_one_axis_for_all_films():
    films = {
        "a": film(curves={"loss": [0, 1, 2, 3, 4]}),
        "b": film(curves={"loss": [9, 9, 9, 9, 20], "modes": [1] * 5}),
    }
    loss, modes = make(films).charts
    assert loss["name"] == "loss" and loss["lo"] <= 0 and loss["hi"] >= 20 and modes["name"] == "modes"


def test_histogram_counts_a_known_set_and_leaves_out_what_is_beyond():
    x = np.array([0, 1, 65534, 65534, OUT], np.uint16)[:, None]
    want = np.zeros(BINS)
    want[[0, -1]] = 0.4
    np.testing.assert_allclose(histogram(x), want)
    assert peak(x, x[None, None]) == pytest.approx(0.4)
    gathered = np.zeros((1, 2, 5, 1), np.uint16)  # all samples in one bin: cut at twice the data's highest
    assert peak(x, gathered) == pytest.approx(0.8)


def test_first_frame_may_be_chosen_and_is_in_range():
    made = make()
    made.film, made.index = 1, 4
    assert made.sentence().startswith("b: step 4. ")
    for name, n in (("film", 2), ("index", 5)):
        with pytest.raises(ValueError, match=f"{name} must be an index below {n}, got {n}"):
            setattr(made, name, n)


def test_static_figure_says_what_the_marks_and_the_last_frames_are():
    made = make()
    figure = made.figure()
    assert f'alt="{ALT}"' in figure and "Rings: data; dots: samples" in figure and "At step 4: a: D(x) " in figure
    assert make({"a": film(2), "b": film(1)}).uid != made.uid == make().uid


def test_three_films_of_fifty_frames_fit_well_into_the_page():
    x = np.linspace(-3, 3, 32)
    smooth = 1 / (1 + np.exp(-np.sin(x[:, None] + x) * np.linspace(0, 3, 50)[:, None, None]))
    made = make({k: film(N=50, n=200, m=32, g=32) | {"field": smooth} for k in "abc"})
    assert sum(map(len, (made.sheet, made.real, made.fake, made.push))) < 300_000


@pytest.mark.parametrize("arguments, message", [
    (dict(alt="too short"), "30 characters"),
    (dict(films={}), "1 to 6 films"),
    (dict(films=[film()]), "1 to 6 films, got 1 in a list"),
    (dict(films={"a": {"fake": film()["fake"]}}), "must have 'fake' and 'field'"),
    (dict(films={"a": film(loss=1)}), "nothing beside"),
    (dict(films={"a": film(), "b": film(n=13)}), "agree in the shape of 'fake'"),
    (dict(films={"a": film(), "b": film(grads=None)}), "agree in the shape of 'grads'"),
    (dict(films={"a": film(N=1)}), "2 frames or more"),
    (dict(films={"a": film(dims=1)}), r"fake of 'a' must be \(N, n, 2\)"),
    (dict(films={"a": film(m=13)}), "m at most 12"),
    (dict(films={"a": film(field=np.zeros((5, 7, 8)))}), "field of 'a' must be"),
    (dict(films={"a": film(g=65)}), r"g in \[2, 64\]"),
    (dict(films={"a": film(fake=np.full((5, 12, 2), np.nan))}), "fake of 'a' must be finite"),
    (dict(films={"a": film(curves={"loss": [1, 2]})}), "curve 'loss' of 'a' must be 5 numbers"),
    (dict(films={"a": film(curves={"loss": [1, 2, np.inf, 3, 4]})}), "curve 'loss' of 'a' must be 5 numbers"),
    (dict(films={"a": film(curves={"loss": [np.nan] * 5})}), "nan only"),
    (dict(films={"a": film(curves={k: range(5) for k in "vwxyz"})}), "show 4 at most"),
    (dict(films={"a": film(range=(1, 1))}), "range of 'a' must be"),
    (dict(data=np.zeros((4, 3))), "real must be"),
    (dict(data=np.zeros((0, 2))), "real must be"),
    (dict(extent=(1, 1)), "extent must be"),
    (dict(steps=[0, 1, 2, 3]), "steps must be 5 increasing numbers"),
    (dict(steps=[0, 1, 2, 2, 3]), "steps must be 5 increasing numbers"),
    (dict(films={"a": film(N=60, n=2000)}), "the limit is 400 kB"),
])  # fmt: skip
def test_player_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.parametrize("arguments", [dict(extent=(2, 1)), dict(extent=(0, 1), g=1), dict(extent=(0, 1), dims=3)])
def test_field_grid_refuses_what_is_no_grid(arguments):
    with pytest.raises(ValueError, match="must be"):
        field_grid(**arguments)


def test_script_imports_nothing_and_names_no_address():
    state = make().get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
