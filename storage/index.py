"""Likeness of keys: the nearest vectors among a stretch of a growing log.

The only file that knows usearch; products.py has the exact products. A search of `[start, stop)` is
answered by parts that depend on these two numbers alone, whatever was built, asked or appended
before: see `cover`. Short parts are searched exactly; long ones are *blocks*, aligned stretches
with an immutable HNSW graph (Malkov and Yashunin, arXiv 1603.09320), whose answers are approximate
but always the same.

Why the numbers are the same on every processor: a key is small integers of Euclidean length at most
254, so a dot product is an integer below 2**16 (Cauchy and Schwarz), which float32 holds exactly.
The same holds for usearch's inner product of int8, which is why graphs use that metric: its cosine
is approximated differently by every instruction set. Distances are made of these integers by three
correctly rounded operations. (What a graph finds may still differ between C++ standard libraries,
so between operating systems: its layers are drawn with `std::default_random_engine`. Exact parts
are the same everywhere.)
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from engine.messages import number
from engine.records import UNIT, Vector
from storage.products import PackedChunks, dots_of

BLOCK = 8_192
"""How many vectors make the smallest block; fewer than twice as many are searched exactly."""

LARGEST = 32
"""How many smallest blocks make the largest; a power of 2."""

LONGEST = 2 * UNIT
"""The greatest length of a key; see above."""

# 40 µs to add, 60 µs to search; among 110,000 states 99.5 % and more of the 10 nearest are found.
_CONNECTIVITY, _EXPANSION_ADD, _EXPANSION_SEARCH = 16, 64, 96
_MARGIN = 16  # graphs order by dot product, not by cosine: ask for so many more
_NEAR = np.float32(LONGEST * 3e-5)  # more than float32, and rounding to 6 digits, can change
_COLUMN = 64

Positions: TypeAlias = NDArray[np.int64]
Candidates: TypeAlias = tuple[Positions, NDArray[np.float64]]
"""Positions, ascending, and the dot products of what is there."""

Hit: TypeAlias = tuple[float, int]
"""A rounded cosine distance (0–2) and a position; hits are ordered by both."""


def cover(start: int, stop: int, smallest: int, largest: int) -> Iterator[tuple[int, int, bool]]:
    """Yield the parts (start, stop, whether a block) that a search of `[start, stop)` consists of.

    From the left the largest aligned block that fits, if as many vectors as a quarter of it, and as
    the smallest block, follow it: a block has the time in which they are appended to be built. What
    is no block is searched exactly.
    """
    aligned = min(-(-start // smallest) * smallest, stop)
    if start < aligned:
        yield start, aligned, False
    while size := _block_size(aligned, stop, smallest, largest):
        yield aligned, aligned + size, True
        aligned += size
    if aligned < stop:
        yield aligned, stop, False


def _block_size(start: int, stop: int, smallest: int, largest: int) -> int:
    size = largest
    while size >= smallest:
        if start % size == 0 and start + size + max(smallest, size // 4) <= stop:
            return size
        size //= 2
    return 0


@dataclass(frozen=True, eq=False)
class _Block:
    """A stretch of the log, searched through a graph of its distinct vectors.

    Equal vectors would crowd out a graph's links to anything else. Those of the group *g* stand at
    the positions `members[offsets[g]:offsets[g + 1]]`, ascending.
    """

    graph: Any
    chunks: list[NDArray[np.int8]]  # which the graph points into
    members: Positions
    offsets: Positions

    @classmethod
    def build(cls, start: int, chunks: list[NDArray[np.int8]]) -> Self:
        """Return the block of the vectors in *chunks*, of which the first is at *start*.

        One thread and the order of the log: two threads build another graph each time.
        """
        dimensions = chunks[0].shape[1]
        # Each row as one value, of which np.unique finds the equal ones.
        rows = np.concatenate(chunks).view(f"V{dimensions}").ravel()
        _, firsts, groups, counts = np.unique(
            rows, return_index=True, return_inverse=True, return_counts=True
        )
        graph = Index(
            ndim=dimensions,
            metric="ip",
            dtype="i8",
            connectivity=_CONNECTIVITY,
            expansion_add=_EXPANSION_ADD,
            expansion_search=_EXPANSION_SEARCH,
            enable_key_lookups=False,
        )
        new = np.zeros(len(rows), np.bool_)
        new[firsts] = True
        base = 0
        for chunk in chunks:
            # Runs of new rows are contiguous, so that the graph can share the log's memory.
            for first, last in _runs(new[base : base + len(chunk)]):
                keys = groups[base + first : base + last].astype(np.uint64)
                graph.add(keys, chunk[first:last], copy=False, threads=1)
            base += len(chunk)
        # Stable, so that the positions of a group ascend.
        members = np.argsort(groups, kind="stable") + start
        return cls(graph, chunks, members, np.concatenate(([0], np.cumsum(counts))))

    def nearest(self, vector: Vector, k: int) -> Candidates:
        """Return what is like *vector*, with a margin beyond the *k* nearest."""
        found = self.graph.search(vector, k + _MARGIN, threads=1)
        groups = found.keys.astype(np.int64)
        dots = 1.0 - found.distances.astype(np.float64)
        firsts = self.offsets[groups]
        # Of equal vectors the oldest k come first: more of them cannot be among the nearest.
        counts = np.minimum(self.offsets[groups + 1] - firsts, k)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        positions = self.members[np.repeat(firsts, counts) + within]
        order = np.argsort(positions)
        return positions[order], np.repeat(dots, counts)[order]


def _read_only(rows: NDArray[np.int8]) -> NDArray[np.int8]:
    shown = rows.view()
    shown.flags.writeable = False
    return shown


def _runs(flags: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


@dataclass(eq=False)
class VectorLog:
    """A log of int8 vectors of one dimension, none null or longer than `LONGEST`.

    Appending takes amortised constant time. Whatever is appended later, a search of `[start, stop)`
    keeps its result. Blocks of *block* to *block* × *largest* vectors are built by a thread of the
    log's own as soon as they are full, which leaves the event loop alone; a search that needs one
    earlier waits. To be used by one thread.
    """

    block: int = BLOCK
    largest: int = LARGEST
    dimensions: int | None = field(default=None, init=False)
    _length: int = field(default=0, init=False)
    _chunks: list[NDArray[np.int8]] = field(default_factory=list, init=False)
    _shown: list[NDArray[np.int8]] = field(default_factory=list, init=False)
    _squares: NDArray[np.float64] = field(default_factory=lambda: np.empty(64), init=False)
    _scales: NDArray[np.float32] = field(
        default_factory=lambda: np.empty(64, np.float32), init=False
    )
    _packed: PackedChunks = field(default_factory=PackedChunks, init=False)
    _blocks: dict[tuple[int, int], Future[_Block]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if not all(size > 0 and size & (size - 1) == 0 for size in (self.block, self.largest)):
            sizes = f"{self.block} and {self.largest}"
            raise ValueError(f"the sizes of blocks must be powers of 2, got {sizes}")
        self._builder = ThreadPoolExecutor(1, "blocks")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: int) -> Vector:
        """Return the vector at *position*, not to be written to."""
        if not 0 <= position < self._length:
            raise IndexError(f"expected a position below {self._length}, got {position}")
        row: Vector = self._shown[position // self.block][position % self.block]
        return row

    def rows(self) -> NDArray[np.int8]:
        """Return a copy of all vectors, one a row."""
        if not self._chunks:
            return np.zeros((0, 0), np.int8)
        last = self._length - self.block * (len(self._chunks) - 1)
        # Most of a chunk is not used yet in most runs, and not to be copied.
        return np.concatenate([*self._chunks[:-1], self._chunks[-1][:last]])

    def append(self, vector: Vector) -> None:
        """Add *vector* at the end; raises ValueError for one that is no key."""
        self._put(vector, self._check(vector))
        if self._length % self.block == 0:
            self._build_full()

    def extend(self, vectors: NDArray[np.int8]) -> None:
        """Add *vectors*, one a row; builds only the blocks that searching all needs."""
        for vector in vectors:
            self._put(vector, self._check(vector))
        for start, stop, whole in self._cover(0, self._length):
            if whole:
                self._request(start, stop)

    def nearest(self, start: int, stop: int, vector: Vector, k: int) -> list[Hit]:
        """Return the *k* nearest to *vector* in `[start, stop)`, nearest first.

        Of equal distances, which are rounded, the lower position comes first. Raises ValueError for
        what is no key.
        """
        if not 0 <= start <= stop <= self._length:
            raise ValueError(f"expected a stretch within {self._length}, got {start} to {stop}")
        if start == stop or k < 1:
            return []
        square = self._check(vector)
        found: list[Candidates] = []
        for first, last, whole in self._cover(start, stop):
            if whole:
                found.append(self._request(first, last).result().nearest(vector, k))
            else:
                found.extend(self._scan(first, last, vector, k))
        positions, dots = map(np.concatenate, zip(*found, strict=True))
        return _ranked(positions, dots, self._squares[positions] * square, k)

    def close(self) -> None:
        """Build no further blocks; the log is not to be used any more."""
        self._builder.shutdown(wait=False, cancel_futures=True)

    def _cover(self, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        return cover(start, stop, self.block, self.block * self.largest)

    # -- growing

    def _check(self, vector: Vector) -> float:
        """Return the square of the length of *vector*."""
        if vector.dtype != np.int8 or vector.ndim != 1:
            raise ValueError(f"a key must be a row of int8, got {vector.dtype} {vector.shape}")
        if self.dimensions is not None and len(vector) != self.dimensions:
            raise ValueError(f"expected a key of {self.dimensions} numbers, got {len(vector)}")
        exact = vector.astype(np.float32)
        square = float(exact @ exact)
        if not 0 < square <= LONGEST**2:
            raise ValueError(f"a key must be longer than 0, up to {LONGEST}, got {square**0.5:g}")
        return square

    def _put(self, vector: Vector, square: float) -> None:
        chunk, row = divmod(self._length, self.block)
        if row == 0:
            self.dimensions = len(vector)
            # A chunk never moves: graphs and packs point into it.
            self._chunks.append(np.zeros((self.block, len(vector)), np.int8))
            self._shown.append(_read_only(self._chunks[-1]))
        if self._length == len(self._squares):
            self._squares = np.concatenate((self._squares, np.empty_like(self._squares)))
            self._scales = np.concatenate((self._scales, np.empty_like(self._scales)))
        self._chunks[chunk][row] = vector
        self._squares[self._length] = square
        # In float32, to choose candidates only: distances are made of the exact squares.
        self._scales[self._length] = square**-0.5
        self._length += 1

    def _build_full(self) -> None:
        size = self.block
        while size <= self.block * self.largest and self._length % size == 0:
            self._request(self._length - size, self._length)
            size *= 2

    def _request(self, start: int, stop: int) -> Future[_Block]:
        if (start, stop) not in self._blocks:
            chunks = self._chunks[start // self.block : stop // self.block]
            self._blocks[start, stop] = self._builder.submit(_Block.build, start, chunks)
        return self._blocks[start, stop]

    # -- searching

    def _scan(self, start: int, stop: int, vector: Vector, k: int) -> Iterator[Candidates]:
        """Yield for each chunk what may be among the *k* nearest in `[start, stop)`."""
        query = vector[np.newaxis]
        while start < stop:
            chunk, row = divmod(start, self.block)
            end = min(stop, (chunk + 1) * self.block)
            last = row + end - start
            dots = self._packed.dots(chunk, self._chunks[chunk], row, last, query)
            found = _highest(dots * self._scales[start:end], k)
            yield found + start, dots[found].astype(np.float64)
            start = end


def nearest(keys: NDArray[np.int8], vector: Vector, k: int) -> list[Hit]:
    """Return the *k* of *keys*, one a row, nearest to *vector*: as of a log, but always exact.

    Raises ValueError for a null vector among them.
    """
    if not len(keys) or k < 1:
        return []
    squares = np.einsum("ij,ij->i", keys, keys, dtype=np.int64).astype(np.float64)
    square = float(np.dot(vector.astype(np.int64), vector.astype(np.int64)))
    if not (square and squares.all()):
        raise ValueError("a key must be longer than 0")
    dots = dots_of(keys, vector)
    found = _highest(dots * (squares**-0.5).astype(np.float32), k)
    return _ranked(found, dots[found].astype(np.float64), squares[found] * square, k)


def _ranked(
    positions: Positions, dots: NDArray[np.float64], squares: NDArray[np.float64], k: int
) -> list[Hit]:
    """Return the *k* nearest; *squares* are products of the squared lengths of two vectors."""
    # Such a product is an exact integer, so a vector is at 0 from itself.
    values = (1.0 - dots / np.sqrt(squares)).tolist()
    rounded = {value: number(value) for value in set(values)}
    hits = zip(map(rounded.__getitem__, values), positions.tolist(), strict=True)
    return nsmallest(k, hits)


def _highest(values: NDArray[np.float32], k: int) -> Positions:
    """Return where the *k* highest of *values* are, and all that may turn out as high."""
    if len(values) <= k:
        return np.arange(len(values))
    # The k-th highest of the maxima of columns is a lower bound of the k-th highest of all.
    columns = len(values) // _COLUMN
    maxima = values
    if columns >= k:
        maxima = values[: columns * _COLUMN].reshape(_COLUMN, columns).max(axis=0)
    bound = maxima.max() if k == 1 else np.partition(maxima, len(maxima) - k)[len(maxima) - k]
    return np.flatnonzero(values >= bound - _NEAR)
