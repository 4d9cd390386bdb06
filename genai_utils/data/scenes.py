"""Scenes: 32x32 colour pictures of two shapes, with captions, and a reader that inverts the drawing.

A scene is "a large red circle above a small blue square": two objects and a relation. Because the reader recognises
every drawing exactly, text-to-image models can be scored by machine: draw, read, compare with the caption.
Shapes:  N images, M objects found, K sprites, P = 16 side of a sprite. Lengths in pixels, y downwards.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from genai_utils.data.sets import ImageSet

SIZES = {"small": (3.5, 4.0, 4.5), "large": (6.0, 6.5, 7.0)}  # radii: half the width of the object
COLOURS = {
    "red": (225, 45, 45),
    "green": (40, 180, 80),
    "blue": (60, 100, 240),
    "yellow": (245, 215, 50),
    "purple": (175, 70, 215),
    "white": (245, 245, 245),
}
SHAPES = ("circle", "square", "triangle")
RELATIONS = ("above", "below", "left of", "right of")
BACKGROUND = (18, 20, 28)
SIDE, SPRITE, PHASES, FINE = 32, 16, 4, 8  # PHASES positions within a pixel, FINE sample points per pixel, each way
OBJECTS = tuple((size, colour, shape) for size in SIZES for colour in COLOURS for shape in SHAPES)
GAP = 2  # pixels free between two objects, at least
TOLERANCE = 0.12  # squared error of a recognised object, as a share of its sprite's energy
CLEAR = 0.7  # and at most this share of the error of the best sprite of another shape

Scene = tuple[str, int, int]  # ("above", upper, lower) or ("left of", left, right); objects as indices into OBJECTS


@cache
def _sprites() -> Tensor:
    """Return the covered share of every pixel in 64ths: (shape 3, radius 6, phase y, phase x, P, P) uint8.

    All numbers are binary fractions, so nothing is ever rounded and bytes agree on every platform.
    """
    axis = (np.arange(SPRITE * FINE) + 0.5) / FINE - SPRITE / 2
    sprites = np.empty((len(SHAPES), 6, PHASES, PHASES, SPRITE, SPRITE), dtype=np.uint8)
    for k, r in enumerate(sum(SIZES.values(), ())):
        for p in range(PHASES):
            for q in range(PHASES):
                y, x = axis[:, None] - p / PHASES, axis[None, :] - q / PHASES
                drawn = (
                    x**2 + y**2 <= r**2,
                    np.maximum(abs(x), abs(y)) <= 0.875 * r,
                    (2 * abs(x) <= y + r) & (y <= r),
                )
                for s, ink in enumerate(drawn):
                    sprites[s, k, p, q] = ink.reshape(SPRITE, FINE, SPRITE, FINE).sum((1, 3))
    return torch.from_numpy(sprites)


def caption_of(scene: Scene) -> str:
    """Return the caption of a scene, e.g. "a large red circle above a small blue square"."""
    relation, first, second = scene
    return f"a {' '.join(OBJECTS[first])} {relation} a {' '.join(OBJECTS[second])}"


def parse_caption(caption: str) -> Scene:
    """Return the scene that a caption tells; "below" and "right of" are turned round, so that equal scenes are equal.

    Raises:
        ValueError: the caption is not of the form that `caption_of` writes (the message says which words there are).
    """
    for relation in RELATIONS:
        first, found, second = caption.strip().lower().removesuffix(".").partition(f" {relation} a ")
        objects = (tuple(first.removeprefix("a ").split()), tuple(second.split()))
        if found and first.startswith("a ") and all(o in OBJECTS for o in objects):
            a, b = (OBJECTS.index(o) for o in objects)
            return {"below": ("above", b, a), "right of": ("left of", b, a)}.get(relation, (relation, a, b))
    raise ValueError(
        f"cannot read the caption {caption!r}; it should be 'a SIZE COLOUR SHAPE RELATION a SIZE COLOUR SHAPE' with "
        f"sizes {', '.join(SIZES)}; colours {', '.join(COLOURS)}; shapes {', '.join(SHAPES)}; "
        f"relations {', '.join(RELATIONS)}"
    )


def scenes(split: str = "train", *, n: int | None = None, seed: int = 0) -> ImageSet:
    """Return n scenes with captions; one scene in six, drawn by lot, is never seen in training: those are the test.

    Args:
        split: "train" (20,000 by default) or "test" (4,000).
        n: how many.
        seed: other seeds give other draws of the same distribution.
    The label is the relation in the caption. `extra["captions"]` is a list of N captions; `extra["factors"]` holds
    object (N, 2), indices into `OBJECTS` in the caption's order, radius (N, 2) and centre (N, 2, 2) as (y, x), pixels.
    """
    n = {"train": 20_000, "test": 4_000}[split] if n is None else n
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    held_out = np.random.RandomState(6).random_sample((2, len(OBJECTS), len(OBJECTS))) < 1 / 6
    kinds = np.argwhere(held_out if split == "test" else ~held_out)  # rows: axis, upper or left object, other object
    rng = np.random.RandomState([seed, split == "test"])  # the one generator of numpy whose stream is frozen (NEP 19)
    kind = kinds[rng.randint(len(kinds), size=n, dtype=np.int64)]
    axis, objects = kind[:, 0], kind[:, 1:]

    def pick(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return quarter pixels between low and high (pixels, both included), uniformly."""
        count = np.round((high - low) * PHASES).astype(np.int64) + 1
        return np.floor(rng.random_sample(n) * count) / PHASES + low

    k_radius = 3 * (objects >= len(OBJECTS) // 2) + rng.randint(3, size=(n, 2), dtype=np.int64)
    radius = np.array(sum(SIZES.values(), ()))[k_radius]
    (r, s), widest = radius.T, radius.max(1)
    near = pick(1 + r, SIDE - 1 - r - 2 * s - GAP)  # along the axis of the relation
    far = pick(near + r + s + GAP, SIDE - 1 - s)
    middle = pick(1 + widest, SIDE - 1 - widest)  # across it: at most 4 pixels apart
    low, high = np.maximum(middle - 2, 1 + widest), np.minimum(middle + 2, SIDE - 1 - widest)
    across = np.stack([pick(low, high), pick(low, high)], 1)
    along = np.stack([near, far], 1)
    vertical = (axis == 0)[:, None]
    centre = np.stack([np.where(vertical, along, across), np.where(vertical, across, along)], -1)  # (N, 2, 2)
    images = torch.cat([_draw(*(v[i : i + 1000] for v in (objects, k_radius, centre))) for i in range(0, n, 1000)])

    turned = rng.randint(2, size=n, dtype=np.int64).astype(bool)  # half the captions tell it from the other side
    relation = 2 * axis + turned
    order = np.stack([turned, ~turned], 1).astype(np.int64)
    objects, radius = np.take_along_axis(objects, order, 1), np.take_along_axis(radius, order, 1)
    centre = np.take_along_axis(centre, order[:, :, None], 1)
    captions = [caption_of((RELATIONS[k], a, b)) for k, (a, b) in zip(relation, objects, strict=True)]
    factors = {"object": torch.from_numpy(objects), "radius": torch.from_numpy(radius).float()}
    factors["centre"] = torch.from_numpy(centre).float()
    extra = {"captions": captions, "factors": factors, "objects": OBJECTS}
    return ImageSet("scenes", images, torch.from_numpy(relation), RELATIONS, extra)


def _draw(objects: np.ndarray, k_radius: np.ndarray, centre: np.ndarray) -> Tensor:
    """Return the pictures (N, 3, 32, 32) uint8 of two objects each, in integer arithmetic."""
    n, half = len(objects), SPRITE // 2
    quarter = np.round(centre * PHASES).astype(np.int64)
    corner, phase = torch.from_numpy(quarter // PHASES), torch.from_numpy(quarter % PHASES)
    palette = torch.tensor(list(COLOURS.values()))
    margin = SIDE + SPRITE  # 8 pixels on every side
    canvas = torch.tensor(BACKGROUND, dtype=torch.int16).repeat(n, margin, margin, 1)
    picture, step = torch.arange(n).view(n, 1, 1), torch.arange(SPRITE)
    for j in range(2):
        shape, colour = torch.from_numpy(objects[:, j] % 3), torch.from_numpy(objects[:, j] // 3 % len(COLOURS))
        k = torch.from_numpy(k_radius[:, j])
        cover = _sprites()[shape, k, phase[:, j, 0], phase[:, j, 1]].short().unsqueeze(-1)
        rows, cols = corner[:, j, 0].view(n, 1, 1) + step.view(1, -1, 1), corner[:, j, 1].view(n, 1, 1) + step
        under = canvas[picture, rows, cols]  # (N, P, P, 3)
        ink = palette[colour].short().view(n, 1, 1, 3)
        canvas[picture, rows, cols] = (under * (FINE**2 - cover) + ink * cover + FINE**2 // 2) // FINE**2
    return canvas[:, half:-half, half:-half].permute(0, 3, 1, 2).to(torch.uint8).contiguous()


def read_scenes(images: Tensor) -> list[Scene | None]:
    """Return the scene in every image, or None where there are not exactly two recognisable objects.

    Args:
        images: (N, 3, 32, 32) uint8.
    An object is recognised when the best of 18 sprites (3 shapes, 6 radii), put at the object's centre of mass, leaves
    at most `TOLERANCE` of its energy unexplained and beats other shapes by `CLEAR`: a model's slightly blurred or noisy
    objects count, too, and where a circle could be a square the answer is None.
    """
    if images.ndim != 4 or images.shape[1:] != (3, SIDE, SIDE) or images.dtype != torch.uint8:
        raise ValueError(f"images must be (N, 3, {SIDE}, {SIDE}) uint8, got {tuple(images.shape)} {images.dtype}")
    return [scene for part in images.cpu().split(500) for scene in _read(part.float())]


def _read(x: Tensor) -> list[Scene | None]:
    """Return the scenes of (N, 3, 32, 32) float images in [0, 255]."""
    ink = x - torch.tensor(BACKGROUND).view(3, 1, 1)  # (N, 3, 32, 32)
    strength = ink.abs().amax(1, keepdim=True)
    picture, member = _components(strength > 40)  # (M,), (M, 1, 32, 32)
    member = max_pool2d(member, 3, 1, 1)  # faint edges belong, too
    ink, strength = ink[picture] * member, strength[picture] * member

    inner = (strength >= 0.8 * strength.amax((2, 3), keepdim=True)).float()
    mean = (ink * inner).sum((2, 3)) / inner.sum((2, 3)).clamp_min(1)
    tones = torch.tensor(list(COLOURS.values())) - torch.tensor(BACKGROUND).float()
    distance, colour = torch.cdist(mean, tones).min(1)
    tone = tones[colour]
    cover = torch.einsum("mchw,mc->mhw", ink, tone) / tone.square().sum(1).view(-1, 1, 1)
    error, rival, shape, k_radius, centre = _match(cover.clamp(0, 1))
    thing = (k_radius // 3 * len(COLOURS) + colour) * 3 + shape
    good = (error <= TOLERANCE) & (error <= CLEAR * rival) & (distance <= 70)

    found: list[list] = [[] for _ in x]
    for k, *what in zip(picture.tolist(), thing.tolist(), good.tolist(), centre.tolist(), strict=True):
        found[k].append(what)
    return [_scene(things) for things in found]


def _scene(things: list) -> Scene | None:
    """Return the scene of two objects [index, recognised, (y, x)], or None if there are not two, both recognised."""
    if len(things) != 2 or not all(good for _, good, _ in things):
        return None
    (a, _, (ya, xa)), (b, _, (yb, xb)) = things
    if abs(ya - yb) > abs(xa - xb):
        return ("above", a, b) if ya < yb else ("above", b, a)
    return ("left of", a, b) if xa < xb else ("left of", b, a)


def _components(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the connected parts of at least 4 pixels of (N, 1, H, W) masks: their image (M,), and themselves as
    (M, 1, H, W) float. Neighbours hand on the larger of their numbers until nothing changes."""
    numbers = torch.arange(1.0, SIDE * SIDE + 1).view(1, 1, SIDE, SIDE) * mask
    while True:
        spread = max_pool2d(numbers, 3, 1, 1) * mask
        if torch.equal(spread, numbers):
            break
        numbers = spread
    area = torch.zeros(len(mask), SIDE * SIDE + 1).scatter_add_(1, numbers.flatten(1).long(), mask.flatten(1).float())
    picture, number = torch.nonzero(area >= 4, as_tuple=True)
    return picture, (numbers[picture] == number.view(-1, 1, 1, 1)).float()


def _match(cover: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return, for covers (M, H, W) in [0, 1], the best sprite: its error (a share of its energy), the error of the best
    of another shape, its shape, radius (as an index) and centre (M, 2) in pixels.

    Each sprite is tried where its centre of mass falls on the cover's."""
    axis, step = torch.arange(SIDE) + 0.5, torch.arange(SPRITE)
    mass = cover.sum((1, 2)).clamp_min(1e-6)
    y, x = (cover.sum(2) * axis).sum(1) / mass, (cover.sum(1) * axis).sum(1) / mass
    padded = pad(cover, [SPRITE] * 4)
    energy, item = cover.square().sum((1, 2)), torch.arange(len(cover)).view(-1, 1, 1)
    tried = []
    for sprite in (_sprites().float() / FINE**2).flatten(0, 1):  # (4, 4, P, P), shapes by radii
        drop = (sprite[0, 0].sum(1) * (step + 0.5)).sum() / sprite[0, 0].sum() - SPRITE / 2  # of the centre of mass
        quarter = (torch.stack([y - drop, x], 1).clamp(0, SIDE) * PHASES).round().long()  # (M, 2)
        corner, phase = quarter // PHASES + SPRITE // 2, quarter % PHASES
        seen = padded[item, corner[:, 0].view(-1, 1, 1) + step.view(-1, 1), corner[:, 1].view(-1, 1, 1) + step]
        drawn = sprite[phase[:, 0], phase[:, 1]]  # (M, P, P)
        missed = energy - seen.square().sum((1, 2)) + (seen - drawn).square().sum((1, 2))
        tried.append((missed / drawn.square().sum((1, 2)), quarter / PHASES))
    errors = torch.stack([e for e, _ in tried])  # (18, M)
    error, best = errors.min(0)
    by_shape = errors.unflatten(0, (3, 6)).amin(1)  # (3, M)
    rival = by_shape.sort(0).values[1]
    centre = torch.stack([c for _, c in tried])[best, item.flatten()]
    return error, rival, best // 6, best % 6, centre


def describe(images: Tensor) -> str | None | list[str | None]:
    """Return what is to be seen: one caption for (3, 32, 32), a list of N for (N, 3, 32, 32), uint8; None if unclear.

    Of the two captions that tell the same scene it is the one with "above" or "left of".
    """
    single = images.ndim == 3
    captions = [scene and caption_of(scene) for scene in read_scenes(images[None] if single else images)]
    return captions[0] if single else captions


def check_caption(images: Tensor, captions: str | list[str]) -> bool | list[bool]:
    """Say whether a caption is true of its image, told from either side; for one of each, or for N of each.

    Raises:
        ValueError: a caption is not of the form that `caption_of` writes, or the numbers differ.
    """
    single = isinstance(captions, str)
    batch, texts = (images[None], [captions]) if single else (images, captions)
    if len(batch) != len(texts):
        raise ValueError(f"need one caption per image, got {len(batch)} images and {len(texts)} captions")
    wanted = [parse_caption(text) for text in texts]
    right = [seen == want for seen, want in zip(read_scenes(batch), wanted, strict=True)]
    return right[0] if single else right
