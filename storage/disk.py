"""The disk: every call of the operating system by which the files of a run change.

A machine that dies loses what was not forced to its disk: bytes that were written, and also names
that were made, exchanged or removed. So each of these calls stands here once, behind one seam; a
test puts a disk there that forgets, fails or fills up.
"""

import errno
import os
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """What changes files; every method raises OSError. A *file* is an open one's number."""

    def open(self, path: Path) -> int:
        """Open a file to write, made if there is none; its bytes stay."""
        ...

    def write(self, file: int, data: memoryview, place: int) -> int:
        """Write *data* at a *place*, or its beginning; return how many bytes were."""
        ...

    def truncate(self, file: int, size: int) -> None:
        """Cut a file off at *size* bytes."""
        ...

    def force(self, file: int) -> None:
        """Return when all that was written to a file is on the disk."""
        ...

    def close(self, file: int) -> None:
        """Close a file."""
        ...

    def make(self, directory: Path) -> None:
        """Make a directory; raises FileExistsError if there is something of that name."""
        ...

    def exchange(self, part: Path, path: Path) -> None:
        """Let the file *part* be called *path*, in place of what was called so."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file, if there is one."""
        ...

    def force_names(self, directory: Path) -> None:
        """Return when the names of a directory are on the disk, as they are now."""
        ...


class OperatingSystem:
    """The disk as it is."""

    def open(self, path: Path) -> int:
        """Open a file to write."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def write(self, file: int, data: memoryview, place: int) -> int:
        """Write at a place."""
        return os.pwrite(file, data, place)

    def truncate(self, file: int, size: int) -> None:
        """Cut off."""
        os.ftruncate(file, size)

    def force(self, file: int) -> None:
        """Force what was written."""
        os.fsync(file)

    def close(self, file: int) -> None:
        """Close."""
        os.close(file)

    def make(self, directory: Path) -> None:
        """Make a directory."""
        directory.mkdir()

    def exchange(self, part: Path, path: Path) -> None:
        """Exchange names."""
        part.replace(path)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink(missing_ok=True)

    def force_names(self, directory: Path) -> None:
        """Force the names of a directory."""
        file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(file)
        except OSError as error:
            if error.errno != errno.EINVAL:  # of file systems that need not be asked
                raise
        finally:
            os.close(file)
