"""What learners see of many visits at once: rows of numbers, and what the numbers stand for.

A row holds the user, the step, the last items and their rewards, and all items shown so far: a
replay buffer keeps no vectors of users and no masks of the catalog.
"""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agents.policies.learned.network import Floats, Seen
from agents.policies.learned.observation import Folding
from agents.policies.predictions import Predictor
from engine.errors import ConfigError
from engine.messages import number
from sim.gym.crowd import Stepped
from storage.datasets.ratings import training_ratings
from storage.environments import Environment

Rows = NDArray[np.float32]
Flags = NDArray[np.bool_]
Items = NDArray[np.int64]

MOST_TOLD = 20_000
"""In larger catalogs no table says which items are near which."""

USER, STEP, FIRST = 0, 1, 2
"""Where in a row the user, the step and the last items stand."""


class Visited(Protocol):
    """Many visits at once, in the world or in a model of it: see `sim.gym.crowd.Crowd`."""

    @property
    def users(self) -> Items:
        """Whose each visit is, [n]."""
        ...

    @property
    def steps(self) -> Items:
        """How many items were recommended in each, [n]."""
        ...

    @property
    def shown(self) -> Flags:
        """Which items were, [n, items]."""
        ...

    def begin(self, users: Items) -> None:
        """Begin visits by *users*, in place of all that there are."""
        ...

    def restart(self, where: Flags, users: Items) -> None:
        """Begin visits by *users* in the places *where* others are over."""
        ...

    def step(self, items: Items) -> Stepped:
        """Recommend an item in each visit."""
        ...

    def recent(self, count: int) -> tuple[Items, Floats]:
        """Return the last items and rewards, [n, count], the newest last; −1 and 0 before them."""
        ...


@dataclass(frozen=True, eq=False)
class Sight:
    """How visits are seen: users by their vectors [users, u], the last *window* items.

    *near* [items, items], if it is told, says which items are near which.
    """

    folding: Folding
    vectors: Floats
    window: int
    limit: int
    near: Flags | None

    @property
    def items(self) -> int:
        """The size of the catalog."""
        return len(self.folding.items)

    def rows(self, crowd: Visited) -> Rows:
        """Return what is seen of each visit of a *crowd*, [n, 2 + 2·window + limit]."""
        shown, rewards = crowd.recent(max(self.limit, self.window))
        items = np.flip(shown[:, -self.window :], axis=1)
        brought = np.flip(rewards[:, -self.window :], axis=1)
        # Positions up to 2**24 are exact.
        whole = np.column_stack([crowd.users, crowd.steps, items, brought, shown])
        return whole.astype(np.float32)

    def seen(self, rows: Rows) -> Seen:
        """Return what a network in NumPy sees of *rows*."""
        items = self.recent(rows)
        rewards = rows[:, FIRST + self.window : FIRST + 2 * self.window].astype(np.float64)
        near = None
        if self.near is not None:
            near = np.any(self.near[items] & (items >= 0)[:, :, None], axis=1)
        users = self.vectors[rows[:, USER].astype(np.int64)]
        return Seen(users, items, rewards, rows[:, STEP].astype(np.float64) / self.limit, near)

    def recent(self, rows: Rows) -> Items:
        """Return the last items, [n, window], the newest first, −1 where there is none yet."""
        return rows[:, FIRST : FIRST + self.window].astype(np.int64)

    def shown(self, rows: Rows) -> Items:
        """Return all items shown, [n, limit], −1 where there is none yet."""
        return rows[:, FIRST + 2 * self.window :].astype(np.int64)


def sight(environment: Environment, *, history: int, limit: int, window: int, told: bool) -> Sight:
    """Return how visits in *environment* are seen; *told* which items are near which.

    Raises ConfigError if the catalog is too large to be told.
    """
    predictor = Predictor(partial(training_ratings, environment))
    folding = Folding.of(predictor.model)
    users = range(len(environment.users))
    vectors = [folding.vector(_history(environment, user, history)) for user in users]
    near = _near(environment) if told else None
    return Sight(folding, np.array(vectors), window, limit, near)


def _history(environment: Environment, user: int, count: int) -> list[tuple[int, float]]:
    return [(item, number(rating)) for item, rating in environment.history(user, count)]


def _near(environment: Environment) -> Flags:
    count = len(environment.catalog)
    if count > MOST_TOLD:
        what = f"no policy is told which of {count:,} items are near which"
        raise ConfigError(what, hint=f"privileged=pair is for up to {MOST_TOLD:,}")
    everything = np.arange(count)
    return np.stack([environment.factors.near(item, everything) for item in everything.tolist()])
