"""Build the book: a static site of all chapters, from the outputs that their notebooks store.

    python tools/book.py

The pages that site/ holds, the notebooks, and what follows from them (lists of the chapters, the
teachers' tables, a page for each room of lenet_utils) are put together in site/_build/source; from
there Sphinx makes site/_build/html. Nothing is executed, and a warning is an error. Open
site/_build/html/index.html in a browser; no server and no network is needed.
"""

import argparse
import functools
import hashlib
import importlib.util
import math
import os
import re
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import NamedTuple

import frame
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

import lenet_utils

SITE = frame.ROOT / "site"
PAGES = ("conf.py", "index.md", "chapters.md", "teaching.md", "_static")
PICTURE = Path("pictures/screenshots/pad.png")
LICENCE = Path("lenet_utils/mnist/LICENSE.md")
MATHJAX = ("tex-chtml.js", "output/chtml/fonts/woff-v2")  # of some 24 MB, what a browser asks for
WORDS, LINES = 120, 10  # read in a minute, of text and of code: slowly, as one does to understand
ROUTES = {  # a name, the chapters, whether with their sections Going further and their exercises
    "One afternoon": ("00", "04", False),
    "A week, a chapter a day": ("00", "04", True),
    "Some weeks, as far as one's own handwriting": ("00", "06", True),
    "The whole course, a chapter a session": ("00", "99", True),
}


def build(folder: Path = SITE / "_build", root: Path = frame.ROOT) -> Path:
    """Put the source of the site together in a folder, and return where its pages are made."""
    source, made = folder / "source", folder / "html"
    for old in (source, made):
        shutil.rmtree(old, ignore_errors=True)
    gather(source, root)
    options = ["-b", "html", "-d", str(folder / "doctrees"), "-E", "-q", "-W", "--keep-going"]
    command = [sys.executable, "-m", "sphinx", *options, str(source), str(made)]
    paths = os.pathsep.join([str(frame.ROOT), str(frame.ROOT / "tools")])
    if subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}).returncode:
        raise SystemExit("the site was not built: Sphinx says above what is wrong")
    return made


def gather(source: Path, root: Path) -> None:
    """All that Sphinx reads, in one folder."""
    source.mkdir(parents=True)
    for name in PAGES:
        copy_of = shutil.copytree if (SITE / name).is_dir() else shutil.copy
        copy_of(SITE / name, source / name)
    mathjax = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
    for name in MATHJAX:
        place = source / "_static" / "mathjax" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        original = mathjax / "static" / "mathjax" / name
        copy_of = shutil.copytree if original.is_dir() else shutil.copy
        copy_of(original, place)
    (source / "notebooks").mkdir()
    (source / PICTURE).parent.mkdir(parents=True)
    shutil.copy(root / PICTURE, source / PICTURE)
    (source / LICENCE).parent.mkdir(parents=True)
    (source / LICENCE).write_text("---\norphan: true\n---\n" + read(root / LICENCE), "utf-8")
    idioms = Path("notebooks/tensor_idioms.md")
    shutil.copy(root / idioms, source / idioms)
    for path in [*frame.chapters(root), *frame.solutions(root)]:
        place = source / "downloads" / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    for path in frame.chapters(root):
        frame.write(chapter(path, root), source / "notebooks" / path.name)
    (source / "api").mkdir()
    for name, page in api().items():
        (source / "api" / name).write_text(page, "utf-8")
    tables = {"chapters": chapter_list(root), "needs": chapter_list(root, whole=True)}
    tables |= {"routes": routes(root), "exercises": exercise_tables(root), "digit": digit(source)}
    tables["speed"] = f"{WORDS} words or {LINES} lines of code"
    for page in source.glob("*.md"):
        text = read(page).replace("](../", "](")  # here the notebooks lie beneath the pages
        for name, table in tables.items():
            text = text.replace(f"<!-- {name} -->", table)
        page.write_text(text, "utf-8")


def read(path: Path) -> str:
    return path.read_text("utf-8")


# The first page


def digit(source: Path) -> str:
    """The page that reads a drawn digit, within another; a picture of the pad without one.

    It is the one file that `lenet_utils.page.html` makes; where there is no such room yet, the
    first page shows the pad of chapter 05.
    """
    if importlib.util.find_spec("lenet_utils.page") is None:
        chapter = "[chapter 05](notebooks/05_your_own_digits.ipynb)"
        return f"![{pad_text()}]({PICTURE.as_posix()})\n\n*The pad of {chapter}: one draws there.*"
    from lenet_utils import page

    (source / "_static" / "digit.html").write_bytes(page.html().encode())  # hashes are of lf
    return (
        '<iframe class="digit" src="_static/digit.html" title="Draw a digit" loading="eager">'
        '</iframe>\n\n<p><a href="_static/digit.html">The same on a page of its own</a></p>'
    )


def pad_text(root: Path = frame.ROOT) -> str:
    """What README's picture of the pad shows, in words."""
    return re.search(rf'{re.escape(PICTURE.as_posix())}"[^>]* alt="([^"]+)"', read_me(root))[1]


def read_me(root: Path = frame.ROOT) -> str:
    return read(root / "README.md")


# Chapters


def chapter(path: Path, root: Path) -> NotebookNode:
    """A chapter as the site shows it: with its solutions folded in, and links within the site."""
    notebook = frame.read(path)
    number, answers = path.name[:2], solutions(path, root)
    cells = [new_markdown_cell(heading(notebook, path, root))]
    names = [exercise.name for exercise in frame.exercises(notebook)]
    for cell in notebook.cells[1:]:
        name = cell.id.removesuffix("-check")
        if cell.id in names:
            if cell.id == names[0] and answers[""]:
                cells += folded("What all solutions begin with", answers[""])
            cell.source = f"({number}-{cell.id})=\n{cell.source}"
        cells += shown(cell)
        if name in names and cell.id != name:
            cells += folded("Solution", answers[name])
    for place, cell in enumerate(cells):
        cell.id = f"cell-{place}"
        if cell.cell_type == "markdown":
            cell.source = linked(cell.source)
    notebook.cells = cells
    notebook.metadata.pop("recorded", None)
    return notebook


def heading(notebook: NotebookNode, path: Path, root: Path) -> str:
    """Title, summary, and where to run the notebook."""
    ways = [f"[Open in Colab]({colab(path, root)})", download("this notebook", path, root)]
    solution = path.parent / "solutions" / path.name
    if solution.exists():
        ways.append(download("its solutions", solution, root))
    text = [f"# {frame.title(notebook)}", f"*{frame.summary(notebook)}*", " · ".join(ways)]
    return "\n\n".join(text)


def colab(path: Path, root: Path) -> str:
    return re.search(r"\]\((https://colab[^)]*)\)$", frame.badge(path, root))[1]


def download(name: str, path: Path, root: Path) -> str:
    place = path.relative_to(root).as_posix()
    return f"{{download}}`Download {name} <../downloads/{place}>`"


def solutions(path: Path, root: Path) -> dict[str, list[NotebookNode]]:
    """The cells that solve each exercise of a chapter; under "" those before the first."""
    path = path.parent / "solutions" / path.name
    if not path.exists():
        return {"": []}
    notebook = frame.read(path)
    names = {exercise.name for exercise in frame.exercises(notebook)}
    found, name = {"": []}, ""
    for cell in notebook.cells[1:]:
        if cell.id in names:
            name = cell.id
            found[name] = []
        elif cell.id != "setup":
            found[name] += shown(cell)
    return found


def folded(title: str, cells: list[NotebookNode]) -> list[NotebookNode]:
    """Cells behind a click."""
    begin = f'<details class="solution"><summary>{title}</summary>'
    return [new_markdown_cell(begin), *cells, new_markdown_cell("</details>")]


def shown(cell: NotebookNode) -> list[NotebookNode]:
    """A cell as the site shows it: a collapsed one is folded, and of a pad there is a picture."""
    if cell.cell_type != "code":
        return [cell]
    if cell.metadata.get("jupyter", {}).get("source_hidden"):
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
        kinds = {"setup": "Setup", "check": "The checker"}
        name = kinds.get(cell.id.rpartition("-")[2], "What is checked here")
        cell.metadata["mystnb"] = {"code_prompt_show": name, "code_prompt_hide": name}
    pads = [o for o in cell.outputs if o.get("data", {}).get("text/plain", "").startswith("Pad(")]
    if not pads:
        return [cell]
    cell.outputs = [output for output in cell.outputs if output not in pads]
    text = (
        "*In the notebook one draws here. On this site, [the first page](../index.md) is for it.*"
    )
    return [cell, new_markdown_cell(f"![{pad_text()}](../{PICTURE.as_posix()})\n\n{text}")]


def linked(text: str) -> str:
    """A text of a notebook with links to where things are on the site."""
    text = re.sub(
        r"Solutions: \[[^\]]*\]\(solutions/[^)]*\)\.",
        "The solution is folded below each, with typical wrong answers and what the checker says.",
        text,
    )
    text = re.sub(r"\]\((?:\.\./)+README\.md(#[\w-]*)?\)", "](../index.md)", text)
    text = re.sub(r"\]\(solutions/(\d\d_\w+\.ipynb)\)", r"](\1#Exercises)", text)
    return re.sub(r"\]\(\.\./(\d\d_\w+\.ipynb)", r"](\1", text)


def slug(heading: str) -> str:
    """The name of a heading in links, as Jupyter has it."""
    return heading.replace(" ", "-")


@functools.cache
def alternatives(root: Path = frame.ROOT) -> dict[str, str]:
    """What each stored figure shows, in words, by the SHA-256 of its PNG, its name on the site."""
    found = {}
    for path in [*frame.chapters(root), *frame.solutions(root)]:
        for cell in frame.code_cells(frame.read(path)):
            for output in cell.outputs:
                if png := output.get("data", {}).get("image/png"):
                    text = output.metadata.get("image/png", {}).get("alt", "")
                    found[hashlib.sha256(b64decode(png)).hexdigest()] = text
    return found


# What is derived from the chapters


class Minutes(NamedTuple):
    """Of a chapter: to read its core, to read Going further, to run it, for its exercises."""

    core: int
    further: int
    run: int
    exercises: int


def minutes(notebook: NotebookNode) -> Minutes:
    """Reading is counted (WORDS and LINES), running was measured, exercises say theirs."""
    reading, part = {"core": 0.0, "further": 0.0, "": 0.0}, "core"
    for cell in notebook.cells:
        if found := re.match(r"## (.+)", cell.source):
            name = found[1]
            part = "further" if name.startswith("Going further") else "core"
            part = "" if name in ("Exercises", "Further reading") else part
        if cell.cell_type == "markdown":
            reading[part] += len(cell.source.split()) / WORDS
        elif not cell.metadata.get("jupyter", {}).get("source_hidden"):
            reading[part] += len(cell.source.splitlines()) / LINES
    seconds = notebook.metadata.get("recorded", {}).get("seconds", 0)
    exercises = sum(facts(exercise)[1] for exercise in frame.exercises(notebook))
    return Minutes(
        round(reading["core"]), round(reading["further"]), math.ceil(seconds / 60), exercises
    )


def facts(exercise: frame.Exercise) -> tuple[str, int, str, str]:
    """Of an exercise: its title, minutes, difficulty, and what it asks."""
    form = r"### Exercise \d+ · (.+)\n\n\*(\d+) minutes · ([●○]+)\*\n\n((?:.+\n)*.+)"
    found = re.match(form, exercise.text.source)
    return found[1], int(found[2]), found[3], " ".join(found[4].split())


def hints(path: Path) -> dict[str, list[str]]:
    """What the checker of each exercise says to typical wrong answers."""
    ends = [cell for cell in frame.read(path).cells if cell.id.endswith("-wrong")]
    return {
        cell.id.removesuffix("-wrong"): list(
            dict.fromkeys(re.findall(r"^✗ (.+)$", cell.source, re.M))
        )
        for cell in ends
    }


def chapter_list(root: Path, whole: bool = False) -> str:
    """A line for each chapter; of the whole, with what it needs and how long it takes."""
    lines = []
    for path in frame.chapters(root):
        notebook = frame.read(path)
        needs = f"Needs {frame.needs(notebook)}. " if frame.needs(notebook) else ""
        more = f". *{needs}{sum(minutes(notebook))} minutes.*" if whole else ""
        name = f"[{frame.title(notebook)}](notebooks/{path.name})"
        lines.append(f"- **{name}**<br>{frame.summary(notebook)}{more}")
    return "\n".join(lines)


def routes(root: Path) -> str:
    """Ways through the chapters, with the time that each takes; then the time of each chapter."""
    spent = {path.name[:2]: minutes(frame.read(path)) for path in frame.chapters(root)}
    rows = ["| route | chapters | exercises, *Going further* | time |", "|---|---|---|---|"]
    for name, (first, last, all_of_it) in ROUTES.items():
        chosen = {number: took for number, took in spent.items() if first <= number <= last}
        took = sum(sum(t) if all_of_it else t.core + t.run for t in chosen.values())
        numbers = f"{min(chosen)} to {max(chosen)}"
        rows.append(
            f"| {name} | {numbers} | {'with' if all_of_it else 'without'} | {hours(took)} |"
        )
    rows += ["", "| chapter | to read | *Going further* | to run | exercises | in all |"]
    rows += ["|---|---|---|---|---|---|"]
    for path in frame.chapters(root):
        took = spent[path.name[:2]]
        name = f"[{frame.title(frame.read(path))}](notebooks/{path.name})"
        rows.append(f"| {name} | {' | '.join(map(str, took))} | {sum(took)} |")
    return "\n".join(rows)


def hours(took: int) -> str:
    """Minutes as hours, to the next half."""
    halves = math.ceil(took / 30)
    return f"{halves // 2}{' ½' if halves % 2 else ''} h".replace("0 ½", "½")


def exercise_tables(root: Path) -> str:
    """For each chapter: what to know before, and what its exercises ask and find."""
    parts = []
    for path in frame.chapters(root):
        notebook, number = frame.read(path), path.name[:2]
        text = notebook.cells[1].source.partition("**What you'll need.**")[2].strip()
        text = re.sub(r"\]\((\w+\.(?:ipynb|md))", r"](notebooks/\1", text)
        parts += [f"### {frame.title(notebook)}", f"**To know before.** {text}"]
        solution = path.parent / "solutions" / path.name
        said = hints(solution) if solution.exists() else {}
        for place, exercise in enumerate(frame.exercises(notebook), start=1):
            title, took, difficulty, asked = facts(exercise)
            link = f"[{place} · {title}](#{number}-{exercise.name})"
            wrong = "\n".join(f"- {as_markdown(hint)}" for hint in said.get(exercise.name, []))
            parts.append(f"**{link}** ({took} minutes · {difficulty}) {asked}")
            parts.append(
                f"<details><summary>Wrong answers that it finds</summary>\n\n{wrong}\n\n</details>"
            )
    return "\n\n".join(parts)


def as_markdown(text: str) -> str:
    """A checker's hint: plain text, in which only `code` means something."""
    parts = re.split(r"(`[^`]+`)", text)
    parts[::2] = [re.sub(r"([\\*_\[\]<>$`])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


# lenet_utils


def rooms() -> dict[str, str]:
    """The rooms of lenet_utils, in the order in which its docstring names them, and what each is.

    ValueError for one that it does not name.
    """
    named = dict(re.findall(r"^(\w+) +(.+)$", lenet_utils.__doc__.split("\n\n")[1], re.M))
    there = {path.stem for path in frame.MODULE.glob("[!_]*.py")}
    if named.keys() != there:
        raise ValueError(f"lenet_utils' docstring: {', '.join(sorted(named.keys() ^ there))}")
    return named


def api() -> dict[str, str]:
    """A page for each room, and one that lists them."""
    introduction, _, rules = lenet_utils.__doc__.partition("\n\n")
    rules = rules.partition("\n\n")[2].strip()
    pages, listed = {}, []
    for name, what in rooms().items():
        title = f"lenet_utils.{name}"
        pages[f"{name}.rst"] = (
            f"{title}\n{'=' * len(title)}\n\n.. automodule:: {title}\n   :members:\n"
        )
        listed.append(f"- [{title}]({name}.rst): {what}")
    toc = "\n".join(["```{toctree}", ":hidden:", "", *rooms(), "```"])
    parts = ["# lenet_utils", introduction, "\n".join(listed), rules, toc]
    return pages | {"index.md": "\n\n".join(parts) + "\n"}


def as_rst(lines: list[str]) -> list[str]:
    """A docstring as reStructuredText.

    What stands in columns, a name and what it is, becomes a list of definitions; what is indented
    by four, a block as it is; `a name` is code.
    """
    made = []
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        rows = block.split("\n")
        if all(row.startswith("    ") for row in rows):
            made += ["::", "", *rows, ""]
            continue
        for row in rows:
            if found := re.match(r"(\S(?:(?! {2}).)*?) {2,}(\S.*)", row):
                made += ["", f"``{found[1]}``", f"    {escaped(found[2])}"]
            elif row.startswith(" ") and made and made[-1].startswith("    "):
                made.append(f"    {escaped(row.strip())}")
            else:
                made += [""] * (bool(made) and made[-1].startswith("    ")) + [escaped(row)]
        made.append("")
    return made


def escaped(text: str) -> str:
    """A line of a docstring: plain text, in which only `code` and *emphasis* mean something."""
    parts = re.split(r"(`[^`]+`)", text)
    parts[::2] = [re.sub(r"([\\|]|\*\*|_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"`{part}`" for part in parts[1::2]]
    return "".join(parts)


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(build().relative_to(frame.ROOT).as_posix() + "/index.html")


if __name__ == "__main__":
    main()
