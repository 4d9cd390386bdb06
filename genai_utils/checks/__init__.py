"""Property checks for exercises: run at once, say in one line how an attempt stands, and never stop a notebook.

Sources: this book.
Shapes:  none.
"""

import traceback
from collections.abc import Callable

from genai_utils.checks.properties import (
    causal,
    gradient_reaches,
    gradient_stops,
    is_probability,
    not_probability,
    reductions,
    repeatable,
    shaped,
    slips,
    spread,
    tell,
    untouched,
)

__all__ = [
    "causal",
    "check",
    "gradient_reaches",
    "gradient_stops",
    "is_probability",
    "not_probability",
    "reductions",
    "repeatable",
    "shaped",
    "slips",
    "spread",
    "tell",
    "untouched",
]


def check(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Return a decorator that runs a check where it is defined and prints its verdict.

    The check calls the reader's function and asserts properties of what comes back, each assertion with a message that
    names the mistake. The verdict is one of `<name>: not attempted` (the starter's NotImplementedError came through; of
    which function, is said where a task has several), `<name>: passed`, and `<name>: not yet: <what is wrong>`.

    Args:
        name: what the verdict is about, such as "exercise 1".
    Raises:
        ValueError: `name` is empty.

    >>> @check("exercise 1")
    ... def _():
    ...     assert abs(-2) == 2, "abs of -2 is 2"
    exercise 1: passed
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f'check needs the name of the exercise, as in @check("exercise 1"), got {name!r}')

    def run(test: Callable[[], None]) -> Callable[[], None]:
        print(f"{name}: {_verdict(name, test)}")
        return test

    return run


def _verdict(name: str, test: Callable[[], None]) -> str:
    try:
        test()
    except NotImplementedError as error:  # the starter's has no message; torch's own says what it cannot do
        if str(error):
            return f"not yet: {_lines(error)}"
        starter = traceback.extract_tb(error.__traceback__)[-1].name
        return f"not attempted: {starter}" if name.isidentifier() and starter != name else "not attempted"
    except AssertionError as error:
        return f"not yet: {_lines(error) or 'a property does not hold (the check above says which)'}"
    except Exception as error:  # the reader's code may fail in any way, and the notebook must go on
        return f"not yet: {type(error).__name__}: {_lines(error) or 'no message'}"
    return "passed"


def _lines(error: Exception) -> str:
    """The message on one line, its first four lines at most: torch's comparisons say the essential there."""
    return "; ".join([line.strip() for line in str(error).splitlines() if line.strip()][:4])
