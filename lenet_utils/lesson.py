"""What makes a notebook a lesson: checks, guesses, exercises that answer, stored results."""

import contextlib
import copy
import importlib.metadata
import inspect
import io
import json
import operator
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from IPython.display import Markdown

MEASURED = Path(__file__).with_name("measured")
_COMPARISONS = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    # The bound is written with as many decimals as are claimed: "0.1307", "11.40".
    "rounds to": lambda value, bound: _rounded(value, len(bound.partition(".")[2])) == bound,
}


def _rounded(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text if text.strip("-0.") else text.removeprefix("-")  # -0.00 is 0.00


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


def guards(*claims: tuple[str, Any, str, Any]) -> None:
    """Check several claims, each as `check` takes it, that only protect the sentences around them.

    Prints one line with their number; raises AssertionError for the first that does not hold, and
    ValueError if there is none.
    """
    if not claims:
        raise ValueError("expected at least one claim: (claim, value, comparison, bound)")
    for claim in claims:
        with contextlib.redirect_stdout(io.StringIO()):
            check(*claim)
    print(f"✓ {len(claims)} claims of the text hold")


def compare(guess: Any, measured: float, unit: str = "") -> None:
    """Print a reader's guess beside what was measured; a fixed sentence while it is `...`."""
    if guess is ...:
        print("No guess yet. Put one in place of ..., and run both cells again.")
    else:
        print(f"Your guess: {guess}{unit}. Measured: {measured:.4g}{unit}.")


def exercise(
    name: str,
    answer: Any,
    checks: dict[str, Callable[..., bool]],
    cases: Sequence[tuple] = (),
) -> None:
    """Print whether an answer is open (still `...`), right (✓) or not yet (✗, with a hint).

    checks  what must hold of a right answer, in this order: each hint is said if its check fails
    cases   of an answer that is a function: the arguments to call it with, each time as copies,
            so that it may change them; a check then gets a result and the arguments it is for.
            Without cases a check gets the answer itself.

    An answer is right in any type that says the same: 21.0 for 21, a tensor for a number. One that
    raises, or makes a check raise, is not yet right.
    """
    said, doing = f"✗ Exercise {name}: not yet.", "Calling it"
    try:
        for case in cases or [()]:
            result = answer(*copy.deepcopy(case)) if cases and answer is not ... else answer
            result = _plain(result, flat=not cases)
            if result is ...:
                print(f"Exercise {name} is open: put your answer in place of ..., run both cells.")
                return
            doing = f"Checking a {type(result).__name__}"
            for hint, holds in checks.items():
                if not holds(result, *case):
                    print(f"{said} {hint}")
                    return
            doing = "Calling it"
        print(f"✓ Exercise {name}: right.")
    except Exception as error:
        print(f"{said} {doing} failed. ({type(error).__name__}: {error})")


def _plain(answer: Any, flat: bool) -> Any:
    """The same answer, as a plain number if it is one or, with flat=True, as a list of them."""
    if getattr(answer, "ndim", 2) <= flat:
        answer = answer.tolist()
    elif str(getattr(answer, "dtype", "")) == "torch.float64":
        answer = answer.float()
    if isinstance(answer, set | tuple | list):
        return type(answer)(_plain(part, flat) for part in answer)
    return int(answer) if isinstance(answer, float) and answer.is_integer() else answer


def source(thing: Any) -> Markdown:
    """The source of a function or class of this module, as it runs, to be read in a notebook."""
    return Markdown(f"```python\n{inspect.getsource(thing).rstrip()}\n```")


def measured(name: str) -> dict:
    """Results that took too long for a chapter, of each seed, with the command that measured them.

    "trials"     recipes on the validation images (tools/trials.py)
    "benchmark"  the named ones on the test images, and times (tools/benchmark.py)
    "robust"     distortions on validation images; then the recipe `robust` beside `plain` on test
                 images, altered ones and other people's digits (tools/robust.py)
    "ladder_1998"  from the network of 1998 to ours, one change at a time (tools/ladder_1998.py)
    "teach_1998"   what the paper of 1998 leaves open about teaching (tools/teach_1998.py)
    "regularisation"  regularisers, optimisers, batch sizes, on validation images
                   (tools/regularisation.py)
    "six_curves"   trainings with a trouble each, for a game (tools/six_curves.py)
    "faster"     what makes training faster: trials and the choice on validation images, the ladder
                 and the frozen recipes on test images, widths, times (tools/faster.py)
    "accurate"   what makes the network more accurate, chosen on validation images; then on test
                 images and other people's digits, one network and five (tools/accurate.py)
    """
    return json.loads((MEASURED / f"{name}.json").read_text("utf-8"))


def versions() -> dict[str, str]:
    """What the last digits of a training depend on: processor, Python and packages.

    Each notebook keeps those that it was recorded with in its metadata, under "recorded".
    """
    names = ["torch", "torchvision", "numpy", "matplotlib", "scikit-learn"]
    found = {name: importlib.metadata.version(name) for name in names}
    return {"processor": _processor(), "python": platform.python_version(), **found}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
