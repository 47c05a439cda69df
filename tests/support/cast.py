"""A small catalog, a scripted model and everybody's understudy, for the tests of agents."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
import numpy as np

from agents.billp.memories import EXPERIENCES, REFLECTIONS, VALUATIONS
from agents.embeddings import HashingEmbedder, hashed
from agents.models.model import Prompt
from agents.prompts import sections
from agents.trajectory import Delivery, Trajectory, folding
from engine.arrivals import Listed
from engine.arrivals import Visit as Arrival
from engine.bus import Bus
from engine.calls import Call
from engine.delivery import Handler
from engine.messages import (
    ActionTaken,
    Envelope,
    EpisodeEnded,
    EpisodeStarted,
    MemoryLength,
    Message,
    ModelFailed,
    ModelReplied,
    PlanMade,
    PlanRequested,
    Rated,
    UserResponded,
)
from engine.records import MemoryName, P, Record
from engine.scheduler import Scheduler
from storage.catalog import Catalog
from storage.memory import Memory
from tests.support.kernel import HEAD, replied, unwrapped

M = TypeVar("M", bound=msgspec.Struct)
Script: TypeAlias = Callable[[Prompt], str | None]
"""The model: from a prompt to the reply's text; None stands for a call that failed."""
Subscription: TypeAlias = tuple[type, Handler[Trajectory]]
Memories: TypeAlias = Mapping[str, Memory[Any]]

TITLES = (
    "Chess Duel",
    "Go Master",
    "Night Racer",
    "Star Pilot",
    "Haunted House",
    "Farm Life",
    "Dragon Saga",
    "Space Opera",
)
CATEGORIES = (
    ("Puzzle", "Strategy"),
    ("Puzzle", "Strategy"),
    ("Racing",),
    ("Action", "Science Fiction"),
    ("Horror",),
    ("Simulation",),
    ("Fiction",),
    ("Science Fiction",),
)
CHESS, GO, RACER, PILOT, HOUSE, FARM, SAGA, OPERA = EVERYTHING = range(len(TITLES))
POPULARITY = (10, 80, 70, 60, 50, 40, 30, 20)
CATALOG = Catalog(TITLES, CATEGORIES, np.array(POPULARITY, np.int64))
HISTORY = ((SAGA, 4.0), (FARM, 1.5))


def history(rated: Sequence[tuple[int, float]] = HISTORY) -> tuple[Rated, ...]:
    return tuple(Rated(item=item, title=TITLES[item], rating=rating) for item, rating in rated)


def started(rated: Sequence[tuple[int, float]] = HISTORY) -> EpisodeStarted:
    return EpisodeStarted(user=0, session=0, arrival=0, history=history(rated), memories=())


def taken(step: int, item: int) -> ActionTaken:
    return ActionTaken(
        step=step, item=item, title=TITLES[item], words="", grounding="policy", distance=0.0
    )


def planned(step: int, thought: str = "") -> list[Message]:
    return [PlanRequested(step=step), PlanMade(step=step, thought=thought or f"thought {step}")]


def finished(step: int, item: int, reward: float, thought: str = "") -> list[Message]:
    response = UserResponded(step=step, reward=reward, left=False)
    return [*planned(step, thought), taken(step, item), response]


def trajectory(
    *steps: tuple[int, float],
    thoughts: Sequence[str] = (),
    rated: Sequence[tuple[int, float]] = HISTORY,
    catalog: Catalog = CATALOG,
) -> Trajectory:
    """Return the trajectory after *steps*, each an item and its reward; the next one is open."""
    messages: list[Message] = []
    for step, (item, reward) in enumerate(steps):
        messages += finished(step, item, reward, thoughts[step] if thoughts else "")
    messages.append(PlanRequested(step=len(steps)))
    fold = folding(catalog)
    opened: Trajectory = fold(None, started(rated))
    return reduce(fold, messages, opened)


def lines(prompt: Prompt, heading: str) -> list[str]:
    """Return what a prompt says under *heading*; nothing if there is no such section."""
    return sections(prompt.text).get(heading, [])


def headings(prompt: Prompt) -> list[str]:
    return list(sections(prompt.text))


def memories() -> dict[str, Memory[Any]]:
    return {name.name: Memory(name) for name in (REFLECTIONS, EXPERIENCES, VALUATIONS)}


def known(memory: MemoryName[P], *records: tuple[Sequence[str], P]) -> Memories:
    """Return the memories of a run in which *memory* has records, each under a text's vector."""
    logs = memories()
    for text, payload in records:
        logs[memory.name].append(Record(0, hashed(tuple(text)), payload))
    return logs


@dataclass(frozen=True)
class Told:
    """What came of a run: its messages in canonical order, its calls, its memories."""

    messages: list[Message]
    asked: list[tuple[Call, Prompt]]
    memories: Memories

    def only(self, kind: type[M]) -> list[M]:
        return [message for message in self.messages if isinstance(message, kind)]

    def names(self) -> list[str]:
        return [type(message).__name__ for message in self.messages]

    @property
    def prompts(self) -> list[Prompt]:
        return [prompt for _, prompt in self.asked]

    def kept(self, memory: MemoryName[P]) -> list[Record[P]]:
        return list(self.memories[memory.name].records())


def silent(prompt: Prompt) -> str:
    raise AssertionError(f"nobody asks, got {prompt!r}")


@dataclass(eq=False)
class Visit:
    """A user who takes what comes, until the *rewards* are used up, then quits (or not).

    Roles that nobody subscribed for are played: every thought is *thought*, the items recommended
    are *items*.
    """

    script: Script = silent
    items: Sequence[int] = (CHESS, RACER, HOUSE)
    rewards: Sequence[float] = (4.0, 3.0, 1.5)
    rated: Sequence[tuple[int, float]] = HISTORY
    thought: str = "Take what fits."
    quits: bool = True
    memories: Memories = field(default_factory=memories)
    users: Sequence[int] = (0,)
    asked: list[tuple[Call, Prompt]] = field(default_factory=list)

    def opening(self, arrival: Arrival, lengths: tuple[MemoryLength, ...]) -> EpisodeStarted:
        return EpisodeStarted(
            user=arrival.user,
            session=arrival.session,
            arrival=arrival.arrival,
            history=history(self.rated),
            memories=lengths,
        )

    async def arrive(self, delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(PlanRequested(step=0))

    async def think(self, delivery: Delivery[PlanRequested]) -> None:
        delivery.publish(PlanMade(step=delivery.message.step, thought=self.thought))

    async def recommend(self, delivery: Delivery[PlanMade]) -> None:
        step = delivery.message.step
        delivery.publish(taken(step, self.items[step]))

    async def respond(self, delivery: Delivery[ActionTaken]) -> None:
        step = delivery.message.step
        left = self.quits and step + 1 == len(self.rewards)
        response = UserResponded(
            step=step, reward=self.rewards[step], left=left, reason="reward" if left else None
        )
        delivery.publish(response, after=1)

    async def go_on(self, delivery: Delivery[UserResponded]) -> None:
        length = delivery.message.step + 1
        if length < len(self.rewards):
            delivery.publish(PlanRequested(step=length))
            return
        reason: Literal["quit", "limit"] = "quit" if delivery.message.left else "limit"
        delivery.publish(EpisodeEnded(length=length, reward=sum(self.rewards), reason=reason))

    async def answer(self, call: Call, prompt: Prompt) -> ModelReplied | ModelFailed:
        self.asked.append((call, prompt))
        await asyncio.sleep(0)
        text = self.script(prompt)
        if text is not None:
            return replied(call, text)
        return ModelFailed(
            step=call.step, role=call.role, occurrence=call.occurrence, request="", error="server"
        )

    def run(self, *subscriptions: Subscription, seed: int = 0) -> Told:
        """Let each of *users* visit, one after the other; raise what stopped the run."""
        try:
            return asyncio.run(self._run(subscriptions, seed))
        except BaseExceptionGroup as group:
            raise unwrapped(group) from None

    async def _run(self, subscriptions: Sequence[Subscription], seed: int) -> Told:
        bus: Bus[Trajectory] = Bus()
        heard: list[Envelope[Message]] = []
        bus.follow(Message, heard.append, essential=True)
        for kind, handler in (*self._understudies(subscriptions), *subscriptions):
            bus.subscribe(kind, handler)
        scheduler = Scheduler(
            bus=bus,
            arrivals=Listed(
                deque(Arrival(1_000 * n, user, 0) for n, user in enumerate(self.users))
            ),
            memories=self.memories,
            answer=self.answer,
            embed=HashingEmbedder().embed,
            fold=folding(CATALOG),
            opening=self.opening,
            seed=seed,
        )
        async with asyncio.timeout(20):  # so that a hanging handler fails its test
            await scheduler.run(HEAD)
        messages = [envelope.message for envelope in heard if envelope.episode is not None]
        return Told(messages, self.asked, self.memories)

    def _understudies(self, subscriptions: Sequence[Subscription]) -> list[Subscription]:
        played = {kind for kind, _ in subscriptions}
        everybody: list[Subscription] = [
            (EpisodeStarted, self.arrive),
            (ActionTaken, self.respond),
            (UserResponded, self.go_on),
        ]
        if PlanRequested not in played:
            everybody.append((PlanRequested, self.think))
        if PlanMade not in played:
            everybody.append((PlanMade, self.recommend))
        return everybody
