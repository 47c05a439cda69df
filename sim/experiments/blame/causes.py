"""What an episode may owe its course to: thoughts, recommendations, and records that were recalled.

Only what led to a recommendation counts. What the critic recalled, say, no user ever felt: it
stands beside the main line, and causality is visibility.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from agents.making import Agent, AgentMemory
from engine.messages import ActionTaken, Envelope, Message, PlanMade
from engine.records import Log

Kind: TypeAlias = Literal["thought", "recommendation", "record"]


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """A thought or a recommendation of a *step*, or a record that was recalled first at that step.

    *says* are its words. A record stands in a *memory* at a *position*, was *taught* by an episode
    and recalled at *recalls* steps; of the others these are empty, None and 0. *role* is who asks a
    model for a decision, empty where nobody does.
    """

    kind: Kind
    step: int
    says: str
    memory: str = ""
    position: int | None = None
    taught: int | None = None
    recalls: int = 0
    role: str = ""


def causes_of(
    envelopes: Sequence[Envelope[Message]],
    cast: Agent,
    logs: Mapping[str, Log],
) -> list[Cause]:
    """Return the causes of an episode: its decisions in order, then what it recalled."""
    line = main_line(envelopes)
    return [*_decisions(line, cast), *_records(line, cast.memories, logs)]


def most_recalled(causes: Sequence[Cause], count: int | None) -> list[Cause]:
    """Return *causes* with *count* of the records, those recalled at most steps; all if None."""
    records = [cause for cause in causes if cause.kind == "record"]
    most = sorted(records, key=lambda cause: -cause.recalls)[:count]
    return [cause for cause in causes if cause.kind != "record" or cause in most]


def main_line(envelopes: Sequence[Envelope[Message]]) -> list[Message]:
    """Return what led to recommendations, these included, in canonical order."""
    by_number = {envelope.n: envelope for envelope in envelopes}
    found: set[int] = set()
    for envelope in envelopes:
        above = envelope if isinstance(envelope.message, ActionTaken) else None
        while above is not None and above.n not in found:
            found.add(above.n)
            above = None if above.cause is None else by_number.get(above.cause)
    return [envelope.message for envelope in envelopes if envelope.n in found]


def _decisions(line: Sequence[Message], cast: Agent) -> Iterator[Cause]:
    roles = {kind: role.name for role in cast.roles for kind in role.publishes}
    for message in line:
        role = roles.get(type(message), "")
        if isinstance(message, PlanMade):
            yield Cause(kind="thought", step=message.step, says=message.thought, role=role)
        elif isinstance(message, ActionTaken):
            yield Cause(kind="recommendation", step=message.step, says=message.title, role=role)


def _records(
    line: Sequence[Message], memories: Sequence[AgentMemory[Any]], logs: Mapping[str, Log]
) -> Iterator[Cause]:
    for memory in memories:
        log = logs[memory.name]
        view = log.view(len(log))
        for position, steps in sorted(_recalled(line, memory).items()):
            record = view[position]
            yield Cause(
                kind="record",
                step=min(steps),
                says=memory.says(record.payload),
                memory=memory.name,
                position=position,
                taught=record.episode,
                recalls=len(steps),
            )


def _recalled(line: Sequence[Message], memory: AgentMemory[Any]) -> dict[int, set[int]]:
    """Return the steps at which each record of a *memory* was recalled, by position."""
    found: dict[int, set[int]] = {}
    for message in line:
        step, recalled = memory.asked(message) or (0, ())
        for one in recalled:
            found.setdefault(one.position, set()).add(step)
    return found
