import math
import re

import pytest
import torch

from lenet_utils import data
from lenet_utils.lesson import check, exercise, source

# Checks


@pytest.mark.parametrize(
    "value, comparison, bound",
    [
        (2, "==", 2),
        (1, "<", 2),
        (1, "<=", 2),
        (2, "<=", 2),
        (3, ">", 2),
        (3, ">=", 2),
        (2, ">=", 2),
        (0.13066, "rounds to", "0.1307"),
        (11.399, "rounds to", "11.40"),
        (9.6, "rounds to", "10"),
        (-0.5004, "rounds to", "-0.500"),
        ("six", "==", "six"),
        ((3, 4), "==", (3, 4)),
        (torch.tensor(0.5), "<", 1),
    ],
)
def test_what_holds_is_printed(capsys, value, comparison, bound):
    check("the claim", value, comparison, bound)
    assert capsys.readouterr().out == f"✓ the claim {comparison} {bound}\n"


@pytest.mark.parametrize(
    "value, comparison, bound",
    [
        (1, "==", 2),
        (3, "==", 2),
        (2, "<", 2),
        (3, "<", 2),
        (3, "<=", 2),
        (2, ">", 2),
        (1, ">", 2),
        (1, ">=", 2),
        (0.13064, "rounds to", "0.1307"),
        (0.13076, "rounds to", "0.1307"),
        (11.4, "rounds to", "11.5"),
        (9.4, "rounds to", "10"),
        ((3, 4), "==", (4, 3)),
    ],
)
def test_what_does_not_hold_is_raised_with_the_value(capsys, value, comparison, bound):
    message = f"✗ the claim {comparison} {bound} does not hold: the value is {value}"
    with pytest.raises(AssertionError, match=f"^{re.escape(message)}$"):
        check("the claim", value, comparison, bound)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("comparison", ["==", "<", "<=", ">", ">="])
def test_nothing_holds_of_what_is_not_a_number(comparison):
    for value, bound in [(math.nan, 1.0), (1.0, math.nan), (math.nan, math.nan)]:
        with pytest.raises(AssertionError):
            check("the claim", value, comparison, bound)
    with pytest.raises(AssertionError):
        check("the claim", math.nan, "rounds to", "1.0")


@pytest.mark.parametrize(
    "bound, written",
    [(61_706, "61,706"), (-1_234, "-1,234"), (999, "999"), (1234.5, "1234.5"), (True, "True")],
)
def test_whole_numbers_are_written_with_commas(capsys, bound, written):
    check("parameters", bound, "==", bound)
    assert capsys.readouterr().out == f"✓ parameters == {written}\n"


@pytest.mark.parametrize("comparison", ["=", "!=", "≈", "rounds", ""])
def test_unknown_comparison(comparison):
    with pytest.raises(ValueError) as error:
        check("the claim", 1, comparison, 1)
    assert "comparison must be one of ==, <, <=, >, >=, rounds to" in str(error.value)
    assert repr(comparison) in str(error.value)


# Exercises


def answered(capsys, answer, is_right):
    exercise(3, answer, is_right, hint="Count again.")
    return capsys.readouterr().out


def test_open_until_there_is_an_answer(capsys):
    output = answered(capsys, ..., lambda answer: True)
    assert output == "Exercise 3 is open: put your answer in place of ..., run both cells.\n"


def test_right_answer(capsys):
    assert answered(capsys, 12, lambda answer: answer == 12) == "✓ Exercise 3: right.\n"


@pytest.mark.parametrize("answer", [11, None, 0, False, ""])
def test_wrong_answer(capsys, answer):
    output = answered(capsys, answer, lambda answer: answer == 12)
    assert output == "✗ Exercise 3: not yet. Count again.\n"


def test_a_tensor_says_whether_it_is_right(capsys):
    assert answered(capsys, torch.ones(2), lambda answer: answer.sum() == 2)[0] == "✓"
    assert answered(capsys, torch.ones(3), lambda answer: answer.sum() == 2)[0] == "✗"


def test_an_answer_of_the_wrong_kind_is_not_right_yet(capsys):
    output = answered(capsys, "twelve", lambda answer: answer + 1 == 13)
    assert output.startswith(
        "✗ Exercise 3: not yet. Count again. (Checking your answer raised Type"
    )


def test_an_answer_may_be_computed_by_a_function(capsys):
    assert answered(capsys, lambda: ..., lambda answer: True).startswith("Exercise 3 is open")
    assert answered(capsys, lambda: 12, lambda answer: answer == 12)[0] == "✓"
    assert answered(capsys, lambda: 11, lambda answer: answer == 12)[0] == "✗"
    output = answered(capsys, lambda: 1 / 0, lambda answer: True)
    assert output.startswith("✗ Exercise 3: not yet. Count again. (Checking your answer raised Ze")


def test_a_module_is_an_answer_not_a_function(capsys):
    module = torch.nn.Linear(2, 3)
    assert answered(capsys, module, lambda answer: answer.out_features == 3)[0] == "✓"


def test_an_interrupt_is_no_answer():
    def interrupt(answer):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exercise(1, 1, interrupt, hint="")


# Source


def test_source_is_that_of_the_running_function():
    lines = source(data.to_input).data.splitlines()
    assert lines[0] == "```python"
    assert lines[1] == "def to_input(images: Tensor) -> Tensor:"
    assert lines[-2] == "    return (images.float() / 255 - mean) / std"
    assert lines[-1] == "```"


def test_source_is_shown_as_markdown():
    assert source(data.to_input)._repr_markdown_() == source(data.to_input).data
