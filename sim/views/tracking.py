"""A run in a tracker of experiments: the one source of what TensorBoard, MLflow and W&B are told.

It follows the run: a tracker hears of episodes in canonical order, whatever the concurrency, and a
run that is resumed tells it all episodes again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from engine.messages import (
    ActionTaken,
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    ModelReplied,
    Phase,
    Setting,
    UserResponded,
)
from sim.metrics.diversity import Unlikeness, unlikeness
from sim.metrics.metrics import HEARD
from sim.metrics.summary import Summary
from sim.metrics.tally import EpisodeTally, Tally
from sim.runs.watching import Underway
from storage.catalog import Catalog


@dataclass(frozen=True)
class About:
    """What is known of a run before it starts: its directory, and what decides its trace."""

    directory: Path
    tags: Mapping[str, str]
    parameters: Mapping[str, Setting]

    @property
    def name(self) -> str:
        """What people call the run."""
        return self.directory.name


@dataclass(frozen=True)
class Point:
    """What an *episode* came to and where the run stands after it, by name; see `Tracking`."""

    episode: int
    values: Mapping[str, float]


class Tracker(Protocol):
    """Writes down what it is told of one run."""

    def begin(self, about: About) -> None:
        """Take note of a run that starts."""
        ...

    def point(self, point: Point) -> None:
        """Take note of an episode that is over."""
        ...

    def end(self, summary: Summary | None) -> None:
        """Take note of what came of the run, None if it was stopped, and write what is left."""
        ...


@dataclass(eq=False)
class Tracking:
    """A follower that makes a point of each episode and *tells* it.

    Names begin with the phase, `train/` or `test/`. Of the episode: *reward* (the sum), *len*
    (steps), *tokens* (both directions), *coverage* and *ild* (see `Metrics`), *virtual_seconds*
    (when it ended). Of all so far: *r_traj*, *mean_len*, *failed*, *quits.REASON* (their share),
    and *cost*, which is real: as far as calls are paid for by now, if there are prices.
    """

    catalog: Catalog
    unlike: Unlikeness
    cost: Callable[[], float | None]
    tell: Callable[[Point], None]
    _episode: int = 0
    _phase: Phase = "train"
    _tokens: int = 0
    _ended: int = 0
    _visit: EpisodeTally = field(default_factory=EpisodeTally)
    _tallies: dict[Phase, Tally] = field(default_factory=dict)

    def __call__(self, envelope: Envelope[object]) -> None:
        """Take note of a message; an episode is over when the next begins, or the run ends."""
        visit = self._visit
        match envelope.message:
            case ModelReplied() as reply:
                visit.again += reply.occurrence > 0
                self._tokens += reply.prompt_tokens + reply.completion_tokens
            case ActionTaken() as action:
                visit.act(action)
            case UserResponded() as response:
                visit.respond(response)
            case EpisodeEnded() as ended:
                visit.end(ended)
                self._ended = envelope.time
            case EpisodeFailed():
                visit.failed = True
            case EpisodeStarted() as started:
                self._finish()
                self._episode, self._phase = envelope.episode or 0, started.phase
                self._visit, self._tokens = EpisodeTally(started.user), 0
            case _:
                self._finish()

    def _finish(self) -> None:
        tally = self._tallies.setdefault(self._phase, Tally())
        if self._visit.failed:
            tally.failed += 1
            values: dict[str, float] = {"failed": tally.failed}
        elif self._visit.items:
            tally.add(self._visit, self.catalog, self.unlike)
            values = self._of_episode(tally) | _so_far(tally)
        else:
            return
        cost = self.cost()
        values |= {} if cost is None else {"cost": cost}
        named = {f"{self._phase}/{name}": float(value) for name, value in values.items()}
        self.tell(Point(self._episode, named))

    def _of_episode(self, tally: Tally) -> dict[str, float]:
        several = len(self._visit.items) > 1
        return {
            "reward": tally.rewards[-1],
            "len": len(self._visit.items),
            "tokens": self._tokens,
            "coverage": tally.coverages[-1],
            "virtual_seconds": self._ended / 1_000,
            **({"ild": tally.unlikenesses[-1]} if several else {}),
        }


def _so_far(tally: Tally) -> dict[str, float]:
    episodes = len(tally.rewards)
    shares = {
        # A rule of the user's own may call a reason anything; trackers do not take all of it.
        f"quits.{re.sub(r'[^A-Za-z0-9_.-]', '_', why)}": count / episodes
        for why, count in sorted(tally.quits.items())
    }
    means = {"r_traj": tally.total / episodes, "mean_len": tally.steps / episodes}
    return {**means, "failed": tally.failed, **shares}


def final_values(summary: Summary) -> dict[str, float]:
    """Return the numbers of a summary by name, with those of training if there was a test."""
    flat = summary.flat()
    values = {f"summary/{name}": value for name, value in flat.items()}
    values |= {f"summary/train.{name}": value for name, value in flat.get("train", {}).items()}
    values |= {f"summary/quits.{why}": count for why, count in summary.metrics.quits.items()}
    return {
        re.sub(r"[^A-Za-z0-9_./-]", "_", name): float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and name != "summary/seed"
    }


@dataclass(eq=False)
class TrackingView:
    """Tells a *tracker* of a run; it leaves no mark on the trace."""

    tracker: Tracker
    _begun: bool = False

    def attach(self, underway: Underway) -> None:
        """Follow the run."""
        self.tracker.begin(about(underway))
        self._begun = True
        environment, budget = underway.environment, underway.chain.budget
        priced = bool(budget.allowances.prices)
        tracking = Tracking(
            environment.catalog,
            unlikeness(environment.catalog, environment.factors),
            lambda: max(0.0, budget.spent.cost) if priced else None,
            self.tracker.point,
        )
        underway.assembly.bus.follow(HEARD, tracking)

    async def show(self) -> None:
        """Do nothing beside the run: it is followed."""

    def conclude(self, summary: Summary | None) -> None:
        """Tell what came of the run."""
        if self._begun:
            self.tracker.end(summary)


def about(underway: Underway) -> About:
    """Return what is known of a run; addresses and files of keys are not among it."""
    names = ("environment", "agent", "model", "seed")
    tags = dict(zip(names, map(str, underway.config.named()), strict=True))
    return About(underway.directory.path, tags, dict(underway.config.deciding()))
