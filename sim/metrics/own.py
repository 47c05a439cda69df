"""Metrics of the user's own: a number for each visit, of what happened in it.

They are named in the setting `metrics`, leave no mark on a trace, and are told beside ours; runs
are compared by them as by R_traj.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from math import fsum

import msgspec

from agents.trajectory import Trajectory, folding
from engine.attempt import attempted, told
from engine.messages import (
    ActionTaken,
    Envelope,
    EpisodeFailed,
    EpisodeStarted,
    Message,
    PlanMade,
    PlanRequested,
    RunEnded,
    UserResponded,
    number,
)
from storage.environments import Environment
from storage.parts import Parts

MAIN_LINE = (EpisodeStarted, PlanRequested, PlanMade, ActionTaken, UserResponded)
"""What a trajectory is made of."""

HEARD = (
    EpisodeStarted
    | PlanRequested
    | PlanMade
    | ActionTaken
    | UserResponded
    | EpisodeFailed
    | RunEnded
)


@dataclass(frozen=True)
class Metric:
    """A number *of* each visit, by its trajectory, or None where a visit has none.

    *meaning* says it in words, *column* heads it in tables; its name does if that is empty.
    """

    of: Callable[[Trajectory, Environment], float | None]
    meaning: str = ""
    column: str = ""


METRICS: Parts[Metric] = Parts("metric", "billp.metrics", Metric, {})


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The *mean* of a metric over so many *visits*; None if an *error* of its own ended it."""

    column: str
    meaning: str
    mean: float | None
    visits: int
    error: str = ""


def trajectory_of(visit: Sequence[Message], environment: Environment) -> Trajectory:
    """Return what the main line of a *visit* comes to."""
    trajectory: Trajectory = reduce(folding(environment.catalog), visit, None)
    return trajectory


@dataclass(eq=False)
class OwnMetrics:
    """Follows a run and measures its visits by *metrics*, by name, as far as it is judged by them.

    That is the last test, or all visits where there is none; not those that failed.
    """

    environment: Environment
    metrics: Mapping[str, Metric]
    _visit: list[Message] = field(default_factory=list)
    _values: dict[str, list[float]] = field(default_factory=dict)
    _errors: dict[str, str] = field(default_factory=dict)
    _phase: str = ""

    def __call__(self, envelope: Envelope[Message]) -> None:
        """Take note of a message."""
        message = envelope.message
        if isinstance(message, EpisodeStarted | RunEnded):
            self._finish()
        if isinstance(message, EpisodeStarted) and message.phase != self._phase:
            self._phase = message.phase  # what came before is training, or an earlier test
            self._values.clear()
        if isinstance(message, EpisodeFailed):
            self._visit.clear()
        elif isinstance(message, MAIN_LINE):
            self._visit.append(message)

    def _finish(self) -> None:
        visit, self._visit = self._visit, []
        if len(visit) < 2:  # none, or one that failed
            return
        trajectory = trajectory_of(visit, self.environment)
        for name, metric in self.metrics.items():
            value, error = attempted(partial(metric.of, trajectory, self.environment))
            if error is not None:
                self._errors.setdefault(name, told(error))
            elif value is not None:
                self._values.setdefault(name, []).append(float(value))

    def result(self) -> dict[str, Found]:
        """Return what was found, by the name of the metric."""
        return {name: self._found(name, metric) for name, metric in self.metrics.items()}

    def _found(self, name: str, metric: Metric) -> Found:
        values, error = self._values.get(name, []), self._errors.get(name, "")
        mean = number(fsum(values) / len(values)) if values and not error else None
        return Found(
            column=metric.column or name,
            meaning=metric.meaning,
            mean=mean,
            visits=len(values),
            error=error,
        )
