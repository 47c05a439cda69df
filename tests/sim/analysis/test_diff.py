"""`sim.analysis.diff`: two runs side by side, by hand-made traces that differ in one thing each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import msgspec
import pytest

from engine.errors import RunDirectoryError, TraceError
from engine.messages import (
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    Message,
    RunEnded,
    RunStarted,
    Setting,
    UserResponded,
)
from sim.analysis.diff import RunDiff, VisitDiff, diff
from sim.analysis.outcomes import Outcome
from sim.runs.divergence import NO_LINE
from sim.runs.fork import fork
from storage.runs import RunDirectory
from tests.support.small import only, recorded, synthetic, trace_of


@dataclass(frozen=True)
class Stay:
    """A visit by hand: whose, and the rewards."""

    user: int
    rewards: Sequence[float]
    session: int = 0
    fails: bool = False

    def messages(self) -> list[Message]:
        opening = EpisodeStarted(
            user=self.user, session=self.session, arrival=0, history=(), memories=()
        )
        steps = [
            UserResponded(step=step, reward=reward, left=False)
            for step, reward in enumerate(self.rewards)
        ]
        end = EpisodeEnded(length=len(steps), reward=sum(self.rewards), reason="limit")
        return [opening, *steps, end, *([EpisodeFailed(why="late")] if self.fails else [])]


@dataclass(frozen=True)
class Maker:
    """Makes runs by hand in a directory."""

    path: Path

    def run(
        self, *stays: Stay, settings: Sequence[tuple[str, Setting]] = (), **head: Any
    ) -> RunDirectory:
        named = {"agent": "billp", "model": "m", "environment": "e", "seed": 0, **head}
        start = RunStarted(schema=1, settings=tuple(settings), **named)
        lines = [_line(None, 0, None, start)]
        for episode, stay in enumerate(stays):
            for n, message in enumerate(stay.messages()):
                lines.append(_line(episode, n, n - 1 if n else None, message))
        lines.append(_line(None, 1, 0, RunEnded(episodes=len(stays), failed=0)))
        run = RunDirectory(self.path / str(len(list(self.path.iterdir()))))
        run.path.mkdir()
        run.write_config({})
        run.trace.write_bytes(b"".join(lines))
        return run


def _line(episode: int | None, n: int, cause: int | None, message: Message) -> bytes:
    envelope = Envelope(episode=episode, n=n, cause=cause, time=0, message=message)
    return msgspec.json.encode(envelope) + b"\n"


def compared(one: RunDirectory, other: RunDirectory) -> RunDiff:
    return diff(one.path, other.path)


@pytest.fixture
def made(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def test_equal_runs_do_not_part(made: Maker) -> None:
    stays = (Stay(3, [4.0, 2.5]), Stay(1, [3.0]))
    found = compared(made.run(*stays), made.run(*stays))
    assert (found.settings, found.first, found.changed) == ({}, None, [])
    assert [visit.user for visit in found.visits] == [1, 3]


def test_where_they_part(made: Maker) -> None:
    """The line, the place, the field, both values, and what led there."""
    one = made.run(Stay(1, [3.0]), Stay(3, [4.0, 2.5, 3.0]))
    first = compared(one, made.run(Stay(1, [3.0]), Stay(3, [4.0, 2.0, 1.0]))).first
    assert first is not None
    assert (first.number, first.episode, first.n, first.message) == (7, 1, 2, "UserResponded")
    assert (first.field, first.recorded, first.got) == ("reward", 2.5, 2.0)
    assert [line.n for line in first.chain] == [1, 0]
    assert first.sentence == "episode 1, n 2, UserResponded.reward: recorded 2.5, got 2.0"


def test_what_came_of_each_user(made: Maker) -> None:
    """Len and R_traj of each visit in both, in order of user and session."""
    one = made.run(Stay(3, [4.0, 2.5]), Stay(1, [3.0]))
    other = made.run(Stay(3, [4.0, 2.5, 1.0]), Stay(1, [3.0]))
    same = Outcome(length=1, reward=3.0)
    longer = (Outcome(length=2, reward=6.5), Outcome(length=3, reward=7.5))
    changed = VisitDiff(user=3, session=0, one=longer[0], other=longer[1])
    found = compared(one, other)
    assert list(found.visits) == [VisitDiff(user=1, session=0, one=same, other=same), changed]
    assert found.changed == [changed]


def test_means_are_of_the_visits_in_both(made: Maker) -> None:
    """By how much Len and R_traj are greater in the other run, unchanged visits counted."""
    one = made.run(Stay(1, [3.0]), Stay(2, [4.0, 4.0]), Stay(8, [1.0] * 9))
    other = made.run(Stay(1, [3.0]), Stay(2, [4.0, 4.0, 1.0]), Stay(9, [5.0] * 9))
    assert compared(one, other).means() == (0.5, 0.5)
    assert compared(other, one).means() == (-0.5, -0.5)


def test_means_of_nothing_are_nought(made: Maker) -> None:
    assert compared(made.run(Stay(1, [3.0])), made.run(Stay(2, [3.0]))).means() == (0.0, 0.0)


def test_visits_are_matched_by_user_and_session(made: Maker) -> None:
    """Whatever their numbers: users may come in another order, and again."""
    one = made.run(Stay(1, [3.0]), Stay(2, [4.0]), Stay(1, [2.0], session=1))
    other = made.run(Stay(2, [4.0]), Stay(1, [3.0]), Stay(1, [1.0], session=1))
    (changed,) = compared(one, other).changed
    assert (changed.user, changed.session) == (1, 1)


def test_settings_that_differ(made: Maker) -> None:
    """By name, with both values; None where a run is older than a setting."""
    one = made.run(settings=[("quit.window", 4), ("limit", 50)], model="embedded")
    other = made.run(settings=[("quit.window", 2), ("limit", 50), ("dwell", "5,6")], seed=7)
    assert compared(one, other).settings == {
        "model": ("embedded", "m"),
        "seed": (0, 7),
        "quit.window": (4, 2),
        "dwell": (None, "5,6"),
    }


def test_a_run_that_goes_on_longer(made: Maker) -> None:
    """They part where one has no more lines; who is in one only has no second outcome."""
    one = made.run(Stay(1, [3.0]))
    one.trace.write_bytes(b"".join(one.trace.read_bytes().splitlines(keepends=True)[:-1]))
    other = made.run(Stay(1, [3.0]), Stay(2, [4.0]))
    found = compared(one, other)
    assert found.first is not None
    assert (found.first.number, found.first.recorded) == (5, NO_LINE)
    (changed,) = found.changed
    assert (changed.one, changed.other) == (None, Outcome(length=1, reward=4.0))


def test_a_visit_that_failed_has_no_outcome(made: Maker) -> None:
    """Also where it failed after its end: metrics do not count it either."""
    one, other = made.run(Stay(1, [3.0])), made.run(Stay(1, [3.0], fails=True))
    (changed,) = compared(one, other).changed
    assert (changed.one, changed.other) == (Outcome(length=1, reward=3.0), None)


def test_a_fork_differs_as_its_trace_does(tmp_path: Path) -> None:
    """Of recorded runs, too: the settings, the step of the fork at the earliest, the outcomes."""
    parent = recorded(tmp_path / "parent")
    change = {"rewards": {"offset": 0.5}}
    fork(parent.path, (3, 1), settings=[change], out=tmp_path / "fork", environment=synthetic())
    child = RunDirectory(tmp_path / "fork")
    found = compared(parent, child)
    assert found.settings == {"rewards.offset": (0.0, 0.5)}
    assert found.first is not None
    assert (found.first.episode, found.first.field) == (3, "reward")
    lengths = [ended.length for ended in only(trace_of(child), EpisodeEnded)]
    assert sum(visit.other.length for visit in found.visits if visit.other) == sum(lengths)


def test_a_fork_without_a_change_does_not_part(tmp_path: Path) -> None:
    """It has another head, but nothing came out differently."""
    parent = recorded(tmp_path / "parent")
    fork(parent.path, (3, 1), out=tmp_path / "fork", environment=synthetic())
    found = diff(parent.path, tmp_path / "fork")
    assert (found.settings, found.first, found.changed) == ({}, None, [])


def test_what_is_no_run(made: Maker, tmp_path: Path) -> None:
    """A directory without run.toml, and a run without a line."""
    run = made.run()
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        diff(run.path, tmp_path)
    empty = RunDirectory(Path(copytree(run.path, tmp_path / "empty")))
    empty.trace.write_bytes(b"")
    with pytest.raises(TraceError, match=r"trace\.jsonl: the trace is empty"):
        diff(run.path, empty.path)
