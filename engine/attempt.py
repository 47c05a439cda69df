"""The one place where any exception is caught: around listeners and followers of the user's own.

They can raise whatever Python knows, `SystemExit` and `KeyboardInterrupt` among it, and cancel the
task that they find themselves in: all of it is their error, and nobody else's end. A true Ctrl-C
cancels the run from outside; what a second one raises is the one exception that passes. Also around
pages of runs, which may come from anywhere: one that fails says so, and others are made.
"""

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias, TypeVar

import anyio
import structlog

from engine.errors import StopAtOnce
from engine.text import visible

A = TypeVar("A")

Level: TypeAlias = Literal["info", "warning", "error"]
_LEAVE = 1.0  # seconds that a cancelled listener may take to end
_BRIEFLY = 200  # characters


class CancelledByItselfError(Exception):
    """Stands for a CancelledError that nobody asked for: it would end whoever waits beside it."""

    def __init__(self) -> None:
        super().__init__("cancelled, but by nobody here")


async def attempt(
    function: Callable[[A], Awaitable[None] | None], argument: A
) -> BaseException | None:
    """Call *function*, await what it returns if it must be awaited, and return what it raised."""
    task = asyncio.current_task()
    # Who was cancelled from outside stays so: only what comes on top is taken back.
    asked = 0 if task is None else task.cancelling()
    answer, error = attempted(lambda: _awaitable(function(argument)))
    if task is not None and task.cancelling() > asked:
        await _take_back(task, asked)
        return CancelledByItselfError()
    if answer is not None:
        return await _awaited(answer)
    return error


def _awaitable(answer: Awaitable[None] | None) -> Awaitable[None] | None:
    return answer if inspect.isawaitable(answer) else None


async def _take_back(task: asyncio.Task[object], asked: int) -> None:
    """Take back what *task*, the running one, did to itself: it was cancelled *asked* times."""
    while task.cancelling() > asked:
        task.uncancel()
    try:
        await asyncio.sleep(0)  # before Python 3.13 the cancellation comes all the same
    except asyncio.CancelledError:
        if task.cancelling() > asked:
            raise


async def _awaited(answer: Awaitable[None]) -> BaseException | None:
    """Return what *answer* raises, awaited in a task of its own: that is what it can cancel."""
    task = asyncio.create_task(_caught(answer))
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait({task}, timeout=_LEAVE)
        _end(task, answer)
        raise
    return CancelledByItselfError() if task.cancelled() else task.result()


def _end(task: asyncio.Task[object], answer: Awaitable[None]) -> None:
    """End a listener that does not let itself be cancelled, or close one that never began."""
    coroutine = answer if task.done() else task.get_coro()
    if inspect.iscoroutine(coroutine):
        attempted(coroutine.close)
    if not task.done():
        # Somebody must look at its error, or asyncio logs that nobody did.
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        task.cancel()


async def _caught(answer: Awaitable[None]) -> BaseException | None:
    task = asyncio.current_task()
    try:
        await answer
    except StopAtOnce:
        raise
    except asyncio.CancelledError:
        return CancelledByItselfError()
    except GeneratorExit as error:
        if not _runs(task):  # it is we who are closed, not the listener that raises it
            raise
        return error
    except BaseException as error:
        return error
    return None


def _runs(task: asyncio.Task[object] | None) -> bool:
    try:
        return asyncio.current_task() is task
    except RuntimeError:
        return False


def attempted(function: Callable[[], A]) -> tuple[A | None, BaseException | None]:
    """Return what *function* returns, or what it raised."""
    try:
        return function(), None
    except StopAtOnce:
        raise
    except asyncio.CancelledError:
        # Nothing is awaited in a plain call: no true cancellation can come up here.
        return None, CancelledByItselfError()
    except BaseException as error:
        return None, error


def log(level: Level, event: str, raised: BaseException | None = None, /, **facts: object) -> None:
    """Log what goes on all the same, also where nobody can be told: a closed or broken output.

    The traceback of what was *raised* is text already, under the name that structlog gives it. As
    an error it would be shown with everybody's variables where nothing is configured, as in a
    notebook: a run's are a whole world, and showing it takes minutes.
    """
    if raised is not None:
        facts["exception"], _ = attempted(lambda: _traceback(raised))
    attempted(lambda: getattr(structlog.get_logger(), level)(event, **facts))


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip("\n")


def told(error: BaseException) -> str:
    """Return what *error* is and says, even if it cannot say it."""
    text, _ = attempted(lambda: str(error))
    return f"{type(error).__name__}: {'it cannot be told' if text is None else text}"


def told_briefly(error: BaseException) -> str:
    """Return what *error* is and says in one line, none of it obeyed by who shows it."""
    text = visible(" ".join(told(error).split()))
    return text if len(text) <= _BRIEFLY else f"{text[: _BRIEFLY - 1]}…"


def name_of(function: object) -> str:
    """Return a name for *function* that is the same in every process."""
    name, _ = attempted(lambda: _name_of(function))
    return name if isinstance(name, str) else type(function).__name__


def _name_of(function: object) -> object:
    owner = getattr(function, "__self__", None)
    if owner is not None:
        return f"{type(owner).__name__}.{getattr(function, '__name__', '?')}"
    return getattr(function, "__qualname__", type(function).__name__)
