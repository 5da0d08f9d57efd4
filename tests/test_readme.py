"""README says what the repository says: its table, pictures, code, commands, results."""

import base64
import inspect
import re
import textwrap

from lenet_utils import models
from notebooks import NOTEBOOKS, ROOT, all_notebooks, read

README = (ROOT / "README.md").read_text("utf-8")


def rows(text):
    """The cells of each line of a Markdown table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def figures():
    """The PNG files that cells have stored, and the picture that each is to be written to."""
    for path in all_notebooks():
        for cell in read(path).cells:
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    content = base64.b64decode(output.data["image/png"])
                    yield cell.metadata.get("picture"), content


def test_parameter_table_is_the_models():
    table = [layer for layer in models.layer_table(models.LeNet()) if layer.parameters]
    expected = [
        [
            f"{layer.kind} {layer.name}",
            "×".join(map(str, layer.output_shape)),
            layer.formula,
            f"{layer.parameters:,}",
        ]
        for layer in table
    ]
    expected.append(["total", "", "", f"{sum(layer.parameters for layer in table):,}"])
    assert rows(README.split("### Its parameters")[1].split("\n## ")[0])[2:] == expected


def test_formulas_give_the_parameters():
    for layer in models.layer_table(models.LeNet()):
        if layer.formula:
            assert eval(layer.formula.replace("·", "*")) == layer.parameters


def test_pictures_are_stored_outputs_of_cells():
    stored = {name: content for name, content in figures() if name}
    files = {path.name: path.read_bytes() for path in (ROOT / "pictures").glob("*.png")}
    assert files == stored
    assert set(re.findall(r"pictures/([\w-]+\.png)", README)) == set(files)


def test_code_is_the_modules():
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert block.strip() in textwrap.dedent(inspect.getsource(models.LeNet.__init__)).replace(
        "\n    ", "\n"
    )


def test_chapters_are_those_that_exist():
    table = rows(README.split("## The chapters")[1].split("\n## ")[0])[2:]
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    titles = [read(path).cells[0].source.splitlines()[0].lstrip("# ") for path in paths]
    links = [f"[{title}](notebooks/{path.name})" for title, path in zip(titles, paths, strict=True)]
    assert [row[0] for row in table] == links
    for path, row in zip(paths, table, strict=True):
        assert row[3].endswith(f"/blob/main/notebooks/{path.name})")


def test_commands_stand_once_for_each_system():
    for tool in ("jupyter lab", "pytest"):
        unix = re.findall(rf"^python3 -m venv \.venv && .*{tool}.*$", README, re.MULTILINE)
        windows = re.findall(rf'^cmd /c "py -m venv \.venv && .*{tool}.*"$', README, re.MULTILINE)
        assert len(unix) == len(windows) == 1
        assert "-r requirements.txt" in unix[0] and "-r requirements.txt" in windows[0]


def test_files_and_tools_that_it_names_exist():
    named = re.findall(r"(?:tools|notebooks)[/\\][\w/.-]+\.(?:py|ipynb)", README)
    assert named
    for name in named:
        assert (ROOT / name.replace("\\", "/")).is_file(), name
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_ci_runs_the_command_of_readme():
    pattern = re.search(r"grep -E '([^']+)' README.md", (ROOT / ".ci" / "run").read_text())[1]
    assert len(re.findall(pattern.replace("^", "(?m)^"), README)) == 1
