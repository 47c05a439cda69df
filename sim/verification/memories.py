"""The memories of a run on disk, against what its trace tells of them.

Records stand in a log in the order (end of the episode, episode, order within it). What was written
is held as a count and a digest for each episode, however much it was.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agents.making import AgentMemory
from engine.attempt import attempted
from engine.errors import FileError
from engine.messages import (
    ActionTaken,
    AdvantageEstimated,
    Envelope,
    EpisodeFailed,
    EpisodeStarted,
    MemoryWritten,
    Message,
    ReflectionWritten,
    RunEnded,
    StateValued,
    UserResponded,
)
from engine.records import MemoryName
from storage.memory import RecordLine, saved_length, saved_records

_HEARD = (
    *(ActionTaken, AdvantageEstimated, ReflectionWritten, StateValued),
    *(MemoryWritten, EpisodeFailed, UserResponded),
)


_NONSENSE = b"?"
"""The digest of what no records can be: theirs are longer."""


class Share(NamedTuple):
    """How many *records* an episode left for a memory; *digest*: theirs, if a trace tells them."""

    end: int
    episode: int
    records: int
    digest: bytes


@dataclass(eq=False)
class Written:
    """Hears a trace, and gathers what was written, by memory."""

    memories: Mapping[str, AgentMemory[Any]] = field(default_factory=dict)
    settings: Any = None
    shares: dict[str, list[Share]] = field(default_factory=dict)
    _episode: int = 0
    _end: int = 0
    _messages: list[Message] = field(default_factory=list)

    def __call__(self, envelope: Envelope[Message]) -> None:
        """Take note of a message."""
        if isinstance(envelope.message, EpisodeStarted | RunEnded):
            self._settle()
            self._episode, self._end = envelope.episode or 0, envelope.time
        self._end = max(self._end, envelope.time)
        if isinstance(envelope.message, _HEARD):
            self._messages.append(envelope.message)

    def _settle(self) -> None:
        """Count what the last episode left: nothing if it failed."""
        messages, self._messages = self._messages, []
        if any(isinstance(message, EpisodeFailed) for message in messages):
            return
        counts = Counter[str]()
        for message in messages:
            if isinstance(message, MemoryWritten):
                counts[message.memory] += message.count
        for name, count in counts.items():
            digest = self._told(name, messages, count)
            share = Share(self._end, self._episode, count, digest)
            self.shares.setdefault(name, []).append(share)

    def _told(self, name: str, messages: Sequence[Message], count: int) -> bytes:
        """Return the digest of the records that *messages* tell, if they tell as many."""
        known = self.memories.get(name)
        if known is None:
            return b""
        # An agent that reads nonsense in a trace may raise anything: nothing was written from it.
        records, error = attempted(partial(known.told, messages, self.settings))
        if error is not None or records is None:
            return _NONSENSE
        return _digest(map(msgspec.json.encode, records)) if len(records) == count else b""

    def count(self, name: str) -> int:
        """Return how many records a memory has."""
        return sum(share.records for share in self.shares.get(name, ()))


def _digest(payloads: Iterable[bytes]) -> bytes:
    whole = blake2b(digest_size=8)
    for payload in payloads:
        whole.update(payload + b"\n")
    return whole.digest()


def check_memories(directory: Path, agent: str, written: Written) -> str:
    """Compare all that an agent's memories hold on disk; raises FileError or ConfigError."""
    names = [*written.memories.values()]
    strange = sorted(written.shares.keys() - {name.name for name in names})
    if strange:
        raise FileError(f"{directory}: the trace tells of {strange[0]!r}, no memory of {agent}")
    if not directory.exists():
        return "not kept" if written.shares else "none"
    found = []
    for name in names:
        _check_count(directory, name, written.count(name.name))
        _check_records(directory, name, written.shares.get(name.name, []))
        found.append(f"{written.count(name.name):,} of {name.name}")
    return ", ".join(found) or "none"


def _check_count(directory: Path, name: MemoryName[Any], count: int) -> None:
    length = saved_length(directory, name)
    if length != count:
        what = f"holds {length:,} records, the trace tells of {count:,}"
        raise FileError(f"{directory / name.name}.jsonl: {what}")


def _check_records(directory: Path, name: MemoryName[Any], shares: list[Share]) -> None:
    path = directory / f"{name.name}.jsonl"
    records = saved_records(directory, name)
    line = 0
    for share in sorted(shares):
        payloads = _payloads(path, line, islice(records, share.records), share.episode)
        if _digest(payloads) != share.digest and share.digest:
            where = f"{path}:{line + 1}"
            raise FileError(f"{where}: not what the trace tells of episode {share.episode}")
        line += share.records
    for _ in records:  # to its end: there is none left, and as many keys
        pass


def _payloads(
    path: Path, line: int, records: Iterable[tuple[RecordLine, object]], episode: int
) -> Iterator[bytes]:
    for number, (entry, _) in enumerate(records, line + 1):
        if entry.episode != episode:
            what = f"expected a record of episode {episode}, got one of {entry.episode}"
            raise FileError(f"{path}:{number}: {what}")
        yield bytes(entry.payload)
