"""Aggregate scores over seeds as rliable defines them (Agarwal et al. 2021, arXiv 2108.13264).

Scores have shape (runs, tasks). A comparison is of one environment, so one task, and a run's score
is the mean over its users: users are no tasks, since those of a seed share one trained memory.
Intervals are between the 2.5 % and 97.5 % quantiles of a stratified bootstrap: runs are drawn with
replacement for each task on its own. With one run there are none.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec
import numpy as np

from engine.messages import number
from sim.analysis.means import Group, Pair
from sim.analysis.statistics import Floats, resampled

ORACLE = "diverse-greedy"
"""The agent whose R_traj is a score of 1: it knows every reward."""

_RESAMPLES = 2_000
_STEPS = 20  # of a profile


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A *value*, and where it may lie with other seeds; None of one seed."""

    value: float
    low: float | None
    high: float | None


class ProfilePoint(msgspec.Struct, frozen=True, kw_only=True):
    """The *share* of runs with a score above *tau*."""

    tau: float
    share: Estimate


class Aggregate(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of a group: interquartile mean, gap to 1 (if 1 is the oracle's), profile."""

    label: str
    iqm: Estimate
    optimality_gap: Estimate | None
    profile: tuple[ProfilePoint, ...]


class Improvement(msgspec.Struct, frozen=True, kw_only=True):
    """How likely a run of *one* has a higher score than one of *other*, ties half."""

    one: str
    other: str
    probability: Estimate


class Aggregates(msgspec.Struct, frozen=True, kw_only=True):
    """What scores over seeds come to; they are divided by those of *oracle*, if there is one."""

    oracle: str | None
    groups: tuple[Aggregate, ...]
    improvements: tuple[Improvement, ...]


Scores: TypeAlias = Floats
"""Of shape (…, runs, tasks): whatever stands before is kept."""


def iqm(scores: Scores) -> Floats:
    """Return the mean of the middle half: of N scores, ⌊N ÷ 4⌋ are cut off on either side."""
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    middle: Floats = flat[..., cut : flat.shape[-1] - cut].mean(axis=-1)
    return middle


def optimality_gap(scores: Scores) -> Floats:
    """Return 1 − the mean of min(score, 1): how far from the oracle, never made up for above it."""
    gap: Floats = 1 - np.minimum(scores, 1).mean(axis=(-2, -1))
    return gap


def share_above(scores: Scores, tau: float) -> Floats:
    """Return the share of runs and tasks whose score is above *tau*: a point of a profile."""
    share: Floats = (scores > tau).mean(axis=(-2, -1))
    return share


def improvement(ours: Scores, theirs: Scores) -> Floats:
    """Return P(X > Y) + ½·P(X = Y) over all pairs of runs, averaged over tasks (Mann & Whitney)."""
    gaps = ours[..., :, None, :] - theirs[..., None, :, :]
    share: Floats = ((np.sign(gaps) + 1) / 2).mean(axis=(-3, -2, -1))
    return share


def estimate(measure: Callable[..., Floats], *groups: Scores, seed: int) -> Estimate:
    """Return a *measure* of groups of scores with its interval; they are drawn independently."""
    value = number(float(measure(*groups)))
    if min(len(scores) for scores in groups) < 2:
        return Estimate(value=value, low=None, high=None)
    drawn = [_drawn(scores, seed + place) for place, scores in enumerate(groups)]
    low, high = np.quantile(measure(*drawn), [0.025, 0.975]).tolist()
    return Estimate(value=value, low=number(low), high=number(high))


def _drawn(scores: Scores, seed: int) -> Scores:
    runs, tasks = scores.shape
    chosen = resampled(runs, _RESAMPLES * tasks, seed=seed).reshape(_RESAMPLES, tasks, runs)
    drawn: Scores = scores[chosen.swapaxes(1, 2), np.arange(tasks)]
    return drawn


def aggregated(
    groups: Sequence[Group], pairs: Sequence[Pair], measure: str, *, seed: int
) -> Aggregates:
    """Return the aggregates of a comparison.

    Scores are the seeds' means, of R_traj divided by the oracle's under the same seed if the
    oracle is one of the groups and has all seeds.
    """
    plain = {group.label: _by_seed(group, measure) for group in groups}
    oracle = _oracle(plain) if measure == "r_traj" else None
    scores = {label: _scores(own, plain.get(oracle or "")) for label, own in plain.items()}
    top = 1.0 if oracle else max(float(own.max()) for own in scores.values())
    return Aggregates(
        oracle=oracle,
        groups=tuple(_aggregate(label, own, oracle, top, seed) for label, own in scores.items()),
        improvements=tuple(
            Improvement(
                one=pair.one,
                other=pair.other,
                probability=estimate(improvement, scores[pair.one], scores[pair.other], seed=seed),
            )
            for pair in pairs
        ),
    )


def _by_seed(group: Group, measure: str) -> dict[int, float]:
    return {own.seed: own.value for own in group.means[measure].by_seed}


def _oracle(groups: Mapping[str, Mapping[int, float]]) -> str | None:
    """Return the one group of the oracle's that has all seeds, and a score under each."""
    seeds = set().union(*groups.values())
    ours = [label for label in groups if label.split()[0] == ORACLE]
    fit = [label for label in ours if groups[label].keys() == seeds and all(groups[label].values())]
    return fit[0] if len(fit) == 1 else None


def _scores(own: Mapping[int, float], oracle: Mapping[int, float] | None) -> Scores:
    return np.array([[value / (oracle[seed] if oracle else 1)] for seed, value in own.items()])


def _aggregate(label: str, scores: Scores, oracle: str | None, top: float, seed: int) -> Aggregate:
    taus = [number(top * step / _STEPS) for step in range(_STEPS + 1)]
    return Aggregate(
        label=label,
        iqm=estimate(iqm, scores, seed=seed),
        optimality_gap=estimate(optimality_gap, scores, seed=seed) if oracle else None,
        profile=tuple(ProfilePoint(tau=tau, share=_share(scores, tau, seed)) for tau in taus),
    )


def _share(scores: Scores, tau: float, seed: int) -> Estimate:
    return estimate(lambda drawn: share_above(drawn, tau), scores, seed=seed)
