"""What came of each visit of a run, read from its trace."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import msgspec

from engine.messages import (
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    RunStarted,
)
from sim.recorded_run import check_head
from storage.runs import open_run
from storage.traces import decode_line, read_lines

Who: TypeAlias = tuple[int, int]
"""(user, session)"""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a visit: its length and the sum of its rewards."""

    length: int
    reward: float


Tests: TypeAlias = dict[int, dict[Who, Outcome]]
"""The visits of each test, by the number of training episodes before it."""


@dataclass(frozen=True)
class RunOutcomes:
    """A run's head, where it is, its visits that ended, and how many failed.

    *training* are visits of training users, *tests* those of test users.
    """

    path: Path
    head: RunStarted
    training: dict[Who, Outcome]
    tests: Tests
    failed: int

    @property
    def judged(self) -> dict[Who, Outcome]:
        """The visits by which the run is judged: the last test, or all if there is none."""
        return self.tests[max(self.tests)] if self.tests else self.training


def read_outcomes(run: Path | str) -> RunOutcomes:
    """Return what came of the run in directory *run*; raises RunDirectoryError or TraceError."""
    directory = open_run(Path(run))
    head = check_head(directory.trace)
    ended = list(_visits(directory.trace))
    tests: Tests = {}
    for visit in ended:
        if visit.started.phase == "test" and visit.outcome is not None:
            tests.setdefault(visit.trained, {})[visit.who] = visit.outcome
    training = {
        visit.who: visit.outcome
        for visit in ended
        if visit.started.phase == "train" and visit.outcome is not None
    }
    failed = sum(visit.outcome is None for visit in ended)
    return RunOutcomes(directory.path, head, training, tests, failed)


def outcomes(trace: Path) -> dict[Who, Outcome]:
    """Return what came of each visit that ended and did not fail."""
    return {v.who: v.outcome for v in _visits(trace) if v.outcome is not None}


@dataclass(frozen=True)
class _Visit:
    """A visit that came to its end; *trained* training episodes had started before it."""

    started: EpisodeStarted
    trained: int
    outcome: Outcome | None

    @property
    def who(self) -> Who:
        return self.started.user, self.started.session


def _visits(trace: Path) -> Iterator[_Visit]:
    visit: _Visit | None = None
    trained = 0
    for number, line in read_lines(trace):
        if b'"message":{"type":"Episode' not in line[:120]:
            continue
        match decode_line(trace, number, line).message:
            case EpisodeStarted() as started:
                if visit is not None:
                    yield visit
                trained += started.phase == "train"
                visit = _Visit(started, trained, None)
            case EpisodeEnded() as ended if visit is not None:
                visit = replace(visit, outcome=Outcome(length=ended.length, reward=ended.reward))
            case EpisodeFailed() if visit is not None:
                visit = replace(visit, outcome=None)
    if visit is not None:
        yield visit
