"""What nbval does not see: the rules that every notebook follows.

A rule takes a notebook and its file and yields what is wrong. Each is also tried on an example that
breaks it, made from a good one at the end of this page: a rule that cannot fail proves nothing.
"""

import ast
import copy
import re
from urllib.parse import unquote

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from notebooks import NOTEBOOKS, all_notebooks, read

CELL_METADATA = {"tags", "picture"}
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
IGNORED = "nbval-ignore-output"


# What the rules look at


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def is_ignored(cell):
    return IGNORED in cell.metadata.get("tags", [])


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def output_texts(notebook):
    for output in outputs(notebook):
        yield output.get("text", "")
        for kind, content in output.get("data", {}).items():
            if not kind.startswith("image/"):
                yield str(content)


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


def without_tables(text):
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("|"))


def title(notebook):
    first = notebook.cells[0].source if notebook.cells else ""
    return first.splitlines()[0].removeprefix("# ") if first.startswith("# ") else ""


def is_solution(file):
    return file.parent.name == "solutions"


def root(file):
    """The repository that a notebook is in."""
    return file.parents[2] if is_solution(file) else file.parents[1]


def chapters(file):
    return sorted((root(file) / "notebooks").glob("*.ipynb"))


def address(file):
    return re.search(
        r'^Repository = "(.+)"', (root(file) / "pyproject.toml").read_text("utf-8"), re.M
    )[1]


# Rules for chapters and solutions


def execution_counts_go_from_1_to_n(notebook, file):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}: record the notebook"


def no_cell_fails(notebook, file):
    for output in outputs(notebook):
        if output.output_type == "error":
            yield f"stored error: {output.ename}: {output.evalue}"
        if output.get("name") == "stderr":
            yield f"output on stderr: {output.text[:80]}"


def metadata_is_known(notebook, file):
    if notebook.metadata != NOTEBOOK_METADATA:
        yield f"metadata of the notebook: {dict(notebook.metadata)}"
    for cell in notebook.cells:
        if unknown := set(cell.metadata) - CELL_METADATA:
            yield f"metadata of a cell: {sorted(unknown)}"
    for output in outputs(notebook):
        for kind, values in output.get("metadata", {}).items():
            if kind != "image/png" or set(values) != {"alt"}:
                yield f"metadata of an output: {kind}: {values}"


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


def two_thirds_are_compared(notebook, file):
    with_output = [cell for cell in code_cells(notebook) if cell.outputs]
    compared = [cell for cell in with_output if not is_ignored(cell)]
    if 3 * len(compared) < 2 * len(with_output):
        yield f"of {len(with_output)} cells with output only {len(compared)} are compared"


def ignored_cells_are_followed_by_a_check(notebook, file):
    cells = code_cells(notebook)
    for number, cell in enumerate(cells, start=1):
        if is_ignored(cell):
            compared = [later for later in cells[number:] if not is_ignored(later)]
            if not compared or not calls(compared[0], "check"):
                yield f"after the ignored cell [{number}] the next compared cell checks nothing"


def lenet_utils_is_imported(notebook, file):
    names = set()
    for cell in code_cells(notebook):
        for node in ast.walk(tree(cell)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                names.add(node.module)
    if not any(name and name.split(".")[0] == "lenet_utils" for name in names):
        yield "lenet_utils is not imported"


MACHINE = {
    "path": r"/(?:home|root|Users|tmp|work|content|usr|var)/\w|\b[A-Za-z]:\\\w|site-packages",
    "version": r"\b\d+\.\d+\.\d+(?:\+\w+)?\b|(?i:\b(?:python|torch\w*|numpy|matplotlib)\W+\d+\.\d)",
    "address": r"\b0x[0-9a-f]{6,}\b",
    "device": r"device\(type=|device='|\b(?:cuda|mps|xpu):\d",
    "time": r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d",
}


def outputs_name_no_machine(notebook, file):
    for text in output_texts(notebook):
        for what, pattern in MACHINE.items():
            if found := re.search(pattern, text):
                yield f"a {what} in an output: {found[0]}"


def sources_name_no_machine(notebook, file):
    for cell in notebook.cells:
        if found := re.search(r"/(?:home|root|Users)/\w+|\b[A-Za-z]:\\\w+", cell.source):
            yield f"a path in a cell: {found[0]}"


def is_literal(node):
    return not any(isinstance(part, ast.Name) for part in ast.walk(node))


def checks_compare_what_was_computed(notebook, file):
    for cell in code_cells(notebook):
        for call in calls(cell, "check"):
            given = dict(zip(["claim", "value", "comparison", "bound"], call.args, strict=False))
            given |= {keyword.arg: keyword.value for keyword in call.keywords}
            if is_literal(given["value"]) and is_literal(given["bound"]):
                yield f"literals on both sides: {ast.unparse(call)}"


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


def pictures_have_alternative_texts(notebook, file):
    for output in outputs(notebook):
        for kind in output.get("data", {}):
            if kind.startswith("image/"):
                alt = output.metadata.get(kind, {}).get("alt", "")
                if not alt.strip():
                    yield f"{kind} without an alternative text: use plots.show"


def code_cells_are_short(notebook, file):
    for cell in code_cells(notebook):
        if (lines := len(cell.source.splitlines())) > 20:
            yield f"a cell of {lines} lines: {cell.source[:60]}"


def text_cells_are_short(notebook, file):
    for cell in text_cells(notebook):
        words = len(without_tables(without_code(cell.source)).split())
        if words > 110:
            yield f"a cell of {words} words: {cell.source[:60]}"


def file_is_small_and_ends_its_lines_with_lf(notebook, file):
    content = file.read_bytes()
    if len(content) >= 1_000_000:
        yield f"{len(content):,} bytes"
    if b"\r" in content:
        yield "a carriage return"
    if not content.endswith(b"}\n"):
        yield "no line end at the end"


def setup_cell_is_everywhere_the_same(notebook, file):
    setup = code_cells(notebook)[0]
    if setup.source != code_cells(read(chapters(file)[0]))[0].source:
        yield f"another setup cell than that of {chapters(file)[0].name}"
    values = [
        node.value.value
        for node in tree(setup).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ADDRESS"
    ]
    if values != [address(file)]:
        yield f"ADDRESS {values} is not that of pyproject.toml: use tools/publish.py"


def badge_opens_this_notebook_on_colab(notebook, file):
    place = address(file).removeprefix("https://github.com/")
    path = file.relative_to(root(file)).as_posix()
    target = f"https://colab.research.google.com/github/{place}/blob/main/{path}"
    found = [link for link in links(notebook) if "/colab.research.google.com/github/" in link]
    if found != [target] or target not in notebook.cells[0].source:
        yield f"expected one badge to {target}, in the first cell; got {found}"


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
    text = "\n".join(without_code(cell.source) for cell in text_cells(read(file)))
    return {heading.strip().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.M)}


def title_has_the_number_of_the_file(notebook, file):
    if not re.match(rf"{file.name[:2]} · \S", title(notebook)):
        yield f"title {title(notebook)!r} of {file.name}: expected # {file.name[:2]} · …"


# Rules for chapters


def opening_says_what_to_expect(notebook, file):
    text = "\n".join(cell.source for cell in text_cells(notebook)[:3])
    for part in ("What you'll do", "What you'll learn", "What you'll need"):
        if not re.search(rf"^\*\*{part}\.?\*\*", text, re.M):
            yield f"no **{part}.** at the beginning"


def sections_at_the_end(notebook, file):
    if file.name.startswith("00"):
        return
    text = "\n".join(cell.source for cell in text_cells(notebook))
    headings = re.findall(r"^## (.+)$", without_code(text), re.M)
    if headings[-3:] != ["Recap", "Exercises", "Further reading"]:
        yield f"sections end in {headings[-3:]}: expected Recap, Exercises, Further reading"


def navigation_leads_to_the_neighbours(notebook, file):
    files = chapters(file)
    place = files.index(file)
    neighbours = files[max(place - 1, 0) : place] + files[place + 1 : place + 2]
    expected = [(title(read(other)), other.name) for other in neighbours]
    lines = [line for line in notebook.cells[0].source.splitlines() if "(../README.md)" in line]
    found = re.findall(r"\[([^]]+)\]\(([^)]+\.ipynb)\)", lines[0]) if lines else None
    if found != expected:
        yield f"navigation line leads to {found}: expected {expected}"


ALL_RULES = [
    execution_counts_go_from_1_to_n,
    no_cell_fails,
    metadata_is_known,
    no_widgets,
    tags_are_known,
    two_thirds_are_compared,
    ignored_cells_are_followed_by_a_check,
    lenet_utils_is_imported,
    outputs_name_no_machine,
    sources_name_no_machine,
    checks_compare_what_was_computed,
    code_is_plain_python,
    pictures_have_alternative_texts,
    code_cells_are_short,
    text_cells_are_short,
    file_is_small_and_ends_its_lines_with_lf,
    setup_cell_is_everywhere_the_same,
    badge_opens_this_notebook_on_colab,
    relative_links_lead_somewhere,
    title_has_the_number_of_the_file,
]
CHAPTER_RULES = [
    opening_says_what_to_expect,
    sections_at_the_end,
    navigation_leads_to_the_neighbours,
]


@pytest.mark.parametrize(
    "file", all_notebooks(), ids=lambda file: file.relative_to(NOTEBOOKS).as_posix()
)
@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.__name__)
def test_notebook(rule, file):
    assert list(rule(read(file), file)) == []


@pytest.mark.parametrize("file", chapters(NOTEBOOKS / "any"), ids=lambda file: file.stem)
@pytest.mark.parametrize("rule", CHAPTER_RULES, ids=lambda rule: rule.__name__)
def test_chapter(rule, file):
    assert list(rule(read(file), file)) == []


def not_consecutive(names):
    return [name for number, name in enumerate(names) if not name.startswith(f"{number:02}_")]


def test_chapters_are_numbered_consecutively():
    names = [file.name for file in chapters(NOTEBOOKS / "any")]
    assert names
    assert not_consecutive(names) == []
    assert not_consecutive(["00_a", "02_b"]) == ["02_b"]
    assert not_consecutive(["01_a"]) == ["01_a"]


def test_every_solution_is_of_a_chapter():
    names = {file.name for file in chapters(NOTEBOOKS / "any")}
    assert {file.name for file in all_notebooks() if is_solution(file)} <= names


# Every rule on a notebook that breaks it


NAME = "01_look.ipynb"
BADGE = "https://colab.research.google.com/github/ada/digits/blob/main/notebooks/"
OPENING = f"""# 01 · Look closely

← [00 · Begin](00_begin.ipynb) · [README](../README.md) · next: [02 · End](02_end.ipynb) →

[![Open in Colab](https://colab.research.google.com/badge.svg)]({BADGE}{NAME})

**What you'll do.** Look.

**What you'll learn.** Much.

**What you'll need.** Eyes."""
SETUP = 'ADDRESS = "https://github.com/ada/digits"'


def code(source, *results, ignored=False):
    return new_code_cell(
        source, outputs=list(results), metadata={"tags": [IGNORED]} if ignored else {}
    )


def stdout(text):
    return new_output("stream", name="stdout", text=text)


def picture(alt):
    data = {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure size 100x100 with 1 Axes>"}
    return new_output("display_data", data, metadata={"image/png": {"alt": alt}})


def good_notebook():
    cells = [
        new_markdown_cell(OPENING),
        code(SETUP),
        code("from lenet_utils import data\nprint(len(data.SUBSETS))", stdout("4\n")),
        code("plots.show(figure, 'A line')", picture("A line")),
        code("print(time)", stdout("1.5 s\n"), ignored=True),
        code("check('seconds', time, '<', 9)", stdout("✓ seconds < 9\n")),
        new_markdown_cell("See [below](#Recap), and `![no](link)`.\n\n## Recap"),
        new_markdown_cell("## Exercises\n\n| a | table |\n|---|---|\n" + "| b | c |\n" * 60),
        new_markdown_cell("## Further reading\n\n```python\n" + "# not a heading\n" * 60 + "```"),
    ]
    for number, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), start=1):
        cell.execution_count = number
    return new_notebook(cells=cells, metadata=copy.deepcopy(NOTEBOOK_METADATA))


@pytest.fixture
def repository(tmp_path):
    """A repository of three chapters, of which the middle one is the good notebook."""
    (tmp_path / "README.md").write_text("")
    (tmp_path / "pyproject.toml").write_text('Repository = "https://github.com/ada/digits"\n')
    (tmp_path / "notebooks" / "solutions").mkdir(parents=True)
    for name, heading in [("00_begin", "00 · Begin"), ("02_end", "02 · End")]:
        cells = [new_markdown_cell(f"# {heading}"), code(SETUP)]
        write(new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    write(good_notebook(), tmp_path / "notebooks" / NAME)
    return tmp_path


def write(notebook, file):
    file.write_bytes((nbformat.writes(notebook) + "\n").encode())


def cell(number, **changes):
    """A way to break a notebook: change a cell."""

    def change(notebook):
        notebook.cells[number].update(changes)

    return change


def replaced(old, new):
    """A way to break a notebook: other words in its first cell."""

    def change(notebook):
        assert old in notebook.cells[0].source
        notebook.cells[0].source = notebook.cells[0].source.replace(old, new)

    return change


def output(number, **changes):
    def change(notebook):
        notebook.cells[number].outputs[0].update(changes)

    return change


def with_metadata(**values):
    def change(notebook):
        notebook.metadata.update(values)

    return change


def remove(number):
    def change(notebook):
        del notebook.cells[number]

    return change


BROKEN = [
    (execution_counts_go_from_1_to_n, cell(2, execution_count=None)),
    (execution_counts_go_from_1_to_n, cell(2, execution_count=7)),
    (execution_counts_go_from_1_to_n, remove(2)),
    (no_cell_fails, output(2, name="stderr")),
    (no_cell_fails, cell(2, outputs=[new_output("error", ename="E", evalue="", traceback=[])])),
    (metadata_is_known, cell(2, metadata={"execution": {"iopub.execute_input": "2026-01-01"}})),
    (metadata_is_known, cell(0, metadata={"collapsed": True})),
    (metadata_is_known, with_metadata(widgets={})),
    (metadata_is_known, with_metadata(language_info={"name": "python", "version": "3.12.1"})),
    (metadata_is_known, output(3, metadata={"image/png": {"alt": "A line", "width": 5}})),
    (no_widgets, output(3, data={"application/vnd.jupyter.widget-view+json": {}})),
    (tags_are_known, cell(4, metadata={"tags": ["nbval-ignore-outputs"]})),
    (tags_are_known, cell(0, metadata={"tags": [IGNORED]})),
    (tags_are_known, cell(2, source="# NBVAL_IGNORE_OUTPUT\nfrom lenet_utils import data")),
    (tags_are_known, cell(2, source="#PYTEST_VALIDATE_IGNORE_OUTPUT")),
    (two_thirds_are_compared, cell(2, metadata={"tags": [IGNORED]})),
    (ignored_cells_are_followed_by_a_check, cell(5, source="print(time)")),
    (ignored_cells_are_followed_by_a_check, cell(5, source="# check(time)")),
    (ignored_cells_are_followed_by_a_check, remove(5)),
    (ignored_cells_are_followed_by_a_check, cell(5, metadata={"tags": [IGNORED]})),
    (lenet_utils_is_imported, cell(2, source="# from lenet_utils import data")),
    (lenet_utils_is_imported, cell(2, source="import lenet_utilities")),
    *[
        (outputs_name_no_machine, output(2, text=text))
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
    (outputs_name_no_machine, output(3, data={"text/html": "<b>/home/ada</b>"})),
    (sources_name_no_machine, cell(2, source="open('/home/ada/digits')")),
    (sources_name_no_machine, cell(6, source="Look into C:\\Users.")),
    (checks_compare_what_was_computed, cell(5, source="check('seconds', 3, '<', 9)")),
    (checks_compare_what_was_computed, cell(5, source="check('n', (1, -2), '==', (1, 2 * 3))")),
    (
        checks_compare_what_was_computed,
        cell(5, source="lesson.check('seconds', 3, comparison='<', bound=9)"),
    ),
    (code_is_plain_python, cell(2, source="data.SUBSETS;")),
    (code_is_plain_python, cell(2, source="if True:\n    !pip install torch")),
    (code_is_plain_python, cell(2, source="%matplotlib inline")),
    (code_is_plain_python, cell(2, source="from IPython import display\ndisplay.clear_output()")),
    (code_is_plain_python, cell(2, source="data.SUBSETS?")),
    (pictures_have_alternative_texts, output(3, metadata={})),
    (pictures_have_alternative_texts, output(3, metadata={"image/png": {"alt": " "}})),
    (pictures_have_alternative_texts, output(3, data={"image/svg+xml": "<svg/>"})),
    (code_cells_are_short, cell(2, source="a = 1\n" * 21)),
    (text_cells_are_short, cell(6, source="word " * 111)),
    (text_cells_are_short, cell(7, source="| a | b |\n\n" + "word " * 111)),
    (file_is_small_and_ends_its_lines_with_lf, cell(2, source="#" * 1_000_000)),
    (setup_cell_is_everywhere_the_same, cell(1, source=SETUP + "\n")),
    (setup_cell_is_everywhere_the_same, cell(1, source=SETUP.replace("ada", "bob"))),
    (setup_cell_is_everywhere_the_same, remove(1)),
    (badge_opens_this_notebook_on_colab, replaced("/github/ada/", "/github/bob/")),
    (badge_opens_this_notebook_on_colab, replaced(f"notebooks/{NAME}", "notebooks/00_begin.ipynb")),
    (badge_opens_this_notebook_on_colab, replaced(BADGE, "https://example.org/")),
    (relative_links_lead_somewhere, cell(6, source="See [there](03_more.ipynb).")),
    (relative_links_lead_somewhere, cell(6, source="See [there](../pictures/none.png).")),
    (relative_links_lead_somewhere, cell(6, source="<img src='none.png'>")),
    (relative_links_lead_somewhere, cell(6, source="See [there](#Nowhere).")),
    (relative_links_lead_somewhere, cell(6, source="See [there](00_begin.ipynb#Nowhere).")),
    (title_has_the_number_of_the_file, replaced("# 01 ·", "# 02 ·")),
    (title_has_the_number_of_the_file, replaced("# 01 ·", "## 01 ·")),
    (title_has_the_number_of_the_file, replaced("01 · Look", "01: Look")),
    (opening_says_what_to_expect, replaced("What you'll need", "What you need")),
    (opening_says_what_to_expect, replaced("**What you'll do.**", "You'll do this:")),
    (sections_at_the_end, cell(6, source="## Summary")),
    (sections_at_the_end, remove(7)),
    (sections_at_the_end, cell(8, source="```python\n## Further reading\n```")),
    (navigation_leads_to_the_neighbours, replaced("(02_end.ipynb)", "(00_begin.ipynb)")),
    (navigation_leads_to_the_neighbours, replaced("← [00 · Begin](00_begin.ipynb) · ", "")),
    (navigation_leads_to_the_neighbours, replaced("00 · Begin", "00 · Start")),
    (navigation_leads_to_the_neighbours, replaced("(../README.md)", "(README.md)")),
]


def test_every_rule_has_a_notebook_that_breaks_it():
    assert {rule for rule, _ in BROKEN} == {*ALL_RULES, *CHAPTER_RULES}


@pytest.mark.parametrize("rule", [*ALL_RULES, *CHAPTER_RULES], ids=lambda rule: rule.__name__)
def test_no_rule_complains_about_a_good_notebook(repository, rule):
    file = repository / "notebooks" / NAME
    assert list(rule(read(file), file)) == []


@pytest.mark.parametrize("rule, change", BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_rule_complains_about_a_broken_notebook(repository, rule, change):
    file = repository / "notebooks" / NAME
    notebook = read(file)
    change(notebook)
    write(notebook, file)
    assert list(rule(read(file), file)) != []


@pytest.mark.parametrize("old, new", [(b"\n", b"\r\n"), (b"}\n", b"}")])
def test_rule_complains_about_line_ends(repository, old, new):
    file = repository / "notebooks" / NAME
    file.write_bytes(file.read_bytes().replace(old, new))
    assert list(file_is_small_and_ends_its_lines_with_lf(read(file), file)) != []
