"""The foreman: a process that hires workers in a Ray cluster, and carries what they and a run say.

Ray wants a process to itself: it takes its signals and its output, and where the cluster is lost it
ends it. So the run has none of it but frames. The only file that knows ray.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import ray
from ray.exceptions import RayError, RayTaskError

from engine.attempt import attempted, told_briefly
from engine.errors import ServiceError
from engine.text import visible
from sim.runs.workers.frames import Link, Logged, broke
from sim.runs.workers.hand import Hand
from sim.runs.workers.orders import (
    LOCAL,
    Dismiss,
    Gone,
    Hire,
    Hired,
    Join,
    Joined,
    Part,
    Supply,
    ToForeman,
    Wanted,
)
from sim.runs.workers.ways import streams

_REACH = 10.0  # seconds that a node may take to be reached
_SAY = 30.0  # seconds of waiting for room, until it is said
_STORE = 100 << 20  # bytes: of what goes through a local object store only environments are large
_SAME = "let all nodes have the same installation"
_HERE = "one of its nodes must be here: ray start --address=HOST:PORT"
_CAUSE = "The actor is dead because "
_LONGEST = 160  # characters of a cause

_decode = msgspec.msgpack.Decoder(ToForeman).decode


@dataclass(eq=False)
class Foreman:
    """Carries out what a run says, once it has *told* what to join."""

    link: Link
    told: Join
    hired: dict[int, "_Hired"] = field(default_factory=dict)
    ready: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _pack: asyncio.Future[list[Any]] | None = None

    def take(self, message: ToForeman) -> None:
        """Do what the run says."""
        match message:
            case Hire():
                new = self.hired[message.number] = _Hired(self, message.number)
                self._begin(new.work())
            case Part():
                self.hired[message.number].say(message.data)
            case Dismiss():
                self.hired[message.number].dismiss()
            case Supply():
                self._supply(message)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.link.send(broke(error))

    async def pack(self) -> list[Any]:
        """Return the environment as an object of Ray's, asked for and put there once."""
        if self._pack is None:
            self._pack = asyncio.Future()
            self.link.send(Wanted())
        return await asyncio.shield(self._pack)

    def _supply(self, message: Supply) -> None:
        if self._pack is not None:
            self._pack.set_result([ray.put(Path(message.path).read_bytes())])

    def leave(self) -> None:
        """Dismiss all."""
        for task in self._tasks:
            task.cancel()
        for one in self.hired.values():
            one.dismiss()


@dataclass(eq=False)
class _Hired:
    """A worker of Ray's, called *number*."""

    foreman: Foreman
    number: int
    actor: Any = None
    _unsaid: list[bytes] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, data: bytes) -> None:
        """Say *data* to it, with all that is said until it has taken what it was told before."""
        self._unsaid.append(data)
        self._news.set()

    def dismiss(self) -> None:
        """End it at once."""
        if self.actor is not None:
            with suppress(RayError):
                ray.kill(self.actor)

    async def work(self) -> None:
        """Start it, and carry what it says and what is said to it, until it is dead."""
        # Ray neither begins it anew nor says anything to it twice: the run sees to both.
        placed = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Hand)
        self.actor = placed.remote()
        try:
            await self._introduce()
            how = await self._carry()
        except RayTaskError as error:
            what = f"a node of the cluster cannot work for this run: {told_briefly(error.cause)}"
            raise ServiceError(what, hint=_SAME) from error
        except RayError as error:
            how = _cause(error)
        self.dismiss()
        self.foreman.link.send(Gone(self.number, how))

    async def _introduce(self) -> None:
        told = self.foreman.told.hello
        why, lacking = await self._met(self.actor.hello.remote(*msgspec.structs.astuple(told)))
        if lacking:
            pack = await self.foreman.pack()
            why, unkept = await self.actor.receive.remote(pack, told.digest)
            if unkept:
                log = Logged("warning", "a node cannot keep the environment", {"why": unkept})
                self.foreman.link.send(log)
        if why:
            raise ServiceError(why, hint=_SAME)

    async def _met(self, answer: Awaitable[tuple[str, bool]]) -> tuple[str, bool]:
        """Return the *answer* to hello; raises ServiceError if there is no room for who has it."""
        told, meeting = self.foreman.told, asyncio.ensure_future(answer)
        for patience in (min(_SAY, told.patience), max(0.0, told.patience - _SAY)):
            if (await asyncio.wait({meeting}, timeout=patience))[0]:
                return meeting.result()
            event = "waiting for room in the cluster"
            self.foreman.link.send(Logged("info", event, {"worker": self.number}))
        raise ServiceError(
            f"the cluster had room for {self.foreman.ready} of {told.workers} workers after"
            f" {told.patience:g} s",
            hint="fewer --workers, or more nodes, or more --set patience",
        )

    async def _carry(self) -> str:
        """Carry what is said, until it is dead; return how it died."""
        self.foreman.ready += 1
        self.foreman.link.send(Hired(self.number))
        ways = [asyncio.create_task(self._tell()), asyncio.create_task(self._listen())]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            self.foreman.ready -= 1
            for way in ways:
                way.cancel()

    async def _tell(self) -> str:
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                data, self._unsaid = b"".join(self._unsaid), []
                await self.actor.take.remote(data)
        except RayError as error:
            return _cause(error)

    async def _listen(self) -> str:
        try:
            while True:
                self.foreman.link.send(Part(self.number, await self.actor.hear.remote()))
        except RayError as error:
            return _cause(error)


def _cause(error: RayError) -> str:
    """Return of what Ray says how a worker died."""
    text = told_briefly(error.cause) if isinstance(error, RayTaskError) else str(error)
    _, found, cause = text.partition(_CAUSE)
    return f"because {visible(' '.join((cause if found else text).split()))[:_LONGEST]}"


def _join(told: Join) -> None:
    """Join the cluster, or begin one; raises ServiceError."""
    quietly: dict[str, Any] = {
        "namespace": "billp",
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    if told.address == LOCAL:
        own = {"num_cpus": told.workers, "object_store_memory": _STORE, "_temp_dir": told.scratch}
        begin = partial(ray.init, LOCAL, include_dashboard=False, **own, **quietly)
    else:
        _reach(told.address)
        begin = partial(ray.init, told.address, **quietly)
    _, error = attempted(begin)
    if error is not None:
        raise _unjoined(told.address, error) from error


def _unjoined(address: str, error: BaseException) -> ServiceError:
    if "InvalidAuthToken" in f"{error} {error.__cause__}":
        hint = "RAY_AUTH_MODE=token RAY_AUTH_TOKEN=… billp …, as its nodes have it"
        return ServiceError(f"the cluster {address!r} wants its token", hint=hint)
    if address == LOCAL:
        what = f"a local cluster cannot be begun: {told_briefly(error)}"
        return ServiceError(what, hint="is the machine busy, or without room in /dev/shm?")
    what = f"the cluster {address!r} cannot be joined: {told_briefly(error)}"
    return ServiceError(what, hint=_HERE)


def _reach(address: str) -> None:
    """Raise ServiceError if nobody listens at *address*: Ray would ask for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH).close()
    except OSError as error:
        what = f"the cluster {address!r} cannot be reached: {error.strerror or error}"
        raise ServiceError(what, hint=_HERE) from error


async def _work(file: int, told: Join, error: BaseException | None) -> None:
    way = await streams(socket.socket(fileno=file))
    link = Link(way, _decode)
    if error is not None:
        link.send(broke(error))
        await asyncio.sleep(0)  # it goes with the next step of the loop
        way.close()
        await way.writer.wait_closed()
        return
    foreman = Foreman(link, told)
    link.send(Joined())
    try:
        await link.hear(foreman.take)
    finally:
        foreman.leave()


def main() -> None:
    """Be the foreman of whoever holds the other end of the socket that the command line names."""
    told = msgspec.json.decode(sys.argv[2], type=Join)
    _, error = attempted(partial(_join, told))
    asyncio.run(_work(int(sys.argv[1]), told, error))
    attempted(ray.shutdown)
