"""What an item can be expected to be worth to a user: what others rated it, and this user's taste.

The taste is inferred from what the user is shown to have rated, and from the rewards so far: by
ridge regression (Hoerl & Kennard 1970, doi 10.1080/00401706.1970.10488634) of what they are above
what others rated the same items, on the items' categories. What comes of a step beyond what was
expected is a *surprise*: it tells of the item whoever met it, where a reward tells of the user too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from agents.prompts import TASTE, liking_lines, section
from agents.trajectory import Trajectory
from storage.catalog import Catalog
from storage.datasets.fitting import Ratings
from storage.factors import significant, significant_all

Floats = NDArray[np.float64]

_REMEMBERED = 1_024  # tastes: as many as there are users about, or few of them are asked for again

_OTHERS = 5.0
"""So many ratings of others count as much as what items that are rated as often get."""

_NOISE = 1.0
"""The variance of what no category tells of a rating, beside that of a category's part, 1."""

_CONTENT = 3.0
"""The variance of how much more content than others a user is, and of how much more in a visit."""


@dataclass(frozen=True)
class Standing:
    """What others rated each item: shrunken means, [items], and of how many ratings, [items]."""

    means: Floats
    counts: NDArray[np.int64]


def standing_of(ratings: Ratings) -> Standing:
    """Return what *ratings* say of each item: (Σ + 5·m) ÷ (n + 5).

    m is what items get that are rated as often: a + b·log(1 + n), by least squares over the items,
    each with the weight n ÷ (n + 5).
    """
    items = ratings.shape[1]
    counts = np.bincount(ratings.items, minlength=items)
    sums = np.bincount(ratings.items, ratings.values, items)
    logs, weights = np.log1p(counts), counts / (counts + _OTHERS)
    total = max(float(weights.sum()), 1e-9)
    means = sums / np.maximum(counts, 1)
    middle, mean = float(weights @ logs) / total, float(weights @ means) / total
    spread = float(weights @ np.square(logs - middle))
    slope = float(weights @ ((logs - middle) * (means - mean))) / spread if spread else 0.0
    usual = mean + slope * (logs - middle)
    return Standing(significant_all((sums + _OTHERS * usual) / (counts + _OTHERS)), counts)


@dataclass(frozen=True)
class Taste:
    """By how much a user likes each category met better than others do, and is more *content*."""

    by_category: dict[str, float]
    content: float

    @cached_property
    def section(self) -> str:
        """The section of a prompt that tells it."""
        return section(TASTE, liking_lines(self.by_category))

    def of(self, categories: Sequence[str]) -> float:
        """Return by how much better than others the user should like an item of *categories*."""
        known = sum(self.by_category.get(name, 0.0) for name in categories)
        return self.content + known / sqrt(max(1, len(categories)))


NO_TASTE = Taste({}, 0.0)


@dataclass(frozen=True)
class Taster:
    """Infers tastes, with the *ratings* of the training users, which are read when first asked."""

    catalog: Catalog
    ratings: Callable[[], Ratings] = field(compare=False)

    @cached_property
    def standing(self) -> Standing:
        """What others rated each item."""
        return standing_of(self.ratings())

    def taste(self, trajectory: Trajectory) -> Taste:
        """Return what the history and the rewards so far tell of the user's taste."""
        history, steps = trajectory.history, trajectory.recent(trajectory.length)
        items = (*[one.item for one in history], *[step.item for step in steps])
        values = (*[one.rating for one in history], *[step.reward for step in steps])
        return self._inferred(items, values, len(history)) if items else NO_TASTE

    @cached_property
    def _inferred(self) -> Callable[[tuple[int, ...], tuple[float, ...], int], Taste]:
        # Asked for by the planner of a step and by its actor.
        return lru_cache(_REMEMBERED)(self._infer)

    def _infer(self, items: Sequence[int], values: Sequence[float], known: int) -> Taste:
        """Return the taste of who gave *items* these *values*, the first *known* before a visit."""
        above = np.array(values) - self.standing.means[[*items]]
        names, rows = self._rows(items)
        # Of n ratings an n × n system: there are seldom more of them than categories.
        likeness = rows @ rows.T
        likeness[:known] += _CONTENT
        likeness[known:, :known] += _CONTENT
        likeness[known:, known:] += 2 * _CONTENT
        likeness.flat[:: len(items) + 1] += _NOISE
        weights = np.linalg.solve(likeness, above)
        liking = significant_all(rows.T @ weights).tolist()
        content = _CONTENT * float(weights.sum() + weights[known:].sum())
        return Taste(dict(zip(names, liking, strict=True)), significant(content))

    def _rows(self, items: Sequence[int]) -> tuple[list[str], Floats]:
        """Return the categories of *items*, and each item by them, at unit length: [items, …]."""
        own = [self.catalog.categories[item] for item in items]
        names = {name: None for one in own for name in one}
        columns = {name: column for column, name in enumerate(names)}
        counts = [len(one) for one in own]
        shares = [1 / sqrt(max(1, count)) for count in counts]
        rows = np.zeros((len(items), len(names)))
        places = np.repeat(np.arange(len(items)), counts)
        rows[places, [columns[name] for one in own for name in one]] = np.repeat(shares, counts)
        return [*names], rows

    def expected(self, taste: Taste, item: int) -> float:
        """Return what *item* should be worth to a user of that *taste*, on the rating scale."""
        return float(self.standing.means[item]) + taste.of(self.catalog.categories[item])
