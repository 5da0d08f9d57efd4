"""Exercises: three cells NAME, NAME-answer and NAME-check; solved in notebooks/solutions/.

There a cell NAME-wrong shows typical wrong answers, each with what the checker says to it. Chapter
and solution have the same checkers, since one is generated from the other (tools/frame.py).
"""

import ast
import contextlib
import io
import re

import frame
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

WRONG = re.compile(r"```python\n(.*?)\n```\n✗ ([^\n]+)", re.DOTALL)


def printed(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def checker_call(exercise):
    """The arguments of the one call of `exercise` in a checker, by name."""
    calls = [
        node
        for node in ast.walk(ast.parse(exercise.checker.source))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "exercise"
    ]
    assert len(calls) == 1, f"{exercise.name}: {len(calls)} calls of exercise"
    names = ["name", "answer", "checks"]
    given = dict(zip(names, calls[0].args, strict=False))
    return given | {keyword.arg: keyword.value for keyword in calls[0].keywords}


def not_as_it_should_be(chapter, solution):
    """What is wrong with the exercises of a chapter and their solutions."""
    solved = {exercise.name: exercise for exercise in frame.exercises(solution)}
    cells = {cell.id: cell for cell in solution.cells}
    for exercise in frame.exercises(chapter):
        name, text, starter = exercise.name, exercise.text.source, exercise.answer.source
        places = [chapter.cells.index(part) for part in exercise[1:]]
        if places != list(range(places[0], places[0] + 3)):
            yield f"{name}: its three cells do not follow each other"
        if not re.match(r"### Exercise \d+ · .+\n\n\*\d+ minutes.* · (●○○|●●○|●●●)\*\n\n", text):
            yield f"{name}: no heading with minutes and difficulty"
        if text.count("<details><summary>Hint ") not in (2, 3):
            yield f"{name}: expected two or three folded hints"
        given = checker_call(exercise)
        if ast.literal_eval(given["name"]) != name:
            yield f"{name}: its checker is for another exercise"
        if len(given["checks"].keys) < 2:
            yield f"{name}: a single check has one hint for everything"
        if starter.startswith("def ") and len(getattr(given.get("cases"), "elts", [])) < 2:
            yield f"{name}: a function is called with at least two unlike samples"
        if "..." not in starter or f"Exercise {name} is open" not in printed(exercise.checker):
            yield f"{name}: not stored as open"
        if name not in solved or printed(solved[name].checker) != f"✓ Exercise {name}: right.\n":
            yield f"{name}: not solved"
            continue
        pattern = ".+".join(map(re.escape, re.split(r"return \.\.\.|\.\.\.", starter)))
        if not re.search(pattern, solved[name].answer.source, re.DOTALL):
            yield f"{name}: the starter code does not stand in the solution"
        if len(WRONG.findall(cells.get(f"{name}-wrong", new_markdown_cell()).source)) < 2:
            yield f"{name}: expected at least two wrong answers, each with what is said to it"


def surprises(solution):
    """Runs a solution; the wrong answers to which the checker says something else, and what."""
    exercises = {exercise.checker.id: exercise for exercise in frame.exercises(solution)}
    wrong = {cell.id: WRONG.findall(cell.source) for cell in solution.cells}
    names = {}
    for cell in frame.code_cells(solution):
        run(cell.source, names)
        if cell.id in exercises:
            name = exercises.pop(cell.id).name
            for answer, hint in wrong[f"{name}-wrong"]:
                spoilt = dict(names)
                run(answer, spoilt)
                said = run(cell.source, spoilt)
                expected = f"✗ Exercise {name}: not yet. {hint}"
                if said.strip() != expected:
                    yield f"{answer}\nexpected {expected}\ngot {said}"
        if not exercises:
            return


def run(source, names):
    """What code prints."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(source, names)
    return output.getvalue()


CHAPTERS = frame.chapters()[1:]


@pytest.mark.parametrize("file", CHAPTERS, ids=lambda file: file.stem)
def test_exercises(file):
    chapter, solution = frame.read(file), frame.read(file.parent / "solutions" / file.name)
    assert frame.exercises(chapter)
    assert list(not_as_it_should_be(chapter, solution)) == []


@pytest.mark.parametrize("file", CHAPTERS, ids=lambda file: file.stem)
def test_wrong_answers_get_their_hints(file):
    assert list(surprises(frame.read(file.parent / "solutions" / file.name))) == []


# The same on a small pair that keeps, or breaks, the conventions

TEXT = """### Exercise 1 · A power

*5 minutes · ●○○*

Compute.

<details><summary>Hint 1</summary>One.</details>
<details><summary>Hint 2</summary>Two.</details>"""
CHECKER = """exercise(
    "power",
    power,
    {"It ignores n.": lambda p, b, n: n == 2 or p != b**2, "No.": lambda p, b, n: p == b**n},
    cases=[(3, 2), (2, 3)],
)"""
STARTER = "def power(b, n):\n    return ..."
SOLVED = "def power(b, n):\n    result = b**n\n    return result"
MISTAKES = """Not right:

```python
def power(b, n):
    return b**2
```
✗ It ignores n.

```python
def power(b, n):
    return b * n
```
✗ No."""


def notebook(answer, said, *more):
    imports = new_code_cell("from lenet_utils.lesson import exercise")
    output = new_output("stream", name="stdout", text=f"{said}\n")
    cells = [
        new_markdown_cell(TEXT),
        new_code_cell(answer),
        new_code_cell(CHECKER, outputs=[output]),
    ]
    for cell, name in zip(cells, ["power", "power-answer", "power-check"], strict=True):
        cell.id = name
    return new_notebook(cells=[imports, *cells, *more])


@pytest.fixture
def chapter():
    return notebook(STARTER, "Exercise power is open: put your answer in place of ...")


@pytest.fixture
def solution():
    mistakes = new_markdown_cell(MISTAKES)
    mistakes.id = "power-wrong"
    return notebook(SOLVED, "✓ Exercise power: right.", mistakes)


def test_a_good_pair(chapter, solution):
    assert list(not_as_it_should_be(chapter, solution)) == []
    assert list(surprises(solution)) == []


@pytest.mark.parametrize(
    "number, old, new, complaint",
    [
        (1, "*5 minutes · ●○○*", "", "no heading with minutes"),
        (1, "<details><summary>Hint 2", "<b>", "two or three folded hints"),
        (2, "return ...", "return b", "not stored as open"),
        (2, "(b, n)", "(base, n)", "the starter code does not stand"),
        (3, '"power",', '"other",', "for another exercise"),
        (3, '"It ignores n.": lambda p, b, n: n == 2 or p != b**2, ', "", "a single check"),
        (3, ", (2, 3)", "", "two unlike samples"),
    ],
)
def test_a_chapter_that_breaks_the_conventions(chapter, solution, number, old, new, complaint):
    assert old in chapter.cells[number].source
    chapter.cells[number].source = chapter.cells[number].source.replace(old, new)
    assert complaint in " ".join(not_as_it_should_be(chapter, solution))


def test_pairs_that_are_not_complete(chapter, solution):
    solved, mistakes = solution.cells[3], solution.cells[4]
    solved.outputs[0].text = "✗ Exercise power: not yet. No.\n"
    assert list(not_as_it_should_be(chapter, solution)) == ["power: not solved"]
    solved.outputs[0].text = "✓ Exercise power: right.\n"
    mistakes.source = mistakes.source.partition("\n\n```python\ndef power(b, n):\n    return b *")[
        0
    ]
    assert "at least two wrong answers" in " ".join(not_as_it_should_be(chapter, solution))
    chapter.cells.insert(2, new_markdown_cell("A text between."))
    assert "do not follow each other" in " ".join(not_as_it_should_be(chapter, solution))
    del chapter.cells[3]
    with pytest.raises(ValueError, match="exercise power lacks a cell with the id power-answer"):
        frame.exercises(chapter)


@pytest.mark.parametrize(
    "old, new",
    [
        ("n == 2 or p != b**2", "True"),  # a check that cannot fail
        ("p == b**n", "True"),
        ('"No."', '"Never."'),  # another hint
        ("[(3, 2), (2, 3)]", "[(3, 2), (2, 2)]"),  # samples that do not tell
    ],
)
def test_checkers_that_do_not_say_what_is_expected(solution, old, new):
    assert old in solution.cells[3].source
    solution.cells[3].source = solution.cells[3].source.replace(old, new)
    assert list(surprises(solution)) != []
