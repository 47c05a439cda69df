"""The plane in which keys of memories are seen: that of their two principal components."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.messages import number
from engine.records import UNIT

Floats: TypeAlias = NDArray[np.float64]
N = TypeVar("N", bound=np.generic)

_AT_ONCE = 1 << 16


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane of two *axes*, [2, d], through *middle*, [d], and the *shares* of variance."""

    middle: Floats
    axes: Floats
    shares: tuple[float, float]

    @classmethod
    def of(cls, tables: Sequence[NDArray[np.int8]]) -> Self:
        """Return the plane of the first two principal components of the rows of *tables*.

        An axis points to where its largest number, the first of equals, is positive.
        """
        width = tables[0].shape[1]
        count, total, products = 0, np.zeros(width), np.zeros((width, width))
        for rows in (block for table in tables for block in _blocks(table)):
            exact = rows.astype(np.float64)  # whole numbers, whose sums are exact
            count += len(exact)
            total += exact.sum(axis=0)
            products += exact.T @ exact
        spread = count * products - np.outer(total, total)
        _, sizes, components = np.linalg.svd(spread, hermitian=True)
        axes = components[:2]
        signs = np.sign(axes[[0, 1], np.argmax(np.abs(axes), axis=1)])
        whole = max(float(sizes.sum()), 1e-300)
        shares = number(float(sizes[0]) / whole), number(float(sizes[1]) / whole)
        return cls(total / count, axes * signs[:, np.newaxis], shares)

    def places(self, keys: NDArray[np.int8]) -> Floats:
        """Return where *keys* lie in the plane, [n, 2]; a key is about 1 long."""
        rows = [rows @ self.axes.T for rows in _blocks(keys)]
        return np.asarray((np.concatenate(rows) - self.middle @ self.axes.T) / UNIT)


def evenly(rows: NDArray[N], most: int) -> NDArray[N]:
    """Return at most *most* of *rows*, evenly over all of them."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _blocks(keys: NDArray[np.int8]) -> Iterator[NDArray[np.float32]]:
    """Yield *keys* in float32, some at a time."""
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE].astype(np.float32)
