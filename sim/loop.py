"""The event loop at the roof: uvloop where it is installed, what stops a run, and plain errors."""

import asyncio
import gc
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, TypeVar

import anyio

from engine.errors import ConfigError, LawError, StopAtOnce

T = TypeVar("T")

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def in_event_loop(
    main: Callable[[], Awaitable[T]], *, twin: str = "", uvloop: bool | None = None
) -> T:
    """Return what *main* returns, run in an event loop of its own.

    uvloop is used where it is installed, unless told otherwise. Ctrl-C, SIGTERM and SIGHUP cancel
    *main* and raise KeyboardInterrupt; a second Ctrl-C does not wait for what the first cancelled.
    Of a group of errors the first is raised. Raises ConfigError where an event loop runs already:
    *twin* is called there instead.
    """
    check_no_loop(twin)
    if uvloop is None:
        uvloop = find_spec("uvloop") is not None
    try:
        with _rarely_collecting(), plain_errors():
            return anyio.run(
                _until_stopped, main, backend="asyncio", backend_options={"use_uvloop": uvloop}
            )
    except asyncio.CancelledError as error:
        raise LawError("the run was cancelled, but not by the run") from error


def check_no_loop(twin: str = "") -> None:
    """Raise ConfigError if an event loop runs here already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    hint = f"await {twin}(…), which takes the same" if twin else "await asyncio.to_thread(…)"
    raise ConfigError("an event loop runs here already, as in a notebook", hint=hint)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise the first error of a group of errors in its place."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise first_error(group) from group


def first_error(error: BaseException) -> BaseException:
    """Return the first error in a group of groups; an error that is no group is its own first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _until_stopped(main: Callable[[], Awaitable[T]]) -> T:
    """Return what *main* returns; raise KeyboardInterrupt if a signal cancelled it."""
    if threading.current_thread() is not threading.main_thread():
        return await main()
    with anyio.CancelScope() as scope, _Signals(asyncio.get_running_loop()).calling(scope.cancel):
        return await main()
    raise KeyboardInterrupt


@dataclass(eq=False)
class _Signals:
    """What the signals that stop a run do to a *loop*.

    The first is heard by the loop, between two of its steps: as an exception it would come up in
    the middle of anything, a listener of the user's for one. The second Ctrl-C is such an
    exception: the loop may hang.
    """

    loop: asyncio.AbstractEventLoop
    interrupts: int = 0
    _before: dict[signal.Signals, Any] = field(default_factory=dict)

    @contextmanager
    def calling(self, stop: Callable[[], object]) -> Iterator[None]:
        """Call *stop* at a signal; let Ctrl-C raise StopAtOnce from the second on."""
        self.loop.set_exception_handler(self._unforeseen)
        # What is ignored stays ignored: nohup, or a shell that starts us in the background.
        for number in _STOPPING:
            handler = signal.getsignal(number)
            if handler is not signal.SIG_IGN:
                self._before[number] = handler or signal.SIG_DFL
                self.loop.add_signal_handler(number, stop)
        if signal.SIGINT in self._before:
            signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            for number, handler in self._before.items():
                self.loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _interrupt(self, *_: object) -> None:
        self.interrupts += 1
        if self.interrupts > 1:
            raise StopAtOnce

    def _unforeseen(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # Tasks that were left at once say so: nobody asked them to end well.
        if self.interrupts < 2:
            loop.default_exception_handler(context)


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
