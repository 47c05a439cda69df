"""The event loop at the roof: uvloop where it is installed, Ctrl-C, and plain errors."""

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from types import FrameType
from typing import TypeVar

import anyio

from engine.errors import LoopError

T = TypeVar("T")

_MOMENT = 2.0  # seconds from the second signal to the end
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def in_event_loop(main: Callable[[], Awaitable[T]], *, uvloop: bool | None = None) -> T:
    """Return what *main* returns, run in an event loop of its own.

    uvloop is used where it is installed, unless told otherwise. Ctrl-C, SIGTERM and SIGHUP cancel
    *main* and raise KeyboardInterrupt. Of a group of errors the first is raised.
    """
    if uvloop is None:
        uvloop = find_spec("uvloop") is not None
    try:
        with _rarely_collecting(), _stopped_by_signals() as stopper:
            return anyio.run(
                partial(_until_stopped, main, stopper),
                backend="asyncio",
                backend_options={"use_uvloop": uvloop},
            )
    except BaseExceptionGroup as group:
        raise first_error(group) from group


def check_no_loop(twin: str) -> None:
    """Raise LoopError where an event loop runs already: *twin* is what can be awaited there."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise LoopError(
        "an event loop runs here already, as in a notebook", hint=f"await {twin}(…) there"
    )


def first_error(error: BaseException) -> BaseException:
    """Return the first error in a group of groups; an error that is no group is its own first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@dataclass(eq=False)
class _Stopper:
    """What signals do: the first one stops cleanly, the second what holds that up.

    Not by way of KeyboardInterrupt at once: that would come up in whatever runs just then, be it a
    listener of the user's, from which any error is taken for its own. What does not end even then
    is left alone a moment later: what was written is whole, for no file has a part of it in memory.
    """

    stop: Callable[[], None] | None = None
    signals: int = 0
    _end: threading.Timer | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        self.signals += 1
        if self.signals == 1 and self.stop is not None:
            self.stop()
            return
        if self._end is None:
            self._end = threading.Timer(_MOMENT, _exit, [128 + number])
            self._end.daemon = True
            self._end.start()
        raise KeyboardInterrupt

    def over(self) -> None:
        """Take note that all has ended."""
        if self._end is not None:
            self._end.cancel()


def _exit(status: int) -> None:
    os.write(2, b"billp: stopped in the middle of its work; what is on the disk is whole\n")
    os._exit(status)


@contextmanager
def _stopped_by_signals() -> Iterator[_Stopper]:
    stopper = _Stopper()
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _SIGNALS}
    # Not those that somebody wants ignored: nohup does, and a shell in the background.
    usual = (signal.SIG_DFL, signal.default_int_handler)
    taken = [number for number, handler in before.items() if handler in usual]
    for number in taken:
        signal.signal(number, stopper)
    try:
        yield stopper
    finally:
        stopper.over()
        for number in taken:
            signal.signal(number, before[number])


async def _until_stopped(main: Callable[[], Awaitable[T]], stopper: _Stopper) -> T:
    """Return what *main* returns, unless it is stopped: then raise KeyboardInterrupt."""
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:
        stopper.stop = partial(_cancel_soon, loop, scope)
        try:
            return await main()
        finally:
            stopper.stop = None
    raise KeyboardInterrupt


def _cancel_soon(loop: asyncio.AbstractEventLoop, scope: anyio.CancelScope) -> None:
    loop.call_soon_threadsafe(scope.cancel)


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
