"""Agents side by side: what each user got from each, how far they are apart, and how sure that is.

Runs are grouped by all that decides them but the seed; the runs of a group are its seeds. Two
groups are compared user by user, under the same seeds, so that what users and seeds have in common
cancels out. What is concluded of training is concluded from seeds, of which each is one number.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan
from os import PathLike

import msgspec
import numpy as np

from engine.errors import ConfigError
from engine.messages import Setting, number
from sim.analysis.aggregates import aggregated
from sim.analysis.comparison import MODE, Comparison
from sim.analysis.groups import check_comparable, grouped
from sim.analysis.means import Group, Mean, Pair, SeedMean
from sim.analysis.outcomes import (
    MEASURES,
    Floats,
    RunOutcomes,
    Visits,
    averages,
    check_measure,
    read_outcomes,
    totals,
)
from sim.analysis.seeds import FEW, ratio_means, seed_means, signs_p, t_interval, t_p
from sim.analysis.statistics import (
    Interval,
    effect_size,
    holm,
    mean_interval,
    ratio_interval,
    sign_flip_p,
    superiority,
)

_RESAMPLES = 10_000
_PLACES = 9  # averages that are equal on paper may differ in their last bits


def compare(
    runs: Sequence[PathLike[str] | str],
    *,
    measure: str = "r_traj",
    reference: str | None = None,
    every_pair: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare recorded *runs*: each group with the *reference*, or *every_pair* of groups.

    The reference is the first group unless it is named; *seed* is that of the resampling. The
    *measure* is r_traj, len, r_each or the name of a metric of the user's own. Raises ConfigError
    for runs that cannot be compared, and what reading a run raises.
    """
    check_measure(measure)
    read = [read_outcomes(run, measure) for run in runs]
    return compared(read, measure=measure, reference=reference, every_pair=every_pair, seed=seed)


def compared(
    read: Sequence[RunOutcomes],
    *,
    measure: str = "r_traj",
    reference: str | None = None,
    every_pair: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare runs whose outcomes are *read* already; else as `compare`."""
    check_comparable(read)
    groups = grouped(read)
    pairing = _Pairing(groups, measure)
    named = list(groups)
    pairs = _pairs(named, reference, every_pair=every_pair)
    gaps = [*_adjusted([pairing.pair(one, other, seed) for one, other in pairs])]
    told = tuple(_group(label, members, seed, measure) for label, members in groups.items())
    return Comparison(
        measure=measure,
        environment=read[0].head.environment,
        mode=_mode(read),
        groups=told,
        pairs=tuple(gaps),
        aggregates=aggregated(told, gaps, measure, seed=seed),
        notes=(*_few(groups, gaps), *_notes(read, gaps)),
    )


def differences_of_seeds(
    read: Sequence[RunOutcomes], *, measure: str, reference: str | None = None
) -> dict[tuple[str, str], list[float]]:
    """Return, for each pair that `compare` would make, the difference of the means of each seed."""
    check_comparable(read)
    pairing = _Pairing(grouped(read), measure)
    found = {}
    for pair in _pairs([*pairing.groups], reference, every_pair=False):
        means = seed_means(pairing.gaps(*pair)[2])
        found[pair] = means[~np.isnan(means)].tolist()
    return found


def _mode(read: Sequence[RunOutcomes]) -> dict[str, Setting]:
    """Return the rules that all runs have in common."""
    heads = [dict(run.head.settings) for run in read]
    same = {name: {head.get(name) for head in heads} for name in MODE}
    shown = {name: values.pop() for name, values in same.items() if len(values) == 1}
    return {name: value for name, value in shown.items() if value is not None}


def _adjusted(pairs: Sequence[Pair]) -> Iterable[Pair]:
    """Yield *pairs* with p adjusted for their number."""
    p_holm, p_signs, p_users = (
        _holm([getattr(pair, name) for pair in pairs]) for name in ("p", "p_signs", "p_users")
    )
    for place, pair in enumerate(pairs):
        yield msgspec.structs.replace(
            pair, p_holm=p_holm[place], p_signs=p_signs[place], p_users=p_users[place]
        )


def _pairs(
    labels: Sequence[str], reference: str | None, *, every_pair: bool
) -> Iterable[tuple[str, str]]:
    if every_pair:
        return list(combinations(labels, 2))
    first = labels[0] if reference is None else reference
    if first not in labels:
        raise ConfigError(
            f"there is no group {first!r}", hint=f"there are {', '.join(map(repr, labels))}"
        )
    return [(first, other) for other in labels if other != first]


@dataclass(frozen=True)
class _Pairing:
    """The groups that are paired, and by which measure."""

    groups: Mapping[str, Mapping[int, RunOutcomes]]
    measure: str

    def pair(self, one: str, other: str, seed: int) -> Pair:
        """Return how two groups compare."""
        seeds, judged, table = self.gaps(one, other)
        there = sum(len(a.keys() & b.keys()) for a, b in judged)
        means = seed_means(table)
        known = means[~np.isnan(means)]
        return Pair(
            one=one,
            other=other,
            visits=there,
            missing=sum(len(a.keys() | b.keys()) for a, b in judged) - there,
            difference=_mean(seeds, means, mean_interval(table, seed=seed, resamples=_RESAMPLES)),
            p=_number(t_p(known)),
            p_holm=None,
            p_signs=_number(signs_p(known, seed=seed)),
            p_users=number(sign_flip_p(table, seed=seed, resamples=_RESAMPLES)),
            effect=number(effect_size(table)),
            better=number(superiority(table)),
        )

    def gaps(self, one: str, other: str) -> tuple[list[int], list[tuple[Visits, Visits]], Floats]:
        """Return the seeds in common, their visits, and by how much more each user gets."""
        seeds, judged = self._judged(one, other)
        mine, others = ([_only(pair[side], *pair) for pair in judged] for side in (0, 1))
        if not any(mine):
            raise ConfigError(f"{one!r} and {other!r} have no visit in common")
        gaps = averages(mine, self.measure) - averages(others, self.measure)
        return seeds, judged, np.round(gaps, _PLACES)

    def _judged(self, one: str, other: str) -> tuple[list[int], list[tuple[Visits, Visits]]]:
        """Return the seeds in common, and the visits of both under each of them."""
        a, b = self.groups[one], self.groups[other]
        seeds = sorted(a.keys() & b.keys())
        if not seeds:
            raise ConfigError(
                f"{one!r} and {other!r} have no seed in common",
                hint="run both with the same --seed, so that they meet the same users",
            )
        return seeds, [(a[n].judged, b[n].judged) for n in seeds]


def _only(visits: Visits, *others: Visits) -> Visits:
    """Return those of *visits* that are in *others*, too."""
    return {who: visit for who, visit in visits.items() if all(who in other for other in others)}


def _group(label: str, members: Mapping[int, RunOutcomes], seed: int, measure: str) -> Group:
    seeds = sorted(members)
    judged = [members[n].judged for n in seeds]
    return Group(
        label=label,
        runs=tuple(str(members[n].path) for n in seeds),
        seeds=tuple(seeds),
        visits=sum(map(len, judged)),
        failed=sum(members[n].failed for n in seeds),
        means={name: mean_of(seeds, judged, name, seed) for name in {**MEASURES, measure: ""}},
    )


def mean_of(seeds: Sequence[int], judged: Sequence[Visits], measure: str, seed: int) -> Mean:
    """Return the mean of a *measure* over *seeds*, whose visits are *judged*, with its intervals.

    A user's visits are averaged; r_each is all rewards ÷ all steps whose reward is known.
    """
    if measure == "r_each":
        rewards, steps = totals(judged)
        if not np.nansum(steps):
            return _mean(seeds, np.zeros(len(seeds)), Interval(0.0, 0.0))
        interval = ratio_interval(rewards, steps, seed=seed, resamples=_RESAMPLES)
        return _mean(seeds, ratio_means(rewards, steps), interval)
    table = averages(judged, measure)
    interval = mean_interval(table, seed=seed, resamples=_RESAMPLES)
    return _mean(seeds, seed_means(table), interval)


def _mean(seeds: Sequence[int], means: Floats, users: Interval) -> Mean:
    by_seed = [*zip(seeds, means.tolist(), strict=True)]
    known = means[~np.isnan(means)]
    interval = t_interval(known)
    return Mean(
        mean=number(float(known.mean())),
        low=None if interval is None else number(interval.low),
        high=None if interval is None else number(interval.high),
        users=Interval(number(users.low), number(users.high)),
        by_seed=tuple(SeedMean(seed=n, value=number(v)) for n, v in by_seed if not isnan(v)),
    )


def _number(value: float | None) -> float | None:
    return None if value is None else number(value)


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return *p_values* adjusted for those that are known."""
    known = [p for p in p_values if p is not None]
    adjusted = iter(holm(known).tolist() if known else [])
    return [None if p is None else number(next(adjusted)) for p in p_values]


def _few(groups: Mapping[str, Mapping[int, RunOutcomes]], pairs: Sequence[Pair]) -> Iterable[str]:
    """Warn where seeds are too few to conclude anything from."""
    counts = [len(pair.difference.by_seed) for pair in pairs] or [*map(len, groups.values())]
    fewest = min(counts)
    if fewest == 1:
        yield "one seed is one training: nothing tells how others would differ, hence –"
    elif fewest < FEW:
        yield f"nothing can be concluded about training from {fewest} seeds: take {FEW}, better 10"


def _notes(read: Sequence[RunOutcomes], pairs: Sequence[Pair]) -> Iterable[str]:
    for run in read:
        if run.failed:
            episodes = "1 episode" if run.failed == 1 else f"{run.failed:,} episodes"
            yield f"{run.path}: {episodes} failed, and the visits in common are compared"
    for pair in pairs:
        if pair.missing:
            visits = "1 visit is" if pair.missing == 1 else f"{pair.missing:,} visits are"
            yield f"{pair.one} and {pair.other}: {visits} in one of them only, and left out"
    yield from _returns(read)
    if any(run.head.model == "embedded" for run in read):
        yield "the embedded model is a stand-in: its numbers say nothing of language models"


def _returns(read: Sequence[RunOutcomes]) -> Iterable[str]:
    """Say how many users of a run came several times, if there are any."""
    counts = {_came_again(run.judged) for run in read}
    again, users = max(counts)
    if again:
        most = "up to " if len(counts) > 1 else ""
        yield f"{most}{again:,} of {users:,} users came more than once: their visits are averaged"


def _came_again(visits: Visits) -> tuple[int, int]:
    """Return how many users came more than once, and how many came."""
    times = Counter(user for user, _ in visits)
    return sum(count > 1 for count in times.values()), len(times)
