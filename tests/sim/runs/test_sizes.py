"""How long a run takes is reckoned before it begins: a formula beside simulated runs.

They are whole runs on a virtual clock. Each call takes as long as one of the same role took when a
real model answered (traces/smollm2).
"""

from asyncio import sleep
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from engine.chance import chance
from sim.config.layers import configured
from sim.library.run import Run
from sim.runs.run import run_async
from storage.journal import read_journal
from storage.runs import RunDirectory
from tests.support.virtual import now, virtually

SMOLLM2 = Path(__file__).parents[3] / "traces" / "smollm2"


@cache
def recorded() -> dict[str, Sequence[float]]:
    """Return the seconds that calls of each role took."""
    found: dict[str, list[float]] = {}
    for (_, _, _, role, _), ended in read_journal(RunDirectory(SMOLLM2).journal).items():
        found.setdefault(role, []).append(ended.latency)
    return dict(found)


@dataclass
class Lifelike:
    """The embedded model, as slow as a real one was."""

    calls: int = 0
    seconds: float = 0.0
    ended: float = 0.0
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        call = request.call
        known = recorded()[call.role]
        drawn = chance(1, call.user, call.session, call.step, f"{call.role}/{call.occurrence}")
        seconds = known[drawn.integer(len(known))]
        self.calls += 1
        self.seconds += seconds
        await sleep(seconds)
        self.ended = now()
        return await self.model.reply(request)


def simulated(out: Path, **how: Any) -> tuple[Lifelike, float]:
    """Return the model of a whole run of 400 episodes, and the seconds that it took."""
    model = Lifelike()
    config = configured({"episodes": 400, "prompts": False, "fsync": "none", **how})
    virtually(lambda: run_async(config, model=model, out=out))
    return model, model.ended


def steps_of(out: Path) -> list[int]:
    """Return how many steps each episode had."""
    counted = Run.open(out).frame("ActionTaken")["episode"].value_counts().sort("episode")
    return counted["count"].to_list()


@pytest.mark.slow
@pytest.mark.parametrize("in_flight", [16, 64])
def test_who_waits_for_nobody_keeps_all_calls_in_flight(in_flight: int, tmp_path: Path) -> None:
    """The time is that of all calls one after the other, over those in flight, and a tail."""
    model, seconds = simulated(tmp_path / "run", arrivals="all", concurrency=in_flight)
    assert 1.0 <= seconds / (model.seconds / in_flight) <= 1.2


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 40])
def test_a_batch_takes_as_long_as_its_longest_visit(size: int, tmp_path: Path) -> None:
    """Most of its calls are made one after the other: few of those that could be are in flight."""
    model, seconds = simulated(tmp_path / "run", arrivals=f"batches:{size}", concurrency=512)
    steps = steps_of(tmp_path / "run")
    longest = sum(max(steps[n : n + size]) for n in range(0, len(steps), size))
    assert 0.7 <= seconds / (longest * model.seconds / sum(steps)) <= 0.9
    assert model.seconds / seconds < size / 2
