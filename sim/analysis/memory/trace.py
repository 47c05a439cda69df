"""What the trace of a run tells of its memories, as tables: visits, steps, records, recalls.

Records stand in a log in the order (end of the episode, episode, canonical order within it), so the
trace alone says which record is at a position, before any memory is saved. Tables are numpy's, for
millions of steps with several recalls each.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agents.billp.memories import EXPERIENCES
from agents.making import AgentMemory
from engine.errors import TraceError
from engine.messages import (
    ActionTaken,
    AdvantageEstimated,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    MemoryWritten,
    Message,
    PlanMade,
    Recalled,
    StateValued,
    UserResponded,
)
from storage.traces import read_episodes

Rows: TypeAlias = NDArray[np.void]
Row: TypeAlias = tuple[Any, ...]
Recollection: TypeAlias = tuple[int, tuple[Recalled, ...]]
"""The step (or the state) in which a memory was asked, and what it gave back."""

VISIT = np.dtype(
    {
        "names": ("episode", "steps", "test", "guided", "length", "reward"),
        "formats": ("i8", "i8", "?", "?", "i8", "f8"),
    }
)
STEP = np.dtype(
    {
        "names": ("step", "item", "left", "reward", "to_go"),
        "formats": ("i8", "i8", "?", "f8", "f8"),
    }
)
RECORD = np.dtype(
    {"names": ("end", "episode", "item", "advantage"), "formats": ("i8", "i8", "i8", "f8")}
)
RECALL = np.dtype(
    {
        "names": ("episode", "step", "position", "writer", "distance"),
        "formats": ("i8", "i8", "i8", "i8", "f8"),
    }
)

_HEARD = (
    *(EpisodeStarted, PlanMade, ActionTaken, UserResponded, StateValued, EpisodeEnded),
    *(EpisodeSettled, EpisodeFailed, AdvantageEstimated, MemoryWritten),
)


@dataclass(frozen=True, eq=False)
class Recalls:
    """The settled episodes of a run; those that failed are only counted.

    *steps* stand one episode after the other. By memory: *logs* hold its records by position,
    *found* what it gave back; it was *asked* so often and *answered* with anything so often. Items
    and advantages are those of the actor's records; others have none.
    """

    failed: int
    visits: Rows
    steps: Rows
    logs: Mapping[str, Rows]
    found: Mapping[str, Rows]
    asked: Mapping[str, int]
    answered: Mapping[str, int]


def read_recalls(trace: Path, memories: Sequence[AgentMemory[Any]]) -> Recalls:
    """Return what *trace* tells of *memories*; raises TraceError."""
    reader = _Reader(trace, memories)
    for episode, envelopes in read_episodes(trace, _HEARD):
        if envelopes:
            end = max(envelope.time for envelope in envelopes)
            reader.take(_Told(episode, end, [envelope.message for envelope in envelopes]))
    return reader.recalls()


@dataclass(frozen=True)
class _Told:
    """An episode as far as it matters here; *end* is the largest time in it."""

    episode: int
    end: int
    messages: Sequence[Message]

    def has(self, kind: type[Message]) -> bool:
        """Tell whether there is a message of a type."""
        return any(isinstance(message, kind) for message in self.messages)


@dataclass(eq=False)
class _Reader:
    """Gathers the settled episodes of a trace."""

    trace: Path
    memories: Sequence[AgentMemory[Any]]
    _failed: int = 0
    _visits: list[Row] = field(default_factory=list)
    _steps: list[Rows] = field(default_factory=list)
    _records: dict[str, list[Rows]] = field(init=False)
    _found: dict[str, list[Rows]] = field(init=False)
    _asked: Counter[str] = field(default_factory=Counter)
    _answered: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._records = {memory.name: [] for memory in self.memories}
        self._found = {memory.name: [] for memory in self.memories}

    def take(self, told: _Told) -> None:
        """Take an episode; one that failed, or was cut off by a crash, taught nobody."""
        # It may have failed once all had settled: a handler that remembers may raise, too.
        failed = told.has(EpisodeFailed)
        self._failed += failed
        if failed or not told.has(EpisodeSettled):
            return
        if not (told.has(EpisodeStarted) and told.has(EpisodeEnded)):
            raise self._error(told.episode, "expected EpisodeStarted and EpisodeEnded")
        steps = np.array(list(self._rows(told)), STEP)
        steps["to_go"] = np.cumsum(steps["reward"][::-1])[::-1]
        self._steps.append(steps)
        self._visits.append(_visit(told, len(steps)))
        for memory in self.memories:
            self._records[memory.name].append(np.array(self._written(told, memory), RECORD))
            answers = [found for m in told.messages if (found := memory.asked(m)) is not None]
            self._note(told.episode, memory.name, answers)

    def _rows(self, told: _Told) -> Iterator[Row]:
        responses = {m.step: m for m in told.messages if isinstance(m, UserResponded)}
        actions = [m for m in told.messages if isinstance(m, ActionTaken)]
        for place, action in enumerate(actions):
            response = responses.get(place)
            if response is None or action.step != place:
                raise self._error(told.episode, f"expected step {place} and a response to it")
            yield place, action.item, response.left, response.reward, 0.0

    def _written(self, told: _Told, memory: AgentMemory[Any]) -> list[Row]:
        written = [m for m in told.messages if isinstance(m, MemoryWritten)]
        count = sum(m.count for m in written if m.memory == memory.name)
        if memory != EXPERIENCES or not count:
            return [(told.end, told.episode, 0, 0.0)] * count
        items = {m.step: m.item for m in told.messages if isinstance(m, ActionTaken)}
        worths = [m for m in told.messages if isinstance(m, AdvantageEstimated)]
        if len(worths) != count or not all(m.step in items for m in worths):
            what = f"{count} records of {memory.name} do not go with {len(worths)} advantages"
            raise self._error(told.episode, what)
        return [(told.end, told.episode, items[m.step], m.advantage) for m in worths]

    def _note(self, episode: int, name: str, answers: Sequence[Recollection]) -> None:
        self._asked[name] += len(answers)
        self._answered[name] += sum(1 for _, found in answers if found)
        rows = [
            (episode, step, one.position, one.episode, one.distance)
            for step, found in answers
            for one in found
        ]
        self._found[name].append(np.array(rows, RECALL))

    def recalls(self) -> Recalls:
        """Return what was gathered; raises TraceError if it does not fit together."""
        logs = {name: _log(records) for name, records in self._records.items()}
        found = {name: _joined(tables, RECALL) for name, tables in self._found.items()}
        for name, log in logs.items():
            self._check(name, log, found[name])
        return Recalls(
            self._failed,
            np.array(self._visits, VISIT),
            _joined(self._steps, STEP),
            logs,
            found,
            self._asked,
            self._answered,
        )

    def _check(self, name: str, log: Rows, found: Rows) -> None:
        """Raise TraceError unless each record recalled is of the episode that is said."""
        places = found["position"]
        known = (places >= 0) & (places < len(log))
        known[known] = log["episode"][places[known]] == found["writer"][known]
        if not known.all():
            wrong = found[~known][0]
            what = f"record {wrong['position']} of {name} is not of episode {wrong['writer']}"
            raise self._error(wrong["episode"], f"recalled what was never kept: {what}")

    def _error(self, episode: int, what: str) -> TraceError:
        return TraceError(f"{self.trace}: episode {episode}: {what}")


def _visit(told: _Told, steps: int) -> Row:
    started = next(m for m in told.messages if isinstance(m, EpisodeStarted))
    ended = next(m for m in told.messages if isinstance(m, EpisodeEnded))
    guided = any(isinstance(m, PlanMade) and m.reflections for m in told.messages)
    test = started.phase == "test"
    return told.episode, steps, test, guided, ended.length, ended.reward


def _log(tables: Sequence[Rows]) -> Rows:
    records = _joined(tables, RECORD)
    return records[np.lexsort((records["episode"], records["end"]))]  # which is stable


def _joined(tables: Sequence[Rows], columns: np.dtype[np.void]) -> Rows:
    return np.concatenate([np.array([], columns), *tables])
