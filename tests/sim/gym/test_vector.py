"""Many visits as one environment of Gymnasium, each as it is alone."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from engine.errors import ConfigError
from sim.gym import Recommend, RecommendVector
from sim.gym.seen import Observation
from tests.sim.gym.played import LIMIT, OURS, PLAIN, SMALL

RULES = {**OURS, "limit": LIMIT}


def test_gymnasium_makes_many() -> None:
    """With all that its spaces promise."""
    envs = gymnasium.make_vec("sim.gym:billp/Recommend-v0", num_envs=3, environment=SMALL)
    assert isinstance(envs.unwrapped, RecommendVector)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    assert envs.reset(seed=0)[0] in envs.observation_space
    assert envs.step(envs.action_space.sample())[0] in envs.observation_space


def plain(observation: Observation) -> dict[str, list[float]]:
    return {name: array.tolist() for name, array in observation.items()}


def who(info: dict[str, Any], place: int) -> dict[str, Any]:
    return {"user": info["user"][place], "session": info["session"][place]}


def row(observation: Observation, place: int) -> dict[str, list[float]]:
    return {name: array[place].tolist() for name, array in observation.items()}


def test_each_visit_goes_as_it_does_alone() -> None:
    """Also those that begin in the place of others."""
    many, alone = RecommendVector(8, SMALL, RULES), [Recommend(SMALL, RULES) for _ in range(8)]
    many.action_space.seed(0)
    _, info = many.reset(seed=4)
    for place, env in enumerate(alone):
        env.reset(options=who(info, place))
    over = np.zeros(8, np.bool_)
    for _ in range(30):
        items = many.action_space.sample(tuple(info["action_mask"]))
        seen, rewards, left, cut, info = many.step(items)
        for place, env in enumerate(alone):
            if over[place]:
                own, *came = *env.reset(options=who(info, place))[:1], 0.0, False, False
            else:
                own, *came = env.step(items[place])[:4]
            assert plain(own) == row(seen, place)
            assert came == [rewards[place], left[place], cut[place]]
        over = np.logical_or(left, cut)


def test_a_visit_that_is_over_begins_anew_at_the_next_step() -> None:
    """Which does not see the action, and gives no reward."""
    envs = RecommendVector(2, SMALL, {**PLAIN, "quit": {"lowest": 6.0}})
    envs.reset(seed=0)
    seen, _, left, _, _ = envs.step(np.array([1, 2]))
    assert (left.tolist(), seen["step"].tolist()) == ([True, True], [[1], [1]])
    seen, rewards, left, truncated, _ = envs.step(np.array([1, 2]))
    assert (seen["step"].tolist(), rewards.tolist()) == ([[0], [0]], [0.0, 0.0])
    assert not np.concatenate([left, truncated]).any()


def test_a_seed_draws_all_visits() -> None:
    envs = RecommendVector(50, SMALL)
    first, again, other = (envs.reset(seed=seed)[1]["user"].tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert set(first) <= set(SMALL.train_users.tolist())


def test_visitors_may_be_named() -> None:
    envs = RecommendVector(2, SMALL)
    _, info = envs.reset(options={"users": [3, 4], "sessions": [7, 8]})
    assert (info["user"].tolist(), info["session"].tolist()) == ([3, 4], [7, 8])
    assert envs.reset(options={"users": [3, 4]})[1]["session"].tolist() == [0, 0]
    for options, what in (({"users": [3]}, "users: expected 2"), ({"user": 3}, "got 'user'")):
        with pytest.raises(ConfigError, match=what):
            envs.reset(options=options)
