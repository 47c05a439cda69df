"""Memory: append-only logs of records, their prefixes, and recall by likeness.

On disk a memory is two files: `<name>.npy` holds the keys, one a row; `<name>.jsonl` says for each
what episode wrote it and what it says. Each line ends with a checksum of itself and its key.
"""

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Self, TypeVar
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import FileError
from engine.records import Likeness, MemoryName, Recall, Record, Vector
from storage.files import make_directory, whole
from storage.index import BLOCK
from storage.keys import KeyLog
from storage.reading import lines_of, open_regular

P = TypeVar("P", bound=msgspec.Struct)

_encode = msgspec.json.Encoder().encode

_CHECK = b',"check":"%08x"}\n'
_CHECK_LENGTH = len(_CHECK % 0)


class RecordLine(msgspec.Struct, frozen=True):
    """A record as it stands on disk."""

    episode: int
    payload: msgspec.Raw


class Memory(Generic[P]):
    """The log of the records of one memory; recall is exact up to some thousands of them.

    With a *capacity*, a view recalls only the last *capacity* records of its prefix.
    """

    def __init__(
        self, name: MemoryName[P], *, capacity: int | None = None, block: int = BLOCK
    ) -> None:
        if capacity is not None and capacity < 1:
            raise ValueError(f"the capacity of a memory must be at least 1, got {capacity}")
        self.name = name
        self.capacity = capacity
        self._keys = KeyLog(block)
        self._episodes = array("q")
        self._payloads: list[P] = []

    def __len__(self) -> int:
        return len(self._payloads)

    def __getitem__(self, position: int) -> Record[P]:
        """Return the record at *position*."""
        key = self._keys[position]
        return Record(self._episodes[position], key, self._payloads[position])

    def append(self, record: Record[Any]) -> None:
        """Add a record at the end; raises ValueError or TypeError for what is none of ours."""
        if not isinstance(record.payload, self.name.payload):
            expected, got = self.name.payload.__name__, type(record.payload).__name__
            raise TypeError(f"memory {self.name.name!r} holds {expected}, got {got}")
        self._keys.append(record.key)
        self._episodes.append(record.episode)
        self._payloads.append(record.payload)

    def view(self, length: int) -> "MemoryView[P]":
        """Return what the first *length* records are; raises ValueError if there are fewer."""
        if not 0 <= length <= len(self):
            name = self.name.name
            raise ValueError(f"memory {name!r} holds {len(self)} records, asked for {length}")
        return MemoryView(self, length)

    def records(self) -> Iterator[Record[P]]:
        """Yield every record, oldest first."""
        return map(self.__getitem__, range(len(self)))

    def nearest(self, length: int, vector: Vector, k: int, within: float) -> list[Recall[P]]:
        """Return what a view of *length* records recalls."""
        hits = self._keys.nearest(self.start(length), length, vector, k)
        return [Recall(n, distance, self[n]) for distance, n in hits if distance <= within]

    def alike(self, length: int, vector: Vector, k: int, within: float) -> list[Likeness]:
        """Return the keys that a view of *length* records has like *vector*."""
        found = self._keys.alike(self.start(length), length, vector, k)
        return [likeness for likeness in found if likeness.distance <= within]

    def start(self, length: int) -> int:
        """Return the position of the oldest record that a view of *length* records recalls."""
        return 0 if self.capacity is None else max(0, length - self.capacity)

    def close(self) -> None:
        """Stop what is being prepared for later recalls."""
        self._keys.close()

    def save(self, directory: Path) -> None:
        """Write both files, each whole or not at all; raises FileError."""
        keys, lines = _paths(directory, self.name)
        try:
            make_directory(directory)
            with whole(keys) as file:
                np.save(file, self._keys.rows(), allow_pickle=False)
            with whole(lines) as file:
                for record in self.records():
                    file.write(_encoded(record))
        except OSError as error:
            raise FileError(f"{directory}: cannot be written: {error.strerror}") from error

    @classmethod
    def load(
        cls,
        directory: Path,
        name: MemoryName[P],
        *,
        capacity: int | None = None,
        block: int = BLOCK,
    ) -> Self:
        """Return the memory that was saved; raises FileError `path:line: reason` for damage."""
        memory = cls(name, capacity=capacity, block=block)
        keys, lines = _paths(directory, name)
        memory._fill(keys, read_keys(keys), lines)
        return memory

    def _fill(self, path: Path, keys: NDArray[np.int8], lines: Path) -> None:
        decoder = msgspec.json.Decoder(self.name.payload)
        for place, (line, key) in enumerate(_pairs(path, keys, lines)):
            entry, payload = read_record(lines, place, line, key, decoder)
            self._payloads.append(payload)
            self._episodes.append(entry.episode)
        try:
            self._keys.extend(keys)
        except ValueError as error:
            raise FileError(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True)
class MemoryView(Generic[P]):
    """The first *length* records of a memory; never changes, whatever is appended later."""

    memory: Memory[P]
    length: int

    def __len__(self) -> int:
        return self.length

    @property
    def start(self) -> int:
        """The position of the oldest record that can be recalled."""
        return self.memory.start(self.length)

    def __getitem__(self, position: int) -> Record[P]:
        """Return the record at *position*; raises IndexError if the view does not hold it."""
        if not 0 <= position < self.length:
            raise IndexError(f"a view of {self.length} records has no position {position}")
        return self.memory[position]

    def recall(self, vector: Vector, k: int, within: float = 2.0) -> list[Recall[P]]:
        """Return the *k* nearest records no further than *within*, nearest first.

        Of records at the same distance, to 6 digits, the older one comes first.
        """
        return self.memory.nearest(self.length, vector, k, within)

    def alike(self, vector: Vector, k: int, within: float = 2.0) -> list[Likeness]:
        """Return the *k* nearest keys no further than *within*, nearest first, with their records.

        Of keys at the same distance, to 6 digits, that of the older record comes first.
        """
        return self.memory.alike(self.length, vector, k, within)


# Numpy reads the header of a file as Python; ours is always the same.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '\|i1', 'fortran_order': False, "
    rb"'shape': \(([0-9]{1,15}), ([0-9]{1,9})\), \} *\n",
    re.DOTALL,
)
_LONGEST_HEADER = 256


@dataclass(frozen=True)
class KeyFile:
    """The keys of a memory on disk: *rows* of *columns* numbers, from a *start* in the file."""

    path: Path
    rows: int
    columns: int
    start: int


def open_keys(path: Path) -> KeyFile:
    """Look at the keys that a memory has on disk; raises FileError unless they are all there."""
    try:
        with open_regular(path) as file:
            header = _HEADER.match(file.read(_LONGEST_HEADER))
            size = file.seek(0, 2)
    except FileNotFoundError as error:
        raise FileError(f"{path}: there is no such memory") from error
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
    if header is None:
        raise FileError(f"{path}: not keys: expected rows of int8 as numpy saves them")
    rows, columns, start = int(header[1]), int(header[2]), header.end()
    # Before anything is made of that size, or counted up to it.
    if start + rows * columns != size or (rows and not columns):
        raise FileError(f"{path}: not keys: {size:,} bytes are not {rows} rows of {columns}")
    return KeyFile(path, rows, columns, start)


def saved_records(directory: Path, name: MemoryName[P]) -> Iterator[tuple[RecordLine, P]]:
    """Yield each record that a memory has on disk as it stands there, and what it says.

    All is checked, and little of it held at a time; raises FileError `path:line: reason`.
    """
    keys, lines = _paths(directory, name)
    rows, count = open_keys(keys).rows, saved_length(directory, name)
    yield from records_at(directory, name, range(min(rows, count)))
    if count != rows:
        raise FileError(f"{lines}: {count:,} records for {rows:,} keys in {keys}")


def read_records(directory: Path, name: MemoryName[P]) -> Iterator[Record[P]]:
    """Yield each record that a memory has on disk, checked; raises FileError as `saved_records`."""
    keys = read_keys(_paths(directory, name)[0])
    for key, (line, payload) in zip(keys, saved_records(directory, name), strict=True):
        yield Record(line.episode, key, payload)


def records_at(
    directory: Path, name: MemoryName[P], positions: Iterable[int]
) -> Iterator[tuple[RecordLine, P]]:
    """Yield the records at *positions*, which ascend, as `saved_records` does; no others are read.

    Raises FileError `path:line: reason`, also if there is none at a position.
    """
    keys, lines = _paths(directory, name)
    known = open_keys(keys)
    decoder = msgspec.json.Decoder(name.payload)
    try:
        with open_regular(keys) as rows, open_regular(lines) as file:
            stored, place = lines_of(file), 0
            for position in positions:
                # Lines have any length, so those before must be read over; decoding is what costs.
                line = next(islice(stored, position - place, None), None)
                if line is None or position >= known.rows:
                    raise FileError(f"{lines}: holds no record {position}, of {known.rows} keys")
                rows.seek(known.start + position * known.columns)
                key = np.frombuffer(rows.read(known.columns), np.int8)
                yield read_record(lines, position, line, key, decoder)
                place = position + 1
    except OSError as error:
        raise FileError(f"{error.filename}: cannot be read: {error.strerror}") from error


def saved_length(directory: Path, name: MemoryName[Any]) -> int:
    """Return how many records a memory has on disk; raises FileError."""
    _, lines = _paths(directory, name)
    try:
        with open_regular(lines) as file:
            return sum(1 for _ in lines_of(file))
    except OSError as error:
        raise FileError(f"{lines}: cannot be read: {error.strerror}") from error


def _paths(directory: Path, name: MemoryName[Any]) -> tuple[Path, Path]:
    return directory / f"{name.name}.npy", directory / f"{name.name}.jsonl"


def _encoded(record: Record[Any]) -> bytes:
    line = RecordLine(record.episode, msgspec.Raw(_encode(record.payload)))
    body = _encode(line)[:-1]
    # Of the key as well, which stands elsewhere: neither can be exchanged alone.
    return body + _CHECK % crc32(record.key.tobytes(), crc32(body))


def read_record(
    path: Path, place: int, line: bytes, key: NDArray[np.int8], decoder: msgspec.json.Decoder[P]
) -> tuple[RecordLine, P]:
    """Return a line and what it says; raises FileError unless it agrees with checksum and *key*."""
    body, check = line[:-_CHECK_LENGTH], line[-_CHECK_LENGTH:]
    where = f"{path}:{place + 1}: not a record: "
    if check != _CHECK % crc32(key.tobytes(), crc32(body)):
        raise FileError(f"{where}the line does not agree with its checksum and key")
    try:
        entry = msgspec.json.decode(body + b"}", type=RecordLine)
        return entry, decoder.decode(entry.payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise FileError(f"{where}{error}") from error


def read_keys(path: Path) -> NDArray[np.int8]:
    """Return the keys that a memory has on disk, one a row; raises FileError."""
    known = open_keys(path)
    try:
        keys = np.fromfile(path, np.int8, known.rows * known.columns, offset=known.start)
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
    return keys.reshape(known.rows, known.columns)


def _pairs(
    path: Path, keys: NDArray[np.int8], lines: Path
) -> Iterable[tuple[bytes, NDArray[np.int8]]]:
    try:
        with open_regular(lines) as file:
            whole = list(lines_of(file))
    except FileNotFoundError as error:
        raise FileError(f"{lines}: there is no such memory") from error
    except OSError as error:
        raise FileError(f"{lines}: cannot be read: {error.strerror}") from error
    if len(whole) != len(keys):
        count = min(len(whole), len(keys)) + 1
        raise FileError(f"{lines}:{count}: {len(whole)} records for {len(keys)} keys in {path}")
    return zip(whole, keys, strict=True)
