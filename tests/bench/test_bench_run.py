"""What a whole run costs: run with `pytest tests/bench/test_bench_run.py -s`.

The embedded run in a process of its own, so that its memory can be told, in seconds of a processor
and as so many messages through a bare asyncio.Queue, in the same run: machines and their load
differ, the ratio much less. Then how busy a run keeps its calls in flight, beside a schedule that
takes the same calls in lock-step.
"""

import asyncio
import json
import resource
import subprocess
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
from sim.config.run import RunConfig
from sim.runs.run import run

EPISODES = 1_000


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


CHILD = """
import sys
from sim.cli import main
main(["run", *sys.argv[1:], "--json"])
"""


async def _through_queue(count: int) -> None:
    queue = asyncio.Queue[int](maxsize=1_000)

    async def hear() -> None:
        for _ in range(count):
            await queue.get()

    async with asyncio.TaskGroup() as group:
        group.create_task(hear())
        for number in range(count):
            await queue.put(number)


def bare_message() -> float:
    """Return the seconds that a message through a bare asyncio.Queue takes, at best."""
    best, count = float("inf"), 50_000
    for _ in range(5):
        start = time.process_time()
        asyncio.run(_through_queue(count))
        best = min(best, time.process_time() - start)
    return best / count


@dataclass(frozen=True)
class Cost:
    """What a run came to: *steps*, *messages*, seconds of a processor, and bytes a line."""

    steps: int
    messages: int
    seconds: float
    line: float

    @property
    def step(self) -> float:
        """Seconds a step."""
        return self.seconds / self.steps


def spent() -> float:
    """Return the seconds of a processor that ended children have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def embedded_run(arrivals: str, episodes: int, out: Path) -> Cost:
    """Run the stand-in in a process of its own, with all that a run writes."""
    words = ["--episodes", str(episodes), "--arrivals", arrivals, "--out", str(out)]
    before = spent()
    done = subprocess.run([sys.executable, "-c", CHILD, *words], capture_output=True, check=True)
    seconds, summary = spent() - before, json.loads(done.stdout)
    lines = summary["messages"]
    line = (out / "trace.jsonl").stat().st_size / lines
    return Cost(summary["steps"], lines, seconds, line)


@pytest.mark.parametrize("arrivals", ["all", "batches:10"])
def test_bench_embedded_run(arrivals: str, tmp_path: Path) -> None:
    cost = embedded_run(arrivals, EPISODES, tmp_path / "run")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    say(
        f"\n{arrivals}: {1 / cost.step:,.0f} steps per second of a processor, "
        f"{1e6 * cost.step:.0f} µs a step = {cost.step / bare_message():.0f} bare messages, "
        f"{cost.messages / cost.steps:.1f} messages a step, {cost.line:.0f} bytes a line, "
        f"{peak:.0f} MB"
    )
    assert cost.line <= 450
    assert peak < 500


@pytest.mark.slow
def test_bench_later_steps_cost_what_the_first_did(tmp_path: Path) -> None:
    """Four times the episodes: what a step costs more is what memories cost that grow."""
    few, many = (embedded_run("batches:10", n, tmp_path / f"{n}") for n in (EPISODES, 4 * EPISODES))
    say(f"\nbatches:10: {1e6 * few.step:.0f} µs a step, later {many.step / few.step:.2f} times")
    assert many.step / few.step < 2


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
