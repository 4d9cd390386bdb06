"""Properties that an answer must have: each function returns nothing or raises an AssertionError, naming the mistake.

None of them prints what would have been right: the numbers that a message shows are the reader's own.

Sources: this book.
Shapes:  any; B batch, T positions in time.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor


def tell(
    got: object, right: object, mistakes: Mapping[str, object] | None = None, *, what: str = "the result",
    rtol: float = 1e-4, atol: float = 1e-6,
) -> None:  # fmt: skip
    """Raise unless `got` is `right`, and say which known mistake it is if it is one.

    Args:
        got: the reader's number or tensor, of any float or integer type.
        right: what it must be, a number or a tensor; its shape is demanded, too.
        mistakes: from what to tell the reader ("the sum; the mean is meant") to the number or tensor that the mistake
            gives. One that cannot be told from `right` is left out.
        what: the subject of the sentence, such as "the rate".
        rtol: relative tolerance, in units of the largest entry of `right`.
        atol: absolute tolerance.
    Raises:
        AssertionError: `got` is not `right`.

    >>> tell(3.0, 3.0, {"the sum": 6.0})
    >>> tell(6.0, 3.0, {"the sum; the mean is meant": 6.0}, what="the rate")
    Traceback (most recent call last):
    AssertionError: the rate is the sum; the mean is meant
    """
    want = torch.as_tensor(right).detach()
    if got is None:
        raise AssertionError(f"{what} is None: is a return missing?")
    try:
        value = torch.as_tensor(got).detach()
    except (TypeError, ValueError, RuntimeError):
        raise AssertionError(f"{what} must be a number or a tensor, and is a {type(got).__name__}") from None
    close = lambda a, b: a.shape == b.shape and _distance(a, b) <= atol + rtol * _size(b)
    for said, wrong in (mistakes or {}).items():
        wrong = torch.as_tensor(wrong).detach()
        if close(value, wrong) and not close(wrong, want):
            raise AssertionError(f"{what} is {said}")
    shaped(value, tuple(want.shape), what=what)
    if not torch.isfinite(value.double()).all() and torch.isfinite(want.double()).all():
        raise AssertionError(f"{what} is not finite: look for a division by zero, a log of zero or an overflow of exp")
    if not close(value, want):
        shown = f" ({value.item():.6g})" if value.numel() == 1 else ""
        raise AssertionError(f"{what}{shown} is wrong, and no mistake that this check knows by name")


def _distance(a: Tensor, b: Tensor) -> float:
    gap = torch.where(a == b, 0.0, (a.double() - b.double()).abs())  # equal infinities are no distance apart
    return math.inf if gap.isnan().any() else float(gap.max()) if gap.numel() else 0.0


def _size(b: Tensor) -> float:
    finite = b.double().abs()
    finite = finite[finite.isfinite()]
    return float(finite.max()) if finite.numel() else 0.0


def shaped(got: object, shape: Sequence[int], *, what: str = "the result") -> None:
    """Raise unless `got` is a tensor of this shape.

    Raises:
        AssertionError: it is none, or has another shape; the message names the extra or missing axis if it is that.
    """
    if not isinstance(got, Tensor):
        raise AssertionError(f"{what} must be a tensor, and is a {type(got).__name__}")
    have, want = tuple(got.shape), tuple(shape)
    if have == want:
        return
    cure = (
        "an axis is left over: reduce it"
        if len(have) > len(want)
        else ("too much was reduced: an axis is missing" if len(have) < len(want) else "the number of axes is right")
    )
    raise AssertionError(f"{what} has shape {have} where {want} is wanted; {cure}")


def slips(right: object) -> dict[str, object]:
    """Return the slips of the pen that a formula invites, for `tell`: {what to say: what the slip gives}.

    Square, root, reciprocal, half, twice and opposite of `right`, a number or a tensor; what is not finite is left out.
    """
    value = torch.as_tensor(right).detach()
    value = value if value.is_floating_point() else value.double()
    found = {
        "of the wrong sign": -value,
        "twice too large: where is the half?": 2 * value,
        "half of what it must be: one factor of 2 too few": value / 2,
        "the square of what is asked: a square root is missing": value.square(),
        "the square root of what is asked: one root too many": value.sqrt(),
        "one over what is asked: upside down": 1 / value,
    }
    return {said: wrong for said, wrong in found.items() if wrong.isfinite().all()}


def reductions(terms: Tensor, *, over: str = "latents", batch: str = "batch") -> dict[str, Tensor]:
    """Return the wrong ways to reduce (B, N) terms to one number, where the sum over N, averaged over B, is meant.

    Args:
        terms: (B, N), the right terms.
        over: the plural name of what is to be added up, such as "pixels".
        batch: the name of what is to be averaged.
    Returns:
        {what to say: scalar}, for `tell`.
    Raises:
        ValueError: terms has not two axes.
    """
    if terms.ndim != 2:
        raise ValueError(f"reductions needs (B, N) terms, got shape {tuple(terms.shape)}")
    return {
        f"a mean over the {over}: their terms add up, only the {batch} is averaged": terms.mean(),
        f"summed over the {batch}, too: the {batch} is to be averaged": terms.sum(),
        f"averaged over the {over} and summed over the {batch}: it is the other way round": terms.mean(1).sum(),
    }


def gradient_reaches(f: Callable[..., Tensor], **inputs: Tensor) -> None:
    """Raise unless a gradient flows from what f returns for these inputs, a tensor, back to every one of the inputs.

    Raises:
        AssertionError: a tensor is detached on the way, or the gradient is zero or not finite; the input is named.
    """
    leaves = {name: x.detach().clone().requires_grad_() for name, x in inputs.items()}
    with torch.enable_grad():
        out = f(**leaves)
    if not isinstance(out, Tensor):
        raise AssertionError(f"the result must be a tensor, and is a {type(out).__name__}: gradients are lost")
    if not out.requires_grad:
        raise AssertionError(
            "no gradient can flow: a detach(), .data, .item(), no_grad() or a new tensor is in the way"
        )
    for name, slope in zip(leaves, torch.autograd.grad(out.sum(), leaves.values(), allow_unused=True)):
        if slope is None or not slope.any():
            raise AssertionError(f"no gradient reaches {name}: is it detached, or not used?")
        if not slope.isfinite().all():
            raise AssertionError(f"the gradient that reaches {name} is not finite")


def gradient_stops(f: Callable[..., Tensor], **inputs: Tensor) -> None:
    """Raise if a gradient flows from what f returns, a tensor, to any of these inputs: they are to be held constant.

    Raises:
        AssertionError: a gradient reaches an input; the input is named.
    """
    leaves = {name: x.detach().clone().requires_grad_() for name, x in inputs.items()}
    with torch.enable_grad():
        out = f(**leaves)
    if not isinstance(out, Tensor) or not out.requires_grad:
        return
    for name, slope in zip(leaves, torch.autograd.grad(out.sum(), leaves.values(), allow_unused=True)):
        if slope is not None and slope.any():
            raise AssertionError(f"a gradient flows to {name}, which is to be held constant: detach it")


def spread(draws: Tensor, mean: float, std: float, *, what: str = "the noise") -> None:
    """Raise unless the draws have this mean and standard deviation, within five standard errors.

    Args:
        draws: at least 1,000 independent draws, any shape.
        mean: what their mean must be.
        std: what their standard deviation must be, above 0 and not 1 if the square is to be told from the root.
    Raises:
        AssertionError: the message names the variance in the place of its root, or the reverse, if it is that.
        ValueError: fewer than 1,000 draws: nothing could be told.
    """
    x = torch.as_tensor(draws).detach().double().flatten()
    if len(x) < 1000:
        raise ValueError(f"spread needs 1,000 draws or more, got {len(x)}")
    have, error = float(x.std()), 5 / math.sqrt(2 * len(x))
    near = lambda value: abs(have - value) <= error * max(value, 1e-12)
    if have <= 1e-6 * std:
        raise AssertionError(f"{what} is the same in every draw: nothing is random")
    if not near(std):
        for said, wrong in (
            ("its standard deviation is the variance that is meant: a square root is missing", std**2),
            ("its standard deviation is a root of the one that is meant: one square root too many", math.sqrt(std)),
            ("its standard deviation is one over the one that is meant", 1 / std),
            ("its standard deviation is 1: it was not scaled", 1.0),
            ("its variance is a third of what is meant: uniform numbers in [-1, 1]?", std / math.sqrt(3)),
        ):
            if near(wrong):
                raise AssertionError(f"{what} has the wrong variance: {said}")
        raise AssertionError(f"{what} has the wrong variance: its standard deviation is {have:.4g}")
    if abs(float(x.mean()) - mean) > 5 * std / math.sqrt(len(x)):
        raise AssertionError(f"{what} has the wrong mean: {float(x.mean()):.4g}")


def is_probability(p: Tensor, *, dim: int = -1, what: str = "the result") -> None:
    """Raise unless the entries of p lie in [0, 1] and add up to 1 along `dim`.

    Raises:
        AssertionError: it says if they are logits, log-probabilities, or normalised along another axis.
    """
    if not isinstance(p, Tensor):
        raise AssertionError(f"{what} must be a tensor, and is a {type(p).__name__}")
    one = lambda q, d: torch.allclose(q.sum(d), torch.ones((), dtype=q.dtype), atol=1e-4)
    if (p <= 0).all() and one(p.exp(), dim):
        raise AssertionError(f"{what} holds log-probabilities where probabilities belong: exp is missing")
    if (p < 0).any() or (p > 1 + 1e-4).any():
        raise AssertionError(f"{what} holds logits where probabilities belong: softmax or sigmoid is missing")
    if not one(p, dim):
        other = [d for d in range(p.ndim) if d != dim % p.ndim and one(p, d)]
        said = f"they do along axis {other[0]}: the wrong axis" if other else "normalise them"
        raise AssertionError(f"{what} does not add up to 1 along axis {dim}; {said}")


def not_probability(logits: Tensor, *, what: str = "the result") -> None:
    """Raise if all entries lie in [0, 1]: probabilities where logits belong (give inputs that make logits large).

    Raises:
        AssertionError: they do.
    """
    if ((logits >= 0) & (logits <= 1)).all():
        raise AssertionError(f"{what} holds probabilities where logits belong: one softmax or sigmoid too many")


def causal(f: Callable[[Tensor], Tensor], x: Tensor, *, dim: int = 1, inclusive: bool = True) -> None:
    """Raise unless output t depends on the inputs up to t, and on no later one.

    Args:
        f: maps x to an output with as many positions along `dim`.
        x: floating-point input with T positions along `dim`, T >= 3.
        dim: the axis of time of x and of the output.
        inclusive: whether output t may and must see input t itself; otherwise up to t - 1.
    Raises:
        AssertionError: the mask is off by one, is turned round, is missing, or hides the past.
        ValueError: fewer than 3 positions.
    """
    T = x.shape[dim]
    if T < 3:
        raise ValueError(f"causal needs 3 positions or more, got {T}")
    base, seen = f(x).detach(), torch.zeros(T, T, dtype=torch.bool)  # seen[t, s]: output t moves with input s
    for s in range(T):
        moved = x.clone()
        moved.select(dim, s).add_(1.0 + torch.arange(moved.select(dim, s).numel()).view_as(moved.select(dim, s)) / 7)
        seen[:, s] = ((f(moved).detach() - base).abs().movedim(dim, 0).reshape(T, -1) > 1e-9).any(1)
    want = torch.ones(T, T, dtype=torch.bool).tril(0 if inclusive else -1)
    if torch.equal(seen, want):
        return
    if torch.equal(seen, want.T):
        raise AssertionError("the mask is turned round: it shows the future and hides the past")
    if seen.all():
        raise AssertionError("nothing is masked: every output sees the whole future")
    ahead = [(t, s) for t, s in seen.logical_and(~want).nonzero().tolist()]
    if ahead and torch.equal(seen, torch.ones_like(want).tril(1 if inclusive else 0)):
        raise AssertionError(f"the mask is off by one: output t sees input t{' + 1' if inclusive else ' itself'}")
    if ahead:
        raise AssertionError(f"output {ahead[0][0]} sees input {ahead[0][1]}, which comes later")
    if torch.equal(seen, torch.ones_like(want).tril(-1 if inclusive else -2)):
        raise AssertionError(f"the mask is off by one: output t does not see input t{'' if inclusive else ' - 1'}")
    t, s = want.logical_and(~seen).nonzero().tolist()[0]
    raise AssertionError(f"output {t} does not see input {s}, which it may see")


def repeatable(f: Callable[[torch.Generator], Tensor]) -> None:
    """Raise unless f draws from the generator that it is given: the same draws again, and other draws from another.

    Raises:
        AssertionError: the same seed gives other numbers, or other seeds give the same.
    """
    first, again, other = (f(torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    if not torch.equal(first, again):
        raise AssertionError("the same generator gives other numbers: hand generator= on to every draw")
    if torch.equal(first, other):
        raise AssertionError("another generator gives the same numbers: nothing is drawn, or a seed is set inside")


def untouched(f: Callable[..., object], *inputs: Tensor) -> None:
    """Raise if f changes its inputs in place.

    Raises:
        AssertionError: it does; the number of the argument is named.
    """
    before = [x.clone() for x in inputs]
    f(*inputs)
    for number, (x, old) in enumerate(zip(inputs, before), start=1):
        if not torch.equal(x, old):
            raise AssertionError(f"argument {number} was changed in place: compute a new tensor")
