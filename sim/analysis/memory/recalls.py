"""What an episode recalled: each record with what it says, read in one go."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from agents.making import AgentMemory
from engine.messages import ActionTaken, Message, PlanMade, Recalled, StateValued
from sim.analysis.steps import Memo, Recalls

Texts: TypeAlias = Callable[[AgentMemory[Any], Collection[int]], Mapping[int, str]]
"""Returns what the records of a memory say at some positions, as far as that is known."""


def recalls_of(
    messages: Sequence[Message], memories: Sequence[AgentMemory[Any]], texts: Texts
) -> Recalls:
    """Return what tells of each of *messages* what was recalled for it.

    A memory's records are read in order, whichever are wanted: so all of an episode's are read at
    once.
    """
    known = {
        memory.name: texts(
            memory, {one.position for message in messages for one in _of(memory, message)}
        )
        for memory in memories
    }
    return partial(_memos, memories, known)


def _of(memory: AgentMemory[Any], message: Message) -> tuple[Recalled, ...]:
    asked = memory.asked(message)
    return () if asked is None else asked[1]


def _memos(
    memories: Sequence[AgentMemory[Any]], known: Mapping[str, Mapping[int, str]], message: Message
) -> tuple[Memo, ...]:
    return tuple(
        _memo(memory.name, one, known[memory.name].get(one.position))
        for memory in memories
        for one in _of(memory, message)
    )


def bare_recalls(message: Message) -> tuple[Memo, ...]:
    """Return what the message itself tells, where the agent is not here."""
    match message:
        case PlanMade():
            found = message.reflections
        case ActionTaken() | StateValued():
            found = message.recalled
        case _:
            found = ()
    return tuple(_memo("", one, None) for one in found)


def _memo(memory: str, one: Recalled, says: str | None) -> Memo:
    return Memo(
        memory=memory,
        position=one.position,
        episode=one.episode,
        distance=one.distance,
        says=says,
    )
