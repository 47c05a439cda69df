"""The workers of a run: who has which episode, and what they ask.

The run keeps arrivals, memories, order, journal and trace, and all access to models, so one limiter
and one budget count for all. A worker that dies takes nothing with it: its episodes are run again,
and what they had asked is not asked again.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import anyio
import msgspec

from agents.trajectory import Trajectory
from engine.attempt import log
from engine.away import Away
from engine.calls import Answer, Call, Embed
from engine.closed import Closed
from engine.errors import ServiceError
from engine.messages import ModelFailed, ModelReplied
from sim.runs.workers.beforehand import Beforehand
from sim.runs.workers.frames import (
    Asks,
    Begin,
    Broke,
    Embedded,
    Embeds,
    FromWorker,
    Kept,
    Link,
    Logged,
    Moved,
    Over,
    Play,
    Remember,
    Said,
    error_of,
    kept,
    record_of,
)
from sim.runs.workers.ways import Road, Staff, Start
from storage.memory import Memory

_DEATHS = 3  # of workers one after the other, with no episode closed between them

_decode = msgspec.msgpack.Decoder(FromWorker).decode

Traveller: TypeAlias = Away[Trajectory]
Outcome: TypeAlias = asyncio.Task[ModelReplied | ModelFailed]


@dataclass(eq=False)
class Pool:
    """*count* workers of a *staff* that evaluate the episodes of a run.

    Each is told by *begin* what is run. *answer* and *embed* are the run's own; *memories* grow as
    its episodes start.
    """

    staff: Staff
    count: int
    begin: Begin
    memories: Mapping[str, Memory[Any]]
    answer: Answer
    embed: Embed
    beforehand: Beforehand
    _seats: list["_Seat"] = field(default_factory=list)
    _deaths: int = 0
    _error: BaseException | None = None

    def send(self, away: Traveller) -> None:
        """Let the worker that has the fewest evaluate an episode."""
        if self._error is not None:
            away.stop(self._error)
        min(self._seats, key=lambda seat: len(seat.aways)).play(away)

    def stop(self, error: BaseException) -> None:
        """Stop the run, at the latest with the next episode."""
        self._error = self._error or error
        for seat in self._seats:
            for away in seat.aways.values():
                away.stop(error)
                return

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Let the workers work."""
        async with self.staff.hiring(self.count) as start:
            self._seats = [_Seat(self, start, number) for number in range(self.count)]
            try:
                for seat in self._seats:
                    await seat.sit()
                yield
            finally:
                for seat in self._seats:
                    seat.leave()
                # The run may itself be cancelled by now.
                with anyio.CancelScope(shield=True):
                    await asyncio.gather(*(seat.gone() for seat in self._seats))

    def news(self, sent: dict[str, int]) -> Iterator[Kept]:
        """Yield the records after those that were *sent*, and take note that these are."""
        for name, memory in self.memories.items():
            for position in range(sent.get(name, 0), len(memory)):
                yield kept(name, memory[position])
            sent[name] = len(memory)

    def alive(self) -> None:
        """Take note that work is done."""
        self._deaths = 0

    def may_go_on(self, how: str) -> bool:
        """Take note *how* a worker died; tell whether another one is to take its place."""
        self._deaths += 1
        if self._deaths >= _DEATHS:
            what = f"{self._deaths} workers died one after the other, the last {how}"
            hint = "is there too little memory? billp resume goes on"
            self.stop(ServiceError(what, hint=hint))
            return False
        log("warning", "a worker died: its episodes are run again", how=how)
        return True


@dataclass(eq=False)
class _Seat:
    """The place of a worker: the road to it, and the episodes that are with it.

    What was *asked* for an episode is kept until that is over.
    """

    pool: Pool
    start: Start
    number: int
    aways: dict[int, Traveller] = field(default_factory=dict)
    asked: dict[int, dict[Call, Outcome]] = field(default_factory=dict)
    _sent: dict[str, int] = field(default_factory=dict)
    _link: Link | None = None
    _road: Road | None = None
    _hearing: asyncio.Task[None] | None = None
    _embeddings: set[asyncio.Task[None]] = field(default_factory=set)
    _left: bool = False

    async def sit(self) -> None:
        """Start a worker, and give it what was with the one before it; raises ServiceError."""
        self._road = road = await self.start()
        if self._left:  # meanwhile
            road.close()
        self._link, self._sent = Link(road, _decode), {}
        self._link.send(self.pool.begin)
        for away in self.aways.values():
            self._play(self._link, away)
        self._hearing = asyncio.create_task(self._hear(self._link, road))
        self._hearing.add_done_callback(self._heard)

    def play(self, away: Traveller) -> None:
        """Let the worker evaluate an episode; if there is none just now, the next one does."""
        self.aways[away.number] = away
        if self._link is not None:
            self._play(self._link, away)

    def _play(self, link: Link, away: Traveller) -> None:
        if records := tuple(self.pool.news(self._sent)):
            link.send(Remember(records))
        link.send(Play(away.number, away.started))

    async def _hear(self, link: Link, road: Road) -> None:
        await link.hear(self._take)
        road.close()
        how = await road.ended()
        if self._left:
            return
        self._link = self._road = None
        if self.pool.may_go_on(how):
            await self.sit()

    def _heard(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.pool.stop(error)  # or the run would wait for ever

    def _take(self, message: FromWorker) -> None:
        match message:
            case Asks():
                self._ask(message)
            case Moved():
                if (away := self.aways.get(message.number)) is not None:
                    away.moved(message.clock)
            case Over():
                self._over(message)
            case Embeds():
                task = asyncio.create_task(self._embed(message))
                self._embeddings.add(task)
                task.add_done_callback(self._embeddings.discard)
            case Logged():
                log(message.level, message.event, **message.facts)
            case Broke():
                self.pool.stop(error_of(message))

    def _ask(self, message: Asks) -> None:
        call = message.call
        away = self.aways.get(call.episode)
        if away is None:
            return
        tasks = self.asked.setdefault(call.episode, {})
        if call not in tasks:
            tasks[call] = asyncio.create_task(self._answer(message))
            away.running[tasks[call]] = f"{call.role} in worker {self.number}"
            tasks[call].add_done_callback(partial(self._answered, away, call))
        elif tasks[call].done():
            self._say(call, tasks[call].result())

    async def _answer(self, message: Asks) -> ModelReplied | ModelFailed:
        replies = self.pool.beforehand.replies
        if message.reply is not None:
            replies[message.call] = message.reply
        try:
            return await self.pool.answer(message.call, message.prompt)
        finally:
            replies.pop(message.call, None)

    def _answered(self, away: Traveller, call: Call, task: Outcome) -> None:
        away.running.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            away.stop(error)
        else:
            self._say(call, task.result())

    def _say(self, call: Call, outcome: ModelReplied | ModelFailed) -> None:
        if self._link is not None:
            self._link.send(Said(call, outcome))

    async def _embed(self, message: Embeds) -> None:
        link = self._link
        try:
            vector = await self.pool.embed(message.lines)
        except ServiceError as error:
            self.pool.stop(error)
        else:
            if link is not None:
                link.send(Embedded(message.number, vector.tobytes()))

    def _over(self, message: Over) -> None:
        away = self.aways.pop(message.number, None)
        if away is None:
            return
        self.asked.pop(message.number, None)
        self.pool.alive()
        left = [record_of(one, self.pool.memories) for one in message.left]
        away.over(Closed(message.lines, message.clock, message.failed, message.ended, left))

    def leave(self) -> None:
        """End the worker."""
        self._left = True
        if self._road is not None:
            self._road.close()
        elif self._hearing is not None:  # the next one is not there yet, and not wanted any more
            self._hearing.cancel()

    async def gone(self) -> None:
        """Wait until the worker is gone."""
        if self._hearing is not None:
            await asyncio.wait([self._hearing])
        if self._road is not None:
            with suppress(ServiceError):  # then there is nobody to wait for
                await self._road.ended()
