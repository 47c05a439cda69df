"""The memories that a finished run saved, read piece by piece: a million records stay on the disk.

`storage.memory` reads them whole, with an index, for those who go on recalling.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.making import AgentMemory
from engine.errors import FileError
from engine.records import Vector
from storage.factors import significant_all
from storage.memory import read_keys, read_line
from storage.reading import lines_of, open_regular

Floats: TypeAlias = NDArray[np.float64]
_AT_ONCE = 1 << 16


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a memory: its position, the episode that wrote it, and what it says."""

    memory: str
    position: int
    episode: int
    says: str
    record: Any


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """An entry and its cosine distance (0–2) from what was looked for."""

    distance: float
    entry: Entry


@dataclass(frozen=True)
class Saved:
    """The memory *name* in *directory*; what reads it raises FileError for damage."""

    directory: Path
    name: AgentMemory[Any]

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def keys(self) -> NDArray[np.int8]:
        """The keys, one a row."""
        return read_keys(self.directory / f"{self.name.name}.npy")

    def entries(self) -> Iterator[Entry]:
        """Yield every record, oldest first."""
        return self._read(range(len(self)))

    def first(self, count: int) -> list[Entry]:
        """Return the oldest *count* records, or all."""
        return list(islice(self.entries(), count))

    def at(self, positions: Collection[int]) -> dict[int, Entry]:
        """Return the records at *positions*."""
        return {entry.position: entry for entry in self._read(sorted({*positions}))}

    def _read(self, positions: Collection[int]) -> Iterator[Entry]:
        """Yield the records at *positions*, which ascend; others are not decoded."""
        path = self.directory / f"{self.name.name}.jsonl"
        wanted = iter(positions)
        position = next(wanted, None)
        try:
            with open_regular(path) as file:
                for place, line in enumerate(lines_of(file)):
                    if position is None:
                        return
                    if place == position:
                        yield self._entry(path, place, line)
                        position = next(wanted, None)
        except OSError as error:
            raise FileError(f"{path}: cannot be read: {error.strerror}") from error
        if position is not None:
            raise FileError(f"{path}: holds no record {position}, of {len(self)} keys")

    def _entry(self, path: Path, place: int, line: bytes) -> Entry:
        try:
            read = read_line(line, self.keys[place])
            record: Any = msgspec.json.decode(read.payload, type=self.name.payload)
        except (msgspec.MsgspecError, ValueError, RecursionError, IndexError) as error:
            raise FileError(f"{path}:{place + 1}: not a record: {error}") from error
        return Entry(
            memory=self.name.name,
            position=place,
            episode=read.episode,
            says=self.name.says(record),
            record=record,
        )

    def nearest(self, vector: Vector, count: int) -> list[Found]:
        """Return the *count* records whose keys are nearest to *vector*, nearest first.

        The search is exact; of equal distances, to 6 digits, the older record comes first.
        """
        if not len(self):
            return []
        if self.keys.shape[1] != len(vector):
            path = self.directory / f"{self.name.name}.npy"
            raise FileError(f"{path}: keys of {self.keys.shape[1]} numbers, not {len(vector)}")
        distances = significant_all(cosine_distances(self.keys, vector))
        places: list[int] = np.argsort(distances, kind="stable")[:count].tolist()
        entries = self.at(places)
        return [Found(distance=float(distances[n]), entry=entries[n]) for n in places]


def blocks(keys: NDArray[np.int8]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield *keys* in float32, some at a time, each with the number of its first row."""
    for start in range(0, len(keys), _AT_ONCE):
        yield start, keys[start : start + _AT_ONCE].astype(np.float32)


def cosine_distances(keys: NDArray[np.int8], vector: Vector) -> Floats:
    """Return the cosine distance (0–2) of each of *keys* from *vector*.

    Products of keys are whole numbers that float32 holds exactly: see `storage.index`.
    """
    exact = vector.astype(np.float32)
    distances = np.empty(len(keys))
    for start, rows in blocks(keys):
        dots = (rows @ exact).astype(np.float64)
        squares = np.einsum("ij,ij->i", rows, rows).astype(np.float64) * float(exact @ exact)
        distances[start : start + len(rows)] = 1.0 - dots / np.sqrt(np.maximum(squares, 1.0))
    return distances
