"""Who learns from a log alone: SQN, BCQ, CQL and CRR."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from tianshou.algorithm import DiscreteBCQ, DiscreteCQL, DiscreteCRR
from tianshou.algorithm.algorithm_base import Algorithm
from tianshou.algorithm.imitation.discrete_bcq import DiscreteBCQPolicy
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
from tianshou.utils.torch_utils import policy_within_training_step

from sim.training.lessons import (
    REFRESHED,
    Chooser,
    Drawn,
    Lazy,
    Lesson,
    Played,
    Student,
    Valuer,
    buffer_of,
    losses,
    one,
)
from sim.training.logged import Transitions
from sim.training.plan import Training
from sim.training.scorer import ActionValues
from sim.training.supervised import SQN, Head

_CAUTION = 0.3  # how much it counts that values of what the log lacks are low
_THRESHOLD = 0.3  # of the likeliest item's likelihood: what is less likely is left out


class _Among(Lazy, DiscreteBCQPolicy):
    """Takes the items of most value among those that a log is likely to have."""


class _Twofold(Lazy, QRDQNPolicy):
    """Takes the items of most value, of which it expects more than one."""


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
        return losses(told)


def sqn(lesson: Lesson, log: Transitions) -> Student:
    """Return who learns to tell what pleased and kept users, with Q-learning beside it."""
    scorer = lesson.scorer(heads=2)
    policy = Valuer(model=Head(scorer, 0), action_space=lesson.actions)
    algorithm = SQN(
        policy=policy,
        scorer=scorer,
        pleasing=float(np.median(log.rewards)),
        optim=lesson.optimizer,
        gamma=lesson.plan.discount,
        target_update_freq=REFRESHED,
    )
    played = Played(scorer, torch.tensor([0.0, 1.0]))
    return Reader(algorithm, played, buffer_of(log), lesson.plan)


def bcq(lesson: Lesson, log: Transitions) -> Student:
    """Return who learns values among what the log is likely to do."""
    scorer, imitator = lesson.scorer(), lesson.scorer(trust=0.0)
    policy = _Among(
        model=scorer,
        imitator=imitator,
        target_update_freq=REFRESHED,
        unlikely_action_threshold=_THRESHOLD,
        action_space=lesson.actions,
    )
    algorithm = DiscreteBCQ(
        policy=policy,
        optim=lesson.optimizer,
        gamma=lesson.plan.discount,
        target_update_freq=REFRESHED,
        imitation_logits_penalty=0.0,  # it would be of what was shown, and nothing else
    )
    played = Played(scorer, one(), imitator, _THRESHOLD)
    return Reader(algorithm, played, buffer_of(log), lesson.plan)


def cql(lesson: Lesson, log: Transitions) -> Student:
    """Return who learns values, low ones for what the log lacks."""
    scorer = lesson.scorer(heads=2)
    policy = _Twofold(model=scorer, action_space=lesson.actions)
    algorithm = DiscreteCQL(
        policy=policy,
        optim=lesson.optimizer,
        min_q_weight=_CAUTION,
        gamma=lesson.plan.discount,
        num_quantiles=2,
        target_update_freq=REFRESHED,
    )
    played = Played(scorer, torch.tensor([0.5, 0.5]))
    return Reader(algorithm, played, buffer_of(log), lesson.plan)


def crr(lesson: Lesson, log: Transitions) -> Student:
    """Return who learns to do what the log did better than average."""
    actor = lesson.scorer()
    policy = Chooser(actor=actor, action_space=lesson.actions)
    algorithm = DiscreteCRR(
        policy=policy,
        critic=ActionValues(lesson.sight, lesson.plan, lesson.users),
        optim=lesson.optimizer,
        gamma=lesson.plan.discount,
        min_q_weight=1.0,
        target_update_freq=REFRESHED,
    )
    return Reader(algorithm, Played(actor, one()), buffer_of(log), lesson.plan)


READERS = {"sqn": sqn, "bcq": bcq, "cql": cql, "crr": crr}
"""Who learns from a log alone."""
