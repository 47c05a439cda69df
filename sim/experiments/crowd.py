"""Many users at once, step by step: the simulated world without messages, for judging worlds.

Rewards are in floating point here, and so within 1e-4 of those that users give.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from sim.config.run import RunConfig
from sim.world.quitting.billp import QuitSettings
from sim.world.quitting.quantile import QuantileSettings
from sim.world.traits import trait
from storage.environments import Environment

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Items: TypeAlias = NDArray[np.int64]

_NEVER = -1e9


@dataclass(frozen=True, eq=False)
class Crowd:
    """*users* of an environment, who leave and enjoy as *config* says.

    The quit rule is `billp` or `quantile`, everybody's tolerance 1; raises ConfigError for others.
    """

    environment: Environment
    config: RunConfig
    users: Sequence[int]
    _near: dict[int, Flags] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rule, changes = self.config.quit, self.config.rewards
        alike = isinstance(rule, QuitSettings) or (
            isinstance(rule, QuantileSettings) and rule.tolerance == (1.0, 1.0)
        )
        if not alike or changes.drift:
            what = (
                "a world is judged by the quit rules billp and quantile, without drift or tolerance"
            )
            raise ConfigError(what, hint="--set quit_rule=quantile")

    def of(self, users: Sequence[int]) -> "Crowd":
        """Return other *users* of the same environment."""
        return Crowd(self.environment, self.config, users, self._near)

    @cached_property
    def rewards(self) -> Floats:
        """The rewards of all items before anything was met, [users, items]."""
        factors, offset = self.environment.factors, self.config.rewards.offset
        rows = np.stack([factors.rewards(user) for user in self.users]) + offset
        return np.clip(rows, factors.low, factors.high)

    @cached_property
    def lowest(self) -> Floats:
        """The reward below which each user leaves."""
        rule, factors = self.config.quit, self.environment.factors
        if isinstance(rule, QuantileSettings):
            return np.array([factors.quantile(user, rule.quantile) for user in self.users])
        return np.full(len(self.users), rule.lowest)

    @cached_property
    def strength(self) -> Floats:
        """How much an item of a category lowers the next, for each user."""
        between = self.config.rewards.satiation
        return np.array([trait(user, "satiation", between) for user in self.users])

    @cached_property
    def shares(self) -> Floats:
        """What part of an item each category is, [items, categories]: 1 ÷ its categories."""
        catalog = self.environment.catalog
        columns, ends = catalog.labels
        counts = np.diff(ends)
        table = np.zeros((len(catalog), len(catalog.category_names)))
        np.add.at(table, (np.repeat(np.arange(len(catalog)), counts), columns), 1.0)
        return np.asarray(table / np.maximum(counts, 1)[:, None])

    def near(self, item: int) -> Flags:
        """Return which items are near *item*."""
        if item not in self._near:
            places, lengths = self._places
            # Whole numbers below 2**53, so exact: what the factors say, without a copy each time.
            squared = lengths + lengths[item] - 2 * (places @ places[item])
            self._near[item] = squared < self.environment.factors.beta_squared
        return self._near[item]

    @cached_property
    def _places(self) -> tuple[Floats, Floats]:
        places = self.environment.factors.places.astype(np.float64)
        return places, np.square(places).sum(axis=1)


@dataclass(eq=False)
class Visits:
    """The visits of a crowd, all at the same step.

    *met* and *given* hold items and rewards step by step; *enough* is satiation by category.
    """

    crowd: Crowd
    enough: Floats = field(init=False)
    here: Flags = field(init=False)
    shown: Flags = field(init=False)
    met: list[Items] = field(default_factory=list)
    given: list[Floats] = field(default_factory=list)
    stayed: list[Flags] = field(default_factory=list)

    def __post_init__(self) -> None:
        users, items = self.crowd.rewards.shape
        self.enough = np.zeros((users, self.crowd.shares.shape[1]))
        self.here = np.ones(users, np.bool_)
        self.shown = np.zeros((users, items), np.bool_)

    def levels(self) -> Floats:
        """Return how much of each item the users have had, before their strength."""
        return self.enough @ self.crowd.shares.T

    def window(self) -> list[Items]:
        """Return the items that are remembered, step by step."""
        window = self.crowd.config.quit.window
        return self.met[-window:] if window else []

    def bored(self) -> Flags:
        """Return which items are near one of the window, [users, items]."""
        bored = np.zeros_like(self.shown)
        for items in self.window():
            for user, item in enumerate(items.tolist()):
                bored[user] |= self.crowd.near(item)
        return bored

    def rewards(self) -> Floats:
        """Return what each item is worth now, [users, items]."""
        factors, crowd = self.crowd.environment.factors, self.crowd
        sated = crowd.strength[:, None] * self.levels()
        return np.clip(crowd.rewards - sated, factors.low, factors.high)

    def best(self, worth: Floats) -> Items:
        """Return the item of most *worth* to each user that neither bores nor was shown."""
        open_to = np.where(self.shown, 2 * _NEVER, worth + _NEVER * self.bored())
        best: Items = np.argmax(open_to, axis=1)
        return best

    def take(self, items: Items) -> None:
        """Let each user meet an item."""
        users, crowd = np.arange(len(items)), self.crowd
        sated = crowd.strength * (self.enough * crowd.shares[items]).sum(axis=1)
        scale = self.crowd.environment.factors
        rewards = np.clip(crowd.rewards[users, items] - sated, scale.low, scale.high)
        bored = np.zeros_like(self.here)
        for earlier in self.window():
            pairs = zip(earlier.tolist(), items.tolist(), strict=True)
            bored |= np.array([crowd.near(one)[other] for one, other in pairs])
        self.given.append(np.where(self.here, rewards, 0.0))
        self.here = self.here & ~bored & (rewards >= crowd.lowest)
        self.stayed.append(self.here)
        self.met.append(items)
        self.shown[users, items] = True
        self.enough = crowd.config.rewards.recovery * self.enough + (crowd.shares[items] > 0)

    def total(self) -> float:
        """Return R_traj, the mean over users."""
        return float(np.sum(self.given) / len(self.here))


Choice: TypeAlias = Callable[[Visits], Items]


def play(crowd: Crowd, choose: Choice) -> Visits:
    """Return the visits of *crowd* in which everybody meets what is chosen."""
    visits = Visits(crowd)
    while visits.here.any() and len(visits.met) < crowd.config.limit:
        visits.take(choose(visits))
    return visits
