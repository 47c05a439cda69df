"""What is planted in a run does nothing in a browser, whatever is opened or pointed at."""

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from tests.support.browser import Page, axe, says
from tests.support.planted import NAME, PLANTED, planted
from tests.support.viewed import crawled, viewed

pytestmark = pytest.mark.slow

OPENED = """() => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const hidden of document.querySelectorAll("[hidden]")) hidden.hidden = false;
}"""

FOUND = """() => [
  ...[...document.scripts].filter(
    (one) => one.type !== "application/json" && !one.src.startsWith(location.origin)),
  ...[...document.links].filter((one) => one.origin !== location.origin),
  ...document.querySelectorAll("img, iframe, object, embed, base, #planted, main b, svg[onload]"),
].map((one) => one.outerHTML)"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("planted") / "runs"
    planted(folder)
    planted(folder, "other", seed=1)
    with viewed(folder) as url:
        yield url


@pytest.fixture(scope="module")
def addresses(url: str) -> list[str]:
    """Return a page of each kind."""
    two = f"run={quote(NAME)}&run=other"
    pages = crawled(url, 200, f"/compare?{two}", f"/diff?{two}&k=0", f"/memory/{quote(NAME)}")
    html = [path for path, one in pages.items() if "<html" in one.body and one.status == 200]
    kinds = {path.partition("?")[0].split("/")[1]: path for path in reversed(html)}
    return [*kinds.values()]


def test_nothing_that_is_planted_does_anything(
    url: str, page: Page, addresses: list[str], screenshot: Callable[[str], None]
) -> None:
    """No script, no picture, no request, no dialog; on every kind of page, with all of it open."""
    assert len(addresses) > 8
    for address in addresses:
        page.goto(f"{url}{address[1:]}", wait_until="networkidle")
        page.evaluate(OPENED)
        page.wait_for_load_state("networkidle")
        assert page.evaluate(FOUND) == [], address
        assert page.evaluate("document.planted") is None, address
    screenshot("planted")


def test_a_prompt_is_text_when_it_comes(url: str, page: Page) -> None:
    """What a script fetches and shows is as harmless as what the server renders."""
    page.goto(f"{url}episode/other?k=0", wait_until="networkidle")
    page.evaluate(OPENED)
    page.wait_for_load_state("networkidle")
    says(page.locator("main"), "right to left")
    shown = page.locator("main").inner_text()
    assert PLANTED[0] in shown
    assert PLANTED[1] in shown
    assert r"\x1b[31m\x07\u202eright to left" in shown
    assert not {*"\x1b\u202e"} & {*shown}


def test_what_a_chart_tells_is_text(url: str, page: Page) -> None:
    """The label that comes where one points is made of data, and has no element of theirs."""
    page.goto(f"{url}run/other")
    chart = page.locator("billp-chart[name=categories][data-drawn] canvas")
    chart.scroll_into_view_if_needed()
    place = chart.bounding_box()
    page.mouse.move(place["x"] + place["width"] * 0.3, place["y"] + 60)
    page.mouse.move(place["x"] + place["width"] * 0.3, place["y"] + 90)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert page.evaluate(FOUND) == []
    says(page.locator("#vg-tooltip-element"), "category")


def test_the_page_of_what_is_planted_can_be_read(url: str, page: Page) -> None:
    """Also such names leave a page that anybody can use."""
    page.goto(f"{url}run/{quote(NAME)}", wait_until="networkidle")
    axe(page)
