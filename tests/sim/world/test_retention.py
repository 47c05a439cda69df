"""Who comes back, and when, by how the last visit went."""

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from engine.messages import EpisodeEnded, EpisodeFailed, EpisodeStarted
from sim import replay
from sim.verification.verify import verify
from sim.world.retention import RetentionSettings, coming_back
from storage.datasets import FORMATS, Columns, build_environment
from storage.runs import RunDirectory
from tests.support.small import Trace, only, recorded, trace_of

HOW: dict[str, Any] = {"agent": "random", "arrivals": "poisson:0.05", "sessions": 3, "episodes": 20}


def after(reward: float, length: int, **how: Any) -> tuple[float, float]:
    ended = EpisodeEnded(length=length, reward=reward, reason="quit")
    return coming_back(RetentionSettings(**how, steps=4), 1.0, 5.0)(ended)


def test_as_a_rule_everybody_comes_back() -> None:
    assert after(1.0, 1) == after(20.0, 4) == (1.0, 1.0)


def test_the_best_and_the_worst_of_visits() -> None:
    """Four steps with the highest reward are the best; more are no better, and the lowest worst."""
    how = {"chance": 0.8, "loss": 0.5, "delay": 3.0}
    assert after(20.0, 4, **how) == after(25.0, 5, **how) == (0.8, 1.0)
    assert after(1.0, 1, **how) == after(4.0, 4, **how) == (0.4, 4.0)
    assert after(12.0, 4, **how) == pytest.approx((0.6, 2.5))


def test_a_world_of_one_rating_misses_nothing(tmp_path: Path) -> None:
    """Its scale has no width: whoever comes back does, and dwells as on the best."""
    rows = (f"u{user},i{item},4\n" for user in range(12) for item in range(20) if (user + item) % 3)
    source = tmp_path / "ratings.csv"
    source.write_text("user,item,rating\n" + "".join(rows))
    recipe, columns = FORMATS.named("csv").recipe, Columns(rating="rating")
    world = build_environment("csv", source, recipe, name="one", columns=columns)
    how = {**HOW, "limit": 4, "episodes": 3, "dwell_by_reward": 1.0, "retention": {"loss": 1.0}}
    run = recorded(tmp_path / "run", environment=world, **how)
    assert told(run)["return_rate"] == 1.0
    assert not only(trace_of(run), EpisodeFailed)


def told(run: RunDirectory) -> dict[str, float]:
    retention: dict[str, float] = run.read_summary()["retention"]
    return retention


def by_hand(trace: Trace) -> tuple[float, float]:
    """Return the share of visits with another one, and the days between: of 3 sessions each."""
    ends, gaps, could = dict[tuple[int, int], int](), [], 0
    for envelope in trace:
        match envelope.message:
            case EpisodeStarted(user=user, session=session, arrival=arrival):
                could += session < 2
                visit = user, session
                if session:
                    gaps.append((arrival - ends[user, session - 1]) / 86_400_000)
            case EpisodeEnded():
                ends[visit] = envelope.time
    return len(gaps) / could, fmean(gaps)


def test_a_run_tells_how_users_came_back(tmp_path: Path) -> None:
    """All of them, at the defaults; its replay agrees, and the summary is what its trace says."""
    run = recorded(tmp_path / "run", **HOW)
    assert (told(run)["users"], told(run)["return_rate"]) == (20, 1.0)
    assert told(run)["days_between"] == pytest.approx(90_000 / 86_400, rel=0.3)
    assert len(only(trace_of(run), EpisodeStarted)) == 60
    assert {check.fault for check in verify(run.path)} == {""}


def test_bad_visits_keep_users_away(tmp_path: Path) -> None:
    """Fewer come back, later; the same whatever the concurrency."""
    away = {"chance": 0.9, "loss": 0.5, "delay": 4}
    run = recorded(tmp_path / "run", **HOW, retention=away)
    alone = recorded(tmp_path / "alone", **HOW, retention=away, concurrency=1, running=1)
    assert alone.trace.read_bytes() == run.trace.read_bytes()
    assert by_hand(trace_of(run)) == pytest.approx(
        (told(run)["return_rate"], told(run)["days_between"]), rel=1e-4
    )
    usual = recorded(tmp_path / "usual", **HOW)
    assert 0.2 < told(run)["return_rate"] < 0.9
    assert told(run)["days_between"] > 2 * told(usual)["days_between"]
    assert told(run)["lifetime_reward"] < told(usual)["lifetime_reward"]
    assert replay(run.path).agrees
    assert {check.fault for check in verify(run.path)} == {""}


def test_nobody_may_come_back(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", **HOW, retention={"chance": 0})
    assert told(run)["return_rate"] == told(run)["days_between"] == 0
    assert len(only(trace_of(run), EpisodeStarted)) == 20


def test_users_with_one_session_have_no_retention(tmp_path: Path) -> None:
    assert "retention" not in recorded(tmp_path / "run", agent="random").read_summary()
