"""The event loop at the roof: uvloop where it is installed, what stops a run, and plain errors."""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

import anyio
from threadpoolctl import ThreadpoolController

from engine.errors import ConfigError, LawError, StopAtOnce
from sim.runs.collecting import rarely_collecting

T = TypeVar("T")

_MOMENT = 1.0  # seconds until Ctrl-C comes again
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
        with (
            sparing(),
            plain_errors(),
            _Signals().heard() as signals,
        ):
            return anyio.run(
                partial(_until_stopped, main, signals),
                backend="asyncio",
                backend_options={"use_uvloop": uvloop},
            )
    except asyncio.CancelledError as error:
        raise LawError("the run was cancelled, but not by the run") from error


@contextmanager
def sparing() -> Iterator[None]:
    """Let no threads compute here, and garbage be looked for rarely."""
    # Products here are small: where others work, too, threads wait for each other.
    with _libraries().limit(limits=1, user_api="blas"), rarely_collecting():
        yield


@cache  # to look for them takes as long as a small run's first steps: once for all runs
def _libraries() -> ThreadpoolController:
    """Return what computes on threads of its own, of all that is loaded when a loop first runs."""
    import_module("numpy")  # or nobody would hold it back who is imported later
    return ThreadpoolController()


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


@contextmanager
def in_their_loop() -> Iterator[None]:
    """Do for what is awaited in a loop of the user's own what `in_event_loop` may do there, too."""
    with plain_errors(), rarely_collecting():
        yield


def first_error(error: BaseException) -> BaseException:
    """Return the first error in a group of groups; an error that is no group is its own first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _until_stopped(main: Callable[[], Awaitable[T]], signals: "_Signals") -> T:
    """Return what *main* returns; raise KeyboardInterrupt if a signal cancelled it."""
    with anyio.CancelScope() as scope, signals.calling(scope.cancel):
        return await main()
    raise KeyboardInterrupt


@dataclass(eq=False)
class _Signals:
    """What the signals that stop a run do.

    The first is heard by the loop, between two of its steps: as an exception it would come up in
    the middle of anything, a listener of the user's for one. A second Ctrl-C is such an exception,
    and comes again until all has ended: a listener may never give way, a task may go on when it is
    cancelled.
    """

    interrupts: int = 0
    _before: dict[signal.Signals, Any] = field(default_factory=dict)
    _again: threading.Timer | None = None

    @contextmanager
    def heard(self) -> Iterator["_Signals"]:
        """Take the place of whoever heard them before, outside of the loop."""
        if threading.current_thread() is threading.main_thread():
            # What is ignored stays ignored: nohup, or a shell that starts us in the background.
            handlers = {number: signal.getsignal(number) for number in _STOPPING}
            self._before = {n: h or signal.SIG_DFL for n, h in handlers.items()}
            self._before = {n: h for n, h in self._before.items() if h is not signal.SIG_IGN}
        self._listen()
        try:
            yield self
        finally:
            if self._again is not None:
                self._again.cancel()
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _listen(self) -> None:
        if signal.SIGINT in self._before:
            signal.signal(signal.SIGINT, self._interrupt)

    @contextmanager
    def calling(self, stop: Callable[[], object]) -> Iterator[None]:
        """Call *stop*, in the loop that runs, when one of them comes."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unforeseen)
        for number in self._before:
            loop.add_signal_handler(number, stop)
        self._listen()
        try:
            yield
        finally:
            for number in self._before:
                loop.remove_signal_handler(number)
            self._listen()

    def _interrupt(self, *_: object) -> None:
        self.interrupts += 1
        if self.interrupts > 1:
            if self._again is not None:
                self._again.cancel()
            self._again = threading.Timer(_MOMENT, os.kill, (os.getpid(), signal.SIGINT))
            self._again.daemon = True
            self._again.start()
            raise StopAtOnce

    def _unforeseen(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # Tasks that were left at once say so: nobody asked them to end well.
        if self.interrupts < 2:
            loop.default_exception_handler(context)
