"""The one place where any exception is caught: around listeners and followers of the user's own."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

A = TypeVar("A")


class CancelledByItselfError(Exception):
    """Stands for a CancelledError that nobody asked for: it would end whoever waits beside it."""

    def __init__(self, error: object) -> None:
        super().__init__(f"cancelled, but by nobody here: {error!r}")


async def attempt(
    function: Callable[[A], Awaitable[None] | None], argument: A
) -> BaseException | None:
    """Call *function*, await what it returns if it must be awaited, and return what it raised.

    Whatever that is: code of the user's may leave by SystemExit as well, or cancel the task that it
    runs in.
    """
    before = _cancellations()
    answer, error = attempted(lambda: function(argument))
    if _cancellations() > before:
        return await _uncancelled()
    if error is not None or not inspect.isawaitable(answer):
        return error
    try:
        # In a task of its own: what it cancels is not ours, and ours is cancelled by others alone.
        return await asyncio.create_task(_raised_by(answer))
    except asyncio.CancelledError as cancelled:
        if _cancellations() > before:
            raise
        return CancelledByItselfError(cancelled)
    finally:
        if inspect.iscoroutine(answer):
            answer.close()  # it may not have come to its beginning


async def _raised_by(answer: Awaitable[None]) -> BaseException | None:
    try:
        await answer
    except (asyncio.CancelledError, GeneratorExit):  # of the task itself
        raise
    except BaseException as error:
        return error
    return None


def _cancellations() -> int:
    """Return how often somebody has asked the running task to end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


async def _uncancelled() -> CancelledByItselfError:
    """Take back what a plain function asked of the task that it ran in; nobody else could."""
    task = asyncio.current_task()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError as cancelled:
        if task is not None:
            task.uncancel()
        return CancelledByItselfError(cancelled)
    return CancelledByItselfError("a cancellation that did not come")


def attempted(function: Callable[[], A]) -> tuple[A | None, BaseException | None]:
    """Return what *function* returns, or what it raised."""
    try:
        return function(), None
    except BaseException as error:
        return None, error


def told(error: BaseException) -> str:
    """Return what *error* is and says, also if it cannot say it."""
    text, failed = attempted(lambda: str(error))
    return type(error).__name__ if failed is not None else f"{type(error).__name__}: {text}"


def name_of(function: object) -> str:
    """Return a name for *function* that is the same in every process."""
    owner = getattr(function, "__self__", None)
    if owner is not None:
        return f"{type(owner).__name__}.{getattr(function, '__name__', '?')}"
    return getattr(function, "__qualname__", type(function).__name__)
