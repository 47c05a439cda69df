"""Whether what is to be written in a directory stays in it: links may lead elsewhere."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from engine.errors import RunDirectoryError


def check_within(directory: Path) -> None:
    """Raise RunDirectoryError if to write in a run directory could change anything else.

    That is so where a link leads out of it; and what is neither file nor directory would hold us
    up for ever.
    """
    for path in _everything(directory):
        kind = path.lstat().st_mode
        if stat.S_ISLNK(kind) and not leads_into(path, directory):
            raise RunDirectoryError(
                f"{path}: is a link that leads out of the run directory: nothing is written there",
                hint="put the file itself into its place",
            )
        if not (stat.S_ISLNK(kind) or stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise RunDirectoryError(f"{path}: is neither a file nor a directory")


def _everything(directory: Path) -> Iterator[Path]:
    try:
        for where, directories, files in os.walk(directory):
            yield from (Path(where, name) for name in (*directories, *files))
    except OSError as error:
        raise RunDirectoryError(f"{directory}: cannot be read: {error.strerror}") from error


def leads_into(path: Path, directory: Path) -> bool:
    """Tell whether *path*, a link, leads into *directory*; in a circle links lead nowhere."""
    try:
        return _end(path).is_relative_to(directory.resolve())
    except (OSError, RuntimeError):  # a circle: which of them depends on the version of Python
        return False


def _end(path: Path) -> Path:
    # From Python 3.13 on only a strict look sees circles; but what is not there may yet be made.
    try:
        return path.resolve(strict=True)
    except FileNotFoundError:
        return path.resolve()
