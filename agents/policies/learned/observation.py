"""What a learned policy may know of a user and a visit, as numbers.

The user's vector is folded in from the history shown, by the factors that greedy and LinUCB
predict with: fitted to what training users rated before, and to nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.making import Oracle
from agents.policies.learned.network import Floats, Seen
from agents.policies.predictions import history
from agents.trajectory import Trajectory
from storage.datasets.fitting import RewardModel, fold_in
from storage.factors import significant_all


@dataclass(frozen=True, eq=False)
class Folding:
    """How users are folded in: *items* [items, d] and *item_bias* [items] about a *mean* [1]."""

    mean: Floats
    item_bias: Floats
    items: Floats

    @classmethod
    def of(cls, model: RewardModel) -> "Folding":
        """Return how users are folded in to a fitted model."""
        return cls(np.array([model.mean]), model.item_bias, model.items)

    @property
    def width(self) -> int:
        """How many numbers a user's vector has: factors and a bias."""
        return int(self.items.shape[1]) + 1

    def check(self) -> None:
        """Raise ValueError if the parts do not fit together."""
        fits = self.items.ndim == 2 and self.item_bias.shape == (len(self.items),)
        if not fits or self.mean.shape != (1,):
            raise ValueError("its factors are not of one catalog")

    def vector(self, known: Sequence[tuple[int, float]]) -> Floats:
        """Return the vector of who rated the *known* items, [d + 1], to 6 significant digits."""
        nobody = np.zeros((0, self.items.shape[1]))
        model = RewardModel(float(self.mean[0]), np.zeros(0), self.item_bias, nobody, self.items)
        items = np.array([item for item, _ in known], np.int64)
        factors, bias = fold_in(model, items, np.array([value for _, value in known], np.float64))
        return significant_all(np.append(factors, bias))


def sight_of(folding: Folding, trajectory: Trajectory, window: int, limit: int) -> Seen:
    """Return what is seen of a visit before its next step, a single row."""
    recent = trajectory.recent(window)[::-1]
    items = np.full((1, window), -1, np.int64)
    rewards = np.zeros((1, window))
    items[0, : len(recent)] = [step.item for step in recent]
    rewards[0, : len(recent)] = [step.reward for step in recent]
    user = folding.vector(history(trajectory))[None]
    return Seen(user, items, rewards, np.array([trajectory.step / limit]))


def near_recent(oracle: Oracle, items: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Return which of *count* items are truly near one of the last ones, [1, items]."""
    near = np.zeros((1, count), np.bool_)
    for item in items[0].tolist():
        if item >= 0:
            near[0] |= oracle.near(item)
    return near
