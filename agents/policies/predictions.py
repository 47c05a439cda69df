"""Rewards as an agent can predict them: from training users, and what it sees of this one."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agents.policies.simple import following
from agents.trajectory import Trajectory
from engine.chance import Stream
from storage.datasets.fitting import Ratings, RewardModel, fit, fold_in
from storage.factors import significant_all

DIMENSIONS = 16
_SEED = 0


@dataclass(frozen=True)
class Predictor:
    """Biased matrix factorisation of the training users' *ratings*, fitted when first asked.

    Predictions are rounded to 6 digits, so that processors, which sum in orders of their own, agree
    on the best; what rounds alike is as good.
    """

    ratings: Callable[[], Ratings]

    @cached_property
    def model(self) -> RewardModel:
        """The fitted model."""
        return fit(self.ratings(), DIMENSIONS, _SEED)

    def rewards(self, known: Sequence[tuple[int, float]]) -> NDArray[np.float64]:
        """Return the predicted reward of every item, [items], for who rated the *known* ones."""
        items = np.array([item for item, _ in known], np.int64)
        values = np.array([value for _, value in known], np.float64)
        factors, bias = fold_in(self.model, items, values)
        model = self.model
        return significant_all(model.mean + bias + model.item_bias + model.items @ factors)


def history(trajectory: Trajectory) -> list[tuple[int, float]]:
    """Return the items of the history shown, with their ratings."""
    return [(one.item, one.rating) for one in trajectory.history]


@dataclass(frozen=True)
class Greedy:
    """The item of the best predicted reward; knows nothing of the world that users do not show."""

    predictor: Predictor

    def choose(self, trajectory: Trajectory, shown: Collection[int], stream: Stream) -> int:
        """Return the best item that was not shown, by the history and the rewards so far."""
        so_far = [(step.item, step.reward) for step in trajectory.steps()]
        rewards = self.predictor.rewards(history(trajectory) + so_far)
        rewards[sorted(shown)] = -np.inf
        return int(np.argmax(rewards))


GREEDY = following(lambda world: Greedy(Predictor(world.ratings)))
