"""What changes rewards within a visit: satiation with categories, and interest that drifts.

Both follow from the trajectory, in whole numbers: the same on every processor.
"""

from collections import Counter
from math import isqrt
from typing import Annotated, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.settings import Share
from agents.trajectory import Trajectory
from sim.world.traits import trait
from storage.catalog import Catalog
from storage.factors import Factors

BITS = 16
ONE = 1 << BITS
"""What stands for 1 in shares and strengths."""

FINER = 8
"""Bits that a drifting taste has more than one at rest."""

Strength: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=100)]


def strength_of(user: int, between: tuple[Strength, Strength]) -> int:
    """Return by how much an item lowers the next of its category, in units of 2**−16."""
    return round(trait(user, "satiation", between) * ONE)


def satiation(
    trajectory: Trajectory, between: tuple[Strength, Strength], recovery: Share
) -> dict[str, int]:
    """Return what the user has had enough of: by how much each category's reward is lower.

    Each of its items adds the user's own strength, a number *between* two, of which the share
    *recovery* is left a step later: s · Σ ρᵏ over the items of the category k steps before the last
    one (after Leqi et al. 2021, arXiv 2011.06741). In units of 2**−32.
    """
    strength = strength_of(trajectory.user, between)
    left, kept = ONE, round(recovery * ONE)
    levels: Counter[str] = Counter()
    for step in trajectory.steps():
        for name in step.categories:
            levels[name] += left
        left = left * kept >> BITS
    return {name: strength * level for name, level in levels.items()}


def sated(levels: dict[str, int], catalog: Catalog, item: int) -> float:
    """Return by how much the reward of *item* is lower: the mean over its categories."""
    names = catalog.categories[item]
    return sum(levels.get(name, 0) for name in names) // max(len(names), 1) / (1 << 2 * BITS)


def all_sated(levels: dict[str, int], catalog: Catalog) -> NDArray[np.float64]:
    """Return `sated` of every item, bit for bit."""
    columns, ends = catalog.labels
    level = np.array([levels.get(name, 0) for name in catalog.category_names], np.int64)
    upto = np.concatenate([[0], np.cumsum(level[columns])])
    counts = np.diff(ends)
    sums: NDArray[np.int64] = upto[ends[1:]] - upto[ends[:-1]]
    return sums // np.maximum(counts, 1) / (1 << 2 * BITS)


def drift(trajectory: Trajectory, factors: Factors, rate: Share) -> NDArray[np.int64]:
    """Return how far the user's taste has moved, [d], in units of 2**−(bits + 8).

    With each item, by a share *rate* of the way towards its direction if it is to the user's taste,
    p·q > 0, or to the opposite one, at the length that the taste had: biased assimilation (Dean and
    Morgenstern 2022, arXiv 2205.13026).
    """
    rest = factors.users[trajectory.user].astype(np.int64) << FINER
    length, share = isqrt(int(rest @ rest)), round(rate * ONE)
    taste = rest
    for step in trajectory.recent(trajectory.length):
        item = factors.items[step.item].astype(np.int64)
        liking = int(taste @ item)
        if liking:
            aim = item * length // isqrt(int(item @ item))
            taste = taste + (share * ((aim if liking > 0 else -aim) - taste) >> BITS)
    moved: NDArray[np.int64] = taste - rest
    return moved


def drifted(moved: NDArray[np.int64], factors: Factors, item: int) -> float:
    """Return by how much a taste that has *moved* likes *item* better."""
    return int(moved @ factors.items[item].astype(np.int64)) / (1 << 2 * factors.bits + FINER)


def all_drifted(moved: NDArray[np.int64], factors: Factors) -> NDArray[np.float64]:
    """Return `drifted` of every item, bit for bit."""
    # In float64 whole numbers below 2**53 are exact, in whatever order they are summed.
    products = factors.items.astype(np.float64) @ moved.astype(np.float64)
    return products / (1 << 2 * factors.bits + FINER)
