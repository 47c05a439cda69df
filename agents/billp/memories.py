"""The three memories of BiLLP, what their records say, and how messages tell of them."""

from collections.abc import Mapping, Sequence
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
    UserResponded,
    number,
)
from engine.records import Recall, Vector, View, distance

P = TypeVar("P", bound=msgspec.Struct)


LOWEST, HIGHEST = -5, 5
"""The critic's scale."""


class Reflection(msgspec.Struct, frozen=True, kw_only=True):
    """A lesson from a finished episode; its key is the likeness of the user's history."""

    text: str


class Experience(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an item was worth in a state; the key is the state.

    *surprise* is by how much its reward was above what was expected of it, if anything was.
    """

    item: int
    title: str
    advantage: float
    surprise: float | None = None


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
    worths = {m.step: m.advantage for m in episode if isinstance(m, AdvantageEstimated)}
    return [*experiences(episode, worths).values()]


EXPECTED = "expected"
"""The tool that says what the item taken should be worth to the user."""


def experiences(
    episode: Sequence[Message], advantages: Mapping[int, float]
) -> dict[int, Experience]:
    """Return what is kept of the steps of an *episode* that have *advantages*, by number."""
    actions = {m.step: m for m in episode if isinstance(m, ActionTaken)}
    rewards = {m.step: m.reward for m in episode if isinstance(m, UserResponded)}
    return {
        step: Experience(
            item=actions[step].item,
            title=actions[step].title,
            advantage=advantage,
            surprise=_surprise(actions[step], rewards.get(step)),
        )
        for step, advantage in advantages.items()
        if step in actions
    }


def _surprise(action: ActionTaken, reward: float | None) -> float | None:
    expected = next((result.text for result in action.tools if result.tool == EXPECTED), None)
    return None if expected is None or reward is None else number(reward - float(expected))


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


def _experience_says(record: Experience) -> str:
    surprise = "" if record.surprise is None else f", surprise {record.surprise:+g}"
    return f"{record.title}: advantage {record.advantage:+g}{surprise}"


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
    says=_experience_says,
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
