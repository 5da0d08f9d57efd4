"""The site as it is built: its files, its pages in a browser, and the archive for classrooms.

The browser is that of conftest.py; its screen is that of a desk, and once of a phone.
"""

import base64
import functools
import gzip
import hashlib
import html.parser
import http.server
import importlib
import importlib.util
import inspect
import posixpath
import re
import threading
import urllib.parse
import zipfile
from pathlib import Path

import book
import classroom
import frame
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from playwright.sync_api import expect

DESK, PHONE = (1200, 900), (375, 800)
LARGEST = 1_000_000  # bytes of the first page with all that it loads, compressed as they are sent
CHAPTER = "notebooks/04_evaluation.html"
WITH_PAGE = importlib.util.find_spec("lenet_utils.page") is not None  # the one that reads a digit
expect.set_options(timeout=30_000)  # beside other tests all is slow


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of its pages, built as README's command builds them."""
    return book.build(tmp_path_factory.mktemp("site"))


def test_links_of_the_pages_lead_somewhere_where_they_stand_too():
    for page in book.SITE.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


class Page(html.parser.HTMLParser):
    """What a page leads to and loads, its pictures, and the places one can be led to."""

    SOURCES = {"img": "src", "script": "src", "iframe": "src", "link": "href"}

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.images, self.ids = [], [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif source := found.get(self.SOURCES.get(tag)):
            self.loads.append(source)
        if tag == "img":
            self.images.append(found)


@pytest.fixture(scope="session")
def pages(site):
    """All pages by their addresses, without the one that reads a digit, which has its own tests."""
    files = {path.relative_to(site).as_posix(): path for path in site.rglob("*.html")}
    files = {name: path for name, path in files.items() if not name.startswith("_static/")}
    return {name: Page(path.read_text("utf-8")) for name, path in files.items()}


def is_elsewhere(address):
    return re.match(r"(?:\w+:)?//|mailto:|data:", address) is not None


def place(name, address):
    """The file that a page's address means, and the place in it."""
    parts = urllib.parse.urlsplit(address)
    path = posixpath.join(posixpath.dirname(name), urllib.parse.unquote(parts.path))
    return posixpath.normpath(path) if parts.path else name, urllib.parse.unquote(parts.fragment)


def broken(site, pages):
    """What pages lead to or load within the site, and is not there."""
    for name, page in pages.items():
        for address in page.links + page.loads:
            path, anchor = place(name, address)
            if is_elsewhere(address):
                continue
            if not (site / path).is_file():
                yield name, address
            elif anchor and path in pages and anchor not in pages[path].ids:
                yield name, address


def plain(text):
    """What one reads of a part of a page."""
    return " ".join(html.unescape(re.sub("<[^>]+>", "", text)).split())


def figures(cells):
    """The figures that cells store: what they show, by the names they have on the site."""
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    pngs = [output for output in outputs if "image/png" in output.get("data", {})]
    names = [hashlib.sha256(base64.b64decode(o.data["image/png"])).hexdigest() for o in pngs]
    return {n: o.metadata["image/png"]["alt"] for n, o in zip(names, pngs, strict=True)}


def both(path):
    """A chapter and its solutions, if it has some."""
    return [file for file in (path, path.parent / "solutions" / path.name) if file.exists()]


# Files


def test_no_link_is_broken(site, pages):
    assert len(pages) > 2 * len(frame.chapters())
    assert sum(len(page.links) for page in pages.values()) > 1000
    assert [*broken(site, pages)] == []


@pytest.mark.parametrize("text", ['<a href="no.html">', '<img src="no.png">', '<a href="#no">'])
def test_what_is_broken_is_found(site, pages, text):
    page = Page(text)
    found = [*broken(site, pages | {"index.html": page})]
    assert ("index.html", (page.links + page.loads)[0]) in found


def test_nothing_is_loaded_from_elsewhere(site, pages):
    loads = [(name, load) for name, page in pages.items() for load in page.loads]
    assert [load for load in loads if is_elsewhere(load[1])] == []
    sheets = [path.read_text("utf-8") for path in site.rglob("*.css")]
    assert [sheet for sheet in sheets if re.search(r"(url\(|@import)\W*https?://", sheet)] == []


def test_each_figure_is_there_with_its_words(pages):
    for path in frame.chapters():
        stored = figures(cell for file in both(path) for cell in frame.read(file).cells)
        images = pages[f"notebooks/{path.stem}.html"].images
        found = {Path(image["src"]).stem: image.get("alt") for image in images}
        assert stored and all(stored.values())
        assert {name: found.get(name) for name in stored} == stored


def test_no_picture_is_without_words(pages):
    images = [(name, image) for name, page in pages.items() for image in page.images]
    assert len(images) > 50
    assert [(name, image["src"]) for name, image in images if not image.get("alt")] == []


def test_each_notebook_can_be_had_and_opened_on_colab(site, pages):
    for chapter in frame.chapters():
        name = f"notebooks/{chapter.stem}.html"
        links = pages[name].links
        assert book.colab(chapter, frame.ROOT) in links
        files = [place(name, link)[0] for link in links if link.endswith(f"/{chapter.name}")]
        downloads = [(site / file).read_bytes() for file in files if file.startswith("_downloads/")]
        assert sorted(downloads) == sorted(file.read_bytes() for file in both(chapter))


def test_each_solution_is_behind_a_click_at_its_exercise(site):
    for path in frame.solutions():
        text = (site / "notebooks" / f"{path.stem}.html").read_text("utf-8")
        assert text.count("<details") == text.count("</details>")
        parts = text.split('<details class="solution"><summary>Solution</summary>')
        exercises = frame.exercises(frame.read(path))
        assert len(parts) == len(exercises) + 1
        for exercise, before, after in zip(exercises, parts, parts[1:], strict=False):
            open_there = f"Exercise {exercise.name} is open"
            right, wrong = f"Exercise {exercise.name}: right.", "Not right, and what the checker"
            assert open_there in before and open_there not in after
            assert right in after and right not in before and wrong in after
            depth, end = 1, 0
            for tag in re.finditer("<(/?)details", after):
                depth += -1 if tag[1] else 1
                if depth == 0:
                    end = tag.start()
                    break
            assert right in after[:end] and wrong in after[:end] and "<h3" not in after[:end]


def test_each_room_and_what_it_has_is_described(pages):
    assert {*book.rooms()} == {path.stem for path in frame.MODULE.glob("[!_]*.py")}
    for name in book.rooms():
        room, ids = importlib.import_module(f"lenet_utils.{name}"), pages[f"api/{name}.html"].ids
        kinds = [inspect.isclass, inspect.isfunction]
        own = {
            f"{room.__name__}.{key}"
            for key, thing in vars(room).items()
            if not key.startswith("_") and any(is_kind(thing) for is_kind in kinds)
            if thing.__module__ == room.__name__ and thing.__doc__
        }
        assert own and own <= ids


def test_docstrings_become_lists_code_and_plain_text():
    made = book.as_rst(
        ["Draw a|b, 2**3.", "", "name  what", "      it is", "x, y  both", "rest", "", "    a = 1"]
    )
    assert made[:2] == [r"Draw a\|b, 2\**3.", ""]
    assert made[2:9] == ["", "``name``", "    what", "    it is", "", "``x, y``", "    both"]
    assert made[9:] == ["", "rest", "", "::", "", "    a = 1", ""]
    assert book.escaped("`fit` of *it* and `a_b_`, c_") == r"``fit`` of *it* and ``a_b_``, c\_"


def test_teachers_find_each_exercise_its_time_and_its_wrong_answers(site):
    text = plain((site / "teaching.html").read_text("utf-8"))
    for path in frame.chapters():
        notebook = frame.read(path)
        took = book.minutes(notebook)
        assert " ".join(map(str, [frame.title(notebook), *took, sum(took)])) in text
        for exercise in frame.exercises(notebook):
            title, minutes, difficulty, _ = book.facts(exercise)
            assert f"{title} ({minutes} minutes · {difficulty})" in text
    sources = [cell.source for path in frame.solutions() for cell in frame.read(path).cells]
    hints = re.findall(r"^✗ (.+)$", "\n".join(sources), re.M)
    assert len(hints) > 3 * len(frame.solutions())
    bare = text.replace("`", "")
    assert [hint for hint in hints if " ".join(hint.replace("`", "").split()) not in bare] == []


def test_minutes_are_counted():
    """A chapter's words and lines of code, its recording, and the minutes of its exercises."""
    path = next(p for p in frame.chapters() if "## Going further" in p.read_text("utf-8"))
    notebook, took = frame.read(path), book.minutes(frame.read(path))
    assert took.run == -(-notebook.metadata.recorded.seconds // 60)
    texts = "\n".join(cell.source for cell in notebook.cells)
    assert took.exercises == sum(map(int, re.findall(r"^\*(\d+) minutes · ", texts, re.M))) > 0
    code = new_code_cell("\n".join(["a = 1"] * 10 * book.LINES))
    words = new_markdown_cell("word " * 10 * book.WORDS)
    starts = [cell.source.partition(":")[0].partition("\n")[0] for cell in notebook.cells]
    for start, further, core in [("## Going further", 20, 0), ("## Recap", 0, 20)]:
        longer = frame.read(path)
        longer.cells[starts.index(start) + 1 : starts.index(start) + 1] = [code, words]
        more = took._replace(further=took.further + further, core=took.core + core)
        assert book.minutes(longer) == more
    assert [book.hours(n) for n in (20, 30, 31, 61)] == ["½ h", "½ h", "1 h", "1 ½ h"]


def test_a_route_takes_as_long_as_its_chapters(site):
    took = {path.name[:2]: book.minutes(frame.read(path)) for path in frame.chapters()}
    afternoon = sum(t.core + t.run for number, t in took.items() if number <= "04")
    course = sum(sum(t) for t in took.values())
    text = plain((site / "teaching.html").read_text("utf-8"))
    assert f"One afternoon 00 to 04 without {book.hours(afternoon)} " in text
    assert f"a chapter a session 00 to {max(took)} with {book.hours(course)} " in text
    assert f"{book.WORDS} words or {book.LINES} lines of code in a minute" in text


def test_a_pads_place_is_taken_by_its_picture():
    shown = new_output("execute_result", {"text/plain": "Pad(draw a digit)"}, execution_count=1)
    cells = book.shown(new_code_cell("Pad(model)", outputs=[shown]))
    assert cells[0].outputs == [] and book.PICTURE.as_posix() in cells[1].source
    assert len(book.pad_text()) > 40


# In a browser


class Server(http.server.SimpleHTTPRequestHandler):
    """Sends what is text compressed, as GitHub Pages does."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if path.suffix not in (".html", ".css", ".js", ".svg") or not path.is_file():
            return super().do_GET()
        content = gzip.compress(path.read_bytes())
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def address(site):
    handler = functools.partial(Server, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def visit(browser, address):
    """Opens a page; in the end, none had an error or asked another host for anything."""
    contexts, problems, requests = [], [], []

    def visit(name, size=DESK, **settings):
        viewport = dict(zip(("width", "height"), size, strict=True))
        contexts.append(browser.new_context(viewport=viewport, **settings))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: said.type == "error" and problems.append(said.text))
        page.on("request", lambda request: requests.append(request))
        page.goto(f"{address}/{name}", wait_until="networkidle")
        page.requests = requests
        return page

    yield visit
    assert problems == []
    urls = [r.url for r in requests if not r.url.startswith(("data:", "blob:"))]
    assert urls and [url for url in urls if not url.startswith(f"{address}/")] == []
    for context in contexts:
        context.close()


def test_the_first_page_is_small_and_leads_into_the_chapters(visit):
    page = visit("")
    sizes = [request.sizes()["responseBodySize"] for request in page.requests]
    assert 50_000 < sum(sizes) < LARGEST
    assert not any("mathjax" in request.url for request in page.requests)
    expect(page.locator("h1")).to_contain_text("Teach a network to read digits")
    for path in frame.chapters():
        link = page.locator("main").get_by_role("link", name=frame.title(frame.read(path)))
        expect(link).to_have_attribute("href", f"notebooks/{path.stem}.html")
    page.get_by_role("link", name="Begin with chapter 00").click()
    expect(page.locator("h1")).to_contain_text("00 ·")


@pytest.mark.parametrize("size, settings", [(DESK, {}), (PHONE, {"has_touch": True})])
def test_the_digit_page_is_at_work_on_the_first(visit, size, settings):
    page = visit("index.html", size, **settings)
    if not WITH_PAGE:
        expect(page.get_by_alt_text(book.pad_text())).to_be_visible()
        return
    inner = page.frame_locator("iframe.digit")
    paper = inner.get_by_role("application")
    paper.scroll_into_view_if_needed()
    box = paper.bounding_box()
    x, y, height = box["x"] + box["width"] / 2, box["y"], box["height"]
    page.mouse.move(x, y + 0.2 * height)
    page.mouse.down()
    page.mouse.move(x, y + 0.8 * height, steps=8)
    page.mouse.up()
    expect(inner.locator("[aria-live]")).to_contain_text("reads 1")
    rest = "e => e.contentDocument.documentElement.scrollHeight - e.clientHeight"
    assert page.locator("iframe.digit").evaluate(rest) <= 1  # it need not be scrolled within
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    scheme = "e => e.contentWindow.getComputedStyle(e.contentDocument.documentElement).colorScheme"
    assert page.locator("iframe.digit").evaluate(scheme) == "dark"


def test_a_chapter_has_its_formulas_figures_and_solutions(visit):
    page = visit(CHAPTER)
    formula = page.locator("mjx-container").first
    expect(formula.locator("mjx-math")).to_be_attached()
    assert formula.bounding_box()["width"] > 3
    figure = page.get_by_alt_text(re.compile("^Accuracy by epoch")).first
    figure.scroll_into_view_if_needed()
    assert figure.evaluate("e => e.complete && e.naturalWidth") > 300
    solution = page.locator("details.solution", has_text="Exercise lazy-marks: right.")
    right = solution.get_by_text("Exercise lazy-marks: right.")
    expect(right).to_be_hidden()
    solution.locator("summary").first.click()
    expect(right).to_be_visible()


def test_previous_and_next(visit):
    page = visit(CHAPTER)
    names = [frame.title(frame.read(path)) for path in frame.chapters()]
    page.locator(".prev-next-footer").get_by_role("link", name=names[5]).click()
    expect(page.locator("h1")).to_contain_text(names[5])
    page.locator(".prev-next-footer").get_by_role("link", name=names[4]).click()
    expect(page.locator("h1")).to_contain_text(names[4])


def test_dark_and_light(visit):
    page = visit(CHAPTER, color_scheme="light")
    shade = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    assert min(page.evaluate(shade)) > 200
    page.get_by_role("button", name="Color mode").click()
    page.get_by_role("button", name="Dark").click()
    assert max(page.evaluate(shade)) < 60
    page.reload()
    assert max(page.evaluate(shade)) < 60
    assert max(visit(CHAPTER, color_scheme="dark").evaluate(shade)) < 60


def test_search_finds_receptive_field(visit):
    page = visit("index.html")
    page.locator("button.search-button__button:visible").click()
    page.locator("input[type=search]:visible").fill("receptive field")
    page.keyboard.press("Enter")
    found = page.locator("#search-results a", has_text="02 · Take the network apart")
    expect(found.first).to_be_visible()
    found.first.click()
    expect(page.locator("h1")).to_contain_text("02 ·")
    expect(page.locator("main")).to_contain_text("receptive field")


@pytest.mark.parametrize("kind", ["index", "chapters", "teaching", "api", "notebooks"])
def test_a_phone_shows_each_page_without_scrolling_sideways(visit, pages, kind):
    names = [name for name in pages if name.startswith(f"{kind}/") or name == f"{kind}.html"]
    page = visit(names[0], PHONE)
    wide = """all => all.filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth)
        .map(e => `${e.tagName} ${e.className} ${e.scrollWidth}`)"""
    for name in names:
        page.goto("/".join([*page.url.split("/")[:3], name]))
        around = page.locator("article.bd-article").locator("xpath=ancestor-or-self::*")
        assert (name, around.evaluate_all(wide)) == (name, [])
        assert page.evaluate("document.documentElement.clientWidth") == PHONE[0]
    size = page.locator("main p").first.evaluate("e => parseFloat(getComputedStyle(e).fontSize)")
    assert size >= 16


def test_it_opens_from_the_disk(browser, site):
    context = browser.new_context()
    page = context.new_page()
    problems, urls = [], []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: urls.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.get_by_role("link", name="Begin with chapter 00").click()
    expect(page.locator("h1")).to_contain_text("00 ·")
    page.goto((site / CHAPTER).as_uri())
    expect(page.locator("mjx-container mjx-math").first).to_be_attached()
    page.goto((site / "search.html").as_uri() + "?q=receptive+field")
    expect(page.locator("#search-results a", has_text="02 ·").first).to_be_visible()
    assert problems == []
    assert [url for url in urls if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()


# For classrooms


@pytest.fixture(scope="session")
def files(site, tmp_path_factory):
    return classroom.contents(site, classroom.wheel(tmp_path_factory.mktemp("wheel")))


def test_the_archive_has_all_and_the_sums_of_all(files, site, tmp_path):
    archive = tmp_path / "digits.zip"
    digest = classroom.pack(files, archive)
    assert digest == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert (tmp_path / "digits.zip.sha256").read_text() == f"{digest}  digits.zip\n"
    with zipfile.ZipFile(archive) as packed:
        found = {name.removeprefix("digits/"): packed.read(name) for name in packed.namelist()}
    assert found == files
    lines = found.pop(classroom.SUMS).decode().splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}
    names = {f"site/{p.relative_to(site).as_posix()}" for p in site.rglob("*") if p.is_file()}
    names |= {f"notebooks/{path.name}" for path in frame.chapters()}
    names |= {f"notebooks/solutions/{path.name}" for path in frame.solutions()}
    names |= {f"data/{path.name}" for path in (frame.ROOT / "lenet_utils" / "mnist").iterdir()}
    assert names < found.keys()
    (wheel,) = [name for name in found if name.endswith(".whl")]
    assert f"\n./{wheel} " in found["requirements.txt"].decode()
    assert "-e" not in found["requirements.txt"].decode().split()
    assert wheel in found["START.txt"].decode()
    (tmp_path / wheel).write_bytes(found[wheel])
    with zipfile.ZipFile(tmp_path / wheel) as inner:
        assert "lenet_utils/mnist/t10k-images-idx3-ubyte.gz" in inner.namelist()
        assert "lenet_utils/shipped/plain.pt" in inner.namelist()


def test_the_same_files_make_the_same_archive(files, site, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    digests = {classroom.pack(files, tmp_path / name / "digits.zip") for name in ("a", "b")}
    again = classroom.contents(site, classroom.wheel(tmp_path))
    digests.add(classroom.pack(again, tmp_path / "digits.zip"))
    assert len(digests) == 1
    other = classroom.pack(files | {"LICENSE": b"another"}, tmp_path / "digits.zip")
    assert other not in digests
