"""What nbval does not see: the rules that every notebook follows.

A rule takes a notebook and its file and yields what is wrong. Each is also tried on an example that
breaks it, made from a good one at the end of this page: a rule that cannot fail proves nothing.
"""

import ast
import copy
import html
import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import frame
import pytest
import record
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

IGNORED = "nbval-ignore-output"
ALL = [*frame.chapters(), *frame.solutions()]

# What the rules look at


def code_cells(notebook):
    return frame.code_cells(notebook)


def text_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def is_ignored(cell):
    return IGNORED in cell.metadata.get("tags", [])


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def compared_texts(output):
    """What nbval compares of an output: all but images."""
    texts = {
        kind: str(text) for kind, text in output.get("data", {}).items() if "image/" not in kind
    }
    return [output.get("text", ""), *texts.values()]


def tree(cell):
    """The syntax of a cell; of one that is not plain Python, nothing."""
    try:
        return ast.parse(cell.source)
    except SyntaxError:
        return ast.parse("")


def calls(cell, name):
    return [
        node
        for node in ast.walk(tree(cell))
        if isinstance(node, ast.Call)
        and name in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
    ]


def links(notebook):
    """All targets of links and pictures in the text."""
    for cell in text_cells(notebook):
        text = without_code(cell.source)
        yield from re.findall(r"\]\(\s*<?([^)\s>]+)", text)
        yield from re.findall(r"(?:src|href)=[\"']([^\"']+)", text)


def without_code(text):
    text = re.sub(r"^(```|~~~).*?^\1[ \t]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "code", text)


def words(text):
    """The words that are read at once: no code, no tables, nothing folded."""
    text = re.sub(r"<details>.*?</details>", "", without_code(text), flags=re.DOTALL)
    return [w for line in text.splitlines() if not line.startswith("|") for w in line.split()]


def is_solution(file):
    return file.parent.name == "solutions"


def root(file):
    """The repository that a notebook is in."""
    return file.parents[2] if is_solution(file) else file.parents[1]


# The rules


def execution_counts_go_from_1_to_n(notebook, file):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}: record the notebook"


def ids_are_unique(notebook, file):
    ids = [
        cell["id"] for cell in json.loads(file.read_bytes())["cells"]
    ]  # nbformat would mend them
    if twice := {name for name in ids if ids.count(name) > 1}:
        yield f"ids of several cells: {twice}"


def no_cell_fails(notebook, file):
    for output in outputs(notebook):
        if output.output_type == "error":
            yield f"stored error: {output.ename}: {output.evalue}"
        if output.get("name") == "stderr":
            yield f"output on stderr: {output.text[:80]}"


def metadata_is_known(notebook, file):
    recorded = notebook.metadata.get("recorded", {})
    if notebook.metadata != {**record.NOTEBOOK_METADATA, "recorded": recorded} or not recorded:
        yield f"metadata of the notebook: {dict(notebook.metadata)}"
    for cell in notebook.cells:
        if unknown := set(cell.metadata) - record.CELL_METADATA:
            yield f"metadata of a cell: {sorted(unknown)}"


def no_widgets(notebook, file):
    for output in outputs(notebook):
        for kind in output.get("data", {}):
            if "widget" in kind:
                yield f"output of a widget: {kind}"


def tags_are_known(notebook, file):
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            if tag != IGNORED or cell.cell_type != "code":
                yield f"tag {tag!r} of a {cell.cell_type} cell"
        if re.search(r"NBVAL_|PYTEST_VALIDATE", cell.source):
            yield "a marker comment of nbval: use its tag"


def half_are_compared(notebook, file):
    with_output = [cell for cell in code_cells(notebook) if cell.outputs]
    count = len(frame.compared(notebook))
    if 2 * count < len(with_output):
        yield f"of {len(with_output)} cells with output only {count} are compared"


def ignored_cells_are_followed_by_a_check(notebook, file):
    cells = code_cells(notebook)
    for number, cell in enumerate(cells, start=1):
        if is_ignored(cell):
            later = [later for later in cells[number:] if not is_ignored(later)]
            if not any(calls(cell, "check") or calls(cell, "guards") for cell in later[:2]):
                yield f"after the ignored cell [{number}] neither of the next two checks anything"


def lenet_utils_is_imported(notebook, file):
    names = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for cell in code_cells(notebook)
        for node in ast.walk(tree(cell))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    if not any(name.split(".")[0] == "lenet_utils" for name in names):
        yield "lenet_utils is not imported"


MACHINE = {
    "path": r"/(?:home|root|Users|tmp|work|content|usr|var)/\w|\b[A-Za-z]:\\\w|site-packages",
    "version": r"\b\d+\.\d+\.\d+(?:\+\w+)?\b|(?i:\b(?:python|torch\w*|numpy|matplotlib)\W+\d+\.\d)",
    "address": r"\b0x[0-9a-f]{6,}\b",
    "device": r"device\(type=|device='|\b(?:cuda|mps|xpu):\d",
    "time": r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d",
}


def outputs_name_no_machine(notebook, file):
    for text in (text for output in outputs(notebook) for text in compared_texts(output)):
        for what, pattern in MACHINE.items():
            if found := re.search(pattern, text):
                yield f"a {what} in an output: {found[0]}"


def sources_name_no_machine(notebook, file):
    for cell in notebook.cells:
        if found := re.search(r"/(?:home|root|Users)/\w+|\b[A-Za-z]:\\\w+", cell.source):
            yield f"a path in a cell: {found[0]}"


def is_literal(node):
    return not any(isinstance(part, ast.Name) for part in ast.walk(node))


def claims(cell):
    """The claim, value, comparison and bound of each check, and of each of the guards."""
    for call in calls(cell, "check"):
        given = dict(zip(["claim", "value", "comparison", "bound"], call.args, strict=False))
        yield given | {keyword.arg: keyword.value for keyword in call.keywords}
    for guard in (guard for call in calls(cell, "guards") for guard in call.args):
        parts = getattr(guard, "elts", [])
        yield dict(zip(["claim", "value", "comparison", "bound"], parts, strict=True))


def checks_compare_what_was_computed(notebook, file):
    for cell in code_cells(notebook):
        for given in claims(cell):
            if is_literal(given["value"]) and is_literal(given["bound"]):
                yield f"literals on both sides: {ast.unparse(given['claim'])}"
            if getattr(given["bound"], "value", None) is False:
                yield f"a ✓ before what is not so: {ast.unparse(given['claim'])} == False"


def code_is_plain_python(notebook, file):
    for cell in code_cells(notebook):
        for line in cell.source.splitlines():
            if line.rstrip().endswith(";"):
                yield f"; at the end of a line, which hides nothing from nbval: {line}"
            if line.lstrip().startswith(("!", "%")):
                yield f"a line that is not Python: {line}"
        if calls(cell, "clear_output"):
            yield "clear_output does not compare"
        try:
            ast.parse(cell.source)
        except SyntaxError as error:
            yield f"not Python: {error.text}"


def pictures_are_stored_and_described(notebook, file):
    """Alternative texts reach few readers (not JupyterLab's): a caption below says the same."""
    for cell in code_cells(notebook):
        pictures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        if calls(cell, "show") and len(pictures) != len(calls(cell, "show")):
            yield f"{len(pictures)} pictures of {cell.source[:60]}"
        captions = [output.data.get("text/html", "") for output in cell.outputs if "data" in output]
        for output in (output for output in cell.outputs if "data" in output):
            if any(kind.startswith("image/") for kind in output.data):
                alt = output.metadata.get("image/png", {}).get("alt", "")
                if not alt.strip() or f"<small>{html.escape(alt, False)}</small>" not in captions:
                    yield f"a picture without a caption, of {cell.source[:60]}: use plots.show"


def code_cells_are_short(notebook, file):
    for cell in code_cells(notebook):
        if (lines := len(cell.source.splitlines())) > 20 and cell.metadata.get(
            "cellView"
        ) != "form":
            yield f"a cell of {lines} lines: {cell.source[:60]}"


def text_cells_are_short(notebook, file):
    for cell in text_cells(notebook):
        if (count := len(words(cell.source))) > 110:
            yield f"a cell of {count} words: {cell.source[:60]}"


def file_is_small_and_ends_its_lines_with_lf(notebook, file):
    content = file.read_bytes()
    if len(content) >= 1_000_000:
        yield f"{len(content):,} bytes"
    if b"\r" in content:
        yield "a carriage return"
    if not content.endswith(b"}\n"):
        yield "no line end at the end"


def nothing_generated_is_stale(notebook, file):
    make = frame.solution if is_solution(file) else frame.chapter
    if make(file, root(file)) != notebook:
        yield "stale: run python tools/frame.py"


def setup_comes_first(notebook, file):
    if code_cells(notebook)[0].id != "setup":
        yield "the first code cell has not the id setup"


def relative_links_lead_somewhere(notebook, file):
    for link in links(notebook):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = file.parent / path if path else file
        if not target.exists():
            yield f"{link} leads nowhere"
        elif anchor and target.suffix == ".ipynb" and anchor not in anchors(target):
            yield f"{link}: no such heading"


def anchors(file):
    """The headings of a notebook as JupyterLab and GitHub make anchors of them."""
    text = "\n".join(without_code(cell.source) for cell in text_cells(frame.read(file)))
    return {heading.strip().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.M)}


def title_has_the_number_of_the_file(notebook, file):
    if not notebook.cells[0].source.startswith(f"# {file.name[:2]} · "):
        yield f"{notebook.cells[0].source[:40]!r}: expected # {file.name[:2]} · …"


def chapters_open_and_end_alike(notebook, file):
    if is_solution(file):
        return
    text = "\n".join(cell.source for cell in text_cells(notebook)[:3])
    for part in ("What you'll do", "What you'll learn", "What you'll need"):
        if not re.search(rf"^\*\*{part}\.?\*\*", text, re.M):
            yield f"no **{part}.** at the beginning"
    text = "\n".join(cell.source for cell in text_cells(notebook))
    headings = re.findall(r"^## (.+)$", without_code(text), re.M)
    if not file.name.startswith("00") and headings[-3:] != [
        "Recap",
        "Exercises",
        "Further reading",
    ]:
        yield f"sections end in {headings[-3:]}: expected Recap, Exercises, Further reading"


RULES = [
    execution_counts_go_from_1_to_n,
    ids_are_unique,
    no_cell_fails,
    metadata_is_known,
    no_widgets,
    tags_are_known,
    half_are_compared,
    ignored_cells_are_followed_by_a_check,
    lenet_utils_is_imported,
    outputs_name_no_machine,
    sources_name_no_machine,
    checks_compare_what_was_computed,
    code_is_plain_python,
    pictures_are_stored_and_described,
    code_cells_are_short,
    text_cells_are_short,
    file_is_small_and_ends_its_lines_with_lf,
    nothing_generated_is_stale,
    setup_comes_first,
    relative_links_lead_somewhere,
    title_has_the_number_of_the_file,
    chapters_open_and_end_alike,
]


@pytest.mark.parametrize("file", ALL, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_notebook(file):
    notebook = frame.read(file)
    assert [f"{rule.__name__}: {what}" for rule in RULES for what in rule(notebook, file)] == []


def test_every_chapter_has_its_number_and_its_solutions():
    names = [file.name for file in frame.chapters()]
    assert [name[:3] for name in names] == [f"{number:02}_" for number in range(len(names))]
    assert [file.name for file in frame.solutions()] == names[1:]


def test_no_page_is_stale():
    for page, content in frame.pages(frame.ROOT).items():
        assert content == page.read_text("utf-8"), page


COUNTS = json.loads((frame.ROOT / frame.COUNTS).read_text("utf-8"))


def test_no_fewer_cells_are_compared_than_before():
    counts = {f"{file.parent.name}/{file.stem}": file for file in ALL}
    counts = {name: len(frame.compared(frame.read(file))) for name, file in counts.items()}
    stored = COUNTS["compared cells"]
    assert {name for name in stored if counts.get(name, 0) < stored[name]} == set()
    assert frame.counts(frame.ROOT) == (frame.ROOT / frame.COUNTS).read_text("utf-8"), "stale"


def test_no_fewer_tests_are_collected_than_before(request):
    whole = request.config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if not whole or request.config.getoption("keyword"):
        pytest.skip("not all tests are run")
    assert 0 < COUNTS["tests"] <= len(request.session.items)


# Every rule on a notebook that breaks it


NAME = "01_look.ipynb"
OPENING = """# 01 · Look closely

*What is there to see*

**What you'll do.** Look.

**What you'll learn.** Much.

**What you'll need.** Eyes."""


def code(source, *results, ignored=False, name=None):
    metadata = {"tags": [IGNORED]} if ignored else {}
    cell = new_code_cell(source, outputs=list(results), metadata=metadata)
    cell.id = name or cell.id
    return cell


def stdout(text):
    return new_output("stream", name="stdout", text=text)


def picture(caption):
    data = {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure size 100x100 with 1 Axes>"}
    metadata = {"image/png": {"alt": caption}}
    shown = new_output("display_data", {"text/html": f"<small>{caption}</small>"})
    return [new_output("display_data", data, metadata=metadata), shown]


def good_notebook():
    cells = [
        new_markdown_cell("# 01 · Look closely\n\n*What is there to see*"),
        new_markdown_cell(OPENING.partition("see*\n\n")[2]),
        code("", name="setup"),
        code("from lenet_utils import data\nprint(len(data.SUBSETS))", stdout("4\n")),
        code("plots.show(figure, 'A line')", *picture("A line")),
        code("print(time)", stdout("1.5 s\n"), ignored=True),
        code("check('seconds', time, '<', 9)", stdout("✓ seconds < 9\n")),
        new_markdown_cell("See [below](#Recap), and `![no](link)`.\n\n## Recap"),
        new_markdown_cell("## Exercises\n\n| a | table |\n|---|---|\n" + "| b | c |\n" * 60),
        new_markdown_cell("## Further reading\n\n```python\n" + "# not a heading\n" * 60 + "```"),
    ]
    for number, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), start=1):
        cell.execution_count = number
    metadata = {**copy.deepcopy(record.NOTEBOOK_METADATA), "recorded": {"seconds": 10}}
    return new_notebook(cells=cells, metadata=metadata)


@pytest.fixture(scope="module")
def good_repository(tmp_path_factory):
    """A repository of three chapters, of which the middle one is the good notebook."""
    tmp_path = tmp_path_factory.mktemp("good")
    for name in ("README.md", "requirements.txt", "pyproject.toml", frame.CARDS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(frame.ROOT / name, tmp_path / name)
    (tmp_path / "notebooks" / "solutions").mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / frame.COUNTS).write_text('{"compared cells": {}, "tests": 0}')
    for name, heading in [("00_begin", "00 · Begin"), ("02_end", "02 · End")]:
        cells = [new_markdown_cell(f"# {heading}\n\n*Words*"), code("", name="setup")]
        frame.write(new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    frame.write(good_notebook(), tmp_path / "notebooks" / NAME)
    (tmp_path / "notebooks" / "Untitled.ipynb").write_text("of a reader's, and no notebook at all")
    frame.main(tmp_path)
    return tmp_path


@pytest.fixture
def repository(good_repository, tmp_path):
    return Path(shutil.copytree(good_repository, tmp_path / "repository"))


def cell(number, **changes):
    """A way to break a notebook: change a cell."""
    return lambda notebook: notebook.cells[number].update(changes)


def replaced(number, old, new):
    """A way to break a notebook: other words in a cell."""

    def change(notebook):
        assert old in notebook.cells[number].source
        notebook.cells[number].source = notebook.cells[number].source.replace(old, new)

    return change


def output(number, **changes):
    return lambda notebook: notebook.cells[number].outputs[0].update(changes)


def with_metadata(**values):
    return lambda notebook: notebook.metadata.update(values)


def remove(number):
    return lambda notebook: notebook.cells.pop(number)


BROKEN = [
    (execution_counts_go_from_1_to_n, cell(3, execution_count=None)),
    (execution_counts_go_from_1_to_n, cell(3, execution_count=7)),
    (execution_counts_go_from_1_to_n, remove(3)),
    (ids_are_unique, cell(3, id="setup")),
    (no_cell_fails, output(3, name="stderr")),
    (no_cell_fails, cell(3, outputs=[new_output("error", ename="E", evalue="", traceback=[])])),
    (metadata_is_known, cell(3, metadata={"execution": {"iopub.execute_input": "2026-01-01"}})),
    (metadata_is_known, cell(0, metadata={"collapsed": True})),
    (metadata_is_known, with_metadata(widgets={})),
    (metadata_is_known, with_metadata(language_info={"name": "python", "version": "3.12.1"})),
    (metadata_is_known, with_metadata(recorded={})),
    (no_widgets, output(4, data={"application/vnd.jupyter.widget-view+json": {}})),
    (tags_are_known, cell(5, metadata={"tags": ["nbval-ignore-outputs"]})),
    (tags_are_known, cell(0, metadata={"tags": [IGNORED]})),
    (tags_are_known, cell(3, source="# NBVAL_IGNORE_OUTPUT\nfrom lenet_utils import data")),
    (
        half_are_compared,
        lambda notebook: [remove(4)(notebook), remove(3)(notebook), remove(4)(notebook)],
    ),
    (ignored_cells_are_followed_by_a_check, cell(6, source="# check(time)")),
    (ignored_cells_are_followed_by_a_check, remove(6)),
    (ignored_cells_are_followed_by_a_check, cell(6, metadata={"tags": [IGNORED]})),
    (lenet_utils_is_imported, cell(3, source="# from lenet_utils import data")),
    (lenet_utils_is_imported, cell(3, source="import lenet_utilities")),
    *[
        (outputs_name_no_machine, output(3, text=text))
        for text in [
            "/home/ada/digits/notebooks",
            "/Users/ada/digits",
            "C:\\Users\\ada",
            "in site-packages/torch",
            "torch 2.14",
            "Python: 3.12",
            "2.14.1+cpu",
            "<function f at 0x7f2b5c3d1e40>",
            "tensor(1., device='cuda:0')",
            "device(type='cpu')",
            "2026-01-01 12:30",
        ]
    ],
    (outputs_name_no_machine, output(4, data={"text/html": "<b>/home/ada</b>"})),
    (sources_name_no_machine, cell(3, source="open('/home/ada/digits')")),
    (sources_name_no_machine, cell(7, source="Look into C:\\Users.")),
    (checks_compare_what_was_computed, cell(6, source="check('seconds', 3, '<', 9)")),
    (checks_compare_what_was_computed, cell(6, source="check('n', (1, -2), '==', (1, 2 * 3))")),
    (
        checks_compare_what_was_computed,
        cell(6, source="lesson.check('seconds', 3, comparison='<', bound=9)"),
    ),
    (
        checks_compare_what_was_computed,
        cell(6, source="guards(('n', n, '==', 2), ('m', 3, '<', 9))"),
    ),
    (checks_compare_what_was_computed, cell(6, source="check('equal', a == b, '==', False)")),
    (code_is_plain_python, cell(3, source="data.SUBSETS;")),
    (code_is_plain_python, cell(3, source="if True:\n    !pip install torch")),
    (code_is_plain_python, cell(3, source="from IPython import display\ndisplay.clear_output()")),
    (code_is_plain_python, cell(3, source="data.SUBSETS?")),
    (pictures_are_stored_and_described, cell(4, outputs=[])),
    (pictures_are_stored_and_described, output(4, data={"text/plain": "<Figure size 1x1>"})),
    (pictures_are_stored_and_described, output(4, metadata={"image/png": {"alt": " "}})),
    (pictures_are_stored_and_described, output(4, metadata={"image/png": {"alt": "A curve"}})),
    (pictures_are_stored_and_described, output(4, data={"image/svg+xml": "<svg/>"})),
    (code_cells_are_short, cell(3, source="a = 1\n" * 21)),
    (text_cells_are_short, cell(7, source="word " * 111)),
    (text_cells_are_short, cell(8, source="| a | b |\n\n" + "word " * 111)),
    (file_is_small_and_ends_its_lines_with_lf, cell(3, source="#" * 1_000_000)),
    (nothing_generated_is_stale, replaced(2, "YOUR_GITHUB_NAME", "ada")),
    (nothing_generated_is_stale, cell(2, metadata={})),
    (nothing_generated_is_stale, cell(6, source="n = 1\nguards(('n', n, '==', 2))")),
    (nothing_generated_is_stale, replaced(0, "/blob/main/", "/blob/v1/")),
    (nothing_generated_is_stale, replaced(0, "(02_end.ipynb)", "(00_begin.ipynb)")),
    (nothing_generated_is_stale, replaced(0, "← [00 · Begin](00_begin.ipynb) · ", "")),
    (setup_comes_first, cell(2, id="another")),
    (relative_links_lead_somewhere, cell(7, source="See [there](03_more.ipynb).")),
    (relative_links_lead_somewhere, cell(7, source="<img src='none.png'>")),
    (relative_links_lead_somewhere, cell(7, source="See [there](#Nowhere).")),
    (relative_links_lead_somewhere, cell(7, source="See [there](00_begin.ipynb#Nowhere).")),
    (title_has_the_number_of_the_file, replaced(0, "# 01 ·", "# 02 ·")),
    (chapters_open_and_end_alike, replaced(1, "What you'll need", "What you need")),
    (chapters_open_and_end_alike, cell(7, source="## Summary")),
    (chapters_open_and_end_alike, remove(8)),
    (chapters_open_and_end_alike, cell(9, source="```python\n## Further reading\n```")),
]


def test_every_rule_has_a_notebook_that_breaks_it():
    assert {rule for rule, _ in BROKEN} == set(RULES)


def test_no_rule_complains_about_a_good_notebook(repository):
    file = repository / "notebooks" / NAME
    assert [what for rule in RULES for what in rule(frame.read(file), file)] == []


@pytest.mark.parametrize("rule, change", BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_rule_complains_about_a_broken_notebook(repository, rule, change):
    file = repository / "notebooks" / NAME
    notebook = frame.read(file)
    change(notebook)
    file.write_text(json.dumps(notebook) + "\n", "utf-8")
    assert list(rule(notebook, file)) != []


@pytest.mark.parametrize("old, new", [(b"\n", b"\r\n"), (b"}\n", b"}")])
def test_rule_complains_about_line_ends(repository, old, new):
    file = repository / "notebooks" / NAME
    file.write_bytes(file.read_bytes().replace(old, new))
    assert list(file_is_small_and_ends_its_lines_with_lf(frame.read(file), file)) != []
