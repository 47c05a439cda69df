"""Forking: a recorded run up to a point, then its own way, with something changed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from shutil import rmtree
from typing import Any, Unpack

import msgspec

from agents.models.recorded import Forked, Spoken
from engine.errors import ConfigError, DivergenceError
from sim.config.layers import configured
from sim.config.run import RunConfig
from sim.config.stages import Course, Point, Stage, place
from sim.metrics.summary import Summary
from sim.runs.divergence import TraceCheck
from sim.runs.live import Live, listed
from sim.runs.loop import first_error, in_event_loop, in_their_loop
from sim.runs.models import noted
from sim.runs.recorded import RecordedRun, check_step, open_recorded
from sim.runs.scenario import Given, Scenario, scenario
from sim.runs.stopping import Begun, stopping
from sim.runs.trust import check_reach
from storage.files import Durability
from storage.journal import ForkStarted, Journal, Recording
from storage.provenance import this_process, written
from storage.runs import RunDirectory, check_free, new_run, written_in
from storage.traces import before_step, digest_of, episode_of
from storage.vectors import VectorFile, read_vectors

FORKABLE = (
    *("model", "quit_rule", "quit", "rewards"),
    *("repeats", "structured", "limit", "dwell", "dwell_by_reward"),
)
"""What a fork can change, beside the agent's own settings and what leaves no mark.

The rest decides what comes before it.
"""


def fork(
    run: PathLike[str] | str,
    at: Point,
    *,
    settings: Sequence[Mapping[str, Any]] = (),
    say: Mapping[str, str] | None = None,
    out: Path | str | None = None,
    **given: Unpack[Given],
) -> Summary:
    """Live the run in directory *run* again up to *at*, (episode, step), then on with a change.

    From there on *settings* hold, and what a role *says* at that very step (the critic of what it
    led to, the reflector of its episode) stands in place of its model's reply. Calls that come to
    ask the same as in the parent keep their replies. The fork is a run of its own in *out*; for
    what is *given* see `Given`. Raises ConfigError for a point or a setting that cannot be forked,
    and if a parent from elsewhere would reach out by others than *settings* (`sim.runs.trust`).
    Where an event loop runs, await `fork_async`.
    """
    parent, planned = _planned(run, at, settings, say or {}, out, given)
    with stopping() as begun:
        main = partial(_fork, parent, planned, out, begun)
        return in_event_loop(main, twin="fork_async")


async def fork_async(
    run: PathLike[str] | str,
    at: Point,
    *,
    settings: Sequence[Mapping[str, Any]] = (),
    say: Mapping[str, str] | None = None,
    out: Path | str | None = None,
    **given: Unpack[Given],
) -> Summary:
    """Do what `fork` does, inside an event loop that runs already."""
    parent, planned = _planned(run, at, settings, say or {}, out, given)
    with stopping() as begun, in_their_loop():
        return await _fork(parent, planned, out, begun)


def _planned(
    run: PathLike[str] | str,
    at: Point,
    settings: Sequence[Mapping[str, Any]],
    say: Mapping[str, str],
    out: Path | str | None,
    given: Given,
) -> tuple[RecordedRun, Scenario]:
    """Return the parent of a fork, and what is to be run; raises ConfigError if it must not be."""
    parent = open_recorded(run, given.get("environment"))
    course = forked_course(parent, at, settings, say)
    place = parent.directory.config
    check_reach(place, course.config, proven=parent.proven, named=settings)
    if out is not None:
        check_free(Path(out))
    return parent, scenario(course, given, parent.environment)


async def _fork(
    parent: RecordedRun, planned: Scenario, out: Path | str | None, begun: Begun
) -> Summary:
    course, config = planned.course, planned.config
    async with planned.doors() as doors:
        directory = new_run(None if out is None else Path(out), f"{planned.name}-fork")
        begun(directory)
        with _gone_if_astray(directory), directory.begun():
            calls, digest = parent.recording, course.stages[-1].parent
            journaled = hand_down(calls, digest, directory, config.fsync)
            hand_down_vectors(parent, directory.vectors, config.fsync)
            here = this_process()
            directory.write_config(noted(course, doors).settings() | written([here]))
            live = Live(planned, directory, processes=(here,))
            with (
                written_in(directory, planned.kept, journaled=journaled) as files,
                closing(TraceCheck(parent.directory.trace)) as check,
            ):
                known = forked_calls(calls, course, files.journal)
                past = Past(check, course.fork_point)
                summary = await live.run(doors, files, known, [past, files.trace])
            return listed(directory, summary)


@contextmanager
def _gone_if_astray(directory: RunDirectory) -> Iterator[None]:
    """Remove a fork whose past is not its parent's: resumed, it would pass for one."""
    try:
        yield
    except (DivergenceError, BaseExceptionGroup) as error:
        if isinstance(first_error(error), DivergenceError):
            rmtree(directory.path)
        raise


def forked_course(
    parent: RecordedRun, at: Point, settings: Sequence[Mapping[str, Any]], say: Mapping[str, str]
) -> Course:
    """Return the course of a fork; raises ConfigError if it cannot be."""
    before = parent.course.config
    config = configured(before.settings(), *settings)
    check_forkable(before, config)
    check_said(say, config)
    trace = parent.directory.trace
    check_step(trace, at)
    if at < parent.course.fork_point:
        since = place(parent.course.fork_point)
        raise ConfigError(
            f"{place(at)} lies before {since}, where the run was forked itself",
            hint="fork its parent instead",
        )
    return parent.course.forked(Stage(at, config, digest_of(trace), say))


def check_forkable(before: RunConfig, after: RunConfig) -> None:
    """Raise ConfigError if *after* changes what decided the run from its beginning."""
    forkable = (*before.agent_settings.__struct_fields__, *FORKABLE)
    for name in before.differences(after):
        if name.split(".")[0] not in forkable:
            raise ConfigError(
                f"{name} cannot be changed by a fork: it decides what comes before",
                hint=f"a fork can change {', '.join(forkable)}",
            )


def check_said(say: Mapping[str, str], config: RunConfig) -> None:
    """Raise ConfigError if a role that is to say something does not exist."""
    for role in say:
        if role not in config.roles:
            roles = ", ".join(config.roles)
            raise ConfigError(f"there is no role {role!r}", hint=f"the roles are {roles}")


def hand_down(
    calls: Recording, parent: str, directory: RunDirectory, durability: Durability
) -> int:
    """Write the *calls* of a *parent* (its digest) into its fork's journal; return their size.

    All of them, and before there is a run that could be stopped: one that is resumed does without
    its parent. So its journal may hold calls that the fork never comes to make.
    """
    with closing(Journal(directory.journal, durability)) as journal:
        journal.append(ForkStarted(parent=parent))
        for ended in calls.values():
            # The parent paid for them: to the fork they cost no attempt.
            journal.append(msgspec.structs.replace(ended, attempts=0))
    return directory.journal.stat().st_size


def hand_down_vectors(parent: RecordedRun, fork: Path, durability: Durability) -> None:
    """Write what a service said to a *parent* into its fork's file: it may not say it again."""
    forgotten = parent.recording.vectors
    known, _ = read_vectors(parent.directory.vectors, forgotten=forgotten)
    if not known:
        return
    with closing(VectorFile(fork, durability)) as file:
        for entry in known.values():
            file.add(msgspec.structs.replace(entry, attempts=0))


def forked_calls(calls: Recording, course: Course, journal: Journal) -> Spoken:
    """Return what a fork knows of its calls: the *calls* handed down, and what is said there."""
    recorded = Forked(calls, before=lambda call: course.point_of_call(call) < course.fork_point)
    return Spoken(recorded, calls, course.said, journal.append)


@dataclass(eq=False)
class Past:
    """Sees to it that what comes before a fork is what the parent recorded."""

    check: TraceCheck
    point: Point
    _begun: bool = False

    def write(self, lines: bytes) -> None:
        """Compare the lines of an episode, as far as they lie before the fork."""
        number = episode_of(lines)
        if number is None or number > self.point[0]:
            return
        if not self._begun:
            self.check.skip_to(number)
            self._begun = True
        if number < self.point[0]:
            self.check.write(lines)
        else:
            self.check.compare(before_step(lines, self.point[1]), whole=False)
