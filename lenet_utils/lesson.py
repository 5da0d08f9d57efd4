"""What makes a notebook a lesson: checked claims, exercises that answer, source that is shown."""

import inspect
import operator
from collections.abc import Callable
from typing import Any

from IPython.display import Markdown

_COMPARISONS = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    # The bound is written with as many decimals as are claimed: "0.1307", "11.40".
    "rounds to": lambda value, bound: f"{value:.{len(bound.partition('.')[2])}f}" == bound,
}


def check(claim: str, value: Any, comparison: str, bound: Any) -> None:
    """Print the claim with a ✓ if it holds, else raise AssertionError with the value.

    check("test accuracy", accuracy, ">", 0.985) prints «✓ test accuracy > 0.985»: the claim, not
    the value, which may differ a little from machine to machine. Comparisons are ==, <, <=, >, >=
    and "rounds to", whose bound is a string: check("mean ink", mean, "rounds to", "0.1307").
    Raises ValueError for any other.
    """
    if comparison not in _COMPARISONS:
        raise ValueError(f"comparison must be one of {', '.join(_COMPARISONS)}; got {comparison!r}")
    if not _COMPARISONS[comparison](value, bound):
        raise AssertionError(f"✗ {claim} {comparison} {bound} does not hold: the value is {value}")
    written = f"{bound:,}" if type(bound) is int else bound
    print(f"✓ {claim} {comparison} {written}")


def exercise(number: int, answer: Any, is_right: Callable[[Any], bool], hint: str) -> None:
    """Print whether an answer is open (still `...`), right (✓) or not yet (✗, with the hint).

    The answer may be a function of no arguments that gives it, such as lambda: answer_2(sample). An
    answer that raises, or makes `is_right` raise, is not yet right either.
    """
    try:
        answer = answer() if inspect.isfunction(answer) else answer
        if answer is ...:
            print(f"Exercise {number} is open: put your answer in place of ..., run both cells.")
            return
        right = bool(is_right(answer))
    except Exception as error:
        right, hint = False, f"{hint} (Checking your answer raised {type(error).__name__}: {error})"
    print(f"✓ Exercise {number}: right." if right else f"✗ Exercise {number}: not yet. {hint}")


def source(thing: Any) -> Markdown:
    """The source of a function or class of this module, as it runs, to be read in a notebook."""
    return Markdown(f"```python\n{inspect.getsource(thing).rstrip()}\n```")
