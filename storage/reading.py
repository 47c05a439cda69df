"""Reading what may come from anybody: regular files only, in bounded memory, TOML not too deep.

A directory from elsewhere may hold anything under the names of ours. To open a named pipe is to
wait for ever, a device never ends, and what is parsed may be nested until Python gives up.
"""

import errno
import os
import pickle
import re
import stat
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

SETTINGS_SIZE = 1 << 20
"""Bytes that a file of settings has at most."""

LONGEST_LINE = 64 << 20
"""Bytes that a line of a run's files has at most."""

_DEEPEST = 10
_MOST_PARTS = 64
# Possessive throughout: what nearly fits must not be tried in every other way.
_LONG_KEY = re.compile(
    rf"""(?>(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{_MOST_PARTS}}}""",
)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read; raises OSError for whatever else has that name."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | _NO_WAIT)
    except ValueError as error:  # a NUL
        raise OSError(errno.EINVAL, "is no name of a file", str(path)) from error
    # Looked at once it is open: a moment later the name may mean something else.
    kind = os.fstat(file).st_mode
    if stat.S_ISREG(kind):
        return os.fdopen(file, "rb")
    os.close(file)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "is no regular file", str(path))


def read_small(path: Path, most: int) -> bytes:
    """Return what a regular file holds; raises OSError, also if it is more than *most* bytes."""
    with open_regular(path) as file:
        return at_most(file, path, most)


def at_most(file: BinaryIO, path: Path, most: int) -> bytes:
    """Return all that can be read from *file*; raises OSError beyond *most* bytes."""
    content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"is larger than {most:,} bytes", str(path))
    return content


def parse_toml(content: bytes) -> dict[str, Any]:
    """Return the tables of a TOML document; raises ValueError, also for what is nested too deep."""
    tables: dict[str, Any] = pickle.loads(_tables(content))
    return tables


@lru_cache(maxsize=4)  # who goes on with a run, or verifies it, reads its settings several times
def _tables(content: bytes) -> bytes:
    """Return the tables pickled: each who asks gets a copy, and to walk them would take longer."""
    text = content.decode()
    # Of each, tomllib keeps all beginnings. What has few dots has none: most settings, and depth.
    if text.count(".") >= _MOST_PARTS and _LONG_KEY.search(text):
        raise ValueError("it has a key of too many parts")
    try:
        tables = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if _deeper(tables, _DEEPEST):  # dotted keys nest without recursion
        raise ValueError("it is nested too deep")
    return pickle.dumps(tables)


def _deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(part, levels - 1) for part in parts)


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of *file*; raises OSError for one that is longer than any of ours.

    What has no end of line would else be read until the memory is full.
    """
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            reason = f"has a line of more than {LONGEST_LINE:,} bytes"
            raise OSError(errno.EFBIG, reason, file.name)
        yield line
