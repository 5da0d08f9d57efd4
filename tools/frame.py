"""Write everything in the notebooks and README that follows from something else.

    python tools/frame.py

Address and branch come from pyproject.toml, titles and summaries from the first cells of the
chapters, bounds of packages from requirements.txt, times from the recordings, results from
lenet_utils/measured. From these follow: navigation, badges and setup cells; the tables of README,
of 00 and of the networks' cards; the numbers of exercises; the headings and checkers of their
solutions; the least number of compared cells. In a solution, a code cell with the id of one in the
chapter is its copy. Running it again changes nothing, and a test compares ("stale").
"""

import argparse
import ast
import functools
import importlib.metadata
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lenet_utils import __version__, lesson
from lenet_utils.files import write_whole

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
MODULE = Path(lesson.__file__).parent
COUNTS = Path("tests/counts.json")
CARDS = Path("lenet_utils/shipped/README.md")
COLLAPSED = {"cellView": "form", "jupyter": {"source_hidden": True}}  # on Colab, in JupyterLab
SETUP = """\
# @title Setup: run this cell first. On Colab and Kaggle it installs what is missing.
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

WHEEL = "{wheel}"
ADDRESS = "{address}"
NEEDED = {{
{needed}    "lenet_utils": WHEEL if Path(WHEEL).exists() else ADDRESS,
}}
missing = [NEEDED[name] for name in NEEDED if importlib.util.find_spec(name) is None]
if any("YOUR_GITHUB_NAME" in package for package in missing):
    raise ImportError(f"not published: start Jupyter by README's command, or upload {{WHEEL}}")
if missing and not ("google.colab" in sys.modules or "KAGGLE_KERNEL_RUN_TYPE" in os.environ):
    command = "%pip install " + " ".join(f'"{{package}}"' for package in missing)
    raise ImportError(f"start Jupyter by README's command, or run in a cell: {{command}}")
if missing:  # torch, torchvision and numpy stay as they are
    subprocess.run([sys.executable, *"-m pip install -q --no-deps".split(), *missing], check=True)
importlib.invalidate_caches()
found = getattr(importlib.import_module("lenet_utils"), "__version__", "0")
if [int(part) for part in found.split(".")[:2]] < {version}:
    raise ImportError(f"lenet_utils {{found}} is old: %pip uninstall -y lenet_utils, restart")"""

TABLE = "| chapter | what you learn |\n|---|---|"


class Exercise(NamedTuple):
    """Three cells that follow each other; ids NAME, NAME-answer and NAME-check."""

    name: str
    text: NotebookNode
    answer: NotebookNode
    checker: NotebookNode


def chapters(root: Path = ROOT) -> list[Path]:
    """The chapters in reading order. Notebooks of a reader's own beside them are none."""
    return sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def solutions(root: Path = ROOT) -> list[Path]:
    return sorted((root / "notebooks" / "solutions").glob("[0-9][0-9]_*.ipynb"))


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook whole or not at all, with line ends lf on every system."""
    nbformat.validate(notebook)
    write_whole(path, (nbformat.writes(notebook).rstrip("\n") + "\n").encode())


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def exercises(notebook: NotebookNode) -> list[Exercise]:
    """The exercises of a chapter or a solution; ValueError for one that is not complete."""
    cells = {cell.id: cell for cell in notebook.cells}
    ends = [re.fullmatch(r"(.+)-(?:answer|check)", cell.id) for cell in notebook.cells]
    names = list(dict.fromkeys(end[1] for end in ends if end))
    for name in names:
        for part in (name, f"{name}-answer", f"{name}-check"):
            if part not in cells:
                raise ValueError(f"exercise {name} lacks a cell with the id {part}")
    return [Exercise(n, cells[n], cells[f"{n}-answer"], cells[f"{n}-check"]) for n in names]


def compared(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells of which nbval compares something: not ignored, and with more than images."""
    return [
        cell
        for cell in code_cells(notebook)
        if "nbval-ignore-output" not in cell.metadata.get("tags", [])
        and any(kind for output in cell.outputs for kind in kinds(output) if "image/" not in kind)
    ]


def kinds(output: NotebookNode) -> list[str]:
    """The MIME types of an output, or its kind if it has none."""
    return list(output.get("data", {})) or [output.output_type]


HEAD = re.compile(
    r"# (?P<title>\d\d · [^\n|]+)\n\n\*(?P<summary>[^\n|*]+)\*"
    r"(\n\n[^\n]*\[README\]\(\.\./README\.md\)[^\n]*\n\n\[!\[Open in Colab\][^\n]*)?"
)


def head(notebook: NotebookNode) -> re.Match:
    """The first cell of a chapter; ValueError for one that has more or less than it should."""
    text = notebook.cells[0].source if notebook.cells else ""
    if found := HEAD.fullmatch(text):
        return found
    raise ValueError(
        "the first cell should be # NN · Title, an empty line and *one line in italics*, no | in "
        "them; the rest is written by tools/frame.py (other text belongs in the next cell). It is: "
        + text
    )


def title(notebook: NotebookNode) -> str:
    """The heading of a chapter, such as "01 · Meet the digits"."""
    return head(notebook)["title"]


def summary(notebook: NotebookNode) -> str:
    """The line in italics below the title."""
    return head(notebook)["summary"]


def needs(notebook: NotebookNode) -> str:
    """The numbers of the chapters that a chapter says it needs, such as "02, 03"."""
    text = notebook.cells[1].source.partition("**What you'll need.**")[2]
    return ", ".join(dict.fromkeys(re.findall(r"\b\d\d\b(?!_)", text)))


# What follows from what


def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))


def badge(path: Path, root: Path) -> str:
    address = project(root)["project"]["urls"]["Repository"].removeprefix("https://github.com/")
    place = f"{address}/blob/{project(root)['tool']['notebooks']['ref']}"
    colab, name = "https://colab.research.google.com", path.relative_to(root).as_posix()
    picture = f"{colab}/assets/colab-badge.svg"
    return f"[![Open in Colab]({picture})]({colab}/github/{place}/{name})"


@functools.cache
def distributions() -> dict[str, list[str]]:
    """The packages that the modules of this environment belong to.

    (Python 3.10's packages_distributions knows only packages that list their modules in a file.)
    """
    found = {}
    for package in importlib.metadata.distributions():
        for module in {file.parts[0].partition(".")[0] for file in package.files or []}:
            found.setdefault(module, []).append(package.metadata["Name"])
    return found


def imports(source: str, package: str = "") -> set[str]:
    """The modules that a source in a package imports, or may: `from a import b` is a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, [package if node.level else "", node.module]))
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def imported(notebook: NotebookNode) -> set[str]:
    """What a notebook imports, beyond Python's own: it, and the rooms of lenet_utils it opens."""
    found = set().union(*(imports(cell.source) for cell in code_cells(notebook)))
    rooms = {f"lenet_utils.{file.stem}": file for file in MODULE.glob("[!_]*.py")}
    opened = set()
    while unopened := found & rooms.keys() - opened:
        opened |= unopened
        sources = [rooms[room].read_text("utf-8") for room in unopened]
        found |= set().union(*(imports(source, "lenet_utils") for source in sources))
    found = {name.partition(".")[0] for name in found}
    return found - sys.stdlib_module_names - {"lenet_utils"}


def setup(notebook: NotebookNode, root: Path) -> str:
    """The setup cell, which asks for lenet_utils and for what else the notebook imports."""
    lines = (root / "requirements.txt").read_text("utf-8").splitlines()
    lines = [line.partition(" #")[0].strip() for line in lines if line[:1] not in ("", "#", "-")]
    bounds = {canonicalize_name(Requirement(line).name): line for line in lines}
    there = {"lenet_utils", *project(root)["project"]["dependencies"]}
    waiting, needed = imported(notebook), {}
    while waiting:
        module = waiting.pop()
        package = canonicalize_name(distributions().get(module, [module])[0])
        if package not in bounds:
            raise ValueError(f"{module} is imported: add its package to requirements.txt")
        if package not in there and module not in needed:
            needed[module] = bounds[package]
            # The setup cell installs without dependencies: it names them, if requirements.txt does.
            further = [r for r in importlib.metadata.requires(package) or [] if "extra ==" not in r]
            further = {canonicalize_name(Requirement(line).name) for line in further}
            waiting |= {name.replace("-", "_") for name in further & bounds.keys()}
    settings = project(root)
    address, ref = settings["project"]["urls"]["Repository"], settings["tool"]["notebooks"]["ref"]
    return SETUP.format(
        wheel=f"lenet_utils-{__version__}-py3-none-any.whl",
        address=f"git+{address}@{ref}",
        needed="".join(f'    "{module}": "{bound}",\n' for module, bound in sorted(needed.items())),
        version=[int(part) for part in __version__.split(".")[:2]],
    )


def chapter(path: Path, root: Path) -> NotebookNode:
    """A chapter as it should be."""
    notebook, files = read(path), chapters(root)
    place = files.index(path)
    way = ["[README](../README.md)"]
    if place > 0:
        way.insert(0, f"← [{title(read(files[place - 1]))}]({files[place - 1].name})")
    if path != files[-1]:
        way.append(f"next: [{title(read(files[place + 1]))}]({files[place + 1].name}) →")
    parts = [f"# {title(notebook)}", f"*{summary(notebook)}*", " · ".join(way), badge(path, root)]
    notebook.cells[0].source = "\n\n".join(parts)
    for number, exercise in enumerate(exercises(notebook), start=1):
        heading = f"### Exercise {number} · "
        exercise.text.source = re.sub(r"^### Exercise \d+ · ", heading, exercise.text.source)
        exercise.checker.metadata.update(COLLAPSED)
    for cell in notebook.cells:
        if cell.id == "setup":
            cell.source = setup(notebook, root)
        if cell.id == "setup" or re.search(r"^guards\(", cell.source, re.M):
            cell.metadata.update(COLLAPSED)
        if cell.id == "chapters":
            others = [(read(file), file.name) for file in files if file != path]
            rows = [f"| [{title(other)}]({name}) | {summary(other)} |" for other, name in others]
            cell.source = "\n".join([cell.source.partition("|")[0] + TABLE, *rows])
    return notebook


def solution(path: Path, root: Path) -> NotebookNode:
    """The solutions to a chapter as they should be."""
    notebook, source = read(path), chapter(root / "notebooks" / path.name, root)
    way = f"← back to [{title(source)}](../{path.name}) · [README](../../README.md)"
    parts = [f"# {title(source)}: solutions", way, badge(path, root)]
    notebook.cells[0].source = "\n\n".join(parts)
    texts = {exercise.name: exercise.text for exercise in exercises(source)}
    sources = {cell.id: cell for cell in code_cells(source)}
    for cell in notebook.cells:
        if cell.id == "setup":
            cell.source = setup(notebook, root)
            cell.metadata.update(COLLAPSED)
        elif cell.id in texts:
            cell.source = texts[cell.id].source.partition("\n")[0]
        elif cell.id in sources and not cell.id.endswith("-answer"):
            cell.source = sources[cell.id].source
            if cell.id.endswith("-check"):
                cell.metadata.update(COLLAPSED)
    return notebook


def pages(root: Path) -> dict[Path, str]:
    """README, and the cards of the networks, with their tables as they should be."""
    import benchmark  # imports torch, which takes a while
    import robust

    rows = ["| chapter | what you learn | needs | time to run | |", "|---|---|---|---|---|"]
    for file in chapters(root):
        notebook, link = read(file), file.relative_to(root).as_posix()
        seconds = notebook.metadata.get("recorded", {}).get("seconds", "?")
        name, cost = f"[{title(notebook)}]({link})", f"{seconds} s"
        cells = [name, summary(notebook), needs(notebook), cost, badge(file, root)]
        rows.append(f"| {' | '.join(cells)} |")
    results = {"results": benchmark.table(lesson.measured("benchmark"))}
    scores = {"scores": robust.table(lesson.measured("robust")["tests"])}
    return {
        root / "README.md": with_tables(
            root / "README.md", {"chapters": "\n".join(rows)} | results
        ),
        root / CARDS: with_tables(root / CARDS, scores),
    }


def with_tables(page: Path, tables: dict[str, str]) -> str:
    """A page's text with its tables in their places."""
    text = page.read_text("utf-8")
    for name, table in tables.items():
        inner = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=\n<!-- end of {name} -->)", re.DOTALL)
        text, places = inner.subn(lambda _, table=table: table, text)
        if places != 1:
            raise ValueError(
                f"{page.name} needs one place <!-- {name} --> … <!-- end of {name} -->"
            )
    return text


def counts(root: Path) -> str:
    """tests/counts.json, with the least number of compared cells raised, never lowered."""
    stored = json.loads((root / COUNTS).read_text("utf-8"))
    for path in [*chapters(root), *solutions(root)]:
        name, least = f"{path.parent.name}/{path.stem}", stored["compared cells"]
        least[name] = max(least.get(name, 0), len(compared(read(path))))
    return json.dumps(stored, indent=1) + "\n"


def as_it_should_be(root: Path = ROOT) -> dict[Path, NotebookNode | str]:
    """All files that are partly generated, with their contents; ValueError names what is amiss."""
    made = {}
    for make, paths in {chapter: chapters(root), solution: solutions(root)}.items():
        for path in paths:
            try:
                made[path] = make(path, root)
            except (ValueError, SyntaxError, FileNotFoundError) as error:
                raise ValueError(f"{path.relative_to(root).as_posix()}: {error}") from error
    return made | pages(root) | {root / COUNTS: counts(root)}


def main(root: Path = ROOT) -> None:
    """Write the files that are stale, and print their names."""
    for path, content in as_it_should_be(root).items():
        if isinstance(content, str):
            if content != path.read_text("utf-8"):
                write_whole(path, content.encode())
                print(path.relative_to(root))
        elif content != read(path):
            write(content, path)
            print(path.relative_to(root))


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    main()
