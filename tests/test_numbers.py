"""Every number in a sentence is computed in its section, or has a source.

A section is what lies between two headings. Its numbers are those in outputs and in checks, and
those above twelve in other code; small ones stand everywhere there, and count for the next cells.
A number that no cell shows may be named in its cell's metadata, "sourced": {"539": "where it comes
from"}. Numbers are digits or words; 37 % is 0.37, too. Formulas, code, headings and reading lists
are left out; years stand in the chapter's reading list. This finds numbers that occur nowhere
near, not every false one.
"""

import ast
import re

import benchmark
import frame
import pytest
from test_readme import README

from lenet_utils import data, lesson, models, training

WORDS = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
).split()
WORDS = {word: float(number) for number, word in enumerate(WORDS, start=2)}
WORDS |= {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "hundred": 100, "thousand": 1000}
PARTS = {"third": 3, "quarter": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "tenth": 10}
DIGITS = r"(?<![\w.·-])\d+(?:,\d{3})*(?:\.\d+)?(?![\d-]|s\b)"  # 7s are digits of that name
NUMBER = re.compile(
    rf"{DIGITS}|\b(?:a|one|two|three|nine) (?:{'|'.join(PARTS)})s?\b|\b(?:{'|'.join(WORDS)})\b",
    re.I,
)


def facts():
    """What stands in every chapter without being shown again."""
    sizes = {len(data.load(subset).labels) for subset in data.SUBSETS}
    network = models.LeNet()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    batch, pixels = training.RECIPES["plain"].batch_size, {28, 32, 28 * 28}
    return sizes | pixels | {parameters, len(network.network), batch, 10}


FACTS = facts()


def prose(text):
    """A text without what are no sentences: each left out part becomes as many blanks."""
    for pattern in (
        r"^```.*?^```$",  # code
        r"`[^`(][^`]*`",  # but `(60000, 1, 32, 32)` counts
        r"95 % \*{0,2}intervals?|95 times in 100",  # how intervals are made, everywhere
        r"\$\$.*?\$\$|\$[^$\n]+\$",  # formulas
        r"^#+ .*$",  # headings
        r"^\*\d+ minutes.*$",
        r"(?<=\])\([^)]*\)|https?://\S+",  # links
        r"<summary>.*?</summary>|<code>.*?</code>|</?\w[^>]*>",
        r"^\d+\. ",  # numbered lists
    ):
        text = re.sub(pattern, lambda found: " " * len(found[0]), text, flags=re.M | re.S)
    return text


def value(number):
    word = number.lower().split()[-1].removesuffix("s")
    return WORDS.get(word) or PARTS.get(word) or float(number.replace(",", ""))


def shown(texts):
    """The numbers in sources and outputs."""
    found = set()
    for number in re.findall(r"\d[\d_,]*(?:\.\d+)?(?:e-?\d+)?", " ".join(texts)):
        parts = [number.replace("_", "").replace(",", ""), *number.split(",")]
        found |= {float(part.replace("_", "")) for part in parts if part}
    return found


def outputs(cell):
    for output in cell.outputs:
        yield output.get("text", "")
        yield from (
            str(text)
            for kind, text in output.get("data", {}).items()
            if "image/" not in kind and "srcdoc=" not in text  # a whole page
        )


CHECKS = {"check", "guards", "compare"}


def literals(source, least):
    """The numbers in code: all in the arguments of checks, elsewhere those from the least on."""
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    checks = [call for call in calls if getattr(call.func, "id", None) in CHECKS]
    checked = {id(part) for call in checks for part in ast.walk(call)}
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.Constant)):
        numeric = isinstance(node.value, int | float) and not isinstance(node.value, bool)
        if id(node) in checked or (numeric and node.value >= least):
            yield f"{node.value:f}" if numeric else str(node.value)


def texts(cells, least=13):
    """Outputs, and numbers in sources."""
    for cell in cells:
        if cell.cell_type == "code" and cell.id != "setup":
            yield from literals(cell.source, least)
            yield from outputs(cell)


def sentences(notebook):
    """Each text cell, each number in its sentences, whether a percentage, and what is shown."""
    for section, source in sections(notebook):
        have = shown(texts(source)) | FACTS
        for place, cell in enumerate(section):
            if cell.cell_type == "markdown":
                near = shown(texts(section[max(place - 2, 0) : place + 3], least=0))
                for number, percent in numbers(cell.source):
                    yield cell, number, percent, have | near


def is_shown(number, have, percent=True):
    """As it stands; or, a percentage, as a share of 1 or as a count of 10,000."""
    v = value(number)
    if v in have or (" " in number and 1 / v in have):  # a fifth
        return True
    return percent and (round(v / 100, 8) in have or ("." in number and round(100 * v, 6) in have))


def numbers(text):
    """Each number in the sentences of a text, and whether it is a percentage."""
    text = prose(text)
    for found in NUMBER.finditer(text):
        rest = text[found.end() :]
        yield found[0], bool(re.match(r"\s?%|\s(?:to|and|±) [\d.]+ %|\spercent", rest))


def sections(notebook):
    """Lists of cells; what has no section of its own is paired with the whole chapter."""
    found = [[]]
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.match("##", cell.source):
            found.append([])
        found[-1].append(cell)
    whole = notebook.cells
    for section in found:
        title = section[0].source if section else ""
        if not re.match("## (Further reading|Where to go)", title):
            yield section, whole if section is found[0] or "## Recap" in title else section


def unsupported(notebook):
    """Pairs of a cell and a number in its sentences that nothing supports."""
    years = set(re.findall(r"\b(?:1[89]|20)\d\d\b", notebook.cells[-1].source))
    for cell, number, percent, have in sentences(notebook):
        chapter = re.fullmatch(r"0\d", number) and list(frame.chapters()[int(number) :])
        sourced = number in {*years, *cell.metadata.get("sourced", {})}
        if not (chapter or sourced or is_shown(number, have, percent)):
            yield cell, number


@pytest.mark.parametrize("file", frame.chapters(), ids=lambda file: file.stem)
def test_numbers_in_sentences_are_shown_or_sourced(file):
    notebook = frame.read(file)
    assert [(cell.id, number) for cell, number in unsupported(notebook)] == []
    for cell in notebook.cells:
        for number, why in cell.metadata.get("sourced", {}).items():
            assert number in cell.source and len(why) > 5


def other(number):
    """Another number, written in the same way."""
    if number.lower() in WORDS:
        return "seventeen" if number.lower() != "seventeen" else "nineteen"
    if " " in number:
        return number.replace(re.split(" ", number)[1].rstrip("s"), "seventh")
    digit = number[-1] if number[-1].isdigit() else number[0]
    place = number.rindex(digit)
    return number[:place] + str((int(digit) + 3) % 10) + number[place + 1 :]


@pytest.mark.parametrize("file", frame.chapters(), ids=lambda file: file.stem)
def test_most_changed_numbers_are_noticed(file):
    noticed = [
        not is_shown(other(number), have, percent)
        for _, number, percent, have in sentences(frame.read(file))
    ]
    print(f"{file.stem}: {sum(noticed)} of {len(noticed)}")
    assert sum(noticed) > 0.65 * len(noticed)


# README


def test_numbers_in_readme_are_measured_or_sourced():
    """They stand in what is generated or tested (tables, code, commands), or are measured."""
    results = lesson.measured("benchmark")
    ratios = [f"{benchmark.speed_up(results, layout):.1f}" for layout in ("default", "our")]
    lines = [line for line in README.splitlines() if line.startswith("|")]
    files = [
        (frame.ROOT / name).read_text("utf-8") for name in ("pyproject.toml", "requirements.txt")
    ]
    code = re.findall(r"```.*?```", README, re.S)
    cards = (frame.ROOT / frame.CARDS).read_text("utf-8").splitlines()
    scores = [line for line in cards if line.startswith("|")]
    have = FACTS | shown([*lines, *ratios, *files, *code, *scores, str(results["memory_mb"])])
    plain = "\n".join(line for line in README.splitlines() if not line.startswith("|"))
    assert [n for n, percent in numbers(plain) if not is_shown(n, have, percent)] == []
