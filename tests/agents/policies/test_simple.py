"""Policies without a model, on a real bus."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.making import World
from agents.policies.simple import Choice, DiverseGreedy, Policy, Popular, Random
from agents.roster import AGENTS
from agents.settings import BillpSettings, Repeats
from agents.trajectory import Trajectory
from engine.chance import chance
from engine.errors import ConfigError
from engine.messages import ActionTaken, ModelReplied, PlanRequested
from storage.datasets.fitting import Ratings
from tests.support.cast import (
    CATALOG,
    CATEGORIES,
    CHESS,
    EVERYTHING,
    FARM,
    GO,
    HOUSE,
    OPERA,
    PILOT,
    RACER,
    SAGA,
    Visit,
    trajectory,
)

BY_POPULARITY = [GO, RACER, PILOT, HOUSE, FARM, SAGA, OPERA, CHESS]
REWARDS = {CHESS: 5.0, GO: 4.9, RACER: 4.0, PILOT: 3.0, OPERA: 2.9, HOUSE: 2.0, FARM: 1.5, SAGA: 1}


@dataclass(frozen=True)
class Tastes:
    """What shares a category with the last *window* bores; user 1 likes the opposite of user 0."""

    window: int = 1

    def rewards(self, trajectory: Trajectory) -> NDArray[np.float64]:
        rewards = np.array([REWARDS[item] for item in EVERYTHING], np.float64)
        return rewards if trajectory.user == 0 else 6.0 - rewards

    def near(self, item: int) -> NDArray[np.bool_]:
        return np.zeros(len(CATALOG), np.bool_)

    def bores(self, trajectory: Trajectory, item: int) -> bool:
        recent = trajectory.recent(self.window)
        return any({*CATEGORIES[item]} & {*CATEGORIES[step.item]} for step in recent)


def shown(
    choice: Choice, steps: int = 4, *, no_repeats: bool = True, user: int = 0, seed: int = 0
) -> list[int]:
    """Return the items of a visit."""
    policy = Policy(CATALOG, choice, no_repeats)
    visit = Visit(rewards=[3.0] * steps, users=[user])
    told = visit.run((PlanRequested, policy.act), seed=seed)
    return [action.item for action in told.only(ActionTaken)]


def test_a_policy_recommends_without_a_model() -> None:
    """Nobody is asked, and the message says that no words were grounded."""
    policy = Policy(CATALOG, Popular(CATALOG))
    told = Visit(rewards=[3.0]).run((PlanRequested, policy.act))
    assert told.only(ActionTaken) == [
        ActionTaken(
            step=0,
            item=GO,
            title="Go Master",
            words="Go Master",
            grounding="policy",
            distance=0.0,
        )
    ]
    assert told.only(ModelReplied) == []


# -- popular


def test_popular_items_come_one_after_the_other() -> None:
    assert shown(Popular(CATALOG), len(EVERYTHING)) == BY_POPULARITY


def test_with_repeats_the_most_popular_item_comes_always() -> None:
    assert shown(Popular(CATALOG), no_repeats=False) == [GO] * 4


# -- random


def test_random_items_are_the_seeds() -> None:
    """The same run shows the same ones; another seed or another user sees others."""
    draws = [shown(Random(CATALOG), 8, seed=seed, user=user) for seed, user in CASES]
    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) == 3


CASES = [(0, 0), (0, 0), (1, 0), (0, 1)]


def test_random_items_do_not_repeat_until_all_were_shown() -> None:
    assert sorted(shown(Random(CATALOG), len(EVERYTHING))) == list(EVERYTHING)


def test_with_repeats_random_items_come_again() -> None:
    assert len(set(shown(Random(CATALOG), 30, no_repeats=False))) < 30


def test_every_random_item_is_as_likely_as_any_other() -> None:
    draws = [
        Random(CATALOG).choose(trajectory(), (), chance(seed, 0, 0, 0, "policy"))
        for seed in range(4_000)
    ]
    counts = [draws.count(item) for item in EVERYTHING]
    assert counts == pytest.approx([500] * len(EVERYTHING), abs=80)


# -- the bound


def greedy(window: int = 1) -> DiverseGreedy:
    return DiverseGreedy(CATALOG, Tastes(window))


def test_the_bound_takes_the_best_item_that_is_far_from_the_last() -> None:
    """Not Go Master after Chess Duel: both are puzzles, and the user would leave."""
    assert shown(greedy(), 4) == [CHESS, RACER, GO, PILOT]


def test_the_bound_knows_the_window() -> None:
    """Without one nothing bores; a long one keeps puzzles away for long."""
    assert shown(greedy(0), 4) == [CHESS, GO, RACER, PILOT]
    assert shown(greedy(4), 4) == [CHESS, RACER, PILOT, HOUSE]


def test_the_bound_knows_the_user() -> None:
    assert shown(greedy(), 1, user=1) == [SAGA]


def test_with_repeats_the_bound_takes_the_best_as_often_as_it_may() -> None:
    assert shown(greedy(), 4, no_repeats=False) == [CHESS, RACER, CHESS, RACER]


def test_where_everything_is_near_the_bound_takes_the_best() -> None:
    """The user will leave; at least content."""
    so_far = trajectory((CHESS, 5.0))
    all_but_go = frozenset(EVERYTHING) - {GO}
    stream = chance(0, 0, 0, 0, "policy")
    assert greedy().choose(so_far, all_but_go, stream) == GO


@pytest.mark.parametrize("choice", [Random(CATALOG), Popular(CATALOG), greedy()])
@pytest.mark.parametrize("left", [{CHESS}, {SAGA, FARM}])
def test_no_choice_falls_on_what_was_shown(choice: Choice, left: Collection[int]) -> None:
    others = frozenset(EVERYTHING) - frozenset(left)
    chosen = choice.choose(trajectory(), others, chance(0, 0, 0, 0, "policy"))
    assert chosen in left


# -- by name


def no_ratings() -> Ratings:
    nothing = np.zeros(0, np.int64)
    return Ratings(nothing, nothing, np.zeros(0), (1, len(CATALOG)))


def by_name(name: str, repeats: Repeats = "forbid") -> Sequence[int]:
    world = World(CATALOG, BillpSettings(), no_ratings, Tastes(), repeats)
    subscriptions = AGENTS.named(name).make(world)
    ((kind, handler),) = subscriptions
    assert kind is PlanRequested
    told = Visit(rewards=[3.0] * 4).run((PlanRequested, handler))
    return [action.item for action in told.only(ActionTaken)]


@pytest.mark.parametrize(
    ("name", "items"),
    [("popular", BY_POPULARITY[:4]), ("diverse-greedy", [CHESS, RACER, GO, PILOT])],
)
def test_policies_are_known_by_name(name: str, items: list[int]) -> None:
    assert by_name(name) == items


@pytest.mark.parametrize("name", ["random", "popular", "diverse-greedy"])
@pytest.mark.parametrize("repeats", ["forbid", "avoid"])
def test_policies_repeat_nothing_unless_it_is_allowed(name: str, repeats: Repeats) -> None:
    """Avoiding is the same as forbidding for who decides by himself."""
    items = by_name(name, repeats)
    assert len(set(items)) == len(items) == 4


def test_policies_repeat_if_it_is_allowed() -> None:
    assert by_name("popular", "allow") == [GO] * 4
    assert by_name("diverse-greedy", "allow") == [CHESS, RACER, CHESS, RACER]


def test_an_unknown_agent_is_named_with_the_nearest() -> None:
    assert set(AGENTS) >= {"billp", "random", "popular", "diverse-greedy"}
    with pytest.raises(ConfigError, match="there is no agent 'bilp'") as caught:
        AGENTS.named("bilp")
    assert caught.value.hint == "did you mean billp?"
