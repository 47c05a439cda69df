"""The memories of a recorded run: what they hold, and what was recalled of them where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from agents.embeddings import hashed
from agents.making import AgentMemory
from agents.models.remote.embedder import RecordedEmbedder
from agents.roster import AGENTS
from engine.errors import ConfigError, FileError, RunDirectoryError
from engine.messages import ActionTaken, Recalled, RunStarted
from engine.records import Vector
from sim.analysis.memory.facts import Facts, facts_of
from sim.analysis.memory.saved import Entry, Found, Saved
from sim.analysis.memory.told import Left, Told
from sim.config.stages import Point, read_course
from sim.runs.loop import in_event_loop
from sim.runs.recorded import cast_of, check_head, is_imported
from storage.runs import RunDirectory, open_run
from storage.traces import read_episode, whole_size
from storage.vectors import read_vectors


class Reminder(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was given back, and what it *says*; None if neither memory nor trace tells."""

    position: int
    episode: int
    distance: float
    says: str | None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A memory that was asked *at* a step, or a state (*asked_in*), and what it gave back."""

    memory: str
    asked_in: Literal["step", "state"]
    at: int
    found: tuple[Reminder, ...]


@dataclass(frozen=True)
class RecordedMemories:
    """A recorded run, finished or not, whose agent has *memories*."""

    directory: RunDirectory
    head: RunStarted
    memories: tuple[AgentMemory[Any], ...]

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.directory.summary.exists()

    def facts(self) -> Facts:
        """Return what the trace tells of the memories."""
        return facts_of(self.directory.trace, self.memories)

    def records(self, name: str) -> Saved | Told:
        """Return a memory by name: as it was saved, or what the trace tells of it so far.

        Raises ConfigError if the agent has none of that name, RunDirectoryError if the run came to
        its end and saved none.
        """
        if self.finished:
            return self.saved(name)
        return Told(self._left, self._named(name), settings_of(self.directory))

    @cached_property
    def _left(self) -> Left:
        return Left(self.directory.trace)

    def _named(self, name: str) -> AgentMemory[Any]:
        known = {memory.name: memory for memory in self.memories}
        if name not in known:
            hint = f"the agent {self.head.agent} has {', '.join(known)}"
            raise ConfigError(f"there is no memory {name!r}", hint=hint)
        return known[name]

    def saved(self, name: str) -> Saved:
        """Return a memory that the run saved, with its keys, by name.

        Raises ConfigError if the agent has none of that name, RunDirectoryError if none is saved.
        """
        memory = self._named(name)
        path = self.directory.path
        if not self.finished:
            what = f"{path}: the run is not finished: keys of memories are saved at its end"
            hint = "billp memory RUN, --list and --episode go by the trace, as far as it has come"
            raise RunDirectoryError(what, hint=hint)
        if not self.directory.memory.exists():
            hint = "billp memory RUN without options needs the trace alone"
            raise RunDirectoryError(f"{path}: the memories of the run were not kept", hint=hint)
        return Saved(self.directory.memory, memory)

    def every(self) -> list[Saved]:
        """Return all memories that the run saved."""
        return [self.saved(memory.name) for memory in self.memories]

    def like(self, text: str, names: Sequence[str], count: int) -> list[Found]:
        """Return the *count* records of memories whose keys are most like *text*, nearest first.

        Of what keys are made the memories say (`AgentMemory.keyed_by`); one thing a line. Raises
        ConfigError if *text* has no vector.
        """
        memories = [self.saved(name) for name in names]
        vector = self._vector(text)
        found = [one for memory in memories for one in memory.nearest(vector, count)]
        return sorted(found, key=lambda one: one.distance)[:count]

    def _vector(self, text: str) -> Vector:
        lines = text.splitlines()
        if not text.strip():
            raise ConfigError("there is nothing to look for in an empty text")
        service = dict(self.head.settings).get("embeddings", "hashing")
        if service == "hashing":
            return hashed(lines)
        known, _ = read_vectors(self.directory.vectors)
        try:
            return in_event_loop(partial(RecordedEmbedder(known).embed, lines))
        except FileError as error:
            what = f"the keys are {service}'s, and its vector of {text[:40]!r} is not recorded"
            hint = "look for a text that the run embedded: titles of a history, one a line"
            raise ConfigError(what, hint=hint) from error

    def asked_at(self, point: Point) -> tuple[Asked, ...]:
        """Return what was recalled at a step; raises TraceError or ConfigError if there is none.

        Of what is asked in states that is for the states before and after the step.
        """
        episode, step = point
        messages = [e.message for e in read_episode(self.directory.trace, episode)]
        steps = [m.step for m in messages if isinstance(m, ActionTaken)]
        if step not in steps:
            hint = f"it has the steps 0 to {len(steps) - 1}" if steps else "it has no step"
            raise ConfigError(f"episode {episode} has no step {step}", hint=hint)
        found = [
            Asked(
                memory=memory.name,
                asked_in=memory.asked_in,
                at=answer[0],
                found=self._reminders(memory.name, answer[1]),
            )
            for message in messages
            for memory in self.memories
            if (answer := memory.asked(message)) is not None
            and answer[0] in {step, step + (memory.asked_in == "state")}
        ]
        return tuple(sorted(found, key=lambda one: one.at))

    def _reminders(self, name: str, found: Sequence[Recalled]) -> tuple[Reminder, ...]:
        kept: Mapping[int, Entry] = {}
        if found and (not self.finished or self.directory.memory.exists()):
            kept = self.records(name).at([one.position for one in found])
        return tuple(
            Reminder(
                position=one.position,
                episode=one.episode,
                distance=one.distance,
                says=kept[one.position].says if one.position in kept else None,
            )
            for one in found
        )


def settings_of(directory: RunDirectory) -> Any:
    """Return the settings of a run's agent; raises RunDirectoryError or ConfigError."""
    settings, proven = directory.read_proven()
    return read_course(settings, proven=proven).config.agent_settings


def open_memories(run: Path) -> RecordedMemories:
    """Return the run in directory *run*; raises RunDirectoryError, TraceError or ConfigError.

    ConfigError if its agent has no memory.
    """
    directory = open_run(run)
    if not whole_size(directory.trace) and not directory.finished:
        what = f"{run}: nothing is written yet: memories are told by episodes that ended"
        raise RunDirectoryError(what, hint="billp show RUN tells how far the run is")
    if is_imported(directory):
        raise RunDirectoryError(
            f"{run}: was imported: it tells of no memory",
            hint="look at it with billp show, trace, diff and verify",
        )
    head = check_head(directory.trace)
    memories = cast_of(directory, head).memories
    if not memories:
        hint = "those with one: " + ", ".join(
            name for name in AGENTS.own if AGENTS.named(name).memories
        )
        raise ConfigError(f"{run}: the agent {head.agent} has no memory", hint=hint)
    return RecordedMemories(directory, head, memories)
