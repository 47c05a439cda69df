"""Stable-Baselines3 takes the environment as it is."""

from importlib import import_module
from importlib.util import find_spec

import gymnasium
import pytest
from gymnasium.wrappers import FlattenObservation

from sim.config.run import Settings
from tests.sim.gym.played import OURS, PLAIN, SMALL

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("stable_baselines3") is None,
        reason="stable-baselines3 is not there: pip install -e '.[learn]'",
    ),
]


@pytest.mark.parametrize("rules", [PLAIN, OURS, {**PLAIN, "quit_rule": "hazard"}])
def test_the_checker_of_stable_baselines_is_content(rules: Settings) -> None:
    """Of observations by name, and flat; warnings of it are errors here.

    It knows no masks: what it takes twice is to end a visit.
    """
    check_env = import_module("stable_baselines3.common.env_checker").check_env
    name = "sim.gym:billp/Recommend-v0"
    env = gymnasium.make(name, environment=SMALL, config=rules, invalid="ends")
    check_env(env)
    check_env(FlattenObservation(env))
