"""The path explorer in Python: every step of every way is stored bit for bit, and a kernel decodes the very weight."""

import base64
import re

import numpy as np
import pytest
import torch

from genai_utils.data import glyphs
from genai_utils.widgets import PathExplorer, explore_path, sprites

ALT = "Pictures on the way from one to another, for the sake of a test."
WEIGHTS = torch.linspace(0, 1, 5)
STATE = ("alt", "sheet", "mime", "height", "width", "grey", "names", "ways", "steps", "numbers", "measure", "size")


def images(n=4, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *(shape or (6, 9))), dtype=np.uint8)


def walker(x, calls=None):
    """A walk over `x` by a straight way with a number, and by a detour; the two part between the ends."""
    x = torch.from_numpy(x).double()

    def walk(i, j, weights):
        if calls is not None:
            calls.append((i, j, weights))
        w = weights.double().reshape(-1, *[1] * (x.ndim - 1))
        line = x[i] + w * (x[j] - x[i])
        detour = line + 400 * w * (1 - w) * (line / 255 - 0.5)
        return {"line": (line.round().byte(), weights + 10 * i + 100 * j), "detour": detour.clamp(0, 255).byte()}

    return walk


def expected(walk, start, end, weights=WEIGHTS):
    """The ways from start to end, (R, S, ...) uint8, and the numbers, by asking `walk` as a caller would."""
    given = walk(min(start, end), max(start, end), weights)
    pictures, numbers = torch.stack([given["line"][0], given["detour"]]), given["line"][1]
    return (pictures, numbers) if start < end else (pictures.flip(1), numbers.flip(0))


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 3)])
@pytest.mark.parametrize("n", [2, 4, 6])
def test_every_step_between_every_two_pictures_is_stored_bit_for_bit(n, shape):
    x = images(n, *shape)
    walk = walker(x)
    explorer = explore_path(x, walk, alt=ALT, steps=5, seed=7)
    stored = PathExplorer(**{k: explorer.get_state()[k] for k in STATE})                 # no kernel: the state alone
    for start in range(n):
        for end in range(n):
            pictures, numbers = stored.path(start, end)
            if start == end:
                np.testing.assert_array_equal(pictures, np.broadcast_to(x[start], pictures.shape))
            else:
                want, lengths = expected(walk, start, end)
                np.testing.assert_array_equal(pictures, want.numpy())
                assert numbers == {"line": pytest.approx(lengths.tolist(), rel=1e-6)}
    assert explorer.seed == 7 and explorer.exact == {}


def test_pictures_to_choose_from_lead_the_sheet():
    x = images(3)
    explorer = explore_path(x, walker(255 - x), alt=ALT, steps=4)                        # images and walk may differ
    tiles = sprites.untile(sprites.decode(explorer.sheet, True), 3 + 3 * 2 * 4, 4, 6, 9)
    np.testing.assert_array_equal(tiles[:3], x)
    np.testing.assert_array_equal(explorer.path(0, 1)[0][:, 0], np.stack([255 - x[0]] * 2))


def test_floats_are_taken_as_pictures_in_minus_one_to_one():
    x = torch.rand(3, 3, 6, 9, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mix = lambda i, j, w: {"mix": torch.lerp(x[i], x[j], w[:, None, None, None])}
    explorer = explore_path(x, mix, alt=ALT, steps=5)
    want = sprites.to_pictures(torch.lerp(x[1], x[2], WEIGHTS[:, None, None, None]))
    np.testing.assert_array_equal(explorer.path(1, 2)[0][0], want)


def test_walk_is_called_once_for_each_pair_at_evenly_spaced_weights():
    calls = []
    explore_path(images(4), walker(images(4), calls), alt=ALT, steps=5)
    assert [(i, j) for i, j, _ in calls] == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for *_, weights in calls:
        torch.testing.assert_close(weights, torch.tensor([0, 0.25, 0.5, 0.75, 1]), atol=0, rtol=0)


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 3)])
@pytest.mark.parametrize("start, end, weight", [(1, 3, 0.33), (3, 1, 0.67)])
def test_kernel_decodes_the_very_weight_in_both_directions(start, end, weight, shape):
    x = images(4, *shape)
    calls = []
    explorer = explore_path(x, walker(x, calls), alt=ALT)
    with explorer.hold_trait_notifications():
        explorer.start, explorer.end = start, end
    calls.clear()
    at = 0.33
    explorer.at = at
    assert [(i, j) for i, j, _ in calls] == [(1, 3)]
    assert calls[0][2].tolist() == pytest.approx([weight], abs=1e-7)
    assert {k: explorer.exact[k] for k in ("start", "end", "at")} == {"start": start, "end": end, "at": at}
    want, numbers = expected(walker(x), 1, 3, torch.tensor([weight]))
    got = sprites.decode(explorer.exact["data"], grey=len(shape) == 2)
    np.testing.assert_array_equal(got, np.concatenate([way[0] for way in want.numpy()], axis=1))
    assert explorer.exact["numbers"] == {"line": pytest.approx(numbers.item(), rel=1e-6)}


@pytest.mark.parametrize("trait, value", [("start", 2), ("end", 3), ("at", 0.9)])
def test_each_choice_of_the_reader_reaches_the_kernel(trait, value):
    x = images(4)
    explorer = explore_path(x, walker(x), alt=ALT)
    setattr(explorer, trait, value)
    assert explorer.exact[trait] == value


def test_kernel_is_not_asked_for_the_way_from_a_picture_to_itself():
    x, calls = images(3), []
    explorer = explore_path(x, walker(x, calls), alt=ALT)
    explorer.start = explorer.end = 2
    calls.clear()
    explorer.at = 0.4
    assert calls == [] and explorer.exact.get("at") != 0.4


def test_no_gradient_is_kept_from_the_walk():
    seen = []
    x = images(2)

    def walk(i, j, weights):
        seen.append(torch.is_grad_enabled())
        return walker(x)(i, j, weights)

    explore_path(x, walk, alt=ALT).at = 0.2
    assert seen == [False, False]


def test_first_frame_is_halfway_and_the_figure_shows_the_whole_way():
    x = images(3)
    assert explore_path(x, walker(x), alt=ALT, steps=4).at == 2 / 3                      # a step that there is
    explorer = explore_path(x, walker(x), alt=ALT, names=["a < b", "c", "d"], steps=5, measure="norm")
    assert explorer.at == 0.5
    mime, data = re.search(r'src="data:(image/\w+);base64,([^"]+)"', explorer.figure()).groups()
    assert mime in ("image/png", "image/webp")
    want = expected(walker(x), 0, 1)[0].numpy()
    np.testing.assert_array_equal(
        sprites.decode(base64.b64decode(data), grey=True),
        np.concatenate([np.concatenate(list(way), axis=1) for way in want]))
    assert f'alt="{ALT}"' in explorer.figure()
    assert "From a &lt; b (left) to c (right). Top to bottom: line, detour." in explorer.figure()
    assert "Norm at 0.50 of the way: line 100.50." in explorer.figure()                  # 0.5 + 10 * 0 + 100 * 1


def test_ways_without_numbers_need_none():
    x = images(2)
    explorer = explore_path(x, lambda i, j, w: {"detour": walker(x)(i, j, w)["detour"]}, alt=ALT)
    assert explorer.numbers == [{}] and "of the way" not in explorer.figure()
    explorer.at = 0.3
    assert explorer.exact["numbers"] == {}


def test_six_soft_letters_and_three_ways_of_eleven_steps_fit():
    x = glyphs("train", n=6, seed=0).images.float() / 127.5 - 1                          # (6, 1, 28, 28)
    soft = torch.nn.functional.avg_pool2d(x, 3, 1, 1)

    def walk(i, j, w):
        w = w[:, None, None, None]
        return {f"way {p}": soft[i] * (1 - w**p) + soft[j] * w**p for p in (1, 2, 3)}

    explorer = explore_path(x, walk, alt=ALT)
    assert explorer.path(4, 5)[0].shape == (3, 11, 28, 28)


def test_same_data_gives_the_same_figure_and_other_data_another():
    a, b, c = (explore_path(images(seed=s), walker(images(seed=s)), alt=ALT) for s in (0, 0, 1))
    assert a.uid == b.uid != c.uid


X = images(3)
LINE = lambda i, j, w: walker(X)(i, j, w)["line"]


@pytest.mark.parametrize("arguments, message", [
    (dict(images=X[:1]), "2 to 6 images"),
    (dict(images=images(7)), "2 to 6 images"),
    (dict(images=X.astype(int)), "want uint8"),
    (dict(names=["a", "b"]), "3 different names"),
    (dict(names=["a", "b", "a"]), "3 different names"),
    (dict(steps=1), "steps must be 2 or more"),
    (dict(alt="too short"), "30 characters"),
    (dict(walk=lambda i, j, w: torch.zeros(11, 6, 9, dtype=torch.uint8)), "dict of way"),
    (dict(walk=lambda i, j, w: {}), "dict of way"),
    (dict(walk=lambda i, j, w: {"line": LINE(i, j, w[1:])[0]}), r"walk\(0, 1\) gives \(10, 6, 9\) for 'line'"),
    (dict(walk=lambda i, j, w: {"line": torch.zeros(11, 6, 8, dtype=torch.uint8)}), r"gives \(11, 6, 8\)"),
    (dict(walk=lambda i, j, w: {"line": (LINE(i, j, w)[0], w[1:])}), "11 finite numbers for 'line'"),
    (dict(walk=lambda i, j, w: {"line": (LINE(i, j, w)[0], w / 0)}), "finite"),
    (dict(walk=lambda i, j, w: {"line" if i else "arc": LINE(i, j, w)}), "same ways"),
    (dict(walk=lambda i, j, w: {"line": LINE(i, j, w)[0] if i else LINE(i, j, w)}), "same ways, and numbers"),
])
def test_explorer_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        explore_path(**{"images": X, "walk": walker(X), "alt": ALT} | arguments)


def test_explorer_refuses_a_heavy_page():
    x = images(6, 64, 64)
    noise = np.random.default_rng(1).integers(0, 256, (11, 64, 64), dtype=np.uint8)
    with pytest.raises(ValueError, match="limit is 400 kB"):
        explore_path(x, lambda i, j, w: {"noise": noise ^ (16 * i + j)}, alt=ALT)


def test_script_imports_nothing_and_names_no_address():
    state = explore_path(X, walker(X), alt=ALT).get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
