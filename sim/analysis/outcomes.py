"""What came of each visit of a run, read from its trace, and of each user, as tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from os import PathLike
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from engine.messages import (
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    Message,
    RunStarted,
    UserResponded,
)
from sim.config.stages import read_course
from sim.metrics.own import MAIN_LINE, METRICS, Metric, trajectory_of
from sim.runs.recorded import check_head
from storage.datasets import open_environment
from storage.runs import RunDirectory, open_run
from storage.traces import read_episodes

Who: TypeAlias = tuple[int, int]
"""(user, session)"""

MEASURES = {"len": "Len", "r_each": "R_each", "r_traj": "R_traj"}
"""What runs are compared by, beside the names of metrics of the user's own."""

_HEARD = (EpisodeStarted, UserResponded, EpisodeEnded, EpisodeFailed)

Floats: TypeAlias = NDArray[np.float64]
"""A number for each user under each seed, of shape (seeds, users); NaN where there is none."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a visit: its length, the sum of its rewards, steps whose reward is not known.

    *own* is its number by the metric of the user's own that is asked for; None if it has none.
    """

    length: int
    reward: float
    unrewarded: int = 0
    own: float | None = None

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


def check_measure(name: str) -> None:
    """Raise ConfigError if runs cannot be compared by *name*: there is no such metric."""
    if name not in MEASURES:
        try:
            METRICS.named(name)
        except ConfigError as error:
            error.hint = f"{error.hint}, beside {', '.join(MEASURES)}"
            raise


def column_of(measure: str) -> str:
    """Return what heads the column of a *measure*."""
    return MEASURES.get(measure) or METRICS.named(measure).column or measure


def read_outcomes(run: PathLike[str] | str, measure: str = "r_traj") -> RunOutcomes:
    """Return what came of the run in directory *run*; raises RunDirectoryError or TraceError.

    A *measure* of the user's own takes the run's environment; else what it raises as well.
    """
    directory = open_run(Path(run))
    head = check_head(directory.trace)
    own = None if measure in MEASURES else _measuring(directory, METRICS.named(measure))
    ended = list(_visits(directory.trace, own))
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


Measuring: TypeAlias = Callable[[Sequence[Message]], float | None]


def _measuring(directory: RunDirectory, metric: Metric) -> Measuring:
    """Return what measures visits of a run by the messages of their main lines."""
    settings, proven = directory.read_proven()
    name = read_course(settings, proven=proven).config.environment
    environment = open_environment(name, check_head(directory.trace).environment)
    return lambda visit: metric.of(trajectory_of(visit, environment), environment)


def _visits(trace: Path, own: Measuring | None = None) -> Iterator[_VisitOutcome]:
    trained = 0
    for _, envelopes in read_episodes(trace, _HEARD if own is None else (*_HEARD, *MAIN_LINE)):
        messages = [envelope.message for envelope in envelopes]
        trained += sum(isinstance(m, EpisodeStarted) and m.phase == "train" for m in messages)
        visit = _visit(messages, trained)
        if visit is not None and visit.outcome is not None and own is not None:
            said = own([message for message in messages if isinstance(message, MAIN_LINE)])
            visit = replace(visit, outcome=msgspec.structs.replace(visit.outcome, own=said))
        if visit is not None:
            yield visit


def _visit(messages: Sequence[Message], trained: int) -> _VisitOutcome | None:
    visit, rewarded = None, 0
    for message in messages:
        match message:
            case EpisodeStarted():
                visit = _VisitOutcome(message, trained)
            case UserResponded():
                rewarded += 1
            case EpisodeEnded() if visit is not None:
                visit = replace(visit, outcome=_outcome(message, rewarded))
            case EpisodeFailed() if visit is not None:
                visit = replace(visit, outcome=None, failed=True)
    return visit


def _outcome(ended: EpisodeEnded, rewarded: int) -> Outcome:
    unrewarded = ended.length - rewarded
    return Outcome(length=ended.length, reward=ended.reward, unrewarded=unrewarded)


# -- tables, from the visits under each seed


def averages(judged: Sequence[Visits], measure: str) -> Floats:
    """Return the mean of a *measure* over each user's visits."""
    return _table(judged, lambda visits: _average(visits, measure))


def _average(visits: Sequence[Outcome], measure: str) -> float:
    values = [value for visit in visits if (value := _value(visit, measure)) is not None]
    return fmean(values) if values else float("nan")


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


def _value(visit: Outcome, measure: str) -> float | None:
    match measure:
        case "len":
            return float(visit.length)
        case "r_traj":
            return visit.reward
        case "r_each":
            return visit.reward / visit.rewarded if visit.rewarded else 0.0
    return visit.own
