"""A worker: a process that evaluates episodes for a run, and asks it for all that costs.

It holds the memories as far as its episodes see them, and nothing that lasts: models, journal and
trace are the run's. When the run is gone, so is the worker.
"""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn, TypeAlias, cast, get_args

import msgspec
import numpy as np
import structlog

from agents.embeddings import HashingEmbedder
from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, Prompt, Sampling, request_for
from agents.trajectory import Trajectory, folding
from engine.attempt import Level
from engine.bus import Bus
from engine.calls import Call
from engine.delivery import Delivery
from engine.episode import Episode, Numbered, Wiring
from engine.errors import BillpError, CallFailedError, DataError, LawError
from engine.messages import ModelFailed, ModelReplied
from engine.records import Vector
from engine.scheduler import Bounds
from engine.text import visible
from sim.config.stages import Course, read_course
from sim.runs.assembly import subscriptions
from sim.runs.loop import in_event_loop
from sim.runs.models import samplings
from sim.runs.workers.frames import (
    Asks,
    Begin,
    Embedded,
    Embeds,
    Fact,
    Link,
    Logged,
    Moved,
    Over,
    Play,
    Remember,
    Said,
    ToWorker,
    broke,
    kept,
    record_of,
)
from sim.runs.workers.ways import Way, streams
from storage.datasets import open_environment
from storage.environments import Environment
from storage.memory import Memory

_LARGE = 1 << 63  # what a frame has no room for

_decode = msgspec.msgpack.Decoder(ToWorker).decode

Opened: TypeAlias = Callable[[str, str], Environment]
"""Opens the environment of a name and a digest."""


@dataclass(eq=False)
class Worker:
    """Evaluates the episodes of one run, once it has begun, in an environment that is *opened*."""

    link: Link
    opened: Opened = open_environment
    asked: dict[Call, asyncio.Future[ModelReplied | ModelFailed]] = field(default_factory=dict)
    embedding: dict[int, asyncio.Future[Vector]] = field(default_factory=dict)
    memories: dict[str, Memory[Any]] = field(default_factory=dict)
    _wiring: Wiring[Trajectory] | None = None
    roles: tuple[str, ...] = ()
    model: EmbeddedModel = field(default_factory=EmbeddedModel)
    _sampling: Callable[[Call], Sampling] = field(init=False)
    _seed: int = 0
    _embeddings: int = 0

    def take(self, message: ToWorker) -> None:
        """Do what the run says."""
        try:
            self._take(message)
        except BillpError as error:
            self.stop(error)

    def _take(self, message: ToWorker) -> None:
        match message:
            case Play():
                self._play(message)
            case Said():
                # What another worker had asked, which is dead, may not be asked yet here.
                if (future := self.asked.pop(message.call, None)) is not None:
                    future.set_result(message.outcome)
            case Remember():
                for one in message.records:
                    name, record = record_of(one, self.memories)
                    self.memories[name].append(record)
            case Embedded():
                vector = np.frombuffer(message.vector, dtype=np.int8)
                self.embedding.pop(message.number).set_result(vector)
            case Begin():
                self._begin(message)

    def stop(self, error: BaseException) -> None:
        """Tell the run what stops it."""
        if self._wiring is not None:
            self._wiring.stopping = True
        self.link.send(broke(error))

    def log(self, logger: object, method: str, facts: MutableMapping[str, Any]) -> NoReturn:
        """Let the run log what is logged here: it knows how, and what must not be obeyed."""
        event = visible(str(facts.pop("event", "")), lines=True)
        told = {name: _plain(fact) for name, fact in facts.items()}
        level = cast("Level", method) if method in get_args(Level) else "warning"
        self.link.send(Logged(level, event, told))
        raise structlog.DropEvent

    def leave(self) -> None:
        """Let what still runs end without a word: nobody wants to know."""
        if self._wiring is not None:
            self._wiring.stopping = True

    def _begin(self, message: Begin) -> None:
        course = read_course(message.settings, proven=True)
        name = course.config.environment
        environment = self.opened(name, message.environment)
        if environment.head.digest != message.environment:
            raise DataError(
                f"a worker finds another environment at {name} than the run is in",
                hint="one that was made in Python has to be saved, and named; or workers=1",
            )
        config = course.config
        self.roles, self._sampling, self._seed = message.roles, samplings(course), config.seed
        self.memories = {
            one.name: Memory(one, capacity=config.memory_size or None)
            for one in config.cast.memories
        }
        self._wiring = self._wired(course, environment)

    def _wired(self, course: Course, environment: Environment) -> Wiring[Trajectory]:
        bus: Bus[Trajectory] = Bus()
        for types, handler, name in subscriptions(course, environment):
            bus.subscribe(types, handler, name=name)
        seed = course.config.seed
        return Wiring(
            deliver=Delivery,
            seed_at=lambda _, __: seed,
            answer=self._answer,
            embed=self._embed if course.config.embedding_model else HashingEmbedder().embed,
            fold=folding(environment.catalog),
            longest_chain=Bounds().longest_chain,
            stop=self.stop,
            closed=self._over,
            clock_moved=self._moved,
            handlings=bus.handlings,
        )

    def _play(self, message: Play) -> None:
        if self._wiring is None:
            raise LawError("a worker has not begun")
        lengths = {one.memory: one.length for one in message.started.memories}
        views = {name: memory.view(lengths[name]) for name, memory in self.memories.items()}
        Episode(self._wiring, message.number, message.started, views).start()

    async def _answer(self, call: Call, prompt: Prompt) -> ModelReplied | ModelFailed:
        future: asyncio.Future[ModelReplied | ModelFailed] = asyncio.Future()
        self.asked[call] = future
        self.link.send(Asks(call, prompt, await self._reckoned(call, prompt)))
        return await future

    async def _reckoned(self, call: Call, prompt: Prompt) -> ChatReply | None:
        if call.role not in self.roles:
            return None
        request = request_for(prompt, call, self._sampling(call), self._seed)
        try:
            return await self.model.reply(request)
        except CallFailedError:
            return None

    async def _embed(self, lines: Any) -> Vector:
        self._embeddings += 1
        future: asyncio.Future[Vector] = asyncio.Future()
        self.embedding[self._embeddings] = future
        self.link.send(Embeds(self._embeddings, tuple(lines)))
        return await future

    def _moved(self, episode: Numbered) -> None:
        self.link.send(Moved(episode.number, episode.clock))

    def _over(self, episode: Numbered) -> None:
        closed = episode.close()
        left = tuple(kept(memory, record) for memory, record in closed.records)
        self.link.send(
            Over(episode.number, closed.lines, closed.clock, closed.failed, closed.ended, left)
        )


def _plain(fact: object) -> Fact:
    """Return *fact* as a frame carries it: parts of others log whatever they have."""
    if fact is None or isinstance(fact, bool):
        return fact
    if type(fact) is float or (type(fact) is int and abs(fact) < _LARGE):
        return fact
    return visible(fact if isinstance(fact, str) else repr(fact), lines=True)


async def work(way: Way, opened: Opened = open_environment) -> None:
    """Work for the run at the other end of a *way*, until that is gone; nothing else does here."""
    link = Link(way, _decode)
    worker = Worker(link, opened)
    structlog.configure(processors=[structlog.processors.format_exc_info, worker.log])
    try:
        await link.hear(worker.take)
    finally:
        worker.leave()


async def _work(file: int) -> None:
    await work(await streams(socket.socket(fileno=file)))


def main() -> None:
    """Work for whoever holds the other end of the socket that the command line names."""
    # Ctrl-C at a terminal reaches all processes: the run says when a worker is to end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    in_event_loop(partial(_work, int(sys.argv[1])))
