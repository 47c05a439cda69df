"""Schedules: whatever the event loop does first, a run is the same bytes and pays once.

simloom owns the loop: it draws which task goes on, moves the clock, and cuts what fails down to the
few choices that matter. It needs Python 3.12, billp 3.11, so these tests run where it can be had.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest, TransientError
from sim.config.layers import configured
from sim.runs.run import run_async
from sim.verification.verify import verify
from storage.datasets import open_environment
from storage.journal import CallEnded, read_journal
from tests.support.dying import SMALL

pytestmark = pytest.mark.slow

simloom = pytest.importorskip("simloom", reason="simloom needs Python 3.12")

WORLD = open_environment("synthetic")


@dataclass
class Weather:
    """The embedded model as far away as the schedule has it; some attempts fail on the way."""

    model: EmbeddedModel = field(default_factory=EmbeddedModel)
    answered: int = 0

    async def reply(self, request: ChatRequest) -> ChatReply:
        await asyncio.sleep(simloom.draw("latency", 40) / 100)
        if simloom.draw("weather", 20) == 0:
            raise TransientError("a gust", kind="server")
        self.answered += 1
        return await self.model.reply(request)


@dataclass
class Jealous(Weather):
    """A model that breaks the law: what it says depends on who came before."""

    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def reply(self, request: ChatRequest) -> ChatReply:
        other = msgspec.structs.replace(request, seed=next(self.numbers))
        return await super().reply(other)


Main = Callable[[], Coroutine[Any, Any, str]]


def running(model: Callable[[], Weather]) -> Main:
    """Return what runs a small run through limiter, budget, retries and cache; its digest."""

    async def main() -> str:
        with TemporaryDirectory() as scratch:
            out, asked = Path(scratch) / "run", model()
            settings = {"fsync": "none", "concurrency": 3, "cache": f"{scratch}/cache"}
            config = configured(SMALL, settings)
            summary = await run_async(config, environment=WORLD, model=asked, out=out)
            await asyncio.sleep(1)  # anyio's last callbacks want a loop that still runs
            ends = read_journal(out / "calls.jsonl")
            assert len([*ends.every()]) == len(ends) == asked.answered
            assert all(isinstance(end, CallEnded) and not end.error for end in ends.values())
            assert not [c for c in verify(out) if c.fault and c.name not in {"environment"}]
        return summary.digest

    return main


@pytest.mark.parametrize("scheduler", ["random", "pct"])
def test_no_schedule_leaves_a_mark_on_a_trace(scheduler: str) -> None:
    """A hundred of them, drawn and with priorities turned over."""
    digests = {
        simloom.run(running(Weather), seed=seed, scheduler=scheduler, virtual_time=True).value
        for seed in range(50)
    }
    assert len(digests) == 1


def test_a_law_that_is_broken_is_found_and_cut_down() -> None:
    """A failure says which choices matter: a few among hundreds."""
    digest = simloom.run(running(Jealous), seed=0, virtual_time=True).value

    async def main() -> None:
        assert await running(Jealous)() == digest

    found = simloom.explore(main, runs=20, start_seed=1, virtual_time=True)
    assert found.failures
    cut = simloom.shrink(main, found.first_failure, max_runs=30, virtual_time=True)
    assert cut.deviations < cut.initial_deviations
