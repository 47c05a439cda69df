"""Inference over seeds: what may be said of trainings, of which each seed is one.

Users under one seed share one trained memory, so they are no evidence of their own about training:
the unit is a seed, and its number is the mean over its users. There are few of them, so intervals
and p are Student's; the closed forms for whole degrees of freedom need no library of functions.
"""

from math import atan, cos, pi, sin, sqrt, tan

import numpy as np
from numpy.typing import ArrayLike

from sim.analysis.statistics import Floats, Interval, sign_flip_p

FEW = 5
"""Below so many seeds nothing can be concluded about training."""

_EXACT = 20  # seeds of which all choices of signs are enumerated
_HALVINGS = 100


def seed_means(values: ArrayLike) -> Floats:
    """Return the mean over users under each seed, of a table of shape (seeds, users).

    It is NaN for a seed of which nothing is known.
    """
    table = np.asarray(values, dtype=np.float64)
    return ratio_means(np.nan_to_num(table), ~np.isnan(table))


def ratio_means(parts: ArrayLike, wholes: ArrayLike) -> Floats:
    """Return Σ *parts* ÷ Σ *wholes* under each seed, NaN without a whole."""
    tables = (np.asarray(table, dtype=np.float64) for table in (parts, wholes))
    total, size = (np.nansum(table, axis=1) for table in tables)
    means: Floats = np.divide(total, size, out=np.full(total.shape, np.nan), where=size > 0)
    return means


def t_interval(means: ArrayLike, *, level: float = 0.95) -> Interval | None:
    """Return mean ± t·s ÷ √n, with t the quantile of n − 1 degrees (Student 1908).

    One number has no spread: None.
    """
    numbers = np.asarray(means, dtype=np.float64)
    if numbers.size < 2:
        return None
    mean = float(numbers.mean())
    reach = t_quantile(level, numbers.size - 1) * float(numbers.std(ddof=1)) / sqrt(numbers.size)
    return Interval(mean - reach, mean + reach)


def t_p(differences: ArrayLike) -> float | None:
    """Return the two-sided p of the t test that *differences* have a mean of 0; None of one.

    Without a spread it is 0, or 1 if there is no difference either.
    """
    numbers = np.asarray(differences, dtype=np.float64)
    if numbers.size < 2:
        return None
    mean, error = float(numbers.mean()), float(numbers.std(ddof=1)) / sqrt(numbers.size)
    if not error:
        return 0.0 if mean else 1.0
    return max(0.0, 1 - t_within(mean / error, numbers.size - 1))


def signs_p(differences: ArrayLike, *, seed: int) -> float | None:
    """Return the p of the sign flip (`sign_flip_p`) with seeds as units; None of one.

    It assumes symmetry, not normality, and is exact up to 20 seeds. With n it is at least 2 ÷ 2ⁿ:
    five seeds cannot reach 5 %.
    """
    numbers = np.asarray(differences, dtype=np.float64)
    if numbers.size < 2:
        return None
    resamples = 1 << _EXACT if numbers.size <= _EXACT else 10_000
    return sign_flip_p(numbers[None], seed=seed, resamples=resamples)


def t_within(t: float, degrees: int) -> float:
    """Return the probability that Student's t is between −|*t*| and |*t*|.

    The sums for whole *degrees* of freedom are those of Abramowitz & Stegun (1964), 26.7.3 and
    26.7.4; what they leave over is right to about 10⁻¹⁵.
    """
    return _within(atan(abs(t) / sqrt(degrees)), degrees)


def t_quantile(level: float, degrees: int) -> float:
    """Return the t that `t_within` gives *level*, found by halving the angle."""
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level!r}")
    low, high = 0.0, pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < level else (low, middle)
    return sqrt(degrees) * tan(low)


def _within(angle: float, degrees: int) -> float:
    odd = degrees % 2
    term = cos(angle) if odd else 1.0
    total = 0.0
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cos(angle) ** 2 * (k - 1) / k
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total
