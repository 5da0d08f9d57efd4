"""Take the pictures of the web page and of the book that README shows, into pictures/screenshots.

    python tools/screenshots.py

The page (lenet_utils.page) is opened in a browser of the system, or Playwright's own, at the sizes
of a desk's screen and of a telephone's, with one of its examples; the book is built, and opened at
one of its sections. Look at the pictures when the page, the book or its chapters have changed.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import book
from playwright.sync_api import Browser, Page, sync_playwright
from record import PICTURES, with_256_colours

from lenet_utils import page
from lenet_utils.files import write_whole

SIZES = {"page": (1100, 730), "page_phone": (390, 844)}
EXAMPLE = 3
SECTION = "notebooks/06_inside_the_network.html#six-filters-and-what-each-does-to-a-digit"


def opened(browser: Browser, address: str, size: tuple[int, int]) -> Page:
    window = browser.new_page(viewport=dict(zip(("width", "height"), size, strict=True)))
    window.goto(address)
    return window


def keep(window: Page, name: str) -> None:
    write_whole(PICTURES / "screenshots" / f"{name}.png", with_256_colours(window.screenshot()))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        digit = Path(folder) / "digit.html"
        page.write(digit)
        found = {"executable_path": shutil.which("chromium")} if shutil.which("chromium") else {}
        browser = playwright.chromium.launch(**found, args=["--no-sandbox"])
        for name, size in SIZES.items():
            window = opened(browser, digit.as_uri(), size)
            for _ in range(30):  # so that the time that is shown is not that of the first frame
                window.get_by_role("button", name=f"Example: {EXAMPLE}").click()
                window.wait_for_timeout(30)
            window.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            window.mouse.move(0, 0)
            keep(window, name)
        address, section = SECTION.split("#")
        made = (book.build(Path(folder) / "book") / address).as_uri()
        window = opened(browser, made, (1200, 860))
        window.evaluate("name => document.getElementById(name).scrollIntoView()", section)
        window.wait_for_timeout(1000)  # for the section to be marked on the right
        keep(window, "book")
        browser.close()


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    main()
