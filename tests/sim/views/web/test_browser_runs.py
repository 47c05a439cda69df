"""The pages of runs, of a run and of its memories, as somebody goes through them with a browser."""

from collections.abc import Callable, Iterator

import pytest

from sim.runs.fork import fork
from tests.support.browser import PHONE, Page, axe, fits, says
from tests.support.small import recorded
from tests.support.viewed import viewed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("seen")
    recorded(folder / "billp", episodes=40)
    recorded(folder / "random", episodes=40, agent="random")
    recorded(folder / "deep" / "act-only", episodes=20, agent="act-only")
    fork(folder / "billp", (3, 0), settings=[{"quit": {"window": 2}}], out=folder / "forked")
    with viewed(folder) as url:
        yield url


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("runs", ""),
        ("run", "run/billp"),
        ("blocks", "trend/billp"),
        ("memory", "memory/billp?name=actor&at=5"),
    ],
)
def test_anybody_can_read_it(
    url: str, page: Page, screenshot: Callable[[str], None], name: str, address: str
) -> None:
    """Light or dark, by eye or by ear; and on a phone no page is too wide."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(url + address)
        page.wait_for_load_state("networkidle")
        for drawn in page.locator("billp-chart, billp-map").all():
            drawn.locator("xpath=self::*[@data-drawn]").wait_for()
        axe(page)
        screenshot(f"{name}-{scheme}")
    page.set_viewport_size(PHONE)
    fits(page)
    screenshot(f"{name}-phone")


def names(page: Page) -> list[str]:
    return [
        text.strip() for text in page.locator("#runs tbody tr:visible .name a").all_inner_texts()
    ]


def test_runs_are_found_by_words_and_choices(url: str, page: Page) -> None:
    page.goto(url)
    assert len(names(page)) == 4
    page.locator("input[type=search]").fill("act-only")
    says(page.locator("billp-filter [role=status]"), "1 of 4")
    assert names(page) == ["deep/act-only"]
    page.locator("input[type=search]").fill("")
    page.locator("select[data-of=agent]").select_option("random")
    says(page.locator("billp-filter [role=status]"), "1 of 4")
    assert names(page) == ["random"]


def test_a_column_sorts_and_gives_the_order_back(url: str, page: Page) -> None:
    page.goto(url)
    before = names(page)
    head = page.locator("th[data-sort=number]", has_text="R_traj")
    for direction, last in (("ascending", -1), ("descending", 0)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        rewards = page.locator("#runs tbody tr").evaluate_all(
            "(rows, place) => rows.map(row => Number(row.cells[place].dataset.value))",
            head.evaluate("head => head.cellIndex"),
        )
        assert rewards[last] == max(rewards)
    head.get_by_role("button").click()
    assert (head.get_attribute("aria-sort"), names(page)) == (None, before)


def test_two_runs_are_ticked_and_compared(url: str, page: Page) -> None:
    page.goto(url)
    button = page.locator("button.compare")
    assert button.is_disabled()
    for name in ("billp", "random"):
        page.get_by_label(f"Compare {name}", exact=True).check()
    says(button, "^Compare 2$")
    button.click()
    page.wait_for_url("**/compare?run=billp&run=random")
    page.locator("h1").wait_for()


def test_charts_of_a_run_have_its_blocks(url: str, page: Page) -> None:
    page.goto(f"{url}run/billp")
    page.locator("billp-chart[name=rewards][data-drawn]").wait_for()
    rows = page.locator("billp-chart[name=rewards]").evaluate(
        "chart => chart.spec.datasets.rows.length"
    )
    assert rows == 40
    page.emulate_media(color_scheme="dark")  # it is drawn anew
    page.locator("billp-chart[name=rewards] canvas").wait_for()


def test_a_point_of_the_map_is_chosen(url: str, page: Page) -> None:
    page.goto(f"{url}memory/billp?name=actor")
    page.locator("billp-map[data-drawn]").wait_for()
    place = page.locator("billp-map").evaluate("map => map.place(3)")
    canvas = page.locator("billp-map canvas")
    canvas.hover(position={"x": place[0], "y": place[1]})
    says(page.locator("billp-map [role=status]"), "written by episode")
    canvas.click(position={"x": place[0], "y": place[1]})
    page.wait_for_url("**&at=*")
    page.locator("#record").wait_for()


def test_nothing_there_is_a_page_too(url: str, page: Page, noted: list[str]) -> None:
    page.goto(f"{url}run/none")
    assert page.locator(".said").inner_text() == "there is no run 'none' here"
    axe(page)
    noted.clear()  # a browser calls 404 an error


def test_a_live_run_is_nobody_elses(url: str, page: Page) -> None:
    """A recorded run has no controls."""
    page.goto(f"{url}run/billp")
    assert page.locator(".controls").count() == 0
    assert page.locator("meta[name=billp-control]").count() == 0


def test_the_same_bytes_are_not_sent_twice(url: str, page: Page) -> None:
    page.goto(f"{url}run/billp")
    page.locator("billp-chart[data-drawn]").first.wait_for()
    sizes: list[int] = []
    page.on("response", lambda got: sizes.append(got.status) if "vega.js" in got.url else None)
    page.reload()
    page.locator("billp-chart[data-drawn]").first.wait_for()
    assert sizes == [304]
