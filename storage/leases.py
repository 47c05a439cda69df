"""Leases: who is at work on something together, told by files in a directory that all see.

A lease is an empty file. Its name is its owner's and a beat, `node7-4242-x1f.00000017`, and to
renew it is to rename it to the next beat: one call that needs no room on a full disk, that nobody
sees half of, and after which a client of NFS looks at the directory afresh.

No clock but the reader's own counts: a lease whose beat has not moved for so long *by the clock of
whoever looks* is that of a dead owner, whatever time other hosts think it is.
"""

import os
import re
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import FileError

_LEASE = re.compile(r"(.+)\.(\d{8,})")
_MISSES = 2  # listings without a name: one may miss a file that is being renamed


@dataclass(eq=False)
class _Seen:
    """The last beat of an owner, when it was seen first, and how many listings lacked it since."""

    beat: str
    since: float
    missed: int = 0


class Leases:
    """The leases of a *directory*, with one of our own. *clock* tells seconds, to us alone.

    A lease that was not renewed for *expiry* seconds is dead, and removed by whoever finds out; an
    owner that was only slow makes itself another when it renews. Raises FileError for a directory
    that cannot be used.
    """

    def __init__(self, directory: Path, *, expiry: float, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._expiry = expiry
        self._clock = clock
        self._beat = 0
        self._seen: dict[str, _Seen] = {}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            prefix = f"{socket.gethostname().replace('.', '-')}-{os.getpid()}-"
            file, name = tempfile.mkstemp(prefix=prefix, suffix=f".{0:08}", dir=directory)
        except OSError as error:
            raise self._unusable(error) from error
        os.close(file)
        self._path = Path(name)

    def renew(self) -> int:
        """Renew our own lease and return how many live, it among them; raises FileError."""
        try:
            self._move()
            names = os.listdir(self._directory)
        except OSError as error:
            raise self._unusable(error) from error
        found = [match for match in map(_LEASE.fullmatch, names) if match]
        self._look({match[1]: match[2] for match in found}, self._clock())
        return max(1, len(self._seen))

    def close(self) -> None:
        """Give our own lease back."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:  # it dies by itself
            return

    def _move(self) -> None:
        self._beat += 1
        moved = self._path.with_suffix(f".{self._beat:08}")
        try:
            self._path.rename(moved)
        except FileNotFoundError:  # somebody took us for dead
            moved.touch()
        self._path = moved

    def _look(self, beats: dict[str, str], now: float) -> None:
        for owner in {**beats, **self._seen}:
            beat, seen = beats.get(owner), self._seen.get(owner)
            if beat is not None and (seen is None or beat != seen.beat):
                seen = self._seen[owner] = _Seen(beat, now)
            if seen is None:
                continue
            seen.missed = seen.missed + 1 if beat is None else 0
            if seen.missed >= _MISSES or now - seen.since > self._expiry:
                self._forget(owner)

    def _forget(self, owner: str) -> None:
        beat = self._seen.pop(owner).beat
        # Only the beat that stood still: one that moved on meanwhile has another name.
        (self._directory / f"{owner}.{beat}").unlink(missing_ok=True)

    def _unusable(self, error: OSError) -> FileError:
        return FileError(
            f"{self._directory}: leases cannot be kept there: {error.strerror}",
            hint="name a directory that every process can read and write",
        )
