"""A run as it is recorded in its directory."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from agents.making import Agent
from agents.roster import AGENTS
from engine.errors import ConfigError, DataError, RunDirectoryError, TraceError
from engine.messages import PlanRequested, RunStarted
from sim.config.stages import Course, Point, read_course
from storage.datasets import open_environment
from storage.environments import Environment
from storage.journal import Recording, read_journal
from storage.provenance import Process
from storage.runs import RunDirectory, open_run
from storage.traces import read_episode, read_head, whole_size

IMPORTED = "imported"
"""What run.toml, and the head of the trace, have in place of a configuration after an import."""


@dataclass(frozen=True)
class RecordedRun:
    """A run's directory, its course, the environment it was in and its journal.

    *proven* says that its run.toml was written here, and not altered since; *processes* have worked
    on it, if that is asked for.
    """

    directory: RunDirectory
    course: Course
    environment: Environment
    recording: Recording
    proven: bool = False
    processes: tuple[Process, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.directory.summary.exists()


def open_recorded(path: PathLike[str] | str, environment: Environment | None = None) -> RecordedRun:
    """Return the run recorded at *path*, in *environment* if that is given.

    Raises RunDirectoryError, JournalError, TraceError or DataError if it cannot be run again: if
    anything is missing or damaged, or the environment is not the one of the run.
    """
    directory = open_run(Path(path))
    check_not_imported(directory)
    settings, proven = directory.read_proven()
    course = read_course(settings, proven=proven)
    recording = read_journal(directory.journal)
    head = read_head(directory.trace) if whole_size(directory.trace) else None
    if environment is None:
        digest = "" if head is None else head.environment
        environment = open_environment(course.config.environment, digest)
    if head is not None:
        check_environment(head, environment, course.config.environment)
    return RecordedRun(directory, course, environment, recording, proven)


def cast_of(directory: RunDirectory, head: RunStarted) -> Agent:
    """Return the agent of the run whose trace begins with *head*.

    Raises ConfigError if it is not here, RunDirectoryError if a run from elsewhere would import it
    from a module of its choice.
    """
    if AGENTS.is_place(head.agent) and not directory.read_proven()[1]:
        what = f"{directory.path}: was not written here, and would import {head.agent!r}"
        raise RunDirectoryError(what, hint="offer it as an entry point of an installed package")
    return AGENTS.named(head.agent)


def is_imported(directory: RunDirectory) -> bool:
    """Tell whether a run was imported: then it has neither journal nor environment."""
    try:
        return IMPORTED in directory.read_config()
    except RunDirectoryError:  # said by who needs the configuration
        return False


def check_not_imported(directory: RunDirectory) -> None:
    """Raise RunDirectoryError for an imported run: nobody can run it again."""
    if is_imported(directory):
        what = "was imported: it has no journal and no environment, so it cannot be run again"
        hint = "look at it with billp show, trace, diff and verify"
        raise RunDirectoryError(f"{directory.path}: {what}", hint=hint)


def check_environment(head: RunStarted, environment: Environment, name: str) -> None:
    """Raise DataError unless *environment*, called *name*, is that of the run."""
    found = environment.head.digest
    if head.environment != found:
        size = 12 if head.environment[:12] != found[:12] else None
        what = f"recorded {head.environment[:size]!r}, but {name} is {found[:size]!r}"
        raise DataError(
            f"the run itself, n 0, RunStarted.environment: {what}",
            hint="build the environment again as it was, or say where it is with --environment",
        )


def check_step(trace: Path, point: Point) -> None:
    """Raise ConfigError if the run has no step at *point*, (episode, step)."""
    messages = (envelope.message for envelope in read_episode(trace, point[0]))
    steps = [message.step for message in messages if isinstance(message, PlanRequested)]
    if point[1] not in steps:
        hint = f"it has the steps 0 to {len(steps) - 1}" if steps else "it has none"
        raise ConfigError(f"episode {point[0]} of the run has no step {point[1]}", hint=hint)


def check_head(path: Path) -> RunStarted:
    """Return the head of the trace at *path*; raises TraceError if it is not whole."""
    if not whole_size(path):
        hint = "billp show RUN tells how far a run is of which nothing is written yet"
        raise TraceError(f"{path}: the trace is empty", hint=hint)
    return read_head(path)
