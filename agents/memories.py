"""The three memories of BiLLP and what their records say."""

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.messages import Recalled
from engine.records import MemoryName, Recall


class Reflection(msgspec.Struct, frozen=True, kw_only=True):
    """A lesson from a finished episode; its key is the likeness of the user's history."""

    text: str


class Experience(msgspec.Struct, frozen=True, kw_only=True):
    """What an item was worth in a state; the key is the state."""

    item: int
    title: str
    advantage: float


class Valuation(msgspec.Struct, frozen=True, kw_only=True):
    """The value that was estimated for a state; the key is the state."""

    value: float


REFLECTIONS = MemoryName("planner", Reflection)
EXPERIENCES = MemoryName("actor", Experience)
VALUATIONS = MemoryName("critic", Valuation)
MEMORIES: tuple[MemoryName[Any], ...] = (REFLECTIONS, EXPERIENCES, VALUATIONS)


def recalled(found: Sequence[Recall[Any]]) -> tuple[Recalled, ...]:
    """Return what a message says of records that were found."""
    return tuple(
        Recalled(position=r.position, episode=r.record.episode, distance=r.distance) for r in found
    )
