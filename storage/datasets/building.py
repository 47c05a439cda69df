"""From interactions to an environment: split, fit, fixed point, places, β."""

from dataclasses import dataclass
from math import floor, log2

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError, DataError
from storage.catalog import Catalog
from storage.datasets.draws import order
from storage.datasets.fitting import Ratings, RewardModel, fit, judge, split
from storage.datasets.geometry import beta_squared, places_of
from storage.datasets.interactions import Interactions, core
from storage.datasets.ratings import bounds, negatives, ratings_of, with_ratings
from storage.environments import Environment, Fit, Origin, Provenance, Users, assemble
from storage.factors import Factors

_LARGEST = 32_767
_MOST_BITS = 14


@dataclass(frozen=True)
class Recipe:
    """How an environment is made of interactions.

    *test_share* of the users are test users; *category_weight* is what categories count in
    distances, and *beta_quantile* the share of pairs of items that are near; users and items with
    fewer interactions than *min_user* and *min_item* are left out.
    """

    seed: int = 0
    dimensions: int = 32
    test_share: float = 0.2
    category_weight: float = 0.4
    beta_quantile: float = 0.08
    min_user: int = 1
    min_item: int = 1

    def check(self) -> None:
        """Raise ConfigError for a number that cannot be used."""
        shares = (
            ("test share", self.test_share, 0.0 < self.test_share < 1.0),
            ("category weight", self.category_weight, 0.0 <= self.category_weight <= 1.0),
            ("beta quantile", self.beta_quantile, 0.0 <= self.beta_quantile < 1.0),
        )
        for name, value, is_usable in shares:
            if not is_usable:
                raise ConfigError(f"{name}: expected a share between 0 and 1, got {value!r}")
        if not 1 <= self.dimensions <= 512:
            raise ConfigError(f"dimensions: expected 1 to 512, got {self.dimensions!r}")


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
    model, fitted = _fitted(data, recipe)
    users = _users(data, recipe)
    train = ~users.test[data.users]
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


def _fitted(data: Interactions, recipe: Recipe) -> tuple[RewardModel, Fit]:
    """Return the model of all of *data*, and how well one of nine tenths predicts the rest."""
    passed_by = negatives(data, recipe.seed)
    known_rows, held_rows = split(len(data) + (len(passed_by) if passed_by else 0), recipe.seed)
    known = np.zeros(len(data), dtype=np.bool_)
    known[known_rows[known_rows < len(data)]] = True
    # Ratings are made of what is known alone: the held-out part must not shape them.
    judged = _with_negatives(data, known, passed_by)
    fitted = judge(
        judged.part(known_rows),
        judged.part(held_rows),
        recipe.dimensions,
        recipe.seed,
        bounds(data),
        _shown(data),
    )
    everything = _with_negatives(data, np.ones(len(data), dtype=np.bool_), passed_by)
    return fit(everything, recipe.dimensions, recipe.seed), fitted


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


def _users(data: Interactions, recipe: Recipe) -> Users:
    count = len(data.user_names)
    test = np.zeros(count, dtype=np.bool_)
    # At least one in each part, whatever the share.
    tested = min(max(round(count * recipe.test_share), 1), count - 1)
    test[order(recipe.seed, "test users", count)[:tested]] = True
    rows = np.argsort(data.users, kind="stable")
    ratings = ratings_of(data, np.ones(len(data), dtype=np.bool_))
    return Users(
        names=data.user_names,
        test=test,
        offsets=np.concatenate([[0], np.cumsum(np.bincount(data.users))]).astype(np.int64),
        items=data.items[rows].astype(np.int32),
        ratings=ratings[rows],
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
