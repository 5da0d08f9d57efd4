"""The drawing pad in JupyterLab, as a reader uses it: mouse, finger, keyboard; desktop and phone.

The browser is that of conftest.py.
"""

import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

import frame
import pytest
from paper import Paper
from playwright.sync_api import expect

PAD = "pad"  # what the chapter calls its last one
NOTEBOOK = frame.read(frame.ROOT / "notebooks" / "05_your_own_digits.ipynb")
NEEDED = {"setup", "imports", "own-head", "own-pad"}  # by that; nbval runs the rest
NOTEBOOK.cells = [cell for cell in NOTEBOOK.cells if cell.id in NEEDED]
TOKEN = "a-reader"
QUIET = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
ONE = [[(140, 50), (140, 230)]]
THREE = [[(85, 60), (180, 60), (125, 130), (175, 150), (190, 190), (150, 230), (90, 220)]]
SEVEN = [[(80, 60), (200, 60), (130, 230)]]
expect.set_options(timeout=30_000)  # beside other tests all is slow


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """Of the notebook in a JupyterLab of its own, with settings of its own."""
    folder = tmp_path_factory.mktemp("jupyter")
    frame.write(NOTEBOOK, folder / "digits.ipynb")
    kinds = ("JUPYTER_CONFIG", "JUPYTER_DATA", "JUPYTER_RUNTIME")
    kinds += ("JUPYTERLAB_SETTINGS", "JUPYTERLAB_WORKSPACES")
    settings = {f"{kind}_DIR": str(folder / kind) for kind in kinds}
    quiet = folder / "JUPYTERLAB_SETTINGS" / "@jupyterlab" / "apputils-extension"
    quiet /= "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps(QUIET))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--port={port}", "--no-browser", "--allow-root", "--LabApp.expose_app_in_browser=1"]
    options += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options],
            env=os.environ | settings | {"PYTHONPATH": str(frame.ROOT)},
            stdout=log,
            stderr=log,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(300):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{address}/api?token={TOKEN}").close()
                    break
                assert server.poll() is None, (folder / "log").read_text("utf-8")
                time.sleep(0.1)
            yield f"{address}/lab/tree/digits.ipynb?reset&token={TOKEN}"
        finally:
            server.terminate()
            server.wait(10)


class Reader(Paper):
    """A page with the notebook, all cells run, and what one does there."""

    def __init__(self, context, address):
        self.page = context.new_page()
        self.problems, self.hosts = [], set()
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._console)
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.goto(address)
        self.page.set_default_timeout(60_000)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function(
            "jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )
        if self.page.viewport_size["width"] < 600:  # a phone's reader wants no file browser
            self.page.evaluate("jupyterapp.shell.collapseLeft()")
        self.page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        self.pad = self.page.locator(".jp-Notebook .pad").last
        self.pad.scroll_into_view_if_needed()
        self.paper = self.pad.get_by_role("application")
        self.sentence = self.pad.locator("[aria-live]")  # a screen reader's; the visible one:
        self.visible_sentence = self.pad.locator(".pad-sentence")
        self.shares = self.pad.get_by_role("listitem")

    def _console(self, message):
        if message.type == "error":
            self.problems.append(message.text)

    def press(self, name):
        self.pad.get_by_role("button", name=name, exact=True).click()

    def reads(self, digit):
        expect(self.sentence).to_have_text(re.compile(rf"^The network reads {digit} \(\d+ %\)\.$"))

    def is_empty(self):
        expect(self.sentence).to_have_text("Draw a digit.")
        assert [row.inner_text().strip() for row in self.shares.all()] == [*"0123456789"]

    def python(self, code):
        """What the notebook's kernel prints."""
        return self.page.evaluate(
            """async (code) => {
                const { kernel } = jupyterapp.shell.currentWidget.sessionContext.session;
                const future = kernel.requestExecute({ code, store_history: false });
                let text = "";
                future.onIOPub = ({ content }) => (text += content.text ?? content.evalue ?? "");
                await future.done;
                return text.trim();
            }""",
            code,
        )


@pytest.fixture(scope="module")
def reader(browser, address):
    reader = Reader(browser.new_context(viewport={"width": 1100, "height": 900}), address)
    yield reader
    reader.page.context.close()


@pytest.fixture(autouse=True)
def clean(request):
    if "reader" in request.fixturenames:
        reader = request.getfixturevalue("reader")
        reader.press("Clear")
        reader.is_empty()


def test_all_cells_run(reader):
    cells = reader.page.evaluate("jupyterapp.shell.currentWidget.content.model.toJSON().cells")
    cells = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert [output for output in outputs if output["output_type"] == "error"] == []


@pytest.mark.parametrize("digit, strokes", [(1, ONE), (3, THREE), (7, SEVEN)])
def test_drawn_with_the_mouse(reader, digit, strokes):
    reader.draw(strokes)
    reader.reads(digit)
    shares = [int(row.inner_text().split()[1]) for row in reader.shares.all()]
    assert max(shares) == shares[digit] and 97 <= sum(shares) <= 103
    widths = [bar.bounding_box()["width"] for bar in reader.pad.locator(".pad-bar").all()]
    assert max(widths) == widths[digit] > 20


def test_undo_and_clear(reader):
    reader.draw(SEVEN)
    reader.reads(7)
    reader.draw([[(60, 250), (220, 250)]])  # more than a seven
    reader.press("Undo")
    reader.reads(7)
    reader.press("Clear")
    reader.is_empty()
    reader.press("Undo")
    reader.reads(7)
    reader.draw(ONE)
    reader.page.keyboard.press("Control+z")  # the paper has the focus
    reader.reads(7)


def test_drawn_with_a_finger_the_page_stays(reader):
    def touch(kind, *points):
        at = [dict(zip("xy", reader.place(*point), strict=True)) for point in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    session = reader.page.context.new_cdp_session(reader.page)
    before = reader.paper.bounding_box()
    touch("touchStart", ONE[0][0])
    for y in range(60, 230, 10):
        touch("touchMove", (140, y))
    touch("touchEnd")
    reader.reads(1)
    assert reader.paper.bounding_box() == before


def test_drawn_with_the_keyboard_alone(reader):
    before = reader.python("print(len(get_ipython().history_manager.input_hist_raw))")
    box = reader.paper.bounding_box()
    reader.paper.focus()
    for key in ["Shift+ArrowUp"] * 2 + ["Space"] + ["ArrowDown"] * 16 + ["Escape", "ArrowLeft"]:
        reader.page.keyboard.press(key)
    reader.reads(1)
    stroke = {"width": 20, "points": [[140, y] for y in range(60, 221, 10)]}
    drawing = json.loads(reader.python(f"import json; print(json.dumps({PAD}.drawing['strokes']))"))
    assert drawing == [stroke]
    # Neither the notebook's commands nor scrolling: no cell was added, run, cut or left.
    for key in ("a", "b", "x", "y", "m", "Shift+Enter", "Escape", "PageDown"):
        reader.page.keyboard.press(key)
    reader.page.keyboard.press("Tab")
    assert reader.page.evaluate("document.activeElement.textContent") == "Undo"
    reader.page.keyboard.press("b")
    assert reader.paper.bounding_box() == box
    after = reader.python("print(len(get_ipython().history_manager.input_hist_raw))")
    assert after == before
    assert reader.page.locator(".jp-Notebook .jp-Cell").count() == len(NOTEBOOK.cells)


def test_a_screen_reader_speaks_at_the_end_of_a_stroke(reader):
    """What is seen does not wait."""
    reader.page.mouse.move(*reader.place(140, 50))
    reader.page.mouse.down()
    reader.page.mouse.move(*reader.place(140, 230), steps=12)
    expect(reader.shares.nth(1)).to_contain_text("%")
    expect(reader.visible_sentence).to_contain_text("The network reads")
    expect(reader.sentence).to_have_text("Draw a digit.")
    reader.page.mouse.up()
    reader.reads(1)
    expect(reader.visible_sentence).to_have_text(reader.sentence.inner_text())


def test_kept_drawings_are_in_the_kernel(reader):
    reader.press("Keep")
    expect(reader.pad.get_by_text("Draw a digit first")).to_be_visible()
    reader.draw(SEVEN)
    reader.reads(7)
    reader.pad.get_by_label("It is a").select_option("7")
    reader.press("Keep")
    expect(reader.pad.get_by_text("1 kept", exact=True)).to_be_visible()
    reader.is_empty()
    reader.draw(ONE)
    reader.press("Keep")
    expect(reader.pad.get_by_text("2 kept, 1 without a label")).to_be_visible()
    kept = json.loads(reader.python(f"import json; print(json.dumps({PAD}.kept))"))
    assert [drawing["label"] for drawing in kept] == [7, None]
    points = kept[0]["strokes"][0]["points"]
    assert [[round(n) for n in points[place]] for place in (0, -1)] == [[80, 60], [130, 230]]
    assert reader.python(f"{PAD}.kept.clear(); print(len({PAD}.kept))") == "0"


def test_a_brush_has_a_width(reader):
    reader.pad.get_by_label("Brush").fill("32")
    reader.draw(ONE)
    reader.reads(1)
    assert reader.python(f"print({PAD}.drawing['strokes'][0]['width'])") == "32"
    reader.pad.get_by_label("Brush").fill("20")


def test_a_slow_kernel_gets_no_queue_and_its_answer_is_the_last(reader):
    slow = "lambda picture: (n.append(1), sleep(0.6), old(picture))[2]"
    reader.python(f"n, old = [], {PAD}.prepare; from time import sleep; {PAD}.prepare = {slow}")
    reader.draw(THREE)
    reader.reads(3)
    received = int(reader.python(f"{PAD}.prepare = old; print(len(n))"))
    assert 2 <= received < 20  # of some 40 moves


def test_two_views_show_the_same(reader):
    reader.draw(SEVEN)
    reader.reads(7)
    reader.page.evaluate("jupyterapp.commands.execute('notebook:create-output-view')")
    views = reader.page.locator(".pad")
    expect(views).to_have_count(2)
    expect(views.nth(1).locator("[aria-live]")).to_have_text(re.compile("reads 7"))
    views.nth(1).get_by_role("button", name="Clear").click()
    for view in views.all():
        expect(view.locator("[aria-live]")).to_have_text("Draw a digit.")
    reader.page.evaluate("jupyterapp.shell.currentWidget.close()")
    expect(views).to_have_count(1)
    reader.draw(ONE)  # on empty paper
    reader.reads(1)
    assert reader.python(f"print(len({PAD}.drawing['strokes']))") == "1"


def test_every_control_has_a_name(reader):
    controls = reader.pad.locator("button, input, select, summary, [tabindex]")
    names = ["Paper to draw on", "Undo", "Clear", "Brush", "Draw with the keyboard", "It is a"]
    for control, name in zip(controls.all(), [*names, "Keep"], strict=True):
        expect(control).to_have_accessible_name(re.compile(f"^{name}"))
    expect(reader.paper).to_have_accessible_description(re.compile("^Arrow keys move the pen"))


def test_the_bars_follow_at_once(reader, record_property, capsys):
    reader.page.evaluate(
        """window.times = []; const pad = document.querySelector(".pad");
        new MutationObserver(() => times.push(Number(pad.dataset.milliseconds)))
            .observe(pad, { attributeFilter: ["data-milliseconds"] });"""
    )
    reader.draw(THREE + SEVEN + ONE)
    reader.page.wait_for_timeout(500)
    times = reader.page.evaluate("times")
    record_property("milliseconds", statistics.median(times))
    with capsys.disabled():
        print(f"\nmilliseconds to the bars: median {statistics.median(times):.0f} of {len(times)}")
    assert len(times) > 5 and statistics.median(times) < 1000


def test_a_phone_shows_all_of_it(browser, address):
    context = browser.new_context(viewport={"width": 375, "height": 800}, has_touch=True)
    reader = Reader(context, address)
    reader.draw(THREE)
    reader.reads(3)
    wide = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).length"
    assert reader.pad.locator("xpath=descendant-or-self::*").evaluate_all(wide) == 0
    box = reader.pad.bounding_box()
    assert 0 <= box["x"] and box["x"] + box["width"] <= 375
    context.close()


def test_nothing_from_elsewhere_and_no_errors(reader, address):
    assert reader.hosts == {address.split("/")[2]}
    assert reader.problems == []
