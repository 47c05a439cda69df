"""A planted cause is found, and shown first on the page that somebody opens in a browser."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sim.experiments.blame.blaming import blame
from sim.experiments.blame.findings import Asked
from sim.experiments.blame.kept import keep
from sim.library.run import Run
from tests.support.browser import PHONE, Page, axe, fits
from tests.support.planting import planted
from tests.support.viewed import viewed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def blamed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, int]:
    """Return a run, an episode that went badly for an item forced at a step, and the step.

    A module's fixture before the browser's: to blame needs the loop of this thread.
    """
    (case,) = planted(tmp_path_factory.mktemp("planted"), "step", 1, 300)
    found = blame(case.run, case.episode, asked=Asked(draws=8, leading=3))
    first = found.causes[0].cause
    assert case.is_it(first)
    keep(found, Run.open(case.run).digest)
    return case.run, case.episode, first.step


@pytest.fixture(scope="module")
def url(blamed: tuple[Path, int, int]) -> Iterator[str]:
    with viewed(blamed[0]) as url:
        yield url


def test_a_planted_cause_stands_first(
    blamed: tuple[Path, int, int], url: str, page: Page, screenshot: Callable[[str], None]
) -> None:
    """With its interval above 0, and a link to the step that it is of."""
    run, episode, step = blamed
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{url}blame/{run.name}?k={episode}")
        axe(page)
        screenshot(f"blame-{scheme}")
    first = page.locator(".causes tbody tr").first
    assert first.locator("td.bad").inner_text().startswith("+")
    page.set_viewport_size(PHONE)
    fits(page)
    first.get_by_role("link", name=str(step), exact=True).click()
    page.wait_for_url(f"**/episode/{run.name}?k={episode}&step={step}")
    page.locator(f".step[data-step='{step}']").wait_for()


def test_who_has_not_asked_is_told_how(blamed: tuple[Path, int, int], url: str, page: Page) -> None:
    run, episode, _ = blamed
    page.goto(f"{url}episode/{run.name}?k={episode - 1}")
    page.goto(f"{url}blame/{run.name}?k={episode - 1}")
    assert f"--episode {episode - 1}" in page.locator("main").inner_text()
    axe(page)
