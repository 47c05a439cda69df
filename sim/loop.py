"""The event loop at the roof: uvloop where it is installed, Ctrl-C, and plain errors."""

import asyncio
import gc
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TypeVar

import anyio

T = TypeVar("T")


def in_event_loop(main: Callable[[], Awaitable[T]], *, uvloop: bool | None = None) -> T:
    """Return what *main* returns, run in an event loop of its own.

    uvloop is used where it is installed, unless told otherwise. Ctrl-C and SIGTERM cancel *main*
    and raise KeyboardInterrupt. Of a group of errors the first is raised.
    """
    if uvloop is None:
        uvloop = find_spec("uvloop") is not None
    try:
        with _rarely_collecting():
            return anyio.run(
                _until_terminated, main, backend="asyncio", backend_options={"use_uvloop": uvloop}
            )
    except BaseExceptionGroup as group:
        raise first_error(group) from group


def first_error(error: BaseException) -> BaseException:
    """Return the first error in a group of groups; an error that is no group is its own first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _until_terminated(main: Callable[[], Awaitable[T]]) -> T:
    """Return what *main* returns; SIGTERM cancels it as Ctrl-C does.

    Not by way of Ctrl-C: a shell that starts us in the background makes us deaf to that.
    """
    if threading.current_thread() is not threading.main_thread():
        return await main()
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:
        loop.add_signal_handler(signal.SIGTERM, scope.cancel)
        try:
            return await main()
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
    raise KeyboardInterrupt


@contextmanager
def _rarely_collecting() -> Iterator[None]:
    # Messages and replies are no garbage until their episode is closed, and hardly any is in a
    # circle: looking for those after every 700 costs a tenth of the time.
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
