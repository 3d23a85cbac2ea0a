"""A real Chromium, one for each module; a worker and a window for each test."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.page.site import PATIENCE, Site, serving

#: Nothing that it would fetch by itself, and no sandbox, which containers can't give.
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

# A deadline says how long a failure takes. Five seconds, if nothing is said, are few on a machine
# that does other work beside.
expect.set_options(timeout=PATIENCE * 1000)

#: What a browser says of answers that are errors; the page shows them.
ANSWERED = "Failed to load resource"


def chromium() -> str:
    """Where Chromium is: what STREAMWF_TEST_CHROMIUM says, or what it is called on the path."""
    known = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    path = os.environ.get("STREAMWF_TEST_CHROMIUM") or next(filter(None, known), None)
    if path is None:
        pytest.fail("The tests of the page need Chromium (Debian: apt-get install chromium).")
    return path


# Not longer than that: while it is driven, no test of another module can run a loop of its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A window. Whatever its console calls an error fails the test, as what is blocked does."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE * 1000)
    opened, errors = context.new_page(), list[str]()

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error" and ANSWERED not in message.text:
            errors.append(message.text)

    opened.on("console", heard)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    opened.unroute_all(behavior="ignoreErrors")
    context.close()
    assert errors == []
