"""From text to vectors: feature hashing of character n-grams into 256 small integers.

The counts of a text are the sum of those of its lines, and every operation is exact or correctly
rounded, so a text has the same vector on every processor. (Feature hashing: Weinberger et al.,
arXiv 0902.2206.)
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from engine.records import UNIT, Vector

DIMENSIONS = 256
_LENGTHS = (3, 4)
_LARGE = 1e140  # sums of squares of such numbers are still finite, and of their inverses not 0
_LONGEST_COUNT = np.iinfo(np.int16).max
_CACHED_LINES = 65_536
_USUAL_LINE = 500  # characters of a line that is remembered: those of strangers may be long
_USUAL_TEXT = 4_000
_CACHED_TEXTS = 4_096  # a state is asked for by actor and critic, and again when all is settled

Counts: TypeAlias = NDArray[np.int16] | NDArray[np.int64]


class Embedder(Protocol):
    """Whoever makes vectors of texts."""

    async def embed(self, lines: Sequence[str]) -> Vector:
        """Return the vector of a text given as lines."""
        ...


class HashingEmbedder:
    """The built-in embedder: likeness of spelling, not of meaning."""

    async def embed(self, lines: Sequence[str]) -> Vector:
        """Return the vector of a text given as lines; never waits."""
        return hashed(lines)


def hashed(lines: Sequence[str]) -> Vector:
    """Return the vector of a text: 256 integers of Euclidean length about 127; read-only."""
    if sum(map(len, lines)) > _USUAL_TEXT:
        return _hashed(tuple(lines))
    return _remembered(tuple(lines))


@lru_cache(_CACHED_TEXTS)
def _remembered(lines: tuple[str, ...]) -> Vector:
    return _hashed(lines)


def _hashed(lines: tuple[str, ...]) -> Vector:
    counts = np.zeros(DIMENSIONS, np.int64)
    for line in lines:
        counts += _counts(line) if len(line) <= _USUAL_LINE else _counted(line)
    vector = to_unit(counts)
    vector.flags.writeable = False
    return vector


def to_unit(numbers: NDArray[np.int64] | NDArray[np.float64]) -> Vector:
    """Return *numbers* scaled to a length of 127 and rounded; a null vector points anywhere."""
    largest = float(np.abs(numbers).max())
    if largest == 0:
        anywhere = np.zeros(len(numbers), np.int8)
        anywhere[0] = UNIT
        return anywhere
    if not 1 / _LARGE < largest < _LARGE:
        numbers = numbers / largest
    # math.fsum and single multiplications are correctly rounded, unlike a BLAS norm.
    length = math.sqrt(math.fsum((numbers.astype(np.float64) ** 2).tolist()))
    return np.rint(numbers * (UNIT / length)).astype(np.int8)


@lru_cache(_CACHED_LINES)
def _counts(line: str) -> Counts:
    return _counted(line)


def _counted(line: str) -> Counts:
    text = f" {' '.join(line.casefold().split())} ".encode()
    counts = np.zeros(DIMENSIONS, np.int64)
    for length in _LENGTHS:
        for start in range(len(text) - length + 1):
            code = crc32(text[start : start + length])
            counts[code % DIMENSIONS] += 1 if code & 0x8000_0000 else -1
    # Many are kept, and hardly any line is so long that its counts need more.
    kept = counts if np.abs(counts).max() > _LONGEST_COUNT else counts.astype(np.int16)
    kept.flags.writeable = False
    return kept
