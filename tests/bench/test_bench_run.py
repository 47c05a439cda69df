"""What a whole run costs: run with `pytest tests/bench/test_bench_run.py -s`.

The embedded run in a process of its own, so that its memory can be told, in seconds of a processor
and as so many messages through a bare asyncio.Queue, in the same run: machines and their load
differ, the ratio much less. Then how busy a run keeps its calls in flight, beside a schedule that
takes the same calls in lock-step.
"""

import asyncio
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from agents.models.serving.latency import Latency
from engine.chance import chance
from sim.bench.children import in_child, job
from sim.bench.cost import Cost
from sim.config.run import RunConfig
from sim.runs.run import run

EPISODES = 1_000


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def embedded(arrivals: str, episodes: int) -> Cost:
    """Return what a run of the stand-in costs, in a process of its own."""
    return in_child(job("runs", "embedded", episodes=episodes, arrivals=arrivals))


@pytest.mark.parametrize("arrivals", ["all", "batches:10"])
def test_bench_embedded_run(arrivals: str) -> None:
    cost = embedded(arrivals, EPISODES)
    bare = in_child(job("messages", "through_queues", messages=50_000, hearers=1))
    messages, line = cost.told["messages"] / cost.count, cost.told["line"]
    say(
        f"\n{arrivals}: {cost.rate:,.0f} steps per second of a processor, "
        f"{1e6 * cost.each:.0f} µs a step = {cost.each / bare.each:.0f} bare messages, "
        f"{messages:.1f} messages a step, {line:.0f} bytes a line, {cost.peak:.0f} MB"
    )
    assert line <= 450
    assert cost.peak < 500


@pytest.mark.slow
def test_bench_later_steps_cost_what_the_first_did() -> None:
    """Four times the episodes: what a step costs more is what memories cost that grow."""
    few, many = (embedded("batches:10", episodes) for episodes in (EPISODES, 4 * EPISODES))
    later = many.each / few.each
    say(f"\nbatches:10: {1e6 * few.each:.0f} µs a step, later {later:.2f} times")
    assert later < 2


@dataclass
class Timed:
    """The embedded model, with a time for each call that depends on the call alone."""

    latency: Latency
    taken: dict[tuple[int, int], dict[str, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        call = request.call
        stream = chance(9, call.user, call.session, call.step, f"{call.role}/{call.occurrence}")
        seconds = self.latency.draw(stream)
        self.taken[call.episode, call.step][call.role] += seconds
        await asyncio.sleep(seconds)
        return await self.model.reply(request)

    def lock_step(self, size: int) -> float:
        """Return the seconds that the same calls take when each waits for the slowest of *size*."""
        rounds: dict[tuple[int, int, str], float] = defaultdict(float)
        for (episode, step), roles in self.taken.items():
            for role, seconds in roles.items():
                place = (episode // size, step, role)
                rounds[place] = max(rounds[place], seconds)
        return sum(rounds.values())


@pytest.mark.parametrize(
    ("in_flight", "episodes", "median", "busy"), [(10, 100, 0.05, 0.95), (64, 1_000, 0.2, 0.97)]
)
def test_bench_slots_are_kept_busy(
    in_flight: int, episodes: int, median: float, busy: float, tmp_path: Path
) -> None:
    model = Timed(Latency(median=median, sigma=0.6))
    config = RunConfig(episodes=episodes, arrivals="all", concurrency=in_flight, prompts=False)
    start = time.perf_counter()
    summary = run(config, model=model, out=tmp_path / "run")
    wall = time.perf_counter() - start
    ratio = model.lock_step(in_flight) / wall
    say(
        f"\n{in_flight} in flight, {config.episodes} episodes: {summary.utilization:.3f} of the "
        f"slots busy, {summary.calls / wall:,.0f} calls/s, lock-step takes {ratio:.1f} times longer"
    )
    assert summary.utilization >= busy
    assert ratio >= 2.5
