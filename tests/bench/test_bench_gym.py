"""How fast the world goes for learners: `pytest tests/bench/test_bench_gym.py -s`.

In steps a second of one process (its own time), beside those of a run of the agent `random`, which
are sent as messages and written to a trace.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from sim.config.layers import configured
from sim.config.run import Settings
from sim.gym import Crowd
from sim.runs.run import run
from storage.datasets import BUILT_IN, open_environment

PLAIN: Settings = {"quit_rule": "billp", "rewards": {"satiation": [0.0, 0.0]}}
OURS: Settings = {"quit_rule": "quantile", "rewards": {"satiation": [0.0, 0.6]}}
TO_THE_LIMIT: Settings = {**OURS, "quit": {"quantile": 0.0, "window": 0}}
RULES = {"billp": PLAIN, "quantile and satiation": OURS, "to the limit": TO_THE_LIMIT}

USERS, STEPS = 1_000, 20_000
ITEMS = np.random.default_rng(0).permuted(np.tile(np.arange(2_000), (USERS, 1)), axis=1)[:, :51]


def rate(play: Callable[[], int]) -> float:
    """Return the steps a second of *play*, which returns how many it took; the best of three."""
    found = []
    for _ in range(3):
        start = time.process_time()
        steps = play()
        found.append(steps / (time.process_time() - start))
    return max(found)


def engine(world: str, rules: Settings, out: Path) -> float:
    """Return the steps a second of a run."""
    config = configured({"environment": world, "agent": "random", "fsync": "none", **rules})
    start = time.process_time()
    steps = run(config, out=out).all_steps
    return steps / (time.process_time() - start)


def alone(world: str, rules: Settings) -> float:
    """Return the steps a second of the environment, with the wrappers that `make` puts on it."""
    env = gymnasium.make("sim.gym:billp/Recommend-v0", environment=world, config=rules)
    rows = ITEMS.tolist()

    def play() -> int:
        visit, step, over = 0, 0, True
        for _ in range(STEPS):
            if over:
                env.reset()
                visit, step = visit + 1, 0
            _, _, terminated, truncated, _ = env.step(rows[visit % USERS][step])
            step, over = step + 1, terminated or truncated
        return STEPS

    return rate(play)


def together(world: str, rules: Settings) -> float:
    """Return the steps a second of a crowd in which who leaves makes room for another."""
    environment = open_environment(world)
    crowd, users = Crowd(environment, configured(rules)), environment.train_users
    draw = np.random.default_rng(0)

    def play() -> int:
        crowd.begin(draw.choice(users, USERS))
        for _ in range(100):
            crowd.step(ITEMS[np.arange(USERS), crowd.steps])
            over = crowd.over.copy()
            crowd.restart(over, draw.choice(users, int(over.sum())))
        return 100 * USERS

    return rate(play)


def vector(world: str, rules: Settings) -> float:
    """Return the steps a second of the vector environment: with observations and masks."""
    name = "sim.gym:billp/Recommend-v0"
    envs = gymnasium.make_vec(name, num_envs=USERS, environment=world, config=rules)

    def play() -> int:
        seen, _ = envs.reset(seed=0)
        for _ in range(100):
            seen = envs.step(ITEMS[np.arange(USERS), seen["step"][:, 0]])[0]
        return 100 * USERS

    return rate(play)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("world", BUILT_IN)
def test_bench_steps(tmp_path: Path, world: str, rules: str) -> None:
    """Alone half as fast again as in a run, a thousand together eight times as fast as that."""
    config = RULES[rules]
    ran, one = engine(world, config, tmp_path / "run"), alone(world, config)
    many, envs = together(world, config), vector(world, config)
    sys.stdout.write(
        f"\n{world}, {rules}: run {ran:,.0f} steps/s; one visit {one:,.0f} (bar 20,000);"
        f" a crowd of 1,000 {many:,.0f} (bar 500,000), as vector environment {envs:,.0f}\n"
    )
    assert one > 1.5 * ran
    assert min(many, envs) > 8 * one
