"""Append-only files of a run: written line by line, as safe against a crash as is asked for."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from engine.errors import FileError

Durability = Literal["none", "interval", "call"]
"""When a file is forced to the disk: never, about every second, or at every write."""

_INTERVAL = 1.0


@dataclass(eq=False)
class AppendOnly:
    """A file that only grows. What was written survives a crash of the process.

    A crash of the machine may cost what was not yet forced to the disk, by *durability*. Raises
    FileError if the file cannot be opened or written.
    """

    path: Path
    durability: Durability = "interval"
    start: int = 0
    _file: BinaryIO = field(init=False)
    _forced: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        try:
            self._file = self.path.open("r+b" if self.start else "wb", buffering=0)
            self._file.seek(self.start)
            self._file.truncate()
        except OSError as error:
            raise FileError(f"{self.path}: cannot be written: {error.strerror}") from error

    def write(self, data: bytes) -> None:
        """Append *data* whole; if that fails, nothing of it stays."""
        start = self._file.tell()
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
            self._force()
        except OSError as error:
            self._cut(start)
            raise self._unwritable(error) from error

    def _cut(self, size: int) -> None:
        # Others may still write before the run stops: not after half a line.
        self._file.seek(size)
        with suppress(OSError):
            self._file.truncate()

    def _force(self) -> None:
        if self.durability == "none":
            return
        now = time.monotonic()
        if self.durability == "call" or now - self._forced >= _INTERVAL:
            os.fsync(self._file.fileno())
            self._forced = now

    def close(self) -> None:
        """Close the file, forced to the disk unless that is never wanted."""
        if self._file.closed:
            return
        try:
            if self.durability != "none":
                os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            self._file.close()

    def _unwritable(self, error: OSError) -> FileError:
        hint = "what was written before is intact; free some space, then resume the run"
        return FileError(f"{self.path}: cannot be written: {error.strerror}", hint=hint)

    @property
    def closed(self) -> bool:
        """Whether nothing can be appended any more."""
        return self._file.closed
