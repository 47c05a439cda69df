"""Workers in a Ray cluster, as a run sees them: it hears of them by their foreman alone.

All access to models stays with the run, so there is one limiter, one budget and one journal.
"""

import asyncio
import os
import secrets
import signal
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import anyio
import msgspec

from engine.attempt import log
from engine.errors import BillpError, ServiceError
from engine.text import visible
from sim.runs.workers.frames import Broke, Link, Logged, error_of
from sim.runs.workers.orders import (
    LOCAL,
    Dismiss,
    FromForeman,
    Gone,
    Hello,
    Hire,
    Hired,
    Join,
    Joined,
    Part,
    Supply,
    Wanted,
)
from sim.runs.workers.ways import Child, Road, Start, child
from storage.datasets.packing import packed
from storage.environments import Environment
from storage.parts import lacking
from storage.provenance import this_source, this_version

_START = "from sim.runs.workers.foreman import main; main()"
_JOIN = 180.0  # seconds: a local cluster of Ray's is a dozen processes, and the machine may be busy
_LEAVE = 30.0  # seconds
_SHORT = 25  # characters of a folder in which Ray's sockets have names that are short enough
_LAST = 400  # bytes at the end of what was said

_decode = msgspec.msgpack.Decoder(FromForeman).decode


def check_ray(address: str) -> None:
    """Raise ConfigError if a cluster at *address* is wanted, and Ray is not installed."""
    if address and find_spec("ray") is None:
        raise lacking("ray", "a cluster", "No module named 'ray'", instead="--set cluster=")


@dataclass(frozen=True)
class Cluster:
    """The Ray cluster at *address*, or a local one.

    Its nodes work in an *environment*, which some may find by its *name*. *patience* is how many
    seconds room for a worker is waited for.
    """

    address: str
    patience: float
    name: str
    environment: Environment

    @asynccontextmanager
    async def hiring(self, count: int) -> AsyncIterator[Start]:
        """Let *count* workers be started, once there is room for them; raises ServiceError."""
        check_ray(self.address)
        # Ray's own files go there; and what the foreman says, which is no word of ours.
        own = None if len(tempfile.gettempdir()) <= _SHORT else "/tmp"
        with tempfile.TemporaryDirectory(prefix="ray-", dir=own, ignore_cleanup_errors=True) as at:
            # Ray gives a cluster half a minute to begin: on a busy machine it may take two of them.
            foreman = await self._came(count, at, tries=2 if self.address == LOCAL else 1)
            try:
                await foreman.hire(count)
                yield foreman.start
            finally:
                with anyio.CancelScope(shield=True):
                    await foreman.leave()

    async def _came(self, count: int, scratch: str, tries: int) -> "_Foreman":
        """Return a foreman who has joined the cluster."""
        foreman = _Foreman(self.environment, Path(scratch))
        try:
            await foreman.come(self._join(count, scratch), local=self.address == LOCAL)
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await foreman.leave()
            if tries == 1 or not isinstance(error, ServiceError):
                raise
        else:
            return foreman
        return await self._came(count, scratch, tries - 1)

    def _join(self, count: int, scratch: str) -> Join:
        digest = self.environment.head.digest
        hello = Hello(this_version(), this_source(), os.getcwd(), self.name, digest)
        return Join(self.address, count, self.patience, scratch, hello)


@dataclass(eq=False)
class _Foreman:
    """A foreman of ours: the *roads* to workers lead over him."""

    environment: Environment
    scratch: Path
    roads: dict[int, "_Road"] = field(default_factory=dict)
    link: Link | None = None
    _child: Child | None = None
    _hearing: asyncio.Task[None] | None = None
    _joined: asyncio.Future[None] = field(default_factory=asyncio.Future)
    _ready: list["_Road"] = field(default_factory=list)
    _supplying: asyncio.Task[None] | None = None
    _error: BaseException | None = None

    async def come(self, join: Join, *, local: bool) -> None:
        """Let him come, and join the cluster; raises ServiceError."""
        told = {"RAY_USAGE_STATS_ENABLED": "0"}
        if local:
            # Nobody else on this machine is to use it, and it is not to be the last to get a CPU.
            told |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
            told |= {"RAY_worker_niceness": "0"}
        word = msgspec.json.encode(join).decode()
        try:
            self._child = await child(_START, word, told=told, apart=str(self.scratch / "said"))
        except OSError as error:
            raise ServiceError(f"no workers can be hired: {error.strerror}") from error
        self.link = Link(self._child, _decode)
        self._hearing = asyncio.create_task(self._hear(self.link, self._child))
        try:
            await asyncio.wait_for(asyncio.shield(self._joined), _JOIN)
        except TimeoutError:
            what = f"the cluster {join.address!r} did not answer for {_JOIN:g} s"
            raise ServiceError(what, hint="is it Ray's, and of the same version?") from None

    async def hire(self, count: int) -> None:
        """Hire *count* workers at once."""
        self._ready = [self._hired() for _ in range(count)]
        for road in self._ready:
            await road.hired

    async def start(self) -> Road:
        """Return the road to a worker that is there, else to a new one; raises ServiceError."""
        if self._ready:
            return self._ready.pop()
        road = self._hired()
        try:
            await road.hired
        except BaseException:
            road.close()
            raise
        return road

    def _hired(self) -> "_Road":
        if self._error is not None:
            raise self._error
        road = _Road(self, len(self.roads))
        self.roads[road.number] = road
        self.send(Hire(road.number))
        return road

    def send(self, message: Hire | Dismiss | Part | Supply) -> None:
        """Send the foreman a *message*."""
        if self.link is not None:
            self.link.send(message)

    async def _hear(self, link: Link, way: Child) -> None:
        await link.hear(self._take)
        how = await way.ended()
        what = f"the foreman of the workers ended {how}{self._last_words()}"
        self._stop(ServiceError(what, hint="is the cluster there?"))

    def _take(self, message: FromForeman) -> None:
        match message:
            case Part():
                self.roads[message.number].parts.put_nowait(message.data)
            case Gone():
                self.roads[message.number].end(message.how)
            case Hired():
                self.roads[message.number].there()
            case Joined():
                self._joined.set_result(None)
            case Wanted():
                self._supplying = asyncio.create_task(self._supply())
            case Logged():
                log(message.level, message.event, **message.facts)
            case Broke():
                self._stop(error_of(message))

    async def _supply(self) -> None:
        path = self.scratch / "environment"
        try:
            path.write_bytes(await anyio.to_thread.run_sync(packed, self.environment))
        except OSError as error:
            self._stop(ServiceError(f"the environment cannot be sent: {error.strerror}"))
        except BillpError as error:
            self._stop(error)
        else:
            self.send(Supply(str(path)))

    def _stop(self, error: BaseException) -> None:
        """Let all who wait for workers know why there are none."""
        self._error = self._error or error
        if not self._joined.done():
            self._joined.set_exception(self._error)
        for road in self.roads.values():
            road.fail(self._error)

    def _last_words(self) -> str:
        said = (self.scratch / "said").read_bytes()[-_LAST:].decode("utf-8", "replace")
        lines = visible(said.strip()).split("\n")
        return f": {lines[-1]}" if lines[-1] else ""

    async def leave(self) -> None:
        """Let him dismiss all workers, end what is local, and go."""
        for waited in (self._joined, *(road.hired for road in self.roads.values())):
            waited.cancel()
        if self._child is None:
            return
        process = self._child.process
        self._child.streams.close()
        if self._joined.cancelled() or await _stays(process):
            # Whoever joins cannot hear; what he began is of his group, and goes with him.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if self._hearing is not None:
            await asyncio.wait([self._hearing])


async def _stays(process: Process) -> bool:
    """Tell whether a *process* is still there after all the time that it has to go."""
    try:
        await asyncio.wait_for(process.wait(), _LEAVE)
    except TimeoutError:
        return True
    return False


@dataclass(eq=False)
class _Road:
    """The way to a worker that the foreman calls *number*."""

    foreman: _Foreman
    number: int
    parts: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    hired: asyncio.Future[None] = field(default_factory=asyncio.Future)
    _gone: asyncio.Future[str] = field(default_factory=asyncio.Future)

    def write(self, data: bytes) -> None:
        """Send *data*."""
        if not self._gone.done():
            self.foreman.send(Part(self.number, data))

    async def read(self) -> bytes:
        """Return what came next."""
        return await self.parts.get()

    def close(self) -> None:
        """End the worker at once; in a cluster that does not answer any more, give it up."""
        if not self._gone.done():
            self.foreman.send(Dismiss(self.number))
            asyncio.get_running_loop().call_later(_LEAVE, self.end, "unheard of")

    async def ended(self) -> str:
        """Return how the worker ended; raises what the foreman could not go on for."""
        return await asyncio.shield(self._gone)

    def there(self) -> None:
        """Take note that the worker is there."""
        if not self.hired.done():
            self.hired.set_result(None)

    def end(self, how: str) -> None:
        """Take note *how* the worker ended: whoever waited for it sees."""
        if not self._gone.done():
            self._gone.set_result(how)
            self.parts.put_nowait(b"")
            self.there()

    def fail(self, error: BaseException) -> None:
        """Take note of what the foreman cannot go on for."""
        if not self.hired.done():
            self.hired.set_exception(error)
        if not self._gone.done():
            self._gone.set_exception(error)
            self._gone.exception()  # somebody may not have asked yet, and nobody may
            self.parts.put_nowait(b"")
