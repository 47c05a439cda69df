"""What came of each visit of a run, read from its trace, and of each user, as tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from os import PathLike
from pathlib import Path
from statistics import fmean
from typing import Literal, TypeAlias, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.messages import (
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    RunStarted,
    UserResponded,
)
from sim.runs.recorded import check_head
from storage.runs import open_run
from storage.traces import read_episodes

Who: TypeAlias = tuple[int, int]
"""(user, session)"""

Measure: TypeAlias = Literal["r_traj", "len", "r_each"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

_HEARD = (EpisodeStarted, UserResponded, EpisodeEnded, EpisodeFailed)

Floats: TypeAlias = NDArray[np.float64]
"""A number for each user under each seed, of shape (seeds, users); NaN where there is none."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a visit: its length, the sum of its rewards, steps whose reward is not known."""

    length: int
    reward: float
    unrewarded: int = 0

    @property
    def rewarded(self) -> int:
        """The number of steps whose reward is known."""
        return self.length - self.unrewarded


Visits: TypeAlias = Mapping[Who, Outcome]

Tests: TypeAlias = Mapping[int, Visits]
"""The visits of each test, by the number of training episodes before it."""


@dataclass(frozen=True)
class RunOutcomes:
    """A run's head, where it is, its visits that ended, and how many failed.

    *training* are visits of training users, *tests* those of test users.
    """

    path: Path
    head: RunStarted
    training: Visits
    tests: Tests
    failed: int

    @property
    def episodes(self) -> int:
        """How many visits there were, those that failed among them."""
        return len(self.training) + sum(map(len, self.tests.values())) + self.failed

    @property
    def judged(self) -> Visits:
        """The visits by which the run is judged: the last test, or all if there is none."""
        return self.tests[max(self.tests)] if self.tests else self.training


def read_outcomes(run: PathLike[str] | str) -> RunOutcomes:
    """Return what came of the run in directory *run*; raises RunDirectoryError or TraceError."""
    directory = open_run(Path(run))
    head = check_head(directory.trace)
    ended = list(_visits(directory.trace))
    tests: dict[int, dict[Who, Outcome]] = {}
    for visit in ended:
        if visit.started.phase == "test" and (visit.outcome is not None or visit.failed):
            # A test in which all failed is one, too: no other must pass for the last.
            visits = tests.setdefault(visit.trained, {})
            if visit.outcome is not None:
                visits[visit.who] = visit.outcome
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
class _VisitOutcome:
    """A visit that came to its end; *trained* training episodes had started before it."""

    started: EpisodeStarted
    trained: int
    outcome: Outcome | None = None
    failed: bool = False

    @property
    def who(self) -> Who:
        return self.started.user, self.started.session


def _visits(trace: Path) -> Iterator[_VisitOutcome]:
    trained = 0
    for _, envelopes in read_episodes(trace, _HEARD):
        visit: _VisitOutcome | None = None
        rewarded = 0
        for envelope in envelopes:
            match envelope.message:
                case EpisodeStarted() as started:
                    trained += started.phase == "train"
                    visit = _VisitOutcome(started, trained)
                case UserResponded():
                    rewarded += 1
                case EpisodeEnded() as ended if visit is not None:
                    visit = replace(visit, outcome=_outcome(ended, rewarded))
                case EpisodeFailed() if visit is not None:
                    visit = replace(visit, outcome=None, failed=True)
        if visit is not None:
            yield visit


def _outcome(ended: EpisodeEnded, rewarded: int) -> Outcome:
    unrewarded = ended.length - rewarded
    return Outcome(length=ended.length, reward=ended.reward, unrewarded=unrewarded)


# -- tables, from the visits under each seed


def averages(judged: Sequence[Visits], measure: Measure) -> Floats:
    """Return the mean of a *measure* over each user's visits."""
    return _table(judged, lambda visits: fmean(_value(visit, measure) for visit in visits))


def totals(judged: Sequence[Visits]) -> tuple[Floats, Floats]:
    """Return the sums of each user's rewards, and of the steps whose reward is known."""
    rewards = _table(judged, lambda visits: fsum(visit.reward for visit in visits))
    return rewards, _table(judged, lambda visits: sum(visit.rewarded for visit in visits))


def _table(judged: Sequence[Visits], number_of: Callable[[Sequence[Outcome]], float]) -> Floats:
    seeds = [_by_user(visits) for visits in judged]
    users = sorted({user for seed in seeds for user in seed})
    missing = float("nan")
    return np.array(
        [[number_of(seed[user]) if user in seed else missing for user in users] for seed in seeds]
    )


def _by_user(visits: Visits) -> dict[int, list[Outcome]]:
    found: dict[int, list[Outcome]] = {}
    for (user, _), outcome in visits.items():
        found.setdefault(user, []).append(outcome)
    return found


def _value(visit: Outcome, measure: Measure) -> float:
    match measure:
        case "len":
            return float(visit.length)
        case "r_traj":
            return visit.reward
        case "r_each":
            return visit.reward / visit.rewarded if visit.rewarded else 0.0
