"""Small worlds of messages for the tests of the kernel: real parts, scripted handlers."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, TypeAlias, TypeVar

import msgspec
import numpy as np

from engine.arrivals import ONCE, Arrivals, Listed, Returns, Visit
from engine.bus import Bus
from engine.calls import Answer, Call
from engine.delivery import Delivery as KernelDelivery
from engine.delivery import Handler
from engine.messages import (
    Envelope,
    EpisodeEnded,
    EpisodeStarted,
    MemoryLength,
    Message,
    ModelReplied,
    RunEnded,
    RunStarted,
)
from engine.records import MemoryName, Vector
from engine.scheduler import Bounds, Scheduler
from storage.memory import Memory

M = TypeVar("M", bound=msgspec.Struct)
Chain: TypeAlias = tuple[Message, ...]
"""The plainest trajectory: the chain of causes itself."""
Delivery: TypeAlias = KernelDelivery[M, Chain]
Trace: TypeAlias = list[Envelope[Message]]

HEAD = RunStarted(schema=1, agent="scripted", model="echo", environment="", seed=0, settings=())
ENDED = EpisodeEnded(length=1, reward=2.0, reason="limit")
KEY: Vector = np.array([127, 0], dtype=np.int8)

_decode = msgspec.json.Decoder(Envelope[Message]).decode


class Note(msgspec.Struct, frozen=True, kw_only=True):
    text: str


NOTES = MemoryName("notes", Note)


@dataclass(frozen=True)
class Question:
    role: str
    step: int = 0
    text: str = ""


async def echo(call: Call, question: Question) -> ModelReplied:
    """Reply with the question itself."""
    return replied(call, question.text)


def replied(call: Call, text: str) -> ModelReplied:
    return ModelReplied(
        step=call.step,
        role=call.role,
        occurrence=call.occurrence,
        request="",
        text=text,
        prompt_tokens=0,
        completion_tokens=0,
    )


async def no_vector(lines: Sequence[str]) -> Vector:
    await asyncio.sleep(0)
    return KEY


async def end(delivery: Delivery[Any]) -> None:
    """Handle a message by ending the episode at once."""
    delivery.publish(ENDED)


def chain(above: Chain | None, message: Message) -> Chain:
    return (*(above or ()), message)


def opening(visit: Visit, memories: tuple[MemoryLength, ...]) -> EpisodeStarted:
    return EpisodeStarted(
        user=visit.user,
        session=visit.session,
        arrival=visit.arrival,
        history=(),
        memories=memories,
    )


def visits(*arrivals: int) -> Listed:
    """Return one visit for each of *arrivals*, by the users 0, 1, 2 ..."""
    return Listed(deque(Visit(arrival, user, 0) for user, arrival in enumerate(arrivals)))


def decoded(lines: bytes) -> Trace:
    return [_decode(line) for line in lines.splitlines()]


def names(trace: Trace) -> list[str]:
    return [type(envelope.message).__name__ for envelope in trace]


def only(trace: Trace, kind: type[M]) -> list[M]:
    """Return the messages of one kind."""
    return [envelope.message for envelope in trace if isinstance(envelope.message, kind)]


@dataclass
class Lines:
    """A trace writer that keeps what it is given."""

    text: bytes = b""

    def write(self, lines: bytes) -> None:
        self.text += lines


@dataclass(eq=False)
class Kernel:
    """A bus, a scheduler and a memory; `run` returns the trace."""

    arrivals: Arrivals = field(default_factory=lambda: visits(0))
    answer: Answer = echo
    delay: int = 0
    returns: Returns = ONCE
    bounds: Bounds = field(default_factory=Bounds)
    seal: Callable[[], None] = lambda: None
    bus: Bus[Chain] = field(default_factory=Bus)
    notes: Memory[Note] = field(default_factory=lambda: Memory(NOTES))
    lines: Lines = field(default_factory=Lines)

    def __post_init__(self) -> None:
        self.bus.write_to(self.lines)
        self.scheduler: Scheduler[Chain] = Scheduler(
            bus=self.bus,
            arrivals=self.arrivals,
            memories={NOTES.name: self.notes},
            answer=self.answer,
            embed=no_vector,
            fold=chain,
            opening=opening,
            delay=self.delay,
            returns=self.returns,
            bounds=self.bounds,
            seal=self.seal,
        )

    def on(self, types: type | UnionType, handler: Handler[Chain]) -> "Kernel":
        self.bus.subscribe(types, handler)
        return self

    def run(self) -> Trace:
        """Run all episodes; raise what stopped the run, without the groups around it."""
        asyncio.run(self.running())
        return self.trace

    async def running(self) -> RunEnded:
        try:
            async with asyncio.timeout(20):  # so that a hanging kernel fails its test
                return await self.scheduler.run(HEAD)
        except BaseExceptionGroup as group:
            raise unwrapped(group) from None

    @property
    def trace(self) -> Trace:
        return decoded(self.lines.text)


def unwrapped(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error
