"""Causes planted in episodes of recorded runs: it is known what made these go badly.

A run is recorded with the embedded model; then one of its last episodes is lived again with a
record of a memory changed, or forked with a recommendation forced. Kept are those that came out at
most half as well for it.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import msgspec
import numpy as np

from agents.billp.memories import EXPERIENCES, REFLECTIONS, Experience, Reflection
from agents.embeddings import HashingEmbedder
from agents.models.access import Access
from agents.models.embedded import EmbeddedModel
from engine.chance import chance
from engine.messages import (
    ActionTaken,
    EpisodeStarted,
    Message,
    PlanMade,
)
from engine.records import Likeness, Log, Recall, Record, Vector
from sim.config.layers import configured
from sim.experiments.blame.causes import Cause, main_line
from sim.experiments.blame.replays import reward_of
from sim.runs.assembly import Excerpt, assemble
from sim.runs.excerpts import Without
from sim.runs.fork import fork
from sim.runs.models import samplings
from sim.runs.recorded import RecordedRun, open_recorded
from sim.runs.replay import excerpt_of
from sim.runs.run import run
from sim.world.users import of_world
from storage.journal import CallEnded, Journal, read_entries
from storage.memory import Memory
from storage.runs import RunDirectory
from storage.traces import decode_line, episode_of, opening, opening_of, read_episode

EPISODES, LAST = 40, 10
"""How many a run has, and how many of these arrive together as the last."""


@dataclass(frozen=True)
class Planted:
    """An *episode* of a run that went badly for a planted cause, which *is_it* knows."""

    kind: str
    run: Path
    episode: int
    before: float
    after: float
    is_it: Callable[[Cause], bool]


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


def record_base(out: Path, seed: int) -> RunDirectory:
    """Return a run in the default world."""
    how = {"episodes": EPISODES, "arrivals": f"batches:{LAST}", "seed": seed}
    run(configured({**how, "fsync": "none", "prompts": False}), out=out)
    return RunDirectory(out)


def candidates(base: RunDirectory) -> list[int]:
    """Return the episodes that arrived last."""
    return [*range(EPISODES - LAST, EPISODES)]


# -- a record that was changed


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


def lived(recorded: RecordedRun, excerpt: Excerpt, other: int | None = None) -> Lived:
    """Return the episode of *excerpt*, lived with the embedded model, by *other* chance."""
    own = recorded.course.config.seed
    seed = own if other is None else other
    lines, calls = list[bytes](), list[CallEnded]()

    class Writer:
        def write(self, written: bytes) -> None:
            if episode_of(written) is not None:
                lines.append(written)

    access = Access(EmbeddedModel(), samplings(recorded.course), seed)
    access.witnesses.append(lambda _, ended: calls.append(ended))
    assembly = assemble(
        recorded.course,
        recorded.environment,
        answer=access.answer,
        embed=HashingEmbedder().embed,
        excerpt=replace(excerpt, seeds=lambda _, purpose: own if of_world(purpose) else seed),
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


OTHERS = range(1 << 50, (1 << 50) + 8)
"""Seeds of nobody, by which it is seen whether a plant does harm as a rule."""


def harms(base: RecordedRun, excerpt: Excerpt, memory: str, position: int) -> bool:
    """Tell whether as a rule an episode comes out at most half as well for a record's being there.

    Its absence is what a plant is compared with: another record in its place may be worth more.
    """
    without = {**excerpt.logs, memory: Without(excerpt.logs[memory], position)}
    both = (replace(excerpt, logs=without), excerpt)
    sums = [sum(lived(base, one, seed).reward for seed in OTHERS) for one in both]
    return sums[1] <= sums[0] / 2


def poison(base: RecordedRun, liked: str) -> str:
    """Return a lesson that wants always the same."""
    others = [name for name in base.environment.catalog.category_names if name != liked]
    refused = f"Of these, not welcome: {', '.join(others)}. "
    return f"The user wants the same again and again. {f'Well liked: {liked}. ' * 9}{refused * 9}"


def poisoned(base: RunDirectory, out: Path, episode: int, seed: int) -> Planted | None:
    """Return an episode with a reflection in its memory that says to change nothing."""
    recorded = open_recorded(base.path)
    envelopes = read_episode(base.trace, episode)
    before = reward_of([e.message for e in envelopes]) or 0.0
    plans = [m for m in main_line(envelopes) if isinstance(m, PlanMade)]
    places = sorted({one.position for plan in plans for one in plan.reflections})
    stream = chance(seed, episode, 0, 0, "poison")
    liked = stream.choice(recorded.environment.catalog.category_names)
    position = stream.choice(places)
    excerpt = started_in(recorded, episode)
    lesson = Reflection(text=poison(recorded, liked))
    spoilt = with_record(excerpt, position, lesson)
    new = lived(recorded, spoilt)
    if new.reward > before / 2 or not harms(recorded, spoilt, "planner", position):
        return None
    memory = changed(excerpt.logs["planner"], position, lesson)
    path = written(recorded, out, memory, episode, new)

    return Planted("reflection", path, episode, before, new.reward, _at("planner", position))


TRIED = 20
"""How many records of an episode are turned at most, one after the other."""


def turned(base: RunDirectory, out: Path, episode: int, seed: int) -> Planted | None:
    """Return an episode that followed an experience whose sign was turned, and ended by it."""
    recorded = open_recorded(base.path)
    envelopes = read_episode(base.trace, episode)
    before = reward_of([e.message for e in envelopes]) or 0.0
    excerpt = started_in(recorded, episode)
    log = excerpt.logs["actor"]
    view = log.view(len(log))
    acts = [m for m in main_line(envelopes) if isinstance(m, ActionTaken)]
    places = sorted({one.position for act in acts for one in act.recalled})
    places = [p for p in places if view[p].payload.advantage < 0]
    for position in chance(seed, episode, 0, 0, "turned").shuffled(places)[:TRIED]:
        own = view[position].payload
        payload = msgspec.structs.replace(own, advantage=-own.advantage)
        spoilt = with_record(excerpt, position, payload)
        new = lived(recorded, spoilt)
        if new.reward > before / 2 or not _followed(new.messages(), position, own.item):
            continue
        if not harms(recorded, spoilt, "actor", position):
            continue
        path = written(recorded, out, changed(log, position, payload), episode, new)
        return Planted("experience", path, episode, before, new.reward, _at("actor", position))
    return None


def _at(memory: str, position: int) -> Callable[[Cause], bool]:
    return lambda cause: (cause.memory, cause.position) == (memory, position)


def _followed(messages: list[Message], position: int, item: int) -> bool:
    """Tell whether the last recommendation was that of the record, which was recalled there."""
    last = [m for m in messages if isinstance(m, ActionTaken)][-1]
    return last.item == item and position in {one.position for one in last.recalled}


# -- a recommendation that was forced


def forced(base: RunDirectory, out: Path, episode: int, seed: int) -> Planted | None:
    """Return an episode in which an item had to be taken that is much like the one before."""
    recorded = open_recorded(base.path)
    messages = [e.message for e in read_episode(base.trace, episode)]
    acts = [m for m in messages if isinstance(m, ActionTaken)]
    before = reward_of(messages) or 0.0
    stream = chance(seed, episode, 0, 0, "forced")
    if len(acts) < 4:
        return None
    step = 1 + stream.integer(len(acts) // 2)
    shown = {act.item for act in acts[:step]}
    catalog, factors = recorded.environment.catalog, recorded.environment.factors
    every = np.arange(len(catalog))
    order = np.argsort(factors.distance_squared(acts[step - 1].item, every), kind="stable")
    item = next(int(one) for one in order if int(one) not in shown)
    said = {"actor": f"recommend[{catalog.titles[item]}]"}
    fork(base.path, (episode, step), say=said, out=out)
    ended = [e.message for e in read_episode(RunDirectory(out).trace, episode)]
    after = reward_of(ended) or 0.0
    if after > before / 2:
        return None
    return Planted("step", out, episode, before, after, _is_step(step))


def _is_step(step: int) -> Callable[[Cause], bool]:
    return lambda cause: (cause.kind, cause.step) == ("recommendation", step)


PLANTS: Mapping[str, Callable[[RunDirectory, Path, int, int], Planted | None]] = {
    "reflection": poisoned,
    "experience": turned,
    "step": forced,
}


def planted(scratch: Path, kind: str, count: int, seed: int) -> Iterator[Planted]:
    """Yield *count* cases of a *kind*, from as many runs as it takes; the first run has *seed*."""
    found = 0
    for number in range(1_000):
        base = record_base(scratch / f"{kind}-{seed + number}", seed + number)
        for episode in candidates(base):
            case = PLANTS[kind](base, scratch / f"{kind}-{seed + number}-{episode}", episode, seed)
            if case is not None:
                yield case
                found += 1
            if found == count:
                return
