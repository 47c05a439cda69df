"""Statistics of paired comparisons: intervals, tests and sizes of what sets two agents apart.

A table has shape (seeds, users) and holds one number for each user under each seed: the difference
between two agents, or a value of one agent. Who comes several times has one number all the same.
NaN stands for who is missing. Here users are the units, and seeds are taken as they are: what is
said holds for these trained memories only, which all users under a seed share. What holds for other
trainings is said by `seeds`. What the formulas call a user's mean is over the seeds in which the
user is.

Numbers that agree up to rounding are not told apart where they are counted: a user whose
differences cancel is a tie. Everything random comes from the bits of a PCG64, which numpy promises
never to change (NEP 19; it does not for the methods of a Generator), and nothing uses BLAS, whose
sums differ between machines. All errors are ValueErrors.
"""

from collections.abc import Iterator
from math import copysign, sqrt
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]

LARGEST_EFFECT = 100.0
"""What effect sizes are clipped to: where spread is nothing, a ratio to it says nothing more."""

_FEWEST = 100
_ROUNDING = 1e-12
# Numbers at once, chosen to stay in a core's cache: half a megabyte.
_BLOCK = 1 << 16


class Interval(msgspec.Struct, frozen=True):
    """Where a mean may lie: from *low* to *high*."""

    low: float
    high: float


def mean_interval(
    values: ArrayLike, *, seed: int, level: float = 0.95, resamples: int = 10_000
) -> Interval:
    """Return an interval for the mean of *values* that would hold for other users, not other seeds.

    *values* has shape (seeds, users), and the mean is that of the seeds' means. Users are drawn
    with replacement, the same under every seed (Efron 1979), and the interval is between the
    (1 − *level*)/2 and (1 + *level*)/2 quantiles of the resamples' means. Who misses a seed counts
    under the others; a resample of missing visits only is left out.

    What to expect: users are covered as promised from about 50 (of 10 users it is 90 % for 95 %).
    What a seed adds to all its users alike is taken as it is: for that see `seeds`. For tables of
    the same shape the same *seed* draws the same users. Do not compare two agents by their own
    intervals: how users differ from each other widens both, and cancels in a pair.

    Why no BCa (Efron 1987): means over many users have little skew to mend, and percentiles keep a
    promise of their own: with agents swapped, the interval is mirrored.
    """
    return _interval(_layers(_table(values)), seed=seed, level=level, resamples=resamples)


def ratio_interval(
    parts: ArrayLike, wholes: ArrayLike, *, seed: int, level: float = 0.95, resamples: int = 10_000
) -> Interval:
    """Return an interval for the seeds' mean of Σ *parts* ÷ Σ *wholes*, by the same resampling.

    Both are tables of one shape, of which a user's numbers are drawn together. NaN stands for a
    visit that is missing, in both; wholes are not negative. Seeds of no whole are left out.
    """
    above, below = np.asarray(parts, dtype=np.float64), np.asarray(wholes, dtype=np.float64)
    if above.shape != below.shape or (np.isnan(above) != np.isnan(below)).any():
        raise ValueError(f"expected tables alike, got shapes {above.shape} and {below.shape}")
    layers = np.nan_to_num(np.stack([_table(above), _table(below)]))
    if (layers[1] < 0).any() or not layers[1].any():
        raise ValueError("expected wholes of at least 0, and one above")
    return _interval(layers, seed=seed, level=level, resamples=resamples)


def _layers(table: Floats) -> Floats:
    """Return what is divided for a mean: numbers, and whether they are known."""
    known = ~np.isnan(table)
    return np.stack([np.where(known, table, 0.0), known])


def _interval(layers: Floats, *, seed: int, level: float, resamples: int) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level!r}")
    ratios = _resampled_ratios(layers, np.random.PCG64(seed), _enough(resamples))
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _resampled_ratios(layers: Floats, bits: np.random.PCG64, resamples: int) -> Floats:
    """Return, of each resample, the seeds' mean of the first layer's sum ÷ the second's."""
    users = layers.shape[2]
    # Row by row: the numbers do not depend on the size of a block.
    sums = [
        layers.take(_draws(bits, users, (rows, users)), axis=2).sum(axis=3)
        for rows in _blocks(resamples, layers.size)
    ]
    part, whole = np.concatenate(sums, axis=2)
    known = whole > 0
    total = np.divide(part, whole, out=np.zeros_like(part), where=known).sum(axis=0)
    count = known.sum(axis=0)
    ratios: Floats = total[count > 0] / count[count > 0]
    return ratios


def resampled(units: int, resamples: int, *, seed: int) -> NDArray[np.intp]:
    """Return the numbers of *units* drawn with replacement, as many as there are, a resample a row.

    It is for statistics that are no ratio of sums.
    """
    return _draws(np.random.PCG64(seed), units, (_enough(resamples), units))


def _draws(bits: np.random.PCG64, below: int, shape: tuple[int, int]) -> NDArray[np.intp]:
    # The upper 32 bits times the bound: no bias worth the name, and no division.
    drawn = bits.random_raw(shape)
    return ((drawn >> np.uint64(32)) * np.uint64(below) >> np.uint64(32)).astype(np.intp)


def _blocks(rows: int, width: int) -> Iterator[int]:
    """Yield how many of *rows* to take at once, each of *width* numbers."""
    most = max(1, _BLOCK // width)
    for start in range(0, rows, most):
        yield min(most, rows - start)


def sign_flip_p(differences: ArrayLike, *, seed: int, resamples: int = 10_000) -> float:
    """Return how likely so large a mean difference is if users prefer neither agent (two-sided).

    The hypothesis is that users' mean differences are symmetric about 0, so that each could as
    well have the other sign. With n users who differ at all, p is the share of the 2ⁿ choices of
    signs whose sum is at least as far from 0 as the one seen (Fisher 1935, "The Design of
    Experiments", section 21), if these are at most *resamples*. Otherwise it is (b + 1)/(m + 1)
    for b of m = *resamples* random choices (Phipson & Smyth 2010), so that it is never 0.

    Users without a difference are the same under either sign and count for nothing; if there are
    no others, p is 1. Neither the order of users nor which agent comes first makes a difference.
    """
    means = _user_means(_table(differences))
    sizes = np.sort(np.abs(means[means != 0]))
    # Sums that are equal on paper may differ in their last bits.
    bar = abs(means.sum()) - _ROUNDING * sizes.sum()
    if 1 << sizes.size <= _enough(resamples):
        return float(np.mean(np.abs(_all_sums(sizes)) >= bar))
    sums = _some_sums(sizes, np.random.PCG64(seed), resamples)
    return (int(np.count_nonzero(np.abs(sums) >= bar)) + 1) / (resamples + 1)


def _all_sums(sizes: Floats) -> Floats:
    """Return the sums of *sizes* under every choice of signs."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums + size, sums - size])
    return sums


def _some_sums(sizes: Floats, bits: np.random.PCG64, resamples: int) -> Floats:
    """Return the sums of *sizes* under random choices of signs, a bit for each."""
    words = -(-sizes.size // 64)
    sums = []
    for rows in _blocks(resamples, sizes.size):
        drawn = bits.random_raw((rows, words)).astype("<u8", copy=False).view(np.uint8)
        signs = np.unpackbits(drawn, axis=1, count=sizes.size)
        sums.append(np.where(signs, sizes, -sizes).sum(axis=1))
    return np.concatenate(sums)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return *p_values* adjusted for being several, in their order (Holm 1979).

    The k-th smallest of m becomes the largest of (m − j + 1)·p₍ⱼ₎ for j ≤ k, at most 1. To reject
    what is at most α then errs anywhere with a probability of at most α.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    if raw.ndim != 1 or not raw.size:
        raise ValueError(f"expected a list of p values, got shape {raw.shape}")
    if not ((raw >= 0) & (raw <= 1)).all():
        raise ValueError(f"expected p values from 0 to 1, got {raw.tolist()!r}")
    order = np.argsort(raw, kind="stable")
    steps = np.maximum.accumulate(raw[order] * np.arange(raw.size, 0, -1))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def effect_size(differences: ArrayLike) -> float:
    """Return d_z = mean ÷ standard deviation (n − 1) of the users' mean differences (Cohen 1988).

    It lies within ±LARGEST_EFFECT, which is also what comes of a difference that is the same for
    all users. It is 0.0 if there is no difference, or one user alone, whose spread is unknown.
    """
    means = _user_means(_table(differences))
    mean, spread = float(means.mean()), _spread(means)
    if mean == 0 or means.size == 1:
        return 0.0
    if LARGEST_EFFECT * spread <= abs(mean):
        return copysign(LARGEST_EFFECT, mean)
    return mean / spread


def superiority(differences: ArrayLike) -> float:
    """Return the share of users with a mean difference above 0, plus half of those with none.

    It is the probability that the first agent does better by a random user (Grissom & Kim 2012,
    "Effect Sizes for Research", PS_dep); 0.5 says that neither does.
    """
    means = _user_means(_table(differences))
    return float(np.mean((np.sign(means) + 1) / 2))


def standard_error(values: ArrayLike) -> float:
    """Return s ÷ √n, with s the standard deviation (n − 1) of the means of n users.

    It speaks of other users under the same seeds. One user has no spread: 0.0.
    """
    means = _user_means(_table(values))
    return _spread(means) / sqrt(means.size)


def _spread(means: Floats) -> float:
    return float(means.std(ddof=1)) if means.size > 1 else 0.0


def _user_means(table: Floats) -> Floats:
    """Return each user's mean over seeds; what is left of numbers that cancel is 0."""
    total, size = np.nansum(table, axis=0), np.nansum(np.abs(table), axis=0)
    count = np.count_nonzero(~np.isnan(table), axis=0)
    means: Floats = np.where(np.abs(total) <= _ROUNDING * size, 0.0, total / count)
    return means


def _table(values: ArrayLike) -> Floats:
    """Return *values* as a table without the seeds and users of which nothing is known."""
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"expected a table of shape (seeds, users), got shape {table.shape}")
    if np.isinf(table).any():
        raise ValueError(
            "expected finite numbers (or NaN for a missing visit), got an infinite one"
        )
    known = ~np.isnan(table)
    if not known.any():
        raise ValueError(f"expected numbers, got none in a table of shape {table.shape}")
    return table[known.any(axis=1)][:, known.any(axis=0)]


def _enough(resamples: int) -> int:
    if resamples < _FEWEST:
        raise ValueError(f"expected at least {_FEWEST} resamples, got {resamples!r}")
    return resamples
