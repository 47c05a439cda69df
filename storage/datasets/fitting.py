"""The reward model: biased matrix factorisation by alternating least squares.

r̂ = μ + bᵤ + bᵢ + pᵤ·qᵢ. Given the items, each user's factors and bias are the solution of a small
ridge regression, and the other way round; a few rounds of both settle. The normal equations are
built and solved for a block of rows at a time, so memory stays with users + items + ratings.

Such a model is the mean of what the ratings leave open, and shrunken: it knows next to nothing of
tastes that few ratings tell, so in its world there are none. `draw` gives one of the worlds that
the ratings leave open, in which tastes differ as they must.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from storage.datasets.draws import bells
from storage.environments import Accuracy, Errors, Fit, Unbiased
from storage.factors import significant

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

RIDGE = 14.0
BIAS_RIDGE = 3.0
ROUNDS = 8
SWEEPS = 4
"""How often both sides are drawn: on four data sets errors and spread hardly change after it."""

BIAS_RIDGES = (1.0, 2.0, 4.0, 8.0, 16.0)
_BLOCK = 2_048
_PAIRS = 16_384
_FINE = 10_000  # what stands for a standard deviation of 1


@dataclass(frozen=True, eq=False)
class Ratings:
    """Who rated what how; *users* and *items* are positions below *shape*."""

    users: Places
    items: Places
    values: Floats
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.values)

    def part(self, rows: Places) -> "Ratings":
        """Return only *rows*."""
        return Ratings(self.users[rows], self.items[rows], self.values[rows], self.shape)


@dataclass(frozen=True, eq=False)
class RewardModel:
    """A fitted model: users [U, d], items [I, d], their biases, and the mean rating."""

    mean: float
    user_bias: Floats
    item_bias: Floats
    users: Floats
    items: Floats

    def predict(self, ratings: Ratings) -> Floats:
        """Return the predictions for the pairs of *ratings*."""
        products = np.empty(len(ratings))
        # The factors of all pairs would be many times as large as the ratings.
        for start in range(0, len(ratings), _PAIRS):
            some = slice(start, start + _PAIRS)
            users, items = self.users[ratings.users[some]], self.items[ratings.items[some]]
            products[some] = np.einsum("ij,ij->i", users, items)
        biases = self.user_bias[ratings.users] + self.item_bias[ratings.items]
        predictions: Floats = self.mean + biases + products
        return predictions


def fold_in(model: RewardModel, items: Places, values: Floats) -> tuple[Floats, float]:
    """Return the factors and the bias of a user whom *model* has not met, from his own ratings."""
    known = np.column_stack([model.items[items], np.ones(len(items))])
    residual = values - model.mean - model.item_bias[items]
    ridge = np.diag([RIDGE] * model.items.shape[1] + [BIAS_RIDGE])
    solved = np.linalg.solve(known.T @ known + ridge, known.T @ residual)
    return solved[:-1], float(solved[-1])


@dataclass(frozen=True, eq=False)
class _Side:
    """The ratings ordered by one side: row *n* owns `starts[n] … starts[n + 1]`."""

    starts: Places
    others: NDArray[np.int32]
    values: Floats


@dataclass(frozen=True)
class _Noise:
    """Normal numbers that *seed* and *purpose* name, of standard *deviation*."""

    seed: int
    purpose: str
    deviation: float

    def around(self, grams: Floats, start: int) -> Floats:
        """Return what a draw adds to the solutions of *grams*, [rows, width, 1].

        It has the covariance σ²·gram⁻¹: with gram = L·Lᵀ it is σ·L⁻ᵀz.
        """
        shape = (*grams.shape[:2], 1)
        normal = bells(self.seed, f"{self.purpose} {start}", shape, _FINE) / _FINE
        lower = np.linalg.cholesky(grams)
        added: Floats = self.deviation * np.linalg.solve(lower.swapaxes(1, 2), normal)
        return added


def fit(ratings: Ratings, dimensions: int, seed: int) -> RewardModel:
    """Return the model of *dimensions* factors that fits *ratings*."""
    by_user, by_item = _sides(ratings)
    mean = float(ratings.values.mean())
    # A last column for the bias: a row is (factors, bias), and the other side's column is 1.
    users = np.zeros((ratings.shape[0], dimensions + 1))
    items = np.zeros((ratings.shape[1], dimensions + 1))
    # Small, but not 0: factors of 0 on one side make those of the other 0, for ever.
    items[:, :-1] = bells(seed, "first factors", (len(items), dimensions), 1_000) / 10_000
    for _ in range(ROUNDS):
        users = _solve(by_user, items, mean)
        items = _solve(by_item, users, mean)
    return _model(mean, users, items)


def draw(model: RewardModel, ratings: Ratings, seed: int, sample: int) -> RewardModel:
    """Return draw number *sample* from the models that *ratings* leave open around their *model*.

    By Gibbs sampling from *model* on: each side from its normal posterior given the other, as in
    Bayesian probabilistic matrix factorisation (Salakhutdinov & Mnih 2008, section 3.3), with the
    priors that the ridges stand for, N(0, σ² ÷ ridge). σ² is the mean square of what the model so
    far leaves unexplained, which for a draw from the posterior is the noise itself.
    """
    by_user, by_item = _sides(ratings)
    mean = model.mean
    users = np.column_stack([model.users, model.user_bias])
    for sweep in range(SWEEPS):
        deviation = sqrt(float(np.mean((model.predict(ratings) - ratings.values) ** 2)))
        name = f"sample {sample} sweep {sweep}"
        items = _solve(by_item, users, mean, _Noise(seed, f"{name} items", deviation))
        users = _solve(by_user, items, mean, _Noise(seed, f"{name} users", deviation))
        model = _model(mean, users, items)
    return model


def _model(mean: float, users: Floats, items: Floats) -> RewardModel:
    """Return the model of rows (factors, bias)."""
    return RewardModel(mean, users[:, -1], items[:, -1], users[:, :-1], items[:, :-1])


def _sides(ratings: Ratings) -> tuple[_Side, _Side]:
    return (
        _side(ratings.users, ratings.items, ratings.values, ratings.shape[0]),
        _side(ratings.items, ratings.users, ratings.values, ratings.shape[1]),
    )


def _side(own: Places, other: Places, values: Floats, count: int) -> _Side:
    rows = np.argsort(own, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(own, minlength=count))])
    return _Side(starts, other.astype(np.int32)[rows], values[rows])


def _solve(side: _Side, others: Floats, mean: float, noise: _Noise | None = None) -> Floats:
    """Return factors and bias of each row of *side*, given those of the *others*.

    With *noise* they are drawn from what the ratings leave open, else its mean.
    """
    solved = np.zeros((len(side.starts) - 1, others.shape[1]))
    for start in range(0, len(solved), _BLOCK):
        block = slice(start, start + _BLOCK)
        grams, sides = _equations(side, block, others, mean)
        means = np.linalg.solve(grams, sides)
        drawn = means if noise is None else means + noise.around(grams, start)
        solved[block] = drawn[:, :, 0]
    return solved


def _equations(side: _Side, block: slice, others: Floats, mean: float) -> tuple[Floats, Floats]:
    """Return the normal equations of a *block* of rows, [rows, width, width] and [rows, width, 1].

    Rows of as many ratings are taken together: most have few, and a million are no loop in Python.
    """
    starts, ends = side.starts[:-1][block], side.starts[1:][block]
    width = others.shape[1]
    grams, sides = np.empty((len(starts), width, width)), np.empty((len(starts), width, 1))
    ridge = np.diag([RIDGE] * (width - 1) + [BIAS_RIDGE])
    for rows in _alike(ends - starts):
        own = starts[rows, None] + np.arange(ends[rows[0]] - starts[rows[0]])
        # A copy, by its index of positions: what is set below leaves the others alone.
        known = others[side.others[own]]
        residual = side.values[own] - mean - known[:, :, -1]
        known[:, :, -1] = 1.0
        turned = known.swapaxes(1, 2)
        grams[rows] = turned @ known + ridge
        sides[rows] = turned @ residual[:, :, None]
    return grams, sides


def _alike(counts: Places) -> Iterator[Places]:
    """Yield the places of the same of *counts*, of some `_PAIRS` in all at once."""
    rows = np.argsort(counts, kind="stable")
    for same in np.split(rows, np.flatnonzero(np.diff(counts[rows])) + 1):
        most = max(_PAIRS // max(int(counts[same[0]]), 1), 1)
        yield from (same[start : start + most] for start in range(0, len(same), most))


def fit_biases(ratings: Ratings, ridge: float) -> RewardModel:
    """Return the model of biases alone."""
    mean = float(ratings.values.mean())
    rest = ratings.values - mean
    user_bias, item_bias = np.zeros(ratings.shape[0]), np.zeros(ratings.shape[1])
    user_count = np.bincount(ratings.users, minlength=len(user_bias)) + ridge
    item_count = np.bincount(ratings.items, minlength=len(item_bias)) + ridge
    for _ in range(ROUNDS):
        left = rest - user_bias[ratings.users]
        item_bias = np.bincount(ratings.items, left, len(item_bias)) / item_count
        left = rest - item_bias[ratings.items]
        user_bias = np.bincount(ratings.users, left, len(user_bias)) / user_count
    nothing = np.zeros((ratings.shape[0], 1)), np.zeros((ratings.shape[1], 1))
    return RewardModel(mean, user_bias, item_bias, *nothing)


def judge(
    model: RewardModel,
    known: Ratings,
    held: Ratings,
    scale: tuple[float, float],
    *,
    drawn: RewardModel | None = None,
    shown: Ratings | None = None,
) -> Fit:
    """Return the errors on *held* of *model*, fitted to *known*; predictions are kept on *scale*.

    The ridge of the biases-only model is the best on *held* itself: the other model has to beat it
    with no such favour. What was *drawn* around the model errs by what it was drawn with, too. What
    was *shown* at random is predicted by *model*.
    """

    def errors(model: RewardModel) -> Errors:
        wrong = np.clip(model.predict(held), *scale) - held.values
        return Errors(
            rmse=significant(sqrt(float(np.mean(wrong**2)))),
            mae=significant(float(np.mean(np.abs(wrong)))),
        )

    def accuracy_on(rated: Ratings) -> Accuracy:
        return accuracy(np.clip(model.predict(rated), *scale), rated.users, rated.values)

    tuned = min((errors(fit_biases(known, ridge)) for ridge in BIAS_RIDGES), key=_rmse)
    return Fit(
        fitted=len(known),
        held_out=len(held),
        # An infinite ridge leaves no biases: what remains is the mean.
        global_mean=errors(fit_biases(known, float("inf"))),
        tuned_biases=tuned,
        model=errors(model),
        drawn=errors(drawn) if drawn else None,
        unbiased=Unbiased(chosen=accuracy_on(held), shown=accuracy_on(shown)) if shown else None,
    )


def accuracy(predicted: Floats, users: NDArray[np.integer], values: Floats) -> Accuracy:
    """Return how well the *values* that *users* gave are *predicted*."""
    wrong = predicted - values
    right = pairs = 0.0
    rows = np.argsort(users, kind="stable")
    for own in np.split(rows, np.flatnonzero(np.diff(users[rows])) + 1):
        better = values[own][:, None] > values[own]
        ahead = np.sign(predicted[own][:, None] - predicted[own])
        # Two predictions that are the same are right by half.
        right += float((ahead[better] + 1).sum()) / 2
        pairs += float(better.sum())
    return Accuracy(
        count=len(values),
        rmse=significant(sqrt(float(np.mean(wrong**2)))),
        bias=significant(float(np.mean(wrong))),
        auc=significant(right / pairs) if pairs else 0.5,
    )


def _rmse(errors: Errors) -> float:
    return errors.rmse
