"""Episodes of recorded runs that are lived again, with a record of a memory changed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import msgspec

from agents.billp.memories import EXPERIENCES, REFLECTIONS, Experience
from agents.embeddings import HashingEmbedder
from agents.models.access import Access
from agents.models.embedded import EmbeddedModel
from engine.messages import EpisodeStarted, Message
from engine.records import Likeness, Log, Recall, Record, Vector
from sim.experiments.blame.replays import reward_of
from sim.runs.assembly import Excerpt, assemble
from sim.runs.models import samplings
from sim.runs.recorded import RecordedRun
from sim.runs.replay import excerpt_of
from storage.journal import CallEnded, Journal, read_entries
from storage.memory import Memory
from storage.runs import RunDirectory
from storage.traces import decode_line, episode_of, opening, opening_of, read_episode


@dataclass(frozen=True)
class Lived:
    """An episode lived again: its lines, and the calls that it made."""

    lines: bytes
    calls: tuple[CallEnded, ...]

    def messages(self) -> list[Message]:
        found = enumerate(self.lines.splitlines(), 1)
        return [decode_line(Path(), n, line).message for n, line in found]

    @property
    def reward(self) -> float:
        return reward_of(self.messages()) or 0.0


def changed(log: Log, position: int, payload: msgspec.Struct) -> Memory[Any]:
    """Return the records of *log* with another *payload* at a position."""
    view = log.view(len(log))
    name = EXPERIENCES if isinstance(payload, Experience) else REFLECTIONS
    memory: Memory[Any] = Memory(name)
    for place in range(len(log)):
        record = view[place]
        memory.append(
            msgspec.structs.replace(record, payload=payload) if place == position else record
        )
    return memory


def lived(recorded: RecordedRun, excerpt: Excerpt) -> Lived:
    """Return the episode of *excerpt*, lived with the embedded model."""
    lines, calls = list[bytes](), list[CallEnded]()

    class Writer:
        def write(self, written: bytes) -> None:
            if episode_of(written) is not None:
                lines.append(written)

    access = Access(EmbeddedModel(), samplings(recorded.course), recorded.course.config.seed)
    access.witnesses.append(lambda _, ended: calls.append(ended))
    assembly = assemble(
        recorded.course,
        recorded.environment,
        answer=access.answer,
        embed=HashingEmbedder().embed,
        excerpt=excerpt,
    )
    assembly.bus.write_to(Writer())
    asyncio.run(assembly.run())
    return Lived(b"".join(lines), tuple(calls))


def written(base: RecordedRun, out: Path, memory: Memory[Any], episode: int, new: Lived) -> Path:
    """Return a copy of a run in which *episode* was lived so, with *memory* as it saw it."""
    copytree(base.directory.path, out)
    directory = RunDirectory(out)
    whole = Memory.load(directory.memory, memory.name)
    for record in list(whole.records())[len(memory) :]:
        memory.append(record)
    memory.save(directory.memory)
    started = new.messages()[0]
    assert isinstance(started, EpisodeStarted)
    visitor = started.user, started.session
    entries = [*read_entries(directory.journal)]
    directory.journal.unlink()
    journal = Journal(directory.journal, "none")
    others = (e for e in entries if not isinstance(e, CallEnded) or e.identity[:2] != visitor)
    for entry in (*others, *new.calls):
        journal.append(entry)
    journal.close()
    lines = directory.trace.read_bytes().splitlines(keepends=True)
    own = [n for n, line in enumerate(lines) if opening_of(line) == opening(episode)]
    lines[own[0] : own[-1] + 1] = [new.lines]
    directory.trace.write_bytes(b"".join(lines))
    return out


def started_in(base: RecordedRun, episode: int) -> Excerpt:
    started = read_episode(base.directory.trace, episode)[0].message
    assert isinstance(started, EpisodeStarted)
    return excerpt_of(base, episode, started)


@dataclass(frozen=True)
class Altered:
    """A log, and a view of it, with another *payload* at a *position*."""

    under: Any
    position: int
    payload: msgspec.Struct

    def __len__(self) -> int:
        return len(self.under)

    @property
    def start(self) -> int:
        return int(self.under.start)

    def append(self, record: Record[Any]) -> None:
        """Drop it: nobody comes after the episode."""

    def view(self, length: int) -> "Altered":
        return Altered(self.under.view(length), self.position, self.payload)

    def __getitem__(self, position: int) -> Record[Any]:
        record: Record[Any] = self.under[position]
        return (
            msgspec.structs.replace(record, payload=self.payload)
            if position == self.position
            else record
        )

    def recall(self, vector: Vector, k: int, within: float = 2.0) -> list[Recall[Any]]:
        found = self.under.recall(vector, k, within)
        return [msgspec.structs.replace(one, record=self[one.position]) for one in found]

    def alike(self, vector: Vector, k: int, within: float = 2.0) -> Sequence[Likeness]:
        found: Sequence[Likeness] = self.under.alike(vector, k, within)
        return found


def with_record(excerpt: Excerpt, position: int, payload: msgspec.Struct) -> Excerpt:
    """Return an episode with the *payload* of a record changed."""
    name = "actor" if isinstance(payload, Experience) else "planner"
    altered = Altered(excerpt.logs[name], position, payload)
    return replace(excerpt, logs={**excerpt.logs, name: altered})
