"""The built-in world: generated, Steam-like, and the same bytes on every processor.

Everything kept is made of whole numbers: a hash stream, integer arithmetic, sorting. Items lean on
the prototypes of their categories, on a hidden cluster that no category tells, and on themselves;
users have a taste for each of these. No BLAS, no libm.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from storage.catalog import Catalog, distinct_titles
from storage.datasets.directories import load, save
from storage.datasets.draws import bells, integers, order, weighted, words
from storage.datasets.geometry import beta_squared, places_of
from storage.datasets.vocabulary import ADJECTIVES, KINDS, NOUNS, PLACES, SEQUELS
from storage.environments import Environment, Origin, Provenance, Users, assemble
from storage.factors import Factors

NAME = "synthetic"
DIGEST = "1bc7063a166236505e5742c6d7a7619714400f42ad01323c1477ac56e2c09038"
"""The digest of the default world: taste is personal, and categories tell of it."""

PLAIN = "synthetic:plain"
PLAIN_DIGEST = "29cc81ac9ba28ad8ccae20724566eee0aa3a548d2d84703ab6267a2bf1b74b3b"
"""The name and the digest of the world in which one sequence for all does nearly as well."""

FORMER = {NAME: PLAIN, "synthetic:personal": NAME}
"""The worlds by the names that they had before 0.6.0."""

DIMENSIONS = 16
CLUSTERS = 24
CATEGORY_WEIGHT = 0.4
BETA_QUANTILE = 0.1

_BITS = 12
_ONE = 1 << _BITS
_LENGTHS = (10, 13, 19, 34, 62, 110, 240)
_LENGTH_SHARES = (0, 25, 50, 75, 90, 97, 100)  # the percentile of each of the lengths
_CANDIDATES = 2


TEST_SHARE = 0.2
"""The share of users to test with."""


@dataclass(frozen=True)
class Weights:
    """What factors are made of, in hundredths and users' *leanings* in thousandths.

    Those of items: of the *prototypes* of their categories, a hidden *cluster*, and their *own*.
    """

    prototypes: int
    cluster: int
    own: int
    leanings: int


WORLDS = {NAME: Weights(60, 10, 10, 75), PLAIN: Weights(30, 25, 25, 46)}
"""The built-in worlds, by name."""

DIGESTS = {NAME: DIGEST, PLAIN: PLAIN_DIGEST}


def build_synthetic(
    seed: int = 0,
    users: int = 500,
    items: int = 2_000,
    categories: int = 20,
    test_share: float = TEST_SHARE,
    world: str = NAME,
) -> Environment:
    """Return the generated *world* of *seed*; *test_share* of its users are test users."""
    labels = _categories(seed, items, categories)
    weights = _popularity(seed, items)
    model = _model(seed, users, labels, weights, WORLDS[world])
    visitors = _users(seed, model, weights, test_share)
    train = np.repeat(~visitors.test, np.diff(visitors.offsets))
    popularity = np.bincount(visitors.items[train], minlength=items).astype(np.int64)
    origin = Origin(
        name=world,
        format=world,
        category_weight=CATEGORY_WEIGHT,
        beta_quantile=BETA_QUANTILE,
        seed=seed,
        provenance=Provenance(source="built in"),
    )
    catalog = Catalog(_titles(seed, labels), labels, popularity)
    return assemble(origin, catalog=catalog, factors=model, users=visitors)


def synthetic(cache: Path | None, world: str = NAME) -> Environment:
    """Return a built-in *world*, from *cache* where it is sound, else built and kept.

    A cache that is damaged, of another version or unwritable costs the time to build, no more.
    """
    if cache is None:
        return build_synthetic(world=world)
    directory = cache / world.replace(":", "-")
    try:
        environment = load(directory)
    except DataError:
        environment = None
    if environment is None or environment.head.digest != DIGESTS[world]:
        environment = build_synthetic(world=world)
        _keep(environment, directory)
    return environment


def _categories(seed: int, items: int, categories: int) -> tuple[tuple[str, ...], ...]:
    """Return one to four categories for each item: a kind, often with one more."""
    names = list(NOUNS)[:categories]
    kinds = [kind for kind in (tuple(n for n in k if n in names) for k in KINDS) if kind]
    # The lower of two draws: earlier kinds are the more frequent ones.
    first, second = (integers(seed, f"kind {n}", items, len(kinds)) for n in range(2))
    extra = integers(seed, "extra category", items, 2 * len(names))
    labels = []
    for kind, other in zip(np.minimum(first, second).tolist(), extra.tolist(), strict=True):
        more = tuple(name for name in names[other : other + 1] if name not in kinds[kind])
        labels.append(kinds[kind] + more)
    return tuple(labels)


def _titles(seed: int, labels: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """Return a title for each item that suits one of its categories."""
    drawn = words(seed, "titles", len(labels) * 6).reshape(-1, 6)
    titles = [_title(row, names) for row, names in zip(drawn.tolist(), labels, strict=True)]
    return distinct_titles(titles)


def _title(row: list[int], categories: tuple[str, ...]) -> str:
    form, adjective, noun, place, sequel, other = row
    nouns = NOUNS[categories[(form >> 32) % len(categories)]]
    first, last = ADJECTIVES[adjective % len(ADJECTIVES)], nouns[noun % len(nouns)]
    where, ending = PLACES[place % len(PLACES)], SEQUELS[sequel % len(SEQUELS)]
    forms = (
        f"{first} {last}",
        f"{last} of {where}",
        f"{where}: {first} {last}",
        f"{last}: {first} {nouns[other % len(nouns)]}",
        f"The {first} {last}",
    )
    return forms[form % len(forms)] + ending


def _popularity(seed: int, items: int) -> NDArray[np.int64]:
    """Return a weight for each item: a long tail above a floor, as Steam's plays have."""
    ranks = order(seed, "popularity", items)
    offset, floor = 45 * items // 2_000, 5_000 * items // 2_000
    return (1 << 40) // (ranks + 1 + offset) + (1 << 40) // floor


def _model(
    seed: int,
    users: int,
    labels: tuple[tuple[str, ...], ...],
    popularity: NDArray[np.int64],
    weights: Weights,
) -> Factors:
    """Return the factors: users' tastes for prototypes of categories and for hidden clusters."""
    prototypes = bells(seed, "prototypes", (len(NOUNS), DIMENSIONS), _ONE)
    clusters = bells(seed, "clusters", (CLUSTERS, DIMENSIONS), _ONE)
    items = _item_factors(seed, labels, prototypes, clusters, weights)
    tastes = bells(seed, "tastes", (users, len(NOUNS) + CLUSTERS), _ONE)
    leanings = tastes @ np.vstack([prototypes, clusters]) >> _BITS
    own = bells(seed, "users", (users, DIMENSIONS), _ONE)
    places = places_of(items, labels, CATEGORY_WEIGHT)
    # The second argsort makes ranks of an order.
    popular = np.argsort(np.argsort(popularity, kind="stable"), kind="stable") - len(labels) // 2
    bias = bells(seed, "item biases", (len(labels),), _ONE * 33 // 100)
    return Factors(
        users=(leanings * weights.leanings // 1000 + own * 12 // 100).astype(np.int16),
        items=items,
        user_bias=bells(seed, "user biases", (users,), _ONE * 30 // 100).astype(np.int32),
        item_bias=(bias + popular * _ONE // (2 * len(labels))).astype(np.int32),
        mean=_ONE * 300 // 100,
        bits=_BITS,
        low=1.0,
        high=5.0,
        places=places,
        beta_squared=beta_squared(places, BETA_QUANTILE, seed),
    )


def _item_factors(
    seed: int,
    labels: tuple[tuple[str, ...], ...],
    prototypes: NDArray[np.int64],
    clusters: NDArray[np.int64],
    weights: Weights,
) -> NDArray[np.int16]:
    row = {name: position for position, name in enumerate(NOUNS)}
    means = [
        prototypes[[row[name] for name in names]].sum(axis=0) // len(names) for names in labels
    ]
    hidden = clusters[integers(seed, "hidden cluster", len(labels), CLUSTERS)]
    own = bells(seed, "items", (len(labels), DIMENSIONS), _ONE)
    mixed = np.array(means) * weights.prototypes + hidden * weights.cluster + own * weights.own
    return (mixed // 100).astype(np.int16)


def _users(seed: int, model: Factors, weights: NDArray[np.int64], test_share: float) -> Users:
    """Return the users with what they met so far: of a few popular items the one they like best."""
    users, items = len(model.users), len(model.items)
    lengths = _lengths(seed, users)
    # More meetings than are kept: some are with items that were met before.
    visitor = np.repeat(np.arange(users), 2 * lengths + 16)
    drawn = words(seed, "met", len(visitor) * _CANDIDATES)
    candidates = weighted(drawn, weights).reshape(-1, _CANDIDATES)
    liking = np.stack([_liking(model, visitor, column) for column in candidates.T], axis=1)
    liking += bells(seed, "moods", liking.shape, _ONE * _ONE * 5 // 10)
    best = np.argmax(liking, axis=1)
    kept = _first_meetings(visitor, candidates[np.arange(len(best)), best], items, lengths)
    visitor, met = visitor[kept], candidates[kept, best[kept]]
    liked = liking[kept, best[kept]]
    test = np.zeros(users, dtype=np.bool_)
    tested = min(max(round(users * test_share), 1), users - 1)
    test[order(seed, "test users", users)[:tested]] = True
    offsets = np.concatenate([[0], np.cumsum(np.bincount(visitor, minlength=users))])
    return Users(
        names=tuple(str(user + 1) for user in range(users)),
        test=test,
        offsets=offsets.astype(np.int64),
        items=met.astype(np.int32),
        ratings=_fifths(liked).astype(np.float64),
    )


def _lengths(seed: int, users: int) -> NDArray[np.int64]:
    """Return how many items each user met: median 19, three quarters at most 34."""
    point = integers(seed, "lengths", users, 100 << 10)
    marks = np.array(_LENGTH_SHARES, dtype=np.int64) << 10
    ends = np.array(_LENGTHS, dtype=np.int64)
    part = np.searchsorted(marks, point, side="right") - 1
    along = (point - marks[part]) * (ends[part + 1] - ends[part])
    lengths: NDArray[np.int64] = ends[part] + along // (marks[part + 1] - marks[part])
    return lengths


def _liking(
    model: Factors, users: NDArray[np.int64], items: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the rewards of pairs before clipping, in units of 2**−24."""
    mine, theirs = model.users[users].astype(np.int64), model.items[items].astype(np.int64)
    bias = model.mean + model.user_bias[users].astype(np.int64) + model.item_bias[items]
    liking: NDArray[np.int64] = (bias << _BITS) + np.einsum("ij,ij->i", mine, theirs)
    return liking


def _first_meetings(
    users: NDArray[np.int64], met: NDArray[np.int64], items: int, lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return where each user meets an item for the first time, as often as *lengths* says."""
    # np.unique goes by pair; sorted by place, meetings stand as they came.
    first = np.sort(np.unique(users * items + met, return_index=True)[1])
    starts = np.searchsorted(users[first], np.arange(len(lengths)))
    rank = np.arange(len(first)) - starts[users[first]]
    kept: NDArray[np.int64] = first[rank < lengths[users[first]]]
    return kept


def _fifths(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 1 for the lowest fifth of *values* up to 5 for the highest."""
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks * 5 // len(values) + 1


def _keep(environment: Environment, directory: Path) -> None:
    """Save *environment* to *directory* if that can be done; somebody else may be at it too."""
    try:
        save(environment, directory, replace=True)
    except DataError:
        return
