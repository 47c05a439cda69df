"""What an agent's own model may be fitted to: the training users' ratings, and no test user's."""

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.catalog import Catalog
from storage.datasets.fitting import Ratings
from storage.datasets.ratings import training_ratings
from storage.environments import Environment, Origin, Provenance, Users, assemble
from storage.factors import UNIT, Factors
from tests.support.small import synthetic

Past: TypeAlias = Sequence[tuple[int, float]]
"""What a user rated, oldest first."""

ITEMS = 8
TEST, TRAIN = True, False


def world(*users: tuple[bool, Past], low: float = 1.0, seed: int = 0) -> Environment:
    """Return a world of *users*, each of the test part or not, with a past."""
    everything = [pair for _, past in users for pair in past]
    lengths = [len(past) for _, past in users]
    everybody = Users(
        names=tuple(f"user {number}" for number in range(len(users))),
        test=np.array([test for test, _ in users], np.bool_),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.array([item for item, _ in everything], np.int32),
        ratings=np.array([rating for _, rating in everything], np.float64),
    )
    factors = Factors(
        users=np.zeros((len(users), 1), np.int16),
        items=np.zeros((ITEMS, 1), np.int16),
        user_bias=np.zeros(len(users), np.int32),
        item_bias=np.zeros(ITEMS, np.int32),
        mean=3 << 12,
        bits=12,
        low=low,
        high=5.0,
        places=np.eye(ITEMS, dtype=np.int16) * (UNIT - 1),
        beta_squared=1,
    )
    titles = tuple(f"item {item}" for item in range(ITEMS))
    catalog = Catalog(titles, (("A",),) * ITEMS, np.ones(ITEMS, np.int64))
    origin = Origin(
        name="small",
        format="test",
        category_weight=0.0,
        beta_quantile=0.0,
        seed=seed,
        provenance=Provenance(source="a test"),
    )
    return assemble(origin, catalog=catalog, factors=factors, users=everybody)


def rows(ratings: Ratings) -> list[tuple[int, int, float]]:
    """Return who rated what how."""
    columns = ratings.users.tolist(), ratings.items.tolist(), ratings.values.tolist()
    return list(zip(*columns, strict=True))


RATED = ((0, 5.0), (3, 1.0))
LIKED = ((0, 5.0), (1, 4.0), (2, 3.0))


def test_training_users_are_taken_with_all_they_rated() -> None:
    """In order, under their own numbers; the others' rows stay empty."""
    found = training_ratings(world((TRAIN, RATED), (TEST, LIKED), (TRAIN, ((7, 2.5),))))
    assert rows(found) == [(0, 0, 5.0), (0, 3, 1.0), (2, 7, 2.5)]
    assert found.shape == (3, ITEMS)


def test_nothing_is_made_up_where_somebody_said_what_he_disliked() -> None:
    """One rating below the middle of the scale is enough."""
    found = training_ratings(world((TRAIN, LIKED), (TRAIN, ((4, 2.9),))))
    assert rows(found) == [(0, *pair) for pair in LIKED] + [(1, 4, 2.9)]


@pytest.mark.parametrize("past", [LIKED, ((0, 5.0), (1, 5.0), (2, 5.0))])
def test_where_nobody_did_items_passed_by_are_added(past: Past) -> None:
    """One for each that the user met, not met himself, and rated below the middle."""
    others = ((3, 5.0), (4, 5.0), (5, 5.0), (6, 5.0), (7, 5.0))
    found = rows(training_ratings(world((TRAIN, past), (TRAIN, others))))
    assert found[:8] == [(0, *pair) for pair in past] + [(1, *pair) for pair in others]
    made_up = found[8:]
    assert Counter(user for user, *_ in made_up) == {0: 3, 1: 3}
    assert {item for user, item, _ in made_up if user == 0} < {3, 4, 5, 6, 7}
    assert {item for user, item, _ in made_up if user == 1} == {0, 1, 2}
    assert {value for *_, value in made_up} == {2.0}


def test_the_middle_is_the_scales() -> None:
    """2.9 is a dislike from 1 to 5, and none from 0 to 5."""
    past = ((0, 5.0), (1, 2.9))
    assert len(training_ratings(world((TRAIN, past), (TRAIN, ((2, 5.0),))))) == 3
    assert len(training_ratings(world((TRAIN, past), (TRAIN, ((2, 5.0),)), low=0.0))) > 3


def test_dislikes_of_test_users_are_not_known() -> None:
    """What they said does not even tell whether dislikes are said at all."""
    found = rows(training_ratings(world((TRAIN, LIKED), (TEST, RATED), (TRAIN, ((5, 5.0),)))))
    assert (2.0, 5) in {(value, item) for user, item, value in found if user == 0}
    assert not [user for user, *_ in found if user == 1]


def test_who_met_everything_passed_nothing_by() -> None:
    """Then there is less to add, and no end of looking for it."""
    everything = [(item, 5.0) for item in range(ITEMS)]
    found = rows(training_ratings(world((TRAIN, everything), (TRAIN, ((0, 5.0),)))))
    assert Counter(user for user, *_ in found) == {0: ITEMS, 1: 2}


def test_what_is_made_up_is_the_environments() -> None:
    """The same each time; another seed of the environment draws others."""
    pasts = [(TRAIN, ((item, 5.0),)) for item in range(ITEMS)]
    first, again, other = (rows(training_ratings(world(*pasts, seed=seed))) for seed in (0, 0, 1))
    assert first == again != other


PAST = st.dictionaries(
    st.integers(0, ITEMS - 1), st.sampled_from([1.0, 2.5, 3.0, 4.0, 5.0]), min_size=1
).map(lambda known: tuple(known.items()))


@given(st.lists(PAST, min_size=1, max_size=5), st.lists(PAST, max_size=3), st.data())
def test_whatever_test_users_rated_nothing_changes(
    trained: list[Past], tested: list[Past], data: st.DataObject
) -> None:
    """For all pasts of all users: the ratings are those of a world where they rated others."""
    others = [data.draw(PAST) for _ in tested]
    found = [
        rows(training_ratings(world(*[(TRAIN, p) for p in trained], *[(TEST, p) for p in pasts])))
        for pasts in (tested, others)
    ]
    assert found[0] == found[1]


@given(st.lists(PAST, min_size=1, max_size=5))
def test_ratings_are_pairs_once_each(trained: list[Past]) -> None:
    """Nobody is said to have passed by what he met, nor twice the same."""
    found = training_ratings(world(*[(TRAIN, past) for past in trained]))
    pairs = [(user, item) for user, item, _ in rows(found)]
    assert len({*pairs}) == len(pairs)
    met = sum(len(past) for past in trained)
    disliked = any(rating < 3.0 for past in trained for _, rating in past)
    assert len(found) == met if disliked else met <= len(found) <= 2 * met


def test_the_built_in_worlds_ratings_are_its_training_users() -> None:
    """They say what they dislike: every rating is one that its owner's history has."""
    environment = synthetic()
    found = training_ratings(environment)
    assert {*found.users.tolist()} == {*environment.train_users.tolist()}
    counts = np.diff(environment.users.offsets)[~environment.users.test]
    assert len(found) == counts.sum()
    (user, *_), length = environment.train_users.tolist(), len(environment.users.items)
    own = [(item, value) for owner, item, value in rows(found) if owner == user]
    assert tuple(own) == environment.history(user, length)
