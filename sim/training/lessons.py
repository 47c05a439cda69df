"""What everybody learns by: how visits are seen, at which rate, from which batches.

What tianshou's policies would have to be told of items that were shown is in the network itself:
there they get next to nothing. Of its policies only those of the DQN family read a mask.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from gymnasium.spaces import Discrete
from tianshou.algorithm.algorithm_base import Algorithm, TrainingStats
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import (
    AdamOptimizerFactory,
    LRSchedulerFactory,
    OptimizerFactory,
)
from tianshou.data import ReplayBuffer
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from sim.training.logged import Transitions
from sim.training.plan import Training
from sim.training.scorer import Scorer
from sim.training.sight import Items, Sight
from storage.datasets.draws import integers

REFRESHED = 200
"""Updates after which targets are taken from the newest weights."""


@dataclass(frozen=True)
class Falling(LRSchedulerFactory):
    """A rate that falls to 0 in so many *updates*.

    In Python's numbers: those of NumPy, which tianshou's own makes, no checkpoint can be read with.
    """

    updates: int

    def create_scheduler(self, optim: Optimizer) -> LRScheduler:
        """Return what lets the rate of *optim* fall."""
        return LambdaLR(optim, lambda update: 1 - update / self.updates)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What everybody learns by: how visits are seen, how it is learned, from which *users*."""

    sight: Sight
    plan: Training
    users: Items

    def scorer(self, *, heads: int = 1, trust: float = 1.0) -> Scorer:
        """Return a new network that gives items numbers."""
        return Scorer(self.sight, self.plan, self.users, heads=heads, trust=trust)

    @property
    def actions(self) -> Discrete:
        """The items, as tianshou knows them."""
        return Discrete(self.sight.items)

    @property
    def optimizer(self) -> OptimizerFactory:
        """Adam, at a rate that falls to 0."""
        rate = AdamOptimizerFactory(lr=self.plan.rate)
        return rate.with_lr_scheduler_factory(Falling(self.plan.updates))

    def visitors(self, name: str, count: int) -> Items:
        """Return so many users, drawn."""
        return self.users[integers(self.plan.seed, f"visitors {name}", count, len(self.users))]


@dataclass(eq=False)
class Played:
    """What of a student is played: a *scorer*, by the *shares* of its heads.

    *likely*, if there is one, says which items are left out, below the share *threshold*.
    """

    scorer: Scorer
    shares: Tensor
    likely: Scorer | None = None
    threshold: float = 0.0


class Student(Protocol):
    """Learns, one update after the other; *steps* of a world were taken for it so far."""

    algorithm: Algorithm
    played: Played
    steps: int

    def learn(self, update: int) -> Mapping[str, float]:
        """Make an update, the only one of this number, and return its losses."""
        ...


class Lazy:
    """What is of tianshou, and compiles its loops when they are needed.

    By itself it first compiles all that any algorithm may need: longer than many a training takes.
    """

    @staticmethod
    def _compile() -> None:
        """Compile nothing in advance."""


class Chooser(Lazy, DiscreteActorPolicy):
    """Draws items by what an actor gives them."""


class Valuer(Lazy, DiscreteQLearningPolicy):
    """Takes the items of most value."""


class Drawn(ReplayBuffer):
    """A buffer whose batches are drawn by name, so that one who goes on draws what is next."""

    name = ""

    def sample_indices(self, batch_size: int | None) -> np.ndarray:
        """Return the positions of a batch; of all in order, where none is asked for."""
        if not batch_size:
            return np.arange(len(self))
        return integers(0, f"batch {self.name}", batch_size, len(self))


def buffer_of(steps: Transitions, *, scale: float = 1.0) -> Drawn:
    """Return a buffer of *steps*, whose rewards count *scale* times."""
    filled: Drawn = Drawn.from_data(
        obs=steps.rows,
        act=steps.items,
        rew=steps.rewards * scale,
        terminated=steps.left,
        truncated=steps.truncated,
        done=steps.left | steps.truncated,
        obs_next=steps.after,
    )
    return filled


def losses(told: TrainingStats) -> dict[str, float]:
    """Return the losses of an update, by name."""
    return {name: float(value) for name, value in told.get_loss_stats_dict().items()}


def one() -> Tensor:
    """Return the share of the only head."""
    return torch.ones(1)
