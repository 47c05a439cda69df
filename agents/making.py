"""What agents are made from, and what comes of it: handlers, in order of subscription."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agents.settings import AgentSettings
from agents.trajectory import Trajectory
from engine.delivery import Handler
from engine.records import MemoryName
from storage.catalog import Catalog
from storage.datasets.fitting import Ratings


class Oracle(Protocol):
    """Knows the true world; only the bound may ask it."""

    def rewards(self, user: int) -> NDArray[np.float64]:
        """Return the reward that *user* gives each item."""
        ...

    def near(self, item: int, others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of *others* are too much like *item*."""
        ...


Subscriptions: TypeAlias = Sequence[tuple[type | UnionType, Handler[Trajectory]]]
"""Message types with the handlers that hear them, in order of subscription."""


@dataclass(frozen=True)
class World:
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

    make: Callable[[World], Subscriptions]
    memories: tuple[MemoryName[Any], ...] = ()
