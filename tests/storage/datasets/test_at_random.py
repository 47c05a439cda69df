"""What ratings of items shown at random say of a world."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.datasets.at_random import PICKED, accuracy_at_random, ranking_at_random
from storage.datasets.draws import integers
from storage.datasets.synthetic import build_synthetic
from storage.environments import Environment, Randomised

USERS, ITEMS, SHOWN = 40, 60, 12


@pytest.fixture(scope="module")
def world() -> Environment:
    return build_synthetic(seed=4, users=USERS, items=ITEMS, categories=6)


def shown_to(users: int, ratings: NDArray[np.float64]) -> Randomised:
    """Return *ratings* [U, I] of some items that each of *users* was shown."""
    pairs = [(user, item) for user in range(users) for item in _items(user)]
    owners, items = (np.array(column, np.int32) for column in zip(*pairs, strict=True))
    return Randomised(owners, items, ratings[owners, items])


def _items(user: int) -> set[int]:
    return {*integers(user, "shown", SHOWN, ITEMS).tolist()}


def rewards(world: Environment) -> NDArray[np.float64]:
    return np.array([world.factors.rewards(user) for user in range(USERS)])


def test_a_world_that_is_as_people_are_is_found_so(world: Environment) -> None:
    """No error, every pair in order, and each policy worth what the world gives it."""
    true = replace(world, randomised=shown_to(USERS, rewards(world)))
    found = accuracy_at_random(true)
    assert found is not None
    assert (found.rmse, found.bias, found.auc) == (0.0, 0.0, 1.0)
    ranking = ranking_at_random(true)
    assert ranking is not None
    worths = ranking.worths
    assert [one.policy for one in worths][::4] == ["random", "best for the user"]
    assert all(one.rated == one.rewarded for one in worths)
    assert worths[-1].rated == max(one.rated for one in worths)
    assert worths[-1].rated - worths[-1].margin > worths[0].rated
    assert (ranking.decided >= 4, ranking.swapped) == (True, ())


def test_a_world_that_people_are_the_reverse_of_is_found_so(world: Environment) -> None:
    """What it likes best for them they like least, and policies stand the other way round."""
    reversed_ = replace(world, randomised=shown_to(USERS, 6.0 - rewards(world)))
    found = accuracy_at_random(reversed_)
    assert found is not None
    assert found.auc == 0.0
    ranking = ranking_at_random(reversed_)
    assert ranking is not None
    worths = ranking.worths
    assert worths[-1].rated == min(one.rated for one in worths)
    assert worths[-1].rewarded == max(one.rewarded for one in worths)
    assert ("random", "best for the user") in ranking.swapped
    assert len(ranking.swapped) == ranking.decided


def test_what_chance_is_worth_is_what_people_rate(world: Environment) -> None:
    """The mean of all ratings; the interval is that of a mean whose users hang together."""
    ratings = rewards(world)
    shown = shown_to(USERS, ratings)
    ranking = ranking_at_random(replace(world, randomised=shown))
    assert ranking is not None
    own = [ratings[user, sorted(_items(user))] for user in range(USERS)]
    mean = np.concatenate(own).mean()
    moved = [(values - mean).sum() / len(shown.items) for values in own]
    assert ranking.worths[0].rated == pytest.approx(mean, rel=1e-5)
    assert ranking.worths[0].margin == pytest.approx(1.96 * np.linalg.norm(moved), rel=1e-5)


def test_who_was_shown_more_counts_for_more(world: Environment) -> None:
    """Each rating at random is one trial: users stand for as many as they were shown."""
    items = [*range(9), *range(PICKED + 1)]
    users = np.array([0] * 9 + [1] * (PICKED + 1), np.int32)
    shown = Randomised(users, np.array(items, np.int32), np.array([5.0] * 9 + [1.0] * 4))
    ranking = ranking_at_random(replace(world, randomised=shown))
    assert ranking is not None
    assert [one.rated for one in ranking.worths] == pytest.approx([(9 * 5 + 4) / 13] * 5, abs=1e-5)
    assert ranking.decided == 0


def test_without_such_ratings_there_is_nothing_to_say(world: Environment) -> None:
    """Neither where nothing was shown, nor where so little was that all of it is picked."""
    nobody = np.array([], np.int32)
    empty = replace(world, randomised=Randomised(nobody, nobody, np.array([])))
    for one in (world, empty):
        assert accuracy_at_random(one) is None
        assert ranking_at_random(one) is None
    few = Randomised(np.zeros(PICKED, np.int32), np.arange(PICKED, dtype=np.int32), np.ones(PICKED))
    assert ranking_at_random(replace(world, randomised=few)) is None
