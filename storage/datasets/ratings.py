"""From what was logged to ratings, and the dislikes that nobody logs.

Hours of play alone say next to nothing about taste (within a user they spread by 0.045 once the
game is known): the model also needs items that a user passed by. They are drawn, one for each
interaction, in proportion to popularity^¾ among the items that the user lacks.
"""

import numpy as np
from numpy.typing import NDArray

from storage.datasets.draws import words
from storage.datasets.fitting import Ratings
from storage.datasets.interactions import Interactions, Scale
from storage.environments import Environment

LIKED = 5.0
NEGATIVES: dict[Scale, float] = {"hours": 1.5, "positive": 2.0}
"""The rating of an item that was passed by; where users rate, nothing is made up."""

FEW = 6
_ATTEMPTS = 20


def ratings_of(data: Interactions, known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return a rating for each interaction, learning nothing from those that are not *known*."""
    if data.scale == "hours":
        return _by_thirds(data, known)
    if data.scale == "positive":
        return np.full(len(data), LIKED)
    return data.values


def bounds(data: Interactions) -> tuple[float, float]:
    """Return the lowest and the highest rating there can be."""
    if data.scale == "rating":
        return float(data.values.min()), float(data.values.max())
    return 1.0, LIKED


def negatives(data: Interactions, seed: int) -> Ratings | None:
    """Return as many items passed by as *data* has interactions, or None where users rate.

    Users who met nearly everything may get fewer.
    """
    if data.scale not in NEGATIVES:
        return None
    items = len(data.titles)
    met = np.sort(data.users * items + data.items)
    ends = np.cumsum(np.bincount(data.items, minlength=items) ** 0.75)
    found: list[NDArray[np.int64]] = []
    users = data.users
    for attempt in range(_ATTEMPTS):
        points = words(seed, f"negatives {attempt}", len(users)) / np.float64(2**64) * ends[-1]
        # The largest words round to 1, and so to beyond the end.
        drawn = np.minimum(np.searchsorted(ends, points, side="right"), items - 1)
        pairs = users * items + drawn
        taken = np.concatenate([met, *found])
        fresh = ~np.isin(pairs, taken)
        # Of a pair drawn twice at once only the first counts.
        first = np.zeros(len(pairs), dtype=np.bool_)
        first[np.unique(pairs, return_index=True)[1]] = True
        found.append(pairs[fresh & first])
        users = users[~(fresh & first)]
    every = np.concatenate(found)
    values = np.full(len(every), NEGATIVES[data.scale])
    return Ratings(every // items, every % items, values, (len(data.user_names), items))


def with_ratings(rated: Ratings, passed_by: Ratings | None) -> Ratings:
    """Return *rated* followed by what was *passed_by*, if anything was."""
    if passed_by is None:
        return rated
    return Ratings(
        np.concatenate([rated.users, passed_by.users]),
        np.concatenate([rated.items, passed_by.items]),
        np.concatenate([rated.values, passed_by.values]),
        rated.shape,
    )


def _by_thirds(data: Interactions, known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return 3, 4 or 5: the third of its item's hours that each value is in.

    Items with few known interactions are judged by the hours of all.
    """
    rows = np.flatnonzero(known)
    rows = rows[np.lexsort((data.values[rows], data.items[rows]))]
    counts = np.bincount(data.items[rows], minlength=len(data.titles))
    starts = np.cumsum(counts) - counts
    ordered, everything = data.values[rows], np.sort(data.values[rows])
    ratings = np.full(len(data), 3.0)
    for third in (1, 2):
        place = np.minimum(starts + counts * third // 3, len(ordered) - 1)
        overall = everything[len(everything) * third // 3]
        limits = np.where(counts >= FEW, ordered[place], overall)
        ratings += data.values >= limits[data.items]
    return ratings


def training_ratings(environment: Environment) -> Ratings:
    """Return the ratings of the training users; nothing of a test user is among them.

    Where none of them lies below the middle of the scale, nobody said what he disliked: then as
    many items that were passed by are added, as in the making of environments.
    """
    users, shape = environment.users, (len(environment.users), len(environment.catalog))
    owners = np.repeat(np.arange(len(users)), np.diff(users.offsets))
    rows = np.flatnonzero(~users.test[owners])
    rated = Ratings(owners[rows], users.items[rows].astype(np.int64), users.ratings[rows], shape)
    middle = (environment.head.rating_low + environment.head.rating_high) / 2
    if not len(rated) or rated.values.min() < middle:
        return rated
    met = Interactions(
        user_names=users.names,
        titles=environment.catalog.titles,
        categories=environment.catalog.categories,
        users=rated.users,
        items=rated.items,
        values=rated.values,
        scale="positive",
    )
    return with_ratings(rated, negatives(met, environment.head.seed))
