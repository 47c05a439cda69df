"""What every page has, as somebody with a browser meets it."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.browser import PHONE, Page, axe, becomes, fits
from tests.support.small import recorded
from tests.support.viewed import viewed

pytestmark = pytest.mark.slow

PAGES = ("", "run/first", "trend/first", "nothing")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    where = tmp_path_factory.mktemp("seen")
    recorded(where / "first", prompts=True)
    with viewed(where) as url:
        yield url


@pytest.mark.parametrize("address", PAGES)
def test_anybody_can_read_it(
    url: str, page: Page, noted: list[str], screenshot: Callable[[str], None], address: str
) -> None:
    """Light or dark, by eye or by ear: axe-core finds nothing serious, and no page is too wide."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{url}{address}", wait_until="networkidle")
        axe(page)
        screenshot(f"frame-{address.replace('/', '-') or 'runs'}-{scheme}")
    page.set_viewport_size(PHONE)
    fits(page)
    if address == "nothing":  # what a browser says of any page that is not there
        assert noted.pop().startswith("console: Failed to load resource")
        noted.clear()


def test_a_keyboard_comes_to_the_content(url: str, page: Page) -> None:
    """The first stop of the tabulator leads over what all pages have in common."""
    page.goto(f"{url}run/first")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#content:focus").wait_for()


def test_a_browser_notes_what_goes_wrong(url: str, page: Page, noted: list[str]) -> None:
    """These tests can fail: an error, a dialog, a breach and a request elsewhere are all seen."""
    page.goto(url)
    page.evaluate("setTimeout(() => { throw new Error('planted'); })")
    page.evaluate("alert('planted')")
    page.evaluate("document.body.setAttribute('onclick', 'planted()'); document.body.click()")
    page.evaluate("fetch('http://198.51.100.7/planted').catch(() => 0)")
    signs = ("error: planted", "dialog: planted", "inline event", "198.51.100.7")
    becomes(page, lambda: all(sign in "\n".join(noted) for sign in signs))
    noted.clear()
