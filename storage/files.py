"""Files of a run, as safe against a crash as is asked for: growing line by line, or written whole.

What the order of writes is to a process, the order of forcing is to a machine: it may die with any
part of what was not forced to its disk. So lines that depend on others are held back until those
are there (`HeldBack`), and a file that is exchanged is forced before its name is.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engine.errors import FileError
from storage.disk import Disk, OperatingSystem

Durability = Literal["none", "interval", "call"]
"""When a file is forced to the disk: never, about every second, or at every write."""

_INTERVAL = 1.0
_MOST_HELD = 4 << 20  # bytes
_PIECE = 1 << 20
_SECTOR = 512  # what a disk writes whole or not at all

disk: Disk = OperatingSystem()
"""Where all files of a run are; only tests put another one there."""


@dataclass(eq=False)
class AppendOnly:
    """A file that only grows. What was written survives a crash of the process.

    A crash of the machine may cost what was not yet forced to the disk, by *durability*. Raises
    FileError if the file cannot be opened or written; after an error that leaves the file in doubt
    nothing more is taken.
    """

    path: Path
    durability: Durability = "interval"
    start: int = 0
    then: list[Callable[[], None]] = field(default_factory=list)
    _file: int | None = field(default=None, init=False)
    _size: int = field(init=False)
    _forced: float = field(default=0.0, init=False)
    _unforced: bool = field(default=False, init=False)
    _doubt: FileError | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._size = self.start
        try:
            self._file = disk.open(self.path)
            disk.truncate(self._file, self.start)
            if self.durability != "none":
                disk.force(self._file)  # or what was cut off could come back after what follows it
                disk.force_names(self.path.parent)
        except OSError as error:
            if self._file is not None:
                disk.close(self._file)
            raise FileError(f"{self.path}: cannot be written: {error.strerror}") from error

    def write(self, data: bytes) -> None:
        """Append *data* whole; if that fails, nothing of it stays."""
        file = self._opened()
        try:
            self._write_all(file, data)
        except OSError as error:
            self._cut(file, error)
            raise self._unwritable(error) from error
        self._size += len(data)
        self._unforced = True
        if self.durability != "none" and self.due:
            self.force()

    def _write_all(self, file: int, data: bytes) -> None:
        view, place = memoryview(data), self._size
        while view:
            count = disk.write(file, view, place)
            view, place = view[count:], place + count

    def _cut(self, file: int, error: OSError) -> None:
        # Others may still write before the run stops: not after half a line.
        try:
            disk.truncate(file, self._size)
        except OSError:
            self._doubt = self._unwritable(error)

    @property
    def due(self) -> bool:
        """Whether a write is to be forced to the disk now, if any is."""
        return self.durability != "interval" or time.monotonic() - self._forced >= _INTERVAL

    def force(self) -> None:
        """Return when all that was written is on the disk, unless that is never wanted.

        Then what waits for it comes to its turn.
        """
        if self.durability == "none" or not self._unforced:
            return
        try:
            disk.force(self._opened())
        except OSError as error:
            # The system may forget what it could not write, and would say next time that all is
            # well: nobody may ask again.
            self._doubt = self._unwritable(error)
            raise self._doubt from error
        self._unforced = False
        self._forced = time.monotonic()
        # Not before: what waits may depend on these very bytes.
        for waiting in self.then:
            waiting()

    def cut(self, size: int) -> None:
        """Leave nothing of what stands after the first *size* bytes; forced like a write."""
        file = self._opened()
        try:
            disk.truncate(file, size)
        except OSError as error:
            raise self._unwritable(error) from error
        self._size = size
        self._unforced = True
        self.force()

    def close(self) -> None:
        """Close the file, forced to the disk unless that is never wanted."""
        if self._file is None:
            return
        try:
            if self._doubt is None:
                self.force()
        finally:
            file, self._file = self._file, None
            with suppress(OSError):  # what it could say was said by forcing
                disk.close(file)

    def _opened(self) -> int:
        if self._doubt is not None:
            raise self._doubt
        if self._file is None:
            raise FileError(f"{self.path}: is closed")
        return self._file

    def _unwritable(self, error: OSError) -> FileError:
        hint = "what was written before is intact; free some space, then resume the run"
        return FileError(f"{self.path}: cannot be written: {error.strerror}", hint=hint)

    @property
    def closed(self) -> bool:
        """Whether nothing can be appended any more."""
        return self._file is None


@dataclass(eq=False)
class HeldBack:
    """Lines of *file* that depend on what stands in the files *before* it.

    They are written when that is on the disk: as soon as those files are forced, and at the latest
    when *file* is to be. A crash of the process costs what is held back; it can be made again.
    """

    file: AppendOnly
    before: Sequence[AppendOnly]
    _lines: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        for file in self.before:
            file.then.append(self.release)

    def write(self, data: bytes) -> None:
        """Take lines, and write them in their time."""
        self._lines += data
        # Its own turn may come first: where nothing is asked, nothing else is ever forced.
        if self.file.due or len(self._lines) >= _MOST_HELD:
            self.release()

    def release(self) -> None:
        """Write what is held back, after what it depends on was forced."""
        # A machine that dies must leave no line that no journaled reply explains.
        for file in self.before:
            file.force()
        lines, self._lines = bytes(self._lines), bytearray()
        # Forcing comes back here: then they are written already.
        if lines:
            self.file.write(lines)

    def force(self) -> None:
        """Return when all lines are on the disk, unless that is never wanted."""
        self.release()
        self.file.force()

    def cut(self, size: int) -> None:
        """Leave nothing of what stands after the first *size* bytes."""
        self.file.cut(size)

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.file.path

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more."""
        return self.file.closed

    def close(self) -> None:
        """Write what is held back, and close the file."""
        if self.closed:
            return
        try:
            self.release()
        finally:
            self.file.close()


@dataclass(eq=False)
class Part:
    """A file that is being written, and has no name yet by which anybody reads it."""

    file: int
    _size: int = 0
    _gathered: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes, /) -> int:
        """Take bytes; raises OSError."""
        self._gathered += data
        if len(self._gathered) >= _PIECE:
            self.flush()
        return len(data)

    def flush(self) -> None:
        """Write what is gathered; raises OSError."""
        view = memoryview(bytes(self._gathered))
        self._gathered.clear()
        while view:
            count = disk.write(self.file, view, self._size)
            view, self._size = view[count:], self._size + count


@contextmanager
def whole(path: Path) -> Iterator[Part]:
    """Give a file to write that becomes *path* when all of it is on the disk; raises OSError.

    Whatever happens, *path* is either the old file or the new one, never half of it.
    """
    aside = path.with_name(path.name + ".part")
    part = Part(disk.open(aside))
    try:
        # Somebody who died may have left a part of that name.
        disk.truncate(part.file, 0)
        yield part
        part.flush()
        # Before it gets its name: that could survive a crash, and the bytes not.
        disk.force(part.file)
    finally:
        disk.close(part.file)
    disk.exchange(aside, path)
    disk.force_names(path.parent)


def force(path: Path) -> None:
    """Return when the bytes of a file, or the names in a directory, are on the disk.

    Raises OSError.
    """
    if path.is_dir():
        disk.force_names(path)
        return
    file = disk.open(path)
    try:
        disk.force(file)
    finally:
        disk.close(file)


def make_directory(path: Path) -> bool:
    """Make a directory and those above it, on the disk; tell whether it is new; raises OSError."""
    if path.is_dir():
        return False
    if not path.parent.exists():
        make_directory(path.parent)
    try:
        disk.make(path)
    except FileExistsError:  # another process was faster, or it is no directory
        if path.is_dir():
            return False
        raise
    disk.force_names(path.parent)
    return True


def remove(path: Path) -> None:
    """Remove a file, if there is one, and return when the disk knows; raises FileError."""
    try:
        disk.remove(path)
        if path.parent.exists():
            disk.force_names(path.parent)
    except OSError as error:
        raise FileError(f"{path}: cannot be removed: {error.strerror}") from error


def lost(line: bytes, place: int) -> bool:
    """Tell whether a part of *line*, which begins at a *place* in its file, never reached the disk.

    Where a machine died before all was forced, the system finds zeros up to the end of a sector.
    """
    end = line.rfind(b"\0") + 1
    while end:
        if (place + end) % _SECTOR == 0:
            return True
        # Zeros that end within a sector were written so; there may be others before them.
        end = line.rfind(b"\0", 0, len(line[:end].rstrip(b"\0"))) + 1
    return False
