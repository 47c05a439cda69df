"""What learners see, what they are given to learn from, and how they are judged: without torch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.policies.learned.saved import read_policy
from sim.config.layers import configured
from sim.gym.crowd import Crowd
from sim.runs.run import run
from sim.training.evaluation import evaluate
from sim.training.logged import at_random, log
from sim.training.plan import world_of
from sim.training.sight import Sight, sight
from tests.sim.gym.played import OURS, SMALL
from tests.support.policies import WINDOW, policy

LIMIT = 12
HOW = {"limit": LIMIT, "quit_rule": "billp", "rewards": {"satiation": [0.0, 0.0]}}
CONFIG = world_of(HOW)


def seen(*, told: bool = False) -> Sight:
    return sight(SMALL, history=10, limit=LIMIT, window=WINDOW, told=told)


def test_a_row_tells_all_that_happened() -> None:
    """The user, the step, the last items and rewards newest first, and everything shown."""
    crowd, users = Crowd(SMALL, CONFIG), SMALL.train_users[:2]
    crowd.begin(users)
    first = crowd.step(np.array([3, 4])).rewards
    second = crowd.step(np.array([9, 8])).rewards
    one = seen().rows(crowd)[0]
    assert one[:6].tolist() == [users[0], crowd.steps[0], *([9, 3, -1, -1])]
    assert one[6:10].tolist() == pytest.approx([second[0], first[0], 0, 0])
    assert sorted(one[10:].tolist()) == [*[-1] * (LIMIT - 2), 3, 9]


def test_rows_are_seen_as_an_agent_sees_its_visit() -> None:
    """Users by their vectors, nearness to each of the last items."""
    crowd, sees = Crowd(SMALL, CONFIG), seen(told=True)
    crowd.begin(SMALL.train_users[:1])
    crowd.step(np.array([3]))
    found = sees.seen(sees.rows(crowd))
    near = SMALL.factors.near(3, np.arange(200))
    assert found.near is not None
    assert found.near[0].tolist() == near.tolist()
    assert found.users[0].tolist() == sees.vectors[SMALL.train_users[0]].tolist()
    assert found.items.tolist() == [[3, -1, -1, -1]]


def test_a_log_is_of_whole_episodes_of_training_users() -> None:
    """As many as were asked for, each to its end; nothing comes twice in one."""
    users = SMALL.train_users
    steps = log(Crowd(SMALL, CONFIG), seen(), users, episodes=40, seed=1)
    ends = steps.left | steps.truncated
    assert ends.sum() == (steps.rows[:, 1] == 0).sum() == 40
    assert {*steps.rows[:, 0].astype(int).tolist()} <= {*users.tolist()}
    for row, item in zip(steps.rows, steps.items, strict=True):
        assert item not in row[10:]


def test_a_log_is_drawn_from_its_seed() -> None:
    logs = [
        log(Crowd(SMALL, CONFIG), seen(), SMALL.train_users, episodes=9, seed=seed)
        for seed in (1, 1, 2)
    ]
    items = [one.items.tolist() for one in logs]
    assert items[0] == items[1] != items[2]


def test_chance_takes_what_was_not_shown() -> None:
    """Where one item is left, that one; over many draws, each of what is left."""
    shown = np.ones((300, 4), np.bool_)
    shown[:, 1] = False
    assert {*at_random(shown, "one").tolist()} == {1}
    shown[:, 3] = False
    assert {*at_random(shown, "two").tolist()} == {1, 3}


@pytest.mark.parametrize("rules", [{}, OURS, {"quit_rule": "hazard", "quit": {"rate": 0.1}}])
def test_a_policy_is_judged_by_what_a_run_gets(rules: dict[str, Any], tmp_path: Path) -> None:
    """The same users, the same items, the same rewards: the mean is that of a run."""
    path = policy(tmp_path / "policy", SMALL, told=True, limit=LIMIT)
    config = world_of(HOW | rules)
    users = SMALL.test_users
    crowd = Crowd(SMALL, config, users.tolist())
    found = evaluate(read_policy(path), crowd, seen(told=True), users)
    how = {"agent": f"rl:{path}", "users": "test", "episodes": len(users), "arrivals": "all"}
    summary = run(configured(HOW, rules, how), out=tmp_path / "run", environment=SMALL)
    assert found.r_traj == pytest.approx(summary.metrics.r_traj, rel=1e-5)
    assert found.len == pytest.approx(summary.metrics.len, rel=1e-5)
