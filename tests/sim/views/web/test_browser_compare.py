"""Runs side by side, as somebody compares them with a browser; and a report, from a disk."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sim.views.web.offered import folder_of, report, report_html
from tests.support.browser import PHONE, Page, axe, fits, says
from tests.support.small import recorded
from tests.support.viewed import viewed

pytestmark = pytest.mark.slow

COMPARED = "compare?run=act-only-1&run=act-only-2&run=random-1&run=random-2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for agent in ("act-only", "random"):
        for seed in (1, 2):
            path = folder / f"{agent}-{seed}"
            recorded(path, agent=agent, seed=seed, episodes=40, test_episodes=4, test_every=20)
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with viewed(folder) as url:
        yield url


def drawn(page: Page, count: int) -> None:
    """Wait until so many charts are drawn."""
    page.locator("billp-chart[data-drawn]").nth(count - 1).wait_for()


def test_a_comparison_is_drawn(url: str, page: Page, screenshot: Callable[[str], None]) -> None:
    """Differences, curves, profiles, and users: each with a name for who sees none of them."""
    page.goto(url + COMPARED)
    drawn(page, 4)
    assert page.locator("billp-chart[role=img][aria-label]").count() == 4
    axe(page)
    screenshot("compare")
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(300)
    axe(page)
    screenshot("compare-dark")


def test_a_comparison_fits_a_phone(url: str, page: Page, screenshot: Callable[[str], None]) -> None:
    page.set_viewport_size(PHONE)
    page.goto(url + COMPARED)
    drawn(page, 4)
    fits(page)
    screenshot("compare-phone")


def test_a_click_on_a_visit_opens_it_in_both_runs(
    url: str, page: Page, screenshot: Callable[[str], None]
) -> None:
    """Somewhere in the picture: whoever clicks beside a visit stays where they are."""
    page.goto(url + COMPARED)
    drawn(page, 4)
    chart = page.locator("billp-compare canvas")
    place = chart.evaluate(_PLACE)
    chart.click(position=place)
    page.wait_for_url("**/diff?**")
    says(page.locator("h1"), "^User ")
    page.locator("#first").wait_for(state="attached")
    axe(page)
    screenshot("diff")
    page.set_viewport_size(PHONE)
    fits(page)
    screenshot("diff-phone")


_PLACE = """async (canvas) => {
  const element = canvas.closest("billp-chart");
  const items = [];
  const walk = (mark) => {
    for (const item of mark.items ?? []) {
      if (item.datum && Number.isInteger(item.datum.k)) items.push(item);
      walk(item);
    }
  };
  const view = element.drawn.view;
  walk(view.scenegraph().root);
  const [left, top] = view.origin();
  const padding = view.padding();
  return { x: items[0].x + left + padding.left, y: items[0].y + top + padding.top };
}"""


def test_tables_are_copied(url: str, page: Page) -> None:
    page.goto(url + COMPARED)
    page.get_by_text("LaTeX (booktabs)").click()
    page.get_by_role("button", name="Copy").click()
    says(page.locator(".paste[open] code"), r"\\toprule")
    says(page.locator(".paste[open] button"), "Copied|Selected")


def test_a_report_works_from_a_disk(
    folder: Path, tmp_path: Path, page: Page, screenshot: Callable[[str], None], noted: list[str]
) -> None:
    """Its style is applied, its pictures are there, and it asks for nothing."""
    path = tmp_path / "report.html"
    path.write_text(report_html(report(folder_of([folder]), 2)), encoding="utf-8")
    page.goto(path.as_uri())
    assert noted == [path.as_uri()]
    noted.clear()
    assert page.evaluate("getComputedStyle(document.body).margin") == "0px"
    assert page.evaluate("[...document.images].every((one) => one.naturalWidth > 100)")
    axe(page)
    screenshot("report")
    page.set_viewport_size(PHONE)
    fits(page)
