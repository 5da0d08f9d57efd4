"""The web page in a browser: it computes what Python computes, and is drawn on as a reader does.

Mouse, finger, keyboard; a desk's screen and a telephone's. The browser is that of conftest.py.
"""

import base64
import hashlib
import json
import re
import shutil
import statistics

import numpy as np
import pytest
import torch
from paper import Paper
from PIL import Image
from playwright.sync_api import expect
from test_browser import ONE, SEVEN, THREE

from lenet_utils import data, evaluation, models, page, training
from lenet_utils.alterations import ALTERATIONS
from lenet_utils.pad import drawn

DESK, PHONE = (1280, 800), (390, 844)
LARGEST = 500_000  # bytes
CODED = "Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))"
DRAWINGS = json.loads((training.SHIPPED / "drawings.json").read_text("utf-8"))


def coded(numbers):
    """uint8 of any shape, for the browser."""
    return base64.b64encode(np.asarray(numbers, np.uint8).tobytes()).decode()


class Reader(Paper):
    """The page in a window of its own, opened from the disk, and what one does there."""

    def __init__(self, browser, path, size=DESK, **settings):
        viewport = dict(zip(("width", "height"), size, strict=True))
        self.page = browser.new_context(viewport=viewport, **settings).new_page()
        self.problems, self.requests = [], []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.paper = self.page.get_by_role("application")
        self.sentence = self.page.locator("[aria-live]")  # a screen reader's; the visible one:
        self.visible_sentence = self.page.locator(".pad-sentence")
        self.shares = self.page.locator(".pad-bars li")

    def touch(self, strokes):
        session = self.page.context.new_cdp_session(self.page)
        for first, *others in strokes:
            for kind, point in [("Start", first), *(("Move", point) for point in others)]:
                at = [dict(zip("xy", self.place(*point), strict=True))]
                session.send(
                    "Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": at}
                )
            session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def press(self, name):
        self.page.get_by_role("button", name=name, exact=True).click()

    def reads(self, digit):
        expect(self.sentence).to_have_text(re.compile(rf"^The network reads {digit} \(\d+ %\)\.$"))

    def is_empty(self):
        expect(self.sentence).to_have_text("Draw a digit.")
        assert [row.inner_text().strip() for row in self.shares.all()] == [*"0123456789"]

    def maps(self):
        """The pixels of all maps, layer by layer, as the browser shows them."""
        return self.page.evaluate(
            """Array.from(document.querySelectorAll(".page-maps"), (maps) =>
                Array.from(maps.children, (canvas) => canvas.toDataURL()))"""
        )

    def prepare(self, pictures):
        """What the page's `prepare` makes of them: int64 (N, 1024)."""
        given = [
            {
                "height": picture.shape[0],
                "width": picture.shape[1],
                "channels": 1 if picture.ndim == 2 else picture.shape[2],
                "values": coded(picture),
            }
            for picture in map(np.asarray, pictures)
        ]
        made = self.page.evaluate(
            f"""(pictures) => pictures.map((picture) => {{
                const text = picture.values;
                const given = {{ ...picture, values: {CODED} }};
                try {{ return Array.from(prepare(given)); }}
                catch {{ return Array(1024).fill(-999); }}
            }})""",
            given,
        )
        return torch.tensor(made)

    def logits(self, images):
        """What the page's network answers to uint8 (N, 1, 32, 32): float32 (N, 10)."""
        made = self.page.evaluate(
            f"""(text) => {{
                const all = {CODED};
                return Array.from({{ length: all.length / 1024 }}, (_, n) => Array.from(
                    read(all.subarray(1024 * n, 1024 * (n + 1)), LAYERS, DATA.normalisation).logits,
                ));
            }}""",
            coded(images),
        )
        return torch.tensor(made)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "digit.html"
    assert page.write(path) == path.stat().st_size
    return path


@pytest.fixture(scope="module")
def desk(browser, path):
    reader = Reader(browser, path)
    yield reader
    reader.page.context.close()


@pytest.fixture(scope="module")
def phone(browser, path):
    reader = Reader(browser, path, PHONE, has_touch=True, is_mobile=True)
    yield reader
    reader.page.context.close()


@pytest.fixture
def reader(desk):
    desk.press("Clear")
    desk.is_empty()
    return desk


@pytest.fixture(scope="module")
def digits():
    """At 28×28, validation: no test image chooses or judges here."""
    return data.load("validation", 28).images


# One file, shut off


def test_one_small_file_that_allows_its_own_code_alone(path):
    text = path.read_text("utf-8")
    assert len(text.encode()) < LARGEST
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    hashes = {}
    for kind, element in {"script": "script", "style": "style"}.items():
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        hashes[f"{kind}-src"] = f"'sha256-{digest}'"
    closed = dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'")
    assert rules == closed | hashes | {"img-src": "data:"}
    assert not re.search(r"https?:|//\w+\.|\[(?:script|style|data)[\w-]*\]", text)
    assert page.html() == text  # the same every time


def test_other_code_is_refused(browser, path):
    reader = Reader(browser, path)
    run = """async () => {
        const element = document.createElement("script");
        element.textContent = "window.foreign = true";
        document.body.append(element);
        const sent = await fetch("https://example.org").then(() => true, () => false);
        return [window.foreign ?? false, sent];
    }"""
    assert reader.page.evaluate(run) == [False, False]
    assert len(reader.problems) >= 2 and all("Security" in text for text in reader.problems[:2])
    reader.page.context.close()


def test_only_lenets_fit_and_places_that_can_be_written(tmp_path):
    with pytest.raises(TypeError, match="expected a LeNet, .* got LeNet1998"):
        page.html(models.LeNet1998())
    with pytest.raises(OSError, match="cannot write"):
        page.write(tmp_path / "no folder" / "digit.html")


def test_what_looks_like_a_place_for_a_part_stays(tmp_path, monkeypatch):
    shutil.copytree(page.WEB, tmp_path / "web")
    script = tmp_path / "web" / "page.js"
    script.write_text(script.read_text("utf-8") + "// values[style], values[data]\n", "utf-8")
    monkeypatch.setattr(page, "WEB", tmp_path / "web")
    assert "\n// values[style], values[data]\n" in page.html()


def test_the_command_writes_the_page(tmp_path, path, capsys):
    page.main([str(tmp_path / "digit.html")])
    text = (tmp_path / "digit.html").read_text("utf-8")
    assert text == path.read_text("utf-8")
    assert capsys.readouterr().out == f"{len(text.encode()):,} bytes\n"
    page.main(["--network", "plain", str(tmp_path / "plain.html")])
    plain = page.html(training.shipped("plain").model)
    assert (tmp_path / "plain.html").read_text("utf-8") == plain != text


@pytest.mark.parametrize(
    "arguments, problem",
    [
        ([], "the following arguments are required: path"),
        (["."], "it is a folder"),
        (["no folder/digit.html"], "name a file in a folder that exists"),
        (["--network", "other", "digit.html"], "there are: lenet1998, plain"),
        (["--network", "lenet1998", "digit.html"], "expected a LeNet"),
        (["one.html", "two.html"], "unrecognized arguments: two.html"),
    ],
)
def test_the_command_says_what_is_wrong_and_writes_nothing(
    arguments, problem, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        page.main(arguments)
    assert end.value.code == 2 and problem in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


# What Python computes


def same_prepared(reader, digits):
    chance = np.random.default_rng(0)
    for alter in ALTERATIONS.values():
        pictures = [alter(digit, chance) for digit in digits[:12, 0].numpy()]
        expected = torch.cat([data.prepare(picture) for picture in pictures]).flatten(1).int()
        forms = [p.convert("RGBA") if isinstance(p, Image.Image) else p for p in pictures]
        assert (reader.prepare(forms) - expected).abs().max() <= 1


def same_odd_pictures(reader, digits):
    """Colours on clear ground, specks, few pixels, many pixels, a slope, bold strokes."""
    ink = digits[3, 0].numpy()
    colours = np.repeat(ink[:, :, None], 3, 2)
    clear = np.dstack([np.zeros_like(colours), ink])
    white = np.dstack([np.full_like(colours, 255), ink])
    specks = np.pad(ink, 30)
    specks[2:4, 2:4] = specks[80:82, 60:61] = 255
    large = np.asarray(Image.fromarray(ink).resize((700, 560)))
    bold = np.full((40, 40), 20, np.uint8)  # ink on most pixels, paper in the corners
    bold[8:30, 10:29] = 230  # not in the middle: there its centre lies between two pixels
    bold[np.ix_([0, 1, 2, 3, -4, -3, -2, -1], [0, 1, 2, 3, -4, -3, -2, -1])] = 230
    y, x = np.meshgrid(np.linspace(-1, 1, 56), np.linspace(-1, 1, 56), indexing="ij")
    curved = (255 - 0.9 * np.pad(ink, 14)) * (0.9 - 0.3 * x * y - 0.2 * x * x)
    red = (255 - (ink[:, :, None] / 255) * [10, 200, 150]).round().astype(np.uint8)
    pictures = [red, ink, 255 - ink, colours, clear, white, specks, large, bold, 255 - bold]
    pictures += [curved.astype(np.uint8), ink[:, 8:20], ink[::2, ::2], digits[5, 0].numpy()]
    made = torch.cat([reader.prepare([picture]) for picture in pictures])
    expected = torch.cat([data.prepare(picture) for picture in pictures]).flatten(1).int()
    assert (made - expected).abs().amax(1).max() <= 1


def same_answers(reader, name="robust", count=2_000):
    images = data.load("test").images[:count]
    logits, expected = (
        reader.logits(images),
        evaluation.predict(training.shipped(name).model, images),
    )
    assert torch.equal(logits.argmax(1), expected.argmax(1))
    assert (logits - expected).abs().max() < 1e-3


def test_pictures_are_prepared_as_in_python(desk, digits):
    same_prepared(desk, digits)


def test_odd_pictures_are_prepared_as_in_python(desk, digits):
    same_odd_pictures(desk, digits)


def test_mnists_digits_are_resized_as_in_python(desk, digits):
    made = desk.page.evaluate(
        f"(texts) => texts.map((text) => Array.from(resized({CODED})))",
        [coded(digit) for digit in digits[:300]],
    )
    expected = data.resize(digits[:300]).flatten(1).int()
    assert (torch.tensor(made) - expected).abs().max() <= 1


def test_paper_without_ink_is_refused_as_in_python(desk):
    blank = {"height": 9, "width": 9, "channels": 1, "values": [200] * 81}
    tried = "(picture) => { try { prepare(picture); } catch (error) { return error.message; } }"
    assert desk.page.evaluate(tried, blank) == "There is no ink on this paper."
    with pytest.raises(ValueError):
        data.prepare(np.full((9, 9), 200, np.uint8))


def test_test_images_are_read_as_in_python(desk):
    same_answers(desk)


def test_another_network_can_be_put_in(browser, tmp_path):
    page.write(tmp_path / "plain.html", training.shipped("plain").model)
    reader = Reader(browser, tmp_path / "plain.html")
    same_answers(reader, "plain", 100)
    with pytest.raises(AssertionError):
        same_answers(reader, "robust", 100)
    reader.page.context.close()


def test_strokes_become_the_pixels_that_the_pad_makes(desk):
    """Nearly: Pillow draws lines a little otherwise. The same is read."""
    model = training.shipped("robust").model
    for drawing in DRAWINGS:
        values = desk.page.evaluate("(s) => Array.from(inked(s).values)", drawing["strokes"])
        ours = torch.tensor(values).reshape(280, 280)
        expected = torch.from_numpy(drawn(drawing["strokes"])).double()
        assert (ours - expected).abs().mean() < 1.5  # grey levels, of 255
        assert abs(ours.sum() / expected.sum() - 1) < 0.02
        prepared = [data.prepare(picture) for picture in (ours.byte(), expected.byte())]
        first, second = (evaluation.predict(model, picture).argmax() for picture in prepared)
        assert first == second


BROKEN = [
    ("prepare.js", "sizes[labels[n]] >= smallest", "sizes[labels[n]] > 0", same_odd_pictures),
    ("prepare.js", "preferLight = 1", "preferLight = 3", same_prepared),
    ("prepare.js", "few, 3)", "few, 1)", same_odd_pictures),
    ("prepare.js", "skewness < 0", "skewness > 0", same_prepared),
    ("prepare.js", "factor < 1 ? hat : cubic", "hat", same_prepared),
    ("prepare.js", "Math.max(1, scale)", "1", same_prepared),
    ("prepare.js", "0.9 * (inside.length - 1)", "0.5 * (inside.length - 1)", same_prepared),
    ("prepare.js", "nearest(size / 2 - ofRows / mass)", "3", same_prepared),
    ("prepare.js", "rest[place] > 0.15", "rest[place] > 0.3", same_prepared),
    ("prepare.js", "curved ? 6 : 3", "3", same_odd_pictures),
    ("prepare.js", "WORKING_SIDE = 512", "WORKING_SIDE = 2048", same_odd_pictures),
    ("prepare.js", "< 0.5 ? 1 : 0", "< 0.5 ? 0 : 1", same_odd_pictures),
    ("prepare.js", "spreads.indexOf(Math.max(...spreads))", "0", same_odd_pictures),
    ("prepare.js", "> mean(ends(apart))", "< mean(ends(apart))", same_odd_pictures),
    ("lenet.js", "Math.max(a, b, c, d)", "(a + b + c + d) / 4", same_answers),
    ("lenet.js", "(pixel / 255 - average) / deviation", "pixel / 255", same_answers),
    ("lenet.js", "result[place++] = Math.max(0, sum)", "result[place++] = sum", same_answers),
    ("lenet.js", "w = map * count", "w = count", same_answers),
]


@pytest.mark.parametrize("name, old, new, check", BROKEN, ids=[new for _, _, new, _ in BROKEN])
def test_broken_arithmetic_is_noticed(
    browser, digits, tmp_path, monkeypatch, name, old, new, check
):
    shutil.copytree(page.WEB, tmp_path / "web")
    text = (tmp_path / "web" / name).read_text("utf-8")
    assert text.count(old) == 1
    (tmp_path / "web" / name).write_text(text.replace(old, new), "utf-8")
    monkeypatch.setattr(page, "WEB", tmp_path / "web")
    page.write(tmp_path / "broken.html")
    reader = Reader(browser, tmp_path / "broken.html")
    with pytest.raises(AssertionError):
        check(reader, count=100) if check is same_answers else check(reader, digits)
    reader.page.context.close()


# What a reader does


@pytest.mark.parametrize("digit, strokes", [(1, ONE), (3, THREE), (7, SEVEN)])
def test_drawn_with_the_mouse(reader, digit, strokes):
    empty = reader.maps()
    assert [len(layer) for layer in empty] == [6, 16, 1, 1]
    reader.draw(strokes)
    reader.reads(digit)
    expect(reader.visible_sentence).to_have_text(reader.sentence.inner_text())
    shares = [int(row.inner_text().split()[1]) for row in reader.shares.all()]
    assert max(shares) == shares[digit] and 97 <= sum(shares) <= 103
    widths = [bar.bounding_box()["width"] for bar in reader.page.locator(".pad-bar").all()]
    assert max(widths) == widths[digit] > 20
    changed = [
        sum(a != b for a, b in zip(*layers, strict=True))
        for layers in zip(empty, reader.maps(), strict=True)
    ]
    assert changed[0] >= 5 and changed[1] >= 8 and changed[2:] == [1, 1]


def test_bars_and_maps_follow_before_the_stroke_ends(reader):
    empty = reader.maps()
    reader.page.mouse.move(*reader.place(140, 50))
    reader.page.mouse.down()
    reader.page.mouse.move(*reader.place(140, 140), steps=6)
    expect(reader.shares.nth(1)).to_contain_text("%")
    halfway = reader.maps()
    reader.page.mouse.move(*reader.place(200, 60), steps=6)
    expect(reader.visible_sentence).to_contain_text("The network reads")
    assert reader.sentence.inner_text() == "Draw a digit."  # nobody is interrupted
    reader.page.mouse.up()
    expect(reader.sentence).to_contain_text("The network reads")
    assert empty[0] != halfway[0] != reader.maps()[0] != empty[0]


def test_the_maps_are_the_networks(reader):
    """The darkest pixel of each layer is where its largest value is."""
    reader.press("Example: 2")
    reader.reads(2)
    pixels = reader.prepare([drawn(DRAWINGS[2]["strokes"])]).byte()
    maps = data.to_input(pixels.reshape(1, 1, 32, 32))
    for module in training.shipped("robust").model.network[:2]:
        maps = module(maps)
    shown = reader.page.evaluate(
        """Array.from(document.querySelector(".page-maps").children, (canvas) =>
            Array.from(canvas.getContext("2d").getImageData(0, 0, 28, 28).data)
                .filter((_, n) => n % 4 === 3))"""
    )
    shown = torch.tensor(shown).double().reshape(6, 28, 28)
    expected = 255 * (0.06 + 0.94 * maps[0].detach().double() / maps.max().item())
    assert (shown - expected).abs().mean() < 4


def test_undo_clear_and_examples(reader):
    reader.draw(SEVEN)
    reader.reads(7)
    for drawing in DRAWINGS[3:6]:
        reader.press(f"Example: {drawing['label']}")
        reader.reads(drawing["label"])
    for digit in (4, 3, 7):
        reader.press("Undo")
        reader.reads(digit)
    reader.press("Clear")
    reader.is_empty()
    reader.press("Undo")
    reader.reads(7)


def test_blank_paper_says_where_to_draw(reader):
    def inked():
        return reader.page.evaluate(
            """() => {
                const copy = document.createElement("canvas").getContext("2d",
                    { willReadFrequently: true });
                copy.canvas.width = copy.canvas.height = 560;
                copy.drawImage(document.querySelector(".drawing-paper"), 0, 0);
                const { data } = copy.getImageData(0, 0, 560, 560);
                return data.filter((value) => value < 128).length;
            }"""
        )

    words = inked()
    assert words > 500
    reader.draw([[(20, 20), (21, 20)]])  # a dot, far from the words
    dot = inked()
    reader.draw([[(140, 140), (141, 140)]])  # another, where they were
    assert inked() == pytest.approx(2 * dot, rel=0.05)
    reader.press("Clear")
    assert inked() == words
    reader.paper.focus()
    reader.page.keyboard.press("ArrowDown")  # now the pen is there
    assert inked() != words


def test_every_example_is_there(desk):
    names = [f"Example: {n}" for n in range(10)]
    buttons = desk.page.get_by_role("group", name="Or take one of ours").get_by_role("button")
    assert [button.get_attribute("aria-label") for button in buttons.all()[:10]] == names


def test_drawn_with_a_finger_the_page_stays(phone):
    phone.press("Clear")
    before = phone.page.evaluate("scrollY")
    phone.touch([[(140, y) for y in range(50, 231, 12)]])
    phone.reads(1)
    assert phone.page.evaluate("scrollY") == before
    phone.press("Clear")
    phone.is_empty()
    phone.touch(SEVEN)
    phone.reads(7)


def test_drawn_with_the_keyboard_alone(reader):
    for _ in range(30):
        reader.page.keyboard.press("Tab")
        if reader.page.evaluate("document.activeElement.tagName") == "CANVAS":
            break
    place = reader.paper.bounding_box()
    for key in ["Shift+ArrowUp"] * 2 + ["Space"] + ["ArrowDown"] * 16 + ["Escape"]:
        reader.page.keyboard.press(key)
    reader.reads(1)
    assert reader.paper.bounding_box() == place
    reader.page.keyboard.press("Control+z")
    reader.is_empty()
    reader.page.keyboard.press("Tab")
    assert reader.page.evaluate("document.activeElement.textContent") == "Undo"


def photographed(strokes):
    """As one photographs: blue on yellowish paper, the light falling off, a speck."""
    ink = drawn(strokes) / 255
    ink[200:206, 40:46] = 0.8
    paper, blue = np.array([250, 235, 190]), np.array([40, 60, 150])
    picture = (1 - ink[..., None]) * paper + ink[..., None] * blue
    picture = (picture * np.linspace(1, 0.5, 280)[:, None]).round().astype(np.uint8)
    return Image.fromarray(picture).resize((1200, 1200))


def test_a_photograph_is_read(reader, tmp_path):
    def choose(path):
        with reader.page.expect_file_chooser() as chooser:
            reader.press("Open a photograph")
        chooser.value.set_files(path)

    photographed(DRAWINGS[2]["strokes"]).save(tmp_path / "two.jpg")
    reader.draw(SEVEN)
    reader.reads(7)
    choose(tmp_path / "two.jpg")
    reader.reads(2)
    reader.draw(ONE)  # on empty paper
    reader.reads(1)
    (tmp_path / "words.png").write_text("no picture")
    choose(tmp_path / "words.png")
    expect(reader.sentence).to_have_text("This file is no picture that the browser can read.")
    Image.new("RGB", (50, 50), "white").save(tmp_path / "blank.png")
    choose(tmp_path / "blank.png")
    expect(reader.sentence).to_have_text("There is no ink on this paper.")


# How it looks


def colours(reader):
    """Of text and ground."""
    style = reader.page.evaluate(
        "(({ color, backgroundColor }) => [color, backgroundColor])"
        "(getComputedStyle(document.querySelector('main')))"
    )
    return [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in style]


@pytest.mark.parametrize("system, other", [("light", "dark"), ("dark", "light")])
def test_light_and_dark(browser, path, system, other):
    reader = Reader(browser, path, color_scheme=system)
    text, ground = colours(reader)
    assert abs(text - ground) > 450 and (text < ground) == (system == "light")
    reader.press("Example: 3")
    reader.reads(3)
    before = reader.maps()
    reader.press(f"{other.title()} colours")
    text, ground = colours(reader)
    assert abs(text - ground) > 450 and (text < ground) == (other == "light")
    expect(reader.page.get_by_role("button", name=f"{system.title()} colours")).to_be_visible()
    reader.page.wait_for_timeout(300)
    assert reader.maps()[0] != before[0]
    reader.page.context.close()


@pytest.mark.parametrize("size", [(320, 640), (360, 740), PHONE, (768, 1024), DESK])
def test_nothing_is_wider_than_the_screen(browser, path, size):
    reader = Reader(browser, path, size)
    reader.press("Example: 8")
    reader.reads(8)
    reader.page.get_by_text("Draw with the keyboard").click()
    wide = reader.page.evaluate(
        "[...document.querySelectorAll('main, main *')].filter((element) =>"
        " element.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.className)"
    )
    assert wide == []
    assert reader.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    reader.page.context.close()


def test_on_a_telephone_answer_and_paper_are_seen_at_once(phone):
    phone.page.evaluate("scrollTo(0, 0)")
    for part in (phone.paper, phone.visible_sentence, phone.shares.last):
        box = part.bounding_box()
        assert box["y"] + box["height"] <= PHONE[1]


def test_on_a_desk_all_is_seen_at_once(desk):
    assert desk.page.evaluate("document.documentElement.scrollHeight") <= DESK[1]


def test_every_control_and_picture_has_a_name(desk):
    controls = desk.page.locator("button, input:not([hidden]), select, summary, [tabindex]")
    names = ["(Dark|Light) colours", "Paper to draw on", "Undo", "Clear", "Brush"]
    names += ["Draw with the keyboard", *[f"Example: {n}" for n in range(10)]]
    for control, name in zip(controls.all(), [*names, "Open a photograph"], strict=True):
        expect(control).to_have_accessible_name(re.compile(f"^{name}"))
    expect(desk.paper).to_have_accessible_description(re.compile("^Arrow keys move the pen"))
    pictures = desk.page.get_by_role("img")
    names = ["The drawing as the network gets it", "6 maps", "16 maps", "120 values", "84 values"]
    for picture, name in zip(pictures.all(), names, strict=True):
        expect(picture).to_have_accessible_name(re.compile(f"^{name}"))
    levels = desk.page.get_by_role("heading").evaluate_all("all => all.map((e) => e.tagName)")
    assert levels == ["H1", "H2"] and desk.page.evaluate("document.documentElement.lang") == "en"
    parameters = sum(p.numel() for p in models.LeNet().parameters())
    assert f"{parameters:,} numbers" in desk.page.locator("header").inner_text()


def test_the_time_of_a_frame_is_shown(reader, record_property, capsys):
    reader.page.evaluate(
        """window.times = [];
        new MutationObserver(() => times.push(Number(document.body.dataset.milliseconds)))
            .observe(document.body, { attributeFilter: ["data-milliseconds"] });"""
    )
    reader.draw(THREE + SEVEN + ONE)
    expect(reader.page.locator("#speed")).to_have_text(
        re.compile(r"see: \d+\.\d ms \(median of \d+")
    )
    times = reader.page.evaluate("times")
    record_property("milliseconds", statistics.median(times))
    with capsys.disabled():
        print(f"\nmilliseconds per frame: median {statistics.median(times):.1f} of {len(times)}")
    assert len(times) > 5 and 0 < statistics.median(times) < 1000


def test_the_time_of_a_frame_includes_what_the_browser_does_after_the_script(browser, path):
    reader = Reader(browser, path)
    reader.page.evaluate(
        """() => {
            const ask = requestAnimationFrame;
            window.requestAnimationFrame = (frame) => {
                ask(frame);
                ask(() => {
                    const begun = performance.now();
                    while (performance.now() - begun < 700);
                });
            };
        }"""
    )
    reader.press("Example: 3")
    reader.page.wait_for_function("document.body.dataset.milliseconds", timeout=20_000)
    assert float(reader.page.evaluate("document.body.dataset.milliseconds")) > 690
    reader.page.context.close()


def test_nothing_from_elsewhere_and_no_errors(desk, phone, path):
    for reader in (desk, phone):
        assert reader.requests[0] == path.as_uri()
        assert all(url.startswith(("data:", "blob:")) for url in reader.requests[1:])
        assert reader.problems == []
