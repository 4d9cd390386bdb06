"""What a chart of named points needs: the front that no point beats, and places for the names.

Shapes:  F points.
"""

import math
from itertools import product

AROUND = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))  # where a name may stand
GAPS = (12, 18, 27, 38, 52, 68)  # and how far from its point, in CSS pixels


def pareto_front(points, better):
    """Return the names of the points that no other point beats, in increasing order of their numbers.

    One point beats another if it is at least as good in every number and better in one; of equal points all stay.
    Only the points themselves count: two that differ by less than their spread are still told apart.

    Args:
        points: dict of name -> as many finite numbers as `better` has entries.
        better: "lower" or "higher" for each number.
    Raises:
        ValueError: a number is missing or not finite, or `better` has something else in it.

    >>> points = {"fast": (1, 9), "good": (7, 2), "both": (3, 3), "neither": (8, 8), "twin": (3, 3)}
    >>> pareto_front(points, ("lower", "lower"))
    ['fast', 'both', 'twin', 'good']
    >>> pareto_front(points, ("higher", "lower"))
    ['good', 'neither']
    """
    if wrong := [b for b in better if b not in ("lower", "higher")]:
        raise ValueError(f"better must be 'lower' or 'higher' for each number, got {wrong[0]!r}: there is no front")
    for name, p in points.items():
        if len(p) != len(better) or not all(math.isfinite(v) for v in p):
            raise ValueError(f"points[{name!r}] must be {len(better)} finite numbers, got {p}: leave it out")
    cost = {name: [v if b == "lower" else -v for v, b in zip(p, better)] for name, p in points.items()}
    beats = lambda a, b: a != b and all(u <= v for u, v in zip(a, b))
    left = [name for name in points if not any(beats(other, cost[name]) for other in cost.values())]
    return sorted(left, key=lambda name: (*points[name], name))


def place_labels(points, sizes, box, bars=()):
    """Return where labels stand beside their points: (F boxes as (left, top, right, bottom), how many stand badly).

    Each label takes the best of 48 places around its point, given where all others stand, three times over. It stands
    badly if it lies on a point, on another label or over the edge of `box`, or is nearer to another point than to its
    own; a bar is crossed sooner than that.

    Args:
        points: F places (across, down).
        sizes: F sizes (width, height).
        box: the (left, top, right, bottom) that they must not leave.
        bars: lines that are better not crossed, as boxes.
    """
    touch = lambda a, b: a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    dots, stand, bad = [(u - 8, v - 8, u + 8, v + 8) for u, v in points], [None] * len(points), [0] * len(points)
    far = lambda p, b: math.dist(p, (min(max(p[0], b[0]), b[2]), min(max(p[1], b[1]), b[3])))
    for _ in range(3):
        for i, (p, (w, h)) in enumerate(zip(points, sizes)):
            best, others = math.inf, [b for both in (dots, stand) for j, b in enumerate(both) if b and j != i]
            for gap, (k, (dx, dy)) in product(GAPS, enumerate(AROUND)):
                away = gap * 0.75 if dx and dy else gap
                a, b = p[0] + dx * (away + w / 2) - w / 2, p[1] + dy * (away + h / 2) - h / 2
                at = (a, b, a + w, b + h)
                out = a < box[0] or b < box[1] or at[2] > box[2] or at[3] > box[3]
                hits = out + sum(touch(at, other) for other in others)
                stray = any(far(q, at) < far(p, at) for q in points)
                cost = 1000 * hits + 60 * stray + 6 * sum(touch(at, bar) for bar in bars) + gap / 2 + k / 4
                if cost < best:
                    best, stand[i], bad[i] = cost, at, bool(hits or stray)
    return stand, sum(bad)
