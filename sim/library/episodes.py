"""An episode of a recorded run: its messages, what led to them, and what was recalled."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from agents.making import AgentMemory
from engine.messages import Envelope, EpisodeFailed, EpisodeSettled, Message, Recalled

M = TypeVar("M")

Reader: TypeAlias = Callable[[str, int], Any]
"""Returns the record of a memory, by name, at a position; None if it was not saved."""


@dataclass(frozen=True)
class RecalledRecord:
    """Where a record is that was recalled, and the record; None where memories were not saved."""

    place: Recalled
    record: Any


@dataclass(frozen=True)
class Recollection:
    """What a *memory* gave back before *message* was made, nearest first."""

    memory: str
    message: Message
    found: tuple[RecalledRecord, ...]


@dataclass(frozen=True)
class Episode:
    """An episode by its *number*, its envelopes in canonical order."""

    number: int
    envelopes: tuple[Envelope[Message], ...]
    _memories: tuple[AgentMemory[Any], ...] = field(repr=False, compare=False)
    _record: Reader = field(repr=False, compare=False)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages, in canonical order."""
        return tuple(envelope.message for envelope in self.envelopes)

    @property
    def whole(self) -> bool:
        """Whether it came to its end; a crash may have cut off the last one of a run."""
        return bool(self.all(EpisodeSettled) or self.all(EpisodeFailed))

    def all(self, kind: type[M]) -> list[M]:
        """Return the messages of a type, in canonical order."""
        return [message for message in self.messages if isinstance(message, kind)]

    def causes_of(self, envelope: Envelope[Any]) -> list[Envelope[Message]]:
        """Return what led to *envelope*: its cause, the cause of that, and so on to the start."""
        places = {one.n: one for one in self.envelopes}
        causes: list[Envelope[Message]] = []
        while (before := places.get(_earlier(envelope))) is not None:
            causes.append(before)
            envelope = before
        return causes

    @property
    def recollections(self) -> list[Recollection]:
        """Every time that a memory was asked, with what it gave back."""
        return [
            Recollection(memory.name, message, tuple(self._records_of(memory.name, answer[1])))
            for message in self.messages
            for memory in self._memories
            if (answer := memory.asked(message)) is not None
        ]

    def _records_of(self, memory: str, found: tuple[Recalled, ...]) -> list[RecalledRecord]:
        return [RecalledRecord(place, self._record(memory, place.position)) for place in found]


def _earlier(envelope: Envelope[Any]) -> int:
    """Return the place of a cause; −1 for none, also for one that would be its own cause."""
    cause = envelope.cause
    return cause if cause is not None and cause < envelope.n else -1
