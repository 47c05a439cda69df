"""The memories that a finished run saved, read piece by piece: a million records stay on the disk.

`storage.memory` reads them whole, with an index, for those who go on recalling.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.making import AgentMemory
from engine.errors import FileError
from engine.records import Vector
from storage.index import nearest
from storage.memory import open_keys, read_keys, records_at


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
        return open_keys(self._keys).rows

    @cached_property
    def keys(self) -> NDArray[np.int8]:
        """The keys, one a row."""
        return read_keys(self._keys)

    @property
    def _keys(self) -> Path:
        return self.directory / f"{self.name.name}.npy"

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
        """Yield the records at *positions*, which ascend."""
        name, records = self.name.name, records_at(self.directory, self.name, positions)
        for position, (line, record) in zip(positions, records, strict=True):
            yield Entry(
                memory=name,
                position=position,
                episode=line.episode,
                says=self.name.says(record),
                record=record,
            )

    def nearest(self, vector: Vector, count: int) -> list[Found]:
        """Return the *count* records whose keys are nearest to *vector*, nearest first.

        The search is exact; of equal distances, to 6 digits, the older record comes first.
        """
        if len(self) and self.keys.shape[1] != len(vector):
            raise FileError(
                f"{self._keys}: keys of {self.keys.shape[1]} numbers, not {len(vector)}"
            )
        try:
            hits = nearest(self.keys, vector, count)
        except ValueError as error:
            raise FileError(f"{self._keys}: {error}") from error
        entries = self.at([position for _, position in hits])
        return [Found(distance=distance, entry=entries[n]) for distance, n in hits]
