"""Take the pictures of the web page that README shows, into pictures/screenshots.

    python tools/screenshots.py

The page (lenet_utils.page) is opened in a browser of the system, or Playwright's own, at the sizes
of a desk's screen and of a telephone's, with one of its examples. Look at the pictures when the
page has changed.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from record import PICTURES, with_256_colours

from lenet_utils import page
from lenet_utils.files import write_whole

SIZES = {"page": (1100, 730), "page_phone": (390, 844)}
EXAMPLE = 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "digit.html"
        page.write(path)
        found = {"executable_path": shutil.which("chromium")} if shutil.which("chromium") else {}
        browser = playwright.chromium.launch(**found, args=["--no-sandbox"])
        for name, (width, height) in SIZES.items():
            window = browser.new_page(viewport={"width": width, "height": height})
            window.goto(path.as_uri())
            for _ in range(30):  # so that the time that is shown is not that of the first frame
                window.get_by_role("button", name=f"Example: {EXAMPLE}").click()
                window.wait_for_timeout(30)
            window.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            window.mouse.move(0, 0)
            small = with_256_colours(window.screenshot())
            write_whole(PICTURES / "screenshots" / f"{name}.png", small)
        browser.close()


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    main()
