"""What agents are made from, and what comes of it: handlers, in order of subscription."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, TypeAlias

from agents.baselines import Oracle
from agents.settings import AgentSettings
from agents.trajectory import Trajectory
from engine.delivery import Handler
from engine.records import MemoryName
from storage.catalog import Catalog
from storage.datasets.fitting import Ratings

Subscriptions: TypeAlias = Sequence[tuple[type | UnionType, Handler[Trajectory]]]
"""Message types with the handlers that hear them, in order of subscription."""


@dataclass(frozen=True)
class Setting:
    """What agents are made from.

    *ratings* gives what the training users rated before. *oracle* and *window*, the quit rule's,
    are for the bound alone.
    """

    catalog: Catalog
    settings: AgentSettings
    ratings: Callable[[], Ratings]
    oracle: Oracle
    window: int


@dataclass(frozen=True)
class Agent:
    """How an agent is made, and the memories that it writes."""

    make: Callable[[Setting], Subscriptions]
    memories: tuple[MemoryName[Any], ...] = ()
