"""Whether a world is as people were: its rewards beside ratings of what was shown at random.

What is shown at random is an experiment: what a policy would have chosen of it was rated, and that
is its worth, without the bias of who rates only what he expects to like. A world that is to compare
policies has to rank them as that does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.datasets.fitting import Floats, accuracy, fit, fold_in
from storage.datasets.ratings import training_ratings
from storage.environments import Accuracy, Environment, Randomised
from storage.factors import significant

PICKED = 3
"""How many items a policy chooses of those that a user was shown, each as likely."""

_NORMAL = 1.96  # of 95 %
_DIMENSIONS, _SEED = 16, 0  # of what agents predict with


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy's choice is worth: as people *rated* it, and as the world *rewarded* it.

    *margin* is the half of the 95 % interval of *rated* over users.
    """

    policy: str
    rated: float
    margin: float
    rewarded: float


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """What policies are worth, and whether the world ranks them as people do.

    *decided* are the pairs of policies whose difference among people has 0 outside of its 95 %
    interval, *swapped* those of them that stand the other way round in the world, or level.
    """

    worths: tuple[Worth, ...]
    decided: int
    swapped: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class _Log:
    """What was shown: to whom, what, how it was rated, and what the world gives; users in order."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    ratings: Floats
    rewards: Floats

    def sizes(self) -> NDArray[np.int64]:
        """Return of each row how much its user was shown."""
        return np.bincount(self.users)[self.users]


@dataclass(frozen=True, eq=False)
class _Estimate:
    """A self-normalised estimate, and how much each user moves it."""

    value: float
    influence: Floats

    @property
    def error(self) -> float:
        """The standard error over users."""
        return float(np.linalg.norm(self.influence))


@dataclass(frozen=True, eq=False)
class _Value:
    """What one policy's choice is worth."""

    policy: str
    rated: _Estimate
    rewarded: float


def accuracy_at_random(environment: Environment) -> Accuracy | None:
    """Return how well rewards predict ratings of items shown at random; None without such."""
    shown = environment.randomised
    if shown is None or not len(shown.ratings):
        return None
    return accuracy(_rewards(environment, shown), shown.users, shown.ratings)


def ranking_at_random(environment: Environment) -> Ranking | None:
    """Return what policies are worth that choose `PICKED` of what each user was shown at random.

    Policies are chance; what is popular; what is best on average (by its bias in the model); greedy
    for what is told (the predictor of agents: fitted to the histories of training users, each user
    folded in); and what the model of this world likes best for the user. None without such ratings,
    or where nobody was shown more than is chosen.
    """
    log = None if environment.randomised is None else _log(environment, environment.randomised)
    if log is None or not len(log.users):
        return None
    weights = {"random": np.ones(len(log.users))}
    for name, marks in _marks(environment, log):
        weights[name] = _chosen(log, marks)
    values = [
        _Value(name, _estimate(log, own, log.ratings), _estimate(log, own, log.rewards).value)
        for name, own in weights.items()
    ]
    decided = [
        (better, worse) for better, worse in permutations(values, 2) if _is_above(better, worse)
    ]
    return Ranking(
        worths=tuple(_worth(one) for one in values),
        decided=len(decided),
        swapped=tuple(
            (better.policy, worse.policy)
            for better, worse in decided
            if better.rewarded <= worse.rewarded
        ),
    )


def _is_above(one: _Value, other: _Value) -> bool:
    """Tell whether people rate *one* higher for sure: paired, as both choose for the same users."""
    apart = _Estimate(
        one.rated.value - other.rated.value, one.rated.influence - other.rated.influence
    )
    return apart.value > _NORMAL * apart.error


def _worth(value: _Value) -> Worth:
    return Worth(
        policy=value.policy,
        rated=significant(value.rated.value),
        margin=significant(_NORMAL * value.rated.error),
        rewarded=significant(value.rewarded),
    )


def _marks(environment: Environment, log: _Log) -> Iterator[tuple[str, Floats]]:
    """Yield policies, and what each thinks of each row."""
    yield "popular", environment.catalog.popularity[log.items].astype(np.float64)
    yield "best on average", environment.factors.item_bias[log.items].astype(np.float64)
    yield "greedy for what is told", _predicted(environment, log)
    yield "best for the user", log.rewards


def _predicted(environment: Environment, log: _Log) -> Floats:
    """Return what who knows histories alone predicts."""
    model = fit(training_ratings(environment), _DIMENSIONS, _SEED)
    marks = np.empty(len(log.users))
    everyone, starts = np.unique(log.users, return_index=True)
    ends = [*starts[1:].tolist(), len(marks)]
    for user, start, end in zip(everyone.tolist(), starts.tolist(), ends, strict=True):
        told = environment.history(user, len(environment.users.items))
        known = np.array([item for item, _ in told]), np.array([rating for _, rating in told])
        rows = slice(start, end)
        items = log.items[rows]
        marks[rows] = model.item_bias[items] + model.items[items] @ fold_in(model, *known)[0]
    return marks


def _chosen(log: _Log, marks: Floats) -> Floats:
    """Return the weights of each row: π ÷ p, where p is 1 ÷ what the user was shown.

    π is 1 ÷ `PICKED` for the items of the highest *marks*, of like ones the first, else 0.
    """
    rows = np.lexsort((np.arange(len(marks)), -marks, log.users))
    starts = np.searchsorted(log.users, log.users)
    rank = np.empty(len(rows), np.int64)
    rank[rows] = np.arange(len(rows)) - starts
    return np.where(rank < PICKED, log.sizes() / PICKED, 0.0)


def _estimate(log: _Log, weights: Floats, values: Floats) -> _Estimate:
    """Return Σ w·v ÷ Σ w, the self-normalised estimate by inverse propensities.

    Swaminathan & Joachims 2015, "The self-normalized estimator for counterfactual learning". Its
    variance is that of a ratio, linearised (Owen 2013, "Monte Carlo theory, methods and examples",
    section 9.2): Σᵤ (Σ w·(v − value))² ÷ (Σ w)², the rows of one user taken together.
    """
    total = float(weights.sum())
    value = float(weights @ values) / total
    return _Estimate(value, np.bincount(log.users, weights * (values - value)) / total)


def _log(environment: Environment, shown: Randomised) -> _Log:
    """Return what was *shown* to users of whom there is something to choose."""
    rows = np.argsort(shown.users, kind="stable")
    rows = rows[np.bincount(shown.users, minlength=1)[shown.users[rows]] > PICKED]
    users, items = shown.users[rows].astype(np.int64), shown.items[rows].astype(np.int64)
    return _Log(users, items, shown.ratings[rows], _rewards(environment, shown)[rows])


def _rewards(environment: Environment, shown: Randomised) -> Floats:
    pairs = zip(shown.users.tolist(), shown.items.tolist(), strict=True)
    return np.array([environment.factors.reward(user, item) for user, item in pairs])
