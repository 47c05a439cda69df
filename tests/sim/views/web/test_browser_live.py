"""A run as somebody watches it in a browser while it runs: its numbers move, and it obeys."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agents.models.embedded import EmbeddedModel
from engine.errors import InterruptedRunError
from sim.config.layers import configured
from sim.library.run import Run
from sim.runs.run import run
from sim.views.web.dashboard import DashboardView
from tests.support.browser import PHONE, Page, axe, fits, left, says
from tests.support.small import SMALL
from tests.support.viewed import viewed

pytestmark = pytest.mark.slow

CONFIG = configured(SMALL, {"episodes": 40, "concurrency": 4, "prompts": True})


@dataclass
class Slow:
    """The embedded model, in no hurry; and in a hurry once it is told."""

    seconds: float = 0.03
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: Any) -> Any:
        await asyncio.sleep(self.seconds)
        return await self.model.reply(request)


@dataclass
class Underway:
    """A run in a thread of its own: where its page is, its model, and what stopped it."""

    url: str
    model: Slow
    ended: threading.Event = field(default_factory=threading.Event)
    stopped: BaseException | None = None


@contextmanager
def underway(out: Path) -> Iterator[Underway]:
    """Run with a dashboard; in the end the run is let come to its end."""
    there = threading.Event()
    found = Underway("", Slow())

    class Told(Console):
        def print(self, *texts: Any, **_: Any) -> None:
            found.url = str(texts[0]).split()[-1]
            there.set()

    def go() -> None:
        view = DashboardView(console=Told())
        try:
            run(CONFIG, out=out, views=[view], model=found.model)
        except InterruptedRunError as error:
            found.stopped = error
        finally:
            found.ended.set()

    thread = threading.Thread(target=go, daemon=True)  # one that is paused would never end
    thread.start()
    try:
        assert there.wait(30)
        yield found
    finally:
        found.model.seconds = 0.0
        thread.join(10)


def until(page: Page, where: str, pattern: str) -> None:
    """Wait for words; a page's own policy would not let them be sought by a script."""
    says(page.locator(where), pattern)


def episodes(page: Page) -> int:
    return int(page.locator("#episodes").inner_text().split()[0])


def test_numbers_move_until_the_end(
    tmp_path: Path, page: Page, screenshot: Callable[[str], None]
) -> None:
    """Tiles, lanes and charts follow the run, whose digest is as ever; its end is said."""
    with underway(tmp_path / "live") as found:
        page.goto(found.url)
        page.locator("#lanes:not([hidden]) li").first.wait_for()
        until(page, "#episodes", r"^\s*([3-9]|\d\d)")
        found.model.seconds = 0.5  # it is not to end while it is looked at
        until(page, "#pulse", "steps/s")
        until(page, "#waits", "wait for")
        page.locator("billp-chart[name=rewards][data-drawn]").wait_for()
        axe(page)
        screenshot("live-light")
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size(PHONE)
        fits(page)
        screenshot("live-phone")
        seen = episodes(page)
        found.model.seconds = 0.0
        until(page, "#said", "end")
        until(page, "#episodes", rf"^\s*{CONFIG.episodes}\b")
        assert seen < CONFIG.episodes
        assert found.ended.wait(30)
        left(page)
    with ThreadPoolExecutor() as pool:  # the browser's driver has the loop of this thread
        pool.submit(run, CONFIG, out=tmp_path / "alone").result()
    assert Run.open(tmp_path / "live").digest == Run.open(tmp_path / "alone").digest


def test_it_is_paused_bounded_and_stopped(tmp_path: Path, page: Page, noted: list[str]) -> None:
    with underway(tmp_path / "live") as found:
        page.goto(found.url)
        page.locator("#lanes:not([hidden]) li").first.wait_for()
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Go on").wait_for()
        until(page, "#pulse", "0 of")
        paused = episodes(page)
        page.get_by_text("Limits", exact=True).click()
        page.get_by_label("calls in flight").fill("9")
        page.get_by_role("button", name="Let them hold").click()
        until(page, "#said", "1 to 4")
        assert "400" in noted.pop()  # what cannot hold is an error to a browser
        page.get_by_label("calls in flight").fill("2")
        page.get_by_role("button", name="Let them hold").click()
        until(page, "#said", "hold")
        assert episodes(page) == paused
        page.get_by_role("button", name="Go on").click()
        until(page, "#pulse", "of 2")
        page.get_by_role("button", name="Stop").click()
        until(page, "#said", "resume")
        assert found.ended.wait(30)
        left(page)
        assert isinstance(found.stopped, InterruptedRunError)


def test_a_run_of_another_process_is_followed(tmp_path: Path, page: Page) -> None:
    """By its files, without controls; when it has ended its page is that of a recorded run."""
    with underway(tmp_path / "live") as found, viewed(tmp_path) as url:
        page.goto(f"{url}run/live")
        until(page, "#episodes", r"^\s*([3-9]|\d\d)")
        assert page.locator(".controls").count() == 0
        found.model.seconds = 0.0
        page.locator("#standing", has_text="finished").wait_for()
        page.locator("#metrics").wait_for()
        left(page)
