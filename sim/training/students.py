"""Who learns: tianshou's algorithms on our network, what they learn from, and what is played.

What tianshou's policies would have to be told of items that were shown is in the network itself:
there they get next to nothing. Of its policies only those of the DQN family read a mask.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from gymnasium.spaces import Discrete
from tianshou.algorithm import A2C, DQN, DiscreteBCQ, DiscreteCQL, DiscreteCRR
from tianshou.algorithm.algorithm_base import Algorithm, TrainingStats
from tianshou.algorithm.imitation.discrete_bcq import DiscreteBCQPolicy
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import (
    AdamOptimizerFactory,
    LRSchedulerFactory,
    OptimizerFactory,
)
from tianshou.data import Batch, ReplayBuffer, VectorReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from sim.training.logged import Transitions, at_random, gathered, taken
from sim.training.plan import Training
from sim.training.scorer import ActionValues, Critic, Scorer
from sim.training.sight import Items, Sight, Visited
from sim.training.supervised import SQN, Head
from storage.datasets.draws import integers, words

_REFRESHED = 200  # updates after which targets are taken from the newest weights
_HUBER = 5.0  # beyond this an error of a value counts by its size, not by its square
_CAUTION = 0.3  # how much it counts that values of what the log lacks are low
_THRESHOLD = 0.3  # of the likeliest item's likelihood: what is less likely is left out
_TRUST = 2.0  # how much of the predicted reward an actor begins with
_ENTROPY, _CLIPPED, _TRACE = 0.02, 1.0, 0.95
_KEPT = 50_000  # steps that are remembered
_EXPLORING = (1.0, 0.05, 0.5)  # at first, at last, and after which share of the updates


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


@dataclass(eq=False)
class Reader:
    """Learns from a *buffer* of what was logged, and from nothing else."""

    algorithm: Algorithm
    played: Played
    buffer: Drawn
    plan: Training
    steps: int = 0

    def learn(self, update: int) -> Mapping[str, float]:
        """Learn from a batch."""
        self.buffer.name = f"{self.plan.seed} {update}"
        with policy_within_training_step(self.algorithm.policy):
            told = self.algorithm.update(buffer=self.buffer, sample_size=self.plan.batch)
        return _losses(told)


@dataclass(eq=False)
class Explorer:
    """Learns in a *crowd* while it tries things out: after each step of all from a batch."""

    algorithm: Algorithm
    played: Played
    lesson: Lesson
    crowd: Visited
    steps: int = 0
    buffer: VectorReplayBuffer = field(init=False)

    def __post_init__(self) -> None:
        visits = self.lesson.plan.visits
        self.buffer = VectorReplayBuffer(max(_KEPT // visits, 1) * visits, visits)
        self.crowd.begin(self.lesson.visitors("first", visits))

    def learn(self, update: int) -> Mapping[str, float]:
        """Take a step of all visits, and learn from a batch of those so far."""
        plan, sight = self.lesson.plan, self.lesson.sight
        rows = sight.rows(self.crowd)
        step = taken(self.crowd, sight, self._chosen(rows, update), rows)
        self.steps += len(step)
        self.buffer.add(
            Batch(
                obs=step.rows,
                act=step.items,
                rew=step.rewards,
                terminated=step.left,
                truncated=step.truncated,
                obs_next=step.after,
                info=Batch(),
            )
        )
        over = step.left | step.truncated
        self.crowd.restart(over, self.lesson.visitors(f"{update}", int(over.sum())))
        with policy_within_training_step(self.algorithm.policy):
            return _losses(self.algorithm.update(buffer=self.buffer, sample_size=plan.batch))

    def _chosen(self, rows: np.ndarray, update: int) -> Items:
        """Return the best items, but at random for the share of visits that explore."""
        plan = self.lesson.plan
        first, last, until = _EXPLORING
        share = max(last, first - (first - last) * update / (until * plan.updates))
        name = f"{plan.seed} {update}"
        exploring = words(0, f"exploring {name}", len(rows)) < np.uint64(share * (2**64 - 2**11))
        with torch.no_grad():
            best = self.algorithm.policy(Batch(obs=rows, info=Batch())).act
        return np.where(exploring, at_random(self.crowd.shown, name), best)


@dataclass(eq=False)
class Actor:
    """Learns from what comes of its own choices, some steps of many visits at a time."""

    algorithm: Algorithm
    played: Played
    lesson: Lesson
    crowd: Visited
    scale: float
    steps: int = 0

    def __post_init__(self) -> None:
        self.crowd.begin(self.lesson.visitors("first", self.lesson.plan.visits))

    def learn(self, update: int) -> Mapping[str, float]:
        """Take some steps of all visits, and learn from them once."""
        with policy_within_training_step(self.algorithm.policy):
            buffer = buffer_of(self._played(update), scale=self.scale)
            self.steps += len(buffer)
            batch = self.lesson.plan.batch
            return _losses(self.algorithm.update(buffer=buffer, batch_size=batch, repeat=1))

    def _played(self, update: int) -> Transitions:
        parts = [self._step(f"{update} {n}") for n in range(self.lesson.plan.rollout)]
        # What goes on is cut short here: its last state is worth what the critic says.
        parts[-1].truncated[:] = ~parts[-1].left
        # One visit behind the other, as a buffer wants them.
        visits = len(parts[0])
        order = np.arange(visits * len(parts)).reshape(len(parts), visits).T.ravel()
        return gathered(parts).part(order)

    def _step(self, name: str) -> Transitions:
        sight = self.lesson.sight
        rows = sight.rows(self.crowd)
        with torch.no_grad():
            items = self.algorithm.policy(Batch(obs=rows, info=Batch())).act.numpy()
        step = taken(self.crowd, sight, items, rows)
        over = step.left | step.truncated
        self.crowd.restart(over, self.lesson.visitors(name, int(over.sum())))
        return step


def _losses(told: TrainingStats) -> dict[str, float]:
    return {name: float(value) for name, value in told.get_loss_stats_dict().items()}


def _one() -> Tensor:
    return torch.ones(1)


def dqn(lesson: Lesson, crowd: Visited) -> Student:
    """Return who learns by deep Q-learning in the world itself."""
    scorer = lesson.scorer()
    policy = DiscreteQLearningPolicy(model=scorer, action_space=lesson.actions)
    algorithm = DQN(
        policy=policy,
        optim=lesson.optimizer,
        gamma=lesson.plan.discount,
        target_update_freq=_REFRESHED,
        huber_loss_delta=_HUBER,
    )
    return Explorer(algorithm, Played(scorer, _one()), lesson, crowd)


def a2c(lesson: Lesson, crowd: Visited, scale: float) -> Student:
    """Return who learns as actor and critic, of rewards that count *scale* times."""
    actor = lesson.scorer(trust=_TRUST)
    policy = DiscreteActorPolicy(actor=actor, action_space=lesson.actions)
    algorithm = A2C(
        policy=policy,
        critic=Critic(lesson.sight, lesson.plan, lesson.users),
        optim=lesson.optimizer,
        ent_coef=_ENTROPY,
        max_grad_norm=_CLIPPED,
        gae_lambda=_TRACE,
        gamma=lesson.plan.discount,
        max_batchsize=lesson.plan.batch,
    )
    return Actor(algorithm, Played(actor, _one()), lesson, crowd, scale)


def sqn(lesson: Lesson, log: Transitions) -> Student:
    """Return who learns to tell what pleased and kept users, with Q-learning beside it."""
    scorer = lesson.scorer(heads=2)
    policy = DiscreteQLearningPolicy(model=Head(scorer, 0), action_space=lesson.actions)
    algorithm = SQN(
        policy=policy,
        scorer=scorer,
        pleasing=float(np.median(log.rewards)),
        optim=lesson.optimizer,
        gamma=lesson.plan.discount,
        target_update_freq=_REFRESHED,
    )
    played = Played(scorer, torch.tensor([0.0, 1.0]))
    return Reader(algorithm, played, buffer_of(log), lesson.plan)


def bcq(lesson: Lesson, log: Transitions) -> Student:
    """Return who learns values among what the log is likely to do."""
    scorer, imitator = lesson.scorer(), lesson.scorer(trust=0.0)
    policy = DiscreteBCQPolicy(
        model=scorer,
        imitator=imitator,
        target_update_freq=_REFRESHED,
        unlikely_action_threshold=_THRESHOLD,
        action_space=lesson.actions,
    )
    algorithm = DiscreteBCQ(
        policy=policy,
        optim=lesson.optimizer,
        gamma=lesson.plan.discount,
        target_update_freq=_REFRESHED,
        imitation_logits_penalty=0.0,  # it would be of what was shown, and nothing else
    )
    played = Played(scorer, _one(), imitator, _THRESHOLD)
    return Reader(algorithm, played, buffer_of(log), lesson.plan)


def cql(lesson: Lesson, log: Transitions) -> Student:
    """Return who learns values, low ones for what the log lacks."""
    scorer = lesson.scorer(heads=2)
    policy = QRDQNPolicy(model=scorer, action_space=lesson.actions)
    algorithm = DiscreteCQL(
        policy=policy,
        optim=lesson.optimizer,
        min_q_weight=_CAUTION,
        gamma=lesson.plan.discount,
        num_quantiles=2,
        target_update_freq=_REFRESHED,
    )
    played = Played(scorer, torch.tensor([0.5, 0.5]))
    return Reader(algorithm, played, buffer_of(log), lesson.plan)


def crr(lesson: Lesson, log: Transitions) -> Student:
    """Return who learns to do what the log did better than average."""
    actor = lesson.scorer()
    policy = DiscreteActorPolicy(actor=actor, action_space=lesson.actions)
    algorithm = DiscreteCRR(
        policy=policy,
        critic=ActionValues(lesson.sight, lesson.plan, lesson.users),
        optim=lesson.optimizer,
        gamma=lesson.plan.discount,
        min_q_weight=1.0,
        target_update_freq=_REFRESHED,
    )
    return Reader(algorithm, Played(actor, _one()), buffer_of(log), lesson.plan)


READERS = {"sqn": sqn, "bcq": bcq, "cql": cql, "crr": crr}
"""Who learns from a log alone."""
