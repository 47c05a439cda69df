"""Blocks of a run lose no episode, and are few."""

from collections.abc import Sequence
from math import fsum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.messages import (
    ActionTaken,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    UserResponded,
)
from sim.analysis.ledger import Ledger
from sim.analysis.trend import MOST, OTHERS, TraceTrend, Trend
from sim.config.layers import configured
from sim.runs.run import run
from tests.support.small import SMALL, synthetic

REWARDS = st.lists(st.floats(0, 50, allow_subnormal=False), min_size=1, max_size=300)


def heard(rewards: Sequence[float | None], categories: Sequence[str] = ("a",)) -> Trend:
    """Return the trend of episodes of one step each; None is one that failed."""
    trend = Trend(lambda _: categories)
    for reward in rewards:
        trend.hear(EpisodeStarted(user=0, session=0, arrival=0, history=(), memories=()))
        trend.hear(
            ActionTaken(step=0, item=0, title="t", words="", grounding="exact", distance=0.0)
        )
        trend.hear(UserResponded(step=0, reward=reward or 0.0, left=True, reason="bored"))
        if reward is None:
            trend.hear(EpisodeFailed(why="so"))
        else:
            trend.hear(EpisodeEnded(length=1, reward=reward, reason="quit"))
    trend.finish()
    return trend


@given(rewards=REWARDS)
def test_every_episode_is_in_one_block(rewards: list[float]) -> None:
    points = heard(rewards).points()
    assert 1 <= len(points) <= MOST
    assert sum(point.episodes for point in points) == len(rewards)
    assert [point.first for point in points[1:]] == [point.last + 1 for point in points[:-1]]
    total = fsum((point.mean or 0.0) * point.episodes for point in points)
    assert total == pytest.approx(fsum(rewards), rel=1e-4, abs=1e-3)


@given(rewards=REWARDS)
def test_a_mean_lies_in_its_band(rewards: list[float]) -> None:
    for point in heard(rewards).points():
        assert (point.low is None) == (point.episodes < 2)
        if point.low is not None and point.high is not None and point.mean is not None:
            assert point.low - 1e-6 <= point.mean <= point.high + 1e-6


def test_what_failed_is_counted_and_no_reward() -> None:
    points = heard([3.0, None, 5.0]).points()
    assert [point.failed for point in points] == [0, 1, 0]
    assert points[1].mean is None
    assert points[1].reasons == points[1].categories == {}


def test_reasons_are_those_of_the_rule() -> None:
    assert heard([1.0]).points()[0].reasons == {"bored": 1}


def test_few_categories_have_a_name() -> None:
    names = [f"c{number:02}" for number in range(20)]
    told = heard([1.0], names).points()[0].categories
    assert [*told] == [*names[:7], OTHERS]
    assert sum(told.values()) == 20


def test_a_trace_that_grows_is_read_once(tmp_path: Path) -> None:
    run(configured(SMALL), out=tmp_path / "run")
    whole = (tmp_path / "run" / "trace.jsonl").read_bytes()
    path = tmp_path / "trace.jsonl"
    ledger, names = Ledger(path), synthetic().catalog.categories
    growing = TraceTrend(Trend(lambda item: names[item]))
    for size in (0, len(whole) // 3, len(whole) // 2, len(whole)):
        path.write_bytes(whole[:size])
        ledger.refresh()
        points = growing.refresh(ledger)
    again = TraceTrend(Trend(lambda item: names[item])).refresh(ledger)
    assert points == again
    assert sum(point.episodes for point in points) == SMALL["episodes"]
