"""A memory that a run has not saved, as its trace tells it: the records of the episodes in it.

Records stand in a log in the order (end of the episode, episode, canonical order within it). What
an episode in the trace recalled was left by others that are in it, so its positions are sure; those
of the newest records are not, while an episode that ended before them is not written.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from agents.making import AgentMemory
from engine.attempt import attempted
from engine.errors import RunDirectoryError
from engine.messages import (
    AdvantageEstimated,
    Envelope,
    EpisodeFailed,
    EpisodeSettled,
    MemoryWritten,
    Message,
    ReflectionWritten,
    StateValued,
)
from sim.analysis.memory.saved import Entry
from storage.traces import read_chosen, read_episodes, whole_size

# All that agents publish at the end of an episode, and so all that may stand at its largest time.
_LAST = (
    *(EpisodeSettled, EpisodeFailed, MemoryWritten),
    *(AdvantageEstimated, ReflectionWritten, StateValued),
)


class Share(NamedTuple):
    """How many *records* an *episode* with that *end* left for a memory."""

    end: int
    episode: int
    records: int


@dataclass(frozen=True)
class Left:
    """What the episodes of a *trace* left for memories; reading it raises TraceError for damage."""

    trace: Path

    @cached_property
    def shares(self) -> dict[str, list[Share]]:
        """The shares of each memory, by name, in the order of its log."""
        found: dict[str, list[Share]] = {}
        for episode, envelopes in self._episodes():
            end = max((envelope.time for envelope in envelopes), default=0)
            for message in _written(envelopes):
                found.setdefault(message.memory, []).append(Share(end, episode, message.count))
        return {name: sorted(shares) for name, shares in found.items()}

    def _episodes(self) -> Iterator[tuple[int, list[Envelope[Message]]]]:
        return read_episodes(self.trace, _LAST) if whole_size(self.trace) else iter(())


def _written(envelopes: Sequence[Envelope[Message]]) -> list[MemoryWritten]:
    """Return what an episode says that it wrote; nothing of one that failed, or is not whole."""
    kinds = {type(envelope.message) for envelope in envelopes}
    if EpisodeFailed in kinds or EpisodeSettled not in kinds:
        return []
    return [e.message for e in envelopes if isinstance(e.message, MemoryWritten)]


@dataclass(frozen=True)
class Told:
    """The memory *name* of an agent with *settings*, as far as what episodes *left* tells it."""

    left: Left
    name: AgentMemory[Any]
    settings: Any = field(repr=False)

    def __len__(self) -> int:
        return sum(share.records for share in self._shares)

    @property
    def _shares(self) -> list[Share]:
        return self.left.shares.get(self.name.name, [])

    def first(self, count: int) -> list[Entry]:
        """Return the oldest *count* records, or all.

        Raises RunDirectoryError if messages do not tell them.
        """
        positions = range(min(count, len(self)))
        found = self.at(positions)
        if len(found) < len(positions):
            what = f"its trace does not tell what the memory {self.name.name!r} holds"
            where = self.left.trace.parent
            raise RunDirectoryError(f"{where}: the run is not finished, and {what}")
        return [found[position] for position in positions]

    def at(self, positions: Collection[int]) -> dict[int, Entry]:
        """Return the records at *positions*, those that messages tell."""
        begins = accumulate((share.records for share in self._shares), initial=0)
        wanted = {
            share.episode: (begin, share.records)
            for begin, share in zip(begins, self._shares, strict=False)
            if any(place in positions for place in range(begin, begin + share.records))
        }
        found: dict[int, Entry] = {}
        for episode, envelopes in read_chosen(self.left.trace, wanted) if wanted else ():
            begin, count = wanted[episode]
            records = self._records(envelopes, count)
            found |= self._entries(episode, begin, records)
        return {place: entry for place, entry in found.items() if place in positions}

    def _records(self, envelopes: Sequence[Envelope[Message]], count: int) -> Sequence[Any]:
        messages = [envelope.message for envelope in envelopes]
        # An agent that reads nonsense in a trace may raise anything: then nothing is told.
        told, _ = attempted(partial(self.name.told, messages, self.settings))
        return told if told is not None and len(told) == count else ()

    def _entries(self, episode: int, begin: int, records: Sequence[Any]) -> dict[int, Entry]:
        return {
            position: Entry(
                memory=self.name.name,
                position=position,
                episode=episode,
                says=self.name.says(record),
                record=record,
            )
            for position, record in enumerate(records, begin)
        }
