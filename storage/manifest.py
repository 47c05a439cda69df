"""manifest.json: the sha256 and size of every file of a run that came to its end.

It is written last, when all other files are closed, and by it any change to them since is found. It
is no signature: whoever can change the files can make the manifest again. Nothing is read through a
link, nothing whole that has no bound, and no name in a manifest is ever opened.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

import msgspec

from engine.errors import FileError
from storage.runs import RunDirectory, write_whole

_PIECE = 1 << 20
_MOST = 16 << 20  # bytes of a manifest: a hundred thousand files
_OURS = frozenset({".lock", "manifest.json", "manifest.json.part"})
_SHOWN = 3


class ListedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file was when the run came to its end."""

    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The files of a run, by their names within its directory."""

    files: dict[str, ListedFile]


@dataclass(frozen=True)
class FoundFile:
    """What a file is now; *longest* is the length of its longest line, to a mebibyte at least."""

    sha256: str
    size: int
    longest: int


@dataclass(frozen=True)
class Inventory:
    """All that is in a run directory: files by name, and what is neither file nor directory."""

    files: dict[str, FoundFile]
    odd: tuple[str, ...]


_decode = msgspec.json.Decoder(Manifest).decode


def take_inventory(directory: Path) -> Inventory:
    """Look at every file of a run, the lock and the manifest aside; raises FileError."""
    files: dict[str, FoundFile] = {}
    odd: list[str] = []
    try:
        for name, path in _entries(directory):
            if stat.S_ISREG(path.lstat().st_mode):
                files[name] = look(path)
            else:
                odd.append(name)
    except OSError as error:
        where = error.filename or directory
        raise FileError(f"{where}: cannot be read: {error.strerror}") from error
    return Inventory(files, tuple(odd))


def _entries(directory: Path) -> Iterator[tuple[str, Path]]:
    """Yield what is in a directory, and below it, but no directories, sorted by name."""
    found = []
    for place, _, names in _walked(directory):
        found += [place / name for name in names]
    named = {_name(path.relative_to(directory)): path for path in found}
    for name in sorted(named.keys() - _OURS):
        yield name, named[name]


def _walked(directory: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Walk as os.walk does, but count links to directories among the files."""

    # os.walk passes over what it cannot read, unless it is told otherwise.
    def fail(error: OSError) -> None:
        raise error

    for place, below, names in os.walk(directory, onerror=fail):
        links = [name for name in below if os.path.islink(os.path.join(place, name))]
        yield Path(place), below, [*names, *links]


def _name(path: Path) -> str:
    """Return how a file is called in JSON, which cannot hold names that are not UTF-8."""
    return os.fsencode(path.as_posix()).decode(errors="backslashreplace")


def look(path: Path) -> FoundFile:
    """Return what a regular file is now; raises OSError, also for a link."""
    whole, size, line, longest = sha256(), 0, 0, 0
    # What was a file a moment ago may be a link or a pipe by now.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        while piece := os.read(file, _PIECE):
            whole.update(piece)
            size += len(piece)
            first = piece.find(b"\n")
            longest = max(longest, line + (len(piece) if first < 0 else first))
            line = line + len(piece) if first < 0 else len(piece) - 1 - piece.rfind(b"\n")
    finally:
        os.close(file)
    return FoundFile(whole.hexdigest(), size, longest)


def write_manifest(directory: RunDirectory) -> str:
    """List all files of a run that has come to its end, and return the digest of the list.

    What is neither a file nor a directory is left out. Raises FileError or RunDirectoryError.
    """
    inventory = take_inventory(directory.path)
    listed = {
        name: ListedFile(sha256=found.sha256, size=found.size)
        for name, found in inventory.files.items()
    }
    data = _encoded(Manifest(files=listed))
    write_whole(directory.manifest, data)
    return sha256(data).hexdigest()


def _encoded(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2) + b"\n"


def read_manifest(directory: RunDirectory) -> tuple[Manifest, str]:
    """Return a run's manifest and its digest; raises FileError if it is not as billp writes it."""
    path = directory.manifest
    data = _read(path)
    try:
        manifest = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FileError(f"{path}: not a manifest: {error}") from error
    for name in manifest.files:
        if not _is_within(name):
            raise FileError(f"{path}: names {name!r}, which is no file of the run")
    # A name that stands twice could tell two readers two things.
    if _encoded(manifest) != data:
        raise FileError(f"{path}: is not as billp writes it")
    return manifest, sha256(data).hexdigest()


def _read(path: Path) -> bytes:
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST:
            raise FileError(f"{path}: not a manifest: no file of less than {_MOST:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error


def _is_within(name: str) -> bool:
    path = PurePosixPath(name)
    plain = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    return plain and str(path) == name and name not in _OURS


def difference(manifest: Manifest, inventory: Inventory) -> str:
    """Return in what way files are not what the manifest says; empty if all are."""
    told, found = manifest.files, inventory.files
    faults = [
        *(f"{name!r} is missing" for name in told if name not in found),
        *(
            f"{name!r} was altered"
            for name in told
            if name in found and _differs(told, found, name)
        ),
        *(f"{name!r} was added" for name in found if name not in told),
    ]
    more = [f"and so on: {len(faults)} in all"] if len(faults) > _SHOWN else []
    return "; ".join([*faults[:_SHOWN], *more])


def _differs(told: dict[str, ListedFile], found: dict[str, FoundFile], name: str) -> bool:
    one, other = told[name], found[name]
    return (one.sha256, one.size) != (other.sha256, other.size)
