"""What a critic is worth, by numbers drawn of each of some states.

For each of N states these are drawn K times:

- *value*, V: what the critic says of the state, asked again with another seed, on the same prompt;
- *target*, r + γ·V(s′): the reward of one step and what the critic says then, as an advantage has
  it, with V(s′) = 0 if the user left;
- *return*, G = Σ γᵏ·rₖ, and *total*, Σ rₖ: the rewards until the user leaves or the limit cuts.

The spread of each (Spread) is that of a random-effects analysis of variance: x̄ᵢ and sᵢ² are the
mean and the variance (Kᵢ − 1) of state i's draws;

- within² = mean of sᵢ²: the noise of one draw;
- across² = variance (N − 1) of x̄ᵢ − mean of sᵢ²/Kᵢ, at least 0: what states truly differ by;
- noise = within ÷ across, signal = across² ÷ within²: free of scale, so that values of −5…5 can be
  compared with returns. A critic lowers variance if the signal of its target is above the return's;
- gain = signal(target) ÷ signal(return): by how much, with a 95 % bootstrap interval over states.

How well the value tells the expected return or total Y (Fit) is seen after the best linear map,
Ȳᵢ ≈ a + b·V̄ᵢ by least squares over the states:

- bias² = Σ(Ȳᵢ − a − b·V̄ᵢ)² ÷ (N − 2) − mean of sᵢ²(Y)/Kᵢ − b²·mean of sᵢ²(V)/Kᵢ, at least 0: what
  the map leaves, less what is only noise of the means;
- error² = bias² + b²·within²(V): the mean squared error of one answer of the critic, mapped;
- worth = within²(Y) ÷ error²: how many rollouts have a mean that is as near;
- guess = within²(Y) ÷ across²(Y): the same of saying the mean of all states of every state;
- pearson with its 95 % interval (Fisher's z, 1.96 ÷ √(N − 3)), and spearman, between V̄ᵢ and Ȳᵢ;
- ceiling = √(across²(Y) ÷ (across²(Y) + mean of sᵢ²(Y)/Kᵢ)): the correlation that a critic without
  fault would have, since Ȳᵢ is itself an estimate.

A ratio to 0 is infinite (null in JSON); None stands for what these draws do not tell.
"""

from dataclasses import dataclass
from math import atanh, inf, sqrt, tanh

import msgspec
import numpy as np
from numpy.typing import NDArray

from sim.analysis.statistics import resampled

Floats = NDArray[np.float64]

_DEVIATIONS = 1.96  # of a normal distribution, for 95 %
_RESAMPLES = 1_000


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How far draws of one estimator lie apart, *within* a state and *across* states."""

    mean: float
    within: float
    across: float
    noise: float | None
    signal: float | None


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """By what *factor* the critic lowers variance, and where that may lie; None: cannot be told."""

    factor: float | None
    low: float | None
    high: float | None


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How well the critic's value, mapped by *intercept* + *slope*·V, tells what is to come."""

    intercept: float
    slope: float
    bias: float
    error: float
    worth: float | None
    guess: float | None
    pearson: float | None
    pearson_low: float | None
    pearson_high: float | None
    spearman: float | None
    ceiling: float | None


@dataclass(frozen=True)
class _Moments:
    """The means of states, the variances of their draws, and those of the means as estimates."""

    means: Floats
    variances: Floats
    of_means: Floats

    @property
    def within(self) -> float:
        """The variance of a draw."""
        return float(self.variances.mean())

    @property
    def of_mean(self) -> float:
        """The variance of a state's mean, as far as it is noise."""
        return float(self.of_means.mean())

    @property
    def across(self) -> float:
        """The variance across states, without what the noise of their means adds."""
        return max(0.0, float(self.means.var(ddof=1)) - self.of_mean)

    def signals(self, chosen: NDArray[np.intp]) -> Floats:
        """Return across² ÷ within² for each row of *chosen* states; may be infinite, or NaN."""
        across = self.means[chosen].var(axis=1, ddof=1) - self.of_means[chosen].mean(axis=1)
        found: Floats = np.maximum(0.0, across) / self.variances[chosen].mean(axis=1)
        return found


def _moments(draws: Floats) -> _Moments:
    # From the least draw of a state on, so that draws that are all the same have no variance.
    least = np.nanmin(draws, axis=1)
    beyond = draws - least[:, None]
    counts = np.count_nonzero(~np.isnan(draws), axis=1)
    variances = np.nanvar(beyond, axis=1, ddof=1)
    return _Moments(least + np.nanmean(beyond, axis=1), variances, variances / counts)


def spread(draws: Floats) -> Spread:
    """Return how far *draws* of shape (states, rollouts) lie apart; NaN for one that lacks."""
    found = _moments(draws)
    signal = _ratio(found.across, found.within)
    noise = _ratio(found.within, found.across)
    return Spread(
        mean=_exact(found.means.mean()),
        within=_exact(sqrt(found.within)),
        across=_exact(sqrt(found.across)),
        noise=None if noise is None else _exact(sqrt(noise)),
        signal=rounded(signal),
    )


def gain(target: Floats, returned: Floats, *, seed: int) -> Gain:
    """Return by what factor the signal of *target* is above that of *returned*.

    Both are of shape (states, rollouts). The interval is that of resampled states, by percentiles;
    *seed* is that of the resampling.
    """
    one, other = _moments(target), _moments(returned)
    count = len(target)
    chosen = np.arange(count)[None, :]
    again = resampled(count, _RESAMPLES, seed=seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = (one.signals(chosen) / other.signals(chosen))[0]
        factors = one.signals(again) / other.signals(again)
    if np.isnan(factor):
        return Gain(factor=None, low=None, high=None)
    # Some may be infinite: no mean of two of them.
    known = factors[~np.isnan(factors)]
    low, high = (
        np.quantile(known, (0.025, 0.975), method="inverted_cdf") if known.size else (0, inf)
    )
    return Gain(factor=_exact(factor), low=_exact(low), high=_exact(high))


def fit(values: Floats, returns: Floats) -> Fit:
    """Return how well the critic's *values* tell *returns*; both of shape (states, rollouts)."""
    value, other = _moments(values), _moments(returns)
    x, y = value.means - value.means.mean(), other.means - other.means.mean()
    varies = bool(np.ptp(value.means) > 0)
    slope = float(x @ y / (x @ x)) if varies else 0.0
    rest = y - slope * x
    freedom = len(x) - 1 - varies
    noise = other.of_mean + slope**2 * value.of_mean
    bias = max(0.0, float(rest @ rest) / freedom - noise)
    error = bias + slope**2 * value.within
    r = correlation(value.means, other.means)
    low, high = (None, None) if r is None else fisher_interval(r, len(x))
    return Fit(
        intercept=_exact(other.means.mean() - slope * value.means.mean()),
        slope=_exact(slope),
        bias=_exact(sqrt(bias)),
        error=_exact(sqrt(error)),
        worth=rounded(_ratio(other.within, error)),
        guess=rounded(_ratio(other.within, other.across)),
        pearson=rounded(r),
        pearson_low=rounded(low),
        pearson_high=rounded(high),
        spearman=rounded(correlation(ranks(value.means), ranks(other.means))),
        ceiling=_ceiling(other),
    )


def _ceiling(other: _Moments) -> float | None:
    share = _ratio(other.across, other.across + other.of_mean)
    return None if share is None else _exact(sqrt(share))


def correlation(one: Floats, other: Floats) -> float | None:
    """Return Pearson's correlation; None if either is the same everywhere."""
    if not (np.ptp(one) > 0 and np.ptp(other) > 0):
        return None
    return float(np.corrcoef(one, other)[0, 1])


def ranks(values: Floats) -> Floats:
    """Return the ranks of *values* from 1; equal ones share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: Floats = (last - (counts - 1) / 2)[place]
    return shared


def fisher_interval(r: float, count: int) -> tuple[float, float]:
    """Return where a correlation of *count* pairs lies with 95 %, by Fisher's z; ±1 below 4."""
    if count < 4:
        return -1.0, 1.0
    if abs(r) == 1:
        return r, r
    half = _DEVIATIONS / sqrt(count - 3)
    return tanh(atanh(r) - half), tanh(atanh(r) + half)


def _ratio(one: float, other: float) -> float | None:
    """Return *one* ÷ *other*: infinite for a division by 0, None for that of 0 by 0."""
    if other == 0:
        return None if one == 0 else inf
    return one / other


def _exact(value: float) -> float:
    return float(f"{value:.6g}") + 0.0


def rounded(value: float | None) -> float | None:
    """Return *value* to 6 digits; it may be infinite, or None."""
    return None if value is None else _exact(value)
