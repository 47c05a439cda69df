"""What ratings of items shown at random say of a world."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.datasets.at_random import accuracy_at_random, worth_at_random
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
    worths = worth_at_random(true)
    assert [one.policy for one in worths][::3] == ["random", "best for the user"]
    assert all(one.rated == one.rewarded for one in worths)
    assert worths[-1].rated == max(one.rated for one in worths)
    assert worths[-1].rated - worths[-1].margin > worths[0].rated


def test_a_world_that_people_are_the_reverse_of_is_found_so(world: Environment) -> None:
    """What it likes best for them they like least, and policies stand the other way round."""
    reversed_ = replace(world, randomised=shown_to(USERS, 6.0 - rewards(world)))
    found = accuracy_at_random(reversed_)
    assert found is not None
    assert found.auc == 0.0
    worths = worth_at_random(reversed_)
    assert worths[-1].rated == min(one.rated for one in worths)
    assert worths[-1].rewarded == max(one.rewarded for one in worths)


def test_without_such_ratings_there_is_nothing_to_say(world: Environment) -> None:
    """Neither where nothing was shown, nor where so little was that all of it is picked."""
    nobody = np.array([], np.int32)
    empty = replace(world, randomised=Randomised(nobody, nobody, np.array([])))
    for one in (world, empty):
        assert accuracy_at_random(one) is None
        assert worth_at_random(one) == ()
