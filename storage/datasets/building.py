"""From interactions to an environment: split, fit, fixed point, places, β.

Of each user's ratings a share makes the world, and the rest is what agents are told of the user:
whoever predicts rewards from what is told must not find the very ratings again that made them.
"""

from dataclasses import dataclass
from math import floor, log2
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError, DataError
from storage.catalog import Catalog
from storage.datasets.draws import order
from storage.datasets.fitting import Ratings, RewardModel, draw, fit, judge
from storage.datasets.geometry import beta_squared, places_of
from storage.datasets.interactions import Interactions, core
from storage.datasets.ratings import bounds, negatives, ratings_of, with_ratings
from storage.environments import Environment, Fit, Origin, Provenance, Users, assemble
from storage.factors import Factors

Drawn: TypeAlias = Literal["sampled", "mean"]

_LARGEST = 32_767
_MOST_BITS = 14


@dataclass(frozen=True)
class Recipe:
    """How an environment is made of interactions.

    *test_share* of the users are test users; *truth_share* of each user's ratings make the world,
    whose *factors* are draw number *sample* of those that the ratings leave open, another equally
    likely world for each number, or their mean; *category_weight* is what categories count in
    distances, and *beta_quantile* the share of pairs of items that are near; users and items with
    fewer interactions than *min_user* and *min_item* are left out.
    """

    seed: int = 0
    dimensions: int = 32
    test_share: float = 0.2
    truth_share: float = 0.5
    factors: Drawn = "sampled"
    sample: int = 0
    category_weight: float = 0.4
    beta_quantile: float = 0.08
    min_user: int = 1
    min_item: int = 1

    def check(self) -> None:
        """Raise ConfigError for a number that cannot be used."""
        shares = (
            ("test share", self.test_share, 0.0 < self.test_share < 1.0),
            ("truth share", self.truth_share, 0.0 < self.truth_share < 1.0),
            ("category weight", self.category_weight, 0.0 <= self.category_weight <= 1.0),
            ("beta quantile", self.beta_quantile, 0.0 <= self.beta_quantile < 1.0),
        )
        for name, value, is_usable in shares:
            if not is_usable:
                raise ConfigError(f"{name}: expected a share between 0 and 1, got {value!r}")
        if not 1 <= self.dimensions <= 512:
            raise ConfigError(f"dimensions: expected 1 to 512, got {self.dimensions!r}")
        if self.sample < 0:
            raise ConfigError(f"sample: expected a number from 0 on, got {self.sample!r}")


def build(
    data: Interactions, recipe: Recipe, *, name: str, kind: str, provenance: Provenance
) -> Environment:
    """Return the environment that *recipe* makes of *data*, which came in the format *kind*."""
    recipe.check()
    data = core(data, recipe.min_user, recipe.min_item)
    if len(data.user_names) < 2 or len(data) < 2:
        raise DataError(
            f"{provenance.source}: expected at least 2 users, each with {recipe.min_user} or more"
            f" interactions, got {len(data.user_names)}",
            hint="give more data, or lower --min-user and --min-item",
        )
    truth = share_of_each(data.users, recipe.truth_share, recipe.seed, "truth")
    if not truth.any():
        raise DataError(
            f"{provenance.source}: no user has enough interactions for a share of"
            f" {recipe.truth_share:g} to make a world of",
            hint="give more data, or raise --truth-share",
        )
    model, fitted = _fitted(data, recipe, truth)
    users = _users(data, recipe, ~truth)
    train = ~users.test[data.users] & ~truth
    popularity = np.bincount(data.items[train], minlength=len(data.titles)).astype(np.int64)
    origin = Origin(
        name=name,
        format=kind,
        category_weight=recipe.category_weight,
        beta_quantile=recipe.beta_quantile,
        seed=recipe.seed,
        provenance=msgspec.structs.replace(provenance, left_out=data.left_out),
        fit=fitted,
    )
    catalog = Catalog(data.titles, data.categories, popularity)
    factors = fixed_point(model, data, recipe)
    return assemble(
        origin, catalog=catalog, factors=factors, users=users, randomised=data.randomised
    )


def share_of_each(
    users: NDArray[np.int64], share: float, seed: int, purpose: str
) -> NDArray[np.bool_]:
    """Return which rows are among the *share* of each of *users*, rounded down, drawn at random."""
    drawn = order(seed, purpose, len(users))
    rows = drawn[np.argsort(users[drawn], kind="stable")]
    counts = np.bincount(users)
    owners = users[rows]
    rank = np.arange(len(rows)) - (np.cumsum(counts) - counts)[owners]
    chosen = np.zeros(len(users), dtype=np.bool_)
    chosen[rows] = rank < np.floor(counts * share)[owners]
    return chosen


def _fitted(
    data: Interactions, recipe: Recipe, truth: NDArray[np.bool_]
) -> tuple[RewardModel, Fit]:
    """Return the model of the *truth* among *data*, and how well it predicts the rest."""
    passed_by = negatives(data, recipe.seed)
    # Ratings are made of the truth alone: the rest must not shape them.
    every = _with_negatives(data, truth, passed_by)
    if passed_by is not None:
        drawn = share_of_each(passed_by.users, recipe.truth_share, recipe.seed, "truth passed by")
        truth = np.concatenate([truth, drawn])
    known, rest = every.part(np.flatnonzero(truth)), every.part(np.flatnonzero(~truth))
    model = fit(known, recipe.dimensions, recipe.seed)
    sampled = None
    if recipe.factors == "sampled":
        sampled = draw(model, known, recipe.seed, recipe.sample)
    fitted = judge(model, known, rest, bounds(data), drawn=sampled, shown=_shown(data))
    return sampled or model, fitted


def _shown(data: Interactions) -> Ratings | None:
    """Return what was shown at random, if anything was."""
    shown = data.randomised
    if shown is None or not len(shown.ratings):
        return None
    shape = (len(data.user_names), len(data.titles))
    users, items = shown.users.astype(np.int64), shown.items.astype(np.int64)
    return Ratings(users, items, shown.ratings, shape)


def _with_negatives(
    data: Interactions, known: NDArray[np.bool_], passed_by: Ratings | None
) -> Ratings:
    shape = (len(data.user_names), len(data.titles))
    return with_ratings(Ratings(data.users, data.items, ratings_of(data, known), shape), passed_by)


def _users(data: Interactions, recipe: Recipe, told: NDArray[np.bool_]) -> Users:
    """Return the users, with what is *told* of them for a history."""
    count = len(data.user_names)
    test = np.zeros(count, dtype=np.bool_)
    # At least one in each part, whatever the share.
    tested = min(max(round(count * recipe.test_share), 1), count - 1)
    test[order(recipe.seed, "test users", count)[:tested]] = True
    rows = np.flatnonzero(told)
    rows = rows[np.argsort(data.users[rows], kind="stable")]
    return Users(
        names=data.user_names,
        test=test,
        offsets=np.concatenate([[0], np.cumsum(np.bincount(data.users[rows]))]).astype(np.int64),
        items=data.items[rows].astype(np.int32),
        ratings=ratings_of(data, told)[rows],
    )


def fixed_point(model: RewardModel, data: Interactions, recipe: Recipe) -> Factors:
    """Return *model* in whole numbers, as fine as 16 bits allow, with places and β."""
    largest = max(float(np.abs(model.users).max()), float(np.abs(model.items).max()), 1e-9)
    bits = min(floor(log2(_LARGEST / largest)), _MOST_BITS)
    if bits < 1:
        raise DataError(
            f"ratings from {data.values.min():g} to {data.values.max():g} are too far apart to fit",
            hint="scale them, say to 1 … 5",
        )
    one = 1 << bits
    places = places_of(directions(model.items), data.categories, recipe.category_weight)
    low, high = bounds(data)
    return Factors(
        users=np.rint(model.users * one).astype(np.int16),
        items=np.rint(model.items * one).astype(np.int16),
        user_bias=np.rint(model.user_bias * one).astype(np.int32),
        item_bias=np.rint(model.item_bias * one).astype(np.int32),
        mean=round(model.mean * one),
        bits=bits,
        low=low,
        high=high,
        places=places,
        beta_squared=beta_squared(places, recipe.beta_quantile, recipe.seed),
    )


def directions(rows: NDArray[np.float64]) -> NDArray[np.int16]:
    """Return each of *rows* as long as 16 bits allow: a short one must not lose its direction."""
    longest = np.abs(rows).max(axis=1, keepdims=True)
    scaled: NDArray[np.float64] = rows / np.where(longest > 0, longest, 1.0)
    return np.rint(scaled * _LARGEST).astype(np.int16)
