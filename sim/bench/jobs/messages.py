"""What a message costs: through bus and scheduler, and through queues that do nothing else.

All in the event loop that runs have: machines and their load differ, ratios much less.
"""

import asyncio
import tempfile
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from engine.arrivals import Listed, Visit
from engine.bus import Bus
from engine.delivery import Delivery
from engine.errors import LawError
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
from sim.bench.cost import Cost, cost_of
from sim.runs.loop import in_event_loop

STEPS = 60
"""Steps of an episode; each is two messages."""

HANDLERS = 3
"""Who hears a message, on the bus as behind queues."""

_RUNNING = 32
_ROOM = 1_000  # messages that wait in a queue
_HEAD = RunStarted(schema=1, agent="bench", model="none", environment="", seed=0, settings=())
_THOUGHT = "Take something else than puzzles, with a story and not too long."

Started: TypeAlias = EpisodeStarted | None


@dataclass(frozen=True)
class _Writer:
    file: BinaryIO

    def write(self, lines: bytes) -> None:
        self.file.write(lines)


async def _plan(delivery: Delivery[Any, Started]) -> None:
    """Publish what comes next: one message for each message, so that all handlers hear it."""
    message = delivery.message
    if isinstance(message, PlanRequested):
        delivery.publish(PlanMade(step=message.step, thought=_THOUGHT))
    elif isinstance(message, PlanMade) and message.step + 1 == STEPS:
        delivery.publish(EpisodeEnded(length=STEPS, reward=0.0, reason="limit"))
    else:
        step = message.step + 1 if isinstance(message, PlanMade) else 0
        delivery.publish(PlanRequested(step=step), after=10)


async def _look(delivery: Delivery[Any, Started]) -> None:
    """Handle a message without a word."""


def _keep(above: Started, message: Message) -> Started:
    return message if isinstance(message, EpisodeStarted) else above


async def _no_answer(*_: object) -> Any:
    raise LawError("nobody asks here")


def _opening(visit: Visit, memories: tuple[MemoryLength, ...]) -> EpisodeStarted:
    return EpisodeStarted(
        user=visit.user, session=0, arrival=visit.arrival, history=(), memories=memories
    )


def through_bus(messages: int) -> Cost:
    """Run episodes of about so many messages, of which each has three handlers and its line."""
    with tempfile.TemporaryDirectory() as place:
        return bus_written(messages, Path(place) / "trace.jsonl")


def bus_written(messages: int, trace: Path) -> Cost:
    """Do so with a trace that stays."""
    # In each episode its start, two a step, its end and the join.
    episodes = max(1, messages // (2 * STEPS + 3))
    bus = Bus[Started]()
    for handler in (_plan, *[_look] * (HANDLERS - 1)):
        bus.subscribe(EpisodeStarted | PlanRequested | PlanMade, handler)
    with trace.open("wb") as file:
        bus.write_to(_Writer(file))
        scheduler = Scheduler(
            bus=bus,
            arrivals=Listed(deque(Visit(0, user, 0) for user in range(episodes))),
            memories={},
            answer=_no_answer,
            embed=_no_answer,
            fold=_keep,
            opening=_opening,
            bounds=Bounds(running=_RUNNING),
        )

        def work() -> int:
            in_event_loop(partial(scheduler.run, _HEAD))
            return bus.statistics().messages

        return cost_of(work, episodes=episodes)


async def _queued(count: int, hearers: int) -> None:
    queues = [asyncio.Queue[PlanMade](maxsize=_ROOM) for _ in range(hearers)]

    async def hear(queue: asyncio.Queue[PlanMade]) -> None:
        for _ in range(count):
            await queue.get()

    async def tell() -> None:
        for step in range(count):
            message = PlanMade(step=step, thought=_THOUGHT)
            for queue in queues:
                await queue.put(message)

    await asyncio.gather(tell(), *[hear(queue) for queue in queues])


def through_queues(messages: int, hearers: int = HANDLERS) -> Cost:
    """Hand messages to hearers, a bare queue for each: no order, no cause, nothing written."""

    def work() -> int:
        in_event_loop(partial(_queued, messages, hearers))
        return messages

    return cost_of(work)


def through_simpy(messages: int) -> Cost:
    """Hand messages to three processes of simpy, a store for each; simpy has to be installed."""
    simpy = import_module("simpy")
    world = simpy.Environment()
    stores = [simpy.Store(world, capacity=_ROOM) for _ in range(HANDLERS)]

    def hear(store: Any) -> Generator[Any, Any, None]:
        for _ in range(messages):
            yield store.get()

    def tell() -> Generator[Any, Any, None]:
        for step in range(messages):
            message = PlanMade(step=step, thought=_THOUGHT)
            for store in stores:
                yield store.put(message)

    world.process(tell())
    for store in stores:
        world.process(hear(store))

    def work() -> int:
        world.run()
        return messages

    return cost_of(work)
