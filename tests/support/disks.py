"""Disks that fail or forget: what a machine that dies leaves, from what was forced and what not."""

import errno
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pytest

from storage import files
from storage.disk import OperatingSystem

_PAGE = 4096  # what a system brings to the disk at once


@dataclass
class Ticking:
    """A clock that goes on a second whenever somebody looks at it: real time decides nothing."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        self.seconds += 1.0
        return self.seconds


@contextmanager
def on(disk: OperatingSystem, *, every: int = 1_000) -> Iterator[None]:
    """Let all files of runs be on *disk*; they are forced *every* so many looks at the clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "disk", disk)
        patch.setattr(files, "time", Ticking())
        patch.setattr(files, "_INTERVAL", float(every))
        yield


@dataclass
class Inode:
    """A file as the system shows it, and as it is on the disk for sure."""

    shown: bytes = b""
    forced: bytes = b""

    def copy(self) -> "Inode":
        return Inode(self.shown, self.forced)

    def after_a_crash(self, chance: random.Random) -> bytes:
        """Return what may be found: what was forced, with any part of what was not."""
        fate = chance.random()
        if fate < 0.3 or self.shown == self.forced:
            return self.forced
        if fate < 0.5:
            return self.shown
        size = chance.randint(*sorted((len(self.forced), len(self.shown))))
        found = bytearray(size)
        for start in range(0, size, _PAGE):
            page = chance.choice((self.shown, self.forced))[start : min(start + _PAGE, size)]
            found[start : start + len(page)] = page
        return bytes(found)


Names: TypeAlias = dict[Path, int | None]
"""What is called how: the number of an inode, None for a directory."""


@dataclass
class Machine:
    """What a system shows, and what of it would survive."""

    inodes: dict[int, Inode] = field(default_factory=dict)
    shown: Names = field(default_factory=dict)
    forced: Names = field(default_factory=dict)
    changed: dict[Path, list[Names]] = field(default_factory=dict)

    def copy(self) -> "Machine":
        inodes = {number: inode.copy() for number, inode in self.inodes.items()}
        changed = {place: list(steps) for place, steps in self.changed.items()}
        return Machine(inodes, dict(self.shown), dict(self.forced), changed)

    def rename(self, *paths: Path) -> None:
        """Note that what some *paths* of one directory stand for has changed."""
        step: Names = {path: self.shown.get(path, -1) for path in paths}
        self.changed.setdefault(paths[0].parent, []).append(step)

    def force_names(self, directory: Path) -> None:
        for step in self.changed.pop(directory, []):
            self.forced.update(step)

    def crash(self, chance: random.Random) -> dict[Path, bytes | None]:
        """Return what is found after a crash: of the names of a directory, the first changes."""
        names = dict(self.forced)
        for steps in self.changed.values():
            for step in steps[: chance.randint(0, len(steps))]:
                names.update(step)
        found: dict[Path, bytes | None] = {}
        for path, number in names.items():
            if number is None:
                found[path] = None
            elif number >= 0:
                found[path] = self.inodes[number].after_a_crash(chance)
        return found


@dataclass
class Forgetful(OperatingSystem):
    """A disk below *root* that remembers, from moment to moment, what a crash would leave.

    What is there already is on the disk for sure.
    """

    root: Path
    machine: Machine = field(default_factory=Machine)
    moments: list[Machine] = field(default_factory=list)
    _opened: dict[int, int] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        for path in sorted(self.root.rglob("*")):
            if path.name == ".lock":
                continue
            number = None
            if path.is_file():
                data = path.read_bytes()
                number = self._new(Inode(data, data))
            self.machine.shown[path] = self.machine.forced[path] = number

    def _new(self, inode: Inode) -> int:
        self._count += 1
        self.machine.inodes[self._count] = inode
        return self._count

    def _pass(self) -> None:
        self.moments.append(self.machine.copy())

    def open(self, path: Path) -> int:
        file = super().open(path)
        number = self.machine.shown.get(path)
        if number is None:
            number = self.machine.shown[path] = self._new(Inode())
            self.machine.rename(path)
            self._pass()
        self._opened[file] = number
        return file

    def _inode(self, file: int) -> Inode:
        return self.machine.inodes[self._opened[file]]

    def write(self, file: int, data: memoryview, place: int) -> int:
        count = super().write(file, data, place)
        inode = self._inode(file)
        inode.shown = inode.shown[:place] + bytes(data[:count]) + inode.shown[place + count :]
        self._pass()
        return count

    def truncate(self, file: int, size: int) -> None:
        super().truncate(file, size)
        inode = self._inode(file)
        inode.shown = inode.shown[:size]
        self._pass()

    def force(self, file: int) -> None:
        inode = self._inode(file)
        inode.forced = inode.shown
        self._pass()

    def make(self, directory: Path) -> None:
        super().make(directory)
        self.machine.shown[directory] = None
        self.machine.rename(directory)
        self._pass()

    def exchange(self, part: Path, path: Path) -> None:
        super().exchange(part, path)
        self.machine.shown[path] = self.machine.shown.pop(part)
        self.machine.rename(part, path)
        self._pass()

    def remove(self, path: Path) -> None:
        super().remove(path)
        if self.machine.shown.pop(path, None) is not None:
            self.machine.rename(path)
            self._pass()

    def force_names(self, directory: Path) -> None:
        self.machine.force_names(directory)
        self._pass()


def lay(found: dict[Path, bytes | None], old: Path, new: Path) -> Path:
    """Lay what was found after a crash at *old* down at *new*."""
    new.mkdir()
    for path, data in sorted(found.items()):
        place = new / path.relative_to(old)
        if not place.parent.is_dir():
            continue  # its directory was lost
        if data is None:
            place.mkdir()
        else:
            place.write_bytes(data)
    return new


# -- disks that fail


@dataclass
class Failing(OperatingSystem):
    """A disk whose *due*-th call fails in some way; *broken* ones fail for ever after."""

    due: int
    number: int = errno.EIO
    broken: bool = False
    calls: int = 0

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self.due or (self.broken and self.calls > self.due):
            raise OSError(self.number, os.strerror(self.number))

    def write(self, file: int, data: memoryview, place: int) -> int:
        self._count()
        return super().write(file, data, place)

    def truncate(self, file: int, size: int) -> None:
        self._count()
        super().truncate(file, size)

    def force(self, file: int) -> None:
        self._count()
        super().force(file)

    def exchange(self, part: Path, path: Path) -> None:
        self._count()
        super().exchange(part, path)

    def force_names(self, directory: Path) -> None:
        self._count()
        super().force_names(directory)


@dataclass
class Stuttering(OperatingSystem):
    """A disk that takes only a part of what it is given."""

    chance: random.Random

    def write(self, file: int, data: memoryview, place: int) -> int:
        return super().write(file, data[: self.chance.randint(1, len(data))], place)
