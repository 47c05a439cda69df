"""An episode that is run elsewhere, in another process or on another machine.

It is a pure function of the configuration, the user, the memory it may see and the replies that it
gets: where it is evaluated, nothing that comes of it tells. Here is left what the scheduler must
know of it meanwhile, and what it came to.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from engine.closed import Closed
from engine.episode import Wiring
from engine.errors import LawError
from engine.messages import EpisodeStarted

T = TypeVar("T")


class Away(Generic[T]):
    """A visit that *send* takes elsewhere; *running* are the tasks that work on it here."""

    def __init__(
        self,
        wiring: Wiring[T],
        number: int,
        started: EpisodeStarted,
        send: "Callable[[Away[T]], None]",
    ) -> None:
        self.number = number
        self.started = started
        self.user = started.user
        self.session = started.session
        self.clock = started.arrival
        self.published = 0
        self.running: dict[asyncio.Task[Any], str] = {}
        self._wiring = wiring
        self._send = send
        self._closed: Closed | None = None

    def start(self) -> None:
        """Send it away."""
        self._send(self)

    def moved(self, clock: int) -> None:
        """Take note that its clock stands at *clock*, if it did not before: it may be run again."""
        self.published += 1
        if clock > self.clock:
            self.clock = clock
            self._wiring.clock_moved(self)

    def over(self, closed: Closed) -> None:
        """Take what it came to."""
        if self._closed is not None or self._wiring.stopping:
            return
        self.clock, self._closed = closed.clock, closed
        self._wiring.messages += closed.lines.count(b"\n")
        closed.tell(self._wiring.ears)
        self._wiring.closed(self)

    def stop(self, error: BaseException) -> None:
        """Stop the run: this cannot come to its end."""
        self._wiring.stop(error)

    def close(self) -> Closed:
        """Return what it came to."""
        if self._closed is None:
            raise LawError(f"episode {self.number} is closed before it is over")
        return self._closed
