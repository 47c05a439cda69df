"""What agents are made from, what comes of it, and all else that an agent brings of its own."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.settings import Repeats
from agents.trajectory import Trajectory
from engine.delivery import Handler
from engine.messages import Message, Recalled
from engine.records import MemoryName
from storage.catalog import Catalog
from storage.datasets.fitting import Ratings

P = TypeVar("P", bound=msgspec.Struct)
S = TypeVar("S", bound=msgspec.Struct)


class Oracle(Protocol):
    """Knows the true world; only the bound may ask it, and policies that say that they do."""

    def rewards(self, trajectory: Trajectory) -> NDArray[np.float64]:
        """Return the reward that the user would give each item now."""
        ...

    def bores(self, trajectory: Trajectory, item: int) -> bool:
        """Tell whether *item* would make the user leave now, whatever its reward."""
        ...

    def near(self, item: int) -> NDArray[np.bool_]:
        """Return which items are nearer to *item* than β, [items]."""
        ...


Subscriptions: TypeAlias = Sequence[tuple[type | UnionType, Handler[Trajectory]]]
"""Message types with the handlers that hear them, in order of subscription."""


@dataclass(frozen=True)
class World(Generic[S]):
    """What agents are made from; *settings* are the agent's own.

    *repeats* says what becomes of items shown before; *structured* asks models for JSON objects.
    *ratings* gives what the training users rated before. *oracle* is for the bound, and for
    policies whose settings say what they are told.
    """

    catalog: Catalog
    settings: S
    ratings: Callable[[], Ratings]
    oracle: Oracle
    repeats: Repeats = "forbid"
    structured: bool = False

    @property
    def no_repeats(self) -> bool:
        """Whether policies leave out what was shown before."""
        return self.repeats != "allow"


def _untold(_: Sequence[Message], __: Any) -> Sequence[Any]:
    return ()


def _unasked(_: Message) -> tuple[int, tuple[Recalled, ...]] | None:
    return None


@dataclass(frozen=True)
class AgentMemory(MemoryName[P]):
    """A memory of an agent: its name, the type of its records, and what can be told of them.

    *key_lines* gives, of an episode's finished trajectory, the lines of every key that it could
    have written; *keyed_by* says of what they are made. *says* is a record in words. *told* gives
    the records that an episode left, in the order of the log, if its messages tell them all: it is
    given the agent's settings, too;
    *asked* the step (of a memory that is asked in states: the state) and what was recalled, if a
    message tells of it.
    """

    key_lines: Callable[[Trajectory], Iterable[tuple[str, ...]]] = field(repr=False)
    says: Callable[[P], str] = field(default=str, repr=False)
    keyed_by: str = "its own"
    told: Callable[[Sequence[Message], Any], Sequence[P]] = field(default=_untold, repr=False)
    asked: Callable[[Message], tuple[int, tuple[Recalled, ...]] | None] = field(
        default=_unasked, repr=False
    )
    asked_in: Literal["step", "state"] = "step"


@dataclass(frozen=True)
class Role:
    """Somebody whom an agent asks a model for; its settings are the agent's, of the same name.

    A call speaks of its step, of the step that led to the state (`state`), or of the whole
    `episode`. Its replies are recognised in the messages that it *publishes*. A role that values
    states names its *handlers*, such as `Critic.judge`: a rollout needs it for two states only.
    """

    name: str
    speaks_of: Literal["step", "state", "episode"] = "step"
    publishes: tuple[type[Message], ...] = ()
    handlers: frozenset[str] = frozenset()

    def step(self, call: int) -> int:
        """Return the step to which a call belongs: the value of state n + 1 follows from step n."""
        return max(0, call - 1) if self.speaks_of == "state" else call

    def speaks(self, call: int, step: int) -> bool:
        """Tell whether a *call* (its step) is the one in which the role speaks of a *step*."""
        return step == {"step": call, "state": call - 1, "episode": step}[self.speaks_of]


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of what has none."""


DIGEST = "digest"
"""How the names end of settings that are digests of an agent's files."""

PRIVILEGED = "privileged"
"""How the name ends of the setting that names what an agent is told that none could know."""


@dataclass(frozen=True)
class AgentFile:
    """A file that an agent is made of: `NAME:PATH` is the agent called NAME with the file at PATH.

    Named are the settings that say where the file is, which leaves no mark on a trace; what its
    digest is, which may be another for each seed of one agent; and the digest of the environment
    that the file was made in, of whose training users it may tell. *completed* returns settings of
    the agent, for a run of a seed, with what the file says, unless they say it already; it raises
    ConfigError.
    """

    path: str
    digest: str
    environment: str
    completed: Callable[[Any, int], msgspec.Struct]

    def at(self, path: str) -> dict[str, dict[str, str]]:
        """Return the settings that stand for a file at *path*, whatever it says."""
        table, _, name = self.path.partition(".")
        return {table: {name: path, self.digest.partition(".")[2]: ""}}


@dataclass(frozen=True)
class Agent:
    """How an agent is made, its settings, whom it asks a model for, and the memories it writes.

    The fields of *settings* stand among those of a run, so they are tables with names of their own;
    those of a role are `RoleSettings`. *file* says what becomes of `NAME:PATH`.
    """

    make: Callable[[World[Any]], Subscriptions]
    settings: type[msgspec.Struct] = NoSettings
    roles: tuple[Role, ...] = ()
    memories: tuple[AgentMemory[Any], ...] = ()
    file: AgentFile | None = None

    @property
    def critic(self) -> Role | None:
        """The role that values states, if there is one."""
        return next((role for role in self.roles if role.speaks_of == "state"), None)

    def role(self, name: str) -> Role:
        """Return the role called *name*; one that is not told of speaks of its step."""
        return next((role for role in self.roles if role.name == name), Role(name))
