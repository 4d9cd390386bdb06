"""Weights between patches in Python: what is stored, painted and told, and what is refused."""

import re

import numpy as np
import pytest
import torch

from genai_utils.transformer.vit import ViT, ViTConfig, attention_rollout
from genai_utils.widgets import PatchExplorer, explore_patches
from genai_utils.widgets.explore_patches import HEAT, grid_of, heat_over

ALT = "Pictures in patches, and how much each patch looks at the others, in a test of the widget."
STATE = ("alt", "sheet", "mime", "grey", "height", "width", "rows", "columns", "names", "layers", "levels", "size")


def weights(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(*shape, generator=g, dtype=torch.float64)).softmax(-1)


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_state_alone_gives_the_weights_back_to_a_level():
    w = weights(2, 3, 7, 7)
    made = explore_patches(pictures(2, 8, 12, 3), w, alt=ALT)  # 2 x 3 patches of 4 pixels
    assert (made.rows, made.columns) == (2, 3)
    alone = PatchExplorer(**{k: made.get_state()[k] for k in STATE})
    for alone.image in range(2):
        for alone.layer in range(3):
            for alone.at in range(7):
                want = w[alone.image, alone.layer, alone.at].numpy()
                assert (np.abs(np.sqrt(alone.shares()) - np.sqrt(want)) <= 0.5001 / 255).all()


def test_heat_lies_on_the_patches_that_are_looked_at():
    w = torch.zeros(1, 5, 5)
    w[0, :, 0] = 1
    w[0, 2] = torch.tensor([0.0, 0, 0, 1, 0])  # patch 2 looks at patch 3
    made = explore_patches(np.zeros((6, 6), np.uint8), w, alt=ALT)
    made.at = 2
    hot = made.pixels().sum(-1) > 300
    want = np.zeros((6, 6), bool)
    want[3:, :3] = True  # the lower left one
    np.testing.assert_array_equal(hot, want)
    made.at = 1
    assert not (made.pixels().sum(-1) > 300).any() and made.sentence().endswith("looks at the class token 100 %")


def test_heat_grows_with_the_weight_and_what_a_token_has_on_itself_does_not_dim_the_others():
    w = torch.tensor([[0.9, 0.04, 0.03, 0.02, 0.01]] * 5, dtype=torch.float64)[None]
    made = explore_patches(pictures(4, 4), w, alt=ALT)
    heat = made.heat()
    assert heat[0] == heat[1] == 255 and (np.diff(heat[1:]) < 0).all()
    np.testing.assert_allclose(heat[2:] / 255, [0.75, 0.5, 0.25], atol=0.04)


def test_hotter_is_brighter_whatever_the_picture():
    black_and_white = np.array([[0, 255]], np.uint8)
    by_heat = [heat_over(black_and_white, np.full((1, 2), heat)).astype(int).sum(-1) for heat in range(0, 256, 5)]
    assert (np.diff(by_heat, axis=0) >= 0).all() and by_heat[0].max() < 302 < by_heat[-1].min() < sum(HEAT)


def test_sentence_tells_the_largest_weights_of_a_known_row():
    w = torch.full((3, 5, 5), 0.2, dtype=torch.float64)
    w[1, 4] = torch.tensor([0.05, 0.6, 0.004, 0.046, 0.3])
    made = explore_patches(pictures(4, 4), w, alt=ALT)
    made.layer, made.at = 1, 4
    assert made.sentence() == ("Layer 2 of 3: patch (2, 2) looks at patch (1, 1) 60 %, itself 30 %, the class token "
                               "5 %, all others together 5 %")  # fmt: skip


def test_rollout_of_a_vision_transformer_goes_in_as_its_docstring_says():
    torch.manual_seed(0)
    vit = ViT(ViTConfig(side=8, patch=4, channels=3, d_model=16, n_heads=2, n_layers=3, n_classes=3)).eval()
    x = torch.rand(2, 3, 8, 8) * 2 - 1
    rolled = attention_rollout(vit.maps(x))
    made = explore_patches(x, rolled.transpose(0, 1), alt=ALT, names=["one", "two"])
    made.image, made.layer, made.at = 1, 2, 3
    np.testing.assert_allclose(made.shares(), rolled[2, 1, 3].double().numpy(), atol=0.004)
    np.testing.assert_array_equal(made.shown(), np.rint((x[1].permute(1, 2, 0).numpy() + 1) * 127.5).astype(np.uint8))
    means = torch.stack([of_layer.mean(1) for of_layer in vit.maps(x)], 1)
    assert explore_patches(x, means.bfloat16(), alt=ALT).layers == 3


def test_first_frame_is_the_class_token_at_the_last_layer():
    made = explore_patches(pictures(8, 8), weights(3, 5, 5), alt=ALT)
    figure = made.figure()
    assert (made.image, made.layer, made.at) == (0, 2, 0)
    assert f'alt="{ALT}"' in figure and "Layer 3 of 3: the class token looks at" in figure
    made.at = 3
    assert made.figure() != figure
    for name, n in (("image", 1), ("layer", 3), ("at", 5)):
        with pytest.raises(ValueError, match=f"{name} must be an index below {n}, got {n}"):
            setattr(made, name, n)


def test_state_of_four_pictures_in_eight_by_eight_patches_is_small():
    made = explore_patches(pictures(4, 32, 32, 3), weights(4, 6, 65, 65), alt=ALT)
    assert len(made.levels) + len(made.sheet) < 120_000


@pytest.mark.parametrize("P, H, W, want", [(50, 28, 28, (7, 7)), (65, 32, 32, (8, 8)), (9, 32, 16, (4, 2))])
def test_patches_are_squares(P, H, W, want):
    assert grid_of(P, H, W) == want


W5 = weights(2, 5, 5)


@pytest.mark.parametrize("arguments, message", [
    (dict(alt="too short"), "30 characters"),
    (dict(weights=W5[0]), r"\(L, P, P\), or .*, got \(5, 5\)"),
    (dict(weights=W5[:, :4]), r"got \(2, 4, 5\)"),
    (dict(image=pictures(2, 8, 8), weights=W5[None]), "want 1 to 4 pictures.* got 2 pictures"),
    (dict(image=pictures(5, 8, 8), weights=weights(5, 2, 5, 5)), "1 to 4 pictures"),
    (dict(weights=weights(25, 5, 5)), "1 to 24 layers"),
    (dict(weights=weights(2, 4, 4)), "cannot be cut into 3 square patches"),
    (dict(weights=weights(2, 1, 1)), "cannot be cut into 0 square patches"),
    (dict(image=pictures(9, 9)), "9 x 9 pixels cannot be cut into 4"),
    (dict(weights=weights(2, 2, 2)), "2 to 32 patches on a side, got 1 x 1"),
    (dict(image=np.zeros((8, 8))), "uint8"),
    (dict(weights=-W5), "at least 0"),
    (dict(weights=W5 * np.nan), "finite"),
    (dict(weights=W5 * 2), "sum to one over the last axis, got 2 for token"),
    (dict(weights=W5.transpose(1, 2)), "sum to one over the last axis"),
    (dict(names=["a", "b"]), "1 different names"),
    (dict(image=pictures(224, 224), weights=weights(12, 197, 197)), "the limit is 400 kB"),
])  # fmt: skip
def test_explorer_refuses_what_it_cannot_show(arguments, message):
    with pytest.raises(ValueError, match=message):
        explore_patches(**{"image": pictures(8, 8), "weights": W5, "alt": ALT} | arguments)


def test_script_imports_nothing_and_names_no_address():
    state = explore_patches(pictures(8, 8), W5, alt=ALT).get_state()
    text = state["_esm"] + state["_css"]
    urls = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\bimport\b\s*[({*\"'\w]|\bfetch\(|XMLHttpRequest|@import|url\(", text) and not urls
