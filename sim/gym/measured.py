"""Visits whose users leave by one measure of likeness and one of reward: many in one go, exactly.

That is by the rules `billp` and `quantile`, whatever changes rewards. All is in whole numbers and
in the roundings of the one user, so that nobody gets another reward or leaves at another step.
"""

from typing import TypeAlias

import numpy as np

from sim.config.run import RunConfig
from sim.gym.changes import Drift, Satiation
from sim.gym.past import Flags, Floats, Past, Whole
from sim.world.dynamics import strength_of
from sim.world.quitting.billp import BILLP, QuitSettings
from sim.world.quitting.quantile import QUANTILE, QuantileSettings, reach_of
from storage.environments import Environment
from storage.factors import significant_all

Measures: TypeAlias = tuple[int, float, int]
"""Below which squared distance and which reward a user leaves, and how fast they are sated."""

_FARTHEST = 1 << 52  # beyond all distances, and yet a whole number in float64


def measurable(config: RunConfig) -> bool:
    """Tell whether users leave by such measures under *config*."""
    # Not by the settings: a rule of the user's own may have the same.
    return any(config.rule is rule for rule in (BILLP, QUANTILE))


class Measured:
    """Answers for the users of *environment* in the visits whose *past* is given."""

    def __init__(self, environment: Environment, config: RunConfig, past: Past) -> None:
        self.environment, self.config, self.past = environment, config, past
        self._satiation = Satiation(environment.catalog, config.rewards.recovery)
        self._drift = Drift(environment.factors, config.rewards.drift, past.count)
        self._users = np.zeros(past.count, np.int64)
        self._measures = np.zeros((3, past.count))
        self._known: dict[int, Measures] = {}

    def begin(self, at: Whole, users: Whole, _: Whole) -> None:
        """Let *users* begin visits; which sessions they are does not matter."""
        self._users[at] = users
        self._measures[:, at] = np.array([self._of(user) for user in users.tolist()]).T
        if self.config.rewards.drift:
            self._drift.begin(at, users)

    def _of(self, user: int) -> Measures:
        if user not in self._known:
            self._known[user] = self._measure(user)
        return self._known[user]

    def _measure(self, user: int) -> Measures:
        factors, rule = self.environment.factors, self.config.quit
        strength = strength_of(user, self.config.rewards.satiation)
        if isinstance(rule, QuantileSettings):
            reach = min(reach_of(rule, factors, user), _FARTHEST)
            return reach, factors.quantile(user, rule.quantile), strength
        return factors.beta_squared, rule.lowest, strength

    def answer(self, at: Whole, items: Whole) -> tuple[Floats, Flags]:
        """Return what *items* are worth to the users of visits, and who leaves at them."""
        rewards = self._rewards(at, items)
        left = self._near(at, items) | (rewards < self._measures[1, at])
        if isinstance(self.config.quit, QuitSettings) and not self.config.quit.first_step:
            left &= self.past.steps[at] > 0
        if self.config.rewards.drift:
            self._drift.meet(at, items)
        return rewards, left

    def _rewards(self, at: Whole, items: Whole) -> Floats:
        factors, changes = self.environment.factors, self.config.rewards
        rewards = factors.reward_each(self._users[at], items) + changes.offset
        if any(changes.satiation):
            strength = self._measures[2, at].astype(np.int64)
            rewards -= self._satiation.of(self.past, at, items, strength)
        if changes.drift:
            rewards += self._drift.of(at, items)
        return significant_all(np.clip(rewards, factors.low, factors.high))

    def _near(self, at: Whole, items: Whole) -> Flags:
        """Tell which of *items* are too much like one of the window."""
        window = self.past.items_of(at, self.config.quit.window)
        squared = self.environment.factors.distances_squared_each(items, window)
        near: Flags = ((squared < self._measures[0, at][:, None]) & (window >= 0)).any(axis=1)
        return near
