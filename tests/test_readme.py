"""README says what the repository says: its table, pictures, code, commands, results."""

import base64
import inspect
import re
import statistics
import textwrap

import benchmark
import frame
import pytest

from lenet_utils import data, lesson, models

README = (frame.ROOT / "README.md").read_text("utf-8")


def rows(text):
    """The cells of each line of a Markdown table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


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


def test_pictures_are_stored_outputs_of_cells():
    stored = {
        cell.metadata["picture"]: base64.b64decode(output.data["image/png"])
        for path in [*frame.chapters(), *frame.solutions()]
        for cell in frame.code_cells(frame.read(path))
        for output in cell.outputs
        if "picture" in cell.metadata and "image/png" in output.get("data", {})
    }
    files = {path.name: path.read_bytes() for path in (frame.ROOT / "pictures").glob("*.png")}
    assert files == stored
    assert set(re.findall(r"pictures/([\w-]+\.png)", README)) == set(files)


def test_code_is_the_modules():
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert block.strip() in textwrap.dedent(inspect.getsource(models.LeNet.__init__)).replace(
        "\n    ", "\n"
    )


def test_ratios_and_memory_are_the_stored_ones():
    results = lesson.measured("benchmark")
    for layout in ("default", "our"):
        assert f"{benchmark.speed_up(results, layout):.1f} times as fast" in README
    assert f"{results['memory_mb']:,} MB" in README


def test_what_chapter_09_reached_is_the_stored():
    stored = lesson.measured("faster")
    text = " ".join(README.split())
    for name in ("part of a pass", "one pass"):
        percent = [100 * accuracy for accuracy in stored["frozen"][name]["accuracy"]]
        assert f"{statistics.mean(percent):.2f} ± {statistics.stdev(percent):.2f} %" in text
    times = stored["times"]["found"]
    rung, usual = times["rung, part of the images"], times["usual epoch, our layout and optimiser"]
    share = statistics.median(a / b for a, b in zip(rung, usual, strict=True))
    assert f"{share:.2f} of the time that one pass takes the usual way" in text


def test_what_chapter_10_reached_is_the_stored():
    stored = lesson.measured("accurate")
    text = " ".join(README.split())
    for name in ("accurate", "distilled"):
        percent = [100 * accuracy["last"] for accuracy in stored["tests"][name]["accuracy"]]
        assert f"{statistics.mean(percent):.2f} ± {statistics.stdev(percent):.2f} %" in text
    together = stored["together"]["accurate"]["accuracy"]["last"]
    assert f"The five together read {100 * together:.2f} %" in text
    assert f"{100 - len(data.DISPUTED) / 100:.2f} %" in text


def test_commands_stand_once_for_each_system():
    commands = [("jupyter lab", ""), ("pytest", r"tests[/\\]")]
    commands += [(r"tools[/\\]book\.py", r"site[/\\]")]
    for tool, requirements in commands:
        install = rf".*-r {requirements}requirements\.txt.*{tool}"
        unix = re.findall(rf"^python3 -m venv \.venv && {install}.*$", README, re.MULTILINE)
        windows = re.findall(rf'^cmd /c "py -m venv \.venv && {install}.*"$', README, re.MULTILINE)
        assert len(unix) == len(windows) == 1


def test_files_and_sections_that_it_names_exist():
    for name in re.findall(r"(?:tools|tests)[/\\][\w/.-]+\.\w+", README):
        assert (frame.ROOT / name.replace("\\", "/")).is_file(), name
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", README):
        path, _, anchor = target.partition("#")
        assert (frame.ROOT / path).exists() and (path or anchor in anchors), target


def test_messages_that_it_explains_exist():
    code = "".join(
        path.read_text("utf-8")
        for folder in ("lenet_utils", "tools")
        for path in (frame.ROOT / folder).glob("*.py")
    )
    rows_of = rows(README.split("## When something goes wrong")[1].split("\n## ")[0])[2:]
    messages = [found[1] for row in rows_of if (found := re.match("`([^`]+)`", row[0]))]
    assert len(messages) >= 5
    assert [message for message in messages if message not in code] == []


@pytest.mark.parametrize("file", [".ci/run", ".github/workflows/site.yml"])
def test_ci_runs_the_command_of_readme(file):
    ci = (frame.ROOT / file).read_text("utf-8")
    pattern = re.search(r"grep -E '([^']+)' README.md", ci)[1]
    assert len(re.findall(pattern.replace("^", "(?m)^"), README)) == 1


def test_the_bounds_of_packages_stand_once():
    project = (frame.ROOT / "pyproject.toml").read_text("utf-8")
    dependencies = re.search(r"^dependencies = \[(.*?)\]", project, re.M | re.S)[1]
    assert re.findall(r'"([^"]+)"', dependencies)
    assert not re.search("[<>=]", dependencies)
    names = re.findall(r'^requires = \["([\w-]+)', project, re.M)
    for name in ("requirements.txt", "site/requirements.txt", "tests/requirements.txt"):
        names += re.findall(r"^([\w-]+)[<>=]", (frame.ROOT / name).read_text("utf-8"), re.M)
    assert len(names) == len(set(names))
    assert set(re.findall(r'"([^"]+)"', dependencies)) <= set(names)
