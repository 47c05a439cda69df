"""A worker that Ray placed on some node: it does there what a process does here.

Ray calls its methods one by one in one event loop, and hands what they return to the foreman.
"""

import asyncio
import os
from collections.abc import Awaitable, Sequence
from contextlib import ExitStack, suppress

from platformdirs import user_cache_path

from engine.errors import BillpError, DataError, LawError
from sim.runs.loop import sparing
from sim.runs.workers.worker import work
from storage.datasets import open_environment
from storage.datasets.packing import keep, kept, unpacked
from storage.environments import Environment
from storage.provenance import this_source, this_version


class Post:
    """A way that others carry: what is written waits until it is fetched."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self.outgoing: list[bytes] = []
        self.waiting = asyncio.Event()

    def write(self, data: bytes) -> None:
        """Let *data* be fetched."""
        self.outgoing.append(data)
        self.waiting.set()

    async def read(self) -> bytes:
        """Return what was brought."""
        return await self.incoming.get()

    def close(self) -> None:
        """Read nothing more."""
        self.incoming.put_nowait(b"")

    async def fetch(self) -> bytes:
        """Return all that was written, as soon as there is some."""
        await self.waiting.wait()
        self.waiting.clear()
        data, self.outgoing = b"".join(self.outgoing), []
        return data


class Hand:
    """A worker, once it has said hello."""

    def __init__(self) -> None:
        self._post = Post()
        self._cache = user_cache_path("billp") / "environments"
        self._environment: Environment | None = None
        self._working: asyncio.Task[None] | None = None
        self._always = ExitStack()

    async def hello(
        self, version: str, source: str, place: str, environment: str, digest: str
    ) -> tuple[str, bool]:
        """Return why this cannot work for a run, if so, and whether it lacks the environment.

        It is told the fields of `Hello`, which another version might not know.
        """
        mine = this_version()
        if mine != version:
            return f"a node of the cluster has billp {mine}, and not {version}", False
        if this_source() != source:
            return f"a node of the cluster has other code of billp {mine} than the run has", False
        with suppress(OSError):  # another machine, where nothing is called by a relative name
            os.chdir(place)
        self._environment = _found(environment, digest) or kept(digest, self._cache)
        if self._environment is not None:
            self._begin()
        return "", self._environment is None

    async def receive(self, pack: Sequence[Awaitable[bytes]], digest: str) -> tuple[str, str]:
        """Take an environment; return why it cannot be taken, and why it cannot be kept.

        It comes as Ray's reference in a list: so it is fetched by who needs it, once for each node.
        """
        try:
            environment = unpacked(await pack[0])
        except DataError as error:
            return str(error), ""
        if environment.head.digest != digest:
            return f"a node of the cluster got another environment than {digest[:12]}", ""
        self._environment = environment
        self._begin()
        try:
            keep(environment, self._cache)
        except DataError as error:
            return "", str(error)
        return "", ""

    async def take(self, data: bytes) -> None:
        """Take what the run says."""
        self._post.incoming.put_nowait(data)

    async def hear(self) -> bytes:
        """Return what is to be said to the run, as soon as there is something."""
        data = await self._post.fetch()
        if self._working is not None and self._working.done():
            self._working.result()
            raise LawError("a worker ended by itself")
        return data

    def _begin(self) -> None:
        self._always.enter_context(sparing())
        self._working = asyncio.create_task(work(self._post, self._opened))
        self._working.add_done_callback(lambda _: self._post.waiting.set())

    def _opened(self, _: str, __: str) -> Environment:
        if self._environment is None:
            raise LawError("a worker began without its environment")
        return self._environment


def _found(name: str, digest: str) -> Environment | None:
    """Return the environment that this node has by that *name*, if it is that of the *digest*."""
    with suppress(BillpError):
        environment = open_environment(name, digest)
        if environment.head.digest == digest:
            return environment
    return None
