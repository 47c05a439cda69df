"""Ways to workers: how one is started, how bytes come and go, and how it ended."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from engine.errors import ServiceError

_PART = 1 << 18  # bytes read at a time
_START = "from sim.runs.workers.worker import main; main()"


class Way(Protocol):
    """To the other end and back: bytes, in order."""

    def write(self, data: bytes) -> None:
        """Send *data*; to an end that is gone, nothing."""
        ...

    async def read(self) -> bytes:
        """Return what came next; nothing once the other end is gone."""
        ...

    def close(self) -> None:
        """Send nothing more; a worker at the other end is ended at once."""
        ...


class Road(Way, Protocol):
    """The way of a run to a worker."""

    async def ended(self) -> str:
        """Return how the worker ended, once it is gone."""
        ...


Start: TypeAlias = Callable[[], Awaitable[Road]]
"""Starts a worker; raises ServiceError if there cannot be one."""


class Staff(Protocol):
    """Where workers come from."""

    def hiring(self, count: int) -> AbstractAsyncContextManager[Start]:
        """Let *count* workers be started, and others in the place of those that die."""
        ...


@dataclass(frozen=True)
class Streams:
    """A way through a socket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def write(self, data: bytes) -> None:
        """Send *data*."""
        if not self.writer.is_closing():
            self.writer.write(data)

    async def read(self) -> bytes:
        """Return what came next."""
        try:
            return await self.reader.read(_PART)
        except ConnectionError:
            return b""

    def close(self) -> None:
        """Send nothing more."""
        self.writer.close()


async def streams(end: socket.socket) -> Streams:
    """Return the way through one *end* of a socket."""
    return Streams(*await asyncio.open_connection(sock=end))


@dataclass(frozen=True)
class Child:
    """The way to a *process* of our own."""

    streams: Streams
    process: Process

    def write(self, data: bytes) -> None:
        """Send *data*."""
        self.streams.write(data)

    async def read(self) -> bytes:
        """Return what came next."""
        return await self.streams.read()

    def close(self) -> None:
        """End it at once."""
        self.streams.close()
        if self.process.returncode is None:
            self.process.kill()

    async def ended(self) -> str:
        """Return its status, once it is gone."""
        return f"with status {await self.process.wait()}"


class Processes:
    """Workers that are processes of this machine."""

    @asynccontextmanager
    async def hiring(self, count: int) -> AsyncIterator[Start]:
        """Let workers be started: they are there at once, however many."""
        yield _worker


async def _worker() -> Road:
    try:
        return await child(_START)
    except OSError as error:
        what = f"a worker cannot be started: {error.strerror}"
        raise ServiceError(what, hint="with workers=1 there is none") from error


async def child(
    start: str, *words: str, told: Mapping[str, str] | None = None, apart: str = ""
) -> Child:
    """Return the way to a new process of Python's that runs *start*.

    Its first word is the number of its end of a socket, the others are *words*; it is *told* more
    of the environment. It finds what this process would import. One that is *apart* hears no
    terminal, and says all that it says in the file of that name. Raises OSError.
    """
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)
    ours, theirs = socket.socketpair()
    said = os.open(apart, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if apart else None
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", start, str(theirs.fileno()), *words),
                stdin=DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=bool(apart),
                pass_fds=(theirs.fileno(),),
                env={**os.environ, **(told or {}), "PYTHONPATH": path},
            )
        return Child(await streams(ours), process)
    except BaseException:
        ours.close()
        raise
    finally:
        if said is not None:
            os.close(said)
