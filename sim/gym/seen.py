"""What a learner sees of a visit: the spaces of observations and actions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Space
from numpy.typing import NDArray

from engine.errors import ConfigError
from sim.config.layers import configured
from sim.config.run import RunConfig
from sim.gym.past import Flags, Floats, Whole
from sim.runs.scenario import check_runnable
from storage.datasets import open_environment
from storage.environments import Environment
from storage.factors import significant_all

Observation: TypeAlias = dict[str, Whole | Floats]
"""By name: *history* and *ratings*, *items* and *rewards*, *shown*, *step*."""

SESSIONS = 1 << 31
"""How many sessions of a user there are to draw from."""

Where: TypeAlias = str | Environment
How: TypeAlias = RunConfig | Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Sight:
    """What is seen in an *environment* with the rules of *config*: the last *recent* steps."""

    environment: Environment
    config: RunConfig
    recent: int

    def __post_init__(self) -> None:
        if self.recent < 1:
            raise ConfigError(f"recent: expected at least 1 step, got {self.recent!r}")

    @property
    def actions(self) -> Space[np.int64]:
        """Any item, by its position in the catalog."""
        return Discrete(len(self.environment.catalog))

    @property
    def space(self) -> Space[Any]:  # Gymnasium takes what is in a Dict for spaces
        """The observations of a visit."""
        limit = self.config.limit
        return Dict(
            {
                "history": self._items(self.config.history),
                "ratings": self._rewards(self.config.history),
                "items": self._items(self.recent),
                "rewards": self._rewards(self.recent),
                "shown": self._items(limit),
                "step": Box(0, limit, (1,), np.int64),
            }
        )

    def _items(self, count: int) -> Box:
        return Box(-1, len(self.environment.catalog) - 1, (count,), np.int64)

    def _rewards(self, count: int) -> Box:
        factors = self.environment.factors
        return Box(min(factors.low, 0.0), max(factors.high, 0.0), (count,), np.float64)

    def histories(self, users: Whole) -> tuple[Whole, Floats]:
        """Return what *users* [n] met before, and their ratings, [n, history]: the newest last.

        Where there are fewer, −1 and 0 stand before them.
        """
        known = self.environment.users
        place = known.offsets[users + 1][:, None] + np.arange(-self.config.history, 0)
        there = place >= known.offsets[users][:, None]
        ratings = significant_all(known.ratings[np.where(there, place, 0)])
        items = known.items[np.where(there, place, 0)].astype(np.int64)
        return np.where(there, items, -1), np.where(there, ratings, 0.0)

    def open_to(self, shown: Flags) -> NDArray[np.int8]:
        """Return 1 for items that may be recommended where those *shown* were, else 0."""
        free = self.config.repeats == "allow"
        return np.ones(shown.shape, np.int8) if free else (~shown).view(np.int8)


def sight(environment: Where | None, config: How | None, recent: int) -> Sight:
    """Return what is seen in *environment*, else in the one that *config* names.

    *config* is a `RunConfig`, or settings as those of run.toml. Raises ConfigError for rules that
    cannot be run there, DataError for what is no environment.
    """
    plain = config if isinstance(config, RunConfig) else configured(config or {})
    named = plain.environment if environment is None else environment
    there = open_environment(named) if isinstance(named, str) else named
    check_runnable(plain, there)
    return Sight(there, plain, recent)
