"""Worlds are judged by what policies get in them; a crowd is as the users of a run."""

from pathlib import Path

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.messages import EpisodeEnded, EpisodeStarted
from sim.config.layers import configured
from sim.config.run import Settings
from sim.experiments.crowd import Crowd, Visits, play
from sim.experiments.worlds import Judgement, judge
from storage.datasets import SYNTHETIC, open_environment
from storage.datasets.synthetic import PLAIN, build_synthetic
from tests.support.small import PAPER, only, recorded, trace_of

SMALL = build_synthetic(seed=2, users=30, items=200, categories=8)
OURS = {"quit_rule": "quantile", "rewards": {"satiation": [0.0, 0.6]}}


def length(visits: Visits, user: int) -> int:
    return min(len(visits.met), 1 + sum(bool(stays[user]) for stays in visits.stayed))


@pytest.mark.parametrize("rules", [PAPER, OURS, {**OURS, "quit": {"quantile": 0.5, "window": 9}}])
def test_a_crowd_is_as_the_users_of_a_run(tmp_path: Path, rules: Settings) -> None:
    """The bound gets as much of each of them, as far as rounding goes, in as many steps."""
    settings = {**rules, "users": "all", "episodes": 30, "arrivals": "all", "limit": 30}
    run = recorded(tmp_path / "run", environment=SMALL, agent="diverse-greedy", **settings)
    trace = trace_of(run)
    users = [started.user for started in only(trace, EpisodeStarted)]
    visits = play(
        Crowd(SMALL, configured(settings), users), lambda visits: visits.best(visits.rewards())
    )
    ended = only(trace, EpisodeEnded)
    assert [length(visits, user) for user in range(30)] == [one.length for one in ended]
    totals = np.sum(visits.given, axis=0)
    assert totals == pytest.approx([one.reward for one in ended], rel=1e-3)


@pytest.fixture(scope="module")
def personal() -> Judgement:
    return judge(open_environment(SYNTHETIC), configured())


def test_the_default_world_rewards_knowing_its_users(personal: Judgement) -> None:
    """By the default rules every bar is met: chance and one sequence get little, readers much."""
    assert [met for _, _, met in personal.bars] == [True] * 4
    assert personal.random < 0.05
    assert personal.best_sequence < 0.1
    assert 0.45 < personal.best_fixed < personal.reader < personal.ideal
    assert personal.ideal > 0.95


def test_the_plain_world_rewards_one_sequence() -> None:
    """By the paper's rules; which is why it is not the default."""
    plain = judge(build_synthetic(users=100, items=1_000, world=PLAIN), configured(PAPER))
    assert plain.best_fixed > 0.7
    assert not all(met for _, _, met in plain.bars)


@pytest.mark.parametrize(
    "rules",
    [
        {"quit_rule": "category"},
        {"rewards": {"drift": 0.1}},
        {"quit_rule": "quantile", "quit": {"tolerance": [0.5, 1]}},
    ],
)
def test_what_cannot_be_judged_is_said(rules: Settings) -> None:
    with pytest.raises(ConfigError, match="judged by the quit rules billp and quantile"):
        judge(SMALL, configured(rules))
