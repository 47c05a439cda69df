"""The bus: who hears what.

Three verbs. `subscribe`: a handler, part of every episode, that runs as soon as its message is
published and may publish and ask in turn. `listen`: a live listener, for dashboards and progress,
that can publish nothing and misses messages rather than hold a run. `follow`: a follower, that
hears closed episodes in canonical order, the same in every run and in every replay.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import UnionType
from typing import Generic, TypeVar, get_args

import anyio

from engine.delivery import Handler, handling
from engine.episode import OUTSIDE, Handling
from engine.errors import LawError
from engine.listeners import Ear, Inbox, Listener, Live
from engine.messages import Envelope, Message, RunEnded, RunStarted
from engine.order import Follower, Following, LineFollower, Release
from engine.tree import encode

T = TypeVar("T")


@dataclass(frozen=True)
class BusStatistics:
    """What a bus has seen: messages published, and messages that listeners missed."""

    messages: int
    missed: int
    dropped_listeners: int
    dropped_followers: int


@dataclass(eq=False)
class Bus(Generic[T]):
    """Subscriptions of a run; *T* is the type of its trajectories. Fixed once the run starts."""

    handlings: dict[type, list[Handling]] = field(default_factory=dict)
    ears: dict[type, list[Inbox]] = field(default_factory=dict)
    release: Release = field(default_factory=Release)
    farewell: float = 1.0
    messages: int = 0
    _listeners: list[Inbox] = field(default_factory=list)
    _order: int = 0
    _started: bool = False

    def subscribe(self, types: type | UnionType, handler: Handler[T], *, name: str = "") -> None:
        """Let *handler*, a coroutine function of a `Delivery`, handle messages of *types*.

        A trace calls it *name*, by default that of the function.
        """
        self._check_open("subscribe")
        entry = handling(self._order, handler, name)
        chosen = kinds(types)
        if outside := OUTSIDE.intersection(chosen):
            what = ", ".join(sorted(kind.__name__ for kind in outside))
            raise LawError(f"{entry.name} cannot handle {what}: listen to it or follow it")
        # One place for all types: it orders what the handlers of a message publish.
        self._order += 1
        for kind in chosen:
            self.handlings.setdefault(kind, []).append(entry)

    def listen(
        self, types: type | UnionType, listener: Listener, *, capacity: int = 10_000
    ) -> None:
        """Let *listener* hear messages of *types* live; the oldest beyond *capacity* are missed."""
        self._overhear(Ear(kinds(types), listener, capacity=capacity))

    def inbox(self, types: type | UnionType, *, capacity: int = 10_000) -> Inbox:
        """Return where messages of *types* can be taken live; else it is as for a listener."""
        inbox = Inbox(kinds(types), capacity=capacity)
        self._overhear(inbox)
        return inbox

    def _overhear(self, inbox: Inbox) -> None:
        self._check_open("listen")
        self._listeners.append(inbox)
        for kind in inbox.types:
            self.ears.setdefault(kind, []).append(inbox)

    def follow(
        self, types: type | UnionType, follower: Follower, *, essential: bool = False
    ) -> None:
        """Let *follower* hear envelopes of *types* in canonical order.

        The first error drops it, unless it is *essential*: then the error stops the run.
        """
        self._check_open("follow")
        self.release.followings.append(Following(kinds(types), follower, essential))

    def write_to(self, writer: LineFollower) -> None:
        """Let *writer* follow everything in its encoded form."""
        self._check_open("follow")
        self.release.writers.append(writer)

    def listeners(self) -> tuple[Inbox, ...]:
        """Return the live listeners."""
        return tuple(self._listeners)

    async def open(self, started: RunStarted) -> None:
        """Publish the head of the trace; nothing can be subscribed from now on."""
        self._started = True
        await self._publish(started, n=0, cause=None, time=0)

    async def close(self, ended: RunEnded, time: int) -> None:
        """Publish the end of the trace, and let the listeners hear what they have not yet heard.

        A listener that is still busy after *farewell* seconds misses the rest.
        """
        await self._publish(ended, n=1, cause=0, time=time)
        async with anyio.create_task_group() as listening:
            for ear in self._listeners:
                listening.start_soon(ear.finish, self.farewell)

    async def _publish(
        self, message: RunStarted | RunEnded, *, n: int, cause: int | None, time: int
    ) -> None:
        self.messages += 1
        for ear in self.ears.get(type(message), ()):
            ear.hear(Live(None, time, message))
        envelope = Envelope(episode=None, n=n, cause=cause, time=time, message=message)
        await self.release.hear(encode(envelope) + b"\n")

    def statistics(self) -> BusStatistics:
        """Return what the bus has seen so far."""
        return BusStatistics(
            messages=self.messages,
            missed=sum(ear.missed for ear in self._listeners),
            dropped_listeners=sum(ear.deaf for ear in self._listeners),
            dropped_followers=sum(bool(f.dropped) for f in self.release.followings),
        )

    def dropped(self) -> dict[str, str]:
        """Return which listeners and followers have raised, by name, and what."""
        everybody: list[Inbox | Following] = [*self._listeners, *self.release.followings]
        return {one.name: one.dropped for one in reversed(everybody) if one.dropped}

    def missed(self) -> dict[str, int]:
        """Return how many messages listeners missed, by name."""
        counts = Counter[str]()
        for ear in self._listeners:
            counts[ear.name] += ear.missed
        return {name: count for name, count in counts.items() if count}

    @contextmanager
    def known_as(self, name: str) -> Iterator[None]:
        """Let whoever listens or follows meanwhile be called *name*."""
        listeners, followings = len(self._listeners), len(self.release.followings)
        try:
            yield
        finally:
            for ear in self._listeners[listeners:]:
                ear.name = name
            for following in self.release.followings[followings:]:
                following.name = name

    def _check_open(self, verb: str) -> None:
        if self._started:
            raise LawError(f"cannot {verb} once the run has started")


def kinds(types: type | UnionType) -> tuple[type, ...]:
    """Return the message types that *types*, a type or a union, stands for."""
    chosen = get_args(types) or (types,)
    known = get_args(Message)
    for kind in chosen:
        if kind not in known:
            raise LawError(f"expected a message type or a union of them, got {kind!r}")
    return tuple(chosen)
