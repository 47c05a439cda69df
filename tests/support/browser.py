"""A browser that looks at our pages: Debian's Chromium, driven by Playwright.

It reaches this machine alone, whatever a page asks for. A test fails on what a page does wrong
while nobody looks: an error on its console, a breach of its policy, a dialog, a request elsewhere.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest

Browser: TypeAlias = Any
Page: TypeAlias = Any
Locator: TypeAlias = Any
"""Playwright's: tests that need no browser are read, checked and run without it."""

SCREENSHOTS = "BILLP_SCREENSHOTS"
"""The environment variable that names the directory for screenshots; without it there are none."""

WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 780}

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SWITCHES = (
    "--headless",
    "--no-sandbox",  # tests may be root's, as in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
_LOCAL = {"127.0.0.1", "localhost"}
_SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start a browser for the tests of a module.

    Not for those of a session: while it is there this thread has an event loop, so that other
    tests could start none. Serve pages from another thread (`tests.support.viewed`).
    """
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.fail("no Chromium: apt-get install chromium, or put one on the PATH", pytrace=False)
    try:
        playwright = import_module("playwright.sync_api")
    except ModuleNotFoundError:
        pytest.fail("no Playwright: pip install -e '.[slow]'", pytrace=False)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=[*_SWITCHES])
        yield browser
        browser.close()


@pytest.fixture
def noted() -> list[str]:
    """Keep what a page does wrong; a test that expects it looks at this, and clears it."""
    return []


@pytest.fixture
def page(chromium: Browser, noted: list[str]) -> Iterator[Page]:
    """Open a tab without a past, 1280 pixels wide and light; it must do nothing wrong."""
    context = chromium.new_context(viewport=WIDE, color_scheme="light", reduced_motion="reduce")
    context.set_default_timeout(60_000)  # the machine may be busy
    page = context.new_page()
    _watch(page, noted)
    yield page
    context.close()
    assert noted == []


def _watch(page: Page, noted: list[str]) -> None:
    def note(wrong: bool, what: str) -> None:
        if wrong:
            noted.append(what)

    page.on("console", lambda said: note(said.type == "error", f"console: {said.text}"))
    page.on("pageerror", lambda error: note(True, f"error: {error}"))
    page.on("request", lambda request: note(_is_elsewhere(request.url), request.url))
    page.on("dialog", lambda dialog: note(True, f"dialog: {dialog.message}"))
    page.on("dialog", lambda dialog: dialog.dismiss())


@pytest.fixture
def screenshot(page: Page) -> Callable[[str], None]:
    """Keep how the page looks under a name, if anybody wants to see."""

    def keep(name: str) -> None:
        where = os.environ.get(SCREENSHOTS)
        if where:
            page.screenshot(path=Path(where, f"{name}.png"), full_page=True)

    return keep


def axe(page: Page) -> None:
    """Assert that axe-core finds nothing serious that keeps anybody from the page."""
    found = import_module("axe_playwright_python.sync_playwright").Axe().run(page).response
    assert [
        f"{one['id']}: {one['help']}: {node['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in _SERIOUS
        for node in one["nodes"]
    ] == []


def says(place: Locator, pattern: str) -> None:
    """Wait until a place is seen that says this: a page does what it is told in its own time."""
    place.filter(has_text=re.compile(pattern)).wait_for()


def becomes(page: Page, holds: Callable[[], bool]) -> None:
    """Wait until it *holds*, for what no selector tells."""
    for _ in range(100):
        if holds():
            return
        page.wait_for_timeout(100)
    assert holds()


def left(page: Page) -> None:
    """Leave the page, before what serves it ends: what it asks for then is nobody's mistake."""
    page.goto("about:blank")


def fits(page: Page) -> None:
    """Assert that the page itself need not be scrolled sideways."""
    wide, room = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= room


def _is_elsewhere(url: str) -> bool:
    address = urlsplit(url)
    return address.scheme not in {"data", "blob", "about"} and address.hostname not in _LOCAL
