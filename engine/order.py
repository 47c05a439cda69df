"""Canonical order: closed episodes are released to the followers one after the other.

An episode is released when it is closed and all episodes that arrived before it are. Until then it
waits in its encoded form, so that many may wait; what followers hear is decoded from the very bytes
that stand in the trace, live as in a replay.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import anyio
import msgspec

from engine.attempt import attempt, log, name_of, told_briefly
from engine.messages import Envelope, Message

Follower: TypeAlias = Callable[[Envelope[Any]], Awaitable[None] | None]
"""Hears envelopes in canonical order; may be a coroutine function, and holds the run when slow."""

_decode = msgspec.json.Decoder(Envelope[Message]).decode


class LineFollower(Protocol):
    """Takes whole episodes as lines of a trace: the trace writer. Its errors stop the run."""

    def write(self, lines: bytes) -> None:
        """Take the lines of one episode, or of the run itself, each with its end."""
        ...


@dataclass(eq=False)
class Following:
    """A follower with the types it hears; an *essential* one stops the run when it raises.

    *dropped* says why it hears nothing more, if it has raised.
    """

    types: tuple[type, ...]
    follower: Follower
    essential: bool
    name: str = ""
    dropped: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or name_of(self.follower)


@dataclass(eq=False)
class Release:
    """Releases closed episodes in order: `add` what is closed, and let `run` run beside."""

    writers: list[LineFollower] = field(default_factory=list)
    followings: list[Following] = field(default_factory=list)
    released: int = 0
    _waiting: dict[int, bytes] = field(default_factory=dict)
    _more: anyio.Event = field(default_factory=anyio.Event)
    _hearers: dict[type, list[Following]] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """How many closed episodes wait to be released."""
        return len(self._waiting)

    def add(self, episode: int, lines: bytes) -> None:
        """Take the lines of a closed episode."""
        self._waiting[episode] = lines
        self._more.set()

    async def run(self, on_release: Callable[[], None]) -> None:
        """Release episodes for ever; call *on_release* after each."""
        while True:
            while (lines := self._waiting.get(self.released)) is not None:
                await self.hear(lines)
                # Not before it was heard: what a slow follower still has holds new visits back.
                del self._waiting[self.released]
                self.released += 1
                on_release()
            # Nothing was awaited since the last look, so none can have come unseen.
            self._more = anyio.Event()
            await self._more.wait()

    async def hear(self, lines: bytes) -> None:
        """Give *lines* to the writers, then their envelopes to the followers."""
        # The trace first: nobody is to have heard what it was never given.
        for writer in self.writers:
            writer.write(lines)
        if self.followings:
            for line in lines.splitlines():
                await self._deliver(_decode(line))

    async def _deliver(self, envelope: Envelope[Message]) -> None:
        kind = type(envelope.message)
        if kind not in self._hearers:
            self._hearers[kind] = [f for f in self.followings if kind in f.types]
        for following in self._hearers[kind]:
            if not following.dropped:
                error = await attempt(following.follower, envelope)
                if error is not None:
                    self._failed(following, error)

    def _failed(self, following: Following, error: BaseException) -> None:
        if following.essential:
            raise error
        following.dropped = told_briefly(error)
        log("error", "follower dropped", error, follower=following.name)
