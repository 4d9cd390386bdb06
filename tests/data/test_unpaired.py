"""Two unpaired domains: nothing paired in training, everything known in the test, batches that resume exactly."""

import hashlib
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from genai_utils.data import DataError, UnpairedSet, draw_glyphs, load, to_floats
from genai_utils.data.glyphs import FONTS
from genai_utils.data.unpaired import (
    FAT,
    KINDS,
    PAPER,
    SIZES,
    SLANTS,
    THICKNESSES,
    TWO_FONTS,
    add_texture,
    find_shift,
    invert,
    remove_texture,
)

LETTERS = ("outline", "fonts", "striped")
TWINS = ("inverted", "textured")


def sha(*pictures: torch.Tensor) -> str:
    return hashlib.sha256(b"".join(x.numpy().tobytes() for x in pictures)).hexdigest()


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """A folder of 41 training and 20 test digits, all different, that stand for MNIST; return them by split."""
    made, sums = {}, []
    (tmp_path / "mnist").mkdir()
    for split, n in (("train", 41), ("test", 20)):
        images = torch.randint(256, (n, 1, 28, 28), generator=torch.Generator().manual_seed(n)).to(torch.uint8)
        rows = []
        for image in images[:, 0].numpy():
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            rows.append({"bytes": file.getvalue()})
        path = tmp_path / "mnist" / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.table({"image": rows, "label": [k % 10 for k in range(n)]}), path)
        sums.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  mnist/{path.name}\n")
        made[split] = images
    (tmp_path / "SHA256SUMS").write_text("".join(sums))
    monkeypatch.setenv("GENAI_DATA", str(tmp_path))
    monkeypatch.setenv("GENAI_CACHE", str(tmp_path / "cache"))
    return made


def combinations(data: UnpairedSet, domain: str) -> set:
    """Everything that defines an item of letters."""
    factors = [f.float() for f in data.extra[f"factors_{domain}"].values()]
    rows = torch.stack([getattr(data, f"labels_{domain}").float(), *factors], 1)
    return {tuple(row) for row in rows.tolist()}


@pytest.mark.parametrize("kind", LETTERS)
def test_letters_bytes_are_those_recorded(kind):
    train, test = (load("unpaired", split, kind=kind, n=500) for split in ("train", "test"))
    assert [sha(train.a, train.b), sha(test.a, test.b, test.truth_a, test.truth_b)] == RECORDED[kind]


@pytest.mark.parametrize("kind", LETTERS)
def test_no_item_occurs_in_two_domains_of_training_nor_in_the_test(kind):
    train, test = load("unpaired", kind=kind, n=1_500), load("unpaired", "test", kind=kind, n=500)
    a, b = combinations(train, "a"), combinations(train, "b")
    tested = combinations(test, "a") | combinations(test, "b")
    assert min(len(a), len(b)) > 1_400 and len(tested) > 900
    assert not a & b and not (a | b) & tested


@pytest.mark.parametrize("kind", LETTERS)
def test_both_domains_have_every_level_of_every_factor_equally_often(kind):
    data = load("unpaired", kind=kind, n=2_000)
    levels = {"size": SIZES, "slant": SLANTS, "thickness": THICKNESSES}
    for domain in "ab":
        factors = data.extra[f"factors_{domain}"]
        for name, wanted in levels.items():
            values, counts = factors[name].unique(return_counts=True)
            torch.testing.assert_close(values.double(), torch.tensor(wanted).double())
            share = 1 / len(wanted)
            assert (counts / 2_000 - share).abs().max() < 4.5 * (share / 2_000) ** 0.5
        counts = torch.bincount(getattr(data, f"labels_{domain}"), minlength=36)
        assert (counts / 2_000 - 1 / 36).abs().max() < 4.5 * (1 / 36 / 2_000) ** 0.5


def test_training_sets_tell_no_counterparts_and_test_sets_tell_all(mnist):
    for kind in KINDS:
        n = {"n": 12} if kind in LETTERS else {}
        train, test = load("unpaired", kind=kind, **n), load("unpaired", "test", kind=kind, **n)
        assert train.truth_a is None and train.truth_b is None
        assert test.truth_a.shape == test.a.shape and test.truth_b.shape == test.b.shape
        assert train.a.shape[1:] == train.b.shape[1:] == (1, 28, 28) and train.name == f"unpaired/{kind}"
        assert len(train) == max(len(train.a), len(train.b)) == (12 if n else 20)


def test_counterparts_of_two_fonts_are_the_same_items_in_the_other_font():
    data = load("unpaired", "test", kind="fonts", n=60)
    fonts = [torch.full((60,), FONTS.index(name)) for name in TWO_FONTS]
    for domain, own, other in (("a", *fonts), ("b", *fonts[::-1])):
        text = "".join(data.classes[k] for k in getattr(data, f"labels_{domain}"))
        factors = list(data.extra[f"factors_{domain}"].values())[1:]
        assert torch.equal(draw_glyphs(text, own, *factors), getattr(data, domain))
        assert torch.equal(draw_glyphs(text, other, *factors), getattr(data, f"truth_{domain}"))
    assert (data.a.int() - data.truth_a.int()).abs().float().mean() > 5


def test_stripes_begin_at_four_places_equally_often_and_are_found_again():
    train, test = (load("unpaired", split, kind="striped", n=1_200) for split in ("train", "test"))
    counts = torch.bincount(train.extra["shifts_a"], minlength=4)
    assert (counts / 1_200 - 0.25).abs().max() < 4.5 * (0.25 * 0.75 / 1_200) ** 0.5
    for data in (train, test):
        assert torch.equal(find_shift(data.a), data.extra["shifts_a"])
        assert torch.equal(find_shift(to_floats(data.a)), data.extra["shifts_a"])
    assert torch.equal(test.a, add_texture(test.truth_a, test.extra["shifts_a"]))
    assert torch.bincount(find_shift(test.truth_b)).min() > 200 and not torch.equal(test.truth_b, test.b)
    for k in range(4):  # a shift of the paper is a shift of its columns
        blank = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
        assert torch.equal(add_texture(blank, k), add_texture(blank).roll(-k, -1))


def test_outlines_lie_along_the_edge_of_the_filled_letters_and_are_hollow():
    data = load("unpaired", "test", n=400)
    filled, outline = (torch.cat(pair).float() / 255 for pair in ((data.a, data.truth_b), (data.truth_a, data.b)))
    deep = -torch.nn.functional.max_pool2d(-filled, 3, 1, 1) == 1  # a pixel of ink in every direction
    far = torch.nn.functional.max_pool2d(filled, 5, 1, 2) == 0
    edge = (filled > 0.4) & (filled < 0.6)
    assert deep.sum() > 500 and edge.sum() > 1_000
    assert outline[deep].mean() < 0.02 and outline[far].max() == 0
    assert outline[edge].min() > 0.8
    assert set(data.extra["factors_a"]["font"].tolist()) == {FONTS.index(name) for name in FAT}


def test_twins_deal_mnist_out_and_every_counterpart_is_the_twin(mnist):
    for kind, there in (("inverted", invert), ("textured", add_texture)):
        for split, images in mnist.items():
            data = load("unpaired", split, kind=kind)
            in_a, in_b = data.extra["items_a"], data.extra["items_b"]
            assert len(in_a) == len(in_b) == len(images) // 2 and not set(in_a.tolist()) & set(in_b.tolist())
            assert torch.equal(data.a, images[in_a]) and torch.equal(data.b, there(images[in_b]))
            assert torch.equal(data.labels_a, in_a % 10) and torch.equal(data.labels_b, in_b % 10)
            if split == "test":
                assert torch.equal(data.truth_a, there(data.a)) and torch.equal(data.truth_b, images[in_b])
        other = load("unpaired", split, kind=kind, seed=1)
        assert not torch.equal(other.extra["items_a"], in_a)
        fewer = load("unpaired", split, kind=kind, n=3)
        assert torch.equal(fewer.a, data.a[:3]) and torch.equal(fewer.b, data.b[:3])


def test_every_way_there_can_be_undone():
    images = torch.arange(256).view(1, 1, 1, 256).expand(1, 1, 8, 256).to(torch.uint8)
    assert torch.equal(invert(invert(images)), images)
    torch.testing.assert_close(invert(to_floats(images)), to_floats(invert(images)))
    textured = add_texture(images)
    assert textured[..., 255].eq(255).all()  # ink covers
    assert set(textured[..., 0].unique().tolist()) == {0, PAPER}  # paper shows
    step = 1 / (255 - PAPER)  # rounding to a level moves a picture on the stripes by half of this share of its range
    assert (remove_texture(to_floats(textured)) - to_floats(images)).abs().max() <= step + 1e-5


def test_stripes_repeat_every_four_pixels_both_ways():
    paper = add_texture(torch.zeros(1, 1, 16, 16, dtype=torch.uint8))
    for axis in (2, 3):
        assert torch.equal(paper.roll(4, axis), paper)
        assert not any(torch.equal(paper.roll(k, axis), paper) for k in (1, 2, 3))


def small_set(n=7, m=9) -> UnpairedSet:
    a, b = (
        torch.randint(256, (k, 1, 4, 4), generator=torch.Generator().manual_seed(k)).to(torch.uint8) for k in (n, m)
    )
    return UnpairedSet("some", a, b, torch.zeros(n, dtype=torch.int64), torch.zeros(m, dtype=torch.int64), ("one",))


@pytest.mark.parametrize("done", [0, 1, 2, 3, 5, 11])
def test_batches_resume_exactly_after_any_number(done):
    first = small_set().batches(3, seed=1)
    for _ in range(done):
        next(first)
    state = json.loads(json.dumps(first.state_dict()))
    resumed = small_set().batches(3, seed=1)
    next(resumed)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    for _ in range(6):
        assert all(torch.equal(x, y) for x, y in zip(next(first), next(resumed), strict=True))


def test_batches_hold_each_picture_once_per_epoch_in_orders_of_their_own():
    a = torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1)
    data = UnpairedSet("twice", a, a, torch.zeros(12, dtype=torch.int64), torch.zeros(12, dtype=torch.int64), ("one",))
    batches = data.batches(4)
    drawn = [torch.cat(side) for side in zip(*(next(batches) for _ in range(3)))]
    orders = [((x.flatten() + 1) * 127.5).round().int().tolist() for x in drawn]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(12)) and orders[0] != orders[1]
    assert drawn[0].dtype == torch.float32 and drawn[0].shape == (12, 1, 1, 1)


def test_impossible_sets_are_refused(mnist):
    a, labels = torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)
    for change, message in (
        ({"b": a[:0], "labels_b": labels[:0]}, "domain B is empty; give at least one picture of each domain"),
        ({"a": a[:0], "labels_a": labels[:0]}, "domain A is empty"),
        ({"a": a.float()}, r"domain A must be \(N, C, H, W\) uint8, got \(3, 1, 4, 4\) torch.float32"),
        ({"b": torch.zeros(3, 3, 4, 4, dtype=torch.uint8)}, "both domains need one size"),
        ({"labels_b": labels[:2]}, r"labels of domain B must be \(3,\) int64, got \(2,\)"),
        ({"truth_a": a[:1]}, "counterparts of domain A must be .* one for each picture"),
    ):
        with pytest.raises(ValueError, match=message):
            UnpairedSet(
                **({"name": "x", "a": a, "b": a, "labels_a": labels, "labels_b": labels, "classes": ()} | change)
            )
    for options, message in (
        ({"kind": "zebras"}, "no two domains 'zebras'; kinds are outline, fonts, inverted, textured"),
        ({"n": 0}, "n must be at least 1, or a domain would be empty; got 0"),
        ({"kind": "inverted", "n": 21}, "at most 20, half of MNIST's 41 digits"),
        ({"classes": "AB"}, "unpaired has no option classes; it has kind, n, seed"),
    ):
        with pytest.raises(ValueError, match=message):
            load("unpaired", **options)
    with pytest.raises(ValueError, match="other batches"):
        small_set().batches(3, seed=1).load_state_dict(small_set().batches(3, seed=2).state_dict())


def test_twins_without_mnist_say_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("GENAI_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r'could not load\("mnist", "train"\)'):
        load("unpaired", kind="inverted")


RECORDED = {
    "outline": [
        "b470a60ad9a289bb05636a015f24ae9fd84af6a8d8e1b0c3653cf031b3b2c10c",
        "e99c27683723b1563930b9e26abf245c9742530b3321969ac8f7655b4071bec8",
    ],
    "fonts": [
        "c1c378f95e4614f84275540b8e3d1a634e987a105514f6a3dd5f02d11cfd1a20",
        "83ef35d2b01327b452b817a815365c991916087e63202ae887ac3e70f0c76ece",
    ],
    "striped": [
        "a61f68a78a81f9ee79d1bd4218dce436d09b86fd27a203e93639bf1af35783d2",
        "e84489238c2c4d26066023b7e6f73f9dee69a01600d8bfc5e7ffada7ba475b3e",
    ],
}
