import math
import platform
import re
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from lenet_utils import lesson
from lenet_utils.lesson import check, compare, exercise, guards


@pytest.mark.parametrize(
    "comparison, bound, values, others",
    [
        ("==", 2, [2], [1, 3, math.nan]),
        ("<", 2, [1, torch.tensor(0.5)], [2, 3, math.nan]),
        ("<=", 2, [1, 2], [3, math.nan]),
        (">", 2, [3], [2, 1, math.nan]),
        (">=", 2, [3, 2], [1, math.nan]),
        (">=", math.nan, [], [1, math.nan]),
        ("rounds to", "0.1307", [0.13066, 0.13074], [0.13064, 0.13076, math.nan]),
        ("rounds to", "11.40", [11.399], [11.5, 11.39]),
        ("rounds to", "10", [9.6], [9.4]),
        ("rounds to", "0.00", [-0.001, 0.001], [-0.006, 0.006]),
        ("rounds to", "-0.01", [-0.006], [0.006]),
    ],
)
def test_what_holds_is_printed_and_else_raised(capsys, comparison, bound, values, others):
    for value in values:
        check("the claim", value, comparison, bound)
        assert capsys.readouterr().out == f"✓ the claim {comparison} {bound}\n"
    for value in others:
        message = f"✗ the claim {comparison} {bound} does not hold: the value is {value}"
        with pytest.raises(AssertionError, match=f"^{re.escape(message)}$"):
            check("the claim", value, comparison, bound)
        assert capsys.readouterr().out == ""


def test_whole_numbers_are_written_with_commas(capsys):
    for bound in (61_706, -1_234, 999, 1234.5, True):
        check("parameters", bound, "==", bound)
    written = re.findall("✓ parameters == (.*)\n", capsys.readouterr().out)
    assert written == ["61,706", "-1,234", "999", "1234.5", "True"]


@pytest.mark.parametrize("comparison", ["=", "!=", "rounds", ""])
def test_unknown_comparison(comparison):
    message = f"must be one of ==, <, <=, >, >=, rounds to; got {comparison!r}"
    with pytest.raises(ValueError, match=message):
        check("the claim", 1, comparison, 1)


def test_guards_are_checks_in_one_line(capsys):
    guards(("three", 3, "==", 3), ("a half", 0.5, "<", 1))
    assert capsys.readouterr().out == "✓ 2 claims of the text hold\n"
    with pytest.raises(AssertionError, match="^✗ a half < 0.1 does not hold: the value is 0.5$"):
        guards(("three", 3, "==", 3), ("a half", 0.5, "<", 0.1), ("never reached", 1, "?", 1))
    with pytest.raises(ValueError, match="expected at least one claim"):
        guards()
    assert capsys.readouterr().out == ""


def test_a_guess_is_compared_and_none_is_always_the_same(capsys):
    for measured in (71, 97.25):
        compare(..., measured, " %")
    assert set(capsys.readouterr().out.splitlines()) == {
        "No guess yet. Put one in place of ..., and run both cells again."
    }
    compare(90, 97.24961, " %")
    compare(2.0, 71)
    said = "Your guess: 90 %. Measured: 97.25 %.\nYour guess: 2.0. Measured: 71.\n"
    assert capsys.readouterr().out == said


def test_measured_results_are_those_of_the_file(tmp_path, monkeypatch):
    (tmp_path / "trials.json").write_text('{"trials": {"a": [1]}}')
    monkeypatch.setattr(lesson, "MEASURED", tmp_path)
    assert lesson.measured("trials") == {"trials": {"a": [1]}}


OPEN = "Exercise 3a is open: put your answer in place of ..., run both cells."
RIGHT = "✓ Exercise 3a: right."
NOT_YET = "✗ Exercise 3a: not yet. "
FAILED = NOT_YET + "Calling it failed. "


def said(capsys, expected):
    """Whether this line was printed; * stands for anything."""
    pattern = ".*".join(map(re.escape, expected.split("*")))
    return re.fullmatch(pattern + "\n", capsys.readouterr().out) is not None


@pytest.mark.parametrize(
    "answer, expected",
    [
        (..., OPEN),
        (12, RIGHT),
        (torch.tensor(12), RIGHT),
        (torch.tensor(11), NOT_YET + "Is it even?"),
        (-3, NOT_YET + "Is it positive?"),  # nor is it even
        ("12", NOT_YET + "Checking a str failed. (TypeError: '>' not supported between*)"),
        (torch.ones(2), NOT_YET + "Checking a list failed. (TypeError: '>' not supported*)"),
        (lambda: 12, NOT_YET + "Checking a function failed. (TypeError: *)"),  # it is not called
    ],
)
def test_an_answer(capsys, answer, expected):
    exercise("3a", answer, {"Is it positive?": lambda a: a > 0, "Is it even?": lambda a: a % 2 < 1})
    assert said(capsys, expected)


@pytest.mark.parametrize(
    "answer, expected",
    [
        (..., OPEN),
        (lambda numbers, factor: ..., OPEN),
        (lambda numbers, factor: factor * sum(numbers), RIGHT),
        (lambda numbers, factor: factor * sum(numbers.pop() for _ in [*numbers]), RIGHT),
        (lambda numbers, factor: 6, NOT_YET + "Add them."),  # right for the first case
        (lambda numbers, factor: -6, NOT_YET + "Is it positive?"),  # nor their sum
        (lambda numbers, factor: 6 / (3 - factor), FAILED + "(ZeroDivisionError: division by *)"),
        (6, FAILED + "(TypeError: 'int' object is not callable)"),
    ],
)
def test_an_answer_that_is_a_function(capsys, answer, expected):
    cases = [([1, 2], 2), ([4], 3)]
    checks = {
        "Is it positive?": lambda result, numbers, factor: result > 0,
        "Add them.": lambda result, numbers, factor: result == factor * sum(numbers),
    }
    exercise("3a", answer, checks, cases)
    assert said(capsys, expected)
    assert cases == [([1, 2], 2), ([4], 3)]


@pytest.mark.parametrize(
    "answer, plain, cases",
    [
        (torch.tensor(21.0), 21, ()),
        (np.float64(0.5), 0.5, ()),
        ({4.0, torch.tensor(9)}, {4, 9}, ()),
        (torch.tensor([4, 9]), [4, 9], ()),
        (np.array([6.0, 28.0]), [6, 28], ()),
        ((6, np.int64(28)), (6, 28), ()),
        (lambda: torch.tensor(3.5), 3.5, [()]),
        (lambda: 3.0, 3, [()]),
    ],
)
def test_an_answer_in_another_type_is_the_same_answer(capsys, answer, plain, cases):
    same = {"?": lambda given: given == plain and type(given) is type(plain)}
    exercise("3a", answer, same, cases)
    assert said(capsys, RIGHT)


def test_tensors_are_compared_in_float32(capsys):
    checks = {"?": lambda given: torch.allclose(given, torch.tensor([0.1, 0.2]))}
    exercise("3a", lambda: torch.tensor([0.1, 0.2], dtype=torch.float64), checks, [()])
    assert said(capsys, RIGHT)


@pytest.mark.parametrize("array", [np.eye(2), torch.eye(2)], ids=["NumPy", "torch"])
def test_an_array_is_checked_as_it_is(capsys, array):
    for answer, cases in [(array, ()), (lambda: array, [()])]:
        exercise("3a", answer, {"?": lambda given: type(given) is type(array)}, cases)
        assert said(capsys, RIGHT)


def test_an_interrupt_is_no_answer():
    interrupt = Mock(side_effect=KeyboardInterrupt)
    for answer, holds in [(interrupt, print), (abs, interrupt)]:
        with pytest.raises(KeyboardInterrupt):
            exercise("3a", answer, {"": holds}, [(1,)])


def test_source_is_that_of_the_running_function():
    shown = lesson.source(said)._repr_markdown_()
    assert shown.startswith("```python\ndef said(capsys, expected):\n")
    assert shown.endswith(".out) is not None\n```")


@pytest.mark.parametrize("cpuinfo", ["model\t: 17\nmodel name\t: A: B \n", "part\t: 1\n", None])
def test_versions_have_a_processor_whatever_is_known(monkeypatch, tmp_path, cpuinfo):
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(lesson, "Path", lambda name: tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    versions = lesson.versions()
    packages = {"torch", "torchvision", "numpy", "matplotlib", "scikit-learn"}
    assert set(versions) == {"processor", "python"} | packages
    assert all(isinstance(version, str) and version for version in versions.values())
    assert versions["processor"] == ("A: B" if "name" in str(cpuinfo) else "aarch64")
    assert versions["python"] == platform.python_version()
    assert torch.__version__.startswith(versions["torch"])
