"""The leak check: nothing that an agent learned from may have come from the users it is tested on.

Looked at, in the files of a finished run: who was trained on and who was tested; what the memories
hold, and by whom it was written; that every key is made of what an agent was shown, and of nothing
else; that tests taught nobody where memory was frozen; and that an agent from a file was trained in
this very environment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from agents.embeddings import hashed
from agents.making import AgentMemory
from agents.trajectory import Trajectory, folding
from engine.errors import LeakError
from engine.messages import (
    ActionTaken,
    EpisodeStarted,
    Message,
    PlanMade,
    PlanRequested,
    RunStarted,
    UserResponded,
)
from sim.runs.recorded import cast_of
from storage.environments import Environment
from storage.memory import Memory
from storage.runs import RunDirectory
from storage.traces import read_episodes, read_head

_MAIN_LINE = (EpisodeStarted, PlanRequested, PlanMade, ActionTaken, UserResponded)


def check_leaks(directory: RunDirectory, environment: Environment) -> int:
    """Look for leaks in a finished run and return how many records were looked at.

    Raises LeakError for the first one found.
    """
    head = read_head(directory.trace)
    cast = cast_of(directory, head)
    visits = _Visits(environment, head, cast.memories)
    if cast.file is not None:
        _check_file(str(visits.setting(cast.file.environment)), head)
    for number, envelopes in read_episodes(directory.trace, _MAIN_LINE):
        visits.take(number, [envelope.message for envelope in envelopes])
    return sum(_check_memory(directory, name, visits) for name in visits.memories)


def _check_file(environment: str, head: RunStarted) -> None:
    """Raise LeakError unless what the agent was made of comes from the run's own training users.

    In another environment, if only by the draw of its test users, others are trained on.
    """
    if environment != head.environment:
        raise LeakError(
            f"the agent {head.agent} was trained in another environment, "
            f"{environment[:12]!r}, on users who may be among those it is tested on"
        )


@dataclass(eq=False)
class _Visits:
    """Reads a trace, episode by episode: whose it was, and what keys it could have written."""

    environment: Environment
    head: RunStarted
    memories: Sequence[AgentMemory[Any]]
    keys: dict[int, Mapping[str, frozenset[bytes]]] = field(default_factory=dict)
    phases: dict[int, str] = field(default_factory=dict)

    def setting(self, name: str) -> object:
        """Return a setting of the run."""
        return dict(self.head.settings).get(name)

    def take(self, number: int, messages: Sequence[Message]) -> None:
        """Check whose the episode was, and note what keys it could have written."""
        for message in messages:
            if isinstance(message, EpisodeStarted):
                self._check_user(number, message)
        if self.setting("embeddings") != "hashing":
            return
        trajectory: Trajectory = reduce(folding(self.environment.catalog), messages, None)
        self.keys[number] = {
            one.name: frozenset(hashed(lines).tobytes() for lines in one.key_lines(trajectory))
            for one in self.memories
        }

    def _check_user(self, number: int, started: EpisodeStarted) -> None:
        self.phases[number] = started.phase
        test = bool(self.environment.users.test[started.user])
        if test is not (started.phase == "test"):
            part = "a test user" if test else "a training user"
            raise LeakError(f"episode {number} is one of {started.phase}ing, and its user {part}")
        own = dict(self.environment.history(started.user, len(started.history) or 1))
        for rated in started.history:
            if rated.item not in own:
                raise LeakError(
                    f"episode {number} shows {rated.title!r}, which user {started.user} "
                    "did not have before"
                )


def _check_memory(directory: RunDirectory, name: AgentMemory[Any], visits: _Visits) -> int:
    memory, frozen = Memory.load(directory.memory, name), visits.setting("test_memory") == "frozen"
    for position, record in enumerate(memory.records()):
        if frozen and visits.phases.get(record.episode) != "train":
            raise LeakError(
                f"record {position} of memory {name.name!r} was written by episode "
                f"{record.episode}, which is none of training"
            )
        keys = visits.keys.get(record.episode)
        if keys is not None and record.key.tobytes() not in keys[name.name]:
            raise LeakError(
                f"record {position} of memory {name.name!r} lies under a key that is not made of "
                f"what episode {record.episode} showed"
            )
    return len(memory)
