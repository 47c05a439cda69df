"""Pages of runs over HTTP, with real runs: what they say, and what they say where there is none."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import anyio
import pytest

from engine.errors import ServiceError
from sim.config.layers import configured
from sim.runs.fork import fork
from sim.runs.run import run
from sim.views.web.folder import folder_of
from sim.views.web.gate import Gate
from sim.views.web.server import served
from sim.views.web.site import site_of
from tests.support.small import SMALL, Counted, Failing

Got: TypeAlias = tuple[int, str]


@asynccontextmanager
async def looking(*paths: Path) -> AsyncIterator[Callable[[str], Awaitable[Got]]]:
    """Serve *paths* and yield what gets a page: its status and its text."""
    async with (
        served(site_of(folder_of(paths), Gate.at("127.0.0.1")), 0) as url,
        aiohttp.ClientSession() as session,
    ):

        async def get(address: str) -> Got:
            async with session.get(url.rstrip("/") + address) as response:
                return response.status, await response.text()

        yield get


def got(address: str, *paths: Path) -> Got:
    """Return the status and the text of a page over *paths*."""

    async def main() -> Got:
        async with looking(*paths) as get:
            return await get(address)

    return anyio.run(main)


def facts(address: str, *paths: Path) -> Any:
    """Return what a page shows, as JSON."""
    status, text = got(f"{address}?json", *paths)
    assert status == 200
    return json.loads(text)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run, its fork, one with a failed episode and one that was stopped."""
    folder = tmp_path_factory.mktemp("runs")
    run(configured(SMALL), out=folder / "first")
    fork(folder / "first", (1, 0), settings=[{"quit": {"window": 2}}], out=folder / "forked")
    run(configured(SMALL, {"agent": "act-only"}), out=folder / "deep" / "other", model=Failing(1))
    with pytest.raises(ServiceError):
        run(configured(SMALL), out=folder / "stopped", model=Counted(40))
    (folder / "bad").mkdir()
    (folder / "bad" / "run.toml").write_text("agent = [")
    (folder / "no-run").mkdir()
    return folder


def test_all_runs_of_a_folder_are_listed(runs: Path) -> None:
    """Forks below their parents; a damaged run says so, and hides no other."""
    rows = facts("/", runs)["rows"]
    told = {row["card"]["name"]: row for row in rows}
    assert [*told] == ["bad", "deep/other", "first", "forked", "stopped"]
    assert (told["forked"]["depth"], told["forked"]["card"]["parent"]) == (1, "first")
    statuses = [row["card"]["status"] for row in rows]
    assert statuses == ["damaged", "finished", "finished", "finished", "stopped"]
    status, text = got("/", runs)
    assert status == 200
    assert "act-only" in text


def test_a_folder_without_runs_says_how_to_make_one(tmp_path: Path) -> None:
    status, text = got("/", tmp_path)
    assert status == 200
    assert "billp run" in text


@pytest.mark.parametrize("name", ["first", "forked", "deep/other", "stopped"])
def test_a_run_has_a_page_whatever_became_of_it(runs: Path, name: str) -> None:
    status, text = got(f"/run/{name}", runs)
    assert status == 200
    assert name in text
    told = facts(f"/run/{name}", runs)
    assert told["standing"] == ("stopped" if name == "stopped" else "finished")
    assert told["written"] <= SMALL["episodes"]
    assert sum(count for _, count in told["reasons"]) + told["failed"] == told["written"]


def test_a_stopped_run_says_how_it_goes_on(runs: Path) -> None:
    assert "billp resume" in got("/run/stopped", runs)[1]


def test_blocks_of_a_run_are_a_table_and_rows(runs: Path) -> None:
    told = facts("/trend/first", runs)
    assert sum(point["episodes"] for point in told["points"]) == SMALL["episodes"]
    assert (told["why"], bool(told["rows"]["categories"])) == ("", True)
    assert got("/trend/first", runs)[0] == 200


@pytest.mark.parametrize("address", ["/run/none", "/trend/none", "/run/no-run", "/run/bad"])
def test_what_cannot_be_shown_is_a_sentence(runs: Path, address: str) -> None:
    status, text = got(address, runs)
    assert status in {400, 404}
    assert "Traceback" not in text
    assert '<p class="said">' in text


def test_only_the_runs_that_were_named_are_shown(runs: Path) -> None:
    assert [row["card"]["name"] for row in facts("/", runs / "first")["rows"]] == ["first"]
    assert got("/run/first", runs / "first")[0] == 200
    assert got("/run/forked", runs / "first")[0] == 404


def test_a_run_that_was_changed_is_read_anew(tmp_path: Path) -> None:
    """What is kept of a run holds only as long as its files are the same."""

    async def main() -> tuple[int, int]:
        async with looking(tmp_path) as get:
            one = json.loads((await get("/?json"))[1])["rows"]
            await anyio.to_thread.run_sync(lambda: run(configured(SMALL), out=tmp_path / "run"))
            other = json.loads((await get("/?json"))[1])["rows"]
        return len(one), other[0]["card"]["episodes"]

    assert anyio.run(main) == (0, SMALL["episodes"])
