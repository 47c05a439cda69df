"""Ten thousand episodes: pages open without much work, and scrolling stays smooth."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sim.config.layers import configured
from sim.runs.run import run
from tests.support.browser import Page, axe, says
from tests.support.small import SMALL

pytestmark = pytest.mark.slow

EPISODES = 10_000
MEMORY = 400 << 10  # KiB; 130 MiB of it are libraries


@dataclass(frozen=True)
class Service:
    """A process that serves pages at *url*."""

    url: str
    process: int

    @property
    def seconds(self) -> float:
        """How long it has kept a processor busy."""
        told = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def most(self) -> int:
        """How much memory it has held at most, in KiB."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("many") / "many"
    how = {"agent": "random", "episodes": EPISODES, "arrivals": "batches:100", "users": "all"}
    run(configured(SMALL, how), out=out)
    return out


@pytest.fixture
def service(made: Path) -> Iterator[Service]:
    """Serve the run in a process that has not looked at it yet."""
    command = [sys.executable, "-m", "billp", "view", str(made), "--port", "0"]
    environ = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout is not None
        yield Service(process.stdout.readline().split()[2], process.pid)
        process.send_signal(signal.SIGINT)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells of a process")
def test_a_large_run_opens_with_little_work(
    service: Service, page: Page, screenshot: Callable[[str], None]
) -> None:
    """Its page costs the server twice its start at most, with charts, and little memory.

    By its own start it is told how busy the machine is: about a second, where it is idle.
    """
    start = service.seconds
    page.goto(f"{service.url}run/many", wait_until="networkidle")
    page.wait_for_selector("billp-chart[name=rewards][data-drawn]")
    assert service.seconds - start < 2 * start
    assert service.most < MEMORY
    screenshot("many-run")
    page.goto(f"{service.url}episode/many?k={EPISODES - 1}")
    assert service.seconds - start < 2.5 * start


def test_ten_thousand_rows_are_scrolled_through(
    service: Service, page: Page, screenshot: Callable[[str], None]
) -> None:
    """As many rows as are seen stand in the page; the last is come to, and so is the worst."""
    page.goto(f"{service.url}episodes/many", wait_until="networkidle")
    for place in (0.3, 0.6, 1):
        page.evaluate(
            "place => { const rows = document.querySelector('.rows');"
            " rows.scrollTop = rows.scrollHeight * place; }",
            place,
        )
        page.wait_for_timeout(100)
        assert page.locator("billp-episodes tbody tr").count() < 100
    page.wait_for_selector(f"billp-episodes tr[aria-rowindex='{EPISODES + 1}'] a")
    says(page.locator("billp-episodes [role=status]"), "10,000 of 10,000")
    axe(page)
    screenshot("many-episodes")
