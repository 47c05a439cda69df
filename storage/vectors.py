"""embeddings/vectors.jsonl: what a service said the vectors of texts are, by the texts' digests.

A vector decides what memories recall, so it is written before it is used, like a model's reply; so
is that there is none.
"""

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.errors import FileError
from storage.files import AppendOnly, Durability, lost, make_directory
from storage.reading import lines_of, open_regular
from storage.sealed import seal, unseal


class VectorEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The *vector* of a text, as text, or the *error* that came instead.

    *attempts* were paid for: none where a cache knew the vector, or the parent of a fork.
    """

    text: str
    vector: str | None
    error: str | None
    tokens: int = 0
    attempts: int = 0

    @property
    def numbers(self) -> bytes:
        """The vector, a byte for each number; empty if there is none. Raises ValueError."""
        return b64decode(self.vector or "", validate=True)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(VectorEntry).decode


@dataclass(eq=False)
class VectorFile:
    """A growing file of vectors; *known* are those that it holds, all of one *length*.

    What failed within its first *forgotten* bytes is not known: it is to be asked again.
    """

    path: Path
    durability: Durability = "interval"
    forgotten: int = 0
    known: dict[str, VectorEntry] = field(init=False)
    length: int = field(init=False)
    file: AppendOnly = field(init=False)

    def __post_init__(self) -> None:
        try:
            make_directory(self.path.parent)
        except OSError as error:
            raise FileError(f"{self.path}: cannot be written: {error.strerror}") from error
        self.known, size = read_vectors(self.path, forgotten=self.forgotten)
        self.length = next((len(one.numbers) for one in self.known.values() if one.vector), 0)
        self.file = AppendOnly(self.path, self.durability, size)

    def add(self, entry: VectorEntry) -> None:
        """Write *entry*; when this returns it is safe from a crash of the process."""
        self.file.write(seal(_encode(entry)))
        self.known[entry.text] = entry
        self.length = self.length or len(entry.numbers)

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def read_vectors(path: Path, *, forgotten: int = 0) -> tuple[dict[str, VectorEntry], int]:
    """Return what is known by the file at *path*, and its size without a torn last line.

    What failed within the first *forgotten* bytes is not known. Raises FileError `path:line:
    reason` for other damage.
    """
    known: dict[str, VectorEntry] = {}
    size = 0
    for entry, end in _entries(path):
        size = end
        known[entry.text] = entry
        if entry.vector is None and end <= forgotten:
            del known[entry.text]
    return known, size


class VectorCount(NamedTuple):
    """The *texts* that a file knows of, how many *failed*, and its *size* without a torn line."""

    texts: int
    failed: int
    size: int


def count_vectors(path: Path) -> VectorCount:
    """Look at the whole of the file at *path*, and hold little of it; raises as `read_vectors`."""
    size = 0
    known: dict[bytes, bool] = {}
    for entry, end in _entries(path):
        size = end
        # Eight bytes of each name: files may know of millions of texts.
        known[blake2b(entry.text.encode(), digest_size=8).digest()] = entry.vector is None
    return VectorCount(len(known), sum(known.values()), size)


def every_vector(path: Path) -> Iterator[VectorEntry]:
    """Yield all that a service ever said, also what was asked again; raises as `read_vectors`."""
    return (entry for entry, _ in _entries(path))


def _entries(path: Path) -> Iterator[tuple[VectorEntry, int]]:
    """Yield the entries of the file at *path*, and the place where each ends."""
    length = end = 0
    for number, line in _lines(path):
        if not line.endswith(b"\n") or lost(line, end):
            return
        try:
            entry = _read_line(line)
        except (ValueError, RecursionError) as error:  # also of msgspec and of base64
            raise FileError(f"{path}:{number}: not a vector: {error}") from error
        got = len(entry.numbers)
        length = length or got
        if got not in {0, length}:
            what = f"expected a vector of {length:,} numbers, got {got:,}"
            raise FileError(f"{path}:{number}: {what}")
        end += len(line)
        yield entry, end


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    if not path.exists():
        return
    try:
        with open_regular(path) as file:
            yield from enumerate(lines_of(file), 1)
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error


def _read_line(line: bytes) -> VectorEntry:
    """Return the entry of a line; raises ValueError if it is none."""
    entry = _decode(unseal(line))
    if entry.vector is not None and not any(entry.numbers):
        raise ValueError("it has no direction")
    return entry
