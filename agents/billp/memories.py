"""The three memories of BiLLP, what their records say, and how a message tells of them."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from engine.chance import Stream
from engine.messages import (
    ActionTaken,
    AdvantageEstimated,
    Message,
    Recalled,
    ReflectionWritten,
    StateValued,
)
from engine.records import MemoryName, Recall, Vector, View, distance

P = TypeVar("P", bound=msgspec.Struct)


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


def recalled(found: Sequence[Recall[Any]]) -> tuple[Recalled, ...]:
    """Return what a message says of records that were found."""
    return tuple(
        Recalled(position=r.position, episode=r.record.episode, distance=r.distance) for r in found
    )


def at_random(
    view: View[P], key: Vector, count: int, within: float, stream: Stream
) -> list[Recall[P]]:
    """Return *count* records of *view*, whichever; those further than *within* are left out.

    What Reflexion recalls: lessons without regard to whom they are about.
    """
    places: list[int] = []
    known = len(view) - view.start
    while len(places) < min(count, known):
        place = view.start + stream.integer(known)
        if place not in places:
            places.append(place)
    found = [Recall(place, distance(key, view[place].key), view[place]) for place in places]
    return [recall for recall in found if recall.distance <= within]


def told(memory: str, episode: Sequence[Message]) -> list[msgspec.Struct]:
    """Return what the messages of an episode tell of the records that it left for a *memory*.

    In their order in the log; nothing for memories whose records no message tells of.
    """
    match memory:
        case REFLECTIONS.name:
            return [Reflection(text=m.text) for m in episode if isinstance(m, ReflectionWritten)]
        case EXPERIENCES.name:
            actions = {m.step: m for m in episode if isinstance(m, ActionTaken)}
            worths = [m for m in episode if isinstance(m, AdvantageEstimated) and m.step in actions]
            return [_experience(actions[worth.step], worth.advantage) for worth in worths]
        case VALUATIONS.name:
            values = {m.state: m.value for m in episode if isinstance(m, StateValued)}
            return [Valuation(value=value) for _, value in sorted(values.items())]
    return []


def _experience(action: ActionTaken, advantage: float) -> Experience:
    return Experience(item=action.item, title=action.title, advantage=advantage)
