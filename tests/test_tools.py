"""The tools for authors, run on copies: the repository itself is never written to."""

import base64
import shutil
import subprocess
import sys

import nbformat
import publish
import pytest
import record
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import notebooks
from notebooks import ROOT

TOOLS = [
    file.name
    for file in sorted((ROOT / "tools").glob("*.py"))
    if "__main__" in file.read_text("utf-8")
]


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
def test_help(tool):
    command = [sys.executable, ROOT / "tools" / tool, "--help"]
    result = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: {tool}")
    assert f"python tools/{tool}" in result.stdout


# Publishing


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A copy of all that carries the address, which publish.py takes for the repository."""
    ignored = shutil.ignore_patterns(".ipynb_checkpoints")
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    monkeypatch.setattr(publish, "PYPROJECT", tmp_path / "pyproject.toml")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "notebooks")
    return tmp_path


def test_publish_rewrites_every_address_and_nothing_else(repository, monkeypatch, capsys):
    old, before = publish.current(), contents(repository)
    run(monkeypatch, publish, "grace-h/digits.2")
    after = contents(repository)
    assert publish.current() == "grace-h/digits.2"
    for name, content in before.items():
        assert after[name] == content.replace(old.encode(), b"grace-h/digits.2")
    changed = {name for name in before if after[name] != before[name]}
    assert set(capsys.readouterr().out.replace("\\", "/").splitlines()) == changed
    assert {"pyproject.toml", "README.md", "notebooks/00_quickstart.ipynb"} <= changed
    assert set(after) == set(before)


def test_publish_rewrites_badges_and_setup_cells(repository, monkeypatch):
    run(monkeypatch, publish, "grace/digits")
    text = (repository / "notebooks" / "00_quickstart.ipynb").read_text("utf-8")
    assert "/github/grace/digits/blob/main/notebooks/00_quickstart.ipynb" in text
    assert r"ADDRESS = \"https://github.com/grace/digits\"" in text


def test_publish_leaves_other_addresses_alone(repository, monkeypatch):
    old = publish.current()
    others = f"https://github.com/{old}-2 https://github.com/{old}.wiki https://example.org/{old}\n"
    (repository / "README.md").write_bytes(f"https://github.com/{old}.\n{others}".encode())
    run(monkeypatch, publish, "grace/digits")
    expected = f"https://github.com/grace/digits.\n{others}"
    assert (repository / "README.md").read_bytes() == expected.encode()


def test_publish_can_be_repeated(repository, monkeypatch, capsys):
    run(monkeypatch, publish, "grace/digits")
    capsys.readouterr()
    once = contents(repository)
    run(monkeypatch, publish, "grace/digits")
    assert contents(repository) == once
    assert capsys.readouterr().out == ("Already published under grace/digits: nothing to change.\n")


def test_publish_under_a_second_address(repository, monkeypatch):
    run(monkeypatch, publish, "ada/first")
    run(monkeypatch, publish, "grace/second")
    twice = contents(repository)
    assert not [name for name, content in twice.items() if b"ada/first" in content]
    run(monkeypatch, publish, "ada/first")
    run(monkeypatch, publish, "grace/second")
    assert contents(repository) == twice


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "a/",
        "/b",
        "a/b/c",
        "a b/c",
        "-a/b",
        "a-/b",
        "a--b/c",
        "a_b/c",
        "ä/b",
        "a" * 40 + "/b",
        "a/.git",
        "a/b.git",
        "a/.",
        "a/..",
        "a/b c",
        "a/b\n",
        'a/b"',
        "https://github.com/a/b",
        "github.com/a/b",
    ],
)
def test_publish_refuses_what_is_no_address(repository, monkeypatch, capsys, address):
    before = contents(repository)
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, publish, address)
    assert end.value.code == 2
    assert "usage: publish.py" in capsys.readouterr().err
    assert contents(repository) == before


def test_publish_without_an_address_to_replace(repository, monkeypatch):
    (repository / "pyproject.toml").write_text("[project]\n")
    before = contents(repository)
    with pytest.raises(SystemExit, match="pyproject.toml lacks Repository"):
        run(monkeypatch, publish, "grace/digits")
    assert contents(repository) == before


# Recording

BAR = """
import os
import matplotlib.pyplot as plt
from tqdm.auto import tqdm
for _ in tqdm(range(3)):
    pass
print("done on the", os.environ["LENET_DEVICE"])
"""
DRAW = """
figure, axes = plt.subplots(figsize=(1, 1))
display(figure, metadata={"image/png": {"alt": "Empty axes"}})
plt.close(figure)
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A notebook as an editor may leave it."""
    junk = {"execution": {"iopub.execute_input": "2026-01-01T00:00:00Z"}, "collapsed": True}
    cells = [
        new_markdown_cell("# A notebook", metadata={"slideshow": {}}),
        new_code_cell(BAR, metadata={**junk, "tags": ["nbval-ignore-output"]}, execution_count=9),
        new_code_cell(DRAW, metadata={**junk, "picture": "axes.png"}),
    ]
    metadata = {"widgets": {}, "language_info": {"name": "python", "version": "3.0.0"}}
    path = tmp_path / "small.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    (tmp_path / "pictures").mkdir()
    monkeypatch.setattr(record, "PICTURES", tmp_path / "pictures")
    return path


def test_a_bar_in_a_compared_cell_is_left_for_the_lint_to_find(file, monkeypatch):
    notebook = notebooks.read(file)
    notebook.cells[1].metadata.pop("tags")
    notebooks.write(notebook, file)
    run(monkeypatch, record, file)
    assert "widget" in file.read_text("utf-8")


def test_record(file, monkeypatch, capsys):
    run(monkeypatch, record, file)
    assert capsys.readouterr().out.startswith("small.ipynb: ")
    once = contents(file.parent)
    notebook = notebooks.read(file)
    text, bar, figure = notebook.cells
    assert text.metadata == {}
    assert bar.metadata == {"tags": ["nbval-ignore-output"]}
    assert figure.metadata == {"picture": "axes.png"}
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "version" not in notebook.metadata.language_info
    assert (bar.execution_count, figure.execution_count) == (1, 2)
    assert [output.get("text") for output in bar.outputs] == ["done on the cpu\n"]
    assert figure.outputs[0].metadata == {"image/png": {"alt": "Empty axes"}}
    assert "widget" not in file.read_text("utf-8")
    picture = (file.parent / "pictures" / "axes.png").read_bytes()
    assert picture == base64.b64decode(figure.outputs[0].data["image/png"])
    assert picture.startswith(b"\x89PNG")
    assert b"\r" not in file.read_bytes()
    assert file.read_bytes().endswith(b"}\n")

    run(monkeypatch, record, file)
    assert contents(file.parent) == once


def test_a_failing_cell_leaves_the_notebook_as_it_was(file, monkeypatch):
    notebook = notebooks.read(file)
    notebook.cells.append(new_code_cell("1 / 0"))
    nbformat.write(notebook, file)
    before = contents(file.parent)
    with pytest.raises(SystemExit, match="(?s)small.ipynb: a cell failed, .*ZeroDivisionError"):
        run(monkeypatch, record, file)
    assert contents(file.parent) == before


def test_a_picture_needs_one_figure(file, monkeypatch):
    notebook = notebooks.read(file)
    notebook.cells[2].source = "print('nothing drawn')"
    nbformat.write(notebook, file)
    with pytest.raises(SystemExit, match="expected one figure for a picture, got 0"):
        run(monkeypatch, record, file)
    assert contents(file.parent / "pictures") == {}


def test_record_of_a_notebook_that_does_not_exist(file, monkeypatch, capsys):
    before = contents(file.parent)
    with pytest.raises(SystemExit):
        run(monkeypatch, record, file, "none.ipynb")
    assert "no such notebook: none.ipynb" in capsys.readouterr().err
    assert contents(file.parent) == before


def test_all_notebooks_are_the_chapters_and_then_their_solutions(tmp_path, monkeypatch):
    (tmp_path / "solutions").mkdir()
    for name in ("01_b.ipynb", "solutions/01_b.ipynb", "00_a.ipynb", "notes.txt"):
        (tmp_path / name).touch()
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in notebooks.all_notebooks()]
    assert found == ["00_a.ipynb", "01_b.ipynb", "solutions/01_b.ipynb"]
