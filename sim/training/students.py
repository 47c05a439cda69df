"""Who learns in a world, or in a model of one: DQN and A2C."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from tianshou.algorithm import A2C, DQN
from tianshou.algorithm.algorithm_base import Algorithm
from tianshou.data import Batch, VectorReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step

from sim.training.lessons import (
    REFRESHED,
    Chooser,
    Lazy,
    Lesson,
    Played,
    Student,
    Valuer,
    buffer_of,
    losses,
    one,
)
from sim.training.logged import Transitions, at_random, gathered, taken
from sim.training.scorer import Critic
from sim.training.sight import Items, Visited
from storage.datasets.draws import words

_HUBER = 5.0  # beyond this an error of a value counts by its size, not by its square
_TRUST = 2.0  # how much of the predicted reward an actor begins with
_ENTROPY, _CLIPPED, _TRACE = 0.02, 1.0, 0.95
_KEPT = 50_000  # steps that are remembered
_EXPLORING = (1.0, 0.05, 0.5)  # at first, at last, and after which share of the updates


class Visits(Lazy, VectorReplayBuffer):
    """Steps of many visits at once."""


@dataclass(eq=False)
class Explorer:
    """Learns in a *crowd* while it tries things out: after each step of all from a batch."""

    algorithm: Algorithm
    played: Played
    lesson: Lesson
    crowd: Visited
    steps: int = 0
    buffer: Visits = field(init=False)

    def __post_init__(self) -> None:
        visits = self.lesson.plan.visits
        self.buffer = Visits(max(_KEPT // visits, 1) * visits, visits)
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
            return losses(self.algorithm.update(buffer=self.buffer, sample_size=plan.batch))

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
            return losses(self.algorithm.update(buffer=buffer, batch_size=batch, repeat=1))

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


def dqn(lesson: Lesson, crowd: Visited) -> Student:
    """Return who learns by deep Q-learning in the world itself."""
    scorer = lesson.scorer()
    policy = Valuer(model=scorer, action_space=lesson.actions)
    algorithm = DQN(
        policy=policy,
        optim=lesson.optimizer,
        gamma=lesson.plan.discount,
        target_update_freq=REFRESHED,
        huber_loss_delta=_HUBER,
    )
    return Explorer(algorithm, Played(scorer, one()), lesson, crowd)


def a2c(lesson: Lesson, crowd: Visited, scale: float) -> Student:
    """Return who learns as actor and critic, of rewards that count *scale* times."""
    actor = lesson.scorer(trust=_TRUST)
    policy = Chooser(actor=actor, action_space=lesson.actions)
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
    return Actor(algorithm, Played(actor, one()), lesson, crowd, scale)
