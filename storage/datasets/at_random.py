"""Whether a world is as people were: its rewards beside ratings of what was shown at random."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.datasets.draws import bells
from storage.datasets.fitting import accuracy
from storage.environments import Accuracy, Environment, Randomised
from storage.factors import significant

PICKED = 3
_NORMAL = 1.96  # of 95 %


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy's picks are rated on average: as people did, and as the world rewards them.

    *margin* is the half of the 95 % interval of *rated* over users.
    """

    policy: str
    rated: float
    margin: float
    rewarded: float


@dataclass(frozen=True, eq=False)
class _Shown:
    """What one user was shown: the items, how he rated them, and what the world gives."""

    items: NDArray[np.int32]
    ratings: NDArray[np.float64]
    rewards: NDArray[np.float64]


def accuracy_at_random(environment: Environment) -> Accuracy | None:
    """Return how well rewards predict ratings of items shown at random; None without such."""
    shown = environment.randomised
    if shown is None or not len(shown.ratings):
        return None
    return accuracy(_rewards(environment, shown), shown.users, shown.ratings)


def worth_at_random(environment: Environment) -> tuple[Worth, ...]:
    """Return what policies are worth that pick `PICKED` of what each user was shown at random.

    What is shown at random is an experiment: the ratings of what a policy would have picked there
    are without bias its worth among those items. Policies are chance, popularity, the mean of an
    item (by its bias in the model), and what the model of this world likes best for the user.
    """
    shown = environment.randomised
    if shown is None:
        return ()
    people = [one for one in _people(environment, shown) if len(one.items) > PICKED]
    chance = bells(0, "at random", (len(environment.catalog),), 1_000)
    items: dict[str, NDArray[np.integer]] = {
        "random": chance,
        "popular": environment.catalog.popularity,
        "best on average": environment.factors.item_bias,
    }
    marks = {
        name: [mark[one.items].astype(np.float64) for one in people] for name, mark in items.items()
    }
    marks["best for the user"] = [one.rewards for one in people]
    return tuple(_worth(name, people, own) for name, own in marks.items() if people)


def _worth(policy: str, people: list[_Shown], marks: list[NDArray[np.float64]]) -> Worth:
    picks = [np.argsort(-mark, kind="stable")[:PICKED] for mark in marks]
    rated, rewarded = (
        np.array([own[rows].mean() for own, rows in zip(numbers, picks, strict=True)])
        for numbers in ([one.ratings for one in people], [one.rewards for one in people])
    )
    return Worth(
        policy=policy,
        rated=significant(float(rated.mean())),
        margin=significant(_NORMAL * float(rated.std()) / sqrt(len(rated))),
        rewarded=significant(float(rewarded.mean())),
    )


def _people(environment: Environment, shown: Randomised) -> Iterator[_Shown]:
    rewards = _rewards(environment, shown)
    order = np.argsort(shown.users, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(shown.users[order])) + 1):
        yield _Shown(shown.items[rows], shown.ratings[rows], rewards[rows])


def _rewards(environment: Environment, shown: Randomised) -> NDArray[np.float64]:
    pairs = zip(shown.users.tolist(), shown.items.tolist(), strict=True)
    return np.array([environment.factors.reward(user, item) for user, item in pairs])
