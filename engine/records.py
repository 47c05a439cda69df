"""What memories hold, as far as the kernel must know: records, and the seam to their logs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.int8]
"""A key: small integers of Euclidean length about `UNIT`, so that likeness is exact everywhere."""

UNIT = 127
"""The length that stands for 1 in a `Vector`."""

P = TypeVar("P", bound=msgspec.Struct)
P_co = TypeVar("P_co", bound=msgspec.Struct, covariant=True)


@dataclass(frozen=True)
class MemoryName(Generic[P]):
    """Names a memory and the type of its records' payloads."""

    name: str
    payload: type[P]


# Many a one is made at every step: as a struct that costs a fifth of what a dataclass does.
class Record(msgspec.Struct, Generic[P_co], frozen=True, gc=False):
    """An entry of a memory: the episode that wrote it, its key, and what it says."""

    episode: int
    key: Vector
    payload: P_co


class Recall(msgspec.Struct, Generic[P_co], frozen=True, gc=False):
    """A record found by `View.recall`: its position in the log and its cosine distance (0–2)."""

    position: int
    distance: float
    record: Record[P_co]


class Likeness(msgspec.Struct, frozen=True, gc=False):
    """Records with one key: its cosine distance (0–2), and their positions, oldest first."""

    distance: float
    positions: Sequence[int]


class View(Protocol[P_co]):
    """The first records of a log; never changes, whatever is appended later."""

    def __len__(self) -> int: ...

    @property
    def start(self) -> int:
        """The position of the oldest record that can be recalled."""
        ...

    def __getitem__(self, position: int) -> Record[P_co]:
        """Return the record at *position*."""
        ...

    def recall(self, vector: Vector, k: int, within: float = 2.0) -> Sequence[Recall[P_co]]:
        """Return the *k* nearest records no further than *within*, nearest first."""
        ...

    def alike(self, vector: Vector, k: int, within: float = 2.0) -> Sequence[Likeness]:
        """Return the *k* nearest keys no further than *within*, each with all its records."""
        ...


class Log(Protocol):
    """An append-only log of records."""

    def __len__(self) -> int: ...

    def append(self, record: Record[Any]) -> None:
        """Add a record at the end."""
        ...

    def view(self, length: int) -> View[Any]:
        """Return what the first *length* records are."""
        ...


def distance(one: Vector, other: Vector) -> float:
    """Return the cosine distance (0–2) of two keys, to 6 digits; exact up to one last rounding."""
    a, b = one.astype(np.int64), other.astype(np.int64)
    lengths = sqrt(int(a @ a) * int(b @ b))
    # A null vector has no direction: it is neither like nor unlike.
    return float(f"{1 - int(a @ b) / lengths:.6g}") + 0.0 if lengths else 1.0
