"""A run as somebody watches it in a browser while it runs: its numbers move, and it obeys."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agents.models.embedded import EmbeddedModel
from engine.errors import InterruptedRunError
from sim.config.layers import configured
from sim.library.run import Run
from sim.runs.run import run
from sim.views.web.dashboard import DashboardView
from tests.support.browser import PHONE, Page, axe, fits
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

    class Console:
        def print(self, text: str) -> None:
            found.url = text.rsplit(maxsplit=1)[-1]
            there.set()

    def go() -> None:
        view = DashboardView(console=Console())  # type: ignore[arg-type]
        try:
            run(CONFIG, out=out, views=[view], model=found.model)
        except InterruptedRunError as error:
            found.stopped = error
        finally:
            found.ended.set()

    thread = threading.Thread(target=go)
    thread.start()
    try:
        assert there.wait(30)
        yield found
    finally:
        found.model.seconds = 0.0
        thread.join(60)
        assert not thread.is_alive()


def episodes(page: Page) -> int:
    return int(re.match(r"\d+", page.locator("#episodes").inner_text())[0])  # type: ignore[index]


def test_numbers_move_until_the_end(
    tmp_path: Path, page: Page, screenshot: Callable[[str], None]
) -> None:
    """Tiles, lanes and charts follow the run, whose digest is as ever; its end is said."""
    with underway(tmp_path / "live") as found:
        page.goto(found.url)
        page.locator("#lanes:not([hidden]) li").first.wait_for()
        page.wait_for_function("parseInt(document.querySelector('#episodes').textContent) >= 3")
        assert "steps/s" in page.locator("#pulse").inner_text()
        assert "wait for" in page.locator("#waits").inner_text()
        page.locator("billp-chart[name=rewards][data-drawn]").wait_for()
        axe(page)
        screenshot("live-light")
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size(PHONE)
        fits(page)
        screenshot("live-phone")
        seen = episodes(page)
        found.model.seconds = 0.0
        page.wait_for_function("document.querySelector('#said').textContent.includes('end')")
        assert episodes(page) == CONFIG.episodes > seen
        assert found.ended.wait(30)
    run(CONFIG, out=tmp_path / "alone")
    assert Run.open(tmp_path / "live").digest == Run.open(tmp_path / "alone").digest


def test_it_is_paused_bounded_and_stopped(tmp_path: Path, page: Page) -> None:
    with underway(tmp_path / "live") as found:
        page.goto(found.url)
        page.locator("#lanes:not([hidden]) li").first.wait_for()
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Go on").wait_for()
        page.wait_for_function("document.querySelector('#pulse').textContent.includes('0 of')")
        paused = episodes(page)
        page.get_by_text("Limits").click()
        page.get_by_label("calls in flight").fill("9")
        page.get_by_role("button", name="Let them hold").click()
        page.wait_for_function("document.querySelector('#said').textContent.includes('1 to 4')")
        page.get_by_label("calls in flight").fill("2")
        page.get_by_role("button", name="Let them hold").click()
        page.wait_for_function("document.querySelector('#said').textContent.includes('hold')")
        assert episodes(page) == paused
        page.get_by_role("button", name="Go on").click()
        page.wait_for_function("document.querySelector('#pulse').textContent.includes('of 2')")
        page.get_by_role("button", name="Stop").click()
        page.wait_for_function("document.querySelector('#said').textContent.includes('resume')")
        assert found.ended.wait(30)
        assert isinstance(found.stopped, InterruptedRunError)


def test_a_run_of_another_process_is_followed(tmp_path: Path, page: Page) -> None:
    """By its files, without controls; when it has ended its page is that of a recorded run."""
    with underway(tmp_path / "live") as found, viewed(tmp_path) as url:
        page.goto(f"{url}run/live")
        page.wait_for_function("parseInt(document.querySelector('#episodes').textContent) >= 3")
        assert page.locator(".controls").count() == 0
        found.model.seconds = 0.0
        page.locator("#standing", has_text="finished").wait_for()
        page.locator("#metrics").wait_for()
