"""The one place where any exception is caught: around listeners and followers of the user's own."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

A = TypeVar("A")


class CancelledByItselfError(Exception):
    """Stands for a CancelledError that nobody asked for: it would end whoever waits beside it."""

    def __init__(self, error: asyncio.CancelledError) -> None:
        super().__init__(f"cancelled, but by nobody here: {error!r}")


async def attempt(function: Callable[[A], Awaitable[None] | None], argument: A) -> Exception | None:
    """Call *function*, await what it returns if it must be awaited, and return what it raised."""
    try:
        answer = function(argument)
        if inspect.isawaitable(answer):
            await answer
    except Exception as error:
        return error
    except asyncio.CancelledError as error:
        if _cancelled():
            raise
        return CancelledByItselfError(error)
    return None


def _cancelled() -> bool:
    """Tell whether somebody cancels the running task; else it let another one's error pass."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def attempted(function: Callable[[], A]) -> tuple[A | None, Exception | None]:
    """Return what *function* returns, or what it raised."""
    try:
        return function(), None
    except Exception as error:
        return None, error


def name_of(function: object) -> str:
    """Return a name for *function* that is the same in every process."""
    owner = getattr(function, "__self__", None)
    if owner is not None:
        return f"{type(owner).__name__}.{getattr(function, '__name__', '?')}"
    return getattr(function, "__qualname__", type(function).__name__)
