"""Slots are kept busy, on a virtual clock: there the schedule is all that can keep them idle."""

from asyncio import sleep
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from agents.models.serving.latency import Latency
from engine.chance import chance
from sim.config.run import RunConfig
from sim.runs.run import run_async
from tests.support.virtual import now, virtually

LATENCY = Latency(median=1.0, sigma=0.6)


@dataclass
class Timed:
    """The embedded model, with a log-normal time for each call that depends on the call alone."""

    seed: int
    busy: float = 0.0
    ended: float = 0.0
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        call = request.call
        purpose = f"{call.role}/{call.occurrence}"
        seconds = LATENCY.draw(chance(self.seed, call.user, call.session, call.step, purpose))
        self.busy += seconds
        await sleep(seconds)
        self.ended = now()
        return await self.model.reply(request)


@pytest.mark.parametrize(
    ("in_flight", "episodes", "busy"),
    [(10, 100, 0.95), pytest.param(64, 1_000, 0.97, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("seed", range(3))
def test_slots_are_kept_busy(
    in_flight: int, episodes: int, busy: float, seed: int, tmp_path: Path
) -> None:
    """From the first call to the last; what is left is the tail of the last calls."""
    model = Timed(seed)
    config = RunConfig(
        episodes=episodes, arrivals="all", concurrency=in_flight, prompts=False, fsync="none"
    )
    virtually(lambda: run_async(config, model=model, out=tmp_path / "run"))
    assert model.busy / (in_flight * model.ended) >= busy
