"""Whatever stops a run says where it is, and how it goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from engine.errors import BudgetError, FileError, InterruptedRunError, ServiceError
from storage.batches import open_batches
from storage.runs import RunDirectory

Begun = Callable[[RunDirectory], None]
"""Is told the directory of a run as soon as there is one."""


@contextmanager
def stopping(begun: RunDirectory | None = None) -> Iterator[Begun]:
    """Let whatever stops a run say where it is and how it goes on, once it has *begun*.

    Yields what is to be told the directory of a run that has not begun yet.
    """
    there = [] if begun is None else [begun]
    try:
        yield there.append
    except (KeyboardInterrupt, MemoryError) as error:
        if not there:
            raise
        path = there[0].path
        what = "memory ran out" if isinstance(error, MemoryError) else "interrupted"
        raise InterruptedRunError(
            f"{what}; everything so far is in {path}{_elsewhere(there[0])}",
            hint=f"go on with: {resuming(path)}",
        ) from error
    except BudgetError as error:
        if there:
            error.hint = f"allow more: {resuming(there[0].path)} --set {error.setting}=…"
        raise
    except (ServiceError, FileError) as error:
        if there:
            error.hint = f"{error.hint or 'see to that'}; then: {resuming(there[0].path)}"
        raise


def _elsewhere(directory: RunDirectory) -> str:
    """Return what goes on at a service, and is paid for, though the run does not."""
    try:
        names = [sent.batch for sent in open_batches(directory.batches)]
    except FileError:  # whoever goes on with the run will hear of it
        return ""
    return f"; a service goes on with {', '.join(names)}, to be collected then" if names else ""


def resuming(path: Path) -> str:
    """Return the command that goes on with the run at *path*, as a shell wants it."""
    return f"billp resume {quote(str(path))}"
