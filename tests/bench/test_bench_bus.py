"""What a message costs: run with `pytest tests/bench/test_bench_bus.py -s`.

Through bus and scheduler, with three handlers for each message and the trace written to a file,
beside a bare asyncio.Queue in the same run, both in the event loop that runs have: machines and
their load differ, the ratio much less.
"""

import asyncio
import sys
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from engine.arrivals import Listed, Visit
from engine.bus import Bus
from engine.delivery import Delivery
from engine.messages import (
    EpisodeEnded,
    EpisodeStarted,
    MemoryLength,
    Message,
    PlanMade,
    PlanRequested,
    RunStarted,
)
from engine.scheduler import Bounds, Scheduler
from sim.runs.loop import in_event_loop

EPISODES, STEPS, RUNNING, ROUNDS = 400, 60, 32, 5
HEAD = RunStarted(schema=1, agent="bench", model="none", environment="", seed=0, settings=())
THOUGHT = "Take something else than puzzles, with a story and not too long."

Started: TypeAlias = EpisodeStarted | None


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


@dataclass(frozen=True)
class Rate:
    """Messages a second, and lines and bytes that were written."""

    messages: float
    count: int
    size: int


@dataclass(frozen=True)
class Writer:
    file: BinaryIO

    def write(self, lines: bytes) -> None:
        self.file.write(lines)


async def plan(delivery: Delivery[Any, Started]) -> None:
    """Publish what comes next: one message for each message, so that three handlers hear it."""
    message = delivery.message
    if isinstance(message, PlanRequested):
        delivery.publish(PlanMade(step=message.step, thought=THOUGHT))
    elif isinstance(message, PlanMade) and message.step + 1 == STEPS:
        delivery.publish(EpisodeEnded(length=STEPS, reward=0.0, reason="limit"))
    else:
        step = message.step + 1 if isinstance(message, PlanMade) else 0
        delivery.publish(PlanRequested(step=step), after=10)


async def look(delivery: Delivery[Any, Started]) -> None:
    """Handle a message without a word."""


def keep(above: Started, message: Message) -> Started:
    return message if isinstance(message, EpisodeStarted) else above


async def no_answer(*_: object) -> Any:
    raise NotImplementedError


def opening(visit: Visit, memories: tuple[MemoryLength, ...]) -> EpisodeStarted:
    return EpisodeStarted(
        user=visit.user, session=0, arrival=visit.arrival, history=(), memories=memories
    )


def through_bus(path: Path) -> Rate:
    """Run episodes of PlanRequested and PlanMade in turn."""
    bus = Bus[Started]()
    for handler in (plan, look, look):
        bus.subscribe(EpisodeStarted | PlanRequested | PlanMade, handler)
    with path.open("wb") as file:
        bus.write_to(Writer(file))
        scheduler = Scheduler(
            bus=bus,
            arrivals=Listed(deque(Visit(0, user, 0) for user in range(EPISODES))),
            memories={},
            answer=no_answer,
            embed=no_answer,
            fold=keep,
            opening=opening,
            bounds=Bounds(running=RUNNING),
        )
        start = time.perf_counter()
        in_event_loop(partial(scheduler.run, HEAD))
        seconds = time.perf_counter() - start
    count = bus.statistics().messages
    return Rate(count / seconds, count, path.stat().st_size)


async def _through_queues(count: int) -> None:
    queues = [asyncio.Queue[PlanMade](maxsize=1_000) for _ in range(3)]

    async def hear(queue: asyncio.Queue[PlanMade]) -> None:
        for _ in range(count):
            await queue.get()

    async def tell() -> None:
        for step in range(count):
            message = PlanMade(step=step, thought=THOUGHT)
            for queue in queues:
                await queue.put(message)

    await asyncio.gather(tell(), *[hear(queue) for queue in queues])


def through_queues(count: int) -> Rate:
    """Hand messages to three consumers, one queue each: no order, no cause, nothing written."""
    start = time.perf_counter()
    in_event_loop(partial(_through_queues, count))
    return Rate(count / (time.perf_counter() - start), count, 0)


def test_messages_a_second(tmp_path: Path) -> None:
    """The whole trace is there; what it cost is printed."""
    trace = tmp_path / "trace.jsonl"
    rounds = [(through_bus(trace), through_queues(50_000)) for _ in range(ROUNDS)]
    bus, queue = (max(rates, key=lambda rate: rate.messages) for rates in zip(*rounds, strict=True))
    say(f"\n{EPISODES} episodes, {RUNNING} at once, three handlers a message, best of {ROUNDS}")
    for name, rate in {"bus, trace written": bus, "asyncio.Queue": queue}.items():
        cost = 1e6 / rate.messages
        factor = f"{rate.messages / queue.messages:5.2f} × asyncio.Queue"
        say(f"{name:20} {rate.messages:9,.0f} messages/s  {cost:6.2f} µs  {factor}")
    say(f"{bus.size / bus.count:.0f} bytes a line")
    # The head and the end, and in each episode its start, two a step, its end and the join.
    assert bus.count == EPISODES * (2 * STEPS + 3) + 2
    assert trace.read_bytes().count(b"\n") == bus.count
