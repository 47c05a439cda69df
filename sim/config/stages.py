"""The course of a run: its configuration, and those that it had before it was forked.

A fork is at a *point*, (episode, step) in canonical order. Everything before it goes by the older
configuration; from it on, the younger one holds. A run that is no fork has one stage.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import msgspec

from agents.making import Agent
from engine.calls import Call
from engine.errors import ConfigError, RunDirectoryError
from engine.messages import EpisodeEnded, EpisodeSettled, EpisodeStarted, ForkedFrom, Message
from sim.config.layers import configured
from sim.config.parts import check_parts, part_origins
from sim.config.run import EARLIER, RunConfig, Settings
from storage.datasets import open_environment
from storage.environments import Environment
from storage.provenance import NAME as PROVENANCE

Point: TypeAlias = tuple[int, int]
"""(episode, step); points are in canonical order."""

BEGINNING: Point = (0, 0)
_END = 1 << 60  # a step after all steps


@dataclass(frozen=True)
class Stage:
    """From *point* on *config* holds; *parent* is the digest of the run that was forked there.

    *say* is what roles say at that very step in place of their models.
    """

    point: Point
    config: RunConfig
    parent: str = ""
    say: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Course:
    """The stages of a run, oldest first; the first begins at the beginning."""

    stages: tuple[Stage, ...]

    @property
    def config(self) -> RunConfig:
        """The configuration that holds in the end; it also says how and where a run is run."""
        return self.stages[-1].config

    @property
    def fork_point(self) -> Point:
        """Where the last stage begins."""
        return self.stages[-1].point

    @cached_property
    def environment(self) -> Environment:
        """The environment that it is in, opened by its name; raises DataError."""
        return open_environment(self.config.environment)

    def stage_at(self, point: Point) -> int:
        """Return the position of the stage that holds at *point*."""
        return bisect_right([stage.point for stage in self.stages], point) - 1

    def forks(self) -> tuple[ForkedFrom, ...]:
        """Return what a trace's head says of the forks."""
        return tuple(
            ForkedFrom(
                parent=stage.parent,
                episode=stage.point[0],
                step=stage.point[1],
                said=tuple(sorted(stage.say.items())),
            )
            for stage in self.stages[1:]
        )

    def said(self, call: Call) -> str | None:
        """Return what its role says in place of the reply to *call*, if it does."""
        for stage in self.stages[1:]:
            if call.role in stage.say and self._speaks(call, stage.point):
                return stage.say[call.role]
        return None

    def point_of_call(self, call: Call) -> Point:
        """Return where in the run a call belongs."""
        return call.episode, self._cast.role(call.role).step(call.step)

    def _speaks(self, call: Call, at: Point) -> bool:
        """Tell whether *call* is the one in which its role speaks of the step at a point."""
        own = (call.episode, call.occurrence) == (at[0], 0)
        return own and self._cast.role(call.role).speaks(call.step, at[1])

    @cached_property
    def _cast(self) -> Agent:
        return self.config.cast

    def forked(self, stage: Stage) -> "Course":
        """Return the course that leaves this one where *stage* begins."""
        kept = tuple(s for s in self.stages if s.point < stage.point or not s.parent)
        return Course((*kept, stage))

    def operated(self, settings: Sequence[Mapping[str, Any]]) -> "Course":
        """Return the same course with *settings* that leave no mark on a trace.

        Raises ConfigError for others.
        """
        config = configured(self.config.settings(), *settings)
        if config.differences(self.config):
            hint = "fork the run to change what decides it"
            raise ConfigError("only settings that leave no mark on a trace can change", hint=hint)
        return Course((*self.stages[:-1], replace(self.stages[-1], config=config)))

    def settings(self) -> Settings:
        """Return what run.toml says: settings, forks, and the packages whose parts it needs."""
        settings = self.config.settings()
        forks = [
            {
                "at": place(after.point),
                "parent": after.parent,
                "say": dict(after.say),
                "config": before.config.settings(),
            }
            for before, after in pairwise(self.stages)
        ]
        origins = part_origins(config for stage in self.stages for config in [stage.config])
        rest = {"forks": forks, "parts": origins}
        return settings | {name: value for name, value in rest.items() if value}


class _Fork(msgspec.Struct, frozen=True, kw_only=True):
    """A fork in run.toml; *config* is what held before it."""

    at: str
    parent: str
    config: Settings
    say: dict[str, str]


def read_course(settings: Settings, *, proven: bool) -> Course:
    """Return the course that run.toml says; raises ConfigError or RunDirectoryError.

    A setting that it does not have is what it was before it could be set.
    RunDirectoryError as well if a part that it needs is not here, or would be imported from where
    only a file says that is not *proven* to be written here.
    """
    check_parts(settings, proven=proven)
    beside = {"forks", "parts", PROVENANCE}
    final = {name: value for name, value in settings.items() if name not in beside}
    try:
        forks = [msgspec.convert(fork, _Fork) for fork in settings.get("forks", [])]
        begins = [(BEGINNING, "", {}), *((parse_point(f.at), f.parent, f.say) for f in forks)]
    except (TypeError, ValueError) as error:
        raise RunDirectoryError(f"run.toml: not a fork: {error}") from error
    configs = [configured(EARLIER, said) for said in (*(fork.config for fork in forks), final)]
    return Course(
        tuple(
            Stage(point, config, parent, say)
            for (point, parent, say), config in zip(begins, configs, strict=True)
        )
    )


def place(point: Point) -> str:
    """Return how people write a point: EPISODE:STEP."""
    return f"{point[0]}:{point[1]}"


def parse_point(text: str) -> Point:
    """Return the point that *text* names; raises ValueError."""
    episode, colon, step = text.partition(":")
    if not (colon and episode.isdecimal() and step.isdecimal()):
        raise ValueError(f"expected EPISODE:STEP, got {text!r}")
    return int(episode), int(step)


def point_of(episode: int, message: Message) -> Point:
    """Return where in its run a message belongs: what follows from step n belongs to step n."""
    match message:
        case EpisodeStarted():
            return episode, 0
        case EpisodeEnded() | EpisodeSettled():
            return episode, _END
    step: Any = getattr(message, "step", _END)
    return episode, int(step)
