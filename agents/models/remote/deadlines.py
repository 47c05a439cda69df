"""When what takes too long is given up: one timer for all who wait equally long.

A timer of its own for every call, which hardly ever comes, would cost more than writing its bytes.
Who has the same patience is at its end in the order in which it began: the first one is waited for.
"""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds until a connection stands, until bytes arrive (first or next), for all of a call."""

    connect: float = 10.0
    first_byte: float = 180.0
    whole: float = 300.0


class Deadlines(Generic[K]):
    """Those who wait for at most so many *seconds*; *end* is told whose time is over.

    Of one event loop; to be closed.
    """

    def __init__(self, seconds: float, end: Callable[[K], object]) -> None:
        self._seconds = seconds
        self._end = end
        self._due: dict[K, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, who: K) -> None:
        """Let the time of *who* begin, which must not be running."""
        loop = asyncio.get_running_loop()
        self._due[who] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look, loop)

    def over(self, who: K) -> bool:
        """Let the time of *who* run no longer; tell whether it was running."""
        return self._due.pop(who, None) is not None

    def close(self) -> None:
        """End nobody any more; who is still there may leave."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End all whose time is over, and wait for the next one."""
        self._timer = None
        while self._due:
            who, due = next(iter(self._due.items()))
            # Who is early by a rounding error would be looked at again and again.
            left = due - loop.time()
            if left > 1e-3:
                self._timer = loop.call_later(left, self._look, loop)
                return
            del self._due[who]
            self._end(who)


class Within:
    """The running task, which gets a TimeoutError if it does not leave in time.

    As of `asyncio.timeout`, with a timer that others share.
    """

    __slots__ = ("_asked", "_deadlines", "_task")

    def __init__(self, deadlines: Deadlines["asyncio.Task[object]"]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._deadlines = deadlines
        self._task = task
        # Who was cancelled by others before, or is meanwhile, stays so.
        self._asked = task.cancelling()

    def __enter__(self) -> None:
        self._deadlines.begin(self._task)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended = not self._deadlines.over(self._task)
        if ended and self._task.uncancel() <= self._asked and kind is asyncio.CancelledError:
            raise TimeoutError from error
