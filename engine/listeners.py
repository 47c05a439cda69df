"""Live listeners: they hear messages as they happen, and can never hold or hurt a run."""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import anyio
import anyio.lowlevel
import msgspec

from engine.attempt import attempt, log, name_of, told_briefly
from engine.messages import Message

M = TypeVar("M")

_AT_ONCE = 16  # messages taken before others have their turn


class Live(msgspec.Struct, Generic[M], frozen=True, gc=False):
    """A message as it happens: what an `Envelope` is before it has its place."""

    episode: int | None
    time: int
    message: M


Listener: TypeAlias = Callable[[Live[Any]], Awaitable[None] | None]


@dataclass(eq=False)
class Inbox:
    """What was heard of *types* and not taken yet; beyond *capacity* the oldest is missed.

    *name* says whose it is, *dropped* why it hears nothing more if what emptied it has raised.
    """

    types: tuple[type, ...]
    capacity: int = field(kw_only=True)
    name: str = field(default="", kw_only=True)
    dropped: str = field(default="", kw_only=True)
    missed: int = field(default=0, kw_only=True)
    deaf: bool = field(default=False, kw_only=True)
    _taken: int = field(default=0, init=False)
    _queue: deque[Live[Message]] = field(default_factory=deque, init=False)
    _more: anyio.Event = field(default_factory=anyio.Event, init=False)

    def hear(self, live: Live[Message]) -> None:
        """Queue a message; never waits."""
        if self.deaf:
            return
        if len(self._queue) >= self.capacity:
            self._queue.popleft()
            self.missed += 1
        self._queue.append(live)
        if not self._more.is_set():
            self._more.set()

    async def take(self) -> Live[Message] | None:
        """Return the oldest message, waiting for one; None if it is deaf and all were taken."""
        if self._taken % _AT_ONCE == 0:
            await anyio.lowlevel.checkpoint()
        while not self._queue:
            if self.deaf:
                return None
            self._more = anyio.Event()
            await self._more.wait()
        self._taken += 1
        return self._queue.popleft()

    def close(self) -> None:
        """Hear nothing more."""
        self.deaf = True
        self._more.set()

    async def run(self) -> None:
        """Do nothing beside the run: whoever wants the messages takes them."""

    async def finish(self, seconds: float) -> None:
        """Do nothing at the end of the run: messages can be taken after it."""


@dataclass(eq=False)
class Ear(Inbox):
    """An inbox that is emptied by a *listener*; one that raises is deaf."""

    listener: Listener

    def __post_init__(self) -> None:
        self.name = self.name or name_of(self.listener)

    async def run(self) -> None:
        """Hand over what is queued, for ever."""
        while not self.deaf:
            await self._more.wait()
            # Before the queue is emptied: what is heard during that wakes this once more.
            self._more = anyio.Event()
            await self.drain()

    async def drain(self) -> None:
        """Hand over all that is queued now; deaf from the first error on."""
        while self._queue and not self.deaf:
            error = await attempt(self.listener, self._queue.popleft())
            if error is not None:
                self.deaf, self.dropped = True, told_briefly(error)
                log("error", "listener dropped", error, listener=self.name)
            await anyio.lowlevel.checkpoint()  # a plain function would not let anybody else on

    async def finish(self, seconds: float) -> None:
        """Hand over what is queued, for so many *seconds*; what is left then is missed."""
        with anyio.move_on_after(seconds):
            await self.drain()
        # Who was dropped is counted as such, not by what it misses.
        if not self.deaf:
            self.missed += len(self._queue)
        self._queue.clear()
