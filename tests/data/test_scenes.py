"""Scenes: the reader inverts the drawing exactly, never says a wrong thing of a spoilt image, and captions parse."""

import hashlib

import pytest
import torch
from torch.nn.functional import conv2d

from genai_utils.data import check_caption, describe, load
from genai_utils.data.scenes import BACKGROUND, COLOURS, OBJECTS, RELATIONS, SHAPES, SIZES, parse_caption, read_scenes


def test_scenes_bytes_are_those_recorded():
    for split in ("train", "test"):
        assert hashlib.sha256(load("scenes", split).images.numpy().tobytes()).hexdigest() == RECORDED[split], split


def test_scenes_shapes_types_and_captions():
    data = load("scenes", n=50)
    assert data.images.shape == (50, 3, 32, 32) and data.images.dtype == torch.uint8
    assert data.classes == RELATIONS
    for caption, label, objects in zip(
        data.extra["captions"], data.labels, data.extra["factors"]["object"], strict=True
    ):
        first, second = (" ".join(OBJECTS[k]) for k in objects)
        assert caption == f"a {first} {RELATIONS[label]} a {second}"


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_scene_is_read_exactly(split):
    data = load("scenes", split, n=1_000, seed=5)
    assert read_scenes(data.images) == [parse_caption(caption) for caption in data.extra["captions"]]
    assert all(check_caption(data.images[:100], data.extra["captions"][:100]))


def test_scenes_use_every_object_and_relation():
    data = load("scenes", n=3_000)
    assert len(data.extra["factors"]["object"].unique()) == len(OBJECTS) == 2 * len(COLOURS) * len(SHAPES)
    assert torch.bincount(data.labels, minlength=4).min() > 600
    assert torch.equal(data.extra["factors"]["radius"].unique(), torch.tensor(sum(SIZES.values(), ())))


def test_scenes_of_the_test_never_occur_in_training():
    seen = [{parse_caption(c) for c in load("scenes", split).extra["captions"]} for split in ("train", "test")]
    assert len(seen[0]) > 2_000 and len(seen[1]) > 300 and not seen[0] & seen[1]


def test_caption_is_true_from_either_side_and_false_when_any_word_changes():
    data = load("scenes", n=40, seed=2)
    turned = {"above": "below", "below": "above", "left of": "right of", "right of": "left of"}
    images, texts, truths = [], [], []
    for image, caption, label in zip(data.images, data.extra["captions"], data.labels, strict=True):
        relation = RELATIONS[label]
        first, second = caption.split(f" {relation} ")
        true = [caption, f"{second} {turned[relation]} {first}"]
        false = [f"{first} {other} {second}" for other in RELATIONS if other != relation and first != second]
        for words in (tuple(SIZES), tuple(COLOURS), SHAPES):
            old = next(w for w in words if w in first.split())
            new = words[(words.index(old) + 1) % len(words)]
            false.append(f"{first.replace(old, new)} {relation} {second}")
        images += [image] * len(true + false)
        texts += true + false
        truths += [True] * len(true) + [False] * len(false)
    assert check_caption(torch.stack(images), texts) == truths


def test_describe_gives_the_canonical_caption():
    data = load("scenes", n=60, seed=3)
    for caption, told in zip(data.extra["captions"], describe(data.images), strict=True):
        assert parse_caption(told) == parse_caption(caption) and (" above " in told or " left of " in told)
    assert describe(data.images[0]) == describe(data.images[:1])[0]


def test_reader_is_steady_under_slight_noise():
    data = load("scenes", "test", n=200)
    noise = 8 * torch.randn(data.images.shape, generator=torch.Generator().manual_seed(0))
    noisy = (data.images.float() + noise).clamp(0, 255).to(torch.uint8)
    assert all(check_caption(noisy, data.extra["captions"]))


@pytest.mark.parametrize("blurs", [1, 3])
def test_reader_says_none_rather_than_a_wrong_thing_of_blurred_images(blurs):
    data = load("scenes", "test", n=300)
    x, side = data.images.float(), torch.tensor([1.0, 2.0, 1.0]) / 4
    for _ in range(blurs):
        x = conv2d(x, torch.outer(side, side).expand(3, 1, 3, 3), padding=1, groups=3)
    read = read_scenes(x.to(torch.uint8))
    wanted = [parse_caption(caption) for caption in data.extra["captions"]]
    wrong = sum(a is not None and a != b for a, b in zip(read, wanted, strict=True))
    assert wrong <= 3  # of 300


def test_reader_recognises_nothing_where_there_are_not_two_objects():
    plain = torch.tensor(BACKGROUND, dtype=torch.uint8).view(3, 1, 1).expand(3, 32, 32)
    noise = torch.randint(256, (3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    scene = load("scenes", n=1)
    half = scene.images[0].clone()
    y, x = scene.extra["factors"]["centre"][0, 0].tolist()  # of one object, which is wiped out
    rows, cols = (torch.arange(32) + 0.5 - c for c in (y, x))
    near = (rows.abs() < 8).view(-1, 1) & (cols.abs() < 8) & ~_near(scene, 1)
    half[:, near] = plain[:, near]
    assert describe(torch.stack([plain, noise, half])) == [None, None, None]
    assert describe(torch.zeros(0, 3, 32, 32, dtype=torch.uint8)) == []


def _near(scene, k):
    (y, x), r = scene.extra["factors"]["centre"][0, k].tolist(), scene.extra["factors"]["radius"][0, k].item() + 1
    axis = torch.arange(32) + 0.5
    return ((axis - y).abs() < r).view(-1, 1) & ((axis - x).abs() < r)


def test_captions_refuse_what_is_no_caption():
    image = load("scenes", n=1).images[0]
    for text in (
        "",
        "a red circle",
        "a huge red circle above a small blue square",
        "a large red circle on a large red cat",
    ):
        with pytest.raises(ValueError, match="sizes small, large; colours red"):
            check_caption(image, text)
    with pytest.raises(ValueError, match="1 images and 2 captions"):
        check_caption(image[None], ["a", "b"])
    with pytest.raises(ValueError, match=r"\(1, 1, 28, 28\)"):
        describe(torch.zeros(1, 1, 28, 28, dtype=torch.uint8))
    assert parse_caption("A large red circle above a small blue square.") == parse_caption(
        "a small blue square below a large red circle"
    )


RECORDED = {
    "train": "726b9294e3994e30a62955886de148d74529a604d6dfcf46547cce0005b22c3f",
    "test": "bc0514cd114a2598465baa4b40b9ed56f5f53b57dcfd2564ff50960f27239b49",
}
