"""A run on pages while it runs: what they are told, and that the run does not know of it."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from agents.models.embedded import EmbeddedModel
from engine.errors import InterruptedRunError
from sim.config.layers import configured
from sim.library.run import Run
from sim.runs.resume import resume_async
from sim.runs.run import run, run_async
from sim.runs.watching import Underway
from sim.views.console import plain
from sim.views.web.dashboard import DashboardView
from tests.support.small import SMALL

CONFIG = configured(SMALL, {"concurrency": 4})


@dataclass(eq=False)
class Told(DashboardView):
    """A dashboard that keeps its address."""

    console: Any = field(default_factory=lambda: plain(stderr=True))
    there: anyio.Event = field(default_factory=anyio.Event)
    begun: anyio.Event = field(default_factory=anyio.Event)
    url: str = ""

    def print(self, text: str) -> None:
        self.url = text.rsplit(maxsplit=1)[-1]
        self.there.set()

    def attach(self, underway: Underway) -> None:
        self.console = self
        super().attach(underway)


@dataclass
class Slow:
    """A model that waits until somebody watches, and then takes its time."""

    watched: anyio.Event
    inner: Any

    async def reply(self, request: Any) -> Any:
        await self.watched.wait()
        await asyncio.sleep(0.001)
        return await self.inner.reply(request)


async def listen(url: str, heard: list[tuple[str, Any]], watched: anyio.Event) -> None:
    """Take all events of the run whose page is at *url*."""
    address = url.replace("/run/", "/events/")
    async with aiohttp.ClientSession() as session, session.get(address) as response:
        assert response.content_type == "text/event-stream"
        kind = ""
        async for line in response.content:
            watched.set()
            if line.startswith(b"event: "):
                kind = line[7:].strip().decode()
            elif line.startswith(b"data: "):
                heard.append((kind, json.loads(line[6:])))


async def watched(out: Path, heard: list[tuple[str, Any]]) -> str:
    """Run with a dashboard that somebody looks at; return the digest."""
    view, seen = Told(), anyio.Event()
    digests = []

    async def go() -> None:
        model = Slow(seen, EmbeddedModel())
        digests.append((await run_async(CONFIG, out=out, views=[view], model=model)).digest)

    async with anyio.create_task_group() as group:
        group.start_soon(go)
        await view.there.wait()
        group.start_soon(listen, view.url, heard, seen)
    return digests[0]


def test_a_run_that_is_watched_has_the_digest_of_one_that_is_not(tmp_path: Path) -> None:
    """Its page hears of it from the beginning to the end."""
    heard: list[tuple[str, Any]] = []
    alone = run(CONFIG, out=tmp_path / "alone")
    digest = anyio.run(watched, tmp_path / "watched", heard)
    assert digest == alone.digest
    kinds = [kind for kind, _ in heard]
    assert (kinds[0], kinds[-1]) == ("tick", "end")
    last = [told for kind, told in heard if kind == "tick"][-1]
    assert last["tiles"]["episodes"] == str(SMALL["episodes"])
    assert last["tiles"]["r_traj"] == f"{alone.metrics.r_traj:.2f}"
    assert heard[-1][1]["standing"] == "finished"
    trend = [told for kind, told in heard if kind == "trend"][-1]
    assert sum(row["count"] for row in trend["reasons"]) == SMALL["episodes"]


async def controlled(out: Path, told: dict[str, Any]) -> None:
    view, seen = Told(), anyio.Event()

    async def steer() -> None:
        await view.there.wait()
        seen.set()
        address = view.url.replace("/run/", "/control/{}/")
        origin = view.url.partition("/run/")[0]
        gate = view._site.gate
        headers = {"X-Billp-Control": gate.control, "Origin": origin}
        async with aiohttp.ClientSession() as session:
            for name, what, how, body in (
                ("stranger", "pause", {}, "{}"),
                ("other site", "pause", {**headers, "Origin": "http://evil.example"}, "{}"),
                ("bad", "change", headers, '{"in_flight": 99}'),
                ("unknown", "change", headers, '{"colour": 1}'),
                ("nothing", "dance", headers, "{}"),
                ("pause", "pause", headers, "{}"),
                ("change", "change", headers, '{"in_flight": 2}'),
                ("go on", "go-on", headers, "{}"),
                ("stop", "stop", headers, "{}"),
            ):
                async with session.post(address.format(what), headers=how, data=body) as response:
                    told[name] = (response.status, await response.text())

    async with anyio.create_task_group() as group:
        group.start_soon(steer)
        with pytest.raises(InterruptedRunError):
            await run_async(CONFIG, out=out, views=[view], model=Slow(seen, EmbeddedModel()))


def test_a_run_is_controlled_by_its_own_pages_alone(tmp_path: Path) -> None:
    told: dict[str, Any] = {}
    anyio.run(controlled, tmp_path / "run", told)
    statuses = {name: status for name, (status, _) in told.items()}
    assert statuses == {
        **{"stranger": 403, "other site": 403, "bad": 400, "unknown": 400, "nothing": 404},
        **{"pause": 200, "change": 200, "go on": 200, "stop": 200},
    }
    assert "1 to 4" in told["bad"][1]
    assert "colour" in told["unknown"][1]
    alone = run(CONFIG, out=tmp_path / "alone")
    anyio.run(resume_async, tmp_path / "run")
    assert Run.open(tmp_path / "run").digest == alone.digest
