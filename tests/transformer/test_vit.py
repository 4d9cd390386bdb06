import math
from dataclasses import replace

import pytest
import torch

from genai_utils.core import from_json, to_json
from genai_utils.nn import attention_maps
from genai_utils.training import adamw, make_step
from genai_utils.transformer.vit import (
    PRESETS, Block, ViT, ViTConfig, attention_distance, attention_rollout, vit_loss,
)  # fmt: skip

SMALL = ViTConfig(side=12, channels=2, patch=4, d_model=8, n_layers=2, n_heads=2, d_hidden=12, n_classes=3)
CONFIGS = {
    "learned": SMALL, "sine": replace(SMALL, positions="sine"), "none": replace(SMALL, positions="none"),
    "pooler": replace(SMALL, pooler=True, qkv_bias=False), "encoder": replace(SMALL, n_classes=0),
}  # fmt: skip


def build(cfg, seed=0, dtype=torch.float64):
    """A ViT in which nothing is zero or one by habit."""
    torch.manual_seed(seed)
    model = ViT(cfg).to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model.eval()


def pictures(cfg, n=3, dtype=torch.float64):
    g = torch.Generator().manual_seed(1)
    return torch.rand(n, cfg.channels, cfg.side, cfg.side, dtype=dtype, generator=g) * 2 - 1


def configs():
    return pytest.mark.parametrize("cfg", CONFIGS.values(), ids=CONFIGS)


@configs()
def test_output_has_its_shape_and_gradient_reaches_every_parameter(cfg):
    model, x = build(cfg), pictures(cfg)
    out = model(x)
    assert out.shape == (3, cfg.n_classes or 8) and model.encode(x).shape == (3, 10, 8)
    out.square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_output_of_half_precision_weights_is_float32():
    model = build(SMALL, dtype=torch.bfloat16)
    assert model(pictures(SMALL, dtype=torch.bfloat16)).dtype == torch.float32


def test_loss_of_a_new_model_is_the_logarithm_of_the_number_of_classes():
    torch.manual_seed(0)
    loss, logs = vit_loss(ViT(SMALL).double(), (pictures(SMALL), torch.tensor([0, 1, 2])))
    assert loss.item() == pytest.approx(math.log(3), abs=1e-12) and 0 <= logs["accuracy"] <= 1


def test_loss_is_minus_the_log_probability_of_the_labels():
    model, x, labels = build(SMALL), pictures(SMALL), torch.tensor([2, 0, 2])
    loss, logs = vit_loss(model, (x, labels))
    log_p = model(x).log_softmax(1)
    assert loss.item() == pytest.approx(-sum(log_p[i, y].item() for i, y in enumerate(labels)) / 3, abs=1e-12)
    assert logs["accuracy"].item() == pytest.approx((log_p.argmax(1) == labels).double().mean().item())


def test_one_batch_is_learnt():
    torch.manual_seed(0)
    cfg = replace(SMALL, d_model=16, d_hidden=32)
    model, batch = ViT(cfg), (pictures(cfg, 12, torch.float32), torch.arange(12) % 3)
    step = make_step(model, vit_loss, adamw(model, 5e-3))
    first = step(batch)["loss"]
    for _ in range(80):
        last = step(batch)
    assert last["loss"] < 0.05 < first and last["accuracy"] == 1


def test_block_is_attention_and_mlp_around_which_what_came_in_goes_on():
    torch.manual_seed(0)
    block, x = Block(8, 2, 12).double(), torch.randn(2, 5, 8, dtype=torch.float64)
    for p in block.parameters():
        torch.nn.init.normal_(p, std=0.5)
    q, k, v = block.attention.qkv(block.norm1(x)).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    mixed = ((q @ k.transpose(2, 3) / 2).softmax(3) @ v).transpose(1, 2).flatten(2)
    y = x + block.attention.out(mixed)
    h = block.mlp[0](block.norm2(y))
    gelu = h * 0.5 * (1 + torch.erf(h / math.sqrt(2)))
    torch.testing.assert_close(block(x), y + block.mlp[2](gelu))


def test_dropout_acts_in_training_only():
    model, x = build(replace(SMALL, dropout=0.2, attention_dropout=0.2)), pictures(SMALL)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


# Places


def move_patches(x, order, patch=4):
    """Return the pictures with their patches in another order, cut and pasted by hand."""
    grid, out = x.shape[2] // patch, torch.empty_like(x)
    spot = lambda i: (
        slice(i // grid * patch, (i // grid + 1) * patch),
        slice(i % grid * patch, (i % grid + 1) * patch),
    )
    for to, where in enumerate(order.tolist()):
        out[(..., *spot(to))] = x[(..., *spot(where))]
    return out


@pytest.mark.parametrize("positions", ["none", "learned", "sine"])
def test_permuting_patches_permutes_the_outputs_exactly_if_there_are_no_positions(positions):
    model, x = build(replace(SMALL, positions=positions)), pictures(SMALL)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    tokens, moved = model.encode(x), model.encode(move_patches(x, order))
    same = (moved[:, 0] - tokens[:, 0]).abs().max() < 1e-12 and (
        moved[:, 1:] - tokens[:, 1 + order]
    ).abs().max() < 1e-12
    assert bool(same) == (positions == "none")


def test_sine_positions_are_no_parameters_and_leave_the_class_token_alone():
    model = build(replace(SMALL, positions="sine"))
    assert not [name for name in model.state_dict() if "positions" in name]
    torch.testing.assert_close(model.embed(pictures(SMALL))[:, :1], model.class_token.expand(3, -1, -1))


def test_pictures_of_another_size_are_taken_only_on_demand():
    model = build(SMALL)
    x = torch.randn(2, 2, 16, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"12 x 12 pixels, got 16 x 8; resize it, or ask to interpolate=True"):
        model(x)
    assert model(x, interpolate=True).shape == (2, 3)
    assert len(model.maps(x, interpolate=True)[0][0, 0]) == 9
    same = pictures(SMALL)
    assert torch.equal(model(same, interpolate=True), model(same))


def test_interpolated_positions_keep_those_of_a_plane_and_the_class_tokens():
    model = build(replace(SMALL, side=24))
    plane = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0)).double()  # (36, 2): row, column
    with torch.no_grad():
        model.positions[0, 1:] = plane.repeat(1, 4)
    new = model.positions_for(12, 12)
    assert torch.equal(new[:, 0], model.positions[:, 0])
    row, column = new[0, 1:, 0].view(12, 12), new[0, 1:, 1].view(12, 12)
    torch.testing.assert_close(row, row[:, :1].expand(12, 12))  # a row's number is the same in every column
    torch.testing.assert_close(column, row.T)
    middle = (torch.arange(12, dtype=torch.float64) + 0.5) / 2 - 0.5  # pixel centres, twice as dense
    assert (row[4:-4, 0] - middle[4:-4]).abs().max() < 0.05  # torch's cubic kernel bends a plane by that much


# Where it looks


@configs()
def test_attention_maps_are_rows_that_sum_to_one_and_change_no_output(cfg):
    model, x = build(cfg), pictures(cfg)
    maps = model.maps(x)
    assert [tuple(m.shape) for m in maps] == [(3, 2, 10, 10)] * 2
    assert (torch.stack(maps) >= 0).all()
    torch.testing.assert_close(torch.stack(maps).sum(-1), torch.ones(2, 3, 2, 10, dtype=torch.float64))
    with attention_maps(model):
        slow = model(x)
    torch.testing.assert_close(slow, model(x))


def test_attention_maps_come_in_the_order_of_the_layers_even_beyond_ten():
    model, x = build(replace(SMALL, n_layers=12)), pictures(SMALL)
    with attention_maps(model) as found:
        model(x)
        by_layer = [found[f"blocks.{i}.attention"][0] for i in range(12)]
    assert all(torch.equal(a, b) for a, b in zip(model.maps(x), by_layer, strict=True))


def test_rollout_equals_the_sum_over_all_paths_through_the_layers():
    maps = [torch.rand(1, 2, 3, 3, dtype=torch.float64).softmax(-1) for _ in range(3)]
    hops = [0.5 * m[0].mean(0) + 0.5 * torch.eye(3) for m in maps]
    rolled = attention_rollout(maps)
    assert rolled.shape == (3, 1, 3, 3)
    for i in range(3):
        for j in range(3):
            paths = sum(hops[2][i, a] * hops[1][a, b] * hops[0][b, j] for a in range(3) for b in range(3))
            assert rolled[2, 0, i, j].item() == pytest.approx(paths.item(), abs=1e-12)
    torch.testing.assert_close(rolled[0, 0], hops[0])


def test_rollout_rows_sum_to_one_and_full_residual_stays_in_place():
    maps = build(SMALL).maps(pictures(SMALL))
    for residual in (0.0, 0.3, 0.5):
        rows = attention_rollout(maps, residual=residual).sum(-1)
        torch.testing.assert_close(rows, torch.ones_like(rows))
    eye = torch.eye(10, dtype=torch.float64).expand(2, 3, 10, 10)
    assert torch.equal(attention_rollout(maps, residual=1.0), eye)


def test_attention_distance_equals_the_naive_mean_over_pairs_of_patches():
    model, x = build(SMALL), pictures(SMALL)
    maps = model.maps(x)
    found = attention_distance(maps, (3, 3), patch=4)
    assert found.shape == (2, 2)
    total = 0.0
    for b in range(3):
        for i in range(9):
            w = maps[1][b, 0, 1 + i, 1:]
            away = [4 * math.hypot(i // 3 - j // 3, i % 3 - j % 3) for j in range(9)]
            total += sum(wj.item() * d for wj, d in zip(w, away)) / w.sum().item()
    assert found[1, 0].item() == pytest.approx(total / 27, abs=1e-12)


def test_attention_distance_knows_a_head_that_stays_and_one_that_goes_one_column_right():
    stay, right = torch.eye(7), torch.zeros(7, 7)
    for i in range(6):  # a grid of 2 x 3
        right[1 + i, 1 + (i if i % 3 == 2 else i + 1)] = 1
    maps = [torch.stack([stay, right])[None].double()]
    torch.testing.assert_close(attention_distance(maps, (2, 3)), torch.tensor([[0.0, 4 / 6]], dtype=torch.float64))


def test_attention_distance_leaves_out_a_patch_that_attends_to_the_class_token_alone():
    maps = torch.rand(2, 2, 7, 7, dtype=torch.float64)
    full = maps.clone()
    maps[0, 0, 3], maps[:, 1] = torch.eye(7)[0], torch.eye(7)[0]  # one row of the first head, all of the second
    places = torch.cartesian_prod(torch.arange(2.0), torch.arange(3.0)).double()
    weights = full[:, 0, 1:, 1:]
    far = (weights * torch.cdist(places, places)).sum(2) / weights.sum(2)  # (2, 6)
    one, none = attention_distance([maps], (2, 3))[0]
    torch.testing.assert_close(one, (far.sum() - far[0, 2]) / 11)
    assert none.isnan()


# Bad input


@pytest.mark.parametrize("changes, message", [
    ({"side": 13}, "side must be a multiple of patch, got 13 and 4"),
    ({"n_layers": 0}, "at least 1, got {'n_layers': 0}"),
    ({"d_model": 9}, "d_model must be a multiple of n_heads, got 9 and 2"), ({"n_classes": -1}, "n_classes .* got -1"),
    ({"positions": "rotary"}, "positions must be .* got 'rotary'"), ({"dropout": 1.0}, "got {'dropout': 1.0}"),
    ({"positions": "sine", "d_model": 6}, "a multiple of 4"),
])  # fmt: skip
def test_impossible_config_is_refused_by_field_and_value(changes, message):
    with pytest.raises(ValueError, match=message):
        ViT(replace(SMALL, **changes))


@pytest.mark.parametrize("x, message", [
    (torch.zeros(2, 1, 12, 12), r"must be \(B, 2, 12, 12\) floats .* got \(2, 1, 12, 12\)"),
    (torch.zeros(0, 2, 12, 12), "B at least 1"), (torch.zeros(2, 12, 12), "must be"),
    (torch.zeros(2, 2, 12, 12, dtype=torch.uint8), "torch.uint8"),
    (torch.zeros(2, 2, 12, 13), "12 x 12 pixels, got 12 x 13"),
])  # fmt: skip
def test_pictures_that_do_not_fit_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        ViT(SMALL)(x)


def test_pictures_that_patches_do_not_tile_are_refused_when_interpolating():
    with pytest.raises(ValueError, match=r"multiples of the patch, 4 pixels, got 12 x 14"):
        ViT(SMALL)(torch.zeros(1, 2, 12, 14), interpolate=True)


@pytest.mark.parametrize("labels, message", [
    (torch.tensor([0, 1, 3]), r"in \[0, 3\), got 3"), (torch.tensor([0, -1, 1]), "got -1"),
    (torch.tensor([0, 1]), r"must be \(3,\) int64"), (torch.zeros(3), "torch.float32"),
])  # fmt: skip
def test_labels_that_do_not_fit_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        vit_loss(ViT(SMALL), (pictures(SMALL, dtype=torch.float32), labels))


def test_loss_without_a_classifier_is_refused():
    with pytest.raises(ValueError, match="no classifier"):
        vit_loss(ViT(CONFIGS["encoder"]), (pictures(SMALL, dtype=torch.float32), torch.zeros(3).long()))


@pytest.mark.parametrize("maps", [[], [torch.zeros(1, 2, 3)], [torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 4, 4)]])
def test_rollout_of_what_are_no_maps_is_refused(maps):
    with pytest.raises(ValueError, match="one tensor"):
        attention_rollout(maps)


def test_maps_of_another_grid_and_a_residual_out_of_range_are_refused():
    maps = [torch.ones(1, 1, 10, 10) / 10]
    with pytest.raises(ValueError, match="a 2 x 3 grid have 7 tokens, got 10"):
        attention_distance(maps, (2, 3))
    with pytest.raises(ValueError, match=r"residual must be in \[0, 1\], got 1.5"):
        attention_rollout(maps, residual=1.5)


@pytest.mark.parametrize("cfg", [*CONFIGS.values(), *PRESETS.values()])
def test_config_survives_json(cfg):
    assert from_json(ViTConfig, to_json(cfg)) == cfg
