"""The keys of a log of records: each different one is kept and searched once, with its postings.

Most keys of a long run are met again: nine in ten of the states in which an actor recommends. So a
search goes over the different keys only, and what it finds is written out by their postings. It
finds what a search over all keys would: the key of a record among the *k* nearest is itself among
the *k* nearest keys, ordered by distance and oldest record, since each key that stands before it
has a record that does.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, MutableSequence, Sequence
from heapq import nsmallest

import numpy as np
from numpy.typing import NDArray

from engine.records import Likeness, Vector
from storage.index import Hit, VectorLog

_REMEMBERED = 1_024  # searches: the last that were different


class KeyLog:
    """A log of int8 keys of one dimension, none null; to be used by one thread."""

    def __init__(self, block: int) -> None:
        self._different = VectorLog(block)
        self._numbers: dict[bytes, int] = {}
        self._groups = array("q")  # the number of each record's key
        self._postings: list[MutableSequence[int]] = []  # the records of each key, oldest first
        self._firsts = array("q")  # the oldest of them
        self._found: dict[tuple[int, int, int, str, bytes], list[Hit]] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, position: int) -> Vector:
        """Return the key at *position*, not to be written to; raises IndexError."""
        return self._different[self._groups[position]]

    def append(self, key: Vector) -> None:
        """Add *key* at the end; raises ValueError for one that is none."""
        name = key.tobytes()
        number = self._numbers.get(name)
        if number is None:
            self._different.append(key)
            number = self._numbers[name] = len(self._postings)
            self._postings.append(array("q"))
            self._firsts.append(len(self))
        self._postings[number].append(len(self))
        self._groups.append(number)

    def extend(self, keys: NDArray[np.int8]) -> None:
        """Add *keys*, one a row."""
        for key in keys:
            self.append(key)

    def rows(self) -> NDArray[np.int8]:
        """Return a copy of all keys, one a row."""
        if not self._groups:
            return np.zeros((0, 0), np.int8)
        return self._different.rows()[np.frombuffer(self._groups, np.int64)]

    def nearest(self, start: int, stop: int, vector: Vector, k: int) -> Sequence[Hit]:
        """Return the *k* records in `[start, stop)` with keys nearest to *vector*, nearest first.

        Of equal distances, to 6 digits, the older record comes first.
        """
        # The same at every step of a visit where the key is what the user had before it.
        asked = start, stop, k, vector.dtype.char, vector.tobytes()
        found = self._found.get(asked)
        if found is None:
            found = nsmallest(k, self._hits(self.alike(start, stop, vector, k), k))
            if len(self._found) == _REMEMBERED:
                del self._found[next(iter(self._found))]
            self._found[asked] = found
        return found

    def _hits(self, found: Sequence[Likeness], k: int) -> Iterator[Hit]:
        for likeness in found:
            yield from ((likeness.distance, place) for place in likeness.positions[:k])

    def alike(self, start: int, stop: int, vector: Vector, k: int) -> list[Likeness]:
        """Return the *k* keys in `[start, stop)` nearest to *vector*, with all records there.

        Of equal distances that with the oldest record comes first.
        """
        if start == 0:
            hits = self._different.nearest(0, bisect_left(self._firsts, stop), vector, k)
            return [Likeness(distance, self._places(n, 0, stop)) for distance, n in hits]
        return self._alike_since(start, stop, vector, k)

    def _alike_since(self, start: int, stop: int, vector: Vector, k: int) -> list[Likeness]:
        """Return the same of a stretch that begins later: many a key has no record left there."""
        known, asked = bisect_left(self._firsts, stop), k
        while True:
            asked = min(2 * asked, known)
            hits = self._different.nearest(0, known, vector, asked)
            found = [Likeness(distance, self._places(n, start, stop)) for distance, n in hits]
            there = [likeness for likeness in found if likeness.positions]
            # Whatever was not asked for is farther than all that was, or as far as the last.
            sure = [one for one in there if one.distance < hits[-1][0]] if hits else []
            if asked == known or len(sure) >= k:
                return nsmallest(k, there, key=lambda one: (one.distance, one.positions[0]))

    def _places(self, number: int, start: int, stop: int) -> Sequence[int]:
        places = self._postings[number]
        return places[bisect_left(places, start) : bisect_left(places, stop)]

    def close(self) -> None:
        """Build nothing further; the log is not to be used any more."""
        self._different.close()
