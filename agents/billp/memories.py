"""The three memories of BiLLP, what their records say, and how messages tell of them."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from agents.billp.states import states
from agents.making import AgentMemory
from agents.settings import BillpSettings
from agents.trajectory import task_keys
from engine.chance import Stream
from engine.messages import (
    ActionTaken,
    AdvantageEstimated,
    Message,
    PlanMade,
    Recalled,
    ReflectionWritten,
    StateValued,
    number,
)
from engine.records import Recall, Vector, View, distance

P = TypeVar("P", bound=msgspec.Struct)


LOWEST, HIGHEST = -5, 5
"""The critic's scale."""


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


def _reflections(episode: Sequence[Message], _: object) -> list[Reflection]:
    return [Reflection(text=m.text) for m in episode if isinstance(m, ReflectionWritten)]


def _experiences(episode: Sequence[Message], _: object) -> list[Experience]:
    actions = {m.step: m for m in episode if isinstance(m, ActionTaken)}
    worths = [m for m in episode if isinstance(m, AdvantageEstimated) and m.step in actions]
    return [
        Experience(item=action.item, title=action.title, advantage=worth.advantage)
        for worth in worths
        for action in [actions[worth.step]]
    ]


def _valuations(episode: Sequence[Message], settings: BillpSettings) -> list[Valuation]:
    values = learned_values(episode, outcomes=settings.critic.learns == "outcomes")
    return [Valuation(value=value) for _, value in sorted(values.items())]


def learned_values(episode: Sequence[Message], *, outcomes: bool) -> dict[int, float]:
    """Return what the critic keeps of each state: the value it gave, or what came of it.

    That is the target r + γ·V(s′), which is V(s) + A, within the critic's scale.
    """
    if not outcomes:
        return {m.state: m.value for m in episode if isinstance(m, StateValued)}
    judged = [m for m in episode if isinstance(m, AdvantageEstimated)]
    targets = {m.step: m.value + m.advantage for m in judged}
    return {state: number(min(max(v, LOWEST), HIGHEST)) for state, v in targets.items()}


REFLECTIONS = AgentMemory(
    "planner",
    Reflection,
    key_lines=task_keys,
    says=lambda record: record.text,
    keyed_by="a user's history",
    told=_reflections,
    asked=lambda m: (m.step, m.reflections) if isinstance(m, PlanMade) else None,
)
EXPERIENCES = AgentMemory(
    "actor",
    Experience,
    key_lines=states,
    says=lambda record: f"{record.title}: advantage {record.advantage:+g}",
    keyed_by="recent items",
    told=_experiences,
    asked=lambda m: (m.step, m.recalled) if isinstance(m, ActionTaken) else None,
)
VALUATIONS = AgentMemory(
    "critic",
    Valuation,
    key_lines=states,
    says=lambda record: f"value {record.value:g}",
    keyed_by="recent items",
    told=_valuations,
    asked=lambda m: (m.state, m.recalled) if isinstance(m, StateValued) else None,
    asked_in="state",
)
