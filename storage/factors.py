"""Rewards and distances from fixed-point factors: the same numbers on every processor.

Every sum is taken in integers, so neither the order of summation nor the processor shows. The only
floating-point steps are single ones that IEEE 754 rounds correctly (÷, ×, √), and the results are
rounded to 6 significant digits. Nothing here is ever as large as users × items or items².
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
from numpy.typing import NDArray

UNIT = 1 << 14
"""The length that stands for 1 in `Factors.places`."""

_LOWEST = -16
_DECADES = np.array([float(f"1e{exponent}") for exponent in range(_LOWEST, 22)])
_DECIMALS = [min(5 - exponent, 22) for exponent in range(_LOWEST - 1, 22)]
# Scaling by 10**22 at most keeps every power exact in a double.
_UP = np.array([float(10 ** max(decimals, 0)) for decimals in _DECIMALS])
_DOWN = np.array([float(10 ** max(-decimals, 0)) for decimals in _DECIMALS])
_DECADE_LIST: list[float] = _DECADES.tolist()
_UP_LIST: list[float] = _UP.tolist()
_DOWN_LIST: list[float] = _DOWN.tolist()


def significant(value: float) -> float:
    """Return *value* rounded to 6 significant digits; never −0."""
    row = bisect_right(_DECADE_LIST, abs(value))
    up, down = _UP_LIST[row], _DOWN_LIST[row]
    return round(value * up / down) * down / up + 0.0


def significant_all(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `significant` of each of *values*, bit for bit."""
    rows = np.searchsorted(_DECADES, np.abs(values), side="right")
    up, down = _UP[rows], _DOWN[rows]
    rounded: NDArray[np.float64] = np.rint(values * up / down) * down / up + 0.0
    return rounded


@dataclass(frozen=True, eq=False)
class Factors:
    """Fixed-point factors: a reward for each user and item, a distance for each two items.

    A reward is mean + user bias + item bias + pᵤ·qᵢ, clipped to *low* … *high*. *users* [U, d] and
    *items* [I, d] (int16), *user_bias* [U] and *item_bias* [I] (int32) and *mean* are in units of
    2**−*bits*. *places* [I, m] (int16) are vectors in units of 1/`UNIT` whose Euclidean distance
    says how unlike two items are; two items are near when its square is below *beta_squared*.
    """

    users: NDArray[np.int16]
    items: NDArray[np.int16]
    user_bias: NDArray[np.int32]
    item_bias: NDArray[np.int32]
    mean: int
    bits: int
    low: float
    high: float
    places: NDArray[np.int16]
    beta_squared: int

    @property
    def beta(self) -> float:
        """The distance below which two items are near."""
        return significant(sqrt(self.beta_squared) / UNIT)

    def reward(self, user: int, item: int) -> float:
        """Return the reward that *user* gives *item*."""
        product = int(np.dot(self.users[user].astype(np.int64), self.items[item].astype(np.int64)))
        bias = self.mean + int(self.user_bias[user]) + int(self.item_bias[item])
        value = ((bias << self.bits) + product) / (1 << 2 * self.bits)
        return significant(min(max(value, self.low), self.high))

    def rewards(self, user: int) -> NDArray[np.float64]:
        """Return `reward` of *user* for every item, bit for bit."""
        # In float64 whole numbers below 2**53 are exact, in whatever order they are summed.
        products = self.items.astype(np.float64) @ self.users[user].astype(np.float64)
        biases = self.mean + int(self.user_bias[user]) + self.item_bias.astype(np.int64)
        values = (biases * (1 << self.bits) + products) / (1 << 2 * self.bits)
        return significant_all(np.clip(values, self.low, self.high))

    def reward_each(
        self, users: NDArray[np.int64], items: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return `reward` of each of *users* for the one of *items* beside it, bit for bit."""
        products = (self.users[users].astype(np.int64) * self.items[items]).sum(axis=1)
        biases = self.mean + self.user_bias[users].astype(np.int64) + self.item_bias[items]
        values = ((biases << self.bits) + products) / (1 << 2 * self.bits)
        return significant_all(np.clip(values, self.low, self.high))

    def quantile(self, user: int, share: float) -> float:
        """Return the reward below which at most a *share* of the catalog is to *user*."""
        known = self._quantiles
        if (user, share) not in known:
            rank = min(int(share * len(self.items)), len(self.items) - 1)
            known[user, share] = float(np.partition(self.rewards(user), rank)[rank])
        return known[user, share]

    @cached_property
    def _quantiles(self) -> dict[tuple[int, float], float]:
        return {}

    def distance_squared(self, item: int, others: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the squared distances from *item* to *others*, in units of 1/`UNIT`²."""
        # |a − b|² = |a|² + |b|² − 2 a·b: through float64 ten times faster, and as exact.
        place = self.places[item].astype(np.float64)
        products = self.places[others].astype(np.float64) @ place
        lengths = self._lengths_squared
        squared: NDArray[np.int64] = lengths[item] + lengths[others] - 2 * products.astype(np.int64)
        return squared

    def distances_squared_each(
        self, items: NDArray[np.int64], others: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return `distance_squared` of each of *items* [k] to its own *others*, [k, m]."""
        places, apart = self.places[items].astype(np.float64), self.places[others]
        products = (apart.astype(np.float64) @ places[:, :, None])[:, :, 0]
        lengths = self._lengths_squared
        squared: NDArray[np.int64] = (
            lengths[items][:, None] + lengths[others] - 2 * products.astype(np.int64)
        )
        return squared

    @cached_property
    def _lengths_squared(self) -> NDArray[np.int64]:
        blocks = np.array_split(self.places, max(len(self.places) // 4_096, 1))
        squares = [np.square(block.astype(np.int64)).sum(axis=1) for block in blocks]
        return np.concatenate(squares)

    def near(self, item: int, others: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return which of *others* are nearer to *item* than β."""
        nearer: NDArray[np.bool_] = self.distance_squared(item, others) < self.beta_squared
        return nearer

    def distance(self, item: int, other: int) -> float:
        """Return the distance of two items; opposite unit vectors are 2 apart."""
        squared = int(self.distance_squared(item, np.array([other]))[0])
        return significant(sqrt(squared) / UNIT)
