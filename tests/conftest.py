"""What several files of tests use."""

import os
import shutil

import pytest

BROWSERS = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "chrome")


@pytest.fixture(scope="session")
def browser():
    """A browser of the system, or Playwright's own, without a window.

    Without one the tests are skipped; they fail if the environment variable REQUIRE_BROWSER is 1.
    """
    from playwright.sync_api import Error, sync_playwright

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    choices = [{"executable_path": found}] if found else [{"channel": "chrome"}, {}]
    with sync_playwright() as playwright:
        for choice in choices:
            try:
                browser = playwright.chromium.launch(**choice, args=["--no-sandbox"])
                break
            except Error as error:
                problem = error.message.splitlines()[0]
        else:
            assert os.environ.get("REQUIRE_BROWSER") != "1", problem
            pytest.skip(f"no browser: {problem}")
        yield browser
        browser.close()
