"""Random numbers by the million: the same for the same name, on every machine and version."""

from hashlib import shake_128

import numpy as np
from numpy.typing import NDArray

_WORD = 8


def words(seed: int, purpose: str, count: int) -> NDArray[np.uint64]:
    """Return *count* times 64 random bits that depend on *seed* and *purpose* alone."""
    stream = shake_128(f"{seed}/{purpose}".encode()).digest(_WORD * count)
    return np.frombuffer(stream, dtype="<u8").astype(np.uint64)


def integers(seed: int, purpose: str, count: int, below: int) -> NDArray[np.int64]:
    """Return *count* integers from 0 up to, not including, *below* (at most 2**32)."""
    # The upper 32 bits times the bound: no bias worth the name, and no division.
    high = words(seed, purpose, count) >> np.uint64(32)
    return ((high * np.uint64(below)) >> np.uint64(32)).astype(np.int64)


def bells(seed: int, purpose: str, shape: tuple[int, ...], deviation: int) -> NDArray[np.int64]:
    """Return nearly normal integers around 0 of standard *deviation*: sums of four uniform ones."""
    drawn = words(seed, purpose, int(np.prod(shape)))
    quarters = [(drawn >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
    # Four uniform 16-bit numbers have a sum of mean 131,070 and standard deviation 37,837.
    total: NDArray[np.int64] = np.sum(quarters, axis=0).astype(np.int64) - 131_070
    scaled: NDArray[np.int64] = total * deviation // 37_837
    return scaled.reshape(shape)


def order(seed: int, purpose: str, count: int) -> NDArray[np.int64]:
    """Return 0 … *count* − 1 in random order."""
    return np.argsort(words(seed, purpose, count), kind="stable")


def weighted(words: NDArray[np.uint64], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a position for each of *words*, each as likely as its weight says."""
    ends = np.cumsum(weights)
    total = int(ends[-1])
    points = (words % np.uint64(total)).astype(np.int64)
    return np.searchsorted(ends, points, side="right")
