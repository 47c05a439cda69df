"""How rewards change within many visits at once: `sim.world.dynamics`, bit for bit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isqrt

import numpy as np

from agents.settings import Share
from sim.gym.past import Floats, Past, Whole
from sim.world.dynamics import BITS, FINER, ONE
from storage.catalog import Catalog
from storage.factors import Factors


@dataclass(eq=False)
class Satiation:
    """What visitors to a *catalog* have had enough of, of which *recovery* is left a step later."""

    catalog: Catalog
    recovery: Share
    _left: Floats = field(default_factory=lambda: np.array([ONE], np.float64))

    def of(self, past: Past, at: Whole, items: Whole, strength: Whole) -> Floats:
        """Return by how much the rewards of *items* are lower in visits, [k]."""
        names, counts = self._names
        levels = self._levels(past, at)
        levels[:, -1] = 0  # what items without so many categories seem to have
        total: Whole = np.take_along_axis(levels, names[items], axis=1).sum(axis=1)
        return strength * total // np.maximum(counts[items], 1) / (1 << 2 * BITS)

    def _levels(self, past: Past, at: Whole) -> Whole:
        """Return how much is left of each category, [k, categories + 1], before strength."""
        names, _ = self._names
        steps = past.steps[at]
        longest, width = int(steps.max(initial=0)), len(self.catalog.category_names) + 1
        age = steps[:, None] - 1 - np.arange(longest)
        # In float64 whole numbers below 2**53 are exact.
        left = np.where(age >= 0, self._left_after(longest)[np.maximum(age, 0)], 0.0)
        column = names[past.met[at, :longest]] + width * np.arange(len(at))[:, None, None]
        weights = np.repeat(left.ravel(), names.shape[1])
        sums = np.bincount(column.ravel(), weights, minlength=len(at) * width)
        return sums.astype(np.int64).reshape(len(at), width)

    def _left_after(self, steps: int) -> Floats:
        """Return what is left of an item after 0, 1, … steps; of at least so many."""
        if len(self._left) < max(steps, 1):
            left, kept = [ONE], round(self.recovery * ONE)
            while len(left) < 2 * steps:
                left.append(left[-1] * kept >> BITS)
            self._left = np.array(left, np.float64)
        return self._left

    @cached_property
    def _names(self) -> tuple[Whole, Whole]:
        """The categories of each item, [items, most of one], and how many there are."""
        columns, ends = self.catalog.labels
        counts = np.diff(ends)
        names = np.full((len(counts), counts.max(initial=0)), len(self.catalog.category_names))
        names[np.arange(names.shape[1]) < counts[:, None]] = columns
        return names, counts


@dataclass(eq=False)
class Drift:
    """The tastes of visitors, [n, d], which move by a *rate* towards what they meet, or away."""

    factors: Factors
    rate: Share
    count: int

    def __post_init__(self) -> None:
        shape = (self.count, self.factors.items.shape[1])
        self._rest, self._moved = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self._length = np.zeros(self.count, np.int64)

    def begin(self, at: Whole, users: Whole) -> None:
        """Let *users* begin visits with the taste that they have at rest."""
        self._rest[at] = self.factors.users[users].astype(np.int64) << FINER
        self._moved[at] = 0
        self._length[at] = _lengths(self._rest[at])

    def of(self, at: Whole, items: Whole) -> Floats:
        """Return by how much the tastes that have moved like *items* better, [k]."""
        products = (self._moved[at] * self.factors.items[items]).sum(axis=1)
        liked: Floats = products / (1 << 2 * self.factors.bits + FINER)
        return liked

    def meet(self, at: Whole, items: Whole) -> None:
        """Let tastes move by *items*."""
        share, taste = round(self.rate * ONE), self._rest[at] + self._moved[at]
        item = self.factors.items[items].astype(np.int64)
        liking = (taste * item).sum(axis=1)[:, None]
        norm = np.maximum(self._norms[items], 1)[:, None]
        aim = item * self._length[at][:, None] // norm
        step = share * (np.where(liking > 0, aim, -aim) - taste) >> BITS
        self._moved[at] += np.where(liking != 0, step, 0)

    @cached_property
    def _norms(self) -> Whole:
        return np.array(_lengths(self.factors.items.astype(np.int64)), np.int64)


def _lengths(rows: Whole) -> Sequence[int]:
    """Return the length of each of *rows*, rounded down."""
    return [isqrt(square) for square in np.square(rows).sum(axis=1).tolist()]
