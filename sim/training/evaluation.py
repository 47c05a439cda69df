"""What a policy comes to: its reward and length, and how many sequences it tells apart."""

from collections.abc import Sequence

import msgspec
import numpy as np

from agents.policies.learned.saved import Saved
from engine.messages import number
from sim.training.sight import Items, Sight, Visited

FEW = 3
"""Of how many first items the different sequences are counted as well."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """R_traj and Len of a visit of each of *users*.

    *sequences* is how many different ones users got, and *beginnings* how many different first
    three items: a policy that looks at nobody has one of each.
    """

    users: int
    r_traj: float
    len: float
    sequences: int
    beginnings: int


def evaluate(saved: Saved, crowd: Visited, sight: Sight, users: Items) -> Evaluation:
    """Return what a policy comes to with *users*, by the numbers that it is played with."""
    crowd.begin(users)
    here = np.ones(len(users), np.bool_)
    rewards, met = np.zeros(len(users)), []
    while here.any():
        closed = crowd.shown.copy()
        closed[closed.all(axis=1)] = False
        items = saved.best(sight.seen(sight.rows(crowd)), closed)
        stepped = crowd.step(items)
        rewards += stepped.rewards
        met.append(np.where(here, items, -1))
        here = here & ~(stepped.left | stepped.truncated)
    sequences: list[list[int]] = np.array(met).T.tolist()
    return Evaluation(
        users=len(users),
        r_traj=number(float(rewards.mean())),
        len=number(float(np.mean([len(_met(one)) for one in sequences]))),
        sequences=_different(sequences),
        beginnings=_different([one[:FEW] for one in sequences]),
    )


def _met(sequence: Sequence[int]) -> list[int]:
    return [item for item in sequence if item >= 0]


def _different(sequences: Sequence[Sequence[int]]) -> int:
    return len({tuple(one) for one in sequences})
