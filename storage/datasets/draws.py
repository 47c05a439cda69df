"""Random numbers by the million: the same for the same name, on every machine and version."""

from hashlib import shake_128

import numpy as np
from numpy.typing import NDArray

_WORD = 8


def words(seed: int, purpose: str, count: int) -> NDArray[np.uint64]:
    """Return *count* times 64 random bits that depend on *seed* and *purpose* alone; read-only."""
    stream = shake_128(f"{seed}/{purpose}".encode()).digest(_WORD * count)
    # No second copy of what may be hundreds of megabytes.
    return np.frombuffer(stream, dtype="<u8").astype(np.uint64, copy=False)


def integers(seed: int, purpose: str, count: int, below: int) -> NDArray[np.int64]:
    """Return *count* integers from 0 up to, not including, *below* (at most 2**32)."""
    # The upper 32 bits times the bound: no bias worth the name, and no division.
    high = words(seed, purpose, count) >> np.uint64(32)
    return ((high * np.uint64(below)) >> np.uint64(32)).astype(np.int64)


def bells(seed: int, purpose: str, shape: tuple[int, ...], deviation: int) -> NDArray[np.int64]:
    """Return nearly normal integers around 0 of standard *deviation*: sums of four uniform ones."""
    quarters = words(seed, purpose, int(np.prod(shape))).view(np.uint16).reshape(-1, 4)
    # Four uniform 16-bit numbers have a sum of mean 131,070 and standard deviation 37,837.
    total = quarters.sum(axis=1, dtype=np.int64)
    total -= 131_070
    total *= deviation
    total //= 37_837
    drawn: NDArray[np.int64] = total.reshape(shape)
    return drawn


def order(seed: int, purpose: str, count: int) -> NDArray[np.int64]:
    """Return 0 … *count* − 1 in random order."""
    return np.argsort(words(seed, purpose, count), kind="stable")


def weighted(words: NDArray[np.uint64], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a position for each of *words*, each as likely as its weight says."""
    ends = np.cumsum(weights)
    total = int(ends[-1])
    points = (words % np.uint64(total)).astype(np.int64)
    return np.searchsorted(ends, points, side="right")
