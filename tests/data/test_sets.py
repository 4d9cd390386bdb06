"""Batches: the exact permutation that trainings depend on, exact resume, and refusals."""

import json

import pytest
import torch

from genai_utils.data import ImageSet, load, to_floats, to_pixels


def images_of(n: int, seed: int = 0) -> ImageSet:
    images = torch.randint(256, (n, 2, 3, 3), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    return ImageSet("some", images, torch.arange(n), tuple("abc"))


def test_batches_follow_one_seeded_permutation_per_epoch():
    data, batches, g = images_of(10), images_of(10).batches(4, seed=7), torch.Generator().manual_seed(7)
    for _ in range(3):
        order = torch.randperm(10, generator=g)
        for first in (0, 4):  # the last two are dropped
            x, labels = next(batches)
            which = order[first : first + 4]
            assert torch.equal(labels, which)
            assert torch.equal(x, data.images[which].float() / 127.5 - 1) and x.dtype == torch.float32


def test_batches_with_another_seed_differ():
    a, b = (torch.cat([next(it)[1] for _ in range(5)]) for it in (images_of(50).batches(10, s) for s in (0, 1)))
    assert sorted(a.tolist()) == sorted(b.tolist()) == list(range(50)) and not torch.equal(a, b)


@pytest.mark.parametrize("done", [0, 1, 2, 3, 5, 11])
def test_batches_resume_exactly_after_any_number(done):
    first = images_of(7).batches(3, seed=1)
    for _ in range(done):
        next(first)
    state = json.loads(json.dumps(first.state_dict()))
    resumed = images_of(7).batches(3, seed=1)
    next(resumed)  # a used iterator is put right, too
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    for _ in range(6):
        (x, labels), (y, again) = next(first), next(resumed)
        assert torch.equal(x, y) and torch.equal(labels, again)


def test_batches_of_points_resume_exactly():
    first, resumed = (load("toys", n=20).batches(6, seed=3) for _ in range(2))
    for _ in range(4):
        next(first)
    resumed.load_state_dict(first.state_dict())
    x, y = next(first), next(resumed)
    assert torch.equal(x, y) and x.shape == (6, 2) and x.dtype == torch.float32


def test_batches_refuse_states_of_other_batches_and_bad_sizes():
    state = images_of(7).batches(3, seed=1).state_dict()
    for other in (images_of(8).batches(3, seed=1), images_of(7).batches(2, seed=1), images_of(7).batches(3, seed=2)):
        with pytest.raises(ValueError, match="other batches"):
            other.load_state_dict(state)
    for size in (0, 8):
        with pytest.raises(ValueError, match=f"got {size}"):
            images_of(7).batches(size)


def test_batches_leave_the_global_generator_alone():
    state = torch.get_rng_state()
    next(images_of(7).batches(3))
    assert torch.equal(state, torch.get_rng_state())


def test_pixels_and_floats_are_inverse_and_pixels_clip():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_pixels(to_floats(levels)), levels)
    assert to_floats(levels).min() == -1 and to_floats(levels).max() == 1
    assert to_pixels(torch.tensor([-3.0, 1.7, 0.0])).tolist() == [0, 255, 128]
    assert ImageSet.to_pixels is to_pixels


def test_image_set_refuses_what_are_no_images():
    with pytest.raises(ValueError, match="uint8"):
        ImageSet("some", torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64), ("a",))
    with pytest.raises(ValueError, match=r"labels must be \(2,\)"):
        ImageSet("some", torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), ("a",))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_on_the_gpu_equal_those_on_the_cpu():
    on_gpu = images_of(10).to("cuda").batches(4, seed=7)
    for (x, labels), (y, others), _ in zip(images_of(10).batches(4, seed=7), on_gpu, range(5), strict=False):
        assert y.device.type == others.device.type == "cuda"
        assert torch.equal(x, y.cpu()) and torch.equal(labels, others.cpu())


def test_load_refuses_unknown_names_splits_and_options():
    there = "'mnits'.*toys, glyphs, letter, scenes, digits.*mnist, fashion_mnist, cifar10"
    with pytest.raises(ValueError, match=there):
        load("mnits")
    with pytest.raises(ValueError, match="'train' or 'test', got 'valid'"):
        load("glyphs", "valid")
    with pytest.raises(ValueError, match="glyphs has no option kind; it has classes, n, seed"):
        load("glyphs", kind="ring")
    with pytest.raises(ValueError, match="mnist has no option n"):
        load("mnist", n=5)
