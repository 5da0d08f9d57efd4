"""The tools for authors, run on copies: the repository itself is never written to."""

import base64
import contextlib
import io
import os
import re
import runpy
import shutil
import subprocess
import sys

import frame
import nbformat
import publish
import pytest
import record
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

TOOLS = [
    file.name
    for file in sorted((frame.ROOT / "tools").glob("*.py"))
    if "__main__" in file.read_text("utf-8")
]
FILES = ("README.md", "pyproject.toml", "requirements.txt", frame.COUNTS, frame.CARDS)


def contents(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def run(monkeypatch, tool, *arguments):
    monkeypatch.setattr(sys, "argv", [f"{tool.__name__}.py", *map(str, arguments)])
    tool.main()


@pytest.mark.parametrize("tool", TOOLS)
def test_help(tool, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        monkeypatch.setattr("isolation.isolate", contextlib.nullcontext)  # this process is
        monkeypatch.setattr(sys, "argv", [tool, "--help"])
        runpy.run_path(str(frame.ROOT / "tools" / tool), run_name="__main__")
    assert exit.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: {tool}") and f"python tools/{tool}" in said


# Publishing


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A copy of all that is partly generated, which the tools take for the repository."""
    ignored = shutil.ignore_patterns(".ipynb_checkpoints", "*.pt")
    shutil.copytree(frame.ROOT / "notebooks", tmp_path / "notebooks", ignore=ignored)
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(frame.ROOT / name, tmp_path / name)
    monkeypatch.setattr(frame, "ROOT", tmp_path)
    return tmp_path


def test_nothing_changes_where_nothing_is_stale(repository):
    before = contents(repository)
    frame.main(repository)
    assert contents(repository) == before


def test_publish_rewrites_every_address_and_nothing_else(repository, monkeypatch, capsys):
    before = contents(repository)
    run(monkeypatch, publish, "grace-h/digits.2", "--ref", "v1.0")
    after = contents(repository)
    old, new = b"YOUR_GITHUB_NAME/mnist-lenet5", b"grace-h/digits.2"
    for name, content in before.items():
        ours = content.replace(old + b"/blob/main/", new + b"/blob/v1.0/")
        ours = ours.replace(old + b"@main", new + b"@v1.0")
        ours = ours.replace(b'github.com/%b"\n' % old, b'github.com/%b"\n' % new)
        assert after[name] == ours.replace(b'ref = "main"', b'ref = "v1.0"')
    changed = {name for name in before if after[name] != before[name]} - {"pyproject.toml"}
    assert set(capsys.readouterr().out.replace("\\", "/").splitlines()) == changed
    assert {"README.md", "notebooks/00_quickstart.ipynb"} <= changed
    run(monkeypatch, publish, "grace-h/digits.2", "--ref", "v1.0")  # changes nothing more
    assert contents(repository) == after


ADDRESSES = "|a|a/|/b|a/b/c|a b/c|-a/b|a-/b|a--b/c|a_b/c|ä/b|a/.git|a/b.git|a/.|a/..|a/b c|a/b\n|"
ADDRESSES += 'a/b"|https://github.com/a/b|github.com/a/b|' + "a" * 40 + "/b"
REFS = ["", "-x", "a b", "a..b", "v1/", 'v"', "v1\n"]


def test_publish_refuses_what_is_no_address_or_branch(repository, monkeypatch, capsys):
    before = contents(repository)
    wrong = [(address, "main") for address in ADDRESSES.split("|")]
    for address, ref in wrong + [("ada/digits", ref) for ref in REFS]:
        with pytest.raises(SystemExit) as end:
            run(monkeypatch, publish, address, f"--ref={ref}")
        assert (end.value.code, "usage: publish.py" in capsys.readouterr().err) == (2, True), (
            address
        )
    assert contents(repository) == before


def test_publish_without_an_address_to_replace(repository, monkeypatch):
    (repository / "pyproject.toml").write_text("[project]\n")
    before = contents(repository)
    with pytest.raises(SystemExit, match="pyproject.toml lacks"):
        run(monkeypatch, publish, "grace/digits")
    assert contents(repository) == before


def test_two_notebooks_make_a_chapter(repository):
    """Adding one is writing two notebooks, and running one command."""
    number = len(frame.chapters(repository))
    name, last = f"{number:02}_more.ipynb", frame.chapters(repository)[-1]
    setup = new_code_cell(id="setup")
    heading = new_markdown_cell(f"# {number:02} · See more\n\n*What else there is*")
    imports = new_code_cell("import torchinfo\nfrom lenet_utils import data")
    frame.write(new_notebook(cells=[heading, setup, imports]), repository / "notebooks" / name)
    solution = new_notebook(cells=[new_markdown_cell(), setup])
    frame.write(solution, repository / "notebooks" / "solutions" / name)
    frame.main(repository)
    made = frame.read(repository / "notebooks" / name)
    assert f"← [{frame.title(frame.read(last))}]({last.name}) · [README]" in made.cells[0].source
    assert '"torchinfo": "torchinfo>=1.8,<1.9"' in made.cells[1].source
    assert f"next: [{number:02} · See more]({name}) →" in frame.read(last).cells[0].source
    row = f"| [{number:02} · See more](notebooks/{name}) | What else there is |  | ? s |"
    assert row in (repository / "README.md").read_text("utf-8")
    quick = frame.read(frame.chapters(repository)[0]).cells
    assert (
        f"[{number:02} · See more]({name})" in next(c for c in quick if c.id == "chapters").source
    )
    made = frame.read(repository / "notebooks" / "solutions" / name)
    assert made.cells[0].source.startswith(f"# {number:02} · See more: solutions\n")
    assert "torchinfo" not in made.cells[1].source


@pytest.mark.parametrize(
    "line",
    ["from lenet_utils import data, pad", "from lenet_utils.pad import Pad"]
    + ["import lenet_utils.pad", "import lenet_utils.pad as p, json"],
)
def test_a_chapter_needs_what_the_rooms_that_it_opens_import(line):
    setup = frame.setup(new_notebook(cells=[new_code_cell(line)]), frame.ROOT)
    needed = re.findall('"(.+)": "(.+)",\n', setup)
    assert [name for name, _ in needed] == ["anywidget", "ipywidgets", "psygnal", "traitlets"]
    assert needed[0][1].startswith("anywidget>=")


def test_a_room_that_another_opens_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(frame, "MODULE", tmp_path)
    rooms = {
        "hall": "from . import cellar",
        "cellar": "from .attic import a",
        "attic": "import nbval",
    }
    for room, source in rooms.items():
        (tmp_path / f"{room}.py").write_text(source)
    cells = [new_code_cell("from lenet_utils import hall, other\nfrom os import path")]
    assert frame.imported(new_notebook(cells=cells)) == {"nbval"}


BAD = {
    "the first cell should be": lambda cells: cells[0].update(source="# 00 · A title"),
    "the first cell should be # NN": lambda cells: cells[0].update(
        source=f"{cells[0].source}\n\nAn introduction of mine."
    ),
    "unheard_of is imported: add its package to requirements.txt": lambda cells: cells.append(
        new_code_cell("import unheard_of")
    ),
    "exercise lost lacks a cell with the id lost-check": lambda cells: cells.extend(
        [new_markdown_cell(id="lost"), new_code_cell(id="lost-answer")]
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_amiss_is_said_with_the_notebooks_name(repository, message):
    file = frame.chapters(repository)[0]
    notebook = frame.read(file)
    BAD[message](notebook.cells)
    frame.write(notebook, file)
    before = contents(repository)
    with pytest.raises(ValueError, match=f"^notebooks/{file.name}: {message}"):
        frame.main(repository)
    assert contents(repository) == before


@pytest.mark.parametrize("page, table", [("README.md", "chapters"), (frame.CARDS, "scores")])
def test_a_page_without_a_place_for_a_table(repository, page, table):
    (repository / page).write_text(f"<!-- {table} -->\n")
    with pytest.raises(
        ValueError, match=f"{str(page).split('/')[-1]} needs one place <!-- {table} -->"
    ):
        frame.main(repository)


# Recording

BAR = """
from tqdm.auto import tqdm
for _ in tqdm(range(3)):
    pass
print("done")
"""
DRAW = """
import matplotlib.pyplot as plt
from lenet_utils import plots
figure, axes = plt.subplots(figsize=(1, 1))
axes.imshow([[0, 1], [2, 3]], cmap="gray", interpolation="bicubic")
plots.show(figure, "A falling slope")
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A notebook as an editor may leave it."""
    junk = {"execution": {"iopub.execute_input": "2026-01-01T00:00:00Z"}, "collapsed": True}
    cells = [
        new_markdown_cell("# A notebook", metadata={"slideshow": {}}),
        new_code_cell(BAR, metadata={**junk, "tags": ["nbval-ignore-output"]}, execution_count=9),
        new_code_cell(DRAW, metadata={**junk, "picture": "axes.png"}, id="draw"),
        new_code_cell("from ipywidgets import Label\n\nLabel('a pad')"),
    ]
    metadata = {"widgets": {}, "language_info": {"name": "python", "version": "3.0.0"}}
    path = tmp_path / "small.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    (tmp_path / "pictures").mkdir()
    monkeypatch.setattr(record, "PICTURES", tmp_path / "pictures")
    monkeypatch.setattr(frame, "main", lambda: None)
    return path


def test_record(file, monkeypatch, capsys):
    run(monkeypatch, record, file)
    assert capsys.readouterr().out.startswith("small.ipynb: ")
    once = contents(file.parent)
    notebook = frame.read(file)
    text, bar, figure, label = notebook.cells
    assert text.metadata == {}
    assert bar.metadata == {"tags": ["nbval-ignore-output"]}
    assert (figure.metadata, figure.id) == ({"picture": "axes.png"}, "draw")
    assert (bar.execution_count, figure.execution_count) == (1, 2)
    assert [output.get("text") for output in bar.outputs] == ["done\n"]
    assert [output.data for output in label.outputs] == [{"text/plain": "Label(value='a pad')"}]
    assert "widget-" not in file.read_text("utf-8")
    recorded = notebook.metadata.pop("recorded")
    assert notebook.metadata == record.NOTEBOOK_METADATA
    assert recorded.seconds % 10 == 0 and recorded.torch and recorded.processor
    drawn, caption = figure.outputs
    assert drawn.metadata == {"image/png": {"alt": "A falling slope"}}
    assert caption.data["text/html"] == "<small>A falling slope</small>"
    content = (file.parent / "pictures" / "axes.png").read_bytes()
    assert content == base64.b64decode(drawn.data["image/png"])
    picture = Image.open(io.BytesIO(content))
    assert (picture.format, picture.mode, picture.info.get("Software")) == ("PNG", "P", None)
    assert b"\r" not in file.read_bytes()
    assert file.read_bytes().endswith(b"}\n")

    run(monkeypatch, record, file)
    again, seconds = contents(file.parent), rb'"seconds": \d+'
    assert {name: re.sub(seconds, b"", again[name]) for name in again} == {
        name: re.sub(seconds, b"", once[name]) for name in once
    }


def test_settings_of_whoever_records_reach_no_notebook(tmp_path):
    look = "import os, matplotlib\nprint(matplotlib.get_backend(), os.environ['OMP_NUM_THREADS'])"
    frame.write(new_notebook(cells=[new_code_cell(look)]), tmp_path / "look.ipynb")
    program = "import record, frame; frame.main = lambda: None; record.isolated_main()"
    settings = {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "7", "PYTHONPATH": f"{frame.ROOT}/tools"}
    command = [sys.executable, "-c", program, "look.ipynb"]
    subprocess.run(command, cwd=tmp_path, env=os.environ | settings, check=True)
    printed = frame.read(tmp_path / "look.ipynb").cells[0].outputs[0].text
    assert "inline" in printed and printed.endswith(" 1\n")


def test_few_colours_look_alike():
    """A picture of many colours: no pixel is far from what it was."""
    side = range(64)
    colours = bytes(value for y in side for x in side for value in (4 * x, 4 * y, 128, 255))
    many, png = Image.frombytes("RGBA", (64, 64), colours), io.BytesIO()
    many.save(png, format="png")
    few = Image.open(io.BytesIO(record.with_256_colours(png.getvalue()))).convert("RGB")
    pairs = zip(many.convert("RGB").tobytes(), few.tobytes(), strict=True)
    assert 0 < max(abs(one - other) for one, other in pairs) < 24


def test_a_bar_in_a_compared_cell_is_left_for_the_lint_to_find(file, monkeypatch):
    notebook = frame.read(file)
    notebook.cells[1].metadata.pop("tags")
    frame.write(notebook, file)
    run(monkeypatch, record, file)
    assert "widget" in file.read_text("utf-8")


def test_what_fails_leaves_the_notebook_as_it_was(file, monkeypatch):
    for source, message in [
        ("1 / 0", "(?s)small.ipynb: a cell failed, .*ZeroDivisionError"),
        ("print('nothing')", "expected one figure for a picture, got 0"),
    ]:
        notebook = frame.read(file)
        notebook.cells[2].source = source
        nbformat.write(notebook, file)
        before = contents(file.parent)
        with pytest.raises(SystemExit, match=message):
            run(monkeypatch, record, file)
        assert contents(file.parent) == before


def test_record_of_a_notebook_that_does_not_exist(file, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, record, "none.ipynb")
    assert "no such notebook: none.ipynb" in capsys.readouterr().err
