"""The standard streams: closed, full, or of an encoding that holds little. None of it hurts a run.

What was asked for goes to standard output: if that cannot be written, the command says so in one
sentence and ends with status 1. What is said on the way goes to standard error: if that cannot be
written, there is nobody to tell, and the command goes on.
"""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO, TextIOWrapper
from types import TracebackType
from typing import Any, TextIO

from engine.errors import OutputError
from engine.text import visible


def open_closed() -> None:
    """Put something in the place of standard streams that are closed.

    Else files that are opened later, the journal for one, would be taken for them; and libuv ends
    the process. Standard output cannot be written then, and says so; standard error is silent.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest number that is free: this one
    sys.stdin = sys.stdin or TextIOWrapper(FileIO(0, closefd=False), "utf-8")
    sys.stdout = sys.stdout or TextIOWrapper(FileIO(1, "w", closefd=False), "utf-8")
    sys.stderr = sys.stderr or TextIOWrapper(FileIO(2, "w", closefd=False), "utf-8")


@dataclass(eq=False)
class Outlet:
    """A standard stream that is told once that it cannot be written; then it takes all for nothing.

    A *vital* one raises OutputError. In other things it is the stream itself.
    """

    stream: TextIO
    vital: bool
    lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write *text*."""
        if self.lost is None:
            try:
                return self.stream.write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Write what was not written yet."""
        if self.lost is None:
            try:
                self.stream.flush()
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.lost = error
        # Python writes what is left when it ends, and would complain.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)
        if self.vital:
            raise OutputError(f"standard output cannot be written: {error.strerror}") from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def standard_streams() -> Iterator[tuple[Outlet, Outlet]]:
    """Yield standard output and standard error, which hold any text and hurt nobody."""
    out, err = sys.stdout, sys.stderr
    outlets = Outlet(out, vital=True), Outlet(err, vital=False)
    with _holding_all(out), _holding_all(err):
        sys.stdout, sys.stderr = outlets
        try:
            yield outlets
        finally:
            sys.stdout, sys.stderr = out, err


@contextmanager
def _holding_all(stream: Any) -> Iterator[None]:
    """Let *stream* write escapes for what its encoding does not hold."""
    if not hasattr(stream, "reconfigure"):
        yield
        return
    before = stream.errors
    stream.reconfigure(errors="backslashreplace")
    yield
    with suppress(OSError):
        stream.reconfigure(errors=before)


def show_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Write the traceback of an error that nobody caught, with nothing in it that is obeyed."""
    if sys.stderr is None:
        return
    text = "".join(traceback.format_exception(kind, error, trace))
    with suppress(OSError):
        sys.stderr.write(visible(text, lines=True))
        sys.stderr.flush()
