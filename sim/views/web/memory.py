"""The page of a memory: a record, what is near it, who wrote and who recalled it, and the map."""

from dataclasses import dataclass
from typing import Any

from agents.billp.memories import EXPERIENCES, REFLECTIONS
from agents.making import AgentMemory
from engine.errors import ConfigError
from sim.analysis.memory.facts import CAUTION
from sim.analysis.memory.record import Map, Uses, map_of, neighbours, of_episodes, uses
from sim.analysis.memory.recorded import RecordedMemories, open_memories
from sim.analysis.memory.saved import Entry, Found, Saved
from sim.analysis.memory.told import Told
from sim.views.web.page import Asked, Page

_NEAR = 12
_USES = 40
_LISTED = 25


@dataclass(frozen=True)
class MemoryChoice:
    """A memory that may be looked at: what its records are called, and how many it holds."""

    name: str
    called: str
    records: int


@dataclass(frozen=True)
class MemoryFacts:
    """A memory; of the record that is looked at: what it says, its neighbours and its uses.

    Without one those *listed*; where a text was looked for, those like it. *why* says why no keys
    are there, if they are not.
    """

    run: str
    memories: tuple[MemoryChoice, ...]
    chosen: MemoryChoice
    keyed_by: str
    like: str
    start: int
    listed: tuple[Entry, ...]
    found: tuple[Found, ...]
    entry: Entry | None
    near: tuple[Found, ...]
    uses: Uses | None
    asked_in: str
    caution: str
    why: str


def memory_page(asked: Asked) -> Page:
    """Return the page of a memory; raises ConfigError if the agent has none of that name."""
    memories = open_memories(asked.directory.path)
    choices = {one.name: _choice(memories, one.name) for one in memories.memories}
    name = asked.text("name") or next(iter(choices))
    records = memories.records(name)
    why = "" if isinstance(records, Saved) else "keys of memories are saved when a run ends"
    at = asked.number("at", -1) if asked.text("at") else -1
    entry = _entry(records, at, name)
    start = max(0, asked.number("start", 0))
    like = asked.text("like").strip()[:2_000]
    near = (
        neighbours(records, at, _NEAR) if entry is not None and isinstance(records, Saved) else []
    )
    facts = MemoryFacts(
        run=asked.run,
        memories=tuple(choices.values()),
        chosen=choices[name],
        keyed_by=_named(memories, name).keyed_by,
        like=like,
        start=start,
        listed=tuple(_listed(records, start)) if entry is None and not like else (),
        found=tuple(memories.like(like, [name], _LISTED)) if like and not why else (),
        entry=entry,
        near=tuple(near),
        uses=None if entry is None else uses(asked.kept.recalls(memories), name, at, _USES),
        asked_in=_named(memories, name).asked_in,
        caution=CAUTION,
        why=why,
    )
    return Page("memory.html", facts)


@dataclass(frozen=True)
class MapFacts:
    """A map, and which run's."""

    run: str
    map: Map


def map_page(asked: Asked) -> Page:
    """Return the map of a memory; raises FileError if its keys are not saved."""
    memories = open_memories(asked.directory.path)
    records = memories.saved(asked.text("name"))
    if not len(records):
        raise ConfigError(f"the memory {records.name.name!r} holds nothing")
    lessons = records.name == REFLECTIONS and EXPERIENCES in memories.memories
    means = of_episodes(asked.kept.recalls(memories), EXPERIENCES.name) if lessons else None
    return Page("map.html", MapFacts(asked.run, map_of(records, means)))


def _choice(memories: RecordedMemories, name: str) -> MemoryChoice:
    called = _named(memories, name).payload.__name__.lower()
    return MemoryChoice(name, f"{called}s", len(memories.records(name)))


def _named(memories: RecordedMemories, name: str) -> AgentMemory[Any]:
    return next(one for one in memories.memories if one.name == name)


def _entry(records: Saved | Told, at: int, name: str) -> Entry | None:
    """Return the record at a position, None for no position; raises ConfigError if none is told."""
    if at < 0:
        return None
    found = records.at([at]) if at < len(records) else {}
    if at not in found:
        hint = f"it has 0 to {len(records) - 1}" if len(records) else "it holds nothing yet"
        raise ConfigError(f"there is no record {at} of {name!r}", hint=hint)
    return found[at]


def _listed(records: Saved | Told, start: int) -> list[Entry]:
    """Return some records in the order of their positions, those that are told."""
    found = records.at(range(start, min(start + _LISTED, len(records))))
    return [found[position] for position in sorted(found)]
