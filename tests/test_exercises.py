"""Exercises: a heading, an answer cell, then a checker cell; solved in notebooks/solutions/.

A chapter leaves the answers open. Its solutions have the very same checkers, which say ✓ there, and
✗ to every answer in WRONG.
"""

import ast
import re
from typing import NamedTuple

import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from notebooks import NOTEBOOKS, read

# A typical wrong answer to each exercise of each chapter: what its answer cell then says.
WRONG = {
    "01_data_exploration": {
        1: "answer_1 = 0.1307",
        2: "def answer_2(images, pixels):\n    return torch.roll(images, pixels, dims=3)",
        3: "answer_3 = {3, 8}",
        4: "answer_4 = 50",
    },
    "02_architecture": {
        1: "answer_1 = (6, 24, 24)",
        2: "def answer_2(images):\n    return images[:, :, ::2, ::2]",
        3: "answer_3 = nn.Sequential(nn.Conv2d(6, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3))",
        4: "def answer_4(logits):\n    return logits.exp().sum(-1).log()",
    },
    "04_evaluation": {
        1: "answer_1 = (1.0, 0.1135)",
        2: "answer_2 = 20",
        3: (
            "def answer_3(confidence, wrong, target):\n"
            "    left = wrong.float().flip(0).cumsum(0).flip(0)\n"
            "    return int((left / torch.arange(len(wrong), 0, -1) <= target).nonzero()[0])"
        ),
        4: "answer_4 = {0, 1, 6, 8}",
    },
    "03_training": {
        1: "answer_1 = math.log(100)",
        2: "def answer_2(logits, labels, smoothing):\n    return F.cross_entropy(logits, labels)",
        3: "def answer_3(step, steps):\n    return 1 - step / steps",
        4: "answer_4 = 0.975",
    },
}


class Exercise(NamedTuple):
    number: int
    answer: NotebookNode
    checker: NotebookNode


def exercises(notebook):
    """The exercises in their order; ValueError for what does not follow the conventions."""
    found = []
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type != "markdown":
            continue
        for number in re.findall(r"^### Exercise (\d+) · \S", cell.source, re.M):
            after = notebook.cells[place + 1 :]
            checkers = [later for later, cell in enumerate(after) if checked(cell)]
            if not checkers or checked(after[checkers[0]]) != [int(number)]:
                raise ValueError(f"exercise {number}: its checker does not come next")
            answer = after[checkers[0] - 1]
            if checkers[0] == 0 or not defines(answer, f"answer_{number}"):
                raise ValueError(f"exercise {number}: no answer_{number} just before its checker")
            found.append(Exercise(int(number), answer, after[checkers[0]]))
    numbers = [exercise.number for exercise in found]
    if numbers != list(range(1, len(found) + 1)):
        raise ValueError(f"exercises are numbered {numbers}")
    everywhere = [number for cell in notebook.cells for number in checked(cell)]
    if everywhere != numbers:
        raise ValueError(f"exercises {everywhere} are checked, but {numbers} have a heading")
    return found


def nodes(cell):
    return list(ast.walk(ast.parse(cell.source))) if cell.cell_type == "code" else []


def defines(cell, name):
    """Whether a cell assigns the name, or defines a function or class of that name."""
    return any(
        getattr(node, "name", None) == name
        or (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store))
        for node in nodes(cell)
    )


def checked(cell):
    """The numbers of the exercises that a cell checks."""
    return [
        ast.literal_eval(node.args[0])
        for node in nodes(cell)
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "exercise"
    ]


def is_open(cell):
    """Whether a cell has ... in place of an answer (an index such as x[..., 0] is none)."""
    return any(
        isinstance(node, ast.Assign | ast.Return | ast.Expr)
        and isinstance(node.value, ast.Constant)
        and node.value.value is ...
        for node in nodes(cell)
    )


def printed(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def not_open(notebook):
    """The exercises of a chapter that are not open, or not stored as open."""
    return [
        exercise.number
        for exercise in exercises(notebook)
        if not is_open(exercise.answer)
        or f"Exercise {exercise.number} is open" not in printed(exercise.checker)
    ]


def not_solved(notebook):
    """The exercises of a solution that are not solved, or not stored as right."""
    return [
        exercise.number
        for exercise in exercises(notebook)
        if is_open(exercise.answer)
        or not printed(exercise.checker).startswith(f"✓ Exercise {exercise.number}")
    ]


def checkers_that_differ(chapter, solution):
    ours = {exercise.number: exercise.checker.source for exercise in exercises(chapter)}
    theirs = {exercise.number: exercise.checker.source for exercise in exercises(solution)}
    return sorted(n for n in {*ours, *theirs} if ours.get(n) != theirs.get(n))


def not_refused(solution, wrong, folder):
    """The exercises whose checkers do not say ✗ to the wrong answers {number: source}."""
    for exercise in exercises(solution):
        exercise.answer.source = wrong[exercise.number]
    client = NotebookClient(
        solution,
        kernel_name="python3",
        timeout=600,
        allow_errors=True,  # what follows in a solution may rest on its right answer
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    return [
        exercise.number
        for exercise in exercises(solution)
        if not printed(exercise.checker).startswith(f"✗ Exercise {exercise.number}")
    ]


# The chapters and their solutions

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))
WITH_EXERCISES = [file for file in CHAPTERS if not file.name.startswith("00")]


def solution_of(file):
    return NOTEBOOKS / "solutions" / file.name


def test_quickstart_has_no_exercises():
    assert exercises(read(CHAPTERS[0])) == []


@pytest.mark.parametrize("file", WITH_EXERCISES, ids=lambda file: file.stem)
def test_exercises_of_the_chapter_are_open(file):
    notebook = read(file)
    assert exercises(notebook)
    assert not_open(notebook) == []


@pytest.mark.parametrize("file", WITH_EXERCISES, ids=lambda file: file.stem)
def test_exercises_are_solved_with_the_same_checkers(file):
    solution = read(solution_of(file))
    assert not_solved(solution) == []
    assert checkers_that_differ(read(file), solution) == []


def test_there_is_a_wrong_answer_to_every_exercise_and_to_nothing_else():
    numbers = {file.stem: [e.number for e in exercises(read(file))] for file in WITH_EXERCISES}
    assert {chapter: sorted(answers) for chapter, answers in WRONG.items()} == numbers


@pytest.mark.parametrize("chapter", WRONG)
def test_wrong_answers_are_refused(chapter):
    file = NOTEBOOKS / "solutions" / f"{chapter}.ipynb"
    assert not_refused(read(file), WRONG[chapter], file.parent) == []


# The same functions on a small notebook that keeps, or breaks, the conventions

CHECKERS = {
    1: 'exercise(1, answer_1, lambda answer: answer == 4, hint="Two twos.")',
    2: 'exercise(2, answer_2(3), lambda answer: answer == 9, hint="Three threes.")',
}
OPEN = {1: "answer_1 = ...", 2: "def answer_2(n):\n    return ..."}
SOLVED = {1: "answer_1 = 4", 2: "def answer_2(n):\n    return n * n"}
REFUSED = {1: "answer_1 = 5", 2: "def answer_2(n):\n    return 2 * n"}


def small(answers, output):
    cells = [new_code_cell("from lenet_utils.lesson import exercise")]
    for number, answer in answers.items():
        text = output.format(number)
        cells += [
            new_markdown_cell(f"### Exercise {number} · A power"),
            new_code_cell(answer),
            new_code_cell(
                CHECKERS[number], outputs=[new_output("stream", name="stdout", text=text)]
            ),
        ]
    return new_notebook(cells=cells)


@pytest.fixture
def chapter():
    return small(OPEN, "Exercise {} is open: put your answer in place of the ...")


@pytest.fixture
def solution():
    return small(SOLVED, "✓ Exercise {}: right.")


def test_a_good_pair(chapter, solution):
    assert [exercise.number for exercise in exercises(chapter)] == [1, 2]
    assert not_open(chapter) == []
    assert not_solved(solution) == []
    assert checkers_that_differ(chapter, solution) == []


def test_the_chapter_and_its_solution_are_told_apart(chapter, solution):
    assert not_open(solution) == [1, 2]
    assert not_solved(chapter) == [1, 2]


def test_a_stored_output_that_says_something_else(chapter, solution):
    chapter.cells[3].outputs[0].text = "✓ Exercise 1: right."
    assert not_open(chapter) == [1]
    solution.cells[6].outputs[0].text = "✗ Exercise 2: not yet. Three threes."
    assert not_solved(solution) == [2]
    solution.cells[3].outputs = []
    assert not_solved(solution) == [1, 2]


@pytest.mark.parametrize(
    "source, is_answer_open",
    [
        ("answer_1 = ...", True),
        ("def answer_1(x):\n    ...", True),
        ("def answer_1(x):\n    return ...", True),
        ("answer_1 = x[..., 0]", False),
        ("answer_1 = 'see above...'", False),
    ],
)
def test_open_answers(source, is_answer_open):
    assert is_open(new_code_cell(source)) == is_answer_open


def test_checkers_that_differ(chapter, solution):
    solution.cells[6].source += " "
    assert checkers_that_differ(chapter, solution) == [2]
    del solution.cells[4:]
    assert checkers_that_differ(chapter, solution) == [2]


@pytest.mark.parametrize(
    "number, source, message",
    [
        (1, "### Exercise 2 · A power", "exercise 2: its checker does not come next"),
        (1, "### Exercise: a power", r"\[1, 2\] are checked, but \[2\]|numbered \[2\]"),
        (2, "answer = ...", "exercise 1: no answer_1 just before its checker"),
        (3, "print(answer_1)", "exercise 1: its checker does not come next"),
        (3, CHECKERS[2], "exercise 1: its checker does not come next"),
        (0, CHECKERS[1], r"\[1, 1, 2\] are checked, but \[1, 2\] have a heading"),
    ],
)
def test_conventions(chapter, number, source, message):
    chapter.cells[number].source = source
    with pytest.raises(ValueError, match=message):
        exercises(chapter)


def test_a_text_between_answer_and_checker(chapter):
    chapter.cells.insert(3, new_markdown_cell("Well?"))
    with pytest.raises(ValueError, match="exercise 1: no answer_1 just before its checker"):
        exercises(chapter)


def test_right_and_wrong_answers_are_run(solution, tmp_path):
    # To a checker, a right answer among the wrong ones is one that it does not refuse.
    assert not_refused(solution, {**REFUSED, 1: SOLVED[1]}, tmp_path) == [1]
    assert printed(solution.cells[6]) == "✗ Exercise 2: not yet. Three threes.\n"


def test_what_follows_may_rest_on_the_right_answer(solution, tmp_path):
    solution.cells.insert(4, new_code_cell("assert answer_1 == 4"))
    assert not_refused(solution, REFUSED, tmp_path) == []


def test_a_checker_that_raises_refuses_nothing(solution, tmp_path):
    assert not_refused(solution, {**REFUSED, 1: "answer_1 = unknown"}, tmp_path) == [1]


def test_a_checker_that_cannot_fail(solution, tmp_path):
    solution.cells[6].source = "exercise(2, answer_2(3), lambda answer: True, hint='')"
    assert not_refused(solution, REFUSED, tmp_path) == [2]
