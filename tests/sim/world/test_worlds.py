"""Every environment must leave room to learn: neither hopeless nor a matter of course."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.datasets import FORMATS, build_environment
from storage.datasets.draws import order
from storage.datasets.synthetic import WORLDS, build_synthetic
from storage.environments import Environment
from storage.factors import Factors

DATA = Path(__file__).parents[4] / "shared" / "data"
SOURCES = {
    "steam-200k": DATA / "steam-200k",
    "movielens": DATA / "ml-latest-small",
    "billp-amazon": DATA / "billp-amazon",
}
USERS, LIMIT, WINDOW, LEAST = 40, 50, 4, 2.0

Near: TypeAlias = Callable[[int], NDArray[np.bool_]]
Policy: TypeAlias = Callable[[int, NDArray[np.float64], list[int], Near], int]


def at_random(user: int, rewards: NDArray[np.float64], seen: list[int], _: Near) -> int:
    return int(order(user, "policy", len(rewards))[len(seen)])


def diverse_greedy(_: int, rewards: NDArray[np.float64], seen: list[int], near: Near) -> int:
    """Take the best item that is near none of the last ones and was not there before."""
    allowed = np.ones(len(rewards), dtype=np.bool_)
    allowed[seen] = False
    for item in seen[-WINDOW:]:
        allowed &= ~near(item)
    return int(np.argmax(np.where(allowed, rewards, -np.inf)))


def nearness(factors: Factors) -> Near:
    """Return what tells of which items an item is near; of each it is reckoned once."""
    items = np.arange(len(factors.items))
    return cache(lambda item: factors.near(item, items))


def length(factors: Factors, user: int, policy: Policy, near: Near) -> int:
    """Return how many items *user* accepts before leaving, the last one included."""
    rewards, seen = factors.rewards(user), list[int]()
    while len(seen) < LIMIT:
        item = policy(user, rewards, seen, near)
        bored = bool(seen) and factors.near(item, np.array(seen[-WINDOW:])).any()
        seen.append(item)
        if bored or rewards[item] < LEAST:
            break
    return len(seen)


def mean_length(world: Environment, policy: Policy) -> float:
    near = nearness(world.factors)
    return float(np.mean([length(world.factors, user, policy, near) for user in range(USERS)]))


@pytest.fixture(scope="module", params=[*WORLDS, *SOURCES])
def world(request: pytest.FixtureRequest) -> Environment:
    if request.param in WORLDS:
        return build_synthetic(world=request.param)
    source = SOURCES[request.param]
    if not source.exists():
        pytest.skip(f"needs {source}")
    return build_environment(
        request.param, source, FORMATS.named(request.param).recipe, name="real"
    )


def test_chance_alone_does_not_get_far(world: Environment) -> None:
    """Random items without repeats keep a user for 2 to 10 steps."""
    assert 2 <= mean_length(world, at_random) <= 10


def test_knowing_everything_gets_far(world: Environment) -> None:
    """Who knows rewards and distances keeps nearly everybody to the limit."""
    assert mean_length(world, diverse_greedy) >= 40


def test_model_beats_tuned_biases(world: Environment) -> None:
    """Rewards of real data rest on a model that knows tastes, not only popularity."""
    if world.head.fit is None:
        pytest.skip("generated, not fitted")
    assert world.head.fit.model.rmse < world.head.fit.tuned_biases.rmse


def test_users_differ(world: Environment) -> None:
    """The best items of one user are not those of the next."""
    best = [frozenset(np.argsort(-world.factors.rewards(user))[:10]) for user in range(USERS)]
    shared = [len(one & other) for one, other in pairwise(best)]
    assert np.mean(shared) < 7
